/*
 * imap_notify.h - NOTIFY: what a client wants to hear of without asking
 *
 * Shape     The selected mailbox is told of by imap_sync.c, which asks here what is wanted. For all others a
 *           session keeps what it knows of each mailbox (imap_watch.c), of its own account and of those that share
 *           some with it (imap_watch_others.c), and compares when the account has changed; nothing is queued, so a
 *           client that does not read costs nothing.
 * Lifetime  s->notify is NULL until NOTIFY is used, then lives until the session ends.
 * Threads   The session's loop; only the listeners' callback runs elsewhere, and wakes the connection.
 * Sources   RFC 5465.
 */
#ifndef ACCESS_IMAP_NOTIFY_H
#define ACCESS_IMAP_NOTIFY_H

#include <mailshelf/metadata.h>

#include "imap_fetch.h"

enum imap_event { /* bits */
	IMAP_EVENT_NEW = 1,
	IMAP_EVENT_EXPUNGE = 2,
	IMAP_EVENT_FLAGS = 4,
	IMAP_EVENT_MESSAGES = 7, /* those above */
	IMAP_EVENT_NAME = 8,
	IMAP_EVENT_SUBSCRIPTION = 16,
	IMAP_EVENT_METADATA = 32,
	IMAP_EVENT_SERVER_METADATA = 64,
	IMAP_EVENT_ALL_METADATA = 96, /* those two */
};

enum imap_filter {
	IMAP_FILTER_SELECTED,
	IMAP_FILTER_DELAYED,
	IMAP_FILTER_PERSONAL, /* and inboxes: mail may be delivered into any mailbox */
	IMAP_FILTER_SUBSCRIBED,
	IMAP_FILTER_SUBTREE,
	IMAP_FILTER_MAILBOXES,
};

struct imap_notify_group {
	enum imap_filter filter;
	struct shelf_span *name; /* of SUBTREE and MAILBOXES */
	size_t nname, name_cap;
	unsigned events;
};

struct imap_watch;

struct imap_notify {
	struct shelf_arena arena;        /* the text of the command, and what was made of it */
	struct imap_notify_group *group; /* those of other mailboxes */
	size_t ngroup, group_cap;
	unsigned selected;               /* events told of the selected mailbox */
	bool delayed;                    /* no EXPUNGE between commands */
	bool has_items;
	struct imap_fetch_items items;   /* of new messages in it */
	struct imap_push *push;          /* of new ones, under way */
	struct imap_watch *watch;        /* the others, a list of accounts; NULL: nothing is wanted of them */
	struct imap_watch *telling;      /* of it, whose differences are told */
	struct shelf_listener *listener; /* to the session's account */
	struct shelf_listener *owner_listener; /* to the selected mailbox's, when that is another one */
	bool looked;                     /* imap_notify_tell: the selected mailbox is done */
};

/* ---- What was asked (imap_notify_parse.c) ---------------------------------------------------------- */

enum { IMAP_NOTIFY_NAMES_MAX = 1000 };

struct imap_notify_request {
	struct imap_notify *notify;  /* the caller's, filled; in its arena lies what is parsed */
	bool status;
	bool has_selected;
	bool unsupported;            /* an event that there is none of */
	size_t names;                /* beyond IMAP_NOTIFY_NAMES_MAX they are counted only */
};
/* " STATUS (PERSONAL (MessageNew MessageExpunge))" up to the end of the command. */
bool imap_notify_parse(struct imap_parser *p, struct imap_notify_request *request);

struct imap_notify *imap_notify_new(void);
void imap_notify_free(struct imap_notify **notify);
/* Begins to listen; what is listened to for the selected mailbox follows a SELECT by imap_notify_selected. */
SHELF_CHECK int imap_notify_listen(struct imap_session *s, struct imap_notify *notify);
void imap_notify_selected(struct imap_session *s);
/* The events wanted of the mailbox of that name; PERSONAL: in the user's own namespace. */
unsigned imap_notify_events(const struct imap_notify *notify, struct shelf_span name, bool personal, bool subscribed);

/* ---- Telling ------------------------------------------------------------------------------------- */

/* May the command's session be told of EVENT in its selected mailbox? Without NOTIFY, of all. */
bool imap_notify_wants(const struct imap_cmd *c, enum imap_event event);
/*
 * imap_notify_fetch(s, uids)
 *   The FETCH responses that NOTIFY asks for of new messages of the selected mailbox.
 *   returns  IMAP_DONE; or what to wait for, then it is called again
 */
enum imap_step imap_notify_fetch(struct imap_session *s, const struct shelf_uidset *uids);
/*
 * imap_notify_tell(c, may_renumber)
 *   Tells all that is wanted, until there is nothing new. Without NOTIFY: of the selected mailbox.
 *   returns  IMAP_DONE; or what to wait for, then it is called again (IMAP_WANT_INPUT: the session ends)
 */
enum imap_step imap_notify_tell(struct imap_cmd *c, bool may_renumber);
/* The dispatcher's command without a client's: something has happened, and nothing runs. */
enum imap_step imap_notify_notice(struct imap_cmd *c);
/* The client asks for too much: from now on nothing is told. */
void imap_notify_overflow(struct imap_session *s);

/* ---- The other mailboxes (imap_watch_others.c) ----------------------------------------------------- */

/* Reads what there is. SHELF_ELIMIT: more than a session may hold. */
SHELF_CHECK int imap_watch_begin(struct imap_session *s, const struct imap_notify *notify,
    struct imap_watch **out);
void imap_watch_free(struct imap_watch **watch);
/* Compares with what there is now. SHELF_ELIMIT: too much to tell or to hold. */
SHELF_CHECK int imap_watch_look(struct imap_session *s);
/* Prints what was found: IMAP_DONE, IMAP_WANT_OUTPUT or IMAP_YIELD. */
enum imap_step imap_watch_print(struct imap_session *s);
/* STATUS of all that is watched for messages, in pieces; the same. *NEXT is 0 at first. */
enum imap_step imap_watch_status(struct imap_session *s, size_t *next);

/*
 * What this session does itself is not news (RFC 5465 5): a change of messages, alone since the last look
 * up to MODSEQ; a name that is there, or subscribed, now, or is not; annotations set at MODSEQ, or removed.
 */
void imap_watch_own(struct imap_session *s, uint32_t account, uint32_t mailbox, uint64_t modseq);
void imap_watch_own_name(struct imap_session *s, uint32_t account, struct shelf_span name, enum imap_event event,
    bool there);
void imap_watch_own_metadata(struct imap_session *s, uint32_t account, uint32_t mailbox, uint64_t modseq,
    const struct shelf_metadata *list, size_t n);

#endif
