// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "driver.h"

#define PROGRAMS 2

static const char *const fault_path[PROGRAMS] = { SANDBOX "/fault.0", SANDBOX "/fault.1" };
static const char *const log_path[PROGRAMS] = { SANDBOX "/log.0", SANDBOX "/log.1" };
static struct fault *fault_of[PROGRAMS];
static int fault_fd[PROGRAMS], selected;
struct fault *fault;

void fault_map(void)
{
	for (int i = 0; i < PROGRAMS; i++) {
		fault_fd[i] = open(fault_path[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fault_fd[i] < 0 || ftruncate(fault_fd[i], sizeof(*fault)))
			give_up("%s: %s", fault_path[i], strerror(errno));
		fault_of[i] = mmap(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED,
				   fault_fd[i], 0);
		if (fault_of[i] == MAP_FAILED)
			give_up("%s: %s", fault_path[i], strerror(errno));
	}
	fault_select(0);
}

void fault_select(int which)
{
	selected = which;
	fault = fault_of[which];
}

void fault_arm(uint32_t fail_at)
{
	fault->count = 0;
	fault->failed = 0;
	fault->fail_at = fail_at;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	fault->armed = 1;
}

void fault_disarm(void)
{
	fault->armed = 0;
}

static void forget_fault(void)
{
	if (ftruncate(fault_fd[selected], 0) || ftruncate(fault_fd[selected], sizeof(*fault)))
		give_up("%s: %s", fault_path[selected], strerror(errno));
}

static void become(const char *const *argv)
{
	char shim[300];
	int log = open(log_path[selected], O_WRONLY | O_CREAT | O_APPEND, 0600);

	snprintf(shim, sizeof(shim), "%.250s/tests/fault/shim.so", build_dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setenv("LD_PRELOAD", shim, 1);
	setenv(FAULT_ENV, fault_path[selected], 1);
	dup2(log, 1);
	dup2(log, 2);
	close(log);
	execv(argv[0], (char **)argv);
	_exit(127);
}

bool program_has_ended(struct program *program)
{
	int status;

	if (program->state == PROGRAM_ENDED)
		return true;
	if (waitpid(program->pid, &status, WNOHANG) != program->pid)
		return false;
	program->state = PROGRAM_ENDED;
	program->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	return true;
}

void program_start(struct program *program, const char *const *argv, bool armed, uint32_t fail_at)
{
	forget_fault();
	log_clear();
	fault_arm(fail_at);
	if (!armed)
		fault_disarm(); /* it arms itself, or the driver does later */
	program->state = PROGRAM_HANGS;
	program->pid = fork();
	if (program->pid < 0)
		give_up("fork: %s", strerror(errno));
	if (!program->pid)
		become(argv);
	if (!eventually(program_has_ended(program) || fault->waiting)) {
		complain("%s hangs", argv[0]);
		kill(program->pid, SIGKILL);
		waitpid(program->pid, NULL, 0);
	} else if (program->state != PROGRAM_ENDED) {
		program->state = PROGRAM_WAITS;
	}
	fault_disarm();
}

void program_end(struct program *program, int signal)
{
	int status;

	if (program->state != PROGRAM_WAITS)
		return;
	kill(program->pid, signal);
	if (waitpid(program->pid, &status, 0) != program->pid)
		give_up("waitpid: %s", strerror(errno));
	program->state = PROGRAM_ENDED;
	program->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	if (program->status != (signal == SIGTERM ? 0 : -signal))
		complain("signal %d ended the program with %d", signal, program->status);
}

int program_descriptors(const struct program *program)
{
	struct dirent *entry;
	char path[64];
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", program->pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

void daemon_start(struct program *daemon, bool armed, uint32_t fail_at)
{
	char path[300];
	const char *const argv[] = { path,    "--config", CONFIG, "--control",
				     CONTROL, "--bpffs",  PINS,	  NULL };

	snprintf(path, sizeof(path), "%.280s/cidsteerd", build_dir);
	program_start(daemon, argv, armed, fail_at);
}

/* Whatever wakes it has come already: it has work, or sleeps in epoll_wait() and goes on doing so.
 */
static bool is_at_rest(const struct program *program)
{
	char path[64], line[512];
	_cleanup_file_ FILE *file = NULL;
	const char *state;

	if (!fault->waiting)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", program->pid);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		return false;
	state = strrchr(line, ')');
	return state && !strncmp(state, ") S", 3) && fault->waiting;
}

void daemon_settle(struct program *daemon)
{
	if (!eventually(program_has_ended(daemon) || is_at_rest(daemon)))
		complain("the daemon does not come to rest");
	if (daemon->state == PROGRAM_ENDED)
		complain("the daemon has ended, with %d", daemon->status);
}

/* ---- what it said ------------------------------------------------------------------------- */

static bool is_news(const char *line)
{
	static const char *const news[] = {
		" pinned in " PINS,
		": removed a stale socket",
		" goes on\n",
		"cidsteerd: ready at ",
		": attached, ",
		" registered (pid ",
		" is gone, ",
		": ending; packets",
		"unloaded: ",
		": detached",
		" read again: ",
		" stays as it was: ",
		" were there before this daemon: ",
		" to its CPU: ",
		" has 1 AF_XDP socket\n",
		" has no AF_XDP sockets any more\n",
		": workers are behind it: ",
	};

	for (size_t i = 0; i < COUNT(news); i++) {
		if (strstr(line, news[i]))
			return true;
	}
	return false;
}

unsigned int log_errors(void)
{
	_cleanup_file_ FILE *file = fopen(log_path[selected], "re");
	unsigned int count = 0;
	char line[1024];

	while (file && fgets(line, sizeof(line), file))
		count += !is_news(line);
	return count;
}

void log_read(char *text, size_t size)
{
	_cleanup_file_ FILE *file = fopen(log_path[selected], "re");

	text[file ? fread(text, 1, size - 1, file) : 0] = '\0';
}

bool log_says(const char *words)
{
	char text[4096];

	log_read(text, sizeof(text));
	return strstr(text, words);
}

void log_clear(void)
{
	if (truncate(log_path[selected], 0) && errno != ENOENT)
		give_up("%s: %s", log_path[selected], strerror(errno));
}

/* "cidsteerd: what: reason" or "cidsteer: command: what: reason", which is the last. */
static bool has_reason(const char *line)
{
	const char *what = line;

	if (!strncmp(line, "cidsteer: ", 10))
		what = strstr(line + 10, ": ");
	else if (!strncmp(line, "cidsteerd: ", 11))
		what = line + 9;
	else
		return false;
	return what && (strstr(what + 2, ": ") || strstr(what, "out of memory"));
}

void judge_failure(const struct program *program)
{
	_cleanup_file_ FILE *file = fopen(log_path[selected], "re");
	unsigned int errors = log_errors();
	char line[1024], last[1024] = "";

	if (program->status != 1)
		complain("it ended with %d", program->status);
	while (file && fgets(line, sizeof(line), file))
		memcpy(last, line, sizeof(last));
	if (errors != 1)
		complain("%u lines of errors", errors);
	else if (!has_reason(last) || is_news(last))
		complain("the last line does not say what and why");
}

void judge_memory(void)
{
	char text[1024];

	if (!fault->freed_wrong)
		return;
	trace_print(fault, true, text, sizeof(text));
	complain("%u times freed what is not in use, first %s", fault->freed_wrong, text);
}

/*
 * Asks for the next id behind the one before it, which takes no reference: closing a descriptor
 * of a cs_listeners that is about to go makes the kernel clear it a second time, and keep it.
 */
static bool object_is_there(const struct fault_object *object)
{
	__u32 next = 0;
	int err = object->kind == FAULT_PROG ? bpf_prog_get_next_id(object->id - 1, &next) :
		  object->kind == FAULT_MAP  ? bpf_map_get_next_id(object->id - 1, &next) :
					       bpf_btf_get_next_id(object->id - 1, &next);

	return !err && next == object->id;
}

unsigned int objects_left(void)
{
	unsigned int count = 0;

	for (uint32_t i = 0; i < fault->objects; i++)
		count += object_is_there(&fault->object[i]);
	return count;
}

/* ---- where a call came from --------------------------------------------------------------- */

static const struct fault_module *module_of(const struct fault *of, uint64_t address)
{
	for (uint32_t i = 0; i < of->modules; i++) {
		if (address >= of->module[i].base && address < of->module[i].end)
			return &of->module[i];
	}
	return NULL;
}

static const char *name_of(const struct fault_module *module)
{
	const char *slash = strrchr(module->path, '/');

	return slash ? slash + 1 : module->path;
}

/* "function file.c:12", of the programs that were built here, or "". */
static void ask_addr2line(const struct fault_module *module, uint64_t address, char *text,
			  size_t size)
{
	char command[256], function[128] = "", place[256] = "";
	FILE *pipe;

	text[0] = '\0';
	snprintf(command, sizeof(command), "addr2line -fse '%s' 0x%lx 2>/dev/null", module->path,
		 (unsigned long)(address - 1 - module->base));
	pipe = popen(command, "re");
	if (!pipe)
		return;
	if (fgets(function, sizeof(function), pipe) && fgets(place, sizeof(place), pipe) &&
	    function[0] != '?') {
		function[strcspn(function, "\n")] = '\0';
		place[strcspn(place, " \n")] = '\0';
		snprintf(text, size, "%s %s", function, place[0] == '?' ? name_of(module) : place);
	}
	pclose(pipe);
}

static void frame_print(const struct fault_module *module, uint64_t address, const char *symbol,
			char *text, size_t size)
{
	if (!module) {
		snprintf(text, size, "?");
		return;
	}
	ask_addr2line(module, address, text, size);
	if (*text)
		return;
	if (*symbol)
		snprintf(text, size, "%s %s", symbol, name_of(module));
	else
		snprintf(text, size, "%s+0x%lx", name_of(module),
			 (unsigned long)(address - module->base));
}

void trace_print(const struct fault *of, bool wrong, char *text, size_t size)
{
	const uint64_t *frame = wrong ? of->wrong : of->frame;
	unsigned int frames = wrong ? of->wrong_frames : of->frames;
	size_t len = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < frames && len < size; i++) {
		const struct fault_module *module = module_of(of, frame[i]);
		char one[256];

		if (module && strstr(module->path, "/shim.so"))
			continue;
		frame_print(module, frame[i], wrong ? "" : of->symbol[i], one, sizeof(one));
		len += snprintf(text + len, size - len, "%s%s", len ? " < " : "", one);
		if (!strncmp(one, "main ", 5) || !strncmp(one, "__libc_start", 12))
			break;
	}
}

const char *trace_blame(const struct fault *of)
{
	for (unsigned int i = 0; i < of->frames; i++) {
		const struct fault_module *module = module_of(of, of->frame[i]);

		if (module && !strstr(module->path, "/shim.so") &&
		    !strstr(module->path, "/libc.so") && !strstr(module->path, "/ld-linux"))
			return name_of(module);
	}
	return "";
}
