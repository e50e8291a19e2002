/*
 * cmd_enable.c - ENABLE: nothing can be switched on yet; what is unknown is passed over
 *
 * Sources   RFC 5161 3.1, 3.2.
 */
#include "imap.h"

enum imap_step
imap_cmd_enable(struct imap_cmd *c)
{
	struct shelf_span name = {0};

	do {
		if (!imap_parse_sp(&c->p) || !imap_parse_atom(&c->p, &name))
			return imap_parse_failed(c);
	} while (!imap_at_end(&c->p));
	imap_untagged(c->s, "ENABLED");
	return imap_completed(c);
}
