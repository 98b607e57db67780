/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The protocol of the CID table for spin: issue, retire, look-up, burial, sweep, and an id that
 * is given away again.  tests/model/run searches it through; `make model`.
 *
 * What the C code does to shared memory in one access is one step here (one d_step or atomic).
 * A step of the C code bears `model: NAME` in a comment; here it is STEP(function, NAME) and a
 * row of this table.  The command fails if one of the three is without the others, if the order
 * that the C line asks for is not the row's, or if no search comes to the step.
 *
 *   function              step    order    here
 *   cs_bucket_find        read    -        READ_WORD: each word once, in any order
 *   cs_table_find         first   -        READ_WORD(0), READ_WORD(1)
 *   cs_table_find         second  -        READ_WORD(2), READ_WORD(3)
 *   cs_map_route          first   -        READ_WORD(0), READ_WORD(1): the reader is both
 *   cs_map_route          second  -        READ_WORD(2), READ_WORD(3)
 *   cs_table_look         read    seq_cst  look: a word each time
 *   cs_sight_choose       choose  -        choose: either bucket with room
 *   cs_word_swap          swap    seq_cst  swap
 *   cs_table_insert       exists  -        insert, after the first look
 *   cs_table_insert       full    -        insert, after the first look
 *   cs_table_insert       pend    seq_cst  insert, after the first look
 *   cs_table_insert       again   -        insert: look, with `at` the pending word
 *   cs_table_insert       undo    seq_cst  insert, after the second look
 *   cs_table_insert       commit  seq_cst  insert, after the second look
 *   cs_table_remove       read    relaxed  remove: the caller has written the word itself, and
 *                                          nobody but the sweep changes it after that
 *   cs_table_remove       take    seq_cst  remove
 *   is_buried             read    seq_cst  issue, before and after
 *   insert                before  -        issue
 *   insert                table   -        issue: insert
 *   insert                after   -        issue
 *   insert                undo    -        issue: remove
 *   routes_retire         remove  -        retire: remove
 *   workers_bury          mark    seq_cst  daemon, at "bury"
 *   begin_sweep           start   -        daemon, at "bury" and when the process has ended
 *   cs_table_sweep        read    seq_cst  daemon
 *   cs_table_sweep        take    seq_cst  daemon
 *   sweep_some            piece   -        daemon: a bucket; between two it hears of the end
 *   worker_process_ended  gone    -        daemon: is_gone
 *   worker_process_ended  again   -        daemon: n = 0
 *   may_still_write       wait    -        daemon: a whole sweep, and the process is not gone
 *   settle_usage          clear   -        daemon, with the next
 *   free_worker           free    -        daemon: id_free
 *   id_take               take    -        worker: the one that is reborn
 *   settle_worker        bury    -        daemon: a daemon that starts anew, at any step
 *
 * What is modelled: the words and `buried`, which several processes write; of the daemon what it does
 * with them.  Not: hashing (a tag's lowest bit says which bucket is its first), the limits of a
 * bucket, counters and the share of provisional routes (tests/table_step_test.c), who is in the
 * ring, sockets.  A provisional issue is an issue with another limit.
 *
 * Memory: spin's steps are sequentially consistent.  That the C code's are is argued, not searched:
 *  - what several processes write (words, buried) is written by SEQ_CST accesses alone, and read by
 *    SEQ_CST loads wherever the order of two accesses matters: these have one order that all
 *    see.  The table above says which order each line asks for.
 *  - readers in the kernel load plainly: here they read their words in any order (but IN_ORDER),
 *    each once.
 *  - cs_table_remove() reads relaxed: its caller has written the word, or does not care.
 *  - what a process has stored is seen when the kernel says that it has ended.
 * The faults buried_read_early and sweep_before_mark are what processors make of weaker orders.
 *
 * Bounds: two buckets of two words, up to four workers with one or two calls each, ids and tags of
 * three bits, one try after a lost word where the C code has 64, one look-up (which begins at any
 * time).  A worker is stopped (SIGSTOP) by not being chosen, and killed in any step (worker's
 * `unless`).  Within them every interleaving is searched, and no state is hashed away.
 *
 * A new step of the C code: a comment in its line, a row above, a STEP here.  A new fault: a macro
 * that weakens one step under #ifdef FAULT_..., and a row in tests/model/run that says in which
 * scenario it breaks which law; it is run with that law alone.  A new law: a bit below, LAW() where
 * it holds, and a fault that breaks it.
 */

/* ---- laws: LAWS says which are looked at --------------------------------------------------- */
#define FOUND  1   /* a look-up while a route is live finds it, and no other worker */
#define WINNER 2   /* no second route of a tag is issued while one is live */
#define OWN    4   /* a worker takes away its own routes alone, and a live one always */
#define LEFT   8   /* a call that has returned leaves no pending word */
#define READ   16  /* a look-up names only a worker that has committed a route of the tag */
#define LATE   32  /* an issue that begins after the burial writes nothing */
#define SWEPT  64  /* swept once, and no call of the worker under way: no word names it */
#define FREED  128 /* when its id becomes free, no word names it */
#define GONE   256 /* an id is given to another when its process has ended, not before */
/* ENDS, the LTL formula below: an issue ends, whatever others do.  (That every call of the other
 * scenarios ends is what spin looks for by itself: no state without a way on.)
 */
#ifndef LAWS
#define LAWS 511
#endif
/* Says once that the search came to a state in which the law asks for something. */
#define LAW(name, premise, holds)                                                                  \
	if                                                                                         \
	:: (LAWS & (name)) && (premise) ->                                                         \
		c_code { static int told; if (!told++) printf("looked at " #name "\n"); };          \
		assert(holds)                                                                      \
	:: else                                                                                    \
	fi

/* Says once that the search came here. */
#define STEP(function, step)                                                                       \
	c_code { static int told; if (!told++) printf("reached " #function " " #step "\n"); }

/* ---- the table ----------------------------------------------------------------------------- */
#define IN_BUCKET    2 /* CS_BUCKET_ROUTES */
#define WORDS	     4 /* every tag's two buckets: a tag's lowest bit says which is its first */
#define NONE	     7 /* no word, no tag */
#define TRIES	     1 /* 64 in the C code */
#define TAGS	     6

/* tag << 4 | pending << 3 | worker's id */
#define PENDING	      8
#define ID	      7
#define ROUTE(tag)    ((tag) << 4 | id)
#define AT(tag, nth)  (((tag & 1) ^ (nth) / IN_BUCKET) * IN_BUCKET + (nth) % IN_BUCKET)

/* Four workers.  VICTIM is the one that is buried, and REBORN has its id after it. */
#define VICTIM 1
#define OTHER  2
#define THIRD  3
#define REBORN 4
#define ID_OF(worker) (worker == REBORN -> VICTIM : worker)

/* What a call returns; AGAIN: not yet. */
#define AGAIN	 1
#define EXISTS	 2
#define FULL	 3
#define STALE	 4
#define NO_ROUTE 5

byte word[WORDS];
bit buried[REBORN]; /* by id: the line of usage is the same when the id is */
bit killed;	    /* VICTIM's process has ended */
bit id_free;

/* What nobody but the laws reads. */
byte wrote[WORDS];	/* worker that wrote the word */
byte live[TAGS];	/* worker whose route is issued and neither retired nor buried */
byte committed[TAGS];	/* a bit for each id that was ever committed */
bit calling[REBORN + 1]; /* by worker: a call is under way */
bit is_swept;		/* the table was swept once since the burial */
bit ended;
byte watched_tag = NONE; /* by the reader */
byte watched_id;	 /* whose route was live when it began, and has been since */

#define NAMES(i)      ((word[i] & ID) == VICTIM)
#define NAMED	      (NAMES(0) || NAMES(1) || NAMES(2) || NAMES(3))
#define PENDS(i)      ((word[i] & (PENDING | ID)) == (PENDING | id))
#define LEAVES	      (PENDS(0) || PENDS(1) || PENDS(2) || PENDS(3))

inline ends(which)
{
	live[which] = 0;
	watched_id = (watched_tag == which -> 0 : watched_id)
}

/* ---- faults: each is one of the above, left out or weakened ---------------------------------- */
#ifdef FAULT_commit_at_once
#define PENDS_FIRST 0
#else
#define PENDS_FIRST PENDING
#endif
#ifdef FAULT_pend_stores
#define FROM_EMPTY word[at]
#else
#define FROM_EMPTY 0
#endif
#ifdef FAULT_look_passes_over_pending
#define COUNTS(seen) (!(seen & PENDING) || (seen & ID) == id)
#else
#define COUNTS(seen) 1
#endif
#ifdef FAULT_no_second_look
#define IS_TWICE 0
#else
#define IS_TWICE (same > 1)
#endif
#ifdef FAULT_undo_stores
#define FROM_UNDONE word[at]
#else
#define FROM_UNDONE (ROUTE(tag) | PENDS_FIRST)
#endif
#ifdef FAULT_no_undo
#define UNDONE word[at]
#else
#define UNDONE 0
#endif
#ifdef FAULT_commit_stores
#define FROM_PENDING word[at]
#else
#define FROM_PENDING (ROUTE(tag) | PENDS_FIRST)
#endif
#ifdef FAULT_no_bound
#define IS_LAST 0
#else
#define IS_LAST (tries == TRIES)
#endif
#ifdef FAULT_remove_stores
#define FROM_OWN word[at]
#else
#define FROM_OWN ROUTE(tag)
#endif
#ifdef FAULT_remove_by_tag
#undef FROM_OWN
#define FROM_OWN    word[at]
#define IS_OWN(seen) (seen && seen >> 4 == tag && !(seen & PENDING))
#else
#define IS_OWN(seen) (seen == ROUTE(tag))
#endif
#ifdef FAULT_no_check_before
#define BURIED_BEFORE 0
#else
#define BURIED_BEFORE buried[id]
#endif
#ifdef FAULT_no_check_after
#define BURIED_AFTER 0
#elif defined(FAULT_buried_read_early)
#define BURIED_AFTER early
#define NOTE_EARLY   early = buried[id]
#else
#define BURIED_AFTER buried[id]
#endif
#ifndef NOTE_EARLY
#define NOTE_EARLY skip
#endif
#ifdef FAULT_sweep_stores
#define FROM_SWEPT word[at]
#else
#define FROM_SWEPT old
#endif
#ifdef FAULT_sweep_passes_over_pending
#define SWEEPS(seen) (!(seen & PENDING))
#else
#define SWEEPS(seen) 1
#endif
#ifdef FAULT_no_second_sweep
#define SWEEP_AGAIN (n == WORDS -> WORDS : 0)
#elif defined(FAULT_second_sweep_goes_on)
#define SWEEP_AGAIN (n == WORDS -> 0 : n)
#else
#define SWEEP_AGAIN 0
#endif
#ifdef FAULT_restart_sweeps_not
#define SWEEP_ADOPTED WORDS
#else
#define SWEEP_ADOPTED 0
#endif
#ifdef FAULT_sweep_before_mark
#define MARK_FIRST 0
#else
#define MARK_FIRST 1
#endif
#ifdef FAULT_free_before_gone
#define MAY_WRITE 0
#else
#define MAY_WRITE (!is_gone)
#endif
#ifdef FAULT_reader_takes_pending
#define MATCHES(seen) ((seen >> 4) == tag && seen)
#else
#define MATCHES(seen) ((seen ^ tag << 4) <= ID && seen)
#endif
#ifdef FAULT_reader_reads_twice
#define SAW(nth) (saw[nth] -> word[AT(tag, nth)] : 0)
#else
#define SAW(nth) saw[nth]
#endif

/* ---- cid_table.h ------------------------------------------------------------------------------ */
/* The one way to write a word; the caller is `me`. */
inline swap(i, from, to)
{
	STEP(cs_word_swap, swap);
	swapped = word[i] == (from);
	word[i] = (swapped -> (to) : word[i]);
	wrote[i] = (swapped -> (word[i] -> me : 0) : wrote[i])
}

inline look_anew()
{
	n = 0;
	same = 0;
	room[0] = NONE;
	room[1] = NONE
}

/* The n-th word of both buckets.  In the second look nobody asks for room. */
inline look()
{
	STEP(cs_table_look, read);
	if
	:: !word[AT(tag, n)] && at == NONE && room[n / IN_BUCKET] == NONE ->
		room[n / IN_BUCKET] = AT(tag, n)
	:: else ->
		same = same + (word[AT(tag, n)] && word[AT(tag, n)] >> 4 == tag &&
			       COUNTS(word[AT(tag, n)]))
	fi;
	n++
}

/* Either bucket with room: no law depends on which, nor on the limit. */
inline choose()
{
	STEP(cs_sight_choose, choose);
	if
	:: room[0] != NONE -> at = room[0]
	:: room[1] != NONE -> at = room[1]
	:: room[0] == NONE && room[1] == NONE -> at = NONE
	fi
}

/* What is done in one step when the first look has seen every word ... */
inline insert_pending()
{
	if
	:: same ->
		STEP(cs_table_insert, exists);
		ret = EXISTS
	:: else ->
		choose();
		if
		:: at == NONE || IS_LAST ->
			STEP(cs_table_insert, full);
			ret = FULL;
			at = NONE
		:: else ->
			STEP(cs_table_insert, pend);
			swap(at, FROM_EMPTY, ROUTE(tag) | PENDS_FIRST);
			LAW(LATE, swapped && buried[id], !is_late);
			NOTE_EARLY;
			tries = (swapped || tries == TRIES -> tries : tries + 1);
			at = (swapped -> at : NONE);
			swapped = 0
		fi
	fi;
	look_anew()
}

/* ... and when the second has. */
inline insert_final()
{
	if
	:: IS_TWICE ->
		STEP(cs_table_insert, undo);
		LAW(OWN, word[at] == FROM_UNDONE, wrote[at] == me);
		swap(at, FROM_UNDONE, UNDONE);
		ret = EXISTS
	:: else ->
		STEP(cs_table_insert, commit);
		swap(at, FROM_PENDING, ROUTE(tag));
		committed[tag] = committed[tag] | swapped << id;
		ret = (swapped -> 0 : STALE)
	fi;
	at = NONE;
	tries = 0;
	swapped = 0;
	look_anew()
}

inline insert()
{
	do
	:: d_step {
		ret == AGAIN && n < WORDS && at == NONE ->
		look()
	   }
	:: atomic {
		ret == AGAIN && n == WORDS && at == NONE ->
		insert_pending()
	   }
	:: d_step {
		ret == AGAIN && n < WORDS && at != NONE ->
		STEP(cs_table_insert, again);
		look()
	   }
	:: d_step {
		ret == AGAIN && n == WORDS && at != NONE ->
		insert_final()
	   }
	:: ret != AGAIN -> break
	od
}

inline remove()
{
	do
	:: d_step {
		ret == AGAIN && at == NONE ->
		STEP(cs_table_remove, read);
		at = (IS_OWN(word[AT(tag, n)]) -> AT(tag, n) : NONE);
		n++;
		ret = (n == WORDS && at == NONE -> NO_ROUTE : AGAIN)
	   }
	:: d_step {
		ret == AGAIN && at != NONE ->
		STEP(cs_table_remove, take);
		LAW(OWN, word[at] && word[at] == FROM_OWN, wrote[at] == me);
		swap(at, FROM_OWN, 0);
		ret = (swapped -> 0 : (n == WORDS -> NO_ROUTE : AGAIN));
		at = NONE;
		swapped = 0
	   }
	:: ret != AGAIN -> break
	od
}

/* ---- routes.c ------------------------------------------------------------------------------------ */
inline forget()
{
	look_anew();
	at = NONE;
	ret = 0;
	tries = 0;
	swapped = 0;
	early = 0;
	is_late = 0;
	was_live = 0;
	tag = NONE
}

inline call_ends()
{
	LAW(LEFT, true, !LEAVES);
	calling[me] = 0;
	LAW(SWEPT, me == VICTIM && is_swept, !NAMED);
	forget()
}

/* insert() of routes.c */
inline issue()
{
	d_step {
		STEP(insert, before);
		STEP(is_buried, read);
		calling[me] = 1;
		is_late = buried[id];
		ret = (BURIED_BEFORE -> STALE : AGAIN)
	}
	insert();
	atomic {
		STEP(insert, table);
		if
		:: ret == 0 && !BURIED_AFTER ->
			LAW(WINNER, true, !live[tag]);
			live[tag] = me
		:: ret == 0 && BURIED_AFTER ->
			STEP(insert, after);
			ret = AGAIN
		:: else
		fi
	}
	if
	:: ret == AGAIN ->
		STEP(insert, undo);
		remove()
	:: else
	fi;
	atomic {
		call_ends()
	}
}

inline retire()
{
	d_step {
		STEP(routes_retire, remove);
		calling[me] = 1;
		ret = AGAIN;
		if
		:: live[tag] == me ->
			was_live = 1;
			ends(tag)
		:: else
		fi
	}
	remove();
	atomic {
		LAW(OWN, was_live && !buried[id], !ret);
		call_ends()
	}
}

#define FOREVER 255

/* Makes @calls calls, or fewer, with tags from @first to @last. */
proctype worker(byte me, id, first, last, calls)
{
	byte tag = NONE, ret, at = NONE, n, tries;
	byte same, room[2] = NONE; /* struct cs_sight */
	bit swapped, is_late, was_live, early;

	{
		if
		:: me == REBORN ->
			d_step {
				id_free ->
				STEP(id_take, take);
				LAW(GONE, true, killed)
			}
		:: else
		fi;
		do
		:: atomic {
			calls ->
			calls = (calls == FOREVER -> FOREVER : calls - 1);
			tag = first;
			do
			:: tag < last -> tag++
			:: break
			od
		   }
			if
			:: issue()
			:: retire()
			fi
		:: calls != FOREVER -> break
		od;
		atomic {
			forget();
			calls = 0;
			ended = ended || me == VICTIM
		}
	} unless {
		me == VICTIM && killed
	}
	atomic {
		forget();
		calls = 0
	}
}

/* ---- readers ----------------------------------------------------------------------------------- */
/* The order of a reader's loads is the processor's; what the words say is looked at in order.
 * IN_ORDER, for the larger scenarios: also read in order, and no further than to the route.
 */
#ifdef IN_ORDER
#define IS_TURN(nth) (done == (1 << nth) - 1)
#define DONE(nth)    (saw[nth] -> 15 : done | 1 << nth)
#else
#define IS_TURN(nth) (!(done & 1 << nth))
#define DONE(nth)    (done | 1 << nth)
#endif
#define READ_WORD(nth, half)                                                                       \
	d_step {                                                                                   \
		IS_TURN(nth) ->                                                                    \
		STEP(cs_map_route, half);                                                          \
		STEP(cs_table_find, half);                                                         \
		STEP(cs_bucket_find, read);                                                        \
		saw[nth] = (MATCHES(word[AT(tag, nth)]) -> word[AT(tag, nth)] : 0);                \
		done = DONE(nth)                                                                   \
	}

/* One look-up: it may begin at any time, so it is all of them. */
proctype reader(byte first, last)
{
	byte tag, done, result, saw[WORDS];

	atomic {
		select(tag : first .. last);
		watched_tag = tag;
		watched_id = ID_OF(live[tag])
	}
	do
	:: READ_WORD(0, first)
	:: READ_WORD(1, first)
	:: READ_WORD(2, second)
	:: READ_WORD(3, second)
	:: d_step {
		done == 15 ->
		result = (saw[2] -> SAW(2) : SAW(3));
		result = (saw[0] -> SAW(0) : (saw[1] -> SAW(1) : result));
		LAW(READ, result, !(result & PENDING));
		result = result & ID;
		LAW(READ, result, committed[tag] & 1 << result);
		LAW(FOUND, watched_id, result == watched_id);
		watched_tag = NONE;
		watched_id = 0;
		done = 0;
		result = 0;
		saw[0] = 0;
		saw[1] = 0;
		saw[2] = 0;
		saw[3] = 0
	   }
		break
	od
}

#ifdef FAULT_a_route_moves
/* Makes room somewhere: copies a route to an empty word, then empties its first. */
proctype mover()
{
	byte from, to;

	select(from : 0 .. WORDS - 1);
	select(to : 0 .. WORDS - 1);
	if
	:: d_step {
		word[from] && !(word[from] & PENDING) && !word[to] ->
		word[to] = word[from];
		wrote[to] = wrote[from]
	   }
		d_step {
			word[from] = 0;
			wrote[from] = 0
		}
	:: true
	fi
}
#endif

/* ---- the daemon --------------------------------------------------------------------------------- */
#define SWEEP_OVER (n == WORDS && at == NONE && buried[VICTIM])

proctype daemon(bit may_restart)
{
	byte me, n, at = NONE, old;
	bit is_gone, restarted, swapped;

	if
	:: true /* VICTIM's connection ends, at any time; or: */
	:: killed -> is_gone = 1
	fi;
bury:
	atomic {
		STEP(workers_bury, mark);
		STEP(begin_sweep, start);
		buried[VICTIM] = MARK_FIRST;
		do
		:: me < TAGS ->
			if
			:: live[me] == VICTIM -> ends(me)
			:: else
			fi;
			me++
		:: else ->
			me = 0;
			break
		od
	}
	do
	:: d_step {
		n < WORDS && at == NONE ->
		STEP(cs_table_sweep, read);
		at = ((word[n] & ID) == VICTIM && SWEEPS(word[n]) -> n : NONE);
		old = (at == NONE -> 0 : word[n]);
		n++
	   }
	:: d_step {
		at != NONE ->
		STEP(cs_table_sweep, take);
		swap(at, FROM_SWEPT, 0);
		at = NONE;
		old = 0;
		swapped = 0
	   }
	:: d_step { /* between two pieces of the sweep, or behind it */
		n % IN_BUCKET == 0 && at == NONE && killed && !is_gone ->
		STEP(sweep_some, piece);
		STEP(worker_process_ended, gone);
		STEP(worker_process_ended, again);
		is_gone = 1;
		is_swept = 0;
		n = SWEEP_AGAIN
	   }
	:: d_step {
		n == WORDS && at == NONE && !buried[VICTIM] ->
		buried[VICTIM] = 1
	   }
	:: d_step {
		SWEEP_OVER && MAY_WRITE && !is_swept ->
		STEP(may_still_write, wait);
		is_swept = 1;
		LAW(SWEPT, !calling[VICTIM], !NAMED)
	   }
	:: d_step { /* the daemon itself ended, and another begins */
		may_restart && !restarted ->
		STEP(settle_worker, bury);
		restarted = 1;
		is_gone = killed;
		is_swept = 0;
		n = SWEEP_ADOPTED;
		at = NONE;
		old = 0
	   }
		goto bury
	:: d_step {
		SWEEP_OVER && (MAY_WRITE == 0) ->
		LAW(FREED, true, !NAMED);
		STEP(settle_usage, clear);
		buried[VICTIM] = 0;
		STEP(free_worker, free);
		id_free = 1;
		n = 0;
		is_gone = 0;
		restarted = 0
	   }
		break
	od
}

/* VICTIM's process ends: at any time, or when it has made its calls. */
proctype kernel(bit at_any_time)
{
	if
	:: at_any_time
	:: ended
	fi;
	killed = 1
}

/* ---- scenarios ---------------------------------------------------------------------------------- */
/* The words from the @free-th on hold somebody's routes; those before may. */
inline others(free)
{
	for (i : 0 .. WORDS - 1) {
		if
		:: i < free
		:: true ->
			word[i] = 2 + i << 4 | THIRD;
			wrote[i] = THIRD;
			live[2 + i] = THIRD;
			committed[2 + i] = 1 << THIRD
		fi
	}
}

init
{
	byte i;

	atomic {
#ifdef FAULT_a_route_moves
		run mover();
#endif
#if defined(SCENARIO_two) /* two workers issue and retire the same two tags */
		run worker(VICTIM, 1, 0, 1, 2);
		run worker(OTHER, 2, 0, 1, 2);
		run reader(0, 0)
#elif defined(SCENARIO_three) /* three issue one tag */
		run worker(VICTIM, 1, 0, 0, 1);
		run worker(OTHER, 2, 0, 0, 1);
		run worker(THIRD, 3, 0, 0, 1);
		run reader(0, 0)
#elif defined(SCENARIO_full) /* two issue one tag among others' routes, of which some are retired */
		others(2);
		run worker(VICTIM, 1, 0, 0, 1);
		run worker(OTHER, 2, 0, 0, 1);
		run worker(THIRD, 3, 2, 3, 1);
		run reader(5, 5)
#elif defined(SCENARIO_expel) /* one is buried and goes on */
		run worker(VICTIM, 1, 0, 0, 2);
		run worker(OTHER, 2, 0, 0, 1);
		run daemon(0);
		run kernel(0);
		run reader(0, 0)
#elif defined(SCENARIO_again) /* one is buried and goes on, while another issues twice */
		run worker(VICTIM, 1, 0, 0, 1);
		run worker(OTHER, 2, 0, 1, 2);
		run daemon(0);
		run kernel(0);
		run reader(1, 1)
#elif defined(SCENARIO_reuse) /* one is buried and killed, and its id given to another */
		run worker(VICTIM, 1, 0, 0, 2);
		run worker(REBORN, 1, 0, 0, 1);
		run daemon(0);
		run kernel(1);
		run reader(0, 0)
#elif defined(SCENARIO_restart) /* the same with a third, and the daemon itself ends and another begins */
		run worker(VICTIM, 1, 0, 0, 2);
		run worker(OTHER, 2, 0, 0, 1);
		run worker(REBORN, 1, 0, 0, 1);
		run daemon(1);
		run kernel(1)
#elif defined(SCENARIO_ends) /* one issues while another takes and gives back the last word */
		others(1);
		run worker(VICTIM, 1, 0, 0, 1);
		run worker(OTHER, 2, 1, 1, FOREVER)
#endif
	}
}

#ifdef SCENARIO_ends
ltl an_issue_ends { <> ended }
#endif
