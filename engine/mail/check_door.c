/*
 * check_door.c - a shard that nobody writes for a moment
 *
 * A check reads in slices and takes over what has not changed. Where writers are always faster, it closes the door: an
 * update that does nothing but wait, so that no process commits and all snapshots show the same. They may be as
 * short as ever. Writers wait as long as it takes to read what changed last, and never longer than OPENS_MS: then the
 * door opens by itself.
 */
#include <errno.h>
#include <time.h>

#include "mail_check.h"

enum { OPENS_MS = 5000 };

unsigned check_doors_closed;
bool check_impatient;

/* The closure, on the committer's thread. */
static int
hold(struct kv_txn *txn, void *arg)
{
	struct check_door *d = arg;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += OPENS_MS / 1000;
	pthread_mutex_lock(&d->lock);
	d->closed = true;
	pthread_cond_broadcast(&d->moved);
	while (!d->open && pthread_cond_clockwait(&d->moved, &d->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
		;
	d->wrote = d->open && d->last != NULL;
	pthread_mutex_unlock(&d->lock);
	return d->wrote ? d->last(txn, d->last_arg) : 0;
}

static void *
keep(void *arg)
{
	struct check_door *d = arg;
	int rc = kv_update_shard(d->kv, d->shard, KV_QUIET, hold, d);

	pthread_mutex_lock(&d->lock);
	d->rc = rc;
	d->over = true;
	pthread_cond_broadcast(&d->moved);
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

int
check_door_close(struct check *k, uint32_t shard)
{
	struct check_door *d = &k->door;
	int rc;

	*d = (struct check_door){.kv = k->store->kv, .shard = shard, .lock = PTHREAD_MUTEX_INITIALIZER,
				 .moved = PTHREAD_COND_INITIALIZER};
	if (pthread_create(&d->keeper, NULL, keep, d) != 0)
		return SHELF_ENOMEM;
	d->used = true;
	pthread_mutex_lock(&d->lock);
	while (!d->closed && !d->over)
		pthread_cond_wait(&d->moved, &d->lock);
	rc = d->closed ? 0 : d->rc;
	pthread_mutex_unlock(&d->lock);
	check_doors_closed++;
	if (rc != 0)
		check_door_open(k);
	return rc;
}

/* Returns what its update returned. */
static int
open_door(struct check *k, kv_update_fn *last, void *arg)
{
	struct check_door *d = &k->door;

	pthread_mutex_lock(&d->lock);
	d->last = last;
	d->last_arg = arg;
	d->open = true;
	pthread_cond_broadcast(&d->moved);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->keeper, NULL);
	pthread_mutex_destroy(&d->lock);
	pthread_cond_destroy(&d->moved);
	d->used = false;
	return d->rc;
}

void
check_door_open(struct check *k)
{
	if (k->door.used)
		open_door(k, NULL, NULL);
}

int
check_door_write(struct check *k, kv_update_fn *fn, void *arg)
{
	int rc = open_door(k, fn, arg);

	return rc == 0 && !k->door.wrote ? SHELF_EBUSY : rc;
}
