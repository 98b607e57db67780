// SPDX-License-Identifier: GPL-2.0-only
/*
 * libcidsteer and somebody else at the control socket: whatever is answered, every call returns,
 * nothing crashes, and no descriptor is left.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fixture.h"

static int listening;

static void begin(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = CONTROL };

	sandbox_enter(60);
	listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	check(!bind(listening, (struct sockaddr *)&addr, sizeof(addr)) && !listen(listening, 16),
	      "listen");
}

TestSuite(false_daemon, .init = begin);

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Each call of the library, as long as the daemon does not leave each waiting. */
static void use_handle(struct cidsteer *handle)
{
	__u8 cid[CS_MAX_CID] = { 1 };
	size_t len = cidsteer_cid_length(handle);

	for (int i = 0; i < 10; i++) {
		cid[1] = i;
		if (cidsteer_issue(handle, cid, len) == -ETIMEDOUT)
			break;
		cidsteer_issue_provisional(handle, cid, 1 + i);
		cidsteer_report_stray(handle, cid, len);
		cidsteer_report_path_change(handle);
	}
	for (int i = 0; i < 10; i++) {
		cid[1] = i;
		cidsteer_retire(handle, cid, 1 + i);
		cidsteer_dispatch(handle);
	}
	cidsteer_drain(handle);
	cidsteer_notes(handle);
	cidsteer_worker_id(handle);
}

/* Opens, and uses what it gets.  Ends with 0, the errno of open, or 200: a descriptor is left. */
static int open_and_use(void *arg)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	int socket = udp_bind("127.0.0.1:4433"), before = open_descriptors(), err;
	struct cidsteer *handle;

	(void)arg;
	alarm(10); /* a call that does not return */
	options.control = CONTROL;
	options.timeout_ms = 300;
	err = cidsteer_open(&handle, "h3", &socket, 1, &options);
	if (!err) {
		use_handle(handle);
		cidsteer_close(handle);
	}
	return open_descriptors() == before ? -err : 200;
}

/* ---- answers to REGISTER ------------------------------------------------------------------- */

enum map_kind {
	GOOD,
	NOTHING, /* no descriptor at all */
	DEV_NULL,
	EMPTY_FILE,
	SMALL,
	ODD,  /* no power of two */
	THIN, /* values of another size */
	HASH,
	NO_MMAP,
	FROZEN,
	PROGRAMS,
};

static int make_map(enum map_kind kind, __u32 value_size, __u32 entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	enum bpf_map_type type = BPF_MAP_TYPE_ARRAY;
	int fd;

	if (kind == NOTHING)
		return -1;
	if (kind == DEV_NULL)
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	if (kind == EMPTY_FILE)
		return memfd_create("empty", MFD_CLOEXEC);
	entries = kind == SMALL ? 1 : kind == ODD ? entries + 8 : entries;
	value_size = kind == THIN ? value_size / 2 : kind == PROGRAMS ? 4 : value_size;
	opts.map_flags = kind == HASH || kind == NO_MMAP || kind == PROGRAMS ? 0 : BPF_F_MMAPABLE;
	type = kind == HASH ? BPF_MAP_TYPE_HASH : kind == PROGRAMS ? BPF_MAP_TYPE_PROG_ARRAY : type;
	fd = bpf_map_create(type, "false", sizeof(__u32), value_size, entries, &opts);
	check(fd >= 0, "map: %s", strerror(errno));
	if (kind == FROZEN)
		check(!bpf_map_freeze(fd), "freeze");
	return fd;
}

/* What differs from an honest answer of a service with a shared table. */
struct lie {
	const char *name;
	int err; /* that open must return; 0: it may succeed, but nothing may crash */
	int longer;
	__u32 magic, version, type, bytes; /* XOR of the head's */
	__u32 worker, usage, provisional;  /* instead, if not 0 */
	__u8 cid_len, follow;
	bool by_message;
	enum map_kind table, lines;
	int more_fds;
};

static void answer_register(int fd, const struct lie *lie)
{
	struct {
		struct cs_msg_registered good;
		__u8 more[64];
	} answer = {
		.good = { .worker = lie->worker ? lie->worker : 1,
			  .usage = lie->usage ? lie->usage : 1,
			  .provisional = lie->provisional ? lie->provisional : 4,
			  .cid_len = lie->cid_len ? lie->cid_len : 8,
			  .state = CS_WORKER_ACTIVE,
			  .shared = !lie->by_message,
			  .follow = lie->follow },
	};
	int fds[16], table = make_map(lie->table, sizeof(struct cs_bucket), 16), count = 0;
	int lines = make_map(lie->lines, sizeof(struct cs_usage), CS_MAX_SERVICE_WORKERS);

	message_head(&answer.good.head, CS_MSG_REGISTERED, sizeof(answer.good) + lie->longer);
	answer.good.head.magic ^= lie->magic;
	answer.good.head.version ^= lie->version;
	answer.good.head.type ^= lie->type;
	answer.good.head.bytes ^= lie->bytes;
	if (lie->worker == ~0u)
		answer.good.worker = 0;
	if (table >= 0)
		fds[count++] = table;
	if (lines >= 0)
		fds[count++] = lines;
	for (int i = 0; i < lie->more_fds; i++)
		fds[count++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	check(!control_send(fd, &answer, sizeof(answer.good) + lie->longer, fds, count), "%s",
	      lie->name);
	while (count)
		close(fds[--count]);
}

static int accept_register(void)
{
	struct cs_msg_register message;
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	check(fd >= 0 && control_receive(fd, &message, sizeof(message)) == sizeof(message),
	      "no REGISTER");
	return fd;
}

static void tell(const struct lie *lie)
{
	pid_t pid = spawn_as(0, open_and_use, NULL);
	int fd = accept_register(), result;
	__u8 ignored[4096];

	answer_register(fd, lie);
	/* Nothing that it sends is answered. */
	while (control_receive(fd, ignored, sizeof(ignored)) > 0)
		;
	close(fd);
	result = spawn_result(pid);
	check(result >= 0, "%s: ended by signal %d", lie->name, -result);
	check(result != 200, "%s: a descriptor is left", lie->name);
	check(!lie->err || result == lie->err, "%s: open returned -%d instead of -%d", lie->name,
	      result, lie->err);
}

Test(false_daemon, no_answer_to_register_crashes_a_worker)
{
	static const struct lie lies[] = {
		{ .name = "the truth" },
		{ .name = "the truth, by message",
		  .by_message = true,
		  .table = NOTHING,
		  .lines = NOTHING },
		{ .name = "short", .err = EPROTO, .longer = -1 },
		{ .name = "only a head", .err = EPROTO, .longer = -40 },
		{ .name = "less than a head", .err = EPROTO, .longer = -41 },
		{ .name = "long", .err = EPROTO, .longer = 1 },
		{ .name = "magic", .err = EPROTO, .magic = 1 },
		{ .name = "version", .err = EPROTO, .version = 3 },
		{ .name = "type", .err = EPROTO, .type = 3 },
		{ .name = "bytes", .err = EPROTO, .bytes = 1 },
		{ .name = "no worker", .err = EPROTO, .worker = ~0u },
		{ .name = "worker above 15 bits", .err = EPROTO, .worker = 0x8000 },
		{ .name = "usage line", .err = EPROTO, .usage = CS_MAX_SERVICE_WORKERS },
		{ .name = "usage line", .err = EPROTO, .usage = 0xffffffff },
		{ .name = "cid length", .err = EPROTO, .cid_len = 21 },
		{ .name = "cid length", .err = EPROTO, .cid_len = 255 },
		{ .name = "three that follow", .err = EPROTO, .follow = 3 },
		{ .name = "255 that follow", .err = EPROTO, .follow = 255 },
		{ .name = "no descriptors", .err = EPROTO, .table = NOTHING, .lines = NOTHING },
		{ .name = "one descriptor", .err = EPROTO, .lines = NOTHING },
		{ .name = "by message, with descriptors", .err = EPROTO, .by_message = true },
		{ .name = "a third descriptor", .more_fds = 1 },
		{ .name = "sixteen descriptors", .more_fds = 14 },
		{ .name = "table /dev/null", .err = EPROTO, .table = DEV_NULL },
		{ .name = "table is a file", .err = EPROTO, .table = EMPTY_FILE },
		{ .name = "small table", .err = EPROTO, .table = SMALL },
		{ .name = "odd table", .err = EPROTO, .table = ODD },
		{ .name = "thin table", .err = EPROTO, .table = THIN },
		{ .name = "table is a hash", .table = HASH },
		{ .name = "table cannot be mapped", .table = NO_MMAP },
		{ .name = "frozen table", .err = EPERM, .table = FROZEN },
		{ .name = "table of programs", .err = EPROTO, .table = PROGRAMS },
		{ .name = "lines /dev/null", .lines = DEV_NULL },
		{ .name = "lines are an empty file", .lines = EMPTY_FILE },
		{ .name = "few lines", .lines = SMALL },
		{ .name = "thin lines", .lines = THIN },
		{ .name = "frozen lines", .err = EPERM, .lines = FROZEN },
		{ .name = "lines cannot be mapped", .lines = NO_MMAP },
		{ .name = "many provisional", .provisional = 1 << 20 },
		{ .name = "provisional above half", .provisional = 0x80000001 },
		{ .name = "provisional without end", .provisional = 0xffffffff },
		{ .name = "empty", .err = ECONNREFUSED, .longer = -56 },
	};

	for (size_t i = 0; i < COUNT(lies); i++)
		tell(&lies[i]);
}

Test(false_daemon, a_refusal_without_an_error_or_an_end_is_no_success)
{
	static const int errors[] = { 0, 1, 0x7fffffff, -EBUSY };

	for (size_t i = 0; i < COUNT(errors); i++) {
		struct cs_msg_refused refused = { .error = errors[i] };
		pid_t pid = spawn_as(0, open_and_use, NULL);
		int fd = accept_register(), result;

		memset(refused.line, 'x', sizeof(refused.line));
		message_head(&refused.head, CS_MSG_REFUSED, sizeof(refused));
		check(!control_send(fd, &refused, sizeof(refused), NULL, 0), "send");
		result = spawn_result(pid);
		check(result == (errors[i] == -EBUSY ? EBUSY : EPROTO), "error %d: %d", errors[i],
		      result);
		close(fd);
	}
}

Test(false_daemon, a_daemon_that_hangs_up_or_says_nothing_is_given_up)
{
	pid_t pid = spawn_as(0, open_and_use, NULL);

	close(accept_register());
	check(spawn_result(pid) == ECONNREFUSED, "hang-up");
	pid = spawn_as(0, open_and_use, NULL);
	check(accept_register() >= 0 && spawn_result(pid) == ETIMEDOUT, "silence");
}

static int open_often(void *arg)
{
	for (int i = 0; i < 300; i++) {
		int result = open_and_use(arg);

		if (result == 200)
			return result;
	}
	return 0;
}

Test(false_daemon, random_answers_to_register_crash_nobody)
{
	__u64 seed = 60;
	pid_t pid = spawn_as(0, open_often, NULL);
	struct pollfd ready = { .fd = listening, .events = POLLIN };
	int result = 0, served = 0;

	while (poll(&ready, 1, 1000) == 1) {
		struct lie lie = { .name = "random" };
		int fd = accept_register();

		lie.table = random_below(&seed, 3) ? GOOD : random_below(&seed, PROGRAMS + 1);
		lie.lines = random_below(&seed, 3) ? GOOD : SMALL;
		lie.longer = random_below(&seed, 4) ? 0 : (int)random_below(&seed, 100) - 56;
		lie.type = random_below(&seed, 4) ? 0 : random_below(&seed, 8);
		lie.usage = random_below(&seed, 2048);
		lie.worker = random_below(&seed, 0x9000);
		lie.provisional = random_below(&seed, 100);
		lie.cid_len = random_below(&seed, 24);
		lie.by_message = !random_below(&seed, 4);
		lie.more_fds = random_below(&seed, 4) ? 0 : random_below(&seed, 14);
		answer_register(fd, &lie);
		close(fd);
		served++;
	}
	result = spawn_result(pid);
	check(!result && served == 300, "ended with %d after %d answers", result, served);
}

/* ---- answers to WRITE and DRAIN ------------------------------------------------------------ */

struct false_answer {
	const char *name;
	int err; /* that the call must return */
	int longer;
	__u32 type; /* XOR of the head's */
	int serial; /* more than the right one */
	int count;  /* more than the right one */
	int result;
	bool hang_up, silent, fds;
};

static const struct false_answer false_answers[] = {
	{ .name = "the truth" },
	{ .name = "short", .err = EPROTO, .longer = -4 },
	{ .name = "less than a head", .err = EPROTO, .longer = -20 },
	{ .name = "one byte", .err = EPROTO, .longer = -27 },
	{ .name = "long", .err = EPROTO, .longer = 4 },
	{ .name = "very long", .err = EPROTO, .longer = 3000 },
	{ .name = "type", .err = EPROTO, .type = 1 },
	{ .name = "serial", .err = EPROTO, .serial = 1 },
	{ .name = "serial", .err = EPROTO, .serial = -1 },
	{ .name = "no results", .err = EPROTO, .count = -1 },
	{ .name = "two results", .err = EPROTO, .count = 1 },
	{ .name = "65 results", .err = EPROTO, .count = 64 },
	{ .name = "2^32 results", .err = EPROTO, .count = -2 },
	{ .name = "a refusal", .result = -ENOSPC, .err = ENOSPC },
	{ .name = "a result of what was not asked", .err = EPROTO, .result = 1 },
	{ .name = "a result above all", .err = EPROTO, .result = INT32_MAX },
	{ .name = "a result that is no errno", .err = EPROTO, .result = -4096 },
	{ .name = "hang-up", .err = ENOTCONN, .hang_up = true },
	{ .name = "silence", .err = ETIMEDOUT, .silent = true },
	{ .name = "descriptors", .fds = true },
};

static int open_by_message(struct cidsteer **handle)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	int socket = udp_bind("127.0.0.1:4433");

	options.control = CONTROL;
	options.timeout_ms = 300;
	return cidsteer_open(handle, "h3", &socket, 1, &options);
}

/*
 * One issue; ends with its errno, or 201, 203: what must hold afterwards does not.  An answer
 * that is late may still come: that connection stays.
 */
static int issue_once(void *arg)
{
	const struct false_answer *told = arg;
	struct cidsteer *handle;
	__u8 cid[8] = { 1 };
	int err, before = open_descriptors();

	alarm(10);
	if (open_by_message(&handle))
		return 204;
	err = cidsteer_issue(handle, cid, sizeof(cid));
	if (err && err != -ETIMEDOUT && cidsteer_issue(handle, cid, sizeof(cid)) != -ENOTCONN)
		return 201;
	cidsteer_close(handle);
	/* One more: the socket. */
	return told && open_descriptors() != before + 1 ? 203 : -err;
}

static void answer_write(int fd, const struct false_answer *told)
{
	struct {
		struct cs_msg_written good;
		__u8 more[4096];
	} answer = { .good = { .count = 1 + told->count, .result = { told->result } } };
	size_t size = offsetof(struct cs_msg_written, result) + 4 + told->longer;
	int fds[3] = { listening, listening, listening };
	struct cs_msg_write message;

	check(control_receive(fd, &message, sizeof(message)) > 0, "%s: no WRITE", told->name);
	if (told->silent)
		return;
	message_head(&answer.good.head, CS_MSG_WRITTEN ^ told->type, size);
	answer.good.head.serial = message.head.serial + told->serial;
	if (!told->hang_up)
		check(!control_send(fd, &answer, size, fds, told->fds ? 3 : 0), "%s", told->name);
}

Test(false_daemon, no_answer_to_write_crashes_a_worker)
{
	static const struct lie honest = {
		.name = "the truth", .by_message = true, .table = NOTHING, .lines = NOTHING
	};

	for (size_t i = 0; i < COUNT(false_answers); i++) {
		const struct false_answer *told = &false_answers[i];
		pid_t pid = spawn_as(0, issue_once, (void *)told);
		int fd = accept_register(), result;

		answer_register(fd, &honest);
		answer_write(fd, told);
		if (!told->silent)
			close(fd);
		result = spawn_result(pid);
		check(result == told->err, "%s: %d instead of -%d", told->name, result, told->err);
	}
}

static int drain_once(void *arg)
{
	struct pollfd ready = { .events = POLLIN };
	struct cidsteer *handle;
	int err;

	(void)arg;
	alarm(10);
	if (open_by_message(&handle))
		return 204;
	err = cidsteer_drain(handle);
	ready.fd = cidsteer_fd(handle);
	if (!err && poll(&ready, 1, 2000) != 1) /* the hang-up */
		return 202;
	if (cidsteer_dispatch(handle) != (err ? 0 : -ENOTCONN))
		return 201;
	cidsteer_close(handle);
	return -err;
}

Test(false_daemon, no_answer_to_drain_crashes_a_worker)
{
	static const struct {
		__u16 type;
		size_t size;
		int err;
		int serial; /* more than the right one */
		__s32 result;
	} answers[] = {
		{ CS_MSG_DONE, sizeof(struct cs_msg_done), 0, 0, 0 },
		{ CS_MSG_DONE, sizeof(struct cs_msg_done) - 1, EPROTO, 0, 0 },
		{ CS_MSG_DONE, sizeof(struct cs_msg_done) + 1, EPROTO, 0, 0 },
		{ CS_MSG_DONE, sizeof(struct cs_msg_done), EPROTO, 0, 1 },
		{ CS_MSG_DONE, sizeof(struct cs_msg_done), EPROTO, 0, -4096 },
		{ CS_MSG_WRITTEN, sizeof(struct cs_msg_done), EPROTO, 0, 0 },
		{ CS_MSG_STATE, sizeof(struct cs_msg_state), EPROTO, 0, 0 },
		{ CS_MSG_DONE, 1, EPROTO, 0, 0 },
		{ CS_MSG_DONE, sizeof(struct cs_msg_done), ENOTCONN, 1, 0 },
	};

	for (size_t i = 0; i < COUNT(answers); i++) {
		pid_t pid = spawn_as(0, drain_once, NULL);
		static const struct lie honest = { .table = GOOD };
		union {
			struct cs_msg head[4];
			struct cs_msg_done done;
		} message = {};
		int fd = accept_register(), result;
		__u32 serial;

		answer_register(fd, &honest);
		check(control_receive(fd, &message, sizeof(message)) == sizeof(struct cs_msg),
		      "no DRAIN");
		serial = message.head->serial;
		message_head(message.head, answers[i].type, answers[i].size);
		message.head->serial = serial + answers[i].serial;
		message.done.result = answers[i].result;
		check(!control_send(fd, &message, answers[i].size, NULL, 0), "send");
		close(fd);
		result = spawn_result(pid);
		check(result == answers[i].err, "answer %zu: %d", i, result);
	}
}

/* ---- answers to XSKS ----------------------------------------------------------------------- */

#define REASON "for a reason"

static int set_one(struct cidsteer *handle, int xsk)
{
	const struct cidsteer_xsk one = { .fd = xsk, .ifindex = 1 };

	return cidsteer_set_xsks(handle, &one, 1);
}

/* One set; ends with its errno, or 201 to 204: what must hold afterwards does not. */
static int set_once(void *arg)
{
	int xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), err, before = open_descriptors();
	struct cidsteer *handle;

	(void)arg;
	alarm(10);
	if (open_by_message(&handle))
		return 204;
	err = set_one(handle, xsk);
	if (err == -EBUSY && strcmp(cidsteer_error(handle), REASON))
		return 202;
	if (err == -EPROTO && set_one(handle, xsk) != -ENOTCONN)
		return 201;
	cidsteer_close(handle);
	/* One more: the socket. */
	return open_descriptors() != before + 1 ? 203 : -err;
}

/* Takes a message, which has to be an XSKS of @count sockets; returns its serial. */
static __u32 take_xsks(int fd, __u32 count)
{
	struct cs_msg_xsks message;
	int received = control_receive(fd, &message, sizeof(message));

	check(received == (int)(offsetof(struct cs_msg_xsks, xsk) + 8 * count) &&
		      message.head.type == CS_MSG_XSKS && message.count == count && !message.pad,
	      "no XSKS of %u: %d bytes", count, received);
	check(!count || (message.xsk[0].ifindex == 1 && !message.xsk[0].queue), "what is in it");
	return message.head.serial;
}

static void answer_xsks(int fd, __u16 type, size_t size, __u32 serial, __s32 result)
{
	union {
		struct cs_msg head;
		struct cs_msg_done done;
		struct cs_msg_refused refused;
		__u8 more[1024];
	} answer = {};

	if (type == CS_MSG_REFUSED) {
		answer.refused.error = result;
		memset(answer.refused.line, 'x', sizeof(answer.refused.line)); /* without an end */
		if (result == -EBUSY)
			strcpy(answer.refused.line, REASON);
	} else {
		answer.done.result = result;
	}
	message_head(&answer.head, type, size);
	answer.head.serial = serial;
	check(!control_send(fd, &answer, size, NULL, 0), "send");
}

static int register_honestly(void)
{
	static const struct lie honest = { .table = GOOD };
	int fd = accept_register();

	answer_register(fd, &honest);
	return fd;
}

Test(false_daemon, no_answer_to_xsks_crashes_a_worker)
{
	static const size_t done = sizeof(struct cs_msg_done),
			    refused = sizeof(struct cs_msg_refused);
	const struct {
		__u16 type; /* 0: it hangs up */
		size_t size;
		int err;
		int serial; /* more than the right one */
		__s32 result;
	} answers[] = {
		{ CS_MSG_DONE, done, 0, 0, 0 },
		{ CS_MSG_DONE, done, EINVAL, 0, -EINVAL },
		{ CS_MSG_DONE, done, EPROTO, 0, 1 },
		{ CS_MSG_DONE, done, EPROTO, 0, -4096 },
		{ CS_MSG_DONE, done, EPROTO, 0, INT32_MIN },
		{ CS_MSG_DONE, done - 1, EPROTO, 0, 0 },
		{ CS_MSG_DONE, done + 1, EPROTO, 0, 0 },
		{ CS_MSG_DONE, done, ENOTCONN, 1, 0 },
		{ CS_MSG_DONE, done, ENOTCONN, -1, 0 },
		{ CS_MSG_REFUSED, refused, EBUSY, 0, -EBUSY },
		{ CS_MSG_REFUSED, refused, ENOSPC, 0, -ENOSPC },
		{ CS_MSG_REFUSED, refused, EPROTO, 0, 0 },
		{ CS_MSG_REFUSED, refused, EPROTO, 0, 1 },
		{ CS_MSG_REFUSED, refused, EPROTO, 0, INT32_MAX },
		{ CS_MSG_REFUSED, refused, EPROTO, 0, -4096 },
		{ CS_MSG_REFUSED, refused - 1, EPROTO, 0, -EINVAL },
		{ CS_MSG_REFUSED, refused + 1, EPROTO, 0, -EINVAL },
		{ CS_MSG_REFUSED, refused, EPROTO, 1, -EINVAL },
		{ CS_MSG_REFUSED, refused, EPROTO, -1, -EINVAL },
		{ CS_MSG_REGISTERED, sizeof(struct cs_msg_registered), EPROTO, 0, 0 },
		{ CS_MSG_WRITTEN, done, EPROTO, 0, 0 },
		{ CS_MSG_STATE, sizeof(struct cs_msg_state), EPROTO, 0, 0 },
		{ CS_MSG_XSKS, offsetof(struct cs_msg_xsks, xsk), EPROTO, 0, 0 },
		{ CS_MSG_DONE, 1, EPROTO, 0, 0 },
		{ 0, 0, ENOTCONN, 0, 0 },
	};

	for (size_t i = 0; i < COUNT(answers); i++) {
		pid_t pid = spawn_as(0, set_once, NULL);
		int fd = register_honestly(), result;
		__u32 serial = take_xsks(fd, 1);

		if (answers[i].type)
			answer_xsks(fd, answers[i].type, answers[i].size,
				    serial + answers[i].serial, answers[i].result);
		close(fd);
		result = spawn_result(pid);
		check(result == answers[i].err, "answer %zu: %d", i, result);
	}
}

static int set_in_vain(void *arg)
{
	int xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), result;
	struct cidsteer *handle;

	(void)arg;
	alarm(10);
	if (open_by_message(&handle))
		return 204;
	if (set_one(handle, xsk) != -ETIMEDOUT)
		return 1;
	for (;;) {
		struct pollfd ready = { .fd = cidsteer_fd(handle), .events = POLLIN };

		if (poll(&ready, 1, 2000) != 1)
			return 2;
		result = cidsteer_dispatch(handle);
		if (result)
			break;
	}
	if (result != CIDSTEER_NO_XSKS || strcmp(cidsteer_error(handle), REASON))
		return 3;
	if (cidsteer_dispatch(handle))
		return 4; /* it is said once */
	return set_one(handle, xsk) ? 5 : 0;
}

Test(false_daemon, a_refusal_that_is_late_is_told_and_leaves_none)
{
	pid_t pid = spawn_as(0, set_in_vain, NULL);
	int fd = register_honestly(), result;
	__u32 serial = take_xsks(fd, 1);
	struct timespec longer_than_it_waits = { 0, 500000000 };

	nanosleep(&longer_than_it_waits, NULL);
	answer_xsks(fd, CS_MSG_REFUSED, sizeof(struct cs_msg_refused), serial, -EBUSY);
	serial = take_xsks(fd, 0);
	answer_xsks(fd, CS_MSG_DONE, sizeof(struct cs_msg_done), serial, 0);
	serial = take_xsks(fd, 1);
	answer_xsks(fd, CS_MSG_DONE, sizeof(struct cs_msg_done), serial, 0);
	result = spawn_result(pid);
	check(!result, "ended with %d", result);
	close(fd);
}

static int set_twice(void *arg)
{
	int xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct cidsteer *handle;

	(void)arg;
	alarm(10);
	if (open_by_message(&handle))
		return 204;
	if (set_one(handle, xsk) != -ETIMEDOUT)
		return 1;
	if (set_one(handle, xsk))
		return 2;
	return cidsteer_dispatch(handle) ? 3 : 0;
}

Test(false_daemon, a_refusal_that_is_late_is_not_that_of_the_next_set)
{
	pid_t pid = spawn_as(0, set_twice, NULL);
	int fd = register_honestly(), result;
	__u32 serial = take_xsks(fd, 1);
	struct timespec longer_than_it_waits = { 0, 400000000 };

	nanosleep(&longer_than_it_waits, NULL);
	answer_xsks(fd, CS_MSG_REFUSED, sizeof(struct cs_msg_refused), serial, -EBUSY);
	serial = take_xsks(fd, 1);
	answer_xsks(fd, CS_MSG_DONE, sizeof(struct cs_msg_done), serial, 0);
	result = spawn_result(pid);
	check(!result, "ended with %d", result);
	close(fd);
}

static int hear_unasked(void *arg)
{
	struct pollfd ready = { .events = POLLIN };
	struct cidsteer *handle;
	__u8 cid[8] = { 1 };

	(void)arg;
	alarm(10);
	if (open_by_message(&handle))
		return 204;
	ready.fd = cidsteer_fd(handle);
	if (poll(&ready, 1, 2000) != 1)
		return 1;
	if (cidsteer_dispatch(handle) != -ENOTCONN)
		return 2;
	/* Its table is its own. */
	if (cidsteer_issue(handle, cid, sizeof(cid)))
		return 3;
	cidsteer_close(handle);
	return 0;
}

Test(false_daemon, what_nobody_asked_for_ends_the_connection_and_not_the_worker)
{
	static const struct lie honest = { .table = GOOD };
	pid_t pid = spawn_as(0, hear_unasked, NULL);
	int fd = accept_register(), result;

	answer_register(fd, &honest);
	check(!control_send(fd, "surprise", 8, &listening, 1), "send");
	result = spawn_result(pid);
	check(!result, "ended with %d", result);
	close(fd);
}

/* ---- formats and nonces -------------------------------------------------------------------- */

#define COUNTED                                                                                    \
	{                                                                                          \
		.used = 1, .server_id_len = 3, .nonce_len = 4, .cid_len = 8                        \
	}
#define DRAWN                                                                                      \
	{                                                                                          \
		.used = 1, .server_id_len = 3, .nonce_len = 8, .cid_len = 12                       \
	}
#define FIRST 0x00fffffe
#define BLOCK 65536

static const __u8 own_id[16] = { 1, 2, 3 };

/* As far as a counted nonce is long. */
static __u32 nonce_of(const __u8 cid[8])
{
	return (__u32)cid[4] << 24 | cid[5] << 16 | cid[6] << 8 | cid[7];
}

/* Every length into a room that is as long: ends with 0, or 205 to 207. */
static int generate_all(struct cidsteer *handle)
{
	__u8 room[CS_MAX_CID + 16];

	for (size_t len = 0; len <= CS_MAX_CID + 1; len++) {
		int err;

		memset(room, 0xa5, sizeof(room));
		err = cidsteer_generate(handle, room, len);
		for (size_t i = len; i < sizeof(room); i++) {
			if (room[i] != 0xa5)
				return 205;
		}
		if (err && err != -EINVAL && err != -EAGAIN && err != -ENOSPC)
			return 206;
		if (!err && cidsteer_issue(handle, room, len) == -EINVAL &&
		    len == cidsteer_cid_length(handle))
			return 207;
	}
	return 0;
}

/* Ends with the errno of open, or 200 to 207: what must hold afterwards does not. */
static int open_and_generate(void *arg)
{
	int socket = udp_bind("127.0.0.1:4433"), before = open_descriptors(), err, result = 0;
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	struct cidsteer *handle;
	char line[256] = "";

	(void)arg;
	alarm(10);
	options.control = CONTROL;
	options.timeout_ms = 300;
	options.error = line;
	options.error_size = sizeof(line);
	err = cidsteer_open(&handle, "h3", &socket, 1, &options);
	if (err && !*line)
		return 201;
	if (!err) {
		result = generate_all(handle);
		cidsteer_dispatch(handle);
		result = result ? result : generate_all(handle);
		cidsteer_close(handle);
	}
	return open_descriptors() != before ? 200 : result ? result : -err;
}

static void tell_formats(int fd, struct cs_msg_formats formats, int longer)
{
	struct {
		struct cs_msg_formats formats;
		__u8 more[64];
	} message = { .formats = formats };

	message_head(&message.formats.head, CS_MSG_FORMATS, sizeof(formats) + longer);
	check(!control_send(fd, &message, sizeof(formats) + longer, NULL, 0), "send");
}

static void tell_leased(int fd, struct cs_msg_leased leased, int longer)
{
	struct {
		struct cs_msg_leased leased;
		__u8 more[64];
	} message = { .leased = leased };

	message_head(&message.leased.head, CS_MSG_LEASED, sizeof(leased) + longer);
	message.leased.head.serial = leased.head.serial;
	check(!control_send(fd, &message, sizeof(leased) + longer, NULL, 0), "send");
}

static int register_with(__u8 follow)
{
	const struct lie honest = { .table = GOOD, .follow = follow };
	int fd = accept_register();

	answer_register(fd, &honest);
	return fd;
}

Test(false_daemon, what_should_follow_and_does_not_ends_open_at_its_time)
{
	for (__u8 follow = 1; follow <= 2; follow++) {
		for (int formats = 0; formats < follow; formats++) {
			pid_t pid = spawn_as(0, open_and_generate, NULL);
			int fd = register_with(follow), result;

			if (formats)
				tell_formats(fd, (struct cs_msg_formats){}, 0);
			result = spawn_result(pid);
			check(result == ETIMEDOUT, "%u, silence: %d", follow, result);
			close(fd);
			pid = spawn_as(0, open_and_generate, NULL);
			fd = register_with(follow);
			if (formats)
				tell_formats(fd, (struct cs_msg_formats){}, 0);
			close(fd);
			result = spawn_result(pid);
			check(result == ECONNREFUSED, "%u, hang-up: %d", follow, result);
		}
	}
}

Test(false_daemon, formats_do_not_stand_for_an_answer_to_register)
{
	pid_t pid = spawn_as(0, open_and_generate, NULL);
	int fd = accept_register(), result;

	tell_formats(fd, (struct cs_msg_formats){}, 0);
	result = spawn_result(pid);
	check(result == EPROTO, "%d", result);
	close(fd);
}

static const struct false_formats {
	const char *name;
	struct cs_msg_formats formats;
	int longer;
	bool good;
} false_formats[] = {
	{ .name = "none", .formats = {}, .good = true },
	{ .name = "a good one", .formats = { .active = 1, .lb = { COUNTED } }, .good = true },
	{ .name = "two", .formats = { .active = 7, .lb = { COUNTED, [6] = DRAWN } }, .good = true },
	{ .name = "padding",
	  .formats = { .active = 1,
		       .pad = { 1, 2, 3, 4, 5 },
		       .lb = { { 1, 3, 4, 8, 0, { 9, 9, 9 }, {} } } },
	  .good = true },
	{ .name = "one that is not used",
	  .formats = { .active = 1, .lb = { COUNTED, { 0, 255, 255, 255, 255, {}, {} } } },
	  .good = true },
	{ .name = "a long one",
	  .formats = { .active = 1, .lb = { { 1, 15, 4, 20, 1, {}, {} } } },
	  .good = true },
	{ .name = "one that tells its length",
	  .formats = { .active = 1, .lb = { { 1, 1, 4, 0, 2, {}, {} } } },
	  .good = true },
	{ .name = "a key at the end", .formats = { .key_at = 6, .key_len = 2 }, .good = true },
	{ .name = "a key that is all of it", .formats = { .key_len = 8 }, .good = true },
	{ .name = "a place without a key", .formats = { .key_at = 255 }, .good = true },
	{ .name = "short", .formats = {}, .longer = -1 },
	{ .name = "long", .formats = {}, .longer = 1 },
	{ .name = "only a head", .formats = {}, .longer = -192 },
	{ .name = "active, none is used", .formats = { .active = 1 } },
	{ .name = "active, another is used", .formats = { .active = 2, .lb = { COUNTED } } },
	{ .name = "active 8", .formats = { .active = 8, .lb = { COUNTED } } },
	{ .name = "active 255", .formats = { .active = 255, .lb = { COUNTED } } },
	{ .name = "no server ID", .formats = { .lb = { { 1, 0, 4, 8, 0, {}, {} } } } },
	{ .name = "server ID 16", .formats = { .lb = { { 1, 16, 4, 0, 0, {}, {} } } } },
	{ .name = "nonce 0", .formats = { .lb = { { 1, 3, 0, 8, 0, {}, {} } } } },
	{ .name = "nonce 3", .formats = { .lb = { { 1, 3, 3, 8, 0, {}, {} } } } },
	{ .name = "nonce 255", .formats = { .lb = { { 1, 3, 255, 8, 0, {}, {} } } } },
	{ .name = "255 and 255", .formats = { .lb = { { 1, 255, 255, 255, 0, {}, {} } } } },
	{ .name = "20 octets", .formats = { .lb = { { 1, 4, 16, 0, 0, {}, {} } } } },
	{ .name = "an ID of 7", .formats = { .lb = { { 1, 3, 4, 7, 0, {}, {} } } } },
	{ .name = "an ID of 1", .formats = { .lb = { { 1, 3, 4, 1, 0, {}, {} } } } },
	{ .name = "an ID of 21", .formats = { .lb = { { 1, 3, 4, 21, 0, {}, {} } } } },
	{ .name = "an ID of 255", .formats = { .lb = { { 1, 3, 4, 255, 0, {}, {} } } } },
	{ .name = "the last one",
	  .formats = { .active = 1, .lb = { COUNTED, [6] = { 1, 3, 4, 7, 0, {}, {} } } } },
	{ .name = "a key of 17", .formats = { .key_len = 17 } },
	{ .name = "a key of 255", .formats = { .key_len = 255 } },
	{ .name = "a key behind the longest ID", .formats = { .key_at = 19, .key_len = 2 } },
	{ .name = "a key behind this service's", .formats = { .key_at = 7, .key_len = 2 } },
	{ .name = "a key of 16 behind it", .formats = { .key_at = 4, .key_len = 16 } },
	{ .name = "a key at 255", .formats = { .key_at = 255, .key_len = 255 } },
	{ .name = "a key at 255", .formats = { .key_at = 255, .key_len = 2 } },
	{ .name = "a third octet of two", .formats = { .key_len = 2, .worker_key = { 1, 2, 3 } } },
	{ .name = "a sixteenth of eight", .formats = { .key_len = 8, .worker_key = { [15] = 1 } } },
	{ .name = "a key beside a configuration",
	  .formats = { .active = 1, .key_len = 2, .lb = { COUNTED } } },
};

Test(false_daemon, no_formats_crash_a_worker)
{
	for (size_t i = 0; i < COUNT(false_formats); i++) {
		const struct false_formats *told = &false_formats[i];
		pid_t pid = spawn_as(0, open_and_generate, NULL);
		int fd = register_with(1), result;

		tell_formats(fd, told->formats, told->longer);
		result = spawn_result(pid);
		check(result == (told->good ? 0 : EPROTO), "%s: %d", told->name, result);
		close(fd);
	}
}

static const struct false_lease {
	const char *name;
	struct cs_msg_leased leased;
	int longer;
	bool drawn, good;
} false_leases[] = {
	{ .name = "a block", .leased = { .server_id = { 1, 2, 3 }, .count = BLOCK }, .good = true },
	{ .name = "padding",
	  .leased = { .server_id = { 1 }, .pad = { 1, 2, 3 }, .count = 2 },
	  .good = true },
	{ .name = "all",
	  .leased = { .server_id = { 1, 2, 3 }, .first = 5, .count = 1ULL << 32 },
	  .good = true },
	{ .name = "around the end",
	  .leased = { .first = (1ULL << 32) - 1, .count = 2 },
	  .good = true },
	{ .name = "one", .leased = { .server_id = { 255, 255, 255 }, .count = 1 }, .good = true },
	{ .name = "drawn", .leased = { .count = CS_NONCES_RANDOM }, .drawn = true, .good = true },
	{ .name = "no server ID", .leased = { .result = -ENOSPC }, .good = true },
	{ .name = "no configuration", .leased = { .result = -ENOENT, .config = 6 }, .good = true },
	{ .name = "an errno", .leased = { .result = -4095 }, .good = true },
	{ .name = "of one that is retired",
	  .leased = { .config = 6, .first = ~0ULL, .server_id = { [15] = 1 } },
	  .good = true },
	{ .name = "an answer to nothing",
	  .leased = { .head.serial = ~0u, .count = 9 },
	  .good = true },
	{ .name = "short", .leased = { .count = BLOCK }, .longer = -1 },
	{ .name = "long", .leased = { .count = BLOCK }, .longer = 1 },
	{ .name = "configuration 7", .leased = { .config = 7, .count = BLOCK } },
	{ .name = "configuration 255", .leased = { .config = 255, .result = -ENOENT } },
	{ .name = "a result", .leased = { .result = 1, .count = BLOCK } },
	{ .name = "a large result", .leased = { .result = INT32_MAX, .count = BLOCK } },
	{ .name = "no errno", .leased = { .result = -4096 } },
	{ .name = "no errno", .leased = { .result = INT32_MIN } },
	{ .name = "no nonces", .leased = { .server_id = { 1 } } },
	{ .name = "no nonces", .leased = { .server_id = { 1 } }, .drawn = true },
	{ .name = "drawn ones of 4 octets", .leased = { .count = CS_NONCES_RANDOM } },
	{ .name = "counted ones of 8 octets", .leased = { .count = BLOCK }, .drawn = true },
	{ .name = "more than there are", .leased = { .count = (1ULL << 32) + 1 } },
	{ .name = "2^64 - 2", .leased = { .count = CS_NONCES_RANDOM - 1 } },
	{ .name = "2^63 behind 2^63", .leased = { .first = 1ULL << 63, .count = 1ULL << 63 } },
	{ .name = "from behind the last on", .leased = { .first = 1ULL << 32, .count = 1 } },
	{ .name = "around 2^64", .leased = { .first = ~0ULL, .count = 2 } },
	{ .name = "a fourth octet", .leased = { .server_id = { 1, 2, 3, 4 }, .count = BLOCK } },
	{ .name = "a sixteenth octet", .leased = { .server_id = { [15] = 1 }, .count = BLOCK } },
	{ .name = "a fourth octet",
	  .leased = { .server_id = { [3] = 1 }, .count = CS_NONCES_RANDOM },
	  .drawn = true },
};

static const struct cs_msg_formats counted = { .active = 1, .lb = { COUNTED } };
static const struct cs_msg_formats drawn = { .active = 1, .lb = { DRAWN } };

Test(false_daemon, no_nonces_crash_a_worker)
{
	for (size_t i = 0; i < COUNT(false_leases); i++) {
		const struct false_lease *told = &false_leases[i];
		pid_t pid = spawn_as(0, open_and_generate, NULL);
		int fd = register_with(2), result;

		tell_formats(fd, told->drawn ? drawn : counted, 0);
		tell_leased(fd, told->leased, told->longer);
		result = spawn_result(pid);
		check(result == (told->good ? 0 : EPROTO), "%s: %d", told->name, result);
		close(fd);
	}
}

/* What comes when nobody asked; @good: it is taken. */
static int hear_of_ids(void *arg)
{
	const bool *good = arg;
	struct pollfd ready = { .events = POLLIN };
	struct cidsteer *handle;
	__u8 cid[2][8];
	int before = open_descriptors();

	alarm(10);
	if (open_by_message(&handle))
		return 204;
	if (cidsteer_generate(handle, cid[0], 8) || cidsteer_issue(handle, cid[0], 8))
		return 1;
	ready.fd = cidsteer_fd(handle);
	if (poll(&ready, 1, 2000) != 1)
		return 2;
	if (cidsteer_dispatch(handle) != (*good ? 0 : -ENOTCONN))
		return 3;
	/* What was made stays its own, and the nonces go on. */
	if (cidsteer_issue(handle, cid[0], 8) || cidsteer_report_stray(handle, cid[0], 8) ||
	    cidsteer_retire(handle, cid[0], 8))
		return 4;
	if (cidsteer_generate(handle, cid[1], 8) || cidsteer_issue(handle, cid[1], 8))
		return 5;
	if (nonce_of(cid[0]) != FIRST || nonce_of(cid[1]) != FIRST + 1)
		return 6;
	cidsteer_close(handle);
	return open_descriptors() != before + 1 ? 203 : 0;
}

static int register_with_ids(void)
{
	struct cs_msg_leased leased = { .first = FIRST, .count = BLOCK };
	int fd = register_with(2);

	memcpy(leased.server_id, own_id, sizeof(own_id));
	tell_formats(fd, counted, 0);
	tell_leased(fd, leased, 0);
	return fd;
}

Test(false_daemon, false_nonces_end_the_connection_and_no_id)
{
	for (size_t i = 0; i < COUNT(false_leases); i++) {
		const struct false_lease *told = &false_leases[i];
		bool good = told->good;
		int fd, result;
		pid_t pid;

		if (told->drawn)
			continue;
		pid = spawn_as(0, hear_of_ids, &good);
		fd = register_with_ids();
		tell_leased(fd, told->leased, told->longer);
		result = spawn_result(pid);
		check(!result, "%s: ended with %d", told->name, result);
		close(fd);
	}
}

Test(false_daemon, false_formats_end_the_connection_and_no_id)
{
	bool good = false;

	for (size_t i = 0; i < COUNT(false_formats); i++) {
		const struct false_formats *told = &false_formats[i];
		int fd, result;
		pid_t pid;

		if (told->good)
			continue;
		pid = spawn_as(0, hear_of_ids, &good);
		fd = register_with_ids();
		tell_formats(fd, told->formats, told->longer);
		result = spawn_result(pid);
		check(!result, "%s: ended with %d", told->name, result);
		close(fd);
	}
}

/* All of them, and what is given while there are some: none twice. */
static int use_all(void *arg)
{
	struct cidsteer *handle;
	__u8 cid[8];

	(void)arg;
	alarm(10);
	if (open_by_message(&handle))
		return 204;
	for (__u32 i = 0; i < 5; i++) {
		/* The second block may be on its way: until then IDs are for the table. */
		if (!eventually((cidsteer_dispatch(handle),
				 !cidsteer_generate(handle, cid, 8) && cid[0] < 0xe0)) ||
		    cid[1] != (i < 3 ? 1 : 2))
			return 1;
		if (nonce_of(cid) != (i < 3 ? i - 2 : 7 + i - 3))
			return 2;
		if (cidsteer_issue(handle, cid, 8))
			return 3;
	}
	/* One that the table is to know. */
	if (cidsteer_generate(handle, cid, 8) || cid[0] < 0xe0)
		return 4;
	return 0;
}

Test(false_daemon, nonces_begin_anew_behind_the_last_and_are_used_once)
{
	const struct cs_msg_leased first = { .server_id = { 1 },
					     .first = (1ULL << 32) - 2,
					     .count = 3 };
	const struct cs_msg_leased next = { .server_id = { 2 }, .first = 7, .count = 2 };
	pid_t pid = spawn_as(0, use_all, NULL);
	int fd = register_with(2), result;

	tell_formats(fd, counted, 0);
	tell_leased(fd, first, 0);
	tell_leased(fd, next, 0);
	result = spawn_result(pid);
	check(!result, "ended with %d", result);
	close(fd);
}

/* Until it is told that it is new. */
static int come_back(void *arg)
{
	struct cidsteer *handle;
	struct pollfd ready = { .events = POLLIN };
	__u8 cid[8];
	int err;

	(void)arg;
	alarm(10);
	if (open_by_message(&handle))
		return 204;
	if (cidsteer_generate(handle, cid, 8) || cid[0] >= 0xe0)
		return 1;
	ready.fd = cidsteer_fd(handle);
	do {
		if (poll(&ready, 1, 2000) != 1)
			return 2;
		err = cidsteer_dispatch(handle);
	} while (!err || err == -ENOTCONN);
	if (err != CIDSTEER_REISSUE)
		return 3;
	return cidsteer_generate(handle, cid, 8) || cid[0] < 0xe0 ? 4 : 0;
}

Test(false_daemon, formats_of_an_earlier_daemon_are_forgotten)
{
	pid_t pid = spawn_as(0, come_back, NULL);
	int fd = register_with_ids(), result;

	close(fd);
	fd = register_with(0);
	result = spawn_result(pid);
	check(!result, "ended with %d", result);
	close(fd);
}

/* The configuration that is claimed goes, and comes again: what was asked is not answered. */
Test(false_daemon, a_claim_that_is_void_holds_nobody_up)
{
	const struct cs_msg_formats other = { .active = 0, .lb = { { 1, 2, 5, 8, 0, {}, {} } } };
	pid_t pid = spawn_as(0, come_back, NULL);
	int fd = register_with_ids(), result;

	close(fd);
	fd = register_with(1);
	tell_formats(fd, counted, 0);
	tell_formats(fd, other, 0);
	result = spawn_result(pid);
	check(!result, "ended with %d", result);
	close(fd);
}
