/*
 * blob_dict.c - the dictionaries of a shard: rows, which are current, how many blobs use each
 *
 * META "dicts"                          DICT (id u32, 0): head        DICT (id u32, 1 ..): bytes, 4,080 each
 *   OFFSET SIZE MEANING                   OFFSET SIZE MEANING
 *   0      1    format, 1                 0      1    format, 1
 *   1      4    next id                   1      1    kind: 0 bodies, 1 derived data
 *   5      4    current one for bodies    2      8    made, seconds since 1970
 *   9      4    ... for derived data      10     4    messages it was trained from
 *   13     12*n id u32, uses u64          14     4    bytes
 *                                         18     16   SHA-256 of the bytes, first half
 *
 * What must stay true: uses change in the transaction that writes, changes or removes the BLOB row that
 * names a dictionary, so that one with uses is never removed; bytes and head never change; an id is
 * never given twice. That is why digested ones can be shared by their hash (blob_zdict.c).
 */
#include <openssl/sha.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "blob_internal.h"

enum { STATE_FORMAT = 1, HEAD_FORMAT = 1, DICT_KEY_BYTES = 8 };

static const struct shelf_span dicts_name = {(const uint8_t *)"dicts", 5};

/* A dictionary that is not listed is used by nobody and may be gone: it must not be current. */
static bool
is_listed(const struct blob_dicts *s, uint32_t id)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->list[i].id == id)
			return true;
	return id == 0;
}

int
blob_dicts_get(struct kv_view *view, struct blob_dicts *s)
{
	struct shelf_span value;
	struct base_reader r;
	int rc = kv_get(view, KV_META, dicts_name, &value);

	*s = (struct blob_dicts){.next = 1};
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	r = base_reader(value);
	if (base_get_le(&r, 1) != STATE_FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	s->next = (uint32_t)base_get_le(&r, 4);
	for (unsigned k = 0; k < BLOB_KINDS; k++)
		s->current[k] = (uint32_t)base_get_le(&r, 4);
	while (!r.bad && base_left(&r) > 0 && s->count < BLOB_DICTS_MAX) {
		s->list[s->count].id = (uint32_t)base_get_le(&r, 4);
		s->list[s->count++].uses = base_get_le(&r, 8);
	}
	for (unsigned k = 0; k < BLOB_KINDS; k++)
		r.bad |= !is_listed(s, s->current[k]);
	return r.bad || base_left(&r) > 0 ? SHELF_ECORRUPT : 0;
}

static int
dicts_put(struct kv_txn *txn, const struct blob_dicts *s)
{
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, STATE_FORMAT, 1);
	base_add_le(&value, s->next, 4);
	for (unsigned k = 0; k < BLOB_KINDS; k++)
		base_add_le(&value, s->current[k], 4);
	for (uint32_t i = 0; i < s->count; i++) {
		base_add_le(&value, s->list[i].id, 4);
		base_add_le(&value, s->list[i].uses, 8);
	}
	rc = kv_put(txn, KV_META, dicts_name, shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

static int
use(struct blob_dicts *s, uint32_t id, int by)
{
	for (uint32_t i = 0; id != 0 && i < s->count; i++) {
		if (s->list[i].id != id)
			continue;
		if (by < 0 && s->list[i].uses == 0)
			return SHELF_ECORRUPT;
		s->list[i].uses += (uint64_t)(int64_t)by;
		return 0;
	}
	return id == 0 ? 0 : by < 0 ? SHELF_ECORRUPT : SHELF_EBUSY;
}

int
blob_dicts_use(struct kv_txn *txn, const struct blob_row *row, int by)
{
	struct blob_dicts s;
	int rc;

	if (row->dict == 0 && row->derived_dict == 0)
		return 0;
	if ((rc = blob_dicts_get(kv_txn_view(txn), &s)) != 0 ||
	    (rc = use(&s, row->dict, by)) != 0 || (rc = use(&s, row->derived_dict, by)) != 0)
		return rc;
	return dicts_put(txn, &s);
}

/* ---- Head and bytes ------------------------------------------------------------------------------- */

struct dict_key {
	uint8_t bytes[DICT_KEY_BYTES];
};

static struct dict_key
dict_key(uint32_t id, uint32_t n)
{
	struct dict_key k;

	base_put_be32(k.bytes, id);
	base_put_be32(k.bytes + 4, n);
	return k;
}

int
blob_dict_head(struct kv_view *view, uint32_t id, struct blob_dict_head *h)
{
	struct dict_key key = dict_key(id, 0);
	struct shelf_span value, hash;
	struct base_reader r;
	int rc = kv_get(view, KV_DICT, shelf_span(key.bytes, DICT_KEY_BYTES), &value);

	if (rc != 0)
		return rc;
	r = base_reader(value);
	if (base_get_le(&r, 1) != HEAD_FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	h->kind = (uint8_t)base_get_le(&r, 1);
	h->created_s = (int64_t)base_get_le(&r, 8);
	h->messages = (uint32_t)base_get_le(&r, 4);
	h->size = (uint32_t)base_get_le(&r, 4);
	hash = base_get_bytes(&r, BLOB_HASH_BYTES);
	if (r.bad || base_left(&r) > 0 || h->kind >= BLOB_KINDS || h->size == 0 ||
	    h->size > BLOB_DICT_BYTES_MAX)
		return SHELF_ECORRUPT;
	memcpy(h->hash, hash.data, BLOB_HASH_BYTES);
	return 0;
}

void
blob_dict_hash(struct shelf_span bytes, uint8_t *out)
{
	uint8_t sha[SHA256_DIGEST_LENGTH];

	SHA256(bytes.data, bytes.len, sha);
	memcpy(out, sha, BLOB_HASH_BYTES);
}

static int
read_bytes(struct kv_view *view, uint32_t id, const struct blob_dict_head *h, struct shelf_buf *out)
{
	size_t before = out->len;
	uint8_t hash[BLOB_HASH_BYTES];
	struct shelf_span value;

	for (uint32_t n = 1; out->len - before < h->size; n++) {
		struct dict_key key = dict_key(id, n);
		int rc = kv_get(view, KV_DICT, shelf_span(key.bytes, DICT_KEY_BYTES), &value);

		if (rc != 0)
			return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
		if (value.len == 0)
			return SHELF_ECORRUPT;
		shelf_buf_add_span(out, value);
	}
	blob_dict_hash(shelf_span(out->data + before, out->len - before), hash);
	return memcmp(hash, h->hash, BLOB_HASH_BYTES) == 0 ? 0 : SHELF_ECORRUPT;
}

int
blob_dict_bytes(struct kv_view *view, uint32_t id, struct shelf_buf *out)
{
	struct blob_dict_head h;
	int rc = blob_dict_head(view, id, &h);

	return rc != 0 ? rc : read_bytes(view, id, &h, out);
}

/* Its bytes are damaged: the catalog has them once more. */
static int
read_copy(struct kv_view *view, const struct blob_dict_head *h, struct shelf_buf *out)
{
	struct kv_db *db = kv_view_db(view);
	struct kv_view *catalog = NULL;
	int rc = db == NULL ? SHELF_ECORRUPT : kv_view_begin(db, KV_CATALOG, &catalog);

	if (rc == 0)
		rc = blob_copy_bytes(catalog, h->hash, out);
	kv_view_end(&catalog);
	return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
}

int
blob_dict_open(struct kv_view *view, uint32_t id, struct blob_zdict **out)
{
	struct shelf_buf bytes = {0};
	struct blob_dict_head h;
	int rc;

	*out = NULL;
	if (id == 0)
		return 0;
	if ((rc = blob_dict_head(view, id, &h)) != 0)
		return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
	if ((*out = blob_zdict_find(h.hash)) != NULL)
		return 0;
	rc = read_bytes(view, id, &h, &bytes);
	if (shelf_err_class_of(rc) == SHELF_CLASS_CORRUPT) {
		shelf_log(SHELF_LOG_ERROR, "blob dictionary damaged", "shard", "%u", kv_view_shard(view), "id",
			  "%u", id, NULL);
		rc = read_copy(view, &h, &bytes);
	}
	if (rc == 0)
		*out = blob_zdict_add(h.hash, shelf_buf_span(&bytes));
	shelf_buf_free(&bytes);
	return rc;
}

/* ---- Coming and going ------------------------------------------------------------------------------ */

static int
put_head(struct kv_txn *txn, uint32_t id, const struct blob_dict_head *h)
{
	struct dict_key key = dict_key(id, 0);
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, HEAD_FORMAT, 1);
	base_add_le(&value, h->kind, 1);
	base_add_le(&value, (uint64_t)h->created_s, 8);
	base_add_le(&value, h->messages, 4);
	base_add_le(&value, h->size, 4);
	shelf_buf_add(&value, h->hash, BLOB_HASH_BYTES);
	rc = kv_put(txn, KV_DICT, shelf_span(key.bytes, DICT_KEY_BYTES), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

int
blob_dict_add(struct kv_txn *txn, enum blob_kind kind, uint32_t messages, struct shelf_span bytes,
	      uint32_t *id_out)
{
	struct blob_dict_head h = {.kind = (uint8_t)kind,
				   .created_s = shelf_now_s(),
				   .messages = messages,
				   .size = (uint32_t)bytes.len};
	struct blob_dicts s;
	int rc;

	if (bytes.len == 0 || bytes.len > BLOB_DICT_BYTES_MAX)
		return SHELF_EINVALID;
	if ((rc = blob_dicts_get(kv_txn_view(txn), &s)) != 0)
		return rc;
	if (s.count == BLOB_DICTS_MAX)
		return SHELF_ELIMIT;
	*id_out = s.next++;
	s.current[kind] = *id_out;
	s.list[s.count].id = *id_out;
	s.list[s.count++].uses = 0;
	blob_dict_hash(bytes, h.hash);
	if ((rc = put_head(txn, *id_out, &h)) != 0)
		return rc;
	for (uint32_t n = 1; bytes.len > 0; n++) {
		size_t len = bytes.len < KV_VALUE_MAX ? bytes.len : KV_VALUE_MAX;
		struct dict_key key = dict_key(*id_out, n);

		rc = kv_put(txn, KV_DICT, shelf_span(key.bytes, DICT_KEY_BYTES),
			    shelf_span(bytes.data, len));
		if (rc != 0)
			return rc;
		bytes = shelf_span(bytes.data + len, bytes.len - len);
	}
	return dicts_put(txn, &s);
}

static int
remove_dict(struct kv_txn *txn, uint32_t id)
{
	int rc;

	for (uint32_t n = 0;; n++) {
		struct dict_key key = dict_key(id, n);

		rc = kv_del(txn, KV_DICT, shelf_span(key.bytes, DICT_KEY_BYTES));
		if (rc != 0)
			return rc == SHELF_EMISSING ? 0 : rc;
	}
}

int
blob_dicts_prune(struct kv_txn *txn, uint32_t *removed_out)
{
	struct blob_dicts s;
	uint32_t kept = 0;
	int rc = blob_dicts_get(kv_txn_view(txn), &s);

	*removed_out = 0;
	for (uint32_t i = 0; rc == 0 && i < s.count; i++) {
		uint32_t id = s.list[i].id;

		if (s.list[i].uses > 0 || id == s.current[BLOB_BODY] ||
		    id == s.current[BLOB_DERIVED] || kv_txn_writes(txn) > BLOB_PRUNE_WRITES) {
			s.list[kept++] = s.list[i];
			continue;
		}
		rc = remove_dict(txn, id);
		++*removed_out;
	}
	s.count = kept;
	return rc != 0 || *removed_out == 0 ? rc : dicts_put(txn, &s);
}
