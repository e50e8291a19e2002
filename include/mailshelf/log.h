/*
 * log.h - one line per event, key=value
 *
 * Shape     "2026-11-21T10:00:00.123Z info imap login account=joe peer=127.0.0.1:4711". The event
 *           names come first; values with blanks or quotes are quoted; control characters, CR and LF
 *           in values are escaped, so that no client can begin a line (threat class "log injection").
 * Threads   Any. A line is one write(2) to stderr.
 * Secrets   Callers never pass passwords or message content.
 */
#ifndef MAILSHELF_LOG_H
#define MAILSHELF_LOG_H

#include <mailshelf/span.h>

enum shelf_log_level { SHELF_LOG_DEBUG, SHELF_LOG_INFO, SHELF_LOG_WARN, SHELF_LOG_ERROR };

/* Lines below LEVEL are dropped. Default: info. */
void shelf_log_level(enum shelf_log_level level);

/*
 * shelf_log(level, "imap login", "account", "%s", name, "bytes", "%zu", n, NULL)
 *   EVENT, then triples of key, printf format and exactly one argument of the format's type:
 *   %s (char *), %d (int), %u (unsigned), %zu (size_t), %llu and %lld (long long). Ends with NULL.
 */
void shelf_log(enum shelf_log_level level, const char *event, ...) __attribute__((sentinel));

#endif
