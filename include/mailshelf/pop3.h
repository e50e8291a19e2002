/*
 * pop3.h - what is kept of a message for POP3: fetched when, hidden, its unique-id; the lock of a maildrop
 *
 * Shape     Sparse: a message that POP3 has never touched has nothing, and an account that never uses it no row.
 * Fetched   A RETR was sent to its end. The time is that of the last one: whoever fetched it last may need it longest.
 * Hidden    Deleted by POP3 where the policy says that it only disappears from there. IMAP sees no difference.
 * Unique-id One of another server (RFC 1939 7), or none: then it is made of uidvalidity and uid. No two messages of an
 *           account have the same one.
 * Moves     MOVE within an account takes all three along; a copy is a new message and has none, and so is what MOVE
 *           brings into another account. Expunged: fetched and hidden are forgotten, the unique-id stays with the
 *           message while it is held. Undelete: back as not fetched and not hidden, under that unique-id.
 * Threads   Any. Writing blocks (store.h).
 * Sources   RFC 1939 7 UIDL; RFC 2449 6.7 EXPIRE, 8.1.1 IN-USE
 */
#ifndef MAILSHELF_POP3_H
#define MAILSHELF_POP3_H

#include <mailshelf/store.h>
#include <mailshelf/uidset.h>

enum { SHELF_UIDL_MAX = 70 };

/* ---- Fetched, hidden ------------------------------------------------------------------------- */

/* What a session leaves behind. NULL: none of these. */
struct shelf_pop3_note {
	const struct shelf_uidset *fetched;
	int64_t fetched_s; /* when; an earlier time than a message has already changes nothing */
	const struct shelf_uidset *hide, *show;
};
/*
 * shelf_pop3_note(store, account, mailbox, note)
 *   Messages that are gone are passed over. What is hidden and shown changes in one transaction; the rest in slices.
 *   cost     a row for each 256 uids touched
 *   returns  0; SHELF_ENOMAILBOX; SHELF_EFULL, SHELF_EREADONLY
 */
SHELF_CHECK int shelf_pop3_note(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_pop3_note *note);

/* The same for who cannot wait, of what was fetched alone: NOTE may go when it returns. What cannot be written is
 * logged. */
void shelf_pop3_note_later(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_pop3_note *note);

struct shelf_pop3_state {
	int64_t fetched_s; /* 0: not fetched */
	bool hidden;
};
SHELF_CHECK int shelf_pop3_get(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid, struct shelf_pop3_state *out);
/* Adds the messages of MAILBOX fetched before BEFORE_S (INT64_MAX: ever) to SET. Reads a row for each 256 uids that
 * POP3 has touched, whatever else is in the mailbox. */
SHELF_CHECK int shelf_pop3_fetched_before(struct shelf_rd *rd, uint32_t mailbox, int64_t before_s,
    struct shelf_uidset *set);
/* Adds the hidden ones, as above. BYTES_OUT: what they take. */
SHELF_CHECK int shelf_pop3_hidden(struct shelf_rd *rd, uint32_t mailbox, struct shelf_uidset *set, uint64_t *bytes_out);

/* Are there any? Asks once for each 256 uids touched, up to the first. */
SHELF_CHECK int shelf_pop3_hides(struct shelf_rd *rd, uint32_t mailbox, bool *out);

/* ---- Unique-ids of other servers ------------------------------------------------------------- */

/* 1..70 characters of 0x21..0x7e. */
bool shelf_uidl_valid(struct shelf_span uidl);
/*
 * shelf_uidl_set(store, account, mailbox, uid, uidl)
 *   returns  0; SHELF_EEXISTS: another message of the account has it, or will; SHELF_ESYNTAX; SHELF_ENOMESSAGE;
 *            SHELF_ENOMAILBOX
 */
SHELF_CHECK int shelf_uidl_set(struct shelf_store *store, uint32_t account, uint32_t mailbox, uint32_t uid,
    struct shelf_span uidl);
/* The first uid from FROM on that has one, into TEXT (SHELF_UIDL_MAX + 1): 1 found, 0 none. */
SHELF_CHECK int shelf_uidl_next(struct shelf_rd *rd, uint32_t mailbox, uint32_t from, uint32_t *uid_out, char *text);
/* The one that is made when it has none: into TEXT. */
void shelf_uidl_make(uint32_t uidvalidity, uint32_t uid, char *text);

/* ---- The lock of a maildrop ------------------------------------------------------------------ */

/* For one session of the account, in all processes that have the store open, until it is given back or the process
 * ends. SHELF_EBUSY: another one has it. */
struct shelf_pop3_lock;
SHELF_CHECK int shelf_pop3_lock(struct shelf_store *store, uint32_t account, struct shelf_pop3_lock **out);
void shelf_pop3_unlock(struct shelf_pop3_lock **lock);

#endif
