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

/* One key, whose name is short, so that it is found; and one that says why it cannot be had. */
int config_read_key(const char *path, __u8 key[CONFIG_LB_KEY], struct error *error)
{
	if (strcmp(path, "k"))
		return error_set(error, -EACCES, "%s: others may read it", path);
	memset(key, 0x5a, CONFIG_LB_KEY);
	return 0;
}

static void check_lb(const struct config_lb *lb)
{
	LAW(!cs_lb_mistake(lb->id, lb->server_id_len, lb->nonce_len));
	LAW(!lb->cid_len ||
	    (lb->cid_len > lb->server_id_len + lb->nonce_len && lb->cid_len <= CS_MAX_CID));
	LAW(lb->host_len < lb->server_id_len);
	for (unsigned int i = 0; i < CONFIG_LB_KEY; i++)
		LAW(lb->key[i] == (lb->has_key ? 0x5a : 0));
}

/* Of IDs that say who made them. */
static void check_ids(const struct config_service *service)
{
	const struct config_extract *extract = &service->extract;
	unsigned int active = 0, ids = 0;

	LAW(service->lb_count <= CS_LB_CONFIGS);
	LAW(!service->lb_count || (service->cid_len && extract->key == CONFIG_KEY_NONE));
	for (unsigned int i = 0; i < service->lb_count; i++) {
		check_lb(&service->lb[i]);
		LAW(!(ids & 1u << service->lb[i].id));
		ids |= 1u << service->lb[i].id;
		active += service->lb[i].active;
	}
	LAW(active <= 1);
	LAW(extract->key <= CONFIG_KEY_WORKER && !extract->key == !extract->len);
	LAW(extract->at + extract->len <= service->cid_len && extract->len <= CS_LB_MAX_SERVER_ID);
	LAW(extract->key != CONFIG_KEY_COOKIE || extract->len == 8);
}

static const struct config_lb *find_lb(const struct config *config, const struct config_host *host)
{
	const struct config_service *service = &config->service[host->service];

	LAW(host->service < config->count);
	for (unsigned int i = 0; i < service->lb_count; i++) {
		if (service->lb[i].id == host->lb)
			return &service->lb[i];
	}
	return NULL;
}

static void check_hosts(const struct config *config)
{
	LAW(config->host_count <= CONFIG_MAX_HOSTS);
	for (unsigned int i = 0; i < config->host_count; i++) {
		const struct config_host *host = &config->host[i];
		const struct config_lb *lb = find_lb(config, host);

		LAW(lb && lb->host_len && memcmp(host->host, lb->host, sizeof(host->host)));
		for (unsigned int other = 0; other < i; other++)
			LAW(memcmp(host, &config->host[other], sizeof(*host)));
	}
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
	check_ids(service);
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
	if (config)
		check_hosts(config);
	config_free(config);
	after = open_fds();
	LAW(!memcmp(&before, &after, sizeof(before)));
	return 0;
}
