/*
 * store.h - opening a store; read snapshots
 *
 * Shape     A store is a directory: a catalog and some partitions, each an LMDB environment. An
 *           account lives in one partition. docs/storage-format.md has the layout.
 * Threads   A struct shelf_store may be used by any number of threads. A struct shelf_rd belongs to
 *           one thread at a time. Several processes may have the same store open; one process opens
 *           it once (a second open in the same process fails with SHELF_EBUSY).
 * Writing   Every function that takes a store and changes it blocks until the change is on disk
 *           (group commit shares the flush among callers), so event loops call them on workers.
 *           When such a function fails nothing of it happened, except SHELF_EUNKNOWN: then the
 *           commit may or may not be on disk, and the caller must not acknowledge.
 * fork      Never use a store across fork().
 */
#ifndef MAILSHELF_STORE_H
#define MAILSHELF_STORE_H

#include <mailshelf/buf.h>
#include <mailshelf/durations.h>
#include <mailshelf/err.h>

struct shelf_store;
struct shelf_rd;

enum { SHELF_PARTITIONS_MAX = 64 };

struct shelf_store_params {
	uint32_t partitions;    /* 1..64; 0: 16, or 4 on a machine of up to 4 cores */
	uint64_t map_bytes;     /* size limit of each partition; 0: 1 TiB (address space only) */
	uint64_t reserve_bytes; /* kept free for deletes in each partition; 0: 16 MiB, or half the map */
	uint32_t hold_s;        /* how long expunged mail is kept; UINT32_MAX: not at all; 0: 14 days */
	/* Where partitions lie, one after the other and round again; 0: in the store. Made if missing, empty
	 * otherwise. With partitions 0 there are at least as many as directories. */
	const char *const *partition_dirs;
	uint32_t partition_dir_count;
};

/*
 * shelf_store_create(dir, params)
 *   Makes an empty store. DIR is created when it is missing; it must be empty otherwise.
 *   params   NULL: all defaults
 *   returns  0; SHELF_EEXISTS DIR, or a directory for partitions, holds a store or other files;
 *            SHELF_EINVALID; SHELF_EIO; SHELF_EFULL
 */
SHELF_CHECK int shelf_store_create(const char *dir, const struct shelf_store_params *params);

enum {
	SHELF_OPEN_SERVE = 1, /* run the background threads: watcher (news.h), removal of held mail */
};
/*
 * shelf_store_open(dir, flags, store_out)
 *   returns  0; SHELF_EMISSING no store there; SHELF_EVERSION a format of another release;
 *            SHELF_EBUSY open in this process already; SHELF_ECORRUPT; SHELF_EIO
 */
SHELF_CHECK int shelf_store_open(const char *dir, unsigned flags, struct shelf_store **store_out);
/* Waits for running writes, ends the threads. NULL accepted. */
void shelf_store_close(struct shelf_store **store);

/*
 * shelf_rd_begin(store, account, rd_out)
 *   One consistent snapshot of one account. What reads return points into it and dies at
 *   shelf_rd_end. A snapshot must not live longer than a slice of work (2 s at the very most) and
 *   never across a wait for a socket or a return to an event loop.
 *   returns  0; SHELF_ENOACCOUNT; SHELF_EIO; SHELF_EBUSY too many readers
 */
SHELF_CHECK int shelf_rd_begin(struct shelf_store *store, uint32_t account, struct shelf_rd **rd_out);
void shelf_rd_end(struct shelf_rd **rd);
/* The account's version: +1 with every committed change of it. */
uint64_t shelf_rd_modseq(struct shelf_rd *rd);

/*
 * shelf_store_purge(store, budget_ms)
 *   Removes for good what is due: expired held mail, blobs without references, deleted accounts. In
 *   small transactions, for about BUDGET_MS. Runs by itself with SHELF_OPEN_SERVE.
 *   returns  1 more is left, 0 nothing is left, or an error
 */
SHELF_CHECK int shelf_store_purge(struct shelf_store *store, unsigned budget_ms);

/* What `mailshelf check` finds: one call per finding. account 0: not of one account. */
typedef void shelf_finding_fn(void *arg, unsigned invariant, uint32_t account, const char *text);
typedef void shelf_progress_fn(void *arg, uint64_t done, uint64_t total);
/*
 * shelf_store_check(store, progress, found, arg)
 *   Walks everything while others go on reading and writing; verifies the numbered invariants of
 *   docs/storage-format.md and the checksum of every body.
 *   returns  0 when the walk ended (findings or not), or an error that stopped it
 */
SHELF_CHECK int shelf_store_check(struct shelf_store *store, shelf_progress_fn *progress,
    shelf_finding_fn *found, void *arg);
/* One number that was put right: "used_bytes 12 -> 10". account 0: a total. Called when it is on disk. */
typedef void shelf_repaired_fn(void *arg, uint32_t account, const char *text);
/*
 * shelf_store_repair(store, progress, found, repaired, arg, left_out)
 *   shelf_store_check that puts counters right: those of an account and of its mailboxes where nothing else of the
 *   account's rows is damaged, then the totals of domains and partitions over the accounts. All else is told as by
 *   the check and stays as it is. An account, or the totals of a partition, are counted and changed in one update
 *   while nobody writes to its partition, 5 s at most; who is kept from that by writers stays as it is.
 *   left_out  findings that were not put right; also when an error ends it
 */
SHELF_CHECK int shelf_store_repair(struct shelf_store *store, shelf_progress_fn *progress,
    shelf_finding_fn *found, shelf_repaired_fn *repaired, void *arg, uint64_t *left_out);

struct shelf_store_stats {
	uint32_t partitions;
	uint64_t file_bytes;   /* of all data files, up to the last page in use */
	uint64_t free_bytes;   /* of that, pages free for reuse */
	uint64_t disk_free_bytes;
	uint64_t commits;      /* since open, by this process */
	uint64_t updates;      /* closures in those commits: updates / commits is the group size */
	struct shelf_durations commit_durations; /* of those commits, in LMDB: writing the pages and syncing them */
	uint32_t slow_views;   /* snapshots of this process that lived longer than two seconds: a mistake, each */
};
SHELF_CHECK int shelf_store_stats(struct shelf_store *store, struct shelf_store_stats *stats_out);

#endif
