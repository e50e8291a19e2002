/*
 * shared.c - the index of who shares something with whom: catalog table SHARED
 *
 * key      name of the user, cut like the key of MNAME | 0 | account that shares u32
 * value    1 | when it was last written, seconds 8
 *
 * What must stay true: an entry that gives rights has a row here (acl.h). A row is written, or made young again,
 * before the entry, and goes only when it is old and the account has no entry any more for that user: who was
 * writing one meanwhile made the row young first. So a young row outlives even the account of its name. Rows too
 * many cost a look, no more.
 */
#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "acl.h"

enum { FORMAT = 1, YOUNG_S = 1800, OLD_S = 3600, SLICE_ROWS = 300 };

static const struct shelf_span anyone = {(const uint8_t *)"anyone", 6};

static struct mail_key
key_of(struct shelf_span who, uint32_t owner)
{
	struct mail_key key = mail_name_key(who);

	key.bytes[key.len] = 0;
	base_put_be32(key.bytes + key.len + 1, owner);
	key.len += 5;
	return key;
}

static int
decode(struct shelf_span value, int64_t *written_s)
{
	struct base_reader r = base_reader(value);

	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	*written_s = (int64_t)base_get_le(&r, 8);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

struct one {
	struct mail_key key;
};

static int
read_age(struct kv_view *view, const struct mail_key *key, int64_t *age_s)
{
	struct shelf_span value;
	int64_t written_s;
	int rc = kv_get(view, KV_SHARED, mail_key_span(key), &value);

	if (rc == 0 && (rc = decode(value, &written_s)) == 0)
		*age_s = shelf_now_s() - written_s;
	return rc;
}

static int
put(struct kv_txn *txn, void *arg)
{
	const struct one *one = arg;
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, (uint64_t)shelf_now_s(), 8);
	rc = kv_put(txn, KV_SHARED, mail_key_span(&one->key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

int
shared_put(struct shelf_store *store, struct shelf_span who, uint32_t owner)
{
	struct one one = {key_of(who, owner)};
	struct kv_view *view = NULL;
	int64_t age_s = 0;
	int rc;

	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = read_age(view, &one.key, &age_s);
	kv_view_end(&view);
	if (rc == 0 && age_s >= 0 && age_s < YOUNG_S)
		return 0;
	return kv_update(store->kv, KV_CATALOG, KV_ADDS, put, &one);
}

static int
del_old(struct kv_txn *txn, void *arg)
{
	const struct one *one = arg;
	int64_t age_s = 0;
	int rc = read_age(kv_txn_view(txn), &one->key, &age_s);

	if (rc == SHELF_EMISSING || (rc == 0 && age_s < OLD_S))
		return 0;
	return rc != 0 ? rc : kv_del(txn, KV_SHARED, mail_key_span(&one->key));
}

struct looking {
	struct shelf_span who;
	bool found;
};

static int
look(void *arg, const struct acl_row *row)
{
	struct looking *l = arg;

	l->found = l->found || (!row->negative && shelf_span_eq(row->who, l->who));
	return l->found;
}

void
shared_settle(struct shelf_store *store, const char *who, uint32_t owner)
{
	struct looking l = {shelf_span_str(who), false};
	struct one one = {key_of(l.who, owner)};
	struct kv_view *view = NULL;
	int rc;

	if ((rc = kv_view_begin(store->kv, owner, &view)) != 0)
		return;
	rc = acl_each(view, 0, look, &l);
	kv_view_end(&view);
	if (rc == 0 && !l.found)
		rc = kv_update(store->kv, KV_CATALOG, 0, del_old, &one);
	if (rc < 0)
		shelf_log(SHELF_LOG_WARN, "index of shares not tidied", "account", "%u", owner, "error", "%s",
			  shelf_err_name(rc), NULL);
}

int
shared_has(struct kv_view *catalog, struct shelf_span who, uint32_t owner, bool *has)
{
	struct mail_key key = key_of(who, owner);
	int64_t age_s;
	int rc = read_age(catalog, &key, &age_s);

	*has = rc == 0;
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* ---- Reading ------------------------------------------------------------------------------------- */

struct owners {
	uint32_t *list;
	size_t n, room;
};

static int
add_owners(struct kv_view *view, struct shelf_span who, struct owners *o)
{
	struct mail_key prefix = key_of(who, 0);
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	prefix.len -= 4;
	rc = kv_scan_open(view, KV_SHARED, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != prefix.len + 4)
			continue;
		if (o->n == o->room) {
			o->room = o->room == 0 ? 16 : o->room * 2;
			o->list = shelf_realloc(o->list, o->room * sizeof(*o->list));
		}
		o->list[o->n++] = base_get_be32(key.data + prefix.len);
	}
	kv_scan_close(&scan);
	return rc;
}

static int
ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int
shelf_sharers(struct shelf_store *store, const char *name, uint32_t **owners_out, size_t *count_out)
{
	struct kv_view *view = NULL;
	struct owners o = {0};
	size_t n = 0;
	int rc;

	*owners_out = NULL;
	*count_out = 0;
	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	if ((rc = add_owners(view, shelf_span_str(name), &o)) == 0)
		rc = add_owners(view, anyone, &o);
	kv_view_end(&view);
	if (rc != 0) {
		free(o.list);
		return rc;
	}
	if (o.n > 0)
		qsort(o.list, o.n, sizeof(*o.list), ascending);
	for (size_t i = 0; i < o.n; i++)
		if (n == 0 || o.list[n - 1] != o.list[i])
			o.list[n++] = o.list[i];
	*owners_out = o.list;
	*count_out = n;
	return 0;
}

/* ---- Accounts that go and come ------------------------------------------------------------------- */

struct forgetting {
	struct shelf_store *store;
	const char *name;
	bool more;
};

struct victim {
	const char *name;
	struct mail_key key;
};

static int
find_victim(void *arg, const struct acl_row *row)
{
	struct victim *v = arg;

	if (!shelf_span_eq(row->who, shelf_span_str(v->name)))
		return 0;
	v->key = acl_key(row->mailbox, row->negative, row->who);
	return 1;
}

/* Some hundred entries for a name; in the account that shares. */
static int
forget_entries(struct kv_txn *txn, void *arg)
{
	struct forgetting *f = arg;
	struct victim v = {.name = f->name};
	struct mail_change c;
	int rc;

	f->more = false;
	if ((rc = mail_change_begin(&c, f->store, txn)) != 0)
		return rc;
	while ((rc = acl_each(kv_txn_view(txn), 0, find_victim, &v)) == 1) {
		if (kv_txn_writes(txn) >= SLICE_ROWS) {
			f->more = true;
			break;
		}
		if ((rc = kv_del(txn, KV_ACL, mail_key_span(&v.key))) != 0)
			return rc;
	}
	return rc < 0 ? rc : mail_change_end(&c);
}

static int
del(struct kv_txn *txn, void *arg)
{
	const struct one *one = arg;
	int rc = kv_del(txn, KV_SHARED, mail_key_span(&one->key));

	return rc == SHELF_EMISSING ? 0 : rc;
}

int
mail_shared_forget(struct shelf_store *store, const char *name)
{
	struct forgetting f = {.store = store, .name = name};
	struct kv_view *view = NULL;
	struct owners o = {0};
	int rc;

	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = add_owners(view, shelf_span_str(name), &o);
	kv_view_end(&view);
	for (size_t i = 0; i < o.n && rc == 0; i++) {
		struct one one = {key_of(shelf_span_str(name), o.list[i])};

		do {
			rc = kv_update(store->kv, o.list[i], 0, forget_entries, &f);
		} while (rc == 0 && f.more);
		if (rc == 0 || rc == SHELF_ENOACCOUNT)
			rc = kv_update(store->kv, KV_CATALOG, 0, del_old, &one);
	}
	free(o.list);
	return rc;
}

/* Whom an account gives rights, each once; ARG has their names as texts. */
static int
add_given(void *arg, const struct acl_row *row)
{
	struct shelf_buf *names = arg;
	struct base_reader r = base_reader(shelf_buf_span(names));

	if (row->negative || row->who.len == 0)
		return 0;
	while (base_left(&r) > 0)
		if (shelf_span_eq(base_get_text(&r), row->who))
			return 0;
	base_add_text(names, row->who);
	return 0;
}

int
shared_given(struct kv_view *view, struct shelf_buf *names)
{
	shelf_buf_clear(names);
	return acl_each(view, 0, add_given, names);
}

int
mail_shared_given(struct shelf_store *store, uint32_t account, uint32_t shard, struct shelf_buf *names)
{
	struct kv_view *view = NULL;
	int rc;

	shelf_buf_clear(names);
	if ((rc = kv_view_begin_shard(store->kv, shard, &view)) != 0)
		return rc;
	kv_view_account(view, account);
	rc = shared_given(view, names);
	kv_view_end(&view);
	return rc;
}

int
mail_shared_enter(struct shelf_store *store, uint32_t account, uint32_t shard)
{
	struct shelf_buf names = {0};
	struct base_reader r;
	int rc = mail_shared_given(store, account, shard, &names);

	for (r = base_reader(shelf_buf_span(&names)); rc == 0 && base_left(&r) > 0;)
		rc = shared_put(store, base_get_text(&r), account);
	shelf_buf_free(&names);
	return rc;
}

int
mail_shared_leave(struct kv_txn *catalog, uint32_t account, struct shelf_span names)
{
	struct base_reader r = base_reader(names);
	int rc = 0;

	while (rc == 0 && base_left(&r) > 0) {
		struct one one = {key_of(base_get_text(&r), account)};

		rc = del(catalog, &one);
	}
	return rc;
}
