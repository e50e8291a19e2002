/*
 * net_deflate.c - a connection whose bytes are compressed, by zlib's raw deflate
 *
 *   socket -> backlog -> inflate -> conn->in          conn->out -> deflate -> packed -> socket
 *
 * What must stay true
 *   - A few bytes can be inflated to gigabytes: never more is inflated than the input has room for. What is
 *     left waits compressed (backlog) or in zlib (more).
 *   - Whoever is sent everything has everything: each time the output is empty the stream is flushed.
 *   - What was written before the compression began goes out as it is: it is `packed` already.
 *
 * Windows are 32 KiB for input, which the peer chooses, and 8 KiB for output: some 90 KiB a connection.
 * Sources   RFC 4978 3, 4; RFC 1951.
 */
#include <stdlib.h>

#include <zlib.h>

#include <mailshelf/mem.h>

#include "net_inside.h"

enum {
	LEVEL = 3,
	OUT_WINDOW_BITS = 13,
	OUT_MEMORY_LEVEL = 6,
	IN_WINDOW_BITS = 15,
	PACK_BYTES = 32 * 1024, /* of output at once */
};

struct net_deflate {
	z_stream in, out;
	struct shelf_buf backlog, packed;
	size_t backlog_at, packed_at;
	bool more; /* zlib holds input that is inflated already */
};

static struct net_deflate *
deflate_new(void)
{
	struct net_deflate *d = SHELF_NEW(struct net_deflate);
	int rc = inflateInit2(&d->in, -IN_WINDOW_BITS);

	/* Like every small allocation: there is no going on without it. */
	SHELF_ASSERT(rc == Z_OK);
	rc = deflateInit2(&d->out, LEVEL, Z_DEFLATED, -OUT_WINDOW_BITS, OUT_MEMORY_LEVEL,
	    Z_DEFAULT_STRATEGY);
	SHELF_ASSERT(rc == Z_OK);
	return d;
}

void
net_deflate_free(struct net_deflate **deflate)
{
	struct net_deflate *d = *deflate;

	if (d == NULL)
		return;
	*deflate = NULL;
	inflateEnd(&d->in);
	deflateEnd(&d->out);
	shelf_buf_free(&d->backlog);
	shelf_buf_free(&d->packed);
	free(d);
}

void
net_conn_compress(struct net_conn *conn)
{
	SHELF_ASSERT(conn->deflate == NULL && !conn->want_tls);
	conn->deflate = deflate_new();
	shelf_buf_add(&conn->deflate->packed, conn->out.data + conn->out_at, conn->out.len - conn->out_at);
	shelf_buf_free(&conn->out);
	conn->out_at = 0;
	/* A client that did not wait for the answer has compressed what follows, or is lost. */
	shelf_buf_add(&conn->deflate->backlog, conn->in.data + conn->in_at, net_conn_held(conn));
	conn->in_at = conn->in.len;
	net_loop_soon(conn);
}

bool
net_conn_compresses(const struct net_conn *conn)
{
	return conn->deflate != NULL;
}

/* ---- Input ------------------------------------------------------------------------------------ */

bool
net_deflate_has_input(const struct net_deflate *d)
{
	return d != NULL && (d->more || d->backlog_at < d->backlog.len);
}

void
net_deflate_feed(struct net_deflate *d, struct shelf_span bytes)
{
	shelf_buf_consume(&d->backlog, d->backlog_at);
	d->backlog_at = 0;
	shelf_buf_add_span(&d->backlog, bytes);
}

bool
net_deflate_take(struct net_deflate *d, size_t room, struct shelf_buf *to)
{
	int rc;

	d->in.next_in = d->backlog.data + d->backlog_at;
	d->in.avail_in = (uInt)(d->backlog.len - d->backlog_at);
	d->in.next_out = shelf_buf_reserve(to, room);
	d->in.avail_out = (uInt)room;
	rc = inflate(&d->in, Z_SYNC_FLUSH);
	to->len += room - d->in.avail_out;
	d->backlog_at = d->backlog.len - d->in.avail_in;
	d->more = d->in.avail_out == 0;
	if (d->backlog_at == d->backlog.len) {
		shelf_buf_free(&d->backlog);
		d->backlog_at = 0;
	}
	/* The end of the stream is not foreseen by RFC 4978: nothing that follows could be read. */
	return rc == Z_OK || rc == Z_BUF_ERROR;
}

/* ---- Output ----------------------------------------------------------------------------------- */

size_t
net_deflate_pending(const struct net_deflate *d)
{
	return d == NULL ? 0 : d->packed.len - d->packed_at;
}

/* Compresses a piece of the output; flushes behind its last byte. */
static void
pack(struct net_conn *conn)
{
	struct net_deflate *d = conn->deflate;
	size_t left = conn->out.len - conn->out_at, n = left < PACK_BYTES ? left : PACK_BYTES;
	int flush = n == left ? Z_SYNC_FLUSH : Z_NO_FLUSH, rc;

	d->out.next_in = conn->out.data + conn->out_at;
	d->out.avail_in = (uInt)n;
	do {
		d->out.next_out = shelf_buf_reserve(&d->packed, PACK_BYTES);
		d->out.avail_out = PACK_BYTES;
		rc = deflate(&d->out, flush);
		SHELF_ASSERT(rc == Z_OK || rc == Z_BUF_ERROR);
		d->packed.len += PACK_BYTES - d->out.avail_out;
	} while (d->out.avail_out == 0);
	conn->out_at += n;
}

struct shelf_span
net_deflate_output(struct net_conn *conn)
{
	struct net_deflate *d = conn->deflate;

	while (d->packed_at == d->packed.len && conn->out_at < conn->out.len) {
		shelf_buf_clear(&d->packed);
		d->packed_at = 0;
		pack(conn);
	}
	return shelf_span(d->packed.data + d->packed_at, d->packed.len - d->packed_at);
}

void
net_deflate_sent(struct net_deflate *d, size_t len)
{
	d->packed_at += len;
	if (d->packed_at < d->packed.len)
		return;
	shelf_buf_free(&d->packed);
	d->packed_at = 0;
}
