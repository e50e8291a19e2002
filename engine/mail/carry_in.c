/*
 * carry_in.c - the rows of an account come into a partition, a few hundred in a transaction
 *
 *   mail_carry_in --> put ... put --> (the caller publishes the name, or the place) --> mail_carry_done
 *         \_____________\_____________ a crash: the job says that what is there may go, when it is a day old
 *
 * What must stay true
 *   - The job is in the transaction before the first row and goes after the account can be reached: rows that nobody
 *     can reach always have a job. Its number of transactions is the one that the next transaction expects: who was
 *     taken for dead finds that out and puts nothing any more.
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

int
mail_carry_job_decode(struct shelf_span value, int64_t *since_s, uint64_t *puts)
{
	if (value.len != 8 && value.len != 16) /* 8: of an older release */
		return SHELF_ECORRUPT;
	*since_s = (int64_t)base_get_be64(value.data);
	*puts = value.len == 16 ? base_get_be64(value.data + 8) : 0;
	return 0;
}

/* SHELF_EMISSING: there is none. */
static int
get_job(struct kv_view *view, uint32_t account, uint64_t *puts)
{
	struct job_key key = job_key(account);
	struct shelf_span value;
	int64_t since_s;
	int rc = kv_get(view, KV_JOB, shelf_span(key.bytes, sizeof(key.bytes)), &value);

	*puts = 0;
	return rc != 0 ? rc : mail_carry_job_decode(value, &since_s, puts);
}

static int
put_job(struct kv_txn *txn, uint32_t account, int64_t since_s, uint64_t puts)
{
	struct job_key key = job_key(account);
	uint8_t value[16];

	base_put_be64(value, (uint64_t)since_s);
	base_put_be64(value + 8, puts);
	return kv_put(txn, KV_JOB, shelf_span(key.bytes, sizeof(key.bytes)), shelf_span(value, sizeof(value)));
}

/* The job, as of now: a long load keeps it young. */
static int
next_put(struct kv_txn *txn, const struct mail_carry *c)
{
	uint64_t puts;
	int rc = get_job(kv_txn_view(txn), c->account, &puts);

	if (rc == SHELF_EMISSING || (rc == 0 && puts != c->puts))
		return SHELF_ECANCELLED;
	return rc != 0 ? rc : put_job(txn, c->account, shelf_now_s(), puts + 1);
}

/* What had stayed of it when it left is not of the account that comes. */
static int
begin(struct kv_txn *txn, void *arg)
{
	struct mail_carry *c = arg;
	uint8_t left[5] = {MAIL_JOB_LEFT};
	int rc = get_job(kv_txn_view(txn), c->account, &c->puts);

	if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	base_put_be32(left + 1, c->account);
	rc = kv_del(txn, KV_JOB, shelf_span(left, sizeof(left)));
	if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	return put_job(txn, c->account, shelf_now_s(), ++c->puts);
}

int
mail_carry_in(struct mail_carry *c)
{
	int rc = kv_update_shard(c->store->kv, c->shard, KV_ADDS | KV_QUIET, begin, c);

	return rc != 0 ? rc : mail_clear_rows(c->store, c->account, c->shard);
}

struct putting {
	const struct mail_carry *carry;
	const struct carry_row *rows;
	struct carry_body *bodies;
	size_t n;
};

static bool
is_message(const struct carry_row *row)
{
	return row->table == KV_MSG || row->table == KV_GONE;
}

/* The message row that is there already. */
static int
there(struct kv_view *view, const struct carry_row *row, bool *out, struct mail_msg *msg)
{
	struct mail_gone g = {0};
	struct shelf_span value;
	int rc = kv_get(view, row->table, row->key, &value);

	*out = rc == 0;
	if (rc == 0)
		rc = row->table == KV_MSG ? mail_msg_decode(value, &g.msg) : mail_gone_decode(value, &g);
	*msg = g.msg;
	return rc == SHELF_EMISSING ? 0 : rc;
}

static bool
has_same_body(const struct carry_row *row, const struct mail_msg *msg)
{
	return msg->size == row->size && memcmp(msg->email_id, row->hash, sizeof(row->hash)) == 0;
}

/* Before anything is written: a hint that does not hold needs a draft. */
static int
look_at_hints(struct kv_view *view, struct putting *p)
{
	struct blob_row row;
	struct mail_msg was;
	int missing = 0;

	for (size_t i = 0; i < p->n; i++) {
		struct carry_body *body = &p->bodies[i];
		bool is_there;
		int rc;

		body->wanted = false;
		if (!p->rows[i].has_body || body->draft != NULL)
			continue;
		if ((rc = there(view, &p->rows[i], &is_there, &was)) != 0)
			return rc;
		if (is_there && has_same_body(&p->rows[i], &was))
			continue;
		rc = body->blob == 0 ? SHELF_EMISSING : blob_get(view, body->blob, &row);
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
	body->wanted = rc == SHELF_EMISSING;
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

/* What the row before it referred to is for the caller to let go: body->dropped. */
static int
put_message(struct kv_txn *txn, const struct carry_row *row, struct carry_body *body, struct shelf_buf *value)
{
	struct mail_msg was;
	bool same;
	int rc = there(kv_txn_view(txn), row, &body->replaced, &was);

	body->dropped = 0;
	if (rc != 0 || (row->gone && !body->replaced))
		return rc;
	body->was = was.cost;
	same = body->replaced && !row->gone && has_same_body(row, &was);
	if (same) {
		body->linked = was.blob;
		body->cost = was.cost;
	} else if (!row->gone && (rc = link_body(txn, row, body)) != 0) {
		return rc;
	}
	body->dropped = body->replaced && !same ? was.blob : 0;
	if (row->gone)
		return kv_del(txn, row->table, row->key);
	rc = bind(row, body, value);
	return rc == 0 ? kv_put(txn, row->table, row->key, shelf_buf_span(value)) : rc;
}

static int
put_plain(struct kv_txn *txn, const struct carry_row *row)
{
	int rc = row->gone ? kv_del(txn, row->table, row->key) : kv_put(txn, row->table, row->key, row->value);

	return row->gone && rc == SHELF_EMISSING ? 0 : rc;
}

static int
put_rows(struct kv_txn *txn, void *arg)
{
	struct putting *p = arg;
	struct shelf_buf value = {0};
	int rc;

	kv_txn_set_account(txn, p->carry->account);
	if ((rc = look_at_hints(kv_txn_view(txn), p)) != 0 || (rc = next_put(txn, p->carry)) != 0)
		return rc;
	for (size_t i = 0; i < p->n && rc == 0; i++)
		rc = is_message(&p->rows[i]) ? put_message(txn, &p->rows[i], &p->bodies[i], &value)
					     : put_plain(txn, &p->rows[i]);
	/* The new references first: a message that was moved keeps its body. */
	for (size_t i = 0; i < p->n && rc == 0; i++)
		if (is_message(&p->rows[i]) && p->bodies[i].dropped != 0)
			rc = blob_unref(txn, p->bodies[i].dropped);
	shelf_buf_free(&value);
	return rc;
}

int
mail_carry_put(struct mail_carry *c, const struct carry_row *rows, struct carry_body *bodies, size_t n)
{
	struct putting p = {c, rows, bodies, n};
	int rc = SHELF_EBUSY;

	/* Again when a dictionary went between compressing and linking. */
	for (unsigned tries = 0; rc == SHELF_EBUSY && tries < TRIES; tries++) {
		rc = 0;
		for (size_t i = 0; i < n && rc == 0; i++)
			if (bodies[i].draft != NULL)
				rc = blob_draft_prepare(mail_draft_blob(bodies[i].draft), c->shard);
		if (rc == 0)
			rc = kv_update_shard(c->store->kv, c->shard, KV_ADDS | KV_QUIET, put_rows, &p);
		for (size_t i = 0; i < n && rc == SHELF_EBUSY; i++)
			if (bodies[i].draft != NULL)
				blob_draft_unprepare(mail_draft_blob(bodies[i].draft), c->shard);
	}
	c->puts += rc == 0;
	return rc;
}

struct entering {
	const struct mail_carry *carry;
	const struct mail_acct *acct;
	struct shelf_span name;
};

/* Perhaps not for the first time. */
static int
enter(struct kv_txn *txn, void *arg)
{
	const struct entering *e = arg;
	struct mail_acct acct = *e->acct;
	int rc;

	acct.counted = false;
	kv_txn_set_account(txn, e->carry->account);
	if ((rc = next_put(txn, e->carry)) != 0)
		return rc;
	rc = mail_totals_leave(txn);
	if (rc != 0 && rc != SHELF_ENOACCOUNT)
		return rc;
	if ((rc = mail_acct_put(txn, &acct)) != 0)
		return rc;
	return mail_totals_enter(txn, e->name);
}

int
mail_carry_enter(struct mail_carry *c, const struct mail_acct *acct, struct shelf_span name)
{
	struct entering e = {c, acct, name};
	int rc = kv_update_shard(c->store->kv, c->shard, KV_ADDS | KV_QUIET, enter, &e);

	c->puts += rc == 0;
	return rc;
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

static int
give_up(struct kv_txn *txn, void *arg)
{
	const struct mail_carry *c = arg;
	uint64_t puts;
	int rc = get_job(kv_txn_view(txn), c->account, &puts);

	if (rc != 0 || puts != c->puts)
		return rc == SHELF_EMISSING ? 0 : rc;
	return put_job(txn, c->account, 0, puts + 1);
}

int
mail_carry_give_up(struct mail_carry *c)
{
	return kv_update_shard(c->store->kv, c->shard, KV_QUIET, give_up, c);
}

int
mail_carry_is_in(struct kv_view *view, uint32_t account, bool *out, uint64_t *stamp)
{
	uint64_t puts;
	int rc = get_job(view, account, &puts);

	*out = rc == 0;
	if (stamp != NULL)
		*stamp = puts;
	return rc == SHELF_EMISSING ? 0 : rc;
}
