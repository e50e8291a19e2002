/*
 * cmd_mailbox.c - CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE
 *
 * Each is one engine call on a worker; the tagged OK comes behind its commit. A session that
 * deletes the mailbox it has selected is left with none selected.
 * A subscription is the user's own, whosever the mailbox is, and asks nothing of it.
 * Sources   RFC 9051 6.3.4-6.3.8; RFC 4314 4; RFC 6154 3 (USE); RFC 5530 (codes); RFC 8474 4.1
 *           (MAILBOXID).
 */
#include <stdio.h>

#include "imap_address.h"
#include "imap_command.h"
#include "imap_list.h"
#include "imap_notify.h"
#include "imap_objectid.h"

enum op { OP_CREATE, OP_DELETE, OP_RENAME, OP_SUBSCRIBE, OP_UNSUBSCRIBE };

struct change {
	struct shelf_store *store;
	uint32_t account;
	enum op op;
	struct shelf_span name, to;
	unsigned use;
	uint32_t id; /* CREATE, DELETE: of the mailbox */
	const struct shelf_asker *asker;
	int rc;
};

static void
work(void *arg)
{
	struct change *w = arg;

	switch (w->op) {
	case OP_CREATE:
		w->rc = shelf_mailbox_create_for(w->store, w->asker, w->account, w->name, w->use, &w->id);
		break;
	case OP_DELETE:
		w->rc = shelf_mailbox_delete_for(w->store, w->asker, w->account, w->name);
		break;
	case OP_RENAME:
		w->rc = shelf_mailbox_rename_for(w->store, w->asker, w->account, w->name, w->to);
		break;
	case OP_SUBSCRIBE:
	case OP_UNSUBSCRIBE:
		w->rc = shelf_mailbox_subscribe(w->store, w->account, w->name,
		    w->op == OP_SUBSCRIBE);
		break;
	}
}

/* No news for this session (NOTIFY). */
static void
tell_own(struct imap_session *s, const struct change *w)
{
	bool subscription = w->op == OP_SUBSCRIBE || w->op == OP_UNSUBSCRIBE;

	imap_watch_own_name(s, w->account, w->op == OP_RENAME ? w->to : w->name,
	    subscription ? IMAP_EVENT_SUBSCRIPTION : IMAP_EVENT_NAME,
	    w->op != OP_DELETE && w->op != OP_UNSUBSCRIBE);
}

/* RFC 9051 6.3.4, 6.3.6: what became of a name that the client wrote in another form. */
static void
tell_normalized(struct imap_cmd *c, const struct change *w)
{
	struct shelf_span name = w->op == OP_RENAME ? w->to : w->name;
	struct shelf_span old = w->op == OP_RENAME ? w->name : c->p.given;

	/* The mailbox is made, that the line cannot be printed is no reason for a NO. */
	if (c->s->rev2 && (w->op == OP_CREATE || w->op == OP_RENAME) &&
	    !shelf_span_eq(name, c->p.given) && imap_list_one(c, name, old) != 0)
		return;
}

static enum imap_step
worked(struct imap_cmd *c)
{
	struct change *w = c->data;
	char id[IMAP_OBJECT_ID_BYTES], code[IMAP_OBJECT_ID_BYTES + 16];

	if (w->rc != 0)
		return imap_err(c, w->rc);
	tell_own(c->s, w);
	tell_normalized(c, w);
	if (w->op == OP_CREATE) {
		imap_mailbox_id(w->account, w->id, id);
		snprintf(code, sizeof code, "MAILBOXID (%s)", id);
		return imap_ok_code(c, shelf_arena_str(&c->arena, shelf_span_str(code)),
		    "%s completed", c->name);
	}
	if (w->op == OP_DELETE && w->id != 0 && w->id == c->s->mailbox && w->account == c->s->owner)
		imap_unselect(c->s);
	return imap_completed(c);
}

static struct change *
new_change(struct imap_cmd *c, enum op op)
{
	struct change *w = SHELF_ARENA_NEW(&c->arena, struct change);

	w->store = c->s->store;
	w->account = c->s->account;
	w->op = op;
	w->asker = imap_asker(c, 0);
	c->data = w;
	c->run = worked;
	return w;
}

/* " name" and nothing else. */
static enum imap_step
one_name(struct imap_cmd *c, enum op op)
{
	struct change *w = new_change(c, op);

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &w->name) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	return imap_work(c, work, w);
}

/* Where a name that is to be made would lie: *PLACE, or SHELF_ENOPERM, whether there is such an account or not. */
static int
place_new(struct imap_session *s, struct shelf_span name, struct imap_place *place)
{
	int rc = imap_address_place(s, name, place);

	if (rc == SHELF_ENOMAILBOX)
		return SHELF_ENOPERM;
	return rc != 0 ? rc : imap_address_may_create(s, place);
}

/* A mailbox that is to go, or get another name: sets W's account, name, id. One's own name need not be that of a
 * mailbox: the engine knows of inferiors. */
static int
place_old(struct imap_session *s, struct change *w)
{
	struct imap_address at = {0};
	int rc = imap_address_find(s, w->name, SHELF_RIGHT_DELETE, &at);

	if (rc == SHELF_ENOMAILBOX && at.place.account == s->account && at.place.path.len > 0)
		rc = 0;
	w->account = at.place.account;
	w->name = at.place.path;
	w->id = at.row.id;
	return rc;
}

/* ---- CREATE ---------------------------------------------------------------------------------- */

/* " (USE (\Sent \Junk))"; *UNKNOWN for an attribute that is none of ours. */
static bool
parse_use(struct imap_parser *p, unsigned *use_out, bool *unknown)
{
	struct shelf_span name = {0};
	unsigned use = 0;

	if (!imap_parse_sp(p) || !imap_parse_open(p))
		return false;
	if (!imap_try_word(p, "USE"))
		return imap_parse_fail(p, "unknown CREATE parameter");
	if (!imap_parse_sp(p) || !imap_parse_open(p))
		return false;
	while (!imap_at(p, ')')) {
		if (!imap_parse_byte(p, '\\') || !imap_parse_atom(p, &name))
			return false;
		use = imap_use_of(name);
		*unknown = *unknown || use == 0;
		*use_out |= use;
		if (!imap_try(p, ' '))
			break;
	}
	return imap_parse_close(p) && imap_parse_close(p);
}

static int
find_use(void *arg, const struct shelf_mailbox *mailbox)
{
	const struct change *w = arg;

	return (mailbox->special_use & w->use) != 0;
}

/* Does another mailbox have that use? 1, 0 or an error. */
static int
use_taken(struct imap_session *s, struct change *w)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(s->store, w->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_each(rd, find_use, w);
	shelf_rd_end(&rd);
	return rc;
}

enum imap_step
imap_cmd_create(struct imap_cmd *c)
{
	struct change *w = new_change(c, OP_CREATE);
	struct imap_place place = {0};
	bool unknown = false;
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox_new(&c->p, &w->name) ||
	    (!imap_at_end(&c->p) && !parse_use(&c->p, &w->use, &unknown)) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = place_new(c->s, w->name, &place);
	if (rc != 0)
		return imap_err(c, rc);
	w->account = place.account;
	w->name = place.path;
	if (unknown)
		return imap_no(c, "USEATTR", "This special use is not supported");
	if (w->use != 0) {
		rc = use_taken(c->s, w);
		if (rc < 0)
			return imap_err(c, rc);
		if (rc > 0)
			return imap_no(c, "USEATTR", "Another mailbox has this special use");
	}
	return imap_work(c, work, w);
}

/* ---- The others ------------------------------------------------------------------------------ */

enum imap_step
imap_cmd_delete(struct imap_cmd *c)
{
	struct change *w = new_change(c, OP_DELETE);
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &w->name) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = place_old(c->s, w);
	return rc != 0 ? imap_err(c, rc) : imap_work(c, work, w);
}

enum imap_step
imap_cmd_rename(struct imap_cmd *c)
{
	struct change *w = new_change(c, OP_RENAME);
	struct imap_place to = {0};
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &w->name) ||
	    !imap_parse_sp(&c->p) || !imap_parse_mailbox_new(&c->p, &w->to) ||
	    !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = place_old(c->s, w);
	if (rc == 0)
		rc = place_new(c->s, w->to, &to);
	if (rc != 0)
		return imap_err(c, rc);
	if (to.account != w->account)
		return imap_no(c, "CANNOT", "A mailbox cannot move to another user");
	w->to = to.path;
	return imap_work(c, work, w);
}

enum imap_step
imap_cmd_subscribe(struct imap_cmd *c)
{
	return one_name(c, OP_SUBSCRIBE);
}

enum imap_step
imap_cmd_unsubscribe(struct imap_cmd *c)
{
	return one_name(c, OP_UNSUBSCRIBE);
}
