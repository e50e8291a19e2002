/* test_guard.c - mass deletions: what is one, what is kept longer, whoever removes in however many pieces */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "mail.h"
#include "verb_rig.h"

enum { DAY = 86400, HOLD = 14 * DAY, LONG = 60 * DAY };

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

static void
set(enum shelf_setting id, uint64_t value)
{
	ck_assert_int_eq(shelf_setting_set(r.store, id, value), 0);
}

static void
expunge(uint32_t mailbox, uint32_t first, uint32_t last, unsigned flags)
{
	struct shelf_uidset *uids = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, mailbox, uids, flags, NULL), 0);
	shelf_uidset_free(&uids);
}

static void
purge(void)
{
	int rc;

	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
}

struct events {
	unsigned n;
	struct shelf_guard_event last;
};

static int
on_event(void *arg, const struct shelf_guard_event *e)
{
	struct events *all = arg;

	all->n++;
	all->last = *e;
	return 0;
}

static struct events
events(void)
{
	struct events all = {0};

	ck_assert_int_eq(shelf_guard_each(r.store, r.joe, on_event, &all), 0);
	return all;
}

struct dates {
	unsigned usual, later; /* messages with the usual date, and with the later one */
	int64_t now_s;
};

static bool
is_later(const struct dates *d, int64_t due_s)
{
	bool later = due_s >= d->now_s + LONG - 100 && due_s <= d->now_s + LONG;

	ck_assert(later || (due_s >= d->now_s + HOLD - 100 && due_s <= d->now_s + HOLD));
	return later;
}

static int
on_held(void *arg, const struct shelf_held *held)
{
	struct dates *d = arg;

	*(is_later(d, held->due_s) ? &d->later : &d->usual) += 1;
	return 0;
}

static int
on_deleted(void *arg, const struct shelf_deleted_mailbox *m)
{
	struct dates *d = arg;

	*(is_later(d, m->due_s) ? &d->later : &d->usual) += m->messages;
	return 0;
}

static void
dates_are(unsigned usual, unsigned later)
{
	struct dates d = {.now_s = shelf_now_s()};

	ck_assert_int_eq(shelf_held_each(r.store, r.joe, on_held, &d), 0);
	ck_assert_int_eq(shelf_deleted_mailbox_each(r.store, r.joe, on_deleted, &d), 0);
	ck_assert_uint_eq(d.usual, usual);
	ck_assert_uint_eq(d.later, later);
}

/* ---- What is one ------------------------------------------------------------------------------------------ */

static const struct {
	unsigned have, remove, least, share;
	bool noticed;
} shares[] = {
	{400, 100, 50, 25, false}, /* a quarter is not more than a quarter */
	{400, 101, 50, 25, true},
	{60, 49, 50, 25, false},
	{60, 50, 50, 25, true},
	{60, 60, 61, 25, false},
	{100, 100, 50, 100, false}, /* never */
	{100, 100, 50, 99, true},
	{3, 1, 1, 0, true},
};

START_TEST(a_share_is_a_mass)
{
	unsigned remove = shares[_i].remove, have = shares[_i].have;

	set(SHELF_SETTING_GUARD_MESSAGES, shares[_i].least);
	set(SHELF_SETTING_GUARD_PERCENT, shares[_i].share);
	rig_fill(&r, r.joe, r.inbox, have);
	/* One by one: the share does not grow while the account shrinks. */
	for (uint32_t uid = 1; uid < remove; uid++) {
		expunge(r.inbox, uid, uid, 0);
		ck_assert_uint_eq(events().n, 0);
	}
	expunge(r.inbox, remove, remove, 0);
	ck_assert_uint_eq(events().n, shares[_i].noticed);
	purge();
	if (shares[_i].noticed) {
		ck_assert_uint_eq(events().last.messages, remove);
		ck_assert_uint_eq(events().last.of_messages, have);
		ck_assert(events().last.held && !events().last.extending);
		dates_are(0, remove);
	} else {
		dates_are(remove, 0);
	}
}
END_TEST

/* Slices of 512; the first ones are gone before it is too much, and get their later date from the purge. */
START_TEST(slices_are_one_deletion)
{
	struct shelf_restored back = {0};
	struct events all;
	unsigned early;

	for (unsigned i = 0; i < 5; i++)
		rig_fill(&r, r.joe, r.inbox, 1000);
	expunge(r.inbox, 1, 4000, _i == 0 ? 0 : SHELF_EXPUNGE_ATOMIC | SHELF_EXPUNGE_POP3);
	all = events();
	ck_assert_uint_eq(all.n, 1);
	ck_assert_uint_eq(all.last.messages, 4000);
	ck_assert_uint_eq(all.last.of_messages, 5000);
	ck_assert_uint_eq(all.last.bytes, rig_quota(&r, r.joe).held_bytes);
	ck_assert_uint_eq(all.last.how, _i == 0 ? SHELF_GUARD_EXPUNGE : SHELF_GUARD_POP3);
	ck_assert(all.last.extending);
	early = 5000 / 4;
	dates_are(early, 4000 - early);
	/* Half done is no damage, and is gone on with. */
	ck_assert_int_ge(mail_guard_step(r.store, r.joe, shelf_mono_ms() + (_i == 0 ? 0 : 3)), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	purge();
	dates_are(0, 4000);
	ck_assert(!events().last.extending);
	ck_assert_int_eq(shelf_restore(r.store, r.joe, r.inbox, NULL, 0, &back), 0);
	ck_assert_uint_eq(back.messages, 4000);
}
END_TEST

START_TEST(deleted_mailboxes_count)
{
	struct shelf_buf name = {0};
	uint32_t box = rig_create(&r, r.joe, "box"), other = rig_create(&r, r.joe, "other");

	rig_fill(&r, r.joe, r.inbox, 100);
	rig_fill(&r, r.joe, box, 20);
	rig_fill(&r, r.joe, other, 40);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	ck_assert_uint_eq(events().n, 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("other")), 0);
	ck_assert_uint_eq(events().n, 1);
	ck_assert_uint_eq(events().last.messages, 60);
	ck_assert_uint_eq(events().last.how, SHELF_GUARD_MAILBOX);
	dates_are(20, 40);
	expunge(r.inbox, 1, 10, 0);
	ck_assert_uint_eq(events().n, 1);
	ck_assert_uint_eq(events().last.messages, 70);
	ck_assert_uint_eq(events().last.how, SHELF_GUARD_MAILBOX | SHELF_GUARD_EXPUNGE);
	purge();
	dates_are(0, 70);
	ck_assert_int_eq(shelf_mailbox_restore(r.store, r.joe, box, shelf_span(NULL, 0), &name), 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, box).exists, 20);
	shelf_buf_free(&name);
}
END_TEST

START_TEST(moving_does_not_count)
{
	uint32_t box = rig_create(&r, r.joe, "box");
	struct shelf_uidset *all = rig_set(1, 100);
	struct shelf_copy_result result = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};

	rig_fill(&r, r.joe, r.inbox, 100);
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, box, all, true, &result), 0);
	ck_assert_int_eq(shelf_mailbox_rename(r.store, r.joe, shelf_span_str("box"),
	    shelf_span_str("crate")), 0);
	ck_assert_uint_eq(events().n, 0);
	expunge(box, 1, 30, 0);
	ck_assert_uint_eq(events().n, 0);
	shelf_uidset_free(&all);
	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
}
END_TEST

START_TEST(without_a_hold_it_is_only_told)
{
	set(SHELF_SETTING_HOLD, UINT32_MAX);
	rig_fill(&r, r.joe, r.inbox, 100);
	expunge(r.inbox, 1, 60, 0);
	ck_assert_uint_eq(events().n, 1);
	ck_assert(!events().last.held);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
	purge();
	ck_assert_uint_eq(events().n, 1);
}
END_TEST

/* A hold that is longer than the guard's stays. */
START_TEST(it_never_shortens)
{
	set(SHELF_SETTING_HOLD, LONG);
	set(SHELF_SETTING_GUARD_HOLD, DAY);
	rig_fill(&r, r.joe, r.inbox, 100);
	expunge(r.inbox, 1, 60, 0);
	ck_assert_uint_eq(events().n, 1);
	purge();
	dates_are(0, 60);
}
END_TEST

/* ---- The hour --------------------------------------------------------------------------------------------- */

/* As if everything the account's window has had gone SECONDS earlier. */
static int
age_window(struct kv_txn *txn, void *arg)
{
	struct shelf_span value;
	uint8_t copy[512];
	uint32_t slot = 0;
	int rc = kv_get(kv_txn_view(txn), KV_GUARD, shelf_span(NULL, 0), &value);

	if (rc != 0)
		return rc;
	memcpy(copy, value.data, value.len);
	for (unsigned i = 0; i < 4; i++)
		slot |= (uint32_t)copy[1 + i] << (8 * i);
	slot -= *(unsigned *)arg / 300;
	for (unsigned i = 0; i < 4; i++)
		copy[1 + i] = (uint8_t)(slot >> (8 * i));
	return kv_put(txn, KV_GUARD, shelf_span(NULL, 0), shelf_span(copy, value.len));
}

START_TEST(an_hour_is_the_window)
{
	static const unsigned rows[] = {3000, 3900};
	unsigned seconds = rows[_i];

	rig_fill(&r, r.joe, r.inbox, 200);
	expunge(r.inbox, 1, 40, 0);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, age_window, &seconds), 0);
	expunge(r.inbox, 41, 80, 0);
	ck_assert_uint_eq(events().n, _i == 0);
	expunge(r.inbox, 81, 90, 0);
	ck_assert_uint_eq(events().n, 1);
	ck_assert_uint_eq(events().last.messages, _i == 0 ? 90 : 50);
	ck_assert_uint_eq(events().last.of_messages, _i == 0 ? 200 : 160);
}
END_TEST

/* What goes between two masses of one hour, when mail that came made it less than the share, is kept too. */
START_TEST(a_gap_is_closed)
{
	rig_fill(&r, r.joe, r.inbox, 100);
	expunge(r.inbox, 1, 60, 0);
	purge();
	rig_fill(&r, r.joe, r.inbox, 500);
	expunge(r.inbox, 101, 110, 0);
	dates_are(10, 60);
	expunge(r.inbox, 111, 300, 0);
	ck_assert_uint_eq(events().n, 1);
	purge();
	dates_are(0, 260);
}
END_TEST

/* ---- Many at once ------------------------------------------------------------------------------------------ */

enum { THREADS = 8, EACH = 64 };

static void *
remove_some(void *arg)
{
	unsigned n = *(unsigned *)arg;

	for (unsigned i = 0; i < EACH; i += 4)
		expunge(r.inbox, n * EACH + i + 1, n * EACH + i + 4, 0);
	return NULL;
}

static void *
purge_beside(void *arg)
{
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_ge(shelf_store_purge(r.store, 5), 0);
	return NULL;
}

START_TEST(every_removal_counts_once)
{
	pthread_t thread[THREADS + 1];
	unsigned number[THREADS];

	rig_fill(&r, r.joe, r.inbox, THREADS * EACH);
	for (unsigned i = 0; i < THREADS; i++) {
		number[i] = i;
		ck_assert_int_eq(pthread_create(&thread[i], NULL, remove_some, &number[i]), 0);
	}
	ck_assert_int_eq(pthread_create(&thread[THREADS], NULL, purge_beside, NULL), 0);
	for (unsigned i = 0; i <= THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(events().n, 1);
	ck_assert_uint_eq(events().last.messages, THREADS * EACH);
	ck_assert_uint_eq(events().last.of_messages, THREADS * EACH);
	purge();
	dates_are(0, THREADS * EACH);
}
END_TEST

static void *
restore_all(void *arg)
{
	struct shelf_restored back = {0};
	int rc = shelf_restore(r.store, r.joe, r.inbox, NULL, 0, &back);

	ck_assert_int_eq(rc, 0);
	*(uint64_t *)arg = back.messages;
	return NULL;
}

/* The guard moves dates while undelete takes what they are of. */
START_TEST(restoring_beside_it)
{
	pthread_t thread[2];
	uint64_t back = 0;

	for (unsigned i = 0; i < 4; i++)
		rig_fill(&r, r.joe, r.inbox, 1000);
	expunge(r.inbox, 1, 2000, 0);
	ck_assert_int_eq(pthread_create(&thread[0], NULL, restore_all, &back), 0);
	ck_assert_int_eq(pthread_create(&thread[1], NULL, purge_beside, NULL), 0);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	ck_assert_uint_eq(back, 2000);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
}
END_TEST

/* ---- The reports ------------------------------------------------------------------------------------------- */

/* Cleared before all have their later date: they get it still. */
START_TEST(cleared_is_not_forgotten)
{
	unsigned cleared;

	rig_fill(&r, r.joe, r.inbox, 400);
	expunge(r.inbox, 1, 200, 0);
	if (_i == 1)
		purge();
	ck_assert_int_eq(shelf_guard_clear(r.store, r.joe, &cleared), 0);
	ck_assert_uint_eq(cleared, 1);
	ck_assert_uint_eq(events().n, 0);
	purge();
	dates_are(0, 200);
	ck_assert_int_eq(shelf_guard_clear(r.store, r.joe, &cleared), 0);
	ck_assert_uint_eq(cleared, 0);
	/* Counted anew. */
	expunge(r.inbox, 201, 249, 0);
	ck_assert_uint_eq(events().n, 0);
	expunge(r.inbox, 250, 260, 0);
	ck_assert_uint_eq(events().n, 1);
	ck_assert_uint_eq(events().last.messages, 60);
}
END_TEST

/* What was too much goes when its time has come, and its report. */
START_TEST(it_ends)
{
	set(SHELF_SETTING_HOLD, 1);
	set(SHELF_SETTING_GUARD_HOLD, 3);
	rig_fill(&r, r.joe, r.inbox, 400);
	expunge(r.inbox, 1, 200, 0);
	usleep(1500000);
	purge();
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 200);
	ck_assert_uint_eq(events().n, 1);
	usleep(3000000);
	purge();
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
	ck_assert_uint_eq(events().n, 0);
}
END_TEST

START_TEST(the_verbs)
{
	ck_assert_int_eq(verb_run(&r, tool_guard_list, false, ""), EX_OK);
	ck_assert_str_eq(verb_out, "no mass deletions\n");
	rig_fill(&r, r.joe, r.inbox, 400);
	expunge(r.inbox, 1, 200, 0);
	ck_assert_int_eq(verb_run(&r, tool_guard_list, false, "joe"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "joe  "));
	ck_assert_ptr_nonnull(strstr(verb_out, "200 of 400 messages"));
	ck_assert_ptr_nonnull(strstr(verb_out, "by expunge; held until "));
	ck_assert_int_eq(verb_run(&r, tool_guard_list, true, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "[{\"account\":\"joe\","));
	ck_assert_ptr_nonnull(strstr(verb_out, "\"messages\":200,"));
	ck_assert_int_eq(verb_run(&r, tool_guard_list, true, "ann"), EX_OK);
	ck_assert_str_eq(verb_out, "[]\n");
	ck_assert_int_eq(verb_run(&r, tool_guard_list, false, "nobody"), EX_NOUSER);
	ck_assert_int_eq(verb_run(&r, tool_guard_clear, false, ""), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_guard_clear, false, "ann"), EX_OK);
	ck_assert_str_eq(verb_out, "0 cleared\n");
	ck_assert_int_eq(verb_run(&r, tool_guard_clear, true, "--all"), EX_OK);
	ck_assert_str_eq(verb_out, "{\"cleared\":1}\n");
	ck_assert_uint_eq(events().n, 0);
}
END_TEST

Suite *suite_guard(void);
Suite *
suite_guard(void)
{
	Suite *s = suite_create("guard");
	TCase *tc = tcase_create("guard");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_share_is_a_mass, 0, sizeof(shares) / sizeof(*shares));
	tcase_add_loop_test(tc, slices_are_one_deletion, 0, 2);
	tcase_add_test(tc, deleted_mailboxes_count);
	tcase_add_test(tc, moving_does_not_count);
	tcase_add_test(tc, without_a_hold_it_is_only_told);
	tcase_add_test(tc, it_never_shortens);
	tcase_add_loop_test(tc, an_hour_is_the_window, 0, 2);
	tcase_add_test(tc, a_gap_is_closed);
	tcase_add_test(tc, every_removal_counts_once);
	tcase_add_test(tc, restoring_beside_it);
	tcase_add_loop_test(tc, cleared_is_not_forgotten, 0, 2);
	tcase_add_test(tc, it_ends);
	tcase_add_test(tc, the_verbs);
	suite_add_tcase(s, tc);
	return s;
}
