/* buf.c - growing bytes */
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/buf.h>
#include <mailshelf/mem.h>

uint8_t *
shelf_buf_reserve(struct shelf_buf *b, size_t extra)
{
	size_t want = b->len + extra;
	size_t cap = b->cap;

	SHELF_ASSERT(want >= b->len);
	if (want > cap) {
		cap = cap < 64 ? 64 : cap;
		while (cap < want)
			cap = cap > SIZE_MAX / 2 ? want : cap * 2;
		b->data = shelf_realloc(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

void
shelf_buf_add(struct shelf_buf *b, const void *data, size_t len)
{
	if (len == 0)
		return;
	memcpy(shelf_buf_reserve(b, len), data, len);
	b->len += len;
}

void
shelf_buf_add_span(struct shelf_buf *b, struct shelf_span s)
{
	shelf_buf_add(b, s.data, s.len);
}

void
shelf_buf_add_str(struct shelf_buf *b, const char *s)
{
	shelf_buf_add(b, s, strlen(s));
}

void
shelf_buf_add_byte(struct shelf_buf *b, uint8_t c)
{
	*shelf_buf_reserve(b, 1) = c;
	b->len++;
}

void
shelf_buf_add_uint(struct shelf_buf *b, uint64_t n)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	shelf_buf_add(b, digits + at, sizeof digits - at);
}

void
shelf_buf_vprintf(struct shelf_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	size_t room;
	int n;

	va_copy(again, ap);
	shelf_buf_reserve(b, 64);
	room = b->cap - b->len;
	n = vsnprintf((char *)b->data + b->len, room, fmt, ap);
	SHELF_ASSERT(n >= 0);
	if ((size_t)n >= room) {
		shelf_buf_reserve(b, (size_t)n + 1);
		vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	b->len += (size_t)n;
}

void
shelf_buf_printf(struct shelf_buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	shelf_buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void
shelf_buf_consume(struct shelf_buf *b, size_t n)
{
	SHELF_ASSERT(n <= b->len);
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

const char *
shelf_buf_cstr(struct shelf_buf *b)
{
	*shelf_buf_reserve(b, 1) = '\0';
	return (const char *)b->data;
}

void
shelf_buf_free(struct shelf_buf *b)
{
	free(b->data);
	*b = (struct shelf_buf){0};
}

void
shelf_buf_add_json(struct shelf_buf *b, struct shelf_span s)
{
	size_t pos = 0;

	shelf_buf_add_byte(b, '"');
	while (pos < s.len) {
		uint32_t c = shelf_utf8_next(s, &pos);

		switch (c) {
		case '"':
		case '\\':
			shelf_buf_add_byte(b, '\\');
			shelf_buf_add_byte(b, (uint8_t)c);
			break;
		case '\n':
			shelf_buf_add_str(b, "\\n");
			break;
		case '\t':
			shelf_buf_add_str(b, "\\t");
			break;
		default:
			if (c < 0x20 || c == 0x7f)
				shelf_buf_printf(b, "\\u%04x", (unsigned)c);
			else
				shelf_utf8_add(b, c);
		}
	}
	shelf_buf_add_byte(b, '"');
}

void
shelf_buf_add_roff(struct shelf_buf *b, struct shelf_span s)
{
	bool line_start = true;

	for (size_t i = 0; i < s.len; i++) {
		if (line_start && (s.data[i] == '.' || s.data[i] == '\''))
			shelf_buf_add_str(b, "\\&");
		line_start = s.data[i] == '\n';
		if (s.data[i] == '\\')
			shelf_buf_add_str(b, "\\e");
		else if (s.data[i] == '-')
			shelf_buf_add_str(b, "\\-");
		else
			shelf_buf_add_byte(b, s.data[i]);
	}
}
