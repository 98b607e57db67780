// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local routing table is what the kernel itself asks whether an address is this host's.  The
 * maps are made to say the same in steps after each of which an address that was local and is to
 * stay so is still found:
 *
 *   new prefixes, their number        the programs look for prefixes only if there are any
 *   lines: what is new, and without what is gone, in one update
 *   prefixes that are gone, their number
 *
 * An address that stays keeps its slot in its line, or its place among the prefixes.  An update
 * copies 8-byte words, so a program that reads a line meanwhile finds each word old or new: those
 * of what stays are both.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/locals.h"
#include "dataplane/netns.h"

#define LINE_SLOTS 4
#define LISTING_BYTES 32768 /* the kernel writes no more at once */
#define IPV4_BITS 96	    /* of an IPv4-mapped address before the IPv4 address */

/* What is local: a whole address has 128 bits, IPv4 as IPv4-mapped. */
struct prefix {
	__u64 word[2];
	__u64 bits;
};

struct prefixes {
	struct prefix *list; /* for free(); sorted, none twice, once sort() was called */
	size_t count, size;
};

static int add(struct prefixes *all, const __u8 ip[16], unsigned int bits)
{
	struct prefix *prefix;

	if (all->count == all->size) {
		size_t size = all->size ? 2 * all->size : 64;
		struct prefix *more = reallocarray(all->list, size, sizeof(*more));

		if (!more)
			return -ENOMEM;
		all->list = more;
		all->size = size;
	}
	prefix = &all->list[all->count++];
	memcpy(prefix->word, ip, sizeof(prefix->word));
	prefix->bits = bits;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct prefix));
}

static void sort(struct prefixes *all)
{
	size_t kept = 0;

	if (all->count)
		qsort(all->list, all->count, sizeof(*all->list), compare);
	for (size_t i = 0; i < all->count; i++) {
		if (!kept || compare(&all->list[kept - 1], &all->list[i]))
			all->list[kept++] = all->list[i];
	}
	all->count = kept;
}

static bool has(const struct prefixes *all, const struct prefix *prefix)
{
	return all->count && bsearch(prefix, all->list, all->count, sizeof(*prefix), compare);
}

/* ---- the local routing table ---------------------------------------------------------------- */

int locals_open(const char *netns, struct error *error)
{
	int fd = netns_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, error), one = 1;

	/* Then the kernel lists one table, not all. */
	if (fd >= 0)
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	return fd;
}

static int ask(int fd, int family, __u32 serial)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
	} request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = RTM_GETROUTE,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			    .nlmsg_seq = serial },
		.route = { .rtm_family = family,
			   .rtm_table = RT_TABLE_LOCAL,
			   .rtm_type = RTN_LOCAL },
	};

	return send(fd, &request, sizeof(request), 0) == sizeof(request) ? 0 : -errno;
}

static bool is_local(const struct nlmsghdr *header, const struct rtmsg *route)
{
	return header->nlmsg_len >= NLMSG_LENGTH(sizeof(*route)) &&
	       route->rtm_table == RT_TABLE_LOCAL && route->rtm_type == RTN_LOCAL &&
	       (route->rtm_family == AF_INET || route->rtm_family == AF_INET6);
}

static const __u8 mapped[16] = { [10] = 0xff, [11] = 0xff }; /* ::ffff:0:0/96: IPv4 */

static void first_bits(__u8 to[16], const __u8 from[16], unsigned int bits)
{
	memset(to, 0, 16);
	memcpy(to, from, bits / 8);
	if (bits % 8)
		to[bits / 8] = from[bits / 8] & 0xff00 >> bits % 8;
}

/* ::/0 and the like are IPv6 only, so without ::ffff:0:0/96: the half beside it at each length. */
static int add_around_ipv4(struct prefixes *all, unsigned int bits)
{
	int err = 0;

	for (; bits < IPV4_BITS && !err; bits++) {
		__u8 ip[16];

		first_bits(ip, mapped, bits + 1);
		ip[bits / 8] ^= 0x80 >> bits % 8;
		err = add(all, ip, bits + 1);
	}
	return err;
}

static int add_ipv6(struct prefixes *all, const __u8 ip[16], unsigned int bits)
{
	unsigned int common = bits < IPV4_BITS ? bits : IPV4_BITS;
	__u8 one[16], other[16];

	first_bits(one, ip, common);
	first_bits(other, mapped, common);
	if (memcmp(one, other, sizeof(one)))
		return add(all, ip, bits);
	return bits < IPV4_BITS ? add_around_ipv4(all, bits) : 0; /* no IPv6 packet has these */
}

static int add_ipv4(struct prefixes *all, const __u8 ip[4], unsigned int bits)
{
	__u8 made[16];

	/* Of loopback only what is somebody's: on other interfaces the rest is martian. */
	if (ip[0] == 127 && bits < 32)
		return 0;
	memcpy(made, mapped, sizeof(made));
	memcpy(made + 12, ip, 4);
	return add(all, made, IPV4_BITS + bits);
}

static int take_route(const struct nlmsghdr *header, struct prefixes *all)
{
	const struct rtmsg *route = NLMSG_DATA(header);
	int left = header->nlmsg_len - NLMSG_LENGTH(sizeof(*route));
	unsigned int bytes = route->rtm_family == AF_INET ? 4 : 16;
	__u8 ip[16] = {}; /* without RTA_DST: all */

	if (header->nlmsg_type != RTM_NEWROUTE || !is_local(header, route) ||
	    route->rtm_dst_len > 8 * bytes)
		return 0;
	for (const struct rtattr *at = RTM_RTA(route); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if (at->rta_type == RTA_DST && RTA_PAYLOAD(at) == bytes)
			memcpy(ip, RTA_DATA(at), bytes);
	}
	return bytes == 4 ? add_ipv4(all, ip, route->rtm_dst_len) :
			    add_ipv6(all, ip, route->rtm_dst_len);
}

/* The result of a listing at its end: a table that was never needed is not there. */
static int take_end(const struct nlmsghdr *header)
{
	int err = 0;

	if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(err)))
		memcpy(&err, NLMSG_DATA(header), sizeof(err));
	return err && err != -ENOENT ? err : 1;
}

/* Returns 1 at the end, 0 before, or a negative errno. */
static int take_listing(const void *bytes, int len, __u32 serial, struct prefixes *all)
{
	const struct nlmsghdr *at = bytes;
	int err = 0;

	for (; NLMSG_OK(at, (unsigned int)len) && !err; at = NLMSG_NEXT(at, len)) {
		if (at->nlmsg_seq != serial)
			continue; /* of a listing that was given up */
		if (at->nlmsg_type == NLMSG_DONE || at->nlmsg_type == NLMSG_ERROR)
			return take_end(at); /* both begin with an errno */
		err = take_route(at, all);
	}
	return err;
}

static int list_family(int fd, int family, struct prefixes *all)
{
	static __u32 serial;
	_cleanup_free_ char *bytes = malloc(LISTING_BYTES);
	int err = bytes ? ask(fd, family, ++serial) : -ENOMEM;

	while (!err) {
		ssize_t len = recv(fd, bytes, LISTING_BYTES, 0);

		if (len < 0 && errno == EINTR)
			continue;
		err = len < 0 ? -errno : take_listing(bytes, len, serial, all);
	}
	return err < 0 ? err : 0;
}

static int list(int fd, struct prefixes *all)
{
	int err = fd < 0 ? 0 : list_family(fd, AF_INET, all);

	if (!err && fd >= 0)
		err = list_family(fd, AF_INET6, all);
	if (err == -EAFNOSUPPORT || err == -EOPNOTSUPP)
		err = 0; /* a kernel without IPv6 */
	sort(all);
	return err;
}

/* ---- the maps -------------------------------------------------------------------------------- */

struct sync {
	const struct plane *plane;
	__u32 netns;
	struct cs_local was[CS_LOCAL_LINES], line[CS_LOCAL_LINES];
	struct prefixes want;	    /* as listed */
	struct prefixes short_want; /* for cs_prefixes */
	struct prefixes is;	    /* that cs_prefixes has */
	struct cs_ports ports;
	struct prefixes late, refused; /* those without room, at first and at last */
};

static int read_lines(struct sync *sync)
{
	__u32 before = sync->netns * CS_LOCAL_LINES - 1, last, count = CS_LOCAL_LINES;
	__u32 keys[CS_LOCAL_LINES];

	/* An array's batch ends with ENOENT behind its last element. */
	if (bpf_map_lookup_batch(sync->plane->map[PLANE_LOCALS], sync->netns ? &before : NULL,
				 &last, keys, sync->was, &count, NULL) &&
	    errno != ENOENT)
		return -errno;
	return count == CS_LOCAL_LINES && keys[0] == sync->netns * CS_LOCAL_LINES ? 0 : -EIO;
}

static int read_prefixes(struct sync *sync)
{
	struct cs_prefix key, *at = NULL;
	int err = 0;

	while (!err && !bpf_map_get_next_key(sync->plane->map[PLANE_PREFIXES], at, &key)) {
		at = &key;
		if (key.netns == sync->netns && key.len >= 32 && key.len <= 32 + 128)
			err = add(&sync->is, key.ip, key.len - 32);
	}
	sort(&sync->is);
	return err;
}

static int read_maps(struct sync *sync)
{
	int err = read_lines(sync);

	if (!err)
		err = read_prefixes(sync);
	if (!err && bpf_map_lookup_elem(sync->plane->map[PLANE_PORTS], &sync->netns, &sync->ports))
		err = -errno;
	return err;
}

static bool is_free(const __u64 slot[2])
{
	return !slot[0] && !slot[1];
}

static struct prefix whole(const __u64 slot[2])
{
	return (struct prefix){ .word = { slot[0], slot[1] }, .bits = 128 };
}

/* Is something in the maps that was not listed? */
static bool goes(const struct sync *sync)
{
	for (__u32 i = 0; i < CS_LOCAL_LINES; i++) {
		for (int s = 0; s < LINE_SLOTS; s++) {
			struct prefix at = whole(sync->was[i].addr[s]);

			if (!is_free(at.word) && !has(&sync->want, &at))
				return true;
		}
	}
	for (size_t i = 0; i < sync->is.count; i++) {
		if (!has(&sync->want, &sync->is.list[i]))
			return true;
	}
	return false;
}

/* Each line without what is gone; then what is new into what is free, or into cs_prefixes. */
static void keep_lines(struct sync *sync)
{
	for (__u32 i = 0; i < CS_LOCAL_LINES; i++) {
		sync->line[i] = sync->was[i];
		for (int s = 0; s < LINE_SLOTS; s++) {
			struct prefix at = whole(sync->was[i].addr[s]);

			if (!has(&sync->want, &at))
				memset(sync->line[i].addr[s], 0, sizeof(at.word));
		}
	}
}

static bool put_in_line(struct sync *sync, const struct prefix *prefix)
{
	__u32 at = cs_local_line(sync->netns, prefix->word) - sync->netns * CS_LOCAL_LINES;
	struct cs_local *line = &sync->line[at];

	for (int s = 0; s < LINE_SLOTS; s++) {
		if (!memcmp(line->addr[s], prefix->word, sizeof(prefix->word)))
			return true;
	}
	for (int s = 0; s < LINE_SLOTS; s++) {
		if (!is_free(line->addr[s]))
			continue;
		memcpy(line->addr[s], prefix->word, sizeof(prefix->word));
		return true;
	}
	return false;
}

static int place(struct sync *sync)
{
	int err = 0;

	keep_lines(sync);
	for (size_t i = 0; i < sync->want.count && !err; i++) {
		const struct prefix *prefix = &sync->want.list[i];

		/* One that found no room stays a prefix: a program that looks in the line before
		 * it is there and in the prefixes when it is gone would miss it.
		 */
		if (prefix->bits != 128 || has(&sync->is, prefix) || !put_in_line(sync, prefix))
			err = add(&sync->short_want, (const __u8 *)prefix->word, prefix->bits);
	}
	sort(&sync->short_want);
	return err;
}

static struct cs_prefix key_of(const struct sync *sync, const struct prefix *prefix)
{
	struct cs_prefix key = { .len = 32 + prefix->bits, .netns = sync->netns };

	memcpy(key.ip, prefix->word, sizeof(key.ip));
	return key;
}

/* What is there already is not written again: full is full, also for that, before Linux 6.13. */
static int add_prefixes(struct sync *sync, const struct prefixes *from, struct prefixes *refused)
{
	__u32 nothing = 0;
	int err = 0;

	for (size_t i = 0; i < from->count && !err; i++) {
		const struct prefix *prefix = &from->list[i];
		struct cs_prefix key = key_of(sync, prefix);

		if (has(&sync->is, prefix) ||
		    !bpf_map_update_elem(sync->plane->map[PLANE_PREFIXES], &key, &nothing, BPF_ANY))
			continue;
		err = errno == ENOSPC ? add(refused, (const __u8 *)prefix->word, prefix->bits) :
					-errno;
	}
	return err;
}

static int remove_prefixes(struct sync *sync)
{
	for (size_t i = 0; i < sync->is.count; i++) {
		struct cs_prefix key = key_of(sync, &sync->is.list[i]);

		if (!has(&sync->short_want, &sync->is.list[i]) &&
		    bpf_map_delete_elem(sync->plane->map[PLANE_PREFIXES], &key) && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int write_number(struct sync *sync, __u32 number)
{
	if (sync->ports.prefixes == number)
		return 0;
	sync->ports.prefixes = number;
	return bpf_map_update_elem(sync->plane->map[PLANE_PORTS], &sync->netns, &sync->ports,
				   BPF_ANY) ?
		       -errno :
		       0;
}

static int write_lines(struct sync *sync)
{
	for (__u32 i = 0; i < CS_LOCAL_LINES; i++) {
		__u32 line = sync->netns * CS_LOCAL_LINES + i;

		if (memcmp(&sync->was[i], &sync->line[i], sizeof(sync->line[i])) &&
		    bpf_map_update_elem(sync->plane->map[PLANE_LOCALS], &line, &sync->line[i],
					BPF_ANY))
			return -errno;
	}
	return 0;
}

static int write_maps(struct sync *sync)
{
	size_t wanted = sync->short_want.count;
	int err = add_prefixes(sync, &sync->short_want, &sync->late);

	if (!err && wanted > sync->late.count)
		err = write_number(sync, wanted - sync->late.count);
	if (!err)
		err = write_lines(sync);
	if (!err)
		err = remove_prefixes(sync);
	/* There is room now where what is gone was. */
	if (!err)
		err = add_prefixes(sync, &sync->late, &sync->refused);
	return err ?: write_number(sync, wanted - sync->refused.count);
}

static void write_note(const struct sync *sync, struct error *note)
{
	const struct prefix *first = sync->refused.list;
	char text[INET6_ADDRSTRLEN];
	struct cs_addr addr = {};
	unsigned int bits;
	const __u8 *ip;

	note->line[0] = '\0';
	if (!first)
		return;
	ip = (const __u8 *)first->word;
	bits = first->bits;
	memcpy(addr.ip, ip, sizeof(addr.ip));
	if (address_is_ipv4(&addr)) {
		inet_ntop(AF_INET, ip + 12, text, sizeof(text));
		bits -= IPV4_BITS;
	} else {
		inet_ntop(AF_INET6, ip, text, sizeof(text));
	}
	error_set(
		note, 0,
		"%s/%u and %zu more are not taken for local at XDP: there is room for %u prefixes, "
		"and for 4 addresses in each of %u lines; their packets are routed at the socket",
		text, bits, sync->refused.count - 1, CS_MAX_PREFIXES, CS_LOCAL_LINES);
}

/* What the kernel lists while entries go may lack one that stays: what goes is missing in two. */
static int list_all(struct sync *sync, int fd)
{
	int err = list(fd, &sync->want);

	if (!err && goes(sync))
		err = list(fd, &sync->want);
	return err;
}

int locals_sync(const struct plane *plane, __u32 netns, int fd, struct error *note,
		struct error *error)
{
	_cleanup_free_ struct sync *sync = calloc(1, sizeof(*sync));
	int err;

	if (!sync)
		return error_set(error, -ENOMEM, "out of memory");
	sync->plane = plane;
	sync->netns = netns;
	err = read_maps(sync);
	if (!err)
		err = list_all(sync, fd);
	if (!err)
		err = place(sync);
	if (!err)
		err = write_maps(sync);
	if (!err)
		write_note(sync, note);
	free(sync->want.list);
	free(sync->short_want.list);
	free(sync->is.list);
	free(sync->late.list);
	free(sync->refused.list);
	return err ? error_set(error, err, "local addresses: %s", strerror(-err)) : 0;
}

/* ---- what changes ---------------------------------------------------------------------------- */

int locals_subscribe(const char *netns, struct error *error)
{
	_cleanup_fd_ int fd = netns_socket(netns, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK,
					   NETLINK_ROUTE, error);
	/* With a device IPv4 routes go of which nothing is said. */
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK,
				    .nl_groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE |
						 RTMGRP_LINK };

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return error_set(error, -errno, "listening to rtnetlink: %s", strerror(errno));
	return take_fd(&fd);
}

static bool concerns(const void *bytes, int len)
{
	for (const struct nlmsghdr *at = bytes; NLMSG_OK(at, (unsigned int)len);
	     at = NLMSG_NEXT(at, len)) {
		if (at->nlmsg_type == RTM_DELLINK)
			return true;
		if ((at->nlmsg_type == RTM_NEWROUTE || at->nlmsg_type == RTM_DELROUTE) &&
		    is_local(at, NLMSG_DATA(at)))
			return true;
	}
	return false;
}

bool locals_changed(int fd)
{
	static char bytes[LISTING_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool changed = false;

	for (;;) {
		ssize_t len = recv(fd, bytes, sizeof(bytes), 0);

		if (len >= 0)
			changed |= concerns(bytes, len);
		else if (errno == ENOBUFS) /* something was said that nobody heard */
			changed = true;
		else if (errno != EINTR)
			return changed;
	}
}
