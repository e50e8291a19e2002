/*
 * kv_write.c - what a closure may do to the transaction it runs in
 *
 * What must stay true: a write that failed makes the whole transaction useless, so that its error
 * sticks: whatever the closure answers, its update fails (kv_commit.c looks at kv_txn.failed).
 * Errors found before LMDB was asked (too big, wrong table, nothing to remove) leave no trace.
 */
#include <mailshelf/mem.h>
#include "base.h"
#include "kv_internal.h"

struct kv_view *
kv_txn_view(struct kv_txn *txn)
{
	return &txn->view;
}

uint32_t
kv_txn_account(const struct kv_txn *txn)
{
	return txn->view.account;
}

void
kv_txn_set_account(struct kv_txn *txn, uint32_t account)
{
	const struct kv_job *job = txn->job;

	SHELF_ASSERT(job->of_shard || (job->other != 0 && (account == job->account || account == job->other)));
	txn->view.account = account;
}

unsigned
kv_txn_writes(const struct kv_txn *txn)
{
	return txn->job_writes;
}

static void
note_touched(struct kv_txn *txn)
{
	struct shelf_buf *touched = &txn->touched;
	uint32_t account = txn->view.account, last;

	if ((txn->job->flags & KV_QUIET) != 0 || txn->env->shard == KV_SHARDS_MAX || account == 0)
		return;
	if (touched->len >= sizeof last) {
		memcpy(&last, touched->data + touched->len - sizeof last, sizeof last);
		if (last == account)
			return;
	}
	shelf_buf_add(touched, &account, sizeof account);
}

static int
after_write(struct kv_txn *txn, enum kv_table table, const struct kv_full_key *key, size_t value_len,
    int rc)
{
	if (rc == 0 && txn->logging) {
		rc = kv_log_add(txn, KV_LOG_MARK, table, shelf_span(key->bytes, key->len));
		txn->pages += kv_room_cost(txn->view.file, 0);
	}
	if (rc == 0 && kv_leave_logs(txn, table)) {
		rc = kv_log_add(txn, KV_LEAVE_MARK, table, shelf_span(key->bytes, key->len));
		txn->pages += kv_room_cost(txn->view.file, 0);
	}
	if (rc != 0) {
		txn->failed = rc;
		return rc;
	}
	txn->job_writes++;
	txn->writes++;
	txn->bytes += value_len;
	txn->pages += kv_room_cost(txn->view.file, value_len);
	note_touched(txn);
	return 0;
}

/* What was handed out may lie in a page that the write moves, or be a copy that dies now: so the
 * arguments are copied before anything is released. */
static int
prepare(struct kv_txn *txn, enum kv_table table, struct shelf_span key, struct kv_full_key *full)
{
	int rc = kv_make_key(&txn->view, table, key, full);

	return rc != 0 ? rc : txn->failed;
}

int
kv_put(struct kv_txn *txn, enum kv_table table, struct shelf_span key, struct shelf_span value)
{
	struct kv_full_key full;
	uint64_t cost = kv_room_cost(txn->view.file, value.len);
	int rc = prepare(txn, table, key, &full);

	if (rc != 0)
		return rc;
	if (value.len > KV_VALUE_MAX)
		return SHELF_ETOOBIG;
	if (value.len > 0)
		memcpy(txn->value, value.data, value.len);
	value.data = txn->value;
	kv_view_release(&txn->view);
	rc = kv_fault_at(KV_AT_PUT);
	if (rc == 0 && !kv_room_has(txn, cost))
		rc = SHELF_EFULL;
	if (rc == 0)
		rc = kv_lmdb_put(txn->view.file, txn->view.mdb, table, shelf_span(full.bytes, full.len), value);
	return after_write(txn, table, &full, value.len, rc);
}

/* The row after the last fills what is left of its page, however little; the next begins a page. */
enum { CUT_LEAST_BYTES = 64 };

static size_t
next_cut(struct kv_txn *txn, enum kv_table table, size_t key_len, size_t len)
{
	size_t max = kv_lmdb_inline_max(key_len);
	size_t room = kv_lmdb_room(txn->view.file, txn->view.mdb, table, key_len);

	if (room >= CUT_LEAST_BYTES && room < max)
		max = room;
	return len < max ? len : max;
}

int
kv_put_cut(struct kv_txn *txn, enum kv_table table, struct shelf_span key, uint32_t n,
    struct shelf_span value)
{
	uint8_t full[KV_KEY_MAX];
	size_t len;
	int rc;

	if (value.len == 0 || value.len > KV_VALUE_MAX || key.len + sizeof n > sizeof full)
		return SHELF_EINVALID;
	memcpy(full, key.data, key.len);
	for (; value.len > 0; value = shelf_span(value.data + len, value.len - len)) {
		base_put_be32(full + key.len, n++);
		len = next_cut(txn, table, key.len + sizeof n, value.len);
		rc = kv_put(txn, table, shelf_span(full, key.len + sizeof n), shelf_span(value.data, len));
		if (rc != 0)
			return rc;
	}
	return 0;
}

int
kv_del(struct kv_txn *txn, enum kv_table table, struct shelf_span key)
{
	struct kv_full_key full;
	int rc = prepare(txn, table, key, &full);

	if (rc != 0)
		return rc;
	kv_view_release(&txn->view);
	rc = kv_fault_at(KV_AT_DEL);
	if (rc == 0)
		rc = kv_lmdb_del(txn->view.file, txn->view.mdb, table, shelf_span(full.bytes, full.len));
	return rc == SHELF_EMISSING ? rc : after_write(txn, table, &full, 0, rc);
}
