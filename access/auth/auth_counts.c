/*
 * auth_counts.c - failures by address, sessions by account
 *
 * Failures live in a table of fixed size: a full set forgets the entry that failed longest ago, so
 * that no number of addresses grows it. A failure is forgotten after ten minutes without another.
 * Sessions are counted exactly: an entry exists while its count is not zero, so the table is bounded by
 * the connections. Both tables are read and written by every loop, under one lock each.
 */
#include <pthread.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "auth_counts.h"

enum { SETS = 1024, WAYS = 4, FORGET_MS = 10 * 60 * 1000, FAILURES_MAX = 1000 };

struct failures {
	struct net_peer peer;
	int64_t last_ms;
	unsigned n; /* 0: free */
};

struct sessions {
	struct sessions *next;
	uint32_t account;
	enum shelf_service service;
	uint64_t n;
};

struct auth_counts {
	pthread_mutex_t failures_lock;
	struct failures sets[SETS][WAYS];
	uint64_t seed; /* keeps addresses from being chosen that share a set */

	pthread_mutex_t sessions_lock;
	struct sessions **slots;
	size_t nslots, nentries; /* nslots: a power of two */
};

struct auth_counts *
auth_counts_new(void)
{
	struct auth_counts *counts = SHELF_NEW(struct auth_counts);

	pthread_mutex_init(&counts->failures_lock, NULL);
	pthread_mutex_init(&counts->sessions_lock, NULL);
	shelf_random(&counts->seed, sizeof(counts->seed));
	counts->nslots = 64;
	counts->slots = shelf_zalloc(counts->nslots * sizeof(struct sessions *));
	return counts;
}

void
auth_counts_free(struct auth_counts **countsp)
{
	struct auth_counts *counts = *countsp;

	*countsp = NULL;
	if (counts == NULL)
		return;
	for (size_t i = 0; i < counts->nslots; i++) {
		struct sessions *s;

		while ((s = counts->slots[i]) != NULL) {
			counts->slots[i] = s->next;
			free(s);
		}
	}
	free(counts->slots);
	pthread_mutex_destroy(&counts->failures_lock);
	pthread_mutex_destroy(&counts->sessions_lock);
	free(counts);
}

/* ---- Failures --------------------------------------------------------------------------------- */

static struct failures *
set_of(struct auth_counts *counts, const struct net_peer *peer)
{
	uint64_t h = counts->seed, word;

	for (size_t i = 0; i < sizeof(peer->ip); i += 8) {
		memcpy(&word, peer->ip + i, 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	return counts->sets[h % SETS];
}

unsigned
auth_counts_fail(struct auth_counts *counts, const struct net_peer *peer, int64_t now_ms)
{
	struct failures *set = set_of(counts, peer), *mine = NULL, *oldest = set;
	unsigned n;

	pthread_mutex_lock(&counts->failures_lock);
	for (int i = 0; i < WAYS; i++) {
		if (set[i].n > 0 && now_ms - set[i].last_ms > FORGET_MS)
			set[i].n = 0;
		if (set[i].n > 0 && memcmp(&set[i].peer, peer, sizeof(*peer)) == 0)
			mine = &set[i];
		if (set[i].n == 0 || (oldest->n > 0 && set[i].last_ms < oldest->last_ms))
			oldest = &set[i];
	}
	if (mine == NULL) {
		mine = oldest;
		*mine = (struct failures){.peer = *peer};
	}
	mine->last_ms = now_ms;
	if (mine->n < FAILURES_MAX)
		mine->n++;
	n = mine->n;
	pthread_mutex_unlock(&counts->failures_lock);
	return n;
}

unsigned
auth_counts_delay_ms(unsigned failures, uint64_t first_ms)
{
	uint64_t most = first_ms > AUTH_DELAY_MAX_MS ? first_ms : AUTH_DELAY_MAX_MS;
	uint64_t ms = first_ms;

	for (unsigned i = 1; i < failures && ms < most && ms > 0; i++)
		ms *= 2;
	return (unsigned)(ms < most ? ms : most);
}

/* ---- Sessions --------------------------------------------------------------------------------- */

static struct sessions **
find_sessions(struct auth_counts *counts, uint32_t account, enum shelf_service service)
{
	/* Account ids are given out by us, one after another: their low bits spread well. */
	struct sessions **at =
	    &counts->slots[(account * 8u + (unsigned)service) & (counts->nslots - 1)];

	while (*at != NULL && ((*at)->account != account || (*at)->service != service))
		at = &(*at)->next;
	return at;
}

static void
grow_sessions(struct auth_counts *counts)
{
	struct sessions **old = counts->slots, *s;
	size_t nold = counts->nslots;

	if (counts->nentries < nold)
		return;
	counts->nslots = nold * 2;
	counts->slots = shelf_zalloc(counts->nslots * sizeof(struct sessions *));
	for (size_t i = 0; i < nold; i++) {
		while ((s = old[i]) != NULL) {
			struct sessions **at;

			old[i] = s->next;
			at = find_sessions(counts, s->account, s->service);
			s->next = *at;
			*at = s;
		}
	}
	free(old);
}

bool
auth_counts_enter(struct auth_counts *counts, uint32_t account, enum shelf_service service,
    uint64_t max)
{
	struct sessions **at;
	bool ok;

	pthread_mutex_lock(&counts->sessions_lock);
	grow_sessions(counts);
	at = find_sessions(counts, account, service);
	ok = max == 0 || *at == NULL || (*at)->n < max;
	if (ok && *at == NULL) {
		*at = SHELF_NEW(struct sessions);
		(*at)->account = account;
		(*at)->service = service;
		counts->nentries++;
	}
	if (ok)
		(*at)->n++;
	pthread_mutex_unlock(&counts->sessions_lock);
	return ok;
}

void
auth_counts_leave(struct auth_counts *counts, uint32_t account, enum shelf_service service)
{
	struct sessions **at, *s;

	pthread_mutex_lock(&counts->sessions_lock);
	at = find_sessions(counts, account, service);
	s = *at;
	SHELF_ASSERT(s != NULL);
	if (--s->n == 0) {
		*at = s->next;
		counts->nentries--;
		free(s);
	}
	pthread_mutex_unlock(&counts->sessions_lock);
}
