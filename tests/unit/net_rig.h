/*
 * net_rig.h - a small line protocol over net, and clients for it
 *
 *   echo TEXT   TEXT comes back          big N     N bytes "0123456789..." in pieces, while not full
 *   work MS     a worker sleeps, "worked"   wait MS   net_conn_wait, "waited"
 *   share MS    as many workers as get it sleep, "worked"
 *   tls         "go", then STARTTLS      quit      "bye", close
 *   pause MS    no input for MS, "resumed"  idle S    net_conn_timeout
 *   alarm MS    net_conn_alarm, "alarm"
 *   limit S     net_conn_deadline        tlsinfo   what net_conn_tls_text says
 *   spin MS     keeps the loop busy, "spun"
 *   toil        works on, a turn at a time, until the peer has hung up, then closes
 *   flood       1 MiB in one write, whatever is full
 *   narrow N    net_conn_input_max, "narrowed"  held      "few" with at most 4096 bytes unread, else "many"
 *
 * Lifetime  rig_start .. rig_stop. Loops run on threads of their own.
 */
#ifndef TESTS_NET_RIG_H
#define TESTS_NET_RIG_H

#include <pthread.h>
#include <stdatomic.h>

#include <openssl/ssl.h>

#include "net.h"

enum { RIG_LOOPS_MAX = 4 };

struct rig {
	struct net_loop *loops[RIG_LOOPS_MAX];
	pthread_t threads[RIG_LOOPS_MAX];
	unsigned nloops;
	bool stopped;
	struct net_pool *pool;
	struct net_tls *tls;
	struct net_listener *listener;
	struct net_conn_params params;
	/* counted by the sessions */
	_Atomic int opened, closed, drained, woken, timeouts, done, done_closing, tls_up, errors;
	_Atomic int shared, sharing, most_sharing; /* workers that shared work: ever, now, at most */
	_Atomic size_t most_pending; /* a session never saw more bytes that it had written unsent */
	pthread_mutex_t lock;
	char reason[256];            /* of the last close */
	void *last_session;          /* of the last open, NULL when closed */
	bool hold_open;              /* stop() says nothing */
};

extern const struct net_protocol rig_protocol;

void rig_start(struct rig *rig, unsigned nloops, bool tls, bool tls_at_once);
void rig_listen(struct rig *rig, const char *addr, unsigned conns_max, unsigned per_peer_max);
void rig_stop(struct rig *rig);
/* Waits, at most ten seconds, until *COUNTER is at least WANT. */
void rig_wait(_Atomic int *counter, int want);
/* The reason of the last close, once CLOSED sessions are closed. */
const char *rig_reason(struct rig *rig, int closed);
/* net_conn_wake of the last session, from the caller's thread. */
void rig_wake(struct rig *rig);
/* Certificate and key in fresh files; the paths are static. */
void rig_certificate(const char *common_name, char *cert_file, char *key_file);

/* A blocking client; every read ends after ten seconds. */
struct client {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
};
/* Over a socketpair whose other end is attached to the first loop. */
struct client client_pair(struct rig *rig);
struct client client_connect(int port);
/* The client, after it has read "hello". */
struct client client_greeted(struct client client);
void client_send(struct client *client, const char *text);
/* One line without its end; "" at the end of input; static memory. */
const char *client_line(struct client *client);
/* Reads until the end; the number of bytes, or -1 after an error. */
long client_rest(struct client *client);
/* Reads N bytes; false when there are not so many. */
bool client_bytes(struct client *client, size_t n);
bool client_tls(struct client *client);
void client_close(struct client *client);

#endif
