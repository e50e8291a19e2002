/*
 * base.h - numbers in bytes, for the engine's records and keys
 *
 * Keys hold big-endian numbers (memcmp order = number order), values little-endian ones. A struct
 * base_reader never reads past its end: `bad` is set and zeros come back, so that a decoder checks
 * once, at the end.
 */
#ifndef ENGINE_BASE_H
#define ENGINE_BASE_H

#include <mailshelf/buf.h>

static inline void
base_put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static inline void
base_put_be64(uint8_t *p, uint64_t v)
{
	base_put_be32(p, (uint32_t)(v >> 32));
	base_put_be32(p + 4, (uint32_t)v);
}

static inline uint32_t
base_get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t
base_get_be64(const uint8_t *p)
{
	return (uint64_t)base_get_be32(p) << 32 | base_get_be32(p + 4);
}

void base_add_le(struct shelf_buf *b, uint64_t v, unsigned nbytes);
/* LEB128: 7 bits a byte, low bits first. */
void base_add_varint(struct shelf_buf *b, uint64_t v);
/* Varint length, then the bytes; base_get_text gives them back. */
void base_add_text(struct shelf_buf *b, struct shelf_span s);

/* Value of a base64 digit (RFC 4648 4), or -1. */
int base_base64_digit(uint8_t c);

struct base_reader {
	const uint8_t *at, *end;
	bool bad;
};
static inline struct base_reader
base_reader(struct shelf_span s)
{
	return (struct base_reader){s.data, s.len == 0 ? s.data : s.data + s.len, false};
}
uint64_t base_get_le(struct base_reader *r, unsigned nbytes);
uint64_t base_get_varint(struct base_reader *r);
struct shelf_span base_get_bytes(struct base_reader *r, size_t len);
struct shelf_span base_get_text(struct base_reader *r);
static inline size_t
base_left(const struct base_reader *r)
{
	return (size_t)(r->end - r->at);
}

#endif
