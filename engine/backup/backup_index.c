/*
 * backup_index.c - what a file holds, by content: a hash table in memory, 48 bytes and a half-empty slot for each
 *
 * INDEX section: entries of 40 bytes: kind u8 | zeros, 3 | inner u32 | hash, 16 | size u64 | offset u64
 *
 * The hash of the content spreads well enough: its first bytes are the slot.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "backup.h"

enum { ENTRY_BYTES = 40, CAP_FIRST = 1024 };

struct entry {
	uint8_t hash[BACKUP_HASH_BYTES];
	uint64_t size, offset; /* offset 0: empty */
	uint32_t inner;
	uint8_t kind;
};

struct backup_index {
	struct entry *entry;
	size_t cap, used; /* cap: a power of two */
};

struct backup_index *
backup_index_new(void)
{
	return SHELF_NEW(struct backup_index);
}

void
backup_index_free(struct backup_index **index)
{
	if (*index == NULL)
		return;
	free((*index)->entry);
	free(*index);
	*index = NULL;
}

size_t
backup_index_count(const struct backup_index *x)
{
	return x->used;
}

/* Its slot, or the empty one where it belongs. */
static struct entry *
slot_of(const struct backup_index *x, enum backup_kind kind, const uint8_t *hash, uint64_t size)
{
	size_t i = (size_t)base_get_be64(hash) & (x->cap - 1);

	while (x->entry[i].offset != 0 &&
	       (x->entry[i].kind != kind || x->entry[i].size != size ||
		memcmp(x->entry[i].hash, hash, BACKUP_HASH_BYTES) != 0))
		i = (i + 1) & (x->cap - 1);
	return &x->entry[i];
}

static void
grow(struct backup_index *x)
{
	struct backup_index old = *x;

	x->cap = old.cap == 0 ? CAP_FIRST : old.cap * 2;
	x->entry = shelf_zalloc(x->cap * sizeof(*x->entry));
	for (size_t i = 0; i < old.cap; i++) {
		const struct entry *e = &old.entry[i];

		if (e->offset != 0)
			*slot_of(x, e->kind, e->hash, e->size) = *e;
	}
	free(old.entry);
}

void
backup_index_add(struct backup_index *x, enum backup_kind kind, const uint8_t *hash, uint64_t size,
		 struct backup_place place)
{
	struct entry *e;

	if (x->used * 3 >= x->cap * 2)
		grow(x);
	e = slot_of(x, kind, hash, size);
	if (e->offset != 0)
		return;
	*e = (struct entry){.size = size, .offset = place.offset, .inner = place.inner, .kind = (uint8_t)kind};
	memcpy(e->hash, hash, sizeof(e->hash));
	x->used++;
}

bool
backup_index_find(const struct backup_index *x, enum backup_kind kind, const uint8_t *hash, uint64_t size,
		  struct backup_place *place)
{
	const struct entry *e = x->cap == 0 ? NULL : slot_of(x, kind, hash, size);

	if (e == NULL || e->offset == 0)
		return false;
	*place = (struct backup_place){e->offset, e->inner};
	return true;
}

static int
by_place(const void *a, const void *b)
{
	const struct entry *x = *(const struct entry *const *)a, *y = *(const struct entry *const *)b;

	return x->offset != y->offset ? (x->offset > y->offset) - (x->offset < y->offset)
				      : (x->inner > y->inner) - (x->inner < y->inner);
}

int
backup_index_each(const struct backup_index *x, backup_index_fn *fn, void *arg)
{
	const struct entry **list = shelf_alloc((x->used + 1) * sizeof(*list));
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < x->cap; i++)
		if (x->entry[i].offset != 0)
			list[n++] = &x->entry[i];
	qsort(list, n, sizeof(*list), by_place);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = fn(arg, list[i]->kind, list[i]->hash, list[i]->size,
			(struct backup_place){list[i]->offset, list[i]->inner});
	free(list);
	return rc;
}

static int
load_section(struct backup_index *x, const struct backup_file *f, uint64_t offset, uint64_t limit)
{
	struct shelf_buf raw = {0};
	struct base_reader r;
	int rc = backup_section_get(f, offset, BACKUP_INDEX, &raw, NULL);

	if (rc == 0 && raw.len % ENTRY_BYTES != 0)
		rc = SHELF_ECORRUPT;
	r = base_reader(shelf_buf_span(&raw));
	while (rc == 0 && base_left(&r) > 0) {
		struct backup_place place;
		struct shelf_span hash;
		uint64_t size;
		enum backup_kind kind = (enum backup_kind)base_get_le(&r, 1);

		base_get_bytes(&r, 3);
		place.inner = (uint32_t)base_get_le(&r, 4);
		hash = base_get_bytes(&r, BACKUP_HASH_BYTES);
		size = base_get_le(&r, 8);
		place.offset = base_get_le(&r, 8);
		if ((kind != BACKUP_BODIES && kind != BACKUP_ROWS && kind != BACKUP_LIST) ||
		    place.offset == 0 || place.offset >= limit)
			rc = SHELF_ECORRUPT;
		else
			backup_index_add(x, kind, hash.data, size, place);
	}
	shelf_buf_free(&raw);
	return rc;
}

int
backup_index_load(struct backup_index *x, const struct backup_file *f, uint64_t offset)
{
	struct backup_generation g = {0};
	int rc = 0;

	for (; rc == 0 && offset != 0; offset = g.previous) {
		struct base_reader r;
		uint64_t at = 0;

		backup_generation_free(&g);
		if ((rc = backup_generation_get(f, offset, &g)) != 0)
			break;
		/* Ascending, so that a hostile file cannot have one section read again and again. */
		r = base_reader(shelf_buf_span(&g.index));
		while (rc == 0 && base_left(&r) > 0) {
			uint64_t next = base_get_le(&r, 8);

			rc = next <= at || next < g.start || next >= offset ? SHELF_ECORRUPT
									    : load_section(x, f, next, offset);
			at = next;
		}
	}
	backup_generation_free(&g);
	return rc;
}
