/* remote_stream.c - TCP and TLS to another server, blocking, with a time limit for each wait */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <mailshelf/mem.h>

#include "remote.h"

enum { WHY_BYTES = 256, TICK_MS = 200, THROTTLED_READ_BYTES = 4096 };

struct remote_stream {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	bool (*stop)(void);
	uint64_t bytes_per_s, taken;
	int64_t begun_ms;
};

static void
say_ssl(char *why, const char *what, SSL *ssl)
{
	/* Where it is not asked for, or was answered already, the certificate is not what is wrong. */
	bool asked = ssl != NULL && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && !SSL_is_init_finished(ssl);
	long verify = asked ? SSL_get_verify_result(ssl) : X509_V_OK;
	unsigned long e = ERR_get_error();
	char text[160] = "connection closed";

	if (e != 0)
		ERR_error_string_n(e, text, sizeof text);
	snprintf(why, WHY_BYTES, "%s: %s", what, verify != X509_V_OK ? X509_verify_cert_error_string(verify) : text);
	ERR_clear_error();
}

/* Waits until the socket is ready for EVENTS, in ticks, so that an interruption is noticed. */
static int
wait_for(struct remote_stream *s, short events, char *why)
{
	int64_t until_ms = shelf_mono_ms() + REMOTE_TIMEOUT_S * 1000;
	struct pollfd p = {.fd = s->fd, .events = events};

	for (;;) {
		int n = poll(&p, 1, TICK_MS);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR) {
			snprintf(why, WHY_BYTES, "%s", strerror(errno));
			return SHELF_EIO;
		}
		if (s->stop != NULL && s->stop())
			return SHELF_ECANCELLED;
		if (shelf_mono_ms() >= until_ms) {
			snprintf(why, WHY_BYTES, "no answer for %d seconds", REMOTE_TIMEOUT_S);
			return SHELF_EIO;
		}
	}
}

static int
connect_to(struct remote_stream *s, const struct addrinfo *a, char *why)
{
	socklen_t len = sizeof(int);
	int error = 0, rc;

	s->fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
	if (s->fd >= 0 && (connect(s->fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS)) {
		if ((rc = wait_for(s, POLLOUT, why)) != 0)
			return rc;
		if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0)
			return 0;
		errno = error;
	}
	snprintf(why, WHY_BYTES, "%s", strerror(errno));
	return SHELF_EIO;
}

int
remote_stream_open(const struct remote_params *p, struct remote_stream **out, char *why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
	struct remote_stream *s = SHELF_NEW(struct remote_stream);
	int rc = getaddrinfo(p->host, p->port, &hints, &list);

	*out = s;
	s->fd = -1;
	s->stop = p->stop;
	s->bytes_per_s = p->bytes_per_s;
	s->begun_ms = shelf_mono_ms();
	if (rc != 0) {
		snprintf(why, WHY_BYTES, "%s", gai_strerror(rc));
		return SHELF_EIO;
	}
	rc = SHELF_EIO;
	for (const struct addrinfo *a = list; a != NULL && rc == SHELF_EIO; a = a->ai_next) {
		if (s->fd >= 0)
			close(s->fd);
		rc = connect_to(s, a, why);
	}
	freeaddrinfo(list);
	return rc;
}

void
remote_stream_close(struct remote_stream **stream)
{
	struct remote_stream *s = *stream;

	if (s == NULL)
		return;
	*stream = NULL;
	SSL_free(s->ssl);
	SSL_CTX_free(s->ctx);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

/* 0: again; else what ends it. */
static int
after_ssl(struct remote_stream *s, int rc, const char *what, char *why)
{
	switch (SSL_get_error(s->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		return wait_for(s, POLLIN, why);
	case SSL_ERROR_WANT_WRITE:
		return wait_for(s, POLLOUT, why);
	default:
		say_ssl(why, what, s->ssl);
		return SHELF_EIO;
	}
}

static bool
set_up(struct remote_stream *s, const struct remote_params *p)
{
	unsigned char address[16];
	bool is_address = inet_pton(AF_INET, p->host, address) == 1 || inet_pton(AF_INET6, p->host, address) == 1;

	if ((s->ctx = SSL_CTX_new(TLS_client_method())) == NULL ||
	    SSL_CTX_set_min_proto_version(s->ctx, TLS1_2_VERSION) != 1 ||
	    (p->ca_file != NULL ? SSL_CTX_load_verify_locations(s->ctx, p->ca_file, NULL)
	                        : SSL_CTX_set_default_verify_paths(s->ctx)) != 1 ||
	    (s->ssl = SSL_new(s->ctx)) == NULL || SSL_set_fd(s->ssl, s->fd) != 1)
		return false;
	SSL_set_verify(s->ssl, p->any_certificate ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	if (is_address)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), p->host) == 1;
	return SSL_set_tlsext_host_name(s->ssl, p->host) == 1 && SSL_set1_host(s->ssl, p->host) == 1;
}

int
remote_stream_secure(struct remote_stream *s, const struct remote_params *p, char *why)
{
	int rc = 0, done;

	if (!set_up(s, p)) {
		say_ssl(why, "TLS", NULL);
		return SHELF_EIO;
	}
	ERR_clear_error();
	while (rc == 0 && (done = SSL_connect(s->ssl)) != 1)
		rc = after_ssl(s, done, "TLS", why);
	return rc;
}

/* Sleeps until what was read so far is no more than the limit allows. */
static void
keep_pace(struct remote_stream *s)
{
	int64_t due_ms = (int64_t)(s->taken * 1000 / s->bytes_per_s) + s->begun_ms;

	while (shelf_mono_ms() < due_ms && (s->stop == NULL || !s->stop()))
		nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
}

ptrdiff_t
remote_stream_read(struct remote_stream *s, void *out, size_t len, char *why)
{
	ptrdiff_t n = -1;
	int rc = 0;

	if (s->stop != NULL && s->stop())
		return SHELF_ECANCELLED;
	if (s->bytes_per_s > 0 && len > THROTTLED_READ_BYTES)
		len = THROTTLED_READ_BYTES;
	while (rc == 0) {
		if (s->ssl == NULL) {
			n = read(s->fd, out, len);
			if (n >= 0)
				break;
			rc = errno == EAGAIN || errno == EINTR ? wait_for(s, POLLIN, why) : SHELF_EIO;
			if (rc == SHELF_EIO && why[0] == '\0')
				snprintf(why, WHY_BYTES, "%s", strerror(errno));
		} else {
			ERR_clear_error();
			n = SSL_read(s->ssl, out, (int)len);
			if (n > 0)
				break;
			if (SSL_get_error(s->ssl, (int)n) == SSL_ERROR_ZERO_RETURN)
				return 0;
			rc = after_ssl(s, (int)n, "TLS", why);
		}
	}
	if (rc != 0)
		return rc;
	s->taken += (uint64_t)n;
	if (s->bytes_per_s > 0)
		keep_pace(s);
	return n;
}

int
remote_stream_write(struct remote_stream *s, const void *data, size_t len, char *why)
{
	const uint8_t *p = data;
	int rc = 0;

	while (rc == 0 && len > 0) {
		ptrdiff_t n;

		ERR_clear_error();
		n = s->ssl == NULL ? send(s->fd, p, len, MSG_NOSIGNAL) : SSL_write(s->ssl, p, (int)len);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (s->ssl != NULL) {
			rc = after_ssl(s, (int)n, "TLS", why);
		} else if (errno == EAGAIN || errno == EINTR) {
			rc = wait_for(s, POLLOUT, why);
		} else {
			snprintf(why, WHY_BYTES, "%s", strerror(errno));
			rc = SHELF_EIO;
		}
	}
	return rc;
}
