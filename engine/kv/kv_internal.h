/*
 * kv_internal.h - what the files of this room know of each other
 *
 *   kv_dir.c     the directory: create, open, close, one open per process
 *   kv.c         views and scans: reads on tables, with their limits and scopes
 *   kv_write.c   what a closure may do to its transaction
 *   kv_commit.c  committers: queue, group, redo
 *   kv_room.c    who may still take room: map, free list, disk blocks
 *   kv_stats.c   numbers, reader table
 *   kv_place.c   which account lives in which shard
 *   kv_salvage.c views of a damaged environment, without LMDB; kv_page.c its pages
 *   kv_lmdb.c    the only file that includes lmdb.h
 *
 * Locks, taken left to right and never the other way: kv_env.lock -> nothing; kv_db.listener_lock is
 * held around the listener; kv_env.pool_lock around two pointer moves.
 */
#ifndef ENGINE_KV_INTERNAL_H
#define ENGINE_KV_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <mailshelf/buf.h>
#include "kv.h"

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;

enum kv_scope { KV_SCOPE_ACCOUNT, KV_SCOPE_SHARD, KV_SCOPE_CATALOG };

enum {
	KV_ACCOUNT_BYTES = 4,                             /* the account in front of a key */
	KV_FULL_KEY_MAX = KV_ACCOUNT_BYTES + KV_KEY_MAX + 1, /* + 1: "behind the longest key" */
	KV_POOL_MAX = 64,                                 /* idle read transactions kept per environment */
	KV_GROUP_MAX = 64,                                /* closures in one commit */
};

/* One LMDB environment: a shard or the catalog. */
/* How full the last leaf page of a table is that grows at its end; for packing only, may be wrong. */
struct kv_leaf {
	uint64_t txn;  /* of the last row appended */
	uint32_t used; /* bytes; 0: not known */
};

struct kv_env {
	struct kv_db *db;
	uint32_t shard; /* KV_SHARDS_MAX: the catalog */
	struct MDB_env *mdb;
	unsigned dbi[KV_TABLES]; /* of the tables that live here */
	unsigned own_dbi;        /* this room's own table, see kv_lmdb_turn */
	struct kv_leaf leaf[KV_TABLES]; /* the committer's */
	uint32_t page_bytes;
	uint64_t map_bytes, reserve_bytes;

	atomic_bool dead;     /* a commit's outcome is unknown: nothing works until the process restarts */
	atomic_ullong seen;   /* highest number kv_commits_seen() has returned */
	atomic_ullong commits, updates;
	atomic_uint stale_cleared, slow_views;
	atomic_int views;     /* handed out */

	pthread_mutex_t pool_lock;
	struct kv_view *pool; /* views with a reset read transaction */
	unsigned pool_count;

	pthread_mutex_t lock; /* guards what follows, up to the room */
	pthread_cond_t work;
	struct kv_job *head, **tail;
	bool started, stopping;
	pthread_t thread;

	/* Room: the committer's own, but for full. */
	uint64_t reserved_end;    /* blocks of the file are allocated up to here, bytes */
	int64_t probe_ms;         /* disk found full: not asked again before */
	bool disk_full;
	atomic_bool full;         /* the last update with KV_ADDS was refused */
};

struct kv_places;

/* An update that waits or runs. */
struct kv_job {
	struct kv_job *next;
	kv_update_fn *fn; /* NULL: rc is known already, only done is to be told */
	void *arg;
	kv_done_fn *done;     /* NULL: somebody waits on cond */
	void *done_arg;
	pthread_cond_t cond;
	uint32_t account;
	unsigned flags;
	bool of_shard; /* kv_update_shard: may change the account */
	bool expelled; /* wrote and failed: not run again with its group */
	bool finished; /* under kv_env.lock */
	int rc;
};

struct kv_full_key {
	uint8_t bytes[KV_FULL_KEY_MAX];
	size_t len;
};

struct kv_db {
	uint32_t shards;
	uint64_t map_bytes, reserve_bytes;
	dev_t dev;
	ino_t ino;
	struct kv_db *next; /* registry of the process */
	struct kv_places *places;
	pthread_rwlock_t listener_lock;
	void (*listener)(void *arg, uint32_t account);
	void *listener_arg;
	struct kv_env catalog;
	struct kv_env shard[KV_SHARDS_MAX];
};

struct kv_cursor {
	struct MDB_cursor *mdb; /* NULL: ended by a write or by the end of the view */
	struct kv_cursor *next, **link;
	uint32_t account;
};

struct kv_view {
	struct kv_env *env;
	struct MDB_txn *mdb;
	struct kv_txn *update; /* NULL: a read view */
	struct kv_salvage_view *salvage; /* NULL: a view of LMDB's */
	uint32_t account;      /* 0: none, or the catalog */
	int64_t begun_ms;
	struct kv_cursor *cursors;
	struct kv_copy *copies; /* with SHELF_SLOW_CHECKS: what was handed out */
	struct kv_view *next;   /* in the pool */
};

/* A write transaction of the committer; one closure after the other runs in it. */
struct kv_txn {
	struct kv_view view;
	struct kv_env *env;
	const struct kv_job *job; /* the closure that runs */
	unsigned job_writes;
	int failed;               /* a write failed: the transaction can only be aborted */
	unsigned writes;          /* of all closures */
	uint64_t bytes;
	uint64_t pages;           /* estimate of the pages taken */
	bool turned;              /* begun behind a commit made for room: not again */
	bool room_known;
	uint64_t room_pages;      /* that updates with KV_ADDS may take in this transaction */
	struct shelf_buf touched; /* uint32_t accounts to tell the listener, with repetitions */
	uint8_t value[KV_VALUE_MAX];
};

/* ---- kv.c ---- */
extern const uint8_t kv_scope_of[KV_TABLES];
extern const char *const kv_name_of[KV_TABLES];
bool kv_lives_in(const struct kv_env *env, enum kv_table table);
struct kv_env *kv_env_of(struct kv_db *db, uint32_t shard); /* KV_SHARDS_MAX: catalog; NULL: no such */
int kv_env_of_account(struct kv_db *db, uint32_t account, struct kv_env **out);
void kv_view_release(struct kv_view *view); /* ends scans, forgets copies */
int kv_make_key(const struct kv_view *view, enum kv_table table, struct shelf_span key,
    struct kv_full_key *out);
int kv_fault_at(enum kv_point point);
int64_t kv_coarse_ms(void);

/* ---- kv_commit.c ---- */
void kv_committer_stop(struct kv_env *env); /* after everything that was submitted */

/* ---- kv_room.c ---- */
enum { KV_ROOM_TURN = 1 }; /* freed pages become usable after one more commit */
/* Before an update with KV_ADDS: 0, KV_ROOM_TURN, SHELF_EFULL. */
int kv_room_check(struct kv_txn *txn);
/* Of the map, what updates with KV_ADDS must leave. */
uint64_t kv_room_keep_pages(const struct kv_env *env);
/* What a write of LEN value bytes may take, in pages. */
uint64_t kv_room_cost(const struct kv_env *env, size_t len);

/* ---- kv_salvage.c ---- */
/* The first row at or behind FROM, a whole key: 1 found, 0 none. It lives like the view. */
int kv_salvage_seek(struct kv_view *view, enum kv_table table, struct shelf_span from,
    struct shelf_span *key, struct shelf_span *value);
void kv_salvage_view_end(struct kv_view *view);

/* ---- kv_place.c ---- */
struct kv_places *kv_places_new(void);
void kv_places_free(struct kv_places **places);

/* ---- kv_lmdb.c ---- */
int kv_lmdb_open(struct kv_env *env, const char *path, bool create);
void kv_lmdb_close(struct kv_env *env);
int kv_lmdb_read_begin(struct kv_env *env, struct MDB_txn **out);
int kv_lmdb_read_renew(struct kv_env *env, struct MDB_txn *txn);
void kv_lmdb_read_reset(struct MDB_txn *txn);
int kv_lmdb_write_begin(struct kv_env *env, struct MDB_txn **out);
void kv_lmdb_abort(struct MDB_txn *txn);
/* Frees TXN. SHELF_EUNKNOWN: the environment is dead. All other errors: nothing happened. */
int kv_lmdb_commit(struct kv_env *env, struct MDB_txn *txn);
uint64_t kv_lmdb_txn_id(struct MDB_txn *txn);
int kv_lmdb_get(struct kv_env *env, struct MDB_txn *txn, enum kv_table table, struct shelf_span key,
    struct shelf_span *value_out);
int kv_lmdb_put(struct kv_env *env, struct MDB_txn *txn, enum kv_table table, struct shelf_span key,
    struct shelf_span value);
/* Value bytes that fit beside the table's last row, SIZE_MAX: not known; and the most that fit a page. */
size_t kv_lmdb_room(struct kv_env *env, struct MDB_txn *txn, enum kv_table table, size_t key_len);
size_t kv_lmdb_inline_max(size_t key_len);
int kv_lmdb_del(struct kv_env *env, struct MDB_txn *txn, enum kv_table table, struct shelf_span key);
int kv_lmdb_count(struct kv_env *env, struct MDB_txn *txn, enum kv_table table, uint64_t *rows_out);
int kv_lmdb_cursor_open(struct kv_env *env, struct MDB_txn *txn, enum kv_table table,
    struct MDB_cursor **out);
/* 1 a row, 0 none, or an error. seek: the first key >= FROM. */
int kv_lmdb_cursor_seek(struct kv_env *env, struct MDB_cursor *cursor, struct shelf_span from,
    struct shelf_span *key, struct shelf_span *value);
int kv_lmdb_cursor_next(struct kv_env *env, struct MDB_cursor *cursor, struct shelf_span *key,
    struct shelf_span *value);
void kv_lmdb_cursor_close(struct MDB_cursor *cursor);
struct kv_lmdb_info {
	uint64_t pages;      /* up to the last one in use */
	uint64_t last_txnid; /* of the meta page: ahead of what a new snapshot sees for a moment */
	uint32_t readers;
};
void kv_lmdb_info(struct kv_env *env, struct kv_lmdb_info *out);
/* Free pages of the file; USABLE: those the next write transaction may take already. */
int kv_lmdb_free_pages(struct kv_env *env, uint64_t *usable_out, uint64_t *total_out);
/* In a clean write transaction: writes a row of no meaning, so that a commit moves on. */
int kv_lmdb_turn(struct kv_env *env, struct MDB_txn *txn);
void kv_lmdb_clear_readers(struct kv_env *env);
int kv_lmdb_fd(struct kv_env *env);

#endif
