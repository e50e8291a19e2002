/*
 * buf.h - owned, growing bytes
 *
 * Shape     data[0..len) holds the bytes, cap what is allocated. {0} is an empty buffer.
 * Errors    None: growing aborts the process when memory is out. A buffer whose size a client
 *           controls is bounded by its caller.
 * Lifetime  The struct that holds it owns it, until shelf_buf_free. data moves when it grows.
 * Threads   One at a time.
 */
#ifndef MAILSHELF_BUF_H
#define MAILSHELF_BUF_H

#include <stdarg.h>
#include <mailshelf/span.h>

struct shelf_buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

/* Room for EXTRA more bytes behind len; returns where they start. */
uint8_t *shelf_buf_reserve(struct shelf_buf *b, size_t extra);
void shelf_buf_add(struct shelf_buf *b, const void *data, size_t len);
void shelf_buf_add_span(struct shelf_buf *b, struct shelf_span s);
void shelf_buf_add_str(struct shelf_buf *b, const char *s);
void shelf_buf_add_byte(struct shelf_buf *b, uint8_t c);
void shelf_buf_add_uint(struct shelf_buf *b, uint64_t n); /* in decimal; printf takes five times as long */
void shelf_buf_printf(struct shelf_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void shelf_buf_vprintf(struct shelf_buf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
/* Drops the first N bytes, moving the rest down. */
void shelf_buf_consume(struct shelf_buf *b, size_t n);
/* A NUL behind the bytes (not counted in len); the buffer as a C string. */
const char *shelf_buf_cstr(struct shelf_buf *b);
static inline struct shelf_span
shelf_buf_span(const struct shelf_buf *b)
{
	return shelf_span(b->data, b->len);
}
/* Empty again, memory kept. */
static inline void
shelf_buf_clear(struct shelf_buf *b)
{
	b->len = 0;
}
/* Memory given back; the buffer is {0} again. */
void shelf_buf_free(struct shelf_buf *b);

/* JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void shelf_buf_add_json(struct shelf_buf *b, struct shelf_span s);
/* Text of a manual page, man(7): nothing in it is a request or an escape, and hyphens can be copied into a shell. */
void shelf_buf_add_roff(struct shelf_buf *b, struct shelf_span s);

#endif
