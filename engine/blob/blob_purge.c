/*
 * blob_purge.c - removing blobs that nothing refers to, a few hundred rows at a time
 *
 * Freeing more than about 500 pages in one transaction makes LMDB search its whole free list, so a
 * large blob goes in slices; its job row stays until the slice that removes the blob's row.
 *
 * What remains between may move to where pages are filled (blob_dead.c).
 *
 * What must stay true: the job of a staged blob says that all its bytes are there, as a link believes it
 * (blob_link.c). So it becomes a job of removal before the first byte goes.
 */
#include <mailshelf/mem.h>

#include "blob_internal.h"

enum { SLICE_ROWS = 200, STAGED_KEPT_S = 24 * 3600 };

struct purge {
	bool in_place; /* moves nothing: there is no room for it */
	bool more;
	uint64_t group, dead; /* bytes that went there and are not noted yet */
};

int
blob_remove_rows(struct kv_txn *txn, enum kv_table table, uint64_t blob, unsigned *left,
		 uint64_t *shared)
{
	struct blob_key prefix = blob_key(blob);

	while (*left > 0) {
		struct shelf_span key, value;
		struct blob_key victim;
		struct kv_scan scan;
		int rc = kv_scan_open(kv_txn_view(txn), table, blob_key_span(&prefix),
				      shelf_span(NULL, 0), &scan);

		if (rc != 0)
			return rc;
		rc = kv_scan_next(&scan, &key, &value);
		if (rc == 1 && key.len > sizeof(victim.bytes))
			rc = SHELF_ECORRUPT;
		if (rc == 1) {
			memcpy(victim.bytes, key.data, key.len);
			victim.len = key.len;
			*shared += blob_shared_bytes(value.len);
		}
		kv_scan_close(&scan);
		if (rc <= 0)
			return rc;
		if ((rc = kv_del(txn, table, blob_key_span(&victim))) != 0)
			return rc;
		(*left)--;
	}
	return 0;
}

/* Jobs come by id, so that a group is noted once for all that goes. */
static int
note_dead(struct kv_txn *txn, struct purge *p)
{
	uint64_t dead = p->dead;

	p->dead = 0;
	return dead == 0 ? 0 : blob_note_dead(txn, p->group, dead, !p->in_place);
}

/* What was staged and never linked has no row; one that cannot be read must not keep the rest from going. */
static int
remove_one(struct kv_txn *txn, struct purge *p, uint64_t blob, unsigned *left)
{
	struct blob_row row;
	uint64_t where, ignored;
	int rc = blob_row_get(kv_txn_view(txn), blob, &row);
	bool there = rc != SHELF_EMISSING;

	if (rc == SHELF_ECORRUPT || rc == SHELF_EVERSION)
		row = (struct blob_row){0};
	else if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	where = there ? blob_where(blob, &row) : blob;
	if (where >> BLOB_GROUP_SHIFT != p->group && (rc = note_dead(txn, p)) != 0)
		return rc;
	p->group = where >> BLOB_GROUP_SHIFT;
	if ((rc = blob_remove_rows(txn, KV_CHUNK, where, left, &p->dead)) != 0 ||
	    (rc = blob_remove_rows(txn, KV_DERIVED, where, left, &p->dead)) != 0 || *left == 0)
		return rc;
	if (there && ((rc = blob_dicts_use(txn, &row, -1)) != 0 || (rc = blob_row_del(txn, blob)) != 0))
		return rc;
	/* What is behind the head may now be what nothing refers to. */
	if (there && row.base != 0 && (rc = blob_unref(txn, row.base)) != 0 && rc != SHELF_ECORRUPT)
		return rc;
	(*left)--;
	return blob_job_end(txn, BLOB_JOB_REMOVE, blob, &ignored);
}

/* The first job of a kind: 1 found. A staged one counts only when it is old. */
static int
first_job(struct kv_view *view, uint8_t kind, uint64_t *blob_out)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_JOB, shelf_span(&kind, 1), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != 1 + BLOB_KEY_BYTES)
			continue;
		if (kind == BLOB_JOB_STAGED && value.len >= 8 &&
		    (int64_t)base_get_be64(value.data) + STAGED_KEPT_S > shelf_now_s())
			continue;
		*blob_out = base_get_be64(key.data + 1);
		break;
	}
	kv_scan_close(&scan);
	return rc;
}

static int
purge_slice(struct kv_txn *txn, void *arg)
{
	struct purge *p = arg;
	unsigned left = SLICE_ROWS;
	uint64_t blob;
	int rc;

	*p = (struct purge){.in_place = p->in_place};
	while ((rc = first_job(kv_txn_view(txn), BLOB_JOB_STAGED, &blob)) == 1 && left >= 2) {
		left -= 2;
		if ((rc = blob_give_up_staged(txn, blob)) != 0)
			return rc;
	}
	while (rc >= 0 && (rc = first_job(kv_txn_view(txn), BLOB_JOB_REMOVE, &blob)) == 1) {
		if (left == 0 || kv_txn_writes(txn) > SLICE_ROWS) {
			p->more = true;
			return note_dead(txn, p);
		}
		if ((rc = remove_one(txn, p, blob, &left)) != 0)
			return rc;
	}
	return rc < 0 ? rc : note_dead(txn, p);
}

int
blob_purge_step(struct kv_db *db, uint32_t shard)
{
	struct purge p = {0};
	struct kv_view *view = NULL;
	uint64_t blob;
	int rc;

	/* Looked at first in a snapshot, so that an idle store commits nothing. */
	if ((rc = kv_view_begin_shard(db, shard, &view)) != 0)
		return rc;
	rc = first_job(view, BLOB_JOB_REMOVE, &blob);
	if (rc == 0)
		rc = first_job(view, BLOB_JOB_STAGED, &blob);
	kv_view_end(&view);
	if (rc <= 0)
		return rc;
	rc = kv_update_shard(db, shard, KV_QUIET, purge_slice, &p);
	if (rc == SHELF_EFULL) {
		p.in_place = true;
		rc = kv_update_shard(db, shard, KV_QUIET, purge_slice, &p);
	}
	if (rc != 0)
		return rc;
	return p.more ? 1 : 0;
}
