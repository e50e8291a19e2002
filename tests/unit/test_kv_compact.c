/*
 * test_kv_compact.c - a shard moves to a new file beside readers and writers of this process
 *
 * What must hold over every swap and every failure: nothing lost, nothing doubled, nothing revived.
 */
#include <check.h>
#include <signal.h>
#include <sys/resource.h>
#include "kvt_rows.h"

static struct kvt t;

static void
setup(void)
{
	kvt_rows_begin(&t);
}

static void
teardown(void)
{
	kvt_end(&t);
}

/* ---- One process ---------------------------------------------------------------------------------- */

START_TEST(a_smaller_file_with_the_same_rows)
{
	struct kv_compacted done;
	uint64_t before, commits;

	kvt_rows_fill(&t);
	before = kvt_file_bytes(&t);
	commits = kv_commits_seen(t.db, 0);
	ck_assert_int_eq(kv_compact(t.db, 0, NULL, NULL, &done), 0);
	ck_assert_uint_eq(done.before_bytes, before);
	ck_assert_uint_eq(done.after_bytes, kvt_file_bytes(&t));
	ck_assert_uint_lt(done.after_bytes, before / 2);
	ck_assert_uint_le(done.after_bytes, done.need_bytes);
	ck_assert_uint_ge(kv_commits_seen(t.db, 0), commits);
	kvt_rows_check_filled(&t);
	ck_assert(!kvt_is_there(&t, "part-00") && kvt_is_there(&t, "part-00.2"));
	/* It goes on like the one before, also after being opened anew, and again. */
	commits = kv_commits_seen(t.db, 0);
	ck_assert_int_eq(kvt_put(t.db, KVT_ROWS_ACCOUNT, KV_ADDS, KV_MBOX, kvt_s("k"), kvt_s("v")), 0);
	ck_assert_uint_eq(kv_commits_seen(t.db, 0), commits + 1);
	kvt_reopen(&t);
	ck_assert_uint_eq(kv_commits_seen(t.db, 0), commits + 1);
	kvt_rows_check_filled(&t);
	for (int i = 3; i < 6; i++)
		ck_assert_int_eq(kvt_compact(&t), 0);
	ck_assert(!kvt_is_there(&t, "part-00.4") && kvt_is_there(&t, "part-00.5"));
	ck_assert_uint_eq(kvt_generations(&t), 1);
	kvt_reopen(&t);
	kvt_rows_check_filled(&t);
	ck_assert_int_eq(kvt_has(t.db, KVT_ROWS_ACCOUNT, KV_MBOX, kvt_s("k"), kvt_s("v")), 1);
}
END_TEST

START_TEST(the_catalog_too)
{
	struct kv_compacted done;
	uint32_t shard;

	ck_assert_int_eq(kv_place(t.db, 1000, 2000), 0);
	ck_assert_int_eq(kv_compact(t.db, KV_SHARDS_MAX, NULL, NULL, &done), 0);
	ck_assert_int_eq(kv_compact(t.db, 1, NULL, NULL, &done), SHELF_EINVALID);
	kvt_reopen(&t);
	ck_assert_int_eq(kv_shard_of(t.db, 2999, &shard), 0);
	ck_assert_int_eq(kv_shard_of(t.db, 3000, &shard), SHELF_ENOACCOUNT);
	ck_assert_int_eq(kv_place(t.db, 3000, 1), 0);
}
END_TEST

START_TEST(views_over_the_swap)
{
	struct kv_view *old[3], *new;
	struct kv_scan scan;
	struct shelf_span key, value;
	unsigned rows = 1;

	kvt_rows_fill(&t);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(kv_view_begin(t.db, KVT_ROWS_ACCOUNT, &old[i]), 0);
	ck_assert_int_eq(kv_scan_open(old[2], KV_MSG, kvt_s(""), kvt_s(""), &scan), 0);
	ck_assert_int_eq(kv_scan_next(&scan, &key, &value), 1);
	kvt_rows_set(&t, 5, 10, 7);
	ck_assert_int_eq(kvt_compact(&t), 0);
	kvt_rows_set(&t, 10, 20, 7);
	ck_assert_int_eq(kv_view_begin(t.db, KVT_ROWS_ACCOUNT, &new), 0);
	kvt_rows_check(new, 5, 20, 7);
	kv_view_end(&new);
	kvt_rows_check(old[0], 0, 200, 2);
	kv_view_end(&old[0]);
	ck_assert_int_eq(kvt_compact(&t), 0); /* with views of two files before */
	while (kv_scan_next(&scan, &key, &value) == 1)
		rows++;
	ck_assert_uint_eq(rows, KVT_ROWS / 3);
	kv_scan_close(&scan);
	kv_view_end(&old[2]);
	kvt_rows_check(old[1], 200, KVT_ROWS / 3, 1);
	kv_view_end(&old[1]);
	ck_assert_int_eq(kv_view_begin(t.db, KVT_ROWS_ACCOUNT, &new), 0);
	kvt_rows_check(new, 5, 20, 7);
	kv_view_end(&new);
}
END_TEST

struct steps {
	unsigned calls;
	int rc;        /* at the last of STOP calls */
	unsigned stop; /* 0: never */
	uint64_t done;
};

/* What changes while the copy goes on is in the copy. A second compaction is refused. */
static int
change_at_each_step(void *arg, uint64_t done, uint64_t total)
{
	struct steps *s = arg;
	struct kv_compacted other;

	s->calls++;
	ck_assert_uint_le(done, total);
	ck_assert_uint_ge(done, s->done);
	s->done = done;
	ck_assert_int_eq(kv_compact(t.db, 0, NULL, NULL, &other), SHELF_EBUSY);
	if (s->calls <= 20) {
		uint32_t at = s->calls * 7;

		kvt_rows_set(&t, at, at + 3, 3);             /* behind the copy, or before it */
		kvt_rows_set(&t, KVT_ROWS + at, KVT_ROWS + at + 5, 4); /* new */
		kvt_rows_set(&t, 300 + at, 300 + at + 2, -1);
		kvt_rows_set(&t, KVT_ROWS + at, KVT_ROWS + at + 2, -1);
	}
	return s->calls == s->stop ? s->rc : 0;
}

START_TEST(changes_during_the_copy)
{
	struct steps s = {0};
	struct kv_compacted done;
	struct kv_view *view;
	unsigned calls;

	kvt_rows_fill(&t);
	ck_assert_int_eq(kv_compact(t.db, 0, change_at_each_step, &s, &done), 0);
	calls = s.calls < 20 ? s.calls : 20;
	ck_assert_uint_gt(calls, 8);
	ck_assert_int_eq(kv_view_begin(t.db, KVT_ROWS_ACCOUNT, &view), 0);
	for (uint32_t n = 0; n < 500; n++) {
		uint32_t i = n / 7, j = (n - 300) / 7;
		bool changed = i >= 1 && i <= calls && n % 7 < 3;
		bool gone = n >= 300 && j >= 1 && j <= calls && (n - 300) % 7 < 2;

		ck_assert_int_eq(kvt_row_is(view, n, changed ? 3 : n < 200 ? 2 : 1), !gone);
	}
	for (uint32_t n = 0; n < 500; n++)
		ck_assert_int_eq(kvt_row_is(view, KVT_ROWS + n, 4),
		    n / 7 >= 1 && n / 7 <= calls && n % 7 >= 2 && n % 7 < 5);
	kv_view_end(&view);
}
END_TEST

static int
stop_it(void *arg, uint64_t done, uint64_t total)
{
	return SHELF_ECANCELLED;
}

START_TEST(stopped_nothing_has_happened)
{
	struct kv_compacted done;
	uint64_t bytes;

	kvt_rows_fill(&t);
	bytes = kvt_file_bytes(&t);
	ck_assert_int_eq(kv_compact(t.db, 0, stop_it, NULL, &done), SHELF_ECANCELLED);
	ck_assert(kvt_is_there(&t, "part-00"));
	ck_assert_uint_eq(kvt_generations(&t), 1);
	kvt_rows_check_filled(&t);
	ck_assert_uint_ge(kvt_file_bytes(&t), bytes);
	kvt_rows_set(&t, 0, 200, 2);
	ck_assert_int_eq(kvt_compact(&t), 0);
	kvt_rows_check_filled(&t);
}
END_TEST

static int fail_at, points;
static int fail_with;

static int
fail_once(enum kv_point point)
{
	return point == KV_AT_COMPACT && points++ == fail_at ? fail_with : 0;
}

/* An error at each step: the old file stays, or the new one is complete. */
START_TEST(failed_at_each_step)
{
	int rc = SHELF_EIO, failures = 0;

	kvt_rows_fill(&t);
	kv_fault = fail_once;
	fail_with = SHELF_EIO;
	for (fail_at = 0; rc != 0; fail_at++) {
		points = 0;
		rc = kvt_compact(&t);
		ck_assert(rc == 0 || rc == SHELF_EIO);
		failures += rc != 0;
		ck_assert_uint_eq(kvt_generations(&t), 1);
		kvt_rows_check_filled(&t);
		kvt_rows_set(&t, 0, 10, 3);
		kvt_rows_set(&t, 0, 10, 2);
	}
	ck_assert_int_gt(failures, 10);
	kvt_reopen(&t);
	kvt_rows_check_filled(&t);
}
END_TEST

/* The disk fills while the copy goes on (here: no file may be larger than the copy needs). */
START_TEST(no_room_for_the_copy)
{
	struct rlimit before, small = {1 << 20, RLIM_INFINITY};

	kvt_rows_fill(&t);
	kvt_rows_set(&t, KVT_ROWS, 2 * KVT_ROWS, 1);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	ck_assert_int_eq(kvt_compact(&t), SHELF_EFULL);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	ck_assert_uint_eq(kvt_generations(&t), 1);
	ck_assert_int_eq(kvt_compact(&t), 0);
	ck_assert_uint_eq(kvt_count(t.db, KVT_ROWS_ACCOUNT, KV_MSG, kvt_s("")), KVT_ROWS / 3 + KVT_ROWS);
}
END_TEST

Suite *suite_kv_compact(void);
Suite *
suite_kv_compact(void)
{
	Suite *s = suite_create("kv_compact");
	TCase *tc = tcase_create("kv_compact");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_smaller_file_with_the_same_rows);
	tcase_add_test(tc, the_catalog_too);
	tcase_add_test(tc, views_over_the_swap);
	tcase_add_test(tc, changes_during_the_copy);
	tcase_add_test(tc, stopped_nothing_has_happened);
	tcase_add_test(tc, failed_at_each_step);
	tcase_add_test(tc, no_room_for_the_copy);
	suite_add_tcase(s, tc);
	return s;
}
