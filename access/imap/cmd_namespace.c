/*
 * cmd_namespace.c - NAMESPACE: one's own mailboxes, and those that others share. RFC 2342 5
 */
#include "imap_address.h"

enum imap_step
imap_cmd_namespace(struct imap_cmd *c)
{
	imap_untagged(c->s, "NAMESPACE ((\"\" \"/\")) ((\"" IMAP_OTHERS "/\" \"/\")) NIL");
	return imap_completed(c);
}
