/*
 * net_listener.c - accepting, counting, refusing
 *
 * A listener accepts on the first loop and deals the connections to all loops in turn. It counts its
 * connections, in all and by address, and outlives them: each holds a reference.
 * What must stay true: every accepted descriptor is counted before it is handed over and uncounted when
 * the connection is freed; without free descriptors accepting pauses instead of spinning.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "net_addr.h"
#include "net_inside.h"

struct count {
	struct count *next;
	struct net_peer peer;
	unsigned n;
};

struct net_listener {
	struct net_loop **loops;
	unsigned nloops, next_loop;
	struct net_listener_params params; /* conn.tls under the lock, an own reference */
	char *busy, *addr;
	struct event *accept_event, *pause_event;
	int fd, port;
	dev_t dev;                         /* of a Unix socket's file, so that only our own is removed */
	ino_t ino;
	int64_t refused_log_at;            /* a refusal in the log, at most one a second */

	pthread_mutex_t lock;
	pthread_cond_t closed_cond;
	bool closed;
	unsigned refs, nconns;
	unsigned long long accepted, refused;
	struct count **counts;             /* hash table of addresses */
	size_t ncounts, slots;             /* slots: a power of two */
	uint64_t seed;
};

/* ---- Connections by address --------------------------------------------------------------------- */

/* The seed is secret, so nobody can choose addresses that fall into one chain. */
static struct count **
slot_of(struct net_listener *listener, const struct net_peer *peer)
{
	uint64_t h = listener->seed, word;

	for (size_t i = 0; i < sizeof(peer->ip); i += 8) {
		memcpy(&word, peer->ip + i, 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	return &listener->counts[h & (listener->slots - 1)];
}

static void
grow_counts(struct net_listener *listener)
{
	struct count **old = listener->counts, *count;
	size_t slots = listener->slots;

	if (listener->ncounts < slots)
		return;
	listener->slots = slots * 2;
	listener->counts = shelf_zalloc(listener->slots * sizeof(struct count *));
	for (size_t i = 0; i < slots; i++) {
		while ((count = old[i]) != NULL) {
			struct count **slot = slot_of(listener, &count->peer);

			old[i] = count->next;
			count->next = *slot;
			*slot = count;
		}
	}
	free(old);
}

static struct count **
find_count(struct net_listener *listener, const struct net_peer *peer)
{
	struct count **at = slot_of(listener, peer);

	while (*at != NULL && memcmp(&(*at)->peer, peer, sizeof(*peer)) != 0)
		at = &(*at)->next;
	return at;
}

static void
count_peer(struct net_listener *listener, const struct net_peer *peer)
{
	struct count **at;

	grow_counts(listener);
	at = find_count(listener, peer);
	if (*at == NULL) {
		*at = SHELF_NEW(struct count);
		(*at)->peer = *peer;
		listener->ncounts++;
	}
	(*at)->n++;
}

static void
uncount_peer(struct net_listener *listener, const struct net_peer *peer)
{
	struct count **at = find_count(listener, peer), *count = *at;

	SHELF_ASSERT(count != NULL);
	if (--count->n > 0)
		return;
	*at = count->next;
	listener->ncounts--;
	free(count);
}

/* Counts the connection, or returns why not. */
static const char *
admit(struct net_listener *listener, const struct net_peer *peer, bool loopback)
{
	const struct net_listener_params *params = &listener->params;
	const char *refused = NULL;

	pthread_mutex_lock(&listener->lock);
	if (listener->nconns >= params->conns_max) {
		refused = "too many connections";
	} else if (params->conns_per_peer_max > 0 && !loopback) {
		struct count *count = *find_count(listener, peer);

		if (count != NULL && count->n >= params->conns_per_peer_max)
			refused = "too many connections from this address";
	}
	if (refused == NULL) {
		listener->nconns++;
		listener->refs++;
		listener->accepted++;
		count_peer(listener, peer);
	} else {
		listener->refused++;
	}
	pthread_mutex_unlock(&listener->lock);
	return refused;
}

const char *
net_listener_move(struct net_conn *conn, const struct net_peer *peer)
{
	struct net_listener *listener = conn->listener;
	struct count *count;
	bool full;

	pthread_mutex_lock(&listener->lock);
	count = *find_count(listener, peer);
	full = listener->params.conns_per_peer_max > 0 && !conn->loopback && count != NULL &&
	    count->n >= listener->params.conns_per_peer_max;
	if (full) {
		listener->refused++;
	} else {
		uncount_peer(listener, &conn->peer_ip);
		count_peer(listener, peer);
	}
	pthread_mutex_unlock(&listener->lock);
	/* A client that expects TLS could not read it. */
	if (full && listener->busy != NULL && !conn->tls_at_once)
		send(conn->fd, listener->busy, strlen(listener->busy), MSG_NOSIGNAL | MSG_DONTWAIT);
	return full ? "too many connections from this address" : NULL;
}

/* ---- Lifetime --------------------------------------------------------------------------------- */

static void
unref_listener(struct net_listener *listener)
{
	bool last;

	pthread_mutex_lock(&listener->lock);
	last = --listener->refs == 0;
	pthread_mutex_unlock(&listener->lock);
	if (!last)
		return;
	net_tls_unref(&listener->params.conn.tls);
	pthread_mutex_destroy(&listener->lock);
	pthread_cond_destroy(&listener->closed_cond);
	free(listener->counts);
	free(listener->loops);
	free(listener->busy);
	free(listener->addr);
	free(listener);
}

void
net_listener_gone(struct net_listener *listener, const struct net_conn *conn)
{
	pthread_mutex_lock(&listener->lock);
	listener->nconns--;
	uncount_peer(listener, &conn->peer_ip);
	pthread_mutex_unlock(&listener->lock);
	unref_listener(listener);
}

/* ---- Accepting --------------------------------------------------------------------------------- */

static void
turn_away(struct net_listener *listener, int fd, const char *peer, const char *why, const char *answer)
{
	int64_t now = shelf_mono_ms();

	/* A client that expects TLS could not read it. */
	if (answer != NULL && !listener->params.conn.tls_at_once)
		send(fd, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
	if (now < listener->refused_log_at)
		return;
	listener->refused_log_at = now + 1000;
	shelf_log(SHELF_LOG_WARN, "connection refused", "service", "%s",
	    listener->params.conn.protocol->name, "peer", "%s", peer, "reason", "%s", why, NULL);
}

static bool
is_proxy(struct net_listener *listener, const struct sockaddr *addr)
{
	bool yes, ip = addr->sa_family == AF_INET || addr->sa_family == AF_INET6;

	pthread_mutex_lock(&listener->lock);
	yes = ip && listener->params.proxies != NULL && net_networks_has(listener->params.proxies, addr);
	pthread_mutex_unlock(&listener->lock);
	return yes;
}

static bool
may_connect(struct net_listener *listener, const struct sockaddr *addr)
{
	bool yes;

	pthread_mutex_lock(&listener->lock);
	yes = listener->params.from == NULL || net_networks_has(listener->params.from, addr);
	listener->refused += !yes;
	pthread_mutex_unlock(&listener->lock);
	return yes;
}

static void
welcome(struct net_listener *listener, int fd, const struct sockaddr *addr)
{
	struct net_loop *loop = listener->loops[listener->next_loop];
	struct net_conn_params params;
	struct net_conn *conn;
	struct net_peer peer;
	const char *refused;
	bool proxy = is_proxy(listener, addr);
	char text[96];

	peer = net_addr_peer(addr, text, sizeof(text));
	if (!may_connect(listener, addr)) {
		turn_away(listener, fd, text, "not from a network that may connect", listener->params.denied);
		return;
	}
	refused = admit(listener, &peer, proxy || net_addr_is_loopback(addr));
	if (refused != NULL) {
		turn_away(listener, fd, text, refused, listener->busy);
		return;
	}
	listener->next_loop = (listener->next_loop + 1) % listener->nloops;
	pthread_mutex_lock(&listener->lock);
	params = listener->params.conn;
	net_tls_ref(params.tls);
	pthread_mutex_unlock(&listener->lock);
	params.from_proxy = proxy;
	conn = net_conn_new(loop, fd, text, &params, listener, peer);
	net_tls_unref(&params.tls);
	net_loop_post(loop, net_conn_start, conn);
}

static void
pause_accepting(struct net_listener *listener, int error)
{
	struct timeval tv = {0, NET_ACCEPT_PAUSE_MS * 1000};
	int64_t now = shelf_mono_ms();

	event_del(listener->accept_event);
	event_add(listener->pause_event, &tv);
	if (now < listener->refused_log_at)
		return;
	listener->refused_log_at = now + 10000;
	shelf_log(SHELF_LOG_ERROR, "accepting paused", "address", "%s", listener->addr, "reason", "%s",
	    strerror(error), NULL);
}

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct net_listener *listener = arg;

	event_add(listener->accept_event, NULL);
}

static void
on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct net_listener *listener = arg;
	struct sockaddr_storage addr;
	socklen_t len;
	int fd;

	for (int i = 0; i < NET_ACCEPT_BATCH; i++) {
		memset(&addr, 0, sizeof(addr));
		len = sizeof(addr);
		fd = accept4(listener->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			welcome(listener, fd, (struct sockaddr *)&addr);
			continue;
		}
		/* What a connection broke before it was accepted is not the listener's trouble. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(listener, errno);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

/* ---- Beginning and end ---------------------------------------------------------------------- */

struct net_listener *
net_listener_new(struct net_loop **loops, unsigned nloops, const char *addr,
    const struct net_listener_params *params, char *error, size_t error_len)
{
	int fd = net_addr_listen(addr, params->unix_mode, params->unix_group, error, error_len);
	struct net_listener *listener;
	struct stat st;

	if (fd < 0)
		return NULL;
	SHELF_ASSERT(nloops > 0);
	listener = SHELF_NEW(struct net_listener);
	listener->loops = shelf_alloc(nloops * sizeof(struct net_loop *));
	memcpy(listener->loops, loops, nloops * sizeof(struct net_loop *));
	listener->nloops = nloops;
	listener->params = *params;
	net_tls_ref(params->conn.tls);
	listener->busy = params->busy == NULL ? NULL : shelf_strdup(params->busy);
	listener->addr = shelf_strdup(addr);
	listener->fd = fd;
	listener->port = net_addr_port(fd);
	if (strncmp(addr, "unix:", 5) == 0 && stat(addr + 5, &st) == 0) {
		listener->dev = st.st_dev;
		listener->ino = st.st_ino;
	}
	pthread_mutex_init(&listener->lock, NULL);
	pthread_cond_init(&listener->closed_cond, NULL);
	listener->refs = 1;
	listener->slots = 64;
	listener->counts = shelf_zalloc(listener->slots * sizeof(struct count *));
	shelf_random(&listener->seed, sizeof(listener->seed));
	listener->accept_event =
	    event_new(loops[0]->base, fd, EV_READ | EV_PERSIST, on_accept, listener);
	listener->pause_event = event_new(loops[0]->base, -1, 0, on_pause_over, listener);
	SHELF_ASSERT(listener->accept_event != NULL && listener->pause_event != NULL);
	event_add(listener->accept_event, NULL);
	return listener;
}

int
net_listener_port(const struct net_listener *listener)
{
	return listener->port;
}

struct net_listener_counts
net_listener_counts(struct net_listener *listener)
{
	struct net_listener_counts counts;

	pthread_mutex_lock(&listener->lock);
	counts = (struct net_listener_counts){listener->nconns, listener->accepted, listener->refused};
	pthread_mutex_unlock(&listener->lock);
	return counts;
}

void
net_listener_set(struct net_listener *listener, const struct net_listener_params *params)
{
	struct net_tls *old;

	/* What is read without the lock must not change. */
	SHELF_ASSERT(params->conn.protocol == listener->params.conn.protocol &&
	    params->conn.tls_at_once == listener->params.conn.tls_at_once);
	pthread_mutex_lock(&listener->lock);
	old = listener->params.conn.tls;
	listener->params.conn.server = params->conn.server;
	listener->params.conn.tls = net_tls_ref(params->conn.tls);
	listener->params.conn.input_max_bytes = params->conn.input_max_bytes;
	listener->params.conn.handshake_timeout_s = params->conn.handshake_timeout_s;
	listener->params.from = params->from;
	listener->params.proxies = params->proxies;
	listener->params.conns_max = params->conns_max;
	listener->params.conns_per_peer_max = params->conns_per_peer_max;
	pthread_mutex_unlock(&listener->lock);
	net_tls_unref(&old);
}

/* On the first loop, or with no loop running. */
static void
close_listener(void *arg)
{
	struct net_listener *listener = arg;
	struct stat st;

	event_free(listener->accept_event);
	event_free(listener->pause_event);
	if (listener->ino != 0 && stat(listener->addr + 5, &st) == 0 &&
	    st.st_dev == listener->dev && st.st_ino == listener->ino)
		unlink(listener->addr + 5);
	close(listener->fd);
	pthread_mutex_lock(&listener->lock);
	listener->closed = true;
	pthread_cond_signal(&listener->closed_cond);
	pthread_mutex_unlock(&listener->lock);
}

void
net_listener_free(struct net_listener **listenerp)
{
	struct net_listener *listener = *listenerp;

	*listenerp = NULL;
	if (listener == NULL)
		return;
	if (net_loop_post_if_elsewhere(listener->loops[0], close_listener, listener)) {
		pthread_mutex_lock(&listener->lock);
		while (!listener->closed)
			pthread_cond_wait(&listener->closed_cond, &listener->lock);
		pthread_mutex_unlock(&listener->lock);
	} else {
		close_listener(listener);
	}
	unref_listener(listener);
}
