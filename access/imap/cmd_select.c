/*
 * cmd_select.c - SELECT, EXAMINE, UNSELECT, CLOSE
 *
 *   find --SELECT--> claim \Recent (worker) --> open --> OK
 *     +---EXAMINE------------------------------^      |          ^
 *                                                     +--QRESYNC-+ changes (worker)
 *
 * The mailbox selected before is left as soon as the arguments are read, whatever becomes of the
 * new one (RFC 9051 6.3.2). \Recent is claimed before the snapshot that is shown, so that EXISTS
 * and RECENT speak of the same messages.
 * Sources   RFC 3501 6.3.1, 6.3.2; RFC 9051 6.3.2, 6.3.3, 6.4.1, 6.4.2; RFC 3691; RFC 7162 3.1.2, 3.1.8,
 *           3.2.5, 3.2.11.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "imap_address.h"
#include "imap_command.h"
#include "imap_condstore.h"
#include "imap_arranged.h"
#include "imap_context.h"
#include "imap_list.h"
#include "imap_notify.h"
#include "imap_objectid.h"
#include "imap_sync.h"

enum { CLAIM_TRIES = 3 };

struct select {
	bool examine; /* or nothing may be changed there anyway */
	bool condstore;
	struct shelf_span name;
	uint32_t account, mailbox;
	unsigned rights;
	struct imap_claim claim;
	unsigned tries;
	/* QRESYNC */
	bool resync;
	uint32_t uidvalidity;
	uint64_t since;
	struct shelf_uidset *known; /* NULL: all uids */
	struct imap_changes changes;
	struct imap_flags_walk shown;
};

static void
cleanup(struct imap_cmd *c)
{
	struct select *sel = c->data;

	shelf_uidset_free(&sel->known);
	imap_changes_end(&sel->changes);
}

void
imap_unselect(struct imap_session *s)
{
	shelf_view_close(&s->view);
	shelf_uidset_free(&s->recent);
	shelf_uidset_free(&s->saved);
	imap_sync_stop(s);
	imap_contexts_end(s);
	imap_arranged_free(&s->arranged);
	s->owner = 0;
	s->mailbox = 0;
	s->rights = 0;
	s->read_only = false;
	s->inbox = false;
	s->keywords_told = 0;
	if (s->state == IMAP_SELECTED)
		s->state = IMAP_AUTH;
}

static enum imap_step
finished(struct imap_cmd *c)
{
	return imap_ok_code(c, c->s->read_only ? "READ-ONLY" : "READ-WRITE", "%s completed",
	    c->name);
}

/* ---- QRESYNC: what happened since the client was last here -------------------------------------- */

/* RFC 9051 6.3.2: behind a SELECT that failed no mailbox is selected. */
static enum imap_step
failed(struct imap_cmd *c, int rc)
{
	imap_unselect(c->s);
	return imap_err(c, rc);
}

static enum imap_step
show_changes(struct imap_cmd *c)
{
	struct select *sel = c->data;
	int rc;

	while (imap_condstore_vanished(c->s, sel->changes.vanished, &sel->changes.next, true)) {
		if (imap_out_full(c->s))
			return IMAP_WANT_OUTPUT;
	}
	rc = imap_sync_print_flags(c, &sel->shown);
	if (rc == 1)
		return imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
	return rc != 0 ? failed(c, rc) : finished(c);
}

static enum imap_step
changes_found(struct imap_cmd *c)
{
	struct select *sel = c->data;

	if (sel->changes.rc == 0)
		imap_changes_take(c->s, &sel->changes, sel->known);
	if (sel->changes.rc != 0)
		return failed(c, sel->changes.rc);
	sel->shown = (struct imap_flags_walk){.uids = sel->changes.changed, .next = 1, .all = true};
	c->run = show_changes;
	return show_changes(c);
}

/* Everything of SELECT has been told. */
static enum imap_step
selected(struct imap_cmd *c)
{
	struct select *sel = c->data;

	if (!sel->resync)
		return finished(c);
	imap_changes_begin(c->s, sel->since, &sel->changes);
	c->run = changes_found;
	return imap_work(c, imap_changes_run, &sel->changes);
}

static int
open_view(struct imap_cmd *c, struct shelf_rd *rd, const struct shelf_mailbox *row)
{
	struct imap_session *s = c->s;
	struct select *sel = c->data;
	struct shelf_keywords *kw = SHELF_NEW(struct shelf_keywords);
	char id[IMAP_OBJECT_ID_BYTES];
	uint32_t unseen_uid = 0, unseen_seq = 0;
	int rc = shelf_mailbox_keywords(rd, row->id, kw);

	if (rc == 0 && row->unseen > 0)
		rc = shelf_msg_first_unseen(rd, row->id, &unseen_uid, &unseen_seq);
	if (rc == 0)
		rc = shelf_view_open(rd, row->id, &s->view);
	if (rc != 0)
		goto out;
	s->owner = sel->account;
	s->mailbox = row->id;
	s->rights = sel->rights;
	/* RFC 7162 3.2.5: of another mailbox by this name nothing is known. */
	sel->resync = sel->resync && sel->uidvalidity == row->uidvalidity;
	s->read_only = sel->examine;
	s->inbox = shelf_span_is(row->name, "INBOX");
	s->state = IMAP_SELECTED;
	imap_sync_start(s, shelf_rd_modseq(rd));
	imap_notify_selected(s);
	if (!sel->examine)
		imap_claim_take(s, &sel->claim); /* IMAP4rev2: none was made */
	else if (row->recent_from < row->uidnext)
		shelf_uidset_add_range(s->recent, row->recent_from, row->uidnext - 1);
	imap_sync_flags(s, kw);
	imap_untagged(s, "%u EXISTS", shelf_view_count(s->view));
	if (!s->rev2)
		imap_untagged(s, "%u RECENT", imap_sync_recent(s));
	imap_untagged(s, "OK [UIDVALIDITY %u] UIDs valid", row->uidvalidity);
	imap_untagged(s, "OK [UIDNEXT %u] Predicted next UID", row->uidnext);
	imap_untagged(s, "OK [HIGHESTMODSEQ %" PRIu64 "] Highest mod-sequence",
	    shelf_view_modseq(s->view));
	imap_mailbox_id(s->owner, row->id, id);
	imap_untagged(s, "OK [MAILBOXID (%s)] Mailbox id", id);
	if (unseen_seq != 0 && !s->uidonly && !s->rev2)
		imap_untagged(s, "OK [UNSEEN %u] First unseen", unseen_seq);
out:
	free(kw);
	return rc;
}

static enum imap_step
open_mailbox(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct select *sel = c->data;
	struct shelf_mailbox row = {0};
	struct shelf_rd *rd = NULL;
	bool again = false;
	int rc = shelf_rd_begin(s->store, sel->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_get(rd, sel->mailbox, &row);
	/* Messages that came between the claim and this snapshot want to be claimed, too. */
	again = rc == 0 && !sel->examine && !s->rev2 && sel->claim.rc == 0 && row.recent_from < row.uidnext &&
	    sel->tries++ < CLAIM_TRIES;
	if (rc == 0 && !again)
		rc = open_view(c, rd, &row);
	shelf_rd_end(&rd);
	if (again) {
		imap_claim_take(s, &sel->claim);
		return imap_work(c, imap_claim_run, &sel->claim);
	}
	if (rc == 0 && s->rev2) /* RFC 9051 6.3.2 */
		rc = imap_list_one(c, sel->name, c->p.given);
	if (rc != 0)
		return failed(c, rc);
	return selected(c);
}

/* "41,43:211": uids the client knows, or a set of its sample (which the log of removals makes needless). */
static bool
parse_known(struct imap_parser *p, struct shelf_uidset *out)
{
	struct shelf_span text;

	if (!imap_parse_set(p, &text))
		return false;
	if (memchr(text.data, '*', text.len) != NULL || memchr(text.data, '$', text.len) != NULL ||
	    imap_set_numbers(text, UINT32_MAX, out) != 0)
		return imap_parse_fail(p, "bad set of known messages");
	return true;
}

static bool
parse_sample(struct imap_parser *p)
{
	struct shelf_uidset *ignored = shelf_uidset_new();
	bool ok = imap_parse_open(p) && parse_known(p, ignored) && imap_parse_sp(p) &&
	    parse_known(p, ignored) && imap_parse_close(p);

	shelf_uidset_free(&ignored);
	return ok;
}

/* "(67890007 90060115194045000 41:211,214:541 (1,5 41,45))" */
static bool
parse_qresync(struct imap_cmd *c)
{
	struct select *sel = c->data;
	struct imap_parser *p = &c->p;
	bool more;

	if (!c->s->qresync)
		return imap_parse_fail(p, "QRESYNC is not enabled");
	if (sel->resync)
		return imap_parse_fail(p, "QRESYNC twice");
	sel->resync = true;
	if (!imap_parse_sp(p) || !imap_parse_open(p) || !imap_parse_nz_number(p, &sel->uidvalidity) ||
	    !imap_condstore_number(p, &sel->since))
		return false;
	more = imap_try(p, ' ');
	if (more && !imap_at(p, '(')) {
		sel->known = shelf_uidset_new();
		if (!parse_known(p, sel->known))
			return false;
		more = imap_try(p, ' ');
	}
	/* RFC 9586 3: the sample is of message numbers. */
	if (more && c->s->uidonly) {
		imap_uid_required(c);
		return false;
	}
	return (!more || parse_sample(p)) && imap_parse_close(p);
}

/* " (CONDSTORE)" */
static bool
parse_parameters(struct imap_cmd *c)
{
	struct select *sel = c->data;
	struct imap_parser *p = &c->p;

	if (!imap_try(p, ' '))
		return true;
	if (!imap_parse_open(p))
		return false;
	do {
		if (imap_try_word(p, "CONDSTORE"))
			sel->condstore = true;
		else if (!imap_try_word(p, "QRESYNC"))
			return imap_parse_fail(p, "unknown parameter");
		else if (!parse_qresync(c))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

static enum imap_step
start(struct imap_cmd *c, bool examine)
{
	struct imap_session *s = c->s;
	struct select *sel = SHELF_ARENA_NEW(&c->arena, struct select);
	struct shelf_span name = {0};
	struct imap_address at = {0};
	int rc = 0;

	c->data = sel;
	c->cleanup = cleanup;
	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !parse_parameters(c) ||
	    !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	/* RFC 9051 6.3.2, RFC 7162 3.2.11: what follows is of the new one. */
	if (s->view != NULL)
		imap_untagged(s, "OK [CLOSED] The mailbox selected before is closed");
	imap_unselect(s);
	if (sel->condstore)
		s->condstore = true;
	s->recent = shelf_uidset_new(); /* claims may add to it more than once */
	rc = imap_address_find(s, name, SHELF_RIGHT_READ, &at);
	if (rc != 0)
		return imap_err(c, rc);
	c->run = open_mailbox;
	/* RFC 4314 5.2 */
	sel->examine = examine ||
	    (at.rights & (SHELF_RIGHT_INSERT | SHELF_RIGHT_EXPUNGE | SHELF_RIGHTS_FLAGS)) == 0;
	sel->name = name;
	sel->account = at.place.account;
	sel->mailbox = at.row.id;
	sel->rights = at.rights;
	/* \Recent is nothing to IMAP4rev2: it stays for others. */
	if (sel->examine || s->rev2)
		return open_mailbox(c);
	sel->claim = (struct imap_claim){.store = s->store, .account = sel->account,
	    .mailbox = sel->mailbox};
	return imap_work(c, imap_claim_run, &sel->claim);
}

enum imap_step
imap_cmd_select(struct imap_cmd *c)
{
	return start(c, false);
}

enum imap_step
imap_cmd_examine(struct imap_cmd *c)
{
	return start(c, true);
}

enum imap_step
imap_cmd_unselect(struct imap_cmd *c)
{
	imap_unselect(c->s);
	return imap_completed(c);
}

/* ---- CLOSE ----------------------------------------------------------------------------------- */

struct close {
	struct shelf_store *store;
	const struct shelf_asker *asker;
	uint32_t account, mailbox;
	int rc;
};

static void
close_work(void *arg)
{
	struct close *cl = arg;

	cl->rc = shelf_msg_expunge_for(cl->store, cl->asker, cl->account, cl->mailbox, NULL,
	    SHELF_EXPUNGE_DELETED, NULL);
	if (cl->rc == SHELF_ENOPERM) /* taken away a moment ago */
		cl->rc = 0;
}

static enum imap_step
closed(struct imap_cmd *c)
{
	struct close *cl = c->data;

	/* A mailbox deleted by another session is closed all the same. */
	if (cl->rc != 0 && cl->rc != SHELF_ENOMAILBOX)
		return imap_err(c, cl->rc);
	return imap_cmd_unselect(c);
}

enum imap_step
imap_cmd_close(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct close *cl = NULL;

	/* Without the right to expunge nothing is, and that is no error (RFC 4314 4). */
	if (s->read_only || (s->rights & SHELF_RIGHT_EXPUNGE) == 0)
		return imap_cmd_unselect(c);
	cl = SHELF_ARENA_NEW(&c->arena, struct close);
	*cl = (struct close){s->store, imap_asker(c, SHELF_RIGHT_EXPUNGE), s->owner, s->mailbox, 0};
	c->data = cl;
	c->run = closed;
	return imap_work(c, close_work, cl);
}
