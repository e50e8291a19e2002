/*
 * kv_place.c - which account lives in which shard
 *
 * The catalog's PLACE table says where to begin looking: account (big-endian) -> format byte 1, shard (4 bytes,
 * little-endian). A shard that an account has left says so itself, and where it went (kv_leave.c); so what was
 * read once is kept for ever: a byte per account in pages of 65,536, shard + 1, 0 for not known. Only
 * what is not known is looked up, because another process may have placed it.
 *
 * GLOBAL "placed" counts the accounts of each shard (4 bytes little-endian each), in the same
 * transaction as the rows it counts.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <mailshelf/mem.h>
#include "base.h"
#include "kv_internal.h"

enum { PAGE_ACCOUNTS = 1 << 16, PAGES = 1 << 16, SLICE = 200, FORMAT = 1 };

struct page {
	_Atomic uint8_t shard[PAGE_ACCOUNTS];
};

struct kv_places {
	struct page *_Atomic page[PAGES];
};

struct kv_places *
kv_places_new(void)
{
	return SHELF_NEW(struct kv_places);
}

void
kv_places_free(struct kv_places **places)
{
	if (*places == NULL)
		return;
	for (size_t i = 0; i < PAGES; i++)
		free(atomic_load(&(*places)->page[i]));
	free(*places);
	*places = NULL;
}

static void
remember(struct kv_places *places, uint32_t account, uint32_t shard)
{
	struct page *_Atomic *slot = &places->page[account / PAGE_ACCOUNTS];
	struct page *page = atomic_load(slot), *mine;

	if (page == NULL) {
		mine = SHELF_NEW(struct page);
		if (atomic_compare_exchange_strong(slot, &page, mine))
			page = mine;
		else
			free(mine);
	}
	atomic_store(&page->shard[account % PAGE_ACCOUNTS], (uint8_t)(shard + 1));
}

static bool
recall(struct kv_places *places, uint32_t account, uint32_t *shard_out)
{
	struct page *page = atomic_load(&places->page[account / PAGE_ACCOUNTS]);
	uint8_t known = page == NULL ? 0 : atomic_load(&page->shard[account % PAGE_ACCOUNTS]);

	*shard_out = known - 1U;
	return known != 0;
}

/* 0, SHELF_EMISSING, SHELF_EVERSION, SHELF_ECORRUPT. */
static int
read_place(struct kv_view *view, uint32_t account, uint32_t *shard_out)
{
	uint8_t key[4];
	struct shelf_span value;
	struct base_reader r;
	int rc;

	base_put_be32(key, account);
	rc = kv_get(view, KV_PLACE, shelf_span(key, sizeof key), &value);
	if (rc != 0)
		return rc;
	r = base_reader(value);
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	*shard_out = (uint32_t)base_get_le(&r, 4);
	return r.bad || base_left(&r) != 0 || *shard_out >= KV_SHARDS_MAX ? SHELF_ECORRUPT : 0;
}

int
kv_place_known(struct kv_db *db, uint32_t account, uint32_t *shard_out)
{
	struct kv_view *view;
	int rc;

	if (account != KV_CATALOG && recall(db->places, account, shard_out))
		return 0;
	*shard_out = 0;
	if (account == KV_CATALOG)
		return SHELF_ENOACCOUNT;
	rc = kv_view_begin(db, KV_CATALOG, &view);
	if (rc != 0)
		return rc;
	rc = read_place(view, account, shard_out);
	kv_view_end(&view);
	if (rc == 0 && *shard_out >= db->shards)
		rc = kv_refresh(db); /* another process has added it */
	if (rc == 0 && *shard_out >= db->shards)
		rc = SHELF_ECORRUPT;
	if (rc == 0)
		remember(db->places, account, *shard_out);
	return rc == SHELF_EMISSING ? SHELF_ENOACCOUNT : rc;
}

void
kv_place_remember(struct kv_db *db, uint32_t account, uint32_t shard)
{
	remember(db->places, account, shard);
}

int
kv_shard_of(struct kv_db *db, uint32_t account, uint32_t *shard_out)
{
	struct kv_view *view;
	int rc = account == KV_CATALOG ? SHELF_ENOACCOUNT : kv_view_begin(db, account, &view);

	*shard_out = 0;
	if (rc != 0)
		return rc;
	*shard_out = view->env->shard;
	kv_view_end(&view);
	return 0;
}

/* ---- Placing -------------------------------------------------------------------------------------- */

struct placing {
	struct kv_db *db;
	uint32_t first, count;
	struct kv_place_option option[KV_SHARDS_MAX]; /* but for the accounts, which are counted in the catalog */
	uint32_t options;
	uint32_t shard[SLICE]; /* where each of them lives now */
};

static int
read_counts(struct kv_view *view, uint32_t *counts)
{
	struct shelf_span value;
	struct base_reader r;
	int rc = kv_get(view, KV_GLOBAL, shelf_span_str("placed"), &value);

	memset(counts, 0, KV_SHARDS_MAX * sizeof *counts);
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	r = base_reader(value);
	for (uint32_t i = 0; i < KV_SHARDS_MAX && base_left(&r) > 0; i++)
		counts[i] = (uint32_t)base_get_le(&r, 4);
	return r.bad ? SHELF_ECORRUPT : 0;
}

static int
write_counts(struct kv_txn *txn, const struct kv_db *db, const uint32_t *counts)
{
	struct shelf_buf value = {0};
	uint32_t end = db->shards;
	int rc;

	for (uint32_t i = end; i < KV_SHARDS_MAX; i++) /* of shards that another process has added */
		if (counts[i] != 0)
			end = i + 1;
	for (uint32_t i = 0; i < end; i++)
		base_add_le(&value, counts[i], 4);
	rc = kv_put(txn, KV_GLOBAL, shelf_span_str("placed"), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

/* Room that mail can take: neither the map is full nor the disk. */
static bool
is_full(struct kv_env *env, struct kv_file *file, const struct kv_lmdb_info *info, uint64_t disk_free_bytes)
{
	uint64_t all = env->map_bytes / file->page_bytes, keep = kv_room_keep_pages(file);
	uint64_t left = all > info->pages ? all - info->pages : 0, usable, unused = 0;

	if (atomic_load_explicit(&env->full, memory_order_relaxed) || disk_free_bytes < 2 * env->reserve_bytes)
		return true;
	if (left > keep)
		return false;
	return kv_lmdb_free_pages(file, &usable, &unused) != 0 || left + unused <= keep;
}

/* Looked at before the update: a closure does not ask disks. */
static void
look_at(struct kv_env *env, struct kv_place_option *out)
{
	struct kv_file *file = kv_file_take(env);
	struct kv_lmdb_info info;
	struct statvfs fs;
	struct stat st;

	*out = (struct kv_place_option){0};
	if (stat(env->home, &st) == 0 && statvfs(env->home, &fs) == 0) {
		out->device = st.st_dev;
		out->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	}
	kv_lmdb_info(file, &info);
	out->pages = info.pages;
	out->full = is_full(env, file, &info, out->free_bytes);
	kv_file_release(file);
}

/* Free bytes of the disk for each account placed on it, and the one to come. */
static double
headroom(const struct kv_place_option *options, uint32_t count, uint32_t i)
{
	uint64_t accounts = 1;

	for (uint32_t k = 0; k < count; k++)
		if (options[k].device == options[i].device)
			accounts += options[k].accounts;
	return (double)options[i].free_bytes / (double)accounts;
}

/*
 * Not the full ones; the disk with most room for each account; there the one with the fewest accounts, then the
 * smallest file. Free space alone would send every account of a long list to one disk, as they are all empty
 * at first; room for each account fills disks in proportion.
 */
uint32_t
kv_place_best(const struct kv_place_option *options, uint32_t count)
{
	double room, best_room = 0;
	uint32_t best = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct kv_place_option *o = &options[i], *b = &options[best];
		bool better;

		room = headroom(options, count, i);
		if (o->full != b->full)
			better = b->full;
		else if (o->device != b->device)
			better = room > best_room;
		else
			better = o->accounts < b->accounts ||
			    (o->accounts == b->accounts && o->pages < b->pages);
		if (i == 0 || better) {
			best = i;
			best_room = room;
		}
	}
	return best;
}

static uint32_t
choose(struct placing *p, const uint32_t *counts)
{
	for (uint32_t i = 0; i < p->options; i++)
		p->option[i].accounts = counts[i];
	return kv_place_best(p->option, p->options);
}

static int
put_place(struct kv_txn *txn, uint32_t account, uint32_t shard)
{
	uint8_t key[4], value[5] = {FORMAT};

	base_put_be32(key, account);
	value[1] = (uint8_t)shard; /* KV_SHARDS_MAX is far below 256 */
	return kv_put(txn, KV_PLACE, shelf_span(key, sizeof key), shelf_span(value, sizeof value));
}

int
kv_place_put(struct kv_txn *txn, uint32_t account, uint32_t shard)
{
	uint32_t counts[KV_SHARDS_MAX], was;
	int rc = read_place(kv_txn_view(txn), account, &was);

	if (rc != 0 || was == shard)
		return rc;
	rc = read_counts(kv_txn_view(txn), counts);
	if (rc != 0)
		return rc;
	counts[was] -= counts[was] > 0;
	counts[shard]++;
	rc = put_place(txn, account, shard);
	return rc != 0 ? rc : write_counts(txn, txn->env->db, counts);
}

static int
place_slice(struct kv_txn *txn, void *arg)
{
	struct placing *p = arg;
	uint32_t counts[KV_SHARDS_MAX];
	int rc = read_counts(kv_txn_view(txn), counts);

	for (uint32_t i = 0; rc == 0 && i < p->count; i++) {
		rc = read_place(kv_txn_view(txn), p->first + i, &p->shard[i]);
		if (rc != SHELF_EMISSING)
			continue;
		p->shard[i] = choose(p, counts);
		counts[p->shard[i]]++;
		rc = put_place(txn, p->first + i, p->shard[i]);
	}
	if (rc == 0 && kv_txn_writes(txn) > 0)
		rc = write_counts(txn, p->db, counts);
	return rc;
}

static int
look_at_all(struct kv_db *db, struct placing *p)
{
	int rc = kv_refresh(db);

	*p = (struct placing){.db = db, .options = db->shards};
	for (uint32_t i = 0; i < p->options; i++)
		look_at(&db->shard[i], &p->option[i]);
	return rc;
}

int
kv_place_beside(struct kv_db *db, uint32_t shard, uint32_t *shard_out)
{
	uint32_t counts[KV_SHARDS_MAX];
	struct kv_view *view;
	struct placing p;
	int rc = look_at_all(db, &p);

	*shard_out = 0;
	if (rc == 0)
		rc = kv_view_begin(db, KV_CATALOG, &view);
	if (rc != 0)
		return rc;
	rc = read_counts(view, counts);
	kv_view_end(&view);
	if (shard < p.options)
		p.option[shard].full = true;
	if (rc == 0)
		*shard_out = choose(&p, counts);
	return rc == 0 && p.option[*shard_out].full ? SHELF_EFULL : rc;
}

int
kv_place(struct kv_db *db, uint32_t first, uint32_t count)
{
	struct placing p;
	int rc = 0;

	if (first == KV_CATALOG || (count > 0 && count - 1 > UINT32_MAX - first))
		return SHELF_EINVALID;
	rc = look_at_all(db, &p);
	for (uint32_t done = 0; rc == 0 && done < count; done += p.count) {
		p.first = first + done;
		p.count = count - done < SLICE ? count - done : SLICE;
		rc = kv_update(db, KV_CATALOG, KV_ADDS, place_slice, &p);
		for (uint32_t i = 0; rc == 0 && i < p.count; i++)
			if (p.shard[i] < db->shards)
				remember(db->places, p.first + i, p.shard[i]);
	}
	return rc;
}
