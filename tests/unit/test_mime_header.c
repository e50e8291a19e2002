/* test_mime_header.c - header blocks: fields, unfolding, structured fields, parameters */
#include <check.h>

#include <mailshelf/mime.h>

/* "name|value;name|value;" */
static void
walk(struct shelf_span header, struct shelf_buf *out)
{
	struct mime_field field;
	size_t pos = 0, last = 0;

	while (mime_field_next(header, &pos, &field)) {
		ck_assert_uint_gt(pos, last);
		last = pos;
		ck_assert_ptr_eq(field.name.data, field.whole.data);
		ck_assert_ptr_eq(field.whole.data + field.whole.len, header.data + pos);
		shelf_buf_add_span(out, field.name);
		shelf_buf_add_byte(out, '|');
		shelf_buf_add_span(out, field.value);
		shelf_buf_add_byte(out, ';');
	}
}

static const struct {
	const char *header, *want;
} fields[] = {
	{"", ""},
	{"\r\n", ""},
	{"A: b", "A| b;"},
	{"A: b\r\nC:d\n\nE: f\n", "A| b;C|d;"},
	{"A: b\r\n\tc\r\nD:\r\n e\r\n", "A| b\r\n\tc;D|\r\n e;"},
	{"A : b\n", "A| b;"},
	{"A:\n", "A|;"},
	{"A:\r\n", "A|;"},
	{"From me Mon Jan 1 10:00:00 2001\nA: b\n", "A| b;"},
	{" orphan: x\n y\nA: b\n", "A| b;"},
	{"junk\n more: junk\nA: b\n", "A| b;"},
	{": no name\nA: b\n", "A| b;"},
	{"A: b\n \nC: d\n", "A| b\n ;C| d;"},
	{"A: b\r\r\nC: d\r\r\n\r\r\nE: f\r\n", "A| b\r;C| d\r;"},
	{"\xc3\xa9: x\nA: \xe9\n", "A| \xe9;"},
	{"A: b\r", "A| b\r;"},
};

START_TEST(header_fields)
{
	struct shelf_buf out = {0};

	walk(shelf_span_str(fields[_i].header), &out);
	ck_assert_str_eq(shelf_buf_cstr(&out), fields[_i].want);
	shelf_buf_free(&out);
}
END_TEST

static const struct {
	const char *in, *want;
} unfolds[] = {
	{"", ""}, {"  ", ""}, {"\r\n", ""}, {" a ", "a"}, {"a\r\n b", "a b"}, {"a\r\n\t\t b", "a b"},
	{"a \r\n b", "a b"}, {"a  b", "a  b"}, {"a\tb", "a\tb"}, {"a\rb", "a b"}, {"a\n \r\n b\r\n", "a b"},
	{"\xe9 \r\n\xe9", "\xe9 \xe9"},
};

START_TEST(header_unfold)
{
	struct shelf_arena arena = {0};
	struct shelf_span got = mime_unfold(shelf_span_str(unfolds[_i].in), &arena);

	ck_assert_ptr_nonnull(got.data);
	ck_assert_str_eq(shelf_arena_str(&arena, got), unfolds[_i].want);
	shelf_arena_free(&arena);
}
END_TEST

/* "type/subtype;name=value;name=value" of a Content-Type. */
static const struct {
	const char *value, *want;
} types[] = {
	{"text/html", "text/html"},
	{"TEXT/Html; Charset=UTF-8", "TEXT/Html;Charset=UTF-8"},
	{" text / html ;\r\n\tcharset = \"utf-8\" ; a=b;", "text/html;charset=utf-8;a=b"},
	{"text(a)/(b(c))html(d) (e;f=g) ; a (x) = (y) b (z); c=d", "text/html;a=b;c=d"},
	{"text/plain charset=utf-8", "text/plain;charset=utf-8"},
	{"text/plain; charset=utf-8 format=flowed", "text/plain;charset=utf-8;format=flowed"},
	/* RFC 2045 5.2 */
	{"", "text/plain"},
	{"text", "text/plain"},
	{"text; charset=x", "text/plain;charset=x"},
	{"/html", "text/plain"},
	{"image/", "text/plain"},
	/* Quotes. */
	{"a/b; c=\"d;e\\\"f\\\\g\"; h=\"\"; i=", "a/b;c=d;e\"f\\g;h=;i="},
	{"a/b; c=\"un\r\n closed; d=e", "a/b;c=un closed; d=e"},
	{"a/b; c=\"x\\", "a/b;c=x"},
	{"a/b; c=\"x\"y\"z;\"; d=e", "a/b;c=x;d=e"},
	/* Values that should have been quoted. */
	{"a/b; name=my file (1).doc; d=e", "a/b;name=my file;d=e"},
	{"a/b; name=foo(1).doc", "a/b;name=foo(1).doc"},
	{"a/b; boundary=----=_Part:1/2?3; d=e", "a/b;boundary=----=_Part:1/2?3;d=e"},
	{"a/b; name=a\r\n  b; d=e", "a/b;name=a b;d=e"},
	/* No parameters. */
	{"a/b; nothing; c=d; =e; \"f\"=g; ;;h=i", "a/b;c=d;h=i"},
	/* RFC 2231 3. */
	{"a/b; n*0=x; n*1=\"y z\"; c=d", "a/b;n=xy z;c=d"},
	{"a/b; c=d; n*2=z; N*0=x; n*1=y", "a/b;c=d;N=xyz"},
	{"a/b; n*0*=utf-8'en'a%20; n*1*=%C3%A9; n*2=\"50%\"", "a/b;n*=utf-8'en'a%20%C3%A950%25"},
	{"a/b; n*0=\"1%\"; n*1*=%20", "a/b;n*=''1%25%20"},
	{"a/b; n*=utf-8''x%20y", "a/b;n*=utf-8''x%20y"},
	{"a/b; n*0=x; n*2=z", "a/b;n=x"},
	{"a/b; n*1=x; n*2=z", "a/b;n*1=x;n*2=z"},
	{"a/b; n*0=x; n*0=y; n*1=z", "a/b;n=xz"},
	{"a/b; n*0=x; m*0=y; n*1=z; m*1=w", "a/b;n=xz;m=yw"},
	{"a/b; n*99999999999999999999=x; *0=y; **=z; n*x=w",
	    "a/b;n*99999999999999999999=x;*0=y;**=z;n*x=w"},
	{"a/b; boundary*0=x; boundary*1=y", "a/b;boundary=xy"},
};

static struct mime_part *
scan_text(struct shelf_arena *arena, const char *field, const char *value)
{
	struct mime_scan *s = mime_scan_new(arena);

	mime_scan_feed(s, field, strlen(field));
	mime_scan_feed(s, ": ", 2);
	mime_scan_feed(s, value, strlen(value));
	mime_scan_feed(s, "\r\n\r\n", 4);
	return mime_scan_end(&s);
}

static void
add_params(struct shelf_buf *out, const struct mime_param *p)
{
	for (; p != NULL; p = p->next) {
		shelf_buf_add_byte(out, ';');
		shelf_buf_add_span(out, p->name);
		shelf_buf_add_byte(out, '=');
		shelf_buf_add_span(out, p->value);
		ck_assert_ptr_nonnull(p->value.data);
	}
}

START_TEST(header_content_type)
{
	struct shelf_arena arena = {0};
	struct mime_part *part = scan_text(&arena, "Content-Type", types[_i].value);
	struct shelf_buf out = {0};

	shelf_buf_add_span(&out, part->type);
	shelf_buf_add_byte(&out, '/');
	shelf_buf_add_span(&out, part->subtype);
	add_params(&out, part->params);
	ck_assert_str_eq(shelf_buf_cstr(&out), types[_i].want);
	shelf_buf_free(&out);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(header_disposition)
{
	struct shelf_arena arena = {0};
	struct mime_part *part = scan_text(&arena, "content-disposition",
	    "(c) Attachment; filename*0=a; filename*1=\".txt\";\r\n size=12");
	struct shelf_buf out = {0};

	shelf_buf_add_span(&out, part->disposition);
	add_params(&out, part->disposition_params);
	ck_assert_str_eq(shelf_buf_cstr(&out), "Attachment;filename=a.txt;size=12");
	part = scan_text(&arena, "Content-Disposition", "; filename=x");
	ck_assert_ptr_null(part->disposition.data);
	ck_assert_ptr_null(part->disposition_params);
	shelf_buf_free(&out);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(header_all_fields)
{
	static const char message[] =
	    "Content-ID: <id@x>\nContent-Description: some\n thing\nContent-Transfer-Encoding: (c) BASE64 (d)\n"
	    "Content-MD5: md5==\nContent-Language: en, de\nContent-Location: http://x/\n"
	    "Content-Type: a/b\nContent-Type: c/d\nDate: Mon, 1 Jan 2001 01:00:00 +0100\nSubject:\n"
	    "In-Reply-To: <a@b>\nMessage-ID:  <c@d> \nReferences: <e@f>\n <g@h>\nFrom: a@b\nFrom: c@d\n"
	    "Sender: s@t\nReply-To: r@u\nTo: t@1\nTo: t@2, t@3\nCc: c@1\nBcc: b@1\nBcc:\n\n";
	struct shelf_arena arena = {0};
	struct mime_scan *s = mime_scan_new(&arena);
	struct mime_envelope *e;
	struct mime_part *p;

	mime_scan_feed(s, message, sizeof(message) - 1);
	p = mime_scan_end(&s);
	e = p->envelope;
	ck_assert(shelf_span_is(p->id, "<id@x>") && shelf_span_is(p->description, "some thing"));
	ck_assert(shelf_span_eq(p->encoding, shelf_span_str("BASE64")));
	ck_assert(shelf_span_is(p->md5, "md5==") && shelf_span_is(p->language, "en, de"));
	ck_assert(shelf_span_is(p->location, "http://x/"));
	ck_assert(shelf_span_is(p->type, "a") && shelf_span_is(p->subtype, "b"));
	ck_assert_int_eq(e->sent_s, 978307200);
	ck_assert_int_eq(e->sent_zone_min, 60);
	ck_assert(e->subject.data != NULL && e->subject.len == 0);
	ck_assert(shelf_span_is(e->in_reply_to, "<a@b>") && shelf_span_is(e->message_id, "<c@d>"));
	ck_assert(shelf_span_is(e->references, "<e@f> <g@h>"));
	ck_assert(shelf_span_is(e->from->mailbox, "a") && e->from->next == NULL);
	ck_assert(shelf_span_is(e->sender->mailbox, "s") && shelf_span_is(e->reply_to->mailbox, "r"));
	ck_assert(shelf_span_is(e->to->host, "1") && shelf_span_is(e->to->next->next->host, "3"));
	ck_assert(shelf_span_is(e->cc->mailbox, "c") && shelf_span_is(e->bcc->mailbox, "b"));
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(header_absent_fields)
{
	struct shelf_arena arena = {0};
	struct mime_part *p = scan_text(&arena, "Date", "yesterday");

	ck_assert(p->id.data == NULL && p->encoding.data == NULL && p->disposition.data == NULL);
	ck_assert(p->envelope->subject.data == NULL && p->envelope->message_id.data == NULL);
	ck_assert(p->envelope->from == NULL && p->params == NULL);
	ck_assert(p->envelope->sent_s == INT64_MIN);
	ck_assert(shelf_span_is(p->envelope->date, "yesterday"));
	p = scan_text(&arena, "To", "");
	ck_assert_ptr_null(p->envelope->to);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(header_limits)
{
	struct shelf_arena arena = {0};
	struct shelf_buf b = {0};
	struct mime_part *p;
	unsigned count = 0;

	for (int i = 0; i < 500; i++)
		shelf_buf_add_str(&b, ";a=b");
	p = scan_text(&arena, "Content-Type", shelf_buf_cstr(&b));
	for (const struct mime_param *q = p->params; q != NULL; q = q->next)
		count++;
	ck_assert_uint_eq(count, MIME_PARAMS_MAX);
	shelf_buf_clear(&b);
	for (int i = 0; i < 3000; i++)
		shelf_buf_add_str(&b, "a, ");
	p = scan_text(&arena, "To: x\nTo", shelf_buf_cstr(&b));
	count = 0;
	for (const struct mime_address *a = p->envelope->to; a != NULL; a = a->next)
		count++;
	ck_assert_uint_eq(count, MIME_ADDRESSES_MAX);
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *suite_mime_header(void);
Suite *
suite_mime_header(void)
{
	Suite *s = suite_create("mime_header");
	TCase *tc = tcase_create("header");

	tcase_add_loop_test(tc, header_fields, 0, COUNT(fields));
	tcase_add_loop_test(tc, header_unfold, 0, COUNT(unfolds));
	tcase_add_loop_test(tc, header_content_type, 0, COUNT(types));
	tcase_add_test(tc, header_disposition);
	tcase_add_test(tc, header_all_fields);
	tcase_add_test(tc, header_absent_fields);
	tcase_add_test(tc, header_limits);
	suite_add_tcase(s, tc);
	return s;
}
