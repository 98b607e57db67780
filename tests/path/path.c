// SPDX-License-Identifier: GPL-2.0-only
/*
 * A service's packet costs as much among 250 services as it does with one: cs_xdp and cs_reuseport,
 * in their build for user space, take the same basic blocks in the same order, so they execute the
 * same instructions.  The packets are the fuzzer's, which reach nearly every line.  Not compared is
 * what the helpers do inside (the list in ignored), a hash look-up by address for example: they are
 * the kernel's.
 *
 * path DIRECTORY: with inputs of tests/fuzz/frame.c.  Says how many took the same way, and fails if
 * one did not.
 */
#include <dirent.h>
#include <sys/wait.h>

#include "frame.c"

#define MAX_FRAMES 1024
#define FIRST_OF_CROWD SERVICES
#define CROWD (CS_MAX_SERVICES - FIRST_OF_CROWD)

/* What one input did. */
struct way {
	__u64 hash; /* of the blocks, in order */
	__u32 blocks;
	__u32 service; /* that XDP found; 0: none */
	__u32 reason;
};

static struct way *ways; /* of all inputs, in a world of few services and in one of many */
static struct way *way;	 /* that is being recorded */
static char names[MAX_FRAMES][64];
static int count;

/* Called by what -fsanitize-coverage=trace-pc puts at the start of each block. */
void __sanitizer_cov_trace_pc(void)
{
	if (!way)
		return;
	way->hash = (way->hash ^ (uintptr_t)__builtin_return_address(0)) * 0x100000001b3;
	way->blocks++;
}

enum crowd {
	NO_CROWD,
	ON_OTHER_PORTS,
	ON_ONE_PORT
};

/*
 * Services up to the last id, with four listeners each: on addresses of their own at the port
 * of all, or on ports of their own.
 */
static void add_crowd(enum crowd crowd)
{
	char text[ADDRESS_TEXT];

	for (int id = FIRST_OF_CROWD; id < CS_MAX_SERVICES; id++) {
		struct cs_service *service = line_of(&cs_services, id);

		service->used = 1;
		service->cid_len = 8;
		for (int n = 0; n < 4; n++) {
			snprintf(text, sizeof(text), "[2001:db8:2::%x]:%d", id * 4 + n,
				 crowd == ON_ONE_PORT ? 443 : 10000 + id * 4 + n);
			add_listener(text, id, n, 0);
		}
	}
}

static void record(const uint8_t *data, size_t size, struct way *to)
{
	struct cs_verdict verdict;
	struct bytes frame;
	struct xdp_md ctx;
	__u32 first;
	__u8 flags;

	LAW(!read_frame(data, size, &frame, &first, &flags));
	ctx = xdp_context(&frame, frame.length);
	frame_verdict(&ctx, &verdict);
	to->service = verdict.service;
	to->reason = verdict.reason;
	set_lease(flags & HAS_LEASE);
	way = to;
	try_frame(&frame, first, flags & HAS_LEASE);
	way = NULL;
	free(frame.byte);
}

static void record_all(const char *dir, struct way *to)
{
	static uint8_t data[ROOM];

	for (int i = 0; i < count; i++) {
		char path[512];
		size_t size;
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		file = fopen(path, "r");
		LAW(file);
		size = fread(data, 1, sizeof(data), file);
		LAW(!ferror(file) && size < sizeof(data));
		fclose(file);
		record(data, size, &to[i]);
	}
}

static int listeners_of(__u32 service)
{
	int found = 0;

	for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++)
		found += listeners[i].service == service;
	return found;
}

/* In a process of its own: the maps are filled once.  @mate: a service that is there, too, or 0. */
static void in_world(const char *dir, __u32 service, __u32 mate, enum crowd crowd, struct way *to)
{
	pid_t child = fork();
	int status;

	LAW(child >= 0);
	if (child) {
		LAW(waitpid(child, &status, 0) == child && !status);
		return;
	}
	begin_world();
	populate(service);
	if (mate)
		populate(mate);
	if (crowd != NO_CROWD)
		add_crowd(crowd);
	record_all(dir, to);
	_exit(0);
}

static void read_names(const char *dir)
{
	DIR *list = opendir(dir);

	LAW(list);
	for (const struct dirent *entry; (entry = readdir(list));) {
		if (entry->d_name[0] == '.')
			continue;
		LAW(count < MAX_FRAMES);
		snprintf(names[count++], sizeof(names[0]), "%s", entry->d_name);
	}
	closedir(list);
}

/* Returns how many differ; 1 if there was nothing to compare. */
static int compare(const char *dir, __u32 service, __u32 mate, enum crowd crowd)
{
	const struct way *few = ways, *many = ways + count;
	int equal = 0, differ = 0;
	__u64 blocks = 0;

	memset(ways, 0, 2 * count * sizeof(*ways));
	in_world(dir, service, mate, NO_CROWD, ways);
	in_world(dir, service, mate, crowd, ways + count);
	for (int i = 0; i < count; i++) {
		if (few[i].service != service && many[i].service != service)
			continue;
		if (!memcmp(&few[i], &many[i], sizeof(*few))) {
			equal++;
			blocks += few[i].blocks;
			continue;
		}
		differ++;
		printf("%s: service %u, reason %u: %u blocks, in the crowd service %u, reason %u: "
		       "%u blocks\n",
		       names[i], few[i].service, few[i].reason, few[i].blocks, many[i].service,
		       many[i].reason, many[i].blocks);
	}
	printf("service %u%s: %d packets, %llu basic blocks; among %d services with %d listeners "
	       "the same, %d differ\n",
	       service, mate ? ", another on its port" : "", equal, (unsigned long long)blocks,
	       CROWD + 1 + !!mate, 4 * CROWD + listeners_of(service) + listeners_of(mate), differ);
	return differ + !equal;
}

int main(int argc, char **argv)
{
	/*
	 * A packet to a wildcard costs one look-up more where somebody has an exact address on the
	 * same port, be it one or a thousand: DROPS has a mate that has one.
	 */
	static const struct {
		__u32 service, mate;
		enum crowd crowd;
	} world[] = {
		{ PLAIN, 0, ON_ONE_PORT },	{ PASSES, 0, ON_ONE_PORT },
		{ DROPS, PLAIN, ON_ONE_PORT },	{ BY_TUPLE, 0, ON_OTHER_PORTS },
		{ GONE, 0, ON_OTHER_PORTS },	{ EMPTY, 0, ON_OTHER_PORTS },
		{ ENCODED, 0, ON_OTHER_PORTS }, { EXTRACTED, 0, ON_OTHER_PORTS },
	};
	int wrong = 0;

	LAW(argc == 2);
	read_names(argv[1]);
	LAW(count);
	ways = mmap(NULL, 2 * count * sizeof(*ways), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	LAW(ways != MAP_FAILED);
	for (size_t i = 0; i < sizeof(world) / sizeof(world[0]); i++)
		wrong += compare(argv[1], world[i].service, world[i].mate, world[i].crowd);
	return !!wrong;
}
