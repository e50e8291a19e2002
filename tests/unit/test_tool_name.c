/* test_tool_name.c - modified UTF-7, mailbox names made of anything, paths made of mailbox names */
#include <stdlib.h>

#include <check.h>

#include <mailshelf/mailbox.h>
#include <mailshelf/mem.h>

#include "source.h"
#include "tool_export.h"

static const struct {
	const char *mutf7, *utf8; /* utf8 NULL: not valid */
} rows[] = {
	{"INBOX", "INBOX"},
	{"a&-b", "a&b"},
	{"&-", "&"},
	{"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
	{"&U,BTFw-", "\xe5\x8f\xb0\xe5\x8c\x97"},
	{"&ZeVnLIqe-", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
	{"&2D3eCQ-", "\xf0\x9f\x98\x89"},
	{"", ""},
	{"a&", NULL},
	{"a&AP", NULL},
	{"&APw", NULL},
	{"&A-", NULL},
	{"&APx-", NULL},  /* bits left over */
	{"&2D0-", NULL},  /* half a pair */
	{"&3gk-", NULL},
	{"&2D0AQQ-", NULL},
	{"&AAA-", NULL},  /* NUL */
	{"\xc3\xbc", NULL},
	{"a\tb", NULL},
	{"&/wA-", NULL},  /* "/" is "," here */
};

START_TEST(mutf7)
{
	struct shelf_buf out = {0};
	bool ok;

	shelf_buf_add_str(&out, "x");
	ok = source_mutf7_decode(shelf_span_str(rows[_i].mutf7), &out);
	ck_assert_msg(ok == (rows[_i].utf8 != NULL), "%s", rows[_i].mutf7);
	ck_assert_str_eq(shelf_buf_cstr(&out) + 1, ok ? rows[_i].utf8 : "");
	if (ok) {
		shelf_buf_clear(&out);
		source_mutf7_encode(shelf_span_str(rows[_i].utf8), "", &out);
		ck_assert_str_eq(shelf_buf_cstr(&out), rows[_i].mutf7);
	}
	shelf_buf_free(&out);
}
END_TEST

START_TEST(mutf7_of_any_text_comes_back)
{
	unsigned seed = 99;

	for (int round = 0; round < 2000; round++) {
		struct shelf_buf text = {0}, enc = {0}, dec = {0};

		for (int i = rand_r(&seed) % 12; i >= 0; i--) {
			uint32_t c = (uint32_t)rand_r(&seed) % (round % 2 == 0 ? 0x110000 : 0x180);

			shelf_utf8_add(&text, c < 0x20 || (c >= 0xd800 && c < 0xe000) ? '.' : c);
		}
		source_mutf7_encode(shelf_buf_span(&text), ".", &enc);
		ck_assert_int_eq(shelf_span_find(shelf_buf_span(&enc), '.', 0), -1);
		ck_assert(source_mutf7_decode(shelf_buf_span(&enc), &dec));
		ck_assert(shelf_span_eq(shelf_buf_span(&text), shelf_buf_span(&dec)));
		shelf_buf_free(&text);
		shelf_buf_free(&enc);
		shelf_buf_free(&dec);
	}
}
END_TEST

static const struct {
	const char *prefix, *name, *want;
} names[] = {
	{"", "", "INBOX"},
	{"", "INBOX", "INBOX"},
	{"", "a/b", "a/b"},
	{"x", "", "x"},
	{"x", "a/b", "x/a/b"},
	{"", "/a//b/", "a/b"},
	{"x", "///", "x"},
	{"", "50% *off*", "50_ _off_"},
	{"", "a\tb\x7f", "a_b_"},
	{"", "\xff", "\xef\xbf\xbd"},
	{"", "%2Ehidden", ".hidden"},
	{"", "a%2Embox", "a.mbox"},
};

START_TEST(mailbox_names)
{
	struct shelf_buf out = {0}, stored = {0};

	source_mailbox_name(shelf_span_str(names[_i].prefix), shelf_span_str(names[_i].name), &out);
	ck_assert_str_eq(shelf_buf_cstr(&out), names[_i].want);
	ck_assert_int_eq(shelf_mailbox_canonical(shelf_buf_span(&out), &stored), 0);
	shelf_buf_free(&out);
	shelf_buf_free(&stored);
}
END_TEST

START_TEST(any_name_is_taken)
{
	unsigned seed = 5;

	for (int round = 0; round < 3000; round++) {
		struct shelf_buf name = {0}, out = {0}, stored = {0};
		const char *prefix = round % 3 == 0 ? "" : round % 3 == 1 ? "p" : "a/b/c/d/e/f/g/h/i/j/k";
		int len = rand_r(&seed) % (round % 50 == 0 ? 3000 : 100);

		for (int i = 0; i < len; i++)
			shelf_buf_add_byte(&name, rand_r(&seed) % 4 == 0 ? '/' : (uint8_t)rand_r(&seed));
		source_mailbox_name(shelf_span_str(prefix), shelf_buf_span(&name), &out);
		ck_assert_msg(shelf_mailbox_canonical(shelf_buf_span(&out), &stored) == 0, "round %d: %s",
		    round, shelf_buf_cstr(&out));
		shelf_buf_free(&name);
		shelf_buf_free(&out);
		shelf_buf_free(&stored);
	}
}
END_TEST

static const struct {
	const char *name, *want;
} paths[] = {
	{"INBOX", "d/INBOX"},
	{"A/B", "d/A/B"},
	{"../../etc", "d/%2E./%2E./etc"},
	{".", "d/%2E"},
	{"A.mbox/B", "d/A%2Embox/B"},
	{"x.MBOX", "d/x%2EMBOX"},
	{"1.eml", "d/1%2Eeml"},
	{"a.b", "d/a.b"},
};

START_TEST(export_paths)
{
	struct shelf_buf out = {0}, back = {0};

	export_path("d", paths[_i].name, &out);
	ck_assert_str_eq(shelf_buf_cstr(&out), paths[_i].want);
	source_mailbox_name(shelf_span(NULL, 0), shelf_span(out.data + 2, out.len - 2), &back);
	ck_assert_str_eq(shelf_buf_cstr(&back), paths[_i].name);
	shelf_buf_free(&out);
	shelf_buf_free(&back);
}
END_TEST

Suite *suite_tool_name(void);
Suite *
suite_tool_name(void)
{
	Suite *s = suite_create("tool_name");
	TCase *tc = tcase_create("name");

	tcase_add_loop_test(tc, mutf7, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, mutf7_of_any_text_comes_back);
	tcase_add_loop_test(tc, mailbox_names, 0, (int)(sizeof names / sizeof *names));
	tcase_add_test(tc, any_name_is_taken);
	tcase_add_loop_test(tc, export_paths, 0, (int)(sizeof paths / sizeof *paths));
	suite_add_tcase(s, tc);
	return s;
}
