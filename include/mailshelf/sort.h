/*
 * sort.h - messages in an order, messages in threads: what a search found, arranged
 *
 * Keys      They come from the message's row (arrival, size, when it was sent) and the envelope stored at
 *           delivery; no body is read (but for a message whose stored envelope is lost: then its bytes are
 *           scanned again). A message that is gone
 *           for good is left out.
 * Order     Texts compare by i;unicode-casemap (RFC 5051), numbers by size, what is equal by message number.
 * Slices    As a search (query.h): _run() works for about a time budget, takes its own snapshots and returns 1
 *           while more is left; 0 done; SHELF_ECORRUPT done, but messages that are damaged were left out; or
 *           another error. No slice grows with the mailbox.
 * Memory    Sorting: 16 bytes a message and 16 for each criterion, and at most 140 for each criterion that is a
 *           text (64 bytes of it are kept; of two that are alike so far the envelopes are asked). Threads:
 *           180 bytes a message at most; see SHELF_THREAD_... below for what that costs.
 * Sources   RFC 5256; RFC 5957 (DISPLAYFROM, DISPLAYTO); RFC 5255 4.6.
 */
#ifndef MAILSHELF_SORT_H
#define MAILSHELF_SORT_H

#include <mailshelf/query.h>

enum shelf_sort_key {
	SHELF_SORT_ARRIVAL, /* INTERNALDATE */
	SHELF_SORT_CC,      /* local part of the first address; likewise FROM and TO */
	SHELF_SORT_DATE,    /* Date: in UTC, INTERNALDATE when there is none */
	SHELF_SORT_DISPLAYFROM, /* name of the first address, or the address when it has none */
	SHELF_SORT_DISPLAYTO,
	SHELF_SORT_FROM,
	SHELF_SORT_SIZE,
	SHELF_SORT_SUBJECT, /* base subject, RFC 5256 2.1 */
	SHELF_SORT_TO,
	SHELF_SORT_KEYS,    /* how many there are */
};
struct shelf_sort_criterion {
	enum shelf_sort_key key;
	bool reverse;
};

struct shelf_sort;
/* UIDS, of MAILBOX, must outlive the sort and stay as they are; CRITERIA are copied. A key that was named
 * before decides nothing and costs nothing. SHELF_ELIMIT: there is no memory for so many messages. */
SHELF_CHECK int shelf_sort_new(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_uidset *uids, const struct shelf_sort_criterion *criteria, size_t n,
    struct shelf_sort **out);
SHELF_CHECK int shelf_sort_run(struct shelf_sort *sort, unsigned budget_ms);
struct shelf_progress shelf_sort_progress(const struct shelf_sort *sort); /* messages read */
/* The result, when it is done: rank I from 0. */
uint32_t shelf_sort_count(const struct shelf_sort *sort);
uint32_t shelf_sort_uid(const struct shelf_sort *sort, uint32_t i);
/* Of one that is done only the result stays, 8 bytes a message; UIDS may go. */
void shelf_sort_shrink(struct shelf_sort *sort);
void shelf_sort_free(struct shelf_sort **sort);

/*
 * shelf_sort_place(store, account, mailbox, by, n, order, count, uid, rank_out)
 *   Where UID belongs in ORDER, COUNT uids sorted by these criteria: its rank from 0, looked for by halves.
 *   returns  0; SHELF_ENOMESSAGE it is gone; or an error
 */
SHELF_CHECK int shelf_sort_place(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_sort_criterion *by, size_t n, const uint32_t *order, uint32_t count, uint32_t uid,
    uint32_t *rank_out);

/* ---- Threads ---------------------------------------------------------------------------------- */

enum shelf_thread_algorithm { SHELF_THREAD_ORDEREDSUBJECT, SHELF_THREAD_REFERENCES };

/* What RFC 5256 does not bound. Of more references than that in one message the last ones count; beyond so
 * many ids of messages that are not there for each one that is, further ones are passed over; a reference
 * that would need a look at more ancestors to be sure that it makes no loop is not followed. */
enum {
	SHELF_THREAD_REFERENCES_MAX = 1000,
	SHELF_THREAD_ABSENT_EACH = 3, /* and 10,000 */
	SHELF_THREAD_LOOK_MAX = 10000,
};

struct shelf_thread;
SHELF_CHECK int shelf_thread_new(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_uidset *uids, enum shelf_thread_algorithm algorithm, struct shelf_thread **out);
SHELF_CHECK int shelf_thread_run(struct shelf_thread *thread, unsigned budget_ms);
struct shelf_progress shelf_thread_progress(const struct shelf_thread *thread);
/* The result, a forest in the order of RFC 5256: nodes are numbers from 1, 0 is none. */
uint32_t shelf_thread_first(const struct shelf_thread *thread);
uint32_t shelf_thread_uid(const struct shelf_thread *thread, uint32_t node); /* 0: a message not there */
uint32_t shelf_thread_parent(const struct shelf_thread *thread, uint32_t node);
uint32_t shelf_thread_child(const struct shelf_thread *thread, uint32_t node); /* the first one */
uint32_t shelf_thread_next(const struct shelf_thread *thread, uint32_t node);  /* sibling */
/* Of one that is done only the result stays, 24 bytes a node and 16 a message; UIDS may go. */
void shelf_thread_shrink(struct shelf_thread *thread);
void shelf_thread_free(struct shelf_thread **thread);

#endif
