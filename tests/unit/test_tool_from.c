/* test_tool_from.c - which lines separate messages, and the dates they carry */
#include <stdlib.h>

#include <check.h>

#include "source.h"

static const struct {
	const char *line;
	bool is;
	int64_t date_s;
	int zone_min;
} rows[] = {
	{"From joe@example.org Mon Jan  5 10:00:00 2026", true, 1767607200, 0},
	{"From joe@example.org  Mon Jan 05 10:00:00 2026", true, 1767607200, 0},
	{"From joe@example.org Mon Jan  5 10:00 2026", true, 1767607200, 0},
	{"From joe@example.org Mon Jan  5 10:00:00 CET 2026", true, 1767603600, 60},
	{"From joe@example.org Mon Jan  5 10:00:00 MET DST 2026", true, 1767603600, 60},
	{"From joe@example.org Mon Jan  5 10:00:00 2026 +0130", true, 1767601800, 90},
	{"From joe@example.org Mon Jan  5 10:00:00 -0800 2026", true, 1767636000, -480},
	{"From joe@example.org Mon Jan  5 10:00:00 2026 remote from somewhere", true, 1767607200, 0},
	{"From joe@example.org Mon, 5 Jan 2026 10:00:00 +0100", true, 1767603600, 60},
	{"From joe@example.org Mon, 05 Jan 2026 10:00:00", true, 1767607200, 0},
	{"From - Mon Jan  5 10:00:00 2026", true, 1767607200, 0},
	{"From Mon Jan  5 10:00:00 2026", true, 1767607200, 0},
	{"From \"joe the man\"@example.org Mon Jan  5 10:00:00 2026", true, 1767607200, 0},
	{"From joe@example.org mon jan  5 10:00:00 2026", true, 1767607200, 0},
	/* no date of a delivery */
	{"From mboxrd@z Thu Jan  1 00:00:00 1970", true, INT64_MIN, 0},
	{"From MAILER-DAEMON Fri Jan  2 00:00:00 1970", true, INT64_MIN, 0},
	{"From joe@example.org Mon Jan  5 10:00:00 2990", true, INT64_MIN, 0},
	{"From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001", true, INT64_MIN, 0},
	{"From joe@example.org Mon Sep 17 00:00:00 2001", true, 1000684800, 0},
	/* none at all */
	{"From", false, 0, 0},
	{"From ", false, 0, 0},
	{"From joe@example.org", false, 0, 0},
	{"From now on Monday is a holiday", false, 0, 0},
	{"From Mon to Fri", false, 0, 0},
	{"From joe@example.org Mon Jan  5 2026", false, 0, 0},
	{"From joe@example.org Mon Jan  5 10:00:00", false, 0, 0},
	{"From joe@example.org Mon Jan 32 10:00:00 2026", false, 0, 0},
	{"From joe@example.org Mon Jan  5 24:00:00 2026", false, 0, 0},
	{"From joe@example.org Mon Foo  5 10:00:00 2026", false, 0, 0},
	{"From joe@example.org Jan  5 10:00:00 2026", false, 0, 0},
	{"From: joe@example.org Mon Jan  5 10:00:00 2026", false, 0, 0},
	{"from joe@example.org Mon Jan  5 10:00:00 2026", false, 0, 0},
	{">From joe@example.org Mon Jan  5 10:00:00 2026", false, 0, 0},
	{"From joe@example.org Mon Jan 99999999999999999999 10:00:00 2026", false, 0, 0},
	{"From joe@example.org Mon Jan  5 10:00: 2026", false, 0, 0},
	{"From joe@example.org Mon Jan  5 :00:00 2026", false, 0, 0},
};

START_TEST(lines)
{
	struct shelf_span line = shelf_span_str(rows[_i].line);
	int64_t date_s = 1;
	int16_t zone = 0;

	ck_assert_msg(source_from_line(line, &date_s, &zone) == rows[_i].is, "%s", rows[_i].line);
	if (rows[_i].is) {
		ck_assert_int_eq(date_s, rows[_i].date_s);
		ck_assert_int_eq(zone, rows[_i].zone_min);
	}
}
END_TEST

START_TEST(too_long_is_none)
{
	char line[2000] = "From joe@example.org Mon Jan  5 10:00:00 2026";
	int64_t date_s;
	int16_t zone;

	memset(line + 45, ' ', sizeof line - 45);
	ck_assert(source_from_line(shelf_span(line, 1024), &date_s, &zone));
	ck_assert(!source_from_line(shelf_span(line, 1025), &date_s, &zone));
}
END_TEST

Suite *suite_tool_from(void);
Suite *
suite_tool_from(void)
{
	Suite *s = suite_create("tool_from");
	TCase *tc = tcase_create("from");

	tcase_add_loop_test(tc, lines, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, too_long_is_none);
	suite_add_tcase(s, tc);
	return s;
}
