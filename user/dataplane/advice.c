// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/advice.h"

#define USUAL_MTU 1500 /* a page has room for it in every driver that has native XDP */

const char *advice_in(const char *netns, char text[ADVICE_IN])
{
	snprintf(text, ADVICE_IN, "%s%s%s", *netns ? "ip netns exec " : "", netns,
		 *netns ? " " : "");
	return text;
}

/* A veth's packets come in by as many queues as its other end sends by. */
static void advise_veth_queues(const struct link *link, const struct link *peer, char text[ADVICE])
{
	unsigned int most = link->queues.rx_max;
	char in[ADVICE_IN], there[ADVICE_IN];

	advice_in(link->netns, in);
	if (!peer)
		snprintf(text, ADVICE, "%sethtool -L %s rx N, at least as many as its peer has tx",
			 in, link->name);
	else if (most >= peer->queues.tx)
		snprintf(text, ADVICE, "%sethtool -L %s rx %u", in, link->name, peer->queues.tx);
	else
		snprintf(text, ADVICE, "%sethtool -L %s rx %u; %sethtool -L %s tx %u", in,
			 link->name, most, advice_in(peer->netns, there), peer->name, most);
}

static void advise_mtu(const struct link *link, char text[ADVICE])
{
	char in[ADVICE_IN];

	snprintf(text, ADVICE, "%sip link set dev %s mtu %d", advice_in(link->netns, in),
		 link->name, USUAL_MTU);
}

static void advise_joins(const struct link *link, char text[ADVICE])
{
	char in[ADVICE_IN];

	if (link->joins.fixed || (!link->joins.lro && !link->joins.gro_hw))
		snprintf(text, ADVICE,
			 "only who runs this machine can: QEMU's ctrl_guest_offloads=on for %s",
			 link->name);
	else
		snprintf(text, ADVICE, "%sethtool -K %s%s%s", advice_in(link->netns, in),
			 link->name, link->joins.lro ? " lro off" : "",
			 link->joins.gro_hw ? " rx-gro-hw off" : "");
}

/* Drivers that want a queue to send by for each CPU, or for each that receives. */
static void advise_queues(const struct link *link, char text[ADVICE])
{
	unsigned int now = link->queues.combined, half = link->queues.combined_max / 2;
	char in[ADVICE_IN];

	if (half && now > half)
		snprintf(text, ADVICE, "%sethtool -L %s combined %u", advice_in(link->netns, in),
			 link->name, half);
	else
		snprintf(text, ADVICE, "fewer or combined queues: %sethtool -L %s",
			 advice_in(link->netns, in), link->name);
}

/* Drivers of before extended acknowledgements write their reason to the log only. */
static void advise_unsaid(const struct link *link, char text[ADVICE])
{
	if (link->joins.lro || link->joins.gro_hw)
		advise_joins(link, text);
	else if (link->mtu > USUAL_MTU)
		advise_mtu(link, text);
	else
		snprintf(text, ADVICE, "dmesg may say why");
}

void advice_native(const struct link *link, const struct link *peer, int err, const char *said,
		   char text[ADVICE])
{
	bool is_veth = !strcmp(link->kind, "veth");

	*text = '\0';
	if (is_veth && err == -ENOSPC)
		advise_veth_queues(link, peer, text);
	else if (strstr(said, "GRO") || strstr(said, "LRO") || strstr(said, "CSUM"))
		advise_joins(link, text);
	else if (strstr(said, "MTU") && is_veth && !peer)
		snprintf(text, ADVICE, "its peer's MTU: ip link set dev PEER mtu %d", USUAL_MTU);
	else if (strstr(said, "MTU"))
		advise_mtu(is_veth ? peer : link, text);
	else if (strstr(said, "queue") || strstr(said, "hannel"))
		advise_queues(link, text);
	else if (!*said)
		advise_unsaid(link, text);
}
