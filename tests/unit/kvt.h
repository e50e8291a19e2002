/*
 * kvt.h - small updates and a temporary database for the test_kv*.c suites
 *
 * Only what kv.h promises is used, so that the same suites can judge another engine.
 */
#ifndef KVT_H
#define KVT_H

#include <stdio.h>
#include "kv.h"

enum { KVT_DIR_MAX = 64, KVT_MAP = 64 << 20, KVT_RESERVE = 1 << 20 };

struct kvt {
	char dir[KVT_DIR_MAX];
	struct kv_db *db;
};

/* Makes and opens a database with accounts 1..32 placed. */
void kvt_begin(struct kvt *t, uint32_t shards, uint64_t map_bytes, uint64_t reserve_bytes);
/* Only the directory and the files. */
void kvt_create(struct kvt *t, uint32_t shards, uint64_t map_bytes, uint64_t reserve_bytes);
void kvt_open(struct kvt *t);
void kvt_close(struct kvt *t);
void kvt_reopen(struct kvt *t);
void kvt_end(struct kvt *t); /* closes and removes */

/* A closure as data: writes in order, then RC. */
struct kvt_op {
	enum kv_table table;
	struct shelf_span key, value;
	bool del;
};
struct kvt_ops {
	const struct kvt_op *ops;
	size_t count;
	int rc;
	unsigned runs; /* how often the closure ran */
};
int kvt_run_ops(struct kv_txn *txn, void *arg);

static inline struct shelf_span
kvt_s(const char *s)
{
	return shelf_span_str(s);
}

int kvt_put(struct kv_db *db, uint32_t account, unsigned flags, enum kv_table table,
    struct shelf_span key, struct shelf_span value);
int kvt_del(struct kv_db *db, uint32_t account, enum kv_table table, struct shelf_span key);
/* What a new view finds: 1 VALUE, 0 nothing there, -1 another value. Fails the test on errors. */
int kvt_has(struct kv_db *db, uint32_t account, enum kv_table table, struct shelf_span key,
    struct shelf_span value);
/* Rows that begin with PREFIX, in a new view. */
unsigned kvt_count(struct kv_db *db, uint32_t account, enum kv_table table, struct shelf_span prefix);

#endif
