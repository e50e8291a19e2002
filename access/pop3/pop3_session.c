/*
 * pop3_session.c - one connection: greeting, lines, timeouts, the end
 *
 *   AUTHORIZATION -> TRANSACTION   login_done (pop3_login.c)
 *   TRANSACTION   -> UPDATE        pop3_update, from QUIT alone
 *   any           -> closed        close_session: nothing is deleted here (RFC 1939 6)
 *
 * What must stay true: replies come in the order of the commands, so no line is read while a stream
 * or work of an earlier one is not over; a session gives the loop back after SLICE_MS at the
 * latest.
 */
#include "pop3.h"

#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "auth.h"
#include "conf.h"
#include "lineproto.h"
#include "net.h"
#include "pop3_metrics.h"

enum { SLICE_MS = 20 };

static const struct row {
	const char *name;
	pop3_command_fn *run;
	unsigned states;
	size_t fewest, most;
} rows[] = {
#define POP3_COMMAND(name, fn, states, fewest, most, source)                                       \
	{name, pop3_cmd_##fn, states, fewest, most},
#include "pop3_commands.def"
#undef POP3_COMMAND
};

struct pop3_server *
pop3_server_new(struct shelf_store *store, const struct conf *conf, struct auth *auth)
{
	struct pop3_server *server = SHELF_NEW(struct pop3_server);

	*server = (struct pop3_server){.store = store, .conf = conf, .auth = auth,
	    .expire = pop3_expire_new(store),
	    .delay = conf->pop3_login_delay_s > 0 ? pop3_delay_new() : NULL};
	return server;
}

void
pop3_server_free(struct pop3_server **server)
{
	if (*server != NULL) {
		pop3_expire_free(&(*server)->expire);
		pop3_delay_free(&(*server)->delay);
	}
	free(*server);
	*server = NULL;
}

/* ---- Commands -------------------------------------------------------------------------------- */

static const struct row *
find_row(struct shelf_span name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (shelf_span_is(name, rows[i].name))
			return &rows[i];
	return NULL;
}

static bool
split_args(const struct row *row, struct shelf_span rest, struct pop3_args *args)
{
	args->text = rest;
	args->count = 0;
	if (row->most == POP3_TEXT)
		return rest.len > 0;
	for (;;) {
		struct shelf_span word = lineproto_word(&rest);

		if (word.len == 0)
			return args->count >= row->fewest;
		if (args->count == row->most)
			return false;
		args->word[args->count++] = word;
	}
}

/* Nothing is deleted: who may not log in may not remove either. */
static void
account_gone(struct pop3_session *s)
{
	pop3_err(s, "[AUTH] Your account was switched off");
	net_conn_close(s->conn, "account switched off");
}

static void
run_line(struct pop3_session *s, struct shelf_span line)
{
	struct shelf_span name = lineproto_word(&line);
	const struct row *row = find_row(name);
	struct pop3_args args;

	pop3_metrics_command(row == NULL ? SIZE_MAX : (size_t)(row - rows));
	if (row == NULL)
		pop3_err(s, "Unknown command");
	else if ((row->states & s->state) == 0)
		pop3_err(s, s->state == POP3_AUTHORIZATION ? "Log in first" : "Already logged in");
	else if (!split_args(row, line, &args))
		pop3_err(s, "Wrong number of arguments");
	else if (s->account != 0 &&
	    !auth_still(s->server->auth, s->account, SHELF_SERVICE_POP3, &s->accounts_seen))
		account_gone(s);
	else
		row->run(s, &args);
}

/* ---- Running --------------------------------------------------------------------------------- */

static size_t
line_max(const struct pop3_session *s)
{
	size_t max = s->server->conf->line_max_bytes;

	if (s->state == POP3_AUTHORIZATION && max > POP3_LINE_MAX_EARLY_BYTES)
		max = POP3_LINE_MAX_EARLY_BYTES;
	return max;
}

static void
bad_line(struct pop3_session *s, const char *text)
{
	if (s->wait == POP3_WAIT_SASL) {
		s->wait = POP3_WAIT_COMMAND;
		pop3_login_forget(s);
	}
	pop3_err(s, "%s", text);
}

/* One line, when there is one. */
static bool
next_line(struct pop3_session *s)
{
	struct shelf_span line;

	switch (lineproto_next(s->lines, s->conn, line_max(s), &line)) {
	case LINEPROTO_MORE:
		return false;
	case LINEPROTO_LINE:
		if (s->wait == POP3_WAIT_SASL)
			pop3_login_response(s, line);
		else
			run_line(s, line);
		break;
	case LINEPROTO_TOO_LONG:
		bad_line(s, "Line too long");
		break;
	case LINEPROTO_BAD:
		bad_line(s, "Control character in the line");
		break;
	}
	return true;
}

void
pop3_session_go(struct pop3_session *s)
{
	int64_t until_ms = shelf_mono_ms() + SLICE_MS;

	if (s->running)
		return;
	s->running = true;
	while (!net_conn_closing(s->conn) && !net_conn_full(s->conn)) {
		if (shelf_mono_ms() >= until_ms) {
			net_conn_wake(s->conn);
			break;
		}
		if (s->stream.kind != POP3_STREAM_NONE) {
			pop3_stream_step(s);
			continue;
		}
		if (s->wait > POP3_WAIT_SASL)
			break;
		if (!next_line(s))
			break;
	}
	s->running = false;
}

/* ---- What net calls -------------------------------------------------------------------------- */

static void *
open_session(struct net_conn *conn, void *server)
{
	struct pop3_session *s = SHELF_NEW(struct pop3_session);
	const struct conf *conf = ((struct pop3_server *)server)->conf;

	s->server = server;
	s->conn = conn;
	s->state = POP3_AUTHORIZATION;
	s->lines = SHELF_NEW(struct lineproto);
	/* No "<...>" in the greeting: that would offer APOP (RFC 1939 7). */
	pop3_ok(s, "%s POP3 server ready", conf->hostname == NULL ? "mailshelf" : conf->hostname);
	/* One deadline for everything before login, so that a trickle of bytes buys no time. */
	net_conn_deadline(conn, (unsigned)conf->login_timeout_s);
	net_conn_input_max(conn, AUTH_INPUT_MAX_EARLY_BYTES);
	return s;
}

static void
on_bytes(void *session)
{
	pop3_session_go(session);
}

static void
on_tls(void *session)
{
	struct pop3_session *s = session;

	/* Nothing said in clear counts any more, half a line included. */
	lineproto_reset(s->lines);
	pop3_login_forget(s);
	s->wait = POP3_WAIT_COMMAND;
	pop3_session_go(s);
}

/* RFC 1939 3: closed without a word, nothing deleted. */
static void
on_timeout(void *session)
{
	struct pop3_session *s = session;

	net_conn_close(s->conn, s->state == POP3_AUTHORIZATION ? "login took too long" : "idle");
}

static void
close_session(void *session, const char *reason)
{
	struct pop3_session *s = session;

	if (s->account != 0) {
		auth_logout(s->server->auth, s->account, SHELF_SERVICE_POP3);
		shelf_log(SHELF_LOG_INFO, "pop3 logout", "account", "%s", s->account_name, "peer",
		    "%s", net_conn_peer(s->conn), "retrieved", "%u", s->retrieved, "reason", "%s",
		    reason, "conn", "%llu", net_conn_id(s->conn), NULL);
	}
	pop3_stream_end(s);
	pop3_update_broken(s);
	pop3_maildrop_close(s);
	pop3_login_forget(s);
	lineproto_reset(s->lines);
	free(s->lines);
	free(s);
}

const struct net_protocol pop3_protocol = {
    .name = "pop3",
    .open = open_session,
    .input = on_bytes,
    .drained = on_bytes,
    .wake = on_bytes,
    .timeout = on_timeout,
    .tls_ready = on_tls,
    .close = close_session,
};
