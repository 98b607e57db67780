// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Registering, and doing so again
 *
 *	          connect, REGISTER            REGISTERED
 *	AWAY ----------------------> REGISTERING ----------> CONNECTED
 *	  ^------------ the daemon is gone, or REFUSED ---------'
 *
 * A daemon that is started anew finds the worker in the kernel's maps, by its process and by the
 * cookies of its sockets (SO_COOKIE), and gives it back its id and its routes.  To any other daemon
 * it is a new worker: it maps what it is given, and asks the server for the IDs that are alive.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/point.h"
#include "lib/internal.h"

#define USAGE_BYTES (CS_MAX_SERVICE_WORKERS * sizeof(struct cs_usage))
#define FIRST_RETRY_MS 20
#define LAST_RETRY_MS 2000
#define MOST_FOLLOW 2 /* messages behind REGISTERED: FORMATS, LEASED */

union answer {
	struct cs_msg head;
	struct cs_msg_registered registered;
	struct cs_msg_refused refused;
	struct cs_msg_done done;
	struct cs_msg_written written;
	struct cs_msg_state state;
	struct cs_msg_formats formats;
	struct cs_msg_leased leased;
};

static int say(struct cidsteer *handle, int err, const char *line)
{
	snprintf(handle->error, sizeof(handle->error), "%s", line);
	return err;
}

/* ---- what is mapped ---------------------------------------------------------------------------
 */

/* A shared mapping that a child does not inherit: only this process may write as this worker. */
static void *map_shared(int fd, size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return NULL;
	if (madvise(memory, bytes, MADV_DONTFORK)) {
		munmap(memory, bytes);
		return NULL;
	}
	return memory;
}

static size_t table_bytes(const struct cs_table *table)
{
	return ((size_t)table->mask + 1) * sizeof(struct cs_bucket);
}

/* Entries of an array map; 0 if the descriptor is no such map.  Maps know their own size. */
static uint32_t map_entries(int fd, uint32_t value_size, uint32_t *id)
{
	struct bpf_map_info info = {};
	union bpf_attr attr = {};

	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	if (syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)))
		return 0;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != value_size)
		return 0;
	*id = info.id;
	return info.max_entries;
}

static int map_table(struct cidsteer *handle, int fd)
{
	struct cs_table *table = &handle->routes.table;
	uint32_t entries = map_entries(fd, sizeof(struct cs_bucket), &handle->table_id);

	if (entries < CS_MIN_BUCKETS || entries > CS_MAX_BUCKETS || entries & (entries - 1))
		return -EPROTO;
	table->mask = entries - 1;
	table->buckets = map_shared(fd, table_bytes(table));
	return table->buckets ? 0 : -errno;
}

static int map_usage(struct cidsteer *handle, int fd)
{
	uint32_t id;

	if (map_entries(fd, sizeof(struct cs_usage), &id) != CS_MAX_SERVICE_WORKERS)
		return -EPROTO;
	handle->usage_lines = map_shared(fd, USAGE_BYTES);
	return handle->usage_lines ? 0 : -errno;
}

void session_forget(struct cidsteer *handle)
{
	if (handle->routes.table.buckets)
		munmap(handle->routes.table.buckets, table_bytes(&handle->routes.table));
	if (handle->usage_lines)
		munmap(handle->usage_lines, USAGE_BYTES);
	handle->routes.table.buckets = NULL;
	handle->routes.usage = NULL;
	handle->usage_lines = NULL;
	routes_free(&handle->routes);
	handle->registered = false;
}

static int map_all(struct cidsteer *handle, const struct cs_msg_registered *answer,
		   const int fds[2])
{
	int err = routes_init(&handle->routes, answer->provisional);

	memcpy(handle->routes.key, answer->key, sizeof(answer->key));
	if (!err)
		err = map_table(handle, fds[0]);
	if (!err)
		err = map_usage(handle, fds[1]);
	if (err)
		return err;
	handle->routes.usage = &handle->usage_lines[answer->usage];
	handle->routes.sum = &handle->usage_lines[0];
	return 0;
}

/* ---- the answer -------------------------------------------------------------------------------
 */

static bool is_plausible(const struct cs_msg_registered *answer)
{
	return answer->usage && answer->usage < CS_MAX_SERVICE_WORKERS && answer->worker &&
	       answer->worker <= CS_WORKER_MASK && answer->cid_len <= CS_MAX_CID &&
	       answer->state > CS_WORKER_NONE && answer->state < CS_WORKER_DEAD &&
	       answer->follow <= MOST_FOLLOW;
}

/* Is it the worker that it was, over the table that is mapped? */
static bool is_same(const struct cidsteer *handle, const struct cs_msg_registered *answer,
		    const int fds[2])
{
	uint32_t id = 0;

	if (!handle->registered || !answer->returning || answer->shared != handle->shared ||
	    answer->worker != handle->routes.worker)
		return false;
	return !answer->shared ||
	       (map_entries(fds[0], sizeof(struct cs_bucket), &id) && id == handle->table_id);
}

static int become_new(struct cidsteer *handle, const struct cs_msg_registered *answer,
		      const int fds[2])
{
	bool again = handle->registered || handle->missed;
	int err;

	session_forget(handle);
	batch_lost(handle, true);
	handle->shared = answer->shared;
	err = answer->shared ? map_all(handle, answer, fds) : 0;
	if (err) {
		session_forget(handle);
		return say(handle, err, strerror(-err));
	}
	handle->routes.worker = answer->worker;
	handle->reissue = again;
	handle->claim = again;
	return 0;
}

/* None will be told.  Those of an earlier daemon are over; IDs by them are issued again. */
static void no_formats(struct cidsteer *handle)
{
	static const struct cs_msg_formats none;

	generator_formats(handle, &none);
	handle->claim = false;
}

static int take_registered(struct cidsteer *handle, const struct cs_msg_registered *answer,
			   const int fds[2])
{
	int err = 0;

	if (!is_plausible(answer))
		return say(handle, -EPROTO, "the daemon answers what makes no sense");
	if (handle->cid_length && handle->cid_length != answer->cid_len) {
		snprintf(handle->error, sizeof(handle->error),
			 "service \"%s\" has IDs of %u bytes, the server issues %u",
			 handle->service, answer->cid_len, handle->cid_length);
		return -EINVAL;
	}
	if (is_same(handle, answer, fds))
		handle->reissue = handle->missed;
	else
		err = become_new(handle, answer, fds);
	if (err)
		return err;
	if (!answer->follow)
		no_formats(handle);
	handle->routes.cid_len = answer->cid_len;
	handle->notes = answer->notes;
	handle->follow = answer->follow;
	handle->state.state = answer->state;
	handle->registered = true;
	handle->missed = false;
	handle->xsks_owed |= handle->xsks.count > 0;
	handle->retry_ms = FIRST_RETRY_MS;
	handle->error[0] = '\0';
	return 0;
}

static int take_refused(struct cidsteer *handle, struct cs_msg_refused *answer)
{
	answer->line[sizeof(answer->line) - 1] = '\0';
	return say(handle, is_result(answer->error, -1) ? answer->error : -EPROTO, answer->line);
}

/* Of REGISTER.  With an error the connection is of no more use. */
static int take_answer(struct cidsteer *handle, int timeout_ms)
{
	union answer answer;
	int fds[2] = { -1, -1 }, received, err;
	size_t count = 2;

	received = link_receive(handle, &answer, sizeof(answer), fds, &count, timeout_ms);
	if (received == -EAGAIN)
		return received;
	if (received == -ENOTCONN)
		return say(handle, -ECONNREFUSED, "the daemon closed the connection");
	if (received < 0)
		return say(handle, received, "the daemon does not answer");
	if (link_is(&answer.head, received, CS_MSG_REGISTERED, sizeof(answer.registered)) &&
	    count == (answer.registered.shared ? 2 : 0))
		err = take_registered(handle, &answer.registered, fds);
	else if (link_is(&answer.head, received, CS_MSG_REFUSED, sizeof(answer.refused)))
		err = take_refused(handle, &answer.refused);
	else
		err = say(handle, -EPROTO, "the daemon speaks another version of the protocol");
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	handle->registering = false;
	return err;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static bool sockets_are_there(const struct cidsteer *handle)
{
	for (uint32_t i = 0; i < handle->sockets; i++) {
		uint64_t cookie = 0;
		socklen_t len = sizeof(cookie);

		if (getsockopt(handle->socket[i], SOL_SOCKET, SO_COOKIE, &cookie, &len) ||
		    cookie != handle->cookie[i])
			return false;
	}
	return true;
}

static int send_register(struct cidsteer *handle, uint32_t flags, int timeout_ms)
{
	struct cs_msg_register request = {
		.flags = flags,
		.token = handle->token,
		.sockets = handle->sockets,
		.state = handle->draining ? CS_WORKER_DRAINING : handle->state.state,
		.cpu = handle->cpu,
		.key_len = handle->key_len,
	};
	char line[128];
	int err;

	memcpy(request.service, handle->service, sizeof(request.service));
	memcpy(request.key, handle->key, sizeof(request.key));
	err = link_send(handle, &request.head, CS_MSG_REGISTER, sizeof(request), handle->socket,
			handle->sockets, timeout_ms);
	if (err) {
		snprintf(line, sizeof(line), "sending the sockets: %s", strerror(-err));
		return say(handle, err, line);
	}
	handle->registering = true;
	CS_POINT("register"); /* asked, and not answered */
	return 0;
}

/* Connects and asks, later than cidsteer_open(); the answer comes later still. */
static int ask(struct cidsteer *handle)
{
	char line[256];
	int err = link_connect(handle, 0);

	if (!err)
		return send_register(handle, CS_REGISTER_SERVES, 0);
	snprintf(line, sizeof(line), "%s: %s", handle->path, strerror(-err));
	return say(handle, err, line);
}

static void arm_timer(struct cidsteer *handle, uint32_t ms)
{
	struct itimerspec when = { .it_value = { ms / 1000, ms % 1000 * 1000000L } };

	timerfd_settime(handle->timer, 0, &when, NULL);
}

/* Doubles the time to the next attempt. */
static void retry_later(struct cidsteer *handle)
{
	link_close(handle);
	arm_timer(handle, handle->retry_ms);
	handle->retry_ms *= 2;
	if (handle->retry_ms > LAST_RETRY_MS)
		handle->retry_ms = LAST_RETRY_MS;
}

void session_lost(struct cidsteer *handle)
{
	handle->retry_ms = FIRST_RETRY_MS;
	retry_later(handle);
}

/* Declared dead: nothing to come back to.  The server closes, and opens again if it likes. */
static void end(struct cidsteer *handle)
{
	handle->state.state = CS_WORKER_DEAD;
	link_close(handle);
	arm_timer(handle, 0);
}

static bool is_buried(const struct cidsteer *handle)
{
	return handle->routes.usage &&
	       __atomic_load_n(&handle->routes.usage->buried, __ATOMIC_ACQUIRE);
}

void session_retry(struct cidsteer *handle)
{
	uint64_t times;

	if (handle->control >= 0 || read(handle->timer, &times, sizeof(times)) != sizeof(times))
		return;
	if (is_buried(handle)) {
		end(handle);
		return;
	}
	if (!sockets_are_there(handle)) {
		say(handle, 0, "the sockets that were registered are closed");
		return;
	}
	if (ask(handle))
		retry_later(handle);
}

/* What comes behind REGISTERED. */
static int take_following(struct cidsteer *handle)
{
	int err = 0;

	while (!err && handle->follow)
		err = session_take(handle, handle->timeout_ms);
	if (err == -ENOTCONN)
		return say(handle, -ECONNREFUSED, "the daemon closed the connection");
	if (err == -ETIMEDOUT)
		return say(handle, err, "the daemon does not say how IDs are made");
	return err ? say(handle, err, "the daemon answers what makes no sense") : 0;
}

int session_open(struct cidsteer *handle)
{
	int err;

	for (uint32_t i = 0; i < handle->sockets; i++) {
		socklen_t len = sizeof(handle->cookie[i]);

		/* What is no socket is the daemon's to refuse, with its reason. */
		if (getsockopt(handle->socket[i], SOL_SOCKET, SO_COOKIE, &handle->cookie[i], &len))
			handle->cookie[i] = 0;
	}
	handle->retry_ms = FIRST_RETRY_MS;
	err = link_connect(handle, handle->timeout_ms);
	if ((err == -ENOENT || err == -ECONNREFUSED) && handle->cid_length) {
		snprintf(handle->error, sizeof(handle->error), "%s: %s", handle->path,
			 strerror(-err));
		handle->routes.cid_len = handle->cid_length;
		retry_later(handle);
		return 0;
	}
	if (err) {
		snprintf(handle->error, sizeof(handle->error), "%s: %s", handle->path,
			 strerror(-err));
		return err;
	}
	err = send_register(handle, 0, handle->timeout_ms);
	if (!err)
		err = take_answer(handle, handle->timeout_ms);
	return err ? err : take_following(handle);
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static int take_done(struct cidsteer *handle, const struct cs_msg_done *done)
{
	if (!is_result(done->result, 0))
		return -EPROTO;
	if (done->head.serial == handle->xsks_serial) {
		xsks_answered(handle, done->result);
		return 0;
	}
	handle->done = done->head.serial;
	handle->done_result = done->result;
	if (done->head.serial == handle->ready_serial) {
		handle->ready = false;
		handle->ready_serial = 0;
	}
	return 0;
}

static int take_state(struct cidsteer *handle, const struct cs_msg_state *state)
{
	handle->state = *state;
	if (state->state != CS_WORKER_DEAD)
		return 0;
	end(handle);
	return -ESTALE;
}

static int take_formats(struct cidsteer *handle, struct cs_msg_formats *formats)
{
	int err = generator_formats(handle, formats);

	explicit_bzero(formats, sizeof(*formats));
	handle->follow -= handle->follow > 0;
	if (!err && handle->claim)
		handle->claim = !generator_claim(handle);
	if (!err && !handle->follow)
		generator_prepare(handle);
	return err;
}

static int take_leased(struct cidsteer *handle, const struct cs_msg_leased *leased)
{
	handle->follow -= handle->follow > 0;
	return generator_leased(handle, leased);
}

/* Of REGISTER it is the end, see take_answer(). */
static int take_refusal(struct cidsteer *handle, struct cs_msg_refused *answer)
{
	if (!handle->xsks_serial || answer->head.serial != handle->xsks_serial)
		return -EPROTO;
	xsks_answered(handle, take_refused(handle, answer));
	return 0;
}

/* A daemon that answers wrong is given up: what it did is not known. */
static int take_message(struct cidsteer *handle, union answer *answer, size_t received)
{
	if (link_is(&answer->head, received, CS_MSG_REFUSED, sizeof(answer->refused)))
		return take_refusal(handle, &answer->refused);
	if (link_is(&answer->head, received, CS_MSG_DONE, sizeof(answer->done)))
		return take_done(handle, &answer->done);
	if (link_is(&answer->head, received, CS_MSG_STATE, sizeof(answer->state)) &&
	    answer->state.state > CS_WORKER_NONE && answer->state.state <= CS_WORKER_DEAD)
		return take_state(handle, &answer->state);
	if (link_is(&answer->head, received, CS_MSG_FORMATS, sizeof(answer->formats)))
		return take_formats(handle, &answer->formats);
	if (link_is(&answer->head, received, CS_MSG_LEASED, sizeof(answer->leased)))
		return take_leased(handle, &answer->leased);
	return batch_written(handle, &answer->written, received);
}

/*
 * An answer that is late is still an answer: after -ETIMEDOUT the connection stays, and what was
 * asked for may still happen.  To hang up would be to leave, and the daemon would bury us.
 */
int session_take(struct cidsteer *handle, int timeout_ms)
{
	union answer answer;
	int received, err;

	if (handle->control < 0)
		return handle->state.state == CS_WORKER_DEAD ? -ESTALE : -ENOTCONN;
	if (handle->registering) {
		err = take_answer(handle, timeout_ms);
		if (err && err != -EAGAIN)
			retry_later(handle);
		return err;
	}
	received = link_receive(handle, &answer, sizeof(answer), NULL, NULL, timeout_ms);
	if (received == -EAGAIN || received == -ETIMEDOUT)
		return received;
	err = received < 0 ? -ENOTCONN : take_message(handle, &answer, received);
	if (!err || handle->state.state == CS_WORKER_DEAD)
		return err;
	session_lost(handle);
	return err;
}

int session_ready(struct cidsteer *handle, int timeout_ms)
{
	struct cs_msg request = {};
	int err = link_send(handle, &request, CS_MSG_READY, sizeof(request), NULL, 0, timeout_ms);

	if (err == -ENOTCONN)
		session_lost(handle);
	if (err)
		return err;
	CS_POINT("ready"); /* said, and not answered */
	handle->ready_serial = request.serial;
	while (timeout_ms && !err && handle->done != request.serial)
		err = session_take(handle, timeout_ms);
	return err ? err : timeout_ms ? handle->done_result : 0;
}

void session_stray(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	struct cs_msg_stray message = { .len = len };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((uint64_t)now.tv_sec != handle->stray_second)
		handle->strays = 0;
	handle->stray_second = now.tv_sec;
	if (!is_connected(handle) || handle->strays >= MAX_STRAYS)
		return;
	handle->strays++;
	memcpy(message.cid, cid, len);
	/* Counted it is; a connection that is full or gone is noticed by cidsteer_dispatch(). */
	link_send(handle, &message.head, CS_MSG_STRAY, sizeof(message), NULL, 0, 0);
}
