// SPDX-License-Identifier: GPL-2.0-only
/*
 * attach --try SECONDS: a program that is taken off again unless somebody says that it may stay.
 *
 * Native XDP resets the rings of an interface, and whoever is logged in over it may be gone.  So a
 * process of its own session waits beside the command: without a word from it until the time is
 * over, or when the command ends, however it ends, it takes the program off.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/attach_try.h"

static int ms_left(const struct timespec *end)
{
	struct timespec now;
	long long ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (end->tv_sec - now.tv_sec) * 1000LL + (end->tv_nsec - now.tv_nsec) / 1000000;
	return ms > 0 ? ms : 0;
}

/* Does a byte come from @fd before the time is over?  Its end is no byte. */
static bool hears(int fd, const struct timespec *end, char *byte)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	int left;

	while ((left = ms_left(end)) > 0) {
		if (poll(&ready, 1, left) > 0)
			return read(fd, byte, 1) == 1;
	}
	return false;
}

static void __attribute__((noreturn))
watch(const struct attach_try *try, const struct attach_place *place, const char *interface)
{
	struct error error;
	char word;

	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	setsid();
	close(try->to_watcher);
	if (hears(try->from_command, &try->end, &word))
		_exit(0);
	_exit(detach_interface(place, interface, &error) ? 1 : 2);
}

int attach_try_begin(struct attach_try *try, unsigned int seconds, const struct attach_place *place,
		     const char *interface)
{
	int ends[2];

	clock_gettime(CLOCK_MONOTONIC, &try->end);
	try->end.tv_sec += seconds;
	if (pipe(ends))
		return -errno;
	try->from_command = ends[0];
	try->to_watcher = ends[1];
	fflush(stdout);
	try->watcher = fork();
	if (try->watcher < 0)
		return -errno;
	if (!try->watcher)
		watch(try, place, interface);
	close(try->from_command);
	return 0;
}

/* A line from the keyboard: what is at its end says nothing. */
static bool is_confirmed(const struct attach_try *try)
{
	char byte;

	while (hears(STDIN_FILENO, &try->end, &byte)) {
		if (byte == '\n')
			return true;
	}
	return false;
}

static void wait_for_end(const struct attach_try *try)
{
	int left;

	while ((left = ms_left(&try->end)) > 0)
		poll(NULL, 0, left);
}

int attach_try_end(struct attach_try *try, bool ask)
{
	int status = 0;

	if (ask && is_confirmed(try)) {
		if (write(try->to_watcher, "k", 1) != 1)
			return -errno;
	} else if (ask) {
		wait_for_end(try); /* standard input has ended before */
	}
	close(try->to_watcher);
	while (waitpid(try->watcher, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 1)
		return -EIO;
	return WEXITSTATUS(status) == 2 ? ATTACH_TAKEN_OFF : ATTACH_KEPT;
}
