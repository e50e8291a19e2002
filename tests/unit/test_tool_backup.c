/* test_tool_backup.c - the verbs backup, backup verify, backup ls, restore: what they say, do twice, and refuse */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include "store_rig.h"
#include "support.h"
#include "tools.h"
#include "verb_rig.h"

static struct rig r;
static char file[4300], other[4300];

static void
setup(void)
{
	rig_open(&r, NULL);
	snprintf(file, sizeof file, "%s/backup", r.dir);
	snprintf(other, sizeof other, "%s/other", r.dir);
}

static void
teardown(void)
{
	rig_close(&r);
}

/* A verb on STORE with the backup and WORDS, separated by "|". */
static int
verb(tool_run_fn *fn, const char *store, bool json, const char *words)
{
	char all[5000];

	snprintf(all, sizeof all, "%s|%s", file, words);
	return verb_run_on(&r, store, fn, json, all);
}

static void
must_say(const char *text)
{
	ck_assert_msg(strstr(verb_out, text) != NULL, "no \"%s\" in: %s", text, verb_out);
}

START_TEST(saved_and_looked_into)
{
	rig_append(&r, r.joe, r.inbox, "one", 0);
	ck_assert_int_eq(verb(tool_backup, r.path, false, ""), EX_OK);
	must_say("generation 1: 2 accounts (0 unchanged), 1 messages");
	ck_assert_int_eq(verb(tool_backup, r.path, true, ""), EX_OK);
	must_say("\"generation\":2,\"accounts\":2,\"unchanged\":2");
	/* The rest needs no store. */
	ck_assert_int_eq(verb(tool_backup_verify, NULL, false, ""), EX_OK);
	must_say("generation 2 of ");
	must_say("0 problems");
	ck_assert_int_eq(verb(tool_backup_verify, NULL, true, "--generation|1"), EX_OK);
	must_say("\"generation\":1,");
	must_say("\"problems\":[]");
	ck_assert_int_eq(verb(tool_backup_verify, NULL, false, "--generation|7"), EX_NOINPUT);
	ck_assert_int_eq(verb(tool_backup_ls, NULL, false, ""), EX_OK);
	must_say("joe");
	ck_assert_int_eq(verb(tool_backup_ls, NULL, true, "joe"), EX_OK);
	must_say("[{\"name\":\"INBOX\",\"messages\":1,\"bytes\":116,\"deleted\":false}]");
	ck_assert_int_eq(verb(tool_backup_ls, NULL, false, "joe|INBOX"), EX_OK);
	must_say("one");
	ck_assert_int_eq(verb(tool_backup_ls, NULL, true, "--generations"), EX_OK);
	must_say("\"generation\":2");
	ck_assert_int_eq(verb(tool_backup_ls, NULL, false, "jim"), EX_NOUSER);
	ck_assert_int_eq(verb(tool_backup_ls, NULL, false, "joe|Sent"), EX_NOINPUT);
}
END_TEST

START_TEST(damage_is_told)
{
	int fd;

	rig_append(&r, r.joe, r.inbox, "one", 0);
	ck_assert_int_eq(verb(tool_backup, r.path, false, ""), EX_OK);
	fd = open(file, O_RDWR);
	ck_assert_int_eq(pwrite(fd, "damage", 6, 120), 6);
	close(fd);
	ck_assert_int_eq(verb(tool_backup_verify, NULL, false, ""), EX_DATAERR);
	ck_assert_int_eq(truncate(file, 70), 0);
	ck_assert_int_eq(verb(tool_backup_verify, NULL, false, ""), EX_NOINPUT);
	snprintf(file, sizeof file, "%s/nothing/backup", r.dir);
	ck_assert_int_eq(verb(tool_backup, r.path, false, ""), EX_CANTCREAT);
	snprintf(file, sizeof file, "%s/backup", r.dir);
	ck_assert_int_eq(truncate(file, 0), 0);
	ck_assert_int_eq(verb(tool_backup_ls, NULL, false, ""), EX_DATAERR);
	ck_assert_int_eq(verb(tool_restore, other, false, ""), EX_DATAERR);
}
END_TEST

START_TEST(restored_whole)
{
	rig_append(&r, r.joe, r.inbox, "one", 0);
	ck_assert_int_eq(verb(tool_backup, r.path, false, ""), EX_OK);
	ck_assert_int_eq(verb(tool_restore, other, false, "--dry-run"), EX_OK);
	must_say("would restore 2 accounts, 1 messages");
	ck_assert_int_ne(access(other, F_OK), 0);
	ck_assert_int_eq(verb(tool_restore, other, true, ""), EX_OK);
	must_say("\"accounts\":2,\"messages\":1");
	ck_assert_int_eq(verb(tool_check, other, false, ""), EX_USAGE); /* the file is no argument of it */
	ck_assert_int_eq(verb(tool_restore, other, false, ""), EX_CANTCREAT);
	ck_assert_int_eq(verb(tool_restore, r.path, false, ""), EX_CANTCREAT);
	ck_assert_int_eq(verb(tool_restore, NULL, false, ""), EX_USAGE);
}
END_TEST

/* Of joe's INBOX in the backup. */
static int
messages(bool json, const char *words)
{
	char all[512];

	snprintf(all, sizeof all, "--account|joe|--mailbox|INBOX|%s", words);
	return verb(tool_restore, r.path, json, all);
}

START_TEST(restored_in_parts)
{
	struct shelf_account a;
	struct shelf_uidset *all = rig_set(1, 3);

	rig_append(&r, r.joe, r.inbox, "one", 0);
	rig_append(&r, r.joe, r.inbox, "two", SHELF_SEEN);
	rig_append(&r, r.joe, r.inbox, "three", 0);
	ck_assert_int_eq(verb(tool_backup, r.path, false, ""), EX_OK);
	ck_assert_int_eq(verb(tool_restore, r.path, false, "--account|joe"), EX_CANTCREAT);
	ck_assert_int_eq(verb(tool_restore, r.path, false, "--account|joe|--as|jim"), EX_OK);
	must_say("restored 1 accounts, 3 messages");
	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("jim"), &a), 0);
	ck_assert_uint_eq(rig_quota(&r, a.id).used_messages, 3);
	ck_assert_int_eq(verb(tool_restore, r.path, false, "--account|eve"), EX_NOUSER);
	/* Messages: what is there is left alone. */
	ck_assert_int_eq(messages(false, ""), EX_OK);
	must_say("restored 0 messages, 0 B; 3 are there already");
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, all, 0, NULL), 0);
	ck_assert_int_eq(messages(false, "--subject|TWO|--dry-run"), EX_OK);
	must_say("would restore 1 messages");
	ck_assert_int_eq(messages(true, "--subject|TWO|--dry-run"), EX_OK);
	must_say("\"list\":[{\"uid\":2,");
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(messages(false, "--message|2:3"), EX_OK);
		ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 2);
	}
	ck_assert_int_eq(messages(false, "--to|back|--as|ann|--from|nobody"), EX_OK);
	must_say("restored 0 messages");
	ck_assert_int_eq(shelf_quota_set(r.store, r.ann, 0, 2, 0), 0);
	ck_assert_int_eq(messages(false, "--as|ann"), EX_CANTCREAT);
	ck_assert_int_eq(verb(tool_restore, r.path, false, "--account|joe|--mailbox|Sent"), EX_NOINPUT);
	ck_assert_int_eq(verb(tool_restore, r.path, false, "--mailbox|INBOX"), EX_USAGE);
	ck_assert_int_eq(verb(tool_restore, r.path, false, "--account|joe|--message|2"), EX_USAGE);
	ck_assert_int_eq(messages(false, "--message|3:2"), EX_USAGE);
	ck_assert_int_eq(messages(false, "--message|2,x"), EX_USAGE);
	ck_assert_int_eq(messages(false, "--since|soon"), EX_USAGE);
	shelf_uidset_free(&all);
}
END_TEST

Suite *suite_tool_backup(void);

Suite *
suite_tool_backup(void)
{
	Suite *s = suite_create("tool_backup");
	TCase *t = tcase_create("tool_backup");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, saved_and_looked_into);
	tcase_add_test(t, damage_is_told);
	tcase_add_test(t, restored_whole);
	tcase_add_test(t, restored_in_parts);
	suite_add_tcase(s, t);
	return s;
}
