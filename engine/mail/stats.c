/*
 * stats.c - reading what is kept about bytes (stats.h)
 *
 * Nothing here walks messages or bodies: an account is its row, a domain at most a row in each partition, a
 * partition a row, its ranges of bodies (one for 65,536) and what LMDB knows about its tables.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail.h"

/* ---- Accounts ---------------------------------------------------------------------------------------- */

/* What is due first; when it is a message, when it was expunged. */
static int
read_due(struct kv_view *view, struct shelf_account_stats *out)
{
	struct shelf_span key, value;
	struct mail_gone gone;
	struct kv_scan scan;
	uint32_t mailbox = 0, uid = 0;
	int rc = kv_scan_open(view, KV_DUE, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	rc = kv_scan_next(&scan, &key, &value);
	if (rc == 1 && key.len == 12) {
		out->due_s = base_get_be32(key.data);
		mailbox = base_get_be32(key.data + 4);
		uid = base_get_be32(key.data + 8);
	}
	kv_scan_close(&scan);
	if (rc < 0 || uid == 0)
		return rc < 0 ? rc : 0;
	if ((rc = mail_gone_get(view, mailbox, uid, &gone)) == 0)
		out->gone_s = gone.gone_s;
	return rc == SHELF_ENOMESSAGE ? 0 : rc;
}

int
shelf_stats_account(struct shelf_store *store, uint32_t account, struct shelf_account_stats *out)
{
	struct kv_view *view = NULL;
	struct mail_acct a;
	int rc;

	*out = (struct shelf_account_stats){0};
	if ((rc = kv_view_begin(store->kv, account, &view)) != 0)
		return rc;
	if ((rc = mail_acct_get(view, &a)) == 0) {
		mail_totals_row(&a, &out->totals);
		out->mailboxes = a.mailboxes;
		rc = read_due(view, out);
	}
	kv_view_end(&view);
	return rc;
}

/* ---- Domains ------------------------------------------------------------------------------------------ */

/* The row of DOMAIN (folded) in every partition. SHELF_EMISSING: in none. */
static int
sum_domain(struct shelf_store *store, const char *domain, struct shelf_totals *sum)
{
	struct shelf_totals t;

	*sum = (struct shelf_totals){0};
	for (uint32_t shard = 0; shard < kv_shards(store->kv); shard++) {
		struct kv_view *view = NULL;
		int rc = kv_view_begin_shard(store->kv, shard, &view);

		if (rc == 0)
			rc = mail_totals_get(view, domain, &t);
		kv_view_end(&view);
		if (rc != 0)
			return rc;
		mail_totals_add(sum, &t);
	}
	return sum->accounts == 0 ? SHELF_EMISSING : 0;
}

int
shelf_stats_domain(struct shelf_store *store, struct shelf_span domain, struct shelf_totals *out)
{
	char folded[SHELF_ACCOUNT_NAME_MAX + 1] = "";

	*out = (struct shelf_totals){0};
	/* What no account's name can have belongs to nobody. */
	if (domain.len > 0 && mail_account_name(domain, folded) != 0)
		return SHELF_EMISSING;
	return sum_domain(store, folded, out);
}

/* The first domain of a partition that is not before FROM and is before *BEST ("": none yet). */
static int
first_domain(struct shelf_store *store, uint32_t shard, struct shelf_span from, char *best, bool *found)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_view_begin_shard(store->kv, shard, &view);

	if (rc != 0)
		return rc;
	rc = kv_scan_open(view, KV_DOMAIN, shelf_span("@", 1), from, &scan);
	if (rc == 0) {
		rc = kv_scan_next(&scan, &key, &value);
		if (rc == 1 && key.len <= SHELF_ACCOUNT_NAME_MAX) {
			struct shelf_span name = shelf_span(key.data + 1, key.len - 1);

			if (!*found || shelf_span_cmp(name, shelf_span_str(best)) < 0) {
				memcpy(best, name.data, name.len);
				best[name.len] = '\0';
			}
			*found = true;
		}
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	return rc < 0 ? rc : 0;
}

int
shelf_stats_domain_each(struct shelf_store *store, shelf_domain_fn *fn, void *arg)
{
	char best[SHELF_ACCOUNT_NAME_MAX + 1] = "";
	uint8_t from[SHELF_ACCOUNT_NAME_MAX + 2] = {'@'};
	size_t from_len = 1;
	struct shelf_totals sum;
	bool found;
	int rc = 0;

	do {
		found = false;
		for (uint32_t shard = 0; shard < kv_shards(store->kv) && rc == 0; shard++)
			rc = first_domain(store, shard, shelf_span(from, from_len), best, &found);
		if (rc != 0 || !found)
			break;
		rc = sum_domain(store, best, &sum);
		if (rc == 0)
			rc = fn(arg, shelf_span_str(best), &sum);
		else if (rc == SHELF_EMISSING) /* its last account has gone since */
			rc = 0;
		/* The least key behind it. */
		from_len = 1 + strlen(best);
		memcpy(from + 1, best, from_len - 1);
		from[from_len++] = 0;
	} while (rc == 0);
	return rc;
}

/* ---- Partitions ---------------------------------------------------------------------------------------- */

static int
read_partition(struct kv_view *view, struct shelf_partition_stats *out)
{
	struct blob_sums b;
	uint64_t accounts, bodies;
	int rc;

	if ((rc = mail_totals_get(view, NULL, &out->totals)) != 0 ||
	    (rc = blob_sums_get(view, &b)) != 0 ||
	    (rc = kv_count(view, KV_ACCT, &accounts)) != 0 ||
	    (rc = kv_count(view, KV_BLOB, &bodies)) != 0)
		return rc;
	out->uncounted_accounts = accounts - out->totals.accounts;
	out->bodies = b.blobs;
	out->body_bytes = b.size;
	out->physical_bytes = b.bytes;
	out->references = b.refs;
	out->gross_bytes = b.gross;
	out->saved_bytes = b.gross - b.bytes;
	out->uncounted_bodies = bodies - b.blobs - b.unused;
	out->waiting_bytes = b.waiting;
	out->staged_bytes = b.staged;
	return 0;
}

int
shelf_stats_partition(struct shelf_store *store, uint32_t partition,
		      struct shelf_partition_stats *out)
{
	struct kv_view *view = NULL;
	struct kv_stats kv;
	int rc;

	*out = (struct shelf_partition_stats){0};
	if (partition >= kv_shards(store->kv))
		return SHELF_EINVALID;
	if ((rc = kv_view_begin_shard(store->kv, partition, &view)) != 0)
		return rc;
	rc = read_partition(view, out);
	kv_view_end(&view);
	if (rc != 0 || (rc = kv_stats(store->kv, partition, &kv)) != 0)
		return rc;
	out->file_bytes = kv.file_bytes;
	out->free_bytes = kv.free_bytes;
	out->reclaimable_bytes = out->waiting_bytes + out->free_bytes;
	out->disk_free_bytes = kv.disk_free_bytes;
	return 0;
}

int
shelf_stats_reader(struct shelf_store *store, uint32_t partition, unsigned watch_ms,
		   struct shelf_reader *out)
{
	struct kv_reader r;
	int rc;

	*out = (struct shelf_reader){0};
	if (partition >= kv_shards(store->kv))
		return SHELF_EINVALID;
	if ((rc = kv_oldest_reader(store->kv, partition, watch_ms, &r)) == 1)
		*out = (struct shelf_reader){r.pid, r.commits, r.held_bytes, r.age_ms};
	return rc;
}

int
shelf_stats_store(struct shelf_store *store, struct shelf_partition_stats *out)
{
	struct shelf_partition_stats p, sum = {.disk_free_bytes = UINT64_MAX};
	int rc;

	for (uint32_t i = 0; i < kv_shards(store->kv); i++) {
		if ((rc = shelf_stats_partition(store, i, &p)) != 0)
			return rc;
		mail_totals_add(&sum.totals, &p.totals);
		sum.uncounted_accounts += p.uncounted_accounts;
		sum.bodies += p.bodies;
		sum.body_bytes += p.body_bytes;
		sum.physical_bytes += p.physical_bytes;
		sum.references += p.references;
		sum.gross_bytes += p.gross_bytes;
		sum.saved_bytes += p.saved_bytes;
		sum.uncounted_bodies += p.uncounted_bodies;
		sum.waiting_bytes += p.waiting_bytes;
		sum.staged_bytes += p.staged_bytes;
		sum.file_bytes += p.file_bytes;
		sum.free_bytes += p.free_bytes;
		sum.reclaimable_bytes += p.reclaimable_bytes;
		if (p.disk_free_bytes < sum.disk_free_bytes)
			sum.disk_free_bytes = p.disk_free_bytes;
	}
	*out = sum;
	return 0;
}
