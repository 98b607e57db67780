// SPDX-License-Identifier: GPL-2.0-only
/*
 * The configuration file.
 *
 * An input is the file.  libconfuse replaces ${NAME} from the environment, which is empty here.
 */
#include <errno.h>
#include <pwd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/config.h"
#include "dataplane/plane.h"
#include "fuzz.h"

/* Which namespace this is nobody asks here. */
__u64 plane_netns_cookie(void)
{
	return 1;
}

static int file;

/* Two users, whatever machine this is; and one that cannot be looked up. */
struct passwd *getpwnam(const char *name)
{
	static struct passwd root = { .pw_uid = 0 }, other = { .pw_uid = 33 };

	errno = strcmp(name, "nobody-knows") ? 0 : EIO;
	return !strcmp(name, "root") ? &root : !strcmp(name, "www-data") ? &other : NULL;
}

static void check_service(const struct config_service *service)
{
	LAW(memchr(service->name, '\0', sizeof(service->name)) && config_is_name(service->name));
	LAW(service->listen_count && service->listen_count <= CS_MAX_SERVICE_LISTENERS);
	LAW(service->interface_count <= CS_MAX_SERVICE_LISTENERS);
	for (unsigned int i = 0; i < service->listen_count; i++)
		LAW(service->listen[i].port);
	for (unsigned int i = 0; i < service->interface_count; i++)
		LAW(service->interface[i][0] &&
		    strnlen(service->interface[i], IFNAMSIZ) < IFNAMSIZ);
	LAW(service->cid_len <= CS_MAX_CID && service->max_cids);
	LAW(service->unknown_cid <= CS_POLICY_DROP && service->malformed <= CS_POLICY_DROP &&
	    service->not_quic <= CS_POLICY_QUIC && service->small_initial <= CS_POLICY_DROP);
	LAW(service->uid == 0 || service->uid == 33);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	clearenv();
	file = memfd_create("config", MFD_CLOEXEC);
	LAW(file >= 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct open_fds before = open_fds(), after;
	struct config *config = NULL;
	struct error error = {};
	char path[32];
	int err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	LAW(!ftruncate(file, 0) && pwrite(file, data, size, 0) == (ssize_t)size);
	err = config_read(path, &config, &error);
	LAW(!err == !!config && !err == !error.line[0]);
	LAW(!err || !strncmp(error.line, path, strlen(path)));
	for (unsigned int i = 0; config && i < config->count; i++)
		check_service(&config->service[i]);
	free(config);
	after = open_fds();
	LAW(!memcmp(&before, &after, sizeof(before)));
	return 0;
}
