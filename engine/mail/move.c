/*
 * move.c - an account moves to another partition (docs/decisions/0015-moving-an-account.md)
 *
 *   open     the old partition writes down what is changed (kv_leave.c); a job in the new one says that what comes in
 *            there may be removed
 *   copy     all rows and bodies, then what was changed meanwhile, in rounds, until few are left
 *   close    who writes to the account waits; the last changes, the rows that hold sums, the account's own
 *   switch   one transaction of the old partition: the account's row goes, LEFT says where it is now. The moment
 *   settle   PLACE names the new partition, its job goes; the old rows are removed by the purge, some minutes later
 *
 * What must stay true: before the switch only the old partition is believed, whatever lies in the new one; behind it
 * only the new one. Rows of the account in a partition where it does not live have a job there: `L` before, `M` behind.
 */
#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "move.h"

enum {
	FEW_CHANGES = 50, /* are copied while writers wait */
	ROUNDS_MAX = 400, /* of changes, before writers wait for more than a few */
	CLOSE_TRIES = 5,
};

struct shelf_mover *
shelf_mover_new(struct shelf_store *store, shelf_moved_fn *step, void *arg)
{
	struct shelf_mover *m = SHELF_NEW(struct shelf_mover);

	m->store = store;
	m->step = step;
	m->arg = arg;
	return m;
}

void
shelf_mover_free(struct shelf_mover **mover)
{
	struct shelf_mover *m = *mover;

	if (m == NULL)
		return;
	*mover = NULL;
	shelf_buf_free(&m->bytes);
	shelf_buf_free(&m->value);
	shelf_buf_free(&m->acct_was);
	free(m->copied);
	free(m->box);
	free(m);
}

int
shelf_partition_choose(struct shelf_store *store, uint32_t partition, uint32_t *partition_out)
{
	return kv_place_beside(store->kv, partition, partition_out);
}

int
mail_settle(struct shelf_store *store, uint32_t account)
{
	uint32_t shard;
	int rc = kv_settle(store->kv, account);

	if (rc == 0)
		rc = kv_shard_of(store->kv, account, &shard);
	return rc != 0 ? rc : mail_carry_done(store, account, shard);
}

/* ---- Before ------------------------------------------------------------------------------------- */

/* What it takes there, about: bodies that it shares here with others may be written anew. */
static int
check_room(struct shelf_mover *m)
{
	struct shelf_disk d;
	struct shelf_rd *rd = NULL;
	uint64_t need;
	int rc = shelf_rd_begin(m->store, m->in.account, &rd);

	if (rc != 0)
		return rc;
	m->done.total = rd->acct.quota.used_messages + rd->acct.quota.held_messages;
	need = rd->acct.used.stored + rd->acct.held.stored;
	need += need / 16 + m->done.total * 256;
	shelf_rd_end(&rd);
	if ((rc = mail_disk_look(m->store, m->in.shard, &d)) != 0)
		return rc;
	return d.state >= SHELF_DISK_REFUSE || d.disk_free_bytes < need || d.map_free_bytes < need ? SHELF_EFULL : 0;
}

/* ---- Rounds, and the moment --------------------------------------------------------------------- */

static int
copy_rounds(struct shelf_mover *m, struct kv_leave *leave)
{
	uint64_t before;
	int rc = 1;

	for (unsigned i = 0; i < ROUNDS_MAX && rc >= 0; i++) {
		before = m->done.changes;
		rc = move_copy_changes(m, leave);
		if (rc == 0 && m->done.changes - before <= FEW_CHANGES)
			break;
		if (rc >= 0 && m->step != NULL && !m->step(m->arg, &m->done))
			rc = SHELF_ECANCELLED;
	}
	return rc < 0 ? rc : move_copy_boxes(m);
}

/* The old rows are of nobody from here on. */
static int
leave_rows(struct kv_txn *txn, void *arg)
{
	struct shelf_mover *m = arg;
	uint8_t deleted[5] = {MAIL_JOB_ACCOUNT}, left[5] = {MAIL_JOB_LEFT}, now[8];
	struct shelf_span value;
	int rc;

	base_put_be32(deleted + 1, m->in.account);
	base_put_be32(left + 1, m->in.account);
	base_put_be64(now, (uint64_t)shelf_now_s());
	rc = kv_get(kv_txn_view(txn), KV_JOB, shelf_span(deleted, sizeof(deleted)), &value);
	if (rc != SHELF_EMISSING)
		return rc == 0 ? SHELF_ENOACCOUNT : rc; /* it is being deleted: here */
	kv_txn_set_account(txn, m->in.account);
	rc = kv_get(kv_txn_view(txn), KV_ACCT, shelf_span(NULL, 0), &value);
	if (rc != 0 || !shelf_span_eq(value, shelf_buf_span(&m->acct_was)))
		return rc == 0 ? SHELF_ECANCELLED : rc;
	if ((rc = mail_totals_leave(txn)) != 0 || (rc = kv_del(txn, KV_ACCT, shelf_span(NULL, 0))) != 0)
		return rc;
	return kv_put(txn, KV_JOB, shelf_span(left, sizeof(left)), shelf_span(now, sizeof(now)));
}

/* Of a closed account. SHELF_ECANCELLED: it is not closed any more. */
static int
prove_whole(struct shelf_mover *m, struct kv_leave *leave)
{
	int rc = move_take_account(m), more;

	if (rc != SHELF_ECORRUPT)
		return rc;
	more = move_copy_changes(m, leave);
	return more < 0 ? more : m->changed > 0 ? SHELF_ECANCELLED : SHELF_ECORRUPT;
}

/* SHELF_ECANCELLED: it did not stay closed for as long as that takes. */
static int
try_to_leave(struct shelf_mover *m, struct kv_leave *leave, struct shelf_span name)
{
	int64_t begun_ms = shelf_mono_ms();
	int rc = kv_leave_close(leave);

	m->done.tries++;
	if (rc == 0)
		do {
			rc = move_copy_changes(m, leave);
		} while (rc == 1);
	if (rc == 0 && (rc = move_copy_boxes(m)) == 0 && (rc = prove_whole(m, leave)) == 0 &&
	    (rc = mail_carry_enter(&m->in, &m->acct, name)) == 0)
		rc = kv_leave_end(leave, m->in.shard, leave_rows, m);
	m->done.closed_ms = (unsigned)(shelf_mono_ms() - begun_ms);
	return rc;
}

static int
copy_and_leave(struct shelf_mover *m, struct kv_leave *leave, struct shelf_span name)
{
	int rc = mail_carry_in(&m->in);

	if (rc == 0)
		rc = move_copy_all(m);
	if (rc == 0)
		rc = copy_rounds(m, leave);
	for (unsigned i = 0; i < CLOSE_TRIES && rc == 0; i++) {
		rc = try_to_leave(m, leave, name);
		if (rc != SHELF_ECANCELLED)
			return rc;
		rc = copy_rounds(m, leave);
	}
	return rc == 0 ? SHELF_EBUSY : rc;
}

/* ---- One account -------------------------------------------------------------------------------- */

static void
tell(const struct shelf_mover *m, int rc)
{
	const struct shelf_moved *d = &m->done;

	shelf_log(rc == 0 ? SHELF_LOG_INFO : SHELF_LOG_WARN, rc == 0 ? "account moved" : "account stays", "account",
		  "%u", m->in.account, "from", "%u", d->from, "to", "%u", d->to, "messages", "%llu",
		  (unsigned long long)d->messages, "changes", "%llu", (unsigned long long)d->changes, "closed_ms",
		  "%u", d->closed_ms, "result", "%s", shelf_err_name(rc), NULL);
}

static int
move_away(struct shelf_mover *m, const struct shelf_account *a)
{
	struct kv_leave *leave = NULL;
	bool began = false;
	int rc = check_room(m), settle_rc;

	if (rc == 0)
		rc = kv_leave_begin(m->store->kv, a->id, &leave);
	if (rc == 0 && kv_leave_from(leave) != m->from)
		rc = SHELF_EBUSY;
	if (rc == 0) {
		began = true;
		rc = mail_pool_ready(m->store, shelf_span_str(a->name), m->in.shard);
	}
	if (rc == 0) {
		rc = copy_and_leave(m, leave, shelf_span_str(a->name));
	}
	kv_leave_free(&leave);
	tell(m, rc);
	/* What cannot be done now is done by the purge. */
	if (rc == 0)
		settle_rc = mail_settle(m->store, a->id);
	else
		settle_rc = began && rc != SHELF_EUNKNOWN ? mail_carry_give_up(&m->in) : 0;
	if (settle_rc != 0)
		shelf_log(SHELF_LOG_WARN, "move not settled", "account", "%u", a->id, "error", "%s",
			  shelf_err_name(settle_rc), NULL);
	return rc;
}

int
shelf_account_move(struct shelf_mover *m, uint32_t id, uint32_t partition, struct shelf_moved *out)
{
	struct shelf_account account;
	int rc = partition < kv_shards(m->store->kv) ? 0 : SHELF_EINVALID;

	m->done = (struct shelf_moved){.to = partition};
	move_forget(m);
	if (rc == 0)
		rc = shelf_account_get(m->store, id, &account);
	if (rc == 0) {
		m->done.from = m->from = account.partition;
		m->in = (struct mail_carry){.store = m->store, .account = id, .shard = partition};
		rc = m->from == partition ? mail_settle(m->store, id) : move_away(m, &account);
	}
	*out = m->done;
	return rc;
}
