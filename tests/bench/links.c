// SPDX-License-Identifier: GPL-2.0-only
/*
 * Veths, and who sends over them.
 *
 *   sends (first CPU)       here                           box: another namespace
 *   t0 ---- 10.9.0.1 r0     no XDP, polls for GRO
 *   t1 ---- 10.9.1.1 r1     XDP passes all
 *   t2 ---- 10.9.2.1 r2     XDP drops all
 *   t3 ---- 10.9.3.1 r3     cs_xdp
 *                    b0 ---------------------------------- b1 10.9.3.1
 *
 * Frames are made by BPF_PROG_TEST_RUN with live frames (Linux 5.18), and are sent through a veth
 * as a driver's XDP would: they come to the other end as pages, BATCH in one poll, as from the ring
 * of a NIC.  Datagrams of a socket would come one in a poll, each as an sk_buff, which a veth with
 * XDP first copies into a page: XDP would be charged for what no NIC does.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "bench.h"
#include "bench/programs.skel.h"
#include "common/cleanup.h"
#include "dataplane/netns.h"

#define SENDING_SECONDS 20 /* that it may take on a machine with much else to do */
#define BATCH 64	   /* frames that a poll finds, as NAPI_POLL_WEIGHT */

/* ---- veths ----------------------------------------------------------------------------------- */

static int box; /* the other namespace */

static void __attribute__((format(printf, 1, 2))) run_ip(const char *format, ...)
{
	char command[256] = "ip ";
	va_list args;

	va_start(args, format);
	vsnprintf(command + strlen(command), sizeof(command) - strlen(command), format, args);
	va_end(args);
	check(!system(command), "%s", command);
}

/* What comes from another device's XDP is taken by an end that polls only. */
static void gro_on(const char *name)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_value value = { ETHTOOL_SGRO, 1 };
	struct ifreq request = { .ifr_data = (char *)&value };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	check(!ioctl(fd, SIOCETHTOOL, &request), "GRO of %s: %s", name, strerror(errno));
}

static void open_box(void)
{
	_cleanup_fd_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	check(!unshare(CLONE_NEWNET), "unshare: %s", strerror(errno));
	box = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	check(box >= 0 && !setns(home, CLONE_NEWNET), "setns: %s", strerror(errno));
}

static int furnish_box(void *unused)
{
	(void)unused;
	run_ip("address add 10.9.%d.1/24 dev b1", LINK_STEERED);
	run_ip("link set b1 up");
	gro_on("b1");
	return 0;
}

static void run_in_box(int (*run)(void *arg), void *arg)
{
	struct error error = { "" };

	check(!netns_run_file(box, "box", run, arg, &error), "%s", error.line);
}

void links_start(void)
{
	char name[IFNAMSIZ];

	for (int i = 0; i < LINKS; i++) {
		snprintf(name, sizeof(name), "r%d", i);
		run_ip("link add t%d numrxqueues 1 numtxqueues 1 type veth peer name %s "
		       "numrxqueues 1 numtxqueues 1",
		       i, name);
		run_ip("address add 10.9.%d.1/24 dev %s", i, name);
		run_ip("link set t%d up", i);
		run_ip("link set %s up", name);
		gro_on(name);
	}
	open_box();
	run_ip("link add b0 type veth peer name b1 netns /proc/%d/fd/%d", getpid(), box);
	run_ip("link set b0 up");
	run_in_box(furnish_box, NULL);
}

__u32 link_index(enum link link)
{
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "r%d", link);
	return if_nametoindex(name);
}

static int make_socket(void *arg)
{
	int *port = arg;

	*port = group_socket(*port, false);
	return 0;
}

int box_socket(__u16 port)
{
	int socket = port;

	run_in_box(make_socket, &socket);
	return socket;
}

/* The stack takes what is for its own MAC only. */
static void mac_of(enum link link, __u8 mac[ETH_ALEN])
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "r%d", link);
	check(!ioctl(fd, SIOCGIFHWADDR, &request), "MAC of r%d: %s", link, strerror(errno));
	memcpy(mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
}

static void attach(enum link link, int prog)
{
	int err = bpf_xdp_attach(link_index(link), prog, XDP_FLAGS_DRV_MODE, NULL);

	check(!err, "XDP at r%d: %s", link, strerror(-err));
}

/* ---- who sends ------------------------------------------------------------------------------- */

static struct {
	sem_t go, done;
	struct frame frame;
	__u32 packets;
	double seconds;
	int cpu;
} sender;

/* Of the kernel's accounts of a thread: how long it has waited for a CPU. */
static double waited_seconds(void)
{
	_cleanup_file_ FILE *file = fopen("/proc/thread-self/schedstat", "re");
	unsigned long long waited_ns = 0;

	check(file && fscanf(file, "%*u %llu", &waited_ns) == 1, "schedstat: %s", strerror(errno));
	return waited_ns / 1e9;
}

static double wall_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void send_frames(__u32 packets)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = &sender.frame,
		    .data_size_in = sizeof(sender.frame), .repeat = packets, .batch_size = BATCH,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);

	check(!bpf_prog_test_run_opts(bpf_program__fd(programs->progs.bench_send), &opts),
	      "BPF_PROG_TEST_RUN with live frames: %s", strerror(errno));
}

/* As many as are asked for, unless those before them do not arrive. */
static void send_all(void)
{
	double end = wall_seconds() + SENDING_SECONDS;

	while (programs->bss->bench_sent < sender.packets && wall_seconds() < end)
		send_frames(sender.packets - programs->bss->bench_sent);
}

/*
 * A kernel may keep softirqs out of the clocks of the threads that they run in
 * (CONFIG_IRQ_TIME_ACCOUNTING).  Then it is time that passed while the thread, which does not
 * sleep, had a CPU.  That has other interrupts in it as well, and a throttled thread's time.
 */
static bool softirqs_are_apart(void)
{
	double waited = waited_seconds(), wall = wall_seconds(), busy = thread_seconds();

	send_all();
	busy = thread_seconds() - busy;
	wall = wall_seconds() - wall;
	waited = waited_seconds() - waited;
	return busy < (wall - waited) * 0.9;
}

static double busy_seconds(bool apart)
{
	double busy = apart ? wall_seconds() - waited_seconds() : thread_seconds();

	return busy - programs->bss->bench_wait_ns / 1e9;
}

static void *send_orders(void *unused)
{
	bool apart;

	(void)unused;
	pin_cpu(0);
	sender.cpu = sched_getcpu();
	sem_wait(&sender.go);
	apart = softirqs_are_apart();
	for (;;) {
		double start;

		sem_post(&sender.done);
		sem_wait(&sender.go);
		start = busy_seconds(apart);
		send_all();
		sender.seconds = busy_seconds(apart) - start;
	}
	return NULL;
}

void sender_begin(__u32 packets, __u32 window)
{
	sender.packets = packets;
	programs->bss->bench_window = window;
	programs->bss->bench_sent = programs->bss->bench_taken = 0;
	sem_post(&sender.go);
}

double sender_end(void)
{
	sem_wait(&sender.done);
	return sender.seconds;
}

int sender_cpu(void)
{
	return sender.cpu;
}

/* RFC 1071, over an even number of bytes. */
static __u16 add_up(__u64 sum, const void *data, size_t size)
{
	for (size_t i = 0; i < size; i += 2) {
		__u16 word;

		memcpy(&word, (const char *)data + i, sizeof(word));
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

void sender_aim(enum link link, __u16 port, __u8 owner)
{
	struct frame *frame = &sender.frame;
	char name[IFNAMSIZ];

	frame_build(frame, port);
	frame->ip.saddr = htonl(0x0a090002 | link << 8);
	frame->ip.daddr = htonl(0x0a090001 | link << 8);
	frame->ip.check = ~add_up(0, &frame->ip, sizeof(frame->ip));
	frame->udp.check = 0;
	memset(frame->payload + 1, 0, BENCH_CID);
	mac_of(link, frame->eth.h_dest);
	snprintf(name, sizeof(name), "t%d", link);
	programs->bss->bench_way = if_nametoindex(name);
	programs->bss->bench_owner = owner;
	programs->bss->bench_sum = add_up((__u64)htons(IPPROTO_UDP) + frame->udp.len,
					  &frame->ip.saddr,
					  sizeof(*frame) - offsetof(struct frame, ip.saddr));
}

/*
 * Calls of a program that no interface has change the kernel's text, twice each
 * (bpf_prog_change_xdp()): 1.5 ms that have nothing to do with packets.
 */
static void hold_program(void)
{
	int err = bpf_xdp_attach(if_nametoindex("t2"), bpf_program__fd(programs->progs.bench_send),
				 XDP_FLAGS_DRV_MODE, NULL);

	check(!err, "XDP at t2: %s", strerror(-err));
}

void sender_start(void)
{
	pthread_t thread;
	__u32 id = 0;
	int err;

	check(!bpf_xdp_query_id(link_index(LINK_PLAIN), 0, &id) && !id, "r0 has an XDP program");
	attach(LINK_EMPTY, bpf_program__fd(programs->progs.bench_empty));
	attach(LINK_DROP, bpf_program__fd(programs->progs.bench_drop));
	attach(LINK_STEERED, plane.xdp);
	hold_program();
	sender_aim(LINK_DROP, 1, 0);
	sem_init(&sender.go, 0, 0);
	sem_init(&sender.done, 0, 0);
	err = pthread_create(&thread, NULL, send_orders, NULL);
	check(!err, "thread: %s", strerror(err));
	sender_begin(1 << 17, UINT32_MAX);
	sender_end();
}
