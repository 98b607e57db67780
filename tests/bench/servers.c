// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connection IDs that carry their server: cs_xdp by BPF_PROG_TEST_RUN, the same short header again
 * and again, by how its DCID is decoded.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "bench.h"
#include "core/lb.h"

/* A configuration, by its id; both lengths 0: there is none. */
static const struct lengths {
	__u8 server_id_len, nonce_len;
	bool has_key;
} configs[CS_LB_CONFIGS] = {
	[0] = { 3, 4, false },
	[1] = { 8, 8, true },
	[2] = { 5, 6, true },
	[3] = { 8, 5, true },
};

static const struct {
	__u8 config; /* the first three bits of the DCID */
	__u32 reason;
} rows[SERVER_ROWS] = {
	[ROW_TABLE] = { 7, CS_C_by_table },	[ROW_OTHER] = { 5, CS_C_by_table },
	[ROW_PLAIN] = { 0, CS_C_by_server_id }, [ROW_SINGLE] = { 1, CS_C_by_server_id },
	[ROW_THREE] = { 2, CS_C_by_server_id }, [ROW_FOUR] = { 3, CS_C_by_server_id },
};

static __u8 cid[SERVER_ROWS][CS_MAX_CID];
static int worker_socket = -1;

static void set_config(__u32 service, __u8 id, struct cs_lb *lb, __u16 worker)
{
	static const __u8 key[16] = "not a secret key";
	struct cs_server_key server = { .service = service, .config = id };
	__u32 index = service * CS_LB_CONFIGS + id;
	struct cs_server value = { .worker = worker };

	cs_lb_init(lb, id, configs[id].server_id_len, configs[id].nonce_len, 1,
		   configs[id].has_key ? key : NULL);
	check(lb->algorithm != CS_LB_FOUR || lb->last_pass == (id == 2 ? 2 : 1), "passes");
	memset(server.id, 0x5e, lb->server_id_len);
	check(!bpf_map_update_elem(plane.map[PLANE_LB_CONFIGS], &index, lb, BPF_ANY) &&
		      !bpf_map_update_elem(plane.map[PLANE_SERVERS], &server, &value, BPF_ANY),
	      "configuration %u: %s", id, strerror(errno));
}

/* A worker of the service, and of its routes one with these bits in front. */
static struct cidsteer *issue(__u8 first, __u8 *to)
{
	static struct cidsteer *handle;

	if (!handle)
		handle = worker_open(SERVICE_SERVERS, &worker_socket);
	memset(to, 0x77, BENCH_CID);
	to[0] = first;
	check(!cidsteer_issue(handle, to, BENCH_CID), "issue");
	return handle;
}

static void prepare(void)
{
	__u32 id = services[SERVICE_SERVERS].id;
	struct cs_service service;
	struct cidsteer *handle;
	__u8 server_id[16], nonce[16];

	issue(rows[ROW_TABLE].config << 5, cid[ROW_TABLE]);
	handle = issue(rows[ROW_OTHER].config << 5, cid[ROW_OTHER]);
	memset(server_id, 0x5e, sizeof(server_id));
	memset(nonce, 0xa1, sizeof(nonce));
	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVICES], &id, &service), "cs_services");
	for (int row = ROW_PLAIN; row < SERVER_ROWS; row++) {
		__u8 config = rows[row].config;
		struct cs_lb lb;

		set_config(id, config, &lb, cidsteer_worker_id(handle));
		check(!cs_lb_encode(&lb, server_id, nonce, 0, cid[row],
				    1 + lb.server_id_len + lb.nonce_len),
		      "encode");
		service.lb_configs |= 1 << config;
	}
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &id, &service, BPF_ANY),
	      "cs_services");
}

const __u8 *server_cid(enum server_row row)
{
	if (worker_socket < 0)
		prepare();
	return cid[row];
}

__u32 server_reason(enum server_row row)
{
	return rows[row].reason;
}

int server_socket(void)
{
	return worker_socket;
}

static double measure(const struct bench_case *this)
{
	struct frame frame;

	frame_build(&frame, services[SERVICE_SERVERS].port);
	memcpy(frame.payload + CS_SHORT_HEADER_DCID, server_cid(this->what), CS_MAX_CID);
	return measure_frame(&frame, SERVICE_SERVERS, rows[this->what].reason);
}

static const struct bench_case cases[] = {
	{ .name = "server ID without a key", .measure = measure, .what = ROW_PLAIN },
	{ .name = "single pass", .measure = measure, .what = ROW_SINGLE },
	{ .name = "three passes", .measure = measure, .what = ROW_THREE },
	{ .name = "four passes", .measure = measure, .what = ROW_FOUR },
	{ .name = "0b111: in the table", .measure = measure, .what = ROW_TABLE },
	{ .name = "no such configuration: in the table", .measure = measure, .what = ROW_OTHER },
};

const struct bench_group servers = {
	.title = "XDP: connection IDs that carry their server, the same packet again and again",
	.unit = "ns",
	.base = "server ID without a key",
	.cases = cases,
	.count = COUNT(cases),
};
