/*
 * source_mbox.c - one mbox, in any of its variants, message by message
 *
 * A message begins at a separator (source_from.c) that stands at the start of the file or behind an
 * empty line, and ends before the empty line in front of the next one. An empty line is therefore
 * held back until it is known what follows it. A file whose first separator has no date may have
 * more of that kind; for these a header field must follow.
 *
 * Content-Length ends a message where it says, if a separator or the end of the file really follows
 * there; that is looked up ahead in the window. Where it does not hold, it is ignored: a wrong number
 * must not glue messages together nor cut one.
 *
 * Must stay true: every byte of the file goes through the window once; the window holds LINE_MAX
 * bytes, or up to LOOKAHEAD_MAX while a Content-Length is verified.
 */
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "source.h"

enum {
	READ_BYTES = 128 * 1024,
	LINE_MAX_BYTES = 64 * 1024, /* longer lines come in pieces */
	LOOKAHEAD_MAX = 64 * 1024 * 1024,
	FIELD_NAME_MAX = 256,
};

struct mbox {
	struct source_input *in;
	const char *file;
	enum source_format format;
	const struct source_sink *sink;
	struct source_message msg;
	uint8_t *win;
	size_t pos, len, cap;
	size_t scanned;      /* no LF in [pos, pos + scanned) */
	uint64_t offset;     /* of win[pos] in the unpacked file */
	uint64_t packed;     /* told to advance() */
	bool eof, failed;
	bool middle;         /* win[pos] is not the start of a line */
	bool bare;           /* separators without a date are taken */
};

struct piece {
	struct shelf_span bytes;
	bool starts, ends; /* of a line; the end includes the LF */
};

/* ---- The window --------------------------------------------------------------------------------- */

static void
fill(struct mbox *m, size_t want)
{
	uint64_t packed;
	ptrdiff_t n;

	if (m->eof)
		return;
	/* Moving at most as many bytes as were used up since the last move keeps the work linear. */
	if (m->pos > 0 && m->pos >= m->len - m->pos) {
		memmove(m->win, m->win + m->pos, m->len - m->pos);
		m->len -= m->pos;
		m->pos = 0;
	}
	if (m->cap - m->len < READ_BYTES) {
		size_t cap = m->pos + want + READ_BYTES;

		m->cap = cap > 2 * m->cap ? cap : 2 * m->cap;
		m->win = shelf_realloc(m->win, m->cap);
	}
	n = source_input_read(m->in, m->win + m->len, READ_BYTES);
	m->failed = n < 0;
	m->eof = n <= 0;
	if (n > 0)
		m->len += (size_t)n;
	packed = source_input_packed(m->in);
	m->sink->advance(m->sink->arg, packed - m->packed);
	m->packed = packed;
}

/* Are N bytes in the window? Reads until they are, or the file ends. */
static bool
need(struct mbox *m, size_t n)
{
	while (m->len - m->pos < n && !m->eof)
		fill(m, n);
	return m->len - m->pos >= n;
}

static void
skip(struct mbox *m, size_t n)
{
	if (n > 0)
		m->middle = m->win[m->pos + n - 1] != '\n';
	m->pos += n;
	m->offset += n;
	m->scanned = n > m->scanned ? 0 : m->scanned - n;
}

/* The line at the window's start, or LINE_MAX_BYTES of it; not yet skipped. False at the end. */
static bool
peek(struct mbox *m, struct piece *out)
{
	const uint8_t *lf = NULL;

	for (;;) {
		size_t have = m->len - m->pos;

		if (have > LINE_MAX_BYTES)
			have = LINE_MAX_BYTES;
		if (have > m->scanned)
			lf = memchr(m->win + m->pos + m->scanned, '\n', have - m->scanned);
		m->scanned = lf == NULL ? have : (size_t)(lf - (m->win + m->pos));
		if (lf != NULL || have == LINE_MAX_BYTES || m->eof)
			break;
		fill(m, LINE_MAX_BYTES);
	}
	out->bytes = shelf_span(m->win + m->pos, m->scanned + (lf != NULL));
	out->starts = !m->middle;
	out->ends = lf != NULL;
	return out->bytes.len > 0;
}

/* ---- Lines -------------------------------------------------------------------------------------- */

static struct shelf_span
without_end(struct shelf_span line)
{
	if (line.len > 0 && line.data[line.len - 1] == '\n')
		line.len--;
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	return line;
}

static bool
is_empty(const struct piece *p)
{
	return p->starts && p->ends && without_end(p->bytes).len == 0;
}

/* Does the line at AT of the window begin like a header field? */
static bool
is_field_at(const struct mbox *m, size_t at)
{
	size_t from = at;

	while (at < m->len && m->win[at] > 0x20 && m->win[at] < 0x7f && m->win[at] != ':')
		at++;
	return at > from && at < m->len && m->win[at] == ':';
}

/* LINE, without its end, of RAW_LEN bytes with it, N bytes further on in the window. */
static bool
separates(struct mbox *m, struct shelf_span line, size_t n, size_t raw_len)
{
	int64_t s;
	int16_t zone;

	if (source_from_line(line, &s, &zone))
		return true;
	if (!m->bare || !source_from_bare(line))
		return false;
	/* LINE dies here when the window moves. */
	(void)need(m, n + raw_len + FIELD_NAME_MAX);
	return is_field_at(m, m->pos + n + raw_len);
}

static bool
is_separator(struct mbox *m, struct piece *p)
{
	bool yes = p->starts && separates(m, without_end(p->bytes), 0, p->bytes.len);

	p->bytes.data = m->win + m->pos;
	return yes;
}

/* A line with its quoting undone, as the variant says. */
static struct shelf_span
unquoted(enum source_format format, struct shelf_span line)
{
	size_t n = 0;

	if (format == SOURCE_MBOXCL2 || line.len < 6 || line.data[0] != '>')
		return line;
	while (n < line.len && line.data[n] == '>')
		n++;
	if (line.len - n < 5 || memcmp(line.data + n, "From ", 5) != 0)
		return line;
	if ((format == SOURCE_MBOXO || format == SOURCE_MBOXCL) && n > 1)
		return line;
	return shelf_span(line.data + 1, line.len - 1);
}

/* ---- Content-Length ----------------------------------------------------------------------------- */

/* The header's Content-Length. False when there is none, or two that differ. */
static bool
content_length(struct shelf_span header, uint64_t *out)
{
	struct mime_field f;
	bool found = false;
	size_t pos = 0;

	while (mime_field_next(header, &pos, &f)) {
		struct shelf_span v = without_end(f.value);
		uint64_t n;

		if (!shelf_span_is(f.name, "Content-Length"))
			continue;
		while (v.len > 0 && (v.data[0] == ' ' || v.data[0] == '\t'))
			v = shelf_span(v.data + 1, v.len - 1);
		while (v.len > 0 && (v.data[v.len - 1] == ' ' || v.data[v.len - 1] == '\t'))
			v.len--;
		if (!shelf_span_u64(v, INT64_MAX, &n) || (found && n != *out))
			return false;
		*out = n;
		found = true;
	}
	return found;
}

/* The line end at AT of the window, or 0. */
static size_t
line_end_at(const struct mbox *m, size_t at)
{
	if (at < m->len && m->win[at] == '\n')
		return 1;
	return at + 1 < m->len && m->win[at] == '\r' && m->win[at + 1] == '\n' ? 2 : 0;
}

/*
 * Does the message end N bytes further on: a line end, two when the body stops in the middle of a line
 * (WHOLE: it does not), then a separator or the end of the file? *SKIP_OUT: how many line end bytes.
 */
static bool
ends_at(struct mbox *m, size_t n, bool whole, size_t *skip_out)
{
	struct shelf_span line;
	size_t at, end, max;

	(void)need(m, n + 4 + 1024);
	if (m->failed || m->len - m->pos < n)
		return false;
	at = m->pos + n;
	end = line_end_at(m, at);
	if (!whole && end == 0 && at < m->len)
		return false;
	at += end;
	if (!whole)
		at += line_end_at(m, at);
	*skip_out = at - m->pos - n;
	if (at == m->len)
		return m->eof;
	max = m->len - at < 1024 ? m->len - at : 1024;
	for (end = 0; end < max && m->win[at + end] != '\n'; end++)
		;
	line = without_end(shelf_span(m->win + at, end + (end < max)));
	return separates(m, line, at - m->pos, end + (end < max));
}

static bool
length_holds(struct mbox *m, uint64_t n)
{
	size_t line_ends;

	return n <= LOOKAHEAD_MAX && need(m, (size_t)n) &&
	    ends_at(m, (size_t)n, n == 0 || m->win[m->pos + n - 1] == '\n', &line_ends);
}

/* Behind the header: does Content-Length tell how much of what follows is the body? */
static bool
body_by_length(struct mbox *m, uint64_t *n_out)
{
	struct shelf_span header = shelf_buf_span(&m->msg.header);

	if (m->format == SOURCE_MBOXO || m->format == SOURCE_MBOXRD || !content_length(header, n_out))
		return false;
	if (length_holds(m, *n_out))
		return true;
	/* Too large to look ahead: who asks for this variant is believed, and loses nothing, since
	 * what follows the length is read by separators again. */
	return *n_out > LOOKAHEAD_MAX && (m->format == SOURCE_MBOXCL || m->format == SOURCE_MBOXCL2);
}

/* ---- Messages ----------------------------------------------------------------------------------- */

/* The part of the body that Content-Length covers. *ENDED_OUT: the message ends with it. */
static int
copy_body(struct mbox *m, uint64_t left, bool *ended_out)
{
	enum source_format format = m->format == SOURCE_MBOXCL ? SOURCE_MBOXCL : SOURCE_MBOXCL2;
	size_t line_ends = 0;
	struct piece p;
	int rc = 0;

	while (rc == 0 && left > 0 && peek(m, &p)) {
		size_t len = p.bytes.len < left ? p.bytes.len : (size_t)left;
		struct shelf_span line = shelf_span(p.bytes.data, len);

		if (p.starts)
			line = unquoted(format, line);
		rc = source_message_bytes(&m->msg, line.data, line.len);
		left -= len;
		skip(m, len);
	}
	*ended_out = rc == 0 && ends_at(m, 0, !m->middle, &line_ends);
	if (*ended_out)
		skip(m, line_ends);
	return rc;
}

/*
 * Lines up to the next separator. Returns what the sink returns.
 *   held  the empty line not yet given away
 */
static int
read_lines(struct mbox *m)
{
	struct shelf_buf held = {0};
	bool in_header = true, behind_empty = false;
	struct piece p;
	int rc = 0;

	while (rc == 0 && peek(m, &p)) {
		struct shelf_span line;

		if (behind_empty && is_separator(m, &p))
			break;
		if (held.len > 0) {
			rc = source_message_bytes(&m->msg, held.data, held.len);
			shelf_buf_clear(&held);
			if (rc != 0)
				break;
		}
		behind_empty = is_empty(&p);
		if (!behind_empty) {
			line = p.starts ? unquoted(m->format, p.bytes) : p.bytes;
			rc = source_message_bytes(&m->msg, line.data, line.len);
			skip(m, p.bytes.len);
			continue;
		}
		shelf_buf_add_span(&held, p.bytes);
		skip(m, p.bytes.len);
		if (in_header) {
			bool ended = false;
			uint64_t n;

			in_header = false;
			if (!body_by_length(m, &n))
				continue;
			rc = source_message_bytes(&m->msg, held.data, held.len);
			shelf_buf_clear(&held);
			if (rc == 0)
				rc = copy_body(m, n, &ended);
			if (ended)
				break;
			behind_empty = false;
		}
	}
	shelf_buf_free(&held);
	return rc;
}

static int
read_message(struct mbox *m)
{
	struct source_meta meta = {.internaldate_s = INT64_MIN};
	uint64_t start = m->offset;
	struct piece p;
	int rc;

	if (!peek(m, &p))
		return 0;
	/* The caller saw that it is a separator; one without a date leaves META as it is. */
	(void)source_from_line(without_end(p.bytes), &meta.internaldate_s, &meta.zone_min);
	skip(m, p.bytes.len);
	rc = source_message_begin(&m->msg, m->file, start);
	if (rc == 0)
		rc = read_lines(m);
	if (rc != 0)
		return rc;
	if (m->failed) {
		/* What came is not the whole message, and nobody can tell how much is missing. */
		source_message_drop(&m->msg);
		m->sink->problem(m->sink->arg, m->file, start, source_input_why(m->in));
		return 0;
	}
	if (!m->msg.any) {
		source_message_drop(&m->msg);
		m->sink->problem(m->sink->arg, m->file, start, "empty message");
		return 0;
	}
	return source_message_end(&m->msg, &meta, true, source_input_mtime(m->in));
}

/* Byte order mark and empty lines at the start; then it is known what separators look like. */
static void
begin_file(struct mbox *m)
{
	struct piece p;

	if (need(m, 3) && memcmp(m->win + m->pos, "\xef\xbb\xbf", 3) == 0) {
		skip(m, 3);
		m->middle = false;
	}
	while (peek(m, &p) && is_empty(&p))
		skip(m, p.bytes.len);
	m->bare = peek(m, &p) && source_from_bare(without_end(p.bytes));
}

/* What stands before the first separator is not mail: named, left out. */
static void
skip_garbage(struct mbox *m)
{
	uint64_t start = m->offset;
	bool behind_empty = false;
	char text[96];
	struct piece p;

	if (!peek(m, &p) || is_separator(m, &p))
		return;
	while (peek(m, &p) && !(behind_empty && is_separator(m, &p))) {
		behind_empty = is_empty(&p);
		skip(m, p.bytes.len);
	}
	if (m->failed) /* a worse problem, named by the caller */
		return;
	snprintf(text, sizeof text, "%llu bytes before the first \"From \" line",
	    (unsigned long long)(m->offset - start));
	m->sink->problem(m->sink->arg, m->file, start, text);
}

int
source_mbox(struct source_input *in, const char *file, enum source_format format,
    const struct source_sink *sink)
{
	struct mbox m = {.in = in, .file = file, .format = format, .sink = sink, .msg = {.sink = sink}};
	uint64_t reported;
	struct piece p;
	int rc = 0;

	begin_file(&m);
	skip_garbage(&m);
	reported = m.offset;
	while (rc == 0 && peek(&m, &p))
		rc = read_message(&m);
	/* Damage between two messages, or something behind packed data. */
	if (rc == 0 && source_input_why(in) != NULL && (!m.failed || m.offset == reported))
		sink->problem(sink->arg, file, m.offset, source_input_why(in));
	source_message_free(&m.msg);
	free(m.win);
	return rc;
}

int
source_single(struct source_input *in, const char *file, const struct source_meta *meta,
    const struct source_sink *sink)
{
	struct source_message msg = {.sink = sink};
	uint8_t *buf = shelf_alloc(READ_BYTES);
	uint64_t packed = 0;
	ptrdiff_t n = 0;
	int rc = source_message_begin(&msg, file, 0);

	while (rc == 0 && (n = source_input_read(in, buf, READ_BYTES)) > 0) {
		rc = source_message_bytes(&msg, buf, (size_t)n);
		sink->advance(sink->arg, source_input_packed(in) - packed);
		packed = source_input_packed(in);
	}
	if (rc != 0)
		goto out;
	if (n < 0 || !msg.any) {
		source_message_drop(&msg);
		sink->problem(sink->arg, file, 0, n < 0 ? source_input_why(in) : "empty message");
		goto out;
	}
	rc = source_message_end(&msg, meta, false, source_input_mtime(in));
	if (rc == 0 && source_input_why(in) != NULL)
		sink->problem(sink->arg, file, 0, source_input_why(in));
out:
	source_message_free(&msg);
	free(buf);
	return rc;
}
