// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/groups.h"
#include "common/cleanup.h"

#define DESCRIPTORS_MAX 4000000 /* of all processes: more are not looked at */

struct search {
	struct owner *owners;
	size_t count, missing;
	unsigned long descriptors;
};

static void note_owner(struct search *search, __u64 inode, pid_t pid)
{
	for (size_t i = 0; i < search->count; i++) {
		if (search->owners[i].inode != inode || search->owners[i].pid)
			continue;
		search->owners[i].pid = pid;
		search->missing--;
	}
}

static void search_process(struct search *search, const char *pid)
{
	char path[64], target[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return;
	while (search->missing && search->descriptors < DESCRIPTORS_MAX && (entry = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		unsigned long long inode;

		search->descriptors++;
		if (len <= 0)
			continue;
		target[len] = '\0';
		if (sscanf(target, "socket:[%llu]", &inode) == 1)
			note_owner(search, inode, atoi(pid));
	}
	closedir(dir);
}

void owners_find(struct owner *owners, size_t count)
{
	struct search search = { .owners = owners, .count = count, .missing = count };
	struct dirent *entry;
	DIR *dir = count ? opendir("/proc") : NULL;

	for (size_t i = 0; i < count; i++)
		owners[i].pid = 0;
	if (!dir)
		return;
	while (search.missing && (entry = readdir(dir))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			search_process(&search, entry->d_name);
	}
	closedir(dir);
}
