/*
 * view.h - a session's picture of one mailbox: message number to uid
 *
 * Shape     A view maps message numbers 1..count to uids, ascending. Numbers change only in
 *           shelf_view_refresh(); uids never do.
 * Lifetime  Nothing a view returns points into the store. What it needs of the store it reads when it is
 *           asked, in snapshots of its own, and answers for the moment of its last refresh all the same.
 *           It ends before the store does.
 * Errors    When such a read fails, uids there are as if not in the view (0); shelf_view_error() and the
 *           next shelf_view_refresh() return the error: then the view is of no more use.
 * Threads   One thread per view. Any number of views per mailbox.
 * Memory    Some hundred bytes, and 16 for each 65,536 uids; what was asked for is kept: nothing for a
 *           range of uids without holes, 8.5 KiB for one with holes, 145 KiB for all of them.
 * Sources   RFC 9051 2.3.1 (numbers), 7.5.1 (when EXPUNGE may be sent); RFC 7162 3.1 (modseq).
 */
#ifndef MAILSHELF_VIEW_H
#define MAILSHELF_VIEW_H

#include <mailshelf/mailbox.h>
#include <mailshelf/uidset.h>

struct shelf_view;

SHELF_CHECK int shelf_view_open(struct shelf_rd *rd, uint32_t mailbox, struct shelf_view **out);
void shelf_view_close(struct shelf_view **view);

size_t shelf_view_bytes(const struct shelf_view *view); /* memory it takes now */
/* 0, or why a read failed: what the view answered since is not to be relied on. */
SHELF_CHECK int shelf_view_error(const struct shelf_view *view);
uint32_t shelf_view_mailbox(const struct shelf_view *view); /* id */
uint32_t shelf_view_count(const struct shelf_view *view);
uint32_t shelf_view_uid(const struct shelf_view *view, uint32_t seq); /* 0 when out of 1..count */
uint32_t shelf_view_seq(const struct shelf_view *view, uint32_t uid); /* 0 when not in the view */
/* Message number of the first uid >= UID; count + 1 when there is none. */
uint32_t shelf_view_seq_from(const struct shelf_view *view, uint32_t uid);
uint32_t shelf_view_max_uid(const struct shelf_view *view); /* 0 when empty */
uint32_t shelf_view_uidnext(const struct shelf_view *view); /* as of the last refresh */
uint64_t shelf_view_modseq(const struct shelf_view *view);  /* of the snapshot last seen */
/* Adds the uids of the view to SET. Walks the whole mailbox. */
void shelf_view_uids(const struct shelf_view *view, struct shelf_uidset *set);
/* Removes from SET what is not in the view. Walks what is in SET. */
void shelf_view_retain(const struct shelf_view *view, struct shelf_uidset *set);

struct shelf_changes {
	struct shelf_uidset *vanished; /* left the view now, uids */
	struct shelf_uidset *flagged;  /* in the view before and now; flags may have changed */
	uint32_t old_count;            /* before this refresh */
	uint32_t added;                /* how many are new, at the end */
	bool kept_back;                /* messages are gone that may_renumber = false keeps in the view */
};
/*
 * shelf_view_refresh(view, rd, may_renumber, changes)
 *   Brings VIEW up to what RD sees.
 *   may_renumber  false while EXPUNGE must not be sent: removals are kept back until the next
 *                 refresh with true. Expunged messages stay readable while they are held, moved ones
 *                 for an hour (message.h, gone).
 *   changes       the caller's: vanished and flagged are sets of its own, which are cleared first.
 *                 The message number of a vanished uid must be taken BEFORE the refresh, so
 *                 shelf_view_seq() answers for the numbering before it until the caller ends the
 *                 report with shelf_view_commit().
 *   cost          O(changes), one summary row per 65,536 uids.
 *   returns       0; SHELF_ENOMAILBOX the mailbox was deleted: close the view; after another error
 *                 the view is as before
 */
SHELF_CHECK int shelf_view_refresh(struct shelf_view *view, struct shelf_rd *rd, bool may_renumber,
    struct shelf_changes *changes);
/* Applies what the last refresh reported: until here count, uid, seq answer as before it. */
void shelf_view_commit(struct shelf_view *view);

#endif
