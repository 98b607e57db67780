// SPDX-License-Identifier: GPL-2.0-only
/*
 * cs_stub: what is attached to a SO_REUSEPORT group.  One tail call into the listener's slot.
 *
 * Replacing a group's program takes a descriptor of one of its sockets, which a daemon that was
 * restarted does not have; an update of cs_listeners takes none.  With an empty slot the group
 * falls back to the kernel's own hash.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "core/abi.h"

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 cs_slot = 0;

/*
 * Listener -> its instance of cs_reuseport.  Written: daemon.  Read: stubs.
 * Emptied by the kernel when neither a pin nor a descriptor of it is left.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, CS_MAX_LISTENERS);
	__type(key, __u32);
	__type(value, __u32);
} cs_listeners SEC(".maps");

SEC("sk_reuseport")
int cs_stub(struct sk_reuseport_md *md)
{
	bpf_tail_call(md, &cs_listeners, cs_slot);
	return SK_PASS;
}
