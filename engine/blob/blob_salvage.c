/*
 * blob_salvage.c - the bytes of a blob whose row is lost
 *
 * Frames lie end to end and each knows its own length, so the row's table of them is not needed.
 */
#include "blob_internal.h"

enum { CHUNKS_MAX = 2 * BLOB_FRAMES_MAX * (BLOB_FRAME_BYTES / BLOB_CHUNK_BYTES + 1), KNOWN_MAX = 256 };

/* The chunks from the first to the last before one is missing. */
static int
read_chunks(struct kv_view *view, uint64_t blob, struct shelf_buf *out)
{
	struct shelf_span value;
	int rc = 0;

	for (uint32_t n = 0; n < CHUNKS_MAX; n++) {
		struct blob_key key = blob_chunk_key(blob, n);

		if ((rc = kv_get(view, KV_CHUNK, blob_key_span(&key), &value)) != 0)
			break;
		shelf_buf_add_span(out, value);
	}
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* Which dictionary a frame was made with, only the row knew: each one known is tried. */
static int
unpack_with_known(struct shelf_span packed, struct shelf_buf *out)
{
	struct blob_zdict *known[KNOWN_MAX];
	unsigned n = blob_zdict_known(known, KNOWN_MAX);
	bool done = false;

	for (unsigned i = 0; i < n; i++) {
		done = done || blob_zstd_unpack(packed, BLOB_FRAME_BYTES, known[i], out) == 0;
		blob_zdict_give(&known[i]);
	}
	return done ? 0 : SHELF_ECORRUPT;
}

/* Those of the shard, then the copies (blob_copies_hold). */
static int
unpack_with_any(struct kv_view *view, struct shelf_span packed, struct shelf_buf *out)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_scan_open(view, KV_DICT, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	bool done = false;

	while (rc == 0 && !done && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		struct blob_zdict *dict = NULL;

		rc = 0;
		if (key.len != 8 || base_get_be32(key.data + 4) != 0 ||
		    blob_dict_open(view, base_get_be32(key.data), &dict) != 0)
			continue;
		done = dict != NULL && blob_zstd_unpack(packed, BLOB_FRAME_BYTES, dict, out) == 0;
		blob_zdict_give(&dict);
	}
	kv_scan_close(&scan);
	return done ? 0 : unpack_with_known(packed, out);
}

int
blob_salvage(struct kv_view *view, uint64_t blob, struct shelf_buf *out)
{
	struct shelf_buf packed = {0};
	size_t at = 0, len;
	int rc = read_chunks(view, blob, &packed);

	shelf_buf_clear(out);
	while (rc == 0 && at < packed.len) {
		struct shelf_span frame = shelf_span(packed.data + at, packed.len - at);

		if ((frame.len = len = blob_zstd_frame_len(frame)) == 0)
			break;
		/* Only a body of one frame may have a dictionary. */
		if (blob_zstd_unpack(frame, BLOB_FRAME_BYTES, NULL, out) != 0 &&
		    (at > 0 || unpack_with_any(view, frame, out) != 0))
			break;
		at += len;
	}
	if (rc == 0 && (out->len == 0 || at < packed.len))
		rc = SHELF_ECORRUPT;
	shelf_buf_free(&packed);
	return rc;
}
