/*
 * imap_objectid.c - object identifiers, written and read; the FETCH items made of them
 *
 * What must stay true: an identifier never changes and never names two things, so both are made of what the
 * store never gives twice (ids of accounts and mailboxes, the hash of a message).
 * Sources   RFC 8474 4, 5.
 */
#include <stdio.h>

#include "imap_fetch.h"
#include "imap_objectid.h"

void
imap_mailbox_id(uint32_t account, uint32_t mailbox, char out[IMAP_OBJECT_ID_BYTES])
{
	snprintf(out, IMAP_OBJECT_ID_BYTES, "F%x-%x", account, mailbox);
}

void
imap_email_id(const uint8_t id[16], char out[IMAP_OBJECT_ID_BYTES])
{
	char *at = out;

	*at++ = 'M';
	for (unsigned i = 0; i < 16; i++, at += 2)
		snprintf(at, 3, "%02x", id[i]);
}

bool
imap_email_id_parse(struct shelf_span text, uint8_t out[16])
{
	static const char digits[] = "0123456789abcdef";

	if (text.len != 33 || text.data[0] != 'M')
		return false;
	for (unsigned i = 0; i < 16; i++) {
		const char *high = memchr(digits, text.data[1 + 2 * i], 16);
		const char *low = memchr(digits, text.data[2 + 2 * i], 16);

		if (high == NULL || low == NULL)
			return false;
		out[i] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	return true;
}

void
imap_fetch_print_emailid(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	char id[IMAP_OBJECT_ID_BYTES];

	imap_email_id(f->msg.email_id, id);
	imap_outf(f->s, "EMAILID (%s)", id);
}

void
imap_fetch_print_threadid(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "THREADID NIL");
}
