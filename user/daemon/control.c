// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/point.h"
#include "daemon/connection.h"
#include "daemon/log.h"

#define LOCK_PATH (sizeof(((struct control *)0)->path) + sizeof(".lock"))
#define LOCK_TRIES 100 /* others that end meanwhile */

static void connection_ready(struct source *source, uint32_t events)
{
	struct connection *connection = (struct connection *)source;
	struct request request;
	ssize_t received = connection_receive(source->fd, &request);

	(void)events;
	if (received < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (received > 0) {
		bool has_key = request.message.head.type == CS_MSG_CONFIG;

		request_handle(connection, &request);
		if (has_key)
			explicit_bzero(&request.message, sizeof(request.message));
		return;
	}
	/* A peer that closes with answers unread ends so, too. */
	if (received < 0 && errno != ECONNRESET)
		log_limited("a connection of pid %d (uid %u) was closed: %s", connection->peer.pid,
			    connection->peer.uid, strerror(errno));
	request_close_fds(&request);
	connection_close(connection);
}

static bool is_welcome(const struct control *control, const struct ucred *peer)
{
	unsigned int waiting = 0;

	if (control->count >= MAX_CONNECTIONS)
		return false;
	for (const struct connection *at = control->first; at; at = at->next)
		waiting += !at->registered && at->peer.uid == peer->uid;
	return waiting < MAX_UNREGISTERED;
}

static int open_spare(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Without a descriptor left the peer would wait, and the loop spin: let it in and close it. */
static void turn_away(struct control *control)
{
	int fd;

	cleanup_fd(&control->spare);
	fd = accept4(control->source.fd, NULL, NULL, SOCK_CLOEXEC);
	cleanup_fd(&fd);
	control->spare = open_spare();
	log_limited("out of descriptors: a connection was closed");
}

static void accept_connection(struct source *source, uint32_t events)
{
	struct control *control = (struct control *)source;
	_cleanup_fd_ int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *connection;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int err;

	(void)events;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		turn_away(control);
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)) {
		log_limited("a connection was closed: %s", strerror(errno));
		return;
	}
	if (!is_welcome(control, &peer)) {
		log_limited("too many connections, one of pid %d (uid %u) was closed", peer.pid,
			    peer.uid);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	err = connection ? 0 : -ENOMEM;
	if (!err) {
		connection->source = (struct source){ fd, connection_ready };
		connection->control = control;
		connection->peer = peer;
		err = loop_watch(control->loop, &connection->source);
	}
	if (err) {
		log_limited("a connection of pid %d (uid %u) was closed: %s", peer.pid, peer.uid,
			    strerror(-err));
		free(connection);
		return;
	}
	take_fd(&fd);
	connection->next = control->first;
	if (control->first)
		control->first->previous = connection;
	control->first = connection;
	control->count++;
}

static void lock_path(const char *path, char lock[LOCK_PATH])
{
	snprintf(lock, LOCK_PATH, "%s.lock", path);
}

/*
 * Held for as long as the socket: who sees that nobody listens at it, and who replaces it, is then
 * one.  Who ends removes the file, so what was locked may be no longer what is there.
 */
static int lock_socket(struct control *control, struct error *error)
{
	char path[LOCK_PATH];
	struct stat held, there;
	int err = 0;

	lock_path(control->path, path);
	for (int tries = 0; tries < LOCK_TRIES; tries++) {
		_cleanup_fd_ int fd =
			open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) || fstat(fd, &held)) {
			err = -errno;
			break;
		}
		if (stat(path, &there) || there.st_ino != held.st_ino)
			continue;
		control->lock = take_fd(&fd);
		return 0;
	}
	if (!err || err == -EWOULDBLOCK)
		return error_set(error, -EADDRINUSE, "%s: another daemon listens there",
				 control->path);
	return error_set(error, err, "%s: %s; if no daemon runs there, remove it", path,
			 strerror(-err));
}

static void unlock_socket(struct control *control)
{
	char path[LOCK_PATH];

	lock_path(control->path, path);
	unlink(path);
	cleanup_fd(&control->lock);
}

/* A socket file that nobody listens at is removed; one that answers is another daemon's. */
static int clear_stale(const struct sockaddr_un *addr, struct error *error)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct stat status;

	if (lstat(addr->sun_path, &status))
		return errno == ENOENT ?
			       0 :
			       error_set(error, -errno, "%s: %s", addr->sun_path, strerror(errno));
	if (!S_ISSOCK(status.st_mode))
		return error_set(error, -EADDRINUSE, "%s: is in the way, and no socket",
				 addr->sun_path);
	if (fd < 0)
		return error_set(error, -EMFILE, "%s: no socket to look who is there",
				 addr->sun_path);
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		return error_set(error, -EADDRINUSE, "%s: another daemon listens there",
				 addr->sun_path);
	if (errno != ECONNREFUSED)
		return error_set(error, -EADDRINUSE, "%s: is in the way: %s", addr->sun_path,
				 strerror(errno));
	CS_POINT("stale socket"); /* found, and not removed */
	log_line("%s: removed a stale socket", addr->sun_path);
	return unlink(addr->sun_path) ?
		       error_set(error, -errno, "%s: %s", addr->sun_path, strerror(errno)) :
		       0;
}

/* Any user may connect; who may do what is decided by SO_PEERCRED. */
static int bind_path(int fd, const struct sockaddr_un *addr)
{
	int err;

	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		return -errno;
	if (!chmod(addr->sun_path, 0666) && !listen(fd, 4096))
		return 0;
	err = -errno;
	unlink(addr->sun_path);
	return err;
}

static void make_parent(const char *path)
{
	char parent[sizeof(((struct control *)0)->path)];
	char *slash;

	snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return;
	*slash = '\0';
	mkdir(parent, 0755); /* if that fails, bind() says so */
}

static int listen_at(struct control *control, struct loop *loop, struct error *error)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = control->path;
	_cleanup_fd_ int fd = -1;
	int err;

	strcpy(addr.sun_path, path);
	err = clear_stale(&addr, error);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = fd < 0 ? -errno : bind_path(fd, &addr);
	if (err)
		return error_set(error, err, "%s: %s", path, strerror(-err));
	control->source = (struct source){ fd, accept_connection };
	err = loop_watch(loop, &control->source);
	if (err) {
		unlink(path);
		return error_set(error, err, "epoll: %s", strerror(-err));
	}
	take_fd(&fd);
	return 0;
}

int control_listen(struct control *control, const char *path, struct workers *workers,
		   struct loop *loop, struct error *error)
{
	int err;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return error_set(error, -ENAMETOOLONG, "%s: longer than %zu bytes", path,
				 sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	strcpy(control->path, path);
	control->workers = workers;
	control->loop = loop;
	make_parent(path);
	err = lock_socket(control, error);
	if (err)
		return err;
	err = listen_at(control, loop, error);
	if (err)
		unlock_socket(control);
	else
		control->spare = open_spare();
	return err;
}

void control_close(struct control *control)
{
	if (unlink(control->path))
		log_line("%s: it is left: %s", control->path, strerror(errno));
	close(control->source.fd);
	unlock_socket(control);
}
