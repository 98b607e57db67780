/* SPDX-License-Identifier: GPL-2.0-only */
/* Configurations that are refused with a line, and those that are read. */
#ifndef CS_TEST_CONFIG_FILE_H
#define CS_TEST_CONFIG_FILE_H

#include <errno.h>

#include "fixture.h"

#define L "listen = {\"[::]:443\"}"

static void write_file(const char *text)
{
	FILE *file = fopen(CONFIG, "we");

	check(file && fputs(text, file) >= 0 && !fclose(file), "writing");
}

/* The line says file, line number and reason, and nothing is handed out. */
static void refused(const char *text, int line, const char *reason)
{
	struct config *untouched = (void *)&untouched, *config = untouched;
	struct error error = { "" };
	char place[64];
	int err;

	write_file(text);
	snprintf(place, sizeof(place), CONFIG ":%d: ", line);
	err = config_read(CONFIG, &config, &error);
	check(err == -EINVAL, "%d for: %s", err, text);
	check(!strncmp(error.line, place, strlen(place)), "\"%s\" is not in line %d of: %s",
	      error.line, line, text);
	check(strstr(error.line, reason), "\"%s\" instead of \"%s\"", error.line, reason);
	check(!strchr(error.line, '\n'), "\"%s\" is more than a line", error.line);
	check(config == untouched, "a configuration was handed out");
}

static struct config *accepted(const char *text)
{
	struct config *config = NULL;
	struct error error = { "" };

	write_file(text);
	check(!config_read(CONFIG, &config, &error), "%s", error.line);
	return config;
}

#endif
