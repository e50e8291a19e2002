/* test_tool_acl.c - the verbs acl show, set and rm */
#include <stdlib.h>

#include <check.h>

#include "verb_rig.h"

static struct rig r;

START_TEST(entries_are_set_and_shown)
{
	rig_open(&r, NULL);
	ck_assert_int_eq(verb_run(&r, tool_acl_show, true, "joe|inbox"), EX_OK);
	ck_assert_str_eq(verb_out, "[{\"identifier\":\"joe\",\"rights\":\"lrswipkxteacd\"}]\n");
	ck_assert_int_eq(verb_run(&r, tool_acl_set, true, "joe|INBOX|ann|lrs"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "{\"identifier\":\"ann\",\"rights\":\"lrs\"}]"));
	ck_assert_int_eq(verb_run(&r, tool_acl_set, false, "joe|INBOX|Ann|+d"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "lrsted         ann\n"));
	ck_assert_int_eq(verb_run(&r, tool_acl_set, false, "joe|INBOX|ann|~s"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "lrted          ann\n"));
	ck_assert_int_eq(verb_run(&r, tool_acl_set, false, "joe|INBOX|anyone|l"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_acl_rm, false, "joe|INBOX|anyone"), EX_OK);
	ck_assert_ptr_null(strstr(verb_out, "anyone"));
	/* What an owner always has stays. */
	ck_assert_int_eq(verb_run(&r, tool_acl_rm, false, "joe|INBOX|joe"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "la             joe\n"));
	/* Who was deleted can still be removed. */
	ck_assert_int_eq(verb_run(&r, tool_acl_rm, false, "joe|INBOX|nobody"), EX_OK);
	rig_close(&r);
}
END_TEST

START_TEST(mistakes_are_told)
{
	rig_open(&r, NULL);
	ck_assert_int_eq(verb_run(&r, tool_acl_show, false, "joe|nowhere"), EX_NOINPUT);
	ck_assert_int_eq(verb_run(&r, tool_acl_show, false, "nobody|INBOX"), EX_NOUSER);
	ck_assert_int_eq(verb_run(&r, tool_acl_show, false, "joe"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_acl_set, false, "joe|INBOX|ann|lq"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_acl_set, false, "joe|INBOX|nobody|l"), EX_NOUSER);
	ck_assert_int_eq(verb_run(&r, tool_acl_set, false, "joe|INBOX|a b|l"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_acl_set, false, "joe|INBOX|ann"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_acl_rm, false, "joe|INBOX"), EX_USAGE);
	rig_close(&r);
}
END_TEST

Suite *suite_tool_acl(void);
Suite *
suite_tool_acl(void)
{
	Suite *s = suite_create("tool_acl");
	TCase *tc = tcase_create("tool_acl");

	tcase_add_test(tc, entries_are_set_and_shown);
	tcase_add_test(tc, mistakes_are_told);
	suite_add_tcase(s, tc);
	return s;
}
