/*
 * check_dict.c - invariant 11: dictionaries and who uses them
 *
 * Uses are counted by ranges of blob ids in slices; a range that has the sums it had when an earlier slice
 * counted it (every change of a blob changes them) is not counted again. Where that does not come out even,
 * the shard is walked in one snapshot, some millions of rows a second, and that one tells.
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

/* ---- In slices ------------------------------------------------------------------------------------- */

struct range_uses {
	uint64_t range;
	struct blob_sums sums; /* when it was counted */
	uint64_t uses[BLOB_DICTS_MAX];
};

enum { SLICES_MAX = 32 }; /* beyond one for each range, before writers are not waited for any more */

struct counting {
	struct blob_dicts dicts;
	struct range_uses *range; /* ascending */
	size_t n, cap;
	uint64_t uses[BLOB_DICTS_MAX];
	bool odd; /* there is something to tell */
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

			if (at >= 0)
				r->uses[at]++;
			else
				c->odd |= id != 0;
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

/* One slice over all ranges. 1: another one is needed. */
static int
count_slice(struct counting *c, struct kv_view *view, bool first)
{
	int64_t until = shelf_mono_ms() + check_slice_ms;
	struct blob_dicts now;
	uint64_t range = 0;
	bool moved = false;
	size_t i = 0;
	int rc = blob_dicts_get(view, &now);

	if (rc != 0)
		return rc;
	for (uint32_t d = 0; !first && d < now.count && d < c->dicts.count; d++)
		c->odd |= now.list[d].id != c->dicts.list[d].id;
	c->odd |= !first && now.count != c->dicts.count; /* one came or went: places have moved */
	c->dicts = now;
	memset(c->uses, 0, sizeof(c->uses));
	while (!c->odd && (rc = blob_sums_next(view, range, &range)) == 1)
		if ((rc = use_range(c, view, i++, range++, until, &moved)) != 0)
			return rc;
	for (uint32_t d = 0; rc == 0 && d < now.count; d++)
		c->odd |= c->uses[d] != now.list[d].uses;
	return rc < 0 ? rc : 0;
}

/* Do all uses come out even? */
static int
count_in_slices(struct check *k, uint32_t shard, bool *even)
{
	struct counting c = {0};
	size_t slices = 0;
	int rc = 1;

	while (rc == 1 && slices - c.n < SLICES_MAX) {
		struct kv_view *view = NULL;

		if ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) != 0)
			break;
		rc = count_slice(&c, view, slices++ == 0);
		kv_view_end(&view);
	}
	*even = rc == 0 && !c.odd;
	free(c.range);
	return rc == 1 ? 0 : rc;
}

/* ---- In one snapshot ------------------------------------------------------------------------------- */

static int
count_uses(struct check *k, struct kv_view *view, const struct blob_dicts *s, uint64_t *uses)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		struct blob_row row;

		if (key.len != 8 || blob_row_decode(value, &row) != 0)
			continue; /* found by others */
		for (unsigned i = 0; i < BLOB_KINDS; i++) {
			uint32_t id = i == BLOB_BODY ? row.dict : row.derived_dict;
			int at = place_of(s, id);

			if (at >= 0)
				uses[at]++;
			else if (id != 0)
				check_found(k, 11, "blob %llu: its dictionary %u is not there",
					    (unsigned long long)base_get_be64(key.data), id);
		}
	}
	kv_scan_close(&scan);
	return rc;
}

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

/* EVEN: the uses are known to be right. */
static int
check_list(struct check *k, struct kv_view *view, bool even)
{
	uint64_t uses[BLOB_DICTS_MAX] = {0};
	struct shelf_buf bytes = {0};
	struct blob_dicts s;
	int rc = blob_dicts_get(view, &s);

	if (rc != 0 || (!even && (rc = count_uses(k, view, &s, uses)) != 0))
		return rc;
	for (uint32_t i = 0; i < s.count; i++) {
		shelf_buf_clear(&bytes);
		if ((rc = blob_dict_bytes(view, s.list[i].id, &bytes)) != 0)
			check_found(k, 11, "dictionary %u cannot be read: %s", s.list[i].id,
				    shelf_err_text(rc));
		if (!even && uses[i] != s.list[i].uses)
			check_found(k, 11, "dictionary %u: %llu uses kept, %llu counted",
				    s.list[i].id, (unsigned long long)s.list[i].uses,
				    (unsigned long long)uses[i]);
	}
	shelf_buf_free(&bytes);
	return check_pieces(k, view, &s);
}

int
check_dicts(struct check *k, uint32_t shard)
{
	struct kv_view *view = NULL;
	bool even = false;
	int rc = count_in_slices(k, shard, &even);

	if (rc == 0)
		rc = kv_view_begin_shard(k->store->kv, shard, &view);
	if (rc == 0)
		rc = check_list(k, view, even);
	kv_view_end(&view);
	if (!check_is_damage(rc))
		return rc;
	check_found(k, 11, "partition %u: dictionaries cannot be read", shard);
	return 0;
}
