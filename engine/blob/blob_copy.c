/*
 * blob_copy.c - dictionaries once more, in the catalog: bodies cannot be read without them
 *
 * DICTCOPY (hash 16, n u32)   n 0: format 1, bytes u32; n 1 ..: the bytes, 4,080 each. The hash is that of DICT's head.
 *
 * Another file than the partition's, so that what destroys pages there leaves them alone. The dictionary of several
 * partitions is one. Copies are settled: what a partition lists and is not there is put, what none lists goes, in
 * transactions of their own; a crash in between leaves one too many or one too few until the next time.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "blob_internal.h"

enum { FORMAT = 1, KEY_BYTES = BLOB_HASH_BYTES + 4 };

struct copy_key {
	uint8_t bytes[KEY_BYTES];
};

static struct copy_key
copy_key(const uint8_t *hash, uint32_t n)
{
	struct copy_key k;

	memcpy(k.bytes, hash, BLOB_HASH_BYTES);
	base_put_be32(k.bytes + BLOB_HASH_BYTES, n);
	return k;
}

int
blob_copy_bytes(struct kv_view *catalog, const uint8_t *hash, struct shelf_buf *out)
{
	struct copy_key key = copy_key(hash, 0);
	uint8_t is[BLOB_HASH_BYTES];
	struct shelf_span value;
	struct base_reader r;
	uint32_t size;
	int rc = kv_get(catalog, KV_DICTCOPY, shelf_span(key.bytes, KEY_BYTES), &value);

	shelf_buf_clear(out);
	if (rc != 0)
		return rc;
	r = base_reader(value);
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	size = (uint32_t)base_get_le(&r, 4);
	if (r.bad || base_left(&r) > 0 || size == 0 || size > BLOB_DICT_BYTES_MAX)
		return SHELF_ECORRUPT;
	for (uint32_t n = 1; out->len < size; n++) {
		key = copy_key(hash, n);
		rc = kv_get(catalog, KV_DICTCOPY, shelf_span(key.bytes, KEY_BYTES), &value);
		if (rc != 0)
			return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
		if (value.len == 0)
			return SHELF_ECORRUPT;
		shelf_buf_add_span(out, value);
	}
	blob_dict_hash(shelf_buf_span(out), is);
	return memcmp(is, hash, BLOB_HASH_BYTES) == 0 ? 0 : SHELF_ECORRUPT;
}

/* The hash of the first copy behind AFTER (NULL: of all): 1 found. */
static int
next_copy(struct kv_view *catalog, const uint8_t *after, uint8_t *hash_out)
{
	struct shelf_span key, value, from = shelf_span(NULL, 0);
	struct copy_key last;
	struct kv_scan scan;
	int rc;

	if (after != NULL) {
		last = copy_key(after, UINT32_MAX);
		from = shelf_span(last.bytes, KEY_BYTES);
	}
	if ((rc = kv_scan_open(catalog, KV_DICTCOPY, shelf_span(NULL, 0), from, &scan)) != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len == KEY_BYTES)
			memcpy(hash_out, key.data, BLOB_HASH_BYTES);
		else
			rc = SHELF_ECORRUPT;
	}
	kv_scan_close(&scan);
	return rc;
}

int
blob_copies_each(struct kv_view *catalog, int (*fn)(void *arg, const uint8_t *hash, int rc, struct shelf_span bytes),
    void *arg)
{
	uint8_t hash[BLOB_HASH_BYTES];
	struct shelf_buf bytes = {0};
	const uint8_t *after = NULL;
	int rc;

	while ((rc = next_copy(catalog, after, hash)) == 1) {
		after = hash;
		rc = blob_copy_bytes(catalog, hash, &bytes);
		if ((rc = fn(arg, hash, rc, shelf_buf_span(&bytes))) != 0)
			break;
	}
	shelf_buf_free(&bytes);
	return rc;
}

/* ---- Settling ------------------------------------------------------------------------------------------ */

struct settling {
	uint8_t (*listed)[BLOB_HASH_BYTES]; /* by partitions */
	size_t n, cap;
	uint8_t stray[BLOB_HASH_BYTES];
};

struct putting {
	const uint8_t *hash;
	struct shelf_span bytes;
};

static int
put_copy(struct kv_txn *txn, void *arg)
{
	const struct putting *p = arg;
	struct shelf_span bytes = p->bytes;
	struct copy_key key = copy_key(p->hash, 0);
	struct shelf_buf head = {0};
	int rc;

	base_add_le(&head, FORMAT, 1);
	base_add_le(&head, bytes.len, 4);
	rc = kv_put(txn, KV_DICTCOPY, shelf_span(key.bytes, KEY_BYTES), shelf_buf_span(&head));
	shelf_buf_free(&head);
	for (uint32_t n = 1; rc == 0 && bytes.len > 0; n++) {
		size_t len = bytes.len < KV_VALUE_MAX ? bytes.len : KV_VALUE_MAX;

		key = copy_key(p->hash, n);
		rc = kv_put(txn, KV_DICTCOPY, shelf_span(key.bytes, KEY_BYTES), shelf_span(bytes.data, len));
		bytes = shelf_span(bytes.data + len, bytes.len - len);
	}
	return rc;
}

static int
drop_copy(struct kv_txn *txn, void *arg)
{
	const uint8_t *hash = arg;
	struct shelf_span key, value;
	int rc;

	do {
		struct copy_key copy = {{0}};
		struct kv_scan scan;

		rc = kv_scan_open(kv_txn_view(txn), KV_DICTCOPY, shelf_span(hash, BLOB_HASH_BYTES), shelf_span(NULL, 0),
		    &scan);
		if (rc != 0)
			return rc;
		if ((rc = kv_scan_next(&scan, &key, &value)) == 1 && key.len == KEY_BYTES)
			memcpy(copy.bytes, key.data, KEY_BYTES);
		kv_scan_close(&scan);
		if (rc == 1 && (rc = kv_del(txn, KV_DICTCOPY, shelf_span(copy.bytes, KEY_BYTES))) == 0)
			rc = 1;
	} while (rc == 1);
	return rc;
}

/* Is the copy there and whole? What is not is put anew. */
static int
have_copy(struct kv_db *db, const uint8_t *hash, struct shelf_span bytes)
{
	struct putting p = {hash, bytes};
	struct kv_view *catalog = NULL;
	struct shelf_buf there = {0};
	int rc = kv_view_begin(db, KV_CATALOG, &catalog);

	if (rc == 0)
		rc = blob_copy_bytes(catalog, hash, &there);
	kv_view_end(&catalog);
	shelf_buf_free(&there);
	if (rc == SHELF_EMISSING || shelf_err_class_of(rc) == SHELF_CLASS_CORRUPT)
		rc = kv_update(db, KV_CATALOG, KV_ADDS | KV_QUIET, put_copy, &p);
	return rc;
}

/* One dictionary that a partition lists. One that is damaged there is kept by its copy. */
static int
settle_one(struct kv_db *db, uint32_t shard, uint32_t id, struct settling *st)
{
	struct kv_view *view = NULL;
	struct shelf_buf bytes = {0};
	struct blob_dict_head h;
	int rc = kv_view_begin_shard(db, shard, &view), read = SHELF_EMISSING;

	if (rc == 0 && (rc = blob_dict_head(view, id, &h)) == 0)
		read = blob_dict_bytes(view, id, &bytes);
	kv_view_end(&view);
	if (rc == 0) {
		if (st->n == st->cap) {
			st->cap = st->cap == 0 ? 16 : st->cap * 2;
			st->listed = shelf_realloc(st->listed, st->cap * sizeof(*st->listed));
		}
		memcpy(st->listed[st->n++], h.hash, BLOB_HASH_BYTES);
		if (read == 0)
			rc = have_copy(db, h.hash, shelf_buf_span(&bytes));
	}
	shelf_buf_free(&bytes);
	return rc;
}

static int
settle_shard(struct kv_db *db, uint32_t shard, struct settling *st)
{
	struct kv_view *view = NULL;
	struct blob_dicts dicts;
	int rc = kv_view_begin_shard(db, shard, &view);

	if (rc == 0)
		rc = blob_dicts_get(view, &dicts);
	kv_view_end(&view);
	for (uint32_t i = 0; rc == 0 && i < dicts.count; i++) {
		rc = settle_one(db, shard, dicts.list[i].id, st);
		rc = rc == SHELF_EMISSING ? 0 : rc; /* pruned meanwhile */
	}
	return rc;
}

static int
find_stray(void *arg, const uint8_t *hash, int rc, struct shelf_span bytes)
{
	struct settling *st = arg;

	for (size_t i = 0; i < st->n; i++)
		if (memcmp(st->listed[i], hash, BLOB_HASH_BYTES) == 0)
			return 0;
	memcpy(st->stray, hash, BLOB_HASH_BYTES);
	return 1;
}

static int
drop_strays(struct kv_db *db, struct settling *st)
{
	struct kv_view *catalog = NULL;
	int rc;

	do {
		if ((rc = kv_view_begin(db, KV_CATALOG, &catalog)) != 0)
			return rc;
		rc = blob_copies_each(catalog, find_stray, st);
		kv_view_end(&catalog);
		if (rc == 1 && (rc = kv_update(db, KV_CATALOG, KV_QUIET, drop_copy, st->stray)) == 0)
			rc = 1;
	} while (rc == 1);
	return rc;
}

int
blob_copies_settle(struct kv_db *db)
{
	struct settling st = {0};
	int rc = 0;

	for (uint32_t shard = 0; shard < kv_shards(db) && rc == 0; shard++)
		rc = settle_shard(db, shard, &st);
	/* Where something cannot be read, nothing goes. */
	if (rc == 0)
		rc = drop_strays(db, &st);
	free(st.listed);
	return rc;
}

/* ---- For who reads what is left of a store ---------------------------------------------------------------- */

static void
hold(struct blob_copies *c, const uint8_t *hash, struct shelf_span bytes)
{
	if (c->n == c->cap) {
		c->cap = c->cap == 0 ? 16 : c->cap * 2;
		c->held = shelf_realloc(c->held, c->cap * sizeof(*c->held));
	}
	c->held[c->n++] = blob_zdict_add(hash, bytes);
}

static int
hold_copy(void *arg, const uint8_t *hash, int rc, struct shelf_span bytes)
{
	if (rc == 0)
		hold(arg, hash, bytes);
	return 0;
}

void
blob_copies_hold(struct kv_view *catalog, struct blob_copies *c)
{
	uint8_t hash[BLOB_HASH_BYTES];

	*c = (struct blob_copies){0};
	for (unsigned k = 0; k < BLOB_KINDS; k++) {
		struct shelf_span bytes = blob_dict_default((enum blob_kind)k);

		blob_dict_hash(bytes, hash);
		hold(c, hash, bytes);
	}
	/* A scan that ends early has what it came to. */
	if (catalog != NULL && blob_copies_each(catalog, hold_copy, c) != 0)
		return;
}

void
blob_copies_give(struct blob_copies *c)
{
	for (size_t i = 0; i < c->n; i++)
		blob_zdict_give(&c->held[i]);
	free(c->held);
	*c = (struct blob_copies){0};
}
