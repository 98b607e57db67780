/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Points at which a test stops a process, to look at what is there, or to kill it.
 *
 * Only in a build with -DCS_POINTS: CIDSTEER_STOP_AT=NAME[:N[,N...]] sends SIGSTOP to the process
 * when it comes to a point NAME for the first time, or for the Nth.
 */
#ifndef CS_COMMON_POINT_H
#define CS_COMMON_POINT_H

#ifdef CS_POINTS
void point_reached(const char *name);
#define CS_POINT(name) point_reached(name)
#else
#define CS_POINT(name) ((void)0)
#endif

#endif
