/*
 * page.c - the stored form of a page
 *
 * FPAGE key: mailbox u32, page u32, part u8 (big-endian). Value of part 0 (little-endian; the other parts
 * are its continuation):
 *   OFFSET SIZE MEANING
 *   0      1    format, 1
 *   1      1    parts
 *   2      2    present      4  2  unseen      6  2  deleted
 *   8      8    highest modseq, removals included
 *   16     32   exists, one bit per uid, lowest first
 *   48     8    base modseq (the lowest of those present)
 *   56     1    bytes of a modseq delta: 0 (all equal the base), 1, 2, 4, 8
 *   57     2    columns
 *   59     ...  columns, ascending: flag number u16, count u8, then COUNT positions u8;
 *               count 0: a bitmap of 32 bytes instead
 *   ...    ...  deltas from the base, one for each present uid, ascending (none for width 0)
 */
#include <endian.h>

#include <mailshelf/mem.h>

#include "base.h"
#include "index.h"
#include "kv.h"

enum {
	FORMAT = 1,
	KEY_BYTES = 9,
	HEAD_BYTES = 48,
	SPARSE_MAX = 31, /* positions: as long as the bitmap */
};

unsigned
index_bits_next(const struct index_bits *b, unsigned from)
{
	for (unsigned w = from >> 6; w < 4; w++) {
		uint64_t v = b->word[w];

		if (w == from >> 6)
			v &= ~(uint64_t)0 << (from & 63);
		if (v != 0)
			return w * 64 + (unsigned)__builtin_ctzll(v);
	}
	return INDEX_PAGE_UIDS;
}

unsigned
index_bits_rank(const struct index_bits *b, unsigned n)
{
	unsigned r = 0;

	for (unsigned w = 0; w < n >> 6; w++)
		r += (unsigned)__builtin_popcountll(b->word[w]);
	if ((n & 63) != 0)
		r += (unsigned)__builtin_popcountll(b->word[n >> 6] & (((uint64_t)1 << (n & 63)) - 1));
	return r;
}

struct index_counts
index_page_counts(const struct index_page *p)
{
	struct index_counts c = {.present = index_bits_count(&p->exists)};

	c.unseen = c.present - index_bits_count(&p->flag[INDEX_FLAG_SEEN]);
	c.deleted = index_bits_count(&p->flag[INDEX_FLAG_DELETED]);
	return c;
}

void
index_page_clear(struct index_page *p, uint32_t page)
{
	memset(p, 0, sizeof(*p));
	p->page = page;
}

bool
index_page_flag_used(const struct index_page *p, unsigned flag)
{
	return flag < 256 ? index_bit(&p->used, flag) : (p->used_high >> (flag - 256) & 1) != 0;
}

static void
mark_used(struct index_page *p, unsigned flag, bool on)
{
	if (flag < 256)
		index_bit_set(&p->used, flag, on);
	else if (on)
		p->used_high |= (uint8_t)(1u << (flag - 256));
	else
		p->used_high &= (uint8_t) ~(1u << (flag - 256));
}

void
index_page_set(struct index_page *p, unsigned flag, unsigned n, bool on)
{
	SHELF_ASSERT(flag < INDEX_FLAGS && n < INDEX_PAGE_UIDS);
	index_bit_set(&p->flag[flag], n, on);
	mark_used(p, flag, on || index_bits_any(&p->flag[flag]));
}

void
index_page_set_all(struct index_page *p, unsigned flag, const struct index_bits *which, bool on,
		   struct index_bits *changed)
{
	struct index_bits *column = &p->flag[flag];

	SHELF_ASSERT(flag < INDEX_FLAGS);
	for (int w = 0; w < 4; w++) {
		uint64_t old = column->word[w];

		column->word[w] = on ? old | which->word[w] : old & ~which->word[w];
		changed->word[w] |= old ^ column->word[w];
	}
	mark_used(p, flag, index_bits_any(column));
}

unsigned
index_page_next_flag(const struct index_page *p, unsigned from)
{
	unsigned high;

	if (from < 256 && (from = index_bits_next(&p->used, from)) < 256)
		return from;
	high = from - 256 < INDEX_FLAGS - 256 ? (unsigned)p->used_high >> (from - 256) : 0;
	return high != 0 ? from + (unsigned)__builtin_ctz(high) : INDEX_FLAGS;
}

void
index_page_remove(struct index_page *p, unsigned n)
{
	index_bit_set(&p->exists, n, false);
	for (unsigned f = index_page_next_flag(p, 0); f < INDEX_FLAGS; f = index_page_next_flag(p, f + 1))
		if (index_page_has(p, f, n))
			index_page_set(p, f, n, false);
	p->modseq[n] = 0;
}

static struct shelf_span
page_key(uint8_t *key, uint32_t mailbox, uint32_t page, uint8_t part)
{
	base_put_be32(key, mailbox);
	base_put_be32(key + 4, page);
	key[8] = part;
	return shelf_span(key, KEY_BYTES);
}

static void
add_bits(struct shelf_buf *b, const struct index_bits *bits)
{
	for (int w = 0; w < 4; w++)
		base_add_le(b, bits->word[w], 8);
}

static void
get_bits(struct base_reader *r, struct index_bits *bits)
{
	struct shelf_span s = base_get_bytes(r, sizeof(bits->word));

	*bits = (struct index_bits){{0}};
	for (size_t w = 0; w * 8 < s.len; w++) {
		memcpy(&bits->word[w], s.data + w * 8, 8);
		bits->word[w] = le64toh(bits->word[w]);
	}
}

static void
add_column(struct shelf_buf *b, unsigned flag, const struct index_bits *bits)
{
	unsigned n = index_bits_count(bits);

	base_add_le(b, flag, 2);
	if (n > SPARSE_MAX) {
		shelf_buf_add_byte(b, 0);
		add_bits(b, bits);
		return;
	}
	shelf_buf_add_byte(b, (uint8_t)n);
	for (unsigned i = index_bits_next(bits, 0); i < INDEX_PAGE_UIDS;
	     i = index_bits_next(bits, i + 1))
		shelf_buf_add_byte(b, (uint8_t)i);
}

static void
encode(const struct index_page *p, struct shelf_buf *b)
{
	struct index_counts c = index_page_counts(p);
	uint64_t base = UINT64_MAX, top = 0;
	unsigned ncolumns = 0, width;

	for (unsigned i = index_bits_next(&p->exists, 0); i < INDEX_PAGE_UIDS;
	     i = index_bits_next(&p->exists, i + 1)) {
		base = p->modseq[i] < base ? p->modseq[i] : base;
		top = p->modseq[i] > top ? p->modseq[i] : top;
	}
	width = top - base == 0		   ? 0
		: top - base < 256	   ? 1
		: top - base < 65536	   ? 2
		: top - base <= UINT32_MAX ? 4
					   : 8;
	for (unsigned f = 0; f < INDEX_FLAGS; f++)
		ncolumns += index_page_flag_used(p, f);
	base_add_le(b, FORMAT, 1);
	base_add_le(b, 1, 1); /* parts: set by the caller */
	base_add_le(b, c.present, 2);
	base_add_le(b, c.unseen, 2);
	base_add_le(b, c.deleted, 2);
	base_add_le(b, p->max_modseq, 8);
	add_bits(b, &p->exists);
	base_add_le(b, base, 8);
	base_add_le(b, width, 1);
	base_add_le(b, ncolumns, 2);
	for (unsigned f = 0; f < INDEX_FLAGS; f++)
		if (index_page_flag_used(p, f))
			add_column(b, f, &p->flag[f]);
	for (unsigned i = index_bits_next(&p->exists, 0); width > 0 && i < INDEX_PAGE_UIDS;
	     i = index_bits_next(&p->exists, i + 1))
		base_add_le(b, p->modseq[i] - base, width);
}

static int
decode_head(struct shelf_span value, uint32_t page, struct index_head *h, unsigned *parts_out)
{
	struct base_reader r = base_reader(value);

	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	*parts_out = (unsigned)base_get_le(&r, 1);
	h->page = page;
	h->counts.present = (uint32_t)base_get_le(&r, 2);
	h->counts.unseen = (uint32_t)base_get_le(&r, 2);
	h->counts.deleted = (uint32_t)base_get_le(&r, 2);
	h->max_modseq = base_get_le(&r, 8);
	get_bits(&r, &h->exists);
	if (r.bad || *parts_out == 0 || *parts_out > INDEX_PARTS_MAX ||
	    index_bits_count(&h->exists) != h->counts.present || h->counts.present == 0)
		return SHELF_ECORRUPT;
	return 0;
}

static int
decode_columns(struct base_reader *r, struct index_page *p)
{
	unsigned ncolumns = (unsigned)base_get_le(r, 2);
	int last = -1;

	for (unsigned c = 0; c < ncolumns && !r->bad; c++) {
		unsigned flag = (unsigned)base_get_le(r, 2), n = (unsigned)base_get_le(r, 1);

		if (r->bad || flag >= INDEX_FLAGS || (int)flag <= last)
			return SHELF_ECORRUPT;
		last = (int)flag;
		if (n == 0)
			get_bits(r, &p->flag[flag]);
		for (; n > 0 && !r->bad; n--)
			index_bit_set(&p->flag[flag], (unsigned)base_get_le(r, 1), true);
		for (int w = 0; w < 4; w++)
			if ((p->flag[flag].word[w] & ~p->exists.word[w]) != 0)
				return SHELF_ECORRUPT;
		mark_used(p, flag, index_bits_any(&p->flag[flag]));
	}
	return r->bad ? SHELF_ECORRUPT : 0;
}

static int
decode(struct shelf_span value, struct index_page *p)
{
	struct base_reader r;
	struct index_head head;
	uint64_t base;
	unsigned parts, width;
	int rc = decode_head(value, p->page, &head, &parts);

	if (rc != 0)
		return rc;
	p->max_modseq = head.max_modseq;
	p->exists = head.exists;
	r = base_reader(shelf_span(value.data + HEAD_BYTES, value.len - HEAD_BYTES));
	base = base_get_le(&r, 8);
	width = (unsigned)base_get_le(&r, 1);
	if (width > 8 || (rc = decode_columns(&r, p)) != 0)
		return SHELF_ECORRUPT;
	for (unsigned i = index_bits_next(&p->exists, 0); i < INDEX_PAGE_UIDS;
	     i = index_bits_next(&p->exists, i + 1))
		p->modseq[i] = base + base_get_le(&r, width);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

int
index_page_decode(struct shelf_span whole, uint32_t page, struct index_page *p)
{
	index_page_clear(p, page);
	return whole.len < HEAD_BYTES ? SHELF_ECORRUPT : decode(whole, p);
}

int
index_page_get(struct kv_view *view, uint32_t mailbox, uint32_t page, struct index_page *p)
{
	struct shelf_buf whole = {0};
	struct shelf_span value;
	uint8_t key[KEY_BYTES];
	unsigned parts;
	int rc;

	index_page_clear(p, page);
	rc = kv_get(view, KV_FPAGE, page_key(key, mailbox, page, 0), &value);
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if (value.len < HEAD_BYTES)
		return SHELF_ECORRUPT;
	parts = value.data[1];
	if (parts <= 1)
		return decode(value, p);
	shelf_buf_add_span(&whole, value);
	for (unsigned n = 1; n < parts && rc == 0; n++) {
		rc = kv_get(view, KV_FPAGE, page_key(key, mailbox, page, (uint8_t)n), &value);
		if (rc == 0)
			shelf_buf_add_span(&whole, value);
	}
	rc = rc == 0		    ? decode(shelf_buf_span(&whole), p)
	     : rc == SHELF_EMISSING ? SHELF_ECORRUPT
				    : rc;
	shelf_buf_free(&whole);
	return rc;
}

int
index_page_put(struct kv_txn *txn, uint32_t mailbox, const struct index_page *p)
{
	struct shelf_buf whole = {0};
	struct shelf_span old;
	uint8_t key[KEY_BYTES];
	unsigned had = 0, parts = 0;
	int rc = kv_get(kv_txn_view(txn), KV_FPAGE, page_key(key, mailbox, p->page, 0), &old);

	if (rc == 0)
		had = old.len > 1 ? old.data[1] : 1;
	else if (rc != SHELF_EMISSING)
		return rc;
	rc = 0;
	if (index_bits_any(&p->exists)) {
		encode(p, &whole);
		parts = (unsigned)((whole.len + KV_VALUE_MAX - 1) / KV_VALUE_MAX);
		whole.data[1] = (uint8_t)parts;
	}
	for (unsigned n = 0; n < parts && rc == 0; n++) {
		size_t offset = (size_t)n * KV_VALUE_MAX, left = whole.len - offset;

		rc = kv_put(
		    txn, KV_FPAGE, page_key(key, mailbox, p->page, (uint8_t)n),
		    shelf_span(whole.data + offset, left < KV_VALUE_MAX ? left : KV_VALUE_MAX));
	}
	for (unsigned n = parts; n < had && rc == 0; n++) {
		rc = kv_del(txn, KV_FPAGE, page_key(key, mailbox, p->page, (uint8_t)n));
		if (rc == SHELF_EMISSING)
			rc = SHELF_ECORRUPT;
	}
	shelf_buf_free(&whole);
	return rc;
}

int
index_page_each(struct kv_view *view, uint32_t mailbox, uint32_t from, uint32_t to,
		index_head_fn *fn, void *arg)
{
	uint8_t first[KEY_BYTES];
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	page_key(first, mailbox, from, 0);
	rc =
	    kv_scan_open(view, KV_FPAGE, shelf_span(first, 4), shelf_span(first, KEY_BYTES), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		struct index_head head;
		unsigned parts;

		if (key.len != KEY_BYTES) {
			rc = SHELF_ECORRUPT;
			break;
		}
		if (key.data[8] != 0)
			continue;
		if (base_get_be32(key.data + 4) > to) {
			rc = 0;
			break;
		}
		if ((rc = decode_head(value, base_get_be32(key.data + 4), &head, &parts)) != 0 ||
		    (rc = fn(arg, &head)) != 0)
			break;
	}
	kv_scan_close(&scan);
	return rc;
}
