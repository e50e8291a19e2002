/*
 * backup_load.c - an account of a file into a store, whole: rows as they were, bodies linked
 *
 *   place, job --> rows and bodies in transactions of some hundred rows --> name published --> job removed
 *
 * What must stay true: the account is seen by nobody before its last row is there; a run that died leaves rows that
 * another run, or the purge, removes.
 *
 * What mail costs is another thing in another partition: it is added up anew, so the rows of mailboxes and of
 * the account, which hold sums, come last.
 *
 * A message whose bytes are not in the file, or damaged there, keeps its uid, date and flags, and a note takes the
 * place of its bytes: one of them must not keep an account from coming back.
 *
 * A body is stored once in a partition: which blob holds it is known from the partition's rows and from what was
 * loaded before. That is only a hint, looked at in the transaction that uses it.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "backup_load.h"

enum { BATCH_ROWS = 300, BATCH_BYTES = 512 << 10, BLOBS_SLICE = 2000, CHUNK_GUESS_BYTES = 2 * KV_VALUE_MAX };

/* ---- Which blob holds a body ---------------------------------------------------------------------------- */

/* 1: there are more behind *FROM. */
static int
read_blobs(struct backup_load *l, uint64_t *from)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct blob_row row;
	struct kv_scan scan;
	uint8_t first[8];
	unsigned n = 0;
	int rc;

	base_put_be64(first, *from);
	if ((rc = kv_view_begin_shard(l->store->kv, l->shard, &view)) != 0)
		return rc;
	rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), shelf_span(first, sizeof(first)), &scan);
	while (rc == 0 && n < BLOBS_SLICE && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		rc = 0;
		n++;
		if (key.len != 8) {
			rc = SHELF_ECORRUPT;
			break;
		}
		*from = base_get_be64(key.data) + 1;
		if (blob_row_decode(value, &row) == 0 && row.refs > 0)
			backup_index_add(l->blobs[l->shard], BACKUP_BODIES, row.hash, row.size,
					 (struct backup_place){base_get_be64(key.data), 0});
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc != 0 ? rc : n == BLOBS_SLICE;
}

static int
know_blobs(struct backup_load *l)
{
	uint64_t from = 0;
	int rc = 1;

	if (l->blobs[l->shard] != NULL)
		return 0;
	l->blobs[l->shard] = backup_index_new();
	while (rc == 1)
		rc = read_blobs(l, &from);
	return rc;
}

/* ---- A batch -------------------------------------------------------------------------------------------- */

static int
add_piece(void *arg, struct shelf_span piece)
{
	return shelf_draft_write(arg, piece.data, piece.len);
}

int
backup_make_draft(struct shelf_backup *b, struct shelf_store *store, const uint8_t *hash, uint64_t size,
		  struct shelf_draft **out)
{
	struct shelf_draft *draft = NULL;
	int rc = shelf_draft_new(store, &draft);

	*out = NULL;
	if (rc == 0)
		rc = backup_each_piece(b, hash, size, add_piece, draft);
	if (rc == 0)
		rc = shelf_draft_finish(draft);
	if (rc != 0) {
		shelf_draft_free(&draft);
		return rc;
	}
	*out = draft;
	return 0;
}

static void
forget_batch(struct backup_load *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->own_draft[i])
			shelf_draft_free(&l->body[i].draft);
	l->n = 0;
	l->cost = 0;
	shelf_arena_free(&l->notes);
	shelf_buf_clear(&l->bytes);
}

static struct backup_load_lost *
new_lost(struct backup_load *l)
{
	if (l->nlost == l->lost_cap) {
		l->lost_cap = l->lost_cap == 0 ? 16 : l->lost_cap * 2;
		l->lost = shelf_realloc(l->lost, l->lost_cap * sizeof(*l->lost));
	}
	l->notes_put++;
	return &l->lost[l->nlost++];
}

/* The row as that of another body. */
static int
change_body(struct backup_load *l, struct carry_row *row, const struct shelf_draft *draft)
{
	struct mail_gone g;
	int rc = row->table == KV_MSG ? mail_msg_decode(row->value, &g.msg) : mail_gone_decode(row->value, &g);

	if (rc != 0)
		return rc;
	row->size = g.msg.size = shelf_draft_size(draft);
	memcpy(row->hash, shelf_draft_email_id(draft), sizeof(row->hash));
	memcpy(g.msg.email_id, row->hash, sizeof(row->hash));
	g.msg.dated = false; /* so may be that */
	g.msg.noted = false;
	shelf_buf_clear(&l->value);
	if (row->table == KV_MSG)
		mail_msg_encode(&l->value, &g.msg);
	else
		mail_gone_encode(&l->value, &g);
	row->value = shelf_arena_dup(&l->notes, shelf_buf_span(&l->value));
	return 0;
}

static int
put_note(struct backup_load *l, size_t i)
{
	struct carry_row *row = &l->row[i];
	struct shelf_draft **draft = &l->body[i].draft;
	struct backup_load_lost *lost;
	struct shelf_buf text = {0};
	int rc = row->key.len == 8 ? 0 : SHELF_ECORRUPT;

	shelf_buf_printf(&text,
			 "From: mailshelf\r\nSubject: [a message of %llu bytes is lost]\r\n\r\nIts bytes were "
			 "damaged in the store, or in the backup that it was restored from.\r\n",
			 (unsigned long long)row->size);
	if (rc == 0 && (rc = shelf_draft_new(l->store, draft)) == 0 &&
	    (rc = shelf_draft_write(*draft, text.data, text.len)) == 0 &&
	    (rc = shelf_draft_finish(*draft)) == 0) {
		lost = new_lost(l);
		*lost = (struct backup_load_lost){.gone = row->table == KV_GONE,
						  .mailbox = base_get_be32(row->key.data),
						  .uid = base_get_be32(row->key.data + 4),
						  .bytes_by = (int64_t)text.len - (int64_t)row->size};
		rc = change_body(l, row, *draft);
	}
	shelf_buf_free(&text);
	return rc;
}

/* The draft of row I: one made for an equal body of the batch, or a new one. */
static int
draft_of(struct backup_load *l, size_t i)
{
	const struct carry_row *row = &l->row[i];
	int rc;

	for (size_t j = 0; j < i; j++) {
		if (l->own_draft[j] && l->row[j].size == row->size &&
		    memcmp(l->row[j].hash, row->hash, sizeof(row->hash)) == 0) {
			l->body[i].draft = l->body[j].draft;
			return 0;
		}
	}
	l->own_draft[i] = true;
	l->bodies++;
	l->body_bytes += row->size;
	rc = backup_make_draft(l->b, l->store, row->hash, row->size, &l->body[i].draft);
	return rc == SHELF_EMISSING || rc == SHELF_ECORRUPT ? put_note(l, i) : rc;
}

/* Keys and values lie in l->bytes, which moves while it grows: spans are set when the batch is whole. */
static void
set_spans(struct backup_load *l)
{
	struct base_reader r = base_reader(shelf_buf_span(&l->bytes));

	for (size_t i = 0; i < l->n; i++) {
		l->row[i].key = base_get_text(&r);
		l->row[i].value = base_get_text(&r);
	}
}

static int
by_id(const void *key, const void *item)
{
	uint32_t id = *(const uint32_t *)key;
	const struct backup_load_box *box = item;

	return (id > box->id) - (id < box->id);
}

static struct backup_load_box *
find_box(struct backup_load *l, struct shelf_span key)
{
	uint32_t id = key.len == 8 ? base_get_be32(key.data) : 0;

	return l->nboxes == 0 ? NULL : bsearch(&id, l->box, l->nboxes, sizeof(*l->box), by_id);
}

static void
add_cost(struct mail_sums *s, const struct blob_cost *cost)
{
	s->stored += cost->bytes;
	s->shared += cost->found ? cost->bytes : 0;
}

/* SHELF_ECORRUPT: a message of a mailbox that is not there. */
static int
count_costs(struct backup_load *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct backup_load_box *box;

		if (!l->row[i].has_body)
			continue;
		l->acct.noted++;
		if (l->row[i].table == KV_GONE) {
			add_cost(&l->acct.held, &l->body[i].cost);
			continue;
		}
		if ((box = find_box(l, l->row[i].key)) == NULL)
			return SHELF_ECORRUPT;
		add_cost(&box->sums, &l->body[i].cost);
		add_cost(box->deleted ? &l->acct.held : &l->acct.used, &l->body[i].cost);
	}
	return 0;
}

static int
put_batch(struct backup_load *l)
{
	int rc = 0;

	set_spans(l);
	for (size_t i = 0; i < l->n && rc == 0; i++)
		if (l->row[i].has_body && l->body[i].blob == 0)
			rc = draft_of(l, i);
	if (rc == 0)
		rc = mail_carry_put(&l->carry, l->row, l->body, l->n);
	if (rc == SHELF_EMISSING) { /* blobs that were there went meanwhile */
		rc = 0;
		for (size_t i = 0; i < l->n && rc == 0; i++)
			if (l->body[i].wanted)
				rc = draft_of(l, i);
		if (rc == 0)
			rc = mail_carry_put(&l->carry, l->row, l->body, l->n);
	}
	if (rc == 0)
		rc = count_costs(l);
	for (size_t i = 0; i < l->n && rc == 0; i++)
		if (l->row[i].has_body)
			backup_index_add(l->blobs[l->shard], BACKUP_BODIES, l->row[i].hash, l->row[i].size,
					 (struct backup_place){l->body[i].linked, 0});
	return rc;
}

static int
flush(struct backup_load *l)
{
	int rc = l->n == 0 ? 0 : put_batch(l);

	forget_batch(l);
	return rc;
}

/* The row goes into the next transaction, which is written when it is full. */
static int
add_row(struct backup_load *l, struct carry_row *row)
{
	struct backup_place place;
	int rc;

	base_add_text(&l->bytes, row->key);
	base_add_text(&l->bytes, row->value);
	l->body[l->n] = (struct carry_body){0};
	l->own_draft[l->n] = false;
	l->cost++;
	if (row->has_body) {
		l->messages++;
		l->cost++;
		if (backup_index_find(l->blobs[l->shard], BACKUP_BODIES, row->hash, row->size, &place))
			l->body[l->n].blob = place.offset;
		else
			l->cost += 2 + row->size / CHUNK_GUESS_BYTES;
	}
	l->row[l->n++] = *row;
	if (l->n < BACKUP_LOAD_ROWS && l->cost < BATCH_ROWS && l->bytes.len < BATCH_BYTES)
		return 0;
	if ((rc = flush(l)) == 0 && l->step != NULL)
		rc = l->step(l->arg, l);
	return rc;
}

static int
keep_box(struct backup_load *l, struct shelf_span key, struct shelf_span value)
{
	struct backup_load_box *box;
	struct mail_mbox m;
	int rc = key.len == 4 ? mail_mbox_decode(value, &m) : SHELF_ECORRUPT;

	if (rc != 0)
		return rc;
	if (l->nboxes == l->boxes_cap) {
		l->boxes_cap = l->boxes_cap == 0 ? 64 : l->boxes_cap * 2;
		l->box = shelf_realloc(l->box, l->boxes_cap * sizeof(*l->box));
	}
	box = &l->box[l->nboxes];
	*box = (struct backup_load_box){.id = base_get_be32(key.data),
					.deleted = (m.flags & MAIL_MBOX_DELETED) != 0,
					.at = l->boxes_bytes.len,
					.len = value.len};
	shelf_buf_add_span(&l->boxes_bytes, value);
	return l->nboxes++ > 0 && box[-1].id >= box->id ? SHELF_ECORRUPT : 0;
}

static int
take_row(void *arg, const char *table, struct shelf_span key, struct shelf_span value)
{
	struct backup_load *l = arg;
	struct carry_row row = {.table = (enum kv_table)backup_table(table), .key = key, .value = value};
	int rc;

	if (row.table == KV_TABLES)
		return SHELF_EVERSION;
	if (key.len > KV_KEY_MAX || value.len > KV_VALUE_MAX)
		return SHELF_ECORRUPT;
	if (row.table == KV_ACCT) {
		l->has_acct = true;
		rc = mail_acct_decode(value, &l->acct);
		l->acct.used = l->acct.held = (struct mail_sums){0};
		l->acct.noted = 0;
		return rc;
	}
	if (row.table == KV_MBOX)
		return keep_box(l, key, value);
	rc = mail_carry_unbind(&row, &l->value);
	return rc != 0 ? rc : add_row(l, &row);
}

/* Counters go with the size of the note. Its rows are in the store by now. */
static int
count_note(struct backup_load *l, struct kv_view *view, const struct backup_load_lost *lost)
{
	struct mail_key key = mail_key2(lost->mailbox, lost->uid);
	struct backup_load_box *box = find_box(l, mail_key_span(&key));
	struct index_page *page;
	int rc;

	if (lost->gone || (box != NULL && box->deleted))
		l->acct.quota.held_bytes += (uint64_t)lost->bytes_by;
	else
		l->acct.quota.used_bytes += (uint64_t)lost->bytes_by;
	if (lost->gone)
		return 0;
	if (box == NULL)
		return SHELF_ECORRUPT;
	page = shelf_alloc(sizeof(*page));
	rc = index_page_get(view, lost->mailbox, lost->uid >> INDEX_PAGE_SHIFT, page);
	if (rc == 0 && index_page_has(page, INDEX_FLAG_DELETED, lost->uid % INDEX_PAGE_UIDS))
		box->deleted_bytes_by += lost->bytes_by;
	box->bytes_by += lost->bytes_by;
	free(page);
	return rc;
}

static int
count_notes(struct backup_load *l)
{
	struct kv_view *view = NULL;
	int rc = 0;

	for (size_t i = 0; i < l->nlost && rc == 0; i++) {
		if ((rc = kv_view_begin_shard(l->store->kv, l->shard, &view)) != 0)
			break;
		kv_view_account(view, l->account);
		rc = count_note(l, view, &l->lost[i]);
		kv_view_end(&view);
	}
	l->nlost = 0;
	return rc;
}

/* Mailboxes, with their sums. The account's row is for the caller to put. */
static int
put_sums(struct backup_load *l)
{
	struct carry_row row = {.table = KV_MBOX};
	struct mail_mbox m;
	struct mail_key key;
	int rc = flush(l);

	if (rc == 0)
		rc = count_notes(l);
	for (size_t i = 0; i < l->nboxes && rc == 0; i++) {
		const struct backup_load_box *box = &l->box[i];

		rc = mail_mbox_decode(shelf_span(l->boxes_bytes.data + box->at, box->len), &m);
		m.sums = box->sums;
		m.bytes += (uint64_t)box->bytes_by;
		m.deleted_bytes += (uint64_t)box->deleted_bytes_by;
		key = mail_key1(box->id);
		row.key = mail_key_span(&key);
		shelf_buf_clear(&l->value);
		mail_mbox_encode(&l->value, &m);
		row.value = shelf_buf_span(&l->value);
		if (rc == 0)
			rc = add_row(l, &row);
	}
	l->acct.changed = (struct mail_changed){.floor = l->acct.modseq};
	if (rc == 0)
		rc = flush(l);
	return rc == 0 && !l->has_acct ? SHELF_ECORRUPT : rc;
}

static int
start(struct backup_load *l)
{
	l->carry = (struct mail_carry){.store = l->store, .account = l->account, .shard = l->shard};
	return mail_carry_in(&l->carry);
}

int
backup_load_account(struct backup_load *l, const struct backup_account *a, uint32_t id)
{
	int rc;

	l->account = id;
	l->nboxes = 0;
	l->nlost = 0;
	l->has_acct = false;
	shelf_buf_clear(&l->boxes_bytes);
	if ((rc = kv_place(l->store->kv, id, 1)) != 0 ||
	    (rc = kv_shard_of(l->store->kv, id, &l->shard)) != 0 || (rc = know_blobs(l)) != 0 ||
	    (rc = start(l)) != 0)
		return rc;
	if ((rc = backup_each_account_row(l->b, a, take_row, l)) == 0)
		rc = put_sums(l);
	forget_batch(l);
	return rc;
}

void
backup_load_free(struct backup_load *l)
{
	for (size_t i = 0; i < KV_SHARDS_MAX; i++)
		backup_index_free(&l->blobs[i]);
	shelf_buf_free(&l->bytes);
	shelf_buf_free(&l->boxes_bytes);
	free(l->box);
	free(l->lost);
	shelf_buf_free(&l->value);
}
