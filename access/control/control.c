/*
 * control.c - the operator's door: lines in, JSON out
 *
 * A worker posts a look to each loop and waits for all of them. A loop that stops meanwhile does not answer: the wait
 * ends after a while, and the look, which is counted, is freed by whoever comes last.
 */
#include "control.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <mailshelf/account.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "lineproto.h"
#include "net.h"

enum { LINE_MAX_BYTES = 1024, IDLE_S = 60, WAIT_S = 5, CONNS_MAX = 16 };

struct control_server {
	struct shelf_store *store;
	struct net_loop **loops;
	unsigned nloops;
	struct net_listener *listener;
};

struct control_session {
	struct control_server *server;
	struct net_conn *conn;
	struct lineproto *lines;
	bool waiting;
};

/* ---- Looking at all loops ------------------------------------------------------------------------ */

struct seen {
	struct seen *next;
	unsigned long long id;
	const char *service;
	uint32_t account;
	int64_t since_s, idle_ms;
	char *peer, *tls;
};

struct look {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned users, left; /* that may touch it; loops that have not answered */
	/* Who is to go: an account, a connection, or (0, 0) nobody. */
	uint32_t kick_account;
	unsigned long long kick_id;
	bool dead; /* nobody waits any more */
	struct seen *seen;
	unsigned kicked;
};

struct part {
	struct look *look;
	struct net_loop *loop;
};

/* With the lock held. */
static void
leave(struct look *l)
{
	bool last = --l->users == 0;

	pthread_mutex_unlock(&l->lock);
	if (!last)
		return;
	while (l->seen != NULL) {
		struct seen *s = l->seen;

		l->seen = s->next;
		free(s->peer);
		free(s->tls);
		free(s);
	}
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void
look_at(void *arg, struct net_conn *conn)
{
	struct look *l = arg;
	uint32_t owner = net_conn_owner(conn);
	struct seen *s;

	if (owner == 0 || net_conn_closing(conn))
		return;
	if (l->kick_account != 0 || l->kick_id != 0) {
		if (l->kick_id != 0 ? net_conn_id(conn) != l->kick_id : owner != l->kick_account)
			return;
		l->kicked++;
		net_conn_end(conn, "Ended by the operator");
		return;
	}
	s = SHELF_NEW(struct seen);
	*s = (struct seen){.next = l->seen, .id = net_conn_id(conn), .service = net_conn_service(conn),
	    .account = owner, .since_s = net_conn_since_s(conn), .idle_ms = net_conn_idle_ms(conn),
	    .peer = shelf_strdup(net_conn_peer(conn)),
	    .tls = shelf_strdup(net_conn_is_tls(conn) ? net_conn_tls_text(conn) : "")};
	l->seen = s;
}

/* On a loop. */
static void
look_here(void *arg)
{
	struct part *p = arg;
	struct look *l = p->look;

	pthread_mutex_lock(&l->lock);
	if (!l->dead)
		net_loop_each(p->loop, look_at, l);
	l->left--;
	pthread_cond_signal(&l->changed);
	leave(l);
	free(p);
}

/* On a worker. What was seen is the caller's from then on: a loop that comes late adds nothing. */
static void
look_everywhere(const struct control_server *server, struct look *l)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&l->lock);
	l->users = server->nloops + 1;
	l->left = server->nloops;
	for (unsigned i = 0; i < server->nloops; i++) {
		struct part *p = SHELF_NEW(struct part);

		*p = (struct part){l, server->loops[i]};
		net_loop_post(server->loops[i], look_here, p);
	}
	while (l->left > 0 && pthread_cond_timedwait(&l->changed, &l->lock, &until) == 0)
		;
	l->dead = true;
	pthread_mutex_unlock(&l->lock);
}

/* ---- Requests -------------------------------------------------------------------------------------- */

struct request {
	struct control_server *server;
	struct shelf_buf line, answer;
};

static void
add_text(struct shelf_buf *b, const char *name, const char *text)
{
	shelf_buf_printf(b, ",\"%s\":", name);
	shelf_buf_add_json(b, shelf_span_str(text));
}

static void
tell(struct request *r, const struct seen *s)
{
	struct shelf_account a;
	struct shelf_buf *b = &r->answer;

	if (shelf_account_get(r->server->store, s->account, &a) != 0)
		return; /* it is being deleted */
	shelf_buf_printf(b, "{\"id\":%llu", s->id);
	add_text(b, "service", s->service);
	add_text(b, "account", a.name);
	add_text(b, "peer", s->peer);
	add_text(b, "tls", s->tls);
	shelf_buf_printf(b, ",\"since_s\":%lld,\"idle_s\":%lld}\n", (long long)s->since_s,
	    (long long)(s->idle_ms / 1000));
}

static void
look(struct request *r, uint32_t account, unsigned long long id)
{
	struct look *l = SHELF_NEW(struct look);
	bool kicks = account != 0 || id != 0;

	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	l->kick_account = account;
	l->kick_id = id;
	look_everywhere(r->server, l);
	for (const struct seen *s = l->seen; s != NULL; s = s->next)
		tell(r, s);
	if (kicks)
		shelf_buf_printf(&r->answer, "{\"kicked\":%u}\n", l->kicked);
	pthread_mutex_lock(&l->lock);
	if (l->left > 0)
		shelf_buf_add_str(&r->answer, "{\"error\":\"not all threads have answered\"}\n");
	leave(l);
}

static bool
begins(struct shelf_span line, const char *word, struct shelf_span *rest)
{
	size_t len = strlen(word);

	if (line.len <= len || memcmp(line.data, word, len) != 0)
		return false;
	*rest = shelf_span(line.data + len, line.len - len);
	return true;
}

/* On a worker. */
static void
run(void *arg)
{
	struct request *r = arg;
	struct shelf_span line = shelf_buf_span(&r->line), rest;
	struct shelf_account a;
	uint64_t id;
	int rc;

	if (shelf_span_eq(line, shelf_span_str("who"))) {
		look(r, 0, 0);
	} else if (begins(line, "kick id ", &rest) && shelf_span_u64(rest, UINT64_MAX, &id) && id != 0) {
		look(r, 0, id);
	} else if (begins(line, "kick account ", &rest)) {
		if ((rc = shelf_account_find(r->server->store, rest, &a)) == 0)
			look(r, a.id, 0);
		else
			shelf_buf_printf(&r->answer, "{\"error\":\"%s\"}\n", shelf_err_text(rc));
	} else {
		shelf_buf_add_str(&r->answer, "{\"error\":\"not a request\"}\n");
	}
	shelf_buf_add_str(&r->answer, ".\n");
}

static void on_bytes(void *session);

static void
answered(void *session, void *arg)
{
	struct control_session *s = session;
	struct request *r = arg;

	s->waiting = false;
	if (!net_conn_closing(s->conn))
		net_conn_write(s->conn, r->answer.data, r->answer.len);
	shelf_buf_free(&r->line);
	shelf_buf_free(&r->answer);
	free(r);
	on_bytes(s);
}

/* ---- What net calls ---------------------------------------------------------------------------------- */

static void
on_bytes(void *session)
{
	struct control_session *s = session;
	struct shelf_span line;
	struct request *r;

	if (s->waiting || net_conn_closing(s->conn))
		return;
	switch (lineproto_next(s->lines, s->conn, LINE_MAX_BYTES, &line)) {
	case LINEPROTO_MORE:
		return;
	case LINEPROTO_LINE:
		break;
	default:
		net_conn_close(s->conn, "a line that is none");
		return;
	}
	r = SHELF_NEW(struct request);
	r->server = s->server;
	shelf_buf_add_span(&r->line, line);
	s->waiting = true;
	net_conn_work(s->conn, run, r, answered);
}

static void *
open_session(struct net_conn *conn, void *server)
{
	struct control_session *s = SHELF_NEW(struct control_session);

	s->server = server;
	s->conn = conn;
	s->lines = SHELF_NEW(struct lineproto);
	net_conn_timeout(conn, IDLE_S);
	return s;
}

static void
on_timeout(void *session)
{
	net_conn_close(((struct control_session *)session)->conn, "idle");
}

static void
close_session(void *session, const char *reason)
{
	struct control_session *s = session;

	lineproto_reset(s->lines);
	free(s->lines);
	free(s);
}

static const struct net_protocol protocol = {
    .name = "control",
    .open = open_session,
    .input = on_bytes,
    .drained = on_bytes,
    .wake = on_bytes,
    .timeout = on_timeout,
    .close = close_session,
};

struct control_server *
control_server_new(struct shelf_store *store, const char *dir, struct net_loop **loops, unsigned nloops,
    struct net_pool *pool, char *error, size_t error_len)
{
	struct control_server *server = SHELF_NEW(struct control_server);
	struct net_listener_params params = {.conn = {.protocol = &protocol, .server = server, .pool = pool,
	    .input_max_bytes = 2 * LINE_MAX_BYTES}, .conns_max = CONNS_MAX, .busy = "", .unix_mode = 0600};
	char path[4200];

	*server = (struct control_server){.store = store, .loops = loops, .nloops = nloops};
	snprintf(path, sizeof(path), "%s/run", dir);
	if (mkdir(path, 0700) != 0 && errno != EEXIST) {
		snprintf(error, error_len, "%s: %s", path, strerror(errno));
		control_server_free(&server);
		return NULL;
	}
	snprintf(path, sizeof(path), "unix:%s/run/%d.sock", dir, (int)getpid());
	server->listener = net_listener_new(loops, nloops, path, &params, error, error_len);
	if (server->listener == NULL)
		control_server_free(&server);
	return server;
}

void
control_server_close(struct control_server *server)
{
	if (server != NULL && server->listener != NULL)
		net_listener_free(&server->listener);
}

void
control_server_free(struct control_server **server)
{
	free(*server);
	*server = NULL;
}
