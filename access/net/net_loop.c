/*
 * net_loop.c - event loops: posts from other threads, connections that are owed a callback
 *
 * Other threads reach a loop only through the lists under its lock and an eventfd; libevent itself is
 * used by the loop's thread alone and needs no locks. The `soon` list is run by a timer of zero, not
 * by event_active(): libevent polls the sockets between two timers, so a connection that always has
 * something to do cannot starve the others.
 * What must stay true: a function posted while the loop runs is run, even when the loop is ending.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "net_inside.h"

static const struct timeval at_once = {0, 0};

/* Under the lock. */
static void
signal_loop(struct net_loop *loop)
{
	uint64_t one = 1;

	if (loop->signalled)
		return;
	loop->signalled = true;
	if (write(loop->wake_fd, &one, sizeof(one)) < 0) {
		/* EAGAIN: the counter is full, so it is readable anyway. */
	}
}

static void
run_posts(struct net_loop *loop)
{
	struct net_posts todo = STAILQ_HEAD_INITIALIZER(todo);
	struct net_post *post;

	pthread_mutex_lock(&loop->lock);
	STAILQ_CONCAT(&todo, &loop->posts);
	pthread_mutex_unlock(&loop->lock);
	while ((post = STAILQ_FIRST(&todo)) != NULL) {
		STAILQ_REMOVE_HEAD(&todo, link);
		post->fn(post->arg);
		free(post);
	}
}

/* As many as there are now: one that wakes itself waits for the next round. */
static void
run_woken(struct net_loop *loop)
{
	struct net_conn *conn, *last;

	pthread_mutex_lock(&loop->lock);
	last = TAILQ_LAST(&loop->woken, net_conn_list);
	pthread_mutex_unlock(&loop->lock);
	for (bool more = last != NULL; more;) {
		pthread_mutex_lock(&loop->lock);
		conn = TAILQ_FIRST(&loop->woken);
		more = conn != NULL && conn != last;
		if (conn != NULL) {
			TAILQ_REMOVE(&loop->woken, conn, woken_link);
			conn->woken = false;
		}
		pthread_mutex_unlock(&loop->lock);
		if (conn != NULL)
			net_conn_run_wake(conn);
	}
}

static void
begin_stop(struct net_loop *loop)
{
	struct net_conn *conn, *next;

	loop->stopping = true;
	for (conn = TAILQ_FIRST(&loop->conns); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, link);
		net_conn_run_stop(conn); /* ends no other connection than this one */
	}
}

static void
on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct net_loop *loop = arg;
	uint64_t count;
	bool stop;

	if (read(loop->wake_fd, &count, sizeof(count)) < 0) {
		/* EAGAIN: read before; the lists tell what is to do. */
	}
	pthread_mutex_lock(&loop->lock);
	loop->signalled = false;
	stop = loop->stop;
	pthread_mutex_unlock(&loop->lock);
	run_posts(loop);
	run_woken(loop);
	if (stop && !loop->stopping)
		begin_stop(loop);
}

static void
on_soon(evutil_socket_t fd, short what, void *arg)
{
	struct net_loop *loop = arg;
	struct net_conn *conn, *last = TAILQ_LAST(&loop->soon, net_conn_list);

	for (bool more = last != NULL; more;) {
		conn = TAILQ_FIRST(&loop->soon);
		if (conn == NULL)
			break;
		more = conn != last;
		TAILQ_REMOVE(&loop->soon, conn, soon_link);
		conn->soon_queued = false;
		net_conn_run_soon(conn);
	}
	if (!TAILQ_EMPTY(&loop->soon))
		event_add(loop->soon_event, &at_once);
}

void
net_loop_soon(struct net_conn *conn)
{
	struct net_loop *loop = conn->loop;

	if (conn->soon_queued)
		return;
	if (TAILQ_EMPTY(&loop->soon))
		event_add(loop->soon_event, &at_once);
	TAILQ_INSERT_TAIL(&loop->soon, conn, soon_link);
	conn->soon_queued = true;
}

bool
net_loop_woken(struct net_conn *conn)
{
	bool woken;

	pthread_mutex_lock(&conn->loop->lock);
	woken = conn->woken;
	pthread_mutex_unlock(&conn->loop->lock);
	return woken;
}

void
net_loop_forget(struct net_conn *conn)
{
	struct net_loop *loop = conn->loop;

	if (conn->soon_queued)
		TAILQ_REMOVE(&loop->soon, conn, soon_link);
	conn->soon_queued = false;
	pthread_mutex_lock(&loop->lock);
	if (conn->woken)
		TAILQ_REMOVE(&loop->woken, conn, woken_link);
	conn->woken = false;
	pthread_mutex_unlock(&loop->lock);
}

void
net_conn_wake(struct net_conn *conn)
{
	struct net_loop *loop = conn->loop;

	pthread_mutex_lock(&loop->lock);
	if (!conn->woken) {
		conn->woken = true;
		TAILQ_INSERT_TAIL(&loop->woken, conn, woken_link);
		signal_loop(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

struct net_loop *
net_loop_new(void)
{
	struct net_loop *loop = SHELF_NEW(struct net_loop);
	struct event_config *config = event_config_new();

	SHELF_ASSERT(config != NULL);
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	SHELF_ASSERT(loop->base != NULL && loop->wake_fd >= 0);
	TAILQ_INIT(&loop->conns);
	TAILQ_INIT(&loop->soon);
	TAILQ_INIT(&loop->woken);
	STAILQ_INIT(&loop->posts);
	SLIST_INIT(&loop->everys);
	pthread_mutex_init(&loop->lock, NULL);
	loop->scratch = shelf_alloc(NET_SCRATCH_BYTES);
	loop->signal_event =
	    event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_signal, loop);
	loop->soon_event = event_new(loop->base, -1, 0, on_soon, loop);
	SHELF_ASSERT(loop->signal_event != NULL && loop->soon_event != NULL);
	event_add(loop->signal_event, NULL);
	return loop;
}

/* Under the lock nothing can be posted between the last look and running = false. */
static bool
may_end(struct net_loop *loop)
{
	bool end;

	pthread_mutex_lock(&loop->lock);
	end = loop->stopping && TAILQ_EMPTY(&loop->conns) && STAILQ_EMPTY(&loop->posts);
	if (end)
		loop->running = false;
	pthread_mutex_unlock(&loop->lock);
	return end;
}

void
net_loop_run(struct net_loop *loop)
{
	sigset_t pipe_only;

	/* OpenSSL writes to the socket with write(2), which has no MSG_NOSIGNAL. */
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
	pthread_mutex_lock(&loop->lock);
	SHELF_ASSERT(!loop->running);
	loop->running = true;
	loop->thread = pthread_self();
	pthread_mutex_unlock(&loop->lock);
	while (!may_end(loop))
		SHELF_ASSERT(event_base_loop(loop->base, EVLOOP_ONCE) >= 0);
}

void
net_loop_stop(struct net_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stop = true;
	signal_loop(loop);
	pthread_mutex_unlock(&loop->lock);
}

static void
post(struct net_loop *loop, void (*fn)(void *), void *arg)
{
	struct net_post *new_post = SHELF_NEW(struct net_post);

	new_post->fn = fn;
	new_post->arg = arg;
	STAILQ_INSERT_TAIL(&loop->posts, new_post, link);
	signal_loop(loop);
}

void
net_loop_post(struct net_loop *loop, void (*fn)(void *), void *arg)
{
	pthread_mutex_lock(&loop->lock);
	post(loop, fn, arg);
	pthread_mutex_unlock(&loop->lock);
}

bool
net_loop_post_if_elsewhere(struct net_loop *loop, void (*fn)(void *), void *arg)
{
	bool elsewhere;

	pthread_mutex_lock(&loop->lock);
	elsewhere = loop->running && !pthread_equal(loop->thread, pthread_self());
	if (elsewhere)
		post(loop, fn, arg);
	pthread_mutex_unlock(&loop->lock);
	return elsewhere;
}

static void
on_every(evutil_socket_t fd, short what, void *arg)
{
	struct net_every *every = arg;

	every->fn(every->arg);
}

void
net_loop_every(struct net_loop *loop, unsigned interval_ms, void (*fn)(void *), void *arg)
{
	struct net_every *every = SHELF_NEW(struct net_every);
	struct timeval tv = {interval_ms / 1000, interval_ms % 1000 * 1000};

	every->fn = fn;
	every->arg = arg;
	every->event = event_new(loop->base, -1, EV_PERSIST, on_every, every);
	SHELF_ASSERT(every->event != NULL);
	event_add(every->event, &tv);
	SLIST_INSERT_HEAD(&loop->everys, every, link);
}

unsigned
net_loop_conns(const struct net_loop *loop)
{
	return atomic_load(&loop->nconns);
}

void
net_loop_free(struct net_loop **loopp)
{
	struct net_loop *loop = *loopp;
	struct net_every *every;

	*loopp = NULL;
	if (loop == NULL)
		return;
	SHELF_ASSERT(!loop->running);
	loop->stopping = true; /* connections attached too late are closed, not started */
	run_posts(loop);
	SHELF_ASSERT(TAILQ_EMPTY(&loop->conns));
	while ((every = SLIST_FIRST(&loop->everys)) != NULL) {
		SLIST_REMOVE_HEAD(&loop->everys, link);
		event_free(every->event);
		free(every);
	}
	event_free(loop->signal_event);
	event_free(loop->soon_event);
	event_base_free(loop->base);
	close(loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop->scratch);
	free(loop);
}
