/*
 * stats.h - what mail takes: by account, domain, partition
 *
 * Shape     Sums are kept in rows and changed in the transaction that changes the messages: exact at every
 *           commit, read without looking at a message. All sizes are bytes.
 * Logical   message_bytes, held_bytes: RFC822.SIZE of live messages (what a quota counts) and of held ones
 *           (expunged, or in a deleted mailbox, and still to be brought back).
 * Stored    Each message row notes what its body and derived data took, compressed, when the row was
 *           made. stored_bytes adds that up over live rows, each reference for itself; held_stored_bytes
 *           over held rows. A later recompression does not change it (what a row refers to now is known
 *           for the partition: gross_bytes).
 * Shared    Of stored: rows that found their body in the partition when they were made, as a delivery to
 *           many or a copy. stored_bytes - shared_bytes is what the account brought in itself.
 * Reclaim   Of an account or domain: what its held messages brought in themselves; it comes free when the
 *           hold ends, unless somebody else refers to it then. Of a partition: what is free at once.
 * Domain    What is behind the last "@" of the account's name; "" for names without one.
 * Partition Over bodies and not over rows: physical_bytes is what all bodies with a reference take, each
 *           once; gross_bytes adds them up once for each reference.
 * Older     Mail of releases before these sums is counted in the background (shelf_stats_catch_up). Until
 *           then accounts are missing from totals (uncounted_accounts), messages from stored sums
 *           (shelf_totals_uncounted_messages) and bodies from theirs (uncounted_bodies); what is there is
 *           right.
 * Threads   Any. Blocks for reads only, but for shelf_stats_catch_up.
 */
#ifndef MAILSHELF_STATS_H
#define MAILSHELF_STATS_H

#include <mailshelf/store.h>

struct shelf_totals {
#define SHELF_TOTAL(name, bytes, text) uint64_t name;
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
};

static inline uint64_t
shelf_totals_reclaimable(const struct shelf_totals *t)
{
	return t->held_stored_bytes - t->held_shared_bytes;
}
static inline uint64_t
shelf_totals_uncounted_messages(const struct shelf_totals *t)
{
	return t->messages + t->held_messages - t->noted_messages;
}

struct shelf_account_stats {
	struct shelf_totals totals; /* accounts is 1 */
	uint32_t mailboxes;
	int64_t due_s;	/* when the next held message or mailbox goes for good; 0: nothing is held */
	int64_t gone_s; /* when that message was expunged; 0: it is a mailbox, or nothing is held */
};
/* SHELF_ENOACCOUNT. */
SHELF_CHECK int shelf_stats_account(struct shelf_store *store, uint32_t account,
				    struct shelf_account_stats *out);

/* DOMAIN in any case, without "@". SHELF_EMISSING: no counted account is of it. */
SHELF_CHECK int shelf_stats_domain(struct shelf_store *store, struct shelf_span domain,
				   struct shelf_totals *out);
/* In order of name. fn returns 0 to go on; anything else ends the walk and is returned. No snapshot is
 * held while it runs. */
typedef int shelf_domain_fn(void *arg, struct shelf_span domain, const struct shelf_totals *totals);
SHELF_CHECK int shelf_stats_domain_each(struct shelf_store *store, shelf_domain_fn *fn, void *arg);

struct shelf_partition_stats {
	struct shelf_totals totals;  /* of its accounts */
	uint64_t uncounted_accounts; /* not in totals: of an older release, or under removal */
	uint64_t bodies;	     /* with a reference */
	uint64_t body_bytes;	     /* RFC822.SIZE of these, each once */
	uint64_t physical_bytes;     /* stored for these, each once */
	uint64_t references;	     /* to these */
	uint64_t gross_bytes;	     /* stored for these, once for each reference */
	uint64_t saved_bytes;	     /* gross - physical: what storing bodies once saves */
	uint64_t uncounted_bodies;   /* not in the six above */
	uint64_t waiting_bytes;	     /* stored for bodies without references, until they are removed */
	uint64_t staged_bytes;	     /* stored ahead for messages that are being received */
	uint64_t file_bytes;	     /* of the data file, up to the last page in use */
	uint64_t free_bytes;	     /* of that, pages free for reuse */
	uint64_t reclaimable_bytes;  /* waiting + free: room for new mail without a larger file. Held bytes
				      * follow when their hold ends */
	uint64_t disk_free_bytes;
};
/* SHELF_EINVALID: no such partition. */
SHELF_CHECK int shelf_stats_partition(struct shelf_store *store, uint32_t partition,
				      struct shelf_partition_stats *out);
/* All partitions added up; disk_free_bytes is the smallest. */
SHELF_CHECK int shelf_stats_store(struct shelf_store *store, struct shelf_partition_stats *out);

/* A look a day at a partition: kept for two years, the first of each day (UTC). */
struct shelf_history {
	int64_t day_s, taken_s; /* when the day began; when it was looked */
	struct shelf_totals totals;
	uint64_t physical_bytes, gross_bytes, waiting_bytes, file_bytes, free_bytes;
};
/* The oldest first. fn returns 0 to go on; anything else ends the walk and is returned. No snapshot is held
 * while it runs. SHELF_EINVALID: no such partition. */
typedef int shelf_history_fn(void *arg, const struct shelf_history *day);
SHELF_CHECK int shelf_stats_history(struct shelf_store *store, uint32_t partition, shelf_history_fn *fn,
				    void *arg);
/* Looks, where NOW's day has none. Runs by itself with SHELF_OPEN_SERVE. A full partition is passed over. */
SHELF_CHECK int shelf_stats_note(struct shelf_store *store, int64_t now_s);

/* A snapshot, of any process, that is behind: pages freed since it was taken wait for its end. */
struct shelf_reader {
	int pid;
	uint64_t commits;    /* since it was taken */
	uint64_t held_bytes; /* freed by these */
	int64_t age_ms;	     /* at least; it was watched for so long */
};
/* The oldest of a partition, watched for up to WATCH_MS (blocks while there is one): 1 found, 0 none is behind, or
 * an error; SHELF_EINVALID: no such partition. */
SHELF_CHECK int shelf_stats_reader(struct shelf_store *store, uint32_t partition, unsigned watch_ms,
				   struct shelf_reader *out);

/*
 * shelf_stats_catch_up(store, budget_ms)
 *   Counts what an older release stored, in small transactions, for about BUDGET_MS. Runs by itself with
 *   SHELF_OPEN_SERVE. A full store is passed over.
 *   returns  1 more is left, 0 nothing is left, or an error
 */
SHELF_CHECK int shelf_stats_catch_up(struct shelf_store *store, unsigned budget_ms);

#endif
