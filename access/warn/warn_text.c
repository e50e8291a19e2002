/*
 * warn_text.c - a template becomes a message
 *
 * What must stay true: nothing that is filled in ends a line (names of accounts have no control characters, numbers are
 * ours), so a template's fields stay what they are.
 * Sources   RFC 5322 2.2, 3.6; RFC 2047 2, 5; RFC 3834 5 (Auto-Submitted: nothing answers to it)
 */
#include <stdio.h>
#include <strings.h>

#include <mailshelf/date.h>

#include "warn.h"

static const char default_text[] =
	"Subject: Your mailbox is %{percent}% full\n"
	"\n"
	"Your mailbox %{account} is %{percent}% full:\n"
	"\n"
	"%{usage}\n"
	"\n"
	"%{pop3}\n"
	"When it is full, no more mail can be delivered to it. Please remove what you do\n"
	"not need any more, and do not forget the mailboxes for sent and deleted mail.\n"
	"\n"
	"This message was made by the mail server %{hostname}. Nobody reads replies to it.\n";

struct making {
	const struct shelf_warning *w;
	const struct warn_left *left;
	const char *hostname;
};

/* ---- What is filled in ------------------------------------------------------------------------- */

static void
add_number(struct shelf_buf *b, uint64_t n)
{
	shelf_buf_printf(b, "%llu", (unsigned long long)n);
}

static void
add_size(struct shelf_buf *b, uint64_t bytes)
{
	char text[32];

	shelf_buf_add_str(b, shelf_size_text(bytes, text, sizeof text));
}

static void
add_usage(struct shelf_buf *b, const struct shelf_quota *q)
{
	if (q->limit_bytes != 0) {
		shelf_buf_add_str(b, "    ");
		add_size(b, q->used_bytes);
		shelf_buf_add_str(b, " of ");
		add_size(b, q->limit_bytes);
		shelf_buf_add_str(b, "\r\n");
	}
	if (q->limit_messages != 0)
		shelf_buf_printf(b, "    %llu of %llu messages\r\n", (unsigned long long)q->used_messages,
		    (unsigned long long)q->limit_messages);
}

static void
add_left(struct shelf_buf *b, const struct warn_left *left)
{
	char size[32];

	if (left->messages == 0)
		return;
	shelf_buf_printf(b, "%llu messages (%s) were fetched by POP3 more than %u days ago and are still\r\n"
	    "there. A mail program that is told not to leave mail on the server removes them.\r\n\r\n",
	    (unsigned long long)left->messages, shelf_size_text(left->bytes, size, sizeof size), left->days);
}

/* False: no such word. */
static bool
fill_in(struct shelf_buf *b, const struct making *m, struct shelf_span word)
{
	const struct shelf_quota *q = &m->w->quota;

	if (shelf_span_eq(word, shelf_span_str("account")))
		shelf_buf_add_str(b, m->w->name);
	else if (shelf_span_eq(word, shelf_span_str("hostname")))
		shelf_buf_add_str(b, m->hostname);
	else if (shelf_span_eq(word, shelf_span_str("percent")))
		add_number(b, m->w->percent);
	else if (shelf_span_eq(word, shelf_span_str("threshold")))
		add_number(b, m->w->threshold);
	else if (shelf_span_eq(word, shelf_span_str("level")))
		add_number(b, m->w->level);
	else if (shelf_span_eq(word, shelf_span_str("used")))
		add_size(b, q->used_bytes);
	else if (shelf_span_eq(word, shelf_span_str("limit")))
		add_size(b, q->limit_bytes);
	else if (shelf_span_eq(word, shelf_span_str("messages")))
		add_number(b, q->used_messages);
	else if (shelf_span_eq(word, shelf_span_str("message_limit")))
		add_number(b, q->limit_messages);
	else if (shelf_span_eq(word, shelf_span_str("pop3_messages")))
		add_number(b, m->left->messages);
	else if (shelf_span_eq(word, shelf_span_str("pop3_size")))
		add_size(b, m->left->bytes);
	else if (shelf_span_eq(word, shelf_span_str("pop3_days")))
		add_number(b, m->left->days);
	else if (shelf_span_eq(word, shelf_span_str("usage")))
		add_usage(b, q);
	else if (shelf_span_eq(word, shelf_span_str("pop3")))
		add_left(b, m->left);
	else
		return false;
	return true;
}

/* A line without its end. What is not known stays as it is. */
static void
fill_line(struct shelf_buf *b, const struct making *m, struct shelf_span line)
{
	for (size_t i = 0; i < line.len;) {
		const uint8_t *end = NULL;

		if (line.len - i > 2 && line.data[i] == '%' && line.data[i + 1] == '{')
			end = memchr(line.data + i, '}', line.len - i);
		if (end != NULL && fill_in(b, m, shelf_span(line.data + i + 2, (size_t)(end - line.data) - i - 2)))
			i = (size_t)(end - line.data) + 1;
		else
			shelf_buf_add_byte(b, line.data[i++]);
	}
}

/* Takes a line off REST. False: there is none. */
static bool
next_line(struct shelf_span *rest, struct shelf_span *line)
{
	const uint8_t *end;

	if (rest->len == 0)
		return false;
	end = memchr(rest->data, '\n', rest->len);
	*line = shelf_span(rest->data, end == NULL ? rest->len : (size_t)(end - rest->data));
	*rest = shelf_span(rest->data + line->len, rest->len - line->len);
	if (end != NULL)
		*rest = shelf_span(rest->data + 1, rest->len - 1);
	while (line->len > 0 && line->data[line->len - 1] == '\r')
		line->len--;
	return true;
}

/* ---- Fields ------------------------------------------------------------------------------------ */

enum field { FROM, TO, DATE, MESSAGE_ID, MIME_VERSION, CONTENT_TYPE, ENCODING, AUTO_SUBMITTED, SUBJECT, FIELDS };
static const char *const field_names[FIELDS] = {"From", "To", "Date", "Message-ID", "MIME-Version", "Content-Type",
	"Content-Transfer-Encoding", "Auto-Submitted", "Subject"};

static bool
is_ascii(struct shelf_span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] >= 0x80)
			return false;
	return true;
}

/* The length of the name of a field; 0: the line is none. */
static size_t
name_len(struct shelf_span line)
{
	size_t n = 0;

	while (n < line.len && line.data[n] > ' ' && line.data[n] < 0x7f && line.data[n] != ':')
		n++;
	return n < line.len && line.data[n] == ':' ? n : 0;
}

/* Encoded words of 45 bytes at most, cut between characters (RFC 2047 5). */
static void
add_text(struct shelf_buf *b, struct shelf_span text)
{
	if (is_ascii(text)) {
		shelf_buf_add_span(b, text);
		return;
	}
	for (size_t at = 0, n; at < text.len; at += n) {
		n = text.len - at < 45 ? text.len - at : 45;
		while (at + n < text.len && n > 1 && (text.data[at + n] & 0xc0) == 0x80)
			n--;
		shelf_buf_add_str(b, at == 0 ? "=?utf-8?B?" : "\r\n =?utf-8?B?");
		shelf_base64_encode(b, shelf_span(text.data + at, n));
		shelf_buf_add_str(b, "?=");
	}
}

static void
add_missing(struct shelf_buf *b, const struct making *m, const bool *given)
{
	char date[SHELF_MAIL_DATE_BYTES];
	int64_t now_s = shelf_now_s();
	bool whole = strchr(m->w->name, '@') != NULL;

	if (!given[FROM])
		shelf_buf_printf(b, "From: Mail server <postmaster@%s>\r\n", m->hostname);
	if (!given[TO] && is_ascii(shelf_span_str(m->w->name)))
		shelf_buf_printf(b, "To: <%s%s%s>\r\n", m->w->name, whole ? "" : "@", whole ? "" : m->hostname);
	else if (!given[TO])
		shelf_buf_add_str(b, "To: undisclosed-recipients:;\r\n");
	if (!given[DATE])
		shelf_buf_printf(b, "Date: %s\r\n", shelf_mail_date(now_s, date));
	if (!given[MESSAGE_ID])
		shelf_buf_printf(b, "Message-ID: <quota.%u.%u.%lld@%s>\r\n", m->w->account, m->w->level,
		    (long long)now_s, m->hostname);
	if (!given[MIME_VERSION])
		shelf_buf_add_str(b, "MIME-Version: 1.0\r\n");
	if (!given[CONTENT_TYPE])
		shelf_buf_add_str(b, "Content-Type: text/plain; charset=utf-8\r\n");
	if (!given[ENCODING])
		shelf_buf_add_str(b, "Content-Transfer-Encoding: 8bit\r\n");
	if (!given[AUTO_SUBMITTED])
		shelf_buf_add_str(b, "Auto-Submitted: auto-generated\r\n");
}

bool
warn_text_make(const struct shelf_warning *w, const struct warn_left *left, struct shelf_span template,
    const char *hostname, struct shelf_buf *out)
{
	struct making m = {w, left, hostname};
	struct shelf_span rest = template.len == 0 ? shelf_span_str(default_text) : template, line;
	struct shelf_buf filled = {0};
	bool given[FIELDS] = {false}, ok = shelf_utf8_valid(rest), any = false;

	while (ok && next_line(&rest, &line) && line.len > 0) {
		size_t n = name_len(line);

		/* A line that goes on with the field before begins with a blank. */
		ok = n > 0 || (any && (line.data[0] == ' ' || line.data[0] == '\t'));
		for (unsigned f = 0; f < FIELDS; f++)
			if (n == strlen(field_names[f]) &&
			    strncasecmp((const char *)line.data, field_names[f], n) == 0)
				given[f] = true;
		any = true;
		shelf_buf_clear(&filled);
		fill_line(&filled, &m, shelf_span(line.data + n, line.len - n));
		shelf_buf_add_span(out, shelf_span(line.data, n));
		if (n > 0 && filled.len > 1 && !is_ascii(shelf_buf_span(&filled))) {
			shelf_buf_add_str(out, ": ");
			add_text(out, shelf_span(filled.data + 1 + (filled.data[1] == ' '),
			    filled.len - 1 - (filled.data[1] == ' ')));
		} else {
			shelf_buf_add_span(out, shelf_buf_span(&filled));
		}
		shelf_buf_add_str(out, "\r\n");
	}
	ok = ok && given[SUBJECT];
	if (ok) {
		add_missing(out, &m, given);
		shelf_buf_add_str(out, "\r\n");
	}
	while (ok && next_line(&rest, &line)) {
		/* Words that are whole lines have their ends. */
		bool lines = shelf_span_eq(line, shelf_span_str("%{usage}")) ||
		    shelf_span_eq(line, shelf_span_str("%{pop3}"));

		fill_line(out, &m, line);
		shelf_buf_add_str(out, lines ? "" : "\r\n");
	}
	shelf_buf_free(&filled);
	return ok;
}
