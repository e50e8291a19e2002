/*
 * tool_import.c - `import`: takes in mbox, Maildir, .eml and the mail of another server; says what became of it
 */
#include <stdlib.h>
#include <string.h>

#include "tool_import.h"
#include "tool_intake.h"

static void
print_summary(const struct tool *t, const struct intake *in, double seconds)
{
	const struct intake_totals *s = &in->totals;
	const char *stored = in->dry_run ? "would be stored" : "stored";
	double rate = (double)s->found / (seconds + 0.001);
	double mb = (double)s->bytes / 1e6;
	struct shelf_buf b = {0};

	if (!t->json) {
		tool_print("%llu messages found, %llu %s, %llu already there, %llu skipped",
		    (unsigned long long)(s->found), (unsigned long long)s->stored, stored,
		    (unsigned long long)s->there, (unsigned long long)s->skipped);
		if (in->uidl != SOURCE_UIDL_NONE)
			tool_print("%llu with their unique-id, %llu under a new one, %llu got theirs later",
			    (unsigned long long)s->with_uidl, (unsigned long long)(s->stored - s->with_uidl),
			    (unsigned long long)s->uidl_given);
		if (in->keep_uids && !in->dry_run)
			tool_print("%llu with their uid, %llu under a new one", (unsigned long long)s->with_uid,
			    (unsigned long long)(s->stored - s->with_uid));
		tool_print("%.1f MB in %.1f s: %.0f messages/s, %.1f MB/s", mb, seconds, rate,
		    mb / (seconds + 0.001));
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_bool(&b, "dry_run", in->dry_run);
	tool_json_u64(&b, "found", s->found);
	tool_json_u64(&b, "stored", s->stored);
	tool_json_u64(&b, "already_there", s->there);
	tool_json_u64(&b, "skipped", s->skipped);
	tool_json_u64(&b, "without_keywords", s->without_keywords);
	tool_json_u64(&b, "with_uidl", s->with_uidl);
	tool_json_u64(&b, "without_uidl", s->without_uidl);
	tool_json_u64(&b, "uidl_given", s->uidl_given);
	tool_json_u64(&b, "with_uid", s->with_uid);
	tool_json_u64(&b, "bytes", s->bytes);
	tool_json_u64(&b, "stored_bytes", s->stored_bytes);
	tool_json_key(&b, "seconds");
	shelf_buf_printf(&b, "%.3f", seconds);
	tool_json_key(&b, "messages_per_second");
	shelf_buf_printf(&b, "%.1f", rate);
	tool_json_key(&b, "megabytes_per_second");
	shelf_buf_printf(&b, "%.2f}", mb / (seconds + 0.001));
	tool_print_buf(&b);
}

/* The exit status, and what to do about it. RC: of reading. */
static int
outcome(struct tool *t, const struct intake *in, int rc)
{
	const struct intake_totals *s = &in->totals;

	if (s->without_keywords > 0)
		tool_say(t, "%llu messages stored without their keywords: a mailbox takes %d",
		    (unsigned long long)s->without_keywords, SHELF_KEYWORDS_MAX);
	if (s->without_uidl > 0)
		tool_say(t, "%llu messages are under other unique-ids than theirs, which were not 1 to 70 printable "
		    "characters, or another message has them",
		    (unsigned long long)s->without_uidl);
	if (in->fatal == SHELF_EQUOTA || in->fatal == SHELF_EFULL) {
		tool_say(t, "%s: %s: %llu messages of this run are in; make room and run it again",
		    t->argv[0], shelf_err_text(in->fatal), (unsigned long long)s->stored);
		return EX_CANTCREAT;
	}
	if (in->fatal != 0)
		return tool_fail(t, t->argv[0], in->fatal);
	if (tool_interrupted()) {
		tool_say(t, "interrupted: run the same command again, it goes on where it stopped");
		return EX_TEMPFAIL;
	}
	/* Said where it happened. A server that does not answer may do so later. */
	if (rc != 0)
		return import_is_remote(t->argv[1]) && rc == SHELF_EIO ? EX_TEMPFAIL : tool_exit_of(rc);
	return s->skipped > 0 ? EX_DATAERR : EX_OK;
}

static int
run(struct tool *t, struct intake *in, enum source_format format, const struct import_remote *remote, bool progress)
{
	struct source_sink sink = intake_sink(in);
	struct source_plan *plan = NULL;
	int rc = 0;

	intake_begin(in, progress);
	if (remote == NULL)
		rc = source_plan_new(t->argv[1], format, &sink, &plan);
	if (rc != 0) {
		intake_end(in, false);
		return rc == SHELF_EMISSING ? EX_NOINPUT : EX_DATAERR;
	}
	if (remote == NULL) {
		in->input_bytes = source_plan_bytes(plan);
		rc = source_run(plan, &sink);
		intake_end(in, rc == 0 && !tool_interrupted());
	} else {
		rc = source_remote_run(&remote->source, &sink);
		/* What came before the connection ended is whole. */
		intake_end(in, in->fatal == 0 && !tool_interrupted());
	}
	source_plan_free(&plan);
	print_summary(t, in, (double)(shelf_mono_ms() - in->progress.start_ms) / 1000);
	return outcome(t, in, rc);
}

/* --uidl: where unique-ids come from. */
static int
take_uidl(struct tool *t, struct intake *in, const char *from)
{
	char why[4300];

	if (from == NULL)
		return 0;
	in->uidl = strcmp(from, "header") == 0 ? SOURCE_UIDL_HEADER : strcmp(from, "dovecot") == 0 ?
	    SOURCE_UIDL_DOVECOT : SOURCE_UIDL_LIST;
	if (in->uidl != SOURCE_UIDL_LIST || source_uidls_file(&in->uidls, from, why, sizeof why))
		return 0;
	tool_say(t, "%s", why);
	return EX_DATAERR;
}

int
tool_import(struct tool *t)
{
	const char *mailbox = NULL, *format_text = "auto", *uidl = NULL;
	bool dry_run = false, progress = false, keep_uids = false;
	struct import_remote remote = {.as = NULL};
	const struct tool_option options[] = {
		{"mailbox", TOOL_TEXT, &mailbox}, {"uidl", TOOL_TEXT, &uidl}, {"format", TOOL_TEXT, &format_text},
		{"keep-uids", TOOL_FLAG, &keep_uids}, {"dry-run", TOOL_FLAG, &dry_run},
		{"progress", TOOL_FLAG, &progress},
		{"password-stdin", TOOL_FLAG, &remote.password_stdin},
		{"password-file", TOOL_TEXT, &remote.password_file}, {"token-file", TOOL_TEXT, &remote.token_file},
		{"ca-file", TOOL_TEXT, &remote.ca_file}, {"any-certificate", TOOL_FLAG, &remote.any_certificate},
		{"cleartext", TOOL_FLAG, &remote.cleartext}, {"as", TOOL_TEXT, &remote.as},
		{"folder", TOOL_TEXTS, &remote.folders}, {"exclude", TOOL_TEXTS, &remote.exclude},
		{"throttle", TOOL_SIZE, &remote.throttle}, {0}};
	enum source_format format = SOURCE_AUTO;
	bool is_remote = false;
	struct shelf_buf prefix = {0};
	struct shelf_account a;
	struct intake *in;
	int rc = tool_args(t, options, 2, 2);

	if (rc == 0 && !source_format_of(format_text, &format))
		rc = tool_usage(t, "--format %s: unknown format", format_text);
	if (rc == 0 && mailbox != NULL && shelf_mailbox_canonical(shelf_span_str(mailbox), &prefix) != 0)
		rc = tool_usage(t, "--mailbox %s: not a mailbox name", mailbox);
	if (rc == 0)
		is_remote = import_is_remote(t->argv[1]);
	if (rc == 0 && is_remote)
		rc = import_remote_options(t, &remote, t->argv[1]);
	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		goto out;
	in = SHELF_NEW(struct intake);
	in->t = t;
	in->account = a.id;
	in->dry_run = dry_run;
	in->keep_uids = keep_uids;
	in->prefix = shelf_buf_span(&prefix);
	tool_catch_interrupts();
	if ((rc = take_uidl(t, in, uidl)) == 0)
		rc = run(t, in, format, is_remote ? &remote : NULL, progress);
	source_uidls_free(&in->uidls);
	free(in);
out:
	import_remote_free(&remote);
	shelf_buf_free(&prefix);
	return rc;
}
