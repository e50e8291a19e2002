/*
 * cmd_noop.c - NOOP and CHECK: nothing but what the dispatcher tells with every reply
 *
 * Everything acknowledged is on disk already, so that a checkpoint (CHECK) has nothing to write.
 * Sources   RFC 9051 6.1.2, RFC 3501 6.4.1.
 */
#include "imap.h"

enum imap_step
imap_cmd_noop(struct imap_cmd *c)
{
	return imap_completed(c);
}

enum imap_step
imap_cmd_check(struct imap_cmd *c)
{
	return imap_completed(c);
}
