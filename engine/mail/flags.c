/*
 * flags.c - STORE: one closure changes the flags of up to SLICE_PAGES pages, each by words of its columns
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
	uint64_t modseq; /* of the slice; 0: nothing changed */
};

/* The columns that the change names, also as a set. */
struct wanted {
	unsigned count;
	uint16_t flag[INDEX_FLAGS];
	bool is[INDEX_FLAGS];
};

static void
want(struct wanted *w, unsigned flag)
{
	if (!w->is[flag])
		w->flag[w->count++] = (uint16_t)flag;
	w->is[flag] = true;
}

static int
resolve(struct mail_change *c, struct mail_open *o, const struct shelf_flag_change *change,
	struct wanted *w)
{
	memset(w, 0, sizeof(*w));
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

/* Sets what is asked for on the messages WHICH; which of them changed. */
static struct index_bits
apply(struct index_page *p, const struct index_bits *which, const struct shelf_flag_change *change,
    const struct wanted *w)
{
	enum shelf_flag_op op = change->op;
	struct index_bits changed = {{0}};

	for (unsigned i = 0; i < w->count; i++)
		index_page_set_all(p, w->flag[i], which, op != SHELF_FLAGS_REMOVE, &changed);
	for (unsigned f = op == SHELF_FLAGS_REPLACE ? index_page_next_flag(p, 0) : INDEX_FLAGS;
	     f < INDEX_FLAGS; f = index_page_next_flag(p, f + 1))
		if (!w->is[f] && !(f < 5 ? (change->kept_flags >> f & 1) != 0 : change->kept_keywords))
			index_page_set_all(p, f, which, false, &changed);
	return changed;
}

/* Bytes of the messages WHICH of a page. */
static int
sizes_of(struct mail_change *c, uint32_t mailbox, uint32_t page, const struct index_bits *which, uint64_t *out)
{
	unsigned n = index_bits_next(which, 0), left = index_bits_count(which);
	struct mail_key prefix = mail_key1(mailbox), from = mail_key2(mailbox, page << INDEX_PAGE_SHIFT | n);
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_msg msg;
	int rc;

	*out = 0;
	if (left == 0)
		return 0;
	rc = kv_scan_open(kv_txn_view(c->txn), KV_MSG, mail_key_span(&prefix), mail_key_span(&from), &scan);
	if (rc != 0)
		return rc;
	while (left > 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		uint32_t uid = key.len == 8 ? base_get_be32(key.data + 4) : 0;

		if (uid >> INDEX_PAGE_SHIFT != page)
			break;
		if (!index_bit(which, uid % INDEX_PAGE_UIDS))
			continue;
		if ((rc = mail_msg_decode(value, &msg)) != 0)
			break;
		*out += msg.size;
		left--;
	}
	kv_scan_close(&scan);
	return rc < 0 ? rc : left > 0 ? SHELF_ECORRUPT : 0;
}

/* \Deleted before and after: its bytes are counted. */
static int
count_deleted(struct mail_change *c, struct mail_open *o, const struct index_bits *before)
{
	const struct index_bits *now = &o->page->flag[INDEX_FLAG_DELETED];
	struct index_bits more, less;
	uint64_t more_bytes, less_bytes;
	int rc;

	for (int w = 0; w < 4; w++) {
		more.word[w] = now->word[w] & ~before->word[w];
		less.word[w] = before->word[w] & ~now->word[w];
	}
	if ((rc = sizes_of(c, o->row.id, o->page->page, &more, &more_bytes)) != 0 ||
	    (rc = sizes_of(c, o->row.id, o->page->page, &less, &less_bytes)) != 0)
		return rc;
	o->row.deleted_bytes += more_bytes - less_bytes;
	return 0;
}

/* The loaded page. */
static int
store_page(struct mail_change *c, struct mail_open *o, struct storing *s, const struct wanted *w)
{
	struct index_page *p = o->page;
	const struct index_bits deleted = p->flag[INDEX_FLAG_DELETED];
	struct index_bits which = index_bits_of(s->uids, p->page), changed;

	for (int i = 0; i < 4; i++)
		which.word[i] &= p->exists.word[i];
	for (unsigned n = s->change->unchanged_since == UINT64_MAX ? INDEX_PAGE_UIDS
								   : index_bits_next(&which, 0);
	     n < INDEX_PAGE_UIDS; n = index_bits_next(&which, n + 1))
		if (p->modseq[n] > s->change->unchanged_since) {
			shelf_uidset_add(s->modified, p->page << INDEX_PAGE_SHIFT | n);
			index_bit_set(&which, n, false);
		}
	changed = apply(p, &which, s->change, w);
	if (!index_bits_any(&changed))
		return 0;
	mail_open_touch(c, o);
	for (unsigned n = index_bits_next(&changed, 0); n < INDEX_PAGE_UIDS;
	     n = index_bits_next(&changed, n + 1))
		p->modseq[n] = c->modseq;
	return count_deleted(c, o, &deleted);
}

static int
store_slice(struct mail_change *c, struct mail_open *o, struct storing *s)
{
	unsigned pages = 0;
	struct wanted w;
	uint32_t uid = shelf_uidset_next(s->uids, s->from);
	int rc;

	s->next = 0;
	if ((rc = resolve(c, o, s->change, &w)) != 0)
		return rc;
	while (uid != 0 && uid < o->row.uidnext) {
		if (pages++ == SLICE_PAGES) {
			s->next = uid;
			break;
		}
		if ((rc = mail_open_page(c, o, uid)) != 0 || (rc = store_page(c, o, s, &w)) != 0)
			return rc;
		uid = (uid | (INDEX_PAGE_UIDS - 1)) + 1;
		uid = uid == 0 ? 0 : shelf_uidset_next(s->uids, uid); /* behind the last page comes none */
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
	if ((rc = mail_open(&c, s->mailbox, &o)) == 0 &&
	    (rc = mail_may(txn, s->mailbox, s->change->asker)) == 0 && (rc = store_slice(&c, &o, s)) == 0 &&
	    (rc = mail_open_flush(&c, &o)) == 0)
		rc = mail_change_end(&c);
	s->modseq = c.modseq;
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
		if (rc == 0 && modseq_out != NULL && s.modseq != 0)
			*modseq_out = s.modseq;
	}
	shelf_uidset_free(&s.modified);
	return rc;
}
