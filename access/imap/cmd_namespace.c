/*
 * cmd_namespace.c - NAMESPACE: one personal namespace, no others. RFC 2342 5
 */
#include "imap.h"

enum imap_step
imap_cmd_namespace(struct imap_cmd *c)
{
	imap_untagged(c->s, "NAMESPACE ((\"\" \"/\")) NIL NIL");
	return imap_completed(c);
}
