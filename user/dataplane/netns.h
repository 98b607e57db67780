/* SPDX-License-Identifier: GPL-2.0-only */
/* Network namespaces by the names that `ip netns` gives them: /run/netns/NAME. */
#ifndef CS_NETNS_H
#define CS_NETNS_H

#include <stdbool.h>

#include "common/error.h"
#include "core/abi.h"

/* Of a name, with the final NUL: DIR/xdp-NAME has to be the path of a pin. */
#define NETNS_NAME 48

/* Letters, digits, '-' and '_': a bpffs takes no name with a dot. */
bool netns_is_name(const char *name);

/*
 * netns_run - call a function in a network namespace
 * @name:	"": the one that this process is in
 *
 * In a thread that ends with it, so that nothing else of this process is ever elsewhere.
 *
 * Returns what @run returns, or, with @error written, -ENOENT (no such namespace), -EPERM (no
 * CAP_SYS_ADMIN), or another errno.
 */
int netns_run(const char *name, int (*run)(void *arg), void *arg, struct error *error);

/* The same of one that is open, which @error calls @name. */
int netns_run_file(int fd, const char *name, int (*run)(void *arg), void *arg, struct error *error);

/* The cookie of a namespace (SO_NETNS_COOKIE).  Returns 0, or as netns_run(). */
int netns_cookie(const char *name, __u64 *cookie, struct error *error);

/* What a name leads to: as long as somebody is in the namespace it is nobody else's. */
struct netns_file {
	__u64 device, inode;
};
int netns_file(const char *name, struct netns_file *file, struct error *error);
bool netns_same_file(const struct netns_file *one, const struct netns_file *other);

/* Calls @visit for each name that there is. */
void netns_each(void (*visit)(const char *name, void *arg), void *arg);

/* A socket made in it, the caller's.  Returns a descriptor, or as netns_run(). */
int netns_socket(const char *name, int family, int type, int protocol, struct error *error);

#endif
