/*
 * backup_read.c - a generation of a file: its accounts, their rows, the bytes of bodies
 *
 * ACCOUNT row of the catalog (key: account u32, big-endian)
 *   format u8, 1 | late u8 | modseq u64 | generation u64 | stamp, 16 | partition u32 | limit bytes u64, messages u64 |
 *   used bytes u64, messages u64 | held bytes u64, messages u64 | USER row text | varint count, ids of lists, 20 each
 *
 * One section is in memory at a time, so a file of any size and any content is read in a few MiB and its index.
 */
#include <stdlib.h>

#include <openssl/evp.h>

#include <mailshelf/mem.h>

#include "backup.h"

enum { FORMAT = 1, PIECE_HEAD_BYTES = 36 };

/* ---- Opening ------------------------------------------------------------------------------------------- */

/* The section of generation NUMBER. SHELF_EMISSING. */
static int
find_generation(struct shelf_backup *b, uint64_t number)
{
	uint64_t offset = b->file->last;
	int rc;

	for (;;) {
		backup_generation_free(&b->generation);
		if ((rc = backup_generation_get(b->file, offset, &b->generation)) != 0)
			return rc;
		if (number == 0 || b->generation.number == number)
			return backup_index_load(b->index, b->file, offset);
		if ((offset = b->generation.previous) == 0)
			return SHELF_EMISSING;
	}
}

int
shelf_backup_open(const char *path, uint64_t generation, struct shelf_backup **out)
{
	struct shelf_backup *b = SHELF_NEW(struct shelf_backup);
	int rc;

	b->index = backup_index_new();
	if ((rc = backup_file_open(path, false, &b->file)) == 0)
		rc = find_generation(b, generation);
	if (rc != 0)
		shelf_backup_close(&b);
	*out = b;
	return rc;
}

void
shelf_backup_close(struct shelf_backup **backup)
{
	struct shelf_backup *b = *backup;

	if (b == NULL)
		return;
	*backup = NULL;
	backup_file_close(&b->file);
	backup_index_free(&b->index);
	backup_generation_free(&b->generation);
	shelf_buf_free(&b->section);
	free(b);
}

static void
info_out(const struct shelf_backup *b, const struct backup_generation *g, struct shelf_backup_info *out)
{
	*out = (struct shelf_backup_info){
	    .generation = g->number,
	    .time_s = g->time_s,
	    .partitions = g->partitions,
	    .hold_s = g->hold_s,
	    .accounts = g->accounts,
	    .messages = g->messages,
	    .bytes = g->bytes,
	    .late = g->late,
	    .damaged = g->damaged,
	    .added_bytes = g->added,
	    .tail_bytes = b->file->tail,
	};
}

void
shelf_backup_info(const struct shelf_backup *b, struct shelf_backup_info *out)
{
	info_out(b, &b->generation, out);
}

int
shelf_backup_generations(struct shelf_backup *b, shelf_backup_info_fn *fn, void *arg)
{
	struct backup_generation g = {0};
	struct shelf_backup_info info;
	int rc = 0;

	for (uint64_t at = b->file->last; at != 0 && rc == 0; at = g.previous) {
		backup_generation_free(&g);
		if ((rc = backup_generation_get(b->file, at, &g)) != 0)
			break;
		info_out(b, &g, &info);
		rc = fn(arg, &info);
	}
	backup_generation_free(&g);
	return rc;
}

/* ---- Rows ---------------------------------------------------------------------------------------------- */

static int
each_row_of(struct shelf_span raw, backup_row_fn *fn, void *arg)
{
	struct base_reader r = base_reader(raw);
	char table[32] = "";
	int rc = 0;

	while (rc == 0 && base_left(&r) > 0) {
		uint64_t key_len = base_get_varint(&r);
		struct shelf_span key, value;

		if (key_len == 0) {
			struct shelf_span name = base_get_text(&r);

			if (r.bad || name.len == 0 || name.len >= sizeof(table))
				return SHELF_ECORRUPT;
			memcpy(table, name.data, name.len);
			table[name.len] = '\0';
			continue;
		}
		key = key_len - 1 > KV_KEY_MAX ? shelf_span(NULL, 0) : base_get_bytes(&r, (size_t)key_len - 1);
		value = base_get_text(&r);
		if (r.bad || key_len - 1 > KV_KEY_MAX || table[0] == '\0')
			return SHELF_ECORRUPT;
		rc = fn(arg, table, key, value);
	}
	return rc != 0 ? rc : r.bad ? SHELF_ECORRUPT : 0;
}

/* The section of an id, by way of the index. */
static int
get_section(struct shelf_backup *b, enum backup_kind kind, struct base_reader *ids, struct shelf_buf *raw)
{
	struct shelf_span hash = base_get_bytes(ids, BACKUP_HASH_BYTES);
	uint64_t size = base_get_le(ids, 4);
	uint8_t check[BACKUP_HASH_BYTES];
	struct backup_place place;
	int rc;

	if (ids->bad || !backup_index_find(b->index, kind, hash.data, size, &place))
		return SHELF_ECORRUPT;
	if ((rc = backup_section_get(b->file, place.offset, kind, raw, NULL)) != 0)
		return rc;
	backup_hash(shelf_buf_span(raw), check);
	return raw->len == size && memcmp(check, hash.data, sizeof(check)) == 0 ? 0 : SHELF_ECORRUPT;
}

int
backup_each_row(struct shelf_backup *b, struct shelf_span ids, backup_row_fn *fn, void *arg)
{
	struct base_reader r = base_reader(ids);
	struct shelf_buf raw = {0};
	int rc = 0;

	while (rc == 0 && base_left(&r) > 0)
		if ((rc = get_section(b, BACKUP_ROWS, &r, &raw)) == 0)
			rc = each_row_of(shelf_buf_span(&raw), fn, arg);
	shelf_buf_free(&raw);
	return rc;
}

int
backup_each_account_row(struct shelf_backup *b, const struct backup_account *a, backup_row_fn *fn, void *arg)
{
	struct base_reader r = base_reader(a->lists);
	struct shelf_buf list = {0};
	int rc = 0;

	while (rc == 0 && base_left(&r) > 0)
		if ((rc = get_section(b, BACKUP_LIST, &r, &list)) == 0)
			rc = backup_each_row(b, shelf_buf_span(&list), fn, arg);
	shelf_buf_free(&list);
	return rc;
}

unsigned
backup_table(const char *name)
{
	unsigned t = 0;

	while (t < KV_TABLES && (!kv_table_of_account((enum kv_table)t) ||
				 strcmp(kv_table_name((enum kv_table)t), name) != 0))
		t++;
	return t;
}

/* ---- Accounts ------------------------------------------------------------------------------------------ */

void
backup_account_encode(const struct backup_account *a, struct shelf_buf *out)
{
	base_add_le(out, FORMAT, 1);
	base_add_le(out, a->late, 1);
	base_add_le(out, a->modseq, 8);
	base_add_le(out, a->generation, 8);
	shelf_buf_add(out, a->stamp, sizeof(a->stamp));
	base_add_le(out, a->partition, 4);
	base_add_le(out, a->quota.limit_bytes, 8);
	base_add_le(out, a->quota.limit_messages, 8);
	base_add_le(out, a->quota.used_bytes, 8);
	base_add_le(out, a->quota.used_messages, 8);
	base_add_le(out, a->quota.held_bytes, 8);
	base_add_le(out, a->quota.held_messages, 8);
	base_add_text(out, a->user);
	base_add_varint(out, a->lists.len / BACKUP_ID_BYTES);
	shelf_buf_add_span(out, a->lists);
}

int
backup_account_decode(struct shelf_span key, struct shelf_span value, struct backup_account *a)
{
	struct base_reader r = base_reader(value);
	struct shelf_span stamp;
	uint64_t n;

	*a = (struct backup_account){0};
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	a->late = base_get_le(&r, 1) != 0;
	a->modseq = base_get_le(&r, 8);
	a->generation = base_get_le(&r, 8);
	stamp = base_get_bytes(&r, sizeof(a->stamp));
	a->partition = (uint32_t)base_get_le(&r, 4);
	a->quota.limit_bytes = base_get_le(&r, 8);
	a->quota.limit_messages = base_get_le(&r, 8);
	a->quota.used_bytes = base_get_le(&r, 8);
	a->quota.used_messages = base_get_le(&r, 8);
	a->quota.held_bytes = base_get_le(&r, 8);
	a->quota.held_messages = base_get_le(&r, 8);
	a->user = base_get_text(&r);
	n = base_get_varint(&r);
	if (n > base_left(&r) / BACKUP_ID_BYTES)
		return SHELF_ECORRUPT;
	a->lists = base_get_bytes(&r, (size_t)n * BACKUP_ID_BYTES);
	if (r.bad || base_left(&r) != 0 || key.len != 4 || base_get_be32(key.data) == 0)
		return SHELF_ECORRUPT;
	a->id = base_get_be32(key.data);
	memcpy(a->stamp, stamp.data, sizeof(a->stamp));
	return 0;
}

struct account_walk {
	backup_account_fn *fn;
	void *arg;
};

static int
take_account_row(void *arg, const char *table, struct shelf_span key, struct shelf_span value)
{
	struct account_walk *w = arg;
	struct backup_account a;
	int rc;

	if (backup_is_name(table))
		return 0;
	if (strcmp(table, "ACCOUNT") != 0)
		return SHELF_EVERSION;
	rc = backup_account_decode(key, value, &a);
	return rc != 0 ? rc : w->fn(w->arg, &a);
}

int
backup_each_account(struct shelf_backup *b, backup_account_fn *fn, void *arg)
{
	struct account_walk w = {fn, arg};

	return backup_each_row(b, shelf_buf_span(&b->generation.catalog), take_account_row, &w);
}

/* ---- Bodies -------------------------------------------------------------------------------------------- */

/* The section of bodies at OFFSET in b->section, where neighbours are likely to be asked for next. */
static int
load_bodies(struct shelf_backup *b, uint64_t offset)
{
	int rc;

	if (b->section_at == offset)
		return 0;
	b->section_at = 0;
	rc = backup_section_get(b->file, offset, BACKUP_BODIES, &b->section, &b->section_next);
	if (rc == 0)
		b->section_at = offset;
	return rc;
}

/* The piece at *PLACE, which must be the one of this body that belongs at AT; *PLACE moves behind it. */
static int
next_piece(struct shelf_backup *b, const uint8_t *hash, uint64_t size, uint64_t at, struct backup_place *place,
	   struct shelf_span *piece)
{
	struct base_reader r;
	struct shelf_span got;
	uint64_t got_size, got_at, len;
	int rc = load_bodies(b, place->offset);

	if (rc == 0 && place->inner == b->section.len && at > 0) {
		*place = (struct backup_place){b->section_next, 0};
		rc = load_bodies(b, place->offset);
	}
	if (rc != 0)
		return rc;
	if (place->inner > b->section.len)
		return SHELF_ECORRUPT;
	r = base_reader(shelf_span(b->section.data + place->inner, b->section.len - place->inner));
	got = base_get_bytes(&r, BACKUP_HASH_BYTES);
	got_size = base_get_le(&r, 8);
	got_at = base_get_le(&r, 8);
	len = base_get_le(&r, 4);
	*piece = base_get_bytes(&r, (size_t)len);
	if (r.bad || memcmp(got.data, hash, BACKUP_HASH_BYTES) != 0 || got_size != size || got_at != at ||
	    len > BACKUP_PIECE_MAX || len > size - at || (len == 0 && size > 0))
		return SHELF_ECORRUPT;
	place->inner += PIECE_HEAD_BYTES + (uint32_t)len;
	return 0;
}

int
backup_each_piece(struct shelf_backup *b, const uint8_t *hash, uint64_t size, backup_piece_fn *fn, void *arg)
{
	EVP_MD_CTX *sha;
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct backup_place place;
	struct shelf_span piece;
	uint64_t at = 0;
	int rc = 0;

	if (!backup_index_find(b->index, BACKUP_BODIES, hash, size, &place))
		return SHELF_EMISSING;
	sha = EVP_MD_CTX_new();
	SHELF_ASSERT(sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1);
	do {
		if ((rc = next_piece(b, hash, size, at, &place, &piece)) != 0)
			break;
		at += piece.len;
		SHELF_ASSERT(EVP_DigestUpdate(sha, piece.data, piece.len) == 1);
		rc = fn(arg, piece);
	} while (rc == 0 && at < size);
	SHELF_ASSERT(EVP_DigestFinal_ex(sha, digest, NULL) == 1);
	EVP_MD_CTX_free(sha);
	return rc == 0 && memcmp(digest, hash, BACKUP_HASH_BYTES) != 0 ? SHELF_ECORRUPT : rc;
}
