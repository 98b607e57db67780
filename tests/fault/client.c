// SPDX-License-Identifier: GPL-2.0-only
/*
 * client CONTROL SERVICE open|calls: a worker that lets a call of the library fail, and looks
 * after itself: an errno, a line that says why, nothing left, and the next attempt works.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cidsteer/cidsteer.h"
#include "fault.h"

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (dir && readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static int bind_socket(const char *service)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6,
				     .sin6_port = htons(!strcmp(service, "h3") ? 4433 : 4435) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		err(2, "socket");
	return fd;
}

static void check_left(unsigned int blocks, int fds)
{
	if (fault_live() != blocks)
		errx(1, "%u blocks of memory in use, %u before", fault_live(), blocks);
	if (descriptors() != fds)
		errx(1, "%d descriptors, %d before", descriptors(), fds);
}

static struct cidsteer *open_handle(const char *control, const char *service, int socket,
				    bool armed)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	struct cidsteer *handle = NULL;
	unsigned int blocks;
	char line[256] = "";
	int fds, result;

	options.control = control;
	options.timeout_ms = 10000;
	options.error = line;
	options.error_size = sizeof(line);
	fds = descriptors();
	blocks = fault_live();
	if (armed)
		fault_begin();
	result = cidsteer_open(&handle, service, &socket, 1, &options);
	fault_end();
	if (!result && handle)
		return handle;
	if (!armed)
		errx(1, "then opening: %s: %s", strerror(-result), line);
	if (result >= 0 || handle)
		errx(1, "cidsteer_open() returned %d and %s handle", result, handle ? "a" : "no");
	if (!line[0])
		errx(1, "cidsteer_open() returned %s and no line", strerror(-result));
	check_left(blocks, fds);
	return NULL;
}

/* Those that return a number of their own have it above 0. */
static void make_calls(struct cidsteer *handle)
{
	static const uint8_t cid[8] = { 0xe1 }, other[8] = { 0xe2 }, third[20] = { 3 };
	uint8_t made[8];
	int result[8];

	fault_begin();
	result[0] = cidsteer_issue(handle, cid, sizeof(cid));
	result[1] = cidsteer_issue_provisional(handle, third, sizeof(third));
	result[2] = cidsteer_retire(handle, third, sizeof(third));
	result[3] = cidsteer_report_stray(handle, other, sizeof(other));
	result[4] = cidsteer_report_path_change(handle);
	result[5] = cidsteer_drain(handle);
	result[6] = cidsteer_generate(handle, made, sizeof(made));
	result[7] = cidsteer_dispatch(handle);
	fault_end();
	for (int i = 0; i < 8; i++) {
		if (result[i] > 0 || result[i] < -4095)
			errx(1, "call %d returned %d", i, result[i]);
	}
}

int main(int argc, char **argv)
{
	bool calls = argc == 4 && !strcmp(argv[3], "calls");
	static const uint8_t cid[8] = { 0xe7 };
	uint8_t made[8];
	struct cidsteer *handle;
	unsigned int blocks;
	int socket, fds, result;

	if (argc != 4 || !fault_begin)
		errx(2, "client CONTROL SERVICE open|calls, under the shim");
	socket = bind_socket(argv[2]);
	fds = descriptors();
	blocks = fault_live();
	handle = open_handle(argv[1], argv[2], socket, !calls);
	if (handle && calls)
		make_calls(handle);
	if (calls || !handle) {
		cidsteer_close(handle);
		check_left(blocks, fds);
		handle = open_handle(argv[1], argv[2], socket, false);
	}
	result = cidsteer_issue(handle, cid, sizeof(cid));
	if (result)
		errx(1, "then issuing: %s", strerror(-result));
	result = cidsteer_generate(handle, made, sizeof(made));
	if (!result)
		result = cidsteer_issue(handle, made, sizeof(made));
	if (result)
		errx(1, "then making an ID: %s", strerror(-result));
	cidsteer_close(handle);
	check_left(blocks, fds);
	return 0;
}
