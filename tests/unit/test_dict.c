/* test_dict.c - dictionaries at work: trained, tried, given to old mail, pruned; stopped anywhere, damaged */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/salvage.h>

#include "mail.h"
#include "store_rig.h"
#include "support.h"

static struct rig r;

static const struct shelf_store_params at_once = {
    .partitions = 1, .map_bytes = 256u << 20, .reserve_bytes = 1u << 20, .hold_s = UINT32_MAX};

/* Mail of one site: the same in much, different in some. */
static struct shelf_draft *
letter(unsigned n)
{
	struct shelf_buf b = {0};
	struct shelf_draft *d = NULL;
	uint8_t noise[40];

	shelf_random(noise, sizeof(noise));
	shelf_buf_printf(&b,
			 "Received: from relay-%u.example.org (relay.example.org [192.0.2.7])\r\n"
			 "\tby store.example.net with ESMTPS id %02x%02x%02x%02x\r\n"
			 "From: Department of Returned Letters <returns@example.org>\r\n"
			 "To: reader-%u@example.net\r\nSubject: Your letter number %u has come back\r\n"
			 "Message-ID: <%02x%02x%02x%02x.%u@mail.example.org>\r\n"
			 "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
			 "Dear reader,\r\n\r\nthe letter that you sent has come back to us, because\r\n",
			 n % 7, noise[0], noise[1], noise[2], noise[3], n % 50, n, noise[4], noise[5],
			 noise[6], noise[7], n);
	for (unsigned i = 8; i < sizeof(noise); i++)
		shelf_buf_printf(&b, "reason %u%s", noise[i], i % 8 == 0 ? ",\r\n" : ", ");
	shelf_buf_add_str(&b, "\r\n\r\nYours, the department\r\n");
	ck_assert_int_eq(shelf_draft_new(r.store, &d), 0);
	ck_assert_int_eq(shelf_draft_write(d, b.data, b.len), 0);
	ck_assert_int_eq(shelf_draft_finish(d), 0);
	shelf_buf_free(&b);
	return d;
}

static void
letters(unsigned count)
{
	struct shelf_append *items = shelf_zalloc(count * sizeof(*items));
	struct shelf_append_result res;

	for (unsigned i = 0; i < count; i++) {
		items[i].draft = letter(i);
		items[i].internaldate_s = INT64_MIN;
	}
	for (unsigned i = 0; i < count; i += 50)
		ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, items + i,
					      count - i < 50 ? count - i : 50, &res), 0);
	for (unsigned i = 0; i < count; i++)
		shelf_draft_free(&items[i].draft);
	free(items);
}

static struct shelf_dict_report
train(uint32_t bytes)
{
	const struct shelf_dict_params params = {.bytes = bytes};
	struct shelf_dict_report report;

	ck_assert_int_eq(shelf_dict_train(r.store, 0, &params, &report), 0);
	return report;
}

static struct shelf_dict_pass
recompress(void)
{
	struct shelf_dict_pass pass = {0};
	int rc;

	while ((rc = shelf_dict_recompress(r.store, 0, &pass, 1)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	return pass;
}

static uint32_t
prune(void)
{
	uint32_t n;

	ck_assert_int_eq(shelf_dict_prune(r.store, 0, &n), 0);
	return n;
}

struct seen {
	unsigned count, current;
	uint64_t current_blobs, other_blobs;
};

static int
look_at(void *arg, const struct shelf_dict *d)
{
	struct seen *s = arg;

	s->count++;
	s->current += d->current;
	if (d->kind != SHELF_DICT_BODY)
		return 0;
	if (d->current)
		s->current_blobs += d->blobs;
	else
		s->other_blobs += d->blobs;
	return 0;
}

static struct seen
look(void)
{
	struct seen s = {0};

	ck_assert_int_eq(shelf_dict_each(r.store, look_at, &s), 0);
	return s;
}

START_TEST(trained_when_it_is_better)
{
	struct shelf_dict_report first, again;

	rig_open(&r, &at_once);
	letters(400);
	first = train(8192);
	for (unsigned k = 0; k < SHELF_DICT_KINDS; k++) {
		const struct shelf_dict_trial *t = &first.kind[k];

		ck_assert_uint_ge(t->learned, 150);
		ck_assert_uint_ge(t->tested, 150);
		ck_assert_uint_le(t->learned + t->tested, 400); /* none is both */
		ck_assert_uint_le(t->bytes, 8192);
		ck_assert_uint_lt(t->after, t->before);
		ck_assert_uint_ne(t->id, 0);
	}
	again = train(8192);
	for (unsigned k = 0; k < SHELF_DICT_KINDS; k++) {
		ck_assert_uint_eq(again.kind[k].id, 0);
		ck_assert_uint_lt(again.kind[k].before, again.kind[k].without);
		ck_assert_uint_eq(again.kind[k].before, again.kind[k].after);
	}
	ck_assert_uint_eq(look().current_blobs, 0);
	letters(10);
	ck_assert_uint_eq(look().current_blobs, 10);
	rig_close(&r);
}
END_TEST

START_TEST(too_little_to_learn_from)
{
	struct shelf_dict_params params = {0};
	struct shelf_dict_report report;

	rig_open(&r, &at_once);
	for (unsigned i = 0; i < 2; i++) { /* nothing, then a few */
		report = train(0);
		for (unsigned k = 0; k < SHELF_DICT_KINDS; k++) {
			ck_assert_uint_eq(report.kind[k].bytes, 0);
			ck_assert_uint_eq(report.kind[k].id, 0);
		}
		letters(20);
	}
	ck_assert_int_eq(shelf_dict_train(r.store, 1, &params, &report), SHELF_EINVALID);
	params.bytes = 100;
	ck_assert_int_eq(shelf_dict_train(r.store, 0, &params, &report), SHELF_EINVALID);
	params = (struct shelf_dict_params){.sample = UINT32_MAX};
	ck_assert_int_eq(shelf_dict_train(r.store, 0, &params, &report), SHELF_EINVALID);
	rig_close(&r);
}
END_TEST

START_TEST(old_mail_gets_the_new_one)
{
	struct shelf_partition_stats was, is;
	struct shelf_dict_pass pass;
	struct seen s;
	unsigned before;

	rig_open(&r, &at_once);
	before = look().count;
	letters(300);
	train(8192);
	letters(5);
	ck_assert_int_eq(shelf_stats_partition(r.store, 0, &was), 0);
	pass = recompress();
	ck_assert_int_eq(shelf_stats_partition(r.store, 0, &is), 0);
	/* What is stored shrinks; what it took when it came does not. */
	ck_assert_uint_ge(was.physical_bytes - is.physical_bytes, pass.before - pass.after);
	ck_assert_uint_eq(was.gross_bytes - is.gross_bytes, was.physical_bytes - is.physical_bytes);
	ck_assert_uint_eq(was.totals.stored_bytes, was.gross_bytes);
	ck_assert_uint_eq(is.totals.stored_bytes, was.totals.stored_bytes);
	ck_assert_uint_eq(pass.blobs, 300);
	ck_assert_uint_lt(pass.after, pass.before);
	ck_assert_uint_eq(look().current_blobs, 305);
	ck_assert_uint_eq(rig_findings(&r), 0); /* every body is read */
	ck_assert_uint_eq(recompress().blobs, 0);
	ck_assert_uint_eq(prune(), before);
	s = look();
	ck_assert_uint_eq(s.count, SHELF_DICT_KINDS);
	ck_assert_uint_eq(s.current, SHELF_DICT_KINDS);
	rig_reopen(&r);
	ck_assert_uint_eq(rig_findings(&r), 0);
	rig_close(&r);
}
END_TEST

/* A body that somebody reads meanwhile: each frame comes from a snapshot of its own. */
START_TEST(an_open_body_is_read_on)
{
	struct shelf_body *body = NULL;
	struct shelf_span bytes;

	rig_open(&r, &at_once);
	letters(200);
	ck_assert_int_eq(shelf_body_open(r.store, r.joe, 7, &body), 0);
	train(4096);
	recompress();
	ck_assert_int_eq(shelf_body_read(body, 0, 9, &bytes), 0);
	ck_assert(shelf_span_eq(bytes, shelf_span_str("Received:")));
	shelf_body_close(&body);
	rig_close(&r);
}
END_TEST

/* ---- Stopped --------------------------------------------------------------------------------------------- */

static unsigned points_left;

static int
stop(enum kv_point point)
{
	if (points_left == 0)
		return SHELF_EIO;
	points_left--;
	return 0;
}

START_TEST(stopped_anywhere_and_gone_on)
{
	struct shelf_dict_pass pass = {0};
	int rc = SHELF_EIO;

	rig_open(&r, &at_once);
	letters(120);
	train(4096);
	for (unsigned n = (unsigned)_i; rc != 0; n += 97) {
		points_left = n;
		kv_fault = stop;
		pass = (struct shelf_dict_pass){0};
		while ((rc = shelf_dict_recompress(r.store, 0, &pass, 1)) == 1)
			;
		kv_fault = NULL;
		ck_assert_uint_eq(rig_findings(&r), 0);
	}
	ck_assert_uint_eq(look().current_blobs, 120);
	rig_close(&r);
}
END_TEST

/* ---- Beside others ---------------------------------------------------------------------------------------- */

static atomic_bool enough;

static void *
keep_changing(void *arg)
{
	while (!atomic_load(&enough)) {
		struct shelf_uidset *some;
		uint32_t end;

		letters(20);
		end = rig_mailbox(&r, r.joe, r.inbox).uidnext;
		some = rig_set(end / 2, end / 2 + 15);
		ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, some, 0, NULL), 0);
		shelf_uidset_free(&some);
		ck_assert_int_ge(shelf_store_purge(r.store, 5), 0);
	}
	return NULL;
}

START_TEST(beside_delivery_removal_and_pruning)
{
	pthread_t other;

	rig_open(&r, &at_once);
	letters(200);
	train(4096);
	pthread_create(&other, NULL, keep_changing, NULL);
	for (unsigned i = 0; i < 6; i++) {
		train(2048 + i * 1024);
		recompress();
		prune();
	}
	atomic_store(&enough, true);
	pthread_join(other, NULL);
	ck_assert_uint_eq(rig_findings(&r), 0);
	recompress();
	prune();
	ck_assert_uint_eq(look().other_blobs, 0);
	rig_close(&r);
}
END_TEST

/* ---- Damage ------------------------------------------------------------------------------------------------ */

struct damage {
	enum kv_table table;
	const char *key;
	size_t key_len, at;
};

static int
flip(struct kv_txn *txn, void *arg)
{
	const struct damage *d = arg;
	struct shelf_span value, key = shelf_span(d->key, d->key_len);
	struct shelf_buf b = {0};
	int rc = kv_get(kv_txn_view(txn), d->table, key, &value);

	if (rc != 0)
		return rc;
	shelf_buf_add_span(&b, value);
	b.data[d->at] ^= 1;
	rc = kv_put(txn, d->table, key, shelf_buf_span(&b));
	shelf_buf_free(&b);
	return rc;
}

static const struct damage damages[] = {
    {KV_DICT, "\0\0\0\3\0\0\0\1", 8, 100}, /* bytes */
    {KV_DICT, "\0\0\0\3\0\0\0\0", 8, 0},   /* format of the head */
    {KV_DICT, "\0\0\0\3\0\0\0\0", 8, 16},  /* its length */
    {KV_DICT, "\0\0\0\3\0\0\0\0", 8, 20},  /* its hash */
    {KV_META, "dicts", 5, 0},		   /* format */
    {KV_META, "dicts", 5, 6},		   /* which is current */
    {KV_META, "dicts", 5, 13},		   /* an id */
    {KV_META, "dicts", 5, 17},		   /* uses */
};

START_TEST(damage_is_found_and_said)
{
	struct damage d = damages[_i];
	struct shelf_dict_pass pass = {0};
	int rc;

	rig_open(&r, &at_once);
	letters(200);
	train(4096);
	letters(10);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, flip, &d), 0);
	ck_assert_uint_gt(rig_findings(&r), 0);
	while ((rc = shelf_dict_recompress(r.store, 0, &pass, 1)) == 1)
		; /* whatever it answers, it ends */
	if (pass.blobs == 0)
		ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, flip, &d), 0);
	if (pass.blobs == 0)
		ck_assert_uint_eq(rig_findings(&r), 0);
	rig_reopen(&r);
	shelf_store_close(&r.store);
	support_rmtree(r.dir);
}
END_TEST

/* ---- A second copy ---------------------------------------------------------------------------------- */

/* Every row of DICT goes (WHOLE), or a byte of each piece changes. */
struct ruin {
	enum kv_table table;
	bool whole;
};

static int
ruin(struct kv_txn *txn, void *arg)
{
	const struct ruin *how = arg;
	struct shelf_buf at = {0}, copy = {0};
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	for (;;) {
		rc = kv_scan_open(kv_txn_view(txn), how->table, shelf_span(NULL, 0), shelf_buf_span(&at), &scan);
		ck_assert_int_eq(rc, 0);
		if ((rc = kv_scan_next(&scan, &key, &value)) != 1)
			break;
		shelf_buf_clear(&at);
		shelf_buf_clear(&copy);
		shelf_buf_add_span(&at, key);
		shelf_buf_add_span(&copy, value);
		kv_scan_close(&scan);
		if (how->whole) {
			rc = kv_del(txn, how->table, shelf_buf_span(&at));
		} else {
			copy.data[copy.len / 2] ^= copy.len > 100;
			rc = kv_put(txn, how->table, shelf_buf_span(&at), shelf_buf_span(&copy));
		}
		ck_assert_int_eq(rc, 0);
		shelf_buf_add_byte(&at, 0);
	}
	kv_scan_close(&scan);
	shelf_buf_free(&at);
	shelf_buf_free(&copy);
	return rc;
}

static uint64_t
copies(void)
{
	struct kv_view *view = NULL;
	uint64_t rows = 0;

	ck_assert_int_eq(kv_view_begin(r.store->kv, KV_CATALOG, &view), 0);
	ck_assert_int_eq(kv_count(view, KV_DICTCOPY, &rows), 0);
	kv_view_end(&view);
	return rows;
}

/* Messages of joe's that can be read. */
static unsigned
readable(void)
{
	struct shelf_rd *rd = NULL;
	struct shelf_msg msg;
	unsigned n = 0;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	for (uint32_t uid = 1; shelf_msg_next(rd, r.inbox, uid, SHELF_MSG_ALL, &msg) == 0; uid = msg.uid + 1) {
		struct shelf_body *body = NULL;
		struct shelf_span bytes;

		ck_assert_int_eq(shelf_body_open(r.store, r.joe, msg.blob, &body), 0);
		n += shelf_body_read(body, 0, 10, &bytes) == 0 && bytes.len == 10;
		shelf_body_close(&body);
	}
	shelf_rd_end(&rd);
	return n;
}

struct salvaged {
	unsigned messages, lost;
};

static int
count_saved(void *arg, const struct shelf_salvaged *m, struct shelf_span body)
{
	((struct salvaged *)arg)->messages += m->account != 0;
	return 0;
}

static void
count_lost(void *arg, const struct shelf_salvaged *m, const char *why)
{
	((struct salvaged *)arg)->lost++;
}

static void
ignore(void *arg, const char *file, const char *text)
{
}

static struct salvaged
salvage_all(void)
{
	struct salvaged s = {0};
	const struct shelf_salvage_sink sink = {count_saved, count_lost, ignore, &s};

	shelf_store_close(&r.store);
	blob_zdict_forget();
	ck_assert_int_eq(shelf_salvage(r.path, &sink), 0);
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
	return s;
}

enum { LETTERS = 400 };

/* Mail that nobody can read without a dictionary of its own. */
static void
fill_trained(void)
{
	struct shelf_dict_pass pass = {0};
	uint32_t removed;
	int rc;

	rig_open(&r, &at_once);
	letters(LETTERS);
	ck_assert_uint_ne(train(4096).kind[SHELF_DICT_BODY].id, 0);
	while ((rc = shelf_dict_recompress(r.store, 0, &pass, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(shelf_dict_prune(r.store, 0, &removed), 0);
	ck_assert_uint_gt(removed, 0);
	rig_reopen(&r);
	blob_zdict_forget();
}

START_TEST(what_is_damaged_in_the_partition_is_read_from_the_copy)
{
	struct ruin pieces = {KV_DICT, false}, all = {KV_DICT, true};
	struct salvaged s;

	fill_trained();
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, ruin, &pieces), 0);
	blob_zdict_forget();
	ck_assert_uint_eq(readable(), LETTERS);
	s = salvage_all();
	ck_assert_uint_eq(s.messages, LETTERS);
	ck_assert_uint_eq(s.lost, 0);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, ruin, &all), 0);
	s = salvage_all();
	ck_assert_uint_eq(s.messages, LETTERS);
	ck_assert_uint_eq(s.lost, 0);
	/* Without the copy, too, nothing is left that reads it. */
	all.table = KV_DICTCOPY;
	ck_assert_int_eq(kv_update(r.store->kv, KV_CATALOG, 0, ruin, &all), 0);
	s = salvage_all();
	ck_assert_uint_eq(s.messages, 0);
	ck_assert_uint_eq(s.lost, LETTERS);
	shelf_store_close(&r.store);
	support_rmtree(r.dir);
}
END_TEST

START_TEST(copies_are_settled)
{
	struct ruin pieces = {KV_DICTCOPY, false}, all = {KV_DICTCOPY, true};
	uint64_t rows;

	fill_trained();
	rows = copies();
	ck_assert_uint_gt(rows, 0);
	ck_assert_int_eq(blob_copies_settle(r.store->kv), 0);
	ck_assert_uint_eq(copies(), rows);
	ck_assert_int_eq(kv_update(r.store->kv, KV_CATALOG, 0, ruin, &pieces), 0);
	ck_assert_uint_gt(rig_findings(&r), 0);
	ck_assert_int_eq(blob_copies_settle(r.store->kv), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_uint_eq(copies(), rows);
	/* As in a store of before. */
	ck_assert_int_eq(kv_update(r.store->kv, KV_CATALOG, 0, ruin, &all), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_uint_eq(readable(), LETTERS);
	ck_assert_int_eq(blob_copies_settle(r.store->kv), 0);
	ck_assert_uint_eq(copies(), rows);
	rig_close(&r);
}
END_TEST

Suite *suite_dict(void);
Suite *
suite_dict(void)
{
	Suite *s = suite_create("dict");
	TCase *tc = tcase_create("dict");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, trained_when_it_is_better);
	tcase_add_test(tc, too_little_to_learn_from);
	tcase_add_test(tc, what_is_damaged_in_the_partition_is_read_from_the_copy);
	tcase_add_test(tc, copies_are_settled);
	tcase_add_test(tc, old_mail_gets_the_new_one);
	tcase_add_test(tc, an_open_body_is_read_on);
	tcase_add_loop_test(tc, stopped_anywhere_and_gone_on, 0, 3);
	tcase_add_test(tc, beside_delivery_removal_and_pruning);
	tcase_add_loop_test(tc, damage_is_found_and_said, 0, sizeof(damages) / sizeof(*damages));
	suite_add_tcase(s, tc);
	return s;
}
