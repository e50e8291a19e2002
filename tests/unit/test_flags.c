/*
 * test_flags.c - STORE over pages: every message as if it had been changed alone, and what it costs
 *
 * Random changes on random sets over the borders of pages are compared, message by message, with the rules applied
 * to what was there before. Bytes of \Deleted are proved by the check at the end.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "store_rig.h"
#include "uid_rig.h"

enum { FIRST = 65000, COUNT = 1100, ROUNDS = 60 };

static struct rig r;
static unsigned seed;

static void
setup(void)
{
	rig_open(&r, NULL);
	seed = 1;
}

static void
teardown(void)
{
	rig_close(&r);
}

static unsigned
rnd(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static void
read_all(struct shelf_msg *m)
{
	struct shelf_rd *rd = NULL;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert_int_eq(shelf_msg_next(rd, r.inbox, FIRST + i, SHELF_MSG_FLAGS, &m[i]), 0);
		ck_assert_uint_eq(m[i].uid, FIRST + i);
	}
	shelf_rd_end(&rd);
}

/* What one message becomes; FLAGS with keywords 0..2 above the system flags. */
static unsigned
rule(unsigned flags, enum shelf_flag_op op, unsigned named)
{
	return op == SHELF_FLAGS_ADD ? flags | named : op == SHELF_FLAGS_REMOVE ? flags & ~named : named;
}

static unsigned
flags_of(const struct shelf_msg *m)
{
	ck_assert_uint_eq(m->keywords[0] >> 3, 0);
	return m->flags | (unsigned)m->keywords[0] << 5;
}

static struct shelf_uidset *
random_uids(void)
{
	struct shelf_uidset *uids = shelf_uidset_new();

	switch (rnd(3)) {
	case 0: /* everything, and what is not there */
		shelf_uidset_add_range(uids, FIRST - 2000 + rnd(4000), UINT32_MAX);
		break;
	case 1:
		for (unsigned i = rnd(500); i > 0; i--)
			shelf_uidset_add(uids, FIRST + rnd(COUNT));
		break;
	default:
		for (unsigned i = 0; i < 5; i++) {
			uint32_t from = FIRST + rnd(COUNT);

			shelf_uidset_add_range(uids, from, from + rnd(300));
		}
	}
	return uids;
}

static void
change_and_compare(struct shelf_msg *before, struct shelf_msg *after)
{
	const struct shelf_span keyword[3] = {
	    shelf_span_str("one"), shelf_span_str("two"), shelf_span_str("three")};
	struct shelf_uidset *uids = random_uids(), *modified = shelf_uidset_new();
	struct shelf_flag_change change = {.op = (enum shelf_flag_op)rnd(3),
	    .flags = rnd(32),
	    .keywords = keyword,
	    .nkeywords = rnd(4),
	    .unchanged_since = rnd(2) ? UINT64_MAX : rig_modseq(&r, r.joe) - rnd(8)};
	unsigned named = change.flags | ((1u << change.nkeywords) - 1) << 5;

	read_all(before);
	ck_assert_int_eq(shelf_msg_set_flags(r.store, r.joe, r.inbox, uids, &change, modified, NULL), 0);
	read_all(after);
	for (unsigned i = 0; i < COUNT; i++) {
		const struct shelf_msg *b = &before[i], *a = &after[i];
		bool asked = shelf_uidset_has(uids, b->uid), late = b->modseq > change.unchanged_since;
		unsigned was = flags_of(b), want = asked && !late ? rule(was, change.op, named) : was;

		ck_assert_uint_eq(flags_of(a), want);
		ck_assert_uint_eq(a->modseq, want != was ? rig_modseq(&r, r.joe) : b->modseq);
		ck_assert_int_eq(shelf_uidset_has(modified, b->uid), asked && late);
	}
	shelf_uidset_free(&uids);
	shelf_uidset_free(&modified);
}

START_TEST(every_message_as_if_alone)
{
	struct shelf_msg *before = shelf_alloc(COUNT * sizeof(*before)), *after =
		shelf_alloc(COUNT * sizeof(*after));

	uid_fill_from(&r, r.joe, r.inbox, FIRST, COUNT);
	/* The keywords get their numbers in this order. */
	rig_flag(&r, r.joe, r.inbox, FIRST, FIRST, SHELF_FLAGS_ADD, 0, "one");
	rig_flag(&r, r.joe, r.inbox, FIRST, FIRST, SHELF_FLAGS_ADD, 0, "two");
	rig_flag(&r, r.joe, r.inbox, FIRST, FIRST, SHELF_FLAGS_ADD, 0, "three");
	for (int round = 0; round < ROUNDS; round++)
		change_and_compare(before, after);
	free(before);
	free(after);
}
END_TEST

static double
written_bytes(void)
{
	unsigned long long n = 0;
	char line[128];
	FILE *f = fopen("/proc/self/io", "re");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "wchar: %llu", &n) == 1)
			break;
	fclose(f);
	return (double)n;
}

/* 16 MiB for a million messages are 16.8 bytes each; a transaction has some pages of its own. */
START_TEST(what_a_change_of_all_writes)
{
	enum { MESSAGES = 60000 };
	double before;

	for (int i = 0; i < MESSAGES / 1000; i++)
		rig_fill(&r, r.joe, r.inbox, 1000);
	before = written_bytes();
	rig_flag(&r, r.joe, r.inbox, 1, MESSAGES, SHELF_FLAGS_ADD, SHELF_FLAGGED, "");
	ck_assert_double_lt(written_bytes() - before, MESSAGES * 4.0);
	before = written_bytes();
	for (uint32_t uid = 7; uid < MESSAGES; uid += 256)
		rig_flag(&r, r.joe, r.inbox, uid, uid, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	before = written_bytes();
	rig_flag(&r, r.joe, r.inbox, 1, MESSAGES, SHELF_FLAGS_ADD, SHELF_DELETED, "work");
	ck_assert_double_lt(written_bytes() - before, MESSAGES * 8.0);
}
END_TEST

/* \Deleted is found without reading what is between: the first and the last of many pages, by CLOSE. */
START_TEST(the_deleted_ones_far_apart)
{
	struct shelf_uidset *gone = shelf_uidset_new();
	struct shelf_uidset *some = rig_set(70000, 400000);

	uid_fill_from(&r, r.joe, r.inbox, 1, 300);
	uid_fill_from(&r, r.joe, r.inbox, 70000, 600);
	uid_fill_from(&r, r.joe, r.inbox, 400000, 600);
	rig_flag(&r, r.joe, r.inbox, 2, 2, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	rig_flag(&r, r.joe, r.inbox, 70255, 70257, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	rig_flag(&r, r.joe, r.inbox, 400599, 400599, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, some, SHELF_EXPUNGE_DELETED, gone), 0);
	ck_assert_str_eq(rig_text(gone), "70255:70257");
	shelf_uidset_clear(gone);
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, SHELF_EXPUNGE_DELETED, gone), 0);
	ck_assert_str_eq(rig_text(gone), "2,400599");
	shelf_uidset_clear(gone);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, some, 0, gone), 0);
	ck_assert_str_eq(rig_text(gone), "70000:70254,70258:70599,400000");
	shelf_uidset_free(&gone);
	shelf_uidset_free(&some);
}
END_TEST

Suite *suite_flags(void);
Suite *
suite_flags(void)
{
	Suite *s = suite_create("flags");
	TCase *tc = tcase_create("flags");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, every_message_as_if_alone);
	tcase_add_test(tc, what_a_change_of_all_writes);
	tcase_add_test(tc, the_deleted_ones_far_apart);
	suite_add_tcase(s, tc);
	return s;
}
