/* test_golden.c - stores of every released format open, read as they did, check clean and go on working */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "golden.h"
#include "mail.h"
#include "store_rig.h"
#include "support.h"

/* Never take one away: these stores are out there. */
static const char *const goldens[] = {"format-1", "format-1-2026-11-30", "format-1-2026-12-01", "format-1-2026-12-01b"};
enum { NGOLDENS = sizeof goldens / sizeof *goldens, JOE = 1, ANN = 2, EVE = 4, INBOX = 1, TRASH = 2 };

static char dir[4096];
static struct rig r; /* of the copy, so that the rig's words can be used on it */

static void
unpack(const char *name)
{
	char file[256];
	pid_t pid;
	int status;

	snprintf(file, sizeof file, "tests/golden/%s.tar.gz", name);
	support_tmpdir(dir, sizeof dir);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		execlp("tar", "tar", "-xzf", file, "-C", dir, (char *)NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "%s cannot be unpacked", file);
	snprintf(r.path, sizeof r.path, "%s/store", dir);
}

static void
open_copy(void)
{
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
}

static void
remove_copy(void)
{
	shelf_store_close(&r.store);
	support_rmtree(dir);
}

/* Tells the first line that differs. */
static void
must_list(const char *name)
{
	struct shelf_buf got = {0}, want = {0};
	char file[256];
	size_t at = 0, line = 1;

	snprintf(file, sizeof file, "tests/golden/%s.list", name);
	support_read_file(file, &want);
	ck_assert_int_eq(golden_list(r.store, &got), 0);
	while (at < got.len && at < want.len && got.data[at] == want.data[at])
		line += got.data[at++] == '\n';
	ck_assert_msg(at == got.len && at == want.len, "%s: line %zu is not what it was", file, line);
	shelf_buf_free(&got);
	shelf_buf_free(&want);
}

START_TEST(a_golden_store_reads_as_it_did)
{
	unpack(goldens[_i]);
	open_copy();
	must_list(goldens[_i]);
	ck_assert_uint_eq(rig_findings(&r), 0);
	shelf_store_close(&r.store);
	/* Opening and reading leave it as it was. */
	open_copy();
	must_list(goldens[_i]);
	remove_copy();
}
END_TEST

/* ---- Working on one ------------------------------------------------------------------------------ */

static void
take_back(void)
{
	struct shelf_restored done = {0};
	struct shelf_buf name = {0};

	ck_assert_int_eq(shelf_restore(r.store, JOE, TRASH, NULL, 0, &done), 0);
	ck_assert_uint_eq(done.messages, 2);
	ck_assert_int_eq(shelf_mailbox_restore(r.store, JOE, 5, shelf_span_str(""), &name), 0);
	ck_assert_str_eq(shelf_buf_cstr(&name), "Old-restored");
	shelf_buf_free(&name);
	/* A deleted mailbox whose time was over long ago. */
	ck_assert_int_eq(shelf_mailbox_restore(r.store, JOE, 3, shelf_span_str(""), &name), SHELF_ENOMAILBOX);
	shelf_buf_free(&name);
}

static void
change_inbox(void)
{
	struct shelf_copy_result copied = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_mailbox before = rig_mailbox(&r, JOE, INBOX), after;
	struct shelf_uidset *uids = rig_set(100, 300), *gone = shelf_uidset_new();

	ck_assert_uint_eq(rig_append(&r, JOE, INBOX, "new", SHELF_SEEN), before.uidnext);
	rig_fill(&r, JOE, INBOX, 300);
	rig_flag(&r, JOE, INBOX, 1, 700, SHELF_FLAGS_ADD, SHELF_ANSWERED, "word-7");
	rig_flag(&r, JOE, INBOX, 200, 600, SHELF_FLAGS_REPLACE, SHELF_FLAGGED, "a-new-word");
	ck_assert_int_eq(shelf_msg_expunge(r.store, JOE, INBOX, uids, 0, gone), 0);
	ck_assert_uint_eq(shelf_uidset_count(gone), 201 - 4);
	shelf_uidset_free(&uids);
	uids = rig_set(301, 350);
	ck_assert_int_eq(shelf_msg_copy(r.store, JOE, INBOX, TRASH, uids, true, &copied), 0);
	ck_assert_uint_eq(shelf_uidset_count(copied.to_uids), 50);
	after = rig_mailbox(&r, JOE, INBOX);
	ck_assert_uint_eq(after.exists, before.exists + 301 - 197 - 50);
	ck_assert_uint_eq(after.uidvalidity, before.uidvalidity);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&gone);
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
}

static void
import_again(void)
{
	uint8_t id[GOLDEN_IMPORTS + 1][16], stored[GOLDEN_IMPORTS + 1];
	struct shelf_append item[GOLDEN_IMPORTS + 1];
	struct shelf_append_result result;

	for (unsigned i = 0; i <= GOLDEN_IMPORTS; i++) {
		item[i] = (struct shelf_append){.draft = rig_draft(&r, "import", i), .internaldate_s = 1};
		golden_import_id(i, id[i]);
	}
	ck_assert_int_eq(shelf_import_append(r.store, ANN, INBOX, item, (const uint8_t(*)[16])id, GOLDEN_IMPORTS + 1,
	    stored, &result), 0);
	for (unsigned i = 0; i <= GOLDEN_IMPORTS; i++) {
		ck_assert_uint_eq(stored[i], i == GOLDEN_IMPORTS);
		shelf_draft_free(&item[i].draft);
	}
}

static void
login(void)
{
	const struct shelf_span joe = shelf_span_str("Joe@Example.ORG");
	struct shelf_account a;

	ck_assert_int_eq(shelf_account_login(r.store, joe, shelf_span_str(GOLDEN_PASSWORD), SHELF_SERVICE_IMAP, &a), 0);
	ck_assert_uint_eq(a.id, JOE);
	ck_assert_int_eq(shelf_account_login(r.store, joe, shelf_span_str("golden"), SHELF_SERVICE_IMAP, &a),
	    SHELF_EAUTH);
	ck_assert_int_eq(shelf_account_login(r.store, shelf_span_str("bob"), shelf_span_str(GOLDEN_PASSWORD),
	    SHELF_SERVICE_IMAP, &a), SHELF_EDISABLED);
}

static void
purge_all(void)
{
	int rc;

	do
		rc = shelf_store_purge(r.store, 1000);
	while (rc == 1);
	ck_assert_int_eq(rc, 0);
}

START_TEST(a_golden_store_goes_on_working)
{
	const struct shelf_account_new eve = {.name = shelf_span_str("eve")};
	struct shelf_quota kept, counted;
	uint32_t id;

	unpack(goldens[_i]);
	open_copy();
	login();
	take_back();
	change_inbox();
	import_again();
	/* Uids on both sides of 65,536, the last two of the lower range are held. */
	rig_flag(&r, ANN, 2, 65530, 65540, SHELF_FLAGS_REMOVE, SHELF_SEEN, "");
	ck_assert_uint_eq(rig_mailbox(&r, ANN, 2).unseen, 9);
	ck_assert_int_eq(shelf_mailbox_rename(r.store, JOE, shelf_span_str("Stacks"), shelf_span_str("Attic")), 0);
	ck_assert_int_eq(shelf_mailbox_delete(r.store, JOE, shelf_span_str("Sent")), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	/* What was due and what was left to do is done; an id is not given again. */
	ck_assert_uint_eq(rig_quota(&r, ANN).held_messages, 3);
	purge_all();
	ck_assert_uint_eq(rig_quota(&r, ANN).held_messages, 2);
	ck_assert_int_eq(shelf_account_add(r.store, &eve, 1, NULL, &id), 0);
	ck_assert_uint_gt(id, 5);
	rig_append(&r, id, INBOX, "to a new eve", 0);
	ck_assert_int_eq(shelf_quota_set(r.store, JOE, 1, 1, 0), 0);
	ck_assert_int_eq(shelf_quota_check(r.store, JOE, &kept, &counted), 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	rig_reopen(&r);
	ck_assert_uint_eq(rig_findings(&r), 0);
	remove_copy();
}
END_TEST

/* Sums that the format did not have yet come in the background; nobody who reads mail sees it. */
START_TEST(a_golden_store_is_counted)
{
	struct shelf_partition_stats s;
	int rc;

	unpack(goldens[_i]);
	open_copy();
	while ((rc = shelf_stats_catch_up(r.store, 0)) == 1)
		ck_assert_uint_eq(rig_findings(&r), 0);
	ck_assert_int_eq(rc, 0);
	purge_all(); /* accounts under removal are never counted */
	ck_assert_int_eq(shelf_stats_store(r.store, &s), 0);
	ck_assert_uint_eq(s.uncounted_accounts, 0);
	ck_assert_uint_eq(s.uncounted_bodies, 0);
	ck_assert_uint_gt(s.totals.messages, 300);
	ck_assert_uint_eq(s.totals.noted_messages, s.totals.messages + s.totals.held_messages);
	ck_assert_uint_gt(s.physical_bytes, 0);
	ck_assert_uint_eq(rig_findings(&r), 0);
	remove_copy();

	unpack(goldens[_i]);
	open_copy();
	while ((rc = shelf_stats_catch_up(r.store, 1000)) == 1)
		;
	ck_assert_int_eq(rc, 0);
	must_list(goldens[_i]);
	remove_copy();
}
END_TEST

/* ---- A newer format is refused and stays whole ------------------------------------------------------ */

static void
read_data(struct shelf_buf *out)
{
	static const char *const part[] = {"catalog", "part-00", "part-01"};
	struct shelf_buf one = {0};
	char file[4400];

	for (size_t i = 0; i < 3; i++) {
		snprintf(file, sizeof file, "%s/kv/%s/data.mdb", r.path, part[i]);
		support_read_file(file, &one);
		shelf_buf_add_span(out, shelf_buf_span(&one));
		shelf_buf_free(&one);
	}
}

/* FILE says "format 1 ..."; now it says another number. */
static void
raise_format(const char *name)
{
	char path[4400];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", r.path, name);
	f = fopen(path, "r+");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, (long)strlen("format "), SEEK_SET), 0);
	ck_assert_int_eq(fputc('9', f), '9');
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(a_newer_store_is_refused)
{
	static const char *const file[] = {"mailshelf", "kv/kv.conf"};
	struct shelf_buf before = {0}, after = {0};

	unpack(goldens[NGOLDENS - 1]);
	read_data(&before);
	raise_format(file[_i]);
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), SHELF_EVERSION);
	ck_assert_ptr_null(r.store);
	ck_assert_int_eq(shelf_store_open(r.path, SHELF_OPEN_SERVE, &r.store), SHELF_EVERSION);
	read_data(&after);
	ck_assert(shelf_span_eq(shelf_buf_span(&before), shelf_buf_span(&after)));
	shelf_buf_free(&before);
	shelf_buf_free(&after);
	remove_copy();
}
END_TEST

enum { NEWER = 99 };

/* A row of an account's table whose first byte becomes one no release of today knows. */
struct newer {
	enum kv_table table;
	uint32_t account; /* 0: the table is the partition's */
	struct mail_key key;
	struct shelf_buf value; /* as it is from now on */
};

static int
find_row(struct kv_txn *txn, struct newer *n)
{
	struct shelf_span key, value;
	struct mail_msg msg;
	struct kv_scan scan;
	int rc;

	/* The body of INBOX's first message; of the other tables the first row. */
	if (n->table == KV_BLOB) {
		if ((rc = mail_msg_get(kv_txn_view(txn), INBOX, 1, &msg)) != 0)
			return rc;
		n->key.len = 8;
		base_put_be64(n->key.bytes, msg.blob);
		return 1;
	}
	if ((rc = kv_scan_open(kv_txn_view(txn), n->table, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan)) != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		memcpy(n->key.bytes, key.data, key.len);
		n->key.len = key.len;
	}
	kv_scan_close(&scan);
	return rc;
}

static int
make_newer(struct kv_txn *txn, void *arg)
{
	struct newer *n = arg;
	struct shelf_span value;
	int rc;

	shelf_buf_clear(&n->value);
	if ((rc = find_row(txn, n)) != 1)
		return rc == 0 ? SHELF_EMISSING : rc;
	if ((rc = kv_get(kv_txn_view(txn), n->table, mail_key_span(&n->key), &value)) != 0)
		return rc;
	shelf_buf_add_span(&n->value, value);
	n->value.data[0] = NEWER;
	return kv_put(txn, n->table, mail_key_span(&n->key), shelf_buf_span(&n->value));
}

static bool
is_as_it_was(const struct newer *n)
{
	bool catalog = n->table == KV_USER || n->table == KV_PLACE, same;
	struct shelf_span value;
	struct kv_view *view;

	ck_assert_int_eq(kv_view_begin(r.store->kv, catalog ? KV_CATALOG : JOE, &view), 0);
	ck_assert_int_eq(kv_get(view, n->table, mail_key_span(&n->key), &value), 0);
	same = shelf_span_eq(value, shelf_buf_span(&n->value));
	kv_view_end(&view);
	return same;
}

/* Whatever is tried, the answer is that, or the row was not needed. */
static void
refused(int rc)
{
	ck_assert_msg(rc == SHELF_EVERSION || rc == 0 || rc == 1, "%s", shelf_err_name(rc));
}

static void
try_changes(void)
{
	const struct shelf_delivery to = {.account = JOE};
	struct shelf_flag_change change = {.op = SHELF_FLAGS_REPLACE, .flags = SHELF_FLAGGED,
	    .unchanged_since = UINT64_MAX};
	struct shelf_uidset *uids = rig_set(1, 20);
	struct shelf_append_result result;
	struct shelf_draft *d = rig_draft(&r, "new", 10);
	struct shelf_restored done = {0};

	shelf_deliver(r.store, d, &to, 1, &result);
	refused(result.rc);
	refused(shelf_msg_set_flags(r.store, JOE, INBOX, uids, &change, NULL, NULL));
	refused(shelf_msg_expunge(r.store, JOE, INBOX, uids, 0, NULL));
	refused(shelf_restore(r.store, JOE, INBOX, NULL, TRASH, &done));
	refused(shelf_mailbox_rename(r.store, JOE, shelf_span_str("INBOX"), shelf_span_str("Elsewhere")));
	refused(shelf_mailbox_delete(r.store, JOE, shelf_span_str("Trash")));
	refused(shelf_store_purge(r.store, 1000));
	shelf_draft_free(&d);
	shelf_uidset_free(&uids);
}

static void
ignore_finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
}

START_TEST(a_newer_row_is_refused)
{
	static const enum kv_table tables[] = {KV_ACCT, KV_MBOX, KV_MNAME, KV_FPAGE, KV_FSUM, KV_MSG, KV_GONE, KV_BLOB,
	    KV_USER, KV_PLACE};
	struct newer n = {.table = tables[_i]};
	bool catalog = n.table == KV_USER || n.table == KV_PLACE;
	struct shelf_buf text = {0};

	unpack(goldens[NGOLDENS - 1]);
	open_copy();
	ck_assert_int_eq(kv_update(r.store->kv, catalog ? KV_CATALOG : JOE, 0, make_newer, &n), 0);
	rig_reopen(&r); /* where an account lives is remembered */
	if (n.table != KV_FSUM) /* sums are not asked for when everything is listed */
		ck_assert_int_eq(golden_list(r.store, &text), SHELF_EVERSION);
	try_changes();
	refused(shelf_store_check(r.store, NULL, ignore_finding, NULL));
	if (n.table != KV_MNAME && n.table != KV_GONE && n.table != KV_MSG) /* INBOX may have been moved away */
		ck_assert_msg(is_as_it_was(&n), "the row was changed");
	shelf_buf_free(&text);
	shelf_buf_free(&n.value);
	remove_copy();
}
END_TEST

Suite *suite_golden(void);
Suite *
suite_golden(void)
{
	Suite *s = suite_create("golden");
	TCase *t = tcase_create("golden");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_golden_store_reads_as_it_did, 0, NGOLDENS);
	tcase_add_loop_test(t, a_golden_store_goes_on_working, 0, NGOLDENS);
	tcase_add_loop_test(t, a_golden_store_is_counted, 0, NGOLDENS);
	tcase_add_loop_test(t, a_newer_store_is_refused, 0, 2);
	tcase_add_loop_test(t, a_newer_row_is_refused, 0, 10);
	suite_add_tcase(s, t);
	return s;
}
