// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "common/point.h"
#include "daemon/formats.h"
#include "daemon/log.h"
#include "daemon/server_ids.h"
#include "dataplane/lb.h"

static bool is_zero(const void *octets, size_t len)
{
	const __u8 *octet = octets;

	for (size_t i = 0; i < len; i++) {
		if (octet[i])
			return false;
	}
	return true;
}

/* ---- what workers are told --------------------------------------------------------------------
 */

static bool has_formats(const struct cs_service *service)
{
	return service->lb_configs || service->key_len;
}

static int fill_format(const struct worker *worker, __u32 id, struct cs_format *format)
{
	const struct cs_service *service = &worker_service(worker)->value;
	struct cs_lb lb;
	int err = lb_find(worker->all->plane, worker->value.service, id, &lb);

	if (err)
		return err;
	*format = (struct cs_format){
		.used = 1,
		.server_id_len = lb.server_id_len,
		.nonce_len = lb.nonce_len,
		.cid_len = service->lb_len[id],
		.has_key = lb.algorithm != CS_LB_PLAIN,
	};
	/* A schedule begins with the key itself (FIPS 197, section 5.2). */
	if (format->has_key)
		memcpy(format->key, lb.encrypt.round[0], sizeof(format->key));
	explicit_bzero(&lb, sizeof(lb));
	return 0;
}

static int send_formats(struct connection *connection)
{
	const struct worker *worker = connection->worker;
	const struct cs_service *service = &worker_service(worker)->value;
	struct cs_msg_formats formats = {
		.active = service->lb_active,
		.key_at = service->key_at,
		.key_len = service->key_len,
	};
	int err = 0;

	server_ids_key(worker, formats.worker_key);
	for (__u32 id = 0; id < CS_LB_CONFIGS && !err; id++) {
		if (service->lb_configs >> id & 1)
			err = fill_format(worker, id, &formats.lb[id]);
	}
	if (!err)
		err = connection_answer(connection, &formats.head, CS_MSG_FORMATS, sizeof(formats),
					0, NULL, 0);
	explicit_bzero(&formats, sizeof(formats));
	return err;
}

static int send_leased(struct connection *connection, const struct cs_msg_lease *lease)
{
	struct worker *worker = connection->worker;
	struct cs_msg_leased leased = {};

	leased.result = server_ids_lease(worker, lease, &leased);
	if (leased.result)
		log_limited("%s: worker %u gets no nonces of configuration %u: %s",
			    worker_service(worker)->value.name, worker->id, lease->config,
			    leased.result == -ENOSPC ? "no server ID is free" :
						       strerror(-leased.result));
	CS_POINT("lease"); /* given, and not told */
	return connection_answer(connection, &leased.head, CS_MSG_LEASED, sizeof(leased),
				 lease->head.serial, NULL, 0);
}

__u8 formats_count(const struct worker *worker, bool serves)
{
	const struct cs_service *service = &worker_service(worker)->value;

	return has_formats(service) + (service->lb_active && !serves);
}

int formats_follow(struct connection *connection, bool serves)
{
	const struct cs_service *service = &worker_service(connection->worker)->value;
	const struct cs_msg_lease lease = { .config = service->lb_active - 1 };
	int err = has_formats(service) ? send_formats(connection) : 0;

	if (!err && service->lb_active && !serves)
		err = send_leased(connection, &lease);
	return err;
}

void formats_tell(struct workers *workers, __u32 service)
{
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct worker *worker = workers->worker[id];
		struct connection *connection;

		if (!worker || worker->dead || worker->value.service != service || !worker->holder)
			continue;
		connection = (struct connection *)((char *)worker->holder -
						   offsetof(struct connection, worker));
		/* Who does not read keeps its connection, and IDs that go on being routed. */
		if (send_formats(connection))
			log_limited("%s: worker %u does not hear of the configurations",
				    worker_service(worker)->value.name, worker->id);
	}
}

/* ---- what workers ask for ---------------------------------------------------------------------
 */

static int check_lease(const struct connection *connection, const struct request *request,
		       struct error *error)
{
	const struct cs_msg_lease *message = &request->message.lease;

	if (request->bytes != sizeof(*message))
		return error_set(error, -EPROTO, "LEASE has %zu bytes, not %zu", request->bytes,
				 sizeof(*message));
	if (!connection->registered)
		return error_set(error, -EPROTO, "LEASE without a registered worker");
	if (message->config >= CS_LB_CONFIGS)
		return error_set(error, -EPROTO, "LEASE of configuration %u: there are 0 to 6",
				 message->config);
	if (message->claims > 1)
		return error_set(error, -EPROTO, "LEASE has flags that are none");
	if (!is_zero(message->pad, sizeof(message->pad)))
		return error_set(error, -EPROTO, "LEASE has padding that is not zero");
	return 0;
}

void formats_lease(struct connection *connection, const struct request *request)
{
	const struct cs_msg_lease *message = &request->message.lease;
	const struct worker *worker = connection->worker;
	struct error error;
	int err = check_lease(connection, request, &error);

	if (err) {
		connection_refuse(connection, message->head.serial, err, &error);
		return;
	}
	if (!worker || worker->dead)
		return; /* it was told */
	err = send_leased(connection, message);
	if (err && err != -EPIPE)
		connection_close(connection);
}

/* ---- what an operator changes -----------------------------------------------------------------
 */

static bool has_workers(const struct workers *workers, __u32 service)
{
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		if (workers->worker[id] && workers->worker[id]->value.service == service)
			return true;
	}
	return false;
}

/* The service's settings, in the map and here; on failure both are as they were. */
static int change(struct workers *workers, __u32 id, const struct cs_service *to,
		  struct error *error)
{
	struct cs_service *value = &workers->service[id].value;

	if (bpf_map_update_elem(workers->plane->map[PLANE_SERVICES], &id, to, BPF_ANY))
		return error_set(error, -errno, "cs_services: %s", strerror(errno));
	*value = *to;
	return 0;
}

static int check_hosts(const struct cs_msg_config *message, struct error *error)
{
	if (message->host_len >= message->format.server_id_len)
		return error_set(error, -EINVAL,
				 "configuration %u: a host has %u octets: of %u that a server ID "
				 "has, none is left for the workers",
				 message->id, message->host_len, message->format.server_id_len);
	if (message->hosts > CS_MAX_MSG_HOSTS || (message->hosts && !message->host_len))
		return error_set(error, -EPROTO, "CONFIG has %u hosts of %u octets", message->hosts,
				 message->host_len);
	/* Its entry in cs_servers would say that this host is another one. */
	for (__u32 i = 0; i < message->hosts; i++) {
		if (!memcmp(message->other_host[i], message->host, message->host_len))
			return error_set(error, -EINVAL,
					 "configuration %u: one of the other hosts is this host: "
					 "name the others only",
					 message->id);
	}
	return 0;
}

/* Is it what cs_lb_mistake() finds nothing wrong with, and are the octets where they are said? */
static int check_add(const struct cs_msg_config *message, struct error *error)
{
	const struct cs_format *format = &message->format;
	const char *mistake = cs_lb_mistake(message->id, format->server_id_len, format->nonce_len);

	if (mistake)
		return error_set(error, -EINVAL, "configuration %u: %s", message->id, mistake);
	if (format->cid_len && (format->cid_len <= format->server_id_len + format->nonce_len ||
				format->cid_len > CS_MAX_CID))
		return error_set(error, -EINVAL,
				 "configuration %u: IDs of %u octets: not in %u..%u", message->id,
				 format->cid_len, 1 + format->server_id_len + format->nonce_len,
				 CS_MAX_CID);
	return check_hosts(message, error);
}

static int add(struct workers *workers, __u32 id, const struct cs_msg_config *message,
	       struct error *error)
{
	const struct cs_format *format = &message->format;
	struct cs_service to = workers->service[id].value;
	lb_host other[CS_MAX_MSG_HOSTS];
	struct config_lb lb = {
		.id = message->id,
		.server_id_len = format->server_id_len,
		.nonce_len = format->nonce_len,
		.cid_len = format->cid_len,
		.has_key = format->has_key,
		.host_len = message->host_len,
	};
	int err = check_add(message, error);

	if (err)
		return err;
	if (to.lb_configs >> lb.id & 1)
		return error_set(error, -EEXIST,
				 "service \"%s\" has a configuration %u: it never changes; retire "
				 "it, or give the new one another id",
				 to.name, lb.id);
	err = lb_may_add(&to, has_workers(workers, id), &lb, to.name, error);
	if (err)
		return err;
	memcpy(lb.host, message->host, lb.host_len);
	memcpy(lb.key, format->key, sizeof(lb.key));
	for (__u32 i = 0; i < message->hosts; i++)
		memcpy(other[i], message->other_host[i], sizeof(other[i]));
	err = lb_write(workers->plane, id, &lb, other, message->hosts);
	explicit_bzero(lb.key, sizeof(lb.key));
	CS_POINT("config"); /* written, and asked for by nobody */
	if (err) {
		lb_remove(workers->plane, id, lb.id);
		return error_set(error, err, "writing configuration %u: %s", lb.id, strerror(-err));
	}
	lb_set(&to, &lb);
	err = change(workers, id, &to, error);
	if (err) {
		lb_remove(workers->plane, id, lb.id);
		return err;
	}
	if (server_ids_follow(workers, id))
		log_line("%s: configuration %u cannot be read: no server ID of it is given",
			 to.name, lb.id);
	formats_tell(workers, id);
	return 0;
}

static int activate(struct workers *workers, __u32 id, __u32 config, struct error *error)
{
	struct cs_service to = workers->service[id].value;
	int err;

	if (config > CS_LB_CONFIGS || (config < CS_LB_CONFIGS && !(to.lb_configs >> config & 1)))
		return error_set(error, -ENOENT, "service \"%s\" has no configuration %u", to.name,
				 config);
	to.lb_active = config == CS_LB_CONFIGS ? 0 : 1 + config;
	err = change(workers, id, &to, error);
	if (!err)
		formats_tell(workers, id);
	return err;
}

static int retire(struct workers *workers, __u32 id, __u32 config, struct error *error)
{
	struct cs_service to = workers->service[id].value;
	int err;

	if (config >= CS_LB_CONFIGS || !(to.lb_configs >> config & 1))
		return error_set(error, -ENOENT, "service \"%s\" has no configuration %u", to.name,
				 config);
	if (to.lb_active == 1 + config)
		return error_set(error, -EBUSY,
				 "workers make IDs with configuration %u: first cidsteer config "
				 "activate %s with another one, or with none",
				 config, to.name);
	lb_unset(&to, config);
	err = change(workers, id, &to, error);
	if (err)
		return err;
	formats_tell(workers, id); /* also if what is left of it stays */
	CS_POINT("config");	   /* asked for no more, and still there */
	server_ids_follow(workers, id);
	err = lb_remove(workers->plane, id, config);
	return err ? error_set(error, err, "removing what is left of configuration %u: %s", config,
			       strerror(-err)) :
		     0;
}

static int do_config(struct workers *workers, const struct cs_msg_config *message,
		     struct error *error)
{
	__u32 id = workers_service(workers, message->service);

	if (!id)
		return error_set(error, -ENOENT, "service \"%s\" is not configured",
				 message->service);
	switch (message->kind) {
	case CS_CONFIG_ADD:
		return add(workers, id, message, error);
	case CS_CONFIG_ACTIVATE:
		return activate(workers, id, message->id, error);
	case CS_CONFIG_RETIRE:
		return retire(workers, id, message->id, error);
	}
	return error_set(error, -EPROTO, "CONFIG of unknown kind %u", message->kind);
}

static void say_config(const struct cs_msg_config *message)
{
	static const char *const done[] = {
		[CS_CONFIG_ADD] = "is added",
		[CS_CONFIG_ACTIVATE] = "is what IDs are made with",
		[CS_CONFIG_RETIRE] = "is retired",
	};

	if (message->id == CS_LB_CONFIGS)
		log_line("%s: no configuration is what IDs are made with: they go to the table",
			 message->service);
	else
		log_line("%s: configuration %u %s", message->service, message->id,
			 done[message->kind]);
}

static int check_config(const struct request *request, struct error *error)
{
	const struct cs_msg_config *message = &request->message.config;
	size_t of_add = offsetof(struct cs_msg_config, format);

	if (request->bytes != sizeof(*message))
		return error_set(error, -EPROTO, "CONFIG has %zu bytes, not %zu", request->bytes,
				 sizeof(*message));
	if (!memchr(message->service, '\0', sizeof(message->service)))
		return error_set(error, -EPROTO, "the service's name does not end");
	if (!config_is_name(message->service))
		return error_set(error, -ENOENT, "that is no service's name");
	if (message->kind < CS_CONFIG_ADD || message->kind > CS_CONFIG_RETIRE)
		return error_set(error, -EPROTO, "CONFIG of unknown kind %u", message->kind);
	if (!is_zero(message->pad, sizeof(message->pad)) ||
	    !is_zero(message->format.pad, sizeof(message->format.pad)))
		return error_set(error, -EPROTO, "CONFIG has padding that is not zero");
	if (message->kind != CS_CONFIG_ADD &&
	    (message->host_len || message->hosts ||
	     !is_zero((const char *)message + of_add, sizeof(*message) - of_add)))
		return error_set(error, -EPROTO,
				 "CONFIG says what a configuration is that is not added");
	return 0;
}

int formats_config(struct connection *connection, const struct request *request,
		   struct error *error)
{
	const struct cs_msg_config *message = &request->message.config;
	int err;

	if (connection->peer.uid != 0 && connection->peer.uid != geteuid())
		return error_set(error, -EPERM, "only root, or who runs the daemon, commands it");
	err = check_config(request, error);
	if (err)
		return err;
	err = do_config(connection->control->workers, message, error);
	if (!err)
		say_config(message);
	return err;
}
