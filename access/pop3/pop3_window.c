/*
 * pop3_window.c - which messages of the mailbox a session sees (policy pop3_show; pop3_delete hide)
 *
 *   all          all but the hidden ones
 *   newest N     of these the last N
 *   since, days  of these what arrived then or later: INTERNALDATE, but not later than it came into the mailbox
 *   recent       what arrived within 30 days, the hidden ones too: for a second computer, whatever the first one did
 *
 * Without a policy and with nothing hidden no message is looked at. Hidden ones are known by page, with their bytes.
 * Since messages come into a mailbox in the order of their uids, what arrived before a date is cut off by halving; from
 * there on each row is read, on a worker, a few thousand a snapshot.
 *
 * What must stay true: the view stays as it was in its snapshot, so what is shown is a subset of it; numbers are dense.
 */
#include "pop3.h"

#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

enum { RECENT_DAYS = 30, DAY_S = 86400, SLICE_ROWS = 4096 };

int
pop3_walk_to(struct pop3_walk *w, uint32_t uid, struct shelf_msg *out)
{
	int rc = 0;

	if (w->ahead.uid < uid)
		rc = shelf_msg_next(w->rd, w->mailbox, uid, SHELF_MSG_ALL, &w->ahead);
	if (rc == SHELF_ENOMESSAGE) {
		w->ahead = (struct shelf_msg){.uid = UINT32_MAX, .gone = true};
		rc = 0;
	}
	if (rc == 0 && w->ahead.uid == uid && !w->ahead.gone) {
		*out = w->ahead;
		return 0;
	}
	return rc != 0 ? rc : shelf_msg_get(w->rd, w->mailbox, uid, out);
}

int
pop3_uidl(struct pop3_uidls *u, const struct pop3_drop *drop, uint32_t uid)
{
	int rc = u->next < uid ? shelf_uidl_next(u->rd, drop->mailbox, uid, &u->next, u->text) : 1;

	if (rc < 0)
		return rc;
	if (rc == 0)
		u->next = UINT32_MAX; /* nobody's uid */
	if (u->next == uid)
		memcpy(u->of, u->text, sizeof(u->of));
	else
		shelf_uidl_make(drop->uidvalidity, uid, u->of);
	return 0;
}

static void
cut_below(struct shelf_uidset *s, uint32_t uid)
{
	struct shelf_uidset *keep = shelf_uidset_new();

	if (uid != 0)
		shelf_uidset_add_range(keep, uid, UINT32_MAX);
	shelf_uidset_and(s, keep);
	shelf_uidset_free(&keep);
}

static int64_t
arrived(const struct shelf_msg *m)
{
	return m->internaldate_s < m->savedate_s ? m->internaldate_s : m->savedate_s;
}

/* The first message that came into the mailbox at SINCE_S or later: 0 none. */
static int
first_saved(struct shelf_rd *rd, const struct pop3_drop *drop, int64_t since_s, uint32_t *uid_out)
{
	uint32_t low = 1, high = shelf_uidset_count(drop->shown) + 1;
	struct shelf_msg m;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int rc = shelf_msg_get(rd, drop->mailbox, shelf_uidset_nth(drop->shown, middle), &m);

		if (rc != 0 && rc != SHELF_ENOMESSAGE)
			return rc;
		if (rc == 0 && m.savedate_s >= since_s)
			high = middle;
		else
			low = middle + 1;
	}
	*uid_out = shelf_uidset_nth(drop->shown, low);
	return 0;
}

/* Up to SLICE_ROWS rows from *UID on, which is moved behind them (0: the end). */
static int
look_at_rows(struct pop3_drop *drop, struct shelf_rd *rd, int64_t since_s, uint32_t *uid)
{
	struct pop3_walk w = {.rd = rd, .mailbox = drop->mailbox};
	struct shelf_msg m;

	for (unsigned rows = 0; *uid != 0 && rows < SLICE_ROWS; rows++) {
		int rc = pop3_walk_to(&w, *uid, &m);

		if (rc != 0 && rc != SHELF_ENOMESSAGE)
			return rc;
		if (rc == 0 && arrived(&m) >= since_s)
			drop->bytes += m.size;
		else
			shelf_uidset_remove(drop->shown, *uid);
		*uid = shelf_uidset_next(drop->shown, *uid + 1);
	}
	return 0;
}

static int
look_at_all(struct pop3_drop *drop, struct shelf_store *store, uint32_t account, int64_t since_s)
{
	uint32_t uid = shelf_uidset_min(drop->shown);
	int rc = 0;

	drop->bytes = 0;
	while (rc == 0 && uid != 0) {
		struct shelf_rd *rd = NULL;

		if ((rc = shelf_rd_begin(store, account, &rd)) == 0)
			rc = look_at_rows(drop, rd, since_s, &uid);
		shelf_rd_end(&rd);
	}
	return rc;
}

static int
cut_hidden(struct pop3_drop *drop, struct shelf_rd *rd)
{
	struct shelf_uidset *hidden = shelf_uidset_new();
	uint64_t bytes;
	int rc = shelf_pop3_hidden(rd, drop->mailbox, hidden, &bytes);

	shelf_uidset_andnot(drop->shown, hidden);
	drop->bytes -= bytes;
	shelf_uidset_free(&hidden);
	return rc;
}

int
pop3_window(struct pop3_drop *drop, struct shelf_store *store, struct shelf_rd *rd, uint32_t account, uint64_t show)
{
	enum shelf_show how = (enum shelf_show)(show >> 32);
	uint32_t n = (uint32_t)show, count, uid = 0;
	int64_t since_s = INT64_MIN;
	bool any = true;
	int rc = how == SHELF_SHOW_ALL ? shelf_pop3_hides(rd, drop->mailbox, &any) : 0;

	if (rc != 0 || !any)
		return rc;
	drop->shown = shelf_uidset_new();
	shelf_view_uids(drop->view, drop->shown);
	if ((rc = shelf_view_error(drop->view)) == 0 && how != SHELF_SHOW_RECENT)
		rc = cut_hidden(drop, rd);
	if (rc != 0 || how == SHELF_SHOW_ALL)
		return rc;
	count = shelf_uidset_count(drop->shown);
	if (how == SHELF_SHOW_NEWEST) {
		if (count <= n)
			return 0;
		cut_below(drop->shown, shelf_uidset_nth(drop->shown, count - n + 1));
		return look_at_all(drop, store, account, since_s);
	}
	if (how == SHELF_SHOW_SINCE)
		since_s = (int64_t)n * DAY_S;
	else
		since_s = shelf_now_s() - (int64_t)(how == SHELF_SHOW_DAYS ? n : RECENT_DAYS) * DAY_S;
	if ((rc = first_saved(rd, drop, since_s, &uid)) != 0)
		return rc;
	cut_below(drop->shown, uid);
	return look_at_all(drop, store, account, since_s);
}
