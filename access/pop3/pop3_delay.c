/*
 * pop3_delay.c - LOGIN-DELAY (RFC 2449 6.5): when accounts have logged in last
 *
 * A table of fixed size: where two accounts meet in a slot, the later one takes it and the earlier one is forgotten, to
 * its favour. Each daemon, and each reload of its settings, has its own.
 */
#include <pthread.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "pop3.h"

enum { SLOTS = 1 << 15 };

struct pop3_delay {
	pthread_mutex_t lock;
	struct slot {
		uint32_t account; /* 0: free */
		int64_t at_ms;
	} slot[SLOTS];
};

struct pop3_delay *
pop3_delay_new(void)
{
	struct pop3_delay *d = SHELF_NEW(struct pop3_delay);

	pthread_mutex_init(&d->lock, NULL);
	return d;
}

void
pop3_delay_free(struct pop3_delay **delay)
{
	if (*delay != NULL)
		pthread_mutex_destroy(&(*delay)->lock);
	free(*delay);
	*delay = NULL;
}

bool
pop3_delay_admit(struct pop3_delay *delay, uint32_t account, uint64_t seconds)
{
	struct slot *slot = &delay->slot[account % SLOTS];
	int64_t now_ms = shelf_mono_ms();
	bool soon;

	pthread_mutex_lock(&delay->lock);
	soon = slot->account == account && now_ms - slot->at_ms < (int64_t)seconds * 1000;
	if (!soon)
		*slot = (struct slot){account, now_ms};
	pthread_mutex_unlock(&delay->lock);
	return !soon;
}
