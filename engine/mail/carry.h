/*
 * carry.h (private) - an account as bytes: out of a store as of one version of it, and into one
 *
 * Shape     An account is its rows in all tables of accounts, as they are, but for the blob a message row names and
 *           what it costs: the blob is 0, and the message's bytes are meant by size and SHA-256 (the email id). So
 *           rows and bodies may come in any order and go anywhere.
 * Out       Read in slices, a snapshot of well under two seconds each. Each change of any of its rows changes its
 *           ACCT row (change.c): when that is the same in the first and in the last slice, the rows are those
 *           of one version. An account that does not rest is tried again, then read in one snapshot.
 * In        The account's name is published by the caller, last, or its place is; until then a job row says that what
 *           is there of the account may be removed, when nobody can reach it and it has lain there for a day
 *           (purge.c). Each transaction changes that row.
 */
#ifndef ENGINE_MAIL_CARRY_H
#define ENGINE_MAIL_CARRY_H

#include "mail.h"

struct shelf_draft;

struct carry_row {
	enum kv_table table;
	struct shelf_span key, value;
	bool has_body; /* MSG and GONE */
	uint64_t blob; /* where it comes from; 0: unknown */
	uint64_t size;
	uint8_t hash[BLOB_HASH_BYTES];
	bool gone; /* to mail_carry_put: there is none (any more); the value says nothing */
};

struct carry_out {
	/* Another attempt begins: rows that came before do not count. */
	void (*begin)(void *arg);
	/* In a snapshot: must not wait for anything. ROW dies with the call. */
	int (*row)(void *arg, const struct carry_row *row);
	/* Between two snapshots, and at the end: the time to copy bodies. SHELF_EMISSING: one has gone, so the
	 * account must have changed. */
	int (*pause)(void *arg);
};
/*
 * mail_carry_out(store, account, out, arg, acct_out)
 *   returns  0; SHELF_ENOACCOUNT, also when it was deleted meanwhile; SHELF_EBUSY the account does not
 *            rest and is too large for one snapshot; what a callback returned
 */
SHELF_CHECK int mail_carry_out(struct shelf_store *store, uint32_t account, const struct carry_out *out,
			       void *arg, struct mail_acct *acct_out);
/* Takes the blob out of a MSG or GONE row (other rows: left alone). BUF holds the new value. SHELF_ECORRUPT. */
SHELF_CHECK int mail_carry_unbind(struct carry_row *row, struct shelf_buf *buf);

/* Where the bytes of a message row are to come from. */
struct carry_body {
	uint64_t blob;		   /* one of the shard that is believed to hold them; 0: none */
	struct shelf_draft *draft; /* finished; NULL: only BLOB may be used */
	bool wanted;		   /* set by mail_carry_put: BLOB does not hold them (any more) */
	uint64_t linked;	   /* set by mail_carry_put: the row's blob, and what it costs */
	struct blob_cost cost;
	bool replaced;		   /* set by mail_carry_put: the row was there, and cost that */
	struct blob_cost was;
	uint64_t dropped;	   /* mail_carry_put's own */
};

/* An account on its way into a partition. */
struct mail_carry {
	struct shelf_store *store;
	uint32_t account, shard;
	uint64_t puts; /* what the job says: somebody else has not been there in between */
};
/* The job that stays until mail_carry_done. What is in the shard of an earlier try, or of an earlier stay, is
 * removed: the account lives elsewhere or nowhere. Sets C->puts. */
SHELF_CHECK int mail_carry_in(struct mail_carry *c);
/*
 * mail_carry_put(c, rows, bodies, n)
 *   In one transaction. A row that is there is replaced; it keeps its blob when the body is the same.
 *   returns  0; SHELF_EMISSING: nothing was put, bodies[i].wanted says which need a draft; SHELF_EFULL; SHELF_ECORRUPT;
 *            SHELF_ECANCELLED: somebody else has removed what there was
 */
SHELF_CHECK int mail_carry_put(struct mail_carry *c, const struct carry_row *rows, struct carry_body *bodies,
			       size_t n);
/* The row ACCT, as which it is not counted; then the account, which is to have NAME, enters the totals. */
SHELF_CHECK int mail_carry_enter(struct mail_carry *c, const struct mail_acct *acct, struct shelf_span name);
/* The account can be reached: the job goes. */
SHELF_CHECK int mail_carry_done(struct shelf_store *store, uint32_t account, uint32_t shard);
/* It will not come: the job is due now. */
SHELF_CHECK int mail_carry_give_up(struct mail_carry *c);
/* Of a view of a shard: is ACCOUNT coming in there? STAMP, if not NULL, is another one after each transaction. */
SHELF_CHECK int mail_carry_is_in(struct kv_view *view, uint32_t account, bool *out, uint64_t *stamp);
/* The value of a job MAIL_JOB_LOADING. SHELF_ECORRUPT. */
SHELF_CHECK int mail_carry_job_decode(struct shelf_span value, int64_t *since_s, uint64_t *puts);

#endif
