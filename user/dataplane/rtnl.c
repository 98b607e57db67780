// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "dataplane/rtnl.h"

#define ANSWER_BYTES 32768
#define ANSWERS_MAX 10000 /* of one question; more is a mistake */

void rtnl_add_int(struct rtnl_question *question, int type, int value)
{
	struct rtattr *at = (void *)((char *)question + question->head.nlmsg_len);

	*at = (struct rtattr){ RTA_LENGTH(sizeof(value)), type };
	memcpy(RTA_DATA(at), &value, sizeof(value));
	question->head.nlmsg_len += RTA_SPACE(sizeof(value));
}

int rtnl_ask(int fd, struct rtnl_question *question)
{
	question->head.nlmsg_flags |= NLM_F_REQUEST;
	return send(fd, question, question->head.nlmsg_len, 0) < 0 ? -errno : 0;
}

int rtnl_each(int fd, void (*take)(const struct nlmsghdr *message, void *arg), void *arg)
{
	static union {
		struct nlmsghdr head;
		char bytes[ANSWER_BYTES];
	} answer;

	for (int count = 0; count < ANSWERS_MAX; count++) {
		int len = recv(fd, &answer, sizeof(answer), 0);

		if (len < 0)
			return -errno;
		for (struct nlmsghdr *at = &answer.head; NLMSG_OK(at, (unsigned int)len);
		     at = NLMSG_NEXT(at, len)) {
			if (at->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(at))->error ?: 0;
			if (at->nlmsg_type == NLMSG_DONE)
				return 0;
			take(at, arg);
			if (!(at->nlmsg_flags & NLM_F_MULTI))
				return 0;
		}
	}
	return -EPROTO;
}

int rtnl_int(const struct rtattr *at)
{
	return RTA_PAYLOAD(at) == sizeof(int) ? *(const int *)RTA_DATA(at) : -1;
}

const char *rtnl_kind(const struct rtattr *info)
{
	int len = RTA_PAYLOAD(info);

	for (const struct rtattr *at = RTA_DATA(info); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		if (at->rta_type == IFLA_INFO_KIND && RTA_PAYLOAD(at) &&
		    !((const char *)RTA_DATA(at))[RTA_PAYLOAD(at) - 1])
			return RTA_DATA(at);
	}
	return "";
}

static void take_nsid(const struct nlmsghdr *message, void *arg)
{
	int len = message->nlmsg_len - NLMSG_SPACE(sizeof(struct rtgenmsg));
	const struct rtattr *at =
		(const void *)((const char *)message + NLMSG_SPACE(sizeof(struct rtgenmsg)));

	for (; RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		if (at->rta_type == NETNSA_NSID)
			*(int *)arg = rtnl_int(at);
	}
}

int rtnl_nsid(int rtnl, int netns)
{
	struct rtnl_question question = RTNL_QUESTION(RTM_GETNSID, nsid, 0);
	int nsid = -1;

	rtnl_add_int(&question, NETNSA_FD, netns);
	if (rtnl_ask(rtnl, &question) || rtnl_each(rtnl, take_nsid, &nsid))
		return -1;
	return nsid;
}
