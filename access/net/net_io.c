/*
 * net_io.c - moving bytes between socket and buffers, in clear or over TLS
 *
 * Nothing here calls a session. A read goes through the loop's scratch memory, so that a connection
 * without unread input holds no buffer. What must stay true: reads and writes never move more than one
 * scratch or one buffer a call, so that one connection cannot keep the loop; a peer's failure is a flag
 * (`gone`, `eof`) that net_conn_settle() turns into an end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "net_inside.h"

enum { IO_AGAIN = 0, IO_END = -1, IO_BROKEN = -2 };

static void
log_tls_error(struct net_conn *conn, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	shelf_log(SHELF_LOG_DEBUG, what, "service", "%s", conn->protocol->name, "peer", "%s", conn->peer,
	    "reason", "%s", reason == NULL ? "connection lost" : reason, NULL);
	ERR_clear_error();
}

/* Translates a failed SSL_read or SSL_write. */
static int
tls_outcome(struct net_conn *conn, int rc, bool *wants_read, bool *wants_write)
{
	switch (SSL_get_error(conn->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		*wants_read = true;
		return IO_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		*wants_write = true;
		return IO_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return IO_END;
	default:
		log_tls_error(conn, "tls error");
		conn->ssl_failed = true;
		return IO_BROKEN;
	}
}

static ptrdiff_t
read_some(struct net_conn *conn, uint8_t *to, size_t room)
{
	size_t total = 0;
	ssize_t n = 0;
	bool ignored;

	if (conn->ssl == NULL) {
		do
			n = recv(conn->fd, to, room, 0);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_BROKEN;
		return n == 0 ? IO_END : n;
	}
	conn->read_wants_write = false;
	while (total < room) {
		ERR_clear_error();
		n = SSL_read(conn->ssl, to + total, (int)(room - total));
		if (n <= 0)
			break;
		total += (size_t)n;
	}
	if (total > 0 && n > 0)
		return (ptrdiff_t)total;
	n = tls_outcome(conn, (int)n, &ignored, &conn->read_wants_write);
	if (total == 0)
		return n;
	/* The bytes first; the end shows again at the next read, a broken one does not. */
	if (n == IO_BROKEN)
		conn->gone = true;
	return (ptrdiff_t)total;
}

/* What the socket has, or what is left of it, into conn->in. */
static bool
fill_inflated(struct net_conn *conn, size_t room)
{
	size_t before = conn->in.len;
	ptrdiff_t n = IO_AGAIN;

	if (!net_deflate_has_input(conn->deflate)) {
		n = conn->eof ? IO_AGAIN : read_some(conn, conn->loop->scratch, NET_SCRATCH_BYTES);
		if (n == IO_END)
			conn->eof = true;
		if (n == IO_BROKEN)
			conn->gone = true;
		if (n <= 0)
			return false;
		conn->heard_at = shelf_mono_ms();
		net_deflate_feed(conn->deflate, shelf_span(conn->loop->scratch, (size_t)n));
	}
	if (!net_deflate_take(conn->deflate, room < NET_SCRATCH_BYTES ? room : NET_SCRATCH_BYTES,
	    &conn->in)) {
		shelf_log(SHELF_LOG_DEBUG, "compressed input is broken", "service", "%s",
		    conn->protocol->name, "peer", "%s", conn->peer, NULL);
		conn->gone = true;
	}
	net_deflate_settle(conn);
	return conn->in.len > before;
}

static void
drop_consumed(struct net_conn *conn)
{
	if (conn->in_at == 0)
		return;
	shelf_buf_consume(&conn->in, conn->in_at);
	conn->in_at = 0;
}

bool
net_io_fill(struct net_conn *conn)
{
	size_t held = net_conn_held(conn);
	size_t room = held >= conn->in_max ? 0 : conn->in_max - held;
	ptrdiff_t n;

	if (conn->deflate != NULL && room > 0 && !conn->gone) {
		drop_consumed(conn);
		return fill_inflated(conn, room);
	}
	if (room == 0 || conn->eof || conn->gone)
		return false;
	n = read_some(conn, conn->loop->scratch, room < NET_SCRATCH_BYTES ? room : NET_SCRATCH_BYTES);
	if (n == IO_AGAIN)
		return false;
	if (n == IO_END)
		conn->eof = true;
	if (n == IO_BROKEN)
		conn->gone = true;
	if (n <= 0)
		return false;
	drop_consumed(conn);
	shelf_buf_add(&conn->in, conn->loop->scratch, (size_t)n);
	conn->heard_at = shelf_mono_ms();
	return true;
}

static ptrdiff_t
write_some(struct net_conn *conn, const uint8_t *from, size_t len)
{
	ssize_t n;
	bool ignored;

	if (conn->ssl == NULL) {
		do
			n = send(conn->fd, from, len, MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_BROKEN;
		return n;
	}
	conn->write_wants_read = false;
	ERR_clear_error();
	n = SSL_write(conn->ssl, from, len > INT32_MAX ? INT32_MAX : (int)len);
	if (n > 0)
		return n;
	return tls_outcome(conn, (int)n, &conn->write_wants_read, &ignored);
}

static struct shelf_span
next_output(struct net_conn *conn)
{
	if (net_deflate_packs(conn->deflate))
		return net_deflate_output(conn);
	return shelf_span(conn->out.data + conn->out_at, conn->out.len - conn->out_at);
}

static void
sent(struct net_conn *conn, size_t len)
{
	if (net_deflate_packs(conn->deflate))
		net_deflate_sent(conn->deflate, len);
	else
		conn->out_at += len;
}

/* The memory goes back when all is sent; what was sent is cut off before it outweighs the rest. */
static void
trim_output(struct net_conn *conn)
{
	if (conn->out_at == conn->out.len) {
		shelf_buf_free(&conn->out);
		conn->out_at = 0;
	} else if (conn->out_at >= conn->out.len - conn->out_at) {
		shelf_buf_consume(&conn->out, conn->out_at);
		conn->out_at = 0;
	}
}

void
net_io_flush(struct net_conn *conn)
{
	bool was_blocked = conn->blocked;
	bool progress = false;

	if (conn->state != NET_OPEN || conn->gone)
		return;
	conn->blocked = false;
	while (net_conn_pending(conn) > 0) {
		struct shelf_span next = next_output(conn);
		ptrdiff_t n = write_some(conn, next.data, next.len);

		if (n == IO_AGAIN) {
			conn->blocked = true;
			break;
		}
		if (n < 0) {
			conn->gone = true;
			break;
		}
		sent(conn, (size_t)n);
		progress = true;
	}
	if (!progress)
		return;
	trim_output(conn);
	/* A slow reader that takes what it was behind with lives; an idle one that is sent a little
	 * every minute shows nothing. */
	if (was_blocked) {
		conn->heard_at = shelf_mono_ms();
		if (conn->closing && !conn->loop->stopping)
			conn->cut_at = conn->heard_at + NET_FLUSH_MS;
	}
}

void
net_io_begin_tls(struct net_conn *conn)
{
	conn->want_tls = false;
	conn->state = NET_HANDSHAKE;
	conn->cut_at = shelf_mono_ms() + (int64_t)conn->handshake_s * 1000;
	conn->ssl = net_tls_session(conn->tls, conn->fd);
	if (conn->ssl == NULL)
		conn->gone = true;
}

bool
net_io_handshake(struct net_conn *conn)
{
	int rc;

	conn->read_wants_write = false;
	ERR_clear_error();
	rc = SSL_accept(conn->ssl);
	if (rc == 1) {
		free(conn->tls_text); /* of a proxy */
		conn->tls_text = shelf_alloc(128);
		snprintf(conn->tls_text, 128, "%s/%s", SSL_get_version(conn->ssl),
		    SSL_get_cipher_name(conn->ssl));
		return true;
	}
	switch (SSL_get_error(conn->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		break;
	case SSL_ERROR_WANT_WRITE:
		conn->read_wants_write = true;
		break;
	default:
		log_tls_error(conn, "tls handshake failed");
		conn->ssl_failed = true;
		conn->gone = true;
	}
	return false;
}

void
net_io_end(struct net_conn *conn)
{
	if (conn->ssl != NULL && conn->state == NET_OPEN && !conn->ssl_failed && !conn->gone) {
		ERR_clear_error();
		SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	if (!conn->gone)
		shutdown(conn->fd, SHUT_WR);
}
