// SPDX-License-Identifier: GPL-2.0-only
/* Dropping privilege, in two steps: that of the supervisor, and all of it. */
#define _GNU_SOURCE 1
#include "h3server/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * What a start of workers needs: to read certificate and key and write --stats whosever they are,
 * to bind any port, to open AF_XDP sockets and lock their memory (--io xsk, which the next binary
 * may want though this one does not), to become --user; and to end a generation that hangs.
 */
#define BIT(cap) (UINT64_C(1) << (cap))
#define RESTRICTED                                                                                 \
	(BIT(CAP_DAC_OVERRIDE) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETUID) | BIT(CAP_SETGID) |   \
	 BIT(CAP_KILL) | BIT(CAP_NET_RAW) | BIT(CAP_IPC_LOCK))

static int failed(const char *what)
{
	fprintf(stderr, "h3server: %s: %s\n", what, strerror(errno));
	return -1;
}

int privilege_lookup(struct identity *identity, const char *name)
{
	struct passwd *pw;

	identity->name = NULL;
	if (!name) {
		if (geteuid() == 0)
			fputs("h3server: no --user: the workers stay root, without capabilities\n",
			      stderr);
		return 0;
	}
	errno = 0;
	pw = getpwnam(name);
	if (!pw) {
		fprintf(stderr, "h3server: --user %s: %s\n", name,
			errno ? strerror(errno) : "no such user");
		return -1;
	}
	identity->name = name;
	identity->uid = pw->pw_uid;
	identity->gid = pw->pw_gid;
	return 0;
}

static int change_user(const struct identity *identity)
{
	if (geteuid() == identity->uid && getuid() == identity->uid && geteuid() != 0)
		return 0; /* started as that user: nothing to change, and no right to */
	if (initgroups(identity->name, identity->gid) < 0)
		return failed("initgroups");
	if (setresgid(identity->gid, identity->gid, identity->gid) < 0)
		return failed("setresgid");
	if (setresuid(identity->uid, identity->uid, identity->uid) < 0)
		return failed("setresuid");
	return 0;
}

static int clear_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return failed("PR_CAP_AMBIENT_CLEAR_ALL");
	if (syscall(SYS_capset, &header, none) < 0)
		return failed("capset");
	return 0;
}

/* For root the bounding set is what execve() gives back. */
static int restrict_bounding(void)
{
	int cap;

	for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(RESTRICTED & BIT(cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return failed("PR_CAPBSET_DROP");
	return 0;
}

int privilege_restrict(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	int i;

	if (syscall(SYS_capget, &header, data) < 0)
		return failed("capget");
	if (data[0].effective & BIT(CAP_SETPCAP) && restrict_bounding() < 0)
		return -1;
	for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		uint32_t mask = (uint32_t)(RESTRICTED >> (32 * i));

		data[i].effective &= mask;
		data[i].permitted &= mask;
		data[i].inheritable &= mask;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return failed("capset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed("PR_SET_NO_NEW_PRIVS");
	return 0;
}

int privilege_drop(const struct identity *identity)
{
	if (identity->name && change_user(identity) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed("PR_SET_NO_NEW_PRIVS");
	return clear_capabilities();
}

int privilege_describe(char *text, size_t size)
{
	FILE *status = fopen("/proc/thread-self/status", "re");
	char line[256], cap_eff[32] = "?";
	unsigned int pid = 0, uid = 0, no_new_privs = 0;

	if (!status)
		return failed("/proc/thread-self/status");
	while (fgets(line, sizeof(line), status)) {
		sscanf(line, "Tgid: %u", &pid);
		sscanf(line, "Uid: %u", &uid);
		sscanf(line, "CapEff: %31s", cap_eff);
		sscanf(line, "NoNewPrivs: %u", &no_new_privs);
	}
	fclose(status);
	snprintf(text, size, "pid %u uid %u CapEff %s NoNewPrivs %u", pid, uid, cap_eff,
		 no_new_privs);
	return 0;
}
