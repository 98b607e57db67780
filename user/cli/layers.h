/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is written in a frame's headers up to UDP, for people.  Only facts: what becomes of the
 * packet, the loaded program says.
 */
#ifndef CS_LAYERS_H
#define CS_LAYERS_H

#include "cli/frame.h"

#define LAYERS_VLANS 8
#define LAYERS_EXTENSIONS 8

enum fragment {
	FRAGMENT_NONE,
	FRAGMENT_ATOMIC, /* an IPv6 fragment header, and all is in it (RFC 6946) */
	FRAGMENT_FIRST,
	FRAGMENT_LATER,
};

struct layers {
	unsigned int vlans;	  /* tags; the first few are kept */
	__u16 vlan[LAYERS_VLANS]; /* ids, outermost first */
	__u16 ether_type;	  /* behind the tags */
	int ip;			  /* 4, 6; 0: another EtherType, or no header */
	int version;		  /* as the IP header says */
	__u8 header_words;	  /* of 4 bytes, as the IPv4 header says */
	unsigned int extensions;  /* IPv6 extension headers; the first few are kept */
	__u8 extension[LAYERS_EXTENSIONS];
	enum fragment fragment;
	unsigned int fragment_at; /* bytes */
	size_t ip_at;
	size_t ip_len; /* of header and payload, as IP says */
	int protocol;  /* behind the extension headers; -1: not reached */
	bool udp;      /* there is a UDP header: */
	__u16 udp_len; /* as it says */
	size_t udp_at; /* where it is in the frame */
	struct cs_addr from, to;
	const char *ended; /* the bytes that are there end in this; NULL: they do not */
};

void layers_read(const struct frame *frame, struct layers *layers);

/* "hop-by-hop options"; "TCP"; NULL: it has no name here. */
const char *layers_extension(__u8 number);
const char *layers_protocol(int number);

#endif
