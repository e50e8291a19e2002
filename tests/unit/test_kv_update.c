/* test_kv_update.c - closures: groups, errors of one among many, faults at every write, the listener */
#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "kvt.h"

static struct kvt t;

static void
setup(void)
{
	kvt_begin(&t, 1, KVT_MAP, KVT_RESERVE);
}

static void
teardown(void)
{
	kvt_end(&t);
}

#define OPS(array) {(array), sizeof(array) / sizeof *(array), 0, 0}

/* ---- One closure --------------------------------------------------------------------------------- */

START_TEST(all_or_nothing)
{
	struct kvt_op ops[] = {
		{KV_MBOX, kvt_s("a"), kvt_s("1"), false},
		{KV_BLOB, kvt_s("b"), kvt_s("2"), false},
		{KV_MBOX, kvt_s("there"), kvt_s(""), true},
	};
	struct kvt_ops update = OPS(ops);

	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("there"), kvt_s("x")), 0);
	update.rc = SHELF_EQUOTA;
	ck_assert_int_eq(kv_update(t.db, 1, 0, kvt_run_ops, &update), SHELF_EQUOTA);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("a"), kvt_s("1")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_BLOB, kvt_s("b"), kvt_s("2")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("there"), kvt_s("x")), 1);
	update.rc = 0;
	ck_assert_int_eq(kv_update(t.db, 1, 0, kvt_run_ops, &update), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("a"), kvt_s("1")), 1);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_BLOB, kvt_s("b"), kvt_s("2")), 1);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("there"), kvt_s("x")), 0);
}
END_TEST

static int
reads_what_it_wrote(struct kv_txn *txn, void *arg)
{
	struct kv_view *view = kv_txn_view(txn);
	struct kv_scan scan;
	struct shelf_span k, v;

	ck_assert_uint_eq(kv_txn_account(txn), 1);
	ck_assert_uint_eq(kv_txn_writes(txn), 0);
	ck_assert_int_eq(kv_put(txn, KV_MBOX, kvt_s("a"), kvt_s("1")), 0);
	ck_assert_int_eq(kv_put(txn, KV_MBOX, kvt_s("b"), kvt_s("2")), 0);
	ck_assert_int_eq(kv_get(view, KV_MBOX, kvt_s("a"), &v), 0);
	ck_assert(shelf_span_is(v, "1"));
	/* What was read goes straight into the next write, as key and as value. */
	ck_assert_int_eq(kv_scan_open(view, KV_MBOX, kvt_s(""), kvt_s(""), &scan), 0);
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 1);
	ck_assert_int_eq(kv_put(txn, KV_MNAME, v, k), 0);
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), SHELF_EINVALID);
	kv_scan_close(&scan);
	ck_assert_int_eq(kv_get(view, KV_MNAME, kvt_s("1"), &v), 0);
	ck_assert(shelf_span_is(v, "a"));
	ck_assert_int_eq(kv_del(txn, KV_MBOX, kvt_s("a")), 0);
	ck_assert_int_eq(kv_get(view, KV_MBOX, kvt_s("a"), &v), SHELF_EMISSING);
	ck_assert_uint_eq(kv_txn_writes(txn), 4);
	ck_assert_int_eq(kv_del(txn, KV_MBOX, kvt_s("a")), SHELF_EMISSING);
	ck_assert_uint_eq(kv_txn_writes(txn), 4);
	/* Left open: the end of the closure closes it. */
	return kv_scan_open(view, KV_MBOX, kvt_s(""), kvt_s(""), arg);
}

START_TEST(an_update_reads_its_writes)
{
	struct kv_scan left_open;
	struct shelf_span k, v;

	ck_assert_int_eq(kv_update(t.db, 1, 0, reads_what_it_wrote, &left_open), 0);
	ck_assert_int_eq(kv_scan_next(&left_open, &k, &v), SHELF_EINVALID);
	kv_scan_close(&left_open);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MNAME, kvt_s("1"), kvt_s("a")), 1);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_MBOX, kvt_s("")), 1);
}
END_TEST

/* Removes all rows with a fresh scan behind each key, as kv.h says. */
static int
removes_all(struct kv_txn *txn, void *arg)
{
	struct kv_scan scan;
	struct shelf_span k, v;
	uint8_t last[KV_KEY_MAX];
	size_t len = 0;
	unsigned *count = arg;
	int rc;

	for (*count = 0;; ++*count) {
		rc = kv_scan_open(kv_txn_view(txn), KV_MSG, kvt_s(""), shelf_span(last, len), &scan);
		if (rc != 0)
			return rc;
		rc = kv_scan_next(&scan, &k, &v);
		if (rc != 1)
			break;
		len = k.len;
		memcpy(last, k.data, len);
		rc = kv_del(txn, KV_MSG, shelf_span(last, len));
		kv_scan_close(&scan);
		if (rc != 0)
			return rc;
	}
	kv_scan_close(&scan);
	return rc;
}

START_TEST(scan_and_remove)
{
	unsigned count;
	char key[16];

	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "%d", i);
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MSG, kvt_s(key), kvt_s("v")), 0);
	}
	ck_assert_int_eq(kvt_put(t.db, 2, 0, KV_MSG, kvt_s("other"), kvt_s("v")), 0);
	ck_assert_int_eq(kv_update(t.db, 1, 0, removes_all, &count), 0);
	ck_assert_uint_eq(count, 100);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_MSG, kvt_s("")), 0);
	ck_assert_uint_eq(kvt_count(t.db, 2, KV_MSG, kvt_s("")), 1);
}
END_TEST

static int
shrugs_off_what_it_may(struct kv_txn *txn, void *arg)
{
	static const uint8_t big[KV_VALUE_MAX + 1];

	ck_assert_int_eq(kv_put(txn, KV_MBOX, kvt_s("a"), kvt_s("1")), 0);
	ck_assert_int_eq(kv_put(txn, KV_MBOX, kvt_s("b"), shelf_span(big, sizeof big)), SHELF_ETOOBIG);
	ck_assert_int_eq(kv_put(txn, KV_USER, kvt_s("b"), kvt_s("2")), SHELF_EINVALID);
	return 0;
}

START_TEST(refused_arguments_leave_no_trace)
{
	ck_assert_int_eq(kv_update(t.db, 1, 0, shrugs_off_what_it_may, NULL), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("a"), kvt_s("1")), 1);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("b"), kvt_s("")), 0);
}
END_TEST

static int
for_several_accounts(struct kv_txn *txn, void *arg)
{
	int rc;

	ck_assert_uint_eq(kv_txn_account(txn), 0);
	ck_assert_int_eq(kv_put(txn, KV_MBOX, kvt_s("k"), kvt_s("v")), SHELF_EINVALID);
	rc = kv_put(txn, KV_JOB, kvt_s("job"), kvt_s("v"));
	for (uint32_t account = 3; rc == 0 && account <= 5; account++) {
		kv_txn_set_account(txn, account);
		ck_assert_uint_eq(kv_txn_account(txn), account);
		rc = kv_put(txn, KV_MBOX, kvt_s("k"), shelf_span(&account, sizeof account));
	}
	return rc;
}

START_TEST(an_update_of_a_shard)
{
	ck_assert_int_eq(kv_update_shard(t.db, 1, 0, for_several_accounts, NULL), SHELF_EINVALID);
	ck_assert_int_eq(kv_update_shard(t.db, 0, 0, for_several_accounts, NULL), 0);
	for (uint32_t account = 3; account <= 5; account++)
		ck_assert_int_eq(kvt_has(t.db, account, KV_MBOX, kvt_s("k"),
		    shelf_span(&account, sizeof account)), 1);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_JOB, kvt_s("job"), kvt_s("v")), 1);
}
END_TEST

/* ---- Groups -------------------------------------------------------------------------------------- */

enum { MANY = 150 };

struct done {
	atomic_int count;
	sem_t all;
	int wanted;
	int order[MANY + 1];
	int rc[MANY + 1];
};
static struct done done;

struct submitted {
	int number;
	int rc;       /* what the closure returns */
	bool writes;
	sem_t *entered, *go; /* the one that keeps the committer busy */
};

static int
run_submitted(struct kv_txn *txn, void *arg)
{
	struct submitted *s = arg;
	char key[16];
	int rc = 0;

	if (s->entered != NULL) {
		sem_post(s->entered);
		sem_wait(s->go);
		s->entered = NULL; /* it may run again */
	}
	snprintf(key, sizeof key, "%04d", s->number);
	if (s->writes)
		rc = kv_put(txn, KV_MBOX, kvt_s(key), kvt_s("v"));
	return rc == 0 ? s->rc : rc;
}

static void
note_done(void *arg, int rc)
{
	struct submitted *s = arg;
	int at = atomic_fetch_add(&done.count, 1);

	done.order[at] = s->number;
	done.rc[s->number] = rc;
	if (at + 1 == done.wanted)
		sem_post(&done.all);
}

/* Number 0 holds the committer until all of 1..MANY wait behind it; so they run as groups. */
static void
submit_many(struct submitted *jobs)
{
	sem_t entered, go;

	sem_init(&entered, 0, 0);
	sem_init(&go, 0, 0);
	sem_init(&done.all, 0, 0);
	atomic_store(&done.count, 0);
	done.wanted = MANY + 1;
	jobs[0] = (struct submitted){.writes = true, .entered = &entered, .go = &go};
	kv_submit(t.db, 1, 0, run_submitted, &jobs[0], note_done, &jobs[0]);
	sem_wait(&entered);
	for (int i = 1; i <= MANY; i++) {
		jobs[i].number = i;
		kv_submit(t.db, 1 + (uint32_t)i % 3, 0, run_submitted, &jobs[i], note_done, &jobs[i]);
	}
	sem_post(&go);
	sem_wait(&done.all);
}

static void
check_submitted(const struct submitted *jobs)
{
	char key[16];

	for (int i = 0; i <= MANY; i++) {
		uint32_t account = i == 0 ? 1 : 1 + (uint32_t)i % 3;

		snprintf(key, sizeof key, "%04d", i);
		ck_assert_int_eq(done.order[i], i);
		ck_assert_int_eq(done.rc[i], jobs[i].rc);
		ck_assert_int_eq(kvt_has(t.db, account, KV_MBOX, kvt_s(key), kvt_s("v")),
		    jobs[i].writes && jobs[i].rc == 0);
	}
}

START_TEST(updates_share_commits)
{
	static struct submitted jobs[MANY + 1];
	struct kv_stats before, after;

	for (int i = 1; i <= MANY; i++)
		jobs[i].writes = true;
	ck_assert_int_eq(kv_stats(t.db, 0, &before), 0);
	submit_many(jobs);
	check_submitted(jobs);
	ck_assert_int_eq(kv_stats(t.db, 0, &after), 0);
	ck_assert_uint_eq(after.updates - before.updates, MANY + 1);
	ck_assert_uint_le(after.commits - before.commits, 4);
}
END_TEST

/* Every 7th fails having written nothing; every Nth, N the loop number, after a write. */
START_TEST(errors_stay_with_their_closure)
{
	static const int each[] = {MANY, 60, 11, 2, 1};
	static struct submitted jobs[MANY + 1];

	for (int i = 1; i <= MANY; i++) {
		jobs[i] = (struct submitted){.writes = true};
		if (i % 7 == 0)
			jobs[i] = (struct submitted){.rc = SHELF_ENOMAILBOX};
		else if (i % each[_i] == 0)
			jobs[i].rc = SHELF_EQUOTA;
	}
	submit_many(jobs);
	check_submitted(jobs);
}
END_TEST

static int
counts_up(struct kv_txn *txn, void *arg)
{
	struct shelf_span v;
	uint32_t n = 0;
	int rc = kv_get(kv_txn_view(txn), KV_META, kvt_s("n"), &v);

	if (rc == 0)
		memcpy(&n, v.data, sizeof n);
	else if (rc != SHELF_EMISSING)
		return rc;
	n++;
	*(uint32_t *)arg = n;
	return kv_put(txn, KV_META, kvt_s("n"), shelf_span(&n, sizeof n));
}

enum { THREADS = 16, EACH = 200 };

static void *
count_many(void *arg)
{
	uint32_t last = 0, n;

	for (int i = 0; i < EACH; i++) {
		if (kv_update(t.db, 1 + *(int *)arg % 5U, 0, counts_up, &n) != 0 || n <= last)
			return arg;
		last = n;
	}
	return NULL;
}

START_TEST(threads_share_commits)
{
	pthread_t threads[THREADS];
	int numbers[THREADS];
	uint32_t total = THREADS * EACH;
	struct kv_stats before, after;
	void *failed;

	ck_assert_int_eq(kv_stats(t.db, 0, &before), 0);
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, count_many, &numbers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
		ck_assert_ptr_null(failed);
	}
	ck_assert_int_eq(kvt_has(t.db, 1, KV_META, kvt_s("n"), shelf_span(&total, sizeof total)), 1);
	ck_assert_int_eq(kv_stats(t.db, 0, &after), 0);
	ck_assert_uint_eq(after.updates - before.updates, total);
	ck_assert_uint_lt(after.commits - before.commits, total);
}
END_TEST

START_TEST(close_waits_for_what_was_submitted)
{
	static struct submitted jobs[MANY + 1];
	char key[16];

	sem_init(&done.all, 0, 0);
	atomic_store(&done.count, 0);
	done.wanted = MANY;
	for (int i = 1; i <= MANY; i++) {
		jobs[i] = (struct submitted){.number = i, .writes = true};
		kv_submit(t.db, 1, 0, run_submitted, &jobs[i], note_done, &jobs[i]);
	}
	kvt_close(&t);
	ck_assert_int_eq(atomic_load(&done.count), MANY);
	kvt_open(&t);
	for (int i = 1; i <= MANY; i++) {
		snprintf(key, sizeof key, "%04d", i);
		ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s(key), kvt_s("v")), 1);
	}
}
END_TEST

START_TEST(submitting_for_nobody)
{
	struct submitted job = {.number = 1, .writes = true};

	sem_init(&done.all, 0, 0);
	atomic_store(&done.count, 0);
	done.wanted = 1;
	kv_submit(t.db, 4711, 0, run_submitted, &job, note_done, &job);
	sem_wait(&done.all);
	ck_assert_int_eq(done.rc[1], SHELF_ENOACCOUNT);
}
END_TEST

/* ---- Faults -------------------------------------------------------------------------------------- */

static struct {
	int at, until; /* operations AT..UNTIL - 1 fail, counted from 0 */
	int seen;
	int rc;
} fault;

static int
inject(enum kv_point point)
{
	int n = fault.seen++;

	return n >= fault.at && n < fault.until ? fault.rc : 0;
}

static int
swallows(struct kv_txn *txn, void *arg)
{
	int rc = kvt_run_ops(txn, arg);

	return rc == SHELF_EIO ? 0 : rc; /* a closure that does not look */
}

/* 3 puts, 1 del, before the commit, after it: a fault at each, once or from there on. */
START_TEST(faults_leave_all_or_nothing)
{
	struct kvt_op ops[] = {
		{KV_MBOX, kvt_s("a"), kvt_s("1"), false},
		{KV_MNAME, kvt_s("b"), kvt_s("2"), false},
		{KV_CHUNK, kvt_s("c"), kvt_s("3"), false},
		{KV_MBOX, kvt_s("old"), kvt_s(""), true},
	};
	struct kvt_ops update = OPS(ops);
	int rc, a, b, c, old;

	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("old"), kvt_s("x")), 0);
	fault.at = _i / 2;
	fault.until = _i % 2 == 0 ? fault.at + 1 : 1000;
	fault.seen = 0;
	fault.rc = SHELF_EIO;
	kv_fault = inject;
	rc = kv_update(t.db, 1, 0, swallows, &update);
	kv_fault = NULL;
	a = kvt_has(t.db, 1, KV_MBOX, kvt_s("a"), kvt_s("1"));
	b = kvt_has(t.db, 1, KV_MNAME, kvt_s("b"), kvt_s("2"));
	c = kvt_has(t.db, 1, KV_CHUNK, kvt_s("c"), kvt_s("3"));
	old = kvt_has(t.db, 1, KV_MBOX, kvt_s("old"), kvt_s("x"));
	ck_assert_int_eq(a, b);
	ck_assert_int_eq(a, c);
	ck_assert_int_eq(a, !old);
	if (fault.at < 4)
		ck_assert_int_eq(rc, SHELF_EIO);
	else if (fault.at == 4) /* a commit is tried once more */
		ck_assert_int_eq(rc, _i % 2 == 0 ? 0 : SHELF_EIO);
	else
		ck_assert_int_eq(rc, SHELF_EUNKNOWN);
	if (rc != SHELF_EUNKNOWN)
		ck_assert_int_eq(a, rc == 0);
	ck_assert_int_eq(fault.seen > fault.at, 1);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("later"), kvt_s("x")), 0);
	kvt_reopen(&t);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("a"), kvt_s("1")), a);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("later"), kvt_s("x")), 1);
}
END_TEST

/* A fault somewhere in a group hits whom it hits; nobody is told what is not so. */
START_TEST(faults_in_a_group)
{
	static struct submitted jobs[MANY + 1];
	char key[16];
	int failed = 0;

	for (int i = 1; i <= MANY; i++)
		jobs[i] = (struct submitted){.writes = true};
	fault.at = _i * 13;
	fault.until = fault.at + 1 + _i % 3;
	fault.seen = 0;
	fault.rc = _i % 2 == 0 ? SHELF_EIO : SHELF_EFULL;
	kv_fault = inject;
	submit_many(jobs);
	kv_fault = NULL;
	for (int i = 0; i <= MANY; i++) {
		uint32_t account = i == 0 ? 1 : 1 + (uint32_t)i % 3;
		int has;

		snprintf(key, sizeof key, "%04d", i);
		has = kvt_has(t.db, account, KV_MBOX, kvt_s(key), kvt_s("v"));
		ck_assert_int_eq(done.order[i], i);
		if (done.rc[i] == 0)
			ck_assert_int_eq(has, 1);
		else if (done.rc[i] == fault.rc)
			ck_assert_int_eq(has, 0);
		else
			ck_assert_int_eq(done.rc[i], SHELF_EUNKNOWN);
		failed += done.rc[i] != 0;
	}
	ck_assert_int_ge(fault.seen, fault.until);
	ck_assert_int_le(failed, 70); /* an unknown outcome takes its group along, nothing more */
}
END_TEST

/* ---- The listener -------------------------------------------------------------------------------- */

static unsigned told[64];

static void
listen(void *arg, uint32_t account)
{
	ck_assert_ptr_eq(arg, told);
	ck_assert_uint_lt(account, 64);
	told[account]++;
}

static int
only_reads(struct kv_txn *txn, void *arg)
{
	struct shelf_span v;
	int rc = kv_get(kv_txn_view(txn), KV_MBOX, kvt_s("k"), &v);

	return rc == SHELF_EMISSING ? 0 : rc;
}

START_TEST(the_listener_hears_of_changes)
{
	struct kvt_op op = {KV_MBOX, kvt_s("k"), kvt_s("v"), false};
	struct kvt_ops fails = {&op, 1, SHELF_EQUOTA, 0};
	struct kvt_op twice[] = {op, {KV_BLOB, kvt_s("k"), kvt_s("v"), false}};
	struct kvt_ops update = OPS(twice);

	kv_set_listener(t.db, listen, told);
	ck_assert_int_eq(kv_update(t.db, 7, 0, kvt_run_ops, &update), 0);
	ck_assert_uint_eq(told[7], 1); /* before the update returns, once a commit */
	ck_assert_int_eq(kv_update(t.db, 7, KV_QUIET, kvt_run_ops, &update), 0);
	ck_assert_int_eq(kv_update(t.db, 7, 0, kvt_run_ops, &fails), SHELF_EQUOTA);
	ck_assert_int_eq(kv_update(t.db, 7, 0, only_reads, NULL), 0);
	ck_assert_uint_eq(told[7], 1);
	ck_assert_int_eq(kvt_put(t.db, 0, 0, KV_GLOBAL, kvt_s("k"), kvt_s("v")), 0);
	ck_assert_uint_eq(told[0], 0);
	ck_assert_int_eq(kv_update_shard(t.db, 0, 0, for_several_accounts, NULL), 0);
	ck_assert_uint_eq(told[0] + told[2] + told[6], 0);
	for (int account = 3; account <= 5; account++)
		ck_assert_uint_eq(told[account], 1);
	kv_set_listener(t.db, NULL, NULL);
	ck_assert_int_eq(kv_update(t.db, 7, 0, kvt_run_ops, &update), 0);
	ck_assert_uint_eq(told[7], 1);
}
END_TEST

START_TEST(the_listener_hears_once_a_group)
{
	static struct submitted jobs[MANY + 1];

	for (int i = 1; i <= MANY; i++)
		jobs[i].writes = true;
	kv_set_listener(t.db, listen, told);
	submit_many(jobs);
	for (int account = 1; account <= 3; account++) {
		ck_assert_uint_ge(told[account], 1);
		ck_assert_uint_le(told[account], 4);
	}
}
END_TEST

Suite *suite_kv_update(void);
Suite *
suite_kv_update(void)
{
	Suite *s = suite_create("kv_update");
	TCase *tc = tcase_create("kv_update");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, all_or_nothing);
	tcase_add_test(tc, an_update_reads_its_writes);
	tcase_add_test(tc, scan_and_remove);
	tcase_add_test(tc, refused_arguments_leave_no_trace);
	tcase_add_test(tc, an_update_of_a_shard);
	tcase_add_test(tc, updates_share_commits);
	tcase_add_loop_test(tc, errors_stay_with_their_closure, 0, 5);
	tcase_add_test(tc, threads_share_commits);
	tcase_add_test(tc, close_waits_for_what_was_submitted);
	tcase_add_test(tc, submitting_for_nobody);
	tcase_add_loop_test(tc, faults_leave_all_or_nothing, 0, 12);
	tcase_add_loop_test(tc, faults_in_a_group, 0, 12);
	tcase_add_test(tc, the_listener_hears_of_changes);
	tcase_add_test(tc, the_listener_hears_once_a_group);
	suite_add_tcase(s, tc);
	return s;
}
