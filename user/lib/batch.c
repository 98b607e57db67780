// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * In a service with shared_table = no the daemon writes the table.  What need not be known to
 * have happened (retire, a path change) waits in a batch; what must (issue, stray) sends the
 * batch with itself at its end and waits for the answer.  So the order is the caller's.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/internal.h"

/* What is batched makes the handle's descriptor readable: the caller's loop will send it. */
static void announce(struct cidsteer *handle, uint32_t events)
{
	struct epoll_event event = { .events = events };

	epoll_ctl(handle->poll, EPOLL_CTL_MOD, handle->control, &event);
}

static size_t batch_bytes(const struct cidsteer *handle)
{
	return offsetof(struct cs_msg_write, write) +
	       handle->batch.count * sizeof(handle->batch.write[0]);
}

/* A daemon that answers wrong is given up: what it did is not known. */
static int give_up(struct cidsteer *handle)
{
	link_lost(handle);
	return -EPROTO;
}

static int take_written(struct cidsteer *handle, const struct cs_msg_written *answer,
			size_t received)
{
	if (received < offsetof(struct cs_msg_written, result) || !answer->count ||
	    answer->count > CS_MAX_WRITES ||
	    !link_is(&answer->head, received, CS_MSG_WRITTEN,
		     offsetof(struct cs_msg_written, result) +
			     answer->count * sizeof(answer->result[0])) ||
	    !handle->unanswered || answer->head.serial != handle->sent[0])
		return give_up(handle);
	handle->unanswered--;
	memmove(handle->sent, handle->sent + 1, handle->unanswered * sizeof(handle->sent[0]));
	handle->last_result = answer->result[answer->count - 1];
	return 0;
}

/*
 * An answer that is late is still an answer: after -ETIMEDOUT the connection stays, and what was
 * asked for may still happen.  To hang up would be to leave, and the daemon would bury us.
 */
int batch_take(struct cidsteer *handle, int timeout_ms)
{
	union {
		struct cs_msg head;
		struct cs_msg_written written;
	} answer;
	int received;

	received = link_receive(handle, &answer, sizeof(answer), NULL, NULL, timeout_ms);
	if (received == -EAGAIN || received == -ETIMEDOUT)
		return received;
	if (received < 0) {
		link_lost(handle);
		return -ENOTCONN;
	}
	if (!link_is(&answer.head, received, CS_MSG_DONE, sizeof(answer.head)))
		return take_written(handle, &answer.written, received);
	handle->done = answer.head.serial;
	return 0;
}

/* Takes answers until at most @leave are outstanding. */
int batch_answers(struct cidsteer *handle, uint32_t leave, int timeout_ms)
{
	while (handle->unanswered > leave) {
		int err = batch_take(handle, timeout_ms);

		if (err)
			return err;
	}
	return 0;
}

/* With @timeout_ms 0 the batch may stay unsent: -EAGAIN. */
int batch_flush(struct cidsteer *handle, int timeout_ms)
{
	int err;

	if (handle->control < 0)
		return -ENOTCONN;
	if (!handle->batch.count)
		return 0;
	err = batch_answers(handle, MAX_UNANSWERED - 1, timeout_ms);
	/* The next answer makes room, and makes the handle's descriptor readable. */
	if (err == -EAGAIN)
		announce(handle, EPOLLIN);
	if (err)
		return err;
	err = link_send(handle, &handle->batch.head, CS_MSG_WRITE, batch_bytes(handle), NULL, 0,
			timeout_ms);
	if (err == -EAGAIN || err == -ETIMEDOUT)
		return err;
	if (err) {
		link_lost(handle);
		return -ENOTCONN;
	}
	handle->batch.count = 0;
	handle->sent[handle->unanswered++] = handle->serial;
	announce(handle, EPOLLIN);
	return 0;
}

int batch_add(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len)
{
	struct cs_write *write;
	int err;

	if (handle->control < 0)
		return -ENOTCONN;
	if (handle->batch.count == CS_MAX_WRITES) {
		err = batch_flush(handle, handle->timeout_ms);
		if (err)
			return err;
	}
	if (!handle->batch.count)
		announce(handle, EPOLLIN | EPOLLOUT);
	write = &handle->batch.write[handle->batch.count++];
	memset(write, 0, sizeof(*write));
	write->kind = kind;
	write->len = len;
	if (len)
		memcpy(write->cid, cid, len);
	return 0;
}

int batch_call(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len)
{
	int err = batch_add(handle, kind, cid, len);

	if (!err)
		err = batch_flush(handle, handle->timeout_ms);
	if (!err)
		err = batch_answers(handle, 0, handle->timeout_ms);
	return err ? err : handle->last_result;
}
