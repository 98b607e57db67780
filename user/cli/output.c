// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

const char *number_print(char text[NUMBER_TEXT], __u64 value)
{
	char plain[NUMBER_TEXT];
	int len = snprintf(plain, sizeof(plain), "%llu", (unsigned long long)value);
	char *to = text;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = plain[i];
	}
	*to = '\0';
	return text;
}

const char *hex_print(char text[HEX_TEXT], const __u8 *bytes, size_t len)
{
	text[0] = '\0';
	for (size_t i = 0; i < len && i < HEX_TEXT / 2; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return text;
}

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit |= 0x20;
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int hex_parse(const char *text, __u8 *bytes, size_t size)
{
	size_t len = 0;

	while (*text) {
		int high, low;

		if (isspace((unsigned char)*text) || *text == ':' || *text == '-') {
			text++;
			continue;
		}
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return -EINVAL;
		if (len == size)
			return -E2BIG;
		bytes[len++] = high << 4 | low;
		text += 2;
	}
	return len;
}

void name_copy(char *to, const char *from, size_t size)
{
	size_t len = strnlen(from, size - 1);

	for (size_t i = 0; i < len; i++)
		to[i] = from[i] > ' ' && from[i] < 0x7f ? from[i] : '?';
	to[len] = '\0';
}

void append(char *text, size_t size, const char *format, ...)
{
	size_t len = strnlen(text, size);
	va_list args;

	if (len >= size)
		return;
	va_start(args, format);
	vsnprintf(text + len, size - len, format, args);
	va_end(args);
}

void print_wrapped(const char *text, int column)
{
	int at = column;

	while (*text) {
		int len = strcspn(text, " ");

		if (at > column && at + 1 + len > OUTPUT_COLUMNS) {
			printf("\n%*s", column, "");
			at = column;
		}
		at += printf("%s%.*s", at > column ? " " : "", len, text);
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

void table_add(struct table *table, const char *text)
{
	char **cell = reallocarray(table->cell, table->cells + 1, sizeof(*cell));
	char *copy = strdup(text);

	if (cell)
		table->cell = cell;
	if (!cell || !copy) {
		free(copy);
		table->failed = true;
		return;
	}
	table->cell[table->cells++] = copy;
}

static void table_print_row(const struct table *table, unsigned int first, const int *width)
{
	for (unsigned int c = 0; c < table->columns && first + c < table->cells; c++) {
		bool last = c + 1 == table->columns;
		int pad = table->right >> c & 1 ? width[c] : last ? 0 : -width[c];

		printf("%*s%s", pad, table->cell[first + c], last ? "\n" : "  ");
	}
}

int table_print(struct table *table)
{
	int *width = calloc(table->columns, sizeof(*width));
	int err = table->failed || !width ? -ENOMEM : 0;

	for (unsigned int i = 0; i < table->cells && !err; i++) {
		int len = strlen(table->cell[i]);
		int *widest = &width[i % table->columns];

		*widest = len > *widest ? len : *widest;
	}
	for (unsigned int i = 0; i < table->cells && !err; i += table->columns)
		table_print_row(table, i, width);
	for (unsigned int i = 0; i < table->cells; i++)
		free(table->cell[i]);
	free(table->cell);
	free(width);
	*table = (struct table){ .columns = table->columns, .right = table->right };
	return err;
}

int json_print(json_t *json)
{
	int err;

	if (!json)
		return -ENOMEM;
	err = json_dumpf(json, stdout, JSON_INDENT(2)) ? -ENOMEM : 0;
	putchar('\n');
	json_decref(json);
	return err;
}
