/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the files of the library share. */
#ifndef CS_LIB_INTERNAL_H
#define CS_LIB_INTERNAL_H

#include <stdbool.h>

#include "cidsteer/cidsteer.h"
#include "common/protocol.h"
#include "common/routes.h"

#define EXPORT __attribute__((visibility("default")))

/* WRITEs that may be on their way without an answer: the daemon's socket buffer holds them. */
#define MAX_UNANSWERED 16

struct cidsteer {
	volatile uint8_t *owner; /* a page that the kernel wipes in a forked child */
	int poll;		 /* epoll instance: one descriptor for the handle's whole life */
	int control;		 /* connection to the daemon; -1: it went away */
	uint32_t serial;	 /* of the last request */
	uint32_t timeout_ms;
	uint32_t notes;
	bool shared; /* routes and usage are mapped; else all goes by message */

	struct routes routes;
	struct cs_usage *usage_lines; /* mapping of the service's lines */

	struct cs_msg_write batch;     /* WRITEs that were not sent yet */
	uint32_t unanswered;	       /* messages of WRITEs that were sent */
	uint32_t sent[MAX_UNANSWERED]; /* their serials, oldest first */
	int32_t last_result;	       /* of the last write of the last answer */
	uint32_t done;		       /* serial of the last DONE */
};

static inline bool is_child(const struct cidsteer *handle)
{
	return !*handle->owner;
}

/* link.c: the connection.  Each returns 0 or a negative errno. */
int link_connect(struct cidsteer *handle, const char *path);
void link_lost(struct cidsteer *handle);
int link_send(struct cidsteer *handle, struct cs_msg *message, uint16_t type, size_t bytes,
	      const int *fds, size_t count, int timeout_ms);
/* Waits for one message; descriptors that come with it are the caller's. */
int link_receive(struct cidsteer *handle, void *message, size_t size, int *fds, size_t *count,
		 int timeout_ms);
/* An answer's head: the right protocol, a length that is the type's. */
bool link_is(const struct cs_msg *message, size_t received, uint16_t type, size_t bytes);

/* batch.c: WRITEs by message, in order. */
int batch_add(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len);
int batch_call(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len);
int batch_flush(struct cidsteer *handle, int timeout_ms);
int batch_answers(struct cidsteer *handle, uint32_t leave, int timeout_ms);
/* Takes one answer of any kind. */
int batch_take(struct cidsteer *handle, int timeout_ms);

#endif
