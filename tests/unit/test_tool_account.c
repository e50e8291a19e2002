/* test_tool_account.c - the verbs account and quota: switches and limits */
#include <stdlib.h>

#include <check.h>

#include "verb_rig.h"

static struct rig r;

static bool
shows(const char *text)
{
	return strstr(verb_out, text) != NULL;
}

static void
setup(void)
{
	rig_open(&r, NULL);
}

static void
teardown(void)
{
	rig_close(&r); /* with a check */
}

START_TEST(limits_are_set_and_shown)
{
	ck_assert_int_eq(verb_run(&r, tool_quota_set, true, "joe|--mailboxes|3"), EX_OK);
	ck_assert(shows("\"used_mailboxes\":1,\"limit_mailboxes\":3"));
	/* What is not given stays. */
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "joe|5M|--messages|9"), EX_OK);
	ck_assert(shows("0 messages of 9, 1 mailboxes of 3"));
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "joe|--mailboxes|none"), EX_OK);
	ck_assert(shows("of 9, 1 mailboxes of no limit"));
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "joe"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_quota_set, false, "joe|--mailboxes|x"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_account_add, false, "new|--quota-mailboxes|7"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_account_show, false, "new"), EX_OK);
	ck_assert(shows("mailboxes  1 of 7"));
	ck_assert_int_eq(verb_run(&r, tool_quota_check, false, ""), EX_OK);
}
END_TEST

START_TEST(an_administrator_is_made)
{
	struct shelf_account a;

	ck_assert_int_eq(verb_run(&r, tool_account_set, true, "joe|--admin|yes"), EX_OK);
	ck_assert(shows("\"delivery\":true,\"admin\":true"));
	ck_assert_int_eq(shelf_account_get(r.store, r.joe, &a), 0);
	ck_assert_uint_eq(a.services, SHELF_SERVICE_ALL | SHELF_SERVICE_ADMIN);
	/* Other switches leave it alone. */
	ck_assert_int_eq(verb_run(&r, tool_account_set, false, "joe|--pop3|off"), EX_OK);
	ck_assert(shows("admin"));
	ck_assert_int_eq(verb_run(&r, tool_account_set, true, "joe|--admin|no"), EX_OK);
	ck_assert(shows("\"admin\":false"));
	ck_assert_int_eq(verb_run(&r, tool_account_set, false, "joe|--admin|perhaps"), EX_USAGE);
}
END_TEST

Suite *suite_tool_account(void);
Suite *
suite_tool_account(void)
{
	Suite *s = suite_create("tool_account");
	TCase *tc = tcase_create("tool_account");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, limits_are_set_and_shown);
	tcase_add_test(tc, an_administrator_is_made);
	suite_add_tcase(s, tc);
	return s;
}
