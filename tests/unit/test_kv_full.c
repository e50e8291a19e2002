/*
 * test_kv_full.c - nothing left: adding is refused in time, removing goes on, and then adding works again
 *
 * The map is made tiny; the disk is made full by the process's file size limit, behind which writing
 * fails as it does on a full one (a short write first, then an error).
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "kvt.h"

enum { TINY_MAP = 2 << 20, TINY_RESERVE = 256 << 10, DISK_BYTES = 6 << 20, ROWS_MAX = 4000 };

static struct kvt t;

static void
teardown(void)
{
	kvt_end(&t);
}

static struct shelf_span
row_key(int i, char *buf, size_t len)
{
	snprintf(buf, len, "%06d", i * 7919 % ROWS_MAX); /* not in order: pages split in the middle */
	return kvt_s(buf);
}

static struct shelf_span
row_value(void)
{
	static uint8_t value[KV_VALUE_MAX];

	memset(value, 'x', sizeof value);
	return shelf_span(value, sizeof value);
}

/* Adds rows from FIRST on until that is refused; returns how many there are. */
static int
fill(int first)
{
	char buf[16];

	for (int i = first; i < ROWS_MAX; i++) {
		int rc = kvt_put(t.db, 1, KV_ADDS, KV_CHUNK, row_key(i, buf, sizeof buf), row_value());

		if (rc == SHELF_EFULL)
			return i;
		ck_assert_int_eq(rc, 0);
	}
	ck_abort_msg("%d rows of 4 KB and not full", ROWS_MAX);
}

static void
empty(int count)
{
	char buf[16];

	for (int i = 0; i < count; i++)
		ck_assert_int_eq(kvt_del(t.db, 1, KV_CHUNK, row_key(i, buf, sizeof buf)), 0);
}

/* ---- The map ------------------------------------------------------------------------------------- */

START_TEST(a_full_map_refuses_adding_and_lets_remove)
{
	struct kv_stats st;
	int count = 0, again;

	kvt_begin(&t, 1, TINY_MAP, TINY_RESERVE);
	for (int round = 0; round < 4; round++) {
		again = fill(0);
		ck_assert_int_gt(again, 200); /* of 512 pages */
		/* What was removed comes back, round after round. */
		if (round > 0)
			ck_assert_int_ge(again, count - 40);
		count = again;
		ck_assert_int_eq(kv_stats(t.db, 0, &st), 0);
		ck_assert_uint_ge(st.map_bytes - st.file_bytes + st.free_bytes, TINY_RESERVE);
		ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), (unsigned)count);
		/* Refused again, and changes that add nothing are not. */
		ck_assert_int_eq(fill(count), count);
		for (int i = 0; i < 50; i++)
			ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_FPAGE, kvt_s("flags"), shelf_span(&i, 4)), 0);
		if (round == 2)
			kvt_reopen(&t);
		empty(count);
		ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), 0);
	}
}
END_TEST

static int
removes_at_once(struct kv_txn *txn, void *arg)
{
	char buf[16];
	int rc = 0;

	for (int i = 0; rc == 0 && i < *(int *)arg; i++)
		rc = kv_del(txn, KV_CHUNK, row_key(i, buf, sizeof buf));
	return rc;
}

/* What the last commit freed may be used the very next time, though LMDB wants one more in between. */
START_TEST(removed_room_is_there_at_once)
{
	char buf[16];
	int count;

	kvt_begin(&t, 1, TINY_MAP, TINY_RESERVE);
	count = fill(0);
	ck_assert_int_eq(kv_update(t.db, 1, 0, removes_at_once, &count), 0);
	for (int i = 0; i < count / 2; i++)
		ck_assert_int_eq(kvt_put(t.db, 1, KV_ADDS, KV_CHUNK, row_key(i, buf, sizeof buf),
		    row_value()), 0);
}
END_TEST

/* One update that is larger than what is left: refused while it runs, the reserve untouched. */
static int
adds_too_much(struct kv_txn *txn, void *arg)
{
	char buf[16];
	int rc = 0;

	for (int i = 0; rc == 0 && i < 1000; i++)
		rc = kv_put(txn, KV_CHUNK, row_key(i, buf, sizeof buf), row_value());
	return rc;
}

START_TEST(one_update_does_not_eat_the_reserve)
{
	kvt_begin(&t, 1, TINY_MAP, TINY_RESERVE);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(kv_update(t.db, 1, KV_ADDS, adds_too_much, NULL), SHELF_EFULL);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), 0);
	empty(0);
	ck_assert_int_gt(fill(0), 200);
}
END_TEST

/* Without KV_ADDS the reserve can be used up: an error then, nothing half done, and still usable. */
START_TEST(the_map_to_its_last_page)
{
	char buf[16];
	int count = 0, rc = 0, removed = 0;

	kvt_begin(&t, 1, TINY_MAP, TINY_RESERVE);
	ck_assert_int_eq(kv_update(t.db, 1, 0, adds_too_much, NULL), SHELF_EFULL);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), 0);
	for (; rc == 0 && count < ROWS_MAX; count += rc == 0)
		rc = kvt_put(t.db, 1, 0, KV_CHUNK, row_key(count, buf, sizeof buf), row_value());
	ck_assert_int_eq(rc, SHELF_EFULL);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), (unsigned)count);
	kvt_reopen(&t);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), (unsigned)count);
	/* To the very last page even removing can fail, never half way. */
	for (int i = 0; i < count; i++) {
		rc = kvt_del(t.db, 1, KV_CHUNK, row_key(i, buf, sizeof buf));
		ck_assert(rc == 0 || rc == SHELF_EFULL);
		removed += rc == 0;
	}
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), (unsigned)(count - removed));
	ck_assert_int_gt(removed, 0);
}
END_TEST

/* What keeps a trace of what it removes stops at half of the reserve; what only removes goes on behind it, and
 * the other way round in one group. */
START_TEST(keeping_leaves_half_of_the_reserve)
{
	struct kv_stats st;
	char buf[16];
	int count, kept = 0, rc = 0;

	kvt_begin(&t, 1, TINY_MAP, TINY_RESERVE);
	count = fill(0);
	for (; rc == 0 && kept < ROWS_MAX; kept += rc == 0)
		rc = kvt_put(t.db, 1, KV_KEEPS, KV_CHUNK, row_key(count + kept, buf, sizeof buf), row_value());
	ck_assert_int_eq(rc, SHELF_EFULL);
	ck_assert_int_gt(kept, TINY_RESERVE / 4096 / 4);
	ck_assert_int_eq(kv_stats(t.db, 0, &st), 0);
	ck_assert_uint_ge(st.map_bytes - st.file_bytes + st.free_bytes, TINY_RESERVE / 2);
	ck_assert_int_eq(kvt_put(t.db, 1, KV_ADDS, KV_CHUNK, kvt_s("a"), row_value()), SHELF_EFULL);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_FPAGE, kvt_s("flags"), shelf_span(&i, 4)), 0);
	empty(count + kept);
	ck_assert_int_eq(kvt_put(t.db, 1, KV_KEEPS, KV_CHUNK, kvt_s("a"), row_value()), 0);
	ck_assert_int_gt(fill(0), 200);
}
END_TEST

/* ---- Groups on a full map ------------------------------------------------------------------------ */

enum { GROUP = 40 };

static struct {
	struct kvt_op op;
	struct kvt_ops ops;
	char key[16];
	int rc;
} jobs[GROUP];

static void
note_rc(void *arg, int rc)
{
	*(int *)arg = rc;
}

START_TEST(removing_gets_through_beside_refused_adding)
{
	int count, left;

	kvt_begin(&t, 1, TINY_MAP, TINY_RESERVE);
	count = fill(0);
	for (int i = 0; i < GROUP; i++) {
		bool del = i % 2 == 0;

		jobs[i].op = (struct kvt_op){KV_CHUNK,
		    row_key(del ? i : count + 100 + i, jobs[i].key, sizeof jobs[i].key), row_value(), del};
		jobs[i].ops = (struct kvt_ops){&jobs[i].op, 1, 0, 0};
		jobs[i].rc = 1;
		kv_submit(t.db, 1, del ? 0 : KV_ADDS, kvt_run_ops, &jobs[i].ops, note_rc, &jobs[i].rc);
	}
	kvt_close(&t);
	kvt_open(&t);
	left = count;
	for (int i = 0; i < GROUP; i++) {
		if (i % 2 == 0)
			ck_assert_int_eq(jobs[i].rc, 0);
		else
			ck_assert(jobs[i].rc == 0 || jobs[i].rc == SHELF_EFULL);
		left += jobs[i].rc != 0 ? 0 : i % 2 == 0 ? -1 : 1;
	}
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), (unsigned)left);
}
END_TEST

/* ---- The disk ------------------------------------------------------------------------------------ */

static void
limit_files(rlim_t bytes)
{
	struct rlimit limit = {bytes, RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(a_full_disk_refuses_adding_and_lets_remove)
{
	int count, more;

	kvt_begin(&t, 1, KVT_MAP, KVT_RESERVE);
	limit_files(DISK_BYTES);
	count = fill(0);
	ck_assert_int_gt(count, 500);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), (unsigned)count);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_FPAGE, kvt_s("flags"), shelf_span(&i, 4)), 0);
	empty(count);
	kvt_reopen(&t);
	limit_files(2 * DISK_BYTES);
	more = fill(0);
	ck_assert_int_gt(more, count + 500);
	empty(more);
}
END_TEST

START_TEST(a_disk_to_its_last_block)
{
	char buf[16];
	int count = 0, rc = 0;

	kvt_begin(&t, 1, KVT_MAP, KVT_RESERVE);
	limit_files(DISK_BYTES);
	for (; rc == 0 && count < ROWS_MAX; count += rc == 0)
		rc = kvt_put(t.db, 1, 0, KV_CHUNK, row_key(count, buf, sizeof buf), row_value());
	ck_assert_int_eq(rc, SHELF_EFULL);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), (unsigned)count);
	limit_files(RLIM_INFINITY);
	ck_assert_int_eq(kvt_put(t.db, 1, KV_ADDS, KV_CHUNK, kvt_s("more"), row_value()), 0);
	kvt_reopen(&t);
	ck_assert_uint_eq(kvt_count(t.db, 1, KV_CHUNK, kvt_s("")), (unsigned)count + 1);
}
END_TEST

/* ---- Writing fails -------------------------------------------------------------------------------- */

/* The descriptor of the shard's data file: the one for pages, or the one that writes meta pages through. */
static int
data_fd(bool meta)
{
	char link[64], path[512], want[KVT_DIR_MAX + 32];

	snprintf(want, sizeof want, "%s/part-00/data.mdb", t.dir);
	for (int fd = 3; fd < 256; fd++) {
		ssize_t n;

		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof path - 1);
		if (n < 0)
			continue;
		path[n] = '\0';
		if (strcmp(path, want) == 0 && ((fcntl(fd, F_GETFL) & O_DSYNC) != 0) == meta)
			return fd;
	}
	ck_abort_msg("no descriptor of %s", want);
}

/* Puts a device that is always full in the place of FD; returns what was there. */
static int
break_fd(int fd)
{
	int saved = dup(fd), full = open("/dev/full", O_RDWR);

	ck_assert(saved >= 0 && full >= 0);
	ck_assert_int_eq(dup2(full, fd), fd);
	close(full);
	return saved;
}

START_TEST(pages_that_cannot_be_written)
{
	int fd, saved;

	kvt_begin(&t, 1, KVT_MAP, KVT_RESERVE);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("old")), 0);
	fd = data_fd(false);
	saved = break_fd(fd);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("new")), SHELF_EFULL);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("old")), 1);
	ck_assert_int_eq(dup2(saved, fd), fd);
	close(saved);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("new")), 0);
	kvt_reopen(&t);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("new")), 1);
}
END_TEST

/* The meta page decides whether a commit happened: nobody may be told that it did, or did not. The shard is
 * opened again when nobody uses it any more. */
START_TEST(a_meta_page_that_cannot_be_written)
{
	struct kv_view *held, *view;
	struct shelf_span value;
	int fd, saved;

	kvt_begin(&t, 1, KVT_MAP, KVT_RESERVE);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("old")), 0);
	ck_assert_int_eq(kv_view_begin(t.db, 1, &held), 0);
	fd = data_fd(true);
	saved = break_fd(fd);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("k"), kvt_s("new")), SHELF_EUNKNOWN);
	ck_assert_int_eq(dup2(saved, fd), fd);
	close(saved);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("l"), kvt_s("new")), SHELF_EIO);
	ck_assert_int_eq(kv_view_begin(t.db, 1, &view), SHELF_EIO);
	/* The catalog is another environment, and an old snapshot stays what it was. */
	ck_assert_int_eq(kvt_put(t.db, 0, 0, KV_GLOBAL, kvt_s("k"), kvt_s("v")), 0);
	ck_assert_int_eq(kv_get(held, KV_MBOX, kvt_s("k"), &value), 0);
	ck_assert(shelf_span_eq(value, kvt_s("old")));
	kv_view_end(&held);
	ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_MBOX, kvt_s("l"), kvt_s("new")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("l"), kvt_s("new")), 1);
	kvt_reopen(&t);
	ck_assert_int_ne(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("old")), 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("l"), kvt_s("new")), 1);
}
END_TEST

/* What is lost or is no database is said to be damaged, and not replaced by an empty one. */
START_TEST(damaged_files_are_errors)
{
	static const struct {
		const char *file, *text; /* NULL: removed */
		int rc;
	} rows[] = {
		{"part-00/data.mdb", NULL, SHELF_ECORRUPT},
		{"part-00/data.mdb", "", SHELF_ECORRUPT},
		{"catalog/data.mdb", NULL, SHELF_ECORRUPT},
		{"catalog/data.mdb", "no database, though it is long enough to be looked at", SHELF_ECORRUPT},
		{"kv.conf", NULL, SHELF_EMISSING},
		{"kv.conf", "", SHELF_ECORRUPT},
		{"kv.conf", "format 2\n", SHELF_EVERSION},
		{"kv.conf", "format 1\nshards 99\nmap_bytes 1048576\nreserve_bytes 0\n", SHELF_ECORRUPT},
		{"kv.conf", "format 1\nshards 1\nmap_bytes 1048576\nreserve_bytes 0", SHELF_ECORRUPT},
		{"part-00/lock.mdb", NULL, 0},
	};
	char path[KVT_DIR_MAX + 32];
	FILE *f;

	kvt_create(&t, 1, TINY_MAP, 0);
	snprintf(path, sizeof path, "%s/%s", t.dir, rows[_i].file);
	ck_assert_int_eq(unlink(path), 0);
	if (rows[_i].text != NULL) {
		f = fopen(path, "w");
		ck_assert_ptr_nonnull(f);
		ck_assert_int_ge(fputs(rows[_i].text, f), 0);
		ck_assert_int_eq(fclose(f), 0);
	}
	ck_assert_int_eq(kv_open(t.dir, &t.db), rows[_i].rc);
	ck_assert_int_eq(t.db != NULL, rows[_i].rc == 0);
	/* A failed open leaves the directory free for the next. */
	kvt_close(&t);
	ck_assert_int_eq(kv_open(t.dir, &t.db), rows[_i].rc);
}
END_TEST

/* ---- Growth -------------------------------------------------------------------------------------- */

/* The file does not grow for ever under changes alone, and ended views leave nothing behind. */
START_TEST(free_pages_are_used_again)
{
	struct kv_stats before, after;
	struct kv_view *view;

	kvt_begin(&t, 1, KVT_MAP, KVT_RESERVE);
	for (int i = 0; i < 600; i++) {
		if (i == 200)
			ck_assert_int_eq(kv_stats(t.db, 0, &before), 0);
		ck_assert_int_eq(kv_view_begin(t.db, 1, &view), 0);
		kv_view_end(&view);
		ck_assert_int_eq(kvt_put(t.db, 1, 0, KV_FPAGE, kvt_s("flags"), row_value()), 0);
	}
	ck_assert_int_eq(kv_stats(t.db, 0, &after), 0);
	ck_assert_uint_le(after.file_bytes, before.file_bytes + 16 * 4096);
	ck_assert_uint_gt(after.disk_free_bytes, 0);
	ck_assert_int_eq(kv_stats(t.db, KV_SHARDS_MAX, &after), 0);
	ck_assert_int_eq(kv_stats(t.db, 1, &after), SHELF_EINVALID);
}
END_TEST

Suite *suite_kv_full(void);
Suite *
suite_kv_full(void)
{
	Suite *s = suite_create("kv_full");
	TCase *tc = tcase_create("kv_full");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_full_map_refuses_adding_and_lets_remove);
	tcase_add_test(tc, removed_room_is_there_at_once);
	tcase_add_test(tc, one_update_does_not_eat_the_reserve);
	tcase_add_test(tc, the_map_to_its_last_page);
	tcase_add_test(tc, keeping_leaves_half_of_the_reserve);
	tcase_add_test(tc, removing_gets_through_beside_refused_adding);
	tcase_add_test(tc, a_full_disk_refuses_adding_and_lets_remove);
	tcase_add_test(tc, a_disk_to_its_last_block);
	tcase_add_test(tc, pages_that_cannot_be_written);
	tcase_add_test(tc, a_meta_page_that_cannot_be_written);
	tcase_add_loop_test(tc, damaged_files_are_errors, 0, 10);
	tcase_add_test(tc, free_pages_are_used_again);
	suite_add_tcase(s, tc);
	return s;
}
