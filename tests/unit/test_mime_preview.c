/* test_mime_preview.c - the first words of a message */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#define TEXT(type) "Content-Type: " type "\r\n\r\n"
#define HTML TEXT("text/html; charset=utf-8")
#define ALTERNATIVE "Content-Type: multipart/alternative; boundary=x\r\n\r\n"

static const struct {
	const char *message, *want;
} rows[] = {
	{"", ""}, {"Subject: x\r\n\r\n", ""}, {"\r\n  Hello,\r\n\r\n world \r\n", "Hello, world"},
	{"\r\na\tb\x01\x7f" "c \x0b d", "a b c d"}, {"\r\n***\r\nT\r\n=====\r\n-----\r\nx", "T x"},
	/* Quotations and what introduces them. */
	{"\r\n> old\r\nnew", "new"}, {"\r\nOn Monday Joe wrote:\r\n> old\r\n\r\nnew", "new"},
	{"\r\nOn Monday\r\nJoe <j@x>\r\nwrote:\r\n\r\n>> old\r\nnew", "new"},
	{"\r\nThese words stay:\r\nand so\r\ndo these:\r\nx\r\n> old", "These words stay: and so do these: x"},
	{"\r\nanswer\r\n\r\nJoe:\r\n> old", "answer"}, {"\r\nanswer\r\n> old", "answer"},
	{"\r\n> only\r\n> >this", "only this"}, {"\r\nA colon:\r\n\r\nb", "A colon: b"},
	{"\r\nI agree.\r\n-- \r\nJoe Doe", "I agree."}, {"\r\n-- \r\nsignature", ""},
	{"\r\nYes\r\n-----Original Message-----\r\nFrom: x", "Yes"},
	{"\r\n-----Original Message-----\r\nno words before", "no words before"},
	/* Ciphers. */
	{"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\ntext\r\n-----BEGIN PGP SIGNATURE-----\r\nx",
	    "text"},
	{"\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n", ""},
	{"Content-Type: multipart/encrypted; boundary=x\r\n\r\n--x\r\n\r\nVersion: 1\r\n--x--", ""},
	{"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nMIIB\r\n", ""},
	/* Which part. */
	{ALTERNATIVE "pre\r\n--x\r\n\r\nplain\r\n--x\r\n" HTML "<p>html\r\n--x--", "plain"},
	{ALTERNATIVE "--x\r\n\r\n \r\n--x\r\n" HTML "<p>html\r\n--x--", "html"},
	{ALTERNATIVE "--x\r\n" TEXT("image/png") "a\r\n--x\r\nContent-Disposition: attachment\r\n\r\nb\r\n--x--", ""},
	{ALTERNATIVE "--x\r\n" TEXT("message/rfc822") "A: b\r\n\r\ninner\r\n--x--", "inner"},
	{TEXT("text/calendar") "BEGIN:VCALENDAR", ""}, {TEXT("application/json") "{}", ""},
	/* HTML. */
	{HTML "<html><head><title>T</title><style>p{}</style></head><body><p>One</p><p>t<b>w</b>o &amp; 3"
	    "<!-- c --><script>x</script></body></html>", "One two & 3"},
	{HTML "<div>New</div><div>Joe wrote:<br></div><blockquote>old<p>older</blockquote>newer", "New newer"},
	{HTML "<blockquote>only <i>this</i></blockquote>", "only this"},
	{HTML "Sale!&nbsp;&zwnj;&nbsp;&#8203;&zwnj;&#847; &#8199;&shy;<br>Now", "Sale! Now"},
	{HTML "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae", "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae"},
	{HTML "a&#x202e;b", "ab"},
	/* Encodings. */
	{"Content-Transfer-Encoding: base64\r\n\r\nSGVs\r\nbG8=\r\n", "Hello"},
	{"Content-Transfer-Encoding: quoted-printable\r\n\r\nsof=\r\nt=20\r\n", "soft"},
	{TEXT("text/plain; charset=iso-8859-1") "caf\xe9", "caf\xc3\xa9"},
	{"\r\ncaf\xe9 \x80", "caf\xc3\xa9 \xe2\x82\xac"}, {"\r\ncaf\xc3\xa9", "caf\xc3\xa9"},
	{TEXT("text/plain; charset=us-ascii") "\xe2\x82\xac", "\xe2\x82\xac"},
	{TEXT("text/plain; charset=no-such") "a\xe9" "b", "a\xef\xbf\xbd" "b"},
};

static void
preview(struct shelf_span message, struct shelf_arena *arena, struct shelf_buf *out)
{
	struct mime_scan *scan = mime_scan_new(arena);

	mime_scan_feed(scan, message.data, message.len);
	shelf_buf_clear(out);
	shelf_buf_add_span(out, mime_scan_end(&scan)->preview);
}

START_TEST(preview_of)
{
	struct shelf_arena arena = {0};
	struct shelf_buf out = {0};

	preview(shelf_span_str(rows[_i].message), &arena, &out);
	ck_assert_msg(shelf_span_eq(shelf_buf_span(&out), shelf_span_str(rows[_i].want)), "%s: %s",
	    rows[_i].message, shelf_buf_cstr(&out));
	shelf_buf_free(&out);
	shelf_arena_free(&arena);
}
END_TEST

/* 200 characters, whatever they take, and however much markup stands before and between them. */
START_TEST(preview_length)
{
	static const char *const letters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	struct shelf_arena arena = {0};
	struct shelf_buf m = {0}, out = {0};

	for (size_t k = 0; k < 4; k++) {
		for (unsigned markup = 0; markup < 3; markup++) {
			shelf_buf_clear(&m);
			shelf_buf_add_str(&m, markup > 0 ? HTML : TEXT("text/plain; charset=utf-8"));
			for (unsigned i = 0; markup > 0 && i < 1000 * markup; i++)
				shelf_buf_add_str(&m, "<style>p { margin: 0 }</style>\r\n");
			for (unsigned i = 0; i < 250; i++)
				shelf_buf_add_str(&m, letters[k]);
			preview(shelf_buf_span(&m), &arena, &out);
			ck_assert_uint_eq(out.len, MIME_PREVIEW_MAX * strlen(letters[k]));
			ck_assert(shelf_utf8_valid(shelf_buf_span(&out)));
		}
	}
	/* What begins behind the first 128 KiB is not looked at. */
	shelf_buf_clear(&m);
	shelf_buf_add_str(&m, HTML);
	for (unsigned i = 0; i < 5000; i++)
		shelf_buf_add_str(&m, "<style>p { margin: 0 }</style>\r\n");
	shelf_buf_add_str(&m, "late");
	preview(shelf_buf_span(&m), &arena, &out);
	ck_assert_uint_eq(out.len, 0);
	shelf_buf_free(&m);
	shelf_buf_free(&out);
	shelf_arena_free(&arena);
}
END_TEST

/* Parts without words are passed over, a hundred of them. */
START_TEST(preview_parts)
{
	struct shelf_arena arena = {0};
	struct shelf_buf m = {0}, out = {0};

	for (unsigned empty = 99; empty <= 100; empty++) {
		shelf_buf_clear(&m);
		shelf_buf_add_str(&m, ALTERNATIVE);
		for (unsigned i = 0; i < empty; i++)
			shelf_buf_add_str(&m, "--x\r\n" TEXT("text/plain; charset=big5") "***\r\n");
		shelf_buf_add_str(&m, "--x\r\n\r\nwords\r\n--x--\r\n");
		preview(shelf_buf_span(&m), &arena, &out);
		ck_assert_str_eq(shelf_buf_cstr(&out), empty < 100 ? "words" : "");
	}
	shelf_buf_free(&m);
	shelf_buf_free(&out);
	shelf_arena_free(&arena);
}
END_TEST

/* A word does not end at the byte where a first try did. */
START_TEST(preview_cut)
{
	struct shelf_arena arena = {0};
	struct shelf_buf m = {0}, out = {0};

	shelf_buf_add_str(&m, TEXT("text/plain; charset=utf-8"));
	for (unsigned i = 0; i < 4090; i++)
		shelf_buf_add_byte(&m, i % 60 == 59 ? '\n' : ' ');
	shelf_buf_add_str(&m, "h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9");
	preview(shelf_buf_span(&m), &arena, &out);
	ck_assert_str_eq(shelf_buf_cstr(&out), "h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9");
	shelf_buf_free(&m);
	shelf_buf_free(&out);
	shelf_arena_free(&arena);
}
END_TEST

Suite *suite_mime_preview(void);
Suite *
suite_mime_preview(void)
{
	Suite *s = suite_create("mime_preview");
	TCase *tc = tcase_create("mime_preview");

	tcase_add_loop_test(tc, preview_of, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, preview_length);
	tcase_add_test(tc, preview_parts);
	tcase_add_test(tc, preview_cut);
	suite_add_tcase(s, tc);
	return s;
}
