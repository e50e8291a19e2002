/* test_account.c - accounts: adding, names, passwords, services, removal */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "store_rig.h"

static struct rig r;

static void
setup(void)
{
	rig_open(&r, NULL);
}

static void
teardown(void)
{
	rig_close(&r);
}

static int
login(const char *name, const char *password, enum shelf_service service)
{
	struct shelf_account a;

	return shelf_account_login(r.store, shelf_span_str(name), shelf_span_str(password), service,
				   &a);
}

static const char *const bad_names[] = {"", "a b", "a/b", "a\\b", "a\"b", "\xff", "a\tb", "a'b"};

START_TEST(bad_names_are_refused)
{
	struct shelf_account_new req = {.name = shelf_span_str(bad_names[_i])};
	int rc = 0;

	ck_assert_int_eq(shelf_account_add(r.store, &req, 1, &rc, NULL), SHELF_ENAME);
	ck_assert_int_eq(rc, SHELF_ENAME);
}
END_TEST

START_TEST(adding_many_tells_each_result)
{
	struct shelf_account_new req[4] = {
	    {.name = shelf_span_str("New@Example.ORG"), .limit_messages = 7},
	    {.name = shelf_span_str("JOE")},
	    {.name = shelf_span_str("b c")},
	    {.name = shelf_span_str("zoe")}};
	struct shelf_account a;
	uint32_t id[4];
	int rc[4];

	ck_assert_int_eq(shelf_account_add(r.store, req, 4, rc, id), SHELF_EEXISTS);
	ck_assert(rc[0] == 0 && rc[1] == SHELF_EEXISTS && rc[2] == SHELF_ENAME && rc[3] == 0);
	ck_assert(id[0] != 0 && id[1] == 0 && id[2] == 0 && id[3] != 0 && id[0] != id[3]);
	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("new@EXAMPLE.org"), &a), 0);
	ck_assert_str_eq(a.name, "new@example.org");
	ck_assert_uint_eq(a.id, id[0]);
	ck_assert(!a.has_password && !a.disabled && a.services == SHELF_SERVICE_ALL);
	ck_assert_uint_eq(rig_quota(&r, a.id).limit_messages, 7);
	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("nobody"), &a),
			 SHELF_ENOACCOUNT);
	/* The same again: what is there stays as it is. */
	ck_assert_int_eq(shelf_account_add(r.store, req, 4, rc, id), SHELF_EEXISTS);
	ck_assert(rc[0] == SHELF_EEXISTS && rc[3] == SHELF_EEXISTS);
}
END_TEST

static int
count_accounts(void *arg, const struct shelf_account *a)
{
	struct shelf_account *last = arg;

	ck_assert_int_lt(strcmp(last->name, a->name), 0);
	*last = *a;
	last->id = 0;
	last->partition++;
	return 0;
}

START_TEST(a_thousand_accounts_are_listed_in_order)
{
	enum { N = 1000 };
	static char name[N][16];
	struct shelf_account_new *req = shelf_zalloc(N * sizeof(*req));
	struct shelf_account last = {0};

	for (int i = 0; i < N; i++) {
		snprintf(name[i], sizeof(name[i]), "user%d", i * 7919 % N);
		req[i].name = shelf_span_str(name[i]);
	}
	ck_assert_int_eq(shelf_account_add(r.store, req, N, NULL, NULL), 0);
	ck_assert_int_eq(shelf_account_each(r.store, count_accounts, &last), 0);
	ck_assert_str_eq(last.name, "user999");
	free(req);
}
END_TEST

START_TEST(passwords_are_verified_and_change)
{
	ck_assert_int_eq(login("joe", "", SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(shelf_account_set_password(r.store, r.joe, shelf_span_str("first")), 0);
	ck_assert_int_eq(login("Joe", "first", SHELF_SERVICE_IMAP), 0);
	ck_assert_int_eq(login("joe", "first", SHELF_SERVICE_POP3), 0); /* remembered */
	ck_assert_int_eq(login("joe", "First", SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(login("nobody", "first", SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(login("j/o/e", "first", SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(shelf_account_set_password(r.store, r.joe, shelf_span_str("second")), 0);
	ck_assert_int_eq(login("joe", "first", SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(login("joe", "second", SHELF_SERVICE_IMAP), 0);
	ck_assert_int_eq(shelf_account_set_password(r.store, r.joe, shelf_span("a\0b", 3)),
			 SHELF_ETOOBIG);
	ck_assert_int_eq(shelf_account_set_password(r.store, r.joe, shelf_span_str("")), 0);
	ck_assert_int_eq(login("joe", "second", SHELF_SERVICE_IMAP), SHELF_EAUTH);
}
END_TEST

START_TEST(a_remembered_login_is_fast)
{
	int64_t start, once, many;

	ck_assert_int_eq(shelf_account_set_password(r.store, r.joe, shelf_span_str("x")), 0);
	start = shelf_now_us();
	ck_assert_int_eq(login("joe", "x", SHELF_SERVICE_IMAP), 0);
	once = shelf_now_us() - start;
	start = shelf_now_us();
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(login("joe", "x", SHELF_SERVICE_IMAP), 0);
	many = shelf_now_us() - start;
	/* Ten remembered ones against one hash: 1000 times less work, so 1:1 is a wide margin. */
	ck_assert_int_lt(many, once);
}
END_TEST

START_TEST(services_are_switched)
{
	ck_assert_int_eq(shelf_account_set_password(r.store, r.joe, shelf_span_str("x")), 0);
	ck_assert_int_eq(shelf_account_set_services(r.store, r.joe, SHELF_SERVICE_POP3, false), 0);
	ck_assert_int_eq(login("joe", "x", SHELF_SERVICE_IMAP), SHELF_EDISABLED);
	ck_assert_int_eq(login("joe", "y", SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(login("joe", "x", SHELF_SERVICE_POP3), 0);
	ck_assert_int_eq(shelf_account_set_services(r.store, r.joe, SHELF_SERVICE_ALL, true), 0);
	ck_assert_int_eq(login("joe", "x", SHELF_SERVICE_POP3), SHELF_EDISABLED);
}
END_TEST

START_TEST(a_deleted_account_is_gone_with_its_mail)
{
	struct shelf_store_stats before, after;
	struct shelf_account a;
	struct shelf_account_new again = {.name = shelf_span_str("joe")};
	uint32_t id;
	int rc;

	for (int i = 0; i < 20; i++) {
		rig_fill(&r, r.joe, r.inbox, 100);
		rig_append(&r, r.joe, r.inbox, i % 2 ? "even" : "odd", 0);
	}
	rig_create(&r, r.joe, "box");
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, SHELF_EXPUNGE_ATOMIC, NULL), 0);
	rig_fill(&r, r.joe, r.inbox, 100);
	ck_assert_int_eq(shelf_store_stats(r.store, &before), 0);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("joe"), &a), SHELF_ENOACCOUNT);
	ck_assert_uint_eq(rig_findings(&r), 0);
	/* The name is free at once, the id is not given again. */
	ck_assert_int_eq(shelf_account_add(r.store, &again, 1, NULL, &id), 0);
	ck_assert_uint_gt(id, r.ann);
	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(shelf_store_stats(r.store, &after), 0);
	ck_assert_uint_gt(after.free_bytes, before.free_bytes);
	ck_assert_uint_eq(rig_quota(&r, id).used_messages, 0);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), SHELF_ENOACCOUNT);
}
END_TEST

Suite *suite_account(void);
Suite *
suite_account(void)
{
	Suite *s = suite_create("account");
	TCase *tc = tcase_create("account");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, bad_names_are_refused, 0,
			    (int)(sizeof(bad_names) / sizeof(*bad_names)));
	tcase_add_test(tc, adding_many_tells_each_result);
	tcase_add_test(tc, a_thousand_accounts_are_listed_in_order);
	tcase_add_test(tc, passwords_are_verified_and_change);
	tcase_add_test(tc, a_remembered_login_is_fast);
	tcase_add_test(tc, services_are_switched);
	tcase_add_test(tc, a_deleted_account_is_gone_with_its_mail);
	suite_add_tcase(s, tc);
	return s;
}
