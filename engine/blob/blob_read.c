/* blob_read.c - one frame at a time, so that reading costs a fixed buffer whatever the message */
#include "blob_internal.h"

/*
 * Chunks are BLOB_CHUNK_BYTES each as long as there are that many; what is left at the end is cut into one
 * chunk or several of any length. So the one to begin with is known, and from there on they are read in turn.
 */
int
blob_stored(struct kv_view *view, uint64_t blob, const struct blob_row *row, uint64_t offset,
	    uint64_t len, struct shelf_buf *out)
{
	uint64_t whole = row->stored / BLOB_CHUNK_BYTES, skip;
	uint32_t n = (uint32_t)(offset / BLOB_CHUNK_BYTES);
	struct shelf_span value;
	int rc;

	if (offset > row->stored || len > row->stored - offset)
		return SHELF_EINVALID;
	if (n > whole)
		n = (uint32_t)whole;
	for (skip = offset - (uint64_t)n * BLOB_CHUNK_BYTES; len > 0; n++) {
		struct blob_key key = blob_chunk_key(blob_where(blob, row), n);
		size_t take;

		if ((rc = kv_get(view, KV_CHUNK, blob_key_span(&key), &value)) != 0)
			return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
		if (value.len == 0 || (n < whole && value.len != BLOB_CHUNK_BYTES))
			return SHELF_ECORRUPT;
		if (value.len <= skip) {
			skip -= value.len;
			continue;
		}
		take = value.len - skip < len ? value.len - (size_t)skip : (size_t)len;
		shelf_buf_add(out, value.data + skip, take);
		skip = 0;
		len -= take;
	}
	return 0;
}

/* Bytes of message in frame N. */
static size_t
frame_len(const struct blob_row *row, uint32_t n)
{
	return n + 1 < row->nframes ? BLOB_FRAME_BYTES : (size_t)(row->size - (uint64_t)n * BLOB_FRAME_BYTES);
}

static int
read_own_frame(struct kv_view *view, uint64_t blob, const struct blob_row *row, uint32_t n, struct shelf_buf *out)
{
	struct shelf_buf packed = {0};
	struct blob_zdict *dict = NULL;
	uint64_t offset = 0, len = row->stored;
	size_t expect = frame_len(row, n);
	int rc;

	if (row->nframes > 1) {
		struct base_reader r = base_reader(row->frames);

		for (uint32_t i = 0; i < n; i++)
			offset += base_get_le(&r, 4);
		len = base_get_le(&r, 4);
	}
	if (expect > BLOB_FRAME_BYTES || offset + len > row->stored || len > 2 * BLOB_FRAME_BYTES)
		return SHELF_ECORRUPT;
	if ((rc = blob_stored(view, blob, row, offset, len, &packed)) == 0 &&
	    (rc = blob_dict_open(view, row->dict, &dict)) == 0)
		rc = blob_zstd_unpack(shelf_buf_span(&packed), expect, dict, out);
	blob_zdict_give(&dict);
	shelf_buf_free(&packed);
	if (rc == 0 && out->len != expect)
		rc = SHELF_ECORRUPT;
	return rc;
}

/* A frame of the whole is the end of one of the blob behind the head and the beginning of the next. */
static int
read_headed_frame(struct kv_view *view, const struct blob_row *row, uint32_t n, struct shelf_buf *out)
{
	uint64_t at = (uint64_t)n * BLOB_FRAME_BYTES;
	size_t left = frame_len(row, n);
	struct shelf_buf frame = {0};
	struct blob_row base;
	int rc = blob_row_get(view, row->base, &base);

	if (rc != 0)
		return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
	if (base.base != 0 || base.size != row->size - row->head.len || left > BLOB_FRAME_BYTES)
		return SHELF_ECORRUPT;
	if (at < row->head.len) {
		size_t take = row->head.len - (size_t)at < left ? row->head.len - (size_t)at : left;

		shelf_buf_add(out, row->head.data + at, take);
		at += take;
		left -= take;
	}
	while (rc == 0 && left > 0) {
		uint64_t in_base = at - row->head.len;
		size_t skip = in_base % BLOB_FRAME_BYTES, take;

		shelf_buf_clear(&frame);
		if (in_base / BLOB_FRAME_BYTES >= base.nframes ||
		    (rc = read_own_frame(view, row->base, &base, (uint32_t)(in_base / BLOB_FRAME_BYTES), &frame)) != 0)
			break;
		take = frame.len - skip < left ? frame.len - skip : left;
		shelf_buf_add(out, frame.data + skip, take);
		at += take;
		left -= take;
	}
	shelf_buf_free(&frame);
	return rc == 0 && left > 0 ? SHELF_ECORRUPT : rc;
}

int
blob_read_frame(struct kv_view *view, uint64_t blob, const struct blob_row *row, uint32_t n, struct shelf_buf *out)
{
	shelf_buf_clear(out);
	if (n >= row->nframes)
		return SHELF_EINVALID;
	return row->base != 0 ? read_headed_frame(view, row, n, out) : read_own_frame(view, blob, row, n, out);
}

int
blob_stored_derived(struct kv_view *view, uint64_t blob, const struct blob_row *row,
		    struct shelf_buf *out)
{
	struct blob_key prefix = blob_key(blob_where(blob, row));
	struct shelf_span key, value;
	size_t before = out->len;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_DERIVED, blob_key_span(&prefix), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		shelf_buf_add_span(out, value);
	kv_scan_close(&scan);
	return rc == 0 && out->len == before ? SHELF_EMISSING : rc;
}

enum { DERIVED_MAX = 16 << 20 };

int
blob_derived(struct kv_view *view, uint64_t blob, struct shelf_buf *out)
{
	struct shelf_buf packed = {0};
	struct blob_zdict *dict = NULL;
	struct blob_row row;
	int rc = blob_row_get(view, blob, &row);

	shelf_buf_clear(out);
	if (rc != 0 || (rc = blob_stored_derived(view, blob, &row, &packed)) != 0 ||
	    (rc = blob_dict_open(view, row.derived_dict, &dict)) != 0)
		goto out;
	if (packed.data[0] == BLOB_DERIVED_ZSTD)
		rc = blob_zstd_unpack(shelf_span(packed.data + 1, packed.len - 1), DERIVED_MAX,
				      dict, out);
	else if (packed.data[0] == BLOB_DERIVED_PLAIN)
		shelf_buf_add(out, packed.data + 1, packed.len - 1);
	else
		rc = SHELF_ECORRUPT;
out:
	blob_zdict_give(&dict);
	shelf_buf_free(&packed);
	return rc;
}
