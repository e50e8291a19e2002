/*
 * arena.h - memory that is freed all at once
 *
 * Shape     Small pieces cut from larger blocks, aligned for any type.
 * Errors    Running out of memory aborts. Sizes that a client controls are bounded by the caller.
 * Lifetime  Everything dies at shelf_arena_free or shelf_arena_reset: a command's arena at its tagged
 *           reply, a session's at close.
 * Threads   One at a time.
 * Debugging Under AddressSanitizer each piece is its own malloc, so that a stale pointer is reported.
 */
#ifndef MAILSHELF_ARENA_H
#define MAILSHELF_ARENA_H

#include <mailshelf/span.h>

struct shelf_arena_block;
struct shelf_arena {
	struct shelf_arena_block *head;
	size_t used_bytes; /* handed out since the last reset, for bounds */
};

void *shelf_arena_alloc(struct shelf_arena *a, size_t len); /* not cleared */
void *shelf_arena_zalloc(struct shelf_arena *a, size_t len);
struct shelf_span shelf_arena_dup(struct shelf_arena *a, struct shelf_span s);
/* A NUL-terminated copy. */
char *shelf_arena_str(struct shelf_arena *a, struct shelf_span s);
char *shelf_arena_printf(struct shelf_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Everything dies, one block is kept for the next use. */
void shelf_arena_reset(struct shelf_arena *a);
void shelf_arena_free(struct shelf_arena *a);

#define SHELF_ARENA_NEW(a, type) ((type *)shelf_arena_zalloc((a), sizeof(type)))
#define SHELF_ARENA_ARRAY(a, type, n) ((type *)shelf_arena_zalloc((a), (n) * sizeof(type)))

#endif
