// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cli/capture.h"
#include "cli/output.h"
#include "common/cleanup.h"

/* libpcap keeps each interface that a pcapng file names, and such a file may name millions. */
#define CAPTURE_MEMORY (32ul << 20)

/* Link types (https://www.tcpdump.org/linktypes.html), and where the EtherType is in them. */
static const struct link {
	int type;
	const char *name;
	unsigned int header; /* bytes in front of the IP packet, or of the Ethernet frame */
	int ether_type;	     /* offset; or one of the following */
} links[] = {
#define IN_THE_FRAME (-1)      /* it is an Ethernet frame */
#define BY_IP_VERSION (-2)     /* nothing says it but the packet itself */
#define BY_ADDRESS_FAMILY (-3) /* of the machine that captured, in its byte order */
#define ALWAYS_IPV4 (-4)
#define ALWAYS_IPV6 (-5)
	{ DLT_EN10MB, "Ethernet", 0, IN_THE_FRAME },
	{ DLT_RAW, "raw IP", 0, BY_IP_VERSION },
	{ DLT_IPV4, "raw IPv4", 0, ALWAYS_IPV4 },
	{ DLT_IPV6, "raw IPv6", 0, ALWAYS_IPV6 },
	{ DLT_LINUX_SLL, "Linux cooked", 16, 14 },
	{ DLT_LINUX_SLL2, "Linux cooked v2", 20, 0 },
	{ DLT_NULL, "BSD loopback", 4, BY_ADDRESS_FAMILY },
	{ DLT_LOOP, "OpenBSD loopback", 4, BY_ADDRESS_FAMILY },
};

static void close_pcap(pcap_t **pcap)
{
	if (*pcap)
		pcap_close(*pcap);
}

static __u16 type_of_version(const __u8 *packet, size_t len)
{
	int version = len ? packet[0] >> 4 : 0;

	return version == 4 ? ETH_P_IP : version == 6 ? ETH_P_IPV6 : FRAME_NO_IP;
}

/* AF_INET is 2 everywhere; AF_INET6 is 10, 23, 24, 28 or 30, by the system. */
static __u16 type_of_family(const __u8 *header)
{
	if (header[1] || header[2] || (header[0] && header[3]))
		return FRAME_NO_IP;
	switch (header[0] | header[3]) {
	case 2:
		return ETH_P_IP;
	case 10:
	case 23:
	case 24:
	case 28:
	case 30:
		return ETH_P_IPV6;
	}
	return FRAME_NO_IP;
}

static __u16 ether_type(const struct link *link, const __u8 *header, size_t len)
{
	__u16 type;

	switch (link->ether_type) {
	case IN_THE_FRAME:
		return 0;
	case BY_IP_VERSION:
		return type_of_version(header, len);
	case BY_ADDRESS_FAMILY:
		return type_of_family(header);
	case ALWAYS_IPV4:
		return ETH_P_IP;
	case ALWAYS_IPV6:
		return ETH_P_IPV6;
	}
	type = header[link->ether_type] << 8 | header[link->ether_type + 1];
	return type ? type : FRAME_NO_IP;
}

static int take_packet(const struct link *link, const struct pcap_pkthdr *header, const __u8 *bytes,
		       struct frame *frame, struct error *error)
{
	size_t captured = header->caplen, length = header->len;
	size_t least = link->ether_type == IN_THE_FRAME ? FRAME_MIN : link->header;

	length = length > captured ? length : captured;
	if (captured < least)
		return error_set(error, -ENODATA,
				 "%zu of %zu bytes are there, and the link header (%s) has %zu",
				 captured, length, link->name, least);
	frame_put(frame, ether_type(link, bytes, captured), bytes + link->header,
		  captured - link->header, length - link->header);
	frame->link = link->name;
	frame->captured = captured;
	frame->length = length;
	return 0;
}

static const struct link *find_link(pcap_t *pcap, const char *path, struct error *error)
{
	int type = pcap_datalink(pcap);
	const char *name = pcap_datalink_val_to_name(type);

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (links[i].type == type)
			return &links[i];
	}
	error_set(error, -EPROTO,
		  "%s: packets of link type %s (%d) are not read: capture on an Ethernet interface "
		  "or on \"any\", or give the IP packet to --hex",
		  path, name ? name : "without a name", type);
	return NULL;
}

static pcap_t *open_capture(const char *path, struct error *error)
{
	char reason[PCAP_ERRBUF_SIZE] = "";
	/* Without O_NONBLOCK the open of a FIFO waits for somebody who writes. */
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_file_ FILE *file = NULL;
	struct stat status;
	pcap_t *pcap;

	if (fd < 0 || fstat(fd, &status)) {
		error_set(error, -errno, "%s: %s", path, strerror(errno));
		return NULL;
	}
	/* What never ends would never be read to its end. */
	if (!S_ISREG(status.st_mode)) {
		error_set(error, -EINVAL, "%s: not a regular file", path);
		return NULL;
	}
	file = fdopen(fd, "r");
	if (!file) {
		error_set(error, -errno, "%s: %s", path, strerror(errno));
		return NULL;
	}
	take_fd(&fd);
	pcap = pcap_fopen_offline(file, reason);
	if (!pcap) {
		error_set(error, -EINVAL, "%s: no pcap or pcapng file: %s", path, reason);
		return NULL;
	}
	file = NULL; /* pcap_close() closes it */
	return pcap;
}

static int find_packet(pcap_t *pcap, const char *path, unsigned long number,
		       struct pcap_pkthdr **header, const __u8 **bytes, struct error *error)
{
	unsigned long seen = 0;
	int result = 1;

	while (seen < number && result == 1) {
		result = pcap_next_ex(pcap, header, bytes);
		seen += result == 1;
	}
	if (result == 1)
		return 0;
	if (result != PCAP_ERROR_BREAK)
		return error_set(error, -EINVAL, "%s: packet %lu: %s", path, seen + 1,
				 pcap_geterr(pcap));
	return error_set(error, -ENOENT, "%s: there is no packet %lu: the file has %s %s", path,
			 number, seen ? NUMBER(seen) : "no", seen == 1 ? "packet" : "packets");
}

static int read_packet(const char *path, unsigned long number, struct frame *frame,
		       struct error *error)
{
	__attribute__((cleanup(close_pcap))) pcap_t *pcap = open_capture(path, error);
	struct pcap_pkthdr *header = NULL;
	const struct link *link;
	struct error why;
	const __u8 *bytes = NULL;
	int err;

	if (!pcap)
		return -EINVAL;
	link = find_link(pcap, path, error);
	if (!link)
		return -EPROTO;
	err = find_packet(pcap, path, number, &header, &bytes, error);
	if (err || !header)
		return err ? err : -ENOENT;
	err = take_packet(link, header, bytes, frame, &why);
	if (err)
		return error_set(error, err, "%s: packet %lu: %s", path, number, why.line);
	return 0;
}

int capture_read(const char *path, unsigned long number, struct frame *frame, struct error *error)
{
	struct rlimit before, bounded;
	int err;

	if (getrlimit(RLIMIT_DATA, &before))
		return error_set(error, -errno, "RLIMIT_DATA: %s", strerror(errno));
	bounded = before;
	if (bounded.rlim_cur > CAPTURE_MEMORY)
		bounded.rlim_cur = CAPTURE_MEMORY;
	if (setrlimit(RLIMIT_DATA, &bounded))
		return error_set(error, -errno, "RLIMIT_DATA: %s", strerror(errno));
	err = read_packet(path, number, frame, error);
	setrlimit(RLIMIT_DATA, &before);
	return err;
}
