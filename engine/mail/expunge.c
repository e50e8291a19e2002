/*
 * expunge.c - messages leave a mailbox for good (and are held for a while)
 *
 * In slices, as a transaction that frees more than some 500 pages is slow; POP3's QUIT asks for one
 * transaction and gets it.
 *
 * What must stay true: removing works in a full store, from its reserve. Holding writes more than it removes, so it
 * may use half of that (KV_KEEPS); behind it, what is removed is let go at once and counted as gone early.
 */
#include <mailshelf/guard.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "mail.h"

enum { SLICE_MESSAGES = 512, SLICE_LEAST = 8, SLICE_PAGES = 256 };

struct expunging {
	struct shelf_store *store;
	uint32_t mailbox;
	const struct shelf_asker *asker;
	const struct shelf_uidset *uids; /* NULL: all */
	unsigned flags;
	unsigned slice;		   /* messages */
	bool let_go;		   /* no room to hold anything */
	uint64_t gone_bytes;	   /* in this slice */
	uint32_t from, next;	   /* next 0: done */
	struct shelf_uidset *gone; /* in this slice */
	bool fired;		   /* the guard, in this slice */
	struct mail_guard_event event;
};

/* The next uid at or behind UID that may go: of the set, or on a page with messages (with \Deleted, when
 * only those go); 0: none. */
static int
next_uid(struct mail_change *c, struct expunging *e, uint32_t uid, uint32_t *out)
{
	enum index_kind kind =
	    (e->flags & SHELF_EXPUNGE_DELETED) != 0 ? INDEX_DELETED : INDEX_PRESENT;
	struct index_head head;
	uint32_t first;
	int rc;

	*out = 0;
	for (;;) {
		if (e->uids != NULL && (uid = shelf_uidset_next(e->uids, uid)) == 0)
			return 0;
		rc = index_page_find(kv_txn_view(c->txn), e->mailbox, uid >> INDEX_PAGE_SHIFT, kind, &head);
		if (rc <= 0)
			return rc;
		first = head.page << INDEX_PAGE_SHIFT;
		if (head.page == uid >> INDEX_PAGE_SHIFT || e->uids == NULL) {
			*out = first > uid ? first : uid;
			/* Uid 0 is nobody's. */
			*out += *out == 0;
			return 0;
		}
		uid = first;
	}
}

static unsigned
how_of(unsigned flags)
{
	if ((flags & MAIL_EXPUNGE_UNDO) != 0)
		return 0;
	return (flags & SHELF_EXPUNGE_POP3) != 0 ? SHELF_GUARD_POP3 : SHELF_GUARD_EXPUNGE;
}

static int
expunge_page(struct mail_change *c, struct mail_open *o, struct expunging *e, uint32_t *uid,
	     unsigned *left)
{
	uint32_t end = (*uid | (INDEX_PAGE_UIDS - 1));
	int rc;

	if ((rc = mail_open_page(c, o, *uid)) != 0)
		return rc;
	for (; *left > 0; (*uid)++) {
		unsigned n = *uid % INDEX_PAGE_UIDS;

		if (index_bit(&o->page->exists, n) &&
		    (e->uids == NULL || shelf_uidset_has(e->uids, *uid)) &&
		    ((e->flags & SHELF_EXPUNGE_DELETED) == 0 ||
		     index_page_has(o->page, INDEX_FLAG_DELETED, n))) {
			if ((rc = mail_remove(c, o, *uid, how_of(e->flags))) != 0)
				return rc;
			shelf_uidset_add(e->gone, *uid);
			(*left)--;
		}
		if (*uid == end) {
			(*uid)++;
			break;
		}
	}
	return 0;
}

static int
expunge_slice(struct mail_change *c, struct mail_open *o, struct expunging *e)
{
	bool atomic = (e->flags & SHELF_EXPUNGE_ATOMIC) != 0;
	unsigned left = atomic ? UINT32_MAX : e->slice, pages = 0;
	uint32_t uid = e->from;
	int rc;

	e->next = 0;
	for (;;) {
		if ((rc = next_uid(c, e, uid, &uid)) != 0 || uid == 0 || uid >= o->row.uidnext)
			return rc;
		/* A closure must end, so pages read are counted, too. */
		if (left == 0 || (pages++ == SLICE_PAGES && !atomic)) {
			e->next = uid;
			return 0;
		}
		/* Behind the last page of all uids comes none. */
		if ((rc = expunge_page(c, o, e, &uid, &left)) != 0 || uid == 0)
			return rc;
	}
}

static int
count_let_go(struct mail_change *c, struct expunging *e, uint64_t used)
{
	e->gone_bytes = used - c->acct.quota.used_bytes;
	return e->let_go ? mail_early_add(c->txn, shelf_uidset_count(e->gone), e->gone_bytes) : 0;
}

static int
expunge(struct kv_txn *txn, void *arg)
{
	struct expunging *e = arg;
	struct mail_change c;
	struct mail_open o;
	uint64_t used;
	int rc;

	shelf_uidset_clear(e->gone);
	if ((rc = mail_change_begin(&c, e->store, txn)) != 0)
		return rc;
	c.let_go = e->let_go;
	used = c.acct.quota.used_bytes;
	if ((rc = mail_open(&c, e->mailbox, &o)) == 0)
		rc = mail_may(txn, e->mailbox, e->asker);
	if (rc == 0 && o.row.exists > 0 &&
	    ((e->flags & SHELF_EXPUNGE_DELETED) == 0 || o.row.deleted > 0)) {
		if ((rc = expunge_slice(&c, &o, e)) == 0 && shelf_uidset_count(e->gone) > 0 &&
		    (rc = mail_log_vanished(&c, e->mailbox, e->gone)) == 0 &&
		    (rc = mail_open_flush(&c, &o)) == 0 && (rc = count_let_go(&c, e, used)) == 0)
			rc = mail_change_end(&c);
		e->fired = c.guard.fired;
		if (c.guard.open)
			e->event = c.guard.event;
	} else {
		e->next = 0;
		e->fired = false;
	}
	mail_close(&o);
	return rc;
}

int
mail_expunge_within(struct kv_txn *txn, struct mail_expunge *x)
{
	struct expunging e = {
	    .store = x->store, .mailbox = x->mailbox, .asker = x->asker, .uids = x->uids,
	    .flags = x->flags | SHELF_EXPUNGE_ATOMIC, .let_go = x->let_go, .from = 1, .gone = x->gone};
	int rc = expunge(txn, &e);

	x->gone_bytes = e.gone_bytes;
	x->fired = e.fired;
	x->event = e.event;
	return rc;
}

void
mail_expunge_tell(struct shelf_store *store, uint32_t account, const struct mail_expunge *x)
{
	if (x->fired)
		mail_guard_tell(store, account, &x->event);
	if (x->let_go && x->gone_bytes > 0)
		shelf_log(SHELF_LOG_WARN, "removed without hold, the store is full", "account", "%u", account,
			  "messages", "%u", shelf_uidset_count(x->gone), "bytes", "%llu",
			  (unsigned long long)x->gone_bytes, NULL);
}

/* Nothing to remove needs no commit: CLOSE of a mailbox without \Deleted is the usual case. */
static int
nothing_to_do(struct shelf_store *store, uint32_t account, uint32_t mailbox, unsigned flags)
{
	struct kv_view *view = NULL;
	struct mail_mbox m;
	int rc;

	if ((rc = kv_view_begin(store->kv, account, &view)) != 0)
		return rc;
	rc = mail_mbox_get(view, mailbox, &m);
	kv_view_end(&view);
	if (rc != 0)
		return rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	return m.exists == 0 || ((flags & SHELF_EXPUNGE_DELETED) != 0 && m.deleted == 0);
}

/* There was no room for a slice: a smaller one may do, or one that holds nothing. False: neither is left. */
static bool
try_less(struct expunging *e)
{
	bool least = e->slice == SLICE_LEAST || (e->flags & SHELF_EXPUNGE_ATOMIC) != 0;

	if (least && e->let_go)
		return false;
	e->slice = least ? SLICE_MESSAGES / 8 : e->slice / 8;
	e->let_go = e->let_go || least;
	e->next = e->from;
	return true;
}

int
shelf_msg_expunge(struct shelf_store *store, uint32_t account, uint32_t mailbox,
		  const struct shelf_uidset *uids, unsigned flags,
		  struct shelf_uidset *expunged_out)
{
	return shelf_msg_expunge_for(store, NULL, account, mailbox, uids, flags, expunged_out);
}

int
shelf_msg_expunge_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
		      uint32_t mailbox, const struct shelf_uidset *uids, unsigned flags,
		      struct shelf_uidset *expunged_out)
{
	struct expunging e = {
	    .store = store, .mailbox = mailbox, .asker = asker, .uids = uids, .flags = flags, .slice = SLICE_MESSAGES,
	    .next = 1};
	int rc = nothing_to_do(store, account, mailbox, flags);
	uint64_t lost = 0, lost_bytes = 0;
	bool fired = false;

	if (rc != 0)
		return rc < 0 ? rc : 0;
	e.gone = shelf_uidset_new();
	while (rc == 0 && e.next != 0) {
		e.from = e.next;
		rc = kv_update(store->kv, account, e.let_go ? 0 : KV_KEEPS, expunge, &e);
		if (rc == SHELF_EFULL && try_less(&e)) {
			rc = 0;
			continue;
		}
		if (rc == 0 && expunged_out != NULL)
			shelf_uidset_or(expunged_out, e.gone);
		if (rc == 0 && e.let_go) {
			lost += shelf_uidset_count(e.gone);
			lost_bytes += e.gone_bytes;
		}
		fired = fired || (rc == 0 && e.fired);
	}
	if (fired)
		mail_guard_tell(store, account, &e.event);
	if (lost > 0)
		shelf_log(SHELF_LOG_WARN, "removed without hold, the store is full", "account", "%u", account,
			  "messages", "%llu", (unsigned long long)lost, "bytes", "%llu",
			  (unsigned long long)lost_bytes, NULL);
	shelf_uidset_free(&e.gone);
	return rc;
}
