/* test_base.c - the ground: spans, buffers, arenas, numbers in bytes, errors */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/arena.h>
#include <mailshelf/err.h>
#include <mailshelf/mem.h>

#include "base.h"

/* ---- Spans -------------------------------------------------------------------------------------- */

START_TEST(span_compare)
{
	struct shelf_span a = shelf_span_str("abc"), b = shelf_span_str("ABC"), none = {0};

	ck_assert(shelf_span_eq(a, a) && !shelf_span_eq(a, b) && shelf_span_ieq(a, b));
	ck_assert(shelf_span_eq(none, shelf_span_str("")) && shelf_span_eq(none, shelf_span_str(NULL)));
	ck_assert(shelf_span_is(a, "aBc") && !shelf_span_is(a, "ab") && shelf_span_is(none, ""));
	/* Only ASCII letters fold: 0xc4 and 0xe4 differ by the same bit, and so do "@" and "`". */
	ck_assert(!shelf_span_ieq(shelf_span_str("\xc4"), shelf_span_str("\xe4")));
	ck_assert(!shelf_span_ieq(shelf_span_str("@[`"), shelf_span_str("`{@")));
	ck_assert_int_lt(shelf_span_cmp(b, a), 0);
	ck_assert_int_eq(shelf_span_cmp(a, a), 0);
	ck_assert_int_lt(shelf_span_cmp(shelf_span_str("ab"), a), 0);
	ck_assert_int_gt(shelf_span_cmp(shelf_span_str("\xff"), a), 0);
	ck_assert_int_lt(shelf_span_cmp(none, a), 0);
}
END_TEST

START_TEST(span_find)
{
	struct shelf_span s = shelf_span("a\0ba", 4);

	ck_assert_int_eq(shelf_span_find(s, 'a', 0), 0);
	ck_assert_int_eq(shelf_span_find(s, 'a', 1), 3);
	ck_assert_int_eq(shelf_span_find(s, 0, 0), 1);
	ck_assert_int_eq(shelf_span_find(s, 'z', 0), -1);
	ck_assert_int_eq(shelf_span_find(s, 'a', 4), -1);
	ck_assert_int_eq(shelf_span_find(s, 'a', SIZE_MAX), -1);
	ck_assert_int_eq(shelf_span_find((struct shelf_span){0}, 'a', 0), -1);
}
END_TEST

static const struct {
	const char *in;
	uint64_t max, want;
	bool ok;
} numbers[] = {
	{"0", 0, 0, true}, {"7", 9, 7, true}, {"007", 9, 7, true}, {"9", 9, 9, true}, {"10", 9, 0, false},
	{"18446744073709551615", UINT64_MAX, UINT64_MAX, true},
	{"18446744073709551616", UINT64_MAX, 0, false}, {"99999999999999999999", UINT64_MAX, 0, false},
	{"4294967295", UINT32_MAX, UINT32_MAX, true}, {"4294967296", UINT32_MAX, 0, false},
	{"5", 3, 0, false}, {"", 9, 0, false}, {"-1", 9, 0, false}, {"+1", 9, 0, false}, {" 1", 9, 0, false},
	{"1 ", 9, 0, false}, {"1a", 99, 0, false}, {"0x1", 99, 0, false},
};

START_TEST(span_u64)
{
	uint64_t got = 0;

	ck_assert(shelf_span_u64(shelf_span_str(numbers[_i].in), numbers[_i].max, &got) == numbers[_i].ok);
	if (numbers[_i].ok)
		ck_assert(got == numbers[_i].want);
}
END_TEST

/* ---- Buffers and arenas ------------------------------------------------------------------------- */

START_TEST(buf_grows)
{
	struct shelf_buf b = {0};

	ck_assert_str_eq(shelf_buf_cstr(&b), "");
	shelf_buf_add(&b, NULL, 0);
	for (int i = 0; i < 1000; i++)
		shelf_buf_add_byte(&b, (uint8_t)('a' + i % 26));
	ck_assert_uint_eq(b.len, 1000);
	ck_assert_uint_ge(b.cap, 1000);
	shelf_buf_consume(&b, 26 * 38);
	ck_assert_str_eq(shelf_buf_cstr(&b), "abcdefghijkl");
	ck_assert_uint_eq(b.len, 12);
	shelf_buf_consume(&b, 12);
	ck_assert_uint_eq(b.len, 0);
	shelf_buf_add_str(&b, "x");
	shelf_buf_add_span(&b, shelf_span("\0y", 2));
	ck_assert(shelf_span_eq(shelf_buf_span(&b), shelf_span("x\0y", 3)));
	shelf_buf_clear(&b);
	shelf_buf_printf(&b, "%d-%s", 5, "z");
	ck_assert_str_eq(shelf_buf_cstr(&b), "5-z");
	shelf_buf_printf(&b, "%300d", 1);
	ck_assert_uint_eq(b.len, 303);
	ck_assert_int_eq(b.data[302], '1');
	memset(shelf_buf_reserve(&b, 5000), 'r', 5000);
	ck_assert_uint_eq(b.len, 303);
	shelf_buf_clear(&b);
	shelf_buf_add_uint(&b, 0);
	shelf_buf_add_uint(&b, 10);
	shelf_buf_add_uint(&b, UINT64_MAX);
	ck_assert_str_eq(shelf_buf_cstr(&b), "01018446744073709551615");
	shelf_buf_free(&b);
	ck_assert(b.data == NULL && b.len == 0 && b.cap == 0);
	shelf_buf_free(&b);
}
END_TEST

START_TEST(arena_pieces)
{
	struct shelf_arena a = {0};
	uint8_t *pieces[300];
	size_t used = 0;
	bool intact = true;

	for (int i = 0; i < 300; i++) {
		size_t len = (size_t)i * 37 % 9000;

		pieces[i] = shelf_arena_alloc(&a, len);
		ck_assert_uint_eq((uintptr_t)pieces[i] % 16, 0);
		memset(pieces[i], i, len);
		used += len;
	}
	for (int i = 0; i < 300; i++)
		for (size_t k = 0; k < (size_t)i * 37 % 9000; k++)
			intact = intact && pieces[i][k] == (uint8_t)i;
	ck_assert(intact);
	ck_assert_uint_ge(a.used_bytes, used);
	shelf_arena_reset(&a);
	ck_assert_uint_eq(a.used_bytes, 0);
	pieces[0] = shelf_arena_zalloc(&a, 100);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(pieces[0][i], 0);
	shelf_arena_free(&a);
	shelf_arena_free(&a);
	ck_assert_uint_eq(a.used_bytes, 0);
}
END_TEST

START_TEST(arena_texts)
{
	struct shelf_arena a = {0};
	char source[] = "text";
	struct shelf_span copy = shelf_arena_dup(&a, shelf_span(source, 4));

	source[0] = 'n';
	ck_assert(shelf_span_is(copy, "text"));
	ck_assert_ptr_null(shelf_arena_dup(&a, (struct shelf_span){0}).data);
	/* Present but empty is not absent. */
	ck_assert_ptr_nonnull(shelf_arena_dup(&a, shelf_span_str("")).data);
	ck_assert_str_eq(shelf_arena_str(&a, copy), "text");
	ck_assert_str_eq(shelf_arena_str(&a, (struct shelf_span){0}), "");
	ck_assert_str_eq(shelf_arena_printf(&a, "%s=%05d", "n", 42), "n=00042");
	shelf_arena_free(&a);
}
END_TEST

/* ---- Numbers in bytes --------------------------------------------------------------------------- */

START_TEST(record_numbers)
{
	static const uint64_t values[] = {0, 1, 127, 128, 255, 300, 16383, 16384, UINT32_MAX,
		(uint64_t)1 << 63, UINT64_MAX};
	struct shelf_buf b = {0};
	struct base_reader r;
	uint8_t key[8];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		base_add_varint(&b, values[i]);
		base_add_le(&b, values[i], 8);
		base_add_le(&b, values[i], 3);
		base_put_be64(key, values[i]);
		ck_assert(base_get_be64(key) == values[i]);
	}
	base_add_text(&b, shelf_span_str("text"));
	r = base_reader(shelf_buf_span(&b));
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		ck_assert(base_get_varint(&r) == values[i]);
		ck_assert(base_get_le(&r, 8) == values[i]);
		ck_assert(base_get_le(&r, 3) == (values[i] & 0xffffff));
	}
	ck_assert(shelf_span_is(base_get_text(&r), "text"));
	ck_assert(!r.bad && base_left(&r) == 0);
	ck_assert_uint_eq(base_get_varint(&r), 0);
	ck_assert(r.bad);
	shelf_buf_free(&b);
}
END_TEST

/* Keys sort as their numbers do. */
START_TEST(record_key_order)
{
	uint8_t a[4], b[4];
	unsigned seed = 5;

	for (int i = 0; i < 1000; i++) {
		uint32_t x = (uint32_t)rand_r(&seed) * 3, y = (uint32_t)rand_r(&seed) >> (i % 24);

		base_put_be32(a, x);
		base_put_be32(b, y);
		ck_assert_int_eq(memcmp(a, b, 4) < 0, x < y);
		ck_assert_uint_eq(base_get_be32(a), x);
	}
}
END_TEST

START_TEST(record_bad)
{
	struct base_reader r = base_reader(shelf_span("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11));

	ck_assert_uint_eq(base_get_varint(&r), 0);
	ck_assert(r.bad);
	r = base_reader(shelf_span("\x80", 1));
	ck_assert_uint_eq(base_get_varint(&r), 0);
	ck_assert(r.bad);
	/* A text longer than what is there; everything after is nothing. */
	r = base_reader(shelf_span("\x05" "abcd", 5));
	ck_assert_uint_eq(base_get_text(&r).len, 0);
	ck_assert(r.bad);
	ck_assert_uint_eq(base_get_le(&r, 1), 0);
	ck_assert_uint_eq(base_get_bytes(&r, 0).len, 0);
	r = base_reader(shelf_span("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10));
	ck_assert_uint_eq(base_get_text(&r).len, 0);
	ck_assert(r.bad);
	r = base_reader((struct shelf_span){0});
	ck_assert(base_left(&r) == 0 && base_get_le(&r, 2) == 0 && r.bad);
}
END_TEST

/* ---- Errors --------------------------------------------------------------------------------------- */

START_TEST(err_table)
{
	static const int all[] = {
#define SHELF_ERROR(name, number, class, text) SHELF_E##name,
#include <mailshelf/err.def>
#undef SHELF_ERROR
	};
	int count = (int)(sizeof(all) / sizeof(all[0]));

	for (int i = 0; i < count; i++) {
		ck_assert_int_lt(all[i], 0);
		ck_assert_str_ne(shelf_err_text(all[i]), shelf_err_text(-9999));
		ck_assert_str_ne(shelf_err_name(all[i]), "UNKNOWN_ERROR");
		ck_assert_int_ne(shelf_err_class_of(all[i]), SHELF_CLASS_OK);
		for (int k = 0; k < i; k++)
			ck_assert_int_ne(all[i], all[k]);
	}
	ck_assert_str_eq(shelf_err_text(0), "ok");
	ck_assert_str_eq(shelf_err_name(SHELF_EQUOTA), "QUOTA");
	ck_assert_str_eq(shelf_err_name(12345), "UNKNOWN_ERROR");
	ck_assert_int_eq(shelf_err_class_of(0), SHELF_CLASS_OK);
	ck_assert_int_eq(shelf_err_class_of(12345), SHELF_CLASS_SYSTEM);
	ck_assert_int_eq(shelf_err_class_of(SHELF_ECORRUPT), SHELF_CLASS_CORRUPT);
}
END_TEST

START_TEST(random_bytes)
{
	uint8_t a[64] = {0}, b[64] = {0};

	shelf_random(a, sizeof(a));
	shelf_random(b, sizeof(b));
	ck_assert(memcmp(a, b, sizeof(a)) != 0);
}
END_TEST

Suite *suite_base(void);
Suite *
suite_base(void)
{
	Suite *s = suite_create("base");
	TCase *tc = tcase_create("base");

	tcase_add_test(tc, span_compare);
	tcase_add_test(tc, span_find);
	tcase_add_loop_test(tc, span_u64, 0, (int)(sizeof(numbers) / sizeof(numbers[0])));
	tcase_add_test(tc, buf_grows);
	tcase_add_test(tc, arena_pieces);
	tcase_add_test(tc, arena_texts);
	tcase_add_test(tc, record_numbers);
	tcase_add_test(tc, record_key_order);
	tcase_add_test(tc, record_bad);
	tcase_add_test(tc, err_table);
	tcase_add_test(tc, random_bytes);
	suite_add_tcase(s, tc);
	return s;
}
