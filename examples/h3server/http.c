// SPDX-License-Identifier: GPL-2.0-only
/* Requests and responses. */
#include "h3server/http.h"

#include "common/body.h"
#include "common/pattern.h"
#include "h3server/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define METHOD_MAX 16
#define REQUEST_PATH_MAX 1024

struct request {
	struct request *next; /* of the connection */
	struct conn *conn;
	int64_t stream;
	char method[METHOD_MAX];
	char path[REQUEST_PATH_MAX];
	int status;
	int file;	       /* -1: none */
	char text[128];	       /* a body that fits here */
	struct body body;      /* of the response */
	gnutls_hash_hd_t hash; /* of an upload to /sink */
	uint64_t received;
	unsigned int path_changes;
	uint64_t bytes_at_change;
};

static bool method_is(const struct request *r, const char *method)
{
	return strcmp(r->method, method) == 0;
}

static bool is_upload(const struct request *r)
{
	return method_is(r, "POST") || method_is(r, "PUT");
}

static uint64_t transferred(const struct request *r)
{
	return is_upload(r) ? r->received : r->body.acked;
}

static int fill_pattern(void *owner, uint64_t offset, uint8_t *bytes, size_t len)
{
	(void)owner;
	pattern_fill(offset, bytes, len);
	return 0;
}

static int fill_text(void *owner, uint64_t offset, uint8_t *bytes, size_t len)
{
	memcpy(bytes, ((struct request *)owner)->text + offset, len);
	return 0;
}

/* A file that became shorter cannot keep its Content-Length: the response fails. */
static int fill_file(void *owner, uint64_t offset, uint8_t *bytes, size_t len)
{
	return pread(((struct request *)owner)->file, bytes, len, (off_t)offset) == (ssize_t)len ?
		       0 :
		       -1;
}

static nghttp3_ssize read_body(nghttp3_conn *http, int64_t stream, nghttp3_vec *vecs, size_t count,
			       uint32_t *flags, void *user, void *stream_user)
{
	struct request *r = stream_user;

	(void)http, (void)stream, (void)count, (void)user;
	return body_read(&r->body, vecs, flags, UINT64_MAX);
}

static int respond(struct request *r, int status, const char *type)
{
	const nghttp3_data_reader reader = { read_body };
	bool head = method_is(r, "HEAD");
	char status_text[16], length[24];
	nghttp3_nv fields[3];

	r->status = status;
	snprintf(status_text, sizeof(status_text), "%d", status);
	snprintf(length, sizeof(length), "%" PRIu64, r->body.length);
	fields[0] = h3_field(":status", status_text);
	fields[1] = h3_field("content-length", length);
	fields[2] = h3_field("content-type", type);
	if (head)
		r->body.length = 0;
	return nghttp3_conn_submit_response(r->conn->h3.http, r->stream, fields, 3,
					    head ? NULL : &reader) ?
		       NGHTTP3_ERR_CALLBACK_FAILURE :
		       0;
}

static int respond_text(struct request *r, int status, const char *text)
{
	snprintf(r->text, sizeof(r->text), "%s", text);
	body_init(&r->body, strlen(r->text), fill_text, r);
	return respond(r, status, "text/plain");
}

static int respond_pattern(struct request *r, const char *number)
{
	unsigned long long length;
	char *end;

	errno = 0;
	length = strtoull(number, &end, 10);
	if (number[0] < '0' || number[0] > '9' || *end || errno || length > PATTERN_MAX)
		return respond_text(r, 400, "expected /bytes/N, N at most 2^40\n");
	body_init(&r->body, length, fill_pattern, r);
	return respond(r, 200, "application/octet-stream");
}

static int respond_sink(struct request *r)
{
	char sha256[SHA256_TEXT], text[128];

	sha256_text(r->hash, sha256);
	r->hash = NULL;
	snprintf(text, sizeof(text), "%s %" PRIu64 "\n", sha256, r->received);
	return respond_text(r, 200, text);
}

static int respond_file(struct request *r)
{
	uint64_t size;

	r->file = files_open(r->conn->worker->server->root, r->path, &size);
	if (r->file < 0)
		return respond_text(r, 404, "not found\n");
	body_init(&r->body, size, fill_file, r);
	return respond(r, 200, files_type(r->path));
}

/* The request is complete, its body included. */
static int end_stream(nghttp3_conn *http, int64_t stream, void *user, void *stream_user)
{
	struct request *r = stream_user;

	(void)http, (void)stream, (void)user;
	if (is_upload(r))
		return r->hash ? respond_sink(r) : respond_text(r, 404, "uploads go to /sink\n");
	if (!method_is(r, "GET") && !method_is(r, "HEAD"))
		return respond_text(r, 405, "GET, HEAD, POST or PUT\n");
	if (strncmp(r->path, "/bytes/", 7) == 0)
		return respond_pattern(r, r->path + 7);
	return respond_file(r);
}

static int begin_headers(nghttp3_conn *http, int64_t stream, void *user, void *stream_user)
{
	struct conn *conn = user;
	struct request *r = calloc(1, sizeof(*r));

	(void)stream_user;
	if (!r)
		return NGHTTP3_ERR_CALLBACK_FAILURE;
	r->conn = conn;
	r->stream = stream;
	r->file = -1;
	r->next = conn->requests;
	conn->requests = r;
	return nghttp3_conn_set_stream_user_data(http, stream, r);
}

/* What does not fit is no path of ours: it stays empty and is not found. */
static void copy_value(char *to, size_t size, nghttp3_vec value)
{
	if (value.len < size) {
		memcpy(to, value.base, value.len);
		to[value.len] = '\0';
	}
}

static int recv_header(nghttp3_conn *http, int64_t stream, int32_t token, nghttp3_rcbuf *name,
		       nghttp3_rcbuf *value, uint8_t flags, void *user, void *stream_user)
{
	struct request *r = stream_user;

	(void)http, (void)stream, (void)name, (void)flags, (void)user;
	if (token == NGHTTP3_QPACK_TOKEN__METHOD)
		copy_value(r->method, sizeof(r->method), nghttp3_rcbuf_get_buf(value));
	else if (token == NGHTTP3_QPACK_TOKEN__PATH)
		copy_value(r->path, sizeof(r->path), nghttp3_rcbuf_get_buf(value));
	return 0;
}

static int end_headers(nghttp3_conn *http, int64_t stream, int fin, void *user, void *stream_user)
{
	struct request *r = stream_user;

	(void)http, (void)stream, (void)fin, (void)user;
	if (is_upload(r) && strcmp(r->path, "/sink") == 0)
		r->hash = sha256_new();
	return 0;
}

static int recv_data(nghttp3_conn *http, int64_t stream, const uint8_t *data, size_t len,
		     void *user, void *stream_user)
{
	struct request *r = stream_user;
	struct conn *conn = user;

	(void)http;
	if (r->hash && gnutls_hash(r->hash, data, len) < 0)
		return NGHTTP3_ERR_CALLBACK_FAILURE;
	r->received += len;
	h3_consumed(&conn->h3, stream, len);
	return 0;
}

static int deferred_consume(nghttp3_conn *http, int64_t stream, size_t consumed, void *user,
			    void *stream_user)
{
	(void)http, (void)stream_user;
	h3_consumed(&((struct conn *)user)->h3, stream, consumed);
	return 0;
}

static int acked_stream_data(nghttp3_conn *http, int64_t stream, uint64_t len, void *user,
			     void *stream_user)
{
	struct request *r = stream_user;

	(void)user;
	body_acked(&r->body, len);
	if (!r->body.blocked)
		return 0;
	r->body.blocked = false;
	return nghttp3_conn_resume_stream(http, stream);
}

static int stop_sending(nghttp3_conn *http, int64_t stream, uint64_t code, void *user,
			void *stream_user)
{
	(void)http, (void)stream_user;
	return ngtcp2_conn_shutdown_stream_read(((struct conn *)user)->h3.quic, stream, code) ?
		       NGHTTP3_ERR_CALLBACK_FAILURE :
		       0;
}

static int reset_stream(nghttp3_conn *http, int64_t stream, uint64_t code, void *user,
			void *stream_user)
{
	(void)http, (void)stream_user;
	return ngtcp2_conn_shutdown_stream_write(((struct conn *)user)->h3.quic, stream, code) ?
		       NGHTTP3_ERR_CALLBACK_FAILURE :
		       0;
}

/* Writes the line of @r and frees it. */
static void finish(struct request *r, bool complete)
{
	struct transfer transfer = {
		.connection = &r->conn->first_dcid,
		.method = r->method,
		.path = r->path,
		.status = r->status,
		.bytes = transferred(r),
		.complete = complete,
		.path_changes = r->path_changes,
		.bytes_at_change = r->bytes_at_change,
	};
	struct request **p = &r->conn->requests;

	stats_transfer(&r->conn->worker->stats, &transfer);
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	body_free(&r->body);
	if (r->hash)
		gnutls_hash_deinit(r->hash, NULL);
	if (r->file >= 0)
		close(r->file);
	free(r);
}

/* A stream closes when the client has acknowledged all that was sent on it. */
static int stream_close(nghttp3_conn *http, int64_t stream, uint64_t code, void *user,
			void *stream_user)
{
	struct request *r = stream_user;

	(void)http, (void)stream, (void)user;
	if (r)
		finish(r, code == NGHTTP3_H3_NO_ERROR && r->status != 0 &&
				  r->body.acked == r->body.length);
	return 0;
}

int http_start(struct conn *conn)
{
	static const nghttp3_callbacks callbacks = {
		.acked_stream_data = acked_stream_data,
		.stream_close = stream_close,
		.recv_data = recv_data,
		.deferred_consume = deferred_consume,
		.begin_headers = begin_headers,
		.recv_header = recv_header,
		.end_headers = end_headers,
		.stop_sending = stop_sending,
		.end_stream = end_stream,
		.reset_stream = reset_stream,
	};

	return h3_start_http(&conn->h3, &callbacks, 1, conn);
}

void http_path_changed(struct conn *conn)
{
	struct request *r;

	for (r = conn->requests; r; r = r->next)
		if (r->path_changes++ == 0)
			r->bytes_at_change = transferred(r);
}

void http_over(struct conn *conn)
{
	while (conn->requests)
		finish(conn->requests, false);
}
