/* SPDX-License-Identifier: GPL-2.0-only */
/* One packet of a pcap or pcapng file. */
#ifndef CS_CAPTURE_H
#define CS_CAPTURE_H

#include "cli/frame.h"
#include "common/error.h"

/*
 * capture_read - the frame that XDP would see of a captured packet
 * @number:	from 1
 *
 * The file is anybody's: it is read once, from its begin up to the packet, in bounded memory.
 * Returns 0, or a negative errno with the line: the file's name and what is wrong.
 */
int capture_read(const char *path, unsigned long number, struct frame *frame, struct error *error);

#endif
