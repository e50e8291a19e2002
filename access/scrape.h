/*
 * scrape.h - everything the daemon can tell of itself, put together for one scrape
 *
 * Lifetime  All that is named here lives longer than the server that uses it (metrics.h).
 * Threads   That of the metrics server.
 */
#ifndef ACCESS_SCRAPE_H
#define ACCESS_SCRAPE_H

#include "metrics.h"
#include "net.h"

enum { SCRAPE_DOORS_MAX = 16 };

struct scrape {
	struct shelf_store *store;
	struct net_loop *const *loops;
	unsigned nloops, ndoors;
	struct {
		const char *service;
		struct net_listener *listener;
	} doors[SCRAPE_DOORS_MAX];
	int64_t start_s;
};
/* Functions of struct metrics_source; ARG: a struct scrape. */
int scrape_fill(void *arg, struct metrics_text *t);
int scrape_health(void *arg);

#endif
