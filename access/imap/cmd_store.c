/*
 * cmd_store.c - STORE and UID STORE
 *
 *   resolve --> change (worker, one transaction a step) --> ... --> show, in pieces --> OK
 *                                                             +--.SILENT--------------^
 *
 * The set is changed in steps that the engine does in one transaction each: the modseq it returns
 * then names exactly this session's changes, and imap_sync.c can echo all others. Without .SILENT
 * every message named is answered, changed or not.
 * Sources   RFC 9051 6.4.6, 6.4.9; RFC 2180 4.2 and RFC 5530 (EXPUNGEISSUED).
 */
#include <stdlib.h>

#include "imap.h"

enum {
	STEP_UIDS = 65536, /* below the 300 pages the engine puts in one transaction (message.h) */
	SLICE_MESSAGES = 8192,
};

struct store {
	struct shelf_store *store;
	uint32_t account, mailbox;
	struct shelf_uidset *uids, *step;
	struct shelf_flag_change change;
	bool silent;
	uint32_t next;    /* uid: where to go on, 0: at the end */
	uint64_t modseq;  /* of the step */
	uint64_t shown;   /* version of the account of the first piece shown */
	bool missing;
	int rc;
};

static void
cleanup(struct imap_cmd *c)
{
	struct store *w = c->data;

	shelf_uidset_free(&w->uids);
	shelf_uidset_free(&w->step);
}

/* ---- Showing --------------------------------------------------------------------------------- */

static int
show_piece(struct imap_cmd *c, struct shelf_rd *rd, const struct shelf_keywords *kw)
{
	struct imap_session *s = c->s;
	struct store *w = c->data;
	struct shelf_msg m = {0};
	uint32_t uid = 0, pieces = 0;
	int rc = 0;

	for (; w->next != 0 && (uid = shelf_uidset_next(w->uids, w->next)) != 0;
	    w->next = uid + 1) {
		/* Asked for each: with 256 long keywords one line has 32 KiB. */
		if (++pieces > SLICE_MESSAGES || imap_out_full(s))
			return 1;
		rc = shelf_msg_next(rd, s->mailbox, uid, SHELF_MSG_FLAGS, &m);
		if (rc != 0 && rc != SHELF_ENOMESSAGE)
			return rc;
		if (rc != 0 || m.uid != uid) {
			w->missing = true;
			continue;
		}
		imap_outf(s, "* %u FETCH (", shelf_view_seq(s->view, uid));
		if (c->uid)
			imap_outf(s, "UID %u ", uid);
		imap_out_str(s, "FLAGS ");
		imap_out_flags(s, &m, kw);
		imap_out_str(s, ")\r\n");
	}
	return 0;
}

static enum imap_step
show(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct store *w = c->data;
	struct shelf_keywords *kw = NULL;
	struct shelf_rd *rd = NULL;
	int rc = 0;

	if (imap_out_full(s))
		return IMAP_WANT_OUTPUT;
	kw = SHELF_NEW(struct shelf_keywords);
	rc = shelf_rd_begin(s->store, s->account, &rd);
	if (rc == 0)
		rc = shelf_mailbox_keywords(rd, s->mailbox, kw);
	if (rc == 0) {
		imap_sync_keywords(s, kw);
		if (w->shown == 0)
			w->shown = shelf_rd_modseq(rd);
		rc = show_piece(c, rd, kw);
	}
	shelf_rd_end(&rd);
	free(kw);
	if (rc == 1)
		return IMAP_YIELD;
	if (rc != 0)
		return imap_err(c, rc);
	imap_sync_shown(s, w->uids, w->shown);
	if (w->missing && !c->uid)
		return imap_no(c, "EXPUNGEISSUED", "Some of the messages no longer exist");
	return imap_completed(c);
}

/* ---- Changing -------------------------------------------------------------------------------- */

static void
work(void *arg)
{
	struct store *w = arg;

	w->rc = shelf_msg_set_flags(w->store, w->account, w->mailbox, w->step, &w->change, NULL,
	    &w->modseq);
}

static enum imap_step change(struct imap_cmd *c);

static enum imap_step
changed(struct imap_cmd *c)
{
	struct store *w = c->data;

	if (w->rc != 0)
		return imap_err(c, w->rc);
	if (w->modseq != 0 && w->silent)
		imap_sync_told(c->s, shelf_uidset_min(w->step), shelf_uidset_max(w->step),
		    w->modseq);
	return change(c);
}

/* The next step of the set. */
static enum imap_step
change(struct imap_cmd *c)
{
	struct store *w = c->data;
	uint32_t first = w->next == 0 ? 0 : shelf_uidset_next(w->uids, w->next), last = 0;

	if (first == 0) {
		if (w->silent)
			return imap_completed(c);
		w->next = 1;
		c->run = show;
		return show(c);
	}
	last = first > UINT32_MAX - STEP_UIDS ? UINT32_MAX : first + (STEP_UIDS - 1);
	shelf_uidset_clear(w->step);
	shelf_uidset_add_range(w->step, first, last);
	shelf_uidset_and(w->step, w->uids);
	w->next = last == UINT32_MAX ? 0 : last + 1;
	w->modseq = 0;
	c->run = changed;
	return imap_work(c, work, w);
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static bool
parse_item(struct imap_parser *p, struct store *w)
{
	struct shelf_span name = {0};

	w->change.op = imap_try(p, '+') ? SHELF_FLAGS_ADD :
	    imap_try(p, '-') ? SHELF_FLAGS_REMOVE : SHELF_FLAGS_REPLACE;
	if (!imap_parse_name(p, &name))
		return false;
	w->silent = shelf_span_is(name, "FLAGS.SILENT");
	return w->silent || shelf_span_is(name, "FLAGS") ||
	    imap_parse_fail(p, "unknown STORE item");
}

enum imap_step
imap_cmd_store(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct store *w = SHELF_ARENA_NEW(&c->arena, struct store);
	struct imap_flags flags = {0};
	struct shelf_span set = {0};

	if (!imap_parse_sp(&c->p) || !imap_parse_set(&c->p, &set) || !imap_parse_sp(&c->p) ||
	    !parse_item(&c->p, w) || !imap_parse_sp(&c->p) ||
	    !imap_parse_store_flags(&c->p, &flags) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	w->store = s->store;
	w->account = s->account;
	w->mailbox = s->mailbox;
	w->change.flags = flags.flags;
	w->change.keywords = flags.keywords;
	w->change.nkeywords = flags.nkeywords;
	w->change.unchanged_since = UINT64_MAX;
	w->next = 1;
	w->uids = shelf_uidset_new();
	w->step = shelf_uidset_new();
	c->data = w;
	c->cleanup = cleanup;
	if (!imap_set_resolve(c, set, c->uid, w->uids))
		return IMAP_DONE;
	return change(c);
}
