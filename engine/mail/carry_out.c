/*
 * carry_out.c - all rows of an account, as of one version of it
 *
 *   attempt: slice, pause, slice, pause, ... end --> the version is still the first one: done
 *                                                \-> it is not: once more, TRIES times
 *   then:    one snapshot of at most WHOLE_MS, pause, done
 *
 * What must stay true: a version is the value of the ACCT row, which every change of the account rewrites with a new
 * modseq; removal of a deleted account does not, but that begins behind the end of its USER row. No callback that may
 * wait runs inside a snapshot.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "carry.h"

enum { TRIES = 3, WHOLE_TRIES = 3, SLICE_ROWS = 2000, SLICE_MS = 400, WHOLE_MS = 1800, CLOCK_EVERY = 64 };

struct walk {
	struct shelf_store *store;
	uint32_t account;
	const struct carry_out *out;
	void *arg;
	bool whole; /* one snapshot */
	bool changed;
	struct shelf_buf version; /* value of the ACCT row in the first snapshot of the attempt */
	unsigned table;		  /* where the next slice begins: KV_TABLES at the end */
	struct mail_key from;
	struct shelf_buf value;
	struct mail_acct acct;
};

int
mail_carry_unbind(struct carry_row *row, struct shelf_buf *buf)
{
	struct mail_gone g;
	int rc;

	row->has_body = row->table == KV_MSG || row->table == KV_GONE;
	if (!row->has_body)
		return 0;
	shelf_buf_clear(buf);
	rc = row->table == KV_MSG ? mail_msg_decode(row->value, &g.msg) : mail_gone_decode(row->value, &g);
	if (rc != 0)
		return rc;
	row->blob = g.msg.blob;
	row->size = g.msg.size;
	memcpy(row->hash, g.msg.email_id, sizeof(row->hash));
	g.msg.blob = 0;
	g.msg.noted = false; /* what it costs elsewhere is another matter */
	g.msg.cost = (struct blob_cost){0};
	if (row->table == KV_MSG)
		mail_msg_encode(buf, &g.msg);
	else
		mail_gone_encode(buf, &g);
	row->value = shelf_buf_span(buf);
	return 0;
}

/* Is the account still of the version the attempt began with? */
static int
look_at_version(struct walk *w, struct kv_view *view)
{
	struct shelf_span value;
	int rc = kv_get(view, KV_ACCT, shelf_span(NULL, 0), &value);

	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ENOACCOUNT : rc;
	if (w->version.len == 0) {
		shelf_buf_add_span(&w->version, value);
		return mail_acct_get(view, &w->acct);
	}
	w->changed = w->changed || !shelf_span_eq(value, shelf_buf_span(&w->version));
	return 0;
}

/* Rows of one table from w->from on. 1: time or rows are used up. */
static int
walk_table(struct walk *w, struct kv_view *view, int64_t until_ms, unsigned *rows)
{
	struct carry_row row = {.table = (enum kv_table)w->table};
	struct kv_scan scan;
	int rc = kv_scan_open(view, row.table, shelf_span(NULL, 0), mail_key_span(&w->from), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &row.key, &row.value)) == 1) {
		if (!w->whole && *rows >= SLICE_ROWS)
			break;
		if (++*rows % CLOCK_EVERY == 0 && shelf_mono_ms() > until_ms)
			break;
		if (row.key.len >= sizeof(w->from.bytes)) {
			rc = SHELF_ECORRUPT; /* no table of accounts has keys that long */
			break;
		}
		memcpy(w->from.bytes, row.key.data, row.key.len);
		w->from.bytes[row.key.len] = 0;
		w->from.len = row.key.len + 1;
		if ((rc = mail_carry_unbind(&row, &w->value)) != 0 ||
		    (rc = w->out->row(w->arg, &row)) != 0)
			break;
	}
	kv_scan_close(&scan);
	return rc;
}

static int
walk_slice(struct walk *w)
{
	int64_t until_ms = shelf_mono_ms() + (w->whole ? WHOLE_MS : SLICE_MS);
	struct kv_view *view = NULL;
	unsigned rows = 0;
	int rc;

	if ((rc = kv_view_begin(w->store->kv, w->account, &view)) != 0)
		return rc;
	rc = look_at_version(w, view);
	for (; rc == 0 && w->table < KV_TABLES; w->table++, w->from.len = 0)
		/* What a MOVE has left to do is of two accounts as they are here. */
		if (kv_table_of_account((enum kv_table)w->table) && w->table != KV_CROSS &&
		    (rc = walk_table(w, view, until_ms, &rows)) != 0)
			break;
	kv_view_end(&view);
	return rc == 1 ? (w->whole ? SHELF_EBUSY : 0) : rc;
}

/* The version once more, behind the last pause of an attempt in slices: 0 it was one version all the time. */
static int
prove(struct walk *w)
{
	struct kv_view *view = NULL;
	int rc;

	if (w->whole)
		return 0;
	if ((rc = kv_view_begin(w->store->kv, w->account, &view)) != 0)
		return rc;
	rc = look_at_version(w, view);
	kv_view_end(&view);
	return rc != 0 ? rc : w->changed ? SHELF_EMISSING : 0;
}

/* SHELF_EMISSING: it changed meanwhile. */
static int
attempt(struct walk *w)
{
	bool body_gone = false;
	int rc = 0;

	w->changed = false;
	w->table = 0;
	w->from.len = 0;
	shelf_buf_clear(&w->version);
	w->out->begin(w->arg);
	/* To the end even when it has changed: what was copied need not be copied by the next attempt. */
	while (rc == 0 && w->table < KV_TABLES) {
		if ((rc = walk_slice(w)) != 0)
			break;
		rc = w->out->pause(w->arg);
		body_gone = body_gone || rc == SHELF_EMISSING;
		rc = rc == SHELF_EMISSING ? 0 : rc;
	}
	if (rc != 0)
		return rc;
	return body_gone ? SHELF_EMISSING : prove(w);
}

/* 0: no row has been removed with the account yet. */
static int
still_named(struct shelf_store *store, uint32_t account)
{
	struct kv_view *view = NULL;
	struct mail_user u;
	int rc;

	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = mail_user_get(view, account, &u);
	kv_view_end(&view);
	return rc;
}

int
mail_carry_out(struct shelf_store *store, uint32_t account, const struct carry_out *out, void *arg,
	       struct mail_acct *acct_out)
{
	struct walk w = {.store = store, .account = account, .out = out, .arg = arg};
	int rc = SHELF_EMISSING;

	for (unsigned i = 0; rc == SHELF_EMISSING && i < TRIES + WHOLE_TRIES; i++) {
		w.whole = i >= TRIES;
		rc = attempt(&w);
	}
	if (rc == 0)
		rc = still_named(store, account);
	*acct_out = w.acct;
	shelf_buf_free(&w.version);
	shelf_buf_free(&w.value);
	return rc == SHELF_EMISSING ? SHELF_EBUSY : rc;
}
