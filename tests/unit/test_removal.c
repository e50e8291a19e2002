/* test_removal.c - the purge: stopped anywhere, run by many at once, and in a full store */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "mail.h"
#include "store_rig.h"

static struct rig r;

static const struct shelf_store_params at_once = {
    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20, .hold_s = UINT32_MAX};

static unsigned commits_left;

static int
stop(enum kv_point point)
{
	if (point != KV_BEFORE_COMMIT)
		return 0;
	if (commits_left == 0)
		return SHELF_EIO;
	commits_left--;
	return 0;
}

/* Ends after COMMITS commits, as a process does that is killed. */
static void
purge_a_little(unsigned commits)
{
	commits_left = commits;
	kv_fault = stop;
	ck_assert_int_eq(shelf_store_purge(r.store, 10000), SHELF_EIO);
	kv_fault = NULL;
}

static void
purge_all(void)
{
	int rc;

	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
}

START_TEST(a_mailbox_half_removed_is_no_damage)
{
	uint32_t box;

	rig_open(&r, &at_once);
	box = rig_create(&r, r.joe, "box");
	rig_fill(&r, r.joe, box, 350);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	purge_a_little((unsigned)_i);
	ck_assert_uint_eq(rig_findings(&r), 0);
	purge_all();
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
	rig_close(&r);
}
END_TEST

START_TEST(an_account_half_removed_is_no_damage)
{
	struct shelf_uidset *some = rig_set(1, 150);

	rig_open(&r, NULL);
	rig_fill(&r, r.joe, r.inbox, 350);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, some, 0, NULL), 0);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	purge_a_little((unsigned)_i);
	ck_assert_uint_eq(rig_findings(&r), 0);
	purge_all();
	shelf_uidset_free(&some);
	rig_close(&r);
}
END_TEST

/* ---- A staged body that is given up -------------------------------------------------------------------- */

/* The one staged body is of long ago. */
static int
age_staged(struct kv_txn *txn, void *arg)
{
	struct shelf_span key, value;
	struct mail_key copy = {.len = 0};
	uint8_t job[16] = {0}; /* time, bytes */
	struct kv_scan scan;
	int rc = kv_scan_open(kv_txn_view(txn), KV_JOB, shelf_span("S", 1), shelf_span(NULL, 0), &scan);

	if (rc == 0 && kv_scan_next(&scan, &key, &value) == 1 && value.len == sizeof(job)) {
		memcpy(copy.bytes, key.data, key.len);
		copy.len = key.len;
		memcpy(job + 8, value.data + 8, 8);
	}
	kv_scan_close(&scan);
	return rc != 0 ? rc
		       : kv_put(txn, KV_JOB, mail_key_span(&copy), shelf_span(job, sizeof(job)));
}

/* Its bytes go in slices; an append that comes in between must not believe that they are there. */
START_TEST(a_staged_body_half_removed_is_not_linked)
{
	size_t len = 4 << 20;
	uint8_t *bytes = shelf_alloc(len);
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result res;

	rig_open(&r, &at_once);
	shelf_random(bytes, len);
	ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, bytes, len), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, 77, &item, 1, &res), SHELF_ENOMAILBOX);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, age_staged, NULL), 0);
	purge_a_little(1);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &res), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	purge_all();
	shelf_draft_free(&item.draft);
	free(bytes);
	rig_close(&r);
}
END_TEST

/* ---- Many at once ---------------------------------------------------------------------------------------- */

static void *
purge_beside(void *arg)
{
	int *rc = arg;

	while ((*rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	return NULL;
}

START_TEST(purges_run_beside_each_other)
{
	enum { ROUNDS = 20, THREADS = 4 };
	pthread_t thread[THREADS];
	int rc[THREADS];

	rig_open(&r, &at_once);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct shelf_account_new new = {.name = shelf_span_str("brief")};
		uint32_t id;

		ck_assert_int_eq(shelf_account_add(r.store, &new, 1, NULL, &id), 0);
		rig_append(&r, id, 1, "one", 0);
		ck_assert_int_eq(shelf_account_delete(r.store, id), 0);
		for (unsigned i = 0; i < THREADS; i++)
			ck_assert_int_eq(pthread_create(&thread[i], NULL, purge_beside, &rc[i]), 0);
		for (unsigned i = 0; i < THREADS; i++) {
			pthread_join(thread[i], NULL);
			ck_assert_int_eq(rc[i], 0);
		}
	}
	rig_close(&r);
}
END_TEST

/* ---- A full store ---------------------------------------------------------------------------------------- */

START_TEST(a_full_store_takes_deleted_and_expunge)
{
	const struct shelf_store_params tiny = {.partitions = 1, .map_bytes = 4u << 20,
	    .reserve_bytes = 1u << 20, .hold_s = UINT32_MAX};
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result res;
	uint8_t noise[60000];
	unsigned stored = 0;
	char name[16];
	int rc;

	rig_open(&r, &tiny);
	shelf_random(noise, sizeof(noise));
	/* The smaller ones fill what the larger ones left. */
	for (size_t len = sizeof(noise); len > 16;) {
		noise[0]++;
		ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
		ck_assert_int_eq(shelf_draft_write(item.draft, noise, len), 0);
		ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
		rc = shelf_append(r.store, r.joe, r.inbox, &item, 1, &res);
		shelf_draft_free(&item.draft);
		ck_assert(rc == 0 || rc == SHELF_EFULL);
		stored += rc == 0;
		len = rc == 0 ? len : len / 2;
	}
	rc = 0;
	for (unsigned i = 0; i < 3000 && rc == 0; i++) {
		snprintf(name, sizeof(name), "box %u", i);
		rc = shelf_mailbox_create(r.store, r.joe, shelf_span_str(name), 0, NULL);
	}
	ck_assert_int_eq(rc, SHELF_EFULL);
	rig_flag(&r, r.joe, r.inbox, 1, stored, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, SHELF_EXPUNGE_DELETED, NULL), 0);
	purge_all();
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 0);
	rig_append(&r, r.joe, r.inbox, "fits", 0);
	rig_close(&r);
}
END_TEST

Suite *suite_removal(void);
Suite *
suite_removal(void)
{
	Suite *s = suite_create("removal");
	TCase *tc = tcase_create("removal");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_mailbox_half_removed_is_no_damage, 0, 5);
	tcase_add_loop_test(tc, an_account_half_removed_is_no_damage, 0, 5);
	tcase_add_test(tc, a_staged_body_half_removed_is_not_linked);
	tcase_add_test(tc, purges_run_beside_each_other);
	tcase_add_test(tc, a_full_store_takes_deleted_and_expunge);
	suite_add_tcase(s, tc);
	return s;
}
