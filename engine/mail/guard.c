/*
 * guard.c - the mass-deletion guard: counts what leaves an account, and keeps it longer when it is much
 *
 * GUARD, key empty: the window, what was removed in the last hour, in slots of five minutes
 *        1 | newest slot 4 (seconds / 300) | 13 times: messages varint, bytes varint, the newest first
 * GUARD, key time u32: one mass deletion
 *        1 | flags 1 | how 1 | first 4 | last 4 | until 4 | messages 8 | bytes 8 | of 8
 *
 *   removal --> window --> more than the share? --> event: what goes from now on has the long date
 *                                     janitor --> what went before in this window gets it too (PENDING)
 *
 * There is no session here: who empties an account by many sessions is seen as who does it by one. The window is of
 * an account, 60 to 65 minutes long.
 *
 * What must stay true
 *   - Window and event change in the transaction that removes, so the count is exact whoever removes beside.
 *   - No row that an event covers is purged while it is PENDING: the purge of an account begins here.
 *   - The share is of what the account would have without the window's removals: it does not grow while
 *     the account shrinks.
 */
#include <mailshelf/guard.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "mail.h"

enum {
	FORMAT = 1,
	SLOT_S = 300,
	WINDOW_S = (MAIL_GUARD_SLOTS - 1) * SLOT_S,
	PENDING = 1,  /* flag: earlier rows of this event still have their old date */
	CLEARED = 2,  /* flag: told enough; goes when it is not PENDING any more */
	NOT_HELD = 4, /* flag: there was no hold to extend */
	GAP = 8,      /* flag: then something went that was not too much, with a date of its own */
	WALK_ROWS = 20000,
	MOVE_ROWS = 120,
};

/* ---- Rows ---------------------------------------------------------------------------------------------- */

static int
get_window(struct kv_view *view, struct mail_guard *g, uint32_t slot)
{
	struct shelf_span value;
	struct base_reader r;
	uint32_t newest;
	int rc = kv_get(view, KV_GUARD, shelf_span(NULL, 0), &value);

	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	r = base_reader(value);
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	newest = (uint32_t)base_get_le(&r, 4);
	for (unsigned i = 0; i < MAIL_GUARD_SLOTS; i++) {
		uint64_t messages = base_get_varint(&r), bytes = base_get_varint(&r);
		/* A clock that was set back: what lies ahead counts as of now. */
		uint32_t age = newest > slot ? i : slot - newest + i;

		if (age < MAIL_GUARD_SLOTS && slot >= age) {
			g->messages[age] = messages;
			g->bytes[age] = bytes;
		}
	}
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

static int
put_window(struct kv_txn *txn, const struct mail_guard *g)
{
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, g->slot, 4);
	for (unsigned i = 0; i < MAIL_GUARD_SLOTS; i++) {
		base_add_varint(&value, g->messages[i]);
		base_add_varint(&value, g->bytes[i]);
	}
	rc = kv_put(txn, KV_GUARD, shelf_span(NULL, 0), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

static int
decode_event(struct shelf_span key, struct shelf_span value, struct mail_guard_event *e)
{
	struct base_reader r = base_reader(value);

	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	e->id = base_get_be32(key.data);
	e->flags = (uint8_t)base_get_le(&r, 1);
	e->how = (uint8_t)base_get_le(&r, 1);
	e->first_s = (uint32_t)base_get_le(&r, 4);
	e->last_s = (uint32_t)base_get_le(&r, 4);
	e->until_s = (uint32_t)base_get_le(&r, 4);
	e->messages = base_get_le(&r, 8);
	e->bytes = base_get_le(&r, 8);
	e->of = base_get_le(&r, 8);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

static int
put_event(struct kv_txn *txn, const struct mail_guard_event *e)
{
	struct mail_key key = mail_key1(e->id);
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, e->flags, 1);
	base_add_le(&value, e->how, 1);
	base_add_le(&value, e->first_s, 4);
	base_add_le(&value, e->last_s, 4);
	base_add_le(&value, e->until_s, 4);
	base_add_le(&value, e->messages, 8);
	base_add_le(&value, e->bytes, 8);
	base_add_le(&value, e->of, 8);
	rc = kv_put(txn, KV_GUARD, mail_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

static int
del_event(struct kv_txn *txn, const struct mail_guard_event *e)
{
	struct mail_key key = mail_key1(e->id);

	return kv_del(txn, KV_GUARD, mail_key_span(&key));
}

int
mail_guard_each(struct kv_view *view, mail_guard_fn *fn, void *arg)
{
	static const uint8_t behind_window[4] = {0};
	struct shelf_span key, value;
	struct mail_guard_event e;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_GUARD, shelf_span(NULL, 0),
			      shelf_span(behind_window, sizeof(behind_window)), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		rc = key.len == 4 ? decode_event(key, value, &e) : SHELF_ECORRUPT;
		if (rc != 0 || (rc = fn(arg, &e)) != 0)
			break;
	}
	kv_scan_close(&scan);
	return rc;
}

int
mail_guard_readable(struct kv_view *view)
{
	struct mail_guard g = {0};

	return get_window(view, &g, 0);
}

/* ---- Counting ------------------------------------------------------------------------------------------ */

static int
find_open(void *arg, const struct mail_guard_event *e)
{
	struct mail_change *c = arg;
	uint32_t now = (uint32_t)c->now_s;

	if (e->id >= c->guard.next_id)
		c->guard.next_id = e->id + 1;
	if ((e->flags & CLEARED) == 0 && (e->last_s >= now || now - e->last_s <= WINDOW_S)) {
		c->guard.event = *e;
		c->guard.open = true;
	}
	return 0;
}

static int
load(struct mail_change *c)
{
	struct mail_guard *g = &c->guard;
	int rc;

	g->slot = (uint32_t)(c->now_s / SLOT_S);
	if ((rc = get_window(kv_txn_view(c->txn), g, g->slot)) != 0)
		return rc;
	for (unsigned i = 0; i < MAIL_GUARD_SLOTS; i++) {
		g->sum_messages += g->messages[i];
		g->sum_bytes += g->bytes[i];
	}
	g->next_id = (uint32_t)c->now_s;
	g->loaded = true;
	return mail_guard_each(kv_txn_view(c->txn), find_open, c);
}

static void
begin_event(struct mail_change *c, uint64_t of)
{
	struct mail_guard *g = &c->guard;
	unsigned oldest = MAIL_GUARD_SLOTS - 1;

	while (oldest > 0 && g->messages[oldest] == 0)
		oldest--;
	g->event = (struct mail_guard_event){
	    .id = g->next_id,
	    .flags = PENDING,
	    .first_s = (g->slot - oldest) * SLOT_S,
	    .messages = g->sum_messages,
	    .bytes = g->sum_bytes,
	    .of = of,
	};
	if (shelf_setting_get(c->store, SHELF_SETTING_HOLD) == UINT32_MAX)
		g->event.flags = NOT_HELD;
	g->open = true;
	g->fired = true;
}

int
mail_guard_count(struct mail_change *c, uint64_t messages, uint64_t bytes, unsigned how)
{
	struct mail_guard *g = &c->guard;
	uint64_t least = shelf_setting_get(c->store, SHELF_SETTING_GUARD_MESSAGES);
	uint64_t share = shelf_setting_get(c->store, SHELF_SETTING_GUARD_PERCENT);
	uint64_t hold = shelf_setting_get(c->store, SHELF_SETTING_HOLD);
	uint64_t guard_hold = shelf_setting_get(c->store, SHELF_SETTING_GUARD_HOLD), of, until;
	int rc;

	if (messages == 0 || (!g->loaded && (rc = load(c)) != 0))
		return messages == 0 ? 0 : rc;
	g->messages[0] += messages;
	g->bytes[0] += bytes;
	g->sum_messages += messages;
	g->sum_bytes += bytes;
	g->dirty = true;
	of = c->acct.quota.used_messages + g->sum_messages;
	g->over = g->sum_messages >= least && g->sum_messages > of / 100 * share + of % 100 * share / 100;
	if (!g->over) {
		g->event.flags |= GAP;
		return 0;
	}
	if (!g->open) {
		begin_event(c, of);
	} else {
		g->event.messages += messages;
		g->event.bytes += bytes;
	}
	if ((g->event.flags & GAP) != 0)
		g->event.flags = (uint8_t)((g->event.flags & ~GAP) | PENDING);
	until = (uint64_t)c->now_s + (guard_hold > hold && hold != UINT32_MAX ? guard_hold : hold);
	if (hold == UINT32_MAX)
		until = (uint64_t)c->now_s + guard_hold; /* how long it is told */
	g->event.last_s = (uint32_t)c->now_s;
	g->event.until_s = until < UINT32_MAX ? (uint32_t)until : UINT32_MAX;
	g->event.how |= (uint8_t)how;
	return 0;
}

int
mail_guard_end(struct mail_change *c)
{
	struct mail_guard *g = &c->guard;
	int rc;

	if (!g->dirty)
		return 0;
	g->dirty = false;
	if ((rc = put_window(c->txn, g)) != 0 || !g->open)
		return rc;
	return put_event(c->txn, &g->event);
}

void
mail_guard_tell(struct shelf_store *store, uint32_t account, const struct mail_guard_event *e)
{
	struct shelf_account a = {.name = ""};

	if (shelf_account_get(store, account, &a) != 0)
		a.id = account;
	shelf_log(SHELF_LOG_WARN, "mass deletion", "account", "%s", a.name, "id", "%u", account,
		  "messages", "%llu", (unsigned long long)e->messages, "of", "%llu",
		  (unsigned long long)e->of, "bytes", "%llu", (unsigned long long)e->bytes,
		  "held_until", "%u", (e->flags & NOT_HELD) != 0 ? 0 : e->until_s, NULL);
}

/* ---- Extending what went before -------------------------------------------------------------------------- */

struct extending {
	struct shelf_store *store;
	struct mail_guard_event event;
	bool found; /* an event with work */
	struct mail_due due[MOVE_ROWS];
	unsigned n;
};

static int
find_pending(void *arg, const struct mail_guard_event *e)
{
	struct extending *x = arg;

	if ((e->flags & (PENDING | CLEARED)) == 0 && e->until_s > shelf_now_s())
		return 0;
	x->event = *e;
	x->found = true;
	return 1;
}

/* Rows of before have no time of removal: that of a message is in its GONE row. */
static int
covered(void *arg, struct kv_view *view, const struct mail_due *due)
{
	struct extending *x = arg;
	uint32_t gone_s = due->gone_s;
	struct mail_gone gone;
	int rc;

	if (due->guarded)
		return 0;
	if (gone_s == 0 && due->uid != 0) {
		rc = mail_gone_get(view, due->mailbox, due->uid, &gone);
		if (rc != 0)
			return rc == SHELF_ENOMESSAGE ? 0 : rc;
		gone_s = (uint32_t)gone.gone_s;
	}
	if (gone_s < x->event.first_s || gone_s > x->event.last_s)
		return 0;
	x->due[x->n] = *due;
	x->due[x->n].gone_s = gone_s;
	return ++x->n == MOVE_ROWS;
}

static int
move_dates(struct kv_txn *txn, void *arg)
{
	struct extending *x = arg;
	int rc;

	for (unsigned i = 0; i < x->n; i++) {
		struct mail_due later = x->due[i];

		/* Restored or removed for good meanwhile. */
		if (!mail_due_is(kv_txn_view(txn), &x->due[i], &rc)) {
			if (rc != 0)
				return rc;
			continue;
		}
		/* Never to an earlier time; the mark alone says that it is the last to go. */
		if (later.at < x->event.until_s)
			later.at = x->event.until_s;
		later.guarded = true;
		if ((rc = mail_due_del(txn, &x->due[i])) != 0 || (rc = mail_due_put(txn, &later)) != 0)
			return rc;
	}
	return mail_change_version(txn);
}

static int
same_event(void *arg, const struct mail_guard_event *e)
{
	struct mail_guard_event *mine = arg;

	if (e->id != mine->id)
		return 0;
	*mine = *e; /* it may have grown */
	return 1;
}

/* Nothing is left to move: the flag goes, and the event when nobody wants to hear of it. */
static int
settle(struct kv_txn *txn, void *arg)
{
	struct extending *x = arg;
	struct mail_guard_event e = x->event;
	int rc = mail_guard_each(kv_txn_view(txn), same_event, &e);

	if (rc != 1)
		return rc;
	e.flags &= (uint8_t)~PENDING;
	rc = (e.flags & CLEARED) != 0 || e.until_s <= shelf_now_s() ? del_event(txn, &e) : put_event(txn, &e);
	return rc != 0 ? rc : mail_change_version(txn);
}

/* The rows of one event. 1: time is up. */
static int
extend(struct extending *x, uint32_t account, int64_t until_ms)
{
	struct mail_key from = {.len = 0};
	struct kv_view *view = NULL;
	bool more = true;
	int rc = 0;

	while (more || rc != 0) {
		x->n = 0;
		if (shelf_mono_ms() > until_ms)
			return 1;
		if ((rc = kv_view_begin(x->store->kv, account, &view)) != 0)
			return rc;
		rc = mail_due_each(view, &from, WALK_ROWS, &more, covered, x);
		kv_view_end(&view);
		if (rc < 0)
			return rc;
		if (x->n > 0) {
			int moved = kv_update(x->store->kv, account, KV_QUIET, move_dates, x);

			if (moved != 0)
				return moved;
		}
	}
	return 0;
}

int
mail_guard_step(struct shelf_store *store, uint32_t account, int64_t until_ms)
{
	struct extending x = {.store = store};
	struct kv_view *view = NULL;
	int rc = 0;

	do {
		x.found = false;
		if ((rc = kv_view_begin(store->kv, account, &view)) != 0)
			return rc;
		rc = mail_guard_each(view, find_pending, &x);
		kv_view_end(&view);
		if (rc <= 0)
			return rc;
		rc = (x.event.flags & PENDING) != 0 ? extend(&x, account, until_ms) : 0;
		if (rc == 0)
			rc = kv_update(store->kv, account, KV_QUIET, settle, &x);
	} while (rc == 0);
	return rc;
}

/* ---- Telling --------------------------------------------------------------------------------------------- */

struct telling {
	shelf_guard_fn *fn;
	void *arg;
};

static int
tell(void *arg, const struct mail_guard_event *e)
{
	struct telling *t = arg;

	if ((e->flags & CLEARED) != 0)
		return 0;
	return t->fn(t->arg, &(struct shelf_guard_event){.first_s = e->first_s,
							 .last_s = e->last_s,
							 .until_s = e->until_s,
							 .messages = e->messages,
							 .bytes = e->bytes,
							 .of_messages = e->of,
							 .how = e->how,
							 .held = (e->flags & NOT_HELD) == 0,
							 .extending = (e->flags & PENDING) != 0});
}

int
shelf_guard_each(struct shelf_store *store, uint32_t account, shelf_guard_fn *fn, void *arg)
{
	struct telling t = {fn, arg};
	struct kv_view *view = NULL;
	int rc = kv_view_begin(store->kv, account, &view);

	if (rc != 0)
		return rc;
	rc = mail_guard_each(view, tell, &t);
	kv_view_end(&view);
	return rc;
}

struct clearing {
	struct mail_guard_event event;
	unsigned n;
};

static int
find_told(void *arg, const struct mail_guard_event *e)
{
	struct clearing *cl = arg;

	cl->event = *e;
	return (e->flags & CLEARED) == 0;
}

static int
clear(struct kv_txn *txn, void *arg)
{
	struct clearing *cl = arg;
	int rc;

	cl->n = 0;
	while ((rc = mail_guard_each(kv_txn_view(txn), find_told, cl)) == 1) {
		cl->event.flags |= CLEARED;
		rc = (cl->event.flags & PENDING) != 0 ? put_event(txn, &cl->event)
						      : del_event(txn, &cl->event);
		if (rc != 0)
			return rc;
		cl->n++;
	}
	if (rc == 0)
		rc = kv_del(txn, KV_GUARD, shelf_span(NULL, 0));
	return rc == 0 || rc == SHELF_EMISSING ? mail_change_version(txn) : rc;
}

int
shelf_guard_clear(struct shelf_store *store, uint32_t account, unsigned *cleared_out)
{
	struct clearing cl = {.n = 0};
	int rc = kv_update(store->kv, account, KV_QUIET, clear, &cl);

	*cleared_out = rc == 0 ? cl.n : 0;
	return rc;
}
