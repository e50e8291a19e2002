/*
 * test_imap_mutf7.c - mailbox names on the wire: vectors, and one encoding for each name
 */
#include <check.h>

#include "imap.h"

static const struct {
	const char *wire, *utf8; /* utf8 NULL: refused */
} rows[] = {
    {"INBOX", "INBOX"},
    {"", ""},
    {"a&-b", "a&b"},
    {"&-", "&"},
    {"&-&-", "&&"},
    {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
    {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
	"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
    {"&2D3eAA-", "\xf0\x9f\x98\x80"},
    {"&AOk-&-", "\xc3\xa9&"},
    {"&AAo-", "\n"},
    {"&", NULL},
    {"a&b", NULL},
    {"&AGE-", NULL},       /* "a" needs no shift */
    {"&ACY-", NULL},       /* "&" neither */
    {"&AAA-", NULL},       /* NUL */
    {"&ZeU-&Zyw-", NULL},  /* two shifts in a row are one */
    {"&2D0-", NULL},       /* half a pair */
    {"&3gA-", NULL},       /* the other half */
    {"&2D0AYQ-", NULL},    /* a pair of one half and "a" */
    {"&APx-", NULL},       /* spare bits that are set */
    {"&AP-", NULL},        /* not 16 bits */
    {"&APwA-", NULL},      /* spare digit */
    {"&APw", NULL},        /* no end */
    {"&AP/8-", NULL},      /* "/" is "," here */
    {"&AP8=-", NULL},      /* no padding */
    {"Entw\xc3\xbcrfe", NULL},
    {"a\nb", NULL},
    {"a\x7f", NULL},
};

START_TEST(mutf7_decodes)
{
	struct shelf_buf utf8 = {0}, wire = {0};
	bool ok = imap_mutf7_decode(shelf_span_str(rows[_i].wire), &utf8);

	ck_assert_msg(ok == (rows[_i].utf8 != NULL), "row %d", _i);
	if (ok) {
		ck_assert_str_eq(shelf_buf_cstr(&utf8), rows[_i].utf8);
		imap_mutf7_encode(shelf_buf_span(&utf8), &wire);
		ck_assert_str_eq(shelf_buf_cstr(&wire), rows[_i].wire);
	}
	shelf_buf_free(&utf8);
	shelf_buf_free(&wire);
}
END_TEST

/* Every code point that can be in a name comes back, alone and between others. */
START_TEST(mutf7_all_code_points)
{
	struct shelf_buf name = {0}, wire = {0}, back = {0};
	uint32_t c = 0;

	for (c = 1; c < 0x110000; c += c < 0x3000 ? 1 : 61) {
		if ((c >= 0xd800 && c <= 0xdfff) || c == 0x7f)
			continue;
		shelf_buf_clear(&name);
		shelf_buf_clear(&wire);
		shelf_buf_clear(&back);
		shelf_utf8_add(&name, c);
		shelf_utf8_add(&name, c);
		shelf_buf_add_str(&name, "x&");
		shelf_utf8_add(&name, 0x10ffff);
		shelf_utf8_add(&name, c);
		imap_mutf7_encode(shelf_buf_span(&name), &wire);
		ck_assert_msg(imap_mutf7_decode(shelf_buf_span(&wire), &back), "U+%04X", c);
		ck_assert_msg(shelf_span_eq(shelf_buf_span(&name), shelf_buf_span(&back)),
		    "U+%04X", c);
	}
	shelf_buf_free(&name);
	shelf_buf_free(&wire);
	shelf_buf_free(&back);
}
END_TEST

Suite *suite_imap_mutf7(void);
Suite *
suite_imap_mutf7(void)
{
	Suite *s = suite_create("imap_mutf7");
	TCase *tc = tcase_create("mutf7");

	tcase_add_loop_test(tc, mutf7_decodes, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, mutf7_all_code_points);
	suite_add_tcase(s, tc);
	return s;
}
