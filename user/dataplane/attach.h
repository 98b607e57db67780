/* SPDX-License-Identifier: GPL-2.0-only */
/* cs_xdp on network interfaces of any network namespace that has a name. */
#ifndef CS_ATTACH_H
#define CS_ATTACH_H

#include "common/error.h"
#include "dataplane/advice.h"
#include "dataplane/plane.h"

enum attach_mode {
	ATTACH_AUTO, /* native where the driver has it, else generic */
	ATTACH_NATIVE,
	ATTACH_GENERIC,
};

/* Whose program is at an interface's XDP hook. */
enum attach_state {
	ATTACH_NONE,
	ATTACH_OURS,	     /* cs_xdp over the pinned maps, alone or behind libxdp's dispatcher */
	ATTACH_OTHER_NETNS,  /* ours, but the instance for another network namespace */
	ATTACH_FOREIGN_MAPS, /* a cs_xdp over maps that are not the pinned ones */
	ATTACH_OTHER,	     /* somebody else's program */
};

/* Of native XDP, by the driver. */
struct attach_refusal {
	int err;	/* a negative errno; 0: it has not refused */
	char said[128]; /* why, in the kernel's words; "": it gave no reason */
};

struct attach_info {
	enum attach_state state;
	enum attach_mode mode; /* native or generic */
	bool dispatcher;       /* behind libxdp's dispatcher */
	__u32 prog_id;	       /* of what is at the hook */
	char prog_name[32];
	/* After attach_interface(): */
	struct attach_refusal refusal;
	char why[352];	     /* this mode, or none; "": it was there before */
	char advice[ADVICE]; /* what to run to have native XDP; "": nothing, or nobody knows */
	bool helps;	     /* advice or why says what to do about a refusal */
	char changed[32];    /* words for ethtool -K that undo what the kernel has done by itself */
	bool asked_alone;    /* not behind the dispatcher, because of attach_place.alone */
};

/* A network namespace, and the instance of cs_xdp that is for it. */
struct attach_place {
	const struct plane *plane;
	const char *netns; /* "": that of this process */
	__u64 cookie;	   /* nothing is done once the name leads to another */
	int index;	   /* into cs_abi.netns_cookie; negative: no service is there */
	int xdp;	   /* its program; -1: there is none */
	bool alone;	   /* interfaces get it as a single program, not behind the dispatcher */
};

#define ATTACH_PLACE_INIT                                                                          \
	{                                                                                          \
		.xdp = -1                                                                          \
	}

/* Undo with attach_leave(), in every case.  Returns 0 or, with @error written, an errno. */
int attach_enter(struct attach_place *place, const struct plane *plane, const char *netns,
		 struct error *error);
void attach_leave(struct attach_place *place);
#define _cleanup_place_ __attribute__((cleanup(attach_leave)))

/* Calls @visit for each interface of a place, from within.  Returns 0 or an errno. */
int attach_each(const struct attach_place *place, void (*visit)(const char *interface, void *arg),
		void *arg, struct error *error);

/* Returns 0, -ENODEV, or another errno. */
int attach_query(const struct attach_place *place, const char *interface, struct attach_info *info,
		 struct error *error);

/*
 * attach_interface - put cs_xdp on an interface
 * @info:	receives what is there now
 *
 * Through libxdp, so that other XDP programs keep their place; where the kernel refuses its
 * dispatcher, or @place wants it so, as a single program.  Never removes anybody's program.
 *
 * Returns 0 (also if it is there already), -ENODEV, -EBUSY (another program holds the hook),
 * -EOPNOTSUPP (no native XDP in the driver), ...
 */
int attach_interface(const struct attach_place *place, const char *interface, enum attach_mode mode,
		     struct attach_info *info, struct error *error);

/* "eth0: attached, native", and what the user should know though it worked. */
void attach_describe(const char *interface, const struct attach_info *info, struct error *line);

/*
 * Attaches to each interface of the configuration.  A service works without XDP: what cannot be
 * attached is no reason to stop.  @say hears a line for each that was not attached before.
 */
void attach_configured(const struct plane *plane, const struct config *config,
		       void (*say)(const char *line, bool failed, void *arg), void *arg);

/*
 * attach_upgrade - put this build's cs_xdp where an older or newer one of ours is
 *
 * On every interface of each network namespace, configured or not; each in one step, so that no
 * packet goes without.  @say hears a line for each; after an upgrade also for one whose program
 * this process may not look at.
 */
void attach_upgrade(const struct plane *plane, bool upgraded,
		    void (*say)(const char *line, bool failed, void *arg), void *arg);

/*
 * Detaches from interfaces that @old names and @new does not, and from all of a network namespace
 * that has no service any more.
 */
void detach_removed(const struct plane *plane, const struct config *old, const struct config *new,
		    void (*say)(const char *line, bool failed, void *arg), void *arg);

/* Puts the place's program where another of ours is.  Returns 0 or a negative errno. */
int attach_replace(const struct attach_place *place, const char *interface,
		   struct attach_info *info, struct error *error);

/* Is it cs_xdp over the pinned maps, for whichever network namespace? */
bool attach_is_ours(const struct attach_info *info);

/* One that this process may not look at: neither pinned nor opened by its id. */
bool attach_is_hidden(const struct attach_info *info);

/* Removes pins of programs that no interface of this network namespace has any more. */
void attach_tidy(const struct plane *plane);

/* Takes cs_xdp off, nobody else's.  Returns 0, -ENODEV, or -ENOENT (it is not there). */
int detach_interface(const struct attach_place *place, const char *interface, struct error *error);

#endif
