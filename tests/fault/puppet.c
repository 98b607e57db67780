// SPDX-License-Identifier: GPL-2.0-only
/* Workers: processes that do, one at a time, what they are told over a socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cidsteer/cidsteer.h"
#include "common/cleanup.h"
#include "../../selftests/xsk.h"
#include "driver.h"

#define PACKETS 4

enum {
	ORDER_OPEN,
	ORDER_OPEN_EARLY,
	ORDER_CONNECT,
	ORDER_ISSUE,
	ORDER_GENERATE,
	ORDER_TAKE,
	ORDER_XSKS,
	ORDER_NO_XSKS
};

struct order {
	int what;
	__u8 cid[8];
};

struct report {
	int result;
	unsigned int id;
	char text[256];
};

static __be16 port_of(const char *service)
{
	return htons(!strcmp(service, "h3")   ? 4433 :
		     !strcmp(service, "told") ? 4435 :
		     !strcmp(service, "past") ? 4436 :
						4437);
}

static struct sockaddr_in address_of(const char *service)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = port_of(service),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int behind = -1; /* a network namespace to which a veth leads */
static bool moved;	/* h3's workers are there */

static bool is_behind(const char *service)
{
	return moved && !strcmp(service, "h3");
}

/* Made by a process that ends: a descriptor of it is enough. */
void puppets_make_device(void)
{
	char text[256];
	int wait[2];
	pid_t pid;

	if (pipe2(wait, O_CLOEXEC) || (pid = fork()) < 0)
		give_up("fork: %s", strerror(errno));
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) || write(wait[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	if (read(wait[0], text, 1) != 1)
		give_up("no network namespace");
	close(wait[0]);
	close(wait[1]);
	snprintf(text, sizeof(text), "/proc/%d/ns/net", pid);
	behind = open(text, O_RDONLY | O_CLOEXEC);
	snprintf(text, sizeof(text),
		 "ip link add b0 type veth peer name b1 netns %d && "
		 "ip link set b0 addrgenmode none up && "
		 "nsenter -t %d -n ip link set b1 up",
		 pid, pid);
	if (behind < 0 || system(text))
		give_up("no veth");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

void puppets_move_behind(void)
{
	moved = true;
}

static int bind_socket(const char *service)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = port_of(service) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		give_up("a worker's socket: %s", strerror(errno));
	return fd;
}

/* Those that came; the first PACKETS are waited for. */
static int take_packets(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	int count = 0;

	while (poll(&ready, 1, count < PACKETS ? 2000 : 0) == 1 &&
	       recv(fd, NULL, 0, MSG_DONTWAIT) >= 0)
		count++;
	return count;
}

static int generate(struct cidsteer *handle)
{
	__u8 cid[8];

	return eventually((cidsteer_dispatch(handle),
			   !cidsteer_generate(handle, cid, sizeof(cid)) && cid[0] < 0xe0)) ?
		       cidsteer_issue(handle, cid, sizeof(cid)) :
		       -ETIMEDOUT;
}

/* It was opened without a daemon, or lost it: until a daemon has answered. */
static int connect_later(struct cidsteer *handle)
{
	struct cidsteer_state state = { .size = sizeof(state) };

	return eventually((cidsteer_dispatch(handle),
			   !cidsteer_get_state(handle, &state) && state.connected)) ?
		       0 :
		       -ETIMEDOUT;
}

/* Of loopback, which the packets do not come in on by XDP: the UDP socket gets them. */
static int set_xsks(struct cidsteer *handle, bool none)
{
	static struct xsk xsk = { .fd = -1 };
	struct cidsteer_xsk one = { .ifindex = if_nametoindex("lo") };

	if (xsk.fd < 0 && xsk_open(&xsk, one.ifindex, 0, NULL))
		return -EBADF;
	one.fd = xsk.fd;
	return cidsteer_set_xsks(handle, &one, !none);
}

static void __attribute__((noreturn)) obey(const char *service, int link)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	struct cidsteer *handle = NULL;
	struct order order;
	int socket;

	if (is_behind(service) && setns(behind, CLONE_NEWNET))
		give_up("setns: %s", strerror(errno));
	socket = bind_socket(service);
	options.control = CONTROL;
	while (recv(link, &order, sizeof(order), 0) == sizeof(order)) {
		struct report report = { .result = -EBADMSG };

		options.error = report.text;
		options.error_size = sizeof(report.text);
		options.cpu = strcmp(service, "h3") ? 0 : CIDSTEER_CPU(0);
		options.cid_length = order.what == ORDER_OPEN_EARLY ? 8 : 0;
		if (order.what == ORDER_OPEN || order.what == ORDER_OPEN_EARLY)
			report.result = cidsteer_open(&handle, service, &socket, 1, &options);
		else if (order.what == ORDER_CONNECT)
			report.result = connect_later(handle);
		else if (order.what == ORDER_ISSUE)
			report.result = cidsteer_issue(handle, order.cid, sizeof(order.cid));
		else if (order.what == ORDER_GENERATE)
			report.result = generate(handle);
		else if (order.what == ORDER_TAKE)
			report.result = take_packets(socket);
		else if (order.what == ORDER_XSKS || order.what == ORDER_NO_XSKS)
			report.result = set_xsks(handle, order.what == ORDER_NO_XSKS);
		if (order.what == ORDER_XSKS || order.what == ORDER_NO_XSKS)
			snprintf(report.text, sizeof(report.text), "%s", cidsteer_error(handle));
		if (handle)
			report.id = cidsteer_worker_id(handle);
		if (send(link, &report, sizeof(report), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

void puppet_spawn(struct puppet *puppet, const char *service)
{
	static __u64 number;
	int links[2];

	memset(puppet, 0, sizeof(*puppet));
	puppet->service = service;
	number++;
	puppet->cid[0] = 0xe0; /* for the table */
	memcpy(puppet->cid + 1, &number, sizeof(puppet->cid) - 1);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, links))
		give_up("socketpair: %s", strerror(errno));
	puppet->pid = fork();
	if (puppet->pid < 0)
		give_up("fork: %s", strerror(errno));
	if (!puppet->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(links[0]);
		obey(service, links[1]);
	}
	close(links[1]);
	puppet->link = links[0];
}

static int tell(struct puppet *puppet, int what)
{
	struct order order = { .what = what };
	struct report report;

	memcpy(order.cid, puppet->cid, sizeof(order.cid));
	if (send(puppet->link, &order, sizeof(order), MSG_NOSIGNAL) < 0 ||
	    recv(puppet->link, &report, sizeof(report), 0) != sizeof(report)) {
		complain("a worker died");
		return -ESRCH;
	}
	puppet->id = report.id;
	memcpy(puppet->text, report.text, sizeof(puppet->text));
	return report.result;
}

int puppet_open(struct puppet *puppet)
{
	return tell(puppet, ORDER_OPEN);
}

int puppet_open_early(struct puppet *puppet)
{
	return tell(puppet, ORDER_OPEN_EARLY);
}

int puppet_connect(struct puppet *puppet)
{
	return tell(puppet, ORDER_CONNECT);
}

int puppet_issue(struct puppet *puppet)
{
	return tell(puppet, ORDER_ISSUE);
}

int puppet_generate(struct puppet *puppet)
{
	return tell(puppet, ORDER_GENERATE);
}

int puppet_xsks(struct puppet *puppet, bool none)
{
	return tell(puppet, none ? ORDER_NO_XSKS : ORDER_XSKS);
}

/* Its process, and with it its worker; other processes hold nothing of it. */
void puppet_end(struct puppet *puppet)
{
	close(puppet->link);
	kill(puppet->pid, SIGKILL);
	if (waitpid(puppet->pid, NULL, 0) != puppet->pid)
		give_up("waitpid: %s", strerror(errno));
}

void puppet_gets_packets(struct puppet *puppet)
{
	struct sockaddr_in to = address_of(puppet->service);
	__u8 packet[32] = { 0x40 };
	int took;

	memcpy(packet + 1, puppet->cid, sizeof(puppet->cid));
	for (int i = 0; i < PACKETS; i++) {
		_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || sendto(fd, packet, sizeof(packet), 0, (struct sockaddr *)&to,
				     sizeof(to)) != sizeof(packet))
			give_up("sending: %s", strerror(errno));
	}
	took = tell(puppet, ORDER_TAKE);
	if (took != PACKETS)
		complain("worker %u got %d of its %d packets", puppet->id, took, PACKETS);
}

void puppet_works(struct puppet *puppet)
{
	int err = puppet_issue(puppet);

	if (err)
		complain("worker %u cannot issue: %s", puppet->id, strerror(-err));
	else if (look_up(puppet->service, puppet->cid) != puppet->id)
		complain("the route of worker %u is not found", puppet->id);
	else if (look_state(puppet->id) != CS_WORKER_ACTIVE)
		complain("worker %u is not active", puppet->id);
	else if (!is_behind(puppet->service))
		puppet_gets_packets(puppet);
}

void service_works(const char *service)
{
	struct puppet puppet;
	int err;

	puppet_spawn(&puppet, service);
	err = puppet_open(&puppet);
	if (err)
		complain("then a worker cannot register: %s: %s", strerror(-err), puppet.text);
	else
		puppet_works(&puppet);
	puppet_end(&puppet);
	if (!eventually(!look_workers_of(puppet.pid)))
		complain("then worker %u was not reaped", puppet.id);
}
