/*
 * account.c - accounts: adding, finding, changing
 *
 * A new account goes through three commits: its id is taken (catalog), its rows are made (its shard), its
 * name is published (catalog). Only the last makes it visible; a crash before leaves an id that is never
 * used again and rows nobody can reach, which removal of account `id` would clear.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/policy.h>

#include "scram.h"

enum { ADD_SLICE = 256, HASH_THREADS_MAX = 16 };
static const struct shelf_span next_account_name = {(const uint8_t *)"next-account", 12};

int
mail_account_name(struct shelf_span name, char *out)
{
	if (name.len == 0 || name.len > SHELF_ACCOUNT_NAME_MAX || !shelf_utf8_valid(name))
		return SHELF_ENAME;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if (c <= ' ' || c == 0x7f || c == '/' || c == '\\' || c == '"' || c == '\'')
			return SHELF_ENAME;
		out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	out[name.len] = '\0';
	return 0;
}

/* ---- Adding ------------------------------------------------------------------------------------------ */

struct adding {
	struct shelf_store *store;
	const struct shelf_account_new *req;
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	char hash[MAIL_HASH_MAX];
	struct mail_keys keys;
	struct shelf_policies rules;
	uint32_t id;
	int rc;
	struct add_batch *batch;
};

struct add_batch {
	struct shelf_store *store;
	struct adding *list;
	size_t n;
	uint32_t first_id, ids; /* taken */
	_Atomic size_t next_hash;
	pthread_mutex_t lock;
	pthread_cond_t done;
	size_t waiting;
};

static void *
hash_some(void *arg)
{
	struct add_batch *b = arg;
	size_t i;

	while ((i = atomic_fetch_add(&b->next_hash, 1)) < b->n) {
		struct adding *a = &b->list[i];

		if (a->rc == 0 && a->req->hash.len > 0)
			a->rc = scheme_take(a->req->hash, a->hash);
		else if (a->rc == 0 && a->req->password.len > 0)
			a->rc = login_hash(a->req->password, a->hash, sizeof(a->hash));
		if (a->rc == 0)
			a->rc = mail_keys_make(b->store, a->name, a->req->password, NULL, &a->keys);
	}
	return NULL;
}

static void
hash_all(struct add_batch *b)
{
	pthread_t thread[HASH_THREADS_MAX];
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = 0;

	while (n < HASH_THREADS_MAX && (long)n + 1 < cores && n + 1 < b->n &&
	       pthread_create(&thread[n], NULL, hash_some, b) == 0)
		n++;
	hash_some(b);
	while (n > 0)
		pthread_join(thread[--n], NULL);
}

/* Names that are there already need no hash and no id. */
static int
pass_over_known(struct add_batch *b)
{
	struct kv_view *view = NULL;
	struct shelf_span value;
	int rc;

	if ((rc = kv_view_begin(b->store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	for (size_t i = 0; i < b->n && rc == 0; i++) {
		struct adding *a = &b->list[i];

		if (a->rc != 0)
			continue;
		rc = kv_get(view, KV_ADDR, shelf_span_str(a->name), &value);
		if (rc == 0)
			a->rc = SHELF_EEXISTS;
		rc = rc == SHELF_EMISSING ? 0 : rc;
	}
	kv_view_end(&view);
	return rc;
}

static int
take_ids(struct kv_txn *txn, void *arg)
{
	struct add_batch *b = arg;
	struct shelf_span value;
	uint8_t bytes[4];
	int rc = kv_get(kv_txn_view(txn), KV_GLOBAL, next_account_name, &value);

	b->first_id = 1;
	if (rc == 0 && value.len == 4)
		b->first_id = base_get_be32(value.data);
	else if (rc != SHELF_EMISSING)
		return rc == 0 ? SHELF_ECORRUPT : rc;
	if (b->first_id > UINT32_MAX - b->ids)
		return SHELF_ELIMIT;
	base_put_be32(bytes, b->first_id + b->ids);
	return kv_put(txn, KV_GLOBAL, next_account_name, shelf_span(bytes, 4));
}

int
mail_account_take_ids(struct shelf_store *store, uint32_t n, uint32_t *first_out)
{
	struct add_batch b = {.ids = n};
	int rc = kv_update(store->kv, KV_CATALOG, KV_ADDS, take_ids, &b);

	*first_out = b.first_id;
	return rc;
}

static int
reserve_ids(struct kv_txn *txn, void *arg)
{
	const uint32_t next = *(uint32_t *)arg;
	struct shelf_span value;
	uint8_t bytes[4];
	int rc = kv_get(kv_txn_view(txn), KV_GLOBAL, next_account_name, &value);

	if (rc == 0 && value.len == 4 && base_get_be32(value.data) >= next)
		return 0;
	if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	base_put_be32(bytes, next);
	return kv_put(txn, KV_GLOBAL, next_account_name, shelf_span(bytes, 4));
}

int
mail_account_reserve_ids(struct shelf_store *store, uint32_t next)
{
	return kv_update(store->kv, KV_CATALOG, KV_ADDS, reserve_ids, &next);
}

/* The account's rows: counters, limits, INBOX. */
static int
make_rows(struct kv_txn *txn, void *arg)
{
	struct adding *a = arg;
	struct mail_acct row = {
	    .next_mailbox = 1,
	    .warn = mail_warn_default,
	};
	struct mail_change c;
	uint32_t inbox;
	int rc;

	mail_rules_limit(&row, MAIL_LIMIT_BYTES, a->req->limit_bytes);
	mail_rules_limit(&row, MAIL_LIMIT_MESSAGES, a->req->limit_messages);
	mail_rules_limit(&row, MAIL_LIMIT_MAILBOXES, a->req->limit_mailboxes);
	mail_rules_take(&row, &a->rules);
	if ((rc = mail_acct_put(txn, &row)) != 0 ||
	    (rc = mail_change_begin(&c, a->store, txn)) != 0 ||
	    (rc = mail_create_mailbox(&c, shelf_span_str("INBOX"), 0, &inbox)) != 0 ||
	    (rc = mail_change_end(&c)) != 0)
		return rc;
	return mail_totals_enter(txn, shelf_span_str(a->name));
}

static void
made_rows(void *arg, int rc)
{
	struct adding *a = arg;
	struct add_batch *b = a->batch;

	a->rc = rc;
	pthread_mutex_lock(&b->lock);
	if (--b->waiting == 0)
		pthread_cond_signal(&b->done);
	pthread_mutex_unlock(&b->lock);
}

static int
publish(struct kv_txn *txn, void *arg)
{
	struct add_batch *b = arg;

	for (size_t i = 0; i < b->n; i++) {
		struct adding *a = &b->list[i];
		struct mail_user user = {
		    .services = SHELF_SERVICE_ALL,
		    .created_s = shelf_now_s(),
		    .name = shelf_span_str(a->name),
		    .hash = shelf_span_str(a->hash),
		    .keys = a->keys,
		};
		struct shelf_span value;
		uint8_t id[4];
		int rc;

		if (a->id == 0 || (a->rc != 0 && a->rc != SHELF_EEXISTS))
			continue;
		/* Somebody else may have been faster; told anew each time the closure runs. */
		rc = kv_get(kv_txn_view(txn), KV_ADDR, user.name, &value);
		if (rc != SHELF_EMISSING) {
			if (rc != 0)
				return rc;
			a->rc = SHELF_EEXISTS;
			continue;
		}
		a->rc = 0;
		base_put_be32(id, a->id);
		if ((rc = kv_put(txn, KV_ADDR, user.name, shelf_span(id, 4))) != 0 ||
		    (rc = mail_user_put(txn, a->id, &user)) != 0)
			return rc;
	}
	return 0;
}

struct publishing {
	uint32_t id;
	const struct mail_user *user;
};

static int
publish_one(struct kv_txn *txn, void *arg)
{
	const struct publishing *p = arg;
	struct shelf_span value;
	uint8_t id[4];
	int rc = kv_get(kv_txn_view(txn), KV_ADDR, p->user->name, &value);

	if (rc != SHELF_EMISSING)
		return rc == 0 ? SHELF_EEXISTS : rc;
	base_put_be32(id, p->id);
	rc = kv_put(txn, KV_ADDR, p->user->name, shelf_span(id, 4));
	return rc != 0 ? rc : mail_user_put(txn, p->id, p->user);
}

int
mail_account_publish(struct shelf_store *store, uint32_t id, const struct mail_user *u)
{
	struct publishing p = {id, u};
	uint32_t shard;
	int rc = kv_shard_of(store->kv, id, &shard);

	if (rc == 0)
		rc = mail_pool_ready(store, u->name, shard);
	return rc != 0 ? rc : kv_update(store->kv, KV_CATALOG, KV_ADDS, publish_one, &p);
}

/* Its partition knows of the pool of its domain. */
static int
ready(struct shelf_store *store, const struct adding *a)
{
	uint32_t shard;
	int rc = kv_shard_of(store->kv, a->id, &shard);

	return rc != 0 ? rc : mail_pool_ready(store, shelf_span_str(a->name), shard);
}

/* Ids, rows, names of those that nothing speaks against. */
static int
store_batch(struct add_batch *b)
{
	struct kv_submission *submit;
	size_t n = 0;
	uint32_t id;
	int rc;

	for (size_t i = 0; i < b->n; i++)
		b->ids += b->list[i].rc == 0;
	if (b->ids == 0)
		return 0;
	if ((rc = kv_update(b->store->kv, KV_CATALOG, KV_ADDS, take_ids, b)) != 0 ||
	    (rc = kv_place(b->store->kv, b->first_id, b->ids)) != 0)
		return rc;
	b->waiting = b->ids;
	submit = shelf_zalloc(b->ids * sizeof(*submit));
	id = b->first_id;
	for (size_t i = 0; i < b->n; i++) {
		struct adding *a = &b->list[i];

		if (a->rc != 0)
			continue;
		a->id = id++;
		submit[n++] = (struct kv_submission){a->id, a};
	}
	kv_submit_all(b->store->kv, KV_ADDS | KV_QUIET, make_rows, made_rows, submit, n);
	free(submit);
	pthread_mutex_lock(&b->lock);
	while (b->waiting > 0)
		pthread_cond_wait(&b->done, &b->lock);
	pthread_mutex_unlock(&b->lock);
	for (size_t i = 0; i < b->n; i++)
		if (b->list[i].id != 0 && b->list[i].rc == 0 && (rc = ready(b->store, &b->list[i])) != 0)
			return rc;
	return kv_update(b->store->kv, KV_CATALOG, KV_ADDS, publish, b);
}

/* Where it lives, even if it moves at this moment. */
static int
leave_account_job(struct kv_txn *txn, void *arg)
{
	uint8_t key[5] = {MAIL_JOB_ACCOUNT};

	base_put_be32(key + 1, *(uint32_t *)arg);
	return kv_put(txn, KV_JOB, shelf_span(key, sizeof(key)), shelf_span(NULL, 0));
}

/* Rows made for a name that somebody else was faster to take are nobody's: the purge clears them. */
static void
give_up_rows(struct add_batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct adding *a = &b->list[i];
		int rc;

		if (a->id == 0 || a->rc != SHELF_EEXISTS)
			continue;
		rc = kv_update(b->store->kv, a->id, KV_QUIET, leave_account_job, &a->id);
		if (rc != 0)
			shelf_log(SHELF_LOG_WARN, "rows of nobody stay", "account", "%u", a->id, "error",
			    "%s", shelf_err_text(rc), NULL);
	}
}

static int
add_slice(struct shelf_store *store, const struct shelf_account_new *list, size_t n, int *rc_out,
	  uint32_t *id_out)
{
	struct add_batch b = {.store = store, .n = n};
	int rc;

	b.list = shelf_zalloc(n * sizeof(*b.list));
	pthread_mutex_init(&b.lock, NULL);
	pthread_cond_init(&b.done, NULL);
	for (size_t i = 0; i < n; i++) {
		b.list[i] = (struct adding){.store = store, .req = &list[i], .batch = &b};
		b.list[i].rc = mail_account_name(list[i].name, b.list[i].name);
		if (b.list[i].rc == 0)
			b.list[i].rc = shelf_policy_get(store, shelf_span_str(b.list[i].name), &b.list[i].rules);
	}
	if ((rc = pass_over_known(&b)) == 0) {
		hash_all(&b);
		rc = store_batch(&b);
		give_up_rows(&b);
	}
	for (size_t i = 0; i < n; i++) {
		struct adding *a = &b.list[i];

		if (rc != 0 && a->rc == 0)
			a->rc = rc;
		if (rc_out != NULL)
			rc_out[i] = a->rc;
		if (id_out != NULL)
			id_out[i] = a->rc == 0 ? a->id : 0;
	}
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = b.list[i].rc;
	pthread_cond_destroy(&b.done);
	pthread_mutex_destroy(&b.lock);
	explicit_bzero(b.list, n * sizeof(*b.list));
	free(b.list);
	return rc;
}

int
shelf_account_add(struct shelf_store *store, const struct shelf_account_new *list, size_t n,
		  int *rc_out, uint32_t *id_out)
{
	int first = 0;

	for (size_t from = 0; from < n; from += ADD_SLICE) {
		size_t count = n - from < ADD_SLICE ? n - from : ADD_SLICE;
		int rc = add_slice(store, list + from, count, rc_out == NULL ? NULL : rc_out + from,
				   id_out == NULL ? NULL : id_out + from);

		first = first != 0 ? first : rc;
	}
	return first;
}

/* ---- Finding ------------------------------------------------------------------------------------------ */

int
mail_account_out(struct shelf_store *store, uint32_t id, const struct mail_user *u,
		 struct shelf_account *out)
{
	*out = (struct shelf_account){
	    .id = id,
	    .services = u->services,
	    .disabled = u->disabled,
	    .has_password = u->hash.len > 0 || u->keys.has != 0,
	    .created_s = u->created_s,
	};
	memcpy(out->name, u->name.data, u->name.len);
	return kv_shard_of(store->kv, id, &out->partition);
}

int
mail_user_find(struct kv_view *view, struct shelf_span name, uint32_t *id, struct mail_user *u)
{
	char folded[SHELF_ACCOUNT_NAME_MAX + 1];
	struct shelf_span value;
	int rc;

	if (mail_account_name(name, folded) != 0)
		return SHELF_ENOACCOUNT;
	if ((rc = kv_get(view, KV_ADDR, shelf_span_str(folded), &value)) != 0)
		return rc == SHELF_EMISSING ? SHELF_ENOACCOUNT : rc;
	if (value.len != 4)
		return SHELF_ECORRUPT;
	*id = base_get_be32(value.data);
	rc = mail_user_get(view, *id, u);
	return rc == SHELF_ENOACCOUNT ? SHELF_ECORRUPT : rc;
}

int
shelf_account_find(struct shelf_store *store, struct shelf_span name, struct shelf_account *out)
{
	struct kv_view *view = NULL;
	struct mail_user u;
	uint32_t id;
	int rc;

	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	if ((rc = mail_user_find(view, name, &id, &u)) == 0)
		rc = mail_account_out(store, id, &u, out);
	kv_view_end(&view);
	return rc;
}

int
shelf_account_get(struct shelf_store *store, uint32_t id, struct shelf_account *out)
{
	struct kv_view *view = NULL;
	struct mail_user u;
	int rc;

	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	if ((rc = mail_user_get(view, id, &u)) == 0)
		rc = mail_account_out(store, id, &u, out);
	kv_view_end(&view);
	return rc;
}

enum { EACH_SLICE = 64 };

/* Reads the next names behind AFTER; they are handed out without a snapshot. */
static int
next_accounts(struct shelf_store *store, struct shelf_span after, struct shelf_account *out,
	      size_t *n_out)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_user u;
	int rc;

	*n_out = 0;
	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = kv_scan_open(view, KV_ADDR, shelf_span(NULL, 0), after, &scan);
	while (rc == 0 && *n_out < EACH_SLICE && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		rc = 0;
		if (shelf_span_eq(key, after))
			continue;
		if (value.len != 4)
			rc = SHELF_ECORRUPT;
		else if ((rc = mail_user_get(view, base_get_be32(value.data), &u)) == 0)
			rc = mail_account_out(store, base_get_be32(value.data), &u, &out[(*n_out)++]);
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

int
shelf_account_each(struct shelf_store *store, shelf_account_fn *fn, void *arg)
{
	struct shelf_account *list = shelf_zalloc(EACH_SLICE * sizeof(*list));
	char after[SHELF_ACCOUNT_NAME_MAX + 1] = "";
	size_t n = 0;
	int rc;

	do {
		rc = next_accounts(store, shelf_span_str(after), list, &n);
		for (size_t i = 0; i < n && rc == 0; i++)
			rc = fn(arg, &list[i]);
		if (n > 0)
			memcpy(after, list[n - 1].name, sizeof(after));
	} while (rc == 0 && n == EACH_SLICE);
	free(list);
	return rc;
}

/* ---- Changing ----------------------------------------------------------------------------------------- */

struct user_change {
	uint32_t id;
	bool set_services, remove;
	unsigned services;
	bool disabled;
	const char *hash; /* the new one; NULL: it stays */
	const char *only; /* nothing is changed unless this is the hash; NULL: whatever it is */
	const struct mail_keys *keys; /* NULL: they stay */
	struct shelf_buf given; /* remove: whom the account gives rights (shared.c) */
};

static int
remove_user(struct kv_txn *txn, const struct user_change *ch, struct shelf_span name)
{
	char text[SHELF_ACCOUNT_NAME_MAX + 1] = "";
	int rc = kv_del(txn, KV_ADDR, name);

	memcpy(text, name.data, name.len);
	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
	if ((rc = mail_policy_forget(txn, text)) != 0 || (rc = mail_expire_forget(txn, text)) != 0 ||
	    (rc = mail_shared_leave(txn, ch->id, shelf_buf_span(&ch->given))) != 0)
		return rc;
	return mail_user_del(txn, ch->id);
}

static int
change_user(struct kv_txn *txn, void *arg)
{
	struct user_change *ch = arg;
	struct shelf_buf row = {0};
	struct mail_user u;
	int rc = mail_user_copy(kv_txn_view(txn), ch->id, &row, &u);

	if (rc != 0)
		goto out;
	if (ch->remove) {
		rc = remove_user(txn, ch, u.name);
		goto out;
	}
	if (ch->only != NULL && !shelf_span_eq(u.hash, shelf_span_str(ch->only)))
		goto out;
	/* A password of an app came meanwhile: its salt must stay. */
	if (ch->keys != NULL && u.apps.n > 0 && !scram_same_salt(&ch->keys->salt, &u.keys.salt))
		rc = SHELF_EBUSY;
	if (rc != 0)
		goto out;
	if (ch->set_services) {
		u.services = ch->services & (SHELF_SERVICE_ALL | SHELF_SERVICE_ADMIN);
		u.disabled = ch->disabled;
	}
	if (ch->hash != NULL)
		u.hash = shelf_span_str(ch->hash);
	if (ch->keys != NULL)
		u.keys = *ch->keys;
	rc = mail_user_put(txn, ch->id, &u);
out:
	shelf_buf_free(&row);
	return rc;
}

uint64_t
shelf_accounts_version(struct shelf_store *store)
{
	return kv_commits_seen(store->kv, KV_SHARDS_MAX);
}

static int
touch(struct kv_txn *txn, void *arg)
{
	struct mail_change c;
	int rc = mail_change_begin(&c, arg, txn);

	if (rc != 0)
		return rc;
	mail_change_modseq(&c);
	return mail_change_end(&c);
}

/* The catalog tells nobody: its sessions wake by a change of the account, in every process. What fails here has
 * been done all the same; they see it with their next command. */
static void
tell_sessions(struct shelf_store *store, uint32_t id)
{
	int rc = kv_update(store->kv, id, 0, touch, store);

	if (rc != 0 && rc != SHELF_ENOACCOUNT)
		shelf_log(SHELF_LOG_WARN, "sessions not told", "account", "%u", id, "error", "%s",
			  shelf_err_name(rc), NULL);
}

int
shelf_account_set_services(struct shelf_store *store, uint32_t id, unsigned services, bool disabled)
{
	struct user_change ch = {
	    .id = id, .set_services = true, .services = services, .disabled = disabled};
	int rc = kv_update(store->kv, KV_CATALOG, 0, change_user, &ch);

	if (rc == 0)
		tell_sessions(store, id);
	return rc;
}

/* ONLY: nothing changes unless this is the hash; NULL: whatever it is. */
static int
set_password(struct shelf_store *store, uint32_t id, struct shelf_span password, const char *only)
{
	char hash[MAIL_HASH_MAX] = "";
	struct mail_keys keys = {.has = 0};
	struct user_change ch = {.id = id, .hash = hash, .keys = &keys, .only = only};
	struct shelf_buf name = {0};
	struct kv_view *view = NULL;
	struct mail_user u;
	int rc = kv_view_begin(store->kv, KV_CATALOG, &view);

	if (rc == 0 && (rc = mail_user_get(view, id, &u)) == 0)
		shelf_buf_add_span(&name, u.name);
	kv_view_end(&view);
	if (rc == 0 && password.len > 0)
		rc = login_hash(password, hash, sizeof(hash));
	/* The salt stays as long as passwords of apps need it. */
	if (rc == 0)
		rc = mail_keys_make(store, shelf_buf_cstr(&name), password, u.apps.n > 0 ? &u.keys : NULL, &keys);
	shelf_buf_free(&name);
	return rc != 0 ? rc : kv_update(store->kv, KV_CATALOG, 0, change_user, &ch);
}

int
shelf_account_set_password(struct shelf_store *store, uint32_t id, struct shelf_span password)
{
	return set_password(store, id, password, NULL);
}

int
mail_account_renew(struct shelf_store *store, uint32_t id, const char *hash, struct shelf_span password)
{
	return set_password(store, id, password, hash);
}

int
shelf_account_set_hash(struct shelf_store *store, uint32_t id, struct shelf_span hash)
{
	char kept[MAIL_HASH_MAX];
	struct mail_keys keys = {.has = 0};
	struct user_change ch = {.id = id, .hash = kept, .keys = &keys};
	struct kv_view *view = NULL;
	struct mail_user u;
	int rc = scheme_take(hash, kept);

	if (rc != 0 || (rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	/* The salt stays as long as passwords of apps need it. */
	if ((rc = mail_user_get(view, id, &u)) == 0 && u.apps.n > 0)
		keys.salt = u.keys.salt;
	kv_view_end(&view);
	return rc != 0 ? rc : kv_update(store->kv, KV_CATALOG, 0, change_user, &ch);
}

bool
shelf_hash_known(struct shelf_span hash)
{
	char kept[MAIL_HASH_MAX];

	return scheme_take(hash, kept) == 0;
}

int
mail_account_set_keys(struct shelf_store *store, uint32_t id, const char *hash, const struct mail_keys *keys)
{
	struct user_change ch = {.id = id, .only = hash, .keys = keys};

	return kv_update(store->kv, KV_CATALOG, KV_ADDS, change_user, &ch);
}

/* The job first: should the machine stop in between, the purge finds a job for an account that still has
 * a name, and leaves it alone (purge.c). */
int
shelf_account_delete(struct shelf_store *store, uint32_t id)
{
	struct user_change ch = {.id = id, .remove = true};
	struct shelf_account account;
	int rc;

	if ((rc = shelf_account_get(store, id, &account)) != 0 ||
	    (rc = mail_shared_forget(store, account.name)) != 0 ||
	    (rc = mail_shared_given(store, id, account.partition, &ch.given)) != 0 ||
	    (rc = kv_update(store->kv, id, KV_QUIET, leave_account_job, &id)) != 0 ||
	    (rc = kv_update(store->kv, KV_CATALOG, 0, change_user, &ch)) != 0)
		goto out;
	tell_sessions(store, id);
out:
	shelf_buf_free(&ch.given);
	return rc;
}
