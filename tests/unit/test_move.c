/*
 * test_move.c - an account moves to another partition, and nobody sees a difference
 *
 * All that can be read is compared as text, before and after; the check is asked at every stage.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include <mailshelf/partition.h>

#include "kv.h"
#include "list_rig.h"
#include "mail.h"
#include "model.h"
#include "store_rig.h"
#include "support.h"

static struct rig r;
static struct shelf_mover *mover;
static struct shelf_moved moved;

static void
setup(void)
{
	rig_open(&r, NULL);
	mover = shelf_mover_new(r.store, NULL, NULL);
}

static void
teardown(void)
{
	shelf_mover_free(&mover);
	rig_close(&r);
}

static uint32_t
home_of(uint32_t account)
{
	struct shelf_account a;

	ck_assert_int_eq(shelf_account_get(r.store, account, &a), 0);
	return a.partition;
}

static uint32_t
other(uint32_t account)
{
	return 1 - home_of(account);
}

static int
move(uint32_t account)
{
	return shelf_account_move(mover, account, other(account), &moved);
}

static void
purge_all(void)
{
	int rc;

	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
}

/* All that goes by a job, whatever its date. */
static void
purge_left(void)
{
	mail_left_kept_s = 0;
	purge_all();
	mail_left_kept_s = 600;
}

static uint64_t
rows_in(uint32_t partition, enum kv_table table)
{
	struct kv_view *view;
	uint64_t n;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, partition, &view), 0);
	ck_assert_int_eq(kv_count(view, table, &n), 0);
	kv_view_end(&view);
	return n;
}

static bool
has_job(uint32_t partition, uint8_t kind)
{
	struct shelf_span key, value;
	struct kv_view *view;
	struct kv_scan scan;
	int rc;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, partition, &view), 0);
	ck_assert_int_eq(kv_scan_open(view, KV_JOB, shelf_span(&kind, 1), shelf_span(NULL, 0), &scan), 0);
	rc = kv_scan_next(&scan, &key, &value);
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc == 1;
}

static void
must_list(const struct shelf_buf *want)
{
	struct shelf_buf got = {0};
	size_t i = 0;

	list_store(r.store, &got);
	/* One assertion for all bytes: each is a message to the process that runs the tests. */
	while (i < want->len && i < got.len && want->data[i] == got.data[i])
		i++;
	ck_assert_msg(i == want->len && i == got.len, "%.200s", shelf_buf_cstr(&got) + (i < 80 ? 0 : i - 80));
	shelf_buf_free(&got);
}

static struct shelf_totals
totals_of(uint32_t partition)
{
	struct shelf_totals t;
	struct kv_view *view;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, partition, &view), 0);
	ck_assert_int_eq(mail_totals_get(view, NULL, &t), 0);
	kv_view_end(&view);
	return t;
}

/* ---- Undisturbed -------------------------------------------------------------------------------- */

START_TEST(nothing_of_it_changes)
{
	struct shelf_buf before = {0};
	struct shelf_totals was[2], now[2];
	uint32_t home, next;

	rig_furnish(&r);
	list_store(r.store, &before);
	home = home_of(r.joe);
	next = 1 - home;
	for (uint32_t p = 0; p < 2; p++)
		was[p] = totals_of(p);
	ck_assert_int_eq(move(r.joe), 0);
	ck_assert_uint_eq(moved.from, home);
	ck_assert_uint_eq(moved.to, next);
	ck_assert_uint_eq(moved.messages, moved.total);
	ck_assert_uint_eq(moved.tries, 1);
	/* 700 equal ones, the one to both and three others: each body once. */
	ck_assert_uint_eq(moved.bodies, 5);
	ck_assert_uint_eq(home_of(r.joe), next);
	must_list(&before);
	ck_assert_uint_eq(rig_findings(&r), 0);
	for (uint32_t p = 0; p < 2; p++)
		now[p] = totals_of(p);
	ck_assert_uint_eq(now[home].accounts + now[next].accounts, 2);
	ck_assert_uint_eq(now[0].messages + now[1].messages, was[0].messages + was[1].messages);
	ck_assert_uint_eq(now[next].held_messages, was[home].held_messages);
	/* What was left behind goes later, and nothing else with it. */
	purge_all();
	ck_assert_uint_gt(rows_in(home, KV_MSG), 1);
	purge_left();
	ck_assert_uint_eq(rows_in(home, KV_ACCT), home_of(r.ann) == home ? 1 : 0);
	ck_assert_uint_eq(rows_in(home, KV_MSG), home_of(r.ann) == home ? 1 : 0);
	must_list(&before);
	ck_assert_uint_eq(rig_findings(&r), 0);
	rig_reopen(&r);
	shelf_mover_free(&mover);
	mover = shelf_mover_new(r.store, NULL, NULL);
	must_list(&before);
	ck_assert_uint_eq(home_of(r.joe), next);
	/* It works there, and back again, also before the first copy has gone. */
	ck_assert_int_eq(move(r.joe), 0);
	ck_assert_int_eq(move(r.joe), 0);
	ck_assert_int_eq(move(r.joe), 0);
	ck_assert_uint_eq(home_of(r.joe), home);
	must_list(&before);
	purge_left();
	must_list(&before);
	ck_assert_int_eq(shelf_account_move(mover, r.joe, home, &moved), 0); /* it is there */
	ck_assert_uint_eq(moved.from, moved.to);
	ck_assert_int_eq(shelf_account_move(mover, r.joe, 2, &moved), SHELF_EINVALID);
	ck_assert_int_eq(shelf_account_move(mover, 4711, home, &moved), SHELF_ENOACCOUNT);
	rig_append(&r, r.joe, r.inbox, "after all", 0);
	shelf_buf_free(&before);
}
END_TEST

/* Bodies that two accounts share are shared where both go. */
START_TEST(what_is_shared_stays_shared)
{
	const struct shelf_store_params one = {.partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20};
	struct shelf_totals t;

	rig_close(&r);
	shelf_mover_free(&mover);
	rig_open(&r, &one);
	rig_furnish(&r);
	ck_assert_int_eq(shelf_partition_add(r.store, NULL), 0);
	mover = shelf_mover_new(r.store, NULL, NULL);
	ck_assert_int_eq(move(r.joe), 0);
	ck_assert_int_eq(move(r.ann), 0);
	ck_assert_uint_eq(moved.messages, 1);
	ck_assert_uint_eq(moved.bodies, 0);
	t = totals_of(1);
	ck_assert_uint_eq(t.accounts, 2);
	ck_assert_uint_gt(t.shared_bytes, 0);
	purge_left();
	ck_assert_uint_eq(rows_in(0, KV_BLOB), 0);
	ck_assert_uint_eq(rows_in(0, KV_DOMAIN), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
}
END_TEST

/* Who reads a body goes on reading it where it was, and finds it where it is. */
START_TEST(a_body_is_read_on)
{
	struct shelf_draft *draft = rig_draft(&r, "large", 700000);
	struct shelf_append item = {.draft = draft, .internaldate_s = INT64_MIN};
	struct shelf_append_result result;
	struct shelf_body *body;
	struct shelf_arena arena = {0};
	struct shelf_msg msg;
	struct shelf_rd *rd;
	struct shelf_span piece, record;
	uint64_t size, at = 0;

	/* So that ids there are of other messages. */
	if (home_of(r.ann) != home_of(r.joe))
		rig_fill(&r, r.ann, r.inbox, 3);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), 0);
	shelf_draft_free(&draft);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), 0);
	ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), 0);
	size = shelf_body_size(body);
	ck_assert_int_eq(shelf_body_read(body, 0, 1000, &piece), 0);
	at += piece.len;
	ck_assert_int_eq(move(r.joe), 0);
	while (at < size) {
		ck_assert_int_eq(shelf_body_read(body, at, 300000, &piece), 0);
		ck_assert_uint_eq(piece.data[0], (uint8_t)((at - 18) % 64 == 63 ? '\n'
		    : 'a' + ((at - 18) * 7 + (at - 18) / 64) % 26));
		at += piece.len;
	}
	shelf_body_close(&body);
	/* Its handle of before, in a snapshot of now. */
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_msg_derived(rd, msg.blob, &arena, &record), 0);
	shelf_rd_end(&rd);
	purge_left();
	ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), SHELF_ENOMESSAGE);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), 0);
	ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), 0);
	ck_assert_uint_eq(shelf_body_size(body), size);
	ck_assert_int_eq(shelf_body_read(body, 600000, 1, &piece), 0);
	shelf_body_close(&body);
	shelf_arena_free(&arena);
}
END_TEST

/* ---- Disturbed ---------------------------------------------------------------------------------- */

enum { AT_ONCE = 2, MOVES = 8 };

struct writer {
	pthread_t thread;
	struct model *model;
	uint32_t account;
	bool failed;
};

static atomic_bool stopping;

static void *
write_model(void *arg)
{
	struct writer *w = arg;
	struct model_op op;
	struct shelf_buf why = {0};

	while (!stopping && !w->failed) {
		model_choose(w->model, &op);
		if (model_run(w->model, &op, r.store, w->account) != model_apply(w->model, &op) ||
		    (w->model->ops % 16 == 0 && !model_compare(w->model, r.store, w->account, false, &why))) {
			model_describe(&op, &why);
			printf("%s\n", shelf_buf_cstr(&why));
			w->failed = true;
		}
	}
	shelf_buf_free(&why);
	return NULL;
}

static unsigned stepped;

static bool
count_steps(void *arg, const struct shelf_moved *so_far)
{
	stepped++;
	return true;
}

/* Both accounts are changed all the time, as the model says, and move to and fro. */
START_TEST(used_all_the_time)
{
	struct shelf_account_new new[AT_ONCE] = {{.name = shelf_span_str("m1@x")}, {.name = shelf_span_str("m2@y")}};
	struct writer w[AT_ONCE] = {{0}};
	struct shelf_buf why = {0};
	uint32_t ids[AT_ONCE];
	uint64_t changes = 0;

	shelf_mover_free(&mover);
	mover = shelf_mover_new(r.store, count_steps, NULL);
	ck_assert_int_eq(shelf_account_add(r.store, new, AT_ONCE, NULL, ids), 0);
	for (int i = 0; i < AT_ONCE; i++) {
		w[i].model = model_new(1000 + (uint64_t)i, 0, 0);
		w[i].account = ids[i];
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, write_model, &w[i]), 0);
	}
	mail_left_kept_s = 0;
	for (int i = 0; i < MOVES; i++) {
		int rc = move(ids[i % AT_ONCE]);

		ck_assert_int_eq(rc, 0);
		changes += moved.changes;
		ck_assert_uint_eq(rig_findings(&r), 0);
		if (i % 3 == 0)
			purge_all();
	}
	stopping = true;
	for (int i = 0; i < AT_ONCE; i++) {
		ck_assert_int_eq(pthread_join(w[i].thread, NULL), 0);
		ck_assert(!w[i].failed);
		ck_assert_msg(model_compare(w[i].model, r.store, ids[i], true, &why), "%s", shelf_buf_cstr(&why));
		ck_assert_uint_gt(w[i].model->ops, 20);
		model_free(&w[i].model);
	}
	ck_assert_uint_gt(changes, 0);
	ck_assert_uint_gt(stepped, MOVES);
	shelf_buf_free(&why);
}
END_TEST

/* ---- Stopped ------------------------------------------------------------------------------------ */

static bool
stop_at(void *arg, const struct shelf_moved *so_far)
{
	return --*(int *)arg > 0;
}

/* It is where it was, and the copy goes. */
static void
must_stay(uint32_t home, const struct shelf_buf *before)
{
	ck_assert_uint_eq(home_of(r.joe), home);
	must_list(before);
	ck_assert_uint_eq(rig_findings(&r), 0);
	purge_all();
	ck_assert_uint_eq(rows_in(1 - home, KV_ACCT), home_of(r.ann) == home ? 0 : 1);
	ck_assert_uint_eq(rows_in(1 - home, KV_MSG), home_of(r.ann) == home ? 0 : 1);
	must_list(before);
	ck_assert_uint_eq(rig_findings(&r), 0);
}

START_TEST(stopped_half_way)
{
	struct shelf_buf before = {0};
	int steps = 1 + _i * 3;

	rig_furnish(&r);
	list_store(r.store, &before);
	shelf_mover_free(&mover);
	mover = shelf_mover_new(r.store, stop_at, &steps);
	ck_assert_int_eq(move(r.joe), SHELF_ECANCELLED);
	must_stay(home_of(r.joe), &before);
	steps = 1000;
	ck_assert_int_eq(move(r.joe), 0);
	must_list(&before);
	shelf_buf_free(&before);
}
END_TEST

static int
break_chunk(struct kv_txn *txn, void *arg)
{
	struct shelf_span key, value;
	struct shelf_buf k = {0}, v = {0};
	struct kv_scan scan;
	int rc = kv_scan_open(kv_txn_view(txn), KV_CHUNK, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);

	if (rc == 0 && kv_scan_next(&scan, &key, &value) == 1) {
		shelf_buf_add_span(&k, key);
		shelf_buf_add_span(&v, value);
	}
	kv_scan_close(&scan);
	v.data[v.len / 2] ^= 1;
	rc = kv_put(txn, KV_CHUNK, shelf_buf_span(&k), shelf_buf_span(&v));
	shelf_buf_free(&k);
	shelf_buf_free(&v);
	return rc;
}

START_TEST(damaged_it_stays)
{
	uint32_t home = home_of(r.joe);

	rig_append(&r, r.joe, r.inbox, "one", 0);
	ck_assert_int_eq(kv_update_shard(r.store->kv, home, 0, break_chunk, NULL), 0);
	ck_assert_int_eq(move(r.joe), SHELF_ECORRUPT);
	ck_assert_uint_eq(home_of(r.joe), home);
	ck_assert_int_eq(kv_update_shard(r.store->kv, home, 0, break_chunk, NULL), 0);
	ck_assert_int_eq(move(r.joe), 0);
}
END_TEST

START_TEST(no_room_there)
{
	struct shelf_buf before = {0};
	uint32_t home = home_of(r.joe);

	rig_furnish(&r);
	list_store(r.store, &before);
	/* The marks, then a map that is really full. */
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_REFUSE_PERCENT, 100), 0);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_REFUSE_BYTES, (uint64_t)1 << 40), 0);
	ck_assert_int_eq(move(r.joe), SHELF_EFULL);
	must_stay(home, &before);
	shelf_buf_free(&before);
}
END_TEST

static bool
delete_joe(void *arg, const struct shelf_moved *so_far)
{
	if (*(bool *)arg)
		ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	*(bool *)arg = false;
	return true;
}

/* Deleted on the way, or behind it: it is gone, in both. */
START_TEST(deleted_on_the_way)
{
	bool yes = _i == 0;

	rig_furnish(&r);
	shelf_mover_free(&mover);
	mover = shelf_mover_new(r.store, delete_joe, &yes);
	ck_assert_int_eq(move(r.joe), _i == 0 ? SHELF_ENOACCOUNT : 0);
	if (_i == 1)
		ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	purge_left();
	ck_assert_uint_eq(rows_in(0, KV_ACCT) + rows_in(1, KV_ACCT), 1);
	ck_assert_uint_eq(rows_in(0, KV_MSG) + rows_in(1, KV_MSG), 1);
	ck_assert_uint_eq(rows_in(0, KV_LEFT) + rows_in(1, KV_LEFT), 0);
	for (uint32_t p = 0; p < 2; p++)
		ck_assert(!has_job(p, MAIL_JOB_ACCOUNT) && !has_job(p, MAIL_JOB_LOADING) && !has_job(p, MAIL_JOB_LEFT));
}
END_TEST

/* ---- Killed ------------------------------------------------------------------------------------- */

static int die_at, points;

static int
die(enum kv_point point)
{
	if (points++ == die_at)
		_exit(77);
	return 0;
}

static int
move_in_child(uint32_t account, uint32_t to)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct shelf_store *store;
		struct shelf_mover *m;
		int rc = shelf_store_open(r.path, 0, &store);

		kv_fault = die;
		m = rc == 0 ? shelf_mover_new(store, NULL, NULL) : NULL;
		_exit(rc == 0 ? -shelf_account_move(m, account, to, &moved) : 1);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* At each write and commit: it is in one place, whole; what is left over goes, and it can be moved on. */
START_TEST(killed_at_each_step)
{
	struct shelf_buf before = {0};
	int status = 77, first = _i, there = 0, killed = 0;

	for (unsigned i = 0; i < 4; i++)
		rig_append(&r, r.joe, r.inbox, i % 2 == 0 ? "even" : "odd", i);
	rig_append(&r, r.joe, rig_create(&r, r.joe, "work"), "third", 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("work")), 0);
	list_store(r.store, &before);
	shelf_mover_free(&mover);
	for (die_at = first; status == 77; die_at += 4) {
		uint32_t home = home_of(r.joe);

		shelf_store_close(&r.store);
		points = 0;
		status = move_in_child(r.joe, 1 - home);
		ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
		ck_assert(status == 0 || status == 77);
		killed += status == 77;
		there += home_of(r.joe) != home;
		must_list(&before);
		ck_assert_uint_eq(rig_findings(&r), 0);
		/* Now and then all that is left over goes before the next try. */
		if (killed % 3 == 0) {
			purge_left();
			must_list(&before);
		}
	}
	ck_assert_int_gt(killed, 20);
	ck_assert_int_gt(there, 1); /* some died behind the moment */
	shelf_buf_free(&before);
}
END_TEST

/* ---- Told --------------------------------------------------------------------------------------- */

static atomic_uint told;

static void
tell(void *arg)
{
	told++;
}

/* Another process moves the account and then delivers: who listens here is told, as before. */
START_TEST(who_listens_is_told)
{
	struct shelf_listener *listener;
	uint32_t to = other(r.joe);
	int go[2], status;
	pid_t pid;
	char c;

	shelf_mover_free(&mover);
	shelf_store_close(&r.store);
	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		alarm(60);
		if (read(go[0], &c, 1) != 1 || shelf_store_open(r.path, 0, &r.store) != 0)
			_exit(1);
		mover = shelf_mover_new(r.store, NULL, NULL);
		if (shelf_account_move(mover, r.joe, to, &moved) != 0 || read(go[0], &c, 1) != 1)
			_exit(2);
		rig_append(&r, r.joe, r.inbox, "news", 0);
		_exit(0);
	}
	ck_assert_int_eq(shelf_store_open(r.path, SHELF_OPEN_SERVE, &r.store), 0);
	ck_assert_int_eq(shelf_listen(r.store, r.joe, tell, NULL, &listener), 0);
	ck_assert_int_eq(write(go[1], "x", 1), 1);
	for (int i = 0; i < 400 && home_of(r.joe) != to; i++)
		usleep(20000);
	usleep(500000); /* the watcher has seen that it moved */
	told = 0;
	ck_assert_int_eq(write(go[1], "x", 1), 1);
	for (int i = 0; i < 200 && told == 0; i++)
		usleep(20000);
	ck_assert_uint_gt(told, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 1);
	shelf_unlisten(&listener);
}
END_TEST

Suite *suite_move(void);
Suite *
suite_move(void)
{
	Suite *s = suite_create("move");
	TCase *tc = tcase_create("move");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, nothing_of_it_changes);
	tcase_add_test(tc, what_is_shared_stays_shared);
	tcase_add_test(tc, a_body_is_read_on);
	tcase_add_test(tc, used_all_the_time);
	tcase_add_loop_test(tc, stopped_half_way, 0, 3);
	tcase_add_test(tc, damaged_it_stays);
	tcase_add_test(tc, no_room_there);
	tcase_add_loop_test(tc, deleted_on_the_way, 0, 2);
	tcase_add_loop_test(tc, killed_at_each_step, 0, 4);
	tcase_add_test(tc, who_listens_is_told);
	suite_add_tcase(s, tc);
	return s;
}
