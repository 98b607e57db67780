// SPDX-License-Identifier: GPL-2.0-only
/*
 * Strays in the recorder.  A worker knows the packet's DCID and that it is not its own; the table
 * says whose it is.  Where the packet came from nobody has asked.
 */
#include <string.h>

#include "core/quic.h"
#include "daemon/workers.h"

void worker_record_stray(const struct worker *worker, const __u8 *cid, size_t len)
{
	const struct service *service = worker_service(worker);
	struct cs_record record = {
		.time_ns = watch_now(),
		.verdict = {
			.service = worker->value.service,
			.worker = worker->id,
			.state = worker->value.state,
			.dcid_len = len,
		},
		.hook = CS_HOOK_NONE,
		.kind = CS_KIND_STRAY,
	};
	struct cs_cid dcid = { .len = len };

	memcpy(dcid.byte, cid, len);
	memcpy(record.verdict.dcid, cid, len);
	record.verdict.routed = cs_table_find(&service->table,
					      cs_tag(cs_cid_hash(service->value.key, &dcid)));
	watch_add(&worker->all->watch, &record);
}
