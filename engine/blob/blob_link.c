/*
 * blob_link.c - blobs inside a transaction: ids, rows, reference counts
 *
 * BLOB value
 *   OFFSET SIZE MEANING
 *   0      1    format, 1
 *   1      4    references
 *   5      8    message bytes
 *   13     8    stored bytes
 *   21     16   SHA-256 of the message, first half
 *   37     4    frames
 *   41     4*n  stored bytes of each frame, when there is more than one
 *
 * A closure may run again after its group was aborted: then the id remembered in the draft names a row
 * that is not there, or another blob's. blob_link therefore believes an id only when the row's hash and
 * size say that it is this message, and something still refers to it.
 */
#include "blob_internal.h"

enum { ROW_FORMAT = 1, ROW_FIXED_BYTES = 41 };

static const struct shelf_span next_blob_name = {(const uint8_t *)"next-blob", 9};

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

struct blob_key
blob_job_key(uint8_t kind, uint64_t blob)
{
	struct blob_key k = {.len = 1 + BLOB_KEY_BYTES};

	k.bytes[0] = kind;
	base_put_be64(k.bytes + 1, blob);
	return k;
}

int
blob_new_id(struct kv_txn *txn, uint64_t *id_out)
{
	struct shelf_span value;
	uint8_t bytes[8];
	uint64_t id = 1;
	int rc = kv_get(kv_txn_view(txn), KV_META, next_blob_name, &value);

	if (rc == 0 && value.len == 8)
		id = base_get_be64(value.data);
	else if (rc != SHELF_EMISSING)
		return rc == 0 ? SHELF_ECORRUPT : rc;
	base_put_be64(bytes, id + 1);
	*id_out = id;
	return kv_put(txn, KV_META, next_blob_name, shelf_span(bytes, 8));
}

int
blob_row_decode(struct shelf_span value, struct blob_row *row)
{
	struct base_reader r = base_reader(value);
	struct shelf_span hash;

	if (base_get_le(&r, 1) != ROW_FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	row->refs = (uint32_t)base_get_le(&r, 4);
	row->size = base_get_le(&r, 8);
	row->stored = base_get_le(&r, 8);
	hash = base_get_bytes(&r, BLOB_HASH_BYTES);
	row->nframes = (uint32_t)base_get_le(&r, 4);
	if (r.bad || row->nframes == 0 || row->nframes > BLOB_FRAMES_MAX)
		return SHELF_ECORRUPT;
	row->frames = base_get_bytes(&r, row->nframes > 1 ? 4 * (size_t)row->nframes : 0);
	if (r.bad || base_left(&r) != 0)
		return SHELF_ECORRUPT;
	memcpy(row->hash, hash.data, BLOB_HASH_BYTES);
	return 0;
}

static int
put_row(struct kv_txn *txn, uint64_t blob, const struct blob_row *row)
{
	struct blob_key key = blob_key(blob);
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, ROW_FORMAT, 1);
	base_add_le(&value, row->refs, 4);
	base_add_le(&value, row->size, 8);
	base_add_le(&value, row->stored, 8);
	shelf_buf_add(&value, row->hash, BLOB_HASH_BYTES);
	base_add_le(&value, row->nframes, 4);
	shelf_buf_add_span(&value, row->frames);
	rc = kv_put(txn, KV_BLOB, blob_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

static int
get_row(struct kv_view *view, uint64_t blob, struct blob_row *row)
{
	struct blob_key key = blob_key(blob);
	struct shelf_span value;
	int rc = kv_get(view, KV_BLOB, blob_key_span(&key), &value);

	return rc != 0 ? rc : blob_row_decode(value, row);
}

int
blob_get(struct kv_view *view, uint64_t blob, struct blob_row *row)
{
	int rc = get_row(view, blob, row);

	return rc == 0 && row->refs == 0 ? SHELF_EMISSING : rc;
}

static int
put_derived(struct kv_txn *txn, const struct blob_draft *d, uint64_t id)
{
	size_t offset = 0;
	int rc = 0;

	for (uint32_t n = 0; rc == 0 && offset < d->derived.len; n++) {
		size_t left = d->derived.len - offset;
		size_t len = left < BLOB_CHUNK_BYTES ? left : BLOB_CHUNK_BYTES;
		struct blob_key key = blob_chunk_key(id, n);

		rc = kv_put(txn, KV_DERIVED, blob_key_span(&key),
			    shelf_span(d->derived.data + offset, len));
		offset += len;
	}
	return rc;
}

static int
put_blob(struct kv_txn *txn, const struct blob_draft *d, uint64_t id)
{
	struct blob_row row = {
	    .refs = 1, .size = d->size, .stored = d->stored, .nframes = d->nframes};
	struct shelf_buf frames = {0};
	int rc;

	memcpy(row.hash, d->hash, BLOB_HASH_BYTES);
	for (uint32_t i = 0; d->nframes > 1 && i < d->nframes; i++)
		base_add_le(&frames, d->frame_bytes[i], 4);
	row.frames = shelf_buf_span(&frames);
	rc = put_row(txn, id, &row);
	shelf_buf_free(&frames);
	return rc != 0 ? rc : put_derived(txn, d, id);
}

int
blob_link(struct kv_txn *txn, struct blob_draft *d, uint64_t *blob_out)
{
	uint32_t shard = kv_view_shard(kv_txn_view(txn));
	uint32_t chunks = (uint32_t)((d->stored + BLOB_CHUNK_BYTES - 1) / BLOB_CHUNK_BYTES);
	struct blob_row row;
	struct blob_key job;
	uint64_t id = d->id[shard];
	int rc = SHELF_EMISSING;

	if (id != 0) {
		rc = get_row(kv_txn_view(txn), id, &row);
		if (rc == 0 && row.refs > 0 && row.size == d->size &&
		    memcmp(row.hash, d->hash, BLOB_HASH_BYTES) == 0) {
			*blob_out = id;
			return blob_ref(txn, id);
		}
		if (rc != 0 && rc != SHELF_EMISSING)
			return rc;
	}
	if (rc == SHELF_EMISSING && id != 0 && d->stage[shard] >= BLOB_STAGED) {
		job = blob_job_key(BLOB_JOB_STAGED, id);
		rc = kv_del(txn, KV_JOB, blob_key_span(&job));
		if (rc != 0 && rc != SHELF_EMISSING)
			return rc;
		if (rc == 0) {
			d->stage[shard] = BLOB_LINKED;
			*blob_out = id;
			return put_blob(txn, d, id);
		}
	}
	if ((rc = blob_new_id(txn, &id)) != 0 || (rc = blob_put_chunks(txn, d, id, 0, chunks)) != 0)
		return rc;
	d->id[shard] = id;
	*blob_out = id;
	return put_blob(txn, d, id);
}

/* The row's frame table points into the store and dies at the put: it is copied first. */
static int
change_refs(struct kv_txn *txn, uint64_t blob, int by)
{
	struct blob_row row;
	struct shelf_buf frames = {0};
	int rc = get_row(kv_txn_view(txn), blob, &row);

	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
	if (by < 0 ? row.refs == 0 : row.refs == UINT32_MAX)
		return SHELF_ECORRUPT;
	row.refs = by < 0 ? row.refs - 1 : row.refs + 1;
	shelf_buf_add_span(&frames, row.frames);
	row.frames = shelf_buf_span(&frames);
	rc = put_row(txn, blob, &row);
	shelf_buf_free(&frames);
	if (rc == 0 && row.refs == 0) {
		struct blob_key job = blob_job_key(BLOB_JOB_REMOVE, blob);

		rc = kv_put(txn, KV_JOB, blob_key_span(&job), shelf_span(NULL, 0));
	}
	return rc;
}

int
blob_ref(struct kv_txn *txn, uint64_t blob)
{
	return change_refs(txn, blob, 1);
}

int
blob_unref(struct kv_txn *txn, uint64_t blob)
{
	return change_refs(txn, blob, -1);
}
