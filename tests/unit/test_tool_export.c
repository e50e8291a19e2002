/* test_tool_export.c - the verb export on a store with a damaged body: named, left out, the others come */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <check.h>

#include "dialogue.h"
#include "store_rig.h"
#include "support.h"
#include "tools.h"

static struct rig r;

static size_t
count(const char *pattern)
{
	char path[4400];
	size_t n;
	glob_t g;

	snprintf(path, sizeof path, "%s/%s", r.dir, pattern);
	n = glob(path, 0, NULL, &g) == 0 ? g.gl_pathc : 0;
	globfree(&g);
	return n;
}

/* _i 0: in the first of three frames, 1: when a part of the file is written already. */
START_TEST(what_is_damaged_is_left_out)
{
	static const struct tool_verb verb = {"export", NULL, "", "", ""};
	char dir[4300], said[4300], joe[] = "joe", format[] = "--format=eml", *argv[] = {joe, dir, format};
	struct tool t = {.verb = &verb, .store_dir = r.path, .argc = 3, .argv = argv};
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result result;
	struct shelf_buf text = {0};

	rig_open(&r, NULL);
	rig_append(&r, r.joe, r.inbox, "one", 0);
	item.draft = rig_draft(&r, "two", 700000);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), 0);
	shelf_draft_free(&item.draft);
	rig_append(&r, r.joe, r.inbox, "three", 0);
	ck_assert_int_eq(dialogue_damage(r.store, r.joe, "INBOX", 2, (uint32_t)_i), 0);
	shelf_store_close(&r.store);
	snprintf(dir, sizeof dir, "%s/mail", r.dir);
	snprintf(said, sizeof said, "%s/said", r.dir);
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stdout));
	ck_assert_ptr_nonnull(freopen(said, "w", stderr));
	ck_assert_int_eq(tool_export(&t), EX_DATAERR);
	fflush(stderr);
	ck_assert_uint_eq(count("mail/INBOX/*"), 2);
	ck_assert_uint_eq(count("mail/INBOX/0000000002.eml"), 0);
	support_read_file(said, &text);
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&text), "store data is damaged"));
	shelf_buf_free(&text);
	shelf_store_close(&t.store);
	support_rmtree(r.dir);
}
END_TEST

Suite *suite_tool_export(void);
Suite *
suite_tool_export(void)
{
	Suite *s = suite_create("tool_export");
	TCase *tc = tcase_create("export");

	tcase_add_loop_test(tc, what_is_damaged_is_left_out, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}
