// SPDX-License-Identifier: GPL-2.0-only
/* What this process may not do, by name: the kernel says EPERM, or EACCES, and no more. */
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/internal.h"

/* What loading, pinning and attaching need: see docs/privileges.md. */
static const struct {
	int number;
	const char *name;
} needed[] = {
	{ CAP_BPF, "CAP_BPF" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ CAP_PERFMON, "CAP_PERFMON" },
};

static bool has_capability(int number)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	if (syscall(SYS_capget, &header, data))
		return true; /* nothing is blamed that is not known */
	return data[CAP_TO_INDEX(number)].effective & CAP_TO_MASK(number);
}

bool plane_may_open_by_id(void)
{
	return has_capability(CAP_SYS_ADMIN);
}

const char *plane_missing(char text[PLANE_MISSING])
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (!has_capability(needed[i].number))
			used += snprintf(text + used, PLANE_MISSING - used, "%s%s",
					 used ? ", " : "", needed[i].name);
	}
	return text;
}
