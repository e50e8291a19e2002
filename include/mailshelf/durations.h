/*
 * durations.h - how long things took: counts in buckets that are powers of two
 *
 * Shape     bucket[n] counts what took less than 2^n us and was in no earlier one; the last one also what took
 *           longer. Counts only grow, so a reader subtracts what it saw before.
 * Threads   shelf_durations_add and _read: any, without locks. A reader may see a count without its time.
 */
#ifndef MAILSHELF_DURATIONS_H
#define MAILSHELF_DURATIONS_H

#include <stdatomic.h>
#include <stdint.h>

enum { SHELF_DURATIONS_BUCKETS = 26 };

struct shelf_durations {
	uint64_t bucket[SHELF_DURATIONS_BUCKETS], total_us;
};
struct shelf_durations_live {
	_Atomic uint64_t bucket[SHELF_DURATIONS_BUCKETS], total_us;
};

static inline void
shelf_durations_add(struct shelf_durations_live *d, uint64_t us)
{
	unsigned n = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);

	n = n < SHELF_DURATIONS_BUCKETS ? n : SHELF_DURATIONS_BUCKETS - 1;
	atomic_fetch_add_explicit(&d->bucket[n], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&d->total_us, us, memory_order_relaxed);
}

/* Adds what D has counted to OUT. */
static inline void
shelf_durations_read(const struct shelf_durations_live *d, struct shelf_durations *out)
{
	for (unsigned n = 0; n < SHELF_DURATIONS_BUCKETS; n++)
		out->bucket[n] += atomic_load_explicit(&d->bucket[n], memory_order_relaxed);
	out->total_us += atomic_load_explicit(&d->total_us, memory_order_relaxed);
}

#endif
