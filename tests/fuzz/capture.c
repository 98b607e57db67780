// SPDX-License-Identifier: GPL-2.0-only
/*
 * A capture, pcap or pcapng, of which one packet is asked for.
 *
 * An input: the packet's number less 1, the file.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/layers.h"
#include "fuzz.h"

/* capture_read() bounds the process's memory; the sanitizers need more than all of that. */
static int bound_memory(int resource, const struct rlimit *limit)
{
	LAW(resource == RLIMIT_DATA && limit->rlim_cur <= limit->rlim_max);
	return 0;
}
#define setrlimit bound_memory
#include "cli/capture.c"

static int file;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	file = memfd_create("capture", MFD_CLOEXEC);
	LAW(file >= 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct open_fds before = open_fds(), after;
	struct frame *frame = calloc(1, sizeof(*frame));
	unsigned long number = 1 + input_byte(&input);
	struct error error = {};
	struct layers layers;
	char path[32];
	int err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	LAW(!ftruncate(file, 0) && pwrite(file, input.at, input.left, 0) == (ssize_t)input.left);
	err = capture_read(path, number, frame, &error);
	LAW(err ? err < 0 && error.line[0] : !error.line[0]);
	if (!err) {
		LAW(frame->len >= FRAME_MIN && frame->len <= FRAME_MAX);
		LAW(frame->captured <= frame->length && frame->link);
		layers_read(frame, &layers);
		LAW(!layers.udp || layers.udp_at + 8 <= frame->len);
	}
	free(frame);
	after = open_fds();
	LAW(!memcmp(&before, &after, sizeof(before)));
	return 0;
}
