/*
 * net.h - sockets, TLS, time, workers; no mail
 *
 * Shape     A few event loops (libevent), each on its own thread. A connection lives on one loop for
 *           its whole life; everything of a session runs on that loop's thread, so sessions need no
 *           locks. Work that blocks (engine writes, password hashes) is sent to a pool of workers
 *           and its end comes back to the loop.
 * Lifetime  A connection ends through net_conn_close() only; the protocol's close() is then called
 *           exactly once, on the loop, after any running work has come back.
 */
#ifndef ACCESS_NET_H
#define ACCESS_NET_H

#include <sys/types.h>

#include <mailshelf/buf.h>
#include <mailshelf/durations.h>

struct net_loop;
struct net_pool;
struct net_conn;
struct net_listener;
struct net_tls; /* certificate and key, reference counted, replaceable while in use */

/* What a protocol does; all called on the connection's loop. */
struct net_protocol {
	const char *name; /* "imap", "pop3", "lmtp": for logs */
	/* A new connection (after the handshake when it is TLS from the start). Returns the session. */
	void *(*open)(struct net_conn *conn, void *server);
	/* Bytes have come, or input was left unconsumed and net_conn_resume() was called. */
	void (*input)(void *session);
	/* The output buffer has drained below the low mark after net_conn_full() was true. */
	void (*drained)(void *session);
	/* net_conn_wake() was called since the last time; calls are merged. */
	void (*wake)(void *session);
	/* No input for the time set with net_conn_timeout(), or net_conn_deadline() has passed. Not
	 * called while work runs: then it comes after done(). */
	void (*timeout)(void *session);
	/* net_conn_alarm() has come, also while work runs. May be NULL. */
	void (*alarm)(void *session);
	/* TLS started by net_conn_starttls() is up. */
	void (*tls_ready)(void *session);
	/* The end. Frees the session. */
	void (*close)(void *session, const char *reason);
	/* The server stops, or the operator ends this one, as TEXT says: a last line may be written here ("* BYE"), net
	 * closes the connection after it. Comes after done() of running work. May be NULL. */
	void (*stop)(void *session, const char *text);
};

/* ---- Loops and workers ------------------------------------------------------------------------ */

struct net_loop *net_loop_new(void);
/* On the caller's thread, until stopped and the last connection has ended. Blocks SIGPIPE there. */
void net_loop_run(struct net_loop *loop);
/* Any thread. Running work ends and is answered, then each session's stop() is called, output gets
 * a few seconds, and the connections are closed. */
void net_loop_stop(struct net_loop *loop);
void net_loop_free(struct net_loop **loop);
/* Runs fn(arg) on the loop's thread soon. Any thread. */
void net_loop_post(struct net_loop *loop, void (*fn)(void *), void *arg);
/* fn(arg) on the loop's thread every INTERVAL ms, until the loop ends. Before net_loop_run only. */
void net_loop_every(struct net_loop *loop, unsigned interval_ms, void (*fn)(void *), void *arg);
unsigned net_loop_conns(const struct net_loop *loop);
/* FN for each connection whose session is open; it may end it. On the loop's thread. */
void net_loop_each(struct net_loop *loop, void (*fn)(void *arg, struct net_conn *conn), void *arg);

/*
 * What the connections of a loop kept it busy with. A turn is what runs for one connection between two returns to the
 * loop: no other connection is served meanwhile.
 */
enum { NET_TURN_SLOW_US = 20000 };
struct net_turns {
	unsigned long long count;
	unsigned long long slow, slow_cpu;  /* longer than NET_TURN_SLOW_US, by the clock and by the CPU time */
	unsigned long long slowest_us, slowest_cpu_us; /* since net_loop_take_turns() */
	unsigned long long p99_us;          /* 99 of 100 took less; a power of two */
	struct shelf_durations by_clock;
};
struct net_turns net_loop_turns(const struct net_loop *loop); /* since the loop was made; any thread */
/* Since this was last called; one thread at a time. */
struct net_turns net_loop_take_turns(struct net_loop *loop);

/* Of THREADS, LONG_THREADS at most do long work (net_conn_work_shared), 0: as many as there are cores; one is
 * always kept from it, if there are two. */
struct net_pool *net_pool_new(unsigned threads, unsigned long_threads);
void net_pool_free(struct net_pool **pool);              /* waits for all work */

/* ---- Connections ------------------------------------------------------------------------------- */

struct net_conn_params {
	const struct net_protocol *protocol;
	void *server;            /* handed to open() */
	struct net_pool *pool;
	struct net_tls *tls;     /* NULL: no TLS to be had */
	bool tls_at_once;        /* imaps, pop3s */
	size_t input_max_bytes;  /* reading stops when this much is unconsumed; 0: 64 KiB */
	unsigned handshake_timeout_s; /* for a TLS handshake, and for a proxy's header; 0: 60 */
	bool from_proxy;         /* begins with a proxy's header; a listener knows by its PROXIES */
};
/* Takes over FD (a socket, also one end of a socketpair). Any thread. PEER is for logs. */
void net_conn_attach(struct net_loop *loop, int fd, const char *peer,
    const struct net_conn_params *params);

/* Input not consumed yet: contiguous, lives until the next net_ call on this connection. */
struct shelf_span net_conn_in(struct net_conn *conn);
void net_conn_consume(struct net_conn *conn, size_t len);
/* While paused input() is not called (bytes stay in the kernel once input_max_bytes are held); the
 * peer's close is still noticed when it can be. */
void net_conn_pause(struct net_conn *conn);
/* Input is wanted again; input() is called soon (from the loop, not from here) when bytes are there. */
void net_conn_resume(struct net_conn *conn);

/* Reading stops when MAX bytes are unconsumed, until the next call; 0: what the params say, which is
 * also the most. For peers that have not said who they are. */
void net_conn_input_max(struct net_conn *conn, size_t max_bytes);

/* Output is buffered without limit, but a session asks net_conn_full() (more than 64 KiB pending)
 * between pieces and then returns to the loop; drained() comes below 16 KiB. */
void net_conn_write(struct net_conn *conn, const void *data, size_t len);
void net_conn_printf(struct net_conn *conn, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool net_conn_full(const struct net_conn *conn);
/* Has the peer left for good, or was the connection broken? For who works long without reading or writing;
 * a system call. A peer that only has no more to say is there (and over TCP so is one that has closed, until
 * something was sent to it). */
bool net_conn_hung_up(const struct net_conn *conn);

/* Ends the connection once the output is sent (or at once when the peer is gone). REASON: for the
 * log line and close(). Later input is ignored. May be called in any callback; close() comes later. */
void net_conn_close(struct net_conn *conn, const char *reason);
bool net_conn_closing(const struct net_conn *conn);

/* timeout() when nothing has come in for SECONDS (and the peer has not taken output it was behind
 * with). 0: none. */
void net_conn_timeout(struct net_conn *conn, unsigned seconds);
/* timeout() once, SECONDS from now, whatever comes in: the time to log in. 0: none. */
void net_conn_deadline(struct net_conn *conn, unsigned seconds);
/* alarm() once, MS milliseconds from now, unless set anew before. 0: none. */
void net_conn_alarm(struct net_conn *conn, unsigned ms);
/* wake() soon. Any thread, as long as the session has not been closed. */
void net_conn_wake(struct net_conn *conn);

/* TLS after the output so far is sent in clear. Input already received behind the command that asked
 * for it ends the connection (threats: STARTTLS injection). */
void net_conn_starttls(struct net_conn *conn);
/* Raw deflate in both directions, behind the output so far and the input consumed so far. */
void net_conn_compress(struct net_conn *conn);
/* The end of it, behind the output so far and the input consumed so far; only when net_conn_compresses(). */
void net_conn_uncompress(struct net_conn *conn);
bool net_conn_compresses(const struct net_conn *conn);
bool net_conn_has_tls(const struct net_conn *conn);      /* could be started */
bool net_conn_is_tls(const struct net_conn *conn);       /* is running, here or between client and proxy */
bool net_conn_is_loopback(const struct net_conn *conn);  /* peer is 127/8, ::1 or a Unix socket */
const char *net_conn_peer(const struct net_conn *conn);  /* "192.0.2.1:4711", "unix" */
/* The peer's address without port, for counting: IPv6, or IPv4 mapped into it; of an IPv6 address the
 * first 64 bits, because a host has them all. Zeros for a Unix socket. */
struct net_peer {
	uint8_t ip[16];
};
/* Of an address without port, as text; zeros and false for anything else. */
void net_peer_parse(const char *text, struct net_peer *out, bool *loopback_out);
struct net_peer net_conn_peer_ip(const struct net_conn *conn);
/*
 * What is particular to this TLS channel, for a login to be bound to it: "tls-exporter" (RFC 9266) with TLS 1.3,
 * "tls-unique" (RFC 5929 3) with TLS 1.2 and its extended master secret, without which that is not safe (RFC 7677 4).
 * False: not this type, or not on this connection. CONN may be NULL: then there is none.
 */
enum { NET_BINDING_MAX_BYTES = 64 };
bool net_conn_can_bind(const struct net_conn *conn);
bool net_conn_binding(const struct net_conn *conn, const char *type, uint8_t *out, size_t *len_out);
const char *net_conn_tls_text(const struct net_conn *conn); /* "TLSv1.3/TLS_AES...", "" in clear; ".../proxy" */
unsigned long long net_conn_id(const struct net_conn *conn); /* unique in the process, for logs */
/* Whose session it is, a number of the caller's, for who asks; 0, as it is at first: nobody's. */
void net_conn_set_owner(struct net_conn *conn, uint32_t owner);
uint32_t net_conn_owner(const struct net_conn *conn);
const char *net_conn_service(const struct net_conn *conn); /* the protocol's name */
int64_t net_conn_since_s(const struct net_conn *conn);     /* when it came */
int64_t net_conn_idle_ms(const struct net_conn *conn);     /* since something was heard of the peer */
/* The end, from outside of the session: stop() with TEXT if no work runs, then net_conn_close() with it. On its loop's
 * thread. */
void net_conn_end(struct net_conn *conn, const char *text);

/*
 * net_conn_work(conn, fn, arg, done)
 *   fn(arg) on a worker, then done(session, arg) on the loop. One at a time per connection; input is
 *   paused meanwhile. If the connection ends while fn runs, close() waits for it and done is called
 *   before close (net_conn_closing() is true then), so that ARG can be freed.
 */
void net_conn_work(struct net_conn *conn, void (*fn)(void *arg), void *arg,
    void (*done)(void *session, void *arg));
/*
 * net_conn_work_shared(conn, n, fn, arg, done)
 *   As net_conn_work, for work that is long: fn(arg) runs N times, on several workers at once, and done comes
 *   behind the last of them. N is cut to NET_SHARED_MAX and to what the pool gives to long work. How many of
 *   them run at once is not said: behind other connections' long work some come late.
 */
enum { NET_SHARED_MAX = 8 };
void net_conn_work_shared(struct net_conn *conn, unsigned n, void (*fn)(void *arg), void *arg,
    void (*done)(void *session, void *arg));
/* done(session, arg) on the loop in MS milliseconds, under the same rules; may be called in done(). When
 * the connection ends first, done comes at once, with net_conn_closing() true. */
void net_conn_wait(struct net_conn *conn, unsigned ms, void *arg,
    void (*done)(void *session, void *arg));
bool net_conn_working(const struct net_conn *conn); /* work or a wait is running */

/* ---- Listeners ---------------------------------------------------------------------------------- */

struct net_listener_params {
	struct net_conn_params conn;
	unsigned conns_max;          /* of this listener; beyond: refused with `busy` and closed */
	unsigned conns_per_peer_max; /* of one IP address (IPv6: one /64); 0: no limit; loopback is exempt */
	const char *busy;            /* what a refused client is told, "* BYE Too many connections\r\n" */
	const struct net_networks *from; /* who may connect; outlives the listener; NULL: anybody */
	const char *denied;          /* what others are told; for ever the same text */
	/* Whose connections begin with a header that says for whom they are (PROXY protocol); as FROM. NULL: nobody's.
	 * Not counted by their address, but by the client's. */
	const struct net_networks *proxies;
	int unix_mode;               /* of the file of a Unix socket; 0: 0660 */
	gid_t unix_group;            /* its group; 0: as the system has it */
};
/* "127.0.0.0/8 ::1 192.0.2.7", separated by blanks or commas; none at all: nobody. NULL and a text in ERROR. */
struct net_networks *net_networks_new(const char *text, char *error, size_t error_len);
void net_networks_free(struct net_networks **nets);
/* ADDR: "127.0.0.1:143", "[::1]:143", "*:143", "unix:/path". Connections are dealt to the loops in turn.
 * Port 0 takes a free one. Before the first loop runs, or on the first loop. On failure returns NULL,
 * says why in ERROR and sets errno (EINVAL: the address makes no sense; EADDRINUSE, EACCES, ...). */
struct net_listener *net_listener_new(struct net_loop **loops, unsigned nloops, const char *addr,
    const struct net_listener_params *params, char *error, size_t error_len);
int net_listener_port(const struct net_listener *listener);
struct net_listener_counts {
	unsigned open;                        /* connections now */
	unsigned long long accepted, refused; /* since it was made; refused: there were too many */
};
struct net_listener_counts net_listener_counts(struct net_listener *listener); /* any thread */
/* Certificate (the listener takes its own reference), server and limits for connections from now on; protocol
 * and `busy` stay as they are, and the file of a Unix socket. Any thread. */
void net_listener_set(struct net_listener *listener, const struct net_listener_params *params);
/* No connection is accepted after this has returned; those that are open go on. Any thread. */
void net_listener_free(struct net_listener **listener);

/* ---- TLS ------------------------------------------------------------------------------------------ */

/* TLS 1.2 and up. NULL and a text in ERROR when the files do not do. */
struct net_tls *net_tls_new(const char *cert_file, const char *key_file, char *error,
    size_t error_len);
void net_tls_unref(struct net_tls **tls);

#endif
