/*
 * catch_up.c - what an older release stored comes into the sums, in the background
 *
 * An account enters the totals of its domain and partition in one small update: its own counters are there
 * already. Then its message and held rows are written anew, a slice at a time, each noting what its body
 * costs now; the bodies are counted on the way. Nothing has to stand still for that: a row is in the sums
 * exactly when it notes its cost, and the account counts such rows, so that everybody sees how far it is.
 *
 * The position in a large account is only in memory: after a restart its rows are looked through again, at
 * some 100,000 in a tenth of a second.
 */
#include <mailshelf/mem.h>

#include "mail.h"

enum { SLICE_ROWS = 100, LOOK_ROWS = 20000 };

/* Rows of one mailbox in MSG or GONE. */
struct slice {
	struct shelf_store *store;
	enum kv_table table;
	uint32_t mailbox;
	uint32_t uid[SLICE_ROWS];
	size_t n;
};

/* ---- Writing ------------------------------------------------------------------------------------------ */

static int
enter(struct kv_txn *txn, void *arg)
{
	return mail_totals_enter(txn, shelf_span_str((const char *)arg));
}

static int
note_message(struct mail_change *c, struct mail_mbox *m, uint32_t uid)
{
	struct mail_sums *side = (m->flags & MAIL_MBOX_DELETED) != 0 ? &c->acct.held : &c->acct.used;
	struct mail_msg msg;
	int rc = mail_msg_get(kv_txn_view(c->txn), m->id, uid, &msg);

	if (rc != 0 || msg.noted)
		return rc == SHELF_ENOMESSAGE ? 0 : rc;
	if ((rc = mail_note(c, &msg)) != 0)
		return rc;
	mail_sums_add(side, &m->sums, &msg);
	c->acct.noted++;
	return mail_msg_put(c->txn, m->id, uid, &msg);
}

static int
note_held(struct mail_change *c, uint32_t mailbox, uint32_t uid)
{
	struct mail_gone gone;
	int rc = mail_gone_get(kv_txn_view(c->txn), mailbox, uid, &gone);

	if (rc != 0 || gone.msg.noted)
		return rc == SHELF_ENOMESSAGE ? 0 : rc;
	if ((rc = mail_note(c, &gone.msg)) != 0)
		return rc;
	mail_sums_add(&c->acct.held, NULL, &gone.msg);
	c->acct.noted++;
	return mail_gone_put(c->txn, mailbox, uid, &gone);
}

static int
note_messages(struct mail_change *c, const struct slice *s)
{
	struct shelf_buf name = {0};
	struct mail_mbox m;
	int rc = mail_mbox_get(kv_txn_view(c->txn), s->mailbox, &m);

	if (rc != 0)
		return rc == SHELF_ENOMAILBOX ? 0 : rc; /* removed meanwhile */
	shelf_buf_add_span(&name, m.name);
	m.name = shelf_buf_span(&name);
	for (size_t i = 0; i < s->n && rc == 0; i++)
		rc = note_message(c, &m, s->uid[i]);
	if (rc == 0)
		rc = mail_mbox_put(c->txn, &m);
	shelf_buf_free(&name);
	return rc;
}

static int
note_slice(struct kv_txn *txn, void *arg)
{
	struct slice *s = arg;
	struct mail_change c;
	int rc = mail_change_begin(&c, s->store, txn);

	if (rc != 0)
		return rc;
	if (s->table == KV_MSG)
		rc = note_messages(&c, s);
	for (size_t i = 0; s->table == KV_GONE && i < s->n && rc == 0; i++)
		rc = note_held(&c, s->mailbox, s->uid[i]);
	if (rc != 0)
		return rc;
	c.dirty = true;
	return mail_change_end(&c);
}

/* ---- Finding ------------------------------------------------------------------------------------------ */

/* Takes the row when it is one to write anew. False: it belongs to the next slice. */
static bool
take(struct slice *s, struct shelf_span key, struct shelf_span value)
{
	uint32_t mailbox = base_get_be32(key.data);
	struct mail_gone g;
	int rc = s->table == KV_GONE ? mail_gone_decode(value, &g) : mail_msg_decode(value, &g.msg);

	if (rc != 0 || g.msg.noted)
		return true; /* what cannot be read is for the check */
	if (s->n == SLICE_ROWS || (s->n > 0 && mailbox != s->mailbox))
		return false;
	s->mailbox = mailbox;
	s->uid[s->n++] = base_get_be32(key.data + 4);
	return true;
}

/* The next rows from AT on, which moves behind what was looked at. 1: there may be more in the table. */
static int
look(struct kv_view *view, struct mail_key *at, struct slice *s)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	unsigned rows = 0;
	int rc = kv_scan_open(view, s->table, shelf_span(NULL, 0), mail_key_span(at), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != 8)
			continue;
		if (++rows > LOOK_ROWS || !take(s, key, value)) {
			memcpy(at->bytes, key.data, key.len);
			at->len = key.len;
			break;
		}
	}
	kv_scan_close(&scan);
	return rc;
}

/* ---- The walk ------------------------------------------------------------------------------------------- */

static struct mail_catch_up
position(struct shelf_store *store)
{
	struct mail_catch_up p;

	pthread_mutex_lock(&store->lock);
	p = store->catch_up;
	pthread_mutex_unlock(&store->lock);
	return p;
}

static void
set_position(struct shelf_store *store, const struct mail_catch_up *p)
{
	pthread_mutex_lock(&store->lock);
	store->catch_up = *p;
	pthread_mutex_unlock(&store->lock);
}

/* Room is for mail: a full store is counted when it is not full any more. */
static int
give_way(int rc)
{
	return rc == SHELF_EFULL || rc == SHELF_ENOACCOUNT ? 0 : rc;
}

static int
enter_totals(struct shelf_store *store, uint32_t account)
{
	struct shelf_account a;
	int rc = shelf_account_get(store, account, &a);

	return rc != 0 ? rc : kv_update(store->kv, account, KV_ADDS | KV_QUIET, enter, a.name);
}

/* One step in P's account: 1 more to do, 0 it is done. */
static int
step(struct shelf_store *store, struct mail_catch_up *p)
{
	struct slice s = {.store = store, .table = p->held ? KV_GONE : KV_MSG};
	struct kv_view *view = NULL;
	struct mail_acct a;
	bool all;
	int more = 0, rc;

	if ((rc = kv_view_begin(store->kv, p->account, &view)) != 0)
		return rc;
	rc = mail_acct_get(view, &a);
	all = rc != 0 || a.noted == a.quota.used_messages + a.quota.held_messages;
	if (rc == 0 && !all)
		more = look(view, &p->at, &s);
	kv_view_end(&view);
	if (rc != 0 || more < 0)
		return rc != 0 ? rc : more;
	if (!a.counted && (rc = enter_totals(store, p->account)) != 0)
		return rc;
	if (s.n > 0 && (rc = kv_update(store->kv, p->account, KV_ADDS | KV_QUIET, note_slice, &s)) != 0)
		return rc;
	if (all || (more == 0 && p->held))
		return 0;
	if (more == 0) {
		p->held = true;
		p->at.len = 0;
	}
	return 1;
}

int
shelf_stats_catch_up(struct shelf_store *store, unsigned budget_ms)
{
	int64_t until = shelf_mono_ms() + budget_ms;
	struct mail_catch_up p = position(store);
	int rc, damage = 0;

	do {
		if (!p.inside) {
			p.at.len = 0;
			p.held = false;
			if ((rc = mail_next_account(store, p.account, &p.account)) <= 0)
				break;
			p.inside = true;
		}
		rc = give_way(step(store, &p));
		p.inside = rc == 1;
		if (rc < 0 && !mail_pass_over(rc, KV_SHARDS_MAX, p.account, &damage))
			break;
		rc = 1;
	} while (shelf_mono_ms() < until);
	if (rc <= 0)
		p = (struct mail_catch_up){0}; /* the next pass begins at the front */
	set_position(store, &p);
	return rc != 0 ? rc : damage;
}
