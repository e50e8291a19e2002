/* test_acl.c - access control lists: entries, rights, inheritance, the index of shares */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/partition.h>

#include "mail_check.h"
#include "store_rig.h"

static struct rig r;

static uint32_t
add(const char *name)
{
	struct shelf_account_new new = {.name = shelf_span_str(name)};
	uint32_t id = 0;

	ck_assert_int_eq(shelf_account_add(r.store, &new, 1, NULL, &id), 0);
	return id;
}

static void
setup(void)
{
	rig_open(&r, NULL);
}

static void
teardown(void)
{
	rig_close(&r); /* with a check */
}

static int
set(uint32_t mailbox, const char *who, enum shelf_acl_op op, unsigned rights)
{
	return shelf_acl_set(r.store, r.joe, mailbox, shelf_span_str(who), op, rights);
}

static unsigned
rights_of(uint32_t mailbox, const char *name)
{
	struct shelf_rd *rd;
	unsigned rights;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_acl_rights(rd, mailbox, name, strcmp(name, "joe") == 0, &rights), 0);
	shelf_rd_end(&rd);
	return rights;
}

static int
list_entry(void *arg, struct shelf_span who, unsigned rights)
{
	shelf_buf_printf(arg, "%.*s=%u ", (int)who.len, (const char *)who.data, rights);
	return 0;
}

static const char *
entries(uint32_t mailbox)
{
	static struct shelf_buf text;
	struct shelf_rd *rd;

	shelf_buf_clear(&text);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_acl_each(rd, mailbox, "joe", list_entry, &text), 0);
	shelf_rd_end(&rd);
	return shelf_buf_cstr(&text);
}

static int
list_shared(void *arg, const struct shelf_mailbox *m, unsigned rights)
{
	shelf_buf_printf(arg, "%.*s=%u ", (int)m->name.len, (const char *)m->name.data, rights);
	return 0;
}

static const char *
shared_with(const char *name)
{
	static struct shelf_buf text;
	struct shelf_rd *rd;

	shelf_buf_clear(&text);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_shared_each(rd, name, list_shared, &text), 0);
	shelf_rd_end(&rd);
	return shelf_buf_cstr(&text);
}

/* How many accounts may share with NAME; the first one. */
static size_t
sharers(const char *name, uint32_t *first)
{
	uint32_t *list;
	size_t n;

	ck_assert_int_eq(shelf_sharers(r.store, name, &list, &n), 0);
	if (first != NULL)
		*first = n > 0 ? list[0] : 0;
	free(list);
	return n;
}

START_TEST(rights_are_added_up_and_taken_away)
{
	ck_assert_uint_eq(rights_of(r.inbox, "joe"), SHELF_RIGHTS_ALL);
	ck_assert_uint_eq(rights_of(r.inbox, "ann"), 0);
	ck_assert_str_eq(entries(r.inbox), "joe=2047 ");
	ck_assert_int_eq(set(r.inbox, "ANN", SHELF_ACL_SET, SHELF_RIGHT_LOOKUP), 0);
	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_ADD, SHELF_RIGHT_READ | SHELF_RIGHT_SEEN), 0);
	ck_assert_uint_eq(rights_of(r.inbox, "ann"), 7);
	ck_assert_int_eq(set(r.inbox, "anyone", SHELF_ACL_SET, SHELF_RIGHT_INSERT), 0);
	ck_assert_uint_eq(rights_of(r.inbox, "ann"), 7 | SHELF_RIGHT_INSERT);
	ck_assert_uint_eq(rights_of(r.inbox, "bob"), SHELF_RIGHT_INSERT);
	ck_assert_int_eq(set(r.inbox, "-ann", SHELF_ACL_SET, SHELF_RIGHT_INSERT | SHELF_RIGHT_SEEN), 0);
	ck_assert_uint_eq(rights_of(r.inbox, "ann"), 3);
	ck_assert_str_eq(entries(r.inbox), "joe=2047 ann=7 anyone=16 -ann=20 ");
	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_REMOVE, SHELF_RIGHT_SEEN), 0);
	ck_assert_int_eq(set(r.inbox, "-ann", SHELF_ACL_SET, 0), 0);
	ck_assert_int_eq(set(r.inbox, "anyone", SHELF_ACL_REMOVE, SHELF_RIGHTS_ALL), 0);
	ck_assert_str_eq(entries(r.inbox), "joe=2047 ann=3 ");
	ck_assert_int_eq(set(r.inbox, "nobody", SHELF_ACL_REMOVE, SHELF_RIGHTS_ALL), 0);
	ck_assert_str_eq(entries(r.inbox), "joe=2047 ann=3 ");
}
END_TEST

START_TEST(the_owner_can_always_change_it)
{
	ck_assert_int_eq(set(r.inbox, "joe", SHELF_ACL_REMOVE, SHELF_RIGHT_DELETE), 0);
	ck_assert_uint_eq(rights_of(r.inbox, "joe"), SHELF_RIGHTS_ALL & ~(unsigned)SHELF_RIGHT_DELETE);
	ck_assert_int_eq(set(r.inbox, "joe", SHELF_ACL_SET, 0), 0);
	ck_assert_uint_eq(rights_of(r.inbox, "joe"), SHELF_RIGHTS_OWNER);
	ck_assert_str_eq(entries(r.inbox), "joe=1025 ");
	ck_assert_int_eq(set(r.inbox, "joe", SHELF_ACL_SET, SHELF_RIGHTS_ALL), 0);
	ck_assert_int_eq(set(r.inbox, "-joe", SHELF_ACL_SET, SHELF_RIGHTS_ALL), 0);
	ck_assert_uint_eq(rights_of(r.inbox, "joe"), SHELF_RIGHTS_OWNER);
	ck_assert_str_eq(entries(r.inbox), "joe=2047 -joe=2047 ");
	/* Nobody is told that he shares with himself. */
	ck_assert_uint_eq(sharers("joe", NULL), 0);
}
END_TEST

START_TEST(identifiers_and_limits)
{
	char name[32];

	ck_assert_int_eq(set(r.inbox, "", SHELF_ACL_SET, 1), SHELF_ENAME);
	ck_assert_int_eq(set(r.inbox, "-", SHELF_ACL_SET, 1), SHELF_ENAME);
	ck_assert_int_eq(set(r.inbox, "--ann", SHELF_ACL_SET, 1), SHELF_ENAME);
	ck_assert_int_eq(set(r.inbox, "$team", SHELF_ACL_SET, 1), SHELF_ENAME);
	ck_assert_int_eq(set(r.inbox, "a b", SHELF_ACL_SET, 1), SHELF_ENAME);
	ck_assert_int_eq(set(4711, "ann", SHELF_ACL_SET, 1), SHELF_ENOMAILBOX);
	for (unsigned i = 0; i < SHELF_ACL_MAX; i++) {
		snprintf(name, sizeof(name), "%sm%u", i % 2 == 0 ? "" : "-", i);
		ck_assert_int_eq(set(r.inbox, name, SHELF_ACL_SET, 1), 0);
	}
	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_SET, 1), SHELF_ELIMIT);
	ck_assert_int_eq(set(r.inbox, "m0", SHELF_ACL_SET, 3), 0);
	ck_assert_int_eq(set(r.inbox, "m0", SHELF_ACL_SET, 0), 0);
	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_SET, 1), 0);
}
END_TEST

START_TEST(entries_follow_their_mailbox)
{
	struct shelf_buf name = {0};
	uint32_t a = rig_create(&r, r.joe, "a"), b, c;

	ck_assert_int_eq(set(a, "ann", SHELF_ACL_SET, 3), 0);
	/* Those of the nearest mailbox above. */
	b = rig_create(&r, r.joe, "a/x/b");
	c = rig_create(&r, r.joe, "ab");
	ck_assert_str_eq(entries(b), "joe=2047 ann=3 ");
	ck_assert_str_eq(entries(c), "joe=2047 ");
	ck_assert_str_eq(shared_with("ann"), "a=3 a/x/b=3 ");
	ck_assert_int_eq(shelf_mailbox_rename(r.store, r.joe, shelf_span_str("a"), shelf_span_str("z")), 0);
	ck_assert_str_eq(shared_with("ann"), "z=3 z/x/b=3 ");
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("z")), 0);
	ck_assert_str_eq(shared_with("ann"), "z/x/b=3 ");
	/* A new one of that name is another one. */
	a = rig_create(&r, r.joe, "z");
	ck_assert_str_eq(entries(a), "joe=2047 ");
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("z")), 0);
	ck_assert_int_eq(shelf_mailbox_restore(r.store, r.joe, 2, shelf_span_str(""), &name), 0);
	ck_assert_str_eq(shared_with("ann"), "z=3 z/x/b=3 ");
	shelf_buf_free(&name);
	/* INBOX is left behind as it was shared. */
	ck_assert_int_eq(set(r.inbox, "anyone", SHELF_ACL_SET, 1), 0);
	ck_assert_int_eq(shelf_mailbox_rename(r.store, r.joe, shelf_span_str("INBOX"), shelf_span_str("old")), 0);
	ck_assert_str_eq(shared_with("bob"), "old=1 INBOX=1 ");
}
END_TEST

START_TEST(rows_go_with_a_purge)
{
	struct shelf_store_params params = {
	    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20, .hold_s = UINT32_MAX};
	uint32_t a;

	rig_close(&r);
	rig_open(&r, &params);
	a = rig_create(&r, r.joe, "a");
	ck_assert_int_eq(set(a, "ann", SHELF_ACL_SET, 3), 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("a")), 0);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
	ck_assert_str_eq(entries(a), "joe=2047 ");
}
END_TEST

START_TEST(the_index_knows_who_shares)
{
	uint32_t first, bob = add("bob"), box;

	ck_assert_uint_eq(sharers("ann", NULL), 0);
	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_SET, 1), 0);
	ck_assert_uint_eq(sharers("ann", &first), 1);
	ck_assert_uint_eq(first, r.joe);
	ck_assert_uint_eq(sharers("an", NULL), 0);
	ck_assert_uint_eq(sharers("ann2", NULL), 0);
	ck_assert_int_eq(set(r.inbox, "anyone", SHELF_ACL_SET, 1), 0);
	ck_assert_uint_eq(sharers("bob", NULL), 1);
	ck_assert_uint_eq(sharers("ann", NULL), 1);
	ck_assert_int_eq(shelf_mailbox_create(r.store, bob, shelf_span_str("b"), 0, &box), 0);
	ck_assert_int_eq(shelf_acl_set(r.store, bob, box, shelf_span_str("ann"), SHELF_ACL_SET, 1), 0);
	ck_assert_uint_eq(sharers("ann", NULL), 2);
	/* Who goes takes what he shares along. */
	ck_assert_int_eq(shelf_account_delete(r.store, bob), 0);
	ck_assert_uint_eq(sharers("ann", NULL), 1);
	/* And a later account of a name gets nothing of the earlier one's. */
	ck_assert_int_eq(set(r.inbox, "-ann", SHELF_ACL_SET, 2), 0);
	ck_assert_int_eq(shelf_account_delete(r.store, r.ann), 0);
	add("ann");
	ck_assert_uint_eq(rights_of(r.inbox, "ann"), 1);
	ck_assert_str_eq(entries(r.inbox), "joe=2047 anyone=1 ");
}
END_TEST

/* ---- Copies from account to account --------------------------------------------------------------- */

static struct shelf_copy_result result;

static int
copy(struct shelf_copy what, uint32_t first, uint32_t last)
{
	struct shelf_uidset *uids = rig_set(first, last);
	int rc;

	if (result.from_uids == NULL) {
		result.from_uids = shelf_uidset_new();
		result.to_uids = shelf_uidset_new();
	}
	what.uids = uids;
	rc = shelf_msg_copy_to(r.store, &what, &result);
	shelf_uidset_free(&uids);
	return rc;
}

static uint32_t
inbox_of(uint32_t account)
{
	struct shelf_mailbox m;
	struct shelf_rd *rd;

	ck_assert_int_eq(shelf_rd_begin(r.store, account, &rd), 0);
	ck_assert_int_eq(shelf_mailbox_find(rd, shelf_span_str("INBOX"), &m), 0);
	shelf_rd_end(&rd);
	return m.id;
}

/* The account of a new name that lives in joe's partition, or in another one. */
static uint32_t
add_where(bool same)
{
	struct shelf_account a, joe;
	char name[32];

	ck_assert_int_eq(shelf_account_get(r.store, r.joe, &joe), 0);
	for (unsigned i = 0;; i++) {
		snprintf(name, sizeof(name), "%s%u", same ? "near" : "far", i);
		ck_assert_int_eq(shelf_account_get(r.store, add(name), &a), 0);
		if ((a.partition == joe.partition) == same)
			return a.id;
	}
}

/* The only row of the index: gone, or written two hours ago. */
static int
age_index(struct kv_txn *txn, void *arg)
{
	const bool *gone = arg;
	struct shelf_buf value = {0};
	struct shelf_span key, old;
	struct mail_key copy;
	struct kv_scan scan;
	int rc;

	ck_assert_int_eq(kv_scan_open(kv_txn_view(txn), KV_SHARED, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan), 0);
	ck_assert_int_eq(kv_scan_next(&scan, &key, &old), 1);
	copy.len = key.len;
	memcpy(copy.bytes, key.data, key.len);
	kv_scan_close(&scan);
	if (*gone)
		return kv_del(txn, KV_SHARED, mail_key_span(&copy));
	base_add_le(&value, 1, 1);
	base_add_le(&value, (uint64_t)(shelf_now_s() - 7200), 8);
	rc = kv_put(txn, KV_SHARED, mail_key_span(&copy), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

static void
index_is(bool gone)
{
	ck_assert_int_eq(kv_update(r.store->kv, KV_CATALOG, 0, age_index, &gone), 0);
}

/* Where an account lived before are old rows for a while: a check that had begun there must not count on them. */
START_TEST(rows_left_behind_are_not_asked)
{
	struct shelf_mover *mover = shelf_mover_new(r.store, NULL, NULL);
	struct check k = {.store = r.store, .account = r.joe};
	struct shelf_account joe;
	struct shelf_moved moved;

	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_SET, SHELF_RIGHT_READ), 0);
	ck_assert_int_eq(shelf_account_get(r.store, r.joe, &joe), 0);
	ck_assert_int_eq(shelf_account_move(mover, r.joe, 1 - joe.partition, &moved), 0);
	shelf_mover_free(&mover);
	ck_assert_int_eq(shelf_account_delete(r.store, r.ann), 0);
	index_is(true);
	ck_assert_int_eq(check_acl(&k, joe.partition), 0);
	ck_assert_uint_eq(k.findings, 0);
	check_free(&k);
}
END_TEST

/* Somebody may have made the row for an entry that is still on its way to the disk: old rows go, young ones stay. */
START_TEST(a_young_row_outlives_the_account)
{
	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_SET, SHELF_RIGHT_READ), 0);
	if (_i == 0)
		index_is(false);
	ck_assert_int_eq(shelf_account_delete(r.store, r.ann), 0);
	ck_assert_str_eq(entries(r.inbox), "joe=2047 ");
	ck_assert_uint_eq(sharers("ann", NULL), (size_t)_i);
	ck_assert_uint_eq(rig_findings(&r), 0);
}
END_TEST

START_TEST(messages_go_to_another_account)
{
	struct shelf_store_params params = {.partitions = 3, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20};
	const struct shelf_span keywords[] = {shelf_span_str("$Junk")};
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .flags = SHELF_SEEN | SHELF_DELETED,
	    .keywords = keywords, .nkeywords = 1, .unchanged_since = UINT64_MAX};
	struct shelf_copy what = {0};
	struct shelf_uidset *three = rig_set(3, 3);
	struct shelf_quota before;
	struct shelf_msg m, was;
	struct shelf_rd *rd;
	uint32_t to;

	rig_close(&r);
	rig_open(&r, &params);
	rig_fill(&r, r.joe, r.inbox, 600);
	ck_assert_int_eq(shelf_msg_set_flags(r.store, r.joe, r.inbox, three, &change, NULL, NULL), 0);
	shelf_uidset_free(&three);
	to = add_where(_i == 0);
	what = (struct shelf_copy){.account = r.joe, .from = r.inbox, .to_account = to, .to = inbox_of(to)};
	/* All or nothing, whatever the slices. */
	ck_assert_int_eq(shelf_quota_set(r.store, to, 0, 599, 0), 0);
	ck_assert_int_eq(copy(what, 1, 600), SHELF_EQUOTA);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 0);
	ck_assert_uint_eq(rig_quota(&r, to).used_messages, 0);
	ck_assert_uint_eq(rig_quota(&r, to).held_messages, 0);
	ck_assert_int_eq(shelf_quota_set(r.store, to, 0, 700, 0), 0);
	before = rig_quota(&r, r.joe);
	ck_assert_int_eq(copy(what, 1, 600), 0);
	ck_assert_uint_eq(shelf_uidset_count(result.from_uids), 600);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 600);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_bytes, before.used_bytes);
	ck_assert_uint_eq(rig_quota(&r, to).used_bytes, before.used_bytes);
	/* The message is the same, and the flags that may be. */
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_msg_get(rd, r.inbox, 3, &was), 0);
	shelf_rd_end(&rd);
	ck_assert_int_eq(shelf_rd_begin(r.store, to, &rd), 0);
	ck_assert_int_eq(shelf_msg_get(rd, what.to, shelf_uidset_min(result.to_uids) + 2, &m), 0);
	shelf_rd_end(&rd);
	ck_assert_mem_eq(m.email_id, was.email_id, 16);
	ck_assert_int_eq(m.internaldate_s, was.internaldate_s);
	ck_assert_uint_eq(m.flags, SHELF_SEEN | SHELF_DELETED);
	ck_assert_uint_eq(m.keywords[0], 1);
	what.flags_lost = SHELF_DELETED;
	what.keywords_lost = true;
	ck_assert_int_eq(copy(what, 3, 3), 0);
	ck_assert_int_eq(shelf_rd_begin(r.store, to, &rd), 0);
	ck_assert_int_eq(shelf_msg_get(rd, what.to, shelf_uidset_min(result.to_uids), &m), 0);
	shelf_rd_end(&rd);
	ck_assert_uint_eq(m.flags, SHELF_SEEN);
	ck_assert_uint_eq(m.keywords[0], 0);
	/* MOVE: 99 fit, in slices; what is moved is held where it was. */
	what.move = true;
	ck_assert_int_eq(copy(what, 1, 99), 0);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 99);
	ck_assert_uint_eq(rig_quota(&r, to).used_messages, 700);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 501);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 99);
	ck_assert_int_eq(copy(what, 100, 600), SHELF_EQUOTA);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 501);
	/* Once. */
	ck_assert_int_eq(shelf_quota_set(r.store, to, 0, 0, 0), 0);
	ck_assert_int_eq(copy(what, 1, 99), 0);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 0);
	ck_assert_int_eq(copy(what, 1, UINT32_MAX), 0);
	ck_assert_uint_eq(shelf_uidset_count(result.to_uids), 501);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 0);
	what.to = 4711;
	ck_assert_int_eq(copy(what, 1, 5), 0);
	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
}
END_TEST

START_TEST(within_an_account_flags_are_kept_back_too)
{
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .flags = SHELF_SEEN | SHELF_DELETED | SHELF_FLAGGED,
	    .unchanged_since = UINT64_MAX};
	struct shelf_copy what = {.account = r.joe, .from = r.inbox, .to_account = r.joe,
	    .flags_lost = SHELF_DELETED | SHELF_FLAGGED};
	struct shelf_uidset *one = rig_set(1, 1);
	struct shelf_msg m;
	struct shelf_rd *rd;

	rig_fill(&r, r.joe, r.inbox, 1);
	what.to = rig_create(&r, r.joe, "a");
	ck_assert_int_eq(shelf_msg_set_flags(r.store, r.joe, r.inbox, one, &change, NULL, NULL), 0);
	ck_assert_int_eq(copy(what, 1, 1), 0);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_msg_get(rd, what.to, 1, &m), 0);
	shelf_rd_end(&rd);
	ck_assert_uint_eq(m.flags, SHELF_SEEN);
	/* REPLACE leaves what may not be changed. */
	change = (struct shelf_flag_change){.op = SHELF_FLAGS_REPLACE, .flags = SHELF_ANSWERED,
	    .kept_flags = SHELF_DELETED | SHELF_SEEN, .unchanged_since = UINT64_MAX};
	ck_assert_int_eq(shelf_msg_set_flags(r.store, r.joe, r.inbox, one, &change, NULL, NULL), 0);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_msg_get(rd, r.inbox, 1, &m), 0);
	shelf_rd_end(&rd);
	ck_assert_uint_eq(m.flags, SHELF_SEEN | SHELF_DELETED | SHELF_ANSWERED);
	shelf_uidset_free(&one);
	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
}
END_TEST

/* ---- Rights are asked where it happens -------------------------------------------------------------- */

/* What ann tries with joe's mail; NEEDS: the right that each one needs. */
static int
attempt(int which, const struct shelf_asker *asker, uint32_t box)
{
	struct shelf_asker other = *asker;
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .flags = SHELF_SEEN, .asker = asker,
	    .unchanged_since = UINT64_MAX};
	struct shelf_metadata note = {shelf_span_str("/shared/comment"), shelf_span_str("x")};
	struct shelf_copy what = {.account = r.joe, .from = r.inbox, .to_account = r.ann, .to = r.inbox, .move = true};
	struct shelf_append item = {.internaldate_s = INT64_MIN, .asker = asker};
	struct shelf_append_result appended;
	struct shelf_uidset *one = rig_set(1, 1);
	int rc = 0;

	other.needs = 0;
	switch (which) {
	case 0:
		rc = shelf_msg_set_flags(r.store, r.joe, r.inbox, one, &change, NULL, NULL);
		break;
	case 1:
		rc = shelf_msg_expunge_for(r.store, asker, r.joe, r.inbox, one, 0, NULL);
		break;
	case 2: /* out of it */
	case 3:
		what.from_asker = asker;
		what.to_account = which == 2 ? r.ann : r.joe;
		what.to = which == 2 ? r.inbox : box;
		rc = copy(what, 1, 1);
		break;
	case 4: /* into it */
	case 5:
		what.to_asker = asker;
		what.account = which == 4 ? r.ann : r.joe;
		what.from = which == 4 ? r.inbox : box;
		what.to_account = r.joe;
		what.to = r.inbox;
		rc = copy(what, 1, 1);
		break;
	case 6:
		item.draft = rig_draft(&r, "new", 10);
		rc = shelf_append(r.store, r.joe, r.inbox, &item, 1, &appended);
		break;
	case 7:
		item.draft = rig_draft(&r, "new", 10);
		item.asker = &other;
		item.from_asker = asker;
		rc = shelf_msg_replace(r.store, r.joe, r.inbox, 1, r.inbox, &item, &appended);
		break;
	case 8:
		rc = shelf_acl_set_for(r.store, asker, r.joe, r.inbox, shelf_span_str("bob"), SHELF_ACL_SET, 1);
		break;
	case 9:
		rc = shelf_metadata_set_for(r.store, asker, r.joe, r.inbox, &note, 1, NULL);
		break;
	case 10:
		rc = shelf_mailbox_create_for(r.store, asker, r.joe, shelf_span_str("INBOX/x"), 0, NULL);
		break;
	case 11:
		rc = shelf_mailbox_delete_for(r.store, asker, r.joe, shelf_span_str("box"));
		break;
	case 12:
		rc = shelf_mailbox_rename_for(r.store, asker, r.joe, shelf_span_str("box"),
		    shelf_span_str("INBOX/box"));
		break;
	default:
		break;
	}
	shelf_draft_free(&item.draft);
	shelf_uidset_free(&one);
	return rc;
}

START_TEST(rights_are_asked_where_it_happens)
{
	static const unsigned needs[] = {
	    SHELF_RIGHT_SEEN, SHELF_RIGHT_EXPUNGE, SHELF_RIGHT_EXPUNGE, SHELF_RIGHT_EXPUNGE,
	    SHELF_RIGHT_INSERT, SHELF_RIGHT_INSERT, SHELF_RIGHT_INSERT, SHELF_RIGHT_EXPUNGE,
	    SHELF_RIGHT_ADMIN, SHELF_RIGHT_WRITE, SHELF_RIGHT_CREATE, SHELF_RIGHT_DELETE,
	    SHELF_RIGHT_DELETE};
	struct shelf_asker asker = {"ann", r.ann, needs[_i]};
	uint32_t box = rig_create(&r, r.joe, "box");
	uint64_t joe, ann;

	rig_fill(&r, r.joe, r.inbox, 2);
	rig_fill(&r, r.joe, box, 2);
	rig_fill(&r, r.ann, r.inbox, 2);
	/* All but the one: nothing happens. */
	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_SET, SHELF_RIGHTS_ALL & ~needs[_i]), 0);
	ck_assert_int_eq(set(box, "ann", SHELF_ACL_SET, SHELF_RIGHTS_ALL & ~needs[_i]), 0);
	joe = rig_mailbox(&r, r.joe, r.inbox).highestmodseq;
	ann = rig_mailbox(&r, r.ann, r.inbox).exists;
	ck_assert_int_eq(attempt(_i, &asker, box), SHELF_ENOPERM);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).highestmodseq, joe);
	ck_assert_uint_eq(rig_mailbox(&r, r.ann, r.inbox).exists, ann);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
	/* Given, taken, given: what counts is what is there when it happens. */
	ck_assert_int_eq(set(r.inbox, "ann", SHELF_ACL_ADD, needs[_i]), 0);
	ck_assert_int_eq(set(box, "ann", SHELF_ACL_ADD, needs[_i]), 0);
	ck_assert_int_eq(set(r.inbox, "-anyone", SHELF_ACL_ADD, needs[_i]), 0);
	ck_assert_int_eq(set(box, "-anyone", SHELF_ACL_ADD, needs[_i]), 0);
	ck_assert_int_eq(attempt(_i, &asker, box), SHELF_ENOPERM);
	ck_assert_int_eq(set(r.inbox, "-anyone", SHELF_ACL_SET, 0), 0);
	ck_assert_int_eq(set(box, "-anyone", SHELF_ACL_SET, 0), 0);
	ck_assert_int_eq(attempt(_i, &asker, box), 0);
	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
}
END_TEST

Suite *suite_acl(void);
Suite *
suite_acl(void)
{
	Suite *s = suite_create("acl");
	TCase *tc = tcase_create("acl");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rights_are_added_up_and_taken_away);
	tcase_add_test(tc, the_owner_can_always_change_it);
	tcase_add_test(tc, identifiers_and_limits);
	tcase_add_test(tc, entries_follow_their_mailbox);
	tcase_add_test(tc, rows_go_with_a_purge);
	tcase_add_test(tc, the_index_knows_who_shares);
	tcase_add_test(tc, rows_left_behind_are_not_asked);
	tcase_add_loop_test(tc, a_young_row_outlives_the_account, 0, 2);
	tcase_add_loop_test(tc, messages_go_to_another_account, 0, 2);
	tcase_add_test(tc, within_an_account_flags_are_kept_back_too);
	tcase_add_loop_test(tc, rights_are_asked_where_it_happens, 0, 13);
	suite_add_tcase(s, tc);
	return s;
}
