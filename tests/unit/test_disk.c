/* test_disk.c - marks of a partition: what each refuses, what goes on, what goes early; full, and emptied again */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <check.h>

#include "mail.h"
#include "store_rig.h"

enum { MAP_BYTES = 32 << 20, RESERVE_BYTES = 1 << 20 };

static struct rig r;
static const struct shelf_store_params small = {
    .partitions = 1, .map_bytes = MAP_BYTES, .reserve_bytes = RESERVE_BYTES};

/* Marks of the map in MiB that must be free: the percent says nothing. What the disk has is more. */
static void
marks(unsigned warn, unsigned refuse, unsigned readonly)
{
	const struct {
		enum shelf_setting percent, bytes;
		unsigned mib;
	} rows[] = {{SHELF_SETTING_WARN_PERCENT, SHELF_SETTING_WARN_BYTES, warn},
		{SHELF_SETTING_REFUSE_PERCENT, SHELF_SETTING_REFUSE_BYTES, refuse},
		{SHELF_SETTING_READONLY_PERCENT, SHELF_SETTING_READONLY_BYTES, readonly}};

	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(shelf_setting_set(r.store, rows[i].percent, 100), 0);
		ck_assert_int_eq(shelf_setting_set(r.store, rows[i].bytes, (uint64_t)rows[i].mib << 20), 0);
	}
}

static struct shelf_disk
disk(void)
{
	struct shelf_disk d;

	ck_assert_int_eq(shelf_store_disk(r.store, 0, &d), 0);
	return d;
}

/* A message whose body does not become smaller. */
static int
append_to(uint32_t mailbox, size_t len)
{
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result result;
	uint8_t *noise = shelf_alloc(len);
	int rc;

	shelf_random(noise, len);
	ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, noise, len), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	rc = shelf_append(r.store, r.joe, mailbox, &item, 1, &result);
	shelf_draft_free(&item.draft);
	free(noise);
	return rc;
}

static int
append(size_t len)
{
	return append_to(r.inbox, len);
}

static int
deliver(void)
{
	struct shelf_draft *draft = rig_draft(&r, "delivered", 10);
	struct shelf_delivery to = {.account = r.joe};
	struct shelf_append_result result;

	shelf_deliver(r.store, draft, &to, 1, &result);
	shelf_draft_free(&draft);
	return result.rc;
}

static int
flag(enum shelf_flag_op op, uint32_t flags)
{
	struct shelf_flag_change change = {.op = op, .flags = flags, .unchanged_since = UINT64_MAX};
	struct shelf_uidset *one = rig_set(1, 1);
	int rc = shelf_msg_set_flags(r.store, r.joe, r.inbox, one, &change, NULL, NULL);

	shelf_uidset_free(&one);
	return rc;
}

static int
copy(uint32_t to, bool move)
{
	struct shelf_uidset *one = rig_set(1, 1);
	struct shelf_copy_result result = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	int rc = shelf_msg_copy(r.store, r.joe, r.inbox, to, one, move, &result);

	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
	shelf_uidset_free(&one);
	return rc;
}

static int
expunge(uint32_t uid)
{
	struct shelf_uidset *one = rig_set(uid, uid);
	int rc = shelf_msg_expunge(r.store, r.joe, r.inbox, one, 0, NULL);

	shelf_uidset_free(&one);
	return rc;
}

/* ---- What each state refuses ------------------------------------------------------------------------------ */

START_TEST(each_state_refuses_its_own)
{
	static const unsigned rows[][3] = {{0, 0, 0}, {1000, 0, 0}, {1000, 1000, 0}, {1000, 1000, 1000}};
	enum shelf_disk_state state = (enum shelf_disk_state)_i;
	int mail = state >= SHELF_DISK_REFUSE ? SHELF_EFULL : 0;
	int change = state >= SHELF_DISK_READONLY ? SHELF_EREADONLY : 0;
	struct shelf_restored back = {0};
	uint32_t box, from, to;

	rig_open(&r, &small);
	box = rig_create(&r, r.joe, "box");
	rig_create(&r, r.joe, "old");
	for (unsigned i = 0; i < 3; i++)
		rig_append(&r, r.joe, r.inbox, "text", 0);
	marks(rows[_i][0], rows[_i][1], rows[_i][2]);
	ck_assert_int_eq(disk().state, state);

	ck_assert_int_eq(append(100), mail);
	ck_assert_int_eq(deliver(), mail);
	ck_assert_int_eq(shelf_deliver_probe(r.store, r.joe, 1), mail);
	ck_assert_int_eq(copy(box, false), mail);
	ck_assert_int_eq(flag(SHELF_FLAGS_ADD, SHELF_SEEN), change);
	ck_assert_int_eq(flag(SHELF_FLAGS_REMOVE, SHELF_SEEN), change);
	ck_assert_int_eq(shelf_mailbox_create(r.store, r.joe, shelf_span_str("new"), 0, NULL), change);
	ck_assert_int_eq(shelf_mailbox_rename(r.store, r.joe, shelf_span_str("old"),
	    shelf_span_str("aged")), change);
	ck_assert_int_eq(shelf_mailbox_subscribe(r.store, r.joe, shelf_span_str("box"), true), change);

	/* Removing goes on, and reading, and what a client does when it opens a mailbox. */
	ck_assert_int_eq(shelf_mailbox_claim_recent(r.store, r.joe, r.inbox, &from, &to), 0);
	ck_assert_uint_ge(to - from, 3);
	ck_assert_int_eq(flag(SHELF_FLAGS_ADD, SHELF_SEEN | SHELF_DELETED), 0);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, NULL, SHELF_EXPUNGE_DELETED, NULL), 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 1);
	ck_assert_int_eq(shelf_restore(r.store, r.joe, r.inbox, NULL, 0, &back), change);
	ck_assert_int_eq(copy(box, true), change);
	ck_assert_int_eq(expunge(2), 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, r.joe, shelf_span_str("box")), 0);
	marks(0, 0, 0);
	ck_assert_int_eq(append(100), 0);
	rig_close(&r);
}
END_TEST

/* ---- Coming and going ------------------------------------------------------------------------------------- */

/* Mail is refused at the mark, taken again when a tenth more is free, and not in between. */
START_TEST(a_mark_is_left_later_than_reached)
{
	unsigned stored = 0;
	uint64_t free_then;
	int rc = 0;

	rig_open(&r, &small);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_HOLD, UINT32_MAX), 0);
	marks(12, 10, 1);
	while (disk().state < SHELF_DISK_REFUSE) {
		enum shelf_disk_state before = disk().state;

		ck_assert_int_eq(rc = append(60000), 0);
		stored++;
		ck_assert_int_ge(disk().state, before);
	}
	free_then = disk().map_free_bytes;
	ck_assert_uint_lt(free_then, 10 << 20);
	ck_assert_int_eq(append(100), SHELF_EFULL);
	for (unsigned uid = 1; disk().state >= SHELF_DISK_REFUSE; uid++) {
		ck_assert_uint_lt(disk().map_free_bytes, 11 << 20);
		ck_assert_int_eq(append(100), SHELF_EFULL);
		ck_assert_int_eq(expunge(uid), 0);
		while (shelf_store_purge(r.store, 1000) == 1)
			;
		ck_assert_uint_lt(uid, stored);
	}
	ck_assert_uint_ge(disk().map_free_bytes, 11 << 20);
	ck_assert_int_eq(append(100), 0);
	rig_close(&r);
}
END_TEST

/* ---- The hold shrinks ------------------------------------------------------------------------------------- */

static void
append_some(uint32_t mailbox, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(append_to(mailbox, 60000), 0);
}

static void
expunge_some(uint32_t mailbox, uint32_t first, uint32_t last)
{
	struct shelf_uidset *uids = rig_set(first, last);

	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, mailbox, uids, 0, NULL), 0);
	shelf_uidset_free(&uids);
}

struct held {
	unsigned n, of_box;
	uint32_t box, first_uid;
};

static int
on_held(void *arg, const struct shelf_held *held)
{
	struct held *h = arg;

	h->n++;
	if (held->mailbox == h->box && (h->of_box++ == 0 || held->msg.uid < h->first_uid))
		h->first_uid = held->msg.uid;
	return 0;
}

/* Three removals with dates a day apart, the oldest of them what the guard keeps; the mark asks for a part. */
START_TEST(the_oldest_goes_first_the_guarded_last)
{
	struct held h = {0};
	uint32_t box, kept;
	uint64_t free_then;
	struct shelf_disk d;

	rig_open(&r, &small);
	marks(0, 0, 0);
	box = rig_create(&r, r.joe, "box");
	kept = rig_create(&r, r.joe, "kept");
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_GUARD_HOLD, 1), 0);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_GUARD_PERCENT, 0), 0);
	append_some(kept, 100);
	append_some(box, 100);
	append_some(r.inbox, 100);
	expunge_some(kept, 1, 100); /* guarded from the 50th on; the others before anything goes */
	usleep(1100000);	    /* what goes within its last second is covered too */
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_GUARD_PERCENT, 100), 0);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_HOLD, 15 * 86400), 0);
	expunge_some(box, 1, 50);
	ck_assert_int_eq(shelf_setting_set(r.store, SHELF_SETTING_HOLD, 16 * 86400), 0);
	expunge_some(box, 51, 100);

	free_then = disk().map_free_bytes;
	/* Refusing new mail is no reason to let held mail go: that mark may stand too high by mistake. */
	marks(0, (unsigned)(free_then >> 20) + 1, 0);
	ck_assert_int_eq(disk().state, SHELF_DISK_REFUSE);
	ck_assert_int_eq(mail_early_run(r.store, 0, 100000), 0);
	ck_assert_uint_eq(disk().early_messages, 0);

	marks((unsigned)(free_then >> 20) + 1, 0, 0);
	ck_assert_int_eq(disk().state, SHELF_DISK_WARN);
	ck_assert_int_eq(mail_early_run(r.store, 0, 100000), 0);
	ck_assert_int_eq(disk().state, SHELF_DISK_OK);
	d = disk();
	h.box = box;
	ck_assert_int_eq(shelf_held_each(r.store, r.joe, on_held, &h), 0);
	/* About as much as is needed, from the oldest: all of the guarded is there. */
	ck_assert_uint_gt(d.early_messages, 10);
	ck_assert_uint_lt(d.early_messages, 100);
	ck_assert_uint_eq(d.early_bytes, d.early_messages * 60000);
	ck_assert_uint_eq(h.n, 200 - d.early_messages);
	ck_assert_uint_eq(h.n - h.of_box, 100);
	ck_assert_uint_eq(h.of_box, h.first_uid <= 50 ? 100 - d.early_messages : 50);

	/* More than there is: everything held goes, nothing else. */
	marks(1000, 0, 0);
	ck_assert_int_eq(mail_early_run(r.store, 0, 100000), 0);
	ck_assert_int_eq(disk().state, SHELF_DISK_WARN);
	ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 100);
	ck_assert_uint_eq(disk().early_messages, 200);
	rig_close(&r);
}
END_TEST

/* ---- Full, then empty --------------------------------------------------------------------------------------- */

static void
limit_files(rlim_t bytes)
{
	struct rlimit limit = {bytes, RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Small messages until none fits: what holding them writes is then larger than what is reserved. Without
 * the marks, which would stop before. */
static void
fill(uint32_t account)
{
	struct shelf_append items[100];
	struct shelf_append_result result;
	struct shelf_draft *draft = rig_draft(&r, "small", 10);
	size_t n = 100;
	int rc;

	for (size_t i = 0; i < 100; i++)
		items[i] = (struct shelf_append){.draft = draft, .internaldate_s = INT64_MIN};
	while (n > 0) {
		rc = shelf_append(r.store, account, r.inbox, items, n, &result);
		ck_assert(rc == 0 || rc == SHELF_EFULL);
		n = rc == 0 ? n : n / 2;
	}
	shelf_draft_free(&draft);
}

START_TEST(a_full_partition_is_emptied)
{
	const struct shelf_store_params params = {.partitions = 1, .map_bytes = _i % 2 == 0 ? 5 << 20 : 64 << 20,
	    .reserve_bytes = 512 << 10};
	uint32_t account;
	int rc;

	rig_open(&r, &params);
	marks(0, 0, 0);
	if (_i % 2 == 1)
		limit_files(5 << 20);
	ck_assert_int_eq(shelf_mailbox_create(r.store, r.ann, shelf_span_str("box"), 0, NULL), 0);
	for (unsigned round = 0; round < 2; round++) {
		uint64_t early = disk().early_messages;

		fill(r.joe);
		fill(r.ann);
		ck_assert_uint_gt(rig_mailbox(&r, r.joe, r.inbox).exists, 10000);
		for (unsigned i = 0; i < 2; i++) {
			account = i == 0 ? r.joe : r.ann;
			/* As IMAP does it, and POP3: in one transaction. */
			rig_flag(&r, account, r.inbox, 1, UINT32_MAX, SHELF_FLAGS_ADD, SHELF_DELETED, "");
			ck_assert_int_eq(shelf_msg_expunge(r.store, account, r.inbox, NULL,
			    SHELF_EXPUNGE_DELETED | (_i >= 2 ? SHELF_EXPUNGE_ATOMIC : 0), NULL), 0);
			ck_assert_uint_eq(rig_mailbox(&r, account, r.inbox).exists, 0);
		}
		/* Something could be held, not all of it. */
		ck_assert_uint_gt(disk().early_messages, early);
		ck_assert(_i >= 2 || rig_quota(&r, r.joe).held_messages > 0);
		if (round == 0)
			ck_assert_int_eq(shelf_mailbox_delete(r.store, r.ann, shelf_span_str("box")), 0);
		ck_assert_uint_eq(rig_findings(&r), 0);
		/* What is held still makes room for mail. */
		marks(1000, 0, 0);
		r.store->disk[0].early_rest_ms = 0;
		ck_assert_int_eq(mail_early_run(r.store, 0, 100000), 0);
		marks(0, 0, 0);
		ck_assert_uint_eq(rig_quota(&r, r.joe).held_messages, 0);
		while ((rc = shelf_store_purge(r.store, 1000)) == 1)
			;
		ck_assert_int_eq(rc, 0);
	}
	limit_files(RLIM_INFINITY);
	rig_close(&r);
}
END_TEST

/* ---- The log ---------------------------------------------------------------------------------------------- */

static unsigned
lines_with(const char *path, const char *what)
{
	char line[1024];
	unsigned n = 0;
	FILE *f = fopen(path, "r");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, what) != NULL;
	fclose(f);
	return n;
}

START_TEST(a_change_is_told_once)
{
	char log[4200];

	rig_open(&r, &small);
	shelf_store_close(&r.store);
	snprintf(log, sizeof(log), "%s/log", r.dir);
	ck_assert_ptr_nonnull(freopen(log, "w", stderr));
	ck_assert_int_eq(shelf_store_open(r.path, SHELF_OPEN_SERVE, &r.store), 0);
	marks(1000, 0, 0);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(disk().state, SHELF_DISK_WARN);
	marks(1000, 1000, 0);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(deliver(), SHELF_EFULL);
	usleep(1200000); /* the janitor looks too */
	marks(0, 0, 0);
	ck_assert_int_eq(deliver(), 0);
	fflush(stderr);
	ck_assert_uint_eq(lines_with(log, "state=warn"), 1);
	ck_assert_uint_eq(lines_with(log, "state=refuse"), 1);
	ck_assert_uint_eq(lines_with(log, "state=ok"), 1);
	rig_close(&r);
}
END_TEST

Suite *suite_disk(void);
Suite *
suite_disk(void)
{
	Suite *s = suite_create("disk");
	TCase *tc = tcase_create("disk");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, each_state_refuses_its_own, 0, 4);
	tcase_add_test(tc, a_mark_is_left_later_than_reached);
	tcase_add_test(tc, the_oldest_goes_first_the_guarded_last);
	tcase_add_loop_test(tc, a_full_partition_is_emptied, 0, 4);
	tcase_add_test(tc, a_change_is_told_once);
	suite_add_tcase(s, tc);
	return s;
}
