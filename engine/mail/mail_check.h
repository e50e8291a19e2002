/*
 * mail_check.h (private) - what the files of the check share
 *
 *   check.c          findings, the walk over catalog and shards, bodies
 *   check_place.c    which partition an account lives in
 *   check_account.c  the rows of one account
 *   check_range.c    65,536 uids of one mailbox
 *   check_held.c     held messages and their dates
 *   check_refs.c     references of blobs
 *   check_body.c     bytes of blobs
 *   check_acl.c      access control lists of one account
 *   check_door.c     a moment in which nobody writes
 *   check_repair.c   counters of accounts and totals that are put right
 *   check_metadata.c annotations of one account, moves that have not ended
 *   check_pop3.c     what is kept for POP3 of one account
 *   check_once.c     notes of mail that will come again
 *   check_sums.c     what is kept about bytes of accounts, domains, partition, blobs
 *
 * No snapshot lives longer than a slice, and still what is told was true at one moment: each slice goes
 * over everything again, but a part that is as it was when an earlier slice read it is not read again.
 * What says "as it was" is a row that every change of the part writes: FSUM for a range of a mailbox,
 * ACCT for held messages and for all an account refers to. The slice that comes to the end without
 * leaving anything out has proved the whole in its one snapshot. Only where writers are always faster
 * are they kept out for the rest (check_door.c); who does not come to an end even then answers SHELF_EBUSY.
 */
#ifndef ENGINE_MAIL_CHECK_H
#define ENGINE_MAIL_CHECK_H

#include "mail.h"

/* Length of a slice; tests make it 0: then each slice reads one part. */
extern int64_t check_slice_ms;

struct check_door {
	struct kv_db *kv;
	uint32_t shard;
	pthread_t keeper;
	bool used;
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t moved;
	bool closed, open, over;
	kv_update_fn *last; /* what is written when it opens, or NULL */
	void *last_arg;
	bool wrote;
	int rc;
};

struct check {
	struct shelf_store *store;
	shelf_progress_fn *progress; /* NULL: none */
	shelf_finding_fn *found;     /* NULL: findings are only counted */
	void *arg;
	shelf_repaired_fn *repaired; /* NULL: nothing is repaired */
	uint32_t account;     /* being walked, for findings */
	uint64_t findings;
	uint64_t counters, mended; /* of these: a number and not what was counted; put right */
	uint64_t blobs, done; /* for progress */
	uint64_t *told;	      /* hashes of what was told: open addressing, 0 is empty */
	size_t told_cap, told_used;
	struct index_page *page;
	struct check_door door;
};

/* From here on nobody writes to the shard, for a few seconds at most: every snapshot is the same. Always followed by
 * check_door_open, which does nothing when the door is not closed. */
SHELF_CHECK int check_door_close(struct check *k, uint32_t shard);
void check_door_open(struct check *k);
/* Opens it behind one last update, in which FN sees what snapshots have shown and what was queued before the door.
 * SHELF_EBUSY: it had opened by itself, and FN was not called. */
SHELF_CHECK int check_door_write(struct check *k, kv_update_fn *fn, void *arg);
/* For tests: so far; and is it closed without waiting for writers to rest? */
extern unsigned check_doors_closed;
extern bool check_impatient;

/* Tells a finding, once. */
void check_found(struct check *k, unsigned invariant, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same of a number that is not what was counted, and can be put right when nothing else is found. */
void check_counter(struct check *k, unsigned invariant, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* An error that says that rows are damaged; others end the check. */
bool check_is_damage(int rc);
void check_free(struct check *k);

/* ---- One account --------------------------------------------------------------------------------------- */

/* What was read of a range of a mailbox, or of several. */
struct check_sums {
	uint32_t exists, unseen, deleted; /* on its pages */
	uint32_t rows;			  /* in MSG */
	uint32_t missing, stray;	  /* on a page without a row, and the other way round */
	uint32_t last_uid;
	uint64_t row_bytes;		/* of all rows */
	uint64_t bytes, deleted_bytes;	/* of those on a page */
	uint64_t max_modseq;
	struct mail_sums noted_sums; /* of rows that note their cost */
	uint32_t noted;
};

struct check_range {
	uint32_t mailbox, range;
	/* As it was when it was read: */
	struct index_summary kept;
	uint32_t first_uid; /* of its rows; removal of a deleted mailbox takes them from the front */
	struct mail_acct acct; /* rows of an older release are written anew without a trace in FSUM */
	struct check_sums sums;
};

/* Held messages, as far as they have been read. */
struct check_held {
	struct mail_acct acct; /* as it was when reading began */
	bool begun, rows_done, dates_done;
	struct mail_key at; /* read up to this key: of GONE, then of DUE, then of MOVED */
	uint64_t messages, bytes, noted;
	struct mail_sums sums;
	uint64_t *key; /* mailbox << 32 | uid of each, ascending: 9 bytes for each held message */
	uint8_t *dated;
	size_t cap;
};

/* A mailbox whose counters are not what was counted. */
struct check_wrong {
	struct mail_mbox kept; /* its name is gone with the snapshot */
	struct check_sums counted;
};

struct check_walk {
	struct check *k;
	struct kv_view *view;
	bool sums_only; /* no more than the quota needs */
	bool going;	/* the account is under removal, perhaps half done: it keeps no counters */
	int64_t until_ms;
	bool moved; /* this slice has read something: it may end */
	struct mail_acct acct;
	struct mail_acct counted; /* quota, sums, noted, mailboxes, loose */
	struct check_wrong *wrong; /* of this slice */
	size_t wrongs, wrong_cap;
	struct check_range *range; /* by mailbox, range */
	size_t n, cap;
	struct check_held held;
	unsigned again; /* parts that had to be read again because they had changed */
};

/* Slices until one proves the account. */
SHELF_CHECK int check_prove(struct check_walk *w, uint32_t shard);
/* Counters of a proved account are put right, if all that was found since k had FINDINGS, COUNTERS are such. */
SHELF_CHECK int check_repair_account(struct check_walk *w, uint32_t shard, uint64_t findings, uint64_t counters);
/* Is the slice over? Never before it has read something. */
bool check_time_is_up(const struct check_walk *w);
/* Reads a range into R->sums; R has its names. */
SHELF_CHECK int check_range_read(struct check_walk *w, const struct mail_mbox *m, struct check_range *r);
/* Held messages (4, 7), where others went (16); held ones into w->counted. 1: time is up. */
SHELF_CHECK int check_held_read(struct check_walk *w);
/* A row that refers to a blob (4). */
void check_row_blob(struct check_walk *w, uint32_t mailbox, uint32_t uid, const struct mail_msg *m);

/* The account of k->account in SHARD. SHELF_ENOACCOUNT: it is not there. COUNTED and KEPT: NULL, or from the
 * snapshot that proved it. SUMS_ONLY: only them. */
SHELF_CHECK int check_account(struct check *k, uint32_t shard, bool sums_only,
			      struct shelf_quota *kept, struct shelf_quota *counted);

/* The next account behind AFTER that has a row in one of N tables: 1 found. */
SHELF_CHECK int check_next_account(struct kv_view *view, const enum kv_table *tables, size_t n, uint32_t after,
				   uint32_t *out);
/* Rows of accounts in SHARD that do not live there (21). */
SHELF_CHECK int check_places(struct check *k, uint32_t shard);

/* ---- References ---------------------------------------------------------------------------------------- */

/* Blobs of a shard against the rows that name them (4). */
SHELF_CHECK int check_refs(struct check *k, uint32_t shard);
/* Their dictionaries (11). */
SHELF_CHECK int check_dicts(struct check *k, uint32_t shard);
/* Their bytes and derived data (6, 8). */
SHELF_CHECK int check_bodies(struct check *k, uint32_t shard);
/* Blobs counted in one go; tests make it small. */
extern uint64_t check_refs_window;

/* ---- Sums ---------------------------------------------------------------------------------------------- */

/* What is kept against what was counted (12). */
bool check_mailbox_sums(struct check *k, const struct mail_mbox *m, const struct mail_sums *counted);
void check_account_sums(struct check *k, const struct mail_acct *kept,
			const struct mail_acct *counted);
/* Domains and the partition (13). */
SHELF_CHECK int check_totals(struct check *k, uint32_t shard);
/* The sums of all ranges of blobs (14). */
SHELF_CHECK int check_blob_sums(struct check *k, uint32_t shard);

/* Entries of the account's access control lists, and the index of shares (18, 19). */
SHELF_CHECK int check_acl(struct check *k, uint32_t shard);
/* Annotations of the account (25), rows of CROSS (30). */
SHELF_CHECK int check_metadata(struct check *k, uint32_t shard);
/* What is kept for POP3 (26, 27). */
SHELF_CHECK int check_pop3(struct check *k, uint32_t shard);
/* Notes of mail that will come again (29). */
SHELF_CHECK int check_once(struct check *k, uint32_t shard);

#endif
