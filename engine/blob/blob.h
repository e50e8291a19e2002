/*
 * blob.h - message bytes in a shard: compressed, shared by reference count, read by range
 *
 * Shape     A blob is a message in zstd frames of at most 256 KiB of message each, laid end to end and cut
 *           into chunks of at most KV_VALUE_MAX bytes. Its row counts the references: message rows and
 *           held rows. Derived data (the result of the MIME scan) hang on the blob.
 * Heads     A blob may be a few bytes of its own, the head, and behind them all bytes of another blob, on which it
 *           counts as a reference: fields that are true for one recipient. Size, hash, frames and derived data are
 *           those of the whole; who reads it sees no difference.
 * Ids       u64 per shard, ever growing, so that chunks are appended; never reused.
 * Packing   A message of at most BLOB_DICT_MAX bytes and the derived data of every message are compressed
 *           with dictionaries of the shard (DICT), which the blob's row names; they are never changed,
 *           and a row that names one keeps it there.
 * Lifetime  A struct blob_draft is made outside any transaction (that is where the time goes) and linked
 *           inside one; at the first link in a shard its bytes are written, later ones only count.
 * Sums      What the blobs of a shard take is kept, and changes with their rows (blob_sums.c).
 * Layout    docs/storage-format.md, BLOB, CHUNK, DERIVED, DICT, JOB, META.
 */
#ifndef ENGINE_BLOB_H
#define ENGINE_BLOB_H

#include <mailshelf/buf.h>
#include <mailshelf/dict.h>
#include <mailshelf/err.h>

struct kv_db;
struct kv_txn;
struct kv_view;

enum {
	BLOB_FRAME_BYTES = 256 * 1024,
	BLOB_FRAMES_MAX = 1000, /* 250 MiB of message: their lengths fit one row */
	BLOB_HASH_BYTES = 16,
	BLOB_HEAD_MAX = 2048,
	BLOB_DICT_MAX = 64 * 1024, /* beyond, a dictionary brings next to nothing */
};

struct blob_row {
	uint32_t refs;
	uint64_t size;	 /* of the message */
	uint64_t stored; /* compressed */
	uint32_t nframes;
	uint8_t hash[BLOB_HASH_BYTES]; /* SHA-256 of the message, cut */
	uint64_t where;		       /* chunks and derived data lie under this id; 0: its own */
	uint32_t dict;		       /* of the only frame; 0: none */
	uint32_t derived_dict;	       /* of the derived data; 0: none */
	uint32_t derived;	       /* stored bytes of the derived data; 0: not known (older release), and
					* the blob is in no sum */
	struct shelf_span frames;      /* nframes lengths, u32 little-endian; empty for one frame */
	uint64_t base;		       /* the blob behind the head, which has none itself; 0: there is no head */
	struct shelf_span head;	       /* with it frames are empty, stored and dict 0 */
};

/* ---- Receiving ------------------------------------------------------------------------------- */

struct blob_draft;
/* DIR: where a large draft's temporary file (never visible) is made. */
struct blob_draft *blob_draft_new(struct kv_db *db, const char *dir);
/* SHELF_ETOOBIG beyond BLOB_FRAMES_MAX frames; SHELF_EIO, SHELF_EFULL of the temporary file. */
SHELF_CHECK int blob_draft_add(struct blob_draft *draft, const void *data, size_t len);
/* DERIVED is copied. */
SHELF_CHECK int blob_draft_end(struct blob_draft *draft, struct shelf_span derived);
/*
 * blob_draft_headed(base, head)
 *   A draft of HEAD (1..BLOB_HEAD_MAX bytes) and the bytes of BASE, which has ended and outlives it. All of these are
 *   added, too, for the hash alone, as blob_draft_each() gives them.
 */
struct blob_draft *blob_draft_headed(struct blob_draft *base, struct shelf_span head);
/* All bytes of a draft that has ended, a piece at a time. FN answers 0 to go on. */
SHELF_CHECK int blob_draft_each(const struct blob_draft *draft, int (*fn)(void *arg, const void *data, size_t len),
				void *arg);
uint64_t blob_draft_size(const struct blob_draft *draft);
struct shelf_span blob_draft_derived(const struct blob_draft *draft); /* of one that has ended, as given */
const uint8_t *blob_draft_hash(const struct blob_draft *draft);
void blob_draft_free(struct blob_draft **draft);
/*
 * blob_draft_prepare(draft, shard)
 *   Before the links in SHARD: compresses with the dictionaries that are current there, and writes a large
 *   draft's chunks ahead, in small transactions, so that no commit is large. Blocks. Once is enough.
 *   What is written ahead and never linked is removed later.
 */
SHELF_CHECK int blob_draft_prepare(struct blob_draft *draft, uint32_t shard);
/* After SHELF_EBUSY of a link, and while no other link of DRAFT is under way: prepare must come again. */
void blob_draft_unprepare(struct blob_draft *draft, uint32_t shard);
/* Before it is prepared: BLOB in SHARD is believed to be the same, which the link finds out. */
void blob_draft_expect(struct blob_draft *draft, uint32_t shard, uint64_t blob);
/* The blob in SHARD that the last link gave; 0: none. Not while one is under way. */
uint64_t blob_draft_id(const struct blob_draft *draft, uint32_t shard);

/* ---- In an update ------------------------------------------------------------------------------- */

/* What a reference means in bytes, at the time it is made. */
struct blob_cost {
	uint32_t bytes; /* of the blob: compressed message and derived data */
	bool found;	/* another reference was there before */
};

/* One more reference to the draft's blob in the transaction's shard; writes it there at first. SHELF_EBUSY: it
 * is not prepared for that shard, or the dictionary it was compressed with has been removed since. */
SHELF_CHECK int blob_link(struct kv_txn *txn, struct blob_draft *draft, uint64_t *blob_out,
			  struct blob_cost *cost_out);
/* One more, one less. The last one leaves a job; blob_purge_step does the work. */
SHELF_CHECK int blob_ref(struct kv_txn *txn, uint64_t blob, struct blob_cost *cost_out);
SHELF_CHECK int blob_unref(struct kv_txn *txn, uint64_t blob);
/* For a reference that was made before costs were noted: found when it is not the only one. Counts the
 * blob if that was not done yet. */
SHELF_CHECK int blob_note(struct kv_txn *txn, uint64_t blob, struct blob_cost *cost_out);

/* One more to a blob that is believed to hold this message. SHELF_EMISSING: it does not, or is being removed. */
SHELF_CHECK int blob_ref_if(struct kv_txn *txn, uint64_t blob, const uint8_t *hash, uint64_t size,
			    struct blob_cost *cost_out);

/* ---- Reading -------------------------------------------------------------------------------------- */

/* SHELF_EMISSING when there is no such blob or nothing refers to it any more. ROW lives like the view. */
SHELF_CHECK int blob_get(struct kv_view *view, uint64_t blob, struct blob_row *row_out);
/* Decompresses frame N into OUT (cleared first). SHELF_ECORRUPT when bytes or checksum are wrong. */
SHELF_CHECK int blob_read_frame(struct kv_view *view, uint64_t blob, const struct blob_row *row,
				uint32_t n, struct shelf_buf *out);
/* Blobs with a head in front of a BASE, FROM <= BASE < TO, in that order. FN answers 0 to go on. */
SHELF_CHECK int blob_heads_each(struct kv_view *view, uint64_t from, uint64_t to,
				int (*fn)(void *arg, uint64_t base, uint64_t blob), void *arg);
/* Is BLOB among them, as one in front of BASE? 0, SHELF_EMISSING. */
SHELF_CHECK int blob_head_listed(struct kv_view *view, uint64_t base, uint64_t blob);
/* The derived data, into OUT. SHELF_EMISSING. */
SHELF_CHECK int blob_derived(struct kv_view *view, uint64_t blob, struct shelf_buf *out);
SHELF_CHECK int blob_row_decode(struct shelf_span value, struct blob_row *row_out);
/* All bytes into OUT, without the blob's row. SHELF_ECORRUPT: OUT has the whole frames in front of the first
 * that is damaged; whether there were more behind the last nobody knows. */
SHELF_CHECK int blob_salvage(struct kv_view *view, uint64_t blob, struct shelf_buf *out);

/*
 * What backup copies: the stored bytes [OFFSET, OFFSET + LEN) of ROW, appended to OUT: frames end to end,
 * made with dictionary ROW->dict; the stored derived data, behind a byte that docs/storage-format.md
 * explains, made with ROW->derived_dict.
 */
SHELF_CHECK int blob_stored(struct kv_view *view, uint64_t blob, const struct blob_row *row,
			    uint64_t offset, uint64_t len, struct shelf_buf *out);
SHELF_CHECK int blob_stored_derived(struct kv_view *view, uint64_t blob, const struct blob_row *row,
				    struct shelf_buf *out);

/* ---- Dictionaries ---------------------------------------------------------------------------------- */

enum blob_kind {
	BLOB_BODY = SHELF_DICT_BODY,
	BLOB_DERIVED = SHELF_DICT_DERIVED,
	BLOB_KINDS = SHELF_DICT_KINDS,
};
enum {
	BLOB_DICTS_MAX = 64,		   /* in a shard at a time */
	BLOB_DICT_BYTES_MAX = 1024 * 1024, /* of one */
};

/* What META knows of a shard's dictionaries. */
struct blob_dicts {
	uint32_t next;		      /* id */
	uint32_t current[BLOB_KINDS]; /* 0: none */
	uint32_t count;
	struct {
		uint32_t id;
		uint64_t uses; /* rows of BLOB that name it */
	} list[BLOB_DICTS_MAX];
};
/* What the dictionary's own row knows. */
struct blob_dict_head {
	uint8_t kind;
	int64_t created_s;
	uint32_t messages; /* it was trained from; 0: it came with the program */
	uint32_t size;
	uint8_t hash[BLOB_HASH_BYTES]; /* SHA-256 of its bytes, cut */
};
SHELF_CHECK int blob_dicts_get(struct kv_view *view, struct blob_dicts *out);
SHELF_CHECK int blob_dict_head(struct kv_view *view, uint32_t id, struct blob_dict_head *out);
/* Its bytes, appended. SHELF_ECORRUPT when they are not those of its head. */
SHELF_CHECK int blob_dict_bytes(struct kv_view *view, uint32_t id, struct shelf_buf *out);
/* In an update: a new one, current from now on. SHELF_ELIMIT: BLOB_DICTS_MAX are there. */
SHELF_CHECK int blob_dict_add(struct kv_txn *txn, enum blob_kind kind, uint32_t messages,
			      struct shelf_span bytes, uint32_t *id_out);
/* In an update of a new shard: the dictionaries that came with the program. */
SHELF_CHECK int blob_dict_add_defaults(struct kv_txn *txn, void *ignored);
/* In an update: removes what no blob names and what is not current. */
SHELF_CHECK int blob_dicts_prune(struct kv_txn *txn, uint32_t *removed_out);

/* Dictionaries are in the catalog once more (blob_copy.c). Puts what is missing there, drops what no shard lists.
 * Outside of updates. */
SHELF_CHECK int blob_copies_settle(struct kv_db *db);
/* RC of a copy: 0, or it is damaged and BYTES are nothing. FN answers 0 to go on. */
SHELF_CHECK int blob_copies_each(struct kv_view *catalog,
				 int (*fn)(void *arg, const uint8_t *hash, int rc, struct shelf_span bytes), void *arg);
/* For who reads the files of a damaged store: all that are found in CATALOG (NULL: no catalog), and those of the
 * program, are known in this process until they are given back. */
struct blob_zdict;
struct blob_copies {
	struct blob_zdict **held;
	size_t n, cap;
};
void blob_copies_hold(struct kv_view *catalog, struct blob_copies *copies);
void blob_copies_give(struct blob_copies *copies);
/* For tests: digested dictionaries that nobody uses are forgotten. */
void blob_zdict_forget(void);

/* dict.h has what these do; a step of recompression is one small transaction. Outside of updates. */
SHELF_CHECK int blob_dict_train(struct kv_db *db, uint32_t shard,
				const struct shelf_dict_params *params,
				struct shelf_dict_report *report_out);
SHELF_CHECK int blob_recompress_step(struct kv_db *db, uint32_t shard, struct shelf_dict_pass *pass);

/* ---- Sums ------------------------------------------------------------------------------------------ */

/* Over the blobs of a shard whose derived bytes are known; kept for each range of 2^BLOB_RANGE_SHIFT ids. */
enum { BLOB_RANGE_SHIFT = 16 };
struct blob_sums {
	uint64_t blobs;	  /* with references */
	uint64_t size;	  /* of these: message bytes, each blob once */
	uint64_t bytes;	  /* of these: bytes stored, derived data included, each blob once */
	uint64_t refs;	  /* of these: references */
	uint64_t gross;	  /* of these: bytes stored, once for each reference */
	uint64_t unused;  /* blobs without references whose row is still there */
	uint64_t waiting; /* bytes stored that wait for removal */
	uint64_t staged;  /* bytes stored ahead of a first reference */
};
/* Of the whole shard: as many rows are read as it has ranges. */
SHELF_CHECK int blob_sums_get(struct kv_view *view, struct blob_sums *out);
/* The first range at or behind FROM that has a sum, a blob or a job: 1 found. */
SHELF_CHECK int blob_sums_next(struct kv_view *view, uint64_t from, uint64_t *range_out);
/* Of a range as kept, and as its rows say (some ten milliseconds): for proofs. */
SHELF_CHECK int blob_sums_range(struct kv_view *view, uint64_t range, struct blob_sums *out);
SHELF_CHECK int blob_sums_recount(struct kv_view *view, uint64_t range, struct blob_sums *out);

/* ---- Frames of other bytes ------------------------------------------------------------------- */

/* One frame with its size and a checksum, appended to OUT: for files beside a store. Needs nothing of a store to be
 * read again. */
SHELF_CHECK int blob_frame_pack(struct shelf_span raw, struct shelf_buf *out);
/* SHELF_ECORRUPT; also when it holds more than SIZE_MAX bytes. Appended to OUT. */
SHELF_CHECK int blob_frame_unpack(struct shelf_span packed, size_t size_max, struct shelf_buf *out);

/* ---- Removal --------------------------------------------------------------------------------------- */

/* One small transaction of removal in SHARD: 1 there is more to do, 0 nothing is left, or an error. */
SHELF_CHECK int blob_purge_step(struct kv_db *db, uint32_t shard);

#endif
