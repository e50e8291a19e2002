/*
 * carry_in.c - the rows of an account come into a partition, a few hundred in a transaction
 *
 *   mail_carry_in --> put ... put --> (the caller publishes the name, or the place) --> mail_carry_done
 *         \_____________\_____________ a crash: the job says that what is there may go, when it is a day old
 *
 * What must stay true
 *   - The job is in the transaction before the first row and goes after the account can be reached: rows that nobody
 *     can reach always have a job.
 *   - A row that names a body and its reference to the blob come in one transaction.
 */
#include <mailshelf/mem.h>

#include "carry.h"
#include "draft.h"

enum { TRIES = 3 };

struct job_key {
	uint8_t bytes[5];
};

static struct job_key
job_key(uint32_t account)
{
	struct job_key k = {{MAIL_JOB_LOADING}};

	base_put_be32(k.bytes + 1, account);
	return k;
}

/* The job, as of now: a long load keeps it young. */
static int
put_job(struct kv_txn *txn, uint32_t account)
{
	struct job_key key = job_key(account);
	uint8_t when[8];

	base_put_be64(when, (uint64_t)shelf_now_s());
	return kv_put(txn, KV_JOB, shelf_span(key.bytes, sizeof(key.bytes)), shelf_span(when, sizeof(when)));
}

static int
begin(struct kv_txn *txn, void *arg)
{
	return put_job(txn, *(uint32_t *)arg);
}

int
mail_carry_in(struct shelf_store *store, uint32_t account, uint32_t shard)
{
	int rc = kv_update_shard(store->kv, shard, KV_ADDS | KV_QUIET, begin, &account);

	return rc != 0 ? rc : mail_clear_rows(store, account, shard);
}

struct putting {
	uint32_t account;
	const struct carry_row *rows;
	struct carry_body *bodies;
	size_t n;
};

/* Before anything is written: a hint that does not hold needs a draft. */
static int
look_at_hints(struct kv_txn *txn, struct putting *p)
{
	struct blob_row row;
	int missing = 0;

	for (size_t i = 0; i < p->n; i++) {
		struct carry_body *body = &p->bodies[i];
		int rc;

		body->wanted = false;
		if (!p->rows[i].has_body || body->draft != NULL)
			continue;
		rc = body->blob == 0 ? SHELF_EMISSING : blob_get(kv_txn_view(txn), body->blob, &row);
		if (rc != 0 && rc != SHELF_EMISSING)
			return rc;
		body->wanted = rc != 0 || row.size != p->rows[i].size ||
			       memcmp(row.hash, p->rows[i].hash, sizeof(row.hash)) != 0;
		missing += body->wanted;
	}
	return missing > 0 ? SHELF_EMISSING : 0;
}

static int
link_body(struct kv_txn *txn, const struct carry_row *row, struct carry_body *body)
{
	int rc = SHELF_EMISSING;

	body->linked = body->blob;
	if (body->blob != 0)
		rc = blob_ref_if(txn, body->blob, row->hash, row->size, &body->cost);
	if (rc == SHELF_EMISSING && body->draft != NULL)
		rc = blob_link(txn, mail_draft_blob(body->draft), &body->linked, &body->cost);
	return rc;
}

/* The row as it is to be stored: it names the blob of this shard, and what that cost. */
static int
bind(const struct carry_row *row, const struct carry_body *body, struct shelf_buf *value)
{
	struct mail_gone g;
	int rc = row->table == KV_MSG ? mail_msg_decode(row->value, &g.msg) : mail_gone_decode(row->value, &g);

	if (rc != 0)
		return rc;
	g.msg.blob = body->linked;
	g.msg.noted = true;
	g.msg.cost = body->cost;
	shelf_buf_clear(value);
	if (row->table == KV_MSG)
		mail_msg_encode(value, &g.msg);
	else
		mail_gone_encode(value, &g);
	return 0;
}

static int
put_rows(struct kv_txn *txn, void *arg)
{
	struct putting *p = arg;
	struct shelf_buf value = {0};
	int rc = look_at_hints(txn, p);

	if (rc != 0 || (rc = put_job(txn, p->account)) != 0)
		return rc;
	kv_txn_set_account(txn, p->account);
	for (size_t i = 0; i < p->n && rc == 0; i++) {
		const struct carry_row *row = &p->rows[i];
		struct shelf_span bytes = row->value;

		if (row->has_body && (rc = link_body(txn, row, &p->bodies[i])) == 0 &&
		    (rc = bind(row, &p->bodies[i], &value)) == 0)
			bytes = shelf_buf_span(&value);
		if (rc == 0)
			rc = kv_put(txn, row->table, row->key, bytes);
	}
	shelf_buf_free(&value);
	return rc;
}

int
mail_carry_put(struct shelf_store *store, uint32_t account, uint32_t shard, const struct carry_row *rows,
	       struct carry_body *bodies, size_t n)
{
	struct putting p = {account, rows, bodies, n};
	int rc = SHELF_EBUSY;

	/* Again when a dictionary went between compressing and linking. */
	for (unsigned tries = 0; rc == SHELF_EBUSY && tries < TRIES; tries++) {
		rc = 0;
		for (size_t i = 0; i < n && rc == 0; i++)
			if (bodies[i].draft != NULL)
				rc = blob_draft_prepare(mail_draft_blob(bodies[i].draft), shard);
		if (rc == 0)
			rc = kv_update_shard(store->kv, shard, KV_ADDS | KV_QUIET, put_rows, &p);
		for (size_t i = 0; i < n && rc == SHELF_EBUSY; i++)
			if (bodies[i].draft != NULL)
				blob_draft_unprepare(mail_draft_blob(bodies[i].draft), shard);
	}
	return rc;
}

struct entering {
	uint32_t account;
	struct shelf_span name;
};

static int
enter(struct kv_txn *txn, void *arg)
{
	const struct entering *e = arg;

	kv_txn_set_account(txn, e->account);
	return mail_totals_enter(txn, e->name);
}

int
mail_carry_enter(struct shelf_store *store, uint32_t account, uint32_t shard, struct shelf_span name)
{
	struct entering e = {account, name};

	return kv_update_shard(store->kv, shard, KV_ADDS | KV_QUIET, enter, &e);
}

static int
end(struct kv_txn *txn, void *arg)
{
	struct job_key key = job_key(*(uint32_t *)arg);
	int rc = kv_del(txn, KV_JOB, shelf_span(key.bytes, sizeof(key.bytes)));

	return rc == SHELF_EMISSING ? 0 : rc;
}

int
mail_carry_done(struct shelf_store *store, uint32_t account, uint32_t shard)
{
	return kv_update_shard(store->kv, shard, KV_QUIET, end, &account);
}
