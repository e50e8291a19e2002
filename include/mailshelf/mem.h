/*
 * mem.h - allocation that does not fail, and the few text helpers every layer needs
 *
 * Errors    shelf_alloc and friends abort when memory is out (an abort is safe for the data: a
 *           transaction commits or does not). Sizes that a client controls go through
 *           shelf_alloc_try, which returns NULL.
 */
#ifndef MAILSHELF_MEM_H
#define MAILSHELF_MEM_H

#include <mailshelf/buf.h>

void *shelf_alloc(size_t len);                /* not cleared */
void *shelf_zalloc(size_t len);               /* cleared */
void *shelf_alloc_try(size_t len);            /* NULL when out of memory */
void *shelf_realloc(void *p, size_t len);
char *shelf_strdup(const char *s);
char *shelf_strndup(const void *s, size_t len);

#define SHELF_NEW(type) ((type *)shelf_zalloc(sizeof(type)))

/* Always-on assert for our own bugs; never for input from the wire or the disk. */
#define SHELF_ASSERT(cond) ((cond) ? (void)0 : shelf_assert_failed(#cond, __FILE__, __LINE__))
void shelf_assert_failed(const char *cond, const char *file, int line) __attribute__((noreturn));

/* Seconds and microseconds since 1970 UTC; milliseconds and microseconds of a clock that never goes back. */
int64_t shelf_now_s(void);
int64_t shelf_now_us(void);
int64_t shelf_mono_ms(void);
int64_t shelf_mono_us(void);

/* Cryptographically random bytes (getrandom); aborts when the kernel has none. */
void shelf_random(void *out, size_t len);

/* Base64, RFC 4648 4. Decoding is strict (padding required, no blanks): false for anything else. */
void shelf_base64_encode(struct shelf_buf *out, struct shelf_span in);
bool shelf_base64_decode(struct shelf_buf *out, struct shelf_span in);

/* Valid UTF-8 (RFC 3629): no surrogates, no overlong forms. */
bool shelf_utf8_valid(struct shelf_span s);
/* Next code point at *POS (advanced); U+FFFD for a bad sequence, which is one byte long then. */
uint32_t shelf_utf8_next(struct shelf_span s, size_t *pos);
void shelf_utf8_add(struct shelf_buf *out, uint32_t code_point);

/* Sizes as people write them: "512", "10K", "1.5G", "2TiB" (all powers of 1024). */
bool shelf_size_parse(const char *s, uint64_t *bytes_out);
/* "1.5 GiB", into BUF (at least 16 bytes), which is returned. */
const char *shelf_size_text(uint64_t bytes, char *buf, size_t len);
/* Days since 1970-01-01 of a date in the Gregorian calendar. */
int64_t shelf_days_from_civil(int year, unsigned month, unsigned day);
/* The inverse. */
void shelf_civil_from_days(int64_t days, int *year, unsigned *month, unsigned *day);

#endif
