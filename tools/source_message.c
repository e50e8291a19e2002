/*
 * source_message.c - one message on its way to the sink: line ends, header kept, date and flags
 *
 * Every reader passes its bytes through here, so that the rule for line ends exists once.
 */
#include <mailshelf/mem.h>
#include <mailshelf/message.h>
#include <mailshelf/mime.h>

#include "source.h"

enum { OUT_BYTES = 64 * 1024 };

int
source_message_begin(struct source_message *m, const char *file, uint64_t offset)
{
	int rc;

	shelf_buf_clear(&m->out);
	shelf_buf_clear(&m->header);
	m->header_done = m->cr = m->any = false;
	rc = m->sink->begin(m->sink->arg, file, offset);
	m->open = rc == 0; /* else there is nothing to be dropped */
	return rc;
}

static int
flush(struct source_message *m)
{
	int rc = m->out.len == 0 ? 0 : m->sink->data(m->sink->arg, m->out.data, m->out.len);

	shelf_buf_clear(&m->out);
	return rc;
}

/* The header ends with the first empty line; without one it is what is kept. */
static void
keep_header(struct source_message *m, const void *data, size_t len)
{
	size_t from = m->header.len < 3 ? 0 : m->header.len - 3, room;
	const uint8_t *end;

	if (m->header_done)
		return;
	room = SOURCE_HEADER_KEPT_MAX - m->header.len;
	shelf_buf_add(&m->header, data, len < room ? len : room);
	if (m->header.len >= 2 && memcmp(m->header.data, "\r\n", 2) == 0) {
		m->header.len = 2;
		m->header_done = true;
		return;
	}
	end = memmem(m->header.data + from, m->header.len - from, "\r\n\r\n", 4);
	if (end != NULL)
		m->header.len = (size_t)(end - m->header.data) + 4;
	m->header_done = end != NULL || len >= room;
}

static int
add(struct source_message *m, const void *data, size_t len)
{
	int rc;

	if (len == 0)
		return 0;
	keep_header(m, data, len);
	/* A large piece does not need to be copied together. */
	if (len >= OUT_BYTES) {
		rc = flush(m);
		return rc != 0 ? rc : m->sink->data(m->sink->arg, data, len);
	}
	shelf_buf_add(&m->out, data, len);
	return m->out.len >= OUT_BYTES ? flush(m) : 0;
}

int
source_message_bytes(struct source_message *m, const void *data, size_t len)
{
	const uint8_t *p = data, *end = p + len, *from = p;
	int rc = 0;

	if (len == 0)
		return 0;
	m->any = true;
	while (rc == 0 && p < end && !m->raw) {
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
		bool bare;

		if (lf == NULL)
			break;
		bare = lf == (const uint8_t *)data ? !m->cr : lf[-1] != '\r';
		if (bare) {
			rc = add(m, from, (size_t)(lf - from));
			if (rc == 0)
				rc = add(m, "\r\n", 2);
			from = lf + 1;
		}
		p = lf + 1;
	}
	if (rc == 0)
		rc = add(m, from, (size_t)(end - from));
	m->cr = end[-1] == '\r';
	return rc;
}

/* ---- What the header says -------------------------------------------------------------------- */

static uint32_t
status_flags(struct shelf_span value)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < value.len; i++) {
		switch (value.data[i]) {
		case 'R':
			flags |= SHELF_SEEN;
			break;
		case 'A':
			flags |= SHELF_ANSWERED;
			break;
		case 'F':
			flags |= SHELF_FLAGGED;
			break;
		case 'D':
			flags |= SHELF_DELETED;
			break;
		case 'T':
			flags |= SHELF_DRAFT;
			break;
		default: /* O (old) and what nobody defines */
			break;
		}
	}
	return flags;
}

static bool
is_keyword_byte(uint8_t c)
{
	return c > 0x20 && c < 0x7f && strchr("(){%*\"\\]", c) == NULL;
}

/* X-Keywords: words between blanks, padded with blanks by those who rewrite them in place. */
static size_t
keywords_of(struct shelf_span value, struct shelf_span *list, size_t n)
{
	size_t at = 0;

	while (at < value.len && n < SOURCE_KEYWORDS_MAX) {
		size_t from = at;

		while (at < value.len && is_keyword_byte(value.data[at]))
			at++;
		if (at > from && at - from <= 128)
			list[n++] = shelf_span(value.data + from, at - from);
		else
			at += at == from;
	}
	return n;
}

/* The date of a Received field stands behind its last semicolon. */
static bool
received_date(struct shelf_span value, int64_t *s, int16_t *zone)
{
	const uint8_t *semi = value.len == 0 ? NULL : memrchr(value.data, ';', value.len);
	size_t at;

	if (semi == NULL)
		return false;
	at = (size_t)(semi - value.data) + 1;
	return mime_date(shelf_span(value.data + at, value.len - at), s, zone);
}

static bool
plausible(int64_t s)
{
	return s > 315532800 /* 1980 */ && s < shelf_now_s() + 2 * 86400;
}

/* The value of the first field of that name, without the blanks around it. */
static struct shelf_span
field_of(struct source_message *m, const char *name)
{
	struct mime_field f;
	size_t pos = 0;

	while (mime_field_next(shelf_buf_span(&m->header), &pos, &f)) {
		if (!shelf_span_is(f.name, name))
			continue;
		while (f.value.len > 0 && f.value.data[0] <= ' ')
			f.value = shelf_span(f.value.data + 1, f.value.len - 1);
		while (f.value.len > 0 && f.value.data[f.value.len - 1] <= ' ')
			f.value.len--;
		return f.value;
	}
	return shelf_span("", 0);
}

static void
read_header(struct source_message *m, bool status, struct source_meta *meta, struct shelf_span *words)
{
	struct shelf_span header = shelf_buf_span(&m->header);
	int64_t date_s = INT64_MIN, s;
	int16_t date_zone = 0, zone = 0;
	struct mime_field f;
	size_t pos = 0;

	while (mime_field_next(header, &pos, &f)) {
		if (status && (shelf_span_is(f.name, "Status") || shelf_span_is(f.name, "X-Status"))) {
			/* In Status D is no flag, and only R is one. */
			uint32_t flags = status_flags(f.value);

			meta->flags |= shelf_span_is(f.name, "Status") ? flags & SHELF_SEEN : flags;
		} else if (status && shelf_span_is(f.name, "X-Keywords")) {
			meta->nkeywords = keywords_of(f.value, words, meta->nkeywords);
		} else if (meta->internaldate_s != INT64_MIN) {
			continue;
		} else if (shelf_span_is(f.name, "Received")) {
			/* The topmost one is the last hop: the delivery. */
			if (received_date(f.value, &s, &zone) && plausible(s)) {
				meta->internaldate_s = s;
				meta->zone_min = zone;
			}
		} else if (date_s == INT64_MIN && shelf_span_is(f.name, "Date")) {
			if (mime_date(f.value, &s, &zone) && plausible(s)) {
				date_s = s;
				date_zone = zone;
			}
		}
	}
	if (meta->internaldate_s == INT64_MIN && date_s != INT64_MIN) {
		meta->internaldate_s = date_s;
		meta->zone_min = date_zone;
	}
}

int
source_message_end(struct source_message *m, const struct source_meta *wish, bool status,
    int64_t fallback_s)
{
	struct shelf_span words[SOURCE_KEYWORDS_MAX];
	struct source_meta meta = *wish;
	int rc = flush(m);

	m->open = false;
	if (rc != 0)
		return rc;
	if (meta.nkeywords > SOURCE_KEYWORDS_MAX)
		meta.nkeywords = SOURCE_KEYWORDS_MAX;
	if (meta.nkeywords > 0)
		memcpy(words, meta.keywords, meta.nkeywords * sizeof *words);
	meta.keywords = words;
	if (status || meta.internaldate_s == INT64_MIN)
		read_header(m, status, &meta, words);
	if (m->sink->uidl == SOURCE_UIDL_HEADER)
		meta.uidl = field_of(m, "X-UIDL");
	if (m->sink->uidl == SOURCE_UIDL_LIST)
		meta.message_id = field_of(m, "Message-ID");
	if (meta.internaldate_s == INT64_MIN) {
		meta.internaldate_s = fallback_s;
		meta.zone_min = 0;
	}
	return m->sink->end(m->sink->arg, &meta);
}

void
source_message_drop(struct source_message *m)
{
	if (m->open)
		m->sink->drop(m->sink->arg);
	m->open = false;
}

void
source_message_free(struct source_message *m)
{
	source_message_drop(m);
	shelf_buf_free(&m->out);
	shelf_buf_free(&m->header);
}
