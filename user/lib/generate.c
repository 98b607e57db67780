// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Making IDs: the service's formats, this worker's server IDs, and nonces that were not used yet.
 *
 * All of it lies in pages that a child does not inherit and a core dump does not show: keys are
 * among it, and who has a copy of the nonces would use them twice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include "core/lb.h"
#include "lib/internal.h"

#define TABLE_BITS 0xe0 /* of the first octet: no configuration has made this ID */
#define MAX_OWN 16	/* server IDs of one configuration; above, the oldest is forgotten */

struct nonces {
	uint8_t server_id[16];
	uint64_t next, left; /* left CS_NONCES_RANDOM: they are drawn */
};

struct config {
	struct cs_format format; /* its key is not kept */
	struct cs_lb lb;
	uint8_t own[MAX_OWN][16]; /* server IDs that this worker has */
	uint32_t owns;		  /* that there have been, counted on */
	struct nonces now, then;  /* what is used, and what is used next */
	uint32_t asked;		  /* serial of the LEASE that is on its way; 0: none */
	bool claims;		  /* and that claims what it had */
	int32_t refused;	  /* what the last one was answered; 0: nonces */
	uint64_t refused_second;
};

struct generator {
	struct config config[CS_LB_CONFIGS];
	uint8_t active; /* as in struct cs_msg_formats */
	uint8_t key_at, key_len;
	uint8_t worker_key[16];
	uint8_t used; /* bit by configuration */
};

int generator_init(struct cidsteer *handle)
{
	size_t bytes = sizeof(struct generator);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);

	if (memory == MAP_FAILED)
		return -errno;
	if (madvise(memory, bytes, MADV_DONTFORK) || madvise(memory, bytes, MADV_DONTDUMP)) {
		munmap(memory, bytes);
		return -errno;
	}
	handle->generator = memory;
	return 0;
}

void generator_free(struct cidsteer *handle)
{
	if (!handle->generator)
		return;
	explicit_bzero(handle->generator, sizeof(*handle->generator));
	munmap(handle->generator, sizeof(*handle->generator));
	handle->generator = NULL;
}

static uint64_t now_second(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* ---- what the daemon says ---------------------------------------------------------------------
 */

static bool is_format(const struct cs_format *format, uint32_t id)
{
	uint32_t least = 1 + format->server_id_len + format->nonce_len;

	if (!format->used)
		return true;
	return !cs_lb_mistake(id, format->server_id_len, format->nonce_len) &&
	       (!format->cid_len || (format->cid_len >= least && format->cid_len <= CS_MAX_CID));
}

/* Has a server ID, or a key, nothing behind its octets? */
static bool ends(const uint8_t octets[16], uint32_t len)
{
	for (uint32_t i = len; i < 16; i++) {
		if (octets[i])
			return false;
	}
	return true;
}

static bool is_key(const struct cidsteer *handle, const struct cs_msg_formats *message)
{
	return message->key_len <= sizeof(message->worker_key) &&
	       message->key_at + message->key_len <= handle->routes.cid_len &&
	       ends(message->worker_key, message->key_len);
}

/* A service has one kind of formats: an ID of both would be taken for somebody else's. */
static bool is_plausible(const struct cidsteer *handle, const struct cs_msg_formats *message)
{
	bool has_lb = false;

	for (uint32_t id = 0; id < CS_LB_CONFIGS; id++) {
		if (!is_format(&message->lb[id], id))
			return false;
		has_lb |= message->lb[id].used;
	}
	if (message->active &&
	    (message->active > CS_LB_CONFIGS || !message->lb[message->active - 1].used))
		return false;
	return !message->key_len || (!has_lb && is_key(handle, message));
}

/* One that comes, goes, or is another under the same id; else the worker goes on with it. */
static void take_format(struct config *config, const struct cs_format *format, uint32_t id)
{
	struct cs_lb lb = {};

	if (format->used)
		cs_lb_init(&lb, id, format->server_id_len, format->nonce_len, !format->cid_len,
			   format->has_key ? format->key : NULL);
	if (memcmp(&lb, &config->lb, sizeof(lb))) {
		explicit_bzero(config, sizeof(*config));
		config->lb = lb;
	}
	config->format = *format;
	explicit_bzero(config->format.key, sizeof(config->format.key));
	explicit_bzero(&lb, sizeof(lb));
}

int generator_formats(struct cidsteer *handle, const struct cs_msg_formats *message)
{
	struct generator *generator = handle->generator;

	if (!is_plausible(handle, message))
		return -EPROTO;
	generator->used = 0;
	for (uint32_t id = 0; id < CS_LB_CONFIGS; id++) {
		take_format(&generator->config[id], &message->lb[id], id);
		if (message->lb[id].used)
			generator->used |= 1 << id;
	}
	generator->active = message->active;
	generator->key_at = message->key_at;
	generator->key_len = message->key_len;
	memcpy(generator->worker_key, message->worker_key, sizeof(generator->worker_key));
	return 0;
}

static void note_own(struct config *config, const uint8_t server_id[16])
{
	for (uint32_t i = 0; i < MAX_OWN && i < config->owns; i++) {
		if (!memcmp(config->own[i], server_id, 16))
			return;
	}
	memcpy(config->own[config->owns++ % MAX_OWN], server_id, 16);
}

/* Nonces go on from 0 behind the last. */
static bool is_lease(const struct cs_lb *lb, const struct cs_msg_leased *message)
{
	if (!ends(message->server_id, lb->server_id_len))
		return false;
	if (lb->nonce_len >= CS_RANDOM_NONCE)
		return message->count == CS_NONCES_RANDOM;
	return message->count && message->count <= 1ULL << (lb->nonce_len * 8) &&
	       message->first < 1ULL << (lb->nonce_len * 8);
}

int generator_leased(struct cidsteer *handle, const struct cs_msg_leased *message)
{
	struct generator *generator = handle->generator;
	struct config *config;
	struct nonces *to;

	if (message->config >= CS_LB_CONFIGS || !is_result(message->result, 0))
		return -EPROTO;
	config = &generator->config[message->config];
	if (message->head.serial && message->head.serial == config->asked) {
		config->asked = 0;
		config->claims = false;
	}
	config->refused = message->result;
	config->refused_second = now_second();
	/* It was asked for before it was retired. */
	if (message->result || !config->format.used)
		return 0;
	if (!is_lease(&config->lb, message))
		return -EPROTO;
	if (config->now.left && config->then.left)
		return 0; /* nobody asked for a third block */
	note_own(config, message->server_id);
	to = config->now.left ? &config->then : &config->now;
	memcpy(to->server_id, message->server_id, sizeof(to->server_id));
	to->next = message->first;
	to->left = message->count;
	return 0;
}

/* ---- what the daemon is asked for -------------------------------------------------------------
 */

static int ask(struct cidsteer *handle, uint32_t id, struct cs_msg_lease *lease)
{
	struct config *config = &handle->generator->config[id];
	int err;

	lease->config = id;
	err = link_send(handle, &lease->head, CS_MSG_LEASE, sizeof(*lease), NULL, 0, 0);
	if (!err)
		config->asked = lease->head.serial;
	return err;
}

/* Before the last nonce is used; who was refused asks again in the next second. */
static void ask_for_more(struct cidsteer *handle, uint32_t id)
{
	struct config *config = &handle->generator->config[id];
	struct cs_msg_lease lease = {};

	if (config->asked || config->then.left || !is_connected(handle))
		return;
	if (config->refused && config->refused_second == now_second())
		return;
	ask(handle, id, &lease);
}

void generator_prepare(struct cidsteer *handle)
{
	const struct generator *generator = handle->generator;
	uint32_t id = generator->active - 1u;

	if (generator->active && !generator->config[id].now.left)
		ask_for_more(handle, id);
}

void generator_away(struct cidsteer *handle)
{
	for (uint32_t id = 0; handle->generator && id < CS_LB_CONFIGS; id++) {
		handle->generator->config[id].asked = 0;
		handle->generator->config[id].claims = false;
	}
}

/* The server IDs that IDs in use carry may have been given to nobody else yet. */
bool generator_claim(struct cidsteer *handle)
{
	struct generator *generator = handle->generator;

	for (uint32_t id = 0; id < CS_LB_CONFIGS; id++) {
		struct config *config = &generator->config[id];
		struct cs_msg_lease lease = { .claims = 1, .next = config->now.next };
		int err;

		if (!config->owns)
			continue;
		memcpy(lease.server_id, config->own[(config->owns - 1) % MAX_OWN], 16);
		err = config->format.used ? ask(handle, id, &lease) : 0;
		if (err == -ENOTCONN)
			return false;
		config->owns = 0;
		config->now.left = config->then.left = 0;
		config->claims = config->format.used && !err;
	}
	return true;
}

bool generator_claims(const struct cidsteer *handle)
{
	for (uint32_t id = 0; id < CS_LB_CONFIGS; id++) {
		if (handle->generator->config[id].claims)
			return true;
	}
	return false;
}

/* ---- what an ID says --------------------------------------------------------------------------
 */

static void read_cid(const uint8_t *octets, size_t len, struct cs_cid *cid)
{
	uint8_t room[CS_MAX_CID + 4] = {};

	memcpy(room, octets, len);
	cs_cid_copy(cid, room, len);
}

static enum carried carries_id(const struct config *config, const struct cs_cid *cid)
{
	struct cs_server_id id;

	if (cs_lb_decode(&config->lb, cid, &id))
		return CARRIES_NONE;
	for (uint32_t i = 0; i < MAX_OWN && i < config->owns; i++) {
		if (!memcmp(config->own[i], id.byte, sizeof(id.byte)))
			return CARRIES_OWN;
	}
	return CARRIES_OTHER;
}

static enum carried carries_key(const struct generator *generator, const struct cs_cid *cid)
{
	struct cs_server_id id;

	if (cs_extract(cid, generator->key_at, generator->key_len, &id))
		return CARRIES_NONE;
	return memcmp(id.byte, generator->worker_key, sizeof(id.byte)) ? CARRIES_OTHER :
									 CARRIES_OWN;
}

enum carried generator_carried(const struct cidsteer *handle, const uint8_t *octets, size_t len)
{
	const struct generator *generator = handle->generator;
	struct cs_cid cid;

	if (!generator->used && !generator->key_len)
		return CARRIES_NONE;
	read_cid(octets, len, &cid);
	if (generator->key_len)
		return carries_key(generator, &cid);
	if (!(generator->used >> cs_lb_id(&cid) & 1))
		return CARRIES_NONE;
	return carries_id(&generator->config[cs_lb_id(&cid)], &cid);
}

/* Where IDs carry a server ID, those that the table is to know begin with bits that say so. */
bool generator_allows(const struct cidsteer *handle, const uint8_t *cid)
{
	return !handle->generator->used || cid[0] >= TABLE_BITS;
}

/* ---- IDs --------------------------------------------------------------------------------------
 */

static size_t least_length(const struct config *config)
{
	return 1 + config->format.server_id_len + config->format.nonce_len;
}

size_t generator_length(const struct cidsteer *handle)
{
	const struct generator *generator = handle->generator;
	const struct config *config;

	if (!generator->active)
		return handle->routes.cid_len;
	config = &generator->config[generator->active - 1];
	return config->format.cid_len ? config->format.cid_len : least_length(config);
}

static bool fits(const struct config *config, size_t len)
{
	if (!config->format.used)
		return false;
	return config->format.cid_len ? len == config->format.cid_len : len >= least_length(config);
}

/* The next one, in network order.  Returns 0, or -EAGAIN: none is left. */
static int take_nonce(struct config *config, const uint8_t *random, uint8_t nonce[CS_LB_MAX_LEN])
{
	uint32_t len = config->format.nonce_len;
	uint64_t number;

	if (!config->now.left && config->then.left) {
		config->now = config->then;
		config->then.left = 0;
	}
	if (!config->now.left)
		return -EAGAIN;
	if (config->now.left == CS_NONCES_RANDOM) {
		memcpy(nonce, random, len);
		return 0;
	}
	number = config->now.next++;
	config->now.left--;
	for (uint32_t i = len; i-- > 0; number >>= 8)
		nonce[i] = number;
	return 0;
}

static int encode(struct cidsteer *handle, uint32_t id, uint8_t *cid, size_t len)
{
	struct config *config = &handle->generator->config[id];
	uint8_t nonce[CS_LB_MAX_LEN];
	int err = take_nonce(config, cid + 1 + config->format.server_id_len, nonce);

	if (config->now.left < CS_NONCES_LOW)
		ask_for_more(handle, id);
	if (err)
		return config->refused == -ENOSPC ? -ENOSPC :
		       is_connected(handle)	  ? -EAGAIN :
						    -ENOTCONN;
	return cs_lb_encode(&config->lb, config->now.server_id, nonce, cid[0], cid, len);
}

/* By one of the configurations, the active one first.  Returns -EINVAL: none has such a length. */
static int encode_any(struct cidsteer *handle, uint8_t *cid, size_t len)
{
	const struct generator *generator = handle->generator;
	uint32_t first = generator->active ? generator->active - 1 : 0;
	int err = -EINVAL;

	for (uint32_t i = 0; i < CS_LB_CONFIGS && err; i++) {
		uint32_t id = (first + i) % CS_LB_CONFIGS;

		if (!fits(&generator->config[id], len))
			continue;
		/* One that nobody has activated is used by who has nonces of it from before. */
		if (id + 1 != generator->active && !generator->config[id].now.left)
			continue;
		err = encode(handle, id, cid, len);
	}
	return err;
}

int generator_make(struct cidsteer *handle, uint8_t *cid, size_t len)
{
	const struct generator *generator = handle->generator;
	int err = -EINVAL;

	if (!len || len > CS_MAX_CID)
		return -EINVAL;
	if (getrandom(cid, len, 0) != (ssize_t)len)
		return -EIO;
	/* Of a length that the table has none of, also when no configuration is active any more. */
	if (generator->active || len != handle->routes.cid_len)
		err = encode_any(handle, cid, len);
	if (!err || len != handle->routes.cid_len)
		return err;
	if (!generator->key_len)
		cid[0] |= TABLE_BITS;
	else if (len >= (size_t)generator->key_at + generator->key_len)
		memcpy(cid + generator->key_at, generator->worker_key, generator->key_len);
	else
		return -EINVAL; /* the service's IDs are shorter now, and the format is to come */
	return 0;
}
