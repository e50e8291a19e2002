/*
 * imap_fetch_simple.c - the items of a few bytes: FLAGS, UID, INTERNALDATE, SAVEDATE, RFC822.SIZE, MODSEQ
 */
#include <inttypes.h>

#include "imap_fetch.h"

void
imap_fetch_print_flags(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "FLAGS ");
	imap_out_flags(f->s, &f->msg, f->keywords);
}

void
imap_fetch_print_uid(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "UID ");
	imap_out_uint(f->s, f->uid);
}

void
imap_fetch_print_internaldate(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "INTERNALDATE ");
	imap_out_date_time(f->s, f->msg.internaldate_s, f->msg.zone_min);
}

void
imap_fetch_print_savedate(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "SAVEDATE ");
	imap_out_date_time(f->s, f->msg.savedate_s, 0);
}

void
imap_fetch_print_size(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "RFC822.SIZE ");
	imap_out_uint(f->s, f->msg.size);
}

void
imap_fetch_print_modseq(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	f->s->modseq_shown = true;
	imap_out_str(f->s, "MODSEQ (");
	imap_out_uint(f->s, f->msg.modseq);
	imap_out_str(f->s, ")");
}

void
imap_fetch_print_preview(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "PREVIEW ");
	imap_out_nstring(f->s, f->root->preview);
}
