/*
 * test_processes.c - several processes do everything at once on one store; beside them and when they are
 * done, the check finds nothing
 *
 * The children are made before any store is opened, as a store must not cross a fork. What they run into
 * is decided by chance (seeded, printed), so answers that only say that another process was faster are
 * good; anything else is told by the exit status.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mailshelf/acl.h>
#include <mailshelf/import.h>
#include <mailshelf/partition.h>

#include "mail_check.h"
#include "store_rig.h"
#include "support.h"

enum { CHILDREN = 3, RUN_MS = 1500, STEPS_LEAST = 100, BOXES = 4, BAD = 1 };

static struct rig r;

struct child {
	struct shelf_store *store;
	uint64_t dice;
	uint32_t steady[2]; /* accounts that stay */
	unsigned round;
};

static uint32_t
roll(struct child *c, uint32_t n)
{
	c->dice ^= c->dice << 13;
	c->dice ^= c->dice >> 7;
	c->dice ^= c->dice << 17;
	return (uint32_t)(c->dice >> 11) % n;
}

/* Of what another process may have caused, everything is fine but damage and trouble. */
static void
expect(const char *what, int rc)
{
	if (rc >= 0 || shelf_err_class_of(rc) == SHELF_CLASS_MISSING ||
	    shelf_err_class_of(rc) == SHELF_CLASS_REFUSED)
		return;
	printf("%s: %s\n", what, shelf_err_text(rc));
	fflush(stdout);
	_exit(BAD);
}

static struct shelf_span
box_name(struct child *c, char *name)
{
	unsigned n = roll(c, BOXES);

	snprintf(name, 16, n == 0 ? "INBOX" : "b%u", n);
	return shelf_span_str(name);
}

static uint32_t
box(struct child *c, uint32_t account)
{
	struct shelf_mailbox m = {0};
	struct shelf_rd *rd = NULL;
	char name[16];

	if (shelf_rd_begin(c->store, account, &rd) == 0 &&
	    shelf_mailbox_find(rd, box_name(c, name), &m) != 0)
		m.id = 1;
	shelf_rd_end(&rd);
	return m.id;
}

static struct shelf_uidset *
some_uids(struct child *c)
{
	struct shelf_uidset *s = shelf_uidset_new();
	uint32_t from = 1 + roll(c, 400);

	shelf_uidset_add_range(s, from, from + roll(c, 60));
	return s;
}

static struct shelf_draft *
draft(struct child *c)
{
	/* One in sixteen is staged ahead. */
	size_t len = roll(c, 16) == 0 ? 700000 : 10 + roll(c, 3000);
	uint8_t *bytes = shelf_alloc(len);
	struct shelf_draft *d = NULL;

	shelf_random(bytes, len);
	expect("draft", shelf_draft_new(c->store, &d));
	expect("write", shelf_draft_write(d, bytes, len));
	expect("finish", shelf_draft_finish(d));
	free(bytes);
	return d;
}

static void
put(struct child *c, uint32_t account)
{
	struct shelf_append item[2] = {{.draft = draft(c), .internaldate_s = INT64_MIN,
	    .flags = roll(c, 32)}};
	struct shelf_delivery to[2] = {{.account = account}, {.account = c->steady[roll(c, 2)]}};
	struct shelf_append_result result[2];
	uint8_t ids[2][16] = {{(uint8_t)roll(c, 200)}, {(uint8_t)roll(c, 200), 1}}, stored[2];

	item[1] = item[0];
	if (roll(c, 3) == 0) {
		for (unsigned i = 0; i < 2; i++)
			to[i].head = shelf_span("To: a@b\r\n", 9 * roll(c, 2));
		shelf_deliver(c->store, item[0].draft, to, 2, result);
		expect("deliver", result[0].rc);
		expect("deliver", result[1].rc);
	} else if (roll(c, 2) == 0) {
		expect("import", shelf_import_append(c->store, account, box(c, account), item, ids, 2,
		    stored, result));
	} else {
		expect("append", shelf_append(c->store, account, box(c, account), item, 2, result));
	}
	shelf_draft_free(&item[0].draft);
}

static void
change(struct child *c, uint32_t account)
{
	struct shelf_span keyword = shelf_span_str("$k");
	struct shelf_flag_change flags = {.op = (enum shelf_flag_op)roll(c, 3), .flags = roll(c, 32),
	    .keywords = &keyword, .nkeywords = roll(c, 2), .unchanged_since = UINT64_MAX};
	struct shelf_copy_result copied = {.from_uids = shelf_uidset_new(),
	    .to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = some_uids(c);
	uint32_t from = box(c, account);

	struct shelf_copy across = {.account = account, .from = from, .to_account = c->steady[roll(c, 2)],
	    .to = 1, .uids = uids, .move = roll(c, 2) == 0};

	switch (roll(c, 5)) {
	case 0:
		expect("flags", shelf_msg_set_flags(c->store, account, from, uids, &flags, NULL, NULL));
		break;
	case 1:
		expect("expunge", shelf_msg_expunge(c->store, account, from, uids, roll(c, 4), NULL));
		break;
	case 2:
		expect("copy across", shelf_msg_copy_to(c->store, &across, &copied));
		break;
	default:
		expect("copy", shelf_msg_copy(c->store, account, from, box(c, account), uids,
		    roll(c, 2) == 0, &copied));
		break;
	}
	shelf_uidset_free(&uids);
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
}

static void
change_boxes(struct child *c, uint32_t account)
{
	static const char *const who[] = {"joe", "ann", "anyone", "x", "-y"};
	char from[16], to[16];

	box_name(c, from);
	switch (roll(c, 5)) {
	case 4:
		expect("share", shelf_acl_set(c->store, account, box(c, account),
		    shelf_span_str(who[roll(c, 5)]), (enum shelf_acl_op)roll(c, 3), roll(c, 2048)));
		break;
	case 0:
		expect("delete", shelf_mailbox_delete(c->store, account, shelf_span_str(from)));
		break;
	case 1:
		expect("rename", shelf_mailbox_rename(c->store, account, shelf_span_str(from),
		    box_name(c, to)));
		break;
	default:
		expect("create", shelf_mailbox_create(c->store, account, shelf_span_str(from), 0, NULL));
		break;
	}
}

/* Accounts of three names come and go, by any of the processes. */
static void
change_accounts(struct child *c)
{
	static const char *const names[] = {"x", "y", "z"};
	struct shelf_account_new new = {.name = shelf_span_str(names[roll(c, 3)])};
	struct shelf_account account;
	int rc = shelf_account_find(c->store, new.name, &account);

	if (rc != 0) {
		expect("find", rc);
		expect("add", shelf_account_add(c->store, &new, 1, NULL, NULL));
	} else if (roll(c, 4) == 0) {
		expect("account delete", shelf_account_delete(c->store, account.id));
	} else {
		put(c, account.id);
		change_boxes(c, account.id);
		change(c, account.id);
	}
}

/* One of the partitions or the catalog moves to a new file. */
static void
compact(struct child *c)
{
	struct shelf_compacted done;
	uint32_t n = roll(c, 3);
	int rc = shelf_store_compact(c->store, n == 2 ? SHELF_CATALOG : n, NULL, NULL, &done);

	if (rc != SHELF_EBUSY)
		expect("compact", rc);
}

/* One of the accounts moves to the other partition. */
static void
move_account(struct child *c, uint32_t account)
{
	struct shelf_mover *m = shelf_mover_new(c->store, NULL, NULL);
	struct shelf_moved moved;
	int rc = shelf_account_move(m, account, roll(c, 2), &moved);

	if (rc != SHELF_EBUSY)
		expect("move", rc);
	shelf_mover_free(&m);
}

static void
step(struct child *c)
{
	uint32_t account = c->steady[roll(c, 2)];

	if (roll(c, 40) == 0)
		compact(c);
	if (roll(c, 40) == 0)
		move_account(c, account);
	switch (roll(c, 8)) {
	case 0:
		change_boxes(c, account);
		break;
	case 1:
		change_accounts(c);
		break;
	case 2:
		expect("purge", shelf_store_purge(c->store, 20));
		break;
	case 3:
	case 4:
		put(c, account);
		break;
	default:
		change(c, account);
		break;
	}
}

static void
work(unsigned n, uint64_t seed)
{
	struct child c = {.dice = seed * 7919 + n + 1, .steady = {r.joe, r.ann}};
	int64_t end = shelf_mono_ms() + RUN_MS;

	mail_left_kept_s = n; /* in one of them at once */
	expect("open", shelf_store_open(r.path, n == 0 ? SHELF_OPEN_SERVE : 0, &c.store));
	/* On a busy machine a few steps take all that time. */
	for (unsigned i = 0; i < STEPS_LEAST || shelf_mono_ms() < end; i++)
		step(&c);
	shelf_store_close(&c.store);
	_exit(0);
}

static void
quota_is_equal(uint32_t account)
{
	struct shelf_quota kept, counted;

	ck_assert_int_eq(shelf_quota_check(r.store, account, &kept, &counted), 0);
}

/* Checks for as long as anyone works, in slices of every length. */
static void
check_beside(pid_t *pid)
{
	static const int64_t lengths[] = {0, 5, 500};
	unsigned left = CHILDREN;
	int status;

	check_refs_window = 64;
	for (unsigned round = 0; left > 0; round++) {
		check_slice_ms = lengths[round % 3];
		ck_assert_uint_eq(rig_findings(&r), 0);
		quota_is_equal(r.joe);
		for (unsigned i = 0; i < CHILDREN; i++) {
			if (pid[i] == 0 || waitpid(pid[i], &status, WNOHANG) != pid[i])
				continue;
			ck_assert_int_eq(status, 0);
			pid[i] = 0;
			left--;
		}
	}
}

START_TEST(everything_at_once)
{
	const struct shelf_store_params params = {.partitions = 2, .map_bytes = 1u << 30,
	    .hold_s = _i == 0 ? UINT32_MAX : 1};
	uint64_t seed = (uint64_t)shelf_now_us();
	pid_t pid[CHILDREN];
	int rc;

	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	rig_open(&r, &params);
	shelf_store_close(&r.store);
	for (unsigned i = 0; i < CHILDREN; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			work(i, seed);
		ck_assert_int_gt(pid[i], 0);
	}
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
	check_beside(pid);
	ck_assert_uint_eq(rig_findings(&r), 0);
	quota_is_equal(r.joe);
	quota_is_equal(r.ann);
	while ((rc = shelf_store_purge(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_gt(rig_modseq(&r, r.joe), 20);
	rig_close(&r);
}
END_TEST

Suite *suite_processes(void);
Suite *
suite_processes(void)
{
	Suite *s = suite_create("processes");
	TCase *tc = tcase_create("processes");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, everything_at_once, 0, 2); /* without a hold, with one of a second */
	suite_add_tcase(s, tc);
	return s;
}
