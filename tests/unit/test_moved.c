/* test_moved.c - a message that went elsewhere is read under its old uid by who still shows it */
#include <check.h>

#include "mail.h"
#include "store_rig.h"

static struct rig r;
static uint32_t box, other;

static void
setup(void)
{
	rig_open(&r, NULL);
	box = rig_create(&r, r.joe, "box");
	other = rig_create(&r, r.joe, "other");
}

static void
teardown(void)
{
	rig_close(&r);
}

static void
move(uint32_t from, uint32_t first, uint32_t last, uint32_t to)
{
	struct shelf_copy_result res = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, from, to, uids, true, &res), 0);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&res.from_uids);
	shelf_uidset_free(&res.to_uids);
}

static void
expunge(uint32_t mailbox, uint32_t uid)
{
	struct shelf_uidset *uids = rig_set(uid, uid);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, mailbox, uids, 0, NULL), 0);
	shelf_uidset_free(&uids);
}

/* The message that was UID in MAILBOX: gone, under that uid, with the bytes of TEXT. */
static struct shelf_msg
read_old(uint32_t mailbox, uint32_t uid, const char *text)
{
	struct shelf_body *body = NULL;
	struct shelf_span bytes;
	struct shelf_msg msg;

	ck_assert_int_eq(rig_msg(&r, r.joe, mailbox, uid, &msg), 0);
	ck_assert(msg.gone);
	ck_assert_uint_eq(msg.uid, uid);
	ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), 0);
	ck_assert_int_eq(shelf_body_read(body, 9, 100, &bytes), 0);
	ck_assert_uint_ge(bytes.len, strlen(text));
	ck_assert_mem_eq(bytes.data, text, strlen(text));
	shelf_body_close(&body);
	return msg;
}

static int
count_rows(struct kv_txn *txn, void *arg)
{
	return kv_count(kv_txn_view(txn), KV_MOVED, arg);
}

static uint64_t
notes(void)
{
	uint64_t n = 0;

	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, count_rows, &n), 0);
	return n;
}

START_TEST(it_is_followed_to_where_it_is)
{
	struct shelf_restored done = {0};
	struct shelf_uidset *one = rig_set(3, 3);
	struct shelf_msg msg;
	uint64_t modseq;

	rig_append(&r, r.joe, r.inbox, "one", 0);
	rig_append(&r, r.joe, r.inbox, "two", SHELF_FLAGGED);
	rig_append(&r, r.joe, r.inbox, "three", 0);
	rig_flag(&r, r.joe, r.inbox, 1, 3, SHELF_FLAGS_ADD, 0, "first");
	rig_flag(&r, r.joe, r.inbox, 2, 2, SHELF_FLAGS_ADD, 0, "second");
	move(r.inbox, 2, 3, box);
	modseq = rig_modseq(&r, r.joe);
	ck_assert_uint_eq(notes(), 1);
	/* Flags are those it has there, keywords under the numbers of here. */
	rig_flag(&r, r.joe, box, 1, 1, SHELF_FLAGS_ADD, SHELF_SEEN, "there");
	rig_flag(&r, r.joe, box, 1, 1, SHELF_FLAGS_REMOVE, 0, "first");
	msg = read_old(r.inbox, 2, "two");
	ck_assert_uint_eq(msg.flags, SHELF_FLAGGED | SHELF_SEEN);
	ck_assert_uint_eq(msg.keywords[0], 2);
	ck_assert_uint_eq(msg.modseq, modseq);
	read_old(r.inbox, 3, "three");
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 4, &msg), SHELF_ENOMESSAGE);
	/* On, within one mailbox, removed, and back again. */
	move(box, 1, 2, other);
	move(other, 1, 2, other);
	read_old(r.inbox, 2, "two");
	read_old(other, 2, "three");
	expunge(other, 3);
	ck_assert_uint_eq(read_old(r.inbox, 2, "two").keywords[0], 2);
	ck_assert_int_eq(shelf_restore(r.store, r.joe, other, one, r.inbox, &done), 0);
	ck_assert_uint_eq(done.messages, 1);
	ck_assert_uint_eq(read_old(r.inbox, 2, "two").keywords[0], 6);
	read_old(other, 3, "two");
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
	shelf_uidset_free(&one);
}
END_TEST

START_TEST(runs_are_one_row)
{
	rig_fill(&r, r.joe, r.inbox, 1000);
	expunge(r.inbox, 500);
	move(r.inbox, 1, 1000, box);
	/* Slices of 512 messages, and a hole. */
	ck_assert_uint_eq(notes(), 3);
	for (uint32_t uid = 1; uid <= 1000; uid++) {
		struct shelf_msg msg;

		ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, uid, &msg), 0);
		ck_assert(msg.gone);
	}
}
END_TEST

/* All rows as if they had been written HOURS ago. */
static int
age(struct kv_txn *txn, void *arg)
{
	uint32_t slot = (uint32_t)(shelf_now_s() / 3600) - *(uint32_t *)arg;
	struct shelf_buf value = {0};
	struct shelf_span key, v;
	struct mail_key old, new;
	struct kv_scan scan;
	int rc = kv_scan_open(kv_txn_view(txn), KV_MOVED, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(kv_scan_next(&scan, &key, &v), 1);
	old = mail_key3(base_get_be32(key.data), base_get_be32(key.data + 4), base_get_be32(key.data + 8));
	new = mail_key3(slot, base_get_be32(key.data + 4), base_get_be32(key.data + 8));
	shelf_buf_add_span(&value, v);
	kv_scan_close(&scan);
	if ((rc = kv_del(txn, KV_MOVED, mail_key_span(&old))) == 0)
		rc = kv_put(txn, KV_MOVED, mail_key_span(&new), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc != 0 ? rc : mail_change_version(txn);
}

START_TEST(old_notes_go)
{
	struct shelf_msg msg;

	rig_append(&r, r.joe, r.inbox, "x", 0);
	move(r.inbox, 1, 1, box);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, age, &(uint32_t){2}), 0);
	read_old(r.inbox, 1, "x");
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), 0);
	ck_assert_uint_eq(notes(), 0);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), SHELF_ENOMESSAGE);
}
END_TEST

START_TEST(a_note_of_this_and_the_last_hour_stays)
{
	rig_fill(&r, r.joe, r.inbox, 2);
	move(r.inbox, 1, 1, box);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, age, &(uint32_t){1}), 0);
	move(r.inbox, 2, 2, box);
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), 0);
	ck_assert_uint_eq(notes(), 2);
	read_old(r.inbox, 1, "");
	read_old(r.inbox, 2, "");
}
END_TEST

Suite *suite_moved(void);
Suite *
suite_moved(void)
{
	Suite *s = suite_create("moved");
	TCase *tc = tcase_create("moved");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, it_is_followed_to_where_it_is);
	tcase_add_test(tc, runs_are_one_row);
	tcase_add_test(tc, old_notes_go);
	tcase_add_test(tc, a_note_of_this_and_the_last_hour_stays);
	suite_add_tcase(s, tc);
	return s;
}
