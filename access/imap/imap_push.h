/*
 * imap_push.h - FETCH responses that no command asked for (imap_push.c)
 *
 * Lifetime  imap_push_new .. imap_push_free; what ITEMS point to (names of sections) must live as long.
 */
#ifndef ACCESS_IMAP_PUSH_H
#define ACCESS_IMAP_PUSH_H

#include "imap_fetch.h"

struct imap_push;

/* Of the uids in the session's view. Nothing is made \Seen by it. */
struct imap_push *imap_push_new(struct imap_session *s, const struct imap_fetch_items *items,
    const struct shelf_uidset *uids);
/* IMAP_DONE, or what to wait for. */
enum imap_step imap_push_run(struct imap_push *push);
void imap_push_free(struct imap_push **push);

#endif
