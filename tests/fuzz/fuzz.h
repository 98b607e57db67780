/* SPDX-License-Identifier: GPL-2.0-only */
/* What the targets share: how an input is read, and what ends a run. */
#ifndef FUZZ_H
#define FUZZ_H

#include <linux/types.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called by libFuzzer. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What holds whatever the input is. */
#define LAW(holds)                                                                                 \
	do {                                                                                       \
		if (!(holds)) {                                                                    \
			fprintf(stderr, "%s:%d: not kept: %s\n", __FILE__, __LINE__, #holds);      \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* An input, from the front.  What it has not is 0. */
struct input {
	const uint8_t *at;
	size_t left;
};

static inline __u8 input_byte(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

static inline __u16 input_u16(struct input *input)
{
	__u8 low = input_byte(input);

	return low | input_byte(input) << 8;
}

static inline void input_bytes(struct input *input, void *to, size_t size)
{
	size_t len = size < input->left ? size : input->left;

	memset(to, 0, size);
	memcpy(to, input->at, len);
	input->at += len;
	input->left -= len;
}

/* Which descriptors are open, a bit for each of the first ones. */
#define FDS_WATCHED 128
struct open_fds {
	__u64 word[FDS_WATCHED / 64];
};

static inline struct open_fds open_fds(void)
{
	struct pollfd fd[FDS_WATCHED];
	struct open_fds open = {};

	for (int i = 0; i < FDS_WATCHED; i++)
		fd[i] = (struct pollfd){ .fd = i };
	poll(fd, FDS_WATCHED, 0);
	for (int i = 0; i < FDS_WATCHED; i++) {
		if (!(fd[i].revents & POLLNVAL))
			open.word[i / 64] |= 1ULL << i % 64;
	}
	return open;
}

#endif
