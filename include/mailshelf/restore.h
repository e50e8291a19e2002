/*
 * restore.h - what users removed and the store still holds: listing it, putting it back
 *
 * Held      An expunged message, until its date of removal; a deleted mailbox with all its mail, the
 *           same. Neither counts as used. What MOVE took away is elsewhere and is not held.
 * Uids      A message put back is a new message to every client: it gets the next uid of its target,
 *           a new modseq and save date. A mailbox brought back keeps its uids.
 * Twice     What was put back is not held any more, so doing it again does nothing.
 * Threads   Any. Writing blocks (store.h).
 * Sources   RFC 9051 2.3.1.1: a uid never comes back; docs/decisions/0004.
 */
#ifndef MAILSHELF_RESTORE_H
#define MAILSHELF_RESTORE_H

#include <mailshelf/message.h>

struct shelf_held {
	uint32_t mailbox;       /* id */
	struct shelf_span name; /* now or at the mailbox's deletion; empty: nobody knows any more */
	bool mailbox_deleted;
	int64_t gone_s; /* when it was expunged */
	int64_t due_s;  /* when it goes for good */
	struct shelf_msg msg; /* gone is set; flags and keywords are those it had */
};
/*
 * shelf_held_each(store, account, fn, arg)
 *   Every expunged message that is held, in order of due_s; not the mail of deleted mailboxes.
 *   fn   returns 0 to go on; anything else ends the walk and is returned. It must not write to the
 *        store: it runs inside a snapshot, of which the walk takes a new one every 1,000 rows.
 */
typedef int shelf_held_fn(void *arg, const struct shelf_held *held);
SHELF_CHECK int shelf_held_each(struct shelf_store *store, uint32_t account, shelf_held_fn *fn,
    void *arg);

struct shelf_restored {
	uint32_t uidvalidity;        /* of the target */
	uint64_t messages, bytes;    /* put back, by transactions that are on disk */
	struct shelf_uidset *to_uids; /* NULL, or the caller's set: the new uids are added */
};
/*
 * shelf_restore(store, account, mailbox, uids, to, out)
 *   Puts held messages at the end of a mailbox: INTERNALDATE, keywords and flags are kept, but for
 *   \Deleted, so that the next EXPUNGE does not take them again. In transactions of about a hundred.
 *   uids     those of MAILBOX; what is not held is passed over. NULL: all
 *   to       id of the target; 0: MAILBOX itself
 *   returns  0; SHELF_ENOMAILBOX no target; SHELF_EQUOTA, SHELF_ELIMIT (keywords, uids used up),
 *            SHELF_EFULL: nothing of that transaction, those before stay (out says how many)
 */
SHELF_CHECK int shelf_restore(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_uidset *uids, uint32_t to, struct shelf_restored *out);

struct shelf_deleted_mailbox {
	uint32_t id;
	struct shelf_span name; /* when it was deleted */
	uint32_t messages;
	uint64_t bytes;
	int64_t due_s; /* when it goes for good */
};
/* In order of due_s. FN as of shelf_held_each. */
typedef int shelf_deleted_mailbox_fn(void *arg, const struct shelf_deleted_mailbox *mailbox);
SHELF_CHECK int shelf_deleted_mailbox_each(struct shelf_store *store, uint32_t account,
    shelf_deleted_mailbox_fn *fn, void *arg);
/*
 * shelf_mailbox_restore(store, account, id, as, name_out)
 *   Brings a deleted mailbox back with its messages, uids and flags, in one transaction, O(1).
 *   as        its name from now on; empty: its own, or when that is taken NAME-restored,
 *             NAME-restored-2 ...
 *   name_out  the name it got
 *   UIDVALIDITY is kept under its own name, unless that was given to another mailbox meanwhile.
 *   returns   0; SHELF_ENOMAILBOX not deleted, or its removal has begun; SHELF_EEXISTS, SHELF_ENAME
 *             of AS; SHELF_EQUOTA; SHELF_ELIMIT
 */
SHELF_CHECK int shelf_mailbox_restore(struct shelf_store *store, uint32_t account, uint32_t id,
    struct shelf_span as, struct shelf_buf *name_out);

#endif
