/* test_mailbox.c - names, create, delete, rename, subscriptions, \Recent */
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
create(const char *name)
{
	return shelf_mailbox_create(r.store, r.joe, shelf_span_str(name), 0, NULL);
}

static int
rename_box(const char *from, const char *to)
{
	return shelf_mailbox_rename(r.store, r.joe, shelf_span_str(from), shelf_span_str(to));
}

static int
delete_box(const char *name)
{
	return shelf_mailbox_delete(r.store, r.joe, shelf_span_str(name));
}

static int
list_one(void *arg, const struct shelf_mailbox *m)
{
	struct shelf_buf *b = arg;

	shelf_buf_printf(b, "%s%.*s%s%s", b->len > 0 ? " " : "", (int)m->name.len,
			 (const char *)m->name.data, m->exists_now ? "" : "?",
			 m->subscribed ? "+" : "");
	return 0;
}

/* All names in order: "?" no mailbox, "+" subscribed. */
static void
expect_list(const char *want)
{
	struct shelf_buf b = {0};
	struct shelf_rd *rd;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_mailbox_each(rd, list_one, &b), 0);
	shelf_rd_end(&rd);
	ck_assert_str_eq(shelf_buf_cstr(&b), want);
	shelf_buf_free(&b);
}

static uint32_t
id_of(const char *name)
{
	struct shelf_mailbox m = {0};
	struct shelf_rd *rd;
	int rc;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	rc = shelf_mailbox_find(rd, shelf_span_str(name), &m);
	shelf_rd_end(&rd);
	return rc == 0 ? m.id : 0;
}

static const struct {
	const char *name;
	const char *canonical; /* NULL: refused */
} names[] = {
    {"a", "a"},
    {"a/b/c", "a/b/c"},
    {"inbox", "INBOX"},
    {"iNbOx/sub", "INBOX/sub"},
    {"inboxes", "inboxes"},
    {"Entw\xc3\xbcrfe", "Entw\xc3\xbcrfe"},
    {"a b", "a b"},
    {"", NULL},
    {"/a", NULL},
    {"a/", NULL},
    {"a//b", NULL},
    {"a%", NULL},
    {"*", NULL},
    {"a\tb", NULL},
    {"\xff", NULL},
    {"a\x7f", NULL},
    {"\xc2\x85", NULL},
    {"../../etc", "../../etc"},
};

START_TEST(names_are_checked)
{
	struct shelf_buf out = {0};
	int rc = shelf_mailbox_canonical(shelf_span_str(names[_i].name), &out);

	if (names[_i].canonical == NULL) {
		ck_assert_int_eq(rc, SHELF_ENAME);
	} else {
		ck_assert_int_eq(rc, 0);
		ck_assert_str_eq(shelf_buf_cstr(&out), names[_i].canonical);
	}
	shelf_buf_free(&out);
}
END_TEST

START_TEST(long_and_deep_names)
{
	char long_a[SHELF_MAILBOX_NAME_MAX + 2], long_b[SHELF_MAILBOX_NAME_MAX + 2], deep[200];

	memset(long_a, 'x', sizeof(long_a));
	long_a[SHELF_MAILBOX_NAME_MAX] = '\0';
	memcpy(long_b, long_a, sizeof(long_a));
	long_b[SHELF_MAILBOX_NAME_MAX - 1] = 'y';
	ck_assert_int_eq(create(long_a), 0);
	ck_assert_int_eq(create(long_b), 0);
	ck_assert_int_eq(create(long_a), SHELF_EEXISTS);
	ck_assert_uint_ne(id_of(long_a), id_of(long_b));
	ck_assert_uint_ne(id_of(long_a), 0);
	long_a[SHELF_MAILBOX_NAME_MAX] = 'x';
	long_a[SHELF_MAILBOX_NAME_MAX + 1] = '\0';
	ck_assert_int_eq(create(long_a), SHELF_ENAME);
	for (int i = 0; i < 32; i++)
		memcpy(deep + 2 * i, "d/", 2);
	deep[63] = '\0';
	ck_assert_int_eq(create(deep), 0);
	memcpy(deep + 63, "/d", 3);
	ck_assert_int_eq(create(deep), SHELF_ENAME);
	/* Long names are found by their long parent. */
	long_b[300] = '/';
	ck_assert_int_eq(create(long_b), 0);
	long_b[300] = '\0';
	ck_assert_int_eq(delete_box(long_b), SHELF_ECHILDREN);
	ck_assert_int_eq(rename_box(long_b, "short"), 0);
	ck_assert_uint_eq(id_of(long_b), 0);
}
END_TEST

START_TEST(create_delete_and_uidvalidity)
{
	uint32_t first, second;

	ck_assert_int_eq(create("work"), 0);
	first = rig_mailbox(&r, r.joe, id_of("work")).uidvalidity;
	ck_assert_int_eq(create("work"), SHELF_EEXISTS);
	ck_assert_int_eq(create("inbox"), SHELF_EEXISTS);
	ck_assert_int_eq(create("work/today"), 0);
	rig_fill(&r, r.joe, id_of("work"), 3);
	ck_assert_int_eq(delete_box("work"), 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 3);
	ck_assert_int_eq(delete_box("work"), SHELF_ECHILDREN);
	ck_assert_int_eq(delete_box("nowhere"), SHELF_ENOMAILBOX);
	ck_assert_int_eq(delete_box("INBOX"), SHELF_ECANNOT);
	expect_list("INBOX work/today");
	ck_assert_int_eq(create("work"), 0);
	second = rig_mailbox(&r, r.joe, id_of("work")).uidvalidity;
	ck_assert_uint_gt(second, first);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, id_of("work")).exists, 0);
}
END_TEST

START_TEST(rename_moves_inferiors_and_keeps_ids)
{
	uint32_t id, sub;

	ck_assert_int_eq(create("a"), 0);
	ck_assert_int_eq(create("a/b"), 0);
	ck_assert_int_eq(create("ab"), 0);
	ck_assert_int_eq(create("x"), 0);
	id = id_of("a");
	sub = id_of("a/b");
	ck_assert_int_eq(rename_box("a", "x"), SHELF_EEXISTS);
	ck_assert_int_eq(rename_box("a", "a/b/c"), SHELF_ENAME);
	/* "inbox" is INBOX however it is written. */
	ck_assert_int_eq(create("INBOX/a"), 0);
	ck_assert_int_eq(rename_box("inbox/a", "INBOX/a/c"), SHELF_ENAME);
	ck_assert_int_eq(rename_box("INBOX/a", "x/y"), 0);
	ck_assert_int_eq(delete_box("x/y"), 0);
	ck_assert_int_eq(rename_box("nowhere", "y"), SHELF_ENOMAILBOX);
	ck_assert_int_eq(rename_box("a", "new/a"), 0);
	expect_list("INBOX ab new/a new/a/b x");
	ck_assert_uint_eq(id_of("new/a"), id);
	ck_assert_uint_eq(id_of("new/a/b"), sub);
	/* A name that only has inferiors can be renamed too. */
	ck_assert_int_eq(rename_box("new", "old"), 0);
	expect_list("INBOX ab old/a old/a/b x");
	/* An inferior whose new name is taken stops all of it. */
	ck_assert_int_eq(create("z/b"), 0);
	ck_assert_int_eq(rename_box("old/a", "z"), SHELF_EEXISTS);
	expect_list("INBOX ab old/a old/a/b x z/b");
}
END_TEST

START_TEST(rename_of_inbox_leaves_an_empty_inbox)
{
	uint32_t old_validity = rig_mailbox(&r, r.joe, r.inbox).uidvalidity;

	ck_assert_int_eq(create("INBOX/sub"), 0);
	rig_fill(&r, r.joe, r.inbox, 5);
	ck_assert_int_eq(rename_box("inbox", "2020"), 0);
	expect_list("INBOX 2020 INBOX/sub");
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, id_of("2020")).exists, 5);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, id_of("INBOX")).exists, 0);
	ck_assert_uint_gt(rig_mailbox(&r, r.joe, id_of("INBOX")).uidvalidity, old_validity);
}
END_TEST

START_TEST(subscriptions_outlive_mailboxes)
{
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("later"), true), 0);
	ck_assert_int_eq(create("now"), 0);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("now"), true), 0);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("inbox"), true), 0);
	expect_list("INBOX+ later?+ now+");
	ck_assert_int_eq(delete_box("now"), 0);
	ck_assert_int_eq(create("later"), 0);
	expect_list("INBOX+ later+ now?+");
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("now"), false), 0);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("never"), false),
			 0);
	expect_list("INBOX+ later+");
}
END_TEST

START_TEST(subscriptions_have_a_limit)
{
	char name[32];

	for (unsigned i = 0; i < SHELF_MAILBOXES_MAX; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str(name), true), 0);
	}
	ck_assert_int_eq(
	    shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("more"), true), SHELF_ELIMIT);
	/* A mailbox may be subscribed and removed all the same; its subscription goes with it. */
	ck_assert_int_eq(create("box"), 0);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("box"), true), 0);
	ck_assert_int_eq(delete_box("box"), 0);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("s0"), false), 0);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("box"), true), 0);
}
END_TEST

START_TEST(special_use_is_given_once)
{
	struct shelf_span sent = shelf_span_str("Sent"), other = shelf_span_str("Other");

	ck_assert_int_eq(shelf_mailbox_create(r.store, r.joe, sent, SHELF_USE_SENT, NULL), 0);
	ck_assert_int_eq(shelf_mailbox_create(r.store, r.joe, other, SHELF_USE_SENT, NULL),
			 SHELF_EEXISTS);
	ck_assert_uint_eq(id_of("Other"), 0);
	ck_assert_int_eq(create("Other"), 0);
	ck_assert_int_eq(shelf_mailbox_set_use(r.store, r.joe, other, SHELF_USE_SENT),
			 SHELF_EEXISTS);
	ck_assert_int_eq(shelf_mailbox_set_use(r.store, r.joe, sent, 0), 0);
	ck_assert_int_eq(shelf_mailbox_set_use(r.store, r.joe, other, SHELF_USE_SENT), 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, id_of("Other")).special_use, SHELF_USE_SENT);
	/* A deleted mailbox gives its use back. */
	ck_assert_int_eq(delete_box("Other"), 0);
	ck_assert_int_eq(shelf_mailbox_set_use(r.store, r.joe, sent, SHELF_USE_SENT), 0);
}
END_TEST

START_TEST(recent_is_told_to_one_session)
{
	uint32_t from, to;
	uint64_t modseq;

	rig_fill(&r, r.joe, r.inbox, 3);
	modseq = rig_modseq(&r, r.joe);
	ck_assert_int_eq(shelf_mailbox_claim_recent(r.store, r.joe, r.inbox, &from, &to), 0);
	ck_assert(from == 1 && to == 4);
	ck_assert_int_eq(shelf_mailbox_claim_recent(r.store, r.joe, r.inbox, &from, &to), 0);
	ck_assert(from == 4 && to == 4);
	rig_fill(&r, r.joe, r.inbox, 2);
	ck_assert_int_eq(shelf_mailbox_claim_recent(r.store, r.joe, r.inbox, &from, &to), 0);
	ck_assert(from == 4 && to == 6);
	/* The account's version moves with every change, the mailbox's does not with this one. */
	ck_assert_uint_eq(rig_modseq(&r, r.joe), modseq + 3);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).highestmodseq, modseq + 2);
}
END_TEST

START_TEST(mailboxes_have_a_limit)
{
	char name[32];

	for (unsigned i = 1; i < SHELF_MAILBOXES_MAX; i++) {
		snprintf(name, sizeof(name), "m%u", i);
		ck_assert_int_eq(create(name), 0);
	}
	ck_assert_int_eq(create("one-too-many"), SHELF_ELIMIT);
	ck_assert_int_eq(delete_box("m1"), 0);
	ck_assert_int_eq(create("fits-again"), 0);
}
END_TEST

START_TEST(the_number_of_mailboxes_can_be_limited)
{
	struct shelf_account_new ann = {.name = shelf_span_str("ann@b"), .limit_mailboxes = 1};
	struct shelf_delivery to = {.account = r.joe, .mailbox = shelf_span_str("by-mail")};
	struct shelf_append_result result;
	struct shelf_draft *draft = rig_draft(&r, "Subject: x", 10);
	uint32_t id = 0;

	ck_assert_int_eq(shelf_account_add(r.store, &ann, 1, NULL, &id), 0);
	ck_assert_uint_eq(rig_quota(&r, id).limit_mailboxes, 1);
	ck_assert_int_eq(shelf_mailbox_create(r.store, id, shelf_span_str("a"), 0, NULL), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 0, 3), 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_mailboxes, 1);
	ck_assert_int_eq(create("a"), 0);
	ck_assert_int_eq(create("b"), 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_mailboxes, 3);
	ck_assert_int_eq(create("c"), SHELF_EQUOTA);
	ck_assert_int_eq(create("b"), SHELF_EEXISTS);
	ck_assert_int_eq(rename_box("b", "c/d"), 0);
	ck_assert_int_eq(rename_box("INBOX", "old"), SHELF_EQUOTA);
	shelf_deliver(r.store, draft, &to, 1, &result);
	ck_assert_int_eq(result.rc, SHELF_EQUOTA);
	shelf_draft_free(&draft);
	ck_assert_int_eq(delete_box("a"), 0);
	ck_assert_int_eq(rename_box("INBOX", "old"), 0);
	/* Kept when other limits change, and by the store. */
	ck_assert_uint_eq(rig_quota(&r, r.joe).limit_mailboxes, 3);
	rig_reopen(&r);
	ck_assert_uint_eq(rig_quota(&r, r.joe).limit_mailboxes, 3);
	ck_assert_int_eq(create("a"), SHELF_EQUOTA);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 0, 0), 0);
	ck_assert_int_eq(create("a"), 0);
}
END_TEST

/* ---- What changed last ------------------------------------------------------------------------------- */

/* "2 1": ids that changed behind SINCE; "all" when too many did. */
static void
expect_changed(uint64_t since, const char *want)
{
	uint32_t ids[SHELF_CHANGED_MAX];
	struct shelf_buf b = {0};
	struct shelf_rd *rd;
	unsigned n;
	int rc;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	rc = shelf_mailbox_changed(rd, since, ids, &n);
	shelf_rd_end(&rd);
	ck_assert(rc == 0 || rc == SHELF_ELIMIT);
	for (unsigned i = 0; i < n; i++)
		shelf_buf_printf(&b, "%s%u", i > 0 ? " " : "", ids[i]);
	ck_assert_str_eq(rc == 0 ? shelf_buf_cstr(&b) : "all", want);
	shelf_buf_free(&b);
}

START_TEST(what_changed_last_is_known)
{
	uint64_t start = rig_modseq(&r, r.joe), later;
	struct shelf_uidset *one = rig_set(1, 1);
	struct shelf_copy_result copied = {.from_uids = shelf_uidset_new(),
	    .to_uids = shelf_uidset_new()};
	uint32_t from, to;
	char name[16];

	expect_changed(start, "");
	ck_assert_int_eq(create("a"), 0);
	ck_assert_int_eq(create("b"), 0);
	expect_changed(start, "3 2");
	rig_append(&r, r.joe, 2, "x", 0);
	expect_changed(start, "2 3");
	later = rig_modseq(&r, r.joe);
	rig_flag(&r, r.joe, 2, 1, 1, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	expect_changed(later, "2");
	/* A copy changes the target, a move both. */
	later = rig_modseq(&r, r.joe);
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, 2, 3, one, false, &copied), 0);
	expect_changed(later, "3");
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, 2, 1, one, true, &copied), 0);
	expect_changed(later, "1 2 3");
	/* \Recent is nobody's news. */
	later = rig_modseq(&r, r.joe);
	ck_assert_int_eq(shelf_mailbox_claim_recent(r.store, r.joe, 1, &from, &to), 0);
	expect_changed(later, "");
	/* Names: of a mailbox, and without one. */
	later = rig_modseq(&r, r.joe);
	ck_assert_int_eq(rename_box("b", "c"), 0);
	expect_changed(later, "3");
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("nowhere"), true), 0);
	expect_changed(later, "0 3");
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("c"), true), 0);
	expect_changed(later, "3 0");
	later = rig_modseq(&r, r.joe);
	ck_assert_int_eq(delete_box("c"), 0);
	expect_changed(later, "3 0"); /* the subscription has lost its mailbox */
	/* More than are kept. */
	later = rig_modseq(&r, r.joe);
	for (int i = 0; i < SHELF_CHANGED_MAX; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		ck_assert_int_eq(create(name), 0);
	}
	expect_changed(later, "19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4");
	ck_assert_int_eq(create("one too many"), 0);
	expect_changed(later, "all");
	expect_changed(later + 1, "20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5");
	rig_reopen(&r);
	expect_changed(later + 16, "20");
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
	shelf_uidset_free(&one);
}
END_TEST

Suite *suite_mailbox(void);
Suite *
suite_mailbox(void)
{
	Suite *s = suite_create("mailbox");
	TCase *tc = tcase_create("mailbox");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, names_are_checked, 0, (int)(sizeof(names) / sizeof(*names)));
	tcase_add_test(tc, long_and_deep_names);
	tcase_add_test(tc, create_delete_and_uidvalidity);
	tcase_add_test(tc, rename_moves_inferiors_and_keeps_ids);
	tcase_add_test(tc, rename_of_inbox_leaves_an_empty_inbox);
	tcase_add_test(tc, subscriptions_outlive_mailboxes);
	tcase_add_test(tc, subscriptions_have_a_limit);
	tcase_add_test(tc, special_use_is_given_once);
	tcase_add_test(tc, recent_is_told_to_one_session);
	tcase_add_test(tc, mailboxes_have_a_limit);
	tcase_add_test(tc, what_changed_last_is_known);
	tcase_add_test(tc, the_number_of_mailboxes_can_be_limited);
	suite_add_tcase(s, tc);
	return s;
}
