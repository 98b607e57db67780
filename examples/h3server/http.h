/* SPDX-License-Identifier: GPL-2.0-only */
/* Requests and responses: /bytes/N, /sink, and the files below --root. */
#ifndef H3SERVER_HTTP_H
#define H3SERVER_HTTP_H

#include "h3server/conn.h"

/* Returns 0 or NGTCP2_ERR_CALLBACK_FAILURE. */
int http_start(struct conn *conn);

/* The client's new path was validated while these requests ran. */
void http_path_changed(struct conn *conn);

/* No more data will come or go: what is unfinished stays so. */
void http_over(struct conn *conn);

#endif
