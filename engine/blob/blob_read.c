/* blob_read.c - one frame at a time, so that reading costs a fixed buffer whatever the message */
#include "blob_internal.h"

/* Stored bytes [offset, offset + len) of a blob, from its chunks. */
static int
read_stored(struct kv_view *view, enum kv_table table, uint64_t blob, uint64_t offset, uint64_t len,
	    struct shelf_buf *out)
{
	struct shelf_span value;
	int rc;

	while (len > 0) {
		struct blob_key key = blob_chunk_key(blob, (uint32_t)(offset / BLOB_CHUNK_BYTES));
		size_t skip = offset % BLOB_CHUNK_BYTES;
		size_t n;

		if ((rc = kv_get(view, table, blob_key_span(&key), &value)) != 0)
			return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
		if (value.len <= skip)
			return SHELF_ECORRUPT;
		n = value.len - skip < len ? value.len - skip : (size_t)len;
		if (n < len && value.len != BLOB_CHUNK_BYTES)
			return SHELF_ECORRUPT;
		shelf_buf_add(out, value.data + skip, n);
		offset += n;
		len -= n;
	}
	return 0;
}

int
blob_read_frame(struct kv_view *view, uint64_t blob, const struct blob_row *row, uint32_t n,
		struct shelf_buf *out)
{
	struct shelf_buf packed = {0};
	uint64_t offset = 0, len = row->stored;
	size_t expect;
	int rc;

	shelf_buf_clear(out);
	if (n >= row->nframes)
		return SHELF_EINVALID;
	expect = n + 1 < row->nframes ? BLOB_FRAME_BYTES
				      : (size_t)(row->size - (uint64_t)n * BLOB_FRAME_BYTES);
	if (row->nframes > 1) {
		struct base_reader r = base_reader(row->frames);

		for (uint32_t i = 0; i < n; i++)
			offset += base_get_le(&r, 4);
		len = base_get_le(&r, 4);
	}
	if (expect > BLOB_FRAME_BYTES || offset + len > row->stored || len > 2 * BLOB_FRAME_BYTES)
		return SHELF_ECORRUPT;
	if ((rc = read_stored(view, KV_CHUNK, blob, offset, len, &packed)) == 0)
		rc = blob_zstd_unpack(shelf_buf_span(&packed), expect, out);
	shelf_buf_free(&packed);
	if (rc == 0 && out->len != expect)
		rc = SHELF_ECORRUPT;
	return rc;
}

enum { DERIVED_MAX = 16 << 20 };

int
blob_derived(struct kv_view *view, uint64_t blob, struct shelf_buf *out)
{
	struct blob_key prefix = blob_key(blob);
	struct shelf_buf packed = {0};
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_DERIVED, blob_key_span(&prefix), shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		shelf_buf_add_span(&packed, value);
	kv_scan_close(&scan);
	shelf_buf_clear(out);
	if (rc == 0 && packed.len == 0)
		rc = SHELF_EMISSING;
	else if (rc == 0 && packed.data[0] == 1)
		rc =
		    blob_zstd_unpack(shelf_span(packed.data + 1, packed.len - 1), DERIVED_MAX, out);
	else if (rc == 0 && packed.data[0] == 0)
		shelf_buf_add(out, packed.data + 1, packed.len - 1);
	else if (rc == 0)
		rc = SHELF_ECORRUPT;
	shelf_buf_free(&packed);
	return rc;
}
