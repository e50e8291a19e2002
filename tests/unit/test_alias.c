/* test_alias.c - aliases: names, limits, the walk; saved and restored, with policies; damage is found; the verb */
#include <check.h>
#include <stdlib.h>

#include "mail.h"
#include "verb_rig.h"

#include <mailshelf/policy.h>

static struct rig r;

static int
set(const char *address, const char *target)
{
	struct shelf_span t = shelf_span_str(target);

	return shelf_alias_set(r.store, shelf_span_str(address), &t, target == NULL ? 0 : 1);
}

START_TEST(names)
{
	static const char *const bad[] = {"", "a b", "a@", "@", "@a@b", "x/y", "a\x01"};
	struct shelf_buf targets = {0};
	struct shelf_span two[2] = {shelf_span_str("Joe"), shelf_span_str("ann@Example.org")};

	rig_open(&r, NULL);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		ck_assert_int_eq(set(bad[i], "joe"), SHELF_ENAME);
		ck_assert_int_eq(set("a@b", bad[i]), SHELF_ENAME);
	}
	ck_assert_int_eq(set("a@b", "@c"), SHELF_ENAME);
	ck_assert_int_eq(set("a@b", NULL), SHELF_EMISSING);
	ck_assert_int_eq(set("@a", "@b"), 0);
	ck_assert_int_eq(shelf_alias_set(r.store, shelf_span_str("A@B"), two, 2), 0);
	ck_assert_int_eq(shelf_alias_find(r.store, shelf_span_str("a@B"), &targets), 0);
	ck_assert_uint_eq(targets.len, 20);
	ck_assert_int_eq(memcmp(targets.data, "joe\0ann@example.org\0", 20), 0);
	ck_assert_int_eq(shelf_alias_find(r.store, shelf_span_str("a b"), &targets), SHELF_EMISSING);
	ck_assert_int_eq(set("a@b", NULL), 0);
	ck_assert_int_eq(shelf_alias_find(r.store, shelf_span_str("a@b"), &targets), SHELF_EMISSING);
	shelf_buf_free(&targets);
	rig_close(&r);
}
END_TEST

START_TEST(as_many_as_fit_a_row)
{
	struct shelf_span list[SHELF_ALIAS_TARGETS_BYTES / 2 + 1], many = shelf_span_str("many");

	for (size_t i = 0; i < sizeof list / sizeof *list; i++)
		list[i] = shelf_span_str("x");
	rig_open(&r, NULL);
	ck_assert_int_eq(shelf_alias_set(r.store, many, list, sizeof list / sizeof *list), SHELF_ELIMIT);
	ck_assert_int_eq(shelf_alias_set(r.store, many, list, sizeof list / sizeof *list - 1), 0);
	rig_close(&r);
}
END_TEST

struct walk {
	unsigned n, stop_at;
	char last[64];
};

static int
walk_one(void *arg, struct shelf_span address, struct shelf_span targets)
{
	struct walk *w = arg;

	ck_assert_uint_lt(address.len, sizeof w->last);
	ck_assert_int_gt(shelf_span_cmp(address, shelf_span_str(w->last)), 0);
	memcpy(w->last, address.data, address.len);
	w->last[address.len] = '\0';
	ck_assert_str_eq((const char *)targets.data, "joe");
	return ++w->n == w->stop_at ? 77 : 0;
}

/* More than a slice, and exactly two. */
START_TEST(the_walk)
{
	char name[32];
	struct walk w = {0};

	rig_open(&r, NULL);
	for (unsigned i = 0; i < 128; i++) {
		snprintf(name, sizeof name, "a%u", i);
		ck_assert_int_eq(set(name, "joe"), 0);
	}
	ck_assert_int_eq(shelf_alias_each(r.store, walk_one, &w), 0);
	ck_assert_uint_eq(w.n, 128);
	w = (struct walk){.stop_at = 65};
	ck_assert_int_eq(shelf_alias_each(r.store, walk_one, &w), 77);
	ck_assert_uint_eq(w.n, 65);
	rig_close(&r);
}
END_TEST

START_TEST(a_backup_has_them)
{
	struct shelf_backup_done done;
	struct shelf_restore_done back;
	struct shelf_backup *b = NULL;
	struct shelf_store *there = NULL;
	struct shelf_buf targets = {0};
	struct shelf_policies p;
	char file[4300], dir[4300];

	rig_open(&r, NULL);
	snprintf(file, sizeof file, "%s/b.mshelf", r.dir);
	snprintf(dir, sizeof dir, "%s/back", r.dir);
	ck_assert_int_eq(set("sales@example.org", "joe"), 0);
	ck_assert_int_eq(set("@old.example", "@example.org"), 0);
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("joe"), SHELF_POLICY_OVER_QUOTA, 1), 0);
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("*"), SHELF_POLICY_QUOTA_GRACE, 12345), 0);
	ck_assert_int_eq(shelf_backup_run(r.store, file, NULL, NULL, NULL, &done), 0);
	ck_assert_int_eq(shelf_backup_run(r.store, file, NULL, NULL, NULL, &done), 0);
	ck_assert_uint_eq(done.unchanged, 2);
	ck_assert_int_eq(shelf_backup_open(file, 0, &b), 0);
	ck_assert_int_eq(shelf_backup_restore_store(b, dir, NULL, NULL, NULL, &back), 0);
	ck_assert_uint_eq(back.accounts, 2);
	ck_assert_int_eq(shelf_store_open(dir, 0, &there), 0);
	ck_assert_int_eq(shelf_alias_find(there, shelf_span_str("sales@example.org"), &targets), 0);
	ck_assert_str_eq((const char *)targets.data, "joe");
	ck_assert_int_eq(shelf_alias_find(there, shelf_span_str("@old.example"), &targets), 0);
	ck_assert_str_eq((const char *)targets.data, "@example.org");
	ck_assert_int_eq(shelf_policy_get(there, shelf_span_str("joe"), &p), 0);
	ck_assert_uint_eq(p.value[SHELF_POLICY_OVER_QUOTA], 1);
	ck_assert_uint_eq(p.value[SHELF_POLICY_QUOTA_GRACE], 12345);
	shelf_buf_free(&targets);
	shelf_store_close(&there);
	shelf_backup_close(&b);
	rig_close(&r);
}
END_TEST

static int
spoil(struct kv_txn *txn, void *value)
{
	return kv_put(txn, KV_ALIAS, shelf_span_str("sales"), *(struct shelf_span *)value);
}

START_TEST(damage_is_found)
{
	static const struct shelf_span rows[] = {
		{(const uint8_t *)"\1\0", 2}, {(const uint8_t *)"\1\1\0", 3},
		{(const uint8_t *)"\1\1\2joe", 6}, {(const uint8_t *)"\1\2\3joe", 6},
		{(const uint8_t *)"\1\1\3j\0e", 6}, {(const uint8_t *)"\2\1\3joe", 6}};
	struct shelf_span row = rows[_i];
	struct shelf_buf targets = {0};

	rig_open(&r, NULL);
	ck_assert_int_eq(kv_update(r.store->kv, KV_CATALOG, 0, spoil, &row), 0);
	ck_assert_int_eq(shelf_alias_find(r.store, shelf_span_str("sales"), &targets),
	    _i == 5 ? SHELF_EVERSION : SHELF_ECORRUPT);
	ck_assert_uint_eq(rig_findings(&r), 1);
	ck_assert_int_eq(set("sales", NULL), 0);
	shelf_buf_free(&targets);
	rig_close(&r);
}
END_TEST

START_TEST(the_verbs)
{
	rig_open(&r, NULL);
	ck_assert_int_eq(verb_run(&r, tool_alias_list, false, ""), EX_OK);
	ck_assert_str_eq(verb_out, "no aliases\n");
	ck_assert_int_eq(verb_run(&r, tool_alias_set, false, "Sales@Example.org|joe|ann"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_alias_set, false, "@old|@new"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_alias_set, false, "sales"), EX_USAGE);
	ck_assert_int_ne(verb_run(&r, tool_alias_set, false, "a b|joe"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_alias_list, false, ""), EX_OK);
	ck_assert_str_eq(verb_out, "@old  @new\nsales@example.org  joe ann\n");
	ck_assert_int_eq(verb_run(&r, tool_alias_list, true, ""), EX_OK);
	ck_assert_str_eq(verb_out, "[{\"address\":\"@old\",\"targets\":[\"@new\"]},"
	    "{\"address\":\"sales@example.org\",\"targets\":[\"joe\",\"ann\"]}]\n");
	ck_assert_int_eq(verb_run(&r, tool_alias_delete, false, "sales@example.org"), EX_OK);
	ck_assert_int_ne(verb_run(&r, tool_alias_delete, false, "sales@example.org"), EX_OK);
	rig_close(&r);
}
END_TEST

Suite *suite_alias(void);
Suite *
suite_alias(void)
{
	Suite *s = suite_create("alias");
	TCase *tc = tcase_create("alias");

	tcase_add_test(tc, names);
	tcase_add_test(tc, as_many_as_fit_a_row);
	tcase_add_test(tc, the_walk);
	tcase_add_test(tc, a_backup_has_them);
	tcase_add_test(tc, the_verbs);
	tcase_add_loop_test(tc, damage_is_found, 0, 6);
	suite_add_tcase(s, tc);
	return s;
}
