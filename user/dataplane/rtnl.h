/* SPDX-License-Identifier: GPL-2.0-only */
/* Questions to the kernel about interfaces and namespaces (rtnetlink(7)). */
#ifndef CS_RTNL_H
#define CS_RTNL_H

#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

struct rtnl_question {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
		struct rtmsg route;
		struct rtgenmsg nsid;
	};
	char attributes[64];
};

#define RTNL_QUESTION(type, member, flags)                                                         \
	{                                                                                          \
		.head = {                                                                          \
			.nlmsg_len = NLMSG_SPACE(sizeof(((struct rtnl_question *)0)->member)),     \
			.nlmsg_type = (type),                                                      \
			.nlmsg_flags = (flags)                                                     \
		}                                                                                  \
	}

/* What one says of an interface is a number. */
void rtnl_add_int(struct rtnl_question *question, int type, int value);

/* Returns 0 or a negative errno. */
int rtnl_ask(int fd, struct rtnl_question *question);

/* Hands each message of an answer to @take, until one is the last.  Returns 0 or a negative errno,
 * the kernel's own included.
 */
int rtnl_each(int fd, void (*take)(const struct nlmsghdr *message, void *arg), void *arg);

/* The value of an attribute that is a number; else -1. */
int rtnl_int(const struct rtattr *at);

/* The kind in IFLA_LINKINFO, "veth" for one; "": it says none. */
const char *rtnl_kind(const struct rtattr *info);

/* What the namespace of the socket @rtnl calls another one, an open file; -1: nothing. */
int rtnl_nsid(int rtnl, int netns);

#endif
