/* test_mime_text.c - to UTF-8: transfer encodings, charsets, encoded words */
#include <check.h>
#include <stdlib.h>
#include <time.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

/* ---- Transfer encodings ---------------------------------------------------------------------- */

static const struct {
	const char *encoding, *in, *want;
} transfers[] = {
	{"base64", "", ""}, {"base64", "YQ==", "a"}, {"BASE64", "YWI=", "ab"}, {"Base64 ", "YWJj", "abc"},
	{"base64", "YW\r\nJj\r\n", "abc"}, {"base64", "Y-W*J!j", "abc"},
	/* Padding in the middle, missing, too much. */
	{"base64", "YQ==YWI=YWJj", "aababc"}, {"base64", "YQ", "a"}, {"base64", "YWI", "ab"},
	{"base64", "Y", ""}, {"base64", "====YWJj====", "abc"}, {"base64", "YWJj\r\n-- \r\nYWJj", "abcabc"},
	{"quoted-printable", "", ""}, {"quoted-printable", "plain\r\ntext\n", "plain\r\ntext\n"},
	{"Quoted-Printable", "=41=4a=4A=3d", "AJJ="}, {"quoted-printable", "a=\r\nb=\nc", "abc"},
	{"quoted-printable", "a= \t\r\nb", "ab"}, {"quoted-printable", "a=\rb", "ab"},
	/* Blanks at the end of a line, inside, at the end of the text. */
	{"quoted-printable", "a \t\r\nb c\t\nd ", "a\r\nb c\nd"}, {"quoted-printable", " a", " a"},
	{"quoted-printable", "a =20\r\n", "a  \r\n"}, {"quoted-printable", "a \rb", "a\rb"},
	/* Not escapes. */
	{"quoted-printable", "=", ""}, {"quoted-printable", "=4", "=4"}, {"quoted-printable", "=4g=g4", "=4g=g4"},
	{"quoted-printable", "==41", "=A"}, {"quoted-printable", "= a", "= a"},
	{"quoted-printable", "=4\r\nb", "=4\r\nb"}, {"quoted-printable", "a=  b = \n", "a=  b "},
	{"quoted-printable", "=4=41", "=4A"}, {"quoted-printable", "=\r\r\nb", "\r\nb"},
	{"7bit", "a=41 \r\n", "a=41 \r\n"}, {"", "YQ==", "YQ=="}, {"x-unknown", "=41", "=41"},
};

static void
decode(struct shelf_buf *out, const char *encoding, struct shelf_span in, size_t cut)
{
	struct mime_decoder d;

	shelf_buf_clear(out);
	mime_decoder_init(&d, shelf_span_str(encoding));
	for (size_t i = 0; i < in.len; i += cut)
		mime_decoder_feed(&d, in.data + i, in.len - i < cut ? in.len - i : cut, out);
	mime_decoder_end(&d, out);
}

START_TEST(transfer_rows)
{
	struct shelf_span in = shelf_span_str(transfers[_i].in);
	struct shelf_buf out = {0};

	for (size_t cut = 1; cut < 9; cut++) {
		decode(&out, transfers[_i].encoding, in, cut);
		ck_assert_str_eq(shelf_buf_cstr(&out), transfers[_i].want);
	}
	shelf_buf_free(&out);
}
END_TEST

/* Runs of blanks around the size of what a decoder can hold back. */
START_TEST(transfer_long_blanks)
{
	struct shelf_buf in = {0}, whole = {0}, cut = {0};

	for (int run = 70; run < 90; run++) {
		for (int tail = 0; tail < 3; tail++) {
			shelf_buf_clear(&in);
			shelf_buf_add_byte(&in, tail == 2 ? '=' : 'a');
			for (int i = 0; i < run; i++)
				shelf_buf_add_byte(&in, i % 2 ? ' ' : '\t');
			shelf_buf_add_str(&in, tail == 1 ? "b" : "\r\nb");
			decode(&whole, "quoted-printable", shelf_buf_span(&in), in.len);
			decode(&cut, "quoted-printable", shelf_buf_span(&in), 1);
			ck_assert(shelf_span_eq(shelf_buf_span(&whole), shelf_buf_span(&cut)));
			ck_assert(tail != 1 || shelf_span_eq(shelf_buf_span(&whole), shelf_buf_span(&in)));
			if (run <= 76 && tail == 0)
				ck_assert(shelf_span_is(shelf_buf_span(&whole), "a\r\nb"));
			if (run <= 76 && tail == 2)
				ck_assert(shelf_span_is(shelf_buf_span(&whole), "b"));
		}
	}
	shelf_buf_free(&in);
	shelf_buf_free(&whole);
	shelf_buf_free(&cut);
}
END_TEST

START_TEST(transfer_base64_round_trip)
{
	struct shelf_buf raw = {0}, text = {0}, back = {0};
	unsigned seed = 3;

	for (int round = 0; round < 200; round++) {
		shelf_buf_clear(&raw);
		shelf_buf_clear(&text);
		for (int n = rand_r(&seed) % 400; n > 0; n--)
			shelf_buf_add_byte(&raw, (uint8_t)rand_r(&seed));
		shelf_base64_encode(&text, shelf_buf_span(&raw));
		decode(&back, "base64", shelf_buf_span(&text), 1 + (size_t)rand_r(&seed) % 50);
		ck_assert(shelf_span_eq(shelf_buf_span(&raw), shelf_buf_span(&back)));
	}
	shelf_buf_free(&raw);
	shelf_buf_free(&text);
	shelf_buf_free(&back);
}
END_TEST

/* ---- Charsets ---------------------------------------------------------------------------------- */

#define FFFD "\xef\xbf\xbd"

static const struct {
	const char *charset, *in, *want;
	bool known;
} charsets[] = {
	{"utf-8", "\xc3\xa9\xff\xc3", "\xc3\xa9" FFFD FFFD, true},
	{"UTF8", "\xed\xa0\x80", FFFD FFFD FFFD, true},
	{"us-ascii", "a\xe9", "a" FFFD, true},
	{"", "a", "a", true},
	{"iso-8859-1", "\xe9\x80", "\xc3\xa9\xe2\x82\xac", true},
	{"ISO-8859-15", "\xa4", "\xe2\x82\xac", true},
	{"\"latin1\"", "\xe9", "\xc3\xa9", true},
	{"windows-1251", "\xcf\xf0", "\xd0\x9f\xd1\x80", true},
	{"koi8-r", "\xf0\xd2", "\xd0\x9f\xd1\x80", true},
	{"iso-2022-jp", "\x1b$B$3\x1b(B!", "\xe3\x81\x93!", true},
	{"Shift_JIS", "\x82\xb1", "\xe3\x81\x93", true},
	{"euc-jp", "\xa4\xb3", "\xe3\x81\x93", true},
	{"gb2312", "\xc4\xe3", "\xe4\xbd\xa0", true},
	{"GBK", "\xc4\xe3", "\xe4\xbd\xa0", true},
	{"gb18030", "\x94\x39\xda\x33", "\xf0\x9f\x92\xa9", true},
	{"big5", "\xa7\x41", "\xe4\xbd\xa0", true},
	{"big5", "\xa7", FFFD, true},
	{"ks_c_5601-1987", "\xb0\xa1", "\xea\xb0\x80", true},
	{"euc-kr", "\xb0\xa1", "\xea\xb0\x80", true},
	{"utf-7", "+AOk-", "\xc3\xa9", true},
	{"utf-16be", "\xd8=\xdc\xa9", "\xf0\x9f\x92\xa9", true},
	{"utf-16be", "\xd8=", FFFD, true},
	{"tis-620", "\xa1", "\xe0\xb8\x81", true},
	{"iso-8859-1*en", "\xe9", "\xc3\xa9", true},
	{"x-unknown", "a\xe9z", "a" FFFD "z", false},
	{"../../etc/passwd", "a\xe9", "a" FFFD, false},
	{"utf-8,swaplfnl", "a\xe9", "a" FFFD, false},
	{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "a\xe9", "a" FFFD, false},
};

START_TEST(charset_rows)
{
	struct shelf_span charset = shelf_span_str(charsets[_i].charset);
	struct shelf_buf out = {0};

	mime_charset_utf8(charset, shelf_span_str(charsets[_i].in), &out);
	ck_assert_str_eq(shelf_buf_cstr(&out), charsets[_i].want);
	ck_assert(mime_charset_known(charset) == charsets[_i].known);
	shelf_buf_free(&out);
}
END_TEST

/* Whatever the bytes are, UTF-8 comes out, and not too much of it. */
START_TEST(charset_garbage)
{
	struct shelf_buf in = {0}, out = {0};
	unsigned seed = (unsigned)_i + 1;

	for (int i = 0; i < 5000; i++)
		shelf_buf_add_byte(&in, (uint8_t)rand_r(&seed));
	mime_charset_utf8(shelf_span_str(charsets[_i].charset), shelf_buf_span(&in), &out);
	ck_assert(shelf_utf8_valid(shelf_buf_span(&out)));
	ck_assert_uint_le(out.len, 8 * in.len);
	shelf_buf_free(&in);
	shelf_buf_free(&out);
}
END_TEST

/* ---- Encoded words ------------------------------------------------------------------------------- */

static const struct {
	const char *in, *want;
} words[] = {
	{"", ""}, {"plain text", "plain text"}, {" a\r\n b ", "a b"},
	{"=?utf-8?q?caf=C3=A9?=", "caf\xc3\xa9"}, {"=?UTF-8?B?Y2Fmw6k=?=", "caf\xc3\xa9"},
	{"=?iso-8859-1?Q?caf=e9_au_lait?=", "caf\xc3\xa9 au lait"}, {"=?iso-8859-1*fr?q?=E9?=", "\xc3\xa9"},
	/* Blanks between words vanish, around them they stay (RFC 2047 8). */
	{"(=?ISO-8859-1?Q?a?=)", "(a)"}, {"(=?ISO-8859-1?Q?a?= b)", "(a b)"},
	{"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"}, {"=?ISO-8859-1?Q?a?=\r\n  =?utf-8?Q?b?=", "ab"},
	{"(=?ISO-8859-1?Q?a_b?=)", "(a b)"}, {"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"},
	{"x =?utf-8?q?a?= =?utf-8?q?b?= y", "x ab y"}, {"=?utf-8?q?a?==?utf-8?q?b?=", "ab"},
	/* A character cut in two. */
	{"=?utf-8?q?=C3?= =?UTF-8?q?=A9?=", "\xc3\xa9"}, {"=?utf-8?b?ww==?= =?utf-8?q?=A9?=", "\xc3\xa9"},
	{"=?utf-8?q?=C3?= =?iso-8859-1?q?=A9?=", FFFD "\xc2\xa9"},
	{"=?utf-8?q?=C3?= x =?utf-8?q?=A9?=", FFFD " x " FFFD},
	/* Raw text. */
	{"caf\xc3\xa9", "caf\xc3\xa9"}, {"caf\xe9 \x80", "caf\xc3\xa9 \xe2\x82\xac"},
	{"\xe9 =?utf-8?q?=C3=A9?= \xe9", "\xc3\xa9 \xc3\xa9 \xc3\xa9"},
	/* Not words. */
	{"=?", "=?"}, {"=?a", "=?a"}, {"=?a?q", "=?a?q"}, {"=?a?q?", "=?a?q?"}, {"=?a?q?b", "=?a?q?b"},
	{"=?a?x?b?=", "=?a?x?b?="}, {"=??q?b?=", "=??q?b?="}, {"=?a b?q?c?=", "=?a b?q?c?="}, {"a=b?=", "a=b?="},
	{"=?=?utf-8?q?a?=", "=?a"},
	/* Loose ones. */
	{"=?utf-8?q?a b?=", "a b"}, {"=?utf-8?q?a?b?=", "a?b"}, {"=?utf-8?q?=4?=", "=4"}, {"=?utf-8?q?" "?=", ""},
	{"=?utf-8?b?YQ?=", "a"}, {"=?x-none?q?a=E9?=", "a" FFFD},
	/* No line breaks, no NUL. */
	{"=?utf-8?q?a=0D=0Ab=00c?=", "a  b c"},
};

START_TEST(word_rows)
{
	struct shelf_buf out = {0};

	mime_header_utf8(shelf_span_str(words[_i].in), &out);
	ck_assert_str_eq(shelf_buf_cstr(&out), words[_i].want);
	shelf_buf_free(&out);
}
END_TEST

static const char *const bombs[] = {
	"=?", "=?a?q?", "=?a?q?b", "?=", "=", "=?a?q?b?=", "=?utf-8?b?w?= ", "=?gb18030?q?=81?= =?big5?q?=a7?= ",
	"=?=", "=?a?", " ", "\xe9",
};

START_TEST(word_bombs)
{
	struct shelf_buf in = {0}, out = {0};
	clock_t start = clock();

	while (in.len < 1 << 20)
		shelf_buf_add_str(&in, bombs[_i]);
	mime_header_utf8(shelf_buf_span(&in), &out);
	ck_assert_int_lt((clock() - start) / CLOCKS_PER_SEC, 10);
	ck_assert(shelf_utf8_valid(shelf_buf_span(&out)));
	ck_assert_uint_le(out.len, 8 * in.len);
	shelf_buf_free(&in);
	shelf_buf_free(&out);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *suite_mime_text(void);
Suite *
suite_mime_text(void)
{
	Suite *s = suite_create("mime_text");
	TCase *tc = tcase_create("text");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, transfer_rows, 0, COUNT(transfers));
	tcase_add_test(tc, transfer_long_blanks);
	tcase_add_test(tc, transfer_base64_round_trip);
	tcase_add_loop_test(tc, charset_rows, 0, COUNT(charsets));
	tcase_add_loop_test(tc, charset_garbage, 0, COUNT(charsets));
	tcase_add_loop_test(tc, word_rows, 0, COUNT(words));
	tcase_add_loop_test(tc, word_bombs, 0, COUNT(bombs));
	suite_add_tcase(s, tc);
	return s;
}
