// SPDX-License-Identifier: GPL-2.0-only
/* libcidsteer: each call returns the same, whoever writes the table; and how much room there is. */
#include <linux/udp.h>
#include <netinet/in.h>

#include "lib.h"

TestSuite(lib, .init = begin);

/* ---- results ------------------------------------------------------------------------------- */

enum call {
	ISSUE,
	PROVISIONAL,
	RETIRE,
	STRAY,
	PATH_CHANGE,
	DRAIN
};

static int call(struct cidsteer *handle, enum call what, const __u8 *cid, size_t len)
{
	switch (what) {
	case ISSUE:
		return cidsteer_issue(handle, cid, len);
	case PROVISIONAL:
		return cidsteer_issue_provisional(handle, cid, len);
	case RETIRE:
		return cidsteer_retire(handle, cid, len);
	case STRAY:
		return cidsteer_report_stray(handle, cid, len);
	case PATH_CHANGE:
		return cidsteer_report_path_change(handle);
	case DRAIN:
		return cidsteer_drain(handle);
	}
	return -ENOSYS;
}

Test(lib, every_call_has_the_same_result_in_both_modes)
{
	static const struct {
		int worker;
		enum call call;
		__u32 cid;
		size_t len;
		int result;
	} calls[] = {
		{ 0, ISSUE, 1, 8, 0 },
		{ 0, ISSUE, 1, 8, -EEXIST },
		{ 1, ISSUE, 1, 8, -EEXIST },
		{ 0, ISSUE, 2, 0, -EINVAL },
		{ 0, ISSUE, 2, 7, -EINVAL },
		{ 0, ISSUE, 2, 9, -EINVAL },
		{ 0, ISSUE, 2, 20, -EINVAL },
		{ 0, ISSUE, 2, 21, -EINVAL },
		{ 0, ISSUE, 2, (size_t)-1, -EINVAL },
		{ 0, ISSUE, 2, 264, -EINVAL }, /* 8 in a byte */
		{ 1, ISSUE, 2, 8, 0 },
		{ 0, PROVISIONAL, 1, 8, -EEXIST },
		{ 1, PROVISIONAL, 1, 8, -EEXIST },
		{ 0, PROVISIONAL, 3, 0, -EINVAL },
		{ 0, PROVISIONAL, 3, 21, -EINVAL },
		{ 0, PROVISIONAL, 3, 276, -EINVAL },
		{ 0, PROVISIONAL, 3, 1, 0 },
		{ 0, PROVISIONAL, 3, 20, 0 },
		{ 0, PROVISIONAL, 3, 8, 0 },
		{ 0, PROVISIONAL, 3, 8, -EEXIST },
		{ 0, ISSUE, 3, 8, -EEXIST },
		{ 1, ISSUE, 3, 8, -EEXIST },
		{ 0, STRAY, 1, 8, 1 }, /* somebody altered the table, if it is not its own */
		{ 0, STRAY, 2, 8, 1 },
		{ 0, STRAY, 9, 8, 0 },
		{ 1, STRAY, 1, 8, 1 },
		{ 1, STRAY, 3, 20, 1 },
		{ 1, STRAY, 3, 19, 0 },
		{ 0, STRAY, 1, 0, -EINVAL },
		{ 0, STRAY, 1, 21, -EINVAL },
		{ 0, RETIRE, 1, 0, -EINVAL },
		{ 0, RETIRE, 1, 21, -EINVAL },
		{ 0, RETIRE, 1, 264, -EINVAL },
		{ 0, RETIRE, 1, 8, 0 },
		{ 0, ISSUE, 1, 8, 0 },
		{ 0, RETIRE, 3, 8, 0 },
		{ 0, PROVISIONAL, 3, 8, 0 },
		{ 0, PATH_CHANGE, 0, 0, 0 },
		{ 0, DRAIN, 0, 0, 0 },
		{ 0, DRAIN, 0, 0, 0 },
		{ 0, ISSUE, 4, 8, 0 },
		{ 1, STRAY, 4, 8, 1 },
	};

	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *worker[2] = { open_worker(modes[mode]), open_worker(modes[mode]) };

		for (size_t i = 0; i < COUNT(calls); i++) {
			int result = call(worker[calls[i].worker], calls[i].call,
					  cid_number(calls[i].cid), calls[i].len);

			check(result == calls[i].result, "%s, call %zu: %d instead of %d",
			      modes[mode], i, result, calls[i].result);
		}
		cidsteer_close(worker[0]);
		cidsteer_close(worker[1]);
	}
}

Test(lib, retiring_what_was_not_issued_is_an_error_only_where_it_is_known)
{
	static const int results[] = { -ENOENT, 0 };

	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_worker(modes[mode]), *two = open_worker(modes[mode]);

		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		check(cidsteer_retire(two, cid_number(1), 8) == results[mode], "another's");
		check(cidsteer_retire(two, cid_number(2), 8) == results[mode], "nobody's");
		check(cidsteer_report_stray(two, cid_number(1), 8) == 1, "the route is gone");
		check(!cidsteer_retire(one, cid_number(1), 8), "its own");
		check(cidsteer_retire(one, cid_number(1), 8) == results[mode], "twice");
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

Test(lib, a_handle_knows_its_worker)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_worker(modes[mode]), *two = open_worker(modes[mode]);

		check(cidsteer_cid_length(one) == 8, "length");
		check(cidsteer_worker_id(one) && cidsteer_worker_id(one) <= 32767, "id");
		check(cidsteer_worker_id(one) != cidsteer_worker_id(two), "ids");
		check(!cidsteer_notes(one), "notes");
		check(cidsteer_fd(one) >= 0 && cidsteer_fd(one) != cidsteer_fd(two), "descriptors");
		cidsteer_close(one);
		cidsteer_close(two);
	}
	cidsteer_close(NULL);
}

Test(lib, udp_gro_is_noted)
{
	int fd = udp_bind(address_of("h3")), one = 1;
	struct cidsteer *handle;

	check(!setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)), "UDP_GRO");
	check(!try_open(&handle, "h3", fd, 0), "open");
	check(cidsteer_notes(handle) == CIDSTEER_NOTE_GRO, "notes %u", cidsteer_notes(handle));
	cidsteer_close(handle);
}

/* ---- room ---------------------------------------------------------------------------------- */

/* A table of 16 buckets: issue until there is no room, and nothing is lost. */
Test(lib, a_full_table_refuses_and_keeps_what_it_has)
{
	static const char *const services[] = { "tiny", "tinytold" };
	static struct plane plane;

	plane_look(&plane);
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_worker(services[mode]);
		struct cidsteer *two = open_worker(services[mode]);
		__u32 issued = 0;
		int result;

		while (!(result = cidsteer_issue(one, cid_number(issued), 8)))
			issued++;
		check(result == -ENOSPC && issued > 64 && issued <= 128, "%d after %u", result,
		      issued);
		check(usage_of(&plane, services[mode], one).issued == issued &&
			      usage_of(&plane, services[mode], one).refused == 1,
		      "usage");
		for (__u32 i = 0; i < issued; i++)
			check(cidsteer_report_stray(two, cid_number(i), 8) == 1, "%u is lost", i);
		check(!cidsteer_report_stray(two, cid_number(issued), 8), "what was refused");
		check(!cidsteer_retire(one, cid_number(0), 8), "retire");
		check(!cidsteer_issue(one, cid_number(0), 8), "the room of what was retired");
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

#define SHARE (64 / 8) /* of max_cids, all workers together: user/common/routes.h */

/* Two workers of one service: their provisional routes together have a share of max_cids. */
static void fill_share(const char *service, struct cidsteer *worker[2], int round)
{
	for (int i = 0; i < SHARE; i++)
		check(!cidsteer_issue_provisional(worker[i % 2], cid_number(i), 8 + i),
		      "%s, round %d, route %d", service, round, i);
	for (int i = 0; i < 2; i++) {
		check(cidsteer_issue_provisional(worker[i], cid_number(99), 8) == -EDQUOT,
		      "one too many");
		check(!cidsteer_issue(worker[i], cid_number(99), 8), "issue");
		check(!cidsteer_retire(worker[i], cid_number(99), 8), "retire");
		check(cidsteer_issue_provisional(worker[i], cid_number(99), 8) == -EDQUOT,
		      "the retire of another kind makes no room");
	}
	/* In another order than they came. */
	for (int i = 0; i < SHARE; i++) {
		int which = (i * 5 + round) % SHARE;

		check(!cidsteer_retire(worker[which % 2], cid_number(which), 8 + which),
		      "round %d, retire %d", round, which);
	}
	/* By message, retires wait in the batch of each. */
	check(!cidsteer_drain(worker[0]) && !cidsteer_drain(worker[1]), "drain");
}

Test(lib, provisional_routes_have_a_share_that_recovers_on_retire)
{
	static const char *const services[] = { "few", "fewtold" };
	static struct plane plane;

	plane_look(&plane);
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *worker[2] = { open_worker(services[mode]),
					       open_worker(services[mode]) };
		struct cs_usage usage;

		for (int round = 0; round < 50; round++)
			fill_share(services[mode], worker, round);
		for (int i = 0; i < 2; i++) {
			usage = usage_of(&plane, services[mode], worker[i]);
			check(usage.provisional == 0 && usage.refused == 100, "usage: %llu, %llu",
			      usage.provisional, usage.refused);
			check(usage.issued == 50 * (SHARE / 2 + 1) && usage.retired == usage.issued,
			      "usage: issued %llu, retired %llu", usage.issued, usage.retired);
			cidsteer_close(worker[i]);
		}
	}
}

/* Its routes are swept; what they took of the share is there again. */
Test(lib, a_workers_provisional_routes_end_with_it)
{
	static const char *const services[] = { "few", "fewtold" };

	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_worker(services[mode]);
		struct cidsteer *two = open_worker(services[mode]);

		for (int i = 0; i < SHARE; i++)
			check(!cidsteer_issue_provisional(one, cid_number(i), 8), "route %d", i);
		check(cidsteer_issue_provisional(two, cid_number(99), 8) == -EDQUOT, "one more");
		cidsteer_close(one);
		check(eventually(!cidsteer_issue_provisional(two, cid_number(99), 8)),
		      "%s: its share is lost", services[mode]);
		cidsteer_close(two);
	}
}

/* As a daemon leaves it that is killed after it has cleared a worker's line. */
Test(lib, a_share_that_nobody_gives_back_is_free_when_all_workers_have_gone)
{
	struct cidsteer *worker = open_worker("fewtold");
	struct plane plane;
	struct cs_usage *usage;
	__u32 id;
	int fd;

	plane_look(&plane);
	id = service_named(&plane, "fewtold");
	fd = plane_usage_fd(&plane, id);
	usage = plane_map_usage(fd, true);
	check(usage, "usage");
	__atomic_store_n(&usage[0].provisional, SHARE, __ATOMIC_RELAXED);
	check(cidsteer_issue_provisional(worker, cid_number(1), 8) == -EDQUOT, "it is lost");
	cidsteer_close(worker);
	check(eventually(!__atomic_load_n(&usage[0].provisional, __ATOMIC_RELAXED)), "it stays lost");
	worker = open_worker("fewtold");
	check(!cidsteer_issue_provisional(worker, cid_number(1), 8), "issue");
	cidsteer_close(worker);
	plane_unmap_usage(usage);
	close(fd);
}

/* Strangers open connections at @workers workers; then each real ID up to max_cids is issued. */
static void flood(const char *service, int workers, __u32 max_cids)
{
	struct cidsteer *worker[256];
	__u32 strangers = 0, refused = 0;

	for (int i = 0; i < workers; i++)
		worker[i] = open_worker(service);
	for (__u32 i = 0; i < 40 * (__u32)workers; i++) {
		int result = cidsteer_issue_provisional(worker[i % workers],
							cid_number(1000000 + i), 20);

		check(!result || result == -EDQUOT, "provisional: %d", result);
		strangers += !result;
	}
	for (__u32 i = 0; i < max_cids; i++)
		refused += cidsteer_issue(worker[i % workers], cid_number(i), 8) != 0;
	check(!refused, "%u provisional routes of %d workers: %u of %u issues failed", strangers,
	      workers, refused, max_cids);
	for (int i = 0; i < workers; i++)
		cidsteer_close(worker[i]);
}

Test(lib, a_flood_of_initials_never_makes_issue_fail)
{
	flood("h3", 8, 4096);
	flood("told", 8, 4096);
}

Test(lib, a_flood_of_initials_at_many_workers_never_makes_issue_fail)
{
	daemon_end(SIGKILL);
	check(!system("rm -r " PINS), "unload");
	daemon_start("service \"h3\" { listen = {\"127.0.0.1:4433\"} max_cids = 512 }\n");
	flood("h3", 256, 512);
}
