/*
 * test_imap_section.c - sections of FETCH: text to section, section to bytes, header lines chosen
 */
#include <check.h>
#include <stdlib.h>

#include "imap_fetch.h"

Suite *suite_imap_section(void);

/* ---- Parsing ---------------------------------------------------------------------------------- */

static const struct {
	const char *in;   /* behind "BODY[" */
	const char *want; /* as the response names it; NULL: refused */
} labels[] = {
    {"]", "BODY[]"},
    {"]<0.10>", "BODY[]<0>"},
    {"header]", "BODY[HEADER]"},
    {"TEXT]<4294967296.1>", "BODY[TEXT]<4294967296>"},
    {"1]", "BODY[1]"},
    {"1.2.3]", "BODY[1.2.3]"},
    {"1.MIME]", "BODY[1.MIME]"},
    {"4.2.HEADER]", "BODY[4.2.HEADER]"},
    {"HEADER.FIELDS (From To)]", "BODY[HEADER.FIELDS (From To)]"},
    {"2.HEADER.FIELDS.NOT (\"a b\")]", "BODY[2.HEADER.FIELDS.NOT (\"a b\")]"},
    {"header.fields ({4}\r\nFrom)]<3.5>", "BODY[HEADER.FIELDS (From)]<3>"},
    {"MIME]", NULL},
    {"0]", NULL},
    {"1.]", NULL},
    {"1.0]", NULL},
    {"HEADER.1]", NULL},
    {"HEADER.FIELDS]", NULL},
    {"HEADER.FIELDS ()]", NULL},
    {"HEADER.FIELDS (From)", NULL},
    {"HEADER.FIELDS (\"\")]", NULL},
    {"HEADER (From)]", NULL},
    {"TEXT", NULL},
    {"NONSENSE]", NULL},
    {"]<1>", NULL},
    {"]<1.0>", NULL},
    {"]<1.2", NULL},
    {"]<-1.2>", NULL},
    {"4294967296]", NULL},
    {"", NULL},
};

static bool
parse(const char *text, struct shelf_arena *arena, struct imap_fetch_item *item)
{
	struct imap_parser p = {.at = (const uint8_t *)text, .arena = arena};

	p.end = p.at + strlen(text);
	memset(item, 0, sizeof *item);
	return imap_section_parse(&p, &item->section) && p.at == p.end;
}

START_TEST(section_label)
{
	struct shelf_arena arena = {0};
	struct imap_session s = {0};
	struct imap_fetch f = {.s = &s};
	struct imap_fetch_item item;
	bool ok = parse(labels[_i].in, &arena, &item);

	ck_assert_msg(ok == (labels[_i].want != NULL), "%s", labels[_i].in);
	if (ok) {
		imap_fetch_print_section(&f, &item);
		ck_assert_str_eq(shelf_buf_cstr(&s.out), labels[_i].want);
	}
	shelf_buf_free(&s.out);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(section_too_deep)
{
	struct shelf_arena arena = {0};
	struct imap_fetch_item item;
	struct shelf_buf text = {0};

	for (unsigned i = 0; i < IMAP_SECTION_PATH_MAX; i++)
		shelf_buf_add_str(&text, i == 0 ? "1" : ".1");
	shelf_buf_add_str(&text, "]");
	ck_assert(parse(shelf_buf_cstr(&text), &arena, &item));
	text.len--;
	shelf_buf_add_str(&text, ".1]");
	ck_assert(!parse(shelf_buf_cstr(&text), &arena, &item));
	shelf_buf_free(&text);
	shelf_arena_free(&arena);
}
END_TEST

/* ---- Items and macros ---------------------------------------------------------------------------- */

static const struct {
	const char *in;
	bool uid;
	const char *want; /* names of the rows; NULL: refused */
	unsigned needs;
} lists[] = {
    {"FLAGS", false, "FLAGS", IMAP_NEED_FLAGS},
    {"(flags)", false, "FLAGS", IMAP_NEED_FLAGS},
    {"ALL", false, "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE",
        IMAP_NEED_FLAGS | IMAP_NEED_ROW | IMAP_NEED_RECORD},
    {"fast", false, "FLAGS INTERNALDATE RFC822.SIZE", IMAP_NEED_FLAGS | IMAP_NEED_ROW},
    {"FULL", true, "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY",
        IMAP_NEED_FLAGS | IMAP_NEED_ROW | IMAP_NEED_RECORD},
    {"(FLAGS UID)", true, "FLAGS UID", IMAP_NEED_FLAGS},
    {"BODY", false, "BODY", IMAP_NEED_ROW | IMAP_NEED_RECORD},
    {"BODY[]", false, "BODY[", IMAP_NEED_ROW | IMAP_NEED_BODY | IMAP_SETS_SEEN},
    {"BODY.PEEK[]", false, "BODY.PEEK[", IMAP_NEED_ROW | IMAP_NEED_BODY},
    {"RFC822", false, "RFC822", IMAP_NEED_ROW | IMAP_NEED_BODY | IMAP_SETS_SEEN},
    {"(RFC822.HEADER UID)", false, "RFC822.HEADER UID",
        IMAP_NEED_ROW | IMAP_NEED_BODY | IMAP_NEED_RECORD},
    {"BODY.PEEK[1]", false, "BODY.PEEK[", IMAP_NEED_ROW | IMAP_NEED_BODY | IMAP_NEED_RECORD},
    {"()", false, NULL, 0},
    {"(ALL)", false, NULL, 0},
    {"(FLAGS", false, NULL, 0},
    {"(FLAGS  UID)", false, NULL, 0},
    {"(FLAGS )", false, NULL, 0},
    {"FLAGS UID", false, NULL, 0},
    {"BODY.PEEK", false, NULL, 0},
    {"FLAGS[]", false, NULL, 0},
    {"BODYSTRUCTURE[1]", false, NULL, 0},
    {"RFC822[]", false, NULL, 0},
    {"", false, NULL, 0},
};

START_TEST(item_list)
{
	struct shelf_arena arena = {0};
	struct shelf_buf names = {0};
	struct imap_fetch_items items;
	struct imap_parser p = {.at = (const uint8_t *)lists[_i].in, .arena = &arena};
	bool ok;

	p.end = p.at + strlen(lists[_i].in);
	ok = imap_fetch_parse(&p, lists[_i].uid, &items) && imap_parse_end(&p);
	ck_assert_msg(ok == (lists[_i].want != NULL), "%s", lists[_i].in);
	if (ok) {
		for (size_t i = 0; i < items.n; i++)
			shelf_buf_printf(&names, "%s%s", i == 0 ? "" : " ", items.item[i].row->name);
		ck_assert_str_eq(shelf_buf_cstr(&names), lists[_i].want);
		ck_assert_uint_eq(items.needs, lists[_i].needs);
	}
	shelf_buf_free(&names);
	shelf_arena_free(&arena);
}
END_TEST

/* ---- Ranges ---------------------------------------------------------------------------------------- */

#define INNER_HEADER "Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n"
#define INNER_BODY                                                                                 \
	"--in\r\nContent-Type: text/plain\r\n\r\nplain\r\n--in\r\nContent-Type: text/html\r\n\r\n"       \
	"<p>\r\n--in--\r\n"
#define SINGLE_HEADER "Subject: single\r\n\r\n"
#define OUTER_HEADER "From: a@b\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\n"
#define OUTER_BODY                                                                                 \
	"pre\r\n--out\r\nX-One: 1\r\n\r\nfirst\r\n--out\r\nContent-Type: message/rfc822\r\n\r\n"        \
	INNER_HEADER INNER_BODY "\r\n--out\r\nContent-Type: message/rfc822\r\n\r\n" SINGLE_HEADER     \
	"alone\r\n--out--\r\npost"

static const struct {
	const char *section;
	const char *want; /* NULL: NIL */
} ranges[] = {
    {"]", OUTER_HEADER OUTER_BODY},
    {"HEADER]", OUTER_HEADER},
    {"TEXT]", OUTER_BODY},
    {"1]", "first"},
    {"1.MIME]", "X-One: 1\r\n\r\n"},
    {"1.1]", NULL},
    {"1.HEADER]", NULL},
    {"1.TEXT]", NULL},
    {"2]", INNER_HEADER INNER_BODY},
    {"2.MIME]", "Content-Type: message/rfc822\r\n\r\n"},
    {"2.HEADER]", INNER_HEADER},
    {"2.TEXT]", INNER_BODY},
    {"2.1]", "plain"},
    {"2.2]", "<p>"},
    {"2.2.MIME]", "Content-Type: text/html\r\n\r\n"},
    {"2.3]", NULL},
    {"2.1.1]", NULL},
    {"3.HEADER]", SINGLE_HEADER},
    {"3.TEXT]", "alone"},
    {"3.1]", "alone"},
    {"3.1.MIME]", SINGLE_HEADER},
    {"3.1.1]", NULL},
    {"3.2]", NULL},
    {"4]", NULL},
    {"TEXT]<0.5>", "pre\r\n"},
    {"1]<2.2>", "rs"},
    {"1]<2.100>", "rst"},
    {"1]<5.1>", ""},
    {"1]<9223372036854775807.9223372036854775807>", ""},
};

static struct mime_part *
scan(const char *message, struct shelf_arena *arena)
{
	struct mime_scan *scan = mime_scan_new(arena);

	mime_scan_feed(scan, message, strlen(message));
	return mime_scan_end(&scan);
}

START_TEST(section_range)
{
	static const char message[] = OUTER_HEADER OUTER_BODY;
	struct shelf_arena arena = {0};
	struct imap_fetch_item item;
	struct imap_slice slice = {0};

	ck_assert(parse(ranges[_i].section, &arena, &item));
	imap_section_resolve(&item.section, scan(message, &arena), sizeof message - 1, &slice);
	ck_assert_msg(slice.nil == (ranges[_i].want == NULL), "%s", ranges[_i].section);
	if (!slice.nil) {
		slice.total = slice.len;
		imap_section_cut(&item.section, &slice);
		ck_assert_uint_le(slice.offset + slice.from + slice.size, sizeof message - 1);
		ck_assert_uint_eq(slice.size, strlen(ranges[_i].want));
		ck_assert_mem_eq(message + slice.offset + slice.from, ranges[_i].want, slice.size);
	}
	shelf_arena_free(&arena);
}
END_TEST

/* A message whose whole body is another message: part 1 is that message. */
START_TEST(section_of_bare_message)
{
	static const char message[] = "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ntext\r\n";
	static const struct {
		const char *section, *want;
	} rows[] = {{"1]", "Subject: x\r\n\r\ntext\r\n"}, {"1.HEADER]", "Subject: x\r\n\r\n"},
	    {"1.1]", "text\r\n"}, {"1.1.1]", NULL}};
	struct shelf_arena arena = {0};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct imap_fetch_item item;
		struct imap_slice slice = {0};

		ck_assert(parse(rows[i].section, &arena, &item));
		imap_section_resolve(&item.section, scan(message, &arena), sizeof message - 1, &slice);
		ck_assert_msg(slice.nil == (rows[i].want == NULL), "%s", rows[i].section);
		if (slice.nil)
			continue;
		ck_assert_uint_eq(slice.len, strlen(rows[i].want));
		ck_assert_mem_eq(message + slice.offset, rows[i].want, slice.len);
	}
	shelf_arena_free(&arena);
}
END_TEST

/* Parts that BODYSTRUCTURE has to invent are empty, not missing. */
START_TEST(section_of_nothing)
{
	static const struct {
		const char *message, *section;
		bool nil;
	} rows[] = {
	    {"Content-Type: multipart/mixed; boundary=b\r\n\r\nno part\r\n", "1]", false},
	    {"Content-Type: multipart/mixed; boundary=b\r\n\r\nno part\r\n", "1.MIME]", false},
	    {"Content-Type: multipart/mixed; boundary=b\r\n\r\nno part\r\n", "1.HEADER]", true},
	    {"Content-Type: multipart/mixed; boundary=b\r\n\r\nno part\r\n", "2]", true},
	    {"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n",
	        "1.1]", false},
	    {"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n",
	        "1.2]", true},
	};
	struct shelf_arena arena = {0};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct imap_fetch_item item;
		struct imap_slice slice = {0};

		ck_assert(parse(rows[i].section, &arena, &item));
		imap_section_resolve(&item.section, scan(rows[i].message, &arena),
		    strlen(rows[i].message), &slice);
		ck_assert_msg(slice.nil == rows[i].nil, "row %zu", i);
		ck_assert_uint_eq(slice.len, 0);
	}
	shelf_arena_free(&arena);
}
END_TEST

/* ---- The header filter ------------------------------------------------------------------------------- */

static const char *const headers[] = {
    "From: a\r\nTo: b\r\n c\r\nSubject: d\r\n\r\n",
    "FROM:a\nto : b\n\tc\n\n",
    " lost\r\nFrom: a\r\nno field\r\n goes with it\r\nTo: b\r\n\r\nFrom: body\r\n",
    "From joe@example.org Thu Jan  1 00:00:00 1970\r\nFrom: a\r\n\r\n",
    "From: a\r\n\r\r\n",
    "From: no end",
    "From: one\r\nFrom: two\r\nFromage: x\r\nFro: y\r\n\r\n",
    ":empty\r\nFrom\r\n:\r\n\r\n",
    "From: cut\r\n ",
    "\r\n",
    "",
};

/* What mime_field_next says, and the empty line. */
static void
model(struct shelf_span header, bool negate, struct shelf_buf *out)
{
	struct mime_field field;
	size_t pos = 0;

	while (mime_field_next(header, &pos, &field)) {
		bool listed = shelf_span_is(field.name, "from") || shelf_span_is(field.name, "to");

		if (listed != negate)
			shelf_buf_add_span(out, field.whole);
	}
	while (pos < header.len) {
		shelf_buf_add_byte(out, header.data[pos]);
		if (header.data[pos++] == '\n')
			break;
	}
}

START_TEST(header_fields)
{
	struct shelf_span header = shelf_span_str(headers[_i]);
	struct shelf_arena arena = {0};
	struct imap_header_filter *h = malloc(sizeof *h);
	struct shelf_buf want = {0}, got = {0};
	struct imap_fetch_item item;

	for (unsigned round = 0; round < 2; round++) {
		ck_assert(parse(round == 0 ? "HEADER.FIELDS (tO FROM)]" :
		    "HEADER.FIELDS.NOT (From to)]", &arena, &item));
		shelf_buf_clear(&want);
		model(header, round == 1, &want);
		for (size_t piece = 1; piece <= header.len + 1; piece++) {
			shelf_buf_clear(&got);
			imap_header_init(h, &item.section);
			for (size_t at = 0; at < header.len; at += piece) {
				size_t len = header.len - at < piece ? header.len - at : piece;

				imap_header_feed(h, shelf_span(header.data + at, len), &got);
			}
			ck_assert_msg(shelf_span_eq(shelf_buf_span(&want), shelf_buf_span(&got)),
			    "pieces of %zu: \"%s\" instead of \"%s\"", piece, shelf_buf_cstr(&got),
			    shelf_buf_cstr(&want));
		}
	}
	shelf_buf_free(&want);
	shelf_buf_free(&got);
	shelf_arena_free(&arena);
	free(h);
}
END_TEST

Suite *
suite_imap_section(void)
{
	Suite *suite = suite_create("imap_section");
	TCase *tc = tcase_create("all");

	tcase_add_loop_test(tc, section_label, 0, (int)(sizeof labels / sizeof *labels));
	tcase_add_test(tc, section_too_deep);
	tcase_add_loop_test(tc, item_list, 0, (int)(sizeof lists / sizeof *lists));
	tcase_add_loop_test(tc, section_range, 0, (int)(sizeof ranges / sizeof *ranges));
	tcase_add_test(tc, section_of_bare_message);
	tcase_add_test(tc, section_of_nothing);
	tcase_add_loop_test(tc, header_fields, 0, (int)(sizeof headers / sizeof *headers));
	suite_add_tcase(suite, tc);
	return suite;
}
