/*
 * tool_export.c - `export`: walks an account's mailboxes and hands the messages to a writer
 *
 * No snapshot is held while files are written: rows are read some dozens at a time, bodies in
 * snapshots of their own. A message removed in between is not there any more and not missed.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tool_export.h"
#include "tool_search.h"

enum { SLICE = 64 };

struct box {
	uint32_t id;
	char *name;
	uint64_t bytes;
};

struct export {
	struct tool *t;
	uint32_t account;
	struct export_writer writer;
	struct tool_search search;
	struct shelf_uidset *only; /* of the mailbox at hand; NULL: all */
	struct box *boxes;
	size_t nboxes;
	uint64_t total_bytes;
	struct tool_progress progress;
	struct shelf_arena arena;  /* of a slice */
	uint64_t messages, bytes, failed;
	int worst;                 /* exit status of what failed */
};

static void
failed(struct export *x, const char *what, uint32_t uid, const char *why, int status)
{
	x->failed++;
	x->worst = status;
	tool_progress_end(&x->progress);
	if (uid == 0)
		tool_say(x->t, "%s: %s", what, why);
	else
		tool_say(x->t, "%s: message with uid %u: %s", what, uid, why);
}

/* ---- Reading --------------------------------------------------------------------------------------- */

struct pick {
	struct export *x;
	const char *only;
};

static int
pick_box(void *arg, const struct shelf_mailbox *m)
{
	struct pick *p = arg;
	struct export *x = p->x;

	if (!m->exists_now || (p->only != NULL && !shelf_span_eq(m->name, shelf_span_str(p->only))))
		return 0;
	x->boxes = shelf_realloc(x->boxes, (x->nboxes + 1) * sizeof *x->boxes);
	x->boxes[x->nboxes++] = (struct box){m->id, shelf_strndup(m->name.data, m->name.len), m->bytes};
	x->total_bytes += m->bytes;
	return 0;
}

static int
list_boxes(struct export *x, const char *only)
{
	struct pick pick = {x, only};
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(x->t->store, x->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_each(rd, pick_box, &pick);
	shelf_rd_end(&rd);
	if (rc == 0 && only != NULL && x->nboxes == 0)
		rc = SHELF_ENOMAILBOX;
	return rc;
}

/* An address for the separator line: from the stored structure, a word of visible ASCII. */
static char *
sender_of(struct export *x, struct shelf_rd *rd, uint64_t blob)
{
	struct shelf_span record;
	struct mime_part *root;
	struct mime_address *from;

	if (shelf_msg_derived(rd, blob, &x->arena, &record) == 0 &&
	    mime_record_decode(record, &x->arena, &root) == 0 && root->envelope != NULL &&
	    (from = root->envelope->from) != NULL && from->mailbox.len > 0 && from->host.len > 0) {
		char *s = shelf_arena_printf(&x->arena, "%.*s@%.*s", (int)from->mailbox.len,
		    (const char *)from->mailbox.data, (int)from->host.len,
		    (const char *)from->host.data);
		size_t n = 0;

		while (s[n] > 0x20 && s[n] < 0x7f)
			n++;
		if (s[n] == '\0' && n < 300)
			return s;
	}
	return shelf_arena_printf(&x->arena, "MAILER-DAEMON");
}

static void
copy_keywords(struct export *x, const struct shelf_keywords *names, struct export_message *m)
{
	m->keywords = SHELF_ARENA_ARRAY(&x->arena, struct shelf_span, names->count + 1);
	for (uint32_t k = 0; k < names->count; k++) {
		if (shelf_msg_has_keyword(&m->msg, k))
			m->keywords[m->nkeywords++] = shelf_arena_dup(&x->arena, names->name[k]);
	}
}

/* Up to SLICE messages from uid *FROM on; *FROM is moved behind them. */
static int
read_slice(struct export *x, uint32_t box, uint32_t *from, struct export_message *list, size_t *n_out)
{
	struct shelf_keywords *names = SHELF_NEW(struct shelf_keywords);
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(x->t->store, x->account, &rd);

	*n_out = 0;
	if (rc == 0)
		rc = shelf_mailbox_keywords(rd, box, names);
	while (rc == 0 && *n_out < SLICE && *from != 0) {
		struct export_message *m = &list[*n_out];

		*m = (struct export_message){0};
		if (x->only != NULL && (*from = shelf_uidset_next(x->only, *from)) == 0)
			break;
		rc = shelf_msg_next(rd, box, *from, SHELF_MSG_ALL, &m->msg);
		if (rc != 0)
			break;
		if (x->only != NULL && m->msg.uid != *from) { /* it has gone since */
			++*from;
			continue;
		}
		copy_keywords(x, names, m);
		m->sender = sender_of(x, rd, m->msg.blob);
		*from = m->msg.uid + 1; /* 0 behind the last uid there can be */
		++*n_out;
	}
	shelf_rd_end(&rd);
	free(names);
	/* The mailbox may be deleted meanwhile. */
	return rc == SHELF_ENOMESSAGE || rc == SHELF_ENOMAILBOX ? 0 : rc;
}

/* ---- Writing --------------------------------------------------------------------------------------- */

/* 0; an engine's error, negative; or an errno. */
static int
write_body(struct export *x, const struct export_message *m)
{
	struct shelf_body *body = NULL;
	struct shelf_span data;
	uint64_t at = 0;
	int rc = shelf_body_open(x->t->store, x->account, m->msg.blob, &body);
	bool begun = false;

	while (rc == 0) {
		rc = shelf_body_read(body, at, SIZE_MAX, &data);
		if (rc == 0 && !begun) {
			rc = x->writer.begin(&x->writer, m);
			begun = rc == 0;
		}
		if (rc != 0 || data.len == 0)
			break;
		at += data.len;
		rc = x->writer.data(&x->writer, data);
	}
	if (rc == 0 && at != m->msg.size)
		rc = SHELF_ECORRUPT;
	if (rc == 0)
		rc = x->writer.end(&x->writer);
	else if (begun)
		x->writer.undo(&x->writer);
	shelf_body_close(&body);
	return rc;
}

static int
write_message(struct export *x, const struct box *box, const struct export_message *m)
{
	int rc = write_body(x, m);

	if (rc == 0) {
		x->messages++;
		x->bytes += m->msg.size;
	} else if (rc == SHELF_ECORRUPT) {
		failed(x, box->name, m->msg.uid, shelf_err_text(rc), EX_DATAERR);
	} else if (rc != SHELF_ENOMESSAGE) {
		failed(x, box->name, m->msg.uid, rc < 0 ? shelf_err_text(rc) : strerror(rc), EX_IOERR);
		return rc;
	}
	tool_progress_step(&x->progress, x->bytes, x->total_bytes, "%llu messages",
	    (unsigned long long)x->messages);
	return 0;
}

/* The messages of BOX that are wanted, into x->only. */
static int
choose(struct export *x, const struct box *box)
{
	int rc;

	shelf_uidset_free(&x->only);
	if (!tool_search_asks(&x->search))
		return 0;
	rc = tool_search_find(x->t, &x->search, x->account, box->id, &x->only);
	if (rc == SHELF_ECORRUPT)
		failed(x, box->name, 0, "some that are damaged could not be asked", EX_DATAERR);
	else if (rc != 0 && rc != SHELF_ENOMAILBOX && rc != SHELF_ECANCELLED)
		failed(x, box->name, 0, shelf_err_text(rc), tool_exit_of(rc));
	if (x->only == NULL)
		x->only = shelf_uidset_new();
	return rc == SHELF_ECORRUPT || rc == SHELF_ENOMAILBOX || rc == SHELF_ECANCELLED ? 0 : rc;
}

/* 0 to go on with the next mailbox. */
static int
write_box(struct export *x, const struct box *box)
{
	struct export_message *list;
	uint32_t from = 1;
	size_t n = 1;
	int rc;

	if ((rc = choose(x, box)) != 0)
		return rc;
	if (x->only != NULL && shelf_uidset_count(x->only) == 0)
		return 0;
	if ((rc = x->writer.mailbox(&x->writer, box->name)) != 0) {
		failed(x, x->writer.file_path != NULL ? x->writer.file_path : box->name, 0, strerror(rc),
		    EX_CANTCREAT);
		return rc == ENAMETOOLONG ? 0 : rc;
	}
	list = shelf_alloc(SLICE * sizeof *list);
	while (rc == 0 && n > 0 && from != 0 && !tool_interrupted()) {
		rc = read_slice(x, box->id, &from, list, &n);
		if (rc != 0)
			failed(x, box->name, 0, shelf_err_text(rc), tool_exit_of(rc));
		for (size_t i = 0; rc == 0 && i < n && !tool_interrupted(); i++)
			rc = write_message(x, box, &list[i]);
		shelf_arena_reset(&x->arena);
	}
	free(list);
	if (rc == 0) {
		rc = x->writer.mailbox_end(&x->writer);
		if (rc != 0)
			failed(x, box->name, 0, strerror(rc), EX_IOERR);
	}
	return rc;
}

int
export_prepare_dir(struct tool *t, const char *path)
{
	struct dirent *e;
	DIR *d;
	bool empty = true;

	if (mkdir(path, 0700) == 0)
		return EX_OK;
	if (errno != EEXIST) {
		tool_say(t, "%s: %s", path, strerror(errno));
		return EX_CANTCREAT;
	}
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL)
		empty = empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
	if (d != NULL && empty) {
		closedir(d);
		return EX_OK;
	}
	tool_say(t, "%s: %s", path, d == NULL ? strerror(errno) : "is not empty");
	if (d != NULL)
		closedir(d);
	return EX_CANTCREAT;
}

static void
print_summary(const struct export *x)
{
	double seconds = (double)(shelf_mono_ms() - x->progress.start_ms) / 1000;
	struct shelf_buf b = {0};

	if (!x->t->json) {
		tool_print("%llu messages of %zu mailboxes written, %llu problems; %.1f MB in %.1f s",
		    (unsigned long long)x->messages, x->nboxes, (unsigned long long)x->failed,
		    (double)x->bytes / 1e6, seconds);
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_u64(&b, "mailboxes", x->nboxes);
	tool_json_u64(&b, "messages", x->messages);
	tool_json_u64(&b, "bytes", x->bytes);
	tool_json_u64(&b, "problems", x->failed);
	tool_json_key(&b, "seconds");
	shelf_buf_printf(&b, "%.3f}", seconds);
	tool_print_buf(&b);
}

static int
run(struct export *x, const char *path)
{
	bool to_stdout = x->writer.file_path != NULL && strcmp(path, "-") == 0;
	int rc = 0;

	x->writer.dir = path;
	if (x->writer.file_path == NULL && (rc = export_prepare_dir(x->t, path)) != EX_OK)
		return rc;
	tool_catch_interrupts();
	for (size_t i = 0; rc == 0 && i < x->nboxes && !tool_interrupted(); i++)
		rc = write_box(x, &x->boxes[i]);
	if (rc == 0 && x->writer.finish != NULL && !tool_interrupted() && (rc = x->writer.finish(&x->writer)) != 0)
		failed(x, path, 0, strerror(rc), EX_IOERR);
	tool_progress_end(&x->progress);
	if (x->writer.keywords_lost > 0)
		tool_say(x->t, "%llu keywords left out: a Maildir has letters for 26 a folder",
		    (unsigned long long)x->writer.keywords_lost);
	if (!to_stdout)
		print_summary(x);
	if (tool_interrupted()) {
		tool_say(x->t, "%s: interrupted, not complete", path);
		return EX_TEMPFAIL;
	}
	return x->worst;
}

int
tool_export(struct tool *t)
{
	const char *format = NULL, *mailbox = NULL;
	bool progress = false;
	struct export x = {.t = t};
	const struct tool_option options[] = {
		{"format", TOOL_TEXT, &format}, {"mailbox", TOOL_TEXT, &mailbox},
		{"progress", TOOL_FLAG, &progress}, TOOL_SEARCH_OPTIONS(x.search), {0}};
	struct shelf_buf name = {0};
	struct shelf_account a;
	int rc = tool_args(t, options, 2, 2);

	if (rc == 0 && (format == NULL || !export_writer_init(&x.writer, format)))
		rc = tool_usage(t, "--format: mbox, maildir, eml or tar is needed");
	if (rc == 0)
		rc = tool_search_ready(t, &x.search);
	if (rc == 0 && mailbox != NULL && shelf_mailbox_canonical(shelf_span_str(mailbox), &name) != 0)
		rc = tool_usage(t, "--mailbox %s: not a mailbox name", mailbox);
	if (rc == 0 && strcmp(t->argv[1], "-") == 0 && strcmp(format, "tar") != 0 &&
	    (strcmp(format, "mbox") != 0 || mailbox == NULL))
		rc = tool_usage(t, "-: only for --format tar, and for mbox of one --mailbox");
	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		goto out;
	x.account = a.id;
	tool_progress_begin(&x.progress, progress);
	rc = list_boxes(&x, mailbox == NULL ? NULL : shelf_buf_cstr(&name));
	if (rc != 0) {
		rc = tool_fail(t, mailbox != NULL ? mailbox : t->argv[0], rc);
		goto out;
	}
	if (strcmp(format, "tar") == 0 || (mailbox != NULL && strcmp(format, "mbox") == 0))
		x.writer.file_path = t->argv[1];
	rc = run(&x, t->argv[1]);
out:
	export_writer_free(&x.writer);
	shelf_uidset_free(&x.only);
	for (size_t i = 0; i < x.nboxes; i++)
		free(x.boxes[i].name);
	free(x.boxes);
	shelf_arena_free(&x.arena);
	shelf_buf_free(&name);
	return rc;
}
