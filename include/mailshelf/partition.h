/*
 * partition.h - the partitions of a store: where they lie, what they hold; giving space back, moving accounts
 *
 * Shape     A store has 1..64 partitions, numbered from 0, and a catalog. Each is a database file in a
 *           directory of its own, on any disk.
 * Threads   Any.
 */
#ifndef MAILSHELF_PARTITION_H
#define MAILSHELF_PARTITION_H

#include <mailshelf/store.h>

enum { SHELF_CATALOG = SHELF_PARTITIONS_MAX }; /* where a partition's number is asked for */

struct shelf_partition {
	uint32_t number;
	const char *path;      /* the directory of its present file; lives as long as the call */
	uint64_t device;       /* of the disk, as stat(2) numbers it: equal on one file system */
	uint64_t file_bytes;   /* up to the last page in use */
	uint64_t free_bytes;   /* of that, pages free for reuse */
	uint64_t disk_bytes, disk_free_bytes;
	uint64_t accounts;
	uint64_t commits;      /* since it was made, by all processes */
};
/* NUMBER may be SHELF_CATALOG. 0; SHELF_EINVALID no such partition; SHELF_EIO. A return value other than 0
 * of FN is returned. */
typedef int shelf_partition_fn(void *arg, const struct shelf_partition *partition);
SHELF_CHECK int shelf_partition_get(struct shelf_store *store, uint32_t number, shelf_partition_fn *fn,
    void *arg);

/*
 * shelf_partition_add(store, dir)
 *   One more partition, in DIR (made if missing), or in the store for NULL. Accounts added from then on are placed
 *   there too; other processes take it up by themselves.
 *   returns  0; SHELF_ELIMIT 64 are there; SHELF_EEXISTS DIR has a partition of that number, of another
 *            store; SHELF_EBUSY somebody else adds one; SHELF_EINVALID; SHELF_EIO; SHELF_EFULL
 */
SHELF_CHECK int shelf_partition_add(struct shelf_store *store, const char *dir);

struct shelf_compacted {
	uint64_t before_bytes, after_bytes;   /* of the file */
	uint64_t need_bytes, disk_free_bytes; /* at the start: what it takes, and what there was */
};
/* Bytes of the new file so far, and what it will have, about. False: stop. */
typedef bool shelf_compact_fn(void *arg, uint64_t done, uint64_t total);
/*
 * shelf_store_compact(store, number, step, arg, out)
 *   Moves a partition, or SHELF_CATALOG, to a new file without the free pages of the old one, on the same disk,
 *   while all processes go on reading and writing. Whatever stops it, nothing has happened then.
 *   step     NULL: none
 *   returns  0; SHELF_EINVALID no such partition; SHELF_EBUSY one is running on it; SHELF_EFULL
 *            no room for both files (OUT has the figures); SHELF_ECANCELLED by STEP; SHELF_EIO; SHELF_ECORRUPT
 */
SHELF_CHECK int shelf_store_compact(struct shelf_store *store, uint32_t number, shelf_compact_fn *step, void *arg,
    struct shelf_compacted *out);

/* ---- Moving accounts ------------------------------------------------------------------------------ */

/*
 * A mover knows which bodies of a partition it has copied where: an account that shares bodies with another one
 * moved before, to the same partition, shares them there. One thread at a time.
 */
struct shelf_mover;
struct shelf_moved {
	uint32_t from, to;        /* equal: it was there already */
	uint64_t messages, total; /* copied so far, held ones included; of those the account had at the start */
	uint64_t bodies, body_bytes; /* of them: written anew there */
	uint64_t changes;         /* rows that were changed while it went on, and were copied again */
	unsigned tries;           /* closing steps: who wrote had to wait for each */
	unsigned closed_ms;       /* how long for the last one */
};
/* Now and then. False: stop. */
typedef bool shelf_moved_fn(void *arg, const struct shelf_moved *so_far);
struct shelf_mover *shelf_mover_new(struct shelf_store *store, shelf_moved_fn *step, void *arg); /* STEP may be NULL */
/*
 * shelf_account_move(mover, id, partition, out)
 *   Moves an account to another partition while all processes go on using it. Nothing of it changes but where it lies:
 *   ids, UIDs, UIDVALIDITY, modseqs, dates, what is held. Who writes to it waits for a moment at the end.
 *   Whatever stops it before, a crash too, the account is where it was, and what was copied is removed in the
 *   background; after a crash behind that moment it is there, and what is left to do is done in the background, or
 *   by moving it there again. The bytes it took where it was are free some ten minutes later.
 *   returns  0; SHELF_EINVALID no such partition; SHELF_ENOACCOUNT; SHELF_EFULL no room for it there;
 *            SHELF_EBUSY another account is leaving its partition or that is being compacted, or it is written
 *            faster than it can be copied; SHELF_ECANCELLED by STEP; SHELF_ECORRUPT something of it is damaged
 *            (it stays); SHELF_EIO
 */
SHELF_CHECK int shelf_account_move(struct shelf_mover *mover, uint32_t id, uint32_t partition, struct shelf_moved *out);
void shelf_mover_free(struct shelf_mover **mover);
/* Where new accounts would go if PARTITION (SHELF_CATALOG: none) were not there. SHELF_EFULL: nowhere. */
SHELF_CHECK int shelf_partition_choose(struct shelf_store *store, uint32_t partition, uint32_t *partition_out);

#endif
