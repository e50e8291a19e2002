/*
 * imap_status.h - the items of STATUS, for STATUS and LIST RETURN (STATUS ...)
 */
#ifndef ACCESS_IMAP_STATUS_H
#define ACCESS_IMAP_STATUS_H

#include "imap_address.h"

/* "(MESSAGES UNSEEN)" to a set of bits, one per row of the table in cmd_status.c. */
bool imap_status_parse(struct imap_parser *p, unsigned *items_out);
/* "* STATUS name (...)" */
SHELF_CHECK int imap_status_print(struct imap_session *s, struct shelf_rd *rd,
    const struct imap_address *a, unsigned items);

#endif
