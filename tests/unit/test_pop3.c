/* test_pop3.c - what is kept of messages for POP3: fetched when, hidden, unique-ids; what becomes of it */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mailshelf/restore.h>

#include "mail.h"
#include "verb_rig.h"

static struct rig r;

static void
setup(void)
{
	rig_open(&r, NULL);
}

static void
teardown(void)
{
	rig_close(&r); /* with a check */
}

static int
note(uint32_t mailbox, int64_t when, uint32_t first, uint32_t last, bool hide, bool show)
{
	struct shelf_uidset *set = rig_set(first, last);
	const struct shelf_pop3_note n = {.fetched = when != 0 ? set : NULL, .fetched_s = when,
	    .hide = hide ? set : NULL, .show = show ? set : NULL};
	int rc = shelf_pop3_note(r.store, r.joe, mailbox, &n);

	shelf_uidset_free(&set);
	return rc;
}

/* BYTES NULL: the fetched ones, else the hidden. */
static const char *
listed(uint32_t mailbox, int64_t when, uint64_t *bytes)
{
	struct shelf_uidset *set = shelf_uidset_new();
	struct shelf_rd *rd;
	const char *text;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	if (bytes == NULL)
		ck_assert_int_eq(shelf_pop3_fetched_before(rd, mailbox, when, set), 0);
	else
		ck_assert_int_eq(shelf_pop3_hidden(rd, mailbox, set, bytes), 0);
	shelf_rd_end(&rd);
	text = rig_text(set);
	shelf_uidset_free(&set);
	return text;
}

static const char *
fetched_before(uint32_t mailbox, int64_t when)
{
	return listed(mailbox, when, NULL);
}

static const char *
hidden(uint32_t mailbox, uint64_t *bytes)
{
	return listed(mailbox, 0, bytes);
}

static int
uidl(uint32_t mailbox, uint32_t uid, const char *text)
{
	return shelf_uidl_set(r.store, r.joe, mailbox, uid, shelf_span_str(text));
}

/* "uid=text " of all in a mailbox. */
static const char *
uidls(uint32_t mailbox)
{
	static char out[1000];
	char text[SHELF_UIDL_MAX + 1];
	struct shelf_rd *rd;
	uint32_t uid = 0;
	size_t len = 0;

	out[0] = '\0';
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	while (shelf_uidl_next(rd, mailbox, uid + 1, &uid, text) == 1)
		len += (size_t)snprintf(out + len, sizeof out - len, "%u=%s ", uid, text);
	shelf_rd_end(&rd);
	return out;
}

static void
expunge(uint32_t mailbox, uint32_t first, uint32_t last)
{
	struct shelf_uidset *uids = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, mailbox, uids, 0, NULL), 0);
	shelf_uidset_free(&uids);
}

static void
copy(uint32_t from, uint32_t to, uint32_t first, uint32_t last, bool move)
{
	struct shelf_copy_result result = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, from, to, uids, move, &result), 0);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
}

static int
count_rows(struct kv_txn *txn, void *arg)
{
	uint64_t pages, texts;
	int rc = kv_count(kv_txn_view(txn), KV_POP3, &pages);

	if (rc == 0)
		rc = kv_count(kv_txn_view(txn), KV_UIDL, &texts);
	*(uint64_t *)arg = pages + texts;
	return rc;
}

static uint64_t
rows(void)
{
	uint64_t n;

	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, count_rows, &n), 0);
	return n;
}

START_TEST(fetched_and_hidden_are_kept)
{
	uint64_t bytes, size = 0;
	struct shelf_pop3_state state;
	struct shelf_rd *rd;
	struct shelf_msg m;

	rig_fill(&r, r.joe, r.inbox, 700);
	ck_assert_uint_eq(rows(), 0);
	ck_assert_int_eq(note(r.inbox, 1000, 250, 260, false, false), 0);
	ck_assert_int_eq(note(r.inbox, 2000, 255, 300, false, false), 0);
	ck_assert_int_eq(note(r.inbox, 1500, 258, 258, false, false), 0); /* not the last */
	ck_assert_int_eq(note(r.inbox, 3000, 699, 4000, false, false), 0); /* most are not there */
	ck_assert_str_eq(fetched_before(r.inbox, 1001), "250:254");
	ck_assert_str_eq(fetched_before(r.inbox, 2000), "250:254");
	ck_assert_str_eq(fetched_before(r.inbox, 2001), "250:300");
	ck_assert_str_eq(fetched_before(r.inbox, INT64_MAX), "250:300,699:700");
	ck_assert_int_eq(note(r.inbox, 0, 1, 3, true, false), 0);
	ck_assert_int_eq(note(r.inbox, 0, 600, 600, true, false), 0);
	ck_assert_int_eq(note(r.inbox, 0, 600, 600, true, false), 0);
	for (uint32_t uid = 1; uid <= 3; uid++) {
		ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, uid, &m), 0);
		size += m.size;
	}
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 600, &m), 0);
	ck_assert_str_eq(hidden(r.inbox, &bytes), "1:3,600");
	ck_assert_uint_eq(bytes, size + m.size);
	ck_assert_int_eq(note(r.inbox, 0, 3, 700, false, true), 0);
	ck_assert_str_eq(hidden(r.inbox, &bytes), "1:2");
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_pop3_get(rd, r.inbox, 255, &state), 0);
	ck_assert_int_eq(state.fetched_s, 2000);
	ck_assert(!state.hidden);
	shelf_rd_end(&rd);
	ck_assert_int_eq(note(4711, 1, 1, 1, false, false), SHELF_ENOMAILBOX);
	ck_assert_uint_eq(rows(), 3); /* pages 0, 1, 2 */
}
END_TEST

/* A commit for each session, not for each message, and none when there is nothing to say. */
START_TEST(a_session_costs_one_commit)
{
	uint64_t modseq;

	rig_fill(&r, r.joe, r.inbox, 700);
	modseq = rig_modseq(&r, r.joe);
	ck_assert_int_eq(note(r.inbox, 1000, 1, 700, false, false), 0);
	ck_assert_uint_eq(rig_modseq(&r, r.joe), modseq + 1);
	ck_assert_int_eq(note(r.inbox, 900, 1, 700, false, false), 0);
	ck_assert_int_eq(note(r.inbox, 0, 1, 700, false, false), 0);
	ck_assert_uint_eq(rig_modseq(&r, r.joe), modseq + 1);
	/* Flags and their modseqs are not touched. */
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).highestmodseq, modseq);
}
END_TEST

/* For who cannot wait: the store does, when it is closed. */
START_TEST(what_was_fetched_is_noted_later)
{
	struct shelf_uidset *set = rig_set(2, 300);

	rig_fill(&r, r.joe, r.inbox, 300);
	shelf_pop3_note_later(r.store, r.joe, r.inbox, &(struct shelf_pop3_note){.fetched = set, .fetched_s = 1000});
	shelf_pop3_note_later(r.store, r.joe, 4711, &(struct shelf_pop3_note){.fetched = set, .fetched_s = 1000});
	shelf_uidset_free(&set);
	rig_reopen(&r);
	ck_assert_str_eq(fetched_before(r.inbox, 1001), "2:300");
}
END_TEST

START_TEST(it_goes_with_the_message)
{
	uint32_t box = rig_create(&r, r.joe, "box");
	uint64_t bytes;

	rig_fill(&r, r.joe, r.inbox, 300);
	ck_assert_int_eq(note(r.inbox, 1000, 1, 300, true, false), 0);
	ck_assert_int_eq(uidl(r.inbox, 10, "ten"), 0);
	ck_assert_int_eq(uidl(r.inbox, 20, "twenty"), 0);
	expunge(r.inbox, 10, 12);
	ck_assert_str_eq(fetched_before(r.inbox, INT64_MAX), "1:9,13:300");
	ck_assert_str_eq(hidden(r.inbox, &bytes), "1:9,13:300");
	/* MOVE takes all along, COPY nothing. */
	copy(r.inbox, box, 20, 21, true);
	ck_assert_str_eq(fetched_before(box, 1001), "1:2");
	ck_assert_str_eq(hidden(box, &bytes), "1:2");
	ck_assert_str_eq(uidls(box), "1=twenty ");
	copy(box, r.inbox, 1, 2, false);
	ck_assert_str_eq(fetched_before(r.inbox, INT64_MAX), "1:9,13:19,22:300");
	ck_assert_str_eq(uidls(r.inbox), "10=ten ");
	/* Within one mailbox. */
	copy(box, box, 1, 1, true);
	ck_assert_str_eq(uidls(box), "3=twenty ");
	ck_assert_str_eq(hidden(box, &bytes), "2:3");
	expunge(r.inbox, 1, 302);
	ck_assert_str_eq(hidden(r.inbox, &bytes), "");
	ck_assert_uint_eq(bytes, 0);
}
END_TEST

START_TEST(undelete_brings_the_unique_id_back)
{
	struct shelf_restored done = {0};
	struct shelf_uidset *set = rig_set(3, 4);
	uint64_t bytes;

	rig_fill(&r, r.joe, r.inbox, 5);
	ck_assert_int_eq(note(r.inbox, 1000, 1, 5, true, false), 0);
	ck_assert_int_eq(uidl(r.inbox, 3, "three"), 0);
	ck_assert_int_eq(uidl(r.inbox, 4, "four"), 0);
	expunge(r.inbox, 3, 4);
	/* A held one gives it up. */
	ck_assert_int_eq(uidl(r.inbox, 5, "four"), 0);
	ck_assert_int_eq(shelf_restore(r.store, r.joe, r.inbox, set, 0, &done), 0);
	ck_assert_uint_eq(done.messages, 2);
	ck_assert_str_eq(uidls(r.inbox), "5=four 6=three ");
	ck_assert_str_eq(hidden(r.inbox, &bytes), "1:2,5");
	ck_assert_str_eq(fetched_before(r.inbox, INT64_MAX), "1:2,5");
	shelf_uidset_free(&set);
}
END_TEST

START_TEST(nothing_is_left_of_what_is_gone)
{
	uint32_t box = rig_create(&r, r.joe, "box");

	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_GUARD_MESSAGES, 10000), 0);
	rig_fill(&r, r.joe, box, 300);
	ck_assert_int_eq(note(box, 1000, 1, 300, true, false), 0);
	ck_assert_int_eq(uidl(box, 7, "seven"), 0);
	ck_assert_int_eq(uidl(box, 8, "eight"), 0);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_HOLD, 0), 0);
	expunge(box, 7, 7);
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), 0);
	ck_assert_str_eq(uidls(box), "8=eight ");
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	ck_assert_uint_gt(rows(), 0);
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), 0);
	ck_assert_uint_eq(rows(), 0);
	/* Without hold, at once. */
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_HOLD, UINT32_MAX), 0);
	rig_append(&r, r.joe, r.inbox, "one", 0);
	ck_assert_int_eq(uidl(r.inbox, 1, "eight"), 0);
	expunge(r.inbox, 1, 1);
	ck_assert_uint_eq(rows(), 0);
	rig_append(&r, r.joe, r.inbox, "two", 0);
	ck_assert_int_eq(note(r.inbox, 1000, 1, 300, true, false), 0);
	ck_assert_int_eq(uidl(r.inbox, 2, "eight"), 0);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), 0);
	ck_assert_int_eq(kv_update(r.store->kv, r.ann, 0, count_rows, &(uint64_t){0}), 0);
}
END_TEST

START_TEST(unique_ids_are_unique)
{
	uint32_t box = rig_create(&r, r.joe, "box"), uidvalidity = rig_mailbox(&r, r.joe, box).uidvalidity;
	char made[SHELF_UIDL_MAX + 1], longest[SHELF_UIDL_MAX + 2];

	rig_fill(&r, r.joe, r.inbox, 3);
	rig_fill(&r, r.joe, box, 3);
	ck_assert_int_eq(uidl(r.inbox, 1, "a"), 0);
	ck_assert_int_eq(uidl(r.inbox, 1, "a"), 0);
	ck_assert_int_eq(uidl(r.inbox, 2, "a"), SHELF_EEXISTS);
	ck_assert_int_eq(uidl(box, 2, "a"), SHELF_EEXISTS);
	ck_assert_int_eq(uidl(r.inbox, 1, "b"), 0);
	ck_assert_int_eq(uidl(box, 2, "a"), 0);
	ck_assert_int_eq(uidl(box, 9, "c"), SHELF_ENOMESSAGE);
	ck_assert_int_eq(uidl(4711, 1, "c"), SHELF_ENOMAILBOX);
	ck_assert_int_eq(uidl(box, 3, ""), SHELF_ESYNTAX);
	ck_assert_int_eq(uidl(box, 3, "a b"), SHELF_ESYNTAX);
	ck_assert_int_eq(uidl(box, 3, "\x7f"), SHELF_ESYNTAX);
	memset(longest, '~', sizeof longest);
	longest[SHELF_UIDL_MAX + 1] = '\0';
	ck_assert_int_eq(uidl(box, 3, longest), SHELF_ESYNTAX);
	ck_assert_int_eq(uidl(box, 3, longest + 1), 0);
	/* None that the store makes, in any mailbox, or will make. */
	shelf_uidl_make(uidvalidity, 77, made);
	ck_assert_int_eq(uidl(r.inbox, 3, made), SHELF_EEXISTS);
	shelf_uidl_make(UINT32_MAX, 1, made);
	ck_assert_int_eq(uidl(r.inbox, 3, made), SHELF_EEXISTS);
	/* Others of that form are. */
	ck_assert_int_eq(uidl(r.inbox, 3, "0000000a4a8cbbd1"), 0);
	/* A deleted mailbox gives them up. */
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	ck_assert_int_eq(uidl(r.inbox, 2, "a"), 0);
	ck_assert_str_eq(uidls(r.inbox), "1=b 2=a 3=0000000a4a8cbbd1 ");
}
END_TEST

/* In another process, too: what it had is free when it ends. */
START_TEST(one_has_the_lock)
{
	struct shelf_pop3_lock *one, *two, *other;
	int status;
	pid_t pid;

	ck_assert_int_eq(shelf_pop3_lock(r.store, r.joe, &one), 0);
	ck_assert_int_eq(shelf_pop3_lock(r.store, r.joe, &two), SHELF_EBUSY);
	ck_assert_ptr_null(two);
	ck_assert_int_eq(shelf_pop3_lock(r.store, r.ann, &other), 0);
	if ((pid = fork()) == 0)
		_exit(shelf_pop3_lock(r.store, r.joe, &two) == SHELF_EBUSY ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	shelf_pop3_unlock(&one);
	shelf_pop3_unlock(&one);
	if ((pid = fork()) == 0)
		_exit(shelf_pop3_lock(r.store, r.joe, &two) == 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(shelf_pop3_lock(r.store, r.joe, &two), 0);
	shelf_pop3_unlock(&two);
	shelf_pop3_unlock(&other);
}
END_TEST

START_TEST(verbs)
{
	struct shelf_uidset *some = rig_set(2, 4);
	struct shelf_pop3_note hide = {.fetched = some, .fetched_s = 1000, .hide = some};

	rig_fill(&r, r.joe, r.inbox, 10);
	ck_assert_int_eq(verb_run(&r, tool_pop3_list, true, "joe"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "[]"));
	ck_assert_int_eq(shelf_pop3_note(r.store, r.joe, r.inbox, &hide), 0);
	ck_assert_int_eq(verb_run(&r, tool_pop3_list, true, "joe"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "[{\"mailbox\":\"INBOX\",\"hidden\":3,\"hidden_bytes\":"));
	ck_assert_ptr_nonnull(strstr(verb_out, ",\"fetched\":3}]"));
	ck_assert_int_eq(verb_run(&r, tool_pop3_list, false, "joe"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "3 fetched        3 hidden"));
	ck_assert_int_eq(verb_run(&r, tool_pop3_unhide, false, "joe|--dry-run"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "INBOX: 3 messages"));
	ck_assert_int_eq(verb_run(&r, tool_pop3_unhide, true, "joe"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "{\"dry_run\":false,\"messages\":3,"));
	ck_assert_int_eq(verb_run(&r, tool_pop3_unhide, true, "joe"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"messages\":0,"));
	ck_assert_int_eq(verb_run(&r, tool_pop3_unhide, false, "joe|--mailbox|none"), EX_NOINPUT);
	ck_assert_int_eq(verb_run(&r, tool_pop3_unhide, false, "nobody"), EX_NOUSER);
	ck_assert_int_eq(verb_run(&r, tool_pop3_list, false, ""), EX_USAGE);
	shelf_uidset_free(&some);
}
END_TEST

Suite *suite_pop3(void);
Suite *
suite_pop3(void)
{
	Suite *s = suite_create("pop3");
	TCase *t = tcase_create("kept");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, fetched_and_hidden_are_kept);
	tcase_add_test(t, a_session_costs_one_commit);
	tcase_add_test(t, what_was_fetched_is_noted_later);
	tcase_add_test(t, it_goes_with_the_message);
	tcase_add_test(t, undelete_brings_the_unique_id_back);
	tcase_add_test(t, nothing_is_left_of_what_is_gone);
	tcase_add_test(t, unique_ids_are_unique);
	tcase_add_test(t, one_has_the_lock);
	tcase_add_test(t, verbs);
	suite_add_tcase(s, t);
	return s;
}
