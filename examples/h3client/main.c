// SPDX-License-Identifier: GPL-2.0-only
/*
 * h3client - an HTTP/3 client that moves in mid-transfer
 *
 * One connection, one request, never a second attempt: if the path changes and the server's
 * side of the connection cannot be reached any more, the transfer fails and so does this.
 */
#include "h3client/client.h"

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

int main(int argc, char **argv)
{
	static struct client client;
	struct options options;
	double seconds;
	int err = options_parse(&options, argc, argv);

	if (err)
		return err > 0 ? 0 : 2;
	err = client_run(&client, &options);
	seconds = (double)(client.ended_at - client.started_at) / NGTCP2_SECONDS;
	if (err)
		fprintf(stderr, "h3client: %s %s: %s\n", method(&options), options.path,
			client.transfer.error);
	if (options.json)
		print_json(&client, err, seconds);
	else if (!err)
		print_text(&client, seconds);
	client_free(&client);
	return err ? 1 : 0;
}
