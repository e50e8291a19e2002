/*
 * records.c - the records of messages that were read lately, unpacked
 *
 * What the scan at delivery found (structure, envelope, preview) is asked for again and again: for a listing, a
 * search, an order. It is a few hundred bytes that lie compressed beside the body, and finding and unpacking them
 * costs as much as using them. A body's record never changes and its number is never given twice, so what is kept
 * here is right for as long as it is here, whatever other processes do.
 *
 * Shards with a lock each; in each a hash table that grows. When its share of RECORDS_BYTES_MAX is used up a chain
 * chosen by chance goes: who reads more than fits, in order, finds some of it again, where the oldest first would
 * leave him nothing.
 */
#include <pthread.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail.h"

enum {
	SHARDS = 16,
	SHARD_BYTES_MAX = RECORDS_BYTES_MAX / SHARDS,
	RECORD_BYTES_MAX = 64 * 1024,
	BUCKETS_LEAST = 64,
};

struct entry {
	struct entry *next;
	uint64_t key;
	uint32_t len;
	uint8_t data[];
};

struct shard {
	pthread_mutex_t lock;
	struct entry **bucket; /* NBUCKETS, a power of two */
	size_t nbuckets, entries, bytes;
	uint64_t dice;
};

struct mail_records {
	struct shard shard[SHARDS];
};

static uint64_t
mix(uint64_t key)
{
	key = (key ^ key >> 31) * 0x9e3779b97f4a7c15u;
	return key ^ key >> 29;
}

struct mail_records *
mail_records_new(void)
{
	struct mail_records *r = SHELF_NEW(struct mail_records);

	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&r->shard[i].lock, NULL);
		r->shard[i].dice = i + 1;
	}
	return r;
}

static void
drop_chain(struct shard *s, size_t b)
{
	struct entry *e;

	while ((e = s->bucket[b]) != NULL) {
		s->bucket[b] = e->next;
		s->bytes -= sizeof(*e) + e->len;
		s->entries--;
		free(e);
	}
}

void
mail_records_free(struct mail_records **records)
{
	struct mail_records *r = *records;

	if (r == NULL)
		return;
	*records = NULL;
	mail_records_clear(r);
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &r->shard[i];

		free(s->bucket);
		pthread_mutex_destroy(&s->lock);
	}
	free(r);
}

static void
grow(struct shard *s)
{
	size_t n = s->nbuckets == 0 ? BUCKETS_LEAST : 2 * s->nbuckets;
	struct entry **bucket = shelf_zalloc(n * sizeof(struct entry *)), *e;

	for (size_t b = 0; b < s->nbuckets; b++) {
		while ((e = s->bucket[b]) != NULL) {
			struct entry **to = &bucket[mix(e->key) / SHARDS & (n - 1)];

			s->bucket[b] = e->next;
			e->next = *to;
			*to = e;
		}
	}
	free(s->bucket);
	s->bucket = bucket;
	s->nbuckets = n;
}

static struct entry *
find(const struct shard *s, uint64_t key)
{
	struct entry *e = s->nbuckets == 0 ? NULL : s->bucket[mix(key) / SHARDS & (s->nbuckets - 1)];

	while (e != NULL && e->key != key)
		e = e->next;
	return e;
}

bool
mail_records_get(struct mail_records *r, uint64_t key, struct shelf_arena *arena, struct shelf_span *out)
{
	struct shard *s = &r->shard[mix(key) % SHARDS];
	const struct entry *e;

	pthread_mutex_lock(&s->lock);
	e = find(s, key);
	if (e != NULL)
		*out = shelf_arena_dup(arena, shelf_span(e->data, e->len));
	pthread_mutex_unlock(&s->lock);
	return e != NULL;
}

void
mail_records_put(struct mail_records *r, uint64_t key, struct shelf_span record)
{
	struct shard *s = &r->shard[mix(key) % SHARDS];
	struct entry *e, **to;

	if (record.len > RECORD_BYTES_MAX)
		return;
	e = shelf_alloc(sizeof(*e) + record.len);
	e->key = key;
	e->len = (uint32_t)record.len;
	memcpy(e->data, record.data, record.len);
	pthread_mutex_lock(&s->lock);
	if (find(s, key) != NULL) { /* somebody else was faster */
		free(e);
	} else {
		if (s->entries >= s->nbuckets)
			grow(s);
		while (s->bytes + sizeof(*e) + e->len > SHARD_BYTES_MAX) {
			s->dice = mix(s->dice + 1);
			drop_chain(s, s->dice & (s->nbuckets - 1));
		}
		to = &s->bucket[mix(key) / SHARDS & (s->nbuckets - 1)];
		e->next = *to;
		*to = e;
		s->entries++;
		s->bytes += sizeof(*e) + e->len;
	}
	pthread_mutex_unlock(&s->lock);
}

void
mail_records_clear(struct mail_records *r)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &r->shard[i];

		pthread_mutex_lock(&s->lock);
		for (size_t b = 0; b < s->nbuckets; b++)
			drop_chain(s, b);
		pthread_mutex_unlock(&s->lock);
	}
}

void
mail_records_size(struct mail_records *r, size_t *entries, size_t *bytes)
{
	*entries = *bytes = 0;
	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&r->shard[i].lock);
		*entries += r->shard[i].entries;
		*bytes += r->shard[i].bytes;
		pthread_mutex_unlock(&r->shard[i].lock);
	}
}
