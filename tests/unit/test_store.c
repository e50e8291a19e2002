/* test_store.c - making and opening stores, what `check` finds, news, and many writers at once */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mailshelf/news.h>

#include "mail.h"
#include "store_rig.h"
#include "support.h"

static struct rig r;

START_TEST(making_and_opening)
{
	struct shelf_store *again = NULL;
	char path[4300];
	FILE *f;

	rig_open(&r, NULL);
	ck_assert_int_eq(shelf_store_create(r.path, NULL), SHELF_EEXISTS);
	ck_assert_int_eq(shelf_store_open(r.path, 0, &again), SHELF_EBUSY);
	ck_assert_int_eq(shelf_store_open("/nonexistent/store", 0, &again), SHELF_EMISSING);
	ck_assert_int_eq(shelf_store_open(r.dir, 0, &again), SHELF_EMISSING);
	ck_assert(again == NULL);
	shelf_store_close(&r.store);
	snprintf(path, sizeof(path), "%s/mailshelf", r.path);
	f = fopen(path, "w");
	fputs("format 2\n", f);
	fclose(f);
	ck_assert_int_eq(shelf_store_open(r.path, 0, &again), SHELF_EVERSION);
	f = fopen(path, "w");
	fclose(f);
	ck_assert_int_eq(shelf_store_open(r.path, 0, &again), SHELF_ECORRUPT);
	support_rmtree(r.dir);
}
END_TEST

/* ---- check finds each kind of damage ------------------------------------------------------------------- */

struct row {
	enum kv_table table;
	struct mail_key key;
	bool remove;
	size_t flip; /* this byte of the value changes */
};

static int
damage(struct kv_txn *txn, void *arg)
{
	struct row *row = arg;
	struct shelf_span value;
	uint8_t bytes[KV_VALUE_MAX];
	int rc = kv_get(kv_txn_view(txn), row->table, mail_key_span(&row->key), &value);

	if (rc != 0)
		return rc;
	if (row->remove)
		return kv_del(txn, row->table, mail_key_span(&row->key));
	memcpy(bytes, value.data, value.len);
	bytes[row->flip] ^= 1;
	return kv_put(txn, row->table, mail_key_span(&row->key), shelf_span(bytes, value.len));
}

static void
note_invariant(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	*(unsigned *)arg |= 1u << invariant;
}

static struct mail_key
blob_key_of(unsigned n, unsigned len)
{
	struct mail_key k = {.len = len};

	memset(k.bytes, 0, sizeof(k.bytes));
	k.bytes[7] = (uint8_t)n;
	return k;
}

static struct mail_key
page_key_of(void)
{
	struct mail_key k = {.len = 9};

	memset(k.bytes, 0, sizeof(k.bytes));
	k.bytes[3] = 1;
	return k;
}

START_TEST(check_finds_damage)
{
	const struct {
		struct row row;
		unsigned invariant;
	} cases[] = {
	    {{KV_MBOX, mail_key1(1), false, 25}, 1}, /* exists */
	    {{KV_MBOX, mail_key1(1), false, 37}, 1}, /* bytes */
	    {{KV_FSUM, mail_key2(1, 0), false, 1}, 1},
	    {{KV_ACCT, {.len = 0}, false, 37}, 2}, /* used bytes */
	    {{KV_ACCT, {.len = 0}, false, 61}, 2}, /* held messages */
	    {{KV_MSG, mail_key2(1, 2), true, 0}, 3},
	    {{KV_FPAGE, page_key_of(), true, 0}, 3},
	    {{KV_BLOB, blob_key_of(1, 8), true, 0}, 4},
	    {{KV_BLOB, blob_key_of(1, 8), false, 1}, 4}, /* references */
	    {{KV_MBOX, mail_key1(1), false, 9}, 5},	 /* uidnext */
	    {{KV_CHUNK, blob_key_of(1, 12), false, 20}, 6},
	    {{KV_CHUNK, blob_key_of(1, 12), true, 0}, 6},
	    {{KV_BLOB, blob_key_of(1, 8), false, 25}, 6}, /* checksum */
	    {{KV_GONE, mail_key2(1, 1), true, 0}, 7},
	    {{KV_DERIVED, blob_key_of(1, 12), true, 0}, 8},
	    {{KV_MNAME, {.len = 5, .bytes = "INBOX"}, true, 0}, 9},
	};
	unsigned seen = 0;
	struct row row = cases[_i].row;
	const struct shelf_store_params one = {.partitions = 1, .map_bytes = 64u << 20};

	rig_open(&r, &one);
	for (int i = 0; i < 4; i++)
		rig_append(&r, r.joe, r.inbox, i == 0 ? "a" : "b", 0);
	rig_flag(&r, r.joe, r.inbox, 1, 1, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, SHELF_EXPUNGE_DELETED, NULL), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, damage, &row), 0);
	ck_assert_int_eq(shelf_store_check(r.store, NULL, note_invariant, &seen), 0);
	ck_assert_msg((seen >> cases[_i].invariant & 1) != 0, "case %d: invariants found: %x", _i,
		      seen);
	shelf_store_close(&r.store);
	support_rmtree(r.dir);
}
END_TEST
enum { DAMAGE_CASES = 16 };

START_TEST(a_damaged_body_is_never_served)
{
	struct row row = {KV_CHUNK, blob_key_of(1, 12), false, 0};
	struct shelf_draft *d;
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result res;
	struct shelf_body *body;
	struct shelf_span got;
	struct shelf_msg msg;

	rig_open(&r, NULL);
	item.draft = d = rig_draft(&r, "body", 600);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &res), 0);
	shelf_draft_free(&d);
	ck_assert_int_eq(rig_msg(&r, r.joe, r.inbox, 1, &msg), 0);
	for (row.flip = 0; row.flip < 60; row.flip++) {
		int rc;

		ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, damage, &row), 0);
		ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), 0);
		rc = shelf_body_read(body, 0, 100, &got);
		/* A bit that zstd does not use may flip unseen; the bytes are then the right ones. */
		if (rc == 0)
			ck_assert(memcmp(got.data, "Subject: body\r\n", 15) == 0);
		else
			ck_assert_int_eq(rc, SHELF_ECORRUPT);
		shelf_body_close(&body);
		ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, damage, &row), 0);
	}
	rig_close(&r);
}
END_TEST

/* ---- News ------------------------------------------------------------------------------------------------ */

static void
count_news(void *arg)
{
	atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static bool
comes_within(_Atomic unsigned *n, unsigned want, int64_t ms)
{
	for (int64_t end = shelf_mono_ms() + ms; shelf_mono_ms() < end; usleep(1000))
		if (atomic_load(n) >= want)
			return true;
	return false;
}

START_TEST(news_in_this_process)
{
	_Atomic unsigned joe = 0, ann = 0;
	struct shelf_listener *lj = NULL, *la = NULL;
	unsigned before;

	rig_open(&r, NULL);
	ck_assert_int_eq(shelf_listen(r.store, r.joe, count_news, &joe, &lj), 0);
	ck_assert_int_eq(shelf_listen(r.store, r.ann, count_news, &ann, &la), 0);
	rig_append(&r, r.joe, r.inbox, "news", 0);
	ck_assert(comes_within(&joe, 1, 1000));
	ck_assert_uint_eq(atomic_load(&ann), 0);
	shelf_unlisten(&lj);
	before = atomic_load(&joe);
	rig_append(&r, r.joe, r.inbox, "unheard", 0);
	ck_assert_uint_eq(atomic_load(&joe), before);
	shelf_unlisten(&la);
	rig_close(&r);
}
END_TEST

/* The other process is forked before either opens the store. */
START_TEST(news_from_another_process)
{
	_Atomic unsigned heard = 0;
	struct shelf_listener *l = NULL;
	int go[2], status;
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe(go), 0);
	support_tmpdir(r.dir, sizeof(r.dir));
	snprintf(r.path, sizeof(r.path), "%s/store", r.dir);
	pid = fork();
	if (pid == 0) {
		struct rig other = r;

		if (read(go[0], &byte, 1) != 1 || shelf_store_open(r.path, 0, &other.store) != 0)
			_exit(1);
		rig_append(&other, 1, 1, "from elsewhere", 0);
		shelf_store_close(&other.store);
		_exit(0);
	}
	ck_assert_int_eq(
	    shelf_store_create(
		r.path, &(struct shelf_store_params){.partitions = 2, .map_bytes = 64u << 20}),
	    0);
	ck_assert_int_eq(shelf_store_open(r.path, SHELF_OPEN_SERVE, &r.store), 0);
	ck_assert_int_eq(
	    shelf_account_add(r.store, &(struct shelf_account_new){.name = shelf_span_str("joe")},
			      1, NULL, &r.joe),
	    0);
	ck_assert_int_eq(shelf_listen(r.store, r.joe, count_news, &heard, &l), 0);
	usleep(300000); /* the watcher has seen the account's own making */
	atomic_store(&heard, 0);
	ck_assert_int_eq(write(go[1], "x", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert(comes_within(&heard, 1, 1000));
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, 1).exists, 1);
	shelf_unlisten(&l);
	rig_close(&r);
}
END_TEST

/* ---- Many writers ------------------------------------------------------------------------------------------ */

enum { WRITERS = 16, EACH = 40 };

static void *
deliver_some(void *arg)
{
	uintptr_t accepted = 0;

	for (int i = 0; i < EACH; i++) {
		struct shelf_delivery to = {.account = r.joe};
		struct shelf_append_result res;
		struct shelf_draft *d = rig_draft(&r, "race", 500);

		shelf_deliver(r.store, d, &to, 1, &res);
		accepted += res.rc == 0;
		ck_assert(res.rc == 0 || res.rc == SHELF_EQUOTA);
		shelf_draft_free(&d);
	}
	return (void *)accepted;
}

START_TEST(parallel_deliveries_never_pass_the_quota)
{
	struct shelf_draft *d;
	pthread_t thread[WRITERS];
	uint64_t size, accepted = 0;
	struct shelf_quota q;
	struct shelf_store_stats stats;

	rig_open(&r, NULL);
	d = rig_draft(&r, "race", 500);
	size = shelf_draft_size(d);
	shelf_draft_free(&d);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 100 * size + size / 2, 0, 0), 0);
	for (int i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, deliver_some, NULL), 0);
	for (int i = 0; i < WRITERS; i++) {
		void *n;

		pthread_join(thread[i], &n);
		accepted += (uintptr_t)n;
	}
	q = rig_quota(&r, r.joe);
	ck_assert_uint_eq(accepted, 100);
	ck_assert_uint_eq(q.used_messages, 100);
	ck_assert_uint_eq(q.used_bytes, 100 * size);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).uidnext, 101);
	ck_assert_int_eq(shelf_store_stats(r.store, &stats), 0);
	ck_assert_uint_lt(stats.commits, stats.updates); /* flushes were shared */
	rig_close(&r);
}
END_TEST

/* What is kept for deletes by default must fit into any map that may be asked for. */
START_TEST(a_small_map)
{
	const struct shelf_store_params small = {.partitions = 1, .map_bytes = 1u << 20 << _i};

	rig_open(&r, &small);
	rig_append(&r, r.joe, r.inbox, "fits", 0);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, 1);
	rig_close(&r);
}
END_TEST

START_TEST(a_full_store_still_deletes)
{
	const struct shelf_store_params tiny = {.partitions = 1,
						.map_bytes = 4u << 20,
						.reserve_bytes = 1u << 20,
						.hold_s = UINT32_MAX};
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result res;
	struct shelf_buf noise = {0};
	unsigned stored = 0;
	int rc = 0;

	rig_open(&r, &tiny);
	shelf_random(shelf_buf_reserve(&noise, 60000), 60000);
	noise.len = 60000;
	while (rc == 0 && stored < 200) {
		noise.data[0]++;
		ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
		ck_assert_int_eq(shelf_draft_write(item.draft, noise.data, noise.len), 0);
		ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
		rc = shelf_append(r.store, r.joe, r.inbox, &item, 1, &res);
		shelf_draft_free(&item.draft);
		stored += rc == 0;
	}
	ck_assert_int_eq(rc, SHELF_EFULL);
	ck_assert_uint_gt(stored, 10);
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, stored);
	rig_flag(&r, r.joe, r.inbox, 1, stored / 2, SHELF_FLAGS_REMOVE, SHELF_SEEN, "");
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, 0, NULL), 0);
	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	/* And there is room again. */
	rig_append(&r, r.joe, r.inbox, "fits", 0);
	shelf_buf_free(&noise);
	rig_close(&r);
}
END_TEST

Suite *suite_store(void);
Suite *
suite_store(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("store");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, making_and_opening);
	tcase_add_loop_test(tc, check_finds_damage, 0, DAMAGE_CASES);
	tcase_add_test(tc, a_damaged_body_is_never_served);
	tcase_add_test(tc, news_in_this_process);
	tcase_add_test(tc, news_from_another_process);
	tcase_add_test(tc, parallel_deliveries_never_pass_the_quota);
	tcase_add_loop_test(tc, a_small_map, 0, 6); /* 1 MiB to 32 MiB */
	tcase_add_test(tc, a_full_store_still_deletes);
	suite_add_tcase(s, tc);
	return s;
}
