/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses of listeners: text, socket address, key of cs_addrs. */
#ifndef CS_ADDRESS_H
#define CS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "core/abi.h"

/* "[2001:db8::1]:65535" and "192.0.2.1:65535", with the final NUL. */
#define ADDRESS_TEXT 64

/* Reads "A.B.C.D:PORT" or "[V6]:PORT".  Returns 0 or -EINVAL; @addr is written on success. */
int address_parse(const char *text, struct cs_addr *addr);

/* Writes the text that address_parse() reads. */
void address_print(const struct cs_addr *addr, char text[ADDRESS_TEXT]);

/* Key of an AF_INET or AF_INET6 socket address, netns 0.  Returns 0 or -EAFNOSUPPORT. */
int address_from_socket(const struct sockaddr *from, struct cs_addr *addr);

bool address_is_ipv4(const struct cs_addr *addr);

/* :: or 0.0.0.0 */
bool address_is_wildcard(const struct cs_addr *addr);

#endif
