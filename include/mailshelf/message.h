/*
 * message.h - receiving, storing, reading, flagging, copying and removing messages
 *
 * Bytes     A message is stored byte for byte as given; every section read later is a slice of it.
 *           It is given in wire form (CRLF); tools that read Unix files convert first.
 * Flags     System flags are bits, keywords are bit numbers of their mailbox (mailbox.h). Setting
 *           flags takes keyword names and creates missing ones (SHELF_ELIMIT beyond 256).
 * Modseq    One counter per account; every committed change of an account gets the next number.
 * Sources   RFC 9051 2.3, 6.3.12, 6.4.6-6.4.8; RFC 7162; RFC 6851; RFC 8474 5 (email id).
 */
#ifndef MAILSHELF_MESSAGE_H
#define MAILSHELF_MESSAGE_H

#include <mailshelf/arena.h>
#include <mailshelf/store.h>
#include <mailshelf/uidset.h>

struct shelf_asker; /* acl.h: who must have rights when a change is made */

enum shelf_flag { /* bits */
	SHELF_SEEN = 1,
	SHELF_ANSWERED = 2,
	SHELF_FLAGGED = 4,
	SHELF_DELETED = 8,
	SHELF_DRAFT = 16,
	SHELF_FLAGS_SYSTEM = 31,
};

struct shelf_msg {
	uint32_t uid;
	uint32_t flags;         /* enum shelf_flag */
	uint64_t keywords[4];   /* bit n of the set = keyword number n */
	uint64_t modseq;
	int64_t internaldate_s; /* UTC */
	int16_t zone_min;       /* of INTERNALDATE as it was given, minutes east */
	bool gone;              /* expunged and held, or moved: readable, not counted */
	int64_t savedate_s;     /* when it came into this mailbox */
	uint64_t size;          /* RFC822.SIZE, bytes */
	uint64_t blob;          /* for shelf_body_open */
	uint8_t email_id[16];   /* same bytes, same id: SHA-256 of the message, cut */
	bool dated;             /* sent_s is known; not of mail stored by older releases: its envelope has it */
	int64_t sent_s;         /* Date: in UTC; INT64_MIN: none that can be read */
};

static inline bool
shelf_msg_has_keyword(const struct shelf_msg *m, uint32_t n)
{
	return n < 256 && (m->keywords[n / 64] >> (n % 64) & 1) != 0;
}

/*
 * shelf_msg_get(rd, mailbox, uid, out)
 *   returns  0; SHELF_ENOMESSAGE. A message expunged within the hold time is returned with gone set,
 *            so that sessions that have not been told can go on reading it; so is one that was moved, or undeleted
 *            under another uid, within the hour: as it is where it is now, and under UID.
 */
SHELF_CHECK int shelf_msg_get(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid,
    struct shelf_msg *out);
/*
 * shelf_msg_next(rd, mailbox, uid, what, out)
 *   The first present message with a uid >= UID: the way to walk a mailbox in order.
 *   what     SHELF_MSG_FLAGS: only uid, flags, keywords, modseq are filled (no row is read)
 *   cost     pages of 256 messages are decoded once per 256 calls (kept in RD)
 *   returns  0; SHELF_ENOMESSAGE no further message
 */
enum shelf_msg_what { SHELF_MSG_FLAGS, SHELF_MSG_ALL };
SHELF_CHECK int shelf_msg_next(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid,
    enum shelf_msg_what what, struct shelf_msg *out);

/*
 * shelf_msg_first_unseen(rd, mailbox, uid_out, seq_out)
 *   The first message without \Seen: its uid, and its number in this snapshot (a view just opened
 *   numbers alike).
 *   cost     one summary row per 65,536 uids, two pages
 *   returns  0; SHELF_ENOMESSAGE all are seen
 */
SHELF_CHECK int shelf_msg_first_unseen(struct shelf_rd *rd, uint32_t mailbox, uint32_t *uid_out,
    uint32_t *seq_out);
/*
 * shelf_msg_changes(rd, mailbox, since, below, flagged, vanished)
 *   What happened to the uids below BELOW behind modseq SINCE (RFC 7162 3.1.4.1, 3.2.5).
 *   below     UINT32_MAX: all uids
 *   flagged   present messages with a modseq above SINCE, new ones too, are added to this set
 *   vanished  uids that were removed are added to this one, also those that had come behind SINCE
 *   cost      O(changes), one summary row per 65,536 uids
 */
SHELF_CHECK int shelf_msg_changes(struct shelf_rd *rd, uint32_t mailbox, uint64_t since,
    uint32_t below, struct shelf_uidset *flagged, struct shelf_uidset *vanished);

/* ---- Bodies ---------------------------------------------------------------------------------- */

/*
 * A body reads ranges of one message. It holds at most one decompressed frame (256 KiB), so a
 * message of any size streams in fixed memory. It survives the end of the snapshot: each read takes
 * one of its own account. One thread at a time.
 */
struct shelf_body;
/* SHELF_ENOMESSAGE when the blob is gone. */
SHELF_CHECK int shelf_body_open(struct shelf_store *store, uint32_t account, uint64_t blob,
    struct shelf_body **out);
uint64_t shelf_body_size(const struct shelf_body *body);
/*
 * shelf_body_read(body, offset, max, out)
 *   Bytes from OFFSET on, up to the end of the frame they lie in and at most MAX; empty at the end.
 *   OUT lives until the next call. A frame's checksum is verified when it is decompressed.
 *   returns  0; SHELF_ECORRUPT; SHELF_ENOMESSAGE removed meanwhile; SHELF_EIO
 */
SHELF_CHECK int shelf_body_read(struct shelf_body *body, uint64_t offset, size_t max,
    struct shelf_span *out);
void shelf_body_close(struct shelf_body **body);

/*
 * shelf_msg_derived(rd, blob, arena, out)
 *   The stored result of the MIME scan at delivery (mime.h decodes it): OUT lives in ARENA.
 *   returns  0; SHELF_EMISSING (then scan the body again); SHELF_ECORRUPT
 */
SHELF_CHECK int shelf_msg_derived(struct shelf_rd *rd, uint64_t blob, struct shelf_arena *arena,
    struct shelf_span *out);

/* ---- Receiving --------------------------------------------------------------------------------- */

/*
 * A draft is a message being received: bytes are hashed, compressed and scanned as they come, and
 * kept in memory up to 256 KiB compressed, then in a temporary file. Not visible to anybody until
 * it is appended; freeing it at any time leaves nothing behind. After shelf_draft_finish it may be
 * appended any number of times, to any accounts, by any thread but one at a time (shelf_deliver is how
 * many accounts get it at once).
 */
struct shelf_draft;
SHELF_CHECK int shelf_draft_new(struct shelf_store *store, struct shelf_draft **out);
SHELF_CHECK int shelf_draft_write(struct shelf_draft *draft, const void *data, size_t len);
SHELF_CHECK int shelf_draft_finish(struct shelf_draft *draft);
uint64_t shelf_draft_size(const struct shelf_draft *draft);
const uint8_t *shelf_draft_email_id(const struct shelf_draft *draft); /* 16 bytes, after finish */
/*
 * For mail that is sent again to some who have it (shelf_deliver_note): before the first byte that is the same then.
 * ENVELOPE: what else must be the same. The identity: 16 bytes, after finish; NULL when it was not asked for.
 */
void shelf_draft_identify(struct shelf_draft *draft, struct shelf_span envelope);
const uint8_t *shelf_draft_identity(const struct shelf_draft *draft);
void shelf_draft_free(struct shelf_draft **draft);

struct shelf_append {
	struct shelf_span uidl;	/* of another server (pop3.h); empty: none. Imports only */
	uint32_t uid; /* wanted, taken when it is free and up to SHELF_UID_KEPT_MAX; 0: the next. Imports only */
	const uint8_t *also_id; /* 16 bytes: marked too (import.h); NULL: nothing. Imports only */
	struct shelf_draft *draft;         /* finished */
	uint32_t flags;                    /* enum shelf_flag */
	const struct shelf_span *keywords; /* names */
	size_t nkeywords;
	int64_t internaldate_s;            /* INT64_MIN: now */
	int16_t zone_min;
	/* Of the first one: for all. FROM_ASKER: of shelf_msg_replace, in the mailbox the message leaves. */
	const struct shelf_asker *asker, *from_asker;
};

struct shelf_append_result {
	int rc;               /* used by shelf_deliver only */
	uint32_t mailbox;     /* id */
	uint32_t uidvalidity;
	uint32_t first_uid;   /* n messages have uids first_uid .. first_uid + n - 1 */
	uint64_t modseq;
};

/*
 * shelf_append(store, account, mailbox_id, items, n, result_out)
 *   All N messages or none, in one transaction (RFC 3502).
 *   returns  0; SHELF_ENOMAILBOX; SHELF_EQUOTA; SHELF_ELIMIT (keywords, uids used up); SHELF_EFULL
 */
SHELF_CHECK int shelf_append(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_append *items, size_t n, struct shelf_append_result *result_out);

/*
 * shelf_msg_replace(store, account, from, uid, mailbox, item, result_out)
 *   ITEM is appended to MAILBOX and the message UID leaves FROM, in one transaction (RFC 8508). It is held
 *   and counted by the guard as if it were expunged. The quota is asked for the difference only.
 *   returns  as shelf_append; SHELF_ENOMESSAGE: UID is not in FROM any more, nothing was done
 */
SHELF_CHECK int shelf_msg_replace(struct shelf_store *store, uint32_t account, uint32_t from,
    uint32_t uid, uint32_t mailbox, const struct shelf_append *item,
    struct shelf_append_result *result_out);
/* Would a message of LEN bytes fit the quota now, in place of UID? 0, SHELF_EQUOTA, SHELF_ENOMESSAGE. */
SHELF_CHECK int shelf_replace_probe(struct shelf_store *store, uint32_t account, uint32_t from,
    uint32_t uid, uint64_t len);

enum { SHELF_HEAD_MAX = 2048 };

struct shelf_delivery {
	uint32_t account;
	struct shelf_span mailbox; /* empty: INBOX; a missing one is created */
	bool existing;             /* but this one is not, nor when it is no name: then it is INBOX */
	uint32_t flags;
	/* The message may pass the limit of bytes by so much, when the account is below it; UINT64_MAX: no
	 * limit counts. */
	uint64_t over;
	int refused; /* answered without trying, by an account that does not have it yet; 0: it is tried */
	/* Fields in front of the message that are true for this account, SHELF_HEAD_MAX bytes at most; empty: none.
	 * Each costs a hash and a scan of the whole message; rows behind each other with the same bytes at the
	 * same place share that. */
	struct shelf_span head;
};
/*
 * shelf_deliver(store, draft, list, n, results_out)
 *   One message to N accounts: one body per partition whatever the heads, one transaction per account, commits shared.
 *   Each result has its own rc: 0, SHELF_EQUOTA, SHELF_ENOACCOUNT, SHELF_EDISABLED, SHELF_EFULL ...
 *   An account that has a note of the draft's identity has it already: 0, and no uid.
 */
void shelf_deliver(struct shelf_store *store, struct shelf_draft *draft,
    const struct shelf_delivery *list, size_t n, struct shelf_append_result *results_out);
/* A draft of this identity will come again, and is not stored in ACCOUNT then: for ten days. */
SHELF_CHECK int shelf_deliver_note(struct shelf_store *store, uint32_t account, const uint8_t *identity);
/* Would LEN more bytes in one more message fit the quota now? 0 or SHELF_EQUOTA. */
SHELF_CHECK int shelf_deliver_probe(struct shelf_store *store, uint32_t account, uint64_t len);
/* The same when AHEAD messages of AHEAD_BYTES together are on their way. OVER: as of a delivery. */
SHELF_CHECK int shelf_deliver_room(struct shelf_store *store, uint32_t account, uint64_t len, uint64_t over,
    uint64_t ahead_bytes, uint64_t ahead);

/* ---- Changing ---------------------------------------------------------------------------------- */

enum shelf_flag_op { SHELF_FLAGS_ADD, SHELF_FLAGS_REMOVE, SHELF_FLAGS_REPLACE };

struct shelf_flag_change {
	enum shelf_flag_op op;
	uint32_t flags;
	const struct shelf_span *keywords;
	size_t nkeywords;
	uint64_t unchanged_since; /* UINT64_MAX: no condition (RFC 7162 3.1.3) */
	/* What REPLACE leaves as it is because who asks may not change it (RFC 4314 4). */
	uint32_t kept_flags;
	bool kept_keywords;
	const struct shelf_asker *asker;
};
/*
 * shelf_msg_set_flags(store, account, mailbox, uids, change, modified_out, modseq_out)
 *   uids          those not in the mailbox are passed over
 *   modified_out  NULL, or receives the uids that UNCHANGED_SINCE kept from being changed
 *   modseq_out    NULL, or receives the modseq of the last change; left as it was when nothing changed
 *   Large sets are changed in several transactions of about 300 pages.
 */
SHELF_CHECK int shelf_msg_set_flags(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_uidset *uids, const struct shelf_flag_change *change,
    struct shelf_uidset *modified_out, uint64_t *modseq_out);

/*
 * shelf_msg_expunge(store, account, mailbox, uids, flags, expunged_out)
 *   uids      NULL: all
 *   flags     SHELF_EXPUNGE_DELETED: only messages with \Deleted (EXPUNGE, UID EXPUNGE, CLOSE)
 *             SHELF_EXPUNGE_ATOMIC: one transaction however many (POP3 QUIT); slices otherwise
 *             SHELF_EXPUNGE_POP3: by that door, for who reads the guard's reports (guard.h)
 *   expunged_out  NULL, or receives the uids removed
 *   Never fails for want of space or quota.
 */
enum { SHELF_EXPUNGE_DELETED = 1, SHELF_EXPUNGE_ATOMIC = 2, SHELF_EXPUNGE_POP3 = 4 };
SHELF_CHECK int shelf_msg_expunge(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_uidset *uids, unsigned flags, struct shelf_uidset *expunged_out);
SHELF_CHECK int shelf_msg_expunge_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
    uint32_t mailbox, const struct shelf_uidset *uids, unsigned flags, struct shelf_uidset *expunged_out);

struct shelf_copy_result {
	uint32_t uidvalidity;          /* of the target */
	struct shelf_uidset *from_uids; /* the caller's sets, filled: same count, same order */
	struct shelf_uidset *to_uids;
	uint64_t modseq;
};
/*
 * shelf_msg_copy(store, account, from, to, uids, move, result)
 *   COPY is all or nothing, in one transaction of at most SHELF_COPY_MAX messages: SHELF_ELIMIT beyond. MOVE
 *   takes any number, in slices of 512; after an error RESULT has what was moved before it, all else is where it
 *   was. Flags, keywords, INTERNALDATE are kept; bodies are shared.
 *   MOVE never asks the quota (nothing is added); two sessions moving a message move it once.
 *   returns  0 (also when no uid was there); SHELF_ENOMAILBOX; SHELF_EQUOTA; SHELF_ELIMIT; SHELF_EFULL
 */
enum { SHELF_COPY_MAX = 200000 };
/*
 * shelf_msg_copy_to(store, what, result)
 *   The same, also into a mailbox of another account, without the flags that who copies may not set there. Then bodies
 *   may have to be stored anew, quota is asked of the target, for MOVE too, and the messages come in slices of 256: a
 *   COPY that fails takes them back; what MOVE takes away is held where it was, like what is expunged. A MOVE that is
 *   stopped half way is finished by the next process that serves, or by shelf_store_purge().
 */
struct shelf_copy {
	uint32_t account, from;
	uint32_t to_account, to;
	const struct shelf_uidset *uids;
	bool move;
	uint32_t flags_lost; /* enum shelf_flag (RFC 4314 4) */
	bool keywords_lost;
	const struct shelf_asker *from_asker, *to_asker;
};
SHELF_CHECK int shelf_msg_copy_to(struct shelf_store *store, const struct shelf_copy *what,
    struct shelf_copy_result *result);
SHELF_CHECK int shelf_msg_copy(struct shelf_store *store, uint32_t account, uint32_t from,
    uint32_t to, const struct shelf_uidset *uids, bool move, struct shelf_copy_result *result);

#endif
