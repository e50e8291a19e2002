/*
 * arena.c - memory freed all at once
 *
 * Blocks double from 4 KiB to 256 KiB; a piece larger than a block gets one of its own. Under
 * AddressSanitizer every piece is a block, so that use after reset and overruns are reported.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/arena.h>
#include <mailshelf/mem.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_PIECEWISE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_PIECEWISE 1
#endif
#endif
#ifndef ARENA_PIECEWISE
#define ARENA_PIECEWISE 0
#endif

enum { ARENA_ALIGN = 16, ARENA_FIRST = 4096, ARENA_LARGEST = 256 * 1024 };

struct shelf_arena_block {
	struct shelf_arena_block *next;
	size_t size, used;
	_Alignas(ARENA_ALIGN) uint8_t bytes[];
};

static struct shelf_arena_block *
block_new(struct shelf_arena *a, size_t size)
{
	struct shelf_arena_block *b = shelf_alloc(sizeof(*b) + size);

	b->size = size;
	b->used = 0;
	b->next = a->head;
	a->head = b;
	return b;
}

void *
shelf_arena_alloc(struct shelf_arena *a, size_t len)
{
	struct shelf_arena_block *b = a->head;
	size_t need = (len + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	void *p;

	SHELF_ASSERT(need >= len);
	a->used_bytes += need;
	if (ARENA_PIECEWISE) {
		b = block_new(a, len);
		b->used = len;
		return b->bytes;
	}
	if (b == NULL || b->size - b->used < need) {
		size_t size = b == NULL ? ARENA_FIRST : b->size * 2;

		if (size > ARENA_LARGEST)
			size = ARENA_LARGEST;
		if (size < ARENA_FIRST)
			size = ARENA_FIRST;
		b = block_new(a, need > size ? need : size);
	}
	p = b->bytes + b->used;
	b->used += need;
	return p;
}

void *
shelf_arena_zalloc(struct shelf_arena *a, size_t len)
{
	void *p = shelf_arena_alloc(a, len);

	memset(p, 0, len);
	return p;
}

struct shelf_span
shelf_arena_dup(struct shelf_arena *a, struct shelf_span s)
{
	uint8_t *p;

	if (s.data == NULL)
		return s;
	p = shelf_arena_alloc(a, s.len);
	if (s.len > 0)
		memcpy(p, s.data, s.len);
	return shelf_span(p, s.len);
}

char *
shelf_arena_str(struct shelf_arena *a, struct shelf_span s)
{
	char *p = shelf_arena_alloc(a, s.len + 1);

	if (s.len > 0)
		memcpy(p, s.data, s.len);
	p[s.len] = '\0';
	return p;
}

char *
shelf_arena_printf(struct shelf_arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *p;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	SHELF_ASSERT(n >= 0);
	p = shelf_arena_alloc(a, (size_t)n + 1);
	vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return p;
}

void
shelf_arena_reset(struct shelf_arena *a)
{
	struct shelf_arena_block *b, *keep = NULL;

	while ((b = a->head) != NULL) {
		a->head = b->next;
		if (!ARENA_PIECEWISE && keep == NULL && b->size <= ARENA_LARGEST)
			keep = b;
		else
			free(b);
	}
	if (keep != NULL) {
		keep->next = NULL;
		keep->used = 0;
	}
	a->head = keep;
	a->used_bytes = 0;
}

void
shelf_arena_free(struct shelf_arena *a)
{
	struct shelf_arena_block *b;

	while ((b = a->head) != NULL) {
		a->head = b->next;
		free(b);
	}
	a->used_bytes = 0;
}
