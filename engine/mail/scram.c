/*
 * scram.c - keys of SCRAM: what is kept of a password, and what proves it
 *
 * The salt of an account is made of a secret of the store and the account's name. So a name that nobody has gets its
 * salt in the same way, the same one each time, and keeps it when an account of that name is added: what is answered
 * tells no stranger which names there are.
 * Sources   RFC 5802 2.2, 3; RFC 7677 3; RFC 4013.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <unicode/usprep.h>
#include <unicode/ustring.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "scram.h"

enum { SALT_BYTES = 16 };
static const struct shelf_span secret_name = {(const uint8_t *)"auth-secret", 11};

static const EVP_MD *
md_of(enum shelf_scram_hash hash)
{
	return hash == SHELF_SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
}

size_t
shelf_scram_hash_len(enum shelf_scram_hash hash)
{
	return hash == SHELF_SCRAM_SHA_1 ? 20 : 32;
}

static void
hmac(const EVP_MD *md, struct shelf_span key, struct shelf_span data, uint8_t *out)
{
	unsigned len = 0;

	SHELF_ASSERT(HMAC(md, key.data, (int)key.len, data.data, data.len, out, &len) != NULL);
}

/* ---- Making ------------------------------------------------------------------------------------------- */

void
scram_prepare_password(struct shelf_span password, struct shelf_buf *out)
{
	UChar raw[SHELF_PASSWORD_MAX + 1], made[2 * SHELF_PASSWORD_MAX];
	UErrorCode status = U_ZERO_ERROR;
	UStringPrepProfile *profile = NULL;
	int32_t n = 0, len = 0;

	shelf_buf_reserve(out, sizeof(made) * 2); /* one piece, so that it can be wiped */
	u_strFromUTF8(raw, SHELF_PASSWORD_MAX, &n, (const char *)password.data, (int32_t)password.len, &status);
	if (U_SUCCESS(status))
		profile = usprep_openByType(USPREP_RFC4013_SASLPREP, &status);
	if (U_SUCCESS(status))
		n = usprep_prepare(profile, raw, n, made, sizeof(made) / sizeof(*made), USPREP_ALLOW_UNASSIGNED,
				   NULL, &status);
	if (U_SUCCESS(status))
		u_strToUTF8((char *)out->data, (int32_t)out->cap, &len, made, n, &status);
	if (U_SUCCESS(status) && len > 0)
		out->len = (size_t)len;
	else
		shelf_buf_add_span(out, password);
	if (profile != NULL)
		usprep_close(profile);
	explicit_bzero(raw, sizeof(raw));
	explicit_bzero(made, sizeof(made));
}

int
scram_derive(struct shelf_span password, unsigned hashes, struct mail_keys *keys)
{
	struct shelf_buf prepared = {0};
	uint8_t salted[SHELF_SCRAM_HASH_MAX], client[SHELF_SCRAM_HASH_MAX];
	int rc = 0;

	scram_prepare_password(password, &prepared);
	for (enum shelf_scram_hash h = 0; h < SHELF_SCRAM_HASHES && rc == 0; h++) {
		const EVP_MD *md = md_of(h);
		size_t len = shelf_scram_hash_len(h);

		if ((hashes & 1u << h) == 0)
			continue;
		if (PKCS5_PBKDF2_HMAC((const char *)prepared.data, (int)prepared.len, keys->salt.bytes,
				      (int)keys->salt.len, (int)keys->salt.iterations, md, (int)len, salted) != 1) {
			rc = SHELF_EIO;
			break;
		}
		hmac(md, shelf_span(salted, len), shelf_span_str("Client Key"), client);
		hmac(md, shelf_span(salted, len), shelf_span_str("Server Key"), keys->server[h]);
		if (EVP_Digest(client, len, keys->stored[h], NULL, md, NULL) != 1)
			rc = SHELF_EIO;
		keys->has |= (uint8_t)(1u << h);
	}
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
	explicit_bzero(prepared.data, prepared.cap);
	shelf_buf_free(&prepared);
	return rc;
}

uint32_t
scram_iterations(const struct shelf_store *store)
{
	uint64_t n = atomic_load(&store->setting[SHELF_SETTING_SCRAM_ITERATIONS]);

	return n < SHELF_SCRAM_ITERATIONS_MIN ? SHELF_SCRAM_ITERATIONS_MIN : (uint32_t)n;
}

bool
scram_same_salt(const struct shelf_scram_salt *a, const struct shelf_scram_salt *b)
{
	return a->iterations == b->iterations && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static void
salt_of(const struct shelf_store *store, const uint8_t *secret, const char *name, struct shelf_scram_salt *out)
{
	uint8_t made[EVP_MAX_MD_SIZE];

	hmac(EVP_sha256(), shelf_span(secret, SCRAM_SECRET_BYTES), shelf_span_str(name), made);
	out->iterations = scram_iterations(store);
	out->len = SALT_BYTES;
	memcpy(out->bytes, made, SALT_BYTES);
}

/* ---- The store's secret, and whether every account can ------------------------------------------------- */

static int
read_secret(struct kv_view *view, uint8_t *out)
{
	struct shelf_span value;
	int rc = kv_get(view, KV_GLOBAL, secret_name, &value);

	if (rc == 0 && value.len != SCRAM_SECRET_BYTES)
		return SHELF_ECORRUPT;
	if (rc == 0)
		memcpy(out, value.data, SCRAM_SECRET_BYTES);
	return rc;
}

struct preparing {
	uint8_t secret[SCRAM_SECRET_BYTES];
	bool count;
};

/* The secret is there, and the number of accounts without keys is what it says. SHELF_EMISSING: it is not so. */
static int
is_prepared(struct kv_view *view)
{
	uint8_t secret[SCRAM_SECRET_BYTES];
	uint64_t counted = 0, kept = 0;
	int rc = read_secret(view, secret);

	if (rc == 0 && (rc = mail_user_count_keyless(view, &counted)) == 0)
		rc = mail_user_keyless(view, &kept);
	return rc == 0 && counted != kept ? SHELF_EMISSING : rc;
}

static int
prepare(struct kv_txn *txn, void *arg)
{
	struct preparing *p = arg;
	uint8_t there[SCRAM_SECRET_BYTES];
	uint64_t counted = 0;
	int rc = read_secret(kv_txn_view(txn), there);

	if (rc == SHELF_EMISSING)
		rc = kv_put(txn, KV_GLOBAL, secret_name, shelf_span(p->secret, sizeof(p->secret)));
	if (rc == 0 && p->count && (rc = mail_user_count_keyless(kv_txn_view(txn), &counted)) == 0)
		rc = mail_user_set_keyless(txn, counted);
	return rc;
}

int
shelf_scram_prepare(struct shelf_store *store)
{
	struct preparing p = {.count = true};
	struct kv_view *view = NULL;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	if (rc == 0)
		rc = is_prepared(view);
	kv_view_end(&view);
	if (rc != SHELF_EMISSING)
		return rc;
	shelf_random(p.secret, sizeof(p.secret));
	return kv_update(store->kv, KV_CATALOG, 0, prepare, &p);
}

int
shelf_scram_without_keys(struct shelf_store *store, uint64_t *accounts_out)
{
	struct kv_view *view = NULL;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	if (rc == 0)
		rc = mail_user_keyless(view, accounts_out);
	kv_view_end(&view);
	return rc;
}

/* Makes it when there is none yet. */
static int
secret_of(struct shelf_store *store, uint8_t *out)
{
	struct preparing p = {.count = false};
	int rc = 0;

	for (int tries = 0; tries < 2; tries++) {
		struct kv_view *view = NULL;

		if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) == 0)
			rc = read_secret(view, out);
		kv_view_end(&view);
		if (rc != SHELF_EMISSING)
			return rc;
		shelf_random(p.secret, sizeof(p.secret));
		if ((rc = kv_update(store->kv, KV_CATALOG, 0, prepare, &p)) != 0)
			return rc;
	}
	return rc;
}

int
mail_salt_make(struct shelf_store *store, const char *name, struct shelf_scram_salt *out)
{
	uint8_t secret[SCRAM_SECRET_BYTES];
	int rc = secret_of(store, secret);

	if (rc == 0)
		salt_of(store, secret, name, out);
	explicit_bzero(secret, sizeof(secret));
	return rc;
}

int
mail_keys_make(struct shelf_store *store, const char *name, struct shelf_span password,
	       const struct mail_keys *was, struct mail_keys *out)
{
	int rc;

	*out = (struct mail_keys){.has = 0};
	if (was != NULL)
		out->salt = was->salt;
	if (atomic_load(&store->setting[SHELF_SETTING_SCRAM_ITERATIONS]) == 0 || password.len == 0)
		return 0;
	if (out->salt.iterations == 0 && (rc = mail_salt_make(store, name, &out->salt)) != 0)
		return rc;
	return scram_derive(password, SCRAM_ALL_HASHES, out);
}

/* ---- Proving ------------------------------------------------------------------------------------------- */

bool
scram_proves(const struct mail_keys *keys, const struct shelf_scram_proof *proof, uint8_t *signature_out)
{
	const EVP_MD *md = md_of(proof->hash);
	size_t len = shelf_scram_hash_len(proof->hash);
	uint8_t key[EVP_MAX_MD_SIZE], stored[EVP_MAX_MD_SIZE];
	bool same;

	if (proof->proof.len != len)
		return false;
	hmac(md, shelf_span(keys->stored[proof->hash], len), proof->message, key);
	for (size_t i = 0; i < len; i++)
		key[i] ^= proof->proof.data[i];
	SHELF_ASSERT(EVP_Digest(key, len, stored, NULL, md, NULL) == 1);
	same = CRYPTO_memcmp(stored, keys->stored[proof->hash], len) == 0;
	hmac(md, shelf_span(keys->server[proof->hash], len), proof->message, signature_out);
	explicit_bzero(key, sizeof(key));
	return same && (keys->has & 1u << proof->hash) != 0;
}

/* Account, keys and apps of a name; SHELF_ENOACCOUNT: none, or none that can log in. */
static int
find_keys(struct shelf_store *store, struct shelf_span name, struct shelf_account *out, struct mail_user *u)
{
	struct kv_view *view = NULL;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	if (rc == 0 && (rc = mail_user_find(view, name, &out->id, u)) == 0)
		rc = u->keys.salt.iterations == 0 ? SHELF_ENOACCOUNT : mail_account_out(store, out->id, u, out);
	kv_view_end(&view);
	return rc;
}

/* Which of the apps' passwords is proven. */
static const struct mail_app *
proven_app(const struct mail_apps *apps, const struct shelf_scram_proof *proof, uint8_t *signature_out)
{
	for (size_t i = 0; i < apps->n; i++) {
		struct mail_keys keys = {.has = SCRAM_ALL_HASHES};

		memcpy(keys.stored, apps->list[i].stored, sizeof(keys.stored));
		memcpy(keys.server, apps->list[i].server, sizeof(keys.server));
		if (scram_proves(&keys, proof, signature_out) && mail_app_is_good(&apps->list[i]))
			return &apps->list[i];
	}
	return NULL;
}

int
shelf_scram_salt(struct shelf_store *store, struct shelf_span name, struct shelf_scram_salt *out)
{
	char folded[SHELF_ACCOUNT_NAME_MAX + 1] = "";
	uint8_t secret[SCRAM_SECRET_BYTES];
	struct kv_view *view = NULL;
	struct mail_user u;
	uint32_t id;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	if (rc == 0 && (rc = read_secret(view, secret)) == 0) {
		if (mail_account_name(name, folded) != 0)
			folded[0] = '\0';
		salt_of(store, secret, folded, out);
		rc = mail_user_find(view, name, &id, &u);
		if (rc == 0 && u.keys.salt.iterations != 0)
			*out = u.keys.salt;
		rc = rc == SHELF_ENOACCOUNT ? 0 : rc;
	}
	kv_view_end(&view);
	explicit_bzero(secret, sizeof(secret));
	return rc;
}

int
shelf_scram_login(struct shelf_store *store, const struct shelf_scram_proof *proof, enum shelf_service service,
		  uint8_t *signature_out, struct shelf_account *out)
{
	uint8_t signature[EVP_MAX_MD_SIZE];
	struct mail_user u = {.disabled = false};
	struct shelf_account account = {0};
	const struct mail_app *app = NULL;
	bool proven;
	int rc = find_keys(store, proof->name, &account, &u);

	if (rc != 0 && rc != SHELF_ENOACCOUNT)
		return rc;
	if (rc != 0) /* whom nothing proves */
		u.keys = (struct mail_keys){.has = 0};
	proven = scram_proves(&u.keys, proof, signature);
	if (!proven && rc == 0)
		proven = (app = proven_app(&u.apps, proof, signature)) != NULL;
	if (rc != 0 || !proven)
		rc = SHELF_EAUTH;
	else if (account.disabled || (account.services & service & (app == NULL ? ~0u : app->is.services)) == 0)
		rc = SHELF_EDISABLED;
	if (rc == 0) {
		if (app != NULL)
			mail_app_used(store, account.id, app);
		memcpy(signature_out, signature, shelf_scram_hash_len(proof->hash));
		*out = account;
	}
	explicit_bzero(&u.keys, sizeof(u.keys));
	return rc;
}
