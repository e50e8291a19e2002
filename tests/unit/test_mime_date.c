/* test_mime_date.c - dates as written by the rules and against them */
#include <check.h>

#include <mailshelf/mime.h>

enum { Y2K1 = 978307200 }; /* 2001-01-01T00:00:00Z */

static const struct {
	const char *in;
	int64_t utc_s;
	int zone_min;
} good[] = {
	{"Mon, 1 Jan 2001 00:00:00 +0000", Y2K1, 0},
	{" Mon,  01 Jan 2001\r\n 01:00:00 +0100", Y2K1, 60},
	{"1 Jan 2001 00:00 GMT", Y2K1, 0},
	{"31 Dec 2000 19:00:00 EST", Y2K1, -300},
	{"31 Dec 2000 16:00:00 -0800 (PST)", Y2K1, -480},
	{"Mon(day), 1(st) Jan(uary) 2001 (at) 00:00:00 (noon) -0000", Y2K1, 0},
	{"1 Jan 01 00:00:00 Z", Y2K1, 0},
	{"1 Jan 101 00:00:00 UT", Y2K1, 0},
	{"Mon, 1 Jan 2001 00:00:60 +0000", Y2K1 + 60, 0},
	{"Thu, 29 Feb 2024 12:00:00 +0530", 1709188200, 330},
	{"Fri, 13 Feb 2009 23:31:30 +0000", 1234567890, 0},
	{"1 Jan 1970 00:00:00 +0000", 0, 0},
	{"31 Dec 69 23:59:59 +0000", -1, 0},
	{"31 Dec 49 00:00:00 +0000", 2524521600, 0},
	/* Against the rules. */
	{"Mon Jan  1 00:00:00 2001", Y2K1, 0},
	{"Mon Jan  1 01:00:00 MET 2001", Y2K1, 60},
	{"Monday, 1 January 2001 00:00:00 GMT+01:00", Y2K1 - 3600, 60},
	{"1-Jan-2001 00:00:00", Y2K1, 0},
	{"2001-01-01T00:00:00Z", Y2K1, 0},
	{"2001-01-01 00:00:00.123 +0000", Y2K1, 0},
	{"1 Jan 2001", Y2K1, 0},
	{"1 Jan 2001 12:00:00 AM", Y2K1, 0},
	{"1 Jan 2001 01:00:00 PM -0500", Y2K1 + 18 * 3600, -300},
	{"1 Jan 2001 0:0:0 +1", Y2K1 - 3600, 60},
	{"1 Jan 2001 00.00.00 +0000", Y2K1, 0},
	{"Mon, 1 Jan 2001 00:00:00 +0000, Tue, 2 Jan 2001 11:00:00 +0000", Y2K1, 0},
	{"Mon,1Jan2001 00:00:00 +0000", Y2K1, 0},
};

static const char *const bad[] = {
	"", " ", "()", "yesterday", "1 Jan", "Jan 2001", "00:00:00", "32 Jan 2001 00:00:00 +0000",
	"30 Feb 2001 00:00:00 +0000", "29 Feb 1900 00:00:00 +0000", "0 Jan 2001 00:00:00 +0000",
	"1 Foo 2001 00:00:00 +0000", "1 Jan 2001 24:00:00 +0000", "1 Jan 2001 00:60:00 +0000",
	"1 Jan 2001 00:00:61 +0000", "1 Jan 20010 00:00:00 +0000", "1 Jan 2001 00:00:00 +01000",
	"99999999999999999999 Jan 2001 00:00:00", "2001-13-01", "2001-00-01", "2001-01",
	"\xff\xfe",
};

START_TEST(date_good)
{
	int64_t utc_s = -99;
	int16_t zone = -99;

	ck_assert_msg(mime_date(shelf_span_str(good[_i].in), &utc_s, &zone), "%s", good[_i].in);
	ck_assert_msg(utc_s == good[_i].utc_s, "%s: %lld", good[_i].in, (long long)utc_s);
	ck_assert_msg(zone == good[_i].zone_min, "%s: zone %d", good[_i].in, zone);
}
END_TEST

START_TEST(date_bad)
{
	int64_t utc_s;
	int16_t zone;

	ck_assert_msg(!mime_date(shelf_span_str(bad[_i]), &utc_s, &zone), "%s", bad[_i]);
}
END_TEST

Suite *suite_mime_date(void);
Suite *
suite_mime_date(void)
{
	Suite *s = suite_create("mime_date");
	TCase *tc = tcase_create("date");

	tcase_add_loop_test(tc, date_good, 0, (int)(sizeof(good) / sizeof(good[0])));
	tcase_add_loop_test(tc, date_bad, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	suite_add_tcase(s, tc);
	return s;
}
