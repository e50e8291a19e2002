/* test_tool_undelete.c - the verb undelete on a real store: what it chooses, what it says, run twice */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include "verb_rig.h"

static struct rig r;

static void
setup(void)
{
	rig_open(&r, NULL);
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
}

static void
teardown(void)
{
	rig_close(&r);
}

/* `undelete joe WORDS...`, words separated by "|". */
static int
undelete(const char *words)
{
	char all[512];

	snprintf(all, sizeof all, "joe|%s", words);
	return verb_run(&r, tool_undelete, false, all);
}

static void
append(uint32_t mailbox, const char *header)
{
	struct shelf_append item = {.internaldate_s = 1000000000};
	struct shelf_append_result result;

	ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, header, strlen(header)), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, "\r\n\r\nbody\r\n", 10), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, mailbox, &item, 1, &result), 0);
	shelf_draft_free(&item.draft);
}

static void
expunge(uint32_t mailbox)
{
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, mailbox, NULL, 0, NULL), 0);
}

static uint32_t
count(const char *name)
{
	struct shelf_mailbox m = {0};
	struct shelf_rd *rd = NULL;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	if (shelf_mailbox_find(rd, shelf_span_str(name), &m) != 0)
		m.exists = UINT32_MAX;
	shelf_rd_end(&rd);
	return m.exists;
}

START_TEST(chooses_by_header_mailbox_and_time)
{
	uint32_t work = rig_create(&r, r.joe, "Work");

	append(r.inbox, "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\n"
	                "Subject: =?iso-8859-1?q?Gr=FC=DFe?= aus Wien");
	append(r.inbox, "From: Ann <ann@Example.com>\r\nSubject: lunch");
	append(work, "From: Ann <ann@example.com>\r\nSubject: report");
	expunge(r.inbox);
	expunge(work);
	ck_assert_int_eq(undelete("--dry-run|--subject|Grüne"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "nothing to restore"));
	ck_assert_int_eq(undelete("--dry-run|--subject|GRUSSE"), EX_OK); /* as SEARCH compares: ß is ss, ü is u */
	ck_assert_ptr_nonnull(strstr(verb_out, "would restore 1 messages"));
	ck_assert_int_eq(undelete("--dry-run|--subject|GRÜßE AUS"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "Jürgen <j@example.org>  Grüße aus Wien"));
	ck_assert_ptr_nonnull(strstr(verb_out, "would restore 1 messages"));
	ck_assert_uint_eq(count("INBOX"), 0);
	ck_assert_int_eq(undelete("--from|jÜrgen"), EX_OK);
	ck_assert_uint_eq(count("INBOX"), 1);
	ck_assert_int_eq(undelete("--from|ANN@EXAMPLE|--mailbox|Work|--json"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"mailbox\":\"Work\",\"to\":\"Work\",\"messages\":1"));
	ck_assert_uint_eq(count("Work"), 1);
	ck_assert_uint_eq(count("INBOX"), 1);
	ck_assert_int_eq(undelete("--since|2100-01-01"), EX_OK);
	ck_assert_uint_eq(count("INBOX"), 1);
	ck_assert_int_eq(undelete("--since|2h|--to|Rescue/all|--dry-run"), EX_OK);
	ck_assert_uint_eq(count("Rescue/all"), UINT32_MAX);
	ck_assert_int_eq(undelete("--since|2h|--to|Rescue/all"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "INBOX -> Rescue/all"));
	ck_assert_uint_eq(count("Rescue/all"), 1);
	ck_assert_int_eq(undelete("--to|Rescue/all"), EX_OK);
	ck_assert_str_eq(verb_out, "nothing to restore\n");
	ck_assert_uint_eq(count("Rescue/all"), 1);
}
END_TEST

START_TEST(a_full_account_gets_nothing_rather_than_a_part)
{
	rig_fill(&r, r.joe, r.inbox, 150);
	expunge(r.inbox);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 149, 0), 0);
	ck_assert_int_eq(undelete(""), EX_CANTCREAT);
	ck_assert_uint_eq(count("INBOX"), 0);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 150, 0), 0);
	ck_assert_int_eq(undelete(""), EX_OK);
	ck_assert_uint_eq(count("INBOX"), 150);
}
END_TEST

START_TEST(a_deleted_mailbox_is_listed_and_comes_back)
{
	uint32_t box = rig_create(&r, r.joe, "Box");

	rig_fill(&r, r.joe, box, 2);
	expunge(box);
	rig_fill(&r, r.joe, box, 3);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("Box")), 0);
	/* Removed messages of a deleted mailbox have nowhere to go, and it is said. */
	ck_assert_int_eq(undelete(""), EX_NOINPUT);
	ck_assert_int_eq(undelete("--list-mailboxes"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "3 messages"));
	ck_assert_ptr_nonnull(strstr(verb_out, "Box\n"));
	ck_assert_int_eq(undelete("--whole-mailbox|Box|--dry-run"), EX_OK);
	ck_assert_uint_eq(count("Box"), UINT32_MAX);
	ck_assert_int_eq(undelete("--whole-mailbox|Box|--json"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"to\":\"Box\",\"messages\":3"));
	ck_assert_uint_eq(count("Box"), 3);
	ck_assert_int_eq(undelete("--whole-mailbox|Box"), EX_NOINPUT);
	ck_assert_int_eq(undelete("--list-mailboxes|--json"), EX_OK);
	ck_assert_str_eq(verb_out, "[]\n");
	ck_assert_int_eq(undelete(""), EX_OK);
	ck_assert_uint_eq(count("Box"), 5);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
	ck_assert_int_eq(undelete("--since|yesterday"), EX_USAGE);
	ck_assert_int_eq(undelete("--since|2026-02-30"), EX_USAGE);
	ck_assert_int_eq(undelete("--since|2026-02-03 24:00"), EX_USAGE);
	ck_assert_int_eq(undelete("--since|2026-02-03 10:00:00x"), EX_USAGE);
	ck_assert_int_eq(undelete("--since|2026-02-03T10:00:59"), EX_OK);
	ck_assert_int_eq(undelete("--since|none"), EX_USAGE);
	ck_assert_int_eq(undelete("--to|a//b"), EX_USAGE);
	ck_assert_int_eq(undelete("--list-mailboxes|--dry-run"), EX_USAGE);
	ck_assert_int_eq(undelete("--whole-mailbox|a|--from|b"), EX_USAGE);
	ck_assert_int_eq(undelete("--mailbox|Nowhere"), EX_NOINPUT);
	ck_assert_int_eq(undelete("--mailbox|inbox"), EX_OK);
}
END_TEST

Suite *suite_tool_undelete(void);

Suite *
suite_tool_undelete(void)
{
	Suite *s = suite_create("tool_undelete");
	TCase *t = tcase_create("tool_undelete");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, chooses_by_header_mailbox_and_time);
	tcase_add_test(t, a_full_account_gets_nothing_rather_than_a_part);
	tcase_add_test(t, a_deleted_mailbox_is_listed_and_comes_back);
	tcase_add_test(t, what_makes_no_sense_is_refused);
	suite_add_tcase(s, t);
	return s;
}
