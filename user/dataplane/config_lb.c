// SPDX-License-Identifier: GPL-2.0-only
/* Sections of a service whose IDs say who made them: quic_lb and worker_key. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/config_lb.h"

#define COOKIE_BYTES 8

/*
 * Without defaults: libconfuse cannot lack the memory for one, and what is not said can be told
 * from what is.
 */
cfg_opt_t config_lb_options[] = {
	CFG_INT("server_id_length", 0, CFGF_NODEFAULT),
	CFG_INT("nonce_length", 0, CFGF_NODEFAULT),
	CFG_STR("key_file", NULL, CFGF_NODEFAULT),
	CFG_INT("cid_length", 0, CFGF_NODEFAULT),
	CFG_BOOL("tells_length", cfg_false, CFGF_NODEFAULT),
	CFG_STR("host", NULL, CFGF_NODEFAULT),
	CFG_STR_LIST("other_hosts", NULL, CFGF_NODEFAULT),
	CFG_BOOL("active", cfg_false, CFGF_NODEFAULT),
	CFG_END(),
};

cfg_opt_t config_key_options[] = {
	CFG_INT("offset", 0, CFGF_NODEFAULT),
	CFG_INT("length", 0, CFGF_NODEFAULT),
	CFG_STR("from", NULL, CFGF_NODEFAULT),
	CFG_STR("byte_order", NULL, CFGF_NODEFAULT),
	CFG_END(),
};

void config_forget_keys(struct config *config)
{
	for (unsigned int s = 0; s < config->count; s++) {
		for (unsigned int i = 0; i < config->service[s].lb_count; i++) {
			struct config_lb *lb = &config->service[s].lb[i];

			explicit_bzero(lb->key, sizeof(lb->key));
			lb->key_forgotten = lb->has_key;
		}
	}
}

static __u8 digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

int config_hex(const char *text, __u8 *octets, unsigned int most)
{
	size_t len = strlen(text);

	if (len % 2 || len / 2 > most || strspn(text, "0123456789abcdefABCDEF") != len)
		return -EINVAL;
	for (size_t i = 0; i < len; i += 2)
		octets[i / 2] = digit(text[i]) << 4 | digit(text[i + 1]);
	return len / 2;
}

/* Begins with the section's name; returns -EINVAL. */
__attribute__((format(printf, 2, 3))) static int refuse(cfg_t *section, const char *format, ...)
{
	const char *title = cfg_title(section);
	struct error reason;
	va_list args;

	va_start(args, format);
	vsnprintf(reason.line, sizeof(reason.line), format, args);
	va_end(args);
	if (title)
		cfg_error(section, "%s \"%s\": %s", cfg_name(section), title, reason.line);
	else
		cfg_error(section, "%s: %s", cfg_name(section), reason.line);
	return -EINVAL;
}

/* ---- each option ------------------------------------------------------------------------------
 */

/* As digits say it, so that no id has two names.  More digits are no id either, but a number. */
static int find_id(const char *title)
{
	if (!*title || strspn(title, "0123456789") != strlen(title) || (*title == '0' && title[1]))
		return -EINVAL;
	return title[1] ? CS_LB_CONFIGS : *title - '0';
}

static int check_id(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	int id = find_id(cfg_title(section));
	const char *mistake;

	(void)cfg;
	if (id < 0)
		return refuse(section, "its name is its id, a number from 0 to 6: quic_lb \"0\"");
	mistake = cs_lb_mistake(id, CS_LB_MIN_SERVER_ID, CS_LB_MIN_NONCE);
	return mistake ? refuse(section, "%s", mistake) : 0;
}

/* A number of octets, for cs_lb_mistake(): what is no such number is none that it allows. */
static __u32 octets(long value)
{
	return value < 0 ? 0 : value > 0xff ? 0xff : value;
}

static int check_lengths(cfg_t *cfg, cfg_opt_t *opt, __u32 server_id_len, __u32 nonce_len)
{
	const char *mistake = cs_lb_mistake(0, server_id_len, nonce_len);

	if (!mistake)
		return 0;
	cfg_error(cfg, "%s = %ld: %s", cfg_opt_name(opt), cfg_opt_getnint(opt, 0), mistake);
	return -1;
}

static int check_server_id_length(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_lengths(cfg, opt, octets(cfg_opt_getnint(opt, 0)), CS_LB_MIN_NONCE);
}

static int check_nonce_length(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_lengths(cfg, opt, CS_LB_MIN_SERVER_ID, octets(cfg_opt_getnint(opt, 0)));
}

static int check_cid_length(cfg_t *cfg, cfg_opt_t *opt)
{
	return config_check_range(cfg, opt, 1 + CS_LB_MIN_SERVER_ID + CS_LB_MIN_NONCE, CS_MAX_CID);
}

/* It is read once more when the rest is known to be right. */
static int check_key_file(cfg_t *cfg, cfg_opt_t *opt)
{
	__u8 key[CONFIG_LB_KEY];
	struct error error;
	int err = config_read_key(cfg_opt_getnstr(opt, 0), key, &error);

	explicit_bzero(key, sizeof(key));
	if (err)
		cfg_error(cfg, "key_file: %s", error.line);
	return err ? -1 : 0;
}

static int check_host(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
	__u8 host[CS_LB_MAX_SERVER_ID];

	if (config_hex(text, host, CS_LB_MAX_SERVER_ID - 1) > 0)
		return 0;
	cfg_error(cfg, "%s \"%s\": not 1 to %d octets of two hexadecimal digits, like \"a1\"",
		  cfg_opt_name(opt), text, CS_LB_MAX_SERVER_ID - 1);
	return -1;
}

static int check_offset(cfg_t *cfg, cfg_opt_t *opt)
{
	return config_check_range(cfg, opt, 0, CS_MAX_CID - 1);
}

static int check_length(cfg_t *cfg, cfg_opt_t *opt)
{
	return config_check_range(cfg, opt, 1, CS_LB_MAX_SERVER_ID);
}

static int check_word(cfg_t *cfg, cfg_opt_t *opt, const char *one, const char *other)
{
	const char *word = cfg_opt_getnstr(opt, 0);

	if (!strcmp(word, one) || !strcmp(word, other))
		return 0;
	cfg_error(cfg, "%s = \"%s\": not \"%s\" or \"%s\"", cfg_opt_name(opt), word, one, other);
	return -1;
}

static int check_from(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_word(cfg, opt, "cookie", "worker");
}

static int check_byte_order(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_word(cfg, opt, "big", "little");
}

void config_lb_watch(cfg_t *cfg)
{
	cfg_set_validate_func(cfg, "service|quic_lb", check_id);
	cfg_set_validate_func(cfg, "service|quic_lb|server_id_length", check_server_id_length);
	cfg_set_validate_func(cfg, "service|quic_lb|nonce_length", check_nonce_length);
	cfg_set_validate_func(cfg, "service|quic_lb|key_file", check_key_file);
	cfg_set_validate_func(cfg, "service|quic_lb|cid_length", check_cid_length);
	cfg_set_validate_func(cfg, "service|quic_lb|host", check_host);
	cfg_set_validate_func(cfg, "service|quic_lb|other_hosts", check_host);
	cfg_set_validate_func(cfg, "service|worker_key|offset", check_offset);
	cfg_set_validate_func(cfg, "service|worker_key|length", check_length);
	cfg_set_validate_func(cfg, "service|worker_key|from", check_from);
	cfg_set_validate_func(cfg, "service|worker_key|byte_order", check_byte_order);
}

/* ---- a section --------------------------------------------------------------------------------
 */

static int take_lengths(cfg_t *from, struct config_lb *to)
{
	const char *mistake;

	if (!cfg_size(from, "server_id_length"))
		return refuse(from, "it has no server_id_length: server_id_length = 3");
	if (!cfg_size(from, "nonce_length"))
		return refuse(from, "it has no nonce_length: nonce_length = 4");
	to->id = find_id(cfg_title(from));
	to->server_id_len = cfg_getint(from, "server_id_length");
	to->nonce_len = cfg_getint(from, "nonce_length");
	mistake = cs_lb_mistake(to->id, to->server_id_len, to->nonce_len);
	return mistake ? refuse(from, "%s", mistake) : 0;
}

static int take_cid_length(cfg_t *from, struct config_lb *to)
{
	long least = 1 + to->server_id_len + to->nonce_len;
	bool tells = cfg_getbool(from, "tells_length"), said = cfg_size(from, "cid_length");
	long len = said ? cfg_getint(from, "cid_length") : least;

	if (tells && said)
		return refuse(from, "with tells_length = yes each ID tells its length: leave out "
				    "cid_length");
	if (len < least)
		return refuse(from,
			      "cid_length = %ld: first octet, server ID and nonce have %ld: say "
			      "that, or more, or leave it out",
			      len, least);
	to->cid_len = tells ? 0 : len;
	return 0;
}

static int take_key(cfg_t *from, struct config_lb *to)
{
	const char *path = cfg_getstr(from, "key_file");
	struct error error;
	int err;

	if (!path)
		return 0;
	err = config_read_key(path, to->key, &error);
	if (err)
		cfg_error(from, "key_file: %s", error.line);
	to->has_key = !err;
	return err;
}

static int take_host(cfg_t *from, struct config_lb *to)
{
	const char *host = cfg_getstr(from, "host");

	if (!host)
		return 0;
	to->host_len = config_hex(host, to->host, CS_LB_MAX_SERVER_ID);
	if (to->host_len < to->server_id_len)
		return 0;
	return refuse(from,
		      "host \"%s\" has %u octets of %u that a server ID has: leave one or more to "
		      "the workers",
		      host, to->host_len, to->server_id_len);
}

static int take_lb(cfg_t *from, struct config_lb *to)
{
	int err = take_lengths(from, to);

	if (!err)
		err = take_cid_length(from, to);
	if (!err)
		err = take_host(from, to);
	if (!err)
		err = take_key(from, to);
	to->active = cfg_getbool(from, "active");
	to->line = from->line;
	return err;
}

static bool is_there(const struct config *config, const struct config_host *host, unsigned int len)
{
	for (unsigned int i = 0; i < config->host_count; i++) {
		const struct config_host *other = &config->host[i];

		if (other->service == host->service && other->lb == host->lb &&
		    !memcmp(other->host, host->host, len))
			return true;
	}
	return false;
}

static int take_other(cfg_t *from, const char *text, const struct config_lb *lb,
		      struct config *config, unsigned int index)
{
	struct config_host host = { .service = index, .lb = lb->id };
	int len = config_hex(text, host.host, CS_LB_MAX_SERVER_ID);

	if (!lb->host_len)
		return refuse(from, "it has other_hosts and no host: say what the server IDs of "
				    "this host begin with");
	if (len != lb->host_len)
		return refuse(from,
			      "other_hosts \"%s\": give it as many octets as host, which has %u",
			      text, lb->host_len);
	if (!memcmp(host.host, lb->host, len))
		return refuse(from, "other_hosts \"%s\" is this host: name the others only", text);
	if (is_there(config, &host, len))
		return refuse(from, "other_hosts \"%s\" is there twice", text);
	if (config->host_count == CONFIG_MAX_HOSTS)
		return refuse(from, "no more than %d other_hosts in all services",
			      CONFIG_MAX_HOSTS);
	config->host[config->host_count++] = host;
	return 0;
}

static int take_others(cfg_t *from, const struct config_lb *lb, struct config *config,
		       unsigned int index)
{
	int err = 0;

	for (unsigned int i = 0; !err && i < cfg_size(from, "other_hosts"); i++)
		err = take_other(from, cfg_getnstr(from, "other_hosts", i), lb, config, index);
	return err;
}

/* What a configuration may not be beside others; -EINVAL. */
static int check_beside(cfg_t *from, const struct config_service *service,
			const struct config_lb *lb)
{
	if (!service->cid_len)
		return refuse(from, "the service has cid_length = 0, so its packets go by their "
				    "4-tuple: give it a cid_length, or leave out quic_lb");
	for (const struct config_lb *other = service->lb; other < lb; other++) {
		if (lb->active && other->active)
			return refuse(from, "quic_lb \"%u\" is active too: make IDs with one",
				      other->id);
	}
	return 0;
}

static int take_extract(cfg_t *from, const struct config_service *service,
			struct config_extract *to)
{
	const char *order = cfg_getstr(from, "byte_order");

	if (!cfg_size(from, "offset"))
		return refuse(from, "it has no offset: offset = 0");
	if (!cfg_size(from, "length"))
		return refuse(from, "it has no length: length = 8");
	if (!cfg_size(from, "from"))
		return refuse(from, "it has no from: from = \"cookie\" or \"worker\"");
	*to = (struct config_extract){
		.key = !strcmp(cfg_getstr(from, "from"), "cookie") ? CONFIG_KEY_COOKIE :
								     CONFIG_KEY_WORKER,
		.at = cfg_getint(from, "offset"),
		.len = cfg_getint(from, "length"),
		.little_endian = order && !strcmp(order, "little"),
		.line = from->line,
	};
	if (to->key == CONFIG_KEY_COOKIE && to->len != COOKIE_BYTES)
		return refuse(from, "a cookie has 8 octets: length = 8");
	if (to->at + to->len > service->cid_len)
		return refuse(from,
			      "offset + length is %u, and the service has cid_length = %u: make "
			      "that as long as the IDs are",
			      to->at + to->len, service->cid_len);
	return 0;
}

int config_lb_take(cfg_t *from, struct config *config, unsigned int index)
{
	struct config_service *service = &config->service[index];
	unsigned int count = cfg_size(from, "quic_lb"), keys = cfg_size(from, "worker_key");
	int err = 0;

	for (unsigned int i = 0; !err && i < count; i++) {
		struct config_lb *lb = &service->lb[i];
		cfg_t *section = cfg_getnsec(from, "quic_lb", i);

		/* There is room: each has another id. */
		err = take_lb(section, lb);
		if (!err)
			err = check_beside(section, service, lb);
		if (!err)
			err = take_others(section, lb, config, index);
		service->lb_count = i + 1;
	}
	if (err || !keys)
		return err;
	if (keys > 1)
		return refuse(cfg_getnsec(from, "worker_key", 1), "it is there twice");
	if (count)
		return refuse(cfg_getnsec(from, "worker_key", 0),
			      "it is beside quic_lb: keep one of them");
	return take_extract(cfg_getnsec(from, "worker_key", 0), service, &service->extract);
}
