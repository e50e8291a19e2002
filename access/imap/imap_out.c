/*
 * imap_out.c - printing IMAP's data types
 *
 * Output gathers in s->out and goes to net in pieces, so that small responses cost one write. What
 * comes from clients or messages is printed only through the string functions here: they alone
 * decide between atom, quoted and literal, and nothing they print can end a line.
 * Sources   RFC 9051 4, 9.
 */
#include "imap.h"
#include "net.h"

enum { FLUSH_BYTES = 16384, OUT_KEPT_BYTES = 32768 };

void
imap_out_flush(struct imap_session *s)
{
	if (s->out.len > 0 && !net_conn_closing(s->conn))
		net_conn_write(s->conn, s->out.data, s->out.len);
	shelf_buf_clear(&s->out);
	if (s->out.cap > OUT_KEPT_BYTES)
		shelf_buf_free(&s->out);
}

bool
imap_out_full(struct imap_session *s)
{
	if (s->out.len >= FLUSH_BYTES)
		imap_out_flush(s);
	if (!net_conn_full(s->conn))
		return false;
	imap_out_flush(s);
	return true;
}

void
imap_out(struct imap_session *s, const void *data, size_t len)
{
	shelf_buf_add(&s->out, data, len);
}

void
imap_out_span(struct imap_session *s, struct shelf_span span)
{
	shelf_buf_add_span(&s->out, span);
}

void
imap_out_uint(struct imap_session *s, uint64_t n)
{
	shelf_buf_add_uint(&s->out, n);
}

void
imap_outf(struct imap_session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	shelf_buf_vprintf(&s->out, fmt, ap);
	va_end(ap);
}

void
imap_untagged(struct imap_session *s, const char *fmt, ...)
{
	va_list ap;

	shelf_buf_add(&s->out, "* ", 2);
	va_start(ap, fmt);
	shelf_buf_vprintf(&s->out, fmt, ap);
	va_end(ap);
	shelf_buf_add(&s->out, "\r\n", 2);
}

/* What is in a string. */
struct found {
	uint64_t line_end, eight_bit, quote; /* not 0: there are some; NUL counts as a line's end */
};

/* Not 0: a byte of WORD is C. */
static uint64_t
has_byte(uint64_t word, uint8_t c)
{
	const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;

	word ^= ones * c;
	return (word - ones) & ~word & highs;
}

/* Eight bytes at once: byte by byte it was a fifth of listing envelopes. */
static struct found
look_at(struct shelf_span v)
{
	struct found f = {0};

	for (size_t i = 0; i < v.len; i += sizeof(uint64_t)) {
		uint64_t word;

		if (v.len - i >= sizeof word) {
			memcpy(&word, v.data + i, sizeof word);
		} else {
			memset(&word, 'x', sizeof word);
			memcpy(&word, v.data + i, v.len - i);
		}
		f.line_end |= has_byte(word, 0) | has_byte(word, '\r') | has_byte(word, '\n');
		f.quote |= has_byte(word, '"') | has_byte(word, '\\');
		f.eight_bit |= word & 0x8080808080808080u;
	}
	return f;
}

/* Can stand between quotes: no line ends, not too long, 7 bits unless the client knows UTF-8. */
static bool
is_quotable(const struct imap_session *s, struct shelf_span v, const struct found *f)
{
	return v.len <= IMAP_QUOTED_MAX_BYTES && f->line_end == 0 &&
	    (f->eight_bit == 0 || (s->utf8 && shelf_utf8_valid(v)));
}

void
imap_out_literal(struct imap_session *s, uint64_t len)
{
	shelf_buf_printf(&s->out, "{%llu}\r\n", (unsigned long long)len);
}

void
imap_out_string(struct imap_session *s, struct shelf_span v)
{
	struct found f = v.len <= IMAP_QUOTED_MAX_BYTES ? look_at(v) : (struct found){0};
	uint8_t *p;

	if (!is_quotable(s, v, &f)) {
		imap_out_literal(s, v.len);
		shelf_buf_add_span(&s->out, v);
		return;
	}
	p = shelf_buf_reserve(&s->out, 2 * v.len + 2);
	*p++ = '"';
	for (size_t i = 0; i < v.len && f.quote != 0; i++) {
		if (v.data[i] == '"' || v.data[i] == '\\')
			*p++ = '\\';
		*p++ = v.data[i];
	}
	if (f.quote == 0 && v.len > 0) {
		memcpy(p, v.data, v.len);
		p += v.len;
	}
	*p++ = '"';
	s->out.len = (size_t)(p - s->out.data);
}

void
imap_out_nstring(struct imap_session *s, struct shelf_span v)
{
	if (v.data == NULL)
		shelf_buf_add(&s->out, "NIL", 3);
	else
		imap_out_string(s, v);
}

void
imap_out_astring(struct imap_session *s, struct shelf_span v)
{
	bool atom = v.len > 0 && v.len <= IMAP_QUOTED_MAX_BYTES && !shelf_span_is(v, "NIL");
	size_t i = 0;

	for (i = 0; atom && i < v.len; i++)
		atom = v.data[i] > 0x20 && v.data[i] < 0x7f &&
		    strchr("(){%*\"\\]", v.data[i]) == NULL;
	if (atom)
		shelf_buf_add_span(&s->out, v);
	else
		imap_out_string(s, v);
}

void
imap_out_mailbox(struct imap_session *s, struct shelf_span utf8)
{
	struct shelf_buf name = {0};

	if (s->utf8)
		shelf_buf_add_span(&name, utf8);
	else
		imap_mutf7_encode(utf8, &name);
	imap_out_astring(s, shelf_buf_span(&name));
	shelf_buf_free(&name);
}

void
imap_out_date_time(struct imap_session *s, int64_t utc_s, int16_t zone_min)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t local = utc_s + (int64_t)zone_min * 60;
	int64_t days = local / 86400, second = local % 86400;
	int zone = zone_min < 0 ? -zone_min : zone_min, year = 0;
	unsigned month = 1, day = 1;

	if (second < 0) {
		second += 86400;
		days--;
	}
	shelf_civil_from_days(days, &year, &month, &day);
	shelf_buf_printf(&s->out, "\"%2u-%.3s-%04d %02d:%02d:%02d %c%02d%02d\"", day,
	    months + (size_t)3 * (month - 1), year, (int)(second / 3600), (int)(second / 60 % 60),
	    (int)(second % 60), zone_min < 0 ? '-' : '+', zone / 60, zone % 60);
}

void
imap_out_flags(struct imap_session *s, const struct shelf_msg *m, const struct shelf_keywords *kw)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} flags[] = {{SHELF_ANSWERED, "\\Answered"}, {SHELF_FLAGGED, "\\Flagged"},
	    {SHELF_DELETED, "\\Deleted"}, {SHELF_SEEN, "\\Seen"}, {SHELF_DRAFT, "\\Draft"}};
	const char *blank = "(";
	uint32_t i = 0;

	for (i = 0; i < sizeof flags / sizeof *flags; i++) {
		if ((m->flags & flags[i].flag) != 0) {
			shelf_buf_add_str(&s->out, blank);
			shelf_buf_add_str(&s->out, flags[i].name);
			blank = " ";
		}
	}
	if (!s->rev2 && s->recent != NULL && shelf_uidset_has(s->recent, m->uid)) {
		shelf_buf_add_str(&s->out, blank);
		shelf_buf_add_str(&s->out, "\\Recent");
		blank = " ";
	}
	for (i = 0; i < kw->count; i++) {
		if (shelf_msg_has_keyword(m, i)) {
			shelf_buf_add_str(&s->out, blank);
			shelf_buf_add_span(&s->out, kw->name[i]);
			blank = " ";
		}
	}
	shelf_buf_add_str(&s->out, *blank == '(' ? "()" : ")");
}
