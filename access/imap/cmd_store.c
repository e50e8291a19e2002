/*
 * cmd_store.c - STORE and UID STORE
 *
 *   resolve --> change (worker, one transaction a step) --> ... --> show, in pieces --> OK
 *                  ^          +--.SILENT, CONDSTORE--v  |
 *                  +------------------------ show_step  +--.SILENT: what was refused--^
 *
 * The set is changed in steps that the engine does in one transaction each: the modseq it returns
 * then names exactly this session's changes, and imap_sync.c can echo all others. Without .SILENT
 * every message named is answered, changed or not; with it those that others have changed meanwhile. A
 * session that knows mod-sequences hears of them with .SILENT, too (RFC 7162 3.1.3), step by step, and of the
 * flags of those that UNCHANGEDSINCE kept from changing.
 * Sources   RFC 9051 6.4.6, 6.4.9; RFC 2180 4.2 and RFC 5530 (EXPUNGEISSUED); RFC 7162 3.1.3.
 */
#include <stdlib.h>

#include "imap_address.h"
#include "imap_condstore.h"
#include "imap_sync.h"

enum {
	STEP_UIDS = 65536, /* below the 300 pages the engine puts in one transaction (message.h) */
};

struct store {
	struct shelf_store *store;
	uint32_t account, mailbox;
	struct shelf_uidset *uids, *step;
	struct shelf_uidset *modified; /* refused by UNCHANGEDSINCE */
	struct shelf_uidset *strange;  /* of the step: changed by others since the client was last told */
	/* The version up to which the client has been told; UINT64_MAX: it need not know, because it sees the
	 * flags in the responses, or has said itself what all of them are. */
	uint64_t heard;
	struct shelf_flag_change change;
	bool silent;
	uint32_t next;    /* uid: where to go on changing, 0: at the end */
	uint64_t modseq;  /* of the step */
	struct imap_flags_walk shown;
	int rc;
};

static void
cleanup(struct imap_cmd *c)
{
	struct store *w = c->data;

	shelf_uidset_free(&w->uids);
	shelf_uidset_free(&w->step);
	shelf_uidset_free(&w->modified);
	shelf_uidset_free(&w->strange);
}

/* ---- Showing --------------------------------------------------------------------------------- */

static enum imap_step
done(struct imap_cmd *c)
{
	struct store *w = c->data;
	bool missing = w->shown.missing && !c->uid;
	const char *code = NULL;

	if (shelf_uidset_count(w->modified) > 0) {
		struct shelf_buf text = {0};

		shelf_buf_printf(&text, "MODIFIED %s", imap_condstore_set(c, w->modified));
		code = shelf_arena_str(&c->arena, shelf_buf_span(&text));
		shelf_buf_free(&text);
	}
	if (missing)
		return imap_no(c, code != NULL ? code : "EXPUNGEISSUED",
		    "Some of the messages no longer exist");
	if (code != NULL)
		return imap_ok_code(c, code, "Some of the messages were changed meanwhile");
	return imap_completed(c);
}

/* Each message is changed, and then shown unless .SILENT. */
static void
tell_progress(struct imap_cmd *c)
{
	struct store *w = c->data;
	uint64_t total = shelf_uidset_count(w->uids), done;

	done = w->next == 0 ? total : shelf_uidset_count_range(w->uids, 1, w->next - 1);
	if (!w->silent && w->shown.uids == w->uids)
		done += w->shown.next == 0 ? total :
		    shelf_uidset_count_range(w->uids, 1, w->shown.next - 1);
	imap_progress(c, done, w->silent ? total : 2 * total);
}

/* One piece of what is being shown: true when all of it is, or *STEP_OUT says what to do. */
static bool
shown(struct imap_cmd *c, enum imap_step *step_out)
{
	struct store *w = c->data;
	int rc = imap_sync_print_flags(c, &w->shown);

	tell_progress(c);
	if (rc == 1)
		*step_out = imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
	else if (rc != 0)
		*step_out = imap_err(c, rc);
	return rc == 0;
}

static enum imap_step
show(struct imap_cmd *c)
{
	struct store *w = c->data;
	enum imap_step step;

	if (!shown(c, &step))
		return step;
	imap_sync_shown(c->s, w->shown.uids, w->shown.modseq);
	return done(c);
}

/* ---- Changing -------------------------------------------------------------------------------- */

/*
 * What .SILENT keeps from the client it must know already. So the first change is of those messages only that
 * nobody else has changed since the client was last told, and the others get a change of their own: its
 * mod-sequence is not this one, and imap_sync.c tells their flags (RFC 9051 6.4.6).
 */
static void
work(void *arg)
{
	struct store *w = arg;
	struct shelf_flag_change change = w->change;
	bool told = w->heard >= change.unchanged_since;
	uint64_t other = 0;

	shelf_uidset_clear(w->strange);
	if (!told)
		change.unchanged_since = w->heard;
	w->rc = shelf_msg_set_flags(w->store, w->account, w->mailbox, w->step, &change,
	    told ? w->modified : w->strange, &w->modseq);
	if (w->rc == 0 && !told && shelf_uidset_min(w->strange) != 0) {
		shelf_uidset_andnot(w->step, w->strange);
		w->rc = shelf_msg_set_flags(w->store, w->account, w->mailbox, w->strange,
		    &w->change, w->modified, &other);
	}
}

static enum imap_step change(struct imap_cmd *c);

/* The mod-sequences of what the step has changed. */
static enum imap_step
show_step(struct imap_cmd *c)
{
	enum imap_step step;

	return shown(c, &step) ? change(c) : step;
}

static enum imap_step
changed(struct imap_cmd *c)
{
	struct store *w = c->data;

	if (w->rc != 0)
		return imap_err(c, w->rc);
	if (w->modseq != 0 && w->silent && shelf_uidset_min(w->step) != 0)
		imap_sync_told(c->s, shelf_uidset_min(w->step), shelf_uidset_max(w->step),
		    w->modseq);
	if (w->modseq == 0 || !w->silent || !c->s->condstore)
		return change(c);
	w->shown = (struct imap_flags_walk){.uids = w->step, .next = 1, .only = w->modseq};
	c->run = show_step;
	return show_step(c);
}

/* The next step of the set. */
static enum imap_step
change(struct imap_cmd *c)
{
	struct store *w = c->data;
	uint32_t first = w->next == 0 ? 0 : shelf_uidset_next(w->uids, w->next), last = 0;

	if (first == 0) {
		if (w->silent && shelf_uidset_count(w->modified) == 0)
			return done(c);
		w->shown = (struct imap_flags_walk){
		    .uids = w->silent ? w->modified : w->uids, .next = 1, .all = true};
		c->run = show;
		return show(c);
	}
	last = first > UINT32_MAX - STEP_UIDS ? UINT32_MAX : first + (STEP_UIDS - 1);
	shelf_uidset_clear(w->step);
	shelf_uidset_add_range(w->step, first, last);
	shelf_uidset_and(w->step, w->uids);
	w->next = last == UINT32_MAX ? 0 : last + 1;
	w->modseq = 0;
	tell_progress(c);
	c->run = changed;
	return imap_work(c, work, w);
}

/* ---- Arguments ------------------------------------------------------------------------------- */

/* "(UNCHANGEDSINCE 4711) " */
static bool
parse_modifiers(struct imap_parser *p, struct store *w)
{
	if (!imap_at(p, '('))
		return true;
	if (!imap_parse_open(p))
		return false;
	if (!imap_try_word(p, "UNCHANGEDSINCE"))
		return imap_parse_fail(p, "unknown STORE modifier");
	return imap_condstore_number(p, &w->change.unchanged_since) && imap_parse_close(p) &&
	    imap_parse_sp(p);
}

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

	w->change.unchanged_since = UINT64_MAX;
	if (!imap_parse_sp(&c->p) || !imap_parse_set(&c->p, &set) || !imap_parse_sp(&c->p) ||
	    !parse_modifiers(&c->p, w) || !parse_item(&c->p, w) || !imap_parse_sp(&c->p) ||
	    !imap_parse_store_flags(&c->p, &flags) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	if (!imap_address_flags(s->rights, &flags))
		return imap_err(c, SHELF_ENOPERM);
	w->change.kept_flags = imap_address_fixed(s->rights);
	w->change.kept_keywords = (s->rights & SHELF_RIGHT_WRITE) == 0;
	if (w->change.op == SHELF_FLAGS_REPLACE && (s->rights & SHELF_RIGHTS_FLAGS) == 0)
		return imap_err(c, SHELF_ENOPERM);
	w->store = s->store;
	w->account = s->owner;
	w->mailbox = s->mailbox;
	w->change.flags = flags.flags;
	w->change.keywords = flags.keywords;
	w->change.nkeywords = flags.nkeywords;
	w->change.asker = imap_asker(c, w->change.op == SHELF_FLAGS_REPLACE ? s->rights & SHELF_RIGHTS_FLAGS :
	    imap_address_needs(flags.flags, flags.nkeywords));
	w->next = 1;
	if (w->change.unchanged_since != UINT64_MAX)
		imap_condstore_enable(s);
	w->uids = shelf_uidset_new();
	w->step = shelf_uidset_new();
	w->modified = shelf_uidset_new();
	w->strange = shelf_uidset_new();
	w->heard = w->silent && w->change.op != SHELF_FLAGS_REPLACE ? imap_sync_heard_modseq(s) :
	    UINT64_MAX;
	c->data = w;
	c->cleanup = cleanup;
	if (!imap_set_resolve(c, set, c->uid, w->uids))
		return IMAP_DONE;
	imap_limit_cut(c, w->uids);
	return change(c);
}
