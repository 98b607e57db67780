// SPDX-License-Identifier: GPL-2.0-only
/*
 * prompt: is a route there for the kernel when cidsteer_issue() returns, and gone when
 * cidsteer_retire() returns?
 *
 *   prompt --service NAME --listen ADDR:PORT --explain PIN [--control PATH] [--count N]
 *
 * As a worker it issues N random connection IDs, one after the other.  Right behind each issue
 * and each retire it has the kernel route a packet with a short header and that ID, by
 * BPF_PROG_TEST_RUN of cs_explain, over the live maps.  ADDR is IPv4.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cidsteer/cidsteer.h"
#include "core/abi.h"
#include "tool.h"

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[64];
} __attribute__((packed));

static struct {
	const char *service, *control, *explain;
	struct address listen;
	unsigned long count;
} options = { .count = 100000 };

static struct cidsteer *handle;
static struct frame frame;
static int program;
static unsigned long errors, missed, stale;

static int bpf_syscall(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static void open_program(void)
{
	union bpf_attr attr = { .pathname = (uintptr_t)options.explain };

	program = bpf_syscall(BPF_OBJ_GET, &attr);
	if (program < 0)
		err(1, "%s", options.explain);
}

static void open_worker(void)
{
	struct cidsteer_options how = CIDSTEER_OPTIONS_INIT;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1, error;
	char line[512];

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(fd, &options.listen.any, options.listen.len))
		err(1, "socket");
	how.control = options.control;
	how.error = line;
	how.error_size = sizeof(line);
	error = cidsteer_open(&handle, options.service, &fd, 1, &how);
	if (error)
		errx(1, "%s", line);
}

/* From one client; checksums are not looked at. */
static void make_frame(void)
{
	size_t bytes = sizeof(frame) - sizeof(frame.eth);

	frame.eth.h_proto = htons(ETH_P_IP);
	frame.ip.version = 4;
	frame.ip.ihl = 5;
	frame.ip.ttl = 64;
	frame.ip.protocol = IPPROTO_UDP;
	frame.ip.tot_len = htons(bytes);
	frame.ip.saddr = htonl(0x0a090102);
	frame.ip.daddr = options.listen.in.sin_addr.s_addr;
	frame.udp.source = htons(40000);
	frame.udp.dest = options.listen.in.sin_port;
	frame.udp.len = htons(bytes - sizeof(frame.ip));
	frame.payload[0] = 0x40;
}

static struct cs_verdict ask_kernel(const uint8_t *cid, size_t len)
{
	uint8_t out[sizeof(struct cs_verdict) + sizeof(frame)];
	union bpf_attr attr = {};
	struct cs_verdict verdict;

	memcpy(frame.payload + 1, cid, len);
	attr.test.prog_fd = program;
	attr.test.data_in = (uintptr_t)&frame;
	attr.test.data_size_in = sizeof(frame);
	attr.test.data_out = (uintptr_t)out;
	attr.test.data_size_out = sizeof(out);
	attr.test.repeat = 1;
	if (bpf_syscall(BPF_PROG_TEST_RUN, &attr))
		err(1, "BPF_PROG_TEST_RUN");
	memcpy(&verdict, out, sizeof(verdict));
	if (attr.test.data_size_out != sizeof(out) || !verdict.service || verdict.dcid_len != len ||
	    memcmp(verdict.dcid, cid, len))
		errx(1, "cs_explain has not read this packet");
	return verdict;
}

static void try_one(void)
{
	size_t len = cidsteer_cid_length(handle);
	uint8_t cid[CIDSTEER_CID_MAX];
	struct cs_verdict verdict;

	if (getrandom(cid, len, 0) != (ssize_t)len)
		err(1, "getrandom");
	errors += cidsteer_issue(handle, cid, len) != 0;
	verdict = ask_kernel(cid, len);
	missed += verdict.reason != CS_C_by_table || verdict.worker != cidsteer_worker_id(handle);
	errors += cidsteer_retire(handle, cid, len) != 0;
	verdict = ask_kernel(cid, len);
	stale += verdict.reason == CS_C_by_table || verdict.routed;
}

static const char *value(char ***argv)
{
	if (!*++*argv)
		errx(2, "a value is missing");
	return **argv;
}

static void read_options(char **argv)
{
	while (*++argv) {
		if (!strcmp(*argv, "--service"))
			options.service = value(&argv);
		else if (!strcmp(*argv, "--control"))
			options.control = value(&argv);
		else if (!strcmp(*argv, "--explain"))
			options.explain = value(&argv);
		else if (!strcmp(*argv, "--listen"))
			address_read(value(&argv), &options.listen);
		else if (!strcmp(*argv, "--count"))
			options.count = strtoul(value(&argv), NULL, 10);
		else
			errx(2, "%s: not an option", *argv);
	}
	if (!options.service || !options.explain || options.listen.any.sa_family != AF_INET)
		errx(2, "--service, --explain and --listen with an IPv4 address");
}

int main(int argc, char **argv)
{
	(void)argc;
	read_options(argv);
	open_program();
	open_worker();
	make_frame();
	for (unsigned long i = 0; i < options.count; i++)
		try_one();
	printf("looked up %lu, errors %lu, missed %lu, stale %lu\n", 2 * options.count, errors,
	       missed, stale);
	cidsteer_close(handle);
	return errors || missed || stale;
}
