/*
 * guard.h - mass deletions: what was noticed, and that it has been seen
 *
 * Noticed   When more than guard_percent of an account's messages, and at least guard_messages, go within an
 *           hour (settings.h), whoever removes them: expunged, by POP3, with their mailbox. Not what
 *           MOVE takes elsewhere, nor an account that is deleted. The share is of what the account had
 *           before that hour's removals.
 * Then      what goes, and what went in that hour, is held until guard_hold has passed (undelete finds it as
 *           long); it is the last to go when a disk runs low. What went before in that hour gets its later
 *           date from the purge, before anything of the account is removed for good.
 * Threads   Any. Writing blocks (store.h).
 */
#ifndef MAILSHELF_GUARD_H
#define MAILSHELF_GUARD_H

#include <mailshelf/store.h>

enum shelf_guard_how { /* bits */
	SHELF_GUARD_EXPUNGE = 1,
	SHELF_GUARD_POP3 = 2,
	SHELF_GUARD_MAILBOX = 4, /* with a mailbox that was deleted */
};

struct shelf_guard_event {
	int64_t first_s, last_s; /* the removals */
	int64_t until_s;         /* held until */
	uint64_t messages, bytes;
	uint64_t of_messages;    /* what the account had when it was noticed, with those */
	unsigned how;
	bool held;               /* false: the hold was "none", so nothing is left to keep */
	bool extending;          /* what went first has not yet its later date */
};

/* In order of time. FN: as of shelf_held_each (restore.h). SHELF_ENOACCOUNT. */
typedef int shelf_guard_fn(void *arg, const struct shelf_guard_event *event);
SHELF_CHECK int shelf_guard_each(struct shelf_store *store, uint32_t account, shelf_guard_fn *fn,
    void *arg);
/* The reports of an account have been seen: they are not told any more, and its window begins anew. The mail stays
 * held as long. CLEARED_OUT: how many there were. */
SHELF_CHECK int shelf_guard_clear(struct shelf_store *store, uint32_t account,
    unsigned *cleared_out);

#endif
