/*
 * blob_again.c - old mail gets the current dictionaries
 *
 *   read some in a snapshot --> compress, outside any transaction --> put in one, if they are what was read
 *
 * The new bytes go to the end of the tables, under a new id that the row then names (where), and the old ones go:
 * full pages come to be, and whole pages become free, as the walk goes by id. Where only the derived data change,
 * because the body takes no dictionary, they stay under their id. What must stay true: at every commit a row and
 * the bytes it names belong together, so a reader sees the old or the new, and a pass may be stopped anywhere.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "blob_internal.h"

enum { SLICE_BLOBS = 32, SLICE_ROWS = 250, SCAN_ROWS = 4096 };

struct redo {
	uint64_t blob;
	struct blob_row row; /* as it was read; no frames, no head */
	struct shelf_buf raw, derived;
	struct blob_form *form;
};

struct slice {
	struct blob_dicts dicts;
	struct redo item[SLICE_BLOBS];
	unsigned n;
	unsigned rows;
	uint64_t blobs, before, after; /* what the closure did */
};

static bool
small(const struct blob_row *row)
{
	return row->base == 0 && row->nframes == 1 && row->size <= BLOB_DICT_MAX;
}

static bool
wanted(const struct slice *s, const struct blob_row *row)
{
	const uint32_t *current = s->dicts.current;

	return row->refs > 0 &&
	       ((small(row) && current[BLOB_BODY] != 0 && row->dict != current[BLOB_BODY]) ||
		(current[BLOB_DERIVED] != 0 && row->derived_dict != current[BLOB_DERIVED]));
}

/* What cannot be read is left for check to find; derived data of this length are few, and many rows. */
static int
take(struct slice *s, struct kv_view *view, uint64_t blob, const struct blob_row *row)
{
	struct redo *r = &s->item[s->n];
	int rc = 0;

	*r = (struct redo){.blob = blob, .row = *row};
	r->row.frames = r->row.head = shelf_span(NULL, 0);
	if (small(row))
		rc = blob_read_frame(view, blob, row, 0, &r->raw);
	if (rc == 0)
		rc = blob_derived(view, blob, &r->derived);
	if (rc == 0 && r->derived.len <= BLOB_DICT_MAX) {
		s->rows += 8 + (unsigned)((r->raw.len + r->derived.len) / 1024);
		s->n++;
		return 0;
	}
	shelf_buf_free(&r->raw);
	shelf_buf_free(&r->derived);
	return rc == SHELF_ECORRUPT || rc == SHELF_EMISSING ? 0 : rc;
}

static bool
room(const struct slice *s)
{
	return s->n < SLICE_BLOBS && s->rows < SLICE_ROWS;
}

/* Fills the slice from PASS->next on. At the end PASS->next is PASS->end. */
static int
read_slice(struct slice *s, struct kv_view *view, struct shelf_dict_pass *pass)
{
	struct blob_key from = blob_key(pass->next);
	struct shelf_span key, value;
	struct blob_row row;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), blob_key_span(&from), &scan), got = 1;

	for (unsigned i = 0; rc == 0 && got == 1 && i < SCAN_ROWS && room(s); i++) {
		uint64_t blob;

		if ((got = kv_scan_next(&scan, &key, &value)) < 0)
			rc = got;
		if (got != 1)
			break;
		blob = key.len == BLOB_KEY_BYTES ? base_get_be64(key.data) : pass->end;
		got = blob < pass->end;
		pass->next = got == 1 ? blob + 1 : pass->end;
		if (got == 1 && blob_row_decode(value, &row) == 0 && wanted(s, &row))
			rc = take(s, view, blob, &row);
	}
	if (got == 0)
		pass->next = pass->end;
	kv_scan_close(&scan);
	return rc;
}

static int
pack_slice(struct slice *s, struct kv_view *view)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < s->n; i++) {
		struct redo *r = &s->item[i];

		r->form = SHELF_NEW(struct blob_form);
		rc = blob_form_make(view, s->dicts.current, small(&r->row) ? &r->raw : NULL,
				    shelf_buf_span(&r->derived), r->form);
		/* Where no dictionary helps, it stays as it is, and a pass that is repeated finds nothing. */
		if (rc == 0 && r->form->derived_dict == r->row.derived_dict &&
		    (!small(&r->row) || r->form->dict == r->row.dict))
			blob_form_free(&r->form);
	}
	return rc;
}

/* ---- In the transaction ----------------------------------------------------------------------------- */

/* The derived data alone: the body is too large for a dictionary and stays where it is. */
static int
replace_derived(struct kv_txn *txn, uint64_t where, const struct shelf_buf *derived)
{
	unsigned left = BLOB_MOVE_ROWS_MAX;
	uint64_t ignored = 0;
	int rc = blob_remove_rows(txn, KV_DERIVED, where, &left, &ignored);

	if (rc != 0 || left == 0)
		return rc != 0 ? rc : SHELF_ECORRUPT;
	return blob_put_bytes(txn, KV_DERIVED, where, shelf_buf_span(derived));
}

static int
replace(struct kv_txn *txn, struct slice *s, const struct redo *r)
{
	struct shelf_buf keep = {0};
	struct blob_row row, was;
	int rc = blob_row_get(kv_txn_view(txn), r->blob, &row);

	if (rc == SHELF_EMISSING)
		return 0;
	if (rc != 0)
		return rc;
	if (row.refs == 0 || row.where != r->row.where || row.stored != r->row.stored ||
	    row.dict != r->row.dict || row.derived_dict != r->row.derived_dict)
		return 0; /* on its way out, or another pass was here */
	blob_row_keep(&row, &keep);
	was = row;
	if (small(&row)) {
		row.dict = r->form->dict;
		rc = blob_move(txn, r->blob, &row, shelf_buf_span(&r->form->body),
			       shelf_buf_span(&r->form->derived));
	} else {
		rc = replace_derived(txn, blob_where(r->blob, &row), &r->form->derived);
	}
	row.derived = (uint32_t)r->form->derived.len;
	row.derived_dict = r->form->derived_dict;
	if (rc == 0 && (rc = blob_dicts_use(txn, &row, 1)) == 0 &&
	    (rc = blob_dicts_use(txn, &was, -1)) == 0)
		rc = blob_row_put(txn, r->blob, &row);
	shelf_buf_free(&keep);
	s->blobs++;
	s->before += was.stored;
	s->after += row.stored;
	return rc;
}

static int
replace_all(struct kv_txn *txn, void *arg)
{
	struct slice *s = arg;
	int rc = 0;

	s->blobs = s->before = s->after = 0;
	for (unsigned i = 0; rc == 0 && i < s->n; i++)
		if (s->item[i].form != NULL)
			rc = replace(txn, s, &s->item[i]);
	return rc;
}

/* ---- A step ---------------------------------------------------------------------------------------- */

static void
free_slice(struct slice *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		shelf_buf_free(&s->item[i].raw);
		shelf_buf_free(&s->item[i].derived);
		blob_form_free(&s->item[i].form);
	}
	free(s);
}

int
blob_recompress_step(struct kv_db *db, uint32_t shard, struct shelf_dict_pass *pass)
{
	struct slice *s = SHELF_NEW(struct slice);
	struct kv_view *view = NULL;
	uint64_t next = pass->next;
	int rc = 0;

	if ((rc = kv_view_begin_shard(db, shard, &view)) != 0)
		goto out;
	if (pass->end == 0 && (rc = blob_next_id(view, &pass->end)) != 0)
		goto out;
	if ((rc = blob_dicts_get(view, &s->dicts)) == 0 &&
	    (rc = read_slice(s, view, pass)) == 0)
		rc = pack_slice(s, view);
	kv_view_end(&view);
	if (rc == 0 && s->n > 0)
		rc = kv_update_shard(db, shard, KV_ADDS | KV_QUIET, replace_all, s);
	if (rc == SHELF_EBUSY) { /* the dictionary is not current any more and was pruned: once more */
		pass->next = next;
		rc = 1;
		goto out;
	}
	if (rc != 0)
		goto out;
	pass->blobs += s->blobs;
	pass->before += s->before;
	pass->after += s->after;
	rc = pass->next < pass->end;
out:
	kv_view_end(&view);
	free_slice(s);
	return rc;
}
