/* test_view.c - views over the borders of pages and ranges, and at the end of all uids */
#include <check.h>

#include <mailshelf/view.h>

#include "mail.h"
#include "store_rig.h"

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

/* As if so many messages had come and gone. */
static int
set_uidnext(struct kv_txn *txn, void *arg)
{
	struct mail_mbox row;
	struct shelf_buf name = {0};
	int rc = mail_mbox_get(kv_txn_view(txn), r.inbox, &row);

	if (rc != 0)
		return rc;
	shelf_buf_add_span(&name, row.name);
	row.name = shelf_buf_span(&name);
	row.uidnext = *(uint32_t *)arg;
	rc = mail_mbox_put(txn, &row);
	shelf_buf_free(&name);
	return rc;
}

static void
fill_from(uint32_t uid, unsigned count)
{
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, set_uidnext, &uid), 0);
	rig_fill(&r, r.joe, r.inbox, count);
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
	suite_add_tcase(s, tc);
	return s;
}
