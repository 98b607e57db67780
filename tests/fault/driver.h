/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the driver share.
 *
 *   main.c     counts the calls of each phase, runs it once for each of them, sums up
 *   program.c  a program under the shim: starting it, waiting for it, judging what it said
 *   look.c     what is pinned, and whether it is whole
 *   puppet.c   workers: processes that register, issue, take packets
 *   phases.c   the table of phases
 */
#ifndef CS_DRIVER_H
#define CS_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "dataplane/plane.h"
#include "fault.h"

#define SANDBOX "/mnt"
#define BPFFS "/sys/fs/bpf"
#define PINS BPFFS "/cidsteer"
#define CONFIG SANDBOX "/cidsteer.conf"
#define CONTROL SANDBOX "/control.sock"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define PATIENCE_NS 30000000000ULL /* what takes longer hangs, on a busy machine, too */

/* Polls a fact, which may be dear to find out, for at most PATIENCE_NS. */
#define eventually(fact)                                                                           \
	({                                                                                         \
		__u64 end_ = now_ns() + PATIENCE_NS;                                               \
		struct timespec nap_ = { 0, 100000 };                                              \
		bool is_ = fact;                                                                   \
		while (!is_ && now_ns() < end_) {                                                  \
			nanosleep(&nap_, NULL);                                                    \
			nap_.tv_nsec += nap_.tv_nsec < 3000000 ? nap_.tv_nsec / 4 : 0;             \
			is_ = fact;                                                                \
		}                                                                                  \
		is_;                                                                               \
	})

/* ---- main.c ------------------------------------------------------------------------------- */

/* A call of the phase that fails, or, with @fail_at 0, none: that counts them. */
struct phase {
	const char *name;
	const char *what; /* for people */
	/* Once in each sandbox; may be NULL. */
	void (*prepare)(void);
	/* Runs the phase, checks, and leaves everything as @prepare left it. */
	void (*run)(uint32_t fail_at);
};
extern const struct phase phases[];
extern const unsigned int phase_count;

/* The part of the run in which a call fails is over: remembers which it was, and what was said. */
void note_case(void);

/* Something is wrong in this run; it goes on. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool complained(void);

__u64 now_ns(void);

/* The driver itself cannot go on. */
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Is it the turn of what is too dear to be done after each call?  Every eighth, by number. */
bool is_turn(uint32_t fail_at);

extern const char *build_dir;

/*
 * The services h3 and told.  From CONFIG_BEFORE to CONFIG_AFTER a service comes, one goes, and one
 * gets a listener, loses one and has another user; CONFIG_V0 and CONFIG_V1 name an interface; with
 * CONFIG_BEHIND workers of h3 may be behind a device.
 */
enum config_text {
	CONFIG_USUAL,
	CONFIG_BEFORE,
	CONFIG_AFTER,
	CONFIG_V0,
	CONFIG_V1,
	CONFIG_BEHIND
};
void config_write(enum config_text which);

/* ---- program.c ---------------------------------------------------------------------------- */

/*
 * Two programs can run at once, each with a shim, a file and a log of its own.  What is below is
 * about the one that is selected.
 */
extern struct fault *fault;
void fault_map(void);
void fault_select(int which);

/* From now on the calls of a program that runs count; and no more. */
void fault_arm(uint32_t fail_at);
void fault_disarm(void);

enum program_state {
	PROGRAM_WAITS,
	PROGRAM_ENDED,
	PROGRAM_HANGS
};

struct program {
	pid_t pid;
	enum program_state state;
	int status; /* exit status, or -signal */
};

/* Starts it, armed from its first call on if @armed; returns when it waits or has ended. */
bool program_has_ended(struct program *program);
void program_start(struct program *program, const char *const *argv, bool armed, uint32_t fail_at);
void program_end(struct program *program, int signal);
int program_descriptors(const struct program *program);

void daemon_start(struct program *daemon, bool armed, uint32_t fail_at);

/* A daemon that waits again, or has ended. */
void daemon_settle(struct program *daemon);

/* The lines of the log that speak of an error. */
unsigned int log_errors(void);
bool log_says(const char *words);
void log_read(char *text, size_t size);
void log_clear(void);

/* A program that gave up: exit status 1, one line that says why. */
void judge_failure(const struct program *program);

/* Nothing was freed that was not in use. */
void judge_memory(void);

/* Programs, maps and BTF that the program made and that are still there. */
unsigned int objects_left(void);

/* Where a call came from, in one line. */
void trace_print(const struct fault *of, bool wrong, char *text, size_t size);
/* Who made it: the program or library that is not the C library. */
const char *trace_blame(const struct fault *of);

/* ---- puppet.c ----------------------------------------------------------------------------- */

struct puppet {
	pid_t pid;
	int link;
	unsigned int id; /* as a worker */
	char text[256];	 /* what cidsteer_open() said, or cidsteer_set_xsks() */
	__u8 cid[8];
	const char *service;
};

void puppet_spawn(struct puppet *puppet, const char *service);

/* Makes another network namespace, to which a veth leads; from then on h3's workers are there. */
void puppets_make_device(void);
void puppets_move_behind(void);
int puppet_open(struct puppet *puppet);
int puppet_open_early(struct puppet *puppet); /* without a daemon */
int puppet_connect(struct puppet *puppet);    /* which was opened early: until it is admitted */
int puppet_issue(struct puppet *puppet);      /* puppet->cid, which nobody had before */
int puppet_generate(struct puppet *puppet);   /* one with its server ID, when it has that */
int puppet_xsks(struct puppet *puppet, bool none); /* sets its AF_XDP socket, or none */
void puppet_end(struct puppet *puppet);

/* Packets with its connection ID, from several ports: it gets each. */
void puppet_gets_packets(struct puppet *puppet);

/* Opened, with a route that is found and delivers; complains otherwise. */
void puppet_works(struct puppet *puppet);

/* A fresh worker registers, works, and goes without a trace. */
void service_works(const char *service);

/* ---- look.c ------------------------------------------------------------------------------- */

enum snapshot_part {
	SNAPSHOT_PINS,
	SNAPSHOT_NAMES,
	SNAPSHOT_SERVICES,
	SNAPSHOT_ADDRS,
	SNAPSHOT_LISTENERS,
	SNAPSHOT_LINES,
	SNAPSHOT_RING,
	SNAPSHOT_WORKERS,
	SNAPSHOT_SOCKETS,
	SNAPSHOT_TABLES,
	SNAPSHOT_USAGE,
	SNAPSHOT_PARTS,
};

/* A hash of each part of what is pinned. */
struct snapshot {
	__u64 hash[SNAPSHOT_PARTS];
};

/* @exact: with keys and ids of programs, which differ from one load to the next. */
void snapshot_take(struct snapshot *snapshot, bool exact);
void snapshot_compare(const struct snapshot *expected, bool exact);

/* Each bucket of a ring has an active worker, each taken slot an owner. */
void look_consistent(void);

/* The worker that a table names for a connection ID; 0: none. */
unsigned int look_up(const char *service, const __u8 cid[8]);

/* State of a worker as cs_workers has it. */
unsigned int look_state(unsigned int id);
/* CS_TARGET_* of a worker. */
unsigned int look_target(unsigned int id);
/* Slots of cs_xsks that have a socket. */
unsigned int look_xsks(void);
/* Workers of a process that are there, dead ones too. */
unsigned int look_workers_of(pid_t pid);
/* Are the same slots of cs_sockets taken as there? */
bool look_has_ring(const char *service);
bool look_same_sockets(const struct snapshot *as);

/* No pin, no socket file, nothing of what was made in the kernel. */
void look_nothing_left(void);
void unload(void);

#endif
