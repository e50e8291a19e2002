/*
 * login.c - logging in with a password: hashes, and the memory of verified logins
 *
 * A webmail logs in for every page it shows; a yescrypt hash each time would be a denial of service. So a
 * verified password is remembered for some minutes as a keyed hash (key: random, of this process) over
 * account, stored hash and password. A new password makes a new stored hash, which forgets the old one.
 */
#include <crypt.h>
#include <pthread.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "scram.h"

enum { SLOTS = 4096, KEEP_MS = 5 * 60 * 1000, TAG_BYTES = 32 };

struct slot {
	uint8_t tag[TAG_BYTES];
	int64_t until_ms;
};

struct login_cache {
	pthread_mutex_t lock;
	uint8_t key[32];
	struct slot slot[SLOTS];
};

struct login_cache *
login_cache_new(void)
{
	struct login_cache *c = SHELF_NEW(struct login_cache);

	pthread_mutex_init(&c->lock, NULL);
	shelf_random(c->key, sizeof(c->key));
	return c;
}

void
login_cache_free(struct login_cache **cache)
{
	struct login_cache *c = *cache;

	if (c == NULL)
		return;
	*cache = NULL;
	pthread_mutex_destroy(&c->lock);
	explicit_bzero(c, sizeof(*c));
	free(c);
}

/* Slot number from the first bytes of the tag: a full cache forgets somebody, nobody is let in. */
static struct slot *
tag(struct login_cache *c, uint32_t account, struct shelf_span password, struct shelf_span hash,
    uint8_t *out)
{
	struct shelf_buf b = {0};
	unsigned len = TAG_BYTES;

	base_add_le(&b, account, 4);
	base_add_text(&b, hash);
	shelf_buf_add_span(&b, password);
	SHELF_ASSERT(HMAC(EVP_sha256(), c->key, sizeof(c->key), b.data, b.len, out, &len) != NULL);
	explicit_bzero(b.data, b.len);
	shelf_buf_free(&b);
	return &c->slot[base_get_be32(out) % SLOTS];
}

bool
login_cache_has(struct login_cache *c, uint32_t account, struct shelf_span password,
		struct shelf_span hash)
{
	uint8_t t[TAG_BYTES];
	struct slot *s = tag(c, account, password, hash, t);
	bool has;

	pthread_mutex_lock(&c->lock);
	has = s->until_ms > shelf_mono_ms() && CRYPTO_memcmp(s->tag, t, TAG_BYTES) == 0;
	pthread_mutex_unlock(&c->lock);
	return has;
}

void
login_cache_add(struct login_cache *c, uint32_t account, struct shelf_span password,
		struct shelf_span hash)
{
	uint8_t t[TAG_BYTES];
	struct slot *s = tag(c, account, password, hash, t);

	pthread_mutex_lock(&c->lock);
	memcpy(s->tag, t, TAG_BYTES);
	s->until_ms = shelf_mono_ms() + KEEP_MS;
	pthread_mutex_unlock(&c->lock);
}

/* crypt() takes a C string: a password with NUL can be neither set nor right. */
static char *
c_string(struct shelf_span password)
{
	if (password.len > SHELF_PASSWORD_MAX ||
	    (password.len > 0 && memchr(password.data, 0, password.len)))
		return NULL;
	return shelf_strndup(password.data, password.len);
}

static void
wipe(char *s)
{
	explicit_bzero(s, strlen(s));
	free(s);
}

int
login_hash(struct shelf_span password, char *out, size_t out_len)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	char *text = c_string(password);
	struct crypt_data *data;
	const char *hash;
	int rc = SHELF_EIO;

	if (text == NULL)
		return SHELF_ETOOBIG;
	data = SHELF_NEW(struct crypt_data);
	/* NULL prefix: the system's default method, yescrypt on Debian 12. */
	if (crypt_gensalt_rn(NULL, 0, NULL, 0, setting, sizeof(setting)) != NULL) {
		hash = crypt_r(text, setting, data);
		if (hash != NULL && hash[0] != '*' && strlen(hash) < out_len) {
			memcpy(out, hash, strlen(hash) + 1);
			rc = 0;
		}
	}
	explicit_bzero(data, sizeof(*data));
	free(data);
	wipe(text);
	return rc;
}

bool
login_knows(const char *hash)
{
	int rc = crypt_checksalt(hash);

	return rc != CRYPT_SALT_INVALID && rc != CRYPT_SALT_METHOD_DISABLED;
}

bool
login_verify(struct shelf_span password, const char *hash)
{
	char *text = c_string(password);
	struct crypt_data *data;
	const char *got;
	bool same = false;

	if (text == NULL)
		return false;
	if (scheme_is_foreign(hash)) {
		wipe(text);
		return scheme_verify(password, hash);
	}
	data = SHELF_NEW(struct crypt_data);
	got = crypt_r(text, hash, data);
	if (got != NULL && got[0] != '*' && strlen(got) == strlen(hash))
		same = CRYPTO_memcmp(got, hash, strlen(hash)) == 0;
	explicit_bzero(data, sizeof(*data));
	free(data);
	wipe(text);
	return same;
}

/* ---- Logging in --------------------------------------------------------------------------------------- */

/* What an unknown name is compared with, so that it costs the same: a hash of random bytes, made once. */
static void
verify_nobody(struct shelf_span password)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static char nobody[MAIL_HASH_MAX];
	char hash[MAIL_HASH_MAX] = "";
	uint8_t noise[16];

	pthread_mutex_lock(&lock);
	if (nobody[0] == '\0') {
		shelf_random(noise, sizeof(noise));
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] |= 1;
		if (login_hash(shelf_span(noise, sizeof(noise)), hash, sizeof(hash)) == 0)
			memcpy(nobody, hash, sizeof(nobody));
	}
	memcpy(hash, nobody, sizeof(hash));
	pthread_mutex_unlock(&lock);
	(void)login_verify(password, hash);
}

/* A password that was set before there were keys is here at last. What fails is tried again at the next login. */
static void
add_keys(struct shelf_store *store, const struct shelf_account *a, const char *hash, struct shelf_span password,
	 const struct mail_keys *was)
{
	struct mail_keys keys;
	int rc = mail_keys_make(store, a->name, password, was->salt.iterations != 0 ? was : NULL, &keys);

	if (rc == 0 && keys.has != 0)
		rc = mail_account_set_keys(store, a->id, hash, &keys);
	if (rc != 0)
		shelf_log(SHELF_LOG_WARN, "no keys of SCRAM made", "account", "%s", a->name, "error", "%s",
			  shelf_err_name(rc), NULL);
	explicit_bzero(&keys, sizeof(keys));
}

/* What another server has hashed becomes an own hash with the first login. */
static void
renew(struct shelf_store *store, const struct shelf_account *a, const char *hash, struct shelf_span password)
{
	int rc = mail_account_renew(store, a->id, hash, password);

	if (rc != 0)
		shelf_log(SHELF_LOG_WARN, "password not hashed anew", "account", "%s", a->name, "error", "%s",
			  shelf_err_name(rc), NULL);
}

/* Which password of an app it is; remembered like the account's own. */
static const struct mail_app *
match_app(struct shelf_store *store, uint32_t id, const struct mail_user *u, struct shelf_span password)
{
	const struct mail_app *app = mail_app_match(store, u, password);

	if (app != NULL)
		login_cache_add(store->logins, id, password, shelf_span(app->stored, sizeof(app->stored)));
	return app;
}

static const struct mail_app *
remembered_app(struct shelf_store *store, uint32_t id, const struct mail_user *u, struct shelf_span password)
{
	for (size_t i = 0; i < u->apps.n; i++) {
		const struct mail_app *app = &u->apps.list[i];

		if (mail_app_is_good(app) &&
		    login_cache_has(store->logins, id, password, shelf_span(app->stored, sizeof(app->stored))))
			return app;
	}
	return NULL;
}

/* Is it the account's password, or (APP) one of an app? Whatever it is not takes as long. */
static bool
is_right(struct shelf_store *store, const struct shelf_account *a, const struct mail_user *u, const char *hash,
	 struct shelf_span password, const struct mail_app **app)
{
	if (hash[0] != '\0' && login_cache_has(store->logins, a->id, password, shelf_span_str(hash)))
		return true;
	if ((*app = remembered_app(store, a->id, u, password)) != NULL)
		return true;
	if (hash[0] == '\0') {
		verify_nobody(password);
	} else if (login_verify(password, hash)) {
		if (scheme_is_foreign(hash))
			renew(store, a, hash, password);
		else if (u->keys.has != SCRAM_ALL_HASHES)
			add_keys(store, a, hash, password, &u->keys);
		login_cache_add(store->logins, a->id, password, shelf_span_str(hash));
		return true;
	} else if (scheme_is_foreign(hash)) {
		verify_nobody(password); /* most of these cost next to nothing */
	}
	return (*app = match_app(store, a->id, u, password)) != NULL;
}

int
shelf_account_login(struct shelf_store *store, struct shelf_span name, struct shelf_span password,
		    enum shelf_service service, struct shelf_account *out)
{
	char hash[MAIL_HASH_MAX] = "";
	struct kv_view *view = NULL;
	struct shelf_account account = {0};
	const struct mail_app *app = NULL;
	struct mail_user u = {.disabled = false};
	uint32_t id = 0;
	unsigned services;
	int rc;

	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = mail_user_find(view, name, &id, &u);
	if (rc == 0 && u.hash.len < sizeof(hash)) {
		memcpy(hash, u.hash.data, u.hash.len);
		rc = mail_account_out(store, id, &u, &account);
	}
	kv_view_end(&view);
	if (rc != 0 && rc != SHELF_ENOACCOUNT)
		return rc;
	if (!is_right(store, &account, &u, hash, password, &app) || rc != 0)
		return SHELF_EAUTH;
	services = account.services & (app == NULL ? ~0u : app->is.services);
	if (account.disabled || (services & service) == 0)
		return SHELF_EDISABLED;
	if (app != NULL)
		mail_app_used(store, id, app);
	*out = account;
	return 0;
}
