/* test_kv_place.c - which account lives where: evenly, for ever, and known to everybody */
#include <check.h>
#include <pthread.h>
#include "kvt.h"

static struct kvt t;

static void
setup(void)
{
	kvt_create(&t, 4, KVT_MAP, KVT_RESERVE);
	kvt_open(&t);
}

static void
teardown(void)
{
	kvt_end(&t);
}

static void
count_shards(uint32_t first, uint32_t count, unsigned *in)
{
	uint32_t shard;

	memset(in, 0, 4 * sizeof *in);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert_int_eq(kv_shard_of(t.db, first + i, &shard), 0);
		ck_assert_uint_lt(shard, 4);
		in[shard]++;
	}
}

START_TEST(placed_evenly)
{
	unsigned in[4];

	/* 1 by 1, then many, more than one update takes. */
	for (uint32_t a = 1; a <= 10; a++)
		ck_assert_int_eq(kv_place(t.db, a, 1), 0);
	count_shards(1, 10, in);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_ge(in[i], 2);
	ck_assert_int_eq(kv_place(t.db, 11, 990), 0);
	count_shards(1, 1000, in);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(in[i], 250);
}
END_TEST

START_TEST(placed_for_ever)
{
	uint32_t before[100], shard;

	ck_assert_int_eq(kv_place(t.db, 1, 50), 0);
	ck_assert_int_eq(kv_place(t.db, 25, 76), 0); /* half of them again */
	for (uint32_t a = 1; a <= 100; a++)
		ck_assert_int_eq(kv_shard_of(t.db, a, &before[a - 1]), 0);
	kvt_reopen(&t);
	for (uint32_t a = 1; a <= 100; a++) {
		ck_assert_int_eq(kv_shard_of(t.db, a, &shard), 0);
		ck_assert_uint_eq(shard, before[a - 1]);
	}
	kvt_reopen(&t);
	ck_assert_int_eq(kv_place(t.db, 1, 200), 0);
	for (uint32_t a = 1; a <= 100; a++) {
		ck_assert_int_eq(kv_shard_of(t.db, a, &shard), 0);
		ck_assert_uint_eq(shard, before[a - 1]);
	}
}
END_TEST

START_TEST(numbers_at_the_edges)
{
	uint32_t shard;
	struct kv_view *view;

	ck_assert_int_eq(kv_shard_of(t.db, 1, &shard), SHELF_ENOACCOUNT);
	ck_assert_int_eq(kv_shard_of(t.db, 0, &shard), SHELF_ENOACCOUNT);
	ck_assert_int_eq(kv_place(t.db, 0, 1), SHELF_EINVALID);
	ck_assert_int_eq(kv_place(t.db, UINT32_MAX - 1, 3), SHELF_EINVALID);
	ck_assert_int_eq(kv_place(t.db, 5, 0), 0);
	ck_assert_int_eq(kv_shard_of(t.db, 5, &shard), SHELF_ENOACCOUNT);
	ck_assert_int_eq(kv_place(t.db, UINT32_MAX - 1, 2), 0);
	ck_assert_int_eq(kv_shard_of(t.db, UINT32_MAX, &shard), 0);
	ck_assert_int_eq(kv_shard_of(t.db, UINT32_MAX - 1, &shard), 0);
	ck_assert_int_eq(kv_shard_of(t.db, UINT32_MAX - 2, &shard), SHELF_ENOACCOUNT);
	/* The row of an account that the catalog lacks is not invented. */
	ck_assert_int_eq(kv_view_begin(t.db, 65536, &view), SHELF_ENOACCOUNT);
	ck_assert_int_eq(kvt_put(t.db, UINT32_MAX, 0, KV_MBOX, kvt_s("k"), kvt_s("v")), 0);
	ck_assert_int_eq(kvt_has(t.db, UINT32_MAX, KV_MBOX, kvt_s("k"), kvt_s("v")), 1);
}
END_TEST

/* A place that cannot be right is damage, and not a shard. */
START_TEST(damaged_places_are_errors)
{
	static const char *const bad[] = {"", "\x01", "\x02\x01\x01\x01\x01", "\x01\x04\x01\x01\x01",
	    "\x01\x01\x01\x01\x01\x01"};
	const int want = _i == 2 ? SHELF_EVERSION : SHELF_ECORRUPT;
	uint8_t key[4] = {0, 0, 0, 9};
	uint32_t shard;

	ck_assert_int_eq(kvt_put(t.db, 0, 0, KV_PLACE, shelf_span(key, 4), kvt_s(bad[_i])), 0);
	ck_assert_int_eq(kv_shard_of(t.db, 9, &shard), want);
	ck_assert_int_eq(kvt_put(t.db, 9, 0, KV_MBOX, kvt_s("k"), kvt_s("v")), want);
}
END_TEST

enum { THREADS = 8, ACCOUNTS = 200 };

static void *
place_and_ask(void *arg)
{
	uint32_t shard;

	for (uint32_t a = 1; a <= ACCOUNTS; a++)
		if (kv_place(t.db, a, 1) != 0 || kv_shard_of(t.db, a, &shard) != 0 || shard >= 4)
			return arg;
	return NULL;
}

START_TEST(threads_place_the_same_accounts)
{
	pthread_t threads[THREADS];
	unsigned in[4];
	void *failed;

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, place_and_ask, &t), 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
		ck_assert_ptr_null(failed);
	}
	count_shards(1, ACCOUNTS, in);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(in[i], ACCOUNTS / 4);
	ck_assert_uint_eq(kvt_count(t.db, 0, KV_PLACE, kvt_s("")), ACCOUNTS);
}
END_TEST

Suite *suite_kv_place(void);
Suite *
suite_kv_place(void)
{
	Suite *s = suite_create("kv_place");
	TCase *tc = tcase_create("kv_place");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, placed_evenly);
	tcase_add_test(tc, placed_for_ever);
	tcase_add_test(tc, numbers_at_the_edges);
	tcase_add_loop_test(tc, damaged_places_are_errors, 0, 5);
	tcase_add_test(tc, threads_place_the_same_accounts);
	suite_add_tcase(s, tc);
	return s;
}
