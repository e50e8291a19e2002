/*
 * imap_arranged.h - the last order and the last threads that were made in this mailbox
 *
 * Clients that show a list sorted ask for the same order with each page. What a message is sorted by never changes, so
 * the same messages in the same order need no look at them: whether they are the same is all that is asked.
 * Forgotten when the mailbox is left; nothing of more than IMAP_ARRANGED_MAX messages is kept.
 */
#ifndef ACCESS_IMAP_ARRANGED_H
#define ACCESS_IMAP_ARRANGED_H

#include "imap_search.h"

enum { IMAP_ARRANGED_MAX = 50000 }; /* 8 bytes each for an order, 40 for threads */

struct imap_arranged;
/* UIDS in that order, if that is the one that is known; it belongs to the session and lives until the next one is
 * kept. NULL: it has to be made. */
struct shelf_sort *imap_arranged_sort(const struct imap_session *s, const struct shelf_uidset *uids,
    const struct shelf_sort_criterion *by, size_t n);
struct shelf_thread *imap_arranged_thread(const struct imap_session *s, const struct shelf_uidset *uids,
    enum shelf_thread_algorithm algorithm);
/* *SORT is done, and complete. True: the session has taken it. */
bool imap_arranged_keep_sort(struct imap_session *s, const struct shelf_uidset *uids,
    const struct shelf_sort_criterion *by, size_t n, struct shelf_sort *sort);
bool imap_arranged_keep_thread(struct imap_session *s, const struct shelf_uidset *uids,
    enum shelf_thread_algorithm algorithm, struct shelf_thread *thread);
void imap_arranged_free(struct imap_arranged **arranged);

#endif
