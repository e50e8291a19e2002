/*
 * cmd_expunge.c - EXPUNGE and UID EXPUNGE
 *
 * The engine removes; what the client hears comes from imap_sync.c with the reply.
 * Sources   RFC 9051 6.4.3, 6.4.9; RFC 4315 2.1; RFC 7162 3.2.7, 3.2.9.
 */
#include "imap_condstore.h"

struct expunge {
	struct shelf_store *store;
	uint32_t account, mailbox;
	struct shelf_uidset *uids; /* NULL: all */
	bool removed;
	int rc;
};

static void
work(void *arg)
{
	struct expunge *e = arg;
	struct shelf_uidset *gone = shelf_uidset_new();

	e->rc = shelf_msg_expunge(e->store, e->account, e->mailbox, e->uids, SHELF_EXPUNGE_DELETED,
	    gone);
	e->removed = shelf_uidset_min(gone) != 0;
	shelf_uidset_free(&gone);
}

static void
cleanup(struct imap_cmd *c)
{
	struct expunge *e = c->data;

	shelf_uidset_free(&e->uids);
}

static enum imap_step
worked(struct imap_cmd *c)
{
	struct expunge *e = c->data;

	if (e->rc != 0)
		return imap_err(c, e->rc);
	return e->removed ? imap_condstore_removed(c) : imap_completed(c);
}

enum imap_step
imap_cmd_expunge(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct expunge *e = SHELF_ARENA_NEW(&c->arena, struct expunge);
	struct shelf_span set = {0};

	*e = (struct expunge){.store = s->store, .account = s->owner, .mailbox = s->mailbox};
	c->data = e;
	c->cleanup = cleanup;
	if (c->uid) {
		if (!imap_parse_sp(&c->p) || !imap_parse_set(&c->p, &set) || !imap_parse_end(&c->p))
			return imap_parse_failed(c);
		e->uids = shelf_uidset_new();
		if (!imap_set_resolve(c, set, true, e->uids))
			return IMAP_DONE;
	}
	c->run = worked;
	return imap_work(c, work, e);
}
