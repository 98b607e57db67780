// SPDX-License-Identifier: GPL-2.0-only
/* Socket addresses as text. */
#include "common/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "fe80::1%eth0": inet_pton() does not know zones. */
static int parse_in6(struct sockaddr_in6 *in6, const char *text)
{
	char host[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
	char *zone;

	if (strlen(text) >= sizeof(host))
		return -1;
	strcpy(host, text);
	zone = strchr(host, '%');
	if (zone) {
		*zone++ = '\0';
		in6->sin6_scope_id = if_nametoindex(zone);
		if (in6->sin6_scope_id == 0)
			return -1;
	}
	return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? 0 : -1;
}

int addr_parse_host(union addr *addr, const char *text, in_port_t port)
{
	memset(addr, 0, sizeof(*addr));
	if (inet_pton(AF_INET, text, &addr->in.sin_addr) == 1) {
		addr->in.sin_family = AF_INET;
		addr->in.sin_port = htons(port);
		return 0;
	}
	if (parse_in6(&addr->in6, text) < 0)
		return -1;
	addr->in6.sin6_family = AF_INET6;
	addr->in6.sin6_port = htons(port);
	return 0;
}

int addr_parse(union addr *addr, const char *text)
{
	const char *colon = strrchr(text, ':');
	char host[ADDR_TEXT];
	unsigned long port;
	size_t len;
	char *end;

	if (!colon || colon[1] < '0' || colon[1] > '9')
		return -1;
	port = strtoul(colon + 1, &end, 10);
	len = (size_t)(colon - text);
	if (*end || port == 0 || port > 65535 || len >= sizeof(host))
		return -1;
	memcpy(host, text, len);
	host[len] = '\0';
	if (strchr(host, ':')) { /* IPv6 stands in brackets */
		if (host[0] != '[' || host[len - 1] != ']')
			return -1;
		memmove(host, host + 1, len - 2);
		host[len - 2] = '\0';
	}
	return addr_parse_host(addr, host, (in_port_t)port);
}

socklen_t addr_len(const union addr *addr)
{
	return addr->sa.sa_family == AF_INET ? sizeof(addr->in) : sizeof(addr->in6);
}

in_port_t addr_port(const union addr *addr)
{
	return ntohs(addr->sa.sa_family == AF_INET ? addr->in.sin_port : addr->in6.sin6_port);
}

bool addr_is_wildcard(const union addr *addr)
{
	if (addr->sa.sa_family == AF_INET)
		return addr->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr);
}

/* 16 bytes for either family. */
static struct in6_addr as_in6(const union addr *addr)
{
	struct in6_addr in6 = { 0 };

	if (addr->sa.sa_family == AF_INET6)
		return addr->in6.sin6_addr;
	in6.s6_addr[10] = 0xff;
	in6.s6_addr[11] = 0xff;
	memcpy(in6.s6_addr + 12, &addr->in.sin_addr, 4);
	return in6;
}

bool addr_equal(const union addr *a, const union addr *b)
{
	struct in6_addr a6 = as_in6(a), b6 = as_in6(b);

	return addr_port(a) == addr_port(b) && IN6_ARE_ADDR_EQUAL(&a6, &b6);
}

void addr_map(union addr *addr)
{
	struct sockaddr_in6 mapped = {
		.sin6_family = AF_INET6,
		.sin6_port = addr->in.sin_port,
		.sin6_addr = as_in6(addr),
	};

	if (addr->sa.sa_family == AF_INET)
		addr->in6 = mapped;
}

char *addr_format(const union addr *addr, char text[ADDR_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (addr->sa.sa_family == AF_INET)
		inet_ntop(AF_INET, &addr->in.sin_addr, host, sizeof(host));
	else
		inet_ntop(AF_INET6, &addr->in6.sin6_addr, host, sizeof(host));
	snprintf(text, ADDR_TEXT, addr->sa.sa_family == AF_INET ? "%s:%u" : "[%s]:%u", host,
		 addr_port(addr));
	return text;
}
