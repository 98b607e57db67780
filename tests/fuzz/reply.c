// SPDX-License-Identifier: GPL-2.0-only
/*
 * The example server's frames (--io xsk): what it reads can be answered, and the client would read
 * the answer.
 *
 * An input: the frame.
 */
#include "common/frame.h"
#include "fuzz.h"

#define MOST 4096

static void try_answer(const struct frame_ends *ends, const uint8_t *payload, size_t len)
{
	static uint8_t frame[MOST];
	size_t size = frame_build(frame, sizeof(frame), ends, payload, len);
	struct frame_ends read;
	const uint8_t *at;

	LAW(size || len > MOST - 100);
	if (!size)
		return;
	LAW(size <= MOST && frame_parse(&read, &at, frame, size) == (int)len);
	LAW(!memcmp(at, payload, len));
	LAW(addr_equal(&read.local, &ends->remote) && addr_equal(&read.remote, &ends->local));
	LAW(!memcmp(read.local_mac, ends->remote_mac, FRAME_MAC));
	LAW(!memcmp(read.remote_mac, ends->local_mac, FRAME_MAC));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_ends ends;
	const uint8_t *payload;
	int len = frame_parse(&ends, &payload, data, size);

	if (len < 0)
		return 0;
	LAW(payload >= data && payload + len <= data + size);
	/* An answer from no port is refused by who gets it. */
	if (addr_port(&ends.local))
		try_answer(&ends, payload, (size_t)len);
	return 0;
}
