/*
 * imap_sync.h - how the dispatcher, SELECT and IDLE bring the client's picture up to date
 */
#ifndef ACCESS_IMAP_SYNC_H
#define ACCESS_IMAP_SYNC_H

#include "imap.h"

/*
 * imap_sync(c, may_renumber)
 *   Tells the client what changed in the selected mailbox. To be called again, with the same
 *   may_renumber, after the wait it asks for.
 *   A mailbox that is gone sets s->mailbox_gone.
 *   returns  IMAP_DONE everything has been told; IMAP_WANT_OUTPUT, IMAP_WANT_WAKE, IMAP_YIELD
 */
enum imap_step imap_sync(struct imap_cmd *c, bool may_renumber);
/* Before a command: what others have taken from the user's rights does not work any more. The client is told by
 * imap_sync(). Errors are left to it, too. */
void imap_sync_rights(struct imap_session *s);
/* A mailbox has been opened at version MODSEQ of the account. */
void imap_sync_start(struct imap_session *s, uint64_t modseq);
void imap_sync_stop(struct imap_session *s);
/* Everything in the selected mailbox up to this mod-sequence has been told. */
uint64_t imap_sync_told_modseq(const struct imap_session *s);
/* All flags that had changed at this version of the account have been told. */
uint64_t imap_sync_heard_modseq(const struct imap_session *s);
/* "* FLAGS (...)" and PERMANENTFLAGS. */
void imap_sync_flags(struct imap_session *s, const struct shelf_keywords *kw);
/* "* n RECENT" */
uint32_t imap_sync_recent(const struct imap_session *s);

/*
 * Claiming \Recent, on a worker: fill the first four, hand it to imap_work().
 */
struct imap_claim {
	struct shelf_store *store;
	uint32_t account, mailbox;
	int rc;
	uint32_t from, to; /* [from, to) */
};
void imap_claim_run(void *claim);
/* On the loop, after it: into s->recent. */
void imap_claim_take(struct imap_session *s, const struct imap_claim *claim);

#endif
