// SPDX-License-Identifier: GPL-2.0-only
/* Runs the loaded decide() over the live maps: cs_explain, which counts nothing. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/explain.h"
#include "cli/output.h"
#include "core/quic.h"

#define UDP_HEADER 8

/* @fill is what stands for the bytes that are not there. */
static int run(int program, const struct frame *frame, int fill, struct cs_verdict *verdict,
	       struct error *error)
{
	static __u8 in[FRAME_SHOWN], out[FRAME_SHOWN + sizeof(*verdict)];
	size_t shown = frame_shown(frame);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = shown, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);
	int err;

	memcpy(in, frame->byte, frame->len);
	memset(in + frame->len, fill, shown - frame->len);
	err = bpf_prog_test_run_opts(program, &opts);
	if (err)
		return error_set(error, err, "running cs_explain: %s", strerror(-err));
	if (opts.retval != XDP_PASS || opts.data_size_out < sizeof(*verdict))
		return error_set(error, -EPROTO, "cs_explain gave no verdict (result %u)",
				 opts.retval);
	memcpy(verdict, out, sizeof(*verdict));
	if (verdict->reason >= CS_COUNTERS || verdict->drop >= CS_COUNTERS ||
	    verdict->form > CS_FORM_LONG || verdict->type > CS_TYPE_RETRY ||
	    verdict->dcid_len > CS_MAX_CID || verdict->worker >= CS_MAX_WORKERS ||
	    verdict->routed >= CS_MAX_WORKERS || verdict->config > CS_CONFIGS)
		return error_set(error, -EPROTO,
				 "cs_explain's verdict makes no sense: it is of "
				 "another version");
	return 0;
}

/* Was the same read of both frames?  Where to, the maps say, which may change in between. */
static bool is_same_packet(const struct cs_verdict *a, const struct cs_verdict *b)
{
	return a->form == b->form && a->type == b->type && a->version == b->version &&
	       a->dcid_len == b->dcid_len && !memcmp(a->dcid, b->dcid, CS_MAX_CID) &&
	       a->small == b->small &&
	       (a->reason == CS_C_malformed) == (b->reason == CS_C_malformed) &&
	       (a->reason == CS_C_not_quic) == (b->reason == CS_C_not_quic);
}

static int cut_error(const struct frame *frame, const char *inside, struct error *error)
{
	return error_set(error, -ENODATA,
			 "%zu of %zu bytes are there, and they end inside its %s: capture more "
			 "of each packet (tcpdump -s 256)",
			 frame->captured, frame->length, inside);
}

/*
 * What was not captured may be anything.  It decides nothing if the program says the same with
 * all of its bits 0 and with all of them 1, since all that it reads behind UDP is in its verdict.
 */
static int run_cut(int program, const struct explanation *ex, struct error *error)
{
	struct cs_verdict other = {};
	int err;

	if (ex->layers.ended)
		return cut_error(ex->frame, ex->layers.ended, error);
	err = run(program, ex->frame, 0xff, &other, error);
	if (err)
		return err;
	return is_same_packet(&ex->verdict, &other) ? 0 :
						      cut_error(ex->frame, "QUIC header", error);
}

static const char *name_version(__u32 version, char text[24])
{
	if (version == CS_QUIC_V1)
		return "QUIC v1";
	if (version == CS_QUIC_V2)
		return "QUIC v2";
	if (!version)
		return "Version Negotiation";
	snprintf(text, 24, "version 0x%08x", version);
	return text;
}

static const char *routed_state(const struct view *view, const struct cs_verdict *verdict)
{
	const struct cs_worker *worker = &view->worker[verdict->routed];

	if (!verdict->routed || verdict->routed == verdict->worker)
		return NULL;
	if (worker->state != CS_WORKER_NONE && worker->service != verdict->service)
		return "of another service";
	return worker->state == CS_WORKER_DEAD ? view_state(worker->state) : NULL;
}

static bool lease_is_valid(const struct plane *plane)
{
	struct cs_lease lease;
	struct timespec now;
	__u32 zero = 0;

	if (bpf_map_lookup_elem(plane->map[PLANE_LEASE], &zero, &lease) ||
	    clock_gettime(CLOCK_MONOTONIC, &now))
		return false;
	return now.tv_sec * 1000000000ULL + now.tv_nsec < lease.until_ns;
}

/* CPU of its worker, if it has a queue. */
static int target_cpu(const struct view *view, const struct cs_verdict *verdict)
{
	int cpu = verdict->worker ? view_cpu(view, verdict->worker) : -1;
	struct bpf_cpumap_val queue;
	__u32 key = cpu;

	return cpu >= 0 && !bpf_map_lookup_elem(view->plane.map[PLANE_CPUS], &key, &queue) ? cpu :
											     -1;
}

/* Name of the device that its worker is behind, if XDP sends it there. */
static void find_device(const struct view *view, struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;
	struct cs_target target;
	const char *name;

	if (!verdict->worker || !view_device(view, verdict->worker, &target) ||
	    !lease_is_valid(&view->plane) || ex->layers.vlans ||
	    !view_device_is_there(view, &target))
		return;
	name = view_device_name(view, verdict->worker, ex->device);
	if (name != ex->device)
		snprintf(ex->device, sizeof(ex->device), "%s", name);
}

static void name_parts(const struct view *view, struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;
	const struct view_service *service = view_service_by_id(view, verdict->service);
	__u32 slot = verdict->index + verdict->position;
	__u64 cookie;

	if (verdict->form == CS_FORM_LONG)
		ex->version = name_version(verdict->version, ex->version_text);
	ex->dropped = verdict->drop && lease_is_valid(&view->plane);
	ex->routed_state = routed_state(view, verdict);
	ex->service = service;
	for (unsigned int i = 0; service && i < service->listeners; i++) {
		if (service->listener[i].id == verdict->listener)
			ex->listener = &service->listener[i];
	}
	ex->cpu = target_cpu(view, verdict);
	find_device(view, ex);
	ex->xsk = verdict->worker && verdict->target == CS_TARGET_XSK && !ex->layers.vlans;
	ex->xsk_drops = service && service->settings.no_xsk == CS_POLICY_DROP &&
			lease_is_valid(&view->plane);
	ex->has_socket = verdict->worker &&
			 !bpf_map_lookup_elem(view->plane.map[PLANE_SOCKETS], &slot, &cookie);
}

int explain_frame(struct view *view, __u32 netns, const struct frame *frame, struct explanation *ex,
		  struct error *error)
{
	int program = view_explain(view, netns, error);
	int err;

	if (program < 0)
		return program;
	*ex = (struct explanation){ .frame = frame, .netns = netns, .bucket = -1 };
	layers_read(frame, &ex->layers);
	err = run(program, frame, 0, &ex->verdict, error);
	if (!err && frame_is_cut(frame))
		err = run_cut(program, ex, error);
	if (err)
		return err;
	name_parts(view, ex);
	explain_bucket(view, ex);
	return 0;
}

bool explain_behind(struct view *view, const struct explanation *ex, struct frame *plain,
		    struct explanation *behind)
{
	const struct layers *layers = &ex->layers;
	size_t payload = layers->udp_at + UDP_HEADER;
	struct error unused;

	if (ex->verdict.service || !layers->udp)
		return false;
	frame_plain(plain, &layers->from, &layers->to, ex->frame->byte + payload,
		    ex->frame->len - payload, layers->udp_len);
	return !explain_frame(view, ex->netns, plain, behind, &unused) && behind->verdict.service;
}
