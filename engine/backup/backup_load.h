/* backup_load.h (private) - accounts of a file into a store, one after the other */
#ifndef ENGINE_BACKUP_LOAD_H
#define ENGINE_BACKUP_LOAD_H

#include <mailshelf/arena.h>

#include "backup.h"

enum { BACKUP_LOAD_ROWS = 300 };

struct backup_load_box { /* a mailbox: its row waits until it is known what its mail costs here */
	uint32_t id;
	bool deleted;
	struct mail_sums sums;
	int64_t bytes_by, deleted_bytes_by; /* notes in the place of lost messages are of another size */
	size_t at, len;			    /* value in l->boxes_bytes */
};

struct backup_load_lost { /* a message whose bytes cannot be had: a note took its place */
	bool gone;
	uint32_t mailbox, uid;
	int64_t bytes_by;
};

struct backup_load {
	struct shelf_backup *b;
	struct shelf_store *store;
	int (*step)(void *arg, const struct backup_load *l); /* after each transaction; not 0: stop. NULL: none */
	void *arg;
	uint64_t messages, bodies, body_bytes; /* loaded; bodies that were not there */
	uint64_t notes_put;		       /* of the messages: in the place of lost ones */
	/* Of the account being loaded. */
	uint32_t account, shard;
	struct mail_carry carry;
	struct backup_index *blobs[KV_SHARDS_MAX]; /* body -> blob id in the shard; NULL: not read yet */
	struct backup_load_box *box; /* ascending by id */
	size_t nboxes, boxes_cap;
	struct shelf_buf boxes_bytes;
	struct backup_load_lost *lost;
	size_t nlost, lost_cap;
	struct mail_acct acct; /* sums are added up here; when all rows are there, for mail_carry_enter */
	bool has_acct;
	/* The next transaction. */
	struct carry_row row[BACKUP_LOAD_ROWS];
	struct carry_body body[BACKUP_LOAD_ROWS];
	bool own_draft[BACKUP_LOAD_ROWS]; /* made for this row; others of the batch may use it */
	size_t n;
	uint64_t cost;	       /* rows it will write, guessed */
	struct shelf_buf bytes; /* keys and values */
	struct shelf_arena notes; /* values of rows with a note */
	struct shelf_buf value;
};
/* All rows of account A but ACCT, as account ID, which has no name yet. mail_carry_enter, the name and
 * mail_carry_done are the caller's. */
SHELF_CHECK int backup_load_account(struct backup_load *l, const struct backup_account *a, uint32_t id);
void backup_load_free(struct backup_load *l);
/* The bytes of a body as a finished draft. SHELF_EMISSING: the file does not hold them. */
SHELF_CHECK int backup_make_draft(struct shelf_backup *b, struct shelf_store *store, const uint8_t *hash,
				  uint64_t size, struct shelf_draft **out);

#endif
