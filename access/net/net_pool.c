/*
 * net_pool.c - threads for work that blocks
 *
 * Two queues and a condition: what is long (it keeps a core busy, or the disk) waits in a queue of its own, and only
 * some threads at a time take from it, so that there is always one for what is short. Work is never dropped:
 * net_pool_free() lets the threads empty the queues.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "net_inside.h"

struct net_pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	STAILQ_HEAD(net_pool_queue, net_post) queue, longs;
	unsigned nlong, long_max; /* threads that do long work: now, at most */
	bool ending;
	unsigned nthreads;
	pthread_t threads[];
};

static bool
long_may_begin(const struct net_pool *pool)
{
	return pool->nlong < pool->long_max && !STAILQ_EMPTY(&pool->longs);
}

/* NULL: there is nothing to do for this thread. */
static struct net_post *
take(struct net_pool *pool, bool *long_out)
{
	struct net_pool_queue *queue = &pool->queue;
	struct net_post *post;

	*long_out = STAILQ_EMPTY(queue) && long_may_begin(pool);
	if (*long_out) {
		queue = &pool->longs;
		pool->nlong++;
	}
	post = STAILQ_FIRST(queue);
	if (post != NULL)
		STAILQ_REMOVE_HEAD(queue, link);
	return post;
}

static void *
run_worker(void *arg)
{
	struct net_pool *pool = arg;
	struct net_post *post;
	bool is_long;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while ((post = take(pool, &is_long)) == NULL && !pool->ending)
			pthread_cond_wait(&pool->more, &pool->lock);
		if (post == NULL)
			break; /* long work that may not begin yet is left to those who do some now */
		pthread_mutex_unlock(&pool->lock);
		post->fn(post->arg);
		free(post);
		pthread_mutex_lock(&pool->lock);
		pool->nlong -= is_long;
		/* This thread may take something else: whom it kept from long work has to be woken. */
		if (is_long && long_may_begin(pool))
			pthread_cond_signal(&pool->more);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* At least one, and not the last one for what is short. */
static unsigned
long_max(unsigned threads, unsigned wanted)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (wanted == 0)
		wanted = cores > 0 ? (unsigned)cores : 1;
	if (wanted >= threads)
		wanted = threads - 1;
	return wanted > 0 ? wanted : 1;
}

struct net_pool *
net_pool_new(unsigned threads, unsigned long_threads)
{
	unsigned n = threads == 0 ? 1 : threads;
	struct net_pool *pool = shelf_zalloc(sizeof(*pool) + n * sizeof(pool->threads[0]));
	sigset_t all, old;

	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	STAILQ_INIT(&pool->queue);
	STAILQ_INIT(&pool->longs);
	pool->long_max = long_max(n, long_threads);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	for (; pool->nthreads < n; pool->nthreads++) {
		if (pthread_create(&pool->threads[pool->nthreads], NULL, run_worker, pool) != 0)
			break; /* fewer threads do the same work */
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	SHELF_ASSERT(pool->nthreads > 0);
	return pool;
}

static void
add(struct net_pool *pool, struct net_pool_queue *queue, void (*fn)(void *arg), void *arg)
{
	struct net_post *post = SHELF_NEW(struct net_post);

	post->fn = fn;
	post->arg = arg;
	pthread_mutex_lock(&pool->lock);
	STAILQ_INSERT_TAIL(queue, post, link);
	pthread_cond_signal(&pool->more);
	pthread_mutex_unlock(&pool->lock);
}

void
net_pool_add(struct net_pool *pool, void (*fn)(void *arg), void *arg)
{
	add(pool, &pool->queue, fn, arg);
}

void
net_pool_add_long(struct net_pool *pool, void (*fn)(void *arg), void *arg)
{
	add(pool, &pool->longs, fn, arg);
}

unsigned
net_pool_long_max(const struct net_pool *pool)
{
	return pool->long_max;
}

void
net_pool_free(struct net_pool **poolp)
{
	struct net_pool *pool = *poolp;

	*poolp = NULL;
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	pthread_cond_broadcast(&pool->more);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->nthreads; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->more);
	free(pool);
}
