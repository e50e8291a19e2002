/*
 * tool_salvage.c - check --salvage: what can be read of a damaged store becomes files
 *
 *   DIR/accounts/NAME/...     a Maildir or a tree of .eml; account-N when the catalog does not know the
 *                             name, mailbox-N when the mailbox has lost its own
 *   DIR/held/NAME/...         what its user had removed; mailboxes as NAME-N
 *   DIR/lost+found/PARTITION  bodies that no message names, by their number
 *   DIR/LOST.txt              account, mailbox, uid, size and why of each message that is lost
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <mailshelf/salvage.h>

#include "tool_export.h"

/* Where the message before went; the next one most often goes there too. */
struct place {
	struct export_writer writer;
	struct shelf_buf dir;
	char partition[64];
	uint32_t account, mailbox;
	bool open;
};

struct rescue {
	struct tool *t;
	const char *dir, *format;
	struct place live, held, orphans;
	FILE *list;
	struct shelf_buf lost, damage; /* JSON */
	struct tool_progress progress;
	uint64_t messages, held_messages, orphan_messages, bytes, nlost, ndamaged, unwritten;
};

/* ---- Places ---------------------------------------------------------------------------------------------- */

static int
close_place(struct place *p)
{
	int rc = p->open ? p->writer.mailbox_end(&p->writer) : 0;

	p->open = false;
	return rc;
}

static int
make_dir(struct shelf_buf *path)
{
	return mkdir(shelf_buf_cstr(path), 0700) == 0 || errno == EEXIST ? 0 : errno;
}

/* DIR/KIND, below it NAME unless that is empty. */
static int
choose_dir(struct rescue *x, struct place *p, const char *kind, const char *name)
{
	struct shelf_buf base = {0};
	int rc;

	shelf_buf_printf(&base, "%s/%s", x->dir, kind);
	rc = make_dir(&base);
	export_path(shelf_buf_cstr(&base), name, &p->dir);
	if (rc == 0)
		rc = make_dir(&p->dir);
	shelf_buf_free(&base);
	p->writer.dir = shelf_buf_cstr(&p->dir);
	return rc;
}

static void
account_text(const struct shelf_salvaged *m, struct shelf_buf *out)
{
	if (m->account_name.len > 0)
		shelf_buf_add_span(out, m->account_name);
	else
		shelf_buf_printf(out, "account-%u", m->account);
}

static void
mailbox_text(const struct shelf_salvaged *m, struct shelf_buf *out)
{
	if (m->mailbox_name.len > 0)
		shelf_buf_add_span(out, m->mailbox_name);
	else
		shelf_buf_printf(out, "mailbox-%u", m->mailbox);
}

/* The mailbox in P; under a name with its number when another one has the name. */
static int
open_mailbox(struct place *p, const struct shelf_salvaged *m)
{
	struct shelf_buf name = {0};
	int rc;

	mailbox_text(m, &name);
	if (m->held)
		shelf_buf_printf(&name, "-%u", m->mailbox);
	rc = p->writer.mailbox(&p->writer, shelf_buf_cstr(&name));
	if (rc == EEXIST || rc == ENAMETOOLONG) {
		shelf_buf_clear(&name);
		shelf_buf_printf(&name, "mailbox-%u-%s", m->mailbox, m->partition);
		rc = p->writer.mailbox(&p->writer, shelf_buf_cstr(&name));
	}
	shelf_buf_free(&name);
	return rc;
}

/* P becomes the place of M. */
static int
enter(struct rescue *x, struct place *p, const struct shelf_salvaged *m)
{
	const char *kind = m->account == 0 ? "lost+found" : m->held ? "held" : "accounts";
	struct shelf_buf name = {0};
	int rc;

	if (p->open && p->account == m->account && p->mailbox == m->mailbox &&
	    strcmp(p->partition, m->partition) == 0)
		return 0;
	if ((rc = close_place(p)) != 0)
		return rc;
	if (m->account != 0)
		account_text(m, &name);
	rc = choose_dir(x, p, kind, shelf_buf_cstr(&name));
	shelf_buf_free(&name);
	if (rc == 0)
		rc = m->account == 0 ? p->writer.mailbox(&p->writer, m->partition)
		                     : open_mailbox(p, m);
	p->open = rc == 0;
	p->account = m->account;
	p->mailbox = m->mailbox;
	snprintf(p->partition, sizeof p->partition, "%s", m->partition);
	return rc;
}

/* ---- What the engine tells ------------------------------------------------------------------------------- */

static void
on_lost(void *arg, const struct shelf_salvaged *m, const char *why)
{
	struct rescue *x = arg;
	struct shelf_buf account = {0}, mailbox = {0};

	x->nlost++;
	if (m->account != 0) {
		account_text(m, &account);
		mailbox_text(m, &mailbox);
	}
	(void)shelf_buf_cstr(&account);
	(void)shelf_buf_cstr(&mailbox);
	/* Names come from rows that decode and are canonical: no tab or line end is in them. */
	fprintf(x->list, "%s\t%s\t%u\t%llu\t%s%s\n", account.data, mailbox.data, m->msg.uid,
	    (unsigned long long)m->msg.size, m->held ? "removed by its user; " : "", why);
	if (x->t->json) {
		shelf_buf_add_str(&x->lost, x->lost.len > 0 ? ",{" : "{");
		tool_json_str(&x->lost, "account", shelf_buf_span(&account));
		tool_json_str(&x->lost, "mailbox", shelf_buf_span(&mailbox));
		tool_json_u64(&x->lost, "uid", m->msg.uid);
		tool_json_u64(&x->lost, "size", m->msg.size);
		tool_json_u64(&x->lost, "blob", m->msg.blob);
		tool_json_bool(&x->lost, "held", m->held);
		tool_json_str(&x->lost, "why", shelf_span_str(why));
		shelf_buf_add_byte(&x->lost, '}');
	}
	shelf_buf_free(&account);
	shelf_buf_free(&mailbox);
}

static void
on_note(void *arg, const char *file, const char *text)
{
	struct rescue *x = arg;

	x->ndamaged++;
	tool_progress_end(&x->progress);
	tool_say(x->t, "%s: %s", file, text);
	fprintf(x->list, "# %s: %s\n", file, text);
	shelf_buf_add_str(&x->damage, x->damage.len > 0 ? ",{" : "{");
	tool_json_str(&x->damage, "file", shelf_span_str(file));
	tool_json_str(&x->damage, "text", shelf_span_str(text));
	shelf_buf_add_byte(&x->damage, '}');
}

/* 0 or an errno. */
static int
write_one(struct place *p, const struct shelf_salvaged *m, struct shelf_span body)
{
	static char nobody[] = "MAILER-DAEMON";
	struct export_message e = {.msg = m->msg, .sender = nobody,
		.keywords = (struct shelf_span *)(uintptr_t)m->keywords, .nkeywords = m->nkeywords};
	int rc;

	if (m->account == 0)
		e.msg.uid = (uint32_t)m->msg.blob; /* the file's name */
	if ((rc = p->writer.begin(&p->writer, &e)) != 0)
		return rc;
	rc = p->writer.data(&p->writer, body);
	if (rc == 0)
		rc = p->writer.end(&p->writer);
	else
		p->writer.undo(&p->writer);
	return rc;
}

/* Ends the salvage when the target cannot be written. */
static int
on_message(void *arg, const struct shelf_salvaged *m, struct shelf_span body)
{
	struct rescue *x = arg;
	struct place *p = m->account == 0 ? &x->orphans : m->held ? &x->held : &x->live;
	int rc = enter(x, p, m);

	if (rc == 0)
		rc = write_one(p, m, body);
	if (rc == ENOSPC || rc == EDQUOT || rc == EIO || rc == EROFS) {
		tool_say(x->t, "%s: %s", x->dir, strerror(rc));
		return SHELF_EFULL;
	}
	if (rc != 0) {
		x->unwritten++;
		on_lost(x, m, strerror(rc));
		return 0;
	}
	x->messages += m->account != 0 && !m->held;
	x->held_messages += m->account != 0 && m->held;
	x->orphan_messages += m->account == 0;
	x->bytes += body.len;
	tool_progress_step(&x->progress, 0, 0, "%llu messages, %.1f MB",
	    (unsigned long long)(x->messages + x->held_messages + x->orphan_messages),
	    (double)x->bytes / 1e6);
	return tool_interrupted() ? SHELF_ECANCELLED : 0;
}

/* ---- The verb -------------------------------------------------------------------------------------------- */

static void
print_summary(struct rescue *x, bool complete)
{
	struct shelf_buf b = {0};

	if (!x->t->json) {
		tool_print("%llu messages written, %llu that were held, %llu bodies nobody names; %.1f MB",
		    (unsigned long long)x->messages, (unsigned long long)x->held_messages,
		    (unsigned long long)x->orphan_messages, (double)x->bytes / 1e6);
		tool_print("%llu messages lost%s", (unsigned long long)x->nlost,
		    x->nlost > 0 ? ", listed in LOST.txt" : "");
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_u64(&b, "messages", x->messages);
	tool_json_u64(&b, "held", x->held_messages);
	tool_json_u64(&b, "lost_and_found", x->orphan_messages);
	tool_json_u64(&b, "bytes", x->bytes);
	tool_json_bool(&b, "complete", complete);
	tool_json_key(&b, "lost");
	shelf_buf_add_byte(&b, '[');
	shelf_buf_add_span(&b, shelf_buf_span(&x->lost));
	shelf_buf_add_byte(&b, ']');
	tool_json_key(&b, "damage");
	shelf_buf_add_byte(&b, '[');
	shelf_buf_add_span(&b, shelf_buf_span(&x->damage));
	shelf_buf_add_str(&b, "]}");
	tool_print_buf(&b);
}

static int
run(struct rescue *x)
{
	const struct shelf_salvage_sink sink = {on_message, on_lost, on_note, x};
	int rc, closed;

	tool_catch_interrupts();
	tool_progress_begin(&x->progress, x->progress.shown);
	rc = shelf_salvage(x->t->store_dir, &sink);
	tool_progress_end(&x->progress);
	closed = close_place(&x->live) | close_place(&x->held) | close_place(&x->orphans);
	if (fclose(x->list) != 0 || closed != 0) {
		tool_say(x->t, "%s: cannot be written", x->dir);
		rc = rc == 0 ? SHELF_EIO : rc;
	}
	if (rc == SHELF_EMISSING) {
		tool_say(x->t, "%s: no store there", x->t->store_dir);
		return EX_NOINPUT;
	}
	print_summary(x, rc == 0);
	if (rc == SHELF_ECANCELLED) {
		tool_say(x->t, "%s: interrupted, not complete", x->dir);
		return EX_TEMPFAIL;
	}
	if (rc != 0)
		return tool_fail(x->t, "stopped before the end", rc);
	return x->nlost == 0 && x->ndamaged == 0 ? EX_OK : EX_DATAERR;
}

int
tool_salvage(struct tool *t, const char *dir, const char *format, bool progress)
{
	struct rescue x = {.t = t, .dir = dir, .format = format, .progress = {.shown = progress}};
	struct place *places[] = {&x.live, &x.held, &x.orphans};
	struct shelf_buf list = {0};
	int rc;

	if (t->store_dir == NULL || *t->store_dir == '\0')
		return tool_usage(t, "no store given: -s STORE, or MAILSHELF_STORE in the environment");
	if (strcmp(format, "mbox") == 0 || !export_writer_init(&x.live.writer, format) ||
	    !export_writer_init(&x.held.writer, format) || !export_writer_init(&x.orphans.writer, "eml"))
		return tool_usage(t, "--format %s: maildir or eml", format);
	if ((rc = export_prepare_dir(t, dir)) != EX_OK)
		return rc;
	shelf_buf_printf(&list, "%s/LOST.txt", dir);
	x.list = fopen(shelf_buf_cstr(&list), "wxe");
	if (x.list == NULL) {
		tool_say(t, "%s: %s", shelf_buf_cstr(&list), strerror(errno));
		rc = EX_CANTCREAT;
	} else {
		fprintf(x.list, "# account\tmailbox\tuid\tbytes\twhy\n");
		rc = run(&x);
	}
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		export_writer_free(&places[i]->writer);
		shelf_buf_free(&places[i]->dir);
	}
	shelf_buf_free(&x.lost);
	shelf_buf_free(&x.damage);
	shelf_buf_free(&list);
	return rc;
}
