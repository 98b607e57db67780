// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/view.h"
#include "common/cleanup.h"
#include "core/cid_table.h"
#include "core/quic.h"
#include "core/ring.h"

/* What one service knows of a connection ID. */
struct answer {
	__u64 tag;
	__u32 bucket[2], buckets;
	__u32 worker; /* that the table names; 0: none */
	__u32 ring;   /* that an Initial with it would go to; 0: none */
};

static int parse_cid(const char *text, struct cs_cid *cid)
{
	int len;

	memset(cid, 0, sizeof(*cid));
	len = hex_parse(text, cid->byte, CS_MAX_CID);
	if (len < 1)
		return -EINVAL;
	cid->len = len;
	return 0;
}

/* As cs_decide() does: a worker of another service, or one that is gone, gets nothing. */
static __u32 ring_worker(const struct view *view, const struct view_service *service, __u64 hash)
{
	const struct cs_worker *worker;
	struct cs_ring ring;
	__u32 id;

	if (bpf_map_lookup_elem(view->plane.map[PLANE_RING], &service->id, &ring))
		return 0;
	id = ring.worker[cs_ring_bucket(hash)];
	if (!id || id >= CS_MAX_WORKERS)
		return 0;
	worker = &view->worker[id];
	return worker->service == service->id && view_is_live(worker) ? id : 0;
}

static int ask(const struct view *view, const struct view_service *service,
	       const struct cs_cid *cid, struct answer *answer)
{
	__u64 hash = cs_cid_hash(service->settings.key, cid);
	_cleanup_fd_ int fd = plane_table_fd(&view->plane, service->id);
	struct cs_table table = {};
	int err = fd < 0 ? fd : plane_map_table(fd, false, &table);

	if (err)
		return err;
	answer->tag = cs_tag(hash);
	answer->bucket[0] = cs_bucket_first(answer->tag, table.mask);
	answer->bucket[1] = cs_bucket_second(answer->tag, table.mask);
	answer->buckets = table.mask + 1;
	answer->worker = cs_table_find(&table, answer->tag);
	answer->ring = service->settings.cid_len ? ring_worker(view, service, hash) : 0;
	plane_unmap_table(&table);
	return 0;
}

/* Is the route's worker there to be sent to? */
static bool is_routed(const struct view *view, const struct view_service *service,
		      const struct answer *answer)
{
	const struct cs_worker *worker = &view->worker[answer->worker];

	return answer->worker && worker->service == service->id && view_is_live(worker);
}

static void print_answer(const struct view *view, const struct view_service *service,
			 const struct answer *answer)
{
	const struct cs_worker *worker = &view->worker[answer->worker];

	printf("%s: ", service->name);
	if (is_routed(view, service, answer))
		printf("worker %u (%s, pid %u)\n", answer->worker, view_state(worker->state),
		       worker->pid);
	else if (answer->worker)
		printf("worker %u, which is gone", answer->worker);
	else
		printf("not in the table");
	if (!is_routed(view, service, answer) && !service->settings.cid_len)
		printf("; its packets go by 4-tuple\n");
	else if (!is_routed(view, service, answer) && answer->ring)
		printf("; an Initial with it goes to worker %u\n", answer->ring);
	else if (!is_routed(view, service, answer))
		printf("; there is no active worker\n");
	printf("%*s  tag %012llx, buckets %s and %s of %s\n", (int)strlen(service->name), "",
	       (unsigned long long)answer->tag, NUMBER(answer->bucket[0]),
	       NUMBER(answer->bucket[1]), NUMBER(answer->buckets));
}

static json_t *answer_json(const struct view *view, const struct view_service *service,
			   const struct answer *answer)
{
	const struct cs_worker *worker = &view->worker[answer->worker];
	char tag[16];

	snprintf(tag, sizeof(tag), "%012llx", (unsigned long long)answer->tag);
	if (!answer->worker)
		return json_pack("{s:s, s:b, s:s, s:[i, i], s:i, s:i}", "service", service->name,
				 "found", 0, "tag", tag, "in_buckets", answer->bucket[0],
				 answer->bucket[1], "buckets", answer->buckets, "ring_worker",
				 answer->ring);
	return json_pack("{s:s, s:b, s:s, s:[i, i], s:i, s:i, s:i, s:s, s:I}", "service",
			 service->name, "found", 1, "tag", tag, "in_buckets", answer->bucket[0],
			 answer->bucket[1], "buckets", answer->buckets, "ring_worker", answer->ring,
			 "worker", answer->worker, "state",
			 is_routed(view, service, answer) ? view_state(worker->state) : "gone",
			 "pid", (json_int_t)worker->pid);
}

/* Asks all services, or one.  Returns whether one has the route, or a negative errno. */
static int ask_services(const struct view *view, const struct view_service *only,
			const struct cs_cid *cid, json_t *list, struct error *error)
{
	bool found = false;

	for (unsigned int i = 0; i < view->services; i++) {
		const struct view_service *service = &view->service[i];
		struct answer answer;
		int err;

		if (only && service != only)
			continue;
		err = ask(view, service, cid, &answer);
		if (err)
			return error_set(error, err, "%s: reading the table: %s", service->name,
					 strerror(-err));
		found |= answer.worker != 0;
		if (list)
			json_array_append_new(list, answer_json(view, service, &answer));
		else
			print_answer(view, service, &answer);
	}
	return found;
}

int cmd_lookup(const struct args *args)
{
	json_t *list = args->json ? json_array() : NULL;
	const struct view_service *only = NULL;
	_cleanup_view_ struct view *view = NULL;
	struct error error;
	struct cs_cid cid;
	int found;

	if (parse_cid(args->operand[0], &cid))
		return misuse(args, "%s: not a connection ID of 1 to %d bytes in hex",
			      args->operand[0], CS_MAX_CID);
	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	if (args->service) {
		only = view_service_by_name(view, args->service);
		if (!only)
			return fail(args, "there is no service %s", args->service);
	}
	found = ask_services(view, only, &cid, list, &error);
	if (found < 0)
		return fail(args, "%s", error.line);
	if (list && json_print(json_pack("{s:s, s:b, s:o}", "cid", HEX(cid.byte, cid.len), "found",
					 found, "services", list)))
		return fail(args, "out of memory");
	return found ? CLI_DONE : CLI_FAILED;
}
