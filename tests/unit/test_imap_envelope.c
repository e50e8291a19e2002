/*
 * test_imap_envelope.c - ENVELOPE of scanned messages, byte for byte
 */
#include <check.h>

#include "imap_fetch.h"

Suite *suite_imap_envelope(void);

#define A "((NIL NIL \"a\" \"b\"))"
#define NILS_5 "NIL NIL NIL NIL NIL"

static const struct {
	const char *header, *want;
} rows[] = {
    {"X: y\r\n\r\n", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
    {"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nSubject: hi\r\nMessage-ID: <1@x>\r\n"
     "In-Reply-To: <0@x>\r\n\r\n",
        "(\"Mon, 1 Jan 2024 00:00:00 +0000\" \"hi\" NIL NIL NIL NIL NIL NIL \"<0@x>\" \"<1@x>\")"},
    /* sender and reply-to default to from; empty ones too (RFC 9051 7.5.2) */
    {"From: a@b\r\n\r\n", "(NIL NIL " A " " A " " A " " NILS_5 ")"},
    {"From: a@b\r\nSender:\r\nReply-To: \r\n\r\n", "(NIL NIL " A " " A " " A " " NILS_5 ")"},
    {"From: a@b\r\nSender: s@b\r\nReply-To: r@b\r\n\r\n",
        "(NIL NIL " A " ((NIL NIL \"s\" \"b\")) ((NIL NIL \"r\" \"b\")) " NILS_5 ")"},
    /* present but empty is the empty string */
    {"Subject:\r\n\r\n", "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
    /* names, quotes, several */
    {"To: \"Doe, Joe\" <joe@x>, Ann <ann@y>\r\n\r\n",
        "(NIL NIL NIL NIL NIL ((\"Doe, Joe\" NIL \"joe\" \"x\")(\"Ann\" NIL \"ann\" \"y\")) NIL NIL "
        "NIL NIL)"},
    /* a group */
    {"Cc: Team: a@b, c@d;\r\n\r\n",
        "(NIL NIL NIL NIL NIL NIL ((NIL NIL \"Team\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")"
        "(NIL NIL NIL NIL)) NIL NIL NIL)"},
    /* folding is undone, encoded words stay */
    {"Subject: a\r\n =?utf-8?q?b?=\r\n\r\n",
        "(NIL \"a =?utf-8?q?b?=\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
    {"Subject: say \"x\\y\"\r\n\r\n",
        "(NIL \"say \\\"x\\\\y\\\"\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
    {"Subject: \xc3\xa9t\xc3\xa9\r\n\r\n",
        "(NIL {5}\r\n\xc3\xa9t\xc3\xa9 NIL NIL NIL NIL NIL NIL NIL NIL)"},
};

START_TEST(envelope)
{
	struct shelf_arena arena = {0};
	struct imap_session s = {0};
	struct mime_scan *scan = mime_scan_new(&arena);

	mime_scan_feed(scan, rows[_i].header, strlen(rows[_i].header));
	imap_print_envelope(&s, mime_scan_end(&scan)->envelope);
	ck_assert_str_eq(shelf_buf_cstr(&s.out), rows[_i].want);
	shelf_buf_free(&s.out);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(no_envelope)
{
	struct imap_session s = {0};

	imap_print_envelope(&s, NULL);
	ck_assert_str_eq(shelf_buf_cstr(&s.out), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
	shelf_buf_free(&s.out);
}
END_TEST

/* No byte of a message may end up as NUL, and none of 8 bits between quotes. */
START_TEST(no_nul)
{
	static const char header[] = "Subject: a\0b\xff\"\r\nFrom: \"x\0\xff\" <a\0@b>\r\n\r\n";
	struct shelf_arena arena = {0};
	struct imap_session s = {0};
	struct mime_scan *scan = mime_scan_new(&arena);

	mime_scan_feed(scan, header, sizeof header - 1);
	imap_print_envelope(&s, mime_scan_end(&scan)->envelope);
	ck_assert_ptr_null(memchr(s.out.data, 0, s.out.len));
	ck_assert_ptr_nonnull(memmem(s.out.data, s.out.len, "{5}\r\na\x80" "b\xff\"", 10));
	shelf_buf_free(&s.out);
	shelf_arena_free(&arena);
}
END_TEST

Suite *
suite_imap_envelope(void)
{
	Suite *suite = suite_create("imap_envelope");
	TCase *tc = tcase_create("all");

	tcase_add_loop_test(tc, envelope, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, no_envelope);
	tcase_add_test(tc, no_nul);
	suite_add_tcase(suite, tc);
	return suite;
}
