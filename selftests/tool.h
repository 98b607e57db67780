/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tools of the selftests share: addresses and connection IDs from a command line. */
#ifndef CS_SELFTEST_TOOL_H
#define CS_SELFTEST_TOOL_H

#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
	socklen_t len;
};

/* "192.0.2.1:443", "[::]:443"; without ":PORT" the port is 0. */
static inline void address_read(const char *text, struct address *address)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = SOCK_DGRAM };
	struct addrinfo *found;
	char host[64], *from = host, *port;

	snprintf(host, sizeof(host), "%s", text);
	port = strrchr(host, ':');
	if (port && port != strchr(host, ':') && port[-1] != ']')
		port = NULL; /* a bare IPv6 address */
	if (port)
		*port++ = '\0';
	if (*from == '[') {
		from++;
		from[strcspn(from, "]")] = '\0';
	}
	if (getaddrinfo(from, port ? port : "0", &hints, &found))
		errx(2, "%s: not an address", text);
	memcpy(&address->any, found->ai_addr, found->ai_addrlen);
	address->len = found->ai_addrlen;
	freeaddrinfo(found);
}

/* Returns the number of bytes, or -1. */
static inline int hex_read(const char *text, uint8_t *bytes, size_t size)
{
	size_t len = 0;

	for (; isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]); text += 2) {
		char byte[3] = { text[0], text[1], 0 };

		if (len == size)
			return -1;
		bytes[len++] = strtoul(byte, NULL, 16);
	}
	return *text && !isspace((unsigned char)*text) ? -1 : (int)len;
}

static inline void hex_print(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		printf("%02x", bytes[i]);
}

#endif
