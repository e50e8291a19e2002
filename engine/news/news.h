/*
 * news.h (private) - who listens to which account
 *
 * In this process the committer tells; for other processes a watcher thread compares each shard's last
 * commit number every WATCH_MS and then the version of the accounts listened to.
 * Lock order: news.lock is a leaf; listeners are called with it held, so they must only post.
 */
#ifndef ENGINE_NEWS_H
#define ENGINE_NEWS_H

#include <mailshelf/err.h>
#include <mailshelf/news.h>

struct kv_db;
struct news;

/* Version of an account now; 0 when it cannot be read. Called by the watcher without the lock. */
typedef uint64_t news_version_fn(void *arg, uint32_t account);

struct news *news_new(struct kv_db *db, news_version_fn *version, void *arg);
void news_free(struct news **news);
/* Starts the watcher. */
SHELF_CHECK int news_watch(struct news *news);
void news_tell(struct news *news, uint32_t account);
struct shelf_listener *news_listen(struct news *news, uint32_t account, shelf_news_fn *fn,
				   void *arg);

#endif
