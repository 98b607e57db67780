// SPDX-License-Identifier: GPL-2.0-only
/* libconfuse reads the file; its validation hooks know the line of what they check. */
#include <assert.h>
#include <confuse.h>
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "core/cid_table.h"
#include "dataplane/config.h"
#include "dataplane/config_lb.h"

#define MAX_FILE_BYTES (1 << 20)
#define DEFAULT_CID_LENGTH 8
#define DEFAULT_MAX_CIDS 100000
#define DEFAULT_CPU_QUEUE 2048
#define BEHIND_DEVICE "allowed" /* the other word is "never" */
#define MAX_CPU_QUEUE 16384	/* Linux: cpu_map_alloc(), "sanity limit on qsize" */
#define MAX_DRAIN_SECONDS (365L * 24 * 3600)
#define MAX_MAX_CIDS ((long)CS_MAX_BUCKETS * CS_BUCKET_ROUTES / 2)

/*
 * libconfuse takes the end of the file for the end of every open section, and ends the process if
 * a read fails.  So the file is read here, and an option is appended that only the top level knows.
 */
#define END_OPTION "the-end"
#define END_TEXT "\n" END_OPTION " = 1\n"

/* libconfuse hands no user pointer to its hooks; a configuration is read by one thread. */
static struct error *reading;
static const char *reading_path;
static int reading_lines; /* that the file has */

static void note_error(cfg_t *cfg, const char *format, va_list args)
{
	char reason[sizeof(reading->line) / 2];

	vsnprintf(reason, sizeof(reason), format, args);
	if (reading->line[0])
		return;
	if (strstr(reason, END_OPTION))
		snprintf(reason, sizeof(reason),
			 "the file ends in the midst of a service: a } is missing");
	error_set(reading, 0, "%s:%d: %s", reading_path,
		  cfg->line < reading_lines ? cfg->line : reading_lines, reason);
}

bool config_is_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";
	size_t len = strlen(name);

	return len && len < CS_NAME_SIZE && strspn(name, allowed) == len;
}

static int check_title(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *service = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	const char *name = service ? cfg_title(service) : NULL;

	if (!name || !*name) {
		cfg_error(cfg, "a service needs a name: service \"h3\" { ... }");
		return -1;
	}
	if (!config_is_name(name)) {
		cfg_error(cfg,
			  "service \"%s\": a name has 1 to %d letters, digits, '-', '_' or '.'",
			  name, CS_NAME_SIZE - 1);
		return -1;
	}
	if (!cfg_size(service, "listen")) {
		cfg_error(cfg, "service \"%s\" has no listen: listen = {\"[::]:443\"}", name);
		return -1;
	}
	return 0;
}

static int check_listen(cfg_t *cfg, cfg_opt_t *opt)
{
	unsigned int last = cfg_opt_size(opt) - 1;
	struct cs_addr addr, other;

	if (address_parse(cfg_opt_getnstr(opt, last), &addr)) {
		cfg_error(cfg,
			  "listen \"%s\": not an address and port like \"[::]:443\" or "
			  "\"192.0.2.1:443\"",
			  cfg_opt_getnstr(opt, last));
		return -1;
	}
	if (last >= CS_MAX_SERVICE_LISTENERS) {
		cfg_error(cfg, "a service has at most %d listeners", CS_MAX_SERVICE_LISTENERS);
		return -1;
	}
	for (unsigned int i = 0; i < last; i++) {
		if (address_parse(cfg_opt_getnstr(opt, i), &other) ||
		    memcmp(&addr, &other, sizeof(addr)))
			continue;
		cfg_error(cfg, "listen \"%s\" is there twice", cfg_opt_getnstr(opt, last));
		return -1;
	}
	return 0;
}

static int check_interface(cfg_t *cfg, cfg_opt_t *opt)
{
	unsigned int last = cfg_opt_size(opt) - 1;
	const char *name = cfg_opt_getnstr(opt, last);

	if (last >= CS_MAX_SERVICE_LISTENERS) {
		cfg_error(cfg, "a service has at most %d interfaces", CS_MAX_SERVICE_LISTENERS);
		return -1;
	}
	if (*name && strlen(name) < IFNAMSIZ)
		return 0;
	cfg_error(cfg, "interface \"%s\": a name has 1 to %d bytes", name, IFNAMSIZ - 1);
	return -1;
}

static int check_netns(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *name = cfg_opt_getnstr(opt, 0);

	if (netns_is_name(name))
		return 0;
	cfg_error(cfg, "netns \"%s\": a name has 1 to %d letters, digits, '-' or '_'", name,
		  NETNS_NAME - 1);
	return -1;
}

/* -ENOENT: there is no such user, and what else errno says: that could not be found out. */
static int find_user(const char *name, __u32 *uid)
{
	const struct passwd *passwd;

	errno = 0;
	passwd = getpwnam(name);
	if (passwd)
		*uid = passwd->pw_uid;
	else if (!errno || errno == ESRCH || errno == EBADF || errno == EPERM)
		return -ENOENT;
	return passwd ? 0 : -errno;
}

static int check_user(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *name = cfg_opt_getnstr(opt, 0);
	__u32 uid;
	int err = find_user(name, &uid);

	if (err == -ENOENT)
		cfg_error(cfg, "user \"%s\" does not exist", name);
	else if (err)
		cfg_error(cfg, "user \"%s\" cannot be looked up: %s", name, strerror(-err));
	return err ? -1 : 0;
}

int config_check_range(cfg_t *cfg, cfg_opt_t *opt, long least, long most)
{
	long value = cfg_opt_getnint(opt, 0);

	if (value >= least && value <= most)
		return 0;
	cfg_error(cfg, "%s = %ld: not in %ld..%ld", cfg_opt_name(opt), value, least, most);
	return -1;
}

static int check_cid_length(cfg_t *cfg, cfg_opt_t *opt)
{
	return config_check_range(cfg, opt, 0, CS_MAX_CID);
}

static int check_max_cids(cfg_t *cfg, cfg_opt_t *opt)
{
	return config_check_range(cfg, opt, 1, MAX_MAX_CIDS);
}

static int check_drain_seconds(cfg_t *cfg, cfg_opt_t *opt)
{
	return config_check_range(cfg, opt, 0, MAX_DRAIN_SECONDS);
}

/* What a service says of packets that have no route; by CS_POLICY_*. */
#define POLICIES (CS_POLICY_QUIC + 1)
static const char *const policies[POLICIES] = { "hash", "pass", "drop" };
static const char *const not_quic_policies[POLICIES] = { "hash", "pass", "drop", "quic" };
static const char *const initial_policies[POLICIES] = { "count", NULL, "drop" };
static const char *const xsk_policies[POLICIES] = { NULL, "pass", "drop" };

static const struct policy_row {
	const char *option;
	const char *const *words; /* by CS_POLICY_* */
	const char *list;	  /* of them, for people */
} policy_rows[] = {
	{ "unknown_cid", policies, "\"hash\", \"pass\" or \"drop\"" },
	{ "malformed", policies, "\"hash\", \"pass\" or \"drop\"" },
	{ "not_quic", not_quic_policies, "\"quic\", \"hash\", \"pass\" or \"drop\"" },
	{ "small_initial", initial_policies, "\"count\" or \"drop\"" },
	{ "no_xsk", xsk_policies, "\"pass\" or \"drop\"" },
};

#define POLICY_ROWS (sizeof(policy_rows) / sizeof(policy_rows[0]))

static const struct policy_row *find_row(const char *option)
{
	size_t row = 0;

	while (row < POLICY_ROWS && strcmp(policy_rows[row].option, option))
		row++;
	assert(row < POLICY_ROWS);
	return &policy_rows[row];
}

const char *config_policy(const char *option, __u8 policy)
{
	const char *word = policy < POLICIES ? find_row(option)->words[policy] : NULL;

	return word ? word : "?";
}

/* Returns CS_POLICY_*, or -ENOENT. */
static int find_policy(const char *option, const char *word)
{
	const struct policy_row *row = find_row(option);

	for (int i = 0; i < POLICIES; i++) {
		if (row->words[i] && !strcmp(row->words[i], word))
			return i;
	}
	return -ENOENT;
}

static int check_policy(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *word = cfg_opt_getnstr(opt, 0);

	if (find_policy(cfg_opt_name(opt), word) >= 0)
		return 0;
	cfg_error(cfg, "%s = \"%s\": not %s", cfg_opt_name(opt), word,
		  find_row(cfg_opt_name(opt))->list);
	return -1;
}

static const char *const cpu_words[] = {
	[CONFIG_CPU_ASKED] = "asked",
	[CONFIG_CPU_AFFINITY] = "affinity",
	[CONFIG_CPU_NEVER] = "never",
};

/* Returns CONFIG_CPU_*, or -ENOENT. */
static int find_cpu(const char *word)
{
	for (int i = 0; i <= CONFIG_CPU_NEVER; i++) {
		if (!strcmp(cpu_words[i], word))
			return i;
	}
	return -ENOENT;
}

static int check_cpu(cfg_t *cfg, cfg_opt_t *opt)
{
	if (find_cpu(cfg_opt_getnstr(opt, 0)) >= 0)
		return 0;
	cfg_error(cfg, "cpu = \"%s\": not \"asked\", \"affinity\" or \"never\"",
		  cfg_opt_getnstr(opt, 0));
	return -1;
}

static int check_behind_device(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *word = cfg_opt_getnstr(opt, 0);

	if (!strcmp(word, "never") || !strcmp(word, BEHIND_DEVICE))
		return 0;
	cfg_error(cfg, "behind_device = \"%s\": not \"never\" or \"" BEHIND_DEVICE "\"", word);
	return -1;
}

static int check_cpu_queue(cfg_t *cfg, cfg_opt_t *opt)
{
	return config_check_range(cfg, opt, 1, MAX_CPU_QUEUE);
}

/* libconfuse goes on without a default that it has no memory for. */
static bool has_defaults(cfg_t *service)
{
	static const char *const names[] = { "cid_length",    "max_cids",      "unknown_cid",
					     "malformed",     "not_quic",      "small_initial",
					     "shared_table",  "drain_seconds", "cpu",
					     "behind_device", "no_xsk" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!cfg_size(service, names[i]))
			return false;
	}
	return true;
}

static __u8 take_policy(cfg_t *from, const char *option)
{
	return find_policy(option, cfg_getstr(from, option)); /* that it is one has been checked */
}

static int take_service(cfg_t *from, struct config_service *to)
{
	const char *user = cfg_getstr(from, "user"), *netns = cfg_getstr(from, "netns");

	snprintf(to->netns, sizeof(to->netns), "%s", netns ? netns : "");
	memcpy(to->name, cfg_title(from), strlen(cfg_title(from)));
	to->line = from->line;
	to->listen_count = cfg_size(from, "listen");
	for (unsigned int i = 0; i < to->listen_count; i++)
		address_parse(cfg_getnstr(from, "listen", i), &to->listen[i]);
	to->interface_count = cfg_size(from, "interface");
	for (unsigned int i = 0; i < to->interface_count; i++)
		snprintf(to->interface[i], IFNAMSIZ, "%s", cfg_getnstr(from, "interface", i));
	to->cid_len = cfg_getint(from, "cid_length");
	to->max_cids = cfg_getint(from, "max_cids");
	to->shared_table = cfg_getbool(from, "shared_table");
	to->unknown_cid = take_policy(from, "unknown_cid");
	to->malformed = take_policy(from, "malformed");
	to->not_quic = take_policy(from, "not_quic");
	to->small_initial = take_policy(from, "small_initial");
	to->no_xsk = take_policy(from, "no_xsk");
	to->drain_seconds = cfg_getint(from, "drain_seconds");
	to->cpu = find_cpu(cfg_getstr(from, "cpu"));
	to->behind_device = !strcmp(cfg_getstr(from, "behind_device"), BEHIND_DEVICE);
	to->uid = 0;
	return user ? find_user(user, &to->uid) : 0;
}

static bool same_listener(const struct config_service *a, const struct config_service *b,
			  char text[ADDRESS_TEXT])
{
	if (strcmp(a->netns, b->netns))
		return false;
	for (unsigned int i = 0; i < a->listen_count; i++) {
		for (unsigned int j = 0; j < b->listen_count; j++) {
			if (memcmp(&a->listen[i], &b->listen[j], sizeof(a->listen[i])))
				continue;
			address_print(&a->listen[i], text);
			return true;
		}
	}
	return false;
}

static int take_all(const char *path, cfg_t *cfg, struct config *config, struct error *error)
{
	char text[ADDRESS_TEXT];
	int err;

	if (!cfg_size(cfg, "cpu_queue"))
		return error_set(error, -ENOMEM, "%s: out of memory", path);
	config->cpu_queue = cfg_getint(cfg, "cpu_queue");
	config->count = cfg_size(cfg, "service");
	if (!config->count)
		return error_set(error, -EINVAL, "%s:1: no service is configured", path);
	if (config->count >= CS_MAX_SERVICES)
		return error_set(error, -EINVAL, "%s: no more than %d services", path,
				 CS_MAX_SERVICES - 1);
	for (unsigned int s = 0; s < config->count; s++) {
		if (!has_defaults(cfg_getnsec(cfg, "service", s)))
			return error_set(error, -ENOMEM, "%s: out of memory", path);
		err = take_service(cfg_getnsec(cfg, "service", s), &config->service[s]);
		if (err)
			return error_set(error, err, "%s:%d: the user of service \"%s\": %s", path,
					 config->service[s].line, config->service[s].name,
					 strerror(-err));
		for (unsigned int other = 0; other < s; other++) {
			if (same_listener(&config->service[s], &config->service[other], text))
				return error_set(error, -EINVAL,
						 "%s:%d: service \"%s\" listens on %s, and so does "
						 "service \"%s\"",
						 path, config->service[s].line,
						 config->service[s].name, text,
						 config->service[other].name);
		}
		err = config_lb_take(cfg_getnsec(cfg, "service", s), config, s);
		if (err)
			return err;
	}
	return 0;
}

static cfg_t *make_parser(void)
{
	static cfg_opt_t service[] = {
		CFG_STR_LIST("listen", "{}", CFGF_NONE),
		CFG_STR_LIST("interface", "{}", CFGF_NONE),
		CFG_STR("netns", NULL, CFGF_NONE),
		CFG_STR("user", NULL, CFGF_NONE),
		CFG_INT("cid_length", DEFAULT_CID_LENGTH, CFGF_NONE),
		CFG_INT("max_cids", DEFAULT_MAX_CIDS, CFGF_NONE),
		CFG_STR("unknown_cid", "hash", CFGF_NONE),
		CFG_STR("malformed", "hash", CFGF_NONE),
		CFG_STR("not_quic", "quic", CFGF_NONE),
		CFG_STR("small_initial", "count", CFGF_NONE),
		CFG_BOOL("shared_table", cfg_true, CFGF_NONE),
		CFG_INT("drain_seconds", 0, CFGF_NONE),
		CFG_STR("cpu", "asked", CFGF_NONE),
		CFG_STR("behind_device", "never", CFGF_NONE),
		CFG_STR("no_xsk", "pass", CFGF_NONE),
		CFG_SEC("quic_lb", config_lb_options,
			CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_SEC("worker_key", config_key_options, CFGF_MULTI), /* each, to be counted */
		CFG_END(),
	};
	static cfg_opt_t top[] = {
		CFG_SEC("service", service, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_INT("cpu_queue", DEFAULT_CPU_QUEUE, CFGF_NONE),
		CFG_INT(END_OPTION, 0, CFGF_NONE),
		CFG_END(),
	};
	cfg_t *cfg = cfg_init(top, CFGF_NONE);

	if (!cfg)
		return NULL;
	cfg_set_error_function(cfg, note_error);
	cfg_set_validate_func(cfg, "service", check_title);
	cfg_set_validate_func(cfg, "service|listen", check_listen);
	cfg_set_validate_func(cfg, "service|interface", check_interface);
	cfg_set_validate_func(cfg, "service|netns", check_netns);
	cfg_set_validate_func(cfg, "service|user", check_user);
	cfg_set_validate_func(cfg, "service|cid_length", check_cid_length);
	cfg_set_validate_func(cfg, "service|max_cids", check_max_cids);
	cfg_set_validate_func(cfg, "service|unknown_cid", check_policy);
	cfg_set_validate_func(cfg, "service|malformed", check_policy);
	cfg_set_validate_func(cfg, "service|not_quic", check_policy);
	cfg_set_validate_func(cfg, "service|small_initial", check_policy);
	cfg_set_validate_func(cfg, "service|drain_seconds", check_drain_seconds);
	cfg_set_validate_func(cfg, "service|cpu", check_cpu);
	cfg_set_validate_func(cfg, "service|behind_device", check_behind_device);
	cfg_set_validate_func(cfg, "service|no_xsk", check_policy);
	config_lb_watch(cfg);
	cfg_set_validate_func(cfg, "cpu_queue", check_cpu_queue);
	return cfg;
}

/* The whole file and END_TEXT behind it, for free(); or NULL and errno. */
static char *read_file(const char *path)
{
	_cleanup_file_ FILE *file = fopen(path, "re");
	char *text = malloc(MAX_FILE_BYTES + sizeof(END_TEXT));
	size_t len = 0;

	if (file && text) {
		len = fread(text, 1, MAX_FILE_BYTES, file);
		if (len == MAX_FILE_BYTES)
			errno = EFBIG;
		else if (memchr(text, '\0', len))
			errno = EILSEQ;
		else if (!ferror(file))
			return strcpy(text + len, END_TEXT), text;
	}
	free(text);
	return NULL;
}

static int count_lines(const char *text)
{
	int lines = 0;

	/* END_TEXT begins and ends a line. */
	while ((text = strchr(text, '\n')))
		lines++, text++;
	return lines - 1;
}

static int parse(const char *path, cfg_t *cfg, struct config *config, struct error *error)
{
	_cleanup_free_ char *text = read_file(path);
	int result;

	if (!text)
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	error->line[0] = '\0';
	reading = error;
	reading_path = path;
	reading_lines = count_lines(text);
	result = cfg_parse_buf(cfg, text);
	if (!result && !cfg_getint(cfg, END_OPTION))
		result = error_set(error, -EINVAL,
				   "%s: the file ends in the midst of a text: a \" is missing",
				   path);
	else if (!result)
		result = take_all(path, cfg, config, error);
	else if (error->line[0])
		result = -EINVAL;
	else
		result = error_set(error, -EINVAL, "%s: not a configuration", path);
	reading = NULL;
	return result;
}

int config_read(const char *path, struct config **config, struct error *error)
{
	_cleanup_config_ struct config *made = calloc(1, sizeof(*made));
	cfg_t *cfg = make_parser();
	int err;

	err = made && cfg ? parse(path, cfg, made, error) :
			    error_set(error, -ENOMEM, "%s: out of memory", path);
	cfg_free(cfg);
	if (err)
		return err;
	*config = made;
	made = NULL;
	return 0;
}

void config_free(struct config *config)
{
	if (config)
		explicit_bzero(config, sizeof(*config));
	free(config);
}
