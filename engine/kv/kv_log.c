/*
 * kv_log.c - what was changed while a compaction goes on
 *
 * Rows of the table KV_OWN:
 *   "compact"                              one byte: LOG_ON, every write is logged; LOG_DROP, the log is of
 *                                          no use any more and goes row by row
 *   0xff, commit number u64, table u8, key   written or removed in that commit; no value
 *
 * The log lies in the file that is being left, in the transactions that it tells of, so that every process
 * writes it and a crash cannot part the two. It ends with the file. A compactor holds the lock of
 * kv_move.c as long as it lives: a log that is on while nobody holds that is a dead one's, and the
 * next writer begins to drop it.
 */
#include <unistd.h>
#include "base.h"
#include "kv_internal.h"

enum { CHECK_MS = 1000, DROP_ROWS = 100 };

static const struct shelf_span compact_key = {(const uint8_t *)"compact", 7};

static int
read_state(struct kv_file *file, struct MDB_txn *txn, uint8_t *state_out)
{
	struct shelf_span value;
	int rc = kv_lmdb_get(file, txn, KV_OWN, compact_key, &value);

	*state_out = 0;
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	if (value.len != 1)
		return SHELF_ECORRUPT;
	*state_out = value.data[0];
	return 0;
}

int
kv_log_set(struct kv_file *file, struct MDB_txn *txn, enum kv_log_state state)
{
	uint8_t byte = (uint8_t)state;

	return kv_lmdb_put(file, txn, KV_OWN, compact_key, shelf_span(&byte, 1));
}

int
kv_log_is_on(struct kv_file *file, struct MDB_txn *txn, bool *out)
{
	uint8_t state;
	int rc = read_state(file, txn, &state);

	*out = state == KV_LOG_ON;
	return rc;
}

void
kv_log_key(uint8_t mark, uint64_t number, unsigned table, struct shelf_span key, struct kv_log_key *out)
{
	out->bytes[0] = mark;
	base_put_be64(out->bytes + 1, number);
	out->bytes[9] = (uint8_t)table;
	if (key.len > 0)
		memcpy(out->bytes + KV_LOG_HEAD, key.data, key.len);
	out->len = KV_LOG_HEAD + key.len;
}

int
kv_log_add(struct kv_txn *txn, uint8_t mark, enum kv_table table, struct shelf_span key)
{
	struct kv_file *file = txn->view.file;
	struct kv_log_key row;

	kv_log_key(mark, kv_lmdb_number(file, txn->view.mdb), table, key, &row);
	return kv_lmdb_put(file, txn->view.mdb, KV_OWN, shelf_span(row.bytes, row.len), shelf_span("", 0));
}

int
kv_log_drop(struct kv_file *file, struct MDB_txn *txn, uint8_t mark, struct shelf_span state)
{
	struct kv_log_key first;
	struct shelf_span key, value;
	struct MDB_cursor *cursor;
	int rc = 1;

	for (int i = 0; rc == 1 && i < DROP_ROWS; i++) {
		rc = kv_lmdb_cursor_open(file, txn, KV_OWN, &cursor);
		if (rc != 0)
			return rc;
		rc = kv_lmdb_cursor_seek(file, cursor, shelf_span(&mark, 1), &key, &value);
		if (rc == 1 && (key.len == 0 || key.data[0] != mark))
			rc = 0;
		if (rc == 1 && key.len > sizeof first.bytes)
			rc = SHELF_ECORRUPT;
		if (rc == 1) {
			memcpy(first.bytes, key.data, key.len);
			first.len = key.len;
		}
		kv_lmdb_cursor_close(cursor);
		if (rc == 0)
			return kv_lmdb_del(file, txn, KV_OWN, state);
		if (rc == 1 &&
		    (rc = kv_lmdb_del(file, txn, KV_OWN, shelf_span(first.bytes, first.len))) == 0)
			rc = 1;
	}
	return rc == 1 ? 0 : rc;
}

int
kv_log_begin(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;
	struct kv_file *file = txn->view.file;
	int64_t now_ms;
	uint8_t state;
	int fd, rc = read_state(file, txn->view.mdb, &state);

	txn->logging = state == KV_LOG_ON;
	if (rc != 0 || state == 0)
		return rc;
	if (state == KV_LOG_DROP)
		return kv_log_drop(file, txn->view.mdb, KV_LOG_MARK, compact_key);
	now_ms = kv_coarse_ms();
	if (now_ms - env->log_checked_ms < CHECK_MS)
		return 0;
	env->log_checked_ms = now_ms;
	if (kv_move_lock(env, &fd) != 0)
		return 0;
	close(fd);
	txn->logging = false;
	return kv_log_set(file, txn->view.mdb, KV_LOG_DROP);
}
