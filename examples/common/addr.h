/* SPDX-License-Identifier: GPL-2.0-only */
/* Socket addresses: "192.0.2.1:443", "[2001:db8::1]:443" and back. */
#ifndef EXAMPLES_COMMON_ADDR_H
#define EXAMPLES_COMMON_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

union addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

#define ADDR_TEXT 64

/* Each returns 0, or -1 if @text is no numeric address. */
int addr_parse(union addr *addr, const char *text); /* with a port */
int addr_parse_host(union addr *addr, const char *text, in_port_t port);

socklen_t addr_len(const union addr *addr);
in_port_t addr_port(const union addr *addr);
bool addr_is_wildcard(const union addr *addr);

/* The same address and port; an IPv4-mapped IPv6 address is its IPv4 address. */
bool addr_equal(const union addr *a, const union addr *b);

/* An IPv4 address as an IPv6 socket that takes both has it (RFC 4291, section 2.5.5.2). */
void addr_map(union addr *addr);

/* Returns @text. */
char *addr_format(const union addr *addr, char text[ADDR_TEXT]);

#endif
