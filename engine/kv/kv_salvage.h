/*
 * kv_salvage.h - views of an environment that is damaged, or that LMDB does not open any more
 *
 * Shape     The data file is read page by page, by a reader of its own: every number on a page is looked at
 *           before it is believed, a page is walked once at most, so what is damaged is left out and nothing
 *           crashes or runs in circles. What the trees do not lead to any more is looked for on all other
 *           pages of the file. Views are those of kv.h: kv_get, kv_scan_*, kv_view_account,
 *           kv_view_next_account, kv_view_end work on them.
 * Which     Of a key that is there more than once, the row that a tree leads to is taken; of others, which may
 *           be old copies on pages that were freed, the one that the classifier ranks highest.
 * Writes    None, not even a lock: a process that writes meanwhile makes pages look damaged.
 * Memory    About 60 bytes and the key for each row that no tree leads to, when anything is damaged; else
 *           8 bytes for each leaf page.
 * Threads   One at a time.
 */
#ifndef ENGINE_KV_SALVAGE_H
#define ENGINE_KV_SALVAGE_H

#include "kv.h"

struct kv_salvage;

/*
 * Which table has rows of this shape? Asked for rows of pages that no tree leads to; KEY with the account in
 * front, where the table has one. -1: none that matters. RANK: of two rows of one key the higher one is newer.
 * UNSURE: rows of other tables look like this one; the rows beside it on its page, which are of its table, decide.
 */
struct kv_class {
	int table;
	uint64_t rank;
	bool unsure;
};
typedef struct kv_class kv_classify_fn(struct shelf_span key, struct shelf_span value, bool catalog);

struct kv_salvage_report {
	uint64_t pages;       /* of the file */
	uint64_t bad_pages;   /* that a tree leads to and that cannot be read */
	uint64_t loose_rows;  /* found where no tree leads to */
	bool no_trees;        /* neither of the two roots can be read */
};

/* FILE: a data.mdb. SHELF_EMISSING no such file; SHELF_EIO, SHELF_ECORRUPT nothing of it can be read. */
SHELF_CHECK int kv_salvage_open(const char *file, bool catalog, kv_classify_fn *classify,
    struct kv_salvage **out);
void kv_salvage_close(struct kv_salvage **salvage);
void kv_salvage_report(const struct kv_salvage *salvage, struct kv_salvage_report *out);
/* A view of all of it; of no account until kv_view_account(). Ended by kv_view_end. */
struct kv_view *kv_salvage_view(struct kv_salvage *salvage);
/* Was the row last returned by VIEW one that a tree leads to? */
bool kv_salvage_reached(const struct kv_view *view);

#endif
