/*
 * blob.h - message bytes in a shard: compressed, shared by reference count, read by range
 *
 * Shape     A blob is a message in zstd frames of at most 256 KiB of message each, laid end to end and cut
 *           into chunks of at most KV_VALUE_MAX bytes. Its row counts the references: message rows and
 *           held rows. Derived data (the result of the MIME scan) hang on the blob.
 * Ids       u64 per shard, ever growing, so that chunks are appended; never reused.
 * Lifetime  A struct blob_draft is made outside any transaction (that is where the time goes) and linked
 *           inside one; at the first link in a shard its bytes are written, later ones only count.
 * Layout    docs/storage-format.md, BLOB, CHUNK, DERIVED, JOB.
 */
#ifndef ENGINE_BLOB_H
#define ENGINE_BLOB_H

#include <mailshelf/buf.h>
#include <mailshelf/err.h>

struct kv_db;
struct kv_txn;
struct kv_view;

enum {
	BLOB_FRAME_BYTES = 256 * 1024,
	BLOB_FRAMES_MAX = 1000, /* 250 MiB of message: their lengths fit one row */
	BLOB_HASH_BYTES = 16,
};

struct blob_row {
	uint32_t refs;
	uint64_t size;	 /* of the message */
	uint64_t stored; /* compressed */
	uint32_t nframes;
	uint8_t hash[BLOB_HASH_BYTES]; /* SHA-256 of the message, cut */
	struct shelf_span frames;      /* nframes lengths, u32 little-endian; empty for one frame */
};

/* ---- Receiving ------------------------------------------------------------------------------- */

struct blob_draft;
/* DIR: where a large draft's temporary file (never visible) is made. */
struct blob_draft *blob_draft_new(struct kv_db *db, const char *dir);
/* SHELF_ETOOBIG beyond BLOB_FRAMES_MAX frames; SHELF_EIO, SHELF_EFULL of the temporary file. */
SHELF_CHECK int blob_draft_add(struct blob_draft *draft, const void *data, size_t len);
/* DERIVED is copied. */
SHELF_CHECK int blob_draft_end(struct blob_draft *draft, struct shelf_span derived);
uint64_t blob_draft_size(const struct blob_draft *draft);
const uint8_t *blob_draft_hash(const struct blob_draft *draft);
void blob_draft_free(struct blob_draft **draft);
/*
 * blob_draft_stage(draft, shard)
 *   Writes a large draft's chunks to SHARD ahead of its link, in small transactions, so that no commit
 *   is large; small drafts are left alone. Blocks. What is staged and never linked is removed later.
 */
SHELF_CHECK int blob_draft_stage(struct blob_draft *draft, uint32_t shard);

/* ---- In an update ------------------------------------------------------------------------------- */

/* One more reference to the draft's blob in the transaction's shard; writes it there at first. */
SHELF_CHECK int blob_link(struct kv_txn *txn, struct blob_draft *draft, uint64_t *blob_out);
/* One more, one less. The last one leaves a job; blob_purge_step does the work. */
SHELF_CHECK int blob_ref(struct kv_txn *txn, uint64_t blob);
SHELF_CHECK int blob_unref(struct kv_txn *txn, uint64_t blob);

/* ---- Reading -------------------------------------------------------------------------------------- */

/* SHELF_EMISSING when there is no such blob or nothing refers to it any more. ROW lives like the view. */
SHELF_CHECK int blob_get(struct kv_view *view, uint64_t blob, struct blob_row *row_out);
/* Decompresses frame N into OUT (cleared first). SHELF_ECORRUPT when bytes or checksum are wrong. */
SHELF_CHECK int blob_read_frame(struct kv_view *view, uint64_t blob, const struct blob_row *row,
				uint32_t n, struct shelf_buf *out);
/* The derived data, into OUT. SHELF_EMISSING. */
SHELF_CHECK int blob_derived(struct kv_view *view, uint64_t blob, struct shelf_buf *out);
SHELF_CHECK int blob_row_decode(struct shelf_span value, struct blob_row *row_out);

/* ---- Removal --------------------------------------------------------------------------------------- */

/* One small transaction of removal in SHARD: 1 there is more to do, 0 nothing is left, or an error. */
SHELF_CHECK int blob_purge_step(struct kv_db *db, uint32_t shard);

#endif
