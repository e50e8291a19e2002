/*
 * imap_watch.h - what the files of the watch (imap_watch*.c) know of each other
 *
 * Shape     A watch is of one account: the session's own stands first, behind it those of others who share something
 *           that is watched (imap_watch_others.c), with the mailboxes only that the user may look up and read, under
 *           the names by which he knows them.
 *           `box` is sorted by id; subscriptions without a mailbox have id 0 and stand in front, by name.
 *           `modseq` is the version of the account that it shows.
 * Memory    Its bytes stay within the setting, and there are at most IMAP_DIFFERENCES_MAX differences.
 */
#ifndef ACCESS_IMAP_WATCH_H
#define ACCESS_IMAP_WATCH_H

#include <stdatomic.h>

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
	bool withdrawn;           /* of OLD alone: it is still there, but not for this user */
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
	struct imap_watch *next; /* of another account */
	const struct imap_notify *notify;
	uint32_t account;
	const char *user;     /* the session's */
	struct shelf_span top; /* "Other Users/NAME/", malloc'ed; empty: the user's own mailboxes */
	struct shelf_listener *listener; /* of another's */
	struct net_conn *conn;           /* whom its news wake */
	atomic_bool stale;               /* there may be news */
	unsigned wanted; /* events, of any group */
	struct imap_box *box;
	size_t n, cap, bytes, bytes_max;
	uint64_t modseq;
	struct imap_difference *diff; /* found, and what is printed next of them */
	size_t ndiff, diff_cap, at, pass;
	uint32_t own_mailbox;    /* this session changed its messages, at OWN_MODSEQ; 0: none */
	uint64_t own_modseq;
	struct imap_own_name own[IMAP_OWN_MAX];
	unsigned nown;
	struct imap_notes notes, told; /* known; and found, as differences are */
	uint64_t own_note_modseq;
	uint64_t own_removed[IMAP_OWN_MAX]; /* hashes */
	unsigned nown_removed;
};

/* The account and the names of its mailboxes are set: reads what there is; compares with what there is now. */
SHELF_CHECK int imap_watch_read(struct imap_watch *w, struct shelf_store *store);
SHELF_CHECK int imap_watch_compare(struct imap_watch *w, struct shelf_store *store);
void imap_watch_free_one(struct imap_watch **watch);
/* The one of ACCOUNT; NULL: it is not watched. */
struct imap_watch *imap_watch_of(struct imap_session *s, uint32_t account);
/* The events wanted of the mailbox, or subscription, of that name. */
unsigned imap_watch_events(const struct imap_watch *w, struct shelf_span name, bool subscribed);
/* Is NAME in the list a subscription without a mailbox? */
bool imap_watch_is_loose(const struct imap_watch *w, struct shelf_span name);

const struct imap_box *imap_watch_find(const struct imap_watch *w, uint32_t id); /* NULL: there is none */
int imap_watch_compare_names(struct shelf_span a, struct shelf_span b);
uint64_t imap_watch_hash(struct shelf_span name);
/* What NAME, as the user knows it, is called in its account. */
struct shelf_span imap_watch_path(const struct imap_watch *w, struct shelf_span name);
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
void imap_watch_print_note(struct imap_session *s, const struct imap_watch *w, const struct imap_note *note);
void imap_notes_free(struct imap_notes *l);

#endif
