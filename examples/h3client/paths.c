// SPDX-License-Identifier: GPL-2.0-only
/* The client's sockets. */
#include "h3client/paths.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SOCKET_BUFFER (2 * 1024 * 1024)

void paths_init(struct paths *paths)
{
	size_t i;

	memset(paths, 0, sizeof(*paths));
	for (i = 0; i < PATHS_MAX; i++)
		paths->path[i].fd = -1;
}

/* QUIC datagrams are never fragmented (RFC 9000, section 14). */
static void set_options(int fd, sa_family_t family)
{
	int size = SOCKET_BUFFER, discover = IP_PMTUDISC_DO;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof(discover));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover, sizeof(discover));
}

static int open_socket(const union addr *bind_to, const union addr *remote)
{
	int fd = socket(remote->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	union addr any_port;

	if (fd < 0)
		return -1;
	set_options(fd, remote->sa.sa_family);
	if (bind_to) {
		any_port = *bind_to;
		if (any_port.sa.sa_family == AF_INET)
			any_port.in.sin_port = 0;
		else
			any_port.in6.sin6_port = 0;
	}
	if ((bind_to && bind(fd, &any_port.sa, addr_len(&any_port)) < 0) ||
	    connect(fd, &remote->sa, addr_len(remote)) < 0) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

struct path *paths_open(struct paths *paths, const union addr *bind_to, const union addr *remote)
{
	struct path *path = paths->path;
	socklen_t len = sizeof(path->local);

	while (path < paths->path + PATHS_MAX && path->fd >= 0)
		path++;
	if (path == paths->path + PATHS_MAX) {
		errno = EMFILE;
		return NULL;
	}
	path->fd = open_socket(bind_to, remote);
	if (path->fd < 0)
		return NULL;
	memset(&path->local, 0, sizeof(path->local));
	path->remote = *remote;
	if (getsockname(path->fd, &path->local.sa, &len) < 0) {
		path_close(path);
		return NULL;
	}
	return path;
}

void paths_keep(struct paths *paths, const struct path *a, const struct path *b)
{
	size_t i;

	for (i = 0; i < PATHS_MAX; i++)
		if (&paths->path[i] != a && &paths->path[i] != b)
			path_close(&paths->path[i]);
}

int path_rebind(struct path *path)
{
	/* The old socket is still open, so the new one has another port. */
	int fd = open_socket(&path->local, &path->remote);

	if (fd < 0)
		return -1;
	close(path->fd);
	path->fd = fd;
	return 0;
}

void path_close(struct path *path)
{
	if (path->fd >= 0)
		close(path->fd);
	path->fd = -1;
}

ngtcp2_path path_quic(struct path *path)
{
	ngtcp2_path quic = {
		.local = { &path->local.sa, addr_len(&path->local) },
		.remote = { &path->remote.sa, addr_len(&path->remote) },
	};
	return quic;
}

struct path *paths_find(struct paths *paths, const ngtcp2_path *quic)
{
	size_t i;

	for (i = 0; i < PATHS_MAX; i++) {
		ngtcp2_path ours = path_quic(&paths->path[i]);

		if (paths->path[i].fd >= 0 && ngtcp2_path_eq(&ours, quic))
			return &paths->path[i];
	}
	return NULL;
}

void paths_close(struct paths *paths)
{
	size_t i;

	for (i = 0; i < PATHS_MAX; i++)
		path_close(&paths->path[i]);
}
