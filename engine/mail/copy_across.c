/*
 * copy_across.c - COPY and MOVE from one account to another
 *
 *   read a slice --> drafts, when bodies must go to another partition --> one transaction of the target
 *        ^                                                                     |
 *        |                   MOVE, of one partition: the same removes them where they were
 *        |                   of two: they are noted in it, and settled at once (crossing.c)
 *        +---------------------------------------------------------------------+
 *
 * A COPY that fails takes back what its slices had written (RFC 9051 6.4.7). A MOVE within a partition is one
 * transaction of both accounts. Where it cannot be, it writes before it removes: should the machine stop in between, a
 * message is in both places until the note is seen, never in none, and then in the target alone. Of two sessions moving
 * the same message one finds it gone and takes its own copy back. What was moved away is held where it was, like what
 * is expunged: the owner of a shared mailbox can bring it back.
 *
 * What must stay true: a slice has SLICE_MESSAGES messages, and of bodies that go elsewhere SLICE_BYTES or one
 * message; drafts hold no more than that.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "crossing.h"
#include "draft.h"

enum { SLICE_MESSAGES = MAIL_CROSSING_MAX, SLICE_BYTES = 8 << 20, TRIES = 3 };

struct item {
	struct shelf_msg msg;
	struct shelf_draft *draft; /* NULL: the blob of MSG is of the target's partition */
	bool gone;		   /* since it was read */
	uint32_t to_uid;
};

struct across {
	struct shelf_store *store;
	const struct shelf_copy *what;
	struct shelf_copy_result *result;
	uint32_t shard; /* of the target, when it was last looked for: accounts may move */
	struct item item[SLICE_MESSAGES];
	size_t n;
	struct shelf_arena arena; /* of the slice: names of keywords */
	struct shelf_keywords keywords;
	uint32_t next; /* uid */
	uint32_t uidvalidity;
	bool together; /* a MOVE in one transaction of both */
	struct mail_expunge out; /* of it; its sets are of the slice */
	struct mail_crossing crossing;
	struct mail_need need;
};

/* Its body is in another partition than the target. */
static bool
is_elsewhere(const struct across *a, const struct item *item)
{
	return mail_handle_shard(item->msg.blob) != a->shard;
}

/* ---- Reading ------------------------------------------------------------------------------------- */

/* 1: there are more. */
static int
read_messages(struct across *a, struct shelf_rd *rd)
{
	const struct shelf_uidset *uids = a->what->uids;
	uint64_t bytes = 0;
	uint32_t uid = shelf_uidset_next(uids, a->next);
	int rc = 0;

	while (uid != 0) {
		struct item *item = &a->item[a->n];

		*item = (struct item){0};
		rc = shelf_msg_next(rd, a->what->from, uid, SHELF_MSG_ALL, &item->msg);
		if (rc == SHELF_ENOMESSAGE)
			return 0;
		if (rc != 0)
			return rc;
		uid = item->msg.uid;
		if (shelf_uidset_has(uids, uid)) {
			bytes += item->msg.size;
			if (a->n > 0 && is_elsewhere(a, item) && bytes > SLICE_BYTES)
				return 1;
			a->n++;
			uid = uid == UINT32_MAX ? 0 : uid + 1;
		}
		if (uid == 0 || (uid = shelf_uidset_next(uids, uid)) == 0)
			return 0;
		a->next = uid;
		if (a->n == SLICE_MESSAGES)
			return 1;
	}
	return 0;
}

static int
read_slice(struct across *a)
{
	struct shelf_mailbox from;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(a->store, a->what->account, &rd);

	a->n = 0;
	if (rc == 0) /* rows of a deleted one are there for a while */
		rc = shelf_mailbox_get(rd, a->what->from, &from);
	if (rc == 0)
		rc = shelf_mailbox_keywords(rd, a->what->from, &a->keywords);
	for (uint32_t i = 0; rc == 0 && i < a->keywords.count; i++)
		a->keywords.name[i] = shelf_arena_dup(&a->arena, a->keywords.name[i]);
	if (rc == 0)
		rc = read_messages(a, rd);
	shelf_rd_end(&rd);
	return rc;
}

static int
make_draft(struct across *a, struct item *item)
{
	struct shelf_body *body = NULL;
	struct shelf_span piece;
	uint64_t at = 0;
	int rc = shelf_body_open(a->store, a->what->account, item->msg.blob, &body);

	if (rc == 0)
		rc = shelf_draft_new(a->store, &item->draft);
	while (rc == 0 && (rc = shelf_body_read(body, at, SIZE_MAX, &piece)) == 0 && piece.len > 0) {
		rc = shelf_draft_write(item->draft, piece.data, piece.len);
		at += piece.len;
	}
	shelf_body_close(&body);
	if (rc == 0)
		rc = shelf_draft_finish(item->draft);
	if (rc == 0)
		rc = blob_draft_prepare(mail_draft_blob(item->draft), a->shard);
	if (rc != 0)
		shelf_draft_free(&item->draft);
	item->gone = rc == SHELF_ENOMESSAGE;
	return item->gone ? 0 : rc;
}

static void
end_slice(struct across *a)
{
	for (size_t i = 0; i < a->n; i++)
		shelf_draft_free(&a->item[i].draft);
	a->n = 0;
	shelf_arena_free(&a->arena);
}

/* ---- Writing ------------------------------------------------------------------------------------- */

static int
set_flags(struct mail_change *c, struct mail_open *o, struct across *a, const struct item *item)
{
	const struct shelf_copy *what = a->what;
	unsigned n = item->to_uid % INDEX_PAGE_UIDS;
	uint32_t flags = item->msg.flags & ~what->flags_lost;

	for (unsigned f = 0; f < 5; f++)
		if ((flags >> f & 1) != 0)
			index_page_set(o->page, f, n, true);
	if ((flags & SHELF_DELETED) != 0)
		o->row.deleted_bytes += item->msg.size;
	for (uint32_t k = 0; k < a->keywords.count && !what->keywords_lost; k++) {
		uint32_t number;
		int rc;

		if (!shelf_msg_has_keyword(&item->msg, k))
			continue;
		if ((rc = mail_keyword_number(c, o, a->keywords.name[k], &number)) != 0)
			return rc;
		index_page_set(o->page, INDEX_FLAG_KEYWORD + number, n, true);
	}
	return 0;
}

static int
put_one(struct mail_change *c, struct mail_open *o, struct across *a, struct item *item)
{
	struct mail_msg msg = {
	    .internaldate_s = item->msg.internaldate_s,
	    .zone_min = item->msg.zone_min,
	    .savedate_s = c->now_s,
	    .size = item->msg.size,
	    .blob = mail_handle_blob(item->msg.blob),
	    .dated = item->msg.dated,
	    .sent_s = item->msg.sent_s,
	};
	int rc;

	memcpy(msg.email_id, item->msg.email_id, sizeof(msg.email_id));
	if ((rc = mail_quota_room(&c->acct, msg.size, 1)) != 0)
		return rc;
	if (item->draft != NULL)
		rc = blob_link(c->txn, mail_draft_blob(item->draft), &msg.blob, &msg.cost);
	else if (mail_handle_shard(item->msg.blob) != kv_view_shard(kv_txn_view(c->txn)))
		rc = SHELF_EBUSY; /* the target has moved since */
	else
		rc = blob_ref_if(c->txn, msg.blob, msg.email_id, msg.size, &msg.cost);
	if (rc == SHELF_EMISSING) {
		item->gone = true;
		return 0;
	}
	msg.noted = true;
	if (rc != 0 || (rc = mail_insert(c, o, &msg, &item->to_uid)) != 0)
		return rc;
	return set_flags(c, o, a, item);
}

/* Before the first is written: which are not where they were read? A blob that was gone may be told again. */
static int
look_for_all(struct kv_txn *txn, struct across *a)
{
	struct mail_mbox box = {0};
	struct mail_msg m;
	int rc = 0;

	if (a->together) {
		kv_txn_set_account(txn, a->what->account);
		rc = mail_mbox_get(kv_txn_view(txn), a->what->from, &box);
	}
	if (rc == 0 && (box.flags & MAIL_MBOX_DELETED) != 0)
		rc = SHELF_ENOMAILBOX;
	for (size_t i = 0; i < a->n && (rc == 0 || rc == SHELF_ENOMESSAGE); i++) {
		struct item *item = &a->item[i];

		item->to_uid = 0;
		item->gone = is_elsewhere(a, item) && item->draft == NULL; /* its body was gone */
		if (!a->together || item->gone)
			continue;
		rc = mail_msg_get(kv_txn_view(txn), a->what->from, item->msg.uid, &m);
		item->gone = rc == SHELF_ENOMESSAGE;
	}
	if (a->together)
		kv_txn_set_account(txn, a->what->to_account);
	return rc == SHELF_ENOMESSAGE ? 0 : rc;
}

/* Of a MOVE by two transactions. */
static int
note_all(struct mail_change *c, struct across *a)
{
	struct mail_crossing *x = &a->crossing;

	*x = (struct mail_crossing){.from_account = a->what->account, .from = a->what->from,
	    .to_account = a->what->to_account, .to = a->what->to};
	for (size_t i = 0; i < a->n; i++) {
		if (a->item[i].gone)
			continue;
		x->uid[x->n] = a->item[i].msg.uid;
		x->to_uid[x->n++] = a->item[i].to_uid;
	}
	return mail_crossing_note(c, x);
}

/* In the transaction that has put them: they are all there. */
static int
remove_all(struct kv_txn *txn, struct across *a)
{
	struct shelf_uidset *uids = shelf_uidset_new(), *gone = shelf_uidset_new();
	int rc;

	for (size_t i = 0; i < a->n; i++)
		if (!a->item[i].gone)
			shelf_uidset_add(uids, a->item[i].msg.uid);
	a->out = (struct mail_expunge){.store = a->store, .mailbox = a->what->from,
	    .asker = a->what->from_asker, .uids = uids, .gone = gone};
	kv_txn_set_account(txn, a->what->account);
	rc = shelf_uidset_count(uids) == 0 ? 0 : mail_expunge_within(txn, &a->out);
	if (rc == 0 && shelf_uidset_count(gone) != shelf_uidset_count(uids))
		rc = SHELF_ECORRUPT;
	kv_txn_set_account(txn, a->what->to_account);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&gone);
	return rc;
}

static int
put_all(struct kv_txn *txn, void *arg)
{
	struct across *a = arg;
	struct mail_change c;
	struct mail_open o = {0};
	int rc;

	if ((rc = look_for_all(txn, a)) != 0 || (rc = mail_change_begin(&c, a->store, txn)) != 0)
		return rc;
	c.need = &a->need;
	if ((rc = mail_open(&c, a->what->to, &o)) == 0)
		rc = mail_may(txn, a->what->to, a->what->to_asker);
	a->uidvalidity = o.row.uidvalidity;
	for (size_t i = 0; i < a->n && rc == 0; i++)
		if (!a->item[i].gone)
			rc = put_one(&c, &o, a, &a->item[i]);
	if (rc == 0 && a->what->move && !a->together)
		rc = note_all(&c, a);
	if (rc == 0 && (rc = mail_open_flush(&c, &o)) == 0)
		rc = mail_change_end(&c);
	a->result->modseq = c.acct.modseq;
	mail_close(&o);
	return rc == 0 && a->together ? remove_all(txn, a) : rc;
}

/* SHELF_EBUSY: not in this partition, or not together, any more. */
static int
update(struct across *a)
{
	const struct shelf_copy *what = a->what;
	uint32_t shard;
	int rc = kv_shard_of(a->store->kv, what->account, &shard);

	if (rc != 0)
		return rc;
	a->together = what->move && shard == a->shard;
	rc = SHELF_EBUSY;
	if (a->together)
		rc = kv_update_both(a->store->kv, what->to_account, what->account, KV_ADDS, put_all, a);
	if (rc == SHELF_EBUSY) {
		a->together = false;
		rc = mail_update_growing(a->store, what->to_account, KV_ADDS, put_all, a, &a->need);
	} else if (rc == 0) {
		mail_expunge_tell(a->store, what->account, &a->out);
	}
	return rc;
}

static int
put_slice(struct across *a)
{
	int rc = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		rc = kv_shard_of(a->store->kv, a->what->to_account, &a->shard);
		for (size_t k = 0; k < a->n && rc == 0; k++)
			if (a->item[k].draft == NULL && is_elsewhere(a, &a->item[k]))
				rc = make_draft(a, &a->item[k]);
			else if (a->item[k].draft != NULL)
				rc = blob_draft_prepare(mail_draft_blob(a->item[k].draft), a->shard);
		if (rc == 0)
			rc = update(a);
		if (rc != SHELF_EBUSY)
			break;
		/* A dictionary went between compressing and linking, or the target moved. */
		for (size_t k = 0; k < a->n; k++)
			if (a->item[k].draft != NULL)
				blob_draft_unprepare(mail_draft_blob(a->item[k].draft), a->shard);
	}
	return rc;
}

/* ---- Taking away --------------------------------------------------------------------------------- */

static int
take_back(struct across *a, const struct shelf_uidset *to_uids)
{
	return shelf_uidset_min(to_uids) == 0 ? 0 : shelf_msg_expunge(a->store, a->what->to_account,
	    a->what->to, to_uids, MAIL_EXPUNGE_UNDO, NULL);
}

/* Another process has settled it (a purge, say): what of it is in the target has left. */
static int
look_what_came(struct across *a, struct shelf_uidset *left)
{
	const struct mail_crossing *x = &a->crossing;
	struct shelf_rd *rd = NULL;
	struct shelf_msg msg;
	int rc = shelf_rd_begin(a->store, x->to_account, &rd);

	shelf_uidset_clear(left);
	for (unsigned i = 0; i < x->n && (rc == 0 || rc == SHELF_ENOMESSAGE); i++)
		if ((rc = shelf_msg_get(rd, x->to, x->to_uid[i], &msg)) == 0)
			shelf_uidset_add(left, x->uid[i]);
	shelf_rd_end(&rd);
	return rc == SHELF_ENOMESSAGE ? 0 : rc;
}

/* What of the slice is still where it was goes there; what is not has been taken back here. */
static int
settle_slice(struct across *a)
{
	struct shelf_uidset *left = shelf_uidset_new();
	int rc = 0;

	if (a->crossing.n > 0)
		rc = mail_crossing_settle(a->store, &a->crossing, a->what->from_asker, true, left);
	if (rc == SHELF_ECANCELLED)
		rc = look_what_came(a, left);
	for (size_t i = 0; i < a->n; i++)
		if (rc != 0 || !shelf_uidset_has(left, a->item[i].msg.uid))
			a->item[i].gone = true;
	shelf_uidset_free(&left);
	return rc;
}

/* ---- All of it ----------------------------------------------------------------------------------- */

static int
begin(struct across *a)
{
	int rc = mail_disk_admit(a->store, a->what->to_account, SHELF_DISK_REFUSE);

	return rc != 0 ? rc : kv_shard_of(a->store->kv, a->what->to_account, &a->shard);
}

static int
one_slice(struct across *a)
{
	int more = read_slice(a), rc = more < 0 ? more : 0;

	if (rc == 0 && a->n > 0 && (rc = put_slice(a)) != 0)
		for (size_t i = 0; i < a->n; i++)
			a->item[i].to_uid = 0;
	if (rc == 0 && a->n > 0 && a->what->move && !a->together)
		rc = settle_slice(a);
	for (size_t i = 0; i < a->n && (rc == 0 || a->what->move); i++) {
		if (a->item[i].gone || a->item[i].to_uid == 0)
			continue;
		shelf_uidset_add(a->result->from_uids, a->item[i].msg.uid);
		shelf_uidset_add(a->result->to_uids, a->item[i].to_uid);
	}
	if (a->uidvalidity != 0)
		a->result->uidvalidity = a->uidvalidity;
	end_slice(a);
	return rc != 0 ? rc : more;
}

int
mail_copy_across(struct shelf_store *store, const struct shelf_copy *what, struct shelf_copy_result *result)
{
	struct across *a = SHELF_NEW(struct across);
	int rc, undone;

	a->store = store;
	a->what = what;
	a->result = result;
	a->next = 1;
	rc = begin(a);
	if (rc == 0 && !what->move && shelf_uidset_count(what->uids) > SHELF_COPY_MAX)
		rc = SHELF_ELIMIT;
	if (rc == 0)
		do {
			rc = one_slice(a);
		} while (rc == 1);
	if (rc != 0 && !what->move) {
		undone = take_back(a, result->to_uids);
		shelf_uidset_clear(result->from_uids);
		shelf_uidset_clear(result->to_uids);
		rc = undone == SHELF_EUNKNOWN ? undone : rc;
	}
	free(a);
	return rc;
}
