/*
 * history.c - a look a day at what a partition takes, kept for two years
 *
 * META "day" and the day (days since 1970, u32 big-endian); numbers little-endian:
 *   OFFSET SIZE MEANING
 *   0      1    format, 1
 *   1      8    when it was looked, seconds since 1970
 *   9      8*10 the totals of the partition, as in DOMAIN
 *   89     8    bytes stored, each body once
 *   97     8    bytes stored, once for each reference
 *   105    8    bytes that wait for removal
 *   113    8, 8 the file: bytes, of these free
 *
 * The first look of a day counts; a day on which nobody served the store has none. Rows are a record, nothing
 * follows from them.
 */
#include "mail.h"

enum { FORMAT = 1, DAY_S = 24 * 3600, NAME_BYTES = 3, KEY_BYTES = NAME_BYTES + 4, KEPT_DAYS = 731, FORGET_MAX = 50 };

static const char name[] = "day";

static struct shelf_span
key_of(uint32_t day, uint8_t *bytes)
{
	memcpy(bytes, name, NAME_BYTES);
	base_put_be32(bytes + NAME_BYTES, day);
	return shelf_span(bytes, KEY_BYTES);
}

static int
decode(struct shelf_span value, struct shelf_history *h)
{
	struct base_reader r = base_reader(value);

	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	h->taken_s = (int64_t)base_get_le(&r, 8);
#define SHELF_TOTAL(name, bytes, text) h->totals.name = base_get_le(&r, 8);
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
	h->physical_bytes = base_get_le(&r, 8);
	h->gross_bytes = base_get_le(&r, 8);
	h->waiting_bytes = base_get_le(&r, 8);
	h->file_bytes = base_get_le(&r, 8);
	h->free_bytes = base_get_le(&r, 8);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

/* ---- Noting ------------------------------------------------------------------------------------------- */

struct note {
	uint32_t day;
	struct shelf_history h; /* taken_s and the file; the closure fills in the rest */
};

/* The first day that is kept, into *DAY: 1 found. */
static int
oldest(struct kv_view *view, uint32_t *day)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_META, shelf_span(name, NAME_BYTES), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len == KEY_BYTES)
			*day = base_get_be32(key.data + NAME_BYTES);
		else
			rc = SHELF_ECORRUPT;
	}
	kv_scan_close(&scan);
	return rc;
}

static int
forget(struct kv_txn *txn, uint32_t today)
{
	uint8_t bytes[KEY_BYTES];
	uint32_t day = 0;
	int rc = 0;

	for (unsigned n = 0; n < FORGET_MAX; n++) {
		if ((rc = oldest(kv_txn_view(txn), &day)) != 1 || (uint64_t)day + KEPT_DAYS > today)
			return rc < 0 ? rc : 0;
		if ((rc = kv_del(txn, KV_META, key_of(day, bytes))) != 0)
			return rc;
	}
	return 0;
}

static int
note(struct kv_txn *txn, void *arg)
{
	struct note *n = arg;
	struct shelf_buf b = {0};
	struct blob_sums sums;
	uint8_t bytes[KEY_BYTES];
	int rc;

	if ((rc = mail_totals_get(kv_txn_view(txn), NULL, &n->h.totals)) != 0 ||
	    (rc = blob_sums_get(kv_txn_view(txn), &sums)) != 0 || (rc = forget(txn, n->day)) != 0)
		return rc;
	base_add_le(&b, FORMAT, 1);
	base_add_le(&b, (uint64_t)n->h.taken_s, 8);
#define SHELF_TOTAL(name, bytes, text) base_add_le(&b, n->h.totals.name, 8);
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
	base_add_le(&b, sums.bytes, 8);
	base_add_le(&b, sums.gross, 8);
	base_add_le(&b, sums.waiting, 8);
	base_add_le(&b, n->h.file_bytes, 8);
	base_add_le(&b, n->h.free_bytes, 8);
	rc = kv_put(txn, KV_META, key_of(n->day, bytes), shelf_buf_span(&b));
	shelf_buf_free(&b);
	return rc;
}

static int
note_partition(struct shelf_store *store, uint32_t shard, struct note *n)
{
	struct kv_view *view = NULL;
	struct shelf_span value;
	struct kv_stats kv;
	uint8_t bytes[KEY_BYTES];
	int rc;

	if ((rc = kv_view_begin_shard(store->kv, shard, &view)) != 0)
		return rc;
	rc = kv_get(view, KV_META, key_of(n->day, bytes), &value);
	kv_view_end(&view);
	if (rc != SHELF_EMISSING || (rc = kv_stats(store->kv, shard, &kv)) != 0)
		return rc;
	n->h.file_bytes = kv.file_bytes;
	n->h.free_bytes = kv.free_bytes;
	rc = kv_update_shard(store->kv, shard, KV_ADDS | KV_QUIET, note, n);
	return rc == SHELF_EFULL ? 0 : rc; /* room is for mail */
}

int
shelf_stats_note(struct shelf_store *store, int64_t now_s)
{
	struct note n = {.day = (uint32_t)(now_s / DAY_S), .h.taken_s = now_s};
	int rc = 0;

	for (uint32_t shard = 0; shard < kv_shards(store->kv) && rc == 0; shard++)
		rc = note_partition(store, shard, &n);
	return rc;
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

enum { READ_ROWS = 64 };

/* Rows from *FROM on, which moves behind them; handed out without a snapshot. */
static int
read_some(struct shelf_store *store, uint32_t partition, uint32_t *from, struct shelf_history *rows,
	  size_t *n)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	uint8_t bytes[KEY_BYTES];
	int rc = kv_view_begin_shard(store->kv, partition, &view);

	*n = 0;
	if (rc != 0)
		return rc;
	rc = kv_scan_open(view, KV_META, shelf_span(name, NAME_BYTES), key_of(*from, bytes), &scan);
	while (rc == 0 && *n < READ_ROWS && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		rc = key.len == KEY_BYTES ? decode(value, &rows[*n]) : SHELF_ECORRUPT;
		if (rc == 0) {
			*from = base_get_be32(key.data + NAME_BYTES);
			rows[(*n)++].day_s = (int64_t)*from * DAY_S;
			(*from)++;
		}
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}

int
shelf_stats_history(struct shelf_store *store, uint32_t partition, shelf_history_fn *fn, void *arg)
{
	struct shelf_history rows[READ_ROWS];
	uint32_t from = 0;
	size_t n;
	int rc;

	if (partition >= kv_shards(store->kv))
		return SHELF_EINVALID;
	do {
		rc = read_some(store, partition, &from, rows, &n);
		for (size_t i = 0; i < n && rc == 0; i++)
			rc = fn(arg, &rows[i]);
	} while (rc == 0 && n == READ_ROWS);
	return rc;
}
