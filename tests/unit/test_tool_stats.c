/* test_tool_stats.c - the verb stats on a real store: what it prints, as text and as JSON, sorted */
#include <stdio.h>
#include <stdlib.h>

#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "verb_rig.h"

static struct rig r;

static void
setup(void)
{
	const struct shelf_account_new more[] = {{.name = shelf_span_str("a@example.org")},
	    {.name = shelf_span_str("b@example.org")}};
	uint32_t ids[2];

	rig_open(&r, NULL);
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	ck_assert_int_eq(shelf_account_add(r.store, more, 2, NULL, ids), 0);
	rig_append(&r, r.joe, r.inbox, "one", 0);
	rig_fill(&r, ids[1], r.inbox, 3);
	rig_append(&r, ids[0], r.inbox, "to go", SHELF_DELETED);
	ck_assert_int_eq(shelf_msg_expunge(r.store, ids[0], r.inbox, NULL, SHELF_EXPUNGE_DELETED, NULL), 0);
}

static void
teardown(void)
{
	rig_close(&r);
}

static void
run(bool json, const char *words, int status)
{
	ck_assert_int_eq(verb_run(&r, tool_stats, json, words), status);
}

/* The number behind "KEY": of the first object of the output that has NAME (NULL: the first of all). */
static unsigned long long
value(const char *name, const char *key)
{
	char want[64];
	const char *at = verb_out;

	if (name != NULL) {
		snprintf(want, sizeof want, "\"name\":\"%s\"", name);
		at = strstr(verb_out, want);
		ck_assert_msg(at != NULL, "no %s in %s", name, verb_out);
	}
	snprintf(want, sizeof want, "\"%s\":", key);
	at = strstr(at, want);
	ck_assert_msg(at != NULL, "no %s in %s", key, verb_out);
	return strtoull(at + strlen(want), NULL, 10);
}

START_TEST(of_the_whole_store)
{
	struct shelf_partition_stats s;

	ck_assert_int_eq(shelf_stats_store(r.store, &s), 0);
	run(true, "", EX_OK);
	ck_assert_uint_eq(value(NULL, "accounts"), 4);
	ck_assert_uint_eq(value(NULL, "messages"), 4);
	ck_assert_uint_eq(value(NULL, "message_bytes"), s.totals.message_bytes);
	ck_assert_uint_eq(value(NULL, "held_messages"), 1);
	ck_assert_uint_eq(value(NULL, "physical_bytes"), s.physical_bytes);
	ck_assert_uint_eq(value(NULL, "saved_bytes"), s.gross_bytes - s.physical_bytes);
	ck_assert_uint_eq(value(NULL, "reclaimable_bytes"), s.free_bytes + s.waiting_bytes);
	ck_assert_uint_eq(value(NULL, "partitions"), 2);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"disk_state\":\"ok\""));
	run(false, "", EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "accounts                     4\n"));
	ck_assert_ptr_nonnull(strstr(verb_out, "disk state                   ok\n"));
}
END_TEST

START_TEST(of_one_account)
{
	struct shelf_account_stats s;
	struct shelf_account a;

	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("a@example.org"), &a), 0);
	ck_assert_int_eq(shelf_stats_account(r.store, a.id, &s), 0);
	run(true, "--account|A@example.org", EX_OK);
	ck_assert_uint_eq(value("a@example.org", "messages"), 0);
	ck_assert_uint_eq(value("a@example.org", "held_bytes"), s.totals.held_bytes);
	ck_assert_uint_eq(value("a@example.org", "reclaimable_bytes"), s.totals.held_stored_bytes);
	ck_assert_uint_eq(value("a@example.org", "next_due"), (unsigned long long)s.due_s);
	ck_assert_int_eq(s.due_s, s.gone_s + 14 * 24 * 3600);
	run(false, "--account|a@example.org", EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "next goes for good, UTC      20"));
	run(false, "--account|nobody", EX_NOUSER);
}
END_TEST

START_TEST(of_all_accounts_sorted)
{
	const char *joe, *b;

	run(true, "--accounts", EX_OK);
	ck_assert_uint_eq(value("ann", "messages"), 0);
	ck_assert_uint_eq(value("b@example.org", "messages"), 3);
	run(false, "--accounts|--sort|messages", EX_OK);
	joe = strstr(verb_out, "\njoe");
	b = strstr(verb_out, "\nb@example.org");
	ck_assert(joe != NULL && b != NULL && b < joe);
	ck_assert_int_eq(strncmp(verb_out, "name ", 5), 0);
	run(false, "--accounts|--sort|name", EX_OK);
	ck_assert_ptr_eq(strstr(verb_out, "\na@example.org"), strchr(verb_out, '\n'));
	run(false, "--accounts|--sort|weight", EX_USAGE);
	run(false, "--sort|messages", EX_USAGE);
	run(false, "--accounts|--domains", EX_USAGE);
}
END_TEST

START_TEST(of_domains)
{
	run(true, "--domains", EX_OK);
	ck_assert_uint_eq(value("", "accounts"), 2);
	ck_assert_uint_eq(value("", "messages"), 1);
	ck_assert_uint_eq(value("example.org", "accounts"), 2);
	ck_assert_uint_eq(value("example.org", "messages"), 3);
	ck_assert_uint_eq(value("example.org", "held_messages"), 1);
	run(true, "--domain|@EXAMPLE.org", EX_OK);
	ck_assert_uint_eq(value(NULL, "messages"), 3);
	run(true, "--domain|@", EX_OK);
	ck_assert_uint_eq(value(NULL, "accounts"), 2);
	run(false, "--domain|example", EX_NOUSER);
}
END_TEST

START_TEST(of_partitions)
{
	run(true, "--partitions|--sort|messages", EX_OK);
	ck_assert_uint_ge(value(NULL, "messages"), 2); /* the fuller one comes first */
	ck_assert_ptr_nonnull(strstr(verb_out, "\"partition\":\"1\""));
	run(false, "--partitions", EX_OK);
	ck_assert_int_eq(strncmp(verb_out, "partition ", 10), 0);
}
END_TEST

START_TEST(of_days)
{
	run(true, "--history", EX_OK);
	ck_assert_str_eq(verb_out, "[]\n");
	ck_assert_int_eq(shelf_stats_note(r.store, 1700000000), 0);
	ck_assert_int_eq(shelf_stats_note(r.store, 1700086400), 0);
	run(true, "--history", EX_OK);
	ck_assert_int_eq(strncmp(verb_out, "[{\"day\":\"2023-11-14\",", 21), 0);
	ck_assert_uint_eq(value(NULL, "messages"), 4);
	ck_assert_uint_eq(value(NULL, "partitions"), 2);
	run(false, "--history", EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\n2023-11-15 "));
}
END_TEST

/* A megabyte of noise a day, for three days. */
START_TEST(what_is_to_come)
{
	int64_t today = shelf_now_s() / 86400 * 86400;
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result result;
	uint8_t *noise = shelf_alloc(1 << 20);
	long long per_day = 0;
	const char *p;

	ck_assert_int_eq(verb_run(&r, tool_forecast, true, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"days_looked_at\":0,\"bytes_per_day\":null"));
	ck_assert_int_eq(verb_run(&r, tool_forecast, false, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "two are needed"));
	for (int day = 3; day >= 0; day--) {
		ck_assert_int_eq(shelf_stats_note(r.store, today - day * 86400), 0);
		shelf_random(noise, 1 << 20);
		ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
		ck_assert_int_eq(shelf_draft_write(item.draft, noise, 1 << 20), 0);
		ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
		ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), 0);
		shelf_draft_free(&item.draft);
	}
	ck_assert_int_eq(verb_run(&r, tool_forecast, true, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"days_looked_at\":4,"));
	ck_assert_ptr_nonnull(p = strstr(verb_out, "\"bytes_per_day\":"));
	ck_assert_int_eq(sscanf(p, "\"bytes_per_day\":%lld", &per_day), 1);
	ck_assert_int_gt(per_day, 1000000);
	ck_assert_int_lt(per_day, 1400000);
	ck_assert_ptr_null(strstr(verb_out, "\"full_in_days\":null"));
	ck_assert_int_eq(verb_run(&r, tool_forecast, false, "--days|2"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "a day (2 days were looked at): warns "));
	ck_assert_int_eq(verb_run(&r, tool_forecast, false, "--days|1"), EX_USAGE);
	free(noise);
}
END_TEST

Suite *suite_tool_stats(void);
Suite *
suite_tool_stats(void)
{
	Suite *s = suite_create("tool_stats");
	TCase *tc = tcase_create("stats");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, of_the_whole_store);
	tcase_add_test(tc, of_one_account);
	tcase_add_test(tc, of_all_accounts_sorted);
	tcase_add_test(tc, of_domains);
	tcase_add_test(tc, of_partitions);
	tcase_add_test(tc, of_days);
	tcase_add_test(tc, what_is_to_come);
	suite_add_tcase(s, tc);
	return s;
}
