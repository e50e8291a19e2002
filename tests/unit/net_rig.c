/*
 * net_rig.c - the line protocol of net_rig.h, and its clients
 *
 * The protocol is written as a door would be: it works on lines while there are some and nothing keeps
 * it, and returns to the loop whenever the output is full.
 */
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <mailshelf/mem.h>

#include "net_rig.h"

struct session {
	struct rig *rig;
	struct net_conn *conn;
	size_t big_left, big_at;
	bool busy; /* paused, working */
	bool toils;
	struct job *job;
};

struct job {
	struct session *session;
	unsigned ms;
};

/* ---- The protocol --------------------------------------------------------------------------- */

static void input(void *arg);

static void
send_big(struct session *s)
{
	static const char digits[] = "0123456789";
	char piece[5000];

	while (s->big_left > 0 && !net_conn_full(s->conn)) {
		size_t n = s->big_left < sizeof(piece) ? s->big_left : sizeof(piece);

		for (size_t i = 0; i < n; i++)
			piece[i] = digits[(s->big_at + i) % 10];
		net_conn_write(s->conn, piece, n);
		s->big_left -= n;
		s->big_at += n;
	}
}

static void
do_work(void *arg)
{
	usleep(((struct job *)arg)->ms * 1000);
}

static void
do_share(void *arg)
{
	struct rig *rig = ((struct job *)arg)->session->rig;
	int now = ++rig->sharing, most = rig->most_sharing;

	rig->shared++;
	while (most < now && !atomic_compare_exchange_weak(&rig->most_sharing, &most, now))
		continue;
	do_work(arg);
	rig->sharing--;
}

static void
work_done(void *session, void *arg)
{
	struct session *s = session;

	ck_assert_ptr_eq(s, ((struct job *)arg)->session);
	ck_assert(!net_conn_working(s->conn));
	s->busy = false;
	free(arg);
	s->rig->done++;
	if (net_conn_closing(s->conn)) {
		s->rig->done_closing++;
		return;
	}
	net_conn_printf(s->conn, "worked\r\n");
}

static void
wait_done(void *session, void *arg)
{
	struct session *s = session;

	free(arg);
	s->busy = false;
	s->rig->done++;
	if (net_conn_closing(s->conn))
		s->rig->done_closing++;
	else
		net_conn_printf(s->conn, "waited\r\n");
}

static void
back(void *arg)
{
	struct session *s = arg;

	s->busy = false;
	net_conn_printf(s->conn, "resumed\r\n");
	net_conn_resume(s->conn);
}

static void *
sleep_and_resume(void *arg)
{
	struct job *job = arg;

	usleep(job->ms * 1000);
	/* The test keeps the connection open meanwhile. */
	net_loop_post(job->session->rig->loops[0], back, job->session);
	free(job);
	return NULL;
}

static struct job *
new_job(struct session *s, unsigned ms)
{
	struct job *job = SHELF_NEW(struct job);

	job->session = s;
	job->ms = ms;
	s->busy = true;
	return job;
}

static void
obey(struct session *s, char *line)
{
	struct net_conn *conn = s->conn;
	char *arg = strchr(line, ' ');
	unsigned n = 0;
	pthread_t thread;

	if (arg != NULL) {
		*arg++ = '\0';
		n = (unsigned)strtoul(arg, NULL, 10);
	}
	if (strcmp(line, "echo") == 0) {
		net_conn_printf(conn, "%s\r\n", arg == NULL ? "" : arg);
	} else if (strcmp(line, "big") == 0) {
		s->big_left = n;
		s->big_at = 0;
		send_big(s);
	} else if (strcmp(line, "work") == 0) {
		net_conn_work(conn, do_work, new_job(s, n), work_done);
		ck_assert(net_conn_working(conn));
	} else if (strcmp(line, "share") == 0) {
		net_conn_work_shared(conn, 100, do_share, new_job(s, n), work_done);
	} else if (strcmp(line, "wait") == 0) {
		net_conn_wait(conn, n, new_job(s, n), wait_done);
	} else if (strcmp(line, "toil") == 0) {
		net_conn_pause(conn);
		s->toils = true;
		net_conn_wake(conn);
	} else if (strcmp(line, "pause") == 0) {
		net_conn_pause(conn);
		pthread_create(&thread, NULL, sleep_and_resume, new_job(s, n));
		pthread_detach(thread);
	} else if (strcmp(line, "tls") == 0) {
		net_conn_printf(conn, net_conn_has_tls(conn) ? "go\r\n" : "no\r\n");
		if (net_conn_has_tls(conn))
			net_conn_starttls(conn);
	} else if (strcmp(line, "tlsinfo") == 0) {
		net_conn_printf(conn, "%d %s\r\n", net_conn_is_tls(conn), net_conn_tls_text(conn));
	} else if (strcmp(line, "idle") == 0) {
		net_conn_timeout(conn, n);
	} else if (strcmp(line, "limit") == 0) {
		net_conn_deadline(conn, n);
	} else if (strcmp(line, "alarm") == 0) {
		net_conn_alarm(conn, n);
	} else if (strcmp(line, "narrow") == 0) {
		net_conn_input_max(conn, n);
		net_conn_printf(conn, "narrowed\r\n");
	} else if (strcmp(line, "held") == 0) {
		net_conn_printf(conn, net_conn_in(conn).len <= 4096 ? "few\r\n" : "many\r\n");
	} else if (strcmp(line, "flood") == 0) {
		void *mib = shelf_zalloc(1 << 20);

		net_conn_write(conn, mib, 1 << 20);
		free(mib);
	} else if (strcmp(line, "quit") == 0) {
		net_conn_printf(conn, "bye\r\n");
		net_conn_close(conn, "quit");
		ck_assert(net_conn_closing(conn));
	} else {
		net_conn_printf(conn, "what\r\n");
	}
}

static void
input(void *arg)
{
	struct session *s = arg;

	while (!s->busy && s->big_left == 0 && !net_conn_closing(s->conn)) {
		struct shelf_span in = net_conn_in(s->conn);
		ptrdiff_t end = shelf_span_find(in, '\n', 0);
		char *line;

		if (end < 0)
			break;
		line = shelf_strndup(in.data, (size_t)end);
		line[strcspn(line, "\r")] = '\0';
		net_conn_consume(s->conn, (size_t)end + 1);
		obey(s, line);
		free(line);
	}
}

static void *
open_session(struct net_conn *conn, void *server)
{
	struct session *s = SHELF_NEW(struct session);

	s->rig = server;
	s->conn = conn;
	s->rig->opened++;
	pthread_mutex_lock(&s->rig->lock);
	s->rig->last_session = s;
	pthread_mutex_unlock(&s->rig->lock);
	net_conn_printf(conn, "hello\r\n");
	return s;
}

static void
drained(void *arg)
{
	struct session *s = arg;

	s->rig->drained++;
	if (net_conn_full(s->conn))
		s->rig->errors++;
	send_big(s);
	input(s);
}

static void
woken(void *arg)
{
	struct session *s = arg;

	if (s->toils) {
		if (net_conn_hung_up(s->conn))
			net_conn_close(s->conn, "hung up");
		else
			net_conn_wake(s->conn);
		return;
	}
	s->rig->woken++;
	net_conn_printf(s->conn, "woken\r\n");
}

static void
alarmed(void *arg)
{
	struct session *s = arg;

	net_conn_printf(s->conn, "alarm\r\n");
}

static void
timed_out(void *arg)
{
	struct session *s = arg;

	s->rig->timeouts++;
	net_conn_printf(s->conn, "timeout\r\n");
	net_conn_close(s->conn, "timeout");
}

static void
tls_ready(void *arg)
{
	struct session *s = arg;

	s->rig->tls_up++;
	if (!net_conn_is_tls(s->conn) || net_conn_in(s->conn).len > 0)
		s->rig->errors++;
}

static void
close_session(void *arg, const char *reason)
{
	struct session *s = arg;
	struct rig *rig = s->rig;

	if (net_conn_working(s->conn))
		rig->errors++;
	pthread_mutex_lock(&rig->lock);
	snprintf(rig->reason, sizeof(rig->reason), "%s", reason);
	if (rig->last_session == s)
		rig->last_session = NULL;
	pthread_mutex_unlock(&rig->lock);
	free(s);
	rig->closed++;
}

static void
stop_session(void *arg, const char *text)
{
	struct session *s = arg;

	net_conn_printf(s->conn, "stopping\r\n");
}

const struct net_protocol rig_protocol = {
	.name = "rig",
	.open = open_session,
	.input = input,
	.drained = drained,
	.wake = woken,
	.timeout = timed_out,
	.alarm = alarmed,
	.tls_ready = tls_ready,
	.close = close_session,
	.stop = stop_session,
};

/* ---- The server ----------------------------------------------------------------------------- */

static void *
run_loop(void *arg)
{
	net_loop_run(arg);
	return NULL;
}

void
rig_start(struct rig *rig, unsigned nloops, bool tls, bool tls_at_once)
{
	char cert[64], key[64], error[256];

	memset(rig, 0, sizeof(*rig));
	pthread_mutex_init(&rig->lock, NULL);
	if (tls) {
		rig_certificate("localhost", cert, key);
		rig->tls = net_tls_new(cert, key, error, sizeof(error));
		ck_assert_msg(rig->tls != NULL, "%s", error);
		unlink(cert);
		unlink(key);
	}
	rig->pool = net_pool_new(4, 3);
	rig->params = (struct net_conn_params){
		.protocol = &rig_protocol,
		.server = rig,
		.pool = rig->pool,
		.tls = rig->tls,
		.tls_at_once = tls_at_once,
		.handshake_timeout_s = 1,
	};
	rig->nloops = nloops;
	for (unsigned i = 0; i < nloops; i++) {
		rig->loops[i] = net_loop_new();
		ck_assert_int_eq(pthread_create(&rig->threads[i], NULL, run_loop, rig->loops[i]), 0);
	}
}

static void
do_listen(void *arg)
{
	void **args = arg;
	struct rig *rig = args[0];
	const struct net_listener_params *params = args[1];
	char error[256];

	rig->listener = net_listener_new(rig->loops, rig->nloops, args[2], params, error, sizeof(error));
	if (rig->listener == NULL)
		fprintf(stderr, "%s\n", error);
	atomic_store((_Atomic int *)args[3], 1);
}

void
rig_listen(struct rig *rig, const char *addr, unsigned conns_max, unsigned per_peer_max)
{
	char text[64];
	struct net_listener_params params = {
		.conn = rig->params,
		.conns_max = conns_max,
		.conns_per_peer_max = per_peer_max,
		.busy = "busy\r\n",
	};
	_Atomic int ready = 0;
	void *args[] = {rig, &params, text, &ready};

	snprintf(text, sizeof(text), "%s", addr);
	net_loop_post(rig->loops[0], do_listen, args);
	rig_wait(&ready, 1);
	ck_assert_ptr_nonnull(rig->listener);
}

void
rig_stop(struct rig *rig)
{
	net_listener_free(&rig->listener);
	for (unsigned i = 0; i < rig->nloops; i++)
		net_loop_stop(rig->loops[i]);
	for (unsigned i = 0; i < rig->nloops; i++)
		pthread_join(rig->threads[i], NULL);
	ck_assert_int_eq(rig->opened, rig->closed);
	ck_assert_int_eq(rig->errors, 0);
	for (unsigned i = 0; i < rig->nloops; i++)
		ck_assert_uint_eq(net_loop_conns(rig->loops[i]), 0);
	net_pool_free(&rig->pool);
	for (unsigned i = 0; i < rig->nloops; i++)
		net_loop_free(&rig->loops[i]);
	net_tls_unref(&rig->tls);
	pthread_mutex_destroy(&rig->lock);
}

void
rig_wait(_Atomic int *counter, int want)
{
	for (int i = 0; i < 10000 && atomic_load(counter) < want; i++)
		usleep(1000);
	ck_assert_int_ge(atomic_load(counter), want);
}

const char *
rig_reason(struct rig *rig, int closed)
{
	static char reason[256];

	rig_wait(&rig->closed, closed);
	pthread_mutex_lock(&rig->lock);
	memcpy(reason, rig->reason, sizeof(reason));
	pthread_mutex_unlock(&rig->lock);
	return reason;
}

void
rig_wake(struct rig *rig)
{
	/* close() takes the lock, so the session lives while we hold it. */
	pthread_mutex_lock(&rig->lock);
	if (rig->last_session != NULL)
		net_conn_wake(((struct session *)rig->last_session)->conn);
	pthread_mutex_unlock(&rig->lock);
}

/* ---- A certificate, made here ---------------------------------------------------------------- */

static FILE *
temporary(char *file)
{
	int fd;

	strcpy(file, "/tmp/mailshelf-net-XXXXXX");
	fd = mkstemp(file);
	ck_assert_int_ge(fd, 0);
	return fdopen(fd, "w");
}

void
rig_certificate(const char *common_name, char *cert_file, char *key_file)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	FILE *out;

	ck_assert(key != NULL && cert != NULL);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
	    (const unsigned char *)common_name, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
	out = temporary(cert_file);
	PEM_write_X509(out, cert);
	fclose(out);
	out = temporary(key_file);
	PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	fclose(out);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* ---- Clients ---------------------------------------------------------------------------------- */

static struct client
new_client(int fd)
{
	struct timeval ten = {10, 0};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &ten, sizeof(ten));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &ten, sizeof(ten));
	return (struct client){.fd = fd};
}

struct client
client_pair(struct rig *rig)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	net_conn_attach(rig->loops[0], fds[1], "pair", &rig->params);
	return new_client(fds[0]);
}

struct client
client_connect(int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return new_client(fd);
}

void
client_send(struct client *client, const char *text)
{
	int n = (int)strlen(text);

	if (client->ssl != NULL)
		ck_assert_int_eq(SSL_write(client->ssl, text, n), n);
	else
		ck_assert_int_eq(send(client->fd, text, (size_t)n, MSG_NOSIGNAL), n);
}

struct client
client_greeted(struct client client)
{
	ck_assert_str_eq(client_line(&client), "hello");
	return client;
}

static long
get(struct client *client, void *to, size_t len)
{
	if (client->ssl != NULL) {
		int n = SSL_read(client->ssl, to, (int)len);

		return n > 0 ? n : SSL_get_error(client->ssl, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
	}
	return recv(client->fd, to, len, 0);
}

const char *
client_line(struct client *client)
{
	static char line[1024];
	size_t n = 0;

	while (n + 1 < sizeof(line) && get(client, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	line[strcspn(line, "\r")] = '\0';
	return line;
}

long
client_rest(struct client *client)
{
	char piece[16384];
	long total = 0, n;

	while ((n = get(client, piece, sizeof(piece))) > 0)
		total += n;
	return n < 0 ? -1 : total;
}

bool
client_bytes(struct client *client, size_t n)
{
	char piece[16384];
	size_t at = 0;

	while (at < n) {
		size_t want = n - at < sizeof(piece) ? n - at : sizeof(piece);
		long got = get(client, piece, want);

		if (got <= 0)
			return false;
		for (long i = 0; i < got; i++) {
			if (piece[i] != (char)('0' + (at + (size_t)i) % 10))
				return false;
		}
		at += (size_t)got;
	}
	return true;
}

bool
client_tls(struct client *client)
{
	client->ctx = SSL_CTX_new(TLS_client_method());
	client->ssl = SSL_new(client->ctx);
	SSL_set_fd(client->ssl, client->fd);
	return SSL_connect(client->ssl) == 1;
}

void
client_close(struct client *client)
{
	if (client->ssl != NULL)
		SSL_free(client->ssl);
	SSL_CTX_free(client->ctx);
	close(client->fd);
}
