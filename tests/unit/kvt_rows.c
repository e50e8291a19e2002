/* kvt_rows.c - rows to compact, and the files of a shard: helpers only, no suite */
#include <check.h>
#include <dirent.h>
#include <endian.h>
#include <unistd.h>
#include "kvt_rows.h"

enum { MAP = 512 << 20 /* room for what writers do beside a slow view */ };

void
kvt_rows_begin(struct kvt *t)
{
	kvt_begin(t, 1, MAP, KVT_RESERVE);
}

struct shelf_span
kvt_row_key(uint32_t *key, uint32_t n)
{
	*key = htobe32(n);
	return shelf_span(key, sizeof *key);
}

/* Rows FIRST .. END - 1 of KV_MSG and KV_CHUNK get a value that only N and MARK make. */
struct rows {
	uint32_t first, end;
	int mark; /* -1: removed */
};

static int
write_rows(struct kv_txn *txn, void *arg)
{
	struct rows *rows = arg;
	uint8_t value[1500];
	uint32_t key;
	int rc = 0;

	for (uint32_t n = rows->first; rc == 0 && n < rows->end; n++) {
		memset(value, (int)(n + (unsigned)rows->mark), sizeof value);
		if (rows->mark < 0)
			rc = kv_del(txn, KV_MSG, kvt_row_key(&key, n));
		else
			rc = kv_put(txn, KV_MSG, kvt_row_key(&key, n), shelf_span(value, 20 + n % 1400));
		if (rc == 0 && rows->mark < 0)
			rc = kv_del(txn, KV_CHUNK, kvt_row_key(&key, n));
		else if (rc == 0)
			rc = kv_put(txn, KV_CHUNK, kvt_row_key(&key, n), shelf_span(value, 100));
	}
	return rc;
}

void
kvt_rows_set(struct kvt *t, uint32_t first, uint32_t end, int mark)
{
	for (; first < end; first += 100) {
		struct rows rows = {first, first + 100 < end ? first + 100 : end, mark};

		ck_assert_int_eq(kv_update(t->db, KVT_ROWS_ACCOUNT, 0, write_rows, &rows), 0);
	}
}

int
kvt_row_is(struct kv_view *view, uint32_t n, int mark)
{
	struct shelf_span msg, chunk;
	uint32_t key;
	int rc = kv_get(view, KV_MSG, kvt_row_key(&key, n), &msg);
	int rc2 = kv_get(view, KV_CHUNK, kvt_row_key(&key, n), &chunk);

	if (rc == SHELF_EMISSING && rc2 == SHELF_EMISSING)
		return 0;
	if (rc != 0 || rc2 != 0 || msg.len != 20 + n % 1400 || chunk.len != 100 ||
	    msg.data[0] != (uint8_t)(n + (unsigned)mark) || chunk.data[99] != msg.data[0])
		return -1;
	return memcmp(msg.data, msg.data + 1, msg.len - 1) == 0 ? 1 : -1;
}

void
kvt_rows_check(struct kv_view *view, uint32_t first, uint32_t end, int mark)
{
	for (uint32_t n = first; n < end; n++)
		ck_assert_int_eq(kvt_row_is(view, n, mark), mark >= 0);
}

void
kvt_rows_fill(struct kvt *t)
{
	kvt_rows_set(t, 0, KVT_ROWS, 1);
	kvt_rows_set(t, KVT_ROWS / 3, KVT_ROWS, -1);
	kvt_rows_set(t, 0, 200, 2);
}

void
kvt_rows_check_filled(struct kvt *t)
{
	struct kv_view *view;

	ck_assert_int_eq(kv_view_begin(t->db, KVT_ROWS_ACCOUNT, &view), 0);
	kvt_rows_check(view, 0, 200, 2);
	kvt_rows_check(view, 200, KVT_ROWS / 3, 1);
	kvt_rows_check(view, KVT_ROWS / 3, KVT_ROWS, -1);
	kv_view_end(&view);
	ck_assert_uint_eq(kvt_count(t->db, KVT_ROWS_ACCOUNT, KV_MSG, kvt_s("")), KVT_ROWS / 3);
	ck_assert_uint_eq(kvt_count(t->db, KVT_ROWS_ACCOUNT, KV_CHUNK, kvt_s("")), KVT_ROWS / 3);
}

bool
kvt_is_there(const struct kvt *t, const char *name)
{
	char path[KVT_DIR_MAX + 32];

	snprintf(path, sizeof path, "%s/%s", t->dir, name);
	return access(path, F_OK) == 0;
}

unsigned
kvt_generations(const struct kvt *t)
{
	DIR *dir = opendir(t->dir);
	struct dirent *e;
	unsigned count = 0;

	ck_assert_ptr_nonnull(dir);
	while ((e = readdir(dir)) != NULL)
		count += strncmp(e->d_name, "part-00", 7) == 0 && e->d_type == DT_DIR;
	closedir(dir);
	return count;
}

uint64_t
kvt_file_bytes(struct kvt *t)
{
	struct kv_stats st;

	ck_assert_int_eq(kv_stats(t->db, 0, &st), 0);
	return st.file_bytes;
}

int
kvt_compact(struct kvt *t)
{
	struct kv_compacted done;

	return kv_compact(t->db, 0, NULL, NULL, &done);
}
