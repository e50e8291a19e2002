/* test_warning.c - quota warnings: the level, who is told, and that nothing is told twice */
#include <check.h>
#include <pthread.h>

#include "mail.h"
#include "verb_rig.h"

#include <mailshelf/policy.h>
#include <mailshelf/restore.h>

static struct rig r;

static struct {
	unsigned count;
	struct shelf_warning last;
} due;

static int
note(void *arg, const struct shelf_warning *w)
{
	due.count++;
	due.last = *w;
	return 0;
}

/* How many accounts have something due. */
static unsigned
look(void)
{
	due.count = 0;
	ck_assert_int_eq(shelf_warning_each(r.store, note, NULL), 0);
	return due.count;
}

static uint64_t
jobs(void)
{
	struct kv_view *view = NULL;
	uint64_t n = 0, all = 0;

	for (uint32_t shard = 0; shard < kv_shards(r.store->kv); shard++) {
		uint8_t kind = MAIL_JOB_WARNING;
		struct shelf_span key, value;
		struct kv_scan scan;

		ck_assert_int_eq(kv_view_begin_shard(r.store->kv, shard, &view), 0);
		ck_assert_int_eq(kv_scan_open(view, KV_JOB, shelf_span(&kind, 1), shelf_span(NULL, 0), &scan), 0);
		for (n = 0; kv_scan_next(&scan, &key, &value) == 1; n++)
			continue;
		all += n;
		kv_scan_close(&scan);
		kv_view_end(&view);
	}
	return all;
}

static unsigned
level(uint32_t account)
{
	struct shelf_rd *rd = NULL;
	unsigned found;

	ck_assert_int_eq(shelf_rd_begin(r.store, account, &rd), 0);
	found = rd->acct.warn.level;
	shelf_rd_end(&rd);
	return found;
}

static void
tell_all(unsigned at)
{
	ck_assert_int_eq(shelf_warning_told(r.store, r.joe, SHELF_WARNING_MESSAGE, at), 0);
	ck_assert_int_eq(shelf_warning_told(r.store, r.joe, SHELF_WARNING_HOOK, at), 0);
}

static void
remove_some(uint32_t first, uint32_t last)
{
	struct shelf_uidset *set = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, set, 0, NULL), 0);
	shelf_uidset_free(&set);
}

/* 100 messages are the limit: one is a percent. */
static void
begin(unsigned messages)
{
	rig_open(&r, NULL);
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("*"), SHELF_POLICY_QUOTA_WARN_MESSAGE, 1), 0);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 100, 0), 0);
	if (messages > 0)
		rig_fill(&r, r.joe, r.inbox, messages);
}

START_TEST(levels_come_and_go_with_slack)
{
	begin(79);
	ck_assert_uint_eq(level(r.joe), 0);
	ck_assert_uint_eq(look(), 0);
	rig_append(&r, r.joe, r.inbox, "80", 0);
	ck_assert_uint_eq(level(r.joe), 1);
	ck_assert_uint_eq(look(), 1);
	ck_assert_uint_eq(due.last.account, r.joe);
	ck_assert_str_eq(due.last.name, "joe");
	ck_assert_uint_eq(due.last.threshold, 80);
	ck_assert_uint_eq(due.last.percent, 80);
	ck_assert(due.last.due[SHELF_WARNING_MESSAGE] && due.last.due[SHELF_WARNING_HOOK]);
	tell_all(1);
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(jobs(), 0);
	/* A message more or less is the same state. */
	remove_some(1, 5);
	ck_assert_uint_eq(level(r.joe), 1);
	rig_fill(&r, r.joe, r.inbox, 6);
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(jobs(), 0);
	/* It fell: then it is told again. */
	remove_some(6, 12);
	ck_assert_uint_eq(level(r.joe), 0);
	rig_fill(&r, r.joe, r.inbox, 6);
	ck_assert_uint_eq(level(r.joe), 1);
	ck_assert_uint_eq(look(), 1);
	ck_assert_uint_eq(due.last.level, 1);
	/* Straight on to the second: told once, of that. */
	rig_fill(&r, r.joe, r.inbox, 16);
	ck_assert_uint_eq(look(), 1);
	ck_assert_uint_eq(due.last.level, 2);
	ck_assert_uint_eq(due.last.threshold, 95);
	tell_all(2);
	ck_assert_uint_eq(jobs(), 1); /* the daemon's next look removes it */
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(jobs(), 0);
	/* From the second down to the first: no news. */
	remove_some(13, 22);
	ck_assert_uint_eq(level(r.joe), 1);
	ck_assert_uint_eq(look(), 0);
	rig_fill(&r, r.joe, r.inbox, 10);
	ck_assert_uint_eq(look(), 1);
	ck_assert_uint_eq(due.last.level, 2);
	rig_close(&r);
}
END_TEST

/* All that brings mail, or moves the limit. */
START_TEST(whoever_does_it)
{
	struct shelf_draft *d;
	struct shelf_delivery to = {0};
	struct shelf_append item = {0};
	struct shelf_append_result result;
	const uint8_t id[1][16] = {{1}};
	uint8_t stored = 0;

	begin(79);
	d = rig_draft(&r, "one more", 10);
	to = (struct shelf_delivery){.account = r.joe};
	item = (struct shelf_append){.draft = d, .internaldate_s = INT64_MIN};
	switch (_i) {
	case 0:
		shelf_deliver(r.store, d, &to, 1, &result);
		ck_assert_int_eq(result.rc, 0);
		break;
	case 1:
		ck_assert_int_eq(shelf_import_append(r.store, r.joe, r.inbox, &item, id, 1, &stored, &result), 0);
		break;
	case 2:
		ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 98, 0), 0);
		break;
	case 3:
		ck_assert_int_eq(shelf_quota_set(r.store, r.joe, rig_quota(&r, r.joe).used_bytes, 0, 0), 0);
		break;
	case 4:
		ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("joe"), SHELF_POLICY_QUOTA_WARN, 79), 0);
		break;
	case 5:
		ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("*"), SHELF_POLICY_QUOTA_WARN_HIGH, 20), 0);
		break;
	default:
		break;
	}
	shelf_draft_free(&d);
	ck_assert_uint_eq(level(r.joe), _i == 3 || _i == 5 ? 2 : 1);
	ck_assert_uint_eq(level(r.ann), 0);
	ck_assert_uint_eq(look(), 1);
	rig_close(&r);
}
END_TEST

START_TEST(the_message_comes_once)
{
	struct shelf_draft *d;
	struct shelf_quota q;

	begin(100);
	d = rig_draft(&r, "your mailbox is full", 200);
	ck_assert_uint_eq(look(), 1);
	ck_assert_int_eq(shelf_warning_deliver(r.store, r.joe, 2, d), 0);
	q = rig_quota(&r, r.joe);
	ck_assert_uint_eq(q.used_messages, 101);
	ck_assert_int_eq(shelf_warning_deliver(r.store, r.joe, 2, d), SHELF_EEXISTS);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 101);
	/* The hook is another way. */
	ck_assert_uint_eq(look(), 1);
	ck_assert(!due.last.due[SHELF_WARNING_MESSAGE] && due.last.due[SHELF_WARNING_HOOK]);
	shelf_draft_free(&d);
	rig_reopen(&r);
	d = rig_draft(&r, "once more", 10);
	ck_assert_uint_eq(look(), 1);
	ck_assert_int_eq(shelf_warning_told(r.store, r.joe, SHELF_WARNING_HOOK, 2), 0);
	ck_assert_int_eq(shelf_warning_told(r.store, r.joe, SHELF_WARNING_HOOK, 2), SHELF_EEXISTS);
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(jobs(), 0);
	ck_assert_int_eq(shelf_warning_deliver(r.store, 4711, 1, d), SHELF_ENOACCOUNT);
	ck_assert_int_eq(shelf_warning_deliver(r.store, r.ann, 1, d), SHELF_EEXISTS);
	shelf_draft_free(&d);
	rig_close(&r);
}
END_TEST

START_TEST(one_alert)
{
	struct shelf_warning w;
	struct shelf_rd *rd = NULL;

	begin(85);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert(shelf_warning_alert_due(rd));
	shelf_rd_end(&rd);
	ck_assert_int_eq(shelf_warning_take_alert(r.store, r.joe, &w), 0);
	ck_assert_uint_eq(w.percent, 85);
	ck_assert_int_eq(shelf_warning_take_alert(r.store, r.joe, &w), SHELF_EEXISTS);
	ck_assert_int_eq(shelf_warning_take_alert(r.store, r.ann, &w), SHELF_EEXISTS);
	/* Switched off: as if it were told. */
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("joe"), SHELF_POLICY_QUOTA_WARN_ALERT, 0), 0);
	rig_fill(&r, r.joe, r.inbox, 10);
	ck_assert_int_eq(shelf_warning_take_alert(r.store, r.joe, &w), SHELF_EEXISTS);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert(!shelf_warning_alert_due(rd));
	shelf_rd_end(&rd);
	rig_close(&r);
}
END_TEST

START_TEST(what_is_off_is_passed_over)
{
	begin(0);
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("*"), SHELF_POLICY_QUOTA_WARN_MESSAGE, 0), 0);
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("*"), SHELF_POLICY_QUOTA_WARN_HOOK, 0), 0);
	rig_fill(&r, r.joe, r.inbox, 85);
	ck_assert_uint_eq(jobs(), 1);
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(jobs(), 0);
	/* No thresholds, no levels. */
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("joe"), SHELF_POLICY_QUOTA_WARN, 0), 0);
	ck_assert_uint_eq(level(r.joe), 0);
	rig_close(&r);
}
END_TEST

/* Where it lives now. */
START_TEST(it_goes_along_with_a_move)
{
	struct shelf_mover *mover;
	struct shelf_moved moved;
	struct shelf_account a;

	begin(85);
	mover = shelf_mover_new(r.store, NULL, NULL);
	ck_assert_int_eq(shelf_account_get(r.store, r.joe, &a), 0);
	ck_assert_int_eq(shelf_account_move(mover, r.joe, 1 - a.partition, &moved), 0);
	shelf_mover_free(&mover);
	ck_assert_uint_eq(look(), 1);
	tell_all(1);
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(jobs(), 0);
	/* A job that got lost comes back with the janitor's pass. */
	remove_some(1, 20);
	rig_fill(&r, r.joe, r.inbox, 20);
	ck_assert_uint_eq(jobs(), 1);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(jobs(), 0);
	rig_close(&r);
}
END_TEST

static int
drop_job(struct kv_txn *txn, void *arg)
{
	uint8_t key[5] = {MAIL_JOB_WARNING};

	base_put_be32(key + 1, r.joe);
	return kv_del(txn, KV_JOB, shelf_span(key, 5));
}

START_TEST(the_janitor_mends)
{
	begin(85);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, KV_QUIET, drop_job, NULL), 0);
	ck_assert_uint_eq(look(), 0);
	ck_assert_int_eq(shelf_store_purge(r.store, 1000), 0);
	ck_assert_uint_eq(look(), 1);
	rig_close(&r);
}
END_TEST

START_TEST(large_numbers)
{
	struct shelf_quota q = {.limit_bytes = UINT64_MAX, .used_bytes = UINT64_MAX - 1};

	ck_assert_uint_ge(shelf_quota_percent(&q), 99);
	ck_assert_uint_le(shelf_quota_percent(&q), 100);
	q.limit_bytes = 1;
	ck_assert_uint_eq(shelf_quota_percent(&q), 9999);
	q = (struct shelf_quota){.limit_messages = 3, .used_messages = 2, .used_bytes = 9};
	ck_assert_uint_eq(shelf_quota_percent(&q), 66);
}
END_TEST

Suite *suite_warning(void);
Suite *
suite_warning(void)
{
	Suite *s = suite_create("warning");
	TCase *tc = tcase_create("warning");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, levels_come_and_go_with_slack);
	tcase_add_loop_test(tc, whoever_does_it, 0, 6);
	tcase_add_test(tc, the_message_comes_once);
	tcase_add_test(tc, one_alert);
	tcase_add_test(tc, what_is_off_is_passed_over);
	tcase_add_test(tc, it_goes_along_with_a_move);
	tcase_add_test(tc, the_janitor_mends);
	tcase_add_test(tc, large_numbers);
	suite_add_tcase(s, tc);
	return s;
}
