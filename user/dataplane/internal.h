/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of this directory share and nobody else needs. */
#ifndef CS_DATAPLANE_INTERNAL_H
#define CS_DATAPLANE_INTERNAL_H

#include "common/error.h"
#include "dataplane/plane.h"

#define PLANE_PATH 320	   /* bytes of a pin's path */
#define PLANE_NAME 32	   /* and of a name that is made */
#define PLANE_ABI_MAX 4096 /* bytes of any layout's cs_abi */

struct bpf_map;
struct bpf_object;

/* An object's map that is pinned under a name of plane_map_names; NULL: it has none. */
struct bpf_map *plane_find_map(const struct bpf_object *object, enum plane_map which);

/*
 * libbpf finds out once in a process what the kernel can do, with its first object.  What it had no
 * memory to find out it takes for something that the kernel cannot do, ever after.  Functions
 * without BTF the verifier then looks at as often as they are called: after a quarter of a minute
 * of its time a program is refused, with E2BIG.  So the first object is one that costs nothing.
 *
 * Returns 0, or a negative errno: -ENOMEM, libbpf does not know, and this process cannot load.
 */
int plane_libbpf_probe(void);

/* Gives an object that is open the maps that are pinned, by name. */
int plane_reuse_maps(const struct plane *plane, struct bpf_object *object);

/* The same but for cs_cpus and cs_devs, which the kernel gives only to programs that are loaded
 * like their first one, with BPF_F_XDP_HAS_FRAGS: an extension (libxdp's dispatcher) has empty
 * ones, and moves nothing.
 */
int plane_reuse_maps_of_extension(const struct plane *plane, struct bpf_object *object);

/* An address that is listened on. */
struct plane_address {
	struct cs_addr addr;
	struct cs_listener listener;
	int instance; /* of cs_reuseport, loaded for it; 0: the slot has one */
};

/* Makes cs_ports and cs_lines say what is at these addresses.  Returns 0 or a negative errno. */
int plane_index_ports(const struct plane *plane, const struct plane_address *address,
		      unsigned int count);

/* Makes services, addresses, tables and listeners what the configuration says, or changes nothing.
 */
int plane_sync(struct plane *plane, const struct config *config, struct error *error);

/* Each loads a program over the maps that are open; returns a descriptor, or a negative errno. */
int plane_load_xdp(const struct plane *plane, __u32 netns);
int plane_load_cpu(const struct plane *plane);
int plane_load_instance(const struct plane *plane, const struct cs_listener *listener);
/* It is one of many: says so to plane->progress. */
void plane_count_loaded(const struct plane *plane);

/*
 * Network namespace that an instance of cs_xdp of this build serves; else, or without
 * CAP_SYS_ADMIN, a negative errno.
 */
int plane_instance_netns(int fd);

/* namespaces.c: the network namespaces of a configuration, see there. */
struct namespaces {
	struct cs_abi abi;
	char name[CS_MAX_NETNS][NETNS_NAME];
	int xdp[CS_MAX_NETNS]; /* made, to be pinned; 0: none */
	bool wanted[CS_MAX_NETNS];
};

/* Finds them, and writes their indexes into the addresses of @config. */
int namespaces_plan(const struct plane *plane, struct config *config, struct namespaces *all,
		    struct error *error);
/* All that can fail for want of memory.  Undo with namespaces_free(). */
int namespaces_prepare(const struct plane *plane, struct namespaces *all);
void namespaces_free(struct namespaces *all);
/* Before the first address of one is written, and behind the last. */
int namespaces_add(struct plane *plane, const struct namespaces *all);
int namespaces_pin(struct plane *plane, const struct namespaces *all);
/* Those that are not wanted, or all that was done. */
void namespaces_remove(struct plane *plane, const struct namespaces *all);
void namespaces_undo(struct plane *plane, const struct cs_abi *was, const struct namespaces *all);
/* Pins of all; returns 0 or a negative errno. */
int namespaces_unpin_all(const struct plane *plane);

/* Have two programs the same instructions? */
bool plane_same_code(int a, int b);

/* Programs of this build in place of those that are pinned, where they differ. */
struct upgrade {
	int xdp, explain, cpu, reuseport; /* -1: the same */
	int instance[CS_MAX_LISTENERS];	  /* 0: the same */
	unsigned int listeners;
};

/* Loads what differs: all that can fail.  Returns 0 or a negative errno. */
int upgrade_prepare(const struct plane *plane, struct upgrade *upgrade);
/* Puts it in place of the old. */
int upgrade_commit(struct plane *plane, struct upgrade *upgrade);
void upgrade_free(struct upgrade *upgrade);
/* Of a plane that has just been loaded: DIR/reuseport. */
int upgrade_pin_instance(const struct plane *plane);

/* Pins a cs_xdp that an interface has, or may have, and that is not DIR/xdp. */
int plane_keep_xdp(const struct plane *plane, int fd);
/* A program at an interface: the caller's descriptor, or a negative errno (-EPERM: not ours, or
 * not to be seen without CAP_SYS_ADMIN).
 */
int plane_open_xdp(const struct plane *plane, __u32 id);
/* Removes those pins of plane_keep_xdp() whose ids are not in @used. */
int plane_tidy_xdp(const struct plane *plane, const __u32 *used, unsigned int count);

/* plane.c: the pins and their descriptors.  Each returns 0 or a negative errno. */
extern const char *const plane_map_names[PLANE_MAPS];
int plane_open_pins(struct plane *plane, struct error *error);
int plane_pin_all(const struct plane *plane);
int plane_open_pin(const struct plane *plane, const char *name); /* returns a descriptor */
int plane_pin(const struct plane *plane, int fd, const char *name);
int plane_repin(const struct plane *plane, int fd, const char *name); /* in place of another */
int plane_unpin_all(const struct plane *plane);			      /* ours, and nobody else's */
void plane_close_fds(struct plane *plane);

/* inner.c: a service gets table and usage lines; missing pins come back; pins go that no service
 * needs.
 */
int plane_inner_put(const struct plane *plane, __u32 service, int table, int usage);
int plane_inner_restore(const struct plane *plane, struct error *error);
int plane_inner_tidy(const struct plane *plane);
int plane_inner_unpin_all(const struct plane *plane);

/* A line of a map for each CPU, which is words that count: over all CPUs, and none yet. */
int plane_sum_line(int map, __u32 key, void *sum, size_t bytes);
int plane_clear_line(int map, __u32 key, size_t bytes);

/* What libbpf last complained about, one line; it hears of the kernel's own reasons. */
const char *plane_libbpf_said(void);
void plane_libbpf_forget(void);

/* capability.c: those that loading and attaching need and this process has not, by name; "": none.
 */
#define PLANE_MISSING 64
const char *plane_missing(char text[PLANE_MISSING]);
bool plane_may_open_by_id(void);

/* "WHAT: reason", with what libbpf said last. */
int plane_libbpf_error(struct error *error, int err, const char *what);

#endif
