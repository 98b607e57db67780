// SPDX-License-Identifier: GPL-2.0-only
/* The lines of --stats. */
#include "h3server/stats.h"

#include "common/quic.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 8192

static void append(int fd, const char *line, int len)
{
	if (fd < 0 || len < 0 || len >= LINE_SIZE)
		return;
	if (write(fd, line, (size_t)len) < 0)
		perror("h3server: --stats");
}

/* Clients choose paths: nothing in them may end the string. */
static const char *escape(const char *from, char *to, size_t size)
{
	size_t n = 0;

	for (; *from && n + 7 < size; from++) {
		unsigned char c = (unsigned char)*from;

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			to[n++] = (char)c;
		else
			n += (size_t)snprintf(to + n, size - n, "\\u%04x", c);
	}
	to[n] = '\0';
	return to;
}

void stats_connection(const struct stats *s, const ngtcp2_cid *cid)
{
	char line[LINE_SIZE], text[2 * NGTCP2_MAX_CIDLEN + 1];

	append(s->fd, line,
	       snprintf(line, sizeof(line),
			"{\"event\":\"connection\",\"worker\":%u,\"index\":%u,\"generation\":%u,"
			"\"connection\":\"%s\"}\n",
			s->worker, s->index, s->generation, quic_cid_hex(cid, text)));
}

void stats_transfer(struct stats *stats, const struct transfer *t)
{
	char line[LINE_SIZE], path[LINE_SIZE - 1024], method[128];
	char cid[2 * NGTCP2_MAX_CIDLEN + 1], at_change[24] = "null";

	if (t->complete)
		stats->transfers++;
	if (t->path_changes > 0)
		snprintf(at_change, sizeof(at_change), "%" PRIu64, t->bytes_at_change);
	append(stats->fd, line,
	       snprintf(line, sizeof(line),
			"{\"event\":\"transfer\",\"worker\":%u,\"index\":%u,\"generation\":%u,"
			"\"connection\":\"%s\",\"method\":\"%s\",\"path\":\"%s\",\"status\":%d,"
			"\"bytes\":%" PRIu64 ",\"complete\":%s,"
			"\"path_changes\":%u,\"bytes_at_change\":%s}\n",
			stats->worker, stats->index, stats->generation,
			quic_cid_hex(t->connection, cid), escape(t->method, method, sizeof(method)),
			escape(t->path, path, sizeof(path)), t->status, t->bytes,
			t->complete ? "true" : "false", t->path_changes, at_change));
}

void stats_worker(const struct stats *s)
{
	char line[LINE_SIZE];

	append(s->fd, line,
	       snprintf(line, sizeof(line),
			"{\"event\":\"worker\",\"worker\":%u,\"index\":%u,\"generation\":%u,"
			"\"connections\":%" PRIu64 ",\"transfers\":%" PRIu64
			",\"path_changes\":%" PRIu64 ",\"strays\":%" PRIu64 ",\"unknown\":%" PRIu64
			",\"datagrams_in\":%" PRIu64 ",\"trains\":%" PRIu64
			",\"datagrams_out\":%" PRIu64 ",\"xsk_in\":%" PRIu64 ",\"xsk_out\":%" PRIu64
			"}\n",
			s->worker, s->index, s->generation, s->connections, s->transfers,
			s->path_changes, s->strays, s->unknown, s->datagrams_in, s->trains,
			s->datagrams_out, s->xsk_in, s->xsk_out));
}
