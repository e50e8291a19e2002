/*
 * pop3.c - which messages POP3 has fetched and when, which it does not show
 *
 * key      mailbox u32, page u32 (uid / 256)
 * value    1 | bytes of the hidden ones 8 | hidden, bits 32 | fetched, bits 32 | when, seconds 4 for each of these
 *
 * What must stay true
 *   - A bit is set only for a message that is there: it leaves in mail_remove, with the message.
 *   - The bytes are the sum of the sizes of the hidden ones, so that a maildrop is opened without their rows.
 *   - A page without bits has no row.
 */
#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "mail.h"

enum { FORMAT = 1, SLICE_PAGES = 256 };

/* ---- Rows ---------------------------------------------------------------------------------------- */

static void
get_bits(struct base_reader *r, struct index_bits *bits)
{
	for (int w = 0; w < 4; w++)
		bits->word[w] = base_get_le(r, 8);
}

int
mail_pop3_decode(struct shelf_span key, struct shelf_span value, struct mail_pop3 *out)
{
	struct base_reader r = base_reader(value);

	if (key.len != 8)
		return SHELF_ECORRUPT;
	*out = (struct mail_pop3){.page = base_get_be32(key.data + 4), .was = true};
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	out->hidden_bytes = base_get_le(&r, 8);
	get_bits(&r, &out->hidden);
	get_bits(&r, &out->fetched);
	for (unsigned n = index_bits_next(&out->fetched, 0); n < INDEX_PAGE_UIDS;
	     n = index_bits_next(&out->fetched, n + 1))
		out->when[n] = (uint32_t)base_get_le(&r, 4);
	if (r.bad || base_left(&r) != 0 || (!index_bits_any(&out->hidden) && !index_bits_any(&out->fetched)))
		return SHELF_ECORRUPT;
	return 0;
}

static int
put_row(struct kv_txn *txn, uint32_t mailbox, const struct mail_pop3 *p)
{
	struct mail_key key = mail_key2(mailbox, p->page);
	struct shelf_buf b = {0};
	int rc;

	if (!index_bits_any(&p->hidden) && !index_bits_any(&p->fetched))
		return p->was ? kv_del(txn, KV_POP3, mail_key_span(&key)) : 0;
	base_add_le(&b, FORMAT, 1);
	base_add_le(&b, p->hidden_bytes, 8);
	for (int w = 0; w < 4; w++)
		base_add_le(&b, p->hidden.word[w], 8);
	for (int w = 0; w < 4; w++)
		base_add_le(&b, p->fetched.word[w], 8);
	for (unsigned n = index_bits_next(&p->fetched, 0); n < INDEX_PAGE_UIDS;
	     n = index_bits_next(&p->fetched, n + 1))
		base_add_le(&b, p->when[n], 4);
	rc = kv_put(txn, KV_POP3, mail_key_span(&key), shelf_buf_span(&b));
	shelf_buf_free(&b);
	return rc;
}

static int
get_row(struct kv_view *view, uint32_t mailbox, uint32_t page, struct mail_pop3 *out)
{
	struct mail_key key = mail_key2(mailbox, page);
	struct shelf_span value;
	int rc = kv_get(view, KV_POP3, mail_key_span(&key), &value);

	*out = (struct mail_pop3){.page = page};
	if (rc == 0)
		rc = mail_pop3_decode(mail_key_span(&key), value, out);
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* ---- In a change --------------------------------------------------------------------------------- */

int
mail_pop3_flush(struct mail_change *c, struct mail_open *o)
{
	int rc = 0;

	if (o->pop3 != NULL && o->pop3->dirty)
		rc = put_row(c->txn, o->row.id, o->pop3);
	if (o->pop3 != NULL) {
		o->pop3->was = index_bits_any(&o->pop3->hidden) || index_bits_any(&o->pop3->fetched);
		o->pop3->dirty = false;
	}
	return rc;
}

static int
load(struct mail_change *c, struct mail_open *o, uint32_t uid)
{
	uint32_t page = uid >> INDEX_PAGE_SHIFT;
	int rc;

	if (o->pop3 != NULL && o->pop3->page == page)
		return 0;
	if ((rc = mail_pop3_flush(c, o)) != 0)
		return rc;
	if (o->pop3 == NULL)
		o->pop3 = shelf_alloc(sizeof(*o->pop3));
	if ((rc = get_row(kv_txn_view(c->txn), o->row.id, page, o->pop3)) != 0) {
		free(o->pop3);
		o->pop3 = NULL;
	}
	return rc;
}

static void
set_hidden(struct mail_pop3 *p, unsigned n, bool on, uint64_t size)
{
	if (index_bit(&p->hidden, n) == on)
		return;
	index_bit_set(&p->hidden, n, on);
	p->hidden_bytes += on ? size : -size;
	p->dirty = true;
}

static void
set_fetched(struct mail_pop3 *p, unsigned n, uint32_t when)
{
	if (index_bit(&p->fetched, n) ? p->when[n] >= when : when == 0)
		return;
	index_bit_set(&p->fetched, n, true);
	p->when[n] = when;
	p->dirty = true;
}

int
mail_pop3_take(struct mail_change *c, struct mail_open *o, uint32_t uid, uint64_t size, struct mail_pop3_mark *out)
{
	unsigned n = uid % INDEX_PAGE_UIDS;
	int rc = load(c, o, uid);

	*out = (struct mail_pop3_mark){0};
	if (rc != 0)
		return rc;
	out->hidden = index_bit(&o->pop3->hidden, n);
	set_hidden(o->pop3, n, false, size);
	if (index_bit(&o->pop3->fetched, n)) {
		out->when = o->pop3->when[n];
		index_bit_set(&o->pop3->fetched, n, false);
		o->pop3->dirty = true;
	}
	return 0;
}

int
mail_pop3_give(struct mail_change *c, struct mail_open *o, uint32_t uid, uint64_t size,
	       const struct mail_pop3_mark *mark)
{
	int rc;

	if (mark->when == 0 && !mark->hidden)
		return 0;
	if ((rc = load(c, o, uid)) != 0)
		return rc;
	set_fetched(o->pop3, uid % INDEX_PAGE_UIDS, mark->when);
	set_hidden(o->pop3, uid % INDEX_PAGE_UIDS, mark->hidden, size);
	return 0;
}

/* ---- What a session leaves behind ---------------------------------------------------------------- */

struct noting {
	struct shelf_store *store;
	uint32_t mailbox;
	const struct shelf_pop3_note *note;
	bool whole;	     /* in one transaction */
	uint32_t from, next; /* next 0: done */
};

static uint32_t
next_of(const struct shelf_uidset *s, uint32_t from, uint32_t least)
{
	uint32_t uid = s == NULL ? 0 : shelf_uidset_next(s, from);

	return uid != 0 && (least == 0 || uid < least) ? uid : least;
}

static bool
is_in(const struct shelf_uidset *s, uint32_t uid)
{
	return s != NULL && shelf_uidset_has(s, uid);
}

static int
note_one(struct mail_change *c, struct mail_open *o, const struct shelf_pop3_note *note, uint32_t uid)
{
	unsigned n = uid % INDEX_PAGE_UIDS;
	struct mail_msg msg;
	bool hide = is_in(note->hide, uid);
	int rc;

	if (is_in(note->fetched, uid))
		set_fetched(o->pop3, n, (uint32_t)note->fetched_s);
	if (!hide && !is_in(note->show, uid))
		return 0;
	if ((rc = mail_msg_get(kv_txn_view(c->txn), o->row.id, uid, &msg)) == 0)
		set_hidden(o->pop3, n, hide, msg.size);
	return rc == SHELF_ENOMESSAGE ? SHELF_ECORRUPT : rc;
}

static int
note_slice(struct mail_change *c, struct mail_open *o, struct noting *n)
{
	const struct shelf_pop3_note *note = n->note;
	uint32_t uid = n->from, page = UINT32_MAX;
	unsigned pages = 0;
	int rc;

	for (n->next = 0;; uid++) {
		uid = next_of(note->fetched, uid, next_of(note->hide, uid, next_of(note->show, uid, 0)));
		if (uid == 0 || uid >= o->row.uidnext)
			return 0;
		if (uid >> INDEX_PAGE_SHIFT != page && pages++ == SLICE_PAGES && !n->whole) {
			n->next = uid;
			return 0;
		}
		page = uid >> INDEX_PAGE_SHIFT;
		if ((rc = mail_open_page(c, o, uid)) != 0 || (rc = load(c, o, uid)) != 0)
			return rc;
		if (index_bit(&o->page->exists, uid % INDEX_PAGE_UIDS) &&
		    (rc = note_one(c, o, note, uid)) != 0)
			return rc;
	}
}

static int
take_note(struct kv_txn *txn, void *arg)
{
	struct noting *n = arg;
	struct mail_change c;
	struct mail_open o = {0};
	int rc;

	if ((rc = mail_change_begin(&c, n->store, txn)) != 0)
		return rc;
	if ((rc = mail_open(&c, n->mailbox, &o)) == 0 && (rc = note_slice(&c, &o, n)) == 0 &&
	    (rc = mail_open_flush(&c, &o)) == 0)
		rc = mail_change_end(&c);
	mail_close(&o);
	return rc;
}

static bool
has_any(const struct shelf_uidset *s)
{
	return s != NULL && shelf_uidset_min(s) != 0;
}

int
shelf_pop3_note(struct shelf_store *store, uint32_t account, uint32_t mailbox, const struct shelf_pop3_note *note)
{
	bool marks = has_any(note->hide) || has_any(note->show);
	struct noting n = {.store = store, .mailbox = mailbox, .note = note, .whole = marks, .next = 1};
	int rc;

	if (!marks && !has_any(note->fetched))
		return 0;
	rc = mail_disk_admit(store, account, SHELF_DISK_READONLY);
	while (rc == 0 && n.next != 0) {
		n.from = n.next;
		/* Hiding is POP3's way to remove: it may use the reserve. */
		rc = kv_update(store->kv, account, KV_QUIET | (marks ? 0 : KV_ADDS), take_note, &n);
	}
	return rc;
}

struct later {
	struct noting n;
	struct shelf_pop3_note note;
	struct shelf_uidset *fetched;
	uint32_t account;
};

static void
end_later(void *arg, int rc)
{
	struct later *l = arg;

	if (rc != 0)
		shelf_log(SHELF_LOG_WARN, "pop3 fetched not noted", "account", "%u", l->account, "error", "%s",
			  shelf_err_name(rc), NULL);
	shelf_uidset_free(&l->fetched);
	free(l);
}

void
shelf_pop3_note_later(struct shelf_store *store, uint32_t account, uint32_t mailbox,
		      const struct shelf_pop3_note *note)
{
	struct later *l;

	if (!has_any(note->fetched))
		return;
	l = SHELF_NEW(struct later);
	l->account = account;
	l->fetched = shelf_uidset_copy(note->fetched);
	l->note = (struct shelf_pop3_note){.fetched = l->fetched, .fetched_s = note->fetched_s};
	l->n = (struct noting){.store = store, .mailbox = mailbox, .note = &l->note, .whole = true, .from = 1};
	kv_submit(store->kv, account, KV_QUIET | KV_ADDS, take_note, &l->n, end_later, l);
}

/* ---- Reading ------------------------------------------------------------------------------------- */

int
shelf_pop3_get(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid, struct shelf_pop3_state *out)
{
	struct mail_pop3 p;
	unsigned n = uid % INDEX_PAGE_UIDS;
	int rc = get_row(rd->view, mailbox, uid >> INDEX_PAGE_SHIFT, &p);

	*out = (struct shelf_pop3_state){0};
	if (rc != 0)
		return rc;
	out->hidden = index_bit(&p.hidden, n);
	out->fetched_s = index_bit(&p.fetched, n) ? p.when[n] : 0;
	return 0;
}

/* False ends the walk. */
typedef bool page_fn(void *arg, const struct mail_pop3 *p);

static int
each_page(struct shelf_rd *rd, uint32_t mailbox, page_fn *fn, void *arg)
{
	struct mail_key prefix = mail_key1(mailbox);
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_pop3 p;
	int rc = kv_scan_open(rd->view, KV_POP3, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_pop3_decode(key, value, &p)) != 0)
			break;
		if (!fn(arg, &p)) {
			rc = 0;
			break;
		}
	}
	kv_scan_close(&scan);
	return rc;
}

struct gathering {
	struct shelf_uidset *set;
	int64_t before_s;
	uint64_t bytes;
};

static bool
add_fetched(void *arg, const struct mail_pop3 *p)
{
	struct gathering *g = arg;
	struct index_bits bits = p->fetched;

	for (unsigned n = index_bits_next(&bits, 0); n < INDEX_PAGE_UIDS; n = index_bits_next(&bits, n + 1))
		if (p->when[n] >= g->before_s)
			index_bit_set(&bits, n, false);
	index_bits_add_to(&bits, p->page, g->set);
	return true;
}

int
shelf_pop3_fetched_before(struct shelf_rd *rd, uint32_t mailbox, int64_t before_s, struct shelf_uidset *set)
{
	struct gathering g = {.set = set, .before_s = before_s};

	return each_page(rd, mailbox, add_fetched, &g);
}

static bool
add_hidden(void *arg, const struct mail_pop3 *p)
{
	struct gathering *g = arg;

	index_bits_add_to(&p->hidden, p->page, g->set);
	g->bytes += p->hidden_bytes;
	return true;
}

int
shelf_pop3_hidden(struct shelf_rd *rd, uint32_t mailbox, struct shelf_uidset *set, uint64_t *bytes_out)
{
	struct gathering g = {.set = set};
	int rc = each_page(rd, mailbox, add_hidden, &g);

	*bytes_out = g.bytes;
	return rc;
}

static bool
hides_none(void *arg, const struct mail_pop3 *p)
{
	*(bool *)arg = index_bits_any(&p->hidden);
	return !*(bool *)arg;
}

int
shelf_pop3_hides(struct shelf_rd *rd, uint32_t mailbox, bool *out)
{
	*out = false;
	return each_page(rd, mailbox, hides_none, out);
}
