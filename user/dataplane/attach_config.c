// SPDX-License-Identifier: GPL-2.0-only
/* cs_xdp on the interfaces that the configuration names, and this build's in place of another's. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "dataplane/attach.h"
#include "dataplane/internal.h"

static void __attribute__((format(printf, 2, 3))) add(struct error *line, const char *format, ...)
{
	size_t len = strlen(line->line);
	va_list args;

	va_start(args, format);
	vsnprintf(line->line + len, sizeof(line->line) - len, format, args);
	va_end(args);
}

static const char *why_alone(const struct attach_info *info)
{
	if (info->asked_alone)
		return "behind libxdp's dispatcher nothing is sent to a device or moved to a CPU";
	return plane_may_open_by_id() ? "libxdp's dispatcher is not there" :
					"libxdp's dispatcher needs CAP_SYS_ADMIN";
}

void attach_describe(const char *interface, const struct attach_info *info, struct error *line)
{
	error_set(line, 0, "%s: attached, %s", interface,
		  info->mode == ATTACH_GENERIC ? "generic" : "native");
	if (*info->why)
		add(line, ", because %s", info->why);
	if (*info->advice)
		add(line, ": %s, then detach it and attach again", info->advice);
	if (*info->changed)
		add(line,
		    "; the kernel has turned off for that what this turns on again: "
		    "ethtool -K %s%s",
		    interface, info->changed);
	if (!info->dispatcher)
		add(line, "; alone: no other XDP program can share this hook, because %s",
		    why_alone(info));
}

/* ---- what the configuration says ------------------------------------------------------------- */

struct listener {
	void (*say)(const char *line, bool failed, void *arg);
	void *arg;
};

/* "red: s0: attached ..." */
static void tell(const struct listener *to, const char *netns, const struct error *line,
		 bool failed)
{
	struct error whole;

	error_set(&whole, 0, "%s%s%.420s", netns, *netns ? ": " : "", line->line);
	to->say(whole.line, failed, to->arg);
}

/* An interface has one program for all services of its namespace. */
static bool has_devices(const struct config *config, const char *netns)
{
	for (unsigned int s = 0; s < config->count; s++) {
		if (config->service[s].behind_device && !strcmp(config->service[s].netns, netns))
			return true;
	}
	return false;
}

static void attach_service(const struct plane *plane, const struct config *config,
			   const struct config_service *service, const struct listener *to)
{
	struct attach_place place _cleanup_place_ = ATTACH_PLACE_INIT;
	struct attach_info info;
	struct error line;
	int err = attach_enter(&place, plane, service->netns, &line);

	if (err)
		tell(to, "", &line, true);
	/* Workers behind devices are lost without it; others are only not moved to CPUs. */
	place.alone = has_devices(config, service->netns);
	for (unsigned int i = 0; i < service->interface_count && !err; i++) {
		const char *name = service->interface[i];
		int failed;

		if (!attach_query(&place, name, &info, &line) && info.state == ATTACH_OURS)
			continue;
		failed = attach_interface(&place, name, ATTACH_AUTO, &info, &line);
		if (!failed)
			attach_describe(name, &info, &line);
		tell(to, service->netns, &line, failed != 0);
	}
}

void attach_configured(const struct plane *plane, const struct config *config,
		       void (*say)(const char *line, bool failed, void *arg), void *arg)
{
	const struct listener to = { say, arg };

	for (unsigned int s = 0; s < config->count; s++) {
		if (config->service[s].interface_count)
			attach_service(plane, config, &config->service[s], &to);
	}
}

static bool names_interface(const struct config *config, const char *netns, const char *interface)
{
	for (unsigned int s = 0; s < config->count; s++) {
		const struct config_service *service = &config->service[s];

		for (unsigned int i = 0; i < service->interface_count; i++) {
			if (!strcmp(service->netns, netns) &&
			    !strcmp(service->interface[i], interface))
				return true;
		}
	}
	return false;
}

static bool names_netns(const struct config *config, const char *netns)
{
	for (unsigned int s = 0; s < config->count; s++) {
		if (!strcmp(config->service[s].netns, netns))
			return true;
	}
	return !*netns;
}

static void detach_one(const struct attach_place *place, const char *name,
		       const struct listener *to)
{
	struct error line;
	int err = detach_interface(place, name, &line);

	/* Two services named it, or somebody has taken it off. */
	if (err == -ENOENT || err == -ENODEV)
		return;
	if (!err)
		error_set(&line, 0, "%s: detached", name);
	tell(to, place->netns, &line, err != 0);
}

struct leaving {
	struct attach_place *place;
	const struct listener *to;
};

static void leave_interface(const char *name, void *arg)
{
	const struct leaving *leaving = arg;
	struct attach_info info;
	struct error line;
	int err = attach_query(leaving->place, name, &info, &line);

	if (err && err != -ENODEV)
		tell(leaving->to, leaving->place->netns, &line, true);
	if (!err && attach_is_ours(&info))
		detach_one(leaving->place, name, leaving->to);
}

void detach_removed(const struct plane *plane, const struct config *old, const struct config *new,
		    void (*say)(const char *line, bool failed, void *arg), void *arg)
{
	const struct listener to = { say, arg };

	for (unsigned int s = 0; s < old->count; s++) {
		const struct config_service *service = &old->service[s];
		struct attach_place place _cleanup_place_ = ATTACH_PLACE_INIT;
		struct leaving leaving = { &place, &to };
		bool leaves = !names_netns(new, service->netns);
		struct error line;
		int err;

		if (!leaves && !service->interface_count)
			continue;
		err = attach_enter(&place, plane, service->netns, &line);
		/* With a namespace that is gone its interfaces are. */
		if (err && err != -ENOENT)
			tell(&to, service->netns, &line, true);
		if (err)
			continue;
		for (unsigned int i = 0; i < service->interface_count; i++) {
			if (!names_interface(new, service->netns, service->interface[i]))
				detach_one(&place, service->interface[i], &to);
		}
		if (leaves && (err = attach_each(&place, leave_interface, &leaving, &line)) &&
		    err != -ENOENT)
			tell(&to, service->netns, &line, true);
	}
}

/* ---- another build's programs ---------------------------------------------------------------- */

struct upgrading {
	const struct attach_place *place;
	bool upgraded;
	const struct listener *to;
};

static void upgrade_interface(const char *name, void *arg)
{
	const struct upgrading *upgrading = arg;
	const struct attach_place *place = upgrading->place;
	struct attach_info info;
	_cleanup_fd_ int old = -1;
	struct error line;
	int err;

	if (attach_query(place, name, &info, &line))
		return;
	if (upgrading->upgraded && attach_is_hidden(&info)) {
		error_set(&line, 0,
			  "%s: program %u stays: whether it is of another version of cidsteer only "
			  "CAP_SYS_ADMIN may see: cidsteer load, as root and without a daemon, "
			  "replaces it",
			  name, info.prog_id);
		tell(upgrading->to, place->netns, &line, true);
	}
	if (!attach_is_ours(&info) || place->xdp < 0)
		return;
	old = plane_open_xdp(place->plane, info.prog_id);
	if (old < 0 || (plane_same_code(old, place->xdp) && info.state == ATTACH_OURS))
		return;
	err = attach_replace(place, name, &info, &line);
	if (err)
		error_set(&line, err, "%s: the program of another version stays: %s", name,
			  strerror(-err));
	else
		error_set(&line, 0, "%s: program replaced", name);
	tell(upgrading->to, place->netns, &line, err != 0);
}

void attach_upgrade(const struct plane *plane, bool upgraded,
		    void (*say)(const char *line, bool failed, void *arg), void *arg)
{
	const struct listener to = { say, arg };

	for (int i = 0; i < CS_MAX_NETNS; i++) {
		struct attach_place place _cleanup_place_ = ATTACH_PLACE_INIT;
		struct upgrading upgrading = { &place, upgraded, &to };
		struct error line;
		int err;

		if (i && !*plane->netns[i])
			continue;
		err = attach_enter(&place, plane, plane->netns[i], &line);
		if (!err)
			err = attach_each(&place, upgrade_interface, &upgrading, &line);
		/* Else nothing was to be done; with a namespace that is gone its interfaces are. */
		if (err && err != -ENOENT && upgraded)
			tell(&to, plane->netns[i], &line, true);
	}
	attach_tidy(plane);
}
