/* test_delivery.c - one message to hundreds: how many commits it takes, and that each has it */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail.h"
#include "store_rig.h"

enum { MANY = 500 };
static struct rig r;
static uint32_t ids[MANY];

static void
add_accounts(void)
{
	static char names[MANY][16];
	static struct shelf_account_new list[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof names[i], "user%u", i);
		list[i] = (struct shelf_account_new){.name = shelf_span_str(names[i])};
	}
	ck_assert_int_eq(shelf_account_add(r.store, list, MANY, NULL, ids), 0);
}

static uint64_t
commits(void)
{
	uint64_t n = 0;

	for (uint32_t shard = 0; shard < kv_shards(r.store->kv); shard++) {
		struct kv_stats st;

		ck_assert_int_eq(kv_stats(r.store->kv, shard, &st), 0);
		n += st.commits;
	}
	return n;
}

static uint64_t
blobs(void)
{
	uint64_t n = 0;

	for (uint32_t shard = 0; shard < kv_shards(r.store->kv); shard++) {
		struct kv_view *view;
		struct blob_sums sums;

		ck_assert_int_eq(kv_view_begin_shard(r.store->kv, shard, &view), 0);
		ck_assert_int_eq(blob_sums_get(view, &sums), 0);
		kv_view_end(&view);
		n += sums.blobs;
	}
	return n;
}

static const struct {
	uint32_t partitions;
	size_t recipients;
	uint64_t commits; /* at most */
} rows[] = {{1, 1, 1}, {1, 100, 4}, {1, 500, 13}, {4, 100, 6}, {4, 500, 14}};

START_TEST(hundreds_share_commits)
{
	struct shelf_store_params params = {.partitions = rows[_i].partitions, .map_bytes = 64 << 20};
	static struct shelf_append_result results[MANY];
	static struct shelf_delivery list[MANY];
	struct shelf_draft *draft;
	uint64_t before;

	rig_open(&r, &params);
	add_accounts();
	draft = rig_draft(&r, "to all", 20000);
	for (size_t i = 0; i < rows[_i].recipients; i++)
		list[i] = (struct shelf_delivery){.account = ids[i]};
	before = commits();
	shelf_deliver(r.store, draft, list, rows[_i].recipients, results);
	printf("%u partitions, %zu recipients: %llu commits\n", rows[_i].partitions, rows[_i].recipients,
	    (unsigned long long)(commits() - before));
	ck_assert_uint_le(commits() - before, rows[_i].commits);
	ck_assert_uint_le(blobs(), rows[_i].partitions); /* one body in each */
	for (size_t i = 0; i < rows[_i].recipients; i++) {
		ck_assert_int_eq(results[i].rc, 0);
		ck_assert_uint_eq(rig_quota(&r, ids[i]).used_messages, 1);
	}
	shelf_draft_free(&draft);
	rig_close(&r);
}
END_TEST

Suite *suite_delivery(void);
Suite *
suite_delivery(void)
{
	Suite *s = suite_create("delivery");
	TCase *tc = tcase_create("delivery");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, hundreds_share_commits, 0, (int)(sizeof rows / sizeof *rows));
	suite_add_tcase(s, tc);
	return s;
}
