/*
 * acl.h (private) - rows of ACL, and the index of who shares with whom
 *
 *   acl.c     entries of mailboxes, in the partition of their account
 *   shared.c  the index, in the catalog
 *
 * The two are in different environments, so no transaction spans them. What must stay true: whenever an entry gives
 * rights to somebody else than the owner, the index has a row for it. So the row comes first and goes last.
 */
#ifndef ENGINE_MAIL_ACL_H
#define ENGINE_MAIL_ACL_H

#include <mailshelf/acl.h>

#include "mail.h"

struct acl_row {
	uint32_t mailbox;
	bool negative;
	uint32_t rights;
	struct shelf_span who; /* without the "-"; empty: the owner */
};
SHELF_CHECK int acl_row_decode(struct shelf_span key, struct shelf_span value, struct acl_row *out);
struct mail_key acl_key(uint32_t mailbox, bool negative, struct shelf_span who);

/* All rows of the view's account, of MAILBOX or (0) of all; ends with what FN answers other than 0. */
typedef int acl_row_fn(void *arg, const struct acl_row *row);
SHELF_CHECK int acl_each(struct kv_view *view, uint32_t mailbox, acl_row_fn *fn, void *arg);

/* Before WHO gets rights of OWNER's. */
SHELF_CHECK int shared_put(struct shelf_store *store, struct shelf_span who, uint32_t owner);
/* After WHO may have lost the last of them. Leaves the row when it cannot be sure. */
void shared_settle(struct shelf_store *store, const char *who, uint32_t owner);
/* Whom the view's account gives rights, each name once, as texts. */
SHELF_CHECK int shared_given(struct kv_view *view, struct shelf_buf *names);
/* Is there a row? */
SHELF_CHECK int shared_has(struct kv_view *catalog, struct shelf_span who, uint32_t owner, bool *has);

#endif
