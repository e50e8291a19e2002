/* test_metadata.c - annotations: names, values, limits, what becomes of them with their mailbox */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/metadata.h>

#include "store_rig.h"

static struct rig r;

static void
setup(void)
{
	rig_open(&r, NULL);
}

static void
teardown(void)
{
	rig_close(&r); /* with a check */
}

static int
set(uint32_t mailbox, const char *name, const void *data, size_t len)
{
	struct shelf_metadata one = {shelf_span_str(name), shelf_span(data, len)};

	return shelf_metadata_set(r.store, r.joe, mailbox, &one, 1, NULL);
}

/* Its length; -1: there is none. */
static long
get(uint32_t mailbox, const char *name, struct shelf_buf *value)
{
	struct shelf_rd *rd;
	int rc;

	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	rc = shelf_metadata_get(rd, mailbox, name, value);
	shelf_rd_end(&rd);
	ck_assert(rc == 0 || rc == SHELF_EMISSING);
	return rc == 0 ? (long)value->len : -1;
}

static int
list_name(void *arg, struct shelf_span name, uint32_t size)
{
	shelf_buf_printf(arg, "%.*s=%u ", (int)name.len, (const char *)name.data, size);
	return 0;
}

static const char *
names(uint32_t mailbox)
{
	static struct shelf_buf text;
	struct shelf_rd *rd;

	shelf_buf_clear(&text);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_metadata_each(rd, mailbox, list_name, &text), 0);
	shelf_rd_end(&rd);
	return shelf_buf_cstr(&text);
}

static const struct {
	const char *name;
	int set, get;
} forms[] = {
    {"/shared/comment", 0, 0},
    {"/Private/Vendor/x/y", 0, 0},
    {"/private/vendor/x", SHELF_ENAME, 0},
    {"/shared/vendor", SHELF_ENAME, 0},
    {"/shared", SHELF_ENAME, 0},
    {"/other/x", SHELF_ENAME, 0},
    {"shared/x", SHELF_ENAME, SHELF_ENAME},
    {"/shared//x", SHELF_ENAME, SHELF_ENAME},
    {"/shared/x/", SHELF_ENAME, SHELF_ENAME},
    {"/shared/x*", SHELF_ENAME, SHELF_ENAME},
    {"/shared/%", SHELF_ENAME, SHELF_ENAME},
    {"/shared/\x7f", SHELF_ENAME, SHELF_ENAME},
    {"/shared/\xc3\xa4", SHELF_ENAME, SHELF_ENAME},
    {"/", SHELF_ENAME, SHELF_ENAME},
    {"", SHELF_ENAME, SHELF_ENAME},
};

START_TEST(names_are_checked)
{
	char out[SHELF_METADATA_NAME_MAX + 1], longest[SHELF_METADATA_NAME_MAX + 2];

	ck_assert_int_eq(shelf_metadata_name(shelf_span_str(forms[_i].name), true, out), forms[_i].set);
	ck_assert_int_eq(shelf_metadata_name(shelf_span_str(forms[_i].name), false, out), forms[_i].get);
	ck_assert_int_eq(set(r.inbox, forms[_i].name, "x", 1), forms[_i].set);
	memset(longest, 'a', sizeof longest);
	memcpy(longest, "/shared/", 8);
	ck_assert_int_eq(shelf_metadata_name(shelf_span(longest, SHELF_METADATA_NAME_MAX), true, out), 0);
	ck_assert_int_eq(shelf_metadata_name(shelf_span(longest, sizeof longest), true, out), SHELF_ENAME);
}
END_TEST

START_TEST(values_of_any_length_and_bytes)
{
	static uint8_t bytes[70000];
	const size_t lens[] = {0, 1, 3999, 4000, 4001, 8000, 12345, 65536};
	struct shelf_buf value = {0};

	shelf_random(bytes, sizeof bytes);
	bytes[5] = 0;
	for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
		ck_assert_int_eq(set(r.inbox, "/Shared/Comment", bytes, lens[i]), 0);
		ck_assert_int_eq(get(r.inbox, "/shared/comment", &value), (long)lens[i]);
		ck_assert(lens[i] == 0 || memcmp(value.data, bytes, lens[i]) == 0);
	}
	/* Shorter again: nothing is left of the longer one. */
	ck_assert_int_eq(set(r.inbox, "/shared/comment", bytes, 10), 0);
	ck_assert_str_eq(names(r.inbox), "/shared/comment=10 ");
	ck_assert_int_eq(set(r.inbox, "/shared/comment", bytes, 65537), SHELF_ETOOBIG);
	ck_assert_int_eq(set(r.inbox, "/shared/comment", NULL, 0), 0);
	ck_assert_int_eq(get(r.inbox, "/shared/comment", &value), -1);
	ck_assert_str_eq(names(r.inbox), "");
	ck_assert_int_eq(set(4711, "/shared/comment", "x", 1), SHELF_ENOMAILBOX);
	shelf_buf_free(&value);
}
END_TEST

START_TEST(all_or_none_and_limits)
{
	struct shelf_metadata list[] = {
	    {shelf_span_str("/shared/a"), shelf_span_str("1")},
	    {shelf_span_str("/shared/bad*"), shelf_span_str("2")}};
	char name[32];

	ck_assert_int_eq(shelf_metadata_set(r.store, r.joe, r.inbox, list, 2, NULL), SHELF_ENAME);
	ck_assert_str_eq(names(r.inbox), "");
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_METADATA_ENTRIES, 10), 0);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "/shared/e%u", i);
		ck_assert_int_eq(set(r.inbox, name, "x", 1), 0);
	}
	list[1].name = shelf_span_str("/shared/e0");
	ck_assert_int_eq(shelf_metadata_set(r.store, r.joe, r.inbox, list, 2, NULL), SHELF_ELIMIT);
	ck_assert_int_eq(set(r.inbox, "/shared/e0", "other", 5), 0);
	/* Each mailbox has its own, and the account. */
	ck_assert_int_eq(set(0, "/private/vendor/x/y", "x", 1), 0);
	/* One goes, one comes. */
	list[1].value = shelf_span(NULL, 0);
	ck_assert_int_eq(shelf_metadata_set(r.store, r.joe, r.inbox, list, 2, NULL), 0);
	ck_assert_ptr_nonnull(strstr(names(r.inbox), "/shared/a=1 "));
	ck_assert_ptr_null(strstr(names(r.inbox), "/shared/e0"));
}
END_TEST

START_TEST(they_follow_their_mailbox)
{
	struct shelf_store_params params = {
	    .partitions = 1, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20, .hold_s = UINT32_MAX};
	static const uint8_t bytes[9000] = {1, 2, 3};
	struct shelf_buf value = {0};
	uint32_t box;

	rig_close(&r);
	rig_open(&r, &params);
	box = rig_create(&r, r.joe, "a");
	ck_assert_int_eq(set(box, "/shared/comment", bytes, sizeof bytes), 0);
	ck_assert_int_eq(set(r.inbox, "/private/comment", bytes, sizeof bytes), 0);
	ck_assert_int_eq(shelf_mailbox_rename(r.store, r.joe, shelf_span_str("a"), shelf_span_str("b")), 0);
	ck_assert_str_eq(names(box), "/shared/comment=9000 ");
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("b")), 0);
	while (shelf_store_purge(r.store, 1000) == 1)
		;
	ck_assert_str_eq(names(box), "");
	ck_assert_str_eq(names(rig_create(&r, r.joe, "b")), "");
	/* RFC 5464 4.1: INBOX keeps them, and the other one has a copy. */
	ck_assert_int_eq(shelf_mailbox_rename(r.store, r.joe, shelf_span_str("INBOX"), shelf_span_str("old")), 0);
	ck_assert_str_eq(names(r.inbox), "/private/comment=9000 ");
	ck_assert_str_eq(names(r.inbox + 3), "/private/comment=9000 ");
	ck_assert_int_eq(get(r.inbox + 3, "/private/comment", &value), 9000);
	ck_assert_mem_eq(value.data, bytes, sizeof bytes);
	shelf_buf_free(&value);
}
END_TEST

struct versions {
	uint64_t modseq[8];
	struct shelf_buf text;
	size_t n;
};

static int
list_version(void *arg, uint32_t mailbox, struct shelf_span name, uint64_t modseq)
{
	struct versions *v = arg;

	ck_assert_uint_lt(v->n, 8);
	v->modseq[v->n++] = modseq;
	shelf_buf_printf(&v->text, "%u%.*s ", mailbox, (int)name.len, (const char *)name.data);
	return 0;
}

/* Those of MAILBOX; returns the account's version. */
static uint64_t
versions(uint32_t mailbox, struct versions *v)
{
	struct shelf_rd *rd;
	uint64_t modseq;

	v->n = 0;
	shelf_buf_clear(&v->text);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_metadata_versions(rd, mailbox, list_version, v), 0);
	modseq = shelf_rd_modseq(rd);
	shelf_rd_end(&rd);
	return modseq;
}

START_TEST(each_has_a_version_and_its_mailbox_changes)
{
	static const uint8_t bytes[30000] = {1, 2, 3};
	struct shelf_metadata one = {shelf_span_str("/shared/b"), shelf_span(bytes, sizeof bytes)};
	uint32_t box = rig_create(&r, r.joe, "a"), ids[SHELF_CHANGED_MAX];
	struct versions v = {0}, w = {0};
	struct shelf_rd *rd;
	uint64_t before, now;
	unsigned n;

	ck_assert_int_eq(set(r.inbox, "/shared/b", bytes, sizeof bytes), 0); /* in many rows, which are passed over */
	ck_assert_int_eq(set(r.inbox, "/shared/b/c", "x", 1), 0);
	ck_assert_int_eq(set(r.inbox, "/shared/a", bytes, 5000), 0);
	ck_assert_int_eq(set(box, "/shared/b", bytes, sizeof bytes), 0);
	ck_assert_int_eq(set(0, "/private/z", "x", 1), 0);
	before = versions(SHELF_METADATA_ALL, &v);
	ck_assert_str_eq(shelf_buf_cstr(&v.text), "0/private/z 1/shared/a 1/shared/b 1/shared/b/c 2/shared/b ");
	ck_assert_uint_eq(v.modseq[0], before);
	ck_assert_uint_gt(v.modseq[4], v.modseq[1]);
	ck_assert_uint_gt(v.modseq[1], v.modseq[3]);
	ck_assert_uint_gt(v.modseq[3], v.modseq[2]);
	ck_assert_uint_gt(v.modseq[2], 0);

	/* The same value again is a change, of this one only. */
	ck_assert_int_eq(shelf_metadata_set(r.store, r.joe, r.inbox, &one, 1, &now), 0);
	ck_assert_uint_eq(now, before + 1);
	ck_assert_uint_eq(versions(r.inbox, &w), now);
	ck_assert_str_eq(shelf_buf_cstr(&w.text), "1/shared/a 1/shared/b 1/shared/b/c ");
	ck_assert_uint_eq(w.modseq[0], v.modseq[1]);
	ck_assert_uint_eq(w.modseq[1], now);
	ck_assert_uint_eq(w.modseq[2], v.modseq[3]);
	ck_assert_int_eq(shelf_rd_begin(r.store, r.joe, &rd), 0);
	ck_assert_int_eq(shelf_mailbox_changed(rd, before, ids, &n), 0);
	shelf_rd_end(&rd);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(ids[0], r.inbox);

	/* What was not there is not removed, and nothing has changed. */
	one = (struct shelf_metadata){shelf_span_str("/shared/none"), shelf_span(NULL, 0)};
	ck_assert_int_eq(shelf_metadata_set(r.store, r.joe, r.inbox, &one, 1, &now), 0);
	ck_assert_uint_eq(now, 0);
	ck_assert_uint_eq(versions(r.inbox, &w), before + 1);
	shelf_buf_free(&v.text);
	shelf_buf_free(&w.text);
}
END_TEST

Suite *suite_metadata(void);
Suite *
suite_metadata(void)
{
	Suite *s = suite_create("metadata");
	TCase *tc = tcase_create("metadata");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, names_are_checked, 0, (int)(sizeof forms / sizeof *forms));
	tcase_add_test(tc, values_of_any_length_and_bytes);
	tcase_add_test(tc, all_or_none_and_limits);
	tcase_add_test(tc, they_follow_their_mailbox);
	tcase_add_test(tc, each_has_a_version_and_its_mailbox_changes);
	suite_add_tcase(s, tc);
	return s;
}
