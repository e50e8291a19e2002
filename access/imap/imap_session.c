/*
 * imap_session.c - one connection: greeting, time limits, TLS, end
 *
 *   open --> NOT_AUTH --LOGIN, AUTHENTICATE--> AUTH <--SELECT, CLOSE--> SELECTED
 *               |  ^ STARTTLS                    |                          |
 *               +--+------------ LOGOUT, BYE, time, the peer ---------------+--> close
 *
 * What must stay true: everything a session holds is freed in session_close(), which net calls once
 * and after running work has come back; an account counts as logged in exactly until then.
 * Sources   RFC 9051 3, 5.4, 7.1.5.
 */
#include <stdlib.h>

#include "auth.h"
#include "conf.h"
#include "imap_command.h"
#include "imap_input.h"
#include "imap_notify.h"
#include "imap_sync.h"
#include "net.h"

struct imap_server *
imap_server_new(struct shelf_store *store, const struct conf *conf, struct auth *auth)
{
	struct imap_server *server = SHELF_NEW(struct imap_server);

	*server = (struct imap_server){store, conf, auth};
	return server;
}

void
imap_server_free(struct imap_server **server)
{
	free(*server);
	*server = NULL;
}

static void *
session_open(struct net_conn *conn, void *server)
{
	struct imap_session *s = SHELF_NEW(struct imap_session);
	struct shelf_arena arena = {0};

	s->server = server;
	s->store = s->server->store;
	s->conn = conn;
	s->state = IMAP_NOT_AUTH;
	s->input = imap_input_new();
	imap_input_restart(s->input, imap_line_max(s));
	s->dispatch = imap_dispatch_new();
	/* Whoever drips bytes does not get more time for it. */
	net_conn_deadline(conn, (unsigned)s->server->conf->login_timeout_s);
	net_conn_input_max(conn, AUTH_INPUT_MAX_EARLY_BYTES);
	imap_untagged(s, "OK [CAPABILITY %s] mailshelf ready", imap_caps_text(s, &arena));
	imap_out_flush(s);
	shelf_arena_free(&arena);
	return s;
}

static void
session_input(void *session)
{
	imap_dispatch_input(session);
}

static void
session_drained(void *session)
{
	imap_dispatch_drained(session);
}

static void
session_wake(void *session)
{
	imap_dispatch_wake(session);
}

static void
session_alarm(void *session)
{
	imap_progress_alarm(session);
}

static void
session_timeout(void *session)
{
	struct imap_session *s = session;

	imap_bye(s, s->state == IMAP_NOT_AUTH ? "login timeout" : "idle timeout",
	    s->state == IMAP_NOT_AUTH ? "Too slow to log in" : "Autologout, idle for too long");
}

static void
session_stop(void *session, const char *text)
{
	imap_bye(session, text, text);
}

static void
session_tls_ready(void *session)
{
	struct imap_session *s = session;

	/* Nothing said in clear counts any more (RFC 9051 6.2.1). */
	imap_input_restart(s->input, imap_line_max(s));
}

static void
session_close(void *session, const char *reason)
{
	struct imap_session *s = session;

	if (s->account != 0)
		shelf_log(SHELF_LOG_INFO, "imap logout", "account", "%s", s->account_name, "peer",
		    "%s", net_conn_peer(s->conn), "reason", "%s", reason, NULL);
	imap_dispatch_free(s);
	imap_unselect(s);
	imap_notify_free(&s->notify);
	if (s->account != 0)
		auth_logout(s->server->auth, s->account, SHELF_SERVICE_IMAP);
	imap_input_free(&s->input);
	shelf_buf_free(&s->out);
	free(s);
}

const struct net_protocol imap_protocol = {
	.name = "imap",
	.open = session_open,
	.input = session_input,
	.drained = session_drained,
	.wake = session_wake,
	.timeout = session_timeout,
	.alarm = session_alarm,
	.tls_ready = session_tls_ready,
	.close = session_close,
	.stop = session_stop,
};
