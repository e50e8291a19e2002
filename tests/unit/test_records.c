/* test_records.c - what is kept of records: found again, bounded, the same for all threads */
#include <check.h>
#include <pthread.h>

#include <mailshelf/mem.h>

#include "mail.h"
#include "store_rig.h"

enum { THREADS = 4, KEYS = 2000, ROUNDS = 20000 };

static struct mail_records *records;

/* The record of KEY: some bytes that say whose they are. */
static void
record_of(uint64_t key, struct shelf_buf *out)
{
	shelf_buf_clear(out);
	shelf_buf_printf(out, "%llu", (unsigned long long)key);
	while (out->len < 20 + key % 3000)
		shelf_buf_add_byte(out, (uint8_t)key);
}

START_TEST(found_again)
{
	struct shelf_arena arena = {0};
	struct shelf_buf want = {0};
	struct shelf_span got;
	size_t entries, bytes;

	records = mail_records_new();
	ck_assert(!mail_records_get(records, 1, &arena, &got));
	for (uint64_t key = 1; key <= KEYS; key++) {
		record_of(key, &want);
		mail_records_put(records, key, shelf_buf_span(&want));
		mail_records_put(records, key, shelf_buf_span(&want));
	}
	for (uint64_t key = 1; key <= KEYS; key++) {
		record_of(key, &want);
		ck_assert(mail_records_get(records, key, &arena, &got));
		ck_assert(shelf_span_eq(got, shelf_buf_span(&want)));
		shelf_arena_reset(&arena);
	}
	mail_records_size(records, &entries, &bytes);
	ck_assert_uint_eq(entries, KEYS);
	mail_records_clear(records);
	ck_assert(!mail_records_get(records, 1, &arena, &got));
	mail_records_size(records, &entries, &bytes);
	ck_assert_uint_eq(entries + bytes, 0);
	mail_records_free(&records);
	shelf_buf_free(&want);
	shelf_arena_free(&arena);
}
END_TEST

/* More than fits: it stays below the limit, and who reads all in order finds a part of it. */
START_TEST(bounded)
{
	struct shelf_arena arena = {0};
	static uint8_t large[16000];
	unsigned found = 0, n = 3 * RECORDS_BYTES_MAX / 2 / sizeof large;
	struct shelf_span got;
	size_t entries, bytes;

	records = mail_records_new();
	for (unsigned round = 0; round < 3; round++) {
		found = 0;
		for (uint64_t key = 1; key <= n; key++) {
			if (mail_records_get(records, key, &arena, &got))
				found++;
			else
				mail_records_put(records, key, shelf_span(large, sizeof large));
			shelf_arena_reset(&arena);
		}
		mail_records_size(records, &entries, &bytes);
		ck_assert_uint_le(bytes, RECORDS_BYTES_MAX);
	}
	ck_assert_uint_gt(found, n / 5);
	/* Nothing is pushed out by what is too large to be kept. */
	mail_records_put(records, n + 1, shelf_span(large, 0));
	mail_records_free(&records);
	shelf_arena_free(&arena);
}
END_TEST

static void *
use(void *arg)
{
	uint64_t dice = (uintptr_t)arg;
	struct shelf_arena arena = {0};
	struct shelf_buf want = {0};
	struct shelf_span got;
	void *bad = NULL;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t key;

		dice = dice * 6364136223846793005u + 1442695040888963407u;
		key = 1 + (dice >> 33) % KEYS;
		record_of(key, &want);
		if (!mail_records_get(records, key, &arena, &got))
			mail_records_put(records, key, shelf_buf_span(&want));
		else if (!shelf_span_eq(got, shelf_buf_span(&want)))
			bad = &records;
		if (i % 5000 == 0)
			mail_records_clear(records);
		shelf_arena_reset(&arena);
	}
	shelf_buf_free(&want);
	shelf_arena_free(&arena);
	return bad;
}

START_TEST(from_many_threads)
{
	pthread_t thread[THREADS];
	void *bad;

	records = mail_records_new();
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, use, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(thread[i], &bad), 0);
		ck_assert_ptr_null(bad);
	}
	mail_records_free(&records);
}
END_TEST

Suite *suite_records(void);
Suite *
suite_records(void)
{
	Suite *s = suite_create("records");
	TCase *tc = tcase_create("records");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, found_again);
	tcase_add_test(tc, bounded);
	tcase_add_test(tc, from_many_threads);
	suite_add_tcase(s, tc);
	return s;
}
