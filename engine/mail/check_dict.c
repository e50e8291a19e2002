/*
 * check_dict.c - invariant 11: dictionaries and who uses them
 *
 * Uses are counted by ranges of blob ids in slices; a range that has the sums it had when an earlier slice
 * counted it (every change of a blob changes them) is not counted again. The slice that leaves none out tells.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail_check.h"

static int
place_of(const struct blob_dicts *s, uint32_t id)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->list[i].id == id)
			return (int)i;
	return -1;
}

/* ---- Uses, in slices ------------------------------------------------------------------------------- */

struct range_uses {
	uint64_t range;
	struct blob_sums sums; /* when it was counted */
	uint64_t uses[BLOB_DICTS_MAX];
	uint64_t blob;	 /* the last one whose dictionary is not there: */
	uint32_t missing; /* 0: all are */
};

enum {
	SLICES_MAX = 32,  /* beyond one for each range, before writers have to wait */
	SLICES_DOOR = 64, /* and before this is given up */
};

struct counting {
	struct check *k;
	struct blob_dicts dicts;
	struct range_uses *range; /* ascending */
	size_t n, cap;
	uint64_t uses[BLOB_DICTS_MAX];
};

static int
count_range(struct counting *c, struct kv_view *view, struct range_uses *r)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	uint8_t from[8];
	int rc;

	memset(r->uses, 0, sizeof(r->uses));
	base_put_be64(from, r->range << BLOB_RANGE_SHIFT);
	rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), shelf_span(from, 8), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		struct blob_row row;

		if (key.len != 8 || blob_row_decode(value, &row) != 0)
			continue; /* found by others */
		if (base_get_be64(key.data) >> BLOB_RANGE_SHIFT != r->range)
			break;
		for (unsigned i = 0; i < BLOB_KINDS; i++) {
			uint32_t id = i == BLOB_BODY ? row.dict : row.derived_dict;
			int at = place_of(&c->dicts, id);

			if (at >= 0) {
				r->uses[at]++;
			} else if (id != 0) {
				r->missing = id;
				r->blob = base_get_be64(key.data);
			}
		}
	}
	kv_scan_close(&scan);
	return rc < 0 ? rc : 0;
}

/* The I-th range, counted now unless it is as it was. 1: time is up. */
static int
use_range(struct counting *c, struct kv_view *view, size_t i, uint64_t range, int64_t until, bool *moved)
{
	struct range_uses fresh = {.range = range};
	int rc = blob_sums_range(view, range, &fresh.sums);

	if (rc != 0)
		return rc;
	if (i == c->n || c->range[i].range != range ||
	    memcmp(&c->range[i].sums, &fresh.sums, sizeof(fresh.sums)) != 0) {
		if (*moved && shelf_mono_ms() >= until)
			return 1;
		*moved = true;
		if ((rc = count_range(c, view, &fresh)) != 0)
			return rc;
		if (i == c->cap) {
			c->cap = c->cap == 0 ? 16 : c->cap * 2;
			c->range = shelf_realloc(c->range, c->cap * sizeof(*c->range));
		}
		c->range[i] = fresh;
		c->n = i == c->n ? i + 1 : c->n;
	}
	for (unsigned d = 0; d < BLOB_DICTS_MAX; d++)
		c->uses[d] += c->range[i].uses[d];
	return 0;
}

static bool
same_dicts(const struct blob_dicts *a, const struct blob_dicts *b)
{
	bool same = a->count == b->count;

	for (uint32_t d = 0; same && d < a->count; d++)
		same = a->list[d].id == b->list[d].id;
	return same;
}

/* All ranges are counted as they are in the snapshot that dicts is of. */
static void
tell_uses(const struct counting *c, size_t ranges)
{
	for (uint32_t i = 0; i < c->dicts.count; i++)
		if (c->uses[i] != c->dicts.list[i].uses)
			check_found(c->k, 11, "dictionary %u: %llu uses kept, %llu counted", c->dicts.list[i].id,
				    (unsigned long long)c->dicts.list[i].uses, (unsigned long long)c->uses[i]);
	for (size_t i = 0; i < ranges; i++)
		if (c->range[i].missing != 0)
			check_found(c->k, 11, "blob %llu: its dictionary %u is not there",
				    (unsigned long long)c->range[i].blob, c->range[i].missing);
}

/* One slice over all ranges. 1: another one is needed. */
static int
count_slice(struct counting *c, struct kv_view *view)
{
	int64_t until = shelf_mono_ms() + check_slice_ms;
	struct blob_dicts now;
	uint64_t range = 0;
	bool moved = false;
	size_t i = 0;
	int rc = blob_dicts_get(view, &now);

	if (rc != 0)
		return rc;
	/* One came or went: places have moved. */
	if (!same_dicts(&now, &c->dicts))
		c->n = 0;
	c->dicts = now;
	memset(c->uses, 0, sizeof(c->uses));
	while ((rc = blob_sums_next(view, range, &range)) == 1)
		if ((rc = use_range(c, view, i++, range++, until, &moved)) != 0)
			return rc;
	if (rc == 0)
		tell_uses(c, i);
	return rc;
}

static int
check_uses(struct check *k, uint32_t shard)
{
	struct counting c = {.k = k};
	size_t slices = 0;
	int rc = 1;

	while (rc == 1) {
		struct kv_view *view = NULL;
		size_t extra = slices++ > c.n ? slices - c.n : 0;

		if (extra > SLICES_MAX + SLICES_DOOR) {
			rc = SHELF_EBUSY;
			break;
		}
		if ((extra > SLICES_MAX || check_impatient) && !k->door.used && (rc = check_door_close(k, shard)) != 0)
			break;
		if ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) != 0)
			break;
		rc = count_slice(&c, view);
		kv_view_end(&view);
	}
	check_door_open(k);
	free(c.range);
	return rc;
}

/* ---- What there is --------------------------------------------------------------------------------- */

/* Pieces of dictionaries that nothing knows of. */
static int
check_pieces(struct check *k, struct kv_view *view, const struct blob_dicts *s)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_DICT, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		if (key.len != 8 || place_of(s, base_get_be32(key.data)) < 0)
			check_found(k, 11, "a row of a dictionary that is not there");
	kv_scan_close(&scan);
	return rc;
}

static int
check_list(struct check *k, struct kv_view *view)
{
	struct shelf_buf bytes = {0};
	struct blob_dicts s;
	int rc = blob_dicts_get(view, &s);

	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < s.count; i++) {
		shelf_buf_clear(&bytes);
		if ((rc = blob_dict_bytes(view, s.list[i].id, &bytes)) != 0)
			check_found(k, 11, "dictionary %u cannot be read: %s", s.list[i].id,
				    shelf_err_text(rc));
	}
	shelf_buf_free(&bytes);
	return check_pieces(k, view, &s);
}

int
check_dicts(struct check *k, uint32_t shard)
{
	struct kv_view *view = NULL;
	int rc = check_uses(k, shard);

	if (rc == 0)
		rc = kv_view_begin_shard(k->store->kv, shard, &view);
	if (rc == 0)
		rc = check_list(k, view);
	kv_view_end(&view);
	if (!check_is_damage(rc))
		return rc;
	check_found(k, 11, "partition %u: dictionaries cannot be read", shard);
	return 0;
}
