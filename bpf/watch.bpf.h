/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Traces and the recorder: core/watch.h.
 *
 * A packet that is neither traced nor an anomaly pays for one load and one branch, cs_is_watched().
 * What is behind that is in functions of their own, which read addresses and header once more.
 * Handing over the verdict's address would make every packet write it to memory, and would double
 * what the verifier has to look at: what was decided comes as numbers.
 */
#ifndef CS_WATCH_BPF_H
#define CS_WATCH_BPF_H

#include "xdp.bpf.h"
#include "core/watch.h"

/*
 * Trace and state of the recorder, in a section of its own, which all instances share, so that the
 * address of its first word is a constant.  Written: command, programs, daemon.  Pinned as
 * cs_watch.
 */
struct cs_watch cs_watch SEC(".data.cs_watch");

/* The recorder.  Written: programs, daemon.  Read: command.  Full: the oldest goes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CS_RECORDS);
	__type(key, __u32);
	__type(value, struct cs_record);
} cs_record SEC(".maps");

/* The trace.  Written: programs.  Read: command.  Full: counted in cs_draft. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, CS_TRACE_BYTES);
} cs_traced SEC(".maps");

/* What was not kept, for each hook.  Written: programs.  Read: command. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CS_HOOKS);
	__type(key, __u32);
	__type(value, struct cs_left_out);
} cs_left_out SEC(".maps");

/* A record while it is made: there is no room for it on the stack.  As cs_head otherwise. */
struct cs_draft {
	struct cs_record record;
	struct cs_datagram datagram;
	__u64 traced; /* the record is for the trace, too */
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CS_HOOKS);
	__type(key, __u32);
	__type(value, struct cs_draft);
} cs_draft SEC(".maps");

#define REASON(name) (1u << CS_C_##name)
_Static_assert(CS_COUNTERS <= 32, "a bit for each reason");

/* Reasons that are anomalies; what was not enforced is one, too. */
#define CS_ANOMALIES                                                                               \
	(REASON(malformed) | REASON(unknown_cid) | REASON(dead_worker) | REASON(no_worker) |       \
	 REASON(no_socket) | REASON(dropped_malformed) | REASON(dropped_unknown))

/* @reason, @drop: as of cs_watch_xdp() */
CS_INLINE int cs_is_watched(__u32 reason, __u32 drop)
{
	return !!(*(volatile __u32 *)&cs_watch.trace.on | drop | (CS_ANOMALIES >> reason & 1));
}

CS_INLINE __u8 record_kind(__u32 reason, __u32 drop)
{
	switch (reason) {
	case CS_C_malformed:
	case CS_C_dropped_malformed:
		return CS_KIND_MALFORMED;
	case CS_C_unknown_cid:
	case CS_C_dropped_unknown:
		return CS_KIND_UNKNOWN_CID;
	case CS_C_dead_worker:
		return CS_KIND_DEAD_WORKER;
	case CS_C_no_worker:
		return CS_KIND_NO_WORKER;
	case CS_C_no_socket:
		return CS_KIND_NO_SOCKET;
	}
	return drop ? CS_KIND_NOT_ENFORCED : CS_KIND_NONE;
}

/* May there be a record of this kind?  Returns the kind, or CS_KIND_NONE. */
CS_INLINE __u8 begin_record(struct cs_left_out *left_out, __u8 kind, __u64 now)
{
	if (kind == CS_KIND_NONE || kind >= CS_KINDS)
		return CS_KIND_NONE;
	if (cs_record_is_due(&cs_watch.recorder.spent_ns[kind], now))
		return kind;
	left_out->kind[kind]++;
	return CS_KIND_NONE;
}

CS_INLINE int is_second_full(__u64 now)
{
	__u64 window = *(volatile __u64 *)&cs_watch.trace.window;

	return window >> 32 == now / 1000000000 && (__u32)window >= cs_watch.trace.rate;
}

/*
 * Is there a trace that wants this reason?  One whose command was killed ends here: it would have
 * said that it goes on.  A trace that wants all needs no verdict to leave a packet out.
 */
CS_INLINE int begin_trace(struct cs_left_out *left_out, __u32 reason, __u64 now)
{
	struct cs_trace *trace = &cs_watch.trace;

	if (!*(volatile __u32 *)&trace->on)
		return 0;
	if (now >= *(volatile __u64 *)&trace->until_ns) {
		trace->on = 0;
		return 0;
	}
	if (!(trace->reasons >> (reason & 31) & 1))
		return 0;
	if (trace->service || trace->worker || trace->dcid_len || !is_second_full(now))
		return 1;
	left_out->rate++;
	return 0;
}

CS_INLINE int trace_wants(const struct cs_verdict *verdict)
{
	const struct cs_trace *trace = &cs_watch.trace;

	if (trace->service && trace->service != verdict->service)
		return 0;
	if (trace->worker && trace->worker != verdict->worker)
		return 0;
	if (!trace->dcid_len)
		return 1;
	if (trace->dcid_len != verdict->dcid_len)
		return 0;
	for (int i = 0; i < CS_MAX_CID; i++) { /* zero behind its end, both */
		if (trace->dcid[i] != verdict->dcid[i])
			return 0;
	}
	return 1;
}

/* At most so many in each second of the clock.  Who is late for a second counts in the next. */
CS_INLINE int trace_is_due(__u64 now)
{
	__u64 *window = &cs_watch.trace.window, was = *(volatile __u64 *)window;
	__u64 second = now / 1000000000;

	if (is_second_full(now))
		return 0;
	if (was >> 32 < second)
		__sync_val_compare_and_swap(window, was, second << 32);
	return (__u32)__sync_fetch_and_add(window, 1) < cs_watch.trace.rate;
}

CS_INLINE void put_trace(struct cs_record *record)
{
	__u32 hook = record->hook;
	struct cs_left_out *left_out = bpf_map_lookup_elem(&cs_left_out, &hook);

	if (!left_out || !trace_wants(&record->verdict))
		return;
	if (!trace_is_due(record->time_ns)) {
		left_out->rate++;
		return;
	}
	record->serial = cs_watch.trace.run;
	if (bpf_ringbuf_output(&cs_traced, record, sizeof(*record), 0))
		left_out->full++;
}

/* Readers see @serial before and behind: 0 and the number are exchanged, which orders the rest. */
CS_INLINE void put_record(const struct cs_record *record)
{
	__u64 place = __sync_fetch_and_add(&cs_watch.recorder.next, 1);
	__u32 slot = place % CS_RECORDS;
	struct cs_record *to = bpf_map_lookup_elem(&cs_record, &slot);

	if (!to)
		return;
	__sync_lock_test_and_set(&to->serial, 0);
	__builtin_memcpy(&to->time_ns, &record->time_ns, sizeof(*to) - sizeof(to->serial));
	__sync_lock_test_and_set(&to->serial, place + 1);
}

/* Who got it: as decided.  The header is read once more. */
CS_INLINE void read_header(const struct cs_packet *packet, const struct cs_listener *listener,
			   struct cs_verdict *verdict)
{
	const struct cs_service *service = cs_map_service(listener->service);
	struct cs_fallback unused = {};
	struct cs_quic quic = {};
	int malformed;

	verdict->service = listener->service;
	verdict->listener = listener->listener;
	verdict->position = listener->position;
	if (!service || !service->used)
		return;
	malformed = cs_packet_quic(packet, service, &quic);
	if (!cs_decide_early(service, &quic, malformed, &unused))
		cs_decide_header(service, &quic, verdict);
}

/* What both hooks hand over of their verdict. */
CS_INLINE void settle(struct cs_verdict *verdict, __u32 reason, __u32 drop, __u32 worker,
		      __u32 routed)
{
	const struct cs_worker *at = worker ? cs_map_worker(worker) : NULL;

	verdict->reason = reason;
	verdict->drop = drop;
	verdict->worker = worker;
	verdict->routed = routed;
	if (!at)
		return;
	verdict->state = at->state;
	verdict->index = at->index;
}

/* Is the packet to be kept?  Then the draft is begun. */
CS_INLINE struct cs_draft *begin(__u32 hook, __u32 reason, __u32 drop)
{
	struct cs_left_out *left_out = bpf_map_lookup_elem(&cs_left_out, &hook);
	struct cs_draft *draft = bpf_map_lookup_elem(&cs_draft, &hook);
	__u64 now = bpf_ktime_get_ns();
	int traced;
	__u8 kind;

	if (!left_out || !draft)
		return NULL;
	kind = begin_record(left_out, record_kind(reason, drop), now);
	traced = begin_trace(left_out, reason, now);
	if (!kind && !traced)
		return NULL;
	__builtin_memset(draft, 0, sizeof(*draft));
	draft->record.time_ns = now;
	draft->record.hook = hook;
	draft->record.kind = kind;
	draft->traced = traced;
	return draft;
}

/* These are functions of their own for the verifier, and so that the stack is there for each. */
__attribute__((noinline)) int cs_keep(struct cs_draft *draft)
{
	if (!draft)
		return 0;
	if (draft->record.kind)
		put_record(&draft->record);
	if (draft->traced)
		put_trace(&draft->record);
	return 0;
}

__attribute__((noinline)) int cs_read_frame(struct xdp_md *ctx, struct cs_draft *draft)
{
	struct cs_packet packet = { .xdp = ctx };
	struct cs_datagram datagram = {};
	const struct cs_listener *listener;

	if (!draft)
		return 0;
	listener = find_listener(&draft->datagram.tuple);
	if (!listener)
		return 0;
	datagram.offset = draft->datagram.offset;
	datagram.length = draft->datagram.length;
	packet.datagram = &datagram;
	read_header(&packet, listener, &draft->record.verdict);
	return 0;
}

/*
 * cs_watch_xdp - a packet that somebody may want to know of
 * @reason:	that was counted
 * @drop:	if it was to be dropped, and was not
 */
__attribute__((noinline)) int cs_watch_xdp(struct xdp_md *ctx, __u32 reason, __u32 drop,
					   __u32 worker, __u32 routed)
{
	struct cs_draft *draft = begin(CS_HOOK_XDP, reason, drop);

	if (!draft)
		return 0;
	if (cs_parse(ctx, &draft->datagram) == CS_C_seen)
		cs_read_frame(ctx, draft);
	settle(&draft->record.verdict, reason, drop, worker, routed);
	__builtin_memcpy(draft->record.saddr, &draft->datagram.tuple, CS_TUPLE_BYTES);
	return cs_keep(draft);
}

/* Listener that an instance of cs_reuseport serves: told, never looked up, because DNAT may
 * have altered the address that XDP saw.
 */
const volatile struct cs_listener cs_listener = {};

CS_INLINE struct cs_listener this_listener(void)
{
	return (struct cs_listener){
		.service = cs_listener.service,
		.listener = cs_listener.listener,
		.position = cs_listener.position,
	};
}

__attribute__((noinline)) int cs_watch_socket(struct sk_reuseport_md *md, __u32 reason, __u32 drop,
					      __u32 worker, __u32 routed)
{
	struct cs_draft *draft = begin(CS_HOOK_REUSEPORT, reason, drop);
	struct cs_listener listener = this_listener();
	struct cs_packet packet = { .md = md };

	if (!draft)
		return 0;
	read_header(&packet, &listener, &draft->record.verdict);
	settle(&draft->record.verdict, reason, drop, worker, routed);
	cs_packet_tuple(&packet, &draft->datagram.tuple);
	__builtin_memcpy(draft->record.saddr, &draft->datagram.tuple, CS_TUPLE_BYTES);
	return cs_keep(draft);
}

#endif
