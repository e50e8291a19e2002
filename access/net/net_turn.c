/*
 * net_turn.c - how long one connection keeps its loop from all others
 *
 * A turn is what runs between two returns to the loop for one connection: its callbacks and the sending behind them.
 * Wall time says what the others waited, the thread's CPU time what the work was, however busy the machine.
 * What must stay true: only the loop's thread adds, and counts only grow; any thread may read them.
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

	shelf_durations_add(&c->by_clock, wall);
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

static void
sum_up(struct net_turns *t)
{
	unsigned long long below = 0;

	for (unsigned n = 0; n < SHELF_DURATIONS_BUCKETS; n++)
		t->count += t->by_clock.bucket[n];
	for (unsigned n = 0; n < SHELF_DURATIONS_BUCKETS && t->p99_us == 0; n++) {
		below += t->by_clock.bucket[n];
		if (t->count > 0 && below * 100 >= t->count * 99)
			t->p99_us = 1ULL << n;
	}
}

struct net_turns
net_loop_turns(const struct net_loop *loop)
{
	const struct net_turn_counters *c = &loop->turns;
	struct net_turns t = {
	    .slow = atomic_load_explicit(&c->slow, memory_order_relaxed),
	    .slow_cpu = atomic_load_explicit(&c->slow_cpu, memory_order_relaxed),
	    .slowest_us = atomic_load_explicit(&c->slowest_us, memory_order_relaxed),
	    .slowest_cpu_us = atomic_load_explicit(&c->slowest_cpu_us, memory_order_relaxed),
	};

	shelf_durations_read(&c->by_clock, &t.by_clock);
	sum_up(&t);
	return t;
}

struct net_turns
net_loop_take_turns(struct net_loop *loop)
{
	struct net_turn_counters *c = &loop->turns;
	struct net_turns now = net_loop_turns(loop), t = {
	    .slow = now.slow - c->taken.slow, .slow_cpu = now.slow_cpu - c->taken.slow_cpu,
	    .slowest_us = atomic_exchange_explicit(&c->slowest_us, 0, memory_order_relaxed),
	    .slowest_cpu_us = atomic_exchange_explicit(&c->slowest_cpu_us, 0, memory_order_relaxed),
	};

	for (unsigned n = 0; n < SHELF_DURATIONS_BUCKETS; n++)
		t.by_clock.bucket[n] = now.by_clock.bucket[n] - c->taken.by_clock.bucket[n];
	t.by_clock.total_us = now.by_clock.total_us - c->taken.by_clock.total_us;
	sum_up(&t);
	c->taken = now;
	return t;
}
