/*
 * backup_generation.c - the section that ends a generation
 *
 * Bytes: format u8, 1 | number u64 | start u64 | offset of the generation before u64 | time u64 | id of the store, 16 |
 * next account u32 | partitions u32 | hold in seconds u32 | accounts u64 | messages u64 | bytes u64 | bytes added u64 |
 * accounts not of this run u32 | bodies not read u32 | varint count, offsets of its index u64 each |
 * varint count, ids of the catalog's rows, 20 each
 */
#include "backup.h"

enum { FORMAT = 1 };

static void
add_array(struct shelf_buf *out, const struct shelf_buf *items, size_t item_bytes)
{
	base_add_varint(out, items->len / item_bytes);
	shelf_buf_add_span(out, shelf_buf_span(items));
}

static void
get_array(struct base_reader *r, struct shelf_buf *items, size_t item_bytes)
{
	uint64_t n = base_get_varint(r);

	if (n > base_left(r) / item_bytes)
		r->bad = true;
	else
		shelf_buf_add_span(items, base_get_bytes(r, (size_t)n * item_bytes));
}

void
backup_generation_encode(const struct backup_generation *g, struct shelf_buf *out)
{
	base_add_le(out, FORMAT, 1);
	base_add_le(out, g->number, 8);
	base_add_le(out, g->start, 8);
	base_add_le(out, g->previous, 8);
	base_add_le(out, (uint64_t)g->time_s, 8);
	shelf_buf_add(out, g->store_id, sizeof(g->store_id));
	base_add_le(out, g->next_account, 4);
	base_add_le(out, g->partitions, 4);
	base_add_le(out, g->hold_s, 4);
	base_add_le(out, g->accounts, 8);
	base_add_le(out, g->messages, 8);
	base_add_le(out, g->bytes, 8);
	base_add_le(out, g->added, 8);
	base_add_le(out, g->late, 4);
	base_add_le(out, g->damaged, 4);
	add_array(out, &g->index, 8);
	add_array(out, &g->catalog, BACKUP_ID_BYTES);
}

int
backup_generation_get(const struct backup_file *f, uint64_t offset, struct backup_generation *g)
{
	struct shelf_buf raw = {0};
	struct shelf_span id;
	struct base_reader r;
	int rc;

	*g = (struct backup_generation){0};
	if ((rc = backup_section_get(f, offset, BACKUP_END, &raw, NULL)) != 0)
		goto out;
	r = base_reader(shelf_buf_span(&raw));
	if (base_get_le(&r, 1) != FORMAT) {
		rc = r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
		goto out;
	}
	g->number = base_get_le(&r, 8);
	g->start = base_get_le(&r, 8);
	g->previous = base_get_le(&r, 8);
	g->time_s = (int64_t)base_get_le(&r, 8);
	id = base_get_bytes(&r, sizeof(g->store_id));
	g->next_account = (uint32_t)base_get_le(&r, 4);
	g->partitions = (uint32_t)base_get_le(&r, 4);
	g->hold_s = (uint32_t)base_get_le(&r, 4);
	g->accounts = base_get_le(&r, 8);
	g->messages = base_get_le(&r, 8);
	g->bytes = base_get_le(&r, 8);
	g->added = base_get_le(&r, 8);
	g->late = (uint32_t)base_get_le(&r, 4);
	g->damaged = (uint32_t)base_get_le(&r, 4);
	get_array(&r, &g->index, 8);
	get_array(&r, &g->catalog, BACKUP_ID_BYTES);
	/* Generations lie in order: a chain of them ends. */
	if (r.bad || base_left(&r) != 0 || g->previous >= g->start || g->start > offset || g->number == 0)
		rc = SHELF_ECORRUPT;
	else
		memcpy(g->store_id, id.data, sizeof(g->store_id));
out:
	shelf_buf_free(&raw);
	return rc;
}

void
backup_generation_free(struct backup_generation *g)
{
	shelf_buf_free(&g->index);
	shelf_buf_free(&g->catalog);
}
