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
	ENDED_MAX_BYTES = 64 * 1024, /* input behind the end of the stream */
	ENDING_BYTES = 256, /* room for what one byte must not make */
};

struct net_deflate {
	z_stream in, out;
	struct shelf_buf backlog, packed;
	size_t backlog_at, packed_at;
	bool more; /* zlib holds input that is inflated already */
	bool ended; /* the client's stream: what follows waits for net_conn_uncompress() */
	bool ending; /* that was called: only the client's stream is still to be read, up to its flush */
	uint8_t tail[4]; /* of what was inflated */
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

/* Has the client's stream come to where it was flushed, and no further? A flush ends with an empty stored block. */
static bool
is_flushed(const struct net_deflate *d)
{
	static const uint8_t mark[4] = {0, 0, 0xff, 0xff};
	enum { BETWEEN_BLOCKS = 128, BITS_LEFT = 63 }; /* zlib.h, data_type */

	return d->ended || ((d->in.data_type & BETWEEN_BLOCKS) != 0 && (d->in.data_type & BITS_LEFT) == 0 &&
	    memcmp(d->tail, mark, sizeof mark) == 0);
}

void
net_deflate_settle(struct net_conn *conn)
{
	struct net_deflate *d = conn->deflate;

	if (d == NULL || !d->ending || !is_flushed(d))
		return;
	shelf_buf_add(&conn->in, d->backlog.data + d->backlog_at, d->backlog.len - d->backlog_at);
	net_deflate_free(&conn->deflate);
	net_loop_soon(conn);
}

/* What was compressed goes first; then bytes go as they are. The client's stream may have to come to its end: the
 * last bytes of a flush may be behind the ones that made its command whole. */
void
net_conn_uncompress(struct net_conn *conn)
{
	struct net_deflate *d = conn->deflate;

	SHELF_ASSERT(d != NULL && !d->ending);
	shelf_buf_consume(&d->packed, d->packed_at);
	d->packed_at = 0;
	while (conn->out_at < conn->out.len)
		pack(conn);
	shelf_buf_clear(&conn->out);
	conn->out_at = 0;
	shelf_buf_add_span(&conn->out, shelf_buf_span(&d->packed));
	shelf_buf_free(&d->packed);
	d->ending = true;
	net_deflate_settle(conn);
	net_loop_soon(conn);
}

bool
net_conn_compresses(const struct net_conn *conn)
{
	return net_deflate_packs(conn->deflate);
}

bool
net_deflate_packs(const struct net_deflate *d)
{
	return d != NULL && !d->ending;
}

/* ---- Input ------------------------------------------------------------------------------------ */

bool
net_deflate_has_input(const struct net_deflate *d)
{
	return d != NULL && !d->ended && (d->more || d->backlog_at < d->backlog.len);
}

void
net_deflate_feed(struct net_deflate *d, struct shelf_span bytes)
{
	shelf_buf_consume(&d->backlog, d->backlog_at);
	d->backlog_at = 0;
	shelf_buf_add_span(&d->backlog, bytes);
}

/* Inflates up to LEN bytes of the backlog. */
static int
take_some(struct net_deflate *d, size_t len, size_t room, struct shelf_buf *to)
{
	size_t from = d->backlog_at;
	int rc;

	d->in.next_in = d->backlog.data + from;
	d->in.avail_in = (uInt)len;
	d->in.next_out = shelf_buf_reserve(to, room);
	d->in.avail_out = (uInt)room;
	rc = inflate(&d->in, Z_SYNC_FLUSH);
	to->len += room - d->in.avail_out;
	d->backlog_at += len - d->in.avail_in;
	for (size_t i = d->backlog_at - from < 4 ? from : d->backlog_at - 4; i < d->backlog_at; i++) {
		memmove(d->tail, d->tail + 1, 3);
		d->tail[3] = d->backlog.data[i];
	}
	/* A client may end its stream with UNAUTHENTICATE (RFC 8437 4.1); nothing else that follows could be read. */
	d->ended = rc == Z_STREAM_END;
	return rc == Z_OK || rc == Z_BUF_ERROR || d->ended ? 0 : -1;
}

/* One byte after the other, as what follows the flush is none of the stream's. Nothing comes of it. */
static bool
take_end(struct net_deflate *d, struct shelf_buf *to)
{
	size_t before = to->len;

	while (!is_flushed(d) && d->backlog_at < d->backlog.len)
		if (take_some(d, 1, ENDING_BYTES, to) != 0 || to->len != before)
			return false;
	return true;
}

bool
net_deflate_take(struct net_deflate *d, size_t room, struct shelf_buf *to)
{
	if (d->ending)
		return take_end(d, to);
	if (d->ended)
		return d->backlog.len - d->backlog_at <= ENDED_MAX_BYTES;
	if (take_some(d, d->backlog.len - d->backlog_at, room, to) != 0)
		return false;
	d->more = d->in.avail_out == 0;
	if (d->backlog_at == d->backlog.len) {
		shelf_buf_free(&d->backlog);
		d->backlog_at = 0;
	}
	return true;
}

/* ---- Output ----------------------------------------------------------------------------------- */

size_t
net_deflate_pending(const struct net_deflate *d)
{
	return d == NULL ? 0 : d->packed.len - d->packed_at;
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
