/*
 * net_conn.c - a connection's life: events in, callbacks out, one end
 *
 * Every event of a connection (socket, timer, soon, wake, work that came back) has the same form:
 * callbacks to the session, then net_conn_settle(), which sends output, decides about the end and
 * sets the events to wait for. net_ functions called by a session only change fields; outside an
 * event of the same connection they also queue it (touch), so that it is settled soon.
 *
 * What must stay true: only net_conn_settle() ends a connection, and only its own; close() is called once,
 * with no work running; no callback but done() and close() comes after net_conn_close(); no input is
 * delivered while the session has paused, works, waits, or has more output than the peer takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "net_addr.h"
#include "net_inside.h"

/* ---- Beginning and end ---------------------------------------------------------------------- */

static void
set_socket_options(struct net_conn *conn)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);
	int one = 1;

	fcntl(conn->fd, F_SETFL, fcntl(conn->fd, F_GETFL) | O_NONBLOCK);
	fcntl(conn->fd, F_SETFD, FD_CLOEXEC);
	if (getpeername(conn->fd, (struct sockaddr *)&addr, &len) != 0)
		return; /* gone already: the first read tells */
	conn->loopback = net_addr_is_loopback((struct sockaddr *)&addr);
	if (addr.ss_family != AF_UNIX) {
		setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
}

struct net_conn *
net_conn_new(struct net_loop *loop, int fd, const char *peer, const struct net_conn_params *params,
    struct net_listener *listener, struct net_peer peer_ip)
{
	static _Atomic unsigned long long last_id;
	struct net_conn *conn = SHELF_NEW(struct net_conn);

	conn->loop = loop;
	conn->fd = fd;
	conn->peer = shelf_strdup(peer);
	conn->protocol = params->protocol;
	conn->server = params->server;
	conn->pool = params->pool;
	conn->tls = net_tls_ref(params->tls);
	conn->tls_at_once = params->tls_at_once;
	conn->in_most = params->input_max_bytes == 0 ? NET_INPUT_MAX_BYTES : params->input_max_bytes;
	conn->in_max = conn->in_most;
	conn->handshake_s = params->handshake_timeout_s == 0 ? NET_HANDSHAKE_S :
	    params->handshake_timeout_s;
	conn->listener = listener;
	conn->peer_ip = peer_ip;
	conn->id = atomic_fetch_add(&last_id, 1) + 1;
	conn->state = NET_HANDSHAKE;
	if (params->from_proxy) {
		conn->state = NET_PROXY;
		conn->proxy = net_proxy_new();
	}
	return conn;
}

void
net_conn_attach(struct net_loop *loop, int fd, const char *peer,
    const struct net_conn_params *params)
{
	struct net_peer nobody = {{0}};

	SHELF_ASSERT(params->tls != NULL || !params->tls_at_once);
	net_loop_post(loop, net_conn_start, net_conn_new(loop, fd, peer, params, NULL, nobody));
}

void
net_conn_start(void *arg)
{
	struct net_conn *conn = arg;
	struct net_loop *loop = conn->loop;

	set_socket_options(conn);
	event_assign(&conn->rd_event, loop->base, conn->fd, EV_READ | EV_PERSIST,
	    net_conn_on_readable, conn);
	event_assign(&conn->wr_event, loop->base, conn->fd, EV_WRITE | EV_PERSIST,
	    net_conn_on_writable, conn);
	event_assign(&conn->timer_event, loop->base, -1, 0, net_conn_on_timer, conn);
	TAILQ_INSERT_TAIL(&loop->conns, conn, link);
	atomic_fetch_add(&loop->nconns, 1);
	conn->since_s = shelf_now_s();
	conn->heard_at = shelf_mono_ms();
	if (loop->stopping) {
		net_conn_free(conn);
		return;
	}
	if (conn->proxy != NULL)
		conn->cut_at = shelf_mono_ms() + (int64_t)conn->handshake_s * 1000;
	else
		net_conn_begin(conn);
	net_conn_settle(conn);
}

void
net_conn_begin(struct net_conn *conn)
{
	if (conn->tls_at_once)
		net_io_begin_tls(conn);
	else
		net_conn_opened(conn);
}

void
net_conn_free(struct net_conn *conn)
{
	struct net_loop *loop = conn->loop;

	event_del(&conn->rd_event);
	event_del(&conn->wr_event);
	event_del(&conn->timer_event);
	net_loop_forget(conn);
	TAILQ_REMOVE(&loop->conns, conn, link);
	atomic_fetch_sub(&loop->nconns, 1);
	if (conn->ssl != NULL)
		SSL_free(conn->ssl);
	net_deflate_free(&conn->deflate);
	free(conn->proxy);
	close(conn->fd);
	if (conn->listener != NULL)
		net_listener_gone(conn->listener, conn);
	net_tls_unref(&conn->tls);
	shelf_buf_free(&conn->in);
	shelf_buf_free(&conn->out);
	free(conn->peer);
	free(conn->tls_text);
	free(conn->reason);
	free(conn);
}

void
net_conn_opened(struct net_conn *conn)
{
	conn->state = NET_OPEN;
	conn->cut_at = 0;
	conn->heard_at = shelf_mono_ms();
	conn->dispatching = true;
	if (!conn->opened) {
		conn->opened = true;
		conn->session = conn->protocol->open(conn, conn->server);
		if (conn->session == NULL)
			net_conn_mark_closing(conn, "not opened");
	} else if (conn->protocol->tls_ready != NULL) {
		conn->protocol->tls_ready(conn->session);
	}
	conn->dispatching = false;
}

void
net_conn_mark_closing(struct net_conn *conn, const char *reason)
{
	if (conn->closing)
		return;
	conn->closing = true;
	conn->reason = shelf_strndup(reason, strnlen(reason, NET_REASON_MAX));
	conn->cut_at = shelf_mono_ms() + (conn->loop->stopping ? NET_STOP_MS : NET_FLUSH_MS);
}

/* The only caller of close(). True when CONN is freed; otherwise it lingers until the peer has read
 * our last bytes: closing a socket with unread input resets it, and the reset can overtake them. */
static bool
conn_end(struct net_conn *conn)
{
	void *session = conn->session;
	bool linger = !conn->gone && !conn->eof && !conn->loop->stopping;

	conn->session = NULL;
	if (session != NULL) {
		conn->dispatching = true;
		conn->protocol->close(session, conn->reason);
		conn->dispatching = false;
	}
	net_io_end(conn);
	if (!linger) {
		net_conn_free(conn);
		return true;
	}
	net_loop_forget(conn);
	conn->state = NET_LINGER;
	conn->cut_at = shelf_mono_ms() + NET_LINGER_MS;
	SSL_free(conn->ssl);
	conn->ssl = NULL;
	net_deflate_free(&conn->deflate);
	shelf_buf_free(&conn->in);
	shelf_buf_free(&conn->out);
	conn->in_at = conn->out_at = 0;
	return false;
}

/* ---- What to wait for ------------------------------------------------------------------------- */

static void
set_event(struct event *event, bool want, bool *on)
{
	if (want == *on)
		return;
	*on = want;
	if (want)
		event_add(event, NULL);
	else
		event_del(event);
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

static int64_t
next_time(const struct net_conn *conn)
{
	int64_t at = conn->cut_at;

	if (conn->waiting)
		at = earlier(at, conn->wait_at);
	if (conn->state == NET_OPEN && !conn->closing && !conn->working && !conn->waiting) {
		at = earlier(at, conn->deadline_at);
		if (conn->timeout_s > 0)
			at = earlier(at, conn->heard_at + (int64_t)conn->timeout_s * 1000);
	}
	/* While work runs nothing can be cut; it comes back. */
	if (conn->working)
		at = 0;
	return conn->state == NET_OPEN && !conn->closing ? earlier(at, conn->alarm_at) : at;
}

/* A timer that would fire too early is left alone: it fires, finds nothing and is set again. So a
 * busy connection does not move its timer with every packet. */
static void
set_timer(struct net_conn *conn)
{
	int64_t at = next_time(conn), left;
	struct timeval tv;

	if (at == 0 || (conn->timer_at != 0 && conn->timer_at <= at))
		return;
	left = at - shelf_mono_ms();
	if (left < 0)
		left = 0;
	tv.tv_sec = (time_t)(left / 1000);
	tv.tv_usec = (suseconds_t)(left % 1000 * 1000);
	conn->timer_at = at;
	event_add(&conn->timer_event, &tv);
}

static void
set_events(struct net_conn *conn)
{
	bool rd = false, wr = false;

	switch (conn->state) {
	case NET_PROXY:
		rd = !conn->gone;
		break;
	case NET_HANDSHAKE:
		rd = !conn->read_wants_write;
		wr = conn->read_wants_write;
		break;
	case NET_OPEN:
		rd = !conn->eof && !conn->closing && !conn->want_tls &&
		    net_conn_held(conn) < conn->in_max;
		wr = net_conn_pending(conn) > 0 && !conn->write_wants_read;
		if (conn->ssl != NULL && rd && SSL_pending(conn->ssl) > 0) {
			conn->want_fill = true; /* decrypted already: the socket would not tell */
			net_loop_soon(conn);
		}
		if (net_deflate_has_input(conn->deflate) && !conn->closing && !conn->want_fill &&
		    net_conn_held(conn) < conn->in_max) {
			conn->want_fill = true;
			net_loop_soon(conn);
		}
		rd = rd || conn->write_wants_read;
		wr = wr || conn->read_wants_write;
		if (conn->gone)
			rd = wr = false;
		break;
	case NET_LINGER:
		rd = true;
	}
	set_event(&conn->rd_event, rd, &conn->rd_on);
	set_event(&conn->wr_event, wr, &conn->wr_on);
	set_timer(conn);
}

/* ---- Settling --------------------------------------------------------------------------------- */

bool
net_conn_may_deliver(const struct net_conn *conn)
{
	return conn->state == NET_OPEN && !conn->closing && !conn->paused && !conn->working &&
	    !conn->waiting && !conn->was_full && !conn->want_tls && net_conn_held(conn) > 0;
}

/* The peer has closed its side. What it sent before is still obeyed, and answered if it can be. */
static bool
is_over(struct net_conn *conn)
{
	if (!conn->eof)
		return false;
	if (conn->want_tls)
		return true;
	return !conn->paused && !conn->working && !conn->waiting && !conn->was_full &&
	    !net_deflate_has_input(conn->deflate) && !(conn->want_input && net_conn_held(conn) > 0) &&
	    !net_loop_woken(conn);
}

/* A wait or work is a field; it is cleared before its callback, which may start the next. */
void
net_conn_come_back(struct net_conn *conn)
{
	void (*done)(void *session, void *arg) = conn->work_done;
	void *arg = conn->work_arg;

	conn->working = conn->waiting = false;
	conn->work_done = NULL;
	conn->work_arg = NULL;
	conn->heard_at = shelf_mono_ms();
	conn->want_input = true;
	conn->dispatching = true;
	done(conn->session, arg);
	conn->dispatching = false;
}

static void
say_goodbye(struct net_conn *conn)
{
	conn->dispatching = true;
	if (conn->protocol->stop != NULL && !conn->waiting)
		conn->protocol->stop(conn->session, "The server is going down");
	conn->dispatching = false;
	net_conn_mark_closing(conn, "server stopping");
}

static void
settle_open(struct net_conn *conn)
{
	if (conn->loop->stopping && !conn->working && !conn->closing)
		say_goodbye(conn);
	net_io_flush(conn);
	if (conn->gone)
		net_conn_mark_closing(conn, "connection lost");
	/* RFC 9051 6.2.1, RFC 2595 4, RFC 3207 4.2: what came in clear behind the command is not obeyed. */
	if (conn->want_tls && net_conn_held(conn) > 0)
		net_conn_mark_closing(conn, "input behind STARTTLS");
	if (!conn->closing && is_over(conn))
		net_conn_mark_closing(conn, "closed by peer");
	if (conn->closing)
		return;
	if (conn->want_tls && net_conn_pending(conn) == 0) {
		net_io_begin_tls(conn);
		return;
	}
	if (conn->was_full && !conn->want_drained && net_conn_pending(conn) < NET_LOW_BYTES)
		conn->want_drained = true;
	if (conn->want_drained || (conn->want_input && net_conn_may_deliver(conn)))
		net_loop_soon(conn);
}

/* True when CONN is freed. */
static bool
settle_end(struct net_conn *conn)
{
	if (conn->state == NET_HANDSHAKE || conn->state == NET_PROXY)
		conn->gone = true; /* no way to say anything */
	while (conn->waiting)
		net_conn_come_back(conn);
	net_io_flush(conn);
	if (conn->working || (!conn->gone && net_conn_pending(conn) > 0))
		return false;
	return conn_end(conn);
}

void
net_conn_settle(struct net_conn *conn)
{
	if (conn->state == NET_OPEN)
		settle_open(conn);
	if (conn->state == NET_HANDSHAKE && conn->gone)
		net_conn_mark_closing(conn, "TLS handshake failed");
	if (conn->state == NET_PROXY && conn->gone)
		net_conn_mark_closing(conn, "no proxy's header");
	if ((conn->state == NET_HANDSHAKE || conn->state == NET_PROXY) && conn->loop->stopping)
		net_conn_mark_closing(conn, "server stopping");
	if (conn->state != NET_LINGER && conn->closing && settle_end(conn))
		return;
	if (conn->in.cap > 0 && net_conn_held(conn) == 0) {
		shelf_buf_free(&conn->in);
		conn->in_at = 0;
	}
	set_events(conn);
}
