// SPDX-License-Identifier: GPL-2.0-only
/* Programs and maps into the kernel, and what is pinned adopted. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/internal.h"
#include "dataplane/kernel_btf.h"

/* The skeletons use the types of core/abi.h. */
#include "cidsteer.skel.h"
#include "cpu.skel.h"
#include "explain.skel.h"
#include "stub.skel.h"

/* Takes a descriptor of each map of a loaded object that is not open yet. */
static int take_maps(struct plane *plane, struct bpf_object *object)
{
	for (int i = 0; i < PLANE_MAPS; i++) {
		struct bpf_map *map = plane_find_map(object, i);

		if (plane->map[i] >= 0 || !map)
			continue;
		plane->map[i] = fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 0);
		if (plane->map[i] < 0)
			return -errno;
	}
	return 0;
}

static int copy_fd(int fd)
{
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* The kernel refuses a CPUMAP for more CPUs than it was built for (NR_CPUS). */
static __u32 cpus_of_kernel(void)
{
	_cleanup_file_ FILE *file = fopen("/sys/devices/system/cpu/kernel_max", "re");
	unsigned int last;

	if (!file || fscanf(file, "%u", &last) != 1 || last >= CS_MAX_CPUS)
		return CS_MAX_CPUS;
	return last + 1;
}

/* With the maps that it needs, if @maps; else over those that are open. */
static int load_xdp(struct plane *plane, __u32 netns, struct plane *maps)
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
	bpf_program__set_autoload(skel->progs.cs_reuseport, false);
	/* const volatile in the program; until it is loaded this is plain memory. */
	*(__u16 *)&skel->rodata->cs_netns = netns;
	/* Frames of several buffers: not by its section, whose name `ip link` users type. */
	bpf_program__set_flags(skel->progs.cs_xdp, BPF_F_XDP_HAS_FRAGS);
	err = bpf_map__set_max_entries(skel->maps.cs_cpus, cpus_of_kernel());
	if (!err)
		err = plane_reuse_maps(plane, skel->obj);
	if (!err)
		err = cidsteer__load(skel);
	if (!err && maps)
		err = take_maps(maps, skel->obj);
	if (!err)
		fd = copy_fd(bpf_program__fd(skel->progs.cs_xdp));
	cidsteer__destroy(skel);
	return err ? err : fd;
}

int plane_load_xdp(const struct plane *plane, __u32 netns)
{
	return load_xdp((struct plane *)plane, netns, NULL);
}

/* Its read-only data, of which there is one map of that size. */
int plane_instance_netns(int fd)
{
	__u32 ids[64], len = sizeof(struct bpf_prog_info), key = 0;
	struct bpf_prog_info info = { .nr_map_ids = 64, .map_ids = (__u64)(unsigned long)ids };
	struct cidsteer__rodata data;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	for (__u32 i = 0; i < info.nr_map_ids && i < 64; i++) {
		_cleanup_fd_ int map = bpf_map_get_fd_by_id(ids[i]);
		struct bpf_map_info about = {};

		len = sizeof(about);
		if (map < 0)
			return map;
		if (bpf_obj_get_info_by_fd(map, &about, &len))
			return -errno;
		/* With a name behind it it is not an instance's own. */
		if (!strstr(about.name, ".rodata") || strstr(about.name, ".rodata."))
			continue;
		if (about.value_size != sizeof(data))
			return -EPROTO;
		return bpf_map_lookup_elem(map, &key, &data) ? -errno : data.cs_netns;
	}
	return -ENOENT;
}

int plane_load_explain(const struct plane *plane, __u32 netns)
{
	_cleanup_kernel_btf_ struct kernel_btf btf = KERNEL_BTF_INIT;
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = kernel_btf_open(&btf));
	struct explain *skel;
	int err = plane_libbpf_probe(), fd = -1;

	if (err)
		return err;
	skel = explain__open_opts(&opts);
	if (!skel)
		return -errno;
	*(__u16 *)&skel->rodata->cs_netns = netns;
	err = plane_reuse_maps(plane, skel->obj);
	if (!err)
		err = explain__load(skel);
	if (!err)
		fd = copy_fd(bpf_program__fd(skel->progs.cs_explain));
	explain__destroy(skel);
	return err ? err : fd;
}

int plane_load_cpu(const struct plane *plane)
{
	struct cpu *skel = cpu__open();
	int err, fd = -1;

	if (!skel)
		return -errno;
	bpf_program__set_flags(skel->progs.cs_cpu, BPF_F_XDP_HAS_FRAGS);
	err = plane_reuse_maps(plane, skel->obj);
	if (!err)
		err = cpu__load(skel);
	if (!err)
		fd = copy_fd(bpf_program__fd(skel->progs.cs_cpu));
	cpu__destroy(skel);
	return err ? err : fd;
}

static int load_programs(struct plane *plane)
{
	plane->xdp = load_xdp(plane, 0, plane);
	if (plane->xdp < 0)
		return plane->xdp;
	plane->explain = plane_load_explain(plane, 0);
	if (plane->explain < 0)
		return plane->explain;
	plane->cpu = plane_load_cpu(plane);
	return plane->cpu < 0 ? plane->cpu : 0;
}

static int load_listeners(struct plane *plane)
{
	struct stub *skel = stub__open_and_load();
	int err;

	if (!skel)
		return -errno;
	err = take_maps(plane, skel->obj);
	stub__destroy(skel);
	return err;
}

static int write_abi(struct plane *plane)
{
	__u32 key = 0;

	plane->abi = (struct cs_abi){ .magic = CS_MAGIC, .layout = CS_LAYOUT };
	plane->abi.netns_cookie[0] = plane_netns_cookie();
	if (!plane->abi.netns_cookie[0])
		return -errno;
	return bpf_map_update_elem(plane->map[PLANE_ABI], &key, &plane->abi, BPF_ANY) ? -errno : 0;
}

/* Loads and pins everything; on failure nothing is left. */
static int load_new(struct plane *plane, struct error *error)
{
	int err;

	plane_libbpf_forget();
	err = load_programs(plane);
	if (!err)
		err = load_listeners(plane);
	if (!err)
		err = upgrade_pin_instance(plane);
	if (!err)
		err = write_abi(plane);
	if (!err)
		err = plane_pin_all(plane);
	if (!err)
		return 0;
	plane_unpin_all(plane);
	return plane_libbpf_error(error, err, "loading the programs");
}

static int check_namespace(const struct plane *plane, struct error *error)
{
	__u64 cookie = plane_netns_cookie();

	if (cookie && plane->abi.netns_cookie[0] == cookie)
		return 0;
	if (!cookie)
		return error_set(error, -errno, "reading the network namespace's cookie: %s",
				 strerror(errno));
	return error_set(error, -EINVAL,
			 "%s was loaded in another network namespace: start there, or use another "
			 "--bpffs",
			 plane->dir);
}

/* What is pinned, with the configuration, and with the programs of this build. */
static int adopt(struct plane *plane, const struct config *config, bool *upgraded,
		 struct error *error)
{
	_cleanup_free_ struct upgrade *upgrade = calloc(1, sizeof(*upgrade));
	int err = upgrade ? 0 : -ENOMEM;

	plane_libbpf_forget();
	if (!err)
		err = upgrade_prepare(plane, upgrade);
	if (err) {
		err = plane_libbpf_error(error, err, "the programs of this version");
		goto out;
	}
	err = plane_sync(plane, config, error);
	if (err)
		goto out;
	*upgraded = upgrade->listeners || upgrade->xdp >= 0 || upgrade->explain >= 0 ||
		    upgrade->cpu >= 0;
	err = upgrade_commit(plane, upgrade);
	if (err)
		plane_libbpf_error(error, err, "replacing the programs");
out:
	if (upgrade)
		upgrade_free(upgrade);
	return err;
}

int plane_start(struct plane *plane, const char *dir, const struct config *config, bool *adopted,
		bool *upgraded, struct error *error)
{
	int err = plane_lock(plane, dir, error);

	*adopted = *upgraded = false;
	if (err)
		return err;
	err = plane_open_pins(plane, error);
	*adopted = !err;
	if (!err)
		err = check_namespace(plane, error);
	if (err && err != -ENOENT) {
		rmdir(plane->dir); /* if it is empty, it is ours */
		return err;
	}
	if (*adopted)
		return plane_inner_restore(plane, error) ?: adopt(plane, config, upgraded, error);

	/* What a load that was killed has left is in nobody's use: cs_abi would be there. */
	plane_close_fds(plane);
	plane_unpin_all(plane);
	err = load_new(plane, error);
	if (!err && (err = plane_sync(plane, config, error)))
		plane_unpin_all(plane);
	if (err)
		rmdir(plane->dir); /* with somebody else's pins in it, it stays */
	return err;
}

int plane_reload(struct plane *plane, const struct config *config, struct error *error)
{
	plane_libbpf_forget();
	return plane_sync(plane, config, error);
}

int plane_stub(const struct plane *plane, __u16 listener, struct error *error)
{
	struct stub *skel;
	int err, fd = -1;

	plane_libbpf_forget();
	skel = stub__open();
	if (!skel)
		return plane_libbpf_error(error, -errno, "cs_stub");
	skel->rodata->cs_slot = listener;
	err = plane_reuse_maps(plane, skel->obj);
	if (!err)
		err = stub__load(skel);
	if (!err) {
		fd = fcntl(bpf_program__fd(skel->progs.cs_stub), F_DUPFD_CLOEXEC, 0);
		err = fd < 0 ? -errno : 0;
	}
	stub__destroy(skel);
	return err ? plane_libbpf_error(error, err, "cs_stub") : fd;
}
