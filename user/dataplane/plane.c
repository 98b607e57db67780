// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/internal.h"
#include "dataplane/plane.h"
#include "stub.skel.h"

#define STUB_BTF_MAX 16384 /* bytes */
#define DEFAULT_DIR "/sys/fs/bpf/cidsteer"

const char *const plane_map_names[PLANE_MAPS] = {
	[PLANE_PORTS] = "cs_ports",	  [PLANE_LINES] = "cs_lines",
	[PLANE_ADDRS] = "cs_addrs",	  [PLANE_SERVICES] = "cs_services",
	[PLANE_CIDS] = "cs_cids",	  [PLANE_USAGE] = "cs_usage",
	[PLANE_WORKERS] = "cs_workers",	  [PLANE_SOCKETS] = "cs_sockets",
	[PLANE_RING] = "cs_ring",	  [PLANE_COUNTERS] = "cs_counters",
	[PLANE_HEAD] = "cs_head",	  [PLANE_LOCALS] = "cs_locals",
	[PLANE_PREFIXES] = "cs_prefixes", [PLANE_LEASE] = "cs_lease",
	[PLANE_WATCH] = "cs_watch",	  [PLANE_RECORD] = "cs_record",
	[PLANE_TRACED] = "cs_traced",	  [PLANE_LEFT_OUT] = "cs_left_out",
	[PLANE_DRAFT] = "cs_draft",	  [PLANE_TARGETS] = "cs_targets",
	[PLANE_CPUS] = "cs_cpus",	  [PLANE_CPU_COUNTS] = "cs_cpu_counts",
	[PLANE_DEVS] = "cs_devs",	  [PLANE_DEV_COUNTS] = "cs_dev_counts",
	[PLANE_XSKS] = "cs_xsks",	  [PLANE_LB_CONFIGS] = "cs_lb_configs",
	[PLANE_SERVERS] = "cs_servers",	  [PLANE_HITS] = "cs_hits",
	[PLANE_AES] = "cs_aes",		  [PLANE_LISTENERS] = "cs_listeners",
	[PLANE_ABI] = "cs_abi",
};

/* What libbpf last complained about: its errno alone seldom says what to do. */
static char libbpf_said[256];

static int remember_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && !strstr(format, "BEGIN PROG LOAD LOG"))
		vsnprintf(libbpf_said, sizeof(libbpf_said), format, args);
	return 0;
}

/* Has the kernel taken BTF in which there is such a global function? */
static bool has_function(const struct bpf_object *object, const char *name)
{
	__u8 raw[STUB_BTF_MAX];
	struct bpf_btf_info info = { .btf = (__u64)(unsigned long)raw, .btf_size = sizeof(raw) };
	const struct btf_type *type = NULL;
	__u32 len = sizeof(info);
	struct btf *btf;
	bool found;
	int id;

	if (bpf_obj_get_info_by_fd(btf__fd(bpf_object__btf(object)), &info, &len) ||
	    info.btf_size > sizeof(raw))
		return false;
	btf = btf__new(raw, info.btf_size);
	id = btf ? btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) : 0;
	if (id > 0)
		type = btf__type_by_id(btf, id);
	found = type && btf_vlen(type) == BTF_FUNC_GLOBAL;
	btf__free(btf);
	return found;
}

int plane_libbpf_probe(void)
{
	static bool is_sure;
	struct stub *skel;

	if (is_sure)
		return 0;
	skel = stub__open_and_load();
	if (!skel)
		return -errno;
	is_sure = has_function(skel->obj, "cs_stub");
	stub__destroy(skel);
	if (is_sure)
		return 0;
	snprintf(libbpf_said, sizeof(libbpf_said),
		 "libbpf has no BTF of functions in the kernel: start again");
	return -ENOMEM;
}

int plane_libbpf_error(struct error *error, int err, const char *what)
{
	size_t len = strcspn(libbpf_said, "\n");
	char missing[PLANE_MISSING], reason[64];

	libbpf_strerror(err, reason, sizeof(reason)); /* it has numbers of its own, from 4000 on */
	/* The verifier says EACCES to what only CAP_PERFMON may do. */
	if ((err == -EPERM || err == -EACCES) && *plane_missing(missing))
		return error_set(error, err,
				 "%s: not permitted: this process lacks %s: see cidsteerd(8)", what,
				 missing);
	return error_set(error, err, "%s: %s%s%.*s%s", what, reason, len ? " (" : "", (int)len,
			 libbpf_said, len ? ")" : "");
}

const char *plane_libbpf_said(void)
{
	static const char kernel[] = "libbpf: Kernel error message: ";

	libbpf_said[strcspn(libbpf_said, "\n")] = '\0';
	if (!strncmp(libbpf_said, kernel, sizeof(kernel) - 1))
		return libbpf_said + sizeof(kernel) - 1;
	return libbpf_said;
}

void plane_libbpf_forget(void)
{
	libbpf_said[0] = '\0';
}

const char *plane_default_dir(void)
{
	const char *dir = getenv("CIDSTEER_BPFFS");

	return dir && *dir ? dir : DEFAULT_DIR;
}

static void pin_path(const struct plane *plane, const char *name, char path[PLANE_PATH])
{
	snprintf(path, PLANE_PATH, "%s/%s", plane->dir, name);
}

/* Notes the directory; it, or where it will be made, has to be on a bpffs. */
static int set_dir(struct plane *plane, const char *dir, struct error *error)
{
	size_t len = strlen(dir);
	char parent[PLANE_PATH];
	struct statfs fs;
	char *slash;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (len >= sizeof(plane->dir) || dir[0] != '/')
		return error_set(error, -EINVAL, "%s: not an absolute path below %zu bytes", dir,
				 sizeof(plane->dir));
	snprintf(plane->dir, sizeof(plane->dir), "%.*s", (int)len, dir);
	snprintf(parent, sizeof(parent), "%s", plane->dir);
	slash = strrchr(parent, '/');
	*(slash == parent ? slash + 1 : slash) = '\0';
	if (statfs(parent, &fs))
		return error_set(error, -errno, "%s: %s", parent, strerror(errno));
	if (fs.f_type != BPF_FS_MAGIC)
		return error_set(error, -ENOENT,
				 "%s: no bpffs is mounted there: mount -t bpf bpf %s", parent,
				 parent);
	return 0;
}

int plane_open_pin(const struct plane *plane, const char *name)
{
	char path[PLANE_PATH];

	pin_path(plane, name, path);
	return bpf_obj_get(path);
}

/* The layout first: nothing else of foreign pins is looked at. */
static int open_abi(struct plane *plane, struct error *error)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info), key = 0;

	plane->map[PLANE_ABI] = plane_open_pin(plane, plane_map_names[PLANE_ABI]);
	if (plane->map[PLANE_ABI] == -ENOENT)
		return error_set(error, -ENOENT,
				 "%s: nothing is loaded: run cidsteer load, or cidsteerd",
				 plane->dir);
	if (plane->map[PLANE_ABI] < 0)
		return error_set(error, plane->map[PLANE_ABI], "%s/cs_abi: %s", plane->dir,
				 strerror(-plane->map[PLANE_ABI]));
	if (bpf_obj_get_info_by_fd(plane->map[PLANE_ABI], &info, &len) ||
	    info.type != BPF_MAP_TYPE_ARRAY || info.value_size < 2 * sizeof(__u32) ||
	    info.value_size > PLANE_ABI_MAX)
		return error_set(error, -EPROTO, "%s/cs_abi is not cidsteer's: remove %s by hand",
				 plane->dir, plane->dir);
	__u8 value[PLANE_ABI_MAX] = {};

	if (bpf_map_lookup_elem(plane->map[PLANE_ABI], &key, value))
		return error_set(error, -errno, "%s/cs_abi: %s", plane->dir, strerror(errno));
	memcpy(&plane->abi, value, sizeof(plane->abi));
	if (plane->abi.magic != CS_MAGIC)
		return error_set(error, -EPROTO, "%s/cs_abi is not cidsteer's: remove %s by hand",
				 plane->dir, plane->dir);
	if (plane->abi.layout != CS_LAYOUT || info.value_size != sizeof(plane->abi))
		return error_set(
			error, -EPROTO,
			"%s has pins of layout %u, this is layout %u: stop the servers, then "
			"cidsteer unload --force, or go back to the version that made them",
			plane->dir, plane->abi.layout, CS_LAYOUT);
	return 0;
}

static void init_fds(struct plane *plane)
{
	for (int i = 0; i < PLANE_MAPS; i++)
		plane->map[i] = -1;
	plane->xdp = plane->explain = plane->cpu = -1;
	libbpf_set_print(remember_libbpf);
}

/* cs_abi is there, so the rest has to be: somebody removed it, and workers may still use it all. */
static int pin_error(const struct plane *plane, const char *name, int err, struct error *error)
{
	if (err == -ENOENT)
		return error_set(error, -EPROTO,
				 "%s/%s is missing: stop the servers, then cidsteer unload --force",
				 plane->dir, name);
	return error_set(error, err, "%s/%s: %s", plane->dir, name, strerror(-err));
}

static int open_program(const struct plane *plane, const char *name, int *fd, struct error *error)
{
	*fd = plane_open_pin(plane, name);
	return *fd < 0 ? pin_error(plane, name, *fd, error) : 0;
}

int plane_open_pins(struct plane *plane, struct error *error)
{
	int err = open_abi(plane, error);

	if (err)
		return err;
	for (int i = 0; i < PLANE_ABI; i++) {
		plane->map[i] = plane_open_pin(plane, plane_map_names[i]);
		if (plane->map[i] < 0)
			return pin_error(plane, plane_map_names[i], plane->map[i], error);
	}
	return open_program(plane, "xdp", &plane->xdp, error)		      ?:
		       open_program(plane, "explain", &plane->explain, error) ?:
		       open_program(plane, "cpu", &plane->cpu, error);
}

int plane_open(struct plane *plane, const char *dir, struct error *error)
{
	int err;

	init_fds(plane);
	err = set_dir(plane, dir, error);
	return err ? err : plane_open_pins(plane, error);
}

int plane_lock(struct plane *plane, const char *dir, struct error *error)
{
	bool made;
	int err;

	init_fds(plane);
	err = set_dir(plane, dir, error);
	if (err)
		return err;
	dir = plane->dir;
	made = !mkdir(dir, 0700);
	if (!made && errno != EEXIST)
		return error_set(error, -errno, "%s: %s", dir, strerror(errno));
	plane->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (plane->lock >= 0 && !flock(plane->lock, LOCK_EX | LOCK_NB))
		return 0;
	err = -errno;
	cleanup_fd(&plane->lock);
	plane->lock = -1;
	if (made)
		rmdir(dir);
	if (err == -EWOULDBLOCK)
		return error_set(error, -EBUSY,
				 "%s is held by a running cidsteerd, or by another cidsteer", dir);
	return error_set(error, err, "%s: %s", dir, strerror(-err));
}

/* While services and listeners are made, each is held by its descriptors. */
void plane_raise_descriptors(unsigned int more)
{
	struct rlimit limit;
	rlim_t want = CS_MAX_LISTENERS + 4 * CS_MAX_SERVICES + more;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= want)
		return;
	limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
	setrlimit(RLIMIT_NOFILE, &limit);
}

struct bpf_map *plane_find_map(const struct bpf_object *object, enum plane_map which)
{
	/* What is global data in the programs is called as its section, with dots. */
	static const char *const format[] = { "%s", ".data.%s", ".rodata.%s" };
	struct bpf_map *map = NULL;
	char name[PLANE_NAME];

	for (size_t i = 0; i < sizeof(format) / sizeof(format[0]) && !map; i++) {
		snprintf(name, sizeof(name), format[i], plane_map_names[which]);
		map = bpf_object__find_map_by_name(object, name);
	}
	return map;
}

int plane_reuse_maps(const struct plane *plane, struct bpf_object *object)
{
	for (int i = 0; i < PLANE_MAPS; i++) {
		struct bpf_map *map = plane_find_map(object, i);
		int err = map && plane->map[i] >= 0 ? bpf_map__reuse_fd(map, plane->map[i]) : 0;

		if (err)
			return err;
	}
	return 0;
}

int plane_reuse_maps_of_extension(const struct plane *plane, struct bpf_object *object)
{
	struct plane others = *plane;

	others.map[PLANE_CPUS] = others.map[PLANE_DEVS] = -1;
	return plane_reuse_maps(&others, object);
}

int plane_pin(const struct plane *plane, int fd, const char *name)
{
	char path[PLANE_PATH];

	pin_path(plane, name, path);
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

int plane_pin_all(const struct plane *plane)
{
	int err = plane_pin(plane, plane->xdp, "xdp");

	if (!err)
		err = plane_pin(plane, plane->explain, "explain");
	if (!err)
		err = plane_pin(plane, plane->cpu, "cpu");
	for (int i = 0; i < PLANE_MAPS && !err; i++)
		err = plane_pin(plane, plane->map[i], plane_map_names[i]);
	return err;
}

/* One of the two is always there.  A bpffs takes no name with a dot; xdp-NAME is made as xdp_new,
 * since NAME_new may be another's.
 */
int plane_repin(const struct plane *plane, int fd, const char *name)
{
	char path[PLANE_PATH], new[PLANE_PATH + 4];

	pin_path(plane, name, path);
	snprintf(new, sizeof(new), "%s/%.*s_new", plane->dir, (int)strcspn(name, "-"), name);
	unlink(new); /* of a daemon that was killed here */
	if (bpf_obj_pin(fd, new))
		return -errno;
	return rename(new, path) ? -errno : 0;
}

int plane_unpin(const struct plane *plane, const char *name)
{
	char path[PLANE_PATH];

	pin_path(plane, name, path);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

/*
 * Removes our pins, and nobody else's; cs_abi first: what is left without it is a leftover, and as
 * long as it is there, so is the rest.
 */
int plane_unpin_all(const struct plane *plane)
{
	int err = plane_unpin(plane, plane_map_names[PLANE_ABI]);

	if (err)
		return err;
	for (int i = 0; i < PLANE_ABI; i++)
		err = plane_unpin(plane, plane_map_names[i]) ?: err;
	err = plane_unpin(plane, "reuseport") ?: err;
	err = plane_unpin(plane, "reuseport_new") ?: err;
	err = plane_unpin(plane, "explain_new") ?: err;
	err = plane_unpin(plane, "cpu_new") ?: err;
	err = plane_unpin(plane, "xdp_new") ?: err;
	err = plane_tidy_xdp(plane, NULL, 0) ?: err;
	err = namespaces_unpin_all(plane) ?: err;
	err = plane_inner_unpin_all(plane) ?: err;
	err = plane_unpin(plane, "xdp") ?: err;
	err = plane_unpin(plane, "cpu") ?: err;
	return plane_unpin(plane, "explain") ?: err;
}

void plane_close_fds(struct plane *plane)
{
	for (int i = 0; i < PLANE_MAPS; i++)
		cleanup_fd(&plane->map[i]);
	cleanup_fd(&plane->xdp);
	cleanup_fd(&plane->explain);
	cleanup_fd(&plane->cpu);
	init_fds(plane);
}

int plane_unload(struct plane *plane, struct error *error)
{
	int err = plane_unpin_all(plane);

	if (!err && rmdir(plane->dir) && errno != ENOTEMPTY)
		err = -errno;
	if (err)
		return error_set(error, err, "%s: %s", plane->dir, strerror(-err));
	return 0;
}

void plane_close(struct plane *plane)
{
	plane_close_fds(plane);
	cleanup_fd(&plane->lock);
	plane->lock = -1;
}

__u64 plane_netns_cookie(void)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		return 0;
	return cookie;
}
