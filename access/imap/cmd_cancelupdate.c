/*
 * cmd_cancelupdate.c - CANCELUPDATE: no more updates of these searches
 *
 * A tag without updates gets NO, after those that have some.
 * Sources   RFC 5267 4.3.5, 5.
 */
#include "imap_context.h"

enum imap_step
imap_cmd_cancelupdate(struct imap_cmd *c)
{
	struct imap_parser all = c->p;
	struct shelf_span tag;
	bool unknown = false;

	do {
		if (!imap_parse_sp(&c->p) || !imap_parse_string(&c->p, &tag))
			return imap_parse_failed(c);
	} while (imap_at(&c->p, ' '));
	if (!imap_parse_end(&c->p))
		return imap_parse_failed(c);
	/* Well formed: the same once more. */
	c->p = all;
	while (imap_try(&c->p, ' ') && imap_parse_string(&c->p, &tag))
		unknown = !imap_context_cancel(c->s, tag) || unknown;
	return unknown ? imap_no(c, NULL, "no updates under this tag") : imap_completed(c);
}
