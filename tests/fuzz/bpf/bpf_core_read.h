/* SPDX-License-Identifier: GPL-2.0-only */
/* Stands in for libbpf's header of this name: here nothing is relocated. */
#ifndef FUZZ_BPF_CORE_READ_H
#define FUZZ_BPF_CORE_READ_H

#define bpf_core_type_id_local(type) 0
#define preserve_access_index /* an attribute that clang has for BPF only */

#endif
