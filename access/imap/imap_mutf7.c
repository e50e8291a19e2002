/*
 * imap_mutf7.c - mailbox names: UTF-8 inside, modified UTF-7 on the wire
 *
 * Every name has exactly one encoding: decoding refuses what encoding would not produce (printable
 * ASCII in base64, two shifts in a row, spare bits, half surrogate pairs, an unfinished shift). Two
 * spellings of one mailbox would let a client see a name it cannot select.
 * Sources   RFC 3501 5.1.3.
 */
#include "imap.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int
digit_value(uint8_t c)
{
	const char *at = c == 0 ? NULL : strchr(digits, c);

	return at == NULL ? -1 : (int)(at - digits);
}

static bool
is_direct(uint32_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* One UTF-16 unit; HIGH keeps the first half of a pair. */
static bool
add_unit(uint32_t unit, uint32_t *high, struct shelf_buf *out)
{
	if (*high != 0) {
		if (unit < 0xdc00 || unit > 0xdfff)
			return false;
		shelf_utf8_add(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
		*high = 0;
		return true;
	}
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return false;
	if (unit >= 0xd800 && unit <= 0xdbff) {
		*high = unit;
		return true;
	}
	if (is_direct(unit) || unit == 0)
		return false;
	shelf_utf8_add(out, unit);
	return true;
}

/* From behind "&" to behind "-". */
static bool
decode_shift(struct shelf_span in, size_t *pos, struct shelf_buf *out)
{
	uint32_t bits = 0, high = 0;
	unsigned nbits = 0;

	for (; *pos < in.len && in.data[*pos] != '-'; (*pos)++) {
		int value = digit_value(in.data[*pos]);

		if (value < 0)
			return false;
		bits = (bits << 6 | (uint32_t)value) & 0x3fffff;
		nbits += 6;
		if (nbits >= 16) {
			nbits -= 16;
			if (!add_unit(bits >> nbits & 0xffff, &high, out))
				return false;
		}
	}
	if (*pos == in.len || high != 0 || nbits >= 6 || (bits & ((1U << nbits) - 1)) != 0)
		return false;
	(*pos)++;
	return true;
}

bool
imap_mutf7_decode(struct shelf_span in, struct shelf_buf *utf8_out)
{
	bool after_shift = false;
	size_t pos = 0;

	while (pos < in.len) {
		uint8_t c = in.data[pos++];

		if (!is_direct(c))
			return false;
		if (c != '&') {
			shelf_buf_add_byte(utf8_out, c);
			after_shift = false;
		} else if (pos < in.len && in.data[pos] == '-') {
			shelf_buf_add_byte(utf8_out, '&');
			pos++;
			after_shift = false;
		} else {
			if (after_shift || !decode_shift(in, &pos, utf8_out))
				return false;
			after_shift = true;
		}
	}
	return true;
}

struct shift {
	uint32_t bits;
	unsigned nbits;
	bool open;
};

static void
shift_unit(struct shift *shift, uint32_t unit, struct shelf_buf *out)
{
	if (!shift->open) {
		shelf_buf_add_byte(out, '&');
		shift->open = true;
	}
	shift->bits = shift->bits << 16 | unit;
	shift->nbits += 16;
	while (shift->nbits >= 6) {
		shift->nbits -= 6;
		shelf_buf_add_byte(out, (uint8_t)digits[shift->bits >> shift->nbits & 63]);
	}
	shift->bits &= (1U << shift->nbits) - 1;
}

static void
shift_close(struct shift *shift, struct shelf_buf *out)
{
	if (!shift->open)
		return;
	if (shift->nbits > 0)
		shelf_buf_add_byte(out, (uint8_t)digits[shift->bits << (6 - shift->nbits) & 63]);
	shelf_buf_add_byte(out, '-');
	*shift = (struct shift){0};
}

void
imap_mutf7_encode(struct shelf_span utf8, struct shelf_buf *out)
{
	struct shift shift = {0};
	size_t pos = 0;

	while (pos < utf8.len) {
		uint32_t c = shelf_utf8_next(utf8, &pos);

		if (is_direct(c)) {
			shift_close(&shift, out);
			shelf_buf_add_byte(out, (uint8_t)c);
			if (c == '&')
				shelf_buf_add_byte(out, '-');
		} else if (c >= 0x10000) {
			shift_unit(&shift, 0xd800 + ((c - 0x10000) >> 10), out);
			shift_unit(&shift, 0xdc00 + ((c - 0x10000) & 0x3ff), out);
		} else {
			shift_unit(&shift, c, out);
		}
	}
	shift_close(&shift, out);
}

bool
imap_name_decode(struct shelf_span in, bool utf8, struct shelf_buf *utf8_out)
{
	for (size_t i = 0; i < in.len && !utf8; i++)
		utf8 = in.data[i] >= 0x80;
	if (!utf8)
		return imap_mutf7_decode(in, utf8_out);
	if (!shelf_utf8_valid(in))
		return false;
	shelf_buf_add_span(utf8_out, in);
	return true;
}
