// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "dataplane/internal.h"
#include "dataplane/lb.h"

static __u32 config_index(__u32 service, __u32 id)
{
	return service * CS_LB_CONFIGS + id;
}

int lb_find(const struct plane *plane, __u32 service, __u32 id, struct cs_lb *lb)
{
	__u32 index = config_index(service, id);

	if (bpf_map_lookup_elem(plane->map[PLANE_LB_CONFIGS], &index, lb))
		return -errno;
	return lb->algorithm == CS_LB_NONE ? -ENOENT : 0;
}

static void make(const struct config_lb *from, struct cs_lb *lb)
{
	cs_lb_init(lb, from->id, from->server_id_len, from->nonce_len, !from->cid_len,
		   from->has_key ? from->key : NULL);
	lb->host_len = from->host_len;
}

static struct cs_server_key host_key(__u32 service, const struct config_lb *lb, const lb_host host)
{
	struct cs_server_key key = { .service = service, .config = lb->id, .host = 1 };

	memcpy(key.id, host, lb->host_len);
	return key;
}

/* Is this how server IDs of this host begin? */
static bool is_host(const struct plane *plane, __u32 service, const struct config_lb *lb)
{
	const struct cs_server_key key = host_key(service, lb, lb->host);
	struct cs_server server;

	return !lb->host_len ||
	       (!bpf_map_lookup_elem(plane->map[PLANE_SERVERS], &key, &server) && !server.flags);
}

/* Is it what is loaded? */
static int compare(const struct plane *plane, __u32 id, const struct cs_service *is,
		   const struct config_lb *want, bool *same)
{
	struct config_lb with_key = *want;
	struct cs_lb loaded = {}, wanted;
	int err = lb_find(plane, id, want->id, &loaded);

	if (want->key_forgotten && loaded.algorithm != CS_LB_PLAIN)
		memcpy(with_key.key, loaded.encrypt.round[0], sizeof(with_key.key));
	make(&with_key, &wanted);
	*same = !memcmp(&loaded, &wanted, sizeof(loaded)) &&
		is->lb_len[want->id] == want->cid_len && is_host(plane, id, want);
	explicit_bzero(&with_key, sizeof(with_key));
	explicit_bzero(&loaded, sizeof(loaded));
	explicit_bzero(&wanted, sizeof(wanted));
	return err;
}

int lb_may_add(const struct cs_service *is, bool has_workers, const struct config_lb *want,
	       const char *name, struct error *error)
{
	if (is->key_len)
		return error_set(error, -EINVAL,
				 "service \"%s\" has worker_key: IDs of that format and of a "
				 "QUIC-LB configuration cannot be told apart",
				 name);
	/* What they have issued may begin with any three bits. */
	if (!is->lb_configs && has_workers)
		return error_set(error, -EINVAL,
				 "service \"%s\": its first QUIC-LB configuration cannot come "
				 "while workers are registered: they have IDs that would be taken "
				 "for its own; stop them first",
				 name);
	if (is->used && !is->cid_len)
		return error_set(error, -EINVAL,
				 "service \"%s\" has cid_length 0: configuration %u would never "
				 "be asked",
				 name, want->id);
	return 0;
}

static int plan_config(const struct plane *plane, __u32 id, const struct cs_service *is,
		       const struct config_service *want, const struct config_lb *lb, bool *add,
		       struct error *error)
{
	bool same = true;
	int err;

	*add = !(is->lb_configs >> lb->id & 1);
	if (*add)
		return 0;
	err = compare(plane, id, is, lb, &same);
	if (err)
		return error_set(error, err, "service \"%s\": reading configuration %u: %s",
				 want->name, lb->id, strerror(-err));
	if (same)
		return 0;
	return error_set(error, -EINVAL,
			 "service \"%s\": quic_lb \"%u\" is loaded with other lengths, another key "
			 "or another host: a configuration never changes; give this one another "
			 "id, or first: cidsteer config retire %s %u",
			 want->name, lb->id, want->name, lb->id);
}

static int plan_format(const struct cs_service *is, bool has_workers,
		       const struct config_service *want, struct cs_service *service,
		       struct error *error)
{
	service->key_at = want->extract.at;
	service->key_len = want->extract.len;
	if (has_workers && (is->key_at != service->key_at || is->key_len != service->key_len))
		return error_set(error, -EINVAL,
				 "service \"%s\": worker_key cannot change while workers are "
				 "registered: stop them first",
				 want->name);
	if (service->key_len && service->lb_configs)
		return error_set(error, -EINVAL,
				 "service \"%s\": QUIC-LB configurations are loaded, which "
				 "worker_key cannot be told apart from: cidsteer config retire",
				 want->name);
	return 0;
}

int lb_plan(const struct plane *plane, __u32 id, const struct cs_service *is, bool has_workers,
	    const struct config_service *want, struct cs_service *service, __u8 *add,
	    struct error *error)
{
	int err = plan_format(is, has_workers, want, service, error);

	*add = 0;
	for (unsigned int i = 0; i < want->lb_count && !err; i++) {
		const struct config_lb *lb = &want->lb[i];
		bool is_new;

		err = plan_config(plane, id, is, want, lb, &is_new, error);
		if (!err && is_new)
			err = lb_may_add(is, has_workers, lb, want->name, error);
		if (err || !is_new)
			continue;
		*add |= 1 << lb->id;
		lb_set(service, lb);
	}
	return err;
}

void lb_set(struct cs_service *service, const struct config_lb *lb)
{
	service->lb_configs |= 1 << lb->id;
	service->lb_len[lb->id] = lb->cid_len;
	if (lb->active && !service->lb_active)
		service->lb_active = 1 + lb->id;
}

void lb_unset(struct cs_service *service, __u32 id)
{
	service->lb_configs &= ~(1 << id);
	service->lb_len[id] = 0;
	if (service->lb_active == 1 + id)
		service->lb_active = 0;
}

static int write_host(const struct plane *plane, __u32 service, const struct config_lb *lb,
		      const lb_host host, __u8 flags)
{
	const struct cs_server_key key = host_key(service, lb, host);
	struct cs_server server = { .flags = flags };

	return bpf_map_update_elem(plane->map[PLANE_SERVERS], &key, &server, BPF_ANY) ? -errno : 0;
}

static unsigned int hosts_of(const struct config *config, const struct config_service *from,
			     const struct config_lb *lb, lb_host *other)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < config->host_count; i++) {
		const struct config_host *host = &config->host[i];

		if (&config->service[host->service] == from && host->lb == lb->id)
			memcpy(other[count++], host->host, sizeof(*other));
	}
	return count;
}

static int write_hosts(const struct plane *plane, __u32 service, const struct config_lb *lb,
		       const lb_host *other, unsigned int others)
{
	int err = 0;

	for (unsigned int i = 0; i < others && !err; i++)
		err = write_host(plane, service, lb, other[i], CS_SERVER_ELSEWHERE);
	return err;
}

int lb_write(const struct plane *plane, __u32 service, const struct config_lb *lb,
	     const lb_host *other, unsigned int others)
{
	__u32 index = config_index(service, lb->id);
	struct cs_lb value;
	/* What one that was retired, and a process that died meanwhile, have left. */
	int err = lb_remove(plane, service, lb->id);

	if (!err && lb->host_len)
		err = write_host(plane, service, lb, lb->host, 0);
	if (!err)
		err = write_hosts(plane, service, lb, other, others);
	if (err)
		return err;
	make(lb, &value);
	if (bpf_map_update_elem(plane->map[PLANE_LB_CONFIGS], &index, &value, BPF_ANY))
		err = -errno;
	explicit_bzero(&value, sizeof(value));
	return err;
}

int lb_write_configured(const struct plane *plane, __u32 service, const struct config *config,
			const struct config_service *from, __u8 add)
{
	_cleanup_free_ lb_host *other = calloc(CONFIG_MAX_HOSTS, sizeof(*other));
	int err = other ? 0 : -ENOMEM;

	for (unsigned int i = 0; i < from->lb_count && !err; i++) {
		const struct config_lb *lb = &from->lb[i];
		unsigned int others = hosts_of(config, from, lb, other);

		if (add >> lb->id & 1)
			err = lb_write(plane, service, lb, other, others);
		else
			err = write_hosts(plane, service, lb, other, others);
	}
	return err;
}

struct hosts {
	const struct plane *plane;
	__u32 service;
	const struct config *config;
	const struct config_service *from;
};

static bool is_configured(const struct hosts *of, const struct cs_server_key *key)
{
	for (unsigned int i = 0; i < of->config->host_count; i++) {
		const struct config_host *host = &of->config->host[i];

		if (&of->config->service[host->service] == of->from && host->lb == key->config &&
		    !memcmp(host->host, key->id, sizeof(host->host)))
			return true;
	}
	return false;
}

static int tidy_host(const struct cs_server_key *key, const struct cs_server *server, void *arg)
{
	const struct hosts *of = arg;

	if (key->service != of->service || !key->host || !(server->flags & CS_SERVER_ELSEWHERE))
		return 0;
	for (unsigned int i = 0; i < of->from->lb_count; i++) {
		if (of->from->lb[i].id == key->config && !is_configured(of, key))
			bpf_map_delete_elem(of->plane->map[PLANE_SERVERS], key);
	}
	return 0;
}

void lb_tidy(const struct plane *plane, __u32 service, const struct config *config,
	     const struct config_service *from)
{
	struct hosts hosts = { plane, service, config, from };

	if (from->lb_count)
		lb_each_server(plane, tidy_host, &hosts);
}

int lb_each_server(const struct plane *plane,
		   int (*visit)(const struct cs_server_key *, const struct cs_server *, void *),
		   void *arg)
{
	struct cs_server_key key, next;
	struct cs_server server;
	int map = plane->map[PLANE_SERVERS], err = bpf_map_get_next_key(map, NULL, &next);

	/* The next key is asked for before @visit may remove this one.  Behind one that somebody
	 * else has removed comes the first one again: not for ever.
	 */
	for (int i = 0; i < 4 * CS_MAX_SERVER_IDS && !err; i++) {
		int result;

		key = next;
		err = bpf_map_get_next_key(map, &key, &next);
		if (bpf_map_lookup_elem(map, &key, &server))
			continue;
		result = visit(&key, &server, arg);
		if (result)
			return result;
	}
	return err == -ENOENT ? 0 : err;
}

struct removal {
	const struct plane *plane;
	__u32 service;
	__u32 config;
};

static int remove_server(const struct cs_server_key *key, const struct cs_server *server, void *arg)
{
	const struct removal *of = arg;

	(void)server;
	if (key->service != of->service || key->config != of->config)
		return 0;
	return bpf_map_delete_elem(of->plane->map[PLANE_SERVERS], key) ? -errno : 0;
}

int lb_remove(const struct plane *plane, __u32 service, __u32 config)
{
	static const struct cs_lb none;
	struct removal removal = { plane, service, config };
	__u32 index = config_index(service, config);
	int err;

	/* First the key: it does not outlive what could not be removed. */
	if (config < CS_LB_CONFIGS &&
	    bpf_map_update_elem(plane->map[PLANE_LB_CONFIGS], &index, &none, BPF_ANY))
		return -errno;
	err = lb_each_server(plane, remove_server, &removal);
	return err ? err :
		     plane_clear_line(plane->map[PLANE_HITS], service * CS_CONFIGS + config,
				      sizeof(struct cs_hits));
}

int lb_remove_all(const struct plane *plane, __u32 service)
{
	int err = 0;

	for (__u32 config = 0; config < CS_CONFIGS && !err; config++)
		err = lb_remove(plane, service, config);
	return err;
}

int lb_hits(const struct plane *plane, __u32 service, __u32 config, struct cs_hits *sum)
{
	return plane_sum_line(plane->map[PLANE_HITS], service * CS_CONFIGS + config, sum,
			      sizeof(*sum));
}
