/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the shim, inside the program that is tested, and the driver, outside, share: a file that
 * both have mapped.  The driver arms, the shim counts and lets one call fail.
 */
#ifndef CS_FAULT_H
#define CS_FAULT_H

#include <stdint.h>

#define FAULT_ENV "CIDSTEER_FAULT" /* path of the file */

#define FAULT_FRAMES 24
#define FAULT_MODULES 24
#define FAULT_OBJECTS 256
#define FAULT_SYMBOL 40
#define FAULT_BLOCKS (1 << 16) /* of memory in use at once, a power of two */

enum {
	FAULT_PROG,
	FAULT_MAP,
	FAULT_BTF
};

struct fault_module {
	char path[96];
	uint64_t base, end;
};

struct fault_object {
	uint32_t kind, id; /* of the kernel */
};

struct fault {
	/* What the driver says. */
	volatile uint32_t armed;   /* calls of the main thread are counted */
	volatile uint32_t fail_at; /* number of the call that fails; 0: none */

	/* What the shim says. */
	volatile uint32_t count;
	volatile uint32_t failed;  /* it has come to that */
	volatile uint32_t waiting; /* in epoll_wait() for as long as it takes */
	volatile uint32_t live;	   /* blocks of memory in use */
	volatile uint32_t freed_wrong;
	int32_t error;
	char call[32];
	uint32_t frames;
	uint64_t frame[FAULT_FRAMES];
	char symbol[FAULT_FRAMES][FAULT_SYMBOL]; /* of what a library exports */
	uint64_t wrong[FAULT_FRAMES];		 /* who freed what is not in use */
	uint32_t wrong_frames;
	uint32_t modules;
	struct fault_module module[FAULT_MODULES];
	uint32_t objects; /* programs, maps and BTF that were made, since the start */
	struct fault_object object[FAULT_OBJECTS];
	uint64_t block[FAULT_BLOCKS]; /* addresses of memory in use */
};

/* In the shim, for a program that arms itself. */
__attribute__((weak)) void fault_begin(void);
__attribute__((weak)) void fault_end(void);
__attribute__((weak)) unsigned int fault_live(void); /* blocks of memory in use */

#endif
