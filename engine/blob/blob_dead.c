/*
 * blob_dead.c - room that removal left between what remains
 *
 * Short rows of CHUNK and DERIVED share pages, and a page is given back when the last of its rows goes. For each
 * group of 32 ids that these rows lie below, a row of JOB, kind 'D' and the group (u64 big-endian), counts the
 * bytes that were removed (u64 big-endian). When they are half of what is left, what is left moves to the end of
 * the tables, below new ids, where pages are filled again: a byte is moved for every half byte removed, at most.
 * Large bodies stay: few of their bytes share a page.
 *
 * CHUNK (where, 2^32 - 1) names the blob (u64 big-endian) of what lies below an id that is not the blob's own.
 */
#include "blob_internal.h"

enum {
	LEAST_BYTES = 4096,
	MOVED_MAX_BYTES = 16 * 1024, /* stored */
	ROW_BYTES = 30,		     /* key and what the engine under kv adds */
	GROUP_IDS = 1 << BLOB_GROUP_SHIFT,
};

uint64_t
blob_shared_bytes(size_t value_len)
{
	return value_len < BLOB_CHUNK_BYTES / 2 ? value_len + ROW_BYTES : 0;
}

static int
put_owner(struct kv_txn *txn, uint64_t where, uint64_t blob)
{
	struct blob_key key = blob_chunk_key(where, BLOB_OWNER_N);
	uint8_t value[8];

	base_put_be64(value, blob);
	return kv_put(txn, KV_CHUNK, blob_key_span(&key), shelf_span(value, 8));
}

/* The blob whose bytes lie below WHERE, and its row. SHELF_EMISSING: none, or none that moves. */
static int
owner(struct kv_view *view, uint64_t where, uint64_t *blob_out, struct blob_row *row)
{
	struct blob_key key = blob_chunk_key(where, BLOB_OWNER_N);
	struct shelf_span value;
	int rc = kv_get(view, KV_CHUNK, blob_key_span(&key), &value);

	*blob_out = where;
	if (rc == 0 && value.len == 8)
		*blob_out = base_get_be64(value.data);
	else if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	if ((rc = blob_get(view, *blob_out, row)) != 0)
		return rc == SHELF_ECORRUPT || rc == SHELF_EVERSION ? SHELF_EMISSING : rc;
	return blob_where(*blob_out, row) != where || row->stored > MOVED_MAX_BYTES ||
		       row->derived == 0 || row->derived > MOVED_MAX_BYTES
		   ? SHELF_EMISSING
		   : 0;
}

int
blob_move(struct kv_txn *txn, uint64_t blob, struct blob_row *row, struct shelf_span body,
	  struct shelf_span derived)
{
	uint64_t old = blob_where(blob, row), ignored = 0;
	unsigned left = BLOB_MOVE_ROWS_MAX;
	int rc;

	if ((rc = blob_new_id(txn, &row->where)) != 0 ||
	    (rc = blob_put_bytes(txn, KV_CHUNK, row->where, body)) != 0 ||
	    (rc = put_owner(txn, row->where, blob)) != 0 ||
	    (rc = blob_put_bytes(txn, KV_DERIVED, row->where, derived)) != 0 ||
	    (rc = blob_remove_rows(txn, KV_CHUNK, old, &left, &ignored)) != 0 ||
	    (rc = blob_remove_rows(txn, KV_DERIVED, old, &left, &ignored)) != 0)
		return rc;
	row->stored = body.len;
	row->derived = (uint32_t)derived.len;
	return left == 0 ? SHELF_ECORRUPT : 0; /* more rows than so few bytes have */
}

static int
move_as_it_is(struct kv_txn *txn, uint64_t where)
{
	struct kv_view *view = kv_txn_view(txn);
	struct shelf_buf body = {0}, derived = {0}, keep = {0};
	struct blob_row row;
	uint64_t blob;
	int rc = owner(view, where, &blob, &row);

	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if ((rc = blob_stored(view, blob, &row, 0, row.stored, &body)) == 0)
		rc = blob_stored_derived(view, blob, &row, &derived);
	blob_row_keep(&row, &keep);
	if (rc == SHELF_ECORRUPT || rc == SHELF_EMISSING)
		rc = 0; /* it stays where it is, for check to find */
	else if (rc == 0 && (rc = blob_move(txn, blob, &row, shelf_buf_span(&body),
					    shelf_buf_span(&derived))) == 0)
		rc = blob_row_put(txn, blob, &row);
	shelf_buf_free(&body);
	shelf_buf_free(&derived);
	shelf_buf_free(&keep);
	return rc;
}

/* Sums up what could be moved out of the group. */
static int
live_bytes(struct kv_view *view, uint64_t group, uint64_t *sum)
{
	struct blob_row row;
	uint64_t blob;

	*sum = 0;
	for (uint64_t i = 0; i < GROUP_IDS; i++) {
		int rc = owner(view, (group << BLOB_GROUP_SHIFT) + i, &blob, &row);

		if (rc == 0)
			*sum += row.stored % BLOB_CHUNK_BYTES + row.derived + 3 * ROW_BYTES;
		else if (rc != SHELF_EMISSING)
			return rc;
	}
	return 0;
}

static int
put_count(struct kv_txn *txn, const struct blob_key *key, uint64_t bytes)
{
	uint8_t value[8];
	int rc;

	if (bytes == 0) {
		rc = kv_del(txn, KV_JOB, blob_key_span(key));
		return rc == SHELF_EMISSING ? 0 : rc;
	}
	base_put_be64(value, bytes);
	return kv_put(txn, KV_JOB, blob_key_span(key), shelf_span(value, 8));
}

int
blob_note_dead(struct kv_txn *txn, uint64_t group, uint64_t bytes, bool may_move)
{
	struct blob_key job = blob_job_key(BLOB_JOB_DEAD, group);
	struct shelf_span value;
	uint64_t live;
	int rc = kv_get(kv_txn_view(txn), KV_JOB, blob_key_span(&job), &value);

	if (rc == 0 && value.len == 8)
		bytes += base_get_be64(value.data);
	else if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	if ((rc = live_bytes(kv_txn_view(txn), group, &live)) != 0)
		return rc;
	if (live > 0 && (!may_move || bytes < LEAST_BYTES || bytes * 2 < live))
		return put_count(txn, &job, bytes);
	for (uint64_t i = 0; live > 0 && rc == 0 && i < GROUP_IDS; i++)
		rc = move_as_it_is(txn, (group << BLOB_GROUP_SHIFT) + i);
	return rc != 0 ? rc : put_count(txn, &job, 0);
}
