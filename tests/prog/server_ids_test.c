// SPDX-License-Identifier: GPL-2.0-only
/* IDs that say who made them: who is given a server ID, for how long, and with which nonces. */
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/lb.h"
#include "dataplane/lb.h"
#include "fixture.h"

#define KEY_FILE SANDBOX "/key"
#define KEY "000102030405060708090a0b0c0d0e0f"
static const __u8 key_octets[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

#define SERVICE_AT(name, port, more)                                                               \
	"service \"" name "\" { listen = {\"127.0.0.1:" port "\"} max_cids = 64 " more " }\n"
#define LB(id, server_id, nonce, more)                                                             \
	"quic_lb \"" id "\" { server_id_length = " server_id " nonce_length = " nonce              \
	" active = yes " more " }"
#define ENCRYPTED "key_file = \"" KEY_FILE "\""

/* clang-format off */
static const char configuration[] =
	SERVICE_AT("plain", "4433", LB("0", "3", "4", ""))
	SERVICE_AT("single", "4434", LB("1", "8", "8", ENCRYPTED))
	SERVICE_AT("four", "4435",
		   LB("2", "8", "5", ENCRYPTED " host = \"a1\" other_hosts = {\"a2\"}"))
	SERVICE_AT("small", "4436", LB("6", "1", "4", "tells_length = yes"))
	SERVICE_AT("told", "4437", "shared_table = no " LB("0", "3", "4", ENCRYPTED))
	SERVICE_AT("cookie", "4438",
		   "cid_length = 20 worker_key { offset = 0 length = 8 from = \"cookie\" }")
	SERVICE_AT("key", "4439", "worker_key { offset = 3 length = 2 from = \"worker\" }")
	SERVICE_AT("table", "4440", "");
/* clang-format on */

static const struct scheme {
	const char *service, *address;
	size_t len; /* of its IDs */
} schemes[] = {
	{ "plain", "127.0.0.1:4433", 8 }, { "single", "127.0.0.1:4434", 17 },
	{ "four", "127.0.0.1:4435", 14 }, { "small", "127.0.0.1:4436", 6 },
	{ "told", "127.0.0.1:4437", 8 },  { "cookie", "127.0.0.1:4438", 20 },
	{ "key", "127.0.0.1:4439", 8 },
};
enum {
	PLAIN,
	SINGLE,
	FOUR,
	SMALL,
	TOLD,
	COOKIE,
	OWN_KEY
};

static struct plane plane;

static void begin(void)
{
	FILE *file;

	sandbox_enter(100);
	file = fopen(KEY_FILE, "we");
	check(file && fputs(KEY "\n", file) >= 0 && !fclose(file) && !chmod(KEY_FILE, 0600), "key");
	daemon_start(configuration);
	plane_look(&plane);
}

TestSuite(server_ids, .init = begin);

struct peer {
	struct cidsteer *handle;
	int socket;
};

static int try_peer(struct peer *peer, const struct scheme *scheme, const __u8 *key, size_t len)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;

	options.control = CONTROL;
	options.worker_key = key;
	options.worker_key_len = len;
	peer->socket = udp_bind(scheme->address);
	return cidsteer_open(&peer->handle, scheme->service, &peer->socket, 1, &options);
}

static struct peer open_peer(int scheme)
{
	struct peer peer;
	int err = try_peer(&peer, &schemes[scheme], NULL, 0);

	check(!err, "opening a worker of %s: %s", schemes[scheme].service, strerror(-err));
	return peer;
}

static void close_peer(struct peer *peer)
{
	cidsteer_close(peer->handle);
	close(peer->socket);
}

static const __u8 *generated(const struct peer *peer, size_t len)
{
	static __u8 cid[CS_MAX_CID];
	int err = cidsteer_generate(peer->handle, cid, len);

	check(!err, "generate: %s", strerror(-err));
	return cid;
}

/* Does a packet from nobody's address reach the worker whose ID it has? */
static bool reaches(const struct scheme *scheme, const __u8 *cid, const struct peer *peer)
{
	bool all = true;

	for (int i = 0; i < 8; i++) {
		int client = udp_connect(scheme->address);
		__u8 packet[40];

		quic_short(packet, 0x40, cid, scheme->len, sizeof(packet));
		check(send(client, packet, sizeof(packet), 0) == sizeof(packet), "send");
		close(client);
		all = all && udp_take(peer->socket);
	}
	return all;
}

static __u64 issued_by(const struct peer *peer)
{
	struct cidsteer_state state = { .size = sizeof(state) };

	check(!cidsteer_get_state(peer->handle, &state), "state");
	return state.routes;
}

/* A configuration as this test makes it, not as the daemon has it. */
static struct cs_lb config_of(int scheme)
{
	struct cs_lb lb;

	switch (scheme) {
	case PLAIN:
		cs_lb_init(&lb, 0, 3, 4, 0, NULL);
		break;
	case SINGLE:
		cs_lb_init(&lb, 1, 8, 8, 0, key_octets);
		break;
	case FOUR:
		cs_lb_init(&lb, 2, 8, 5, 0, key_octets);
		break;
	case SMALL:
		cs_lb_init(&lb, 6, 1, 4, 1, NULL);
		break;
	default:
		cs_lb_init(&lb, 0, 3, 4, 0, key_octets);
	}
	return lb;
}

static struct cs_server_id decoded(int scheme, const __u8 *octets)
{
	struct cs_lb lb = config_of(scheme);
	__u8 room[CS_MAX_CID + 4] = {};
	struct cs_server_id id;
	struct cs_cid cid;

	memcpy(room, octets, schemes[scheme].len);
	cs_cid_copy(&cid, room, schemes[scheme].len);
	check(!cs_lb_decode(&lb, &cid, &id), "an ID of %s is none", schemes[scheme].service);
	return id;
}

static struct cs_server server_of(int scheme, const struct cs_server_id *id)
{
	struct cs_server_key key = { .service = service_named(&plane, schemes[scheme].service),
				     .config = config_of(scheme).id,
				     .id = { id->word[0], id->word[1] } };
	struct cs_server server = {};

	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &key, &server), "nobody's server ID");
	return server;
}

/* ---- routing ------------------------------------------------------------------------------- */

Test(server_ids, what_a_worker_generates_comes_back_to_it_without_a_route)
{
	for (size_t i = 0; i < COUNT(schemes); i++) {
		struct peer one = open_peer(i), two = open_peer(i);
		const struct scheme *scheme = &schemes[i];
		__u8 cid[2][CS_MAX_CID];

		check(cidsteer_cid_length(one.handle) == scheme->len, "%s: %zu octets",
		      scheme->service, cidsteer_cid_length(one.handle));
		for (int round = 0; round < 4; round++) {
			memcpy(cid[0], generated(&one, scheme->len), scheme->len);
			memcpy(cid[1], generated(&two, scheme->len), scheme->len);
			check(memcmp(cid[0], cid[1], scheme->len), "the same ID");
			check(!cidsteer_issue(one.handle, cid[0], scheme->len), "issue");
			check(!cidsteer_issue(two.handle, cid[1], scheme->len), "issue");
			check(reaches(scheme, cid[0], &one), "%s: the first", scheme->service);
			check(reaches(scheme, cid[1], &two), "%s: the second", scheme->service);
			check(!cidsteer_retire(one.handle, cid[0], scheme->len), "retire");
			check(!issued_by(&one) && !issued_by(&two), "%s: a route was issued",
			      scheme->service);
		}
		close_peer(&one);
		close_peer(&two);
	}
}

Test(server_ids, each_worker_has_an_id_of_its_own_and_cs_servers_says_whose)
{
	static const int with_id[] = { PLAIN, SINGLE, FOUR, SMALL, TOLD };

	for (size_t i = 0; i < COUNT(with_id); i++) {
		int scheme = with_id[i];
		struct peer one = open_peer(scheme), two = open_peer(scheme);
		size_t len = schemes[scheme].len;
		struct cs_server_id first = decoded(scheme, generated(&one, len));
		struct cs_server_id second = decoded(scheme, generated(&two, len));

		check(memcmp(&first, &second, sizeof(first)), "%s: one server ID",
		      schemes[scheme].service);
		check(server_of(scheme, &first).worker == cidsteer_worker_id(one.handle), "one");
		check(server_of(scheme, &second).worker == cidsteer_worker_id(two.handle), "two");
		check(scheme != FOUR || (first.byte[0] == 0xa1 && second.byte[0] == 0xa1),
		      "the host's octet is %02x", first.byte[0]);
		close_peer(&one);
		close_peer(&two);
	}
}

Test(server_ids, an_id_that_is_issued_is_this_workers_or_is_marked_for_the_table)
{
	struct peer one = open_peer(PLAIN), two = open_peer(PLAIN);
	__u8 cid[8], other[8];

	memcpy(cid, generated(&one, 8), 8);
	memcpy(other, generated(&two, 8), 8);
	check(!cidsteer_issue(one.handle, cid, 8), "its own");
	check(cidsteer_issue(one.handle, other, 8) == -EINVAL, "another worker's");
	check(cidsteer_issue(one.handle, cid, 7) == -EINVAL, "a short one");
	other[0] = 0x20; /* a configuration that there is not */
	check(cidsteer_issue(one.handle, other, 8) == -EINVAL, "not marked");
	other[0] = 0xe0;
	check(!cidsteer_issue(one.handle, other, 8), "marked");
	check(issued_by(&one) == 1, "%llu routes", (unsigned long long)issued_by(&one));
	check(reaches(&schemes[PLAIN], other, &one), "by the table");
	check(!cidsteer_retire(one.handle, other, 8) && !issued_by(&one), "retire");
	close_peer(&one);
	close_peer(&two);
}

/* Of a client's first DCID nothing is asked. */
Test(server_ids, provisional_routes_may_look_like_anything)
{
	struct peer one = open_peer(PLAIN), two = open_peer(PLAIN);
	__u8 cid[8];

	memcpy(cid, generated(&two, 8), 8);
	check(!cidsteer_issue_provisional(one.handle, cid, 8), "issue");
	check(issued_by(&one) == 1, "no route");
	check(!cidsteer_retire(one.handle, cid, 8) && !issued_by(&one), "retire");
	close_peer(&one);
	close_peer(&two);
}

Test(server_ids, strays_are_told_by_the_daemon)
{
	struct peer one = open_peer(SINGLE), two = open_peer(SINGLE);
	__u32 service = service_named(&plane, "single"), line;
	__u32 id = cidsteer_worker_id(one.handle);
	int usage_fd = plane_usage_fd(&plane, service);
	struct cs_worker worker;
	struct cs_usage usage = {};
	__u8 own[17], other[17];

	memcpy(own, generated(&one, 17), 17);
	memcpy(other, generated(&two, 17), 17);
	check(!bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &worker), "worker");
	line = worker.usage;
	check(!cidsteer_report_stray(one.handle, own, 17), "its own");
	check(!cidsteer_report_stray(one.handle, other, 17), "another's");
	check(eventually(!bpf_map_lookup_elem(usage_fd, &line, &usage) && usage.decoded_strays),
	      "it is not counted");
	check(usage.decoded_strays == 1 && !usage.strays, "%llu and %llu",
	      (unsigned long long)usage.decoded_strays, (unsigned long long)usage.strays);
	close(usage_fd);
	close_peer(&one);
	close_peer(&two);
}

/* ---- nonces -------------------------------------------------------------------------------- */

static int by_octets(const void *a, const void *b)
{
	return memcmp(a, b, 8);
}

#define MANY (3 * 65536 + 1000)

Test(server_ids, no_id_is_made_twice)
{
	struct peer one = open_peer(PLAIN);
	__u8(*cid)[8] = calloc(MANY, 8);

	check(cid, "memory");
	for (int i = 0; i < MANY; i++) {
		/* The next block is asked for in the middle of the last one. */
		if (!(i % 1000))
			check(!cidsteer_dispatch(one.handle), "dispatch");
		memcpy(cid[i], generated(&one, 8), 8);
	}
	qsort(cid, MANY, 8, by_octets);
	for (int i = 1; i < MANY; i++) {
		check(cid[i][0] < 0x20, "not of the configuration");
		check(memcmp(cid[i] + 1, cid[i - 1] + 1, 7), "one came twice");
	}
	free(cid);
	close_peer(&one);
}

static bool is_connected(const struct peer *peer)
{
	struct cidsteer_state state = { .size = sizeof(state) };

	return !cidsteer_get_state(peer->handle, &state) && state.connected;
}

static void restart_under(struct peer *peer)
{
	daemon_end(SIGKILL);
	check(eventually(cidsteer_dispatch(peer->handle) == -ENOTCONN), "the daemon's end");
	daemon_start(NULL);
	check(eventually(cidsteer_dispatch(peer->handle) >= 0 && is_connected(peer)), "again");
}

static void use_up(struct peer *peer, int count)
{
	for (int i = 0; i < count; i++)
		generated(peer, 8);
}

/* What was given to a worker is given to nobody else, whoever has the server ID then. */
Test(server_ids, the_mark_outlives_worker_and_daemon)
{
	struct peer one = open_peer(PLAIN);
	struct cs_server_id id = decoded(PLAIN, generated(&one, 8));
	struct cs_server first = server_of(PLAIN, &id), second;

	check(first.left == (1ULL << 32) - 65536, "%llu are left", (unsigned long long)first.left);
	use_up(&one, 20000);
	restart_under(&one);
	check(server_of(PLAIN, &id).left == first.left, "a block was given for nothing");
	use_up(&one, 20000);
	check(eventually(!cidsteer_dispatch(one.handle) && server_of(PLAIN, &id).left < first.left),
	      "no other block");
	second = server_of(PLAIN, &id);
	check(second.left == first.left - 65536 && second.worker == first.worker,
	      "%llu are left, worker %u", (unsigned long long)second.left, second.worker);
	check(second.next == (first.next + 65536) % (1ULL << 32), "they begin elsewhere");
	close_peer(&one);
}

static void set_left(const struct cs_server_id *id, __u64 left)
{
	struct cs_server_key key = { .service = service_named(&plane, "plain"),
				     .id = { id->word[0], id->word[1] } };
	struct cs_server server = server_of(PLAIN, id);

	server.left = left;
	check(!bpf_map_update_elem(plane.map[PLANE_SERVERS], &key, &server, BPF_EXIST), "left");
}

/* As if so many were left to a daemon that starts. */
Test(server_ids, a_worker_without_nonces_gets_another_server_id)
{
	struct peer one = open_peer(PLAIN);
	struct cs_server_id first = decoded(PLAIN, generated(&one, 8)), id = first;
	int of_first = 1;

	daemon_end(SIGKILL);
	set_left(&first, 65536 + 5);
	check(eventually(cidsteer_dispatch(one.handle) == -ENOTCONN), "the daemon's end");
	daemon_start(NULL);
	check(eventually(cidsteer_dispatch(one.handle) >= 0 && is_connected(&one)), "again");
	for (; of_first < 4 * 65536; of_first++) {
		if (!(of_first % 1000))
			check(cidsteer_dispatch(one.handle) >= 0, "dispatch");
		id = decoded(PLAIN, generated(&one, 8));
		if (memcmp(&id, &first, sizeof(id)))
			break;
	}
	check(of_first == 2 * 65536, "%d with the first", of_first);
	check(server_of(PLAIN, &first).left == 5, "a part of a block was given");
	check(server_of(PLAIN, &id).worker == cidsteer_worker_id(one.handle), "whose?");
	check(server_of(PLAIN, &first).worker == cidsteer_worker_id(one.handle), "it lost the old");
	check(reaches(&schemes[PLAIN], generated(&one, 8), &one), "packets");
	close_peer(&one);
}

/* ---- who has which ------------------------------------------------------------------------- */

struct life {
	int scheme;
	struct cs_server_id id;
	unsigned int worker;
};

/* A worker in a process of its own, that generates one ID and ends. */
static int live(void *arg)
{
	struct life *life = arg;
	struct peer peer;
	__u8 cid[CS_MAX_CID];

	if (try_peer(&peer, &schemes[life->scheme], NULL, 0) ||
	    cidsteer_generate(peer.handle, cid, schemes[life->scheme].len))
		return 1;
	if (life->scheme == COOKIE)
		memcpy(&life->id, cid, 8);
	else
		life->id = decoded(life->scheme, cid);
	life->worker = cidsteer_worker_id(peer.handle);
	return 0;
}

/* All 256 come before the first comes again, and then in the same order. */
Test(server_ids, an_id_rests_for_as_long_as_there_are_others)
{
	struct life *life = mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static struct cs_server_id seen[260];

	check(life != MAP_FAILED, "memory");
	life->scheme = SMALL;
	for (int i = 0; i < 260; i++) {
		check(!spawn_result(spawn_as(0, live, life)), "worker %d", i);
		seen[i] = life->id;
		for (int before = 0; before < i; before++) {
			bool same = !memcmp(&seen[before], &seen[i], sizeof(seen[i]));

			check(same == (i >= 256 && before == i - 256),
			      "worker %d has what worker %d had", i, before);
		}
		check(eventually(!server_of(SMALL, &life->id).worker), "worker %d still has it", i);
	}
}

/* While its process lives its worker's id is nobody else's, and so is this. */
Test(server_ids, an_id_is_not_free_before_its_process_is_gone)
{
	struct peer one = open_peer(SMALL);
	struct cs_server_id id = decoded(SMALL, generated(&one, 6));
	unsigned int worker = cidsteer_worker_id(one.handle);

	close_peer(&one);
	check(eventually(daemon_logged("is gone, 0 routes removed")), "it is not buried");
	check(server_of(SMALL, &id).worker == worker, "it is free");
}

Test(server_ids, after_a_restart_the_dead_have_none_and_the_living_keep_theirs)
{
	struct life *life = mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct peer one = open_peer(PLAIN);
	struct cs_server_id id = decoded(PLAIN, generated(&one, 8));
	struct cs_server_key odd = { .service = service_named(&plane, "plain"), .id = { 0x77 } };
	struct cs_server_key none = { .service = 200, .id = { 0x77 } };
	struct cs_server_key longer = { .service = odd.service, .id = { 0x77, 1 } };
	struct cs_server_key padded = { .service = odd.service, .id = { 0x77 }, .pad = { 1 } };
	struct cs_server hostile = { .worker = 40000, .next = 1ULL << 40, .left = ~0ULL }, got;

	check(life != MAP_FAILED, "memory");
	life->scheme = PLAIN;
	check(!spawn_result(spawn_as(0, live, life)), "worker");
	check(eventually(!server_of(PLAIN, &life->id).worker), "still there");
	daemon_end(SIGKILL);
	/* As if it had been killed before it took the ID back; and what nobody has written. */
	check(!bpf_map_update_elem(plane.map[PLANE_SERVERS], &odd, &hostile, BPF_ANY) &&
		      !bpf_map_update_elem(plane.map[PLANE_SERVERS], &longer, &hostile, BPF_ANY) &&
		      !bpf_map_update_elem(plane.map[PLANE_SERVERS], &padded, &hostile, BPF_ANY) &&
		      !bpf_map_update_elem(plane.map[PLANE_SERVERS], &none, &hostile, BPF_ANY),
	      "hostile");
	daemon_start(NULL);
	check(server_of(PLAIN, &id).worker == cidsteer_worker_id(one.handle), "the living");
	check(!server_of(PLAIN, &life->id).worker, "the dead");
	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &odd, &got) && !got.worker,
	      "nobody's is worker %u's", got.worker);
	check(!got.next && got.left == 1ULL << 32, "%llu nonces from %llu on",
	      (unsigned long long)got.left, (unsigned long long)got.next);
	check(bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &longer, &got),
	      "longer than it can be");
	check(bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &padded, &got), "with padding");
	check(bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &none, &got), "of no service");
	check(reaches(&schemes[PLAIN], generated(&one, 8), &one), "the living one's packets");
	close_peer(&one);
}

/* Other maps, another daemon: the IDs that clients have are asked for again. */
Test(server_ids, ids_in_use_survive_other_maps)
{
	struct peer peer[3] = { open_peer(FOUR), open_peer(FOUR), open_peer(SINGLE) };
	static const int scheme[3] = { FOUR, FOUR, SINGLE };
	struct error error;
	__u8 cid[3][CS_MAX_CID];

	for (int i = 0; i < 3; i++)
		memcpy(cid[i], generated(&peer[i], schemes[scheme[i]].len), CS_MAX_CID);
	daemon_end(SIGKILL);
	for (int i = 0; i < 3; i++)
		check(eventually(cidsteer_dispatch(peer[i].handle) == -ENOTCONN), "end");
	plane_close(&plane);
	plane = (struct plane)PLANE_INIT;
	check(!plane_lock(&plane, PINS, &error) && !plane_unload(&plane, &error), "%s", error.line);
	plane_close(&plane);
	daemon_start(NULL);
	plane_look(&plane);
	for (int i = 2; i >= 0; i--) {
		size_t len = schemes[scheme[i]].len;

		check(eventually(cidsteer_dispatch(peer[i].handle) == CIDSTEER_REISSUE), "reissue");
		check(!cidsteer_issue(peer[i].handle, cid[i], len), "%d: not its own any more", i);
	}
	for (int i = 0; i < 3; i++) {
		check(reaches(&schemes[scheme[i]], cid[i], &peer[i]), "%d: packets", i);
		check(reaches(&schemes[scheme[i]], generated(&peer[i], schemes[scheme[i]].len),
			      &peer[i]),
		      "%d: of a new ID", i);
		close_peer(&peer[i]);
	}
}

/* The answer to a LEASE, whatever else is said. */
static struct cs_msg_leased leased_by(int fd, const struct cs_msg_lease *lease)
{
	union {
		struct cs_msg head;
		struct cs_msg_leased leased;
		__u8 bytes[512];
	} answer;

	check(!control_send(fd, lease, sizeof(*lease), NULL, 0), "send");
	do {
		check(control_receive(fd, answer.bytes, sizeof(answer.bytes)) > 0, "receive");
	} while (answer.head.type != CS_MSG_LEASED || answer.head.serial != lease->head.serial);
	return answer.leased;
}

static unsigned int server_ids_of(const char *service)
{
	struct cs_server_key key, *from = NULL;
	__u32 id = service_named(&plane, service);
	unsigned int count = 0;

	while (!bpf_map_get_next_key(plane.map[PLANE_SERVERS], from, &key)) {
		from = &key;
		count += key.service == id;
	}
	return count;
}

/* All services share cs_servers. */
Test(server_ids, who_claims_what_it_never_had_leaves_room_to_others)
{
	struct cs_msg_lease lease = { .claims = 1 };
	int fd = control_connect(), socket = udp_bind("127.0.0.1:4433");
	struct cs_msg_register message;

	message_register(&message, "plain", 1);
	check(fd >= 0 && !control_send(fd, &message, sizeof(message), &socket, 1), "send");
	message_head(&lease.head, CS_MSG_LEASE, sizeof(lease));
	for (int i = 1; i <= 4200; i++) {
		struct cs_msg_leased leased;

		lease.head.serial = i;
		lease.server_id[0] = i;
		lease.server_id[1] = i >> 8;
		leased = leased_by(fd, &lease);
		check(!leased.result && leased.count == 65536, "%d: %d", i, leased.result);
	}
	check(server_ids_of("plain") == 4096, "%u server IDs", server_ids_of("plain"));
	close(socket);
	close(fd);
}

/* ---- a service's own format ------------------------------------------------------------------ */

Test(server_ids, a_worker_says_its_key_or_is_given_one)
{
	struct peer said, given, again;
	__u8 cid[8];

	check(!try_peer(&said, &schemes[OWN_KEY], (const __u8 *)"\x12\x34", 2), "open");
	memcpy(cid, generated(&said, 8), 8);
	check(cid[3] == 0x12 && cid[4] == 0x34, "%02x%02x", cid[3], cid[4]);
	check(reaches(&schemes[OWN_KEY], cid, &said), "packets");
	check(try_peer(&again, &schemes[OWN_KEY], (const __u8 *)"\x12\x34", 2) == -EEXIST, "twice");
	check(try_peer(&again, &schemes[OWN_KEY], (const __u8 *)"\x12", 1) == -EINVAL, "short");
	check(try_peer(&again, &schemes[PLAIN], (const __u8 *)"\x12", 1) == -EINVAL, "no format");
	check(try_peer(&again, &schemes[COOKIE], (const __u8 *)"12345678", 8) == -EINVAL, "cookie");
	given = open_peer(OWN_KEY);
	memcpy(cid, generated(&given, 8), 8);
	check(cid[3] != 0x12 || cid[4] != 0x34, "another's");
	check(reaches(&schemes[OWN_KEY], cid, &given), "packets");
	/* Who says it after the other has left has it. */
	cidsteer_close(said.handle);
	check(eventually(daemon_logged("is gone")), "it is not buried");
	check(!try_peer(&again, &schemes[OWN_KEY], (const __u8 *)"\x12\x34", 2), "again");
	memcpy(cid, generated(&again, 8), 8);
	check(reaches(&schemes[OWN_KEY], cid, &again), "packets");
	close_peer(&again);
	close_peer(&given);
}

Test(server_ids, a_cookie_is_in_network_order_and_goes_with_its_socket)
{
	struct peer one = open_peer(COOKIE);
	__u32 service = service_named(&plane, "cookie");
	struct cs_server_key key = { .service = service, .config = CS_BY_EXTRACTOR };
	struct cs_server server;
	struct life *life = mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);
	__u8 cid[20];

	check(life != MAP_FAILED, "memory");
	memcpy(cid, generated(&one, 20), 20);
	check(!getsockopt(one.socket, SOL_SOCKET, SO_COOKIE, &cookie, &len), "cookie");
	for (int i = 0; i < 8; i++)
		check(cid[i] == (__u8)(cookie >> (56 - 8 * i)), "octet %d", i);
	memcpy(key.id, cid, 8);
	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &key, &server), "no entry");
	life->scheme = COOKIE;
	check(!spawn_result(spawn_as(0, live, life)), "another");
	key.id[0] = life->id.word[0];
	check(eventually(bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &key, &server)), "it stays");
	memcpy(key.id, cid, 8);
	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &key, &server), "it went");
	close_peer(&one);
}

/* ---- who sees what ------------------------------------------------------------------------- */

static void formats_of(const char *service, const char *address, struct cs_msg_formats *formats)
{
	struct cs_msg_register message;
	int fd = control_connect(), socket = udp_bind(address), type = 0;
	union {
		struct cs_msg head;
		struct cs_msg_formats formats;
		__u8 bytes[512];
	} answer;

	message_register(&message, service, 1);
	check(fd >= 0 && !control_send(fd, &message, sizeof(message), &socket, 1), "send");
	for (int i = 0; i < 3 && type != CS_MSG_FORMATS; i++) {
		check(control_receive(fd, answer.bytes, sizeof(answer.bytes)) > 0, "receive");
		type = answer.head.type;
	}
	check(type == CS_MSG_FORMATS, "no formats");
	*formats = answer.formats;
	close(socket);
	close(fd);
}

Test(server_ids, who_needs_no_key_is_told_none)
{
	static const __u8 none[16];
	struct cs_msg_formats formats;

	formats_of("single", "127.0.0.1:4434", &formats);
	for (int id = 0; id < CS_LB_CONFIGS; id++)
		check(!memcmp(formats.lb[id].key, id == 1 ? key_octets : none, 16), "key %d", id);
	formats_of("plain", "127.0.0.1:4433", &formats);
	for (int id = 0; id < CS_LB_CONFIGS; id++)
		check(!memcmp(formats.lb[id].key, none, 16), "plain: key %d", id);
	check(!daemon_logged(KEY), "a key is in the log");
}

static int child_of_worker(void *arg)
{
	struct peer *peer = arg;
	__u8 cid[CS_MAX_CID];

	if (cidsteer_generate(peer->handle, cid, 17) != -ECHILD)
		return 1;
	if (cidsteer_cid_length(peer->handle) != 8)
		return 2;
	cidsteer_close(peer->handle);
	return 0;
}

Test(server_ids, a_child_has_neither_key_nor_nonces)
{
	struct peer one = open_peer(SINGLE);

	generated(&one, 17);
	check(!spawn_result(spawn_as(0, child_of_worker, &one)), "the child");
	generated(&one, 17);
	close_peer(&one);
}

/* ---- configurations come and go -------------------------------------------------------------- */

static int operate_with(struct cs_msg_config *message, const char *service, char line[512])
{
	union {
		struct cs_msg head;
		struct cs_msg_refused refused;
		struct cs_msg_done done;
	} answer;
	int fd = control_connect();

	message_head(&message->head, CS_MSG_CONFIG, sizeof(*message));
	strcpy(message->service, service);
	check(fd >= 0 && !control_send(fd, message, sizeof(*message), NULL, 0), "send");
	check(control_receive(fd, &answer, sizeof(answer)) > 0, "receive");
	close(fd);
	line[0] = '\0';
	if (answer.head.type == CS_MSG_DONE)
		return answer.done.result;
	check(answer.head.type == CS_MSG_REFUSED, "type %u", answer.head.type);
	strcpy(line, answer.refused.line);
	return answer.refused.error;
}

static int operate(__u8 kind, const char *service, __u8 id, const struct cs_format *format,
		   char line[512])
{
	struct cs_msg_config message = { .kind = kind, .id = id };

	if (format)
		message.format = *format;
	return operate_with(&message, service, line);
}

static __u8 config_made_with(struct peer *peer, size_t len)
{
	cidsteer_dispatch(peer->handle);
	return generated(peer, len)[0] >> 5;
}

Test(server_ids, a_rotation_moves_nobody)
{
	struct cs_format format = { .used = 1, .server_id_len = 2, .nonce_len = 5, .cid_len = 8 };
	struct peer one = open_peer(PLAIN);
	char line[512];
	__u8 old[8];

	memcpy(old, generated(&one, 8), 8);
	check(!operate(CS_CONFIG_ADD, "plain", 3, &format, line), "add: %s", line);
	check(config_made_with(&one, 8) == 0, "it is used before it is active");
	check(operate(CS_CONFIG_ADD, "plain", 3, &format, line) == -EEXIST, "twice");
	check(!operate(CS_CONFIG_ACTIVATE, "plain", 3, NULL, line), "activate: %s", line);
	/* Told, and the nonces asked for. */
	check(eventually(config_made_with(&one, 8) == 3), "it is not used");
	check(reaches(&schemes[PLAIN], generated(&one, 8), &one), "of the new one");
	check(reaches(&schemes[PLAIN], old, &one), "of the old one");
	check(operate(CS_CONFIG_RETIRE, "plain", 3, NULL, line) == -EBUSY, "the active one");
	check(!operate(CS_CONFIG_RETIRE, "plain", 0, NULL, line), "retire: %s", line);
	check(reaches(&schemes[PLAIN], generated(&one, 8), &one), "of the one that is left");
	check(operate(CS_CONFIG_RETIRE, "plain", 0, NULL, line) == -ENOENT, "retired twice");
	check(operate(CS_CONFIG_ACTIVATE, "plain", 0, NULL, line) == -ENOENT, "activated");
	check(!operate(CS_CONFIG_ACTIVATE, "plain", CS_LB_CONFIGS, NULL, line), "none: %s", line);
	check(eventually(config_made_with(&one, 8) == 7), "it is still used");
	check(!operate(CS_CONFIG_RETIRE, "plain", 3, NULL, line), "retire: %s", line);
	close_peer(&one);
}

/* A frozen map keeps what is in it, whoever writes. */
Test(server_ids, who_retires_is_obeyed_by_workers_and_key_even_if_something_of_it_stays)
{
	struct cs_format format = { .used = 1, .server_id_len = 2, .nonce_len = 5, .cid_len = 8 };
	__u32 index = service_named(&plane, "plain") * CS_LB_CONFIGS;
	struct peer one = open_peer(PLAIN);
	static const struct cs_lb none;
	struct cs_lb left;
	char line[512];
	__u8 old[8];

	memcpy(old, generated(&one, 8), 8);
	check(!cidsteer_issue(one.handle, old, 8), "its own");
	check(!operate(CS_CONFIG_ADD, "plain", 3, &format, line), "add: %s", line);
	check(!operate(CS_CONFIG_ACTIVATE, "plain", 3, NULL, line), "activate: %s", line);
	check(eventually(config_made_with(&one, 8) == 3), "it is not used");
	check(!bpf_map_freeze(plane.map[PLANE_SERVERS]), "freeze");
	check(operate(CS_CONFIG_RETIRE, "plain", 0, NULL, line) == -EPERM, "retire: %s", line);
	check(strstr(line, "removing what is left of configuration 0"), "\"%s\"", line);
	check(eventually(cidsteer_dispatch(one.handle) >= 0 &&
			 cidsteer_issue(one.handle, old, 8) == -EINVAL),
	      "the worker does not know");
	check(!bpf_map_lookup_elem(plane.map[PLANE_LB_CONFIGS], &index, &left) &&
		      !memcmp(&left, &none, sizeof(left)),
	      "the key is there");
	close_peer(&one);
}

Test(server_ids, what_cannot_be_a_configuration_is_refused)
{
	static const struct {
		__u8 id;
		struct cs_format format;
		const char *reason;
	} cases[] = {
		{ 7, { 1, 3, 4, 8, 0, {}, {} }, "id is not 0 to 6" },
		{ 3, { 1, 0, 4, 8, 0, {}, {} }, "no octet" },
		{ 3, { 1, 3, 3, 8, 0, {}, {} }, "less than 4 octets" },
		{ 3, { 1, 12, 8, 0, 0, {}, {} }, "more than 19 octets" },
		{ 3, { 1, 3, 4, 7, 0, {}, {} }, "not in 8..20" },
		{ 3, { 1, 3, 4, 21, 0, {}, {} }, "not in 8..20" },
	};
	struct cs_format good = { .used = 1, .server_id_len = 3, .nonce_len = 4, .cid_len = 8 };
	struct peer table;
	char line[512];

	for (size_t i = 0; i < COUNT(cases); i++) {
		check(operate(CS_CONFIG_ADD, "plain", cases[i].id, &cases[i].format, line) ==
			      -EINVAL,
		      "case %zu", i);
		check(strstr(line, cases[i].reason), "\"%s\" instead of \"%s\"", line,
		      cases[i].reason);
	}
	check(operate(CS_CONFIG_ADD, "nobody", 3, &good, line) == -ENOENT, "no service");
	check(operate(9, "plain", 3, &good, line) == -EPROTO, "no kind");
	check(operate(CS_CONFIG_ADD, "cookie", 3, &good, line) == -EINVAL, "beside a format");
	check(!try_peer(&table, &(struct scheme){ "table", "127.0.0.1:4440", 8 }, NULL, 0), "open");
	check(operate(CS_CONFIG_ADD, "table", 3, &good, line) == -EINVAL, "under workers");
	check(strstr(line, "stop them first"), "\"%s\"", line);
	close_peer(&table);
}

/* Its octets differ in those that are not a host's. */
Test(server_ids, this_host_is_not_another_one)
{
	struct cs_msg_config message = {
		.kind = CS_CONFIG_ADD,
		.id = 3,
		.format = { .used = 1, .server_id_len = 3, .nonce_len = 4, .cid_len = 8 },
		.host_len = 2,
		.hosts = 2,
		.host = { 1, 2 },
		.other_host = { { 1, 3 }, { 1, 2, 9 } },
	};
	char line[512];

	check(operate_with(&message, "plain", line) == -EINVAL, "it is");
	check(strstr(line, "is this host"), "\"%s\"", line);
	message.hosts = 1;
	check(!operate_with(&message, "plain", line), "add: %s", line);
}

Test(server_ids, the_first_configuration_waits_for_no_one_that_never_was)
{
	struct cs_format format = { .used = 1, .server_id_len = 3, .nonce_len = 4, .cid_len = 8 };
	const struct scheme scheme = { "table", "127.0.0.1:4440", 8 };
	struct peer one;
	char line[512];

	check(!operate(CS_CONFIG_ADD, "table", 3, &format, line), "add: %s", line);
	check(!operate(CS_CONFIG_ACTIVATE, "table", 3, NULL, line), "activate: %s", line);
	check(!try_peer(&one, &scheme, NULL, 0), "open");
	check(config_made_with(&one, 8) == 3, "it is not used");
	check(reaches(&scheme, generated(&one, 8), &one), "packets");
	/* Nothing of it is in the file. */
	daemon_end(SIGKILL);
	daemon_start(NULL);
	check(eventually(cidsteer_dispatch(one.handle) != -ENOTCONN), "again");
	check(config_made_with(&one, 8) == 3, "it is forgotten");
	check(reaches(&scheme, generated(&one, 8), &one), "packets");
	close_peer(&one);
}

/* As if a daemon had been killed between the two steps of retiring it. */
Test(server_ids, a_key_that_was_left_goes_with_the_next_daemon)
{
	__u32 id = service_named(&plane, "single"), index = id * CS_LB_CONFIGS + 1;
	struct cs_service service;
	static const struct cs_lb none;
	struct cs_lb lb;

	check(!plane_service(&plane, id, &service), "service");
	daemon_end(SIGKILL);
	service.lb_configs = 0;
	service.lb_active = 0;
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &id, &service, BPF_ANY), "service");
	daemon_start("service \"single\" { listen = {\"127.0.0.1:4434\"} max_cids = 64 }\n");
	check(!bpf_map_lookup_elem(plane.map[PLANE_LB_CONFIGS], &index, &lb) &&
		      !memcmp(&lb, &none, sizeof(lb)),
	      "the key is there");
}

/* ---- the file is read again ------------------------------------------------------------------ */

#define SERVICE(more) SERVICE_AT("plain", "4433", more)

/* The file says this now.  Does the daemon take it?  @said: what it logs, among others. */
static void reread(const char *text, const char *said)
{
	FILE *file = fopen(CONFIG, "we");

	check(file && fputs(text, file) >= 0 && !fclose(file), "writing");
	check(!kill(daemon_pid, SIGHUP), "kill");
	check(eventually(daemon_logged(said)), "not said: %s", said);
}

static struct cs_service service_plain(void)
{
	struct cs_service service = {};

	check(!plane_service(&plane, service_named(&plane, "plain"), &service), "service");
	return service;
}

static bool knows_host(__u8 config, __u8 octet)
{
	struct cs_server_key key = { .service = service_named(&plane, "plain"),
				     .config = config,
				     .host = 1,
				     .id = { octet } };
	struct cs_server server;

	return !bpf_map_lookup_elem(plane.map[PLANE_SERVERS], &key, &server) &&
	       server.flags & CS_SERVER_ELSEWHERE;
}

Test(server_ids, the_file_adds_and_changes_nothing_that_is_loaded)
{
	struct peer one = open_peer(PLAIN);
	__u8 cid[8];

	memcpy(cid, generated(&one, 8), 8);
	reread(SERVICE("quic_lb \"0\" { server_id_length = 3 nonce_length = 5 }"),
	       "quic_lb \"0\" is loaded with other lengths");
	reread(SERVICE("quic_lb \"0\" { server_id_length = 3 nonce_length = 4 " ENCRYPTED " }"),
	       "another key");
	reread(SERVICE("quic_lb \"0\" { server_id_length = 3 nonce_length = 4 host = \"a1\" }"),
	       "or another host");
	reread(SERVICE("worker_key { offset = 0 length = 2 from = \"worker\" }"),
	       "worker_key cannot change while workers are registered");
	check(service_plain().lb_configs == 1 && service_plain().lb_active == 1, "changed");
	/* What is not there stays; what is new comes, and is not active. */
	reread(SERVICE("quic_lb \"5\" { server_id_length = 3 nonce_length = 4 host = \"b1\" "
		       "other_hosts = {\"b2\", \"b3\"} active = yes }"),
	       "read again");
	check(service_plain().lb_configs == 0x21 && service_plain().lb_active == 1, "%x",
	      service_plain().lb_configs);
	check(knows_host(5, 0xb2) && knows_host(5, 0xb3) && !knows_host(5, 0xb1), "hosts");
	/* Hosts of one that is loaded come and go. */
	reread(SERVICE("quic_lb \"5\" { server_id_length = 3 nonce_length = 4 host = \"b1\" "
		       "other_hosts = {\"b3\", \"b4\"} active = yes } quic_lb \"6\" { "
		       "server_id_length = 3 nonce_length = 4 }"),
	       "1 service");
	check(eventually(service_plain().lb_configs == 0x61), "%x", service_plain().lb_configs);
	check(eventually(!knows_host(5, 0xb2)) && knows_host(5, 0xb3) && knows_host(5, 0xb4),
	      "hosts");
	check(reaches(&schemes[PLAIN], cid, &one), "packets");
	close_peer(&one);
}

/* A reload that fails behind this service is as if it had not been. */
Test(server_ids, a_mistake_adds_none)
{
	reread(SERVICE("quic_lb \"5\" { server_id_length = 3 nonce_length = 4 }") "service "
										  "\"table\" { "
										  "listen = "
										  "{\"127.0.0.1:"
										  "4440\"} "
										  "max_cids = 6400 "
										  "}\n",
	       "max_cids is 64 in the loaded table");
	check(service_plain().lb_configs == 1, "%x", service_plain().lb_configs);
}

static int any_of(const struct cs_server_key *key, const struct cs_server *server, void *arg)
{
	(void)server;
	return key->service == *(const __u32 *)arg;
}

Test(server_ids, with_a_service_goes_all_that_it_had)
{
	static const struct cs_lb none;
	__u32 id = service_named(&plane, "single"), index = id * CS_LB_CONFIGS + 1;
	struct life *life = mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct cs_lb lb;

	check(life != MAP_FAILED, "memory");
	life->scheme = SINGLE;
	check(!spawn_result(spawn_as(0, live, life)), "worker");
	check(eventually(!server_of(SINGLE, &life->id).worker), "it is still there");
	check(lb_each_server(&plane, any_of, &id) == 1, "no server ID");
	check(!bpf_map_lookup_elem(plane.map[PLANE_LB_CONFIGS], &index, &lb) &&
		      !memcmp(lb.encrypt.round[0], key_octets, 16),
	      "the key is not there");
	reread(SERVICE(""), "read again");
	check(eventually(!bpf_map_lookup_elem(plane.map[PLANE_LB_CONFIGS], &index, &lb) &&
			 !memcmp(&lb, &none, sizeof(lb))),
	      "the key is still there");
	check(!lb_each_server(&plane, any_of, &id), "server IDs are left");
}
