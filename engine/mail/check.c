/*
 * check.c - proves the numbered invariants of docs/storage-format.md
 *
 * The catalog, then each shard: its accounts, its references, its bodies. Everything in slices
 * (mail_check.h). What is found is told; counters are put right for who asks for it (check_repair.c), nothing else.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/expire.h>
#include <mailshelf/mem.h>

#include "mail_check.h"

/* ---- Findings -------------------------------------------------------------------------------------------- */

static uint64_t
hash_of(const char *text, uint64_t h)
{
	for (; *text != '\0'; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3u;
	return h == 0 ? 1 : h;
}

/* Was HASH there already? It is from now on. */
static bool
remember(struct check *k, uint64_t hash)
{
	size_t i;

	if (k->told_used * 2 >= k->told_cap) {
		uint64_t *old = k->told;
		size_t n = k->told_cap;

		k->told_cap = n == 0 ? 64 : n * 2;
		k->told = shelf_zalloc(k->told_cap * sizeof(*k->told));
		k->told_used = 0;
		for (size_t j = 0; j < n; j++)
			if (old[j] != 0)
				remember(k, old[j]);
		free(old);
	}
	for (i = hash & (k->told_cap - 1); k->told[i] != 0; i = (i + 1) & (k->told_cap - 1))
		if (k->told[i] == hash)
			return true;
	k->told[i] = hash;
	k->told_used++;
	return false;
}

static void __attribute__((format(printf, 4, 0)))
tell(struct check *k, unsigned invariant, bool counter, const char *fmt, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	/* What is read in a second slice is not found a second time. */
	if (remember(k, hash_of(text, 0xcbf29ce484222325u + ((uint64_t)k->account << 8) + invariant)))
		return;
	k->findings++;
	k->counters += counter;
	if (k->found != NULL)
		k->found(k->arg, invariant, k->account, text);
}

void
check_found(struct check *k, unsigned invariant, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(k, invariant, false, fmt, ap);
	va_end(ap);
}

void
check_counter(struct check *k, unsigned invariant, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(k, invariant, true, fmt, ap);
	va_end(ap);
}

bool
check_is_damage(int rc)
{
	return rc == SHELF_ECORRUPT || rc == SHELF_EVERSION;
}

void
check_free(struct check *k)
{
	free(k->told);
	free(k->page);
}

/* ---- Catalog --------------------------------------------------------------------------------------------- */

/* A row of USER and the name that leads to it (10). */
static void
check_user(struct check *k, struct kv_view *view)
{
	struct mail_user u;
	struct shelf_span id;
	int rc = mail_user_get(view, k->account, &u);

	if (rc != 0)
		check_found(k, 10, "account row cannot be read: %s", shelf_err_text(rc));
	else if (kv_get(view, KV_ADDR, u.name, &id) != 0 || id.len != 4 ||
		 base_get_be32(id.data) != k->account)
		check_found(k, 10, "the account's name does not lead to it");
}

/* A row of ADDR and the account it leads to (10). */
static void
check_addr(struct check *k, struct kv_view *view, struct shelf_span name, struct shelf_span value)
{
	uint32_t account = value.len == 4 ? base_get_be32(value.data) : 0;
	struct mail_user u;
	int rc = mail_user_get(view, account, &u);

	k->account = account;
	if (rc == SHELF_ENOACCOUNT || (rc == 0 && !shelf_span_eq(u.name, name)))
		check_found(k, 10, "account name %.*s leads to an account that is not of that name",
			    (int)name.len, (const char *)name.data);
}

/* A row of ALIAS (20). */
static void
check_alias(struct check *k, struct shelf_span address, struct shelf_span value)
{
	struct shelf_buf targets = {0};
	int rc = mail_alias_decode(value, &targets);

	if (rc != 0)
		check_found(k, 20, "alias %.*s: %s", (int)address.len, (const char *)address.data,
			    shelf_err_text(rc));
	shelf_buf_free(&targets);
}

/* A row of POLICY (23). */
static void
check_policy(struct check *k, struct shelf_span scope, struct shelf_span value)
{
	int rc = mail_policy_check(value);

	if (rc != 0)
		check_found(k, 23, "policy of %.*s: %s", (int)scope.len, (const char *)scope.data,
			    shelf_err_text(rc));
}

/* A row of EXPIRE (23). */
static void
check_expire(struct check *k, struct shelf_span key, struct shelf_span value)
{
	struct shelf_expire_rule rule;
	int rc = mail_expire_decode(key, value, &rule);

	if (rc != 0)
		check_found(k, 23, "a rule of %.*s: %s", (int)strnlen((const char *)key.data, key.len),
			    (const char *)key.data, shelf_err_text(rc));
}

/* Rows of a catalog table behind AT, for one slice; each is right or wrong by itself. 1: there are more. */
static int
check_some_names(struct check *k, enum kv_table table, struct mail_key *at)
{
	int64_t until = shelf_mono_ms() + check_slice_ms;
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	if ((rc = kv_view_begin(k->store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	if (at->len > 0)
		at->bytes[at->len++] = 0; /* behind it */
	if ((rc = kv_scan_open(view, table, shelf_span(NULL, 0), mail_key_span(at), &scan)) != 0)
		goto out;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (table == KV_ADDR) {
			check_addr(k, view, key, value);
		} else if (table == KV_ALIAS) {
			check_alias(k, key, value);
		} else if (table == KV_POLICY) {
			check_policy(k, key, value);
		} else if (table == KV_EXPIRE) {
			check_expire(k, key, value);
		} else {
			k->account = key.len == 4 ? base_get_be32(key.data) : 0;
			check_user(k, view);
		}
		k->account = 0;
		at->len = key.len < sizeof(at->bytes) ? key.len : sizeof(at->bytes) - 1;
		memcpy(at->bytes, key.data, at->len);
		if (shelf_mono_ms() >= until)
			break;
	}
	kv_scan_close(&scan);
out:
	kv_view_end(&view);
	return rc;
}

/* How many accounts have no keys of SCRAM (28): kept, and counted. */
static int
check_keyless(struct check *k)
{
	struct kv_view *view = NULL;
	uint64_t kept = 0, counted = 0;
	int rc = kv_view_begin(k->store->kv, KV_CATALOG, &view);

	if (rc == 0 && (rc = mail_user_keyless(view, &kept)) == 0)
		rc = mail_user_count_keyless(view, &counted);
	kv_view_end(&view);
	if (rc == 0 && kept != counted)
		check_found(k, 28, "accounts without keys of SCRAM are %llu, not %llu",
			    (unsigned long long)counted, (unsigned long long)kept);
	return rc == SHELF_EMISSING ? 0 : rc; /* nobody has served this store yet */
}

static int
check_catalog(struct check *k)
{
	static const enum kv_table tables[] = {KV_USER, KV_ADDR, KV_ALIAS, KV_POLICY, KV_EXPIRE};
	static const char *const what[] = {"account rows", "account names", "aliases", "policies", "rules of expiry"};
	static const unsigned invariant[] = {10, 10, 20, 23, 23};
	int rc = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && rc == 0; i++) {
		struct mail_key at = {.len = 0};

		while ((rc = check_some_names(k, tables[i], &at)) == 1)
			;
		if (check_is_damage(rc)) {
			check_found(k, invariant[i], "%s cannot be read", what[i]);
			rc = 0;
		}
	}
	if (rc == 0 && check_is_damage(rc = check_keyless(k))) {
		check_found(k, 28, "the number of accounts without keys cannot be read");
		rc = 0;
	}
	return rc;
}

static int
check_copy(void *arg, const uint8_t *hash, int rc, struct shelf_span bytes)
{
	if (rc != 0)
		check_found(arg, 24, "the copy %02x%02x%02x%02x.. of a dictionary cannot be read: %s", hash[0], hash[1],
			    hash[2], hash[3], shelf_err_text(rc));
	return 0;
}

/* A few hundred KiB for each partition. */
static int
check_copies(struct check *k)
{
	struct kv_view *view = NULL;
	int rc = kv_view_begin(k->store->kv, KV_CATALOG, &view);

	if (rc == 0)
		rc = blob_copies_each(view, check_copy, k);
	kv_view_end(&view);
	if (!check_is_damage(rc))
		return rc;
	check_found(k, 24, "copies of dictionaries cannot be read");
	return 0;
}

/* The next account of the catalog behind AFTER: 1 found. */
static int
next_user(struct check *k, uint32_t after, uint32_t *out)
{
	struct mail_key from = mail_key1(after + 1);
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	if (after == UINT32_MAX)
		return 0;
	if ((rc = kv_view_begin(k->store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	if ((rc = kv_scan_open(view, KV_USER, shelf_span(NULL, 0), mail_key_span(&from), &scan)) == 0) {
		if ((rc = kv_scan_next(&scan, &key, &value)) == 1)
			*out = key.len == 4 ? base_get_be32(key.data) : after + 1;
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	return rc;
}

static bool
has_user(struct check *k, uint32_t account)
{
	uint32_t next;

	return next_user(k, account - 1, &next) == 1 && next == account;
}

/* ---- Accounts -------------------------------------------------------------------------------------------- */

static int
check_one(struct check *k, uint32_t shard)
{
	int rc = check_account(k, shard, false, NULL, NULL);

	if (check_is_damage(rc))
		check_found(k, 10, "the account's rows cannot be read: %s", shelf_err_text(rc));
	if (rc == 0)
		rc = check_acl(k, shard);
	if (rc == 0)
		rc = check_metadata(k, shard);
	if (rc == 0)
		rc = check_pop3(k, shard);
	if (rc == 0)
		rc = check_once(k, shard);
	/* Gone since it was listed. */
	return rc == SHELF_ENOACCOUNT || check_is_damage(rc) ? 0 : rc;
}

/* The accounts that have a row in SHARD, with a name or under removal. */
static int
check_accounts(struct check *k, uint32_t shard)
{
	struct kv_view *view = NULL;
	uint32_t account = 0;
	int rc;

	do {
		if ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) != 0)
			return rc;
		rc = kv_view_next_account(view, KV_ACCT, account, &account);
		kv_view_end(&view);
		k->account = account;
		if (rc == 1 && (rc = check_one(k, shard)) == 0)
			rc = 1;
		k->account = 0;
	} while (rc == 1);
	if (check_is_damage(rc)) {
		check_found(k, 10, "account rows of partition %u cannot be read", shard);
		rc = 0;
	}
	return rc;
}

/* Does every account of the catalog have its row (10)? It is there before the name and goes behind it. */
static int
check_rows(struct check *k)
{
	uint32_t account = 0;
	int rc;

	while ((rc = next_user(k, account, &account)) == 1) {
		struct shelf_rd *rd = NULL;

		k->account = account;
		rc = shelf_rd_begin(k->store, account, &rd);
		shelf_rd_end(&rd);
		if (rc == SHELF_ENOACCOUNT && has_user(k, account))
			check_found(k, 10, "the account has no row in a partition");
		else if (check_is_damage(rc))
			check_found(k, 10, "the account's row or place cannot be read");
		else if (rc != 0 && rc != SHELF_ENOACCOUNT)
			break;
	}
	k->account = 0;
	return check_is_damage(rc) ? 0 : rc;
}

/* ---- One shard after the other ------------------------------------------------------------------------------ */

static int
check_shard(struct check *k, uint32_t shard)
{
	int rc = check_places(k, shard);

	if (rc == 0)
		rc = check_accounts(k, shard);
	if (rc == 0)
		rc = check_totals(k, shard);
	if (rc == 0)
		rc = check_blob_sums(k, shard);
	if (rc == 0)
		rc = check_refs(k, shard);
	if (rc == 0)
		rc = check_dicts(k, shard);
	return rc != 0 ? rc : check_bodies(k, shard);
}

static int
check_store(struct check *k)
{
	int rc = check_catalog(k);

	if (rc == 0)
		rc = check_copies(k);
	if (rc == 0)
		rc = check_rows(k);
	for (uint32_t shard = 0; shard < kv_shards(k->store->kv) && rc == 0; shard++)
		rc = check_shard(k, shard);
	if (rc == 0 && k->progress != NULL)
		k->progress(k->arg, k->done, k->done);
	check_free(k);
	return rc;
}

int
shelf_store_check(struct shelf_store *store, shelf_progress_fn *progress, shelf_finding_fn *found,
		  void *arg)
{
	struct check k = {.store = store, .progress = progress, .found = found, .arg = arg};

	return check_store(&k);
}

int
shelf_store_repair(struct shelf_store *store, shelf_progress_fn *progress, shelf_finding_fn *found,
		   shelf_repaired_fn *repaired, void *arg, uint64_t *left_out)
{
	struct check k = {.store = store, .progress = progress, .found = found, .arg = arg, .repaired = repaired};
	int rc = check_store(&k);

	*left_out = k.findings - k.mended;
	return rc;
}
