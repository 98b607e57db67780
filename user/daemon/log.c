// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "daemon/log.h"

#define LINES_PER_SECOND 10

static void print(const char *format, va_list args)
{
	char line[1024];

	vsnprintf(line, sizeof(line), format, args);
	fprintf(stderr, "cidsteerd: %s\n", line);
}

void log_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print(format, args);
	va_end(args);
}

void log_limited(const char *format, ...)
{
	static unsigned int printed, left_out;
	static time_t second;
	struct timespec now;
	va_list args;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != second) {
		if (left_out)
			log_line("%u similar lines left out", left_out);
		second = now.tv_sec;
		printed = left_out = 0;
	}
	if (printed == LINES_PER_SECOND) {
		left_out++;
		return;
	}
	printed++;
	va_start(args, format);
	print(format, args);
	va_end(args);
}
