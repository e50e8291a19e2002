/*
 * span.h - borrowed bytes
 *
 * Shape     Pointer and length, read-only, not NUL-terminated, may hold any byte.
 * Lifetime  Dies when its source dies; the function that hands one out names the source.
 */
#ifndef MAILSHELF_SPAN_H
#define MAILSHELF_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct shelf_span {
	const uint8_t *data;
	size_t len;
};

static inline struct shelf_span
shelf_span(const void *data, size_t len)
{
	return (struct shelf_span){data, len};
}

static inline struct shelf_span
shelf_span_str(const char *s)
{
	return (struct shelf_span){(const uint8_t *)s, s == NULL ? 0 : strlen(s)};
}

static inline bool
shelf_span_eq(struct shelf_span a, struct shelf_span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII letters compare without case, all other bytes as they are. */
bool shelf_span_ieq(struct shelf_span a, struct shelf_span b);
/* shelf_span_is(a, "TEXT"): shelf_span_ieq against a C string. */
bool shelf_span_is(struct shelf_span a, const char *s);
/* memcmp order, shorter first on a common prefix. */
int shelf_span_cmp(struct shelf_span a, struct shelf_span b);
/* Position of the first byte C at or after FROM, or -1. */
ptrdiff_t shelf_span_find(struct shelf_span a, uint8_t c, size_t from);
/* Decimal digits only, no sign, no blanks; false on overflow of max or an empty span. */
bool shelf_span_u64(struct shelf_span a, uint64_t max, uint64_t *out);

#endif
