/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is each service steered?  Everything here fails open to the kernel's own hash, so that a
 * service which is not steered looks well from outside: whatever makes it so is a finding, with
 * its reason and what to do.  A word is the worst of its findings.
 */
#ifndef CS_STATUS_H
#define CS_STATUS_H

#include "cli/attached.h"
#include "cli/view.h"

enum word {
	WORD_STEERING,
	WORD_DEGRADED, /* most packets go right */
	WORD_NOT_STEERING,
};

struct finding {
	enum word word;
	char reason[512];
	char action[256];
};

/* More than these count for the word, but are not listed. */
#define FINDINGS_MAX 24

struct findings {
	enum word word;
	unsigned int count;
	struct finding list[FINDINGS_MAX]; /* the worst first */
};

struct status_service {
	const struct view_service *view;
	unsigned int waiting, active, draining, reaping; /* workers */
	__u64 routes;
	__u64 strays;	       /* of its live workers and of the gone */
	struct cs_usage usage; /* sum of its live workers; path_changes: and of the gone */
	struct findings findings;
};

/* One that packets are moved to. */
struct status_cpu {
	__u32 cpu;
	__u32 queue; /* packets that may wait */
	unsigned int workers;
	struct cs_cpu_count count;
	__u64 lost; /* of what was sent: its queue was full */
};

/* One that workers are behind. */
struct status_device {
	__u32 slot; /* in cs_devs */
	__u32 ifindex;
	char netns[NETNS_NAME]; /* "": this one */
	char name[IFNAMSIZ];	/* "": it is gone, or cannot be looked at */
	bool there;		/* packets are sent to it */
	unsigned int workers;
	int worker; /* the first of them */
	struct cs_dev_count count;
};

/* One on which workers of a service have AF_XDP sockets. */
struct status_nic {
	__u32 service;
	__u32 ifindex;
	char netns[NETNS_NAME]; /* "": this one */
	char name[IFNAMSIZ];	/* "?": it is gone, or cannot be looked at */
	unsigned int workers;
	int worker;		     /* the first of them */
	unsigned int queues;	     /* that it has; 0: not known */
	bool covered[CS_MAX_QUEUES]; /* some worker has a socket for the queue */
};

#define STATUS_NOTES 4

struct status {
	struct view *view; /* NULL: nothing that can be read is loaded */
	unsigned int services;
	struct status_service service[CS_MAX_SERVICES];
	unsigned int attached_count;
	struct attached *attached;
	unsigned int cpus;
	struct status_cpu cpu[CS_MAX_CPUS];
	unsigned int devices;
	struct status_device device[CS_MAX_DEVICES];
	unsigned int nics;
	struct status_nic *nic;
	bool foresees;		  /* what would be lost is found, though nothing is moved yet */
	struct findings findings; /* of no one service */
	enum word word;		  /* the worst of all */
	unsigned int notes;
	struct error note[STATUS_NOTES]; /* what could not be looked at, and is no finding */
};

/* Adds a finding; @action is what to do. */
void findings_add(struct findings *findings, enum word word, const char *action, const char *reason,
		  ...) __attribute__((format(printf, 4, 5)));

/* Prints each as a line that begins with "note:". */
void findings_note(const struct findings *findings);

/* A list of their words, reasons and actions. */
json_t *findings_json(const struct findings *findings);

/* What the maps say: workers, sockets, listeners, table. */
void findings_of_service(const struct view *view, struct status_service *service);

/* Reads which CPUs packets are moved to.  Returns 0 or a negative errno. */
int cpus_read(struct status *status);

/* Foreign instances of cs_xdp. */
void findings_of_interfaces(struct status *status);

/* The same of devices that workers are behind. */
int devices_read(struct status *status);

/* Devices that lose what is sent to them, or get nothing.  What cannot be looked at is told to
 * @note.
 */
void findings_of_devices(struct status *status,
			 void (*note)(struct status *status, const char *line));

/* Reads where workers have AF_XDP sockets.  Returns 0 or a negative errno. */
int xsks_read(struct status *status);

/* Sockets that get nothing, and queues that have none. */
void findings_of_xsks(struct status *status);

/* Interfaces that lose what is moved.  What cannot be looked at is told to @note. */
void findings_of_moves(struct status *status,
		       void (*note)(struct status *status, const char *line));

/* How interfaces with the program are set, and who else is at the hook. */
void findings_of_settings(struct status *status);

/* Workers behind devices whose answers are discarded here. */
void findings_of_replies(struct status *status);

/* Other programs and unregistered sockets in a network namespace.  Returns 0, or why groups cannot
 * be looked at.
 */
int findings_of_groups(struct status *status, __u32 netns, struct error *error);

/* The same in the namespaces that workers behind devices are in.  What cannot be looked at is told
 * to
 * @note.
 */
void findings_of_groups_behind(struct status *status,
			       void (*note)(struct status *status, const char *line));

#endif
