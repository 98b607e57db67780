/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs ask of the running kernel's types (CO-RE): of struct bpf_map one member.
 *
 * The kernel's BTF has some megabytes, which libbpf reads anew for each object: two thirds of the
 * time that loading one takes.  So it is read once, and what is asked for is handed on.
 */
#ifndef CS_KERNEL_BTF_H
#define CS_KERNEL_BTF_H

struct kernel_btf {
	int fd; /* -1: none */
	char path[32];
};
#define KERNEL_BTF_INIT                                                                            \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/*
 * For btf_custom_path of an object's options, until kernel_btf_close(), which is to come after the
 * object was loaded.  NULL: it is not to be had, and libbpf reads all of the kernel's by itself.
 */
const char *kernel_btf_open(struct kernel_btf *btf);
void kernel_btf_close(struct kernel_btf *btf);
#define _cleanup_kernel_btf_ __attribute__((cleanup(kernel_btf_close)))

#endif
