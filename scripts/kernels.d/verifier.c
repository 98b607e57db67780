// SPDX-License-Identifier: GPL-2.0-only
/*
 * verifier: loads BPF objects and says what each program cost the kernel's verifier.
 *
 *   verifier OBJECT...
 *
 * One line for each program: "NAME INSNS STACK", the instructions that were processed and the
 * bytes of stack of all its frames together.  A program that does not load is named with the end
 * of the verifier's log on standard error, and the exit code is 1.
 */
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_BYTES (16 << 20)
#define LOG_STATS 4		    /* BPF_LOG_STATS: nothing but the summary */
#define LOG_FAILURE (1 | LOG_STATS) /* BPF_LOG_LEVEL1: the path that is refused */
#define TAIL_BYTES 3000		    /* of the log of a program that does not load */
#define MAX_PROGRAMS 16

static char first_words[1024];

/* libbpf's first complaint has the reason; what follows it says that nothing was loaded. */
static int remember(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && !first_words[0])
		vsnprintf(first_words, sizeof(first_words), format, args);
	return 0;
}

/*
 * Up to 7.2 "stack depth 104+32", a number for each subprogram.  Then "stack depth max 144", and
 * for each subprogram a line "subprog 1 (name) ... stack 32".
 */
static bool read_stack(const char *log, unsigned int *stack)
{
	const char *at = strstr(log, "stack depth ");
	char *end;

	*stack = 0;
	if (!at)
		return false;
	at += strlen("stack depth ");
	if (strncmp(at, "max ", 4)) {
		*stack = strtoul(at, &end, 10);
		for (at = end; *at == '+'; at = end)
			*stack += strtoul(at + 1, &end, 10);
		return *at == '\n';
	}
	while ((at = strstr(at, " stack "))) {
		at += strlen(" stack ");
		*stack += strtoul(at, &end, 10);
		if (*end != '\n')
			return false;
	}
	return strstr(log, "subprog 0 ");
}

static bool read_stats(const char *log, unsigned int *insns, unsigned int *stack)
{
	const char *processed = strstr(log, "processed ");

	return processed && sscanf(processed, "processed %u insns", insns) == 1 &&
	       read_stack(log, stack);
}

static int print_all(struct bpf_object *object, char *const *log)
{
	struct bpf_program *program;
	unsigned int insns, stack;
	int i = 0;

	bpf_object__for_each_program (program, object) {
		const char *name = bpf_program__name(program);

		if (!read_stats(log[i], &insns, &stack)) {
			fprintf(stderr, "%s: no numbers in the verifier's log: %s\n", name, log[i]);
			return 1;
		}
		printf("%s %u %u\n", name, insns, stack);
		i++;
	}
	return 0;
}

/* The last program that has a log is the one that was refused. */
static void print_refused(char *const *log, const char *path)
{
	const char *refused = "";
	size_t len;

	for (int i = 0; i < MAX_PROGRAMS; i++) {
		if (log[i][0])
			refused = log[i];
	}
	len = strlen(refused);
	fprintf(stderr, "%s: %s...%s\n", path, first_words,
		refused + (len > TAIL_BYTES ? len - TAIL_BYTES : 0));
}

static int load(const char *path, int level, char *const *log)
{
	struct bpf_object *object = bpf_object__open(path);
	struct bpf_program *program;
	int i = 0, status = 1;

	first_words[0] = '\0';
	for (int j = 0; j < MAX_PROGRAMS; j++)
		log[j][0] = '\0';
	if (!object) {
		fprintf(stderr, "%s: %s\n", path, first_words);
		return 1;
	}
	bpf_object__for_each_program (program, object) {
		if (i == MAX_PROGRAMS) {
			fprintf(stderr, "%s: more than %d programs\n", path, MAX_PROGRAMS);
			goto out;
		}
		bpf_program__set_log_level(program, level);
		bpf_program__set_log_buf(program, log[i++], LOG_BYTES);
	}
	if (!bpf_object__load(object))
		status = print_all(object, log);
	else if (level == LOG_STATS)
		status = load(path, LOG_FAILURE, log);
	else
		print_refused(log, path);
out:
	bpf_object__close(object);
	return status;
}

int main(int argc, char **argv)
{
	char *log[MAX_PROGRAMS];
	int status = argc < 2;

	libbpf_set_print(remember);
	for (int i = 0; i < MAX_PROGRAMS; i++) {
		log[i] = malloc(LOG_BYTES);
		if (!log[i])
			return 1;
	}
	for (int i = 1; i < argc; i++)
		status |= load(argv[i], LOG_STATS, log);
	for (int i = 0; i < MAX_PROGRAMS; i++)
		free(log[i]);
	return status;
}
