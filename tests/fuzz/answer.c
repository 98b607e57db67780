// SPDX-License-Identifier: GPL-2.0-only
/*
 * The library, and a daemon that answers anything, descriptors included.
 *
 * An input: options, how many calls, the calls; then what the daemon does, a step each time that
 * the library waits for it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "fuzz.h"
#include "lib/generate.c" /* what it makes IDs with is its own */

#define MOST_CALLS 64
#define MOST_CONNECTIONS 4
#define MESSAGE_MAX 600

/* A step: what is done, and how. */
#define STEP 7
#define STEP_WAIT 0 /* nothing comes: the library's time is over */
#define STEP_HANG_UP 1
#define STEP_BURY 2	/* the usage lines say that the worker is dead; other steps: a message */
#define STEP_HONEST 8	/* a head as it should be */
#define STEP_ANSWERS 16 /* the oldest request: its serial, as many results as it has writes */
#define STEP_LIES 64	/* as many results as the message says */
#define STEP_FDS 32	/* descriptors come with it */

static struct input script;
static int peer = -1; /* the daemon's end of the connection */
static unsigned int connections;
static int udp, xsk;

/* Descriptors that the daemon may send. */
enum {
	TABLE,
	USAGE,
	ODD,
	DEV_NULL,
	KINDS
};
static const size_t sizes[KINDS] = { 64 * sizeof(struct cs_bucket),
				     CS_MAX_SERVICE_WORKERS * sizeof(struct cs_usage),
				     24 * sizeof(struct cs_bucket) };
static int kinds[KINDS];
static bool used = true; /* somebody may have written to them */

/* What the library asked for, oldest first. */
static struct {
	__u32 serial, writes;
} asked[256];
static unsigned int asked_count;

/* ---- the daemon ---------------------------------------------------------------------------- */

static void hang_up(void)
{
	if (peer >= 0)
		close(peer);
	peer = -1;
	asked_count = 0;
}

static void read_requests(void)
{
	static union {
		struct cs_msg head;
		struct cs_msg_write write;
	} request;

	while (recv(peer, &request, sizeof(request), MSG_DONTWAIT) > 0) {
		LAW(request.head.magic == CS_PROTOCOL_MAGIC);
		if (asked_count == sizeof(asked) / sizeof(asked[0]))
			continue;
		asked[asked_count].serial = request.head.serial;
		asked[asked_count++].writes = request.head.type == CS_MSG_WRITE ?
						      request.write.count :
						      0;
	}
}

union message {
	struct cs_msg head;
	struct cs_msg_written written;
	struct cs_msg_leased leased;
	char bytes[MESSAGE_MAX];
};

/* Makes a message the answer to the oldest request.  Returns its length. */
static size_t answer_oldest(union message *message, size_t len, bool lies)
{
	if (!asked_count)
		return len;
	message->head.serial = asked[0].serial;
	if (message->head.type == CS_MSG_WRITTEN && asked[0].writes) {
		if (!lies)
			message->written.count = asked[0].writes;
		len = offsetof(struct cs_msg_written, result) + 4 * (message->written.count % 128);
	}
	memmove(asked, asked + 1, --asked_count * sizeof(asked[0]));
	return len;
}

/* Nonces that the daemon gave, whether or not the library takes them. */
#define MOST_GIVEN 256
static struct cs_msg_leased given[MOST_GIVEN];
static unsigned int givens;
static bool given_twice[CS_LB_CONFIGS];

/* As counted nonces of 4 octets, which are the shortest: longer ones seldom meet. */
static bool overlap(const struct cs_msg_leased *a, const struct cs_msg_leased *b)
{
	return (__u32)(b->first - a->first) < a->count || (__u32)(a->first - b->first) < b->count;
}

static void note_given(const struct cs_msg_leased *leased, size_t len)
{
	if (len != sizeof(*leased) || leased->head.type != CS_MSG_LEASED ||
	    leased->config >= CS_LB_CONFIGS || leased->count == CS_NONCES_RANDOM)
		return;
	for (unsigned int i = 0; i < givens; i++) {
		if (given[i].config == leased->config &&
		    !memcmp(given[i].server_id, leased->server_id, sizeof(leased->server_id)) &&
		    overlap(&given[i], leased))
			given_twice[leased->config] = true;
	}
	if (givens < MOST_GIVEN)
		given[givens++] = *leased;
	else
		given_twice[leased->config] = true;
}

static void send_message(__u8 step)
{
	static union message message;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = {};
	__u8 fds = step & STEP_FDS ? input_byte(&script) : 0, count = fds & 3;
	size_t len = input_u16(&script) % sizeof(message);
	struct iovec iov = { &message, 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(&message, 0, sizeof(message));
	input_bytes(&script, &message, len);
	if (step & STEP_ANSWERS)
		len = answer_oldest(&message, len, step & STEP_LIES);
	if (step & STEP_HONEST) {
		message.head.magic = CS_PROTOCOL_MAGIC;
		message.head.version = CS_PROTOCOL_VERSION;
		message.head.bytes = len;
	}
	note_given(&message.leased, len);
	iov.iov_len = len;
	used |= count;
	if (count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ CMSG_LEN(count * sizeof(int)), SOL_SOCKET,
							 SCM_RIGHTS };
		for (int i = 0; i < count; i++)
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)) + i * sizeof(int),
			       &kinds[fds >> (2 + 2 * i) & 3], sizeof(int));
	}
	sendmsg(peer, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void bury(void)
{
	const __u64 buried = 1;

	used = true;
	for (int line = 1; line < 4; line++)
		LAW(pwrite(kinds[USAGE], &buried, sizeof(buried),
			   line * sizeof(struct cs_usage) + offsetof(struct cs_usage, buried)) > 0);
}

/* Returns whether the daemon did something that the library can notice. */
static bool daemon_step(void)
{
	__u8 step = input_byte(&script);

	if (!script.left || peer < 0 || (step & STEP) == STEP_WAIT)
		return false;
	read_requests();
	if ((step & STEP) == STEP_HANG_UP)
		hang_up();
	else if ((step & STEP) == STEP_BURY)
		bury();
	else
		send_message(step);
	return true;
}

/* ---- the kernel, as the library sees it ---------------------------------------------------- */

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	__u8 how = input_byte(&script);
	const int least = 1;
	int pair[2];

	(void)addr, (void)len;
	if (how & 0x80 || connections++ == MOST_CONNECTIONS) {
		errno = how & 1 ? ENOENT : how & 2 ? EAGAIN : ECONNREFUSED;
		return -1;
	}
	hang_up();
	LAW(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	LAW(dup3(pair[0], fd, O_CLOEXEC) == fd);
	close(pair[0]);
	if (how & 0x40) /* a buffer that a few requests fill */
		LAW(!setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)));
	peer = pair[1];
	return 0;
}

/* Who waits lets the daemon go on; no time passes. */
int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	const struct timespec now = {};

	(void)timeout;
	if (count != 1) /* open_fds() */
		return ppoll(fds, count, &now, NULL);
	for (;;) {
		int ready = ppoll(fds, count, &now, NULL);

		if (ready || !daemon_step())
			return ready;
	}
}

/* A socket that stands for an AF_XDP one. */
static bool is_xsk(int fd)
{
	struct stat status, other;

	return !fstat(fd, &status) && !fstat(xsk, &other) && status.st_ino == other.st_ino &&
	       status.st_dev == other.st_dev;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	static int (*real)(int, int, int, void *, socklen_t *);

	if (level == SOL_SOCKET && name == SO_DOMAIN && is_xsk(fd)) {
		*(int *)value = AF_XDP;
		return 0;
	}
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "getsockopt");
	return real(fd, level, name, value, len);
}

/* As an AF_XDP socket answers who wants to wait; now and then one that is not bound any more. */
ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
	if (!is_xsk(fd))
		return recvfrom(fd, bytes, size, flags, NULL, NULL);
	LAW(!flags);
	errno = input_byte(&script) & 1 ? ENXIO : EOPNOTSUPP;
	return -1;
}

/* The time to the next attempt is over at once. */
int timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before)
{
	static int (*real)(int, int, const struct itimerspec *, struct itimerspec *);
	struct itimerspec soon = { .it_value.tv_nsec = when->it_value.tv_nsec ||
						       when->it_value.tv_sec };

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "timerfd_settime");
	return real(fd, flags, &soon, before);
}

/* BPF_OBJ_GET_INFO_BY_FD: a regular file is an array whose lines are as long as both maps'. */
static long map_info(const union bpf_attr *attr)
{
	struct bpf_map_info *info = (void *)(uintptr_t)attr->info.info;
	struct stat status;

	if (fstat(attr->info.bpf_fd, &status) || !S_ISREG(status.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	info->type = BPF_MAP_TYPE_ARRAY;
	info->id = status.st_ino;
	info->value_size = sizeof(struct cs_bucket);
	info->max_entries = status.st_size / sizeof(struct cs_bucket);
	return 0;
}

/* Nobody here asks for another one by its number. */
long syscall(long number, ...)
{
	const union bpf_attr *attr;
	va_list list;
	int command;

	va_start(list, number);
	command = va_arg(list, int);
	attr = va_arg(list, const union bpf_attr *);
	va_end(list);
	LAW(number == SYS_bpf && command == BPF_OBJ_GET_INFO_BY_FD);
	return map_info(attr);
}

/* ---- the server ---------------------------------------------------------------------------- */

static int get_state(struct cidsteer *handle)
{
	struct cidsteer_state state = { .size = sizeof(state) };

	return cidsteer_get_state(handle, &state);
}

/* Some that are AF_XDP sockets, and with many one that is not. */
static int set_xsks(struct cidsteer *handle, __u8 count)
{
	struct cidsteer_xsk set[8];

	for (__u8 i = 0; i < count; i++)
		set[i] = (struct cidsteer_xsk){ i == 6 ? udp : xsk, 1, i };
	return cidsteer_set_xsks(handle, set, count);
}

/* IDs that were made, by what is not random in them. */
#define MOST_MADE 1024
static struct made {
	__u8 id, server_id_len, len;
	__u8 octets[CS_LB_MAX_LEN];
} made[MOST_MADE];
static unsigned int mades;

/* A nonce is used once, if it is given once. */
static void check_once(const struct cidsteer *handle, const __u8 *cid)
{
	__u8 id = cid[0] >> 5;
	const struct cs_format *format = &handle->generator->config[id].format;
	struct made now = {
		id, format->server_id_len, format->server_id_len + format->nonce_len, {}
	};

	memcpy(now.octets, cid + 1, now.len);
	for (unsigned int i = 0; i < mades && !given_twice[id]; i++)
		LAW(memcmp(&made[i], &now, sizeof(now)));
	if (mades < MOST_MADE)
		made[mades++] = now;
}

/* What is made is the worker's own, or one of those that the table knows. */
static void check_made(struct cidsteer *handle, const __u8 *cid, size_t len)
{
	bool is_own = generator_carried(handle, cid, len) == CARRIES_OWN;
	bool shared = handle->routes.usage;
	int err;

	LAW(len && len <= CS_MAX_CID);
	LAW(is_own || (len == handle->routes.cid_len && cid[0] >= TABLE_BITS));
	err = cidsteer_issue(handle, cid, len);
	LAW(is_own ? !err : err != -EINVAL || !shared);
}

static int make(struct cidsteer *handle, size_t len)
{
	__u8 room[CS_MAX_CID + 16];
	int err;

	memset(room, 0xa5, sizeof(room));
	err = cidsteer_generate(handle, room, len);
	for (size_t i = len; i < sizeof(room); i++)
		LAW(room[i] == 0xa5);
	if (err)
		return err;
	if (!handle->generator->key_len && room[0] < TABLE_BITS)
		check_once(handle, room);
	check_made(handle, room, len);
	LAW(cidsteer_report_stray(handle, room, len) <= 1);
	return cidsteer_retire(handle, room, len);
}

/* All lengths, or some of the usual one. */
static int make_some(struct cidsteer *handle, bool all)
{
	int err = 0;

	for (size_t i = 0; i < (all ? CS_MAX_CID + 2 : 4) && err != -ETIMEDOUT; i++)
		err = make(handle, all ? i : cidsteer_cid_length(handle));
	return err;
}

static int call(struct cidsteer *handle, __u8 which)
{
	size_t len = which & 8 ? cidsteer_cid_length(handle) : which >> 4;
	__u8 cid[CS_MAX_CID];
	int err = 0;

	memset(cid, which >> 4, sizeof(cid));
	switch (which & 7) {
	case 0:
		return cidsteer_dispatch(handle);
	case 1:
		return cidsteer_issue(handle, cid, len);
	case 2:
		return cidsteer_issue_provisional(handle, cid, len);
	case 3:
		return cidsteer_retire(handle, cid, len);
	case 4:
		return cidsteer_report_stray(handle, cid, len);
	case 5: /* so many that they fill messages */
		for (int i = 0; i <= which && !err; i++)
			err = cidsteer_report_path_change(handle);
		return err;
	case 6:
		return cidsteer_ready(handle);
	}
	if (which & 16)
		return set_xsks(handle, which >> 5);
	if (which & 32)
		return make_some(handle, which & 8);
	return which & 8 ? cidsteer_drain(handle) : get_state(handle);
}

static void use(struct cidsteer *handle, const __u8 *calls, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		LAW(call(handle, calls[i]) >= -4095);
		LAW(memchr(cidsteer_error(handle), '\0', sizeof(handle->error)));
		LAW(cidsteer_cid_length(handle) <= CS_MAX_CID);
		LAW(cidsteer_worker_id(handle) <= CS_WORKER_MASK);
	}
	cidsteer_close(handle);
}

/* Maps as they are when nobody has written to them. */
static void clear_maps(void)
{
	for (int i = 0; i < DEV_NULL && used; i++)
		LAW(!ftruncate(kinds[i], 0) && !ftruncate(kinds[i], sizes[i]));
	used = false;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	for (int i = 0; i < DEV_NULL; i++)
		kinds[i] = memfd_create("map", MFD_CLOEXEC);
	kinds[DEV_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	xsk = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	LAW(udp >= 0 && xsk >= 0 && kinds[DEV_NULL] >= 0);
	clear_maps();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const __u8 lengths[] = { 0, 4, 8, 20 };
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	struct open_fds before = open_fds(), after;
	__u8 calls[MOST_CALLS], how, count;
	struct cidsteer *handle;
	int err;

	script = (struct input){ data, size };
	how = input_byte(&script);
	count = input_byte(&script) % (MOST_CALLS + 1);
	input_bytes(&script, calls, count);
	options.control = "/daemon";
	options.cid_length = lengths[how & 3];
	options.generation = how >> 2 & 31;
	options.worker_key = how & 128 ? (const __u8 *)"key" : NULL;
	options.worker_key_len = how & 128 ? 3 : 0;
	connections = mades = givens = 0;
	memset(given_twice, 0, sizeof(given_twice));
	err = cidsteer_open(&handle, "h3", &udp, 1, &options);
	LAW(err <= 0);
	if (!err)
		use(handle, calls, count);
	hang_up();
	clear_maps();
	after = open_fds();
	LAW(!memcmp(&before, &after, sizeof(before)));
	return 0;
}
