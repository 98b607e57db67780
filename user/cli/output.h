/* SPDX-License-Identifier: GPL-2.0-only */
/* Text and JSON for people and for monitoring. */
#ifndef CS_OUTPUT_H
#define CS_OUTPUT_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_COLUMNS 100

/* 18446744073709551615 with its separators. */
#define NUMBER_TEXT 32
#define NUMBER(value) number_print((char[NUMBER_TEXT]){}, value)
/* Up to 20 bytes. */
#define HEX_TEXT 41
#define HEX(bytes, len) hex_print((char[HEX_TEXT]){}, bytes, len)

/* "18,204" */
const char *number_print(char text[NUMBER_TEXT], __u64 value);

/* Lower case, cut to what fits. */
const char *hex_print(char text[HEX_TEXT], const __u8 *bytes, size_t len);

/*
 * hex_parse - read hex digits; white space, ':' and '-' between bytes are passed over
 * @size:	room at @bytes
 *
 * Returns the number of bytes, -EINVAL (not hex, or half a byte), or -E2BIG.
 */
int hex_parse(const char *text, __u8 *bytes, size_t size);

/* Copies a name out of a map, which may hold anything: printable, NUL-terminated. */
void name_copy(char *to, const char *from, size_t size);

/* Appends to what snprintf wrote before; never beyond @size. */
void append(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Prints words from @column on; lines but the first are indented.  The last line is ended. */
void print_wrapped(const char *text, int column);

/* Rows of cells, padded to the widest of their column. */
struct table {
	unsigned int columns;
	unsigned int right; /* bit for each column that is a number */
	unsigned int cells;
	char **cell;
	bool failed; /* out of memory */
};

void table_add(struct table *table, const char *text);
/* Prints and frees.  Returns 0 or -ENOMEM. */
int table_print(struct table *table);

/* Prints and frees; NULL is out of memory.  Returns 0 or -ENOMEM. */
int json_print(json_t *json);

#endif
