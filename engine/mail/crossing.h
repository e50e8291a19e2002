/*
 * crossing.h (private) - what is left to do of a MOVE between accounts of different partitions
 *
 * Shape     copy_across.c notes a slice in the transaction that brings its messages into the target, and settles it
 *           at once. Where that stopped, mail_crossings() goes on: the message is then in the target alone.
 */
#ifndef ENGINE_MAIL_CROSSING_H
#define ENGINE_MAIL_CROSSING_H

#include "mail.h"

enum { MAIL_CROSSING_MAX = 256 }; /* messages of a slice: a note is one row */

struct mail_crossing {
	uint32_t from_account, from; /* whose, mailbox */
	uint32_t to_account, to;
	uint64_t modseq; /* of the change of the target */
	int64_t at_s;
	unsigned n;
	uint32_t uid[MAIL_CROSSING_MAX], to_uid[MAIL_CROSSING_MAX];
};
/* In the target's change, behind its last message. Sets x->modseq. */
SHELF_CHECK int mail_crossing_note(struct mail_change *c, struct mail_crossing *x);
/*
 * mail_crossing_settle(store, x, asker, may_stay, left)
 *   The messages leave the source; copies of those that were not there any more are taken back.
 *   may_stay  what the source refuses to let go stays there, its copy goes; otherwise all is left as it is
 *   left      (empty) those that have left it, and are in the target
 *   returns   0; SHELF_ECANCELLED: another one has settled it, nobody tells how; why all stayed; or an error: left for
 *             mail_crossings()
 */
SHELF_CHECK int mail_crossing_settle(struct shelf_store *store, const struct mail_crossing *x,
				     const struct shelf_asker *asker, bool may_stay, struct shelf_uidset *left);
/* All that others have left, SLOW_ONLY: more than a minute ago. */
SHELF_CHECK int mail_crossings(struct shelf_store *store, bool slow_only);
/* A row of CROSS: SHELF_ECORRUPT, SHELF_EVERSION. */
SHELF_CHECK int mail_crossing_check(struct shelf_span key, struct shelf_span value);

#endif
