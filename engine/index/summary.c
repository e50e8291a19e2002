/*
 * summary.c - one row per 65,536 uids, so that walks skip what has nothing for them
 *
 * FSUM key: mailbox u32, range u32 (big-endian). Value:
 *   OFFSET SIZE MEANING
 *   0      1    format, 2 (1: ends at 21, the blocks are not told)
 *   1      4    present      5  4  unseen      9  4  deleted
 *   13     8    highest modseq of its pages, removals included
 *   21     14   16 times, for each block of 4,096 uids: present u16, unseen u16, deleted u16,
 *               highest modseq u64
 *
 * What must stay true: the counts of a range are the sums over its blocks, its modseq is their highest.
 */
#include "base.h"
#include "index.h"
#include "kv.h"

enum { FORMAT_PLAIN = 1, FORMAT = 2, KEY_BYTES = 8, HEAD_BYTES = 21, BLOCK_BYTES = 14 };

/* The format of a row whose length fits it, or an error. */
static int
decode(struct shelf_span value, struct index_summary *s)
{
	struct base_reader r = base_reader(value);
	unsigned format = (unsigned)base_get_le(&r, 1);

	if (format != FORMAT_PLAIN && format != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	s->counts.present = (uint32_t)base_get_le(&r, 4);
	s->counts.unseen = (uint32_t)base_get_le(&r, 4);
	s->counts.deleted = (uint32_t)base_get_le(&r, 4);
	s->max_modseq = base_get_le(&r, 8);
	if (r.bad || (format == FORMAT && base_left(&r) != INDEX_BLOCKS * BLOCK_BYTES))
		return SHELF_ECORRUPT;
	return (int)format;
}

static struct shelf_span
summary_key(uint8_t *key, uint32_t mailbox, uint32_t range)
{
	base_put_be32(key, mailbox);
	base_put_be32(key + 4, range);
	return shelf_span(key, KEY_BYTES);
}

int
index_summary_get(struct kv_view *view, uint32_t mailbox, uint32_t range, struct index_summary *s)
{
	struct shelf_span value;
	uint8_t key[KEY_BYTES];
	int rc = kv_get(view, KV_FSUM, summary_key(key, mailbox, range), &value);

	*s = (struct index_summary){.range = range};
	if (rc == 0)
		rc = decode(value, s);
	return rc > 0 || rc == SHELF_EMISSING ? 0 : rc;
}

/* The blocks of a row that does not tell them. */
static int
add_page(void *arg, const struct index_head *head)
{
	struct index_range *r = arg;
	struct index_block *b =
	    &r->block[head->page % INDEX_RANGE_PAGES / INDEX_BLOCK_PAGES];

	b->counts.present += head->counts.present;
	b->counts.unseen += head->counts.unseen;
	b->counts.deleted += head->counts.deleted;
	b->max_modseq = head->max_modseq > b->max_modseq ? head->max_modseq : b->max_modseq;
	return 0;
}

static int
sum_up(struct kv_view *view, uint32_t mailbox, struct index_range *r)
{
	uint32_t first = r->sum.range * INDEX_RANGE_PAGES;
	uint64_t top = 0;
	int rc = index_page_each(view, mailbox, first, first + INDEX_RANGE_PAGES - 1, add_page, r);

	for (unsigned i = 0; i < INDEX_BLOCKS; i++)
		top = r->block[i].max_modseq > top ? r->block[i].max_modseq : top;
	/* A page that was emptied has no row, and nobody knows any more where it was. */
	for (unsigned i = 0; i < INDEX_BLOCKS && top < r->sum.max_modseq; i++)
		r->block[i].max_modseq = r->sum.max_modseq;
	return rc;
}

int
index_range_get(struct kv_view *view, uint32_t mailbox, uint32_t range, struct index_range *out)
{
	struct shelf_span value;
	struct base_reader r;
	uint8_t key[KEY_BYTES];
	int rc = kv_get(view, KV_FSUM, summary_key(key, mailbox, range), &value);

	*out = (struct index_range){.sum.range = range};
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if ((rc = decode(value, &out->sum)) < 0)
		return rc;
	if (rc == FORMAT_PLAIN)
		return sum_up(view, mailbox, out);
	r = base_reader(shelf_span(value.data + HEAD_BYTES, value.len - HEAD_BYTES));
	for (unsigned i = 0; i < INDEX_BLOCKS; i++) {
		out->block[i].counts.present = (uint32_t)base_get_le(&r, 2);
		out->block[i].counts.unseen = (uint32_t)base_get_le(&r, 2);
		out->block[i].counts.deleted = (uint32_t)base_get_le(&r, 2);
		out->block[i].max_modseq = base_get_le(&r, 8);
	}
	return r.bad ? SHELF_ECORRUPT : 0;
}

int
index_range_put(struct kv_txn *txn, uint32_t mailbox, const struct index_range *r)
{
	struct shelf_buf value = {0};
	uint8_t key[KEY_BYTES];
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, r->sum.counts.present, 4);
	base_add_le(&value, r->sum.counts.unseen, 4);
	base_add_le(&value, r->sum.counts.deleted, 4);
	base_add_le(&value, r->sum.max_modseq, 8);
	for (unsigned i = 0; i < INDEX_BLOCKS; i++) {
		base_add_le(&value, r->block[i].counts.present, 2);
		base_add_le(&value, r->block[i].counts.unseen, 2);
		base_add_le(&value, r->block[i].counts.deleted, 2);
		base_add_le(&value, r->block[i].max_modseq, 8);
	}
	rc = kv_put(txn, KV_FSUM, summary_key(key, mailbox, r->sum.range), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

int
index_summary_each(struct kv_view *view, uint32_t mailbox, uint32_t from, index_summary_fn *fn,
		   void *arg)
{
	uint8_t first[KEY_BYTES];
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	summary_key(first, mailbox, from);
	rc = kv_scan_open(view, KV_FSUM, shelf_span(first, 4), shelf_span(first, KEY_BYTES), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		struct index_summary s;

		if (key.len != KEY_BYTES) {
			rc = SHELF_ECORRUPT;
			break;
		}
		s.range = base_get_be32(key.data + 4);
		if ((rc = decode(value, &s)) < 0 || (rc = fn(arg, &s)) != 0)
			break;
	}
	kv_scan_close(&scan);
	return rc;
}
