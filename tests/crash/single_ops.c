/* single_ops.c - the operations of which every call fails once, and the store they find */
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/expire.h>
#include <mailshelf/import.h>
#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>
#include <mailshelf/restore.h>

#include "single.h"

enum { JOES = 620, BOXED = 12, ARCHIVED = 130, LARGE_BYTES = 700000, DICT_BYTES = 1024, DICT_SAMPLE = 60 };

void
single_path(const struct single *s, const char *name, char path[4200])
{
	snprintf(path, 4200, "%s/%s", s->dir, name);
}

/* ---- Mail ---------------------------------------------------------------------------------------------- */

/* A message of at least LEN bytes that do not compress well; the same for the same text. */
static int
draft(struct single *s, const char *text, size_t len, struct shelf_draft **out)
{
	struct shelf_buf b = {0};
	uint32_t dice = 1;
	int rc;

	for (const char *p = text; *p != '\0'; p++)
		dice = dice * 31 + (uint8_t)*p;
	shelf_buf_printf(&b, "From: a@example.org\r\nSubject: %s\r\n\r\n%s\r\n", text, text);
	while (b.len < len) {
		for (unsigned i = 0; i < 70; i++) {
			dice = dice * 1664525 + 1013904223;
			shelf_buf_add_byte(&b, (uint8_t)('!' + (dice >> 16) % 90));
		}
		shelf_buf_add_str(&b, "\r\n");
	}
	rc = shelf_draft_new(s->store, out);
	if (rc == 0)
		rc = shelf_draft_write(*out, b.data, b.len);
	if (rc == 0)
		rc = shelf_draft_finish(*out);
	shelf_buf_free(&b);
	return rc;
}

/* COUNT messages, all of them of one body when SAME. */
static int
append(struct single *s, uint32_t account, uint32_t mailbox, unsigned count, bool same, size_t len)
{
	static const struct shelf_span words[2] = {{(const uint8_t *)"$one", 4}, {(const uint8_t *)"$two", 4}};
	struct shelf_append *item = shelf_zalloc(count * sizeof *item);
	struct shelf_append_result result;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < count; i++) {
		char text[64];

		item[i] = (struct shelf_append){.flags = i % 3 == 0 ? SHELF_SEEN : 0, .keywords = words,
		    .nkeywords = i % 3, .internaldate_s = 1000000000 + i};
		snprintf(text, sizeof text, "to %u in %u, number %u of %zu", account, mailbox, same ? 0 : i, len);
		if (same && i > 0)
			item[i].draft = item[0].draft;
		else
			rc = draft(s, text, len, &item[i].draft);
	}
	if (rc == 0)
		rc = shelf_append(s->store, account, mailbox, item, count, &result);
	for (unsigned i = 0; i < (same ? 1 : count); i++)
		shelf_draft_free(&item[i].draft);
	free(item);
	return rc;
}

static int
deliver(struct single *s, const uint32_t *account, unsigned count, const char *text, size_t len)
{
	struct shelf_append_result result[4] = {0};
	struct shelf_delivery to[4] = {0};
	struct shelf_draft *d = NULL;
	int rc = draft(s, text, len, &d);

	for (unsigned i = 0; i < count; i++)
		to[i].account = account[i];
	/* Of several all but the first have a head, not the same one. */
	for (unsigned i = 1; i < count; i++)
		to[i].head = shelf_span("Delivered-To: a@b\r\n\r\n", i == 1 ? 19 : 21);
	if (rc == 0)
		shelf_deliver(s->store, d, to, count, result);
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = result[i].rc;
	shelf_draft_free(&d);
	return rc;
}

int
single_deliver(struct single *s, uint32_t account, const char *text)
{
	return deliver(s, &account, 1, text, 0);
}

static int
expunge(struct single *s, uint32_t mailbox, uint32_t first, uint32_t last, unsigned flags)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	int rc;

	shelf_uidset_add_range(uids, first, last);
	rc = shelf_msg_expunge(s->store, s->joe, mailbox, uids, flags, NULL);
	shelf_uidset_free(&uids);
	return rc;
}

static int
copy(struct single *s, uint32_t first, uint32_t last, bool move)
{
	struct shelf_copy_result done = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = shelf_uidset_new();
	int rc;

	shelf_uidset_add_range(uids, first, last);
	rc = shelf_msg_copy(s->store, s->joe, SINGLE_INBOX, s->box, uids, move, &done);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&done.from_uids);
	shelf_uidset_free(&done.to_uids);
	return rc;
}

static int
flag(struct single *s, uint32_t first, uint32_t last, const char *keyword)
{
	const struct shelf_span word = shelf_span_str(keyword);
	const struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .flags = SHELF_FLAGGED | SHELF_DELETED,
	    .keywords = &word, .nkeywords = 1, .unchanged_since = UINT64_MAX};
	struct shelf_uidset *uids = shelf_uidset_new();
	int rc;

	shelf_uidset_add_range(uids, first, last);
	rc = shelf_msg_set_flags(s->store, s->joe, SINGLE_INBOX, uids, &change, NULL, NULL);
	shelf_uidset_free(&uids);
	return rc;
}

/* What POP3 keeps: FIRST..LAST fetched, and hidden or shown. */
static int
note(struct single *s, uint32_t mailbox, uint32_t first, uint32_t last, bool hide)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	const struct shelf_pop3_note note = {.fetched = uids, .fetched_s = 1234567,
	    .hide = hide ? uids : NULL, .show = hide ? NULL : uids};
	int rc;

	shelf_uidset_add_range(uids, first, last);
	rc = shelf_pop3_note(s->store, s->joe, mailbox, &note);
	shelf_uidset_free(&uids);
	return rc;
}

static int
create(struct single *s, const char *name, uint32_t *id)
{
	return shelf_mailbox_create(s->store, s->joe, shelf_span_str(name), 0, id);
}

/* ---- The store ----------------------------------------------------------------------------------------- */

static int
find(struct single *s, const char *name, uint32_t *id)
{
	struct shelf_account a;
	int rc = shelf_account_find(s->store, shelf_span_str(name), &a);

	*id = rc == 0 ? a.id : 0;
	return rc;
}

int
single_find(struct single *s)
{
	int rc;

	if ((rc = find(s, "joe", &s->joe)) != 0 || (rc = find(s, "ann", &s->ann)) != 0 ||
	    (rc = find(s, "archive", &s->archive)) != 0)
		return rc;
	s->box = 2;
	s->trash = 3;
	return find(s, "last", &s->last);
}

int
single_fill(struct single *s)
{
	const struct shelf_account_new names[] = {{.name = shelf_span_str("joe")}, {.name = shelf_span_str("ann")},
	    {.name = shelf_span_str("archive")}, {.name = shelf_span_str("last")}};
	uint32_t both[2], id;
	int rc;

	if ((rc = shelf_account_add(s->store, names, 4, NULL, NULL)) != 0 || (rc = single_find(s)) != 0 ||
	    (rc = create(s, "box", &id)) != 0 || (rc = create(s, "Trash", &id)) != 0)
		return rc;
	both[0] = s->joe;
	both[1] = s->ann;
	if ((rc = append(s, s->joe, SINGLE_INBOX, JOES, true, 0)) != 0 ||
	    (rc = append(s, s->joe, s->box, BOXED, false, 9000)) != 0 ||
	    (rc = append(s, s->archive, SINGLE_INBOX, ARCHIVED, false, 300)) != 0 ||
	    (rc = deliver(s, both, 2, "to both", 5000)) != 0 || (rc = single_deliver(s, s->last, "first")) != 0)
		return rc;
	if ((rc = note(s, SINGLE_INBOX, 6, 300, true)) != 0 || (rc = note(s, s->box, 1, 9, true)) != 0 ||
	    (rc = shelf_uidl_set(s->store, s->joe, SINGLE_INBOX, 6, shelf_span_str("of-six"))) != 0 ||
	    (rc = shelf_uidl_set(s->store, s->joe, s->box, 3, shelf_span_str("of-three"))) != 0)
		return rc;
	/* Some is held, one mailbox is deleted, a name is subscribed that is none. */
	if ((rc = expunge(s, s->box, 2, 4, 0)) != 0 || (rc = create(s, "old", &id)) != 0 ||
	    (rc = append(s, s->joe, id, 3, false, 200)) != 0 ||
	    (rc = shelf_mailbox_delete(s->store, s->joe, shelf_span_str("old"))) != 0)
		return rc;
	return shelf_mailbox_subscribe(s->store, s->joe, shelf_span_str("loose"), true);
}

/* ---- Operations: mail ------------------------------------------------------------------------------------ */

static int
run_deliver(struct single *s)
{
	return single_deliver(s, s->joe, "one");
}

static int
run_deliver_to_three(struct single *s)
{
	const uint32_t to[3] = {s->joe, s->ann, s->archive};

	return deliver(s, to, 3, "three", 20000);
}

static int
run_append(struct single *s)
{
	return append(s, s->joe, s->trash, 3, false, 2000);
}

static int
run_append_large(struct single *s)
{
	return append(s, s->joe, s->trash, 1, false, LARGE_BYTES);
}

static int
run_import(struct single *s)
{
	const uint8_t ids[1][16] = {"an imported one"};
	struct shelf_append item = {.internaldate_s = 5};
	struct shelf_append_result result;
	uint8_t stored;
	int rc = draft(s, "imported", 100, &item.draft);

	if (rc == 0)
		rc = shelf_import_append(s->store, s->joe, s->box, &item, ids, 1, &stored, &result);
	shelf_draft_free(&item.draft);
	return rc;
}

static int
run_flag(struct single *s)
{
	return flag(s, 7, 7, "$one");
}

static int
run_flag_all(struct single *s)
{
	return flag(s, 1, UINT32_MAX, "$new");
}

static int
run_expunge(struct single *s)
{
	return expunge(s, SINGLE_INBOX, 5, 7, 0);
}

static int
run_expunge_all(struct single *s)
{
	return expunge(s, SINGLE_INBOX, 1, UINT32_MAX, 0);
}

/* All of it is older than a day, as its INTERNALDATE says. */
static int
prepare_expire(struct single *s)
{
	const struct shelf_expire_rule rule = {.age_s = 24 * 3600, .not_flags = SHELF_SEEN, .pattern = "*"};
	uint32_t id;

	return shelf_expire_add(s->store, shelf_span_str("joe"), &rule, &id);
}

static int
run_expire(struct single *s)
{
	struct shelf_expired done;

	return shelf_expire_run(s->store, s->joe, shelf_now_s(), false, NULL, NULL, &done);
}

static int
run_quit(struct single *s)
{
	return expunge(s, SINGLE_INBOX, 1, 40, SHELF_EXPUNGE_ATOMIC | SHELF_EXPUNGE_POP3);
}

static int
run_hide(struct single *s)
{
	return note(s, SINGLE_INBOX, 200, UINT32_MAX, true);
}

static int
run_show(struct single *s)
{
	return note(s, SINGLE_INBOX, 1, UINT32_MAX, false);
}

static int
run_uidl(struct single *s)
{
	return shelf_uidl_set(s->store, s->joe, SINGLE_INBOX, 9, shelf_span_str("of-three"));
}

static int
run_copy(struct single *s)
{
	return copy(s, 600, UINT32_MAX, false);
}

static int
run_move(struct single *s)
{
	return copy(s, 1, UINT32_MAX, true);
}

/* To another account, of another partition (ann) or of the same (archive), as prepare_across makes sure. */
static int
move_to(struct single *s, uint32_t from, uint32_t first, uint32_t last, uint32_t account)
{
	struct shelf_copy_result done = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *uids = shelf_uidset_new();
	const struct shelf_copy what = {.account = s->joe, .from = from, .to_account = account,
	    .to = SINGLE_INBOX, .uids = uids, .move = true};
	int rc;

	shelf_uidset_add_range(uids, first, last);
	rc = shelf_msg_copy_to(s->store, &what, &done);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&done.from_uids);
	shelf_uidset_free(&done.to_uids);
	return rc;
}

static int
prepare_across(struct single *s)
{
	struct shelf_account joe, ann, archive;
	int rc;

	if ((rc = shelf_account_get(s->store, s->joe, &joe)) != 0 ||
	    (rc = shelf_account_get(s->store, s->ann, &ann)) != 0 ||
	    (rc = shelf_account_get(s->store, s->archive, &archive)) != 0)
		return rc;
	return joe.partition != ann.partition && joe.partition == archive.partition ? 0 : SHELF_EINVALID;
}

static int
run_move_across(struct single *s)
{
	return move_to(s, s->box, 1, UINT32_MAX, s->ann);
}

static int
run_move_beside(struct single *s)
{
	return move_to(s, SINGLE_INBOX, 300, UINT32_MAX, s->archive);
}

static int
run_undelete(struct single *s)
{
	struct shelf_restored done = {0};

	return shelf_restore(s->store, s->joe, s->box, NULL, 0, &done);
}

/* ---- Mailboxes, accounts, settings ------------------------------------------------------------------------ */

static int
run_create(struct single *s)
{
	uint32_t id;

	return create(s, "a/b/c", &id);
}

static int
run_rename(struct single *s)
{
	return shelf_mailbox_rename(s->store, s->joe, shelf_span_str("box"), shelf_span_str("b/new"));
}

static int
run_delete(struct single *s)
{
	return shelf_mailbox_delete(s->store, s->joe, shelf_span_str("box"));
}

static int
run_subscribe(struct single *s)
{
	return shelf_mailbox_subscribe(s->store, s->joe, shelf_span_str("box"), true);
}

static int
first_deleted(void *arg, const struct shelf_deleted_mailbox *m)
{
	*(uint32_t *)arg = m->id;
	return 1;
}

static int
run_undelete_mailbox(struct single *s)
{
	struct shelf_buf name = {0};
	uint32_t id = 0;
	int rc = shelf_deleted_mailbox_each(s->store, s->joe, first_deleted, &id);

	if (rc == 1)
		rc = shelf_mailbox_restore(s->store, s->joe, id, shelf_span(NULL, 0), &name);
	shelf_buf_free(&name);
	return rc;
}

static int
run_quota(struct single *s)
{
	return shelf_quota_set(s->store, s->joe, 123456789, 4321, 99);
}

static int
run_services(struct single *s)
{
	return shelf_account_set_services(s->store, s->joe, SHELF_SERVICE_IMAP, false);
}

static int
run_account_add(struct single *s)
{
	const struct shelf_account_new two[] = {{.name = shelf_span_str("new")}, {.name = shelf_span_str("new2"),
	    .limit_bytes = 5}};

	return shelf_account_add(s->store, two, 2, NULL, NULL);
}

static int
purge_all(struct single *s)
{
	int rc;

	while ((rc = shelf_store_purge(s->store, 1000)) == 1)
		;
	return rc;
}

static int
run_account_delete(struct single *s)
{
	int rc = shelf_account_delete(s->store, s->ann);

	return rc != 0 ? rc : purge_all(s);
}

static int
run_setting(struct single *s)
{
	return shelf_setting_set(s->store, SHELF_SETTING_HOLD, 77);
}

/* ---- What an administrator and the janitor do --------------------------------------------------------------- */

/* A mass deletion, of which the first part has not its long date yet. */
static int
prepare_guard(struct single *s)
{
	int rc = expunge(s, SINGLE_INBOX, 1, 40, 0);

	return rc != 0 ? rc : expunge(s, SINGLE_INBOX, 41, 400, 0);
}

/* Mail whose time is over, and a deleted mailbox; bodies wait. */
static int
prepare_purge(struct single *s)
{
	int rc = shelf_setting_set(s->store, SHELF_SETTING_HOLD, 0);

	if (rc == 0)
		rc = shelf_setting_set(s->store, SHELF_SETTING_GUARD_PERCENT, 0);
	if (rc == 0)
		rc = expunge(s, s->box, 5, 9, 0);
	return rc != 0 ? rc : shelf_mailbox_delete(s->store, s->joe, shelf_span_str("Trash"));
}

static int
run_compact(struct single *s)
{
	struct shelf_compacted size;

	return shelf_store_compact(s->store, 0, NULL, NULL, &size);
}

static int
run_compact_catalog(struct single *s)
{
	struct shelf_compacted size;

	return shelf_store_compact(s->store, SHELF_CATALOG, NULL, NULL, &size);
}

static int
partition_of_archive(struct single *s, uint32_t *out)
{
	struct shelf_account a;
	int rc = shelf_account_get(s->store, s->archive, &a);

	*out = rc == 0 ? a.partition : 0;
	return rc;
}

static int
run_train(struct single *s)
{
	const struct shelf_dict_params params = {.bytes = DICT_BYTES, .sample = DICT_SAMPLE};
	struct shelf_dict_report report;
	uint32_t partition;
	int rc = partition_of_archive(s, &partition);

	return rc != 0 ? rc : shelf_dict_train(s->store, partition, &params, &report);
}

static int
run_recompress(struct single *s)
{
	struct shelf_dict_pass pass = {0};
	uint32_t partition, removed;
	int rc = partition_of_archive(s, &partition);

	while (rc == 0 && (rc = shelf_dict_recompress(s->store, partition, &pass, 1000)) == 1)
		rc = 0;
	return rc != 0 ? rc : shelf_dict_prune(s->store, partition, &removed);
}

static int
run_backup(struct single *s)
{
	struct shelf_backup_done done;
	char path[4200];

	single_path(s, "backup", path);
	return shelf_backup_run(s->store, path, NULL, NULL, NULL, &done);
}

static void
problem(void *arg, const char *text)
{
	printf("backup: %s\n", text);
	*(int *)arg = SHELF_ECORRUPT;
}

/* What a run that failed has left does no harm to the next; the file is whole. */
static int
verify_backup(struct single *s)
{
	struct shelf_backup *b = NULL;
	char path[4200];
	int bad = 0, rc = run_backup(s);

	single_path(s, "backup", path);
	if (rc == 0)
		rc = shelf_backup_open(path, 0, &b);
	if (rc == 0)
		rc = shelf_backup_verify(b, NULL, problem, &bad);
	shelf_backup_close(&b);
	return rc != 0 ? rc : bad;
}

static int
prepare_more(struct single *s)
{
	int rc = run_backup(s);

	return rc != 0 ? rc : append(s, s->joe, s->trash, 5, false, 3000);
}

static int
prepare_restore(struct single *s)
{
	int rc = run_backup(s);

	/* Some bodies have to be written anew. */
	if (rc == 0)
		rc = shelf_setting_set(s->store, SHELF_SETTING_HOLD, UINT32_MAX);
	if (rc == 0)
		rc = expunge(s, s->box, 5, 9, 0);
	return rc != 0 ? rc : purge_all(s);
}

static int
with_backup(struct single *s, int (*fn)(struct single *s, struct shelf_backup *b))
{
	struct shelf_backup *b = NULL;
	char path[4200];
	int rc;

	single_path(s, "backup", path);
	if ((rc = shelf_backup_open(path, 0, &b)) == 0)
		rc = fn(s, b);
	shelf_backup_close(&b);
	return rc;
}

static int
restore_account(struct single *s, struct shelf_backup *b)
{
	struct shelf_restore_done done;

	return shelf_backup_restore_account(b, "joe", s->store, "joe-again", NULL, NULL, &done);
}

static int
run_restore_account(struct single *s)
{
	return with_backup(s, restore_account);
}

static int
restore_messages(struct single *s, struct shelf_backup *b)
{
	const struct shelf_restore_request request = {.account = s->joe, .to = shelf_span_str("box")};
	struct shelf_restore_done done;
	int bad = 0, rc;

	rc = shelf_backup_restore_messages(b, "joe", shelf_span_str("box"), s->store, &request, NULL, problem, &bad,
	    &done);
	return rc != 0 ? rc : bad;
}

static int
run_restore_messages(struct single *s)
{
	return with_backup(s, restore_messages);
}

static int
restore_store(struct single *s, struct shelf_backup *b)
{
	struct shelf_restore_done done;
	char path[4200];
	int bad = 0, rc;

	single_path(s, "restored", path);
	rc = shelf_backup_restore_store(b, path, NULL, problem, &bad, &done);
	return rc != 0 ? rc : bad;
}

static int
run_restore_store(struct single *s)
{
	return with_backup(s, restore_store);
}

static void
finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	printf("restored store: invariant %u, account %u: %s\n", invariant, account, text);
	*(int *)arg = SHELF_ECORRUPT;
}

/* The run that failed is gone on with. */
static int
verify_restored(struct single *s)
{
	struct shelf_store *store = NULL;
	char path[4200];
	int bad = 0, rc = run_restore_store(s);

	single_path(s, "restored", path);
	if (rc == 0 || rc == SHELF_EEXISTS)
		rc = shelf_store_open(path, 0, &store);
	if (rc == 0)
		rc = shelf_store_check(store, NULL, finding, &bad);
	shelf_store_close(&store);
	return rc != 0 ? rc : bad;
}

static int
run_partition_add(struct single *s)
{
	return shelf_partition_add(s->store, NULL);
}

static int
run_open(struct single *s)
{
	char path[4200];

	single_path(s, "store", path);
	return shelf_store_open(path, 0, &s->store);
}

static int
run_note(struct single *s)
{
	return shelf_stats_note(s->store, 1800000000);
}

const struct single_op single_ops[] = {
	{"deliver", SINGLE_WHOLE, NULL, run_deliver, NULL, false},
	{"deliver to three accounts", SINGLE_PARTS, NULL, run_deliver_to_three, NULL, false},
	{"append", SINGLE_WHOLE, NULL, run_append, NULL, false},
	{"append of a large message", SINGLE_WHOLE, NULL, run_append_large, NULL, false},
	{"import", SINGLE_WHOLE, NULL, run_import, NULL, false},
	{"flags of one", SINGLE_WHOLE, NULL, run_flag, NULL, false},
	{"flags of all", SINGLE_WHOLE, NULL, run_flag_all, NULL, false},
	{"expunge", SINGLE_REMOVE, NULL, run_expunge, NULL, false},
	{"expunge of all", SINGLE_REMOVE, NULL, run_expunge_all, NULL, false},
	{"expire", SINGLE_REMOVE, prepare_expire, run_expire, NULL, false},
	{"QUIT of POP3", SINGLE_REMOVE, NULL, run_quit, NULL, false},
	{"hide from POP3", SINGLE_WHOLE, NULL, run_hide, NULL, false},
	{"show to POP3", SINGLE_WHOLE, NULL, run_show, NULL, false},
	{"unique-id", SINGLE_WHOLE, NULL, run_uidl, NULL, false},
	{"copy", SINGLE_WHOLE, NULL, run_copy, NULL, false},
	{"move of all", SINGLE_PARTS, NULL, run_move, NULL, false},
	{"move to another partition", SINGLE_MOVE, prepare_across, run_move_across, purge_all, false},
	{"move to another account", SINGLE_MOVE, prepare_across, run_move_beside, purge_all, false},
	{"undelete", SINGLE_PARTS, NULL, run_undelete, NULL, false},
	{"create", SINGLE_WHOLE, NULL, run_create, NULL, false},
	{"rename", SINGLE_WHOLE, NULL, run_rename, NULL, false},
	{"delete", SINGLE_WHOLE, NULL, run_delete, NULL, false},
	{"subscribe", SINGLE_WHOLE, NULL, run_subscribe, NULL, false},
	{"undelete of a mailbox", SINGLE_WHOLE, NULL, run_undelete_mailbox, NULL, false},
	{"quota", SINGLE_WHOLE, NULL, run_quota, NULL, false},
	{"services", SINGLE_WHOLE, NULL, run_services, NULL, false},
	{"account add", SINGLE_PARTS, NULL, run_account_add, NULL, false},
	{"account delete", SINGLE_PARTS, NULL, run_account_delete, purge_all, false},
	{"setting", SINGLE_WHOLE, NULL, run_setting, NULL, false},
	{"guard", SINGLE_WHOLE, prepare_guard, purge_all, purge_all, false},
	{"purge", SINGLE_REMOVE, prepare_purge, purge_all, purge_all, false},
	{"compact", SINGLE_WHOLE, NULL, run_compact, run_compact, false},
	{"compact of the catalog", SINGLE_WHOLE, NULL, run_compact_catalog, run_compact_catalog, false},
	{"dict train", SINGLE_WHOLE, NULL, run_train, run_train, false},
	{"dict recompress", SINGLE_WHOLE, run_train, run_recompress, run_recompress, false},
	{"backup", SINGLE_WHOLE, NULL, run_backup, verify_backup, false},
	{"backup of changes", SINGLE_WHOLE, prepare_more, run_backup, verify_backup, false},
	{"restore of an account", SINGLE_WHOLE, prepare_restore, run_restore_account, purge_all, false},
	{"restore of messages", SINGLE_PARTS, prepare_restore, run_restore_messages, run_restore_messages, false},
	{"restore of a store", SINGLE_WHOLE, prepare_restore, run_restore_store, verify_restored, false},
	{"partition add", SINGLE_WHOLE, NULL, run_partition_add, NULL, false},
	{"open", SINGLE_WHOLE, NULL, run_open, NULL, true},
	{"note of the day", SINGLE_WHOLE, NULL, run_note, NULL, false},
};
const unsigned single_ops_count = sizeof single_ops / sizeof *single_ops;
