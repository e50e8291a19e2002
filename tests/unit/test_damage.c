/* test_damage.c - damaged rows are errors, never more than that: no crash, no harm to others */
#include <check.h>

#include <mailshelf/view.h>

#include "mail.h"
#include "store_rig.h"

static struct rig r;

/* A row as it was, and what it is made for a while. */
struct row {
	enum kv_table table;
	struct mail_key key;
	struct shelf_buf value;
};

static int
take_row(struct kv_txn *txn, void *arg)
{
	struct row *row = arg;
	struct shelf_span value;
	int rc = kv_get(kv_txn_view(txn), row->table, mail_key_span(&row->key), &value);

	shelf_buf_clear(&row->value);
	if (rc == 0)
		shelf_buf_add_span(&row->value, value);
	return rc;
}

static int
put_row(struct kv_txn *txn, void *arg)
{
	struct row *row = arg;

	return kv_put(txn, row->table, mail_key_span(&row->key), shelf_buf_span(&row->value));
}

/* Byte AT of the row becomes another; a second call makes it what it was. */
static void
damage(struct row *row, size_t at)
{
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, take_row, row), 0);
	ck_assert_uint_lt(at, row->value.len);
	row->value.data[at] ^= 1;
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, put_row, row), 0);
}

START_TEST(a_keyword_count_is_not_believed)
{
	struct row row = {.table = KV_MBOX, .key = mail_key1(1)};
	struct shelf_span name = shelf_span_str("$new");
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .keywords = &name, .nkeywords = 1,
	    .unchanged_since = UINT64_MAX};
	struct shelf_uidset *uids = rig_set(1, 1);

	rig_open(&r, NULL);
	rig_append(&r, r.joe, r.inbox, "one", 0);
	damage(&row, 59); /* 65,536 keywords */
	ck_assert_int_eq(shelf_msg_set_flags(r.store, r.joe, r.inbox, uids, &change, NULL, NULL),
	    SHELF_ECORRUPT);
	damage(&row, 59);
	ck_assert_int_eq(shelf_msg_set_flags(r.store, r.joe, r.inbox, uids, &change, NULL, NULL), 0);
	shelf_uidset_free(&uids);
	shelf_buf_free(&row.value);
	rig_close(&r);
}
END_TEST

/* A refresh that fails has told nothing, so the next one must tell it all. */
START_TEST(a_refresh_that_failed_loses_nothing)
{
	struct row row = {.table = KV_FPAGE, .key = {.len = 9, .bytes = {0, 0, 0, 1, 0, 0, 0, 1}}};
	struct shelf_changes ch = {.vanished = shelf_uidset_new(), .flagged = shelf_uidset_new()};
	struct shelf_uidset *first = rig_set(1, 1);
	struct shelf_view *view = NULL;
	struct shelf_rd *rd = NULL;

	rig_open(&r, NULL);
	rig_fill(&r, r.joe, r.inbox, 300);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_view_open(rd, r.inbox, &view), 0);
	shelf_rd_end(&rd);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, first, 0, NULL), 0);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_view_refresh(view, rd, false, &ch), 0);
	ck_assert(ch.kept_back);
	shelf_view_commit(view);
	shelf_rd_end(&rd);

	rig_flag(&r, r.joe, r.inbox, 290, 290, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	damage(&row, 56); /* the width of its deltas */
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_view_refresh(view, rd, true, &ch), SHELF_ECORRUPT);
	shelf_rd_end(&rd);
	damage(&row, 56);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_view_refresh(view, rd, true, &ch), 0);
	ck_assert_str_eq(rig_text(ch.vanished), "1");
	ck_assert_str_eq(rig_text(ch.flagged), "290");
	shelf_view_commit(view);
	ck_assert_uint_eq(shelf_view_count(view), 299);
	ck_assert_uint_eq(shelf_view_uid(view, 1), 2);
	shelf_rd_end(&rd);

	shelf_view_close(&view);
	shelf_uidset_free(&ch.vanished);
	shelf_uidset_free(&ch.flagged);
	shelf_uidset_free(&first);
	shelf_buf_free(&row.value);
	rig_close(&r);
}
END_TEST

START_TEST(a_damaged_account_keeps_no_other_waiting)
{
	const struct shelf_store_params at_once = {.partitions = 1, .map_bytes = 64u << 20,
	    .reserve_bytes = 1u << 20, .hold_s = UINT32_MAX};
	struct row row = {.table = KV_MBOX};
	uint32_t box;

	rig_open(&r, &at_once);
	ck_assert_uint_lt(r.joe, r.ann);
	box = rig_create(&r, r.joe, "box");
	rig_create(&r, r.ann, "box");
	rig_fill(&r, r.joe, box, 3);
	rig_fill(&r, r.ann, box, 3);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.ann, shelf_span_str("box")), 0);
	row.key = mail_key1(box);
	damage(&row, 59);
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), SHELF_ECORRUPT);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 3);
	ck_assert_uint_eq(rig_quota(&r, r.ann).held_messages, 0);
	damage(&row, 59);
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
	shelf_buf_free(&row.value);
	rig_close(&r);
}
END_TEST

Suite *suite_damage(void);
Suite *
suite_damage(void)
{
	Suite *s = suite_create("damage");
	TCase *tc = tcase_create("damage");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_keyword_count_is_not_believed);
	tcase_add_test(tc, a_refresh_that_failed_loses_nothing);
	tcase_add_test(tc, a_damaged_account_keeps_no_other_waiting);
	suite_add_tcase(s, tc);
	return s;
}
