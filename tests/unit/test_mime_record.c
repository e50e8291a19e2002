/* test_mime_record.c - the stored part tree: round trip, size, damage of every kind */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mime.h>

#include "mime_check.h"

static const char message[] =
    "Return-Path: <bounce@lists.example.org>\r\n"
    "Date: Fri, 13 Feb 2009 15:31:30 -0800\r\n"
    "From: \"Doe, Joe\" <joe@example.com>\r\n"
    "To: Group: a@example.com, <@r:b@example.com>;, Jane <jane@example.org>\r\n"
    "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
    "Message-ID: <20090213.1@example.com>\r\n"
    "In-Reply-To:\r\n"
    "References: <a@b> <c@d>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/mixed; boundary=\"=_outer\"\r\n"
    "\r\n"
    "--=_outer\r\n"
    "Content-Type: text/plain; charset=utf-8; format=flowed\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n"
    "Content-ID: <1@x>\r\n"
    "Content-Description: text\r\n"
    "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n"
    "Content-Language: de\r\n"
    "Content-Location: http://example.com/\r\n"
    "\r\n"
    "Gr=C3=BC=C3=9Fe\r\n"
    "--=_outer\r\n"
    "Content-Type: message/rfc822\r\n"
    "Content-Disposition: attachment; filename=x.eml; size=12\r\n"
    "\r\n"
    "Subject: inner\r\n"
    "From: x@y\r\n"
    "\r\n"
    "inner\r\n"
    "--=_outer--\r\n";

static struct mime_part *
scan(struct shelf_arena *arena)
{
	struct mime_scan *s = mime_scan_new(arena);

	mime_scan_feed(s, message, sizeof(message) - 1);
	return mime_scan_end(&s);
}

START_TEST(record_round_trip)
{
	struct shelf_arena arena = {0}, other = {0};
	struct mime_part *root = scan(&arena), *again = NULL, *inner;
	struct shelf_buf record = {0};
	struct mime_envelope *e;

	ck_assert_ptr_null(mime_check_record(root));
	mime_record_encode(root, &record);
	ck_assert_uint_lt(record.len, 700);
	ck_assert_int_eq(mime_record_decode(shelf_buf_span(&record), &other, &again), 0);
	/* Neither the record nor the first tree is needed any more. */
	memset(record.data, 0xff, record.len);
	shelf_arena_free(&arena);
	ck_assert_ptr_null(mime_check_tree(again, shelf_span(message, sizeof(message) - 1)));
	e = again->envelope;
	ck_assert(shelf_span_is(e->subject, "=?utf-8?q?gr=C3=BC=C3=9Fe?="));
	ck_assert(shelf_span_is(e->from->name, "Doe, Joe") && e->from->adl.data == NULL);
	ck_assert(e->in_reply_to.data != NULL && e->in_reply_to.len == 0 && e->cc == NULL);
	ck_assert(shelf_span_is(e->to->mailbox, "Group") && e->to->host.data == NULL);
	ck_assert(shelf_span_is(e->to->next->next->adl, "@r"));
	ck_assert(e->to->next->next->next->mailbox.data == NULL);
	ck_assert_int_eq(e->sent_s, 1234567890);
	ck_assert_int_eq(e->sent_zone_min, -480);
	ck_assert(shelf_span_is(again->child->md5, "Q2hlY2sgSW50ZWdyaXR5IQ=="));
	ck_assert(shelf_span_is(again->child->params->next->value, "flowed"));
	inner = again->child->next;
	ck_assert(shelf_span_is(inner->disposition, "attachment"));
	ck_assert(shelf_span_is(inner->disposition_params->next->value, "12"));
	ck_assert(shelf_span_is(inner->child->envelope->subject, "inner"));
	ck_assert(inner->child->envelope->sent_s == INT64_MIN);
	shelf_buf_free(&record);
	shelf_arena_free(&other);
}
END_TEST

/* No scan is needed for it, and is where the head or the message are not plain. */
START_TEST(record_with_a_head)
{
	static const struct {
		const char *head, *start;
		bool made;
	} rows[] = {
	    {"Delivered-To: joe\r\n", message, true},
	    {"Delivered-To: joe\r\nReturn-Path: <>\r\n", message, true},
	    {"Delivered-To: joe\r\n more\r\n", message, false},
	    {"Subject: x\r\n", message, false},
	    {"Delivered-To: joe\n", message, false},
	    {"Delivered-To: joe", message, false},
	    {"", message, false},
	    {"Delivered-To: joe\r\n", " folded: x", false},
	    {"Delivered-To: joe\r\n", "\r\nbody", false},
	    {"Delivered-To: joe\r\n", ": x", false},
	    {"Delivered-To: joe\r\n", "no field", false},
	};
	struct shelf_arena arena = {0};
	struct mime_part *root = scan(&arena);
	struct shelf_buf record = {0}, made = {0};

	mime_record_encode(root, &record);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_int_eq(mime_record_headed(shelf_buf_span(&record), shelf_span_str(rows[i].start),
				     shelf_span_str(rows[i].head), &made),
		    rows[i].made);
	ck_assert_ptr_null(mime_check_headed(root, shelf_span(message, sizeof(message) - 1)));
	shelf_buf_free(&record);
	shelf_buf_free(&made);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(record_typical_size)
{
	static const char simple[] =
	    "From: Joe Doe <joe@example.com>\r\nTo: jane@example.org\r\nSubject: lunch on friday\r\n"
	    "Date: Fri, 13 Feb 2009 15:31:30 -0800\r\nMessage-ID: <20090213.1@example.com>\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n";
	struct shelf_arena arena = {0};
	struct mime_scan *s = mime_scan_new(&arena);
	struct shelf_buf record = {0};

	mime_scan_feed(s, simple, sizeof(simple) - 1);
	mime_record_encode(mime_scan_end(&s), &record);
	ck_assert_uint_lt(record.len, 200);
	shelf_buf_free(&record);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(record_version)
{
	struct shelf_arena arena = {0};
	struct mime_part *root = NULL;

	ck_assert_int_eq(mime_record_decode(shelf_span("\x03 future", 8), &arena, &root), SHELF_EVERSION);
	ck_assert_int_eq(mime_record_decode(shelf_span(NULL, 0), &arena, &root), SHELF_ECORRUPT);
	ck_assert_int_eq(mime_record_decode(shelf_span("\x01", 1), &arena, &root), SHELF_ECORRUPT);
	ck_assert_ptr_null(root);
	shelf_arena_free(&arena);
}
END_TEST

/* A decoded tree obeys the rules or there is none. */
static void
try_decode(struct shelf_span record, bool must_fail)
{
	struct shelf_arena arena = {0};
	struct shelf_span copy = shelf_arena_dup(&arena, record);
	struct mime_part *root = NULL;
	int err = mime_record_decode(copy, &arena, &root);

	ck_assert(err == 0 || err == SHELF_ECORRUPT || err == SHELF_EVERSION);
	ck_assert(!must_fail || err != 0);
	if (err == 0)
		ck_assert_ptr_null(mime_check_record(root));
	shelf_arena_free(&arena);
}

START_TEST(record_cut_short_or_long)
{
	struct shelf_arena arena = {0};
	struct shelf_buf record = {0};

	mime_record_encode(scan(&arena), &record);
	for (size_t len = 0; len < record.len; len++)
		try_decode(shelf_span(record.data, len), true);
	shelf_buf_add_byte(&record, 0);
	try_decode(shelf_buf_span(&record), true);
	shelf_buf_free(&record);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(record_flipped)
{
	struct shelf_arena arena = {0};
	struct shelf_buf record = {0};
	unsigned seed = 11;

	mime_record_encode(scan(&arena), &record);
	for (size_t i = 0; i < record.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			record.data[i] ^= (uint8_t)(1 << bit);
			try_decode(shelf_buf_span(&record), false);
			record.data[i] ^= (uint8_t)(1 << bit);
		}
	for (int round = 0; round < 5000; round++) {
		uint8_t saved[3];
		size_t at[3];

		for (int k = 0; k < 3; k++) {
			at[k] = 1 + (size_t)rand_r(&seed) % (record.len - 1);
			saved[k] = record.data[at[k]];
			record.data[at[k]] = (uint8_t)rand_r(&seed);
		}
		try_decode(shelf_buf_span(&record), false);
		for (int k = 2; k >= 0; k--)
			record.data[at[k]] = saved[k];
	}
	shelf_buf_free(&record);
	shelf_arena_free(&arena);
}
END_TEST

/* Hand-made records: flags, "a/b", gap, header, body, lines, then what the flags say. */
static const struct {
	const char *bytes;
	size_t len;
	const char *why;
} bad[] = {
#define BAD(bytes, why) {bytes, sizeof(bytes) - 1, why}
	BAD("\x01\x00\x01" "a\x01" "b\0\0\0\0", "no envelope at the root"),
	BAD("\x01\x83\x10\x01" "a\x01" "b\0\0\0\0\0", "kind 3"),
	BAD("\x01\x80\x10\x00\x01" "b\0\0\0\0\0", "empty type"),
	BAD("\x01\x80\x10\x01" "a\x01" "b\0\0\x01\x02\0", "more lines than bytes"),
	BAD("\x01\x82\x10\x01" "a\x01" "b\0\0\0\0\0", "message without a child"),
	BAD("\x01\x80\x30\x01" "a\x01" "b\0\0\0\0\0\x01\x80\x10\x01" "a\x01" "b\0\0\0\0\0",
	    "leaf with a child"),
	BAD("\x01\x81\x30\x01" "a\x01" "b\0\0\x05\0\0\x01\x00\x01" "a\x01" "b\x01\x02\x03\0",
	    "child beyond its parent"),
	BAD("\x01\x81\x30\x01" "a\x01" "b\0\0\x05\0\0\x00", "no children"),
	BAD("\x01\x80\x10\x01" "a\x01" "b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0\0\0", "overflow"),
	BAD("\x01\x80\x10\x01" "a\x01" "b\0\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
	    "\xff\xff\xff\xff\xff\xff\xff\xff\x7f\0\0",
	    "header and body overflow"),
	BAD("\x01\x80\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" "a", "endless type"),
	BAD("\x01\x80\x20\x01" "a\x01" "b\0\0\0\0\0", "flag of the future"),
	BAD("\x02\x01\xff\x80\x10\x01" "a\x01" "b\0\0\0\0\0", "preview is no UTF-8"),
	BAD("\x02\x01\n\x80\x10\x01" "a\x01" "b\0\0\0\0\0", "preview with a line end"),
	BAD("\x02\x20", "preview cut off"),
#undef BAD
};

START_TEST(record_bad)
{
	struct shelf_arena arena = {0};
	struct mime_part *root = NULL;

	ck_assert_msg(mime_record_decode(shelf_span(bad[_i].bytes, bad[_i].len), &arena, &root) ==
	    SHELF_ECORRUPT, "%s", bad[_i].why);
	shelf_arena_free(&arena);
}
END_TEST

/* The rows above differ from this one by their fault alone. */
START_TEST(record_least)
{
	struct shelf_arena arena = {0};
	struct mime_part *root = NULL;

	ck_assert_int_eq(mime_record_decode(shelf_span("\x01\x80\x10\x01" "a\x01" "b\0\0\0\0\0", 12), &arena,
	    &root), 0);
	ck_assert_ptr_null(root->preview.data);
	ck_assert_int_eq(mime_record_decode(shelf_span("\x02\x01" "x\x80\x10\x01" "a\x01" "b\0\0\0\0\0", 14),
	    &arena, &root), 0);
	ck_assert(shelf_span_eq(root->preview, shelf_span_str("x")));
	ck_assert_int_eq(mime_record_decode(shelf_span("\x02\0\x80\x10\x01" "a\x01" "b\0\0\0\0\0", 13),
	    &arena, &root), 0);
	ck_assert(root->preview.data != NULL && root->preview.len == 0);
	ck_assert_int_eq(mime_record_decode(shelf_span("\x01\x81\x30\x01" "a\x01" "b\0\0\x05\0\0\x01"
	    "\x00\x01" "a\x01" "b\x01\x02\x02\0", 22), &arena, &root), 0);
	shelf_arena_free(&arena);
}
END_TEST

/* Depth is bounded by the decoder, not by the stack. */
START_TEST(record_deep)
{
	struct shelf_arena arena = {0};
	struct shelf_buf b = {0};
	struct mime_part *root = NULL;

	for (int depth = MIME_DEPTH_MAX - 1; depth < 200000; depth = depth == MIME_DEPTH_MAX - 1 ?
	    MIME_DEPTH_MAX : depth * 8) {
		shelf_buf_clear(&b);
		shelf_buf_add(&b, "\x01\x81\x30\x01" "a\x01" "b\0\0\0\0\0", 12);
		for (int i = 1; i < depth; i++)
			shelf_buf_add(&b, "\x01\x81\x20\x01" "a\x01" "b\0\0\0\0", 11);
		shelf_buf_add(&b, "\x01\x00\x01" "a\x01" "b\0\0\0\0", 10);
		ck_assert_int_eq(mime_record_decode(shelf_buf_span(&b), &arena, &root),
		    depth < MIME_DEPTH_MAX ? 0 : SHELF_ECORRUPT);
	}
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

Suite *suite_mime_record(void);
Suite *
suite_mime_record(void)
{
	Suite *s = suite_create("mime_record");
	TCase *tc = tcase_create("record");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, record_round_trip);
	tcase_add_test(tc, record_with_a_head);
	tcase_add_test(tc, record_typical_size);
	tcase_add_test(tc, record_version);
	tcase_add_test(tc, record_cut_short_or_long);
	tcase_add_test(tc, record_flipped);
	tcase_add_test(tc, record_least);
	tcase_add_loop_test(tc, record_bad, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(tc, record_deep);
	suite_add_tcase(s, tc);
	return s;
}
