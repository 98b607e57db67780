/* SPDX-License-Identifier: GPL-2.0-only */
/* The daemon's log: one line on standard error for what an operator wants to know. */
#ifndef CS_LOG_H
#define CS_LOG_H

void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For what strangers can cause: at most 10 lines a second, then how many were left out. */
void log_limited(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
