// SPDX-License-Identifier: GPL-2.0-only
/*
 * From the configuration to the maps.  First a plan is made from what is loaded and what is
 * asked for, and checked; then all that can fail is made (tables, programs); then it is written,
 * in the order in which packets that come meanwhile are still routed right: settings and table
 * before addresses.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/internal.h"
#include "dataplane/kernel_btf.h"
#include "dataplane/lb.h"
#include "dataplane/plane.h"

/* The skeletons use the types of core/abi.h. */
#include "cidsteer.skel.h"
#include "explain.skel.h"

struct plan {
	struct cs_service service[CS_MAX_SERVICES], was[CS_MAX_SERVICES];
	bool renew[CS_MAX_SERVICES]; /* new key, table and usage lines */
	int table_fd[CS_MAX_SERVICES], usage_fd[CS_MAX_SERVICES]; /* made for those; 0: none */
	int old_table_fd[CS_MAX_SERVICES], old_usage_fd[CS_MAX_SERVICES]; /* that they replace */
	bool wanted[CS_MAX_SERVICES];
	bool has_workers[CS_MAX_SERVICES];
	const struct config *config;
	const struct config_service *from[CS_MAX_SERVICES];
	__u8 lb_add[CS_MAX_SERVICES]; /* QUIC-LB configurations that come, bit by id */
	bool listener_used[CS_MAX_LISTENERS];
	struct plane_address loaded[CS_MAX_ADDRS], want[CS_MAX_ADDRS];
	unsigned int loaded_count, want_count;
	struct namespaces netns;
};

static int note_address(const struct cs_addr *addr, const struct cs_listener *listener, void *arg)
{
	struct plan *plan = arg;

	if (plan->loaded_count == CS_MAX_ADDRS)
		return -E2BIG;
	if (addr->netns >= CS_MAX_NETNS)
		return -EPROTO;
	if (listener->listener < CS_MAX_LISTENERS)
		plan->listener_used[listener->listener] = true;
	plan->loaded[plan->loaded_count++] = (struct plane_address){ *addr, *listener, 0 };
	return 0;
}

static int plan_loaded(const struct plane *plane, struct plan *plan)
{
	_cleanup_free_ struct cs_worker *workers = calloc(CS_MAX_WORKERS, sizeof(*workers));
	int err = workers ? plane_workers(plane, workers) : -ENOMEM;

	if (err)
		return err;
	for (int i = 1; i < CS_MAX_WORKERS; i++) {
		if (workers[i].state != CS_WORKER_NONE && workers[i].service < CS_MAX_SERVICES)
			plan->has_workers[workers[i].service] = true;
	}
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		err = plane_service(plane, id, &plan->service[id]);
		if (err && err != -ENOENT)
			return err;
	}
	memcpy(plan->was, plan->service, sizeof(plan->was));
	return plane_each_address(plane, note_address, plan);
}

/* A service by name, or a free id for a new one; 0: none is left. */
static __u32 plan_find_service(const struct plan *plan, const char *name)
{
	__u32 free_id = 0;

	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (!plan->service[id].used) {
			free_id = free_id ? free_id : id;
			continue;
		}
		if (!strcmp(plan->service[id].name, name))
			return id;
	}
	return free_id;
}

/* A namespace that was made anew has its old name, and another cookie. */
static int plan_moved(const struct plan *plan, __u32 id, const struct config_service *want,
		      struct error *error)
{
	for (unsigned int i = 0; i < plan->loaded_count; i++) {
		const struct plane_address *is = &plan->loaded[i];

		if (is->listener.service == id && is->addr.netns != want->listen[0].netns)
			return error_set(error, -EINVAL,
					 "service \"%s\": its workers are in another network "
					 "namespace than %s%s is now: stop them first",
					 want->name,
					 *want->netns ? "what is called " : "the daemon's",
					 want->netns);
	}
	return 0;
}

static int plan_changed(const struct plan *plan, __u32 id, const struct config_service *want,
			struct error *error)
{
	const struct cs_service *is = &plan->service[id];

	if (cs_table_buckets(is->max_cids) != cs_table_buckets(want->max_cids))
		return error_set(error, -EINVAL,
				 "service \"%s\": max_cids is %u in the loaded table and %u in the "
				 "configuration: a table cannot change its size; put %u back, or "
				 "cidsteer unload",
				 want->name, is->max_cids, want->max_cids, is->max_cids);
	if (!plan->has_workers[id])
		return 0;
	if (is->cid_len != want->cid_len || is->shared_table != want->shared_table ||
	    is->uid != want->uid)
		return error_set(error, -EINVAL,
				 "service \"%s\": cid_length, shared_table and user cannot change "
				 "while workers are registered: stop them first",
				 want->name);
	return plan_moved(plan, id, want, error);
}

static int plan_service(struct plan *plan, const struct config_service *want, struct error *error,
			__u32 *id)
{
	struct cs_service *service;
	int err;

	*id = plan_find_service(plan, want->name);
	if (!*id)
		return error_set(error, -ENOSPC, "service \"%s\": no more than %d services",
				 want->name, CS_MAX_SERVICES - 1);
	service = &plan->service[*id];
	err = service->used ? plan_changed(plan, *id, want, error) : 0;
	if (err)
		return err;
	/* Who had the table mapped under another user's rule can still write it: a new one. */
	plan->renew[*id] = !service->used || service->uid != want->uid ||
			   service->shared_table != want->shared_table;
	if (plan->renew[*id] &&
	    getrandom(service->key, sizeof(service->key), 0) != sizeof(service->key))
		return error_set(error, -errno, "getrandom: %s", strerror(errno));
	memcpy(service->name, want->name, sizeof(service->name));
	plan->wanted[*id] = true;
	service->used = 1;
	service->max_cids = want->max_cids;
	service->uid = want->uid;
	service->cid_len = want->cid_len;
	service->shared_table = want->shared_table;
	service->listeners = want->listen_count;
	service->unknown_cid = want->unknown_cid;
	service->malformed = want->malformed;
	service->not_quic = want->not_quic;
	service->no_xsk = want->no_xsk;
	service->small_initial = want->small_initial;
	plan->from[*id] = want;
	return 0;
}

static const struct plane_address *plan_find_loaded(const struct plan *plan,
						    const struct cs_addr *addr)
{
	for (unsigned int i = 0; i < plan->loaded_count; i++) {
		if (!memcmp(&plan->loaded[i].addr, addr, sizeof(*addr)))
			return &plan->loaded[i];
	}
	return NULL;
}

static int plan_free_listener(struct plan *plan)
{
	for (int i = 0; i < CS_MAX_LISTENERS; i++) {
		if (plan->listener_used[i])
			continue;
		plan->listener_used[i] = true;
		return i;
	}
	return -ENOSPC;
}

/* Positions of listeners that stay do not change: workers' sockets lie in slots by position. */
static int plan_free_position(const struct plan *plan, __u32 id, const struct config_service *want)
{
	for (int position = 0; position < CS_MAX_SERVICE_LISTENERS; position++) {
		bool taken = false;

		for (unsigned int i = 0; i < plan->want_count; i++)
			taken |= plan->want[i].listener.service == id &&
				 plan->want[i].listener.position == position;
		for (unsigned int i = 0; i < want->listen_count; i++) {
			const struct plane_address *is = plan_find_loaded(plan, &want->listen[i]);

			taken |= is && is->listener.service == id &&
				 is->listener.position == position;
		}
		if (!taken)
			return position;
	}
	return -ENOSPC;
}

static bool config_has(const struct config *config, const struct cs_addr *addr)
{
	for (unsigned int s = 0; s < config->count; s++) {
		for (unsigned int i = 0; i < config->service[s].listen_count; i++) {
			if (!memcmp(&config->service[s].listen[i], addr, sizeof(*addr)))
				return true;
		}
	}
	return false;
}

static int plan_want(struct plan *plan, const struct cs_addr *addr, struct cs_listener listener)
{
	if (plan->want_count == CS_MAX_ADDRS)
		return -E2BIG;
	plan->want[plan->want_count++] = (struct plane_address){ *addr, listener, 0 };
	return 0;
}

static int plan_listener(struct plan *plan, const struct config *config,
			 const struct config_service *want, __u32 id, const struct cs_addr *addr)
{
	const struct plane_address *is = plan_find_loaded(plan, addr);
	struct cs_listener listener = { .service = id };
	struct cs_addr ipv4 = { .ip = { [10] = 0xff, [11] = 0xff },
				.port = addr->port,
				.netns = addr->netns };
	int slot, position, err;

	if (is && is->listener.service == id && !(is->listener.flags & CS_LISTENER_ALIAS)) {
		listener = is->listener;
	} else {
		slot = plan_free_listener(plan);
		position = plan_free_position(plan, id, want);
		if (slot < 0 || position < 0)
			return -ENOSPC;
		listener.listener = slot;
		listener.position = position;
	}
	err = plan_want(plan, addr, listener);
	if (err || address_is_ipv4(addr) || !address_is_wildcard(addr) || config_has(config, &ipv4))
		return err;
	/* Sockets on [::] take IPv4 too, unless 0.0.0.0 is listened on in its own right. */
	listener.flags |= CS_LISTENER_ALIAS;
	return plan_want(plan, &ipv4, listener);
}

static int plan_all(const struct plane *plane, const struct config *config, struct plan *plan,
		    struct error *error)
{
	int err = plan_loaded(plane, plan);

	if (err)
		return error_set(error, err, "reading the maps: %s", strerror(-err));
	for (unsigned int s = 0; s < config->count; s++) {
		const struct config_service *want = &config->service[s];
		__u32 id;

		err = plan_service(plan, want, error, &id);
		if (!err)
			err = lb_plan(plane, id, &plan->was[id], plan->has_workers[id], want,
				      &plan->service[id], &plan->lb_add[id], error);
		if (err)
			return err;
		for (unsigned int i = 0; i < want->listen_count; i++) {
			err = plan_listener(plan, config, want, id, &want->listen[i]);
			if (err)
				return error_set(error, err,
						 "service \"%s\": no more than %d listeners in all",
						 want->name, CS_MAX_LISTENERS);
		}
	}
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (plan->service[id].used && !plan->wanted[id] && plan->has_workers[id])
			return error_set(
				error, -EBUSY,
				"service \"%s\" is not in the configuration, but has workers: "
				"stop them first",
				plan->service[id].name);
	}
	return 0;
}

struct inner {
	const char *name, *type;
	__u32 bytes, entries, flags;
};

static int make_typed(const struct inner *inner, struct btf *btf)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = inner->flags);
	__s32 key = btf__find_by_name_kind(btf, "unsigned int", BTF_KIND_INT);
	__s32 value = btf__find_by_name_kind(btf, inner->type, BTF_KIND_STRUCT);
	int err;

	if (key < 0 || value < 0)
		return -EPROTO;
	err = btf__load_into_kernel(btf);
	if (err)
		return err;
	opts.btf_fd = btf__fd(btf);
	opts.btf_key_type_id = key;
	opts.btf_value_type_id = value;
	return bpf_map_create(BPF_MAP_TYPE_ARRAY, inner->name, sizeof(__u32), inner->bytes,
			      inner->entries, &opts);
}

/*
 * Returns a descriptor, the caller's, or a negative errno.  The BTF of cs_explain names the types;
 * it is loaded again, since only CAP_SYS_ADMIN gets a descriptor of what the kernel has already.
 */
static int make_inner(const struct inner *inner)
{
	struct explain *skel = explain__open();
	int fd;

	if (!skel)
		return -errno;
	fd = make_typed(inner, bpf_object__btf(skel->obj));
	explain__destroy(skel);
	return fd;
}

static int make_table(__u32 max_cids)
{
	const struct inner table = { "cs_table", "cs_bucket", sizeof(struct cs_bucket),
				     cs_table_buckets(max_cids), BPF_F_MMAPABLE | BPF_F_INNER_MAP };

	return make_inner(&table);
}

static int make_usage(void)
{
	const struct inner usage = { "cs_usage_lines", "cs_usage", sizeof(struct cs_usage),
				     CS_MAX_SERVICE_WORKERS, BPF_F_MMAPABLE };

	return make_inner(&usage);
}

int plane_renew_table(const struct plane *plane, __u32 id)
{
	_cleanup_fd_ int table = -1, usage = -1;
	struct cs_service service;
	int err = plane_service(plane, id, &service);

	if (err)
		return err;
	table = make_table(service.max_cids);
	usage = make_usage();
	if (table < 0 || usage < 0)
		return table < 0 ? table : usage;
	return plane_inner_put(plane, id, table, usage) ?: plane_inner_tidy(plane);
}

/* An id may have belonged to a service that is no longer configured. */
static int reset_service(const struct plane *plane, __u32 id)
{
	static const struct cs_ring no_ring;
	int err;

	if (bpf_map_update_elem(plane->map[PLANE_RING], &id, &no_ring, BPF_ANY))
		return -errno;
	err = lb_remove_all(plane, id);
	for (__u32 hook = 0; hook < CS_HOOKS && !err; hook++)
		err = plane_clear_line(plane->map[PLANE_COUNTERS], CS_COUNTER_KEY(hook, id),
				       sizeof(struct cs_counters));
	return err;
}

void plane_count_loaded(const struct plane *plane)
{
	struct plane_progress *progress = plane->progress;
	struct timespec now;

	if (!progress)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	progress->loaded++;
	if (!progress->said)
		progress->said = now.tv_sec;
	if (now.tv_sec < progress->said + PLANE_PROGRESS_SECONDS)
		return;
	progress->said = now.tv_sec;
	progress->say(progress->loaded);
}

/* An instance of cs_reuseport that knows its listener. */
int plane_load_instance(const struct plane *plane, const struct cs_listener *listener)
{
	_cleanup_kernel_btf_ struct kernel_btf btf = KERNEL_BTF_INIT;
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = kernel_btf_open(&btf));
	struct cidsteer *skel;
	int err = plane_libbpf_probe(), fd = -1;

	if (err)
		return err;
	skel = cidsteer__open_opts(&opts);
	if (!skel)
		return -errno;
	bpf_program__set_autoload(skel->progs.cs_xdp, false);
	/* const volatile in the program; until it is loaded this is plain memory. */
	*(struct cs_listener *)&skel->rodata->cs_listener = *listener;
	err = plane_reuse_maps(plane, skel->obj);
	if (!err)
		err = cidsteer__load(skel);
	if (!err) {
		fd = fcntl(bpf_program__fd(skel->progs.cs_reuseport), F_DUPFD_CLOEXEC, 0);
		err = fd < 0 ? -errno : 0;
	}
	cidsteer__destroy(skel);
	return err ? err : fd;
}

/* Returns 0, -ENOENT (its slot is empty), or another errno. */
static int find_instance(const struct plane *plane, __u32 slot)
{
	__u32 prog_id;

	return bpf_map_lookup_elem(plane->map[PLANE_LISTENERS], &slot, &prog_id) ? -errno : 0;
}

static int prepare_service(const struct plane *plane, struct plan *plan, __u32 id)
{
	plan->table_fd[id] = make_table(plan->service[id].max_cids);
	if (plan->table_fd[id] < 0)
		return plan->table_fd[id];
	plan->usage_fd[id] = make_usage();
	if (plan->usage_fd[id] < 0)
		return plan->usage_fd[id];
	if (!plan->was[id].used)
		return 0;
	plan->old_table_fd[id] = plane_table_fd(plane, id);
	if (plan->old_table_fd[id] < 0)
		return plan->old_table_fd[id];
	plan->old_usage_fd[id] = plane_usage_fd(plane, id);
	return plan->old_usage_fd[id] < 0 ? plan->old_usage_fd[id] : 0;
}

/* Makes what packets and workers do not see yet. */
static int prepare(const struct plane *plane, struct plan *plan)
{
	int err = namespaces_prepare(plane, &plan->netns);

	for (__u32 id = 1; id < CS_MAX_SERVICES && !err; id++) {
		if (plan->wanted[id] && plan->renew[id])
			err = prepare_service(plane, plan, id);
	}
	if (err)
		return err;
	for (unsigned int i = 0; i < plan->want_count; i++) {
		struct plane_address *want = &plan->want[i];
		const struct plane_address *is = plan_find_loaded(plan, &want->addr);
		bool same = is && !memcmp(&is->listener, &want->listener, sizeof(is->listener));
		int err = same ? find_instance(plane, want->listener.listener) : -ENOENT;

		if (want->listener.flags & CS_LISTENER_ALIAS || !err)
			continue;
		if (err != -ENOENT)
			return err;
		want->instance = plane_load_instance(plane, &want->listener);
		if (want->instance < 0)
			return want->instance;
		plane_count_loaded(plane);
	}
	return 0;
}

static void close_made(int fd)
{
	if (fd > 0)
		close(fd);
}

static void close_prepared(struct plan *plan)
{
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		close_made(plan->table_fd[id]);
		close_made(plan->usage_fd[id]);
		close_made(plan->old_table_fd[id]);
		close_made(plan->old_usage_fd[id]);
	}
	for (unsigned int i = 0; i < plan->want_count; i++)
		close_made(plan->want[i].instance);
	namespaces_free(&plan->netns);
}

static int apply_services(const struct plane *plane, const struct plan *plan)
{
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		int err = 0;

		if (!plan->wanted[id])
			continue;
		if (!plan->was[id].used)
			err = reset_service(plane, id);
		if (!err && plan->from[id]->lb_count)
			err = lb_write_configured(plane, id, plan->config, plan->from[id],
						  plan->lb_add[id]);
		if (!err && plan->renew[id])
			err = plane_inner_put(plane, id, plan->table_fd[id], plan->usage_fd[id]);
		if (!err && bpf_map_update_elem(plane->map[PLANE_SERVICES], &id, &plan->service[id],
						BPF_ANY))
			err = -errno;
		if (err)
			return err;
	}
	return 0;
}

static int apply_addresses(const struct plane *plane, const struct plan *plan)
{
	for (unsigned int i = 0; i < plan->want_count; i++) {
		const struct plane_address *want = &plan->want[i];
		__u32 slot = want->listener.listener;

		if (want->instance > 0 && bpf_map_update_elem(plane->map[PLANE_LISTENERS], &slot,
							      &want->instance, BPF_ANY))
			return -errno;
		if (bpf_map_update_elem(plane->map[PLANE_ADDRS], &want->addr, &want->listener,
					BPF_ANY))
			return -errno;
	}
	return 0;
}

static bool plan_wants(const struct plan *plan, const struct cs_addr *addr)
{
	for (unsigned int i = 0; i < plan->want_count; i++) {
		if (!memcmp(&plan->want[i].addr, addr, sizeof(*addr)))
			return true;
	}
	return false;
}

static int remove_unwanted(const struct plane *plane, const struct plan *plan)
{
	static const struct cs_service none;

	for (unsigned int i = 0; i < plan->loaded_count; i++) {
		const struct cs_addr *addr = &plan->loaded[i].addr;

		if (!plan_wants(plan, addr) && bpf_map_delete_elem(plane->map[PLANE_ADDRS], addr))
			return -errno;
	}
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (plan->was[id].used && !plan->wanted[id] &&
		    bpf_map_update_elem(plane->map[PLANE_SERVICES], &id, &none, BPF_ANY))
			return -errno;
	}
	return 0;
}

/* Slots of @of that none of @others has: nobody asks for them. */
static void empty_slots(const struct plane *plane, const struct plane_address *of,
			unsigned int of_count, const struct plane_address *others,
			unsigned int others_count)
{
	bool kept[CS_MAX_LISTENERS] = {};

	for (unsigned int i = 0; i < others_count; i++) {
		if (others[i].listener.listener < CS_MAX_LISTENERS)
			kept[others[i].listener.listener] = true;
	}
	for (unsigned int i = 0; i < of_count; i++) {
		__u32 slot = of[i].listener.listener;

		if (slot < CS_MAX_LISTENERS && !kept[slot])
			bpf_map_delete_elem(plane->map[PLANE_LISTENERS], &slot);
	}
}

/* Of what is in use no more, and is written over when it is used again: failing does no harm. */
static void tidy(const struct plane *plane, const struct plan *plan)
{
	empty_slots(plane, plan->loaded, plan->loaded_count, plan->want, plan->want_count);
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (plan->wanted[id])
			lb_tidy(plane, id, plan->config, plan->from[id]);
		if (!plan->was[id].used || plan->wanted[id])
			continue;
		bpf_map_delete_elem(plane->map[PLANE_CIDS], &id);
		bpf_map_delete_elem(plane->map[PLANE_USAGE], &id);
		lb_remove_all(plane, id);
	}
}

/* Of services that go on: what is new was asked for by nobody yet. */
static void undo_configs(const struct plane *plane, const struct plan *plan)
{
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		for (__u32 lb = 0; lb < CS_LB_CONFIGS; lb++) {
			if (plan->lb_add[id] >> lb & 1)
				lb_remove(plane, id, lb);
		}
	}
}

/* Everything as it was loaded; the slots of what was loaded have not been touched. */
static void undo(const struct plane *plane, const struct plan *plan)
{
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (plan->old_table_fd[id] > 0 && plan->old_usage_fd[id] > 0)
			plane_inner_put(plane, id, plan->old_table_fd[id], plan->old_usage_fd[id]);
		if (plan->was[id].used || plan->wanted[id])
			bpf_map_update_elem(plane->map[PLANE_SERVICES], &id, &plan->was[id],
					    BPF_ANY);
		if (plan->wanted[id] && !plan->was[id].used) {
			bpf_map_delete_elem(plane->map[PLANE_CIDS], &id);
			bpf_map_delete_elem(plane->map[PLANE_USAGE], &id);
		}
	}
	for (unsigned int i = 0; i < plan->loaded_count; i++)
		bpf_map_update_elem(plane->map[PLANE_ADDRS], &plan->loaded[i].addr,
				    &plan->loaded[i].listener, BPF_ANY);
	undo_configs(plane, plan);
	plane_index_ports(plane, plan->loaded, plan->loaded_count);
	for (unsigned int i = 0; i < plan->want_count; i++) {
		if (!plan_find_loaded(plan, &plan->want[i].addr))
			bpf_map_delete_elem(plane->map[PLANE_ADDRS], &plan->want[i].addr);
	}
	empty_slots(plane, plan->want, plan->want_count, plan->loaded, plan->loaded_count);
}

static int apply(struct plane *plane, const struct plan *plan)
{
	const struct cs_abi was = plane->abi;
	int err = namespaces_add(plane, &plan->netns);

	if (!err)
		err = apply_services(plane, plan);
	if (!err)
		err = apply_addresses(plane, plan);
	if (!err)
		err = plane_index_ports(plane, plan->want, plan->want_count);
	if (!err)
		err = remove_unwanted(plane, plan);
	if (!err)
		err = namespaces_pin(plane, &plan->netns);
	if (err) {
		undo(plane, plan);
		namespaces_undo(plane, &was, &plan->netns);
	} else {
		tidy(plane, plan);
		namespaces_remove(plane, &plan->netns);
	}
	return err;
}

int plane_sync(struct plane *plane, const struct config *config, struct error *error)
{
	_cleanup_free_ struct plan *plan = calloc(1, sizeof(*plan));
	_cleanup_config_ struct config *here = calloc(1, sizeof(*here)); /* with their indexes */
	int err;

	if (!plan || !here)
		return error_set(error, -ENOMEM, "out of memory");
	*here = *config;
	plan->config = here;
	err = namespaces_plan(plane, here, &plan->netns, error);
	if (!err)
		err = plan_all(plane, here, plan, error);
	if (err)
		return err;
	err = prepare(plane, plan);
	if (!err)
		err = apply(plane, plan);
	close_prepared(plan);
	plane_inner_tidy(plane); /* a pin too many does no harm */
	return err ? plane_libbpf_error(error, err, "services") : 0;
}
