// SPDX-License-Identifier: GPL-2.0-only
/* CPUs that packets are moved to. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/output.h"
#include "cli/status.h"
#include "dataplane/links.h"

/* What is on its way arrives between two looks. */
#define LOOKS 5
#define BETWEEN_LOOKS_NS 2000000

int view_cpu(const struct view *view, int id)
{
	struct cs_target target;
	__u32 key = id;

	if (view->worker[id].target != CS_TARGET_CPU ||
	    bpf_map_lookup_elem(view->plane.map[PLANE_TARGETS], &key, &target) ||
	    target.index >= CS_MAX_CPUS)
		return -1;
	return target.index;
}

/* The least that was missing at any moment: as long as packets come, some are on their way. */
static int look(const struct plane *plane, struct status_cpu *cpu, bool first)
{
	int err = plane_cpu_count(plane, cpu->cpu, &cpu->count);
	__u64 missing = cpu->count.sent > cpu->count.arrived ?
				cpu->count.sent - cpu->count.arrived :
				0;

	if (!err && (first || missing < cpu->lost))
		cpu->lost = missing;
	return err;
}

static void find_cpus(struct status *status)
{
	for (__u32 cpu = 0; cpu < CS_MAX_CPUS; cpu++) {
		struct status_cpu *to = &status->cpu[status->cpus];
		struct bpf_cpumap_val value;

		if (bpf_map_lookup_elem(status->view->plane.map[PLANE_CPUS], &cpu, &value))
			continue;
		*to = (struct status_cpu){ .cpu = cpu, .queue = value.qsize };
		for (int id = 1; id < CS_MAX_WORKERS; id++)
			to->workers += view_is_live(&status->view->worker[id]) &&
				       view_cpu(status->view, id) == (int)cpu;
		status->cpus++;
	}
}

int cpus_read(struct status *status)
{
	const struct timespec nap = { 0, BETWEEN_LOOKS_NS };
	int err = 0;

	find_cpus(status);
	for (int i = 0; i < LOOKS && status->cpus && !err; i++) {
		for (unsigned int at = 0; at < status->cpus && !err; at++)
			err = look(&status->view->plane, &status->cpu[at], !i);
		nanosleep(&nap, NULL);
	}
	return err;
}

/* ---- interfaces ------------------------------------------------------------------------------ */

/* Native XDP hands on a frame: what the driver, or a veth's peer, has put beside it is lost. */
static void judge_peer(struct status *status, const struct link *link, const struct link *peer)
{
	const char *in = *peer->netns ? "ip netns exec " : "", *space = *peer->netns ? " " : "";
	char action[sizeof(((struct finding *)0)->action)];

	if (peer->tx_checksum) {
		snprintf(action, sizeof(action), "%s%s%sethtool -K %s tx off", in, peer->netns,
			 space, peer->name);
		findings_add(&status->findings, WORD_NOT_STEERING, action,
			     "%s: its peer %s leaves checksums to offload: what is moved "
			     "is lost",
			     link->name, peer->name);
	}
	if (peer->tx_vlan && link->has_vlans) {
		snprintf(action, sizeof(action), "%s%s%sethtool -K %s txvlan off", in, peer->netns,
			 space, peer->name);
		findings_add(&status->findings, WORD_NOT_STEERING, action,
			     "%s: its peer %s leaves VLAN tags to offload: what is moved "
			     "has none",
			     link->name, peer->name);
	}
}

static void judge_link(struct status *status, const struct attached *at,
		       void (*note)(struct status *status, const char *line))
{
	char action[sizeof(((struct finding *)0)->action)];
	struct link link, peer;
	struct error line;
	bool is_veth;

	if (link_read(at->netns, at->name, &link))
		return; /* it has gone, or has nothing to set */
	is_veth = !strcmp(link.kind, "veth");
	if (is_veth && !link_read_peer(&link, &peer)) {
		judge_peer(status, &link, &peer);
	} else if (is_veth) {
		error_set(&line, 0,
			  "%s: its peer is where this process cannot look: it must not leave "
			  "checksums to offload: ethtool -K PEER tx off",
			  link.name);
		note(status, line.line);
	} else if (link.rx_vlan && link.has_vlans) {
		snprintf(action, sizeof(action), "ethtool -K %s rxvlan off", link.name);
		findings_add(&status->findings, WORD_NOT_STEERING, action,
			     "%s takes out VLAN tags: what is moved has none", link.name);
	}
}

static bool has_devices(const struct status *status, const char *netns)
{
	for (unsigned int i = 0; i < status->devices; i++) {
		if (!strcmp(status->device[i].netns, netns))
			return true;
	}
	return false;
}

/* The kernel takes a map of CPUs or devices from no extension: there it is an empty one. */
static void judge_dispatcher(struct status *status, const struct attached *at)
{
	const char *option = *at->netns ? " --netns " : "";
	char action[sizeof(((struct finding *)0)->action)];
	bool loses = has_devices(status, at->netns);

	if (!loses && !status->cpus)
		return;
	snprintf(action, sizeof(action),
		 "cidsteer detach %s --force%s%s; cidsteer attach %s --alone%s%s", at->name, option,
		 at->netns, at->name, option, at->netns);
	findings_add(&status->findings, loses ? WORD_NOT_STEERING : WORD_DEGRADED, action,
		     "%s: behind libxdp's dispatcher nothing is moved to a CPU or sent to a device",
		     at->name);
}

void findings_of_moves(struct status *status, void (*note)(struct status *status, const char *line))
{
	bool moves = status->cpus || status->devices || status->foresees;

	for (unsigned int i = 0; moves && i < status->attached_count; i++) {
		const struct attached *at = &status->attached[i];

		if (at->info.state == ATTACH_OURS && at->info.dispatcher)
			judge_dispatcher(status, at);
		else if (at->info.state == ATTACH_OURS && at->info.mode == ATTACH_NATIVE)
			judge_link(status, at, note);
	}
}
