/* SPDX-License-Identifier: GPL-2.0-only */
/* Octets as documents print them: hexadecimal, with or without spaces. */
#ifndef CS_TEST_HEX_H
#define CS_TEST_HEX_H

#include <criterion/criterion.h>
#include <linux/types.h>
#include <stdlib.h>

/* Returns the number of octets, or fails the test: half an octet, more than @size of them. */
static inline size_t from_hex(__u8 *to, size_t size, const char *text)
{
	char digits[3] = "", *end;
	size_t count = 0;

	while (*text) {
		if (*text == ' ') {
			text++;
			continue;
		}
		if (count == size || !text[1])
			cr_assert_fail("%s: half an octet, or more than %zu", text, size);
		digits[0] = text[0];
		digits[1] = text[1];
		to[count++] = strtoul(digits, &end, 16);
		if (*end)
			cr_assert_fail("%s: not hexadecimal", text);
		text += 2;
	}
	return count;
}

#endif
