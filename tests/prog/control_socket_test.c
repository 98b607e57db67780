// SPDX-License-Identifier: GPL-2.0-only
/* Who may register, and with which descriptors. */
#include <fcntl.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "talk.h"

/* ---- who ----------------------------------------------------------------------------------- */

Undisturbed(a_user_who_is_not_the_services_is_refused)
{
	register_told();
	refused_as(UID_OTHER, -EACCES, "uid 1 is not allowed in service \"told\"");
}

Undisturbed(a_socket_of_another_user_is_refused)
{
	int fd;

	check(!seteuid(UID_OTHER), "seteuid");
	fd = udp_bind("[::]:4436");
	check(!seteuid(0), "seteuid");
	register_solo(fd);
	refused(-EPERM,
		"a socket was created by uid 1: only root and the user of service \"solo\"");
}

/* ---- descriptors --------------------------------------------------------------------------- */

Undisturbed(a_descriptor_that_is_no_socket_is_refused)
{
	int pipes[2];

	check(!pipe2(pipes, O_CLOEXEC), "pipe");
	register_h3(open("/dev/null", O_RDWR | O_CLOEXEC));
	refused(-EINVAL, "a descriptor is not a socket");
	register_h3(open(SANDBOX, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	refused(-EINVAL, "a descriptor is not a socket");
	register_h3(open(CONTROL, O_PATH | O_CLOEXEC));
	refused(-EINVAL, "a");
	register_h3(pipes[0]);
	refused(-EINVAL, "a descriptor is not a socket");
	register_h3(eventfd(0, EFD_CLOEXEC));
	refused(-EINVAL, "a descriptor is not a socket");
	register_h3(memfd_create("x", MFD_CLOEXEC));
	refused(-EINVAL, "a descriptor is not a socket");
	register_h3(dup(plane.map[PLANE_SOCKETS]));
	refused(-EINVAL, "a descriptor is not a socket");
	register_h3(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
	refused(-EINVAL, "a descriptor is not a socket");
}

static int socket_bound(int type, int protocol, int port, bool reuseport)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, protocol), one = 1;

	check(fd >= 0, "socket: %s", strerror(errno));
	if (reuseport)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (port)
		check(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)), "bind: %s",
		      strerror(errno));
	return fd;
}

Undisturbed(a_socket_that_is_not_udp_is_refused)
{
	register_solo(socket_bound(SOCK_STREAM, 0, 4436, true));
	refused(-EINVAL, "a socket is not a UDP socket");
	register_solo(socket_bound(SOCK_RAW, IPPROTO_UDP, 0, true));
	refused(-EINVAL, "a socket is not a UDP socket");
	register_solo(socket_bound(SOCK_DGRAM, IPPROTO_UDPLITE, 0, true));
	refused(-EINVAL, "a socket is not a UDP socket");
	register_solo(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	refused(-EINVAL, "a socket is not a UDP socket");
	register_solo(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	refused(-EINVAL, "a socket is not a UDP socket");
	register_solo(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	refused(-EINVAL, "a socket is not a UDP socket");
}

Undisturbed(a_socket_without_so_reuseport_is_refused)
{
	register_solo(socket_bound(SOCK_DGRAM, 0, 4436, false));
	refused(-EINVAL, "a socket has no SO_REUSEPORT");
}

Undisturbed(a_socket_that_got_so_reuseport_after_bind_is_refused_with_the_reason)
{
	int fd = socket_bound(SOCK_DGRAM, 0, 4436, false), one = 1;

	check(!setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), "SO_REUSEPORT");
	register_solo(fd);
	refused(-EINVAL, "SO_REUSEPORT");
}

Undisturbed(a_connected_socket_is_refused)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
	int fd = socket_bound(SOCK_DGRAM, 0, 4436, true);

	addr.sin6_addr = in6addr_loopback;
	check(!connect(fd, (struct sockaddr *)&addr, sizeof(addr)), "connect");
	register_solo(fd);
	refused(-EINVAL, "a socket is connected");
}

Undisturbed(a_socket_that_is_not_bound_is_refused)
{
	register_solo(socket_bound(SOCK_DGRAM, 0, 0, true));
	refused(-EINVAL, "a socket is not bound");
}

Undisturbed(a_socket_bound_elsewhere_is_refused)
{
	static const char *const elsewhere[] = { "[::]:4437", "[::1]:4436", "127.0.0.1:4436",
						 "0.0.0.0:4436", "[::]:4433" };

	for (size_t i = 0; i < COUNT(elsewhere); i++) {
		register_solo(udp_bind(elsewhere[i]));
		refused(-EINVAL, elsewhere[i]);
	}
}

/* It would be in another group than the listener's. */
Undisturbed(a_socket_that_is_bound_to_a_device_is_refused)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(4436) };
	int fd = socket_bound(SOCK_DGRAM, 0, 0, true);

	check(!setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) &&
		      !bind(fd, (struct sockaddr *)&addr, sizeof(addr)),
	      "bind");
	register_solo(fd);
	refused(-EINVAL, "a socket is bound to a device");
}

Undisturbed(a_v6only_socket_on_a_dual_stack_listener_is_refused)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(4436) };
	int fd = socket_bound(SOCK_DGRAM, 0, 0, true), one = 1;

	check(!setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) &&
		      !bind(fd, (struct sockaddr *)&addr, sizeof(addr)),
	      "bind");
	register_solo(fd);
	refused(-EINVAL, "IPV6_V6ONLY");
}

Undisturbed(a_socket_of_another_network_namespace_is_refused)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	check(home >= 0 && !unshare(CLONE_NEWNET), "unshare");
	fd = udp_bind("[::]:4436");
	check(!setns(home, CLONE_NEWNET), "setns");
	close(home);
	register_solo(fd);
	refused(-EINVAL, "another network namespace");
}

Undisturbed(two_sockets_on_one_listener_are_refused)
{
	struct step *step = say_register("h3");

	with_fd(step, udp_bind("[::]:4433"));
	with_fd(step, udp_bind("[::]:4433"));
	refused(-EINVAL, "two sockets are bound to one listener");
	step = say_register("h3");
	with_fd(step, udp_bind("[::]:4433"));
	with_fd(step, dup(step->fd[0]));
	refused(-EINVAL, "two sockets are bound to one listener");
}

Undisturbed(a_missing_socket_is_refused)
{
	with_fd(say_register("h3"), udp_bind("[::]:4433"));
	refused(-EINVAL, "service \"h3\" has 2 listeners, 1 sockets came");
	with_fd(say_register("h3"), udp_bind("127.0.0.1:4434"));
	refused(-EINVAL, "service \"h3\" has 2 listeners, 1 sockets came");
}

/* The first worker's own slots are not touched when its socket comes a second time. */
Undisturbed(a_socket_that_is_registered_is_refused_and_its_worker_stays_whole)
{
	struct step *step = say_register("h3");

	with_fd(step, bystander[0].socket[0]);
	with_fd(step, bystander[0].socket[1]);
	refused(-EBUSY, "registered already");
	step = say_register("h3");
	with_fd(step, udp_bind("127.0.0.1:4434"));
	with_fd(step, bystander[1].socket[0]);
	refused(-EBUSY, "registered already");
	step = say_register("h3");
	with_fd(step, udp_bind("[::]:4433"));
	with_fd(step, bystander[1].socket[1]);
	refused(-EBUSY, "registered already");
	with_fd(say_register("told"), bystander[2].socket[0]);
	refused(-EBUSY, "registered already");
}
