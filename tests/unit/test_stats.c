/*
 * test_stats.c - what is kept about bytes: exact after every operation, whoever wrote the rows
 *
 * The sums are proved in two ways that know nothing of each other: by the check, from the rows, and here
 * from one level to the next: accounts make up domains, domains partitions, and what all rows noted is what
 * the bodies say is referred to.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mail.h"
#include "store_rig.h"
#include "support.h"

enum { ACCOUNTS = 6, OPS = 250 };

static struct rig r;
static uint64_t seed;

static uint32_t
chance(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static struct shelf_totals
totals(uint32_t account)
{
	struct shelf_account_stats s;

	ck_assert_int_eq(shelf_stats_account(r.store, account, &s), 0);
	return s.totals;
}

static struct shelf_partition_stats
partition(uint32_t n)
{
	struct shelf_partition_stats s;

	ck_assert_int_eq(shelf_stats_partition(r.store, n, &s), 0);
	return s;
}

static struct shelf_partition_stats
whole(void)
{
	struct shelf_partition_stats s;

	ck_assert_int_eq(shelf_stats_store(r.store, &s), 0);
	return s;
}

static struct shelf_totals
domain(const char *name)
{
	struct shelf_totals t;

	ck_assert_int_eq(shelf_stats_domain(r.store, shelf_span_str(name), &t), 0);
	return t;
}

static void
purge_all(void)
{
	int rc;

	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
}

static uint32_t
add_account(const char *name)
{
	const struct shelf_account_new account = {.name = shelf_span_str(name)};
	uint32_t id;

	ck_assert_int_eq(shelf_account_add(r.store, &account, 1, NULL, &id), 0);
	return id;
}

static void
deliver(uint32_t *accounts, size_t n, const char *text, size_t len)
{
	struct shelf_delivery to[ACCOUNTS] = {0};
	struct shelf_append_result res[ACCOUNTS];
	struct shelf_draft *d = rig_draft(&r, text, len);

	for (size_t i = 0; i < n; i++)
		to[i].account = accounts[i];
	shelf_deliver(r.store, d, to, n, res);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(res[i].rc, 0);
	shelf_draft_free(&d);
}

static void
expunge(uint32_t account, uint32_t box, uint32_t first, uint32_t last)
{
	struct shelf_uidset *set = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_expunge(r.store, account, box, set, 0, NULL), 0);
	shelf_uidset_free(&set);
}

static void
copy(uint32_t account, uint32_t from, uint32_t to, uint32_t first, uint32_t last, bool move)
{
	struct shelf_copy_result copied = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *set = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_copy(r.store, account, from, to, set, move, &copied), 0);
	shelf_uidset_free(&set);
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
}

static const struct shelf_store_params one_part = {
    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20};

/* ---- What the numbers mean ------------------------------------------------------------------------------- */

START_TEST(a_body_for_two_is_stored_once_and_shared_once)
{
	uint32_t both[2];
	struct shelf_totals joe, ann;
	struct shelf_partition_stats p;

	rig_open(&r, &one_part);
	both[0] = r.joe;
	both[1] = r.ann;
	deliver(both, 2, "both", 5000);
	joe = totals(r.joe);
	ann = totals(r.ann);
	p = partition(0);
	ck_assert_uint_eq(joe.message_bytes, rig_quota(&r, r.joe).used_bytes);
	ck_assert_uint_gt(joe.stored_bytes, 0);
	ck_assert_uint_eq(joe.stored_bytes, ann.stored_bytes);
	/* Whoever came second found it. */
	ck_assert_uint_eq(joe.shared_bytes + ann.shared_bytes, joe.stored_bytes);
	ck_assert_uint_eq(p.bodies, 1);
	ck_assert_uint_eq(p.references, 2);
	ck_assert_uint_eq(p.body_bytes, joe.message_bytes);
	ck_assert_uint_eq(p.physical_bytes, joe.stored_bytes);
	ck_assert_uint_eq(p.gross_bytes, 2 * joe.stored_bytes);
	ck_assert_uint_eq(p.saved_bytes, joe.stored_bytes);
	ck_assert_uint_eq(p.totals.accounts, 2);
	ck_assert_uint_eq(p.totals.messages, 2);
	ck_assert_uint_eq(p.uncounted_accounts + p.uncounted_bodies, 0);
	rig_close(&r);
}
END_TEST

START_TEST(from_live_to_held_to_nothing)
{
	const struct shelf_store_params soon = {
	    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20, .hold_s = 1};
	struct shelf_account_stats s;
	struct shelf_totals before, t;
	struct shelf_partition_stats p;
	uint64_t physical;

	rig_open(&r, &soon);
	rig_append(&r, r.joe, r.inbox, "one", 0);
	before = totals(r.joe);
	physical = partition(0).physical_bytes;
	expunge(r.joe, r.inbox, 1, 1);
	ck_assert_int_eq(shelf_stats_account(r.store, r.joe, &s), 0);
	ck_assert_uint_eq(s.totals.message_bytes + s.totals.stored_bytes + s.totals.messages, 0);
	ck_assert_uint_eq(s.totals.held_bytes, before.message_bytes);
	ck_assert_uint_eq(s.totals.held_stored_bytes, before.stored_bytes);
	ck_assert_uint_eq(s.totals.held_messages, 1);
	ck_assert_uint_eq(s.totals.noted_messages, 1);
	ck_assert_int_le(s.gone_s, shelf_now_s());
	ck_assert_int_eq(s.due_s, s.gone_s + 1);
	ck_assert_uint_eq(partition(0).physical_bytes, physical); /* it is still there */
	sleep(2);
	/* The held row goes in one step, the body in another: in between it waits. */
	purge_all();
	t = totals(r.joe);
	ck_assert_uint_eq(t.held_bytes + t.held_stored_bytes + t.held_messages + t.noted_messages, 0);
	p = partition(0);
	ck_assert_uint_eq(p.bodies + p.physical_bytes + p.gross_bytes + p.waiting_bytes, 0);
	ck_assert_uint_gt(p.reclaimable_bytes, 0);
	rig_close(&r);
}
END_TEST

static int
nothing_more(enum kv_point point)
{
	return point == KV_BEFORE_COMMIT ? SHELF_EIO : 0;
}

START_TEST(a_body_nobody_refers_to_waits)
{
	const struct shelf_store_params at_once = {.partitions = 1,
						   .map_bytes = 64u << 20,
						   .reserve_bytes = 1u << 20,
						   .hold_s = UINT32_MAX};
	struct shelf_partition_stats p;
	uint64_t physical;

	rig_open(&r, &at_once);
	rig_append(&r, r.joe, r.inbox, "one", 0);
	physical = partition(0).physical_bytes;
	expunge(r.joe, r.inbox, 1, 1);
	kv_fault = nothing_more;
	ck_assert_int_eq(shelf_store_purge(r.store, 1000), SHELF_EIO);
	kv_fault = NULL;
	p = partition(0);
	ck_assert_uint_eq(p.waiting_bytes, physical);
	ck_assert_uint_eq(p.reclaimable_bytes, physical + p.free_bytes);
	ck_assert_uint_eq(p.physical_bytes, 0);
	ck_assert_uint_eq(p.uncounted_bodies, 0);
	purge_all();
	ck_assert_uint_eq(partition(0).waiting_bytes, 0);
	rig_close(&r);
}
END_TEST

START_TEST(a_large_message_that_fails_was_staged)
{
	size_t len = 3 << 20;
	uint8_t *bytes = shelf_alloc(len);
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result res;
	uint64_t staged;

	rig_open(&r, &one_part);
	shelf_random(bytes, len);
	ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, bytes, len), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, 77, &item, 1, &res), SHELF_ENOMAILBOX);
	staged = partition(0).staged_bytes;
	ck_assert_uint_ge(staged, len);
	ck_assert_uint_eq(partition(0).physical_bytes, 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &res), 0);
	ck_assert_uint_eq(partition(0).staged_bytes, 0);
	ck_assert_uint_gt(partition(0).physical_bytes, staged); /* and the derived data */
	shelf_draft_free(&item.draft);
	free(bytes);
	rig_close(&r);
}
END_TEST

START_TEST(a_deleted_mailbox_goes_and_comes_as_a_whole)
{
	struct shelf_totals before, t;
	struct shelf_buf name = {0};
	uint32_t box;

	rig_open(&r, NULL);
	box = rig_create(&r, r.joe, "box");
	rig_fill(&r, r.joe, box, 40);
	copy(r.joe, box, box, 1, 10, false);
	rig_append(&r, r.joe, r.inbox, "stays", 0);
	before = totals(r.joe);
	ck_assert_uint_gt(before.shared_bytes, 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	t = totals(r.joe);
	ck_assert_uint_eq(t.messages, 1);
	ck_assert_uint_eq(t.held_shared_bytes, before.shared_bytes);
	ck_assert_uint_eq(t.stored_bytes + t.held_stored_bytes, before.stored_bytes);
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(shelf_mailbox_restore(r.store, r.joe, box, shelf_span_str(""), &name), 0);
	t = totals(r.joe);
	ck_assert(memcmp(&t, &before, sizeof(t)) == 0);
	shelf_buf_free(&name);
	rig_close(&r);
}
END_TEST

/* A copy finds its body; what moves, is held and comes back is the reference it was. */
START_TEST(what_moves_brought_its_body_in_all_the_same)
{
	struct shelf_restored done = {0};
	struct shelf_totals t;
	uint32_t box;

	rig_open(&r, NULL);
	box = rig_create(&r, r.joe, "box");
	rig_append(&r, r.joe, r.inbox, "one", 0);
	copy(r.joe, r.inbox, box, 1, 1, true);
	ck_assert_uint_eq(totals(r.joe).shared_bytes, 0);
	expunge(r.joe, box, 1, 1);
	ck_assert_uint_eq(totals(r.joe).held_shared_bytes, 0);
	ck_assert_int_eq(shelf_restore(r.store, r.joe, box, NULL, 0, &done), 0);
	t = totals(r.joe);
	ck_assert_uint_eq(t.shared_bytes, 0);
	ck_assert_uint_gt(t.stored_bytes, 0);
	copy(r.joe, box, r.inbox, 2, 2, false);
	ck_assert_uint_eq(totals(r.joe).shared_bytes, t.stored_bytes);
	ck_assert_uint_eq(totals(r.joe).stored_bytes, 2 * t.stored_bytes);
	rig_close(&r);
}
END_TEST

/* ---- Domains ----------------------------------------------------------------------------------------------- */

struct seen {
	char names[200];
	struct shelf_totals sum;
};

static int
see(void *arg, struct shelf_span name, const struct shelf_totals *t)
{
	struct seen *s = arg;
	size_t at = strlen(s->names);

	snprintf(s->names + at, sizeof(s->names) - at, "%.*s:%llu ", (int)name.len, (const char *)name.data,
		 (unsigned long long)t->accounts);
	mail_totals_add(&s->sum, t);
	return 0;
}

static struct seen
domains(void)
{
	struct seen s = {.names = ""};

	ck_assert_int_eq(shelf_stats_domain_each(r.store, see, &s), 0);
	return s;
}

START_TEST(domains_lie_across_partitions)
{
	uint32_t a, b;
	struct shelf_totals t;

	rig_open(&r, NULL); /* two partitions, filled in turn */
	a = add_account("a@Example.org");
	b = add_account("b@example.org");
	add_account("x@y@other.example");
	ck_assert_str_eq(domains().names, ":2 example.org:2 other.example:1 ");
	rig_append(&r, a, r.inbox, "one", 0);
	rig_append(&r, b, r.inbox, "another", 0);
	t = domain("EXAMPLE.org");
	ck_assert_uint_eq(t.messages, 2);
	ck_assert_uint_eq(t.message_bytes, totals(a).message_bytes + totals(b).message_bytes);
	ck_assert_uint_eq(t.stored_bytes, totals(a).stored_bytes + totals(b).stored_bytes);
	ck_assert_uint_eq(domain("").accounts, 2);
	ck_assert_int_eq(shelf_stats_domain(r.store, shelf_span_str("example"), &t), SHELF_EMISSING);
	ck_assert_int_eq(shelf_stats_domain(r.store, shelf_span_str("a b"), &t), SHELF_EMISSING);
	ck_assert_int_eq(shelf_account_delete(r.store, b), 0);
	purge_all();
	ck_assert_uint_eq(domain("example.org").messages, 1);
	ck_assert_int_eq(shelf_account_delete(r.store, a), 0);
	purge_all();
	ck_assert_int_eq(shelf_stats_domain(r.store, shelf_span_str("example.org"), &t), SHELF_EMISSING);
	ck_assert_str_eq(domains().names, ":2 other.example:1 ");
	rig_close(&r);
}
END_TEST

/* Rows are made before names are given; those of a name that was taken belong to nobody and go. */
START_TEST(a_name_given_twice_counts_once)
{
	const struct shelf_account_new twice[] = {{.name = shelf_span_str("same@example.org")},
						  {.name = shelf_span_str("same@example.org")}};
	struct shelf_partition_stats p;

	rig_open(&r, &one_part);
	ck_assert_int_eq(shelf_account_add(r.store, twice, 2, NULL, NULL), SHELF_EEXISTS);
	purge_all();
	ck_assert_uint_eq(domain("example.org").accounts, 1);
	p = whole();
	ck_assert_uint_eq(p.totals.accounts, 3);
	ck_assert_uint_eq(p.uncounted_accounts, 0);
	rig_close(&r);
}
END_TEST

/* ---- Damage ----------------------------------------------------------------------------------------------- */

static int
cut_short(struct kv_txn *txn, void *arg)
{
	static const struct {
		enum kv_table table;
		struct mail_key key;
	} rows[] = {{KV_DOMAIN, {.len = 1, .bytes = "*"}},
		    {KV_DOMAIN, {.len = 1, .bytes = "@"}},
		    {KV_META, {.len = 13, .bytes = "blobs"}}};
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = *(bool *)arg ? kv_del(txn, rows[i].table, mail_key_span(&rows[i].key))
				  : kv_put(txn, rows[i].table, mail_key_span(&rows[i].key),
					   shelf_span("\001short", 6));
	return rc;
}

/* Sums that are lost or cannot be read are a finding, and no reason to refuse or to keep mail. */
START_TEST(damaged_sums_stop_nothing)
{
	bool lost = _i == 1;
	struct shelf_uidset *all = rig_set(1, 10);

	rig_open(&r, &one_part);
	rig_append(&r, r.joe, r.inbox, "one", 0);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, cut_short, &lost), 0);
	rig_append(&r, r.joe, r.inbox, "two", 0);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, all, 0, NULL), 0);
	rig_append(&r, r.joe, r.inbox, "three", 0);
	add_account("new");
	ck_assert_int_eq(shelf_account_delete(r.store, r.ann), 0);
	purge_all();
	ck_assert_uint_gt(rig_findings(&r), 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 1);
	shelf_uidset_free(&all);
	shelf_store_close(&r.store);
	support_rmtree(r.dir);
}
END_TEST

/* ---- A store of an older release --------------------------------------------------------------------------- */

enum { NOTE_BYTES = 5, SENT_BYTES = 8, ACCT_OLD = 73, SUMS_BYTES = 16 };

struct rewrite {
	uint32_t account; /* 0: the partition's own */
	enum kv_table table;
	struct shelf_span from; /* of keys */
	bool (*as_old)(enum kv_table table, const struct mail_key *key, struct shelf_buf *value);
};

/* Every row of a table through AS_OLD: false removes it. */
static int
rewrite(struct kv_txn *txn, void *arg)
{
	struct rewrite *w = arg;
	struct shelf_buf value = {0};
	struct mail_key key = {.len = 0};
	struct shelf_span k, v;
	struct kv_scan scan;
	int rc;

	for (;;) {
		if ((rc = kv_scan_open(kv_txn_view(txn), w->table, w->from, mail_key_span(&key), &scan)) != 0)
			return rc;
		if ((rc = kv_scan_next(&scan, &k, &v)) == 1) {
			memcpy(key.bytes, k.data, k.len);
			key.len = k.len;
			shelf_buf_clear(&value);
			shelf_buf_add_span(&value, v);
		}
		kv_scan_close(&scan);
		if (rc != 1)
			break;
		rc = w->as_old(w->table, &key, &value)
			 ? kv_put(txn, w->table, mail_key_span(&key), shelf_buf_span(&value))
			 : kv_del(txn, w->table, mail_key_span(&key));
		if (rc != 0)
			break;
		key.bytes[key.len++] = 0;
	}
	shelf_buf_free(&value);
	return rc;
}

/* The layouts of docs/storage-format.md, without what this release added. */
static bool
as_old(enum kv_table table, const struct mail_key *key, struct shelf_buf *value)
{
	switch (table) {
	case KV_ACCT:
		value->data[0] = 1;
		value->len = ACCT_OLD;
		return true;
	case KV_MBOX:
		value->data[0] = 1;
		value->len -= SUMS_BYTES;
		return true;
	case KV_MSG:
	case KV_GONE:
		value->len -= NOTE_BYTES + (value->data[0] == 3 ? SENT_BYTES : 0);
		value->data[0] = 1;
		return true;
	case KV_BLOB:
		memset(value->data + 57, 0, 4); /* bytes of derived data: not known */
		return true;
	case KV_JOB:
		value->len = key->bytes[0] == 'S' ? 8 : 0;
		return true;
	default:
		return false; /* DOMAIN, the sums in META */
	}
}

static void
make_old(const uint32_t *accounts, size_t n)
{
	static const enum kv_table of_account[] = {KV_ACCT, KV_MBOX, KV_MSG, KV_GONE};
	static const enum kv_table of_shard[] = {KV_BLOB, KV_JOB, KV_DOMAIN, KV_META};
	struct rewrite w = {.as_old = as_old};

	for (size_t i = 0; i < n; i++)
		for (size_t t = 0; t < 4; t++) {
			w.table = of_account[t];
			ck_assert_int_eq(kv_update(r.store->kv, accounts[i], 0, rewrite, &w), 0);
		}
	for (uint32_t shard = 0; shard < kv_shards(r.store->kv); shard++)
		for (size_t t = 0; t < 4; t++) {
			w.table = of_shard[t];
			w.from = shelf_span("blobs", w.table == KV_META ? 5 : 0);
			ck_assert_int_eq(kv_update_shard(r.store->kv, shard, 0, rewrite, &w), 0);
		}
}

static void
catch_up(void)
{
	int rc;

	while ((rc = shelf_stats_catch_up(r.store, 0)) == 1)
		;
	ck_assert_int_eq(rc, 0);
}

START_TEST(an_old_store_is_counted_beside_its_changes)
{
	struct shelf_partition_stats before, after, p;
	uint32_t accounts[2], box, old;
	int rc;

	rig_open(&r, &one_part);
	accounts[0] = r.joe;
	accounts[1] = r.ann;
	box = rig_create(&r, r.joe, "box");
	old = rig_create(&r, r.joe, "old");
	rig_fill(&r, r.joe, r.inbox, 450);
	rig_fill(&r, r.joe, old, 130);
	deliver(accounts, 2, "both", 3000);
	copy(r.joe, r.inbox, box, 5, 50, false);
	expunge(r.joe, r.inbox, 10, 150);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("old")), 0);
	before = whole();
	make_old(accounts, 2);
	p = whole();
	ck_assert_uint_eq(p.totals.accounts + p.totals.message_bytes + p.bodies, 0);
	ck_assert_uint_eq(p.uncounted_accounts, 2);
	ck_assert_uint_eq(p.uncounted_bodies, before.bodies);
	ck_assert_uint_eq(totals(r.joe).noted_messages, 0);
	ck_assert_uint_eq(totals(r.joe).message_bytes + totals(r.ann).message_bytes, before.totals.message_bytes);
	ck_assert_uint_eq(rig_findings(&r), 0);
	while ((rc = shelf_stats_catch_up(r.store, 0)) == 1)
		ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(rc, 0);
	after = whole();
	ck_assert_uint_eq(after.uncounted_accounts + after.uncounted_bodies, 0);
	ck_assert_uint_eq(after.physical_bytes, before.physical_bytes);
	ck_assert_uint_eq(after.gross_bytes, before.gross_bytes);
	ck_assert_uint_eq(after.totals.message_bytes, before.totals.message_bytes);
	ck_assert_uint_eq(after.totals.stored_bytes, before.totals.stored_bytes);
	ck_assert_uint_eq(after.totals.held_stored_bytes, before.totals.held_stored_bytes);
	ck_assert_uint_eq(after.totals.noted_messages, before.totals.noted_messages);
	/* Nothing is left to do, so nothing is written. */
	ck_assert_int_eq(shelf_stats_catch_up(r.store, 0), 1);
	catch_up();
	rig_close(&r);
}
END_TEST

/* ---- Random operations -------------------------------------------------------------------------------------- */

struct world {
	uint32_t account[ACCOUNTS];
	unsigned made;
};

static void
replace_account(struct world *w, unsigned i)
{
	static const char *const domain_of[] = {"", "@one.example", "@two.example"};
	char buf[64];

	if (w->account[i] != 0)
		ck_assert_int_eq(shelf_account_delete(r.store, w->account[i]), 0);
	snprintf(buf, sizeof(buf), "u%u%s", w->made, domain_of[w->made % 3]);
	w->made++;
	w->account[i] = add_account(buf);
	rig_create(&r, w->account[i], "box");
}

static int
pick_deleted(void *arg, const struct shelf_deleted_mailbox *m)
{
	*(uint32_t *)arg = m->id;
	return 1;
}

static void
change_mailboxes(uint32_t account)
{
	struct shelf_buf name = {0};
	uint32_t id = 0;
	int rc;

	if (chance(2) == 0) {
		rc = shelf_mailbox_delete(r.store, account, shelf_span_str("box"));
		ck_assert(rc == 0 || rc == SHELF_ENOMAILBOX);
	} else if (shelf_deleted_mailbox_each(r.store, account, pick_deleted, &id) == 1) {
		rc = shelf_mailbox_restore(r.store, account, id, shelf_span_str(""), &name);
		ck_assert(rc == 0 || rc == SHELF_ENOMAILBOX);
	}
	shelf_buf_free(&name);
}

static uint32_t
box_of(uint32_t account)
{
	struct shelf_mailbox row;
	struct shelf_rd *rd = NULL;
	uint32_t id = r.inbox;

	ck_assert_int_eq(shelf_rd_begin(r.store, account, &rd), 0);
	if (shelf_mailbox_find(rd, shelf_span_str("box"), &row) == 0)
		id = row.id;
	shelf_rd_end(&rd);
	return id;
}

static void
one_op(struct world *w)
{
	uint32_t account = w->account[chance(ACCOUNTS)], box = box_of(account);
	uint32_t uid = 1 + chance(rig_mailbox(&r, account, r.inbox).uidnext), last = uid + chance(8);
	struct shelf_restored restored = {0};
	char text[32];

	snprintf(text, sizeof(text), "m%u", chance(1000000));
	switch (chance(12)) {
	case 0:
	case 1:
	case 2:
		deliver(w->account, 1 + chance(ACCOUNTS), text, chance(6000));
		break;
	case 3:
		rig_append(&r, account, box, text, chance(2) * SHELF_DELETED);
		break;
	case 4:
	case 5:
		copy(account, r.inbox, box, uid, last, chance(2) == 0);
		break;
	case 6:
	case 7:
		expunge(account, chance(3) == 0 ? box : r.inbox, uid, last);
		break;
	case 8:
		ck_assert_int_eq(shelf_restore(r.store, account, r.inbox, NULL, 0, &restored), 0);
		break;
	case 9:
		change_mailboxes(account);
		break;
	case 10:
		ck_assert_int_ge(shelf_store_purge(r.store, 1), 0);
		break;
	default:
		if (chance(5) == 0)
			replace_account(w, chance(ACCOUNTS));
		break;
	}
}

/* From one level to the next. */
static void
compare_levels(const struct world *w)
{
	struct shelf_totals accounts = {0}, sum = {0}, t;
	struct shelf_partition_stats all = whole();
	struct seen seen = domains();

	for (uint32_t i = 0; i < kv_shards(r.store->kv); i++) {
		t = partition(i).totals;
		mail_totals_add(&sum, &t);
	}
	ck_assert(memcmp(&sum, &all.totals, sizeof(sum)) == 0);
	ck_assert(memcmp(&sum, &seen.sum, sizeof(sum)) == 0);
	if (all.uncounted_accounts != 0)
		return;
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		t = totals(w->account[i]);
		mail_totals_add(&accounts, &t);
	}
	t = totals(r.joe);
	mail_totals_add(&accounts, &t);
	t = totals(r.ann);
	mail_totals_add(&accounts, &t);
	/* One that was deleted stays until its removal begins. */
	if (accounts.accounts == all.totals.accounts)
		ck_assert(memcmp(&accounts, &all.totals, sizeof(accounts)) == 0);
	if (accounts.accounts == all.totals.accounts && all.uncounted_bodies == 0 &&
	    accounts.noted_messages == accounts.messages + accounts.held_messages)
		ck_assert_uint_eq(all.gross_bytes, accounts.stored_bytes + accounts.held_stored_bytes);
}

/* Half of the seeds begin with rows of an older release; a quarter lets held mail go after a second. */
START_TEST(random_operations_keep_every_sum)
{
	struct shelf_store_params params = {.partitions = 2,
					    .map_bytes = 64u << 20,
					    .reserve_bytes = 1u << 20,
					    .hold_s = _i % 4 == 3 ? 1 : 0};
	struct world w = {.made = 0};
	struct shelf_partition_stats p;
	uint32_t all[ACCOUNTS + 2];

	seed = 4711 + (uint64_t)_i;
	rig_open(&r, &params);
	for (unsigned i = 0; i < ACCOUNTS; i++)
		replace_account(&w, i);
	for (unsigned i = 0; i < OPS; i++) {
		one_op(&w);
		if (i == OPS / 3 && _i % 2 == 1) {
			purge_all(); /* of accounts under removal make_old knows nothing */
			memcpy(all, w.account, sizeof(w.account));
			all[ACCOUNTS] = r.joe;
			all[ACCOUNTS + 1] = r.ann;
			make_old(all, ACCOUNTS + 2);
		}
		if (i > OPS / 2 && chance(10) == 0)
			ck_assert_int_ge(shelf_stats_catch_up(r.store, 0), 0);
		compare_levels(&w);
		if (i % 10 == 0)
			ck_assert_uint_eq(rig_findings(&r), 0);
	}
	purge_all();
	catch_up();
	catch_up();
	p = whole();
	ck_assert_uint_eq(p.uncounted_accounts + p.uncounted_bodies + p.waiting_bytes, 0);
	ck_assert_uint_eq(p.totals.accounts, ACCOUNTS + 2);
	ck_assert_uint_eq(p.totals.noted_messages, p.totals.messages + p.totals.held_messages);
	ck_assert_uint_eq(p.gross_bytes, p.totals.stored_bytes + p.totals.held_stored_bytes);
	compare_levels(&w);
	rig_close(&r);
}
END_TEST

Suite *suite_stats(void);
Suite *
suite_stats(void)
{
	Suite *s = suite_create("stats");
	TCase *tc = tcase_create("stats");

	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, a_body_for_two_is_stored_once_and_shared_once);
	tcase_add_test(tc, from_live_to_held_to_nothing);
	tcase_add_test(tc, a_body_nobody_refers_to_waits);
	tcase_add_test(tc, a_large_message_that_fails_was_staged);
	tcase_add_test(tc, a_deleted_mailbox_goes_and_comes_as_a_whole);
	tcase_add_test(tc, what_moves_brought_its_body_in_all_the_same);
	tcase_add_test(tc, domains_lie_across_partitions);
	tcase_add_test(tc, a_name_given_twice_counts_once);
	tcase_add_loop_test(tc, damaged_sums_stop_nothing, 0, 2);
	tcase_add_test(tc, an_old_store_is_counted_beside_its_changes);
	tcase_add_loop_test(tc, random_operations_keep_every_sum, 0, 8);
	suite_add_tcase(s, tc);
	return s;
}
