/* SPDX-License-Identifier: GPL-2.0-only */
/* What `cidsteer attach` says of an interface, beside that it is attached. */
#ifndef CS_INTERFACES_H
#define CS_INTERFACES_H

#include "cli/status.h"

/*
 * What status finds about one interface and the devices that it sends to, also what would be lost
 * if packets were moved; and who no longer sees what is sent on.  Of what cannot be read nothing is
 * said.
 */
void findings_of_attached(const char *dir, const char *netns, const char *interface,
			  struct findings *findings);

#endif
