/*
 * stats.h - what mail takes: by account, domain, partition
 *
 * Shape     Sums are kept in rows and changed in the transaction that changes the messages: exact at every
 *           commit, read without looking at a message. All sizes are bytes.
 * Logical   bytes, held_bytes: RFC822.SIZE of live messages (what a quota counts) and of held ones
 *           (expunged, or in a deleted mailbox, and still to be brought back).
 * Stored    Each message row notes what its body and derived data took, compressed, when the row was
 *           made. stored_bytes adds that up over live rows, each reference for itself; held_stored_bytes
 *           over held rows. A later recompression does not change it (what a row refers to now is known
 *           for the partition: gross_bytes).
 * Shared    Of stored: rows that found their body in the partition when they were made, as a delivery to
 *           many or a copy. stored_bytes - shared_bytes is what the account brought in itself.
 * Domain    What is behind the last "@" of the account's name; "" for names without one.
 * Partition Over bodies and not over rows: physical_bytes is what all bodies with a reference take, each
 *           once; gross_bytes adds them up once for each reference; gross - physical is what storing
 *           bodies once saves. waiting_bytes belongs to bodies nobody refers to, until they are
 *           removed; with the file's free pages it is what can be used again at once. held bytes follow
 *           when their hold ends.
 * Older     Mail of releases before these sums is counted in the background (and by `mailshelf purge`).
 *           Until then accounts are missing from totals (uncounted_accounts) or messages from stored
 *           sums (messages + held_messages - noted_messages); what is there is right.
 * Threads   Any. Blocks for reads only.
 */
#ifndef MAILSHELF_STATS_H
#define MAILSHELF_STATS_H

#include <mailshelf/store.h>

struct shelf_totals {
#define SHELF_TOTAL(name, bytes, text) uint64_t name;
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
};

#endif
