/*
 * check_range.c - one range of a mailbox: its pages against its message rows (invariants 1, 3, 4, 5)
 *
 * Pages and rows are both in the order of their uids and are walked side by side in one snapshot.
 */
#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "mail_check.h"

/* The rows of the range, one ahead. */
struct rows {
	struct kv_scan scan;
	int state; /* of the scan: 1 UID and MSG are the next row */
	uint32_t uid;
	bool readable;
	struct mail_msg msg;
};

struct side {
	struct check_walk *w;
	const struct mail_mbox *m;
	struct check_range *r;
	struct rows rows;
	struct index_block block[INDEX_BLOCKS]; /* sums over the pages read */
};

static void
next_row(struct rows *rows)
{
	struct shelf_span key, value;

	rows->state = kv_scan_next(&rows->scan, &key, &value);
	if (rows->state != 1)
		return;
	rows->readable = key.len == 8 && mail_msg_decode(value, &rows->msg) == 0;
	rows->uid = key.len >= 8 ? base_get_be32(key.data + 4) : rows->uid;
}

/* A blob whose derived data cannot be read is found elsewhere. */
static void
check_date(struct check_walk *w, uint32_t mailbox, uint32_t uid, const struct mail_msg *m)
{
	const struct mime_envelope *envelope;
	struct shelf_arena arena = {0};
	struct shelf_buf record = {0};

	if (blob_derived(w->view, m->blob, &record) == 0 &&
	    mime_record_envelope(shelf_buf_span(&record), &arena, &envelope) == 0 &&
	    envelope->sent_s != m->sent_s)
		check_found(w->k, 22, "mailbox %u uid %u: sent at another time than its message says",
			    mailbox, uid);
	shelf_buf_free(&record);
	shelf_arena_free(&arena);
}

void
check_row_blob(struct check_walk *w, uint32_t mailbox, uint32_t uid, const struct mail_msg *m)
{
	struct blob_row blob;
	int rc = w->sums_only ? 0 : blob_get(w->view, m->blob, &blob);

	if (w->sums_only)
		return;
	if (rc != 0)
		check_found(w->k, 4, "mailbox %u uid %u: blob %llu %s", mailbox, uid,
			    (unsigned long long)m->blob,
			    rc == SHELF_EMISSING ? "missing" : "cannot be read");
	else if (blob.size != m->size || memcmp(blob.hash, m->email_id, sizeof(m->email_id)) != 0)
		check_found(w->k, 4, "mailbox %u uid %u: size or id differs from its blob's",
			    mailbox, uid);
	else if (m->dated)
		check_date(w, mailbox, uid, m);
}

/* The next row is counted and passed. ON_PAGE: its page has its uid. */
static void
take_row(struct side *s, bool on_page)
{
	struct check_sums *sums = &s->r->sums;
	struct rows *rows = &s->rows;

	sums->rows++;
	sums->stray += !on_page;
	if (!on_page && !s->w->sums_only && !s->w->going && (s->m->flags & MAIL_MBOX_DELETED) == 0)
		check_found(s->w->k, 3, "mailbox %u uid %u: message row, but not on its page",
			    s->m->id, rows->uid);
	if (!rows->readable) {
		check_found(s->w->k, 3, "mailbox %u uid %u: message row cannot be read", s->m->id,
			    rows->uid);
	} else {
		sums->row_bytes += rows->msg.size;
		sums->noted += rows->msg.noted;
		mail_sums_add(&sums->noted_sums, NULL, &rows->msg);
		if (on_page)
			sums->bytes += rows->msg.size;
		check_row_blob(s->w, s->m->id, rows->uid, &rows->msg);
	}
	next_row(rows);
}

static void
missing_row(struct side *s, uint32_t uid)
{
	s->r->sums.missing++;
	if ((s->m->flags & MAIL_MBOX_DELETED) == 0)
		check_found(s->w->k, 3, "mailbox %u uid %u: message row missing", s->m->id, uid);
}

static void
add_to_block(struct index_block *b, const struct index_counts *c, uint64_t max_modseq)
{
	b->counts.present += c->present;
	b->counts.unseen += c->unseen;
	b->counts.deleted += c->deleted;
	b->max_modseq = max_modseq > b->max_modseq ? max_modseq : b->max_modseq;
}

/* One page: its messages have rows (3), its modseqs are in order (5). */
static int
each_page(void *arg, const struct index_head *head)
{
	struct side *s = arg;
	struct check *k = s->w->k;
	struct check_sums *sums = &s->r->sums;
	struct rows *rows = &s->rows;
	struct index_page *p = k->page;
	struct index_counts c;
	int rc = index_page_get(s->w->view, s->m->id, head->page, p);

	if (rc != 0) {
		if (check_is_damage(rc))
			check_found(k, 3, "mailbox %u: page %u cannot be read", s->m->id, head->page);
		return check_is_damage(rc) ? 0 : rc;
	}
	for (unsigned n = index_bits_next(&p->exists, 0); n < INDEX_PAGE_UIDS;
	     n = index_bits_next(&p->exists, n + 1)) {
		uint32_t uid = p->page << INDEX_PAGE_SHIFT | n;
		uint64_t size;

		while (rows->state == 1 && rows->uid < uid)
			take_row(s, false);
		sums->last_uid = uid;
		if (p->modseq[n] > p->max_modseq || p->modseq[n] == 0)
			check_found(k, 5, "mailbox %u uid %u: modseq out of order", s->m->id, uid);
		if (rows->state != 1 || rows->uid != uid) {
			missing_row(s, uid);
			continue;
		}
		size = rows->readable ? rows->msg.size : 0;
		if (index_page_has(p, INDEX_FLAG_DELETED, n))
			sums->deleted_bytes += size;
		take_row(s, true);
	}
	c = index_page_counts(p);
	add_to_block(&s->block[p->page % INDEX_RANGE_PAGES / INDEX_BLOCK_PAGES], &c, p->max_modseq);
	sums->exists += c.present;
	sums->unseen += c.unseen;
	sums->deleted += c.deleted;
	sums->max_modseq = p->max_modseq > sums->max_modseq ? p->max_modseq : sums->max_modseq;
	return 0;
}

/* FSUM against what the pages have (1). */
static void
check_summary(struct side *s)
{
	const struct index_summary *kept = &s->r->kept;
	const struct check_sums *sums = &s->r->sums;

	if (kept->counts.present != sums->exists || kept->counts.unseen != sums->unseen ||
	    kept->counts.deleted != sums->deleted || kept->max_modseq < sums->max_modseq)
		check_found(s->w->k, 1, "mailbox %u: summary of range %u differs from its pages",
			    s->m->id, s->r->range);
}

/* Its blocks, too: walks skip what they say is empty or unchanged. */
static int
check_blocks(struct side *s)
{
	struct index_range kept;
	int rc = index_range_get(s->w->view, s->m->id, s->r->range, &kept);

	if (rc != 0) /* what cannot be read was told with the summary */
		return check_is_damage(rc) ? 0 : rc;
	for (unsigned i = 0; i < INDEX_BLOCKS; i++) {
		const struct index_block *a = &kept.block[i], *b = &s->block[i];

		if (memcmp(&a->counts, &b->counts, sizeof(a->counts)) != 0 ||
		    a->max_modseq < b->max_modseq || a->max_modseq > kept.sum.max_modseq)
			check_found(s->w->k, 1, "mailbox %u: block %u of range %u differs from its pages",
				    s->m->id, i, s->r->range);
	}
	return 0;
}

int
check_range_read(struct check_walk *w, const struct mail_mbox *m, struct check_range *r)
{
	struct mail_key prefix = mail_key2(m->id, r->range << INDEX_RANGE_SHIFT);
	struct side s = {.w = w, .m = m, .r = r};
	uint32_t page = r->range * INDEX_RANGE_PAGES;
	int rc;

	r->sums = (struct check_sums){0};
	prefix.len -= 2; /* all uids of the range begin with it */
	if (w->k->page == NULL)
		w->k->page = shelf_alloc(sizeof(*w->k->page));
	if ((rc = kv_scan_open(w->view, KV_MSG, mail_key_span(&prefix), shelf_span(NULL, 0),
			       &s.rows.scan)) != 0)
		return rc;
	next_row(&s.rows);
	/* An account under removal, or a count of bytes: only the rows. */
	if (!w->going && !w->sums_only) {
		rc = index_page_each(w->view, m->id, page, page + INDEX_RANGE_PAGES - 1, each_page, &s);
		if (check_is_damage(rc)) {
			check_found(w->k, 3, "mailbox %u: pages of range %u cannot be read", m->id,
				    r->range);
			rc = 0;
		}
	}
	while (rc == 0 && s.rows.state == 1)
		take_row(&s, false);
	if (rc == 0)
		rc = s.rows.state;
	kv_scan_close(&s.rows.scan);
	if (check_is_damage(rc)) {
		check_found(w->k, 3, "mailbox %u: message rows of range %u cannot be read", m->id,
			    r->range);
		rc = 0;
	}
	if (rc == 0 && !w->going && !w->sums_only && (m->flags & MAIL_MBOX_DELETED) == 0) {
		check_summary(&s);
		rc = check_blocks(&s);
	}
	return rc;
}
