// SPDX-License-Identifier: GPL-2.0-only
/* A file with a key: who else could have read it is asked before it is read. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/config.h"

#define WHITE " \t\r\n"

/* What is in a file, as a string; wiped wherever it goes out of scope. */
struct text {
	char byte[128];
};

static void wipe(struct text *text)
{
	explicit_bzero(text, sizeof(*text));
}

#define _cleanup_wipe_ __attribute__((cleanup(wipe)))

/* Without following a link, and without waiting for who writes a pipe. */
static int open_file(const char *path, struct error *error)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ELOOP)
		return error_set(error, -ELOOP,
				 "%s: it is a symbolic link: name the file that it leads to", path);
	if (errno == ENOENT)
		return error_set(error, -ENOENT,
				 "%s: there is no such file: openssl rand -hex 16 makes a key, "
				 "umask 077 keeps it from others",
				 path);
	return error_set(error, -errno, "%s: %s", path, strerror(errno));
}

static int check_others(const char *path, int fd, struct error *error)
{
	struct stat stat;

	if (fstat(fd, &stat))
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(stat.st_mode))
		return error_set(error, -EINVAL,
				 "%s: it is not a regular file: name one that has the key", path);
	if (stat.st_uid && stat.st_uid != geteuid())
		return error_set(error, -EACCES,
				 "%s: user %u owns it, who could put another key there: chown root "
				 "%s",
				 path, stat.st_uid, path);
	if (stat.st_mode & 077)
		return error_set(error, -EACCES,
				 "%s: its group or others may read or write it: chmod 600 %s", path,
				 path);
	return 0;
}

static int read_text(const char *path, int fd, struct text *text, struct error *error)
{
	ssize_t len = read(fd, text->byte, sizeof(text->byte) - 1);

	if (len < 0)
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	text->byte[len] = '\0';
	/* What does not fit, and what is behind a NUL, is no white space either. */
	if (len == sizeof(text->byte) - 1 || strlen(text->byte) != (size_t)len)
		text->byte[0] = '\0';
	return 0;
}

/* Returns where the digits begin, and ends the text behind them. */
static const char *trim(struct text *text)
{
	char *from = text->byte + strspn(text->byte, WHITE), *end = from + strlen(from);

	while (end > from && strchr(WHITE, end[-1]))
		end--;
	*end = '\0';
	return from;
}

int config_read_key(const char *path, __u8 key[CONFIG_LB_KEY], struct error *error)
{
	_cleanup_fd_ int fd = open_file(path, error);
	_cleanup_wipe_ struct text text = { "" };
	const char *digits;
	int err = fd < 0 ? fd : check_others(path, fd, error);

	if (!err)
		err = read_text(path, fd, &text, error);
	if (err)
		return err;
	digits = trim(&text);
	if (strlen(digits) == 2 * CONFIG_LB_KEY &&
	    config_hex(digits, key, CONFIG_LB_KEY) == CONFIG_LB_KEY)
		return 0;
	return error_set(error, -EINVAL,
			 "%s: not a key, which is 32 hexadecimal digits and nothing else: openssl "
			 "rand -hex 16 makes one",
			 path);
}
