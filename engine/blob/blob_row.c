/*
 * blob_row.c - keys of this room and the rows of BLOB as bytes
 *
 * BLOB value
 *   OFFSET SIZE MEANING
 *   0      1    format, 2
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
 *
 * Format 1 is the same without the 20 bytes from 41 on. It is read for ever and written no more.
 */
#include "blob_internal.h"

enum { FORMAT_OLD = 1, FORMAT = 2 };

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
	if (format != FORMAT && format != FORMAT_OLD)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	row->refs = (uint32_t)base_get_le(&r, 4);
	row->size = base_get_le(&r, 8);
	row->stored = base_get_le(&r, 8);
	hash = base_get_bytes(&r, BLOB_HASH_BYTES);
	row->nframes = (uint32_t)base_get_le(&r, 4);
	if (format == FORMAT) {
		row->where = base_get_le(&r, 8);
		row->dict = (uint32_t)base_get_le(&r, 4);
		row->derived_dict = (uint32_t)base_get_le(&r, 4);
		row->derived = (uint32_t)base_get_le(&r, 4);
	}
	if (r.bad || row->nframes == 0 || row->nframes > BLOB_FRAMES_MAX ||
	    (row->dict != 0 && row->nframes > 1))
		return SHELF_ECORRUPT;
	row->frames = base_get_bytes(&r, row->nframes > 1 ? 4 * (size_t)row->nframes : 0);
	if (r.bad || base_left(&r) != 0)
		return SHELF_ECORRUPT;
	memcpy(row->hash, hash.data, BLOB_HASH_BYTES);
	return 0;
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
	return blob_sums_change(txn, blob, readable ? &was : NULL, is);
}

int
blob_row_del(struct kv_txn *txn, uint64_t blob)
{
	struct blob_key key = blob_key(blob);
	int rc = change_sums(txn, blob, NULL);

	return rc != 0 ? rc : kv_del(txn, KV_BLOB, blob_key_span(&key));
}

/* ROW->frames must not point into the store: it dies here. */
int
blob_row_put(struct kv_txn *txn, uint64_t blob, const struct blob_row *row)
{
	struct blob_key key = blob_key(blob);
	struct shelf_buf value = {0};
	int rc = change_sums(txn, blob, row);

	if (rc != 0)
		return rc;
	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, row->refs, 4);
	base_add_le(&value, row->size, 8);
	base_add_le(&value, row->stored, 8);
	shelf_buf_add(&value, row->hash, BLOB_HASH_BYTES);
	base_add_le(&value, row->nframes, 4);
	base_add_le(&value, row->where, 8);
	base_add_le(&value, row->dict, 4);
	base_add_le(&value, row->derived_dict, 4);
	base_add_le(&value, row->derived, 4);
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
