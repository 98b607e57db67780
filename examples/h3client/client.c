// SPDX-License-Identifier: GPL-2.0-only
/* One connection. */
#define _GNU_SOURCE 1
#include "h3client/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define STREAM_WINDOW (4 * 1024 * 1024)
#define STREAM_WINDOW_MIN (16 * 1024)
#define FIRST_DCID_BYTES 16
#define IDLE_S 10
#define BATCH 64

/*
 * A client that only receives has nothing to say when its address changes: without a PING the
 * server would never learn of it.
 */
#define KEEP_ALIVE (100 * NGTCP2_MILLISECONDS)

static struct client *client_of(void *h3)
{
	return h3;
}

int client_failed(struct client *client, const char *format, ...)
{
	struct transfer *t = &client->transfer;
	va_list args;

	if (!t->error[0]) {
		va_start(args, format);
		vsnprintf(t->error, sizeof(t->error), format, args);
		va_end(args);
	}
	return -1;
}

static int get_new_connection_id(ngtcp2_conn *quic, ngtcp2_cid *cid, uint8_t *token, size_t len,
				 void *user)
{
	(void)quic, (void)user;
	quic_cid_random(cid, len);
	quic_random(token, NGTCP2_STATELESS_RESET_TOKENLEN);
	return 0;
}

static int recv_stateless_reset(ngtcp2_conn *quic, const ngtcp2_pkt_stateless_reset *sr, void *user)
{
	(void)quic, (void)sr;
	client_of(user)->reset = true;
	return 0;
}

/* The server asks us to move to another of its addresses (RFC 9000, section 9.6). */
static int select_preferred_addr(ngtcp2_conn *quic, ngtcp2_path *dest,
				 const ngtcp2_preferred_addr *preferred, void *user)
{
	struct client *client = client_of(user);
	union addr remote = { 0 };
	struct path *path;

	(void)quic;
	if (!client->options->follow_preferred)
		return 0;
	if (client->options->server.sa.sa_family == AF_INET && preferred->ipv4_present)
		remote.in = preferred->ipv4;
	else if (client->options->server.sa.sa_family == AF_INET6 && preferred->ipv6_present)
		remote.in6 = preferred->ipv6;
	else
		return 0;
	path = paths_open(&client->paths, &client->path->local, &remote);
	if (!path)
		return 0;
	client->path = path;
	memcpy(dest->local.addr, &path->local, addr_len(&path->local));
	dest->local.addrlen = addr_len(&path->local);
	memcpy(dest->remote.addr, &remote, addr_len(&remote));
	dest->remote.addrlen = addr_len(&remote);
	return 0;
}

/* An extension that servers ignore: a value of GREASE (RFC 8701, section 2). */
#define EXTENSION_NOBODY_KNOWS 0x0a0a

static int lengthen_hello(gnutls_session_t tls, gnutls_buffer_t hello)
{
	static const uint8_t zeros[HELLO_MAX];
	const ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(tls);

	return gnutls_buffer_append_data(hello, zeros, client_of(ref->user_data)->options->hello);
}

static int ignore_extension(gnutls_session_t tls, const unsigned char *data, size_t len)
{
	(void)tls, (void)data, (void)len;
	return 0;
}

static int open_tls(struct client *client)
{
	const struct options *options = client->options;
	int err = gnutls_certificate_allocate_credentials(&client->credentials);

	if (err >= 0 && options->ca) {
		err = gnutls_certificate_set_x509_trust_file(client->credentials, options->ca,
							     GNUTLS_X509_FMT_PEM);
		if (err == 0)
			return client_failed(client, "%s: no certificate in it", options->ca);
	}
	if (err >= 0)
		err = quic_tls_session(&client->h3.tls, client->credentials, &client->h3.ref, 0);
	if (err >= 0)
		err = gnutls_server_name_set(client->h3.tls, GNUTLS_NAME_DNS, options->server_name,
					     strlen(options->server_name));
	if (err >= 0 && options->hello)
		err = gnutls_session_ext_register(client->h3.tls, "long", EXTENSION_NOBODY_KNOWS,
						  GNUTLS_EXT_TLS, ignore_extension, lengthen_hello,
						  NULL, NULL, NULL,
						  GNUTLS_EXT_FLAG_TLS |
							  GNUTLS_EXT_FLAG_CLIENT_HELLO);
	if (err < 0)
		return client_failed(client, "TLS: %s", gnutls_strerror(err));
	if (options->ca)
		gnutls_session_set_verify_cert(client->h3.tls, options->server_name, 0);
	return 0;
}

/* With --rate the window is what may come beyond it: an eighth of a second's worth. */
static uint64_t stream_window(const struct options *options)
{
	uint64_t window = options->rate / 8;

	if (options->rate == 0 || window > STREAM_WINDOW)
		return STREAM_WINDOW;
	return window > STREAM_WINDOW_MIN ? window : STREAM_WINDOW_MIN;
}

static int open_quic(struct client *client)
{
	ngtcp2_path path = path_quic(client->path);
	ngtcp2_transport_params params;
	ngtcp2_callbacks callbacks;
	ngtcp2_settings settings;
	ngtcp2_cid scid;
	int err;

	h3_callbacks(&callbacks, 0);
	callbacks.get_new_connection_id = get_new_connection_id;
	callbacks.recv_stateless_reset = recv_stateless_reset;
	callbacks.select_preferred_addr = select_preferred_addr;
	quic_limits(&settings, &params, stream_window(client->options), IDLE_S);
	params.initial_max_streams_bidi = 0; /* servers open none */
	quic_cid_random(&scid, client->options->cid_length);
	quic_cid_random(&client->first_dcid, FIRST_DCID_BYTES);
	err = ngtcp2_conn_client_new(&client->h3.quic, &client->first_dcid, &scid, &path,
				     NGTCP2_PROTO_VER_V1, &callbacks, &settings, &params, NULL,
				     &client->h3);
	if (err)
		return client_failed(client, "QUIC: %s", ngtcp2_strerror(err));
	ngtcp2_conn_set_tls_native_handle(client->h3.quic, client->h3.tls);
	ngtcp2_conn_set_keep_alive_timeout(client->h3.quic, KEEP_ALIVE);
	return 0;
}

static int start_http(struct h3 *h3)
{
	return transfer_start_http(&client_of(h3)->transfer);
}

int client_open(struct client *client, struct options *options)
{
	memset(client, 0, sizeof(*client));
	h3_init(&client->h3, start_http);
	paths_init(&client->paths);
	client->options = options;
	client->started_at = quic_now();
	client->progress_at = client->started_at;
	if (transfer_init(&client->transfer, options, &client->h3) < 0)
		return -1;
	client->path = paths_open(&client->paths, options->has_bind ? &options->bind : NULL,
				  &options->server);
	if (!client->path)
		return client_failed(client, "socket: %s", strerror(errno));
	return open_tls(client) < 0 ? -1 : open_quic(client);
}

/* What went wrong, in the words of who closed the connection. */
static int connection_failed(struct client *client, int err)
{
	char text[64];

	if (client->reset)
		return client_failed(client, "the server sent a stateless reset");
	if (err == NGTCP2_ERR_DRAINING) {
		h3_describe_close(&client->h3, text, sizeof(text));
		return client_failed(client, "the server closed the connection with %s", text);
	}
	if (err == NGTCP2_ERR_CRYPTO)
		return client_failed(client, "TLS: alert %u",
				     ngtcp2_conn_get_tls_alert(client->h3.quic));
	return client_failed(client, "%s", ngtcp2_strerror(err));
}

static void send_one(struct h3 *h3, const ngtcp2_path *quic, const uint8_t *bytes, size_t len)
{
	struct client *client = client_of(h3);
	struct path *path = paths_find(&client->paths, quic);

	if (path && send(path->fd, bytes, len, 0) < 0 && errno != EAGAIN)
		client->socket_error = errno;
}

int client_receive(struct client *client, struct path *path)
{
	static uint8_t bytes[65536];
	int i;

	for (i = 0; i < BATCH && path->fd >= 0; i++) {
		ngtcp2_path quic = path_quic(path);
		ssize_t n = recv(path->fd, bytes, sizeof(bytes), 0);
		int err;

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) { /* ICMP: a hint in the message if it comes to that, and no proof */
			client->socket_error = errno;
			return 0;
		}
		err = h3_read(&client->h3, &quic, bytes, (size_t)n);
		if (err)
			return connection_failed(client, err);
	}
	return 0;
}

int client_rebind(struct client *client)
{
	if (path_rebind(client->path) < 0)
		return client_failed(client, "rebind: %s", strerror(errno));
	return 0;
}

int client_migrate(struct client *client)
{
	const struct options *options = client->options;
	const union addr *bind = options->has_migrate_to ? &options->migrate_to :
							   &client->path->local;
	struct path *path = paths_open(&client->paths, bind, &client->path->remote);
	ngtcp2_path quic;
	int err;

	if (!path)
		return client_failed(client, "migrate: %s", strerror(errno));
	quic = path_quic(path);
	err = ngtcp2_conn_initiate_immediate_migration(client->h3.quic, &quic, quic_now());
	if (err) {
		path_close(path);
		if (err == NGTCP2_ERR_INVALID_STATE || err == NGTCP2_ERR_CONN_ID_BLOCKED)
			return 0;
		return client_failed(client, "migrate: %s", ngtcp2_strerror(err));
	}
	/* What is on its way to the path before may still come. */
	paths_keep(&client->paths, client->path, path);
	client->path = path;
	return 1;
}

int client_check_progress(struct client *client)
{
	const struct options *options = client->options;
	uint64_t progress = transfer_progress(&client->transfer);
	uint64_t now = quic_now();
	const char *hint = client->socket_error ? strerror(client->socket_error) : NULL;

	if (progress != client->progress) {
		if (now - client->progress_at > client->longest_gap)
			client->longest_gap = now - client->progress_at;
		client->progress = progress;
		client->progress_at = now;
	}
	if (now - client->progress_at >= options->stall_s * NGTCP2_SECONDS)
		return client_failed(client, "no progress for %u s after %" PRIu64 " bytes%s%s%s",
				     options->stall_s, progress, hint ? " (" : "", hint ? hint : "",
				     hint ? ")" : "");
	return 0;
}

int client_advance(struct client *client)
{
	int err = 0;

	if (ngtcp2_conn_get_expiry(client->h3.quic) <= quic_now())
		err = ngtcp2_conn_handle_expiry(client->h3.quic, quic_now());
	if (err)
		return connection_failed(client, err);
	return transfer_step(&client->transfer);
}

int client_flush(struct client *client)
{
	int err = h3_write(&client->h3, send_one);

	return err ? connection_failed(client, err) : 0;
}

void client_close(struct client *client)
{
	uint8_t bytes[QUIC_DATAGRAM_MAX];
	ngtcp2_path_storage path;
	size_t n;

	if (!client->h3.quic || ngtcp2_conn_is_in_draining_period(client->h3.quic))
		return;
	h3_end(&client->h3);
	n = h3_write_close(&client->h3, &path, bytes, sizeof(bytes));
	if (n > 0)
		send_one(&client->h3, &path.path, bytes, n);
}

int client_again(struct client *client)
{
	transfer_free(&client->transfer);
	client->progress = 0;
	client->progress_at = quic_now();
	return transfer_init(&client->transfer, client->options, &client->h3);
}

void client_free(struct client *client)
{
	transfer_free(&client->transfer);
	h3_free(&client->h3);
	paths_close(&client->paths);
	if (client->credentials)
		gnutls_certificate_free_credentials(client->credentials);
}
