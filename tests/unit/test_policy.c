/* test_policy.c - policies: which scope counts, rows of other releases, the verbs; the quota race */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mail.h"
#include "route.h"
#include "verb_rig.h"

#include <mailshelf/policy.h>

static struct rig r;

static uint64_t
get(const char *account, enum shelf_policy id)
{
	struct shelf_policies p;

	ck_assert_int_eq(shelf_policy_get(r.store, shelf_span_str(account), &p), 0);
	return p.value[id];
}

static int
set(const char *scope, enum shelf_policy id, uint64_t value)
{
	return shelf_policy_set(r.store, shelf_span_str(scope), id, value);
}

START_TEST(the_nearest_scope_counts)
{
	const enum shelf_policy quota = SHELF_POLICY_OVER_QUOTA, grace = SHELF_POLICY_QUOTA_GRACE;

	rig_open(&r, NULL);
	ck_assert_uint_eq(get("joe@Example.org", quota), 0);
	ck_assert_int_eq(set("*", quota, 1), 0);
	ck_assert_int_eq(set("*", grace, 7), 0);
	ck_assert_uint_eq(get("joe@Example.org", quota), 1);
	ck_assert_int_eq(set("@example.ORG", quota, 0), 0);
	ck_assert_uint_eq(get("joe@Example.org", quota), 0);
	ck_assert_uint_eq(get("joe", quota), 1);
	ck_assert_int_eq(set("Joe@example.org", quota, 1), 0);
	ck_assert_int_eq(set("joe@example.org", SHELF_POLICY_QUOTA_EXEMPT, 1), 0);
	ck_assert_uint_eq(get("joe@Example.org", quota), 1);
	ck_assert_uint_eq(get("joe@example.org", grace), 7);
	ck_assert_int_eq(set("joe@example.org", quota, UINT64_MAX), 0);
	ck_assert_uint_eq(get("joe@example.org", quota), 0);
	ck_assert_int_eq(set("nobody", quota, UINT64_MAX), 0);
	ck_assert_int_eq(set("joe", quota, 2), SHELF_EINVALID);
	ck_assert_int_eq(set("", quota, 1), SHELF_ENAME);
	ck_assert_int_eq(set("@", quota, 1), SHELF_ENAME);
	rig_close(&r);
}
END_TEST

START_TEST(they_go_with_the_account)
{
	rig_open(&r, NULL);
	ck_assert_int_eq(set("joe", SHELF_POLICY_OVER_QUOTA, 1), 0);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	ck_assert_uint_eq(get("joe", SHELF_POLICY_OVER_QUOTA), 0);
	ck_assert_int_eq(shelf_account_delete(r.store, r.ann), 0);
	rig_close(&r);
}
END_TEST

static int
put_row(struct kv_txn *txn, void *value)
{
	return kv_put(txn, KV_POLICY, shelf_span_str("joe"), *(struct shelf_span *)value);
}

/* A number and a choice of a later release: kept, and as if not set. */
START_TEST(rows_of_a_later_release)
{
	struct shelf_span row = {(const uint8_t *)"\1\1\x09\2\5\x7f\1", 7};
	struct shelf_policies p;

	rig_open(&r, NULL);
	ck_assert_int_eq(kv_update(r.store->kv, KV_CATALOG, 0, put_row, &row), 0);
	ck_assert_int_eq(shelf_policy_get(r.store, shelf_span_str("joe"), &p), 0);
	ck_assert(!p.set[SHELF_POLICY_OVER_QUOTA]);
	ck_assert_uint_eq(p.value[SHELF_POLICY_QUOTA_GRACE], 5);
	ck_assert_int_eq(set("joe", SHELF_POLICY_QUOTA_GRACE, UINT64_MAX), 0);
	ck_assert_int_eq(set("joe", SHELF_POLICY_OVER_QUOTA, UINT64_MAX), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(verb_run(&r, tool_policy_show, true, ""), EX_OK);
	ck_assert_str_eq(verb_out, "[{\"scope\":\"joe\"}]\n");
	rig_close(&r);
}
END_TEST

START_TEST(damage_is_found)
{
	static const struct shelf_span rows[] = {{(const uint8_t *)"\1", 1}, {(const uint8_t *)"\1\1", 2},
		{(const uint8_t *)"\1\2\1\1\1", 5}, {(const uint8_t *)"\3\1\1", 3}, {(const uint8_t *)"", 0}};
	struct shelf_span row = rows[_i];
	struct shelf_policies p;

	rig_open(&r, NULL);
	ck_assert_int_eq(kv_update(r.store->kv, KV_CATALOG, 0, put_row, &row), 0);
	ck_assert_int_eq(shelf_policy_get(r.store, shelf_span_str("joe"), &p),
	    _i == 3 ? SHELF_EVERSION : SHELF_ECORRUPT);
	ck_assert_uint_eq(rig_findings(&r), 1);
	row = (struct shelf_span){(const uint8_t *)"\1\1\1", 3};
	ck_assert_int_eq(kv_update(r.store->kv, KV_CATALOG, 0, put_row, &row), 0);
	rig_close(&r);
}
END_TEST

START_TEST(the_verbs)
{
	rig_open(&r, NULL);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "@example.org|over_quota|defer"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe|quota_grace|10M"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe|over_quota|de"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe|over_quota|"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe|quota_grace|much"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe|colour|blue"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_policy_show, false, ""), EX_OK);
	ck_assert_str_eq(verb_out, "@example.org over_quota defer\njoe quota_grace 10 MiB\n");
	ck_assert_int_eq(verb_run(&r, tool_policy_show, true, ""), EX_OK);
	ck_assert_str_eq(verb_out, "[{\"scope\":\"@example.org\",\"over_quota\":\"defer\"},"
	    "{\"scope\":\"joe\",\"quota_grace\":10485760}]\n");
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe|quota_grace|default"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_policy_show, true, "joe"), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "\"over_quota\":\"reject\",\"over_quota_days\":0,\"quota_grace\":0,"
	    "\"quota_exempt\":\"no\""));
	rig_close(&r);
}
END_TEST

static const struct {
	const char *words, *shown; /* NULL: refused */
} shows[] = {
    {"all", "all"},
    {"recent", "recent"},
    {"newest|500", "newest 500"},
    {"days|1", "days 1"},
    {"since|2026-01-31", "since 2026-01-31"},
    {"since|1970-01-01", "since 1970-01-01"},
    {"newest", NULL},
    {"newest|0", NULL},
    {"newest|4294967296", NULL},
    {"days|x", NULL},
    {"since|2026-02-30", NULL},
    {"since|3d", NULL},
    {"since|2026-01-31 10:00", NULL},
    {"all|5", NULL},
    {"recent|5", NULL},
    {"some", NULL},
    {"default|5", NULL},
};

START_TEST(which_messages)
{
	char words[100], json[100];

	rig_open(&r, NULL);
	snprintf(words, sizeof words, "joe|pop3_show|%s", shows[_i].words);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, words), shows[_i].shown == NULL ? EX_USAGE : EX_OK);
	snprintf(json, sizeof json, "[{\"scope\":\"joe\",\"pop3_show\":\"%s\"}]\n",
	    shows[_i].shown == NULL ? "" : shows[_i].shown);
	ck_assert_int_eq(verb_run(&r, tool_policy_show, true, ""), EX_OK);
	ck_assert_str_eq(verb_out, shows[_i].shown == NULL ? "[]\n" : json);
	ck_assert_int_eq(set("joe", SHELF_POLICY_POP3_SHOW, (uint64_t)5 << 32), SHELF_EINVALID);
	rig_close(&r);
}
END_TEST

/* Texts stand behind numbers, in rows of their own format, and come and go. */
START_TEST(names_of_mailboxes)
{
	const enum shelf_policy box = SHELF_POLICY_POP3_MAILBOX;
	struct shelf_policies p;
	char longest[SHELF_POLICY_TEXT_MAX + 2];

	rig_open(&r, NULL);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "@example.org|pop3_mailbox|inbox"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe@example.org|pop3_archive|Old/\xc3\xa4"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe@example.org|quota_grace|1K"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe|pop3_archive|a//b"), EX_USAGE);
	ck_assert_int_eq(shelf_policy_get(r.store, shelf_span_str("joe@example.org"), &p), 0);
	ck_assert_str_eq(p.text[box], "INBOX");
	ck_assert_str_eq(p.text[SHELF_POLICY_POP3_ARCHIVE], "Old/\xc3\xa4");
	ck_assert_uint_eq(p.value[SHELF_POLICY_QUOTA_GRACE], 1024);
	ck_assert_int_eq(set("joe", box, 0), SHELF_EINVALID);
	ck_assert_int_eq(shelf_policy_set_text(r.store, shelf_span_str("joe"), SHELF_POLICY_OVER_QUOTA,
	    shelf_span_str("x")), SHELF_EINVALID);
	memset(longest, 'x', sizeof longest);
	ck_assert_int_eq(shelf_policy_set_text(r.store, shelf_span_str("joe"), box,
	    shelf_span(longest, sizeof longest - 1)), SHELF_ENAME);
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(verb_run(&r, tool_policy_set, false, "joe@example.org|pop3_archive|default"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_policy_show, false, ""), EX_OK);
	ck_assert_str_eq(verb_out, "@example.org pop3_mailbox INBOX\njoe@example.org quota_grace 1.0 KiB\n");
	rig_close(&r);
}
END_TEST

/* ---- Full for days -------------------------------------------------------------------------------------- */

static int
since(struct kv_txn *txn, void *seconds)
{
	struct mail_change c;
	int rc = mail_change_begin(&c, r.store, txn);

	c.acct.full_since_s = (uint64_t)(shelf_now_s() - *(int *)seconds);
	mail_change_modseq(&c);
	return rc != 0 ? rc : mail_change_end(&c);
}

static int64_t
full_since(void)
{
	int64_t s;

	ck_assert_int_eq(shelf_quota_full_since(r.store, r.joe, &s), 0);
	return s;
}

static bool
defers(void)
{
	struct route_to to = {.account = r.joe, .name = "joe"};
	struct route_rules rules;

	ck_assert_int_eq(route_rules(r.store, &to, &rules), 0);
	return route_defers(r.store, &to, &rules);
}

START_TEST(for_now_and_after_days_for_good)
{
	struct shelf_uidset *one = rig_set(1, 1);

	rig_open(&r, NULL);
	ck_assert(!defers());
	ck_assert_int_eq(set("joe", SHELF_POLICY_OVER_QUOTA_DAYS, 2), 0);
	ck_assert(!defers());
	ck_assert_int_eq(full_since(), 0);
	ck_assert_int_eq(set("joe", SHELF_POLICY_OVER_QUOTA, 1), 0);
	ck_assert(defers());
	for (unsigned i = 0; i < 500 && full_since() == 0; i++)
		usleep(10000); /* nobody waits for the note */
	ck_assert_int_ge(full_since(), shelf_now_s() - 60);
	/* What comes in does not end it, nor another refusal; it stays over a restart. */
	rig_append(&r, r.joe, r.inbox, "small", 0);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, since, &(int){86400 * 2 - 100}), 0);
	ck_assert(defers());
	rig_reopen(&r);
	ck_assert(defers());
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, since, &(int){86400 * 2 + 1}), 0);
	ck_assert(!defers());
	ck_assert_int_eq(set("joe", SHELF_POLICY_OVER_QUOTA_DAYS, 3), 0);
	ck_assert(defers());
	ck_assert_int_eq(set("joe", SHELF_POLICY_OVER_QUOTA_DAYS, 0), 0);
	ck_assert(defers());
	/* Room made, another limit: not full any more. */
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, one, 0, NULL), 0);
	ck_assert_int_eq(full_since(), 0);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, since, &(int){5}), 0);
	ck_assert_int_ne(full_since(), 0);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 5000, 0, 0), 0);
	ck_assert_int_eq(full_since(), 0);
	shelf_uidset_free(&one);
	rig_close(&r);
}
END_TEST

/* ---- The last megabyte ------------------------------------------------------------------------------- */

enum { RACERS = 64 };

struct racer {
	pthread_t thread;
	pthread_barrier_t *start;
	struct shelf_draft *draft;
	uint64_t over;
	struct shelf_append_result result;
};

static void *
race(void *arg)
{
	struct racer *me = arg;
	struct shelf_delivery to = {.account = r.joe, .over = me->over};

	pthread_barrier_wait(me->start);
	shelf_deliver(r.store, me->draft, &to, 1, &me->result);
	return NULL;
}

/* 64 at once: each is stored or refused, the usage is what was stored, and it never passes the limit (by more than
 * one message, with grace). */
START_TEST(they_race_for_the_last_megabyte)
{
	const uint64_t limit = 3 << 20, grace = _i == 0 ? 0 : 100000;
	static struct racer racer[RACERS];
	pthread_barrier_t start;
	struct shelf_quota q;
	uint64_t before, stored = 0;
	unsigned accepted = 0, refused = 0;

	rig_open(&r, NULL);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, limit, 0, 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct shelf_draft *d = rig_draft(&r, "before", (1 << 20) - 100);
		struct shelf_delivery to = {.account = r.joe};
		struct shelf_append_result result;

		shelf_deliver(r.store, d, &to, 1, &result);
		ck_assert_int_eq(result.rc, 0);
		shelf_draft_free(&d);
	}
	before = rig_quota(&r, r.joe).used_bytes;
	pthread_barrier_init(&start, NULL, RACERS);
	for (unsigned i = 0; i < RACERS; i++) {
		racer[i] = (struct racer){
		    .start = &start, .over = grace, .draft = rig_draft(&r, "race", 30000 + 937 * i)};
		ck_assert_int_eq(pthread_create(&racer[i].thread, NULL, race, &racer[i]), 0);
	}
	for (unsigned i = 0; i < RACERS; i++) {
		pthread_join(racer[i].thread, NULL);
		if (racer[i].result.rc == 0) {
			accepted++;
		} else {
			ck_assert_int_eq(racer[i].result.rc, SHELF_EQUOTA);
			refused++;
		}
		q = rig_quota(&r, r.joe);
		ck_assert_uint_le(q.used_bytes, limit + grace);
	}
	for (unsigned i = 0; i < RACERS; i++) {
		stored += racer[i].result.rc == 0 ? shelf_draft_size(racer[i].draft) : 0;
		shelf_draft_free(&racer[i].draft);
	}
	q = rig_quota(&r, r.joe);
	ck_assert_uint_eq(accepted + refused, RACERS);
	ck_assert_uint_gt(accepted, 10);
	ck_assert_uint_gt(refused, 10);
	ck_assert_uint_eq(q.used_messages, accepted + 2);
	ck_assert_uint_gt(q.used_bytes, limit - 95000); /* no other one would have fitted */
	ck_assert_uint_eq(q.used_bytes, before + stored);
	pthread_barrier_destroy(&start);
	rig_close(&r);
}
END_TEST

Suite *suite_policy(void);
Suite *
suite_policy(void)
{
	Suite *s = suite_create("policy");
	TCase *tc = tcase_create("policy");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, the_nearest_scope_counts);
	tcase_add_test(tc, they_go_with_the_account);
	tcase_add_test(tc, rows_of_a_later_release);
	tcase_add_loop_test(tc, damage_is_found, 0, 5);
	tcase_add_test(tc, the_verbs);
	tcase_add_loop_test(tc, which_messages, 0, sizeof shows / sizeof *shows);
	tcase_add_test(tc, names_of_mailboxes);
	tcase_add_test(tc, for_now_and_after_days_for_good);
	tcase_add_loop_test(tc, they_race_for_the_last_megabyte, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}
