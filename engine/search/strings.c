/*
 * strings.c - texts gathered, each once, the front of each kept
 *
 * They lie end to end in chunks of 1 MiB, so that nothing is ever moved; an id is the place of an entry in
 * units of 8 bytes, over all chunks. Two texts are the same when their length kept and their hash are: it is
 * taken over the whole text.
 */
#include <stdlib.h>
#include <mailshelf/mem.h>

#include "sort.h"

enum { CHUNK_UNITS = 1 << 17, UNIT = 8, CHUNKS_MAX = 1 << 15 };

struct search_chunk {
	uint32_t used; /* units */
	uint32_t unused;
	uint64_t unit[CHUNK_UNITS];
};

bool
search_strings_begin(struct search_strings *s, size_t max)
{
	size_t size = 64;

	*s = (struct search_strings){0};
	while (size < max + max / 2)
		size *= 2;
	/* Zero pages come from the kernel as they are touched. */
	s->table = calloc(size, sizeof *s->table);
	s->mask = size - 1;
	shelf_random(&s->key, sizeof s->key);
	return s->table != NULL;
}

struct search_string *
search_strings_at(const struct search_strings *s, uint32_t id)
{
	return (struct search_string *)(void *)&s->chunk[id / CHUNK_UNITS]->unit[id % CHUNK_UNITS];
}

static uint32_t
units_of(size_t len)
{
	return (uint32_t)((sizeof(struct search_string) + len + UNIT - 1) / UNIT);
}

static uint32_t
place_for(struct search_strings *s, uint32_t units)
{
	struct search_chunk *c = s->nchunk == 0 ? NULL : s->chunk[s->nchunk - 1];
	uint32_t at;

	if (c == NULL || CHUNK_UNITS - c->used < units) {
		SHELF_ASSERT(s->nchunk < CHUNKS_MAX);
		s->chunk = shelf_realloc(s->chunk, (s->nchunk + 1) * sizeof(*s->chunk));
		c = s->chunk[s->nchunk++] = shelf_alloc(sizeof *c);
		c->used = s->nchunk == 1; /* 0 is no id */
	}
	at = (s->nchunk - 1) * CHUNK_UNITS + c->used;
	c->used += units;
	return at;
}

uint32_t
search_strings_add(struct search_strings *s, struct shelf_span text, enum shelf_sort_key key,
    uint32_t uid)
{
	size_t len = text.len < SEARCH_STRING_KEPT ? text.len : SEARCH_STRING_KEPT;
	uint64_t hash = search_hash(&s->key, text);
	size_t slot = (size_t)hash & s->mask;
	struct search_string *e;

	for (; s->table[slot] != 0; slot = (slot + 1) & s->mask) {
		e = search_strings_at(s, s->table[slot]);
		if (e->hash == hash && e->len == len)
			return s->table[slot];
	}
	s->table[slot] = place_for(s, units_of(len));
	s->count++;
	SHELF_ASSERT(s->count <= s->mask);
	e = search_strings_at(s, s->table[slot]);
	*e = (struct search_string){.hash = hash, .uid = uid, .len = (uint8_t)len,
	    .key = (uint8_t)key, .cut = len < text.len};
	if (len > 0)
		memcpy(e->bytes, text.data, len);
	return s->table[slot];
}

uint32_t
search_strings_next(const struct search_strings *s, uint32_t id)
{
	uint32_t chunk = id / CHUNK_UNITS;

	if (s->nchunk == 0 || s->count == 0)
		return 0;
	if (id == 0)
		return 1;
	id += units_of(search_strings_at(s, id)->len);
	if (id - chunk * CHUNK_UNITS < s->chunk[chunk]->used)
		return id;
	return chunk + 1 < s->nchunk ? (chunk + 1) * CHUNK_UNITS : 0;
}

void
search_strings_end(struct search_strings *s)
{
	for (uint32_t i = 0; i < s->nchunk; i++)
		free(s->chunk[i]);
	free(s->chunk);
	free(s->table);
	*s = (struct search_strings){0};
}
