/*
 * test_dialogue_text.c - patterns and texts of dialogues: a matcher that says yes too often would make
 * every dialogue worthless
 */
#include <check.h>
#include <stdlib.h>

#include "dialogue.h"

static const struct match_row {
	const char *pattern, *line;
	int want;
	const char *name, *value; /* captured */
} match_rows[] = {
    {"a OK done", "a OK done", 1, NULL, NULL},
    {"a OK done", "a OK done ", 0, NULL, NULL},
    {"a OK", "a OK done", 0, NULL, NULL},
    {"", "", 1, NULL, NULL},
    {"", "x", 0, NULL, NULL},
    {"a OK ${any}", "a OK ", 1, NULL, NULL},
    {"a OK ${any}", "a OK", 0, NULL, NULL},
    {"a OK ${any}", "a NO x", 0, NULL, NULL},
    {"${any}(${any})${any}x", "abc(def)xyx", 1, NULL, NULL},
    {"${any}(${any})${any}z", "abc(def)xyx", 0, NULL, NULL},
    {"* ${num} EXISTS", "* 12 EXISTS", 1, NULL, NULL},
    {"* ${num} EXISTS", "*  EXISTS", 0, NULL, NULL},
    {"* ${num} EXISTS", "* 1x EXISTS", 0, NULL, NULL},
    {"${num}${num}", "7", 0, NULL, NULL},
    {"${num}${num}", "78", 1, NULL, NULL},
    {"[UIDNEXT ${next}]", "[UIDNEXT 44]", 1, "next", "44"},
    {"[UIDNEXT ${next}] ${any}", "[UIDNEXT ] x", 0, NULL, NULL},
    {"${id} ${id}", "abc abc", 1, "id", "abc"},
    {"${id} ${id}", "abc abd", 0, NULL, NULL},
    {"${known} y", "xx y", 1, NULL, NULL},
    {"${known} y", "xz y", 0, NULL, NULL},
    {"FLAGS (\\Seen \\x41)", "FLAGS (\\Seen A)", 1, NULL, NULL},
    {"\\r", "\\r", 1, NULL, NULL},
    {"${base64:\\0a\\0b}", "AGEAYg==", 1, NULL, NULL},
    {"${repeat:3:ab}.", "ababab.", 1, NULL, NULL},
    {"${repeat:x:ab}.", "ababab.", -1, NULL, NULL},
    {"${open", "${open", 1, NULL, NULL},
};

START_TEST(pattern_matches)
{
	const struct match_row *row = &match_rows[_i];
	struct shelf_arena arena = {0};
	struct dialogue_vars vars = {.arena = &arena};
	struct shelf_buf error = {0};
	const struct dialogue_var *v;

	dialogue_set(&vars, shelf_span_str("known"), shelf_span_str("xx"));
	ck_assert_int_eq(dialogue_match(&vars, shelf_span_str(row->pattern),
	    shelf_span_str(row->line), &error), row->want);
	ck_assert_int_eq(error.len > 0, row->want < 0);
	for (v = vars.first; row->name != NULL && v != NULL; v = v->next)
		if (shelf_span_eq(v->name, shelf_span_str(row->name)))
			break;
	if (row->name != NULL)
		ck_assert(v != NULL && shelf_span_eq(v->value, shelf_span_str(row->value)));
	shelf_buf_free(&error);
	shelf_arena_free(&arena);
}
END_TEST

static const struct expand_row {
	const char *text, *want; /* NULL: an error */
	unsigned what;
} expand_rows[] = {
    {"a\\r\\n\\\\ \\Seen", "a\r\n\\ \\Seen", DIALOGUE_EXPAND_ESCAPES},
    {"a\\r\\n \\x41", "a\\r\\n A", 0},
    {"x${known}y", "xxxy", DIALOGUE_EXPAND_NAMES},
    {"x${known}y", "x${known}y", 0},
    {"x${unknown}y", NULL, DIALOGUE_EXPAND_NAMES},
    {"${repeat:4:\\x42}", "BBBB", 0},
    {"${repeat:0:ab}", "", 0},
    {"${repeat:99999999999:ab}", NULL, 0},
    {"\\", "\\", DIALOGUE_EXPAND_ESCAPES},
    {"\\x4", "\\x4", DIALOGUE_EXPAND_ESCAPES},
};

START_TEST(text_expands)
{
	const struct expand_row *row = &expand_rows[_i];
	struct shelf_arena arena = {0};
	struct dialogue_vars vars = {.arena = &arena};
	struct shelf_buf out = {0}, error = {0};
	bool good;

	dialogue_set(&vars, shelf_span_str("known"), shelf_span_str("xx"));
	good = dialogue_expand(&vars, shelf_span_str(row->text), row->what, &out, &error);
	ck_assert_int_eq(good, row->want != NULL);
	ck_assert_int_eq(error.len > 0, !good);
	if (good)
		ck_assert_str_eq(shelf_buf_cstr(&out), row->want);
	shelf_buf_free(&out);
	shelf_buf_free(&error);
	shelf_arena_free(&arena);
}
END_TEST

Suite *suite_dialogue_text(void);

Suite *
suite_dialogue_text(void)
{
	Suite *s = suite_create("dialogue_text");
	TCase *tc = tcase_create("text");

	tcase_add_loop_test(tc, pattern_matches, 0, (int)(sizeof match_rows / sizeof *match_rows));
	tcase_add_loop_test(tc, text_expands, 0, (int)(sizeof expand_rows / sizeof *expand_rows));
	suite_add_tcase(s, tc);
	return s;
}
