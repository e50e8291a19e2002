/* record.c - numbers in bytes, written and read with bounds */
#include "base.h"

void
base_add_le(struct shelf_buf *b, uint64_t v, unsigned nbytes)
{
	uint8_t *p = shelf_buf_reserve(b, nbytes);

	for (unsigned i = 0; i < nbytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
	b->len += nbytes;
}

void
base_add_varint(struct shelf_buf *b, uint64_t v)
{
	while (v >= 0x80) {
		shelf_buf_add_byte(b, (uint8_t)(v | 0x80));
		v >>= 7;
	}
	shelf_buf_add_byte(b, (uint8_t)v);
}

void
base_add_text(struct shelf_buf *b, struct shelf_span s)
{
	base_add_varint(b, s.len);
	shelf_buf_add_span(b, s);
}

struct shelf_span
base_get_bytes(struct base_reader *r, size_t len)
{
	struct shelf_span s = {r->at, len};

	if (r->bad || len > base_left(r)) {
		r->bad = true;
		return shelf_span(r->end, 0);
	}
	r->at += len;
	return s;
}

uint64_t
base_get_le(struct base_reader *r, unsigned nbytes)
{
	struct shelf_span s = base_get_bytes(r, nbytes);
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++)
		v |= (uint64_t)s.data[i] << (8 * i);
	return v;
}

uint64_t
base_get_varint(struct base_reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		struct shelf_span s = base_get_bytes(r, 1);

		if (s.len == 0)
			return 0;
		v |= (uint64_t)(s.data[0] & 0x7f) << shift;
		if ((s.data[0] & 0x80) == 0)
			return v;
	}
	r->bad = true;
	return 0;
}

struct shelf_span
base_get_text(struct base_reader *r)
{
	return base_get_bytes(r, base_get_varint(r));
}
