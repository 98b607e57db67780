// SPDX-License-Identifier: GPL-2.0-only
/*
 * An LD_PRELOAD object that stands between a program with its libraries and the C library.  It
 * counts the calls that can fail, lets one of them fail, and keeps account of memory: what is in
 * use, and whether something is freed that is not in use.
 *
 * Calls of the main thread only: those of another would make the numbers differ between runs.
 * What the C library calls inside itself does not come by here, but for malloc().
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <linux/bpf.h>
#include <malloc.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fault.h"

/* Written over memory that is new, and that is freed: who reads it notices. */
#define NEW_BYTE 0xa5
#define FREED_BYTE 0xdf

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *pointer);

static struct fault own; /* until the driver's is mapped, or when there is none */
static struct fault *fault = &own;
static __thread bool inside; /* the shim itself */

/* ---- calls -------------------------------------------------------------------------------- */

static void note_symbol(uint64_t address, char symbol[FAULT_SYMBOL])
{
	Dl_info info;

	if (dladdr((void *)address, &info) && info.dli_sname)
		snprintf(symbol, FAULT_SYMBOL, "%s", info.dli_sname);
}

/* Is this call to fail?  Then errno is set. */
static bool fails(const char *call, int error)
{
	if (inside || !fault->armed || gettid() != getpid())
		return false;
	if (++fault->count != fault->fail_at)
		return false;
	inside = true;
	fault->failed = 1;
	fault->error = error;
	snprintf(fault->call, sizeof(fault->call), "%s", call);
	fault->frames = backtrace((void **)fault->frame, FAULT_FRAMES);
	for (uint32_t i = 0; i < fault->frames; i++)
		note_symbol(fault->frame[i], fault->symbol[i]);
	inside = false;
	errno = error;
	return true;
}

static void *real(const char *name)
{
	bool was = inside;
	void *function;

	inside = true;
	function = dlsym(RTLD_NEXT, name);
	inside = was;
	return function;
}

/* The function that is hidden by ours. */
#define REAL(name)                                                                                 \
	({                                                                                         \
		static typeof(name) *function_;                                                    \
		if (!function_)                                                                    \
			function_ = (typeof(name) *)real(#name);                                   \
		function_;                                                                         \
	})

#define CALL(type, name, error, wrong, parameters, arguments)                                      \
	type name parameters                                                                       \
	{                                                                                          \
		if (fails(#name, error))                                                           \
			return wrong;                                                              \
		return REAL(name) arguments;                                                       \
	}

/* clang-format off: a table */
CALL(int, socket, EMFILE, -1, (int family, int type, int protocol), (family, type, protocol))
CALL(int, bind, EADDRNOTAVAIL, -1, (int fd, const struct sockaddr *to, socklen_t len),
     (fd, to, len))
CALL(int, listen, EADDRINUSE, -1, (int fd, int count), (fd, count))
CALL(int, connect, EACCES, -1, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len))
CALL(int, accept4, EMFILE, -1, (int fd, struct sockaddr *from, socklen_t *len, int flags),
     (fd, from, len, flags))
CALL(ssize_t, send, ENOBUFS, -1, (int fd, const void *from, size_t len, int flags),
     (fd, from, len, flags))
CALL(ssize_t, sendmsg, ENOBUFS, -1, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags))
CALL(int, setsockopt, ENOMEM, -1, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len))
CALL(int, getsockopt, ENOMEM, -1, (int fd, int level, int name, void *value, socklen_t *len),
     (fd, level, name, value, len))
CALL(int, getsockname, ENOBUFS, -1, (int fd, struct sockaddr *name, socklen_t *len),
     (fd, name, len))
CALL(ssize_t, write, EAGAIN, -1, (int fd, const void *from, size_t len), (fd, from, len))
CALL(int, stat, EACCES, -1, (const char *path, struct stat *to), (path, to))
CALL(int, lstat, EACCES, -1, (const char *path, struct stat *to), (path, to))
CALL(int, fstat, EIO, -1, (int fd, struct stat *to), (fd, to))
CALL(int, statfs, EIO, -1, (const char *path, struct statfs *to), (path, to))
CALL(int, statfs64, EIO, -1, (const char *path, struct statfs64 *to), (path, to))
CALL(int, mkdir, ENOSPC, -1, (const char *path, mode_t mode), (path, mode))
CALL(int, rmdir, EPERM, -1, (const char *path), (path))
CALL(int, unlink, EPERM, -1, (const char *path), (path))
CALL(int, chmod, EPERM, -1, (const char *path, mode_t mode), (path, mode))
CALL(int, flock, ENOLCK, -1, (int fd, int what), (fd, what))
CALL(int, faccessat, EACCES, -1, (int dir, const char *path, int mode, int flags),
     (dir, path, mode, flags))
CALL(int, dup3, EMFILE, -1, (int from, int to, int flags), (from, to, flags))
CALL(int, pipe2, EMFILE, -1, (int fds[2], int flags), (fds, flags))
CALL(int, signalfd, EMFILE, -1, (int fd, const sigset_t *set, int flags), (fd, set, flags))
CALL(int, epoll_create1, EMFILE, -1, (int flags), (flags))
CALL(int, epoll_ctl, ENOSPC, -1, (int epoll, int what, int fd, struct epoll_event *event),
     (epoll, what, fd, event))
CALL(int, poll, ENOMEM, -1, (struct pollfd * fds, nfds_t count, int ms), (fds, count, ms))
CALL(void *, mmap, ENOMEM, MAP_FAILED,
     (void *at, size_t len, int prot, int flags, int fd, off_t from),
     (at, len, prot, flags, fd, from))
CALL(void *, mmap64, ENOMEM, MAP_FAILED,
     (void *at, size_t len, int prot, int flags, int fd, off64_t from),
     (at, len, prot, flags, fd, from))
CALL(int, madvise, EINVAL, -1, (void *at, size_t len, int advice), (at, len, advice))
CALL(ssize_t, getrandom, ENOSYS, -1, (void *to, size_t len, unsigned int flags), (to, len, flags))
CALL(int, getrlimit64, EPERM, -1, (__rlimit_resource_t what, struct rlimit64 *to), (what, to))
CALL(int, setrlimit64, EPERM, -1, (__rlimit_resource_t what, const struct rlimit64 *from),
     (what, from))
CALL(FILE *, fopen, EMFILE, NULL, (const char *path, const char *mode), (path, mode))
CALL(FILE *, fopen64, EMFILE, NULL, (const char *path, const char *mode), (path, mode))
CALL(struct passwd *, getpwnam, EMFILE, NULL, (const char *name), (name))
CALL(unsigned int, if_nametoindex, EMFILE, 0, (const char *name), (name))
CALL(struct if_nameindex *, if_nameindex, ENOBUFS, NULL, (void), ())
CALL(int, pthread_create, EAGAIN, EAGAIN,
     (pthread_t * thread, const pthread_attr_t *how, void *(*run)(void *), void *arg),
     (thread, how, run, arg))
/* clang-format on */

/* The end is read some hundred times when a connection is closed: those calls are not counted. */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	char byte;

	if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) && fails("recvmsg", ENOMEM))
		return -1;
	return REAL(recvmsg)(fd, msg, flags);
}

/* A timer's 8 bytes are not counted: it ticks when it is time. */
ssize_t read(int fd, void *to, size_t len)
{
	return len != sizeof(uint64_t) && fails("read", EIO) ? -1 : REAL(read)(fd, to, len);
}

/* As getrlimit() does not have a 64 in its name. */
int getrlimit(__rlimit_resource_t what, struct rlimit *to)
{
	return fails("getrlimit", EPERM) ? -1 : REAL(getrlimit)(what, to);
}

int setrlimit(__rlimit_resource_t what, const struct rlimit *from)
{
	return fails("setrlimit", EPERM) ? -1 : REAL(setrlimit)(what, from);
}

size_t fread(void *to, size_t size, size_t count, FILE *file)
{
	if (!fails("fread", EIO))
		return REAL(fread)(to, size, count, file);
	file->_flags |= 0x20; /* _IO_ERR_SEEN, which ferror() asks for */
	return 0;
}

int open(const char *path, int flags, ...)
{
	va_list list;
	int mode;

	va_start(list, flags);
	mode = va_arg(list, int);
	va_end(list);
	return fails("open", EMFILE) ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list list;
	int mode;

	va_start(list, flags);
	mode = va_arg(list, int);
	va_end(list);
	return fails("open64", EMFILE) ? -1 : REAL(open64)(path, flags, mode);
}

int fcntl(int fd, int what, ...)
{
	va_list list;
	long value;

	va_start(list, what);
	value = va_arg(list, long);
	va_end(list);
	return fails("fcntl", EMFILE) ? -1 : REAL(fcntl)(fd, what, value);
}

int fcntl64(int fd, int what, ...)
{
	va_list list;
	long value;

	va_start(list, what);
	value = va_arg(list, long);
	va_end(list);
	return fails("fcntl64", EMFILE) ? -1 : REAL(fcntl64)(fd, what, value);
}

/*
 * Not counted: how often a loop turns differs between runs, and with good descriptors nothing but
 * a signal makes it fail.
 */
int epoll_wait(int epoll, struct epoll_event *events, int count, int ms)
{
	int ready;

	if (ms < 0)
		fault->waiting = 1;
	ready = REAL(epoll_wait)(epoll, events, count, ms);
	fault->waiting = 0;
	return ready;
}

/* ---- bpf(2) and what else has no function of its own -------------------------------------- */

static const struct {
	const char *name;
	int error;
} bpf_commands[] = {
	[BPF_MAP_CREATE] = { "bpf(MAP_CREATE)", ENOMEM },
	[BPF_MAP_LOOKUP_ELEM] = { "bpf(MAP_LOOKUP_ELEM)", ENOMEM },
	[BPF_MAP_UPDATE_ELEM] = { "bpf(MAP_UPDATE_ELEM)", ENOMEM },
	[BPF_MAP_DELETE_ELEM] = { "bpf(MAP_DELETE_ELEM)", ENOMEM },
	[BPF_MAP_GET_NEXT_KEY] = { "bpf(MAP_GET_NEXT_KEY)", ENOMEM },
	[BPF_MAP_LOOKUP_BATCH] = { "bpf(MAP_LOOKUP_BATCH)", ENOMEM },
	[BPF_MAP_FREEZE] = { "bpf(MAP_FREEZE)", EBUSY },
	[BPF_PROG_LOAD] = { "bpf(PROG_LOAD)", EPERM },
	[BPF_OBJ_PIN] = { "bpf(OBJ_PIN)", ENOSPC },
	[BPF_OBJ_GET] = { "bpf(OBJ_GET)", EMFILE },
	[BPF_PROG_GET_FD_BY_ID] = { "bpf(PROG_GET_FD_BY_ID)", EMFILE },
	[BPF_MAP_GET_FD_BY_ID] = { "bpf(MAP_GET_FD_BY_ID)", EMFILE },
	[BPF_BTF_GET_FD_BY_ID] = { "bpf(BTF_GET_FD_BY_ID)", EMFILE },
	[BPF_OBJ_GET_INFO_BY_FD] = { "bpf(OBJ_GET_INFO_BY_FD)", EFAULT },
	[BPF_BTF_LOAD] = { "bpf(BTF_LOAD)", ENOMEM },
	[BPF_LINK_CREATE] = { "bpf(LINK_CREATE)", ENOMEM },
};
#define BPF_COMMANDS (sizeof(bpf_commands) / sizeof(bpf_commands[0]))

static bool bpf_fails(unsigned int command)
{
	if (command < BPF_COMMANDS && bpf_commands[command].name)
		return fails(bpf_commands[command].name, bpf_commands[command].error);
	return fails("bpf(?)", EPERM);
}

/* The id is a member of its own in each. */
static void note_object(int kind, int fd)
{
	union {
		struct bpf_prog_info prog;
		struct bpf_map_info map;
		struct bpf_btf_info btf;
	} info = {};
	union bpf_attr attr = {};
	struct fault_object *object;

	attr.info.bpf_fd = fd;
	attr.info.info_len = kind == FAULT_PROG ? sizeof(info.prog) :
			     kind == FAULT_MAP	? sizeof(info.map) :
						  sizeof(info.btf);
	attr.info.info = (uintptr_t)&info;
	if (REAL(syscall)(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) ||
	    fault->objects == FAULT_OBJECTS)
		return;
	object = &fault->object[fault->objects++];
	object->kind = kind;
	object->id = kind == FAULT_PROG ? info.prog.id :
		     kind == FAULT_MAP	? info.map.id :
					  info.btf.id;
}

/* Not counted: the lease is renewed when it is time. */
static bool is_lease(long command, const union bpf_attr *attr)
{
	struct bpf_map_info map = {};
	union bpf_attr asked = {};

	if (command != BPF_MAP_UPDATE_ELEM)
		return false;
	asked.info.bpf_fd = attr->map_fd;
	asked.info.info_len = sizeof(map);
	asked.info.info = (uintptr_t)&map;
	return !REAL(syscall)(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &asked, sizeof(asked)) &&
	       !strcmp(map.name, "cs_lease");
}

long syscall(long number, ...)
{
	long argument[6], result;
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		argument[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_bpf ?
		    !is_lease(argument[0], (const void *)argument[1]) && bpf_fails(argument[0]) :
		    number == SYS_pidfd_open && fails("pidfd_open", EMFILE))
		return -1;
	result = REAL(syscall)(number, argument[0], argument[1], argument[2], argument[3],
			       argument[4], argument[5]);
	if (number != SYS_bpf || result < 0)
		return result;
	if (argument[0] == BPF_PROG_LOAD)
		note_object(FAULT_PROG, result);
	else if (argument[0] == BPF_MAP_CREATE)
		note_object(FAULT_MAP, result);
	else if (argument[0] == BPF_BTF_LOAD)
		note_object(FAULT_BTF, result);
	return result;
}

/* ---- memory ------------------------------------------------------------------------------- */

static volatile char blocks_lock;

static void lock_blocks(void)
{
	while (__atomic_test_and_set(&blocks_lock, __ATOMIC_ACQUIRE))
		;
}

static void unlock_blocks(void)
{
	__atomic_clear(&blocks_lock, __ATOMIC_RELEASE);
}

static uint32_t home_of(uint64_t address)
{
	return (address >> 4) * 0x9e3779b1u & (FAULT_BLOCKS - 1);
}

static void note_block(void *memory)
{
	uint32_t i = home_of((uint64_t)memory);

	if (!memory)
		return;
	lock_blocks();
	if (fault->live == FAULT_BLOCKS - 1)
		abort();
	while (fault->block[i])
		i = (i + 1) & (FAULT_BLOCKS - 1);
	fault->block[i] = (uint64_t)memory;
	fault->live++;
	unlock_blocks();
}

/* Takes a block off the table and moves back what can no longer be reached over the hole. */
static bool forget_block(const void *memory)
{
	const uint32_t mask = FAULT_BLOCKS - 1;
	uint32_t hole = home_of((uint64_t)memory);

	while (fault->block[hole] && fault->block[hole] != (uint64_t)memory)
		hole = (hole + 1) & mask;
	if (!fault->block[hole])
		return false;
	fault->live--;
	for (uint32_t i = (hole + 1) & mask; fault->block[i]; i = (i + 1) & mask) {
		if (((i - home_of(fault->block[i])) & mask) < ((i - hole) & mask))
			continue;
		fault->block[hole] = fault->block[i];
		hole = i;
	}
	fault->block[hole] = 0;
	return true;
}

/* Returns whether it may be freed; a wrong one is noted, and left to the driver to judge. */
static bool give_block(void *memory)
{
	bool known;

	lock_blocks();
	known = forget_block(memory);
	unlock_blocks();
	if (!known && !inside && !fault->freed_wrong++) {
		inside = true;
		fault->wrong_frames = backtrace((void **)fault->wrong, FAULT_FRAMES);
		inside = false;
	}
	return known;
}

void *malloc(size_t size)
{
	void *memory = fails("malloc", ENOMEM) ? NULL : __libc_malloc(size);

	if (memory)
		memset(memory, NEW_BYTE, size);
	note_block(memory);
	return memory;
}

void *calloc(size_t count, size_t size)
{
	void *memory = fails("calloc", ENOMEM) ? NULL : __libc_calloc(count, size);

	note_block(memory);
	return memory;
}

/* Always moves: who keeps the old address notices. */
static void *resize(void *old, size_t size)
{
	size_t had = old ? malloc_usable_size(old) : 0;
	void *memory = __libc_malloc(size);

	if (!memory)
		return NULL;
	if (old)
		memcpy(memory, old, had < size ? had : size);
	note_block(memory);
	free(old);
	return memory;
}

void *realloc(void *old, size_t size)
{
	if (fails("realloc", ENOMEM))
		return NULL;
	if (old && !size) {
		free(old);
		return NULL;
	}
	return resize(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (fails("reallocarray", ENOMEM))
		return NULL;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return resize(old, bytes);
}

int posix_memalign(void **to, size_t alignment, size_t size)
{
	void *memory = fails("posix_memalign", ENOMEM) ? NULL : __libc_memalign(alignment, size);

	note_block(memory);
	if (!memory)
		return ENOMEM;
	*to = memory;
	return 0;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	void *memory = fails("aligned_alloc", ENOMEM) ? NULL : __libc_memalign(alignment, size);

	note_block(memory);
	return memory;
}

void free(void *memory)
{
	int error = errno;

	if (!memory || !give_block(memory))
		return;
	memset(memory, FREED_BYTE, malloc_usable_size(memory));
	__libc_free(memory);
	errno = error;
}

/* ---- start -------------------------------------------------------------------------------- */

static int note_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct fault_module *module = &fault->module[fault->modules];
	const char *path = *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
	ssize_t len;

	(void)size, (void)arg;
	if (fault->modules == FAULT_MODULES)
		return 1;
	snprintf(module->path, sizeof(module->path), "%s", path);
	if (path[0] == '/' && !*info->dlpi_name) {
		len = readlink(path, module->path, sizeof(module->path) - 1);
		module->path[len > 0 ? len : 0] = '\0';
	}
	module->base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uint64_t end = info->dlpi_addr + part->p_vaddr + part->p_memsz;

		if (part->p_type == PT_LOAD && end > module->end)
			module->end = end;
	}
	fault->modules++;
	return 0;
}

/* Takes along what is in use already. */
__attribute__((constructor)) static void start(void)
{
	const char *path = getenv(FAULT_ENV);
	struct fault *mapped;
	void *frame[2];
	int fd;

	if (!path)
		return;
	inside = true;
	backtrace(frame, 2); /* loads what it needs */
	fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		abort();
	mapped = REAL(mmap)(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		abort();
	close(fd);
	mapped->live = own.live;
	memcpy(mapped->block, own.block, sizeof(own.block));
	fault = mapped;
	dl_iterate_phdr(note_module, NULL);
	inside = false;
}

void fault_begin(void)
{
	fault->armed = 1;
}

void fault_end(void)
{
	fault->armed = 0;
}

unsigned int fault_live(void)
{
	return fault->live;
}
