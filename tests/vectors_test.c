// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets that others have made, and what others say of them: cs_quic_parse() agrees.
 *
 * tests/vectors/README.md says where each comes from.  A *.hex file is one packet and what its RFC
 * says of it; a *.pcap file has packets of real peers, and the *.tsv next to it tshark's opinion.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/quic.h"
#include "law.h"

#define DIRECTORY "tests/vectors/"
#define PACKET_MOST 2048
#define TSV_COLUMNS 8

/* What the other source says. */
struct opinion {
	__u8 form;
	__u8 type;
	__u32 version;
	__u32 dcid_len;
	__u8 dcid[CS_MAX_CID];
};

struct file {
	char *bytes; /* and a 0 behind them */
	size_t size;
};

static struct file file_read(const char *path)
{
	FILE *stream = fopen(path, "r");
	struct file file = {};

	check(stream, "%s cannot be read", path);
	check(!fseek(stream, 0, SEEK_END), "%s: no end", path);
	file.size = ftell(stream);
	rewind(stream);
	file.bytes = malloc(file.size + 1);
	check(file.bytes, "%s: no memory", path);
	check(fread(file.bytes, 1, file.size, stream) == file.size, "%s: cut short", path);
	file.bytes[file.size] = '\0';
	fclose(stream);
	return file;
}

/* Appends the digits in @text to @bytes, which has @size of @most; returns its new size. */
static size_t hex_append(__u8 *bytes, size_t most, size_t size, const char *text)
{
	while (*text) {
		unsigned int byte;

		if (isspace((unsigned char)*text)) {
			text++;
			continue;
		}
		check(size < most && sscanf(text, "%2x", &byte) == 1 && text[1],
		      "no hexadecimal digits, or too many: %s", text);
		bytes[size++] = byte;
		text += 2;
	}
	return size;
}

static __u8 type_named(const char *name)
{
	static const char *const names[] = {
		[CS_TYPE_NONE] = "",	   [CS_TYPE_INITIAL] = "Initial",
		[CS_TYPE_0RTT] = "0-RTT",  [CS_TYPE_HANDSHAKE] = "Handshake",
		[CS_TYPE_RETRY] = "Retry",
	};

	for (size_t type = 0; type < sizeof(names) / sizeof(names[0]); type++) {
		if (!strcmp(names[type], name))
			return type;
	}
	cr_assert_fail("no type: %s", name);
	return 0;
}

/* The parser gets a copy of that very size: a sanitizer sees each byte that it reads too many. */
static void agree(const char *where, const __u8 *packet, size_t size, const struct opinion *other)
{
	struct cs_service service = { .cid_len = other->form == CS_FORM_SHORT ? other->dcid_len :
										0 };
	__u8 head[CS_HEAD_BYTES];
	struct cs_quic quic = {};

	memset(head, 0xee, sizeof(head));
	memcpy(head, packet, size < sizeof(head) ? size : sizeof(head));
	check(!cs_quic_parse(head, size, &service, &quic), "%s: malformed", where);
	check(quic.form == other->form, "%s: form %u, not %u", where, quic.form, other->form);
	check(quic.version == other->version, "%s: version 0x%x, not 0x%x", where, quic.version,
	      other->version);
	check(quic.type == other->type, "%s: type %u, not %u", where, quic.type, other->type);
	check(quic.dcid.len == other->dcid_len, "%s: a DCID of %u bytes, not %u", where,
	      quic.dcid.len, other->dcid_len);
	check(!memcmp(quic.dcid.byte, other->dcid, other->dcid_len), "%s: another DCID", where);
}

/* ---- samples of RFCs ---------------------------------------------------------------------- */

/* A line of the head; anything else is the packet. */
static int hex_head(const char *line, struct opinion *rfc)
{
	char name[16] = "", value[64] = "";

	sscanf(line, "%15s %63s", name, value);
	if (!strcmp(name, "form"))
		rfc->form = !strcmp(value, "long") ? CS_FORM_LONG : CS_FORM_SHORT;
	else if (!strcmp(name, "version"))
		rfc->version = strtoul(value, NULL, 16);
	else if (!strcmp(name, "type"))
		rfc->type = type_named(value);
	else if (!strcmp(name, "dcid"))
		rfc->dcid_len = hex_append(rfc->dcid, CS_MAX_CID, 0, value);
	else
		return name[0] == '#';
	return 1;
}

static void sample_agrees(const char *path)
{
	struct file file = file_read(path);
	struct opinion rfc = {};
	__u8 packet[PACKET_MOST];
	size_t size = 0;

	for (char *line = strtok(file.bytes, "\n"); line; line = strtok(NULL, "\n")) {
		if (!hex_head(line, &rfc))
			size = hex_append(packet, PACKET_MOST, size, line);
	}
	agree(path, packet, size, &rfc);
	free(file.bytes);
}

Test(vectors, the_sample_packets_of_the_rfcs_are_what_the_rfcs_say)
{
	glob_t found;

	bound_time(30);
	cr_assert_eq(glob(DIRECTORY "*.hex", 0, NULL, &found), 0, "run it in the tree's root");
	cr_assert_eq(found.gl_pathc, 8, "four of RFC 9001, four of RFC 9369");
	for (size_t i = 0; i < found.gl_pathc; i++)
		sample_agrees(found.gl_pathv[i]);
	globfree(&found);
}

/* ---- captures ----------------------------------------------------------------------------- */

static __u32 load16(const __u8 *byte)
{
	return byte[0] << 8 | byte[1];
}

/*
 * The next UDP payload at @at of a capture, and its size; NULL at its end.  A capture is a pcap
 * file as tcpdump writes it on a little-endian host: Ethernet, whole frames, UDP alone.
 */
static const __u8 *capture_next(const char *path, const struct file *file, size_t *at, size_t *size)
{
	const __u8 *record = (const __u8 *)file->bytes + *at, *frame, *udp;
	__u32 captured, on_the_wire;

	if (*at == file->size)
		return NULL;
	check(*at + 16 <= file->size, "%s: cut short at %zu", path, *at);
	frame = record + 16;
	memcpy(&captured, record + 8, 4);
	memcpy(&on_the_wire, record + 12, 4);
	*at += 16 + captured;
	check(*at <= file->size && captured == on_the_wire && captured >= 14 + 20 + 8,
	      "%s: a frame that is not whole before %zu", path, *at);
	if (load16(frame + 12) == 0x0800) {
		check(frame[14 + 9] == 17, "%s: not UDP before %zu", path, *at);
		udp = frame + 14 + 4 * (frame[14] & 15);
	} else {
		check(load16(frame + 12) == 0x86dd && frame[14 + 6] == 17, "%s: not UDP before %zu",
		      path, *at);
		udp = frame + 14 + 40;
	}
	*size = load16(udp + 4) - 8;
	check(udp + 8 + *size <= frame + captured, "%s: UDP is cut before %zu", path, *at);
	return udp + 8;
}

/* Lines without a number in front are comment and head. */
static int tsv_next(char **rest, char *column[TSV_COLUMNS])
{
	char *line;

	while ((line = strsep(rest, "\n"))) {
		if (!isdigit((unsigned char)line[0]))
			continue;
		for (int i = 0; i < TSV_COLUMNS; i++) {
			column[i] = strsep(&line, "\t");
			check(column[i], "a row of %d columns", i);
		}
		return 1;
	}
	return 0;
}

/* Columns: frame, length, form, version, type in v1, type in v2, length of the DCID, DCID. */
static void tshark_says(char *column[TSV_COLUMNS], struct opinion *tshark)
{
	tshark->form = atoi(column[2]) ? CS_FORM_LONG : CS_FORM_SHORT;
	tshark->version = strtoul(column[3], NULL, 16);
	tshark->type = type_named(*column[4] ? column[4] : column[5]);
	tshark->dcid_len = hex_append(tshark->dcid, CS_MAX_CID, 0, column[7]);
	check(!*column[6] || strtoul(column[6], NULL, 10) == tshark->dcid_len,
	      "frame %s: two lengths of one DCID", column[0]);
}

struct census {
	int v1[CS_TYPE_RETRY + 1], v2_initial, negotiation, short_header;
};

static void capture_agrees(const char *path, struct census *census)
{
	struct file capture = file_read(path), tsv;
	char *column[TSV_COLUMNS], *rest, where[200];
	size_t at = 24, size;
	const __u8 *packet;

	snprintf(where, sizeof(where), "%.*s.tsv", (int)(strlen(path) - strlen(".pcap")), path);
	tsv = file_read(where);
	check(capture.size > at && !memcmp(capture.bytes, "\xd4\xc3\xb2\xa1", 4), "%s: no pcap",
	      path);
	rest = tsv.bytes;
	while ((packet = capture_next(path, &capture, &at, &size))) {
		struct opinion tshark = {};

		check(tsv_next(&rest, column), "%s: a packet that tshark has not", path);
		snprintf(where, sizeof(where), "%s, frame %s", path, column[0]);
		check(strtoul(column[1], NULL, 10) == size + 8, "%s: another length", where);
		tshark_says(column, &tshark);
		agree(where, packet, size, &tshark);
		if (tshark.version == 1)
			census->v1[tshark.type]++;
		census->v2_initial += *column[5] && tshark.type == CS_TYPE_INITIAL;
		census->negotiation += tshark.form == CS_FORM_LONG && !tshark.version;
		census->short_header += tshark.form == CS_FORM_SHORT && tshark.dcid_len > 0;
	}
	check(!tsv_next(&rest, column), "%s: tshark has more packets", path);
	free(capture.bytes);
	free(tsv.bytes);
}

Test(vectors, packets_of_real_peers_are_what_tshark_says)
{
	struct census census = {};
	glob_t found;

	bound_time(30);
	cr_assert_eq(glob(DIRECTORY "*.pcap", 0, NULL, &found), 0, "run it in the tree's root");
	for (size_t i = 0; i < found.gl_pathc; i++)
		capture_agrees(found.gl_pathv[i], &census);
	globfree(&found);
	/* Nothing of what the captures were made for has been cut away. */
	for (int type = CS_TYPE_INITIAL; type <= CS_TYPE_RETRY; type++)
		cr_assert_gt(census.v1[type], 0, "no v1 packet of type %d", type);
	cr_assert_gt(census.v2_initial, 0);
	cr_assert_gt(census.negotiation, 0);
	cr_assert_gt(census.short_header, 0);
}
