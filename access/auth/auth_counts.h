/*
 * auth_counts.h - failures by address, sessions by account
 *
 * Threads   Any.
 * Memory    Failures: fixed, about 160 KiB. Sessions: one entry for each account that is logged in.
 */
#ifndef ACCESS_AUTH_COUNTS_H
#define ACCESS_AUTH_COUNTS_H

#include <mailshelf/account.h>

#include "net.h"

enum { AUTH_DELAY_MAX_MS = 8000 };

struct auth_counts;

struct auth_counts *auth_counts_new(void);
void auth_counts_free(struct auth_counts **counts);

/* Counts a failure; returns how many PEER has now. */
unsigned auth_counts_fail(struct auth_counts *counts, const struct net_peer *peer, int64_t now_ms);
/* FIRST_MS doubled with each failure after the first, up to AUTH_DELAY_MAX_MS (or FIRST_MS). */
unsigned auth_counts_delay_ms(unsigned failures, uint64_t first_ms);
/* False when MAX sessions are there already (0: no limit); then nothing is counted. */
bool auth_counts_enter(struct auth_counts *counts, uint32_t account, enum shelf_service service,
    uint64_t max);
void auth_counts_leave(struct auth_counts *counts, uint32_t account, enum shelf_service service);

#endif
