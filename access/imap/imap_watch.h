/*
 * imap_watch.h - what the files of the watch (imap_watch.c, imap_watch_print.c) know of each other
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

struct imap_watch {
	const struct imap_notify *notify;
	struct imap_box *box;
	size_t n, cap, bytes, bytes_max;
	uint64_t modseq;
	struct imap_difference *diff; /* found, and what is printed next of them */
	size_t ndiff, diff_cap, next, pass;
	uint32_t own_mailbox;    /* this session changed its messages, at OWN_MODSEQ; 0: none */
	uint64_t own_modseq;
	struct imap_own_name own[IMAP_OWN_MAX];
	unsigned nown;
};

/* Has this session done it? */
bool imap_watch_is_own(const struct imap_watch *w, struct shelf_span name, enum imap_event event, bool there);
/* All has been printed. */
void imap_watch_printed(struct imap_watch *w);

#endif
