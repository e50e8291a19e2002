/*
 * imap_watch.h - what the files of the watch (imap_watch.c, imap_watch_print.c, imap_watch_notes.c) know of each other
 *
 * Shape     `box` is sorted by id; subscriptions without a mailbox have id 0 and stand in front, by name.
 *           `modseq` is the version of the account that it shows.
 * Memory    Its bytes stay within the setting, and there are at most IMAP_DIFFERENCES_MAX differences.
 */
#ifndef ACCESS_IMAP_WATCH_H
#define ACCESS_IMAP_WATCH_H

#include "imap_notify.h"

enum { IMAP_DIFFERENCES_MAX = 1000, IMAP_OWN_MAX = 8 };

struct imap_box {
	uint32_t id, uidvalidity, uidnext, exists, unseen;
	uint64_t modseq;
	unsigned special_use;
	bool subscribed;
	struct shelf_span name; /* malloc'ed */
};

enum imap_clean { IMAP_CLEAN_UNKNOWN, IMAP_CLEAN_YES, IMAP_CLEAN_NO };

struct imap_difference {
	struct imap_box old, new; /* name.data NULL: not there */
	enum imap_clean clean;    /* of a rename: imap_watch_print.c */
};

struct imap_own_name {
	uint64_t name; /* hash */
	enum imap_event event;
	bool there;
};

struct imap_note { /* an annotation, without its value */
	uint32_t mailbox; /* 0: of the account */
	uint64_t modseq;
	struct shelf_span name; /* malloc'ed */
};

struct imap_notes {
	struct imap_note *note;
	size_t n, cap, bytes;
};

struct imap_watch {
	const struct imap_notify *notify;
	unsigned wanted; /* events, of any group */
	struct imap_box *box;
	size_t n, cap, bytes, bytes_max;
	uint64_t modseq;
	struct imap_difference *diff; /* found, and what is printed next of them */
	size_t ndiff, diff_cap, next, pass;
	uint32_t own_mailbox;    /* this session changed its messages, at OWN_MODSEQ; 0: none */
	uint64_t own_modseq;
	struct imap_own_name own[IMAP_OWN_MAX];
	unsigned nown;
	struct imap_notes notes, told; /* known; and found, as differences are */
	uint64_t own_note_modseq;
	uint64_t own_removed[IMAP_OWN_MAX]; /* hashes */
	unsigned nown_removed;
};

const struct imap_box *imap_watch_find(const struct imap_watch *w, uint32_t id); /* NULL: there is none */
int imap_watch_compare_names(struct shelf_span a, struct shelf_span b);
uint64_t imap_watch_hash(struct shelf_span name);
/* Has this session done it? */
bool imap_watch_is_own(const struct imap_watch *w, struct shelf_span name, enum imap_event event, bool there);
/* All has been printed. */
void imap_watch_printed(struct imap_watch *w);

/* ---- Annotations (imap_watch_notes.c) -------------------------------------------------------------- */

/* When the list of mailboxes has been read: what there is; what differs, of the mailboxes named or of all. Nothing
 * where it is not wanted. SHELF_ELIMIT. */
SHELF_CHECK int imap_watch_read_notes(struct imap_watch *w, struct shelf_rd *rd);
SHELF_CHECK int imap_watch_look_at_notes(struct imap_watch *w, struct shelf_rd *rd, const uint32_t *ids, unsigned n,
    bool all);
void imap_watch_print_note(struct imap_session *s, const struct imap_note *note);
void imap_notes_free(struct imap_notes *l);

#endif
