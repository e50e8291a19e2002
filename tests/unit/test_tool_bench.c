/* test_tool_bench.c - `bench`: its report, and that nothing of it stays */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "verb_rig.h"

static struct rig r;

static bool
something_stays(void)
{
	const struct dirent *e;
	DIR *d = opendir(r.dir);
	bool stays = false;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		stays = stays || strncmp(e->d_name, "mailshelf-bench-", 16) == 0;
	closedir(d);
	return stays;
}

START_TEST(a_short_run)
{
	char words[5000];
	const char *p;
	unsigned long long n = 0;

	rig_open(&r, NULL);
	snprintf(words, sizeof words, "%s|--seconds|1|--size|2K", r.dir);
	ck_assert_int_eq(verb_run(&r, tool_bench, true, words), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"durable\":"));
	for (p = verb_out; (p = strstr(p, "\"writers\":")) != NULL; p++, n++)
		;
	ck_assert_uint_eq(n, 3);
	ck_assert_ptr_nonnull(p = strstr(verb_out, "\"messages\":"));
	ck_assert_int_eq(sscanf(p, "\"messages\":%llu", &n), 1);
	ck_assert_uint_gt(n, 0);
	ck_assert_ptr_nonnull(p = strstr(verb_out, "\"read_bytes\":"));
	ck_assert_int_eq(sscanf(p, "\"read_bytes\":%llu", &n), 1);
	ck_assert_uint_gt(n, 0);
	ck_assert(!something_stays());
	rig_close(&r);
}
END_TEST

START_TEST(what_it_refuses)
{
	char words[5000];

	rig_open(&r, NULL);
	snprintf(words, sizeof words, "%s|--seconds|0", r.dir);
	ck_assert_int_eq(verb_run(&r, tool_bench, false, words), EX_USAGE);
	snprintf(words, sizeof words, "%s|--size|17M", r.dir);
	ck_assert_int_eq(verb_run(&r, tool_bench, false, words), EX_USAGE);
	snprintf(words, sizeof words, "%s/nowhere", r.dir);
	ck_assert_int_eq(verb_run(&r, tool_bench, false, words), EX_CANTCREAT);
	rig_close(&r);
}
END_TEST

Suite *suite_tool_bench(void);
Suite *
suite_tool_bench(void)
{
	Suite *s = suite_create("tool_bench");
	TCase *tc = tcase_create("tool_bench");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_short_run);
	tcase_add_test(tc, what_it_refuses);
	suite_add_tcase(s, tc);
	return s;
}
