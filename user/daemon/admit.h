/* SPDX-License-Identifier: GPL-2.0-only */
/* Is a descriptor that a stranger passed a socket of this service? */
#ifndef CS_ADMIT_H
#define CS_ADMIT_H

#include "daemon/workers.h"

/*
 * admit_socket - check one socket
 * @notes:	receives CIDSTEER_NOTE_* in addition
 * @elsewhere:	receives the cookie of its network namespace, if the service has workers behind
 *		devices and this is one; else 0
 *
 * Returns the listener, or NULL with *@err a negative errno and a line that names the reason.
 */
struct listener *admit_socket(struct workers *workers, __u32 service, int fd, __u32 *notes,
			      __u64 *elsewhere, int *err, struct error *error);

/* Network namespace of a service, in which all its listeners are: an index into
 * cs_abi.netns_cookie.
 */
__u16 service_netns(const struct workers *workers, __u32 service);

/* CIDSTEER_NOTE_* of a socket. */
__u32 admit_notes(int fd);

#endif
