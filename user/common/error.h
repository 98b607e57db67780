/* SPDX-License-Identifier: GPL-2.0-only */
/* One line for people, made where the reason is known, printed by whoever decides what is next. */
#ifndef CS_ERROR_H
#define CS_ERROR_H

struct error {
	char line[480]; /* "what: reason", without a final newline */
};

/* Writes the line and returns @err, a negative errno. */
int error_set(struct error *error, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
