/* blob_internal.h - what the files of this room share */
#ifndef ENGINE_BLOB_INTERNAL_H
#define ENGINE_BLOB_INTERNAL_H

#include <pthread.h>

#include "base.h"
#include "blob.h"
#include "kv.h"

enum { BLOB_CHUNK_BYTES = KV_VALUE_MAX, BLOB_KEY_BYTES = 8, BLOB_CHUNK_KEY_BYTES = 12 };

/* JOB keys begin with the kind of work. */
enum { BLOB_JOB_REMOVE = 'B', BLOB_JOB_STAGED = 'S' };

/* How far a large draft is in a shard. LINKED is only believed where nothing hangs on it: the update that
 * linked may have been rolled back. */
enum blob_stage { BLOB_NOT_STAGED, BLOB_STAGING, BLOB_STAGED, BLOB_LINKED };

struct blob_draft {
	struct kv_db *db;
	char *dir;
	struct shelf_buf raw;	 /* of the frame being filled */
	struct shelf_buf packed; /* compressed frames, until they move to FD */
	int fd;			 /* temporary file, or -1 */
	uint64_t stored;	 /* compressed bytes in all */
	uint64_t size;
	uint32_t frame_bytes[BLOB_FRAMES_MAX];
	uint32_t nframes;
	void *sha; /* running digest until the end */
	uint8_t hash[BLOB_HASH_BYTES];
	struct shelf_buf derived;
	/* Per shard, touched by that shard's committer only (and by blob_draft_stage before it). */
	uint64_t id[KV_SHARDS_MAX];
	enum blob_stage stage[KV_SHARDS_MAX];
};

/* Key of a blob, of one of its chunks, of a job. */
struct blob_key {
	uint8_t bytes[BLOB_CHUNK_KEY_BYTES + 1];
	size_t len;
};
struct blob_key blob_key(uint64_t blob);
struct blob_key blob_chunk_key(uint64_t blob, uint32_t n);
struct blob_key blob_job_key(uint8_t kind, uint64_t blob);
static inline struct shelf_span
blob_key_span(const struct blob_key *k)
{
	return shelf_span(k->bytes, k->len);
}

/* Stored bytes of the draft, from memory or file. */
SHELF_CHECK int blob_draft_read(const struct blob_draft *draft, uint64_t offset, void *out,
				size_t len);
/* Chunks FROM .. TO - 1 of the draft, inside an update. */
SHELF_CHECK int blob_put_chunks(struct kv_txn *txn, const struct blob_draft *draft, uint64_t id,
				uint32_t from, uint32_t to);
/* Next id of the shard, inside an update. */
SHELF_CHECK int blob_new_id(struct kv_txn *txn, uint64_t *id_out);

/* zstd, with contexts kept between calls. The frames carry their size and a checksum. */
SHELF_CHECK int blob_zstd_pack(struct shelf_span raw, struct shelf_buf *out); /* appended */
SHELF_CHECK int blob_zstd_unpack(struct shelf_span packed, size_t size_max, struct shelf_buf *out);

#endif
