/*
 * cmd_append.c - APPEND
 *
 * Sources   RFC 9051 6.3.12; RFC 3502; RFC 4315 3 (APPENDUID); RFC 3501 7.1 (TRYCREATE).
 */
#include "imap_append.h"

static enum imap_step
appended(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	const struct shelf_append_result *r = &w->result;

	if (w->rc == SHELF_ENOMAILBOX)
		return imap_no(c, "TRYCREATE", "There is no such mailbox");
	if (w->rc != 0)
		return imap_err(c, w->rc);
	return imap_ok_code(c, w->n == 1 ?
	    shelf_arena_printf(&c->arena, "APPENDUID %u %u", r->uidvalidity, r->first_uid) :
	    shelf_arena_printf(&c->arena, "APPENDUID %u %u:%u", r->uidvalidity, r->first_uid,
		r->first_uid + (uint32_t)w->n - 1), "%s completed", c->name);
}

enum imap_step
imap_cmd_append(struct imap_cmd *c)
{
	imap_append_new(c, appended);
	return imap_append_mailbox(c) ? imap_append_receive(c) : imap_append_refuse(c);
}
