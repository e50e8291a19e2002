/*
 * summary.c - one row per 65,536 uids, so that "what changed since" skips what did not
 *
 * FSUM key: mailbox u32, range u32 (big-endian). Value:
 *   OFFSET SIZE MEANING
 *   0      1    format, 1
 *   1      4    present      5  4  unseen      9  4  deleted
 *   13     8    highest modseq of its pages, removals included
 */
#include "base.h"
#include "index.h"
#include "kv.h"

enum { FORMAT = 1, KEY_BYTES = 8 };

static int
decode(struct shelf_span value, struct index_summary *s)
{
	struct base_reader r = base_reader(value);

	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	s->counts.present = (uint32_t)base_get_le(&r, 4);
	s->counts.unseen = (uint32_t)base_get_le(&r, 4);
	s->counts.deleted = (uint32_t)base_get_le(&r, 4);
	s->max_modseq = base_get_le(&r, 8);
	return r.bad ? SHELF_ECORRUPT : 0;
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
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	return decode(value, s);
}

int
index_summary_put(struct kv_txn *txn, uint32_t mailbox, const struct index_summary *s)
{
	struct shelf_buf value = {0};
	uint8_t key[KEY_BYTES];
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, s->counts.present, 4);
	base_add_le(&value, s->counts.unseen, 4);
	base_add_le(&value, s->counts.deleted, 4);
	base_add_le(&value, s->max_modseq, 8);
	rc = kv_put(txn, KV_FSUM, summary_key(key, mailbox, s->range), shelf_buf_span(&value));
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
		if ((rc = decode(value, &s)) != 0 || (rc = fn(arg, &s)) != 0)
			break;
	}
	kv_scan_close(&scan);
	return rc;
}
