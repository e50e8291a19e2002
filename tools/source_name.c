/*
 * source_name.c - names of folders: modified UTF-7, and what the store takes as a mailbox name
 *
 * A name from a foreign tree may hold anything a file system takes; what comes out of
 * source_mailbox_name() is always a valid mailbox name, the same for the same input (a repeated
 * import must find its mailboxes again).
 */
#include <mailshelf/mailbox.h>
#include <mailshelf/mem.h>

#include "source.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int
digit_of(uint8_t c)
{
	const char *p = c == '\0' ? NULL : strchr(alphabet, c);

	return p == NULL ? -1 : (int)(p - alphabet);
}

/* UTF-16 units of one shifted part, surrogates joined. */
static bool
add_unit(uint32_t unit, uint32_t *high, struct shelf_buf *out)
{
	if (unit >= 0xd800 && unit < 0xdc00) {
		if (*high != 0)
			return false;
		*high = unit;
	} else if (unit >= 0xdc00 && unit < 0xe000) {
		if (*high == 0)
			return false;
		shelf_utf8_add(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
		*high = 0;
	} else {
		if (*high != 0 || unit == 0)
			return false;
		shelf_utf8_add(out, unit);
	}
	return true;
}

/* Behind "&": up to and with "-". */
static bool
decode_shifted(struct shelf_span in, size_t *at, struct shelf_buf *out)
{
	uint32_t bits = 0, nbits = 0, high = 0;
	int digit;

	if (*at < in.len && in.data[*at] == '-') {
		++*at;
		shelf_buf_add_byte(out, '&');
		return true;
	}
	while (*at < in.len && (digit = digit_of(in.data[*at])) >= 0) {
		++*at;
		bits = bits << 6 | (uint32_t)digit;
		nbits += 6;
		if (nbits >= 16) {
			nbits -= 16;
			if (!add_unit(bits >> nbits & 0xffff, &high, out))
				return false;
			bits &= (1u << nbits) - 1;
		}
	}
	if (*at >= in.len || in.data[*at] != '-' || high != 0 || nbits >= 6 || bits != 0)
		return false;
	++*at;
	return true;
}

bool
source_mutf7_decode(struct shelf_span in, struct shelf_buf *out)
{
	size_t before = out->len, at = 0;

	while (at < in.len) {
		uint8_t c = in.data[at++];

		if (c < 0x20 || c > 0x7e || (c == '&' && !decode_shifted(in, &at, out))) {
			out->len = before;
			return false;
		}
		if (c != '&')
			shelf_buf_add_byte(out, c);
	}
	return true;
}

static void
put_bits(uint32_t *bits, uint32_t *nbits, uint32_t unit, struct shelf_buf *out)
{
	*bits = *bits << 16 | unit;
	*nbits += 16;
	while (*nbits >= 6) {
		*nbits -= 6;
		shelf_buf_add_byte(out, (uint8_t)alphabet[*bits >> *nbits & 63]);
	}
	*bits &= (1u << *nbits) - 1;
}

void
source_mutf7_encode(struct shelf_span utf8, const char *also, struct shelf_buf *out)
{
	uint32_t bits = 0, nbits = 0;
	bool shifted = false;
	size_t at = 0;

	for (;;) {
		uint32_t c = at < utf8.len ? shelf_utf8_next(utf8, &at) : 0;
		bool direct = c == 0 || (c >= 0x20 && c < 0x7f && strchr(also, (int)c) == NULL);

		if (direct && shifted) {
			if (nbits > 0)
				shelf_buf_add_byte(out, (uint8_t)alphabet[bits << (6 - nbits) & 63]);
			shelf_buf_add_byte(out, '-');
			shifted = false;
		}
		if (c == 0)
			return;
		if (direct) {
			shelf_buf_add_byte(out, (uint8_t)c);
			if (c == '&')
				shelf_buf_add_byte(out, '-');
			continue;
		}
		if (!shifted) {
			shelf_buf_add_byte(out, '&');
			shifted = true;
			bits = nbits = 0;
		}
		if (c >= 0x10000) {
			put_bits(&bits, &nbits, 0xd800 + ((c - 0x10000) >> 10), out);
			put_bits(&bits, &nbits, 0xdc00 + ((c - 0x10000) & 0x3ff), out);
		} else {
			put_bits(&bits, &nbits, c, out);
		}
	}
}

/* "%2E" is how export writes a "." that would be misread in a file name. */
static uint32_t
next_char(struct shelf_span name, size_t *at)
{
	uint32_t c;

	if (name.len - *at >= 3 && memcmp(name.data + *at, "%2E", 3) == 0) {
		*at += 3;
		return '.';
	}
	c = shelf_utf8_next(name, at);
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == '%' || c == '*' ? '_' : c;
}

void
source_mailbox_name(struct shelf_span prefix, struct shelf_span name, struct shelf_buf *out)
{
	size_t at = 0, start = out->len;
	unsigned levels = 1;

	shelf_buf_add_span(out, prefix);
	for (size_t i = 0; i < prefix.len; i++)
		levels += prefix.data[i] == '/';
	while (at < name.len) {
		uint32_t c = next_char(name, &at);

		if (out->len - start > SHELF_MAILBOX_NAME_MAX - 5)
			break;
		if (c == '/') {
			/* Beyond the deepest level the rest becomes part of that level's name. */
			bool empty = out->len == start || out->data[out->len - 1] == '/';

			if (!empty && levels < SHELF_MAILBOX_DEPTH_MAX) {
				shelf_buf_add_byte(out, '/');
				levels++;
			} else if (!empty) {
				shelf_buf_add_byte(out, '_');
			}
			continue;
		}
		if (prefix.len > 0 && out->len == start + prefix.len) {
			if (levels < SHELF_MAILBOX_DEPTH_MAX) {
				shelf_buf_add_byte(out, '/');
				levels++;
			} else {
				shelf_buf_add_byte(out, '_');
			}
		}
		shelf_utf8_add(out, c);
	}
	while (out->len > start && out->data[out->len - 1] == '/')
		out->len--;
	if (out->len == start)
		shelf_buf_add_str(out, "INBOX");
}
