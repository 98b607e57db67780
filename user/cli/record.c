// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/names.h"
#include "cli/output.h"
#include "cli/record.h"

static const char *const kinds[CS_KINDS] = {
	[CS_KIND_MALFORMED] = "malformed",
	[CS_KIND_UNKNOWN_CID] = "unknown_cid",
	[CS_KIND_DEAD_WORKER] = "dead_worker",
	[CS_KIND_NO_WORKER] = "no_worker",
	[CS_KIND_NO_SOCKET] = "no_socket",
	[CS_KIND_NOT_ENFORCED] = "not_enforced",
	[CS_KIND_STRAY] = "stray",
};

static const char *const hooks[] = {
	[CS_HOOK_XDP] = "xdp",
	[CS_HOOK_REUSEPORT] = "reuseport",
	[CS_HOOK_NONE] = "worker",
};

/* What a record says, checked: it comes out of a map. */
struct words {
	char time[48];
	const char *hook, *service, *header, *type, *dcid;
	char service_text[CS_NAME_SIZE], dcid_text[HEX_TEXT];
	char from[ADDRESS_TEXT], to[ADDRESS_TEXT]; /* "": not read */
};

const char *record_reason(__u32 reason)
{
	return reason < CS_COUNTERS ? counter_names[reason].name : "?";
}

__u32 record_find_reason(const char *name, size_t len)
{
	for (__u32 i = 0; i < CS_COUNTERS; i++) {
		if (!strcmp(counter_names[i].group, "verdict") &&
		    strlen(counter_names[i].name) == len &&
		    !memcmp(counter_names[i].name, name, len))
			return i;
	}
	return 0;
}

const char *record_kind(__u8 kind)
{
	return kind && kind < CS_KINDS ? kinds[kind] : "?";
}

static struct timespec now_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now;
}

/* The programs' clock begins at boot: both clocks are read now, and the difference is taken. */
static void print_time(__u64 time_ns, const char *format, bool utc, char *text, size_t size)
{
	struct timespec real = now_of(CLOCK_REALTIME), mono = now_of(CLOCK_MONOTONIC);
	__u64 ns = real.tv_sec * 1000000000ULL + real.tv_nsec -
		   (mono.tv_sec * 1000000000ULL + mono.tv_nsec) + time_ns;
	time_t seconds = ns / 1000000000;
	struct tm tm;

	if (utc)
		gmtime_r(&seconds, &tm);
	else
		localtime_r(&seconds, &tm);
	strftime(text, size, format, &tm);
	append(text, size, ".%06llu%s", (unsigned long long)(ns % 1000000000 / 1000),
	       utc ? "Z" : "");
}

static void print_end(const __u8 ip[16], __be16 port, char text[ADDRESS_TEXT])
{
	static const __u8 none[16];
	struct cs_addr addr = { .port = port };

	text[0] = '\0';
	if (!memcmp(ip, none, sizeof(none)))
		return;
	memcpy(addr.ip, ip, sizeof(addr.ip));
	address_print(&addr, text);
}

/* Was there a header that could be read? */
static bool has_header(const struct cs_verdict *verdict)
{
	return verdict->form == CS_FORM_LONG || verdict->dcid_len;
}

static void put_words(const struct view *view, const struct cs_record *record, struct words *words)
{
	const struct cs_verdict *verdict = &record->verdict;
	const struct view_service *service = view_service_by_id(view, verdict->service);

	*words = (struct words){ .hook = "?", .service = "-" };
	if (record->hook <= CS_HOOK_NONE)
		words->hook = hooks[record->hook];
	if (service)
		words->service = service->name;
	else if (verdict->service) {
		snprintf(words->service_text, sizeof(words->service_text), "(%u)",
			 verdict->service);
		words->service = words->service_text;
	}
	if (record->hook != CS_HOOK_NONE && has_header(verdict))
		words->header = verdict->form == CS_FORM_LONG ? "long" : "short";
	if (verdict->type && verdict->type <= CS_TYPE_RETRY)
		words->type = packet_types[verdict->type];
	if (verdict->dcid_len && verdict->dcid_len <= CS_MAX_CID)
		words->dcid = hex_print(words->dcid_text, verdict->dcid, verdict->dcid_len);
	print_end(record->saddr, record->sport, words->from);
	print_end(record->daddr, record->dport, words->to);
}

void record_print(const struct view *view, const struct cs_record *record, bool date)
{
	const struct cs_verdict *verdict = &record->verdict;
	bool stray = record->hook == CS_HOOK_NONE;
	struct words words;

	put_words(view, record, &words);
	print_time(record->time_ns, date ? "%F %T" : "%T", false, words.time, sizeof(words.time));
	printf("%s %s %s", words.time, words.hook, words.service);
	if (*words.to)
		printf(" %s > %s", words.from, words.to);
	if (words.header)
		printf(" %s", words.type ? words.type : words.header);
	if (words.dcid)
		printf(" %s", words.dcid);
	printf(": %s", stray ? "stray" : record_reason(verdict->reason));
	if (verdict->worker)
		printf(", worker %u", verdict->worker);
	if (verdict->routed && verdict->routed != verdict->worker)
		printf("; in the table: worker %u", verdict->routed);
	if (verdict->drop)
		printf("; not enforced: %s", record_reason(verdict->drop));
	putchar('\n');
}

static void set_text(json_t *json, const char *name, const char *text)
{
	json_object_set_new(json, name, text && *text ? json_string(text) : json_null());
}

json_t *record_json(const struct view *view, const struct cs_record *record)
{
	const struct cs_verdict *verdict = &record->verdict;
	json_t *json = json_object();
	struct words words;

	put_words(view, record, &words);
	print_time(record->time_ns, "%FT%T", true, words.time, sizeof(words.time));
	set_text(json, "time", words.time);
	set_text(json, "hook", words.hook);
	set_text(json, "service", verdict->service ? words.service : NULL);
	set_text(json, "from", words.from);
	set_text(json, "to", words.to);
	set_text(json, "header", words.header);
	set_text(json, "type", words.type);
	set_text(json, "dcid", words.dcid);
	set_text(json, "reason",
		 record->hook == CS_HOOK_NONE ? "stray" : record_reason(verdict->reason));
	json_object_set_new(json, "worker", json_integer(verdict->worker));
	json_object_set_new(json, "table_worker", json_integer(verdict->routed));
	set_text(json, "not_enforced", verdict->drop ? record_reason(verdict->drop) : NULL);
	return json;
}
