// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/netns.h"
#include "dataplane/plane.h"

#define NAMES "/run/netns"

struct job {
	int fd; /* of the namespace */
	int (*run)(void *arg);
	void *arg;
	int refused; /* errno of setns() */
	int result;
};

bool netns_is_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_";
	size_t len = strlen(name);

	return len && len < NETNS_NAME && strspn(name, allowed) == len;
}

static void *enter_and_run(void *arg)
{
	struct job *job = arg;

	if (setns(job->fd, CLONE_NEWNET))
		job->refused = errno;
	else
		job->result = job->run(job->arg);
	return NULL;
}

static int refused(const char *name, int err, struct error *error)
{
	switch (err) {
	case ENOENT:
		return error_set(error, -ENOENT,
				 "network namespace %s: there is no " NAMES "/%s: ip netns add %s",
				 name, name, name);
	case EPERM:
		return error_set(error, -EPERM,
				 "network namespace %s: entering it needs CAP_SYS_ADMIN, which "
				 "this process lacks: see PRIVILEGES in cidsteerd(8)",
				 name);
	case EINVAL:
		return error_set(error, -EINVAL, NAMES "/%s is no network namespace", name);
	}
	return error_set(error, -err, "network namespace %s: %s", name, strerror(err));
}

static void path_of(const char *name, char path[sizeof(NAMES "/") + NETNS_NAME])
{
	snprintf(path, sizeof(NAMES "/") + NETNS_NAME, NAMES "/%s", name);
}

int netns_file(const char *name, struct netns_file *file, struct error *error)
{
	char path[sizeof(NAMES "/") + NETNS_NAME];
	struct stat status;

	path_of(name, path);
	if (stat(path, &status))
		return refused(name, errno, error);
	*file = (struct netns_file){ status.st_dev, status.st_ino };
	return 0;
}

bool netns_same_file(const struct netns_file *one, const struct netns_file *other)
{
	return one->device == other->device && one->inode == other->inode;
}

void netns_each(void (*visit)(const char *name, void *arg), void *arg)
{
	DIR *dir = opendir(NAMES);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (netns_is_name(entry->d_name))
			visit(entry->d_name, arg);
	}
	if (dir)
		closedir(dir);
}

int netns_run(const char *name, int (*run)(void *arg), void *arg, struct error *error)
{
	char path[sizeof(NAMES "/") + NETNS_NAME];
	_cleanup_fd_ int fd = -1;

	if (!*name)
		return run(arg);
	path_of(name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return refused(name, errno, error);
	return netns_run_file(fd, name, run, arg, error);
}

int netns_run_file(int fd, const char *name, int (*run)(void *arg), void *arg, struct error *error)
{
	struct job job = { .fd = fd, .run = run, .arg = arg };
	pthread_t thread;
	int err = pthread_create(&thread, NULL, enter_and_run, &job);

	if (err)
		return error_set(error, -err, "starting a thread: %s", strerror(err));
	pthread_join(thread, NULL);
	return job.refused ? refused(name, job.refused, error) : job.result;
}

struct asked {
	int family, type, protocol;
	__u64 cookie;
	int err;
};

static int read_cookie(void *arg)
{
	struct asked *asked = arg;

	asked->cookie = plane_netns_cookie();
	asked->err = asked->cookie ? 0 : -errno;
	return asked->err;
}

static int make_socket(void *arg)
{
	struct asked *asked = arg;
	int fd = socket(asked->family, asked->type | SOCK_CLOEXEC, asked->protocol);

	asked->err = fd < 0 ? -errno : 0;
	return fd < 0 ? asked->err : fd;
}

int netns_cookie(const char *name, __u64 *cookie, struct error *error)
{
	struct asked asked = {};
	int err = netns_run(name, read_cookie, &asked, error);

	if (asked.err)
		return error_set(error, asked.err, "reading the network namespace's cookie: %s",
				 strerror(-asked.err));
	if (!err)
		*cookie = asked.cookie;
	return err;
}

int netns_socket(const char *name, int family, int type, int protocol, struct error *error)
{
	struct asked asked = { .family = family, .type = type, .protocol = protocol };
	int fd = netns_run(name, make_socket, &asked, error);

	return asked.err ? error_set(error, asked.err, "a socket%s%s: %s",
				     *name ? " in network namespace " : "", name,
				     strerror(-asked.err)) :
			   fd;
}
