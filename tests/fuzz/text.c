// SPDX-License-Identifier: GPL-2.0-only
/*
 * What people type: frames and connection IDs in hex, addresses.
 *
 * An input: which of them, the text.
 */
#include <ctype.h>
#include <errno.h>

#include "cli/frame.h"
#include "cli/layers.h"
#include "cli/output.h"
#include "common/address.h"
#include "core/quic.h"
#include "fuzz.h"

/* A frame is the bytes that were typed, with an Ethernet header in front of an IP packet. */
static void try_frame(const char *text)
{
	static __u8 typed[FRAME_MAX - FRAME_MIN];
	int err, len = hex_parse(text, typed, sizeof(typed));
	struct frame *frame = calloc(1, sizeof(*frame));
	struct layers layers;

	err = frame_parse(text, frame);
	LAW(!err || err == -EINVAL || err == -ENODATA || err == -E2BIG);
	LAW((err == -EINVAL) == (len == -EINVAL));
	if (!err) {
		LAW(frame->len >= FRAME_MIN && frame->len <= FRAME_MAX);
		LAW(frame->len == (size_t)len || frame->len == (size_t)len + FRAME_MIN);
		LAW(!memcmp(frame->byte + frame->len - len, typed, len));
		LAW(frame->whole >= frame->len && frame->length >= frame->captured);
		layers_read(frame, &layers);
		LAW(!layers.udp || layers.udp_at + 8 <= frame->len);
	}
	free(frame);
}

/* What is read is printed as it was typed, but for what stands between the digits. */
static void try_cid(const char *text)
{
	__u8 *cid = malloc(CS_MAX_CID);
	int len = hex_parse(text, cid, CS_MAX_CID);
	const char *digit;

	LAW((len >= 0 && len <= CS_MAX_CID) || len == -EINVAL || len == -E2BIG);
	digit = len > 0 ? HEX(cid, len) : "";
	for (; len > 0 && *text; text++) {
		if (isxdigit((unsigned char)*text))
			LAW(tolower((unsigned char)*text) == *digit++);
	}
	LAW(len < 0 || !*digit);
	free(cid);
}

/* What is printed is read as the same. */
static void try_address(const char *text)
{
	char printed[ADDRESS_TEXT];
	struct cs_addr addr, again;
	int err = address_parse(text, &addr);

	LAW(!err || err == -EINVAL);
	if (err)
		return;
	address_print(&addr, printed);
	LAW(!address_parse(printed, &again) && !memcmp(&addr, &again, sizeof(addr)));
	LAW(addr.port && !addr.netns);
	address_is_wildcard(&addr);
}

/* The same from a socket's address. */
static void try_socket(struct input *input)
{
	struct sockaddr_storage from;
	char printed[ADDRESS_TEXT];
	struct cs_addr addr;

	input_bytes(input, &from, sizeof(from));
	if (!address_from_socket((const struct sockaddr *)&from, &addr))
		address_print(&addr, printed);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	__u8 which = input_byte(&input);
	char *text = strndup((const char *)input.at, input.left);

	switch (which) {
	case 'f':
		try_frame(text);
		break;
	case 'c':
		try_cid(text);
		break;
	case 'a':
		try_address(text);
		break;
	case 's':
		try_socket(&input);
		break;
	}
	free(text);
	return 0;
}
