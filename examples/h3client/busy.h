/* SPDX-License-Identifier: GPL-2.0-only */
/* Many connections at once, which move all the time. */
#ifndef H3CLIENT_BUSY_H
#define H3CLIENT_BUSY_H

#include "h3client/options.h"

/* begun = completed + lost, when all is over. */
struct busy_result {
	double seconds;
	uint64_t connections; /* opened */
	uint64_t broken;      /* ended by something else than this client's will */
	uint64_t begun;	      /* transfers */
	uint64_t completed;   /* all bytes there and right */
	uint64_t lost;
	uint64_t rebindings;
	uint64_t migrations;
	uint64_t bytes;	    /* of bodies, compared */
	double longest_gap; /* seconds without progress in a transfer */
	char error[256];    /* of the first connection that broke */
};

/* busy_run - returns 0, or -1 after a message when it cannot run */
int busy_run(struct options *options, struct busy_result *result);

#endif
