// SPDX-License-Identifier: GPL-2.0-only
/*
 * cs_xdp with any frame, and cs_reuseport with what it finds in it.
 *
 * An input: flags, bytes of the frame that the first buffer has (2), zero bytes behind the
 * input's (2), the frame.
 */
#include "hooks.h"

#define HAS_LEASE 1
#define IS_CUT 2   /* into two buffers */
#define IS_THERE 4 /* on the CPU that has a queue */
#define IS_XSK_NIC 8
#define QUEUE(flags) ((flags) >> 4 & 7)

static int same(const struct cs_verdict *a, const struct cs_verdict *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Where the first buffer ends says nothing, if only all headers lie in it. */
static void check_cut(const struct bytes *frame, __u32 first, const struct cs_datagram *datagram,
		      const struct cs_verdict *verdict)
{
	struct xdp_md ctx = xdp_context(frame, first);
	struct cs_verdict cut;
	__u32 headers = datagram->offset ?: CS_HEADERS;

	frame_verdict(&ctx, &cut);
	LAW(same(&cut, verdict) || (cut.reason == CS_C_not_ours && first < headers));
}

/* Behind the stack cs_reuseport sees the same packet, and says the same. */
static void check_agreement(const struct bytes *frame, const struct cs_datagram *datagram,
			    const struct cs_listener *listener, const struct cs_verdict *verdict)
{
	__u32 udp = datagram->offset - sizeof(struct udphdr), ip = ETH_HLEN;
	const __be16 *type = (const void *)(frame->byte + 12);
	struct sk_reuseport_md md;
	struct cs_verdict other;

	for (; *type == bpf_htons(ETH_P_8021Q) || *type == bpf_htons(ETH_P_8021AD); type += 2)
		ip += sizeof(struct cs_tag);
	md = skb_context(&(struct bytes){ frame->byte + udp,
					  datagram->length + sizeof(struct udphdr) },
			 datagram->length + sizeof(struct udphdr),
			 &(struct bytes){ frame->byte + ip, frame->length - ip }, bpf_ntohs(*type));
	run_reuseport(&md, listener, &other);
	LAW(same(&other, verdict));
}

static int is_tagged(const struct bytes *frame)
{
	__be16 type;

	memcpy(&type, frame->byte + 12, sizeof(type));
	return type != bpf_htons(ETH_P_IP) && type != bpf_htons(ETH_P_IPV6);
}

/* Has its worker an AF_XDP socket for where it came in? */
static int has_xsk(const struct xdp_md *ctx)
{
	return ctx->ingress_ifindex == XSK_NIC && ctx->rx_queue_index == FULL_XSK - 3 + 2;
}

/* What is to be dropped because its worker has none. */
static int is_without_xsk(const struct xdp_md *ctx, const struct bytes *frame,
			  const struct cs_verdict *verdict)
{
	return verdict->worker && verdict->target == CS_TARGET_XSK && !is_tagged(frame) &&
	       !has_xsk(ctx) && services[verdict->service].no_xsk == CS_POLICY_DROP;
}

/* Where a packet that is not dropped goes, as it is counted; 0: it passes. */
static __u32 sent_to(const struct xdp_md *ctx, const struct bytes *frame,
		     const struct cs_verdict *verdict, int has_lease)
{
	const struct cs_target *target = line_of(&cs_targets, verdict->worker);

	if (!verdict->worker || verdict->target == CS_TARGET_SOCKET)
		return 0;
	if (verdict->target == CS_TARGET_CPU)
		return target->index == QUEUED_CPU && this_cpu != QUEUED_CPU ? CS_C_to_cpu : 0;
	if (verdict->target == CS_TARGET_XSK)
		return !is_tagged(frame) && has_xsk(ctx) ? CS_C_to_xsk : CS_C_not_to_xsk;
	if (!has_lease || is_tagged(frame) || target->ifindex == GONE_DEVICE)
		return CS_C_not_to_device;
	if (frame->length - ETH_HLEN > DEVICE_MTU)
		return CS_C_too_large;
	return target->index == FULL_SLOT ? CS_C_to_device : CS_C_not_to_device;
}

/* Only what is sent to a device is altered: it has the MAC of the other end. */
static void check_bytes(const struct xdp_md *ctx, const struct bytes *frame, __u32 note)
{
	const __u8 *now = (void *)(long)ctx->data;
	__u32 mac = note == CS_C_to_device ? sizeof(device_mac) : 0;

	LAW(!memcmp(now, device_mac, mac));
	LAW(!memcmp(now + mac, frame->byte + mac, frame->length - mac));
}

static void try_frame(const struct bytes *frame, __u32 first, __u8 flags)
{
	struct xdp_md ctx = xdp_context(frame, frame->length);
	struct cs_datagram datagram = {};
	const struct cs_listener *listener = NULL;
	int action, dropped, has_lease = flags & HAS_LEASE, reason = cs_parse(&ctx, &datagram);
	struct cs_verdict verdict, done;
	__u32 note;

	ctx.ingress_ifindex = flags & IS_XSK_NIC ? XSK_NIC : XSK_NIC + 2;
	ctx.rx_queue_index = QUEUE(flags);
	frame_verdict(&ctx, &verdict);
	action = cs_xdp(&ctx);
	done = verdict;
	if (!(verdict.drop && has_lease) && is_without_xsk(&ctx, frame, &verdict))
		done.drop = CS_C_dropped_no_xsk;
	dropped = action == XDP_DROP;
	LAW(dropped == (done.drop && has_lease));
	note = dropped ? 0 : sent_to(&ctx, frame, &verdict, has_lease);
	LAW(dropped || (action == XDP_REDIRECT) == (note == CS_C_to_cpu || note == CS_C_to_device ||
						    note == CS_C_to_xsk));
	LAW(dropped || action == XDP_REDIRECT || action == XDP_PASS);
	check_bytes(&ctx, frame, note);
	check_counted(CS_HOOK_XDP, &done, dropped, note);
	if (reason == CS_C_seen) {
		LAW(datagram.offset + datagram.length <= frame->length);
		listener = find_listener(&datagram.tuple);
		LAW(verdict.reason != CS_C_seen && !listener == (verdict.reason == CS_C_not_ours));
	}
	check_cut(frame, first, &datagram, &verdict);
	if (listener)
		check_agreement(frame, &datagram, listener, &verdict);
}

/* An input, taken apart; @frame is the caller's to free.  Fails on what is no input of the corpus.
 */
static int read_frame(const uint8_t *data, size_t size, struct bytes *frame, __u32 *first,
		      __u8 *flags)
{
	struct input input = { data, size };
	__u32 zeros;

	*flags = input_byte(&input);
	*first = input_u16(&input);
	zeros = input_u16(&input);
	*frame = (struct bytes){ .length = input.left + zeros };
	if (frame->length > ROOM)
		return -1;
	frame->byte = malloc(frame->length);
	input_bytes(&input, frame->byte, frame->length);
	if (!(*flags & IS_CUT) || *first > frame->length)
		*first = frame->length;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes frame;
	__u32 first;
	__u8 flags;

	if (read_frame(data, size, &frame, &first, &flags))
		return -1;
	set_lease(flags & HAS_LEASE);
	this_cpu = flags & IS_THERE ? QUEUED_CPU : 0;
	try_frame(&frame, first, flags);
	free(frame.byte);
	return 0;
}
