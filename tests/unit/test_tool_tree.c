/* test_tool_tree.c - Maildir, Maildir++ and trees of files: what is mail, where it goes, in what order */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#include <mailshelf/message.h>

#include "tool_rig.h"

static void
put(struct tool_rig *r, const char *name, const char *text)
{
	tool_rig_file(r, name, text, strlen(text));
}

static void
dir(struct tool_rig *r, const char *name)
{
	char path[300];

	snprintf(path, sizeof path, "%s/%s", r->dir, name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

/* "folder=text flags keywords" of each message. */
static const char *
seen(const struct tool_rig *r)
{
	static char text[4096];
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < r->n && at < sizeof text; i++) {
		const struct tool_rig_message *m = &r->messages[i];

		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s=%.*s/%u/%s", i > 0 ? " " : "",
		    m->folder, (int)strcspn(m->bytes, "\r\n"), m->bytes, m->flags, m->keywords);
	}
	return text;
}

START_TEST(flags_of_names)
{
	static const struct {
		const char *name;
		uint32_t flags, letters;
	} rows[] = {
		{"1.a:2,", 0, 0},
		{"1.a:2,DFRST", SHELF_DRAFT | SHELF_FLAGGED | SHELF_ANSWERED | SHELF_SEEN | SHELF_DELETED, 0},
		{"1.a:2,Sac", SHELF_SEEN, 5},
		{"1.a:2,P", 0, 1u << 26},
		{"1.a", 0, 0},
		{"1.a:1,S", 0, 0},
		{"1.a,S=10,W=12:2,SF", SHELF_SEEN | SHELF_FLAGGED, 0},
		{"1.a:2,S,X", SHELF_SEEN, 0},
		{"1.a:2,?!", 0, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint32_t flags, letters;

		source_maildir_flags(rows[i].name, &flags, &letters);
		ck_assert_msg(flags == rows[i].flags && letters == rows[i].letters, "%s", rows[i].name);
	}
}
END_TEST

START_TEST(order_of_names)
{
	ck_assert_int_lt(source_maildir_order("999.x", "1000.a"), 0);
	ck_assert_int_lt(source_maildir_order("0999.x", "1000.a"), 0);
	ck_assert_int_lt(source_maildir_order("1000.M1", "1000.M2"), 0);
	ck_assert_int_gt(source_maildir_order("b", "a"), 0);
	ck_assert_int_eq(source_maildir_order("12.a", "12.a"), 0);
	ck_assert_int_eq(source_maildir_order("0", "0"), 0);
}
END_TEST

START_TEST(a_maildir)
{
	struct tool_rig *r = tool_rig();
	struct timespec times[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
	char path[300];

	put(r, "cur/900.b:2,S", "S: 2\n\nx\n");
	put(r, "cur/90.a:2,FaZb", "S: 1\n\nx\n");
	put(r, "new/1000.c", "S: 3\n\nx\n");
	put(r, "new/1001.d:2,S", "S: 4\n\nx\n");
	put(r, "tmp/5.e", "S: unfinished\n\nx\n");
	put(r, "cur/.hidden", "S: hidden\n\nx\n");
	put(r, "dovecot-keywords", "0 $Label1\n1 Work\nx\n99 none\n");
	put(r, ".Sent/cur/1.x:2,SPa", "S: 5\n\nx\n");
	dir(r, ".Sent/new");
	put(r, ".Sent/dovecot-keywords", "0 other\n");
	put(r, ".A.B&AOk-/cur/1.x:2,", "S: 6\n\nx\n");
	dir(r, ".A.B&AOk-/new");
	dir(r, ".Empty");
	dir(r, ".Empty/cur");
	dir(r, ".Empty/new");
	dir(r, ".NotOne");
	snprintf(path, sizeof path, "%s/cur/90.a:2,FaZb", r->dir);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
	ck_assert_int_eq(tool_rig_run(r, "", SOURCE_AUTO), 0);
	ck_assert_str_eq(seen(r), "=S: 1/4/$Label1 Work =S: 2/1/ =S: 3/0/ =S: 4/0/ A/B\xc3\xa9=S: 6/0/ "
	                          "Sent=S: 5/1/other $Forwarded");
	ck_assert_str_eq(r->folders, "maildir: maildir:A/B\xc3\xa9 maildir:Empty maildir:Sent ");
	ck_assert_int_eq(r->messages[0].date_s, 1700000000);
	ck_assert_uint_eq(r->problems, 0);
	tool_rig_end(r);
}
END_TEST

START_TEST(links_and_pipes_are_left_out)
{
	struct tool_rig *r = tool_rig();
	char path[300];

	put(r, "cur/1.a:2,", "S: 1\n\nx\n");
	dir(r, "new");
	snprintf(path, sizeof path, "%s/cur/2.b:2,", r->dir);
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof path, "%s/cur/3.c:2,", r->dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(tool_rig_run(r, "", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 1);
	ck_assert_uint_eq(r->problems, 2);
	tool_rig_end(r);
}
END_TEST

START_TEST(a_file_that_goes_away)
{
	struct tool_rig *r = tool_rig();
	struct source_plan *plan = NULL;
	char path[300];

	put(r, "cur/1.a:2,", "S: 1\n\nx\n");
	put(r, "cur/2.b:2,", "S: 2\n\nx\n");
	put(r, "cur/3.c:2,", "");
	dir(r, "new");
	ck_assert_int_eq(source_plan_new(r->dir, SOURCE_AUTO, &r->sink, &plan), 0);
	ck_assert_uint_eq(source_plan_files(plan), 3);
	ck_assert_uint_eq(source_plan_bytes(plan), 16);
	snprintf(path, sizeof path, "%s/cur/1.a:2,", r->dir);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(source_run(plan, &r->sink), 0);
	ck_assert_uint_eq(r->n, 1);
	ck_assert_uint_eq(r->problems, 2);
	ck_assert_str_eq(r->last_problem, "3.c:2,@0: empty message");
	source_plan_free(&plan);
	tool_rig_end(r);
}
END_TEST

#define SEP "From a@example.org Mon Jan  5 10:00:00 2026\n"
START_TEST(a_tree)
{
	struct tool_rig *r = tool_rig();

	put(r, "10.eml", "S: 2\n\nx\n");
	put(r, "9.eml", "S: 1\n\nx\n");
	put(r, "list.mbox", SEP "S: 3\n\nx\n\n" SEP "S: 4\n\nx\n");
	put(r, "sub/deep/1.eml", "S: 6\n\nx\n");
	put(r, "sub/plain", "Subject: 5\n\nx\n");
	put(r, "sub/unnamed", SEP "S: 7\n\nx\n");
	put(r, "notes.txt", "no mail in here\n");
	put(r, "user/cur/1.x:2,S", "S: 8\n\nx\n");
	dir(r, "user/new");
	put(r, "user/.Sent/cur/1.x:2,S", "S: 9\n\nx\n");
	dir(r, "user/.Sent/new");
	ck_assert_int_eq(tool_rig_run(r, "", SOURCE_AUTO), 0);
	ck_assert_str_eq(seen(r), "=S: 1/0/ =S: 2/0/ list=S: 3/0/ list=S: 4/0/ sub=Subject: 5/0/ "
	    "sub/unnamed=S: 7/0/ sub/deep=S: 6/0/ user=S: 8/1/ user/Sent=S: 9/1/");
	ck_assert_uint_eq(r->problems, 1);
	ck_assert_str_eq(r->last_problem, "notes.txt@0: neither an mbox nor a message");
	tool_rig_end(r);
}
END_TEST

START_TEST(formats_asked_for)
{
	struct tool_rig *r = tool_rig();

	put(r, "a.txt", SEP "S: 1\n\nx\n");
	ck_assert_int_eq(tool_rig_run(r, "", SOURCE_EML), 0);
	ck_assert_uint_eq(r->n, 1);
	ck_assert_int_eq(strncmp(r->messages[0].bytes, "From ", 5), 0);
	tool_rig_clear(r);
	ck_assert_int_eq(tool_rig_run(r, "", SOURCE_MBOXRD), 0);
	ck_assert_str_eq(seen(r), "a.txt=S: 1/0/");
	tool_rig_clear(r);
	ck_assert_int_eq(tool_rig_run(r, "", SOURCE_MAILDIR), SHELF_ESYNTAX);
	ck_assert_int_eq(tool_rig_run(r, "a.txt", SOURCE_MAILDIR), SHELF_ESYNTAX);
	ck_assert_int_eq(tool_rig_run(r, "none", SOURCE_AUTO), SHELF_EMISSING);
	ck_assert_uint_eq(r->problems, 3);
	tool_rig_end(r);
}
END_TEST

START_TEST(one_file)
{
	struct tool_rig *r = tool_rig();

	put(r, "m.eml", "S: 1\n\nx");
	ck_assert_int_eq(tool_rig_run(r, "m.eml", SOURCE_AUTO), 0);
	ck_assert(tool_rig_is(r, 0, "S: 1\r\n\r\nx", 9));
	ck_assert_str_eq(r->folders, "eml: ");
	tool_rig_clear(r);
	put(r, "what", "root:x:0:0:root:/root:/bin/bash\n");
	ck_assert_int_eq(tool_rig_run(r, "what", SOURCE_AUTO), SHELF_ESYNTAX);
	ck_assert_uint_eq(r->problems, 1);
	tool_rig_end(r);
}
END_TEST

Suite *suite_tool_tree(void);
Suite *
suite_tool_tree(void)
{
	Suite *s = suite_create("tool_tree");
	TCase *tc = tcase_create("tree");

	tcase_add_test(tc, flags_of_names);
	tcase_add_test(tc, order_of_names);
	tcase_add_test(tc, a_maildir);
	tcase_add_test(tc, links_and_pipes_are_left_out);
	tcase_add_test(tc, a_file_that_goes_away);
	tcase_add_test(tc, a_tree);
	tcase_add_test(tc, formats_asked_for);
	tcase_add_test(tc, one_file);
	suite_add_tcase(s, tc);
	return s;
}
