/* test_message.c - append, flags, expunge, copy and move, quota: what a message goes through */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

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

START_TEST(append_gives_rising_uids_and_counts)
{
	struct shelf_mailbox m;
	struct shelf_msg msg;

	ck_assert_uint_eq(rig_append(&r, r.joe, r.inbox, "one", 0), 1);
	ck_assert_uint_eq(rig_append(&r, r.joe, r.inbox, "two", SHELF_SEEN | SHELF_DELETED), 2);
	m = rig_mailbox(&r, r.joe, r.inbox);
	ck_assert_uint_eq(m.exists, 2);
	ck_assert_uint_eq(m.unseen, 1);
	ck_assert_uint_eq(m.deleted, 1);
	ck_assert_uint_eq(m.uidnext, 3);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 2, &msg), 0);
	ck_assert_uint_eq(msg.flags, SHELF_SEEN | SHELF_DELETED);
	ck_assert_uint_eq(m.bytes, 2 * msg.size);
	ck_assert_uint_eq(m.deleted_bytes, msg.size);
	ck_assert_uint_eq(msg.modseq, m.highestmodseq);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 3, &msg), SHELF_ENOMESSAGE);
	ck_assert_int_eq(rig_msg(&r, r.ann, r.inbox, 1, &msg), SHELF_ENOMESSAGE);
}
END_TEST

START_TEST(multiappend_is_all_or_nothing)
{
	struct shelf_append items[3];
	struct shelf_append_result result;
	struct shelf_draft *small = rig_draft(&r, "small", 10),
			   *large = rig_draft(&r, "large", 5000);

	for (int i = 0; i < 3; i++)
		items[i] = (struct shelf_append){.draft = i == 2 ? large : small,
						 .internaldate_s = INT64_MIN};
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 2000, 0, 0), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, items, 3, &result), SHELF_EQUOTA);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, items, 2, &result), 0);
	ck_assert_uint_eq(result.first_uid, 1);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).uidnext, 3);
	shelf_draft_free(&small);
	shelf_draft_free(&large);
}
END_TEST

START_TEST(quota_is_exact_to_the_byte)
{
	struct shelf_draft *d = rig_draft(&r, "exact", 100);
	struct shelf_append item = {.draft = d, .internaldate_s = INT64_MIN};
	struct shelf_append_result result;
	uint64_t size = shelf_draft_size(d);

	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 2 * size, 0, 0), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), 0);
	ck_assert_int_eq(shelf_deliver_probe(r.store, r.joe, size), 0);
	ck_assert_int_eq(shelf_deliver_probe(r.store, r.joe, size + 1), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 2 * size - 1, 3, 0), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 2, 0), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 0, 0), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), 0);
	shelf_draft_free(&d);
}
END_TEST

START_TEST(removing_frees_the_quota_and_works_when_over)
{
	struct shelf_uidset *gone = shelf_uidset_new();
	struct shelf_quota q;

	rig_fill(&r, r.joe, r.inbox, 10);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 1, 1, 0), 0);
	rig_flag(&r, r.joe, r.inbox, 1, 5, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, SHELF_EXPUNGE_DELETED, gone), 0);
	ck_assert_str_eq(rig_text(gone), "1:5");
	q = rig_quota(&r, r.joe);
	ck_assert_uint_eq(q.used_messages, 5);
	ck_assert_uint_eq(q.held_messages, 5);
	ck_assert_uint_eq(q.used_bytes, q.held_bytes);
	shelf_uidset_free(&gone);
}
END_TEST

START_TEST(flags_change_only_what_differs)
{
	struct shelf_uidset *uids = rig_set(1, 3), *modified = shelf_uidset_new();
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .flags = SHELF_SEEN};
	struct shelf_msg before, after;
	uint64_t modseq = 0;

	rig_fill(&r, r.joe, r.inbox, 3);
	rig_flag(&r, r.joe, r.inbox, 2, 2, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 2, &before), 0);
	change.unchanged_since = before.modseq - 1;
	ck_assert_int_eq(
	    shelf_msg_set_flags(r.store, r.joe, r.inbox, uids, &change, modified, &modseq), 0);
	ck_assert_str_eq(rig_text(modified), "2");
	ck_assert_uint_eq(modseq, before.modseq + 1);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 2, &after), 0);
	ck_assert_uint_eq(after.modseq, before.modseq);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 3, &after), 0);
	ck_assert_uint_eq(after.modseq, modseq);
	/* The same again changes nothing: no modseq is taken. */
	rig_flag(&r, r.joe, r.inbox, 1, 3, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	ck_assert_uint_eq(rig_modseq(&r, r.joe), modseq);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&modified);
}
END_TEST

START_TEST(keywords_keep_their_numbers)
{
	struct shelf_keywords kw;
	struct shelf_msg msg;
	struct shelf_rd *rd;
	struct shelf_span bad = shelf_span_str("not an atom");
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .keywords = &bad, .nkeywords = 1};
	struct shelf_uidset *uids = rig_set(1, 1);

	rig_fill(&r, r.joe, r.inbox, 2);
	rig_flag(&r, r.joe, r.inbox, 1, 1, SHELF_FLAGS_ADD, 0, "$Junk");
	rig_flag(&r, r.joe, r.inbox, 1, 2, SHELF_FLAGS_ADD, 0, "work");
	rig_flag(&r, r.joe, r.inbox, 2, 2, SHELF_FLAGS_ADD, 0, "$JUNK");
	rig_flag(&r, r.joe, r.inbox, 1, 1, SHELF_FLAGS_REMOVE, 0, "never-seen");
	rig_flag(&r, r.joe, r.inbox, 1, 1, SHELF_FLAGS_REPLACE, SHELF_FLAGGED, "third");
	ck_assert_int_eq(shelf_msg_set_flags(r.store, r.joe, r.inbox, uids, &change, NULL, NULL),
			 SHELF_ESYNTAX);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_mailbox_keywords(rd, r.inbox, &kw), 0);
	ck_assert_uint_eq(kw.count, 3);
	ck_assert(shelf_span_is(kw.name[0], "$Junk") && shelf_span_is(kw.name[2], "third"));
	ck_assert_int_eq(shelf_msg_get(rd, r.inbox, 1, &msg), 0);
	ck_assert_uint_eq(msg.flags, SHELF_FLAGGED);
	ck_assert_uint_eq(msg.keywords[0], 4);
	ck_assert_int_eq(shelf_msg_get(rd, r.inbox, 2, &msg), 0);
	ck_assert_uint_eq(msg.keywords[0], 3);
	shelf_rd_end(&rd);
	shelf_uidset_free(&uids);
}
END_TEST

START_TEST(keywords_are_256_and_no_more)
{
	char name[16];
	struct shelf_span extra = shelf_span_str("one-too-many");
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD,
					   .keywords = &extra,
					   .nkeywords = 1,
					   .unchanged_since = UINT64_MAX};
	struct shelf_uidset *uids = rig_set(1, 300);
	struct shelf_msg msg;

	rig_fill(&r, r.joe, r.inbox, 300);
	for (int i = 0; i < SHELF_KEYWORDS_MAX; i++) {
		snprintf(name, sizeof(name), "k%d", i);
		rig_flag(&r, r.joe, r.inbox, 1, 300, SHELF_FLAGS_ADD, SHELF_SEEN, name);
	}
	ck_assert_int_eq(shelf_msg_set_flags(r.store, r.joe, r.inbox, uids, &change, NULL, NULL),
			 SHELF_ELIMIT);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 300, &msg), 0);
	for (int i = 0; i < 4; i++)
		ck_assert(msg.keywords[i] == UINT64_MAX);
	/* The long page shrinks again without leaving parts behind. */
	rig_flag(&r, r.joe, r.inbox, 1, 300, SHELF_FLAGS_REPLACE, 0, "");
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 300, &msg), 0);
	ck_assert(msg.keywords[3] == 0 && msg.flags == 0);
	shelf_uidset_free(&uids);
}
END_TEST

START_TEST(expunged_mail_is_held_readable_and_then_goes)
{
	struct shelf_store_params now = {.partitions = 1, .map_bytes = 64u << 20, .hold_s = 1};
	struct shelf_body *body = NULL;
	struct shelf_msg msg;
	struct shelf_rd *rd;
	int rc;

	rig_close(&r);
	rig_open(&r, &now);
	rig_append(&r, r.joe, r.inbox, "held", SHELF_SEEN);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, 0, NULL), 0);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), 0);
	ck_assert(msg.gone && msg.flags == SHELF_SEEN);
	ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), 0);
	shelf_body_close(&body);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_msg_next(rd, r.inbox, 1, SHELF_MSG_FLAGS, &msg), SHELF_ENOMESSAGE);
	shelf_rd_end(&rd);
	ck_assert_uint_eq(rig_findings(&r), 0);
	for (int64_t end = shelf_mono_ms() + 2100; shelf_mono_ms() < end;)
		;
	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), SHELF_ENOMESSAGE);
	ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), SHELF_ENOMESSAGE);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
}
END_TEST

START_TEST(copy_shares_the_body_and_maps_keywords)
{
	struct shelf_copy_result res = {.from_uids = shelf_uidset_new(),
					.to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = rig_set(1, 400);
	uint32_t to = rig_create(&r, r.joe, "Archive");
	struct shelf_msg a, b;

	rig_fill(&r, r.joe, r.inbox, 300);
	rig_append(&r, r.joe, to, "before", 0);
	rig_flag(&r, r.joe, to, 1, 1, SHELF_FLAGS_ADD, 0, "other");
	rig_flag(&r, r.joe, r.inbox, 7, 7, SHELF_FLAGS_ADD, SHELF_FLAGGED | SHELF_DELETED, "mine");
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, to, uids, false, &res), 0);
	ck_assert_str_eq(rig_text(res.from_uids), "1:300");
	ck_assert_str_eq(rig_text(res.to_uids), "2:301");
	ck_assert_uint_eq(res.uidvalidity, rig_mailbox(&r, r.joe, to).uidvalidity);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 7, &a), 0);
	ck_assert_int_eq(rig_msg(&r, r.joe, to, 8, &b), 0);
	ck_assert(a.blob == b.blob && memcmp(a.email_id, b.email_id, 16) == 0);
	ck_assert_uint_eq(b.flags, SHELF_FLAGGED | SHELF_DELETED);
	ck_assert_uint_eq(b.keywords[0], 2);
	ck_assert_int_eq(b.internaldate_s, a.internaldate_s);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, to).deleted_bytes, a.size);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&res.from_uids);
	shelf_uidset_free(&res.to_uids);
}
END_TEST

START_TEST(copy_over_quota_leaves_the_target_alone)
{
	struct shelf_copy_result res = {.from_uids = shelf_uidset_new(),
					.to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = rig_set(1, 10);
	uint32_t to = rig_create(&r, r.joe, "Archive");

	rig_fill(&r, r.joe, r.inbox, 10);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 15, 0), 0);
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, to, uids, false, &res),
			 SHELF_EQUOTA);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, to).uidnext, 1);
	/* A move adds nothing. */
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, to, uids, true, &res), 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, to).exists, 10);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 0);
	/* The second mover comes too late: nothing is doubled. */
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, to, uids, true, &res), 0);
	ck_assert_uint_eq(shelf_uidset_count(res.to_uids), 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, to).exists, 10);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&res.from_uids);
	shelf_uidset_free(&res.to_uids);
}
END_TEST

START_TEST(move_within_a_mailbox_gives_new_uids)
{
	struct shelf_copy_result res = {.from_uids = shelf_uidset_new(),
					.to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = rig_set(250, 270);
	struct shelf_msg msg;

	rig_fill(&r, r.joe, r.inbox, 260);
	rig_flag(&r, r.joe, r.inbox, 255, 255, SHELF_FLAGS_ADD, SHELF_DRAFT, "kept");
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, r.inbox, uids, true, &res), 0);
	ck_assert_str_eq(rig_text(res.from_uids), "250:260");
	ck_assert_str_eq(rig_text(res.to_uids), "261:271");
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 266, &msg), 0);
	ck_assert_uint_eq(msg.flags, SHELF_DRAFT);
	ck_assert_uint_eq(msg.keywords[0], 1);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 260);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&res.from_uids);
	shelf_uidset_free(&res.to_uids);
}
END_TEST

static int
replace(uint32_t from, uint32_t uid, uint32_t to, const char *text, size_t len, uint32_t *uid_out)
{
	struct shelf_append item = {.draft = rig_draft(&r, text, len), .flags = SHELF_DRAFT,
				    .internaldate_s = INT64_MIN};
	struct shelf_append_result result;
	int rc = shelf_msg_replace(r.store, r.joe, from, uid, to, &item, &result);

	ck_assert_int_eq(result.rc, rc);
	*uid_out = result.first_uid;
	shelf_draft_free(&item.draft);
	return rc;
}

START_TEST(replacing_is_one_change_and_fits_a_full_box)
{
	uint32_t drafts = rig_create(&r, r.joe, "Drafts"), uid;
	struct shelf_quota before, after;
	struct shelf_msg msg;
	uint64_t modseq;

	ck_assert_uint_eq(rig_append(&r, r.joe, drafts, "one", 0), 1);
	ck_assert_uint_eq(rig_append(&r, r.joe, drafts, "two", SHELF_DELETED), 2);
	before = rig_quota(&r, r.joe);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, before.used_bytes, 2, 0), 0);
	modseq = rig_modseq(&r, r.joe);
	ck_assert_int_eq(shelf_replace_probe(r.store, r.joe, drafts, 2, before.used_bytes), SHELF_EQUOTA);
	ck_assert_int_eq(replace(drafts, 2, drafts, "much longer", 500, &uid), SHELF_EQUOTA);
	ck_assert_int_eq(replace(drafts, 3, drafts, "x", 0, &uid), SHELF_ENOMESSAGE);
	ck_assert_uint_eq(rig_modseq(&r, r.joe), modseq);
	/* As long as what goes: not a byte more is there. The same bytes again: one body, two references. */
	ck_assert_int_eq(rig_msg(&r, r.joe, drafts, 2, &msg), 0);
	ck_assert_int_eq(shelf_replace_probe(r.store, r.joe, drafts, 2, msg.size), 0);
	ck_assert_int_eq(replace(drafts, 2, drafts, "owt", 100, &uid), 0);
	ck_assert_uint_eq(uid, 3);
	ck_assert_uint_eq(rig_modseq(&r, r.joe), modseq + 1);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, drafts).deleted, 0);
	after = rig_quota(&r, r.joe);
	ck_assert_uint_eq(after.used_bytes, before.used_bytes);
	ck_assert_uint_eq(after.used_messages, 2);
	ck_assert_uint_eq(after.held_messages, 1);
	ck_assert_int_eq(rig_msg(&r, r.joe, drafts, 2, &msg), 0);
	ck_assert(msg.gone);
	ck_assert_int_eq(replace(drafts, 2, drafts, "x", 0, &uid), SHELF_ENOMESSAGE);
	/* Into another mailbox. */
	ck_assert_int_eq(replace(drafts, 3, r.inbox, "sent", 0, &uid), 0);
	ck_assert_uint_eq(uid, 1);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, drafts).exists, 1);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), 0);
	ck_assert_uint_eq(msg.flags, SHELF_DRAFT);
	ck_assert_int_eq(replace(drafts, 1, 99, "x", 0, &uid), SHELF_ENOMAILBOX);
}
END_TEST

START_TEST(replacing_without_hold_keeps_a_body_in_both)
{
	uint32_t uid;
	struct shelf_msg msg;

	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_HOLD, UINT32_MAX), 0);
	ck_assert_uint_eq(rig_append(&r, r.joe, r.inbox, "same", 0), 1);
	ck_assert_int_eq(replace(r.inbox, 1, r.inbox, "same", 100, &uid), 0);
	ck_assert_uint_eq(uid, 2);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), SHELF_ENOMESSAGE);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 2, &msg), 0);
}
END_TEST

START_TEST(one_delivery_to_many_is_one_body)
{
	struct shelf_delivery to[4] = {{.account = r.joe},
				       {.account = r.joe, .mailbox = shelf_span_str("New/Box")},
				       {.account = 99},
				       {.account = r.ann}};
	struct shelf_append_result res[4];
	struct shelf_draft *d = rig_draft(&r, "many", 3 << 20); /* several frames, staged */
	struct shelf_msg a, b;

	ck_assert_int_eq(shelf_account_set_services(r.store, r.ann, SHELF_SERVICE_IMAP, false), 0);
	shelf_deliver(r.store, d, to, 4, res);
	ck_assert_int_eq(res[0].rc, 0);
	ck_assert_int_eq(res[1].rc, 0);
	ck_assert_int_eq(res[2].rc, SHELF_ENOACCOUNT);
	ck_assert_int_eq(res[3].rc, SHELF_EDISABLED);
	ck_assert_int_eq(rig_msg(&r, r.joe, res[0].mailbox, 1, &a), 0);
	ck_assert_int_eq(rig_msg(&r, r.joe, res[1].mailbox, 1, &b), 0);
	ck_assert_uint_ne(res[0].mailbox, res[1].mailbox);
	ck_assert_uint_eq(a.blob, b.blob);
	shelf_draft_free(&d);
}
END_TEST

/* Random bytes do not shrink, so this draft is staged, spilled to a file and many chunks long. */
START_TEST(large_bodies_read_back_by_range)
{
	size_t len = 5 * 256 * 1024 + 12345;
	uint8_t *bytes = shelf_alloc(len);
	struct shelf_append item = {.internaldate_s = 5, .zone_min = -90};
	struct shelf_append_result res;
	struct shelf_body *body;
	struct shelf_span got;
	struct shelf_msg msg;

	shelf_random(bytes, len);
	ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
	for (size_t at = 0; at < len; at += 10007)
		ck_assert_int_eq(
		    shelf_draft_write(item.draft, bytes + at, len - at < 10007 ? len - at : 10007),
		    0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &res), 0);
	shelf_draft_free(&item.draft);
	rig_reopen(&r);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), 0);
	ck_assert_int_eq(msg.internaldate_s, 5);
	ck_assert_int_eq(msg.zone_min, -90);
	ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), 0);
	ck_assert_uint_eq(shelf_body_size(body), len);
	for (size_t at = 0; at < len; at += got.len) {
		ck_assert_int_eq(shelf_body_read(body, at, 70000, &got), 0);
		ck_assert_uint_gt(got.len, 0);
		ck_assert(memcmp(got.data, bytes + at, got.len) == 0);
	}
	ck_assert_int_eq(shelf_body_read(body, len, 1, &got), 0);
	ck_assert_uint_eq(got.len, 0);
	ck_assert_int_eq(shelf_body_read(body, 256 * 1024 - 3, 10, &got), 0);
	ck_assert_uint_eq(got.len, 3);
	shelf_body_close(&body);
	free(bytes);
}
END_TEST

START_TEST(a_staged_draft_that_is_not_linked_leaves_nothing)
{
	size_t len = 4 << 20;
	uint8_t *bytes = shelf_alloc(len);
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result res;
	struct shelf_store_stats before, after;
	int rc;

	shelf_random(bytes, len);
	ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, bytes, len), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	ck_assert_int_eq(shelf_store_stats(r.store, &before), 0);
	/* The mailbox is not there: found out after the staging. */
	ck_assert_int_eq(shelf_append(r.store, r.joe, 77, &item, 1, &res), SHELF_ENOMAILBOX);
	shelf_draft_free(&item.draft);
	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(shelf_store_stats(r.store, &after), 0);
	ck_assert_uint_lt(after.file_bytes - after.free_bytes,
			  before.file_bytes - before.free_bytes + (1 << 20));
	free(bytes);
}
END_TEST

START_TEST(an_import_stores_each_item_once)
{
	struct shelf_append items[3];
	uint8_t ids[3][16] = {{1}, {2}, {1}}, stored[3];
	struct shelf_append_result res;
	struct shelf_draft *d = rig_draft(&r, "import", 10);
	struct shelf_rd *rd;

	for (int i = 0; i < 3; i++)
		items[i] = (struct shelf_append){.draft = d, .internaldate_s = 100 + i};
	ck_assert_int_eq(shelf_import_append(r.store, r.joe, r.inbox, items,
					     (const uint8_t(*)[16])ids, 3, stored, &res),
			 0);
	ck_assert(stored[0] == 1 && stored[1] == 1 && stored[2] == 0);
	ck_assert_int_eq(shelf_import_append(r.store, r.joe, r.inbox, items,
					     (const uint8_t(*)[16])ids, 3, stored, &res),
			 0);
	ck_assert(stored[0] == 0 && stored[1] == 0 && stored[2] == 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 2);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.ann, &rd), 0);
	ck_assert_int_eq(shelf_import_probe(rd, (const uint8_t(*)[16])ids, 3, stored), 0);
	ck_assert_uint_eq(stored[0], 1);
	shelf_rd_end(&rd);
	shelf_draft_free(&d);
}
END_TEST

static uint32_t
import_as(uint32_t mailbox, uint32_t uid, uint8_t *stored)
{
	static uint32_t last;
	struct shelf_append item = {.draft = rig_draft(&r, "kept", 10), .uid = uid, .internaldate_s = 100};
	struct shelf_append_result res;
	uint8_t id[1][16] = {{0}};

	++last;
	memcpy(id[0], &last, sizeof(last));
	ck_assert_int_eq(
	    shelf_import_append(r.store, r.joe, mailbox, &item, (const uint8_t(*)[16])id, 1, stored, &res), 0);
	shelf_draft_free(&item.draft);
	return res.first_uid;
}

START_TEST(an_import_keeps_uids)
{
	static const uint32_t wanted[] = {5, 300, 300, 7, 0, 2000000, SHELF_UID_KEPT_MAX + 1, SHELF_UID_KEPT_MAX};
	static const uint32_t got[] = {5, 300, 301, 302, 303, 2000000, 2000001, SHELF_UID_KEPT_MAX};
	uint8_t stored;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		ck_assert_uint_eq(import_as(r.inbox, wanted[i], &stored), got[i]);
		ck_assert_uint_eq(stored, wanted[i] == got[i] ? SHELF_IMPORT_STORED | SHELF_IMPORT_UID_KEPT
							      : SHELF_IMPORT_STORED);
	}
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).uidnext, SHELF_UID_KEPT_MAX + 1);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 8);
}
END_TEST

/* No UIDVALIDITY stands for two mailboxes, ever. */
START_TEST(a_mailbox_adopts_a_uidvalidity)
{
	uint32_t other = rig_create(&r, r.joe, "other"), third, high = (uint32_t)shelf_now_s() + 1000000;
	uint8_t stored;

	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, r.inbox, 0), SHELF_EINVALID);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, r.inbox, UINT32_MAX), SHELF_EINVALID);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, 77, 1000), SHELF_ENOMAILBOX);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, 77, r.inbox, 1000), SHELF_ENOACCOUNT);
	/* The account may have given it to a mailbox that is gone. */
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, r.inbox, (uint32_t)shelf_now_s() - 60), SHELF_EEXISTS);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, r.inbox, 1000), 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).uidvalidity, 1000);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, r.inbox, 1000), 0);
	import_as(r.inbox, 50, &stored);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, r.inbox, 1000), 0);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, r.inbox, 1001), SHELF_EBUSY);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, other, 1000), SHELF_EEXISTS);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, other, 1001), 0);
	/* It stays taken when its mailbox goes. */
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("other")), 0);
	other = rig_create(&r, r.joe, "other");
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, other, 1001), SHELF_EEXISTS);
	/* One of a clock that is ahead is new, and the next is greater. */
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, other, high), 0);
	third = rig_create(&r, r.joe, "third");
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, third).uidvalidity, high + 1);
	ck_assert_int_eq(shelf_mailbox_adopt(r.store, r.joe, third, high), SHELF_EEXISTS);
}
END_TEST

START_TEST(atomic_expunge_is_one_change)
{
	struct shelf_uidset *uids = rig_set(3, 1500), *gone = shelf_uidset_new();
	uint64_t before;

	rig_fill(&r, r.joe, r.inbox, 1500);
	before = rig_modseq(&r, r.joe);
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, uids, SHELF_EXPUNGE_ATOMIC, gone), 0);
	ck_assert_str_eq(rig_text(gone), "3:1500");
	ck_assert_uint_eq(rig_modseq(&r, r.joe), before + 1);
	/* In slices the same set takes several. */
	rig_fill(&r, r.joe, r.inbox, 1500);
	before = rig_modseq(&r, r.joe);
	shelf_uidset_clear(gone);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, 0, gone), 0);
	ck_assert_str_eq(rig_text(gone), "1:2,1501:3000");
	ck_assert_uint_gt(rig_modseq(&r, r.joe), before + 1);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&gone);
}
END_TEST

Suite *suite_message(void);
Suite *
suite_message(void)
{
	Suite *s = suite_create("message");
	TCase *tc = tcase_create("message");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, append_gives_rising_uids_and_counts);
	tcase_add_test(tc, multiappend_is_all_or_nothing);
	tcase_add_test(tc, quota_is_exact_to_the_byte);
	tcase_add_test(tc, removing_frees_the_quota_and_works_when_over);
	tcase_add_test(tc, flags_change_only_what_differs);
	tcase_add_test(tc, keywords_keep_their_numbers);
	tcase_add_test(tc, keywords_are_256_and_no_more);
	tcase_add_test(tc, expunged_mail_is_held_readable_and_then_goes);
	tcase_add_test(tc, copy_shares_the_body_and_maps_keywords);
	tcase_add_test(tc, copy_over_quota_leaves_the_target_alone);
	tcase_add_test(tc, move_within_a_mailbox_gives_new_uids);
	tcase_add_test(tc, replacing_is_one_change_and_fits_a_full_box);
	tcase_add_test(tc, replacing_without_hold_keeps_a_body_in_both);
	tcase_add_test(tc, one_delivery_to_many_is_one_body);
	tcase_add_test(tc, large_bodies_read_back_by_range);
	tcase_add_test(tc, a_staged_draft_that_is_not_linked_leaves_nothing);
	tcase_add_test(tc, an_import_stores_each_item_once);
	tcase_add_test(tc, an_import_keeps_uids);
	tcase_add_test(tc, a_mailbox_adopts_a_uidvalidity);
	tcase_add_test(tc, atomic_expunge_is_one_change);
	suite_add_tcase(s, tc);
	return s;
}
