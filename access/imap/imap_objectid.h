/*
 * imap_objectid.h - object identifiers: MAILBOXID, EMAILID
 *
 * Shape     "F<account>-<mailbox>" and "M<email id>", lower-case hexadecimal numbers; case counts. There
 *           is no THREADID: NIL in FETCH, no match in SEARCH, as RFC 8474 5.2 has it for servers without.
 * Sources   RFC 8474 4, 5, 7; docs/decisions/0003.
 */
#ifndef ACCESS_IMAP_OBJECTID_H
#define ACCESS_IMAP_OBJECTID_H

#include "imap.h"

enum { IMAP_OBJECT_ID_BYTES = 40 }; /* with the NUL */

void imap_mailbox_id(uint32_t account, uint32_t mailbox, char out[IMAP_OBJECT_ID_BYTES]);
void imap_email_id(const uint8_t id[16], char out[IMAP_OBJECT_ID_BYTES]);
/* False: no message can have this id. */
bool imap_email_id_parse(struct shelf_span text, uint8_t out[16]);

#endif
