// SPDX-License-Identifier: GPL-2.0-only
/*
 * quit: ends the guest through QEMU's isa-debug-exit.
 *
 *   quit STATUS
 *
 * QEMU exits with 2 * STATUS + 1.  Debian's cloud kernels have no /dev/port.
 */
#include <stdlib.h>
#include <sys/io.h>
#include <unistd.h>

#define DEBUG_EXIT_PORT 0xf4

int main(int argc, char **argv)
{
	sync();
	if (argc != 2 || ioperm(DEBUG_EXIT_PORT, 4, 1))
		return 1;
	outb(atoi(argv[1]), DEBUG_EXIT_PORT);
	return 0;
}
