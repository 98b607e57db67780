// SPDX-License-Identifier: GPL-2.0-only
/* What can fail, phase by phase.  A phase that is added here is run with the others. */
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"

static struct snapshot expected;
static struct program daemon_program;
static struct puppet witness[2];

/* ---- the command -------------------------------------------------------------------------- */

static void command(struct program *program, bool armed, uint32_t fail_at, const char *name,
		    const char *operand)
{
	char path[300];
	const char *const argv[] = {
		path, "--bpffs", PINS, "--config", CONFIG, name, operand, NULL
	};
	/* Each option is for some commands only. */
	const char *const without[] = { path, "--bpffs", PINS, name, operand, NULL };
	const char *const reload[] = { path, "--control", CONTROL, name, NULL };

	snprintf(path, sizeof(path), "%.280s/cidsteer", build_dir);
	program_start(program,
		      !strcmp(name, "load")   ? argv :
		      !strcmp(name, "reload") ? reload :
						without,
		      armed, fail_at);
}

static void command_works(const char *name, const char *operand)
{
	struct program program;
	char text[512];

	command(&program, false, 0, name, operand);
	if (!program.status)
		return;
	log_read(text, sizeof(text));
	complain("then cidsteer %s: %d: %s", name, program.status, text);
}

/* ---- start, load -------------------------------------------------------------------------- */

/* What a start without a fault leaves is what one must leave that went on in spite of one. */
static void check_loaded(uint32_t fail_at)
{
	if (fail_at)
		snapshot_compare(&expected, false);
	else
		snapshot_take(&expected, false);
}

static void run_load(uint32_t fail_at)
{
	struct program load;

	command(&load, true, fail_at, "load", NULL);
	note_case();
	judge_memory();
	if (load.status) {
		judge_failure(&load);
		look_nothing_left();
	} else {
		check_loaded(fail_at);
	}
	unload();
	look_nothing_left();
	if (!is_turn(fail_at))
		return;
	command_works("load", NULL);
	snapshot_compare(&expected, false);
	unload();
}

static void run_start(uint32_t fail_at)
{
	daemon_start(&daemon_program, true, fail_at);
	note_case();
	judge_memory();
	if (daemon_program.state == PROGRAM_ENDED) {
		judge_failure(&daemon_program);
	} else {
		check_loaded(fail_at);
		service_works("h3");
		service_works("told");
		program_end(&daemon_program, SIGTERM);
		unload();
	}
	look_nothing_left();
	if (!is_turn(fail_at))
		return;
	daemon_start(&daemon_program, false, 0);
	snapshot_compare(&expected, false);
	service_works("h3");
	program_end(&daemon_program, SIGTERM);
	unload();
}

/* ---- adopt -------------------------------------------------------------------------------- */

static void open_puppet(struct puppet *puppet, const char *service)
{
	puppet_spawn(puppet, service);
	if (puppet_open(puppet))
		give_up("a worker: %s", puppet->text);
	puppet_works(puppet);
}

/* Two workers with a route each, left behind by a daemon that was killed. */
static void prepare_pins(void)
{
	daemon_start(&daemon_program, false, 0);
	for (size_t i = 0; i < COUNT(witness); i++)
		open_puppet(&witness[i], "h3");
	program_end(&daemon_program, SIGKILL);
	snapshot_take(&expected, true);
}

static void check_witnesses(void)
{
	for (size_t i = 0; i < COUNT(witness); i++) {
		if (look_state(witness[i].id) != CS_WORKER_ACTIVE)
			complain("worker %u, who was there before, is not active", witness[i].id);
		puppet_gets_packets(&witness[i]);
	}
}

static ino_t socket_inode(void)
{
	struct stat status;

	return lstat(CONTROL, &status) ? 0 : status.st_ino;
}

static void check_adopted(void)
{
	char text[4096];

	log_read(text, sizeof(text));
	for (size_t i = 0; i < COUNT(witness); i++) {
		char line[64];

		snprintf(line, sizeof(line), "worker %u (pid %d) goes on", witness[i].id,
			 witness[i].pid);
		if (!strstr(text, line))
			complain("worker %u was not adopted", witness[i].id);
	}
}

/* A worker that dies without a daemon, so that the next one finds it. */
static void leave_dead(struct puppet *dead, struct snapshot *left)
{
	daemon_start(&daemon_program, false, 0);
	open_puppet(dead, "h3");
	program_end(&daemon_program, SIGKILL);
	puppet_end(dead);
	if (!eventually(look_same_sockets(&expected)))
		complain("the socket of a process that ended is still there");
	snapshot_take(left, true);
}

static void run_adopt(uint32_t fail_at)
{
	struct snapshot left;
	struct puppet dead;
	ino_t stale;

	leave_dead(&dead, &left);
	stale = socket_inode();
	daemon_start(&daemon_program, true, fail_at);
	note_case();
	judge_memory();
	if (daemon_program.state == PROGRAM_ENDED) {
		judge_failure(&daemon_program);
		if (socket_inode() && socket_inode() != stale)
			complain("%s is left", CONTROL);
		snapshot_compare(&left, true);
		check_witnesses();
		daemon_start(&daemon_program, false, 0);
	}
	if (daemon_program.state != PROGRAM_WAITS)
		complain("then a daemon does not start");
	check_adopted();
	if (!eventually(!look_workers_of(dead.pid)))
		complain("worker %u, whose process has ended, was not reaped", dead.id);
	snapshot_compare(&expected, true);
	check_witnesses();
	program_end(&daemon_program, SIGKILL);
	if (!eventually(!objects_left()))
		complain("%u of the kernel's objects are left", objects_left());
}

/* ---- end ---------------------------------------------------------------------------------- */

/* It is told to end, and everything stays as it is. */
static void run_end(uint32_t fail_at)
{
	unsigned int errors;

	daemon_start(&daemon_program, false, 0);
	log_clear();
	fault_arm(fail_at);
	program_end(&daemon_program, SIGTERM);
	fault_disarm();
	note_case();
	judge_memory();
	errors = log_errors();
	if (errors > 1 || (socket_inode() != 0) != errors)
		complain("%u lines of errors, and the socket is %s", errors,
			 socket_inode() ? "left" : "gone");
	snapshot_compare(&expected, true);
	check_witnesses();
	daemon_start(&daemon_program, false, 0);
	check_adopted();
	program_end(&daemon_program, SIGKILL);
}

/* ---- what a running daemon is asked for --------------------------------------------------- */

struct holdings {
	int descriptors;
	unsigned int blocks, objects;
};

static struct holdings usual;

/* After the same work the daemon holds the same, whether a call failed meanwhile or not. */
static void check_holdings(uint32_t fail_at)
{
	struct holdings got;

	daemon_settle(&daemon_program);
	/* The kernel frees some time after the last use: fewer may be left, never more. */
	if (fail_at && !eventually(objects_left() <= usual.objects))
		complain("the daemon holds %u objects of the kernel instead of %u", objects_left(),
			 usual.objects);
	got = (struct holdings){ program_descriptors(&daemon_program), fault->live,
				 objects_left() };
	if (!fail_at)
		usual = got;
	if (got.objects < usual.objects)
		usual.objects = got.objects;
	if (got.descriptors != usual.descriptors)
		complain("the daemon has %d descriptors instead of %d", got.descriptors,
			 usual.descriptors);
	if (got.blocks != usual.blocks)
		complain("the daemon has %u blocks of memory instead of %u", got.blocks,
			 usual.blocks);
}

static void check_daemon(uint32_t fail_at, const char *service)
{
	check_witnesses();
	service_works(service);
	look_consistent();
	check_holdings(fail_at);
	judge_memory();
	if (daemon_program.state == PROGRAM_WAITS)
		return;
	daemon_start(&daemon_program, false, 0);
	service_works("h3");
	service_works("told");
}

static void register_one(uint32_t fail_at, const char *service)
{
	struct puppet puppet;
	unsigned int errors;
	int err;

	puppet_spawn(&puppet, service);
	log_clear();
	fault_arm(fail_at);
	err = puppet_open(&puppet);
	daemon_settle(&daemon_program);
	fault_disarm();
	note_case();
	errors = log_errors();
	/* Without nonces it has got in, and asks again. */
	if (errors != (err || log_says(" gets no nonces of ") ? 1 : 0))
		complain("the worker got %s and the daemon said %u lines of errors",
			 err ? strerror(-err) : "in", errors);
	if (err && !puppet.text[0])
		complain("the worker was not told why");
	if (!err)
		puppet_works(&puppet);
	if (!err && puppet_generate(&puppet))
		complain("worker %u makes no IDs with its server ID", puppet.id);
	puppet_end(&puppet);
	if (!eventually(!look_workers_of(puppet.pid)))
		complain("worker %u was not reaped", puppet.id);
	check_daemon(fail_at, service);
}

/* A daemon that has adopted loads the program of a listener's group for the first that comes. */
static void run_register_first(uint32_t fail_at)
{
	daemon_start(&daemon_program, false, 0);
	register_one(fail_at, "h3");
	program_end(&daemon_program, SIGKILL);
}

static void prepare_daemon(void)
{
	prepare_pins();
	daemon_start(&daemon_program, false, 0);
	service_works("h3");
	service_works("told");
}

static void run_register(uint32_t fail_at)
{
	register_one(fail_at, "h3");
}

static void run_register_told(uint32_t fail_at)
{
	register_one(fail_at, "told");
}

/* Its packets would come by XDP: what is looked at is its route, and the device. */
static void prepare_behind(void)
{
	config_write(CONFIG_BEHIND);
	puppets_make_device();
	prepare_daemon();
	puppets_move_behind();
	service_works("h3");
}

static void leave_one(uint32_t fail_at, const char *service)
{
	struct puppet puppet;

	open_puppet(&puppet, service);
	log_clear();
	daemon_settle(&daemon_program);
	fault_arm(fail_at);
	puppet_end(&puppet);
	if (!eventually(fault->count))
		complain("the daemon does not notice that a worker ended");
	daemon_settle(&daemon_program);
	fault_disarm();
	note_case();
	if (log_errors() > 1)
		complain("%u lines of errors", log_errors());
	if (!eventually(!look_workers_of(puppet.pid)))
		complain("worker %u was not reaped", puppet.id);
	check_daemon(fail_at, service);
}

static void run_leave(uint32_t fail_at)
{
	leave_one(fail_at, "h3");
}

static void run_leave_told(uint32_t fail_at)
{
	leave_one(fail_at, "told");
}

/* What could not be emptied has a socket that no target leads to, until it is closed. */
static void check_xsks(const struct puppet *puppet, bool has, uint32_t fail_at)
{
	unsigned int target = look_target(puppet->id), slots = look_xsks();

	if ((target == CS_TARGET_XSK) != has || slots < has ||
	    slots > (unsigned int)has + (fail_at != 0))
		complain("it has %s socket: target %u, %u slots", has ? "a" : "no", target, slots);
}

/*
 * A worker of h3, whose packets are moved to a CPU, sets an AF_XDP socket, the same again, or none:
 * it has what it had, or what it wants.  Back to a CPU it gets when one is to be had.
 */
static void set_xsks(uint32_t fail_at, bool had, bool none)
{
	bool has = had;
	struct puppet puppet;
	unsigned int errors;
	int err;

	open_puppet(&puppet, "h3");
	if (had && puppet_xsks(&puppet, false))
		give_up("AF_XDP: %s", puppet.text);
	log_clear();
	daemon_settle(&daemon_program);
	fault_arm(fail_at);
	err = puppet_xsks(&puppet, none);
	daemon_settle(&daemon_program);
	fault_disarm();
	note_case();
	errors = log_errors();
	if (err ? errors != 1 : errors)
		complain("the worker got %s and the daemon said %u lines of errors",
			 err ? strerror(-err) : "what it wants", errors);
	if (err && err != -ENOTCONN && !puppet.text[0])
		complain("the worker was not told why");
	if (!err)
		has = !none;
	if (err == -ENOTCONN)
		goto gone; /* reading or answering failed, and that is how a worker leaves */
	check_xsks(&puppet, has, fail_at);
	puppet_gets_packets(&puppet);
	err = puppet_xsks(&puppet, none);
	if (err)
		complain("then it cannot set them: %s: %s", strerror(-err), puppet.text);
	check_xsks(&puppet, !none, fail_at);
gone:
	puppet_end(&puppet);
	if (!eventually(!look_workers_of(puppet.pid)))
		complain("worker %u was not reaped", puppet.id);
	if (!eventually(!look_xsks()))
		complain("%u slots have a socket", look_xsks());
	check_daemon(fail_at, "h3");
}

static void run_xsks(uint32_t fail_at)
{
	set_xsks(fail_at, false, false);
}

static void run_xsks_again(uint32_t fail_at)
{
	set_xsks(fail_at, true, false);
}

static void run_xsks_none(uint32_t fail_at)
{
	set_xsks(fail_at, true, true);
}

/* Its ring is held, for others may come: whatever fails, it is steered in the end. */
static void run_hold(uint32_t fail_at)
{
	struct puppet early;

	puppet_spawn(&early, "told");
	if (puppet_open_early(&early))
		give_up("a worker without a daemon: %s", early.text);
	daemon_start(&daemon_program, false, 0);
	log_clear();
	fault_arm(fail_at);
	if (puppet_connect(&early))
		complain("who was there before the daemon is not admitted: %s", early.text);
	if (look_has_ring("told"))
		complain("the ring was not held");
	/* What could not be told to it ends its connection, and it comes again. */
	if (!eventually((puppet_connect(&early), look_has_ring("told"))))
		complain("the ring was not written");
	daemon_settle(&daemon_program);
	fault_disarm();
	puppet_connect(&early);
	note_case();
	if (log_errors() > 1)
		complain("%u lines of errors", log_errors());
	puppet_works(&early);
	puppet_end(&early);
	if (!eventually(!look_workers_of(early.pid)))
		complain("worker %u was not reaped", early.id);
	check_daemon(fail_at, "told");
	program_end(&daemon_program, SIGKILL);
}

/* ---- the library -------------------------------------------------------------------------- */

static void prepare_library(void)
{
	fault_select(1);
	prepare_daemon();
	fault_select(0);
}

static void client(uint32_t fail_at, const char *service, const char *mode)
{
	char path[300], text[512];
	const char *const argv[] = { path, CONTROL, service, mode, NULL };
	struct program program;

	snprintf(path, sizeof(path), "%.280s/tests/fault/client", build_dir);
	program_start(&program, argv, false, fail_at);
	note_case();
	judge_memory();
	log_read(text, sizeof(text));
	if (program.status)
		complain("the client ended with %d: %s", program.status, text);
	fault_select(1);
	if (!eventually(!look_workers_of(program.pid)))
		complain("its workers were not reaped");
	check_daemon(fail_at, service);
	fault_select(0);
}

static void run_library(uint32_t fail_at)
{
	client(fail_at, "h3", "open");
}

static void run_library_told(uint32_t fail_at)
{
	client(fail_at, "told", "open");
}

static void run_library_calls(uint32_t fail_at)
{
	client(fail_at, "told", "calls");
}

/* ---- reload ------------------------------------------------------------------------------- */

static struct snapshot before, after;

static void reload(struct program *program, enum config_text to)
{
	config_write(to);
	command(program, false, 0, "reload", NULL);
}

static void reload_works(enum config_text to)
{
	struct program program;
	char text[512];

	reload(&program, to);
	log_read(text, sizeof(text));
	if (program.status)
		complain("then cidsteer reload: %d: %s", program.status, text);
}

/* The daemon of a reload has ended, which is wrong; what it left is to be whole all the same. */
static bool has_ended(enum config_text had)
{
	if (daemon_program.state != PROGRAM_ENDED)
		return false;
	config_write(had);
	daemon_start(&daemon_program, false, 0);
	check_witnesses();
	service_works("h3");
	fault_select(0);
	return true;
}

/* To @to with a call that fails; returns whether the command was told that it failed. */
static bool reload_armed(uint32_t fail_at, enum config_text to)
{
	struct program program;

	fault_select(1);
	log_clear();
	fault_arm(fail_at);
	fault_select(0);
	reload(&program, to);
	fault_select(1);
	daemon_settle(&daemon_program);
	fault_disarm();
	note_case();
	fault_select(0);
	if (program.status && daemon_program.state != PROGRAM_ENDED)
		judge_failure(&program);
	fault_select(1);
	return program.status;
}

static void prepare_reload(void)
{
	prepare_library();
	reload_works(CONFIG_BEFORE);
	snapshot_take(&before, false);
	reload_works(CONFIG_AFTER);
	snapshot_take(&after, false);
	reload_works(CONFIG_BEFORE);
	snapshot_compare(&before, false);
}

static void run_reload(uint32_t fail_at)
{
	bool failed = reload_armed(fail_at, CONFIG_AFTER);
	/* What fails may be the answer: it is done then, and the log says both. */
	bool done = !failed || log_says(" read again: ");

	if (has_ended(CONFIG_BEFORE))
		return;
	if (log_errors() != failed)
		complain("it %s and the daemon said %u lines of errors",
			 failed ? "failed" : "worked", log_errors());
	snapshot_compare(done ? &after : &before, false);
	check_witnesses();
	if (!done)
		service_works("past");
	fault_select(0);
	reload_works(CONFIG_AFTER);
	snapshot_compare(&after, false);
	service_works("more");
	reload_works(CONFIG_BEFORE);
	snapshot_compare(&before, false);
	service_works("past");
	fault_select(1);
	check_daemon(fail_at, "h3");
	fault_select(0);
}

static __u32 attached(const char *interface)
{
	__u32 id = 0;

	bpf_xdp_query_id(if_nametoindex(interface), 0, &id);
	return id;
}

static void prepare_interfaces(void)
{
	if (system("ip link add v0 type veth peer name v1 && ip link set v0 up && "
		   "ip link set v1 up"))
		give_up("no veth");
	prepare_library();
	reload_works(CONFIG_V1); /* libxdp makes what it keeps */
	reload_works(CONFIG_V0);
	if (!attached("v0") || attached("v1"))
		give_up("no program can be attached");
}

/* A configuration that is in force has its line for an interface that it could not be put to. */
static void run_reload_interface(uint32_t fail_at)
{
	bool failed = reload_armed(fail_at, CONFIG_V1);
	unsigned int errors = log_errors(), missing = !attached("v1") + !!attached("v0");

	if (has_ended(CONFIG_V0))
		return;
	if (errors > 1 || (failed ? missing != 2 : missing > errors))
		complain("it %s, v0 has program %u, v1 has %u, and the daemon said %u lines of "
			 "errors",
			 failed ? "failed" : "worked", attached("v0"), attached("v1"), errors);
	fault_select(0);
	reload_works(CONFIG_V0);
	reload_works(CONFIG_V1);
	reload_works(CONFIG_V0);
	if (!attached("v0") || attached("v1"))
		complain("then v0 has program %u, v1 has %u", attached("v0"), attached("v1"));
	fault_select(1);
	check_daemon(fail_at, "h3");
	fault_select(0);
}

/* ---- unload ------------------------------------------------------------------------------- */

static bool is_loaded(void)
{
	struct stat status;

	return !stat(PINS "/cs_abi", &status);
}

static void prepare_loaded(void)
{
	command_works("load", NULL);
	snapshot_take(&expected, true);
}

/* What a failure has left of the pins, the next attempt takes away. */
static void run_unload(uint32_t fail_at)
{
	struct program program;

	command(&program, true, fail_at, "unload", NULL);
	note_case();
	judge_memory();
	if (program.status) {
		judge_failure(&program);
		if (is_loaded())
			snapshot_compare(&expected, true);
		if (is_loaded() && !is_turn(fail_at))
			return;
		command_works("unload", NULL);
	}
	look_nothing_left();
	unload(); /* if that has failed */
	prepare_loaded();
}

/* ------------------------------------------------------------------------------------------- */

const struct phase phases[] = {
	{ "start", "cidsteerd loads, pins and listens", NULL, run_start },
	{ "adopt", "cidsteerd takes over from one that was killed", prepare_pins, run_adopt },
	{ "register-first", "cidsteerd admits a listener's first worker", prepare_pins,
	  run_register_first },
	{ "register", "cidsteerd admits a worker", prepare_daemon, run_register },
	{ "register-told", "cidsteerd admits a worker that does not share the table",
	  prepare_daemon, run_register_told },
	{ "register-behind", "cidsteerd admits a worker behind a device", prepare_behind,
	  run_register },
	{ "leave-behind", "cidsteerd buries a worker behind a device", prepare_behind, run_leave },
	{ "hold", "cidsteerd admits a worker that was there before it", prepare_pins, run_hold },
	{ "leave", "cidsteerd buries a worker", prepare_daemon, run_leave },
	{ "leave-told", "cidsteerd buries a worker that does not share the table", prepare_daemon,
	  run_leave_told },
	{ "xsks", "cidsteerd sends a worker's packets to its AF_XDP sockets", prepare_daemon,
	  run_xsks },
	{ "xsks-again", "cidsteerd replaces a worker's AF_XDP sockets", prepare_daemon,
	  run_xsks_again },
	{ "xsks-none", "cidsteerd takes a worker's AF_XDP sockets away", prepare_daemon,
	  run_xsks_none },
	{ "open", "cidsteer_open()", prepare_library, run_library },
	{ "open-told", "cidsteer_open() without a shared table", prepare_library,
	  run_library_told },
	{ "calls-told", "issue, retire, drain ... without a shared table", prepare_library,
	  run_library_calls },
	{ "reload", "cidsteerd reads its configuration again: services, listeners", prepare_reload,
	  run_reload },
	{ "reload-interface", "cidsteerd reads its configuration again: an interface",
	  prepare_interfaces, run_reload_interface },
	{ "end", "cidsteerd ends", prepare_pins, run_end },
	{ "load", "cidsteer load", NULL, run_load },
	{ "unload", "cidsteer unload", prepare_loaded, run_unload },
};
const unsigned int phase_count = COUNT(phases);
