/*
 * rfc2047.c - header values to UTF-8: encoded words and raw 8-bit text
 *
 * Bytes of adjacent words of one charset are gathered and converted together, since senders cut in
 * the middle of characters in spite of RFC 2047 5. Words count wherever they stand, not only
 * between blanks. What must stay true: linear work - a search for "?=" that failed once is not made
 * again.
 */
#include <mailshelf/mem.h>

#include "mime_internal.h"

struct word {
	struct shelf_span charset, text;
	bool base64;
};

struct decoding {
	struct shelf_buf *out;
	struct shelf_span charset;   /* of what is pending */
	struct shelf_buf pending;    /* decoded bytes of the words so far */
	bool after_word;             /* blanks that follow may be dropped */
	bool no_end;                 /* there is no "?=" ahead */
	struct shelf_span raw_charset;
};

/* Header texts are lines: no byte of a message may break one. */
static void
add_line_safe(struct shelf_buf *out, struct shelf_span charset, struct shelf_span text)
{
	size_t start = out->len, to;

	mime_charset_utf8(charset, text, out);
	for (to = start; to < out->len; to++)
		if (out->data[to] == '\r' || out->data[to] == '\n' || out->data[to] == '\0')
			out->data[to] = ' ';
}

static void
flush_words(struct decoding *d)
{
	if (d->pending.len > 0)
		add_line_safe(d->out, d->charset, shelf_buf_span(&d->pending));
	shelf_buf_clear(&d->pending);
}

/* Position of "?=" at or behind FROM, or -1. */
static ptrdiff_t
find_end(struct shelf_span v, size_t from)
{
	for (;;) {
		ptrdiff_t q = shelf_span_find(v, '?', from);

		if (q < 0 || (size_t)q + 1 == v.len)
			return -1;
		if (v.data[q + 1] == '=')
			return q;
		from = (size_t)q + 1;
	}
}

/* At "=?": reads the word and its end, or says no. */
static bool
take_word(struct decoding *d, struct shelf_span v, size_t *pos, struct word *out)
{
	size_t start = *pos + 2, i = start;
	ptrdiff_t end;

	while (i < v.len && v.data[i] > ' ' && v.data[i] < 0x7f && v.data[i] != '?' && v.data[i] != '=')
		i++;
	if (i == start || v.len - i < 3 || v.data[i] != '?' || v.data[i + 2] != '?' || d->no_end)
		return false;
	if ((v.data[i + 1] | 0x20) != 'q' && (v.data[i + 1] | 0x20) != 'b')
		return false;
	end = find_end(v, i + 3);
	if (end < 0) {
		d->no_end = true;
		return false;
	}
	out->charset = shelf_span(v.data + start, i - start);
	out->base64 = (v.data[i + 1] | 0x20) == 'b';
	out->text = shelf_span(v.data + i + 3, (size_t)end - i - 3);
	*pos = (size_t)end + 2;
	return true;
}

static void
decode_q(struct shelf_span text, struct shelf_buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (c == '=' && text.len - i > 2 && mime_hex(text.data[i + 1]) >= 0 &&
		    mime_hex(text.data[i + 2]) >= 0) {
			c = (uint8_t)(mime_hex(text.data[i + 1]) << 4 | mime_hex(text.data[i + 2]));
			i += 2;
		} else if (c == '_') {
			c = ' ';
		}
		shelf_buf_add_byte(out, c);
	}
}

static void
add_word(struct decoding *d, const struct word *w)
{
	if (d->pending.len > 0 && !shelf_span_ieq(d->charset, w->charset))
		flush_words(d);
	d->charset = w->charset;
	if (w->base64) {
		struct mime_decoder decoder;

		mime_decoder_init(&decoder, shelf_span_str("base64"));
		mime_decoder_feed(&decoder, w->text.data, w->text.len, &d->pending);
		mime_decoder_end(&decoder, &d->pending);
	} else {
		decode_q(w->text, &d->pending);
	}
	d->after_word = true;
}

static void
add_raw(struct decoding *d, struct shelf_span text)
{
	bool blank = true;

	for (size_t i = 0; i < text.len && blank; i++)
		blank = mime_is_blank(text.data[i]);
	if (text.len == 0 || (blank && d->after_word))
		return; /* between two words, RFC 2047 6.2; the caller adds it when no word follows */
	flush_words(d);
	add_line_safe(d->out, d->raw_charset, text);
	d->after_word = false;
}

static void
decode_all(struct decoding *d, struct shelf_span v)
{
	size_t raw = 0, pos = 0;

	while (pos < v.len) {
		ptrdiff_t at = shelf_span_find(v, '=', pos);
		struct word w;

		if (at < 0)
			break;
		pos = (size_t)at;
		if (v.len - pos < 2 || v.data[pos + 1] != '?' || !take_word(d, v, &pos, &w)) {
			pos++;
			continue;
		}
		add_raw(d, shelf_span(v.data + raw, (size_t)at - raw));
		add_word(d, &w);
		raw = pos;
	}
	flush_words(d);
	d->after_word = false;
	add_raw(d, shelf_span(v.data + raw, v.len - raw));
}

void
mime_header_utf8(struct shelf_span value, struct shelf_buf *out)
{
	struct shelf_arena arena = {0};
	struct shelf_span v = mime_unfold(value, &arena);
	struct decoding d = {.out = out};

	d.raw_charset = shelf_span_str(shelf_utf8_valid(v) ? "utf-8" : "windows-1252");
	decode_all(&d, v);
	shelf_buf_free(&d.pending);
	shelf_arena_free(&arena);
}
