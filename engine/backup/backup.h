/*
 * backup.h (private) - one file that holds a store: what the files of this room share
 *
 * Shape     docs/backup-format.md. The file is appended to, a generation each run. Bodies, rows and lists of them
 *           are found by the SHA-256 of their bytes, so that what an earlier generation holds is referred to.
 *
 *   backup_file.c      header, sections, trailers: every byte passes a checksum here
 *   backup_index.c     what the file holds: kind, hash, size -> where
 *   backup_pack.c      packing: rows and bodies into sections, each once
 *   backup_run.c       a run over a store
 *   backup_read.c      a generation: accounts, rows, bodies
 *   backup_generation.c the section that ends a generation
 *   backup_list.c      what is in it, for people
 *   backup_verify.c    everything read once
 *   backup_load.c      an account into a store, whole
 *   backup_restore.c   a store, an account
 *   backup_put.c       messages into a mailbox
 *
 * Trust     A file comes from anywhere: sizes are bounded before memory is taken, nothing is believed that a
 *           checksum does not cover, and what the checksums cover is decoded like input.
 */
#ifndef ENGINE_BACKUP_H
#define ENGINE_BACKUP_H

#include <mailshelf/backup.h>

#include "base.h"
#include "carry.h"

enum {
	BACKUP_HASH_BYTES = 16,
	BACKUP_RAW_MAX = 1 << 20,      /* bytes in a section, unpacked */
	BACKUP_FILL_BYTES = 256 << 10, /* a section of rows or bodies is ended beyond that */
	BACKUP_PIECE_MAX = BLOB_FRAME_BYTES,
};

enum backup_kind {
	BACKUP_BODIES = 'B', /* pieces of messages */
	BACKUP_ROWS = 'R',   /* rows of accounts, or of the catalog */
	BACKUP_LIST = 'L',   /* ids of sections of rows */
	BACKUP_INDEX = 'I',  /* what a generation added */
	BACKUP_END = 'G',    /* the generation */
};

/* ---- Files ------------------------------------------------------------------------------------------- */

struct backup_file {
	int fd;
	uint8_t id[16];	 /* of the file, random */
	uint64_t size;	 /* up to the last trailer when it was opened; what is written comes behind */
	uint64_t last;	 /* offset of the last generation's section, 0: none */
	uint64_t number; /* of that generation */
	uint64_t tail;	 /* bytes found behind the last trailer */
	bool damaged;	 /* a generation behind it cannot be read */
};

/* SHELF_EMISSING no such file, or (for reading) no whole generation; SHELF_ESYNTAX no backup; SHELF_EVERSION;
 * SHELF_EBUSY another run writes it; SHELF_ECORRUPT; SHELF_EIO. For writing the file is made when it is not there. */
SHELF_CHECK int backup_file_open(const char *path, bool write, struct backup_file **out);
void backup_file_close(struct backup_file **file);
/* Appends a section. */
SHELF_CHECK int backup_section_put(struct backup_file *f, enum backup_kind kind, struct shelf_span raw,
				   uint64_t *offset_out);
/* Reads the section at OFFSET into RAW (cleared first); *NEXT_OUT: behind it. SHELF_ECORRUPT. */
SHELF_CHECK int backup_section_get(const struct backup_file *f, uint64_t offset, enum backup_kind kind,
				   struct shelf_buf *raw, uint64_t *next_out);
/* Flushes what was appended, then writes and flushes the trailer. */
SHELF_CHECK int backup_file_commit(struct backup_file *f, uint64_t start, uint64_t end_section, uint64_t number);

void backup_hash(struct shelf_span bytes, uint8_t out[BACKUP_HASH_BYTES]);

/* ---- Generations --------------------------------------------------------------------------------------- */

struct backup_generation {
	uint64_t number, start, previous; /* offset of the one before, 0: none */
	int64_t time_s;
	uint8_t store_id[16];
	uint32_t next_account, partitions, hold_s;
	uint64_t accounts, messages, bytes, added; /* ADDED: bytes of the file */
	uint32_t late, damaged; /* accounts not as of this run; bodies that could not be read */
	struct shelf_buf index;	  /* u64 offsets, little-endian */
	struct shelf_buf catalog; /* ids of sections of rows */
};
void backup_generation_encode(const struct backup_generation *g, struct shelf_buf *out);
SHELF_CHECK int backup_generation_get(const struct backup_file *f, uint64_t offset, struct backup_generation *out);
void backup_generation_free(struct backup_generation *g);

/* ---- What the file holds ------------------------------------------------------------------------------- */

struct backup_place {
	uint64_t offset;
	uint32_t inner; /* where the body begins in the section */
};
struct backup_index;
struct backup_index *backup_index_new(void);
void backup_index_free(struct backup_index **index);
/* SIZE: of the body, or of the section's bytes. What is there already stays. */
void backup_index_add(struct backup_index *x, enum backup_kind kind, const uint8_t *hash, uint64_t size,
		      struct backup_place place);
bool backup_index_find(const struct backup_index *x, enum backup_kind kind, const uint8_t *hash, uint64_t size,
		       struct backup_place *place_out);
size_t backup_index_count(const struct backup_index *x);
typedef int backup_index_fn(void *arg, enum backup_kind kind, const uint8_t *hash, uint64_t size,
			    struct backup_place place);
/* In the order of the file. */
SHELF_CHECK int backup_index_each(const struct backup_index *x, backup_index_fn *fn, void *arg);
/* Adds what the generation at OFFSET and all before it list. SHELF_ECORRUPT. */
SHELF_CHECK int backup_index_load(struct backup_index *x, const struct backup_file *f, uint64_t offset);

/* ---- Packing ------------------------------------------------------------------------------------------- */

struct backup_pack {
	struct backup_file *file;
	struct backup_index *index;
	struct shelf_buf listed;	/* index entries of this generation that wait */
	struct shelf_buf index_offsets; /* u64 each */
	struct shelf_buf bodies;	/* raw bytes of the next section of bodies */
};
void backup_pack_free(struct backup_pack *p);
/* Writes a section unless the file holds it; its id is 16 bytes of hash and the size (u32). */
enum { BACKUP_ID_BYTES = BACKUP_HASH_BYTES + 4 };
SHELF_CHECK int backup_pack_section(struct backup_pack *p, enum backup_kind kind, struct shelf_span raw,
				    struct shelf_buf *ids);
/* A body, piece by piece in order. *PLACE is set by the first and kept by the caller. */
SHELF_CHECK int backup_pack_piece(struct backup_pack *p, const uint8_t *hash, uint64_t size, uint64_t at,
				  struct shelf_span piece, struct backup_place *place);
/* It is whole and its bytes are what they should be: known from now on. */
SHELF_CHECK int backup_pack_body(struct backup_pack *p, const uint8_t *hash, uint64_t size,
				 struct backup_place place);
/* Must be called before anything else is written than bodies. */
SHELF_CHECK int backup_pack_flush(struct backup_pack *p);
/* Bodies and index entries that wait are written. */
SHELF_CHECK int backup_pack_end(struct backup_pack *p);

/* Rows on their way into sections: cut where a key's hash says so, so that the same rows are cut alike. */
struct backup_rows {
	struct backup_pack *pack;
	struct shelf_buf raw;
	const char *table; /* of the last row in RAW */
	struct shelf_buf ids;
};
void backup_rows_begin(struct backup_rows *r);
SHELF_CHECK int backup_rows_add(struct backup_rows *r, const char *table, struct shelf_span key,
				struct shelf_span value);
SHELF_CHECK int backup_rows_end(struct backup_rows *r); /* r->ids: all of them */
void backup_rows_free(struct backup_rows *r);

/* ---- Reading ------------------------------------------------------------------------------------------- */

/* What the catalog has of an account. */
struct backup_account {
	uint32_t id;
	bool late; /* as of an earlier generation */
	uint64_t modseq, generation;
	uint8_t stamp[BACKUP_HASH_BYTES]; /* of its ACCT and MBOX rows */
	uint32_t partition;
	struct shelf_quota quota;
	struct shelf_span user;	 /* value of its USER row */
	struct shelf_span lists; /* ids of lists */
};
void backup_account_encode(const struct backup_account *a, struct shelf_buf *value_out);
SHELF_CHECK int backup_account_decode(struct shelf_span key, struct shelf_span value, struct backup_account *out);

struct shelf_backup {
	struct backup_file *file;
	struct backup_index *index;
	struct backup_generation generation;
	struct shelf_buf section; /* the section of bodies read last */
	uint64_t section_at, section_next; /* 0: none */
};

typedef int backup_row_fn(void *arg, const char *table, struct shelf_span key, struct shelf_span value);
/* All rows of the sections in IDS. FN returns 0 to go on; anything else ends the walk and is returned. */
SHELF_CHECK int backup_each_row(struct shelf_backup *b, struct shelf_span ids, backup_row_fn *fn, void *arg);
/* ... of an account: those of its lists. */
SHELF_CHECK int backup_each_account_row(struct shelf_backup *b, const struct backup_account *a, backup_row_fn *fn,
					void *arg);
/* Aliases and policies (backup_names.c). */
SHELF_CHECK int backup_names_save(struct shelf_store *store, struct backup_rows *catalog);
SHELF_CHECK int backup_names_load(struct shelf_backup *b, struct shelf_store *store);
bool backup_is_name(const char *table);
typedef int backup_account_fn(void *arg, const struct backup_account *a);
SHELF_CHECK int backup_each_account(struct shelf_backup *b, backup_account_fn *fn, void *arg);
struct backup_found { /* an account, kept */
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	struct backup_account account;
	struct shelf_buf user, lists;
};
/* SHELF_ENOACCOUNT. Always followed by backup_found_free. */
SHELF_CHECK int backup_find_account(struct shelf_backup *b, const char *name, struct backup_found *f);
void backup_found_free(struct backup_found *f);
/* The bytes of a body in pieces. SHELF_EMISSING: the file does not hold it; SHELF_ECORRUPT: they are not these. */
typedef int backup_piece_fn(void *arg, struct shelf_span piece);
SHELF_CHECK int backup_each_piece(struct shelf_backup *b, const uint8_t *hash, uint64_t size, backup_piece_fn *fn,
				  void *arg);
struct shelf_arena;
struct mime_part;
/* The MIME scan of its first piece, which holds the header, into ARENA. As backup_each_piece. */
SHELF_CHECK int backup_scan_start(struct shelf_backup *b, const uint8_t *hash, uint64_t size,
				  struct shelf_arena *arena, struct mime_part **root_out);
/* KV_TABLES: a table this release does not know. */
unsigned backup_table(const char *name);

#endif
