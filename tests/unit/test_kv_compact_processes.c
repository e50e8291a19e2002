/*
 * test_kv_compact_processes.c - compaction beside other processes, and compactors that die
 *
 * What must hold over every swap and every kill: nothing lost, nothing doubled, nothing revived.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "kvt_child.h"
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

/*
 * A worker writes rows of its own account at random, knows what each must be, and reads one back after every
 * update: what a new view shows is never older. All workers count one shared counter up: none of these is lost
 * or done twice.
 */
enum { WORKER_ROWS = 400, WORKER_FIRST = 10 };

struct worker {
	uint32_t account;
	uint32_t version[WORKER_ROWS]; /* 0: not there */
	uint32_t updates;
	unsigned seed;
	int rc;
};

struct worker_step {
	struct worker *w;
	uint32_t row, version;
};

static int
worker_update(struct kv_txn *txn, void *arg)
{
	struct worker_step *s = arg;
	struct shelf_span v;
	uint32_t key, count = 0;
	uint8_t value[1000];
	int rc = 0;

	memset(value, (int)s->version, sizeof value);
	if (s->version != 0) {
		memcpy(value, &s->version, 4);
		rc = kv_put(txn, KV_MSG, kvt_row_key(&key, s->row), shelf_span(value, 200 + s->row * 2));
	} else if (s->w->version[s->row] != 0) {
		rc = kv_del(txn, KV_MSG, kvt_row_key(&key, s->row));
	}
	if (rc == 0 && kv_get(kv_txn_view(txn), KV_META, kvt_s("counter"), &v) == 0 && v.len == 4)
		memcpy(&count, v.data, 4);
	count++;
	return rc != 0 ? rc : kv_put(txn, KV_META, kvt_s("counter"), shelf_span(&count, 4));
}

static int
worker_check(struct worker *w, struct kv_view *view, uint32_t row)
{
	struct shelf_span v;
	uint32_t key;
	int rc = kv_get(view, KV_MSG, kvt_row_key(&key, row), &v);

	if (w->version[row] == 0)
		return rc == SHELF_EMISSING ? 0 : 1;
	return rc == 0 && v.len == 200 + row * 2 && memcmp(v.data, &w->version[row], 4) == 0 &&
	    v.data[v.len - 1] == (uint8_t)w->version[row] ? 0 : 1;
}

static atomic_bool stopping;

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct kv_view *view;

	while (!stopping && w->rc == 0) {
		uint32_t row = (uint32_t)rand_r(&w->seed) % WORKER_ROWS;
		struct worker_step s = {w, row, rand_r(&w->seed) % 4 == 0 ? 0 : w->updates + 1};

		w->rc = kv_update(t.db, w->account, 0, worker_update, &s);
		if (w->rc != 0)
			break;
		w->version[row] = s.version;
		w->updates++;
		if (kv_view_begin(t.db, w->account, &view) != 0)
			w->rc = 2;
		else
			w->rc = worker_check(w, view, row) * 3;
		kv_view_end(&view);
		kvt_sleep_ms(2); /* in memory it would write hundreds of megabytes a second */
	}
	return NULL;
}

static int
check_worker(struct worker *w)
{
	struct kv_view *view;
	int wrong = 0;

	if (kv_view_begin(t.db, w->account, &view) != 0)
		return 1;
	for (uint32_t row = 0; row < WORKER_ROWS; row++)
		wrong += worker_check(w, view, row);
	kv_view_end(&view);
	return wrong;
}

/* Starts THREADS workers, waits for the word to end, checks everything. Says how often it has counted. */
static int
worker_process(struct kvt_child *c, uint32_t first)
{
	enum { THREADS = 2 };
	struct worker *w = calloc(THREADS, sizeof *w);
	pthread_t threads[THREADS];
	uint32_t updates = 0;

	if (kv_open(t.dir, &t.db) != 0 || !kvt_nod(c->said[1]))
		return 1;
	for (uint32_t i = 0; i < THREADS; i++) {
		w[i].account = first + i;
		w[i].seed = first + i;
		if (pthread_create(&threads[i], NULL, work, &w[i]) != 0)
			return 2;
	}
	kvt_wait(c->go[0]);
	stopping = true;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		if (w[i].rc != 0 || check_worker(&w[i]) != 0)
			return w[i].rc > 0 ? 10 + w[i].rc : w[i].rc < 0 ? 40 - w[i].rc : 20;
		updates += w[i].updates;
	}
	kv_close(&t.db); /* and opened anew it is the same */
	if (kv_open(t.dir, &t.db) != 0)
		return 3;
	for (int i = 0; i < THREADS; i++)
		if (check_worker(&w[i]) != 0)
			return 30;
	kv_close(&t.db);
	free(w);
	return kvt_say(c->said[1], &updates, 4) ? 0 : 4;
}

static int
worker_a(struct kvt_child *c)
{
	return worker_process(c, WORKER_FIRST);
}

static int
worker_b(struct kvt_child *c)
{
	return worker_process(c, WORKER_FIRST + 2);
}

static uint32_t
counter(void)
{
	struct kv_view *view;
	struct shelf_span v;
	uint32_t n = 0;

	ck_assert_int_eq(kv_view_begin(t.db, KVT_ROWS_ACCOUNT, &view), 0);
	if (kv_get(view, KV_META, kvt_s("counter"), &v) == 0)
		memcpy(&n, v.data, 4);
	kv_view_end(&view);
	return n;
}

static void
start_workers(struct kvt_child *c)
{
	kvt_start_two(&t, c, worker_a, worker_b);
}

/* Ends the workers: what they counted is what is there. */
static void
end_workers(struct kvt_child *c)
{
	uint32_t sum = kvt_end_two(c);

	ck_assert_uint_gt(sum, 100);
	ck_assert_uint_eq(counter(), sum);
}

START_TEST(under_the_load_of_two_processes)
{
	struct kvt_child c[2];
	uint64_t seen = 0, now;

	kvt_rows_fill(&t);
	start_workers(c);
	for (int i = 0; i < 12; i++) {
		uint32_t before = counter();

		ck_assert_int_eq(kvt_compact(&t), 0);
		ck_assert_uint_ge(counter(), before);
		now = kv_commits_seen(t.db, 0);
		ck_assert_uint_gt(now, seen);
		seen = now;
		kvt_rows_check_filled(&t);
		kvt_sleep_ms(i * 5);
	}
	ck_assert(kvt_is_there(&t, "part-00.13"));
	ck_assert_uint_eq(kvt_generations(&t), 1);
	end_workers(c);
	kvt_rows_check_filled(&t);
}
END_TEST

/* ---- Compactors that die ---------------------------------------------------------------------------- */

enum { COMPACTORS = 16 };

static int
compactor(struct kvt_child *c)
{
	struct kv_compacted done;
	int rc = 0;

	if (!kvt_wait(c->go[0]))
		return 0;
	if (kv_open(t.dir, &t.db) != 0)
		return 1;
	while (rc == 0 || rc == SHELF_EBUSY)
		rc = kv_compact(t.db, 0, NULL, NULL, &done);
	return 2;
}

/* kill -9 at any moment, beside two writing processes; this one stays open or opens each time. */
START_TEST(killed_compactors_beside_writers)
{
	struct kvt_child c[2], k[COMPACTORS];
	bool stay_open = _i == 1;

	kvt_rows_fill(&t);
	kvt_close(&t);
	for (int i = 0; i < COMPACTORS; i++)
		kvt_spawn(&t, &k[i], compactor);
	start_workers(c);
	for (int i = 0; i < COMPACTORS; i++) {
		if (!stay_open)
			kvt_close(&t);
		ck_assert(kvt_nod(k[i].go[1]));
		kvt_sleep_ms(10 + i * 13);
		ck_assert_int_eq(kill(k[i].pid, SIGKILL), 0);
		ck_assert_int_eq(kvt_reap(&k[i]), -SIGKILL);
		if (!stay_open)
			kvt_open(&t);
		kvt_rows_check_filled(&t);
		ck_assert_int_eq(kvt_put(t.db, KVT_ROWS_ACCOUNT, 0, KV_MBOX, kvt_s("after"), shelf_span(&i, 4)), 0);
		ck_assert_int_eq(kvt_has(t.db, KVT_ROWS_ACCOUNT, KV_MBOX, kvt_s("after"), shelf_span(&i, 4)), 1);
	}
	ck_assert_int_eq(kvt_compact(&t), 0); /* removes what the dead ones left */
	ck_assert_uint_eq(kvt_generations(&t), 1);
	end_workers(c);
	kvt_rows_check_filled(&t);
}
END_TEST

static int die_at, points;

static int
die(enum kv_point point)
{
	if (point == KV_AT_COMPACT && points++ == die_at)
		_exit(77);
	return 0;
}

static int
dies_compacting(struct kvt_child *c)
{
	struct kv_compacted done;

	if (kv_open(t.dir, &t.db) != 0)
		return 1;
	kv_fault = die;
	if (kv_compact(t.db, 0, NULL, NULL, &done) != 0)
		return 2;
	kv_close(&t.db);
	return 0;
}

/* It dies at each of its steps in turn; whoever opens next finds all, and one file. */
START_TEST(ended_at_each_step)
{
	struct kvt_child c;
	struct kv_stats st;
	uint64_t commits;
	int status = 77, deaths = 0;

	kvt_rows_fill(&t);
	for (die_at = 0; status == 77; die_at++) {
		commits = kv_commits_seen(t.db, 0);
		kvt_close(&t);
		points = 0;
		kvt_spawn(&t, &c, dies_compacting);
		status = kvt_reap(&c);
		ck_assert(status == 77 || status == 0);
		deaths += status == 77;
		kvt_open(&t);
		ck_assert_uint_eq(kvt_generations(&t), 1);
		ck_assert_uint_ge(kv_commits_seen(t.db, 0), commits);
		kvt_rows_check_filled(&t);
		kvt_rows_set(&t, 0, 10, 3);
		kvt_rows_set(&t, 0, 10, 2);
	}
	ck_assert_int_gt(deaths, 10);
	ck_assert_int_eq(kv_stats(t.db, 0, &st), 0);
	kvt_rows_check_filled(&t);
}
END_TEST

static int
compacts_once(struct kvt_child *c)
{
	struct kv_compacted done;

	if (!kvt_wait(c->go[0]))
		return 0;
	if (kv_open(t.dir, &t.db) != 0 || kv_compact(t.db, 0, NULL, NULL, &done) != 0)
		return 1;
	kv_close(&t.db);
	return 0;
}

/* What a dead compactor wanted logged does not grow for ever: 30,000 changes later the file is as large as it is
 * without all that. */
START_TEST(the_log_of_a_dead_compactor_ends)
{
	struct kvt_child dead, once;
	uint64_t grown;

	kvt_rows_fill(&t);
	kvt_close(&t);
	die_at = 4;
	kvt_spawn(&t, &dead, dies_compacting);
	kvt_spawn(&t, &once, compacts_once);
	kvt_open(&t);
	ck_assert_int_eq(kvt_reap(&dead), 77);
	kvt_sleep_ms(1100);
	for (int i = 0; i < 40; i++)
		kvt_rows_set(&t, 0, 200, 2);
	grown = kvt_file_bytes(&t);
	for (int i = 0; i < 150; i++)
		kvt_rows_set(&t, 0, 200, 2);
	ck_assert_uint_le(kvt_file_bytes(&t), grown + (256 << 10));
	/* Idle here, while another process moves the shard on: this one follows. */
	ck_assert(kvt_nod(once.go[1]));
	ck_assert_int_eq(kvt_reap(&once), 0);
	ck_assert_uint_lt(kvt_file_bytes(&t), grown);
	kvt_rows_check_filled(&t);
	kvt_rows_set(&t, 0, 200, 2);
	kvt_rows_check_filled(&t);
}
END_TEST

/* ---- Commit numbers --------------------------------------------------------------------------------- */

static int
counts(struct kvt_child *c)
{
	struct worker w = {.account = WORKER_FIRST};
	struct worker_step s = {&w, 1, 1};

	if (kv_open(t.dir, &t.db) != 0 || !kvt_nod(c->said[1]) || !kvt_wait(c->go[0]))
		return 1;
	for (int i = 0; i < 3000; i++)
		if (kv_update(t.db, w.account, 0, worker_update, &s) != 0)
			return 2;
	kv_close(&t.db);
	return 0;
}

/* A view begun after a commit number was seen shows that commit, whichever file it is in. */
START_TEST(commit_numbers_over_the_swaps)
{
	struct kvt_child writer, c;
	uint64_t seen, last;
	uint32_t n = 0;
	int swaps = 0;

	kvt_close(&t);
	kvt_spawn(&t, &writer, counts);
	kvt_spawn(&t, &c, compactor);
	ck_assert(kvt_wait(writer.said[0]));
	kvt_open(&t);
	last = kv_commits_seen(t.db, 0);
	ck_assert(kvt_nod(c.go[1]) && kvt_nod(writer.go[1]));
	while (n < 3000) {
		uint32_t before = n;

		seen = kv_commits_seen(t.db, 0);
		n = counter();
		ck_assert_uint_ge(seen, last);
		ck_assert_uint_ge(n, before);
		/* Compactions commit too, so the counter is at most as far. */
		ck_assert_uint_le(n, kv_commits_seen(t.db, 0));
		swaps += seen != last;
		last = seen;
	}
	ck_assert_int_eq(kill(c.pid, SIGKILL), 0);
	ck_assert_int_eq(kvt_reap(&c), -SIGKILL);
	ck_assert_int_eq(kvt_reap(&writer), 0);
	ck_assert_int_gt(swaps, 10);
	ck_assert(!kvt_is_there(&t, "part-00"));
	ck_assert_uint_eq(counter(), 3000);
}
END_TEST

Suite *suite_kv_compact_processes(void);
Suite *
suite_kv_compact_processes(void)
{
	Suite *s = suite_create("kv_compact_processes");
	TCase *tc = tcase_create("kv_compact_processes");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, under_the_load_of_two_processes);
	tcase_add_loop_test(tc, killed_compactors_beside_writers, 0, 2);
	tcase_add_test(tc, ended_at_each_step);
	tcase_add_test(tc, the_log_of_a_dead_compactor_ends);
	tcase_add_test(tc, commit_numbers_over_the_swaps);
	suite_add_tcase(s, tc);
	return s;
}
