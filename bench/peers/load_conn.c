/*
 * load_conn.c - a client's connection, as cheap as it can be: the server is to be what is slow
 *
 * An answer is read in large pieces and thrown away; only the last bytes are looked at, for the line that ends it. That
 * is right because nothing is sent before the answer has come, so its end is the last that the server sends.
 * TCP_NODELAY and TCP_QUICKACK are on: some servers leave Nagle on and would wait 40 ms for an ACK that is delayed.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "load.h"

enum { BUF_BYTES = 256 << 10, TAIL_BYTES = 1024, HEAD_BYTES = 4096 };

static SSL_CTX *tls_context;
static pthread_once_t tls_once = PTHREAD_ONCE_INIT;

static void
tls_start(void)
{
	tls_context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_verify(tls_context, SSL_VERIFY_NONE, NULL); /* certificates of this run, on loopback */
	SSL_CTX_set_mode(tls_context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
}

static bool
failed(struct load_conn *c, const char *what)
{
	snprintf(c->error, sizeof(c->error), "%s: %s", what,
	    errno == EAGAIN ? "timed out" : errno != 0 ? strerror(errno) : "closed by the server");
	return false;
}

static void
quick_ack(struct load_conn *c)
{
	int on = 1;

	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

void
load_timeout(struct load_conn *c, unsigned timeout_s)
{
	struct timeval t = {.tv_sec = timeout_s};

	(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

bool
load_connect(struct load_conn *c, unsigned port, bool tls, unsigned timeout_s)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1;

	*c = (struct load_conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	if (c->fd < 0)
		return failed(c, "socket");
	load_timeout(c, timeout_s);
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		return failed(c, "connect");
	if (tls) {
		pthread_once(&tls_once, tls_start);
		c->ssl = SSL_new(tls_context);
		SSL_set_fd(c->ssl, c->fd);
		errno = 0;
		if (SSL_connect(c->ssl) != 1)
			return failed(c, "TLS");
	}
	return true;
}

void
load_disconnect(struct load_conn *c)
{
	if (c->ssl != NULL)
		SSL_free(c->ssl);
	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	*c = (struct load_conn){.fd = -1};
}

bool
load_send(struct load_conn *c, const void *data, size_t len)
{
	const uint8_t *p = data;

	quick_ack(c);
	while (len > 0) {
		ssize_t n;

		errno = 0;
		n = c->ssl != NULL ? SSL_write(c->ssl, p, len > 1 << 20 ? 1 << 20 : (int)len)
				   : send(c->fd, p, len, MSG_NOSIGNAL);
		if (n <= 0)
			return failed(c, "send");
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* More bytes behind those in BUF. */
static bool
fill(struct load_conn *c)
{
	ssize_t n;

	if (c->buf == NULL && (c->buf = malloc(BUF_BYTES)) == NULL)
		load_fail("out of memory");
	if (c->len == BUF_BYTES)
		return failed(c, "a line without end");
	errno = 0;
	n = c->ssl != NULL ? SSL_read(c->ssl, c->buf + c->len, (int)(BUF_BYTES - c->len))
			   : recv(c->fd, c->buf + c->len, BUF_BYTES - c->len, 0);
	if (n <= 0)
		return failed(c, "read");
	c->len += (size_t)n;
	quick_ack(c);
	return true;
}

bool
load_pending(const struct load_conn *c)
{
	return c->len > 0 || (c->ssl != NULL && SSL_pending(c->ssl) > 0);
}

static void
take(struct load_conn *c, size_t n)
{
	memmove(c->buf, c->buf + n, c->len - n);
	c->len -= n;
}

bool
load_line(struct load_conn *c, struct shelf_span *out)
{
	static __thread char line[4096];
	uint8_t *nl;

	while (c->len == 0 || (nl = memchr(c->buf, '\n', c->len)) == NULL)
		if (!fill(c))
			return false;
	*out = shelf_span(line, (size_t)(nl - c->buf));
	if (out->len > 0 && c->buf[out->len - 1] == '\r')
		out->len--;
	if (out->len > sizeof(line))
		out->len = sizeof(line);
	memcpy(line, c->buf, out->len);
	take(c, (size_t)(nl - c->buf) + 1);
	return true;
}

/* Where the last whole line in P begins, or NULL when P does not end with a line. */
static const uint8_t *
last_line(const uint8_t *p, size_t len, bool from_start)
{
	const uint8_t *nl;

	if (len < 2 || p[len - 1] != '\n')
		return NULL;
	nl = memrchr(p, '\n', len - 1);
	return nl != NULL ? nl + 1 : from_start ? p : NULL;
}

static bool
is_end(const struct load_conn *c, enum load_end end, bool from_start, const uint8_t **line)
{
	char tag[16];
	const uint8_t *p = *line = last_line(c->buf, c->len, from_start);
	size_t len = p != NULL ? (size_t)(c->buf + c->len - p) : 0;

	if (p == NULL)
		return false;
	switch (end) {
	case LOAD_TAGGED:
		snprintf(tag, sizeof(tag), "lg%u ", c->tag);
		return len > strlen(tag) && memcmp(p, tag, strlen(tag)) == 0;
	case LOAD_DOT: /* a refusal has one line */
		return (len == 3 && memcmp(p, ".\r\n", 3) == 0) ||
		       (from_start && p == c->buf && memcmp(p, "-ERR", len < 4 ? len : 4) == 0);
	case LOAD_PLUS:
		return p[0] == '+';
	default:
		return true;
	}
}

static void
look_at(struct load_answer *a, const uint8_t *p, size_t len, bool count)
{
	if (a->head.len < HEAD_BYTES)
		shelf_buf_add(&a->head, p, len < HEAD_BYTES ? len : HEAD_BYTES);
	for (const uint8_t *q = p, *end = p + len; count && q < end; q++) {
		a->blanks += *q == ' ';
		a->untagged += *q == '*' && (q == p || q[-1] == '\n');
	}
}

static void
note_text(struct load_answer *a, const struct load_conn *c, enum load_end end, const uint8_t *line)
{
	const uint8_t *p = end == LOAD_DOT || end == LOAD_LINE ? a->head.data : line;
	size_t len = end == LOAD_DOT || end == LOAD_LINE ? a->head.len : (size_t)(c->buf + c->len - line);
	const uint8_t *nl = memchr(p, '\n', len);

	if (nl != NULL)
		len = (size_t)(nl - p);
	while (len > 0 && (p[len - 1] == '\r' || p[len - 1] == '\n'))
		len--;
	snprintf(a->text, sizeof(a->text), "%.*s", (int)(len < 250 ? len : 250), (const char *)p);
	if (end == LOAD_TAGGED)
		memmove(a->text, strchr(a->text, ' ') + 1, strlen(strchr(a->text, ' ')));
	a->good = strncmp(a->text, "OK", 2) == 0 || a->text[0] == '+' || strncmp(a->text, "* OK", 4) == 0 ||
		  a->text[0] == '2' || a->text[0] == '3';
}

bool
load_read(struct load_conn *c, enum load_end end, bool count, struct load_answer *a)
{
	size_t seen = 0; /* bytes of BUF that LOOK_AT had */
	bool from_start = true;
	const uint8_t *line;

	shelf_buf_clear(&a->head);
	*a = (struct load_answer){.head = a->head};
	for (;;) {
		if (c->len > seen) {
			a->bytes += c->len - seen;
			look_at(a, c->buf + seen, c->len - seen, count);
			seen = c->len;
			if (is_end(c, end, from_start, &line)) {
				note_text(a, c, end, line);
				c->len = 0;
				return true;
			}
			if (c->len > BUF_BYTES / 2) {
				take(c, c->len - TAIL_BYTES);
				seen = c->len;
				from_start = false;
			}
		}
		if (!fill(c)) {
			snprintf(a->text, sizeof(a->text), "%s", c->error);
			return false;
		}
	}
}

bool
load_imap(struct load_conn *c, const char *command, bool count, struct load_answer *a)
{
	struct shelf_buf out = {0};
	bool ok;

	shelf_buf_printf(&out, "lg%u %s\r\n", ++c->tag, command);
	ok = load_send(c, out.data, out.len) && load_read(c, LOAD_TAGGED, count, a);
	if (!ok)
		snprintf(a->text, sizeof(a->text), "%s", c->error);
	shelf_buf_free(&out);
	return ok;
}

void
load_answer_free(struct load_answer *a)
{
	shelf_buf_free(&a->head);
}
