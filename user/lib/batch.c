// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * In a service with shared_table = no the daemon writes the table.  What need not be known to
 * have happened (retire, a path change) waits in a queue; what must (issue, stray) sends the
 * queue with itself at its end and waits for the answer.  So the order is the caller's.
 *
 * Writes stay in the queue until they are answered.  When the daemon goes away, those that were
 * not are sent to the next one: to retire twice does no harm.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/internal.h"

/* What is queued makes the handle's descriptor readable: the caller's loop will send it. */
static void announce(struct cidsteer *handle, uint32_t events)
{
	struct epoll_event event = { .events = events };

	epoll_ctl(handle->poll, EPOLL_CTL_MOD, handle->control, &event);
}

static uint32_t unsent(const struct queue *queue)
{
	return queue->count - queue->sent;
}

static void drop_oldest(struct queue *queue, uint32_t count)
{
	queue->first += count;
	queue->count -= count;
	queue->sent -= count;
	if (!queue->count)
		queue->first = 0;
}

static int make_room(struct queue *queue)
{
	uint32_t room = queue->room ? 2 * queue->room : CS_MAX_WRITES;
	struct cs_write *larger;

	if (queue->first + queue->count < queue->room)
		return 0;
	/* Answered ones in front: at least half, so that each is moved once at most. */
	if (queue->first > queue->count) {
		memmove(queue->write, queue->write + queue->first,
			queue->count * sizeof(*queue->write));
		queue->first = 0;
		return 0;
	}
	if (queue->count >= MAX_QUEUED)
		return -ENOBUFS;
	larger = realloc(queue->write, room * sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	queue->write = larger;
	queue->room = room;
	return 0;
}

int batch_written(struct cidsteer *handle, const struct cs_msg_written *answer, size_t received)
{
	struct queue *queue = &handle->queue;
	const struct cs_write *last;
	int32_t result;

	if (received < offsetof(struct cs_msg_written, result) || !queue->flights ||
	    answer->head.serial != queue->flight[0].serial ||
	    answer->count != queue->flight[0].count ||
	    !link_is(&answer->head, received, CS_MSG_WRITTEN,
		     offsetof(struct cs_msg_written, result) +
			     answer->count * sizeof(answer->result[0])))
		return -EPROTO;
	last = &queue->write[queue->first + answer->count - 1];
	result = answer->result[answer->count - 1];
	if (!is_result(result, last->kind == CS_WRITE_STRAY))
		return -EPROTO;
	drop_oldest(queue, answer->count);
	queue->flights--;
	memmove(queue->flight, queue->flight + 1, queue->flights * sizeof(queue->flight[0]));
	queue->last_result = result;
	return 0;
}

/* Takes answers until at most @leave are outstanding. */
static int take_answers(struct cidsteer *handle, uint32_t leave, int timeout_ms)
{
	while (handle->queue.flights > leave) {
		int err = session_take(handle, timeout_ms);

		if (err)
			return err;
	}
	return 0;
}

static int send_some(struct cidsteer *handle, int timeout_ms)
{
	struct queue *queue = &handle->queue;
	struct cs_msg_write message = { .count = unsent(queue) };
	int err;

	if (message.count > CS_MAX_WRITES)
		message.count = CS_MAX_WRITES;
	memcpy(message.write, queue->write + queue->first + queue->sent,
	       message.count * sizeof(message.write[0]));
	err = link_send(handle, &message.head, CS_MSG_WRITE,
			offsetof(struct cs_msg_write, write) +
				message.count * sizeof(message.write[0]),
			NULL, 0, timeout_ms);
	if (err == -EAGAIN || err == -ETIMEDOUT)
		return err;
	if (err) {
		session_lost(handle);
		return -ENOTCONN;
	}
	queue->flight[queue->flights].serial = handle->serial;
	queue->flight[queue->flights++].count = message.count;
	queue->sent += message.count;
	return 0;
}

/* With @timeout_ms 0 some may stay unsent: -EAGAIN. */
int batch_flush(struct cidsteer *handle, int timeout_ms)
{
	int err = 0;

	if (!is_connected(handle))
		return -ENOTCONN;
	if (!unsent(&handle->queue))
		return 0;
	while (!err && unsent(&handle->queue)) {
		err = take_answers(handle, MAX_UNANSWERED - 1, timeout_ms);
		if (!err)
			err = send_some(handle, timeout_ms);
	}
	/* The next answer makes room, and makes the handle's descriptor readable. */
	if (!err || err == -EAGAIN)
		announce(handle, EPOLLIN);
	return err;
}

static int push(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len)
{
	struct queue *queue = &handle->queue;
	struct cs_write *write;
	int err = make_room(queue);

	if (err)
		return err;
	write = &queue->write[queue->first + queue->count++];
	memset(write, 0, sizeof(*write));
	write->kind = kind;
	write->len = len;
	if (len)
		memcpy(write->cid, cid, len);
	return 0;
}

int batch_add(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len)
{
	int err;

	if (!handle->registered || handle->state.state == CS_WORKER_DEAD)
		return -ENOTCONN;
	if (is_connected(handle) && unsent(&handle->queue) >= CS_MAX_WRITES) {
		err = batch_flush(handle, handle->timeout_ms);
		if (err && err != -ENOTCONN)
			return err;
	}
	err = push(handle, kind, cid, len);
	if (!err && is_connected(handle) && unsent(&handle->queue) == 1)
		announce(handle, EPOLLIN | EPOLLOUT);
	return err;
}

int batch_call(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len)
{
	int err = is_connected(handle) ? push(handle, kind, cid, len) : -ENOTCONN;

	if (!err)
		err = batch_flush(handle, handle->timeout_ms);
	if (!err)
		err = take_answers(handle, 0, handle->timeout_ms);
	return err ? err : handle->queue.last_result;
}

/* An ID of which the caller was told that it is not issued may be issued all the same. */
void batch_lost(struct cidsteer *handle, bool all)
{
	struct queue *queue = &handle->queue;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < queue->count && !all; i++) {
		struct cs_write write = queue->write[queue->first + i];

		if (write.kind == CS_WRITE_STRAY)
			continue;
		if (write.kind == CS_WRITE_ISSUE || write.kind == CS_WRITE_ISSUE_PROVISIONAL)
			write.kind = CS_WRITE_RETIRE;
		queue->write[kept++] = write;
	}
	queue->first = 0;
	queue->count = kept;
	queue->sent = 0;
	queue->flights = 0;
}
