// SPDX-License-Identifier: GPL-2.0-only
/*
 * faults [-v] [PHASE [CALL]] or --list: runs each phase once to count its calls, then once for each
 * call, which fails.
 *
 * FAULT_MOST=100 in the environment is for those who are in a hurry: of a phase with more calls
 * only every k-th fails, so that 100 do, from FAULT_SEED on (which is drawn, and printed).
 * FAULT_JOBS sandboxes work side by side.
 *
 * Each works in namespaces of its own (mounts, with an empty bpffs, and network), so that nothing
 * is left however it ends, and nobody else's objects are looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "driver.h"

#define MAX_JOBS 16
#define MAX_SECONDS 1800 /* of one phase */
#define TURN 8
#define TRIES 10

/*
 * What is not ours to mend: calls that @module makes itself, where the trace has @from.  Each
 * complaint has to have one of @complaints in it, which a | parts; any other one counts.
 */
static const struct accepted {
	const char *module, *from, *complaints, *reason;
} accepted[] = {
	{ "libbpf", "libxdp", "has ended, with |lines of errors",
	  "libxdp uses what libbpf had no memory for" },
	{ "libbpf", "bpf_map__reuse_fd", "descriptors instead of",
	  "bpf_map__reuse_fd() loses a descriptor when dup3() fails" },
	{ "libbpf", "", "names and BTF differ|listeners differ",
	  "libbpf takes a probe that failed for a kernel without names or BTF, and goes on: "
	  "bpftool "
	  "shows less" },
	{ "libelf", "", "blocks of memory instead of|descriptors instead of",
	  "libelf, and libbpf with it, lose what they have when memory is short" },
	{ "libconfuse", "",
	  "it ended with |has ended, with |lines of errors|the last line |freed what is not in use",
	  "libconfuse ends the process, or uses what it did not get, when memory is short; that is "
	  "before anything is touched" },
	{ "cidsteer", "connection_answer", "it failed, ",
	  "what was done cannot be told: the command says that the daemon hung up, the log why" },
	{ "cidsteer", "getpwnam",
	  "it ended with |has ended, with |lines of errors|blocks of memory instead of",
	  "glibc's getpwnam() aborts when memory is short, or goes on to the next database, whose "
	  "library it keeps; that is before anything is touched" },
};

struct result {
	uint32_t calls, every, tried, handled, missed;
	uint32_t fewest; /* of all sandboxes */
	uint32_t first_missed;
	uint32_t accepted[COUNT(accepted)];
	bool done;
};

/* Of one phase, shared with its sandboxes. */
struct results {
	uint32_t next; /* call that nobody has taken */
	struct result of[MAX_JOBS];
};

static struct {
	uint32_t most, seed, only, jobs;
	bool verbose;
} options;

const char *build_dir;

/* ---- one case ----------------------------------------------------------------------------- */

static struct {
	struct fault *fault; /* up to its objects */
	char log[2048];
	char complaints[4096];
	size_t len;
} now;

void note_case(void)
{
	memcpy(now.fault, fault, offsetof(struct fault, objects));
	log_read(now.log, sizeof(now.log));
}

void complain(const char *format, ...)
{
	va_list args;

	if (now.len > sizeof(now.complaints) - 512)
		return;
	va_start(args, format);
	now.len += vsnprintf(now.complaints + now.len, 500, format, args);
	va_end(args);
	now.complaints[now.len++] = '\n';
	now.complaints[now.len] = '\0';
}

bool complained(void)
{
	return now.len;
}

void give_up(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "faults: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n%s%s", now.complaints, now.log);
	va_end(args);
	exit(1);
}

__u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

bool is_turn(uint32_t fail_at)
{
	return fail_at % TURN == 0 || options.only;
}

static void print_indented(const char *text)
{
	while (*text) {
		int len = strcspn(text, "\n");

		printf("    %.*s\n", len, text);
		text += len + (text[len] == '\n');
	}
}

static void print_case(const struct phase *phase, uint32_t fail_at, const char *trace)
{
	printf("  %s: call %u, %s, %s\n", phase->name, fail_at, now.fault->call,
	       strerrorname_np(now.fault->error));
	printf("    from %s\n", trace);
	print_indented(now.complaints);
	if (*now.log)
		printf("    it said:\n");
	print_indented(now.log);
}

static bool is_among(const char *line, const char *complaints)
{
	char list[256], *save, *at;

	snprintf(list, sizeof(list), "%s", complaints);
	for (at = strtok_r(list, "|", &save); at; at = strtok_r(NULL, "|", &save)) {
		if (strstr(line, at))
			return true;
	}
	return false;
}

static bool is_accepted(const struct accepted *row, const char *trace)
{
	char copy[sizeof(now.complaints)], *save, *line;

	if (strncmp(trace_blame(now.fault), row->module, strlen(row->module)) ||
	    !strstr(trace, row->from))
		return false;
	memcpy(copy, now.complaints, sizeof(copy));
	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!is_among(line, row->complaints))
			return false;
	}
	return true;
}

/* A message of the kernel comes in one piece or in two: some runs are a call shorter. */
static void run_until_failed(const struct phase *phase, uint32_t fail_at)
{
	for (int i = 0; i < TRIES && !now.fault->failed && !complained(); i++) {
		memset(now.fault, 0, sizeof(*now.fault));
		now.log[0] = '\0';
		phase->run(fail_at);
	}
}

static void run_case(const struct phase *phase, uint32_t fail_at, struct result *result)
{
	char trace[2048];

	now.fault->failed = 0;
	now.complaints[0] = '\0';
	now.len = 0;
	run_until_failed(phase, fail_at);
	result->tried++;
	if (!now.fault->failed && !complained()) {
		if (!result->missed++ || fail_at < result->first_missed)
			result->first_missed = fail_at;
		return;
	}
	if (!complained())
		result->handled++;
	if (!complained() && !options.verbose)
		return;
	trace_print(now.fault, false, trace, sizeof(trace));
	for (size_t i = 0; i < COUNT(accepted) && complained(); i++) {
		if (!is_accepted(&accepted[i], trace))
			continue;
		result->accepted[i]++;
		return;
	}
	print_case(phase, fail_at, trace);
	fflush(stdout);
}

static uint32_t count_calls(const struct phase *phase)
{
	memset(now.fault, 0, sizeof(*now.fault));
	phase->run(0);
	if (complained())
		give_up("%s: without a fault:", phase->name);
	if (!now.fault->count)
		give_up("%s: no call was counted", phase->name);
	return now.fault->count;
}

/* ---- sandboxes ---------------------------------------------------------------------------- */

#define OF_ALL "max_cids = 1000 "
#define QUIC_LB(id) "quic_lb \"" #id "\" { server_id_length = 3 nonce_length = 4 active = yes } "
#define TOLD                                                                                       \
	"service \"told\" { listen = {\"[::]:4435\"} shared_table = no " OF_ALL QUIC_LB(0) "}\n"
#define H3(more)                                                                                   \
	"service \"h3\" { listen = {\"[::]:4433\"} user = \"nobody\" " OF_ALL QUIC_LB(0) more      \
		"}\n" TOLD

void config_write(enum config_text which)
{
	static const char *const texts[] = {
		[CONFIG_USUAL] = H3(""),
		[CONFIG_BEFORE] = H3("") "service \"other\" { listen = {\"[::]:4440\", "
					 "\"[::]:4441\"} " OF_ALL
					 "}\nservice \"past\" { listen = {\"[::]:4436\"} " OF_ALL
					 "}\n",
		[CONFIG_AFTER] = H3("") "service \"other\" { listen = {\"[::]:4440\", "
					"\"127.0.0.1:4442\"} " OF_ALL "user = \"nobody\" }\n"
					"service \"more\" { listen = "
					"{\"[::]:4437\"} " OF_ALL QUIC_LB(0) "}\n",
		[CONFIG_V0] = H3("interface = {\"v0\"} "),
		[CONFIG_V1] = H3("interface = {\"v1\"} "),
		[CONFIG_BEHIND] = H3("behind_device = \"allowed\" "),
	};
	_cleanup_file_ FILE *file = fopen(CONFIG, "we");

	if (!file || fputs(texts[which], file) < 0)
		give_up("%s: %s", CONFIG, strerror(errno));
}

static void enter_sandbox(void)
{
	_cleanup_fd_ int fd = -1;
	struct ifreq lo = { .ifr_name = "lo" };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", SANDBOX, "tmpfs", 0, "mode=755") || mount("bpf", BPFFS, "bpf", 0, NULL))
		give_up("a sandbox, which needs root: %s", strerror(errno));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	lo.ifr_flags = IFF_UP;
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		give_up("lo: %s", strerror(errno));
	config_write(CONFIG_USUAL);
	fault_map();
	alarm(MAX_SECONDS);
}

static uint32_t take_call(struct results *results)
{
	return __atomic_add_fetch(&results->next, 1, __ATOMIC_RELAXED);
}

/* Takes calls that are to fail, until none is left or something is wrong. */
static void __attribute__((noreturn))
work(const struct phase *phase, struct results *results, struct result *result)
{
	uint32_t call;

	enter_sandbox();
	now.fault = calloc(1, sizeof(*now.fault));
	if (phase->prepare)
		phase->prepare();
	result->calls = count_calls(phase);
	result->every = options.most ? (result->calls - 1) / options.most + 1 : 1;
	while ((call = take_call(results)) <= result->calls) {
		if (options.only ? call != options.only :
				   call % result->every != options.seed % result->every)
			continue;
		run_case(phase, call, result);
		if (complained())
			exit(2);
	}
	result->done = true;
	exit(0);
}

/* What a run has left that went wrong is no place for the next one: a new sandbox. */
static void work_in_sandboxes(const struct phase *phase, struct results *results,
			      struct result *result)
{
	int status;

	do {
		pid_t pid = fork();

		if (pid < 0)
			give_up("fork: %s", strerror(errno));
		if (!pid)
			work(phase, results, result);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	} while (WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

/* ---- phases ------------------------------------------------------------------------------- */

static struct result sum_of(const struct result *results)
{
	struct result sum = { .done = true, .fewest = results[0].calls };

	for (uint32_t job = 0; job < options.jobs; job++) {
		const struct result *one = &results[job];

		sum.done &= one->done;
		/* Each sandbox counts for itself: that a message of the kernel comes in two pieces
		 * is a call more.
		 */
		if (one->calls < sum.fewest)
			sum.fewest = one->calls;
		if (one->calls > sum.calls)
			sum.calls = one->calls;
		sum.every = one->every;
		sum.tried += one->tried;
		sum.handled += one->handled;
		if (one->missed && (!sum.missed || one->first_missed < sum.first_missed))
			sum.first_missed = one->first_missed;
		sum.missed += one->missed;
		for (size_t i = 0; i < COUNT(accepted); i++)
			sum.accepted[i] += one->accepted[i];
	}
	return sum;
}

/*
 * Returns whether all is well: each call that was to fail has, and was handled or is accepted.  The
 * last ones, which one sandbox has and another has not, are not there each time either.
 */
static bool sum_up(const struct phase *phase, const struct result *results, int seconds)
{
	struct result sum = sum_of(results);
	uint32_t good = sum.handled;

	for (size_t i = 0; i < COUNT(accepted); i++)
		good += sum.accepted[i];
	printf("%s: %u calls; ", phase->name, sum.calls);
	if (sum.fewest < sum.calls)
		printf("%u in another sandbox; ", sum.fewest);
	if (sum.every > 1)
		printf("only every %uth failed, %u did not; ", sum.every, sum.calls - sum.tried);
	printf("%u of %u", good, sum.tried);
	if (sum.missed)
		printf(", %u were not come to", sum.missed);
	printf(" (%d s)%s\n", seconds, sum.done ? "" : "; and it was not finished");
	for (size_t i = 0; i < COUNT(accepted); i++) {
		if (sum.accepted[i])
			printf("  %u of them accepted: %s\n", sum.accepted[i], accepted[i].reason);
	}
	fflush(stdout);
	return sum.done && sum.tried && good + sum.missed == sum.tried &&
	       (!sum.missed || sum.first_missed > sum.fewest);
}

static bool run_phase(const struct phase *phase)
{
	struct results *results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	time_t start = time(NULL);
	bool good;

	if (results == MAP_FAILED)
		give_up("mmap: %s", strerror(errno));
	fflush(stdout);
	for (uint32_t job = 0; job < options.jobs; job++) {
		pid_t pid = fork();

		if (pid < 0)
			give_up("fork: %s", strerror(errno));
		if (pid)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work_in_sandboxes(phase, results, &results->of[job]);
		_exit(0);
	}
	while (wait(NULL) > 0 || errno == EINTR)
		;
	good = sum_up(phase, results->of, time(NULL) - start);
	munmap(results, sizeof(*results));
	return good;
}

static uint32_t number(const char *name, uint32_t usual)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 10) : usual;
}

static void read_options(void)
{
	options.jobs = number("FAULT_JOBS", 4 * sysconf(_SC_NPROCESSORS_ONLN));
	options.most = number("FAULT_MOST", 0);
	if (getrandom(&options.seed, sizeof(options.seed), 0) != sizeof(options.seed))
		give_up("getrandom: %s", strerror(errno));
	options.seed = number("FAULT_SEED", options.seed % 10000);
	if (options.jobs < 1 || options.jobs > MAX_JOBS)
		options.jobs = options.jobs ? MAX_JOBS : 1;
}

static void find_build(void)
{
	static char path[256];

	/* build/tests/fault/faults */
	if (readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		give_up("/proc/self/exe: %s", strerror(errno));
	for (int i = 0; i < 3 && strrchr(path, '/'); i++)
		*strrchr(path, '/') = '\0';
	build_dir = path;
}

int main(int argc, char **argv)
{
	unsigned int ran = 0;
	bool good = true;

	for (unsigned int i = 0; argc > 1 && !strcmp(argv[1], "--list") && i < phase_count; i++)
		printf("%s: %s\n", phases[i].name, phases[i].what);
	if (argc > 1 && !strcmp(argv[1], "--list"))
		return 0;
	options.verbose = argc > 1 && !strcmp(argv[1], "-v");
	argv += options.verbose;
	argc -= options.verbose;
	read_options();
	find_build();
	if (argc > 2) {
		options.only = strtoul(argv[2], NULL, 10);
		options.verbose = true;
		options.jobs = 1;
	}
	if (options.most)
		printf("of each phase %u calls fail once: FAULT_MOST=%u FAULT_SEED=%u\n",
		       options.most, options.most, options.seed);
	else
		printf("every call fails once\n");
	for (unsigned int i = 0; i < phase_count; i++) {
		if (argc > 1 && strcmp(argv[1], phases[i].name))
			continue;
		ran++;
		good &= run_phase(&phases[i]);
	}
	if (!ran)
		give_up("%s: there is no such phase", argv[1]);
	return good ? 0 : 1;
}
