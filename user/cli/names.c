// SPDX-License-Identifier: GPL-2.0-only
#include "cli/names.h"

const struct counter_name counter_names[CS_COUNTERS] = {
#define CS_COUNTER(name, group, text) [CS_C_##name] = { #name, #group, text },
#include "core/counters.def"
#undef CS_COUNTER
};

const char *const packet_types[CS_TYPE_RETRY + 1] = {
	[CS_TYPE_INITIAL] = "Initial",
	[CS_TYPE_0RTT] = "0-RTT",
	[CS_TYPE_HANDSHAKE] = "Handshake",
	[CS_TYPE_RETRY] = "Retry",
};
