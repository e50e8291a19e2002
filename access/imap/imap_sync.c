/*
 * imap_sync.c - the only source of untagged EXISTS, RECENT, EXPUNGE and unsolicited FETCH
 *
 *   REST --refresh--> CLAIM --> VANISHED --commit--> COUNTS --> NEW --> FLAGS --> CONTEXTS --> REST
 *            |          (on a worker, when a quota alert is due; when messages are new and \Recent is to be had)
 *            +--nothing changed--> REST
 *
 * What must stay true: message numbers printed are those the client has at that moment; numbers
 * change only in the step from VANISHED to COUNTS, which is reached only when the caller allows it;
 * each step prints in pieces and keeps no snapshot while it waits.
 * Sources   RFC 9051 7.5.1 (when EXPUNGE may be sent), 7.4.1, 7.5.2; RFC 3501 7.3.2 (RECENT).
 */
#include <inttypes.h>
#include <stdlib.h>

#include "imap_address.h"
#include "imap_alert.h"
#include "imap_command.h"
#include "imap_condstore.h"
#include "imap_context.h"
#include "imap_notify.h"
#include "imap_sync.h"
#include "net.h"

enum { TOLD_MAX = 1024, PIECE_MESSAGES = 256, SLICE_MESSAGES = 8192 };

enum phase { PHASE_REST, PHASE_CLAIM, PHASE_VANISHED, PHASE_COUNTS, PHASE_NEW, PHASE_FLAGS,
	PHASE_CONTEXTS };

struct told {
	uint32_t first, last;      /* with seen NULL: exactly MODSEQ in this range */
	uint64_t modseq;
	struct shelf_uidset *seen; /* up to MODSEQ, these */
};

struct imap_sync {
	enum phase phase;
	uint64_t modseq;  /* the account's version at the last refresh */
	uint64_t told_modseq; /* the mailbox's: everything up to it has been told */
	unsigned told_rights; /* the client knows which flags it may change with these */
	bool kept_back;
	struct shelf_uidset *withheld; /* changes of flags that NOTIFY did not want */
	struct shelf_changes changes;
	struct imap_claim claim;
	bool claiming;
	struct imap_alert alert;
	bool alert_due, alerting;
	uint32_t next;    /* uid: where the phase goes on */
	uint32_t printed; /* EXPUNGEs */
	struct told *told;
	size_t ntold;
	struct shelf_uidset *fresh; /* NEW: messages that NOTIFY wants to be fetched */
	struct shelf_uidset *own;   /* uids of messages that this session has put here itself */
};

/* ---- Own changes ----------------------------------------------------------------------------- */

static struct told *
new_told(struct imap_sync *y)
{
	/* Beyond: the client hears of its own changes, which is allowed. */
	if (y == NULL || y->ntold == TOLD_MAX)
		return NULL;
	if (y->told == NULL)
		y->told = shelf_alloc(TOLD_MAX * sizeof *y->told);
	return &y->told[y->ntold++];
}

void
imap_sync_told(struct imap_session *s, uint32_t first, uint32_t last, uint64_t modseq)
{
	struct told *told = new_told(s->sync);

	if (told != NULL)
		*told = (struct told){first, last, modseq, NULL};
}

void
imap_sync_shown(struct imap_session *s, const struct shelf_uidset *uids, uint64_t modseq)
{
	struct told *told = new_told(s->sync);

	if (told != NULL)
		*told = (struct told){0, 0, modseq, shelf_uidset_copy(uids)};
}

void
imap_sync_own(struct imap_session *s, uint32_t account, uint32_t mailbox, const struct shelf_uidset *uids)
{
	if (s->sync != NULL && s->notify != NULL && account == s->owner && mailbox == s->mailbox)
		shelf_uidset_or(s->sync->own, uids);
}

static bool
is_told(const struct imap_sync *y, const struct shelf_msg *m)
{
	size_t i = 0;

	for (i = 0; i < y->ntold; i++) {
		const struct told *t = &y->told[i];

		if (t->seen != NULL ? m->modseq <= t->modseq && shelf_uidset_has(t->seen, m->uid) :
		    m->modseq == t->modseq && m->uid >= t->first && m->uid <= t->last)
			return true;
	}
	return false;
}

static void
forget_told(struct imap_sync *y)
{
	size_t i = 0;

	for (i = 0; i < y->ntold; i++)
		shelf_uidset_free(&y->told[i].seen);
	y->ntold = 0;
	free(y->told);
	y->told = NULL;
}

/* ---- Start and stop -------------------------------------------------------------------------- */

void
imap_sync_start(struct imap_session *s, uint64_t modseq)
{
	s->sync = SHELF_NEW(struct imap_sync);
	s->sync->modseq = modseq;
	s->sync->told_modseq = shelf_view_modseq(s->view);
	s->sync->told_rights = s->rights;
	s->sync->changes.vanished = shelf_uidset_new();
	s->sync->changes.flagged = shelf_uidset_new();
	s->sync->withheld = shelf_uidset_new();
	s->sync->fresh = shelf_uidset_new();
	s->sync->own = shelf_uidset_new();
}

void
imap_sync_stop(struct imap_session *s)
{
	if (s->sync == NULL)
		return;
	forget_told(s->sync);
	shelf_uidset_free(&s->sync->changes.vanished);
	shelf_uidset_free(&s->sync->changes.flagged);
	shelf_uidset_free(&s->sync->withheld);
	shelf_uidset_free(&s->sync->fresh);
	shelf_uidset_free(&s->sync->own);
	free(s->sync);
	s->sync = NULL;
}

uint64_t
imap_sync_told_modseq(const struct imap_session *s)
{
	return s->sync->told_modseq;
}

uint64_t
imap_sync_heard_modseq(const struct imap_session *s)
{
	return s->sync->modseq;
}

void
imap_claim_run(void *arg)
{
	struct imap_claim *claim = arg;

	claim->rc = shelf_mailbox_claim_recent(claim->store, claim->account, claim->mailbox,
	    &claim->from, &claim->to);
}

void
imap_claim_take(struct imap_session *s, const struct imap_claim *claim)
{
	/* A claim that failed (store full) costs the flag, not the session. */
	if (claim->rc == 0 && claim->from < claim->to)
		shelf_uidset_add_range(s->recent, claim->from, claim->to - 1);
}

uint32_t
imap_sync_recent(const struct imap_session *s)
{
	struct shelf_uidset *set = NULL;
	uint32_t count = 0;

	if (shelf_uidset_min(s->recent) == 0)
		return 0;
	set = shelf_uidset_copy(s->recent);
	shelf_view_retain(s->view, set);
	count = shelf_uidset_count(set);
	shelf_uidset_free(&set);
	return count;
}

/* ---- Keywords -------------------------------------------------------------------------------- */

static void
print_flag_names(struct imap_session *s, const struct shelf_keywords *kw)
{
	uint32_t i = 0;

	imap_out_str(s, "\\Answered \\Flagged \\Deleted \\Seen \\Draft");
	for (i = 0; i < kw->count; i++) {
		imap_out_str(s, " ");
		imap_out_span(s, kw->name[i]);
	}
}

/* Those that the user may change (RFC 4314 5.1.1). */
static void
print_permanent(struct imap_session *s, const struct shelf_keywords *kw)
{
	const char *blank = "";

	if ((~s->rights & SHELF_RIGHTS_FLAGS) == 0) {
		print_flag_names(s, kw);
		imap_out_str(s, kw->count < SHELF_KEYWORDS_MAX ? " \\*" : "");
		return;
	}
	if ((s->rights & SHELF_RIGHT_SEEN) != 0) {
		imap_out_str(s, "\\Seen");
		blank = " ";
	}
	if ((s->rights & SHELF_RIGHT_DELETE_MESSAGES) != 0) {
		imap_outf(s, "%s\\Deleted", blank);
		blank = " ";
	}
	if ((s->rights & SHELF_RIGHT_WRITE) == 0)
		return;
	imap_outf(s, "%s\\Answered \\Flagged \\Draft", blank);
	for (uint32_t i = 0; i < kw->count; i++) {
		imap_out_str(s, " ");
		imap_out_span(s, kw->name[i]);
	}
	imap_out_str(s, kw->count < SHELF_KEYWORDS_MAX ? " \\*" : "");
}

void
imap_sync_flags(struct imap_session *s, const struct shelf_keywords *kw)
{
	imap_out_str(s, "* FLAGS (");
	print_flag_names(s, kw);
	imap_out_str(s, ")\r\n* OK [PERMANENTFLAGS (");
	if (!s->read_only)
		print_permanent(s, kw);
	imap_outf(s, ")] %s\r\n", s->read_only ? "No flags can be changed" : "Flags permitted");
	s->keywords_told = kw->count;
}

void
imap_sync_keywords(struct imap_session *s, const struct shelf_keywords *kw)
{
	if (kw->count > s->keywords_told)
		imap_sync_flags(s, kw);
}

/* ---- Phases ---------------------------------------------------------------------------------- */

/* Others may have changed what the user may do here. Who may not read it any more has no business here: the
 * mailbox is gone for him (RFC 4314 5.1.1). */
static int
refresh_rights(struct imap_session *s, struct shelf_rd *rd)
{
	struct shelf_keywords *kw = NULL;
	unsigned rights = 0;
	int rc = imap_address_rights(s, s->owner, rd, s->mailbox, &rights);

	if (rc != 0)
		return rc;
	s->rights = rights;
	if ((rights & SHELF_RIGHT_READ) == 0)
		return SHELF_ENOMAILBOX;
	if (rights == s->sync->told_rights)
		return 0;
	s->sync->told_rights = rights;
	kw = SHELF_NEW(struct shelf_keywords);
	rc = shelf_mailbox_keywords(rd, s->mailbox, kw);
	if (rc == 0)
		imap_sync_flags(s, kw);
	free(kw);
	return rc;
}

void
imap_sync_rights(struct imap_session *s)
{
	struct shelf_rd *rd = NULL;
	unsigned rights = 0;

	if (s->sync == NULL || shelf_rd_begin(s->store, s->owner, &rd) != 0)
		return;
	if (shelf_rd_modseq(rd) != s->sync->modseq &&
	    imap_address_rights(s, s->owner, rd, s->mailbox, &rights) == 0)
		s->rights = rights;
	shelf_rd_end(&rd);
}

/* Sees what is new. EXAMINE finds its \Recent in the row, SELECT has to claim them. */
static int
refresh(struct imap_cmd *c, bool may_renumber)
{
	struct imap_session *s = c->s;
	struct imap_sync *y = s->sync;
	bool owed = shelf_uidset_min(y->withheld) != 0 && imap_notify_wants(c, IMAP_EVENT_FLAGS);
	struct shelf_mailbox row = {0};
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(s->store, s->owner, &rd);

	if (rc != 0)
		return rc;
	if (shelf_rd_modseq(rd) == y->modseq && !(y->kept_back && may_renumber) && !owed) {
		shelf_uidset_clear(y->changes.vanished);
		shelf_uidset_clear(y->changes.flagged);
		y->changes.added = 0;
		goto out;
	}
	/* RENAME INBOX takes the mailbox away under another name and leaves a new one. Who goes on with
	 * the old one waits for mail that never comes. */
	if (s->inbox)
		rc = shelf_mailbox_get(rd, s->mailbox, &row);
	if (rc == 0 && s->inbox && !shelf_span_is(row.name, "INBOX"))
		rc = SHELF_ENOMAILBOX;
	if (rc == 0)
		rc = refresh_rights(s, rd);
	if (rc == 0)
		rc = shelf_view_refresh(s->view, rd, may_renumber, &y->changes);
	if (rc != 0)
		goto out;
	y->modseq = shelf_rd_modseq(rd);
	y->kept_back = y->changes.kept_back;
	y->phase = PHASE_CLAIM;
	y->alert_due = s->owner == s->account && shelf_warning_alert_due(rd);
	if (y->changes.added > 0 && s->read_only) {
		rc = shelf_mailbox_get(rd, s->mailbox, &row);
		if (rc == 0 && row.recent_from < row.uidnext)
			shelf_uidset_add_range(s->recent, row.recent_from, row.uidnext - 1);
	}
out:
	shelf_rd_end(&rd);
	return rc;
}

static enum imap_step
alert(struct imap_cmd *c)
{
	struct imap_sync *y = c->s->sync;

	if (y->alert_due) {
		y->alert_due = false;
		y->alerting = true;
		y->alert = (struct imap_alert){.store = c->s->store, .account = c->s->account};
		return imap_work(c, imap_alert_take, &y->alert);
	}
	if (y->alerting)
		imap_alert_print(c->s, &y->alert);
	y->alerting = false;
	return IMAP_DONE;
}

static enum imap_step
claim(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct imap_sync *y = s->sync;

	if (!y->claiming && y->changes.added > 0 && !s->read_only && !s->rev2) {
		y->claiming = true;
		y->claim = (struct imap_claim){.store = s->store, .account = s->owner,
		    .mailbox = s->mailbox};
		return imap_work(c, imap_claim_run, &y->claim);
	}
	if (y->claiming)
		imap_claim_take(s, &y->claim);
	y->claiming = false;
	y->next = 1;
	y->printed = 0;
	y->phase = PHASE_VANISHED;
	return IMAP_DONE;
}

static enum imap_step
vanished(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct imap_sync *y = s->sync;
	uint32_t uid = 0, pieces = 0;
	bool by_uid = s->qresync || s->uidonly;
	enum imap_step step = y->next == 1 && y->printed == 0 ?
	    imap_contexts_vanish(c, y->changes.vanished) : IMAP_DONE;

	if (step != IMAP_DONE)
		return step;
	while (by_uid && imap_condstore_vanished(s, y->changes.vanished, &y->next, false)) {
		if (imap_out_full(s))
			return IMAP_WANT_OUTPUT;
	}
	for (; !by_uid && y->next != 0 && (uid = shelf_uidset_next(y->changes.vanished, y->next)) != 0;
	    y->next = uid + 1) {
		if (++pieces % PIECE_MESSAGES == 0 && imap_out_full(s))
			return IMAP_WANT_OUTPUT;
		/* Numbers are those before the refresh; each line moves the later ones down. */
		imap_untagged(s, "%u EXPUNGE", shelf_view_seq(s->view, uid) - y->printed);
		y->printed++;
	}
	shelf_uidset_andnot(s->recent, y->changes.vanished);
	shelf_view_commit(s->view);
	y->phase = PHASE_COUNTS;
	return IMAP_DONE;
}

static void
note_for_contexts(struct imap_session *s)
{
	struct imap_sync *y = s->sync;
	uint32_t count = shelf_view_count(s->view);
	struct shelf_uidset *added;

	imap_contexts_note(s, y->changes.flagged, false);
	if (s->contexts == NULL || y->changes.added == 0)
		return;
	added = shelf_uidset_new();
	shelf_uidset_add_range(added, shelf_view_uid(s->view, count - y->changes.added + 1),
	    shelf_view_max_uid(s->view));
	shelf_view_retain(s->view, added);
	imap_contexts_note(s, added, true);
	shelf_uidset_free(&added);
}

static void
counts(struct imap_session *s)
{
	struct imap_sync *y = s->sync;

	if (y->changes.added > 0) {
		imap_untagged(s, "%u EXISTS", shelf_view_count(s->view));
		if (!s->rev2)
			imap_untagged(s, "%u RECENT", imap_sync_recent(s));
	}
	shelf_uidset_clear(y->fresh);
	if (y->changes.added > 0 && s->notify != NULL && s->notify->has_items) {
		shelf_uidset_add_range(y->fresh,
		    shelf_view_uid(s->view, shelf_view_count(s->view) - y->changes.added + 1),
		    shelf_view_max_uid(s->view));
		shelf_view_retain(s->view, y->fresh);
		shelf_uidset_andnot(y->fresh, y->own);
	}
	shelf_uidset_clear(y->own);
	note_for_contexts(s);
	y->next = 1;
	y->phase = PHASE_NEW;
}

/* RFC 7162 3.2.4: UID and MODSEQ for everybody who has enabled CONDSTORE. RFC 9586 3: the number is the UID.
 * KW NULL: no FLAGS. */
static void
print_one(struct imap_cmd *c, const struct shelf_msg *m, const struct shelf_keywords *kw)
{
	struct imap_session *s = c->s;
	const char *blank = "";

	if (s->uidonly)
		imap_outf(s, "* %u UIDFETCH (", m->uid);
	else
		imap_outf(s, "* %u FETCH (", shelf_view_seq(s->view, m->uid));
	/* RFC 5465 5.1: and for who uses NOTIFY; RFC 9051 7.5.2: and for everybody there. */
	if (!s->uidonly && (c->uid || s->condstore || s->notify != NULL || s->rev2)) {
		imap_outf(s, "UID %u", m->uid);
		blank = " ";
	}
	if (kw != NULL) {
		imap_outf(s, "%sFLAGS ", blank);
		imap_out_flags(s, m, kw);
		blank = " ";
	}
	if (s->condstore) {
		imap_out_str(s, blank);
		imap_condstore_print(s, m->modseq);
	}
	imap_out_str(s, ")\r\n");
}

/* One snapshot's piece of imap_sync_print_flags: 1 more is left, 0 done, or an error. */
static int
print_flags(struct imap_cmd *c, struct imap_flags_walk *w, struct shelf_rd *rd,
    const struct shelf_keywords *kw)
{
	struct imap_session *s = c->s;
	struct shelf_msg m = {0};
	uint32_t uid = 0, pieces = 0;
	int rc = 0;

	for (; w->next != 0 && (uid = shelf_uidset_next(w->uids, w->next)) != 0; w->next = uid + 1) {
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
		if (w->only != 0 ? m.modseq == w->only : w->all || !is_told(s->sync, &m))
			print_one(c, &m, w->only == 0 ? kw : NULL);
	}
	return 0;
}

int
imap_sync_print_flags(struct imap_cmd *c, struct imap_flags_walk *w)
{
	struct imap_session *s = c->s;
	struct shelf_keywords *kw = NULL;
	struct shelf_rd *rd = NULL;
	int rc = 0;

	if (imap_out_full(s))
		return 1;
	kw = SHELF_NEW(struct shelf_keywords);
	rc = shelf_rd_begin(s->store, s->owner, &rd);
	if (rc == 0)
		rc = shelf_mailbox_keywords(rd, s->mailbox, kw);
	if (rc == 0) {
		imap_sync_keywords(s, kw);
		if (w->modseq == 0)
			w->modseq = shelf_rd_modseq(rd);
		rc = print_flags(c, w, rd, kw);
	}
	shelf_rd_end(&rd);
	free(kw);
	return rc;
}

/*
 * Everything has been told but removals that must wait, and flags that NOTIFY did not want (not COMPLETE: or nothing
 * could be told). Whoever has seen a
 * MODSEQ above theirs would take it for the state of the mailbox, and lose them when the connection breaks
 * (RFC 7162 3.2, 6).
 */
static void
tell_modseq(struct imap_session *s, bool complete)
{
	struct imap_sync *y = s->sync;

	if (complete && !y->kept_back && shelf_uidset_min(y->withheld) == 0)
		y->told_modseq = shelf_view_modseq(s->view);
	else if (s->modseq_shown)
		imap_untagged(s, "OK [HIGHESTMODSEQ %" PRIu64 "] There is more to be told",
		    y->told_modseq);
	s->modseq_shown = false;
}

/* What NOTIFY does not want now, it may want later. */
static void
sort_flagged(struct imap_cmd *c)
{
	struct imap_sync *y = c->s->sync;

	if (imap_notify_wants(c, IMAP_EVENT_FLAGS)) {
		shelf_uidset_or(y->changes.flagged, y->withheld);
		shelf_uidset_clear(y->withheld);
		shelf_view_retain(c->s->view, y->changes.flagged);
	} else {
		shelf_uidset_or(y->withheld, y->changes.flagged);
		shelf_uidset_clear(y->changes.flagged);
	}
}

static enum imap_step
flags(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct imap_sync *y = s->sync;
	struct imap_flags_walk w = {.uids = y->changes.flagged, .next = y->next};

	if (y->next == 1)
		sort_flagged(c);
	if (shelf_uidset_min(w.uids) != 0 && imap_sync_print_flags(c, &w) == 1) {
		y->next = w.next;
		return imap_out_full(s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
	}
	/* An error here (mailbox just deleted) is found by the next refresh. */
	forget_told(y);
	y->phase = PHASE_CONTEXTS;
	return IMAP_DONE;
}

enum imap_step
imap_sync(struct imap_cmd *c, bool may_renumber)
{
	struct imap_session *s = c->s;
	enum imap_step step = IMAP_DONE;
	int rc = 0;

	/* What comes during the other phases is not in their snapshot: it wants another refresh. */
	if (s->view == NULL || s->sync->phase == PHASE_REST)
		c->news = false;
	if (s->view == NULL || (s->sync->phase == PHASE_REST && !imap_notify_wants(c, IMAP_EVENT_NEW)))
		return IMAP_DONE;
	if (s->sync->phase == PHASE_REST) {
		rc = refresh(c, may_renumber);
		/* RFC 2180 3.2 leaves little else: its numbers mean nothing any more. */
		if (rc == SHELF_ENOMAILBOX || rc == SHELF_ENOACCOUNT)
			s->mailbox_gone = true;
		if (rc != 0 || s->sync->phase == PHASE_REST) {
			forget_told(s->sync);
			if (rc != 0)
				imap_condstore_untold(c);
			tell_modseq(s, rc == 0);
			return IMAP_DONE;
		}
	}
	if (s->sync->phase == PHASE_CLAIM && ((step = alert(c)) != IMAP_DONE || (step = claim(c)) != IMAP_DONE))
		return step;
	if (s->sync->phase == PHASE_VANISHED && (step = vanished(c)) != IMAP_DONE)
		return step;
	if (s->sync->phase == PHASE_COUNTS)
		counts(s);
	if (s->sync->phase == PHASE_NEW) {
		if (shelf_uidset_min(s->sync->fresh) != 0 &&
		    (step = imap_notify_fetch(s, s->sync->fresh)) != IMAP_DONE)
			return step;
		s->sync->phase = PHASE_FLAGS;
	}
	if (s->sync->phase == PHASE_FLAGS && (step = flags(c)) != IMAP_DONE)
		return step;
	if ((step = imap_contexts_tell(c)) != IMAP_DONE)
		return step;
	s->sync->phase = PHASE_REST;
	tell_modseq(s, true);
	return IMAP_DONE;
}
