/*
 * tool_deliver.c - one message from stdin into an account, as a mail system's delivery program
 *
 * The exit status is what the caller acts on: anything that may be better later is EX_TEMPFAIL, so
 * that the mail system keeps the message; it bounces only for what stays wrong. EX_OK comes after
 * the commit is on disk, never before.
 */
#include <stdlib.h>
#include <unistd.h>

#include "source.h"
#include "tools.h"

enum { READ_BYTES = 64 * 1024 };

/* LF becomes CRLF as in every import; the sink is the draft. */
static int
sink_begin(void *arg, const char *file, uint64_t offset)
{
	return 0;
}

static int
sink_data(void *arg, const void *data, size_t len)
{
	return shelf_draft_write(arg, data, len);
}

static int
sink_end(void *arg, const struct source_meta *meta)
{
	return shelf_draft_finish(arg);
}

static void
sink_drop(void *arg)
{
}

/* Some mail systems put an mbox separator before the message: no part of it. */
static size_t
skip_from_line(const uint8_t *p, size_t len)
{
	const uint8_t *lf = len < 5 || memcmp(p, "From ", 5) != 0 ? NULL : memchr(p, '\n', len);

	return lf == NULL ? 0 : (size_t)(lf - p) + 1;
}

/* Stdin into DRAFT: 0, an engine's error, or SHELF_EIO with *WHY_OUT set. */
static int
read_message(struct shelf_draft *draft, const char **why_out)
{
	struct source_sink sink = {.arg = draft, .begin = sink_begin, .data = sink_data,
	    .end = sink_end, .drop = sink_drop};
	struct source_message msg = {.sink = &sink};
	struct source_meta meta = {.internaldate_s = 0};
	uint8_t *buf = shelf_alloc(READ_BYTES);
	size_t len = 0, skip = 0;
	bool first = true;
	ssize_t n = 1;
	int rc = source_message_begin(&msg, "-", 0);

	while (rc == 0 && n > 0) {
		for (len = 0; len < READ_BYTES; len += (size_t)n) {
			n = read(STDIN_FILENO, buf + len, READ_BYTES - len);
			if (n <= 0)
				break;
		}
		skip = first ? skip_from_line(buf, len) : 0;
		first = false;
		rc = source_message_bytes(&msg, buf + skip, len - skip);
	}
	if (rc == 0 && (n < 0 || !msg.any)) {
		*why_out = n < 0 ? "stdin cannot be read" : "stdin is empty";
		rc = n < 0 ? SHELF_EIO : SHELF_ESYNTAX;
	}
	if (rc == 0)
		rc = source_message_end(&msg, &meta, false, 0);
	source_message_free(&msg);
	free(buf);
	return rc;
}

/* What a mail system should do about RC. */
static int
fate_of(int rc)
{
	switch (tool_exit_of(rc)) {
	case EX_USAGE:
		return EX_USAGE;
	case EX_NOUSER:
		return EX_NOUSER;
	case EX_NOPERM:
		return EX_NOPERM;
	case EX_DATAERR:
		/* Damage in the store is not the message's fault. */
		return rc == SHELF_ECORRUPT ? EX_TEMPFAIL : EX_DATAERR;
	case EX_CANTCREAT:
		return rc == SHELF_EQUOTA || rc == SHELF_ELIMIT ? EX_CANTCREAT : EX_TEMPFAIL;
	default:
		return EX_TEMPFAIL;
	}
}

static int
report(struct tool *t, const struct shelf_append_result *r)
{
	struct shelf_buf b = {0};

	if (!t->json)
		return EX_OK;
	shelf_buf_add_byte(&b, '{');
	tool_json_u64(&b, "mailbox", r->mailbox);
	tool_json_u64(&b, "uidvalidity", r->uidvalidity);
	tool_json_u64(&b, "uid", r->first_uid);
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
	return EX_OK;
}

int
tool_deliver(struct tool *t)
{
	const char *mailbox = NULL, *why = NULL;
	const struct tool_option options[] = {{"mailbox", TOOL_TEXT, &mailbox}, {0}};
	struct shelf_append_result result = {0};
	struct shelf_delivery to = {0};
	struct shelf_draft *draft = NULL;
	struct shelf_account a;
	int rc = tool_args(t, options, 1, 1);

	if (rc != 0)
		return rc;
	rc = tool_open(t);
	if (rc != 0)
		return rc == EX_USAGE ? rc : EX_TEMPFAIL;
	rc = shelf_account_find(t->store, shelf_span_str(t->argv[0]), &a);
	if (rc == SHELF_ENAME)
		rc = SHELF_ENOACCOUNT;
	if (rc == 0)
		rc = shelf_draft_new(t->store, &draft);
	if (rc == 0)
		rc = read_message(draft, &why);
	if (rc == 0) {
		to.account = a.id;
		to.mailbox = shelf_span_str(mailbox);
		shelf_deliver(t->store, draft, &to, 1, &result);
		rc = result.rc;
	}
	shelf_draft_free(&draft);
	if (rc == 0)
		return report(t, &result);
	tool_say(t, "%s: %s", t->argv[0], why != NULL ? why : shelf_err_text(rc));
	return fate_of(rc);
}
