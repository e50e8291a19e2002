/* test_mime_scan.c - the part tree of messages good and bad, however they are cut */
#include <check.h>
#include <stdlib.h>
#include <time.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "mime_check.h"

static struct mime_part *
scan(struct shelf_arena *arena, struct shelf_span message)
{
	struct mime_scan *s = mime_scan_new(arena);
	struct mime_part *root;

	mime_scan_feed(s, message.data, message.len);
	root = mime_scan_end(&s);
	ck_assert_ptr_null(s);
	return root;
}

/* "type/subtype{header|body}" for leaves; "type/subtype{header}(children)" for the others. */
static void
dump(const struct mime_part *part, struct shelf_span message, struct shelf_buf *out)
{
	shelf_buf_add_span(out, part->type);
	shelf_buf_add_byte(out, '/');
	shelf_buf_add_span(out, part->subtype);
	shelf_buf_add_byte(out, '{');
	shelf_buf_add(out, message.data + part->header_offset, part->header_len);
	if (part->child == NULL) {
		shelf_buf_add_byte(out, '|');
		shelf_buf_add(out, message.data + part->body_offset, part->body_len);
	}
	shelf_buf_add_byte(out, '}');
	if (part->child == NULL)
		return;
	shelf_buf_add_byte(out, '(');
	for (const struct mime_part *c = part->child; c != NULL; c = c->next)
		dump(c, message, out);
	shelf_buf_add_byte(out, ')');
}

#define MULTI "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define DIGEST "Content-Type: multipart/digest; boundary=b\r\n\r\n"
#define INNER "Content-Type: multipart/mixed; boundary=bb\n\n"

static const struct {
	const char *message, *want;
} rows[] = {
	{"", "text/plain{|}"},
	{"\r\n", "text/plain{\r\n|}"},
	{"a", "text/plain{a|}"},
	{"A: b\r\n\r\nbody\r\n", "text/plain{A: b\r\n\r\n|body\r\n}"},
	{"A: b\n\nbody", "text/plain{A: b\n\n|body}"},
	/* No empty line: all is header. */
	{"A: b\r\nno separator\r\n", "text/plain{A: b\r\nno separator\r\n|}"},
	{"A: b\r\n \r\nC: d\r\n\r\nx", "text/plain{A: b\r\n \r\nC: d\r\n\r\n|x}"},
	/* CR CR LF is what careless transfers make of CRLF. */
	{"A: b\r\r\n\r\r\nx", "text/plain{A: b\r\r\n\r\r\n|x}"},
	/* A bare CR ends no line. */
	{"A: b\r\rx\n\ny", "text/plain{A: b\r\rx\n\n|y}"},
	/* The line end before a delimiter belongs to it (RFC 2046 5.1.1). */
	{MULTI "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n\r\n--b--\r\n",
	    "multipart/mixed{" MULTI "}(text/plain{\r\n|one}text/plain{\r\n|two\r\n})"},
	{MULTI "--b\n\none\n--b\n\ntwo\n--b--", "multipart/mixed{" MULTI "}(text/plain{\n|one}text/plain{\n|two})"},
	/* Preamble and epilogue belong to no part. */
	{MULTI "pre\r\n--b\r\n\r\nx\r\n--b--\r\nepi\r\n--b\r\nlogue",
	    "multipart/mixed{" MULTI "}(text/plain{\r\n|x})"},
	/* White space behind a delimiter, or anything (RFC 2046 5.1.1). */
	{MULTI "--b \t\r\n\r\nx\r\n--b-- \r\n", "multipart/mixed{" MULTI "}(text/plain{\r\n|x})"},
	{MULTI "--banana\r\n\r\nx\r\n--b--\r\n", "multipart/mixed{" MULTI "}(text/plain{\r\n|x})"},
	{MULTI " --b\r\n- -b\r\n-b\r\n--\r\n", "multipart/mixed{" MULTI "| --b\r\n- -b\r\n-b\r\n--\r\n}"},
	/* Final delimiter missing. */
	{MULTI "--b\r\n\r\nx\r\n", "multipart/mixed{" MULTI "}(text/plain{\r\n|x\r\n})"},
	{MULTI "--b", "multipart/mixed{" MULTI "}(text/plain{|})"},
	/* Empty header, empty body, no body. */
	{MULTI "--b\r\n\r\n--b\r\n\r\n\r\n--b\r\nA: b\r\n--b--",
	    "multipart/mixed{" MULTI "}(text/plain{\r\n|}text/plain{\r\n|}text/plain{A: b\r\n|})"},
	/* Only an end. */
	{MULTI "--b--\r\n", "multipart/mixed{" MULTI "|--b--\r\n}"},
	/* No boundary, or an empty one: no parts. */
	{"Content-Type: multipart/mixed\n\n--\n\nx", "multipart/mixed{Content-Type: multipart/mixed\n\n|--\n\nx}"},
	{"Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx",
	    "multipart/mixed{Content-Type: multipart/mixed; boundary=\"\"\n\n|--\n\nx}"},
	/* Blanks at the end of a boundary are no part of it, those inside are. */
	{"Content-Type: multipart/x; boundary=\"a b \"\n\n--a b\n\nx\n--a b--",
	    "multipart/x{Content-Type: multipart/x; boundary=\"a b \"\n\n}(text/plain{\n|x})"},
	/* Inner multiparts: the longest boundary that fits is meant ... */
	{MULTI "--b\n" INNER "--bb\n\nx\n--bb--\n--b--",
	    "multipart/mixed{" MULTI "}(multipart/mixed{" INNER "}(text/plain{\n|x}))"},
	/* ... the outer one ends the inner one ... */
	{MULTI "--b\n" INNER "--bb\n\nx\n--b\n\ny\n--b--",
	    "multipart/mixed{" MULTI "}(multipart/mixed{" INNER "}(text/plain{\n|x})text/plain{\n|y})"},
	{MULTI "--b\n" INNER "--b\n\ny\n--b--",
	    "multipart/mixed{" MULTI "}(multipart/mixed{" INNER "|}text/plain{\n|y})"},
	/* ... in the inner one's header too ... */
	{MULTI "--b\nContent-Type: multipart/mixed; boundary=c\n--b\n\ny",
	    "multipart/mixed{" MULTI "}(multipart/mixed{Content-Type: multipart/mixed; boundary=c\n|}"
	    "text/plain{\n|y})"},
	/* ... and of two equal ones the inner is meant. */
	{MULTI "--b\n" MULTI "--b\n\nx\n--b--\n--b--",
	    "multipart/mixed{" MULTI "}(multipart/mixed{" MULTI "}(text/plain{\n|x}))"},
	/* Messages. */
	{"Content-Type: message/rfc822\n\nSubject: s\n\nx",
	    "message/rfc822{Content-Type: message/rfc822\n\n}(text/plain{Subject: s\n\n|x})"},
	{"Content-Type: message/GLOBAL\n\n", "message/GLOBAL{Content-Type: message/GLOBAL\n\n}(text/plain{|})"},
	{"Content-Type: message/rfc822", "message/rfc822{Content-Type: message/rfc822}(text/plain{|})"},
	{MULTI "--b\nContent-Type: message/rfc822\n--b--",
	    "multipart/mixed{" MULTI "}(message/rfc822{Content-Type: message/rfc822\n}(text/plain{|}))"},
	{MULTI "--b\nContent-Type: message/rfc822\n\nA: b\n--b--",
	    "multipart/mixed{" MULTI "}(message/rfc822{Content-Type: message/rfc822\n\n}(text/plain{A: b\n|}))"},
	{MULTI "--b\nContent-Type: message/rfc822\n\nA: b\n\nx\n--b--",
	    "multipart/mixed{" MULTI "}(message/rfc822{Content-Type: message/rfc822\n\n}(text/plain{A: b\n\n|x}))"},
	/* Encoded, they are opaque. */
	{"Content-Type: message/rfc822\nContent-Transfer-Encoding: BASE64\n\nQTogYg==",
	    "message/rfc822{Content-Type: message/rfc822\nContent-Transfer-Encoding: BASE64\n\n|QTogYg==}"},
	{"Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable (x)\n\nA",
	    "message/rfc822{Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable (x)\n\n|A}"},
	/* Digests hold messages by default (RFC 2046 5.1.5). */
	{DIGEST "--b\n\nA: b\n\nx\n--b\nContent-Type: text/html\n\ny\n--b--",
	    "multipart/digest{" DIGEST "}(message/rfc822{\n}(text/plain{A: b\n\n|x})"
	    "text/html{Content-Type: text/html\n\n|y})"},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

START_TEST(scan_rows)
{
	struct shelf_span message = shelf_span_str(rows[_i].message);
	struct shelf_arena arena = {0};
	struct mime_part *root = scan(&arena, message);
	struct shelf_buf out = {0};

	dump(root, message, &out);
	ck_assert_str_eq(shelf_buf_cstr(&out), rows[_i].want);
	ck_assert_ptr_null(mime_check_tree(root, message));
	ck_assert_ptr_null(mime_check_record(root));
	ck_assert_ptr_null(mime_check_headed(root, message));
	for (size_t cut = 1; cut < 8; cut++)
		ck_assert_ptr_null(mime_check_cut(root, message, cut));
	shelf_buf_free(&out);
	shelf_arena_free(&arena);
}
END_TEST

static struct shelf_span
filled(struct shelf_buf *b, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		shelf_buf_add_str(b, text);
	return shelf_buf_span(b);
}

static void
check_all(const struct mime_part *root, struct shelf_span message, size_t cut)
{
	ck_assert_ptr_null(mime_check_tree(root, message));
	ck_assert_ptr_null(mime_check_record(root));
	ck_assert_ptr_null(mime_check_headed(root, message));
	ck_assert_ptr_null(mime_check_cut(root, message, cut));
}

START_TEST(scan_nul)
{
	static const char text[] = "Subject: a\0b\n\nx\0y\n\0";
	struct shelf_span message = shelf_span(text, sizeof(text) - 1);
	struct shelf_arena arena = {0};
	struct mime_part *root = scan(&arena, message);

	ck_assert_uint_eq(root->body_len, 5);
	ck_assert(shelf_span_eq(root->envelope->subject, shelf_span_str("a\x80" "b")));
	check_all(root, message, 1);
	shelf_arena_free(&arena);
}
END_TEST

/* A header longer than what is kept: the rest is not read, but the offsets are right. */
START_TEST(scan_header_beyond_limit)
{
	struct shelf_buf b = {0};
	struct shelf_arena arena = {0};
	struct mime_part *root;
	struct shelf_span message;
	size_t header;

	shelf_buf_add_str(&b, "Subject: early\n");
	filled(&b, "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n", 20000);
	shelf_buf_add_str(&b, "To: late@example.com\n\n");
	header = b.len;
	message = filled(&b, "body\n", 3);
	root = scan(&arena, message);
	ck_assert(header > MIME_HEADER_KEPT_MAX);
	ck_assert_uint_eq(root->header_len, header);
	ck_assert_uint_eq(root->body_len, 15);
	ck_assert_uint_eq(root->lines, 3);
	ck_assert(shelf_span_is(root->envelope->subject, "early"));
	ck_assert_ptr_null(root->envelope->to);
	check_all(root, message, 977);
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(scan_depth_limit)
{
	struct shelf_buf b = {0};
	struct shelf_arena arena = {0};
	struct mime_part *part;
	struct shelf_span message;
	unsigned depth = 1;

	for (unsigned i = 0; i < 3 * MIME_DEPTH_MAX; i++)
		shelf_buf_printf(&b, "Content-Type: multipart/mixed; boundary=\"%03u.\"\n\n--%03u.\n", i, i);
	message = shelf_buf_span(&b);
	part = scan(&arena, message);
	check_all(part, message, 7);
	for (; part->child != NULL; part = part->child)
		depth++;
	ck_assert_uint_eq(depth, MIME_DEPTH_MAX);
	ck_assert_int_eq(part->kind, MIME_MULTIPART);
	shelf_arena_reset(&arena);
	shelf_buf_clear(&b);
	message = filled(&b, "Content-Type: message/rfc822\n\n", 2 * MIME_DEPTH_MAX);
	part = scan(&arena, message);
	check_all(part, message, 7);
	for (depth = 1; part->child != NULL; part = part->child)
		depth++;
	ck_assert_uint_eq(depth, MIME_DEPTH_MAX);
	ck_assert_int_eq(part->kind, MIME_LEAF);
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(scan_parts_limit)
{
	struct shelf_buf b = {0};
	struct shelf_arena arena = {0};
	struct mime_part *root;
	struct shelf_span message;
	unsigned parts = 1;

	shelf_buf_add_str(&b, MULTI);
	message = filled(&b, "--b\r\n\r\nx\r\n", 2 * MIME_PARTS_MAX);
	root = scan(&arena, message);
	for (const struct mime_part *c = root->child; c != NULL; c = c->next)
		parts++;
	ck_assert_uint_eq(parts, MIME_PARTS_MAX);
	check_all(root, message, 101);
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

/* Two bytes of text make an address of a hundred: the sum over all parts is bounded. */
START_TEST(scan_budget)
{
	struct shelf_buf b = {0};
	struct shelf_arena arena = {0};
	struct mime_part *root;
	struct shelf_span message;

	shelf_buf_add_str(&b, "Content-Type: multipart/digest; boundary=b\n\n");
	for (int i = 0; i < 500; i++) {
		filled(&b, "--b\n\nTo: ", 1);
		filled(&b, "a,", 2000);
		filled(&b, "\nContent-Type: a/b", 1);
		filled(&b, ";a=b", 200);
		filled(&b, "\n\n", 1);
	}
	message = shelf_buf_span(&b);
	root = scan(&arena, message);
	ck_assert_uint_lt(arena.used_bytes, 16u << 20);
	check_all(root, message, 4096);
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

/* Delimiters that fit a hundred boundaries almost; lines without end; the seconds are generous for
 * slow machines and sanitizers, quadratic work would take hours. */
START_TEST(scan_hostile_is_linear)
{
	static const struct {
		const char *unit;
		size_t times;
	} fillers[] = {
		{"--qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq\n", 40000},
		{"--q\n", 400000}, {"-", 4000000}, {"\n", 1000000}, {"\r", 4000000}, {"--q-", 1000000},
	};
	struct shelf_buf b = {0};
	struct shelf_arena arena = {0};
	struct shelf_span message;
	struct mime_part *root;
	clock_t start = clock();

	for (unsigned i = 0; i < MIME_DEPTH_MAX; i++)
		shelf_buf_printf(&b,
		    "Content-Type: multipart/mixed; boundary=%s%02u\n\n--%s%02u\n",
		    "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", i,
		    "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", i);
	message = filled(&b, fillers[_i].unit, fillers[_i].times);
	root = scan(&arena, message);
	ck_assert_int_lt((clock() - start) / CLOCKS_PER_SEC, 10);
	check_all(root, message, 65536);
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

/* Random messages from pieces that matter: the properties hold and no cut changes the tree. */
START_TEST(scan_random)
{
	static const char *const pieces[] = {
		"\r\n", "\n", "\r", "--b", "--bb", "--", "-", "b", " ", ":", "A: b\r\n", "x", "--b--", "\r\n--b\r\n",
		"\n--bb\n", "Content-Type: multipart/mixed; boundary=b\n\n", ";", "\"",
		"Content-Type: multipart/digest; boundary=bb\r\n\r\n", "Content-Type: message/rfc822\r\n\r\n",
		"Content-Type: text/plain; charset=x\r\n", "To: a, b: c;\r\n", "(", "\\", "\xe9",
	};
	unsigned seed = (unsigned)_i + 1;

	for (int round = 0; round < 500; round++) {
		struct shelf_buf b = {0};
		struct shelf_arena arena = {0};
		struct mime_part *root;

		for (int n = rand_r(&seed) % 60; n >= 0; n--)
			shelf_buf_add_str(&b,
			    pieces[(unsigned)rand_r(&seed) % (sizeof(pieces) / sizeof(pieces[0]))]);
		root = scan(&arena, shelf_buf_span(&b));
		check_all(root, shelf_buf_span(&b), 1 + (size_t)rand_r(&seed) % 9);
		shelf_buf_free(&b);
		shelf_arena_free(&arena);
	}
}
END_TEST

START_TEST(scan_free_half_way)
{
	struct shelf_arena arena = {0};
	struct mime_scan *s = mime_scan_new(&arena);

	mime_scan_feed(s, "Subject: x", 10);
	mime_scan_feed(s, NULL, 0);
	mime_scan_free(&s);
	ck_assert_ptr_null(s);
	mime_scan_free(&s);
	shelf_arena_free(&arena);
}
END_TEST

Suite *suite_mime_scan(void);
Suite *
suite_mime_scan(void)
{
	Suite *s = suite_create("mime_scan");
	TCase *tc = tcase_create("scan");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, scan_rows, 0, ROWS);
	tcase_add_test(tc, scan_nul);
	tcase_add_test(tc, scan_header_beyond_limit);
	tcase_add_test(tc, scan_depth_limit);
	tcase_add_test(tc, scan_parts_limit);
	tcase_add_test(tc, scan_budget);
	tcase_add_loop_test(tc, scan_hostile_is_linear, 0, 6);
	tcase_add_loop_test(tc, scan_random, 0, 8);
	tcase_add_test(tc, scan_free_half_way);
	suite_add_tcase(s, tc);
	return s;
}
