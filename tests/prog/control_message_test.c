// SPDX-License-Identifier: GPL-2.0-only
/* Messages at the control socket that are not what they should be, or not in order. */
#include <fcntl.h>
#include <net/if.h>

#include "talk.h"

Undisturbed(a_message_shorter_than_its_head_is_refused)
{
	for (size_t size = 1; size < sizeof(struct cs_msg); size++) {
		say(CS_MSG_REGISTER, size);
		refused(-EPROTO, "is shorter than its head");
	}
}

/* A packet of no bytes reads like the end of the connection, and is taken for it. */
Undisturbed(an_empty_message_ends_the_connection)
{
	for (int fds = 0; fds < 16; fds++) {
		struct step *step = say(CS_MSG_REGISTER, 0);

		for (int i = 0; i < fds; i++)
			with_fd(step, open("/dev/null", O_RDONLY));
		talk_as(0);
		check(!talk->answer[0].received, "an answer of %d bytes", talk->answer[0].received);
		close_descriptors();
		talk->steps = 0;
	}
}

Undisturbed(a_message_of_another_protocol_is_refused)
{
	for (int bit = 0; bit < 32; bit++) {
		register_told()->head.magic ^= 1u << bit;
		refused(-EPROTO, "not a message of cidsteer's protocol");
	}
}

Undisturbed(a_message_of_another_version_is_refused)
{
	static const __u16 versions[] = { 0, CS_PROTOCOL_VERSION - 1, CS_PROTOCOL_VERSION + 1,
					  CS_PROTOCOL_VERSION << 8, 0xffff };

	for (size_t i = 0; i < COUNT(versions); i++) {
		char line[32];

		register_told()->head.version = versions[i];
		snprintf(line, sizeof(line), "version %u of", versions[i]);
		refused(-EPROTO, line);
	}
}

Undisturbed(flags_that_are_none_are_refused)
{
	for (int bit = 1; bit < 32; bit++) {
		register_told()->registers.flags = 1u << bit;
		refused(-EPROTO, "REGISTER has flags that are none");
	}
}

Undisturbed(a_key_of_another_length_than_the_format_has_is_refused)
{
	static const __u32 lengths[] = { 16, 17, 255, 256, 0xffffffff };

	for (size_t i = 0; i < COUNT(lengths); i++) {
		char line[64];

		register_told()->registers.key_len = lengths[i];
		snprintf(line, sizeof(line), "REGISTER has a key of %u octets", lengths[i]);
		refused(-EPROTO, line);
	}
	for (__u32 len = 1; len <= CS_LB_MAX_SERVER_ID; len++) {
		register_h3(-1)->registers.key_len = len;
		refused(-EINVAL, "octets, in IDs of service \"h3\" it has 0");
		register_told()->registers.key_len = len;
		refused(-EINVAL, "octets, in IDs of service \"told\" it has 0");
	}
	with_fd(say_register("lb"), udp_bind("127.0.0.1:4437"));
	talk->step[0].registers.key_len = 3;
	refused(-EINVAL, "the worker's key has 3 octets, in IDs of service \"lb\" it has 0");
	for (__u32 len = 1; len <= 3; len += 2) {
		with_fd(say_register("key"), udp_bind("127.0.0.1:4438"));
		talk->step[0].registers.key_len = len;
		refused(-EINVAL, "octets, in IDs of service \"key\" it has 2");
	}
}

Undisturbed(a_cpu_that_cannot_be_is_refused)
{
	register_told()->registers.cpu = CS_MAX_CPUS + 1;
	refused(-EINVAL, "CPU 512: packets can be moved to 0..511 only");
	register_told()->registers.cpu = ~0u;
	refused(-EINVAL, "packets can be moved to 0..511 only");
}

Undisturbed(a_message_that_says_another_length_than_it_has_is_refused)
{
	static const __u32 lengths[] = { 0, 16, 56, 71, 73, 0x30000000, 0xffffffff };

	for (size_t i = 0; i < COUNT(lengths); i++) {
		register_told()->head.bytes = lengths[i];
		refused(-EPROTO, "a message of 72 bytes says that it has");
	}
}

Undisturbed(a_register_of_another_length_is_refused)
{
	static const size_t sizes[] = { 16, 56, 71, 73, 512, sizeof(struct cs_msg_write) };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct step *step = register_told();

		step->size = step->head.bytes = sizes[i];
		refused(-EPROTO, "bytes, not 72");
	}
	/* Above what the daemon reads: it sees that there was more. */
	for (size_t size = sizeof(struct cs_msg_write) + 16; size <= 4096; size += 1260) {
		struct step *step = register_told();

		step->size = step->head.bytes = size;
		refused(-EPROTO, "bytes says that it has");
	}
}

Undisturbed(a_message_of_unknown_type_is_refused)
{
	static const __u16 types[] = { 0,
				       CS_MSG_REGISTERED,
				       CS_MSG_REFUSED,
				       CS_MSG_DONE,
				       CS_MSG_WRITTEN,
				       CS_MSG_STATE,
				       CS_MSG_FORMATS,
				       CS_MSG_LEASED,
				       CS_MSG_CONFIG + 1,
				       0x0100,
				       0xffff };

	for (size_t i = 0; i < COUNT(types); i++) {
		char line[64];

		say(types[i], sizeof(struct cs_msg));
		snprintf(line, sizeof(line), "unknown type %u", types[i]);
		refused(-EPROTO, line);
	}
}

Undisturbed(a_name_that_does_not_end_is_refused)
{
	memset(register_told()->registers.service, 'x', CS_NAME_SIZE);
	refused(-EPROTO, "name does not end");
}

Undisturbed(a_service_that_is_not_configured_is_refused)
{
	static const char *const names[] = { "h", "h33", "H3", "tol", "xxxxxxxxxxxxxxx" };
	static const char *const no_names[] = { "", "told ", "/etc/passwd", "a\nb", "\xff" };

	for (size_t i = 0; i < COUNT(names); i++) {
		with_fd(say_register(names[i]), udp_bind("127.0.0.1:4435"));
		refused(-ENOENT, "is not configured");
		with_fd(say_register(no_names[i]), udp_bind("127.0.0.1:4435"));
		refused(-ENOENT, "no service's name");
	}
}

Undisturbed(a_register_that_announces_another_count_is_refused)
{
	static const __u32 counts[] = { 0, 1, 3, 0xffffffff };

	for (size_t i = 0; i < COUNT(counts); i++) {
		register_h3(-1)->registers.sockets = counts[i];
		refused(-EINVAL, "2 came");
	}
}

Undisturbed(a_register_without_a_descriptor_is_refused)
{
	say_register("h3")->registers.sockets = 2;
	refused(-EINVAL, "no socket came");
	say_register("h3");
	refused(-EINVAL, "no socket came");
}

Undisturbed(too_many_descriptors_are_refused_and_closed)
{
	for (int count = 17; count <= 253; count += count < 20 ? 1 : 233) {
		struct step *step = register_h3(-1);

		while (step->fds < (unsigned int)count)
			with_fd(step, step->fd[0]);
		refused(-EINVAL, "more than 16 descriptors");
	}
}

Undisturbed(more_sockets_than_listeners_are_refused)
{
	with_fd(register_told(), udp_bind("127.0.0.1:4435"));
	refused(-EINVAL, "two sockets are bound to one listener");
	with_fd(register_h3(-1), udp_bind("127.0.0.1:4435"));
	refused(-EINVAL, "a socket is bound to 127.0.0.1:4435, where service \"h3\" does not");
}

Undisturbed(descriptors_with_a_message_that_has_none_are_refused_and_closed)
{
	with_fd(say(CS_MSG_DRAIN, sizeof(struct cs_msg)), udp_bind("127.0.0.1:4435"));
	refused(-EPROTO, "descriptors came with a message that has none");
	with_fd(say_write(1), udp_bind("127.0.0.1:4435"));
	refused(-EPROTO, "descriptors came with a message that has none");
	for (int count = 17; count <= 253; count += count < 20 ? 1 : 233) {
		struct step *step = say(99, sizeof(struct cs_msg));

		while (step->fds < (unsigned int)count)
			with_fd(step, open("/dev/null", O_RDONLY));
		refused(-EPROTO, "descriptors came with a message that has none");
	}
}

/* ---- order --------------------------------------------------------------------------------- */

Undisturbed(drain_before_register_is_refused)
{
	say(CS_MSG_DRAIN, sizeof(struct cs_msg));
	refused(-EPROTO, "DRAIN without a registered worker");
}

Undisturbed(write_before_register_is_refused)
{
	put_write(say_write(1), 0, CS_WRITE_RETIRE, bystander[2].cid, 8);
	refused(-EPROTO, "WRITE without a registered worker");
}

Undisturbed(a_drain_of_another_length_is_refused)
{
	register_told();
	say(CS_MSG_DRAIN, sizeof(struct cs_msg) + 1);
	refused(-EPROTO, "DRAIN has 17 bytes");
}

static struct step *say_stray(size_t size, __u8 len)
{
	struct step *step = say(CS_MSG_STRAY, size);

	((struct cs_msg_stray *)step->bytes)->len = len;
	return step;
}

Undisturbed(a_stray_that_makes_no_sense_is_refused)
{
	static const __u8 lengths[] = { 0, CS_MAX_CID + 1, 255 };

	say_stray(sizeof(struct cs_msg_stray), 8);
	refused(-EPROTO, "STRAY without a registered worker");
	for (size_t i = 0; i < COUNT(lengths); i++) {
		register_told();
		say_stray(sizeof(struct cs_msg_stray), lengths[i]);
		refused(-EPROTO, "STRAY has an ID of");
	}
	for (int more = -1; more <= 1; more += 2) {
		register_told();
		say_stray(sizeof(struct cs_msg_stray) + more, 8);
		refused(-EPROTO, "bytes, not 40");
	}
}

Undisturbed(a_second_register_is_refused)
{
	struct step *step;

	register_h3(-1);
	register_h3(-1);
	refused(-EINVAL, "has registered already");
	register_told();
	step = register_told();
	check(step->fds == 1, "descriptors");
	refused(-EINVAL, "has registered already");
}

Undisturbed(a_write_in_a_service_with_a_shared_table_is_refused)
{
	register_h3(-1);
	put_write(say_write(1), 0, CS_WRITE_RETIRE, bystander[0].cid, 8);
	refused(-EPROTO, "WRITE in a service with a shared table");
}

Undisturbed(a_write_that_is_not_as_long_as_it_counts_is_refused)
{
	static const struct {
		__u32 count;
		int bytes; /* more or less than @count says */
	} cases[] = {
		{ 0, 0 },  { 0, -8 },  { 0, 24 }, { 1, -1 },   { 1, 1 },	  { 1, -24 },
		{ 1, 24 }, { 64, -1 }, { 64, 1 }, { 65, -24 }, { 0x0aaaaaab, 0 }, { 0xffffffff, 0 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct step *step;

		register_told();
		step = say_write(cases[i].count > 65 ? 1 : cases[i].count);
		for (int j = 0; j < 64; j++)
			put_write(step, j, CS_WRITE_RETIRE, bystander[2].cid, 8);
		step->write.count = cases[i].count;
		step->size += cases[i].bytes;
		step->head.bytes = step->size;
		refused(-EPROTO, "which is not what it counts");
	}
	register_told();
	say_write(65);
	refused(-EPROTO, "bytes");
}

/* ---- what is answered, but not done -------------------------------------------------------- */

Undisturbed(a_write_of_unknown_kind_or_length_is_answered_so_and_does_nothing)
{
	__s32 expected[13];
	struct step *step = told_write(13);

	put_write(step, 0, 0, bystander[2].cid, 8);
	put_write(step, 1, 6, bystander[2].cid, 8);
	put_write(step, 2, 255, bystander[2].cid, 8);
	for (int i = 0; i < 5; i++)
		put_write(step, 3 + i, CS_WRITE_ISSUE, bystander[2].cid,
			  (__u8[]){ 0, 7, 9, 21, 255 }[i]);
	put_write(step, 8, CS_WRITE_ISSUE_PROVISIONAL, bystander[2].cid, 0);
	put_write(step, 9, CS_WRITE_ISSUE_PROVISIONAL, bystander[2].cid, 21);
	put_write(step, 10, CS_WRITE_RETIRE, bystander[2].cid, 0);
	put_write(step, 11, CS_WRITE_RETIRE, bystander[2].cid, 255);
	put_write(step, 12, CS_WRITE_STRAY, bystander[2].cid, 21);
	for (int i = 0; i < 13; i++)
		expected[i] = -EINVAL;
	written(step, expected);
}

Undisturbed(a_worker_by_message_cannot_touch_another_workers_routes)
{
	static const __s32 expected[] = { -ENOENT, -EEXIST, -EEXIST, 1, 0, 0, -EEXIST, 0, -ENOENT };
	__u8 own[8] = { 0x55 };
	struct step *step = told_write(9);

	put_write(step, 0, CS_WRITE_RETIRE, bystander[2].cid, 8);
	put_write(step, 1, CS_WRITE_ISSUE, bystander[2].cid, 8);
	put_write(step, 2, CS_WRITE_ISSUE_PROVISIONAL, bystander[3].cid, 8);
	put_write(step, 3, CS_WRITE_STRAY, bystander[3].cid, 8);
	put_write(step, 4, CS_WRITE_STRAY, bystander[0].cid, 8);
	put_write(step, 5, CS_WRITE_ISSUE, own, 8);
	put_write(step, 6, CS_WRITE_ISSUE, own, 8);
	put_write(step, 7, CS_WRITE_RETIRE, own, 8);
	put_write(step, 8, CS_WRITE_RETIRE, own, 8);
	written(step, expected);
}

Undisturbed(a_workers_routes_end_with_its_connection)
{
	static const __s32 expected[64];
	struct step *step = told_write(32);

	for (int i = 0; i < 32; i++)
		put_write(step, i, CS_WRITE_ISSUE, (__u8[8]){ 0x77, i }, 8);
	written(step, expected);
}

/* ---- AF_XDP sockets ------------------------------------------------------------------------ */

static struct step *say_xsks(__u32 count)
{
	size_t size = offsetof(struct cs_msg_xsks, xsk) + count * sizeof(struct cs_xsk);
	struct step *step = say(CS_MSG_XSKS, size);

	step->xsks.count = count;
	for (__u32 i = 0; i < count; i++)
		step->xsks.xsk[i] = (struct cs_xsk){ if_nametoindex("lo"), i };
	return step;
}

/* What is not an AF_XDP socket: with it no such message is obeyed. */
static void with_nulls(struct step *step, __u32 count)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	check(null >= 0, "/dev/null");
	for (__u32 i = 0; i < count; i++)
		step->fd[step->fds++] = null;
}

Undisturbed(xsks_before_register_are_refused)
{
	say_xsks(0);
	refused(-EPROTO, "XSKS without a registered worker");
	with_nulls(say_xsks(1), 1);
	refused(-EPROTO, "XSKS without a registered worker");
}

Undisturbed(xsks_that_are_not_as_long_as_they_count_are_refused)
{
	static const struct {
		__u32 count;
		int bytes; /* more or less than @count says */
	} cases[] = {
		{ 0, -8 },  { 0, -1 },	       { 0, 1 },	  { 0, 8 },
		{ 1, -8 },  { 1, -1 },	       { 1, 1 },	  { 1, 8 },
		{ 128, 8 }, { 128, -1 },       { 129, 0 },	  { 129, -8 },
		{ 190, 0 }, { 0x20000000, 0 }, { 0x20000001, 0 }, { 0xffffffff, 0 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct step *step;

		register_told();
		step = say_xsks(cases[i].count > 190 ? 1 : cases[i].count);
		step->xsks.count = cases[i].count;
		step->size += cases[i].bytes;
		step->head.bytes = step->size;
		refused(-EPROTO, "bytes, which is not what it counts");
	}
}

Undisturbed(xsks_with_padding_that_is_not_zero_are_refused)
{
	register_told();
	say_xsks(0)->xsks.pad = 1;
	refused(-EPROTO, "XSKS has padding that is not zero");
	register_h3(-1);
	say_xsks(0)->xsks.pad = 1u << 31;
	refused(-EPROTO, "XSKS has padding that is not zero");
}

Undisturbed(xsks_with_other_descriptors_than_they_announce_are_refused_and_closed)
{
	static const struct {
		__u32 announced, come;
		const char *reason;
	} cases[] = {
		{ 0, 1, "XSKS announces 0 sockets, 1 came" },
		{ 1, 0, "XSKS announces 1 sockets, 0 came" },
		{ 1, 2, "XSKS announces 1 sockets, 2 came" },
		{ 128, 0, "XSKS announces 128 sockets, 0 came" },
		{ 128, 127, "XSKS announces 128 sockets, 127 came" },
		{ 128, 129, "XSKS announces 128 sockets, 129 came" },
		{ 128, 253, "XSKS announces 128 sockets, 129 came" },
		{ 0, 253, "XSKS announces 0 sockets, 129 came" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		register_told();
		with_nulls(say_xsks(cases[i].announced), cases[i].come);
		refused(-EPROTO, cases[i].reason);
	}
}

/* What the daemon says of sockets that are none does not end the connection: the next is obeyed. */
Undisturbed(refused_xsks_leave_the_connection)
{
	static const struct {
		__u32 count, queue;
		const char *reason;
	} cases[] = {
		{ 1, 0, "a descriptor is not an AF_XDP socket" },
		{ 128, 0, "a descriptor is not an AF_XDP socket" },
		{ 1, CS_MAX_QUEUES, "an AF_XDP socket is for queue 256: 0..255" },
		{ 1, ~0u, "an AF_XDP socket is for queue 4294967295: 0..255" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct answer *refusal = &talk->answer[1], *done = &talk->answer[2];
		struct step *step;

		memset(talk->answer, 0, sizeof(talk->answer));
		register_told();
		step = say_xsks(cases[i].count);
		step->xsks.xsk[0].queue += cases[i].queue;
		with_nulls(step, cases[i].count);
		say_xsks(0);
		talk_on = true;
		talk_as(0);
		talk_on = false;
		check(refusal->head.type == CS_MSG_REFUSED && refusal->refused.error == -EINVAL &&
			      refusal->head.serial == step->head.serial &&
			      !strcmp(refusal->refused.line, cases[i].reason),
		      "\"%s\" (%d) instead of \"%s\"", refusal->refused.line,
		      refusal->refused.error, cases[i].reason);
		check(done->received == sizeof(done->done) && done->head.type == CS_MSG_DONE &&
			      !done->done.result && done->head.serial == step[1].head.serial,
		      "%s: then an answer of type %u", cases[i].reason, done->head.type);
		close_descriptors();
		talk->steps = 0;
	}
}

/* Its connection is still there, and says why. */
Undisturbed(xsks_of_a_dead_worker_are_refused)
{
	struct cs_msg_command expel = { .kind = CS_COMMAND_EXPEL };
	union {
		struct cs_msg head;
		struct cs_msg_registered registered;
		struct cs_msg_refused refused;
		__u8 bytes[1024];
	} answer;
	int worker = control_connect(), by = control_connect();
	struct step *step = register_told();

	check(!control_send(worker, step->bytes, step->size, step->fd, step->fds) &&
		      control_receive(worker, &answer, sizeof(answer)) == sizeof(answer.registered),
	      "registering");
	message_head(&expel.head, CS_MSG_COMMAND, sizeof(expel));
	expel.worker = answer.registered.worker;
	check(!control_send(by, &expel, sizeof(expel), NULL, 0) &&
		      control_receive(by, &answer, sizeof(answer)) == sizeof(struct cs_msg_done),
	      "expelling");
	step = say_xsks(0);
	check(!control_send(worker, step->bytes, step->size, NULL, 0), "XSKS");
	do {
		check(control_receive(worker, &answer, sizeof(answer)) > 0, "no answer");
	} while (answer.head.type == CS_MSG_STATE);
	check(answer.head.type == CS_MSG_REFUSED && answer.refused.error == -ESTALE &&
		      answer.head.serial == step->head.serial &&
		      !strcmp(answer.refused.line, "the worker was declared dead"),
	      "an answer of type %u", answer.head.type);
	close(worker);
	close(by);
	close_descriptors();
	talk->steps = 0;
}

/* ---- nonces -------------------------------------------------------------------------------- */

static struct step *say_lease(size_t size)
{
	return say(CS_MSG_LEASE, size);
}

Undisturbed(a_lease_before_register_is_refused)
{
	say_lease(sizeof(struct cs_msg_lease));
	refused(-EPROTO, "LEASE without a registered worker");
}

Undisturbed(a_lease_of_another_length_is_refused)
{
	static const size_t sizes[] = { 16, 24, 47, 49, 56, 512, sizeof(struct cs_msg_write) };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		char line[64];

		snprintf(line, sizeof(line), "LEASE has %zu bytes, not 48", sizes[i]);
		say_lease(sizes[i]);
		refused(-EPROTO, line);
		register_told();
		say_lease(sizes[i]);
		refused(-EPROTO, line);
	}
}

Undisturbed(a_lease_that_makes_no_sense_is_refused)
{
	static const __u8 configs[] = { 7, 8, 31, 32, 128, 255 };
	static const __u8 claims[] = { 2, 3, 128, 255 };

	for (size_t i = 0; i < COUNT(configs); i++) {
		char line[64];

		register_told();
		say_lease(sizeof(struct cs_msg_lease))->lease.config = configs[i];
		snprintf(line, sizeof(line), "LEASE of configuration %u:", configs[i]);
		refused(-EPROTO, line);
	}
	for (size_t i = 0; i < COUNT(claims); i++) {
		register_told();
		say_lease(sizeof(struct cs_msg_lease))->lease.claims = claims[i];
		refused(-EPROTO, "LEASE has flags that are none");
	}
	for (size_t i = 0; i < sizeof(((struct cs_msg_lease *)0)->pad); i++) {
		register_told();
		say_lease(sizeof(struct cs_msg_lease))->lease.pad[i] = 0x80;
		refused(-EPROTO, "LEASE has padding that is not zero");
	}
}

Undisturbed(a_lease_with_a_descriptor_is_refused)
{
	struct step *step;

	register_told();
	step = say_lease(sizeof(struct cs_msg_lease));
	step->fd[step->fds++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	refused(-EPROTO, "descriptors came with a message that has none");
}

/* It may have been retired meanwhile: the worker keeps its connection. */
Undisturbed(of_a_configuration_that_is_not_there_nothing_is_given)
{
	for (__u8 claims = 0; claims < 2; claims++) {
		for (__u8 id = 0; id < CS_LB_CONFIGS; id++) {
			const struct answer *answer = &talk->answer[1];
			static const __u8 nothing[sizeof(answer->leased.server_id)];
			struct step *step;

			register_told();
			step = say_lease(sizeof(struct cs_msg_lease));
			step->lease.config = id;
			step->lease.claims = claims;
			step->lease.next = ~0ULL;
			memset(step->lease.server_id, 0xff, sizeof(step->lease.server_id));
			talk_as(0);
			check(answer->received == sizeof(answer->leased) &&
				      answer->head.type == CS_MSG_LEASED &&
				      answer->head.serial == step->head.serial,
			      "%u: an answer of type %u", id, answer->head.type);
			check(answer->leased.result == -ENOENT && answer->leased.config == id &&
				      !answer->leased.first && !answer->leased.count &&
				      !memcmp(answer->leased.server_id, nothing, sizeof(nothing)),
			      "%u: result %d", id, answer->leased.result);
			close_descriptors();
			talk->steps = 0;
		}
	}
}

/* ---- configurations ------------------------------------------------------------------------ */

static struct step *say_config(const char *service, __u8 kind, __u8 id)
{
	struct step *step = say(CS_MSG_CONFIG, sizeof(struct cs_msg_config));

	memcpy(step->config.service, service, strlen(service));
	step->config.kind = kind;
	step->config.id = id;
	return step;
}

/* One that only what the caller changes may spoil. */
static struct step *say_add(void)
{
	struct step *step = say_config("solo", CS_CONFIG_ADD, 0);

	step->config.host_len = 1;
	step->config.hosts = 2;
	step->config.format =
		(struct cs_format){ .used = 1, .server_id_len = 3, .nonce_len = 4, .cid_len = 8 };
	step->config.host[0] = 1;
	step->config.other_host[0][0] = 2;
	step->config.other_host[1][0] = 3;
	return step;
}

Undisturbed(a_config_of_another_length_is_refused)
{
	static const size_t sizes[] = { 16, 80, 591, 593, 1024, sizeof(struct cs_msg_write) };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct step *step = say_add();

		step->size = step->head.bytes = sizes[i];
		refused(-EPROTO, "bytes, not 592");
	}
}

Undisturbed(a_config_of_another_user_is_refused)
{
	static const __u8 kinds[] = { CS_CONFIG_ADD, CS_CONFIG_ACTIVATE, CS_CONFIG_RETIRE, 99 };
	static const uid_t users[] = { UID_NOBODY, UID_OTHER };

	for (size_t i = 0; i < COUNT(kinds) * COUNT(users); i++) {
		say_add()->config.kind = kinds[i / COUNT(users)];
		refused_as(users[i % COUNT(users)], -EPERM, "only root");
	}
	/* Of a worker, too. */
	register_told();
	say_config("lb", CS_CONFIG_ACTIVATE, CS_LB_CONFIGS);
	refused_as(UID_NOBODY, -EPERM, "only root");
}

Undisturbed(a_config_of_no_service_is_refused)
{
	static const char *const no_names[] = { "", "solo ", "../solo", "a\nb", "\xff" };
	static const char *const names[] = { "s", "sol", "SOLO", "soloo", "xxxxxxxxxxxxxxx" };

	memset(say_add()->config.service, 'x', CS_NAME_SIZE);
	refused(-EPROTO, "name does not end");
	for (size_t i = 0; i < COUNT(names); i++) {
		say_config(no_names[i], CS_CONFIG_ACTIVATE, CS_LB_CONFIGS);
		refused(-ENOENT, "no service's name");
		say_config(names[i], CS_CONFIG_ACTIVATE, CS_LB_CONFIGS);
		refused(-ENOENT, "is not configured");
	}
}

Undisturbed(a_config_of_unknown_kind_is_refused)
{
	static const __u8 kinds[] = { 0, CS_CONFIG_RETIRE + 1, 128, 255 };

	for (size_t i = 0; i < COUNT(kinds); i++) {
		say_add()->config.kind = kinds[i];
		refused(-EPROTO, "CONFIG of unknown kind");
		say_config("lb", kinds[i], 0);
		refused(-EPROTO, "CONFIG of unknown kind");
	}
}

Undisturbed(a_config_with_padding_that_is_not_zero_is_refused)
{
	for (size_t i = 0; i < sizeof(((struct cs_msg_config *)0)->pad); i++) {
		say_add()->config.pad[i] = 1;
		refused(-EPROTO, "CONFIG has padding that is not zero");
		say_config("lb", CS_CONFIG_ACTIVATE, CS_LB_CONFIGS)->config.pad[i] = 1;
		refused(-EPROTO, "CONFIG has padding that is not zero");
	}
	for (size_t i = 0; i < sizeof(((struct cs_format *)0)->pad); i++) {
		say_add()->config.format.pad[i] = 0x80;
		refused(-EPROTO, "CONFIG has padding that is not zero");
	}
}

/* What only a new one has is nothing to one that is there. */
Undisturbed(a_config_that_adds_none_has_no_settings)
{
	for (__u8 kind = CS_CONFIG_ACTIVATE; kind <= CS_CONFIG_RETIRE; kind++) {
		size_t first = offsetof(struct cs_msg_config, format);

		for (size_t at = first; at < sizeof(struct cs_msg_config); at += 37) {
			if (at - first > 4 && at - first < 8) /* padding */
				continue;
			say_config("lb", kind, 0)->bytes[at] = 1;
			refused(-EPROTO, "CONFIG says what a configuration is");
		}
		say_config("lb", kind, 0)->config.host_len = 1;
		refused(-EPROTO, "CONFIG says what a configuration is");
		say_config("lb", kind, 0)->config.hosts = 1;
		refused(-EPROTO, "CONFIG says what a configuration is");
	}
}

Undisturbed(a_configuration_that_is_not_there_is_neither_activated_nor_retired)
{
	/* 32 and 64 are 0 to who shifts by them. */
	static const __u8 ids[] = { 1, 6, 8, 9, 31, 32, 40, 64, 128, 224, 255 };

	for (size_t i = 0; i < COUNT(ids); i++) {
		say_config("lb", CS_CONFIG_ACTIVATE, ids[i]);
		refused(-ENOENT, "has no configuration");
		say_config("lb", CS_CONFIG_RETIRE, ids[i]);
		refused(-ENOENT, "has no configuration");
		say_config("key", CS_CONFIG_ACTIVATE, ids[i]);
		refused(-ENOENT, "has no configuration");
	}
	say_config("lb", CS_CONFIG_RETIRE, CS_LB_CONFIGS);
	refused(-ENOENT, "has no configuration 7");
	say_config("lb", CS_CONFIG_RETIRE, 0);
	refused(-EBUSY, "workers make IDs with configuration 0");
}

Undisturbed(a_configuration_whose_lengths_cannot_be_is_not_added)
{
	static const struct {
		__u8 id, server_id, nonce, cid, host;
		const char *reason;
	} cases[] = {
		{ 7, 3, 4, 8, 1, "its id is not 0 to 6" },
		{ 255, 3, 4, 8, 1, "its id is not 0 to 6" },
		{ 0, 0, 4, 8, 0, "the server ID has no octet" },
		{ 0, 16, 4, 0, 1, "more than 15 octets" },
		{ 0, 255, 255, 0, 1, "more than 15 octets" },
		{ 0, 3, 0, 8, 1, "less than 4 octets" },
		{ 0, 3, 3, 8, 1, "less than 4 octets" },
		{ 0, 3, 255, 8, 1, "more than 19 octets" },
		{ 0, 1, 255, 0, 0, "more than 19 octets" },
		{ 0, 4, 16, 0, 1, "more than 19 octets" },
		{ 0, 3, 4, 7, 1, "IDs of 7 octets: not in 8..20" },
		{ 0, 3, 4, 1, 1, "IDs of 1 octets: not in 8..20" },
		{ 0, 3, 4, 21, 1, "IDs of 21 octets: not in 8..20" },
		{ 0, 3, 4, 255, 1, "IDs of 255 octets: not in 8..20" },
		{ 0, 15, 4, 19, 1, "IDs of 19 octets: not in 20..20" },
		{ 0, 3, 4, 8, 3, "a host has 3 octets" },
		{ 0, 3, 4, 8, 4, "a host has 4 octets" },
		{ 0, 3, 4, 8, 255, "a host has 255 octets" },
		{ 0, 1, 4, 8, 1, "a host has 1 octets" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct cs_msg_config *config = &say_add()->config;

		config->id = cases[i].id;
		config->host_len = cases[i].host;
		config->format.server_id_len = cases[i].server_id;
		config->format.nonce_len = cases[i].nonce;
		config->format.cid_len = cases[i].cid;
		refused(-EINVAL, cases[i].reason);
	}
}

Undisturbed(a_configuration_whose_hosts_cannot_be_is_not_added)
{
	static const struct {
		__u8 hosts, host_len;
		const char *reason;
	} cases[] = {
		{ CS_MAX_MSG_HOSTS + 1, 1, "CONFIG has 33 hosts of 1 octets" },
		{ 255, 2, "CONFIG has 255 hosts of 2 octets" },
		{ 1, 0, "CONFIG has 1 hosts of 0 octets" },
		{ 255, 0, "CONFIG has 255 hosts of 0 octets" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct cs_msg_config *config = &say_add()->config;

		config->hosts = cases[i].hosts;
		config->host_len = cases[i].host_len;
		refused(-EPROTO, cases[i].reason);
	}
	say_add()->config.other_host[1][0] = 1;
	refused(-EINVAL, "one of the other hosts is this host");
}

Undisturbed(a_configuration_that_the_service_cannot_have_is_not_added)
{
	strcpy(say_add()->config.service, "lb");
	refused(-EEXIST, "has a configuration 0: it never changes");
	strcpy(say_add()->config.service, "key");
	refused(-EINVAL, "has worker_key");
	/* The bystanders are registered. */
	strcpy(say_add()->config.service, "told");
	refused(-EINVAL, "its first QUIC-LB configuration cannot come while workers are");
}

Undisturbed(a_config_with_a_descriptor_is_refused)
{
	struct step *step = say_add();

	step->fd[step->fds++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	refused(-EPROTO, "descriptors came with a message that has none");
}
