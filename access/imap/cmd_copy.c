/*
 * cmd_copy.c - COPY, MOVE and their UID forms
 *
 * COPY is all or nothing, in one transaction of the engine; MOVE goes in slices, so that its progress can be
 * told. COPY tells the new UIDs in its OK, MOVE in an untagged OK before the EXPUNGEs that imap_sync.c writes
 * (RFC 6851 4.3).
 * Sources   RFC 9051 6.4.7, 6.4.8; RFC 4315 3; RFC 6851; RFC 3501 7.1 (TRYCREATE);
 *           RFC 7162 3.2.7 (HIGHESTMODSEQ).
 */
#include "imap_address.h"
#include "imap_condstore.h"
#include "imap_notify.h"

enum { MOVE_SLICE = 4096 };

struct copy {
	struct shelf_store *store;
	uint32_t account, from, to_account, to;
	unsigned rights;             /* in the target */
	const struct shelf_asker *from_asker, *to_asker;
	struct shelf_uidset *uids;   /* still to do */
	struct shelf_uidset *slice;  /* of a MOVE, under way */
	uint32_t total;
	struct shelf_copy_result result, part;
	bool move;
	int rc;
};

static void
work(void *arg)
{
	struct copy *w = arg;
	const struct shelf_copy what = {.account = w->account, .from = w->from,
	    .to_account = w->to_account, .to = w->to, .uids = w->move ? w->slice : w->uids,
	    .move = w->move, .flags_lost = imap_address_fixed(w->rights),
	    .keywords_lost = (w->rights & SHELF_RIGHT_WRITE) == 0,
	    .from_asker = w->from_asker, .to_asker = w->to_asker};

	w->rc = shelf_msg_copy_to(w->store, &what, &w->part);
	/* After an error the part has what was moved before it. */
	shelf_uidset_or(w->result.from_uids, w->part.from_uids);
	shelf_uidset_or(w->result.to_uids, w->part.to_uids);
	w->result.uidvalidity = w->part.uidvalidity;
}

static void
cleanup(struct imap_cmd *c)
{
	struct copy *w = c->data;

	shelf_uidset_free(&w->uids);
	shelf_uidset_free(&w->slice);
	shelf_uidset_free(&w->result.from_uids);
	shelf_uidset_free(&w->result.to_uids);
	shelf_uidset_free(&w->part.from_uids);
	shelf_uidset_free(&w->part.to_uids);
}

/* "COPYUID 38505 304,319:320 3956:3958" */
static const char *
copyuid(struct imap_cmd *c, const struct shelf_copy_result *r)
{
	struct shelf_buf text = {0};
	const char *code = NULL;

	shelf_buf_printf(&text, "COPYUID %u ", r->uidvalidity);
	shelf_uidset_print(r->from_uids, &text);
	shelf_buf_add_byte(&text, ' ');
	shelf_uidset_print(r->to_uids, &text);
	code = shelf_arena_str(&c->arena, shelf_buf_span(&text));
	shelf_buf_free(&text);
	return code;
}

static enum imap_step
worked(struct imap_cmd *c)
{
	struct copy *w = c->data;

	imap_sync_own(c->s, w->to_account, w->to, w->part.to_uids);
	imap_watch_own(c->s, w->to_account, w->to, w->part.modseq);
	if (w->rc == 0 && w->move && shelf_uidset_min(w->uids) != 0) {
		imap_progress(c, w->total - shelf_uidset_count(w->uids), w->total);
		imap_cut_slice(w->uids, MOVE_SLICE, w->slice);
		return imap_work(c, work, w);
	}
	/* A large MOVE may have come half way: what it moved is told before the NO (RFC 6851 4.3). */
	if (w->rc != 0 && w->move && shelf_uidset_count(w->result.to_uids) > 0)
		imap_untagged(c->s, "OK [%s] Moved", copyuid(c, &w->result));
	if (w->rc == SHELF_ENOMAILBOX) /* deleted since it was found */
		return imap_no(c, "TRYCREATE", "There is no such mailbox");
	if (w->rc != 0)
		return imap_err(c, w->rc);
	if (shelf_uidset_count(w->result.to_uids) == 0)
		return imap_ok(c, "%s completed, no messages were there", c->name);
	if (!w->move)
		return imap_ok_code(c, copyuid(c, &w->result), "%s completed", c->name);
	imap_untagged(c->s, "OK [%s] Moved", copyuid(c, &w->result));
	return imap_condstore_removed(c);
}

/*
 * With message numbers the client means messages it believes to be there: when one is gone the
 * command is refused as a whole (RFC 2180 4.4.1) and the reply brings the EXPUNGE. Uids not there
 * are passed over (RFC 9051 6.4.9).
 */
static int
find_all(struct imap_cmd *c)
{
	struct copy *w = c->data;
	struct shelf_rd *rd = NULL;
	struct shelf_view *now = NULL;
	struct shelf_uidset *present = NULL;
	uint32_t missing = 0;
	int rc;

	if (c->uid)
		return 0;
	rc = shelf_rd_begin(w->store, w->account, &rd);
	if (rc == 0)
		rc = shelf_view_open(rd, w->from, &now);
	if (rc != 0)
		goto out;
	present = shelf_uidset_copy(w->uids);
	shelf_view_retain(now, present);
	missing = shelf_uidset_count(w->uids) - shelf_uidset_count(present);
	shelf_uidset_free(&present);
	rc = missing == 0 ? 0 : SHELF_ENOMESSAGE;
out:
	shelf_view_close(&now);
	shelf_rd_end(&rd);
	return rc;
}

static enum imap_step
start(struct imap_cmd *c, bool move)
{
	struct imap_session *s = c->s;
	struct copy *w = SHELF_ARENA_NEW(&c->arena, struct copy);
	struct shelf_span set = {0}, name = {0};
	struct imap_address to = {0};
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_set(&c->p, &set) || !imap_parse_sp(&c->p) ||
	    !imap_parse_mailbox(&c->p, &name) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	*w = (struct copy){.store = s->store, .account = s->owner, .from = s->mailbox,
	    .move = move};
	w->uids = shelf_uidset_new();
	w->slice = shelf_uidset_new();
	w->part.from_uids = shelf_uidset_new();
	w->part.to_uids = shelf_uidset_new();
	w->result.from_uids = shelf_uidset_new();
	w->result.to_uids = shelf_uidset_new();
	c->data = w;
	c->cleanup = cleanup;
	if (!imap_set_resolve(c, set, c->uid, w->uids))
		return IMAP_DONE;
	/* RFC 6851 4.2: those of STORE (\Deleted) and EXPUNGE. */
	if (move && (~s->rights & (SHELF_RIGHT_DELETE_MESSAGES | SHELF_RIGHT_EXPUNGE)) != 0)
		return imap_err(c, SHELF_ENOPERM);
	rc = imap_address_find(s, name, SHELF_RIGHT_INSERT, &to);
	if (rc == 0)
		rc = find_all(c);
	if (rc == SHELF_ENOMAILBOX)
		return imap_no(c, "TRYCREATE", "There is no such mailbox");
	if (rc != 0)
		return imap_err(c, rc);
	w->to_account = to.place.account;
	w->to = to.row.id;
	w->rights = to.rights;
	w->from_asker = imap_asker(c,
	    SHELF_RIGHT_READ | (move ? SHELF_RIGHT_DELETE_MESSAGES | SHELF_RIGHT_EXPUNGE : 0));
	/* Flags are carried by what was allowed then. */
	w->to_asker = imap_asker(c, SHELF_RIGHT_INSERT | (to.rights & SHELF_RIGHTS_FLAGS));
	if (move)
		imap_limit_cut(c, w->uids);
	else if (imap_limit_refuses(c, shelf_uidset_count(w->uids)))
		return IMAP_DONE;
	w->total = shelf_uidset_count(w->uids);
	if (move)
		imap_cut_slice(w->uids, MOVE_SLICE, w->slice);
	c->run = worked;
	return imap_work(c, work, w);
}

enum imap_step
imap_cmd_copy(struct imap_cmd *c)
{
	return start(c, false);
}

enum imap_step
imap_cmd_move(struct imap_cmd *c)
{
	return start(c, true);
}
