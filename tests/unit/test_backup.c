/* test_backup.c - a store into a file: what is in it, increments, tails, damage, an account that does not rest */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

Suite *suite_backup(void);

#include "kv.h"
#include "mail.h"
#include "store_rig.h"
#include "support.h"

static struct rig r;
static char path[4300];

static void
setup(void)
{
	rig_open(&r, NULL);
	snprintf(path, sizeof path, "%s/backup", r.dir);
}

static void
teardown(void)
{
	rig_close(&r);
}

static struct shelf_backup_done
run(void)
{
	struct shelf_backup_done done;

	ck_assert_int_eq(shelf_backup_run(r.store, path, NULL, NULL, NULL, &done), 0);
	return done;
}

static void
problem(void *arg, const char *text)
{
	printf("%s\n", text);
	++*(unsigned *)arg;
}

/* An error, or the number of problems. */
static int
verify(uint64_t generation)
{
	struct shelf_backup *b;
	unsigned problems = 0;
	int rc = shelf_backup_open(path, generation, &b);

	if (rc != 0)
		return rc;
	rc = shelf_backup_verify(b, NULL, problem, &problems);
	shelf_backup_close(&b);
	return rc != 0 ? rc : (int)problems;
}

static off_t
file_size(void)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

static int
add_account(void *arg, const struct shelf_backup_account *a)
{
	shelf_buf_printf(arg, "%s %llu %llu;", a->name, (unsigned long long)a->quota.used_messages,
	    (unsigned long long)a->quota.held_messages);
	return 0;
}

static int
add_mailbox(void *arg, const struct shelf_backup_mailbox *m)
{
	shelf_buf_printf(arg, "%.*s %u%s;", (int)m->name.len, (const char *)m->name.data, m->messages,
	    m->deleted ? " deleted" : "");
	return 0;
}

static int
add_message(void *arg, const struct shelf_msg *msg, const struct mime_part *root)
{
	shelf_buf_printf(arg, "%u %llu ", msg->uid, (unsigned long long)msg->size);
	if (root != NULL)
		shelf_buf_add_span(arg, root->envelope->subject);
	shelf_buf_add_byte(arg, ';');
	return 0;
}

START_TEST(listing)
{
	struct shelf_buf text = {0};
	struct shelf_backup *b;
	struct stat st;
	uint32_t work;

	rig_append(&r, r.joe, r.inbox, "one", 0);
	rig_append(&r, r.joe, r.inbox, "two", SHELF_SEEN);
	work = rig_create(&r, r.joe, "work");
	rig_append(&r, r.joe, work, "three", 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("work")), 0);
	run();
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(verify(0), 0);
	ck_assert_int_eq(shelf_backup_open(path, 0, &b), 0);
	ck_assert_int_eq(shelf_backup_accounts(b, add_account, &text), 0);
	ck_assert_str_eq(shelf_buf_cstr(&text), "joe 2 1;ann 0 0;");
	shelf_buf_clear(&text);
	ck_assert_int_eq(shelf_backup_mailboxes(b, "Joe", add_mailbox, &text), 0);
	ck_assert_str_eq(shelf_buf_cstr(&text), "INBOX 2;work 1 deleted;");
	shelf_buf_clear(&text);
	ck_assert_int_eq(shelf_backup_messages(b, "joe", shelf_span_str("inbox"), add_message, &text), 0);
	ck_assert_str_eq(shelf_buf_cstr(&text), "1 116 one;2 116 two;");
	ck_assert_int_eq(shelf_backup_messages(b, "joe", shelf_span_str("work"), add_message, &text),
	    SHELF_ENOMAILBOX);
	ck_assert_int_eq(shelf_backup_mailboxes(b, "jim", add_mailbox, &text), SHELF_ENOACCOUNT);
	shelf_buf_free(&text);
	shelf_backup_close(&b);
}
END_TEST

/*
 * What has not changed is not written again, and what has changed is little. Of eight thousand messages: sections are
 * cut by their rows' keys, and the one that the flag is in holds a quarter of all, more when a second ended meanwhile
 * and its rows compress less.
 */
START_TEST(increments)
{
	struct shelf_backup_done first, done;

	for (unsigned i = 0; i < 8; i++)
		rig_fill(&r, r.joe, r.inbox, 1000);
	rig_append(&r, r.ann, r.inbox, "one", 0);
	first = run();
	ck_assert_uint_eq(first.messages, 8001);
	ck_assert_uint_eq(first.bodies, 2);
	done = run();
	ck_assert_uint_eq(done.unchanged, 2);
	ck_assert_uint_eq(done.bodies, 0);
	ck_assert_uint_lt(done.added_bytes, 600);
	rig_flag(&r, r.joe, r.inbox, 5, 5, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	done = run();
	ck_assert_uint_eq(done.unchanged, 1);
	ck_assert_uint_eq(done.bodies, 0);
	ck_assert_uint_lt(done.added_bytes, first.added_bytes / 2);
	ck_assert_uint_eq(done.generation, 3);
	rig_append(&r, r.joe, r.inbox, "two", 0);
	done = run();
	ck_assert_uint_eq(done.bodies, 1);
	for (unsigned g = 1; g <= 4; g++)
		ck_assert_int_eq(verify(g), 0);
	ck_assert_int_eq(verify(5), SHELF_EMISSING);
}
END_TEST

static int
stop_at_once(void *arg, const struct shelf_backup_done *so_far)
{
	return so_far->bodies >= 3;
}

/* A run that stops anywhere leaves the generation before as it was; the next one cuts off what it left. */
START_TEST(tail)
{
	struct shelf_backup_done done;
	off_t size;

	rig_append(&r, r.joe, r.inbox, "one", 0);
	run();
	size = file_size();
	for (unsigned i = 0; i < 6; i++)
		rig_append(&r, r.ann, r.inbox, "12345" + i % 5, 0);
	ck_assert_int_eq(shelf_backup_run(r.store, path, stop_at_once, NULL, NULL, &done), SHELF_ECANCELLED);
	ck_assert_int_eq(verify(0), 0);
	for (unsigned cut = 1; cut < 200; cut += 13) {
		int fd = open(path, O_RDWR);

		ck_assert_int_eq(ftruncate(fd, size), 0);
		ck_assert_int_eq(pwrite(fd, "mshelfE\nmSecR mshelfE\n", cut % 22 + 1, size + cut), cut % 22 + 1);
		close(fd);
		ck_assert_int_eq(verify(0), 0);
	}
	done = run();
	ck_assert_uint_gt(done.cut_bytes, 0);
	ck_assert_uint_eq(done.generation, 2);
	ck_assert_int_eq(verify(0), 0);
}
END_TEST

/* Cut anywhere in the last generation: the one before is there, and the next run goes on behind it. */
START_TEST(cut_anywhere)
{
	off_t first, second;

	rig_append(&r, r.joe, r.inbox, "one", 0);
	run();
	first = file_size();
	rig_append(&r, r.joe, r.inbox, "two", 0);
	run();
	second = file_size();
	for (off_t at = second - 1; at >= first; at -= 7) {
		ck_assert_int_eq(truncate(path, at), 0);
		ck_assert_int_eq(verify(0), 0);
		ck_assert_int_eq(verify(2), SHELF_EMISSING);
	}
	ck_assert_uint_eq(run().generation, 2);
	ck_assert_int_eq(verify(2), 0);
}
END_TEST

/* Every byte is covered: whichever is changed, the file is refused or the damage is told. */
START_TEST(every_byte)
{
	off_t size;
	int fd;

	rig_append(&r, r.joe, r.inbox, "one", 0);
	run();
	size = file_size();
	fd = open(path, O_RDWR);
	for (off_t at = 0; at < size; at++) {
		uint8_t byte, other;

		ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
		other = byte ^ 0x10;
		ck_assert_int_eq(pwrite(fd, &other, 1, at), 1);
		ck_assert_msg(verify(0) != 0, "byte %lld", (long long)at);
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
	ck_assert_int_eq(verify(0), 0);
}
END_TEST

START_TEST(refused)
{
	struct shelf_backup_done done;
	struct shelf_backup *b;
	FILE *f = fopen(path, "w");

	fputs("From: somebody\r\n\r\nThis is a letter and not a backup, but it is long enough to be one.\r\n", f);
	fclose(f);
	ck_assert_int_eq(shelf_backup_run(r.store, path, NULL, NULL, NULL, &done), SHELF_ESYNTAX);
	ck_assert_int_eq(shelf_backup_open(path, 0, &b), SHELF_ESYNTAX);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(shelf_backup_open(path, 0, &b), SHELF_EMISSING);
	ck_assert_int_eq(shelf_backup_open(r.dir, 0, &b), SHELF_ESYNTAX);
}
END_TEST

/* A generation that is there but cannot be read is not a tail: nothing may be cut off behind it. */
START_TEST(damaged_generation)
{
	struct shelf_backup_done done;
	off_t size;
	int fd;

	run();
	rig_append(&r, r.joe, r.inbox, "one", 0);
	run();
	size = file_size();
	fd = open(path, O_RDWR);
	ck_assert_int_eq(pwrite(fd, "x", 1, size - 60), 1);
	close(fd);
	ck_assert_int_eq(shelf_backup_run(r.store, path, NULL, NULL, NULL, &done), SHELF_ECORRUPT);
	ck_assert_int_eq(file_size(), size);
	ck_assert_int_eq(verify(1), 1);
}
END_TEST

static int
run_inside(void *arg, const struct shelf_backup_done *so_far)
{
	struct shelf_backup_done done;

	*(int *)arg = shelf_backup_run(r.store, path, NULL, NULL, NULL, &done);
	return 0;
}

START_TEST(one_writer)
{
	struct shelf_backup_done done;
	int rc = 0;

	ck_assert_int_eq(shelf_backup_run(r.store, path, run_inside, NULL, &rc, &done), 0);
	ck_assert_int_eq(rc, SHELF_EBUSY);
	ck_assert_int_eq(verify(0), 0);
}
END_TEST

/* Messages over several frames, and none at all. */
START_TEST(large)
{
	static const size_t sizes[] = {0, 1, 262143, 262144, 262145, 700000};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct shelf_append item = {.internaldate_s = INT64_MIN};
		struct shelf_append_result result;

		item.draft = rig_draft(&r, "large", sizes[i]);
		ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), 0);
		shelf_draft_free(&item.draft);
	}
	ck_assert_uint_eq(run().bodies, 6);
	ck_assert_int_eq(verify(0), 0);
}
END_TEST

/* Whatever changes a row of an account changes its ACCT row, by the modseq if by nothing else: it proves slices. */
START_TEST(version)
{
	uint64_t before;
	uint32_t from, to;

	rig_append(&r, r.joe, r.inbox, "one", SHELF_DELETED);
	before = rig_modseq(&r, r.joe);
	ck_assert_int_eq(shelf_mailbox_claim_recent(r.store, r.joe, r.inbox, &from, &to), 0);
	ck_assert_uint_eq(rig_modseq(&r, r.joe), before + 1);
	ck_assert_int_eq(shelf_mailbox_claim_recent(r.store, r.joe, r.inbox, &from, &to), 0);
	ck_assert_uint_eq(rig_modseq(&r, r.joe), before + 1);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 1 << 20, 0, 0), 0);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("a"), true), 0);
	ck_assert_uint_eq(rig_modseq(&r, r.joe), before + 2);
}
END_TEST

START_TEST(version_and_purge)
{
	const struct shelf_store_params params = {
	    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20, .hold_s = 1};
	struct rig own;
	uint64_t before;

	rig_open(&own, &params);
	rig_append(&own, own.joe, own.inbox, "one", SHELF_DELETED);
	ck_assert_int_eq(shelf_msg_expunge(own.store, own.joe, own.inbox, NULL, 0, NULL), 0);
	before = rig_modseq(&own, own.joe);
	sleep(2);
	ck_assert_int_eq(shelf_store_purge(own.store, 1000), 0);
	ck_assert_uint_eq(rig_quota(&own, own.joe).held_messages, 0);
	ck_assert_uint_eq(rig_modseq(&own, own.joe), before + 1);
	rig_close(&own);
}
END_TEST

struct restless {
	atomic_bool stop;
	pthread_t thread;
};

static void *
never_rest(void *arg)
{
	struct restless *rl = arg;

	while (!atomic_load(&rl->stop)) {
		rig_append(&r, r.joe, r.inbox, "again", 0);
		rig_flag(&r, r.joe, r.inbox, 1, 5, SHELF_FLAGS_ADD, SHELF_FLAGGED, "");
		rig_flag(&r, r.joe, r.inbox, 1, 5, SHELF_FLAGS_REMOVE, SHELF_FLAGGED, "");
	}
	return NULL;
}

/* An account that is written all the time is saved nevertheless, as of one version. */
START_TEST(restless_account)
{
	struct restless rl = {.stop = false};

	for (unsigned i = 0; i < 5; i++)
		rig_fill(&r, r.joe, r.inbox, 1000);
	ck_assert_int_eq(pthread_create(&rl.thread, NULL, never_rest, &rl), 0);
	for (unsigned i = 0; i < 5; i++) {
		struct shelf_backup_done done = run();

		ck_assert_uint_eq(done.late, 0);
		ck_assert_uint_ge(done.messages, 5000);
		ck_assert_int_eq(verify(0), 0);
	}
	atomic_store(&rl.stop, true);
	pthread_join(rl.thread, NULL);
}
END_TEST

/* While joe is saved, ann is deleted and half of her rows go. */
static int
delete_ann(void *arg, const struct shelf_backup_done *done)
{
	bool *deleted = arg;

	if (!*deleted) {
		ck_assert_int_eq(shelf_account_delete(r.store, r.ann), 0);
		for (uint32_t shard = 0; shard < 2; shard++)
			ck_assert_int_ge(mail_purge_shard_step(r.store, shard), 0);
	}
	*deleted = true;
	return 0;
}

START_TEST(deleted_meanwhile)
{
	struct shelf_backup_done done;
	bool deleted = false;

	rig_fill(&r, r.joe, r.inbox, 10);
	rig_fill(&r, r.ann, r.inbox, 1000);
	ck_assert_int_eq(shelf_backup_run(r.store, path, delete_ann, NULL, &deleted, &done), 0);
	ck_assert(deleted);
	ck_assert_uint_eq(done.accounts, 1);
	ck_assert_uint_eq(done.messages, 10);
	ck_assert_int_eq(verify(0), 0);
}
END_TEST

static int
put_junk(struct kv_txn *txn, void *arg)
{
	return kv_put(txn, KV_CHUNK, shelf_span(arg, 12), shelf_span_str("junk"));
}

/* Damaged bytes in the store: all else is saved, and it is said. */
START_TEST(damaged_body)
{
	struct shelf_backup_done done;
	struct shelf_msg msg;
	unsigned problems = 0;
	uint8_t key[12] = {0};
	uint32_t shard;

	rig_append(&r, r.joe, r.inbox, "one", 0);
	rig_append(&r, r.joe, r.inbox, "two", 0);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), 0);
	ck_assert_int_eq(kv_shard_of(r.store->kv, r.joe, &shard), 0);
	base_put_be64(key, msg.blob);
	ck_assert_int_eq(kv_update_shard(r.store->kv, shard, 0, put_junk, key), 0);
	ck_assert_int_eq(shelf_backup_run(r.store, path, NULL, problem, &problems, &done), 0);
	ck_assert_uint_eq(done.damaged, 1);
	ck_assert_uint_eq(done.bodies, 1);
	ck_assert_uint_eq(problems, 1);
	ck_assert_int_eq(verify(0), 1);
	ck_assert_int_eq(shelf_account_delete(r.store, r.joe), 0);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
}
END_TEST

Suite *
suite_backup(void)
{
	Suite *s = suite_create("backup");
	TCase *t = tcase_create("backup");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, listing);
	tcase_add_test(t, increments);
	tcase_add_test(t, tail);
	tcase_add_test(t, cut_anywhere);
	tcase_add_test(t, every_byte);
	tcase_add_test(t, refused);
	tcase_add_test(t, damaged_generation);
	tcase_add_test(t, one_writer);
	tcase_add_test(t, large);
	tcase_add_test(t, version);
	tcase_add_test(t, restless_account);
	tcase_add_test(t, deleted_meanwhile);
	tcase_add_test(t, damaged_body);
	suite_add_tcase(s, t);
	t = tcase_create("purge");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, version_and_purge);
	suite_add_tcase(s, t);
	return s;
}
