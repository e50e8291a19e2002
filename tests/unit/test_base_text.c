/* test_base_text.c - base64, UTF-8, sizes, calendar, JSON, log lines */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

/* ---- Base64 (RFC 4648 10) ------------------------------------------------------------------------ */

static const char *const base64[][2] = {
	{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"}, {"\xff\xef\xbe", "/+++"},
};

START_TEST(base64_vectors)
{
	struct shelf_buf out = {0}, back = {0};

	shelf_base64_encode(&out, shelf_span_str(base64[_i][0]));
	ck_assert_str_eq(shelf_buf_cstr(&out), base64[_i][1]);
	ck_assert(shelf_base64_decode(&back, shelf_buf_span(&out)));
	ck_assert_str_eq(shelf_buf_cstr(&back), base64[_i][0]);
	shelf_buf_free(&out);
	shelf_buf_free(&back);
}
END_TEST

static const char *const base64_bad[] = {
	"Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zg==Zg==", "Zm=v", "Zm9v\n", " Zm9v", "Zm9-", "Zm9_",
	/* Bits behind the last byte: two texts for one secret. */
	"Zh==", "Zm9=",
};

START_TEST(base64_strict)
{
	struct shelf_buf out = {0};

	ck_assert_msg(!shelf_base64_decode(&out, shelf_span_str(base64_bad[_i])), "%s", base64_bad[_i]);
	shelf_buf_free(&out);
}
END_TEST

/* ---- UTF-8 (RFC 3629 4) -------------------------------------------------------------------------- */

static const struct {
	const char *in;
	bool valid;
	uint32_t first;
} utf8[] = {
	{"a", true, 'a'}, {"\xc2\x80", true, 0x80}, {"\xdf\xbf", true, 0x7ff}, {"\xe0\xa0\x80", true, 0x800},
	{"\xef\xbf\xbf", true, 0xffff}, {"\xed\x9f\xbf", true, 0xd7ff}, {"\xee\x80\x80", true, 0xe000},
	{"\xf0\x90\x80\x80", true, 0x10000}, {"\xf4\x8f\xbf\xbf", true, 0x10ffff},
	/* Lone and missing continuation, overlong, surrogates, beyond the end. */
	{"\x80", false, 0xfffd}, {"\xc2", false, 0xfffd}, {"\xc2" "a", false, 0xfffd}, {"\xc0\x80", false, 0xfffd},
	{"\xc1\xbf", false, 0xfffd}, {"\xe0\x9f\xbf", false, 0xfffd}, {"\xf0\x8f\xbf\xbf", false, 0xfffd},
	{"\xed\xa0\x80", false, 0xfffd}, {"\xed\xbf\xbf", false, 0xfffd}, {"\xf4\x90\x80\x80", false, 0xfffd},
	{"\xf5\x80\x80\x80", false, 0xfffd}, {"\xff", false, 0xfffd}, {"\xe2\x82", false, 0xfffd},
};

START_TEST(utf8_vectors)
{
	struct shelf_span s = shelf_span_str(utf8[_i].in);
	struct shelf_buf out = {0};
	size_t pos = 0;

	ck_assert(shelf_utf8_valid(s) == utf8[_i].valid);
	ck_assert_uint_eq(shelf_utf8_next(s, &pos), utf8[_i].first);
	ck_assert_uint_eq(pos, utf8[_i].valid ? s.len : 1);
	shelf_utf8_add(&out, utf8[_i].first);
	ck_assert(shelf_utf8_valid(shelf_buf_span(&out)));
	if (utf8[_i].valid)
		ck_assert(shelf_span_eq(shelf_buf_span(&out), s));
	/* The same wherever it stands between ASCII, which is looked at eight bytes at a time. */
	for (size_t before = 0; before <= 17; before++)
		for (size_t after = 0; after <= 17; after++) {
			shelf_buf_clear(&out);
			shelf_buf_printf(&out, "%.*s%s%.*s", (int)before, "0123456789abcdefg", utf8[_i].in, (int)after,
			    "0123456789abcdefg");
			ck_assert(shelf_utf8_valid(shelf_buf_span(&out)) == utf8[_i].valid);
		}
	shelf_buf_free(&out);
}
END_TEST

/* ---- Sizes ------------------------------------------------------------------------------------- */

static const struct {
	const char *in;
	bool ok;
	uint64_t want;
} sizes[] = {
	{"0", true, 0}, {"512", true, 512}, {"512B", true, 512}, {"10K", true, 10240}, {"10k", true, 10240},
	{"10KB", true, 10240}, {"10KiB", true, 10240}, {"1.5G", true, 1610612736}, {"2TiB", true, (uint64_t)2 << 40},
	{"1P", true, (uint64_t)1 << 50}, {"", false, 0}, {"K", false, 0}, {"-1", false, 0}, {"+1", false, 0},
	{" 1", false, 0}, {"1 K", false, 0}, {"1X", false, 0}, {"1KK", false, 0}, {"1KiBx", false, 0},
	{"9E", false, 0}, {"99999999999999999999", false, 0}, {"inf", false, 0}, {"nan", false, 0},
	{"1e3", false, 0}, {"0x10", false, 0}, {"1.", false, 0},
	{"9007199254740993", true, 9007199254740993}, {"0.5K", true, 512},
};

START_TEST(size_parse)
{
	uint64_t got = 0;

	ck_assert_msg(shelf_size_parse(sizes[_i].in, &got) == sizes[_i].ok, "%s", sizes[_i].in);
	if (sizes[_i].ok)
		ck_assert_msg(got == sizes[_i].want, "%s: %llu", sizes[_i].in, (unsigned long long)got);
}
END_TEST

START_TEST(size_text)
{
	char buf[16];

	ck_assert_str_eq(shelf_size_text(0, buf, sizeof(buf)), "0 B");
	ck_assert_str_eq(shelf_size_text(1023, buf, sizeof(buf)), "1023 B");
	ck_assert_str_eq(shelf_size_text(1536, buf, sizeof(buf)), "1.5 KiB");
	ck_assert_str_eq(shelf_size_text((uint64_t)20 << 20, buf, sizeof(buf)), "20 MiB");
	ck_assert_str_eq(shelf_size_text(UINT64_MAX, buf, sizeof(buf)), "16 EiB");
}
END_TEST

/* ---- Calendar ------------------------------------------------------------------------------------ */

START_TEST(calendar_known_days)
{
	ck_assert_int_eq(shelf_days_from_civil(1970, 1, 1), 0);
	ck_assert_int_eq(shelf_days_from_civil(1969, 12, 31), -1);
	ck_assert_int_eq(shelf_days_from_civil(2000, 2, 29), 11016);
	ck_assert_int_eq(shelf_days_from_civil(2026, 11, 21), 20778);
	ck_assert_int_eq(shelf_days_from_civil(1, 1, 1), -719162);
	ck_assert_int_eq(shelf_days_from_civil(9999, 12, 31), 2932896);
}
END_TEST

/* Every day of eight centuries follows the one before, and comes back. */
START_TEST(calendar_all_days)
{
	static const unsigned lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t days = shelf_days_from_civil(1600, 1, 1);

	for (int year = 1600; year < 2400; year++) {
		bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

		for (unsigned month = 1; month <= 12; month++) {
			unsigned last = lengths[month - 1] + (month == 2 && leap);

			for (unsigned day = 1; day <= last; day++, days++) {
				unsigned m, d;
				int y;

				if (shelf_days_from_civil(year, month, day) != days)
					ck_abort_msg("%d-%u-%u", year, month, day);
				shelf_civil_from_days(days, &y, &m, &d);
				if (y != year || m != month || d != day)
					ck_abort_msg("day %lld", (long long)days);
			}
		}
	}
}
END_TEST

START_TEST(clocks)
{
	int64_t us = shelf_now_us(), ms = shelf_mono_ms();

	ck_assert_int_gt(us, INT64_C(1700000000) * 1000000);
	ck_assert_int_le(us / 1000000 - shelf_now_s(), 0);
	ck_assert_int_le(shelf_now_s() - us / 1000000, 5);
	ck_assert_int_le(ms, shelf_mono_ms());
}
END_TEST

/* ---- JSON (RFC 8259 7) ----------------------------------------------------------------------------- */

static const struct {
	const char *in;
	size_t len;
	const char *want;
} json[] = {
	{"", 0, "\"\""}, {"plain", 5, "\"plain\""}, {"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
	{"\n\t\r", 3, "\"\\n\\t\\u000d\""},
	{"\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\""}, {"\xc3\xa9/", 3, "\"\xc3\xa9/\""},
	{"\xff\xc3", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
};

START_TEST(json_rows)
{
	struct shelf_buf out = {0};

	shelf_buf_add_json(&out, shelf_span(json[_i].in, json[_i].len));
	ck_assert_str_eq(shelf_buf_cstr(&out), json[_i].want);
	shelf_buf_free(&out);
}
END_TEST

/* ---- Log ----------------------------------------------------------------------------------------- */

/* Standard error goes to a file while the lines are written. */
static char *
logged(void (*say)(void))
{
	FILE *f = tmpfile();
	char *text = shelf_zalloc(4096);
	int saved = dup(STDERR_FILENO);

	ck_assert(f != NULL && saved >= 0);
	dup2(fileno(f), STDERR_FILENO);
	say();
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	ck_assert_uint_lt(fread(text, 1, 4095, f), 4095);
	fclose(f);
	return text;
}

static void
say_all(void)
{
	shelf_log(SHELF_LOG_INFO, "imap login", "account", "%s", "joe", "n", "%d", -1, "u", "%u", 2u, "z", "%zu",
	    (size_t)3, "ll", "%lld", -4LL, "llu", "%llu", 5ULL, "none", "%s", (char *)NULL, NULL);
}

static void
say_injection(void)
{
	shelf_log(SHELF_LOG_WARN, "imap login", "account", "%s",
	    "joe\r\n2026-11-21T10:00:00.123Z info root login \x1b[2J\"=\\ \xff", NULL);
}

static void
say_debug(void)
{
	shelf_log(SHELF_LOG_DEBUG, "quiet", NULL);
	shelf_log_level(SHELF_LOG_DEBUG);
	shelf_log(SHELF_LOG_DEBUG, "loud", NULL);
	shelf_log_level(SHELF_LOG_ERROR);
	shelf_log(SHELF_LOG_WARN, "quiet", NULL);
}

START_TEST(log_line)
{
	char *text = logged(say_all);

	ck_assert_uint_gt(strlen(text), 25);
	ck_assert_str_eq(text + 24, " info imap login account=joe n=-1 u=2 z=3 ll=-4 llu=5 none=\"\"\n");
	ck_assert(text[4] == '-' && text[10] == 'T' && text[19] == '.' && text[23] == 'Z');
	free(text);
}
END_TEST

START_TEST(log_injection)
{
	char *text = logged(say_injection);

	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	ck_assert_ptr_null(strchr(text, '\r'));
	ck_assert_ptr_null(strchr(text, '\x1b'));
	ck_assert(shelf_utf8_valid(shelf_span_str(text)));
	ck_assert_ptr_nonnull(strstr(text, " warn imap login account=\"joe\\u000d\\n2026"));
	ck_assert_ptr_nonnull(strstr(text, "\\u001b[2J\\\"=\\\\ \xef\xbf\xbd\"\n"));
	free(text);
}
END_TEST

START_TEST(log_levels)
{
	char *text = logged(say_debug);

	ck_assert_ptr_null(strstr(text, "quiet"));
	ck_assert_ptr_nonnull(strstr(text, " debug loud\n"));
	free(text);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *suite_base_text(void);
Suite *
suite_base_text(void)
{
	Suite *s = suite_create("base_text");
	TCase *tc = tcase_create("text");

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, base64_vectors, 0, COUNT(base64));
	tcase_add_loop_test(tc, base64_strict, 0, COUNT(base64_bad));
	tcase_add_loop_test(tc, utf8_vectors, 0, COUNT(utf8));
	tcase_add_loop_test(tc, size_parse, 0, COUNT(sizes));
	tcase_add_test(tc, size_text);
	tcase_add_test(tc, calendar_known_days);
	tcase_add_test(tc, calendar_all_days);
	tcase_add_test(tc, clocks);
	tcase_add_loop_test(tc, json_rows, 0, COUNT(json));
	tcase_add_test(tc, log_line);
	tcase_add_test(tc, log_injection);
	tcase_add_test(tc, log_levels);
	suite_add_tcase(s, tc);
	return s;
}
