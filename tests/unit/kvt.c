/* kvt.c - a temporary database and updates written as data */
#include <check.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>
#include "kvt.h"

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void
kvt_create(struct kvt *t, uint32_t shards, uint64_t map_bytes, uint64_t reserve_bytes)
{
	struct kv_params params = {.shards = shards, .map_bytes = map_bytes, .reserve_bytes = reserve_bytes};
	const char *tmp = getenv("TMPDIR");

	t->db = NULL;
	ck_assert_int_lt(snprintf(t->dir, sizeof t->dir, "%s/kvtest-XXXXXX", tmp == NULL ? "/tmp" : tmp),
	    (int)sizeof t->dir);
	ck_assert_ptr_nonnull(mkdtemp(t->dir));
	ck_assert_int_eq(kv_create(t->dir, &params), 0);
}

void
kvt_open(struct kvt *t)
{
	ck_assert_int_eq(kv_open(t->dir, &t->db), 0);
}

void
kvt_close(struct kvt *t)
{
	kv_close(&t->db);
	ck_assert_ptr_null(t->db);
}

void
kvt_reopen(struct kvt *t)
{
	kvt_close(t);
	kvt_open(t);
}

void
kvt_begin(struct kvt *t, uint32_t shards, uint64_t map_bytes, uint64_t reserve_bytes)
{
	kvt_create(t, shards, map_bytes, reserve_bytes);
	kvt_open(t);
	ck_assert_int_eq(kv_place(t->db, 1, 32), 0);
}

void
kvt_end(struct kvt *t)
{
	kv_fault = NULL;
	kv_close(&t->db);
	nftw(t->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int
kvt_run_ops(struct kv_txn *txn, void *arg)
{
	struct kvt_ops *ops = arg;
	int rc = 0;

	ops->runs++;
	for (size_t i = 0; rc == 0 && i < ops->count; i++) {
		const struct kvt_op *op = &ops->ops[i];

		rc = op->del ? kv_del(txn, op->table, op->key) : kv_put(txn, op->table, op->key, op->value);
	}
	return rc == 0 ? ops->rc : rc;
}

int
kvt_put(struct kv_db *db, uint32_t account, unsigned flags, enum kv_table table, struct shelf_span key,
    struct shelf_span value)
{
	struct kvt_op op = {table, key, value, false};
	struct kvt_ops ops = {&op, 1, 0, 0};

	return kv_update(db, account, flags, kvt_run_ops, &ops);
}

int
kvt_del(struct kv_db *db, uint32_t account, enum kv_table table, struct shelf_span key)
{
	struct kvt_op op = {table, key, {NULL, 0}, true};
	struct kvt_ops ops = {&op, 1, 0, 0};

	return kv_update(db, account, 0, kvt_run_ops, &ops);
}

int
kvt_has(struct kv_db *db, uint32_t account, enum kv_table table, struct shelf_span key,
    struct shelf_span value)
{
	struct kv_view *view;
	struct shelf_span got;
	int rc, found;

	ck_assert_int_eq(kv_view_begin(db, account, &view), 0);
	rc = kv_get(view, table, key, &got);
	ck_assert(rc == 0 || rc == SHELF_EMISSING);
	found = rc != 0 ? 0 : shelf_span_eq(got, value) ? 1 : -1;
	kv_view_end(&view);
	return found;
}

unsigned
kvt_count(struct kv_db *db, uint32_t account, enum kv_table table, struct shelf_span prefix)
{
	struct kv_view *view;
	struct kv_scan scan;
	struct shelf_span key, value;
	unsigned count = 0;
	int rc;

	ck_assert_int_eq(kv_view_begin(db, account, &view), 0);
	ck_assert_int_eq(kv_scan_open(view, table, prefix, kvt_s(""), &scan), 0);
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		count++;
	ck_assert_int_eq(rc, 0);
	kv_scan_close(&scan);
	kv_view_end(&view);
	return count;
}
