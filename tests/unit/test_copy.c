/* test_copy.c - large COPY and MOVE: one is bounded, the other goes in slices */
#include <check.h>

#include "store_rig.h"
#include "uid_rig.h"

static struct rig r;
static struct shelf_copy_result res;
static uint32_t box;

static void
setup(void)
{
	rig_open(&r, NULL);
	box = rig_create(&r, r.joe, "Archive");
	res = (struct shelf_copy_result){.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
}

static void
teardown(void)
{
	shelf_uidset_free(&res.from_uids);
	shelf_uidset_free(&res.to_uids);
	rig_close(&r);
}

static int
copy(uint32_t to, bool move)
{
	struct shelf_uidset *all = rig_set(1, UINT32_MAX);
	int rc = shelf_msg_copy(r.store, r.joe, r.inbox, to, all, move, &res);

	shelf_uidset_free(&all);
	return rc;
}

START_TEST(a_move_goes_in_slices)
{
	uint64_t before;

	uid_fill_from(&r, r.joe, r.inbox, 100, 1300);
	rig_flag(&r, r.joe, r.inbox, 100, 1399, SHELF_FLAGS_ADD, SHELF_DELETED, "work");
	before = rig_modseq(&r, r.joe);
	ck_assert_int_eq(copy(box, true), 0);
	ck_assert_uint_eq(rig_modseq(&r, r.joe) - before, 3);
	ck_assert_uint_eq(res.modseq, rig_modseq(&r, r.joe));
	ck_assert_str_eq(rig_text(res.from_uids), "100:1399");
	ck_assert_str_eq(rig_text(res.to_uids), "1:1300");
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, box).deleted, 1300);
}
END_TEST

/* Within one mailbox every message moves once: the slices do not meet what they made. */
START_TEST(a_move_within_a_mailbox_ends)
{
	uid_fill_from(&r, r.joe, r.inbox, 100, 1300);
	ck_assert_int_eq(copy(r.inbox, true), 0);
	ck_assert_str_eq(rig_text(res.from_uids), "100:1399");
	ck_assert_str_eq(rig_text(res.to_uids), "1400:2699");
}
END_TEST

/* The target runs out of uids in the second slice: the first stays moved and is told, the rest is where it was. */
START_TEST(a_move_that_stops_half_way)
{
	uid_fill_from(&r, r.joe, r.inbox, 100, 1300);
	uid_fill_from(&r, r.joe, box, UINT32_MAX - 700, 1);
	ck_assert_int_eq(copy(box, true), SHELF_ELIMIT);
	ck_assert_str_eq(rig_text(res.from_uids), "100:611");
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 1300 - 512);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, box).exists, 513);
	/* A copy leaves nothing behind. */
	ck_assert_int_eq(copy(box, false), SHELF_ELIMIT);
	ck_assert_uint_eq(shelf_uidset_count(res.to_uids), 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, box).exists, 513);
}
END_TEST

START_TEST(a_copy_is_bounded)
{
	for (unsigned n = 0; n < SHELF_COPY_MAX; n += 1000)
		rig_fill(&r, r.joe, r.inbox, 1000);
	rig_fill(&r, r.joe, r.inbox, 1);
	ck_assert_int_eq(copy(box, false), SHELF_ELIMIT);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, box).exists, 0);
}
END_TEST

Suite *suite_copy(void);
Suite *
suite_copy(void)
{
	Suite *s = suite_create("copy");
	TCase *tc = tcase_create("copy");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_move_goes_in_slices);
	tcase_add_test(tc, a_move_within_a_mailbox_ends);
	tcase_add_test(tc, a_move_that_stops_half_way);
	tcase_add_test(tc, a_copy_is_bounded);
	suite_add_tcase(s, tc);
	return s;
}
