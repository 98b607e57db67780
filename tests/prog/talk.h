/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the control socket share.  Each begins with two workers in each of two
 * services and ends with the same question: is every map as it was, has the daemon the descriptors
 * that it had, and does each of the four workers still receive exactly the packets with its
 * connection IDs?  In between a peer in a process of its own says what it should not.
 */
#ifndef CS_TEST_TALK_H
#define CS_TEST_TALK_H

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fixture.h"

static const char configuration[] =
	"service \"h3\" { listen = {\"[::]:4433\", \"127.0.0.1:4434\"} user = \"nobody\" "
	"max_cids = 64 }\n"
	"service \"told\" { listen = {\"127.0.0.1:4435\"} user = \"nobody\" shared_table = no "
	"max_cids = 64 }\n"
	"service \"solo\" { listen = {\"[::]:4436\"} user = \"nobody\" max_cids = 64 }\n"
	"service \"lb\" { listen = {\"127.0.0.1:4437\"} user = \"nobody\" max_cids = 64\n"
	"quic_lb \"0\" { server_id_length = 3 nonce_length = 4 active = yes } }\n"
	"service \"key\" { listen = {\"127.0.0.1:4438\"} user = \"nobody\" max_cids = 64\n"
	"worker_key { offset = 3 length = 2 from = \"worker\" } }\n";

/* The workers that must not notice: 0 and 1 of h3, 2 and 3 of told. */
#define BYSTANDERS 4
static struct bystander {
	struct cidsteer *handle;
	const char *service, *address;
	int socket[2];
	__u8 cid[8];
} bystander[BYSTANDERS];

static struct plane plane;
static struct snapshot *before;
static int descriptors;
static bool talk_on; /* a refusal is not the end */

/* What a peer sends, one message after the other, and what it is answered; in shared memory. */
#define STEPS 4
static struct talk {
	struct step {
		union {
			struct cs_msg head;
			struct cs_msg_register registers;
			struct cs_msg_write write;
			struct cs_msg_xsks xsks;
			struct cs_msg_lease lease;
			struct cs_msg_config config;
			__u8 bytes[4096];
		};
		size_t size;
		int fd[253]; /* SCM_MAX_FD */
		unsigned int fds;
	} step[STEPS];
	unsigned int steps;
	struct answer {
		union {
			struct cs_msg head;
			struct cs_msg_refused refused;
			struct cs_msg_registered registered;
			struct cs_msg_written written;
			struct cs_msg_done done;
			struct cs_msg_leased leased;
			__u8 bytes[1024];
		};
		int received; /* bytes, 0 for the end, or a negative errno */
	} answer[STEPS + 1];
} * talk;

static inline void bystander_open(struct bystander *by, int i)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	char line[256] = "";
	int err;

	options.control = CONTROL;
	options.error = line;
	options.error_size = sizeof(line);
	by->service = i < 2 ? "h3" : "told";
	by->address = i < 2 ? "127.0.0.1:4433" : "127.0.0.1:4435";
	by->socket[0] = udp_bind(i < 2 ? "[::]:4433" : "127.0.0.1:4435");
	by->socket[1] = i < 2 ? udp_bind("127.0.0.1:4434") : -1;
	err = cidsteer_open(&by->handle, by->service, by->socket, i < 2 ? 2 : 1, &options);
	check(!err, "bystander %d: %s", i, line);
	memset(by->cid, 0xb0 + i, sizeof(by->cid));
	check(!cidsteer_issue(by->handle, by->cid, sizeof(by->cid)), "issue %d", i);
}

static inline void begin(void)
{
	sandbox_enter(90);
	daemon_start(configuration);
	for (int i = 0; i < BYSTANDERS; i++)
		bystander_open(&bystander[i], i);
	plane_look(&plane);
	before = snapshot_take(&plane);
	descriptors = daemon_descriptors();
	talk = mmap(NULL, sizeof(*talk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(talk != MAP_FAILED, "mmap");
}

static inline const char *differs(void)
{
	struct snapshot *now = snapshot_take(&plane);
	const char *map = snapshot_differs(before, now);

	snapshot_free(now);
	return map;
}

static inline void bystanders_receive(void)
{
	for (int round = 0; round < 8; round++) {
		for (int i = 0; i < BYSTANDERS; i++) {
			int client = udp_connect(bystander[i].address);
			__u8 packet[32];

			quic_short(packet, 0x40, bystander[i].cid, 8, sizeof(packet));
			check(send(client, packet, sizeof(packet), 0) == sizeof(packet), "send");
			close(client);
			check(udp_take(bystander[i].socket[0]), "a packet of bystander %d is lost",
			      i);
		}
	}
}

static inline void finish(void)
{
	check(!waitpid(daemon_pid, NULL, WNOHANG), "the daemon died");
	check(eventually(!differs()), "%s is not what it was", differs());
	check(eventually(daemon_descriptors() == descriptors),
	      "the daemon has %d descriptors, had %d", daemon_descriptors(), descriptors);
	bystanders_receive();
	for (int i = 0; i < BYSTANDERS; i++) {
		__u8 cid[8] = { 0xc0 + i };

		check(!cidsteer_issue(bystander[i].handle, cid, sizeof(cid)), "bystander %d", i);
		check(!cidsteer_dispatch(bystander[i].handle), "bystander %d", i);
	}
}

/* Not a fixture's .fini: Criterion counts a test that fails there as passed. */
#define Undisturbed(name)                                                                          \
	static void name(void);                                                                    \
	Test(control, name)                                                                        \
	{                                                                                          \
		begin();                                                                           \
		name();                                                                            \
		finish();                                                                          \
	}                                                                                          \
	static void name(void)

/* ---- talking ------------------------------------------------------------------------------- */

static inline struct step *say(__u16 type, size_t size)
{
	struct step *step = &talk->step[talk->steps++];

	memset(step, 0, sizeof(*step));
	message_head(&step->head, type, size);
	step->head.serial = 100 + talk->steps;
	step->size = size;
	return step;
}

static inline void with_fd(struct step *step, int fd)
{
	check(fd >= 0, "no descriptor: %s", strerror(errno));
	step->fd[step->fds++] = fd;
	step->registers.sockets = step->fds;
}

static inline struct step *say_register(const char *service)
{
	struct step *step = say(CS_MSG_REGISTER, sizeof(struct cs_msg_register));

	memcpy(step->registers.service, service, strlen(service));
	return step;
}

/* A REGISTER of h3 that only @fd, in place of one of its sockets, may spoil. */
static inline struct step *register_h3(int fd)
{
	struct step *step = say_register("h3");

	with_fd(step, fd >= 0 ? fd : udp_bind("[::]:4433"));
	with_fd(step, udp_bind("127.0.0.1:4434"));
	return step;
}

static inline struct step *register_told(void)
{
	struct step *step = say_register("told");

	with_fd(step, udp_bind("127.0.0.1:4435"));
	return step;
}

static inline struct step *register_solo(int fd)
{
	struct step *step = say_register("solo");

	with_fd(step, fd);
	return step;
}

static inline struct step *say_write(__u32 count)
{
	size_t size = offsetof(struct cs_msg_write, write) + count * sizeof(struct cs_write);
	struct step *step = say(CS_MSG_WRITE, size);

	step->write.count = count;
	return step;
}

static inline void put_write(struct step *step, int i, __u8 kind, const void *cid, __u8 len)
{
	step->write.write[i].kind = kind;
	step->write.write[i].len = len;
	memcpy(step->write.write[i].cid, cid, len > CS_MAX_CID ? CS_MAX_CID : len);
}

static inline int talk_child(void *arg)
{
	int fd = control_connect();

	(void)arg;
	for (unsigned int i = 0; i < talk->steps && fd >= 0; i++) {
		struct step *step = &talk->step[i];
		struct answer *answer = &talk->answer[i];

		if (control_send(fd, step->bytes, step->size, step->fd, step->fds))
			return 2;
		answer->received = control_receive(fd, answer->bytes, sizeof(answer->bytes));
		if (answer->received <= 0)
			return 0;
		if (answer->head.type == CS_MSG_REFUSED && !talk_on) {
			answer[1].received = control_receive(fd, answer[1].bytes, 1);
			return answer[1].received ? 3 : 0;
		}
	}
	return fd < 0;
}

static inline void close_descriptors(void)
{
	for (unsigned int i = 0; i < talk->steps; i++) {
		for (unsigned int j = 0; j < talk->step[i].fds; j++) {
			/* The same twice, or a bystander's. */
			if (talk->step[i].fd[j] > bystander[BYSTANDERS - 1].socket[0])
				close(talk->step[i].fd[j]);
		}
	}
}

/* Lets a process of another user say all of it, and ends with that process. */
static inline void talk_as(uid_t uid)
{
	int result = spawn_result(spawn_as(uid, talk_child, NULL));

	check(!result, "the peer ended with %d", result);
}

/* The last thing that was said is refused, and the connection closed. */
static inline void refused_as(uid_t uid, int err, const char *reason)
{
	unsigned int last = talk->steps - 1;
	const struct answer *answer = &talk->answer[last];
	bool no_head = talk->step[last].size < sizeof(struct cs_msg);

	memset(talk->answer, 0, sizeof(talk->answer));
	talk_as(uid);
	check(answer->received == sizeof(answer->refused), "%s: an answer of %d bytes", reason,
	      answer->received);
	check(answer->head.magic == CS_PROTOCOL_MAGIC &&
		      answer->head.version == CS_PROTOCOL_VERSION &&
		      answer->head.bytes == sizeof(answer->refused) &&
		      answer->head.type == CS_MSG_REFUSED,
	      "%s: an answer of type %u", reason, answer->head.type);
	check(answer->head.serial == (no_head ? 0 : talk->step[last].head.serial), "%s: serial %u",
	      reason, answer->head.serial);
	check(memchr(answer->refused.line, 0, sizeof(answer->refused.line)), "no end");
	check(answer->refused.error == err && strstr(answer->refused.line, reason),
	      "\"%s\" (%d) instead of \"%s\" (%d)", answer->refused.line, answer->refused.error,
	      reason, err);
	/* While the sockets are open: closing them would take them out of the map.  What is no
	 * message never gets that far.
	 */
	if (err != -EPROTO)
		check(eventually(!differs()), "%s: %s is not what it was", reason, differs());
	close_descriptors();
	talk->steps = 0;
}

static inline void refused(int err, const char *reason)
{
	refused_as(0, err, reason);
}

/* One WRITE of a worker of told: what is each of its results? */
static inline void written(struct step *step, const __s32 *expected)
{
	const struct answer *answer = &talk->answer[1];
	__u32 count = step->write.count;

	talk_as(UID_NOBODY);
	check(talk->answer[0].head.type == CS_MSG_REGISTERED, "not registered");
	check(answer->head.type == CS_MSG_WRITTEN && answer->written.count == count &&
		      answer->head.serial == step->head.serial && !answer->written.pad &&
		      (size_t)answer->received ==
			      offsetof(struct cs_msg_written, result) + 4 * count,
	      "an answer of type %u, %d bytes", answer->head.type, answer->received);
	for (__u32 i = 0; i < count; i++)
		check(answer->written.result[i] == expected[i], "write %u: %d instead of %d", i,
		      answer->written.result[i], expected[i]);
	close_descriptors();
	talk->steps = 0;
}

static inline struct step *told_write(__u32 count)
{
	/* The group is root's: another user's socket could not join. */
	register_told();
	return say_write(count);
}

#endif
