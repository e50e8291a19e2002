/*
 * test_imap_structure.c - BODYSTRUCTURE and BODY of scanned messages, byte for byte
 */
#include <check.h>

#include "imap_fetch.h"

Suite *suite_imap_structure(void);

static const struct {
	const char *message, *structure, *body;
} rows[] = {
    {"Subject: x\r\n\r\nhello\r\n",
        "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 7 1 NIL NIL NIL NIL)",
        "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 7 1)"},
    {"", "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)",
        "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 0 0)"},
    {"Content-Type: IMAGE/PNG; name=\"a \\\"b\\\".png\"; x=y\r\nContent-ID: <1@x>\r\n"
     "Content-Description: a picture\r\nContent-Transfer-Encoding: base64\r\n"
     "Content-MD5: Q2hlY2s=\r\nContent-Disposition: attachment; filename=b.png\r\n"
     "Content-Language: en, de\r\nContent-Location: http://x/y\r\n\r\nAAAA",
        "(\"IMAGE\" \"PNG\" (\"name\" \"a \\\"b\\\".png\" \"x\" \"y\") \"<1@x>\" \"a picture\" "
        "\"base64\" 4 \"Q2hlY2s=\" (\"attachment\" (\"filename\" \"b.png\")) (\"en\" \"de\") "
        "\"http://x/y\")",
        "(\"IMAGE\" \"PNG\" (\"name\" \"a \\\"b\\\".png\" \"x\" \"y\") \"<1@x>\" \"a picture\" "
        "\"base64\" 4)"},
    {"Content-Type: multipart/mixed; boundary=b\r\nContent-Language: fr\r\n\r\n--b\r\n\r\none\r\n"
     "--b\r\nContent-Type: text/html\r\nContent-Disposition: inline\r\n\r\n<p>\r\n--b--\r\n",
        "((\"text\" \"plain\" NIL NIL NIL \"7BIT\" 3 0 NIL NIL NIL NIL)"
        "(\"text\" \"html\" NIL NIL NIL \"7BIT\" 3 0 NIL (\"inline\" NIL) NIL NIL)"
        " \"mixed\" (\"boundary\" \"b\") NIL \"fr\" NIL)",
        "((\"text\" \"plain\" NIL NIL NIL \"7BIT\" 3 0)"
        "(\"text\" \"html\" NIL NIL NIL \"7BIT\" 3 0) \"mixed\")"},
    /* no part at all: still one body (RFC 9051 9, body-type-mpart) */
    {"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n",
        "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)"
        " \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
        "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0) \"mixed\")"},
    {"Content-Type: multipart/mixed\r\n\r\nno boundary\r\n",
        "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)"
        " \"mixed\" NIL NIL NIL NIL)",
        "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0) \"mixed\")"},
    {"Content-Type: message/rfc822\r\n\r\nSubject: in\r\nFrom: a@b\r\n\r\nhi\r\n",
        "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 30 "
        "(NIL \"in\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
        "NIL NIL NIL NIL NIL) "
        "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 4 1 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)",
        NULL},
    /* encoded, so what is inside is not known: the syntax asks for a message nevertheless */
    {"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA==\r\n",
        "(\"message\" \"rfc822\" NIL NIL NIL \"base64\" 18 "
        "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
        "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL) 1 NIL NIL NIL NIL)",
        NULL},
    /* 8-bit text cannot stand between quotes */
    {"Content-Type: text/plain; name=\"\xc3\xa9\"\r\n\r\n",
        "(\"text\" \"plain\" (\"name\" {2}\r\n\xc3\xa9) NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)",
        NULL},
};

static const char *
print(struct imap_session *s, const struct mime_part *root, bool extended)
{
	shelf_buf_clear(&s->out);
	imap_print_structure(s, root, extended);
	return shelf_buf_cstr(&s->out);
}

START_TEST(structure)
{
	struct shelf_arena arena = {0};
	struct imap_session s = {0};
	struct mime_scan *scan = mime_scan_new(&arena);
	struct mime_part *root;

	mime_scan_feed(scan, rows[_i].message, strlen(rows[_i].message));
	root = mime_scan_end(&scan);
	if (rows[_i].structure != NULL)
		ck_assert_str_eq(print(&s, root, true), rows[_i].structure);
	if (rows[_i].body != NULL)
		ck_assert_str_eq(print(&s, root, false), rows[_i].body);
	shelf_buf_free(&s.out);
	shelf_arena_free(&arena);
}
END_TEST

static bool
balanced(const char *text)
{
	int depth = 0;
	bool quoted = false;

	for (; *text != '\0'; text++) {
		if (quoted && *text == '\\' && text[1] != '\0')
			text++;
		else if (*text == '"')
			quoted = !quoted;
		else if (!quoted)
			depth += *text == '(' ? 1 : *text == ')' ? -1 : 0;
		if (depth < 0)
			return false;
	}
	return depth == 0 && !quoted;
}

/* As deep as a tree can be, and deeper. */
START_TEST(deepest)
{
	struct shelf_arena arena = {0};
	struct imap_session s = {0};
	struct shelf_buf message = {0};
	struct mime_scan *scan = mime_scan_new(&arena);

	for (unsigned i = 0; i < MIME_DEPTH_MAX + 20; i++) {
		shelf_buf_printf(&message, "Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n",
		    i, i);
	}
	shelf_buf_add_str(&message, "\r\nend\r\n");
	mime_scan_feed(scan, message.data, message.len);
	ck_assert(balanced(print(&s, mime_scan_end(&scan), true)));
	shelf_buf_free(&message);
	shelf_buf_free(&s.out);
	shelf_arena_free(&arena);
}
END_TEST

Suite *
suite_imap_structure(void)
{
	Suite *suite = suite_create("imap_structure");
	TCase *tc = tcase_create("all");

	tcase_add_loop_test(tc, structure, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, deepest);
	suite_add_tcase(suite, tc);
	return suite;
}
