/*
 * test_kv.c - what every engine under kv.h must do: rows, order, scopes, scans, limits, snapshots
 *
 * The suites test_kv_update.c (closures, groups, faults), test_kv_full.c, test_kv_place.c and
 * test_kv_process.c belong to it.
 */
#include <check.h>
#include <stdlib.h>
#include <time.h>
#include "base.h"
#include "kvt.h"

static struct kvt t;

static void
setup(void)
{
	kvt_begin(&t, 2, KVT_MAP, KVT_RESERVE);
}

static void
teardown(void)
{
	kvt_end(&t);
}

/* An account that lives in the same shard as account 1, and is another one. */
static uint32_t
neighbour(void)
{
	uint32_t shard, other;

	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	for (uint32_t a = 2; a <= 32; a++) {
		ck_assert_int_eq(kv_shard_of(t.db, a, &other), 0);
		if (other == shard)
			return a;
	}
	ck_abort_msg("32 accounts in 2 shards and none beside account 1");
}

/* ---- Rows ---------------------------------------------------------------------------------------- */

START_TEST(rows_come_and_go)
{
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("v")), 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("v")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("v")), 1);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("longer value")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("longer value")), 1);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MNAME, kvt_s("k"), kvt_s("")), 0);
	kvt_reopen(&t);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("longer value")), 1);
	ck_assert_int_eq(kvt_del(t.db, 1, KV_MBOX, kvt_s("k")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("")), 0);
	ck_assert_int_eq(kvt_del(t.db, 1, KV_MBOX, kvt_s("k")), SHELF_EMISSING);
}
END_TEST

START_TEST(empty_keys_and_values)
{
	/* The account itself is key enough; a shared table needs a key. */
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_ACCT, kvt_s(""), kvt_s("")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_ACCT, kvt_s(""), kvt_s("")), 1);
	ck_assert_int_eq(kvt_has(t.db, 2, KV_ACCT, kvt_s(""), kvt_s("")), 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_BLOB, kvt_s(""), kvt_s("x")), SHELF_EINVALID);
	ck_assert_int_eq(kvt_put(t.db, 0, 0, KV_GLOBAL, kvt_s(""), kvt_s("x")), SHELF_EINVALID);
}
END_TEST

START_TEST(limits_of_keys_and_values)
{
	static uint8_t bytes[KV_VALUE_MAX + 1];
	struct shelf_span key = shelf_span(bytes, KV_KEY_MAX), value = shelf_span(bytes, KV_VALUE_MAX);
	struct shelf_span long_key = shelf_span(bytes, KV_KEY_MAX + 1);
	struct kv_view *view;
	struct kv_scan scan;
	struct shelf_span k, v;

	memset(bytes, 0xff, sizeof bytes);
	ck_assert_int_eq(KV_KEY_MAX, 255);
	ck_assert_int_eq(KV_VALUE_MAX, 4080);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MNAME, key, value), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MNAME, key, value), 1);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MNAME, long_key, kvt_s("x")), SHELF_ETOOBIG);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MNAME, kvt_s("x"), shelf_span(bytes, sizeof bytes)),
	    SHELF_ETOOBIG);
	ck_assert_int_eq(kvt_del(t.db, 1, KV_MNAME, long_key), SHELF_ETOOBIG);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_MNAME, kvt_s("")), 1);

	ck_assert_int_eq(kv_view_begin(t.db, 1, &view), 0);
	ck_assert_int_eq(kv_get(view, KV_MNAME, long_key, &v), SHELF_ETOOBIG);
	ck_assert_int_eq(kv_scan_open(view, KV_MNAME, long_key, kvt_s(""), &scan), SHELF_ETOOBIG);
	/* Behind the longest key there is room to go on from. */
	bytes[KV_KEY_MAX] = 0;
	ck_assert_int_eq(kv_scan_open(view, KV_MNAME, kvt_s(""), shelf_span(bytes, KV_KEY_MAX + 1), &scan), 0);
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 0);
	kv_scan_close(&scan);
	kv_view_end(&view);
}
END_TEST

/* ---- Scopes -------------------------------------------------------------------------------------- */

START_TEST(accounts_do_not_see_each_other)
{
	uint32_t other = neighbour();

	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MSG, kvt_s("a"), kvt_s("one")), 0);
	ck_assert_int_eq(kvt_put(t.db, other, 0, KV_MSG, kvt_s("a"), kvt_s("other")), 0);
	ck_assert_int_eq(kvt_put(t.db, other, 0, KV_MSG, kvt_s("b"), kvt_s("other")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MSG, kvt_s("a"), kvt_s("one")), 1);
	ck_assert_int_eq(kvt_has(t.db, other, KV_MSG, kvt_s("a"), kvt_s("other")), 1);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_MSG, kvt_s("")), 1);
	ck_assert_uint_eq(kvt_count(t.db, other, KV_MSG, kvt_s("")), 2);
	ck_assert_int_eq(kvt_del(t.db, 1, KV_MSG, kvt_s("b")), SHELF_EMISSING);
	ck_assert_int_eq(kvt_del(t.db, 1, KV_MSG, kvt_s("a")), 0);
	ck_assert_uint_eq(kvt_count(t.db, other, KV_MSG, kvt_s("")), 2);
}
END_TEST

START_TEST(shard_tables_are_shared_in_a_shard)
{
	uint32_t other = neighbour(), shard, far = 0;

	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	for (uint32_t a = 2; far == 0 && a <= 32; a++) {
		uint32_t s;

		ck_assert_int_eq(kv_shard_of(t.db, a, &s), 0);
		if (s != shard)
			far = a;
	}
	ck_assert_uint_ne(far, 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_BLOB, kvt_s("b"), kvt_s("v")), 0);
	ck_assert_int_eq(kvt_has(t.db, other, KV_BLOB, kvt_s("b"), kvt_s("v")), 1);
	ck_assert_int_eq(kvt_has(t.db, far, KV_BLOB, kvt_s("b"), kvt_s("v")), 0);
}
END_TEST

START_TEST(tables_have_one_place)
{
	struct kv_view *view;
	struct kv_scan scan;
	struct shelf_span v;

	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_USER, kvt_s("k"), kvt_s("v")), SHELF_EINVALID);
	ck_assert_int_eq(kvt_put(t.db, 0, 0, KV_MBOX, kvt_s("k"), kvt_s("v")), SHELF_EINVALID);
	ck_assert_int_eq(kvt_put(t.db, 0, 0, KV_BLOB, kvt_s("k"), kvt_s("v")), SHELF_EINVALID);
	ck_assert_int_eq(kvt_put(t.db, 0, 0, KV_USER, kvt_s("k"), kvt_s("v")), 0);
	ck_assert_int_eq(kvt_has(t.db, 0, KV_USER, kvt_s("k"), kvt_s("v")), 1);

	ck_assert_int_eq(kv_view_begin(t.db, 1, &view), 0);
	ck_assert_int_eq(kv_get(view, KV_USER, kvt_s("k"), &v), SHELF_EINVALID);
	ck_assert_int_eq(kv_get(view, KV_TABLES, kvt_s("k"), &v), SHELF_EINVALID);
	ck_assert_int_eq(kv_scan_open(view, KV_USER, kvt_s(""), kvt_s(""), &scan), SHELF_EINVALID);
	kv_scan_close(&scan); /* of a scan that did not open: allowed */
	kv_view_end(&view);
	kv_view_end(&view); /* NULL by now */

	ck_assert_int_eq(kv_view_begin_shard(t.db, 0, &view), 0);
	ck_assert_int_eq(kv_get(view, KV_MBOX, kvt_s("k"), &v), SHELF_EINVALID);
	kv_view_end(&view);
	ck_assert_int_eq(kv_view_begin_shard(t.db, 2, &view), SHELF_EINVALID);
	ck_assert_int_eq(kv_view_begin(t.db, 4711, &view), SHELF_ENOACCOUNT);
	ck_assert_ptr_null(view);
	ck_assert_int_eq(kvt_put(t.db, 4711, 0, KV_MBOX, kvt_s("k"), kvt_s("v")), SHELF_ENOACCOUNT);
}
END_TEST

START_TEST(a_view_goes_from_account_to_account)
{
	struct kv_view *view;
	struct kv_scan scan;
	struct shelf_span k, v;
	uint32_t other = neighbour(), shard;

	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("one")), 0);
	ck_assert_int_eq(kvt_put(t.db, other, 0, KV_MBOX, kvt_s("k"), kvt_s("other")), 0);
	ck_assert_int_eq(kv_view_begin_shard(t.db, shard, &view), 0);
	ck_assert_uint_eq(kv_view_shard(view), shard);
	ck_assert_ptr_eq(kv_view_db(view), t.db);
	kv_view_account(view, 1);
	ck_assert_int_eq(kv_get(view, KV_MBOX, kvt_s("k"), &v), 0);
	ck_assert(shelf_span_is(v, "one"));
	ck_assert_int_eq(kv_scan_open(view, KV_MBOX, kvt_s(""), kvt_s(""), &scan), 0);
	kv_view_account(view, other);
	ck_assert_int_eq(kv_get(view, KV_MBOX, kvt_s("k"), &v), 0);
	ck_assert(shelf_span_is(v, "other"));
	/* A scan stays with the account it was opened for. */
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 1);
	ck_assert(shelf_span_is(v, "one"));
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 0);
	kv_scan_close(&scan);
	kv_view_end(&view);
}
END_TEST

/* ---- Scans --------------------------------------------------------------------------------------- */

static const char *const scan_keys[] = {"a", "ab", "ab\x01", "abc", "abd", "ac", "b", "\x7f", "\x80", "\xff",
    "\xff\xff", "\xff\xff\x01"};

/* The row numbers of scan_keys that a scan must give, first and one past the last. */
static const struct {
	const char *prefix, *from;
	int first, end;
} scans[] = {
	{"", "", 0, 12},       {"a", "", 0, 6},      {"ab", "", 1, 5},     {"ab", "ab", 1, 5},
	{"ab", "aba", 3, 5},   {"ab", "abd", 4, 5},  {"ab", "abe", 5, 5},  {"ad", "", 6, 6},
	{"", "b", 6, 12},      {"", "c", 7, 12},     {"\xff", "", 9, 12},  {"\xff\xff", "", 10, 12},
	{"\xff\xff\xff", "", 12, 12}, {"", "\x7f\x01", 8, 12}, {"z", "", 7, 7},
};

START_TEST(scans_walk_a_prefix)
{
	struct kv_view *view;
	struct kv_scan scan;
	struct shelf_span k, v;
	int n = (int)(sizeof scan_keys / sizeof *scan_keys);

	for (int i = n - 1; i >= 0; i--)
		ck_assert_int_eq(kvt_put(t.db, 2, 0, KV_MNAME, kvt_s(scan_keys[i]), kvt_s(scan_keys[i])), 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MNAME, kvt_s("zz"), kvt_s("x")), 0);
	ck_assert_int_eq(kvt_put(t.db, 3, 0, KV_MNAME, kvt_s("\x01"), kvt_s("x")), 0);
	ck_assert_int_eq(kv_view_begin(t.db, 2, &view), 0);
	ck_assert_int_eq(kv_scan_open(view, KV_MNAME, kvt_s(scans[_i].prefix), kvt_s(scans[_i].from), &scan), 0);
	for (int i = scans[_i].first; i < scans[_i].end; i++) {
		ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 1);
		ck_assert_msg(shelf_span_eq(k, kvt_s(scan_keys[i])), "row %d of scan %d", i, _i);
		ck_assert(shelf_span_eq(v, kvt_s(scan_keys[i])));
	}
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 0);
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 0);
	kv_scan_close(&scan);
	kv_scan_close(&scan);
	kv_view_end(&view);
}
END_TEST

START_TEST(scans_check_where_they_start)
{
	struct kv_view *view;
	struct kv_scan scan;
	struct shelf_span k, v;

	ck_assert_int_eq(kv_view_begin(t.db, 1, &view), 0);
	ck_assert_int_eq(kv_scan_open(view, KV_MNAME, kvt_s("b"), kvt_s("a"), &scan), SHELF_EINVALID);
	ck_assert_int_eq(kv_scan_open(view, KV_MNAME, kvt_s("bb"), kvt_s("b"), &scan), SHELF_EINVALID);
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), SHELF_EINVALID);
	/* Closing after the view is late, and harmless. */
	ck_assert_int_eq(kv_scan_open(view, KV_BLOB, kvt_s(""), kvt_s(""), &scan), 0);
	kv_view_end(&view);
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), SHELF_EINVALID);
	kv_scan_close(&scan);
}
END_TEST

START_TEST(several_scans_at_once)
{
	struct kv_view *view;
	struct kv_scan scan[3];
	struct shelf_span k, v;
	char key[16];

	for (int i = 0; i < 30; i++) {
		snprintf(key, sizeof key, "%c%02d", 'a' + i % 3, i);
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MNAME, kvt_s(key), kvt_s("v")), 0);
	}
	ck_assert_int_eq(kv_view_begin(t.db, 1, &view), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(kv_scan_open(view, KV_MNAME, shelf_span(&"abc"[i], 1), kvt_s(""), &scan[i]), 0);
	for (int row = 0; row < 10; row++) {
		for (int i = 0; i < 3; i++) {
			snprintf(key, sizeof key, "%c%02d", 'a' + i, row * 3 + i);
			ck_assert_int_eq(kv_scan_next(&scan[i], &k, &v), 1);
			ck_assert(shelf_span_eq(k, kvt_s(key)));
		}
	}
	kv_scan_close(&scan[1]);
	ck_assert_int_eq(kv_scan_next(&scan[0], &k, &v), 0);
	kv_scan_close(&scan[0]);
	ck_assert_int_eq(kv_scan_next(&scan[2], &k, &v), 0);
	kv_scan_close(&scan[2]);
	kv_view_end(&view);
}
END_TEST

/* ---- Snapshots ----------------------------------------------------------------------------------- */

START_TEST(views_are_snapshots)
{
	struct kv_view *old, *new;
	struct shelf_span v;

	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("before")), 0);
	ck_assert_int_eq(kv_view_begin(t.db, 1, &old), 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("after")), 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("l"), kvt_s("after")), 0);
	/* Two views of one thread, and a hundred commits in between. */
	ck_assert_int_eq(kv_view_begin(t.db, 1, &new), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("m"), shelf_span(&i, sizeof i)), 0);
	ck_assert_int_eq(kv_get(old, KV_MBOX, kvt_s("k"), &v), 0);
	ck_assert(shelf_span_is(v, "before"));
	ck_assert_int_eq(kv_get(old, KV_MBOX, kvt_s("l"), &v), SHELF_EMISSING);
	ck_assert_int_eq(kv_get(new, KV_MBOX, kvt_s("k"), &v), 0);
	ck_assert(shelf_span_is(v, "after"));
	ck_assert_int_eq(kv_get(new, KV_MBOX, kvt_s("m"), &v), SHELF_EMISSING);
	kv_view_end(&old);
	kv_view_end(&new);
}
END_TEST

START_TEST(many_views_at_once)
{
	struct kv_view *views[100];
	struct shelf_span v;

	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), shelf_span(&i, sizeof i)), 0);
		ck_assert_int_eq(kv_view_begin(t.db, 1, &views[i]), 0);
	}
	for (int i = 99; i >= 0; i--) {
		ck_assert_int_eq(kv_get(views[i], KV_MBOX, kvt_s("k"), &v), 0);
		ck_assert(shelf_span_eq(v, shelf_span(&i, sizeof i)));
		kv_view_end(&views[i]);
	}
}
END_TEST

START_TEST(commit_numbers_grow)
{
	uint32_t shard;
	uint64_t before, after;

	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	before = kv_commits_seen(t.db, shard);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("v")), 0);
	ck_assert_uint_eq(kv_commits_seen(t.db, shard), before);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("v")), 0);
	after = kv_commits_seen(t.db, shard);
	ck_assert_uint_gt(after, before);
	kvt_reopen(&t);
	ck_assert_uint_ge(kv_commits_seen(t.db, shard), after);
}
END_TEST

/* ---- A model ------------------------------------------------------------------------------------- */

enum { MODEL_KEYS = 400, MODEL_ROUNDS = 300, MODEL_STEPS = 20 };

struct model {
	uint16_t len[MODEL_KEYS]; /* 0: not there; else length of the value + 1 */
	uint8_t byte[MODEL_KEYS];
	unsigned seed;
	int bad; /* what first differed */
};

static struct shelf_span
model_key(unsigned i, char *buf, size_t len)
{
	/* Keys of several lengths whose order is the order of i. */
	snprintf(buf, len, "%04u%.*s", i, (int)(i % 7), "......");
	return kvt_s(buf);
}

static void
model_compare(const struct model *m, struct kv_view *view, unsigned from)
{
	struct kv_scan scan;
	struct shelf_span k, v;
	char buf[16];
	int rc = kv_scan_open(view, KV_MSG, kvt_s(""), model_key(from, buf, sizeof buf), &scan);

	ck_assert_int_eq(rc, 0);
	for (unsigned i = from; i < MODEL_KEYS; i++) {
		if (m->len[i] == 0)
			continue;
		ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 1);
		ck_assert(shelf_span_eq(k, model_key(i, buf, sizeof buf)));
		ck_assert_uint_eq(v.len, m->len[i] - 1U);
		if (v.len > 0)
			ck_assert(v.data[0] == m->byte[i] && memcmp(v.data, v.data + 1, v.len - 1) == 0);
	}
	ck_assert_int_eq(kv_scan_next(&scan, &k, &v), 0);
	kv_scan_close(&scan);
}

static int
model_steps(struct kv_txn *txn, void *arg)
{
	struct model *m = arg;
	static uint8_t value[KV_VALUE_MAX];
	char buf[16];

	for (int step = 0; step < MODEL_STEPS; step++) {
		unsigned i = (unsigned)rand_r(&m->seed) % MODEL_KEYS;
		unsigned what = (unsigned)rand_r(&m->seed) % 10;
		struct shelf_span key = model_key(i, buf, sizeof buf), got;
		int rc;

		if (what < 5) {
			size_t len = (unsigned)rand_r(&m->seed) % (what == 0 ? KV_VALUE_MAX + 1U : 200U);

			m->byte[i] = (uint8_t)rand_r(&m->seed);
			m->len[i] = (uint16_t)(len + 1);
			memset(value, m->byte[i], len);
			rc = kv_put(txn, KV_MSG, key, shelf_span(value, len));
			ck_assert_int_eq(rc, 0);
		} else if (what < 8) {
			rc = kv_del(txn, KV_MSG, key);
			ck_assert_int_eq(rc, m->len[i] == 0 ? SHELF_EMISSING : 0);
			m->len[i] = 0;
		} else if (what == 8) {
			rc = kv_get(kv_txn_view(txn), KV_MSG, key, &got);
			ck_assert_int_eq(rc, m->len[i] == 0 ? SHELF_EMISSING : 0);
			ck_assert_uint_eq(got.len, m->len[i] == 0 ? 0U : m->len[i] - 1U);
		} else {
			model_compare(m, kv_txn_view(txn), i);
		}
	}
	return 0;
}

START_TEST(random_writes_equal_a_sorted_model)
{
	static struct model m;

	m.seed = 20261121U + (unsigned)_i;
	for (int round = 0; round < MODEL_ROUNDS; round++) {
		struct kv_view *view;

		/* Nothing else runs, so the closure runs once and may change the model. */
		ck_assert_int_eq(kv_update(t.db, 1, 0, model_steps, &m), 0);
		if (round % 97 == 96)
			kvt_reopen(&t);
		ck_assert_int_eq(kv_view_begin(t.db, 1, &view), 0);
		model_compare(&m, view, 0);
		kv_view_end(&view);
	}
}
END_TEST

/* ---- Files --------------------------------------------------------------------------------------- */

START_TEST(opened_once_in_a_process)
{
	struct kv_params params = {2, KVT_MAP, KVT_RESERVE, NULL};
	struct kv_db *second;

	ck_assert_int_eq(kv_open(t.dir, &second), SHELF_EBUSY);
	ck_assert_ptr_null(second);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("v")), 0);
	kvt_close(&t);
	kvt_open(&t);
	ck_assert_uint_eq(kv_shards(t.db), 2);
	ck_assert_int_eq(kv_create(t.dir, &params), SHELF_EEXISTS);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("v")), 1);
	ck_assert_int_eq(kv_open("/nonexistent/kv", &second), SHELF_EMISSING);
}
END_TEST

START_TEST(parameters_are_checked)
{
	static const struct kv_params bad[] = {
		{0, KVT_MAP, 0, NULL}, {KV_SHARDS_MAX + 1, KVT_MAP, 0, NULL}, {1, KVT_MAP + 1, 0, NULL},
		{1, 4096, 0, NULL},
		{1, KVT_MAP, KVT_MAP, NULL},
	};
	struct kvt fresh;

	kvt_create(&fresh, 1, KVT_MAP, 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_int_eq(kv_create(fresh.dir, &bad[i]), SHELF_EINVALID);
	kvt_end(&fresh);
}
END_TEST

/* ---- Values cut as pages like it ------------------------------------------------------------------ */

enum { CUT_VALUES = 3000 };

struct cuts {
	uint32_t first, end;
	uint64_t bytes;
};

/* The length of the N-th value and what it is made of. */
static size_t
cut_len(uint32_t n)
{
	return n % 11 == 0 ? 1 + n % 3 : 1 + (n * 2654435761u >> 8) % KV_VALUE_MAX;
}

static int
put_cuts(struct kv_txn *txn, void *arg)
{
	struct cuts *c = arg;
	uint8_t value[KV_VALUE_MAX], key[4];

	c->bytes = 0;
	for (uint32_t n = c->first; n < c->end; n++) {
		size_t len = cut_len(n);
		int rc;

		for (size_t i = 0; i < len; i++)
			value[i] = (uint8_t)(n + i);
		base_put_be32(key, n);
		rc = kv_put_cut(txn, KV_CHUNK, shelf_span(key, 4), 7, shelf_span(value, len));
		if (rc != 0)
			return rc;
		c->bytes += len;
	}
	return 0;
}

static void
expect_cuts(uint32_t n)
{
	struct shelf_span key, value;
	struct kv_view *view = NULL;
	struct kv_scan scan;
	uint32_t count = 7;
	size_t at = 0;
	uint8_t prefix[4];

	base_put_be32(prefix, n);
	ck_assert_int_eq(kv_view_begin_shard(t.db, 0, &view), 0);
	ck_assert_int_eq(
	    kv_scan_open(view, KV_CHUNK, shelf_span(prefix, 4), shelf_span(NULL, 0), &scan), 0);
	while (kv_scan_next(&scan, &key, &value) == 1) {
		ck_assert_uint_eq(key.len, 8);
		ck_assert_uint_eq(base_get_be32(key.data + 4), count++);
		ck_assert_uint_gt(value.len, 0);
		for (size_t i = 0; i < value.len; i++, at++)
			ck_assert_uint_eq(value.data[i], (uint8_t)(n + at));
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	ck_assert_uint_eq(at, cut_len(n));
}

START_TEST(cut_values_come_back_and_fill_pages)
{
	struct kv_stats before, after;
	struct cuts c = {0};
	uint64_t bytes = 0;

	ck_assert_int_eq(kv_stats(t.db, 0, &before), 0);
	for (c.end = 40; c.first < CUT_VALUES; c.first = c.end, c.end += 40) {
		ck_assert_int_eq(kv_update_shard(t.db, 0, KV_ADDS, put_cuts, &c), 0);
		bytes += c.bytes;
	}
	ck_assert_int_eq(kv_stats(t.db, 0, &after), 0);
	for (uint32_t n = 0; n < c.first; n += 7)
		expect_cuts(n);
	/* Rows of a page each, or of half a page, would be a third more. */
	ck_assert_uint_lt((after.file_bytes - after.free_bytes - before.file_bytes) * 100, bytes * 106);
}
END_TEST

/* The limit of kv.h is kept by those who read; whoever passes it is counted. */
START_TEST(old_views_are_counted)
{
	struct kv_view *young, *old;
	struct kv_stats st;
	uint32_t shard;

	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	ck_assert_int_eq(kv_view_begin(t.db, 1, &old), 0);
	nanosleep(&(struct timespec){KV_VIEW_MAX_MS / 1000, 50000000}, NULL);
	ck_assert_int_eq(kv_view_begin(t.db, 1, &young), 0);
	kv_view_end(&young);
	ck_assert_int_eq(kv_stats(t.db, shard, &st), 0);
	ck_assert_uint_eq(st.slow_views, 0);
	kv_view_end(&old);
	ck_assert_int_eq(kv_stats(t.db, shard, &st), 0);
	ck_assert_uint_eq(st.slow_views, 1);
}
END_TEST

START_TEST(accounts_of_a_table)
{
	uint32_t shard, other = neighbour(), account = 0;
	struct kv_view *view;

	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("a"), kvt_s("1")), 0);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("b"), kvt_s("1")), 0);
	ck_assert_int_eq(kvt_put(t.db, other, 0, KV_MBOX, kvt_s("a"), kvt_s("1")), 0);
	ck_assert_int_eq(kvt_put(t.db, other, 0, KV_MSG, kvt_s("a"), kvt_s("1")), 0);
	ck_assert_int_eq(kv_view_begin_shard(t.db, shard, &view), 0);
	ck_assert_int_eq(kv_view_next_account(view, KV_MBOX, 0, &account), 1);
	ck_assert_uint_eq(account, 1);
	ck_assert_int_eq(kv_view_next_account(view, KV_MBOX, 1, &account), 1);
	ck_assert_uint_eq(account, other);
	ck_assert_int_eq(kv_view_next_account(view, KV_MBOX, other, &account), 0);
	ck_assert_int_eq(kv_view_next_account(view, KV_MSG, 0, &account), 1);
	ck_assert_uint_eq(account, other);
	ck_assert_int_eq(kv_view_next_account(view, KV_MSG, UINT32_MAX, &account), 0);
	ck_assert_int_eq(kv_view_next_account(view, KV_BLOB, 0, &account), SHELF_EINVALID);
	ck_assert_int_eq(kv_view_next_account(view, KV_USER, 0, &account), SHELF_EINVALID);
	kv_view_end(&view);
}
END_TEST

Suite *suite_kv(void);
Suite *
suite_kv(void)
{
	Suite *s = suite_create("kv");
	TCase *tc = tcase_create("kv");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, rows_come_and_go);
	tcase_add_test(tc, empty_keys_and_values);
	tcase_add_test(tc, limits_of_keys_and_values);
	tcase_add_test(tc, cut_values_come_back_and_fill_pages);
	tcase_add_test(tc, accounts_do_not_see_each_other);
	tcase_add_test(tc, shard_tables_are_shared_in_a_shard);
	tcase_add_test(tc, tables_have_one_place);
	tcase_add_test(tc, a_view_goes_from_account_to_account);
	tcase_add_loop_test(tc, scans_walk_a_prefix, 0, (int)(sizeof scans / sizeof *scans));
	tcase_add_test(tc, scans_check_where_they_start);
	tcase_add_test(tc, several_scans_at_once);
	tcase_add_test(tc, views_are_snapshots);
	tcase_add_test(tc, many_views_at_once);
	tcase_add_test(tc, commit_numbers_grow);
	tcase_add_test(tc, old_views_are_counted);
	tcase_add_test(tc, accounts_of_a_table);
	tcase_add_loop_test(tc, random_writes_equal_a_sorted_model, 0, 2);
	tcase_add_test(tc, opened_once_in_a_process);
	tcase_add_test(tc, parameters_are_checked);
	suite_add_tcase(s, tc);
	return s;
}
