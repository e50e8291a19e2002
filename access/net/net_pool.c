/*
 * net_pool.c - threads for work that blocks
 *
 * A queue and a condition. Work is never dropped: net_pool_free() lets the threads empty the queue.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "net_inside.h"

struct net_pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	STAILQ_HEAD(, net_post) queue;
	bool ending;
	unsigned nthreads;
	pthread_t threads[];
};

static void *
run_worker(void *arg)
{
	struct net_pool *pool = arg;
	struct net_post *post;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while ((post = STAILQ_FIRST(&pool->queue)) == NULL && !pool->ending)
			pthread_cond_wait(&pool->more, &pool->lock);
		if (post == NULL)
			break;
		STAILQ_REMOVE_HEAD(&pool->queue, link);
		pthread_mutex_unlock(&pool->lock);
		post->fn(post->arg);
		free(post);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

struct net_pool *
net_pool_new(unsigned threads)
{
	unsigned n = threads == 0 ? 1 : threads;
	struct net_pool *pool = shelf_zalloc(sizeof(*pool) + n * sizeof(pool->threads[0]));
	sigset_t all, old;

	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	STAILQ_INIT(&pool->queue);
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

void
net_pool_add(struct net_pool *pool, void (*fn)(void *arg), void *arg)
{
	struct net_post *post = SHELF_NEW(struct net_post);

	post->fn = fn;
	post->arg = arg;
	pthread_mutex_lock(&pool->lock);
	STAILQ_INSERT_TAIL(&pool->queue, post, link);
	pthread_cond_signal(&pool->more);
	pthread_mutex_unlock(&pool->lock);
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
