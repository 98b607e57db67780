// SPDX-License-Identifier: GPL-2.0-only
/* cs_reuseport: which worker's socket gets what, while workers come and go. */
#include <signal.h>

#include "sockets.h"

TestSuite(sockets, .init = begin);

Test(sockets, a_connection_id_comes_to_its_worker_from_whatever_address)
{
	__u8 packet[64], from[32];

	for (int round = 0; round < 40; round++) {
		struct path path = to_h3[round % COUNT(to_h3)];
		const struct worker *owner = &worker[0][round % WORKERS];
		struct cs_verdict said;

		snprintf((char *)from, sizeof(from), "127.0.1.%d", 1 + round);
		if (!strchr(path.from, ':'))
			path.from = (char *)from;
		quic_short(packet, 0x40, owner->cid[round % CIDS], 8, sizeof(packet));
		said = check_datagram(0, &path, packet, sizeof(packet), CS_C_by_table);
		check(said.worker == cidsteer_worker_id(owner->handle), "worker %u", said.worker);
	}
}

Test(sockets, a_worker_by_message_gets_its_packets)
{
	static const struct path path = { .from = "127.0.0.1", .to = "127.0.0.1", .port = 4435 };
	__u8 packet[64];

	for (int round = 0; round < 2 * WORKERS * CIDS; round++) {
		const struct worker *owner = &worker[1][round % WORKERS];

		quic_long(packet, 0xe0, CS_QUIC_V1, owner->cid[round / WORKERS % CIDS], 8, 64);
		check_datagram(1, &path, packet, sizeof(packet), CS_C_by_table);
	}
}

Test(sockets, without_connection_ids_the_tuple_decides)
{
	static const struct path path = { .from = "127.0.0.1", .to = "127.0.0.1", .port = 4700 };
	__u8 packet[64];

	for (int round = 0; round < 40; round++) {
		quic_long(packet, 0xc0, CS_QUIC_V1, worker[0][0].cid[0], 8, sizeof(packet));
		check_datagram(2, &path, packet, round,
			       round < 6 + 8 ? CS_C_malformed : CS_C_by_tuple);
	}
}

/* Any head, cut anywhere, over each path; what it is does not matter, that both agree does. */
Test(sockets, both_hooks_agree_on_random_datagrams)
{
	static const __u32 versions[] = { CS_QUIC_V1, CS_QUIC_V2, 0, 0x1a2a3a4a };
	__u64 seed = 50, count = rounds(1500), reasons[CS_COUNTERS] = { 0 };

	for (__u64 round = 0; round < count; round++) {
		const struct worker *owner = &worker[0][random_below(&seed, WORKERS)];
		__u8 dcid[CS_MAX_CID], packet[64];
		size_t len = random_below(&seed, 3) ? 64 : random_below(&seed, 40);

		random_fill(&seed, dcid, sizeof(dcid));
		if (random_below(&seed, 2))
			memcpy(dcid, owner->cid[random_below(&seed, CIDS)], 8);
		if (random_below(&seed, 2))
			quic_short(packet, random_below(&seed, 128), dcid, CS_MAX_CID, 64);
		else
			quic_long(packet, 128 + random_below(&seed, 128),
				  versions[random_below(&seed, 4)], dcid,
				  random_below(&seed, 3) ? 8 : 4 * random_below(&seed, 6), 64);
		reasons[check_datagram(0, &to_h3[random_below(&seed, COUNT(to_h3))], packet, len, 0)
				.reason]++;
	}
	for (__u32 reason = CS_C_malformed; reason <= CS_C_unknown_cid; reason++)
		check(reasons[reason] > count / 100, "reason %u came %llu times", reason,
		      reasons[reason]);
}

Test(sockets, empty_and_tiny_datagrams_go_by_their_tuple)
{
	static const __u8 firsts[] = { 0x00, 0x40, 0x7f, 0x80, 0xc0, 0xff };

	for (size_t i = 0; i < COUNT(to_h3); i++) {
		for (int round = 0; round < 8; round++) {
			check_datagram(0, &to_h3[i], NULL, 0, CS_C_malformed);
			check_datagram(0, &to_h3[i], &firsts[round % COUNT(firsts)], 1,
				       CS_C_malformed);
		}
	}
}

Test(sockets, a_datagram_cut_anywhere_goes_by_what_is_left)
{
	__u8 packet[64];

	for (size_t len = 0; len <= sizeof(packet); len++) {
		quic_short(packet, 0x40, worker[0][len % WORKERS].cid[0], 8, sizeof(packet));
		check_datagram(0, &to_h3[len % COUNT(to_h3)], packet, len,
			       len < 1 + 8 ? CS_C_malformed : CS_C_by_table);
		quic_long(packet, 0xc0, CS_QUIC_V2, worker[0][len % WORKERS].cid[0], 8, 64);
		check_datagram(0, &to_h3[len % COUNT(to_h3)], packet, len,
			       len < 6 + 8 ? CS_C_malformed : CS_C_by_table);
	}
}

/* ---- workers come and go ------------------------------------------------------------------- */

static void check_initials(int worker_out)
{
	__u64 seed = 70;

	for (int round = 0; round < 100; round++) {
		struct cs_verdict said;
		__u8 packet[64], dcid[8];

		random_fill(&seed, dcid, sizeof(dcid));
		quic_long(packet, 0xc0, CS_QUIC_V1, dcid, 8, sizeof(packet));
		said = check_datagram(0, &to_h3[round % COUNT(to_h3)], packet, sizeof(packet),
				      CS_C_by_ring);
		check(number_of(0, said.worker) != worker_out, "a new connection came to it");
	}
}

Test(sockets, a_draining_worker_keeps_what_it_has_and_gets_nothing_new)
{
	__u8 packet[64];

	check(!cidsteer_drain(worker[0][1].handle), "drain");
	check_initials(1);
	quic_short(packet, 0x40, worker[0][1].cid[2], 8, sizeof(packet));
	check(check_datagram(0, &to_h3[0], packet, sizeof(packet), CS_C_by_table).state ==
		      CS_WORKER_DRAINING,
	      "state");
}

Test(sockets, what_a_closed_worker_had_goes_to_the_others)
{
	__u8 packet[64];
	__u32 id = cidsteer_worker_id(worker[0][1].handle);
	struct cs_worker value;

	cidsteer_close(worker[0][1].handle);
	worker[0][1].handle = NULL;
	check(eventually(!bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &value) &&
			 value.state == CS_WORKER_DEAD && daemon_logged("routes removed")),
	      "not reaped");
	check_initials(1);
	quic_short(packet, 0x40, worker[0][1].cid[2], 8, sizeof(packet));
	check_datagram(0, &to_h3[0], packet, sizeof(packet), CS_C_unknown_cid);
}

/* Its route is still there, its socket is not: the kernel's hash picks one that is. */
Test(sockets, a_socket_that_was_closed_is_passed_over_and_counted)
{
	static struct counters before, after;
	struct path path = to_h3[0];
	int fd = open_client(&path);
	__u8 packet[64];

	quic_short(packet, 0x40, worker[0][1].cid[0], 8, sizeof(packet));
	close(worker[0][1].socket[0]);
	worker[0][1].socket[0] = udp_bind("127.0.0.1:4999");
	counters_read(&plane, &before);
	send_it(fd, &path, packet, sizeof(packet));
	check(receiver(0, sizeof(packet)) % 100 != 1, "the closed socket received");
	counters_read(&plane, &after);
	counters_expect(&before, CS_HOOK_REUSEPORT, service_named(&plane, "h3"), CS_C_no_socket, 1);
	counters_check(&before, &after, "no socket");
}

Test(sockets, without_a_worker_the_kernels_own_hash_decides)
{
	__u8 packet[64];

	quic_long(packet, 0xc0, CS_QUIC_V1, worker[0][1].cid[0], 8, sizeof(packet));
	for (int i = 0; i < WORKERS; i++) {
		cidsteer_close(worker[0][i].handle);
		worker[0][i].handle = NULL;
	}
	check(eventually(predict(&to_h3[0], 9, packet, sizeof(packet)).reason == CS_C_no_worker),
	      "not reaped");
	for (int round = 0; round < 20; round++)
		check_datagram(0, &to_h3[round % COUNT(to_h3)], packet, sizeof(packet),
			       CS_C_no_worker);
}

Test(sockets, without_its_daemon_the_data_path_goes_on)
{
	__u8 packet[64];

	daemon_end(SIGKILL);
	check_initials(-1);
	for (int i = 0; i < WORKERS; i++) {
		quic_short(packet, 0x40, worker[0][i].cid[0], 8, sizeof(packet));
		check_datagram(0, &to_h3[i], packet, sizeof(packet), CS_C_by_table);
	}
	check(!cidsteer_issue(worker[0][0].handle, (__u8[8]){ 7 }, 8), "issue");
	quic_short(packet, 0x40, (__u8[8]){ 7 }, 8, sizeof(packet));
	check_datagram(0, &to_h3[0], packet, sizeof(packet), CS_C_by_table);
}

/* A socket that joined the group unasked gets nothing that belongs to a worker. */
Test(sockets, an_unregistered_socket_in_the_group_gets_no_routed_packet)
{
	int stranger = udp_bind("[::]:4433");

	check_initials(-1);
	check(recv(stranger, NULL, 0, MSG_DONTWAIT) < 0, "it received");
	close(stranger);
}
