/*
 * warning.c - the level an account is at, and who has been told of it (warning.h)
 *
 *   a change --> level (in ACCT) --above what was told--> job Q --janitor or daemon--> told: the job goes
 *                      '--below what was told--> told falls with it
 *
 * What must stay true
 *   - The level is a function of the counters, the limits, the thresholds and the level before; it is set by every
 *     change of the account (mail_change_end), so no path can forget it.
 *   - While a message or a hook is due there is a job in a partition the account has lived in. Who finds it looks
 *     where the account lives now; who removes it looks once more, in the update that removes it.
 */
#include <mailshelf/log.h>
#include <mailshelf/policy.h>

#include "mail.h"

enum { PERCENT_MAX = 9999, JOB_KEY_BYTES = 5 };

/* Rows of before have these. */
const struct mail_warn mail_warn_default = {.at = {80, 95}};

/* ---- The level ------------------------------------------------------------------------------------------ */

static unsigned
percent(uint64_t used, uint64_t limit)
{
	uint64_t p;

	if (limit == 0)
		return 0;
	p = used <= UINT64_MAX / 100 ? used * 100 / limit : used / (limit / 100 + 1);
	return p > PERCENT_MAX ? PERCENT_MAX : (unsigned)p;
}

unsigned
shelf_quota_percent(const struct shelf_quota *q)
{
	unsigned bytes = percent(q->used_bytes, q->limit_bytes);
	unsigned messages = percent(q->used_messages, q->limit_messages);

	return bytes > messages ? bytes : messages;
}

static unsigned
level_of(const struct mail_acct *a)
{
	unsigned now = shelf_quota_percent(&a->quota);

	if (a->quota.limit_bytes == 0 && a->quota.limit_messages == 0)
		return 0;
	for (unsigned level = SHELF_WARNING_LEVELS; level > 0; level--) {
		unsigned at = a->warn.at[level - 1];
		unsigned slack = at < 2 * SHELF_WARNING_SLACK ? at / 2 : SHELF_WARNING_SLACK;

		if (at != 0 && (now >= at || (a->warn.level >= level && now + slack >= at)))
			return level;
	}
	return 0;
}

/* Of those that are told of without being asked. */
static bool
is_due(const struct mail_warn *w)
{
	return w->level > w->told[SHELF_WARNING_MESSAGE] || w->level > w->told[SHELF_WARNING_HOOK];
}

static void
job_key(uint8_t *key, uint32_t account)
{
	key[0] = MAIL_JOB_WARNING;
	base_put_be32(key + 1, account);
}

/* 1: there is a job for it, or nothing is due. */
static int
has_job(struct kv_view *view, uint32_t account, const struct mail_warn *w)
{
	uint8_t key[JOB_KEY_BYTES];
	struct shelf_span value;
	int rc;

	if (!is_due(w))
		return 1;
	job_key(key, account);
	rc = kv_get(view, KV_JOB, shelf_span(key, sizeof(key)), &value);
	return rc == 0 ? 1 : rc == SHELF_EMISSING ? 0 : rc;
}

int
mail_warn_settled(struct kv_view *view, uint32_t account, const struct mail_acct *a)
{
	return level_of(a) != a->warn.level ? 0 : has_job(view, account, &a->warn);
}

int
mail_warn_change(struct mail_change *c)
{
	struct mail_warn *w = &c->acct.warn;
	unsigned level = level_of(&c->acct);
	uint8_t key[JOB_KEY_BYTES];
	int rc;

	if (level > w->level)
		mail_change_modseq(c); /* sessions look, for the alert */
	w->level = (uint8_t)level;
	for (unsigned way = 0; way < SHELF_WARNING_WAYS; way++)
		if (w->told[way] > level)
			w->told[way] = (uint8_t)level;
	if ((rc = has_job(kv_txn_view(c->txn), kv_txn_account(c->txn), w)) != 0)
		return rc == 1 ? 0 : rc;
	job_key(key, kv_txn_account(c->txn));
	return kv_put(c->txn, KV_JOB, shelf_span(key, sizeof(key)), shelf_span(NULL, 0));
}

/* ---- Telling -------------------------------------------------------------------------------------------- */

bool
mail_warn_tell(struct mail_change *c, enum shelf_warning_way way, unsigned level)
{
	struct mail_warn *w = &c->acct.warn;

	if (level == 0 || w->level < level || w->told[way] >= level)
		return false;
	w->told[way] = (uint8_t)level;
	c->dirty = true;
	mail_change_modseq(c);
	return true;
}

struct telling {
	struct shelf_store *store;
	enum shelf_warning_way way;
	unsigned level;
};

static int
tell(struct kv_txn *txn, void *arg)
{
	struct telling *t = arg;
	struct mail_change c;
	int rc = mail_change_begin(&c, t->store, txn);

	if (rc != 0)
		return rc;
	return mail_warn_tell(&c, t->way, t->level) ? mail_change_end(&c) : SHELF_EEXISTS;
}

int
shelf_warning_told(struct shelf_store *store, uint32_t account, enum shelf_warning_way way, unsigned level)
{
	struct telling t = {store, way, level};

	return kv_update(store->kv, account, KV_QUIET, tell, &t);
}

/* ---- What is due ---------------------------------------------------------------------------------------- */

/* As it is now: the row, the name, what policies switch on. */
static int
look(struct shelf_store *store, uint32_t account, struct shelf_warning *w, struct mail_warn *row_out)
{
	static const enum shelf_policy ways[SHELF_WARNING_WAYS] = {
	    [SHELF_WARNING_MESSAGE] = SHELF_POLICY_QUOTA_WARN_MESSAGE,
	    [SHELF_WARNING_ALERT] = SHELF_POLICY_QUOTA_WARN_ALERT,
	    [SHELF_WARNING_HOOK] = SHELF_POLICY_QUOTA_WARN_HOOK,
	};
	struct shelf_account a;
	struct shelf_policies p;
	struct shelf_rd *rd = NULL;
	int rc;

	*w = (struct shelf_warning){.account = account};
	if ((rc = shelf_account_get(store, account, &a)) != 0 ||
	    (rc = shelf_policy_get(store, shelf_span_str(a.name), &p)) != 0 ||
	    (rc = shelf_rd_begin(store, account, &rd)) != 0)
		return rc;
	*row_out = rd->acct.warn;
	rc = shelf_quota_get(rd, &w->quota);
	shelf_rd_end(&rd);
	if (rc != 0)
		return rc;
	memcpy(w->name, a.name, sizeof(w->name));
	w->level = row_out->level;
	w->threshold = w->level == 0 ? 0 : row_out->at[w->level - 1];
	w->percent = shelf_quota_percent(&w->quota);
	for (unsigned way = 0; way < SHELF_WARNING_WAYS; way++)
		w->due[way] = w->level > row_out->told[way] && p.value[ways[way]] != 0;
	return 0;
}

/* The ways that are switched off have told it all. */
static int
pass_over_off(struct shelf_store *store, const struct shelf_warning *w, const struct mail_warn *row)
{
	int rc = 0;

	for (unsigned way = 0; way < SHELF_WARNING_WAYS && rc == 0; way++)
		if (way != SHELF_WARNING_ALERT && w->level > row->told[way] && !w->due[way])
			rc = shelf_warning_told(store, w->account, (enum shelf_warning_way)way, w->level);
	return rc == SHELF_EEXISTS ? 0 : rc;
}

struct ending {
	uint32_t account;
	bool deleted; /* its rows may still be there */
};

/* Unless something is due again. */
static int
end_job(struct kv_txn *txn, void *arg)
{
	const struct ending *e = arg;
	uint32_t account = e->account;
	uint8_t key[JOB_KEY_BYTES];
	struct mail_acct a;
	bool left;
	int rc;

	kv_txn_set_account(txn, account);
	if ((rc = kv_has_left(kv_txn_view(txn), account, &left)) != 0)
		return rc;
	rc = mail_acct_get(kv_txn_view(txn), &a);
	if (rc == 0 && !left && !e->deleted && is_due(&a.warn))
		return 0;
	if (rc != 0 && rc != SHELF_ENOACCOUNT)
		return rc;
	job_key(key, account);
	rc = kv_del(txn, KV_JOB, shelf_span(key, sizeof(key)));
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* The first job of a shard behind *ACCOUNT: 1 found. */
static int
next_job(struct shelf_store *store, uint32_t shard, uint32_t *account)
{
	uint8_t from[JOB_KEY_BYTES];
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = *account == UINT32_MAX ? 0 : kv_view_begin_shard(store->kv, shard, &view);

	if (rc != 0 || view == NULL)
		return rc;
	job_key(from, *account + 1);
	rc = kv_scan_open(view, KV_JOB, shelf_span(from, 1), shelf_span(from, sizeof(from)), &scan);
	if (rc == 0) {
		if ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
			if (key.len == JOB_KEY_BYTES)
				*account = base_get_be32(key.data + 1);
			else
				rc = SHELF_ECORRUPT;
		}
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	return rc;
}

static int
settle(struct shelf_store *store, uint32_t shard, uint32_t account, shelf_warning_fn *fn, void *arg)
{
	struct shelf_warning w;
	struct mail_warn row = {.level = 0};
	int rc = look(store, account, &w, &row);

	if (rc == 0)
		rc = pass_over_off(store, &w, &row);
	if (rc == 0 && (w.due[SHELF_WARNING_MESSAGE] || w.due[SHELF_WARNING_HOOK]))
		return fn(arg, &w);
	if (rc != 0 && rc != SHELF_ENOACCOUNT)
		return rc;
	return kv_update_shard(store->kv, shard, KV_QUIET, end_job,
			       &(struct ending){account, rc == SHELF_ENOACCOUNT});
}

int
shelf_warning_each(struct shelf_store *store, shelf_warning_fn *fn, void *arg)
{
	int rc = 0, damage = 0;

	for (uint32_t shard = 0; shard < kv_shards(store->kv); shard++) {
		uint32_t account = 0;

		while ((rc = next_job(store, shard, &account)) == 1) {
			rc = settle(store, shard, account, fn, arg);
			if (rc > 0 || !mail_pass_over(rc, shard, account, &damage))
				return rc;
		}
		if (!mail_pass_over(rc, shard, 0, &damage))
			return rc;
	}
	return damage;
}

/* ---- Alerts --------------------------------------------------------------------------------------------- */

bool
shelf_warning_alert_due(struct shelf_rd *rd)
{
	return rd->acct.warn.level > rd->acct.warn.told[SHELF_WARNING_ALERT];
}

int
shelf_warning_take_alert(struct shelf_store *store, uint32_t account, struct shelf_warning *w)
{
	struct mail_warn row;
	int rc = look(store, account, w, &row);

	if (rc != 0)
		return rc;
	if (w->level <= row.told[SHELF_WARNING_ALERT])
		return SHELF_EEXISTS;
	rc = shelf_warning_told(store, account, SHELF_WARNING_ALERT, w->level);
	return rc == 0 && !w->due[SHELF_WARNING_ALERT] ? SHELF_EEXISTS : rc;
}
