/*
 * dialogue_client.c - the client's end: lines, with or without TLS, whole or byte by byte
 *
 * The socket never blocks: whoever waits to write also reads, so that a server that answers much while
 * it is sent much cannot lock up with us.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/sockios.h>
#include <openssl/ssl.h>
#include <zlib.h>

#include <mailshelf/mem.h>

#include "dialogue.h"
#include "support.h"

enum { SEND_TIMEOUT_MS = 10000, BYTE_WAIT_US = 3000, READ_BYTES = 65536 };

struct dialogue_client {
	int fd;
	SSL *ssl;
	SSL_CTX *ctx;
	z_stream *inflater, *deflater; /* NULL: not compressed */
	struct shelf_buf in;
	size_t taken; /* of in, already returned as a line */
	bool bytewise, ended, gone;
	bool behind; /* bytewise: the server does not read at once, so do not wait for it */
};

struct dialogue_client *
dialogue_client_new(int fd, bool bytewise)
{
	struct dialogue_client *c = SHELF_NEW(struct dialogue_client);

	c->fd = fd;
	c->bytewise = bytewise;
	return c;
}

void
dialogue_client_free(struct dialogue_client **client)
{
	struct dialogue_client *c = *client;

	if (c == NULL)
		return;
	*client = NULL;
	dialogue_client_plain(c);
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	close(c->fd);
	shelf_buf_free(&c->in);
	free(c);
}

static bool
wait_for(struct dialogue_client *c, short events, int64_t end_ms)
{
	struct pollfd p = {.fd = c->fd, .events = events};
	int64_t left = end_ms - shelf_mono_ms();

	return left >= 0 && poll(&p, 1, (int)left) > 0;
}

static void
add_inflated(struct dialogue_client *c, uint8_t *data, size_t len)
{
	int rc;

	c->inflater->next_in = data;
	c->inflater->avail_in = (uInt)len;
	do {
		c->inflater->next_out = shelf_buf_reserve(&c->in, READ_BYTES);
		c->inflater->avail_out = READ_BYTES;
		rc = inflate(c->inflater, Z_SYNC_FLUSH);
		c->in.len += READ_BYTES - c->inflater->avail_out;
	} while (rc == Z_OK && c->inflater->avail_out == 0);
	if (rc != Z_OK && rc != Z_BUF_ERROR) {
		shelf_buf_add_str(&c->in, "(what came does not inflate)\r\n");
		c->ended = true;
	}
}

/* What came so far goes to c->in; true when something did, or the end. */
static bool
receive(struct dialogue_client *c)
{
	static uint8_t to[READ_BYTES];
	ssize_t n;
	int err;

	if (c->ended)
		return false;
	if (c->ssl == NULL) {
		n = recv(c->fd, to, sizeof to, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
	} else {
		n = SSL_read(c->ssl, to, sizeof to);
		err = n > 0 ? 0 : SSL_get_error(c->ssl, (int)n);
		if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE)
			return false;
	}
	if (n > 0 && c->inflater != NULL)
		add_inflated(c, to, (size_t)n);
	else if (n > 0)
		shelf_buf_add(&c->in, to, (size_t)n);
	else
		c->ended = true;
	return true;
}

void
dialogue_client_deflate(struct dialogue_client *c)
{
	c->inflater = SHELF_NEW(z_stream);
	c->deflater = SHELF_NEW(z_stream);
	if (inflateInit2(c->inflater, -15) != Z_OK || deflateInit2(c->deflater, 9, Z_DEFLATED, -15, 9,
	    Z_DEFAULT_STRATEGY) != Z_OK)
		support_fatal("no compression for the client");
}

void
dialogue_client_plain(struct dialogue_client *c)
{
	if (c->inflater != NULL) {
		inflateEnd(c->inflater);
		deflateEnd(c->deflater);
	}
	free(c->inflater);
	free(c->deflater);
	c->inflater = c->deflater = NULL;
}

bool
dialogue_client_tls(struct dialogue_client *c)
{
	int64_t end = shelf_mono_ms() + SEND_TIMEOUT_MS;
	int rc, err;

	c->ctx = SSL_CTX_new(TLS_client_method());
	c->ssl = c->ctx == NULL ? NULL : SSL_new(c->ctx);
	if (c->ssl == NULL || !SSL_set_fd(c->ssl, c->fd))
		support_fatal("no TLS for the client");
	while ((rc = SSL_connect(c->ssl)) != 1) {
		err = SSL_get_error(c->ssl, rc);
		if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE)
			return false;
		if (!wait_for(c, err == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, end))
			return false;
	}
	return true;
}

/* How much of DATA was taken: 0 none now, -1 the server is gone. */
static ssize_t
send_some(struct dialogue_client *c, const uint8_t *data, size_t len)
{
	ssize_t n;
	int err;

	if (c->ssl == NULL) {
		n = send(c->fd, data, len, MSG_NOSIGNAL);
		return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? 0 : -1;
	}
	n = SSL_write(c->ssl, data, (int)len);
	if (n > 0)
		return n;
	err = SSL_get_error(c->ssl, (int)n);
	return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* Until the server has read everything, so that the next byte comes by itself. While it does not read
 * (a worker is busy) the bytes queue up, as they would with any network. */
static void
let_server_read(struct dialogue_client *c)
{
	int queued = 1;

	for (int waited = 0; waited < BYTE_WAIT_US; waited += 20) {
		if (ioctl(c->fd, SIOCOUTQ, &queued) != 0 || queued == 0 || c->behind)
			break;
		usleep(20);
	}
	c->behind = queued != 0;
}

/* How many bytes go out together. Byte by byte, but within a long run of one byte no border is another case
 * than the one before it. */
static size_t
together(const struct dialogue_client *c, struct shelf_span bytes)
{
	enum { RUN = 8192, PIECE = 4093 };

	if (!c->bytewise)
		return bytes.len;
	return bytes.len > RUN && memcmp(bytes.data, bytes.data + 1, RUN) == 0 ? PIECE : 1;
}

static bool
send_plain(struct dialogue_client *c, struct shelf_span bytes)
{
	int64_t end = shelf_mono_ms() + SEND_TIMEOUT_MS;
	size_t done = 0;
	ssize_t n;

	while (done < bytes.len && !c->gone) {
		n = send_some(c, bytes.data + done, together(c, shelf_span(bytes.data + done, bytes.len - done)));
		if (n < 0)
			c->gone = true;
		if (n == 0) {
			if (!wait_for(c, POLLOUT | POLLIN, end))
				return false;
			receive(c);
		}
		if (n > 0) {
			done += (size_t)n;
			end = shelf_mono_ms() + SEND_TIMEOUT_MS;
			if (c->bytewise)
				let_server_read(c);
		}
	}
	return true;
}

bool
dialogue_client_send(struct dialogue_client *c, struct shelf_span bytes)
{
	struct shelf_buf packed = {0};
	size_t room;
	bool sent;

	if (c->deflater == NULL || bytes.len == 0)
		return send_plain(c, bytes);
	room = deflateBound(c->deflater, bytes.len) + 64;
	c->deflater->next_in = (uint8_t *)(uintptr_t)bytes.data;
	c->deflater->avail_in = (uInt)bytes.len;
	c->deflater->next_out = shelf_buf_reserve(&packed, room);
	c->deflater->avail_out = (uInt)room;
	if (deflate(c->deflater, Z_SYNC_FLUSH) != Z_OK || c->deflater->avail_in != 0)
		support_fatal("the client cannot compress");
	packed.len = room - c->deflater->avail_out;
	sent = send_plain(c, shelf_buf_span(&packed));
	shelf_buf_free(&packed);
	return sent;
}

enum dialogue_got
dialogue_client_line(struct dialogue_client *c, unsigned timeout_ms, struct shelf_span *line_out)
{
	int64_t end = shelf_mono_ms() + timeout_ms;
	size_t scanned = 0;

	shelf_buf_consume(&c->in, c->taken);
	c->taken = 0;
	for (;;) {
		for (; scanned + 1 < c->in.len; scanned++) {
			if (c->in.data[scanned] != '\r' || c->in.data[scanned + 1] != '\n')
				continue;
			*line_out = shelf_span(c->in.data, scanned);
			c->taken = scanned + 2;
			return DIALOGUE_LINE;
		}
		if (c->ended)
			return DIALOGUE_END;
		if (!receive(c) && !wait_for(c, POLLIN, end))
			return DIALOGUE_TIMEOUT;
	}
}

struct shelf_span
dialogue_client_rest(const struct dialogue_client *c)
{
	return shelf_span(c->in.data + c->taken, c->in.len - c->taken);
}

void
dialogue_client_eof(struct dialogue_client *c)
{
	if (c->ssl != NULL)
		SSL_shutdown(c->ssl);
	shutdown(c->fd, SHUT_WR);
}
