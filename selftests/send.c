// SPDX-License-Identifier: GPL-2.0-only
/*
 * send: datagrams that look like QUIC, from many source ports.
 *
 *   send --to ADDR:PORT [--from ADDR[:PORT]]... [--ports N] [--count N] [--size BYTES]
 *        [--form FORM] [--gso SEGMENTS] [--alternate] [--zerocopy] [--strict]
 *        [--print] [CID...]
 *
 * For each connection ID --count datagrams, each from the next of the sockets: --ports for each
 * --from.  CID - reads more of them from standard input.  Prints how many were sent; --print
 * sends nothing and prints each as the hex digits of the IP packet that it would be.  With --strict
 * an ICMP error that came for an earlier datagram ends it.
 *
 * --gso sends trains of so many segments (UDP_SEGMENT), alike but with --alternate: then the
 * segments, or the datagrams, have the next of the connection IDs each; --count is that of trains.
 *
 * FORM: short (default), initial, 0rtt, handshake, retry, initial-v2, 0rtt-v2, handshake-v2,
 * unknown (a version nobody knows), short-fixed0 (RFC 9287), cut (a header that says more than
 * there is), empty.
 */
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <unistd.h>

#include "tool.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define MAX_SOCKETS 4096
#define MAX_FROM 64
#define MAX_DATAGRAM 65507

static const struct form {
	const char *name;
	uint8_t first;
	uint32_t version; /* 0: a short header */
} forms[] = {
	{ "short", 0x40, 0 },
	{ "short-fixed0", 0x00, 0 },
	{ "initial", 0xc0, 0x00000001 },
	{ "0rtt", 0xd0, 0x00000001 },
	{ "handshake", 0xe0, 0x00000001 },
	{ "retry", 0xf0, 0x00000001 },
	{ "initial-v2", 0xd0, 0x6b3343cf },
	{ "0rtt-v2", 0xe0, 0x6b3343cf },
	{ "handshake-v2", 0xf0, 0x6b3343cf },
	{ "retry-v2", 0xc0, 0x6b3343cf },
	{ "unknown", 0x80, 0xfaceb00c },
	{ "cut", 0xe0, 0x00000001 },
	{ "empty", 0, 0 },
};

static struct {
	struct address to, from[MAX_FROM];
	int froms, ports, count, size, gso;
	const struct form *form;
	bool zerocopy, strict, alternate, print;
} options = { .ports = 1, .count = 1, .size = 100, .form = forms };

static struct {
	int fd;
	struct address from; /* as bound, of connected sockets */
} sockets[MAX_SOCKETS];
static int socket_count;
static unsigned long sent;

static void add_socket(const struct address *from)
{
	int fd = socket(options.to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;
	struct address *bound;

	if (fd < 0)
		err(1, "socket");
	if (socket_count == MAX_SOCKETS)
		errx(1, "more than %d sockets", MAX_SOCKETS);
	bound = &sockets[socket_count].from;
	if (options.zerocopy && setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		err(1, "SO_ZEROCOPY");
	if (from && bind(fd, &from->any, from->len))
		err(1, "bind");
	if (connect(fd, &options.to.any, options.to.len))
		err(1, "connect");
	bound->len = sizeof(bound->in6);
	getsockname(fd, &bound->any, &bound->len);
	sockets[socket_count++].fd = fd;
}

static void make_sockets(void)
{
	for (int i = 0; i < options.ports; i++) {
		for (int f = 0; f < options.froms; f++)
			add_socket(&options.from[f]);
		if (!options.froms)
			add_socket(NULL);
	}
}

/* Returns the bytes of the datagram; what is behind the header is its running number. */
static size_t make_datagram(uint8_t *byte, const uint8_t *cid, size_t cid_len)
{
	const struct form *form = options.form;
	size_t len = 0, size = options.size;

	memset(byte, 0, size);
	if (!strcmp(form->name, "empty"))
		return 0;
	byte[len++] = form->first;
	if (form->version) {
		for (int shift = 24; shift >= 0; shift -= 8)
			byte[len++] = form->version >> shift;
		byte[len++] = cid_len;
	}
	memcpy(byte + len, cid, cid_len);
	len += cid_len;
	if (!strcmp(form->name, "cut"))
		return len - 1;
	if (len + sizeof(sent) <= size)
		memcpy(byte + size - sizeof(sent), &sent, sizeof(sent));
	return size > len ? size : len;
}

static void send_datagram(int fd, const uint8_t *byte, size_t len, size_t segment)
{
	struct iovec iov = { (void *)byte, len };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control = {};
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	uint16_t bytes = segment;

	if (segment) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = IPPROTO_UDP;
		cmsg->cmsg_type = UDP_SEGMENT;
		cmsg->cmsg_len = CMSG_LEN(sizeof(bytes));
		memcpy(CMSG_DATA(cmsg), &bytes, sizeof(bytes));
	}
	/* A port unreachable that an earlier datagram caused is not this one's. */
	while (sendmsg(fd, &msg, options.zerocopy ? MSG_ZEROCOPY : 0) < 0) {
		if (options.strict || (errno != ECONNREFUSED && errno != ENOBUFS && errno != EINTR))
			err(1, "sendmsg");
	}
}

/* As it would be on the wire, without checksums: nobody who reads this looks at them. */
static void print_packet(const struct address *from, const uint8_t *byte, size_t len)
{
	struct udphdr udp = { .len = htons(len + sizeof(udp)) };

	if (from->any.sa_family == AF_INET) {
		struct iphdr ip = { .version = 4,
				    .ihl = 5,
				    .ttl = 64,
				    .protocol = IPPROTO_UDP,
				    .tot_len = htons(sizeof(ip) + sizeof(udp) + len),
				    .saddr = from->in.sin_addr.s_addr,
				    .daddr = options.to.in.sin_addr.s_addr };

		hex_print((void *)&ip, sizeof(ip));
	} else {
		struct ip6_hdr ip = { .ip6_src = from->in6.sin6_addr,
				      .ip6_dst = options.to.in6.sin6_addr };

		ip.ip6_vfc = 0x60;
		ip.ip6_plen = udp.len;
		ip.ip6_nxt = IPPROTO_UDP;
		ip.ip6_hlim = 64;
		hex_print((void *)&ip, sizeof(ip));
	}
	udp.source = from->in.sin_port; /* at the same place in both families */
	udp.dest = options.to.in.sin_port;
	hex_print((void *)&udp, sizeof(udp));
	hex_print(byte, len);
	puts("");
}

static void send_to_cid(const uint8_t *cid, size_t cid_len)
{
	static uint8_t byte[MAX_DATAGRAM + 64];
	int segments = options.gso ? options.gso : 1;

	for (int i = 0; i < options.count; i++) {
		int at = sent / segments % socket_count;
		size_t len = make_datagram(byte, cid, cid_len);

		if (options.print)
			print_packet(&sockets[at].from, byte, len);
		for (int s = 1; s < segments; s++)
			memcpy(byte + s * len, byte, len);
		if (!options.print)
			send_datagram(sockets[at].fd, byte, len * segments, options.gso ? len : 0);
		sent += segments;
	}
}

static int read_cid(const char *hex, uint8_t cid[255])
{
	int len = hex_read(hex, cid, 255);

	if (len < 0)
		errx(2, "%s: not a connection ID", hex);
	return len;
}

static void send_to_hex(const char *hex)
{
	uint8_t cid[255];

	send_to_cid(cid, read_cid(hex, cid));
}

static void send_alternating(char **hex, int cids)
{
	static uint8_t byte[MAX_DATAGRAM + 64];
	int segments = options.gso ? options.gso : 1;
	uint8_t cid[255];
	unsigned long next = 0;

	for (int i = 0; i < options.count; i++) {
		size_t len = 0;

		for (int s = 0; s < segments; s++) {
			int cid_len = read_cid(hex[next++ % cids], cid);

			len = make_datagram(byte + s * options.size, cid, cid_len);
			if (len != (size_t)options.size)
				errx(2, "a train's segments have one size");
		}
		send_datagram(sockets[i % socket_count].fd, byte, len * segments,
			      options.gso ? len : 0);
		sent += segments;
	}
}

static const struct form *find_form(const char *name)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (!strcmp(forms[i].name, name))
			return &forms[i];
	}
	errx(2, "%s: not a form", name);
}

static const char *value(char ***argv)
{
	if (!*++*argv)
		errx(2, "a value is missing");
	return **argv;
}

static char **read_options(char **argv)
{
	while (*++argv && !strncmp(*argv, "--", 2)) {
		if (!strcmp(*argv, "--to"))
			address_read(value(&argv), &options.to);
		else if (!strcmp(*argv, "--from") && options.froms < MAX_FROM)
			address_read(value(&argv), &options.from[options.froms++]);
		else if (!strcmp(*argv, "--ports"))
			options.ports = atoi(value(&argv));
		else if (!strcmp(*argv, "--count"))
			options.count = atoi(value(&argv));
		else if (!strcmp(*argv, "--size"))
			options.size = atoi(value(&argv));
		else if (!strcmp(*argv, "--form"))
			options.form = find_form(value(&argv));
		else if (!strcmp(*argv, "--gso"))
			options.gso = atoi(value(&argv));
		else if (!strcmp(*argv, "--zerocopy"))
			options.zerocopy = true;
		else if (!strcmp(*argv, "--alternate"))
			options.alternate = true;
		else if (!strcmp(*argv, "--strict"))
			options.strict = true;
		else if (!strcmp(*argv, "--print"))
			options.print = true;
		else
			errx(2, "%s: not an option", *argv);
	}
	return argv;
}

int main(int argc, char **argv)
{
	char line[64];

	(void)argc;
	argv = read_options(argv);
	if (!options.to.len)
		errx(2, "--to is missing");
	if (options.size > MAX_DATAGRAM ||
	    (size_t)options.size * (options.gso + !options.gso) > MAX_DATAGRAM)
		errx(2, "too long");
	make_sockets();
	if (!*argv)
		send_to_cid(NULL, 0);
	if (options.alternate && *argv) {
		int cids = 0;

		while (argv[cids])
			cids++;
		send_alternating(argv, cids);
		argv += cids;
	}
	for (; *argv; argv++) {
		if (strcmp(*argv, "-")) {
			send_to_hex(*argv);
			continue;
		}
		while (scanf("%63s", line) == 1)
			send_to_hex(line);
	}
	if (!options.print)
		printf("%lu\n", sent);
	return 0;
}
