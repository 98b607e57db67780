// SPDX-License-Identifier: GPL-2.0-only
/*
 * Issue and retire, in thousands per second of CPU time, summed over the processes.  Each process
 * has a handle of its own; the rival is a system call per ID into a hash map of whole IDs.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

#define PROCESSES 2
#define RESIDENT 250000 /* routes that each process has besides */
#define IDS (1 << 16)	/* of one measurement, in each process */

/* Each before what undoes it. */
enum operation {
	ISSUE,
	RETIRE,
	HASH_UPDATE,
	HASH_DELETE,
};

/* One of the processes, as it sees itself. */
struct issuer {
	struct cidsteer *handle;
	int hash;
	uint64_t seed;
	uint64_t cid[IDS];
};

static struct {
	int orders, results; /* pipes */
} issuers[PROCESSES];

static int operate(struct issuer *self, enum operation operation, uint64_t cid)
{
	struct bench_key key = hash_key(cid);
	const uint8_t *bytes = (uint8_t *)&cid;
	__u32 worker = 1;

	switch (operation) {
	case ISSUE:
		return cidsteer_issue(self->handle, bytes, BENCH_CID);
	case RETIRE:
		return cidsteer_retire(self->handle, bytes, BENCH_CID);
	case HASH_UPDATE:
		return bpf_map_update_elem(self->hash, &key, &worker, BPF_NOEXIST);
	case HASH_DELETE:
		return bpf_map_delete_elem(self->hash, &key);
	}
	return -EINVAL;
}

static void fill(struct issuer *self)
{
	int unused;

	self->handle = worker_open(SERVICE_ISSUE, &unused);
	for (int i = 0; i < RESIDENT; i++) {
		check(!operate(self, ISSUE, random_word(&self->seed)), "issue");
		check(!operate(self, HASH_UPDATE, random_word(&self->seed)), "hash map");
	}
}

static void operate_all(struct issuer *self, enum operation operation)
{
	int err = 0;

	for (int i = 0; i < IDS; i++)
		err |= operate(self, operation, self->cid[i]);
	check(!err, "operation %d failed", operation);
}

static void choose_ids(struct issuer *self)
{
	for (int i = 0; i < IDS; i++)
		self->cid[i] = random_word(&self->seed);
}

/* Thousands per second of CPU time. */
static double rate(struct issuer *self, enum operation operation)
{
	double start;

	if (operation == ISSUE || operation == HASH_UPDATE) {
		/* With other IDs first, so that the caches are not those of the last case. */
		choose_ids(self);
		operate_all(self, operation);
		operate_all(self, operation + 1);
		choose_ids(self);
	}
	start = thread_seconds();
	operate_all(self, operation);
	return IDS / (thread_seconds() - start) / 1e3;
}

static void serve(int index, int hash, int orders, int results)
{
	static struct issuer self;
	enum operation operation;
	double result = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_cpu(index);
	self.hash = hash;
	self.seed = 1000 + index;
	fill(&self);
	check(write(results, &result, sizeof(result)) == sizeof(result), "pipe");
	while (read(orders, &operation, sizeof(operation)) == sizeof(operation)) {
		result = rate(&self, operation);
		check(write(results, &result, sizeof(result)) == sizeof(result), "pipe");
	}
}

static double result_of(int index)
{
	double result;

	check(read(issuers[index].results, &result, sizeof(result)) == sizeof(result),
	      "process %d ended", index);
	return result;
}

void issuers_start(void)
{
	int hash = hash_make(PROCESSES * (RESIDENT + IDS));

	for (int i = 0; i < PROCESSES; i++) {
		int orders[2], results[2];
		pid_t pid;

		check(!pipe(orders) && !pipe(results), "pipe: %s", strerror(errno));
		pid = fork();
		check(pid >= 0, "fork: %s", strerror(errno));
		if (!pid) {
			serve(i, hash, orders[0], results[1]);
			_exit(0);
		}
		close(orders[0]);
		close(results[1]);
		issuers[i].orders = orders[1];
		issuers[i].results = results[0];
	}
	for (int i = 0; i < PROCESSES; i++)
		result_of(i);
}

static double measure(const struct bench_case *this)
{
	enum operation operation = this->what;
	double sum = 0;

	for (int i = 0; i < this->size; i++)
		check(write(issuers[i].orders, &operation, sizeof(operation)) == sizeof(operation),
		      "pipe");
	for (int i = 0; i < this->size; i++)
		sum += result_of(i);
	return sum;
}

#define CASE(text, operation, processes, other)                                                    \
	{                                                                                          \
		.name = text, .rival = other, .measure = measure, .what = operation,               \
		.size = processes                                                                  \
	}

/* In this order: what is retired is what was issued last. */
static const struct bench_case cases[] = {
	CASE("issue, 1 process", ISSUE, 1, "hash map update, 1 process"),
	CASE("retire, 1 process", RETIRE, 1, "hash map delete, 1 process"),
	CASE("issue, 2 processes", ISSUE, 2, "hash map update, 2 processes"),
	CASE("retire, 2 processes", RETIRE, 2, "hash map delete, 2 processes"),
	CASE("hash map update, 1 process", HASH_UPDATE, 1, NULL),
	CASE("hash map delete, 1 process", HASH_DELETE, 1, NULL),
	CASE("hash map update, 2 processes", HASH_UPDATE, 2, NULL),
	CASE("hash map delete, 2 processes", HASH_DELETE, 2, NULL),
};

const struct bench_group issues = {
	.title = "Issue and retire",
	.unit = "k/s",
	.cases = cases,
	.count = COUNT(cases),
};
