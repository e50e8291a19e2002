/*
 * test_churn.c - space that was given back is used again
 *
 * Ten times a random half of the messages goes for good and as many others come, of other sizes. The file, which
 * never shrinks, must not grow beyond 1.25 times what it was when first full.
 */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "store_rig.h"

enum { MESSAGES = 800, ROUNDS = 10, BODY_MAX = 16000 };

static struct rig r;
static unsigned seed;

static void
setup(void)
{
	const struct shelf_store_params params = {.partitions = 1,
	    .map_bytes = 64u << 20,
	    .reserve_bytes = 1u << 20,
	    .hold_s = UINT32_MAX};

	rig_open(&r, &params);
	seed = 1;
}

static void
teardown(void)
{
	rig_close(&r);
}

static void
deliver(unsigned count)
{
	uint8_t *body = shelf_alloc(BODY_MAX);

	while (count-- > 0) {
		size_t len = 500 + (size_t)rand_r(&seed) % (BODY_MAX - 500);
		struct shelf_delivery to = {.account = r.joe};
		struct shelf_append_result res;
		struct shelf_draft *d;

		/* Nothing that compresses: what is stored is what was sent. */
		shelf_random(body, len);
		ck_assert_int_eq(shelf_draft_new(r.store, &d), 0);
		ck_assert_int_eq(shelf_draft_write(d, "Subject: churn\r\n\r\n", 18), 0);
		ck_assert_int_eq(shelf_draft_write(d, body, len), 0);
		ck_assert_int_eq(shelf_draft_finish(d), 0);
		shelf_deliver(r.store, d, &to, 1, &res);
		ck_assert_int_eq(res.rc, 0);
		shelf_draft_free(&d);
	}
	free(body);
}

static unsigned
remove_half(void)
{
	struct shelf_uidset *uids = shelf_uidset_new(), *gone = shelf_uidset_new();
	struct shelf_rd *rd = NULL;
	struct shelf_msg m = {0};
	unsigned n;
	int rc;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	while ((rc = shelf_msg_next(rd, r.inbox, m.uid + 1, SHELF_MSG_FLAGS, &m)) == 0)
		if (rand_r(&seed) % 2 == 0)
			shelf_uidset_add(uids, m.uid);
	ck_assert_int_eq(rc, SHELF_ENOMESSAGE);
	shelf_rd_end(&rd);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, uids, 0, gone), 0);
	n = shelf_uidset_count(gone);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&gone);
	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	return n;
}

static uint64_t
file_bytes(void)
{
	struct shelf_store_stats s;

	ck_assert_int_eq(shelf_store_stats(r.store, &s), 0);
	return s.file_bytes;
}

START_TEST(the_file_stays_within_a_quarter)
{
	uint64_t full;

	deliver(MESSAGES);
	full = file_bytes();
	for (int round = 0; round < ROUNDS; round++)
		deliver(remove_half());
	ck_assert_uint_eq(rig_mailbox(&r, r.joe, r.inbox).exists, MESSAGES);
	ck_assert_uint_le(file_bytes(), full + full / 4);
}
END_TEST

Suite *suite_churn(void);
Suite *
suite_churn(void)
{
	Suite *s = suite_create("churn");
	TCase *tc = tcase_create("churn");

	tcase_set_timeout(tc, 240);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_file_stays_within_a_quarter);
	suite_add_tcase(s, tc);
	return s;
}
