/*
 * restore.c - held mail comes back: expunged messages, deleted mailboxes
 *
 *   present --expunge--> GONE + DUE --restore--> present under a new uid
 *                             \------ purge ---> nothing
 *
 * What must stay true
 *   - GONE and DUE go in the transaction that writes the new row, so the reference to the body moves: the
 *     blob's count is not touched, and no moment has the message twice or not at all.
 *   - What is put back is added to "used" and taken from "held" by the same amount, its note of what it
 *     costs included.
 *   - Times of removal are read from DUE, not worked out: the hold may have been another one then. The guard
 *     may move one to a later time (due.c) between looking for it and taking it: then it is looked for again.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>
#include <mailshelf/restore.h>

#include "mail.h"

enum {
	WALK_ROWS = 1000,
	SLICE_MESSAGES = 100,
	NAMES_TRIED_MAX = 100,
	MOVED = SHELF_EBUSY, /* of closures: a date has changed, look again */
	LOOKS_MAX = 20,
};

/* ---- Walking what is due --------------------------------------------------------------------------------- */

/* Up to WALK_ROWS rows from *FROM on, which is moved behind them. */
static int
walk_slice(struct shelf_store *store, uint32_t account, struct mail_key *from, bool *more,
	   mail_due_fn *fn, void *arg)
{
	struct kv_view *view = NULL;
	int rc;

	if ((rc = kv_view_begin(store->kv, account, &view)) != 0)
		return rc;
	rc = mail_due_each(view, from, WALK_ROWS, more, fn, arg);
	kv_view_end(&view);
	return rc;
}

/* Ascending by time. */
static int
each_due(struct shelf_store *store, uint32_t account, mail_due_fn *fn, void *arg)
{
	struct mail_key from = {.len = 0};
	bool more = true;
	int rc = 0;

	while (rc == 0 && more)
		rc = walk_slice(store, account, &from, &more, fn, arg);
	return rc;
}

struct listing {
	shelf_held_fn *held;
	shelf_deleted_mailbox_fn *deleted;
	void *arg;
};

static int
list_held(void *arg, struct kv_view *view, const struct mail_due *due)
{
	struct listing *l = arg;
	struct shelf_held held = {.mailbox = due->mailbox, .due_s = due->at};
	struct mail_gone gone;
	struct mail_mbox m;
	int rc;

	if (due->uid == 0)
		return 0;
	if ((rc = mail_gone_get(view, due->mailbox, due->uid, &gone)) != 0)
		return rc == SHELF_ENOMESSAGE ? 0 : rc;
	rc = mail_mbox_get(view, due->mailbox, &m);
	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	held.mailbox_deleted = rc != 0 || (m.flags & MAIL_MBOX_DELETED) != 0;
	if (rc == 0)
		held.name = m.name;
	held.gone_s = gone.gone_s;
	mail_gone_out(&gone, due->uid, &held.msg);
	held.msg.blob = mail_blob_handle(kv_view_shard(view), held.msg.blob);
	return l->held(l->arg, &held);
}

int
shelf_held_each(struct shelf_store *store, uint32_t account, shelf_held_fn *fn, void *arg)
{
	struct listing l = {.held = fn, .arg = arg};

	return each_due(store, account, list_held, &l);
}

static int
list_deleted(void *arg, struct kv_view *view, const struct mail_due *due)
{
	struct listing *l = arg;
	struct mail_mbox m;
	int rc;

	if (due->uid != 0)
		return 0;
	rc = mail_mbox_get(view, due->mailbox, &m);
	if (rc != 0 || (m.flags & MAIL_MBOX_DELETED) == 0)
		return rc == SHELF_ENOMAILBOX ? 0 : rc;
	return l->deleted(l->arg, &(struct shelf_deleted_mailbox){.id = due->mailbox,
								  .name = m.name,
								  .messages = m.exists,
								  .bytes = m.bytes,
								  .due_s = due->at});
}

int
shelf_deleted_mailbox_each(struct shelf_store *store, uint32_t account,
			   shelf_deleted_mailbox_fn *fn, void *arg)
{
	struct listing l = {.deleted = fn, .arg = arg};

	return each_due(store, account, list_deleted, &l);
}

/* ---- Messages --------------------------------------------------------------------------------------------- */

struct restoring {
	struct shelf_store *store;
	uint32_t mailbox, to;
	const struct shelf_uidset *uids; /* NULL: all */
	struct mail_due *due;		 /* what is asked for and held, ascending by uid */
	size_t n, cap, from;
	/* Of one slice, set from the start by each run of the closure. */
	size_t next;
	unsigned npicked;
	struct picked {
		const struct mail_due *due;
		struct mail_gone gone;
	} picked[SLICE_MESSAGES];
	uint64_t bytes;
	uint32_t first_uid, uidvalidity;
	struct mail_need need;
	struct mail_moved moved; /* who still shows the old uids reads on */
	uint32_t keyword[SHELF_KEYWORDS_MAX]; /* numbers there to numbers here */
};

static int
want(void *arg, struct kv_view *view, const struct mail_due *due)
{
	struct restoring *rs = arg;

	if (due->mailbox != rs->mailbox || due->uid == 0 ||
	    (rs->uids != NULL && !shelf_uidset_has(rs->uids, due->uid)))
		return 0;
	if (rs->n == rs->cap) {
		rs->cap = rs->cap == 0 ? 64 : rs->cap * 2;
		rs->due = shelf_realloc(rs->due, rs->cap * sizeof(*rs->due));
	}
	rs->due[rs->n++] = *due;
	return 0;
}

static int
by_uid(const void *a, const void *b)
{
	const struct mail_due *x = a, *y = b;

	return (x->uid > y->uid) - (x->uid < y->uid);
}

/* Those still held are read before anything is written: the quota is asked for all of the slice. */
static int
pick(struct mail_change *c, struct restoring *rs)
{
	rs->npicked = 0;
	rs->bytes = 0;
	for (rs->next = rs->from; rs->next < rs->n && rs->npicked < SLICE_MESSAGES; rs->next++) {
		struct picked *p = &rs->picked[rs->npicked];
		int rc;

		p->due = &rs->due[rs->next];
		rc = mail_gone_get(kv_txn_view(c->txn), rs->mailbox, p->due->uid, &p->gone);
		if (rc == SHELF_ENOMESSAGE)
			continue;
		if (rc != 0)
			return rc;
		/* Held still, with another date: the guard moved it since it was looked for. */
		if (!mail_due_is(kv_txn_view(c->txn), p->due, &rc))
			return rc != 0 ? rc : MOVED;
		rs->bytes += p->gone.msg.size;
		rs->npicked++;
	}
	return mail_quota_room(&c->acct, rs->bytes, rs->npicked);
}

static int
put_flags(struct mail_change *c, struct mail_open *to, struct restoring *rs,
	  const struct mail_gone *gone, uint32_t uid)
{
	unsigned n = uid % INDEX_PAGE_UIDS;

	for (unsigned f = 0; f < 5; f++)
		if (f != INDEX_FLAG_DELETED && (gone->flags >> f & 1) != 0)
			index_page_set(to->page, f, n, true);
	for (uint32_t k = 0; k < SHELF_KEYWORDS_MAX; k++) {
		uint32_t number = k;
		int rc = 0;

		if ((gone->keywords[k / 64] >> (k % 64) & 1) == 0)
			continue;
		if (rs->mailbox != rs->to)
			rc = mail_keyword_carry(c, rs->mailbox, k, to, rs->keyword, &number);
		/* The names went with a mailbox that was removed for good: the message is what counts. */
		if (rc == SHELF_EMISSING)
			continue;
		if (rc != 0)
			return rc;
		index_page_set(to->page, INDEX_FLAG_KEYWORD + number, n, true);
	}
	return 0;
}

static int
put_back(struct mail_change *c, struct mail_open *to, struct restoring *rs, struct picked *p)
{
	struct mail_key gone = mail_key2(p->due->mailbox, p->due->uid);
	char uidl[SHELF_UIDL_MAX + 1];
	uint32_t uid;
	int rc;

	if ((rc = kv_del(c->txn, KV_GONE, mail_key_span(&gone))) != 0 ||
	    (rc = mail_due_del(c->txn, p->due)) != 0)
		return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
	mail_drop_held(&c->acct, &p->gone.msg);
	p->gone.msg.savedate_s = c->now_s;
	if ((rc = mail_uidl_take(c->txn, p->due->mailbox, p->due->uid, uidl)) != 0 ||
	    (rc = mail_insert(c, to, &p->gone.msg, &uid)) != 0 ||
	    (rc = mail_uidl_give(c->txn, to->row.id, uid, uidl)) != 0)
		return rc;
	if (rs->first_uid == 0)
		rs->first_uid = uid;
	if ((rc = mail_moved_add(c, &rs->moved, p->due->uid, uid)) != 0)
		return rc;
	return put_flags(c, to, rs, &p->gone, uid);
}

static int
restore_slice(struct kv_txn *txn, void *arg)
{
	struct restoring *rs = arg;
	struct mail_open to = {0};
	struct mail_change c;
	int rc;

	rs->first_uid = 0;
	rs->moved = (struct mail_moved){.mailbox = rs->mailbox, .to = rs->to};
	memset(rs->keyword, 0xff, sizeof(rs->keyword));
	rc = mail_change_begin(&c, rs->store, txn);
	c.need = &rs->need;
	if (rc != 0 || (rc = mail_open(&c, rs->to, &to)) != 0 || (rc = pick(&c, rs)) != 0)
		goto out;
	rs->uidvalidity = to.row.uidvalidity;
	for (unsigned i = 0; i < rs->npicked && rc == 0; i++)
		rc = put_back(&c, &to, rs, &rs->picked[i]);
	if (rc == 0 && (rc = mail_moved_put(&c, &rs->moved)) == 0 && (rc = mail_open_flush(&c, &to)) == 0)
		rc = mail_change_end(&c);
out:
	mail_close(&to);
	return rc;
}

/* What is held now. */
static int
look(struct restoring *rs, uint32_t account)
{
	int rc;

	rs->n = rs->from = 0;
	if ((rc = each_due(rs->store, account, want, rs)) == 0 && rs->n > 0)
		qsort(rs->due, rs->n, sizeof(*rs->due), by_uid);
	return rc;
}

int
shelf_restore(struct shelf_store *store, uint32_t account, uint32_t mailbox,
	      const struct shelf_uidset *uids, uint32_t to, struct shelf_restored *out)
{
	struct restoring *rs = SHELF_NEW(struct restoring);
	unsigned looks = 0;
	int rc;

	out->uidvalidity = 0;
	out->messages = out->bytes = 0;
	rs->store = store;
	rs->mailbox = mailbox;
	rs->to = to == 0 ? mailbox : to;
	rs->uids = uids;
	if ((rc = mail_disk_admit(store, account, SHELF_DISK_READONLY)) == 0)
		rc = look(rs, account);
	while (rc == 0 && rs->from < rs->n) {
		rc = mail_update_growing(store, account, KV_ADDS, restore_slice, rs, &rs->need);
		if (rc == MOVED && looks++ < LOOKS_MAX) {
			rc = look(rs, account);
			continue;
		}
		if (rc != 0)
			break;
		out->uidvalidity = rs->uidvalidity;
		out->messages += rs->npicked;
		out->bytes += rs->bytes;
		if (out->to_uids != NULL && rs->npicked > 0)
			shelf_uidset_add_range(out->to_uids, rs->first_uid,
					       rs->first_uid + rs->npicked - 1);
		rs->from = rs->next;
	}
	free(rs->due);
	free(rs);
	return rc;
}

/* ---- Deleted mailboxes ------------------------------------------------------------------------------------ */

struct reviving {
	struct shelf_store *store;
	uint32_t id;
	struct mail_due due;
	struct shelf_buf as;
	struct shelf_buf own, name; /* set by the closure */
	struct mail_need need;
};

static int
find_due(void *arg, struct kv_view *view, const struct mail_due *due)
{
	struct reviving *rv = arg;

	if (due->uid != 0 || due->mailbox != rv->id)
		return 0;
	rv->due = *due;
	return 1;
}

static int
first_uid(void *arg, const struct index_head *head)
{
	uint32_t *uid = arg;

	*uid = head->page << INDEX_PAGE_SHIFT | index_bits_next(&head->exists, 0);
	return 1;
}

/*
 * The purge takes rows of messages from the lowest uid on, and only then pages: where the first message
 * of the first page has its row, nothing is missing. Its date of removal alone does not tell, as clocks may
 * be set back.
 */
static int
still_whole(struct kv_view *view, const struct mail_mbox *m)
{
	struct mail_msg msg;
	uint32_t uid = 0;
	int rc;

	if (m->exists == 0)
		return 0;
	if ((rc = index_page_each(view, m->id, 0, UINT32_MAX, first_uid, &uid)) < 0)
		return rc;
	rc = rc == 0 ? SHELF_ENOMESSAGE : mail_msg_get(view, m->id, uid, &msg);
	return rc == SHELF_ENOMESSAGE ? SHELF_ENOMAILBOX : rc;
}

/* 1: another mailbox had the name M had at its deletion, and lost it later. One that was renamed since is
 * not seen: the name and this UIDVALIDITY together still mean the same uids. */
static int
name_given_since(struct kv_view *view, const struct mail_mbox *m)
{
	struct shelf_span key, value;
	struct mail_mbox other;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_MBOX, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_mbox_decode(value, &other)) != 0)
			break;
		/* A deletion is the last change of a mailbox, so the numbers order the deletions. */
		if (shelf_span_eq(other.name, m->name) && other.highestmodseq > m->highestmodseq) {
			rc = 1;
			break;
		}
	}
	kv_scan_close(&scan);
	return rc;
}

/* The first free one of the names it may have; *N its row, or an empty one. */
static int
choose_name(struct kv_view *view, struct reviving *rv, struct mail_name *n)
{
	for (unsigned i = 0; i < NAMES_TRIED_MAX; i++) {
		int rc;

		shelf_buf_clear(&rv->name);
		shelf_buf_add_span(&rv->name, shelf_buf_span(rv->as.len > 0 ? &rv->as : &rv->own));
		if (i > 0)
			shelf_buf_add_str(&rv->name, "-restored");
		if (i > 1)
			shelf_buf_printf(&rv->name, "-%u", i);
		if (rv->name.len > SHELF_MAILBOX_NAME_MAX)
			return SHELF_ENAME;
		*n = (struct mail_name){0};
		rc = mail_name_get(view, shelf_buf_span(&rv->name), n);
		if (rc == SHELF_ENOMAILBOX || (rc == 0 && n->id == 0))
			return 0;
		if (rc != 0)
			return rc;
		if (rv->as.len > 0)
			break;
	}
	return SHELF_EEXISTS;
}

/* The row of a deleted mailbox that may come back, its name copied out of the store. */
static int
open_deleted(struct mail_change *c, struct reviving *rv, struct mail_mbox *m)
{
	struct kv_view *view = kv_txn_view(c->txn);
	int rc;

	if ((rc = mail_mbox_get(view, rv->id, m)) != 0)
		return rc;
	if ((m->flags & MAIL_MBOX_DELETED) == 0)
		return SHELF_ENOMAILBOX;
	if (!mail_due_is(view, &rv->due, &rc))
		return rc != 0 ? rc : MOVED;
	if (rv->due.at <= c->now_s)
		return SHELF_ENOMAILBOX;
	if ((rc = still_whole(view, m)) != 0)
		return rc;
	if ((rc = mail_mailbox_room(&c->acct)) != 0 ||
	    (rc = mail_quota_room(&c->acct, m->bytes, m->exists)) != 0)
		return rc;
	shelf_buf_clear(&rv->own);
	shelf_buf_add_span(&rv->own, m->name);
	m->name = shelf_buf_span(&rv->own);
	return 0;
}

static int
revive(struct kv_txn *txn, void *arg)
{
	struct reviving *rv = arg;
	struct mail_change c;
	struct mail_mbox m;
	struct mail_name n;
	int rc;

	rc = mail_change_begin(&c, rv->store, txn);
	c.need = &rv->need;
	if (rc != 0 || (rc = open_deleted(&c, rv, &m)) != 0 ||
	    (rc = choose_name(kv_txn_view(txn), rv, &n)) != 0)
		return rc;
	rc = 1;
	if (shelf_span_eq(shelf_buf_span(&rv->name), m.name) &&
	    (rc = name_given_since(kv_txn_view(txn), &m)) < 0)
		return rc;
	if (rc == 1)
		m.uidvalidity = mail_new_uidvalidity(&c);
	m.flags &= ~(uint32_t)MAIL_MBOX_DELETED;
	m.name = shelf_buf_span(&rv->name);
	m.highestmodseq = mail_change_modseq(&c);
	c.acct.mailboxes++;
	mail_unhold_mailbox(&c.acct, &m);
	n = (struct mail_name){.id = m.id, .subscribed = n.subscribed, .name = m.name};
	if ((rc = mail_name_put(&c, &n)) != 0 || (rc = mail_mbox_put(txn, &m)) != 0 ||
	    (rc = mail_due_del(txn, &rv->due)) != 0)
		return rc;
	return mail_change_end(&c);
}

int
shelf_mailbox_restore(struct shelf_store *store, uint32_t account, uint32_t id,
		      struct shelf_span as, struct shelf_buf *name_out)
{
	struct reviving rv = {.store = store, .id = id};
	unsigned looks = 0;
	int rc = as.len == 0 ? 0 : shelf_mailbox_canonical(as, &rv.as);

	if (rc == 0)
		rc = mail_disk_admit(store, account, SHELF_DISK_READONLY);
	do {
		if (rc == 0 && (rc = each_due(store, account, find_due, &rv)) >= 0)
			rc = rc == 0 ? SHELF_ENOMAILBOX
				     : mail_update_growing(store, account, KV_ADDS, revive, &rv, &rv.need);
	} while (rc == MOVED && looks++ < LOOKS_MAX && (rc = 0) == 0);
	shelf_buf_clear(name_out);
	if (rc == 0)
		shelf_buf_add_span(name_out, shelf_buf_span(&rv.name));
	shelf_buf_free(&rv.as);
	shelf_buf_free(&rv.own);
	shelf_buf_free(&rv.name);
	return rc;
}
