/*
 * tool_restore.c - restore: out of a backup a whole store, an account, messages of a mailbox
 *
 * What is restored and where is decided by the options alone; nothing that is there is ever replaced.
 */
#include <stdlib.h>
#include <string.h>

#include "tools.h"

struct restore {
	struct tool *t;
	const char *file, *account, *as, *mailbox, *to, *message, *since, *from, *subject;
	struct tool_number generation;
	bool dry_run, progress;
	int64_t since_s;
	struct shelf_uidset *uids;
	struct shelf_buf target; /* canonical */
	struct shelf_backup *backup;
	struct tool_progress bar;
	struct shelf_buf list; /* JSON of the messages of a dry run */
};

static int
on_progress(void *arg, const struct shelf_restore_done *so_far)
{
	struct restore *r = arg;
	char size[32];

	tool_progress_step(&r->bar, so_far->accounts, so_far->accounts_total,
	    "%llu of %llu accounts, %llu messages, %s", (unsigned long long)so_far->accounts,
	    (unsigned long long)so_far->accounts_total, (unsigned long long)so_far->messages,
	    shelf_size_text(so_far->body_bytes, size, sizeof size));
	return tool_interrupted();
}

static void
on_problem(void *arg, const char *text)
{
	struct restore *r = arg;

	tool_progress_end(&r->bar);
	tool_say(r->t, "%s", text);
}

static void
show(struct restore *r, const struct shelf_restore_done *d)
{
	struct shelf_buf b = {0};
	char size[32];

	if (!r->t->json) {
		if (r->mailbox == NULL)
			tool_print("%s %llu accounts, %llu messages", r->dry_run ? "would restore" : "restored",
			    (unsigned long long)d->accounts, (unsigned long long)d->messages);
		else
			tool_print("%s %llu messages, %s; %llu are there already",
			    r->dry_run ? "would restore" : "restored", (unsigned long long)d->messages,
			    shelf_size_text(d->bytes, size, sizeof size), (unsigned long long)d->there);
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_bool(&b, "dry_run", r->dry_run);
	tool_json_u64(&b, "accounts", d->accounts);
	tool_json_u64(&b, "messages", d->messages);
	tool_json_u64(&b, "bytes", d->bytes);
	tool_json_u64(&b, "there", d->there);
	tool_json_u64(&b, "failed", d->failed);
	tool_json_u64(&b, "lost", d->lost);
	if (r->dry_run && r->mailbox != NULL) {
		tool_json_key(&b, "list");
		shelf_buf_add_byte(&b, '[');
		shelf_buf_add_span(&b, shelf_buf_span(&r->list));
		shelf_buf_add_byte(&b, ']');
	}
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
}

/* Says what RC is about; 0: D is shown. */
static int
end(struct restore *r, const char *what, int rc, const struct shelf_restore_done *d)
{
	tool_progress_end(&r->bar);
	if (rc == SHELF_ECANCELLED) {
		tool_say(r->t, "%s: interrupted; the same command goes on", what);
		return EX_TEMPFAIL;
	}
	if (rc != 0)
		return rc == SHELF_ECORRUPT || rc == SHELF_EVERSION || rc == SHELF_ESYNTAX
		           ? tool_backup_fail(r->t, r->file, rc)
		           : tool_fail(r->t, what, rc);
	show(r, d);
	if (d->lost > 0)
		tool_say(r->t, "%s: %llu messages were damaged; they came back with a note in the place of their text",
		    what, (unsigned long long)d->lost);
	return d->failed > 0 || d->lost > 0 ? EX_DATAERR : EX_OK;
}

/* ---- A whole store ------------------------------------------------------------------------------------- */

static int
restore_store(struct restore *r)
{
	struct shelf_restore_done done = {0};
	struct shelf_backup_info info;
	int rc;

	if (r->t->store_dir == NULL || *r->t->store_dir == '\0')
		return tool_usage(r->t, "no store given: -s STORE, or MAILSHELF_STORE in the environment");
	if (r->dry_run) {
		shelf_backup_info(r->backup, &info);
		done.accounts = info.accounts;
		done.messages = info.messages;
		show(r, &done);
		return EX_OK;
	}
	tool_progress_begin(&r->bar, r->progress);
	rc = shelf_backup_restore_store(r->backup, r->t->store_dir, on_progress, on_problem, r, &done);
	if (rc == SHELF_EEXISTS) {
		tool_say(r->t, "%s: holds a store or other files; a whole store is restored into a new directory "
		               "(--account NAME: one account into this store)", r->t->store_dir);
		return EX_CANTCREAT;
	}
	return end(r, r->t->store_dir, rc, &done);
}

/* ---- An account ---------------------------------------------------------------------------------------- */

struct looking {
	const char *name;
	bool found;
	uint64_t messages;
};

static int
look_for(void *arg, const struct shelf_backup_account *a)
{
	struct looking *l = arg;

	if (strcasecmp(a->name, l->name) != 0)
		return 0;
	l->found = true;
	l->messages = a->quota.used_messages + a->quota.held_messages;
	return 0;
}

static int
restore_account(struct restore *r)
{
	const char *as = r->as != NULL ? r->as : r->account;
	struct looking l = {.name = r->account};
	struct shelf_restore_done done = {0};
	struct shelf_account there;
	int rc = shelf_backup_accounts(r->backup, look_for, &l);

	if (rc == 0 && !l.found)
		return tool_fail(r->t, r->account, SHELF_ENOACCOUNT);
	if (rc == 0 && shelf_account_find(r->t->store, shelf_span_str(as), &there) == 0) {
		tool_say(r->t, "%s: is there already: give another name (--as NAME), or the mailbox whose messages are "
		               "to come back (--mailbox NAME)", as);
		return EX_CANTCREAT;
	}
	if (rc == 0 && r->dry_run) {
		done.accounts = 1;
		done.messages = l.messages;
	} else if (rc == 0) {
		tool_progress_begin(&r->bar, r->progress);
		rc = shelf_backup_restore_account(r->backup, r->account, r->t->store, as, on_progress, r, &done);
	}
	return end(r, as, rc, &done);
}

/* ---- Messages ------------------------------------------------------------------------------------------ */

static void
show_message(struct restore *r, const struct shelf_msg *msg, struct shelf_buf *from, struct shelf_buf *subject)
{
	char when[32], size[32];
	struct shelf_buf *b = &r->list;

	tool_time_text(msg->internaldate_s, when);
	if (!r->t->json) {
		tool_print("%8u  %s  %10s  %s  %s", msg->uid, when, shelf_size_text(msg->size, size, sizeof size),
		    shelf_buf_cstr(from), shelf_buf_cstr(subject));
		return;
	}
	if (b->len > 0)
		shelf_buf_add_byte(b, ',');
	shelf_buf_add_byte(b, '{');
	tool_json_message(b, msg, shelf_buf_span(from), shelf_buf_span(subject));
	shelf_buf_add_byte(b, '}');
}

static bool
choose(void *arg, const struct shelf_msg *msg, const struct mime_part *root)
{
	struct restore *r = arg;
	struct shelf_buf from = {0}, subject = {0};
	bool wanted;

	tool_envelope_text(root, &from, &subject);
	wanted = msg->internaldate_s >= r->since_s &&
	    (r->from == NULL || shelf_text_has(shelf_buf_span(&from), shelf_span_str(r->from))) &&
	    (r->subject == NULL || shelf_text_has(shelf_buf_span(&subject), shelf_span_str(r->subject)));
	if (wanted && r->dry_run)
		show_message(r, msg, &from, &subject);
	shelf_buf_free(&from);
	shelf_buf_free(&subject);
	return wanted;
}

static int
restore_messages(struct restore *r)
{
	struct shelf_restore_request req = {.uids = r->uids, .choose = choose, .arg = r, .dry_run = r->dry_run};
	struct shelf_restore_done done;
	struct shelf_account a;
	int rc = tool_account(r->t, r->as != NULL ? r->as : r->account, &a);

	if (rc != 0)
		return rc;
	req.account = a.id;
	req.to = shelf_buf_span(&r->target);
	req.envelopes = r->from != NULL || r->subject != NULL || r->dry_run;
	tool_progress_begin(&r->bar, r->progress);
	rc = shelf_backup_restore_messages(r->backup, r->account, shelf_span_str(r->mailbox), r->t->store, &req,
	    on_progress, on_problem, r, &done);
	if (rc == SHELF_EQUOTA) {
		tool_progress_end(&r->bar);
		tool_say(r->t, "%s: over quota with %llu more messages: nothing was restored (mailshelf quota set "
		               "changes the limit)", a.name, (unsigned long long)done.messages);
		return EX_CANTCREAT;
	}
	return end(r, rc == SHELF_ENOACCOUNT ? r->account : r->mailbox, rc, &done);
}

/* ---- Arguments ------------------------------------------------------------------------------------------ */

/* "5", "5,7:9". */
static bool
parse_uids(const char *s, struct shelf_uidset **out)
{
	*out = shelf_uidset_new();
	for (;;) {
		size_t len = strcspn(s, ",");
		const char *colon = memchr(s, ':', len);
		size_t first_len = colon == NULL ? len : (size_t)(colon - s);
		uint64_t first, last;

		if (!shelf_span_u64(shelf_span(s, first_len), UINT32_MAX, &first) || first == 0)
			return false;
		last = first;
		if (colon != NULL &&
		    (!shelf_span_u64(shelf_span(colon + 1, len - first_len - 1), UINT32_MAX, &last) || last < first))
			return false;
		shelf_uidset_add_range(*out, (uint32_t)first, (uint32_t)last);
		if (s[len] == '\0')
			return true;
		s += len + 1;
	}
}

static int
check_options(struct restore *r)
{
	struct tool *t = r->t;
	const char *to = r->to != NULL ? r->to : r->mailbox;

	if (r->account == NULL && (r->as != NULL || r->mailbox != NULL))
		return tool_usage(t, "--account NAME: missing");
	if (r->mailbox == NULL &&
	    (r->to != NULL || r->message != NULL || r->since != NULL || r->from != NULL || r->subject != NULL))
		return tool_usage(t, "--mailbox NAME: missing");
	if (to != NULL && shelf_mailbox_canonical(shelf_span_str(to), &r->target) != 0)
		return tool_usage(t, "%s: not a mailbox name", to);
	if (r->since != NULL && !tool_since(r->since, &r->since_s))
		return tool_usage(t, "--since %s: neither a time ago (2h, 3d) nor a date (2026-11-21, "
		                     "2026-11-21 10:00)", r->since);
	if (r->message != NULL && !parse_uids(r->message, &r->uids))
		return tool_usage(t, "--message %s: not uids (5, 7:9, 5,7:9)", r->message);
	return 0;
}

static int
run(struct restore *r)
{
	int rc = shelf_backup_open(r->file, r->generation.value, &r->backup);

	if (rc != 0)
		return tool_backup_fail(r->t, r->file, rc);
	tool_catch_interrupts();
	if (r->account == NULL)
		return restore_store(r);
	if ((rc = tool_open(r->t)) != 0)
		return rc;
	return r->mailbox == NULL ? restore_account(r) : restore_messages(r);
}

int
tool_restore(struct tool *t)
{
	struct restore r = {.t = t, .since_s = INT64_MIN};
	const struct tool_option options[] = {{"account", TOOL_TEXT, &r.account}, {"as", TOOL_TEXT, &r.as},
	    {"mailbox", TOOL_TEXT, &r.mailbox}, {"to", TOOL_TEXT, &r.to}, {"message", TOOL_TEXT, &r.message},
	    {"since", TOOL_TEXT, &r.since}, {"from", TOOL_TEXT, &r.from}, {"subject", TOOL_TEXT, &r.subject},
	    {"generation", TOOL_COUNT, &r.generation}, {"dry-run", TOOL_FLAG, &r.dry_run},
	    {"progress", TOOL_FLAG, &r.progress}, {0}};
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0)
		rc = check_options(&r);
	if (rc == 0) {
		r.file = t->argv[0];
		rc = run(&r);
	}
	shelf_backup_close(&r.backup);
	shelf_uidset_free(&r.uids);
	shelf_buf_free(&r.target);
	shelf_buf_free(&r.list);
	return rc;
}
