/*
 * crossing.c - a MOVE between accounts of different partitions, which no transaction spans
 *
 *   target   messages come in, and a note of what is to leave the source        mail_crossing_note
 *   source   they leave it, and the answer: which of them did                   decide
 *   target   copies of those that did not leave are taken back, the note goes   finish
 *   source   the answer goes                                                    forget
 *
 * Each line is a transaction. Where a note is left, by whoever stopped in between, anybody may go on from the second
 * line: the janitor does when a process begins and now and then, and so does a purge.
 *
 * key      side u8: 0 note, in the target, 1 answer, in the source | account of the target u32 | modseq of the first
 *          line's change there u64
 * value    note: 1 | time 8 | source account 4 | its mailbox 4 | mailbox 4 | count 2 | count times uid 4, uid here 4
 *          answer: 1 | count 2 | count times uid 4
 *
 * What must stay true
 *   - Messages leave the source only with an answer in the same transaction, and an answer that is there is never
 *     made anew: who comes second takes it as it is. So it does not matter that a slow one still lives.
 *   - Copies are taken back only together with the note: who finds none has nothing to take back.
 *   - An answer goes after its note.
 */
#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "crossing.h"

enum { FORMAT = 1, NOTE, ANSWER, KEY_BYTES = 13, SLOW_S = 60 };

static struct mail_key
key_of(int side, uint32_t account, uint64_t modseq)
{
	struct mail_key key = {.len = KEY_BYTES};

	key.bytes[0] = side == ANSWER;
	base_put_be32(key.bytes + 1, account);
	base_put_be64(key.bytes + 5, modseq);
	return key;
}

/* ---- Rows ---------------------------------------------------------------------------------------------- */

int
mail_crossing_note(struct mail_change *c, struct mail_crossing *x)
{
	struct shelf_buf value = {0};
	struct mail_key key;
	int rc;

	if (x->n == 0)
		return 0;
	x->modseq = mail_change_modseq(c);
	key = key_of(NOTE, x->to_account, x->modseq);
	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, (uint64_t)c->now_s, 8);
	base_add_le(&value, x->from_account, 4);
	base_add_le(&value, x->from, 4);
	base_add_le(&value, x->to, 4);
	base_add_le(&value, x->n, 2);
	for (unsigned i = 0; i < x->n; i++) {
		base_add_le(&value, x->uid[i], 4);
		base_add_le(&value, x->to_uid[i], 4);
	}
	rc = kv_put(c->txn, KV_CROSS, mail_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

static int
decode_note(struct shelf_span key, struct shelf_span value, struct mail_crossing *x)
{
	struct base_reader r = base_reader(value);

	x->to_account = base_get_be32(key.data + 1);
	x->modseq = base_get_be64(key.data + 5);
	x->at_s = (int64_t)base_get_le(&r, 8);
	x->from_account = (uint32_t)base_get_le(&r, 4);
	x->from = (uint32_t)base_get_le(&r, 4);
	x->to = (uint32_t)base_get_le(&r, 4);
	x->n = (unsigned)base_get_le(&r, 2);
	if (x->n == 0 || x->n > MAIL_CROSSING_MAX)
		return SHELF_ECORRUPT;
	for (unsigned i = 0; i < x->n; i++) {
		x->uid[i] = (uint32_t)base_get_le(&r, 4);
		x->to_uid[i] = (uint32_t)base_get_le(&r, 4);
	}
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

static int
decode_answer(struct shelf_span value, struct shelf_uidset *left)
{
	struct base_reader r = base_reader(value);
	unsigned n = (unsigned)base_get_le(&r, 2);

	if (r.bad || base_left(&r) != n * 4u)
		return SHELF_ECORRUPT;
	while (n-- > 0)
		shelf_uidset_add(left, (uint32_t)base_get_le(&r, 4));
	return 0;
}

static int
head(struct shelf_span key, struct shelf_span *value)
{
	if (key.len != KEY_BYTES || key.data[0] > 1 || value->len < 1)
		return SHELF_ECORRUPT;
	if (value->data[0] != FORMAT)
		return SHELF_EVERSION;
	*value = shelf_span(value->data + 1, value->len - 1);
	return 0;
}

int
mail_crossing_check(struct shelf_span key, struct shelf_span value)
{
	struct mail_crossing x;
	struct shelf_uidset *left;
	int rc = head(key, &value);

	if (rc != 0 || key.data[0] == 0)
		return rc != 0 ? rc : decode_note(key, value, &x);
	left = shelf_uidset_new();
	rc = decode_answer(value, left);
	shelf_uidset_free(&left);
	return rc;
}

/* ---- At the source ------------------------------------------------------------------------------------- */

struct settling {
	struct shelf_store *store;
	const struct mail_crossing *x;
	bool stays; /* nothing is to leave any more */
	struct mail_expunge out;
	struct shelf_uidset *uids, *left; /* named by the note; those that left */
};

static int
put_answer(struct kv_txn *txn, const struct settling *s)
{
	struct mail_key key = key_of(ANSWER, s->x->to_account, s->x->modseq);
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, shelf_uidset_count(s->left), 2);
	for (uint32_t uid = shelf_uidset_min(s->left); uid != 0; uid = shelf_uidset_next(s->left, uid + 1))
		base_add_le(&value, uid, 4);
	rc = kv_put(txn, KV_CROSS, mail_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc != 0 ? rc : mail_change_version(txn);
}

static int
decide(struct kv_txn *txn, void *arg)
{
	struct settling *s = arg;
	struct mail_key key = key_of(ANSWER, s->x->to_account, s->x->modseq);
	struct shelf_span value;
	int rc = kv_get(kv_txn_view(txn), KV_CROSS, mail_key_span(&key), &value);

	shelf_uidset_clear(s->left);
	s->out.fired = false;
	s->out.gone_bytes = 0;
	if (rc == 0)
		return (rc = head(mail_key_span(&key), &value)) != 0 ? rc : decode_answer(value, s->left);
	if (rc != SHELF_EMISSING)
		return rc;
	rc = s->stays ? 0 : mail_expunge_within(txn, &s->out);
	/* Deleted meanwhile, and all of it with it: what is held there stays there. */
	if (rc == SHELF_ENOMAILBOX)
		rc = 0;
	return rc != 0 ? rc : put_answer(txn, s);
}

static int
leave(struct settling *s)
{
	int rc = kv_update(s->store->kv, s->x->from_account, KV_KEEPS, decide, s);

	if (rc == SHELF_EFULL) {
		s->out.let_go = true;
		rc = kv_update(s->store->kv, s->x->from_account, 0, decide, s);
	}
	if (rc == 0)
		mail_expunge_tell(s->store, s->x->from_account, &s->out);
	if (rc == SHELF_ENOACCOUNT) { /* what is in the target is all there is */
		shelf_uidset_or(s->left, s->uids);
		rc = 0;
	}
	return rc;
}

/* ---- At the target ------------------------------------------------------------------------------------- */

static int
take_back(struct kv_txn *txn, const struct settling *s)
{
	struct mail_expunge back = {.store = s->store, .mailbox = s->x->to, .flags = MAIL_EXPUNGE_UNDO};
	struct shelf_uidset *uids = shelf_uidset_new(), *gone = shelf_uidset_new();
	int rc = 0;

	for (unsigned i = 0; i < s->x->n; i++)
		if (!shelf_uidset_has(s->left, s->x->uid[i]))
			shelf_uidset_add(uids, s->x->to_uid[i]);
	back.uids = uids;
	back.gone = gone;
	if (shelf_uidset_count(uids) > 0)
		rc = mail_expunge_within(txn, &back);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&gone);
	return rc == SHELF_ENOMAILBOX ? 0 : rc;
}

/* SHELF_ECANCELLED: somebody else has. */
static int
finish(struct kv_txn *txn, void *arg)
{
	const struct settling *s = arg;
	struct mail_key key = key_of(NOTE, s->x->to_account, s->x->modseq);
	int rc = kv_del(txn, KV_CROSS, mail_key_span(&key));

	if (rc == 0 && (rc = take_back(txn, s)) == 0)
		rc = mail_change_version(txn);
	return rc == SHELF_EMISSING ? SHELF_ECANCELLED : rc;
}

/* ---- An answer without a note -------------------------------------------------------------------------- */

static int
drop_answer(struct kv_txn *txn, void *arg)
{
	int rc = kv_del(txn, KV_CROSS, mail_key_span(arg));

	return rc == SHELF_EMISSING ? 0 : rc != 0 ? rc : mail_change_version(txn);
}

static int
forget(struct shelf_store *store, uint32_t source, uint32_t target, uint64_t modseq)
{
	struct mail_key key = key_of(ANSWER, target, modseq);
	int rc = kv_update(store->kv, source, 0, drop_answer, &key);

	return rc == SHELF_ENOACCOUNT ? 0 : rc;
}

/* ---- All of it ----------------------------------------------------------------------------------------- */

static int
settle(struct settling *s, bool may_stay)
{
	const struct mail_crossing *x = s->x;
	int rc, refused = 0;

	for (unsigned i = 0; i < x->n; i++)
		shelf_uidset_add(s->uids, x->uid[i]);
	rc = leave(s);
	if (rc != 0 && may_stay) {
		/* It says no: then that is the answer, unless somebody had another one meanwhile. */
		refused = rc;
		s->stays = true;
		rc = leave(s);
	}
	if (rc == 0)
		rc = kv_update(s->store->kv, x->to_account, 0, finish, s);
	if (rc == SHELF_ENOACCOUNT) /* the copies are no more, and their note with them */
		rc = SHELF_ECANCELLED;
	if (rc == 0 || rc == SHELF_ECANCELLED) {
		int late = forget(s->store, x->from_account, x->to_account, x->modseq);

		if (late != 0)
			shelf_log(SHELF_LOG_WARN, "answer of a move stays for now", "account", "%u", x->from_account,
			    "error", "%s", shelf_err_name(late), NULL);
	}
	return rc != 0 ? rc : refused;
}

int
mail_crossing_settle(struct shelf_store *store, const struct mail_crossing *x, const struct shelf_asker *asker,
    bool may_stay, struct shelf_uidset *left)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	struct settling s = {.store = store, .x = x, .uids = uids, .left = left,
	    .out = {.store = store, .mailbox = x->from, .asker = asker, .uids = uids, .gone = left}};
	int rc = settle(&s, may_stay);

	shelf_uidset_free(&uids);
	return rc;
}

/* ---- What others left ---------------------------------------------------------------------------------- */

/* The first row of the account at or behind *FROM, which is moved behind it: 1 found. X for a note, otherwise
 * x->n is 0 and the answer belongs to x->to_account, x->modseq. */
static int
next_row(struct shelf_store *store, uint32_t account, struct mail_key *from, struct mail_crossing *x)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_view_begin(store->kv, account, &view);

	if (rc != 0)
		return rc == SHELF_ENOACCOUNT ? 0 : rc;
	rc = kv_scan_open(view, KV_CROSS, shelf_span(NULL, 0), mail_key_span(from), &scan);
	if (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		int bad = head(key, &value);

		x->n = 0;
		if (bad == 0 && key.data[0] == 0)
			bad = decode_note(key, value, x);
		if (bad == 0 && key.data[0] == 1) {
			x->to_account = base_get_be32(key.data + 1);
			x->modseq = base_get_be64(key.data + 5);
		}
		/* On behind this key; behind a damaged one nobody goes on. */
		if (bad == 0) {
			memcpy(from->bytes, key.data, KEY_BYTES);
			from->bytes[KEY_BYTES] = 0;
			from->len = KEY_BYTES + 1;
		}
		rc = bad != 0 ? bad : 1;
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

/* Is the note of that answer still there? 1 yes. */
static int
has_note(struct shelf_store *store, const struct mail_crossing *x)
{
	struct mail_key key = key_of(NOTE, x->to_account, x->modseq);
	struct kv_view *view = NULL;
	struct shelf_span value;
	int rc = kv_view_begin(store->kv, x->to_account, &view);

	if (rc == 0)
		rc = kv_get(view, KV_CROSS, mail_key_span(&key), &value);
	kv_view_end(&view);
	return rc == SHELF_EMISSING || rc == SHELF_ENOACCOUNT ? 0 : rc == 0 ? 1 : rc;
}

static int
settle_account(struct shelf_store *store, uint32_t account, int64_t before_s)
{
	struct mail_crossing *x = SHELF_NEW(struct mail_crossing);
	struct shelf_uidset *left = shelf_uidset_new();
	struct mail_key from = {.len = 0};
	struct shelf_account a;
	int rc = shelf_account_get(store, account, &a);

	/* Rows of one that was deleted wait for their removal: nothing leaves another one for it. */
	while (rc == 0 && (rc = next_row(store, account, &from, x)) == 1) {
		shelf_uidset_clear(left);
		if (x->n == 0)
			rc = has_note(store, x) == 0 ? forget(store, account, x->to_account, x->modseq) : 0;
		else if (x->to_account == account && x->at_s <= before_s)
			rc = mail_crossing_settle(store, x, NULL, false, left);
		if (rc == SHELF_ECANCELLED)
			rc = 0;
	}
	shelf_uidset_free(&left);
	free(x);
	return rc;
}

static int
next_account(struct shelf_store *store, uint32_t shard, uint32_t *account)
{
	struct kv_view *view = NULL;
	int rc = kv_view_begin_shard(store->kv, shard, &view);

	if (rc == 0)
		rc = kv_view_next_account(view, KV_CROSS, *account, account);
	kv_view_end(&view);
	return rc;
}

int
mail_crossings(struct shelf_store *store, bool slow_only)
{
	int64_t before_s = slow_only ? shelf_now_s() - SLOW_S : INT64_MAX;
	int rc = 0, damage = 0;

	for (uint32_t shard = 0; shard < kv_shards(store->kv); shard++) {
		uint32_t account = 0;

		while ((rc = next_account(store, shard, &account)) == 1) {
			rc = settle_account(store, account, before_s);
			if (!mail_pass_over(rc, shard, account, &damage))
				return rc;
		}
		if (!mail_pass_over(rc, shard, 0, &damage))
			return rc;
	}
	return damage;
}
