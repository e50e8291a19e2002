/* test_restore.c - held mail comes back: messages, keywords, quota, faults, deleted mailboxes */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail.h"
#include "store_rig.h"

static struct rig r;

static void
setup(void)
{
	rig_open(&r, NULL);
}

static void
teardown(void)
{
	rig_close(&r);
}

/* Removes uids FIRST..LAST of one of joe's mailboxes. */
static void
expunge(uint32_t mailbox, uint32_t first, uint32_t last)
{
	struct shelf_uidset *uids = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, mailbox, uids, 0, NULL), 0);
	shelf_uidset_free(&uids);
}

static int
restore(uint32_t mailbox, uint32_t first, uint32_t last, uint32_t to, struct shelf_restored *done)
{
	struct shelf_uidset *uids = rig_set(first, last);
	int rc = shelf_restore(r.store, r.joe, mailbox, uids, to, done);

	shelf_uidset_free(&uids);
	return rc;
}

struct held {
	unsigned n;
	struct shelf_held last;
	char name[64];
};

static int
on_held(void *arg, const struct shelf_held *held)
{
	struct held *h = arg;

	h->n++;
	h->last = *held;
	snprintf(h->name, sizeof(h->name), "%.*s", (int)held->name.len, (const char *)held->name.data);
	return 0;
}

static struct held
held(void)
{
	struct held h = {0};

	ck_assert_int_eq(shelf_held_each(r.store, r.joe, on_held, &h), 0);
	return h;
}

/* Does a message of joe's have the keyword? */
static bool
has_keyword(uint32_t mailbox, uint32_t uid, const char *name)
{
	struct shelf_keywords *kw = SHELF_NEW(struct shelf_keywords);
	struct shelf_msg msg;
	struct shelf_rd *rd;
	bool has = false;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_msg_get(rd, mailbox, uid, &msg), 0);
	ck_assert_int_eq(shelf_mailbox_keywords(rd, mailbox, kw), 0);
	for (uint32_t i = 0; i < kw->count; i++)
		has = has || (shelf_span_is(kw->name[i], name) && shelf_msg_has_keyword(&msg, i));
	shelf_rd_end(&rd);
	free(kw);
	return has;
}

START_TEST(a_message_comes_back_as_it_was)
{
	struct shelf_restored done = {.to_uids = shelf_uidset_new()};
	struct shelf_quota before, after;
	struct shelf_msg was, is;
	struct held h;

	rig_fill(&r, r.joe, r.inbox, 3);
	rig_flag(&r, r.joe, r.inbox, 2, 2, SHELF_FLAGS_ADD, SHELF_SEEN | SHELF_DELETED, "$Work");
	before = rig_quota(&r, r.joe);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 2, &was), 0);
	expunge(r.inbox, 2, 2);
	h = held();
	ck_assert_uint_eq(h.n, 1);
	ck_assert_str_eq(h.name, "INBOX");
	ck_assert(!h.last.mailbox_deleted && h.last.msg.gone);
	ck_assert_uint_eq(h.last.mailbox, r.inbox);
	ck_assert_uint_eq(h.last.msg.uid, 2);
	ck_assert_uint_eq(h.last.msg.flags, SHELF_SEEN | SHELF_DELETED);
	ck_assert_int_eq(h.last.due_s - h.last.gone_s, 14 * 86400);
	ck_assert_int_eq(restore(r.inbox, 1, 9, 0, &done), 0);
	ck_assert_uint_eq(done.messages, 1);
	ck_assert_uint_eq(done.bytes, was.size);
	ck_assert_str_eq(rig_text(done.to_uids), "4");
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 2, &is), 0);
	ck_assert(is.gone); /* for who still shows it */
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 4, &is), 0);
	ck_assert(!is.gone);
	ck_assert_uint_eq(is.flags, SHELF_SEEN);
	ck_assert(has_keyword(r.inbox, 4, "$work"));
	ck_assert_int_eq(is.internaldate_s, was.internaldate_s);
	ck_assert_uint_eq(is.blob, was.blob);
	ck_assert_uint_eq(is.modseq, rig_modseq(&r, r.joe));
	after = rig_quota(&r, r.joe);
	ck_assert_mem_eq(&before, &after, sizeof(before));
	ck_assert_uint_eq(held().n, 0);
	/* Again: nothing, not even a modseq. */
	ck_assert_int_eq(restore(r.inbox, 1, 9, 0, &done), 0);
	ck_assert_uint_eq(done.messages, 0);
	ck_assert_uint_eq(is.modseq, rig_modseq(&r, r.joe));
	shelf_uidset_free(&done.to_uids);
}
END_TEST

START_TEST(only_what_is_asked_for_comes_back)
{
	struct shelf_restored done = {0};
	struct held h;

	rig_fill(&r, r.joe, r.inbox, 1500);
	expunge(r.inbox, 1, 1400);
	ck_assert_uint_eq(held().n, 1400);
	ck_assert_int_eq(restore(r.inbox, 11, 1200, 0, &done), 0);
	ck_assert_uint_eq(done.messages, 1190);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 1290);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).uidnext, 1501 + 1190);
	h = held();
	ck_assert_uint_eq(h.n, 210);
	ck_assert_int_eq(shelf_restore(r.store, r.joe, r.inbox, NULL, 0, &done), 0);
	ck_assert_uint_eq(done.messages, 210);
	ck_assert_int_eq(restore(r.inbox, 1, 2, 77, &done), 0);
	expunge(r.inbox, 1500, 1500);
	ck_assert_int_eq(restore(r.inbox, 1500, 1500, 77, &done), SHELF_ENOMAILBOX);
	ck_assert_uint_eq(held().n, 1);
}
END_TEST

START_TEST(keywords_get_the_numbers_of_the_target)
{
	uint32_t work = rig_create(&r, r.joe, "Work"), other = rig_create(&r, r.joe, "Other");
	struct shelf_restored done = {0};

	rig_fill(&r, r.joe, work, 2);
	rig_fill(&r, r.joe, other, 1);
	rig_flag(&r, r.joe, other, 1, 1, SHELF_FLAGS_ADD, 0, "zero");
	rig_flag(&r, r.joe, other, 1, 1, SHELF_FLAGS_ADD, 0, "one");
	rig_flag(&r, r.joe, work, 1, 1, SHELF_FLAGS_ADD, 0, "one");
	rig_flag(&r, r.joe, work, 1, 2, SHELF_FLAGS_ADD, SHELF_FLAGGED, "two");
	expunge(work, 1, 2);
	/* The mailbox they come from may be deleted itself. */
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("Work")), 0);
	ck_assert(held().last.mailbox_deleted);
	ck_assert_int_eq(restore(work, 1, 2, 0, &done), SHELF_ENOMAILBOX);
	ck_assert_int_eq(restore(work, 1, 2, other, &done), 0);
	ck_assert_uint_eq(done.messages, 2);
	ck_assert(has_keyword(other, 2, "one") && has_keyword(other, 2, "two"));
	ck_assert(!has_keyword(other, 2, "zero"));
	ck_assert(has_keyword(other, 3, "two") && !has_keyword(other, 3, "one"));
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, other).exists, 3);
}
END_TEST

START_TEST(the_quota_refuses_whole_transactions)
{
	struct shelf_restored done = {0};
	struct shelf_quota q;

	rig_fill(&r, r.joe, r.inbox, 250);
	expunge(r.inbox, 1, 250);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 199, 0), 0);
	ck_assert_int_eq(restore(r.inbox, 1, 250, 0, &done), SHELF_EQUOTA);
	q = rig_quota(&r, r.joe);
	ck_assert_uint_eq(done.messages, 100);
	ck_assert_uint_eq(q.used_messages, 100);
	ck_assert_uint_eq(q.held_messages, 150);
	ck_assert_uint_eq(done.bytes, q.used_bytes);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, q.used_bytes + q.held_bytes - 1, 0, 0), 0);
	ck_assert_int_eq(restore(r.inbox, 201, 250, 0, &done), 0);
	ck_assert_int_eq(restore(r.inbox, 1, 250, 0, &done), SHELF_EQUOTA);
	ck_assert_uint_eq(done.messages, 0);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, q.used_bytes + q.held_bytes, 250, 0), 0);
	ck_assert_int_eq(restore(r.inbox, 1, 250, 0, &done), 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 250);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
}
END_TEST

/* ---- Faults ------------------------------------------------------------------------------------------- */

static unsigned fault_at, fault_seen;

static int
inject(enum kv_point point)
{
	/* A failed commit is tried once more: two failures in a row make one. */
	unsigned n = fault_seen++;

	return n == fault_at || n == fault_at + 1 ? SHELF_EIO : 0;
}

/* Whatever write fails: each message is held or back, once, and the store is whole. */
START_TEST(a_fault_leaves_all_or_nothing)
{
	struct shelf_restored done = {0};
	struct shelf_quota q;
	bool gone, back = false;

	rig_fill(&r, r.joe, r.inbox, 2);
	rig_flag(&r, r.joe, r.inbox, 1, 2, SHELF_FLAGS_ADD, 0, "kept");
	expunge(r.inbox, 1, 2);
	for (fault_at = 0; fault_at < 40; fault_at++) {
		int rc;

		fault_seen = 0;
		kv_fault = inject;
		rc = restore(r.inbox, 1, 2, 0, &done);
		kv_fault = NULL;
		q = rig_quota(&r, r.joe);
		ck_assert_uint_eq(q.used_messages + q.held_messages, 2);
		gone = q.held_messages == 2;
		ck_assert(gone || q.used_messages == 2);
		ck_assert(rc != 0 || !gone);
		ck_assert(rc == 0 || rc == SHELF_EUNKNOWN || gone);
		ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, q.used_messages);
		ck_assert_uint_eq(rig_findings(&r), 0);
		if (rc == SHELF_EUNKNOWN)
			rig_reopen(&r);
		if (!gone) {
			back = true;
			break;
		}
	}
	ck_assert(back && fault_at > 5);
	ck_assert(has_keyword(r.inbox, 3, "kept") && has_keyword(r.inbox, 4, "kept"));
}
END_TEST

/* ---- Deleted mailboxes ------------------------------------------------------------------------------------ */

static int
on_deleted(void *arg, const struct shelf_deleted_mailbox *m)
{
	snprintf(arg, 256, "%.*s %u %u", (int)m->name.len, (const char *)m->name.data, m->messages, m->id);
	return 0;
}

/* "NAME MESSAGES ID" of the last one, "" when there is none. */
static const char *
deleted(void)
{
	static char text[256];

	text[0] = '\0';
	ck_assert_int_eq(shelf_deleted_mailbox_each(r.store, r.joe, on_deleted, text), 0);
	return text;
}

/* Restores mailbox ID; the name it got, or the error's. */
static const char *
bring_back(uint32_t id, const char *as)
{
	static struct shelf_buf name;
	int rc = shelf_mailbox_restore(r.store, r.joe, id, shelf_span_str(as), &name);

	return rc == 0 ? shelf_buf_cstr(&name) : shelf_err_name(rc);
}

static void
delete(const char *name)
{
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str(name)), 0);
}

START_TEST(a_mailbox_comes_back_as_it_was)
{
	uint32_t id = rig_create(&r, r.joe, "Box");
	struct shelf_mailbox was, is;
	struct shelf_quota before, after;
	struct shelf_msg msg;
	char text[64];

	rig_fill(&r, r.joe, id, 300);
	rig_flag(&r, r.joe, id, 5, 9, SHELF_FLAGS_ADD, SHELF_SEEN | SHELF_DELETED, "kept");
	expunge(id, 1, 3);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("Box"), true), 0);
	was = rig_mailbox(&r, r.joe, id);
	before = rig_quota(&r, r.joe);
	ck_assert_str_eq(deleted(), "");
	ck_assert_str_eq(bring_back(id, ""), "NOMAILBOX");
	delete("Box");
	snprintf(text, sizeof(text), "Box 297 %u", id);
	ck_assert_str_eq(deleted(), text);
	ck_assert_str_eq(bring_back(id, ""), "Box");
	is = rig_mailbox(&r, r.joe, id);
	after = rig_quota(&r, r.joe);
	ck_assert_mem_eq(&before, &after, sizeof(before));
	ck_assert_uint_gt(is.highestmodseq, was.highestmodseq);
	is.highestmodseq = was.highestmodseq;
	ck_assert_mem_eq(&was, &is, sizeof(was));
	ck_assert_int_eq(rig_msg(&r, r.joe, id, 5, &msg), 0);
	ck_assert_uint_eq(msg.flags, SHELF_SEEN | SHELF_DELETED);
	ck_assert(has_keyword(id, 9, "kept"));
	ck_assert_str_eq(deleted(), "");
	ck_assert_str_eq(bring_back(id, ""), "NOMAILBOX");
	/* It is a mailbox like others: what was expunged before goes back to it. */
	ck_assert_int_eq(restore(id, 1, 3, 0, &(struct shelf_restored){0}), 0);
	ck_assert_uint_eq(rig_append(&r, r.joe, id, "new", 0), 304);
	delete("Box");
	ck_assert_str_eq(bring_back(id, "Else/where"), "Else/where");
	ck_assert_uint_ne(rig_mailbox(&r, r.joe, id).uidvalidity, was.uidvalidity);
}
END_TEST

START_TEST(a_name_taken_again_gets_another_uidvalidity)
{
	uint32_t first = rig_create(&r, r.joe, "Box"), second, v2;

	delete("Box");
	second = rig_create(&r, r.joe, "Box");
	v2 = rig_mailbox(&r, r.joe, second).uidvalidity;
	ck_assert_str_eq(bring_back(first, "Box"), "EXISTS");
	ck_assert_str_eq(bring_back(first, "a//b"), "NAME");
	ck_assert_str_eq(bring_back(first, ""), "Box-restored");
	ck_assert_uint_gt(rig_mailbox(&r, r.joe, first).uidvalidity, v2);
	delete("Box");
	rig_create(&r, r.joe, "Box");
	ck_assert_int_eq(
	    shelf_mailbox_rename(r.store, r.joe, shelf_span_str("Box-restored"), shelf_span_str("x")), 0);
	rig_create(&r, r.joe, "Box-restored");
	ck_assert_str_eq(bring_back(second, ""), "Box-restored-2");
}
END_TEST

/* Of two that had the name, the one deleted last was its last owner and keeps its number. */
START_TEST(a_free_name_keeps_the_uidvalidity_of_its_last_owner)
{
	uint32_t first = rig_create(&r, r.joe, "Box"), second, v2;

	delete("Box");
	second = rig_create(&r, r.joe, "Box");
	v2 = rig_mailbox(&r, r.joe, second).uidvalidity;
	delete("Box");
	ck_assert_str_eq(bring_back(second, ""), "Box");
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, second).uidvalidity, v2);
	delete("Box");
	ck_assert_str_eq(bring_back(first, ""), "Box");
	ck_assert_uint_gt(rig_mailbox(&r, r.joe, first).uidvalidity, v2);
}
END_TEST

START_TEST(a_mailbox_asks_the_quota_and_its_date)
{
	struct shelf_store_params params = {
	    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20, .hold_s = UINT32_MAX};
	uint32_t id = rig_create(&r, r.joe, "Box");

	rig_fill(&r, r.joe, id, 3);
	delete("Box");
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 2, 0), 0);
	ck_assert_str_eq(bring_back(id, ""), "QUOTA");
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 3, 1), 0);
	ck_assert_str_eq(bring_back(id, ""), "QUOTA");
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 3, 2), 0);
	ck_assert_str_eq(bring_back(id, ""), "Box");
	rig_close(&r);
	/* Without a hold a deleted mailbox is due at once: its purge may have begun. */
	rig_open(&r, &params);
	id = rig_create(&r, r.joe, "Box");
	rig_fill(&r, r.joe, id, 3);
	delete("Box");
	ck_assert_str_eq(bring_back(id, ""), "NOMAILBOX");
	while (shelf_store_purge(r.store, 1000) == 1)
		;
	ck_assert_str_eq(deleted(), "");
	ck_assert_str_eq(bring_back(id, ""), "NOMAILBOX");
}
END_TEST

/* ---- A removal that has begun ---------------------------------------------------------------------------- */

struct first_row {
	uint32_t mailbox;
	bool put; /* what was taken */
	uint8_t value[64];
	size_t len;
};

/* Takes the row of a mailbox's first message, as the purge does first of all, or puts it back. */
static int
move_first_row(struct kv_txn *txn, void *arg)
{
	struct first_row *f = arg;
	struct mail_key key = mail_key2(f->mailbox, 1);
	struct shelf_span value;
	int rc;

	if (f->put)
		return kv_put(txn, KV_MSG, mail_key_span(&key), shelf_span(f->value, f->len));
	if ((rc = kv_get(kv_txn_view(txn), KV_MSG, mail_key_span(&key), &value)) != 0)
		return rc;
	f->len = value.len < sizeof(f->value) ? value.len : sizeof(f->value);
	memcpy(f->value, value.data, f->len);
	return kv_del(txn, KV_MSG, mail_key_span(&key));
}

/* The clock may be set back while a mailbox is being removed: its date alone does not tell. */
START_TEST(a_mailbox_half_removed_stays_away)
{
	struct first_row f = {.mailbox = rig_create(&r, r.joe, "Box")};

	rig_fill(&r, r.joe, f.mailbox, 3);
	delete("Box");
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, move_first_row, &f), 0);
	ck_assert_str_eq(bring_back(f.mailbox, ""), "NOMAILBOX");
	f.put = true;
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, move_first_row, &f), 0);
	ck_assert_str_eq(bring_back(f.mailbox, ""), "Box");
}
END_TEST

Suite *suite_restore(void);

Suite *
suite_restore(void)
{
	Suite *s = suite_create("restore");
	TCase *t = tcase_create("restore");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_message_comes_back_as_it_was);
	tcase_add_test(t, only_what_is_asked_for_comes_back);
	tcase_add_test(t, keywords_get_the_numbers_of_the_target);
	tcase_add_test(t, the_quota_refuses_whole_transactions);
	tcase_add_test(t, a_fault_leaves_all_or_nothing);
	tcase_add_test(t, a_mailbox_comes_back_as_it_was);
	tcase_add_test(t, a_name_taken_again_gets_another_uidvalidity);
	tcase_add_test(t, a_free_name_keeps_the_uidvalidity_of_its_last_owner);
	tcase_add_test(t, a_mailbox_asks_the_quota_and_its_date);
	tcase_add_test(t, a_mailbox_half_removed_stays_away);
	suite_add_tcase(s, t);
	return s;
}
