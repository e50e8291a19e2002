/*
 * purge.c - what is due goes for good: held mail, deleted mailboxes, deleted accounts, blobs
 *
 * Everything goes in closures of a few hundred rows that find their work anew each time, so a stop at any
 * point loses nothing and a second purge beside this one does no harm.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "carry.h"
#include "crossing.h"

enum { SLICE_ROWS = 300, PASS_EVERY_S = 60, JANITOR_BUDGET_MS = 50, JANITOR_MS = 1000,
       CATCH_UP_EVERY_S = 3600, LOADING_KEPT_S = 24 * 3600, JOB_BYTES_MAX = 16 };

int64_t mail_left_kept_s = 600;

struct removal {
	uint32_t account;
	uint8_t job; /* kind of the job that goes with an account's last row; 0: none */
	bool nameless;
	/* The job as it was seen: when it is another one, or gone, nothing is removed. */
	uint8_t seen[JOB_BYTES_MAX];
	size_t seen_len;
	bool more;
};

/* Copies the first key of a table below PREFIX: 1 found. */
static int
first_key(struct kv_view *view, enum kv_table table, struct shelf_span prefix, struct mail_key *out)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, table, prefix, shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len <= sizeof(out->bytes)) {
			memcpy(out->bytes, key.data, key.len);
			out->len = key.len;
		} else {
			rc = SHELF_ECORRUPT;
		}
	}
	kv_scan_close(&scan);
	return rc;
}

/* Removes rows below PREFIX while LEFT lasts. 1: there are more. */
static int
clear(struct kv_txn *txn, enum kv_table table, struct shelf_span prefix, unsigned *left)
{
	struct mail_key key;
	int rc;

	while ((rc = first_key(kv_txn_view(txn), table, prefix, &key)) == 1) {
		if (*left == 0)
			return 1;
		(*left)--;
		if ((rc = kv_del(txn, table, mail_key_span(&key))) != 0)
			return rc;
	}
	return rc;
}

/* Message rows and held rows below PREFIX, with their references. 1: there are more. */
static int
clear_messages(struct kv_txn *txn, enum kv_table table, struct shelf_span prefix, unsigned *left,
	       struct mail_acct *acct)
{
	struct shelf_span value;
	struct mail_gone g;
	struct mail_key key;
	int rc;

	while ((rc = first_key(kv_txn_view(txn), table, prefix, &key)) == 1) {
		if (*left < 3)
			return 1;
		*left -= 3;
		if ((rc = kv_get(kv_txn_view(txn), table, mail_key_span(&key), &value)) != 0)
			return rc;
		rc =
		    table == KV_GONE ? mail_gone_decode(value, &g) : mail_msg_decode(value, &g.msg);
		if (rc != 0 || (rc = kv_del(txn, table, mail_key_span(&key))) != 0 ||
		    (rc = blob_unref(txn, g.msg.blob)) != 0)
			return rc;
		mail_drop_held(acct, &g.msg);
	}
	return rc;
}

/* All rows of a deleted mailbox. 1: there are more. */
static int
clear_mailbox(struct kv_txn *txn, uint32_t mailbox, unsigned *left, struct mail_acct *acct)
{
	static const enum kv_table plain[] = {KV_FPAGE, KV_FSUM, KV_KEYWORD, KV_VANISH, KV_ACL, KV_NOTE};
	struct mail_key prefix = mail_key1(mailbox);
	struct mail_mbox m;
	int rc = mail_mbox_get(kv_txn_view(txn), mailbox, &m);

	if (rc == SHELF_ENOMAILBOX)
		return 0;
	if (rc != 0)
		return rc;
	/* Restored meanwhile: not ours any more. */
	if ((m.flags & MAIL_MBOX_DELETED) == 0)
		return 0;
	/* What is kept of messages before they go, so that it never is of nothing. */
	if ((rc = clear(txn, KV_POP3, mail_key_span(&prefix), left)) != 0 ||
	    (rc = mail_uidl_clear(txn, mailbox, left)) != 0 ||
	    (rc = clear_messages(txn, KV_MSG, mail_key_span(&prefix), left, acct)) != 0)
		return rc;
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		if ((rc = clear(txn, plain[i], mail_key_span(&prefix), left)) != 0)
			return rc;
	if (*left == 0)
		return 1;
	(*left)--;
	return kv_del(txn, KV_MBOX, mail_key_span(&prefix));
}

/* One held message whose time has come. */
static int
drop_held(struct kv_txn *txn, uint32_t mailbox, uint32_t uid, struct mail_acct *acct)
{
	struct mail_key key = mail_key2(mailbox, uid);
	struct mail_gone g;
	int rc = mail_gone_get(kv_txn_view(txn), mailbox, uid, &g);

	if (rc != 0)
		return rc == SHELF_ENOMESSAGE ? 0 : rc;
	if ((rc = kv_del(txn, KV_GONE, mail_key_span(&key))) != 0 ||
	    (rc = mail_uidl_drop(txn, mailbox, uid)) != 0)
		return rc;
	mail_drop_held(acct, &g.msg);
	return blob_unref(txn, g.msg.blob);
}

struct looking {
	const struct mail_purge *p;
	struct mail_due *out;
};

enum { FOUND = 1, NONE = 2 };

static int
may_go(void *arg, struct kv_view *view, const struct mail_due *due)
{
	struct looking *l = arg;

	if (due->at > l->p->by)
		return NONE;
	if (l->p->pass_guarded && due->guarded)
		return 0;
	*l->out = *due;
	return FOUND;
}

int
mail_purge_next(struct kv_view *view, const struct mail_purge *p, struct mail_key *from,
		struct mail_due *out)
{
	struct looking l = {p, out};
	bool more;
	int rc = mail_due_each(view, from, UINT32_MAX, &more, may_go, &l);

	return rc == NONE ? 0 : rc;
}

/* Held rows by their date, up to SLICE_ROWS rows. */
static int
drop_due(struct mail_change *c, struct mail_purge *p)
{
	struct mail_key from = {.len = 0};
	unsigned left = SLICE_ROWS;
	struct mail_due due;
	int rc;

	while ((rc = mail_purge_next(kv_txn_view(c->txn), p, &from, &due)) == 1) {
		if (left < 4) {
			p->more = true;
			return 0;
		}
		if (due.uid == 0) {
			rc = clear_mailbox(c->txn, due.mailbox, &left, &c->acct);
			if (rc == 1) {
				p->more = true;
				return 0;
			}
		} else {
			left -= 3;
			rc = drop_held(c->txn, due.mailbox, due.uid, &c->acct);
		}
		if (rc != 0 || (rc = mail_due_del(c->txn, &due)) != 0)
			return rc;
		left -= left > 0;
	}
	return rc;
}

static int
purge_due(struct kv_txn *txn, void *arg)
{
	struct mail_purge *p = arg;
	struct mail_change c;
	uint64_t messages, bytes;
	int rc;

	p->more = false;
	if ((rc = mail_change_begin(&c, p->store, txn)) != 0)
		return rc;
	messages = c.acct.quota.held_messages;
	bytes = c.acct.quota.held_bytes;
	if ((rc = drop_due(&c, p)) != 0 || (rc = mail_aged_drop(&c, SLICE_ROWS, &p->more)) != 0)
		return rc;
	p->messages = messages - c.acct.quota.held_messages;
	p->bytes = bytes - c.acct.quota.held_bytes;
	if (p->early && (rc = mail_early_add(txn, p->messages, p->bytes)) != 0)
		return rc;
	return mail_change_end(&c);
}

int
mail_purge_slice(struct mail_purge *p)
{
	return kv_update(p->store->kv, p->account, KV_QUIET, purge_due, p);
}

/* 1: more is due, 0: nothing. */
static int
purge_account_step(struct shelf_store *store, uint32_t account, int64_t until)
{
	struct mail_purge p = {.store = store, .account = account, .by = (uint32_t)shelf_now_s()};
	struct kv_view *view = NULL;
	struct mail_due due;
	int rc;

	/* Before anything goes: some of it may have to stay longer. */
	if ((rc = mail_guard_step(store, account, until)) != 0 ||
	    (rc = kv_view_begin(store->kv, account, &view)) != 0)
		return rc;
	if ((rc = mail_purge_next(view, &p, &(struct mail_key){.len = 0}, &due)) == 0)
		rc = mail_aged_is(view);
	kv_view_end(&view);
	if (rc != 1)
		return rc;
	rc = mail_purge_slice(&p);
	return rc != 0 ? rc : p.more;
}

/* ---- Accounts that were deleted ------------------------------------------------------------------------- */

/* 1: there is a job of that kind, with the value that was seen. */
static int
has_job(struct kv_txn *txn, const struct removal *p)
{
	uint8_t job[5] = {p->job};
	struct shelf_span value;
	int rc;

	base_put_be32(job + 1, p->account);
	rc = kv_get(kv_txn_view(txn), KV_JOB, shelf_span(job, sizeof(job)), &value);
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	return shelf_span_eq(value, shelf_span(p->seen, p->seen_len));
}

/*
 * May the rows go? In the transaction that removes them, as an account may come back meanwhile, or a mover go on
 * that was taken for dead: its job is another one then. 1: yes, 2: only the job, 0: no.
 */
static int
may_clear(struct kv_txn *txn, const struct removal *p)
{
	bool arriving, left;
	int rc = p->job == 0 ? 1 : has_job(txn, p);

	if (rc != 1 || p->job != MAIL_JOB_LEFT)
		return rc;
	if ((rc = mail_carry_is_in(kv_txn_view(txn), p->account, &arriving, NULL)) != 0 ||
	    (rc = kv_has_left(kv_txn_view(txn), p->account, &left)) != 0)
		return rc;
	return !arriving && (left || p->nameless) ? 1 : 2;
}

static int
end_job(struct kv_txn *txn, const struct removal *p)
{
	uint8_t job[5] = {p->job};
	int rc;

	if (p->job == 0)
		return 0;
	base_put_be32(job + 1, p->account);
	rc = kv_del(txn, KV_JOB, shelf_span(job, sizeof(job)));
	return rc == SHELF_EMISSING ? 0 : rc; /* another process was faster */
}

static int
clear_account(struct kv_txn *txn, void *arg)
{
	static const enum kv_table plain[] = {KV_FPAGE,	 KV_FSUM,  KV_KEYWORD, KV_VANISH, KV_DUE,
					      KV_GUARD, KV_MOVED, KV_ONCE, KV_IMPORT, KV_ACL,
					      KV_NOTE, KV_CROSS, KV_MNAME, KV_MBOX, KV_ACCT};
	struct removal *p = arg;
	struct mail_acct ignored = {0}; /* an account under removal keeps no counters */
	unsigned left = SLICE_ROWS;
	int rc;

	p->more = false;
	if ((rc = may_clear(txn, p)) != 1)
		return rc == 2 ? end_job(txn, p) : rc;
	kv_txn_set_account(txn, p->account);
	p->more = true;
	/* Unreadable rows do not keep an account from being removed; check tells of the totals. */
	rc = mail_totals_leave(txn);
	if (rc != 0 && rc != SHELF_ENOACCOUNT && shelf_err_class_of(rc) != SHELF_CLASS_CORRUPT)
		return rc;
	if ((rc = clear(txn, KV_POP3, shelf_span(NULL, 0), &left)) != 0 ||
	    (rc = mail_uidl_clear(txn, 0, &left)) != 0)
		return rc < 0 ? rc : 0;
	if ((rc = clear_messages(txn, KV_MSG, shelf_span(NULL, 0), &left, &ignored)) != 0 ||
	    (rc = clear_messages(txn, KV_GONE, shelf_span(NULL, 0), &left, &ignored)) != 0)
		return rc < 0 ? rc : 0;
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		if ((rc = clear(txn, plain[i], shelf_span(NULL, 0), &left)) != 0)
			return rc < 0 ? rc : 0;
	p->more = false;
	return end_job(txn, p);
}

int
mail_clear_rows(struct shelf_store *store, uint32_t account, uint32_t shard)
{
	struct removal p = {.account = account, .more = true};
	int rc = 0;

	while (rc == 0 && p.more)
		rc = kv_update_shard(store->kv, shard, KV_QUIET, clear_account, &p);
	return rc;
}

typedef int job_fn(struct shelf_store *store, const struct removal *p);

/* The first job of P->job that WANTED says 1 to, into P: 1 found. */
static int
first_job(struct shelf_store *store, uint32_t shard, job_fn *wanted, struct removal *p)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	if ((rc = kv_view_begin_shard(store->kv, shard, &view)) != 0)
		return rc;
	if ((rc = kv_scan_open(view, KV_JOB, shelf_span(&p->job, 1), shelf_span(NULL, 0), &scan)) == 0) {
		while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
			if (key.len != 5 || value.len > sizeof(p->seen)) {
				rc = SHELF_ECORRUPT;
				break;
			}
			p->account = base_get_be32(key.data + 1);
			p->seen_len = value.len;
			if (value.len > 0)
				memcpy(p->seen, value.data, value.len);
			if ((rc = wanted(store, p)) != 0)
				break;
		}
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	return rc;
}

/* It began to come in (carry_in.c) more than a day ago. */
static int
is_old_load(struct shelf_store *store, const struct removal *p)
{
	int64_t since_s;
	uint64_t puts;
	int rc = mail_carry_job_decode(shelf_span(p->seen, p->seen_len), &since_s, &puts);

	return rc != 0 ? rc : since_s + LOADING_KEPT_S <= shelf_now_s();
}

/* It has moved away (move.c), and who was reading then has come to his end. */
static int
is_old_left(struct shelf_store *store, const struct removal *p)
{
	if (p->seen_len != 8)
		return SHELF_ECORRUPT;
	return (int64_t)base_get_be64(p->seen) + mail_left_kept_s <= shelf_now_s();
}

/* Deleted. One that still has its name lives: its deletion stopped halfway. */
static int
is_deleted(struct shelf_store *store, const struct removal *p)
{
	struct shelf_account account;

	return shelf_account_get(store, p->account, &account) == SHELF_ENOACCOUNT;
}

/* What came in and is reached lives, only its job had been left; all else goes. */
static int
settle_load(struct shelf_store *store, uint32_t shard, struct removal *p)
{
	struct shelf_account account;
	int rc = shelf_account_get(store, p->account, &account);

	if (rc == 0 && account.partition == shard)
		return mail_settle(store, p->account);
	return rc == 0 || rc == SHELF_ENOACCOUNT ? kv_update_shard(store->kv, shard, KV_QUIET, clear_account, p) : rc;
}

/* Whoever moved it may have died before he wrote down where it lives. */
static int
settle_left(struct shelf_store *store, uint32_t shard, struct removal *p)
{
	struct shelf_account account;
	int rc = shelf_account_get(store, p->account, &account);

	p->nameless = rc == SHELF_ENOACCOUNT;
	if (rc == 0)
		rc = mail_settle(store, p->account);
	return rc == 0 || p->nameless ? kv_update_shard(store->kv, shard, KV_QUIET, clear_account, p) : rc;
}

static int
settle_deleted(struct shelf_store *store, uint32_t shard, struct removal *p)
{
	int rc = kv_update_shard(store->kv, shard, KV_QUIET, clear_account, p);

	return rc == 0 && !p->more ? kv_forget(store->kv, p->account) : rc;
}

int
mail_purge_shard_step(struct shelf_store *store, uint32_t shard)
{
	static const struct {
		uint8_t job;
		job_fn *wanted;
		int (*settle)(struct shelf_store *store, uint32_t shard, struct removal *p);
	} kinds[] = {
	    {MAIL_JOB_ACCOUNT, is_deleted, settle_deleted},
	    {MAIL_JOB_LOADING, is_old_load, settle_load},
	    {MAIL_JOB_LEFT, is_old_left, settle_left},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct removal p = {.job = kinds[i].job};
		int rc = first_job(store, shard, kinds[i].wanted, &p);

		if (rc == 1 && (rc = kinds[i].settle(store, shard, &p)) == 0)
			rc = 1;
		if (rc != 0)
			return rc;
	}
	return blob_purge_step(store->kv, shard);
}

/* ---- A pass over everything ------------------------------------------------------------------------------ */

int
mail_next_account(struct shelf_store *store, uint32_t after, uint32_t *out)
{
	struct mail_key from = mail_key1(after + 1);
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	if ((rc = kv_view_begin(store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = kv_scan_open(view, KV_USER, shelf_span(NULL, 0), mail_key_span(&from), &scan);
	if (rc == 0) {
		rc = kv_scan_next(&scan, &key, &value);
		if (rc == 1 && key.len == 4)
			*out = base_get_be32(key.data);
		else if (rc == 1)
			rc = SHELF_ECORRUPT;
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	return rc;
}

/* Where the pass over accounts goes on; several threads may purge. */
static uint32_t
position(struct shelf_store *store)
{
	uint32_t account;

	pthread_mutex_lock(&store->lock);
	account = store->purge_account;
	pthread_mutex_unlock(&store->lock);
	return account;
}

static void
set_position(struct shelf_store *store, uint32_t account)
{
	pthread_mutex_lock(&store->lock);
	store->purge_account = account;
	pthread_mutex_unlock(&store->lock);
}

static int64_t
mono_s(void)
{
	return shelf_mono_ms() / 1000;
}

/* The pass has ended, or rests after an error. */
static void
set_pass_time(struct shelf_store *store)
{
	pthread_mutex_lock(&store->lock);
	store->purge_pass_s = mono_s();
	pthread_mutex_unlock(&store->lock);
}

bool
mail_pass_over(int rc, uint32_t shard, uint32_t account, int *damage)
{
	if (rc >= 0 || rc == SHELF_ENOACCOUNT)
		return true;
	if (shelf_err_class_of(rc) != SHELF_CLASS_CORRUPT)
		return false;
	shelf_log(SHELF_LOG_ERROR, "janitor passed over damage", "shard", "%u", shard, "account", "%u",
	    account, "error", "%s", shelf_err_name(rc), NULL);
	*damage = rc;
	return true;
}

/* 1: time is up. */
static int
purge_accounts(struct shelf_store *store, int64_t until, int *damage)
{
	uint32_t account = position(store);
	int rc;

	for (;;) {
		if (shelf_mono_ms() > until)
			return 1;
		if ((rc = mail_next_account(store, account, &account)) <= 0)
			return rc;
		while ((rc = purge_account_step(store, account, until)) == 1)
			if (shelf_mono_ms() > until)
				return 1;
		if (rc == 0)
			rc = mail_rules_settle(store, account);
		if (!mail_pass_over(rc, KV_SHARDS_MAX, account, damage) && rc != SHELF_EFULL)
			return rc;
		set_position(store, account);
	}
}

int
shelf_store_purge(struct shelf_store *store, unsigned budget_ms)
{
	int64_t until = shelf_mono_ms() + budget_ms;
	int damage = 0, rc;

	/* A process that serves has its own under way. */
	if ((rc = mail_crossings(store, store->serving)) != 0 && !mail_pass_over(rc, KV_SHARDS_MAX, 0, &damage))
		return rc;
	/* Held mail first: what it lets go is work for the shards. */
	if ((rc = purge_accounts(store, until, &damage)) != 0)
		return rc;
	set_position(store, 0);
	set_pass_time(store);
	for (uint32_t shard = 0; shard < kv_shards(store->kv); shard++) {
		while ((rc = mail_purge_shard_step(store, shard)) == 1)
			if (shelf_mono_ms() > until)
				return 1;
		if (!mail_pass_over(rc, shard, 0, &damage))
			return rc;
	}
	return damage;
}

/* ---- The janitor of a serving process -------------------------------------------------------------------- */

/* Once is enough but for rows that a restored backup brings. */
static void
catch_up(struct shelf_store *s)
{
	int rc;

	if (s->caught_up_s != 0 && mono_s() - s->caught_up_s < CATCH_UP_EVERY_S)
		return;
	/* Stores of before have no copies of their dictionaries. */
	if ((rc = blob_copies_settle(s->kv)) != 0)
		shelf_log(SHELF_LOG_WARN, "dictionaries not copied", "error", "%s", shelf_err_text(rc), NULL);
	rc = shelf_stats_catch_up(s, JANITOR_BUDGET_MS);
	if (rc < 0)
		shelf_log(SHELF_LOG_WARN, "counting failed", "error", "%s", shelf_err_text(rc), NULL);
	s->caught_up_s = rc == 1 ? 0 : mono_s() + 1;
}

static void
note_day(struct shelf_store *s)
{
	int64_t now_s = shelf_now_s(), day = now_s / (24 * 3600);
	int rc;

	if (s->noted_day == day)
		return;
	s->noted_day = day;
	if ((rc = shelf_stats_note(s, now_s)) != 0)
		shelf_log(SHELF_LOG_WARN, "the day was not noted", "error", "%s", shelf_err_text(rc), NULL);
}

/* Where a disk runs low. Faster where mail is refused already. */
static void
shrink_holds(struct shelf_store *s)
{
	for (uint32_t shard = 0; shard < kv_shards(s->kv); shard++) {
		int state = atomic_load(&s->disk[shard].state), rc;

		if (!atomic_load(&s->disk[shard].low))
			continue;
		rc = mail_early_run(s, shard, state >= SHELF_DISK_REFUSE ? 10 * JANITOR_BUDGET_MS
									 : JANITOR_BUDGET_MS);
		if (rc < 0)
			shelf_log(SHELF_LOG_WARN, "hold not shortened", "partition", "%u", shard,
				  "error", "%s", shelf_err_text(rc), NULL);
	}
}

static void *
janitor(void *arg)
{
	struct shelf_store *s = arg;
	int64_t cleared_s = mono_s();
	bool more = true, stop = false;
	int begun = mail_crossings(s, false); /* what ended with the last process */

	if (begun != 0)
		shelf_log(SHELF_LOG_WARN, "moves not finished", "error", "%s", shelf_err_text(begun), NULL);

	while (!stop) {
		struct timespec until;
		int64_t pass_s;

		mail_settings_refresh(s);
		mail_disk_look_all(s);
		shrink_holds(s);
		pthread_mutex_lock(&s->lock);
		pass_s = s->purge_pass_s;
		pthread_mutex_unlock(&s->lock);
		/* A pass that found nothing left rests for a while; one cut by its budget goes on soon. */
		if (more || mono_s() - pass_s >= PASS_EVERY_S) {
			int rc = shelf_store_purge(s, JANITOR_BUDGET_MS);

			more = rc == 1;
			if (rc < 0) {
				shelf_log(SHELF_LOG_WARN, "purge failed", "error", "%s",
					  shelf_err_text(rc), NULL);
				set_pass_time(s);
			}
		}
		catch_up(s);
		note_day(s);
		mail_expire_step(s, JANITOR_BUDGET_MS);
		/* Where nothing is written, no committer does it. */
		if (mono_s() - cleared_s >= kv_clear_readers_s) {
			kv_clear_readers(s->kv);
			cleared_s = mono_s();
		}
		/* Of the clock that nobody sets back: the rest must not grow. */
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += JANITOR_MS / 1000;
		pthread_mutex_lock(&s->lock);
		if (!s->stop)
			pthread_cond_clockwait(&s->wake, &s->lock, CLOCK_MONOTONIC, &until);
		stop = s->stop;
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

int
mail_janitor_start(struct shelf_store *s)
{
	s->serving = true;
	if (pthread_create(&s->janitor, NULL, janitor, s) != 0) {
		s->serving = false;
		return SHELF_ENOMEM;
	}
	return 0;
}

void
mail_janitor_stop(struct shelf_store *s)
{
	if (!s->serving)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->janitor, NULL);
	s->serving = false;
}
