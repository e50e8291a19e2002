/*
 * imap_condstore.h - mod-sequences on the wire: when a session hears of them, and of which
 *
 * A session that has named mod-sequences once (SELECT (CONDSTORE), FETCH MODSEQ, STATUS HIGHESTMODSEQ ...)
 * gets UID and MODSEQ in every unsolicited FETCH from then on.
 * Sources   RFC 7162 3.1, 3.1.8, 3.2.3, 3.2.4, 3.2.5, 3.2.6, 3.2.10.
 */
#ifndef ACCESS_IMAP_CONDSTORE_H
#define ACCESS_IMAP_CONDSTORE_H

#include "imap.h"

/* A CONDSTORE enabling command was given. With a mailbox selected its HIGHESTMODSEQ is told. */
void imap_condstore_enable(struct imap_session *s);
/* "NAME " has been read: the number behind it. */
bool imap_condstore_number(struct imap_parser *p, uint64_t *out);
/* "MODSEQ (n)" */
void imap_condstore_print(struct imap_session *s, uint64_t modseq);
/*
 * imap_condstore_vanished(s, set, next, earlier)
 *   One VANISHED response, with some of the uids of SET from *NEXT (at first 1) on.
 *   returns  false: there were none left, nothing was printed
 */
bool imap_condstore_vanished(struct imap_session *s, const struct shelf_uidset *set, uint32_t *next,
    bool earlier);
/*
 * What changed behind a mod-sequence, found on a worker:
 *   imap_changes_begin, imap_work(c, imap_changes_run, ch), imap_changes_take ... imap_changes_end
 */
struct imap_changes {
	struct shelf_store *store;
	uint32_t account, mailbox;
	uint64_t since;
	uint32_t below;                /* uids from here on are new to everybody */
	struct shelf_uidset *changed;  /* in the mailbox, mod-sequence above SINCE */
	struct shelf_uidset *vanished; /* not in the session's view, removed behind SINCE */
	uint32_t next;                 /* for imap_condstore_vanished */
	int rc;
};
void imap_changes_begin(struct imap_session *s, uint64_t since, struct imap_changes *ch);
void imap_changes_run(void *ch);
/* KNOWN, uids, or NULL: no others are of interest. Sets rc: the view may have to be read for it. */
void imap_changes_take(struct imap_session *s, struct imap_changes *ch, const struct shelf_uidset *known);
void imap_changes_end(struct imap_changes *ch);
/* The message numbers, or with UID the uids, of a set of uids in the view, as a sequence-set in the arena. */
const char *imap_condstore_set(struct imap_cmd *c, const struct shelf_uidset *uids);
/* "OK [HIGHESTMODSEQ n] <name> completed" of a command that removed messages, where QRESYNC is enabled:
 * everything up to n is told with this reply. */
enum imap_step imap_condstore_removed(struct imap_cmd *c);
/* The removals could not be told after all: the reply must not promise it. */
void imap_condstore_untold(struct imap_cmd *c);

#endif
