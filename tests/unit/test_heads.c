/* test_heads.c - one body and a head for each: what is read, what is stored, what remains */
#include <check.h>
#include <string.h>

#include <mailshelf/mem.h>
#include <mailshelf/partition.h>
#include <mailshelf/salvage.h>

#include "blob.h"
#include "mail.h"
#include "store_rig.h"
#include "support.h"

enum { F = BLOB_FRAME_BYTES };

static struct rig r;
static char long_head[SHELF_HEAD_MAX + 1];

static void
begin(uint32_t hold_s)
{
	struct shelf_store_params params = {.partitions = 1, .map_bytes = 64 << 20, .hold_s = hold_s};

	rig_open(&r, &params);
	memset(long_head, 'h', sizeof long_head - 1);
	memcpy(long_head, "Delivered-To: ", 14);
}

static void
content(size_t len, struct shelf_buf *out)
{
	shelf_buf_clear(out);
	shelf_buf_add_str(out, "Subject: one body\r\nFrom: a@example.org\r\n\r\n");
	for (uint32_t dice = 1; out->len < len; dice = dice * 1664525 + 1013904223)
		shelf_buf_printf(out, "%x\r\n", dice);
	out->len = len;
}

static struct shelf_draft *
draft_of(const struct shelf_buf *bytes)
{
	struct shelf_draft *d;

	ck_assert_int_eq(shelf_draft_new(r.store, &d), 0);
	ck_assert_int_eq(shelf_draft_write(d, bytes->data, bytes->len), 0);
	ck_assert_int_eq(shelf_draft_finish(d), 0);
	return d;
}

static struct blob_sums
sums(void)
{
	struct kv_view *view;
	struct blob_sums s;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, 0, &view), 0);
	ck_assert_int_eq(blob_sums_get(view, &s), 0);
	kv_view_end(&view);
	return s;
}

static int
count_one(void *arg, uint64_t base, uint64_t blob)
{
	++*(unsigned *)arg;
	return 0;
}

static unsigned
heads(void)
{
	struct kv_view *view;
	unsigned n = 0;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, 0, &view), 0);
	ck_assert_int_eq(blob_heads_each(view, 0, UINT64_MAX, count_one, &n), 0);
	kv_view_end(&view);
	return n;
}

/* Message UID is HEAD and BODY, read whole and in pieces of another length than frames. */
static void
is_whole(uint32_t account, uint32_t mailbox, uint32_t uid, const char *head, const struct shelf_buf *body)
{
	struct shelf_buf want = {0}, got = {0};
	struct shelf_span piece;
	struct shelf_body *b;
	struct shelf_msg m;

	shelf_buf_add_str(&want, head);
	shelf_buf_add_span(&want, shelf_buf_span(body));
	ck_assert_int_eq(rig_msg(&r, account, mailbox, uid, &m), 0);
	ck_assert_uint_eq(m.size, want.len);
	ck_assert_int_eq(shelf_body_open(r.store, account, m.blob, &b), 0);
	for (size_t step = 100000; step <= 2 * F; step += 333333) {
		shelf_buf_clear(&got);
		while (got.len < want.len) {
			ck_assert_int_eq(shelf_body_read(b, got.len, step, &piece), 0);
			ck_assert_uint_gt(piece.len, 0);
			shelf_buf_add_span(&got, piece);
		}
		ck_assert(shelf_span_eq(shelf_buf_span(&got), shelf_buf_span(&want)));
	}
	shelf_body_close(&b);
	shelf_buf_free(&want);
	shelf_buf_free(&got);
}

/* One message of LEN bytes to joe and ann, each with a head, and to ann without. */
static void
deliver(size_t len, const char *head, struct shelf_buf *body)
{
	struct shelf_delivery to[] = {{.account = r.joe, .head = shelf_span_str("Delivered-To: joe\r\n")},
	    {.account = r.ann, .head = shelf_span_str(head)}, {.account = r.ann}};
	struct shelf_append_result result[3];
	struct shelf_draft *d;

	content(len, body);
	d = draft_of(body);
	shelf_deliver(r.store, d, to, 3, result);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(result[i].rc, 0);
	ck_assert_uint_eq(result[2].first_uid, result[1].first_uid + 1);
	is_whole(r.joe, r.inbox, result[0].first_uid, "Delivered-To: joe\r\n", body);
	is_whole(r.ann, r.inbox, result[1].first_uid, head, body);
	is_whole(r.ann, r.inbox, result[2].first_uid, "", body);
	shelf_draft_free(&d);
}

/* Around the frames: the head moves what lies behind it over their ends. */
static const size_t sizes[] = {0, 1, 3000, BLOB_DICT_MAX, BLOB_DICT_MAX + 1, F - SHELF_HEAD_MAX - 1, F - SHELF_HEAD_MAX,
	F - 20, F - 19, F - 1, F, F + 1, 2 * F - SHELF_HEAD_MAX, 2 * F - 1, 2 * F, 3 * F + 7};

START_TEST(all_sizes)
{
	struct shelf_buf body = {0};

	begin(3600);
	deliver(sizes[_i], "To: a\r\n", &body);
	ck_assert_uint_eq(sums().blobs, 3);
	deliver(sizes[_i], long_head, &body);
	ck_assert_uint_eq(sums().blobs, 6); /* it came once more: drafts know nothing of each other */
	shelf_buf_free(&body);
	rig_close(&r);
}
END_TEST

START_TEST(the_body_is_stored_once)
{
	struct shelf_buf body = {0};
	struct blob_sums one, three;
	struct shelf_append_result result;
	struct shelf_append item = {.internaldate_s = INT64_MIN};

	begin(3600);
	content(300000, &body);
	item.draft = draft_of(&body);
	ck_assert_int_eq(shelf_append(r.store, r.joe, r.inbox, &item, 1, &result), 0);
	shelf_draft_free(&item.draft);
	one = sums();
	deliver(300000, "To: ann\r\n", &body);
	three = sums();
	ck_assert_uint_eq(three.blobs, 4);
	ck_assert_uint_eq(heads(), 2);
	/* What the heads cost beside it is their part trees. */
	ck_assert_uint_lt(three.bytes, 2 * one.bytes + 2000);
	shelf_buf_free(&body);
	rig_close(&r);
}
END_TEST

/* Equal heads at the same place are one, whatever stands between them. */
START_TEST(a_head_for_all)
{
	const struct shelf_span head = shelf_span_str("Return-Path: <>\r\n"), other = shelf_span_str("To: a\r\n");
	struct shelf_delivery to[] = {{.head = head}, {.head = other}, {.head = head}};
	struct shelf_append_result result[3];
	struct shelf_buf body = {0};
	struct shelf_draft *d;

	begin(3600);
	to[0].account = r.joe;
	to[1].account = to[2].account = r.ann;
	content(5000, &body);
	d = draft_of(&body);
	shelf_deliver(r.store, d, to, 3, result);
	ck_assert_int_eq(result[0].rc | result[1].rc | result[2].rc, 0);
	ck_assert_uint_eq(heads(), 2);
	is_whole(r.joe, r.inbox, 1, "Return-Path: <>\r\n", &body);
	is_whole(r.ann, r.inbox, result[2].first_uid, "Return-Path: <>\r\n", &body);
	shelf_draft_free(&d);
	shelf_buf_free(&body);
	rig_close(&r);
}
END_TEST

static void
purge(void)
{
	int rc;

	while ((rc = blob_purge_step(r.store->kv, 0)) == 1)
		;
	ck_assert_int_eq(rc, 0);
}

static void
expunge(uint32_t account, uint32_t mailbox, uint32_t uid)
{
	struct shelf_uidset *set = rig_set(uid, uid);

	ck_assert_int_eq(shelf_msg_expunge(r.store, account, mailbox, set, 0, NULL), 0);
	shelf_uidset_free(&set);
	purge();
}

/* In whatever order they go, nothing goes before the last one that needs it, and nothing stays. */
START_TEST(nothing_remains)
{
	struct shelf_copy_result copied = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *first = rig_set(1, 1);
	struct shelf_buf body = {0};
	uint32_t box;

	begin(UINT32_MAX); /* nothing is held */
	box = rig_create(&r, r.joe, "box");
	deliver(_i == 0 ? 900000 : 2000, "To: ann\r\n", &body);
	ck_assert_int_eq(shelf_msg_copy(r.store, r.joe, r.inbox, box, first, false, &copied), 0);
	expunge(r.ann, r.inbox, 2);
	ck_assert_uint_eq(sums().blobs, 3);
	expunge(r.joe, r.inbox, 1);
	ck_assert_uint_eq(heads(), 2); /* the copy */
	is_whole(r.joe, box, 1, "Delivered-To: joe\r\n", &body);
	expunge(r.joe, box, 1);
	ck_assert_uint_eq(heads(), 1);
	ck_assert_uint_eq(sums().blobs, 2);
	is_whole(r.ann, r.inbox, 1, "To: ann\r\n", &body);
	expunge(r.ann, r.inbox, 1);
	ck_assert_uint_eq(heads(), 0);
	ck_assert_uint_eq(sums().blobs, 0);
	ck_assert_uint_eq(sums().unused, 0);
	ck_assert_uint_eq(sums().waiting, 0);
	shelf_uidset_free(&first);
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
	shelf_buf_free(&body);
	rig_close(&r);
}
END_TEST

static int
new_dictionaries(struct kv_txn *txn, void *arg)
{
	static const char words[] = "Subject: one body From: a@example.org Delivered-To: joe text plain us-ascii 7bit";
	uint32_t id;
	int rc = blob_dict_add(txn, BLOB_BODY, 1, shelf_span_str(words), &id);

	return rc != 0 ? rc : blob_dict_add(txn, BLOB_DERIVED, 1, shelf_span_str(words), &id);
}

START_TEST(recompressed)
{
	struct shelf_dict_pass pass = {.next = 0};
	struct shelf_buf small = {0}, large = {0};
	int rc;

	begin(3600);
	deliver(3000, "To: ann\r\n", &small);
	deliver(700000, "To: ann\r\n", &large);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, new_dictionaries, NULL), 0);
	while ((rc = blob_recompress_step(r.store->kv, 0, &pass)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_ge(pass.blobs, 4);
	ck_assert_uint_eq(heads(), 4);
	is_whole(r.joe, r.inbox, 1, "Delivered-To: joe\r\n", &small);
	is_whole(r.ann, r.inbox, 1, "To: ann\r\n", &small);
	is_whole(r.ann, r.inbox, 2, "", &small);
	is_whole(r.ann, r.inbox, 3, "To: ann\r\n", &large);
	shelf_buf_free(&small);
	shelf_buf_free(&large);
	rig_close(&r);
}
END_TEST

/* ---- Another partition ----------------------------------------------------------------------------- */

static struct blob_sums
sums_of(uint32_t shard)
{
	struct kv_view *view;
	struct blob_sums s;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, shard, &view), 0);
	ck_assert_int_eq(blob_sums_get(view, &s), 0);
	kv_view_end(&view);
	return s;
}

/* What accounts share there they share here, when one mover takes them. */
START_TEST(moved_with_their_heads)
{
	struct shelf_buf small = {0}, large = {0};
	struct shelf_moved joe, ann;
	struct shelf_mover *mover;
	struct blob_sums before;

	begin(3600);
	deliver(3000, "To: ann\r\n", &small);
	deliver(700000, "To: ann\r\n", &large);
	before = sums();
	ck_assert_int_eq(shelf_partition_add(r.store, NULL), 0);
	mover = shelf_mover_new(r.store, NULL, NULL);
	ck_assert_int_eq(shelf_account_move(mover, r.joe, 1, &joe), 0);
	ck_assert_int_eq(shelf_account_move(mover, r.ann, 1, &ann), 0);
	shelf_mover_free(&mover);
	ck_assert_uint_eq(joe.bodies, 2);
	ck_assert_uint_eq(ann.bodies, 0);
	ck_assert_uint_eq(sums_of(1).blobs, before.blobs);
	ck_assert_uint_lt(sums_of(1).bytes, before.bytes + 1000); /* other dictionaries */
	is_whole(r.joe, r.inbox, 2, "Delivered-To: joe\r\n", &large);
	is_whole(r.ann, r.inbox, 1, "To: ann\r\n", &small);
	is_whole(r.ann, r.inbox, 2, "", &small);
	is_whole(r.ann, r.inbox, 3, "To: ann\r\n", &large);
	ck_assert_uint_eq(rig_findings(&r), 0);
	shelf_buf_free(&small);
	shelf_buf_free(&large);
	rig_close(&r);
}
END_TEST

/* ---- What comes out of a store that is lost -------------------------------------------------------- */

struct out {
	unsigned mailed, orphans, lost;
};

static int
take(void *arg, const struct shelf_salvaged *m, struct shelf_span body)
{
	struct out *out = arg;

	if (m->account != 0)
		out->mailed++;
	else
		out->orphans++;
	return 0;
}

static void
miss(void *arg, const struct shelf_salvaged *m, const char *why)
{
	((struct out *)arg)->lost++;
}

static void
ignore_note(void *arg, const char *file, const char *text)
{
}

static struct out
salvage(void)
{
	struct out out = {0};
	const struct shelf_salvage_sink sink = {take, miss, ignore_note, &out};

	shelf_store_close(&r.store);
	ck_assert_int_eq(shelf_salvage(r.path, &sink), 0);
	support_rmtree(r.dir);
	return out;
}

/* What waits for its removal stays away, and so does what lies behind its head. */
START_TEST(salvage_of_what_was_removed)
{
	struct shelf_buf body = {0};
	struct shelf_uidset *all = rig_set(1, 2);
	struct out out;

	begin(UINT32_MAX);
	deliver(3000, "To: ann\r\n", &body);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, all, 0, NULL), 0);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.ann, r.inbox, all, 0, NULL), 0);
	out = salvage();
	ck_assert_uint_eq(out.mailed + out.orphans + out.lost, 0);
	shelf_uidset_free(&all);
	shelf_buf_free(&body);
}
END_TEST

static int
lose_rows(struct kv_txn *txn, void *mailbox)
{
	for (uint32_t uid = 31; uid <= 60; uid++) {
		struct mail_key key = mail_key2(*(uint32_t *)mailbox, uid);
		int rc = kv_del(txn, KV_MSG, mail_key_span(&key));

		if (rc != 0)
			return rc;
	}
	return 0;
}

/* A message comes out once, with its head, whether or not its own row is left. */
START_TEST(salvage_of_what_lost_its_row)
{
	struct shelf_buf body = {0};
	struct out out;

	begin(3600);
	for (unsigned i = 0; i < 60; i++)
		deliver(3000 + i, "To: ann\r\n", &body);
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, lose_rows, &r.inbox), 0);
	out = salvage();
	ck_assert_uint_eq(out.mailed, 150);
	ck_assert_uint_eq(out.orphans, 30);
	ck_assert_uint_eq(out.lost, 30); /* of the pages that say they exist */
	shelf_buf_free(&body);
}
END_TEST

static int
lose_dictionaries(struct kv_txn *txn, void *arg)
{
	uint8_t id[8];
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	do {
		rc = kv_scan_open(kv_txn_view(txn), KV_DICT, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
		if (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1)
			memcpy(id, key.data, sizeof id);
		kv_scan_close(&scan);
	} while (rc == 1 && (rc = kv_del(txn, KV_DICT, shelf_span(id, sizeof id))) == 0);
	return rc;
}

/* Behind a head, too, a body is found where it was moved to, and read with the copy of its dictionary. */
START_TEST(salvage_without_dictionaries)
{
	struct shelf_dict_pass pass = {.next = 0};
	struct shelf_buf body = {0};
	struct out out;
	int rc;

	begin(3600);
	deliver(_i == 0 ? 300 : 3000, "To: ann\r\n", &body);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, new_dictionaries, NULL), 0);
	while ((rc = blob_recompress_step(r.store->kv, 0, &pass)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(blob_copies_settle(r.store->kv), 0);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, lose_dictionaries, NULL), 0);
	out = salvage();
	ck_assert_uint_eq(out.mailed, 3);
	ck_assert_uint_eq(out.orphans + out.lost, 0);
	shelf_buf_free(&body);
}
END_TEST

/* ---- What check finds ------------------------------------------------------------------------------ */

struct head {
	uint64_t base, blob;
};

static int
note_head(void *arg, uint64_t base, uint64_t blob)
{
	*(struct head *)arg = (struct head){base, blob};
	return 0;
}

/* The last head: its row in the list (META "head", base, blob) goes; one is invented; the body goes. */
static int
damage(struct kv_txn *txn, void *which)
{
	struct head h = {0};
	uint8_t key[20] = "head";
	int rc = blob_heads_each(kv_txn_view(txn), 0, UINT64_MAX, note_head, &h);

	base_put_be64(key + 4, h.base);
	base_put_be64(key + 12, *(int *)which == 0 ? h.blob : h.base);
	if (rc != 0)
		return rc;
	if (*(int *)which == 1)
		return kv_put(txn, KV_META, shelf_span(key, sizeof key), shelf_span(key, 0));
	return *(int *)which == 0 ? kv_del(txn, KV_META, shelf_span(key, sizeof key))
				  : kv_del(txn, KV_BLOB, shelf_span(key + 4, 8));
}

START_TEST(check_finds)
{
	struct shelf_buf body = {0};
	int which = _i;

	begin(3600);
	deliver(3000, "To: ann\r\n", &body);
	ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(kv_update_shard(r.store->kv, 0, 0, damage, &which), 0);
	ck_assert_uint_gt(rig_findings(&r), 0);
	shelf_buf_free(&body);
	shelf_store_close(&r.store);
	support_rmtree(r.dir);
}
END_TEST

Suite *suite_heads(void);
Suite *
suite_heads(void)
{
	Suite *s = suite_create("heads");
	TCase *tc = tcase_create("heads");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, all_sizes, 0, (int)(sizeof sizes / sizeof *sizes));
	tcase_add_test(tc, the_body_is_stored_once);
	tcase_add_test(tc, a_head_for_all);
	tcase_add_loop_test(tc, nothing_remains, 0, 2);
	tcase_add_test(tc, recompressed);
	tcase_add_test(tc, moved_with_their_heads);
	tcase_add_test(tc, salvage_of_what_was_removed);
	tcase_add_test(tc, salvage_of_what_lost_its_row);
	tcase_add_loop_test(tc, salvage_without_dictionaries, 0, 2);
	tcase_add_loop_test(tc, check_finds, 0, 3);
	suite_add_tcase(s, tc);
	return s;
}
