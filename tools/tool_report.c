/*
 * tool_report.c - what the program says: errors, lines, JSON; error to exit status
 *
 * Whatever is printed for people passes add_safe(): names of files and mailboxes come from anywhere.
 */
#include <stdarg.h>
#include <unistd.h>

#include "tools.h"

/* No default: a new row in err.def must be decided here. */
static int
exit_of(enum shelf_err err)
{
	switch (err) {
	case SHELF_OK:
		return EX_OK;
	case SHELF_EINVALID:
	case SHELF_ENAME:
		return EX_USAGE;
	case SHELF_ESYNTAX:
	case SHELF_ETOOBIG:
	case SHELF_ECORRUPT:
		return EX_DATAERR;
	case SHELF_ENOACCOUNT:
		return EX_NOUSER;
	case SHELF_ENOMAILBOX:
	case SHELF_ENOMESSAGE:
	case SHELF_EMISSING:
		return EX_NOINPUT;
	case SHELF_ELIMIT:
	case SHELF_EEXISTS:
	case SHELF_EQUOTA:
	case SHELF_EFULL:
	case SHELF_EREADONLY:
		return EX_CANTCREAT;
	case SHELF_EAUTH:
	case SHELF_EDISABLED:
	case SHELF_ECHILDREN:
	case SHELF_ECANNOT:
	case SHELF_ENOPERM:
		return EX_NOPERM;
	case SHELF_EBUSY:
	case SHELF_ECANCELLED:
	case SHELF_ESTOPPING:
		return EX_TEMPFAIL;
	case SHELF_ENOMEM:
		return EX_UNAVAILABLE;
	case SHELF_EIO:
	case SHELF_EUNKNOWN:
		return EX_IOERR;
	case SHELF_EVERSION:
		return EX_CONFIG;
	}
	return EX_SOFTWARE;
}

int
tool_exit_of(int err)
{
	return exit_of((enum shelf_err)err);
}

static void
add_safe(struct shelf_buf *out, struct shelf_span s)
{
	bool utf8 = shelf_utf8_valid(s);

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		/* C1 controls are two bytes in UTF-8: C2 80 .. C2 9F. */
		bool c1 = c == 0xc2 && i + 1 < s.len && s.data[i + 1] < 0xa0;

		if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8) || c1) {
			shelf_buf_printf(out, "\\x%02x", c);
			if (c1)
				shelf_buf_printf(out, "\\x%02x", s.data[++i]);
		} else {
			shelf_buf_add_byte(out, c);
		}
	}
}

static void say(FILE *to, const char *head, const char *verb, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

/* One write for the line, so that lines of threads do not mix. */
static void
say(FILE *to, const char *head, const char *verb, const char *fmt, va_list ap)
{
	struct shelf_buf text = {0}, line = {0};

	shelf_buf_vprintf(&text, fmt, ap);
	if (head != NULL)
		shelf_buf_printf(&line, "%s: ", head);
	if (verb != NULL)
		shelf_buf_printf(&line, "%s: ", verb);
	add_safe(&line, shelf_buf_span(&text));
	shelf_buf_add_byte(&line, '\n');
	fwrite(line.data, 1, line.len, to);
	shelf_buf_free(&text);
	shelf_buf_free(&line);
}

static const char *
verb_of(const struct tool *t)
{
	return t->verb == NULL ? NULL : t->verb->name;
}

void
tool_say(const struct tool *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(stderr, "mailshelf", verb_of(t), fmt, ap);
	va_end(ap);
}

int
tool_fail(const struct tool *t, const char *what, int err)
{
	tool_say(t, "%s: %s", what, shelf_err_text(err));
	return tool_exit_of(err);
}

int
tool_usage(const struct tool *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(stderr, "mailshelf", verb_of(t), fmt, ap);
	va_end(ap);
	fprintf(stderr, "usage: mailshelf [-s STORE] %s %s\n", t->verb->name, t->verb->usage);
	return EX_USAGE;
}

void
tool_print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(stdout, NULL, NULL, fmt, ap);
	va_end(ap);
}

void
tool_print_buf(struct shelf_buf *b)
{
	shelf_buf_add_byte(b, '\n');
	fwrite(b->data, 1, b->len, stdout);
	shelf_buf_free(b);
}

void
tool_json_key(struct shelf_buf *b, const char *key)
{
	if (b->len > 0 && b->data[b->len - 1] != '{' && b->data[b->len - 1] != '[')
		shelf_buf_add_byte(b, ',');
	shelf_buf_add_json(b, shelf_span_str(key));
	shelf_buf_add_byte(b, ':');
}

void
tool_json_str(struct shelf_buf *b, const char *key, struct shelf_span value)
{
	tool_json_key(b, key);
	shelf_buf_add_json(b, value);
}

void
tool_json_u64(struct shelf_buf *b, const char *key, uint64_t value)
{
	tool_json_key(b, key);
	shelf_buf_printf(b, "%llu", (unsigned long long)value);
}

void
tool_json_quota(struct shelf_buf *b, const struct shelf_quota *q)
{
	tool_json_u64(b, "used_bytes", q->used_bytes);
	tool_json_u64(b, "used_messages", q->used_messages);
	tool_json_u64(b, "limit_bytes", q->limit_bytes);
	tool_json_u64(b, "limit_messages", q->limit_messages);
	tool_json_u64(b, "used_mailboxes", q->used_mailboxes);
	tool_json_u64(b, "limit_mailboxes", q->limit_mailboxes);
	tool_json_u64(b, "held_bytes", q->held_bytes);
	tool_json_u64(b, "held_messages", q->held_messages);
}

void
tool_json_bool(struct shelf_buf *b, const char *key, bool value)
{
	tool_json_key(b, key);
	shelf_buf_add_str(b, value ? "true" : "false");
}

char *
tool_time_text(int64_t s, char *buf)
{
	int64_t days = s / 86400 - (s % 86400 < 0);
	int64_t rest = s - days * 86400;
	unsigned month, day;
	int year;

	shelf_civil_from_days(days, &year, &month, &day);
	snprintf(buf, 32, "%d-%02u-%02u %02d:%02d:%02d", year, month, day, (int)(rest / 3600),
	    (int)(rest / 60 % 60), (int)(rest % 60));
	return buf;
}

const char *
tool_limit_text(uint64_t bytes, char *buf, size_t len)
{
	if (bytes == 0) {
		snprintf(buf, len, "none");
		return buf;
	}
	return shelf_size_text(bytes, buf, len);
}

/* "Name <local@host>, ..." decoded. */
static void
add_addresses(struct shelf_buf *out, const struct mime_address *a)
{
	for (; a != NULL; a = a->next) {
		if (a->host.data == NULL) /* begin and end of a group */
			continue;
		if (out->len > 0)
			shelf_buf_add_str(out, ", ");
		if (a->name.len > 0) {
			struct shelf_buf name = {0};

			mime_header_utf8(a->name, &name);
			shelf_buf_add_span(out, shelf_buf_span(&name));
			shelf_buf_add_byte(out, ' ');
			shelf_buf_free(&name);
		}
		shelf_buf_add_byte(out, '<');
		shelf_buf_add_span(out, a->mailbox);
		if (a->host.len > 0) {
			shelf_buf_add_byte(out, '@');
			shelf_buf_add_span(out, a->host);
		}
		shelf_buf_add_byte(out, '>');
	}
}

void
tool_envelope_text(const struct mime_part *root, struct shelf_buf *from, struct shelf_buf *subject)
{
	if (root == NULL || root->envelope == NULL)
		return;
	add_addresses(from, root->envelope->from);
	mime_header_utf8(root->envelope->subject, subject);
}

void
tool_json_message(struct shelf_buf *b, const struct shelf_msg *msg, struct shelf_span from,
    struct shelf_span subject)
{
	char when[32];

	tool_json_u64(b, "uid", msg->uid);
	tool_json_str(b, "date", shelf_span_str(tool_time_text(msg->internaldate_s, when)));
	tool_json_u64(b, "bytes", msg->size);
	tool_json_str(b, "from", from);
	tool_json_str(b, "subject", subject);
}
