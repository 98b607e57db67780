// SPDX-License-Identifier: GPL-2.0-only
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "fixture.h"

pid_t daemon_pid;

double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void loopback_up(void)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo" };

	request.ifr_flags = IFF_UP;
	check(!ioctl(fd, SIOCSIFFLAGS, &request), "lo: %s", strerror(errno));
}

void sandbox_enter(unsigned int seconds)
{
	check(!geteuid(), "this test needs root");
	check(!unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare: %s", strerror(errno));
	check(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount: %s", strerror(errno));
	check(!mount("tmpfs", SANDBOX, "tmpfs", 0, "mode=755"), "tmpfs: %s", strerror(errno));
	check(!mkdir(SANDBOX "/bpf", 0755), "mkdir: %s", strerror(errno));
	check(!mount("bpf", SANDBOX "/bpf", "bpf", 0, NULL), "bpffs: %s", strerror(errno));
	loopback_up();
	bound_time(seconds);
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	check(file && fputs(text, file) >= 0 && !fclose(file), "%s: %s", path, strerror(errno));
}

void plane_make(struct plane *plane, const char *configuration)
{
	struct config *config;
	struct error error = { "" };
	bool adopted, upgraded;

	write_text(CONFIG, configuration);
	*plane = (struct plane)PLANE_INIT;
	check(!config_read(CONFIG, &config, &error), "%s", error.line);
	check(!plane_start(plane, PINS, config, &adopted, &upgraded, &error), "%s", error.line);
	check(!adopted, "there were pins");
	config_free(config);
}

void plane_look(struct plane *plane)
{
	struct error error = { "" };

	*plane = (struct plane)PLANE_INIT;
	check(!plane_open(plane, PINS, &error), "%s", error.line);
}

__u32 service_named(const struct plane *plane, const char *name)
{
	struct cs_service service;

	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (!plane_service(plane, id, &service) && !strcmp(service.name, name))
			return id;
	}
	cr_assert_fail("no service \"%s\"", name);
	return 0;
}

void counters_read(const struct plane *plane, struct counters *counters)
{
	int cpus = libbpf_num_possible_cpus();
	__u32 next, count = CS_HOOKS * CS_MAX_SERVICES;
	_cleanup_free_ __u32 *keys = calloc(count, sizeof(*keys));
	_cleanup_free_ __u64 *each = calloc((size_t)count * cpus, sizeof(struct cs_counters));

	memset(counters, 0, sizeof(*counters));
	if (bpf_map_lookup_batch(plane->map[PLANE_COUNTERS], NULL, &next, keys, each, &count, NULL))
		check(errno == ENOENT, "cs_counters: %s", strerror(errno));
	check(count == CS_HOOKS * CS_MAX_SERVICES, "cs_counters has %u lines", count);
	for (__u32 line = 0; line < count; line++) {
		for (int cpu = 0; cpu < cpus; cpu++) {
			for (int i = 0; i < CS_COUNTERS; i++)
				counters->value[keys[line]][i] +=
					each[((size_t)line * cpus + cpu) * CS_COUNTERS + i];
		}
	}
}

void counters_expect(struct counters *counters, __u32 hook, __u32 service, __u32 reason,
		     __u64 times)
{
	__u64 *line = counters->value[CS_COUNTER_KEY(hook, service)];

	line[CS_C_seen] += times;
	line[reason] += times;
}

void counters_add(struct counters *counters, __u32 hook, const struct cs_verdict *verdict,
		  bool dropped)
{
	__u64 *line = counters->value[CS_COUNTER_KEY(hook, verdict->service)];

	counters_expect(counters, hook, verdict->service, dropped ? verdict->drop : verdict->reason,
			1);
	line[CS_C_small_initial] += verdict->small;
	line[CS_C_not_enforced] += verdict->drop && !dropped;
}

void counters_check(const struct counters *expected, const struct counters *got, const char *what)
{
#define CS_COUNTER(name, group, text) #name,
	static const char *const names[] = {
#include "core/counters.def"
	};
#undef CS_COUNTER

	for (int line = 0; line < CS_HOOKS * CS_MAX_SERVICES; line++) {
		for (int i = 0; i < CS_COUNTERS; i++)
			check(got->value[line][i] == expected->value[line][i],
			      "%s: hook %d, service %d: %s is %llu instead of %llu", what,
			      line / CS_MAX_SERVICES, line % CS_MAX_SERVICES, names[i],
			      got->value[line][i], expected->value[line][i]);
	}
}

/* ---- snapshots ----------------------------------------------------------------------------- */

struct snapshot {
	struct cs_worker worker[CS_MAX_WORKERS];
	struct cs_service service[CS_MAX_SERVICES];
	struct cs_ring ring[CS_MAX_SERVICES];
	__u64 socket[CS_MAX_SOCKETS];
	__u32 listener[CS_MAX_LISTENERS];
	struct {
		struct cs_addr addr;
		struct cs_listener listener;
	} addr[CS_MAX_ADDRS];
	unsigned int addrs;
	struct cs_ports ports;
	struct cs_line line[CS_MAX_ADDRS + 1];
	struct cs_usage usage[8][CS_MAX_SERVICE_WORKERS];
	struct cs_bucket table[8][4096];
	struct cs_abi abi;
};

static int snapshot_address(const struct cs_addr *addr, const struct cs_listener *listener,
			    void *arg)
{
	struct snapshot *snapshot = arg;
	unsigned int i = snapshot->addrs++;

	/* The order of a hash map means nothing. */
	while (i && memcmp(addr, &snapshot->addr[i - 1].addr, sizeof(*addr)) < 0) {
		snapshot->addr[i] = snapshot->addr[i - 1];
		i--;
	}
	snapshot->addr[i].addr = *addr;
	snapshot->addr[i].listener = *listener;
	return 0;
}

static void snapshot_service(const struct plane *plane, __u32 id, struct snapshot *to)
{
	_cleanup_fd_ int table_fd = plane_table_fd(plane, id);
	_cleanup_fd_ int usage_fd = plane_usage_fd(plane, id);
	struct cs_usage *usage;
	struct cs_table table;

	check(id < COUNT(to->table), "service %u is above the snapshot", id);
	check(!plane_map_table(table_fd, false, &table) && table.mask < COUNT(to->table[0]),
	      "table %u", id);
	usage = plane_map_usage(usage_fd, false);
	check(usage, "usage %u", id);
	memcpy(to->table[id], table.buckets, (table.mask + 1) * sizeof(struct cs_bucket));
	memcpy(&to->usage[id][1], usage + 1, sizeof(to->usage[id]) - sizeof(*usage));
	plane_unmap_table(&table);
	plane_unmap_usage(usage);
}

struct snapshot *snapshot_take(const struct plane *plane)
{
	struct snapshot *to = calloc(1, sizeof(*to));

	check(to && !plane_workers(plane, to->worker), "cs_workers");
	check(!plane_each_address(plane, snapshot_address, to), "cs_addrs");
	for (__u32 i = 0; i < CS_MAX_SERVICES; i++) {
		check(!bpf_map_lookup_elem(plane->map[PLANE_SERVICES], &i, &to->service[i]) &&
			      !bpf_map_lookup_elem(plane->map[PLANE_RING], &i, &to->ring[i]),
		      "services");
		if (to->service[i].used)
			snapshot_service(plane, i, to);
	}
	for (__u32 i = 0; i < CS_MAX_SOCKETS; i++)
		bpf_map_lookup_elem(plane->map[PLANE_SOCKETS], &i, &to->socket[i]);
	for (__u32 i = 0; i < CS_MAX_LISTENERS; i++)
		bpf_map_lookup_elem(plane->map[PLANE_LISTENERS], &i, &to->listener[i]);
	/* A line that no port points to says nothing. */
	bpf_map_lookup_elem(plane->map[PLANE_PORTS], &(__u32){ 0 }, &to->ports);
	for (__u32 port = 0; port < COUNT(to->ports.line); port++) {
		__u32 line = to->ports.line[port];

		if (line && line < COUNT(to->line))
			bpf_map_lookup_elem(plane->map[PLANE_LINES], &line, &to->line[line]);
	}
	bpf_map_lookup_elem(plane->map[PLANE_ABI], &(__u32){ 0 }, &to->abi);
	return to;
}

void snapshot_free(struct snapshot *snapshot)
{
	free(snapshot);
}

const char *snapshot_differs(const struct snapshot *a, const struct snapshot *b)
{
#define COMPARE(member)                                                                            \
	if (memcmp(&a->member, &b->member, sizeof(a->member)))                                     \
		return "cs_" #member;
	COMPARE(worker)
	COMPARE(service)
	COMPARE(ring)
	COMPARE(socket)
	COMPARE(listener)
	COMPARE(addr)
	COMPARE(ports)
	COMPARE(line)
	COMPARE(usage)
	COMPARE(table)
	COMPARE(abi)
#undef COMPARE
	return NULL;
}

int snapshot_workers(const struct snapshot *snapshot)
{
	int count = 0;

	for (int i = 0; i < CS_MAX_WORKERS; i++)
		count += snapshot->worker[i].state != CS_WORKER_NONE;
	return count;
}

/* ---- packets ------------------------------------------------------------------------------- */

static size_t put_ipv4(const struct frame_spec *spec, __u8 *to, size_t above)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = spec->ihl ? spec->ihl - 1 : 5 + spec->options / 4,
		.ttl = 64,
		.protocol = spec->proto ? spec->proto : IPPROTO_UDP,
		.frag_off = htons(spec->frag_off),
		.tot_len = htons(sizeof(ip) + spec->options + above + spec->ip_longer),
	};

	inet_pton(AF_INET, spec->saddr ? spec->saddr : "10.0.0.9", &ip.saddr);
	inet_pton(AF_INET, spec->daddr ? spec->daddr : "10.0.0.1", &ip.daddr);
	memcpy(to, &ip, sizeof(ip));
	memset(to + sizeof(ip), 1 /* no operation */, spec->options);
	return sizeof(ip) + spec->options;
}

static size_t put_ipv6(const struct frame_spec *spec, __u8 *to, size_t above)
{
	struct ipv6hdr ip = {
		.version = 6,
		.hop_limit = 64,
		.nexthdr = spec->extensions ? spec->first_extension :
			   spec->proto	    ? spec->proto :
					      IPPROTO_UDP,
		.payload_len = htons(above + spec->extensions_len + spec->ip_longer),
	};

	inet_pton(AF_INET6, spec->saddr, &ip.saddr);
	inet_pton(AF_INET6, spec->daddr, &ip.daddr);
	memcpy(to, &ip, sizeof(ip));
	if (spec->extensions_len)
		memcpy(to + sizeof(ip), spec->extensions, spec->extensions_len);
	return sizeof(ip) + spec->extensions_len;
}

static size_t put(__u8 *to, const void *from, size_t len)
{
	memcpy(to, from, len);
	return len;
}

void frame_build(struct frame *frame, const struct frame_spec *spec)
{
	size_t above = sizeof(struct udphdr) + spec->payload_len;
	bool ipv6 = spec->daddr && strchr(spec->daddr, ':');
	struct ethhdr eth = { .h_dest = { 2, [5] = 1 }, .h_source = { 2, [5] = 2 } };
	struct udphdr udp = {
		.source = htons(spec->sport ? spec->sport : 5000),
		.dest = htons(spec->dport ? spec->dport : 4433),
		.len = htons(above + spec->udp_longer),
	};
	__u16 eth_type = spec->eth_type ? spec->eth_type : ipv6 ? ETH_P_IPV6 : ETH_P_IP;
	__be16 outer[2] = { htons(ETH_P_8021AD), htons(spec->outer) };
	__be16 inner[2] = { htons(ETH_P_8021Q), htons(spec->vlan) };
	__be16 type = htons(eth_type);

	memset(frame, 0x5a, sizeof(*frame));
	memcpy(frame->byte, &eth, sizeof(eth));
	frame->ip = offsetof(struct ethhdr, h_proto);
	if (spec->outer)
		frame->ip += put(frame->byte + frame->ip, outer, sizeof(outer));
	if (spec->vlan)
		frame->ip += put(frame->byte + frame->ip, inner, sizeof(inner));
	frame->ip += put(frame->byte + frame->ip, &type, sizeof(type));
	frame->udp = frame->ip + (ipv6 ? put_ipv6 : put_ipv4)(spec, frame->byte + frame->ip, above);
	memcpy(frame->byte + frame->udp, &udp, sizeof(udp));
	frame->payload = frame->udp + sizeof(udp);
	if (spec->payload_len)
		memcpy(frame->byte + frame->payload, spec->payload, spec->payload_len);
	frame->len = frame->payload + spec->payload_len + spec->padding;
	check(frame->len <= sizeof(frame->byte), "a frame of %zu bytes", frame->len);
}

size_t quic_long(__u8 *to, __u8 first, __u32 version, const void *dcid, __u8 len, size_t size)
{
	memset(to, 0x99, size);
	to[0] = first;
	for (int i = 0; i < 4; i++)
		to[1 + i] = version >> (24 - 8 * i);
	to[5] = len;
	memcpy(to + CS_LONG_HEADER_DCID, dcid, len);
	return size;
}

size_t quic_short(__u8 *to, __u8 first, const void *dcid, __u8 len, size_t size)
{
	memset(to, 0x99, size);
	to[0] = first;
	memcpy(to + CS_SHORT_HEADER_DCID, dcid, len);
	return size;
}

/* Returns XDP's verdict, and the length in @len. */
static __u32 run(int program, const void *frame, size_t *len, void *out, size_t size,
		 const char *what)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = *len,
		    .data_out = out, .data_size_out = size, .repeat = 1);

	check(!bpf_prog_test_run_opts(program, &opts), "%s: BPF_PROG_TEST_RUN: %s", what,
	      strerror(errno));
	*len = opts.data_size_out;
	return opts.retval;
}

__u32 run_xdp_action(const struct plane *plane, const void *frame, size_t len, const char *what)
{
	__u8 out[4096];
	size_t got = len;
	__u32 action = run(plane->xdp, frame, &got, out, sizeof(out), what);

	check(got == len && !memcmp(out, frame, len), "%s: the packet was altered", what);
	return action;
}

__u32 run_xdp_bytes(const struct plane *plane, const void *frame, size_t len, void *out,
		    size_t size, const char *what)
{
	size_t got = len;
	__u32 action = run(plane->xdp, frame, &got, out, size, what);

	check(got == len, "%s: %zu bytes", what, got);
	return action;
}

bool run_xdp(const struct plane *plane, const void *frame, size_t len, const char *what)
{
	__u32 action = run_xdp_action(plane, frame, len, what);

	check(action == XDP_PASS || action == XDP_DROP, "%s: XDP verdict %u", what, action);
	return action == XDP_DROP;
}

struct cs_verdict run_explain(const struct plane *plane, const void *frame, size_t len,
			      const char *what)
{
	struct cs_verdict verdict;
	__u8 out[4096];
	size_t got = len;

	check(run(plane->explain, frame, &got, out, sizeof(out), what) == XDP_PASS,
	      "%s: explain does not pass", what);
	check(got == len + sizeof(verdict) && !memcmp(out + sizeof(verdict), frame, len),
	      "%s: the packet behind the verdict was altered", what);
	memcpy(&verdict, out, sizeof(verdict));
	return verdict;
}

/* ---- daemon -------------------------------------------------------------------------------- */

static void daemon_path(char path[256])
{
	const char *given = getenv("CIDSTEERD");
	char self[256] = "";

	/* build/tests/prog/X_test, build/cidsteerd */
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) > 0) {
		for (int i = 0; i < 3 && strrchr(self, '/'); i++)
			*strrchr(self, '/') = '\0';
	}
	snprintf(path, 256, "%.240s%s", given ? given : self, given ? "" : "/cidsteerd");
	check(!access(path, X_OK), "%s: %s", path, strerror(errno));
}

void daemon_start(const char *configuration)
{
	char path[256];
	int log;

	daemon_path(path);
	if (configuration)
		write_text(CONFIG, configuration);
	log = open(DAEMON_LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(log >= 0, "log: %s", strerror(errno));
	daemon_pid = fork();
	if (!daemon_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(log, 2);
		execl(path, path, "--config", CONFIG, "--control", CONTROL, "--bpffs", PINS, NULL);
		_exit(127);
	}
	close(log);
	check(eventually(daemon_logged("ready at") || waitpid(daemon_pid, NULL, WNOHANG)),
	      "the daemon is not ready");
	check(daemon_logged("ready at"), "the daemon does not start: see %s", path);
}

void daemon_end(int signal)
{
	kill(daemon_pid, signal);
	check(waitpid(daemon_pid, NULL, 0) == daemon_pid, "the daemon is no child");
}

int daemon_descriptors(void)
{
	struct dirent *entry;
	char path[64];
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", daemon_pid);
	dir = opendir(path);
	check(dir, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

bool daemon_logged(const char *text)
{
	_cleanup_file_ FILE *file = fopen(DAEMON_LOG, "re");
	char line[1024];

	while (file && fgets(line, sizeof(line), file)) {
		if (strstr(line, text))
			return true;
	}
	return false;
}

static socklen_t to_socket_address(const char *text, struct sockaddr_storage *to)
{
	struct sockaddr_in6 *in6 = (void *)to;
	struct sockaddr_in *in = (void *)to;
	struct cs_addr addr;

	check(!address_parse(text, &addr), "%s", text);
	memset(to, 0, sizeof(*to));
	if (address_is_ipv4(&addr) && text[0] != '[') {
		in->sin_family = AF_INET;
		in->sin_port = addr.port;
		memcpy(&in->sin_addr, addr.ip + 12, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = addr.port;
	memcpy(&in6->sin6_addr, addr.ip, 16);
	return sizeof(*in6);
}

int udp_bind(const char *address)
{
	struct sockaddr_storage addr;
	socklen_t len = to_socket_address(address, &addr);
	int fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	check(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) &&
		      !bind(fd, (struct sockaddr *)&addr, len),
	      "%s: %s", address, strerror(errno));
	return fd;
}

int udp_connect(const char *address)
{
	struct sockaddr_storage addr;
	socklen_t len = to_socket_address(address, &addr);
	int fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	check(fd >= 0 && !connect(fd, (struct sockaddr *)&addr, len), "%s: %s", address,
	      strerror(errno));
	return fd;
}

bool udp_take(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	return poll(&ready, 1, 2000) == 1 && recv(fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) >= 0;
}

pid_t spawn_as(uid_t uid, int (*act)(void *), void *arg)
{
	pid_t pid = fork();

	check(pid >= 0, "fork: %s", strerror(errno));
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (uid && (setresgid(uid, uid, uid) || setresuid(uid, uid, uid)))
		_exit(125);
	_exit(act(arg));
}

int spawn_result(pid_t pid)
{
	int status;

	check(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- the control socket, by hand ----------------------------------------------------------- */

int control_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = CONTROL };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	close(fd);
	return -1;
}

int control_send(int fd, const void *message, size_t bytes, const int *fds, unsigned int count)
{
	struct iovec iov = { (void *)message, bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))]; /* SCM_MAX_FD */
	} control = {};
	struct cmsghdr *cmsg;

	if (count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int control_receive(int fd, void *message, size_t bytes)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	int received;

	if (poll(&ready, 1, 5000) != 1)
		return -ETIMEDOUT;
	/* Without room for them, descriptors that come are closed by the kernel. */
	received = recv(fd, message, bytes, 0);
	return received < 0 ? -errno : received;
}

void message_head(struct cs_msg *head, __u16 type, size_t bytes)
{
	*head = (struct cs_msg){ .magic = CS_PROTOCOL_MAGIC,
				 .version = CS_PROTOCOL_VERSION,
				 .type = type,
				 .bytes = bytes,
				 .serial = 7 };
}

void message_register(struct cs_msg_register *message, const char *service, __u32 sockets)
{
	memset(message, 0, sizeof(*message));
	message_head(&message->head, CS_MSG_REGISTER, sizeof(*message));
	snprintf(message->service, sizeof(message->service), "%s", service);
	message->sockets = sockets;
}
