/* SPDX-License-Identifier: GPL-2.0-only */
/* Files below --root. */
#ifndef H3SERVER_FILES_H
#define H3SERVER_FILES_H

#include <stdint.h>

/*
 * files_open - the regular file that the path of a request names
 * @root:	directory, or -1 for none
 * @path:	as the client sent it: "/a%20b/c?d"; "/" ends in index.html
 * @size:	receives its length in bytes
 *
 * No path leads out of @root, whatever symbolic links are below it.
 * Returns a descriptor that the caller closes, or a negative errno.
 */
int files_open(int root, const char *path, uint64_t *size);

/* By the end of the path, for browsers. */
const char *files_type(const char *path);

#endif
