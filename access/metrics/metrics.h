/*
 * metrics.h - what the daemon counts, as text for a monitoring system, and the HTTP door where it is asked for
 *
 * Shape     A family is a name, a kind and a line of help; its samples follow it and differ by labels. Who counts
 *           something writes its own families into a struct metrics_text; access/scrape.c calls them all.
 * Labels    Their values come from fixed lists (doors, commands, partitions): never a name of an account, an address
 *           or a mailbox, so the number of series has a bound.
 * Threads   A struct metrics_text belongs to one thread. A server runs a thread of its own, which calls its `fill`.
 * Source    OpenMetrics 1.0 (text format).
 */
#ifndef ACCESS_METRICS_H
#define ACCESS_METRICS_H

#include <mailshelf/buf.h>
#include <mailshelf/durations.h>
#include <mailshelf/err.h>

struct shelf_store;

enum metrics_kind { METRICS_COUNTER, METRICS_GAUGE, METRICS_INFO, METRICS_HISTOGRAM };

struct metrics_text {
	struct shelf_buf out;
	const char *family;
	enum metrics_kind kind;
};

/* NAME without "_total" or "_info". UNIT: "bytes", "seconds", with which NAME ends; NULL: a number of things. */
void metrics_family(struct metrics_text *t, enum metrics_kind kind, const char *name, const char *unit,
    const char *help);
/* The one sample of a family without labels; US: in seconds. */
void metrics_value(struct metrics_text *t, uint64_t value);
void metrics_value_us(struct metrics_text *t, uint64_t us);
/* A sample of the family. LABELS_FMT: `service="imap"`; values must need no escapes. */
void metrics_sample(struct metrics_text *t, uint64_t value, const char *labels_fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same in seconds. */
void metrics_seconds(struct metrics_text *t, uint64_t us, const char *labels_fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The one sample of a histogram of seconds. */
void metrics_durations(struct metrics_text *t, const struct shelf_durations *d);
void metrics_end(struct metrics_text *t);

/* metrics_store.c: partitions, commits. 0, or the error of the first one that cannot be read. */
SHELF_CHECK int metrics_store(struct metrics_text *t, struct shelf_store *store);
/* metrics_process.c: memory, CPU time, descriptors, start. */
void metrics_process(struct metrics_text *t);

/* ---- The door ------------------------------------------------------------------------------------- */

/*
 * GET /metrics answers what FILL writes, or 503 when it fails; GET /health 200 "ok", or 503 and the reason. What FILL
 * and HEALTH return is 0 or a SHELF_E.
 */
struct metrics_source {
	int (*fill)(void *arg, struct metrics_text *t);
	int (*health)(void *arg);
	void *arg;
};
struct metrics_server;
/* ADDR: "127.0.0.1:9143", or a port alone: on 127.0.0.1. On failure as net_listener_new(). */
struct metrics_server *metrics_server_new(const char *addr, const struct metrics_source *source, char *error,
    size_t error_len);
int metrics_server_port(const struct metrics_server *server);
/* No FILL runs any more after it. */
void metrics_server_free(struct metrics_server **server);

#endif
