// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/lb.h"
#include "lib/internal.h"

#define DEFAULT_TIMEOUT_MS 5000

static int say(const struct cidsteer_options *options, int err, const char *line)
{
	if (options->error && options->error_size)
		snprintf(options->error, options->error_size, "%s", line);
	return err;
}

/* Options of an older caller end earlier, those of a newer one are understood if zero there. */
static int read_options(const struct cidsteer_options *from, struct cidsteer_options *to)
{
	const char *control = secure_getenv("CIDSTEER_CONTROL");
	const uint8_t *bytes = (const uint8_t *)from;

	memset(to, 0, sizeof(*to));
	if (from) {
		if (from->size < offsetof(struct cidsteer_options, generation))
			return -EINVAL;
		for (size_t i = sizeof(*to); i < from->size; i++) {
			if (bytes[i])
				return -EINVAL;
		}
		memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
	}
	if (!to->control)
		to->control = control && *control ? control : CS_CONTROL_PATH;
	if (!to->timeout_ms)
		to->timeout_ms = DEFAULT_TIMEOUT_MS;
	return 0;
}

/* The page that tells a child that it is one: no system call is needed to ask. */
static uint8_t *make_owner_page(void)
{
	long page = sysconf(_SC_PAGESIZE);
	uint8_t *owner = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);

	if (owner == MAP_FAILED)
		return NULL;
	if (madvise(owner, page, MADV_WIPEONFORK)) {
		munmap(owner, page);
		return NULL;
	}
	*owner = 1;
	return owner;
}

static struct cidsteer *make_handle(const struct cidsteer_options *options)
{
	struct cidsteer *handle = calloc(1, sizeof(*handle));
	struct epoll_event event = { .events = EPOLLIN };

	if (!handle)
		return NULL;
	handle->control = -1;
	handle->timeout_ms = options->timeout_ms;
	handle->owner = make_owner_page();
	handle->poll = epoll_create1(EPOLL_CLOEXEC);
	handle->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (!generator_init(handle) && handle->owner && handle->poll >= 0 && handle->timer >= 0 &&
	    !epoll_ctl(handle->poll, EPOLL_CTL_ADD, handle->timer, &event))
		return handle;
	cidsteer_close(handle);
	return NULL;
}

/* The one that this thread may run on, as CIDSTEER_CPU(); 0: there are several. */
static uint32_t own_cpu(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) != 1)
		return 0;
	for (uint32_t cpu = 0; cpu < CS_MAX_CPUS; cpu++) {
		if (CPU_ISSET(cpu, &set))
			return CIDSTEER_CPU(cpu);
	}
	return 0;
}

static int fill_handle(struct cidsteer *handle, const char *service, const int *sockets,
		       size_t count, const struct cidsteer_options *options)
{
	if (strlen(options->control) >= sizeof(handle->path))
		return -ENAMETOOLONG;
	strcpy(handle->path, options->control);
	strcpy(handle->service, service);
	memcpy(handle->socket, sockets, count * sizeof(*sockets));
	handle->sockets = count;
	handle->token = options->generation;
	handle->cid_length = options->cid_length;
	handle->key_len = options->worker_key_len;
	if (options->worker_key_len)
		memcpy(handle->key, options->worker_key, options->worker_key_len);
	handle->cpu = options->cpu == CIDSTEER_CPU_OWN ? own_cpu() : options->cpu;
	return session_open(handle);
}

EXPORT int cidsteer_open(struct cidsteer **handle, const char *service, const int *sockets,
			 size_t count, const struct cidsteer_options *caller)
{
	struct cidsteer_options options;
	struct cidsteer *made;
	int err = read_options(caller, &options);

	if (err)
		return err;
	say(&options, 0, "");
	if (!service || !*service || strlen(service) >= CS_NAME_SIZE)
		return say(&options, -EINVAL, "a service's name has 1 to 15 bytes");
	if (!count || count > CS_MAX_SERVICE_LISTENERS)
		return say(&options, -EINVAL, "1 to 16 sockets, one for each listener");
	if (options.cid_length > CIDSTEER_CID_MAX)
		return say(&options, -EINVAL, "cid_length is not 0..20");
	if (options.worker_key_len > CS_LB_MAX_SERVER_ID ||
	    !options.worker_key != !options.worker_key_len)
		return say(&options, -EINVAL, "worker_key has 1 to 15 octets");
	made = make_handle(&options);
	if (!made)
		return say(&options, errno ? -errno : -ENOMEM, strerror(errno ? errno : ENOMEM));
	err = fill_handle(made, service, sockets, count, &options);
	if (err) {
		say(&options, err, made->error[0] ? made->error : strerror(-err));
		cidsteer_close(made);
		return err;
	}
	*handle = made;
	return 0;
}

/* Without a daemon nobody else takes this worker's routes away, and the next one is to bury it:
 * also if it is not known yet that the daemon is gone.
 */
static void leave(struct cidsteer *handle)
{
	const struct cs_table *table = &handle->routes.table;

	if (table->buckets)
		__atomic_store_n(&handle->routes.usage->buried, 1, __ATOMIC_SEQ_CST);
	if (table->buckets && handle->control < 0)
		cs_table_sweep(table, 0, table->mask + 1, handle->routes.worker);
	session_forget(handle);
}

EXPORT void cidsteer_close(struct cidsteer *handle)
{
	bool child;

	if (!handle)
		return;
	child = handle->owner && is_child(handle);
	if (!child && handle->control >= 0) {
		batch_flush(handle, 0);
		/* A child may hold a copy of the connection: close() would not end it. */
		shutdown(handle->control, SHUT_RDWR);
	}
	/* In a child the mappings are not there, and the descriptors are copies. */
	if (child) {
		routes_free(&handle->routes);
	} else {
		leave(handle);
		generator_free(handle);
	}
	if (handle->control >= 0)
		close(handle->control);
	if (handle->timer >= 0)
		close(handle->timer);
	if (handle->poll >= 0)
		close(handle->poll);
	if (handle->owner)
		munmap((void *)handle->owner, sysconf(_SC_PAGESIZE));
	free(handle->queue.write);
	free(handle);
}

/* Declared dead by the daemon. */
static bool is_dead(const struct cidsteer *handle)
{
	return handle->state.state == CS_WORKER_DEAD;
}

/* What cannot be done is what the server will be asked for later. */
static int issue_by_message(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len)
{
	int err;

	if (is_dead(handle))
		return -ESTALE;
	err = handle->registered ? batch_call(handle, kind, cid, len) : -ENOTCONN;
	handle->missed |= err == -ENOTCONN;
	return err;
}

EXPORT int cidsteer_generate(struct cidsteer *handle, uint8_t *cid, size_t len)
{
	if (is_child(handle))
		return -ECHILD;
	return is_dead(handle) ? -ESTALE : generator_make(handle, cid, len);
}

EXPORT int cidsteer_issue(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	if (is_child(handle))
		return -ECHILD;
	if (!len || len > CIDSTEER_CID_MAX)
		return -EINVAL;
	if (generator_carried(handle, cid, len) == CARRIES_OWN)
		return is_dead(handle) ? -ESTALE : 0;
	if (len != handle->routes.cid_len || !generator_allows(handle, cid))
		return -EINVAL;
	if (handle->routes.usage)
		return routes_issue(&handle->routes, cid, len);
	return issue_by_message(handle, CS_WRITE_ISSUE, cid, len);
}

EXPORT int cidsteer_issue_provisional(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	if (is_child(handle))
		return -ECHILD;
	if (!len || len > CIDSTEER_CID_MAX)
		return -EINVAL;
	if (handle->routes.usage)
		return routes_issue_provisional(&handle->routes, cid, len);
	return issue_by_message(handle, CS_WRITE_ISSUE_PROVISIONAL, cid, len);
}

EXPORT int cidsteer_retire(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	int err;

	if (is_child(handle))
		return -ECHILD;
	if (!len || len > CIDSTEER_CID_MAX)
		return -EINVAL;
	if (handle->routes.usage) {
		err = routes_retire(&handle->routes, cid, len);
		return err == -ENOENT && generator_carried(handle, cid, len) ? 0 : err;
	}
	return batch_add(handle, CS_WRITE_RETIRE, cid, len);
}

EXPORT int cidsteer_report_stray(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	enum carried carried;
	int stray;

	if (is_child(handle))
		return -ECHILD;
	if (!len || len > CIDSTEER_CID_MAX)
		return -EINVAL;
	carried = generator_carried(handle, cid, len);
	if (carried == CARRIES_OWN)
		return 0;
	if (carried == CARRIES_OTHER)
		session_stray(handle, cid, len);
	if (!handle->routes.usage)
		return batch_call(handle, CS_WRITE_STRAY, cid, len);
	stray = routes_stray(&handle->routes, cid, len);
	if (stray == 1)
		session_stray(handle, cid, len);
	return stray;
}

EXPORT int cidsteer_report_path_change(struct cidsteer *handle)
{
	if (is_child(handle))
		return -ECHILD;
	if (!handle->routes.usage)
		return batch_add(handle, CS_WRITE_PATH_CHANGE, NULL, 0);
	routes_path_change(&handle->routes);
	return 0;
}

EXPORT int cidsteer_ready(struct cidsteer *handle)
{
	int err;

	if (is_child(handle))
		return -ECHILD;
	if (is_dead(handle))
		return -ESTALE;
	handle->ready = true;
	err = batch_flush(handle, handle->timeout_ms);
	return err ? err : session_ready(handle, handle->timeout_ms);
}

EXPORT int cidsteer_drain(struct cidsteer *handle)
{
	struct cs_msg request = {};
	int err;

	if (is_child(handle))
		return -ECHILD;
	if (is_dead(handle))
		return -ESTALE;
	/* What the next daemon is told, if this one does not hear it. */
	handle->draining = true;
	handle->state.state = CS_WORKER_DRAINING;
	err = batch_flush(handle, handle->timeout_ms);
	if (!err)
		err = link_send(handle, &request, CS_MSG_DRAIN, sizeof(request), NULL, 0,
				handle->timeout_ms);
	/* Answers to what was sent before come before its own. */
	while (!err && handle->done != request.serial)
		err = session_take(handle, handle->timeout_ms);
	return err ? err : handle->done_result;
}

EXPORT int cidsteer_fd(const struct cidsteer *handle)
{
	return handle->poll;
}

/* What came, and what waited for that. */
static int take_all(struct cidsteer *handle)
{
	bool had = is_connected(handle);
	int err;

	do {
		err = session_take(handle, 0);
	} while (!err);
	if (err == -EAGAIN && is_connected(handle)) {
		err = batch_flush(handle, 0);
		if (!err && handle->ready && !handle->ready_serial)
			session_ready(handle, 0);
		if (!err && is_connected(handle))
			xsks_resend(handle);
	}
	return had && handle->control < 0 ? -ENOTCONN : 0;
}

EXPORT int cidsteer_dispatch(struct cidsteer *handle)
{
	bool was_dead;
	int err;

	if (is_child(handle))
		return -ECHILD;
	was_dead = is_dead(handle);
	session_retry(handle);
	err = handle->control < 0 ? 0 : take_all(handle);
	if (is_dead(handle))
		return was_dead ? 0 : -ESTALE;
	if (err)
		return err;
	if (handle->reissue && !handle->claim && !generator_claims(handle)) {
		handle->reissue = false;
		return CIDSTEER_REISSUE;
	}
	err = handle->no_xsks ? CIDSTEER_NO_XSKS : 0;
	handle->no_xsks = false;
	return err;
}

EXPORT int cidsteer_get_state(const struct cidsteer *handle, struct cidsteer_state *state)
{
	struct cidsteer_state now = {
		.state = handle->state.state,
		.connected = is_connected(handle),
		.routes = handle->state.routes,
		.generation_routes = handle->state.generation_routes,
		.drain_ms = handle->state.drain_ms,
	};

	if (is_child(handle))
		return -ECHILD;
	if (state->size < sizeof(now))
		return -EINVAL;
	if (handle->routes.usage)
		now.routes = handle->routes.usage->issued - handle->routes.usage->retired;
	now.size = state->size;
	memcpy(state, &now, sizeof(now));
	return 0;
}

EXPORT const char *cidsteer_error(const struct cidsteer *handle)
{
	return handle->error;
}

EXPORT size_t cidsteer_cid_length(const struct cidsteer *handle)
{
	/* In a child the formats are not there. */
	return is_child(handle) ? handle->routes.cid_len : generator_length(handle);
}

EXPORT unsigned int cidsteer_worker_id(const struct cidsteer *handle)
{
	return handle->routes.worker;
}

EXPORT unsigned int cidsteer_notes(const struct cidsteer *handle)
{
	return handle->notes;
}

EXPORT const char *cidsteer_version(void)
{
	return CIDSTEER_VERSION;
}
