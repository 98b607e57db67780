// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/btf.h>
#include <linux/types.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/kernel_btf.h"

#define BYTES_MAX 512

/* Where the kernel has a member, in bits; -1: there is no such member, or it is no __u32. */
static int find_member(const struct btf *kernel, const struct btf_type *type, const char *name)
{
	const struct btf_member *member = btf_members(type);

	for (__u32 i = 0; i < btf_vlen(type); i++) {
		if (!strcmp(btf__name_by_offset(kernel, member[i].name_off), name) &&
		    btf__resolve_size(kernel, member[i].type) == sizeof(__u32))
			return btf_member_bit_offset(type, i);
	}
	return -1;
}

/* struct bpf_map { __u32 max_entries; }, as large as the kernel's and with the member in its place.
 */
static int describe(const struct btf *kernel, struct btf *made)
{
	int id = btf__find_by_name_kind(kernel, "bpf_map", BTF_KIND_STRUCT);
	const struct btf_type *type = id > 0 ? btf__type_by_id(kernel, id) : NULL;
	int bits = type ? find_member(kernel, type, "max_entries") : -1;
	int number = bits < 0 ? -1 : btf__add_int(made, "unsigned int", sizeof(__u32), 0);

	if (number < 0 || btf__add_struct(made, "bpf_map", type->size) < 0)
		return -1;
	return btf__add_field(made, "max_entries", number, bits, 0);
}

/* Returns its length, or 0. */
static __u32 make(__u8 bytes[BYTES_MAX])
{
	struct btf *kernel = btf__load_vmlinux_btf();
	struct btf *made = btf__new_empty();
	const void *raw = NULL;
	__u32 len = 0;

	if (kernel && made && !describe(kernel, made))
		raw = btf__raw_data(made, &len);
	if (!raw || len > BYTES_MAX)
		len = 0;
	if (len)
		memcpy(bytes, raw, len);
	btf__free(made);
	btf__free(kernel);
	return len;
}

const char *kernel_btf_open(struct kernel_btf *btf)
{
	static __u8 bytes[BYTES_MAX];
	static __u32 len; /* the kernel stays the same */

	if (!len)
		len = make(bytes);
	if (!len)
		return NULL;
	btf->fd = memfd_create("cs_kernel_btf", MFD_CLOEXEC);
	if (btf->fd < 0 || write(btf->fd, bytes, len) != len)
		return NULL;
	snprintf(btf->path, sizeof(btf->path), "/proc/self/fd/%d", btf->fd);
	return access(btf->path, R_OK) ? NULL : btf->path;
}

void kernel_btf_close(struct kernel_btf *btf)
{
	if (btf->fd >= 0)
		close(btf->fd);
	btf->fd = -1;
}
