/*
 * imap_fetch_envelope.c - ENVELOPE: the stored envelope in IMAP's parentheses
 *
 * Sources   RFC 9051 7.5.2 (order, NIL, defaults of sender and reply-to, groups), 9 (envelope).
 */
#include "imap_fetch.h"

static void
print_addresses(struct imap_session *s, const struct mime_address *list)
{
	if (list == NULL) {
		imap_out_str(s, " NIL");
		return;
	}
	imap_out_str(s, " (");
	for (const struct mime_address *a = list; a != NULL; a = a->next) {
		imap_out_str(s, "(");
		imap_out_nstring(s, a->name);
		imap_out_str(s, " ");
		imap_out_nstring(s, a->adl);
		imap_out_str(s, " ");
		imap_out_nstring(s, a->mailbox);
		imap_out_str(s, " ");
		imap_out_nstring(s, a->host);
		imap_out_str(s, ")");
	}
	imap_out_str(s, ")");
}

void
imap_print_envelope(struct imap_session *s, const struct mime_envelope *e)
{
	static const struct mime_envelope none;

	if (e == NULL)
		e = &none;
	imap_out_str(s, "(");
	imap_out_nstring(s, e->date);
	imap_out_str(s, " ");
	imap_out_nstring(s, e->subject);
	print_addresses(s, e->from);
	print_addresses(s, e->sender != NULL ? e->sender : e->from);
	print_addresses(s, e->reply_to != NULL ? e->reply_to : e->from);
	print_addresses(s, e->to);
	print_addresses(s, e->cc);
	print_addresses(s, e->bcc);
	imap_out_str(s, " ");
	imap_out_nstring(s, e->in_reply_to);
	imap_out_str(s, " ");
	imap_out_nstring(s, e->message_id);
	imap_out_str(s, ")");
}

void
imap_fetch_print_envelope(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "ENVELOPE ");
	imap_print_envelope(f->s, f->root->envelope);
}
