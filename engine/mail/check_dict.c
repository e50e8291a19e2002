/*
 * check_dict.c - invariant 11: dictionaries and who uses them
 *
 * From one snapshot of a shard, as counts can only be compared with what was counted at the same moment. Only
 * rows of BLOB are walked, some millions a second.
 */
#include "mail_check.h"

static int
place_of(const struct blob_dicts *s, uint32_t id)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->list[i].id == id)
			return (int)i;
	return -1;
}

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

static int
check_list(struct check *k, struct kv_view *view)
{
	uint64_t uses[BLOB_DICTS_MAX] = {0};
	struct shelf_buf bytes = {0};
	struct blob_dicts s;
	int rc = blob_dicts_get(view, &s);

	if (rc != 0 || (rc = count_uses(k, view, &s, uses)) != 0)
		return rc;
	for (uint32_t i = 0; i < s.count; i++) {
		shelf_buf_clear(&bytes);
		if ((rc = blob_dict_bytes(view, s.list[i].id, &bytes)) != 0)
			check_found(k, 11, "dictionary %u cannot be read: %s", s.list[i].id,
				    shelf_err_text(rc));
		if (uses[i] != s.list[i].uses)
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
	int rc = kv_view_begin_shard(k->store->kv, shard, &view);

	if (rc != 0)
		return rc;
	rc = check_list(k, view);
	kv_view_end(&view);
	if (!check_is_damage(rc))
		return rc;
	check_found(k, 11, "partition %u: dictionaries cannot be read", shard);
	return 0;
}
