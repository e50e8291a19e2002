/*
 * flags.c - STORE: one closure changes the flags of up to SLICE_PAGES pages
 *
 * Names of keywords become bits inside the closure, as another session may be adding keywords. A message
 * whose flags already are as asked keeps its modseq (RFC 7162 3.1.3 counts changes, not commands).
 */
#include <mailshelf/mem.h>

#include "mail.h"

enum { SLICE_PAGES = 300 };

struct storing {
	struct shelf_store *store;
	uint32_t mailbox;
	const struct shelf_uidset *uids;
	const struct shelf_flag_change *change;
	uint32_t from, next; /* this slice begins at FROM; the next one at NEXT, 0: done */
	struct shelf_uidset *modified; /* of this slice */
	uint64_t modseq;
};

/* The columns that the change names. */
struct wanted {
	struct index_bits low; /* flag numbers 0..255 */
	uint8_t high;
};

static bool
is_wanted(const struct wanted *w, unsigned flag)
{
	return flag < 256 ? index_bit(&w->low, flag) : (w->high >> (flag - 256) & 1) != 0;
}

static void
want(struct wanted *w, unsigned flag)
{
	if (flag < 256)
		index_bit_set(&w->low, flag, true);
	else
		w->high |= (uint8_t)(1u << (flag - 256));
}

static int
resolve(struct mail_change *c, struct mail_open *o, const struct shelf_flag_change *change,
	struct wanted *w)
{
	*w = (struct wanted){0};
	for (unsigned f = 0; f < 5; f++)
		if ((change->flags >> f & 1) != 0)
			want(w, f);
	for (size_t k = 0; k < change->nkeywords; k++) {
		uint32_t number;
		int rc;

		/* Removing a keyword that the mailbox never had changes nothing. */
		if (change->op == SHELF_FLAGS_REMOVE) {
			rc = mail_keyword_lookup(kv_txn_view(c->txn), o->row.id, o->row.keywords,
						 change->keywords[k], &number);
			if (rc == SHELF_EMISSING)
				continue;
		} else {
			rc = mail_keyword_number(c, o, change->keywords[k], &number);
		}
		if (rc != 0)
			return rc;
		want(w, INDEX_FLAG_KEYWORD + number);
	}
	return 0;
}

/* 1 when any bit of message N changed. */
static int
apply(struct index_page *p, unsigned n, enum shelf_flag_op op, const struct wanted *w)
{
	int changed = 0;

	for (unsigned f = 0; f < INDEX_FLAGS; f++) {
		bool named = is_wanted(w, f),
		     has = index_page_flag_used(p, f) && index_page_has(p, f, n);
		bool will = op == SHELF_FLAGS_ADD      ? has || named
			    : op == SHELF_FLAGS_REMOVE ? has && !named
						       : named;

		if (will != has) {
			index_page_set(p, f, n, will);
			changed = 1;
		}
	}
	return changed;
}

static int
store_one(struct mail_change *c, struct mail_open *o, struct storing *s, const struct wanted *w,
	  uint32_t uid)
{
	struct index_page *p = o->page;
	unsigned n = uid % INDEX_PAGE_UIDS;
	bool deleted = index_page_has(p, INDEX_FLAG_DELETED, n);
	struct mail_msg msg;
	int rc;

	if (p->modseq[n] > s->change->unchanged_since) {
		shelf_uidset_add(s->modified, uid);
		return 0;
	}
	if (apply(p, n, s->change->op, w) == 0)
		return 0;
	mail_open_touch(c, o);
	p->modseq[n] = c->modseq;
	if (index_page_has(p, INDEX_FLAG_DELETED, n) == deleted)
		return 0;
	if ((rc = mail_msg_get(kv_txn_view(c->txn), s->mailbox, uid, &msg)) != 0)
		return rc == SHELF_ENOMESSAGE ? SHELF_ECORRUPT : rc;
	o->row.deleted_bytes += deleted ? -msg.size : msg.size;
	return 0;
}

static int
store_slice(struct mail_change *c, struct mail_open *o, struct storing *s)
{
	unsigned pages = 0;
	struct wanted w;
	uint32_t uid;
	int rc;

	if ((rc = resolve(c, o, s->change, &w)) != 0)
		return rc;
	s->next = 0;
	for (uid = shelf_uidset_next(s->uids, s->from); uid != 0 && uid < o->row.uidnext;
	     uid = shelf_uidset_next(s->uids, uid + 1)) {
		if (o->page == NULL || o->page->page != uid >> INDEX_PAGE_SHIFT) {
			if (pages++ == SLICE_PAGES) {
				s->next = uid;
				break;
			}
			if ((rc = mail_open_page(c, o, uid)) != 0)
				return rc;
		}
		if (index_bit(&o->page->exists, uid % INDEX_PAGE_UIDS) &&
		    (rc = store_one(c, o, s, &w, uid)) != 0)
			return rc;
	}
	return 0;
}

static int
store(struct kv_txn *txn, void *arg)
{
	struct storing *s = arg;
	struct mail_change c;
	struct mail_open o;
	int rc;

	shelf_uidset_clear(s->modified);
	if ((rc = mail_change_begin(&c, s->store, txn)) != 0)
		return rc;
	if ((rc = mail_open(&c, s->mailbox, &o)) == 0 && (rc = store_slice(&c, &o, s)) == 0 &&
	    (rc = mail_open_flush(&c, &o)) == 0)
		rc = mail_change_end(&c);
	s->modseq = c.acct.modseq;
	mail_close(&o);
	return rc;
}

int
shelf_msg_set_flags(struct shelf_store *store_, uint32_t account, uint32_t mailbox,
		    const struct shelf_uidset *uids, const struct shelf_flag_change *change,
		    struct shelf_uidset *modified_out, uint64_t *modseq_out)
{
	struct storing s = {
	    .store = store_, .mailbox = mailbox, .uids = uids, .change = change, .next = 1};
	bool adds;
	int rc = 0;

	for (size_t k = 0; k < change->nkeywords; k++)
		if (change->op != SHELF_FLAGS_REMOVE && !mail_keyword_valid(change->keywords[k]))
			return SHELF_ESYNTAX;
	/* Who empties a full store by IMAP has to set \Deleted first. */
	adds = change->op != SHELF_FLAGS_REMOVE &&
	       (change->nkeywords > 0 || (change->flags & SHELF_DELETED) == 0);
	if ((adds || change->op == SHELF_FLAGS_REMOVE) &&
	    (rc = mail_disk_admit(store_, account, SHELF_DISK_READONLY)) != 0)
		return rc;
	s.modified = shelf_uidset_new();
	while (rc == 0 && s.next != 0) {
		s.from = s.next;
		rc = kv_update(store_->kv, account, adds ? KV_ADDS : 0, store, &s);
		if (rc == 0 && modified_out != NULL)
			shelf_uidset_or(modified_out, s.modified);
	}
	if (modseq_out != NULL)
		*modseq_out = s.modseq;
	shelf_uidset_free(&s.modified);
	return rc;
}
