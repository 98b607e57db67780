/* SPDX-License-Identifier: GPL-2.0-only */
/* What to run, where a driver refuses native XDP. */
#ifndef CS_ADVICE_H
#define CS_ADVICE_H

#include "dataplane/links.h"

#define ADVICE 240

/*
 * advice_native - how an interface gets native XDP
 * @peer:	the other end of a veth; NULL: there is none, or it cannot be looked at
 * @err:	what the driver has answered, a negative errno
 * @said:	why, in the kernel's words; "": it gave no reason
 * @text:	receives what to run; "": nothing helps, or nobody knows what
 */
void advice_native(const struct link *link, const struct link *peer, int err, const char *said,
		   char text[ADVICE]);

/* "ip netns exec NAME ", in front of a command for an interface of that namespace, or "". */
#define ADVICE_IN (sizeof("ip netns exec  ") + NETNS_NAME)
const char *advice_in(const char *netns, char text[ADVICE_IN]);

#endif
