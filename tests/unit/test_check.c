/*
 * test_check.c - each numbered invariant of docs/storage-format.md, broken alone, is found; nothing else is
 *
 * Each row of the table is a store with mail of all kinds, one row of it changed behind the engine's back.
 * The check must find the invariant, may find what follows from it, and must be silent when the row is as
 * it was again. It is run with slices of every length and with several windows of blobs.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/metadata.h>
#include <mailshelf/restore.h>

#include "mail_check.h"
#include "store_rig.h"

static struct rig r;

/* ---- A store with something of everything ---------------------------------------------------------------- */

/* One for bodies, one for derived data, in joe's partition. */
static int
add_dicts(struct kv_txn *txn, void *arg)
{
	static const char words[] = "Subject: both and fill, and deleted\r\n\r\nto begin with\r\n";
	uint32_t id;
	int rc = blob_dict_add(txn, BLOB_BODY, 0, shelf_span_str(words), &id);

	return rc != 0 ? rc : blob_dict_add(txn, BLOB_DERIVED, 0, shelf_span_str(words + 1), &id);
}

/* INBOX: 1..300 without 7 and 8, which are held, and 9, which went to "box" (id 2), where three copies are; "old":
 * deleted, with one. Three messages to both accounts, one of a megabyte. */
static void
fill(void)
{
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result result[2];
	struct shelf_copy_result copied = {.from_uids = shelf_uidset_new(),
	    .to_uids = shelf_uidset_new()};
	struct shelf_delivery to[2] = {{.account = r.joe}, {.account = r.ann}};
	struct shelf_span heads[2] = {shelf_span_str("Delivered-To: joe\r\n"), shelf_span_str("Delivered-To: ann\r\n")};
	struct shelf_uidset *three = rig_set(3, 5), *two = rig_set(7, 8), *nine = rig_set(9, 9),
			   *last = rig_set(270, 280);
	uint32_t old, shard;

	ck_assert_int_eq(kv_shard_of(r.store->kv, r.joe, &shard), 0);
	ck_assert_int_eq(kv_update_shard(r.store->kv, shard, 0, add_dicts, NULL), 0);
	rig_fill(&r, r.joe, r.inbox, 295);
	ck_assert_int_eq(shelf_deliver_note(r.store, r.joe, (const uint8_t *)"sixteen bytes id"), 0);
	ck_assert_uint_eq(rig_create(&r, r.joe, "box"), 2);
	for (unsigned i = 0; i < 5; i++) {
		item.draft = rig_draft(&r, "both", i == 4 ? 1 << 20 : 100 + i);
		for (unsigned k = 0; k < 2; k++)
			to[k].head = i >= 3 ? heads[k] : shelf_span(NULL, 0);
		shelf_deliver(r.store, item.draft, to, 2, result);
		ck_assert_int_eq(result[0].rc | result[1].rc, 0);
		shelf_draft_free(&item.draft);
	}
	rig_flag(&r, r.joe, r.inbox, 10, 20, SHELF_FLAGS_ADD, SHELF_SEEN, "$k");
	rig_flag(&r, r.joe, r.inbox, 30, 31, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, 2, three, false, &copied), 0);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, two, 0, NULL), 0);
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, 2, nine, true, &copied), 0);
	old = rig_create(&r, r.joe, "old");
	rig_append(&r, r.joe, old, "deleted", 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("old")), 0);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("loose"), true), 0);
	ck_assert_int_eq(shelf_metadata_set(r.store, r.joe, 2, &(struct shelf_metadata){
	    shelf_span_str("/shared/comment"), shelf_span_str("note")}, 1, NULL), 0);
	ck_assert_int_eq(shelf_acl_set(r.store, r.joe, 2, shelf_span_str("ann"), SHELF_ACL_SET, 3), 0);
	ck_assert_int_eq(shelf_pop3_note(r.store, r.joe, r.inbox, &(struct shelf_pop3_note){.fetched = last,
	    .fetched_s = 1700000000, .hide = last}), 0);
	ck_assert_int_eq(shelf_uidl_set(r.store, r.joe, r.inbox, 270, shelf_span_str("other")), 0);
	shelf_uidset_free(&last);
	ck_assert_int_eq(shelf_scram_prepare(r.store), 0);
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
	shelf_uidset_free(&three);
	shelf_uidset_free(&two);
	shelf_uidset_free(&nine);
}

/* ---- Damage ---------------------------------------------------------------------------------------------- */

enum owner { JOE, SHARD, CATALOG, ELSEWHERE /* joe, in the partition where he does not live */ };
enum how { FLIP, ZERO, GONE, MADE };

/* Flips bit 0 of byte AT, zeroes four bytes, removes the row, or makes one that is not there. */
static const struct damage {
	const char *what;
	unsigned invariant, also; /* also: bits of those that may be found too */
	enum owner owner;
	enum kv_table table;
	enum how how;
	size_t at;
	const char *key; /* hexadecimal; NULL: the table's first */
} damages[] = {
#define ALSO(n) (1u << (n))
	{"summary: present", 1, 0, JOE, KV_FSUM, FLIP, 1, NULL},
	{"summary: a block", 1, 0, JOE, KV_FSUM, FLIP, 21, NULL},
	{"summary: unreadable", 1, 0, JOE, KV_FSUM, FLIP, 0, NULL},
	{"summary: lost", 1, 0, JOE, KV_FSUM, GONE, 0, NULL},
	{"mailbox: messages", 1, 0, JOE, KV_MBOX, FLIP, 21, NULL},
	{"mailbox: unseen", 1, 0, JOE, KV_MBOX, FLIP, 25, NULL},
	{"mailbox: deleted", 1, 0, JOE, KV_MBOX, FLIP, 29, NULL},
	{"mailbox: bytes", 1, 0, JOE, KV_MBOX, FLIP, 33, NULL},
	{"mailbox: deleted bytes", 1, 0, JOE, KV_MBOX, FLIP, 41, NULL},
	{"account: used bytes", 2, ALSO(13), JOE, KV_ACCT, FLIP, 37, NULL},
	{"account: used messages", 2, ALSO(13), JOE, KV_ACCT, FLIP, 45, NULL},
	{"account: held bytes", 2, ALSO(13), JOE, KV_ACCT, FLIP, 53, NULL},
	{"account: held messages", 2, ALSO(13), JOE, KV_ACCT, FLIP, 61, NULL},
	{"message row: lost", 3, ALSO(1) | ALSO(2) | ALSO(4) | ALSO(12), JOE, KV_MSG, GONE, 0, NULL},
	{"message row: format", 3, ALSO(1) | ALSO(2) | ALSO(4) | ALSO(12), JOE, KV_MSG, FLIP, 0, NULL},
	{"page: lost", 3, ALSO(1) | ALSO(5), JOE, KV_FPAGE, GONE, 0, NULL},
	{"page: format", 3, ALSO(1) | ALSO(5), JOE, KV_FPAGE, FLIP, 0, NULL},
	{"mailbox: lost", 3, ALSO(2) | ALSO(9) | ALSO(12), JOE, KV_MBOX, GONE, 0, NULL},
	{"message row: size", 4, ALSO(1) | ALSO(2), JOE, KV_MSG, FLIP, 19, NULL},
	{"message row: email id", 4, 0, JOE, KV_MSG, FLIP, 35, NULL},
	{"message row: blob", 4, 0, JOE, KV_MSG, FLIP, 28, NULL},
	{"held row: email id", 4, 0, JOE, KV_GONE, FLIP, 90, NULL},
	{"blob: references", 4, ALSO(14), SHARD, KV_BLOB, FLIP, 1, NULL},
	{"blob: row lost", 4, ALSO(11) | ALSO(14), SHARD, KV_BLOB, GONE, 0, NULL},
	{"blob: row format", 4, ALSO(11) | ALSO(6) | ALSO(14), SHARD, KV_BLOB, FLIP, 0, NULL},
	{"mailbox: UIDNEXT", 5, 0, JOE, KV_MBOX, FLIP, 10, NULL},
	{"account: last UIDVALIDITY", 5, 0, JOE, KV_ACCT, ZERO, 13, NULL},
	{"account: next mailbox", 5, 0, JOE, KV_ACCT, ZERO, 9, NULL},
	{"account: modseq", 5, ALSO(16) | ALSO(17) | ALSO(25), JOE, KV_ACCT, ZERO, 1, NULL},
	{"page: highest modseq", 5, ALSO(1), JOE, KV_FPAGE, FLIP, 14, NULL},
	{"chunk: a byte", 6, 0, SHARD, KV_CHUNK, FLIP, 20, NULL},
	{"chunk: lost", 6, 0, SHARD, KV_CHUNK, GONE, 0, NULL},
	{"blob: checksum", 6, ALSO(4), SHARD, KV_BLOB, FLIP, 21, NULL},
	{"date: lost", 7, 0, JOE, KV_DUE, GONE, 0, NULL},
	{"date: of nothing", 7, 0, JOE, KV_DUE, MADE, 0, "7fffffff0000000100000009"},
	{"date: format", 7, 0, JOE, KV_DUE, FLIP, 0, NULL},
	{"guard: format", 7, 0, JOE, KV_GUARD, FLIP, 0, NULL},
	{"held row: lost", 7, ALSO(2) | ALSO(4) | ALSO(12), JOE, KV_GONE, GONE, 0, NULL},
	{"held row: format", 7, ALSO(2) | ALSO(4) | ALSO(12), JOE, KV_GONE, FLIP, 0, NULL},
	{"derived data: a byte", 8, 0, SHARD, KV_DERIVED, FLIP, 2, NULL},
	{"derived data: lost", 8, 0, SHARD, KV_DERIVED, GONE, 0, NULL},
	{"name: its mailbox", 9, 0, JOE, KV_MNAME, FLIP, 1, "494e424f58"},
	{"name: lost", 9, 0, JOE, KV_MNAME, GONE, 0, "494e424f58"},
	{"account: mailboxes", 9, 0, JOE, KV_ACCT, FLIP, 17, NULL},
	{"account: loose subscriptions", 9, 0, JOE, KV_ACCT, FLIP, 69, NULL},
	{"mailbox: format", 9, ALSO(2) | ALSO(3) | ALSO(12), JOE, KV_MBOX, FLIP, 0, NULL},
	{"user: format", 10, 0, CATALOG, KV_USER, FLIP, 0, NULL},
	{"user: lost", 10, 0, CATALOG, KV_USER, GONE, 0, NULL},
	{"address: lost", 10, 0, CATALOG, KV_ADDR, GONE, 0, NULL},
	{"address: another account", 10, 0, CATALOG, KV_ADDR, FLIP, 3, NULL},
	{"account row: lost", 10, ALSO(13), JOE, KV_ACCT, GONE, 0, NULL},
	{"account row: format", 10, ALSO(13), JOE, KV_ACCT, FLIP, 0, NULL},
	{"dictionary: a byte", 11, 0, SHARD, KV_DICT, FLIP, 3, "0000000100000001"},
	{"dictionary: head lost", 11, ALSO(6) | ALSO(8), SHARD, KV_DICT, GONE, 0, "0000000100000000"},
	{"dictionary: of nobody", 11, 0, SHARD, KV_DICT, MADE, 0, "0000000900000000"},
	{"dictionaries: uses", 11, 0, SHARD, KV_META, FLIP, 17, "6469637473"},
	{"dictionaries: an id", 11, 0, SHARD, KV_META, ZERO, 13, "6469637473"},
	{"account: stored", 12, ALSO(13), JOE, KV_ACCT, FLIP, 73, NULL},
	{"account: shared of held", 12, ALSO(13), JOE, KV_ACCT, FLIP, 97, NULL},
	{"account: rows noted", 12, ALSO(13), JOE, KV_ACCT, FLIP, 105, NULL},
	{"mailbox: stored", 12, 0, JOE, KV_MBOX, FLIP, 75, NULL},
	{"message row: stored", 12, 0, JOE, KV_MSG, FLIP, 51, NULL},
	{"held row: stored", 12, 0, JOE, KV_GONE, FLIP, 103, NULL},
	{"message row: time sent", 22, 0, JOE, KV_MSG, FLIP, 56, NULL},
	{"held row: time sent", 22, 0, JOE, KV_GONE, FLIP, 108, NULL},
	{"account: in the totals", 13, 0, JOE, KV_ACCT, FLIP, 113, NULL},
	{"partition: accounts", 13, 0, SHARD, KV_DOMAIN, FLIP, 1, "2a"},
	{"partition: rows noted", 13, 0, SHARD, KV_DOMAIN, FLIP, 73, "2a"},
	{"domain: held bytes", 13, 0, SHARD, KV_DOMAIN, FLIP, 49, "40"},
	{"domain: lost", 13, 0, SHARD, KV_DOMAIN, GONE, 0, "40"},
	{"domain: of nobody", 13, 0, SHARD, KV_DOMAIN, MADE, 0, "407a7a"},
	{"sums of blobs: bytes", 14, 0, SHARD, KV_META, FLIP, 17, "626c6f6273"},
	{"sums of blobs: waiting", 14, 0, SHARD, KV_META, FLIP, 49, "626c6f6273"},
	{"sums of blobs: lost", 14, 0, SHARD, KV_META, GONE, 0, "626c6f6273"},
	{"account: what changed last", 17, 0, JOE, KV_ACCT, FLIP, 130, NULL},
	{"copy of a dictionary: its bytes", 24, 0, CATALOG, KV_DICTCOPY, FLIP, 1, NULL},
	{"moved: format", 16, 0, JOE, KV_MOVED, FLIP, 0, NULL},
	{"moved: where from", 16, 0, JOE, KV_MOVED, ZERO, 1, NULL},
	{"moved: where to", 16, 0, JOE, KV_MOVED, FLIP, 10, NULL},
	{"moved: modseq", 16, 0, JOE, KV_MOVED, FLIP, 18, NULL},
	{"mail that comes again: format", 29, 0, JOE, KV_ONCE, FLIP, 0, NULL},
	{"mail that comes again: an id", 29, 0, JOE, KV_ONCE, MADE, 0, "00004e20"},
	{"access control: format", 18, ALSO(19), JOE, KV_ACL, FLIP, 0, NULL},
	{"access control: another name", 18, ALSO(19), JOE, KV_ACL, FLIP, 6, NULL},
	{"access control: unknown rights", 18, ALSO(19), JOE, KV_ACL, FLIP, 3, NULL},
	{"annotation: format", 25, 0, JOE, KV_NOTE, FLIP, 0, NULL},
	{"annotation: size", 25, 0, JOE, KV_NOTE, FLIP, 1, NULL},
	{"annotation: modseq", 25, 0, JOE, KV_NOTE, FLIP, 12, NULL},
	{"annotation: a part of nothing", 25, 0, JOE, KV_NOTE, MADE, 0, "000000022f736861726564000001"},
	{"pop3: format", 26, 0, JOE, KV_POP3, FLIP, 0, NULL},
	{"pop3: bytes", 26, 0, JOE, KV_POP3, FLIP, 1, NULL},
	{"pop3: hides what is not there", 26, 0, JOE, KV_POP3, FLIP, 40, NULL},
	{"pop3: hides no more", 26, 0, JOE, KV_POP3, ZERO, 9, NULL},
	{"pop3: of no mailbox", 26, 0, JOE, KV_POP3, MADE, 0, "0000471100000000"},
	{"unique-id: of the message lost", 27, 0, JOE, KV_UIDL, GONE, 0, "00000000010000010e"},
	{"unique-id: of the text lost", 27, 0, JOE, KV_UIDL, GONE, 0, "016f74686572"},
	{"unique-id: another one", 27, 0, JOE, KV_UIDL, FLIP, 4, "00000000010000010e"},
	{"unique-id: of another message", 27, 0, JOE, KV_UIDL, FLIP, 7, "016f74686572"},
	{"move that has not ended: a row", 30, 0, JOE, KV_CROSS, MADE, 0, "00000000010000000000000001"},
	{"index of shares: lost", 19, 0, CATALOG, KV_SHARED, GONE, 0, NULL},
	{"index of shares: format", 19, 0, CATALOG, KV_SHARED, FLIP, 0, NULL},
	{"accounts without keys", 28, 0, CATALOG, KV_GLOBAL, FLIP, 3, "6b65796c657373"},
	{"message row: of an account elsewhere", 21, 0, ELSEWHERE, KV_MSG, MADE, 0, "0000000100000001"},
	{"name: of an account elsewhere", 21, 0, ELSEWHERE, KV_MNAME, MADE, 0, "7a"},
	{"left: unreadable", 21, 0, SHARD, KV_LEFT, MADE, 0, "00004711"},
	{"pool: unreadable", 31, 0, SHARD, KV_POOL, MADE, 0, "40787878"},
	{"expiry: unreadable", 23, 0, CATALOG, KV_EXPIRE, MADE, 0, "2a0000000001"},
	{"blob: bytes of derived data", 14, 0, SHARD, KV_BLOB, FLIP, 57, NULL},
};

struct row {
	const struct damage *d;
	struct mail_key key;
	struct shelf_buf value;
	bool spoil;
};

static int
find_row(struct kv_txn *txn, struct row *row)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(kv_txn_view(txn), row->d->table, shelf_span(NULL, 0),
	    mail_key_span(&row->key), &scan);

	if (rc != 0)
		return rc;
	rc = kv_scan_next(&scan, &key, &value);
	ck_assert_int_eq(rc, 1);
	memcpy(row->key.bytes, key.data, key.len);
	row->key.len = key.len;
	shelf_buf_clear(&row->value);
	shelf_buf_add_span(&row->value, value);
	kv_scan_close(&scan);
	return 0;
}

static void
read_hex(const char *hex, struct mail_key *key)
{
	unsigned byte;

	for (key->len = 0; hex != NULL && sscanf(hex, "%2x", &byte) == 1; hex += 2)
		key->bytes[key->len++] = (uint8_t)byte;
}

static int
spoil(struct kv_txn *txn, struct row *row)
{
	struct shelf_buf b = {0};
	int rc = 0;

	read_hex(row->d->key, &row->key);
	if (row->d->how == MADE)
		return kv_put(txn, row->d->table, mail_key_span(&row->key), shelf_span(NULL, 0));
	if ((rc = find_row(txn, row)) != 0 || row->d->how == GONE)
		return rc != 0 ? rc : kv_del(txn, row->d->table, mail_key_span(&row->key));
	ck_assert_uint_lt(row->d->at, row->value.len);
	shelf_buf_add_span(&b, shelf_buf_span(&row->value));
	if (row->d->how == ZERO)
		memset(b.data + row->d->at, 0, 4);
	else
		b.data[row->d->at] ^= 1;
	rc = kv_put(txn, row->d->table, mail_key_span(&row->key), shelf_buf_span(&b));
	shelf_buf_free(&b);
	return rc;
}

static int
damage(struct kv_txn *txn, void *arg)
{
	struct row *row = arg;

	if (row->d->owner == ELSEWHERE)
		kv_txn_set_account(txn, r.joe);
	if (row->spoil)
		return spoil(txn, row);
	if (row->d->how == MADE)
		return kv_del(txn, row->d->table, mail_key_span(&row->key));
	return kv_put(txn, row->d->table, mail_key_span(&row->key), shelf_buf_span(&row->value));
}

static void
change(struct row *row, bool to_damaged)
{
	uint32_t shard;

	row->spoil = to_damaged;
	if (row->d->owner == SHARD || row->d->owner == ELSEWHERE) {
		ck_assert_int_eq(kv_shard_of(r.store->kv, r.joe, &shard), 0);
		if (row->d->owner == ELSEWHERE)
			shard = 1 - shard;
		ck_assert_int_eq(kv_update_shard(r.store->kv, shard, 0, damage, row), 0);
		return;
	}
	ck_assert_int_eq(kv_update(r.store->kv, row->d->owner == JOE ? r.joe : KV_CATALOG, 0, damage,
	    row), 0);
}

static void
on_finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	unsigned *found = arg;

	if ((*found & 1u << invariant) == 0)
		printf("%u: account %u: %s\n", invariant, account, text);
	*found |= 1u << invariant;
}

static unsigned
findings(void)
{
	unsigned found = 0;

	ck_assert_int_eq(shelf_store_check(r.store, NULL, on_finding, &found), 0);
	return found;
}

START_TEST(a_broken_invariant_is_found)
{
	static const struct {
		int64_t slice_ms;
		uint64_t window;
	} ways[] = {{500, 8 << 20}, {0, 3}};
	struct row row = {.d = &damages[_i]};

	rig_open(&r, NULL);
	fill();
	printf("%s\n", row.d->what);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		unsigned found;

		check_slice_ms = ways[i].slice_ms;
		check_refs_window = ways[i].window;
		ck_assert_uint_eq(findings(), 0);
		change(&row, true);
		found = findings();
		ck_assert(found & 1u << row.d->invariant);
		ck_assert_uint_eq(found & ~(1u << row.d->invariant | row.d->also), 0);
		change(&row, false);
	}
	shelf_buf_free(&row.value);
	rig_close(&r);
}
END_TEST

/* ---- Writers that never rest ------------------------------------------------------------------------------ */

static atomic_bool stop;
static atomic_uint writes, delivered;

/* Flags, copies and deliveries: nothing stays as a slice has read it. */
static void *
write_all_the_time(void *arg)
{
	const struct shelf_flag_change flip[2] = {
	    {.op = SHELF_FLAGS_ADD, .flags = SHELF_FLAGGED, .unchanged_since = UINT64_MAX},
	    {.op = SHELF_FLAGS_REMOVE, .flags = SHELF_FLAGGED, .unchanged_since = UINT64_MAX}};
	struct shelf_delivery to[2] = {{.account = r.joe}, {.account = r.ann}};
	struct shelf_uidset *all = rig_set(1, UINT32_MAX);
	struct shelf_append_result result[2];
	struct shelf_draft *draft = rig_draft(&r, "again", 100);

	for (unsigned n = 0; !atomic_load(&stop); n++) {
		int rc = shelf_msg_set_flags(r.store, r.joe, n % 4 < 2 ? r.inbox : 2, all, &flip[n % 2], NULL, NULL);

		if (rc == 0 && n % 8 == 0) {
			shelf_deliver(r.store, draft, to, 2, result);
			rc = result[0].rc != 0 ? result[0].rc : result[1].rc;
			atomic_fetch_add(&delivered, 1);
		}
		if (rc != 0)
			abort();
		atomic_fetch_add(&writes, 1);
	}
	shelf_draft_free(&draft);
	shelf_uidset_free(&all);
	return NULL;
}

START_TEST(writers_that_never_rest_are_kept_out_for_a_moment)
{
	unsigned before = check_doors_closed, written;
	pthread_t writer;

	rig_open(&r, NULL);
	fill();
	check_slice_ms = 0;
	check_refs_window = 3;
	check_impatient = true;
	ck_assert_int_eq(pthread_create(&writer, NULL, write_all_the_time, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(findings(), 0);
	check_impatient = false;
	ck_assert_uint_eq(findings(), 0);
	ck_assert_uint_gt(check_doors_closed, before + 9);
	/* They go on. */
	written = atomic_load(&writes);
	while (atomic_load(&writes) < written + 10)
		sched_yield();
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
	for (uint32_t shard = 0; shard < kv_shards(r.store->kv); shard++) {
		struct kv_stats st;

		ck_assert_int_eq(kv_stats(r.store->kv, shard, &st), 0);
		ck_assert_uint_eq(st.slow_views, 0);
	}
	check_slice_ms = 500;
	check_refs_window = 8 << 20;
	rig_close(&r);
}
END_TEST

/* ---- Repair ---------------------------------------------------------------------------------------------- */

struct repairs {
	unsigned findings, repairs;
};

static void
count_finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	((struct repairs *)arg)->findings++;
}

static void
count_repair(void *arg, uint32_t account, const char *text)
{
	printf("repaired: account %u: %s\n", account, text);
	((struct repairs *)arg)->repairs++;
}

static bool
is_counter(const struct damage *d)
{
	static const struct {
		enum kv_table table;
		size_t first, last;
	} counters[] = {{KV_MBOX, 21, 48}, {KV_MBOX, 75, 90}, {KV_ACCT, 17, 17}, {KV_ACCT, 37, 112},
	    {KV_DOMAIN, 9, 80}};

	for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
		if (d->how == FLIP && d->table == counters[i].table && d->at >= counters[i].first &&
		    d->at <= counters[i].last)
			return true;
	return false;
}

static int
compare_row(struct kv_txn *txn, void *arg)
{
	struct row *row = arg;
	struct shelf_span value;
	int rc;

	if (row->d->owner == ELSEWHERE)
		kv_txn_set_account(txn, r.joe);
	rc = kv_get(kv_txn_view(txn), row->d->table, mail_key_span(&row->key), &value);
	row->spoil = rc != 0 || !shelf_span_eq(value, shelf_buf_span(&row->value));
	return 0;
}

/* Is the row another than it was before it was changed? */
static bool
still_differs(struct row *row)
{
	uint32_t shard;

	ck_assert_int_eq(kv_shard_of(r.store->kv, r.joe, &shard), 0);
	if (row->d->owner == SHARD)
		ck_assert_int_eq(kv_update_shard(r.store->kv, shard, 0, compare_row, row), 0);
	else if (row->d->owner == ELSEWHERE)
		ck_assert_int_eq(kv_update_shard(r.store->kv, 1 - shard, 0, compare_row, row), 0);
	else
		ck_assert_int_eq(kv_update(r.store->kv, row->d->owner == JOE ? r.joe : KV_CATALOG, 0, compare_row,
		    row), 0);
	return row->spoil;
}

/* A counter becomes what it was, byte by byte. Costs of a row are what the sums follow. All else stays. */
START_TEST(counters_are_put_right_and_nothing_else)
{
	const struct damage *d = &damages[_i];
	bool costs = (d->table == KV_MSG && d->at == 51) || (d->table == KV_GONE && d->at == 103);
	struct row row = {.d = d};
	struct repairs n = {0};
	uint64_t left;

	rig_open(&r, NULL);
	fill();
	check_slice_ms = _i % 2 == 0 ? 500 : 0;
	ck_assert_int_eq(shelf_store_repair(r.store, NULL, count_finding, count_repair, &n, &left), 0);
	ck_assert_uint_eq(n.findings + n.repairs + left, 0);
	change(&row, true);
	printf("%s\n", d->what);
	ck_assert_int_eq(shelf_store_repair(r.store, NULL, count_finding, count_repair, &n, &left), 0);
	ck_assert_uint_gt(n.findings, 0);
	if (is_counter(d) || costs) {
		ck_assert_uint_eq(left, 0);
		ck_assert_uint_gt(n.repairs, 0);
		ck_assert_uint_eq(findings(), 0);
		ck_assert(still_differs(&row) == costs);
	} else {
		ck_assert_uint_gt(left, 0);
		ck_assert_uint_ne(findings(), 0);
		if (d->how != MADE)
			ck_assert(still_differs(&row));
		/* Of numbers only those were changed that follow from nothing damaged: as it was, all is right. */
		change(&row, false);
		ck_assert_uint_eq(findings(), 0);
	}
	check_slice_ms = 500;
	shelf_buf_free(&row.value);
	rig_close(&r);
}
END_TEST

START_TEST(repair_beside_a_writer_loses_nothing)
{
	static const struct damage wrong[] = {
	    {"used bytes", 2, 0, JOE, KV_ACCT, FLIP, 37, NULL}, {"messages", 1, 0, JOE, KV_MBOX, FLIP, 22, NULL},
	    {"totals", 13, 0, SHARD, KV_DOMAIN, FLIP, 12, "2a"}};
	struct shelf_quota before, kept, counted;
	pthread_t writer;

	rig_open(&r, NULL);
	fill();
	check_slice_ms = 0;
	atomic_store(&stop, false);
	atomic_store(&delivered, 0);
	ck_assert_int_eq(shelf_quota_check(r.store, r.joe, &before, &counted), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_all_the_time, NULL), 0);
	for (unsigned i = 0; i < 9; i++) {
		struct row row = {.d = &wrong[i % 3]};
		struct repairs n = {0};
		uint64_t left = 1;

		change(&row, true);
		for (unsigned tries = 0; left > 0 && tries < 20; tries++)
			ck_assert_int_eq(shelf_store_repair(r.store, NULL, count_finding, count_repair, &n, &left), 0);
		ck_assert_uint_eq(left, 0);
		ck_assert_uint_gt(n.repairs, 0);
		shelf_buf_free(&row.value);
	}
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
	ck_assert_uint_eq(findings(), 0);
	ck_assert_int_eq(shelf_quota_check(r.store, r.joe, &kept, &counted), 0);
	ck_assert_uint_gt(atomic_load(&delivered), 0);
	ck_assert_uint_eq(kept.used_messages, before.used_messages + atomic_load(&delivered));
	check_slice_ms = 500;
	rig_close(&r);
}
END_TEST

Suite *suite_check(void);
Suite *
suite_check(void)
{
	Suite *s = suite_create("check");
	TCase *tc = tcase_create("invariants");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_broken_invariant_is_found, 0, sizeof damages / sizeof *damages);
	tcase_add_test(tc, writers_that_never_rest_are_kept_out_for_a_moment);
	tcase_add_loop_test(tc, counters_are_put_right_and_nothing_else, 0, sizeof damages / sizeof *damages);
	tcase_add_test(tc, repair_beside_a_writer_loses_nothing);
	suite_add_tcase(s, tc);
	return s;
}
