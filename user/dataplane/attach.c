// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <xdp/libxdp.h>

#include "common/cleanup.h"
#include "dataplane/advice.h"
#include "dataplane/attach.h"
#include "dataplane/internal.h"
#include "dataplane/links.h"

/* The skeletons use the types of core/abi.h. */
#include "cidsteer.skel.h"

static const char prog_name[] = "cs_xdp";

static int quiet_libxdp(enum libxdp_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

/* Does a program use the pinned map of addresses?  1, 0, or a negative errno. */
static int uses_our_maps(const struct plane *plane, int prog_fd)
{
	struct bpf_map_info ours = {};
	__u32 ids[64], len = sizeof(ours);
	struct bpf_prog_info info = { .nr_map_ids = 64, .map_ids = (__u64)(unsigned long)ids };

	if (bpf_obj_get_info_by_fd(plane->map[PLANE_ADDRS], &ours, &len))
		return -errno;
	len = sizeof(info);
	if (bpf_obj_get_info_by_fd(prog_fd, &info, &len))
		return -errno;
	for (__u32 i = 0; i < info.nr_map_ids && i < 64; i++) {
		if (ids[i] == ours.id)
			return 1;
	}
	return 0;
}

static bool is_pinned(const struct attach_place *place, __u32 prog_id)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return !bpf_obj_get_info_by_fd(place->xdp, &info, &len) && info.id == prog_id;
}

/* Which namespace a program of another version is for cannot be told: it is to be replaced anyway.
 */
static bool is_for_another(const struct attach_place *place, int prog_fd)
{
	int netns = plane_instance_netns(prog_fd);

	return netns >= 0 && netns != place->index;
}

/* An enum attach_state, or a negative errno. */
static int judge(const struct attach_place *place, int prog_fd, const char *name)
{
	int ours;

	if (strcmp(name, prog_name))
		return ATTACH_OTHER;
	ours = uses_our_maps(place->plane, prog_fd);
	if (ours <= 0)
		return ours < 0 ? ours : ATTACH_FOREIGN_MAPS;
	return is_for_another(place, prog_fd) ? ATTACH_OTHER_NETNS : ATTACH_OURS;
}

bool attach_is_ours(const struct attach_info *info)
{
	return info->state == ATTACH_OURS || info->state == ATTACH_OTHER_NETNS;
}

/*
 * libxdp knows its dispatcher by this name, too.  It is not asked about other programs: up to 1.4
 * xdp_multiprog__get_from_ifindex() and xdp_program__from_id() lose a descriptor at each call.
 */
static bool is_dispatcher(const char *name)
{
	return !strcmp(name, "xdp_dispatcher");
}

/* Is cs_xdp one of the programs behind libxdp's dispatcher? */
static int query_dispatcher(const struct attach_place *place, int ifindex, struct attach_info *info)
{
	struct xdp_multiprog *dispatcher = xdp_multiprog__get_from_ifindex(ifindex);
	struct xdp_program *prog = NULL;
	int state = ATTACH_OTHER;

	if (libxdp_get_error(dispatcher))
		return 0;
	while ((prog = xdp_multiprog__next_prog(prog, dispatcher))) {
		state = judge(place, xdp_program__fd(prog), xdp_program__name(prog));
		if (state == ATTACH_OTHER)
			continue;
		if (state < 0)
			break;
		info->state = state;
		info->dispatcher = true;
		info->prog_id = xdp_program__id(prog);
		snprintf(info->prog_name, sizeof(info->prog_name), "%s", prog_name);
		break;
	}
	xdp_multiprog__close(dispatcher);
	return state < 0 ? state : 0;
}

static int find_interface(const char *interface, struct error *error)
{
	unsigned int ifindex = if_nametoindex(interface);

	if (ifindex)
		return ifindex;
	if (errno != ENODEV)
		return error_set(error, -errno, "%s: %s", interface, strerror(errno));
	return error_set(error, -ENODEV, "%s: there is no such interface in this network namespace",
			 interface);
}

static __u32 program_at(const struct bpf_xdp_query_opts *query)
{
	return query->prog_id	  ? query->prog_id :
	       query->drv_prog_id ? query->drv_prog_id :
				    query->skb_prog_id;
}

static int query(const struct attach_place *place, const char *interface, struct attach_info *info,
		 struct error *error)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, found);
	struct bpf_prog_info prog = {};
	__u32 len = sizeof(prog);
	_cleanup_fd_ int fd = -1;
	int ifindex = find_interface(interface, error);
	int err;

	if (ifindex < 0)
		return ifindex;
	libxdp_set_print(quiet_libxdp);
	memset(info, 0, sizeof(*info));
	err = bpf_xdp_query(ifindex, 0, &found);
	if (err)
		return error_set(error, err, "%s: %s", interface, strerror(-err));
	info->prog_id = program_at(&found);
	if (!info->prog_id)
		return 0;
	info->mode = found.attach_mode == XDP_ATTACHED_SKB ? ATTACH_GENERIC : ATTACH_NATIVE;
	info->state = ATTACH_OTHER;
	fd = plane_open_xdp(place->plane, info->prog_id);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &prog, &len))
		return 0;
	snprintf(info->prog_name, sizeof(info->prog_name), "%s", prog.name);
	err = judge(place, fd, prog.name);
	if (err >= 0)
		info->state = err;
	if (err == ATTACH_OTHER && is_dispatcher(prog.name))
		err = query_dispatcher(place, ifindex, info);
	return err < 0 ? error_set(error, err, "%s: its program: %s", interface, strerror(-err)) :
			 0;
}

/*
 * Behind libxdp's dispatcher, which takes a program that it loads itself, as an extension, and
 * wants CAP_SYS_ADMIN, to see who is there.  libxdp answers a kernel without extensions by
 * attaching a single XDP program, over the same maps; attach_mode() puts the pinned one in its
 * place.
 */
static int attach_libxdp(const struct attach_place *place, int ifindex, enum attach_mode mode)
{
	struct xdp_program *prog = NULL;
	struct cidsteer *skel;
	int err = plane_libbpf_probe();

	if (err)
		return err;
	skel = cidsteer__open();
	if (!skel)
		return -errno;
	bpf_program__set_autoload(skel->progs.cs_reuseport, false);
	*(__u16 *)&skel->rodata->cs_netns = place->index;
	err = plane_reuse_maps_of_extension(place->plane, skel->obj);
	if (!err) {
		DECLARE_LIBXDP_OPTS(xdp_program_opts, opts, .obj = skel->obj,
				    .prog_name = prog_name);

		prog = xdp_program__create(&opts);
		err = libxdp_get_error(prog);
	}
	if (!err) {
		err = xdp_program__attach(prog, ifindex,
					  mode == ATTACH_NATIVE ? XDP_MODE_NATIVE : XDP_MODE_SKB,
					  0);
		xdp_program__close(prog);
	}
	cidsteer__destroy(skel);
	return err;
}

static __u32 flags_of(enum attach_mode mode)
{
	return mode == ATTACH_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
}

/* If libxdp has just attached one by itself, it makes room for the pinned one, which can move
 * packets; else it stays.
 */
static void replace_lone(const struct attach_place *place, int ifindex, enum attach_mode mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, found);
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts);
	struct bpf_prog_info prog = {};
	__u32 len = sizeof(prog);
	_cleanup_fd_ int old = -1;

	if (bpf_xdp_query(ifindex, 0, &found))
		return;
	old = bpf_prog_get_fd_by_id(program_at(&found));
	if (old < 0 || bpf_obj_get_info_by_fd(old, &prog, &len) || is_dispatcher(prog.name))
		return;
	opts.old_prog_fd = old;
	bpf_xdp_attach(ifindex, place->xdp, flags_of(mode) | XDP_FLAGS_REPLACE, &opts);
}

static int attach_mode(const struct attach_place *place, int ifindex, enum attach_mode mode)
{
	int err;

	plane_libbpf_forget();
	err = plane_may_open_by_id() && !place->alone ? attach_libxdp(place, ifindex, mode) :
							-EPERM;
	plane_libbpf_forget();
	if (err)
		return bpf_xdp_attach(ifindex, place->xdp,
				      flags_of(mode) | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
	replace_lone(place, ifindex, mode);
	return 0;
}

bool attach_is_hidden(const struct attach_info *info)
{
	return info->state == ATTACH_OTHER && !*info->prog_name;
}

/* What drivers say to native XDP that they do not have, or not with this MTU, these offloads, so
 * few queues.
 */
static bool is_refusal(int err)
{
	return err == -EOPNOTSUPP || err == -EINVAL || err == -ERANGE || err == -ENOSPC ||
	       err == -ENOMEM;
}

/* Why there is no native XDP, and what would help. */
static void explain_refusal(const struct attach_place *place, const char *interface,
			    struct attach_info *info)
{
	const struct attach_refusal *refusal = &info->refusal;
	const char *said = *refusal->said ? refusal->said : strerror(-refusal->err);
	struct link link, peer;
	bool has_peer;

	link_read(place->netns, interface, &link); /* what cannot be read is empty */
	has_peer = !link_read_peer(&link, &peer);
	if (*link.instead)
		snprintf(info->why, sizeof(info->why),
			 "the driver refuses native XDP: %s: it is a %s: attach to %s", said,
			 link.kind, link.instead);
	else
		snprintf(info->why, sizeof(info->why), "the driver refuses native XDP: %s", said);
	if (!*link.instead)
		advice_native(&link, has_peer ? &peer : NULL, refusal->err, refusal->said,
			      info->advice);
	info->helps = *link.instead || *info->advice;
}

/* Behind EEXIST without a program: one on a device above is enough for the kernel to refuse. */
static int attach_below(const struct attach_place *place, const char *interface,
			struct error *error)
{
	struct attach_info info;
	struct link link;
	char *rest = NULL;

	if (link_find("", interface, &link))
		*link.above = '\0';
	for (char *name = strtok_r(link.above, ", ", &rest); name;
	     name = strtok_r(NULL, ", ", &rest)) {
		if (query(place, name, &info, error) || !info.prog_id)
			continue;
		return error_set(error, -EBUSY,
				 "%s: program %u (%s) is at %s, which is above it: %s%s%s%s",
				 interface, info.prog_id, info.prog_name, name,
				 attach_is_ours(&info) ? "cidsteer detach " : "ip link set dev ",
				 name, attach_is_ours(&info) ? " --force" : " xdp off",
				 attach_is_ours(&info) ? "" : ", if it may go");
	}
	return error_set(error, -EBUSY, "%s: %s", interface, plane_libbpf_said());
}

static int attach_refused(const struct attach_place *place, const char *interface, int err,
			  const struct attach_info *info, struct error *error)
{
	char missing[PLANE_MISSING];

	if ((err == -EBUSY || err == -EEXIST) && attach_is_hidden(info))
		return error_set(error, -EBUSY,
				 "%s: program %u is at the XDP hook already; whose it is only "
				 "CAP_SYS_ADMIN may see: cidsteer attach %s, as root, will say",
				 interface, info->prog_id, interface);
	if (err == -EPERM && *plane_missing(missing))
		return error_set(error, err,
				 "%s: not permitted: this process lacks %s: see cidsteerd(8)",
				 interface, missing);
	if (err == -EEXIST && !info->prog_id)
		return attach_below(place, interface, error);
	if (err == -EBUSY || err == -EEXIST)
		return error_set(
			error, -EBUSY,
			"%s: program %u (%s) holds the XDP hook and lets no other in: take "
			"it off with ip link set dev %s xdp off, if it may go",
			interface, info->prog_id, info->prog_name, interface);
	return error_set(error, err, "%s: %s", interface, strerror(-err));
}

/* A daemon without CAP_SYS_ADMIN shall know it again: one that libxdp has loaded is not pinned. */
static void keep_attached(const struct attach_place *place, __u32 prog_id)
{
	_cleanup_fd_ int fd = is_pinned(place, prog_id) ? -1 :
							  plane_open_xdp(place->plane, prog_id);

	if (fd >= 0 && !*place->netns)
		plane_keep_xdp(place->plane, fd);
}

void attach_tidy(const struct plane *plane)
{
	struct if_nameindex *all = if_nameindex();
	unsigned int count = 0, total = 0;
	_cleanup_free_ __u32 *used = NULL;

	while (all && all[total].if_index)
		total++;
	used = calloc(total + 1, sizeof(*used));
	for (; used && count < total; count++) {
		LIBBPF_OPTS(bpf_xdp_query_opts, query);

		if (bpf_xdp_query(all[count].if_index, 0, &query))
			break;
		used[count] = program_at(&query);
	}
	if (all && used && count == total) /* else one that is used might go */
		plane_tidy_xdp(plane, used, count);
	if (all)
		if_freenameindex(all);
}

static int detach_dispatcher(int ifindex, const struct attach_info *info)
{
	_cleanup_fd_ int fd = bpf_prog_get_fd_by_id(info->prog_id);
	struct xdp_program *prog;
	int err;

	if (fd < 0)
		return -errno;
	prog = xdp_program__from_fd(fd);
	err = libxdp_get_error(prog);
	if (err)
		return err;
	err = xdp_program__detach(prog, ifindex,
				  info->mode == ATTACH_NATIVE ? XDP_MODE_NATIVE : XDP_MODE_SKB, 0);
	xdp_program__close(prog);
	return err;
}

/* Behind a dispatcher both are there for a moment, and a packet is counted twice. */
static int replace(const struct attach_place *place, int ifindex, const struct attach_info *info)
{
	_cleanup_fd_ int old = plane_open_xdp(place->plane, info->prog_id);
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = old);
	__u32 flags = flags_of(info->mode);
	int err;

	if (old < 0)
		return old;
	if (!info->dispatcher)
		return bpf_xdp_attach(ifindex, place->xdp, flags | XDP_FLAGS_REPLACE, &opts);
	err = attach_libxdp(place, ifindex, info->mode);
	return err ? err : detach_dispatcher(ifindex, info);
}

/* Is there a program for it? */
static int check_place(const struct attach_place *place, const char *interface, struct error *error)
{
	if (place->xdp >= 0)
		return 0;
	if (place->index > 0 && !*place->netns)
		return error_set(error, -EINVAL,
				 "%s: services name this network namespace: use --netns NAME",
				 interface);
	return error_set(error, -ENOENT,
			 "%s: no service is in %snetwork namespace%s%s: cidsteer load, or "
			 "cidsteer reload",
			 interface, *place->netns ? "" : "this ", *place->netns ? " " : "",
			 place->netns);
}

static void read_joins(const char *interface, struct joins *joins)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	link_read_joins(fd, interface, joins);
}

/* For generic XDP the kernel turns off what joins packets below it, and never on again. */
static void note_changes(const char *interface, const struct joins *before,
			 struct attach_info *info)
{
	struct joins now;

	read_joins(interface, &now);
	snprintf(info->changed, sizeof(info->changed), "%s%s",
		 before->lro && !now.lro ? " lro on" : "",
		 before->gro_hw && !now.gro_hw ? " rx-gro-hw on" : "");
}

static int attach_asked(const struct attach_place *place, int ifindex, enum attach_mode mode,
			struct attach_refusal *refusal)
{
	int err;

	if (mode == ATTACH_GENERIC)
		return attach_mode(place, ifindex, mode);
	err = attach_mode(place, ifindex, ATTACH_NATIVE);
	if (!is_refusal(err))
		return err;
	refusal->err = err;
	snprintf(refusal->said, sizeof(refusal->said), "%s", plane_libbpf_said());
	return mode == ATTACH_AUTO ? attach_mode(place, ifindex, ATTACH_GENERIC) : err;
}

static int attach_new(const struct attach_place *place, const char *interface, int ifindex,
		      enum attach_mode mode, struct attach_info *info, struct error *error)
{
	struct attach_refusal refusal = {};
	struct joins before;
	int err;

	read_joins(interface, &before);
	err = attach_asked(place, ifindex, mode, &refusal);
	if (err)
		err = attach_refused(place, interface, err, info, error);
	else
		err = query(place, interface, info, error);
	info->refusal = refusal;
	if (err)
		return err;
	snprintf(info->why, sizeof(info->why), "%s",
		 mode == ATTACH_AUTO ? "the driver has it" : "that was asked for");
	note_changes(interface, &before, info);
	return 0;
}

static int attach_here(const struct attach_place *place, const char *interface,
		       enum attach_mode mode, struct attach_info *info, struct error *error)
{
	int err = query(place, interface, info, error), ifindex;

	if (err || info->state == ATTACH_OURS)
		return err;
	ifindex = find_interface(interface, error);
	if (ifindex < 0)
		return ifindex;
	err = check_place(place, interface, error);
	if (err)
		return err;
	if (info->state == ATTACH_FOREIGN_MAPS)
		return attach_refused(place, interface, -EBUSY, info, error);
	if (info->state == ATTACH_OTHER_NETNS) {
		err = replace(place, ifindex, info);
		err = err ? attach_refused(place, interface, err, info, error) :
			    query(place, interface, info, error);
	} else {
		err = attach_new(place, interface, ifindex, mode, info, error);
	}
	info->asked_alone = place->alone;
	if (!err && info->state == ATTACH_OURS && !info->dispatcher)
		keep_attached(place, info->prog_id);
	return err;
}

/* Only while it is this very program: somebody else may just have replaced it. */
static int detach_single(const struct plane *plane, int ifindex, const struct attach_info *info)
{
	_cleanup_fd_ int fd = plane_open_xdp(plane, info->prog_id);
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = fd);
	__u32 flags = flags_of(info->mode);

	if (fd < 0)
		return fd;
	return bpf_xdp_detach(ifindex, flags | XDP_FLAGS_REPLACE, &opts);
}

static int detach_here(const struct attach_place *place, const char *interface, struct error *error)
{
	struct attach_info info;
	int err = query(place, interface, &info, error);
	int ifindex = err ? err : find_interface(interface, error);

	if (ifindex < 0)
		return ifindex;
	if (attach_is_hidden(&info))
		return error_set(error, -EPERM,
				 "%s: program %u stays at the XDP hook: whose it is only "
				 "CAP_SYS_ADMIN may see: cidsteer detach %s, as root",
				 interface, info.prog_id, interface);
	if (!attach_is_ours(&info))
		return error_set(error, -ENOENT, "%s: cidsteer is not attached there%s%s",
				 interface, info.prog_name[0] ? "; the XDP program is " : "",
				 info.prog_name);
	err = info.dispatcher ? detach_dispatcher(ifindex, &info) :
				detach_single(place->plane, ifindex, &info);
	if (err)
		return error_set(error, err, "%s: %s", interface, strerror(-err));
	if (!*place->netns)
		attach_tidy(place->plane);
	return 0;
}

/* ---- from outside ---------------------------------------------------------------------------- */

static int find_index(const struct plane *plane, __u64 cookie)
{
	for (int i = 0; i < CS_MAX_NETNS; i++) {
		if (plane->abi.netns_cookie[i] == cookie)
			return i;
	}
	return -ENOENT;
}

int attach_enter(struct attach_place *place, const struct plane *plane, const char *netns,
		 struct error *error)
{
	char pin[NETNS_NAME + 4];
	int err;

	*place = (struct attach_place){ .plane = plane, .netns = netns, .xdp = -1 };
	/* Whoever is in the namespace needs no name for it, and no capability. */
	err = netns_cookie(netns, &place->cookie, error);
	if (err)
		return err;
	place->index = find_index(plane, place->cookie);
	/* Detaching is possible all the same. */
	if (place->index < 0 || (place->index && !*netns))
		return 0;
	plane_netns_pin(place->index ? netns : "", pin);
	place->xdp = plane_open_pin(plane, pin);
	if (place->xdp < 0 && place->xdp != -ENOENT)
		return error_set(error, place->xdp, "%s/%s: %s", plane->dir, pin,
				 strerror(-place->xdp));
	return 0;
}

void attach_leave(struct attach_place *place)
{
	if (place->xdp >= 0)
		close(place->xdp);
	place->xdp = -1;
}

enum work {
	QUERY,
	ATTACH,
	REPLACE,
	DETACH,
	EACH
};

struct job {
	const struct attach_place *place;
	enum work work;
	const char *interface;
	enum attach_mode mode;
	struct attach_info *info;
	void (*visit)(const char *interface, void *arg);
	void *arg;
	struct error *error;
};

static int visit_all(const struct job *job)
{
	struct if_nameindex *all = if_nameindex();

	if (!all)
		return error_set(job->error, -errno, "listing the interfaces: %s", strerror(errno));
	for (struct if_nameindex *at = all; at->if_index; at++)
		job->visit(at->if_name, job->arg);
	if_freenameindex(all);
	return 0;
}

static int do_job(void *arg)
{
	const struct job *job = arg;
	__u64 cookie = plane_netns_cookie();

	if (!cookie)
		return error_set(job->error, -errno, "reading the network namespace's cookie: %s",
				 strerror(errno));
	if (cookie != job->place->cookie)
		return error_set(job->error, -ENOENT,
				 "network namespace %s was replaced by another meanwhile",
				 job->place->netns);
	switch (job->work) {
	case QUERY:
		return query(job->place, job->interface, job->info, job->error);
	case ATTACH:
		return attach_here(job->place, job->interface, job->mode, job->info, job->error);
	case REPLACE:
		return replace(job->place, if_nametoindex(job->interface), job->info);
	case DETACH:
		return detach_here(job->place, job->interface, job->error);
	case EACH:
		return visit_all(job);
	}
	return -EINVAL;
}

static int run(const struct job *job)
{
	return netns_run(job->place->netns, do_job, (void *)job, job->error);
}

int attach_query(const struct attach_place *place, const char *interface, struct attach_info *info,
		 struct error *error)
{
	return run(&(struct job){ .place = place,
				  .work = QUERY,
				  .interface = interface,
				  .info = info,
				  .error = error });
}

int attach_interface(const struct attach_place *place, const char *interface, enum attach_mode mode,
		     struct attach_info *info, struct error *error)
{
	int err;

	*info = (struct attach_info){};
	err = run(&(struct job){ .place = place,
				 .work = ATTACH,
				 .interface = interface,
				 .mode = mode,
				 .info = info,
				 .error = error });
	if (!info->refusal.err)
		return err;
	explain_refusal(place, interface, info);
	if (err && mode == ATTACH_NATIVE)
		error_set(error, err, "%s: %s%s%s%s --mode generic", interface, info->why,
			  *info->advice ? ": " : "", info->advice,
			  info->helps ? "; or use" : ": use");
	return err;
}

int attach_replace(const struct attach_place *place, const char *interface,
		   struct attach_info *info, struct error *error)
{
	return run(&(struct job){ .place = place,
				  .work = REPLACE,
				  .interface = interface,
				  .info = info,
				  .error = error });
}

int detach_interface(const struct attach_place *place, const char *interface, struct error *error)
{
	return run(&(struct job){
		.place = place, .work = DETACH, .interface = interface, .error = error });
}

int attach_each(const struct attach_place *place, void (*visit)(const char *interface, void *arg),
		void *arg, struct error *error)
{
	return run(&(struct job){
		.place = place, .work = EACH, .visit = visit, .arg = arg, .error = error });
}
