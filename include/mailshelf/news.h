/*
 * news.h - "this account changed"
 *
 * A listener is told after every commit that changed its account, by this process at once, by
 * another process on the same store within a quarter of a second (SHELF_OPEN_SERVE). A call is a
 * hint: the listener compares shelf_rd_modseq() or refreshes its view. Calls may be merged.
 *
 * Threads   FN runs on an engine thread and must only post to its own loop; it must not call the
 *           store. shelf_unlisten() returns when no call is running any more.
 */
#ifndef MAILSHELF_NEWS_H
#define MAILSHELF_NEWS_H

#include <mailshelf/store.h>

struct shelf_listener;
typedef void shelf_news_fn(void *arg);

SHELF_CHECK int shelf_listen(struct shelf_store *store, uint32_t account, shelf_news_fn *fn,
    void *arg, struct shelf_listener **out);
void shelf_unlisten(struct shelf_listener **listener);

#endif
