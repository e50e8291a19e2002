/*
 * imap_context.h - searches whose results are kept up to date: RETURN (UPDATE), ADDTO, REMOVEFROM
 *
 * Shape     A context is a search program, parsed again from a copy of its text, and what it has found so far. When
 *           imap_sync.c has seen changes, each context searches among the changed messages alone, and tells the
 *           difference; nothing is ever searched anew. A sorted one knows the order of what it found, too, and finds
 *           the place of a new message by halves.
 * Refused   With NO [NOUPDATE]: more than IMAP_CONTEXTS_MAX, sorted results beyond IMAP_CONTEXT_SORTED_MAX, keys
 *           of more than IMAP_CONTEXT_TEXT_MAX_BYTES, and keys whose answer changes without a change of the
 *           message: OLDER, YOUNGER, RECENT, NEW, OLD.
 * Lifetime  From the search to CANCELUPDATE or the end of the selection.
 * Sources   RFC 5267 4.3; RFC 7377 2.2 (with ESEARCH: of the selected mailbox).
 */
#ifndef ACCESS_IMAP_CONTEXT_H
#define ACCESS_IMAP_CONTEXT_H

#include "imap.h"

enum {
	IMAP_CONTEXTS_MAX = 16,
	IMAP_CONTEXT_SORTED_MAX = 100000,
	IMAP_CONTEXT_TEXT_MAX_BYTES = 65536,
};

struct imap_contexts;

/* What a searching command hands over. */
struct imap_context_start {
	struct shelf_span keys; /* its text from the keys (or their charset) on */
	bool charset;           /* the charset comes first, without its word (SORT) */
	struct shelf_span attributes; /* of new messages, "(UID FLAGS)"; data NULL: none */
	const struct shelf_uidset *found;
	const struct shelf_sort *sort; /* NULL: in mailbox order */
	const struct shelf_sort_criterion *by;
	size_t nby;
};

/* UPDATE is among the options: true, or the tag is in use and BAD has been set. */
bool imap_context_may_begin(struct imap_cmd *c);
/* The search has ended. Prints NO [NOUPDATE "tag"] when there will be no updates. */
void imap_context_begin(struct imap_cmd *c, const struct imap_context_start *start);
/* False: there is none of that tag. */
bool imap_context_cancel(struct imap_session *s, struct shelf_span tag);
void imap_contexts_end(struct imap_session *s);

/* ---- For imap_sync.c ------------------------------------------------------------------------------ */

/* VANISHED leaves the view next: its numbers are still valid. IMAP_DONE, or what to wait for. */
enum imap_step imap_contexts_vanish(struct imap_cmd *c, const struct shelf_uidset *vanished);
/* These are changed, or new, all in the view: noted for imap_contexts_tell. */
void imap_contexts_note(struct imap_session *s, const struct shelf_uidset *changed, bool new);
enum imap_step imap_contexts_tell(struct imap_cmd *c);

#endif
