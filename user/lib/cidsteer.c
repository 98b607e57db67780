// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/internal.h"

#define DEFAULT_TIMEOUT_MS 5000
#define USAGE_BYTES (CS_MAX_SERVICE_WORKERS * sizeof(struct cs_usage))

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

	if (!handle)
		return NULL;
	handle->control = -1;
	handle->timeout_ms = options->timeout_ms;
	handle->owner = make_owner_page();
	handle->poll = epoll_create1(EPOLL_CLOEXEC);
	if (handle->owner && handle->poll >= 0)
		return handle;
	cidsteer_close(handle);
	return NULL;
}

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
static uint32_t map_entries(int fd, uint32_t value_size)
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
	return info.max_entries;
}

static int map_table(struct cidsteer *handle, int fd)
{
	struct cs_table *table = &handle->routes.table;
	uint32_t entries = map_entries(fd, sizeof(struct cs_bucket));

	if (entries < CS_MIN_BUCKETS || entries > CS_MAX_BUCKETS || entries & (entries - 1))
		return -EPROTO;
	table->mask = entries - 1;
	table->buckets = map_shared(fd, table_bytes(table));
	return table->buckets ? 0 : -errno;
}

static int map_usage(struct cidsteer *handle, int fd)
{
	if (map_entries(fd, sizeof(struct cs_usage)) != CS_MAX_SERVICE_WORKERS)
		return -EPROTO;
	handle->usage_lines = map_shared(fd, USAGE_BYTES);
	return handle->usage_lines ? 0 : -errno;
}

static int take_maps(struct cidsteer *handle, const struct cs_msg_registered *answer,
		     const int fds[2])
{
	int err;

	if (answer->usage >= CS_MAX_SERVICE_WORKERS || !answer->worker ||
	    answer->worker > CS_WORKER_MASK || answer->cid_len > CS_MAX_CID)
		return -EPROTO;
	handle->routes.worker = answer->worker;
	handle->routes.cid_len = answer->cid_len;
	handle->notes = answer->notes;
	handle->shared = answer->shared;
	if (!handle->shared)
		return 0;
	memcpy(handle->routes.key, answer->key, sizeof(answer->key));
	err = routes_init(&handle->routes, answer->provisional);
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

static int take_answer(struct cidsteer *handle, const struct cidsteer_options *options)
{
	union {
		struct cs_msg head;
		struct cs_msg_registered registered;
		struct cs_msg_refused refused;
	} answer;
	int fds[2] = { -1, -1 }, received, err;
	size_t count = 2;

	received = link_receive(handle, &answer, sizeof(answer), fds, &count, options->timeout_ms);
	if (received == -ENOTCONN)
		return say(options, -ECONNREFUSED, "the daemon closed the connection");
	if (received < 0)
		return say(options, received, "the daemon does not answer");
	if (link_is(&answer.head, received, CS_MSG_REGISTERED, sizeof(answer.registered)) &&
	    count == (answer.registered.shared ? 2 : 0))
		err = take_maps(handle, &answer.registered, fds);
	else if (link_is(&answer.head, received, CS_MSG_REFUSED, sizeof(answer.refused)) &&
		 answer.refused.error < 0) {
		answer.refused.line[sizeof(answer.refused.line) - 1] = '\0';
		err = say(options, answer.refused.error, answer.refused.line);
	} else {
		err = say(options, -EPROTO, "the daemon speaks another version of the protocol");
	}
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return err;
}

static int register_worker(struct cidsteer *handle, const char *service, const int *sockets,
			   size_t count, const struct cidsteer_options *options)
{
	struct cs_msg_register request = { .generation = options->generation, .sockets = count };
	char line[256];
	int err;

	strcpy(request.service, service);
	err = link_connect(handle, options->control);
	if (err) {
		snprintf(line, sizeof(line), "%s: %s", options->control, strerror(-err));
		return say(options, err, line);
	}
	err = link_send(handle, &request.head, CS_MSG_REGISTER, sizeof(request), sockets, count,
			options->timeout_ms);
	if (err) {
		snprintf(line, sizeof(line), "sending the sockets: %s", strerror(-err));
		return say(options, err, line);
	}
	return take_answer(handle, options);
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
	made = make_handle(&options);
	if (!made)
		return say(&options, errno ? -errno : -ENOMEM, strerror(errno ? errno : ENOMEM));
	err = register_worker(made, service, sockets, count, &options);
	if (err) {
		if (options.error && options.error_size && !options.error[0])
			say(&options, err, strerror(-err));
		cidsteer_close(made);
		return err;
	}
	*handle = made;
	return 0;
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
	if (!child && handle->routes.table.buckets)
		munmap(handle->routes.table.buckets, table_bytes(&handle->routes.table));
	if (!child && handle->usage_lines)
		munmap(handle->usage_lines, USAGE_BYTES);
	if (handle->control >= 0)
		close(handle->control);
	if (handle->poll >= 0)
		close(handle->poll);
	if (handle->owner)
		munmap((void *)handle->owner, sysconf(_SC_PAGESIZE));
	routes_free(&handle->routes);
	free(handle);
}

EXPORT int cidsteer_issue(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	if (is_child(handle))
		return -ECHILD;
	if (!len || len != handle->routes.cid_len)
		return -EINVAL;
	if (handle->shared)
		return routes_issue(&handle->routes, cid, len);
	return batch_call(handle, CS_WRITE_ISSUE, cid, len);
}

EXPORT int cidsteer_issue_provisional(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	if (is_child(handle))
		return -ECHILD;
	if (!len || len > CIDSTEER_CID_MAX)
		return -EINVAL;
	if (handle->shared)
		return routes_issue_provisional(&handle->routes, cid, len);
	return batch_call(handle, CS_WRITE_ISSUE_PROVISIONAL, cid, len);
}

EXPORT int cidsteer_retire(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	if (is_child(handle))
		return -ECHILD;
	if (!len || len > CIDSTEER_CID_MAX)
		return -EINVAL;
	if (handle->shared)
		return routes_retire(&handle->routes, cid, len);
	return batch_add(handle, CS_WRITE_RETIRE, cid, len);
}

EXPORT int cidsteer_report_stray(struct cidsteer *handle, const uint8_t *cid, size_t len)
{
	if (is_child(handle))
		return -ECHILD;
	if (!len || len > CIDSTEER_CID_MAX)
		return -EINVAL;
	if (handle->shared)
		return routes_stray(&handle->routes, cid, len);
	return batch_call(handle, CS_WRITE_STRAY, cid, len);
}

EXPORT int cidsteer_report_path_change(struct cidsteer *handle)
{
	if (is_child(handle))
		return -ECHILD;
	if (!handle->shared)
		return batch_add(handle, CS_WRITE_PATH_CHANGE, NULL, 0);
	routes_path_change(&handle->routes);
	return 0;
}

EXPORT int cidsteer_drain(struct cidsteer *handle)
{
	struct cs_msg request = {};
	int err;

	if (is_child(handle))
		return -ECHILD;
	err = batch_flush(handle, handle->timeout_ms);
	if (!err)
		err = link_send(handle, &request, CS_MSG_DRAIN, sizeof(request), NULL, 0,
				handle->timeout_ms);
	/* Answers to what was batched before come before its own. */
	while (!err && handle->done != request.serial)
		err = batch_take(handle, handle->timeout_ms);
	return err;
}

EXPORT int cidsteer_fd(const struct cidsteer *handle)
{
	return handle->poll;
}

/* Nothing comes unasked but the daemon's end, and the answers to what was sent. */
EXPORT int cidsteer_dispatch(struct cidsteer *handle)
{
	int err;

	if (is_child(handle))
		return -ECHILD;
	if (handle->control < 0)
		return -ENOTCONN;
	do {
		err = batch_take(handle, 0);
	} while (!err);
	if (err == -EAGAIN)
		err = batch_flush(handle, 0);
	return err == -EAGAIN ? 0 : err ? -ENOTCONN : 0;
}

EXPORT size_t cidsteer_cid_length(const struct cidsteer *handle)
{
	return handle->routes.cid_len;
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
