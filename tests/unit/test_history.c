/* test_history.c - a look a day at a partition: the first of each day, for two years */
#include <check.h>

#include "store_rig.h"

static struct rig r;

enum { DAY_S = 24 * 3600, DAY_0 = 20000 };

struct days {
	unsigned n;
	int64_t first, last;
	struct shelf_history newest;
};

static int
see_day(void *arg, const struct shelf_history *h)
{
	struct days *d = arg;

	ck_assert(d->n == 0 || h->day_s > d->last);
	if (d->n++ == 0)
		d->first = h->day_s;
	d->last = h->day_s;
	d->newest = *h;
	return 0;
}

static struct days
history(uint32_t n)
{
	struct days d = {.n = 0};

	ck_assert_int_eq(shelf_stats_history(r.store, n, see_day, &d), 0);
	return d;
}

START_TEST(the_first_look_of_a_day_is_kept_for_two_years)
{
	const struct shelf_store_params one_part = {
	    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20};
	struct days d;
	struct shelf_partition_stats p;

	rig_open(&r, &one_part);
	ck_assert_uint_eq(history(0).n, 0);
	rig_append(&r, r.joe, r.inbox, "one", 0);
	ck_assert_int_eq(shelf_stats_partition(r.store, 0, &p), 0);
	ck_assert_int_eq(shelf_stats_note(r.store, (int64_t)DAY_0 * DAY_S + 500), 0);
	rig_append(&r, r.joe, r.inbox, "two", 0);
	ck_assert_int_eq(shelf_stats_note(r.store, (int64_t)DAY_0 * DAY_S + 86399), 0);
	d = history(0);
	ck_assert_uint_eq(d.n, 1);
	ck_assert_int_eq(d.newest.day_s, (int64_t)DAY_0 * DAY_S);
	ck_assert_int_eq(d.newest.taken_s, d.newest.day_s + 500);
	ck_assert_uint_eq(d.newest.physical_bytes, p.physical_bytes);
	ck_assert_uint_eq(d.newest.file_bytes, p.file_bytes);
	ck_assert(memcmp(&d.newest.totals, &p.totals, sizeof(p.totals)) == 0);
	for (int64_t day = DAY_0 + 1; day < DAY_0 + 740; day++)
		ck_assert_int_eq(shelf_stats_note(r.store, day * DAY_S), 0);
	d = history(0);
	ck_assert_uint_eq(d.n, 731);
	ck_assert_int_eq(d.last, (int64_t)(DAY_0 + 739) * DAY_S);
	ck_assert_int_eq(d.first, (int64_t)(DAY_0 + 9) * DAY_S);
	ck_assert_uint_eq(d.newest.totals.messages, 2);
	/* After a long rest the old ones go little by little. */
	for (int64_t day = DAY_0 + 2000; day < DAY_0 + 2020; day++)
		ck_assert_int_eq(shelf_stats_note(r.store, day * DAY_S), 0);
	ck_assert_uint_eq(history(0).n, 20);
	ck_assert_int_eq(shelf_stats_history(r.store, 1, see_day, &d), SHELF_EINVALID);
	rig_close(&r);
}
END_TEST

Suite *suite_history(void);
Suite *
suite_history(void)
{
	Suite *s = suite_create("history");
	TCase *tc = tcase_create("history");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, the_first_look_of_a_day_is_kept_for_two_years);
	suite_add_tcase(s, tc);
	return s;
}
