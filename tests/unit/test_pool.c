/* test_pool.c - limits that policies give: defaults of accounts, the pool of a domain, exact over partitions */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "mail.h"
#include "verb_rig.h"

#include <mailshelf/policy.h>
#include <mailshelf/restore.h>

enum { ACCOUNTS = 12, RACERS = 64, PARTITIONS = 4 };

static struct rig r;
static uint32_t account[ACCOUNTS];

static void
policy(const char *scope, enum shelf_policy id, uint64_t value)
{
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str(scope), id, value), 0);
}

/* Accounts of example.org, in all partitions. */
static void
begin(void)
{
	struct shelf_store_params params = {.partitions = PARTITIONS, .map_bytes = 64 << 20};
	uint64_t there = 0;

	rig_open(&r, &params);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		char name[64];
		struct shelf_account_new new = {.name = shelf_span(name, 0)};
		struct shelf_account a;

		new.name.len = (size_t)snprintf(name, sizeof(name), "a%u@example.org", i);
		ck_assert_int_eq(shelf_account_add(r.store, &new, 1, NULL, &account[i]), 0);
		ck_assert_int_eq(shelf_account_get(r.store, account[i], &a), 0);
		there |= (uint64_t)1 << a.partition;
	}
	ck_assert_uint_eq(there, (1 << PARTITIONS) - 1);
}

static struct shelf_pool
pool(void)
{
	struct shelf_pool p;

	ck_assert_int_eq(shelf_pool_get(r.store, shelf_span_str("example.org"), &p), 0);
	return p;
}

static int
deliver(uint32_t to, size_t bytes, uint64_t over)
{
	struct shelf_draft *d = rig_draft(&r, "", bytes - 13);
	struct shelf_delivery list = {.account = to, .over = over};
	struct shelf_append_result result;

	ck_assert_uint_eq(shelf_draft_size(d), bytes);
	shelf_deliver(r.store, d, &list, 1, &result);
	shelf_draft_free(&d);
	return result.rc;
}

/* ---- Defaults ------------------------------------------------------------------------------------ */

START_TEST(limits_of_policies)
{
	struct shelf_account_new late = {.name = shelf_span_str("late@example.org")};
	uint32_t id;

	begin();
	policy("*", SHELF_POLICY_QUOTA_BYTES, 1 << 20);
	policy("@example.org", SHELF_POLICY_QUOTA_MESSAGES, 7);
	ck_assert_uint_eq(rig_quota(&r, r.joe).limit_bytes, 1 << 20);
	ck_assert_uint_eq(rig_quota(&r, r.joe).limit_messages, 0);
	ck_assert_uint_eq(rig_quota(&r, account[0]).limit_messages, 7);
	ck_assert_int_eq(shelf_account_add(r.store, &late, 1, NULL, &id), 0);
	ck_assert_uint_eq(rig_quota(&r, id).limit_messages, 7);
	/* Its own counts, and "none" is one. */
	ck_assert_int_eq(shelf_quota_set(r.store, id, SHELF_QUOTA_NONE, 9, SHELF_QUOTA_KEEP), 0);
	policy("@example.org", SHELF_POLICY_QUOTA_MESSAGES, 5);
	policy("*", SHELF_POLICY_QUOTA_BYTES, 2 << 20);
	policy("*", SHELF_POLICY_QUOTA_MAILBOXES, 3);
	ck_assert_uint_eq(rig_quota(&r, id).limit_messages, 9);
	ck_assert_uint_eq(rig_quota(&r, id).limit_bytes, 0);
	ck_assert_uint_eq(rig_quota(&r, id).limit_mailboxes, 3);
	ck_assert_uint_eq(rig_quota(&r, account[0]).limit_messages, 5);
	ck_assert_uint_eq(rig_quota(&r, account[0]).limit_bytes, 2 << 20);
	rig_reopen(&r);
	/* None of its own any more. */
	ck_assert_int_eq(shelf_quota_set(r.store, id, 0, 0, SHELF_QUOTA_KEEP), 0);
	ck_assert_uint_eq(rig_quota(&r, id).limit_messages, 5);
	ck_assert_uint_eq(rig_quota(&r, id).limit_bytes, 2 << 20);
	policy("@example.org", SHELF_POLICY_QUOTA_MESSAGES, UINT64_MAX);
	policy("*", SHELF_POLICY_QUOTA_BYTES, UINT64_MAX);
	ck_assert_uint_eq(rig_quota(&r, id).limit_messages, 0);
	ck_assert_uint_eq(rig_quota(&r, id).limit_bytes, 0);
	rig_close(&r);
}
END_TEST

START_TEST(the_largest_message)
{
	begin();
	policy("@example.org", SHELF_POLICY_QUOTA_LARGEST, 5000);
	ck_assert_int_eq(deliver(account[0], 5000, 0), 0);
	ck_assert_int_eq(deliver(account[0], 5001, 0), SHELF_ETOOBIG);
	ck_assert_int_eq(deliver(r.joe, 5001, 0), 0);
	ck_assert_int_eq(shelf_deliver_probe(r.store, account[0], 5001), SHELF_ETOOBIG);
	rig_close(&r);
}
END_TEST

/* ---- The pool ------------------------------------------------------------------------------------ */

START_TEST(a_pool_is_shared)
{
	struct shelf_pool p;
	struct shelf_totals t;
	struct shelf_restored restored = {.to_uids = NULL};
	struct shelf_uidset *one;

	begin();
	ck_assert_int_eq(shelf_pool_get(r.store, shelf_span_str("example.org"), &p), SHELF_EMISSING);
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("*"), SHELF_POLICY_POOL_BYTES, 1), SHELF_EINVALID);
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("joe"), SHELF_POLICY_POOL_BYTES, 1), SHELF_EINVALID);
	ck_assert_int_eq(deliver(account[0], 10000, 0), 0);
	policy("@example.org", SHELF_POLICY_POOL_BYTES, 100000);
	/* To the byte, wherever it comes in. */
	for (unsigned i = 1; i < 9; i++)
		ck_assert_int_eq(deliver(account[i % ACCOUNTS], 10000, 0), 0);
	ck_assert_int_eq(deliver(account[9], 10001, 0), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_deliver_probe(r.store, account[9], 10001), SHELF_EQUOTA);
	ck_assert_int_eq(deliver(account[10], 10000, 0), 0);
	ck_assert_uint_eq(pool().used_bytes, 100000);
	ck_assert_int_eq(deliver(account[11], 100, 0), SHELF_EQUOTA);
	ck_assert_int_eq(deliver(r.joe, 20000, 0), 0); /* of no domain */
	/* What goes in one partition is room in all. */
	one = rig_set(1, 1);
	ck_assert_int_eq(shelf_msg_expunge(r.store, account[3], r.inbox, one, 0, NULL), 0);
	ck_assert_int_eq(deliver(account[4], 10000, 0), 0);
	ck_assert_int_eq(deliver(account[3], 100, 0), SHELF_EQUOTA);
	/* It comes back when there is room, not before. */
	ck_assert_int_eq(shelf_restore(r.store, account[3], r.inbox, NULL, 0, &restored), SHELF_EQUOTA);
	/* Who is exempt comes in; then more must go before anything comes. */
	ck_assert_int_eq(deliver(account[5], 10000, UINT64_MAX), 0);
	ck_assert_uint_eq(pool().used_bytes, 110000);
	ck_assert_int_eq(shelf_msg_expunge(r.store, account[6], r.inbox, one, 0, NULL), 0);
	ck_assert_int_eq(deliver(account[6], 100, 0), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_msg_expunge(r.store, account[7], r.inbox, one, 0, NULL), 0);
	ck_assert_int_eq(deliver(account[7], 10000, 0), 0);
	/* Lower, higher, gone: from the next one on. */
	policy("@example.org", SHELF_POLICY_POOL_BYTES, 50000);
	ck_assert_int_eq(deliver(account[0], 100, 0), SHELF_EQUOTA);
	policy("@example.org", SHELF_POLICY_POOL_BYTES, 100100);
	ck_assert_int_eq(deliver(account[0], 100, 0), 0);
	ck_assert_int_eq(deliver(account[0], 100, 0), SHELF_EQUOTA);
	policy("@example.org", SHELF_POLICY_POOL_BYTES, UINT64_MAX);
	ck_assert_int_eq(deliver(account[0], 100, 0), 0);
	ck_assert_int_eq(shelf_stats_domain(r.store, shelf_span_str("example.org"), &t), 0);
	policy("@example.org", SHELF_POLICY_POOL_MESSAGES, t.messages + 1);
	ck_assert_int_eq(deliver(account[0], 100, 0), 0);
	ck_assert_int_eq(deliver(account[1], 100, 0), SHELF_EQUOTA);
	shelf_uidset_free(&one);
	rig_close(&r);
}
END_TEST

/* COPY adds, MOVE does not; across accounts both add there. */
START_TEST(copies)
{
	struct shelf_copy_result result = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *one = rig_set(1, 1);
	uint32_t box;

	begin();
	box = rig_create(&r, account[0], "box");
	ck_assert_int_eq(deliver(account[0], 10000, 0), 0);
	policy("@example.org", SHELF_POLICY_POOL_BYTES, 25000);
	ck_assert_int_eq(shelf_msg_copy(r.store, account[0], r.inbox, box, one, false, &result), 0);
	ck_assert_int_eq(shelf_msg_copy(r.store, account[0], r.inbox, box, one, false, &result), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_msg_copy(r.store, account[0], r.inbox, box, one, true, &result), 0);
	ck_assert_uint_eq(pool().used_bytes, 20000);
	ck_assert_int_eq(shelf_msg_copy_to(r.store, &(struct shelf_copy){.account = account[0], .from = box,
	    .to_account = account[1], .to = r.inbox, .uids = one}, &result), SHELF_EQUOTA);
	policy("@example.org", SHELF_POLICY_POOL_BYTES, 30000);
	ck_assert_int_eq(shelf_msg_copy_to(r.store, &(struct shelf_copy){.account = account[0], .from = box,
	    .to_account = account[1], .to = r.inbox, .uids = one}, &result), 0);
	ck_assert_uint_eq(pool().used_bytes, 30000);
	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
	shelf_uidset_free(&one);
	rig_close(&r);
}
END_TEST

/* An account that moves, a partition that is added later. */
START_TEST(moves)
{
	struct shelf_mover *mover;
	struct shelf_moved moved;
	struct shelf_account a;

	begin();
	policy("@example.org", SHELF_POLICY_POOL_BYTES, 100000);
	ck_assert_int_eq(deliver(account[0], 40000, 0), 0);
	ck_assert_int_eq(deliver(account[1], 40000, 0), 0);
	ck_assert_int_eq(shelf_partition_add(r.store, NULL), 0);
	ck_assert_int_eq(shelf_account_get(r.store, account[0], &a), 0);
	mover = shelf_mover_new(r.store, NULL, NULL);
	ck_assert_int_eq(shelf_account_move(mover, account[0], PARTITIONS, &moved), 0);
	ck_assert_uint_eq(pool().used_bytes, 80000);
	ck_assert_int_eq(deliver(account[0], 20001, 0), SHELF_EQUOTA);
	ck_assert_int_eq(deliver(account[0], 20000, 0), 0);
	ck_assert_int_eq(shelf_account_move(mover, account[0], a.partition, &moved), 0);
	ck_assert_int_eq(deliver(account[0], 100, 0), SHELF_EQUOTA);
	shelf_mover_free(&mover);
	rig_close(&r);
}
END_TEST

/* ---- The last megabyte --------------------------------------------------------------------------- */

struct racer {
	pthread_t thread;
	pthread_barrier_t *start;
	struct shelf_draft *draft;
	uint32_t to;
	struct shelf_append_result result;
};

static void *
race(void *arg)
{
	struct racer *me = arg;
	struct shelf_delivery to = {.account = me->to};

	pthread_barrier_wait(me->start);
	shelf_deliver(r.store, me->draft, &to, 1, &me->result);
	return NULL;
}

/* Moves an account with mail about. */
static atomic_bool racing;
static void *
watch(void *arg)
{
	struct shelf_mover *mover = shelf_mover_new(r.store, NULL, NULL);
	struct shelf_moved moved;

	for (unsigned i = 0; atomic_load(&racing); i++) {
		int rc = shelf_account_move(mover, account[ACCOUNTS - 1], i % PARTITIONS, &moved);

		ck_assert(rc == 0 || rc == SHELF_EBUSY || rc == SHELF_ECANCELLED);
	}
	shelf_mover_free(&mover);
	return NULL;
}

/* 64 at once, to accounts of one domain in four partitions; the second time while another one moves. */
START_TEST(they_race_over_partitions)
{
	const uint64_t limit = (1 << 20) + 500000;
	static struct racer racer[RACERS];
	uint64_t stored = 500000, smallest = UINT64_MAX;
	unsigned accepted = 0, refused = 0;
	pthread_barrier_t start;
	pthread_t watcher;

	begin();
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(deliver(account[ACCOUNTS - 1 - i % 2], 100000, 0), 0);
	policy("@example.org", SHELF_POLICY_POOL_BYTES, limit);
	atomic_store(&racing, true);
	if (_i == 1)
		ck_assert_int_eq(pthread_create(&watcher, NULL, watch, NULL), 0);
	pthread_barrier_init(&start, NULL, RACERS);
	for (unsigned i = 0; i < RACERS; i++) {
		racer[i] = (struct racer){.start = &start, .to = account[i % (ACCOUNTS - 1)],
		    .draft = rig_draft(&r, "race", 30000 + 937 * (i * 29 % RACERS))};
		ck_assert_int_eq(pthread_create(&racer[i].thread, NULL, race, &racer[i]), 0);
	}
	for (unsigned i = 0; i < RACERS; i++) {
		uint64_t size = shelf_draft_size(racer[i].draft);

		pthread_join(racer[i].thread, NULL);
		ck_assert_uint_le(pool().used_bytes, limit + (_i == 1 ? limit : 0));
		if (racer[i].result.rc == 0) {
			accepted++;
			stored += size;
		} else {
			ck_assert_int_eq(racer[i].result.rc, SHELF_EQUOTA);
			refused++;
			smallest = size < smallest ? size : smallest;
		}
		shelf_draft_free(&racer[i].draft);
	}
	atomic_store(&racing, false);
	if (_i == 1)
		pthread_join(watcher, NULL);
	ck_assert_uint_eq(accepted + refused, RACERS);
	ck_assert_uint_gt(accepted, 10);
	ck_assert_uint_gt(refused, 10);
	ck_assert_uint_eq(pool().used_bytes, stored);
	ck_assert_uint_le(stored, limit);
	/* None was refused that would have fitted in the end. */
	ck_assert_uint_gt(stored + smallest, limit);
	pthread_barrier_destroy(&start);
	rig_close(&r);
}
END_TEST

/* ---- The verbs ----------------------------------------------------------------------------------- */

START_TEST(the_verbs)
{
	begin();
	ck_assert_int_eq(deliver(account[0], 85000, 0), 0);
	ck_assert_int_eq(deliver(account[1], 9000, 0), 0);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "@example.org|100K|--messages|40"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "@example.org"));
	ck_assert_ptr_nonnull(strstr(verb_out, "2 messages of 40"));
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "@example.org|--mailboxes|4"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "@example.org|default"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "@example.org|much"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "@|1M"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "a1@example.org|10000"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_quota_show, true, "@example.org"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"percent\":91"));
	ck_assert_int_eq(verb_run(&r, tool_quota_show, false, "@example.net"), EX_NOINPUT);
	ck_assert_int_eq(verb_run(&r, tool_quota_report, false, ""), EX_OK);
	ck_assert_int_eq(strncmp(verb_out, "  91%  @example.org", 19), 0);
	ck_assert_ptr_nonnull(strstr(verb_out, "  90%  a1@example.org"));
	ck_assert_ptr_null(strstr(verb_out, "a0@"));
	ck_assert_int_eq(verb_run(&r, tool_quota_report, true, "--over|91%"), EX_OK);
	ck_assert_ptr_null(strstr(verb_out, "a1@"));
	ck_assert_int_eq(verb_run(&r, tool_quota_report, false, "--over|most"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_quota_report, false, "--over|%"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_quota_top, false, "--limit|2"), EX_OK);
	ck_assert_int_eq(strncmp(verb_out, "  91%  @example.org", 19), 0);
	ck_assert_ptr_nonnull(strstr(verb_out, "   0%  a0@example.org"));
	ck_assert_ptr_null(strstr(verb_out, "a1@"));
	ck_assert_int_eq(verb_run(&r, tool_quota_top, false, "--by|percent|--limit|none"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "joe"));
	ck_assert_int_eq(verb_run(&r, tool_quota_top, false, "--by|name"), EX_USAGE);
	/* An account's default, and back. */
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "@example.org|quota_messages|3"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "a1@example.org|none|--messages|none"), EX_OK);
	ck_assert_uint_eq(rig_quota(&r, account[1]).limit_messages, 0);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "a1@example.org|default"), EX_OK);
	ck_assert_uint_eq(rig_quota(&r, account[1]).limit_messages, 3);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "@example.org|none|--messages|none"), EX_OK);
	ck_assert_int_eq(deliver(account[2], 200000, 0), 0);
	rig_close(&r);
}
END_TEST

Suite *suite_pool(void);
Suite *
suite_pool(void)
{
	Suite *s = suite_create("pool");
	TCase *tc = tcase_create("pool");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, limits_of_policies);
	tcase_add_test(tc, the_largest_message);
	tcase_add_test(tc, a_pool_is_shared);
	tcase_add_test(tc, copies);
	tcase_add_test(tc, moves);
	tcase_add_loop_test(tc, they_race_over_partitions, 0, 2);
	tcase_add_test(tc, the_verbs);
	suite_add_tcase(s, tc);
	return s;
}
