// SPDX-License-Identifier: GPL-2.0-only
/* From the supervisor to a generation's process. */
#include "h3server/birth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLE "H3SERVER_BIRTH"
#define FORMAT "%u %u %d %d"

int birth_give(const struct birth *birth)
{
	char text[64];

	snprintf(text, sizeof(text), FORMAT, birth->generation, (unsigned int)birth->first,
		 birth->orders, birth->reports);
	/* These two, and no other descriptor of the supervisor's, live on in the new program. */
	if (fcntl(birth->orders, F_SETFD, 0) < 0 || fcntl(birth->reports, F_SETFD, 0) < 0)
		return -1;
	return setenv(VARIABLE, text, 1);
}

int birth_take(struct birth *birth)
{
	const char *text = getenv(VARIABLE);
	unsigned int first;

	if (!text)
		return 0;
	if (sscanf(text, FORMAT, &birth->generation, &first, &birth->orders, &birth->reports) !=
		    4 ||
	    fcntl(birth->orders, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(birth->reports, F_SETFD, FD_CLOEXEC) < 0) {
		fputs("h3server: " VARIABLE " is for the supervisor to set\n", stderr);
		return -1;
	}
	birth->first = first;
	unsetenv(VARIABLE);
	return 1;
}

void birth_report(const struct birth *birth, enum birth_event event, int error)
{
	struct birth_report r = { birth->generation, (uint16_t)event, (uint16_t)error };

	/* EPIPE: the supervisor is gone, and has to be told nothing any more. */
	if (write(birth->reports, &r, sizeof(r)) < 0 && errno != EPIPE)
		fprintf(stderr, "h3server: report: %s\n", strerror(errno));
}
