/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Closing descriptors that a stranger passed.
 *
 * close() of the last descriptor of a TCP socket with SO_LINGER, or of a file of a FUSE server,
 * waits for as long as the stranger likes.  So whatever is no UDP socket is closed by a thread of
 * its own: it takes descriptors from a pipe and knows nothing else.  That of an AF_XDP socket waits
 * for the kernel, some milliseconds, and must not wait for others, because a copy of it would keep
 * it swallowing packets: such sockets have a thread of theirs.  These two are the daemon's only
 * other threads.
 */
#ifndef CS_DISCARD_H
#define CS_DISCARD_H

/* Starts the threads.  Returns 0 or a negative errno. */
int discard_start(void);

/* Closes @fd, now or soon. */
void discard_fd(int fd);

#endif
