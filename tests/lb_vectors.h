/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Examples of draft-ietf-quic-load-balancers-21 that are printed right, and quiche's.  All IDs tell
 * their length.
 */
#ifndef CS_TEST_LB_VECTORS_H
#define CS_TEST_LB_VECTORS_H

#include <linux/types.h>

#define EXAMPLE_KEY "8f95f09245765f80256934e50c66207f"

static const struct {
	const char *key, *server_id, *nonce, *cid;
	__u32 id;
} published[] = {
	/* Appendix B; the key is that of its section B.2 */
	{ NULL, "c4605e", "4504cc4f", "07 c4605e4504cc4f", 0 },
	/* quiche's */
	{ NULL, "ed793a", "8049718a", "07 ed793a8049718a", 0 },
	{ NULL, "ed793a51d49b8f5f", "ee15da27c4", "2d ed793a51d49b8f5fee15da27c4", 1 },
	{ EXAMPLE_KEY, "ed793a", "ee080dbf", "07 20b1d07b359d3c", 0 },
	{ EXAMPLE_KEY, "ed793a51d49b8f5fab65", "ee080dbf48", "2f cc381bc74cb4fbad2823a3d1f8fed2",
	  1 },
	{ EXAMPLE_KEY, "ed793a51d49b8f5f", "ee080dbf48c0d1e5",
	  "50 4dd2d05a7b0de9b2b9907afb5ecf8cc3", 2 },
	/* section 5.4.2.4 */
	{ "fdf726a9893ec05c0632d3956680baf0", "31441a", "9c69c275", "07 67947d29be054a", 0 },
};

#endif
