/*
 * kv.h - ordered maps in transactions of one account: the seam under the engine
 *
 * Shape     Tables (kv_tables.def) of byte keys in memcmp order. Every view and every update names one
 *           account and sees that account's rows, plus the tables its shard shares. Account 0 is the
 *           catalog. Nothing here says LMDB: another engine (a SQL server) can be put under it, and
 *           tests/unit/test_kv.c is the suite it must pass.
 * Limits    Key 255 bytes (without the account), value 4,080 bytes, a view or an update at most 2 s.
 *           Kept by every engine: SHELF_ETOOBIG.
 * Errors    SHELF_EMISSING for a key that is not there; SHELF_EFULL when map or disk is full (nothing
 *           of the update happened, the store stays usable); SHELF_EIO; SHELF_EUNKNOWN when a commit may or
 *           may not be on disk: then that shard answers SHELF_EIO until nobody uses it, and is then
 *           opened again; SHELF_ECORRUPT;
 *           SHELF_EINVALID for a table that does not live there (scopes: kv_tables.def).
 * Threads   struct kv_db: any number. A view: one at a time. An update's closure runs on the shard's
 *           committer thread.
 */
#ifndef ENGINE_KV_H
#define ENGINE_KV_H

#include <mailshelf/buf.h>
#include <mailshelf/durations.h>
#include <mailshelf/err.h>
#include <mailshelf/span.h>

enum { KV_KEY_MAX = 255, KV_VALUE_MAX = 4080, KV_SHARDS_MAX = 64, KV_CATALOG = 0 /* account */ };
/* Older snapshots make the file grow; each is logged and counted. With sanitizers everything takes four times
 * as long, and tests run beside each other. */
#ifdef SHELF_SLOW_CHECKS
enum { KV_VIEW_MAX_MS = 8000 };
#else
enum { KV_VIEW_MAX_MS = 2000 };
#endif

enum kv_table {
#define KV_TABLE(name, scope, key, value) KV_##name,
#include "kv_tables.def"
#undef KV_TABLE
	KV_TABLES
};

/* For who copies an account row by row: is this a table of accounts, and its name, which outlives its number. */
bool kv_table_of_account(enum kv_table table);
const char *kv_table_name(enum kv_table table);

struct kv_db;
struct kv_view;
struct kv_txn;

struct kv_params {
	uint32_t shards;        /* 1..KV_SHARDS_MAX */
	uint64_t map_bytes;     /* of each shard, a multiple of 4096 */
	uint64_t reserve_bytes; /* of each shard, for updates without KV_ADDS */
	/* SHARDS directories that exist, each for a shard, as absolute paths; NULL, and NULL for a shard: DIR. */
	const char *const *directories;
};

/* Makes the files of an empty database in DIR, which exists. SHELF_EEXISTS: there is one already, or something of
 * another one in one of the directories. */
SHELF_CHECK int kv_create(const char *dir, const struct kv_params *params);
/* SHELF_EBUSY: open in this process already. Starts one committer per shard (at its first update). */
SHELF_CHECK int kv_open(const char *dir, struct kv_db **out);
void kv_close(struct kv_db **db); /* waits for updates that were submitted */
uint32_t kv_shards(const struct kv_db *db); /* may grow: kv_add_shard, of any process */
/* Opens shards that another process has added: kv_shards() is right then. */
SHELF_CHECK int kv_refresh(struct kv_db *db);
/*
 * One more shard, in DIRECTORY (an absolute path) or, if that is NULL, in DIR. Other processes that have the
 * database open find it when they place an account or look for one that lives there.
 * SHELF_ELIMIT: there are KV_SHARDS_MAX; SHELF_EEXISTS: something is there in its place; SHELF_EBUSY.
 */
SHELF_CHECK int kv_add_shard(struct kv_db *db, const char *directory);
/* For who reads the files of a closed database by other means: the present data file of a shard
 * (KV_SHARDS_MAX: the catalog). PATH_OUT is set in any case; SHELF_EMISSING: no such file. */
SHELF_CHECK int kv_data_file(const char *dir, uint32_t shard, struct shelf_buf *path_out);
/* Of an open one: the directory, which a compaction changes, and the number of its disk. */
SHELF_CHECK int kv_where(struct kv_db *db, uint32_t shard, struct shelf_buf *path_out, uint64_t *device_out);

/* ---- Placement -------------------------------------------------------------------------------- */

/* Decides where accounts FIRST .. FIRST + COUNT - 1 live and records it in the catalog: not in full shards; on the
 * disk that has most free space for each account placed there; there, in the shard with the fewest accounts.
 * Safe to repeat: a placed account stays. */
SHELF_CHECK int kv_place(struct kv_db *db, uint32_t first, uint32_t count);
/* Where it lives at this moment: in the next it may have moved. SHELF_ENOACCOUNT */
SHELF_CHECK int kv_shard_of(struct kv_db *db, uint32_t account, uint32_t *shard_out);
/* Where kv_place would put one more account if SHARD were not there. SHELF_EFULL: nowhere. */
SHELF_CHECK int kv_place_beside(struct kv_db *db, uint32_t shard, uint32_t *shard_out);

/* ---- Reading ------------------------------------------------------------------------------------ */

/* A consistent snapshot. Values and keys returned live until kv_view_end, never longer. */
SHELF_CHECK int kv_view_begin(struct kv_db *db, uint32_t account, struct kv_view **out);
/* A snapshot of a shard as a whole, for check and removal: only its SHARD tables, and the rows of any
 * account through kv_view_account(). */
SHELF_CHECK int kv_view_begin_shard(struct kv_db *db, uint32_t shard, struct kv_view **out);
/* Goes on with another account of the same shard, in the same snapshot. */
void kv_view_account(struct kv_view *view, uint32_t account);
/* The first account behind AFTER that has a row in TABLE (of scope ACCOUNT): 1 found, 0 none. */
SHELF_CHECK int kv_view_next_account(struct kv_view *view, enum kv_table table, uint32_t after,
    uint32_t *account_out);
void kv_view_end(struct kv_view **view);
uint32_t kv_view_shard(const struct kv_view *view);
struct kv_db *kv_view_db(const struct kv_view *view); /* NULL: of salvage, which has none */

SHELF_CHECK int kv_get(struct kv_view *view, enum kv_table table, struct shelf_span key,
    struct shelf_span *value_out);

/* Rows of a whole table, of all accounts; without a walk. */
SHELF_CHECK int kv_count(struct kv_view *view, enum kv_table table, uint64_t *rows_out);

/*
 * Walks the keys that begin with PREFIX, ascending, from the first >= FROM (FROM begins with PREFIX, or
 * is empty: from the start). kv_scan_next: 1 a row, 0 the end, or an error. Keys come without the account.
 * In an update, a write ends every scan of that update (kv_scan_next: SHELF_EINVALID): open a new one
 * behind the last key.
 */
struct kv_scan {
	struct kv_view *view;
	enum kv_table table;
	void *cursor;
	size_t prefix_len;
	uint8_t prefix[KV_KEY_MAX];
	uint8_t from[KV_KEY_MAX + 1]; /* a key of full length and a zero byte: behind it */
	size_t from_len;
	int state;
};
SHELF_CHECK int kv_scan_open(struct kv_view *view, enum kv_table table, struct shelf_span prefix,
    struct shelf_span from, struct kv_scan *scan);
SHELF_CHECK int kv_scan_next(struct kv_scan *scan, struct shelf_span *key, struct shelf_span *value);
void kv_scan_close(struct kv_scan *scan);

/* ---- Writing ------------------------------------------------------------------------------------ */

/*
 * An update is a closure. The shard's committer runs the closures waiting for it in one transaction
 * and one flush, in the order of their submission. A closure may run again (when another one of the
 * group failed), so it has no effect outside the transaction but on its own ARG, which it sets from the
 * start each time. It returns 0, or an error: then nothing of it happens and the caller gets the error.
 * It must not block, compress, or call kv_update.
 */
typedef int kv_update_fn(struct kv_txn *txn, void *arg);
typedef void kv_done_fn(void *arg, int rc);

enum {
	KV_ADDS = 1,  /* takes room: refused with SHELF_EFULL while only the reserve is left */
	KV_KEEPS = 4, /* keeps something of what it removes: refused while less than half the reserve is left */
	KV_QUIET = 2, /* tells no listener (kv_set_listener) */
};
/* Blocks until the commit is on disk. */
SHELF_CHECK int kv_update(struct kv_db *db, uint32_t account, unsigned flags, kv_update_fn *fn, void *arg);
/*
 * An update of two accounts that live in the same shard: FN begins in ACCOUNT and goes to OTHER and back with
 * kv_txn_set_account(). SHELF_EBUSY: they do not, or not any more, or OTHER is on its way to another shard.
 */
SHELF_CHECK int kv_update_both(struct kv_db *db, uint32_t account, uint32_t other, unsigned flags, kv_update_fn *fn,
    void *arg);
/* The same as kv_update without waiting; done(done_arg, rc) on the committer's thread, which must only signal. */
void kv_submit(struct kv_db *db, uint32_t account, unsigned flags, kv_update_fn *fn, void *arg,
    kv_done_fn *done, void *done_arg);
/*
 * Many of them, FN(txn, arg) and then done(arg, rc) for each: those of a shard are queued at once, so that they share
 * as few commits as there can be, whatever else the machine does.
 */
struct kv_submission {
	uint32_t account;
	void *arg;
};
void kv_submit_all(struct kv_db *db, unsigned flags, kv_update_fn *fn, kv_done_fn *done,
    const struct kv_submission *list, size_t n);
/* An update of a shard's shared tables, of no account until kv_txn_set_account(). */
SHELF_CHECK int kv_update_shard(struct kv_db *db, uint32_t shard, unsigned flags, kv_update_fn *fn, void *arg);

/* Reads inside an update; what they return lives until the next write of the update. */
struct kv_view *kv_txn_view(struct kv_txn *txn);
uint32_t kv_txn_account(const struct kv_txn *txn);
void kv_txn_set_account(struct kv_txn *txn, uint32_t account); /* in kv_update_shard, kv_update_both */
SHELF_CHECK int kv_put(struct kv_txn *txn, enum kv_table table, struct shelf_span key,
    struct shelf_span value);
/*
 * The same for the end of something long: VALUE, of 1..KV_VALUE_MAX bytes, becomes one row or a few, with
 * the keys KEY and a u32 that counts from N, cut where rows fill pages best. Read one after the other they
 * are VALUE again; nothing else may be read out of where the cuts are. KEY and VALUE are not what a view
 * handed out.
 */
SHELF_CHECK int kv_put_cut(struct kv_txn *txn, enum kv_table table, struct shelf_span key, uint32_t n,
    struct shelf_span value);
/* SHELF_EMISSING when it is not there. */
SHELF_CHECK int kv_del(struct kv_txn *txn, enum kv_table table, struct shelf_span key);
/* Rows written and removed so far by this closure: a closure that slices its work stops near 400. */
unsigned kv_txn_writes(const struct kv_txn *txn);

/* ---- Moving an account ---------------------------------------------------------------------------- */

/*
 * An account moves to another shard while every process goes on using it:
 *
 *   kv_leave_begin            from now on the keys of what is changed in it are known
 *   the caller copies         its rows, by views and updates of shards, and again what kv_leave_changes tells of
 *   kv_leave_close            updates of the account wait (not longer than two seconds: then it is open again)
 *   the caller copies the rest
 *   kv_leave_end              one transaction of the shard it leaves: views and updates of the account, also those that
 *                             wait, are of the other shard
 *   kv_settle                 who does not know where it lives looks there first
 *
 * A handle that is freed before the end, or a process that dies, and the account is where it was.
 */
struct kv_leave;
struct kv_change { /* a row of the account that was written or removed */
	enum kv_table table;
	size_t len;
	uint8_t key[KV_KEY_MAX];
};
/* SHELF_ENOACCOUNT; SHELF_EBUSY: another account is leaving that shard, or it is being compacted. */
SHELF_CHECK int kv_leave_begin(struct kv_db *db, uint32_t account, struct kv_leave **out);
uint32_t kv_leave_from(const struct kv_leave *leave);
/* The next keys, up to MAX; the same one may come again. 1 there are more, 0 none at this moment. A view begun
 * later sees those changes. */
SHELF_CHECK int kv_leave_changes(struct kv_leave *leave, struct kv_change *list, size_t max, size_t *n_out);
/* May be called again when it did not last. */
SHELF_CHECK int kv_leave_close(struct kv_leave *leave);
/* FN runs in that transaction, of no account until kv_txn_set_account. SHELF_ECANCELLED: there are changes that
 * kv_leave_changes has not told of, the account is open again. */
SHELF_CHECK int kv_leave_end(struct kv_leave *leave, uint32_t to, kv_update_fn *fn, void *arg);
void kv_leave_free(struct kv_leave **leave);
/* PLACE, and how many accounts are placed where, become what is so; a shard that it has come back to forgets that it
 * had left. Safe to repeat, by anybody. */
SHELF_CHECK int kv_settle(struct kv_db *db, uint32_t account);
/* Of an account that is no more: no shard says any more that it has left. */
SHELF_CHECK int kv_forget(struct kv_db *db, uint32_t account);
/* In a view or an update of a shard: has ACCOUNT left it (and perhaps come back, but nobody has settled that)? */
SHELF_CHECK int kv_has_left(struct kv_view *view, uint32_t account, bool *out);

/* ---- Changes, numbers, tests ---------------------------------------------------------------------- */

/* fn(arg, account) after each commit, for every account changed in it. On the committer's thread. */
void kv_set_listener(struct kv_db *db, void (*fn)(void *arg, uint32_t account), void *arg);
/* Number of the shard's last commit, by any process; costs nanoseconds. A view begun after a new number
 * was seen here sees that commit. */
uint64_t kv_commits_seen(struct kv_db *db, uint32_t shard);

struct kv_stats {
	uint64_t file_bytes, free_bytes, map_bytes;
	uint64_t reserve_bytes; /* of the map: what updates with KV_ADDS must leave */
	uint64_t disk_bytes, disk_free_bytes; /* of the file system */
	uint64_t commits, updates;
	struct shelf_durations commit_durations; /* writing and syncing; of this process */
	uint32_t readers, stale_readers_cleared;
	uint32_t slow_views; /* of this process, ended after more than KV_VIEW_MAX_MS */
};
SHELF_CHECK int kv_stats(struct kv_db *db, uint32_t shard, struct kv_stats *out); /* KV_SHARDS_MAX: catalog */
/* A snapshot of any process that keeps pages from being used again. */
struct kv_reader {
	int pid;
	uint64_t commits;    /* since it was taken */
	uint64_t held_bytes; /* pages freed by them */
	int64_t age_ms;      /* at least: it was watched for so long */
};
/* The oldest one, looked at for up to WATCH_MS: 1 there is one that is behind, 0 none, or an error. */
SHELF_CHECK int kv_oldest_reader(struct kv_db *db, uint32_t shard, unsigned watch_ms, struct kv_reader *out);
/* Clears what killed processes left in the reader table. Also done by kv_open, when there is no room, and each
 * minute (a number for tests) by every committer that has begun to work. */
void kv_clear_readers(struct kv_db *db);
extern int64_t kv_clear_readers_s;
/* How long (a number for tests) a disk that was found full is not asked again, and a shard that lost a meta page not
 * opened again. */
extern int64_t kv_retry_ms;

/* ---- Compaction ----------------------------------------------------------------------------------- */

struct kv_compacted {
	uint64_t before_bytes, after_bytes;    /* of the file, up to the last page in use */
	uint64_t need_bytes, disk_free_bytes;  /* at the start: what it takes, and what there was */
};
/* Now and then: bytes of the new file so far, and what it will have, about. Not 0: ends with that error. */
typedef int kv_compact_fn(void *arg, uint64_t done, uint64_t total);
/*
 * Rewrites a shard (KV_SHARDS_MAX: the catalog) into a new file without what is free in the old one, while
 * all processes go on reading and writing; at the end they go on in the new one. STEP may be NULL. May end
 * at any moment, by a crash too, and nothing has happened.
 * SHELF_EBUSY: a compaction of this shard is running. SHELF_EFULL: the disk has not the room for both.
 */
SHELF_CHECK int kv_compact(struct kv_db *db, uint32_t shard, kv_compact_fn *step, void *arg,
    struct kv_compacted *out);

/* Tests only: called before each write, around each commit and at each step of a compaction; a return value
 * other than 0 is injected as that operation's error (a failed commit is tried once more; behind a commit
 * any error is SHELF_EUNKNOWN). NULL: off. May end the process. */
enum kv_point { KV_AT_PUT, KV_AT_DEL, KV_BEFORE_COMMIT, KV_AFTER_COMMIT, KV_AT_COMPACT };
extern int (*kv_fault)(enum kv_point point);

#endif
