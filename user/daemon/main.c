// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/point.h"
#include "common/protocol.h"
#include "common/cleanup.h"
#include "daemon/connection.h"
#include "daemon/control.h"
#include "daemon/discard.h"
#include "daemon/lease.h"
#include "daemon/locality.h"
#include "daemon/log.h"
#include "daemon/workers.h"
#include "dataplane/attach.h"
#include "dataplane/config.h"
#include "dataplane/plane.h"

#define DEFAULT_CONFIG "/etc/cidsteer.conf"

struct daemon {
	const char *config_path, *control_path, *dir;
	bool check, upgraded;
	struct config *config;
	struct plane plane;
	bool loaded; /* by this process, not adopted */
	struct loop loop;
	struct workers *workers;
	struct control control;
	struct localities localities;
	struct lease lease;
	struct source signals, second;
};

static const char usage[] =
	"usage: cidsteerd [--check] [--config FILE] [--control PATH] [--bpffs DIR]\n"
	"Keeps the routes of QUIC connection IDs in the kernel for registered workers.\n"
	"\n"
	"  --check         read the configuration, say what is wrong, and end\n"
	"  --config FILE   instead of $CIDSTEER_CONFIG, " DEFAULT_CONFIG "\n"
	"  --control PATH  instead of $CIDSTEER_CONTROL, " CS_CONTROL_PATH "\n"
	"  --bpffs DIR     instead of $CIDSTEER_BPFFS, /sys/fs/bpf/cidsteer\n"
	"  --help, --version\n";

static const char *from_environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

/* Returns -1 to go on, else the exit status. */
static int read_options(struct daemon *daemon, int argc, char **argv)
{
	static const struct option options[] = {
		{ "check", no_argument, NULL, 'k' },
		{ "config", required_argument, NULL, 'c' },
		{ "control", required_argument, NULL, 's' },
		{ "bpffs", required_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'k':
			daemon->check = true;
			break;
		case 'c':
			daemon->config_path = optarg;
			break;
		case 's':
			daemon->control_path = optarg;
			break;
		case 'b':
			daemon->dir = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("cidsteerd " CIDSTEER_VERSION);
			return 0;
		default:
			return 2;
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "cidsteerd: %s: not an option; see cidsteerd --help\n", argv[optind]);
	return 2;
}

static int check(const struct daemon *daemon)
{
	struct config *config;
	struct error error;

	if (config_read(daemon->config_path, &config, &error)) {
		fprintf(stderr, "cidsteerd: %s\n", error.line);
		return 1;
	}
	printf("%s: %u service%s, no mistake\n", daemon->config_path, config->count,
	       config->count == 1 ? "" : "s");
	config_free(config);
	return 0;
}

static void say_attached(const char *line, bool failed, void *arg)
{
	(void)failed, (void)arg;
	log_line("%s", line);
}

/* @change: lines before, or "". */
static void tell_manager(const struct daemon *daemon, const char *change)
{
	sd_notifyf(0, "%sSTATUS=%u service%s, workers register at %s, pins in %s", change,
		   daemon->config->count, daemon->config->count == 1 ? "" : "s",
		   daemon->control_path, daemon->plane.dir);
}

/* A service manager waits for as long as it hears of progress (sd_notify(3)). */
static void say_loaded(unsigned int loaded)
{
	log_line("loading: the programs of %u listeners so far", loaded);
	sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%d\nSTATUS=loading: the programs of %u listeners so far",
		   4 * PLANE_PROGRESS_SECONDS * 1000000, loaded);
}

/* The maps, and what this process knows of them; on failure both are as they were. */
static int take_configuration(struct daemon *daemon, const struct config *config,
			      struct error *error)
{
	struct plane_progress progress = { .say = say_loaded };
	struct error unused;
	int err;

	daemon->plane.progress = &progress;
	err = plane_reload(&daemon->plane, config, error);
	daemon->plane.progress = NULL;
	if (err)
		return err;
	CS_POINT("configuration"); /* the maps have it, and the daemon not */
	err = workers_reload(daemon->workers, config, error);
	if (!err || plane_reload(&daemon->plane, daemon->config, &unused))
		return err;
	workers_reload(daemon->workers, daemon->config, &unused);
	return err;
}

/* A mistake changes nothing.  Says what came of it in the log, too. */
static int reload(struct control *control, struct error *error)
{
	struct daemon *daemon = (void *)((char *)control - offsetof(struct daemon, control));
	_cleanup_config_ struct config *old = NULL;
	struct error unwatched;
	struct config *config;
	int err = config_read(daemon->config_path, &config, error);

	if (!err) {
		err = take_configuration(daemon, config, error);
		if (err)
			config_free(config);
	}
	if (err) {
		log_line("the configuration stays as it was: %s", error->line);
		tell_manager(daemon, ""); /* who may have heard that it was being loaded */
		return err;
	}
	config_forget_keys(config);
	old = daemon->config;
	daemon->config = config;
	if (localities_follow(&daemon->localities, &unwatched))
		log_line("%s", unwatched.line);
	attach_configured(&daemon->plane, config, say_attached, NULL);
	detach_removed(&daemon->plane, old, config, say_attached, NULL);
	log_line("%s read again: %u service%s", daemon->config_path, config->count,
		 config->count == 1 ? "" : "s");
	tell_manager(daemon, "");
	return 0;
}

static void got_signal(struct source *source, uint32_t events)
{
	struct daemon *daemon = (void *)((char *)source - offsetof(struct daemon, signals));
	struct signalfd_siginfo info;
	struct error error;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		reload(&daemon->control, &error);
		return;
	}
	log_line("signal %u: ending; packets go on being routed", info.ssi_signo);
	daemon->loop.stop = true;
}

static int watch_signals(struct daemon *daemon, struct error *error)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN); /* who reads the log may go away */
	sigprocmask(SIG_BLOCK, &set, NULL);
	daemon->signals = (struct source){ signalfd(-1, &set, SFD_CLOEXEC), got_signal };
	err = daemon->signals.fd < 0 ? -errno : loop_watch(&daemon->loop, &daemon->signals);
	return err ? error_set(error, err, "signals: %s", strerror(-err)) : 0;
}

static int watch_addresses(struct daemon *daemon, struct error *error)
{
	localities_init(&daemon->localities, &daemon->plane, &daemon->loop);
	return localities_follow(&daemon->localities, error);
}

static void second_passed(struct source *source, uint32_t events)
{
	struct daemon *daemon = (void *)((char *)source - offsetof(struct daemon, second));
	uint64_t times;

	(void)events;
	if (read(source->fd, &times, sizeof(times)) != sizeof(times))
		return;
	lease_renew(&daemon->lease);
	localities_again(&daemon->localities);
}

/* What has to be done again and again, once the loop runs. */
static int watch_time(struct daemon *daemon, struct error *error)
{
	const struct itimerspec second = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), err = 0;

	daemon->second = (struct source){ fd, second_passed };
	if (fd < 0 || timerfd_settime(fd, 0, &second, NULL))
		err = -errno;
	if (!err)
		err = loop_watch(&daemon->loop, &daemon->second);
	if (err)
		return error_set(error, err, "a timer: %s", strerror(-err));
	lease_start(&daemon->lease, &daemon->plane);
	return 0;
}

static int load(struct daemon *daemon, struct error *error)
{
	struct plane_progress progress = { .say = say_loaded };
	bool adopted;
	int err;

	daemon->plane.progress = &progress;
	err = plane_start(&daemon->plane, daemon->dir, daemon->config, &adopted, &daemon->upgraded,
			  error);
	daemon->plane.progress = NULL;
	if (!err)
		config_forget_keys(daemon->config);
	daemon->loaded = !err && !adopted;
	if (!err)
		log_line("%s %s", adopted ? "adopted what is pinned in" : "loaded, pinned in",
			 daemon->dir);
	if (daemon->upgraded)
		log_line("the programs of another version were replaced by those of %s",
			 CIDSTEER_VERSION);
	return err;
}

static void attach(struct daemon *daemon)
{
	CS_POINT("between the hooks");
	attach_upgrade(&daemon->plane, daemon->upgraded, say_attached, NULL);
	attach_configured(&daemon->plane, daemon->config, say_attached, NULL);
}

static int start(struct daemon *daemon, struct error *error)
{
	int err = config_read(daemon->config_path, &daemon->config, error);
	struct error unused;

	if (err)
		return err;
	daemon->workers = calloc(1, sizeof(*daemon->workers));
	if (!daemon->workers)
		return error_set(error, -ENOMEM, "out of memory");
	daemon->workers->tell = connection_tell;
	daemon->control.reload = reload;
	plane_raise_descriptors(2 * MAX_CONNECTIONS); /* each one, and its process */
	err = loop_init(&daemon->loop);
	if (err)
		return error_set(error, err, "epoll: %s", strerror(-err));
	err = watch_signals(daemon, error);
	if (!err && (err = discard_start()))
		error_set(error, err, "starting a thread: %s", strerror(-err));
	/* Before anything in the kernel is touched; who connects waits for the loop. */
	if (!err)
		err = control_listen(&daemon->control, daemon->control_path, daemon->workers,
				     &daemon->loop, error);
	if (err)
		return err;
	err = load(daemon, error);
	if (!err)
		err = watch_addresses(daemon, error);
	if (!err)
		err = watch_time(daemon, error);
	/* Last: it buries who died meanwhile, and what fails before has changed nothing. */
	if (!err)
		err = workers_init(daemon->workers, &daemon->plane, &daemon->loop, daemon->config,
				   error);
	if (!err) {
		attach(daemon);
		return 0;
	}
	control_close(&daemon->control);
	if (daemon->loaded)
		plane_unload(&daemon->plane, &unused);
	return err;
}

int main(int argc, char **argv)
{
	struct daemon daemon = {
		.config_path = from_environment("CIDSTEER_CONFIG", DEFAULT_CONFIG),
		.control_path = from_environment("CIDSTEER_CONTROL", CS_CONTROL_PATH),
		.dir = plane_default_dir(),
		.plane = PLANE_INIT,
	};
	struct error error;
	int status = read_options(&daemon, argc, argv);

	if (status >= 0)
		return status;
	if (daemon.check)
		return check(&daemon);
	if (start(&daemon, &error)) {
		log_line("%s", error.line);
		return 1;
	}
	log_line("ready at %s", daemon.control_path);
	tell_manager(&daemon, "READY=1\n");
	if (loop_run(&daemon.loop)) {
		log_line("epoll: %s", strerror(errno));
		return 1;
	}
	sd_notify(0, "STOPPING=1");
	control_close(&daemon.control);
	plane_close(&daemon.plane);
	config_free(daemon.config);
	return 0;
}
