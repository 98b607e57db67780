// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#ifdef CS_POINTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/point.h"

void point_reached(const char *name)
{
	static unsigned long passed;
	const char *wanted = getenv("CIDSTEER_STOP_AT");
	size_t length = strlen(name);

	if (!wanted || strncmp(wanted, name, length) || (wanted[length] && wanted[length] != ':'))
		return;
	if (++passed == (wanted[length] ? strtoul(wanted + length + 1, NULL, 10) : 1))
		raise(SIGSTOP);
}
#else
typedef int nothing_here;
#endif
