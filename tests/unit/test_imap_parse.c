/*
 * test_imap_parse.c - arguments of commands, and LIST patterns against a naive matcher
 */
#include <check.h>
#include <stdlib.h>

#include "imap_list.h"

static struct shelf_arena arena;

static struct imap_parser
parser(const char *text, size_t len)
{
	return (struct imap_parser){.at = (const uint8_t *)text, .end = (const uint8_t *)text + len,
	    .arena = &arena};
}

static void
teardown(void)
{
	shelf_arena_free(&arena);
}

/* ---- Strings --------------------------------------------------------------------------------- */

#define TEXT(s) s, sizeof(s) - 1

static const struct {
	const char *in;
	size_t in_len;
	const char *want; /* NULL: refused */
} strings[] = {
    {TEXT("abc"), "abc"},
    {TEXT("a]c"), "a]c"},
    {TEXT("\"a b\""), "a b"},
    {TEXT("\"\""), ""},
    {TEXT("\"a\\\"b\\\\c\""), "a\"b\\c"},
    {TEXT("\"\xc3\xbc\""), "\xc3\xbc"},
    {TEXT("{3}\r\na\r\n"), "a\r\n"},
    {TEXT("{3+}\r\nabc"), "abc"},
    {TEXT("{3}\nabc"), "abc"},
    {TEXT("{0}\r\n"), ""},
    {TEXT("{003}\r\nabc"), "abc"},
    {TEXT(""), NULL},
    {TEXT("(a"), NULL},
    {TEXT("\""), NULL},
    {TEXT("\"a"), NULL},
    {TEXT("\"a\\"), NULL},
    {TEXT("\"a\\n\""), NULL},
    {TEXT("\"a\rb\""), NULL},
    {TEXT("\"a\nb\""), NULL},
    {TEXT("\"a\0b\""), NULL},
    {TEXT("\xc3\xbc"), NULL},
    {TEXT("{3}"), NULL},
    {TEXT("{3}\r"), NULL},
    {TEXT("{3}\r\nab"), NULL},
    {TEXT("{3}\r\na\0b"), NULL},
    {TEXT("{}\r\n"), NULL},
    {TEXT("{+}\r\n"), NULL},
    {TEXT("{-1}\r\n"), NULL},
    {TEXT("{3++}\r\nabc"), NULL},
    {TEXT("{4294967296}\r\nabc"), NULL},
    {TEXT("{99999999999999999999999}\r\nabc"), NULL},
};

START_TEST(parse_strings)
{
	/* A copy of exactly the right size, so that reading past the end is seen. */
	char *in = malloc(strings[_i].in_len + 1);
	struct imap_parser p = {0};
	struct shelf_span got = {0};
	bool ok = false;

	memcpy(in, strings[_i].in, strings[_i].in_len);
	in = realloc(in, strings[_i].in_len == 0 ? 1 : strings[_i].in_len);
	p = parser(in, strings[_i].in_len);
	ok = imap_parse_astring(&p, &got) && imap_parse_end(&p);
	ck_assert_msg(ok == (strings[_i].want != NULL), "row %d", _i);
	ck_assert_msg(ok == (p.error == NULL), "row %d", _i);
	if (ok)
		ck_assert_msg(shelf_span_eq(got, shelf_span_str(strings[_i].want)), "row %d", _i);
	free(in);
}
END_TEST

START_TEST(parse_nstring)
{
	struct imap_parser p = parser(TEXT("nil NILS"));
	struct shelf_span got = {0};

	ck_assert(imap_parse_nstring(&p, &got));
	ck_assert_ptr_null(got.data);
	ck_assert(imap_parse_sp(&p));
	ck_assert(!imap_try_word(&p, "NIL"));
	ck_assert(!imap_parse_nstring(&p, &got));
}
END_TEST

/* ---- Numbers, dates, flags ------------------------------------------------------------------- */

START_TEST(parse_numbers)
{
	struct imap_parser p = parser(TEXT("4294967295"));
	uint32_t n = 0;
	uint64_t big = 0;

	ck_assert(imap_parse_number(&p, &n) && n == UINT32_MAX);
	p = parser(TEXT("4294967296"));
	ck_assert(!imap_parse_number(&p, &n));
	p = parser(TEXT("0"));
	ck_assert(!imap_parse_nz_number(&p, &n));
	p = parser(TEXT("9223372036854775807"));
	ck_assert(imap_parse_number64(&p, &big) && big == INT64_MAX);
	p = parser(TEXT("9223372036854775808"));
	ck_assert(!imap_parse_number64(&p, &big));
	p = parser(TEXT("-1"));
	ck_assert(!imap_parse_number(&p, &n));
}
END_TEST

static const struct {
	const char *in;
	int64_t want; /* INT64_MIN: refused */
	int zone;
} times[] = {
    {"\"01-Jan-1970 00:00:00 +0000\"", 0, 0},
    {"\" 1-Jan-1970 00:00:00 +0000\"", 0, 0},
    {"\"1-Jan-1970 00:00:00 +0000\"", 0, 0},
    {"\"17-Jul-1996 02:44:25 -0700\"", 837596665, -420},
    {"\"29-Feb-2024 23:59:60 +0530\"", 1709231400, 330},
    {"\"31-dec-1969 23:59:59 +0000\"", -1, 0},
    {"\"29-Feb-2023 00:00:00 +0000\"", INT64_MIN, 0},
    {"\"31-Apr-2023 00:00:00 +0000\"", INT64_MIN, 0},
    {"\"00-Jan-2023 00:00:00 +0000\"", INT64_MIN, 0},
    {"\"01-Foo-2023 00:00:00 +0000\"", INT64_MIN, 0},
    {"\"01-Jan-23 00:00:00 +0000\"", INT64_MIN, 0},
    {"\"01-Jan-2023 24:00:00 +0000\"", INT64_MIN, 0},
    {"\"01-Jan-2023 00:60:00 +0000\"", INT64_MIN, 0},
    {"\"31-Dec-9999 23:59:59 +0000\"", 253402300799, 0},
    {"\"31-Dec-9999 23:59:60 +0000\"", INT64_MIN, 0},
    {"\"01-Jan-2023 00:00:61 +0000\"", INT64_MIN, 0},
    {"\"01-Jan-2023 00:00:00 0000\"", INT64_MIN, 0},
    {"\"01-Jan-2023 00:00:00 +0060\"", INT64_MIN, 0},
    {"\"01-Jan-2023 00:00:00 +000\"", INT64_MIN, 0},
    {"\"01-Jan-2023 00:00:00 +0000", INT64_MIN, 0},
    {"01-Jan-2023 00:00:00 +0000", INT64_MIN, 0},
    {"\"01-Jan-2023\"", INT64_MIN, 0},
    {"", INT64_MIN, 0},
};

START_TEST(parse_date_times)
{
	struct imap_parser p = parser(times[_i].in, strlen(times[_i].in));
	int64_t s = INT64_MIN;
	int16_t zone = 0;
	bool ok = imap_parse_date_time(&p, &s, &zone) && imap_parse_end(&p);

	ck_assert_msg(ok == (times[_i].want != INT64_MIN), "row %d", _i);
	if (ok) {
		ck_assert_int_eq(s, times[_i].want);
		ck_assert_int_eq(zone, times[_i].zone);
	}
}
END_TEST

START_TEST(parse_dates)
{
	static const struct {
		const char *in;
		int64_t want;
	} rows[] = {{"1-Jan-1970", 0}, {"\"2-Jan-1970\"", 1}, {"31-Dec-1969", -1},
	    {"01-FEB-1970", 31},
	    {"30-Feb-1970", INT64_MIN}, {"1-Jan-70", INT64_MIN}, {"\"1-Jan-1970", INT64_MIN},
	    {"1-Jan", INT64_MIN}, {"001-Jan-1970", INT64_MIN}};
	size_t i = 0;

	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct imap_parser p = parser(rows[i].in, strlen(rows[i].in));
		int64_t days = INT64_MIN;
		bool ok = imap_parse_date(&p, &days) && imap_parse_end(&p);

		ck_assert_msg(ok == (rows[i].want != INT64_MIN), "row %zu", i);
		ck_assert_msg(!ok || days == rows[i].want, "row %zu", i);
	}
}
END_TEST

START_TEST(parse_flags)
{
	struct imap_parser p = parser(TEXT("(\\SEEN $Junk \\Deleted junk $junk)"));
	struct imap_flags flags = {0};

	ck_assert(imap_parse_flag_list(&p, &flags) && imap_parse_end(&p));
	ck_assert_uint_eq(flags.flags, SHELF_SEEN | SHELF_DELETED);
	ck_assert_uint_eq(flags.nkeywords, 2); /* $Junk and junk; keywords compare without case */
	p = parser(TEXT("()"));
	ck_assert(imap_parse_flag_list(&p, &flags));
	p = parser(TEXT("( \\Seen)"));
	ck_assert(!imap_parse_flag_list(&p, &flags));
	p = parser(TEXT("(\\Seen )"));
	ck_assert(!imap_parse_flag_list(&p, &flags));
	p = parser(TEXT("(\\Recent)"));
	ck_assert(!imap_parse_flag_list(&p, &flags));
	p = parser(TEXT("(\\ Seen)"));
	ck_assert(!imap_parse_flag_list(&p, &flags));
}
END_TEST

START_TEST(parse_flags_are_bounded)
{
	struct shelf_buf text = {0};
	struct imap_flags flags = {0};
	struct imap_parser p = {0};
	int i = 0;

	for (i = 0; i < 300; i++)
		shelf_buf_printf(&text, "%ck%d", i == 0 ? '(' : ' ', i);
	shelf_buf_add_str(&text, ")");
	p = parser((const char *)text.data, text.len);
	ck_assert(!imap_parse_flag_list(&p, &flags));
	ck_assert_str_eq(p.error, "too many keywords");
	shelf_buf_free(&text);
}
END_TEST

START_TEST(parse_depth_is_bounded)
{
	char text[IMAP_DEPTH_MAX + 1] = "";
	struct imap_parser p = parser(text, sizeof text);
	int i = 0;

	memset(text, '(', sizeof text);
	for (i = 0; i < IMAP_DEPTH_MAX; i++)
		ck_assert(imap_parse_open(&p));
	ck_assert(!imap_parse_open(&p));
}
END_TEST

/* ---- Patterns -------------------------------------------------------------------------------- */

static bool
naive(const char *pattern, const char *name)
{
	if (*pattern == '\0')
		return *name == '\0';
	if (*pattern == '*' || *pattern == '%') {
		if (naive(pattern + 1, name))
			return true;
		return *name != '\0' && (*pattern == '*' || *name != '/') &&
		    naive(pattern, name + 1);
	}
	return *pattern == *name && naive(pattern + 1, name + 1);
}

START_TEST(pattern_equals_naive)
{
	unsigned seed = 1;
	int i = 0, matched = 0;

	for (i = 0; i < 200000; i++) {
		char pattern[9] = "", name[13] = "";
		size_t j = 0, states = 0, len = (size_t)rand_r(&seed) % 8 + 1;
		struct imap_pattern *p = NULL;
		bool got = false;

		for (j = 0; j < len; j++)
			pattern[j] = "ab/*%"[rand_r(&seed) % 5];
		len = (size_t)rand_r(&seed) % 12;
		for (j = 0; j < len; j++)
			name[j] = "ab/"[rand_r(&seed) % 3];
		p = imap_pattern_new(&arena, shelf_span_str(pattern), false, &states);
		got = imap_pattern_match(p, shelf_span_str(name));
		ck_assert_msg(got == naive(pattern, name), "%s %s", pattern, name);
		matched += got;
		shelf_arena_reset(&arena);
	}
	ck_assert_int_gt(matched, 1000);
}
END_TEST

START_TEST(pattern_long)
{
	struct shelf_buf pattern = {0}, name = {0};
	struct imap_pattern *p = NULL;
	size_t states = 0;
	int64_t start = shelf_mono_ms();
	int i = 0;

	for (i = 0; i < SHELF_MAILBOX_NAME_MAX; i++) {
		shelf_buf_add_str(&pattern, i % 2 == 0 ? "%a" : "*a");
		shelf_buf_add_str(&name, "a");
	}
	p = imap_pattern_new(&arena, shelf_buf_span(&pattern), false, &states);
	ck_assert_uint_eq(states, 2 * SHELF_MAILBOX_NAME_MAX);
	ck_assert(imap_pattern_match(p, shelf_buf_span(&name)));
	shelf_buf_add_str(&name, "b");
	for (i = 0; i < 100; i++)
		ck_assert(!imap_pattern_match(p, shelf_buf_span(&name)));
	ck_assert_int_lt(shelf_mono_ms() - start, 2000);
	shelf_buf_add_str(&pattern, "aa"); /* longer than any name */
	p = imap_pattern_new(&arena, shelf_buf_span(&pattern), false, &states);
	ck_assert(!imap_pattern_match(p, shelf_buf_span(&name)));
	shelf_buf_free(&pattern);
	shelf_buf_free(&name);
}
END_TEST

START_TEST(pattern_inbox)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} rows[] = {{"inbox", "INBOX", true}, {"iNb%", "INBOX", true}, {"inbox/*", "INBOX/a", true},
	    {"inbox/A", "INBOX/a", false}, {"inboxes", "INBOXES", false}, {"%x", "INBOX", true},
	    {"x", "X", false}, {"", "", false}, {"&", "&", false}, {"&-", "&", true}};
	size_t i = 0, states = 0;

	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct imap_pattern *p = imap_pattern_new(&arena, shelf_span_str(rows[i].pattern),
		    false, &states);

		ck_assert_msg(imap_pattern_match(p, shelf_span_str(rows[i].name)) == rows[i].want,
		    "row %zu", i);
	}
}
END_TEST

Suite *suite_imap_parse(void);
Suite *
suite_imap_parse(void)
{
	Suite *s = suite_create("imap_parse");
	TCase *tc = tcase_create("parse");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_loop_test(tc, parse_strings, 0, (int)(sizeof strings / sizeof *strings));
	tcase_add_test(tc, parse_nstring);
	tcase_add_test(tc, parse_numbers);
	tcase_add_loop_test(tc, parse_date_times, 0, (int)(sizeof times / sizeof *times));
	tcase_add_test(tc, parse_dates);
	tcase_add_test(tc, parse_flags);
	tcase_add_test(tc, parse_flags_are_bounded);
	tcase_add_test(tc, parse_depth_is_bounded);
	tcase_add_test(tc, pattern_equals_naive);
	tcase_add_test(tc, pattern_long);
	tcase_add_test(tc, pattern_inbox);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return s;
}
