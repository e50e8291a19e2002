/* news.c - listeners by account; the watcher for commits of other processes */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <mailshelf/mem.h>

#include "kv.h"
#include "news.h"

enum { BUCKETS = 1024, WATCH_MS = 100 };

struct shelf_listener {
	struct news *news;
	struct shelf_listener *next; /* in its topic */
	struct topic *topic;
	shelf_news_fn *fn;
	void *arg;
};

/* An account somebody listens to. */
struct topic {
	struct topic *next; /* in its bucket */
	uint32_t account;
	uint32_t shard;
	uint64_t version; /* when the watcher last looked */
	struct shelf_listener *listeners;
};

struct news {
	struct kv_db *db;
	news_version_fn *version;
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t stop_cond;
	struct topic *bucket[BUCKETS];
	bool watching, stop;
	pthread_t watcher;
};

struct news *
news_new(struct kv_db *db, news_version_fn *version, void *arg)
{
	struct news *n = SHELF_NEW(struct news);
	pthread_condattr_t attr;

	n->db = db;
	n->version = version;
	n->arg = arg;
	pthread_mutex_init(&n->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->stop_cond, &attr);
	pthread_condattr_destroy(&attr);
	return n;
}

void
news_free(struct news **news)
{
	struct news *n = *news;

	if (n == NULL)
		return;
	*news = NULL;
	if (n->watching) {
		pthread_mutex_lock(&n->lock);
		n->stop = true;
		pthread_cond_signal(&n->stop_cond);
		pthread_mutex_unlock(&n->lock);
		pthread_join(n->watcher, NULL);
	}
	for (unsigned b = 0; b < BUCKETS; b++)
		SHELF_ASSERT(n->bucket[b] == NULL); /* a listener outlived the store */
	pthread_cond_destroy(&n->stop_cond);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

static struct topic **
find(struct news *n, uint32_t account)
{
	struct topic **t = &n->bucket[account % BUCKETS];

	while (*t != NULL && (*t)->account != account)
		t = &(*t)->next;
	return t;
}

void
news_tell(struct news *n, uint32_t account)
{
	struct topic *t;

	pthread_mutex_lock(&n->lock);
	t = *find(n, account);
	for (struct shelf_listener *l = t == NULL ? NULL : t->listeners; l != NULL; l = l->next)
		l->fn(l->arg);
	pthread_mutex_unlock(&n->lock);
}

struct shelf_listener *
news_listen(struct news *n, uint32_t account, shelf_news_fn *fn, void *arg)
{
	struct shelf_listener *l = SHELF_NEW(struct shelf_listener);
	uint64_t version = n->version(n->arg, account);
	uint32_t shard = 0;
	struct topic **t;

	if (kv_shard_of(n->db, account, &shard) != 0)
		shard = 0;
	l->news = n;
	l->fn = fn;
	l->arg = arg;
	pthread_mutex_lock(&n->lock);
	t = find(n, account);
	if (*t == NULL) {
		*t = SHELF_NEW(struct topic);
		(*t)->account = account;
		(*t)->shard = shard;
		(*t)->version = version;
	}
	l->topic = *t;
	l->next = (*t)->listeners;
	(*t)->listeners = l;
	pthread_mutex_unlock(&n->lock);
	return l;
}

void
shelf_unlisten(struct shelf_listener **listener)
{
	struct shelf_listener *l = *listener, **at;
	struct topic **t;
	struct news *n;

	if (l == NULL)
		return;
	*listener = NULL;
	n = l->news;
	pthread_mutex_lock(&n->lock);
	for (at = &l->topic->listeners; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	if (l->topic->listeners == NULL) {
		t = find(n, l->topic->account);
		*t = l->topic->next;
		free(l->topic);
	}
	pthread_mutex_unlock(&n->lock);
	free(l);
}

/* ---- Commits of other processes --------------------------------------------------------------------- */

struct watched {
	uint32_t account;
	uint64_t version;
};

/* The accounts listened to in one shard, copied so that they are read without the lock. */
static size_t
copy_topics(struct news *n, uint32_t shard, struct watched **out, size_t *cap)
{
	size_t count = 0;

	pthread_mutex_lock(&n->lock);
	for (unsigned b = 0; b < BUCKETS; b++) {
		for (struct topic *t = n->bucket[b]; t != NULL; t = t->next) {
			if (t->shard != shard)
				continue;
			if (count == *cap) {
				*cap = *cap == 0 ? 64 : *cap * 2;
				*out = shelf_realloc(*out, *cap * sizeof(**out));
			}
			(*out)[count++] = (struct watched){t->account, t->version};
		}
	}
	pthread_mutex_unlock(&n->lock);
	return count;
}

/* The account may have left SHARD: the commit that says so is one of SHARD. */
static void
follow(struct news *n, uint32_t account, uint32_t shard)
{
	struct topic *t;
	uint32_t now;

	if (kv_shard_of(n->db, account, &now) != 0 || now == shard)
		return;
	pthread_mutex_lock(&n->lock);
	if ((t = *find(n, account)) != NULL)
		t->shard = now;
	pthread_mutex_unlock(&n->lock);
}

static void
look_at_shard(struct news *n, uint32_t shard, struct watched **list, size_t *cap)
{
	size_t count = copy_topics(n, shard, list, cap);

	for (size_t i = 0; i < count; i++) {
		/* First: when it has moved to another shard, what comes there after this version is seen there. */
		uint64_t now = n->version(n->arg, (*list)[i].account);
		struct topic *t;

		follow(n, (*list)[i].account, shard);
		if (now == 0 || now == (*list)[i].version)
			continue;
		pthread_mutex_lock(&n->lock);
		if ((t = *find(n, (*list)[i].account)) != NULL)
			t->version = now;
		pthread_mutex_unlock(&n->lock);
		news_tell(n, (*list)[i].account);
	}
}

static void *
watch(void *arg)
{
	struct news *n = arg;
	uint64_t seen[KV_SHARDS_MAX] = {0};
	struct watched *list = NULL;
	size_t cap = 0;
	bool stop = false;

	while (!stop) {
		struct timespec until;

		for (uint32_t s = 0; s < kv_shards(n->db); s++) {
			uint64_t now = kv_commits_seen(n->db, s);

			if (now != seen[s]) {
				seen[s] = now;
				look_at_shard(n, s, &list, &cap);
			}
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += WATCH_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		pthread_mutex_lock(&n->lock);
		if (!n->stop)
			pthread_cond_timedwait(&n->stop_cond, &n->lock, &until);
		stop = n->stop;
		pthread_mutex_unlock(&n->lock);
	}
	free(list);
	return NULL;
}

int
news_watch(struct news *n)
{
	if (pthread_create(&n->watcher, NULL, watch, n) != 0)
		return SHELF_ENOMEM;
	n->watching = true;
	return 0;
}
