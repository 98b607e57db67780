/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An outgoing HTTP body of any length in bounded memory
 *
 * QUIC may have to send any byte again until the peer acknowledges it, and nghttp3 does not
 * copy.  So a body is cut into chunks that stay where they are until they are acknowledged,
 * and there are never more than BODY_CHUNKS of them.
 */
#ifndef EXAMPLES_COMMON_BODY_H
#define EXAMPLES_COMMON_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp3/nghttp3.h>

#define BODY_CHUNK_BYTES (16 * 1024)
#define BODY_CHUNKS 128

struct body_chunk;

struct body {
	/* Writes bytes [@offset, @offset + @len) of the body; 0 or -1. */
	int (*fill)(void *owner, uint64_t offset, uint8_t *bytes, size_t len);
	void *owner;
	uint64_t length;
	uint64_t produced;
	uint64_t acked;
	bool blocked;	    /* nghttp3 was told to wait: resume the stream */
	unsigned int first; /* ring of chunks in flight: [first, first + count) */
	unsigned int count;
	struct body_chunk *chunks[BODY_CHUNKS];
};

/* All zero is an empty body. */
void body_init(struct body *body, uint64_t length,
	       int (*fill)(void *owner, uint64_t offset, uint8_t *bytes, size_t len), void *owner);

/*
 * body_read - the next chunk, for an nghttp3_read_data_callback
 * @allowance:	produce no more than so many bytes
 *
 * Returns what that callback returns.
 */
nghttp3_ssize body_read(struct body *body, nghttp3_vec *vec, uint32_t *flags, uint64_t allowance);

/* The peer has @len more bytes. */
void body_acked(struct body *body, uint64_t len);

void body_free(struct body *body);

#endif
