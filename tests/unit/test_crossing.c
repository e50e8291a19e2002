/* test_crossing.c - a MOVE between accounts of two partitions that stops half way, and who goes on with it */
#include <check.h>
#include <poll.h>
#include <stdatomic.h>

#include "crossing.h"
#include "store_rig.h"

enum { COUNT = 5 };

static struct rig r;
static struct shelf_copy_result result;

static void
setup(void)
{
	rig_open(&r, NULL);
	rig_fill(&r, r.joe, r.inbox, COUNT);
	result.from_uids = shelf_uidset_new();
	result.to_uids = shelf_uidset_new();
}

static void
teardown(void)
{
	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
	rig_close(&r);
}

/* Commits from FAIL_FROM on fail, FAIL_COUNT of them. */
static atomic_int commits;
static int fail_from, fail_count, fail_with = SHELF_EIO;

static int
break_it(enum kv_point point)
{
	int n;

	if (point != KV_BEFORE_COMMIT)
		return 0;
	n = atomic_fetch_add(&commits, 1) + 1;
	return n >= fail_from && n < fail_from + fail_count ? fail_with : 0;
}

/* All of joe's INBOX to ann's. */
static int
move(int from, int count)
{
	struct shelf_uidset *all = rig_set(1, UINT32_MAX);
	struct shelf_copy what = {.account = r.joe, .from = r.inbox, .to_account = r.ann, .to = r.inbox, .uids = all,
	    .move = true};
	int rc;

	fail_from = from;
	fail_count = count;
	commits = 0;
	kv_fault = break_it;
	rc = shelf_msg_copy_to(r.store, &what, &result);
	kv_fault = NULL;
	shelf_uidset_free(&all);
	return rc;
}

static void
count_is(unsigned joe, unsigned ann)
{
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, joe);
	ck_assert_uint_eq(rig_mailbox(&r, r.ann, r.inbox).exists, ann);
	ck_assert_uint_eq(rig_findings(&r), 0);
}

/* Rows of CROSS; the modseq of the last. */
static unsigned
rows(uint32_t account, uint64_t *modseq)
{
	struct shelf_span key, value;
	struct kv_view *view;
	struct kv_scan scan;
	unsigned n = 0;

	ck_assert_int_eq(kv_view_begin(r.store->kv, account, &view), 0);
	ck_assert_int_eq(kv_scan_open(view, KV_CROSS, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan), 0);
	while (kv_scan_next(&scan, &key, &value) == 1) {
		n++;
		*modseq = base_get_be64(key.data + 5);
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return n;
}

static void
nothing_is_left(void)
{
	uint64_t modseq;

	ck_assert_uint_eq(rows(r.joe, &modseq), 0);
	ck_assert_uint_eq(rows(r.ann, &modseq), 0);
}

/* The first commit is the target's, what follows fails: both have them. */
static void
stop_half_way(void)
{
	uint64_t modseq;

	ck_assert_int_eq(move(2, 1000), SHELF_EIO);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 0);
	count_is(COUNT, COUNT);
	ck_assert_uint_eq(rows(r.ann, &modseq), 1);
	ck_assert_uint_eq(rows(r.joe, &modseq), 0);
}

/* A target that is busy each time it is tried: nothing has happened, and it says so. */
START_TEST(a_busy_target_gets_nothing)
{
	fail_with = SHELF_EBUSY;
	/* In a group, then alone: two commits a try. */
	ck_assert_int_eq(move(1, 6), SHELF_EBUSY);
	fail_with = SHELF_EIO;
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 0);
	count_is(COUNT, 0);
	nothing_is_left();
}
END_TEST

START_TEST(it_is_gone_on_with)
{
	stop_half_way();
	/* One that serves leaves to the living what is young. */
	ck_assert_int_eq(mail_crossings(r.store, true), 0);
	count_is(COUNT, COUNT);
	if (_i == 0)
		ck_assert_int_eq(mail_crossings(r.store, false), 0);
	else
		ck_assert_int_eq(shelf_store_purge(r.store, 1000), 0);
	count_is(0, COUNT);
	nothing_is_left();
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, COUNT);
	ck_assert_int_eq(mail_crossings(r.store, false), 0);
	count_is(0, COUNT);
}
END_TEST

START_TEST(a_process_that_begins_goes_on)
{
	stop_half_way();
	shelf_store_close(&r.store);
	ck_assert_int_eq(shelf_store_open(r.path, SHELF_OPEN_SERVE, &r.store), 0);
	for (unsigned i = 0; i < 1000 && rig_mailbox(&r, r.joe, r.inbox).exists > 0; i++)
		ck_assert_int_eq(poll(NULL, 0, 10), 0);
	rig_reopen(&r);
	count_is(0, COUNT);
}
END_TEST

/* A commit is tried twice: two that fail are one refusal, and then the source's answer is that all stay. */
START_TEST(what_the_source_refuses_stays)
{
	ck_assert_int_eq(move(2, 2), SHELF_EIO);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 0);
	count_is(COUNT, 0);
	nothing_is_left();
	ck_assert_uint_eq(rig_quota(&r, r.ann).held_messages, 0);
	ck_assert_int_eq(move(0, 0), 0);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), COUNT);
	count_is(0, COUNT);
	nothing_is_left();
}
END_TEST

/* Another one took a message meanwhile: its copy is taken back. */
START_TEST(what_has_gone_meanwhile_is_taken_back)
{
	struct shelf_uidset *two = rig_set(2, 2);

	stop_half_way();
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, two, 0, NULL), 0);
	ck_assert_int_eq(mail_crossings(r.store, false), 0);
	count_is(0, COUNT - 1);
	nothing_is_left();
	ck_assert_uint_eq(rig_quota(&r, r.ann).held_messages, 0);
	shelf_uidset_free(&two);
}
END_TEST

START_TEST(a_deleted_mailbox_keeps_its_own)
{
	uint32_t box = rig_create(&r, r.joe, "box");
	struct shelf_uidset *all = rig_set(1, UINT32_MAX);
	struct shelf_copy what = {.account = r.joe, .from = box, .to_account = r.ann, .to = r.inbox, .uids = all,
	    .move = true};

	rig_fill(&r, r.joe, box, 3);
	fail_from = 2;
	fail_count = 1000;
	commits = 0;
	kv_fault = break_it;
	ck_assert_int_eq(shelf_msg_copy_to(r.store, &what, &result), SHELF_EIO);
	kv_fault = NULL;
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	ck_assert_int_eq(mail_crossings(r.store, false), 0);
	count_is(COUNT, 0);
	nothing_is_left();
	shelf_uidset_free(&all);
}
END_TEST

/* What the purge has not taken yet is not there for a COPY or MOVE either. */
START_TEST(out_of_a_deleted_mailbox_goes_nothing)
{
	uint32_t box = rig_create(&r, r.joe, "box");
	struct shelf_uidset *all = rig_set(1, 3);
	struct shelf_copy what = {.account = r.joe, .from = box, .to_account = r.ann, .to = r.inbox, .uids = all,
	    .move = _i == 1};

	rig_fill(&r, r.joe, box, 3);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	ck_assert_int_eq(shelf_msg_copy_to(r.store, &what, &result), SHELF_ENOMAILBOX);
	while (shelf_store_purge(r.store, 100) == 1)
		;
	ck_assert_int_eq(shelf_msg_copy_to(r.store, &what, &result), SHELF_ENOMAILBOX);
	count_is(COUNT, 0);
	shelf_uidset_free(&all);
}
END_TEST

/* Who was slow and comes behind all others neither takes back nor removes anything. */
START_TEST(a_slow_one_does_no_harm)
{
	struct shelf_uidset *left = shelf_uidset_new();
	struct mail_crossing x = {.from_account = r.joe, .from = r.inbox, .to_account = r.ann, .to = r.inbox,
	    .n = COUNT};

	stop_half_way();
	ck_assert_uint_eq(rows(r.ann, &x.modseq), 1);
	for (unsigned i = 0; i < COUNT; i++)
		x.uid[i] = x.to_uid[i] = i + 1;
	ck_assert_int_eq(mail_crossings(r.store, false), 0);
	count_is(0, COUNT);
	ck_assert_int_eq(mail_crossing_settle(r.store, &x, NULL, _i == 1, left), SHELF_ECANCELLED);
	count_is(0, COUNT);
	nothing_is_left();
	shelf_uidset_free(&left);
}
END_TEST

/* The answer is there: it counts, whoever asks again. Fault: behind the source's commit. */
START_TEST(an_answer_counts)
{
	uint64_t modseq;

	/* Target, source; then the target's commit fails for good. */
	ck_assert_int_eq(move(3, 1000), SHELF_EIO);
	count_is(0, COUNT);
	ck_assert_uint_eq(rows(r.joe, &modseq), 1);
	ck_assert_uint_eq(rows(r.ann, &modseq), 1);
	ck_assert_int_eq(mail_crossings(r.store, false), 0);
	count_is(0, COUNT);
	nothing_is_left();
	/* Target, source, target; the answer stays, and goes later. */
	ck_assert_int_eq(mail_crossings(r.store, false), 0);
	rig_fill(&r, r.joe, r.inbox, 2);
	ck_assert_int_eq(move(4, 1000), 0);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 2);
	ck_assert_uint_eq(rows(r.joe, &modseq), 1);
	ck_assert_int_eq(mail_crossings(r.store, true), 0);
	nothing_is_left();
	count_is(0, COUNT + 2);
}
END_TEST

START_TEST(an_account_that_is_gone_keeps_nobody)
{
	uint64_t modseq;

	stop_half_way();
	ck_assert_int_eq(shelf_account_delete(r.store, _i == 0 ? r.joe : r.ann), 0);
	ck_assert_int_eq(mail_crossings(r.store, false), 0);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
	ck_assert_uint_eq(rig_mailbox(&r, _i == 0 ? r.ann : r.joe, r.inbox).exists, COUNT);
	ck_assert_uint_eq(rows(_i == 0 ? r.ann : r.joe, &modseq), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
}
END_TEST

/* Accounts of one partition: one transaction, and nothing to go on with. */
START_TEST(within_a_partition_it_is_one_transaction)
{
	struct shelf_mover *m = shelf_mover_new(r.store, NULL, NULL);
	struct shelf_account joe;
	struct shelf_moved moved;

	ck_assert_int_eq(shelf_account_get(r.store, r.joe, &joe), 0);
	ck_assert_int_eq(shelf_account_move(m, r.ann, joe.partition, &moved), 0);
	shelf_mover_free(&m);
	ck_assert_int_eq(move(1, 1000), SHELF_EIO);
	count_is(COUNT, 0);
	nothing_is_left();
	ck_assert_int_eq(move(2, 1000), 0);
	ck_assert_int_eq(commits, 1);
	count_is(0, COUNT);
	nothing_is_left();
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, COUNT);
}
END_TEST

Suite *suite_crossing(void);
Suite *
suite_crossing(void)
{
	Suite *s = suite_create("crossing");
	TCase *tc = tcase_create("crossing");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_busy_target_gets_nothing);
	tcase_add_loop_test(tc, it_is_gone_on_with, 0, 2);
	tcase_add_test(tc, a_process_that_begins_goes_on);
	tcase_add_test(tc, what_the_source_refuses_stays);
	tcase_add_test(tc, what_has_gone_meanwhile_is_taken_back);
	tcase_add_test(tc, a_deleted_mailbox_keeps_its_own);
	tcase_add_loop_test(tc, out_of_a_deleted_mailbox_goes_nothing, 0, 2);
	tcase_add_loop_test(tc, a_slow_one_does_no_harm, 0, 2);
	tcase_add_test(tc, an_answer_counts);
	tcase_add_loop_test(tc, an_account_that_is_gone_keeps_nobody, 0, 2);
	tcase_add_test(tc, within_a_partition_it_is_one_transaction);
	suite_add_tcase(s, tc);
	return s;
}
