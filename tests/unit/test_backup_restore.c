/* test_backup_restore.c - out of a backup: a store, an account, messages; stopped anywhere and done again */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "carry.h"
#include "kv.h"
#include "list_rig.h"
#include "mail.h"
#include "store_rig.h"
#include "support.h"

static struct rig r;
static char file[4300], other[4300];

static void
setup(void)
{
	const struct shelf_store_params params = {
	    .partitions = 2, .map_bytes = 512u << 20, .reserve_bytes = 1u << 20};

	rig_open(&r, &params);
	snprintf(file, sizeof file, "%s/backup", r.dir);
	snprintf(other, sizeof other, "%s/other", r.dir);
}

static void
teardown(void)
{
	rig_close(&r);
}

static void
run_backup(void)
{
	struct shelf_backup_done done;

	ck_assert_int_eq(shelf_backup_run(r.store, file, NULL, NULL, NULL, &done), 0);
	ck_assert_uint_eq(done.late, 0);
}

static struct shelf_backup *
open_backup(void)
{
	struct shelf_backup *b;

	ck_assert_int_eq(shelf_backup_open(file, 0, &b), 0);
	return b;
}

/* The store in PATH reads as r.store does, and the check finds nothing. */
static void
must_equal(const char *path)
{
	struct rig there = {0};
	struct shelf_buf want = {0}, got = {0};

	ck_assert_int_eq(shelf_store_open(path, 0, &there.store), 0);
	list_store(r.store, &want);
	list_store(there.store, &got);
	for (size_t i = 0; i < want.len || i < got.len; i++)
		ck_assert_msg(i < want.len && i < got.len && want.data[i] == got.data[i], "%.200s instead of %.200s",
		    shelf_buf_cstr(&got) + (i < 80 ? 0 : i - 80), shelf_buf_cstr(&want) + (i < 80 ? 0 : i - 80));
	ck_assert_uint_eq(rig_findings(&there), 0);
	shelf_store_close(&there.store);
	shelf_buf_free(&want);
	shelf_buf_free(&got);
}

static int
restore_store(shelf_restore_progress_fn *progress, void *arg, struct shelf_restore_done *done)
{
	struct shelf_backup *b = open_backup();
	int rc = shelf_backup_restore_store(b, other, progress, NULL, arg, done);

	shelf_backup_close(&b);
	return rc;
}

START_TEST(a_store_comes_back)
{
	struct shelf_restore_done done;
	struct shelf_account a;
	struct shelf_store *store;
	uint32_t next;
	const struct shelf_account_new jim = {.name = shelf_span_str("jim")};

	rig_furnish(&r);
	run_backup();
	ck_assert_int_eq(restore_store(NULL, NULL, &done), 0);
	ck_assert_uint_eq(done.accounts, 2);
	ck_assert_uint_eq(done.failed, 0);
	/* "to both" and the others, each once in its partition. */
	ck_assert_uint_le(done.bodies, 6);
	must_equal(other);
	ck_assert_int_eq(restore_store(NULL, NULL, &done), SHELF_EEXISTS);
	/* It is a store like any other: it goes on. */
	ck_assert_int_eq(shelf_store_open(other, 0, &store), 0);
	ck_assert_int_eq(
	    shelf_account_login(store, shelf_span_str("ann"), shelf_span_str("secret"), SHELF_SERVICE_IMAP, &a), 0);
	ck_assert_int_eq(shelf_account_add(store, &jim, 1, NULL, &next), 0);
	ck_assert_uint_gt(next, r.ann);
	shelf_store_close(&store);
}
END_TEST

static int
stop_at(void *arg, const struct shelf_restore_done *so_far)
{
	return --*(int *)arg < 0;
}

/* Stopped after any transaction, by an error or by death, the same call goes on. */
START_TEST(stopped_anywhere)
{
	struct shelf_restore_done done;
	struct shelf_store *store;
	int rc = SHELF_ECANCELLED, steps = 0;

	rig_furnish(&r);
	run_backup();
	for (int n = 0; rc == SHELF_ECANCELLED; n++) {
		steps = n;
		rc = restore_store(stop_at, &steps, &done);
		if (rc != 0)
			ck_assert_int_eq(shelf_store_open(other, 0, &store), SHELF_EMISSING);
		ck_assert_int_lt(n, 100);
	}
	ck_assert_int_eq(rc, 0);
	must_equal(other);
}
END_TEST

static int
die_at(void *arg, const struct shelf_restore_done *so_far)
{
	if (--*(int *)arg < 0)
		_exit(0);
	return 0;
}

START_TEST(killed_anywhere)
{
	bool died = true;

	rig_furnish(&r);
	run_backup();
	for (int n = 0; died; n++) {
		struct shelf_restore_done done;
		pid_t pid = fork();
		int status;

		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			_exit(restore_store(die_at, &n, &done) == 0 ? 7 : 1);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status));
		ck_assert_int_ne(WEXITSTATUS(status), 1);
		died = WEXITSTATUS(status) == 0;
		ck_assert_int_lt(n, 100);
	}
	must_equal(other);
}
END_TEST

/* What releases of the format wrote is saved and comes back. */
static const char *const goldens[] = {"tests/golden/format-1.tar.gz", "tests/golden/format-1-2026-12-01b.tar.gz"};

START_TEST(a_golden_store)
{
	pid_t pid;
	int status;

	shelf_store_close(&r.store);
	support_rmtree(r.path);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		execlp("tar", "tar", "-xzf", goldens[_i], "-C", r.dir, (char *)NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
	run_backup();
	ck_assert_int_eq(restore_store(NULL, NULL, &(struct shelf_restore_done){0}), 0);
	must_equal(other);
}
END_TEST

/* ---- An account ------------------------------------------------------------------------------------- */

static int
restore_account(const char *account, const char *as, shelf_restore_progress_fn *progress, void *arg)
{
	struct shelf_restore_done done;
	struct shelf_backup *b = open_backup();
	int rc = shelf_backup_restore_account(b, account, r.store, as, progress, arg, &done);

	shelf_backup_close(&b);
	return rc;
}

/* ann sees the INBOX of OWNER, and its note is there. */
static void
must_share(uint32_t owner)
{
	struct shelf_buf note = {0};
	struct shelf_rd *rd;
	uint32_t *owners;
	size_t count;
	unsigned rights;
	bool listed = false;

	ck_assert_int_eq(shelf_sharers(r.store, "ann", &owners, &count), 0);
	for (size_t i = 0; i < count; i++)
		listed |= owners[i] == owner;
	free(owners);
	ck_assert(listed);
	ck_assert_int_eq(shelf_rd_begin(r.store, owner, &rd), 0);
	ck_assert_int_eq(shelf_acl_rights(rd, r.inbox, "ann", false, &rights), 0);
	ck_assert_uint_eq(rights, SHELF_RIGHT_LOOKUP);
	ck_assert_int_eq(shelf_metadata_get(rd, r.inbox, "/private/comment", &note), 0);
	ck_assert(shelf_span_is(shelf_buf_span(&note), "a note"));
	shelf_buf_free(&note);
	shelf_rd_end(&rd);
}

START_TEST(an_account_comes_back)
{
	struct shelf_account a;
	struct shelf_quota before, after;
	struct shelf_msg was, is;
	struct shelf_mailbox inbox, again;

	rig_furnish(&r);
	run_backup();
	before = rig_quota(&r, r.joe);
	inbox = rig_mailbox(&r, r.joe, r.inbox);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 260, &was), 0);
	ck_assert_int_eq(restore_account("joe", NULL, NULL, NULL), SHELF_EEXISTS);
	ck_assert_int_eq(restore_account("jim", NULL, NULL, NULL), SHELF_ENOACCOUNT);
	ck_assert_int_eq(restore_account("joe", "a b", NULL, NULL), SHELF_ENAME);
	ck_assert_int_eq(restore_account("joe", "Jim", NULL, NULL), 0);
	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("jim"), &a), 0);
	after = rig_quota(&r, a.id);
	ck_assert_mem_eq(&before, &after, sizeof before);
	again = rig_mailbox(&r, a.id, r.inbox);
	ck_assert(inbox.id == again.id && inbox.uidvalidity == again.uidvalidity && inbox.uidnext == again.uidnext);
	ck_assert(inbox.highestmodseq == again.highestmodseq && inbox.exists == again.exists);
	ck_assert_int_eq(rig_msg(&r, a.id, r.inbox, 260, &is), 0);
	must_share(a.id);
	is.blob = was.blob;
	ck_assert_mem_eq(&was, &is, sizeof was);
	/* The old one is deleted, and comes back under its name. */
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
	ck_assert_int_eq(restore_account("joe", NULL, NULL, NULL), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
}
END_TEST

static int
age_jobs(struct kv_txn *txn, void *arg)
{
	uint8_t key[5] = {MAIL_JOB_LOADING}, old[8] = {0};
	struct shelf_span value;
	int rc;

	base_put_be32(key + 1, *(uint32_t *)arg);
	rc = kv_get(kv_txn_view(txn), KV_JOB, shelf_span(key, 5), &value);
	return rc == SHELF_EMISSING ? 0 : rc != 0 ? rc : kv_put(txn, KV_JOB, shelf_span(key, 5), shelf_span(old, 8));
}

/* What a run that died has left of an account is nobody's, and goes when it is a day old. */
START_TEST(half_an_account_goes)
{
	struct shelf_backup_done done;
	struct shelf_store_stats before, after;
	uint32_t half;
	int steps = 1;

	rig_furnish(&r);
	run_backup();
	ck_assert_int_eq(restore_account("joe", "jim", stop_at, &steps), SHELF_ECANCELLED);
	half = r.ann + 1;
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(shelf_store_purge(r.store, 1000), 0);
	for (uint32_t shard = 0; shard < 2; shard++) {
		struct kv_view *view;
		uint32_t found = 0;

		ck_assert_int_eq(kv_view_begin_shard(r.store->kv, shard, &view), 0);
		if (kv_view_next_account(view, KV_MNAME, half - 1, &found) == 1 && found == half)
			steps = 100;
		kv_view_end(&view);
		ck_assert_int_eq(kv_update_shard(r.store->kv, shard, 0, age_jobs, &half), 0);
	}
	ck_assert_int_eq(steps, 100); /* it was there, young */
	ck_assert_int_eq(shelf_store_stats(r.store, &before), 0);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
	for (uint32_t shard = 0; shard < 2; shard++) {
		struct kv_view *view;
		uint32_t found = 0;

		ck_assert_int_eq(kv_view_begin_shard(r.store->kv, shard, &view), 0);
		ck_assert_int_eq(kv_view_next_account(view, KV_MNAME, half - 1, &found), 0);
		ck_assert_int_eq(kv_view_next_account(view, KV_MSG, half - 1, &found), 0);
		kv_view_end(&view);
	}
	ck_assert_int_eq(shelf_store_stats(r.store, &after), 0);
	ck_assert_int_eq(shelf_backup_run(r.store, file, NULL, NULL, NULL, &done), 0);
	ck_assert_uint_eq(done.unchanged, 2);
}
END_TEST

static int
put_junk(struct kv_txn *txn, void *arg)
{
	return kv_put(txn, KV_CHUNK, shelf_span(arg, 12), shelf_span_str("junk"));
}

static void
damage(uint32_t uid)
{
	struct shelf_msg msg;
	uint8_t key[12] = {0};
	uint32_t shard;

	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, uid, &msg), 0);
	ck_assert_int_eq(kv_shard_of(r.store->kv, r.joe, &shard), 0);
	base_put_be64(key, msg.blob);
	ck_assert_int_eq(kv_update_shard(r.store->kv, shard, 0, put_junk, key), 0);
}

/* One damaged message, present, deleted or held, does not keep the account from coming back. */
START_TEST(damaged_messages)
{
	struct shelf_restore_done done;
	struct shelf_uidset *two = rig_set(2, 2);
	struct shelf_backup_done saved;
	struct rig there = {0};
	struct shelf_msg msg;

	for (unsigned i = 0; i < 4; i++) {
		char text[2] = {(char)('a' + i)};

		rig_append(&r, r.joe, r.inbox, text, i == 2 ? SHELF_DELETED : SHELF_SEEN);
	}
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, two, 0, NULL), 0);
	shelf_uidset_free(&two);
	for (uint32_t uid = 1; uid <= 3; uid++)
		damage(uid);
	ck_assert_int_eq(shelf_backup_run(r.store, file, NULL, NULL, NULL, &saved), 0);
	ck_assert_uint_eq(saved.damaged, 3);
	ck_assert_int_eq(restore_store(NULL, NULL, &done), 0);
	ck_assert_uint_eq(done.lost, 3);
	ck_assert_uint_eq(done.failed, 0);
	ck_assert_int_eq(shelf_store_open(other, 0, &there.store), 0);
	ck_assert_uint_eq(rig_findings(&there), 0);
	for (uint32_t uid = 1; uid <= 4; uid++) {
		ck_assert_int_eq(rig_msg(&there, r.joe, r.inbox, uid, &msg), 0);
		ck_assert_uint_eq(msg.flags, uid == 3 ? SHELF_DELETED : SHELF_SEEN);
		ck_assert(msg.gone == (uid == 2));
	}
	shelf_store_close(&there.store);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
}
END_TEST

static int
die_while_saving(void *arg, const struct shelf_backup_done *so_far)
{
	if (--*(int *)arg < 0)
		_exit(0);
	return 0;
}

/* A run killed anywhere: the next one cuts off what it left, and what is restored is the store. */
START_TEST(backup_killed_anywhere)
{
	bool died = true;

	rig_furnish(&r);
	shelf_store_close(&r.store);
	for (int n = 0; died; n += 3) {
		struct shelf_backup_done saved;
		struct shelf_store *store;
		pid_t pid = fork();
		int status, left = n;

		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			_exit(shelf_store_open(r.path, 0, &store) == 0 &&
			                  shelf_backup_run(store, file, die_while_saving, NULL, &left, &saved) == 0
			              ? 7
			              : 1);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status));
		ck_assert_int_ne(WEXITSTATUS(status), 1);
		died = WEXITSTATUS(status) == 0;
		ck_assert_int_lt(n, 300);
	}
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
	ck_assert_int_eq(restore_store(NULL, NULL, &(struct shelf_restore_done){0}), 0);
	must_equal(other);
}
END_TEST

/* ---- Messages ---------------------------------------------------------------------------------------- */

static int
restore_messages(const char *mailbox, struct shelf_restore_request *req, struct shelf_restore_done *done)
{
	struct shelf_backup *b = open_backup();
	int rc = shelf_backup_restore_messages(b, "joe", shelf_span_str(mailbox), r.store, req, NULL, NULL, NULL, done);

	shelf_backup_close(&b);
	return rc;
}

START_TEST(messages_come_back)
{
	struct shelf_restore_request req = {.account = r.joe, .to = shelf_span_str("INBOX")};
	struct shelf_restore_done done;
	struct shelf_msg was, is;
	struct shelf_uidset *three;

	rig_append(&r, r.joe, r.inbox, "one", SHELF_SEEN | SHELF_DELETED);
	rig_append(&r, r.joe, r.inbox, "two", 0);
	rig_append(&r, r.joe, r.inbox, "two", SHELF_FLAGGED);
	rig_flag(&r, r.joe, r.inbox, 1, 1, SHELF_FLAGS_ADD, 0, "$Work");
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &was), 0);
	run_backup();
	ck_assert_int_eq(restore_messages("INBOX", &req, &done), 0);
	ck_assert_uint_eq(done.messages, 0);
	ck_assert_uint_eq(done.there, 3);
	ck_assert_int_eq(restore_messages("none", &req, &done), SHELF_ENOMAILBOX);
	/* One of the two equal ones and the first are lost. */
	three = rig_set(1, 2);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, three, 0, NULL), 0);
	req.dry_run = true;
	ck_assert_int_eq(restore_messages("INBOX", &req, &done), 0);
	ck_assert_uint_eq(done.messages, 2);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 1);
	req.dry_run = false;
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(restore_messages("inbox", &req, &done), 0);
		ck_assert_uint_eq(done.messages, i == 0 ? 2 : 0);
		ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 3);
	}
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 4, &is), 0);
	ck_assert_uint_eq(is.flags, SHELF_SEEN);
	ck_assert_uint_eq(is.keywords[0], was.keywords[0]);
	ck_assert_int_eq(is.internaldate_s, was.internaldate_s);
	ck_assert_mem_eq(is.email_id, was.email_id, 16);
	/* Into another account and a mailbox that is made; by uid. */
	req = (struct shelf_restore_request){.account = r.ann, .to = shelf_span_str("from joe"), .uids = three};
	ck_assert_int_eq(restore_messages("INBOX", &req, &done), 0);
	ck_assert_uint_eq(done.messages, 2);
	ck_assert_uint_eq(rig_quota(&r, r.ann).used_messages, 2);
	shelf_uidset_free(&three);
}
END_TEST

static bool
has_two(void *arg, const struct shelf_msg *msg, const struct mime_part *root)
{
	return root != NULL && shelf_span_is(root->envelope->subject, "two");
}

START_TEST(messages_ask_the_quota)
{
	struct shelf_restore_request req = {
	    .account = r.ann, .to = shelf_span_str("INBOX"), .choose = has_two, .envelopes = true};
	struct shelf_restore_done done;

	for (unsigned i = 0; i < 100; i++)
		rig_append(&r, r.joe, r.inbox, i % 2 ? "one" : "two", 0);
	run_backup();
	ck_assert_int_eq(shelf_quota_set(r.store, r.ann, 0, 49, 0), 0);
	ck_assert_int_eq(restore_messages("INBOX", &req, &done), SHELF_EQUOTA);
	ck_assert_uint_eq(rig_quota(&r, r.ann).used_messages, 0);
	ck_assert_int_eq(shelf_quota_set(r.store, r.ann, 0, 50, 0), 0);
	ck_assert_int_eq(restore_messages("INBOX", &req, &done), 0);
	ck_assert_uint_eq(done.messages, 50);
	ck_assert_uint_eq(rig_quota(&r, r.ann).used_messages, 50);
}
END_TEST

/* ---- Beside writers ----------------------------------------------------------------------------------- */

static atomic_bool stop;

static void *
never_rest(void *arg)
{
	uint32_t work = rig_create(&r, r.joe, "work");

	for (uint32_t uid = 1; !atomic_load(&stop); uid++) {
		struct shelf_uidset *one = rig_set(uid, uid);
		struct shelf_copy_result copied = {
		    .from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};

		rig_append(&r, r.joe, r.inbox, "again", uid % 3 == 0 ? SHELF_SEEN : 0);
		rig_flag(&r, r.joe, r.inbox, uid, uid, SHELF_FLAGS_ADD, SHELF_DELETED, "");
		if (uid % 5 == 0)
			ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, work, one, true, &copied), 0);
		else if (uid % 2 == 0)
			ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, one, 0, NULL), 0);
		shelf_uidset_free(&one);
		shelf_uidset_free(&copied.from_uids);
		shelf_uidset_free(&copied.to_uids);
	}
	return NULL;
}

/* An account that is changed all the time is saved as of one moment: what comes back has no finding. */
START_TEST(one_version)
{
	pthread_t thread;

	for (unsigned i = 0; i < 4; i++)
		rig_fill(&r, r.joe, r.inbox, 1000);
	ck_assert_int_eq(pthread_create(&thread, NULL, never_rest, NULL), 0);
	for (unsigned i = 0; i < 6; i++) {
		struct shelf_restore_done done;
		struct rig there = {0};

		run_backup();
		ck_assert_int_eq(restore_store(NULL, NULL, &done), 0);
		ck_assert_int_eq(shelf_store_open(other, 0, &there.store), 0);
		ck_assert_uint_eq(rig_findings(&there), 0);
		shelf_store_close(&there.store);
		support_rmtree(other);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}
END_TEST

Suite *suite_backup_restore(void);

Suite *
suite_backup_restore(void)
{
	Suite *s = suite_create("backup_restore");
	TCase *t = tcase_create("backup_restore");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_store_comes_back);
	tcase_add_test(t, stopped_anywhere);
	tcase_add_test(t, killed_anywhere);
	tcase_add_loop_test(t, a_golden_store, 0, sizeof goldens / sizeof *goldens);
	tcase_add_test(t, an_account_comes_back);
	tcase_add_test(t, half_an_account_goes);
	tcase_add_test(t, damaged_messages);
	tcase_add_test(t, backup_killed_anywhere);
	tcase_add_test(t, messages_come_back);
	tcase_add_test(t, messages_ask_the_quota);
	tcase_add_test(t, one_version);
	suite_add_tcase(s, t);
	return s;
}
