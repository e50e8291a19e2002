/*
 * app_password.c - passwords of an account for one program each
 *
 * They lie in the account's row, as many as fit a page with the longest of names, so that whatever moves, saves or
 * removes the account has them, too. All have the account's salt: one derivation compares with each of them, and
 * a client of SCRAM, which is told the salt before it proves anything, may have any of them. They have 100 bits by
 * chance, so their keys need no slower hash.
 */
#include <openssl/crypto.h>

#include <mailshelf/mem.h>

#include "scram.h"

enum { APP_SERVICES = SHELF_SERVICE_IMAP | SHELF_SERVICE_POP3 | SHELF_SERVICE_SUBMISSION, USED_STEP_S = 600 };

/* ---- Rows ---------------------------------------------------------------------------------------------- */

static int
decode_one(struct base_reader *r, struct mail_app *a)
{
	struct shelf_span label, bytes;

	a->is.id = (uint32_t)base_get_le(r, 4);
	a->is.services = (uint32_t)base_get_le(r, 4);
	a->is.created_s = (int64_t)base_get_le(r, 8);
	a->is.expires_s = (int64_t)base_get_le(r, 8);
	a->is.used_s = (int64_t)base_get_le(r, 8);
	label = base_get_text(r);
	if (r->bad || label.len > SHELF_APP_LABEL_MAX)
		return SHELF_ECORRUPT;
	memcpy(a->is.label, label.data, label.len);
	a->is.label[label.len] = '\0';
	for (unsigned h = 0; h < SHELF_SCRAM_HASHES; h++) {
		size_t len = shelf_scram_hash_len(h);

		bytes = base_get_bytes(r, 2 * len);
		if (r->bad)
			return SHELF_ECORRUPT;
		memcpy(a->stored[h], bytes.data, len);
		memcpy(a->server[h], bytes.data + len, len);
	}
	return 0;
}

int
mail_apps_decode(struct base_reader *r, struct mail_apps *apps)
{
	uint64_t n = base_get_varint(r);
	int rc = r->bad || n > SHELF_APP_PASSWORDS_MAX ? SHELF_ECORRUPT : 0;

	for (apps->n = 0; rc == 0 && apps->n < n; apps->n++)
		rc = decode_one(r, &apps->list[apps->n]);
	return rc;
}

void
mail_apps_encode(struct shelf_buf *b, const struct mail_apps *apps)
{
	base_add_varint(b, apps->n);
	for (size_t i = 0; i < apps->n; i++) {
		const struct mail_app *a = &apps->list[i];

		base_add_le(b, a->is.id, 4);
		base_add_le(b, a->is.services, 4);
		base_add_le(b, (uint64_t)a->is.created_s, 8);
		base_add_le(b, (uint64_t)a->is.expires_s, 8);
		base_add_le(b, (uint64_t)a->is.used_s, 8);
		base_add_text(b, shelf_span_str(a->is.label));
		for (unsigned h = 0; h < SHELF_SCRAM_HASHES; h++) {
			shelf_buf_add(b, a->stored[h], shelf_scram_hash_len(h));
			shelf_buf_add(b, a->server[h], shelf_scram_hash_len(h));
		}
	}
}

/* ---- Changing ------------------------------------------------------------------------------------------ */

struct app_change {
	enum { ADD, REMOVE, USED } what;
	uint32_t account;
	struct mail_app app;   /* REMOVE, USED: its id */
	struct mail_keys keys; /* ADD: what the app's were made with */
};

static struct mail_app *
find(struct mail_apps *apps, uint32_t id)
{
	for (size_t i = 0; i < apps->n; i++)
		if (apps->list[i].is.id == id)
			return &apps->list[i];
	return NULL;
}

static int
add(struct mail_user *u, struct app_change *ch)
{
	struct mail_apps *apps = &u->apps;
	uint32_t id = 1;

	for (size_t i = 0; i < apps->n; i++) {
		if (strcmp(apps->list[i].is.label, ch->app.is.label) == 0)
			return SHELF_EEXISTS;
		if (apps->list[i].is.id >= id)
			id = apps->list[i].is.id + 1;
	}
	if (apps->n == SHELF_APP_PASSWORDS_MAX)
		return SHELF_ELIMIT;
	/* The salt was made between reading and now: with another one, by another process. */
	if (u->keys.salt.iterations != 0 && !scram_same_salt(&u->keys.salt, &ch->keys.salt))
		return SHELF_EBUSY;
	u->keys.salt = ch->keys.salt;
	ch->app.is.id = id;
	apps->list[apps->n++] = ch->app;
	return 0;
}

static int
change(struct kv_txn *txn, void *arg)
{
	struct app_change *ch = arg;
	struct shelf_buf row = {0};
	struct mail_app *app;
	struct mail_user u;
	int rc = mail_user_copy(kv_txn_view(txn), ch->account, &row, &u);

	if (rc != 0)
		goto out;
	app = find(&u.apps, ch->app.is.id);
	if (ch->what == ADD) {
		rc = add(&u, ch);
	} else if (app == NULL) {
		rc = SHELF_EMISSING;
	} else if (ch->what == USED) {
		app->is.used_s = ch->app.is.used_s;
	} else {
		*app = u.apps.list[--u.apps.n];
	}
	if (rc == 0)
		rc = mail_user_put(txn, ch->account, &u);
out:
	shelf_buf_free(&row);
	return rc;
}

/* Of 32 letters and digits that are not taken for each other: five each, 20 of them, in fours. */
static void
make_secret(char *out)
{
	static const char letters[] = "abcdefghjkmnpqrstuvwxyz023456789";
	uint8_t random[SHELF_APP_SECRET_LEN];

	shelf_random(random, sizeof(random));
	for (size_t i = 0; i < SHELF_APP_SECRET_LEN; i++)
		out[i] = i % 5 == 4 ? '-' : letters[random[i] % 32];
	out[SHELF_APP_SECRET_LEN] = '\0';
	explicit_bzero(random, sizeof(random));
}

static bool
is_label(const char *label)
{
	size_t len = strnlen(label, SHELF_APP_LABEL_MAX + 1);

	if (len == 0 || len > SHELF_APP_LABEL_MAX || !shelf_utf8_valid(shelf_span(label, len)))
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)label[i] < ' ' || label[i] == 0x7f)
			return false;
	return true;
}

int
shelf_app_password_add(struct shelf_store *store, uint32_t account, const struct shelf_app_password *new,
		       char *secret_out, uint32_t *id_out)
{
	struct app_change ch = {.what = ADD, .account = account};
	struct kv_view *view = NULL;
	char name[SHELF_ACCOUNT_NAME_MAX + 1] = "";
	struct mail_user u;
	int rc = 0;

	if (!is_label(new->label))
		return SHELF_ENAME;
	if (new->services == 0 || (new->services & ~(unsigned)APP_SERVICES) != 0 || new->expires_s < 0)
		return SHELF_EINVALID;
	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) == 0 && (rc = mail_user_get(view, account, &u)) == 0) {
		memcpy(name, u.name.data, u.name.len);
		ch.keys.salt = u.keys.salt;
	}
	kv_view_end(&view);
	make_secret(secret_out);
	if (rc == 0 && ch.keys.salt.iterations == 0)
		rc = mail_salt_make(store, name, &ch.keys.salt);
	if (rc == 0)
		rc = scram_derive(shelf_span_str(secret_out), SCRAM_ALL_HASHES, &ch.keys);
	if (rc == 0) {
		ch.app.is = *new;
		ch.app.is.created_s = shelf_now_s();
		ch.app.is.used_s = 0;
		ch.app.is.id = 0;
		memcpy(ch.app.stored, ch.keys.stored, sizeof(ch.app.stored));
		memcpy(ch.app.server, ch.keys.server, sizeof(ch.app.server));
		rc = kv_update(store->kv, KV_CATALOG, KV_ADDS, change, &ch);
	}
	if (rc == 0)
		*id_out = ch.app.is.id;
	else
		explicit_bzero(secret_out, SHELF_APP_SECRET_LEN);
	explicit_bzero(&ch, sizeof(ch));
	return rc;
}

int
shelf_app_password_list(struct shelf_store *store, uint32_t account, struct shelf_app_password *list, size_t *n_out)
{
	struct kv_view *view = NULL;
	struct mail_user u;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	*n_out = 0;
	if (rc == 0 && (rc = mail_user_get(view, account, &u)) == 0)
		for (; *n_out < u.apps.n; ++*n_out)
			list[*n_out] = u.apps.list[*n_out].is;
	kv_view_end(&view);
	return rc;
}

int
shelf_app_password_remove(struct shelf_store *store, uint32_t account, uint32_t id)
{
	struct app_change ch = {.what = REMOVE, .account = account, .app.is.id = id};

	return kv_update(store->kv, KV_CATALOG, 0, change, &ch);
}

/* ---- Logging in ---------------------------------------------------------------------------------------- */

bool
mail_app_is_good(const struct mail_app *a)
{
	return a->is.expires_s == 0 || a->is.expires_s > shelf_now_s();
}

/* What fails has no consequence but that nobody knows: a full disk must not keep users from reading. */
void
mail_app_used(struct shelf_store *store, uint32_t account, const struct mail_app *a)
{
	struct app_change ch = {.what = USED, .account = account, .app.is = a->is};
	int64_t now = shelf_now_s();

	if (now - a->is.used_s < USED_STEP_S)
		return;
	ch.app.is.used_s = now;
	if (kv_update(store->kv, KV_CATALOG, 0, change, &ch) != 0)
		return;
}

const struct mail_app *
mail_app_match(struct shelf_store *store, const struct mail_user *u, struct shelf_span password)
{
	const struct mail_apps *apps = &u->apps;
	struct mail_keys keys = {.salt = u->keys.salt};
	const struct mail_app *found = NULL;

	if (keys.salt.iterations == 0)
		keys.salt = (struct shelf_scram_salt){.len = 1, .iterations = scram_iterations(store)};
	if (scram_derive(password, 1u << SHELF_SCRAM_SHA_256, &keys) != 0)
		return NULL;
	for (size_t i = 0; i < apps->n; i++)
		if (CRYPTO_memcmp(apps->list[i].stored[SHELF_SCRAM_SHA_256], keys.stored[SHELF_SCRAM_SHA_256],
				  shelf_scram_hash_len(SHELF_SCRAM_SHA_256)) == 0 &&
		    mail_app_is_good(&apps->list[i]))
			found = &apps->list[i];
	explicit_bzero(&keys, sizeof(keys));
	return found;
}
