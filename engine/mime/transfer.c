/*
 * transfer.c - content transfer encodings undone: base64 and quoted-printable (RFC 2045 6.7, 6.8)
 *
 * What cannot be decoded is passed over or left as it stands. What must stay true: a decoder keeps
 * all it needs between two calls in struct mime_decoder, so the output does not depend on the cuts.
 */
#include "base.h"
#include "mime_internal.h"

enum { IDENTITY, BASE64, QUOTED_PRINTABLE };

void
mime_decoder_init(struct mime_decoder *d, struct shelf_span encoding)
{
	*d = (struct mime_decoder){0};
	while (encoding.len > 0 && mime_is_space(encoding.data[encoding.len - 1]))
		encoding.len--;
	while (encoding.len > 0 && mime_is_space(*encoding.data)) {
		encoding.data++;
		encoding.len--;
	}
	if (shelf_span_is(encoding, "base64"))
		d->kind = BASE64;
	else if (shelf_span_is(encoding, "quoted-printable"))
		d->kind = QUOTED_PRINTABLE;
}

/* Padding ends a group of four, not the text: pieces encoded one by one and put together are
 * common. All other bytes outside the alphabet say nothing (RFC 2045 6.8). */
static void
base64_feed(struct mime_decoder *d, const uint8_t *p, size_t len, struct shelf_buf *out)
{
	uint8_t *to = shelf_buf_reserve(out, len / 4 * 3 + 3);

	for (size_t i = 0; i < len; i++) {
		int digit = base_base64_digit(p[i]);

		if (digit < 0) {
			if (p[i] == '=')
				d->nbits = 0;
			continue;
		}
		d->bits = d->bits << 6 | (uint32_t)digit;
		d->nbits = (uint8_t)(d->nbits + 6);
		if (d->nbits >= 8) {
			d->nbits = (uint8_t)(d->nbits - 8);
			*to++ = (uint8_t)(d->bits >> d->nbits);
		}
	}
	out->len = (size_t)(to - out->data);
}

static void
flush_held(struct mime_decoder *d, struct shelf_buf *out)
{
	shelf_buf_add(out, d->held, d->held_len);
	d->held_len = 0;
}

/*
 * held is empty, or holds what cannot be judged yet:
 *   blanks             dropped when the line ends behind them (RFC 2045 6.7 rule 3)
 *   "="                begins an escape or a soft line break
 *   "=" hex            half an escape
 *   "=" blanks [CR]    a soft line break when LF follows
 * More blanks than fit are taken for text.
 */
static void
qp_byte(struct mime_decoder *d, uint8_t c, struct shelf_buf *out)
{
	bool escape = d->held_len > 0 && d->held[0] == '=';
	uint8_t last = d->held_len > 0 ? d->held[d->held_len - 1] : 0;

	if (c == '\n') {
		bool soft = escape && (last == '=' || last == '\r' || mime_is_blank(last));

		if (escape && !soft)
			flush_held(d, out);
		d->held_len = 0;
		if (!soft)
			shelf_buf_add_byte(out, c);
		return;
	}
	if (escape && last == '\r') {
		d->held_len = 0; /* "=" and a lone CR: as good as a soft break */
		escape = false;
		last = 0;
	}
	if (escape && last == '=' && mime_hex(c) >= 0) {
		d->held[d->held_len++] = c;
		return;
	}
	if (escape && mime_hex(last) >= 0 && d->held_len == 2 && mime_hex(c) >= 0) {
		shelf_buf_add_byte(out, (uint8_t)(mime_hex(last) << 4 | mime_hex(c)));
		d->held_len = 0;
		return;
	}
	if (escape && (mime_is_blank(c) || c == '\r') && (last == '=' || mime_is_blank(last)) &&
	    d->held_len < sizeof(d->held)) {
		d->held[d->held_len++] = c;
		return;
	}
	if (escape || (d->held_len > 0 && !mime_is_blank(c) && c != '\r') ||
	    d->held_len == sizeof(d->held))
		flush_held(d, out);
	if (c == '\r')
		d->held_len = 0; /* blanks before a line end */
	if (c == '=' || mime_is_blank(c))
		d->held[d->held_len++] = c;
	else
		shelf_buf_add_byte(out, c);
}

void
mime_decoder_feed(struct mime_decoder *d, const void *data, size_t len, struct shelf_buf *out)
{
	const uint8_t *p = data;

	if (d->kind == BASE64) {
		base64_feed(d, p, len, out);
	} else if (d->kind == QUOTED_PRINTABLE) {
		for (size_t i = 0; i < len; i++)
			qp_byte(d, p[i], out);
	} else {
		shelf_buf_add(out, p, len);
	}
}

void
mime_decoder_end(struct mime_decoder *d, struct shelf_buf *out)
{
	/* The end of the text is a line end: blanks and "=" before it vanish, half an escape is
	 * text. */
	if (d->kind == QUOTED_PRINTABLE && d->held_len == 2 && d->held[0] == '=' &&
	    mime_hex(d->held[1]) >= 0)
		flush_held(d, out);
	*d = (struct mime_decoder){.ended = true};
}
