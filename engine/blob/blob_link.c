/*
 * blob_link.c - blobs inside a transaction: ids, rows, reference counts
 *
 * A closure may run again after its group was aborted: then the id remembered in the draft names a row
 * that is not there, or another blob's. blob_link therefore believes an id only when the row's hash and
 * size say that it is this message, and something still refers to it.
 */
#include <mailshelf/mem.h>

#include "blob_internal.h"

static const struct shelf_span next_blob_name = {(const uint8_t *)"next-blob", 9};

int
blob_next_id(struct kv_view *view, uint64_t *id_out)
{
	struct shelf_span value;
	int rc = kv_get(view, KV_META, next_blob_name, &value);

	*id_out = 1;
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if (value.len != 8)
		return SHELF_ECORRUPT;
	*id_out = base_get_be64(value.data);
	return 0;
}

int
blob_new_id(struct kv_txn *txn, uint64_t *id_out)
{
	uint8_t bytes[8];
	int rc = blob_next_id(kv_txn_view(txn), id_out);

	if (rc != 0)
		return rc;
	base_put_be64(bytes, *id_out + 1);
	return kv_put(txn, KV_META, next_blob_name, shelf_span(bytes, 8));
}

/* What lies behind a head counts with it. */
static struct blob_cost
cost_of(struct kv_view *view, const struct blob_row *row)
{
	uint64_t bytes = blob_row_bytes(row);
	bool found = row->refs > 1;
	struct blob_row base;

	if (row->base != 0 && blob_row_get(view, row->base, &base) == 0) {
		bytes += blob_row_bytes(&base);
		found = found || base.refs > 1;
	}
	return (struct blob_cost){.bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX, .found = found};
}

static int
put_blob(struct kv_txn *txn, const struct blob_draft *d, const struct blob_form *form, uint64_t id, uint64_t base,
	 struct blob_cost *cost)
{
	struct blob_row row = {.refs = 1,
			       .size = d->size,
			       .stored = d->stored > 0 ? d->stored : form->body.len,
			       .nframes = d->stored > 0 ? d->nframes : 1,
			       .base = base,
			       .head = shelf_buf_span(&d->head),
			       .dict = form->dict,
			       .derived_dict = form->derived_dict,
			       .derived = (uint32_t)form->derived.len};
	struct shelf_buf frames = {0};
	int rc;

	memcpy(row.hash, d->hash, BLOB_HASH_BYTES);
	if (base != 0)
		row.nframes = (uint32_t)((d->size + BLOB_FRAME_BYTES - 1) / BLOB_FRAME_BYTES);
	for (uint32_t i = 0; d->nframes > 1 && i < d->nframes; i++)
		base_add_le(&frames, d->frame_bytes[i], 4);
	row.frames = shelf_buf_span(&frames);
	*cost = cost_of(kv_txn_view(txn), &row);
	if ((rc = blob_row_put(txn, id, &row)) == 0)
		rc = blob_dicts_use(txn, &row, 1);
	shelf_buf_free(&frames);
	if (rc == 0 && form->body.len > 0)
		rc = blob_put_bytes(txn, KV_CHUNK, id, shelf_buf_span(&form->body));
	return rc != 0 ? rc
		       : blob_put_bytes(txn, KV_DERIVED, id, shelf_buf_span(&form->derived));
}

/* The id that D had in a transaction that was aborted may be that of the same bytes with a head of their own by now:
 * nothing stands on that. */
static int
forget_headed(struct kv_txn *txn, struct blob_draft *d, uint32_t shard)
{
	struct blob_row row = {.base = 0};
	int rc = d->id[shard] == 0 ? 0 : blob_row_get(kv_txn_view(txn), d->id[shard], &row);

	if (row.base != 0)
		d->id[shard] = 0;
	return rc == SHELF_EMISSING ? 0 : rc;
}

int
blob_link(struct kv_txn *txn, struct blob_draft *d, uint64_t *blob_out, struct blob_cost *cost)
{
	uint32_t shard = kv_view_shard(kv_txn_view(txn));
	uint32_t chunks = (uint32_t)((d->stored + BLOB_CHUNK_BYTES - 1) / BLOB_CHUNK_BYTES);
	const struct blob_form *form = d->form[shard];
	struct blob_row row;
	uint64_t id = d->id[shard], base = 0, ignored;
	struct blob_cost base_cost;
	int rc = SHELF_EMISSING;

	if (form == NULL)
		return SHELF_EBUSY; /* the account has moved here since */
	if (id != 0) {
		if ((rc = blob_ref_if(txn, id, d->hash, d->size, cost)) != SHELF_EMISSING) {
			*blob_out = id;
			return rc;
		}
		rc = blob_row_get(kv_txn_view(txn), id, &row);
		if (rc != 0 && rc != SHELF_EMISSING)
			return rc;
	}
	if (rc == SHELF_EMISSING && id != 0 && d->stage[shard] >= BLOB_STAGED) {
		rc = blob_job_end(txn, BLOB_JOB_STAGED, id, &ignored);
		if (rc != 0 && rc != SHELF_EMISSING)
			return rc;
		if (rc == 0) {
			d->stage[shard] = BLOB_LINKED;
			*blob_out = id;
			return put_blob(txn, d, form, id, 0, cost);
		}
	}
	if (d->base != NULL && ((rc = forget_headed(txn, d->base, shard)) != 0 ||
				(rc = blob_link(txn, d->base, &base, &base_cost)) != 0))
		return rc;
	if ((rc = blob_new_id(txn, &id)) != 0 || (rc = blob_put_chunks(txn, d, id, 0, chunks)) != 0)
		return rc;
	d->id[shard] = id;
	*blob_out = id;
	return put_blob(txn, d, form, id, base, cost);
}

/* Bytes of the derived data, for rows that do not say it yet. */
static int
derived_bytes(struct kv_view *view, uint64_t where, uint32_t *out)
{
	struct blob_key prefix = blob_key(where);
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_DERIVED, blob_key_span(&prefix), shelf_span(NULL, 0), &scan);

	*out = 0;
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		*out += (uint32_t)value.len;
	kv_scan_close(&scan);
	return rc;
}

/* One more, one less, or (0) only counted. */
static int
change_refs(struct kv_txn *txn, uint64_t blob, int by, struct blob_cost *cost)
{
	struct blob_row row;
	struct shelf_buf keep = {0};
	bool known;
	int rc = blob_row_get(kv_txn_view(txn), blob, &row);

	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
	if (by < 0 ? row.refs == 0 : row.refs > UINT32_MAX - (uint32_t)by)
		return SHELF_ECORRUPT;
	blob_row_keep(&row, &keep);
	row.refs = by < 0 ? row.refs - 1 : row.refs + (uint32_t)by;
	known = row.derived != 0;
	if (!known)
		rc = derived_bytes(kv_txn_view(txn), blob_where(blob, &row), &row.derived);
	if (rc == 0 && (by != 0 || !known))
		rc = blob_row_put(txn, blob, &row);
	shelf_buf_free(&keep);
	*cost = cost_of(kv_txn_view(txn), &row);
	if (rc == 0 && row.refs == 0)
		rc = blob_job_begin(txn, BLOB_JOB_REMOVE, blob, blob_row_bytes(&row));
	return rc;
}

int
blob_ref(struct kv_txn *txn, uint64_t blob, struct blob_cost *cost)
{
	return change_refs(txn, blob, 1, cost);
}

int
blob_ref_if(struct kv_txn *txn, uint64_t blob, const uint8_t *hash, uint64_t size, struct blob_cost *cost)
{
	struct blob_row row;
	int rc = blob_get(kv_txn_view(txn), blob, &row);

	if (rc == 0 && (row.size != size || memcmp(row.hash, hash, BLOB_HASH_BYTES) != 0))
		rc = SHELF_EMISSING;
	return rc != 0 ? rc : blob_ref(txn, blob, cost);
}

int
blob_unref(struct kv_txn *txn, uint64_t blob)
{
	struct blob_cost ignored;

	return change_refs(txn, blob, -1, &ignored);
}

int
blob_note(struct kv_txn *txn, uint64_t blob, struct blob_cost *cost)
{
	return change_refs(txn, blob, 0, cost);
}
