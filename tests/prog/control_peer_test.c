// SPDX-License-Identifier: GPL-2.0-only
/* Peers that hang, flood, leave, pass what hurts, or say anything at all. */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>

#include "talk.h"

/* The last copy of a TCP socket with SO_LINGER waits when it is closed: not in the daemon. */
Undisturbed(a_descriptor_that_waits_when_closed_does_not_stop_the_daemon)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(7000) };
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct linger linger = { 1, 20 };
	struct cs_msg_register message;
	char block[4096] = "";
	double start;
	int fd;

	check(!bind(server, (struct sockaddr *)&addr, sizeof(addr)) && !listen(server, 1),
	      "listen");
	connect(client, (struct sockaddr *)&addr, sizeof(addr));
	check(eventually(send(client, block, 1, MSG_NOSIGNAL) == 1), "connect");
	while (send(client, block, sizeof(block), MSG_NOSIGNAL) > 0)
		;
	check(!setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), "SO_LINGER");
	fd = control_connect();
	message_register(&message, "solo", 1);
	kill(daemon_pid, SIGSTOP);
	check(!control_send(fd, &message, sizeof(message), &client, 1), "send");
	close(client);
	kill(daemon_pid, SIGCONT);
	start = seconds_now();
	with_fd(say_register("nobody"), udp_bind("[::]:4436"));
	refused(-ENOENT, "is not configured");
	check(seconds_now() - start < 2, "the daemon stood still for %.1f s",
	      seconds_now() - start);
	close(fd);
	close(server);
}

static int leave_at_once(void *arg)
{
	int fd = control_connect();

	if (control_send(fd, talk->step[0].bytes, talk->step[0].size, talk->step[0].fd,
			 talk->step[0].fds))
		return 1;
	(void)arg;
	return 0;
}

Undisturbed(a_peer_that_leaves_before_the_answer_leaves_nothing)
{
	for (int i = 0; i < 20; i++) {
		if (i % 2)
			register_told();
		else
			register_h3(-1);
		check(!spawn_result(spawn_as(0, leave_at_once, NULL)), "peer");
		close_descriptors();
		talk->steps = 0;
	}
}

/* Sends WRITEs until the daemon has had enough. */
static int never_read(void *arg)
{
	struct step *step = &talk->step[0];
	int fd = control_connect();
	struct cs_msg_registered registered;

	(void)arg;
	if (control_send(fd, step->bytes, step->size, step->fd, step->fds) ||
	    control_receive(fd, &registered, sizeof(registered)) != sizeof(registered))
		return 1;
	for (int i = 0; i < 100000; i++) {
		int err = control_send(fd, step[1].bytes, step[1].size, NULL, 0);

		if (err)
			return err == -EPIPE || err == -ECONNRESET ? 0 : 2;
	}
	return 3;
}

/* What is compared with at the end is taken anew. */
static bool only_bystanders(void)
{
	snapshot_free(before);
	before = snapshot_take(&plane);
	return snapshot_workers(before) == BYSTANDERS;
}

Undisturbed(a_peer_that_never_reads_is_given_up_and_nobody_waits_for_it)
{
	__u8 cid[8] = { 0x66 };
	siginfo_t info = {};
	double slowest = 0;
	int calls = 0;
	pid_t peer;

	told_write(64);
	peer = spawn_as(0, never_read, NULL);
	do {
		double start = seconds_now();

		check(!cidsteer_issue(bystander[2].handle, cid, 8), "issue");
		check(!cidsteer_retire(bystander[2].handle, cid, 8), "retire");
		slowest = seconds_now() - start > slowest ? seconds_now() - start : slowest;
		calls++;
	} while (!waitid(P_PID, peer, &info, WEXITED | WNOHANG | WNOWAIT) && !info.si_pid);
	check(!spawn_result(peer), "the peer was not given up");
	check(slowest < 2, "one of %d calls took %.1f s", calls, slowest);
	close_descriptors();
	/* What the bystander did itself: an issue counted, and the last retire still batched. */
	check(!cidsteer_issue(bystander[2].handle, cid, 8), "issue");
	check(eventually(daemon_descriptors() == descriptors), "descriptors");
	check(eventually(only_bystanders()), "%d workers", snapshot_workers(before));
}

#define MAX_UNREGISTERED 256 /* user/daemon/control.h */

static int hang(void *arg)
{
	int *ready = arg, fd, past;
	char byte;

	for (int i = 0; i < MAX_UNREGISTERED; i++) {
		if (control_connect() < 0)
			return 1;
	}
	past = control_connect();
	if (past < 0 || control_receive(past, &byte, 1) != 0)
		return 2;
	fd = control_connect();
	if (fd < 0 || control_receive(fd, &byte, 1) != 0)
		return 3;
	if (write(ready[1], "r", 1) != 1)
		return 4;
	pause();
	return 5;
}

Undisturbed(connections_that_hang_use_up_their_own_users_share_only)
{
	int ready[2];
	char byte;
	pid_t peer;

	check(!pipe2(ready, O_CLOEXEC), "pipe");
	peer = spawn_as(UID_OTHER, hang, ready);
	close(ready[1]);
	check(read(ready[0], &byte, 1) == 1, "the peer ended with %d", spawn_result(peer));
	check(daemon_descriptors() == descriptors + MAX_UNREGISTERED, "%d more descriptors",
	      daemon_descriptors() - descriptors);
	register_told();
	talk_as(UID_NOBODY);
	check(talk->answer[0].head.type == CS_MSG_REGISTERED, "nobody is not served");
	talk_as(0);
	check(talk->answer[0].head.type == CS_MSG_REGISTERED, "root is not served");
	kill(peer, SIGKILL);
	spawn_result(peer);
	close_descriptors();
	close(ready[0]);
}

static unsigned long daemon_ticks(void)
{
	unsigned long user = 0, system = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", daemon_pid);
	file = fopen(path, "re");
	check(file && fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			     &user, &system) == 2,
	      "stat");
	fclose(file);
	return user + system;
}

Undisturbed(a_daemon_out_of_descriptors_rests_and_goes_on_when_it_can)
{
	struct rlimit least = { descriptors + 8, 1000 }, usual = { 1000, 1000 };
	struct timespec second = { 1, 0 };
	unsigned long ticks;
	int fd[32];

	check(!prlimit(daemon_pid, RLIMIT_NOFILE, &least, NULL), "prlimit");
	for (size_t i = 0; i < COUNT(fd); i++)
		fd[i] = control_connect();
	check(eventually(daemon_descriptors() >= descriptors + 7), "%d descriptors",
	      daemon_descriptors() - descriptors);
	ticks = daemon_ticks();
	nanosleep(&second, NULL);
	check(daemon_ticks() - ticks < 5, "the daemon is busy with nothing: %lu ticks of %ld",
	      daemon_ticks() - ticks, sysconf(_SC_CLK_TCK));
	bystanders_receive();
	for (size_t i = 0; i < COUNT(fd); i++)
		close(fd[i]);
	check(!prlimit(daemon_pid, RLIMIT_NOFILE, &usual, NULL), "prlimit");
	register_told();
	talk_as(0);
	check(talk->answer[0].head.type == CS_MSG_REGISTERED, "not served");
	close_descriptors();
}

/* ---- the log ------------------------------------------------------------------------------- */

static int log_lines(const char *text, const char *prefix)
{
	FILE *file = fopen(DAEMON_LOG, "re");
	char line[1024];
	int count = 0;

	while (fgets(line, sizeof(line), file)) {
		check(!strncmp(line, prefix, strlen(prefix)), "a stranger wrote: %s", line);
		for (const char *at = line; at[1]; at++)
			check((__u8)*at >= ' ', "a stranger wrote byte %u", *at);
		count += strstr(line, text) != NULL;
	}
	fclose(file);
	return count;
}

static int scan(void *arg)
{
	struct cs_msg_refused refused;

	(void)arg;
	for (int i = 0; i < 500; i++) {
		int fd = control_connect();

		if (control_send(fd, "x", 1, NULL, 0) ||
		    control_receive(fd, &refused, sizeof(refused)) != sizeof(refused))
			return 1;
		close(fd);
	}
	return 0;
}

Undisturbed(strangers_cannot_fill_the_log)
{
	double start = seconds_now();

	check(!spawn_result(spawn_as(UID_OTHER, scan, NULL)), "peer");
	check(log_lines("shorter than its head", "") <= 10 * (2 + (int)(seconds_now() - start)),
	      "%d lines", log_lines("shorter than its head", ""));
	check(log_lines("shorter than its head", "") >= 10, "nothing was logged");
}

Undisturbed(strangers_cannot_write_lines_of_their_own_into_the_log)
{
	with_fd(say_register("x\ny\033[31m\x7f"), udp_bind("127.0.0.1:4435"));
	refused_as(UID_OTHER, -ENOENT, "service");
	check(log_lines("refused", "cidsteerd: ") == 1, "not logged");
}

/* ---- fuzzing ------------------------------------------------------------------------------- */

/* A message that is nearly right. */
static size_t fuzz_message(__u64 *seed, struct step *step)
{
	static const __u16 types[] = { CS_MSG_REGISTER, CS_MSG_REGISTER, CS_MSG_WRITE,
				       CS_MSG_WRITE,	CS_MSG_DRAIN,	 CS_MSG_DONE };
	static const char names[][8] = { "h3", "told", "told", "x" };
	__u32 count = random_below(seed, 66);

	random_fill(seed, step->bytes, 64);
	message_head(&step->head, types[random_below(seed, COUNT(types))], sizeof(struct cs_msg));
	step->size = sizeof(struct cs_msg);
	if (step->head.type == CS_MSG_REGISTER) {
		memset(step->registers.service, 0, CS_NAME_SIZE);
		memcpy(step->registers.service, names[random_below(seed, 4)], 8);
		step->registers.sockets = step->fds;
		step->size = sizeof(step->registers);
	} else if (step->head.type == CS_MSG_WRITE) {
		step->write.count = count;
		step->size = offsetof(struct cs_msg_write, write) + count * sizeof(struct cs_write);
		for (__u32 i = 0; i < count && i < CS_MAX_WRITES; i++)
			put_write(step, i, random_below(seed, 8), (__u8[8]){ random_word(seed) },
				  8);
	}
	if (!random_below(seed, 4))
		step->size = random_below(seed, 4096);
	step->head.bytes = step->size;
	for (int i = random_below(seed, 3) ? 0 : 3; i; i--)
		step->bytes[random_below(seed, step->size < 64 ? 64 : step->size)] =
			random_word(seed);
	return step->size;
}

static int fuzz(void *arg)
{
	static struct step step;
	__u64 seed = *(__u64 *)arg, count = rounds(3000);
	int pool[] = { udp_bind("[::]:4433"),	   udp_bind("127.0.0.1:4434"),
		       udp_bind("127.0.0.1:4435"), udp_bind("[::]:4436"),
		       open("/dev/null", O_RDWR),  socket(AF_INET, SOCK_STREAM, 0) };
	int fd = -1;

	for (__u64 i = 0; i < count; i++) {
		__u8 answer[1024];

		if (fd < 0 || !random_below(&seed, 8)) {
			close(fd);
			fd = control_connect();
		}
		step.fds = random_below(&seed, 3) ? random_below(&seed, 3) :
						    random_below(&seed, 30);
		for (unsigned int j = 0; j < step.fds; j++)
			step.fd[j] = pool[random_below(&seed, COUNT(pool))];
		fuzz_message(&seed, &step);
		if (control_send(fd, step.bytes, step.size, step.fd, step.fds))
			return 1;
		/* Every message is answered or ends the connection. */
		switch (control_receive(fd, answer, sizeof(answer))) {
		case -ETIMEDOUT:
			return 2;
		case 0:
			close(fd);
			fd = -1;
			break;
		default:
			if (((struct cs_msg *)answer)->type == CS_MSG_REFUSED) {
				close(fd);
				fd = -1;
			}
		}
	}
	return 0;
}

Undisturbed(random_messages_are_each_answered_and_leave_nothing)
{
	for (__u64 seed = 40; seed < 42; seed++) {
		int result = spawn_result(spawn_as(0, fuzz, &seed));

		check(!result, "seed %llu: the peer ended with %d", seed, result);
	}
}
