/*
 * test_resync.c - what changed behind a modseq, the first unseen message, and the summaries that say where to look
 *
 * Uids lie on both sides of the borders of pages, blocks and ranges. The answers are compared with walks over all
 * messages; summaries of format 1, as older releases wrote them, answer the same and are made whole when touched.
 */
#include <check.h>
#include <stdlib.h>

#include "mail.h"
#include "store_rig.h"
#include "uid_rig.h"

static struct rig r;

static void
setup(void)
{
	rig_open(&r, NULL);
}

static void
teardown(void)
{
	rig_close(&r);
}

static void
fill_from(uint32_t uid, unsigned count)
{
	uid_fill_from(&r, r.joe, r.inbox, uid, count);
}

static void
fill_borders(void)
{
	static const uint32_t borders[] = {256, 4096, 8192, 65536, 131072, 1000000};

	for (size_t i = 0; i < sizeof(borders) / sizeof(*borders); i++)
		fill_from(borders[i] - 4, 8);
}

static void
expunge(uint32_t first, uint32_t last)
{
	struct shelf_uidset *uids = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, uids, 0, NULL), 0);
	shelf_uidset_free(&uids);
}

static struct shelf_rd *
begin(void)
{
	struct shelf_rd *rd = NULL;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	return rd;
}

/* By a walk over everything. */
static void
expect_changes(uint64_t since, uint32_t below, const char *vanished)
{
	struct shelf_uidset *flagged = shelf_uidset_new(), *gone = shelf_uidset_new(),
			    *want = shelf_uidset_new();
	struct shelf_rd *rd = begin();
	struct shelf_msg m = {0};
	struct shelf_buf text = {0};

	while (shelf_msg_next(rd, r.inbox, m.uid + 1, SHELF_MSG_FLAGS, &m) == 0)
		if (m.modseq > since && m.uid < below)
			shelf_uidset_add(want, m.uid);
	ck_assert_int_eq(shelf_msg_changes(rd, r.inbox, since, below, flagged, gone), 0);
	shelf_uidset_print(want, &text);
	ck_assert_str_eq(rig_text(flagged), shelf_buf_cstr(&text));
	ck_assert_str_eq(rig_text(gone), vanished);
	shelf_buf_free(&text);
	shelf_rd_end(&rd);
	shelf_uidset_free(&flagged);
	shelf_uidset_free(&gone);
	shelf_uidset_free(&want);
}

static void
expect_unseen(uint32_t uid, uint32_t seq)
{
	struct shelf_rd *rd = begin();
	uint32_t got_uid = 0, got_seq = 0;
	int rc = shelf_msg_first_unseen(rd, r.inbox, &got_uid, &got_seq);

	shelf_rd_end(&rd);
	ck_assert_int_eq(rc, uid != 0 ? 0 : SHELF_ENOMESSAGE);
	ck_assert_uint_eq(got_uid, uid);
	ck_assert_uint_eq(got_seq, seq);
}

START_TEST(changes_are_those_of_a_walk)
{
	uint64_t since;

	expect_changes(0, UINT32_MAX, "");
	fill_borders();
	since = rig_modseq(&r, r.joe);
	expect_changes(since, UINT32_MAX, "");
	expect_changes(0, UINT32_MAX, "");
	rig_flag(&r, r.joe, r.inbox, 254, 256, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	rig_flag(&r, r.joe, r.inbox, 65535, 65536, SHELF_FLAGS_ADD, 0, "work");
	expunge(4094, 4097);
	expunge(131072, 131072);
	rig_fill(&r, r.joe, r.inbox, 2);
	expunge(1000005, 1000005);
	expect_changes(since, UINT32_MAX, "4094:4097,131072,1000005");
	expect_changes(since, 1000004, "4094:4097,131072");
	expect_changes(since, 4096, "4094:4095");
	expect_changes(since, 65536, "4094:4097");
	expect_changes(since, 1, "");
	/* Each border in time, too. */
	for (uint64_t m = since; m <= rig_modseq(&r, r.joe); m++)
		expect_changes(m, 1, "");
	expect_changes(rig_modseq(&r, r.joe), UINT32_MAX, "");
	expect_changes(UINT64_MAX, UINT32_MAX, "");
	/* A page, a block, a range emptied. */
	expunge(8188, 8191);
	expunge(1000000, UINT32_MAX);
	expect_changes(since, 999999, "4094:4097,8188:8191,131072");
	expect_changes(0, UINT32_MAX, "4094:4097,8188:8191,131072,1000000:1000005");
}
END_TEST

START_TEST(the_first_unseen_message)
{
	expect_unseen(0, 0);
	fill_borders();
	expect_unseen(252, 1);
	rig_flag(&r, r.joe, r.inbox, 1, 256, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	expect_unseen(257, 6);
	rig_flag(&r, r.joe, r.inbox, 1, 4097, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	expect_unseen(4098, 15);
	expunge(4092, 4099);
	expect_unseen(8188, 9);
	rig_flag(&r, r.joe, r.inbox, 1, 65539, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	expect_unseen(131068, 25);
	rig_flag(&r, r.joe, r.inbox, 1, 999999, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	expect_unseen(1000000, 37);
	rig_flag(&r, r.joe, r.inbox, 1, 1000003, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	expect_unseen(0, 0);
	rig_flag(&r, r.joe, r.inbox, 300, 300, SHELF_FLAGS_REMOVE, SHELF_SEEN, "");
	expect_unseen(0, 0);
	rig_flag(&r, r.joe, r.inbox, 255, 256, SHELF_FLAGS_REMOVE, SHELF_SEEN, "");
	expect_unseen(255, 4);
}
END_TEST

/* Every summary of the mailbox as format 1 wrote it: without blocks. */
static int
write_format_1(struct kv_txn *txn, void *arg)
{
	unsigned *rows = arg;
	struct shelf_span value;
	uint8_t old[21];

	*rows = 0;
	for (uint32_t range = 0; range < 16; range++) {
		struct mail_key key = mail_key2(r.inbox, range);
		int rc = kv_get(kv_txn_view(txn), KV_FSUM, mail_key_span(&key), &value);

		if (rc == SHELF_EMISSING)
			continue;
		if (rc != 0 || value.len <= sizeof(old))
			return rc != 0 ? rc : SHELF_EINVALID;
		memcpy(old, value.data, sizeof(old));
		old[0] = 1;
		if ((rc = kv_put(txn, KV_FSUM, mail_key_span(&key), shelf_span(old, sizeof(old)))) != 0)
			return rc;
		++*rows;
	}
	return 0;
}

static void
make_old(void)
{
	unsigned rows;

	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, write_format_1, &rows), 0);
	ck_assert_uint_ge(rows, 4);
	ck_assert_uint_eq(rig_findings(&r), 0);
}

static bool
is_old(uint32_t range)
{
	struct mail_key key = mail_key2(r.inbox, range);
	struct shelf_span value;
	struct shelf_rd *rd = begin();
	bool old;

	ck_assert_int_eq(kv_get(rd->view, KV_FSUM, mail_key_span(&key), &value), 0);
	old = value.data[0] == 1;
	shelf_rd_end(&rd);
	return old;
}

START_TEST(summaries_of_format_1)
{
	uint64_t since;

	fill_borders();
	rig_flag(&r, r.joe, r.inbox, 1, 8190, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	since = rig_modseq(&r, r.joe);
	rig_flag(&r, r.joe, r.inbox, 8190, 65536, SHELF_FLAGS_ADD, SHELF_FLAGGED, "");
	expunge(4092, 4099); /* a page whose removal nobody remembers */
	make_old();
	expect_unseen(8191, 12);
	expect_changes(since, UINT32_MAX, "4092:4099");
	expect_changes(since + 1, UINT32_MAX, "4092:4099");
	expect_changes(0, UINT32_MAX, "4092:4099");
	/* One change makes the rows whole that it touches, and no others. */
	rig_flag(&r, r.joe, r.inbox, 256, 256, SHELF_FLAGS_REMOVE, SHELF_SEEN, "");
	ck_assert(!is_old(0) && is_old(1) && is_old(2));
	ck_assert_uint_eq(rig_findings(&r), 0);
	expect_unseen(256, 5);
	expect_changes(since, UINT32_MAX, "4092:4099");
	rig_flag(&r, r.joe, r.inbox, 65530, 1000001, SHELF_FLAGS_ADD, SHELF_DELETED, "");
	ck_assert(!is_old(1) && !is_old(2) && !is_old(15));
	expect_changes(since, UINT32_MAX, "4092:4099");
	make_old();
	ck_assert_int_eq(
	    shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, SHELF_EXPUNGE_DELETED, NULL), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	expect_changes(since, UINT32_MAX, "4092:4099,65532:65539,131068:131075,999996:1000001");
}
END_TEST

Suite *suite_resync(void);
Suite *
suite_resync(void)
{
	Suite *s = suite_create("resync");
	TCase *tc = tcase_create("resync");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, changes_are_those_of_a_walk);
	tcase_add_test(tc, the_first_unseen_message);
	tcase_add_test(tc, summaries_of_format_1);
	suite_add_tcase(s, tc);
	return s;
}
