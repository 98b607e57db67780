// SPDX-License-Identifier: GPL-2.0-only
/*
 * h3server - an HTTP/3 server whose workers are steered by connection ID
 *
 * N workers, each with its own SO_REUSEPORT socket for every listener, on ngtcp2, nghttp3 and
 * GnuTLS.  What concerns cidsteer is in cids.c (issue, retire), conn.c (when), steer.c (open,
 * dispatch, drain), worker.c (strays) and express.c (AF_XDP sockets).
 */
#include "h3server/generation.h"
#include "h3server/options.h"
#include "h3server/supervisor.h"
#include "h3server/tls.h"

#include "common/quic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		fprintf(stderr, "h3server: %s: %s\n", path, strerror(errno));
	return fd;
}

/* All that needs the rights of who started us, but the sockets. */
static int server_open(struct server *server, const struct options *options)
{
	server->options = options;
	quic_random(server->reset_secret, sizeof(server->reset_secret));
	if (options->root) {
		server->root = open_path(options->root, O_RDONLY | O_DIRECTORY);
		if (server->root < 0)
			return -1;
	}
	if (options->stats) {
		server->stats = open_path(options->stats, O_WRONLY | O_APPEND | O_CREAT);
		if (server->stats < 0)
			return -1;
	}
	return tls_credentials(&server->credentials, options->cert, options->key);
}

static void server_close(struct server *server)
{
	if (server->credentials)
		gnutls_certificate_free_credentials(server->credentials);
	if (server->root >= 0)
		close(server->root);
	if (server->stats >= 0)
		close(server->stats);
}

/* In a process that the supervisor has executed: the workers of one start. */
static int run_generation(const struct options *options, struct birth *birth)
{
	struct server server = {
		.generation = birth->generation,
		.first = birth->first,
		.root = -1,
		.stats = -1,
	};
	struct identity identity;
	int code = 1;

	if (privilege_lookup(&identity, options->user) == 0 && server_open(&server, options) == 0)
		code = generation_run(&server, &identity, birth);
	server_close(&server);
	return code;
}

int main(int argc, char **argv)
{
	struct options options;
	struct birth birth;
	int code = options_parse(&options, argc, argv);

	if (code)
		return code > 0 ? 0 : 2;
	code = birth_take(&birth);
	if (code < 0)
		return 2;
	return code ? run_generation(&options, &birth) : supervisor_run(&options, argv);
}
