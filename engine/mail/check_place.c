/*
 * check_place.c - an account lives in one partition (invariant 21)
 *
 * Rows of it in another one are of a move: a job says that they may go. Which one it lives in cannot be read in the
 * snapshot that shows its rows; so that is asked before and behind, and a difference is no finding.
 */
#include <mailshelf/mem.h>

#include "carry.h"
#include "mail_check.h"

int
check_next_account(struct kv_view *view, const enum kv_table *tables, size_t n, uint32_t after, uint32_t *out)
{
	uint32_t best = 0, account = 0;

	for (size_t i = 0; i < n; i++) {
		int rc = kv_view_next_account(view, tables[i], after, &account);

		if (rc < 0)
			return rc;
		if (rc == 1 && (best == 0 || account < best))
			best = account;
	}
	*out = best;
	return best != 0;
}

static int
next_account(struct kv_view *view, uint32_t after, uint32_t *out)
{
	static const enum kv_table tables[] = {KV_ACCT, KV_MBOX, KV_MNAME, KV_MSG, KV_GONE, KV_FPAGE};

	return check_next_account(view, tables, sizeof(tables) / sizeof(*tables), after, out);
}

static int
has_job(struct kv_view *view, uint32_t account, bool *out)
{
	static const uint8_t kinds[] = {MAIL_JOB_ACCOUNT, MAIL_JOB_LOADING, MAIL_JOB_LEFT};
	struct shelf_span value;
	int rc = SHELF_EMISSING;

	for (size_t i = 0; i < sizeof(kinds) && rc == SHELF_EMISSING; i++) {
		uint8_t key[5] = {kinds[i]};

		base_put_be32(key + 1, account);
		rc = kv_get(view, KV_JOB, shelf_span(key, sizeof(key)), &value);
	}
	*out = rc == 0;
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* KV_SHARDS_MAX: nowhere. */
static int
home_of(struct check *k, uint32_t account, uint32_t *out)
{
	int rc = kv_shard_of(k->store->kv, account, out);

	if (rc == SHELF_ENOACCOUNT)
		*out = KV_SHARDS_MAX;
	return rc == SHELF_ENOACCOUNT ? 0 : rc;
}

/* Has ACCOUNT rows in SHARD, and no job there? */
static int
is_loose(struct check *k, uint32_t shard, uint32_t account, bool *out)
{
	struct kv_view *view = NULL;
	uint32_t found;
	bool job = false;
	int rc = kv_view_begin_shard(k->store->kv, shard, &view);

	*out = false;
	if (rc == 0 && (rc = next_account(view, account - 1, &found)) == 1 && found == account) {
		rc = has_job(view, account, &job);
		*out = !job;
	}
	kv_view_end(&view);
	return rc < 0 ? rc : 0;
}

static int
check_one(struct check *k, uint32_t shard, uint32_t account)
{
	uint32_t before, behind;
	bool loose;
	int rc;

	if ((rc = home_of(k, account, &before)) != 0 || before == shard)
		return rc;
	if ((rc = is_loose(k, shard, account, &loose)) != 0 || !loose)
		return rc;
	if ((rc = home_of(k, account, &behind)) != 0 || behind != before)
		return rc;
	check_found(k, 21, "rows in partition %u, where the account does not live, that no job is to remove", shard);
	return 0;
}

/* Rows that say where an account went. */
static int
check_left(struct check *k, uint32_t shard, uint32_t *after)
{
	struct mail_key from = mail_key1(*after + 1);
	int64_t until = shelf_mono_ms() + check_slice_ms;
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_view_begin_shard(k->store->kv, shard, &view);

	if (rc != 0)
		return rc;
	rc = kv_scan_open(view, KV_LEFT, shelf_span(NULL, 0), mail_key_span(&from), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		bool left;

		*after = key.len == 4 ? base_get_be32(key.data) : *after + 1;
		rc = kv_has_left(view, *after, &left);
		if (key.len != 4 || check_is_damage(rc)) {
			check_found(k, 21, "where account %u went from partition %u cannot be read", *after, shard);
			rc = 0;
		}
		if (rc == 0 && shelf_mono_ms() >= until) {
			rc = 1;
			break;
		}
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

int
check_places(struct check *k, uint32_t shard)
{
	struct kv_view *view = NULL;
	uint32_t account = 0;
	int rc;

	while ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) == 0) {
		rc = next_account(view, account, &account);
		kv_view_end(&view);
		if (rc != 1)
			break;
		k->account = account;
		rc = check_one(k, shard, account);
		k->account = 0;
		/* A place that cannot be read is told of elsewhere (10). */
		if (rc != 0 && !check_is_damage(rc))
			return rc;
	}
	account = 0;
	while (rc == 0 && (rc = check_left(k, shard, &account)) == 1)
		rc = 0;
	return check_is_damage(rc) ? 0 : rc;
}
