/*
 * test_sort.c - sorting a mailbox: random criteria over random messages against qsort, and single cases
 *
 * The model knows the key of each message as it was made, in the form in which keys compare.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "mail.h"
#include "mail_rig.h"

Suite *suite_sort(void);

enum { MESSAGES = 120, ROUNDS = 300 };

/* As written, and its key: sorted by byte, upper case. */
struct word {
	const char *written, *key;
};
static const struct word subjects[] = {
    {"Re: apple", "APPLE"}, {"[x] Apple (fwd)", "APPLE"}, {"=?utf-8?q?=C3=84pfel?=", "A\xcc\x88PFEL"},
    {"banana", "BANANA"}, {"zebra", "ZEBRA"}, {"", ""}, {"Fwd: Banana split", "BANANA SPLIT"},
    /* Alike for longer than what is kept. */
    {"a very long subject that many messages share, word for word, up to the number 1",
	"A VERY LONG SUBJECT THAT MANY MESSAGES SHARE, WORD FOR WORD, UP TO THE NUMBER 1"},
    {"Re: a very long subject that many messages share, word for word, up to the number 2",
	"A VERY LONG SUBJECT THAT MANY MESSAGES SHARE, WORD FOR WORD, UP TO THE NUMBER 2"},
    {"a very long subject that many messages share, word for word, up",
	"A VERY LONG SUBJECT THAT MANY MESSAGES SHARE, WORD FOR WORD, UP"},
    {"a very long subject that many messages share, word for word, up ",
	"A VERY LONG SUBJECT THAT MANY MESSAGES SHARE, WORD FOR WORD, UP"},
    {"a very long subject that many messages share, word for word, up t",
	"A VERY LONG SUBJECT THAT MANY MESSAGES SHARE, WORD FOR WORD, UP T"},
};
struct person {
	const char *written, *mailbox, *display;
};
static const struct person people[] = {
    {"joe@example.org", "JOE", "JOE@EXAMPLE.ORG"},
    {"Ann Other <zoe@example.org>", "ZOE", "ANN OTHER"},
    {"\"bob\" <bob@a.example>, ann@b.example", "BOB", "BOB"},
    {"=?iso-8859-1?q?=C4rmel?= <ARMEL@x.example>", "ARMEL", "A\xcc\x88RMEL"},
    {"\"\" <q@x.example>", "Q", "Q@X.EXAMPLE"},
    {NULL, "", ""},
};
#define COUNT(a) ((uint32_t)(sizeof(a) / sizeof *(a)))

struct model {
	const char *text[SHELF_SORT_KEYS]; /* of the keys that are texts */
	int64_t number[SHELF_SORT_KEYS];
	uint32_t uid;
};
static struct model models[MESSAGES];
static struct rig rig;
static uint32_t seed;
static const struct shelf_sort_criterion *by; /* for qsort */
static size_t nby;

static uint32_t
below(uint32_t n)
{
	return mail_random(&seed, n);
}

static const struct person *
add_person(struct shelf_buf *text, const char *field)
{
	const struct person *p = &people[below(COUNT(people))];

	if (p->written != NULL)
		shelf_buf_printf(text, "%s: %s\r\n", field, p->written);
	return p;
}

static void
add_message(struct model *m)
{
	const struct word *subject = &subjects[below(COUNT(subjects))];
	struct shelf_buf text = {0};
	const struct person *p;
	uint32_t hour = below(24), zone = below(10), day = 1 + below(3);

	*m = (struct model){.number[SHELF_SORT_ARRIVAL] = 1000000000 + below(20)};
	p = add_person(&text, "From");
	m->text[SHELF_SORT_FROM] = p->mailbox;
	m->text[SHELF_SORT_DISPLAYFROM] = p->display;
	p = add_person(&text, "To");
	m->text[SHELF_SORT_TO] = p->mailbox;
	m->text[SHELF_SORT_DISPLAYTO] = p->display;
	m->text[SHELF_SORT_CC] = add_person(&text, "Cc")->mailbox;
	m->text[SHELF_SORT_SUBJECT] = subject->key;
	shelf_buf_printf(&text, "Subject: %s\r\n", subject->written);
	m->number[SHELF_SORT_DATE] = m->number[SHELF_SORT_ARRIVAL];
	if (below(4) > 0) {
		shelf_buf_printf(&text, "Date: %u Sep 2001 %02u:00:00 +%02u00\r\n", day, hour, zone);
		/* 1 September 2001 */
		m->number[SHELF_SORT_DATE] = (int64_t)999302400 + (day - 1) * 86400 + hour * 3600 -
		    zone * 3600;
	}
	shelf_buf_printf(&text, "\r\n%*s\r\n", (int)below(6), "");
	m->number[SHELF_SORT_SIZE] = (int64_t)text.len;
	m->uid = mail_append(&rig, shelf_buf_cstr(&text), m->number[SHELF_SORT_ARRIVAL]);
	shelf_buf_free(&text);
}

static void
setup(void)
{
	rig_open(&rig, NULL);
	seed = mail_seed(11);
	for (unsigned i = 0; i < MESSAGES; i++)
		add_message(&models[i]);
}

static void
teardown(void)
{
	rig_close(&rig);
}

static int
compare(const void *a, const void *b)
{
	const struct model *x = a, *y = b;

	for (size_t i = 0; i < nby; i++) {
		enum shelf_sort_key key = by[i].key;
		int order = x->text[key] != NULL ? strcmp(x->text[key], y->text[key]) :
		    x->number[key] < y->number[key] ? -1 : x->number[key] > y->number[key];

		if (order != 0)
			return by[i].reverse ? -order : order;
	}
	return x->uid < y->uid ? -1 : 1;
}

static struct shelf_sort *
sorted(const struct shelf_uidset *uids, const struct shelf_sort_criterion *criteria, size_t n,
    unsigned budget_ms)
{
	struct shelf_sort *s;
	int rc;

	ck_assert_int_eq(shelf_sort_new(rig.store, rig.joe, rig.inbox, uids, criteria, n, &s), 0);
	while ((rc = shelf_sort_run(s, budget_ms)) == 1)
		continue;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(shelf_sort_run(s, budget_ms), 0);
	ck_assert_uint_eq(shelf_sort_progress(s).done, shelf_uidset_count(uids));
	ck_assert_uint_eq(shelf_sort_progress(s).total, shelf_uidset_count(uids));
	return s;
}

START_TEST(equals_model)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct shelf_sort_criterion criteria[4];
		struct shelf_uidset *uids = shelf_uidset_new();
		struct model wanted[MESSAGES];
		struct shelf_sort *s;
		size_t n = 0;

		nby = 1 + below(4);
		by = criteria;
		for (size_t i = 0; i < nby; i++)
			criteria[i] = (struct shelf_sort_criterion){below(SHELF_SORT_KEYS), below(2) == 0};
		for (unsigned i = 0; i < MESSAGES; i++)
			if (round % 2 == 0 || below(2) == 0) {
				wanted[n++] = models[i];
				shelf_uidset_add(uids, models[i].uid);
			}
		qsort(wanted, n, sizeof *wanted, compare);
		s = sorted(uids, criteria, nby, round % 3 == 0 ? 0 : 100);
		ck_assert_uint_eq(shelf_sort_count(s), n);
		for (uint32_t i = 0; i < n; i++)
			ck_assert_msg(shelf_sort_uid(s, i) == wanted[i].uid, "round %u, rank %u: %u, not %u",
			    round, i, shelf_sort_uid(s, i), wanted[i].uid);
		shelf_sort_free(&s);
		shelf_uidset_free(&uids);
	}
}
END_TEST

/* Each message, taken out, belongs where it was; also when others there can be asked nothing. */
START_TEST(place)
{
	struct shelf_uidset *uids = rig_set(1, MESSAGES), *gone = rig_set(5, 30);
	const uint32_t elsewhere = rig_create(&rig, rig.joe, "elsewhere");
	struct shelf_copy_result moved = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};

	for (unsigned round = 0; round < 20; round++) {
		struct shelf_sort_criterion criteria[2] = {{below(SHELF_SORT_KEYS), below(2) == 0},
		    {below(SHELF_SORT_KEYS), below(2) == 0}};
		struct shelf_sort *s = sorted(uids, criteria, 2, 100);
		uint32_t order[MESSAGES], rank, taken = below(MESSAGES), n = 0;

		for (uint32_t i = 0; i < MESSAGES; i++)
			if (i != taken)
				order[n++] = shelf_sort_uid(s, i);
		ck_assert_int_eq(shelf_sort_place(rig.store, rig.joe, rig.inbox, criteria, 2, order, n,
		    shelf_sort_uid(s, taken), &rank), 0);
		ck_assert_uint_eq(rank, taken);
		shelf_sort_free(&s);
	}
	ck_assert_int_eq(shelf_msg_copy(rig.store, rig.joe, rig.inbox, elsewhere, gone, true, &moved), 0);
	for (unsigned round = 0; round < 20; round++) {
		struct shelf_sort_criterion subject = {SHELF_SORT_SUBJECT, false};
		uint32_t order[MESSAGES], rank, n = 0;

		for (uint32_t i = 1; i <= MESSAGES; i++)
			order[n++] = i; /* in no order: an answer all the same */
		ck_assert_int_eq(shelf_sort_place(rig.store, rig.joe, rig.inbox, &subject, 1, order, n,
		    31 + below(MESSAGES - 31), &rank), 0);
		ck_assert_uint_le(rank, n);
	}
	shelf_uidset_free(&moved.from_uids);
	shelf_uidset_free(&moved.to_uids);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&gone);
}
END_TEST

/* Expunged and held: still in order; gone for good: left out. */
START_TEST(expunged)
{
	const struct shelf_sort_criterion subject = {SHELF_SORT_SUBJECT, false};
	struct shelf_uidset *all = rig_set(1, MESSAGES + 3), *some = rig_set(1, 10);
	struct shelf_sort *s;

	ck_assert_int_eq(shelf_msg_expunge(rig.store, rig.joe, rig.inbox, some, 0, NULL), 0);
	s = sorted(all, &subject, 1, 100);
	ck_assert_uint_eq(shelf_sort_count(s), MESSAGES);
	shelf_sort_free(&s);
	ck_assert_int_eq(shelf_sort_new(rig.store, rig.joe, rig.inbox, all, &subject, 1, &s), 0);
	shelf_sort_free(&s); /* at once */
	shelf_uidset_free(&all);
	shelf_uidset_free(&some);
}
END_TEST

/* Rows as older releases left them: the date comes from the envelope. */
static int
forget_dates(struct kv_txn *txn, void *arg)
{
	struct mail_msg row;
	int rc = 0;

	for (uint32_t uid = 1; rc == 0 && uid <= MESSAGES; uid += 2) {
		rc = mail_msg_get(kv_txn_view(txn), *(uint32_t *)arg, uid, &row);
		row.dated = false;
		if (rc == 0)
			rc = mail_msg_put(txn, *(uint32_t *)arg, uid, &row);
	}
	return rc;
}

START_TEST(undated)
{
	const struct shelf_sort_criterion date = {SHELF_SORT_DATE, true};
	struct shelf_uidset *all = rig_set(1, MESSAGES);
	struct model wanted[MESSAGES];
	struct shelf_msg msg;
	struct shelf_sort *s;

	ck_assert_int_eq(kv_update(rig.store->kv, rig.joe, 0, forget_dates, &rig.inbox), 0);
	ck_assert_int_eq(rig_msg(&rig, rig.joe, rig.inbox, 1, &msg), 0);
	ck_assert(!msg.dated);
	ck_assert_int_eq(rig_msg(&rig, rig.joe, rig.inbox, 2, &msg), 0);
	ck_assert(msg.dated);
	memcpy(wanted, models, sizeof wanted);
	by = &date;
	nby = 1;
	qsort(wanted, MESSAGES, sizeof *wanted, compare);
	s = sorted(all, &date, 1, 100);
	for (uint32_t i = 0; i < MESSAGES; i++)
		ck_assert_uint_eq(shelf_sort_uid(s, i), wanted[i].uid);
	shelf_sort_free(&s);
	shelf_uidset_free(&all);
}
END_TEST

START_TEST(nothing)
{
	const struct shelf_sort_criterion subject = {SHELF_SORT_SUBJECT, false};
	struct shelf_uidset *none = shelf_uidset_new();
	struct shelf_sort *s = sorted(none, &subject, 1, 0);

	ck_assert_uint_eq(shelf_sort_count(s), 0);
	shelf_sort_free(&s);
	shelf_uidset_free(&none);
}
END_TEST

Suite *
suite_sort(void)
{
	Suite *suite = suite_create("sort");
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, equals_model);
	tcase_add_test(tc, place);
	tcase_add_test(tc, undated);
	tcase_add_test(tc, expunged);
	tcase_add_test(tc, nothing);
	suite_add_tcase(suite, tc);
	return suite;
}
