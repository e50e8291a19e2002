/* move.h (private) - an account on its way from one partition to another: what move.c and move_copy.c share */
#ifndef ENGINE_MAIL_MOVE_H
#define ENGINE_MAIL_MOVE_H

#include <mailshelf/partition.h>

#include "carry.h"

enum { MOVE_ROWS = 200 };

/* A mailbox: what its rows cost in the new partition. */
struct move_box {
	uint32_t id;
	bool deleted;
	bool dirty; /* its row is to be copied (again) */
	uint64_t noted;
	struct mail_sums sums;
};

struct shelf_mover {
	struct shelf_store *store;
	shelf_moved_fn *step;
	void *arg;
	struct shelf_moved done;
	/* Bodies that have more than one reference: open addressing, a blob's handle -> handle of its copy; 0: free. */
	struct move_copied {
		uint64_t from, to;
	} *copied;
	size_t copied_cap, copied_used;

	/* Of the account that moves. */
	struct mail_carry in;
	uint32_t from;
	struct move_box *box; /* ascending by id */
	size_t nboxes, boxes_cap;
	uint64_t gone;		    /* held rows copied */
	struct mail_sums gone_sums; /* what they cost */
	struct mail_acct acct;	    /* as it goes to the new partition */
	struct shelf_buf acct_was;  /* its row in the old one */

	/* The next transaction. */
	struct carry_row row[MOVE_ROWS];
	struct carry_body body[MOVE_ROWS];
	bool own_draft[MOVE_ROWS]; /* others of the batch may use it */
	struct shelf_draft *behind[MOVE_ROWS]; /* what lies behind the head of that, NULL without one */
	uint64_t behind_from[MOVE_ROWS];       /* its handle */
	bool shared[MOVE_ROWS];
	size_t at[MOVE_ROWS]; /* in BYTES: the key, then the value */
	size_t n;
	uint64_t cost; /* rows that it will write, guessed */
	uint64_t body_bytes;
	struct shelf_buf bytes, value;
	struct kv_change change[MOVE_ROWS];
	size_t changed; /* told by the last look for changes */
};

/* All rows of the account, but ACCT and MBOX, whose mailboxes become dirty. */
SHELF_CHECK int move_copy_all(struct shelf_mover *m);
/* The next rows that were changed meanwhile. 1: there are more. */
SHELF_CHECK int move_copy_changes(struct shelf_mover *m, struct kv_leave *leave);
/* The rows of dirty mailboxes. */
SHELF_CHECK int move_copy_boxes(struct shelf_mover *m);
/* m->acct and m->acct_was as of now; sums are those of the copy. SHELF_ECORRUPT: the counters say that the copy is
 * not the account, as of now. */
SHELF_CHECK int move_take_account(struct shelf_mover *m);
/* Nothing of an account is known any more. */
void move_forget(struct shelf_mover *m);

#endif
