/* blob_internal.h - what the files of this room share */
#ifndef ENGINE_BLOB_INTERNAL_H
#define ENGINE_BLOB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base.h"
#include "blob.h"
#include "kv.h"

enum { BLOB_CHUNK_BYTES = KV_VALUE_MAX, BLOB_KEY_BYTES = 8, BLOB_CHUNK_KEY_BYTES = 12 };

/* JOB keys begin with the kind of work; the value ends in the bytes it stands for. */
enum { BLOB_JOB_REMOVE = 'B', BLOB_JOB_STAGED = 'S', BLOB_JOB_DEAD = 'D' };

enum { BLOB_ZSTD_LEVEL = 3, BLOB_PRUNE_WRITES = 100 };

/* What derived data begin with. */
enum { BLOB_DERIVED_PLAIN = 0, BLOB_DERIVED_ZSTD = 1 };

/* How far a large draft is in a shard. LINKED is only believed where nothing hangs on it: the update that
 * linked may have been rolled back. */
enum blob_stage { BLOB_NOT_STAGED, BLOB_STAGING, BLOB_STAGED, BLOB_LINKED };

/* Body and derived data as they are stored, compressed with these dictionaries. */
struct blob_form {
	uint32_t dict, derived_dict; /* 0: none */
	struct shelf_buf body;	     /* empty: the frames of the draft */
	struct shelf_buf derived;
};

struct blob_draft {
	struct kv_db *db;
	char *dir;
	struct blob_draft *base; /* what lies behind the head; NULL: there is none, and all that follows is used */
	struct shelf_buf head;
	struct shelf_buf raw;	 /* of the frame being filled; all of a message up to BLOB_DICT_MAX */
	struct shelf_buf packed; /* compressed frames, until they move to FD */
	int fd;			 /* temporary file, or -1 */
	uint64_t stored;	 /* compressed bytes in all; 0: RAW has the message */
	uint64_t size;
	uint32_t *frame_bytes; /* BLOB_FRAMES_MAX; NULL before the first */
	uint32_t nframes;
	void *sha; /* running digest until the end */
	uint8_t hash[BLOB_HASH_BYTES];
	struct shelf_buf derived; /* raw */
	/* Per shard, made by blob_draft_prepare and read by that shard's committer from then on, which
	 * alone touches id and stage. */
	struct blob_form *_Atomic form[KV_SHARDS_MAX]; /* a link may be sent to a shard that is being prepared */
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

/* Rows of BLOB. blob_row_get also gives one without references. */
SHELF_CHECK int blob_row_get(struct kv_view *view, uint64_t blob, struct blob_row *row_out);
SHELF_CHECK int blob_row_put(struct kv_txn *txn, uint64_t blob, const struct blob_row *row);
SHELF_CHECK int blob_row_del(struct kv_txn *txn, uint64_t blob); /* SHELF_EMISSING */
/* Copies what of ROW lies in the store into KEEP, for it dies there at the first write. */
void blob_row_keep(struct blob_row *row, struct shelf_buf *keep);
/* The id that keys of its chunks and derived data begin with. */
static inline uint64_t
blob_where(uint64_t blob, const struct blob_row *row)
{
	return row->where != 0 ? row->where : blob;
}
/* ---- blob_sums.c ---- */
/* What the blob takes, compressed message and derived data. */
uint64_t blob_row_bytes(const struct blob_row *row);
/* With every write (WAS NULL: new) and removal (IS NULL) of a BLOB row: blob_row_put and blob_row_del do it. */
SHELF_CHECK int blob_sums_change(struct kv_txn *txn, uint64_t blob, const struct blob_row *was,
				 const struct blob_row *is);
/* A job about BYTES stored bytes; of the kind STAGED with the time it is. */
SHELF_CHECK int blob_job_begin(struct kv_txn *txn, uint8_t kind, uint64_t blob, uint64_t bytes);
/* SHELF_EMISSING when there is none. */
SHELF_CHECK int blob_job_end(struct kv_txn *txn, uint8_t kind, uint64_t blob, uint64_t *bytes_out);
/* A staged blob that nobody linked is one to remove. SHELF_EMISSING: it was linked. */
SHELF_CHECK int blob_give_up_staged(struct kv_txn *txn, uint64_t blob);

/* Next id of the shard, inside an update. */
SHELF_CHECK int blob_new_id(struct kv_txn *txn, uint64_t *id_out);
SHELF_CHECK int blob_next_id(struct kv_view *view, uint64_t *id_out); /* which it would be */

/* Stored bytes of the draft's frames, from memory or file. */
SHELF_CHECK int blob_draft_read(const struct blob_draft *draft, uint64_t offset, void *out,
				size_t len);
/* Chunks FROM .. TO - 1 of the draft's frames, inside an update. */
SHELF_CHECK int blob_put_chunks(struct kv_txn *txn, const struct blob_draft *draft, uint64_t id,
				uint32_t from, uint32_t to);
/* All BYTES below ID in a table, the end cut as pages like it. */
SHELF_CHECK int blob_put_bytes(struct kv_txn *txn, enum kv_table table, uint64_t id,
			       struct shelf_span bytes);
/* Removes up to LEFT rows of a table that begin with ID, counts LEFT down, and adds to SHARED what the rows
 * took in pages that they shared. */
SHELF_CHECK int blob_remove_rows(struct kv_txn *txn, enum kv_table table, uint64_t id,
				 unsigned *left, uint64_t *shared);
uint64_t blob_shared_bytes(size_t value_len);
/* BYTES of such rows are gone that lay below ids of GROUP (id >> BLOB_GROUP_SHIFT): gives their pages back
 * when it is time and MAY_MOVE. Writes some 300 rows at most. */
enum { BLOB_GROUP_SHIFT = 5, BLOB_OWNER_N = UINT32_MAX, BLOB_MOVE_ROWS_MAX = 250 };
SHELF_CHECK int blob_note_dead(struct kv_txn *txn, uint64_t group, uint64_t bytes, bool may_move);
/* Puts these stored bytes below a new id and removes the old ones; ROW, which the caller then puts, says so. Its
 * frames must not point into the store. */
SHELF_CHECK int blob_move(struct kv_txn *txn, uint64_t blob, struct blob_row *row,
			  struct shelf_span body, struct shelf_span derived);

/* Body (RAW; NULL: it is compressed already) and derived data with these dictionaries of the view's shard,
 * into FORM, which is empty. */
SHELF_CHECK int blob_form_make(struct kv_view *view, const uint32_t dicts[BLOB_KINDS],
			       const struct shelf_buf *raw, struct shelf_span derived,
			       struct blob_form *form);
void blob_form_free(struct blob_form **form);

/* ROW is written (BY 1) or removed (BY -1): counts at its dictionaries. SHELF_EBUSY: one is gone. */
SHELF_CHECK int blob_dicts_use(struct kv_txn *txn, const struct blob_row *row, int by);
void blob_dict_hash(struct shelf_span bytes, uint8_t *hash_out);
/* Dictionary ID, digested: blob_zdict_give() it. NULL for 0. */
struct blob_zdict;
SHELF_CHECK int blob_dict_open(struct kv_view *view, uint32_t id, struct blob_zdict **out);

/* The copy in the catalog. SHELF_EMISSING: there is none; SHELF_ECORRUPT. */
SHELF_CHECK int blob_copy_bytes(struct kv_view *catalog, const uint8_t *hash, struct shelf_buf *out);
/* That came with the program. */
struct shelf_span blob_dict_default(enum blob_kind kind);

/* Up to MAX that are known, to be given back. */
unsigned blob_zdict_known(struct blob_zdict **out, unsigned max);
/* Digested dictionaries by the hash of their bytes; NULL: not there. The caller gives them back. */
struct blob_zdict *blob_zdict_find(const uint8_t *hash);
struct blob_zdict *blob_zdict_add(const uint8_t *hash, struct shelf_span bytes);
void blob_zdict_give(struct blob_zdict **zdict);
/* For blob_zstd.c; NULL when memory is out. */
const struct ZSTD_CDict_s *blob_zdict_packing(struct blob_zdict *zdict);
const struct ZSTD_DDict_s *blob_zdict_unpacking(struct blob_zdict *zdict);

/* zstd, with contexts kept between calls; DICT may be NULL. The frames carry their size and a checksum. OUT is
 * appended to. */
SHELF_CHECK int blob_zstd_pack(struct shelf_span raw, struct blob_zdict *dict, struct shelf_buf *out);
SHELF_CHECK int blob_zstd_unpack(struct shelf_span packed, size_t size_max, struct blob_zdict *dict,
				 struct shelf_buf *out);
/* Length of the frame that PACKED begins with, 0: none. */
size_t blob_zstd_frame_len(struct shelf_span packed);

#endif
