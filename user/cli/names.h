/* SPDX-License-Identifier: GPL-2.0-only */
/* What numbers in verdicts and counters are called, for people and in JSON. */
#ifndef CS_NAMES_H
#define CS_NAMES_H

#include "core/abi.h"
#include "core/quic.h"

/* By CS_C_*. */
struct counter_name {
	const char *name;
	const char *group; /* "rx", "verdict", "note" */
	const char *text;  /* what one increment means */
};
extern const struct counter_name counter_names[CS_COUNTERS];

/* By CS_TYPE_*; NULL: CS_TYPE_NONE. */
extern const char *const packet_types[CS_TYPE_RETRY + 1];

#endif
