/*
 * blob_sums.c - what the blobs of a shard take, in rows that are always right
 *
 * A row for every 65,536 blob ids, so that one of them can be proved in a short snapshot, and the whole is
 * the sum of a few. META "blobs" and the range (blob >> 16, u64 big-endian); numbers little-endian:
 *   OFFSET SIZE MEANING
 *   0      1    format, 1
 *   1      8    blobs with references
 *   9      8    of these: message bytes
 *   17     8    of these: bytes stored
 *   25     8    of these: references
 *   33     8    of these: bytes stored, once for each reference
 *   41     8    rows without references
 *   49     8    bytes stored that wait for removal (JOB B)
 *   57     8    bytes stored ahead of a first reference (JOB S)
 *
 * What must stay true
 *   - A BLOB row is written and removed only by blob_row_put() and blob_row_del(), which move the difference of
 *     what it was and what it is. Recompression therefore needs nothing but the new row.
 *   - A job about a blob is made and ended only here, with the bytes it stands for in its value.
 *   - Rows that do not say the bytes of their derived data (an older release) are not in the sums. They come
 *     in when they are written anew, and never leave: the sums are exact over what they cover at every moment.
 *   - A range of which nothing is left has no row.
 * Mail is worth more than its sums: arithmetic is modulo 2^64, and a row that cannot be read counts as zeros
 * when it changes. Nothing is refused for it, and check finds it.
 */
#include <mailshelf/mem.h>

#include "blob_internal.h"

enum { FORMAT = 1, NAME_BYTES = 5, KEY_BYTES = NAME_BYTES + 8 };

static const char sums_name[] = "blobs";

static struct shelf_span
key_of(uint64_t range, uint8_t *bytes)
{
	memcpy(bytes, sums_name, NAME_BYTES);
	base_put_be64(bytes + NAME_BYTES, range);
	return shelf_span(bytes, KEY_BYTES);
}

static int
decode(struct shelf_span value, struct blob_sums *s)
{
	struct base_reader r = base_reader(value);

	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	s->blobs = base_get_le(&r, 8);
	s->size = base_get_le(&r, 8);
	s->bytes = base_get_le(&r, 8);
	s->refs = base_get_le(&r, 8);
	s->gross = base_get_le(&r, 8);
	s->unused = base_get_le(&r, 8);
	s->waiting = base_get_le(&r, 8);
	s->staged = base_get_le(&r, 8);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

int
blob_sums_range(struct kv_view *view, uint64_t range, struct blob_sums *s)
{
	uint8_t key[KEY_BYTES];
	struct shelf_span value;
	int rc = kv_get(view, KV_META, key_of(range, key), &value);

	*s = (struct blob_sums){0};
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	return decode(value, s);
}

/* For a change. */
static int
get(struct kv_txn *txn, uint64_t blob, struct blob_sums *s)
{
	int rc = blob_sums_range(kv_txn_view(txn), blob >> BLOB_RANGE_SHIFT, s);

	if (rc != SHELF_ECORRUPT)
		return rc;
	*s = (struct blob_sums){0};
	return 0;
}

static void
add(struct blob_sums *sum, const struct blob_sums *more)
{
	sum->blobs += more->blobs;
	sum->size += more->size;
	sum->bytes += more->bytes;
	sum->refs += more->refs;
	sum->gross += more->gross;
	sum->unused += more->unused;
	sum->waiting += more->waiting;
	sum->staged += more->staged;
}

int
blob_sums_get(struct kv_view *view, struct blob_sums *sum)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct blob_sums s;
	int rc = kv_scan_open(view, KV_META, shelf_span(sums_name, NAME_BYTES), shelf_span(NULL, 0),
			      &scan);

	*sum = (struct blob_sums){0};
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = decode(value, &s)) != 0)
			break;
		add(sum, &s);
	}
	kv_scan_close(&scan);
	return rc;
}

static int
put(struct kv_txn *txn, uint64_t range, const struct blob_sums *s)
{
	static const struct blob_sums nothing;
	uint8_t key[KEY_BYTES];
	struct shelf_buf value = {0};
	int rc;

	if (memcmp(s, &nothing, sizeof(nothing)) == 0) {
		rc = kv_del(txn, KV_META, key_of(range, key));
		return rc == SHELF_EMISSING ? 0 : rc;
	}
	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, s->blobs, 8);
	base_add_le(&value, s->size, 8);
	base_add_le(&value, s->bytes, 8);
	base_add_le(&value, s->refs, 8);
	base_add_le(&value, s->gross, 8);
	base_add_le(&value, s->unused, 8);
	base_add_le(&value, s->waiting, 8);
	base_add_le(&value, s->staged, 8);
	rc = kv_put(txn, KV_META, key_of(range, key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

/* ---- Rows ------------------------------------------------------------------------------------------ */

uint64_t
blob_row_bytes(const struct blob_row *row)
{
	return row->stored + row->derived;
}

/* SIGN 1 or -1 */
static void
count_row(struct blob_sums *s, const struct blob_row *row, uint64_t sign)
{
	if (row == NULL || row->derived == 0)
		return;
	if (row->refs == 0) {
		s->unused += sign;
		return;
	}
	s->blobs += sign;
	s->size += sign * row->size;
	s->bytes += sign * blob_row_bytes(row);
	s->refs += sign * row->refs;
	s->gross += sign * row->refs * blob_row_bytes(row);
}

int
blob_sums_change(struct kv_txn *txn, uint64_t blob, const struct blob_row *was,
		 const struct blob_row *is)
{
	struct blob_sums s, before;
	int rc = get(txn, blob, &s);

	if (rc != 0)
		return rc;
	before = s;
	count_row(&s, was, UINT64_MAX);
	count_row(&s, is, 1);
	if (memcmp(&s, &before, sizeof(s)) == 0)
		return 0;
	return put(txn, blob >> BLOB_RANGE_SHIFT, &s);
}

/* ---- Jobs ------------------------------------------------------------------------------------------- */

struct blob_key
blob_job_key(uint8_t kind, uint64_t blob)
{
	struct blob_key k = {.len = 1 + BLOB_KEY_BYTES};

	k.bytes[0] = kind;
	base_put_be64(k.bytes + 1, blob);
	return k;
}

/* Bytes a job stands for: the last number of its value. Jobs of an older release have none. */
static uint64_t
job_bytes(uint8_t kind, struct shelf_span value)
{
	size_t len = kind == BLOB_JOB_STAGED ? 16 : 8;

	return value.len == len ? base_get_be64(value.data + len - 8) : 0;
}

static void
count_job(struct blob_sums *s, uint8_t kind, uint64_t bytes)
{
	*(kind == BLOB_JOB_STAGED ? &s->staged : &s->waiting) += bytes;
}

static int
add_jobs(struct kv_view *view, uint8_t kind, uint64_t range, struct blob_sums *s)
{
	struct blob_key from = blob_job_key(kind, range << BLOB_RANGE_SHIFT);
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_JOB, shelf_span(&kind, 1), blob_key_span(&from), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len != 1 + BLOB_KEY_BYTES)
			continue;
		if (base_get_be64(key.data + 1) >> BLOB_RANGE_SHIFT != range)
			break;
		count_job(s, kind, job_bytes(kind, value));
	}
	kv_scan_close(&scan);
	return rc < 0 ? rc : 0;
}

/* The lowest range from FROM on of the keys of TABLE that begin with PREFIX, whose id stands behind that. */
static int
next_range(struct kv_view *view, enum kv_table table, struct shelf_span prefix, uint64_t from,
	   uint64_t *lowest)
{
	uint8_t at[KEY_BYTES];
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	memcpy(at, prefix.data, prefix.len);
	base_put_be64(at + prefix.len, table == KV_META ? from : from << BLOB_RANGE_SHIFT);
	rc = kv_scan_open(view, table, prefix, shelf_span(at, prefix.len + 8), &scan);
	if (rc != 0)
		return rc;
	rc = kv_scan_next(&scan, &key, &value);
	if (rc == 1 && key.len == prefix.len + 8) {
		uint64_t id = base_get_be64(key.data + prefix.len);

		id = table == KV_META ? id : id >> BLOB_RANGE_SHIFT;
		*lowest = id < *lowest ? id : *lowest;
	}
	kv_scan_close(&scan);
	return rc < 0 ? rc : 0;
}

int
blob_sums_next(struct kv_view *view, uint64_t from, uint64_t *range_out)
{
	static const uint8_t kinds[] = {BLOB_JOB_REMOVE, BLOB_JOB_STAGED};
	uint64_t lowest = UINT64_MAX;
	int rc;

	if (from > UINT64_MAX >> BLOB_RANGE_SHIFT)
		return 0;
	if ((rc = next_range(view, KV_META, shelf_span(sums_name, NAME_BYTES), from, &lowest)) != 0 ||
	    (rc = next_range(view, KV_BLOB, shelf_span(sums_name, 0), from, &lowest)) != 0 ||
	    (rc = next_range(view, KV_JOB, shelf_span(&kinds[0], 1), from, &lowest)) != 0 ||
	    (rc = next_range(view, KV_JOB, shelf_span(&kinds[1], 1), from, &lowest)) != 0)
		return rc;
	*range_out = lowest;
	return lowest != UINT64_MAX;
}

int
blob_sums_recount(struct kv_view *view, uint64_t range, struct blob_sums *s)
{
	struct blob_key from = blob_key(range << BLOB_RANGE_SHIFT);
	struct shelf_span key, value;
	struct kv_scan scan;
	struct blob_row row;
	int rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), blob_key_span(&from), &scan);

	*s = (struct blob_sums){0};
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len == BLOB_KEY_BYTES && base_get_be64(key.data) >> BLOB_RANGE_SHIFT != range)
			break;
		if (key.len == BLOB_KEY_BYTES && blob_row_decode(value, &row) == 0)
			count_row(s, &row, 1);
	}
	kv_scan_close(&scan);
	if (rc < 0 || (rc = add_jobs(view, BLOB_JOB_STAGED, range, s)) != 0)
		return rc;
	return add_jobs(view, BLOB_JOB_REMOVE, range, s);
}

int
blob_job_begin(struct kv_txn *txn, uint8_t kind, uint64_t blob, uint64_t bytes)
{
	struct blob_key key = blob_job_key(kind, blob);
	uint8_t value[16];
	size_t at = 0;
	struct blob_sums s;
	int rc = get(txn, blob, &s);

	if (rc != 0)
		return rc;
	if (kind == BLOB_JOB_STAGED) {
		base_put_be64(value, (uint64_t)shelf_now_s());
		at = 8;
	}
	base_put_be64(value + at, bytes);
	count_job(&s, kind, bytes);
	if ((rc = kv_put(txn, KV_JOB, blob_key_span(&key), shelf_span(value, at + 8))) != 0)
		return rc;
	return put(txn, blob >> BLOB_RANGE_SHIFT, &s);
}

int
blob_job_end(struct kv_txn *txn, uint8_t kind, uint64_t blob, uint64_t *bytes_out)
{
	struct blob_key key = blob_job_key(kind, blob);
	struct shelf_span value;
	struct blob_sums s;
	int rc = kv_get(kv_txn_view(txn), KV_JOB, blob_key_span(&key), &value);

	if (rc != 0)
		return rc;
	*bytes_out = job_bytes(kind, value);
	if ((rc = get(txn, blob, &s)) != 0 ||
	    (rc = kv_del(txn, KV_JOB, blob_key_span(&key))) != 0)
		return rc;
	count_job(&s, kind, -*bytes_out);
	return put(txn, blob >> BLOB_RANGE_SHIFT, &s);
}

int
blob_give_up_staged(struct kv_txn *txn, uint64_t blob)
{
	uint64_t bytes;
	int rc = blob_job_end(txn, BLOB_JOB_STAGED, blob, &bytes);

	return rc != 0 ? rc : blob_job_begin(txn, BLOB_JOB_REMOVE, blob, bytes);
}
