/*
 * tool_deliver.c - one message from stdin to an address, as a mail system's delivery program
 *
 * Addresses lead where LMTP would take them: aliases, extensions, policies are those of access/route, settings those
 * of mailshelfd's file.
 *
 * The exit status is what the caller acts on: anything that may be better later is EX_TEMPFAIL, so
 * that the mail system keeps the message; it bounces only for what stays wrong. EX_OK comes after
 * the commit is on disk, never before.
 */
#include <stdlib.h>
#include <unistd.h>

#include "conf.h"
#include "route.h"
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

/* What a mail system should do about RC. DEFER: of a full box, for now. */
static int
fate_of(int rc, bool defer)
{
	if (rc == 0)
		return EX_OK;
	if (rc == SHELF_EQUOTA && defer)
		return EX_TEMPFAIL;
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

/* ---- Delivering -------------------------------------------------------------------------------- */

struct delivering {
	struct tool *t;
	struct conf *conf;
	const char *from, *mailbox; /* NULL: not given */
	struct route to;
	struct route_rules *rules; /* as many as TO has */
	struct shelf_delivery *list;
	struct shelf_append_result *results;
	struct shelf_draft *draft;
};

/* Nothing that could end a field, or the brackets of a path. */
static bool
is_plain(const char *text)
{
	for (; *text != '\0'; text++)
		if ((uint8_t)*text < ' ' || *text == 0x7f || *text == '<' || *text == '>')
			return false;
	return true;
}

static int
read_settings(struct delivering *d, const char *file)
{
	char error[512];

	d->conf = conf_new();
	if (file != NULL && !conf_read(d->conf, file, error, sizeof error)) {
		tool_say(d->t, "%s", error);
		return EX_TEMPFAIL;
	}
	conf_finish(d->conf);
	if (d->t->store_dir == NULL)
		d->t->store_dir = d->conf->store;
	return 0;
}

/* Who gets it, and where it goes there. */
static int
find_way(struct delivering *d, const char *recipient)
{
	struct shelf_span local = shelf_span_str(recipient), domain = {NULL, 0};
	int rc;

	if (strchr(recipient, '@') != NULL && !route_split(shelf_span_str(recipient), &local, &domain))
		return SHELF_ENOACCOUNT;
	if ((rc = route_find(d->t->store, d->conf, local, domain, &d->to)) != 0)
		return rc;
	d->rules = shelf_zalloc(d->to.n * sizeof *d->rules);
	d->list = shelf_zalloc(d->to.n * sizeof *d->list);
	d->results = shelf_zalloc(d->to.n * sizeof *d->results);
	for (size_t i = 0; i < d->to.n && rc == 0; i++) {
		struct shelf_delivery *to = &d->list[i];

		rc = route_rules(d->t->store, &d->to.list[i], &d->rules[i]);
		to->account = d->to.list[i].account;
		to->over = d->rules[i].over;
		to->mailbox = shelf_span_str(d->mailbox);
		if (d->mailbox == NULL && d->conf->extension_mailbox) {
			to->mailbox = shelf_span_str(d->to.list[i].mailbox);
			to->existing = true;
		}
	}
	return rc;
}

static int
begin_draft(struct delivering *d, const char *recipient)
{
	struct shelf_buf fields = {0};
	const char *from = d->from == NULL ? "" : d->from;
	int rc = shelf_draft_new(d->t->store, &d->draft);

	if (rc == 0 && d->from != NULL && d->conf->lmtp_add_fields) {
		shelf_buf_printf(&fields, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", from, recipient);
		rc = shelf_draft_write(d->draft, fields.data, fields.len);
	}
	if (rc == 0 && d->to.n > 1)
		shelf_draft_identify(d->draft, shelf_span_str(from));
	shelf_buf_free(&fields);
	return rc;
}

static void
report(struct delivering *d)
{
	struct shelf_buf b = {0};

	shelf_buf_add_byte(&b, '[');
	for (size_t i = 0; i < d->to.n; i++) {
		const struct shelf_append_result *r = &d->results[i];

		shelf_buf_add_str(&b, i > 0 ? ",{" : "{");
		tool_json_str(&b, "account", shelf_span_str(d->to.list[i].name));
		tool_json_str(&b, "result", shelf_span_str(r->rc == 0 ? "stored" : shelf_err_name(r->rc)));
		if (r->rc == 0 && r->first_uid != 0) {
			tool_json_u64(&b, "mailbox", r->mailbox);
			tool_json_u64(&b, "uidvalidity", r->uidvalidity);
			tool_json_u64(&b, "uid", r->first_uid);
		}
		shelf_buf_add_byte(&b, '}');
	}
	shelf_buf_add_byte(&b, ']');
	tool_print_buf(&b);
}

/*
 * The one answer for all accounts of an address, as the door of LMTP gives it: for now when one cannot take it now (who
 * has it notes that, and does not get it twice), else for good when one cannot take it at all.
 */
static int
answer_of(struct delivering *d)
{
	int answer = EX_OK;

	for (size_t i = 0; i < d->to.n; i++) {
		int fate = fate_of(d->results[i].rc, d->rules[i].defer);

		if (fate == EX_OK)
			continue;
		tool_say(d->t, "%s: %s", d->to.list[i].name, shelf_err_text(d->results[i].rc));
		if (answer != EX_TEMPFAIL)
			answer = fate;
	}
	for (size_t i = 0; i < d->to.n && answer == EX_TEMPFAIL && d->to.n > 1; i++)
		if (d->results[i].rc == 0 && shelf_deliver_note(d->t->store, d->list[i].account,
						 shelf_draft_identity(d->draft)) != 0)
			tool_say(d->t, "%s: has it, and may get it twice", d->to.list[i].name);
	return answer;
}

static int
deliver(struct delivering *d, const char *recipient)
{
	const char *why = NULL;
	int rc = find_way(d, recipient);

	if (rc == 0)
		rc = begin_draft(d, recipient);
	if (rc == 0)
		rc = read_message(d->draft, &why);
	if (rc != 0) {
		tool_say(d->t, "%s: %s", recipient, why != NULL ? why : shelf_err_text(rc));
		return fate_of(rc, false);
	}
	shelf_deliver(d->t->store, d->draft, d->list, d->to.n, d->results);
	for (size_t i = 0; i < d->to.n; i++)
		if (d->results[i].rc == SHELF_EQUOTA)
			d->rules[i].defer = route_defers(d->t->store, &d->to.list[i], &d->rules[i]);
	if (d->t->json)
		report(d);
	return answer_of(d);
}

int
tool_deliver(struct tool *t)
{
	struct delivering d = {.t = t};
	const char *config = NULL;
	const struct tool_option options[] = {{"mailbox", TOOL_TEXT, &d.mailbox}, {"from", TOOL_TEXT, &d.from},
	    {"config", TOOL_TEXT, &config}, {0}};
	const char *recipient;
	int rc = tool_args(t, options, 0, 1);

	if (rc != 0)
		return rc;
	/* Mail servers put both into the environment, where no shell and no quoting comes near them. */
	recipient = t->argc == 1 ? t->argv[0] : getenv("RECIPIENT");
	if (recipient == NULL || *recipient == '\0')
		return tool_usage(t, "argument missing");
	if (t->argc == 0 && d.from == NULL)
		d.from = getenv("SENDER");
	if (d.from != NULL && (strcmp(d.from, "<>") == 0 || strcmp(d.from, "MAILER-DAEMON") == 0))
		d.from = "";
	if (!is_plain(recipient) || (d.from != NULL && !is_plain(d.from)))
		return tool_usage(t, "an address cannot have control characters, or brackets");
	if ((rc = read_settings(&d, config)) == 0 && (rc = tool_open(t)) != 0)
		rc = rc == EX_USAGE ? rc : EX_TEMPFAIL;
	if (rc == 0)
		rc = deliver(&d, recipient);
	shelf_draft_free(&d.draft);
	route_free(&d.to);
	free(d.rules);
	free(d.list);
	free(d.results);
	conf_free(&d.conf);
	return rc;
}
