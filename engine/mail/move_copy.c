/*
 * move_copy.c - rows and bodies of an account from one partition into another, a few hundred in a transaction
 *
 * A batch is read in one short snapshot, its bodies are compressed outside of any, then it is written. What a row
 * replaces is taken off again, so that the sums are those of the rows that are there at any time; rows of mailboxes and
 * of the account hold sums, and come last.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "draft.h"
#include "move.h"

enum {
	BATCH_WRITES = 300,
	BATCH_BODY_BYTES = 8 << 20,
	CHUNK_GUESS_BYTES = 2 * KV_VALUE_MAX,
	COPIED_MAX = 1 << 20, /* bodies remembered: 32 MiB */
	PUT_TRIES = 4,
};

/* ---- Bodies that are shared --------------------------------------------------------------------- */

static struct move_copied *
copied_slot(struct shelf_mover *m, uint64_t from)
{
	size_t i = (from * 0x9e3779b97f4a7c15u) >> 20 & (m->copied_cap - 1);

	while (m->copied[i].from != 0 && m->copied[i].from != from)
		i = (i + 1) & (m->copied_cap - 1);
	return &m->copied[i];
}

static void
remember_copied(struct shelf_mover *m, uint64_t from, uint64_t to)
{
	struct move_copied *slot;

	if (m->copied_used * 2 >= m->copied_cap) {
		struct move_copied *old = m->copied;
		size_t n = m->copied_cap;

		if (m->copied_used >= COPIED_MAX)
			return; /* others are written once more: room is bounded, and it is not wrong */
		m->copied_cap = n == 0 ? 1024 : n * 2;
		m->copied = shelf_zalloc(m->copied_cap * sizeof(*m->copied));
		for (size_t i = 0; i < n; i++)
			if (old[i].from != 0)
				*copied_slot(m, old[i].from) = old[i];
		free(old);
	}
	slot = copied_slot(m, from);
	m->copied_used += slot->from == 0;
	*slot = (struct move_copied){from, to};
}

/* The blob in the new partition that is a copy of BLOB, as far as is known; 0: none. */
static uint64_t
copy_of(struct shelf_mover *m, uint64_t blob)
{
	uint64_t to = m->copied_cap == 0 ? 0 : copied_slot(m, mail_blob_handle(m->from, blob))->to;

	return to != 0 && mail_handle_shard(to) == m->in.shard ? mail_handle_blob(to) : 0;
}

/* ---- Mailboxes ---------------------------------------------------------------------------------- */

static struct move_box *
box_of(struct shelf_mover *m, uint32_t id)
{
	size_t low = 0, high = m->nboxes;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->box[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < m->nboxes && m->box[low].id == id)
		return &m->box[low];
	if (m->nboxes == m->boxes_cap) {
		m->boxes_cap = m->boxes_cap == 0 ? 64 : m->boxes_cap * 2;
		m->box = shelf_realloc(m->box, m->boxes_cap * sizeof(*m->box));
	}
	memmove(m->box + low + 1, m->box + low, (m->nboxes - low) * sizeof(*m->box));
	m->nboxes++;
	m->box[low] = (struct move_box){.id = id, .dirty = true};
	return &m->box[low];
}

static void
add_cost(struct mail_sums *s, const struct blob_cost *cost)
{
	s->stored += cost->bytes;
	s->shared += cost->found ? cost->bytes : 0;
}

static void
sub_cost(struct mail_sums *s, const struct blob_cost *cost)
{
	s->stored -= cost->bytes;
	s->shared -= cost->found ? cost->bytes : 0;
}

/* A message row of the batch is there, is another one, or has gone. */
static void
count_row(struct shelf_mover *m, const struct carry_row *row, const struct carry_body *body)
{
	struct move_box *box = row->table == KV_MSG ? box_of(m, base_get_be32(row->key.data)) : NULL;
	struct mail_sums *sums = box != NULL ? &box->sums : &m->gone_sums;
	uint64_t *noted = box != NULL ? &box->noted : &m->gone;

	if (body->replaced) {
		sub_cost(sums, &body->was);
		--*noted;
	}
	if (!row->gone) {
		add_cost(sums, &body->cost);
		++*noted;
		m->done.messages += !body->replaced;
	}
	if (box != NULL)
		box->dirty = true;
}

/* ---- A batch ------------------------------------------------------------------------------------ */

/* The bytes of a blob as a draft. SHELF_ENOMESSAGE: it is not there any more. */
static int
read_draft(struct shelf_mover *m, uint64_t handle, struct shelf_draft **out)
{
	struct shelf_store *store = m->in.store;
	struct shelf_body *body = NULL;
	struct shelf_span piece;
	uint64_t at = 0;
	int rc = shelf_body_open(store, m->in.account, handle, &body);

	*out = NULL;
	if (rc == 0)
		rc = shelf_draft_new(store, out);
	while (rc == 0 && (rc = shelf_body_read(body, at, SIZE_MAX, &piece)) == 0 && piece.len > 0) {
		rc = shelf_draft_write(*out, piece.data, piece.len);
		at += piece.len;
	}
	if (rc == 0)
		rc = shelf_draft_finish(*out);
	shelf_body_close(&body);
	if (rc != 0)
		shelf_draft_free(out);
	return rc;
}

/* The head of a blob, and the handle of what lies behind it: 0 when it has none. */
static int
look_behind(struct shelf_mover *m, uint64_t blob, struct shelf_buf *head, uint64_t *behind)
{
	struct kv_view *view = NULL;
	struct blob_row row;
	int rc = kv_view_begin_shard(m->store->kv, m->from, &view);

	*behind = 0;
	if (rc == 0 && (rc = blob_get(view, blob, &row)) == 0 && row.base != 0) {
		*behind = mail_blob_handle(m->from, row.base);
		shelf_buf_add_span(head, row.head);
	}
	kv_view_end(&view);
	return rc == SHELF_EMISSING ? SHELF_ENOMESSAGE : rc;
}

/* What many recipients share stays shared: behind the head of each is the copy that came with the first of them. */
static int
read_message(struct shelf_mover *m, size_t i)
{
	const struct carry_row *row = &m->row[i];
	struct shelf_draft **out = &m->body[i].draft;
	struct shelf_buf head = {0};
	uint64_t behind, known = 0;
	int rc = look_behind(m, row->blob, &head, &behind);

	if (rc == 0 && behind == 0)
		rc = read_draft(m, mail_blob_handle(m->from, row->blob), out);
	if (rc == 0 && behind != 0 && (rc = read_draft(m, behind, &m->behind[i])) == 0) {
		if ((known = copy_of(m, mail_handle_blob(behind))) != 0)
			blob_draft_expect(mail_draft_blob(m->behind[i]), m->in.shard, known);
		m->behind_from[i] = behind;
		rc = mail_draft_headed(m->behind[i], shelf_buf_span(&head), out);
	}
	shelf_buf_free(&head);
	if (rc == 0 && (shelf_draft_size(*out) != row->size ||
			memcmp(shelf_draft_email_id(*out), row->hash, sizeof(row->hash)) != 0))
		rc = SHELF_ECORRUPT;
	m->own_draft[i] = *out != NULL;
	if (rc == 0 && known == 0) {
		m->done.bodies++;
		m->done.body_bytes += row->size;
	}
	return rc;
}

/* A draft for row I, or the one that an equal body of the batch has. */
static int
make_draft(struct shelf_mover *m, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (m->own_draft[j] && m->row[j].blob == m->row[i].blob) {
			m->body[i].draft = m->body[j].draft;
			return 0;
		}
	}
	return read_message(m, i);
}

/* Keys and values lie in m->bytes, which moves while it grows. */
static void
set_spans(struct shelf_mover *m)
{
	struct base_reader r = base_reader(shelf_buf_span(&m->bytes));

	for (size_t i = 0; i < m->n; i++) {
		m->row[i].key = base_get_text(&r);
		m->row[i].value = base_get_text(&r);
	}
}

/* What SHELF_EMISSING of mail_carry_put said. A message that went meanwhile is among the changes to come. */
static int
make_wanted(struct shelf_mover *m)
{
	int rc = 0;

	for (size_t i = 0; i < m->n && rc == 0; i++) {
		if (!m->body[i].wanted)
			continue;
		rc = make_draft(m, i);
		if (rc == SHELF_ENOMESSAGE) {
			m->row[i].gone = true;
			m->row[i].has_body = false;
			rc = 0;
		}
	}
	return rc;
}

static int
put_batch(struct shelf_mover *m)
{
	int rc;

	set_spans(m);
	rc = mail_carry_put(&m->in, m->row, m->body, m->n);
	/* Only what is not there is read and compressed; what was there may go meanwhile. */
	for (unsigned i = 0; i < PUT_TRIES && rc == SHELF_EMISSING; i++)
		if ((rc = make_wanted(m)) == 0)
			rc = mail_carry_put(&m->in, m->row, m->body, m->n);
	if (rc == SHELF_EMISSING)
		rc = SHELF_EBUSY;
	for (size_t i = 0; i < m->n && rc == 0; i++) {
		const struct carry_row *row = &m->row[i];

		if (row->table != KV_MSG && row->table != KV_GONE)
			continue;
		count_row(m, row, &m->body[i]);
		if (m->shared[i] && !row->gone)
			remember_copied(m, mail_blob_handle(m->from, row->blob),
					mail_blob_handle(m->in.shard, m->body[i].linked));
		if (m->behind[i] != NULL && !row->gone)
			remember_copied(m, m->behind_from[i],
					mail_blob_handle(m->in.shard,
							 blob_draft_id(mail_draft_blob(m->behind[i]), m->in.shard)));
	}
	return rc;
}

static void
clear_batch(struct shelf_mover *m)
{
	for (size_t i = 0; i < m->n; i++) {
		if (m->own_draft[i])
			shelf_draft_free(&m->body[i].draft);
		shelf_draft_free(&m->behind[i]);
	}
	m->n = 0;
	m->cost = 0;
	m->body_bytes = 0;
	shelf_buf_clear(&m->bytes);
}

static int
flush(struct shelf_mover *m)
{
	int rc = m->n == 0 ? 0 : put_batch(m);

	clear_batch(m);
	return rc;
}

static bool
is_full(const struct shelf_mover *m)
{
	return m->n == MOVE_ROWS || m->cost >= BATCH_WRITES || m->body_bytes >= BATCH_BODY_BYTES;
}

/* In a snapshot. VALUE NULL: the row is not there. */
static int
add_row(struct shelf_mover *m, struct kv_view *view, enum kv_table table, struct shelf_span key,
	const struct shelf_span *value)
{
	struct carry_row row = {.table = table, .key = key, .gone = value == NULL};
	struct blob_row blob;
	int rc = 0;

	if (table == KV_MSG || table == KV_GONE) {
		if (key.len != 8)
			return SHELF_ECORRUPT;
		m->cost += 3;
	}
	if (value != NULL) {
		row.value = *value;
		if ((rc = mail_carry_unbind(&row, &m->value)) != 0)
			return rc;
	}
	m->body[m->n] = (struct carry_body){0};
	m->own_draft[m->n] = m->shared[m->n] = false;
	m->behind[m->n] = NULL;
	if (row.has_body) {
		rc = blob_get(view, row.blob, &blob);
		if (rc != 0)
			return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
		m->shared[m->n] = blob.refs > 1;
		m->body[m->n].blob = copy_of(m, row.blob);
		m->cost += blob.stored / CHUNK_GUESS_BYTES;
		m->body_bytes += row.size;
	}
	m->cost++;
	base_add_text(&m->bytes, row.key);
	base_add_text(&m->bytes, row.value);
	m->row[m->n++] = row;
	return 0;
}

/* ---- All rows ----------------------------------------------------------------------------------- */

/* Rows of TABLE from FROM on, as many as a batch takes. 1: there are more. */
static int
read_batch(struct shelf_mover *m, enum kv_table table, struct mail_key *from)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	if ((rc = kv_view_begin_shard(m->store->kv, m->from, &view)) != 0)
		return rc;
	kv_view_account(view, m->in.account);
	rc = kv_scan_open(view, table, shelf_span(NULL, 0), mail_key_span(from), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (is_full(m))
			break;
		if (key.len >= sizeof(from->bytes)) {
			rc = SHELF_ECORRUPT;
			break;
		}
		memcpy(from->bytes, key.data, key.len);
		from->bytes[key.len] = 0;
		from->len = key.len + 1;
		if (table != KV_MBOX)
			rc = add_row(m, view, table, key, &value);
		else if (key.len == 4)
			box_of(m, base_get_be32(key.data))->dirty = true;
		rc = rc == 1 ? 0 : rc;
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

static int
go_on(struct shelf_mover *m)
{
	return m->step == NULL || m->step(m->arg, &m->done) ? 0 : SHELF_ECANCELLED;
}

int
move_copy_all(struct shelf_mover *m)
{
	int rc = 0;

	for (int table = 0; table < KV_TABLES && rc == 0; table++) {
		struct mail_key from = {.len = 0};
		int more = kv_table_of_account((enum kv_table)table) && table != KV_ACCT;

		while (more == 1 && rc == 0) {
			more = read_batch(m, (enum kv_table)table, &from);
			rc = more < 0 ? more : flush(m);
			if (rc == 0)
				rc = go_on(m);
		}
	}
	return rc;
}

/* ---- Changes ------------------------------------------------------------------------------------ */

static bool
is_listed(const struct shelf_mover *m, size_t i)
{
	const struct kv_change *c = &m->change[i];

	for (size_t j = 0; j < i; j++)
		if (m->change[j].table == c->table && m->change[j].len == c->len &&
		    memcmp(m->change[j].key, c->key, c->len) == 0)
			return true;
	return false;
}

static int
add_change(struct shelf_mover *m, struct kv_view *view, const struct kv_change *c)
{
	struct shelf_span key = shelf_span(c->key, c->len), value;
	int rc;

	if (c->table == KV_ACCT)
		return 0; /* last, whatever comes */
	if (c->table == KV_MBOX && key.len == 4) {
		box_of(m, base_get_be32(key.data))->dirty = true;
		return 0;
	}
	rc = kv_get(view, c->table, key, &value);
	if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	m->done.changes++;
	return add_row(m, view, c->table, key, rc == 0 ? &value : NULL);
}

/* Changes from *AT on, as many as a batch takes. */
static int
read_changes(struct shelf_mover *m, size_t n, size_t *at)
{
	struct kv_view *view = NULL;
	int rc;

	if ((rc = kv_view_begin_shard(m->store->kv, m->from, &view)) != 0)
		return rc;
	kv_view_account(view, m->in.account);
	for (; *at < n && rc == 0 && !is_full(m); ++*at)
		if (!is_listed(m, *at))
			rc = add_change(m, view, &m->change[*at]);
	kv_view_end(&view);
	return rc;
}

int
move_copy_changes(struct shelf_mover *m, struct kv_leave *leave)
{
	size_t at = 0;
	int more = kv_leave_changes(leave, m->change, MOVE_ROWS, &m->changed), rc = 0;

	while (more >= 0 && at < m->changed && rc == 0)
		if ((rc = read_changes(m, m->changed, &at)) == 0)
			rc = flush(m);
	return more < 0 || rc == 0 ? more : rc;
}

/* ---- Rows that hold sums ------------------------------------------------------------------------ */

static int
add_box(struct shelf_mover *m, struct kv_view *view, struct move_box *box)
{
	struct mail_key key = mail_key1(box->id);
	struct shelf_span value;
	struct mail_mbox mbox;
	int rc = mail_mbox_get(view, box->id, &mbox);

	box->dirty = false;
	if (rc == SHELF_ENOMAILBOX)
		return add_row(m, view, KV_MBOX, mail_key_span(&key), NULL);
	if (rc != 0)
		return rc;
	box->deleted = (mbox.flags & MAIL_MBOX_DELETED) != 0;
	mbox.sums = box->sums;
	shelf_buf_clear(&m->value);
	mail_mbox_encode(&m->value, &mbox);
	value = shelf_buf_span(&m->value);
	return add_row(m, view, KV_MBOX, mail_key_span(&key), &value);
}

int
move_copy_boxes(struct shelf_mover *m)
{
	size_t i = 0;
	int rc = 0;

	while (i < m->nboxes && rc == 0) {
		struct kv_view *view = NULL;

		if ((rc = kv_view_begin_shard(m->store->kv, m->from, &view)) != 0)
			return rc;
		kv_view_account(view, m->in.account);
		for (; i < m->nboxes && rc == 0 && !is_full(m); i++)
			if (m->box[i].dirty)
				rc = add_box(m, view, &m->box[i]);
		kv_view_end(&view);
		if (rc == 0)
			rc = flush(m);
	}
	return rc;
}

/* Used and held of the copy, and do the counters say that it is all? */
static int
sum_up(struct shelf_mover *m)
{
	struct mail_acct *a = &m->acct;
	uint64_t used = 0, held = m->gone;

	a->used = (struct mail_sums){0};
	a->held = m->gone_sums;
	for (size_t i = 0; i < m->nboxes; i++) {
		const struct move_box *box = &m->box[i];
		struct mail_sums *to = box->deleted ? &a->held : &a->used;

		to->stored += box->sums.stored;
		to->shared += box->sums.shared;
		*(box->deleted ? &held : &used) += box->noted;
	}
	a->noted = used + held;
	return used == a->quota.used_messages && held == a->quota.held_messages ? 0 : SHELF_ECORRUPT;
}

int
move_take_account(struct shelf_mover *m)
{
	struct kv_view *view = NULL;
	struct shelf_span value;
	int rc;

	if ((rc = kv_view_begin_shard(m->store->kv, m->from, &view)) != 0)
		return rc;
	kv_view_account(view, m->in.account);
	rc = kv_get(view, KV_ACCT, shelf_span(NULL, 0), &value);
	if (rc == 0) {
		shelf_buf_clear(&m->acct_was);
		shelf_buf_add_span(&m->acct_was, value);
		rc = mail_acct_decode(shelf_buf_span(&m->acct_was), &m->acct);
	}
	kv_view_end(&view);
	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ENOACCOUNT : rc;
	return sum_up(m);
}

void
move_forget(struct shelf_mover *m)
{
	clear_batch(m);
	m->nboxes = 0;
	m->gone = 0;
	m->gone_sums = (struct mail_sums){0};
}
