/*
 * net_session.c - the events of a connection, and what a session may call
 *
 * The rules are those of net_conn.c: an event makes callbacks and then settles; a call from a session
 * changes fields and leaves the rest to the settling.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <mailshelf/mem.h>

#include "net_inside.h"

/* ---- Events ------------------------------------------------------------------------------------- */

static void
deliver(struct net_conn *conn)
{
	conn->want_input = false;
	conn->dispatching = true;
	conn->protocol->input(conn->session);
	conn->dispatching = false;
}

static void
fill_and_deliver(struct net_conn *conn)
{
	conn->want_fill = false;
	if (conn->closing || conn->want_tls)
		return;
	if (net_io_fill(conn))
		conn->want_input = true;
	if (conn->want_input && net_conn_may_deliver(conn))
		deliver(conn);
}

/* The session is over; what still comes is thrown away until the peer closes. True: freed. */
static bool
linger(struct net_conn *conn)
{
	ssize_t n = recv(conn->fd, conn->loop->scratch, NET_SCRATCH_BYTES, MSG_DONTWAIT);

	if (n > 0)
		conn->lingered += (size_t)n;
	if (n > 0 && conn->lingered < NET_LINGER_MAX_BYTES)
		return false;
	net_conn_free(conn);
	return true;
}

static void
handshake(struct net_conn *conn)
{
	if (!net_io_handshake(conn))
		return;
	net_conn_opened(conn);
	fill_and_deliver(conn);
}

static void
meet_proxy(struct net_conn *conn)
{
	enum net_proxy_outcome outcome = net_proxy_read(conn);

	if (outcome == NET_PROXY_MORE)
		return;
	free(conn->proxy);
	conn->proxy = NULL;
	if (outcome == NET_PROXY_BAD)
		conn->gone = true;
	else
		net_conn_begin(conn);
}

static void
readable(struct net_conn *conn)
{
	switch (conn->state) {
	case NET_PROXY:
		meet_proxy(conn);
		break;
	case NET_HANDSHAKE:
		handshake(conn);
		break;
	case NET_OPEN:
		fill_and_deliver(conn);
		break;
	case NET_LINGER:
		if (linger(conn))
			return;
	}
	net_conn_settle(conn);
}

static void
writable(struct net_conn *conn)
{
	if (conn->state == NET_HANDSHAKE)
		handshake(conn);
	else if (conn->read_wants_write)
		fill_and_deliver(conn);
	net_conn_settle(conn); /* which sends */
}

/* Everything of a connection runs in here, one turn after the other. */
static void
turn(struct net_conn *conn, void (*fn)(struct net_conn *conn))
{
	struct net_turn turn = net_turn_begin(conn);

	fn(conn);
	net_turn_end(&turn);
}

void
net_conn_on_readable(evutil_socket_t fd, short what, void *arg)
{
	turn(arg, readable);
}

void
net_conn_on_writable(evutil_socket_t fd, short what, void *arg)
{
	turn(arg, writable);
}

static void
time_is_up(struct net_conn *conn, int64_t now)
{
	bool up = false;

	if (conn->deadline_at != 0 && now >= conn->deadline_at) {
		conn->deadline_at = 0;
		up = true;
	} else if (conn->timeout_s > 0 && now >= conn->heard_at + (int64_t)conn->timeout_s * 1000) {
		conn->heard_at = now;
		up = true;
	}
	if (!up)
		return;
	conn->dispatching = true;
	if (conn->protocol->timeout != NULL)
		conn->protocol->timeout(conn->session);
	else
		net_conn_mark_closing(conn, "timeout");
	conn->dispatching = false;
}

static void
ring(struct net_conn *conn)
{
	conn->alarm_at = 0;
	if (conn->state != NET_OPEN || conn->closing)
		return;
	conn->dispatching = true;
	conn->protocol->alarm(conn->session);
	conn->dispatching = false;
}

static void
timer(struct net_conn *conn)
{
	int64_t now = shelf_mono_ms();

	conn->timer_at = 0;
	if (conn->alarm_at != 0 && now >= conn->alarm_at)
		ring(conn);
	if (conn->cut_at != 0 && now >= conn->cut_at && !conn->working) {
		if (conn->state == NET_LINGER) {
			net_conn_free(conn);
			return;
		}
		net_conn_mark_closing(conn, conn->state == NET_PROXY ? "no proxy's header in time"
								     : "TLS handshake timeout");
		conn->gone = true;
	} else if (conn->waiting && now >= conn->wait_at) {
		net_conn_come_back(conn);
	} else if (conn->state == NET_OPEN && !conn->closing && !conn->working && !conn->waiting) {
		time_is_up(conn, now);
	}
	net_conn_settle(conn);
}

void
net_conn_on_timer(evutil_socket_t fd, short what, void *arg)
{
	turn(arg, timer);
}

static void
soon(struct net_conn *conn)
{
	if (conn->state == NET_OPEN && !conn->closing) {
		if (conn->want_drained) {
			conn->want_drained = false;
			/* Something else may have written in the meantime. */
			if (net_conn_pending(conn) < NET_LOW_BYTES) {
				conn->was_full = false;
				conn->want_input = true;
				conn->dispatching = true;
				if (conn->protocol->drained != NULL)
					conn->protocol->drained(conn->session);
				conn->dispatching = false;
			}
		}
		if (conn->want_fill)
			fill_and_deliver(conn);
		else if (conn->want_input && net_conn_may_deliver(conn))
			deliver(conn);
	}
	net_conn_settle(conn);
}

void
net_conn_run_soon(struct net_conn *conn)
{
	turn(conn, soon);
}

static void
woken(struct net_conn *conn)
{
	if (conn->session != NULL && !conn->closing && conn->protocol->wake != NULL) {
		conn->dispatching = true;
		conn->protocol->wake(conn->session);
		conn->dispatching = false;
	}
	net_conn_settle(conn);
}

void
net_conn_run_wake(struct net_conn *conn)
{
	turn(conn, woken);
}

void
net_conn_run_stop(struct net_conn *conn)
{
	if (conn->state == NET_LINGER)
		net_conn_free(conn);
	else
		net_conn_settle(conn);
}

/* ---- What a session calls ------------------------------------------------------------------------ */

static void
touch(struct net_conn *conn)
{
	if (!conn->dispatching && conn->state != NET_LINGER)
		net_loop_soon(conn);
}

void
net_loop_each(struct net_loop *loop, void (*fn)(void *arg, struct net_conn *conn), void *arg)
{
	struct net_conn *conn, *next;

	for (conn = TAILQ_FIRST(&loop->conns); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, link);
		if (conn->opened && conn->state == NET_OPEN)
			fn(arg, conn);
	}
}

void
net_conn_end(struct net_conn *conn, const char *text)
{
	if (conn->protocol->stop != NULL && conn->state == NET_OPEN && !conn->closing && !net_conn_working(conn))
		conn->protocol->stop(conn->session, text);
	net_conn_close(conn, text);
}

void
net_conn_set_owner(struct net_conn *conn, uint32_t owner)
{
	conn->owner = owner;
}

uint32_t
net_conn_owner(const struct net_conn *conn)
{
	return conn->owner;
}

const char *
net_conn_service(const struct net_conn *conn)
{
	return conn->protocol->name;
}

int64_t
net_conn_since_s(const struct net_conn *conn)
{
	return conn->since_s;
}

int64_t
net_conn_idle_ms(const struct net_conn *conn)
{
	return shelf_mono_ms() - conn->heard_at;
}

struct shelf_span
net_conn_in(struct net_conn *conn)
{
	/* Behind STARTTLS there is nothing to obey: a session that goes on reading lines in the same
	 * callback finds none, and net_conn_settle() ends the connection if there were any. */
	if (conn->want_tls || conn->in.len == 0)
		return shelf_span(conn->in.data, 0);
	return shelf_span(conn->in.data + conn->in_at, net_conn_held(conn));
}

void
net_conn_consume(struct net_conn *conn, size_t len)
{
	SHELF_ASSERT(len <= net_conn_held(conn));
	conn->in_at += len;
	touch(conn);
}

void
net_conn_pause(struct net_conn *conn)
{
	conn->paused = true;
}

void
net_conn_resume(struct net_conn *conn)
{
	conn->paused = false;
	conn->want_input = true;
	touch(conn);
}

void
net_conn_input_max(struct net_conn *conn, size_t max_bytes)
{
	conn->in_max = max_bytes == 0 || max_bytes > conn->in_most ? conn->in_most : max_bytes;
	touch(conn);
}

static void
written(struct net_conn *conn)
{
	if (net_conn_pending(conn) > NET_HIGH_BYTES)
		conn->was_full = true;
	touch(conn);
}

void
net_conn_write(struct net_conn *conn, const void *data, size_t len)
{
	if (conn->gone)
		return;
	shelf_buf_add(&conn->out, data, len);
	written(conn);
}

void
net_conn_printf(struct net_conn *conn, const char *fmt, ...)
{
	va_list ap;

	if (conn->gone)
		return;
	va_start(ap, fmt);
	shelf_buf_vprintf(&conn->out, fmt, ap);
	va_end(ap);
	written(conn);
}

bool
net_conn_full(const struct net_conn *conn)
{
	return net_conn_pending(conn) > NET_HIGH_BYTES;
}

bool
net_conn_hung_up(const struct net_conn *conn)
{
	struct pollfd look = {.fd = conn->fd};

	return conn->gone || (poll(&look, 1, 0) == 1 && (look.revents & (POLLHUP | POLLERR)) != 0);
}

void
net_conn_close(struct net_conn *conn, const char *reason)
{
	net_conn_mark_closing(conn, reason);
	touch(conn);
}

bool
net_conn_closing(const struct net_conn *conn)
{
	return conn->closing;
}

void
net_conn_timeout(struct net_conn *conn, unsigned seconds)
{
	conn->timeout_s = seconds;
	conn->heard_at = shelf_mono_ms();
	touch(conn);
}

void
net_conn_deadline(struct net_conn *conn, unsigned seconds)
{
	conn->deadline_at = seconds == 0 ? 0 : shelf_mono_ms() + (int64_t)seconds * 1000;
	touch(conn);
}

void
net_conn_alarm(struct net_conn *conn, unsigned ms)
{
	SHELF_ASSERT(ms == 0 || conn->protocol->alarm != NULL);
	conn->alarm_at = ms == 0 ? 0 : shelf_mono_ms() + ms;
	touch(conn);
}

void
net_conn_starttls(struct net_conn *conn)
{
	SHELF_ASSERT(net_conn_has_tls(conn));
	conn->want_tls = true;
	conn->cut_at = shelf_mono_ms() + (int64_t)conn->handshake_s * 1000;
	touch(conn);
}

bool
net_conn_has_tls(const struct net_conn *conn)
{
	return conn->tls != NULL && conn->tls_text == NULL && !conn->want_tls;
}

bool
net_conn_is_tls(const struct net_conn *conn)
{
	return conn->tls_text != NULL;
}

bool
net_conn_is_loopback(const struct net_conn *conn)
{
	return conn->loopback;
}

const char *
net_conn_peer(const struct net_conn *conn)
{
	return conn->peer;
}

struct net_peer
net_conn_peer_ip(const struct net_conn *conn)
{
	return conn->peer_ip;
}

bool
net_conn_can_bind(const struct net_conn *conn)
{
	return conn != NULL && conn->ssl != NULL && net_tls_can_bind(conn->ssl);
}

bool
net_conn_binding(const struct net_conn *conn, const char *type, uint8_t *out, size_t *len_out)
{
	return net_conn_can_bind(conn) && net_tls_binding(conn->ssl, type, out, len_out);
}

const char *
net_conn_tls_text(const struct net_conn *conn)
{
	return conn->tls_text == NULL ? "" : conn->tls_text;
}

unsigned long long
net_conn_id(const struct net_conn *conn)
{
	return conn->id;
}

/* ---- Work ------------------------------------------------------------------------------------- */

static void
back(struct net_conn *conn)
{
	net_conn_come_back(conn);
	net_conn_settle(conn);
}

static void
work_is_back(void *arg)
{
	turn(arg, back);
}

static void
run_work(void *arg)
{
	struct net_conn *conn = arg;

	conn->work_fn(conn->work_arg);
	if (atomic_fetch_sub(&conn->work_left, 1) == 1)
		net_loop_post(conn->loop, work_is_back, conn);
}

static void
begin_work(struct net_conn *conn, unsigned n, void (*fn)(void *arg), void *arg,
    void (*done)(void *session, void *arg))
{
	SHELF_ASSERT(!conn->working && !conn->waiting && conn->pool != NULL);
	conn->working = true;
	conn->work_left = n;
	conn->work_fn = fn;
	conn->work_arg = arg;
	conn->work_done = done;
}

void
net_conn_work(struct net_conn *conn, void (*fn)(void *arg), void *arg,
    void (*done)(void *session, void *arg))
{
	begin_work(conn, 1, fn, arg, done);
	net_pool_add(conn->pool, run_work, conn);
}

void
net_conn_work_shared(struct net_conn *conn, unsigned n, void (*fn)(void *arg), void *arg,
    void (*done)(void *session, void *arg))
{
	unsigned most = net_pool_long_max(conn->pool);

	if (most > NET_SHARED_MAX)
		most = NET_SHARED_MAX;
	n = n > most ? most : n == 0 ? 1 : n;
	begin_work(conn, n, fn, arg, done);
	for (; n > 0; n--)
		net_pool_add_long(conn->pool, run_work, conn);
}

void
net_conn_wait(struct net_conn *conn, unsigned ms, void *arg, void (*done)(void *session, void *arg))
{
	SHELF_ASSERT(!conn->working && !conn->waiting);
	conn->waiting = true;
	conn->wait_at = shelf_mono_ms() + ms;
	conn->work_arg = arg;
	conn->work_done = done;
	touch(conn);
}

bool
net_conn_working(const struct net_conn *conn)
{
	return conn->working || conn->waiting;
}
