/*
 * tool_backup.c - backup, backup verify, backup ls: the store in a file, and what is in the file
 *
 * Only `backup` opens a store: the other two must work where there is none any more.
 */
#include "tools.h"

int
tool_backup_fail(struct tool *t, const char *path, int rc)
{
	if (rc == SHELF_ESYNTAX)
		tool_say(t, "%s: not a backup", path);
	else if (rc == SHELF_EMISSING)
		tool_say(t, "%s: no backup there, or no such generation in it", path);
	else if (rc == SHELF_EBUSY)
		tool_say(t, "%s: another backup is being written to it", path);
	else if (rc == SHELF_ECORRUPT)
		tool_say(t, "%s: the file is damaged", path);
	else if (rc == SHELF_EVERSION)
		tool_say(t, "%s: made by a later release", path);
	else
		return tool_fail(t, path, rc);
	return tool_exit_of(rc);
}

/* ---- backup ------------------------------------------------------------------------------------------- */

struct saving {
	struct tool *t;
	struct tool_progress progress;
};

static int
on_saving(void *arg, const struct shelf_backup_done *so_far)
{
	struct saving *s = arg;
	char size[32];

	tool_progress_step(&s->progress, so_far->accounts, so_far->accounts_total,
	    "%llu of %llu accounts, %llu messages copied, %s", (unsigned long long)so_far->accounts,
	    (unsigned long long)so_far->accounts_total, (unsigned long long)so_far->bodies,
	    shelf_size_text(so_far->body_bytes, size, sizeof size));
	return tool_interrupted();
}

static void
on_problem(void *arg, const char *text)
{
	struct saving *s = arg;

	tool_progress_end(&s->progress);
	tool_say(s->t, "%s", text);
}

static void
show_saved(const struct tool *t, const struct shelf_backup_done *d)
{
	struct shelf_buf b = {0};
	char size[32], added[32], all[32], cut[32];

	if (!t->json) {
		tool_print("generation %llu: %llu accounts (%llu unchanged), %llu messages, %s",
		    (unsigned long long)d->generation, (unsigned long long)d->accounts,
		    (unsigned long long)d->unchanged, (unsigned long long)d->messages,
		    shelf_size_text(d->bytes, size, sizeof size));
		tool_print("copied %llu messages, %s; added %s, the file has %s",
		    (unsigned long long)d->bodies, shelf_size_text(d->body_bytes, size, sizeof size),
		    shelf_size_text(d->added_bytes, added, sizeof added),
		    shelf_size_text(d->file_bytes, all, sizeof all));
		if (d->cut_bytes > 0)
			tool_print("an earlier run had not ended: its %s were cut off",
			    shelf_size_text(d->cut_bytes, cut, sizeof cut));
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_u64(&b, "generation", d->generation);
	tool_json_u64(&b, "accounts", d->accounts);
	tool_json_u64(&b, "unchanged", d->unchanged);
	tool_json_u64(&b, "late", d->late);
	tool_json_u64(&b, "messages", d->messages);
	tool_json_u64(&b, "bytes", d->bytes);
	tool_json_u64(&b, "copied_messages", d->bodies);
	tool_json_u64(&b, "copied_bytes", d->body_bytes);
	tool_json_u64(&b, "damaged", d->damaged);
	tool_json_u64(&b, "added_bytes", d->added_bytes);
	tool_json_u64(&b, "file_bytes", d->file_bytes);
	tool_json_u64(&b, "cut_bytes", d->cut_bytes);
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
}

int
tool_backup(struct tool *t)
{
	struct saving s = {.t = t};
	struct shelf_backup_done done;
	bool progress = false;
	const struct tool_option options[] = {{"progress", TOOL_FLAG, &progress}, {0}};
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	tool_catch_interrupts();
	tool_progress_begin(&s.progress, progress);
	rc = shelf_backup_run(t->store, t->argv[0], on_saving, on_problem, &s, &done);
	tool_progress_end(&s.progress);
	if (rc == SHELF_ECANCELLED) {
		tool_say(t, "%s: interrupted: the file is as before this run", t->argv[0]);
		return EX_TEMPFAIL;
	}
	if (rc == SHELF_EMISSING) { /* the file would be made */
		tool_say(t, "%s: no such directory", t->argv[0]);
		return EX_CANTCREAT;
	}
	if (rc != 0)
		return tool_backup_fail(t, t->argv[0], rc);
	show_saved(t, &done);
	return done.damaged > 0 ? EX_DATAERR : done.late > 0 ? EX_TEMPFAIL : EX_OK;
}

/* ---- backup verify ------------------------------------------------------------------------------------ */

struct verifying {
	struct tool *t;
	struct tool_progress progress;
	struct shelf_buf json;
	uint64_t problems;
};

static void
on_verifying(void *arg, uint64_t done, uint64_t total)
{
	struct verifying *v = arg;

	tool_progress_step(&v->progress, done, total, "%llu problems", (unsigned long long)v->problems);
}

static void
on_damage(void *arg, const char *text)
{
	struct verifying *v = arg;

	v->problems++;
	tool_progress_end(&v->progress);
	if (!v->t->json) {
		tool_print("%s", text);
		return;
	}
	if (v->json.len > 0)
		shelf_buf_add_byte(&v->json, ',');
	shelf_buf_add_json(&v->json, shelf_span_str(text));
}

static void
add_info(struct shelf_buf *b, const struct shelf_backup_info *info)
{
	char when[32];

	tool_json_u64(b, "generation", info->generation);
	tool_json_str(b, "time", shelf_span_str(tool_time_text(info->time_s, when)));
	tool_json_u64(b, "accounts", info->accounts);
	tool_json_u64(b, "messages", info->messages);
	tool_json_u64(b, "bytes", info->bytes);
	tool_json_u64(b, "late", info->late);
	tool_json_u64(b, "damaged", info->damaged);
	tool_json_u64(b, "added_bytes", info->added_bytes);
}

static void
print_info(const struct shelf_backup_info *info)
{
	char when[32], size[32], added[32];

	tool_print("generation %llu of %s: %llu accounts, %llu messages, %s; added %s%s%s",
	    (unsigned long long)info->generation, tool_time_text(info->time_s, when),
	    (unsigned long long)info->accounts, (unsigned long long)info->messages,
	    shelf_size_text(info->bytes, size, sizeof size),
	    shelf_size_text(info->added_bytes, added, sizeof added),
	    info->late > 0 ? ", some accounts as of an earlier one" : "",
	    info->damaged > 0 ? ", some messages could not be read" : "");
}

static int
verify(struct tool *t, struct shelf_backup *backup, bool progress)
{
	struct verifying v = {.t = t};
	struct shelf_backup_info info;
	struct shelf_buf b = {0};
	int rc;

	shelf_backup_info(backup, &info);
	tool_progress_begin(&v.progress, progress);
	rc = shelf_backup_verify(backup, on_verifying, on_damage, &v);
	tool_progress_end(&v.progress);
	if (t->json) {
		shelf_buf_add_byte(&b, '{');
		add_info(&b, &info);
		tool_json_key(&b, "problems");
		shelf_buf_add_byte(&b, '[');
		shelf_buf_add_span(&b, shelf_buf_span(&v.json));
		shelf_buf_add_byte(&b, ']');
		tool_json_u64(&b, "tail_bytes", info.tail_bytes);
		tool_json_bool(&b, "complete", rc == 0);
		shelf_buf_add_byte(&b, '}');
		tool_print_buf(&b);
	} else {
		print_info(&info);
		if (info.tail_bytes > 0)
			tool_print("behind it %llu bytes of a run that goes on or did not end",
			    (unsigned long long)info.tail_bytes);
		tool_print("%llu problems", (unsigned long long)v.problems);
	}
	shelf_buf_free(&v.json);
	if (rc != 0)
		return tool_backup_fail(t, t->argv[0], rc);
	return v.problems == 0 ? EX_OK : EX_DATAERR;
}

int
tool_backup_verify(struct tool *t)
{
	struct tool_number generation = {0};
	struct shelf_backup *backup = NULL;
	bool progress = false;
	const struct tool_option options[] = {
	    {"progress", TOOL_FLAG, &progress}, {"generation", TOOL_COUNT, &generation}, {0}};
	int rc = tool_args(t, options, 1, 1);

	if (rc != 0)
		return rc;
	if ((rc = shelf_backup_open(t->argv[0], generation.value, &backup)) != 0)
		return tool_backup_fail(t, t->argv[0], rc);
	rc = verify(t, backup, progress);
	shelf_backup_close(&backup);
	return rc;
}

/* ---- backup ls ---------------------------------------------------------------------------------------- */

struct listing {
	struct tool *t;
	struct shelf_buf json;
};

/* Begins an object of the list. */
static struct shelf_buf *
next_object(struct listing *l)
{
	if (l->json.len > 0)
		shelf_buf_add_byte(&l->json, ',');
	shelf_buf_add_byte(&l->json, '{');
	return &l->json;
}

static int
list_generation(void *arg, const struct shelf_backup_info *info)
{
	struct listing *l = arg;

	if (!l->t->json) {
		print_info(info);
		return 0;
	}
	add_info(next_object(l), info);
	shelf_buf_add_byte(&l->json, '}');
	return 0;
}

static int
list_account(void *arg, const struct shelf_backup_account *a)
{
	struct listing *l = arg;
	struct shelf_buf *b;
	char size[32];

	if (!l->t->json) {
		tool_print("%8llu messages %10s  %s%s", (unsigned long long)a->quota.used_messages,
		    shelf_size_text(a->quota.used_bytes, size, sizeof size), a->name,
		    a->late ? "  (as of an earlier generation)" : "");
		return 0;
	}
	b = next_object(l);
	tool_json_str(b, "name", shelf_span_str(a->name));
	tool_json_quota(b, &a->quota);
	tool_json_u64(b, "copied_by", a->generation);
	tool_json_bool(b, "late", a->late);
	shelf_buf_add_byte(b, '}');
	return 0;
}

static int
list_mailbox(void *arg, const struct shelf_backup_mailbox *m)
{
	struct listing *l = arg;
	struct shelf_buf *b;
	char size[32];

	if (!l->t->json) {
		tool_print("%8u messages %10s  %.*s%s", m->messages, shelf_size_text(m->bytes, size, sizeof size),
		    (int)m->name.len, (const char *)m->name.data, m->deleted ? "  (deleted, held)" : "");
		return 0;
	}
	b = next_object(l);
	tool_json_str(b, "name", m->name);
	tool_json_u64(b, "messages", m->messages);
	tool_json_u64(b, "bytes", m->bytes);
	tool_json_bool(b, "deleted", m->deleted);
	shelf_buf_add_byte(b, '}');
	return 0;
}

static int
list_message(void *arg, const struct shelf_msg *msg, const struct mime_part *root)
{
	struct listing *l = arg;
	struct shelf_buf from = {0}, subject = {0}, *b;
	char when[32], size[32];

	tool_envelope_text(root, &from, &subject);
	tool_time_text(msg->internaldate_s, when);
	if (!l->t->json) {
		tool_print("%8u  %s  %10s  %s  %s", msg->uid, when, shelf_size_text(msg->size, size, sizeof size),
		    shelf_buf_cstr(&from), shelf_buf_cstr(&subject));
	} else {
		b = next_object(l);
		tool_json_message(b, msg, shelf_buf_span(&from), shelf_buf_span(&subject));
		shelf_buf_add_byte(b, '}');
	}
	shelf_buf_free(&from);
	shelf_buf_free(&subject);
	return tool_interrupted() ? SHELF_ECANCELLED : 0;
}

static int
list(struct listing *l, struct shelf_backup *backup, bool generations)
{
	struct tool *t = l->t;
	struct shelf_buf b = {0};
	int rc;

	if (generations)
		rc = shelf_backup_generations(backup, list_generation, l);
	else if (t->argc == 1)
		rc = shelf_backup_accounts(backup, list_account, l);
	else if (t->argc == 2)
		rc = shelf_backup_mailboxes(backup, t->argv[1], list_mailbox, l);
	else
		rc = shelf_backup_messages(backup, t->argv[1], shelf_span_str(t->argv[2]), list_message, l);
	if (rc == SHELF_ENOACCOUNT)
		return tool_fail(t, t->argv[1], rc);
	if (rc == SHELF_ENOMAILBOX || rc == SHELF_ENAME)
		return tool_fail(t, t->argv[2], rc);
	if (rc != 0)
		return tool_backup_fail(t, t->argv[0], rc);
	if (t->json) {
		shelf_buf_add_byte(&b, '[');
		shelf_buf_add_span(&b, shelf_buf_span(&l->json));
		shelf_buf_add_byte(&b, ']');
		tool_print_buf(&b);
	}
	return EX_OK;
}

int
tool_backup_ls(struct tool *t)
{
	struct listing l = {.t = t};
	struct tool_number generation = {0};
	struct shelf_backup *backup = NULL;
	bool generations = false;
	const struct tool_option options[] = {{"generation", TOOL_COUNT, &generation},
	    {"generations", TOOL_FLAG, &generations}, {0}};
	int rc = tool_args(t, options, 1, 3);

	if (rc != 0)
		return rc;
	if (generations && (generation.given || t->argc > 1))
		return tool_usage(t, "--generations: stands alone");
	if ((rc = shelf_backup_open(t->argv[0], generation.value, &backup)) != 0)
		return tool_backup_fail(t, t->argv[0], rc);
	tool_catch_interrupts();
	rc = list(&l, backup, generations);
	shelf_backup_close(&backup);
	shelf_buf_free(&l.json);
	return rc;
}
