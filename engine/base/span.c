/* span.c - comparing and reading borrowed bytes */
#include <mailshelf/span.h>

static uint8_t
fold(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool
shelf_span_ieq(struct shelf_span a, struct shelf_span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (fold(a.data[i]) != fold(b.data[i]))
			return false;
	return true;
}

bool
shelf_span_is(struct shelf_span a, const char *s)
{
	return shelf_span_ieq(a, shelf_span_str(s));
}

int
shelf_span_cmp(struct shelf_span a, struct shelf_span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n == 0 ? 0 : memcmp(a.data, b.data, n);

	if (c != 0)
		return c;
	return (a.len > b.len) - (a.len < b.len);
}

ptrdiff_t
shelf_span_find(struct shelf_span a, uint8_t c, size_t from)
{
	const uint8_t *p;

	if (from >= a.len)
		return -1;
	p = memchr(a.data + from, c, a.len - from);
	return p == NULL ? -1 : p - a.data;
}

bool
shelf_span_u64(struct shelf_span a, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (a.len == 0)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		unsigned d = (unsigned)a.data[i] - '0';

		if (d > 9 || v > (max - d) / 10 || max < d)
			return false;
		v = v * 10 + d;
	}
	*out = v;
	return true;
}
