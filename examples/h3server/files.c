// SPDX-License-Identifier: GPL-2.0-only
/* Files below --root, read only. */
#include "h3server/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_PATH_MAX 1024

static const struct {
	const char *suffix;
	const char *type;
} types[] = {
	{ ".html", "text/html; charset=utf-8" },
	{ ".txt", "text/plain; charset=utf-8" },
	{ ".css", "text/css" },
	{ ".js", "text/javascript" },
	{ ".json", "application/json" },
	{ ".png", "image/png" },
	{ ".svg", "image/svg+xml" },
};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent-encoding and cuts off the query.  Returns 0 or -1. */
static int decode(const char *from, char *to, size_t size)
{
	size_t n = 0;

	while (*from && *from != '?' && *from != '#') {
		int c = (unsigned char)*from++;

		if (c == '%') {
			int high = hex_value(from[0]);
			int low = high < 0 ? -1 : hex_value(from[1]);

			if (low < 0)
				return -1;
			c = high << 4 | low;
			from += 2;
		}
		if (c == 0 || n + 1 >= size)
			return -1;
		to[n++] = (char)c;
	}
	to[n] = '\0';
	return 0;
}

static int open_beneath(int root, const char *path)
{
	struct open_how how = {
		/* Not blocking, because opening a FIFO would stop the event loop. */
		.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int files_open(int root, const char *path, uint64_t *size)
{
	char name[FILE_PATH_MAX];
	struct stat st;
	size_t len;
	int fd;

	if (root < 0 || path[0] != '/' || decode(path + 1, name, sizeof(name)) < 0)
		return -ENOENT;
	len = strlen(name);
	if (len == 0 || name[len - 1] == '/') {
		if (len + sizeof("index.html") > sizeof(name))
			return -ENOENT;
		strcpy(name + len, "index.html");
	}
	fd = open_beneath(root, name);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -ENOENT;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

const char *files_type(const char *path)
{
	size_t len = strcspn(path, "?#");
	size_t i;

	if (len > 0 && path[len - 1] == '/')
		return types[0].type;
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size_t n = strlen(types[i].suffix);

		if (len > n && strncmp(path + len - n, types[i].suffix, n) == 0)
			return types[i].type;
	}
	return "application/octet-stream";
}
