// SPDX-License-Identifier: GPL-2.0-only
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"

static const __u8 ipv4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static int port_parse(const char *text, __be16 *port)
{
	unsigned long value;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	value = strtoul(text, &end, 10);
	if (*end || !value || value > 65535)
		return -EINVAL;
	*port = htons(value);
	return 0;
}

int address_parse(const char *text, struct cs_addr *addr)
{
	struct cs_addr parsed = {};
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t len;

	if (!colon || port_parse(colon + 1, &parsed.port))
		return -EINVAL;
	len = colon - text;
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, parsed.ip) != 1)
			return -EINVAL;
	} else {
		memcpy(parsed.ip, ipv4_prefix, sizeof(ipv4_prefix));
		if (inet_pton(AF_INET, host, parsed.ip + 12) != 1)
			return -EINVAL;
	}
	*addr = parsed;
	return 0;
}

bool address_is_ipv4(const struct cs_addr *addr)
{
	return !memcmp(addr->ip, ipv4_prefix, sizeof(ipv4_prefix));
}

bool address_is_wildcard(const struct cs_addr *addr)
{
	static const __u8 zero[16];

	if (address_is_ipv4(addr))
		return !memcmp(addr->ip + 12, zero, 4);
	return !memcmp(addr->ip, zero, 16);
}

void address_print(const struct cs_addr *addr, char text[ADDRESS_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (address_is_ipv4(addr)) {
		inet_ntop(AF_INET, addr->ip + 12, host, sizeof(host));
		snprintf(text, ADDRESS_TEXT, "%s:%u", host, ntohs(addr->port));
	} else {
		inet_ntop(AF_INET6, addr->ip, host, sizeof(host));
		snprintf(text, ADDRESS_TEXT, "[%s]:%u", host, ntohs(addr->port));
	}
}

int address_from_socket(const struct sockaddr *from, struct cs_addr *addr)
{
	struct cs_addr made = {};

	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)from;

		memcpy(made.ip, ipv4_prefix, sizeof(ipv4_prefix));
		memcpy(made.ip + 12, &in->sin_addr, 4);
		made.port = in->sin_port;
	} else if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)from;

		memcpy(made.ip, &in6->sin6_addr, 16);
		made.port = in6->sin6_port;
	} else {
		return -EAFNOSUPPORT;
	}
	*addr = made;
	return 0;
}
