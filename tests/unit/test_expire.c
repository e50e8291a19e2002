/* test_expire.c - rules by which old mail goes: which count, which messages go, runs that are stopped; the verbs */
#include <check.h>
#include <unistd.h>

#include "mail.h"
#include "verb_rig.h"

#include <mailshelf/expire.h>
#include <mailshelf/pop3.h>
#include <mailshelf/restore.h>

enum { DAY = 24 * 3600 };

static struct rig r;
static int64_t now_s;

static uint32_t
add(const char *scope, enum shelf_expire_by by, uint32_t days, const char *pattern, uint32_t flags, uint32_t not_flags)
{
	struct shelf_expire_rule rule = {.by = by, .age_s = days * DAY, .flags = flags, .not_flags = not_flags};
	uint32_t id;

	snprintf(rule.pattern, sizeof(rule.pattern), "%s", pattern);
	ck_assert_int_eq(shelf_expire_add(r.store, shelf_span_str(scope), &rule, &id), 0);
	return id;
}

/* A message received so many days ago. */
static uint32_t
put(uint32_t account, uint32_t mailbox, unsigned days, uint32_t flags)
{
	struct shelf_append item = {.draft = rig_draft(&r, "old", 87), .flags = flags,
	    .internaldate_s = now_s - (int64_t)days * DAY};
	struct shelf_append_result result;

	ck_assert_int_eq(shelf_append(r.store, account, mailbox, &item, 1, &result), 0);
	shelf_draft_free(&item.draft);
	return result.first_uid;
}

static struct shelf_expired
run(uint32_t account, int64_t at_s, bool dry_run)
{
	struct shelf_expired e;

	ck_assert_int_eq(shelf_expire_run(r.store, account, at_s, dry_run, NULL, NULL, &e), 0);
	return e;
}

static bool
is_there(uint32_t account, uint32_t mailbox, uint32_t uid)
{
	struct shelf_msg m;

	return rig_msg(&r, account, mailbox, uid, &m) == 0 && !m.gone;
}

static void
begin(void)
{
	rig_open(&r, NULL);
	now_s = shelf_now_s();
}

START_TEST(patterns)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} rows[] = {{"INBOX", "INBOX", true}, {"inbox", "INBOX", true}, {"INBOX", "INBOX/a", false},
		{"*", "", true}, {"*", "a/b/c", true}, {"%", "a", true}, {"%", "a/b", false}, {"a/*", "a/b/c", true},
		{"a/%", "a/b/c", false}, {"a/%/c", "a/b/c", true}, {"*/c", "a/b/c", true}, {"*b*", "a/b/c", true},
		{"%b%", "a/b", false}, {"*%", "a/b", true}, {"a", "A", false}, {"", "a", false}, {"a%", "a", true},
		{"Trash", "Trash/x", false}, {"*a*b*c*d", "abcabcabcabcd", true}, {"*a*b*c*d", "abcabcabcabc", false},
		{"%a/%b", "xa/yb", true}, {"*x%z", "axbxcz", true}, {"*x%z", "axb/xc/z", false}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		ck_assert_msg(shelf_expire_matches(rows[i].pattern, shelf_span_str(rows[i].name)) == rows[i].matches,
		    "%s %s", rows[i].pattern, rows[i].name);
}
END_TEST

START_TEST(by_age_flags_and_mailbox)
{
	uint32_t box, old, young, flagged, unseen, other;
	struct shelf_restored back = {.to_uids = NULL};
	struct shelf_expired e;

	begin();
	box = rig_create(&r, r.joe, "lists/a");
	old = put(r.joe, box, 40, SHELF_SEEN);
	young = put(r.joe, box, 29, SHELF_SEEN);
	flagged = put(r.joe, box, 40, SHELF_SEEN | SHELF_FLAGGED);
	unseen = put(r.joe, box, 40, 0);
	other = put(r.joe, r.inbox, 40, SHELF_SEEN);
	ck_assert_uint_eq(run(r.joe, now_s, false).looked, 0); /* no rule, no look */
	add("*", SHELF_EXPIRE_RECEIVED, 30, "lists/%", SHELF_SEEN, SHELF_FLAGGED);
	e = run(r.joe, now_s, true);
	ck_assert_uint_eq(e.looked, 4);
	ck_assert_uint_eq(e.messages, 1);
	ck_assert_uint_eq(e.bytes, 103);
	ck_assert(is_there(r.joe, box, old));
	e = run(r.joe, now_s, false);
	ck_assert_uint_eq(e.messages, 1);
	ck_assert(!is_there(r.joe, box, old));
	ck_assert(is_there(r.joe, box, young) && is_there(r.joe, box, flagged) && is_there(r.joe, box, unseen));
	ck_assert(is_there(r.joe, r.inbox, other));
	ck_assert_uint_eq(run(r.joe, now_s, false).messages, 0);
	/* It is held like what a user removes. */
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 1);
	ck_assert_int_eq(shelf_restore(r.store, r.joe, box, NULL, 0, &back), 0);
	ck_assert_uint_eq(back.messages, 1);
	/* By the time in the mailbox: it came today. */
	add("joe", SHELF_EXPIRE_SAVED, 3, "INBOX", 0, 0);
	ck_assert_uint_eq(run(r.joe, now_s, true).messages, 1);
	ck_assert_uint_eq(run(r.joe, now_s + 2 * DAY, true).messages, 2); /* the young one is 31 days old then */
	ck_assert_uint_eq(run(r.joe, now_s + 4 * DAY, true).messages, 3);
	rig_close(&r);
}
END_TEST

START_TEST(what_pop3_has_fetched)
{
	struct shelf_uidset *some = rig_set(1, 3);
	struct shelf_pop3_note note = {.fetched = some};

	begin();
	for (unsigned i = 0; i < 5; i++)
		put(r.joe, r.inbox, 100, 0);
	note.fetched_s = now_s - 10 * DAY;
	ck_assert_int_eq(shelf_pop3_note(r.store, r.joe, r.inbox, &note), 0);
	shelf_uidset_remove(some, 1);
	shelf_uidset_remove(some, 2);
	note.fetched_s = now_s - 2 * DAY; /* once more, by the second computer */
	ck_assert_int_eq(shelf_pop3_note(r.store, r.joe, r.inbox, &note), 0);
	add("joe", SHELF_EXPIRE_FETCHED, 7, "INBOX", 0, SHELF_FLAGGED);
	rig_flag(&r, r.joe, r.inbox, 2, 2, SHELF_FLAGS_ADD, SHELF_FLAGGED, "");
	ck_assert_uint_eq(run(r.joe, now_s, false).messages, 1);
	ck_assert(!is_there(r.joe, r.inbox, 1));
	ck_assert(is_there(r.joe, r.inbox, 2) && is_there(r.joe, r.inbox, 3) && is_there(r.joe, r.inbox, 4));
	shelf_uidset_free(&some);
	rig_close(&r);
}
END_TEST

START_TEST(scopes)
{
	struct shelf_account_new new = {.name = shelf_span_str("eve@example.org")};
	struct shelf_expire_rule bad = {.pattern = "INBOX"};
	uint32_t eve, id, first;

	begin();
	ck_assert_int_eq(shelf_account_add(r.store, &new, 1, NULL, &eve), 0);
	put(eve, r.inbox, 40, 0);
	put(r.joe, r.inbox, 40, 0);
	first = add("@example.org", SHELF_EXPIRE_RECEIVED, 50, "INBOX", 0, 0);
	id = add("@EXAMPLE.org", SHELF_EXPIRE_RECEIVED, 30, "INBOX", 0, 0);
	ck_assert_uint_eq(id, first + 1);
	add("eve", SHELF_EXPIRE_RECEIVED, 1, "INBOX", 0, 0); /* another name */
	ck_assert_uint_eq(run(eve, now_s, true).messages, 1);
	ck_assert_uint_eq(run(r.joe, now_s, true).messages, 0);
	ck_assert_int_eq(shelf_expire_remove(r.store, shelf_span_str("@example.org"), id), 0);
	ck_assert_int_eq(shelf_expire_remove(r.store, shelf_span_str("@example.org"), id), SHELF_EMISSING);
	ck_assert_int_eq(shelf_expire_remove(r.store, shelf_span_str("no name"), 1), SHELF_EMISSING);
	ck_assert_uint_eq(run(eve, now_s, true).messages, 0);
	add("eve@example.org", SHELF_EXPIRE_RECEIVED, 1, "*", 0, 0);
	ck_assert_uint_eq(run(eve, now_s, true).messages, 1);
	ck_assert_int_eq(shelf_expire_add(r.store, shelf_span_str("*"), &bad, &id), SHELF_EINVALID);
	bad.age_s = 1;
	bad.flags = bad.not_flags = SHELF_SEEN;
	ck_assert_int_eq(shelf_expire_add(r.store, shelf_span_str("*"), &bad, &id), SHELF_EINVALID);
	bad.not_flags = 0;
	ck_assert_int_eq(shelf_expire_add(r.store, shelf_span_str("@"), &bad, &id), SHELF_ENAME);
	for (unsigned i = 0; i < SHELF_EXPIRE_RULES_MAX; i++)
		ck_assert_int_eq(shelf_expire_add(r.store, shelf_span_str("*"), &bad, &id), 0);
	ck_assert_int_eq(shelf_expire_add(r.store, shelf_span_str("*"), &bad, &id), SHELF_ELIMIT);
	/* They go with the account. */
	ck_assert_int_eq(shelf_account_delete(r.store, eve), 0);
	ck_assert_int_eq(shelf_account_add(r.store, &new, 1, NULL, &eve), 0);
	ck_assert_int_eq(shelf_expire_remove(r.store, new.name, 1), SHELF_EMISSING);
	rig_close(&r);
}
END_TEST

static int
stop_at_once(void *arg, const struct shelf_expired *so_far)
{
	++*(unsigned *)arg;
	return SHELF_ECANCELLED;
}

/* More than a slice; stopped after each, and run again. */
START_TEST(in_slices)
{
	enum { MESSAGES = 9000 };
	struct shelf_expired e;
	unsigned stops = 0;
	uint64_t gone = 0;

	rig_open(&r, &(struct shelf_store_params){.partitions = 1, .map_bytes = 512 << 20});
	now_s = shelf_now_s();
	for (unsigned i = 0; i < 9; i++)
		rig_fill(&r, r.joe, r.inbox, MESSAGES / 9); /* of the year 2001 */
	put(r.joe, r.inbox, 0, 0);
	add("*", SHELF_EXPIRE_RECEIVED, 365, "*", 0, 0);
	ck_assert_uint_eq(run(r.joe, now_s, true).messages, MESSAGES);
	while (shelf_expire_run(r.store, r.joe, now_s, false, stop_at_once, &stops, &e) == SHELF_ECANCELLED &&
	    gone < MESSAGES)
		gone += e.messages;
	ck_assert_uint_eq(gone, MESSAGES);
	ck_assert_uint_ge(stops, 3);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 1);
	rig_close(&r);
}
END_TEST

/* The janitor's: once a day, all accounts. */
START_TEST(daily)
{
	begin();
	put(r.joe, r.inbox, 40, 0);
	put(r.ann, r.inbox, 40, 0);
	add("*", SHELF_EXPIRE_RECEIVED, 30, "*", 0, 0);
	shelf_store_close(&r.store);
	ck_assert_int_eq(shelf_store_open(r.path, SHELF_OPEN_SERVE, &r.store), 0);
	for (int ms = 0; ms < 20000 && rig_quota(&r, r.joe).used_messages + rig_quota(&r, r.ann).used_messages > 0;
	     ms += 10)
		usleep(10000);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages + rig_quota(&r, r.ann).used_messages, 0);
	rig_close(&r);
}
END_TEST

START_TEST(the_verbs)
{
	static const char *const wrong[] = {"joe", "joe|--older|x", "joe|--older|0d", "joe|--older|none",
		"joe|--older|1d|--saved|1d", "joe|--older|1d|--flag|Gone",
		"joe|--older|1d|--flag|Seen|--not-flag|\\seen",
		"joe|--older|1d|--mailbox|", "--older|1d"};

	begin();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		ck_assert_int_eq(verb_run(&r, tool_expire_add, false, wrong[i]), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_expire_add, false, "no name|--older|1d"), EX_USAGE);
	put(r.joe, r.inbox, 40, 0);
	put(r.ann, r.inbox, 40, 0);
	put(r.ann, r.inbox, 20, SHELF_FLAGGED);
	ck_assert_int_eq(verb_run(&r, tool_expire_add, false, "*|--older|30d"), EX_OK);
	ck_assert_str_eq(verb_out, "*: rule 1\n");
	ck_assert_int_eq(verb_run(&r, tool_expire_add, true, "ann|--saved|36h|--mailbox|Trash*|--flag|Seen|--not-flag|"
	    "\\Flagged|--not-flag|draft"), EX_OK);
	ck_assert_str_eq(verb_out, "{\"id\":1}\n");
	ck_assert_int_eq(verb_run(&r, tool_expire_list, false, ""), EX_OK);
	ck_assert_str_eq(verb_out, "* 1: INBOX older 30d\n"
	    "ann 1: Trash* saved 36h with \\Seen without \\Flagged \\Draft\n");
	ck_assert_int_eq(verb_run(&r, tool_expire_list, true, ""), EX_OK);
	ck_assert_ptr_nonnull(strstr(verb_out, "{\"scope\":\"*\",\"id\":1,\"mailbox\":\"INBOX\",\"by\":\"older\","
	    "\"age_s\":2592000,\"flags\":\"\",\"not_flags\":\"\"}"));
	ck_assert_int_eq(verb_run(&r, tool_expire_run, false, "--dry-run"), EX_OK);
	ck_assert_str_eq(verb_out, "ann: 1 messages, 103 B\njoe: 1 messages, 103 B\n"
	    "3 messages looked at, 2 would go, 206 B\n");
	ck_assert_int_eq(verb_run(&r, tool_expire_run, true, "--account|ann"), EX_OK);
	ck_assert_str_eq(verb_out, "{\"dry_run\":false,\"complete\":true,\"looked\":2,\"messages\":1,\"bytes\":103,"
	    "\"accounts\":[{\"name\":\"ann\",\"messages\":1,\"bytes\":103}]}\n");
	ck_assert_uint_eq(rig_quota(&r, r.ann).used_messages, 1);
	ck_assert_int_eq(verb_run(&r, tool_expire_run, false, "--account|nobody"), EX_NOUSER);
	ck_assert_int_eq(verb_run(&r, tool_expire_run, false, "now"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_expire_remove, false, "*|1"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_expire_remove, false, "*|1"), EX_NOINPUT);
	ck_assert_int_eq(verb_run(&r, tool_expire_remove, false, "*|one"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_expire_run, false, ""), EX_OK);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 1);
	rig_close(&r);
}
END_TEST

Suite *suite_expire(void);
Suite *
suite_expire(void)
{
	Suite *s = suite_create("expire");
	TCase *tc = tcase_create("expire");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, patterns);
	tcase_add_test(tc, by_age_flags_and_mailbox);
	tcase_add_test(tc, what_pop3_has_fetched);
	tcase_add_test(tc, scopes);
	tcase_add_test(tc, in_slices);
	tcase_add_test(tc, daily);
	tcase_add_test(tc, the_verbs);
	suite_add_tcase(s, tc);
	return s;
}
