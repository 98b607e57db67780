// SPDX-License-Identifier: GPL-2.0-only
/* The configuration file: each mistake is named with file, line and reason; and what is read. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "config_file.h"

static void begin(void)
{
	sandbox_enter(30);
}

TestSuite(config, .init = begin);

Test(config, a_mistake_is_named_with_file_line_and_reason)
{
	static const struct {
		const char *text;
		int line;
		const char *reason;
	} cases[] = {
		{ "", 1, "no service is configured" },
		{ "# nothing\n", 1, "no service is configured" },
		{ "service \"\" { " L " }", 1, "a service needs a name" },
		{ "\n\nservice \"a b\" { " L " }", 3, "service \"a b\": a name has 1 to 15" },
		{ "service \"sixteen-letters-\" { " L " }", 1, "a name has 1 to 15" },
		{ "service \"a\" { }", 1, "service \"a\" has no listen" },
		{ "service \"a\" {\n listen = {}\n}", 3, "service \"a\" has no listen" },
		{ "service \"a\" {\n" L "\ncid_length = 21\n}", 3,
		  "cid_length = 21: not in 0..20" },
		{ "service \"a\" {\n" L "\ncid_length = -1\n}", 3, "cid_length = -1: not in" },
		{ "service \"a\" {\n" L "\ncid_length = 4294967304\n}", 3, "not in 0..20" },
		{ "service \"a\" {\n" L "\ncid_length = eight\n}", 3, "cid_length" },
		{ "service \"a\" {\n" L "\ncid_length = 8x\n}", 3, "cid_length" },
		{ "service \"a\" {\n" L "\nmax_cids = 0\n}", 3,
		  "max_cids = 0: not in 1..67108864" },
		{ "service \"a\" {\n" L "\nmax_cids = 67108865\n}", 3, "not in 1..67108864" },
		{ "service \"a\" {\n" L "\nmax_cids = 4294967297\n}", 3, "not in 1..67108864" },
		{ "service \"a\" {\n" L "\nmax_cids = 99999999999999999999999\n}", 3, "max_cids" },
		{ "service \"a\" {\n" L "\nunknown_cid = \"quic\"\n}", 3,
		  "unknown_cid = \"quic\": not \"hash\", \"pass\" or \"drop\"" },
		{ "service \"a\" {\n" L "\nunknown_cid = \"\"\n}", 3, "unknown_cid = \"\": not" },
		{ "service \"a\" {\n" L "\nmalformed = \"count\"\n}", 3,
		  "malformed = \"count\": not \"hash\", \"pass\" or \"drop\"" },
		{ "service \"a\" {\n" L "\nmalformed = \"Drop\"\n}", 3,
		  "malformed = \"Drop\": not" },
		{ "service \"a\" {\n" L "\nnot_quic = \"count\"\n}", 3,
		  "not_quic = \"count\": not \"quic\", \"hash\", \"pass\" or \"drop\"" },
		{ "service \"a\" {\n" L "\nsmall_initial = \"hash\"\n}", 3,
		  "small_initial = \"hash\": not \"count\" or \"drop\"" },
		{ "service \"a\" {\n" L "\nsmall_initial = \"pass\"\n}", 3,
		  "small_initial = \"pass\": not" },
		{ "service \"a\" {\n" L "\nno_xsk = \"hash\"\n}", 3,
		  "no_xsk = \"hash\": not \"pass\" or \"drop\"" },
		{ "service \"a\" {\n" L "\nno_xsk = \"count\"\n}", 3, "no_xsk = \"count\": not" },
		{ "service \"a\" {\n" L "\nno_xsk = \"\"\n}", 3, "no_xsk = \"\": not" },
		{ "service \"a\" {\n" L "\nshared_table = maybe\n}", 3, "shared_table" },
		{ "service \"a\" {\n" L "\nuser = \"no-such-user\"\n}", 3, "does not exist" },
		{ "service \"a\" {\n" L "\nuser = \"\"\n}", 3, "does not exist" },
		{ "service \"a\" {\n" L "\ncolour = \"red\"\n}", 3, "colour" },
		{ "service \"a\" {\n" L "\ninterface = {\"\"}\n}", 3,
		  "interface \"\": a name has" },
		{ "service \"a\" {\n" L "\ninterface = {\"sixteen-letters-\"}\n}", 3,
		  "1 to 15 bytes" },
		{ "service \"a\" {\n" L "\nnetns = \"\"\n}", 3, "netns \"\": a name has 1 to 47" },
		{ "service \"a\" {\n" L "\nnetns = \"a/b\"\n}", 3, "netns \"a/b\": a name has" },
		{ "service \"a\" { netns = \"r\" " L " }\nservice \"b\" { netns = \"r\" " L " }", 2,
		  "service \"b\" listens on [::]:443, and so does service \"a\"" },
		{ "server \"a\" { }", 1, "server" },
		{ "service \"a\" {\n" L "\n", 3, "" },
		{ "service \"a\" {\nlisten = {\"[::]:443\n", 3, "premature end" },
		{ "service \"a\" { " L " }\nservice \"a\" { listen = {\"[::]:444\"} }", 2, "a" },
		{ "service \"a\" { " L " }\n\nservice \"b\" { " L " }", 3,
		  "service \"b\" listens on [::]:443, and so does service \"a\"" },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		refused(cases[i].text, cases[i].line, cases[i].reason);
}

Test(config, an_address_that_is_none_is_named)
{
	static const char *const addresses[] = {
		"",
		"443",
		":443",
		"[::]",
		"[::]:",
		"[::]:0",
		"[::]:65536",
		"[::]:-1",
		"[::]:+1",
		"[::]: 1",
		"[::]:1 ",
		"[::]:0x1",
		"[::]:443a",
		"::1:443",
		"[::1:443",
		"::]:443",
		"[]:443",
		"localhost:443",
		"1.2.3:443",
		"1.2.3.256:443",
		"1.2.3.4.:443",
		"[1.2.3.4]:443",
		"[fe80::1%lo]:443",
		"[::g]:443",
		"[::]:18446744073709551617",
		"[1111:2222:3333:4444:5555:6666:7777:8888:9999]:1",
	};

	for (size_t i = 0; i < COUNT(addresses); i++) {
		char text[256], reason[128];

		snprintf(text, sizeof(text), "service \"a\" {\n\n listen = {\"[::]:1\", \"%s\"} }",
			 addresses[i]);
		snprintf(reason, sizeof(reason), "listen \"%s\": not an address and port",
			 addresses[i]);
		refused(text, 3, reason);
	}
}

/* One more than fits; and one that fits. */
static void many(const char *key, const char *format, int count, const char *limit)
{
	for (int extra = 0; extra < 2; extra++) {
		char text[2048] = "service \"a\" {\n", item[64];

		if (strcmp(key, "listen"))
			strcat(text, L " ");
		sprintf(text + strlen(text), "%s = {", key);
		for (int i = 0; i < count + extra; i++) {
			snprintf(item, sizeof(item), format, 1000 + i);
			sprintf(text + strlen(text), "%s\"%s\"", i ? ", " : "", item);
		}
		strcat(text, "} }");
		if (extra)
			refused(text, 2, limit);
		else
			config_free(accepted(text));
	}
}

Test(config, limits_are_named)
{
	char *text = malloc(100000);
	struct error error = { "" };
	struct config *config;

	many("listen", "[::]:%d", CS_MAX_SERVICE_LISTENERS, "a service has at most 16 listeners");
	many("interface", "eth%d", CS_MAX_SERVICE_LISTENERS, "a service has at most 16 interfaces");
	for (int count = CS_MAX_SERVICES - 1; count <= CS_MAX_SERVICES; count++) {
		text[0] = '\0';
		for (int i = 0; i < count; i++)
			sprintf(text + strlen(text), "service \"s%d\" { listen = {\"[::]:%d\"} }\n",
				i, 1000 + i);
		write_file(text);
		if (count < CS_MAX_SERVICES) {
			config_free(accepted(text));
			continue;
		}
		check(config_read(CONFIG, &config, &error) == -EINVAL, "257 services");
		check(strstr(error.line, "no more than 256 services"), "%s", error.line);
	}
	free(text);
}

Test(config, one_address_twice_is_named)
{
	refused("service \"a\" {\nlisten = {\"[::]:443\",\n\"1.2.3.4:443\", \"[::]:443\"} }", 3,
		"listen \"[::]:443\" is there twice");
	refused("service \"a\" {\nlisten = {\"[::1]:443\", \"[0:0::1]:443\"} }", 2,
		"listen \"[0:0::1]:443\" is there twice");
	refused("service \"a\" {\nlisten = {\"1.2.3.4:443\", \"[::ffff:1.2.3.4]:443\"} }", 2,
		"is there twice");
}

Test(config, a_file_that_cannot_be_read_is_named)
{
	struct error error = { "" };
	struct config *config;

	check(config_read("/mnt/none", &config, &error) == -ENOENT, "no file");
	check(!strcmp(error.line, "/mnt/none: No such file or directory"), "%s", error.line);
	error.line[0] = '\0';
	check(config_read("/mnt", &config, &error) < 0, "a directory");
	check(!strncmp(error.line, "/mnt:", 5), "%s", error.line);
}

Test(config, what_is_not_said_has_its_default)
{
	struct config *config = accepted("service \"h3\" { " L " }");
	const struct config_service *service = &config->service[0];
	struct cs_addr addr;

	check(config->count == 1 && !strcmp(service->name, "h3"), "name");
	check(!address_parse("[::]:443", &addr) && service->listen_count == 1 &&
		      !memcmp(&service->listen[0], &addr, sizeof(addr)),
	      "listen");
	check(service->interface_count == 0 && service->uid == 0 && service->cid_len == 8 &&
		      service->max_cids == 100000 && service->shared_table,
	      "defaults");
	check(service->unknown_cid == CS_POLICY_HASH && service->malformed == CS_POLICY_HASH &&
		      service->not_quic == CS_POLICY_QUIC &&
		      service->small_initial == CS_POLICY_HASH && service->no_xsk == CS_POLICY_PASS,
	      "policies");
	check(!*service->netns, "netns");
	config_free(config);
}

Test(config, what_is_said_is_read)
{
	struct config *config = accepted(
		"# comment\nservice \"A-z_0.9\" {\n"
		"listen = {\"[2001:db8::1]:65535\", \"192.0.2.1:1\"}\n"
		"interface = {\"eth0\", \"fifteen-letters\"} user = \"nobody\"\n"
		"cid_length = 0 max_cids = 67108864 unknown_cid = \"hash\" shared_table = no\n"
		"behind_device = \"allowed\" }\n"
		"service \"fifteen-letters\" { listen = {\"192.0.2.1:2\"} cid_length = 20 "
		"max_cids = 1 }");
	const struct config_service *one = &config->service[0], *two = &config->service[1];
	char text[ADDRESS_TEXT];

	check(config->count == 2 && !strcmp(one->name, "A-z_0.9") &&
		      !strcmp(two->name, "fifteen-letters"),
	      "names");
	address_print(&one->listen[0], text);
	check(one->listen_count == 2 && !strcmp(text, "[2001:db8::1]:65535"), "%s", text);
	address_print(&one->listen[1], text);
	check(!strcmp(text, "192.0.2.1:1"), "%s", text);
	check(one->interface_count == 2 && !strcmp(one->interface[0], "eth0") &&
		      !strcmp(one->interface[1], "fifteen-letters"),
	      "interfaces");
	check(one->uid == UID_NOBODY && one->cid_len == 0 && one->max_cids == 67108864 &&
		      !one->shared_table && one->behind_device,
	      "service one");
	check(two->uid == 0 && two->cid_len == 20 && two->max_cids == 1 && two->shared_table &&
		      two->listen_count == 1 && !two->behind_device,
	      "service two");
	config_free(config);
}

/* Each setting alone says another word than the others do. */
Test(config, each_policy_is_read)
{
	static const struct {
		const char *text;
		__u8 unknown_cid, malformed, not_quic, small_initial, no_xsk;
	} cases[] = {
		{ "unknown_cid = \"pass\" malformed = \"drop\" not_quic = \"hash\" "
		  "small_initial = \"drop\"",
		  CS_POLICY_PASS, CS_POLICY_DROP, CS_POLICY_HASH, CS_POLICY_DROP, CS_POLICY_PASS },
		{ "unknown_cid = \"drop\" malformed = \"pass\" not_quic = \"quic\" "
		  "small_initial = \"count\" no_xsk = \"drop\"",
		  CS_POLICY_DROP, CS_POLICY_PASS, CS_POLICY_QUIC, CS_POLICY_HASH, CS_POLICY_DROP },
		{ "unknown_cid = \"hash\" malformed = \"hash\" not_quic = \"pass\" "
		  "no_xsk = \"pass\"",
		  CS_POLICY_HASH, CS_POLICY_HASH, CS_POLICY_PASS, CS_POLICY_HASH, CS_POLICY_PASS },
		{ "not_quic = \"drop\" small_initial = \"drop\"", CS_POLICY_HASH, CS_POLICY_HASH,
		  CS_POLICY_DROP, CS_POLICY_DROP, CS_POLICY_PASS },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config_service *service;
		struct config *config;
		char text[512];

		snprintf(text, sizeof(text), "service \"a\" { " L " %s }", cases[i].text);
		config = accepted(text);
		service = &config->service[0];
		check(service->unknown_cid == cases[i].unknown_cid &&
			      service->malformed == cases[i].malformed &&
			      service->not_quic == cases[i].not_quic &&
			      service->small_initial == cases[i].small_initial &&
			      service->no_xsk == cases[i].no_xsk,
		      "%s: %u %u %u %u %u", cases[i].text, service->unknown_cid, service->malformed,
		      service->not_quic, service->small_initial, service->no_xsk);
		config_free(config);
	}
}

Test(config, an_address_may_be_in_two_namespaces)
{
	struct config *config = accepted("service \"a\" { " L " }\n"
					 "service \"b\" { netns = \"red\" " L " }\n"
					 "service \"c\" { netns = \"blue_1-2\" " L " }");

	check(!strcmp(config->service[1].netns, "red") &&
		      !strcmp(config->service[2].netns, "blue_1-2"),
	      "names");
	config_free(config);
}

/* Files of random pieces end with a configuration or with a line, never otherwise. */
Test(config, random_files_are_read_or_refused)
{
	static const char *const pieces[] = { "service",
					      "\"a\"",
					      "{",
					      "}",
					      "\n",
					      "listen",
					      "=",
					      "+=",
					      "\"[::]:443\"",
					      ",",
					      "user",
					      "\"root\"",
					      "max_cids",
					      "7",
					      "cid_length",
					      "\"",
					      "#",
					      "/*",
					      "*/",
					      "(",
					      "interface",
					      "\\",
					      "${HOME}",
					      "\xff",
					      "shared_table",
					      "yes" };
	__u64 seed = 80, count = rounds(3000);

	for (__u64 round = 0; round < count; round++) {
		struct error error = { "" };
		struct config *config;
		char text[2048] = "";

		for (int i = random_below(&seed, 60); i; i--) {
			strcat(text, pieces[random_below(&seed, COUNT(pieces))]);
			strcat(text, random_below(&seed, 8) ? " " : "");
		}
		write_file(text);
		if (!config_read(CONFIG, &config, &error))
			config_free(config);
		else
			check(!strncmp(error.line, CONFIG ":", strlen(CONFIG) + 1), "%s: %s", text,
			      error.line);
	}
}
