// SPDX-License-Identifier: GPL-2.0-only
/* UDP sockets: IP_PKTINFO and IPV6_PKTINFO say and choose the local address. */
#define _GNU_SOURCE 1
#include "h3server/udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define SOCKET_BUFFER (2 * 1024 * 1024)

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo)) +
		   CMSG_SPACE(sizeof(int))];
};

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* QUIC datagrams are never fragmented (RFC 9000, section 14). */
static int set_options(int fd, sa_family_t family, bool v6only)
{
	int err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);

	/* The kernel caps these at net.core.rmem_max and wmem_max. */
	set_option(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
	set_option(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
	if (!err)
		err = set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
	if (family == AF_INET)
		return err ? err : set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
	if (!err)
		err = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
	if (!err)
		err = set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
	return err ? err : set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

int udp_bind(const union addr *addr, bool v6only, bool gro)
{
	int fd = socket(addr->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = set_options(fd, addr->sa.sa_family, v6only);
	if (!err && gro)
		err = set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
	if (!err && bind(fd, &addr->sa, addr_len(addr)) < 0)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* The destination address, whose port is the socket's, and the size of a train's segments. */
static void take_control(struct msghdr *msg, struct udp_train *train)
{
	union addr *local = &train->next.local;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
		    local->sa.sa_family == AF_INET) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			local->in.sin_addr = info.ipi_addr;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO &&
			   local->sa.sa_family == AF_INET6) {
			struct in6_pktinfo info;

			/* An IPv4 packet's address comes mapped, and goes back so. */
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			local->in6.sin6_addr = info.ipi6_addr;
		} else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int size;

			memcpy(&size, CMSG_DATA(c), sizeof(size));
			train->segment = size > 0 ? (size_t)size : train->len;
		}
	}
}

int udp_receive(int fd, const union addr *bound, struct udp_train *train)
{
	struct iovec iov = { train->bytes, sizeof(train->bytes) };
	union control control;
	struct msghdr msg = {
		.msg_name = &train->next.remote,
		.msg_namelen = sizeof(train->next.remote),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &msg, 0);

	if (n < 0)
		return -errno;
	train->at = 0;
	train->len = train->segment = (size_t)n;
	train->next.local = *bound;
	take_control(&msg, train);
	return 0;
}

struct udp_datagram *udp_next(struct udp_train *train)
{
	size_t left = train->len - train->at;

	if (!left)
		return NULL;
	train->next.bytes = train->bytes + train->at;
	train->next.len = train->segment < left ? train->segment : left;
	train->at += train->next.len;
	return &train->next;
}

/* Returns the length of the control message. */
static size_t put_local(struct cmsghdr *c, const struct sockaddr *local)
{
	if (local->sa_family == AF_INET) {
		struct in_pktinfo info = { .ipi_spec_dst =
						   ((const struct sockaddr_in *)local)->sin_addr };

		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	} else {
		struct in6_pktinfo info = {
			.ipi6_addr = ((const struct sockaddr_in6 *)local)->sin6_addr
		};

		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
}

int udp_send(int fd, const struct sockaddr *local, const struct sockaddr *remote, socklen_t len,
	     const uint8_t *bytes, size_t size)
{
	struct iovec iov = { (void *)bytes, size };
	union control control = { 0 };
	struct msghdr msg = {
		.msg_name = (void *)remote,
		.msg_namelen = len,
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
	};

	msg.msg_controllen = put_local(&control.align, local);
	return sendmsg(fd, &msg, 0) < 0 ? -errno : 0;
}
