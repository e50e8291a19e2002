/*
 * check_sums.c - proves what is kept about bytes: accounts (12), domains and partition (13), blobs (14)
 *
 * Numbers are compared modulo 2^64 as they are kept, so one that fell below zero is found like any other.
 */
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail_check.h"

enum { TRIES = 8 };

/* ---- Accounts: called by the walk over an account's rows --------------------------------------------- */

bool
check_mailbox_sums(struct check *k, const struct mail_mbox *m, const struct mail_sums *counted)
{
	if (m->sums.stored == counted->stored && m->sums.shared == counted->shared)
		return true;
	check_counter(k, 12, "mailbox %u: %llu bytes stored, %llu shared; counted %llu, %llu", m->id,
		      (unsigned long long)m->sums.stored, (unsigned long long)m->sums.shared,
		      (unsigned long long)counted->stored, (unsigned long long)counted->shared);
	return false;
}

void
check_account_sums(struct check *k, const struct mail_acct *kept, const struct mail_acct *counted)
{
	const struct {
		const char *what;
		uint64_t kept, counted;
	} rows[] = {
	    {"bytes stored", kept->used.stored, counted->used.stored},
	    {"bytes shared", kept->used.shared, counted->used.shared},
	    {"bytes stored, held", kept->held.stored, counted->held.stored},
	    {"bytes shared, held", kept->held.shared, counted->held.shared},
	    {"rows noted", kept->noted, counted->noted},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].kept != rows[i].counted)
			check_counter(k, 12, "%s: %llu kept, %llu counted", rows[i].what,
				      (unsigned long long)rows[i].kept,
				      (unsigned long long)rows[i].counted);
}

/* ---- Domains and partition ---------------------------------------------------------------------------- */

struct domain {
	char *name; /* NULL: the partition */
	struct shelf_totals totals, kept;
};

struct domains {
	struct domain *list;
	size_t n, cap;
};

static void
add_domain(struct domains *d, const char *name, const struct shelf_totals *t)
{
	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 64 : d->cap * 2;
		d->list = shelf_realloc(d->list, d->cap * sizeof(*d->list));
	}
	d->list[d->n++] = (struct domain){.name = name == NULL ? NULL : shelf_strdup(name), .totals = *t};
}

static int
by_name(const void *a, const void *b)
{
	const struct domain *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* One entry for each domain, whatever it had before. */
static void
join(struct domains *d)
{
	size_t n = 0;

	if (d->n > 0)
		qsort(d->list, d->n, sizeof(*d->list), by_name);
	for (size_t i = 0; i < d->n; i++) {
		if (n > 0 && strcmp(d->list[n - 1].name, d->list[i].name) == 0) {
			mail_totals_add(&d->list[n - 1].totals, &d->list[i].totals);
			free(d->list[i].name);
		} else {
			d->list[n++] = d->list[i];
		}
	}
	d->n = n;
}

static const char *
label(const struct domain *d)
{
	return d->name == NULL ? "the partition" : d->name[0] == '\0' ? "no domain" : d->name;
}

/* An account too many or too few is more than a wrong number: which one is it? */
static void
compare(struct check *k, struct kv_view *view, struct domain *d)
{
	if (mail_totals_get(view, d->name, &d->kept) != 0) {
		check_found(k, 13, "totals of %s cannot be read", label(d));
		return;
	}
	if (d->kept.accounts != d->totals.accounts)
		check_found(k, 13, "totals of %s: accounts: %llu kept, %llu counted", label(d),
			    (unsigned long long)d->kept.accounts, (unsigned long long)d->totals.accounts);
	d->kept.accounts = d->totals.accounts;
#define SHELF_TOTAL(name, bytes, text)                                                            \
	if (d->kept.name != d->totals.name)                                                       \
		check_counter(k, 13, "totals of %s: %s: %llu kept, %llu counted", label(d), #name, \
			      (unsigned long long)d->kept.name, (unsigned long long)d->totals.name);
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
}

static int
count_domain_rows(struct kv_view *view, size_t *count)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_DOMAIN, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		(*count)++;
	kv_scan_close(&scan);
	return rc;
}

/* Rows of POOL (31). */
static int
check_pools(struct check *k, struct kv_view *view)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_POOL, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan), bad;

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		if ((bad = mail_pool_check(value)) != 0)
			check_found(k, 31, "the room of the pool of %.*s: %s", (int)key.len, (const char *)key.data,
				    shelf_err_text(bad));
	kv_scan_close(&scan);
	return rc;
}

/* Accounts behind *ACCOUNT, until UNTIL. 1: there are more. */
static int
count_accounts(struct kv_view *view, struct domains *d, struct shelf_totals *all, uint32_t *account, int64_t until)
{
	struct shelf_totals t;
	struct mail_acct a;
	int rc;

	while ((rc = kv_view_next_account(view, KV_ACCT, *account, account)) == 1) {
		kv_view_account(view, *account);
		rc = mail_acct_get(view, &a);
		if (rc != 0 && !check_is_damage(rc)) /* told of elsewhere (10) */
			return rc;
		if (rc == 0 && a.counted) {
			mail_totals_of(&a, &t);
			add_domain(d, a.domain, &t);
			mail_totals_add(all, &t);
		}
		if (shelf_mono_ms() >= until)
			return 1;
	}
	return rc;
}

static void
forget(struct domains *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->list[i].name);
	free(d->list);
	*d = (struct domains){0};
}

/* What the update that is to repair sees must be what was compared; a row that cannot be read ends it. */
static int
write_totals(struct kv_txn *txn, void *arg)
{
	const struct domains *d = arg;
	struct shelf_totals now;
	int rc = 0;

	for (size_t i = 0; i < d->n && rc == 0; i++)
		if ((rc = mail_totals_get(kv_txn_view(txn), d->list[i].name, &now)) == 0 &&
		    memcmp(&now, &d->list[i].kept, sizeof(now)) != 0)
			rc = SHELF_EBUSY;
	for (size_t i = 0; i < d->n && rc == 0; i++)
		if (memcmp(&d->list[i].kept, &d->list[i].totals, sizeof(now)) != 0)
			rc = mail_totals_move(txn, d->list[i].name, &d->list[i].kept, &d->list[i].totals);
	return rc;
}

static void
tell_repaired(struct check *k, const struct domain *d)
{
	char text[SHELF_ACCOUNT_NAME_MAX + 128];

#define SHELF_TOTAL(name, bytes, what)                                                                   \
	if (d->kept.name != d->totals.name) {                                                            \
		snprintf(text, sizeof(text), "totals of %s: %s %llu -> %llu", label(d), #name,           \
			 (unsigned long long)d->kept.name, (unsigned long long)d->totals.name);          \
		k->repaired(k->arg, 0, text);                                                            \
	}
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
}

/* Numbers that were found wrong are written, when the door is closed and nothing else is wrong. 1: another try. */
static int
repair(struct check *k, struct domains *d, uint64_t findings, uint64_t counters)
{
	int rc;

	if (k->repaired == NULL || k->counters == counters || k->findings - findings != k->counters - counters)
		return 0;
	if (!k->door.used)
		return 1;
	if ((rc = check_door_write(k, write_totals, d)) != 0)
		return rc == SHELF_EBUSY ? 1 : rc;
	k->mended += k->findings - findings;
	for (size_t i = 0; i < d->n; i++)
		tell_repaired(k, &d->list[i]);
	return 0;
}

/* In slices, of one state of the shard as long as no commit comes in between. 1: one came. FINDINGS and COUNTERS: of k,
 * when the first try began. */
static int
compare_totals(struct check *k, uint32_t shard, uint64_t findings, uint64_t counters)
{
	uint64_t commits = kv_commits_seen(k->store->kv, shard);
	struct kv_view *view = NULL;
	struct domains d = {0};
	struct shelf_totals all = {0};
	size_t rows = 0, expected;
	uint32_t account = 0;
	int rc = 1;

	while (rc == 1) {
		kv_view_end(&view);
		if ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) == 0)
			rc = count_accounts(view, &d, &all, &account, shelf_mono_ms() + check_slice_ms);
	}
	if (rc == 0 && account != 0 && kv_commits_seen(k->store->kv, shard) != commits)
		rc = 1;
	if (rc != 0)
		goto out;
	join(&d);
	expected = d.n + (d.n > 0);
	if ((rc = count_domain_rows(view, &rows)) == 0 && rows != expected)
		check_found(k, 13, "%zu rows of totals, %zu domains with accounts", rows, d.n);
	add_domain(&d, NULL, &all);
	for (size_t i = 0; i < d.n; i++)
		compare(k, view, &d.list[i]);
	if (rc == 0)
		rc = check_pools(k, view);
	kv_view_end(&view);
	if (rc == 0)
		rc = repair(k, &d, findings, counters);
out:
	kv_view_end(&view);
	forget(&d);
	return rc;
}

/* A try costs a tenth of a second for 100,000 accounts; a shard at work has commits all the time. */
int
check_totals(struct check *k, uint32_t shard)
{
	uint64_t findings = k->findings, counters = k->counters;
	int rc = compare_totals(k, shard, findings, counters);

	for (unsigned tries = 0; rc == 1 && tries < TRIES; tries++) {
		if ((rc = check_door_close(k, shard)) == 0)
			rc = compare_totals(k, shard, findings, counters);
		check_door_open(k);
	}
	if (rc == 1 && k->counters != counters)
		return 0; /* compared, but not repaired */
	return rc == 1 ? SHELF_EBUSY : rc;
}

/* ---- Blobs ---------------------------------------------------------------------------------------------- */

static void
compare_range(struct check *k, uint64_t range, const struct blob_sums *kept,
	      const struct blob_sums *counted)
{
	const struct {
		const char *what;
		uint64_t kept, counted;
	} rows[] = {
	    {"blobs", kept->blobs, counted->blobs},
	    {"message bytes", kept->size, counted->size},
	    {"bytes stored", kept->bytes, counted->bytes},
	    {"references", kept->refs, counted->refs},
	    {"bytes referred to", kept->gross, counted->gross},
	    {"blobs without references", kept->unused, counted->unused},
	    {"bytes that wait for removal", kept->waiting, counted->waiting},
	    {"bytes staged", kept->staged, counted->staged},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].kept != rows[i].counted)
			check_found(k, 14, "blobs from %llu on: %s: %llu kept, %llu counted",
				    (unsigned long long)(range << BLOB_RANGE_SHIFT), rows[i].what,
				    (unsigned long long)rows[i].kept,
				    (unsigned long long)rows[i].counted);
}

static int
check_range(struct check *k, struct kv_view *view, uint64_t range)
{
	struct blob_sums kept, counted;
	int rc = blob_sums_recount(view, range, &counted);

	if (rc != 0)
		return rc;
	rc = blob_sums_range(view, range, &kept);
	if (rc == 0)
		compare_range(k, range, &kept, &counted);
	else if (check_is_damage(rc))
		check_found(k, 14, "sums of blobs from %llu on cannot be read",
			    (unsigned long long)(range << BLOB_RANGE_SHIFT));
	else
		return rc;
	return 0;
}

int
check_blob_sums(struct check *k, uint32_t shard)
{
	struct kv_view *view = NULL;
	uint64_t range = 0;
	int rc;

	/* A range is right or wrong by itself: a snapshot for each. */
	do {
		if ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) != 0)
			return rc;
		rc = blob_sums_next(view, range, &range);
		if (rc == 1 && (rc = check_range(k, view, range)) == 0)
			rc = 1;
		kv_view_end(&view);
		range++;
	} while (rc == 1);
	return rc;
}
