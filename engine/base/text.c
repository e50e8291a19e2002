/* text.c - base64, UTF-8, sizes as people write them */
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "base.h"

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
shelf_base64_encode(struct shelf_buf *out, struct shelf_span in)
{
	for (size_t i = 0; i < in.len; i += 3) {
		size_t left = in.len - i;
		uint32_t v = (uint32_t)in.data[i] << 16;

		if (left > 1)
			v |= (uint32_t)in.data[i + 1] << 8;
		if (left > 2)
			v |= in.data[i + 2];
		shelf_buf_add_byte(out, (uint8_t)base64_digits[v >> 18]);
		shelf_buf_add_byte(out, (uint8_t)base64_digits[v >> 12 & 63]);
		shelf_buf_add_byte(out, left > 1 ? (uint8_t)base64_digits[v >> 6 & 63] : '=');
		shelf_buf_add_byte(out, left > 2 ? (uint8_t)base64_digits[v & 63] : '=');
	}
}

int
base_base64_digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

bool
shelf_base64_decode(struct shelf_buf *out, struct shelf_span in)
{
	if (in.len % 4 != 0)
		return false;
	for (size_t i = 0; i < in.len; i += 4) {
		bool last = i + 4 == in.len;
		unsigned pad = 0;
		uint32_t v = 0;

		if (last && in.data[i + 3] == '=')
			pad = in.data[i + 2] == '=' ? 2 : 1;
		for (unsigned k = 0; k < 4 - pad; k++) {
			int d = base_base64_digit(in.data[i + k]);

			if (d < 0)
				return false;
			v |= (uint32_t)d << (18 - 6 * k);
		}
		/* Bits behind the last byte must be zero, or two texts would decode to one. */
		if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
			return false;
		shelf_buf_add_byte(out, (uint8_t)(v >> 16));
		if (pad < 2)
			shelf_buf_add_byte(out, (uint8_t)(v >> 8));
		if (pad < 1)
			shelf_buf_add_byte(out, (uint8_t)v);
	}
	return true;
}

/* Length of the well-formed sequence at s[pos] (RFC 3629 4), or 0. */
static size_t
utf8_sequence(struct shelf_span s, size_t pos, uint32_t *code_point)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t c = s.data[pos];
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
	uint32_t v;

	if (n == 0 || s.len - pos < n)
		return 0;
	v = n == 1 ? c : c & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s.data[pos + i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s.data[pos + i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*code_point = v;
	return n;
}

/* How many bytes from POS on are seen to be ASCII at one look: eight or none. */
static size_t
ascii_run(struct shelf_span s, size_t pos)
{
	uint64_t eight;

	if (s.len - pos < sizeof(eight))
		return 0;
	memcpy(&eight, s.data + pos, sizeof(eight));
	return (eight & 0x8080808080808080u) == 0 ? sizeof(eight) : 0;
}

bool
shelf_utf8_valid(struct shelf_span s)
{
	uint32_t ignored;

	for (size_t pos = 0; pos < s.len;) {
		size_t n = ascii_run(s, pos);

		/* Most mail is ASCII, and eight bytes of it are seen at once. */
		if (n == 0)
			n = utf8_sequence(s, pos, &ignored);
		if (n == 0)
			return false;
		pos += n;
	}
	return true;
}

uint32_t
shelf_utf8_next(struct shelf_span s, size_t *pos)
{
	uint32_t v = 0xfffd;
	size_t n = utf8_sequence(s, *pos, &v);

	*pos += n == 0 ? 1 : n;
	return n == 0 ? 0xfffd : v;
}

void
shelf_utf8_add(struct shelf_buf *out, uint32_t c)
{
	if (c < 0x80) {
		shelf_buf_add_byte(out, (uint8_t)c);
	} else if (c < 0x800) {
		shelf_buf_add_byte(out, (uint8_t)(0xc0 | c >> 6));
		shelf_buf_add_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		shelf_buf_add_byte(out, (uint8_t)(0xe0 | c >> 12));
		shelf_buf_add_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
		shelf_buf_add_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
	} else {
		shelf_buf_add_byte(out, (uint8_t)(0xf0 | c >> 18));
		shelf_buf_add_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
		shelf_buf_add_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
		shelf_buf_add_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
	}
}

/* Digits, perhaps a fraction, perhaps a unit: no sign, no exponent, no hexadecimal, as strtod would take. */
bool
shelf_size_parse(const char *s, uint64_t *bytes_out)
{
	static const char units[] = "KMGTPE";
	size_t whole = strspn(s, "0123456789");
	size_t fraction = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
	const char *end = s + whole + (fraction > 0 ? fraction + 1 : 0);
	unsigned shift = 0;
	uint64_t n;
	double part;

	if (!shelf_span_u64(shelf_span(s, whole), INT64_MAX, &n))
		return false;
	part = fraction > 0 ? strtod(s + whole, NULL) : 0;
	if (*end != '\0') {
		const char *u = strchr(units, *end & ~0x20);

		if (u != NULL && *u != '\0') {
			shift = 10 * (unsigned)(u - units + 1);
			end += end[1] == 'i' ? 2 : 1;
		}
		if (*end == 'B' || *end == 'b')
			end++;
	}
	if (*end != '\0' || n > (uint64_t)INT64_MAX >> shift)
		return false;
	*bytes_out = (n << shift) + (uint64_t)(part * (double)((uint64_t)1 << shift));
	return true;
}

const char *
shelf_size_text(uint64_t bytes, char *buf, size_t len)
{
	static const char units[] = "KMGTPE";
	double v = (double)bytes;
	int u = -1;

	while (v >= 1024 && u < 5) {
		v /= 1024;
		u++;
	}
	if (u < 0)
		snprintf(buf, len, "%llu B", (unsigned long long)bytes);
	else
		snprintf(buf, len, v < 10 ? "%.1f %ciB" : "%.0f %ciB", v, units[u]);
	return buf;
}
