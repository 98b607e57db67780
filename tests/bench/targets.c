// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a packet costs until its worker has it, by the way that it takes: CPU time of all that take
 * part, in nanoseconds per packet that the worker has read.
 *
 * Datagrams of 1200 bytes come in at a veth on one CPU, where XDP and, for most, the stack run; the
 * worker reads on another.  Never more than WINDOW are under way, so no queue is full.  What the
 * sender waits for that is not counted.  The worker takes what is there, then sleeps a moment.
 *
 * In the number:
 * - the sender's system calls.  The softirqs that take packets from the veths run in them, and
 * their time is the thread's; where it is not, see softirqs_are_apart();
 * - the worker's thread: a recvmmsg() for 64 datagrams, or the RX ring, whose chunks it gives back.
 *   It looks at each DCID;
 * - ksoftirqd of both CPUs, where a softirq with too much to do goes on.  What it does for others
 *   is counted too;
 * - the CPUMAP's thread, on the worker's CPU.
 *
 * What the same sending costs to a veth whose XDP program drops all is subtracted: making the
 * frames, the veth, the poll.  What is left is from the XDP program, or without one from making
 * the sk_buff, to the worker.
 *
 * Not in the number: a NIC's driver and interrupts; the waking of a worker by a packet, which is
 * the rarer the busier the worker; what the worker does with the packet.  The stack checks the UDP
 * checksums, since no NIC has done it; for AF_XDP nobody does.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bench.h"
#include "bench/programs.skel.h"
#include "common/cleanup.h"
#include "core/quic.h"

#define PACKETS (1u << 16) /* of one measurement */
#define WINDOW 1024	   /* packets that are under way at most: less than any queue holds */
#define NAP_NS 300000	   /* of a worker that finds nothing */
#define MOST_NAPS 10000	   /* in a row: then what has not come is lost */
#define BATCH 64	   /* datagrams of one system call */
#define OWN_PORT 4110	   /* of the group that is no service's */
#define KERNEL_THREADS 3

enum row {
	ROW_SINK,
	ROW_HASH,
	ROW_EMPTY,
	ROW_PASS,
	ROW_CPU,
	ROW_XSK,
	ROW_DEVICE,
	ROWS,
};

static struct way {
	enum link link;
	enum service service; /* or 0 */
	__u32 note;	      /* that XDP counts of each packet, CS_C_*; or 0 */
	int socket;
	struct xsk *xsk; /* or NULL */
} ways[ROWS] = {
	[ROW_SINK] = { .link = LINK_DROP, .socket = -1 },
	[ROW_HASH] = { .link = LINK_PLAIN },
	[ROW_EMPTY] = { .link = LINK_EMPTY },
	[ROW_PASS] = { .link = LINK_STEERED, .service = SERVICE_PASS },
	[ROW_CPU] = { .link = LINK_STEERED, .service = SERVICE_CPU, .note = CS_C_to_cpu },
	[ROW_XSK] = { .link = LINK_STEERED, .service = SERVICE_XSK, .note = CS_C_to_xsk },
	[ROW_DEVICE] = { .link = LINK_STEERED, .service = SERVICE_DEVICE, .note = CS_C_to_device },
};

static const struct {
	__u32 counter;
	const char *name;
} notes[] = {
	{ CS_C_to_cpu, "to_cpu" },
	{ CS_C_to_xsk, "to_xsk" },
	{ CS_C_to_device, "to_device" },
};

static clockid_t kernel_thread[KERNEL_THREADS];

/* ---- workers --------------------------------------------------------------------------------- */

static void take_room(int socket)
{
	int bytes = WINDOW * 8192; /* a page for each, and what describes it */

	check(!setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)),
	      "SO_RCVBUF: %s", strerror(errno));
}

static void open_worker(struct way *way, __u32 cpu)
{
	struct cidsteer_xsk xsk = { .ifindex = link_index(LINK_STEERED) };
	__u16 port = services[way->service].port;
	struct cidsteer *handle;

	way->socket = way->service == SERVICE_DEVICE ? box_socket(port) : group_socket(port, false);
	take_room(way->socket);
	handle = worker_register(way->service, way->socket, cpu);
	for (__u32 i = 0; i < BENCH_TARGET_ROUTES; i++) {
		__u64 cid = bench_cid(way->service, i);

		check(!cidsteer_issue(handle, (uint8_t *)&cid, BENCH_CID), "issue");
	}
	if (way->service != SERVICE_XSK)
		return;
	way->xsk = xsk_open(xsk.ifindex);
	xsk.fd = xsk_fd(way->xsk);
	check(!cidsteer_set_xsks(handle, &xsk, 1), "%s", cidsteer_error(handle));
}

/* Without the daemon's lease nothing is sent to a device. */
static void await_lease(void)
{
	struct timespec now, nap = { 0, 10 * 1000 * 1000 };
	struct cs_lease lease = {};
	__u32 zero = 0;

	for (int i = 0; i < 1500; i++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		check(!bpf_map_lookup_elem(plane.map[PLANE_LEASE], &zero, &lease), "cs_lease");
		if (lease.until_ns > now.tv_sec * 1000000000ULL + now.tv_nsec)
			return;
		nanosleep(&nap, NULL);
	}
	check(false, "the daemon renews no lease");
}

static bool is_called(const char *pid, const char *name)
{
	char path[300], line[64] = "";
	_cleanup_file_ FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return !strcmp(line, name);
}

/* The CPU clock of a thread of the kernel. */
static clockid_t find_thread(const char *name)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	clockid_t clock;
	pid_t pid = 0;

	while (proc && !pid && (entry = readdir(proc))) {
		if (is_called(entry->d_name, name))
			pid = atoi(entry->d_name);
	}
	check(pid && !clock_getcpuclockid(pid, &clock), "there is no thread %s", name);
	closedir(proc);
	return clock;
}

static void find_threads(int worker_cpu)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	char name[64];

	check(!bpf_obj_get_info_by_fd(plane.map[PLANE_CPUS], &info, &len), "cs_cpus");
	snprintf(name, sizeof(name), "cpumap/%d/map:%u", worker_cpu, info.id);
	kernel_thread[0] = find_thread(name);
	snprintf(name, sizeof(name), "ksoftirqd/%d", worker_cpu);
	kernel_thread[1] = find_thread(name);
	snprintf(name, sizeof(name), "ksoftirqd/%d", sender_cpu());
	kernel_thread[2] = find_thread(name);
}

void targets_start(void)
{
	int cpu = sched_getcpu();

	check(cpu != sender_cpu(), "this needs two CPUs");
	ways[ROW_HASH].socket = ways[ROW_EMPTY].socket = group_socket(OWN_PORT, false);
	take_room(ways[ROW_HASH].socket);
	for (int i = ROW_PASS; i < ROWS; i++)
		open_worker(&ways[i], i == ROW_CPU ? CIDSTEER_CPU(cpu) : 0);
	find_threads(cpu);
	await_lease();
}

/* ---- a measurement --------------------------------------------------------------------------- */

static double kernel_seconds(void)
{
	struct timespec now;
	double sum = 0;

	for (int i = 0; i < KERNEL_THREADS; i++) {
		check(!clock_gettime(kernel_thread[i], &now), "a thread of the kernel has gone");
		sum += now.tv_sec + now.tv_nsec / 1e9;
	}
	return sum;
}

static __u8 expected; /* first byte of each DCID */

static void look(const __u8 *payload)
{
	check(payload[CS_SHORT_HEADER_DCID] == expected, "a packet came that is another worker's");
}

static void look_at_frame(const struct frame *frame)
{
	look(frame->payload);
}

static __u32 take_datagrams(int socket)
{
	static __u8 datagram[BATCH][sizeof(((struct frame *)0)->payload)];
	struct mmsghdr messages[BATCH] = {};
	struct iovec iov[BATCH];
	int taken;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ datagram[i], sizeof(datagram[i]) };
		messages[i].msg_hdr.msg_iov = &iov[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	taken = recvmmsg(socket, messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < taken; i++)
		look(datagram[i]);
	return taken < 0 ? 0 : taken;
}

/* Until all came, or nothing does any more.  Returns how many. */
static __u32 take(const struct way *way)
{
	struct timespec nap = { 0, NAP_NS };
	__u32 came = 0;

	for (int naps = 0; came < PACKETS && naps < MOST_NAPS; naps++) {
		__u32 taken = way->xsk ? xsk_take(way->xsk, BATCH, look_at_frame) :
					 take_datagrams(way->socket);

		came += taken;
		__atomic_store_n(&programs->bss->bench_taken, came, __ATOMIC_RELEASE);
		if (taken)
			naps = 0;
		if (taken < BATCH)
			nanosleep(&nap, NULL);
	}
	return came;
}

/* What the programs have counted of a service. */
struct tally {
	__u64 xdp, socket, note[COUNT(notes)];
};

static struct tally tally_of(const struct way *way)
{
	__u32 id = services[way->service].id;
	struct tally tally;

	tally.xdp = counter_of(id, CS_HOOK_XDP, CS_C_by_table);
	tally.socket = counter_of(id, CS_HOOK_REUSEPORT, CS_C_by_table);
	for (unsigned int i = 0; i < COUNT(notes); i++)
		tally.note[i] = counter_of(id, CS_HOOK_XDP, notes[i].counter);
	return tally;
}

/* Did all go the way that the row is about, and no other? */
static void check_way(const char *name, const struct way *way, const struct tally *start,
		      __u32 came)
{
	struct tally end = tally_of(way);
	__u64 socket = end.socket - start->socket, xdp = end.xdp - start->xdp;

	if (!way->service)
		return;
	check(xdp >= came, "%s: XDP found %llu of %u in the table", name, xdp, came);
	check(way->xsk ? !socket : socket >= came, "%s: sk_reuseport found %llu of %u in the table",
	      name, socket, came);
	for (unsigned int i = 0; i < COUNT(notes); i++) {
		__u64 noted = end.note[i] - start->note[i];

		check(noted == (notes[i].counter == way->note ? xdp : 0),
		      "%s: XDP counted %llu of %llu as %s", name, noted, xdp, notes[i].name);
	}
}

/* Returns ns of CPU time per packet that came, or, of the sink, that was dropped. */
static double measure_way(const char *name, const struct way *way)
{
	bool sink = way->link == LINK_DROP;
	double start = kernel_seconds() + thread_seconds(), seconds;
	__u64 dropped = programs->bss->bench_dropped;
	struct tally before = tally_of(way);
	__u32 came = 0;

	expected = way->service;
	sender_aim(way->link, way->service ? services[way->service].port : OWN_PORT, way->service);
	sender_begin(PACKETS, sink ? UINT32_MAX : WINDOW);
	if (!sink)
		came = take(way);
	seconds = sender_end();
	seconds += kernel_seconds() + thread_seconds() - start;
	if (sink)
		came = programs->bss->bench_dropped - dropped;
	check(came <= PACKETS && PACKETS - came <= PACKETS / 100, "%s: %u of %u packets came", name,
	      came, PACKETS);
	check_way(name, way, &before, came);
	return seconds / came * 1e9;
}

/* The sink is the first of a round. */
static double measure(const struct bench_case *this)
{
	static double sink_ns;
	double ns = measure_way(this->name, &ways[this->what]);

	if (this->what != ROW_SINK)
		return ns - sink_ns;
	sink_ns = ns;
	return ns;
}

#define BASE "the kernel's own hash, no XDP"
#define EMPTY "the kernel's own hash, XDP passes all"
#define ROW(text, row, other)                                                                      \
	{                                                                                          \
		.name = text, .rival = other, .measure = measure, .what = row                      \
	}

static const struct bench_case cases[] = {
	{ .name = "sent and dropped by XDP, subtracted below",
	  .measure = measure,
	  .what = ROW_SINK,
	  .apart = true },
	ROW(BASE, ROW_HASH, NULL),
	ROW(EMPTY, ROW_EMPTY, NULL),
	ROW("pass: UDP socket", ROW_PASS, EMPTY),
	ROW("CPU: moved there, UDP socket", ROW_CPU, EMPTY),
	ROW("AF_XDP, copy mode", ROW_XSK, EMPTY),
	ROW("device: UDP socket behind a veth", ROW_DEVICE, EMPTY),
};

const struct bench_group targets = {
	.title = "Targets: CPU time until the worker has the packet",
	.unit = "ns",
	.base = BASE,
	.cases = cases,
	.count = COUNT(cases),
};
