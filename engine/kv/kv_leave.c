/*
 * kv_leave.c - an account leaves a shard while all processes go on using it
 *
 *   open     the row "leaving" names the account: the key of every row of it that is written or removed is
 *            written down too, in the same transaction, whoever does it
 *   closed   updates of the account wait, in every process
 *   left     LEFT says where it went, in one transaction of the shard it leaves: the moment
 *   drop     the keys are of no use any more, and go a few with each transaction
 *
 * Rows of the table KV_OWN, which end with the file:
 *   "leaving"                               account u32, move u64, round u32, state u8
 *   0xfe, commit number u64, table u8, key  as in kv_log.c
 * Table LEFT, which stays: account u32 -> format 1, move u64, shard u32 (both little-endian).
 *
 * The moves of a store are numbered. Who looks for an account begins wherever he believes it to be, with move 0; a
 * shard whose row in LEFT has a later move than the one that brought him there sends him on. So a row of an earlier
 * stay does not hurt where the account has come back, and rows may stay for ever: they are what tells a process
 * that had the account in mind for weeks.
 *
 * What must stay true: LEFT is looked at in the snapshot or transaction that is used then. Who moves an account holds
 * the lock of kv_move.c as long as he lives: a row "leaving" while nobody holds it is a dead one's, and the
 * account stays where it is. Nobody waits longer than CLOSED_MAX_MS: the account is open again then, its changes are
 * written down as before, and kv_leave_end refuses.
 */
#include <stdlib.h>
#include <unistd.h>
#include <mailshelf/mem.h>
#include "base.h"
#include "kv_internal.h"

enum { FORMAT = 1, CHECK_MS = 1000, CLOSED_CHECK_MS = 100, CLOSED_MAX_MS = 2000 };
enum leaving_state { OPEN = 1, CLOSED = 2, DROP = 3 };

static const struct shelf_span leaving_key = {(const uint8_t *)"leaving", 7};
static const struct shelf_span next_move_key = {(const uint8_t *)"next-move", 9};

struct kv_leave {
	struct kv_db *db;
	struct kv_env *env;
	int fd; /* of the lock */
	struct kv_leaving row;
	struct kv_log_key at; /* the keys behind this one have not been told of */
	uint32_t to;
	bool over; /* whatever comes, the row is not ours any more */
	kv_update_fn *fn; /* of kv_leave_end */
	void *arg;
};

/* ---- Rows --------------------------------------------------------------------------------------- */

static int
read_leaving(struct kv_file *file, struct MDB_txn *mdb, struct kv_leaving *out)
{
	struct shelf_span value;
	struct base_reader r;
	int rc = kv_lmdb_get(file, mdb, KV_OWN, leaving_key, &value);

	*out = (struct kv_leaving){0};
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	r = base_reader(value);
	out->account = (uint32_t)base_get_le(&r, 4);
	out->move = base_get_le(&r, 8);
	out->round = (uint32_t)base_get_le(&r, 4);
	out->state = (uint8_t)base_get_le(&r, 1);
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

/* Closures that follow in the transaction know of it, too. */
static int
write_leaving(struct kv_txn *txn, const struct kv_leaving *row)
{
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, row->account, 4);
	base_add_le(&value, row->move, 8);
	base_add_le(&value, row->round, 4);
	base_add_le(&value, row->state, 1);
	kv_view_release(&txn->view);
	rc = kv_fault_at(KV_AT_PUT);
	if (rc == 0)
		rc = kv_lmdb_put(txn->view.file, txn->view.mdb, KV_OWN, leaving_key, shelf_buf_span(&value));
	shelf_buf_free(&value);
	if (rc != 0) {
		txn->failed = rc;
		return rc;
	}
	txn->leaving = *row;
	txn->job_writes++;
	txn->writes++;
	txn->pages += kv_room_cost(txn->view.file, 0);
	return 0;
}

static int
read_left(struct kv_file *file, struct MDB_txn *mdb, uint32_t account, uint64_t *move, uint32_t *shard)
{
	uint8_t key[4];
	struct shelf_span value;
	struct base_reader r;
	int rc;

	base_put_be32(key, account);
	rc = kv_lmdb_get(file, mdb, KV_LEFT, shelf_span(key, sizeof key), &value);
	if (rc != 0)
		return rc;
	r = base_reader(value);
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	*move = base_get_le(&r, 8);
	*shard = (uint32_t)base_get_le(&r, 4);
	return r.bad || base_left(&r) != 0 || *shard >= KV_SHARDS_MAX ? SHELF_ECORRUPT : 0;
}

int
kv_leave_look(struct kv_file *file, struct MDB_txn *mdb, uint32_t account, uint64_t *move, uint32_t *shard)
{
	uint64_t left_by = 0;
	uint32_t to = 0;
	int rc;

	if (!atomic_load_explicit(&file->some_left, memory_order_relaxed))
		return 0;
	rc = read_left(file, mdb, account, &left_by, &to);
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if (left_by <= *move)
		return 0; /* and has come back since */
	*move = left_by;
	*shard = to;
	return 1;
}

int
kv_has_left(struct kv_view *view, uint32_t account, bool *out)
{
	uint64_t move;
	uint32_t shard;
	int rc = read_left(view->file, view->mdb, account, &move, &shard);

	*out = rc == 0;
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* ---- In the transactions of all processes ------------------------------------------------------- */

/* Nobody holds the lock any more. Asked at most every EVERY_MS. */
static bool
is_dead(struct kv_env *env, int64_t every_ms)
{
	int64_t now_ms = kv_coarse_ms();
	int fd;

	if (now_ms - env->leave_checked_ms < every_ms)
		return false;
	env->leave_checked_ms = now_ms;
	if (kv_move_lock(env, &fd) != 0)
		return false;
	close(fd);
	return true;
}

int
kv_leave_txn(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;
	struct kv_file *file = txn->view.file;
	struct MDB_txn *mdb = txn->view.mdb;
	uint64_t left = 0;
	int rc;

	if (env->shard == KV_SHARDS_MAX)
		return 0;
	rc = kv_lmdb_count(file, mdb, KV_LEFT, &left);
	if (rc == 0)
		rc = read_leaving(file, mdb, &txn->leaving);
	if (left > 0)
		atomic_store_explicit(&file->some_left, true, memory_order_relaxed);
	if (rc != 0 || txn->leaving.account == 0)
		return rc;
	if (txn->leaving.state == DROP)
		return kv_log_drop(file, mdb, KV_LEAVE_MARK, leaving_key);
	if (txn->leaving.state == OPEN && is_dead(env, CHECK_MS)) {
		struct kv_leaving row = txn->leaving;

		row.state = DROP;
		rc = write_leaving(txn, &row);
	}
	return rc;
}

/* The account is closed. 1: goes on waiting. */
static int
wait_or_open(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;
	struct kv_leaving row = txn->leaving;
	int64_t now_ms = kv_coarse_ms();

	if (env->closed_move != row.move || env->closed_round != row.round) {
		env->closed_move = row.move;
		env->closed_round = row.round;
		env->closed_ms = now_ms;
	}
	if (is_dead(env, CLOSED_CHECK_MS))
		row.state = DROP;
	else if (now_ms - env->closed_ms > CLOSED_MAX_MS)
		row.state = OPEN;
	else
		return 1;
	return write_leaving(txn, &row);
}

/* The second account of an update, when the first is here and open: it does not wait for that one. */
static int
admit_other(struct kv_txn *txn, const struct kv_job *job)
{
	struct kv_env *env = txn->env;
	bool closed = (env->parked != NULL && env->parked->account == job->other) ||
	    (txn->leaving.account == job->other && txn->leaving.state == CLOSED);
	uint64_t move = 0;
	uint32_t shard;
	int rc = kv_leave_look(txn->view.file, txn->view.mdb, job->other, &move, &shard);

	return rc < 0 ? rc : rc == 1 || closed ? SHELF_EBUSY : 0;
}

int
kv_leave_admit(struct kv_txn *txn, struct kv_job *job)
{
	struct kv_env *env = txn->env;
	int rc;

	job->fate = KV_RUNS;
	if (job->of_shard || env->shard == KV_SHARDS_MAX || job->account == KV_CATALOG)
		return 0;
	rc = kv_leave_look(txn->view.file, txn->view.mdb, job->account, &job->move, &job->shard);
	if (rc == 1 && job->other != 0)
		return SHELF_EBUSY; /* the other one need not be there */
	if (rc != 0) {
		job->fate = rc == 1 ? KV_GOES : KV_RUNS;
		return rc == 1 ? 0 : rc;
	}
	/* Behind those that wait already, whatever has happened since. */
	if (env->parked != NULL && env->parked->account == job->account)
		rc = 1;
	else if (txn->leaving.account == job->account && txn->leaving.state == CLOSED)
		rc = wait_or_open(txn);
	if (rc == 1)
		job->fate = KV_WAITS;
	else if (rc == 0 && job->other != 0)
		rc = admit_other(txn, job);
	return rc == 1 ? 0 : rc;
}

bool
kv_leave_logs(const struct kv_txn *txn, enum kv_table table)
{
	return txn->leaving.account != 0 && txn->leaving.state != DROP &&
	    kv_scope_of[table] == KV_SCOPE_ACCOUNT && txn->view.account == txn->leaving.account;
}

/* ---- Who moves it ------------------------------------------------------------------------------- */

static int
take_number(struct kv_txn *txn, void *arg)
{
	uint64_t *number = arg;
	struct shelf_span value;
	uint8_t bytes[8];
	int rc = kv_get(kv_txn_view(txn), KV_GLOBAL, next_move_key, &value);

	*number = 1;
	if (rc == 0 && value.len == 8)
		*number = base_get_be64(value.data);
	else if (rc != SHELF_EMISSING)
		return rc == 0 ? SHELF_ECORRUPT : rc;
	base_put_be64(bytes, *number + 1);
	return kv_put(txn, KV_GLOBAL, next_move_key, shelf_span(bytes, sizeof bytes));
}

/* Keys written down for an earlier move have lower numbers, and go with all others in the end. */
static int
open_log(struct kv_txn *txn, void *arg)
{
	struct kv_leave *l = arg;

	kv_log_key(KV_LEAVE_MARK, kv_lmdb_number(txn->view.file, txn->view.mdb), 0, shelf_span(NULL, 0), &l->at);
	return write_leaving(txn, &l->row);
}

int
kv_leave_begin(struct kv_db *db, uint32_t account, struct kv_leave **out)
{
	struct kv_leave *l = SHELF_NEW(struct kv_leave);
	uint32_t shard, now;
	int rc = kv_shard_of(db, account, &shard);

	*out = NULL;
	l->db = db;
	l->fd = -1;
	l->over = true;
	l->env = rc == 0 ? kv_env_of(db, shard) : NULL;
	if (rc == 0)
		rc = kv_move_lock_patiently(l->env, &l->fd);
	/* Holding the lock, nobody else has it leave. */
	if (rc == 0)
		rc = kv_shard_of(db, account, &now);
	if (rc == 0 && now != shard)
		rc = SHELF_EBUSY;
	if (rc == 0)
		rc = kv_update(db, KV_CATALOG, KV_ADDS, take_number, &l->row.move);
	if (rc == 0) {
		l->row.account = account;
		l->row.state = OPEN;
		l->over = false;
		rc = kv_update_shard(db, shard, KV_ADDS | KV_QUIET, open_log, l);
	}
	if (rc != 0)
		kv_leave_free(&l);
	*out = l;
	return rc;
}

uint32_t
kv_leave_from(const struct kv_leave *l)
{
	return l->env->shard;
}

/* The key behind l->at: 1 found. */
static int
next_change(struct kv_leave *l, struct kv_file *file, struct MDB_cursor *cursor, bool first, struct shelf_span *key)
{
	struct shelf_span at = shelf_span(l->at.bytes, l->at.len), value;
	int rc = first ? kv_lmdb_cursor_seek(file, cursor, at, key, &value)
		       : kv_lmdb_cursor_next(file, cursor, key, &value);

	if (rc == 1 && first && shelf_span_eq(*key, at))
		rc = kv_lmdb_cursor_next(file, cursor, key, &value);
	return rc == 1 && (key->len == 0 || key->data[0] != KV_LEAVE_MARK) ? 0 : rc;
}

static int
take_change(struct kv_leave *l, struct shelf_span key, struct kv_change *out)
{
	const size_t head = KV_LOG_HEAD + KV_ACCOUNT_BYTES;

	if (key.len > sizeof l->at.bytes || key.len < head || key.len - head > sizeof out->key ||
	    key.data[KV_LOG_HEAD - 1] >= KV_TABLES || base_get_be32(key.data + KV_LOG_HEAD) != l->row.account)
		return SHELF_ECORRUPT;
	out->table = (enum kv_table)key.data[KV_LOG_HEAD - 1];
	out->len = key.len - head;
	memcpy(out->key, key.data + head, out->len);
	memcpy(l->at.bytes, key.data, key.len);
	l->at.len = key.len;
	return 0;
}

int
kv_leave_changes(struct kv_leave *l, struct kv_change *list, size_t max, size_t *n_out)
{
	struct MDB_cursor *cursor = NULL;
	struct kv_view *view = NULL;
	struct shelf_span key;
	int rc = kv_view_begin_shard(l->db, l->env->shard, &view);

	*n_out = 0;
	if (rc != 0)
		return rc;
	rc = kv_lmdb_cursor_open(view->file, view->mdb, KV_OWN, &cursor);
	while (rc == 0 && (rc = next_change(l, view->file, cursor, *n_out == 0, &key)) == 1 && *n_out < max) {
		rc = take_change(l, key, &list[*n_out]);
		if (rc == 0)
			++*n_out;
	}
	if (cursor != NULL)
		kv_lmdb_cursor_close(cursor);
	kv_view_end(&view);
	return rc;
}

static bool
is_ours(const struct kv_txn *txn, const struct kv_leave *l)
{
	const struct kv_leaving *row = &txn->leaving;

	return row->account == l->row.account && row->move == l->row.move && row->state != DROP;
}

static int
close_account(struct kv_txn *txn, void *arg)
{
	struct kv_leave *l = arg;
	struct kv_leaving row = l->row;

	if (!is_ours(txn, l))
		return SHELF_EBUSY; /* somebody took us for dead */
	row.round++;
	row.state = CLOSED;
	return write_leaving(txn, &row);
}

int
kv_leave_close(struct kv_leave *l)
{
	int rc = kv_update_shard(l->db, l->env->shard, KV_QUIET, close_account, l);

	if (rc == 0) {
		l->row.round++;
		l->row.state = CLOSED;
	}
	return rc;
}

/* Keys that nobody was told of? */
static int
has_more(struct kv_txn *txn, struct kv_leave *l, bool *out)
{
	struct MDB_cursor *cursor;
	struct shelf_span key;
	int rc = kv_lmdb_cursor_open(txn->view.file, txn->view.mdb, KV_OWN, &cursor);

	if (rc != 0)
		return rc;
	rc = next_change(l, txn->view.file, cursor, true, &key);
	kv_lmdb_cursor_close(cursor);
	*out = rc == 1;
	return rc == 1 ? 0 : rc;
}

static int
leave(struct kv_txn *txn, void *arg)
{
	struct kv_leave *l = arg;
	struct kv_leaving row = l->row;
	struct shelf_buf value = {0};
	uint8_t key[4];
	bool more = false;
	int rc = 0;

	if (!is_ours(txn, l) || txn->leaving.state != CLOSED || txn->leaving.round != l->row.round)
		return SHELF_ECANCELLED;
	rc = has_more(txn, l, &more);
	if (rc == 0)
		rc = more ? SHELF_ECANCELLED : l->fn(txn, l->arg);
	if (rc != 0)
		return rc;
	base_put_be32(key, l->row.account);
	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, l->row.move, 8);
	base_add_le(&value, l->to, 4);
	rc = kv_put(txn, KV_LEFT, shelf_span(key, sizeof key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	row.state = DROP;
	if (rc == 0)
		rc = write_leaving(txn, &row);
	/* For closures that follow in this transaction; if it is aborted they only look in vain. */
	atomic_store_explicit(&txn->view.file->some_left, true, memory_order_relaxed);
	return rc;
}

int
kv_leave_end(struct kv_leave *l, uint32_t to, kv_update_fn *fn, void *arg)
{
	int rc;

	if (to == l->env->shard || kv_env_of(l->db, to) == NULL)
		return SHELF_EINVALID;
	l->to = to;
	l->fn = fn;
	l->arg = arg;
	rc = kv_update_shard(l->db, l->env->shard, KV_QUIET, leave, l);
	l->over = rc == 0 || rc == SHELF_EUNKNOWN;
	return rc;
}

static int
stay(struct kv_txn *txn, void *arg)
{
	struct kv_leave *l = arg;
	struct kv_leaving row = l->row;

	if (!is_ours(txn, l))
		return 0;
	row.state = DROP;
	return write_leaving(txn, &row);
}

void
kv_leave_free(struct kv_leave **leave_ptr)
{
	struct kv_leave *l = *leave_ptr;

	*leave_ptr = NULL;
	if (l == NULL)
		return;
	/* What cannot be written here is found when the lock is free. */
	if (!l->over && kv_update_shard(l->db, l->env->shard, KV_QUIET, stay, l) != 0)
		l->over = true;
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

/* ---- Behind a move ------------------------------------------------------------------------------ */

struct settling {
	uint32_t account, shard;
	uint64_t stale; /* the move of a row in LEFT that is to go */
};

static int
settle_place(struct kv_txn *txn, void *arg)
{
	const struct settling *s = arg;

	return kv_place_put(txn, s->account, s->shard);
}

static int
remove_left(struct kv_txn *txn, void *arg)
{
	const struct settling *s = arg;
	uint8_t key[4];
	uint64_t move;
	uint32_t shard;
	int rc = read_left(txn->view.file, txn->view.mdb, s->account, &move, &shard);

	if (rc != 0 || move != s->stale)
		return rc == SHELF_EMISSING ? 0 : rc; /* it has left again, and may be told so */
	base_put_be32(key, s->account);
	return kv_del(txn, KV_LEFT, shelf_span(key, sizeof key));
}

int
kv_settle(struct kv_db *db, uint32_t account)
{
	struct settling s = {.account = account};
	struct kv_view *view = NULL;
	uint64_t move;
	uint32_t unused;
	int rc = account == KV_CATALOG ? SHELF_ENOACCOUNT : kv_view_find(db, account, &view, &move);

	if (rc != 0)
		return rc;
	s.shard = view->env->shard;
	/* It lives here all the same, so this row is of a stay before. */
	rc = read_left(view->file, view->mdb, account, &s.stale, &unused);
	kv_view_end(&view);
	if (rc == 0)
		rc = kv_update_shard(db, s.shard, KV_QUIET, remove_left, &s);
	if (rc == 0 || rc == SHELF_EMISSING)
		rc = kv_update(db, KV_CATALOG, 0, settle_place, &s);
	return rc;
}

int
kv_forget(struct kv_db *db, uint32_t account)
{
	struct settling s = {.account = account};
	int rc = 0;

	for (uint32_t shard = 0; rc == 0 && shard < db->shards; shard++) {
		struct kv_view *view = NULL;
		uint32_t unused;

		rc = kv_view_begin_shard(db, shard, &view);
		if (rc != 0)
			break;
		rc = read_left(view->file, view->mdb, account, &s.stale, &unused);
		kv_view_end(&view);
		if (rc == 0)
			rc = kv_update_shard(db, shard, KV_QUIET, remove_left, &s);
		if (rc == SHELF_EMISSING)
			rc = 0;
	}
	return rc;
}
