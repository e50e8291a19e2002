/*
 * cmd_id.c - ID: who we are; what the client says of itself is read and forgotten
 *
 * Sources   RFC 2971 3.1, 3.3 (at most 30 fields, names of 30 octets, values of 1,024).
 */
#include "imap.h"

enum { FIELDS_MAX = 30, NAME_MAX_BYTES = 30, VALUE_MAX_BYTES = 1024 };

static bool
parse_fields(struct imap_parser *p)
{
	struct shelf_span name = {0}, value = {0};
	unsigned n = 0;

	if (imap_try_word(p, "NIL"))
		return true;
	if (!imap_parse_open(p))
		return false;
	if (imap_at(p, ')'))
		return imap_parse_close(p);
	do {
		if (++n > FIELDS_MAX)
			return imap_parse_fail(p, "too many fields");
		if (!imap_parse_string(p, &name) || !imap_parse_sp(p) ||
		    !imap_parse_nstring(p, &value))
			return false;
		if (name.len > NAME_MAX_BYTES || value.len > VALUE_MAX_BYTES)
			return imap_parse_fail(p, "field too long");
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

enum imap_step
imap_cmd_id(struct imap_cmd *c)
{
	if (!imap_parse_sp(&c->p) || !parse_fields(&c->p) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	imap_untagged(c->s, "ID (\"name\" \"mailshelf\" \"version\" \"" SHELF_VERSION "\")");
	return imap_completed(c);
}
