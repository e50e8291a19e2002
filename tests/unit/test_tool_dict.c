/* test_tool_dict.c - the verbs dict list, train, recompress, prune: what they take, say and answer */
#include <stdio.h>
#include <stdlib.h>

#include <check.h>

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
	rig_close(&r);
}

static void
fill(uint32_t account)
{
	char text[64];

	for (unsigned i = 0; i < 300; i++) {
		snprintf(text, sizeof text, "the same beginning, and then letter %u", i * 7919);
		rig_append(&r, account, r.inbox, text, 0);
	}
}

START_TEST(train_recompress_list_prune)
{
	fill(r.joe);
	fill(r.ann);
	ck_assert_int_eq(verb_run(&r, tool_dict_train, false, "--size|2K|--sample|500"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "partition 0: bodies up to 64 KiB: learned from "));
	ck_assert_ptr_nonnull(strstr(verb_out, "partition 1: bodies up to 64 KiB: learned from "));
	ck_assert_ptr_nonnull(strstr(verb_out, "is current from now on"));
	ck_assert_ptr_nonnull(strstr(verb_out, "smaller than without"));
	ck_assert_int_eq(verb_run(&r, tool_dict_recompress, true, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "{\"blobs\":600,"));
	ck_assert_ptr_nonnull(strstr(verb_out, "\"finished\":true}"));
	ck_assert_int_eq(verb_run(&r, tool_dict_recompress, false, ""), EX_OK);
	ck_assert_int_eq(strncmp(verb_out, "0 messages", 10), 0);
	ck_assert_int_eq(verb_run(&r, tool_dict_prune, false, "--partition|1"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_dict_list, true, "--partition|1"), EX_OK);
	ck_assert_ptr_null(strstr(verb_out, "\"partition\":0"));
	ck_assert_ptr_null(strstr(verb_out, "\"blobs\":0"));
	ck_assert_ptr_nonnull(strstr(verb_out, "\"kind\":\"bodies\",\"current\":true,"));
	ck_assert_ptr_nonnull(strstr(verb_out, "\"blobs\":300}"));
	ck_assert_int_eq(verb_run(&r, tool_dict_list, false, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "  used by 300  current\n"));
}
END_TEST

START_TEST(a_small_store_is_told_so)
{
	ck_assert_int_eq(verb_run(&r, tool_dict_train, false, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "0 messages are too few to learn from"));
	ck_assert_int_eq(verb_run(&r, tool_dict_train, true, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "[{\"partition\":0,\"bodies\":{\"learned\":0,"));
}
END_TEST

static const struct wrong {
	tool_run_fn *run;
	const char *words;
} wrongs[] = {
	{tool_dict_list, "--partition|2"},   {tool_dict_list, "--partition|x"}, {tool_dict_list, "word"},
	{tool_dict_train, "--size|100"},     {tool_dict_train, "--size|2M"},    {tool_dict_train, "--sample|0"},
	{tool_dict_train, "--sample|100001"}, {tool_dict_recompress, "--partition|99"},
	{tool_dict_prune, "--partition|2"},
};

START_TEST(what_is_wrong_is_refused)
{
	ck_assert_int_eq(verb_run(&r, wrongs[_i].run, false, wrongs[_i].words), EX_USAGE);
	ck_assert_str_eq(verb_out, "");
}
END_TEST

Suite *suite_tool_dict(void);
Suite *
suite_tool_dict(void)
{
	Suite *s = suite_create("tool_dict");
	TCase *tc = tcase_create("tool_dict");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, train_recompress_list_prune);
	tcase_add_test(tc, a_small_store_is_told_so);
	tcase_add_loop_test(tc, what_is_wrong_is_refused, 0, sizeof wrongs / sizeof *wrongs);
	suite_add_tcase(s, tc);
	return s;
}
