// SPDX-License-Identifier: GPL-2.0-only
/* Outgoing bodies: a ring of chunks between production and acknowledgement. */
#include "common/body.h"

#include <stdlib.h>
#include <string.h>

struct body_chunk {
	uint64_t end; /* offset in the body after its last byte */
	uint8_t bytes[BODY_CHUNK_BYTES];
};

void body_init(struct body *body, uint64_t length,
	       int (*fill)(void *owner, uint64_t offset, uint8_t *bytes, size_t len), void *owner)
{
	memset(body, 0, sizeof(*body));
	body->length = length;
	body->fill = fill;
	body->owner = owner;
}

static struct body_chunk *produce(struct body *body, size_t len)
{
	struct body_chunk *chunk = malloc(sizeof(*chunk));

	if (!chunk)
		return NULL;
	if (body->fill(body->owner, body->produced, chunk->bytes, len) < 0) {
		free(chunk);
		return NULL;
	}
	body->produced += len;
	chunk->end = body->produced;
	body->chunks[(body->first + body->count++) % BODY_CHUNKS] = chunk;
	return chunk;
}

nghttp3_ssize body_read(struct body *body, nghttp3_vec *vec, uint32_t *flags, uint64_t allowance)
{
	uint64_t len = body->length - body->produced;
	struct body_chunk *chunk;

	if (len == 0) {
		*flags |= NGHTTP3_DATA_FLAG_EOF;
		return 0;
	}
	if (len > BODY_CHUNK_BYTES)
		len = BODY_CHUNK_BYTES;
	if (len > allowance)
		len = allowance;
	if (len == 0 || body->count == BODY_CHUNKS) {
		body->blocked = true;
		return NGHTTP3_ERR_WOULDBLOCK;
	}
	chunk = produce(body, len);
	if (!chunk)
		return NGHTTP3_ERR_CALLBACK_FAILURE;
	if (body->produced == body->length)
		*flags |= NGHTTP3_DATA_FLAG_EOF;
	vec->base = chunk->bytes;
	vec->len = len;
	return 1;
}

void body_acked(struct body *body, uint64_t len)
{
	body->acked += len;
	while (body->count > 0 && body->chunks[body->first]->end <= body->acked) {
		free(body->chunks[body->first]);
		body->first = (body->first + 1) % BODY_CHUNKS;
		body->count--;
	}
}

void body_free(struct body *body)
{
	body_acked(body, body->length - body->acked);
}
