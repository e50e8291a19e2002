/* test_warn.c - the messages that warn, the programs that are run, the thread that does both */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "store_rig.h"
#include "support.h"
#include "warn.h"

#include <mailshelf/policy.h>
#include <mailshelf/pop3.h>

enum { WAIT_MS = 20000 };

static struct rig r;
static const struct shelf_warning joe = {.account = 7, .name = "joe@example.org", .level = 1, .threshold = 80,
    .percent = 83,
    .quota = {.used_bytes = 83 << 20, .limit_bytes = 100 << 20, .used_messages = 5, .limit_messages = 0}};

static const struct warn_left nothing = {.days = 30}, some = {.days = 14, .messages = 12, .bytes = 3 << 20};

/* ---- The message --------------------------------------------------------------------------------- */

START_TEST(the_default_text)
{
	struct shelf_buf b = {0};
	struct shelf_warning local = joe;

	ck_assert(warn_text_make(&joe, &nothing, shelf_span(NULL, 0), "mx.example.org", &b));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "Subject: Your mailbox is 83% full\r\n"));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "\r\nTo: <joe@example.org>\r\n"));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "\r\nAuto-Submitted: auto-generated\r\n"));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "\r\n\r\nYour mailbox joe@example.org is 83% full:\r\n"));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "\r\n    83 MiB of 100 MiB\r\n\r\n"));
	for (size_t i = 0; i < b.len; i++)
		ck_assert(b.data[i] != '\n' || (i > 0 && b.data[i - 1] == '\r'));
	shelf_buf_clear(&b);
	strcpy(local.name, "joe");
	local.quota.limit_messages = 6;
	ck_assert(warn_text_make(&local, &nothing, shelf_span(NULL, 0), "mx.example.org", &b));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "\r\nTo: <joe@mx.example.org>\r\n"));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "\r\n    5 of 6 messages\r\n"));
	ck_assert_ptr_null(strstr(shelf_buf_cstr(&b), "POP3"));
	shelf_buf_clear(&b);
	ck_assert(warn_text_make(&joe, &some, shelf_span(NULL, 0), "mx", &b));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "\r\n12 messages (3"));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&b), "MiB) were fetched by POP3 more than 14 days ago"));
	shelf_buf_free(&b);
}
END_TEST

START_TEST(a_template)
{
	static const struct {
		const char *template, *with; /* NULL: refused */
	} rows[] = {
		{"Subject: x %{percent} %{threshold} %{level}\n\n%{messages}\n",
		 "Subject: x 83 80 1\r\n"},
		{"Subject: x\n\n%{messages} %{used} %{limit} %{nothing} 5% %{account",
		 "\r\n\r\n5 83 MiB 100 MiB %{nothing} 5% %{account\r\n"},
		{"subject: x\r\nFrom: me@example.org\r\n more\r\n\r\nhi\r\n",
		 "subject: x\r\nFrom: me@example.org\r\n more\r\nTo: "},
		{"Subject: x\n", "Auto-Submitted: auto-generated\r\n\r\n"},
		{"Subject: Postfach f\xc3\xbcr %{account}\n\nf\xc3\xbcr\n",
		 "Subject: =?utf-8?B?UG9zdGZhY2ggZsO8ciBqb2VAZXhhbXBsZS5vcmc=?=\r\n"},
		{"no field\n\nhi\n", NULL},
		{" Subject: x\n\nhi\n", NULL},
		{"From: x\n\nSubject: y\n", NULL},
		{"\nSubject: y\n", NULL},
		{"Subject: \xff\n\nhi\n", NULL},
	};
	struct shelf_buf b = {0};
	bool ok = warn_text_make(&joe, &nothing, shelf_span_str(rows[_i].template), "mx", &b);

	ck_assert_int_eq(ok, rows[_i].with != NULL);
	if (ok)
		ck_assert_msg(strstr(shelf_buf_cstr(&b), rows[_i].with) != NULL, "%s", (const char *)b.data);
	shelf_buf_free(&b);
}
END_TEST

START_TEST(what_pop3_left)
{
	struct shelf_uidset *set = rig_set(2, 4);
	struct shelf_pop3_note note = {.fetched = set, .fetched_s = shelf_now_s() - 20 * 86400};
	struct shelf_quota q;
	struct warn_left left;

	rig_open(&r, NULL);
	rig_fill(&r, r.joe, r.inbox, 6);
	q = rig_quota(&r, r.joe);
	ck_assert_int_eq(shelf_pop3_note(r.store, r.joe, r.inbox, &note), 0);
	ck_assert_int_eq(warn_left_count(r.store, r.joe, 14, &left), 0);
	ck_assert_uint_eq(left.messages, 3);
	ck_assert_uint_eq(left.bytes, q.used_bytes / 2);
	ck_assert_int_eq(warn_left_count(r.store, r.joe, 30, &left), 0);
	ck_assert_uint_eq(left.messages, 0);
	ck_assert_int_eq(warn_left_count(r.store, r.ann, 1, &left), 0);
	ck_assert_uint_eq(left.messages, 0);
	shelf_uidset_free(&set);
	rig_close(&r);
}
END_TEST

/* ---- Programs ------------------------------------------------------------------------------------ */

static char script[4200];

static void
write_file(const char *name, const char *text, mode_t mode)
{
	FILE *f;

	snprintf(script, sizeof(script), "%s/%s", r.dir, name);
	f = fopen(script, "w");
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(script, mode), 0);
}

static struct shelf_buf said;

static const char *
read_out(void)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/out", r.dir);
	shelf_buf_clear(&said);
	if (access(path, R_OK) == 0)
		support_read_file(path, &said);
	return shelf_buf_cstr(&said);
}

static void
count(void *arg, const struct shelf_warning *w)
{
	ck_assert_str_eq(w->name, joe.name);
	++*(unsigned *)arg;
}

static unsigned
wait_ended(struct warn_hooks *h)
{
	unsigned ended = 0;

	for (int ms = 0; ms < WAIT_MS && warn_hooks_look(h, count, &ended) > 0; ms += 10)
		usleep(10000);
	return ended;
}

START_TEST(a_program)
{
	struct warn_hooks *h = warn_hooks_new();
	char text[9000];

	rig_open(&r, NULL);
	snprintf(text, sizeof(text), "#!/bin/sh\n{ echo $# $1 $2 $3 $MAILSHELF_ACCOUNT $MAILSHELF_LIMIT_BYTES "
	    "$MAILSHELF_STORE; "
	    "env | grep -c ^LD_; cat; ls /proc/$$/fd | tr '\\n' ' '; } > %s/out 2>&1\n", r.dir);
	write_file("hook", text, 0700);
	setenv("LD_SECRET", "x", 1);
	ck_assert_int_eq(warn_hooks_start(h, script, &joe, "/srv/mail", 2, 10), 0);
	ck_assert_int_eq(warn_hooks_start(h, script, &joe, "/srv/mail", 2, 10), SHELF_EBUSY);
	ck_assert_uint_eq(wait_ended(h), 1);
	snprintf(text, sizeof(text), "3 1 83 joe@example.org joe@example.org %d /srv/mail\n0\n", 100 << 20);
	ck_assert_msg(strncmp(read_out(), text, strlen(text)) == 0, "%s", read_out());
	ck_assert_ptr_null(strstr(read_out(), " 3 ")); /* the shell's own are 10 and above */
	ck_assert_int_eq(warn_hooks_start(h, "/nonexistent/x", &joe, "", 2, 10), SHELF_EMISSING);
	write_file("hook", "#!/bin/sh\n", 0600);
	ck_assert_int_eq(warn_hooks_start(h, script, &joe, "", 2, 10), SHELF_EMISSING);
	ck_assert_uint_eq(wait_ended(h), 0);
	warn_hooks_free(&h);
	shelf_buf_free(&said);
	rig_close(&r);
}
END_TEST

/* It and what it started are killed; who says much is not waited for; what is left is killed at the end. */
START_TEST(a_program_that_stays)
{
	struct warn_hooks *h = warn_hooks_new();
	struct shelf_warning other = joe;
	int64_t from = shelf_mono_ms();
	char text[9000];
	pid_t child;

	rig_open(&r, NULL);
	snprintf(text, sizeof(text), "#!/bin/sh\nsleep 100 & echo $! > %s/out; trap '' TERM\nyes | head -c 300000\n"
	    "wait\n", r.dir);
	write_file("hook", text, 0700);
	ck_assert_int_eq(warn_hooks_start(h, script, &joe, "", 1, 1), 0);
	other.account++;
	ck_assert_int_eq(warn_hooks_start(h, script, &other, "", 1, 1), SHELF_EBUSY);
	ck_assert_uint_eq(wait_ended(h), 1);
	ck_assert_int_ge(shelf_mono_ms() - from, 900);
	ck_assert_int_lt(shelf_mono_ms() - from, 15000);
	child = atoi(read_out());
	ck_assert_int_gt(child, 0);
	for (int ms = 0; ms < 5000 && kill(child, 0) == 0; ms += 10)
		usleep(10000); /* until init has waited for it */
	ck_assert_int_eq(kill(child, 0), -1);
	ck_assert_int_eq(warn_hooks_start(h, script, &joe, "", 1, 1000), 0);
	from = shelf_mono_ms();
	warn_hooks_free(&h);
	ck_assert_int_lt(shelf_mono_ms() - from, 15000);
	shelf_buf_free(&said);
	rig_close(&r);
}
END_TEST

/* ---- The thread ---------------------------------------------------------------------------------- */

static void
set(struct conf *c, const char *name, const char *value)
{
	char error[256];

	ck_assert_msg(conf_set(c, name, value, error, sizeof(error)), "%s", error);
}

static struct conf *
begin(void)
{
	struct conf *c = conf_new();
	char text[9000];

	rig_open(&r, NULL);
	snprintf(text, sizeof(text), "#!/bin/sh\necho $1 $3 >> %s/out\n[ -e %s/slow ] && sleep 100\nexit 0\n", r.dir,
	    r.dir);
	write_file("hook", text, 0700);
	set(c, "store", r.path);
	set(c, "hostname", "mx.example.org");
	set(c, "quota_warning_hook", script);
	conf_finish(c);
	ck_assert_int_eq(shelf_policy_set(r.store, shelf_span_str("*"), SHELF_POLICY_QUOTA_WARN_MESSAGE, 1), 0);
	ck_assert_int_eq(shelf_quota_set(r.store, r.joe, 0, 100, 0), 0);
	rig_fill(&r, r.joe, r.inbox, 79);
	return c;
}

static void
wait_messages(uint64_t n)
{
	for (int ms = 0; ms < WAIT_MS && rig_quota(&r, r.joe).used_messages != n; ms += 10)
		usleep(10000);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, n);
}

static void
wait_out(const char *wanted)
{
	for (int ms = 0; ms < WAIT_MS && strcmp(read_out(), wanted) != 0; ms += 10)
		usleep(10000);
	ck_assert_str_eq(read_out(), wanted);
}

START_TEST(it_warns_once)
{
	struct conf *c = begin();
	struct warner *w = warner_new(r.store, c);

	rig_append(&r, r.joe, r.inbox, "80", 0);
	wait_messages(81);
	wait_out("1 joe\n");
	rig_append(&r, r.joe, r.inbox, "82", 0);
	usleep(2500000);
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 82);
	wait_out("1 joe\n");
	warner_free(&w);
	/* Over the limit too. */
	rig_fill(&r, r.joe, r.inbox, 18);
	w = warner_new(r.store, c);
	wait_messages(101);
	wait_out("1 joe\n2 joe\n");
	warner_free(&w);
	shelf_buf_free(&said);
	rig_close(&r);
	conf_free(&c);
}
END_TEST

/* A daemon that ends while the program runs: the next one runs it again, but sends no second message. */
START_TEST(what_did_not_end_runs_again)
{
	struct conf *c = begin();
	struct warner *w = warner_new(r.store, c), *second;

	write_file("slow", "", 0600);
	rig_append(&r, r.joe, r.inbox, "80", 0);
	wait_messages(81);
	wait_out("1 joe\n");
	second = warner_new(r.store, c); /* waits for the first one's lock */
	warner_free(&w);
	unlink(script);
	wait_out("1 joe\n1 joe\n"); /* the other one has taken over */
	usleep(2500000);
	ck_assert_str_eq(read_out(), "1 joe\n1 joe\n");
	ck_assert_uint_eq(rig_quota(&r, r.joe).used_messages, 81);
	warner_free(&second);
	shelf_buf_free(&said);
	rig_close(&r);
	conf_free(&c);
}
END_TEST

static int
note(void *arg, const struct shelf_warning *w)
{
	++*(unsigned *)arg;
	return 0;
}

static unsigned
due(void)
{
	unsigned n = 0;

	ck_assert_int_eq(shelf_warning_each(r.store, note, &n), 0);
	return n;
}

/* No program, a template that is none: the default text, and the hook counts as told. */
START_TEST(wrong_settings)
{
	struct conf *c = begin();
	struct warner *w;

	set(c, "quota_warning_hook", "/nonexistent/hook");
	set(c, "quota_warning_template", "/nonexistent/template");
	rig_append(&r, r.joe, r.inbox, "80", 0);
	w = warner_new(r.store, c);
	wait_messages(81);
	warner_free(&w);
	set(c, "quota_warning_hook", "");
	w = warner_new(r.store, c);
	for (int ms = 0; ms < WAIT_MS && due() > 0; ms += 10)
		usleep(10000);
	ck_assert_uint_eq(due(), 0);
	warner_free(&w);
	rig_close(&r);
	conf_free(&c);
}
END_TEST

Suite *suite_warn(void);
Suite *
suite_warn(void)
{
	Suite *s = suite_create("warn");
	TCase *tc = tcase_create("warn");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, the_default_text);
	tcase_add_loop_test(tc, a_template, 0, 10);
	tcase_add_test(tc, what_pop3_left);
	tcase_add_test(tc, a_program);
	tcase_add_test(tc, a_program_that_stays);
	tcase_add_test(tc, it_warns_once);
	tcase_add_test(tc, what_did_not_end_runs_again);
	tcase_add_test(tc, wrong_settings);
	suite_add_tcase(s, tc);
	return s;
}
