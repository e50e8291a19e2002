/*
 * test_imap_seqset.c - sequence sets: what they mean, what is refused, what they cost
 */
#include <check.h>

#include "imap.h"

static const struct {
	const char *text;
	uint32_t max;
	const char *want; /* NULL: SHELF_ESYNTAX */
} rows[] = {
    {"1", 10, "1"},
    {"2,4:7,9,12:*", 15, "2,4:7,9,12:15"},
    {"*:4,5:7", 10, "4:10"},
    {"4:2", 10, "2:4"},
    {"*", 10, "10"},
    {"*:*", 10, "10"},
    {"12:*", 10, "10:12"},
    {"*", 0, ""},
    {"1:*", 0, "1"},
    {"1,1,1", 5, "1"},
    {"4294967295", 5, "4294967295"},
    {"4294967290:4294967295", 5, "4294967290:4294967295"},
    {"001", 5, "1"},
    {"", 5, NULL},
    {"0", 5, NULL},
    {"0:5", 5, NULL},
    {"4294967296", 5, NULL},
    {"99999999999999999999", 5, NULL},
    {"1,", 5, NULL},
    {",1", 5, NULL},
    {"1,,2", 5, NULL},
    {"1:", 5, NULL},
    {":1", 5, NULL},
    {"1:2:3", 5, NULL},
    {"**", 5, NULL},
    {"1*", 5, NULL},
    {"$", 5, NULL},
    {"a", 5, NULL},
    {"1 ", 5, NULL},
};

START_TEST(seqset_means)
{
	struct shelf_uidset *set = shelf_uidset_new();
	struct shelf_buf text = {0};
	int rc = imap_set_numbers(shelf_span_str(rows[_i].text), rows[_i].max, set);

	ck_assert_msg(rc == (rows[_i].want == NULL ? SHELF_ESYNTAX : 0), "row %d: %d", _i, rc);
	if (rc == 0) {
		shelf_uidset_print(set, &text);
		ck_assert_str_eq(shelf_buf_cstr(&text), rows[_i].want);
	}
	shelf_buf_free(&text);
	shelf_uidset_free(&set);
}
END_TEST

/* A set as long as a line may be, of ranges as wide as they can be. */
START_TEST(seqset_costs_little)
{
	struct shelf_uidset *set = shelf_uidset_new();
	struct shelf_buf text = {0};
	int64_t start = 0;
	int i = 0;

	for (i = 0; i < 13000; i++)
		shelf_buf_printf(&text, "%s%d:*", i == 0 ? "" : ",", i + 1);
	start = shelf_mono_ms();
	ck_assert_int_eq(imap_set_numbers(shelf_buf_span(&text), 1000000, set), 0);
	ck_assert_int_lt(shelf_mono_ms() - start, 2000);
	ck_assert_uint_eq(shelf_uidset_count(set), 1000000);
	shelf_buf_free(&text);
	shelf_uidset_free(&set);
}
END_TEST

Suite *suite_imap_seqset(void);
Suite *
suite_imap_seqset(void)
{
	Suite *s = suite_create("imap_seqset");
	TCase *tc = tcase_create("seqset");

	tcase_add_loop_test(tc, seqset_means, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, seqset_costs_little);
	suite_add_tcase(s, tc);
	return s;
}
