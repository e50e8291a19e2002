/*
 * golden_make.c - makes a golden store: every kind of row of today's format, small
 *
 * usage: golden make STORE   a new store at STORE
 *        golden list STORE   what golden_list() says of it
 *
 * tests/golden/pack.sh NAME runs both and leaves NAME.tar.gz and NAME.list here.
 *
 * What must stay true: two runs make stores of the same list. So the clock stands still but for
 * tick(), passwords have a fixed salt, contents follow from numbers, and one thread does everything.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "golden.h"
#include "mail.h"
#include "support.h"

enum { BEGIN_S = 1767614400 /* 2026-01-05 12:00 UTC */, HOLD_LONG_S = 2000000000, DAY_S = 86400, LESSONS = 130 };

static int64_t now_s = BEGIN_S;

/* These two stand in front of the libraries' own. */
int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	*ts = (struct timespec){.tv_sec = now_s};
	return 0;
}

char *crypt_gensalt_rn(const char *prefix, unsigned long count, const char *bytes, int len, char *out,
    int size);
char *
crypt_gensalt_rn(const char *prefix, unsigned long count, const char *bytes, int len, char *out, int size)
{
	snprintf(out, (size_t)size, "$y$j9T$golden/golden/golden");
	return out;
}

static void
tick(int64_t seconds)
{
	now_s += seconds;
}

static void
must(int rc, const char *what)
{
	if (rc != 0)
		support_fatal("%s: %s", what, shelf_err_text(rc));
}

/* ---- Words for the rest -------------------------------------------------------------------------- */

static struct shelf_store *store;
static const char *store_dir;

enum { JOE = 1, ANN, BOB, EVE, LONG }; /* account ids */

/* Expunged mail is held so long from now on; a store reads it when it opens. */
static void
open_with_hold(uint32_t hold_s)
{
	char path[4200];
	FILE *f;

	shelf_store_close(&store);
	snprintf(path, sizeof path, "%s/mailshelf", store_dir);
	f = fopen(path, "w");
	if (f == NULL || fprintf(f, "format 1\nhold_s %" PRIu32 "\n", hold_s) < 0 || fclose(f) != 0)
		support_fatal("cannot write %s", path);
	must(shelf_store_open(store_dir, 0, &store), "open");
}

static struct shelf_draft *
draft(struct shelf_span bytes)
{
	struct shelf_draft *d;

	must(shelf_draft_new(store, &d), "draft");
	must(shelf_draft_write(d, bytes.data, bytes.len), "draft write");
	must(shelf_draft_finish(d), "draft finish");
	return d;
}

/* Letter NUMBER: a header and LINES lines. */
static struct shelf_draft *
letter(unsigned number, unsigned lines)
{
	struct shelf_buf b = {0};
	struct shelf_draft *d;

	shelf_buf_printf(&b, "From: Writer %u <writer%u@example.net>\r\nTo: joe@example.org\r\n"
	    "Date: Mon, 5 Jan 2026 13:%02u:00 +0100\r\nSubject: letter %u\r\nMessage-ID: <%u@example.net>\r\n\r\n",
	    number, number % 7, number % 60, number, number);
	for (unsigned i = 0; i < lines; i++)
		shelf_buf_printf(&b, "Line %u of letter %u, which says nothing new (%u).\r\n", i, number,
		    (number + 1) * (i + 17) * 2654435761u % 1000);
	d = draft(shelf_buf_span(&b));
	shelf_buf_free(&b);
	return d;
}

static struct shelf_draft *
multipart(void)
{
	return draft(shelf_span_str(
	    "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.net>\r\nSubject: =?utf-8?q?B=C3=BCcher?=\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\npreamble\r\n"
	    "--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n"
	    "--inner\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nB\xfc" "cher\r\n"
	    "--inner\r\nContent-Type: text/html\r\n\r\n<p>B&uuml;cher</p>\r\n--inner--\r\n"
	    "--outer\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"a b.eml\"\r\n\r\n"
	    "From: inside@example.net\r\nSubject: inside\r\n\r\nThe message inside.\r\n"
	    "--outer\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	    "AAECAwQFBgcICQ==\r\n--outer--\r\nepilogue\r\n"));
}

static struct shelf_append_result
append(uint32_t account, uint32_t mailbox, struct shelf_draft *d, unsigned count, uint32_t flags,
    const char *keyword)
{
	struct shelf_append *items = shelf_zalloc(count * sizeof *items);
	struct shelf_span word = shelf_span_str(keyword);
	struct shelf_append_result result;

	for (unsigned i = 0; i < count; i++)
		items[i] = (struct shelf_append){.draft = d, .flags = flags, .keywords = &word,
		    .nkeywords = keyword != NULL, .internaldate_s = now_s - DAY_S + i,
		    .zone_min = (int16_t)(i % 2 == 0 ? 60 : -330)};
	must(shelf_append(store, account, mailbox, items, count, &result), "append");
	free(items);
	tick(1);
	return result;
}

static void
append_letter(uint32_t account, uint32_t mailbox, unsigned number, unsigned lines)
{
	struct shelf_draft *d = letter(number, lines);

	append(account, mailbox, d, 1, 0, NULL);
	shelf_draft_free(&d);
}

static uint32_t
create(uint32_t account, const char *name, unsigned use)
{
	uint32_t id;

	must(shelf_mailbox_create(store, account, shelf_span_str(name), use, &id), name);
	tick(1);
	return id;
}

static struct shelf_uidset *
uids(uint32_t first, uint32_t last)
{
	struct shelf_uidset *s = shelf_uidset_new();

	shelf_uidset_add_range(s, first, last);
	return s;
}

static void
flag(uint32_t account, uint32_t mailbox, uint32_t first, uint32_t last, uint32_t flags, const char *keyword)
{
	struct shelf_span word = shelf_span_str(keyword);
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .flags = flags, .keywords = &word,
	    .nkeywords = keyword != NULL, .unchanged_since = UINT64_MAX};
	struct shelf_uidset *set = uids(first, last);

	must(shelf_msg_set_flags(store, account, mailbox, set, &change, NULL, NULL), "flags");
	shelf_uidset_free(&set);
	tick(1);
}

static void
expunge(uint32_t account, uint32_t mailbox, uint32_t first, uint32_t last)
{
	struct shelf_uidset *set = uids(first, last);

	must(shelf_msg_expunge(store, account, mailbox, set, 0, NULL), "expunge");
	shelf_uidset_free(&set);
	tick(1);
}

static void
copy(uint32_t account, uint32_t from, uint32_t to, uint32_t first, uint32_t last, bool move)
{
	struct shelf_copy_result result = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_uidset *set = uids(first, last);

	must(shelf_msg_copy(store, account, from, to, set, move, &result), "copy");
	shelf_uidset_free(&result.from_uids);
	shelf_uidset_free(&result.to_uids);
	shelf_uidset_free(&set);
	tick(1);
}

/* ---- The store ------------------------------------------------------------------------------------ */

static void
make_accounts(void)
{
	static char long_name[SHELF_ACCOUNT_NAME_MAX + 1];
	const struct shelf_span password = shelf_span_str(GOLDEN_PASSWORD);
	const struct shelf_account_new list[] = {
	    {.name = shelf_span_str("joe@example.org"),
	     .password = password,
	     .limit_bytes = 10 << 20,
	     .limit_messages = 2000},
	    {.name = shelf_span_str("ann@example.org"), .password = password},
	    {.name = shelf_span_str("bob"), .password = password, .limit_messages = 5},
	    {.name = shelf_span_str("eve")},
	    {.name = shelf_span(long_name, SHELF_ACCOUNT_NAME_MAX),
	     .limit_bytes = 1,
	     .limit_messages = 1}};
	uint32_t id[5];

	memset(long_name, 'l', SHELF_ACCOUNT_NAME_MAX);
	/* One by one: their passwords would be hashed by several threads. */
	for (unsigned i = 0; i < 5; i++)
		must(shelf_account_add(store, &list[i], 1, NULL, &id[i]), "account");
	if (id[0] != JOE || id[4] != LONG)
		support_fatal("accounts have other ids than expected");
	must(shelf_account_set_services(store, BOB, SHELF_SERVICE_IMAP, true), "services");
}

/* Blobs nobody refers to (their jobs are left), mail whose time has come, and some that was put back. */
static void
make_removed(uint32_t trash)
{
	struct shelf_restored done = {0};

	open_with_hold(UINT32_MAX);
	append_letter(JOE, trash, 1, 3);
	append_letter(ANN, 1, 2, 3);
	expunge(JOE, trash, 1, 1);
	expunge(ANN, 1, 1, 1);

	open_with_hold(1);
	append_letter(ANN, 1, 3, 3);
	expunge(ANN, 1, 2, 2);
	append_letter(JOE, create(JOE, "Doomed", 0), 4, 2);
	must(shelf_mailbox_delete(store, JOE, shelf_span_str("Doomed")), "delete");

	open_with_hold(HOLD_LONG_S);
	for (unsigned i = 5; i < 10; i++)
		append_letter(JOE, trash, i, i);
	flag(JOE, trash, 2, 4, SHELF_DELETED | SHELF_SEEN, "$Junk");
	expunge(JOE, trash, 2, 5);
	must(shelf_restore(store, JOE, trash, NULL, 0, &done), "restore");
	expunge(JOE, trash, 7, 8);
}

/* Three pages of flags, twenty keywords, uids with holes. */
static void
make_inbox(void)
{
	char word[16];

	for (unsigned i = 0; i < 6; i++) {
		struct shelf_draft *d = letter(10 + i, 3 * i);

		append(JOE, 1, d, 100 + i, i == 2 ? SHELF_SEEN : i == 4 ? SHELF_FLAGGED | SHELF_DRAFT : 0,
		    i == 3 ? "$Forwarded" : NULL);
		shelf_draft_free(&d);
	}
	for (unsigned i = 0; i < 20; i++) {
		snprintf(word, sizeof word, "word-%u", i);
		flag(JOE, 1, 20 * i + 1, 25 * i + 2, 1u << (i % 5), word);
	}
	expunge(JOE, 1, 40, 49);
	expunge(JOE, 1, 255, 258);
	expunge(JOE, 1, 600, 600);
}

static void
make_mailboxes(uint32_t trash)
{
	char name[SHELF_MAILBOX_NAME_MAX + 1] = "";
	uint32_t sent = create(JOE, "Sent", SHELF_USE_SENT), old = create(JOE, "Old", 0);
	uint32_t from, to;

	copy(JOE, 1, sent, 1, 60, false);
	copy(JOE, 1, sent, 501, 510, true);
	flag(JOE, sent, 1, 5, SHELF_ANSWERED, NULL);
	copy(JOE, 1, old, 1, 3, false);
	must(shelf_mailbox_delete(store, JOE, shelf_span_str("Old")), "delete");
	append_letter(JOE, create(JOE, "Old", 0), 30, 1);
	create(JOE, "Archive/2025/\xc3\x9c" "n\xc3\xaf" "c\xc3\xb6" "de \xe6\x97\xa5\xe6\x9c\xac", SHELF_USE_ARCHIVE);
	must(shelf_mailbox_rename(store, JOE, shelf_span_str("Archive"), shelf_span_str("Stacks")), "rename");
	for (size_t i = 0; i < SHELF_MAILBOX_NAME_MAX; i++)
		name[i] = (char)('a' + i % 26);
	append_letter(JOE, create(JOE, name, 0), 31, 2);
	name[300] = '\0';
	append_letter(JOE, create(JOE, name, 0), 32, 2);
	must(shelf_mailbox_subscribe(store, JOE, shelf_span_str(name), true), "subscribe");
	must(shelf_mailbox_subscribe(store, JOE, shelf_span_str("Never/There"), true), "subscribe");
	must(shelf_mailbox_subscribe(store, JOE, shelf_span_str("INBOX"), true), "subscribe");
	must(shelf_mailbox_claim_recent(store, JOE, 1, &from, &to), "claim recent");
	append_letter(JOE, 1, 33, 4);
	append_letter(JOE, trash, 34, 4);
}

/* Who may see what, and notes beside mailboxes; Stacks with all below it was called Archive. */
static void
make_shared(uint32_t trash)
{
	const struct shelf_metadata notes[] = {
	    {shelf_span_str("/private/comment"), shelf_span_str("letters of the \xc3\xbc" "ber-uncle")},
	    {shelf_span_str("/shared/vendor/example/colour"), shelf_span("\0\xff", 2)}};
	const struct shelf_span ann = shelf_span_str("ann@example.org"), bob = shelf_span_str("-bob");

	must(shelf_acl_set(store, JOE, 1, ann, SHELF_ACL_SET, SHELF_RIGHT_LOOKUP | SHELF_RIGHT_READ), "rights");
	must(shelf_acl_set(store, JOE, trash, shelf_span_str("anyone"), SHELF_ACL_SET, SHELF_RIGHTS_ALL), "rights");
	must(shelf_acl_set(store, JOE, trash, bob, SHELF_ACL_SET, SHELF_RIGHT_EXPUNGE), "rights");
	must(shelf_metadata_set(store, JOE, 1, notes, 2, NULL), "metadata");
	must(shelf_metadata_set(store, JOE, 0, notes, 1, NULL), "metadata");
	copy(JOE, 1, trash, 601, 603, true); /* notes of where they went */
}

static int
raise_uidnext(struct kv_txn *txn, void *arg)
{
	struct shelf_buf name = {0};
	struct mail_mbox m;
	int rc = mail_mbox_get(kv_txn_view(txn), *(uint32_t *)arg, &m);

	if (rc == 0) {
		shelf_buf_add_span(&name, m.name);
		m.name = shelf_buf_span(&name);
		m.uidnext = 65536 - 10;
		rc = mail_mbox_put(txn, &m);
	}
	shelf_buf_free(&name);
	return rc;
}

/* Uids on both sides of 65,536: two rows of sums. */
static void
make_high_uids(void)
{
	uint32_t high = create(ANN, "High", 0);
	struct shelf_draft *d = letter(40, 2);

	must(kv_update(store->kv, ANN, 0, raise_uidnext, &high), "uidnext");
	append(ANN, high, d, 20, SHELF_SEEN, "$High");
	shelf_draft_free(&d);
	expunge(ANN, high, 65535, 65536);
}

static void
make_bodies(void)
{
	const struct shelf_delivery list[] = {{.account = JOE, .head = shelf_span_str("Delivered-To: joe\r\n")},
	    {.account = ANN, .mailbox = shelf_span_str("New/Box"), .head = shelf_span_str("Delivered-To: ann\r\n")},
	    {.account = ANN, .flags = SHELF_FLAGGED}, {.account = LONG}};
	uint8_t id[GOLDEN_IMPORTS][16], stored[GOLDEN_IMPORTS];
	struct shelf_append_result result[4];
	struct shelf_append item[GOLDEN_IMPORTS];
	struct shelf_draft *d = multipart();

	shelf_deliver(store, d, list, 4, result);
	for (unsigned i = 0; i < 3; i++)
		must(result[i].rc, "deliver");
	if (result[3].rc != SHELF_EQUOTA)
		support_fatal("a quota of one byte let a message in");
	shelf_draft_free(&d);
	tick(1);
	d = letter(50, 12000); /* three frames */
	append(ANN, 1, d, 1, 0, NULL);
	shelf_draft_free(&d);
	d = draft(shelf_span_str("\0a message\nwithout a header\r\n\xff\xfe"));
	append(ANN, 1, d, 1, 0, NULL);
	shelf_draft_free(&d);
	for (unsigned i = 0; i < GOLDEN_IMPORTS; i++) {
		item[i] = (struct shelf_append){.draft = letter(60 + i, 5), .internaldate_s = 1000000000 + i};
		golden_import_id(i, id[i]);
	}
	must(shelf_import_append(store, ANN, 1, item, (const uint8_t(*)[16])id, GOLDEN_IMPORTS, stored, result),
	    "import");
	for (unsigned i = 0; i < GOLDEN_IMPORTS; i++)
		shelf_draft_free(&item[i].draft);
	tick(1);
}

/* Mail compressed with a dictionary of its own partition, and mail without. */
static void
make_dictionary(void)
{
	const struct shelf_dict_params params = {.bytes = 1024, .sample = 60};
	uint32_t box = create(ANN, "Learning", 0);
	struct shelf_dict_report report;
	struct shelf_account ann;

	for (unsigned i = 0; i < LESSONS; i++)
		append_letter(ANN, box, 100 + i, 6);
	must(shelf_account_get(store, ANN, &ann), "account");
	must(shelf_dict_train(store, ann.partition, &params, &report), "dictionary");
	if (report.kind[SHELF_DICT_BODY].id == 0)
		support_fatal("too little mail for a dictionary");
	for (unsigned i = 0; i < 5; i++)
		append_letter(ANN, box, 100 + LESSONS + i, 6);
}

static int
stage(struct kv_txn *txn, void *arg)
{
	static const char chunk[] = "the first chunk of a blob that nobody ever links";
	static const struct shelf_span next_blob = {(const uint8_t *)"next-blob", 9};
	struct shelf_span value;
	uint8_t bytes[8], job[9] = {'S'}, key[12] = {0};
	uint64_t blob;
	int rc = kv_get(kv_txn_view(txn), KV_META, next_blob, &value);

	if (rc != 0 || value.len != 8)
		return rc != 0 ? rc : SHELF_ECORRUPT;
	blob = base_get_be64(value.data);
	base_put_be64(bytes, blob + 1);
	if ((rc = kv_put(txn, KV_META, next_blob, shelf_span(bytes, 8))) != 0)
		return rc;
	base_put_be64(bytes, (uint64_t)now_s);
	base_put_be64(job + 1, blob);
	base_put_be64(key, blob);
	if ((rc = kv_put(txn, KV_JOB, shelf_span(job, sizeof job), shelf_span(bytes, 8))) != 0)
		return rc;
	return kv_put(txn, KV_CHUNK, shelf_span(key, sizeof key), shelf_span(chunk, sizeof chunk));
}

/* What a process leaves that dies between staging a large body and linking it; an account that is
 * deleted and not yet cleared. */
static void
make_work_left(void)
{
	must(kv_update_shard(store->kv, 0, 0, stage, NULL), "stage");
	append_letter(EVE, 1, 70, 6);
	append_letter(EVE, create(EVE, "Secrets", 0), 71, 6);
	expunge(EVE, 1, 1, 1);
	must(shelf_account_delete(store, EVE), "account delete");
}

static void
make(const char *dir)
{
	const struct shelf_store_params params = {.partitions = 2, .map_bytes = 16 << 20, .reserve_bytes = 1 << 20};
	uint32_t trash;

	store_dir = dir;
	must(shelf_store_create(dir, &params), "create");
	open_with_hold(HOLD_LONG_S);
	make_accounts();
	trash = create(JOE, "Trash", SHELF_USE_TRASH);
	make_removed(trash);
	make_inbox();
	make_mailboxes(trash);
	make_high_uids();
	make_shared(trash);
	make_bodies();
	make_dictionary();
	make_work_left();
	shelf_store_close(&store);
}

static void
list(const char *dir)
{
	struct shelf_buf text = {0};

	must(shelf_store_open(dir, 0, &store), "open");
	must(golden_list(store, &text), "list");
	shelf_store_close(&store);
	fwrite(text.data, 1, text.len, stdout);
	shelf_buf_free(&text);
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "make") == 0)
		make(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "list") == 0)
		list(argv[2]);
	else
		support_fatal("usage: golden make|list STORE");
	return fflush(stdout) == 0 ? 0 : 1;
}
