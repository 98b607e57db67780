// SPDX-License-Identifier: GPL-2.0-only
/*
 * h3client - an HTTP/3 client that moves in mid-transfer
 *
 * Never a second attempt: if the path changes and the server's side of the connection cannot be
 * reached any more, the transfer fails and so does this.
 */
#include "h3client/busy.h"
#include "h3client/once.h"

#include <inttypes.h>
#include <stdio.h>

static const char *method(const struct options *options)
{
	return options->upload ? "POST" : "GET";
}

static void print_json(const struct client *client, int err, double seconds)
{
	const struct transfer *t = &client->transfer;
	char odcid[2 * NGTCP2_MAX_CIDLEN + 1];
	const char *quote = err ? "\"" : "";

	/* No error text of ours has a quote or a backslash in it. */
	printf("{\"ok\":%s,\"bytes\":%" PRIu64 ",\"sha256\":\"%s\",\"seconds\":%.3f,"
	       "\"connections\":1,\"odcid\":\"%s\",\"error\":%s%s%s}\n",
	       err ? "false" : "true", transfer_progress(t), t->sha256, seconds,
	       quic_cid_hex(&client->first_dcid, odcid), quote, err ? t->error : "null", quote);
}

static void print_text(const struct client *client, double seconds)
{
	const struct transfer *t = &client->transfer;

	printf("%s %s: %" PRIu64 " bytes in %.3f s, SHA-256 %s\n", method(client->options),
	       client->options->path, transfer_progress(t), seconds, t->sha256);
}

static int transfer_once(struct options *options)
{
	static struct client client;
	int err = once_run(&client, options);
	double seconds = (double)(client.ended_at - client.started_at) / NGTCP2_SECONDS;

	if (err)
		fprintf(stderr, "h3client: %s %s: %s\n", method(options), options->path,
			client.transfer.error);
	if (options->json)
		print_json(&client, err, seconds);
	else if (!err)
		print_text(&client, seconds);
	client_free(&client);
	return err;
}

static void print_busy_json(const struct busy_result *r, bool ok)
{
	const char *quote = r->error[0] ? "\"" : "";

	printf("{\"ok\":%s,\"seconds\":%.3f,\"connections\":%" PRIu64 ",\"broken\":%" PRIu64
	       ",\"begun\":%" PRIu64 ",\"completed\":%" PRIu64 ",\"lost\":%" PRIu64
	       ",\"rebindings\":%" PRIu64 ",\"migrations\":%" PRIu64 ",\"bytes\":%" PRIu64
	       ",\"longest_gap\":%.3f,\"error\":%s%s%s}\n",
	       ok ? "true" : "false", r->seconds, r->connections, r->broken, r->begun, r->completed,
	       r->lost, r->rebindings, r->migrations, r->bytes, r->longest_gap, quote,
	       r->error[0] ? r->error : "null", quote);
}

static void print_busy_text(const struct busy_result *r)
{
	printf("%" PRIu64 " of %" PRIu64 " transfers complete, %" PRIu64 " lost, %" PRIu64
	       " bytes; %" PRIu64 " connections, %" PRIu64 " broken; %" PRIu64
	       " rebindings, %" PRIu64 " migrations; longest gap %.3f s\n",
	       r->completed, r->begun, r->lost, r->bytes, r->connections, r->broken, r->rebindings,
	       r->migrations, r->longest_gap);
}

static int keep_busy(struct options *options)
{
	struct busy_result result;
	bool ok;

	if (busy_run(options, &result) < 0)
		return -1;
	ok = result.broken == 0 && result.lost == 0 && result.completed > 0;
	if (options->json)
		print_busy_json(&result, ok);
	else
		print_busy_text(&result);
	return ok ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct options options;
	int err = options_parse(&options, argc, argv);

	if (err)
		return err > 0 ? 0 : 2;
	err = options.busy ? keep_busy(&options) : transfer_once(&options);
	return err ? 1 : 0;
}
