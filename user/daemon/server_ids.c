// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "daemon/log.h"
#include "daemon/server_ids.h"
#include "dataplane/lb.h"

/* ---- one of them, here and in cs_servers ------------------------------------------------------
 */

static int write_id(const struct workers *workers, const struct server_id *id)
{
	int map = workers->plane->map[PLANE_SERVERS];

	return bpf_map_update_elem(map, &id->key, &id->value, BPF_ANY) ? -errno : 0;
}

static int give(const struct workers *workers, struct server_id *id, __u16 worker)
{
	__u16 before = id->value.worker;
	int err;

	id->value.worker = worker;
	err = write_id(workers, id);
	if (err)
		id->value.worker = before;
	return err;
}

static struct server_ids *ids_of(const struct worker *worker, __u32 config)
{
	return &worker->all->service[worker->value.service].ids[config];
}

static struct server_id *find(const struct server_ids *ids, const __u64 octets[2])
{
	for (__u32 i = 0; i < ids->count; i++) {
		if (!memcmp(ids->id[i].key.id, octets, sizeof(ids->id[i].key.id)))
			return &ids->id[i];
	}
	return NULL;
}

/* Returns NULL: there is no room. */
static struct server_id *add(struct server_ids *ids, const struct cs_server_key *key)
{
	struct server_id *id = &ids->id[ids->count];

	if (ids->count == ids->room)
		return NULL;
	*id = (struct server_id){ .key = *key };
	ids->count++;
	return id;
}

/* The last one takes its place. */
static void forget(struct server_ids *ids, struct server_id *id)
{
	*id = ids->id[--ids->count];
}

static int remove_id(const struct workers *workers, struct server_ids *ids, struct server_id *id)
{
	if (bpf_map_delete_elem(workers->plane->map[PLANE_SERVERS], &id->key) && errno != ENOENT)
		return -errno;
	forget(ids, id);
	return 0;
}

/* ---- configurations ---------------------------------------------------------------------------
 */

struct visit {
	struct workers *workers;
	__u32 service, config;
};

/* The octets that this host's server IDs begin with. */
static int take_host(const struct cs_server_key *key, const struct cs_server *server, void *arg)
{
	const struct visit *visit = arg;
	struct server_ids *ids = &visit->workers->service[visit->service].ids[visit->config];

	if (!key->host || key->service != visit->service || key->config != visit->config ||
	    server->flags & CS_SERVER_ELSEWHERE)
		return 0;
	memcpy(ids->host, key->id, ids->host_len);
	return 1;
}

static int open_config(struct workers *workers, __u32 service, __u32 config)
{
	struct server_ids *ids = &workers->service[service].ids[config];
	struct visit visit = { workers, service, config };
	struct cs_lb lb;
	int err = lb_find(workers->plane, service, config, &lb);

	if (err)
		return err;
	ids->len = lb.server_id_len;
	ids->nonce_len = lb.nonce_len;
	ids->host_len = lb.host_len;
	explicit_bzero(&lb, sizeof(lb));
	if (ids->host_len >= ids->len)
		return -EPROTO;
	err = ids->host_len ? lb_each_server(workers->plane, take_host, &visit) : 0;
	return err < 0 ? err : 0;
}

static int open_ids(struct workers *workers, __u32 service, __u32 config)
{
	struct server_ids *ids = &workers->service[service].ids[config];
	int err = 0;

	ids->room = config == CS_BY_EXTRACTOR ? MAX_KEYS : MAX_NUMBERS;
	ids->id = calloc(ids->room, sizeof(*ids->id));
	if (!ids->id)
		return -ENOMEM;
	if (config == CS_BY_EXTRACTOR)
		ids->len = workers->service[service].value.key_len;
	else
		err = open_config(workers, service, config);
	/* Anywhere: workers that had numbers when other maps were loaded will claim them. */
	if (!err && getrandom(&ids->first, sizeof(ids->first), 0) != sizeof(ids->first))
		err = -errno;
	ids->open = !err;
	if (err)
		server_ids_close(&workers->service[service], config);
	return err;
}

void server_ids_close(struct service *service, __u32 config)
{
	struct server_ids *ids = &service->ids[config];

	free(ids->id);
	*ids = (struct server_ids){};
}

int server_ids_follow(struct workers *workers, __u32 id)
{
	struct service *service = &workers->service[id];
	int err = 0;

	for (__u32 config = 0; config < CS_CONFIGS && !err; config++) {
		bool is = config == CS_BY_EXTRACTOR ? service->value.key_len :
						      service->value.lb_configs >> config & 1;

		if (!is || (config == CS_BY_EXTRACTOR &&
			    service->ids[config].len != service->value.key_len))
			server_ids_close(service, config);
		if (!is)
			continue;
		if (!service->ids[config].open)
			err = open_ids(workers, id, config);
	}
	return err;
}

static bool counts_nonces(const struct server_ids *ids)
{
	return ids->nonce_len && ids->nonce_len < CS_RANDOM_NONCE;
}

static __u64 nonces_of(const struct server_ids *ids)
{
	return 1ULL << (ids->nonce_len * 8);
}

/* Is there such a configuration, and can the ID be one of its? */
static bool is_plausible(const struct workers *workers, const struct cs_server_key *key)
{
	static const __u8 no_pad[sizeof(key->pad)];
	const __u8 *octet = (const __u8 *)key->id;
	const struct server_ids *ids;

	if (!key->service || key->service >= CS_MAX_SERVICES || key->config >= CS_CONFIGS)
		return false;
	ids = &workers->service[key->service].ids[key->config];
	if (!ids->open || ids->count == ids->room)
		return false;
	if (key->host)
		return true;
	for (__u32 i = ids->len; i < sizeof(key->id); i++) {
		if (octet[i])
			return false;
	}
	return !memcmp(octet, ids->host, ids->host_len) &&
	       !memcmp(key->pad, no_pad, sizeof(no_pad));
}

/* As many nonces as there can be. */
static void limit_nonces(const struct server_ids *ids, struct cs_server *value)
{
	__u64 most = counts_nonces(ids) ? nonces_of(ids) : 0;

	value->next = most ? value->next % most : 0;
	value->left = value->left < most ? value->left : most;
}

static bool lives(const struct workers *workers, const struct cs_server_key *key, __u32 id)
{
	const struct worker *worker = id < CS_MAX_WORKERS ? workers->worker[id] : NULL;

	return worker && worker->value.service == key->service;
}

static int adopt(const struct cs_server_key *key, const struct cs_server *server, void *arg)
{
	struct workers *workers = arg;
	struct server_ids *ids;
	struct server_id *id;

	if (!is_plausible(workers, key))
		return bpf_map_delete_elem(workers->plane->map[PLANE_SERVERS], key) ? -errno : 0;
	if (key->host || server->flags & CS_SERVER_ELSEWHERE)
		return 0;
	ids = &workers->service[key->service].ids[key->config];
	id = add(ids, key);
	if (!id)
		return -ENOMEM;
	id->value = *server;
	limit_nonces(ids, &id->value);
	if (!lives(workers, key, server->worker)) {
		id->returned = ++workers->returned_ids;
		id->value.worker = 0;
	}
	return memcmp(&id->value, server, sizeof(*server)) ? write_id(workers, id) : 0;
}

/* A daemon that was killed while it retired one has left its key. */
static int remove_retired(struct workers *workers, __u32 service)
{
	int err = 0;

	for (__u32 config = 0; config < CS_LB_CONFIGS && !err; config++) {
		struct cs_lb lb;

		if (workers->service[service].ids[config].open ||
		    lb_find(workers->plane, service, config, &lb))
			continue;
		explicit_bzero(&lb, sizeof(lb));
		err = lb_remove(workers->plane, service, config);
	}
	return err;
}

int server_ids_adopt(struct workers *workers)
{
	int err = lb_each_server(workers->plane, adopt, workers);

	for (__u32 id = 1; id < CS_MAX_SERVICES && !err; id++) {
		if (workers->service[id].value.used)
			err = remove_retired(workers, id);
	}
	return err;
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* How many numbers the octets can say, and how many of them are used. */
static __u64 space_of(const struct server_ids *ids)
{
	__u32 len = ids->len - ids->host_len;

	return len < 4 ? 1ULL << (len * 8) : 1ULL << 32;
}

static __u32 numbers_of(const struct server_ids *ids)
{
	return space_of(ids) < MAX_NUMBERS ? space_of(ids) : MAX_NUMBERS;
}

/* The octets of a number: behind those of the host, the lowest last, or first. */
static void write_number(const struct server_ids *ids, bool little_endian, __u32 number,
			 struct cs_server_key *key)
{
	__u8 *octet = (__u8 *)key->id;

	memcpy(octet, ids->host, ids->host_len);
	for (int i = 0; i < ids->len - ids->host_len && number; i++, number >>= 8)
		octet[little_endian ? ids->host_len + i : ids->len - 1 - i] = number;
}

/* One that has been nobody's.  Its nonces begin anywhere: what was in the maps before the host was
 * started anew is not known.
 */
static int begin_nonces(const struct server_ids *ids, struct server_id *id)
{
	if (!counts_nonces(ids))
		return 0;
	if (getrandom(&id->value.next, sizeof(id->value.next), 0) != sizeof(id->value.next))
		return -errno;
	id->value.next %= nonces_of(ids);
	id->value.left = nonces_of(ids);
	return 0;
}

static struct server_id *take_fresh(struct service *service, __u32 config, __u16 service_id)
{
	struct server_ids *ids = &service->ids[config];

	while (ids->count < numbers_of(ids) && ids->tried < space_of(ids)) {
		struct cs_server_key key = { .service = service_id, .config = config };
		__u32 number = (ids->first + ids->tried++) % space_of(ids);
		struct server_id *id;

		write_number(ids, config == CS_BY_EXTRACTOR && service->little_endian, number,
			     &key);
		if (find(ids, key.id))
			continue;
		id = add(ids, &key);
		if (id && begin_nonces(ids, id)) {
			forget(ids, id);
			id = NULL;
		}
		return id;
	}
	return NULL;
}

/* A block of them. */
static bool has_nonces(const struct server_ids *ids, const struct server_id *id)
{
	return !counts_nonces(ids) || id->value.left >= NONCE_BLOCK;
}

/* The one that was given back first, of those that have nonces left. */
static struct server_id *take_returned(const struct server_ids *ids)
{
	struct server_id *first = NULL;

	for (__u32 i = 0; i < ids->count; i++) {
		struct server_id *id = &ids->id[i];

		if (id->value.worker || !has_nonces(ids, id))
			continue;
		if (!first || id->returned < first->returned)
			first = id;
	}
	return first;
}

/* Returns it, or NULL with *@err: -ENOSPC, or another errno. */
static struct server_id *take_number(struct worker *worker, __u32 config, int *err)
{
	struct server_ids *ids = ids_of(worker, config);
	struct service *service = &worker->all->service[worker->value.service];
	struct server_id *id = take_fresh(service, config, worker->value.service);

	if (!id)
		id = take_returned(ids);
	*err = id ? give(worker->all, id, worker->id) : -ENOSPC;
	if (*err == -E2BIG) /* cs_servers is full */
		*err = -ENOSPC;
	if (*err && id && !id->returned) {
		forget(ids, id); /* it never was in the map, and is tried again */
		ids->tried--;
	}
	return *err ? NULL : id;
}

/* ---- nonces -----------------------------------------------------------------------------------
 */

static struct server_id *own_id(const struct worker *worker, __u32 config)
{
	const struct server_ids *ids = ids_of(worker, config);

	for (__u32 i = 0; i < ids->count; i++) {
		struct server_id *id = &ids->id[i];

		if (id->value.worker == worker->id && has_nonces(ids, id))
			return id;
	}
	return NULL;
}

/* An ID that the worker had when other maps were loaded.  What was used of its nonces is not known
 * but from where on they are not: a half is left out.
 */
static struct server_id *claim(struct worker *worker, const struct cs_msg_lease *lease)
{
	struct server_ids *ids = ids_of(worker, lease->config);
	struct cs_server_key key = { .service = worker->value.service, .config = lease->config };
	struct server_id *id;

	memcpy(key.id, lease->server_id, ids->len);
	if (memcmp(key.id, ids->host, ids->host_len))
		return NULL;
	id = find(ids, key.id);
	if (id)
		return !id->value.worker && has_nonces(ids, id) &&
				       !give(worker->all, id, worker->id) ?
			       id :
			       NULL;
	/* Whoever claims what it never had leaves room in cs_servers to other services. */
	id = ids->count < numbers_of(ids) ? add(ids, &key) : NULL;
	if (!id)
		return NULL;
	if (counts_nonces(ids)) {
		id->value.next = lease->next % nonces_of(ids);
		id->value.left = nonces_of(ids) / 2;
	}
	if (!give(worker->all, id, worker->id))
		return id;
	forget(ids, id);
	return NULL;
}

/* The map says that they are given before anybody has them. */
static int take_nonces(const struct workers *workers, const struct server_ids *ids,
		       struct server_id *id, struct cs_msg_leased *leased)
{
	const struct cs_server before = id->value;
	int err;

	leased->count = CS_NONCES_RANDOM;
	if (!counts_nonces(ids))
		return 0;
	leased->first = before.next;
	leased->count = NONCE_BLOCK;
	id->value.next = (before.next + leased->count) % nonces_of(ids);
	id->value.left -= leased->count;
	err = write_id(workers, id);
	if (err)
		id->value = before;
	return err;
}

int server_ids_lease(struct worker *worker, const struct cs_msg_lease *lease,
		     struct cs_msg_leased *leased)
{
	struct server_ids *ids;
	struct server_id *id = NULL;
	int err = 0;

	leased->config = lease->config;
	if (lease->config >= CS_LB_CONFIGS)
		return -ENOENT;
	ids = ids_of(worker, lease->config);
	if (!ids->open)
		return -ENOENT;
	if (lease->claims)
		id = claim(worker, lease);
	if (!id)
		id = own_id(worker, lease->config);
	if (!id)
		id = take_number(worker, lease->config, &err);
	if (!id)
		return err;
	memcpy(leased->server_id, id->key.id, sizeof(leased->server_id));
	return take_nonces(worker->all, ids, id, leased);
}

/* ---- a service's own format -------------------------------------------------------------------
 */

static const struct worker *owner_of(const struct workers *workers, const struct server_id *id)
{
	const struct worker *worker = workers->worker[id->value.worker];

	return worker && !worker->dead ? worker : NULL;
}

/* These octets are the worker's, unless another one lives that has them. */
static int enter(struct worker *worker, const struct cs_server_key *key, struct error *error)
{
	struct server_ids *ids = ids_of(worker, CS_BY_EXTRACTOR);
	struct server_id *id = find(ids, key->id);
	int err;

	if (id && owner_of(worker->all, id))
		return error_set(error, -EEXIST, "worker %u has the same octets in its IDs",
				 id->value.worker);
	if (!id)
		id = add(ids, key);
	err = id ? give(worker->all, id, worker->id) : -ENOSPC;
	if (err == -E2BIG)
		err = -ENOSPC;
	if (!err)
		return 0;
	if (id && !id->value.worker && !id->returned)
		forget(ids, id);
	return error_set(error, err, "cs_servers: %s", strerror(-err));
}

static int enter_cookies(struct worker *worker, const struct admission *asked, struct error *error)
{
	const struct service *service = worker_service(worker);
	int err = 0;

	for (__u32 i = 0; i < asked->count && !err; i++) {
		struct cs_server_key key = { .service = worker->value.service,
					     .config = CS_BY_EXTRACTOR };
		__u64 cookie;
		socklen_t len = sizeof(cookie);

		if (getsockopt(asked->sockets[i], SOL_SOCKET, SO_COOKIE, &cookie, &len))
			return error_set(error, -errno, "SO_COOKIE: %s", strerror(errno));
		key.id[0] = service->little_endian ? htole64(cookie) : htobe64(cookie);
		err = enter(worker, &key, error);
	}
	return err;
}

/* What was said by one that is gone may be forgotten: there are no nonces to it. */
static int make_room(const struct worker *worker)
{
	struct server_ids *ids = ids_of(worker, CS_BY_EXTRACTOR);
	struct server_id *oldest;

	if (ids->count < MAX_NUMBERS)
		return 0;
	oldest = take_returned(ids);
	return oldest ? remove_id(worker->all, ids, oldest) : -ENOSPC;
}

static int enter_told(struct worker *worker, const struct admission *asked, struct error *error)
{
	struct cs_server_key key = { .service = worker->value.service, .config = CS_BY_EXTRACTOR };
	int err;

	if (asked->key_len) {
		memcpy(key.id, asked->key, asked->key_len);
		err = make_room(worker);
		return err ? error_set(error, err, "making room for its key: %s", strerror(-err)) :
			     enter(worker, &key, error);
	}
	if (take_number(worker, CS_BY_EXTRACTOR, &err))
		return 0;
	return error_set(error, err, "no number is left for its IDs: %s", strerror(-err));
}

int server_ids_enter(struct worker *worker, const struct admission *asked, struct error *error)
{
	const struct service *service = worker_service(worker);

	if (asked->key_len && asked->key_len != service->value.key_len)
		return error_set(error, -EINVAL,
				 "the worker's key has %u octets, in IDs of service \"%s\" it has "
				 "%u",
				 asked->key_len, service->value.name, service->value.key_len);
	if (asked->key_len && service->key == CONFIG_KEY_COOKIE)
		return error_set(error, -EINVAL,
				 "IDs of service \"%s\" have a socket's cookie: there is no key to "
				 "be said",
				 service->value.name);
	if (!service->value.key_len)
		return 0;
	return service->key == CONFIG_KEY_COOKIE ? enter_cookies(worker, asked, error) :
						   enter_told(worker, asked, error);
}

void server_ids_key(const struct worker *worker, __u8 key[16])
{
	const struct server_ids *ids = ids_of(worker, CS_BY_EXTRACTOR);

	memset(key, 0, 16);
	for (__u32 i = 0; i < ids->count; i++) {
		if (ids->id[i].value.worker != worker->id)
			continue;
		memcpy(key, ids->id[i].key.id, 16);
		return;
	}
}

/* ---- all of them ------------------------------------------------------------------------------
 */

static int give_back(const struct worker *worker, __u32 config)
{
	struct server_ids *ids = ids_of(worker, config);
	bool cookies = config == CS_BY_EXTRACTOR &&
		       worker_service(worker)->key == CONFIG_KEY_COOKIE;
	int failed = 0;

	/* From the end: one that is forgotten leaves its place to the last. */
	for (__u32 i = ids->count; i-- > 0;) {
		struct server_id *id = &ids->id[i];
		int err;

		if (id->value.worker != worker->id)
			continue;
		id->returned = ++worker->all->returned_ids;
		err = cookies ? remove_id(worker->all, ids, id) : give(worker->all, id, 0);
		failed = err ? err : failed;
	}
	return failed;
}

int server_ids_leave(const struct worker *worker)
{
	int err = 0;

	for (__u32 config = 0; config < CS_CONFIGS && !err; config++)
		err = give_back(worker, config);
	return err;
}

static int decode(const struct workers *workers, __u32 service, const struct cs_cid *cid,
		  __u32 config, struct cs_server_id *id)
{
	const struct cs_service *value = &workers->service[service].value;
	struct cs_lb lb;
	int err;

	if (config == CS_BY_EXTRACTOR)
		return cs_extract(cid, value->key_at, value->key_len, id);
	err = lb_find(workers->plane, service, config, &lb);
	if (!err)
		err = cs_lb_decode(&lb, cid, id);
	explicit_bzero(&lb, sizeof(lb));
	return err;
}

bool server_ids_find(const struct workers *workers, __u32 service, const __u8 *octets, size_t len,
		     __u32 *worker)
{
	const struct cs_service *value = &workers->service[service].value;
	__u8 room[CS_MAX_CID + 4] = {};
	struct cs_server_id server = {};
	const struct server_id *id;
	struct cs_cid cid = {};
	__u32 config;

	if (!len || len > CS_MAX_CID)
		return false;
	memcpy(room, octets, len);
	cs_cid_copy(&cid, room, len);
	config = value->key_len ? CS_BY_EXTRACTOR : cs_lb_id(&cid);
	if (config >= CS_CONFIGS || !workers->service[service].ids[config].open ||
	    decode(workers, service, &cid, config, &server))
		return false;
	id = find(&workers->service[service].ids[config], server.word);
	*worker = id ? id->value.worker : 0;
	return id;
}
