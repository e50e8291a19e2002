/*
 * user.c - rows of USER, and the number of accounts whose password has no keys of SCRAM yet
 *
 *   USER     account           format | services 4 | disabled 1 | created 8 | name text | hash text |
 *                              2: iterations 4 | salt text | has 1 | for each hash that it has: stored, server |
 *                              3: apps varint | for each: id 4 | services 4 | created 8 | expires 8 | used 8 |
 *                                 label text | for each hash: stored, server
 *   GLOBAL   "keyless"         accounts 4, big-endian
 *
 * What must stay true: every row is written and removed here, so that the number moves with it. A row has the
 * lowest format that has room for what it says: one without salt is of format 1, as older releases have it. The bit
 * of submission says in a row that it is off: rows of older releases do not have it, and there it is on.
 */
#include <mailshelf/mem.h>

#include "scram.h"

enum { FORMAT = 1, FORMAT_KEYS = 2, FORMAT_APPS = 3 };
static const struct shelf_span keyless_name = {(const uint8_t *)"keyless", 7};

static bool
is_keyless(const struct mail_user *u)
{
	return u->hash.len > 0 && u->keys.has != SCRAM_ALL_HASHES;
}

/* ---- Bytes --------------------------------------------------------------------------------------------- */

static int
decode_keys(struct base_reader *r, struct mail_keys *k)
{
	struct shelf_span salt, bytes;

	k->salt.iterations = (uint32_t)base_get_le(r, 4);
	salt = base_get_text(r);
	k->has = (uint8_t)base_get_le(r, 1);
	if (r->bad || salt.len > sizeof(k->salt.bytes) || (k->has & ~SCRAM_ALL_HASHES) != 0)
		return SHELF_ECORRUPT;
	k->salt.len = salt.len;
	memcpy(k->salt.bytes, salt.data, salt.len);
	for (unsigned h = 0; h < SHELF_SCRAM_HASHES; h++) {
		size_t len = shelf_scram_hash_len(h);

		if ((k->has & 1u << h) == 0)
			continue;
		bytes = base_get_bytes(r, 2 * len);
		if (r->bad)
			return SHELF_ECORRUPT;
		memcpy(k->stored[h], bytes.data, len);
		memcpy(k->server[h], bytes.data + len, len);
	}
	return 0;
}

static void
encode_keys(struct shelf_buf *b, const struct mail_keys *k)
{
	base_add_le(b, k->salt.iterations, 4);
	base_add_text(b, shelf_span(k->salt.bytes, k->salt.len));
	base_add_le(b, k->has, 1);
	for (unsigned h = 0; h < SHELF_SCRAM_HASHES; h++) {
		if ((k->has & 1u << h) == 0)
			continue;
		shelf_buf_add(b, k->stored[h], shelf_scram_hash_len(h));
		shelf_buf_add(b, k->server[h], shelf_scram_hash_len(h));
	}
}

int
mail_user_decode(struct shelf_span value, struct mail_user *u)
{
	struct base_reader r = base_reader(value);
	uint64_t format = base_get_le(&r, 1);
	int rc;

	if (r.bad)
		return SHELF_ECORRUPT;
	if (format < FORMAT || format > FORMAT_APPS)
		return SHELF_EVERSION;
	u->services = (uint32_t)base_get_le(&r, 4) ^ SHELF_SERVICE_SUBMISSION;
	u->disabled = base_get_le(&r, 1) != 0;
	u->created_s = (int64_t)base_get_le(&r, 8);
	u->name = base_get_text(&r);
	u->hash = base_get_text(&r);
	u->keys = (struct mail_keys){.has = 0};
	u->apps.n = 0;
	if (r.bad || u->name.len > SHELF_ACCOUNT_NAME_MAX)
		return SHELF_ECORRUPT;
	if (format >= FORMAT_KEYS && (rc = decode_keys(&r, &u->keys)) != 0)
		return rc;
	return format >= FORMAT_APPS ? mail_apps_decode(&r, &u->apps) : 0;
}

/* ---- Reading ------------------------------------------------------------------------------------------- */

int
mail_user_get(struct kv_view *view, uint32_t id, struct mail_user *u)
{
	struct mail_key key = mail_key1(id);
	struct shelf_span value;
	int rc = kv_get(view, KV_USER, mail_key_span(&key), &value);

	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ENOACCOUNT : rc;
	return mail_user_decode(value, u);
}

int
mail_user_copy(struct kv_view *view, uint32_t id, struct shelf_buf *row, struct mail_user *out)
{
	struct mail_key key = mail_key1(id);
	struct shelf_span value;
	int rc = kv_get(view, KV_USER, mail_key_span(&key), &value);

	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ENOACCOUNT : rc;
	shelf_buf_add_span(row, value);
	return mail_user_decode(shelf_buf_span(row), out);
}

int
mail_user_keyless(struct kv_view *view, uint64_t *out)
{
	struct shelf_span value;
	int rc = kv_get(view, KV_GLOBAL, keyless_name, &value);

	if (rc == 0 && value.len != 4)
		return SHELF_ECORRUPT;
	if (rc == 0)
		*out = base_get_be32(value.data);
	return rc;
}

int
mail_user_count_keyless(struct kv_view *view, uint64_t *out)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_user u;
	int rc = kv_scan_open(view, KV_USER, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	*out = 0;
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		rc = 0;
		/* What cannot be read is for the check. */
		if (mail_user_decode(value, &u) == 0 && is_keyless(&u))
			++*out;
	}
	kv_scan_close(&scan);
	return rc;
}

/* ---- Writing ------------------------------------------------------------------------------------------- */

int
mail_user_set_keyless(struct kv_txn *txn, uint64_t accounts)
{
	uint8_t bytes[4];

	base_put_be32(bytes, (uint32_t)accounts);
	return kv_put(txn, KV_GLOBAL, keyless_name, shelf_span(bytes, sizeof(bytes)));
}

/* The number moves from what the row is to IS (NULL: it goes). Where nobody has counted yet, there is none. */
static int
move_keyless(struct kv_txn *txn, uint32_t id, const struct mail_user *is)
{
	struct mail_user was;
	uint64_t accounts;
	bool before = false, after = is != NULL && is_keyless(is);
	int rc = mail_user_get(kv_txn_view(txn), id, &was);

	if (rc == 0)
		before = is_keyless(&was);
	else if (rc != SHELF_ENOACCOUNT)
		return rc;
	if (before == after)
		return 0;
	rc = mail_user_keyless(kv_txn_view(txn), &accounts);
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if (before && accounts == 0)
		return SHELF_ECORRUPT;
	return mail_user_set_keyless(txn, after ? accounts + 1 : accounts - 1);
}

int
mail_user_put(struct kv_txn *txn, uint32_t id, const struct mail_user *u)
{
	struct mail_key key = mail_key1(id);
	struct shelf_buf b = {0};
	int rc;

	base_add_le(&b, u->apps.n > 0 ? FORMAT_APPS : u->keys.salt.iterations != 0 ? FORMAT_KEYS : FORMAT, 1);
	base_add_le(&b, u->services ^ SHELF_SERVICE_SUBMISSION, 4);
	base_add_le(&b, u->disabled, 1);
	base_add_le(&b, (uint64_t)u->created_s, 8);
	base_add_text(&b, u->name);
	base_add_text(&b, u->hash);
	if (u->keys.salt.iterations != 0)
		encode_keys(&b, &u->keys);
	if (u->apps.n > 0)
		mail_apps_encode(&b, &u->apps);
	if ((rc = move_keyless(txn, id, u)) == 0)
		rc = kv_put(txn, KV_USER, mail_key_span(&key), shelf_buf_span(&b));
	shelf_buf_free(&b);
	return rc;
}

int
mail_user_del(struct kv_txn *txn, uint32_t id)
{
	struct mail_key key = mail_key1(id);
	int rc = move_keyless(txn, id, NULL);

	return rc != 0 ? rc : kv_del(txn, KV_USER, mail_key_span(&key));
}
