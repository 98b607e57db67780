// SPDX-License-Identifier: GPL-2.0-only
/* A request and its body. */
#include "h3client/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* With --rate: so much may pass at once after a pause. */
#define BURST_S 0.05
#define PORTION_S 0.01

static int failed(struct transfer *t, const char *text)
{
	if (!t->error[0])
		snprintf(t->error, sizeof(t->error), "%s", text);
	t->failed = true;
	return -1;
}

/* GET /bytes/N: N. */
static bool parse_generated(const char *path, uint64_t *length)
{
	char *end;

	if (strncmp(path, "/bytes/", 7) != 0 || path[7] < '0' || path[7] > '9')
		return false;
	*length = strtoull(path + 7, &end, 10);
	return !*end;
}

static int fill_upload(void *owner, uint64_t offset, uint8_t *bytes, size_t len)
{
	struct transfer *t = owner;

	pattern_fill(offset, bytes, len);
	return gnutls_hash(t->expected, bytes, len) < 0 ? -1 : 0;
}

int transfer_init(struct transfer *t, const struct options *options, struct h3 *h3)
{
	memset(t, 0, sizeof(*t));
	t->options = options;
	t->h3 = h3;
	t->stream = -1;
	t->refilled_at = quic_now();
	if (!options->busy) {
		t->expected = sha256_new();
		t->got = sha256_new();
		if (!t->expected || !t->got)
			return failed(t, "out of memory");
	}
	if (options->upload) {
		t->total = options->upload_bytes;
		t->total_known = true;
		body_init(&t->body, options->upload_bytes, fill_upload, t);
	} else {
		t->generated = parse_generated(options->path, &t->total);
		t->total_known = t->generated;
	}
	return 0;
}

/*
 * Bytes of @left that --rate lets pass now.  Nothing until there is enough for a while: every
 * acknowledgement would otherwise set free a packet with a few bytes.
 */
static uint64_t allowance(const struct transfer *t, uint64_t left)
{
	double enough = (double)t->options->rate * PORTION_S;

	if (t->options->rate == 0)
		return UINT64_MAX;
	if (t->tokens < enough && t->tokens < (double)left)
		return 0;
	return (uint64_t)t->tokens;
}

static nghttp3_ssize read_body(nghttp3_conn *http, int64_t stream, nghttp3_vec *vecs, size_t count,
			       uint32_t *flags, void *user, void *stream_user)
{
	struct transfer *t = user;
	nghttp3_ssize n;

	(void)http, (void)stream, (void)count, (void)stream_user;
	n = body_read(&t->body, vecs, flags, allowance(t, t->body.length - t->body.produced));
	if (n > 0 && t->options->rate)
		t->tokens -= (double)vecs[0].len;
	return n;
}

static int recv_header(nghttp3_conn *http, int64_t stream, int32_t token, nghttp3_rcbuf *name,
		       nghttp3_rcbuf *value, uint8_t flags, void *user, void *stream_user)
{
	nghttp3_vec v = nghttp3_rcbuf_get_buf(value);
	struct transfer *t = user;
	char text[24];

	(void)http, (void)stream, (void)name, (void)flags, (void)stream_user;
	if (v.len >= sizeof(text))
		return 0;
	memcpy(text, v.base, v.len);
	text[v.len] = '\0';
	if (token == NGHTTP3_QPACK_TOKEN__STATUS)
		t->status = atoi(text);
	if (token == NGHTTP3_QPACK_TOKEN_CONTENT_LENGTH && !t->total_known) {
		t->total = strtoull(text, NULL, 10);
		t->total_known = true;
	}
	return 0;
}

/* What /bytes/N has at this place. */
static int hash_expected(struct transfer *t, size_t len)
{
	uint8_t bytes[4096];
	size_t done = 0;

	while (done < len) {
		size_t n = len - done < sizeof(bytes) ? len - done : sizeof(bytes);

		pattern_fill(t->received + done, bytes, n);
		if (gnutls_hash(t->expected, bytes, n) < 0)
			return -1;
		done += n;
	}
	return 0;
}

/* Two hashes of each byte would be most of what many connections cost. */
static void compare(struct transfer *t, const uint8_t *data, size_t len)
{
	uint8_t bytes[4096];
	size_t done, n;

	for (done = 0; done < len; done += n) {
		n = len - done < sizeof(bytes) ? len - done : sizeof(bytes);
		pattern_fill(t->received + done, bytes, n);
		if (memcmp(data + done, bytes, n) != 0)
			t->differs = true;
	}
}

static int hash(struct transfer *t, const uint8_t *data, size_t len)
{
	if (gnutls_hash(t->got, data, len) < 0)
		return -1;
	return t->generated ? hash_expected(t, len) : 0;
}

static void keep_reply(struct transfer *t, const uint8_t *data, size_t len)
{
	size_t used = strlen(t->reply);
	size_t room = sizeof(t->reply) - 1 - used;

	memcpy(t->reply + used, data, len < room ? len : room);
}

static int recv_data(nghttp3_conn *http, int64_t stream, const uint8_t *data, size_t len,
		     void *user, void *stream_user)
{
	struct transfer *t = user;

	(void)http, (void)stream_user;
	if (t->options->busy)
		compare(t, data, len);
	else if (hash(t, data, len) < 0)
		return NGHTTP3_ERR_CALLBACK_FAILURE;
	if (t->options->upload)
		keep_reply(t, data, len);
	t->received += len;
	if (t->options->rate && !t->options->upload)
		t->unconsumed += len;
	else
		h3_consumed(t->h3, stream, len);
	return 0;
}

static int deferred_consume(nghttp3_conn *http, int64_t stream, size_t consumed, void *user,
			    void *stream_user)
{
	(void)http, (void)stream_user;
	h3_consumed(((struct transfer *)user)->h3, stream, consumed);
	return 0;
}

static int resume(struct transfer *t)
{
	if (!t->body.blocked)
		return 0;
	t->body.blocked = false;
	return nghttp3_conn_resume_stream(t->h3->http, t->stream);
}

static int acked_stream_data(nghttp3_conn *http, int64_t stream, uint64_t len, void *user,
			     void *stream_user)
{
	struct transfer *t = user;

	(void)http, (void)stream, (void)stream_user;
	body_acked(&t->body, len);
	return resume(t);
}

static int stop_sending(nghttp3_conn *http, int64_t stream, uint64_t code, void *user,
			void *stream_user)
{
	(void)http, (void)stream_user;
	return ngtcp2_conn_shutdown_stream_read(((struct transfer *)user)->h3->quic, stream, code) ?
		       NGHTTP3_ERR_CALLBACK_FAILURE :
		       0;
}

static int reset_stream(nghttp3_conn *http, int64_t stream, uint64_t code, void *user,
			void *stream_user)
{
	(void)http, (void)stream_user;
	return ngtcp2_conn_shutdown_stream_write(((struct transfer *)user)->h3->quic, stream,
						 code) ?
		       NGHTTP3_ERR_CALLBACK_FAILURE :
		       0;
}

static int stream_close(nghttp3_conn *http, int64_t stream, uint64_t code, void *user,
			void *stream_user)
{
	struct transfer *t = user;
	char text[64];

	(void)http, (void)stream_user;
	if (stream != t->stream)
		return 0;
	if (code != NGHTTP3_H3_NO_ERROR) {
		snprintf(text, sizeof(text), "the server ended the stream with error 0x%" PRIx64,
			 code);
		failed(t, text);
	}
	t->complete = true;
	return 0;
}

int transfer_start_http(struct transfer *t)
{
	static const nghttp3_callbacks callbacks = {
		.acked_stream_data = acked_stream_data,
		.stream_close = stream_close,
		.recv_data = recv_data,
		.deferred_consume = deferred_consume,
		.recv_header = recv_header,
		.stop_sending = stop_sending,
		.reset_stream = reset_stream,
	};

	return h3_start_http(t->h3, &callbacks, 0, t);
}

static int request(struct transfer *t)
{
	const nghttp3_data_reader reader = { read_body };
	bool upload = t->options->upload;
	nghttp3_nv fields[5];
	char length[24];

	if (ngtcp2_conn_open_bidi_stream(t->h3->quic, &t->stream, NULL))
		return failed(t, "the server allows no stream");
	snprintf(length, sizeof(length), "%" PRIu64, t->total);
	fields[0] = h3_field(":method", upload ? "POST" : "GET");
	fields[1] = h3_field(":scheme", "https");
	fields[2] = h3_field(":authority", t->options->server_name);
	fields[3] = h3_field(":path", t->options->path);
	fields[4] = h3_field("content-length", length);
	if (nghttp3_conn_submit_request(t->h3->http, t->stream, fields, upload ? 5 : 4,
					upload ? &reader : NULL, NULL))
		return failed(t, "the request cannot be sent");
	t->requested_at = quic_now();
	return 0;
}

/* --rate: what was received is consumed, or what waits is sent, as tokens come in. */
static int refill(struct transfer *t)
{
	uint64_t now = quic_now();
	double burst = (double)t->options->rate * BURST_S;

	t->tokens += (double)t->options->rate * (double)(now - t->refilled_at) / NGTCP2_SECONDS;
	t->refilled_at = now;
	if (burst < 1)
		burst = 1;
	if (t->tokens > burst)
		t->tokens = burst;
	if (t->unconsumed > 0) {
		uint64_t n = allowance(t, t->unconsumed);

		if (n > t->unconsumed)
			n = t->unconsumed;
		h3_consumed(t->h3, t->stream, n);
		t->unconsumed -= n;
		t->tokens -= (double)n;
	}
	if (!t->complete && allowance(t, t->body.length - t->body.produced) > 0 && resume(t))
		return failed(t, "the upload cannot be resumed");
	return 0;
}

bool transfer_waits(const struct transfer *t)
{
	return t->unconsumed > 0;
}

int transfer_step(struct transfer *t)
{
	if (t->stream < 0) {
		if (!t->h3->http || !ngtcp2_conn_get_handshake_completed(t->h3->quic))
			return 0;
		return request(t);
	}
	return t->options->rate ? refill(t) : 0;
}

uint64_t transfer_progress(const struct transfer *t)
{
	return t->options->upload ? t->body.acked : t->received;
}

bool transfer_reached(const struct transfer *t, uint64_t percent)
{
	if (t->stream < 0 || !t->total_known)
		return false;
	return (double)transfer_progress(t) * 100 >= (double)t->total * (double)percent;
}

static int check_upload(struct transfer *t)
{
	char want[SHA256_TEXT + 32];

	sha256_text(t->expected, t->sha256);
	t->expected = NULL;
	snprintf(want, sizeof(want), "%s %" PRIu64 "\n", t->sha256, t->total);
	if (strcmp(want, t->reply) != 0)
		return failed(t, "the server received other bytes than were sent");
	return 0;
}

static int check_download(struct transfer *t)
{
	char want[SHA256_TEXT], text[TRANSFER_ERROR];

	if (t->total_known && t->received != t->total) {
		snprintf(text, sizeof(text), "%" PRIu64 " bytes came instead of %" PRIu64,
			 t->received, t->total);
		return failed(t, text);
	}
	if (t->options->busy)
		return t->differs ? failed(t, "other bytes came than had to") : 0;
	sha256_text(t->got, t->sha256);
	t->got = NULL;
	sha256_text(t->expected, want);
	t->expected = NULL;
	if (t->options->sha256)
		snprintf(want, sizeof(want), "%s", t->options->sha256);
	else if (!t->generated)
		return 0;
	if (strcasecmp(want, t->sha256) == 0)
		return 0;
	snprintf(text, sizeof(text), "SHA-256 is %s, expected %s", t->sha256, want);
	return failed(t, text);
}

int transfer_check(struct transfer *t)
{
	char text[64];

	if (t->failed)
		return -1;
	if (t->status != 200) {
		snprintf(text, sizeof(text), "the server answered with status %d", t->status);
		return failed(t, text);
	}
	return t->options->upload ? check_upload(t) : check_download(t);
}

void transfer_free(struct transfer *t)
{
	body_free(&t->body);
	if (t->expected)
		gnutls_hash_deinit(t->expected, NULL);
	if (t->got)
		gnutls_hash_deinit(t->got, NULL);
}
