/* test_view.c - views over the borders of pages and ranges, and at the end of all uids */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/view.h>

#include "mail.h"
#include "store_rig.h"
#include "uid_rig.h"

static struct rig r;
static struct shelf_view *view;
static struct shelf_changes ch;

static void
setup(void)
{
	rig_open(&r, NULL);
	ch = (struct shelf_changes){.vanished = shelf_uidset_new(), .flagged = shelf_uidset_new()};
}

static void
teardown(void)
{
	shelf_view_close(&view);
	shelf_uidset_free(&ch.vanished);
	shelf_uidset_free(&ch.flagged);
	rig_close(&r);
}

static void
fill_from(uint32_t uid, unsigned count)
{
	uid_fill_from(&r, r.joe, r.inbox, uid, count);
}

static void
refresh(bool may_renumber)
{
	struct shelf_rd *rd = NULL;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	if (view == NULL)
		ck_assert_int_eq(shelf_view_open(rd, r.inbox, &view), 0);
	ck_assert_int_eq(shelf_view_refresh(view, rd, may_renumber, &ch), 0);
	shelf_view_commit(view);
	shelf_rd_end(&rd);
}

static void
expunge(uint32_t first, uint32_t last)
{
	struct shelf_uidset *uids = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, uids, 0, NULL), 0);
	shelf_uidset_free(&uids);
}

static void
expect_uids(const char *want)
{
	struct shelf_uidset *uids = shelf_uidset_new();

	shelf_view_uids(view, uids);
	ck_assert_str_eq(rig_text(uids), want);
	shelf_uidset_free(&uids);
}

START_TEST(removals_over_a_border_are_kept_back)
{
	const uint32_t border = _i == 0 ? 256 : 65536;

	fill_from(border - 50, 100);
	refresh(true);
	ck_assert_uint_eq(shelf_view_uid(view, 51), border);
	expect_uids(_i == 0 ? "206:305" : "65486:65585");
	expunge(border - 50, border + 9);
	refresh(false);
	ck_assert(ch.kept_back);
	ck_assert_uint_eq(shelf_uidset_count(ch.vanished), 0);
	ck_assert_uint_eq(shelf_view_count(view), 100);
	/* Meanwhile one more comes, and another goes. */
	rig_fill(&r, r.joe, r.inbox, 1);
	expunge(border + 49, border + 49);
	refresh(false);
	ck_assert_uint_eq(ch.added, 1);
	ck_assert_uint_eq(shelf_view_seq(view, border + 50), 101);
	refresh(true);
	ck_assert(!ch.kept_back);
	ck_assert_uint_eq(shelf_uidset_count(ch.vanished), 61);
	ck_assert_uint_eq(shelf_view_count(view), 40);
	ck_assert_uint_eq(shelf_view_uid(view, 1), border + 10);
	ck_assert_uint_eq(shelf_view_max_uid(view), border + 50);
	ck_assert_uint_eq(shelf_view_seq_from(view, border), 1);
	expect_uids(_i == 0 ? "266:304,306" : "65546:65584,65586");
	refresh(true);
	ck_assert_uint_eq(shelf_uidset_count(ch.vanished), 0);
}
END_TEST

START_TEST(a_page_is_emptied_and_filled_again)
{
	fill_from(65536, 3);
	refresh(true);
	expunge(65536, 65538);
	refresh(false);
	rig_fill(&r, r.joe, r.inbox, 2);
	refresh(false);
	ck_assert_uint_eq(shelf_view_count(view), 5);
	refresh(true);
	ck_assert_str_eq(rig_text(ch.vanished), "65536:65538");
	ck_assert_uint_eq(shelf_view_count(view), 2);
	ck_assert_uint_eq(shelf_view_uid(view, 1), 65539);
}
END_TEST

START_TEST(a_move_within_a_mailbox_crosses_borders)
{
	struct shelf_copy_result moved = {.from_uids = shelf_uidset_new(),
	    .to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = rig_set(1, UINT32_MAX);

	fill_from(65500, 100);
	refresh(true);
	ck_assert_int_eq(
	    shelf_msg_copy(r.store, r.joe, r.inbox, r.inbox, uids, true, &moved), 0);
	ck_assert_str_eq(rig_text(moved.from_uids), "65500:65599");
	ck_assert_str_eq(rig_text(moved.to_uids), "65600:65699");
	refresh(true);
	ck_assert_str_eq(rig_text(ch.vanished), "65500:65599");
	ck_assert_uint_eq(ch.added, 100);
	ck_assert_uint_eq(shelf_view_count(view), 100);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&moved.from_uids);
	shelf_uidset_free(&moved.to_uids);
}
END_TEST

/* The last uid is never given, so that UIDNEXT can be told; whatever walks all uids comes to an end. */
START_TEST(the_end_of_all_uids)
{
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result res;
	struct shelf_uidset *last = rig_set(UINT32_MAX - 3, UINT32_MAX);

	fill_from(UINT32_MAX - 5, 5);
	item.draft = rig_draft(&r, "one too many", 10);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &res), SHELF_ELIMIT);
	shelf_draft_free(&item.draft);
	refresh(true);
	ck_assert_uint_eq(shelf_view_max_uid(view), UINT32_MAX - 1);
	rig_flag(&r, r.joe, r.inbox, UINT32_MAX - 5, UINT32_MAX, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	/* None of them is \Deleted but the first. */
	rig_flag(&r, r.joe, r.inbox, UINT32_MAX - 5, UINT32_MAX - 5, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, last, SHELF_EXPUNGE_DELETED, NULL), 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 5);
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, SHELF_EXPUNGE_DELETED, NULL), 0);
	refresh(true);
	ck_assert_uint_eq(shelf_uidset_count(ch.vanished), 1);
	ck_assert_uint_eq(shelf_uidset_count(ch.flagged), 4);
	shelf_uidset_free(&last);
}
END_TEST

/* ---- What is read late ------------------------------------------------------------------------------------ */

/* Everything a view says agrees with itself and with WANT, its uids. */
static void
expect_picture(const char *want)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	uint32_t uid = 0;

	for (uint32_t seq = 1; seq <= shelf_view_count(view); seq++) {
		uint32_t next = shelf_view_uid(view, seq);

		ck_assert_uint_gt(next, uid);
		ck_assert_uint_eq(shelf_view_seq_from(view, uid + 1), seq);
		ck_assert_uint_eq(shelf_view_seq(view, next), seq);
		if (next > uid + 1)
			ck_assert_uint_eq(shelf_view_seq(view, next - 1), 0);
		shelf_uidset_add(uids, uid = next);
	}
	ck_assert_uint_eq(shelf_view_uid(view, shelf_view_count(view) + 1), 0);
	ck_assert_uint_eq(shelf_view_max_uid(view), uid);
	ck_assert_uint_eq(shelf_view_seq_from(view, uid + 1), shelf_view_count(view) + 1);
	ck_assert_str_eq(rig_text(uids), want);
	shelf_uidset_free(&uids);
	ck_assert_int_eq(shelf_view_error(view), 0);
}

/* A view that was asked nothing yet shows the mailbox as it was when it was opened. */
START_TEST(what_is_read_late_is_the_old_picture)
{
	fill_from(65530, 12);
	expunge(65533, 65533);
	refresh(true);
	expunge(65531, 65531);
	expunge(65536, 65537);
	rig_fill(&r, r.joe, r.inbox, 3);
	expunge(65542, 65542); /* came and went unseen */
	rig_flag(&r, r.joe, r.inbox, 65530, 65530, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	expect_picture("65530:65532,65534:65541");
	/* Half of it was told, nothing may be renumbered: the new ones show, the old ones stay. */
	refresh(false);
	ck_assert_uint_eq(ch.added, 2);
	ck_assert_str_eq(rig_text(ch.flagged), "65530");
	expunge(65532, 65532);
	expect_picture("65530:65532,65534:65541,65543:65544");
	refresh(true);
	ck_assert_str_eq(rig_text(ch.vanished), "65531:65532,65536:65537");
	expect_picture("65530,65534:65535,65538:65541,65543:65544");
}
END_TEST

/* Between refresh and commit, too, and when all is gone. */
START_TEST(numbers_before_the_commit_are_the_old_ones)
{
	struct shelf_rd *rd = NULL;

	fill_from(65530, 12);
	refresh(true);
	expunge(65530, 65541);
	rig_fill(&r, r.joe, r.inbox, 1);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_view_refresh(view, rd, true, &ch), 0);
	shelf_rd_end(&rd);
	expunge(65542, 65542);
	ck_assert_uint_eq(shelf_view_uidnext(view), 65543);
	expect_picture("65530:65541");
	shelf_view_commit(view);
	expect_picture("65542");
	refresh(true);
	expect_picture("");
}
END_TEST

/* 40 ranges with holes: more than a view keeps. In any order, twice. */
START_TEST(what_does_not_fit_is_read_again)
{
	enum { RANGES = 40 };

	for (uint32_t n = 1; n <= RANGES; n++) {
		fill_from(n << 16, 2);
		fill_from((n << 16) + 65534, 1);
	}
	refresh(true);
	ck_assert_uint_lt(shelf_view_bytes(view), 2048);
	for (uint32_t i = 0; i < 2 * RANGES; i++) {
		uint32_t n = i * 7 % RANGES;

		ck_assert_uint_eq(shelf_view_uid(view, n * 3 + 3), ((n + 1) << 16) + 65534);
		ck_assert_uint_eq(shelf_view_seq(view, ((n + 1) << 16) + 1), n * 3 + 2);
		ck_assert_uint_le(shelf_view_bytes(view), 160 << 10);
	}
	ck_assert_uint_gt(shelf_view_bytes(view), 100 << 10);
	ck_assert_int_eq(shelf_view_error(view), 0);
}
END_TEST

START_TEST(retain_is_what_both_have)
{
	struct shelf_uidset *set = rig_set(1, UINT32_MAX);

	fill_from(65400, 300);
	expunge(65500, 65509);
	refresh(true);
	shelf_view_retain(view, set);
	ck_assert_str_eq(rig_text(set), "65400:65499,65510:65699");
	shelf_uidset_clear(set);
	shelf_uidset_add_range(set, 65490, 65511);
	shelf_uidset_add(set, 65530);
	shelf_uidset_add_range(set, 65535, 65537);
	shelf_uidset_add_range(set, 65690, 70000);
	shelf_uidset_add(set, 200000);
	shelf_view_retain(view, set);
	ck_assert_str_eq(rig_text(set), "65490:65499,65510:65511,65530,65535:65537,65690:65699");
	shelf_uidset_free(&set);
}
END_TEST

/* A run of uids takes no memory, however long; asking for all of 30,000 with holes takes a bit of each. */
START_TEST(memory_of_a_view)
{
	size_t opened;

	for (int i = 0; i < 30; i++)
		rig_fill(&r, r.joe, r.inbox, 1000);
	refresh(true);
	opened = shelf_view_bytes(view);
	ck_assert_uint_lt(opened, 512);
	ck_assert_uint_eq(shelf_view_seq(view, 29999), 29999);
	ck_assert_uint_eq(shelf_view_bytes(view), opened);
	for (uint32_t uid = 100; uid < 30000; uid += 300)
		expunge(uid, uid);
	refresh(true);
	ck_assert_uint_eq(shelf_view_bytes(view), opened);
	ck_assert_uint_eq(shelf_view_seq(view, 30000), 29900);
	ck_assert_uint_lt(shelf_view_bytes(view), opened + 30000 / 8 + 30000 / 256 * 2 + 64);
}
END_TEST

/* A mailbox whose rows are damaged: asked late, the view says so and does not make up numbers. */
static int
lose_page(struct kv_txn *txn, void *arg)
{
	struct index_page *p = arg;

	index_page_clear(p, 0);
	return index_page_put(txn, r.inbox, p);
}

START_TEST(a_read_that_fails_is_told)
{
	struct index_page *p = shelf_alloc(sizeof(*p));
	struct shelf_rd *rd = NULL;

	rig_fill(&r, r.joe, r.inbox, 300);
	refresh(true);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, lose_page, p), 0);
	ck_assert_uint_eq(shelf_view_uid(view, 1), 0);
	ck_assert_int_eq(shelf_view_error(view), SHELF_ECORRUPT);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_view_refresh(view, rd, true, &ch), SHELF_ECORRUPT);
	shelf_rd_end(&rd);
	free(p);
	/* Not a mailbox that the check at the end may see. */
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
}
END_TEST

Suite *suite_view(void);
Suite *
suite_view(void)
{
	Suite *s = suite_create("view");
	TCase *tc = tcase_create("view");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, removals_over_a_border_are_kept_back, 0, 2);
	tcase_add_test(tc, a_page_is_emptied_and_filled_again);
	tcase_add_test(tc, a_move_within_a_mailbox_crosses_borders);
	tcase_add_test(tc, the_end_of_all_uids);
	tcase_add_test(tc, what_is_read_late_is_the_old_picture);
	tcase_add_test(tc, numbers_before_the_commit_are_the_old_ones);
	tcase_add_test(tc, what_does_not_fit_is_read_again);
	tcase_add_test(tc, retain_is_what_both_have);
	tcase_add_test(tc, memory_of_a_view);
	tcase_add_test(tc, a_read_that_fails_is_told);
	suite_add_tcase(s, tc);
	return s;
}
