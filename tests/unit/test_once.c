/* test_once.c - mail that is sent again to some who have it: what is the same, how long, and where the note goes */
#include <check.h>
#include <stdlib.h>

#include "mail.h"
#include "store_rig.h"

static struct rig r;

static struct shelf_draft *
draft_of(const char *fields, const char *envelope, const char *text)
{
	struct shelf_draft *d;

	ck_assert_int_eq(shelf_draft_new(r.store, &d), 0);
	ck_assert_int_eq(shelf_draft_write(d, fields, strlen(fields)), 0);
	if (envelope != NULL)
		shelf_draft_identify(d, shelf_span_str(envelope));
	/* In two pieces, and at once: the same. */
	ck_assert_int_eq(shelf_draft_write(d, text, strlen(text) / 2), 0);
	ck_assert_int_eq(shelf_draft_write(d, text + strlen(text) / 2, strlen(text) - strlen(text) / 2), 0);
	ck_assert_int_eq(shelf_draft_finish(d), 0);
	return d;
}

static int
deliver(struct shelf_draft **d, int refused, uint32_t *uid)
{
	struct shelf_delivery to = {.account = r.joe, .refused = refused};
	struct shelf_append_result result;

	shelf_deliver(r.store, *d, &to, 1, &result);
	shelf_draft_free(d);
	*uid = result.first_uid;
	return result.rc;
}

START_TEST(who_has_it_does_not_get_it_again)
{
	struct shelf_draft *d;
	uint32_t uid;

	rig_open(&r, NULL);
	d = draft_of("Received: one\r\n", "<a>", "Subject: x\r\n\r\n");
	ck_assert_int_eq(shelf_deliver_note(r.store, r.joe, shelf_draft_identity(d)), 0);
	ck_assert_int_eq(deliver(&d, 0, &uid), 0);
	ck_assert_uint_eq(uid, 0);
	d = draft_of("Received: two\r\n", "<a>", "Subject: x\r\n\r\n");
	ck_assert_int_eq(deliver(&d, SHELF_EQUOTA, &uid), 0);
	ck_assert_uint_eq(uid, 0);
	/* Others, and who does not ask. */
	d = draft_of("", "<b>", "Subject: x\r\n\r\n");
	ck_assert_int_eq(deliver(&d, 0, &uid), 0);
	ck_assert_uint_eq(uid, 1);
	d = draft_of("", "<a>", "Subject: y\r\n\r\n");
	ck_assert_int_eq(deliver(&d, SHELF_EQUOTA, &uid), SHELF_EQUOTA);
	d = draft_of("", "<a>S", "ubject: x\r\n\r\n");
	ck_assert_int_eq(deliver(&d, 0, &uid), 0);
	ck_assert_uint_eq(uid, 2);
	d = draft_of("", NULL, "Subject: x\r\n\r\n");
	ck_assert_ptr_null(shelf_draft_identity(d));
	ck_assert_int_eq(deliver(&d, 0, &uid), 0);
	ck_assert_uint_eq(uid, 3);
	rig_close(&r);
}
END_TEST

static int
count_rows(struct kv_txn *txn, void *arg)
{
	return kv_count(kv_txn_view(txn), KV_ONCE, arg);
}

static uint64_t
notes(uint32_t account)
{
	uint64_t n = 0;

	ck_assert_int_eq(kv_update(r.store->kv, account, 0, count_rows, &n), 0);
	return n;
}

/* A note as if it had been made DAYS ago, under an id of bytes DAYS. */
static int
put_old(struct kv_txn *txn, void *days)
{
	struct mail_key key = mail_key1((uint32_t)(shelf_now_s() / 86400) - *(uint32_t *)days);

	memset(key.bytes + 4, (int)*(uint32_t *)days, 16);
	key.len += 16;
	return kv_put(txn, KV_ONCE, mail_key_span(&key), shelf_span("\1", 1));
}

static int
has(uint32_t days)
{
	struct kv_view *view;
	uint8_t id[16];
	int rc;

	memset(id, (int)days, sizeof id);
	ck_assert_int_eq(kv_view_begin(r.store->kv, r.joe, &view), 0);
	rc = mail_once_has(view, id, shelf_now_s());
	kv_view_end(&view);
	return rc;
}

START_TEST(notes_go_after_ten_days)
{
	static const uint32_t days[] = {1, 9, 12, 13};

	rig_open(&r, NULL);
	for (size_t i = 0; i < sizeof days / sizeof *days; i++)
		ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, put_old, (void *)&days[i]), 0);
	ck_assert_int_eq(has(1), 1);
	ck_assert_int_eq(has(9), 1);
	ck_assert_int_eq(has(12), 0);
	ck_assert_int_eq(has(2), 0);
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), 0);
	ck_assert_uint_eq(notes(r.joe), 2);
	ck_assert_int_eq(has(9), 1);
	rig_close(&r);
}
END_TEST

START_TEST(they_move_with_the_account_and_go_with_it)
{
	struct shelf_mover *mover;
	struct shelf_moved moved;
	uint32_t shard;

	rig_open(&r, NULL);
	mover = shelf_mover_new(r.store, NULL, NULL);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, put_old, &(uint32_t){1}), 0);
	ck_assert_int_eq(kv_shard_of(r.store->kv, r.joe, &shard), 0);
	ck_assert_int_eq(shelf_account_move(mover, r.joe, 1 - shard, &moved), 0);
	shelf_mover_free(&mover);
	ck_assert_int_eq(has(1), 1);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), 0);
	rig_close(&r);
}
END_TEST

Suite *suite_once(void);
Suite *
suite_once(void)
{
	Suite *s = suite_create("once");
	TCase *tc = tcase_create("once");

	tcase_add_test(tc, who_has_it_does_not_get_it_again);
	tcase_add_test(tc, notes_go_after_ten_days);
	tcase_add_test(tc, they_move_with_the_account_and_go_with_it);
	suite_add_tcase(s, tc);
	return s;
}
