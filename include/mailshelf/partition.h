/*
 * partition.h - the partitions of a store: where they lie, what they hold; giving space back
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

#endif
