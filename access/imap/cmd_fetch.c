/*
 * cmd_fetch.c - FETCH, UID FETCH
 *
 *   parse -> (find changes on a worker -> VANISHED) -> (mark \Seen on a worker) -> run ... run
 *         -> (take \Seen back on a worker) -> reply
 *
 * \Seen is set once for all messages before the first response, so that the responses show it and a
 * command costs one commit. That it cannot be set (a full disk) does not keep anybody from reading. From messages that
 * turn out to be damaged it is taken back.
 * Sources   RFC 9051 6.4.5, 6.4.9; RFC 3501 6.4.5; RFC 5530 3 (EXPUNGEISSUED); RFC 4466 2.4 (modifiers);
 *           RFC 9394 3.3 (PARTIAL); RFC 7162 3.1.4, 3.2.6 (CHANGEDSINCE, VANISHED).
 */
#include "imap_address.h"
#include "imap_condstore.h"
#include "imap_esearch.h"
#include "imap_fetch.h"

enum { INLINE_MAX = 1000 }; /* messages looked at on the loop; more: on the worker */

struct seen_work {
	struct shelf_store *store;
	const struct shelf_asker *asker;
	uint32_t account, mailbox;
	const struct shelf_uidset *uids;
	struct shelf_uidset *unseen; /* the fetch's */
	bool found;                  /* unseen is filled */
	uint64_t modseq;
	int rc;
};

struct fetch_command {
	struct imap_fetch fetch;
	bool has_partial, has_since, wants_vanished;
	struct imap_partial partial;
	uint64_t since;
	struct imap_changes changes;
	struct shelf_uidset *named; /* uids of the command, there or not; for VANISHED */
	struct seen_work work;
};

static void
cleanup(struct imap_cmd *c)
{
	struct fetch_command *fc = c->data;

	imap_changes_end(&fc->changes);
	shelf_uidset_free(&fc->named);
	imap_fetch_end(&fc->fetch);
}

/* The loop's and the worker's: which of the messages are not \Seen yet? */
static int
find_unseen(struct seen_work *w)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(w->store, w->account, &rd);
	uint32_t uid = shelf_uidset_next(w->uids, 1);

	while (rc == 0 && uid != 0) {
		struct shelf_msg m;

		rc = shelf_msg_next(rd, w->mailbox, uid, SHELF_MSG_FLAGS, &m);
		if (rc != 0)
			break;
		if (!(m.flags & SHELF_SEEN) && shelf_uidset_has(w->uids, m.uid))
			shelf_uidset_add(w->unseen, m.uid);
		uid = m.uid == UINT32_MAX ? 0 : shelf_uidset_next(w->uids, m.uid + 1);
	}
	if (rd != NULL)
		shelf_rd_end(&rd);
	w->found = rc == 0 || rc == SHELF_ENOMESSAGE;
	return w->found ? 0 : rc;
}

static void
mark_seen(void *arg)
{
	struct seen_work *w = arg;
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .flags = SHELF_SEEN,
	    .unchanged_since = UINT64_MAX, .asker = w->asker};

	w->rc = w->found ? 0 : find_unseen(w);
	if (w->rc == 0 && shelf_uidset_count(w->unseen) > 0) {
		w->rc = shelf_msg_set_flags(w->store, w->account, w->mailbox, w->unseen, &change,
		    NULL, &w->modseq);
	}
	if (w->rc == SHELF_ENOPERM) { /* the right was taken away a moment ago: read, and not \Seen */
		shelf_uidset_clear(w->unseen);
		w->rc = 0;
	}
}

/* What nobody could read has not been seen; what another session changed since is its own affair. */
static void
unmark_seen(void *arg)
{
	struct seen_work *w = arg;
	struct shelf_flag_change change = {.op = SHELF_FLAGS_REMOVE, .flags = SHELF_SEEN, .unchanged_since = w->modseq};

	w->rc = shelf_msg_set_flags(w->store, w->account, w->mailbox, w->uids, &change, NULL, &w->modseq);
}

/* What the responses have shown need not be told again. */
static void
shown(struct imap_fetch *f)
{
	struct shelf_uidset *left;

	if (f->unseen == NULL)
		return;
	if (f->uid != 0) { /* ended early: the rest has not been shown */
		left = shelf_uidset_new();
		shelf_uidset_add_range(left, f->uid, UINT32_MAX);
		shelf_uidset_andnot(f->unseen, left);
		shelf_uidset_free(&left);
	}
	imap_sync_shown(f->s, f->unseen, f->seen_modseq);
}

static enum imap_step
reply(struct imap_cmd *c)
{
	struct imap_fetch *f = &((struct fetch_command *)c->data)->fetch;

	if (f->damaged != 0) {
		return imap_no(c, "SERVERBUG",
		    "some messages are damaged in the store and were left out");
	}
	if (f->unknown_cte) {
		return imap_no(c, "UNKNOWN-CTE",
		    "some messages have a part in an unknown encoding and were left out");
	}
	if (f->missing && !c->uid)
		return imap_no(c, "EXPUNGEISSUED", "some messages do not exist any more");
	return imap_completed(c);
}

static enum imap_step
unmarked(struct imap_cmd *c)
{
	struct seen_work *w = &((struct fetch_command *)c->data)->work;

	if (w->rc != 0)
		shelf_log(SHELF_LOG_WARN, "imap fetch not unseen", "account", "%s", c->s->account_name, "error", "%s",
		    shelf_err_name(w->rc), NULL);
	return reply(c);
}

static enum imap_step
run(struct imap_cmd *c)
{
	struct fetch_command *fc = c->data;
	struct imap_fetch *f = &fc->fetch;
	int rc;
	enum imap_step step = imap_fetch_run(f, &rc);

	imap_progress(c, f->passed_messages, f->total);
	if (step != IMAP_DONE)
		return step;
	shown(f);
	if (rc != 0)
		return imap_err(c, rc);
	if (f->unread == NULL)
		return reply(c);
	fc->work.uids = f->unread;
	c->run = unmarked;
	return imap_work(c, unmark_seen, &fc->work);
}

static enum imap_step
begin_run(struct imap_cmd *c)
{
	struct fetch_command *fc = c->data;

	if (fc->work.rc != 0) {
		shelf_uidset_clear(fc->fetch.unseen);
		if (fc->work.rc != SHELF_EREADONLY) /* a full disk is told once, not with each message */
			shelf_log(SHELF_LOG_WARN, "imap fetch seen", "account", "%s",
			    c->s->account_name, "error", "%s", shelf_err_name(fc->work.rc), NULL);
	}
	fc->fetch.seen_modseq = fc->work.modseq;
	c->run = run;
	return run(c);
}

static enum imap_step
begin_seen(struct imap_cmd *c)
{
	struct fetch_command *fc = c->data;
	struct seen_work *w = &fc->work;
	struct imap_fetch *f = &fc->fetch;

	f->unseen = shelf_uidset_new();
	*w = (struct seen_work){.store = c->s->store, .asker = imap_asker(c, SHELF_RIGHT_SEEN), .account = c->s->owner,
	    .mailbox = c->s->mailbox, .uids = f->uids, .unseen = f->unseen};
	if (shelf_uidset_count(f->uids) <= INLINE_MAX) {
		w->rc = find_unseen(w);
		if (w->rc != 0 || shelf_uidset_count(f->unseen) == 0)
			return begin_run(c);
	}
	c->run = begin_run;
	return imap_work(c, mark_seen, w);
}

static bool
parse_modifier(struct imap_cmd *c, struct fetch_command *fc)
{
	struct imap_parser *p = &c->p;

	if (imap_try_word(p, "CHANGEDSINCE")) {
		imap_fetch_add(&c->arena, "MODSEQ", &fc->fetch.items);
		fc->has_since = true;
		return imap_condstore_number(p, &fc->since);
	}
	if (c->uid && c->s->qresync && imap_try_word(p, "VANISHED")) {
		fc->wants_vanished = true;
		return true;
	}
	if (!c->uid || !imap_try_word(p, "PARTIAL"))
		return imap_parse_fail(p, "unknown FETCH modifier");
	if (fc->has_partial)
		return imap_parse_fail(p, "PARTIAL twice");
	fc->has_partial = true;
	return imap_parse_sp(p) && imap_partial_parse(p, &fc->partial);
}

/* "(PARTIAL -1:-10 CHANGEDSINCE 4711)" behind the items. */
static bool
parse_modifiers(struct imap_cmd *c, struct fetch_command *fc)
{
	if (!imap_try(&c->p, ' '))
		return true;
	if (!imap_parse_open(&c->p))
		return false;
	do {
		if (!parse_modifier(c, fc))
			return false;
	} while (imap_try(&c->p, ' '));
	if (fc->wants_vanished && !fc->has_since)
		return imap_parse_fail(&c->p, "VANISHED goes with CHANGEDSINCE");
	return imap_parse_close(&c->p);
}

static enum imap_step
begin(struct imap_cmd *c)
{
	struct fetch_command *fc = c->data;
	struct imap_fetch *f = &fc->fetch;

	if (fc->has_partial)
		imap_partial_cut(&fc->partial, f->uids);
	if (fc->has_since)
		shelf_uidset_and(f->uids, fc->changes.changed);
	imap_limit_cut(c, f->uids);
	f->uid = shelf_uidset_next(f->uids, 1);
	f->total = shelf_uidset_count(f->uids);
	if (f->uid != 0 && (f->items.needs & IMAP_SETS_SEEN) && !c->s->read_only &&
	    (c->s->rights & SHELF_RIGHT_SEEN) != 0)
		return begin_seen(c);
	return begin_run(c);
}

static enum imap_step
vanished(struct imap_cmd *c)
{
	struct fetch_command *fc = c->data;

	while (imap_condstore_vanished(c->s, fc->changes.vanished, &fc->changes.next, true)) {
		if (imap_out_full(c->s))
			return IMAP_WANT_OUTPUT;
	}
	return begin(c);
}

static enum imap_step
changes_found(struct imap_cmd *c)
{
	struct fetch_command *fc = c->data;

	if (fc->changes.rc == 0)
		imap_changes_take(c->s, &fc->changes, NULL);
	if (fc->changes.rc != 0)
		return imap_err(c, fc->changes.rc);
	if (!fc->wants_vanished)
		return begin(c);
	shelf_uidset_and(fc->changes.vanished, fc->named);
	c->run = vanished;
	return vanished(c);
}

/*
 * The uids of the set. With CHANGEDSINCE those that changed are few and are looked for in the view
 * themselves (imap_changes_take): "1:*" must not cost what a whole mailbox costs. PARTIAL counts messages.
 */
static bool
resolve(struct imap_cmd *c, struct fetch_command *fc, struct shelf_span set)
{
	if (!c->uid || !fc->has_since || fc->has_partial || memchr(set.data, '$', set.len) != NULL)
		return imap_set_resolve(c, set, c->uid, fc->fetch.uids);
	if (imap_set_numbers(set, shelf_view_max_uid(c->s->view), fc->fetch.uids) == 0)
		return true;
	imap_bad(c, "bad sequence set");
	return false;
}

enum imap_step
imap_cmd_fetch(struct imap_cmd *c)
{
	struct fetch_command *fc = SHELF_ARENA_NEW(&c->arena, struct fetch_command);
	struct imap_fetch *f = &fc->fetch;
	struct shelf_span set;

	if (!imap_parse_sp(&c->p) || !imap_parse_set(&c->p, &set) || !imap_parse_sp(&c->p) ||
	    !imap_fetch_parse(&c->p, c->uid && !c->s->uidonly, &f->items) || !parse_modifiers(c, fc) ||
	    !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	f->s = c->s;
	f->uids = shelf_uidset_new();
	c->data = fc;
	c->cleanup = cleanup;
	if (!resolve(c, fc, set))
		return IMAP_DONE;
	f->has_uid = imap_fetch_has(&f->items, "UID");
	f->keywords = SHELF_ARENA_NEW(&c->arena, struct shelf_keywords);
	if (f->items.needs & IMAP_NEED_MODSEQ)
		imap_condstore_enable(c->s);
	if (!fc->has_since)
		return begin(c);
	if (fc->wants_vanished) {
		fc->named = shelf_uidset_new();
		if (imap_set_numbers(set, shelf_view_uidnext(c->s->view) - 1, fc->named) != 0)
			return imap_bad(c, "bad sequence set");
	}
	imap_changes_begin(c->s, fc->since, &fc->changes);
	c->run = changes_found;
	return imap_work(c, imap_changes_run, &fc->changes);
}
