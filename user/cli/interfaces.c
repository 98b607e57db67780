// SPDX-License-Identifier: GPL-2.0-only
/* How interfaces are set: what joins packets, what they are made of, their queues. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli/interfaces.h"
#include "cli/output.h"
#include "common/cleanup.h"
#include "dataplane/advice.h"

#define ACTION sizeof(((struct finding *)0)->action)

/* A frame that fits a page, with the room that drivers leave before and behind it (x86, 6.1). */
#define MTU_OF_PAGE 3506
#define USUAL_MTU 1500

/* "--netns red", with a blank before, or "". */
static void option_of(const struct attached *at, char option[NETNS_NAME + 16])
{
	snprintf(option, NETNS_NAME + 16, "%s%s", *at->netns ? " --netns " : "", at->netns);
}

/* ---- what joins packets ---------------------------------------------------------------------- */

static void judge_gro_list(struct status *status, const struct link *link)
{
	char action[ACTION], in[ADVICE_IN];

	if (!link->joins.gro || !link->joins.gro_list)
		return;
	snprintf(action, sizeof(action), "%sethtool -K %s rx-gro-list off",
		 advice_in(link->netns, in), link->name);
	findings_add(&status->findings, WORD_DEGRADED, action,
		     "%s: rx-gro-list is on: GRO joins datagrams behind XDP, whatever connections "
		     "they are of, and the group's program picks a worker once for all of them",
		     link->name);
}

/*
 * The kernel turns these off for generic XDP, but anybody may turn them on again, and some are
 * fixed. Drivers with native XDP refuse it with these, or turn them off for it, virtio-net without
 * showing it.
 */
static void judge_nic_joins(struct status *status, const struct link *link)
{
	const struct joins *joins = &link->joins;
	const char *what = joins->lro && joins->gro_hw ? "lro and rx-gro-hw are" :
			   joins->lro		       ? "lro is" :
							 "rx-gro-hw is";
	char action[ACTION], in[ADVICE_IN];

	if (!joins->lro && !joins->gro_hw)
		return;
	if (joins->fixed)
		snprintf(action, sizeof(action), "it is fixed here: who runs this machine can");
	else
		snprintf(action, sizeof(action), "%sethtool -K %s%s%s", advice_in(link->netns, in),
			 link->name, joins->lro ? " lro off" : "",
			 joins->gro_hw ? " rx-gro-hw off" : "");
	findings_add(&status->findings, WORD_STEERING, action,
		     "%s: %s on: what the NIC joins, XDP and the group's program decide on once",
		     link->name, what);
}

/* ---- why it is generic ----------------------------------------------------------------------- */

static void judge_kind(struct status *status, const struct attached *at, const struct link *link)
{
	char action[ACTION], below[sizeof(link->instead)], option[NETNS_NAME + 16];
	const char *name;
	char *rest = NULL;

	option_of(at, option);
	snprintf(action, sizeof(action), "cidsteer detach %s --force%s", at->name, option);
	snprintf(below, sizeof(below), "%s", link->instead);
	for (name = strtok_r(below, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest))
		append(action, sizeof(action), "; cidsteer attach %s%s", name, option);
	findings_add(&status->findings, WORD_STEERING, action,
		     "%s: generic XDP on a %s: what is below may have native: attach to, and name "
		     "in the configuration, %s",
		     at->name, link->kind, link->instead);
}

static void judge_mtu(struct status *status, const struct attached *at, const struct link *link)
{
	char action[ACTION], in[ADVICE_IN], option[NETNS_NAME + 16];

	option_of(at, option);
	snprintf(action, sizeof(action),
		 "%sip link set dev %s mtu %d; cidsteer detach %s --force%s; cidsteer attach %s%s",
		 advice_in(at->netns, in), at->name, USUAL_MTU, at->name, option, at->name, option);
	findings_add(&status->findings, WORD_STEERING, action,
		     "%s: generic XDP, and its MTU is %d: many drivers have native XDP for frames "
		     "that fit a page only",
		     at->name, link->mtu);
}

/*
 * Generic XDP works on a copy of most packets, and since Linux 6.9 the copy forgets how long the
 * Ethernet header is (skb_pp_cow_data() leaves mac_len out), which a CPUMAP is to take off: IP
 * looks for its header 14 bytes too early.
 */
static bool loses_copies(void)
{
	unsigned int version, patch;
	struct utsname kernel;

	return !uname(&kernel) && sscanf(kernel.release, "%u.%u", &version, &patch) == 2 &&
	       (version > 6 || (version == 6 && patch >= 9));
}

static void judge_copies(struct status *status, const struct attached *at)
{
	char action[ACTION], option[NETNS_NAME + 16];

	if ((!status->cpus && !status->foresees) || at->info.dispatcher || !loses_copies())
		return;
	option_of(at, option);
	snprintf(action, sizeof(action),
		 "cidsteer detach %s --force%s; cidsteer attach %s --mode native%s; without native "
		 "XDP: cpu = \"never\"",
		 at->name, option, at->name, option);
	findings_add(&status->findings, WORD_NOT_STEERING, action,
		     "%s: generic XDP, of Linux 6.9 and newer: what is moved to a CPU is lost",
		     at->name);
}

/* A veth's frames are those of its peer's MTU, and may have several buffers. */
static void judge_generic(struct status *status, const struct attached *at, const struct link *link)
{
	if (at->info.mode != ATTACH_GENERIC)
		return;
	judge_copies(status, at);
	judge_nic_joins(status, link);
	if (*link->instead)
		judge_kind(status, at, link);
	else if (link->mtu > MTU_OF_PAGE && strcmp(link->kind, "veth") && strcmp(at->name, "lo"))
		judge_mtu(status, at, link);
}

/* ---- queues ---------------------------------------------------------------------------------- */

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Writes what to run to have @wanted queues to receive by, or as many as there can be. */
static unsigned int judge_nic(const struct link *link, unsigned int wanted, char action[ACTION])
{
	const struct queues *queues = &link->queues;
	unsigned int now = queues->rx + queues->combined;
	char in[ADVICE_IN];

	if (queues->combined_max)
		wanted = least(wanted, queues->combined_max);
	else
		wanted = least(wanted, queues->rx_max);
	if (now < wanted)
		snprintf(action, ACTION, "%sethtool -L %s %s %u", advice_in(link->netns, in),
			 link->name, queues->combined_max ? "combined" : "rx", wanted);
	return now < wanted ? now : 0;
}

/* By so many as its other end sends by. */
static unsigned int judge_veth(const struct link *link, unsigned int wanted, char action[ACTION])
{
	char in[ADVICE_IN], there[ADVICE_IN];
	unsigned int now;
	struct link peer;

	if (link_read_peer(link, &peer))
		return 0;
	now = least(link->queues.rx, peer.queues.tx);
	wanted = least(wanted, least(link->queues.rx_max, peer.queues.tx_max));
	if (now < wanted)
		snprintf(action, ACTION, "%sethtool -L %s rx %u; %sethtool -L %s tx %u",
			 advice_in(link->netns, in), link->name, wanted,
			 advice_in(peer.netns, there), peer.name, wanted);
	return now < wanted ? now : 0;
}

static void judge_queues(struct status *status, const struct link *link)
{
	char action[ACTION] = "";
	unsigned int now;

	if (status->cpus < 2)
		return;
	now = strcmp(link->kind, "veth") ? judge_nic(link, status->cpus, action) :
					   judge_veth(link, status->cpus, action);
	if (now)
		findings_add(&status->findings, WORD_STEERING, action,
			     "%s has %u queue%s to receive by, and packets are moved to %u CPUs: "
			     "no more CPUs than queues take them from it at a time",
			     link->name, now, now == 1 ? "" : "s", status->cpus);
}

/* ---- who else is at the hook ----------------------------------------------------------------- */

static bool is_steered(const struct status *status, const char *netns)
{
	for (unsigned int i = 0; i < status->attached_count; i++) {
		if (status->attached[i].info.state == ATTACH_OURS &&
		    !strcmp(status->attached[i].netns, netns))
			return true;
	}
	return false;
}

/* Once: a host can have hundreds of them, which are nobody's mistake. */
static void judge_others(struct status *status)
{
	const struct attached *first = NULL;
	char action[ACTION], option[NETNS_NAME + 16], in[ADVICE_IN], name[32];

	for (unsigned int i = 0; i < status->attached_count && !first; i++) {
		if (status->attached[i].info.state == ATTACH_OTHER &&
		    !is_steered(status, status->attached[i].netns))
			first = &status->attached[i];
	}
	if (!first)
		return;
	option_of(first, option);
	name_copy(name, first->info.prog_name, sizeof(name));
	if (!strcmp(name, "xdp_dispatcher"))
		snprintf(action, sizeof(action), "cidsteer attach %s%s", first->name, option);
	else
		snprintf(action, sizeof(action),
			 "if it may go: %sip link set dev %s xdp off; cidsteer attach %s%s",
			 advice_in(first->netns, in), first->name, first->name, option);
	findings_add(&status->findings, WORD_STEERING, action,
		     "%s has another XDP program (id %u, %s): packets are steered at sockets only",
		     first->name, first->info.prog_id, *name ? name : "?");
}

void findings_of_settings(struct status *status)
{
	for (unsigned int i = 0; i < status->attached_count; i++) {
		const struct attached *at = &status->attached[i];
		struct link link;

		if (at->info.state != ATTACH_OURS || link_read(at->netns, at->name, &link))
			continue;
		judge_gro_list(status, &link);
		judge_generic(status, at, &link);
		judge_queues(status, &link);
	}
	judge_others(status);
}

/* ---- when one is attached -------------------------------------------------------------------- */

/* The first word of a finding's reason is whom it is about; here it is one, and what it sends to.
 */
static void keep_one(struct status *status, const char *netns, const char *interface)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < status->attached_count; i++) {
		if (!strcmp(status->attached[i].netns, netns) &&
		    !strcmp(status->attached[i].name, interface))
			status->attached[kept++] = status->attached[i];
	}
	status->attached_count = kept;
	kept = 0;
	for (unsigned int i = 0; i < status->devices; i++) {
		if (!strcmp(status->device[i].netns, netns))
			status->device[kept++] = status->device[i];
	}
	status->devices = kept;
}

/* Native or generic, XDP is before the stack's hooks here, and what it sends leaves by none. */
static void say_who_is_blind(struct status *status, const char *interface)
{
	for (unsigned int i = 0; i < status->devices; i++) {
		const struct status_device *device = &status->device[i];
		const struct cs_worker *worker = &status->view->worker[device->worker];
		char action[ACTION];
		struct way way;

		if (!device->there || way_read(device->netns, device->ifindex, &way))
			continue;
		snprintf(action, sizeof(action), "nsenter -t %u -n tcpdump -i %s", worker->pid,
			 way.peer_name);
		findings_add(&status->findings, WORD_STEERING, action,
			     "%s sends what is for workers behind %s past the stack: nftables and "
			     "tcpdump do not see it here, neither at %s nor at %s",
			     interface, way.name, interface, way.name);
	}
}

static void ignore(struct status *status, const char *line)
{
	(void)status, (void)line;
}

static void free_status(struct status **status)
{
	if (!*status)
		return;
	view_close(&(*status)->view);
	free((*status)->attached);
	free(*status);
}

void findings_of_attached(const char *dir, const char *netns, const char *interface,
			  struct findings *findings)
{
	struct status *status __attribute__((cleanup(free_status))) = calloc(1, sizeof(*status));
	struct error unused;

	if (!status || view_open(&status->view, dir, &unused) || cpus_read(status) ||
	    devices_read(status) ||
	    attached_read(&status->view->plane, &status->attached, &status->attached_count,
			  &unused))
		return;
	keep_one(status, netns, interface);
	status->foresees = true;
	findings_of_moves(status, ignore);
	findings_of_devices(status, ignore);
	findings_of_replies(status);
	findings_of_settings(status);
	say_who_is_blind(status, interface);
	*findings = status->findings;
}

void findings_note(const struct findings *findings)
{
	for (unsigned int i = 0; i < findings->count; i++)
		printf("note: %s: %s\n", findings->list[i].reason, findings->list[i].action);
}
