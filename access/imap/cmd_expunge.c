/*
 * cmd_expunge.c - EXPUNGE and UID EXPUNGE
 *
 * The engine removes; what the client hears comes from imap_sync.c with the reply. Many messages go in slices, so that
 * it can be told how far that is.
 * Sources   RFC 9051 6.4.3, 6.4.9; RFC 4315 2.1; RFC 7162 3.2.7, 3.2.9.
 */
#include "conf.h"
#include "imap_address.h"
#include "imap_condstore.h"

enum { SLICE = 4096 };

struct expunge {
	struct shelf_store *store;
	uint32_t account, mailbox;
	const struct shelf_asker *asker;
	struct shelf_uidset *uids;  /* still to do; NULL: all that are \Deleted, in one go */
	struct shelf_uidset *slice; /* of UIDS, under way */
	uint32_t total;
	bool removed;
	int rc;
};

static void
work(void *arg)
{
	struct expunge *e = arg;
	struct shelf_uidset *gone = shelf_uidset_new();

	e->rc = shelf_msg_expunge_for(e->store, e->asker, e->account, e->mailbox,
	    e->uids == NULL ? NULL : e->slice, SHELF_EXPUNGE_DELETED, gone);
	e->removed = e->removed || shelf_uidset_min(gone) != 0;
	shelf_uidset_free(&gone);
}

/* Which ones are there to be removed? Asked where they are many, or a command has a limit. */
static void
find(void *arg)
{
	struct expunge *e = arg;
	struct shelf_uidset *found = shelf_uidset_new();
	struct shelf_rd *rd = NULL;
	struct shelf_msg m = {0};

	e->rc = shelf_rd_begin(e->store, e->account, &rd);
	for (uint32_t uid = 1; e->rc == 0 && uid != 0; uid = m.uid == UINT32_MAX ? 0 : m.uid + 1) {
		e->rc = shelf_msg_next(rd, e->mailbox, uid, SHELF_MSG_FLAGS, &m);
		if (e->rc == 0 && (m.flags & SHELF_DELETED) != 0 &&
		    (e->uids == NULL || shelf_uidset_has(e->uids, m.uid)))
			shelf_uidset_add(found, m.uid);
	}
	shelf_rd_end(&rd);
	if (e->rc == SHELF_ENOMESSAGE) /* there are no more */
		e->rc = 0;
	shelf_uidset_free(&e->uids);
	e->uids = found;
}

static void
cleanup(struct imap_cmd *c)
{
	struct expunge *e = c->data;

	shelf_uidset_free(&e->uids);
	shelf_uidset_free(&e->slice);
}

static enum imap_step
worked(struct imap_cmd *c)
{
	struct expunge *e = c->data;

	if (e->rc != 0)
		return imap_err(c, e->rc);
	if (e->uids != NULL && shelf_uidset_min(e->uids) != 0) {
		imap_progress(c, e->total - shelf_uidset_count(e->uids), e->total);
		imap_cut_slice(e->uids, SLICE, e->slice);
		return imap_work(c, work, e);
	}
	return e->removed ? imap_condstore_removed(c) : imap_completed(c);
}

static enum imap_step
found(struct imap_cmd *c)
{
	struct expunge *e = c->data;

	if (e->rc != 0)
		return imap_err(c, e->rc);
	imap_limit_cut(c, e->uids);
	e->total = shelf_uidset_count(e->uids);
	c->run = worked;
	return worked(c);
}

/* Are they so many that it is worth while to know which? */
static bool
are_many(struct imap_session *s)
{
	struct shelf_mailbox row = {0};
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(s->store, s->owner, &rd);

	if (rc == 0)
		rc = shelf_mailbox_get(rd, s->mailbox, &row);
	shelf_rd_end(&rd);
	return rc == 0 && row.deleted > SLICE;
}

enum imap_step
imap_cmd_expunge(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct expunge *e = SHELF_ARENA_NEW(&c->arena, struct expunge);
	struct shelf_span set = {0};

	*e = (struct expunge){.store = s->store, .account = s->owner, .mailbox = s->mailbox,
	    .asker = imap_asker(c, SHELF_RIGHT_EXPUNGE), .slice = shelf_uidset_new()};
	c->data = e;
	c->cleanup = cleanup;
	if (c->uid) {
		if (!imap_parse_sp(&c->p) || !imap_parse_set(&c->p, &set) || !imap_parse_end(&c->p))
			return imap_parse_failed(c);
		e->uids = shelf_uidset_new();
		if (!imap_set_resolve(c, set, true, e->uids))
			return IMAP_DONE;
	}
	if ((s->rights & SHELF_RIGHT_EXPUNGE) == 0)
		return imap_err(c, SHELF_ENOPERM);
	if (s->server->conf->imap_message_limit != 0 || are_many(s)) {
		c->run = found;
		return imap_work(c, find, e);
	}
	if (e->uids != NULL)
		imap_cut_slice(e->uids, UINT32_MAX, e->slice); /* all */
	c->run = worked;
	return imap_work(c, work, e);
}
