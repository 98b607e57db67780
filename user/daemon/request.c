// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cidsteer/cidsteer.h"
#include "common/cleanup.h"
#include "daemon/connection.h"
#include "daemon/formats.h"
#include "daemon/generations.h"
#include "daemon/holdings.h"
#include "daemon/log.h"
#include "daemon/server_ids.h"
#include "daemon/xsks.h"
#include "dataplane/config.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

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

static void say_registered(struct connection *connection, __u32 notes, bool returning)
{
	struct worker *worker = connection->worker;
	const struct service *service = worker_service(worker);

	log_line("%s: worker %u %s (pid %u, uid %u)%s", service->value.name, worker->id,
		 returning ? "is back" : "registered", worker->value.pid, connection->peer.uid,
		 worker->value.state == CS_WORKER_WAITING ? ", waits for its generation" : "");
	if (notes & CIDSTEER_NOTE_GRO)
		log_line("%s: worker %u has UDP_GRO: the kernel chooses once for a train of "
			 "segments; the server must check the DCID of each",
			 service->value.name, worker->id);
}

static int answer_registered(struct connection *connection, __u32 serial, __u32 notes,
			     bool returning, bool serves)
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
		.state = worker->value.state,
		.returning = returning,
		.follow = formats_count(worker, serves),
	};

	if (shared)
		memcpy(registered.key, service->value.key, sizeof(registered.key));
	return connection_answer(connection, &registered.head, CS_MSG_REGISTERED,
				 sizeof(registered), serial, fds, shared ? 2 : 0);
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
	if (message->flags & ~CS_REGISTER_SERVES)
		return error_set(error, -EPROTO, "REGISTER has flags that are none");
	if (message->key_len > CS_LB_MAX_SERVER_ID)
		return error_set(error, -EPROTO, "REGISTER has a key of %u octets",
				 message->key_len);
	if (message->state > CS_WORKER_DEAD)
		return error_set(error, -EPROTO, "REGISTER has a state that is none");
	if (!request->fds)
		return error_set(error, -EINVAL, "no socket came with REGISTER");
	if (request->fds != message->sockets)
		return error_set(error, -EINVAL, "REGISTER announces %u sockets, %u came",
				 message->sockets, request->fds);
	return 0;
}

static int admit(struct connection *connection, struct request *request, __u32 *notes,
		 bool *returning, struct error *error)
{
	const struct cs_msg_register *message = &request->message.registers;
	struct admission admission = {
		.peer = connection->peer,
		.token = message->token,
		.state = message->state,
		.serves = message->flags & CS_REGISTER_SERVES,
		.cpu = message->cpu,
		.key_len = message->key_len,
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
	err = process_start(connection->peer.pid, &admission.start);
	if (err)
		return error_set(error, err, "reading when its process started: %s",
				 strerror(-err));
	memcpy(admission.service, message->service, sizeof(admission.service));
	memcpy(admission.key, message->key, sizeof(admission.key));
	admission.pidfd = pidfd;
	connection->worker = workers_admit(connection->control->workers, &admission, notes,
					   returning, &err, error);
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
	bool serves = request->message.registers.flags & CS_REGISTER_SERVES;
	bool returning = false;
	struct error error;
	int err = admit(connection, request, &notes, &returning, &error);

	/* Before the answer: a copy of a socket would outlive its worker. */
	request_close_fds(request);
	if (err) {
		connection_refuse(connection, serial, err, &error);
		return;
	}
	say_registered(connection, notes, returning);
	err = answer_registered(connection, serial, notes, returning, serves);
	if (!err)
		err = formats_follow(connection, serves);
	if (!err)
		return;
	if (err != -EPIPE) /* a worker that is gone again */
		log_limited("%s: answering worker %u: %s",
			    worker_service(connection->worker)->value.name, connection->worker->id,
			    strerror(-err));
	connection_close(connection);
}

static void answer_done(struct connection *connection, __u32 serial, int result)
{
	struct cs_msg_done done = { .result = result };
	int err = connection_answer(connection, &done.head, CS_MSG_DONE, sizeof(done), serial, NULL,
				    0);

	if (!err)
		return;
	if (err != -EPIPE)
		log_limited("answering pid %d: %s", connection->peer.pid, strerror(-err));
	connection_close(connection);
}

void connection_tell(struct worker *worker)
{
	struct cs_msg_state state = {
		.routes = worker_routes(worker),
		.generation_routes = generation_routes(worker),
		.drain_ms = worker_drain_ms(worker),
		.state = worker->value.state,
	};
	struct connection *connection;

	if (!worker->holder)
		return;
	connection =
		(struct connection *)((char *)worker->holder - offsetof(struct connection, worker));
	/* One that does not read, for example because it is stopped, keeps its connection. */
	if (connection_answer(connection, &state.head, CS_MSG_STATE, sizeof(state), 0, NULL, 0))
		return;
	worker->told_routes = state.generation_routes;
}

static int do_stray(struct worker *worker, const __u8 *cid, size_t len)
{
	int stray = routes_stray(&worker->routes, cid, len);

	if (stray == 1)
		worker_record_stray(worker, cid, len);
	return stray;
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
		return do_stray(worker, write->cid, write->len);
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
		connection_refuse(connection, message->head.serial, err, &error);
		return;
	}
	written.count = message->count;
	for (__u32 i = 0; i < message->count; i++)
		written.result[i] = do_write(connection->worker, &message->write[i]);
	err = connection_answer(connection, &written.head, CS_MSG_WRITTEN,
				offsetof(struct cs_msg_written, result) +
					message->count * sizeof(written.result[0]),
				message->head.serial, NULL, 0);
	/* A worker that has closed left its last writes behind: they are done all the same. */
	if (err && err != -EPIPE)
		connection_close(connection);
}

/* The worker has counted what the table says; whose a server ID is it does not know. */
static void take_stray(const struct worker *worker, const __u8 *cid, size_t len)
{
	const struct workers *all = worker->all;
	const struct worker *owner;
	__u32 id;

	if (server_ids_find(all, worker->value.service, cid, len, &id)) {
		owner = id < CS_MAX_WORKERS ? all->worker[id] : NULL;
		if (!owner || owner->dead || owner == worker)
			return;
		worker_service(worker)->usage[worker->value.usage].decoded_strays++;
	}
	worker_record_stray(worker, cid, len);
}

static void handle_stray(struct connection *connection, const struct request *request)
{
	const struct cs_msg_stray *message = &request->message.stray;
	const struct worker *worker = connection->worker;
	struct error error;
	int err = 0;

	if (request->bytes != sizeof(*message))
		err = error_set(&error, -EPROTO, "STRAY has %zu bytes, not %zu", request->bytes,
				sizeof(*message));
	else if (!connection->registered)
		err = error_set(&error, -EPROTO, "STRAY without a registered worker");
	else if (!message->len || message->len > CS_MAX_CID)
		err = error_set(&error, -EPROTO, "STRAY has an ID of %u bytes", message->len);
	if (err)
		connection_refuse(connection, message->head.serial, err, &error);
	else if (worker && !worker->dead)
		take_stray(worker, message->cid, message->len);
}

static int check_xsks(const struct connection *connection, const struct request *request,
		      struct error *error)
{
	const struct cs_msg_xsks *message = &request->message.xsks;
	size_t head = offsetof(struct cs_msg_xsks, xsk);

	if (!connection->registered)
		return error_set(error, -EPROTO, "XSKS without a registered worker");
	if (request->bytes < head || message->count > CS_MAX_WORKER_XSKS ||
	    request->bytes != head + message->count * sizeof(message->xsk[0]))
		return error_set(error, -EPROTO, "XSKS has %zu bytes, which is not what it counts",
				 request->bytes);
	if (message->pad)
		return error_set(error, -EPROTO, "XSKS has padding that is not zero");
	if (request->truncated && request->fds <= CS_MAX_WORKER_XSKS)
		return error_set(error, -EMFILE,
				 "the daemon has no descriptor left for the sockets: raise its "
				 "RLIMIT_NOFILE");
	if (request->fds != message->count)
		return error_set(error, -EPROTO, "XSKS announces %u sockets, %u came",
				 message->count, request->fds);
	return 0;
}

static void say_xsks(const struct worker *worker, __u32 count)
{
	if (count)
		log_line("%s: worker %u has %u AF_XDP socket%s", worker_service(worker)->value.name,
			 worker->id, count, count == 1 ? "" : "s");
	else
		log_line("%s: worker %u has no AF_XDP sockets any more",
			 worker_service(worker)->value.name, worker->id);
}

static void handle_xsks(struct connection *connection, struct request *request)
{
	const struct cs_msg_xsks *message = &request->message.xsks;
	struct worker *worker = connection->worker;
	__u32 serial = message->head.serial;
	struct error error;
	int err = check_xsks(connection, request, &error);
	bool malformed = err == -EPROTO;

	if (!err && (!worker || worker->dead))
		err = error_set(&error, -ESTALE, "the worker was declared dead");
	if (!err)
		err = xsks_set(worker, message->xsk, request->fd, message->count, &error);
	request_close_fds(request);
	if (malformed) {
		connection_refuse(connection, serial, err, &error);
	} else if (!err) {
		say_xsks(worker, message->count);
		answer_done(connection, serial, 0);
	} else if (connection_say_refused(connection, serial, err, &error)) {
		connection_close(connection);
	}
}

/* READY and DRAIN are nothing but a head.  Returns whether the connection is still there. */
static bool check_bare(struct connection *connection, const struct request *request,
		       const char *what)
{
	struct error error;
	int err = 0;

	if (request->bytes != sizeof(struct cs_msg))
		err = error_set(&error, -EPROTO, "%s has %zu bytes, not %zu", what, request->bytes,
				sizeof(struct cs_msg));
	else if (!connection->registered)
		err = error_set(&error, -EPROTO, "%s without a registered worker", what);
	if (err)
		connection_refuse(connection, request->message.head.serial, err, &error);
	return !err;
}

static void say_drains(const struct worker *worker)
{
	if (worker->value.state != CS_WORKER_DRAINING)
		log_line("%s: worker %u drains", worker_service(worker)->value.name, worker->id);
}

static void handle_drain(struct connection *connection, const struct request *request)
{
	struct worker *worker = connection->worker;

	if (!check_bare(connection, request, "DRAIN"))
		return;
	/* One that was expelled meanwhile has been told. */
	if (worker && !worker->dead)
		say_drains(worker);
	answer_done(connection, request->message.head.serial,
		    worker && !worker->dead ? workers_drain(worker) : -ESTALE);
}

static void handle_ready(struct connection *connection, const struct request *request)
{
	struct worker *worker = connection->worker;

	if (!check_bare(connection, request, "READY"))
		return;
	answer_done(connection, request->message.head.serial,
		    worker && !worker->dead ? generation_ready(worker) : -ESTALE);
}

static int command_worker(struct workers *workers, __u32 kind, __u32 id, struct error *error)
{
	struct worker *worker = workers_find(workers, id);
	int err;

	if (!worker && id < CS_MAX_WORKERS && workers->worker[id])
		return error_set(error, -EALREADY,
				 "worker %u is dead: its id is kept until its process ends", id);
	if (!worker)
		return error_set(error, -ENOENT, "there is no worker %u: see cidsteer workers", id);
	if (kind == CS_COMMAND_EXPEL) {
		log_line("%s: worker %u (pid %u) is expelled by an operator",
			 worker_service(worker)->value.name, id, worker->value.pid);
		return workers_expel(workers, id, error);
	}
	say_drains(worker);
	err = workers_drain(worker);
	return err ? error_set(error, err, "draining: %s", strerror(-err)) : 0;
}

static int do_command(struct connection *connection, const struct request *request,
		      struct error *error)
{
	const struct cs_msg_command *message = &request->message.command;
	struct control *control = connection->control;

	if (connection->peer.uid != 0 && connection->peer.uid != geteuid())
		return error_set(error, -EPERM, "only root, or who runs the daemon, commands it");
	if (request->bytes != sizeof(*message))
		return error_set(error, -EPROTO, "COMMAND has %zu bytes, not %zu", request->bytes,
				 sizeof(*message));
	switch (message->kind) {
	case CS_COMMAND_DRAIN:
	case CS_COMMAND_EXPEL:
		return command_worker(control->workers, message->kind, message->worker, error);
	case CS_COMMAND_RELOAD:
		return control->reload(control, error);
	}
	return error_set(error, -EPROTO, "COMMAND of unknown kind %u", message->kind);
}

static void handle_command(struct connection *connection, const struct request *request)
{
	bool is_config = request->message.head.type == CS_MSG_CONFIG;
	struct error error;
	int err = is_config ? formats_config(connection, request, &error) :
			      do_command(connection, request, &error);
	__u32 serial = request->message.head.serial;

	if (err)
		connection_refuse(connection, serial, err, &error);
	else
		answer_done(connection, serial, 0);
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

void request_handle(struct connection *connection, struct request *request)
{
	const struct cs_msg *head = &request->message.head;
	struct error error;
	int err = check_head(request, &error);

	if (!err && head->type == CS_MSG_REGISTER) {
		handle_register(connection, request);
		return;
	}
	if (!err && head->type == CS_MSG_XSKS) {
		handle_xsks(connection, request);
		return;
	}
	if (!err && request->fds)
		err = error_set(&error, -EPROTO, "descriptors came with a message that has none");
	request_close_fds(request);
	if (!err && head->type == CS_MSG_WRITE) {
		handle_write(connection, request);
		return;
	}
	if (!err && head->type == CS_MSG_DRAIN) {
		handle_drain(connection, request);
		return;
	}
	if (!err && head->type == CS_MSG_READY) {
		handle_ready(connection, request);
		return;
	}
	if (!err && head->type == CS_MSG_STRAY) {
		handle_stray(connection, request);
		return;
	}
	if (!err && head->type == CS_MSG_LEASE) {
		formats_lease(connection, request);
		return;
	}
	if (!err && (head->type == CS_MSG_COMMAND || head->type == CS_MSG_CONFIG)) {
		handle_command(connection, request);
		return;
	}
	if (!err)
		err = error_set(&error, -EPROTO, "message of unknown type %u", head->type);
	connection_refuse(connection, request->bytes < sizeof(*head) ? 0 : head->serial, err,
			  &error);
}
