/* test_kv_process.c - several processes on one database, and processes that die */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "kvt_child.h"

static struct kvt t;

static void
setup(void)
{
	kvt_begin(&t, 2, KVT_MAP, KVT_RESERVE);
	kvt_close(&t);
}

static void
teardown(void)
{
	kvt_end(&t);
}

/* ---- Two at once --------------------------------------------------------------------------------- */

static int
counts_up(struct kv_txn *txn, void *arg)
{
	struct shelf_span v;
	uint64_t n = 0;
	int rc = kv_get(kv_txn_view(txn), KV_MBOX, kvt_s("n"), &v);

	if (rc == 0 && v.len == sizeof n)
		memcpy(&n, v.data, sizeof n);
	else if (rc != SHELF_EMISSING)
		return rc == 0 ? SHELF_ECORRUPT : rc;
	n++;
	*(uint64_t *)arg = n;
	return kv_put(txn, KV_MBOX, kvt_s("n"), shelf_span(&n, sizeof n));
}

static uint64_t
counter(struct kv_db *db)
{
	struct kv_view *view;
	struct shelf_span v;
	uint64_t n = 0;

	if (kv_view_begin(db, 1, &view) != 0)
		return UINT64_MAX;
	if (kv_get(view, KV_MBOX, kvt_s("n"), &v) == 0 && v.len == sizeof n)
		memcpy(&n, v.data, sizeof n);
	kv_view_end(&view);
	return n;
}

enum { TICKS = 400 };

static int
ticker(struct kvt_child *c)
{
	uint64_t n;
	char go;

	if (kv_open(t.dir, &t.db) != 0 || !kvt_say(c->said[1], "o", 1) || !kvt_hear(c->go[0], &go, 1))
		return 1;
	for (int i = 0; i < TICKS; i++) {
		if (kv_update(t.db, 1, 0, counts_up, &n) != 0)
			return 2;
		if (i % 20 == 0)
			kvt_sleep_ms(2); /* a busy machine gives the parent its turn */
	}
	kv_close(&t.db);
	return 0;
}

/* A view begun after a commit number was seen shows that commit, though another process made it. */
START_TEST(commit_numbers_of_another_process)
{
	struct kvt_child c;
	uint64_t base, seen, last = 0, n = 0;
	unsigned steps = 0;
	uint32_t shard;
	char open;

	kvt_spawn(&t, &c, ticker);
	ck_assert(kvt_hear(c.said[0], &open, 1));
	kvt_open(&t);
	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	base = last = kv_commits_seen(t.db, shard);
	ck_assert(kvt_say(c.go[1], "g", 1));
	while (n < TICKS) {
		seen = kv_commits_seen(t.db, shard);
		if (seen == last)
			continue;
		last = seen;
		n = counter(t.db);
		steps++;
		ck_assert_uint_ne(n, UINT64_MAX);
		ck_assert_msg(n >= seen - base, "commit %llu seen, a view shows %llu",
		    (unsigned long long)(seen - base), (unsigned long long)n);
	}
	ck_assert_uint_gt(steps, 1);
	ck_assert_int_eq(kvt_reap(&c), 0);
}
END_TEST

static int
count_together(struct kvt_child *c)
{
	uint64_t n, last = 0;

	if (kv_open(t.dir, &t.db) != 0)
		return 1;
	for (int i = 0; i < TICKS; i++) {
		if (kv_update(t.db, 1, 0, counts_up, &n) != 0 || n <= last)
			return 2;
		last = n;
	}
	kv_close(&t.db);
	return 0;
}

START_TEST(writers_in_three_processes)
{
	struct kvt_child c[3];

	for (int i = 0; i < 3; i++)
		kvt_spawn(&t, &c[i], count_together);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(kvt_reap(&c[i]), 0);
	kvt_open(&t);
	ck_assert_uint_eq(counter(t.db), 3 * TICKS);
}
END_TEST

static int
placer(struct kvt_child *c)
{
	char go;

	if (kv_open(t.dir, &t.db) != 0 || !kvt_hear(c->go[0], &go, 1) || kv_place(t.db, 100, 50) != 0)
		return 1;
	kv_close(&t.db);
	return 0;
}

START_TEST(placed_by_another_process)
{
	struct kvt_child c;
	uint32_t shard;
	unsigned in[2] = {0};

	kvt_spawn(&t, &c, placer);
	kvt_open(&t);
	ck_assert_int_eq(kv_shard_of(t.db, 100, &shard), SHELF_ENOACCOUNT);
	ck_assert(kvt_say(c.go[1], "g", 1));
	ck_assert_int_eq(kvt_reap(&c), 0);
	ck_assert_int_eq(kv_place(t.db, 150, 50), 0);
	for (uint32_t a = 100; a < 200; a++) {
		ck_assert_int_eq(kv_shard_of(t.db, a, &shard), 0);
		in[shard]++;
	}
	ck_assert_uint_eq(in[0], in[1]);
}
END_TEST

/* ---- Killed -------------------------------------------------------------------------------------- */

enum { WRITERS = 3, ROUNDS = 12 };

static struct kvt_child *writer_child;

/* Row by row; each one is acknowledged through the pipe once kv_update has returned. */
static void *
write_rows(void *arg)
{
	uint32_t row[2] = {*(uint32_t *)arg, 0};
	uint8_t value[600];

	for (;; row[1]++) {
		memset(value, (int)row[1], sizeof value);
		if (kvt_put(t.db, row[0], 0, KV_MSG, shelf_span(row, sizeof row),
		    shelf_span(value, sizeof value)) != 0)
			_exit(3);
		if (!kvt_say(writer_child->said[1], row, sizeof row))
			_exit(4);
	}
	return NULL;
}

static int
writer(struct kvt_child *c)
{
	pthread_t threads[WRITERS];
	uint32_t accounts[WRITERS];
	char go;

	writer_child = c;
	if (!kvt_hear(c->go[0], &go, 1))
		return 0;
	if (kv_open(t.dir, &t.db) != 0)
		return 1;
	for (uint32_t i = 0; i < WRITERS; i++) {
		accounts[i] = 1 + i;
		if (pthread_create(&threads[i], NULL, write_rows, &accounts[i]) != 0)
			return 2;
	}
	pause();
	return 5;
}

/* Every row of account A that was acknowledged is there and whole, and so is what lies before the last. */
static void
check_rows(uint32_t account, uint32_t acknowledged)
{
	struct kv_view *view;
	struct shelf_span v;
	uint32_t row[2] = {account, 0};
	int rc;

	ck_assert_int_eq(kv_view_begin(t.db, account, &view), 0);
	for (; (rc = kv_get(view, KV_MSG, shelf_span(row, sizeof row), &v)) == 0; row[1]++) {
		ck_assert_uint_eq(v.len, 600);
		ck_assert(v.data[0] == (uint8_t)row[1] && memcmp(v.data, v.data + 1, v.len - 1) == 0);
	}
	ck_assert_int_eq(rc, SHELF_EMISSING);
	kv_view_end(&view);
	ck_assert_uint_ge(row[1], acknowledged);
	ck_assert_uint_eq(kvt_count(t.db, account, KV_MSG, kvt_s("")), row[1]);
}

static unsigned
read_acknowledged(struct kvt_child *c, uint32_t *acknowledged)
{
	uint32_t row[2];
	unsigned total = 0;

	while (kvt_hear(c->said[0], row, sizeof row)) {
		ck_assert(row[0] >= 1 && row[0] <= WRITERS);
		acknowledged[row[0]] = row[1] + 1 > acknowledged[row[0]] ? row[1] + 1 : acknowledged[row[0]];
		total++;
	}
	return total;
}

/* All the writers exist before the first open; each is let go, and killed a moment later. */
static void
kill_writers(bool stay_open)
{
	struct kvt_child c[ROUNDS];
	uint32_t acknowledged[WRITERS + 1] = {0};
	unsigned total = 0;

	for (int i = 0; i < ROUNDS; i++)
		kvt_spawn(&t, &c[i], writer);
	for (int i = 0; i < ROUNDS; i++) {
		if (t.db == NULL && stay_open)
			kvt_open(&t);
		ck_assert(kvt_say(c[i].go[1], "g", 1));
		kvt_sleep_ms(20 + i * 7);
		ck_assert_int_eq(kill(c[i].pid, SIGKILL), 0);
		total += read_acknowledged(&c[i], acknowledged);
		ck_assert_int_eq(kvt_reap(&c[i]), -SIGKILL);
		if (t.db == NULL)
			kvt_open(&t);
		for (uint32_t a = 1; a <= WRITERS; a++)
			check_rows(a, acknowledged[a]);
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("after"), shelf_span(&i, sizeof i)), 0);
		if (!stay_open)
			kvt_close(&t);
	}
	ck_assert_uint_gt(total, ROUNDS);
}

START_TEST(killed_writers_lose_nothing_acknowledged)
{
	kill_writers(_i == 1);
}
END_TEST

/* ---- Ended at each write ------------------------------------------------------------------------- */

static int die_at, points;

static int
die(enum kv_point point)
{
	if (points++ == die_at)
		_exit(77);
	return 0;
}

static const struct kvt_op three_writes[] = {
	{KV_MBOX, {(const uint8_t *)"a", 1}, {(const uint8_t *)"1", 1}, false},
	{KV_CHUNK, {(const uint8_t *)"b", 1}, {(const uint8_t *)"2", 1}, false},
	{KV_MBOX, {(const uint8_t *)"old", 3}, {NULL, 0}, true},
};

static int
dies_in_an_update(struct kvt_child *c)
{
	struct kvt_ops update = {three_writes, 3, 0, 0};

	if (kv_open(t.dir, &t.db) != 0)
		return 1;
	kv_fault = die;
	return kv_update(t.db, 1, 0, kvt_run_ops, &update) == 0 ? 0 : 2;
}

START_TEST(ended_at_each_point_of_an_update)
{
	struct kvt_child c;
	int status, a;

	kvt_open(&t);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("old"), kvt_s("x")), 0);
	kvt_close(&t);
	die_at = _i;
	kvt_spawn(&t, &c, dies_in_an_update);
	status = kvt_reap(&c);
	ck_assert_int_eq(status, _i < 5 ? 77 : 0); /* put, put, del, before and after the commit */
	kvt_open(&t);
	a = kvt_has(t.db, 1, KV_MBOX, kvt_s("a"), kvt_s("1"));
	ck_assert_int_eq(a, _i >= 4);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_CHUNK, kvt_s("b"), kvt_s("2")), a);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("old"), kvt_s("x")), !a);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("later"), kvt_s("x")), 0);
}
END_TEST

/* ---- Readers that died --------------------------------------------------------------------------- */

static int
reader(struct kvt_child *c)
{
	struct kv_view *view;

	if (kv_open(t.dir, &t.db) != 0 || kv_view_begin(t.db, 1, &view) != 0 || !kvt_say(c->said[1], "r", 1))
		return 1;
	pause();
	return 2;
}

START_TEST(killed_readers_are_cleared)
{
	struct kvt_child c;
	struct kv_stats st;
	uint32_t shard;
	char ready;

	kvt_spawn(&t, &c, reader);
	ck_assert(kvt_hear(c.said[0], &ready, 1));
	kvt_open(&t);
	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	kv_clear_readers(t.db); /* it lives: nothing to clear */
	ck_assert_int_eq(kv_stats(t.db, shard, &st), 0);
	ck_assert_uint_eq(st.stale_readers_cleared, 0);
	ck_assert_uint_ge(st.readers, 1);
	ck_assert_int_eq(kill(c.pid, SIGKILL), 0);
	ck_assert_int_eq(kvt_reap(&c), -SIGKILL);
	kv_clear_readers(t.db);
	ck_assert_int_eq(kv_stats(t.db, shard, &st), 0);
	ck_assert_uint_eq(st.stale_readers_cleared, 1);
}
END_TEST

/* One page's worth of rows again and again: each commit frees what the one before took. */
static uint64_t
churn(unsigned commits)
{
	static uint8_t value[KV_VALUE_MAX];
	struct kv_stats st;
	uint32_t shard;

	for (unsigned i = 0; i < commits; i++)
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("row"),
		    shelf_span(value, sizeof value)), 0);
	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	ck_assert_int_eq(kv_stats(t.db, shard, &st), 0);
	return st.file_bytes;
}

/* A killed reader holds every page freed since; the committer finds out by itself, idle (_i 0) or not, and what
 * was held is used again. */
START_TEST(pages_of_a_killed_reader_come_back)
{
	uint64_t before, held, after;
	struct kv_reader r;
	struct kv_stats st;
	struct kvt_child c;
	uint32_t shard;
	char ready;

	kv_clear_readers_s = 1;
	kvt_spawn(&t, &c, reader);
	ck_assert(kvt_hear(c.said[0], &ready, 1));
	kvt_open(&t);
	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	before = churn(5);
	held = churn(100);
	ck_assert_int_eq(kv_oldest_reader(t.db, shard, 150, &r), 1);
	ck_assert_int_eq(r.pid, c.pid);
	ck_assert_uint_ge(r.commits, 104);
	ck_assert_uint_ge(r.held_bytes, 100 * 4096);
	ck_assert_int_ge(r.age_ms, 140);
	ck_assert_uint_gt(held, before + 100 * 4096);
	ck_assert_int_eq(kill(c.pid, SIGKILL), 0);
	ck_assert_int_eq(kvt_reap(&c), -SIGKILL);
	for (unsigned i = 0; i < 100; i++) {
		if (_i == 0)
			kvt_sleep_ms(100);
		else
			for (unsigned k = 0; k < 5; k++, kvt_sleep_ms(20))
				churn(1);
		ck_assert_int_eq(kv_stats(t.db, shard, &st), 0);
		if (st.stale_readers_cleared > 0)
			break;
	}
	ck_assert_uint_eq(st.stale_readers_cleared, 1);
	after = churn(5);
	ck_assert_uint_le(churn(300), after);
	ck_assert_int_eq(kv_oldest_reader(t.db, shard, 2000, &r), 0);
}
END_TEST

Suite *suite_kv_process(void);
Suite *
suite_kv_process(void)
{
	Suite *s = suite_create("kv_process");
	TCase *tc = tcase_create("kv_process");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, commit_numbers_of_another_process);
	tcase_add_test(tc, writers_in_three_processes);
	tcase_add_test(tc, placed_by_another_process);
	tcase_add_loop_test(tc, killed_writers_lose_nothing_acknowledged, 0, 2);
	tcase_add_loop_test(tc, ended_at_each_point_of_an_update, 0, 6);
	tcase_add_test(tc, killed_readers_are_cleared);
	tcase_add_loop_test(tc, pages_of_a_killed_reader_come_back, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}
