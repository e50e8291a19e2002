/* test_index.c - pages: stored and read back the same, whatever is on them; damaged rows are found */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "index.h"
#include "kv.h"
#include "mail.h"
#include "store_rig.h"
#include "support.h"

enum { BOX = 500 }; /* a mailbox number of this test alone: only pages are written */

static struct rig r;
static unsigned seed;

static void
setup(void)
{
	rig_open(&r, NULL);
	seed = 1;
}

/* No check at the end: these pages belong to no mailbox. */
static void
teardown(void)
{
	shelf_store_close(&r.store);
	support_rmtree(r.dir);
}

static unsigned
rnd(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static int
put_page(struct kv_txn *txn, void *arg)
{
	return index_page_put(txn, BOX, arg);
}

static void
store(struct index_page *p)
{
	ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, put_page, p), 0);
}

static int
load(uint32_t page, struct index_page *p)
{
	struct kv_view *view;
	int rc;

	ck_assert_int_eq(kv_view_begin(r.store->kv, r.joe, &view), 0);
	rc = index_page_get(view, BOX, page, p);
	kv_view_end(&view);
	return rc;
}

/* DENSITY of 16 messages are there, flags per message, modseqs that need WIDTH bytes. */
static void
random_page(struct index_page *p, uint32_t page, unsigned density, unsigned flags, unsigned width)
{
	uint64_t base = (uint64_t)1 << 40, span = width == 0   ? 1
						  : width == 8 ? (uint64_t)1 << 50
							       : ((uint64_t)1 << (8 * width - 1));

	index_page_clear(p, page);
	for (unsigned n = 0; n < INDEX_PAGE_UIDS; n++) {
		if (rnd(16) >= density)
			continue;
		index_bit_set(&p->exists, n, true);
		p->modseq[n] = base + ((uint64_t)rand_r(&seed) * (uint64_t)rand_r(&seed)) % span;
		for (unsigned f = 0; f < flags; f++) {
			unsigned flag = rnd(INDEX_FLAGS);

			if (flag < 5 || flag >= INDEX_FLAG_KEYWORD)
				index_page_set(p, flag, n, true);
		}
	}
	p->max_modseq = base + span;
}

START_TEST(pages_come_back_as_stored)
{
	static const unsigned widths[] = {0, 1, 2, 4, 8};
	struct index_page *in = shelf_alloc(sizeof(*in)), *out = shelf_alloc(sizeof(*out));

	for (int round = 0; round < 300; round++) {
		/* The same page again and again: from one row to three and back. */
		random_page(in, 7, rnd(17), rnd(4) == 0 ? rnd(250) : rnd(6), widths[rnd(5)]);
		store(in);
		ck_assert_int_eq(load(7, out), 0);
		if (!index_bits_any(&in->exists))
			in->max_modseq = 0; /* an empty page has no row */
		ck_assert(memcmp(in, out, sizeof(*in)) == 0);
	}
	free(in);
	free(out);
}
END_TEST

START_TEST(counts_and_removal)
{
	struct index_page *p = shelf_alloc(sizeof(*p));
	struct index_counts c;

	random_page(p, 0, 16, 40, 2);
	c = index_page_counts(p);
	ck_assert_uint_eq(c.present, 256);
	for (unsigned n = 0; n < INDEX_PAGE_UIDS; n++)
		index_page_remove(p, n);
	c = index_page_counts(p);
	ck_assert(c.present == 0 && c.unseen == 0 && c.deleted == 0);
	for (unsigned f = 0; f < INDEX_FLAGS; f++)
		ck_assert(!index_page_flag_used(p, f));
	free(p);
}
END_TEST

struct damage {
	uint8_t bytes[KV_VALUE_MAX];
	size_t len;
};

static int
put_damaged(struct kv_txn *txn, void *arg)
{
	struct damage *d = arg;
	uint8_t key[9] = {0, 0, BOX >> 8, BOX & 0xff, 0, 0, 0, 7, 0};

	return kv_put(txn, KV_FPAGE, shelf_span(key, sizeof(key)), shelf_span(d->bytes, d->len));
}

/* Every cut and every flipped byte: an error or some page, never a crash; a cut is always found. */
START_TEST(damaged_rows_are_errors)
{
	struct index_page *p = shelf_alloc(sizeof(*p));
	uint8_t key[9] = {0, 0, BOX >> 8, BOX & 0xff, 0, 0, 0, 7, 0};
	struct shelf_span value;
	struct damage whole, d;
	struct kv_view *view;

	random_page(p, 7, 8, 3, 1);
	store(p);
	ck_assert_int_eq(kv_view_begin(r.store->kv, r.joe, &view), 0);
	ck_assert_int_eq(kv_get(view, KV_FPAGE, shelf_span(key, sizeof(key)), &value), 0);
	whole.len = value.len;
	memcpy(whole.bytes, value.data, value.len);
	kv_view_end(&view);
	for (size_t cut = 0; cut < whole.len; cut += cut < 70 ? 1 : 37) {
		d = whole;
		d.len = cut;
		ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, put_damaged, &d), 0);
		ck_assert_int_lt(load(7, p), 0);
	}
	for (int round = 0; round < 300; round++) {
		d = whole;
		d.bytes[rnd((unsigned)d.len)] ^= (uint8_t)(1 + rnd(255));
		ck_assert_int_eq(kv_update(r.store->kv, r.joe, 0, put_damaged, &d), 0);
		ck_assert_int_le(load(7, p), 0);
	}
	free(p);
}
END_TEST

Suite *suite_index(void);
Suite *
suite_index(void)
{
	Suite *s = suite_create("index");
	TCase *tc = tcase_create("index");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, pages_come_back_as_stored);
	tcase_add_test(tc, counts_and_removal);
	tcase_add_test(tc, damaged_rows_are_errors);
	suite_add_tcase(s, tc);
	return s;
}
