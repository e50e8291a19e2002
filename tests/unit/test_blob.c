/* test_blob.c - packing: dictionaries and who uses them, rows of older releases, one body for many */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "draft.h"
#include "mail.h"
#include "store_rig.h"

static struct rig r;

static const struct shelf_store_params at_once = {
    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20, .hold_s = UINT32_MAX};

static const char phrase[] =
    "Subject: what every one of these messages has to say at its beginning, in so many words\r\n";

struct add_dict {
	enum blob_kind kind;
	struct shelf_span bytes;
	uint32_t id;
};

static int
add_dict(struct kv_txn *txn, void *arg)
{
	struct add_dict *a = arg;

	return blob_dict_add(txn, a->kind, 0, a->bytes, &a->id);
}

/* A dictionary that makes a difference for what message() makes. */
static uint32_t
use_dict(enum blob_kind kind, const char *salt)
{
	struct shelf_buf b = {0};
	struct add_dict a = {.kind = kind};

	shelf_buf_printf(&b, "%s%s", salt, phrase);
	a.bytes = shelf_buf_span(&b);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, add_dict, &a), 0);
	shelf_buf_free(&b);
	return a.id;
}

static int
prune(struct kv_txn *txn, void *arg)
{
	return blob_dicts_prune(txn, arg);
}

static uint32_t
prune_dicts(void)
{
	uint32_t n = 0;

	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, prune, &n), 0);
	return n;
}

/* A message of the phrase and random text; more than BLOB_DICT_MAX when LINES is over some 900. */
static struct shelf_draft *
message(unsigned lines)
{
	struct shelf_draft *d = NULL;
	uint8_t noise[32];

	ck_assert_int_eq(shelf_draft_new(r.store, &d), 0);
	ck_assert_int_eq(shelf_draft_write(d, phrase, sizeof(phrase) - 1), 0);
	ck_assert_int_eq(shelf_draft_write(d, "\r\n", 2), 0);
	for (unsigned i = 0; i < lines; i++) {
		struct shelf_buf b = {0};

		shelf_random(noise, sizeof(noise));
		for (unsigned k = 0; k < sizeof(noise); k++)
			shelf_buf_printf(&b, "%02x", noise[k]);
		shelf_buf_add_str(&b, "\r\n");
		ck_assert_int_eq(shelf_draft_write(d, b.data, b.len), 0);
		shelf_buf_free(&b);
	}
	ck_assert_int_eq(shelf_draft_finish(d), 0);
	return d;
}

static int
append(struct shelf_draft *d)
{
	struct shelf_append item = {.internaldate_s = INT64_MIN, .draft = d};
	struct shelf_append_result res;

	return shelf_append(r.store, r.joe, r.inbox, &item, 1, &res);
}

static void
store(unsigned lines)
{
	struct shelf_draft *d = message(lines);

	ck_assert_int_eq(append(d), 0);
	shelf_draft_free(&d);
}

static struct blob_dicts
dicts(void)
{
	struct kv_view *view = NULL;
	struct blob_dicts s;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, 0, &view), 0);
	ck_assert_int_eq(blob_dicts_get(view, &s), 0);
	kv_view_end(&view);
	return s;
}

static uint64_t
uses_of(uint32_t id)
{
	struct blob_dicts s = dicts();

	for (uint32_t i = 0; i < s.count; i++)
		if (s.list[i].id == id)
			return s.list[i].uses;
	return UINT64_MAX;
}

static struct blob_row
row_of(uint64_t blob)
{
	struct kv_view *view = NULL;
	struct blob_row row;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, 0, &view), 0);
	ck_assert_int_eq(blob_get(view, blob, &row), 0);
	kv_view_end(&view);
	row.frames = shelf_span(NULL, 0);
	return row;
}

static void
purge_all(void)
{
	int rc;

	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
}

static void
expunge_all(void)
{
	struct shelf_uidset *all = rig_set(1, 1000);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, all, 0, NULL), 0);
	shelf_uidset_free(&all);
	purge_all();
}

/* A store begins with the dictionaries of the program, and they are not for ever. */
START_TEST(the_first_ones_came_with_the_program)
{
	struct blob_dicts s;

	rig_open(&r, NULL);
	s = dicts();
	ck_assert_uint_eq(s.count, BLOB_KINDS);
	ck_assert_uint_eq(s.current[BLOB_BODY], 1);
	ck_assert_uint_eq(s.current[BLOB_DERIVED], 2);
	rig_close(&r);
	rig_open(&r, &at_once);
	store(1);
	ck_assert_uint_eq(row_of(1).dict, 1);
	ck_assert_uint_eq(row_of(1).derived_dict, 2);
	use_dict(BLOB_BODY, "");
	ck_assert_uint_eq(prune_dicts(), 0);
	expunge_all();
	ck_assert_uint_eq(prune_dicts(), 1);
	rig_close(&r);
}
END_TEST

START_TEST(a_dictionary_in_use_stays)
{
	uint32_t body, derived, next;

	rig_open(&r, &at_once);
	body = use_dict(BLOB_BODY, "");
	derived = use_dict(BLOB_DERIVED, "d");
	ck_assert_uint_eq(prune_dicts(), BLOB_KINDS);
	store(1);
	store(2);
	store(2000);
	ck_assert_uint_eq(row_of(1).dict, body);
	ck_assert_uint_eq(row_of(1).derived_dict, derived);
	ck_assert_uint_eq(row_of(3).dict, 0); /* too large for one */
	ck_assert_uint_eq(uses_of(body), 2);
	ck_assert_uint_eq(rig_findings(&r), 0);

	next = use_dict(BLOB_BODY, "another one ");
	ck_assert_uint_gt(next, derived);
	ck_assert_uint_eq(prune_dicts(), 0);
	store(1);
	ck_assert_uint_eq(row_of(4).dict, next);
	ck_assert_uint_eq(rig_findings(&r), 0);
	expunge_all();
	ck_assert_uint_eq(uses_of(body), 0);
	ck_assert_uint_eq(prune_dicts(), 1);
	ck_assert_uint_eq(uses_of(body), UINT64_MAX);
	ck_assert_uint_eq(uses_of(next), 0); /* current, so it stays */
	ck_assert_uint_gt(use_dict(BLOB_BODY, ""), next);
	rig_close(&r);
}
END_TEST

START_TEST(a_dictionary_makes_bodies_smaller)
{
	uint64_t before;

	rig_open(&r, &at_once);
	store(1);
	before = row_of(1).stored;
	use_dict(BLOB_BODY, "");
	store(1);
	ck_assert_uint_lt(row_of(2).stored + 20, before);
	rig_close(&r);
}
END_TEST

/* Prepared with one that is removed before the link: compressed again, and never lost. */
START_TEST(a_dictionary_removed_before_the_link)
{
	struct shelf_draft *d;
	struct shelf_delivery to[2] = {0};
	struct shelf_append_result res[2];
	uint32_t first, second;

	rig_open(&r, &at_once);
	first = use_dict(BLOB_BODY, "");
	ck_assert_uint_eq(prune_dicts(), 1); /* the program's */
	d = message(1);
	ck_assert_int_eq(blob_draft_prepare(mail_draft_blob(d), 0), 0);
	second = use_dict(BLOB_BODY, "another one ");
	ck_assert_uint_eq(prune_dicts(), 1);
	if (_i == 0) {
		ck_assert_int_eq(append(d), 0);
	} else {
		to[0].account = r.joe;
		to[1].account = r.ann;
		shelf_deliver(r.store, d, to, 2, res);
		ck_assert_int_eq(res[0].rc, 0);
		ck_assert_int_eq(res[1].rc, 0);
		ck_assert_uint_eq(row_of(1).refs, 2);
	}
	ck_assert_uint_eq(row_of(1).dict, second);
	ck_assert_uint_ne(first, second);
	shelf_draft_free(&d);
	rig_close(&r);
}
END_TEST

START_TEST(as_many_dictionaries_as_the_row_holds)
{
	struct add_dict a = {.kind = BLOB_BODY, .bytes = shelf_span_str(phrase)};

	rig_open(&r, &at_once);
	for (unsigned i = dicts().count; i < BLOB_DICTS_MAX; i++)
		ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, add_dict, &a), 0);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, add_dict, &a), SHELF_ELIMIT);
	store(1);
	while (prune_dicts() > 0)
		;
	ck_assert_uint_lt(dicts().count, 4);
	ck_assert_uint_eq(rig_findings(&r), 0);
	rig_close(&r);
}
END_TEST

/* ---- A store of the first release ----------------------------------------------------------------------- */

/* No dictionary is current, as there was none. */
static int
use_none(struct kv_txn *txn, void *arg)
{
	struct shelf_span value, key = shelf_span_str("dicts");
	struct shelf_buf b = {0};
	int rc = kv_get(kv_txn_view(txn), KV_META, key, &value);

	if (rc != 0)
		return rc;
	shelf_buf_add_span(&b, value);
	memset(b.data + 5, 0, 8);
	rc = kv_put(txn, KV_META, key, shelf_buf_span(&b));
	shelf_buf_free(&b);
	return rc;
}

/* Rows as that one wrote them: format 1, chunks of 4,080 bytes and one for what is left, no dictionaries,
 * and no sums. */
static int
make_old(struct kv_txn *txn, void *arg)
{
	const struct mail_key sums = {.len = 13, .bytes = "blobs"};
	struct mail_key key = {.len = 8, .bytes = {0, 0, 0, 0, 0, 0, 0, 1}};
	struct shelf_buf old = {0}, rest = {0};
	struct shelf_span value;
	int rc = kv_get(kv_txn_view(txn), KV_BLOB, mail_key_span(&key), &value);

	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&old, 1);
	shelf_buf_add(&old, value.data + 1, 40);
	shelf_buf_add(&old, value.data + 61, value.len - 61);
	rc = kv_put(txn, KV_BLOB, mail_key_span(&key), shelf_buf_span(&old));
	shelf_buf_free(&old);
	if (rc == 0)
		rc = kv_del(txn, KV_META, mail_key_span(&sums));
	key.len = 12;
	for (uint8_t n = 1; rc == 0; n++) { /* behind the one whole chunk */
		key.bytes[11] = n;
		if ((rc = kv_get(kv_txn_view(txn), KV_CHUNK, mail_key_span(&key), &value)) != 0)
			break;
		shelf_buf_add_span(&rest, value);
		rc = kv_del(txn, KV_CHUNK, mail_key_span(&key));
	}
	key.bytes[11] = 1;
	if (rc == SHELF_EMISSING)
		rc = kv_put(txn, KV_CHUNK, mail_key_span(&key), shelf_buf_span(&rest));
	shelf_buf_free(&rest);
	return rc;
}

START_TEST(rows_of_the_first_release_are_read)
{
	struct shelf_uidset *one = rig_set(1, 1);
	struct shelf_copy_result copied = {
	    .from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	uint32_t box;

	rig_open(&r, &at_once);
	box = rig_create(&r, r.joe, "box");
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, use_none, NULL), 0);
	store(200);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, make_old, NULL), 0);
	ck_assert_uint_eq(row_of(1).derived, 0);
	ck_assert_uint_eq(rig_findings(&r), 0); /* every body is read */
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, box, one, false, &copied), 0);
	ck_assert_uint_eq(row_of(1).refs, 2); /* written as rows are now */
	ck_assert_uint_eq(rig_findings(&r), 0);
	expunge_all();
	ck_assert_uint_eq(row_of(1).refs, 1);
	shelf_uidset_free(&one);
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
	rig_close(&r);
}
END_TEST

/* ---- One body --------------------------------------------------------------------------------------------- */

START_TEST(many_recipients_and_copies_are_one_body)
{
	struct shelf_delivery to[4] = {0};
	struct shelf_append_result res[4];
	struct shelf_uidset *one = rig_set(1, 1);
	struct shelf_copy_result copied = {
	    .from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_draft *d;
	uint32_t body, derived, box;

	rig_open(&r, &at_once);
	body = use_dict(BLOB_BODY, "");
	derived = use_dict(BLOB_DERIVED, "");
	box = rig_create(&r, r.joe, "box");
	d = message(_i == 0 ? 3 : 20000); /* the second is written ahead */
	for (unsigned i = 0; i < 4; i++)
		to[i].account = i % 2 == 0 ? r.joe : r.ann;
	shelf_deliver(r.store, d, to, 4, res);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(res[i].rc, 0);
	shelf_draft_free(&d);
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, box, one, false, &copied), 0);
	ck_assert_uint_eq(row_of(1).refs, 5);
	ck_assert_uint_eq(uses_of(_i == 0 ? body : derived), 1);
	ck_assert_uint_eq(rig_findings(&r), 0); /* 4: no other blob has a reference */
	shelf_uidset_free(&one);
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
	rig_close(&r);
}
END_TEST

/* ---- Room comes back ---------------------------------------------------------------------------------- */

static uint64_t
used_bytes(void)
{
	struct kv_stats st;

	ck_assert_int_eq(kv_stats(r.store->kv, 0, &st), 0);
	return st.file_bytes - st.free_bytes;
}

static unsigned
jobs(void)
{
	struct shelf_span key, value;
	struct kv_view *view = NULL;
	struct kv_scan scan;
	unsigned n = 0;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, 0, &view), 0);
	ck_assert_int_eq(
	    kv_scan_open(view, KV_JOB, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan), 0);
	while (kv_scan_next(&scan, &key, &value) == 1)
		n++;
	kv_scan_close(&scan);
	kv_view_end(&view);
	return n;
}

/* Every second message goes, and a large one stays between: what is left shares fewer pages. */
START_TEST(half_removed_is_half_the_room)
{
	struct shelf_uidset *half = shelf_uidset_new();
	uint64_t empty, full;

	rig_open(&r, &at_once);
	empty = used_bytes();
	for (unsigned i = 1; i <= 400; i++) {
		store(i == 77 ? 1500 : 10 + i % 40);
		if (i % 2 == 0)
			shelf_uidset_add(half, i);
	}
	full = used_bytes() - empty;
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, half, 0, NULL), 0);
	purge_all();
	ck_assert_uint_lt((used_bytes() - empty) * 100, full * 70);
	ck_assert_uint_eq(rig_findings(&r), 0); /* every body is read */
	ck_assert_uint_eq(row_of(1).where == 0, false);
	ck_assert_uint_eq(row_of(77).where, 0);
	rig_reopen(&r);
	ck_assert_uint_eq(rig_findings(&r), 0);
	expunge_all();
	ck_assert_uint_eq(jobs(), 0);
	ck_assert_uint_lt(used_bytes() - empty, 400000);
	shelf_uidset_free(&half);
	rig_close(&r);
}
END_TEST

Suite *suite_blob(void);
Suite *
suite_blob(void)
{
	Suite *s = suite_create("blob");
	TCase *tc = tcase_create("blob");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, the_first_ones_came_with_the_program);
	tcase_add_test(tc, a_dictionary_in_use_stays);
	tcase_add_test(tc, a_dictionary_makes_bodies_smaller);
	tcase_add_loop_test(tc, a_dictionary_removed_before_the_link, 0, 2);
	tcase_add_test(tc, as_many_dictionaries_as_the_row_holds);
	tcase_add_test(tc, rows_of_the_first_release_are_read);
	tcase_add_loop_test(tc, many_recipients_and_copies_are_one_body, 0, 2);
	tcase_add_test(tc, half_removed_is_half_the_room);
	suite_add_tcase(s, tc);
	return s;
}
