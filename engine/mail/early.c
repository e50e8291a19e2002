/*
 * early.c - the hold shrinks first: held mail goes before its date when a disk runs low
 *
 *   partition below its warn mark:
 *     deleted accounts and bodies nobody names     they are on their way out anyway
 *     held mail, in order of its date              an hour of dates at a time, over all accounts
 *     what the guard keeps                         when nothing else is held
 *   after each few messages it is measured again, and ends as soon as the mark is left
 *
 * What must stay true: live mail is never touched; the count of what went early changes in the transaction that lets it
 * go (META "early": messages u64, bytes u64, big-endian). Every step finds its work anew.
 */
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "carry.h"
#include "mail.h"

enum { STEP_S = 3600, TELL_EVERY_MS = 60000, REST_MS = 60000 };
static const struct shelf_span count_name = {(const uint8_t *)"early", 5};

/* ---- The count --------------------------------------------------------------------------------------------- */

int
mail_early_count(struct kv_view *view, uint64_t *messages, uint64_t *bytes)
{
	struct shelf_span value;
	int rc = kv_get(view, KV_META, count_name, &value);

	*messages = *bytes = 0;
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if (value.len != 16)
		return SHELF_ECORRUPT;
	*messages = base_get_be64(value.data);
	*bytes = base_get_be64(value.data + 8);
	return 0;
}

int
mail_early_add(struct kv_txn *txn, uint64_t messages, uint64_t bytes)
{
	uint64_t had_messages, had_bytes;
	uint8_t value[16];
	int rc;

	if (messages == 0)
		return 0;
	if ((rc = mail_early_count(kv_txn_view(txn), &had_messages, &had_bytes)) != 0)
		return rc;
	base_put_be64(value, had_messages + messages);
	base_put_be64(value + 8, had_bytes + bytes);
	return kv_put(txn, KV_META, count_name, shelf_span(value, sizeof(value)));
}

/* ---- One partition ------------------------------------------------------------------------------------------ */

struct early {
	struct shelf_store *store;
	uint32_t shard;
	int64_t until_ms;
	bool guarded; /* nothing else is left */
	uint64_t messages, bytes;
};

enum { UP = 1, ENOUGH = 2 };

static bool
enough(struct early *e)
{
	struct shelf_disk d;

	return mail_disk_look(e->store, e->shard, &d) != 0 || !d.low;
}

/* The first account behind AFTER with something that may go by BY. 1 found, with its first date. */
static int
next_account(struct early *e, uint32_t after, uint32_t by, uint32_t *account, struct mail_due *due)
{
	struct mail_purge p = {.by = by, .pass_guarded = !e->guarded};
	struct kv_view *view = NULL;
	int64_t end = shelf_mono_ms() + 500;
	int rc;

	*account = after;
	do {
		if (view == NULL && (rc = kv_view_begin_shard(e->store->kv, e->shard, &view)) != 0)
			return rc;
		bool coming, gone;

		if ((rc = kv_view_next_account(view, KV_DUE, *account, account)) != 1)
			break;
		if ((rc = mail_carry_is_in(view, *account, &coming, NULL)) != 0 ||
		    (rc = kv_has_left(view, *account, &gone)) != 0)
			break;
		if (coming || gone)
			continue; /* a copy, that lives elsewhere: nothing of it may go for this disk */
		kv_view_account(view, *account);
		if ((rc = mail_purge_next(view, &p, &(struct mail_key){.len = 0}, due)) != 0)
			break;
		if (shelf_mono_ms() > end)
			kv_view_end(&view); /* a fresh one: no snapshot lives long */
	} while (true);
	kv_view_end(&view);
	return rc;
}

/* Bodies that nobody names any more: only now there is room for them. UP or 0. */
static int
clear_bodies(struct early *e)
{
	int rc;

	while ((rc = mail_purge_shard_step(e->store, e->shard)) == 1)
		if (shelf_mono_ms() > e->until_ms)
			return UP;
	return rc;
}

/* What of one account may go by BY. */
static int
drop_some(struct early *e, uint32_t account, uint32_t by)
{
	struct mail_purge p = {.store = e->store,
			       .account = account,
			       .by = by,
			       .pass_guarded = !e->guarded,
			       .early = true};
	int rc;

	do {
		if ((rc = mail_guard_step(e->store, account, e->until_ms)) != 0 ||
		    (rc = mail_purge_slice(&p)) != 0)
			return rc;
		e->messages += p.messages;
		e->bytes += p.bytes;
		if ((rc = clear_bodies(e)) != 0)
			return rc;
		if (enough(e))
			return ENOUGH;
		if (shelf_mono_ms() > e->until_ms)
			return UP;
	} while (p.more);
	return 0;
}

/* The oldest hour of dates. 0 done, UP, ENOUGH; SHELF_EMISSING: nothing is held. */
static int
drop_hour(struct early *e)
{
	uint32_t account = 0, oldest = UINT32_MAX;
	struct mail_due due;
	bool any = false;
	int rc;

	while ((rc = next_account(e, account, UINT32_MAX, &account, &due)) == 1) {
		oldest = due.at < oldest ? due.at : oldest;
		any = true;
	}
	if (rc != 0 || !any)
		return rc != 0 ? rc : SHELF_EMISSING;
	oldest = oldest < UINT32_MAX - STEP_S ? oldest + STEP_S : UINT32_MAX;
	account = 0;
	while ((rc = next_account(e, account, oldest, &account, &due)) == 1) {
		rc = drop_some(e, account, oldest);
		if (rc != 0 && rc != SHELF_ENOACCOUNT)
			return rc;
	}
	return rc;
}

/* Told when it ends, and each minute while it goes on. */
static void
tell(struct shelf_store *s, uint32_t shard, const struct early *e, bool ended)
{
	struct mail_disk *d = &s->disk[shard];

	d->early_messages += e->messages;
	d->early_bytes += e->bytes;
	if (d->early_messages == 0 || (!ended && shelf_mono_ms() - d->early_told_ms < TELL_EVERY_MS))
		return;
	shelf_log(SHELF_LOG_WARN, "held mail let go early", "partition", "%u", shard, "messages", "%llu",
		  (unsigned long long)d->early_messages, "bytes", "%llu",
		  (unsigned long long)d->early_bytes, NULL);
	d->early_messages = d->early_bytes = 0;
	d->early_told_ms = shelf_mono_ms();
}

int
mail_early_run(struct shelf_store *s, uint32_t shard, unsigned budget_ms)
{
	struct early e = {
	    .store = s, .shard = shard, .until_ms = shelf_mono_ms() + budget_ms};
	struct mail_disk *d = &s->disk[shard];
	int rc;

	if (enough(&e))
		return 0;
	if (d->early_rest_ms > shelf_mono_ms())
		return 0;
	rc = clear_bodies(&e);
	if (rc == 0 && enough(&e))
		rc = ENOUGH;
	while (rc == 0) {
		rc = drop_hour(&e);
		if (rc == SHELF_EMISSING && !e.guarded) {
			e.guarded = true;
			rc = 0;
		}
	}
	tell(s, shard, &e, rc != UP);
	if (rc != UP && rc != ENOUGH)
		d->early_rest_ms = shelf_mono_ms() + REST_MS;
	return rc == ENOUGH || rc == SHELF_EMISSING ? 0 : rc;
}
