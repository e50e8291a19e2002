/*
 * test_kv_leave.c - an account moves between shards while processes read and write it
 *
 * The mover here is the shortest one that is right; engine/mail/move.c is the real one. Whatever happens to a mover,
 * an account has one place, and everybody finds everything there.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "base.h"
#include "kvt_child.h"

enum { ACCOUNT = 1, OTHER = 2, SHARDS = 3, ROWS = 300 };

static struct kvt t;

static void
setup(void)
{
	kvt_begin(&t, SHARDS, KVT_MAP, KVT_RESERVE);
}

static void
teardown(void)
{
	kvt_end(&t);
}

/* ---- A mover ------------------------------------------------------------------------------------ */

enum { BATCH = 100 };

struct copy {
	uint32_t account;
	size_t n;
	struct kv_change change[BATCH];
	bool there[BATCH];
	size_t len[BATCH];
	uint8_t value[BATCH][KV_VALUE_MAX];
};

static int
put_copy(struct kv_txn *txn, void *arg)
{
	struct copy *c = arg;
	int rc = 0;

	kv_txn_set_account(txn, c->account);
	for (size_t i = 0; rc == 0 && i < c->n; i++) {
		struct shelf_span key = shelf_span(c->change[i].key, c->change[i].len);

		if (c->there[i])
			rc = kv_put(txn, c->change[i].table, key, shelf_span(c->value[i], c->len[i]));
		else if ((rc = kv_del(txn, c->change[i].table, key)) == SHELF_EMISSING)
			rc = 0;
	}
	return rc;
}

/* The rows of C->change as they are in FROM, into TO. */
static int
copy_changed(struct copy *c, uint32_t from, uint32_t to)
{
	struct kv_view *view;
	struct shelf_span value;
	int rc = kv_view_begin_shard(t.db, from, &view);

	if (rc != 0)
		return rc;
	kv_view_account(view, c->account);
	for (size_t i = 0; i < c->n; i++) {
		struct shelf_span key = shelf_span(c->change[i].key, c->change[i].len);

		c->there[i] = kv_get(view, c->change[i].table, key, &value) == 0;
		c->len[i] = value.len;
		if (value.len > 0)
			memcpy(c->value[i], value.data, value.len);
	}
	kv_view_end(&view);
	return kv_update_shard(t.db, to, 0, put_copy, c);
}

/* Every key of the account in SHARD, a batch at a time: into TO, or (TO == SHARD) removed. */
static int
each_row(struct copy *c, uint32_t shard, uint32_t to)
{
	for (int table = 0; table < KV_TABLES; table++) {
		struct shelf_span key, value;
		struct kv_change at = {0};
		int rc = 1;

		if (!kv_table_of_account((enum kv_table)table))
			continue;
		while (rc == 1) {
			struct kv_view *view;
			struct kv_scan scan;

			rc = kv_view_begin_shard(t.db, shard, &view);
			if (rc != 0)
				return rc;
			kv_view_account(view, c->account);
			c->n = 0;
			rc = kv_scan_open(view, (enum kv_table)table, shelf_span(NULL, 0),
			    shelf_span(at.key, at.len), &scan);
			while (rc == 0 && c->n < BATCH && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
				at.table = (enum kv_table)table;
				memcpy(at.key, key.data, key.len);
				at.len = key.len;
				c->there[c->n] = false;
				c->change[c->n++] = at;
				at.key[at.len++] = 0;
				rc = 0;
			}
			kv_scan_close(&scan);
			kv_view_end(&view);
			if (rc == 0)
				rc = to == shard ? kv_update_shard(t.db, to, 0, put_copy, c)
						 : copy_changed(c, shard, to);
			if (rc == 0)
				rc = c->n == BATCH;
		}
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int
replay(struct copy *c, struct kv_leave *l, uint32_t to)
{
	int rc = 1;

	while (rc == 1) {
		rc = kv_leave_changes(l, c->change, BATCH, &c->n);
		if (rc >= 0 && c->n > 0) {
			int copy_rc = copy_changed(c, kv_leave_from(l), to);

			rc = copy_rc != 0 ? copy_rc : rc;
		}
	}
	return rc;
}

static int
nothing(struct kv_txn *txn, void *arg)
{
	return 0;
}

/* All but the removal of what was left behind. */
static int
copy_and_leave(struct copy *c, uint32_t to)
{
	struct kv_leave *l;
	int rc = kv_leave_begin(t.db, c->account, &l);

	if (rc == 0)
		rc = each_row(c, to, to);
	if (rc == 0)
		rc = each_row(c, kv_leave_from(l), to);
	if (rc == 0)
		rc = replay(c, l, to);
	for (int i = 0; i < 3; i++) {
		if (rc == 0)
			rc = kv_leave_close(l);
		if (rc == 0)
			rc = replay(c, l, to);
		if (rc == 0 && (rc = kv_leave_end(l, to, nothing, NULL)) != SHELF_ECANCELLED)
			break;
		rc = rc == SHELF_ECANCELLED ? replay(c, l, to) : rc;
	}
	kv_leave_free(&l);
	return rc;
}

static int
move(uint32_t account, uint32_t to)
{
	struct copy *c = calloc(1, sizeof *c);
	uint32_t from;
	int rc;

	c->account = account;
	rc = kv_shard_of(t.db, account, &from);
	if (rc == 0 && from != to) {
		rc = copy_and_leave(c, to);
		if (rc == 0)
			rc = each_row(c, from, from);
		if (rc == 0)
			rc = kv_settle(t.db, account);
	}
	free(c);
	return rc;
}

static uint32_t
shard_of(uint32_t account)
{
	uint32_t shard;

	ck_assert_int_eq(kv_shard_of(t.db, account, &shard), 0);
	return shard;
}

static bool
says_left(uint32_t shard, uint32_t account)
{
	struct kv_view *view;
	bool left;

	ck_assert_int_eq(kv_view_begin_shard(t.db, shard, &view), 0);
	ck_assert_int_eq(kv_has_left(view, account, &left), 0);
	kv_view_end(&view);
	return left;
}

/* ---- Rows --------------------------------------------------------------------------------------- */

static struct shelf_span
row_key(uint8_t *key, uint32_t n)
{
	base_put_be32(key, n);
	return shelf_span(key, 4);
}

struct fill {
	uint32_t first, n, mark;
};

static int
fill_some(struct kv_txn *txn, void *arg)
{
	struct fill *f = arg;
	uint8_t key[4];
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < f->n; i++)
		rc = kv_put(txn, (f->first + i) % 2 == 0 ? KV_MSG : KV_FPAGE, row_key(key, f->first + i),
		    shelf_span(&f->mark, 4));
	return rc;
}

static void
fill(uint32_t account, uint32_t rows, uint32_t mark)
{
	for (uint32_t first = 0; first < rows; first += 100) {
		struct fill f = {first, rows - first < 100 ? rows - first : 100, mark};

		ck_assert_int_eq(kv_update(t.db, account, 0, fill_some, &f), 0);
	}
}

static void
check_filled(uint32_t account, uint32_t rows, uint32_t mark)
{
	uint8_t key[4];

	for (uint32_t n = 0; n < rows; n++)
		ck_assert_int_eq(kvt_has(t.db, account, n % 2 == 0 ? KV_MSG : KV_FPAGE, row_key(key, n),
		    shelf_span(&mark, 4)), 1);
	ck_assert_uint_eq(kvt_count(t.db, account, KV_MSG, shelf_span(NULL, 0)), (rows + 1) / 2);
	ck_assert_uint_eq(kvt_count(t.db, account, KV_FPAGE, shelf_span(NULL, 0)), rows / 2);
}

/* No rows of the account but where it lives. */
static void
check_alone(uint32_t account)
{
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		struct kv_view *view;
		uint32_t found = 0;

		ck_assert_int_eq(kv_view_begin_shard(t.db, shard, &view), 0);
		for (int table = 0; table < KV_TABLES; table++)
			if (kv_table_of_account((enum kv_table)table) && shard != shard_of(account) &&
			    kv_view_next_account(view, (enum kv_table)table, account - 1, &found) == 1)
				ck_assert_uint_ne(found, account);
		kv_view_end(&view);
	}
}

/* ---- One process -------------------------------------------------------------------------------- */

START_TEST(there_and_back)
{
	struct kv_view *old;
	uint32_t home = shard_of(ACCOUNT), next = (home + 1) % SHARDS, third = (home + 2) % SHARDS, mark = 7;
	struct shelf_span value;
	uint8_t key[4];

	fill(ACCOUNT, ROWS, mark);
	fill(OTHER, 10, 1);
	ck_assert_int_eq(kv_view_begin(t.db, ACCOUNT, &old), 0);
	ck_assert_int_eq(move(ACCOUNT, next), 0);
	ck_assert_uint_eq(shard_of(ACCOUNT), next);
	check_filled(ACCOUNT, ROWS, mark);
	check_alone(ACCOUNT);
	/* A snapshot of before shows what was then. */
	ck_assert_int_eq(kv_get(old, KV_MSG, row_key(key, 0), &value), 0);
	kv_view_end(&old);
	/* What is written is written there. */
	fill(ACCOUNT, ROWS, ++mark);
	check_filled(ACCOUNT, ROWS, mark);
	ck_assert(says_left(home, ACCOUNT));
	ck_assert_int_eq(move(ACCOUNT, third), 0);
	ck_assert_int_eq(move(ACCOUNT, home), 0);
	check_filled(ACCOUNT, ROWS, mark);
	check_alone(ACCOUNT);
	ck_assert(!says_left(home, ACCOUNT));
	ck_assert(says_left(next, ACCOUNT));
	kvt_reopen(&t);
	ck_assert_uint_eq(shard_of(ACCOUNT), home);
	check_filled(ACCOUNT, ROWS, mark);
	check_filled(OTHER, 10, 1);
	ck_assert_int_eq(kv_forget(t.db, ACCOUNT), 0);
	ck_assert(!says_left(next, ACCOUNT));
}
END_TEST

static int
put_in_both(struct kv_txn *txn, void *arg)
{
	const uint32_t *account = arg;
	int rc = 0;

	for (int i = 0; i < 3 && rc == 0; i++) { /* there and back */
		kv_txn_set_account(txn, account[i % 2]);
		rc = kv_put(txn, KV_MSG, kvt_s(i == 2 ? "again" : "both"), kvt_s("x"));
	}
	return rc;
}

static int
update_both(uint32_t first, uint32_t second)
{
	uint32_t account[2] = {first, second};

	return kv_update_both(t.db, first, second, 0, put_in_both, account);
}

START_TEST(two_accounts_in_one_update)
{
	uint32_t home = shard_of(ACCOUNT), beside = 0, elsewhere = 0;
	struct copy *c = calloc(1, sizeof *c);
	struct kv_leave *l;

	for (uint32_t a = OTHER; beside == 0 || elsewhere == 0; a++)
		*(shard_of(a) == home ? &beside : &elsewhere) = a;
	ck_assert_int_eq(update_both(ACCOUNT, elsewhere), SHELF_EBUSY);
	ck_assert_int_eq(update_both(ACCOUNT, beside), 0);
	ck_assert_int_eq(kvt_has(t.db, ACCOUNT, KV_MSG, kvt_s("again"), kvt_s("x")), 1);
	ck_assert_int_eq(kvt_has(t.db, beside, KV_MSG, kvt_s("both"), kvt_s("x")), 1);
	ck_assert_int_eq(kvt_del(t.db, beside, KV_MSG, kvt_s("both")), 0);
	/* The second one leaves: what is written before it is closed is told to who moves it. */
	c->account = beside;
	ck_assert_int_eq(kv_leave_begin(t.db, beside, &l), 0);
	ck_assert_int_eq(update_both(ACCOUNT, beside), 0);
	ck_assert_int_eq(kv_leave_changes(l, c->change, BATCH, &c->n), 0);
	ck_assert_uint_eq(c->n, 1);
	ck_assert_mem_eq(c->change[0].key, "both", 4);
	ck_assert_int_eq(kv_leave_close(l), 0);
	ck_assert_int_eq(update_both(ACCOUNT, beside), SHELF_EBUSY);
	kv_leave_free(&l);
	ck_assert_int_eq(update_both(ACCOUNT, beside), 0);
	free(c);
	/* It has left, as the second and as the first. */
	ck_assert_int_eq(move(beside, (home + 1) % SHARDS), 0);
	ck_assert_int_eq(update_both(ACCOUNT, beside), SHELF_EBUSY);
	ck_assert_int_eq(update_both(beside, ACCOUNT), SHELF_EBUSY);
	ck_assert_int_eq(move(ACCOUNT, (home + 1) % SHARDS), 0);
	ck_assert_int_eq(update_both(ACCOUNT, beside), 0);
	check_alone(ACCOUNT);
	check_alone(beside);
}
END_TEST

static int
count_places(uint32_t *counts)
{
	struct kv_view *view;
	struct shelf_span v;
	int rc = kv_view_begin(t.db, KV_CATALOG, &view);

	memset(counts, 0, SHARDS * 4);
	if (rc == 0)
		rc = kv_get(view, KV_GLOBAL, kvt_s("placed"), &v);
	for (uint32_t i = 0; rc == 0 && i < SHARDS && i < v.len / 4; i++) {
		struct base_reader r = base_reader(shelf_span(v.data + 4 * i, 4));

		counts[i] = (uint32_t)base_get_le(&r, 4);
	}
	kv_view_end(&view);
	return rc;
}

START_TEST(counted_where_it_lives)
{
	uint32_t home = shard_of(ACCOUNT), next = (home + 1) % SHARDS, before[SHARDS], after[SHARDS], beside;

	ck_assert_int_eq(count_places(before), 0);
	ck_assert_int_eq(move(ACCOUNT, next), 0);
	ck_assert_int_eq(kv_settle(t.db, ACCOUNT), 0);
	ck_assert_int_eq(count_places(after), 0);
	ck_assert_uint_eq(after[home], before[home] - 1);
	ck_assert_uint_eq(after[next], before[next] + 1);
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		ck_assert_int_eq(kv_place_beside(t.db, shard, &beside), 0);
		ck_assert_uint_ne(beside, shard);
	}
}
END_TEST

START_TEST(one_at_a_time)
{
	struct kv_leave *l, *second;
	struct kv_compacted done;
	uint32_t home = shard_of(ACCOUNT);

	fill(ACCOUNT, 10, 1);
	ck_assert_int_eq(kv_leave_begin(t.db, ACCOUNT, &l), 0);
	ck_assert_uint_eq(kv_leave_from(l), home);
	ck_assert_int_eq(kv_leave_begin(t.db, ACCOUNT, &second), SHELF_EBUSY);
	ck_assert_int_eq(kv_compact(t.db, home, NULL, NULL, &done), SHELF_EBUSY);
	ck_assert_int_eq(kv_leave_end(l, home, nothing, NULL), SHELF_EINVALID);
	ck_assert_int_eq(kv_leave_end(l, SHARDS, nothing, NULL), SHELF_EINVALID);
	ck_assert_int_eq(kv_leave_end(l, (home + 1) % SHARDS, nothing, NULL), SHELF_ECANCELLED); /* not closed */
	kv_leave_free(&l);
	ck_assert_int_eq(kv_leave_begin(t.db, 4711, &l), SHELF_ENOACCOUNT);
	ck_assert_int_eq(kv_leave_begin(t.db, 0, &l), SHELF_ENOACCOUNT);
	/* Both work again, and what had left stays left in the new file. */
	ck_assert_int_eq(move(ACCOUNT, (home + 1) % SHARDS), 0);
	ck_assert_int_eq(kv_compact(t.db, home, NULL, NULL, &done), 0);
	ck_assert(says_left(home, ACCOUNT));
	check_filled(ACCOUNT, 10, 1);
}
END_TEST

/* ---- Waiting ------------------------------------------------------------------------------------ */

struct late {
	pthread_t thread;
	uint32_t mark;
	int rc;
	atomic_bool done;
};

static int
put_mark(struct kv_txn *txn, void *arg)
{
	return kv_put(txn, KV_MBOX, kvt_s("late"), shelf_span(arg, 4));
}

static void *
put_late(void *arg)
{
	struct late *l = arg;

	l->rc = kv_update(t.db, ACCOUNT, 0, put_mark, &l->mark);
	l->done = true;
	return NULL;
}

/* An update of a closed account: _i 0 the account leaves, 1 it stays after all, 2 nothing comes. */
START_TEST(who_comes_late_waits)
{
	struct late late = {.mark = 99};
	uint32_t home = shard_of(ACCOUNT), next = (home + 1) % SHARDS;
	struct copy *c = calloc(1, sizeof *c);
	struct kv_leave *l;

	fill(ACCOUNT, 10, 1);
	c->account = ACCOUNT;
	ck_assert_int_eq(kv_leave_begin(t.db, ACCOUNT, &l), 0);
	ck_assert_int_eq(each_row(c, home, next), 0);
	ck_assert_int_eq(replay(c, l, next), 0);
	ck_assert_int_eq(kv_leave_close(l), 0);
	ck_assert_int_eq(pthread_create(&late.thread, NULL, put_late, &late), 0);
	kvt_sleep_ms(150);
	ck_assert(!late.done);
	check_filled(ACCOUNT, 10, 1); /* who reads does not wait */
	fill(OTHER, 10, 1);           /* nor does another account */
	if (_i == 0) {
		ck_assert_int_eq(kv_leave_end(l, next, nothing, NULL), 0);
	} else if (_i == 2) {
		for (int i = 0; i < 100 && !late.done; i++)
			kvt_sleep_ms(50);
		ck_assert_int_eq(kv_leave_end(l, next, nothing, NULL), SHELF_ECANCELLED);
		/* It is known what came, and the next try succeeds. */
		ck_assert_int_eq(replay(c, l, next), 0);
		ck_assert_int_eq(kv_leave_close(l), 0);
		ck_assert_int_eq(kv_leave_end(l, next, nothing, NULL), 0);
	}
	kv_leave_free(&l);
	ck_assert_int_eq(pthread_join(late.thread, NULL), 0);
	ck_assert_int_eq(late.rc, 0);
	ck_assert_uint_eq(shard_of(ACCOUNT), _i == 1 ? home : next);
	ck_assert_int_eq(kvt_has(t.db, ACCOUNT, KV_MBOX, kvt_s("late"), shelf_span(&late.mark, 4)), 1);
	check_filled(ACCOUNT, 10, 1);
	free(c);
}
END_TEST

enum { SUBMITTED = 200 };
static atomic_uint told;

static void
tell(void *arg, int rc)
{
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(told++, *(uint32_t *)arg); /* in the order of submission */
}

START_TEST(submitted_while_closed)
{
	uint32_t home = shard_of(ACCOUNT), next = (home + 1) % SHARDS, mark[SUBMITTED];
	struct copy *c = calloc(1, sizeof *c);
	struct kv_leave *l;

	c->account = ACCOUNT;
	ck_assert_int_eq(kv_leave_begin(t.db, ACCOUNT, &l), 0);
	ck_assert_int_eq(kv_leave_close(l), 0);
	for (uint32_t i = 0; i < SUBMITTED; i++) {
		mark[i] = i;
		kv_submit(t.db, ACCOUNT, 0, put_mark, &mark[i], tell, &mark[i]);
	}
	kvt_sleep_ms(50);
	ck_assert_uint_eq(told, 0);
	fill(OTHER, 10, 1);
	if (_i == 0)
		ck_assert_int_eq(kv_leave_end(l, next, nothing, NULL), 0);
	kv_leave_free(&l);
	if (_i == 0)
		kvt_reopen(&t); /* waits for them */
	for (int i = 0; i < 100 && told < SUBMITTED; i++)
		kvt_sleep_ms(20);
	ck_assert_uint_eq(told, SUBMITTED);
	ck_assert_int_eq(kvt_has(t.db, ACCOUNT, KV_MBOX, kvt_s("late"), shelf_span(&mark[SUBMITTED - 1], 4)), 1);
	free(c);
}
END_TEST

/* ---- Other processes ---------------------------------------------------------------------------- */

/* Each process counts rows of its own up in the one account, and reads back what it wrote. */
struct worker {
	uint32_t first, updates;
	uint32_t row[50];
};

struct step {
	uint8_t key[4];
	uint32_t value;
};

static int
step(struct kv_txn *txn, void *arg)
{
	struct step *s = arg;
	struct shelf_span v;
	uint32_t count = 0;
	int rc = kv_get(kv_txn_view(txn), KV_ACCT, shelf_span(NULL, 0), &v);

	if (rc == 0 && v.len == 4)
		memcpy(&count, v.data, 4);
	count++;
	rc = s->value == 0 ? kv_del(txn, KV_MSG, shelf_span(s->key, 4))
			   : kv_put(txn, KV_MSG, shelf_span(s->key, 4), shelf_span(&s->value, 4));
	if (rc == SHELF_EMISSING)
		rc = 0;
	return rc != 0 ? rc : kv_put(txn, KV_ACCT, shelf_span(NULL, 0), shelf_span(&count, 4));
}

static int
check_row(const struct worker *w, unsigned n)
{
	uint8_t key[4];
	struct kv_view *view;
	struct shelf_span v;
	int rc = kv_view_begin(t.db, ACCOUNT, &view), wrong;

	if (rc != 0)
		return 1;
	rc = kv_get(view, KV_MSG, row_key(key, w->first + n), &v);
	wrong = w->row[n] == 0 ? rc != SHELF_EMISSING : rc != 0 || memcmp(v.data, &w->row[n], 4) != 0;
	kv_view_end(&view);
	return wrong;
}

static atomic_bool stopping;

static void *
wait_for_end(void *arg)
{
	struct kvt_child *c = arg;

	kvt_wait(c->go[0]);
	stopping = true;
	return NULL;
}

static int
work(struct kvt_child *c, uint32_t first)
{
	struct worker w = {.first = first};
	unsigned seed = first;
	pthread_t waiter;

	if (kv_open(t.dir, &t.db) != 0 || pthread_create(&waiter, NULL, wait_for_end, c) != 0 ||
	    !kvt_nod(c->said[1]))
		return 1;
	while (!stopping) {
		unsigned n = (unsigned)rand_r(&seed) % 50;
		struct step s = {.value = rand_r(&seed) % 4 == 0 ? 0 : w.updates + 1};

		row_key(s.key, w.first + n);
		if (kv_update(t.db, ACCOUNT, 0, step, &s) != 0)
			return 2;
		w.row[n] = s.value;
		w.updates++;
		if (check_row(&w, n) != 0 || check_row(&w, (unsigned)rand_r(&seed) % 50) != 0)
			return 3;
		kvt_sleep_ms(1);
	}
	pthread_join(waiter, NULL);
	for (unsigned n = 0; n < 50; n++)
		if (check_row(&w, n) != 0)
			return 4;
	kv_close(&t.db);
	return kvt_say(c->said[1], &w.updates, 4) ? 0 : 5;
}

static int
worker_a(struct kvt_child *c)
{
	return work(c, 1000);
}

static int
worker_b(struct kvt_child *c)
{
	return work(c, 2000);
}

static void
start_workers(struct kvt_child *c)
{
	kvt_start_two(&t, c, worker_a, worker_b);
}

static void
end_workers(struct kvt_child *c)
{
	struct kv_view *view;
	struct shelf_span v;
	uint32_t sum = kvt_end_two(c), count;

	ck_assert_int_eq(kv_view_begin(t.db, ACCOUNT, &view), 0);
	ck_assert_int_eq(kv_get(view, KV_ACCT, shelf_span(NULL, 0), &v), 0);
	memcpy(&count, v.data, 4);
	kv_view_end(&view);
	ck_assert_uint_gt(sum, 50);
	ck_assert_uint_eq(count, sum); /* each once, wherever it was done */
}

START_TEST(under_the_load_of_two_processes)
{
	struct kvt_child c[2];

	start_workers(c);
	for (int i = 0; i < 24; i++) {
		ck_assert_int_eq(move(ACCOUNT, (shard_of(ACCOUNT) + 1 + (uint32_t)i % 2) % SHARDS), 0);
		kvt_sleep_ms(i * 3);
	}
	end_workers(c);
	check_alone(ACCOUNT);
}
END_TEST

enum { MOVERS = 16 };

static int
mover(struct kvt_child *c)
{
	uint32_t to = 0;
	int rc = 0;

	if (!kvt_wait(c->go[0]))
		return 0;
	if (kv_open(t.dir, &t.db) != 0)
		return 1;
	while (rc == 0 || rc == SHELF_EBUSY)
		rc = move(ACCOUNT, to++ % SHARDS);
	return 2;
}

/* kill -9 at any moment; what a dead one left behind in the other shards hurts nobody. */
START_TEST(killed_movers_beside_writers)
{
	struct kvt_child c[2], k[MOVERS];

	fill(ACCOUNT, ROWS, 3);
	kvt_close(&t);
	for (int i = 0; i < MOVERS; i++)
		kvt_spawn(&t, &k[i], mover);
	start_workers(c);
	for (int i = 0; i < MOVERS; i++) {
		ck_assert(kvt_nod(k[i].go[1]));
		kvt_sleep_ms(30 + i * 13);
		ck_assert_int_eq(kill(k[i].pid, SIGKILL), 0);
		ck_assert_int_eq(kvt_reap(&k[i]), -SIGKILL);
		ck_assert_int_eq(kvt_put(t.db, ACCOUNT, 0, KV_MBOX, kvt_s("after"), shelf_span(&i, 4)), 0);
		ck_assert_int_eq(kvt_has(t.db, ACCOUNT, KV_MBOX, kvt_s("after"), shelf_span(&i, 4)), 1);
		ck_assert_uint_eq(kvt_count(t.db, ACCOUNT, KV_FPAGE, shelf_span(NULL, 0)), ROWS / 2);
	}
	for (uint32_t i = 0; i < SHARDS; i++)
		ck_assert_int_eq(move(ACCOUNT, i), 0);
	end_workers(c);
}
END_TEST

static int die_at, points;

static int
die(enum kv_point point)
{
	if (points++ == die_at)
		_exit(77);
	return 0;
}

static int
dies_moving(struct kvt_child *c)
{
	uint32_t shard;
	int rc;

	if (kv_open(t.dir, &t.db) != 0 || kv_shard_of(t.db, ACCOUNT, &shard) != 0)
		return 1;
	kv_fault = die;
	rc = move(ACCOUNT, (shard + 1) % SHARDS);
	kv_fault = NULL;
	kv_close(&t.db);
	return rc == 0 ? 0 : 2;
}

/* At each write and each commit in turn. The account has one place then, and can be moved on. */
START_TEST(ended_at_each_step)
{
	struct kvt_child c;
	uint32_t shard, mark = 1;
	int status = 77, deaths = 0;

	fill(ACCOUNT, 40, mark);
	for (die_at = 0; status == 77; die_at++) {
		shard = shard_of(ACCOUNT);
		kvt_close(&t);
		points = 0;
		kvt_spawn(&t, &c, dies_moving);
		status = kvt_reap(&c);
		ck_assert_int_ge(status, 0);
		kvt_open(&t);
		check_filled(ACCOUNT, 40, mark);
		fill(ACCOUNT, 40, ++mark);
		check_filled(ACCOUNT, 40, mark);
		ck_assert(status == 0 || status == 77);
		ck_assert(status == 77 || shard_of(ACCOUNT) == (shard + 1) % SHARDS);
		deaths++;
	}
	ck_assert_int_gt(deaths, 100);
}
END_TEST

Suite *suite_kv_leave(void);

Suite *
suite_kv_leave(void)
{
	Suite *s = suite_create("kv_leave");
	TCase *tc = tcase_create("kv_leave");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, two_accounts_in_one_update);
	tcase_add_test(tc, counted_where_it_lives);
	tcase_add_test(tc, one_at_a_time);
	tcase_add_loop_test(tc, who_comes_late_waits, 0, 3);
	tcase_add_loop_test(tc, submitted_while_closed, 0, 2);
	tcase_add_test(tc, under_the_load_of_two_processes);
	tcase_add_test(tc, killed_movers_beside_writers);
	tcase_add_test(tc, ended_at_each_step);
	suite_add_tcase(s, tc);
	return s;
}
