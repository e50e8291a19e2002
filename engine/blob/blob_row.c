/*
 * blob_row.c - keys of this room and the rows of BLOB as bytes
 *
 * BLOB value
 *   OFFSET SIZE MEANING
 *   0      1    format: 2, or 3 with a head
 *   1      4    references
 *   5      8    message bytes
 *   13     8    stored bytes
 *   21     16   SHA-256 of the message, first half
 *   37     4    frames
 *   41     8    where: CHUNK and DERIVED keys begin with it; 0: with the blob's id
 *   49     4    dictionary of the only frame, 0: none
 *   53     4    dictionary of the derived data, 0: none
 *   57     4    stored bytes of the derived data, 0: not known (format 1)
 *   61     4*n  stored bytes of each frame, when there is more than one
 * with a head, instead of these:
 *   61     8    blob whose bytes follow the head
 *   69     ..   the head, to the end
 * It has no bytes of its own in CHUNK. META "head", that blob, this blob (u64 big-endian each; no value) is
 * there with the row: whom a blob's references come from can be asked.
 *
 * Format 1 is the same without the 20 bytes from 41 on. It is read for ever and written no more.
 */
#include "blob_internal.h"

enum { FORMAT_OLD = 1, FORMAT = 2, FORMAT_HEAD = 3, HEAD_NAME_BYTES = 4, HEAD_KEY_BYTES = HEAD_NAME_BYTES + 16 };

static const char head_name[] = "head";

struct blob_key
blob_key(uint64_t blob)
{
	struct blob_key k = {.len = BLOB_KEY_BYTES};

	base_put_be64(k.bytes, blob);
	return k;
}

struct blob_key
blob_chunk_key(uint64_t blob, uint32_t n)
{
	struct blob_key k = {.len = BLOB_CHUNK_KEY_BYTES};

	base_put_be64(k.bytes, blob);
	base_put_be32(k.bytes + 8, n);
	return k;
}

int
blob_row_decode(struct shelf_span value, struct blob_row *row)
{
	struct base_reader r = base_reader(value);
	uint8_t format = (uint8_t)base_get_le(&r, 1);
	struct shelf_span hash;

	*row = (struct blob_row){0};
	if (format < FORMAT_OLD || format > FORMAT_HEAD)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	row->refs = (uint32_t)base_get_le(&r, 4);
	row->size = base_get_le(&r, 8);
	row->stored = base_get_le(&r, 8);
	hash = base_get_bytes(&r, BLOB_HASH_BYTES);
	row->nframes = (uint32_t)base_get_le(&r, 4);
	if (format != FORMAT_OLD) {
		row->where = base_get_le(&r, 8);
		row->dict = (uint32_t)base_get_le(&r, 4);
		row->derived_dict = (uint32_t)base_get_le(&r, 4);
		row->derived = (uint32_t)base_get_le(&r, 4);
	}
	if (r.bad || row->nframes == 0 || row->nframes > BLOB_FRAMES_MAX ||
	    (row->dict != 0 && row->nframes > 1))
		return SHELF_ECORRUPT;
	if (format == FORMAT_HEAD) {
		row->base = base_get_le(&r, 8);
		row->head = base_get_bytes(&r, base_left(&r));
		if (row->base == 0 || row->head.len == 0 || row->head.len > BLOB_HEAD_MAX || row->stored != 0 ||
		    row->dict != 0 || row->size < row->head.len ||
		    row->nframes != (row->size + BLOB_FRAME_BYTES - 1) / BLOB_FRAME_BYTES)
			return SHELF_ECORRUPT;
	} else {
		row->frames = base_get_bytes(&r, row->nframes > 1 ? 4 * (size_t)row->nframes : 0);
	}
	if (r.bad || base_left(&r) != 0)
		return SHELF_ECORRUPT;
	memcpy(row->hash, hash.data, BLOB_HASH_BYTES);
	return 0;
}

void
blob_row_keep(struct blob_row *row, struct shelf_buf *keep)
{
	size_t frames = row->frames.len, head = row->head.len;

	shelf_buf_clear(keep);
	shelf_buf_add_span(keep, row->frames);
	shelf_buf_add_span(keep, row->head);
	row->frames = shelf_span(keep->data, frames);
	row->head = shelf_span(keep->data + frames, head);
}

/* ---- Who has a blob behind his head --------------------------------------------------------------- */

static struct shelf_span
head_key(uint64_t base, uint64_t blob, uint8_t *bytes)
{
	memcpy(bytes, head_name, HEAD_NAME_BYTES);
	base_put_be64(bytes + HEAD_NAME_BYTES, base);
	base_put_be64(bytes + HEAD_NAME_BYTES + 8, blob);
	return shelf_span(bytes, HEAD_KEY_BYTES);
}

int
blob_heads_each(struct kv_view *view, uint64_t from, uint64_t to, int (*fn)(void *arg, uint64_t base, uint64_t blob),
		void *arg)
{
	uint8_t first[HEAD_KEY_BYTES];
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_META, shelf_span(head_name, HEAD_NAME_BYTES), head_key(from, 0, first), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		uint64_t base = key.len == HEAD_KEY_BYTES ? base_get_be64(key.data + HEAD_NAME_BYTES) : 0;

		if (base == 0)
			rc = SHELF_ECORRUPT;
		else if (base >= to)
			rc = 0;
		else
			rc = fn(arg, base, base_get_be64(key.data + HEAD_NAME_BYTES + 8));
		if (rc != 0 || base >= to)
			break;
	}
	kv_scan_close(&scan);
	return rc;
}

int
blob_head_listed(struct kv_view *view, uint64_t base, uint64_t blob)
{
	uint8_t key[HEAD_KEY_BYTES];
	struct shelf_span value;

	return kv_get(view, KV_META, head_key(base, blob, key), &value);
}

/* With every write (WAS NULL: new) and removal (IS NULL) of a row. */
static int
change_head(struct kv_txn *txn, uint64_t blob, const struct blob_row *was, const struct blob_row *is)
{
	uint64_t from = was != NULL ? was->base : 0, to = is != NULL ? is->base : 0;
	uint8_t key[HEAD_KEY_BYTES];
	int rc = 0;

	if (from == to)
		return 0;
	if (from != 0)
		rc = kv_del(txn, KV_META, head_key(from, blob, key));
	if (rc == 0 && to != 0)
		rc = kv_put(txn, KV_META, head_key(to, blob, key), shelf_span(key, 0));
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* Moves the sums from the row as it is now to IS. What cannot be read is in no sum that could be right. */
static int
change_sums(struct kv_txn *txn, uint64_t blob, const struct blob_row *is)
{
	struct blob_row was;
	int rc = blob_row_get(kv_txn_view(txn), blob, &was);
	bool readable = rc == 0;

	if (rc != 0 && rc != SHELF_EMISSING && rc != SHELF_ECORRUPT && rc != SHELF_EVERSION)
		return rc;
	if (readable)
		was.frames = was.head = shelf_span(NULL, 0); /* they die with the first write */
	rc = blob_sums_change(txn, blob, readable ? &was : NULL, is);
	return rc != 0 ? rc : change_head(txn, blob, readable ? &was : NULL, is);
}

int
blob_row_del(struct kv_txn *txn, uint64_t blob)
{
	struct blob_key key = blob_key(blob);
	int rc = change_sums(txn, blob, NULL);

	return rc != 0 ? rc : kv_del(txn, KV_BLOB, blob_key_span(&key));
}

/* ROW's spans must not point into the store (blob_row_keep): they die here. */
int
blob_row_put(struct kv_txn *txn, uint64_t blob, const struct blob_row *row)
{
	struct blob_key key = blob_key(blob);
	struct shelf_buf value = {0};
	int rc = change_sums(txn, blob, row);

	if (rc != 0)
		return rc;
	base_add_le(&value, row->base != 0 ? FORMAT_HEAD : FORMAT, 1);
	base_add_le(&value, row->refs, 4);
	base_add_le(&value, row->size, 8);
	base_add_le(&value, row->stored, 8);
	shelf_buf_add(&value, row->hash, BLOB_HASH_BYTES);
	base_add_le(&value, row->nframes, 4);
	base_add_le(&value, row->where, 8);
	base_add_le(&value, row->dict, 4);
	base_add_le(&value, row->derived_dict, 4);
	base_add_le(&value, row->derived, 4);
	if (row->base != 0) {
		base_add_le(&value, row->base, 8);
		shelf_buf_add_span(&value, row->head);
	}
	shelf_buf_add_span(&value, row->frames);
	rc = kv_put(txn, KV_BLOB, blob_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

int
blob_row_get(struct kv_view *view, uint64_t blob, struct blob_row *row)
{
	struct blob_key key = blob_key(blob);
	struct shelf_span value;
	int rc = kv_get(view, KV_BLOB, blob_key_span(&key), &value);

	return rc != 0 ? rc : blob_row_decode(value, row);
}

int
blob_get(struct kv_view *view, uint64_t blob, struct blob_row *row)
{
	int rc = blob_row_get(view, blob, row);

	return rc == 0 && row->refs == 0 ? SHELF_EMISSING : rc;
}
