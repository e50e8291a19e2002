/* test_lineproto.c - command lines cut from a stream: ends, limits, bad bytes, whatever the cut */
#include <check.h>
#include <stdlib.h>

#include "lineproto.h"

/* One letter for each result: L "(text)", T too long, B bad. */
static void
run(struct shelf_span in, size_t cut, size_t max, struct shelf_buf *out)
{
	struct lineproto lines = {.skipping = false};
	struct shelf_span line = {0};

	for (size_t at = 0; at < in.len;) {
		size_t len = in.len - at < cut ? in.len - at : cut, used;
		enum lineproto_got got;

		got = lineproto_feed(&lines, shelf_span(in.data + at, len), max, &used, &line);
		ck_assert_uint_le(used, len);
		ck_assert(got != LINEPROTO_MORE || used == len);
		at += used;
		if (got == LINEPROTO_LINE) {
			shelf_buf_add_str(out, "L(");
			shelf_buf_add_span(out, line);
			shelf_buf_add_str(out, ")");
		} else if (got != LINEPROTO_MORE) {
			shelf_buf_add_byte(out, got == LINEPROTO_TOO_LONG ? 'T' : 'B');
		}
		ck_assert_uint_le(lines.line.len, max + 1);
	}
	lineproto_reset(&lines);
}

static const struct {
	const char *in;
	size_t len; /* 0: strlen */
	size_t max;
	const char *want;
} rows[] = {
    {"", 0, 8, ""},
    {"NOOP\r\n", 0, 8, "L(NOOP)"},
    {"NOOP\n", 0, 8, "L(NOOP)"},
    {"NOOP", 0, 8, ""},
    {"NOOP\r", 0, 8, ""},
    {"\r\n\n", 0, 8, "L()L()"},
    {"a\r\nb\nc\r\n", 0, 8, "L(a)L(b)L(c)"},
    {"12345678\r\n", 0, 8, "L(12345678)"},
    {"12345678\n", 0, 8, "L(12345678)"},
    {"123456789\r\nx\r\n", 0, 8, "TL(x)"},
    {"123456789\nx\r\n", 0, 8, "TL(x)"},
    {"1234567890123456789012345\r\nx\r\n", 0, 8, "TL(x)"},
    {"1234567890123456789012345", 0, 8, "T"},
    {"1234567890123456789\n1234567890123456789\nx\n", 0, 8, "TTL(x)"},
    {"a\0b\r\nx\r\n", 8, 8, "BL(x)"},
    {"\0\r\nx\r\n", 6, 8, "BL(x)"},
    {"a\rb\r\nx\r\n", 0, 8, "BL(x)"},
    {"a\r\r\nx\r\n", 0, 8, "BL(x)"},
};

START_TEST(lineproto_vectors)
{
	size_t len = rows[_i].len == 0 ? strlen(rows[_i].in) : rows[_i].len;

	for (size_t cut = 1; cut <= len + 1; cut++) {
		struct shelf_buf out = {0};

		run(shelf_span(rows[_i].in, len), cut, rows[_i].max, &out);
		ck_assert_str_eq(shelf_buf_cstr(&out), rows[_i].want);
		shelf_buf_free(&out);
	}
}
END_TEST

/* Nothing behind the line is taken: TLS would be asked for there. */
START_TEST(lineproto_takes_one_line)
{
	struct lineproto lines = {.skipping = false};
	struct shelf_span line, in = shelf_span_str("STLS\r\nNOOP\r\n");
	size_t used;

	ck_assert_int_eq(lineproto_feed(&lines, in, 100, &used, &line), LINEPROTO_LINE);
	ck_assert_uint_eq(used, 6);
	ck_assert(shelf_span_is(line, "STLS"));
	lineproto_reset(&lines);
}
END_TEST

/* The buffer of a long line does not stay. */
START_TEST(lineproto_gives_memory_back)
{
	struct lineproto lines = {.skipping = false};
	struct shelf_buf in = {0};
	struct shelf_span line;
	enum lineproto_got got;
	size_t used;

	for (size_t i = 0; i < 60000; i++)
		shelf_buf_add_byte(&in, 'x');
	shelf_buf_add_str(&in, "\r\nNOOP\r\n");
	got = lineproto_feed(&lines, shelf_buf_span(&in), 65536, &used, &line);
	ck_assert_int_eq(got, LINEPROTO_LINE);
	ck_assert_uint_eq(line.len, 60000);
	shelf_buf_consume(&in, used);
	got = lineproto_feed(&lines, shelf_buf_span(&in), 65536, &used, &line);
	ck_assert_int_eq(got, LINEPROTO_LINE);
	ck_assert_uint_lt(lines.line.cap, 4097);
	lineproto_reset(&lines);
	shelf_buf_free(&in);
}
END_TEST

START_TEST(lineproto_words)
{
	struct shelf_span rest = shelf_span_str("PASS  a b ");
	struct shelf_span word = lineproto_word(&rest);

	ck_assert(shelf_span_is(word, "PASS"));
	/* One blank belongs to the word, the next to the password. */
	ck_assert(shelf_span_is(rest, " a b "));
	ck_assert(shelf_span_is(lineproto_word(&rest), "a"));
	ck_assert(shelf_span_is(lineproto_word(&rest), "b"));
	ck_assert_uint_eq(lineproto_word(&rest).len, 0);
	ck_assert_uint_eq(lineproto_word(&rest).len, 0);
}
END_TEST

Suite *suite_lineproto(void);
Suite *
suite_lineproto(void)
{
	Suite *suite = suite_create("lineproto");
	TCase *tc = tcase_create("lines");

	tcase_add_loop_test(tc, lineproto_vectors, 0, (int)(sizeof(rows) / sizeof(*rows)));
	tcase_add_test(tc, lineproto_takes_one_line);
	tcase_add_test(tc, lineproto_gives_memory_back);
	tcase_add_test(tc, lineproto_words);
	suite_add_tcase(suite, tc);
	return suite;
}
