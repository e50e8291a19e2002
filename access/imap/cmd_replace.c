/*
 * cmd_replace.c - REPLACE, UID REPLACE: a message comes and another one goes, in one change
 *
 * APPENDUID is told in an untagged OK before anything is said to be gone (RFC 8508 4.3). Which message
 * goes is settled when the command begins; that it is still there, when the new one is stored.
 * Sources   RFC 8508; RFC 7162 3.2.9 (HIGHESTMODSEQ).
 */
#include "imap_append.h"
#include "imap_condstore.h"

static enum imap_step
replaced(struct imap_cmd *c)
{
	struct imap_append *w = c->data;

	if (w->rc == SHELF_ENOMAILBOX)
		return imap_no(c, "TRYCREATE", "There is no such mailbox");
	if (w->rc != 0)
		return imap_err(c, w->rc);
	imap_untagged(c->s, "OK [APPENDUID %u %u] Replacement message stored", w->result.uidvalidity,
	    w->result.first_uid);
	return imap_condstore_removed(c);
}

/* " 4", a message of the session's. Uid 0: the reply has been set. */
static uint32_t
parse_message(struct imap_cmd *c)
{
	struct shelf_uidset *one = NULL;
	struct shelf_span set = {0};
	uint32_t uid = 0;
	bool ok = imap_parse_sp(&c->p) && imap_parse_set(&c->p, &set);

	for (size_t i = 0; ok && i < set.len; i++) {
		if (memchr(":,$", set.data[i], 3) != NULL)
			ok = imap_parse_fail(&c->p, "one message is expected");
	}
	if (!ok) {
		imap_parse_failed(c);
		return 0;
	}
	one = shelf_uidset_new();
	if (imap_set_resolve(c, set, c->uid, one)) {
		uid = shelf_uidset_next(one, 1);
		if (uid == 0)
			imap_no(c, "NONEXISTENT", "There is no such message");
	}
	shelf_uidset_free(&one);
	return uid;
}

enum imap_step
imap_cmd_replace(struct imap_cmd *c)
{
	struct imap_append *w = imap_append_new(c, replaced);

	w->replaced = parse_message(c);
	w->replaced_in = c->s->mailbox;
	if (w->replaced == 0 || !imap_append_mailbox(c))
		return imap_append_refuse(c);
	/* RFC 8508 4: those of APPEND, STORE (\Deleted) and EXPUNGE. */
	if ((~c->s->rights & (SHELF_RIGHT_DELETE_MESSAGES | SHELF_RIGHT_EXPUNGE)) != 0) {
		imap_err(c, SHELF_ENOPERM);
		return imap_append_refuse(c);
	}
	if (w->account != c->s->owner) {
		imap_no(c, "CANNOT", "A message is replaced within one account only");
		return imap_append_refuse(c);
	}
	return imap_append_receive(c);
}
