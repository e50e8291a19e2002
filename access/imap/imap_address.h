/*
 * imap_address.h - from the name that a client writes to a mailbox of some account, and what may be done with it
 *
 * Shape     Commands do not look into the session's account: they ask here whose mailbox a name means, say which
 *           rights they need, and go on with that account and id. What a session has selected is s->owner,
 *           s->mailbox and s->rights.
 * Names     "Other Users/NAME/..." are the mailboxes of account NAME; all others are the user's own. A mailbox of
 *           the user's own that has such a name, made by other means, stays reachable and hides the other.
 * Secrets   Who may not see a mailbox is answered as if it were not there, whether account and mailbox are
 *           there or not (RFC 4314 6).
 * Sources   RFC 2342; RFC 4314 4, 5.1.1, 6.
 */
#ifndef ACCESS_IMAP_ADDRESS_H
#define ACCESS_IMAP_ADDRESS_H

#include "imap.h"

#define IMAP_OTHERS "Other Users"

/* Of a name whose mailbox need not exist. */
struct imap_place {
	uint32_t account;       /* whose */
	struct shelf_span path; /* its name there; part of the client's name, or in the command's arena */
};

struct imap_address {
	struct imap_place place;
	unsigned rights;          /* enum shelf_right, of the session's user */
	struct shelf_span name;   /* as the client knows it */
	struct shelf_mailbox row; /* its name lives as long as the snapshot */
};

/*
 * imap_address_place(s, name, out)
 *   NAME is a canonical name (imap_parse_mailbox). Called within a command.
 *   returns  0; SHELF_ENOMAILBOX there can be no such mailbox; or an error
 */
SHELF_CHECK int imap_address_place(struct imap_session *s, struct shelf_span name,
    struct imap_place *out);
/*
 * imap_address_other(s, name, account_out, path_out)
 *   Whose NAME is, when it is in the namespace of others, and what is behind the account's name ("": nothing).
 *   returns  0; SHELF_ENOMAILBOX it is in the user's own namespace, or there is no such account; or an error
 */
SHELF_CHECK int imap_address_other(struct imap_session *s, struct shelf_span name, uint32_t *account_out,
    struct shelf_span *path_out);
/*
 * imap_address_open(s, name, needs, out, rd_out)
 *   The mailbox and a snapshot of its account, which the caller ends before it returns to the dispatcher.
 *   needs    enum shelf_right: all of them. 0: any that lets its existence be known
 *   returns  0; SHELF_ENOMAILBOX; SHELF_ENOPERM he may see it, but not do that; or an error: then *rd_out is NULL
 */
SHELF_CHECK int imap_address_open(struct imap_session *s, struct shelf_span name, unsigned needs,
    struct imap_address *out, struct shelf_rd **rd_out);
/* The same without the snapshot: OUT's row has no name. */
SHELF_CHECK int imap_address_find(struct imap_session *s, struct shelf_span name, unsigned needs,
    struct imap_address *out);
/* May the user make a mailbox there: "k" on the nearest one above it; at his own top always. 0; SHELF_ENOPERM. */
SHELF_CHECK int imap_address_may_create(struct imap_session *s, const struct imap_place *place);
/* For the engine, with the command: the session's user, who must have NEEDS when the change is made. */
const struct shelf_asker *imap_asker(struct imap_cmd *c, unsigned needs);
/* The rights that let one set these flags. */
unsigned imap_address_needs(uint32_t flags, size_t nkeywords);
/* What a session may do with the mailbox of RD's account. */
SHELF_CHECK int imap_address_rights(struct imap_session *s, uint32_t account, struct shelf_rd *rd,
    uint32_t mailbox, unsigned *rights_out);
/* "* MYRIGHTS name rights" (cmd_acl.c) */
void imap_acl_print_mine(struct imap_session *s, struct shelf_span name, unsigned rights);
/* Flags out of F that RIGHTS let nobody set are dropped (RFC 4314 4): false when nothing but such was there. */
bool imap_address_flags(unsigned rights, struct imap_flags *f);
/* enum shelf_flag that RIGHTS do not let one change. */
uint32_t imap_address_fixed(unsigned rights);

#endif
