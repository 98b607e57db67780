/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices: the veths behind which workers are that have another network namespace than their
 * service (behind_device in cidsteer.conf(5)).
 *
 * A device has a slot of cs_devs for as long as a worker is behind it and both of its ends are up:
 * what is sent to one that is not is lost.  Past that the packets go to the stack.
 */
#ifndef CS_DEVICES_H
#define CS_DEVICES_H

#include "daemon/workers.h"

/*
 * device_take - find the device that a worker is behind
 * @socket:	one of the worker's
 *
 * A worker that has one already is behind the other from now on.  Writes its target, and its entry
 * if it has one: before, it is only in its value.  Returns 0, or a negative errno with the line.
 */
int device_take(struct worker *worker, int socket, struct error *error);

/* It is sent nothing any more. */
void device_leave(struct worker *worker);

/* Of an adopted worker: its device is counted if it is the one that its target names.  What is not
 * is found again when the worker comes back.
 */
void device_adopt(struct worker *worker, const struct cs_target *target);

/* All are adopted: slots that nobody uses are emptied. */
void devices_settle(struct workers *workers);

/* Once a second: devices come, go, and change. */
void devices_follow(struct workers *workers);

#endif
