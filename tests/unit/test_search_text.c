/*
 * test_search_text.c - patterns and charsets of search: every cut of a text gives the same answer
 */
#include <check.h>

#include "search.h"

Suite *suite_search_text(void);

static const struct row {
	const char *charset, *text, *pattern; /* the pattern in UTF-8 */
	bool want;
} rows[] = {
    {"", "hello world", "o w", true},
    {"", "hello world", "HELLO", true},
    {"", "hello", "hello!", false},
    {"", "aaaaab", "aaab", true},
    {"", "abababac", "ababac", true},
    {"", "abababab", "ababac", false},
    {"", "x", "x", true},
    {"", "", "x", false},
    {"utf-8", "GR\xc3\x9c\xc3\x9f" "E", "gr\xc3\xbc\xc3\x9f" "e", true},
    {"utf-8", "\xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2", "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2", true},
    {"utf-8", "\xf0\x90\x90\x80", "\xf0\x90\x90\xa8", true}, /* Deseret, beyond 16 bits */
    {"us-ascii", "na\xc3\xafve", "na\xc3\xafve", true},      /* not true, but meant */
    {"", "caf\xe9", "caf\xc3\xa9", true},                    /* Windows-1252 without a name */
    {"", "\x93quoted\x94", "\xe2\x80\x9cquoted", true},
    {"", "\xc3", "\xc3\x83", true},                          /* cut sequence at the end */
    {"", "\xe2\x82", "\xe2\x82\xac", false},
    {"iso-8859-1", "stra\xdf" "e", "STRA\xc3\x9f" "E", true},
    {"ISO-8859-15", "\xa4 5", "\xe2\x82\xac 5", true},
    {"koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "\xd0\xbf\xd1\x80\xd0\xb8", true},
    {"iso-2022-jp", "\x1b$B$3$s$K$A$O\x1b(B ok", "\xe3\x81\xab\xe3\x81\xa1\xe3\x81\xaf ok", true},
    {"shift_jis", "\x82\xb1\x82\xf1", "\xe3\x81\x93\xe3\x82\x93", true},
    {"gb18030", "\xc4\xe3\xba\xc3", "\xe5\xa5\xbd", true},
    {"utf-16be", "\xfeH", "x", false},
    {"x-unknown", "plain ascii", "ascii", true},
    {"../../etc/passwd", "plain", "plain", true},
    /* Accents, forms, blanks. */
    {"", "Caf\xc3\xa9", "cafe", true},
    {"", "cafe", "CAF\xc3\x89", true},
    {"", "Cafe\xcc\x81 au lait", "caf\xc3\xa9 au", true},
    {"iso-8859-1", "Caf\xe9", "cafe", true},
    {"", "Stra\xc3\x9f" "e", "STRASSE", true},
    {"", "strasse", "stra\xc3\x9f" "e", true},
    {"", "\xc5\x81\xc3\xb3" "d\xc5\xba", "lodz", true},
    {"", "Troms\xc3\xb8", "TROMSO", true},
    {"", "\xc3\x86on", "aeon", true},
    {"", "\xc4\xb0stanbul", "istanbul", true},
    {"", "\xce\x86\xce\xb8\xce\xae\xce\xbd\xce\xb1\xcf\x82", "\xce\xb1\xce\xb8\xce\xb7\xce\xbd\xce\xb1\xcf\x83", true},
    {"", "\xd1\x91\xd0\xbb\xd0\xba\xd0\xb0", "\xd0\x95\xd0\x9b\xd0\x9a\xd0\x90", true},
    {"", "\xef\xbd\x86\xef\xbd\x95\xef\xbd\x8c\xef\xbd\x8c", "full", true},
    {"", "\xef\xac\x81le", "file", true},
    {"", "don\xe2\x80\x99t", "don't", true},
    {"", "hy\xc2\xadphen", "hyphen", true},
    {"", "two\r\n  words", "two words", true},
    {"", "two\xc2\xa0words", "two  words", true},
    {"", "twowords", "two words", false},
    {"", "\xe3\x81\x8c", "\xe3\x81\x8b", false},       /* ga is not ka */
    {"", "\xea\xb0\x81", "\xea\xb0\x80", false},       /* nor gak ga */
    {"", "\xe0\xa4\x95\xe0\xa4\xbf", "\xe0\xa4\x95\xe0\xa5\x87", false}, /* nor ki ke */
    {"", "\xd7\xa9\xd6\xb8\xd7\x9c\xd7\x95\xd7\x9d", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", true}, /* shalom with points */
    {"", "\xef\xb7\xba", "\xd8\xb5\xd9\x84\xd9\x89", true}, /* one character of eighteen */
};

/* What of HTML is text. */
static const struct row html[] = {
    {"", "a <b>bold</b> word", "a bold word", true},
    {"", "<b>C</b>af&eacute;", "cafe", true},
    {"", "one<br>two", "one two", true},
    {"", "one<br>two", "onetwo", false},
    {"", "<td>one</td><td>two</td>", "one two", true},
    {"", "<a href=\"x>y\">link</a>", "y", false},
    {"", "<a href='x>y' >link</a>", "link", true},
    {"", "<p title=don't>text</p>", "text", true},
    {"", "<!-- hidden --> shown", "hidden", false},
    {"", "<!-- a > b --!> shown <!---->", "shown", true},
    {"", "<!doctype html>text", "doctype", false},
    {"", "<style>p { color: red }</style>text", "color", false},
    {"", "<style>p</style>text", "text", true},
    {"", "<SCRIPT x=1>if (a</b) alert('</p>')</Script >text", "alert", false},
    {"", "<SCRIPT x=1>if (a</b) alert('</p>')</Script >text", "text", true},
    {"", "<scripted>text", "text", true},
    {"", "<script>open to the end", "open", false},
    {"", "a < b & c", "a < b & c", true},
    {"", "AT&T &amp; &lt;tag&gt; &#x41;&#66;&#67", "at&t & <tag> abc", true},
    {"", "&nosuch; &#1114112; &", "&nosuch; &#1114112; ", true},
    {"", "x&nbsp;&nbsp;y", "x y", true},
    {"", "hy&shy;phen", "hyphen", true},
    {"", "&averyverylongname;", "&averyverylongname;", true},
    {"", "<averyveryverylongtag a=b>x", "tag", false},
    {"iso-8859-1", "<b>\xe9t\xe9</b>", "ete", true},
};

static bool
matches(const struct row *row, struct shelf_span text, size_t piece, bool is_html)
{
	struct shelf_arena arena = {0};
	struct search_match m, *list[1] = {&m};
	struct search_text *t = shelf_arena_zalloc(&arena, sizeof *t);
	bool found;

	ck_assert(search_match_init(&m, shelf_span_str(row->pattern), &arena));
	search_text_begin(t, shelf_span_str(row->charset), list, 1);
	if (is_html)
		search_text_html(t);
	for (size_t at = 0; at < text.len; at += piece) {
		size_t len = text.len - at < piece ? text.len - at : piece;

		search_text_feed(t, shelf_span(text.data + at, len));
		if (at % 2 == 0)
			search_text_flush(t);
	}
	search_text_end(t);
	found = m.found;
	ck_assert(search_text_done(t) == found);
	shelf_arena_free(&arena);
	return found;
}

START_TEST(text_matches)
{
	const struct row *row = &rows[_i];
	struct shelf_span text = shelf_span_str(row->text);

	for (size_t piece = 1; piece <= text.len + 1; piece++) {
		ck_assert_msg(matches(row, text, piece, false) == row->want,
		    "row %d, \"%s\" in pieces of %zu", _i, row->pattern, piece);
	}
}
END_TEST

START_TEST(html_matches)
{
	const struct row *row = &html[_i];
	struct shelf_span text = shelf_span_str(row->text);

	for (size_t piece = 1; piece <= text.len + 1; piece++) {
		ck_assert_msg(matches(row, text, piece, true) == row->want,
		    "%s, \"%s\" in pieces of %zu", row->text, row->pattern, piece);
	}
}
END_TEST

/* Against the plain way to search, on a small alphabet that makes borders. */
START_TEST(equals_naive)
{
	uint32_t seed = 12345;

	for (unsigned n = 0; n < 2000; n++) {
		char text[65], pattern[7];
		struct row row = {"", text, pattern, false};
		size_t text_len, pattern_len;

		seed = seed * 1664525 + 1013904223;
		text_len = seed >> 8 & 63;
		pattern_len = 1 + (seed >> 16) % 6;
		for (size_t i = 0; i < text_len; i++) {
			seed = seed * 1664525 + 1013904223;
			text[i] = (char)('a' + (seed >> 24 & 1));
		}
		text[text_len] = '\0';
		for (size_t i = 0; i < pattern_len; i++) {
			seed = seed * 1664525 + 1013904223;
			pattern[i] = (char)('a' + (seed >> 24 & 1));
		}
		pattern[pattern_len] = '\0';
		ck_assert_msg(matches(&row, shelf_span_str(text), 1 + n % 7, false) ==
		    (strstr(text, pattern) != NULL), "%s in %s", pattern, text);
	}
}
END_TEST

START_TEST(empty_pattern)
{
	struct shelf_arena arena = {0};
	struct search_match m;

	ck_assert(!search_match_init(&m, shelf_span_str(""), &arena));
	shelf_arena_free(&arena);
}
END_TEST

/* The buffer of folded code points is smaller than this text. */
START_TEST(long_text)
{
	struct shelf_buf text = {0};
	struct row row = {"", NULL, "x needle y", true};

	for (unsigned i = 0; i < 5000; i++)
		shelf_buf_add_byte(&text, 'x');
	shelf_buf_add_str(&text, "x needle y");
	ck_assert(matches(&row, shelf_buf_span(&text), 4096, false));
	ck_assert(matches(&row, shelf_buf_span(&text), 1019, false));
	text.len--;
	ck_assert(!matches(&row, shelf_buf_span(&text), 4096, false));
	shelf_buf_free(&text);
}
END_TEST

Suite *
suite_search_text(void)
{
	Suite *suite = suite_create("search_text");
	TCase *tc = tcase_create("all");

	tcase_add_loop_test(tc, text_matches, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_loop_test(tc, html_matches, 0, (int)(sizeof html / sizeof *html));
	tcase_add_test(tc, equals_naive);
	tcase_add_test(tc, empty_pattern);
	tcase_add_test(tc, long_text);
	suite_add_tcase(suite, tc);
	return suite;
}
