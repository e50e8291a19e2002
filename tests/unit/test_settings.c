/* test_settings.c - STORE/mailshelf: old files, unknown keys, bad lines; changed while open; the verb */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "verb_rig.h"

static struct rig r;
static char text[4096];

static void
write_text(const char *s)
{
	char path[4300];
	FILE *f;

	snprintf(path, sizeof path, "%s/mailshelf", r.path);
	ck_assert_ptr_nonnull(f = fopen(path, "w"));
	ck_assert_int_ge(fputs(s, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static const char *
read_text(void)
{
	char path[4300];
	FILE *f;

	snprintf(path, sizeof path, "%s/mailshelf", r.path);
	ck_assert_ptr_nonnull(f = fopen(path, "r"));
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	return text;
}

START_TEST(a_store_of_before_has_the_defaults)
{
	rig_open(&r, NULL);
	shelf_store_close(&r.store);
	write_text("format 1\nhold_s 77\n");
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
	ck_assert_uint_eq(shelf_setting_get(r.store, SHELF_SETTING_HOLD), 77);
	for (unsigned i = SHELF_SETTING_HOLD + 1; i < SHELF_SETTINGS; i++)
		ck_assert_uint_eq(shelf_setting_get(r.store, (enum shelf_setting)i),
		    shelf_setting_info((enum shelf_setting)i)->std);
	rig_close(&r);
}
END_TEST

START_TEST(what_is_not_known_stays_in_the_file)
{
	rig_open(&r, NULL);
	write_text("format 1\nof_tomorrow  what it is\nhold_s 5\n\nhold_s 6");
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_HOLD, 7), 0);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_WARN_PERCENT, 12), 0);
	ck_assert_str_eq(read_text(),
	    "format 1\nof_tomorrow  what it is\nhold_s 7\n\nwarn_percent 12\n");
	ck_assert_uint_eq(shelf_setting_get(r.store, SHELF_SETTING_WARN_PERCENT), 12);
	rig_reopen(&r);
	ck_assert_uint_eq(shelf_setting_get(r.store, SHELF_SETTING_HOLD), 7);
	ck_assert_uint_eq(shelf_setting_get(r.store, SHELF_SETTING_WARN_PERCENT), 12);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_WARN_PERCENT, 101), SHELF_EINVALID);
	rig_close(&r);
}
END_TEST

static const struct {
	const char *text;
	int rc;
} bad[] = {
	{"", SHELF_ECORRUPT},
	{"hold_s 5\n", SHELF_ECORRUPT},
	{"format 2\nhold_s 5\n", SHELF_EVERSION},
	{"format one\n", SHELF_ECORRUPT},
	{"format 1\nhold_s\n", SHELF_ECORRUPT},
	{"format 1\nhold_s -1\n", SHELF_ECORRUPT},
	{"format 1\nhold_s 4294967296\n", SHELF_ECORRUPT},
	{"format 1\nwarn_percent 101\n", SHELF_ECORRUPT},
	{"format 1\nwarn_bytes 99999999999999999999999\n", SHELF_ECORRUPT},
};

START_TEST(a_bad_line_is_an_error)
{
	rig_open(&r, NULL);
	shelf_store_close(&r.store);
	write_text(bad[_i].text);
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), bad[_i].rc);
	write_text("format 1\n");
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
	write_text(bad[_i].text);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_HOLD, 7), bad[_i].rc);
	ck_assert_str_eq(read_text(), bad[_i].text);
	write_text("format 1\n");
	rig_close(&r);
}
END_TEST

/* As another process does it: the file is replaced. */
START_TEST(a_serving_store_takes_it_up)
{
	bool taken = false;

	rig_open(&r, NULL);
	shelf_store_close(&r.store);
	ck_assert_int_eq(shelf_store_open(r.path, SHELF_OPEN_SERVE, &r.store), 0);
	write_text("format 1\nhold_s 4\nwarn_percent");
	usleep(1500000); /* a line cut off: what was before stays */
	ck_assert_uint_eq(shelf_setting_get(r.store, SHELF_SETTING_HOLD), 14 * 86400);
	write_text("format 1\nhold_s 4\n");
	for (unsigned i = 0; i < 100 && !taken; i++) {
		usleep(50000);
		taken = shelf_setting_get(r.store, SHELF_SETTING_HOLD) == 4;
	}
	ck_assert(taken);
	rig_close(&r);
}
END_TEST

/* ---- The verb ------------------------------------------------------------------------------------------- */

static int
settings(const char *name, const char *value, bool json)
{
	char words[128];

	snprintf(words, sizeof words, "%s|%s", name, value);
	return verb_run(&r, tool_settings, json, words);
}

static const struct {
	const char *name, *value, *shown;
	enum shelf_setting id;
	uint64_t number;
} good[] = {
	{"hold", "36h", "36h", SHELF_SETTING_HOLD, 36 * 3600},
	{"hold", "90s", "90s", SHELF_SETTING_HOLD, 90},
	{"hold", "120s", "2m", SHELF_SETTING_HOLD, 120},
	{"hold", "none", "none", SHELF_SETTING_HOLD, UINT32_MAX},
	{"warn_percent", "0", "0%", SHELF_SETTING_WARN_PERCENT, 0},
	{"warn_percent", "15%", "15%", SHELF_SETTING_WARN_PERCENT, 15},
	{"refuse_bytes", "2G", "2.0 GiB", SHELF_SETTING_REFUSE_BYTES, (uint64_t)2 << 30},
};

START_TEST(the_verb_sets_and_shows)
{
	rig_open(&r, NULL);
	ck_assert_int_eq(settings(good[_i].name, good[_i].value, false), EX_OK);
	ck_assert_uint_eq(shelf_setting_get(r.store, good[_i].id), good[_i].number);
	ck_assert_int_eq(settings(good[_i].name, "", false), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, good[_i].shown));
	ck_assert_int_eq(settings("", "", true), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"hold_s\":"));
	ck_assert_ptr_nonnull(strstr(verb_out, "\"readonly_bytes\":1073741824"));
	rig_close(&r);
}
END_TEST

START_TEST(the_verb_refuses)
{
	static const char *const rows[][2] = {{"holds", ""}, {"hold", "long"}, {"hold", "-1d"},
		{"warn_percent", "101%"}, {"warn_percent", "%"}, {"warn_bytes", "much"}, {"warn_percent", "1e9"}};

	rig_open(&r, NULL);
	ck_assert_int_eq(settings(rows[_i][0], rows[_i][1], false), EX_USAGE);
	rig_close(&r);
}
END_TEST

Suite *suite_settings(void);
Suite *
suite_settings(void)
{
	Suite *s = suite_create("settings");
	TCase *tc = tcase_create("settings");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_store_of_before_has_the_defaults);
	tcase_add_test(tc, what_is_not_known_stays_in_the_file);
	tcase_add_loop_test(tc, a_bad_line_is_an_error, 0, sizeof bad / sizeof *bad);
	tcase_add_test(tc, a_serving_store_takes_it_up);
	tcase_add_loop_test(tc, the_verb_sets_and_shows, 0, sizeof good / sizeof *good);
	tcase_add_loop_test(tc, the_verb_refuses, 0, 7);
	suite_add_tcase(s, tc);
	return s;
}
