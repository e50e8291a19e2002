/*
 * blob_zdict.c - digested dictionaries, shared by all threads and stores of the process
 *
 * To digest one costs up to a millisecond, and half a MiB to keep it, so they are kept in a list by the hash of
 * their bytes: the same dictionary in several shards is one, and no store that is closed need be told. The
 * list is bounded; beyond, the one nobody has used for longest goes, once its users have given it back.
 */
#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>

#include <mailshelf/mem.h>

#include "blob_internal.h"

enum { KEPT_MAX = 96 };

struct blob_zdict {
	struct blob_zdict *next; /* the most recently used comes first */
	uint8_t hash[BLOB_HASH_BYTES];
	unsigned users;
	struct shelf_buf bytes;
	ZSTD_CDict *packing;   /* made when first asked for, */
	ZSTD_DDict *unpacking; /* under the lock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct blob_zdict *list;
static unsigned count;

static void
free_one(struct blob_zdict *z)
{
	ZSTD_freeCDict(z->packing);
	ZSTD_freeDDict(z->unpacking);
	shelf_buf_free(&z->bytes);
	free(z);
}

static struct blob_zdict *
find_locked(const uint8_t *hash)
{
	for (struct blob_zdict **at = &list; *at != NULL; at = &(*at)->next) {
		struct blob_zdict *z = *at;

		if (memcmp(z->hash, hash, BLOB_HASH_BYTES) != 0)
			continue;
		*at = z->next;
		z->next = list;
		list = z;
		z->users++;
		return z;
	}
	return NULL;
}

struct blob_zdict *
blob_zdict_find(const uint8_t *hash)
{
	struct blob_zdict *z;

	pthread_mutex_lock(&lock);
	z = find_locked(hash);
	pthread_mutex_unlock(&lock);
	return z;
}

/* Takes the last one out that nobody uses. */
static void
shrink(void)
{
	struct blob_zdict **victim = NULL, *z;

	for (struct blob_zdict **at = &list; *at != NULL; at = &(*at)->next)
		if ((*at)->users == 0)
			victim = at;
	if (count <= KEPT_MAX || victim == NULL)
		return;
	z = *victim;
	*victim = z->next;
	count--;
	free_one(z);
}

unsigned
blob_zdict_known(struct blob_zdict **out, unsigned max)
{
	unsigned n = 0;

	pthread_mutex_lock(&lock);
	for (struct blob_zdict *z = list; z != NULL && n < max; z = z->next) {
		z->users++;
		out[n++] = z;
	}
	pthread_mutex_unlock(&lock);
	return n;
}

void
blob_zdict_forget(void)
{
	pthread_mutex_lock(&lock);
	for (struct blob_zdict **at = &list; *at != NULL;) {
		struct blob_zdict *z = *at;

		if (z->users > 0) {
			at = &z->next;
			continue;
		}
		*at = z->next;
		count--;
		free_one(z);
	}
	pthread_mutex_unlock(&lock);
}

struct blob_zdict *
blob_zdict_add(const uint8_t *hash, struct shelf_span bytes)
{
	struct blob_zdict *z;

	pthread_mutex_lock(&lock);
	z = find_locked(hash); /* two may have missed it at once */
	if (z == NULL) {
		z = SHELF_NEW(struct blob_zdict);
		memcpy(z->hash, hash, BLOB_HASH_BYTES);
		shelf_buf_add_span(&z->bytes, bytes);
		z->users = 1;
		z->next = list;
		list = z;
		count++;
		shrink();
	}
	pthread_mutex_unlock(&lock);
	return z;
}

void
blob_zdict_give(struct blob_zdict **zdict)
{
	struct blob_zdict *z = *zdict;

	*zdict = NULL;
	if (z == NULL)
		return;
	pthread_mutex_lock(&lock);
	z->users--;
	shrink();
	pthread_mutex_unlock(&lock);
}

const struct ZSTD_CDict_s *
blob_zdict_packing(struct blob_zdict *z)
{
	const ZSTD_CDict *d;

	pthread_mutex_lock(&lock);
	if (z->packing == NULL)
		z->packing = ZSTD_createCDict(z->bytes.data, z->bytes.len, BLOB_ZSTD_LEVEL);
	d = z->packing;
	pthread_mutex_unlock(&lock);
	return d;
}

const struct ZSTD_DDict_s *
blob_zdict_unpacking(struct blob_zdict *z)
{
	const ZSTD_DDict *d;

	pthread_mutex_lock(&lock);
	if (z->unpacking == NULL)
		z->unpacking = ZSTD_createDDict(z->bytes.data, z->bytes.len);
	d = z->unpacking;
	pthread_mutex_unlock(&lock);
	return d;
}
