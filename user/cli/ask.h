/* SPDX-License-Identifier: GPL-2.0-only */
/* What root asks the daemon for: one message, one answer. */
#ifndef CS_ASK_H
#define CS_ASK_H

#include <stddef.h>

#include "cli/cli.h"
#include "common/protocol.h"

/* Both return CLI_DONE, or CLI_FAILED when what is wrong is printed. */
int ask_is_there(const struct args *args);
/* @message: the head of one of @bytes; it is filled in here. */
int ask_daemon(const struct args *args, struct cs_msg *message, __u16 type, size_t bytes);

#endif
