// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decisions as they are made.
 *
 * The programs look at one word, cs_trace.on.  A command that is killed cannot put it back; so it
 * says, again and again, until when the trace is good, and the first packet behind that time puts
 * the word back.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/record.h"
#include "cli/view.h"
#include "dataplane/watch.h"

#define GOOD_NS 2000000000ULL /* the trace, after the command has last said so */
#define RENEW_MS 500
#define DEFAULT_RATE 100
#define MAX_RATE 1000000

struct tracing {
	const struct args *args;
	struct view *view;
	struct watch watch;
	struct cs_trace *trace; /* what the programs read */
	struct ring_buffer *ring;
	__u64 run;
	__u64 shown, count;	     /* @count 0: no end */
	struct cs_left_out reported; /* of all traces, the last that was said */
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static bool read_number(const char *text, unsigned long most, unsigned long *number)
{
	char *end;

	*number = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *number >= 1 && *number <= most;
}

/* "unknown_cid,malformed" */
static int read_reasons(const struct args *args, __u32 *reasons)
{
	for (const char *at = args->reason; *at;) {
		size_t len = strcspn(at, ",");
		__u32 reason = record_find_reason(at, len);

		if (!reason)
			return misuse(args, "--reason: %.*s: not a reason; see cidsteer counters",
				      (int)len, at);
		*reasons |= 1u << reason;
		at += len + (at[len] == ',');
	}
	return *reasons ? CLI_DONE : misuse(args, "--reason: it names none");
}

static int read_filters(const struct args *args, const struct view *view, struct cs_trace *want)
{
	const struct view_service *service = NULL;
	unsigned long number = DEFAULT_RATE;
	int len;

	if (args->service && !(service = view_service_by_name(view, args->service)))
		return fail(args, "there is no service %s", args->service);
	if (service)
		want->service = service->id;
	if (args->rate && !read_number(args->rate, MAX_RATE, &number))
		return misuse(args, "--rate %s: not 1 to %d", args->rate, MAX_RATE);
	want->rate = number;
	if (args->worker && !read_number(args->worker, CS_MAX_WORKERS - 1, &number))
		return misuse(args, "--worker %s: not a worker's id", args->worker);
	want->worker = args->worker ? number : 0;
	if (args->cid) {
		len = hex_parse(args->cid, want->dcid, CS_MAX_CID);
		if (len < 1)
			return misuse(args, "--cid %s: not 1 to %d bytes in hex", args->cid,
				      CS_MAX_CID);
		want->dcid_len = len;
	}
	if (args->reason)
		return read_reasons(args, &want->reasons);
	want->reasons = ~(1u << CS_C_not_ours); /* every other host's packets, and TCP */
	return CLI_DONE;
}

/* Ours still?  Then it goes on for a while. */
static bool renew(const struct tracing *tracing)
{
	struct cs_trace *trace = tracing->trace;

	if (__atomic_load_n(&trace->run, __ATOMIC_SEQ_CST) != tracing->run)
		return false;
	__atomic_store_n(&trace->until_ns, watch_now() + GOOD_NS, __ATOMIC_SEQ_CST);
	__atomic_store_n(&trace->on, 1, __ATOMIC_SEQ_CST);
	return true;
}

/* Nobody else traces: then what we want is written, and the programs begin. */
static int begin(struct tracing *tracing, const struct cs_trace *want)
{
	struct cs_trace *trace = tracing->trace;
	__u64 was = __atomic_load_n(&trace->run, __ATOMIC_SEQ_CST);

	if (was && __atomic_load_n(&trace->until_ns, __ATOMIC_SEQ_CST) > watch_now())
		return fail(tracing->args,
			    "pid %u traces, or was killed less than %llu seconds ago: one trace at "
			    "a time",
			    (unsigned int)(was >> 32), GOOD_NS / 1000000000);
	tracing->run = (__u64)getpid() << 32 | (watch_now() >> 10 & 0xffffffff) | 1;
	if (!__atomic_compare_exchange_n(&trace->run, &was, tracing->run, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return fail(tracing->args, "another trace began at this moment");
	trace->reasons = want->reasons;
	trace->rate = want->rate;
	trace->window = 0;
	trace->service = want->service;
	trace->worker = want->worker;
	trace->dcid_len = want->dcid_len;
	memcpy(trace->dcid, want->dcid, sizeof(trace->dcid));
	renew(tracing);
	return CLI_DONE;
}

static void end(struct tracing *tracing)
{
	struct cs_trace *trace = tracing->trace;

	if (__atomic_load_n(&trace->run, __ATOMIC_SEQ_CST) != tracing->run)
		return;
	__atomic_store_n(&trace->on, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&trace->until_ns, 0, __ATOMIC_SEQ_CST);
	__atomic_compare_exchange_n(&trace->run, &tracing->run, 0, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

static int print_json_line(json_t *json)
{
	int err = json ? json_dumpf(json, stdout, JSON_COMPACT) : -1;

	putchar('\n');
	json_decref(json);
	return err ? -ENOMEM : 0;
}

/* What a trace before this one left in the ring buffer is passed over. */
static int show(void *arg, void *data, size_t size)
{
	struct tracing *tracing = arg;
	const struct cs_record *record = data;
	int err = 0;

	if (size < sizeof(*record) || record->serial != tracing->run)
		return 0;
	if (tracing->count && tracing->shown == tracing->count)
		return 0;
	if (tracing->args->json)
		err = print_json_line(record_json(tracing->view, record));
	else
		record_print(tracing->view, record, false);
	tracing->shown++;
	return err;
}

static int show_left_out(struct tracing *tracing)
{
	struct cs_left_out now;
	__u64 rate, full;
	int err = watch_left_out(&tracing->view->plane, &tracing->watch, &now);

	if (err)
		return err;
	rate = now.rate - tracing->reported.rate;
	full = now.full - tracing->reported.full;
	tracing->reported = now;
	if (!rate && !full)
		return 0;
	if (tracing->args->json)
		return print_json_line(json_pack("{s:I, s:I}", "left_out", (json_int_t)rate, "lost",
						 (json_int_t)full));
	printf("-- %s left out by --rate", NUMBER(rate));
	if (full)
		printf(", %s lost because this command was too slow", NUMBER(full));
	putchar('\n');
	return 0;
}

static bool is_over(const struct tracing *tracing)
{
	return stopped || ferror(stdout) || (tracing->count && tracing->shown >= tracing->count);
}

static int follow(struct tracing *tracing)
{
	__u64 renewed = watch_now(), said = renewed;

	while (!is_over(tracing)) {
		int got = ring_buffer__poll(tracing->ring, RENEW_MS / 2);
		__u64 now = watch_now();

		if (got < 0 && got != -EINTR)
			return got;
		if (now - renewed >= RENEW_MS * 1000000ULL) {
			if (!renew(tracing))
				return -EBUSY;
			renewed = now;
		}
		if (now - said >= 1000000000) {
			int err = show_left_out(tracing);

			if (err)
				return err;
			said = now;
		}
	}
	return 0;
}

static int trace(struct tracing *tracing, const struct cs_trace *want)
{
	struct sigaction action = { .sa_handler = stop };
	int err, result = begin(tracing, want);

	if (result)
		return result;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN); /* who reads went away: the trace is to end, not this process */
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	err = follow(tracing);
	end(tracing);
	if (!err)
		err = ring_buffer__consume(tracing->ring);
	if (err >= 0)
		err = show_left_out(tracing);
	if (err == -EBUSY)
		return fail(tracing->args, "another trace has begun, since this one did not go on");
	return err < 0 ? fail(tracing->args, "%s", strerror(-err)) : CLI_DONE;
}

static int open_all(struct tracing *tracing)
{
	const struct plane *plane = &tracing->view->plane;
	int err = watch_open(plane, &tracing->watch);

	if (err)
		return err;
	tracing->trace = &tracing->watch.state->trace;
	tracing->ring = ring_buffer__new(plane->map[PLANE_TRACED], show, tracing, NULL);
	if (!tracing->ring)
		return -errno;
	return watch_left_out(plane, &tracing->watch, &tracing->reported);
}

int cmd_trace(const struct args *args)
{
	struct tracing tracing = { .args = args };
	_cleanup_view_ struct view *view = NULL;
	struct cs_trace want = {};
	struct error error;
	unsigned long count = 0;
	int err, result;

	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	result = read_filters(args, view, &want);
	if (!result && args->count && !read_number(args->count, 1000000000, &count))
		result = misuse(args, "--count %s: not 1 to 1000000000", args->count);
	if (result)
		return result;
	tracing.view = view;
	tracing.count = count;
	err = open_all(&tracing);
	result = err ? fail(args, "opening the trace: %s", strerror(-err)) : trace(&tracing, &want);
	ring_buffer__free(tracing.ring);
	watch_close(&tracing.watch);
	return result;
}
