/*
 * kv.c - views, scans and writes: the limits, the scopes and the account in front of the key
 *
 * What must stay true: nothing that was handed out survives a write of its update or the end of its
 * view, and no pointer into the map is passed to a write (LMDB moves pages under it): keys and values
 * are copied first. With SHELF_SLOW_CHECKS what is handed out is a copy that is freed when it dies, so
 * that a stale span is a report of the address sanitizer and not a rare bug.
 */
#include <stdlib.h>
#include <time.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include "base.h"
#include "kv_internal.h"

int (*kv_fault)(enum kv_point point);

const uint8_t kv_scope_of[KV_TABLES] = {
#define KV_TABLE(name, scope, key, value) KV_SCOPE_##scope,
#include "kv_tables.def"
#undef KV_TABLE
};

const char *const kv_name_of[KV_TABLES] = {
#define KV_TABLE(name, scope, key, value) #name,
#include "kv_tables.def"
#undef KV_TABLE
};

bool
kv_table_of_account(enum kv_table table)
{
	return kv_scope_of[table] == KV_SCOPE_ACCOUNT;
}

const char *
kv_table_name(enum kv_table table)
{
	return kv_name_of[table];
}

int
kv_fault_at(enum kv_point point)
{
	return kv_fault == NULL ? 0 : kv_fault(point);
}

int64_t
kv_coarse_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool
kv_lives_in(const struct kv_env *env, enum kv_table table)
{
	return (kv_scope_of[table] == KV_SCOPE_CATALOG) == (env->shard == KV_SHARDS_MAX);
}

/* ---- Copies handed out in checked builds ------------------------------------------------------- */

#ifdef SHELF_SLOW_CHECKS
struct kv_copy {
	struct kv_copy *next;
	uint8_t *data;
};

static struct shelf_span
hand_out(struct kv_view *view, struct shelf_span s)
{
	struct kv_copy *copy = SHELF_NEW(struct kv_copy);

	copy->data = shelf_alloc(s.len + 1);
	if (s.len > 0)
		memcpy(copy->data, s.data, s.len);
	copy->next = view->copies;
	view->copies = copy;
	return shelf_span(copy->data, s.len);
}

static void
forget_copies(struct kv_view *view)
{
	while (view->copies != NULL) {
		struct kv_copy *copy = view->copies;

		view->copies = copy->next;
		free(copy->data);
		free(copy);
	}
}
#else
static struct shelf_span
hand_out(struct kv_view *view, struct shelf_span s)
{
	return s;
}

static void
forget_copies(struct kv_view *view)
{
}
#endif

/* Scans end here but keep their kv_cursor, which kv_scan_close gives back whenever it comes. */
void
kv_view_release(struct kv_view *view)
{
	while (view->cursors != NULL) {
		struct kv_cursor *cursor = view->cursors;

		view->cursors = cursor->next;
		kv_lmdb_cursor_close(cursor->mdb);
		cursor->mdb = NULL;
	}
	forget_copies(view);
}

/* ---- Views -------------------------------------------------------------------------------------- */

struct kv_env *
kv_env_of(struct kv_db *db, uint32_t shard)
{
	if (shard == KV_SHARDS_MAX)
		return &db->catalog;
	return shard < db->shards ? &db->shard[shard] : NULL;
}

int
kv_env_there(struct kv_db *db, uint32_t shard, struct kv_env **out)
{
	int rc = 0;

	*out = kv_env_of(db, shard);
	if (*out == NULL && (rc = kv_refresh(db)) == 0)
		*out = kv_env_of(db, shard);
	return rc == 0 && *out == NULL ? SHELF_ECORRUPT : rc;
}

int
kv_env_of_account(struct kv_db *db, uint32_t account, struct kv_env **out)
{
	uint32_t shard = KV_SHARDS_MAX;
	int rc = account == KV_CATALOG ? 0 : kv_place_known(db, account, &shard);

	*out = NULL;
	return rc != 0 ? rc : kv_env_there(db, shard, out);
}

static int
view_begin(struct kv_env *env, uint32_t account, struct kv_view **out)
{
	struct kv_view *view;
	int rc = kv_file_view(env, &view);

	*out = NULL;
	if (rc != 0)
		return rc;
	view->account = account;
	view->begun_ms = kv_coarse_ms();
	atomic_fetch_add_explicit(&env->views, 1, memory_order_relaxed);
	*out = view;
	return 0;
}

/* The snapshot itself says whether the account lives there, so that what is read is never of a copy. */
int
kv_view_find(struct kv_db *db, uint32_t account, struct kv_view **out, uint64_t *move_out)
{
	struct kv_view *view = NULL;
	struct kv_env *env;
	uint32_t shard = KV_SHARDS_MAX;
	int rc = kv_env_of_account(db, account, &env);

	*out = NULL;
	*move_out = 0;
	while (rc == 0 && (rc = view_begin(env, account, &view)) == 0) {
		rc = account == KV_CATALOG ? 0 : kv_leave_look(view->file, view->mdb, account, move_out, &shard);
		if (rc == 0)
			break;
		kv_view_end(&view);
		if (rc == 1)
			rc = kv_env_there(db, shard, &env);
	}
	if (rc == 0 && *move_out != 0)
		kv_place_remember(db, account, view->env->shard);
	*out = view;
	return rc;
}

int
kv_view_begin(struct kv_db *db, uint32_t account, struct kv_view **out)
{
	uint64_t move;

	return kv_view_find(db, account, out, &move);
}

int
kv_view_begin_shard(struct kv_db *db, uint32_t shard, struct kv_view **out)
{
	*out = NULL;
	if (shard >= db->shards)
		return SHELF_EINVALID;
	return view_begin(&db->shard[shard], 0, out);
}

void
kv_view_account(struct kv_view *view, uint32_t account)
{
	SHELF_ASSERT(view->update == NULL && view->env->shard != KV_SHARDS_MAX);
	view->account = account;
}

int
kv_view_next_account(struct kv_view *view, enum kv_table table, uint32_t after, uint32_t *account_out)
{
	struct MDB_cursor *cursor = NULL;
	struct shelf_span key, value;
	uint8_t from[KV_ACCOUNT_BYTES];
	int rc;

	if ((unsigned)table >= KV_TABLES || !kv_lives_in(view->env, table) ||
	    kv_scope_of[table] != KV_SCOPE_ACCOUNT)
		return SHELF_EINVALID;
	if (after == UINT32_MAX)
		return 0;
	base_put_be32(from, after + 1);
	if (view->salvage != NULL) {
		rc = kv_salvage_seek(view, table, shelf_span(from, sizeof from), &key, &value);
	} else {
		rc = kv_lmdb_cursor_open(view->file, view->mdb, table, &cursor);
		if (rc != 0)
			return rc;
		rc = kv_lmdb_cursor_seek(view->file, cursor, shelf_span(from, sizeof from), &key,
		    &value);
	}
	if (rc == 1 && key.len < KV_ACCOUNT_BYTES)
		rc = SHELF_ECORRUPT;
	if (rc == 1)
		*account_out = base_get_be32(key.data);
	if (cursor != NULL)
		kv_lmdb_cursor_close(cursor);
	return rc;
}

void
kv_view_end(struct kv_view **view_ptr)
{
	struct kv_view *view = *view_ptr;
	struct kv_env *env;
	int64_t age_ms;

	*view_ptr = NULL;
	if (view == NULL)
		return;
	SHELF_ASSERT(view->update == NULL);
	env = view->env;
	kv_view_release(view);
	if (view->salvage != NULL) {
		kv_salvage_view_end(view);
		return;
	}
	age_ms = kv_coarse_ms() - view->begun_ms;
	if (age_ms > KV_VIEW_MAX_MS) {
		atomic_fetch_add_explicit(&env->slow_views, 1, memory_order_relaxed);
		shelf_log(SHELF_LOG_WARN, "kv slow view", "shard", "%u", env->shard, "account", "%u",
		    view->account, "ms", "%lld", (long long)age_ms, NULL);
	}
	kv_file_view_end(view);
	atomic_fetch_sub(&env->views, 1);
}

uint32_t
kv_view_shard(const struct kv_view *view)
{
	return view->env->shard;
}

struct kv_db *
kv_view_db(const struct kv_view *view)
{
	return view->salvage != NULL ? NULL : view->env->db;
}

/* ---- Keys ----------------------------------------------------------------------------------------- */

static int
check_table(const struct kv_view *view, enum kv_table table)
{
	if ((unsigned)table >= KV_TABLES || !kv_lives_in(view->env, table))
		return SHELF_EINVALID;
	if (kv_scope_of[table] == KV_SCOPE_ACCOUNT && view->account == 0)
		return SHELF_EINVALID;
	return 0;
}

static void
build_key(uint32_t account, enum kv_table table, struct shelf_span key, struct kv_full_key *out)
{
	size_t n = 0;

	if (kv_scope_of[table] == KV_SCOPE_ACCOUNT) {
		base_put_be32(out->bytes, account);
		n = KV_ACCOUNT_BYTES;
	}
	if (key.len > 0)
		memcpy(out->bytes + n, key.data, key.len);
	out->len = n + key.len;
}

int
kv_make_key(const struct kv_view *view, enum kv_table table, struct shelf_span key,
    struct kv_full_key *out)
{
	int rc = check_table(view, table);

	if (rc != 0)
		return rc;
	if (key.len > KV_KEY_MAX)
		return SHELF_ETOOBIG;
	build_key(view->account, table, key, out);
	return out->len == 0 ? SHELF_EINVALID : 0;
}

static int
get_salvaged(struct kv_view *view, enum kv_table table, struct shelf_span key, struct shelf_span *value)
{
	struct shelf_span found;
	int rc = kv_salvage_seek(view, table, key, &found, value);

	if (rc < 0)
		return rc;
	return rc == 1 && shelf_span_eq(found, key) ? 0 : SHELF_EMISSING;
}

int
kv_get(struct kv_view *view, enum kv_table table, struct shelf_span key, struct shelf_span *value_out)
{
	struct kv_full_key full;
	struct shelf_span value;
	int rc = kv_make_key(view, table, key, &full);

	*value_out = shelf_span(NULL, 0);
	if (rc == 0 && view->update != NULL)
		rc = view->update->failed;
	if (rc == 0 && view->salvage != NULL)
		rc = get_salvaged(view, table, shelf_span(full.bytes, full.len), &value);
	else if (rc == 0)
		rc = kv_lmdb_get(view->file, view->mdb, table, shelf_span(full.bytes, full.len), &value);
	if (rc == 0)
		*value_out = hand_out(view, value);
	return rc;
}

int
kv_count(struct kv_view *view, enum kv_table table, uint64_t *rows_out)
{
	*rows_out = 0;
	if ((unsigned)table >= KV_TABLES || !kv_lives_in(view->env, table))
		return SHELF_EINVALID;
	return kv_lmdb_count(view->file, view->mdb, table, rows_out);
}

/* ---- Scans ------------------------------------------------------------------------------------------ */

enum { SCAN_OPENED, SCAN_MOVED, SCAN_ENDED };

int
kv_scan_open(struct kv_view *view, enum kv_table table, struct shelf_span prefix, struct shelf_span from,
    struct kv_scan *scan)
{
	struct kv_cursor *cursor;
	int rc = check_table(view, table);

	scan->cursor = NULL;
	scan->state = SCAN_ENDED;
	if (rc != 0)
		return rc;
	if (prefix.len > sizeof scan->prefix || from.len > sizeof scan->from)
		return SHELF_ETOOBIG;
	if (from.len > 0 && (from.len < prefix.len ||
	    (prefix.len > 0 && memcmp(from.data, prefix.data, prefix.len) != 0)))
		return SHELF_EINVALID;
	if (from.len == 0)
		from = prefix;
	if (view->update != NULL && view->update->failed != 0)
		return view->update->failed;

	cursor = SHELF_NEW(struct kv_cursor);
	cursor->account = view->account;
	if (view->salvage == NULL) {
		rc = kv_lmdb_cursor_open(view->file, view->mdb, table, &cursor->mdb);
		if (rc != 0) {
			free(cursor);
			return rc;
		}
		cursor->next = view->cursors;
		cursor->link = &view->cursors;
		if (cursor->next != NULL)
			cursor->next->link = &cursor->next;
		view->cursors = cursor;
	}

	scan->view = view;
	scan->table = table;
	scan->cursor = cursor;
	scan->state = SCAN_OPENED;
	scan->prefix_len = prefix.len;
	scan->from_len = from.len;
	if (prefix.len > 0)
		memcpy(scan->prefix, prefix.data, prefix.len);
	if (from.len > 0)
		memcpy(scan->from, from.data, from.len);
	return 0;
}

/* The account and the prefix in front of a row's key are still the scan's own. */
static bool
in_scan(const struct kv_scan *scan, uint32_t account, struct shelf_span *key)
{
	if (kv_scope_of[scan->table] == KV_SCOPE_ACCOUNT) {
		if (key->len < KV_ACCOUNT_BYTES || base_get_be32(key->data) != account)
			return false;
		key->data += KV_ACCOUNT_BYTES;
		key->len -= KV_ACCOUNT_BYTES;
	}
	return key->len >= scan->prefix_len && memcmp(key->data, scan->prefix, scan->prefix_len) == 0;
}

/* The next row by its key alone; scan->from goes behind it. */
static int
next_salvaged(struct kv_scan *scan, uint32_t account, struct shelf_span *key, struct shelf_span *value)
{
	size_t skip = kv_scope_of[scan->table] == KV_SCOPE_ACCOUNT ? KV_ACCOUNT_BYTES : 0;
	struct kv_full_key full;
	int rc;

	build_key(account, scan->table, shelf_span(scan->from, scan->from_len), &full);
	rc = kv_salvage_seek(scan->view, scan->table, shelf_span(full.bytes, full.len), key, value);
	if (rc == 1 && key->len >= skip && key->len - skip < sizeof scan->from) {
		scan->from_len = key->len - skip;
		memcpy(scan->from, key->data + skip, scan->from_len);
		scan->from[scan->from_len++] = 0;
	}
	return rc;
}

int
kv_scan_next(struct kv_scan *scan, struct shelf_span *key, struct shelf_span *value)
{
	struct kv_cursor *cursor = scan->cursor;
	struct kv_file *file;
	struct kv_full_key full;
	int rc;

	*key = *value = shelf_span(NULL, 0);
	if (cursor == NULL)
		return SHELF_EINVALID;
	if (cursor->mdb == NULL && scan->view->salvage == NULL)
		return SHELF_EINVALID; /* a write or the end of the view came between */
	if (scan->state == SCAN_ENDED)
		return 0;
	file = scan->view->file;
	if (scan->view->salvage != NULL) {
		rc = next_salvaged(scan, cursor->account, key, value);
	} else if (scan->state == SCAN_OPENED) {
		build_key(cursor->account, scan->table, shelf_span(scan->from, scan->from_len), &full);
		rc = kv_lmdb_cursor_seek(file, cursor->mdb, shelf_span(full.bytes, full.len), key, value);
		scan->state = SCAN_MOVED;
	} else {
		rc = kv_lmdb_cursor_next(file, cursor->mdb, key, value);
	}
	if (rc == 1 && !in_scan(scan, cursor->account, key))
		rc = 0;
	if (rc != 1) {
		scan->state = SCAN_ENDED;
		*key = *value = shelf_span(NULL, 0);
		return rc;
	}
	*key = hand_out(scan->view, *key);
	*value = hand_out(scan->view, *value);
	return 1;
}

void
kv_scan_close(struct kv_scan *scan)
{
	struct kv_cursor *cursor = scan->cursor;

	scan->cursor = NULL;
	scan->state = SCAN_ENDED;
	if (cursor == NULL)
		return;
	if (cursor->mdb != NULL) {
		*cursor->link = cursor->next;
		if (cursor->next != NULL)
			cursor->next->link = cursor->link;
		kv_lmdb_cursor_close(cursor->mdb);
	}
	free(cursor);
}
