/*
 * kv_compact.c - a new generation of an environment, made beside readers and writers
 *
 *   begin    lock of kv_move.c; room on the disk; an empty next generation; the log is switched on
 *   copy     table by table, in slices of a short snapshot and one transaction of the new file
 *            each. What changes behind a slice is in the log, so that slices need not be of one snapshot
 *   replay   the keys in the log as they are now, in rounds, until few are left
 *   cut      holding the write lock of the old file: the rest of the log, the new file synced,
 *            "moved" committed in the old one. This is the moment
 *   settle   the text names the new one, the old one is removed
 *
 * What must stay true: the new file is not believed before "moved" is on disk: until then any error removes
 * it and nothing has happened. The number of commits never goes back (kv_file.base). Writers wait only for
 * the last few keys and one flush.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include "base.h"
#include "kv_internal.h"

enum {
	SLICE_MS = 100,
	SLICE_BYTES = 8 << 20,
	SLICE_ROWS = 20000,
	SYNC_SLICES = 8,        /* so that the last flush is short */
	FEW_ROWS = 500,         /* replayed while writers wait */
	ROUNDS_MAX = 200,       /* of replaying; then writers wait for more than a few */
	SLACK_BYTES = 4 << 20,
};

struct compaction {
	struct kv_env *env;
	struct kv_file *from, *to;
	uint32_t generation;
	kv_compact_fn *step;
	void *arg;
	uint64_t live_bytes;
	unsigned slices;
	struct kv_log_key key;    /* the last one done: of a table, or of the log */
	bool moved;               /* or it may be: TO stays, whatever comes */
};

/* ---- Slices --------------------------------------------------------------------------------------- */

/* One step of the work: reads R, writes W; counts what it did. 1: more is left, 0: not, or an error. */
typedef int slice_fn(struct compaction *c, struct MDB_txn *r, struct MDB_txn *w, unsigned table,
    unsigned *rows_out);

static int
report(struct compaction *c)
{
	struct kv_lmdb_info info;
	uint64_t done;

	if (c->step == NULL)
		return 0;
	kv_lmdb_info(c->to, &info);
	done = info.pages * c->to->page_bytes;
	return c->step(c->arg, done < c->live_bytes ? done : c->live_bytes, c->live_bytes);
}

static int
run_slice(struct compaction *c, slice_fn *fn, unsigned table, unsigned *rows_out)
{
	struct MDB_txn *r = NULL, *w = NULL;
	int rc = kv_fault_at(KV_AT_COMPACT), more = 0;

	*rows_out = 0;
	if (rc == 0)
		rc = kv_lmdb_read_begin(c->from, &r);
	if (rc == 0)
		rc = kv_lmdb_write_begin(c->to, &w);
	if (rc == 0)
		more = fn(c, r, w, table, rows_out);
	if (r != NULL)
		kv_lmdb_abort(r);
	if (rc == 0 && more >= 0)
		rc = kv_lmdb_commit(c->to, w);
	else if (w != NULL)
		kv_lmdb_abort(w);
	if (rc == 0 && ++c->slices % SYNC_SLICES == 0)
		rc = kv_lmdb_sync(c->to);
	if (rc == 0 && more >= 0)
		rc = report(c);
	return rc != 0 ? rc : more;
}

static int
keep_key(struct compaction *c, struct shelf_span key)
{
	if (key.len > sizeof c->key.bytes)
		return SHELF_ECORRUPT;
	memcpy(c->key.bytes, key.data, key.len);
	c->key.len = key.len;
	return 0;
}

/* To the first row behind c->key. */
static int
seek_behind(struct compaction *c, struct MDB_cursor *cursor, struct shelf_span *key,
    struct shelf_span *value)
{
	struct shelf_span from = shelf_span(c->key.bytes, c->key.len);
	int rc = kv_lmdb_cursor_seek(c->from, cursor, from, key, value);

	if (rc == 1 && from.len > 0 && shelf_span_eq(*key, from))
		rc = kv_lmdb_cursor_next(c->from, cursor, key, value);
	return rc;
}

static bool
slice_full(int64_t begun_ms, unsigned rows, uint64_t bytes)
{
	return rows >= SLICE_ROWS || bytes >= SLICE_BYTES || kv_coarse_ms() - begun_ms >= SLICE_MS;
}

/* ---- Copy ----------------------------------------------------------------------------------------- */

static int
copy_rows(struct compaction *c, struct MDB_txn *r, struct MDB_txn *w, unsigned table, unsigned *rows_out)
{
	int64_t begun_ms = kv_coarse_ms();
	struct MDB_cursor *cursor;
	struct shelf_span key, value;
	uint64_t bytes = 0;
	int rc = kv_lmdb_cursor_open(c->from, r, table, &cursor), put_rc = 0;

	if (rc != 0)
		return rc;
	rc = seek_behind(c, cursor, &key, &value);
	while (rc == 1) {
		put_rc = kv_lmdb_append(c->to, w, table, key, value);
		if (put_rc == 0)
			put_rc = keep_key(c, key);
		if (put_rc != 0)
			break;
		bytes += key.len + value.len;
		if (slice_full(begun_ms, ++*rows_out, bytes))
			break;
		rc = kv_lmdb_cursor_next(c->from, cursor, &key, &value);
	}
	kv_lmdb_cursor_close(cursor);
	return put_rc != 0 ? put_rc : rc;
}

static int
copy(struct compaction *c)
{
	unsigned rows;
	int rc = 0;

	for (unsigned table = 0; rc == 0 && table < KV_TABLES; table++) {
		if (!kv_lives_in(c->env, (enum kv_table)table))
			continue;
		c->key.len = 0;
		do {
			rc = run_slice(c, copy_rows, table, &rows);
		} while (rc == 1);
	}
	return rc;
}

/* ---- Replay --------------------------------------------------------------------------------------- */

/* The row of a logged key as it is in R. */
static int
replay_one(struct compaction *c, struct MDB_txn *r, struct MDB_txn *w, struct shelf_span log)
{
	struct shelf_span key, value;
	unsigned table;
	int rc;

	if (log.len <= KV_LOG_HEAD)
		return SHELF_ECORRUPT;
	table = log.data[KV_LOG_HEAD - 1];
	if (table >= KV_TABLES || !kv_lives_in(c->env, (enum kv_table)table))
		return SHELF_ECORRUPT;
	key = shelf_span(log.data + KV_LOG_HEAD, log.len - KV_LOG_HEAD);
	rc = kv_lmdb_get(c->from, r, table, key, &value);
	if (rc == 0)
		return kv_lmdb_put(c->to, w, table, key, value);
	if (rc == SHELF_EMISSING)
		rc = kv_lmdb_del(c->to, w, table, key);
	return rc == SHELF_EMISSING ? 0 : rc;
}

static int
replay_rows(struct compaction *c, struct MDB_txn *r, struct MDB_txn *w, unsigned table, unsigned *rows_out)
{
	int64_t begun_ms = kv_coarse_ms();
	struct MDB_cursor *cursor;
	struct shelf_span key, value;
	int rc = kv_lmdb_cursor_open(c->from, r, table, &cursor), one_rc = 0;

	if (rc != 0)
		return rc;
	rc = seek_behind(c, cursor, &key, &value);
	while (rc == 1) {
		if (key.len == 0 || key.data[0] != KV_LOG_MARK)
			rc = SHELF_ECORRUPT; /* nothing of this table sorts behind the log */
		else if ((one_rc = replay_one(c, r, w, key)) != 0)
			rc = one_rc;
		else
			rc = keep_key(c, key);
		if (rc != 0)
			break;
		rc = 1;
		if (slice_full(begun_ms, ++*rows_out, 0))
			break;
		rc = kv_lmdb_cursor_next(c->from, cursor, &key, &value);
	}
	kv_lmdb_cursor_close(cursor);
	return rc;
}

static int
replay(struct compaction *c)
{
	unsigned rows;
	int rc = 1;

	for (int i = 0; i < ROUNDS_MAX && rc >= 0; i++) {
		rc = run_slice(c, replay_rows, KV_OWN, &rows);
		if (rc == 0 && rows <= FEW_ROWS)
			break;
	}
	return rc < 0 ? rc : 0;
}

/* ---- Cut ------------------------------------------------------------------------------------------ */

/* Every table has as many rows in the one file as in the other. */
static int
compare(struct compaction *c, struct MDB_txn *r, struct MDB_txn *w)
{
	uint64_t old, new;
	int rc = 0;

	for (unsigned table = 0; rc == 0 && table < KV_TABLES; table++) {
		if (!kv_lives_in(c->env, (enum kv_table)table))
			continue;
		rc = kv_lmdb_count(c->from, r, table, &old);
		if (rc == 0)
			rc = kv_lmdb_count(c->to, w, table, &new);
		if (rc == 0 && old != new) {
			shelf_log(SHELF_LOG_ERROR, "kv compaction differs", "shard", "%u", c->env->shard,
			    "table", "%s", kv_name_of[table], "rows", "%llu", (unsigned long long)old,
			    "copied", "%llu", (unsigned long long)new, NULL);
			rc = SHELF_ECORRUPT;
		}
	}
	return rc;
}

/* With the write lock of the old file: the new one becomes all that the old one is, on disk. */
static int
complete(struct compaction *c, struct MDB_txn *old)
{
	struct MDB_txn *w = NULL;
	uint8_t base[8];
	unsigned rows = 0;
	bool on;
	int rc = kv_log_is_on(c->from, old, &on);

	if (rc == 0 && !on)
		rc = SHELF_ECANCELLED; /* somebody took this compaction for dead */
	if (rc == 0)
		rc = kv_lmdb_write_begin(c->to, &w);
	if (rc != 0)
		return rc;
	do {
		rc = replay_rows(c, old, w, KV_OWN, &rows);
	} while (rc == 1);
	if (rc == 0)
		rc = compare(c, old, w);
	if (rc == 0) {
		/* What is in TO with this transaction is what FROM is with OLD. */
		uint64_t number = kv_lmdb_number(c->from, old) - kv_lmdb_number(c->to, w);

		base_put_be64(base, number);
		rc = kv_lmdb_put(c->to, w, KV_OWN, shelf_span_str("base"), shelf_span(base, 8));
		if (rc == 0) {
			rc = kv_lmdb_commit(c->to, w);
			w = NULL;
			c->to->base = number;
		}
	}
	if (w != NULL)
		kv_lmdb_abort(w);
	if (rc == 0)
		rc = kv_lmdb_lazy(c->to, false);
	return rc == 0 ? kv_lmdb_sync(c->to) : rc;
}

static int
leave(struct compaction *c, struct MDB_txn **old)
{
	uint8_t next[4];
	int rc;

	base_put_be32(next, c->generation);
	rc = kv_lmdb_put(c->from, *old, KV_OWN, shelf_span_str("moved"), shelf_span(next, 4));
	if (rc != 0)
		return rc;
	/* Before another thread of this process looks for the next file itself. */
	pthread_mutex_lock(&c->env->move_lock);
	rc = kv_lmdb_commit(c->from, *old);
	*old = NULL;
	c->moved = rc == 0 || rc == SHELF_EUNKNOWN;
	if (rc == 0) {
		kv_file_replace(c->env, c->to);
		c->to = NULL;
	}
	pthread_mutex_unlock(&c->env->move_lock);
	return rc;
}

static int
cut(struct compaction *c)
{
	struct MDB_txn *old = NULL;
	char *path = kv_move_path(c->env, c->generation);
	int rc = kv_lmdb_sync(c->to);

	if (rc == 0)
		rc = kv_sync_dir(path);
	if (rc == 0)
		rc = kv_sync_dir(c->env->home);
	if (rc == 0)
		rc = kv_fault_at(KV_AT_COMPACT);
	if (rc == 0)
		rc = kv_lmdb_write_begin(c->from, &old);
	if (rc == 0)
		rc = complete(c, old);
	if (rc == 0)
		rc = kv_fault_at(KV_AT_COMPACT);
	if (rc == 0)
		rc = leave(c, &old);
	if (old != NULL)
		kv_lmdb_abort(old);
	free(path);
	return rc;
}

/* ---- From begin to end ----------------------------------------------------------------------------- */

static int
check_room(struct compaction *c, struct kv_compacted *out)
{
	struct kv_lmdb_info info;
	struct statvfs fs;
	uint64_t usable, free_pages;
	int rc = kv_lmdb_free_pages(c->from, &usable, &free_pages);

	if (rc != 0)
		return rc;
	if (statvfs(c->env->home, &fs) != 0)
		return kv_system_error("statvfs", c->env->home);
	kv_lmdb_info(c->from, &info);
	out->before_bytes = info.pages * c->from->page_bytes;
	c->live_bytes = out->before_bytes - free_pages * c->from->page_bytes;
	out->need_bytes = c->live_bytes + c->live_bytes / 16 + SLACK_BYTES;
	out->disk_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return out->disk_free_bytes < out->need_bytes ? SHELF_EFULL : 0;
}

static int
make_next(struct compaction *c)
{
	char *path = kv_move_path(c->env, c->generation);
	int rc = 0;

	if (mkdir(path, 0700) != 0)
		rc = kv_system_error("mkdir", path);
	if (rc == 0) {
		c->to = kv_file_new(c->env, c->generation);
		rc = kv_lmdb_open(c->to, path, true);
	}
	if (rc == 0)
		rc = kv_lmdb_lazy(c->to, true);
	free(path);
	return rc;
}

/* A state of the log, committed; the log begins behind that commit. */
static int
switch_log(struct compaction *c, enum kv_log_state state)
{
	struct MDB_txn *txn = NULL;
	uint64_t number = 0;
	int rc = kv_lmdb_write_begin(c->from, &txn);

	if (rc != 0)
		return rc;
	number = kv_lmdb_number(c->from, txn);
	rc = kv_log_set(c->from, txn, state);
	if (rc == 0)
		rc = kv_lmdb_commit(c->from, txn);
	else
		kv_lmdb_abort(txn);
	kv_log_key(KV_LOG_MARK, number + 1, 0, shelf_span(NULL, 0), &c->key);
	return rc;
}

static int
run(struct compaction *c)
{
	struct kv_log_key log;
	int rc = make_next(c);

	if (rc == 0)
		rc = kv_fault_at(KV_AT_COMPACT);
	if (rc == 0)
		rc = switch_log(c, KV_LOG_ON);
	log = c->key;
	if (rc == 0) {
		rc = copy(c);
		c->key = log;
		if (rc == 0)
			rc = replay(c);
		if (rc == 0)
			rc = cut(c);
		if (rc != 0 && !c->moved && switch_log(c, KV_LOG_DROP) != 0)
			shelf_log(SHELF_LOG_WARN, "kv log stays", "shard", "%u", c->env->shard, NULL);
	}
	if (rc == 0)
		rc = kv_fault_at(KV_AT_COMPACT);
	kv_file_free(&c->to); /* but not after the move: then it is the present one */
	return rc;
}

int
kv_compact(struct kv_db *db, uint32_t shard, kv_compact_fn *step, void *arg, struct kv_compacted *out)
{
	struct compaction c = {.env = kv_env_of(db, shard), .step = step, .arg = arg};
	struct kv_view *view = NULL;
	struct kv_lmdb_info info;
	int rc, fd = -1;

	memset(out, 0, sizeof *out);
	if (c.env == NULL)
		return SHELF_EINVALID;
	rc = kv_move_lock_patiently(c.env, &fd);
	if (rc != 0)
		return rc;
	/* The present file; under the lock it stays the present one. */
	rc = kv_file_view(c.env, &view);
	if (rc != 0)
		goto out;
	kv_file_view_end(view);
	c.from = kv_file_take(c.env);
	c.generation = c.from->generation + 1;
	rc = kv_move_settle(c.env, c.from->generation);
	if (rc == 0)
		rc = check_room(&c, out);
	if (rc == 0)
		rc = run(&c);
	/* A move of unknown outcome leaves both files. After a certain one nothing can fail that matters. */
	if ((!c.moved || rc != SHELF_EUNKNOWN) &&
	    kv_move_settle(c.env, c.generation - !c.moved) != 0)
		shelf_log(SHELF_LOG_WARN, "kv leftovers stay", "shard", "%u", shard, NULL);
	kv_file_look(c.env, &info);
	out->after_bytes = info.pages * c.from->page_bytes;
	kv_file_release(c.from);
out:
	close(fd);
	return rc;
}
