/*
 * test_kv_disks.c - shards in several directories: where they lie, who is placed where, one more of them
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "kv_internal.h"
#include "kvt_child.h"

enum { SHARDS = 4 };

static struct kvt t;
static char elsewhere[KVT_DIR_MAX + 16];

/* Shards 1 and 3 lie in DIR/elsewhere, 0 and 2 in DIR. */
static void
setup(void)
{
	const char *directories[SHARDS] = {NULL, elsewhere, NULL, elsewhere};
	struct kv_params params = {SHARDS, KVT_MAP, KVT_RESERVE, directories};
	const char *tmp = getenv("TMPDIR");

	t.db = NULL;
	snprintf(t.dir, sizeof t.dir, "%s/kvtest-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	ck_assert_ptr_nonnull(mkdtemp(t.dir));
	snprintf(elsewhere, sizeof elsewhere, "%s/else where", t.dir);
	ck_assert_int_eq(mkdir(elsewhere, 0700), 0);
	ck_assert_int_eq(kv_create(t.dir, &params), 0);
	kvt_open(&t);
	ck_assert_int_eq(kv_place(t.db, 1, 32), 0);
}

static void
teardown(void)
{
	kvt_end(&t);
}

static bool
lies_in(const char *dir, const char *name)
{
	char path[2 * KVT_DIR_MAX + 64];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void
write_everywhere(const char *value)
{
	for (uint32_t a = 1; a <= 32; a++)
		ck_assert_int_eq(kvt_put(t.db, a, 0, KV_MBOX, kvt_s("k"), kvt_s(value)), 0);
}

static void
check_everywhere(const char *value)
{
	for (uint32_t a = 1; a <= 32; a++)
		ck_assert_int_eq(kvt_has(t.db, a, KV_MBOX, kvt_s("k"), kvt_s(value)), 1);
}

START_TEST(each_where_it_was_put)
{
	struct shelf_buf path = {0};
	struct kv_compacted done;
	uint64_t device;

	ck_assert(lies_in(t.dir, "part-00/data.mdb") && lies_in(t.dir, "part-02") && lies_in(t.dir, "catalog"));
	ck_assert(lies_in(elsewhere, "part-01/data.mdb") && lies_in(elsewhere, "part-03"));
	ck_assert(!lies_in(t.dir, "part-01") && !lies_in(elsewhere, "part-00"));
	write_everywhere("1");
	kvt_reopen(&t);
	check_everywhere("1");
	/* A new generation lies beside the old one. */
	ck_assert_int_eq(kv_compact(t.db, 1, NULL, NULL, &done), 0);
	ck_assert(lies_in(elsewhere, "part-01.2/data.mdb") && !lies_in(elsewhere, "part-01"));
	check_everywhere("1");
	ck_assert_int_eq(kv_where(t.db, 1, &path, &device), 0);
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&path), "/else where/part-01.2"));
	kvt_close(&t);
	ck_assert_int_eq(kv_data_file(t.dir, 1, &path), 0);
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&path), "/else where/part-01.2/data.mdb"));
	ck_assert_int_eq(kv_data_file(t.dir, 4, &path), SHELF_EMISSING);
	shelf_buf_free(&path);
	kvt_open(&t);
	write_everywhere("2");
	check_everywhere("2");
}
END_TEST

static const char *const bad_lines[] = {"directory 4 /x\n", "directory 1 x\n", "directory 1\n", "directory  /x\n",
    "directory 1 /x\ndirectory 1 /y\n", "directory 1 /x\001\n", "directory 1 /x", "directory -1 /x\n"};

START_TEST(bad_lines_are_damage)
{
	char path[KVT_DIR_MAX + 16];
	FILE *f;

	kvt_close(&t);
	snprintf(path, sizeof path, "%s/kv.conf", t.dir);
	ck_assert_ptr_nonnull(f = fopen(path, "w"));
	fprintf(f, "format 1\nshards %d\nmap_bytes %d\nreserve_bytes %d\n%s", SHARDS, KVT_MAP, KVT_RESERVE,
	    bad_lines[_i]);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(kv_open(t.dir, &t.db), SHELF_ECORRUPT);
	ck_assert_ptr_null(t.db);
}
END_TEST

/* A disk that is not mounted: an empty directory where a shard was. Nothing new is made there. */
START_TEST(a_disk_that_is_missing)
{
	char away[sizeof elsewhere + 8];

	write_everywhere("1");
	kvt_close(&t);
	snprintf(away, sizeof away, "%s.away", elsewhere);
	ck_assert_int_eq(rename(elsewhere, away), 0);
	ck_assert_int_eq(kv_open(t.dir, &t.db), SHELF_ECORRUPT);
	ck_assert_int_eq(mkdir(elsewhere, 0700), 0);
	ck_assert_int_eq(kv_open(t.dir, &t.db), SHELF_ECORRUPT);
	ck_assert(!lies_in(elsewhere, "part-01"));
	ck_assert_int_eq(rmdir(elsewhere), 0);
	ck_assert_int_eq(rename(away, elsewhere), 0);
	kvt_open(&t);
	check_everywhere("1");
}
END_TEST

/* ---- Placing ---------------------------------------------------------------------------------------- */

#define GIB ((uint64_t)1 << 30)

static const struct {
	struct kv_place_option options[SHARDS];
	uint32_t count, best;
} choices[] = {
	/* one disk: the fewest accounts, then the smallest file, then the first */
	{{{1, GIB, 5, 9, false}, {1, GIB, 3, 9, false}, {1, GIB, 4, 1, false}}, 3, 1},
	{{{1, GIB, 3, 9, false}, {1, GIB, 3, 8, false}}, 2, 1},
	{{{1, GIB, 3, 9, false}, {1, GIB, 3, 9, false}}, 2, 0},
	/* two disks: room for each account of the disk, all its shards together */
	{{{1, GIB, 0, 1, false}, {2, 3 * GIB, 0, 1, false}}, 2, 1},
	{{{1, GIB, 0, 1, false}, {2, 3 * GIB, 3, 1, false}}, 2, 0},
	{{{1, 4 * GIB, 1, 1, false}, {1, 4 * GIB, 2, 1, false}, {2, 4 * GIB, 4, 1, false}}, 3, 0},
	{{{1, 4 * GIB, 2, 1, false}, {1, 4 * GIB, 3, 1, false}, {2, 4 * GIB, 4, 1, false}}, 3, 2},
	/* not the full ones, unless all are */
	{{{1, 9 * GIB, 0, 1, true}, {2, GIB, 9, 1, false}}, 2, 1},
	{{{1, GIB, 9, 1, false}, {2, 9 * GIB, 0, 1, true}}, 2, 0},
	{{{1, GIB, 0, 1, true}, {2, 2 * GIB, 0, 1, true}}, 2, 1},
	{{{1, 0, 0, 1, false}}, 1, 0},
};

START_TEST(the_best_place)
{
	ck_assert_uint_eq(kv_place_best(choices[_i].options, choices[_i].count), choices[_i].best);
}
END_TEST

/* A thousand empty accounts on disks of 1 and 3 GiB: a quarter and three quarters. */
START_TEST(disks_fill_in_proportion)
{
	struct kv_place_option o[3] = {{1, GIB, 0, 1, false}, {2, 3 * GIB, 0, 1, false}, {2, 3 * GIB, 0, 1, false}};

	for (int i = 0; i < 1000; i++)
		o[kv_place_best(o, 3)].accounts++;
	ck_assert_uint_ge(o[0].accounts, 248);
	ck_assert_uint_le(o[0].accounts, 252);
	ck_assert_uint_ge(o[1].accounts, 373);
	ck_assert_uint_le(o[1].accounts, 377);
}
END_TEST

/* ---- One more --------------------------------------------------------------------------------------- */

START_TEST(one_more_shard)
{
	unsigned in_new = 0;
	uint32_t shard;

	write_everywhere("1");
	ck_assert_int_eq(kv_add_shard(t.db, "relative"), SHELF_EINVALID);
	ck_assert_int_eq(kv_add_shard(t.db, elsewhere), 0);
	ck_assert_int_eq(kv_add_shard(t.db, NULL), 0);
	ck_assert_uint_eq(kv_shards(t.db), 6);
	ck_assert(lies_in(elsewhere, "part-04/data.mdb") && lies_in(t.dir, "part-05/data.mdb"));
	ck_assert_int_eq(kv_place(t.db, 100, 32), 0);
	for (uint32_t a = 100; a < 132; a++) {
		ck_assert_int_eq(kv_shard_of(t.db, a, &shard), 0);
		in_new += shard >= 4;
		ck_assert_int_eq(kvt_put(t.db, a, 0, KV_MBOX, kvt_s("k"), kvt_s("1")), 0);
	}
	ck_assert_uint_ge(in_new, 16); /* they were empty */
	kvt_reopen(&t);
	ck_assert_uint_eq(kv_shards(t.db), 6);
	check_everywhere("1");
	for (uint32_t a = 100; a < 132; a++)
		ck_assert_int_eq(kvt_has(t.db, a, KV_MBOX, kvt_s("k"), kvt_s("1")), 1);
	/* What lies there already is not taken: it may be of another database. */
	snprintf(elsewhere + strlen(elsewhere), 8, "/x");
	ck_assert_int_eq(mkdir(elsewhere, 0700), 0);
	strcat(elsewhere, "/part-06");
	ck_assert_int_eq(mkdir(elsewhere, 0700), 0);
	*strrchr(elsewhere, '/') = '\0';
	ck_assert_int_eq(kv_add_shard(t.db, elsewhere), SHELF_EEXISTS);
	ck_assert_uint_eq(kv_shards(t.db), 6);
}
END_TEST

static int
adds(struct kvt_child *c)
{
	if (!kvt_wait(c->go[0]) || kv_open(t.dir, &t.db) != 0 || kv_add_shard(t.db, elsewhere) != 0 ||
	    kv_place(t.db, 100, 16) != 0)
		return 1;
	for (uint32_t a = 100; a < 116; a++)
		if (kvt_put(t.db, a, 0, KV_MBOX, kvt_s("k"), kvt_s("1")) != 0)
			return 2;
	kv_close(&t.db);
	return 0;
}

/* This process has the database open all the time. */
START_TEST(one_more_made_by_another_process)
{
	struct kvt_child c;
	uint32_t shard;
	unsigned in_new = 0;

	kvt_close(&t);
	kvt_spawn(&t, &c, adds);
	kvt_open(&t);
	write_everywhere("1");
	ck_assert(kvt_nod(c.go[1]));
	ck_assert_int_eq(kvt_reap(&c), 0);
	for (uint32_t a = 100; a < 116; a++) {
		ck_assert_int_eq(kvt_has(t.db, a, KV_MBOX, kvt_s("k"), kvt_s("1")), 1);
		ck_assert_int_eq(kv_shard_of(t.db, a, &shard), 0);
		in_new += shard == SHARDS;
	}
	ck_assert_uint_ge(in_new, 3);
	ck_assert_uint_eq(kv_shards(t.db), SHARDS + 1);
}
END_TEST

/* ---- Each on its own ---------------------------------------------------------------------------------- */

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool running, open;
	int rc;
};

static int
wait_at(struct kv_txn *txn, void *arg)
{
	struct gate *g = arg;

	pthread_mutex_lock(&g->lock);
	g->running = true;
	pthread_cond_broadcast(&g->cond);
	while (!g->open)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
	return kv_put(txn, KV_MBOX, kvt_s("k"), kvt_s("slow"));
}

static void
gate_done(void *arg, int rc)
{
	struct gate *g = arg;

	pthread_mutex_lock(&g->lock);
	g->rc = rc;
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

/* A write transaction of one shard is open and stands still: all others commit meanwhile. */
START_TEST(commits_do_not_wait_for_other_shards)
{
	struct gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false, 1};
	uint32_t slow, shard, others = 0;

	ck_assert_int_eq(kv_shard_of(t.db, 1, &slow), 0);
	kv_submit(t.db, 1, 0, wait_at, &g, gate_done, &g);
	pthread_mutex_lock(&g.lock);
	while (!g.running)
		pthread_cond_wait(&g.cond, &g.lock);
	pthread_mutex_unlock(&g.lock);
	for (uint32_t a = 2; a <= 32; a++) {
		ck_assert_int_eq(kv_shard_of(t.db, a, &shard), 0);
		if (shard == slow)
			continue;
		ck_assert_int_eq(kvt_put(t.db, a, 0, KV_MBOX, kvt_s("k"), kvt_s("quick")), 0);
		ck_assert_int_eq(kvt_has(t.db, a, KV_MBOX, kvt_s("k"), kvt_s("quick")), 1);
		others++;
	}
	ck_assert_uint_eq(others, 24);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("slow")), 0);
	pthread_mutex_lock(&g.lock);
	ck_assert_int_eq(g.rc, 1);
	g.open = true;
	pthread_cond_broadcast(&g.cond);
	while (g.rc == 1)
		pthread_cond_wait(&g.cond, &g.lock);
	pthread_mutex_unlock(&g.lock);
	ck_assert_int_eq(g.rc, 0);
	ck_assert_int_eq(kvt_has(t.db, 1, KV_MBOX, kvt_s("k"), kvt_s("slow")), 1);
}
END_TEST

Suite *suite_kv_disks(void);
Suite *
suite_kv_disks(void)
{
	Suite *s = suite_create("kv_disks");
	TCase *tc = tcase_create("kv_disks");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, each_where_it_was_put);
	tcase_add_loop_test(tc, bad_lines_are_damage, 0, sizeof bad_lines / sizeof *bad_lines);
	tcase_add_test(tc, a_disk_that_is_missing);
	tcase_add_loop_test(tc, the_best_place, 0, sizeof choices / sizeof *choices);
	tcase_add_test(tc, disks_fill_in_proportion);
	tcase_add_test(tc, one_more_shard);
	tcase_add_test(tc, one_more_made_by_another_process);
	tcase_add_test(tc, commits_do_not_wait_for_other_shards);
	suite_add_tcase(s, tc);
	return s;
}
