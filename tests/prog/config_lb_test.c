// SPDX-License-Identifier: GPL-2.0-only
/* quic_lb and worker_key of the configuration file, and the files that have keys. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_file.h"

#define KEY SANDBOX "/key"
#define DIGITS "8f95f09245765f80256934e50c66207f"

static const __u8 octets[CONFIG_LB_KEY] = { 0x8f, 0x95, 0xf0, 0x92, 0x45, 0x76, 0x5f, 0x80,
					    0x25, 0x69, 0x34, 0xe5, 0x0c, 0x66, 0x20, 0x7f };

/* Line 3 is the first of @x, and the last line is the service's }. */
#define SERVICE(x) "service \"a\" {\n" L "\n" x "\n}"

/* Line 6 is the first of @x, and 7 that of the section's } if it is the only one. */
#define LB(id, x) "quic_lb \"" id "\" {\nserver_id_length = 3\nnonce_length = 4\n" x "\n}"
#define ONE(x) SERVICE(LB("0", x))

/* Line 3 is @x. */
#define EXTRACT(x) SERVICE("worker_key { " x " }")

/* How often the key, or its digits, were where the code wiped. */
static int wiped;

/* In place of that of libc.  The compiler takes it for one that only writes. */
void explicit_bzero(void *at, size_t len)
{
	__asm__ volatile("" : "+r"(at) : : "memory");
	wiped += memmem(at, len, octets, sizeof(octets)) || memmem(at, len, DIGITS, 32);
	memset(at, 0, len);
	__asm__ volatile("" : : "r"(at) : "memory");
}

static void write_key(const char *path, const void *text, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	check(fd >= 0 && write(fd, text, len) == (ssize_t)len && !fchmod(fd, mode) && !close(fd),
	      "%s: %s", path, strerror(errno));
}

static void begin(void)
{
	sandbox_enter(30);
	write_key(KEY, DIGITS "\n", 33, 0600);
}

TestSuite(config_lb, .init = begin);

struct mistake {
	const char *text;
	int line;
	const char *reason;
};

static void all_refused(const struct mistake *mistakes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		refused(mistakes[i].text, mistakes[i].line, mistakes[i].reason);
}

Test(config_lb, a_mistake_of_an_id_or_a_length_is_named)
{
	static const struct mistake mistakes[] = {
		{ SERVICE("quic_lb { }"), 3, "missing title" },
		{ SERVICE(LB("", "")), 7, "quic_lb \"\": its name is its id, a number from 0 to" },
		{ SERVICE(LB("x", "")), 7, "quic_lb \"x\": its name is its id" },
		{ SERVICE(LB("-1", "")), 7, "quic_lb \"-1\": its name is its id" },
		{ SERVICE(LB("0x1", "")), 7, "quic_lb \"0x1\": its name is its id" },
		{ SERVICE(LB(" 1", "")), 7, "quic_lb \" 1\": its name is its id" },
		{ SERVICE(LB("00", "")), 7, "quic_lb \"00\": its name is its id" },
		{ SERVICE(LB("7", "")), 7, "quic_lb \"7\": its id is not 0 to 6: 3 bits have" },
		{ SERVICE(LB("8", "")), 7, "quic_lb \"8\": its id is not 0 to 6" },
		{ SERVICE(LB("256", "")), 7, "quic_lb \"256\": its id is not 0 to 6" },
		{ SERVICE(LB("18446744073709551616", "")), 7, "its id is not 0 to 6" },
		{ SERVICE(LB("1", "") "\n" LB("1", "")), 8, "found duplicate title '1'" },
		{ SERVICE("quic_lb \"0\" {\nnonce_length = 4\n}"), 5,
		  "quic_lb \"0\": it has no server_id_length" },
		{ SERVICE("quic_lb \"0\" {\nserver_id_length = 4\n}"), 5,
		  "quic_lb \"0\": it has no nonce_length" },
		{ ONE("server_id_length = 0"), 6,
		  "server_id_length = 0: the server ID has no octet" },
		{ ONE("server_id_length = -1"), 6, "server_id_length = -1: the server ID has no" },
		{ ONE("server_id_length = 16"), 6, "the server ID has more than 15 octets" },
		{ ONE("server_id_length = 260"), 6,
		  "server_id_length = 260: the server ID has more than 15 octets" },
		{ ONE("server_id_length = 4294967299"), 6, "has more than 15 octets" },
		{ ONE("server_id_length = x"), 6, "server_id_length" },
		{ ONE("nonce_length = 3"), 6, "nonce_length = 3: the nonce has less than 4" },
		{ ONE("nonce_length = -252"), 6, "nonce_length = -252: the nonce has less than" },
		{ ONE("nonce_length = 19"), 6, "server ID and nonce have more than 19 octets" },
		{ ONE("nonce_length = 260"), 6, "nonce_length = 260: server ID and nonce have" },
		{ ONE("nonce_length = 17"), 7,
		  "quic_lb \"0\": server ID and nonce have more than 19 octets" },
		{ ONE("cid_length = 7"), 7,
		  "quic_lb \"0\": cid_length = 7: first octet, server ID and nonce have 8" },
		{ ONE("cid_length = 5"), 6, "cid_length = 5: not in 6..20" },
		{ ONE("cid_length = 21"), 6, "cid_length = 21: not in 6..20" },
		{ ONE("cid_length = 264"), 6, "cid_length = 264: not in 6..20" },
		{ ONE("cid_length = 8\ntells_length = yes"), 8,
		  "quic_lb \"0\": with tells_length = yes each ID tells its length: leave out" },
		{ ONE("tells_length = maybe"), 6, "tells_length" },
		{ ONE("active = 1"), 6, "active" },
		{ ONE("colour = 1"), 6, "colour" },
		{ "service \"a\" {\n" L "\nquic_lb \"0\" {\n", 4, "a } is missing" },
	};

	all_refused(mistakes, COUNT(mistakes));
}

Test(config_lb, a_mistake_of_hosts_is_named)
{
	static const struct mistake mistakes[] = {
		{ ONE("host = \"\""), 6,
		  "host \"\": not 1 to 14 octets of two hexadecimal digits" },
		{ ONE("host = \"a\""), 6, "host \"a\": not 1 to 14 octets" },
		{ ONE("host = \"abc\""), 6, "host \"abc\": not" },
		{ ONE("host = \"ag\""), 6, "host \"ag\": not" },
		{ ONE("host = \"0x\""), 6, "host \"0x\": not" },
		{ ONE("host = \"a1 \""), 6, "host \"a1 \": not" },
		{ ONE("host = \"000102030405060708090a0b0c0d0e\""), 6, "not 1 to 14 octets" },
		{ ONE("host = \"a1b2c3\""), 7,
		  "quic_lb \"0\": host \"a1b2c3\" has 3 octets of 3 that a server ID has" },
		{ ONE("host = \"a1b2c3d4\""), 7, "has 4 octets of 3" },
		{ ONE("other_hosts = {\"a2\"}"), 7,
		  "quic_lb \"0\": it has other_hosts and no host" },
		{ ONE("host = \"a1\"\nother_hosts = {\"a2\",\n\"g\"}"), 8,
		  "other_hosts \"g\": not" },
		{ ONE("host = \"a1\"\nother_hosts = {\"\"}"), 7, "other_hosts \"\": not 1 to 14" },
		{ ONE("host = \"a1\"\nother_hosts = {\"a2\", \"a2b3\"}"), 8,
		  "quic_lb \"0\": other_hosts \"a2b3\": give it as many octets as host" },
		{ ONE("other_hosts = {\"a2\"}\nhost = \"a1b2\""), 8,
		  "other_hosts \"a2\": give it" },
		{ ONE("host = \"a1\"\nother_hosts = {\"a2\", \"A1\"}"), 8,
		  "other_hosts \"A1\" is this host" },
		{ ONE("host = \"a1\"\nother_hosts = {\"a2\", \"ab\", \"AB\"}"), 8,
		  "other_hosts \"AB\" is there twice" },
	};

	all_refused(mistakes, COUNT(mistakes));
}

Test(config_lb, a_mistake_of_what_is_beside_it_is_named)
{
	static const struct mistake mistakes[] = {
		{ SERVICE(LB("0", "active = yes") "\n" LB("1", "") "\n" LB("2", "active = yes")),
		  17, "quic_lb \"2\": quic_lb \"0\" is active too" },
		{ SERVICE("cid_length = 0\n" LB("0", "")), 8,
		  "quic_lb \"0\": the service has cid_length = 0" },
		{ SERVICE(LB("0", "") "\ncid_length = 0"), 7, "has cid_length = 0" },
		{ SERVICE(LB("0", "") "\nworker_key {\n}"), 9,
		  "worker_key: it is beside quic_lb: keep one of them" },
		{ SERVICE("worker_key { }\n\n" LB("0", "")), 3, "worker_key: it is beside" },
		{ SERVICE("worker_key { }\n\nworker_key { }"), 5, "worker_key: it is there twice" },
		{ EXTRACT("length = 8 from = \"cookie\""), 3, "worker_key: it has no offset" },
		{ EXTRACT("offset = 0 from = \"cookie\""), 3, "worker_key: it has no length" },
		{ EXTRACT("offset = 0 length = 8"), 3, "worker_key: it has no from" },
		{ EXTRACT("\noffset = -1"), 4, "offset = -1: not in 0..19" },
		{ EXTRACT("\noffset = 20"), 4, "offset = 20: not in 0..19" },
		{ EXTRACT("\noffset = 256"), 4, "offset = 256: not in 0..19" },
		{ EXTRACT("\nlength = 0"), 4, "length = 0: not in 1..15" },
		{ EXTRACT("\nlength = 16"), 4, "length = 16: not in 1..15" },
		{ EXTRACT("\nlength = 264"), 4, "length = 264: not in 1..15" },
		{ EXTRACT("\nfrom = \"socket\""), 4,
		  "from = \"socket\": not \"cookie\" or \"worker\"" },
		{ EXTRACT("\nbyte_order = \"\""), 4,
		  "byte_order = \"\": not \"big\" or \"little\"" },
		{ EXTRACT("\ncolour = 1"), 4, "colour" },
		{ EXTRACT("offset = 0 length = 7 from = \"cookie\""), 3,
		  "worker_key: a cookie has 8 octets" },
		{ EXTRACT("offset = 1 length = 8 from = \"cookie\""), 3,
		  "worker_key: offset + length is 9, and the service has cid_length = 8" },
		{ SERVICE("cid_length = 0\nworker_key {\noffset = 0 length = 1 from = "
			  "\"worker\"\n}"),
		  6, "offset + length is 1, and the service has cid_length = 0" },
		{ SERVICE("worker_key { offset = 4 length = 4 from = \"worker\" }\ncid_length = 7"),
		  3, "offset + length is 8, and the service has cid_length = 7" },
	};

	all_refused(mistakes, COUNT(mistakes));
}

/* A service of @hosts other hosts, and one that takes all of them but the last @left. */
static void many_hosts(char *text, unsigned int hosts, unsigned int left)
{
	char *at = text;

	for (int s = 0; s < 2; s++) {
		at += sprintf(at,
			      "service \"s%d\" { listen = {\"[::]:%d\"}\nquic_lb \"0\" { "
			      "server_id_length = 3 nonce_length = 4 host = \"ffff\" "
			      "other_hosts = {\"fffe\"",
			      s, s + 1);
		for (unsigned int i = 1; i < (s ? CONFIG_MAX_HOSTS - left : hosts); i++)
			at += sprintf(at, ", \"%04x\"", i);
		at += sprintf(at, "} } }\n");
	}
}

Test(config_lb, no_more_hosts_than_fit_in_all_services)
{
	char *text = malloc(1 << 20);
	struct config *config;

	many_hosts(text, 100, 100);
	config = accepted(text);
	check(config->host_count == CONFIG_MAX_HOSTS, "%u hosts", config->host_count);
	check(config->host[99].service == 0 && config->host[100].service == 1, "their services");
	config_free(config);
	many_hosts(text, 101, 100);
	refused(text, 4, "quic_lb \"0\": no more than 4096 other_hosts in all services");
	free(text);
}

static void same_lb(const struct config_lb *lb, const struct config_lb *expected)
{
	check(lb->id == expected->id && lb->server_id_len == expected->server_id_len &&
		      lb->nonce_len == expected->nonce_len && lb->cid_len == expected->cid_len,
	      "id %u: %u %u %u", lb->id, lb->server_id_len, lb->nonce_len, lb->cid_len);
	check(lb->active == expected->active && lb->has_key == expected->has_key &&
		      !memcmp(lb->key, expected->key, sizeof(lb->key)),
	      "id %u: active, key", lb->id);
	check(lb->host_len == expected->host_len &&
		      !memcmp(lb->host, expected->host, sizeof(lb->host)),
	      "id %u: host", lb->id);
	check(lb->line == expected->line, "id %u: line %d", lb->id, lb->line);
}

Test(config_lb, what_is_not_said_has_its_default)
{
	struct config *config = accepted(SERVICE(LB("6", "")));
	const struct config_service *service = &config->service[0];
	const struct config_lb expected = {
		.id = 6, .server_id_len = 3, .nonce_len = 4, .cid_len = 8, .line = 7
	};

	check(service->lb_count == 1 && service->extract.key == CONFIG_KEY_NONE, "sections");
	same_lb(&service->lb[0], &expected);
	check(!config->host_count, "hosts");
	config_free(config);
	config = accepted(SERVICE(""));
	check(!config->service[0].lb_count && config->service[0].extract.key == CONFIG_KEY_NONE,
	      "a service without");
	config_free(config);
}

Test(config_lb, what_is_said_is_read)
{
	struct config *config = accepted(
		"service \"one\" { listen = {\"[::]:1\"} cid_length = 20\n"
		"quic_lb \"3\" { server_id_length = 15 nonce_length = 4 cid_length = 20 "
		"host = \"000102030405060708090A0b0c0d\" active = yes key_file = \"" KEY "\" }\n"
		"quic_lb \"0\" { server_id_length = 1 nonce_length = 18 tells_length = yes }\n"
		"quic_lb \"6\" { server_id_length = 2 nonce_length = 4 cid_length = 9\n"
		"host = \"a1\" other_hosts = {} }\n}\n"
		"service \"two\" { listen = {\"[::]:2\"}\n"
		"quic_lb \"6\" { other_hosts = {\"a2b4\"} other_hosts += {\"a1f0\", \"A1B3\"}\n"
		"active = yes host = \"a1b2\" nonce_length = 13 server_id_length = 3 } }");
	const struct config_service *one = &config->service[0], *two = &config->service[1];
	struct config_lb of_three = { .id = 3,
				      .server_id_len = 15,
				      .nonce_len = 4,
				      .cid_len = 20,
				      .active = true,
				      .has_key = true,
				      .host_len = 14,
				      .host = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 },
				      .line = 2 };
	const struct config_host hosts[] = { { 1, 6, { 0xa2, 0xb4 } },
					     { 1, 6, { 0xa1, 0xf0 } },
					     { 1, 6, { 0xa1, 0xb3 } } };

	memcpy(of_three.key, octets, sizeof(octets));
	check(one->lb_count == 3 && two->lb_count == 1, "%u, %u", one->lb_count, two->lb_count);
	same_lb(&one->lb[0], &of_three);
	same_lb(&one->lb[1],
		&(struct config_lb){
			.id = 0, .server_id_len = 1, .nonce_len = 18, .cid_len = 0, .line = 3 });
	same_lb(&one->lb[2], &(struct config_lb){ .id = 6,
						  .server_id_len = 2,
						  .nonce_len = 4,
						  .cid_len = 9,
						  .host_len = 1,
						  .host = { 0xa1 },
						  .line = 5 });
	same_lb(&two->lb[0], &(struct config_lb){ .id = 6,
						  .server_id_len = 3,
						  .nonce_len = 13,
						  .cid_len = 17,
						  .active = true,
						  .host_len = 2,
						  .host = { 0xa1, 0xb2 },
						  .line = 9 });
	check(config->host_count == COUNT(hosts), "%u hosts", config->host_count);
	for (size_t i = 0; i < COUNT(hosts); i++)
		check(config->host[i].service == hosts[i].service &&
			      config->host[i].lb == hosts[i].lb &&
			      !memcmp(config->host[i].host, hosts[i].host, sizeof(hosts[i].host)),
		      "host %zu", i);
	config_free(config);
}

/* As when a key is changed. */
Test(config_lb, a_host_may_be_in_several_configurations)
{
	struct config *config =
		accepted(SERVICE(LB("0", "host = \"a1\" other_hosts = {\"a2\"}")
					 LB("1", "host = \"a1\" other_hosts = {\"a2\"}")));

	check(config->host_count == 2 && config->host[0].lb == 0 && config->host[1].lb == 1,
	      "%u hosts", config->host_count);
	config_free(config);
}

Test(config_lb, all_seven_configurations_are_read)
{
	struct config *config = accepted(SERVICE(LB("6", "") LB("5", "") LB("4", "") LB("3", "")
							 LB("2", "") LB("1", "")
								 LB("0", "active = yes")));

	check(config->service[0].lb_count == CS_LB_CONFIGS, "count");
	for (unsigned int i = 0; i < CS_LB_CONFIGS; i++)
		check(config->service[0].lb[i].id == 6 - i &&
			      config->service[0].lb[i].active == (i == 6),
		      "number %u", i);
	config_free(config);
	refused(SERVICE(LB("6", "") LB("5", "") LB("4", "") LB("3", "") LB("2", "") LB("1", "")
				LB("0", "") LB("7", "")),
		35, "quic_lb \"7\": its id is not 0 to 6");
}

Test(config_lb, another_format_is_read)
{
	static const struct {
		const char *text;
		struct config_extract expected;
	} cases[] = {
		{ EXTRACT("offset = 0 length = 8 from = \"cookie\""),
		  { CONFIG_KEY_COOKIE, 0, 8, false, 3 } },
		{ EXTRACT("byte_order = \"little\" from = \"cookie\" length = 8 offset = 0"),
		  { CONFIG_KEY_COOKIE, 0, 8, true, 3 } },
		{ SERVICE("worker_key { offset = 5 length = 15 from = \"worker\"\n"
			  "byte_order = \"big\" }\ncid_length = 20"),
		  { CONFIG_KEY_WORKER, 5, 15, false, 4 } },
		{ EXTRACT("offset = 7 length = 1 from = \"worker\""),
		  { CONFIG_KEY_WORKER, 7, 1, false, 3 } },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct config *config = accepted(cases[i].text);
		const struct config_extract *got = &config->service[0].extract,
					    *expected = &cases[i].expected;

		check(got->key == expected->key && got->at == expected->at &&
			      got->len == expected->len &&
			      got->little_endian == expected->little_endian &&
			      got->line == expected->line && !config->service[0].lb_count,
		      "%s: %u %u %u %u %d", cases[i].text, got->key, got->at, got->len,
		      got->little_endian, got->line);
		config_free(config);
	}
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* The reason begins with the path, says @reason and nothing of what is in the file. */
static void key_refused(const char *path, int expected, const char *reason)
{
	__u8 key[CONFIG_LB_KEY], untouched[CONFIG_LB_KEY];
	struct error error = { "" };
	int err;

	memset(key, 0x5a, sizeof(key));
	memset(untouched, 0x5a, sizeof(untouched));
	err = config_read_key(path, key, &error);
	check(err == expected, "%s: %d for \"%s\"", path, err, reason);
	check(!strncmp(error.line, path, strlen(path)) && strstr(error.line, reason),
	      "\"%s\" instead of \"%s\"", error.line, reason);
	check(!strstr(error.line, "8f95") && !strstr(error.line, "8F95"), "%s", error.line);
	check(!memcmp(key, untouched, sizeof(key)), "a key was handed out: %s", reason);
}

Test(config_lb, a_key_is_read_with_white_space_around_it)
{
	static const char *const texts[] = {
		DIGITS,
		DIGITS "\n",
		DIGITS "\r\n",
		" \t\n" DIGITS " \n\n",
		"8F95F09245765F80256934E50C66207F\n",
		"                                                                              "
		"                " DIGITS,
	};

	for (size_t i = 0; i < COUNT(texts); i++) {
		__u8 key[CONFIG_LB_KEY] = { 0 };
		struct error error = { "" };

		write_key(KEY, texts[i], strlen(texts[i]), i % 2 ? 0400 : 0600);
		check(!config_read_key(KEY, key, &error), "text %zu: %s", i, error.line);
		check(!memcmp(key, octets, sizeof(key)), "text %zu", i);
	}
}

Test(config_lb, what_is_no_key_is_refused)
{
	static const char *const texts[] = {
		"",
		"\n",
		"8f95f09245765f80256934e50c66207",
		"8f95f09245765f80256934e50c6620",
		DIGITS "0",
		DIGITS "00",
		DIGITS "\n" DIGITS "\n",
		"8f95f09245765f80 256934e50c66207f",
		"0x8f95f09245765f80256934e50c66207f",
		"8f95f09245765f80256934e50c66207g",
		"8f95f09245765f80256934e50c66207\xff",
		DIGITS " #",
		/* It begins with a key, and has more than is read. */
		DIGITS "                                                                "
		       "                                                                ",
	};

	for (size_t i = 0; i < COUNT(texts); i++) {
		write_key(KEY, texts[i], strlen(texts[i]), 0600);
		key_refused(KEY, -EINVAL, "not a key, which is 32 hexadecimal digits");
	}
	write_key(KEY, DIGITS "\0g", 34, 0600);
	key_refused(KEY, -EINVAL, "not a key");
	write_key(KEY, DIGITS "\0", 33, 0600);
	key_refused(KEY, -EINVAL, "not a key");
}

Test(config_lb, a_key_that_others_can_reach_is_refused)
{
	static const mode_t modes[] = { 0640, 0620, 0610, 0604, 0602, 0601, 0666, 04755 };

	for (size_t i = 0; i < COUNT(modes); i++) {
		check(!chmod(KEY, modes[i]), "chmod");
		key_refused(KEY, -EACCES, "others may read or write it: chmod 600 " KEY);
	}
	check(!chmod(KEY, 0600) && !chown(KEY, UID_NOBODY, 0), "chown");
	key_refused(KEY, -EACCES, "user 65534 owns it");
	check(!chown(KEY, 0, UID_NOBODY), "chown");
	check(!symlink(KEY, SANDBOX "/link"), "symlink");
	key_refused(SANDBOX "/link", -ELOOP, "it is a symbolic link");
}

Test(config_lb, what_is_no_file_is_refused)
{
	check(!mkdir(SANDBOX "/directory", 0700), "mkdir");
	key_refused(SANDBOX "/directory", -EINVAL, "it is not a regular file");
	check(!mkfifo(SANDBOX "/pipe", 0600), "mkfifo");
	key_refused(SANDBOX "/pipe", -EINVAL, "it is not a regular file");
	key_refused("/dev/zero", -EINVAL, "it is not a regular file");
	key_refused(SANDBOX "/none", -ENOENT, "there is no such file: openssl rand -hex 16");
	key_refused(KEY "/none", -ENOTDIR, "Not a directory");
	key_refused("", -ENOENT, "there is no such file");
}

/* Whoever reads it may own it too; root's is everybody's. */
static int read_as_other(void *arg)
{
	__u8 key[CONFIG_LB_KEY];
	struct error error = { "" };

	return config_read_key(arg, key, &error) ? 1 : 0;
}

Test(config_lb, who_reads_a_key_may_own_it)
{
	__u8 key[CONFIG_LB_KEY];
	struct error error = { "" };

	check(!chown(KEY, UID_OTHER, 0), "chown");
	check(spawn_result(spawn_as(UID_OTHER, read_as_other, KEY)) == 0, "its owner");
	check(spawn_result(spawn_as(UID_NOBODY, read_as_other, KEY)) == 1, "another user");
	key_refused(KEY, -EACCES, "user 1 owns it");
	/* Another user, who may read what root may. */
	check(!chown(KEY, 0, 0) && !seteuid(UID_OTHER), "seteuid");
	setfsuid(0);
	check(!config_read_key(KEY, key, &error), "root's: %s", error.line);
}

Test(config_lb, a_key_file_is_refused_with_the_line_that_names_it)
{
	write_key(KEY, "8f95f09245765f80256934e50c66207", 31, 0600);
	refused(ONE("key_file = \"" KEY "\"\nactive = yes"), 6, "key_file: " KEY ": not a key");
	write_key(KEY, DIGITS, 32, 0644);
	refused(ONE("\nkey_file = \"" KEY "\""), 7, "chmod 600 " KEY);
	refused(ONE("key_file = \"/mnt/none\""), 6, "key_file: /mnt/none: there is no such file");
}

static void expect_wiped(int times, const char *what)
{
	check(wiped == times, "%s: wiped %d times instead of %d", what, wiped, times);
	wiped = 0;
}

Test(config_lb, keys_are_wiped)
{
	struct error error = { "" };
	struct config *config;
	__u8 key[CONFIG_LB_KEY];

	check(!config_read_key(KEY, key, &error), "%s", error.line);
	expect_wiped(1, "the file's text");
	write_key(KEY, DIGITS "0", 33, 0600);
	key_refused(KEY, -EINVAL, "not a key");
	expect_wiped(1, "the text of what is no key");
	write_key(KEY, DIGITS, 32, 0600);
	config = accepted(ONE("key_file = \"" KEY "\""));
	expect_wiped(3, "twice the text, once the key");
	config_free(config);
	expect_wiped(1, "the configuration");
	refused(ONE("key_file = \"" KEY "\"\n") "\nservice \"b\" { " L " }", 10, "listens on");
	expect_wiped(4, "a configuration with a mistake");
	config_free(NULL);
}

Test(config_lb, hexadecimal_is_read_whole_or_not_at_all)
{
	__u8 got[3] = { 1, 2, 3 };

	check(config_hex("", got, 3) == 0 && config_hex("00ff", got, 3) == 2 && got[0] == 0 &&
		      got[1] == 0xff && got[2] == 3,
	      "two octets");
	check(config_hex("9aFAf0", got, 3) == 3 && got[0] == 0x9a && got[1] == 0xfa &&
		      got[2] == 0xf0,
	      "three octets");
	check(config_hex("0011223", got, 4) == -EINVAL &&
		      config_hex("00112233", got, 3) == -EINVAL &&
		      config_hex("00g0", got, 3) == -EINVAL &&
		      config_hex("00/0", got, 3) == -EINVAL &&
		      config_hex("00:0", got, 3) == -EINVAL &&
		      config_hex("00@0", got, 3) == -EINVAL &&
		      config_hex("00`0", got, 3) == -EINVAL &&
		      config_hex("00 1", got, 3) == -EINVAL,
	      "what is none");
	check(got[0] == 0x9a && got[1] == 0xfa && got[2] == 0xf0, "written to all the same");
}
