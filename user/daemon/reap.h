/* SPDX-License-Identifier: GPL-2.0-only */
/* What reap.c tells the rest of the daemon besides workers.h. */
#ifndef CS_REAP_H
#define CS_REAP_H

#include "daemon/workers.h"

/* The worker's pidfd became readable. */
void worker_process_ended(struct source *source, uint32_t events);

/* Its provisional routes count no more: they are gone, or like any other. */
void worker_return_share(const struct worker *worker);

#endif
