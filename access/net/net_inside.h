/*
 * net_inside.h - what the files of this room know of each other
 *
 * Threads   A struct net_conn is touched by its loop's thread only, but for `woken` and the link of the
 *           woken list, which the loop's lock guards, and what workers read and count while it is working.
 *           A struct net_loop: posts, woken, stop, running
 *           and signalled under its lock; all else by its thread.
 */
#ifndef ACCESS_NET_INSIDE_H
#define ACCESS_NET_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

#include "net.h"

enum {
	NET_INPUT_MAX_BYTES = 64 * 1024,
	NET_HIGH_BYTES = 64 * 1024,     /* net_conn_full() above */
	NET_LOW_BYTES = 16 * 1024,      /* drained() below */
	NET_SCRATCH_BYTES = 64 * 1024,  /* one read */
	NET_HANDSHAKE_S = 60,
	NET_FLUSH_MS = 20000,           /* a closing connection that takes no output for so long is cut */
	NET_STOP_MS = 3000,             /* the same when the server stops, however slowly it takes */
	NET_LINGER_MS = 1000,           /* for the peer to read our last bytes and close */
	NET_LINGER_MAX_BYTES = 1024 * 1024,
	NET_ACCEPT_BATCH = 64,
	NET_ACCEPT_PAUSE_MS = 100,      /* after running out of descriptors */
	NET_BACKLOG = 1024,
	NET_REASON_MAX = 200,
};

struct net_post {
	STAILQ_ENTRY(net_post) link;
	void (*fn)(void *);
	void *arg;
};

struct net_every {
	SLIST_ENTRY(net_every) link;
	struct event *event;
	void (*fn)(void *);
	void *arg;
};

/* net_turn.c: struct net_turns while it is counted. */
struct net_turn_counters {
	_Atomic uint64_t slow, slow_cpu, slowest_us, slowest_cpu_us;
	struct shelf_durations_live by_clock;
	struct net_turns taken; /* what net_loop_take_turns() saw last */
};

TAILQ_HEAD(net_conn_list, net_conn);

struct net_loop {
	struct event_base *base;
	struct event *signal_event; /* wake_fd is readable: posts, woken, stop */
	struct event *soon_event;   /* zero timer: the connections in `soon` */
	int wake_fd;
	uint8_t *scratch;           /* NET_SCRATCH_BYTES, for one read */
	struct net_conn_list conns, soon;
	SLIST_HEAD(, net_every) everys;
	bool stopping;              /* the stop has reached the connections */
	_Atomic unsigned nconns;
	struct net_turn_counters turns;

	pthread_mutex_t lock;
	STAILQ_HEAD(net_posts, net_post) posts;
	struct net_conn_list woken;
	bool signalled, stop, running;
	pthread_t thread;
};

/*
 * States of a connection
 *
 *   attach ──► HANDSHAKE ──► OPEN ──► LINGER ──► freed
 *     └── in clear ──────────► │ ▲
 *                 starttls ──► HANDSHAKE
 *
 * A proxy's connection is in PROXY before it is in either of the first two.
 * OPEN has two endings inside: `closing` (output is still to be sent, or work to come back) and then
 * conn_end(), the only caller of close().
 */
enum net_conn_state { NET_PROXY, NET_HANDSHAKE, NET_OPEN, NET_LINGER };

struct net_conn {
	TAILQ_ENTRY(net_conn) link, soon_link, woken_link;
	struct net_loop *loop;
	const struct net_protocol *protocol;
	void *server, *session;
	struct net_pool *pool;
	struct net_tls *tls;           /* own reference */
	struct net_listener *listener; /* own reference; NULL for attached ones */
	struct net_peer peer_ip;
	SSL *ssl;
	struct net_deflate *deflate;   /* NULL: bytes go as they are */
	struct net_proxy *proxy;       /* in state NET_PROXY */
	int fd;
	enum net_conn_state state;

	/* input callback is owed: want_input; output went above the high mark: was_full */
	bool tls_at_once, loopback, opened;
	bool closing, gone, eof, paused;
	bool want_input, want_drained, was_full, want_fill, want_tls;
	bool dispatching;              /* inside an event of its own: conn_settle() will follow */
	bool soon_queued, woken;
	bool rd_on, wr_on, ssl_failed;
	bool read_wants_write, write_wants_read; /* TLS */
	bool blocked;                  /* the peer has not taken all output */

	struct shelf_buf in, out;
	size_t in_at, out_at;
	size_t in_max, in_most;        /* now; by the params */

	void (*work_fn)(void *arg);
	void (*work_done)(void *session, void *arg);
	void *work_arg;
	_Atomic unsigned work_left;    /* workers that have not finished */
	bool working, waiting;

	struct event rd_event, wr_event, timer_event;
	int64_t timer_at;              /* when timer_event fires, 0: not pending */
	int64_t heard_at;              /* last sign of life */
	int64_t deadline_at, wait_at, alarm_at;
	int64_t cut_at;                /* end of proxy's header, handshake, flush or linger */
	unsigned timeout_s, handshake_s;
	size_t lingered;

	unsigned long long id;
	int64_t since_s;
	uint32_t owner;
	char *peer;
	char *tls_text;
	char *reason;
};

/* net_loop.c */
void net_loop_soon(struct net_conn *conn);
bool net_loop_woken(struct net_conn *conn);
void net_loop_forget(struct net_conn *conn); /* takes CONN off the soon and woken lists */

/* Posts when the loop runs on another thread than the caller's; false: nothing was done. */
bool net_loop_post_if_elsewhere(struct net_loop *loop, void (*fn)(void *), void *arg);

/* net_conn.c */
struct net_conn *net_conn_new(struct net_loop *loop, int fd, const char *peer,
    const struct net_conn_params *params, struct net_listener *listener,
    struct net_peer peer_ip);
void net_conn_start(void *conn);          /* posted */
void net_conn_settle(struct net_conn *conn); /* CONN may be gone after it */
void net_conn_mark_closing(struct net_conn *conn, const char *reason);
bool net_conn_may_deliver(const struct net_conn *conn);
void net_conn_come_back(struct net_conn *conn);
void net_conn_begin(struct net_conn *conn); /* the handshake, or net_conn_opened() */
void net_conn_opened(struct net_conn *conn);
void net_conn_free(struct net_conn *conn);

/* net_session.c */
void net_conn_on_readable(evutil_socket_t fd, short what, void *arg);
void net_conn_on_writable(evutil_socket_t fd, short what, void *arg);
void net_conn_on_timer(evutil_socket_t fd, short what, void *arg);
void net_conn_run_soon(struct net_conn *conn);
void net_conn_run_wake(struct net_conn *conn);
void net_conn_run_stop(struct net_conn *conn);

/* net_turn.c: around everything that is done for one connection. CONN may be gone at the end. */
struct net_turn {
	struct net_loop *loop;
	const char *service;
	unsigned long long conn;
	uint64_t wall_us, cpu_us;
};
struct net_turn net_turn_begin(const struct net_conn *conn);
void net_turn_end(const struct net_turn *turn);

/* net_deflate.c */
void net_deflate_free(struct net_deflate **deflate);
bool net_deflate_has_input(const struct net_deflate *deflate); /* without reading the socket; NULL: no */
void net_deflate_feed(struct net_deflate *deflate, struct shelf_span bytes);
/* Inflates into ROOM bytes of TO; nothing added: more must be fed. False: the stream is broken. */
bool net_deflate_take(struct net_deflate *deflate, size_t room, struct shelf_buf *to);
size_t net_deflate_pending(const struct net_deflate *deflate); /* compressed, not sent; NULL: 0 */
/* After net_conn_uncompress(): when the client's stream has come to its end, what follows is plain. */
void net_deflate_settle(struct net_conn *conn);
bool net_deflate_packs(const struct net_deflate *deflate); /* output is compressed; NULL: no */
/* The next compressed bytes to be sent, made from conn->out where there are none yet. */
struct shelf_span net_deflate_output(struct net_conn *conn);
void net_deflate_sent(struct net_deflate *deflate, size_t len);

/* net_io.c: moves bytes, never calls the session */
static inline size_t
net_conn_pending(const struct net_conn *conn)
{
	return conn->out.len - conn->out_at + net_deflate_pending(conn->deflate);
}
static inline size_t
net_conn_held(const struct net_conn *conn)
{
	return conn->in.len - conn->in_at;
}
bool net_io_fill(struct net_conn *conn); /* true: new bytes are there */
void net_io_flush(struct net_conn *conn);
void net_io_begin_tls(struct net_conn *conn);
bool net_io_handshake(struct net_conn *conn); /* true: done */
void net_io_end(struct net_conn *conn);       /* close_notify, FIN */

/* net_pool.c */
void net_pool_add(struct net_pool *pool, void (*fn)(void *arg), void *arg);
void net_pool_add_long(struct net_pool *pool, void (*fn)(void *arg), void *arg);
unsigned net_pool_long_max(const struct net_pool *pool);

/* net_listener.c */
void net_listener_gone(struct net_listener *listener, const struct net_conn *conn);
/* CONN is counted as one of PEER from now on, which it is to get. Or why not: it has too many. */
const char *net_listener_move(struct net_conn *conn, const struct net_peer *peer);

/* net_proxy.c */
enum net_proxy_outcome { NET_PROXY_MORE, NET_PROXY_DONE, NET_PROXY_BAD };
struct net_proxy *net_proxy_new(void);
/* Reads what of the header is there. DONE: the connection's peer is the client's, where the proxy knows it. */
enum net_proxy_outcome net_proxy_read(struct net_conn *conn);

/* net_tls.c */
struct net_tls *net_tls_ref(struct net_tls *tls);
SSL *net_tls_session(struct net_tls *tls, int fd);
bool net_tls_can_bind(SSL *ssl);
bool net_tls_binding(SSL *ssl, const char *type, uint8_t *out, size_t *len_out); /* NULL when out of memory */

#endif
