// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * AF_XDP sockets.  The library keeps their numbers, and the cookies (SO_COOKIE) by which they are
 * known to be the same, to pass them to the next daemon, too.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/internal.h"

_Static_assert(CIDSTEER_XSKS_MAX == CS_MAX_WORKER_XSKS, "cidsteer.h says what abi.h does");
_Static_assert(CIDSTEER_XSK_INTERFACES_MAX == CS_MAX_WORKER_NICS, "cidsteer.h, abi.h");

/* 0: it is no AF_XDP socket. */
static uint64_t read_cookie(int fd)
{
	uint64_t cookie = 0;
	int family = 0;
	socklen_t len = sizeof(family), cookie_len = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) || family != AF_XDP)
		return 0;
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_len) ? 0 : cookie;
}

/* Returns whether they are AF_XDP sockets. */
static bool remember(struct xsks *set, const struct cidsteer_xsk *xsks, size_t count)
{
	bool all = true;

	set->count = count;
	for (size_t i = 0; i < count; i++) {
		set->xsk[i] = xsks[i];
		set->cookie[i] = read_cookie(xsks[i].fd);
		all = all && set->cookie[i];
	}
	return all;
}

/* Its interface is gone: it was bound when it was set.  Without MSG_DONTWAIT nothing is done. */
static bool is_unbound(int fd)
{
	char byte;

	return recv(fd, &byte, sizeof(byte), 0) < 0 && errno == ENXIO;
}

/* Those that were closed meanwhile, or lost their interface, are nobody's. */
static void forget_lost(struct xsks *set)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < set->count; i++) {
		if (read_cookie(set->xsk[i].fd) != set->cookie[i] || is_unbound(set->xsk[i].fd))
			continue;
		set->xsk[left] = set->xsk[i];
		set->cookie[left++] = set->cookie[i];
	}
	set->count = left;
}

static int send_set(struct cidsteer *handle, int timeout_ms)
{
	const struct xsks *set = &handle->xsks;
	struct cs_msg_xsks request = { .count = set->count };
	int fds[CIDSTEER_XSKS_MAX], err;

	for (uint32_t i = 0; i < set->count; i++) {
		request.xsk[i] = (struct cs_xsk){ set->xsk[i].ifindex, set->xsk[i].queue };
		fds[i] = set->xsk[i].fd;
	}
	err = link_send(handle, &request.head, CS_MSG_XSKS,
			offsetof(struct cs_msg_xsks, xsk) + set->count * sizeof(request.xsk[0]),
			fds, set->count, timeout_ms);
	if (!err)
		handle->xsks_serial = request.head.serial;
	return err;
}

void xsks_resend(struct cidsteer *handle)
{
	if (!handle->xsks_owed || handle->xsks_serial)
		return;
	forget_lost(&handle->xsks);
	if (send_set(handle, 0) == -ENOTCONN)
		session_lost(handle);
}

void xsks_answered(struct cidsteer *handle, int result)
{
	handle->xsks_serial = 0;
	handle->xsks_owed = false;
	handle->xsks_result = result;
	if (!result || handle->xsks_waits)
		return;
	/* A worker that came back has those that the daemon found in the maps. */
	handle->xsks_owed = handle->xsks.count > 0;
	handle->no_xsks = handle->xsks_owed;
	handle->xsks.count = 0;
}

static int await_answer(struct cidsteer *handle)
{
	int err = 0;

	while (!err && handle->xsks_serial)
		err = session_take(handle, handle->timeout_ms);
	return err;
}

/* What was set is to be said; returns what the daemon answered. */
static int tell(struct cidsteer *handle)
{
	int err = is_connected(handle) ? send_set(handle, handle->timeout_ms) : -ENOTCONN;

	if (err == -ENOTCONN && handle->control >= 0 && !handle->registering)
		session_lost(handle);
	handle->xsks_waits = true;
	if (!err)
		err = await_answer(handle);
	handle->xsks_waits = false;
	return err ? err : handle->xsks_result;
}

EXPORT int cidsteer_set_xsks(struct cidsteer *handle, const struct cidsteer_xsk *xsks, size_t count)
{
	struct xsks before;
	bool owed;
	int err;

	if (is_child(handle))
		return -ECHILD;
	if (handle->state.state == CS_WORKER_DEAD)
		return -ESTALE;
	if (count > CIDSTEER_XSKS_MAX) {
		snprintf(handle->error, sizeof(handle->error), "more than %d AF_XDP sockets",
			 CIDSTEER_XSKS_MAX);
		return -EINVAL;
	}
	/* The answer to a set that timed out would be taken for that to this one. */
	err = await_answer(handle);
	if (err == -ETIMEDOUT || err == -ESTALE)
		return err;
	owed = handle->xsks_owed;
	before = handle->xsks;
	if (!remember(&handle->xsks, xsks, count)) {
		handle->xsks = before;
		snprintf(handle->error, sizeof(handle->error),
			 "a descriptor is not an AF_XDP socket");
		return -EINVAL;
	}
	handle->xsks_owed = true;
	handle->no_xsks = false;
	err = tell(handle);
	if (err && err != -ENOTCONN && err != -ETIMEDOUT) {
		handle->xsks = before;
		handle->xsks_owed = owed;
	}
	return err;
}
