/*
 * mailbox.h - the mailboxes of an account
 *
 * Names     1..1,000 bytes of UTF-8 (the doors translate modified UTF-7), levels separated by "/",
 *           no empty level, no control characters, no "%" or "*", at most 32 levels. "INBOX" in any
 *           case is INBOX; below it the rest is as written. Parents need not exist: a name with inferiors
 *           only is listed as \NonExistent by the door.
 * Counters  Kept in the mailbox row by the transactions that change messages, never counted.
 * Ids       u32, > 0, never reused in an account; stable over rename.
 * Sources   RFC 9051 2.3.1.1 (UIDVALIDITY, UIDNEXT), 6.3.4-6.3.11; RFC 7162 3.1.2 (HIGHESTMODSEQ);
 *           RFC 6154 (special use); RFC 8474 4 (MAILBOXID).
 */
#ifndef MAILSHELF_MAILBOX_H
#define MAILSHELF_MAILBOX_H

#include <mailshelf/store.h>

enum {
	SHELF_MAILBOX_NAME_MAX = 1000,
	SHELF_MAILBOX_DEPTH_MAX = 32,
	SHELF_MAILBOXES_MAX = 10000, /* per account: SHELF_ELIMIT beyond */
	SHELF_KEYWORDS_MAX = 256,    /* per mailbox: SHELF_ELIMIT beyond */
	SHELF_KEYWORD_NAME_MAX = 128,
};

enum shelf_special_use { /* bits, RFC 6154 2 */
	SHELF_USE_ALL = 1,
	SHELF_USE_ARCHIVE = 2,
	SHELF_USE_DRAFTS = 4,
	SHELF_USE_FLAGGED = 8,
	SHELF_USE_JUNK = 16,
	SHELF_USE_SENT = 32,
	SHELF_USE_TRASH = 64,
};

struct shelf_mailbox {
	uint32_t id;
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint64_t highestmodseq;
	uint32_t exists;
	uint32_t unseen;
	uint32_t deleted;       /* messages with \Deleted */
	uint64_t bytes;         /* sum of RFC822.SIZE */
	uint64_t deleted_bytes; /* of those with \Deleted */
	uint32_t recent_from;   /* messages with uid >= this are \Recent to the next session */
	unsigned special_use;
	bool subscribed;
	bool exists_now;        /* false: only a subscription to a name that is gone (id 0) */
	struct shelf_span name; /* lives as long as the snapshot */
};

/* Has a mailbox a name below NAME? 1, 0, or an error. Reads a few rows, however many mailboxes there are. */
SHELF_CHECK int shelf_mailbox_has_below(struct shelf_rd *rd, struct shelf_span name);
SHELF_CHECK int shelf_mailbox_find(struct shelf_rd *rd, struct shelf_span name,
    struct shelf_mailbox *out);
/* SHELF_ENOMAILBOX when it was deleted. out->name is set. */
SHELF_CHECK int shelf_mailbox_get(struct shelf_rd *rd, uint32_t id, struct shelf_mailbox *out);
/* In memcmp order of names, INBOX first; subscriptions to missing names included. FN must not write
 * to the store. */
typedef int shelf_mailbox_fn(void *arg, const struct shelf_mailbox *mailbox);
SHELF_CHECK int shelf_mailbox_each(struct shelf_rd *rd, shelf_mailbox_fn *fn, void *arg);

/*
 * shelf_mailbox_changed(rd, since, ids_out, n_out)
 *   The mailboxes that changed behind modseq SINCE of the account, in what they hold or in name, subscription,
 *   special use, annotations, rights; deleted ones, too. 0 among them: a subscription to a name without a mailbox.
 *   ids_out  room for SHELF_CHANGED_MAX
 *   cost     O(1): the account keeps which ones changed last
 *   returns  0; SHELF_ELIMIT too many changed since: any may be among them
 */
enum { SHELF_CHANGED_MAX = 16 };
SHELF_CHECK int shelf_mailbox_changed(struct shelf_rd *rd, uint64_t since, uint32_t *ids_out,
    unsigned *n_out);

struct shelf_asker; /* acl.h */
/*
 * Creating, deleting, renaming. ACCOUNT, then names.
 *   create   SHELF_EEXISTS, SHELF_ENAME, SHELF_ELIMIT, SHELF_EQUOTA
 *   delete   SHELF_ENOMAILBOX, SHELF_ECANNOT (INBOX), SHELF_ECHILDREN when the name has inferiors
 *            only; inferiors stay. The mail is held like expunged mail, then removed.
 *   rename   moves inferiors too, in one transaction; INBOX: its messages move to TO, INBOX is left
 *            empty, inferiors stay (RFC 9051 6.3.6). SHELF_EEXISTS when TO is there.
 *            SHELF_EQUOTA, SHELF_ELIMIT of INBOX: it leaves one more mailbox behind.
 */
SHELF_CHECK int shelf_mailbox_create(struct shelf_store *store, uint32_t account,
    struct shelf_span name, unsigned special_use, uint32_t *id_out);
SHELF_CHECK int shelf_mailbox_delete(struct shelf_store *store, uint32_t account,
    struct shelf_span name);
SHELF_CHECK int shelf_mailbox_rename(struct shelf_store *store, uint32_t account,
    struct shelf_span from, struct shelf_span to);
/* The same for who must have the rights of RFC 4314 4 when it happens (acl.h; asker->needs is not looked at): "k" in
 * the nearest mailbox above a new name, at his own top none; "x" in one that goes or gets another name.
 * SHELF_ENOPERM */
SHELF_CHECK int shelf_mailbox_create_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
    struct shelf_span name, unsigned special_use, uint32_t *id_out);
SHELF_CHECK int shelf_mailbox_delete_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
    struct shelf_span name);
SHELF_CHECK int shelf_mailbox_rename_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
    struct shelf_span from, struct shelf_span to);
/* Names need not exist (RFC 9051 6.3.7); SHELF_ELIMIT beyond SHELF_MAILBOXES_MAX that do not. */
SHELF_CHECK int shelf_mailbox_subscribe(struct shelf_store *store, uint32_t account,
    struct shelf_span name, bool subscribed);
/* SHELF_ENOMAILBOX, SHELF_EEXISTS when another mailbox of the account has that use. */
SHELF_CHECK int shelf_mailbox_set_use(struct shelf_store *store, uint32_t account,
    struct shelf_span name, unsigned special_use);
/* What is \Recent to this session: [from, to). Later sessions get what comes after TO. Writes only
 * when there is something to claim. */
SHELF_CHECK int shelf_mailbox_claim_recent(struct shelf_store *store, uint32_t account, uint32_t id,
    uint32_t *from_out, uint32_t *to_out);

/* A valid name as stored: checks the rules above, "inbox" becomes "INBOX". SHELF_ENAME. */
SHELF_CHECK int shelf_mailbox_canonical(struct shelf_span name, struct shelf_buf *out);
/* The composed form (NFC) of a name, for doors that promise Net-Unicode for new ones. SHELF_ENAME: it has
 * characters that are not allowed there (RFC 6855 3). */
SHELF_CHECK int shelf_mailbox_compose(struct shelf_span name, struct shelf_buf *out);

/* Keyword names of a mailbox: bit numbers 0..count-1, in order of first use; never renumbered. */
struct shelf_keywords {
	uint32_t count;
	struct shelf_span name[SHELF_KEYWORDS_MAX]; /* live as long as the snapshot */
};
SHELF_CHECK int shelf_mailbox_keywords(struct shelf_rd *rd, uint32_t id, struct shelf_keywords *out);

#endif
