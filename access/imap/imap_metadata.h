/*
 * imap_metadata.h - annotations, as LIST sees them
 */
#ifndef ACCESS_IMAP_METADATA_H
#define ACCESS_IMAP_METADATA_H

#include <mailshelf/metadata.h>

#include "imap.h"

struct imap_entries {
	const char **name; /* folded, in the parser's arena */
	size_t n, max;     /* max is set by who calls */
};
/* One name, or several in parentheses. WHOLE: shelf_metadata_name(). */
bool imap_metadata_parse_entries(struct imap_parser *p, bool whole, struct imap_entries *out);
/* "* METADATA name (entry value ...)", NIL for what is not there. */
SHELF_CHECK int imap_metadata_print(struct imap_session *s, uint32_t account, uint32_t mailbox,
    struct shelf_span name, const struct imap_entries *entries);
/* Do these rights let one see annotations? */
bool imap_metadata_may_read(unsigned rights);

#endif
