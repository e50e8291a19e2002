/* test_tool_partition.c - the verbs compact and partition, and init with directories */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "support.h"
#include "verb_rig.h"

static struct rig r;

static bool
shows(const char *text)
{
	return strstr(verb_out, text) != NULL;
}

static uint64_t
number_behind(const char *key, const char *from)
{
	const char *at = strstr(from, key);

	ck_assert_msg(at != NULL, "%s not in %s", key, from);
	return strtoull(at + strlen(key), NULL, 10);
}

START_TEST(compact_gives_space_back)
{
	struct shelf_uidset *gone = rig_set(1, 250);
	uint64_t old, new;

	rig_open(&r, &(struct shelf_store_params){.partitions = 2, .map_bytes = 64 << 20, .hold_s = UINT32_MAX});
	rig_fill(&r, r.joe, r.inbox, 300);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, gone, 0, NULL), 0);
	shelf_uidset_free(&gone);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
	ck_assert_int_eq(verb_run(&r, tool_compact, true, ""), EX_OK);
	ck_assert(shows("{\"compacted\":[{\"partition\":0,\"before_bytes\":"));
	ck_assert(shows("{\"partition\":\"catalog\",") && shows("],\"finished\":true}"));
	old = number_behind("\"before_bytes\":", verb_out);
	new = number_behind("\"after_bytes\":", verb_out);
	ck_assert_uint_lt(new, old);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 50);
	ck_assert_int_eq(verb_run(&r, tool_compact, false, "--partition=1"), EX_OK);
	ck_assert(shows("partition 1: ") && !shows("partition 0"));
	ck_assert_int_eq(verb_run(&r, tool_compact, false, "--partition|catalog"), EX_OK);
	ck_assert(shows("catalog: "));
	ck_assert_int_eq(verb_run(&r, tool_compact, false, "--partition=2"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_compact, false, "--partition=x"), EX_USAGE);
	rig_append(&r, r.joe, r.inbox, "after", 0);
	rig_close(&r); /* with a check */
}
END_TEST

START_TEST(list_and_add)
{
	uint32_t id;
	char dir[4400], words[4500], path[4500];
	unsigned in_new = 0;

	rig_open(&r, NULL);
	ck_assert_int_eq(verb_run(&r, tool_partition_list, true, ""), EX_OK);
	ck_assert(shows("{\"partitions\":[{\"partition\":0,\"path\":\"") && shows("\"partition\":\"catalog\""));
	ck_assert_uint_eq(number_behind("\"accounts\":", verb_out), 1);
	ck_assert_uint_gt(number_behind("\"commits\":", verb_out), 0);
	ck_assert_int_eq(verb_run(&r, tool_partition_list, false, ""), EX_OK);
	ck_assert(shows("partition 0 ") && shows("partition 1 ") && shows("catalog ") && shows(" free pages "));
	snprintf(dir, sizeof dir, "%s/more", r.dir);
	ck_assert_int_eq(verb_run(&r, tool_partition_add, false, dir), EX_OK);
	ck_assert(shows("partition 2 ") && shows("/more/part-02"));
	for (unsigned i = 0; i < 9; i++) {
		snprintf(words, sizeof words, "user%u", i);
		ck_assert_int_eq(shelf_account_add(r.store, &(struct shelf_account_new){.name =
		    shelf_span_str(words)}, 1, NULL, &id), 0);
		rig_append(&r, id, r.inbox, "hello", 0);
	}
	ck_assert_int_eq(verb_run(&r, tool_partition_list, true, ""), EX_OK);
	in_new = (unsigned)number_behind("\"accounts\":", strstr(verb_out, "\"partition\":2"));
	ck_assert_uint_ge(in_new, 3);
	snprintf(path, sizeof path, "%s/part-02/data.mdb", dir);
	ck_assert_int_eq(access(path, F_OK), 0);
	rig_close(&r);
}
END_TEST

/* ---- News over a compaction ---------------------------------------------------------------------------- */

static void
told(void *arg)
{
	char c = 't';

	if (write(*(int *)arg, &c, 1) != 1)
		_exit(3);
}

/* Says "r" when it listens and "t" for every change of joe's. */
static int
listening(int said, int stop)
{
	struct shelf_listener *l = NULL;
	struct shelf_store *store = NULL;
	char c;

	if (shelf_store_open(r.path, SHELF_OPEN_SERVE, &store) != 0 ||
	    shelf_listen(store, r.joe, told, &said, &l) != 0 || write(said, "r", 1) != 1)
		return 1;
	if (read(stop, &c, 1) != 1)
		return 2;
	shelf_unlisten(&l);
	shelf_store_close(&store);
	return 0;
}

/* A daemon with an idle session, and another process that moves the partition and then changes something. */
START_TEST(listeners_hear_over_a_compaction)
{
	int said[2], stop[2], status;
	char c = 0;
	pid_t pid;

	rig_open(&r, NULL);
	shelf_store_close(&r.store);
	ck_assert(pipe(said) == 0 && pipe(stop) == 0);
	pid = fork();
	if (pid == 0) {
		alarm(50);
		_exit(listening(said[1], stop[0]));
	}
	ck_assert_int_gt(pid, 0);
	ck_assert(read(said[0], &c, 1) == 1 && c == 'r');
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(verb_run(&r, tool_compact, false, ""), EX_OK);
		rig_append(&r, r.joe, r.inbox, "news", 0);
		ck_assert(read(said[0], &c, 1) == 1 && c == 't');
	}
	ck_assert_int_eq(write(stop[1], "x", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	rig_close(&r);
}
END_TEST

/* init with two directories: partitions take turns, the store opens from anywhere. */
START_TEST(init_with_directories)
{
	char a[4300], b[4300], words[9000], path[4400];

	rig_open(&r, NULL);
	snprintf(a, sizeof a, "%s/a", r.dir);
	snprintf(b, sizeof b, "%s/b", r.dir);
	shelf_store_close(&r.store);
	support_rmtree(r.path);
	snprintf(words, sizeof words, "--partition-dir|%s|--partition-dir=%s|--partitions|3|--map-size|64M", a, b);
	ck_assert_int_eq(verb_run(&r, tool_init, false, words), EX_OK);
	snprintf(path, sizeof path, "%s/part-02", a);
	ck_assert_int_eq(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s/part-01", b);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(verb_run(&r, tool_partition_list, true, ""), EX_OK);
	ck_assert(shows("/a/part-00\"") && shows("/b/part-01\"") && shows("/a/part-02\""));
	/* Not into what holds files already, and not more directories than partitions. */
	shelf_store_close(&r.store);
	support_rmtree(r.path);
	snprintf(words, sizeof words, "--partition-dir|%s|--partition-dir|%s|--partitions|1", a, b);
	ck_assert_int_eq(shelf_store_create(r.path, NULL), 0);
	ck_assert_int_eq(verb_run(&r, tool_init, false, words), EX_USAGE);
	shelf_store_close(&r.store);
	support_rmtree(r.path);
	ck_assert_int_eq(shelf_store_create(r.path, &(struct shelf_store_params){.partition_dirs =
	    (const char *const[]){a}, .partition_dir_count = 1}), SHELF_EEXISTS);
	support_rmtree(r.dir);
}
END_TEST

START_TEST(accounts_move)
{
	rig_open(&r, NULL);
	rig_furnish(&r);
	ck_assert_int_eq(verb_run(&r, tool_account_move, false, "joe|--dry-run"), EX_OK);
	ck_assert(shows("joe: 704 messages would go from partition 0 to 1"));
	ck_assert_int_eq(verb_run(&r, tool_account_move, true, "joe|--partition=1"), EX_OK);
	ck_assert(shows("{\"moved\":[{\"account\":\"joe\",\"from\":0,\"to\":1,\"messages\":704,") &&
	    shows("],\"finished\":true}"));
	ck_assert_int_eq(verb_run(&r, tool_account_move, false, "joe|--partition=1"), EX_OK);
	ck_assert(shows("joe: in partition 1 already"));
	ck_assert_int_eq(verb_run(&r, tool_account_move, false, "joe|--partition=2"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_account_move, false, "jim"), EX_NOUSER);
	ck_assert_int_eq(verb_run(&r, tool_partition_drain, false, "1|--dry-run"), EX_OK);
	ck_assert(shows("joe: 704 messages would go from partition 1 to 0"));
	ck_assert(shows("partition 1: 2 of 2 accounts would go"));
	ck_assert_int_eq(verb_run(&r, tool_partition_drain, true, "1"), EX_OK);
	ck_assert(shows("\"account\":\"ann\"") && shows("\"account\":\"joe\""));
	ck_assert_int_eq(verb_run(&r, tool_partition_drain, false, "1"), EX_OK);
	ck_assert(shows("partition 1: 0 of 0 accounts moved"));
	ck_assert_int_eq(verb_run(&r, tool_partition_drain, false, "0|--to|0"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_partition_drain, false, "7"), EX_USAGE);
	ck_assert_int_eq(verb_run(&r, tool_partition_drain, false, "0|--to|1"), EX_OK);
	ck_assert(shows("joe: 704 messages moved from partition 0 to 1"));
	/* No room: nobody goes. */
	ck_assert_int_eq(verb_run(&r, tool_settings, false, "refuse_percent|100"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_settings, false, "refuse_bytes|1T"), EX_OK);
	ck_assert_int_eq(verb_run(&r, tool_account_move, false, "joe|--partition=0"), EX_CANTCREAT);
	ck_assert_int_eq(verb_run(&r, tool_partition_drain, false, "1"), EX_CANTCREAT);
	ck_assert(shows("partition 1: 0 of 2 accounts moved"));
	rig_close(&r);
}
END_TEST

Suite *suite_tool_partition(void);
Suite *
suite_tool_partition(void)
{
	Suite *s = suite_create("tool_partition");
	TCase *tc = tcase_create("tool_partition");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, compact_gives_space_back);
	tcase_add_test(tc, list_and_add);
	tcase_add_test(tc, listeners_hear_over_a_compaction);
	tcase_add_test(tc, init_with_directories);
	tcase_add_test(tc, accounts_move);
	suite_add_tcase(s, tc);
	return s;
}
