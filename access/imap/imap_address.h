/*
 * imap_address.h - from the name that a client writes to a mailbox of some account
 *
 * Shape     Commands do not look into the session's account: they ask here whose mailbox a name means, and
 *           go on with that account and id. What a session has selected is s->owner and s->mailbox.
 * Sources   RFC 2342; RFC 4314 4, 6.
 */
#ifndef ACCESS_IMAP_ADDRESS_H
#define ACCESS_IMAP_ADDRESS_H

#include "imap.h"

/* Of a name whose mailbox need not exist. */
struct imap_place {
	uint32_t account;        /* whose */
	struct shelf_span path;  /* its name there; part of the client's name */
};

struct imap_address {
	struct imap_place place;
	struct shelf_span name;   /* as the client knows it */
	struct shelf_mailbox row; /* its name lives as long as the snapshot */
};

/*
 * imap_address_place(s, name, out)
 *   NAME is a canonical name (imap_parse_mailbox).
 *   returns  0; SHELF_ENOMAILBOX there can be no such mailbox; or an error
 */
SHELF_CHECK int imap_address_place(struct imap_session *s, struct shelf_span name,
    struct imap_place *out);
/*
 * imap_address_open(s, name, out, rd_out)
 *   The mailbox and a snapshot of its account, which the caller ends before it returns to the dispatcher.
 *   returns  0; SHELF_ENOMAILBOX; or an error: then *rd_out is NULL
 */
SHELF_CHECK int imap_address_open(struct imap_session *s, struct shelf_span name,
    struct imap_address *out, struct shelf_rd **rd_out);
/* The same without the snapshot: OUT's row has no name. */
SHELF_CHECK int imap_address_find(struct imap_session *s, struct shelf_span name,
    struct imap_address *out);

#endif
