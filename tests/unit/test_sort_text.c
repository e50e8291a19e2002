/*
 * test_sort_text.c - base subjects, keys of i;unicode-casemap, message ids, the merge sort
 */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "sort.h"

Suite *suite_sort_text(void);

/* ---- Base subjects ---------------------------------------------------------------------------------- */

static const struct subject {
	const char *field, *base;
	bool reply;
} subjects[] = {
    {"Hello", "Hello", false},
    {"", "", false},
    {"   ", "", false},
    {"Re: Hello", "Hello", true},
    {"RE:hello", "hello", true},
    {"re : re: fw: FWD: x", "x", true},
    {"Re[2]: x", "x", true},
    {"Re [a b] : x", "x", true},
    {"Re[2] x", "Re[2] x", false},
    {"[list] x", "x", false},
    {"[list] Re: x", "x", true},
    {"[a] [b][c] Re: [d] x", "x", true},
    {"Re: [list]", "[list]", true},
    {"[a] [b]", "[b]", false},
    {"[a][b]   ", "[b]", false},
    {"[list", "[list", false},
    {"[[a]] x", "[[a]] x", false},
    {"x (fwd)", "x", true},
    {"x (FWD) (fwd) ", "x", true},
    {"(fwd)", "", true},
    {"[fwd: x]", "x", true},
    {"[FWD: Re: x (fwd)]", "x", true},
    {"[fwd: [list] x]", "x", true},
    {"[fwd: [fwd: x]]", "x", true},
    {"[fwd: x", "[fwd: x", false},
    {"[fwd:]", "", true},
    {"Re:", "", true},
    {"re", "re", false},
    {"reply: x", "reply: x", false},
    {"Fw: a  b\t c", "a b c", true},
    {"AW: x", "AW: x", false},
    {"=?utf-8?q?Re=3A_=C3=A4rger?=", "\xc3\xa4rger", true},
    {"=?utf-8?b?UmU6?= =?iso-8859-1?q?_x?=", "x", true},
    {"Re: [x] (fwd)", "[x]", true},
    {"fwd[a]: [b] [fwd: re: [c] d (fwd)]", "d", true},
};

START_TEST(base_subject)
{
	const struct subject *s = &subjects[_i];
	struct shelf_buf text = {0};
	struct shelf_span base;
	bool reply;

	search_subject_text(shelf_span_str(s->field), &text);
	base = search_base_subject(shelf_buf_span(&text), &reply);
	ck_assert_msg(shelf_span_eq(base, shelf_span_str(s->base)), "%s: %.*s", s->field,
	    (int)base.len, (const char *)base.data);
	ck_assert(reply == s->reply);
	shelf_buf_free(&text);
}
END_TEST

/* A megabyte of anything takes no time to speak of (the time limit of a test is the proof). */
START_TEST(base_subject_large)
{
	static const char *const parts[] = {"[a]", "[", "re: ", "[fwd:", "re[", "[a] re", " ", "(fwd)", "]"};
	struct shelf_buf text = {0};
	bool reply;

	while (text.len < 1 << 20)
		shelf_buf_add_str(&text, parts[_i]);
	(void)search_base_subject(shelf_buf_span(&text), &reply);
	shelf_buf_add_str(&text, "x");
	(void)search_base_subject(shelf_buf_span(&text), &reply);
	shelf_buf_free(&text);
}
END_TEST

/* ---- Casemap ------------------------------------------------------------------------------------------ */

static const struct pair {
	const char *a, *b;
	int order; /* of the keys */
} pairs[] = {
    {"abc", "ABC", 0},
    {"", "a", -1},
    {"a", "B", -1},
    {"_", "a", 1}, /* titlecase: letters are capitals, before "_" */
    {"\xc3\xa4", "\xc3\x84", 0},
    {"\xc3\xa4", "a\xcc\x88", 0},            /* composed, decomposed */
    {"\xef\xac\x81", "fi", 1},               /* the ligature has no titlecase: it falls apart into small letters */
    {"\xc3\x9f", "ss", 1},                   /* sharp s has no titlecase of one code point */
    {"\xce\xbc", "\xc2\xb5", 0},             /* mu and the micro sign */
    {"\xef\xbd\x81", "A", 0},                /* full width */
    {"\xea\xb0\x80", "\xe1\x84\x80\xe1\x85\xa1", 0}, /* Hangul */
    {"z", "\xc3\xa4", 1},
    {"z", "\xc3\x98", -1},
};

START_TEST(casemap)
{
	const struct pair *p = &pairs[_i];
	struct shelf_buf a = {0}, b = {0};
	int order;

	search_casemap(shelf_span_str(p->a), &a);
	search_casemap(shelf_span_str(p->b), &b);
	shelf_buf_add_byte(&a, 0);
	shelf_buf_add_byte(&b, 0);
	order = strcmp((const char *)a.data, (const char *)b.data);
	ck_assert_int_eq(order < 0 ? -1 : order > 0, p->order);
	shelf_buf_free(&a);
	shelf_buf_free(&b);
}
END_TEST

/* ---- Message ids -------------------------------------------------------------------------------------- */

static const struct ids {
	const char *field, *ids; /* joined by blanks */
} ids[] = {
    {"<a@b>", "a@b"},
    {"<a@b> <c@d>", "a@b c@d"},
    {"<a@b><c@d>,<e@f>", "a@b c@d e@f"},
    {"<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com"},
    {"<01KF8JCEOCBS0045PS@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com"},
    {"<\"a\\\"b\"@c>", "a\"b@c"},
    {"< a @ b >", "a@b"},
    {"<a(comment)@b(c(d)>)>", "a@b"},
    {"Your message of Tuesday from Joe <joe@x> \"<y@z>\"", "joe@x y@z"},
    {"no id", ""},
    {"<noat>", ""},
    {"<@b>", ""},
    {"<a@>", ""},
    {"<a@b", ""},
    {"<a <c@d>", "c@d"},
    {"<A@B>", "A@B"},
    {"<\"open@b> <c@d>", "\"open@b c@d"},
    {"<a\\@b> <c@d>", "c@d"},
    {"<a@[127.0.0.1]>", "a@[127.0.0.1]"},
    {"", ""},
};

START_TEST(message_ids)
{
	struct shelf_buf id = {0}, all = {0};
	size_t pos = 0;

	while (search_next_id(shelf_span_str(ids[_i].field), &pos, &id)) {
		if (all.len > 0)
			shelf_buf_add_byte(&all, ' ');
		shelf_buf_add_span(&all, shelf_buf_span(&id));
	}
	ck_assert_msg(shelf_span_eq(shelf_buf_span(&all), shelf_span_str(ids[_i].ids)), "%s: %s",
	    ids[_i].field, shelf_buf_cstr(&all));
	shelf_buf_free(&id);
	shelf_buf_free(&all);
}
END_TEST

START_TEST(message_ids_large)
{
	static const char *const parts[] = {"<", "<\"", "<a@b>", "(", "<(", "\\", "<\"\\\"", "<a@"};
	struct shelf_buf text = {0}, id = {0};
	size_t pos = 0;

	while (text.len < 1 << 20)
		shelf_buf_add_str(&text, parts[_i]);
	while (search_next_id(shelf_buf_span(&text), &pos, &id))
		continue;
	shelf_buf_free(&text);
	shelf_buf_free(&id);
}
END_TEST

/* The vector of the paper: bytes 0, 1, 2 ... under the key 0, 1, 2 ... */
START_TEST(hash)
{
	const struct search_hash_key key = {{0x0706050403020100, 0x0f0e0d0c0b0a0908}};
	uint8_t bytes[15];

	for (unsigned i = 0; i < 15; i++)
		bytes[i] = (uint8_t)i;
	ck_assert(search_hash(&key, shelf_span(bytes, 15)) == 0xa129ca6149be45e5);
	ck_assert(search_hash(&key, shelf_span(bytes, 8)) == 0x93f5f5799a932462);
}
END_TEST

/* ---- Merge sort ---------------------------------------------------------------------------------------- */

enum { STRIDE = 3 };

static int
by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	if (x[0] != y[0])
		return x[0] < y[0] ? -1 : 1;
	return x[2] < y[2] ? -1 : x[2] > y[2]; /* where it stood: stable */
}

/* Lengths around the runs, keys with many ties, in order, in reverse; any number of stops. */
START_TEST(merge)
{
	static const size_t lengths[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 100, 1000, 5000};
	uint32_t seed = (uint32_t)_i + 1;

	for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
		size_t n = lengths[l];
		uint64_t *row = shelf_alloc(n * STRIDE * sizeof *row + 1);
		uint64_t *want = shelf_alloc(n * STRIDE * sizeof *row + 1);
		struct search_merge m;

		for (size_t i = 0; i < n; i++) {
			seed = seed * 1664525 + 1013904223;
			row[i * STRIDE] = _i == 0 ? i : _i == 1 ? n - i : _i == 2 ? (seed >> 8) % 10 :
			    seed >> 8;
			row[i * STRIDE + 1] = seed;
			row[i * STRIDE + 2] = i;
		}
		memcpy(want, row, n * STRIDE * sizeof *row);
		qsort(want, n, STRIDE * sizeof *row, by_key);
		ck_assert(search_merge_begin(&m, row, n, STRIDE));
		m.keys = 1;
		while (search_merge_run(&m, 1 + _i * 7) == 1)
			continue;
		row = search_merge_take(&m);
		ck_assert(n == 0 || memcmp(row, want, n * STRIDE * sizeof *row) == 0);
		free(row);
		free(want);
	}
}
END_TEST

#define ROWS(table) ((int)(sizeof(table) / sizeof *(table)))

Suite *
suite_sort_text(void)
{
	Suite *suite = suite_create("sort_text");
	TCase *tc = tcase_create("all");

	tcase_add_loop_test(tc, base_subject, 0, ROWS(subjects));
	tcase_add_loop_test(tc, base_subject_large, 0, 9);
	tcase_add_loop_test(tc, casemap, 0, ROWS(pairs));
	tcase_add_loop_test(tc, message_ids, 0, ROWS(ids));
	tcase_add_loop_test(tc, message_ids_large, 0, 8);
	tcase_add_test(tc, hash);
	tcase_add_loop_test(tc, merge, 0, 4);
	suite_add_tcase(suite, tc);
	return suite;
}
