/* test_tool_import.c - the pipeline into a real store: order, marks, limits, export and back */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include "tool_export.h"
#include "tool_intake.h"
#include "tool_rig.h"

static struct tool_rig *r;
static struct shelf_store *store;
static char store_dir[128];

/* Checked: LMDB must not cross fork(). */
static void
setup(void)
{
	struct shelf_store_params params = {.partitions = 1, .map_bytes = 256 << 20, .reserve_bytes = 1 << 20};
	struct shelf_account_new joe = {.name = shelf_span_str("joe")};

	r = tool_rig();
	snprintf(store_dir, sizeof store_dir, "%s/store", r->dir);
	ck_assert_int_eq(shelf_store_create(store_dir, &params), 0);
	ck_assert_int_eq(shelf_store_open(store_dir, 0, &store), 0);
	ck_assert_int_eq(shelf_account_add(store, &joe, 1, NULL, NULL), 0);
	/* Summaries and complaints are not of interest. */
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stdout));
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
}

static void
teardown(void)
{
	shelf_store_close(&store);
	tool_rig_end(r);
}

/* A verb as main would run it, on the open store's directory: closes and opens again around it. */
static int
run(tool_run_fn *fn, const char *words)
{
	static const struct tool_verb verb = {"test", NULL, "", "", ""};
	char buf[512], *argv[16], *save = NULL;
	struct tool t = {.verb = &verb, .store_dir = store_dir, .argv = argv};
	int rc;

	snprintf(buf, sizeof buf, "%s", words);
	for (char *p = strtok_r(buf, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save))
		argv[t.argc++] = p;
	shelf_store_close(&store);
	rc = fn(&t);
	shelf_store_close(&t.store);
	ck_assert_int_eq(shelf_store_open(store_dir, 0, &store), 0);
	return rc;
}

static struct shelf_mailbox
mailbox(const char *name)
{
	struct shelf_mailbox m = {0};
	struct shelf_rd *rd = NULL;
	struct shelf_account a;

	ck_assert_int_eq(shelf_account_find(store, shelf_span_str("joe"), &a), 0);
	ck_assert_int_eq(shelf_rd_begin(store, a.id, &rd), 0);
	if (shelf_mailbox_find(rd, shelf_span_str(name), &m) != 0)
		m.id = 0;
	shelf_rd_end(&rd);
	m.name = shelf_span(NULL, 0);
	return m;
}

/* N messages numbered in their bodies; every tenth is the same as the first. */
static void
make_mbox(const char *name, unsigned n, size_t body)
{
	struct shelf_buf b = {0};

	for (unsigned i = 0; i < n; i++) {
		shelf_buf_printf(&b, "From a@example.org Mon Jan  5 10:%02u:%02u 2026\n", i / 60 % 60, i % 60);
		shelf_buf_printf(&b, "Subject: %u\nStatus: RO\n\nbody\n", i % 10 == 0 ? 0 : i);
		for (size_t k = 0; k < body; k++)
			shelf_buf_add_byte(&b, k % 70 == 69 ? '\n' : (uint8_t)('a' + (k * 7 + i) % 26));
		shelf_buf_add_str(&b, "\n\n");
	}
	tool_rig_file(r, name, b.data, b.len);
	shelf_buf_free(&b);
}

static int
import(const char *name, const char *more)
{
	char words[512];

	snprintf(words, sizeof words, "joe %s/%s %s", r->dir, name, more);
	return run(tool_import, words);
}

START_TEST(a_second_run_stores_nothing)
{
	make_mbox("m", 500, 10);
	ck_assert_int_eq(import("m", "--dry-run"), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 0);
	ck_assert_int_eq(import("m", ""), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 500);
	ck_assert_uint_eq(mailbox("INBOX").unseen, 0);
	ck_assert_int_eq(import("m", ""), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 500);
	/* More of the same source: only what is new. */
	make_mbox("m", 600, 10);
	ck_assert_int_eq(import("m", ""), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 600);
	ck_assert_int_eq(import("m", "--mailbox other"), EX_OK);
	ck_assert_uint_eq(mailbox("other").exists, 600);
}
END_TEST

START_TEST(a_removed_mailbox_can_be_filled_again)
{
	make_mbox("m", 20, 10);
	ck_assert_int_eq(import("m", "--mailbox box"), EX_OK);
	ck_assert_int_eq(run(tool_mailbox_delete, "joe box"), EX_OK);
	ck_assert_int_eq(import("m", "--mailbox box"), EX_OK);
	ck_assert_uint_eq(mailbox("box").exists, 20);
}
END_TEST

/* Read back by export, through the same reader: the order and the bytes of the source. */
START_TEST(there_and_back)
{
	static const char *const formats[] = {"mbox", "maildir", "eml"};
	static struct tool_rig_message source[600];
	char words[300];
	size_t n;

	make_mbox("m", 300, 3000);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	n = r->n;
	memcpy(source, r->messages, n * sizeof *source);
	ck_assert_int_eq(import("m", "--mailbox a/b.mbox"), EX_OK);
	snprintf(words, sizeof words, "joe %s/out --format %s", r->dir, formats[_i]);
	ck_assert_int_eq(run(tool_export, words), EX_OK);
	/* A directory with files in it is not taken. */
	ck_assert_int_eq(run(tool_export, words), EX_CANTCREAT);
	r->n = 0;
	ck_assert_int_eq(tool_rig_run(r, "out", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, n);
	for (size_t i = 0; i < n; i++) {
		ck_assert(tool_rig_is(r, i, source[i].bytes, source[i].len));
		ck_assert_int_eq(r->messages[i].date_s, source[i].date_s);
		free(source[i].bytes);
	}
}
END_TEST

/* Without INBOX the root of a Maildir++ is empty, but has to be a Maildir. */
START_TEST(one_mailbox_there_and_back)
{
	char words[300];

	make_mbox("m", 5, 10);
	ck_assert_int_eq(import("m", "--mailbox a/b"), EX_OK);
	snprintf(words, sizeof words, "joe %s/out --format maildir --mailbox a/b", r->dir);
	ck_assert_int_eq(run(tool_export, words), EX_OK);
	ck_assert_int_eq(import("out", "--mailbox new"), EX_OK);
	ck_assert_uint_eq(mailbox("new/a/b").exists, 5);
	ck_assert_uint_eq(mailbox("new").exists, 0);
}
END_TEST

START_TEST(one_larger_than_what_is_held)
{
	make_mbox("m", 3, 5 << 20);
	ck_assert_int_eq(import("m", ""), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 3);
	ck_assert_uint_gt(mailbox("INBOX").bytes, 15 << 20);
	ck_assert_int_eq(import("m", ""), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 3);
}
END_TEST

START_TEST(a_full_account_stops_at_its_limit)
{
	make_mbox("m", 200, 10);
	ck_assert_int_eq(run(tool_quota_set, "joe --messages 150"), EX_OK);
	ck_assert_int_eq(import("m", ""), EX_CANTCREAT);
	ck_assert_uint_eq(mailbox("INBOX").exists, 150);
	ck_assert_int_eq(run(tool_quota_set, "joe --messages none"), EX_OK);
	ck_assert_int_eq(import("m", ""), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 200);
	ck_assert_int_eq(run(tool_quota_check, "joe"), EX_OK);
}
END_TEST

START_TEST(too_many_keywords_lose_keywords_not_mail)
{
	struct shelf_buf b = {0};

	for (unsigned i = 0; i < 300; i++)
		shelf_buf_printf(&b, "From a@example.org Mon Jan  5 10:00:00 2026\nSubject: %u\n"
		                     "X-Keywords: word%u\n\nx\n\n", i, i);
	tool_rig_file(r, "m", b.data, b.len);
	shelf_buf_free(&b);
	ck_assert_int_eq(import("m", ""), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 300);
}
END_TEST

START_TEST(what_is_wrong_with_the_source)
{
	tool_rig_file(r, "bad", "\x1f\x8b\x08", 3);
	tool_rig_file(r, "text", "no mail", 7);
	tool_rig_file(r, "m", "junk\n\nFrom a@example.org Mon Jan  5 10:00:00 2026\nS: 1\n\nx\n", 58);
	ck_assert_int_eq(import("none", ""), EX_NOINPUT);
	ck_assert_int_eq(import("bad", ""), EX_DATAERR);
	ck_assert_int_eq(import("text", ""), EX_DATAERR);
	ck_assert_int_eq(import("m", "--format mbox"), EX_DATAERR);
	ck_assert_uint_eq(mailbox("INBOX").exists, 1);
	ck_assert_int_eq(import("m", "--format zip"), EX_USAGE);
	ck_assert_int_eq(import("m", "--mailbox a//b"), EX_USAGE);
	ck_assert_int_eq(run(tool_import, "nobody /tmp"), EX_NOUSER);
}
END_TEST

static int
deliver(const char *file, const char *words)
{
	char path[300];
	int fd;

	snprintf(path, sizeof path, "%s/%s", r->dir, file);
	fd = open(path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	close(fd);
	return run(tool_deliver, words);
}

START_TEST(delivery_and_its_refusals)
{
	tool_rig_file(r, "m", "From a@example.org Mon Jan  5 10:00:00 2026\nSubject: x\n\ny\n", 58);
	tool_rig_file(r, "none", "", 0);
	ck_assert_int_eq(deliver("m", "joe"), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 1);
	/* The separator is not mail, and lines end with CRLF. */
	ck_assert_uint_eq(mailbox("INBOX").bytes, strlen("Subject: x\r\n\r\ny\r\n"));
	ck_assert_int_eq(deliver("m", "joe --mailbox lists/a"), EX_OK);
	ck_assert_uint_eq(mailbox("lists/a").exists, 1);
	ck_assert_int_eq(deliver("none", "joe"), EX_DATAERR);
	ck_assert_int_eq(deliver("m", "nobody"), EX_NOUSER);
	ck_assert_int_eq(deliver("m", ""), EX_USAGE);
	ck_assert_int_eq(run(tool_quota_set, "joe 40"), EX_OK);
	ck_assert_int_eq(deliver("m", "joe"), EX_CANTCREAT);
	ck_assert_int_eq(run(tool_quota_set, "joe none"), EX_OK);
	ck_assert_int_eq(run(tool_account_set, "joe --delivery off"), EX_OK);
	ck_assert_int_eq(deliver("m", "joe"), EX_NOPERM);
	snprintf(store_dir + strlen(store_dir), 2, "x");
	shelf_store_close(&store);
	{
		static const struct tool_verb verb = {"test", NULL, "", "", ""};
		char joe[] = "joe", *argv[] = {joe, NULL};
		struct tool t = {.verb = &verb, .store_dir = store_dir, .argc = 1, .argv = argv};

		ck_assert_int_eq(tool_deliver(&t), EX_TEMPFAIL);
	}
}
END_TEST

/* As an MTA calls it: addresses, aliases, extensions, the sender, settings of the daemon. */
START_TEST(delivery_for_a_mail_server)
{
	char words[600];
	struct shelf_span two[2] = {shelf_span_str("joe"), shelf_span_str("ann")};

	tool_rig_file(r, "m", "Subject: x\n\ny\n", 14);
	snprintf(words, sizeof words, "local_domains = example.org\nextension_mailbox = yes\n");
	tool_rig_file(r, "conf", words, strlen(words));
	ck_assert_int_eq(run(tool_mailbox_create, "joe lists"), EX_OK);
	snprintf(words, sizeof words, "-c %s/conf -f a@example.net joe+lists@Example.ORG", r->dir);
	ck_assert_int_eq(deliver("m", words), EX_OK);
	ck_assert_uint_eq(mailbox("lists").exists, 1);
	ck_assert_uint_eq(mailbox("lists").bytes, strlen("Return-Path: <a@example.net>\r\n"
	    "Delivered-To: joe+lists@Example.ORG\r\nSubject: x\r\n\r\ny\r\n"));
	/* No such mailbox: INBOX, none is made. */
	snprintf(words, sizeof words, "-c %s/conf -f <> joe+other@example.org", r->dir);
	ck_assert_int_eq(deliver("m", words), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 1);
	ck_assert_uint_eq(mailbox("INBOX").bytes, strlen("Return-Path: <>\r\nDelivered-To: joe+other@example.org\r\n"
	    "Subject: x\r\n\r\ny\r\n"));
	/* Both from the environment. */
	ck_assert_int_eq(setenv("RECIPIENT", "joe", 1) | setenv("SENDER", "MAILER-DAEMON", 1), 0);
	ck_assert_int_eq(deliver("m", "-m env"), EX_OK);
	ck_assert_uint_eq(mailbox("env").bytes,
	    strlen("Return-Path: <>\r\nDelivered-To: joe\r\nSubject: x\r\n\r\ny\r\n"));
	ck_assert_int_eq(unsetenv("RECIPIENT") | unsetenv("SENDER"), 0);
	ck_assert_int_eq(deliver("m", "-m env"), EX_USAGE);
	snprintf(words, sizeof words, "-c %s/conf joe@example.com", r->dir);
	ck_assert_int_eq(deliver("m", words), EX_NOUSER);
	ck_assert_int_eq(deliver("m", "@example.org"), EX_NOUSER);
	ck_assert_int_eq(deliver("m", "-c /nonexistent joe"), EX_TEMPFAIL);
	ck_assert_int_eq(deliver("m", "-f a<b> joe"), EX_USAGE);
	ck_assert_int_eq(deliver("m", "-x joe"), EX_USAGE);
	ck_assert_int_eq(deliver("m", "joe ann"), EX_USAGE);
	/* A full box: for good, for now; behind an alias the others have it, once. */
	ck_assert_int_eq(run(tool_account_add, "ann --quota 10"), EX_OK);
	ck_assert_int_eq(deliver("m", "ann"), EX_CANTCREAT);
	ck_assert_int_eq(shelf_alias_set(store, shelf_span_str("both"), two, 2), 0);
	ck_assert_int_eq(deliver("m", "both"), EX_CANTCREAT);
	ck_assert_uint_eq(mailbox("INBOX").exists, 2);
	ck_assert_int_eq(run(tool_policy_set, "ann over_quota defer"), EX_OK);
	ck_assert_int_eq(deliver("m", "ann"), EX_TEMPFAIL);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(deliver("m", "both"), EX_TEMPFAIL);
		ck_assert_uint_eq(mailbox("INBOX").exists, 3);
	}
	ck_assert_int_eq(run(tool_quota_set, "ann none"), EX_OK);
	ck_assert_int_eq(deliver("m", "both"), EX_OK);
	ck_assert_uint_eq(mailbox("INBOX").exists, 3);
}
END_TEST

/* Pieces of any size give what the whole gives; what comes back is what went in. */
START_TEST(conversion_comes_back)
{
	static const char *const bits[] = {"From ", ">", "\r\n", "\r", "x", "F", "Fro", "\r\r\n", " "};
	unsigned seed = 31 + (unsigned)_i;

	for (int round = 0; round < 100; round++) {
		struct export_writer w = {.line_start = true}, v = {.line_start = true};
		struct shelf_buf in = {0}, whole = {0}, pieces = {0}, file = {0};

		shelf_buf_add_str(&in, "S: 1\r\n\r\n");
		for (int i = rand_r(&seed) % 40; i > 0; i--)
			shelf_buf_add_str(&in, bits[(size_t)rand_r(&seed) % (sizeof bits / sizeof *bits)]);
		shelf_buf_add_str(&in, "\r\n");
		export_convert(&w, shelf_buf_span(&in), true, true, &whole);
		for (size_t at = 0; at < in.len; at++)
			export_convert(&v, shelf_span(in.data + at, 1), true, at + 1 == in.len, &pieces);
		ck_assert(shelf_span_eq(shelf_buf_span(&whole), shelf_buf_span(&pieces)));
		shelf_buf_add_str(&file, "From a@example.org Mon Jan  5 10:00:00 2026\n");
		shelf_buf_add_span(&file, shelf_buf_span(&whole));
		shelf_buf_add_str(&file, "\n");
		tool_rig_file(r, "m", file.data, file.len);
		ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_MBOXRD), 0);
		ck_assert_uint_eq(r->n, 1);
		ck_assert(tool_rig_is(r, 0, in.data, in.len));
		tool_rig_clear(r);
		shelf_buf_free(&in);
		shelf_buf_free(&whole);
		shelf_buf_free(&pieces);
		shelf_buf_free(&file);
	}
}
END_TEST

/* ---- Unique-ids of another server -------------------------------------------------------------- */

/* "uid=text " of all in INBOX that brought one. */
static const char *
uidls(void)
{
	static char out[1000];
	char text[SHELF_UIDL_MAX + 1];
	struct shelf_rd *rd = NULL;
	struct shelf_account a;
	uint32_t uid = 0, box = mailbox("INBOX").id;
	size_t len = 0;

	out[0] = '\0';
	ck_assert_int_eq(shelf_account_find(store, shelf_span_str("joe"), &a), 0);
	ck_assert_int_eq(shelf_rd_begin(store, a.id, &rd), 0);
	while (shelf_uidl_next(rd, box, uid + 1, &uid, text) == 1)
		len += (size_t)snprintf(out + len, sizeof out - len, "%u=%s ", uid, text);
	shelf_rd_end(&rd);
	return out;
}

static void
write_file(const char *name, const char *text)
{
	tool_rig_file(r, name, text, strlen(text));
}

/* Field P, or made of uid and uidvalidity; a message without a line, a line without a message. */
START_TEST(unique_ids_of_a_maildir)
{
	write_file("md/new/4.d.host", "Subject: 4\n\n");
	write_file("md/cur/1.a.host:2,S", "Subject: 1\n\n");
	write_file("md/cur/2.b.host,S=12:2,", "Subject: 2\n\n");
	write_file("md/cur/3.c.host:2,F", "Subject: 3\n\n");
	write_file("md/dovecot-uidlist", "3 V1275660208 N12 G3085f01b7f11094c501100008c4a11c1\n"
	    "9 W13 S12 PUID9-1275660208 :1.a.host\n10 :2.b.host,S=12\n11 Pdouble :gone.host\n"
	    "12 PUID9-1275660208 :4.d.host\n");
	ck_assert_int_eq(import("md", "--mailbox plain"), EX_OK);
	ck_assert_int_eq(import("md", "--uidl dovecot --dry-run"), EX_OK);
	ck_assert_int_eq(import("md", "--uidl dovecot"), EX_OK);
	/* The fourth has one that another has: it is there, under a new one. */
	ck_assert_uint_eq(mailbox("INBOX").exists, 4);
	ck_assert_str_eq(uidls(), "1=UID9-1275660208 2=0000000a4c0907b0 ");
	ck_assert_int_eq(import("md", "--uidl dovecot"), EX_OK);
	ck_assert_str_eq(uidls(), "1=UID9-1275660208 2=0000000a4c0907b0 ");
}
END_TEST

static const char *
uids_and_subjects(const char *name)
{
	static char out[500];
	const struct shelf_mailbox m = mailbox(name);
	struct shelf_account a;
	struct shelf_rd *rd;
	size_t len = (size_t)snprintf(out, sizeof out, "%u:", m.uidvalidity);
	struct shelf_msg msg;

	ck_assert_int_eq(shelf_account_find(store, shelf_span_str("joe"), &a), 0);
	ck_assert_int_eq(shelf_rd_begin(store, a.id, &rd), 0);
	for (uint32_t uid = 1; uid < m.uidnext; uid++)
		if (shelf_msg_get(rd, m.id, uid, &msg) == 0)
			len += (size_t)snprintf(out + len, sizeof out - len, " %u=%lld", uid, (long long)msg.size);
	shelf_rd_end(&rd);
	return out;
}

/* In the order of uids and not of names; one without a line comes last, and so does what is new the next time. */
START_TEST(uids_of_a_maildir)
{
	write_file("md/new/4.d.host", "Subject: 4444\n\n");
	write_file("md/cur/1.a.host:2,S", "Subject: 1\n\n");
	write_file("md/cur/2.b.host:2,", "Subject: 22\n\n");
	write_file("md/cur/3.c.host:2,F", "Subject: 333\n\n");
	write_file("md/dovecot-uidlist", "3 V1275660208 N13\n9 :2.b.host\n10 :1.a.host\n12 :4.d.host\n");
	write_file("md/.sub/cur/1.a.host:2,", "Subject: 1\n\n");
	write_file("md/.sub/new/.keep", "");
	write_file("md/.sub/dovecot-uidlist", "3 V1275660208 N3\n2 :1.a.host\n");
	ck_assert_int_eq(import("md", "--keep-uids --dry-run"), EX_OK);
	ck_assert_int_eq(import("md", "--keep-uids"), EX_OK);
	ck_assert_str_eq(uids_and_subjects("INBOX"), "1275660208: 9=15 10=14 12=17 13=16");
	/* Another one has it. */
	ck_assert_uint_ne(mailbox("sub").uidvalidity, 1275660208);
	ck_assert_uint_eq(mailbox("sub").exists, 1);
	write_file("md/cur/5.e.host:2,", "Subject: 55555\n\n");
	write_file("md/dovecot-uidlist", "3 V1275660208 N23\n9 :2.b.host\n10 :1.a.host\n12 :4.d.host\n22 :5.e.host\n");
	ck_assert_int_eq(import("md", "--keep-uids"), EX_OK);
	ck_assert_str_eq(uids_and_subjects("INBOX"), "1275660208: 9=15 10=14 12=17 13=16 22=18");
	/* Where mail is already they are new. */
	ck_assert_int_eq(import("md", "--mailbox old"), EX_OK);
	write_file("md/dovecot-uidlist", "3 V1275660209 N23\n9 :2.b.host\n");
	ck_assert_int_eq(import("md", "--mailbox old --keep-uids"), EX_OK);
	ck_assert_uint_ne(mailbox("old").uidvalidity, 1275660209);
	ck_assert_uint_eq(mailbox("old").exists, 5);
}
END_TEST

/* Imported without, then once more with: those that are where they were put get theirs, and nothing else changes. */
START_TEST(unique_ids_come_later)
{
	struct shelf_uidset *gone = shelf_uidset_new();
	struct shelf_account a;

	write_file("md/new/.keep", "");
	write_file("md/cur/1.a.host:2,S", "Subject: 1\n\n");
	write_file("md/cur/2.b.host:2,S", "Subject: 2\n\n");
	write_file("md/cur/3.c.host:2,S", "Subject: 3\n\n");
	write_file("md/cur/4.d.host:2,S", "Subject: 4\n\n");
	ck_assert_int_eq(import("md", ""), EX_OK);
	ck_assert_str_eq(uidls(), "");
	ck_assert_int_eq(shelf_account_find(store, shelf_span_str("joe"), &a), 0);
	ck_assert_int_eq(shelf_uidl_set(store, a.id, mailbox("INBOX").id, 2, shelf_span_str("mine")), 0);
	shelf_uidset_add(gone, 3);
	ck_assert_int_eq(shelf_msg_expunge(store, a.id, mailbox("INBOX").id, gone, 0, NULL), 0);
	shelf_uidset_free(&gone);
	write_file("md/dovecot-uidlist", "3 V1275660208 N12\n9 Pone :1.a.host\n10 Ptwo :2.b.host\n11 Pthree :3.c.host\n"
	    "12 Pmine :4.d.host\n");
	ck_assert_int_eq(import("md", "--uidl dovecot --dry-run"), EX_OK);
	ck_assert_str_eq(uidls(), "2=mine ");
	ck_assert_int_eq(import("md", "--uidl dovecot"), EX_OK);
	ck_assert_str_eq(uidls(), "1=one 2=mine ");
	ck_assert_uint_eq(mailbox("INBOX").exists, 3);
	ck_assert_int_eq(import("md", "--uidl dovecot"), EX_OK);
	ck_assert_str_eq(uidls(), "1=one 2=mine ");
}
END_TEST

START_TEST(a_bad_uidlist_is_told)
{
	write_file("md/new/.keep", "");
	write_file("md/cur/1.a.host:2,S", "Subject: 1\n\n");
	write_file("md/cur/2.b.host:2,S", "Subject: 2\n\n");
	write_file("md/dovecot-uidlist", "3 V1275660208 N12\n9 Pone :1.a.host\nrubbish\n10 Ptwo :2.b.host\n");
	/* The mail is in, and what could be read; something was left out. */
	ck_assert_int_eq(import("md", "--uidl dovecot"), EX_DATAERR);
	ck_assert_str_eq(uidls(), "1=one 2=two ");
	write_file("old/new/.keep", "");
	write_file("old/cur/1.a.host:2,S", "Subject: old\n\n");
	write_file("old/dovecot-uidlist", "1 1275660208 12\n9 1.a.host\n");
	ck_assert_int_eq(import("old", "--uidl dovecot"), EX_DATAERR);
	ck_assert_str_eq(uidls(), "1=one 2=two ");
	ck_assert_uint_eq(mailbox("INBOX").exists, 3);
}
END_TEST

START_TEST(unique_ids_of_headers_and_lists)
{
	char more[300];

	write_file("m", "From a@example.org Mon Jan  5 10:00:00 2026\nSubject: 1\nX-UIDL:  \"!oI#!abc \n\nx\n\n"
	    "From a@example.org Mon Jan  5 10:00:00 2026\nSubject: 2\nX-UIDL: two words\n\nx\n\n"
	    "From a@example.org Mon Jan  5 10:00:00 2026\nSubject: 3\nMessage-ID:\n <3@example.org>\n\nx\n");
	ck_assert_int_eq(import("m", "--uidl header"), EX_OK);
	ck_assert_str_eq(uidls(), "1=\"!oI#!abc ");
	write_file("list", "# from the old server\nthree <3@example.org>\r\n\n  four\t<4@example.org>\n");
	write_file("n", "From a@example.org Mon Jan  5 10:00:00 2026\nMessage-ID: <4@example.org>\n\nx\n\n"
	    "From a@example.org Mon Jan  5 10:00:00 2026\nMessage-ID: <5@example.org>\n\nx\n");
	snprintf(more, sizeof more, "--uidl %s/list", r->dir);
	ck_assert_int_eq(import("n", more), EX_OK);
	ck_assert_str_eq(uidls(), "1=\"!oI#!abc 4=four ");
}
END_TEST

static const struct {
	const char *text, *why;
} lists[] = {
    {"one <1@x>\ntwo\n", "list:2: not \"UNIQUE-ID MESSAGE-ID\""},
    {"one <1@x> more\n", "list:1: not \"UNIQUE-ID MESSAGE-ID\""},
    {"\n\n\xc3\xa4 <1@x>\n", "list:3: not \"UNIQUE-ID MESSAGE-ID\""},
    {"one <1@x>\ntwo <1@x>\n", "list: Message-ID <1@x> stands there twice"},
};

/* File and line, and nothing is taken in. */
START_TEST(bad_lists_are_refused)
{
	struct source_uidls list = {0};
	char path[300], why[400];

	write_file("list", lists[_i].text);
	snprintf(path, sizeof path, "%s/list", r->dir);
	ck_assert(!source_uidls_file(&list, path, why, sizeof why));
	ck_assert_str_eq(why + strlen(r->dir) + 1, lists[_i].why);
	source_uidls_free(&list);
	make_mbox("m", 3, 10);
	snprintf(why, sizeof why, "--uidl %s", path);
	ck_assert_int_eq(import("m", why), EX_DATAERR);
	ck_assert_int_eq(import("m", "--uidl /nowhere/list"), EX_DATAERR);
	ck_assert_uint_eq(mailbox("INBOX").exists, 0);
}
END_TEST

START_TEST(names_seen_are_counted)
{
	struct intake_seen seen = {0};
	uint8_t name[16] = {0};

	for (uint64_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 20000; i++) {
			memcpy(name, &i, sizeof i);
			ck_assert_uint_eq(intake_seen_add(&seen, name), round);
		}
	}
	ck_assert_uint_eq(seen.used, 20000);
	intake_seen_free(&seen);
}
END_TEST

Suite *suite_tool_import(void);
Suite *
suite_tool_import(void)
{
	Suite *s = suite_create("tool_import");
	TCase *tc = tcase_create("import");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_second_run_stores_nothing);
	tcase_add_test(tc, a_removed_mailbox_can_be_filled_again);
	tcase_add_loop_test(tc, there_and_back, 0, 3);
	tcase_add_test(tc, one_mailbox_there_and_back);
	tcase_add_test(tc, one_larger_than_what_is_held);
	tcase_add_test(tc, a_full_account_stops_at_its_limit);
	tcase_add_test(tc, too_many_keywords_lose_keywords_not_mail);
	tcase_add_test(tc, what_is_wrong_with_the_source);
	tcase_add_test(tc, delivery_and_its_refusals);
	tcase_add_test(tc, delivery_for_a_mail_server);
	tcase_add_loop_test(tc, conversion_comes_back, 0, 4);
	tcase_add_test(tc, unique_ids_of_a_maildir);
	tcase_add_test(tc, uids_of_a_maildir);
	tcase_add_test(tc, unique_ids_come_later);
	tcase_add_test(tc, a_bad_uidlist_is_told);
	tcase_add_test(tc, unique_ids_of_headers_and_lists);
	tcase_add_loop_test(tc, bad_lists_are_refused, 0, sizeof lists / sizeof *lists);
	tcase_add_test(tc, names_seen_are_counted);
	suite_add_tcase(s, tc);
	return s;
}
