/*
 * net_turn.c - how long one connection keeps its loop from all others
 *
 * A turn is what runs between two returns to the loop for one connection: its callbacks and the sending behind them.
 * Wall time says what the others waited, the thread's CPU time what the work was, however busy the machine.
 * What must stay true: only the loop's thread adds; any thread may take what has been counted.
 */
#include <time.h>

#include <mailshelf/log.h>

#include "net_inside.h"

static uint64_t
now_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The lowest n with us < 2^n; what is longer than the last bucket is in it. */
static unsigned
bucket_of(uint64_t us)
{
	unsigned n = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);

	return n < NET_TURN_BUCKETS ? n : NET_TURN_BUCKETS - 1;
}

static void
add(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void
raise_to(_Atomic uint64_t *most, uint64_t us)
{
	if (us > atomic_load_explicit(most, memory_order_relaxed))
		atomic_store_explicit(most, us, memory_order_relaxed);
}

struct net_turn
net_turn_begin(const struct net_conn *conn)
{
	return (struct net_turn){.loop = conn->loop, .service = conn->protocol->name, .conn = conn->id,
	    .wall_us = now_us(CLOCK_MONOTONIC), .cpu_us = now_us(CLOCK_THREAD_CPUTIME_ID)};
}

void
net_turn_end(const struct net_turn *turn)
{
	struct net_turn_counters *c = &turn->loop->turns;
	uint64_t wall = now_us(CLOCK_MONOTONIC) - turn->wall_us;
	uint64_t cpu = now_us(CLOCK_THREAD_CPUTIME_ID) - turn->cpu_us;

	add(&c->bucket[bucket_of(wall)]);
	raise_to(&c->slowest_us, wall);
	raise_to(&c->slowest_cpu_us, cpu);
	if (wall > NET_TURN_SLOW_US)
		add(&c->slow);
	if (cpu > NET_TURN_SLOW_US) {
		add(&c->slow_cpu);
		shelf_log(SHELF_LOG_DEBUG, "slow turn", "service", "%s", turn->service, "conn", "%llu",
		    turn->conn, "cpu_us", "%llu", (unsigned long long)cpu, NULL);
	}
}

static unsigned long long
take(_Atomic uint64_t *counter)
{
	return atomic_exchange_explicit(counter, 0, memory_order_relaxed);
}

struct net_turns
net_loop_take_turns(struct net_loop *loop)
{
	struct net_turn_counters *c = &loop->turns;
	struct net_turns t = {.slow = take(&c->slow), .slow_cpu = take(&c->slow_cpu),
	    .slowest_us = take(&c->slowest_us), .slowest_cpu_us = take(&c->slowest_cpu_us)};
	unsigned long long below = 0;

	for (unsigned n = 0; n < NET_TURN_BUCKETS; n++) {
		t.bucket[n] = take(&c->bucket[n]);
		t.count += t.bucket[n];
	}
	for (unsigned n = 0; n < NET_TURN_BUCKETS && t.p99_us == 0; n++) {
		below += t.bucket[n];
		if (t.count > 0 && below * 100 >= t.count * 99)
			t.p99_us = 1ULL << n;
	}
	return t;
}
