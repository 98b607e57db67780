// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "cidsteer/cidsteer.h"
#include "common/cleanup.h"
#include "common/protocol.h"
#include "daemon/control.h"
#include "daemon/discard.h"
#include "daemon/log.h"
#include "dataplane/config.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* One more than a worker may pass, so that one too many is noticed. */
#define MAX_FDS (CS_MAX_SERVICE_LISTENERS + 1)

/* Messages that fit into a peer's send buffer, of 212,992 bytes unless root gave it more. */
#define MAX_QUEUED 512

struct connection {
	struct source source;
	struct control *control;
	struct connection *next, *previous;
	struct ucred peer;
	struct worker *worker; /* NULL: not registered, or its worker is no more */
	bool registered;
};

union message {
	struct cs_msg head;
	struct cs_msg_register registers;
	struct cs_msg_write write;
	char bytes[sizeof(struct cs_msg_write) + 1]; /* one more: too long is noticed */
};

struct request {
	union message message;
	size_t bytes;
	int fd[MAX_FDS];
	unsigned int fds;
	bool truncated;
};

/* Keeps what fits, closes the rest: more can come than were made room for, since the kernel counts
 * the room that alignment leaves.
 */
static void take_fds(struct msghdr *msg, struct request *request)
{
	request->truncated = msg->msg_flags & MSG_CTRUNC;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (request->fds < MAX_FDS) {
				request->fd[request->fds++] = fd;
			} else {
				discard_fd(fd);
				request->truncated = true;
			}
		}
	}
}

/* Returns the bytes of a message, or what recvmsg() says. */
static ssize_t receive(int fd, struct request *request)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { &request->message, sizeof(request->message) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t received;

	request->fds = 0;
	request->bytes = 0;
	received = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (received < 0)
		return received;
	request->bytes = received;
	take_fds(&msg, request);
	return received;
}

static void close_fds(struct request *request)
{
	for (unsigned int i = 0; i < request->fds; i++)
		discard_fd(request->fd[i]);
	request->fds = 0;
}

/* What is still queued may hold descriptors whose close waits: the kernel would do it in ours. */
static void drain_connection(int fd)
{
	struct request request;

	shutdown(fd, SHUT_RDWR); /* nothing more comes */
	/* A message of no bytes reads like the end, so go on for as many as a peer can queue. */
	for (int i = 0; i < MAX_QUEUED && receive(fd, &request) >= 0; i++)
		close_fds(&request);
}

static void close_connection(struct connection *connection)
{
	struct control *control = connection->control;

	loop_forget(control->loop, &connection->source);
	drain_connection(connection->source.fd);
	close(connection->source.fd);
	if (connection->worker) {
		connection->worker->holder = NULL;
		workers_bury(connection->worker);
	}
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		control->first = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	control->count--;
	free(connection);
}

/* A peer that does not read its answers is given up; nothing waits for it. */
static int answer(struct connection *connection, struct cs_msg *message, __u16 type, size_t bytes,
		  __u32 serial, const int *fds, size_t count)
{
	struct iovec iov = { message, bytes };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {};
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	message->magic = CS_PROTOCOL_MAGIC;
	message->version = CS_PROTOCOL_VERSION;
	message->type = type;
	message->bytes = bytes;
	message->serial = serial;
	if (count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	}
	if (sendmsg(connection->source.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	return 0;
}

/* Says why, and ends the connection: the caller must not touch it any more. */
static void refuse(struct connection *connection, __u32 serial, int err, const struct error *error)
{
	struct cs_msg_refused refused = { .error = err };

	snprintf(refused.line, sizeof(refused.line), "%s", error->line);
	log_limited("refused pid %d (uid %u): %s", connection->peer.pid, connection->peer.uid,
		    error->line);
	answer(connection, &refused.head, CS_MSG_REFUSED, sizeof(refused), serial, NULL, 0);
	close_connection(connection);
}

/*
 * A descriptor of the peer that cannot come to mean another process.  Before 6.5 there is only
 * its number: if the peer ended meanwhile and the number was given away, the connection's
 * hang-up still tells, unless a child of the dead holds it.
 */
static int peer_pidfd(const struct connection *connection)
{
	int fd = -1;
	socklen_t len = sizeof(fd);

	if (!getsockopt(connection->source.fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	if (errno != ENOPROTOOPT)
		return -errno;
	fd = syscall(SYS_pidfd_open, connection->peer.pid, 0);
	return fd < 0 ? -errno : fd;
}

static void say_registered(struct connection *connection, __u32 notes)
{
	struct worker *worker = connection->worker;
	const struct service *service = worker_service(worker);

	log_line("%s: worker %u registered (pid %u, uid %u)", service->value.name, worker->id,
		 worker->value.pid, connection->peer.uid);
	if (notes & CIDSTEER_NOTE_GRO)
		log_line("%s: worker %u has UDP_GRO: the kernel chooses once for a train of "
			 "segments; the server must check the DCID of each",
			 service->value.name, worker->id);
}

static int answer_registered(struct connection *connection, __u32 serial, __u32 notes)
{
	struct worker *worker = connection->worker;
	const struct service *service = worker_service(worker);
	const int fds[2] = { service->table_fd, service->usage_fd };
	bool shared = service->value.shared_table;
	struct cs_msg_registered registered = {
		.worker = worker->id,
		.usage = worker->value.usage,
		.provisional = routes_share(service->value.max_cids),
		.notes = notes,
		.cid_len = service->value.cid_len,
		.shared = shared,
	};

	if (shared)
		memcpy(registered.key, service->value.key, sizeof(registered.key));
	return answer(connection, &registered.head, CS_MSG_REGISTERED, sizeof(registered), serial,
		      fds, shared ? 2 : 0);
}

static int check_register(const struct connection *connection, const struct request *request,
			  struct error *error)
{
	const struct cs_msg_register *message = &request->message.registers;

	if (connection->registered)
		return error_set(error, -EINVAL, "this connection has registered already");
	if (request->bytes != sizeof(*message))
		return error_set(error, -EPROTO, "REGISTER has %zu bytes, not %zu", request->bytes,
				 sizeof(*message));
	if (!memchr(message->service, '\0', sizeof(message->service)))
		return error_set(error, -EPROTO, "the service's name does not end");
	if (!config_is_name(message->service))
		return error_set(error, -ENOENT, "that is no service's name");
	if (request->truncated && request->fds <= CS_MAX_SERVICE_LISTENERS)
		return error_set(error, -EMFILE,
				 "the daemon has no descriptor left for the sockets: raise its "
				 "RLIMIT_NOFILE");
	if (request->fds > CS_MAX_SERVICE_LISTENERS)
		return error_set(error, -EINVAL, "more than %d descriptors came with REGISTER",
				 CS_MAX_SERVICE_LISTENERS);
	if (!request->fds)
		return error_set(error, -EINVAL, "no socket came with REGISTER");
	if (request->fds != message->sockets)
		return error_set(error, -EINVAL, "REGISTER announces %u sockets, %u came",
				 message->sockets, request->fds);
	return 0;
}

static int admit(struct connection *connection, struct request *request, __u32 *notes,
		 struct error *error)
{
	const struct cs_msg_register *message = &request->message.registers;
	struct admission admission = {
		.peer = connection->peer,
		.generation = message->generation,
		.sockets = request->fd,
		.count = request->fds,
	};
	_cleanup_fd_ int pidfd = -1;
	int err = check_register(connection, request, error);

	if (err)
		return err;
	if (connection->peer.pid <= 0)
		return error_set(error, -EPERM,
				 "its process is in a PID namespace that the daemon cannot see");
	pidfd = peer_pidfd(connection);
	if (pidfd < 0)
		return error_set(error, pidfd, "its process cannot be watched: %s",
				 strerror(-pidfd));
	memcpy(admission.service, message->service, sizeof(admission.service));
	admission.pidfd = pidfd;
	connection->worker = workers_admit(connection->control->workers, &admission, notes, &err,
					   error);
	if (!connection->worker)
		return err;
	take_fd(&pidfd);
	connection->worker->holder = &connection->worker;
	connection->registered = true;
	return 0;
}

static void handle_register(struct connection *connection, struct request *request)
{
	__u32 serial = request->message.head.serial, notes = 0;
	struct error error;
	int err = admit(connection, request, &notes, &error);

	/* Before the answer: a copy of a socket would outlive its worker. */
	close_fds(request);
	if (err) {
		refuse(connection, serial, err, &error);
		return;
	}
	say_registered(connection, notes);
	if (answer_registered(connection, serial, notes))
		close_connection(connection);
}

static int do_write(struct worker *worker, const struct cs_write *write)
{
	struct routes *routes = &worker->routes;

	switch (write->kind) {
	case CS_WRITE_ISSUE:
		return routes_issue(routes, write->cid, write->len);
	case CS_WRITE_ISSUE_PROVISIONAL:
		return routes_issue_provisional(routes, write->cid, write->len);
	case CS_WRITE_RETIRE:
		return routes_retire(routes, write->cid, write->len);
	case CS_WRITE_STRAY:
		return routes_stray(routes, write->cid, write->len);
	case CS_WRITE_PATH_CHANGE:
		routes_path_change(routes);
		return 0;
	}
	return -EINVAL;
}

static int check_write(const struct connection *connection, const struct request *request,
		       struct error *error)
{
	const struct cs_msg_write *message = &request->message.write;
	size_t head = offsetof(struct cs_msg_write, write);

	if (!connection->worker || connection->worker->dead)
		return error_set(error, -EPROTO, "WRITE without a registered worker");
	if (worker_service(connection->worker)->value.shared_table)
		return error_set(error, -EPROTO,
				 "WRITE in a service with a shared table: write it yourself");
	if (request->bytes < head || !message->count || message->count > CS_MAX_WRITES ||
	    request->bytes != head + message->count * sizeof(message->write[0]))
		return error_set(error, -EPROTO, "WRITE has %zu bytes, which is not what it counts",
				 request->bytes);
	for (__u32 i = 0; i < message->count; i++) {
		if (message->pad || message->write[i].pad)
			return error_set(error, -EPROTO, "WRITE has padding that is not zero");
	}
	return 0;
}

static void handle_write(struct connection *connection, const struct request *request)
{
	const struct cs_msg_write *message = &request->message.write;
	struct cs_msg_written written = {};
	struct error error;
	int err = check_write(connection, request, &error);

	if (err) {
		refuse(connection, message->head.serial, err, &error);
		return;
	}
	written.count = message->count;
	for (__u32 i = 0; i < message->count; i++)
		written.result[i] = do_write(connection->worker, &message->write[i]);
	err = answer(connection, &written.head, CS_MSG_WRITTEN,
		     offsetof(struct cs_msg_written, result) +
			     message->count * sizeof(written.result[0]),
		     message->head.serial, NULL, 0);
	/* A worker that has closed left its last writes behind: they are done all the same. */
	if (err && err != -EPIPE)
		close_connection(connection);
}

static void handle_drain(struct connection *connection, const struct request *request)
{
	bool draining = connection->worker && connection->worker->value.state == CS_WORKER_DRAINING;
	struct cs_msg done = {};
	struct error error;
	int err = 0;

	if (request->bytes != sizeof(struct cs_msg))
		err = error_set(&error, -EPROTO, "DRAIN has %zu bytes, not %zu", request->bytes,
				sizeof(struct cs_msg));
	else if (!connection->worker || connection->worker->dead)
		err = error_set(&error, -EPROTO, "DRAIN without a registered worker");
	else if ((err = workers_drain(connection->worker)))
		error_set(&error, err, "draining: %s", strerror(-err));
	if (err) {
		refuse(connection, request->message.head.serial, err, &error);
		return;
	}
	if (!draining)
		log_line("%s: worker %u drains", worker_service(connection->worker)->value.name,
			 connection->worker->id);
	if (answer(connection, &done, CS_MSG_DONE, sizeof(done), request->message.head.serial, NULL,
		   0))
		close_connection(connection);
}

static int check_head(const struct request *request, struct error *error)
{
	const struct cs_msg *head = &request->message.head;

	if (request->bytes < sizeof(*head))
		return error_set(error, -EPROTO, "a message of %zu bytes is shorter than its head",
				 request->bytes);
	if (head->magic != CS_PROTOCOL_MAGIC)
		return error_set(error, -EPROTO, "not a message of cidsteer's protocol");
	if (head->version != CS_PROTOCOL_VERSION)
		return error_set(
			error, -EPROTO,
			"the library speaks version %u of the protocol, the daemon version "
			"%u: bring both to one release",
			head->version, CS_PROTOCOL_VERSION);
	if (head->bytes != request->bytes)
		return error_set(error, -EPROTO, "a message of %zu bytes says that it has %u",
				 request->bytes, head->bytes);
	return 0;
}

static void handle(struct connection *connection, struct request *request)
{
	const struct cs_msg *head = &request->message.head;
	struct error error;
	int err = check_head(request, &error);

	if (!err && head->type == CS_MSG_REGISTER) {
		handle_register(connection, request);
		return;
	}
	if (!err && request->fds)
		err = error_set(&error, -EPROTO, "descriptors came with a message that has none");
	close_fds(request);
	if (!err && head->type == CS_MSG_WRITE) {
		handle_write(connection, request);
		return;
	}
	if (!err && head->type == CS_MSG_DRAIN) {
		handle_drain(connection, request);
		return;
	}
	if (!err)
		err = error_set(&error, -EPROTO, "message of unknown type %u", head->type);
	refuse(connection, request->bytes < sizeof(*head) ? 0 : head->serial, err, &error);
}

static void connection_ready(struct source *source, uint32_t events)
{
	struct connection *connection = (struct connection *)source;
	struct request request;
	ssize_t received = receive(source->fd, &request);

	(void)events;
	if (received < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (received > 0) {
		handle(connection, &request);
		return;
	}
	close_fds(&request);
	close_connection(connection);
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

	(void)events;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		turn_away(control);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return;
	if (!is_welcome(control, &peer)) {
		log_limited("too many connections, one of pid %d (uid %u) was closed", peer.pid,
			    peer.uid);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return;
	connection->source = (struct source){ fd, connection_ready };
	connection->control = control;
	connection->peer = peer;
	if (loop_watch(control->loop, &connection->source)) {
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
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		return error_set(error, -EADDRINUSE, "%s: another daemon listens there",
				 addr->sun_path);
	if (errno != ECONNREFUSED)
		return error_set(error, -EADDRINUSE, "%s: is in the way: %s", addr->sun_path,
				 strerror(errno));
	log_line("%s: removed a stale socket", addr->sun_path);
	return unlink(addr->sun_path) ?
		       error_set(error, -errno, "%s: %s", addr->sun_path, strerror(errno)) :
		       0;
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

int control_listen(struct control *control, const char *path, struct workers *workers,
		   struct loop *loop, struct error *error)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_fd_ int fd = -1;
	int err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return error_set(error, -ENAMETOOLONG, "%s: longer than %zu bytes", path,
				 sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	strcpy(control->path, path);
	make_parent(path);
	err = clear_stale(&addr, error);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Any user may connect; who may do what is decided by SO_PEERCRED. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || chmod(path, 0666) ||
	    listen(fd, 4096))
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	control->source = (struct source){ fd, accept_connection };
	control->workers = workers;
	control->loop = loop;
	control->spare = open_spare();
	err = loop_watch(loop, &control->source);
	if (err)
		return error_set(error, err, "epoll: %s", strerror(-err));
	take_fd(&fd);
	return 0;
}

void control_close(struct control *control)
{
	unlink(control->path);
	close(control->source.fd);
}
