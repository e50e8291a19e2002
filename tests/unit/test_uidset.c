/* test_uidset.c - sets of UIDs against a plain array of booleans */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/uidset.h>

enum { MODEL_MAX = 200000 };

static char *
printed(const struct shelf_uidset *s)
{
	struct shelf_buf out = {0};
	char *text;

	shelf_uidset_print(s, &out);
	text = shelf_strdup(shelf_buf_cstr(&out));
	shelf_buf_free(&out);
	return text;
}

static void
expect(const struct shelf_uidset *s, const char *want)
{
	char *text = printed(s);

	ck_assert_str_eq(text, want);
	free(text);
}

START_TEST(uidset_empty)
{
	struct shelf_uidset *s = shelf_uidset_new();
	uint32_t first, last;

	expect(s, "");
	ck_assert_uint_eq(shelf_uidset_count(s), 0);
	ck_assert_uint_eq(shelf_uidset_min(s), 0);
	ck_assert_uint_eq(shelf_uidset_max(s), 0);
	ck_assert_uint_eq(shelf_uidset_next(s, 1), 0);
	ck_assert_uint_eq(shelf_uidset_nth(s, 1), 0);
	ck_assert(!shelf_uidset_run(s, 1, &first, &last));
	shelf_uidset_add(s, 0);
	shelf_uidset_add_range(s, 9, 3);
	expect(s, "");
	shelf_uidset_free(&s);
	ck_assert_ptr_null(s);
	shelf_uidset_free(&s);
}
END_TEST

/* Runs that end at, before and behind the borders of the library's containers. */
START_TEST(uidset_long_runs)
{
	static const uint32_t ends[] = {65534, 65535, 65536, 131071, 1000000, 1048575, 1048576,
	    2772272832, UINT32_MAX - 1, UINT32_MAX};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		struct shelf_uidset *s = shelf_uidset_new();
		uint32_t first = 0, last = 0;

		shelf_uidset_add_range(s, 7, ends[i]);
		ck_assert(shelf_uidset_run(s, 1, &first, &last));
		ck_assert_uint_eq(first, 7);
		ck_assert_uint_eq(last, ends[i]);
		shelf_uidset_free(&s);
	}
}
END_TEST

START_TEST(uidset_prints)
{
	struct shelf_uidset *s = shelf_uidset_new();

	shelf_uidset_add_range(s, 0, 3);
	shelf_uidset_add(s, 7);
	shelf_uidset_add_range(s, 9, 12);
	expect(s, "1:3,7,9:12");
	ck_assert(!shelf_uidset_has(s, 0));
	ck_assert_uint_eq(shelf_uidset_next(s, 0), 1);
	ck_assert_uint_eq(shelf_uidset_next(s, 4), 7);
	ck_assert_uint_eq(shelf_uidset_next(s, 13), 0);
	shelf_uidset_remove(s, 2);
	shelf_uidset_remove(s, 12);
	expect(s, "1,3,7,9:11");
	shelf_uidset_clear(s);
	expect(s, "");
	shelf_uidset_add_range(s, UINT32_MAX - 1, UINT32_MAX);
	shelf_uidset_add(s, 1);
	expect(s, "1,4294967294:4294967295");
	ck_assert_uint_eq(shelf_uidset_max(s), UINT32_MAX);
	ck_assert_uint_eq(shelf_uidset_next(s, UINT32_MAX), UINT32_MAX);
	shelf_uidset_clear(s);
	shelf_uidset_add_range(s, 1, UINT32_MAX);
	expect(s, "1:4294967295");
	ck_assert_uint_eq(shelf_uidset_count(s), UINT32_MAX);
	shelf_uidset_free(&s);
}
END_TEST

static struct shelf_uidset *
of(uint32_t a, uint32_t b, uint32_t c)
{
	struct shelf_uidset *s = shelf_uidset_new();

	shelf_uidset_add(s, a);
	shelf_uidset_add(s, b);
	shelf_uidset_add(s, c);
	return s;
}

START_TEST(uidset_algebra)
{
	struct shelf_uidset *a = of(1, 5, 70000), *b = of(5, 6, 70000), *c = shelf_uidset_copy(a);

	shelf_uidset_and(c, b);
	expect(c, "5,70000");
	shelf_uidset_free(&c);
	c = shelf_uidset_copy(a);
	shelf_uidset_or(c, b);
	expect(c, "1,5:6,70000");
	shelf_uidset_andnot(c, a);
	expect(c, "6");
	expect(a, "1,5,70000");
	shelf_uidset_and(a, a);
	shelf_uidset_or(a, a);
	expect(a, "1,5,70000");
	shelf_uidset_andnot(a, a);
	expect(a, "");
	shelf_uidset_free(&a);
	shelf_uidset_free(&b);
	shelf_uidset_free(&c);
}
END_TEST

/* Loops over a set while members disappear: the iterator must not care. */
START_TEST(uidset_removed_while_walking)
{
	struct shelf_uidset *s = shelf_uidset_new();
	uint32_t seen = 0;

	shelf_uidset_add_range(s, 1, 100000);
	for (uint32_t u = shelf_uidset_next(s, 1); u != 0; u = shelf_uidset_next(s, u + 1)) {
		shelf_uidset_remove(s, u);
		seen++;
	}
	ck_assert_uint_eq(seen, 100000);
	ck_assert_uint_eq(shelf_uidset_count(s), 0);
	shelf_uidset_free(&s);
}
END_TEST

static void
compare(const struct shelf_uidset *s, const uint8_t *model)
{
	uint32_t count = 0, wrong = 0, from = 1, first, last;

	/* One assertion for all: each costs a write into Check's pipe. */
	for (uint32_t u = 1; u < MODEL_MAX; u++) {
		wrong += shelf_uidset_has(s, u) != (model[u] != 0);
		count += model[u];
	}
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(shelf_uidset_count(s), count);
	while (shelf_uidset_run(s, from, &first, &last)) {
		for (uint32_t u = from; u < first; u++)
			wrong += model[u] != 0;
		for (uint32_t u = first; u <= last; u++)
			wrong += model[u] != 1;
		ck_assert_uint_eq(wrong, 0);
		ck_assert(last + 1 >= MODEL_MAX || model[last + 1] == 0);
		count -= last - first + 1;
		from = last + 1;
	}
	ck_assert_uint_eq(count, 0);
}

START_TEST(uidset_model)
{
	struct shelf_uidset *s = shelf_uidset_new();
	uint8_t *model = shelf_zalloc(MODEL_MAX);
	unsigned seed = 7 + (unsigned)_i;

	for (int step = 0; step < 400; step++) {
		uint32_t a = 1 + (uint32_t)rand_r(&seed) % (MODEL_MAX - 1);
		uint32_t n = 1u << (rand_r(&seed) % 16);

		switch (rand_r(&seed) % 4) {
		case 0:
			for (uint32_t u = a; u < MODEL_MAX && u < a + n; u++)
				model[u] = 1;
			shelf_uidset_add_range(s, a, a + n > MODEL_MAX ? MODEL_MAX - 1 : a + n - 1);
			break;
		case 1:
			for (uint32_t u = a; u < MODEL_MAX && u < a + n; u++) {
				model[u] = 0;
				shelf_uidset_remove(s, u);
			}
			break;
		default:
			for (uint32_t u = a; u < MODEL_MAX && u < a + n; u += 2) {
				model[u] = 1;
				shelf_uidset_add(s, u);
			}
		}
		if (step % 50 == 49)
			compare(s, model);
	}
	free(model);
	shelf_uidset_free(&s);
}
END_TEST

Suite *suite_uidset(void);
Suite *
suite_uidset(void)
{
	Suite *s = suite_create("uidset");
	TCase *tc = tcase_create("uidset");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, uidset_empty);
	tcase_add_test(tc, uidset_long_runs);
	tcase_add_test(tc, uidset_prints);
	tcase_add_test(tc, uidset_algebra);
	tcase_add_test(tc, uidset_removed_while_walking);
	tcase_add_loop_test(tc, uidset_model, 0, 4);
	suite_add_tcase(s, tc);
	return s;
}
