/*
 * check_refs.c - a blob's count of references against the rows that name it (invariant 4)
 *
 * The rows of MSG and GONE of all accounts of a shard name its blobs, more rows than one slice can read. So:
 *
 *   first look    the counts kept are read, every account's rows are counted at some moment of that account,
 *                 the counts kept are read again. A blob whose three numbers agree is right.
 *   second look   what is left is counted again, account by account, until one snapshot finds every account
 *                 as it was when it was counted: then, and in that snapshot, a difference is a finding.
 *
 * Blobs that have a head in front of another one count as references to it; META lists them, and each snapshot that
 * compares asks it.
 *
 * An account is as it was when its row is (every change writes it), its first rows are (the removal of
 * an account, which has no counters any more, takes rows from the front) and the job of one that comes in is.
 *
 * Memory: 8 bytes for each blob id of a window, and windows are as long as check_refs_window says; 8 bytes
 * for each row of one account.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "carry.h"
#include "mail_check.h"

uint64_t check_refs_window = 8 << 20;

enum {
	SUSPECTS_MAX = 65536, /* in one second look */
	TRIES = 4,	      /* before writers have to wait */
	TRIES_MAX = 12,	      /* before this is given up */
	ACCOUNT_LARGE = 500000, /* rows: not counted within the snapshot that compares */
};

struct counted { /* an account in the second look */
	uint32_t account;
	uint64_t moment;   /* when it was counted; 0: never */
	uint32_t *suspect; /* an index into the suspects for each reference to one of them */
	size_t n;
};

struct refs {
	struct check *k;
	uint32_t shard;
	struct kv_view *view; /* while heads are counted, until this time */
	int64_t head_until;
	uint64_t head_base;   /* the blob in front of which they stand */
	uint64_t low, high; /* the window: ids LOW .. HIGH - 1 */
	uint32_t *kept, *found; /* by id - LOW */
	uint64_t *rows; /* blobs that an account's rows name */
	size_t nrows, rows_cap;
	uint64_t *suspect; /* blobs, ascending */
	size_t nsuspects, suspects_cap;
	/* The second look: */
	const uint64_t *group; /* some of the suspects */
	size_t ngroup;
	struct counted *account; /* ascending */
	size_t naccounts, accounts_cap;
};

static int64_t
deadline(void)
{
	return shelf_mono_ms() + check_slice_ms;
}

static unsigned
patience(void)
{
	return check_impatient ? 0 : TRIES;
}

/* ---- The rows of an account ------------------------------------------------------------------------------ */

static uint64_t
hash_bytes(uint64_t h, struct shelf_span s)
{
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.data[i]) * 0x100000001b3u;
	return (h ^ s.len) * 0x100000001b3u;
}

/* The moment the view's account is at. */
static int
moment_of(struct kv_view *view, uint32_t account, uint64_t *out)
{
	static const enum kv_table tables[] = {KV_ACCT, KV_MSG, KV_GONE};
	struct shelf_span key, value;
	struct kv_scan scan;
	uint64_t stamp;
	bool coming;
	int rc = mail_carry_is_in(view, account, &coming, &stamp);

	*out = 0xcbf29ce484222325u ^ stamp;
	for (size_t i = 0; i < 3 && rc == 0; i++) {
		if ((rc = kv_scan_open(view, tables[i], shelf_span(NULL, 0), shelf_span(NULL, 0),
				       &scan)) != 0)
			return rc;
		rc = kv_scan_next(&scan, &key, &value);
		if (rc == 1) {
			*out = hash_bytes(*out, tables[i] == KV_ACCT ? value : key);
			rc = 0;
		} else {
			*out = hash_bytes(*out, shelf_span(NULL, 0));
		}
		kv_scan_close(&scan);
	}
	return rc;
}

static void
add_row(struct refs *r, enum kv_table table, struct shelf_span value)
{
	struct mail_gone g;
	int rc = table == KV_GONE ? mail_gone_decode(value, &g) : mail_msg_decode(value, &g.msg);

	if (rc != 0 || g.msg.blob < r->low || g.msg.blob >= r->high)
		return; /* what cannot be read is a finding of the account */
	if (r->nrows == r->rows_cap) {
		r->rows_cap = r->rows_cap == 0 ? 1024 : r->rows_cap * 2;
		r->rows = shelf_realloc(r->rows, r->rows_cap * sizeof(*r->rows));
	}
	r->rows[r->nrows++] = g.msg.blob;
}

/* Rows behind AT, until UNTIL. 1: there are more. */
static int
read_some(struct refs *r, struct kv_view *view, enum kv_table *table, struct mail_key *at, int64_t until)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	for (;;) {
		if (at->len > 0)
			at->bytes[at->len++] = 0;
		if ((rc = kv_scan_open(view, *table, shelf_span(NULL, 0), mail_key_span(at), &scan)) !=
		    0)
			return rc;
		while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
			add_row(r, *table, value);
			if (shelf_mono_ms() >= until) {
				at->len = key.len < sizeof(at->bytes) ? key.len : 0;
				memcpy(at->bytes, key.data, at->len);
				break;
			}
		}
		kv_scan_close(&scan);
		if (check_is_damage(rc))
			check_found(r->k, 4, "message rows cannot be read");
		else if (rc != 0)
			return rc;
		at->len = 0;
		if (*table == KV_GONE)
			return 0;
		*table = KV_GONE;
	}
}

/* All blobs of the window that the account's rows name at one moment, into r->rows. */
static int
read_account(struct refs *r, uint32_t account, uint64_t *moment_out)
{
	enum kv_table table = KV_MSG;
	struct mail_key at = {.len = 0};
	uint64_t moment = 0, now;
	bool mine = false; /* the door */
	unsigned tries = 0;
	int rc = 1;

	r->nrows = 0;
	while (rc == 1) {
		struct kv_view *view = NULL;

		if (tries > patience() && !r->k->door.used) {
			if ((rc = check_door_close(r->k, r->shard)) != 0)
				break;
			mine = true;
		}
		if ((rc = kv_view_begin_shard(r->k->store->kv, r->shard, &view)) != 0)
			break;
		kv_view_account(view, account);
		if ((rc = moment_of(view, account, &now)) == 0) {
			if (now != moment) {
				tries++;
				moment = now;
				table = KV_MSG;
				at.len = 0;
				r->nrows = 0;
			}
			rc = tries > TRIES_MAX ? SHELF_EBUSY : read_some(r, view, &table, &at, deadline());
		}
		kv_view_end(&view);
	}
	if (mine)
		check_door_open(r->k);
	*moment_out = moment;
	return rc;
}

/* The next account of the shard that has any row: 1 found. */
static int
next_account(struct kv_view *view, uint32_t after, uint32_t *out)
{
	static const enum kv_table tables[] = {KV_ACCT, KV_MSG, KV_GONE};

	return check_next_account(view, tables, 3, after, out);
}

/* ---- First look ------------------------------------------------------------------------------------------ */

static void
add_suspect(struct refs *r, uint64_t blob)
{
	if (r->nsuspects == r->suspects_cap) {
		r->suspects_cap = r->suspects_cap == 0 ? 64 : r->suspects_cap * 2;
		r->suspect = shelf_realloc(r->suspect, r->suspects_cap * sizeof(*r->suspect));
	}
	r->suspect[r->nsuspects++] = blob;
}

/* One row of BLOB, seen before the rows were counted or behind it. */
static void
look_at(struct refs *r, uint64_t blob, const struct blob_row *row, bool behind)
{
	uint64_t i = blob - r->low;

	if (!behind)
		r->kept[i] = row->refs;
	else if (row->refs != r->kept[i] || row->refs != r->found[i])
		add_suspect(r, blob);
}

/* What lies behind the head is there, and the list of heads and the row agree. */
static void
look_at_head(struct refs *r, struct kv_view *view, uint64_t blob, const struct blob_row *row)
{
	unsigned long long head = blob, behind = row->base;
	struct blob_row base;

	if (row->base == 0)
		return;
	if (blob_head_listed(view, row->base, blob) != 0)
		check_found(r->k, 4, "blob %llu: its head is not listed at blob %llu", head, behind);
	if (blob_get(view, row->base, &base) != 0)
		check_found(r->k, 4, "blob %llu: blob %llu behind its head is missing", head, behind);
	else if (base.base != 0 || base.size + row->head.len != row->size)
		check_found(r->k, 4, "blob %llu: blob %llu is not what was behind its head", head, behind);
}

/* All rows of the window; BEHIND: after the count. What came in between is left for the next check. */
static int
read_blobs(struct refs *r, bool behind)
{
	uint64_t blob = r->low;
	int rc = 1;

	while (rc == 1) {
		int64_t until = deadline();
		struct kv_view *view = NULL;
		struct shelf_span key, value;
		struct kv_scan scan;
		uint8_t from[8];

		base_put_be64(from, blob);
		if ((rc = kv_view_begin_shard(r->k->store->kv, r->shard, &view)) != 0)
			return rc;
		rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), shelf_span(from, 8), &scan);
		while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
			struct blob_row row;

			blob = key.len == 8 ? base_get_be64(key.data) : r->high;
			if (blob >= r->high) {
				rc = 0;
				break;
			}
			r->k->blobs += !behind;
			if (blob_row_decode(value, &row) == 0) {
				look_at(r, blob, &row, behind);
				if (behind)
					look_at_head(r, view, blob, &row);
			}
			else if (behind)
				check_found(r->k, 4, "blob %llu: row cannot be read",
					    (unsigned long long)blob);
			blob++;
			if (shelf_mono_ms() >= until)
				break;
			rc = 0;
		}
		kv_scan_close(&scan);
		kv_view_end(&view);
	}
	return rc;
}

/* Every account at a moment of its own. */
static int
count_accounts(struct refs *r, void (*take)(struct refs *r, uint32_t account, uint64_t moment))
{
	uint32_t account = 0;
	uint64_t moment;
	int rc;

	for (;;) {
		struct kv_view *view = NULL;

		if ((rc = kv_view_begin_shard(r->k->store->kv, r->shard, &view)) != 0)
			return rc;
		rc = next_account(view, account, &account);
		kv_view_end(&view);
		if (rc != 1)
			return rc;
		if ((rc = read_account(r, account, &moment)) != 0)
			return rc;
		take(r, account, moment);
	}
}

/* ---- Heads ----------------------------------------------------------------------------------------------- */

static int
take_head(void *arg, uint64_t base, uint64_t blob)
{
	struct refs *r = arg;
	struct shelf_span value;
	struct blob_row row;
	uint8_t key[8];
	int rc;

	if (base != r->head_base && shelf_mono_ms() >= r->head_until) {
		r->head_base = base;
		return 1;
	}
	r->head_base = base;
	r->found[base - r->low]++;
	base_put_be64(key, blob);
	rc = kv_get(r->view, KV_BLOB, shelf_span(key, sizeof(key)), &value);
	if (rc == SHELF_EMISSING || (rc == 0 && blob_row_decode(value, &row) == 0 && row.base != base))
		check_found(r->k, 4, "blob %llu: listed as a head of blob %llu and is none", (unsigned long long)blob,
			    (unsigned long long)base);
	return rc == SHELF_EMISSING || check_is_damage(rc) ? 0 : rc;
}

/* Those of the window; all of one blob in one snapshot. */
static int
count_heads(struct refs *r)
{
	int rc = 1;

	r->head_base = r->low;
	while (rc == 1) {
		r->head_until = deadline();
		if ((rc = kv_view_begin_shard(r->k->store->kv, r->shard, &r->view)) == 0)
			rc = blob_heads_each(r->view, r->head_base, r->high, take_head, r);
		kv_view_end(&r->view);
	}
	return rc;
}

static int
add_one(void *arg, uint64_t base, uint64_t blob)
{
	++*(uint32_t *)arg;
	return 0;
}

static void
take_counts(struct refs *r, uint32_t account, uint64_t moment)
{
	for (size_t i = 0; i < r->nrows; i++)
		r->found[r->rows[i] - r->low]++;
}

/* ---- Second look ----------------------------------------------------------------------------------------- */

static struct counted *
counted_of(struct refs *r, uint32_t account)
{
	size_t low = 0, high = r->naccounts;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->account[mid].account < account)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < r->naccounts && r->account[low].account == account)
		return &r->account[low];
	if (r->naccounts == r->accounts_cap) {
		r->accounts_cap = r->accounts_cap == 0 ? 64 : r->accounts_cap * 2;
		r->account = shelf_realloc(r->account, r->accounts_cap * sizeof(*r->account));
	}
	memmove(r->account + low + 1, r->account + low, (r->naccounts - low) * sizeof(*r->account));
	r->naccounts++;
	r->account[low] = (struct counted){.account = account};
	return &r->account[low];
}

static int
compare_blobs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* What r->rows names of the group becomes the account's. */
static void
take_suspects(struct refs *r, uint32_t account, uint64_t moment)
{
	struct counted *c = counted_of(r, account);
	size_t cap = 0;

	free(c->suspect);
	c->suspect = NULL;
	c->n = 0;
	c->moment = moment;
	for (size_t i = 0; i < r->nrows; i++) {
		const uint64_t *at =
		    bsearch(&r->rows[i], r->group, r->ngroup, sizeof(*r->group), compare_blobs);

		if (at == NULL)
			continue;
		if (c->n == cap) {
			cap = cap == 0 ? 8 : cap * 2;
			c->suspect = shelf_realloc(c->suspect, cap * sizeof(*c->suspect));
		}
		c->suspect[c->n++] = (uint32_t)(at - r->group);
	}
}

/* What an account names of the group. */
static void
add_suspects(struct refs *r, uint32_t account, uint32_t *counts)
{
	const struct counted *c = counted_of(r, account);

	for (size_t i = 0; i < c->n; i++)
		counts[c->suspect[i]]++;
}

static bool
is_large(struct kv_view *view)
{
	struct mail_acct a;

	return mail_acct_get(view, &a) == 0 &&
	       a.quota.used_messages + a.quota.held_messages > ACCOUNT_LARGE;
}

/* The account as it is in the view. 1: it has changed since it was counted, and there is no time for it. */
static int
count_in_view(struct refs *r, struct kv_view *view, uint32_t account, int64_t until)
{
	enum kv_table table = KV_MSG;
	struct mail_key at = {.len = 0};
	uint64_t moment;
	int rc;

	kv_view_account(view, account);
	if ((rc = moment_of(view, account, &moment)) != 0 || counted_of(r, account)->moment == moment)
		return rc;
	if (shelf_mono_ms() >= until || is_large(view))
		return 1;
	r->nrows = 0;
	if ((rc = read_some(r, view, &table, &at, INT64_MAX)) == 0)
		take_suspects(r, account, moment);
	return rc;
}

static void
compare_group(struct refs *r, struct kv_view *view, const uint32_t *counts)
{
	for (size_t i = 0; i < r->ngroup; i++) {
		unsigned long long blob = r->group[i];
		uint32_t count = counts[i];
		struct blob_row row;
		int rc = blob_heads_each(view, blob, blob + 1, add_one, &count);

		if (rc == 0)
			rc = blob_get(view, blob, &row);
		if (rc < 0 && rc != SHELF_EMISSING)
			check_found(r->k, 4, "blob %llu: its references cannot be read: %s", blob, shelf_err_text(rc));
		else if (rc == SHELF_EMISSING && count > 0)
			check_found(r->k, 4, "blob %llu: no reference kept, %u counted", blob, count);
		else if (rc == 0 && row.refs != count)
			check_found(r->k, 4, "blob %llu: %u references kept, %u counted", blob, row.refs, count);
	}
}

/* All accounts and the group's blobs in one snapshot. 1: it took too long, another one is needed. */
static int
prove_group(struct refs *r)
{
	uint32_t *counts = shelf_zalloc(r->ngroup * sizeof(*counts)), account = 0;
	int64_t until = deadline();
	struct kv_view *view = NULL;
	int rc = kv_view_begin_shard(r->k->store->kv, r->shard, &view);

	while (rc == 0 && (rc = next_account(view, account, &account)) == 1)
		if ((rc = count_in_view(r, view, account, until)) == 0)
			add_suspects(r, account, counts);
	if (rc == 0)
		compare_group(r, view, counts);
	kv_view_end(&view);
	free(counts);
	return rc;
}

/* The same in slices, while nobody writes. 1: somebody did. */
static int
prove_behind_door(struct refs *r)
{
	uint32_t *counts = shelf_zalloc(r->ngroup * sizeof(*counts));
	uint64_t commits = kv_commits_seen(r->k->store->kv, r->shard);
	struct kv_view *view = NULL;
	int rc = count_accounts(r, take_suspects);

	for (size_t i = 0; i < r->naccounts; i++)
		add_suspects(r, r->account[i].account, counts);
	if (rc == 0 && (rc = kv_view_begin_shard(r->k->store->kv, r->shard, &view)) == 0) {
		if (kv_commits_seen(r->k->store->kv, r->shard) == commits)
			compare_group(r, view, counts);
		else
			rc = 1;
	}
	kv_view_end(&view);
	free(counts);
	return rc;
}

static void
forget_accounts(struct refs *r)
{
	for (size_t i = 0; i < r->naccounts; i++)
		free(r->account[i].suspect);
	free(r->account);
	r->account = NULL;
	r->naccounts = r->accounts_cap = 0;
}

static int
look_again(struct refs *r)
{
	int rc = 1;

	for (unsigned tries = 0; rc == 1; tries++) {
		if (tries < patience()) {
			/* In slices first, so that the snapshot that compares has little left to count. */
			if ((rc = count_accounts(r, take_suspects)) == 0)
				rc = prove_group(r);
		} else if (tries < TRIES_MAX) {
			forget_accounts(r); /* one that has gone meanwhile counts nothing */
			if ((rc = check_door_close(r->k, r->shard)) == 0)
				rc = prove_behind_door(r);
			check_door_open(r->k);
		} else {
			rc = SHELF_EBUSY;
		}
	}
	forget_accounts(r);
	return rc;
}

/* ---- Windows --------------------------------------------------------------------------------------------- */

static int
check_window(struct refs *r)
{
	int rc;

	r->high = r->low > UINT64_MAX - check_refs_window ? UINT64_MAX : r->low + check_refs_window;
	r->kept = shelf_zalloc(check_refs_window * sizeof(*r->kept));
	r->found = shelf_zalloc(check_refs_window * sizeof(*r->found));
	r->nsuspects = 0;
	if ((rc = read_blobs(r, false)) == 0 && (rc = count_heads(r)) == 0 &&
	    (rc = count_accounts(r, take_counts)) == 0)
		rc = read_blobs(r, true);
	free(r->kept);
	free(r->found);
	for (size_t i = 0; i < r->nsuspects && rc == 0; i += r->ngroup) {
		r->group = r->suspect + i;
		r->ngroup = r->nsuspects - i < SUSPECTS_MAX ? r->nsuspects - i : SUSPECTS_MAX;
		rc = look_again(r);
	}
	return rc;
}

/* The first blob from r->low on begins the next window: 1 found. */
static int
next_window(struct refs *r)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	uint8_t from[8];
	int rc = kv_view_begin_shard(r->k->store->kv, r->shard, &view);

	if (rc != 0)
		return rc;
	base_put_be64(from, r->low);
	if ((rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), shelf_span(from, 8), &scan)) == 0) {
		if ((rc = kv_scan_next(&scan, &key, &value)) == 1 && key.len == 8)
			r->low = base_get_be64(key.data);
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	return rc;
}

int
check_refs(struct check *k, uint32_t shard)
{
	struct refs r = {.k = k, .shard = shard, .low = 1};
	int rc;

	while ((rc = next_window(&r)) == 1 && (rc = check_window(&r)) == 0 && r.high < UINT64_MAX)
		r.low = r.high;
	if (check_is_damage(rc)) {
		check_found(k, 4, "blob rows of partition %u cannot be read", shard);
		rc = 0;
	}
	free(r.rows);
	free(r.suspect);
	return rc;
}
