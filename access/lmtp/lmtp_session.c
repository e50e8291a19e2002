/*
 * lmtp_session.c - one connection: greeting, lines, the end
 *
 *   NEW  -> IDLE    LHLO            IDLE -> MAIL   MAIL
 *   MAIL -> RCPT    RCPT, accepted  any  -> IDLE   RSET, LHLO, the end of the message
 *   RCPT -> CHUNKS  BDAT
 *   any  -> NEW     TLS is up: nothing said in clear counts (RFC 3207 4.2)
 *
 * What must stay true: replies come in the order of the commands, so no line is read while a
 * message is received or delivered; a session gives the loop back after SLICE_MS at the latest.
 */
#include "lmtp.h"

#include <stdlib.h>

#include <mailshelf/mem.h>

#include "conf.h"
#include "lineproto.h"
#include "net.h"

enum { SLICE_MS = 20 };

static const struct row {
	const char *name;
	lmtp_command_fn *run;
	unsigned states;
} rows[] = {
#define LMTP_COMMAND(name, fn, states, source) {name, lmtp_cmd_##fn, states},
#include "lmtp_commands.def"
#undef LMTP_COMMAND
};

struct lmtp_server *
lmtp_server_new(struct shelf_store *store, const struct conf *conf)
{
	struct lmtp_server *server = SHELF_NEW(struct lmtp_server);

	*server = (struct lmtp_server){.store = store, .conf = conf, .room = lmtp_room_new()};
	return server;
}

void
lmtp_server_free(struct lmtp_server **server)
{
	if (*server == NULL)
		return;
	lmtp_room_free(&(*server)->room);
	free(*server);
	*server = NULL;
}

const char *
lmtp_session_hostname(const struct lmtp_session *s)
{
	return s->server->conf->hostname == NULL ? "localhost" : s->server->conf->hostname;
}

void
lmtp_session_forget(struct lmtp_session *s)
{
	for (size_t i = 0; i < s->nrcpts; i++) {
		for (size_t k = 0; k < s->rcpts[i].n; k++)
			lmtp_room_give(s, &s->rcpts[i].list[k]);
		free(s->rcpts[i].list);
		free(s->rcpts[i].address);
	}
	free(s->rcpts);
	s->rcpts = NULL;
	s->nrcpts = s->rcpts_cap = s->naccounts = 0;
	shelf_draft_free(&s->draft);
	s->data_rc = 0;
	s->size = 0;
	s->smtputf8 = s->binary = false;
	if (s->state != LMTP_NEW)
		s->state = LMTP_IDLE;
}

/* ---- Lines ----------------------------------------------------------------------------------- */

const char *
lmtp_wrong_state(const struct lmtp_session *s)
{
	switch (s->state) {
	case LMTP_NEW:
		return "LHLO comes first";
	case LMTP_IDLE:
		return "MAIL comes first";
	case LMTP_MAIL:
		return "No recipient was taken";
	case LMTP_CHUNKS:
		return "The message has begun with BDAT";
	case LMTP_RCPT:
	case LMTP_ANY:
		break;
	}
	return "A transaction is open already";
}

static void
run_line(struct lmtp_session *s, struct shelf_span line)
{
	struct shelf_span name = lineproto_word(&line);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (!shelf_span_is(name, rows[i].name))
			continue;
		if ((rows[i].states & s->state) == 0)
			lmtp_reply(s, "503 5.5.1", "%s", lmtp_wrong_state(s));
		else
			rows[i].run(s, line);
		return;
	}
	lmtp_reply(s, "500 5.5.2", "Unknown command");
}

static bool
next_line(struct lmtp_session *s)
{
	struct shelf_span line;

	switch (lineproto_next(s->lines, s->conn, LMTP_LINE_MAX_BYTES, &line)) {
	case LINEPROTO_MORE:
		return false;
	case LINEPROTO_LINE:
		run_line(s, line);
		break;
	case LINEPROTO_TOO_LONG:
		lmtp_reply(s, "500 5.5.2", "Line too long");
		break;
	case LINEPROTO_BAD:
		lmtp_reply(s, "500 5.5.2", "Control character in the line");
		break;
	}
	return true;
}

void
lmtp_session_go(struct lmtp_session *s)
{
	int64_t until_ms = shelf_mono_ms() + SLICE_MS;
	bool more = true;

	if (s->running)
		return;
	s->running = true;
	while (more && !net_conn_closing(s->conn) && !net_conn_full(s->conn)) {
		if (shelf_mono_ms() >= until_ms) {
			net_conn_wake(s->conn);
			break;
		}
		if (s->wait == LMTP_WAIT_COMMAND)
			more = next_line(s);
		else if (s->wait == LMTP_WAIT_DATA)
			more = lmtp_deliver_input(s);
		else if (s->wait == LMTP_WAIT_CHUNK)
			more = lmtp_chunk_input(s);
		else
			more = false;
	}
	s->running = false;
}

/* ---- What net calls -------------------------------------------------------------------------- */

static void *
open_session(struct net_conn *conn, void *server)
{
	struct lmtp_session *s = SHELF_NEW(struct lmtp_session);

	s->server = server;
	s->conn = conn;
	s->state = LMTP_NEW;
	s->lines = SHELF_NEW(struct lineproto);
	net_conn_timeout(conn, (unsigned)s->server->conf->lmtp_idle_timeout_s);
	net_conn_printf(conn, "220 %s LMTP mailshelf\r\n", lmtp_session_hostname(s));
	return s;
}

static void
on_bytes(void *session)
{
	lmtp_session_go(session);
}

static void
on_tls(void *session)
{
	struct lmtp_session *s = session;

	lineproto_reset(s->lines);
	s->state = LMTP_NEW;
	lmtp_session_forget(s);
	s->wait = LMTP_WAIT_COMMAND;
	lmtp_session_go(s);
}

static void
on_timeout(void *session)
{
	struct lmtp_session *s = session;

	if (s->wait == LMTP_WAIT_DATA && lmtp_data_may_end(&s->data)) {
		s->close_after = true;
		lmtp_deliver_end(s);
		return;
	}
	lmtp_reply_closing(s, "421 4.4.2", "idle for too long");
}

static void
on_stop(void *session, const char *text)
{
	lmtp_reply_closing(session, "421 4.3.2", "server stopping");
}

static void
close_session(void *session, const char *reason)
{
	struct lmtp_session *s = session;

	lmtp_session_forget(s);
	lineproto_reset(s->lines);
	free(s->lines);
	free(s);
}

const struct net_protocol lmtp_protocol = {
    .name = "lmtp",
    .open = open_session,
    .input = on_bytes,
    .drained = on_bytes,
    .wake = on_bytes,
    .timeout = on_timeout,
    .tls_ready = on_tls,
    .stop = on_stop,
    .close = close_session,
};
