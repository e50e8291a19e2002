/* scrape.c - the families of all rooms, one after the other */
#include "scrape.h"

#include <mailshelf/mailshelf.h>

#include "protocols.h"

static void
write_doors(const struct scrape *s, struct metrics_text *t)
{
	struct net_listener_counts counts[SCRAPE_DOORS_MAX];

	for (unsigned i = 0; i < s->ndoors; i++)
		counts[i] = net_listener_counts(s->doors[i].listener);
	metrics_family(t, METRICS_GAUGE, "mailshelf_connections", NULL, "Open connections");
	for (unsigned i = 0; i < s->ndoors; i++)
		metrics_sample(t, counts[i].open, "service=\"%s\"", s->doors[i].service);
	metrics_family(t, METRICS_COUNTER, "mailshelf_connections_accepted", NULL, "Connections accepted");
	for (unsigned i = 0; i < s->ndoors; i++)
		metrics_sample(t, counts[i].accepted, "service=\"%s\"", s->doors[i].service);
	metrics_family(t, METRICS_COUNTER, "mailshelf_connections_refused", NULL,
	    "Connections refused because there were too many, in all or from one address");
	for (unsigned i = 0; i < s->ndoors; i++)
		metrics_sample(t, counts[i].refused, "service=\"%s\"", s->doors[i].service);
}

static void
write_loops(const struct scrape *s, struct metrics_text *t)
{
	struct shelf_durations all = {0};
	unsigned long long slow = 0;

	for (unsigned i = 0; i < s->nloops; i++) {
		struct net_turns turns = net_loop_turns(s->loops[i]);

		slow += turns.slow_cpu;
		all.total_us += turns.by_clock.total_us;
		for (unsigned n = 0; n < SHELF_DURATIONS_BUCKETS; n++)
			all.bucket[n] += turns.by_clock.bucket[n];
	}
	metrics_family(t, METRICS_HISTOGRAM, "mailshelf_turn_seconds", "seconds",
	    "How long a loop served one connection before it turned to the others");
	metrics_durations(t, &all);
	metrics_family(t, METRICS_COUNTER, "mailshelf_slow_turns", NULL,
	    "Turns of more than 20 ms of CPU time; each is a mistake of the program");
	metrics_value(t, slow);
}

int
scrape_fill(void *arg, struct metrics_text *t)
{
	const struct scrape *s = arg;

	metrics_family(t, METRICS_INFO, "mailshelf_build", NULL, "The release");
	metrics_sample(t, 1, "version=\"%s\"", SHELF_VERSION);
	metrics_family(t, METRICS_GAUGE, "process_start_time_seconds", "seconds", "When it was started, since 1970");
	metrics_value(t, (uint64_t)s->start_s);
	metrics_process(t);
	write_doors(s, t);
	write_loops(s, t);
	auth_metrics(t);
	imap_metrics(t);
	pop3_metrics(t);
	lmtp_metrics(t);
	return metrics_store(t, s->store);
}

/* Can the catalog and all partitions be read? */
int
scrape_health(void *arg)
{
	const struct scrape *s = arg;
	struct shelf_store_stats stats;

	return shelf_store_stats(s->store, &stats);
}
