/*
 * kv_internal.h - what the files of this room know of each other
 *
 *   kv_dir.c      the directory: create, open, close, one open per process
 *   kv_file.c     the file that an environment lives in at the moment, and those it has left
 *   kv_move.c     generations: which file is the present one, on disk
 *   kv_compact.c  a new generation, made beside readers and writers
 *   kv_log.c      what was changed while that goes on
 *   kv.c          views and scans: reads on tables, with their limits and scopes
 *   kv_write.c    what a closure may do to its transaction
 *   kv_commit.c   committers: queue, group, redo
 *   kv_room.c     who may still take room: map, free list, disk blocks
 *   kv_stats.c    numbers, reader table
 *   kv_place.c    which account lives in which shard
 *   kv_leave.c    an account moves to another one
 *   kv_salvage.c  views of a damaged environment, without LMDB; kv_page.c its pages
 *   kv_lmdb.c     the only file that includes lmdb.h
 *
 * Locks, taken left to right and never the other way: the write lock of LMDB -> kv_env.move_lock ->
 * kv_env.file_lock; kv_db.grow_lock -> those two; kv_env.lock -> nothing; kv_db.listener_lock is
 * held around the listener. kv_env.file_lock is held around a few pointer moves,
 * and while a dead file is opened again.
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

/* How full the last leaf page of a table is that grows at its end; for packing only, may be wrong. */
struct kv_leaf {
	uint64_t txn;  /* of the last row appended */
	uint32_t used; /* bytes; 0: not known */
};

/* One open LMDB environment. Whoever uses it has taken it with kv_file_take and gives it back. */
struct kv_file {
	struct kv_env *env;
	uint32_t generation; /* 1: as made by kv_create */
	struct MDB_env *mdb;
	unsigned dbi[KV_TABLES + 1]; /* of the tables that live here, and KV_OWN */
	struct kv_leaf leaf[KV_TABLES]; /* the committer's */
	uint32_t page_bytes;
	uint64_t base;         /* commit number = base + LMDB's transaction number, modulo 2^64 */
	atomic_bool dead;      /* a commit's outcome is unknown: nothing works until it is opened again */
	atomic_ullong checked; /* a snapshot of this number was found not to be left */
	atomic_bool some_left; /* accounts have left it, in that snapshot; stays */

	/* Under kv_env.file_lock. */
	unsigned users;
	int64_t revive_ms;     /* not opened again before */
	struct kv_view *pool;  /* views with a reset read transaction */
	unsigned pool_count;

	/* Room: the committer's own. */
	uint64_t reserved_end; /* blocks of the file are allocated up to here, bytes */
	int64_t probe_ms;      /* disk found full: not asked again before */
	bool disk_full;
};

/* A shard or the catalog: a queue, its committer, and the file they write to. */
struct kv_env {
	struct kv_db *db;
	uint32_t shard; /* KV_SHARDS_MAX: the catalog */
	char *home;     /* the directory where its generations lie */
	uint64_t map_bytes, reserve_bytes;

	atomic_ullong seen;   /* highest number kv_commits_seen() has returned */
	atomic_ullong commits, updates;
	struct shelf_durations_live commit_durations;
	atomic_uint stale_cleared, slow_views;
	atomic_int views;     /* handed out */
	atomic_bool full;     /* the last update with KV_ADDS was refused */

	pthread_mutex_t move_lock; /* held while another file becomes the present one */
	pthread_mutex_t file_lock;
	struct kv_file *file;      /* under both; NULL: not open */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;
	struct kv_job *head, **tail;
	bool started, stopping;
	pthread_t thread;

	/* The committer's own. */
	int64_t log_checked_ms; /* kv_log.c */
	struct kv_job *parked, **parked_tail; /* updates of an account that is about to leave */
	int64_t parked_ms;
	int64_t leave_checked_ms; /* kv_leave.c */
	uint64_t closed_move;     /* of the account that is closed, as seen since CLOSED_MS */
	uint32_t closed_round;
	int64_t closed_ms;
};

struct kv_places;

/* What becomes of an update when its turn comes. */
enum kv_fate {
	KV_RUNS,
	KV_WAITS, /* its account is closed for a moment */
	KV_GOES,  /* to kv_job.shard, where its account has gone */
};

/* An update that waits or runs. */
struct kv_job {
	struct kv_job *next;
	kv_update_fn *fn; /* NULL: rc is known already, only done is to be told */
	void *arg;
	kv_done_fn *done;     /* NULL: somebody waits on cond */
	void *done_arg;
	pthread_cond_t cond;
	uint32_t account;
	uint32_t other; /* kv_update_both; 0: none */
	unsigned flags;
	bool of_shard; /* kv_update_shard: may change the account */
	bool expelled; /* wrote and failed: not run again with its group */
	bool finished; /* under the lock of HOME */
	int rc;
	struct kv_env *home; /* whose lock the waiting caller holds */
	enum kv_fate fate;
	uint64_t move;       /* by which the account came where this is queued */
	uint32_t shard;
};

struct kv_full_key {
	uint8_t bytes[KV_FULL_KEY_MAX];
	size_t len;
};

struct kv_db {
	_Atomic uint32_t shards; /* those that are open; grows */
	char *dir;
	pthread_mutex_t grow_lock;
	ino_t conf_ino;          /* of the kv.conf last read: it is only ever replaced */
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
	struct kv_file *file;
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
	uint64_t job_pages;       /* pages taken before it */
	int failed;               /* a write failed: the transaction can only be aborted */
	unsigned writes;          /* of all closures */
	uint64_t bytes;
	uint64_t pages;           /* estimate of the pages taken */
	bool logging;             /* a compaction wants to know the keys written */
	bool turned;              /* begun behind a commit made for room: not again */
	bool some_left;           /* accounts have left this shard */
	struct kv_leaving {
		uint32_t account; /* 0: none is leaving */
		uint64_t move;    /* its number */
		uint32_t round;   /* how often it was closed */
		uint8_t state;
	} leaving;
	unsigned room_known;      /* for which of KV_ADDS and KV_KEEPS */
	uint64_t room_pages;      /* that updates with KV_ADDS may take in this transaction */
	uint64_t spare_pages;     /* that updates with KV_KEEPS may take */
	struct shelf_buf touched; /* uint32_t accounts to tell the listener, with repetitions */
	uint8_t value[KV_VALUE_MAX];
};

/* ---- kv.c ---- */
extern const uint8_t kv_scope_of[KV_TABLES];
extern const char *const kv_name_of[KV_TABLES];
bool kv_lives_in(const struct kv_env *env, enum kv_table table);
struct kv_env *kv_env_of(struct kv_db *db, uint32_t shard); /* KV_SHARDS_MAX: catalog; NULL: no such */
/* Of SHARD, which another process may have added. */
int kv_env_there(struct kv_db *db, uint32_t shard, struct kv_env **out);
/* As far as this process knows: the account may have left it. */
int kv_env_of_account(struct kv_db *db, uint32_t account, struct kv_env **out);
/* As kv_view_begin. MOVE_OUT: by which the account came there, 0: not known. */
int kv_view_find(struct kv_db *db, uint32_t account, struct kv_view **out, uint64_t *move_out);
void kv_view_release(struct kv_view *view); /* ends scans, forgets copies */
int kv_make_key(const struct kv_view *view, enum kv_table table, struct shelf_span key,
    struct kv_full_key *out);
int kv_fault_at(enum kv_point point);
int64_t kv_coarse_ms(void);

/* ---- kv_dir.c ---- */
int kv_sync_dir(const char *path);
int kv_system_error(const char *what, const char *path); /* logs errno, translates it */
/* A whole small file, with a zero byte behind it; what does not fit is damage. */
int kv_read_text(const char *path, char *text, size_t size);
/* The number in the line "NAME NUMBER". */
bool kv_text_number(const char *text, const char *name, uint64_t *out);
/* Replaces the file PATH in DIR at once, synced. */
int kv_write_text(const char *dir, const char *path, struct shelf_span text);

/* ---- kv_commit.c ---- */
void kv_committer_stop(struct kv_env *env); /* after everything that was submitted */

/* ---- kv_stats.c ---- */
struct kv_lmdb_info;
void kv_file_look(struct kv_env *env, struct kv_lmdb_info *out); /* of the present file */
void kv_file_clear_readers(struct kv_env *env);

/* ---- kv_room.c ---- */
enum { KV_ROOM_TURN = 1 }; /* freed pages become usable after one more commit */
/* Before an update with one of KV_ADDS and KV_KEEPS: 0, KV_ROOM_TURN, SHELF_EFULL. */
int kv_room_check(struct kv_txn *txn, unsigned kind);
/* May the closure that runs take COST pages more? */
bool kv_room_has(const struct kv_txn *txn, uint64_t cost);
/* Of the map, what updates with KV_ADDS must leave. */
uint64_t kv_room_keep_pages(const struct kv_file *file);
/* What a write of LEN value bytes may take, in pages. */
uint64_t kv_room_cost(const struct kv_file *file, size_t len);

/* ---- kv_salvage.c ---- */
/* The first row at or behind FROM, a whole key: 1 found, 0 none. It lives like the view. */
int kv_salvage_seek(struct kv_view *view, enum kv_table table, struct shelf_span from,
    struct shelf_span *key, struct shelf_span *value);
void kv_salvage_view_end(struct kv_view *view);

/* ---- kv_place.c ---- */
struct kv_places *kv_places_new(void);
/* A shard as placing sees it. */
struct kv_place_option {
	uint64_t device, free_bytes; /* its disk, and what is free there */
	uint64_t accounts, pages;
	bool full;
};
uint32_t kv_place_best(const struct kv_place_option *options, uint32_t count);
void kv_places_free(struct kv_places **places);
/* Where the account was when it was last looked for, or was placed. */
int kv_place_known(struct kv_db *db, uint32_t account, uint32_t *shard_out);
void kv_place_remember(struct kv_db *db, uint32_t account, uint32_t shard);
/* In an update of the catalog: the account lives in SHARD. */
int kv_place_put(struct kv_txn *txn, uint32_t account, uint32_t shard);

/* ---- kv_file.c ---- */
struct kv_file *kv_file_new(struct kv_env *env, uint32_t generation);
void kv_file_free(struct kv_file **file); /* closes it; nobody uses it */
/* The present file. */
struct kv_file *kv_file_take(struct kv_env *env);
void kv_file_release(struct kv_file *file);
/* NEXT becomes the present file; the one before closes with its last user. Under move_lock. */
void kv_file_replace(struct kv_env *env, struct kv_file *next);
/* A snapshot of the present file, with a read transaction of the pool if there is one. The view holds
 * the file. */
int kv_file_view(struct kv_env *env, struct kv_view **out);
void kv_file_view_end(struct kv_view *view);

/* ---- kv_move.c ---- */
enum { KV_OWN = KV_TABLES /* the table of this room in each file: docs/storage-format.md */ };
/* The present file of a shard, whose directory may have been left behind by the one it names. */
int kv_move_open(struct kv_env *env);
/* 1 and the next generation, 0 this one is the present one, or an error. */
int kv_move_left(struct kv_file *file, struct MDB_txn *txn, uint32_t *next_out);
/* LEFT was left for generation NEXT: that becomes the present file of this process. */
int kv_move_follow(struct kv_file *left, uint32_t next);
/* The data file of the generation that the text names. SHELF_EMISSING: it is not there. */
int kv_move_file(const struct kv_env *env, struct shelf_buf *path_out);
/* The directory of a generation. The caller frees it. */
char *kv_move_path(const struct kv_env *env, uint32_t generation);
/* One process at a time changes which generations there are, or has an account leave: a descriptor to close, or
 * SHELF_EBUSY. */
int kv_move_lock(struct kv_env *env, int *fd_out);
/* The same, but waits a second: others hold it for a moment when they open and look after the dead. */
int kv_move_lock_patiently(struct kv_env *env, int *fd_out);
/* Holding that lock: GENERATION is the present one on disk. Writes that down where it is not known and removes all
 * other generations. */
int kv_move_settle(struct kv_env *env, uint32_t generation);

/* ---- kv_log.c ---- */
enum kv_log_state { KV_LOG_ON = 1, KV_LOG_DROP = 2 };
enum { KV_LOG_MARK = 0xff, KV_LEAVE_MARK = 0xfe, KV_LOG_HEAD = 10 /* bytes in front of the key */ };
struct kv_log_key {
	uint8_t bytes[KV_LOG_HEAD + KV_FULL_KEY_MAX];
	size_t len;
};
/* At the start of a write transaction: is a log wanted? Drops that of a compaction that died. */
int kv_log_begin(struct kv_txn *txn);
/* MARK: which log. */
int kv_log_add(struct kv_txn *txn, uint8_t mark, enum kv_table table, struct shelf_span key);
void kv_log_key(uint8_t mark, uint64_t number, unsigned table, struct shelf_span key, struct kv_log_key *out);
/* A few rows of a log that is of no use any more, or when there are none the row STATE. */
int kv_log_drop(struct kv_file *file, struct MDB_txn *txn, uint8_t mark, struct shelf_span state);
int kv_log_set(struct kv_file *file, struct MDB_txn *txn, enum kv_log_state state);
int kv_log_is_on(struct kv_file *file, struct MDB_txn *txn, bool *out);

/* ---- kv_leave.c ---- */
/* At the start of a write transaction: does an account leave? Forgets one whose mover died. */
int kv_leave_txn(struct kv_txn *txn);
/* Before JOB runs: its fate. */
int kv_leave_admit(struct kv_txn *txn, struct kv_job *job);
/* Is what the update writes now to be known to who moves the account? */
bool kv_leave_logs(const struct kv_txn *txn, enum kv_table table);
/* Of a snapshot: 1 the account has left by a move behind *MOVE, which becomes that one, for *SHARD; 0 not. */
int kv_leave_look(struct kv_file *file, struct MDB_txn *mdb, uint32_t account, uint64_t *move, uint32_t *shard);

/* ---- kv_lmdb.c ---- */
/* SHELF_EMISSING: no file there, and CREATE not given. */
int kv_lmdb_open(struct kv_file *file, const char *path, bool create);
void kv_lmdb_close(struct kv_file *file);
int kv_lmdb_read_begin(struct kv_file *file, struct MDB_txn **out);
int kv_lmdb_read_renew(struct kv_file *file, struct MDB_txn *txn);
void kv_lmdb_read_reset(struct MDB_txn *txn);
int kv_lmdb_write_begin(struct kv_file *file, struct MDB_txn **out);
void kv_lmdb_abort(struct MDB_txn *txn);
/* Frees TXN. SHELF_EUNKNOWN: the environment is dead. All other errors: nothing happened. */
int kv_lmdb_commit(struct kv_file *file, struct MDB_txn *txn);
uint64_t kv_lmdb_number(struct kv_file *file, struct MDB_txn *txn);
/* Commits that are not synced, while nobody else has the file; off again, and kv_lmdb_sync, before
 * anybody depends on it. */
int kv_lmdb_lazy(struct kv_file *file, bool on);
int kv_lmdb_sync(struct kv_file *file);
/* Tables are enum kv_table or KV_OWN. */
int kv_lmdb_get(struct kv_file *file, struct MDB_txn *txn, unsigned table, struct shelf_span key,
    struct shelf_span *value_out);
int kv_lmdb_put(struct kv_file *file, struct MDB_txn *txn, unsigned table, struct shelf_span key,
    struct shelf_span value);
/* Value bytes that fit beside the table's last row, SIZE_MAX: not known; and the most that fit a page. */
size_t kv_lmdb_room(struct kv_file *file, struct MDB_txn *txn, unsigned table, size_t key_len);
size_t kv_lmdb_inline_max(size_t key_len);
int kv_lmdb_del(struct kv_file *file, struct MDB_txn *txn, unsigned table, struct shelf_span key);
/* KEY is behind all others of the table: pages are filled. */
int kv_lmdb_append(struct kv_file *file, struct MDB_txn *txn, unsigned table, struct shelf_span key,
    struct shelf_span value);
int kv_lmdb_count(struct kv_file *file, struct MDB_txn *txn, unsigned table, uint64_t *out);
int kv_lmdb_cursor_open(struct kv_file *file, struct MDB_txn *txn, unsigned table,
    struct MDB_cursor **out);
/* 1 a row, 0 none, or an error. seek: the first key >= FROM. */
int kv_lmdb_cursor_seek(struct kv_file *file, struct MDB_cursor *cursor, struct shelf_span from,
    struct shelf_span *key, struct shelf_span *value);
int kv_lmdb_cursor_next(struct kv_file *file, struct MDB_cursor *cursor, struct shelf_span *key,
    struct shelf_span *value);
void kv_lmdb_cursor_close(struct MDB_cursor *cursor);
struct kv_lmdb_info {
	uint64_t pages;      /* up to the last one in use */
	uint64_t number;     /* of the meta page's commit: ahead of what a new snapshot sees for a moment */
	uint32_t readers;
};
void kv_lmdb_info(struct kv_file *file, struct kv_lmdb_info *out);
struct kv_lmdb_reader {
	int pid;
	uint64_t txnid;      /* of its snapshot; UINT64_MAX: nobody reads */
	uint64_t behind;     /* commits since */
	uint64_t held_pages; /* freed since, and not to be used before it ends */
};
/* Of all processes. */
int kv_lmdb_oldest_reader(struct kv_file *file, struct kv_lmdb_reader *out);
/* Free pages of the file; USABLE: those the next write transaction may take already. */
int kv_lmdb_free_pages(struct kv_file *file, uint64_t *usable_out, uint64_t *total_out);
void kv_lmdb_clear_readers(struct kv_file *file);
int kv_lmdb_fd(struct kv_file *file);

#endif
