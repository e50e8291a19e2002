/*
 * backup_pack.c - rows and bodies into sections, each content once
 *
 * ROWS    records: varint 0, text: rows of this table follow | varint key length + 1, key, text value
 * LIST    ids of sections of rows, 20 bytes each: hash, 16, and unpacked size u32
 * BODIES  pieces: hash of the body, 16 | its size u64 | where the piece belongs u64 | length u32 | bytes. The pieces of
 *         one body follow each other, in one section and the next ones.
 *
 * Rows are cut behind a row whose key's hash ends in zeros, or when the section is full. So a changed row changes
 * the section it is in and not all behind it, and the next generation refers to the others.
 */
#include <mailshelf/mem.h>

#include "backup.h"

enum { INDEX_ENTRY_BYTES = 40, INDEX_FILL_BYTES = 13000 * INDEX_ENTRY_BYTES, CUT_MASK = 511 };

void
backup_pack_free(struct backup_pack *p)
{
	shelf_buf_free(&p->listed);
	shelf_buf_free(&p->index_offsets);
	shelf_buf_free(&p->bodies);
}

static int
write_index(struct backup_pack *p)
{
	uint64_t offset;
	int rc = p->listed.len == 0
		     ? 0
		     : backup_section_put(p->file, BACKUP_INDEX, shelf_buf_span(&p->listed), &offset);

	if (rc == 0 && p->listed.len > 0)
		base_add_le(&p->index_offsets, offset, 8);
	shelf_buf_clear(&p->listed);
	return rc;
}

/* Known from now on, and listed in this generation. */
static void
remember(struct backup_pack *p, enum backup_kind kind, const uint8_t *hash, uint64_t size, struct backup_place place)
{
	backup_index_add(p->index, kind, hash, size, place);
	base_add_le(&p->listed, (uint64_t)kind, 1);
	base_add_le(&p->listed, 0, 3);
	base_add_le(&p->listed, place.inner, 4);
	shelf_buf_add(&p->listed, hash, BACKUP_HASH_BYTES);
	base_add_le(&p->listed, size, 8);
	base_add_le(&p->listed, place.offset, 8);
}

int
backup_pack_section(struct backup_pack *p, enum backup_kind kind, struct shelf_span raw, struct shelf_buf *ids)
{
	uint8_t hash[BACKUP_HASH_BYTES];
	struct backup_place place = {0};
	int rc = 0;

	SHELF_ASSERT(p->bodies.len == 0);
	backup_hash(raw, hash);
	if (!backup_index_find(p->index, kind, hash, raw.len, &place) &&
	    (rc = backup_section_put(p->file, kind, raw, &place.offset)) == 0)
		remember(p, kind, hash, raw.len, place);
	shelf_buf_add(ids, hash, sizeof(hash));
	base_add_le(ids, raw.len, 4);
	return rc == 0 && p->listed.len >= INDEX_FILL_BYTES ? backup_pack_end(p) : rc;
}

int
backup_pack_piece(struct backup_pack *p, const uint8_t *hash, uint64_t size, uint64_t at, struct shelf_span piece,
		  struct backup_place *place)
{
	/* Until the flush nothing else is written: the section will be where the file ends now. */
	if (at == 0)
		*place = (struct backup_place){p->file->size, (uint32_t)p->bodies.len};
	shelf_buf_add(&p->bodies, hash, BACKUP_HASH_BYTES);
	base_add_le(&p->bodies, size, 8);
	base_add_le(&p->bodies, at, 8);
	base_add_le(&p->bodies, piece.len, 4);
	shelf_buf_add_span(&p->bodies, piece);
	return p->bodies.len >= BACKUP_FILL_BYTES ? backup_pack_flush(p) : 0;
}

int
backup_pack_body(struct backup_pack *p, const uint8_t *hash, uint64_t size, struct backup_place place)
{
	remember(p, BACKUP_BODIES, hash, size, place);
	return p->listed.len >= INDEX_FILL_BYTES ? backup_pack_end(p) : 0;
}

int
backup_pack_flush(struct backup_pack *p)
{
	uint64_t offset;
	int rc = p->bodies.len == 0
		     ? 0
		     : backup_section_put(p->file, BACKUP_BODIES, shelf_buf_span(&p->bodies), &offset);

	shelf_buf_clear(&p->bodies);
	return rc;
}

int
backup_pack_end(struct backup_pack *p)
{
	int rc = backup_pack_flush(p);

	return rc != 0 ? rc : write_index(p);
}

/* ---- Rows --------------------------------------------------------------------------------------------- */

void
backup_rows_begin(struct backup_rows *r)
{
	shelf_buf_clear(&r->raw);
	shelf_buf_clear(&r->ids);
	r->table = NULL;
}

void
backup_rows_free(struct backup_rows *r)
{
	shelf_buf_free(&r->raw);
	shelf_buf_free(&r->ids);
}

/* FNV-1a, its bits stirred once more: neighbouring keys differ in their last byte only. */
static uint64_t
key_hash(struct shelf_span key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < key.len; i++)
		h = (h ^ key.data[i]) * 0x100000001b3u;
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15u;
	return h >> 32;
}

static int
cut(struct backup_rows *r)
{
	int rc = r->raw.len == 0
		     ? 0
		     : backup_pack_section(r->pack, BACKUP_ROWS, shelf_buf_span(&r->raw), &r->ids);

	shelf_buf_clear(&r->raw);
	r->table = NULL;
	return rc;
}

int
backup_rows_add(struct backup_rows *r, const char *table, struct shelf_span key, struct shelf_span value)
{
	if (r->table == NULL || strcmp(r->table, table) != 0) {
		base_add_varint(&r->raw, 0);
		base_add_text(&r->raw, shelf_span_str(table));
		r->table = table;
	}
	base_add_varint(&r->raw, key.len + 1);
	shelf_buf_add_span(&r->raw, key);
	base_add_text(&r->raw, value);
	return (key_hash(key) & CUT_MASK) == 0 || r->raw.len >= BACKUP_FILL_BYTES ? cut(r) : 0;
}

int
backup_rows_end(struct backup_rows *r)
{
	return cut(r);
}
