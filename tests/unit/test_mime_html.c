/* test_mime_html.c - the text of HTML */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

static void
text_of(struct shelf_span in, struct shelf_buf *out)
{
	uint32_t got[MIME_HTML_OUT];
	struct mime_html h;
	size_t pos = 0;
	unsigned n = 0;

	mime_html_init(&h);
	shelf_buf_clear(out);
	while (pos < in.len) {
		n = mime_html_next(&h, shelf_utf8_next(in, &pos), got);
		ck_assert_uint_le(n, MIME_HTML_OUT);
		for (unsigned i = 0; i < n; i++)
			shelf_utf8_add(out, got[i]);
	}
	n = mime_html_end(&h, got);
	for (unsigned i = 0; i < n; i++)
		shelf_utf8_add(out, got[i]);
}

static const struct {
	const char *in, *want;
} rows[] = {
	{"", ""}, {"plain", "plain"}, {"a\r\n\tb", "a   b"},
	{"<b>b</b>old", "bold"}, {"<p>one<p>two</p>", "\none\ntwo\n"}, {"a<br>b<BR/>c<br />d", "a\nb\nc\nd"},
	{"<td>a</td><td>b</td>", " a  b "}, {"a<img src=\"x>y\" alt='>'>b", "a b"},
	{"<a href=x>y>z", "y>z"}, {"<a title='\"'>x", "x"}, {"<a b=\"c>d", ""}, {"<a b'>x", "x"},
	{"<x-y z>a</x-y>", "a"}, {"<averyveryverylongname>a", "a"}, {"<p", ""}, {"a<", "a<"}, {"a</", "a"},
	{"1 < 2", "1 < 2"}, {"a<<b>c", "a<c"}, {"a</>b</ p>c", "abc"}, {"<3", "<3"}, {"<&lt;", "<<"},
	/* Not shown. */
	{"<style>p {a > b}</style>x", "x"}, {"<STYLE type=a>x</stylex></Style >y", "y"},
	{"<script>if (a</b/.test('<p>')) </scrip></script>x", "x"}, {"<title>T &amp; t</title>x", "x"},
	{"<style>never", ""}, {"<style></</style>x", "x"}, {"</style>x", "x"}, {"<style>a</style", ""},
	{"a<!-- b -->c", "ac"}, {"a<!-->b", "ab"}, {"a<!--->b", "ab"}, {"a<!-- b --!>c", "ac"},
	{"a<!-- > -> -- > b --->c", "ac"}, {"<!DOCTYPE html>x", "x"}, {"<!>x", "x"}, {"<!-x>y", "y"},
	{"<?xml a?>x", "x"}, {"<![if !mso]>x<![endif]>", "x"}, {"<!--[if mso]><p>a</p><![endif]-->x", "x"},
	{"a<!-- b", "a"},
	/* Entities. */
	{"&amp;&lt;&gt;&quot;&apos;", "&<>\"&apos;"}, {"&eacute;&Eacute;&euro;", "\xc3\xa9\xc3\x89\xe2\x82\xac"},
	{"&#65;&#x42;&#X43;&#0065;", "ABCA"}, {"&#128;&#x93;", "\xe2\x82\xac\xe2\x80\x9c"},
	{"&#0;&#xd800;&#x110000;", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, {"&#;&#x;&#g;", "&#;&#x;&#g;"},
	{"a & b && c;", "a & b && c;"}, {"&unknown; &", "&unknown; &"}, {"&nbsp<b>", "\xc2\xa0"},
	{"?a=1&copy=2&lt=3", "?a=1&copy=2<=3"}, {"&#65B", "AB"}, {"&amp", "&"}, {"&&amp;", "&&"},
	{"&abcdefghijklmnopqrs;", "&abcdefghijklmnopqrs;"}, {"&#99999999999;", "\xef\xbf\xbd"},
	{"&thetasym;&zwnj;", "\xcf\x91\xe2\x80\x8c"}, {"&Amp;", "&Amp;"},
};

START_TEST(text_of_html)
{
	struct shelf_buf out = {0};

	text_of(shelf_span_str(rows[_i].in), &out);
	ck_assert_msg(shelf_span_eq(shelf_buf_span(&out), shelf_span_str(rows[_i].want)), "%s: %s",
	    rows[_i].in, shelf_buf_cstr(&out));
	shelf_buf_free(&out);
}
END_TEST

START_TEST(quotes_are_counted)
{
	static const struct {
		const char *in;
		unsigned quotes;
	} depth[] = {{"a", 0}, {"<blockquote>", 1}, {"<blockquote a=b><p><BLOCKQUOTE>", 2},
	    {"<blockquote></blockquote></blockquote>", 0}, {"</blockquote><blockquote>", 1}};
	uint32_t got[MIME_HTML_OUT];

	for (size_t i = 0; i < sizeof depth / sizeof *depth; i++) {
		struct shelf_span in = shelf_span_str(depth[i].in);
		struct mime_html h;

		mime_html_init(&h);
		for (size_t pos = 0; pos < in.len;)
			mime_html_next(&h, shelf_utf8_next(in, &pos), got);
		ck_assert_msg(h.quotes == depth[i].quotes, "%s: %u", depth[i].in, h.quotes);
	}
}
END_TEST

/* Whatever comes in, no more goes out than it may, and nothing is made up. */
START_TEST(any_bytes)
{
	static const char *const words[] = {"<", ">", "&", ";", "/", "!", "-", "--", "\"", "'", "=", "#", "x",
	    "style", "script", "blockquote", "amp", "p", " ", "\n", "65", "\xc3\xa9", "?"};
	struct shelf_buf in = {0}, out = {0};
	unsigned seed = (unsigned)_i + 1;

	for (unsigned n = 0; n < 2000; n++) {
		shelf_buf_clear(&in);
		for (unsigned k = (unsigned)rand_r(&seed) % 40; k > 0; k--)
			shelf_buf_add_str(&in,
			    words[(size_t)rand_r(&seed) % (sizeof words / sizeof *words)]);
		text_of(shelf_buf_span(&in), &out);
		ck_assert_uint_le(out.len, in.len + 2);
		ck_assert(shelf_utf8_valid(shelf_buf_span(&out)));
	}
	shelf_buf_free(&in);
	shelf_buf_free(&out);
}
END_TEST

Suite *suite_mime_html(void);
Suite *
suite_mime_html(void)
{
	Suite *s = suite_create("mime_html");
	TCase *tc = tcase_create("mime_html");

	tcase_add_loop_test(tc, text_of_html, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, quotes_are_counted);
	tcase_add_loop_test(tc, any_bytes, 0, 5);
	suite_add_tcase(s, tc);
	return s;
}
