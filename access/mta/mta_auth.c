/*
 * mta_auth.c - one connection of a front server that logs its users in
 *
 *   READY --AUTH--> a step --CONT--> EXCHANGE --CONT--> a step ...
 *                     +--> CHECKING (worker, wait) --> OK, FAIL: READY
 *                                        +--> CONT, the server's proof: AGREED --CONT--> OK: READY
 *
 * What must stay true: an answer names the request it belongs to; lines with secrets are wiped; while a login is
 * being checked no other line is looked at.
 */
#include "mta_auth.h"

#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "auth.h"
#include "conf.h"
#include "lineproto.h"
#include "net.h"

enum { LINE_MAX_BYTES = 16384, ID_MAX = 10, COOKIE_BYTES = 16 };
enum mta_auth_state { READY, EXCHANGE, CHECKING, AGREED };

struct mta_auth_session {
	struct mta_auth_server *server;
	struct net_conn *conn;
	struct lineproto *lines;
	enum mta_auth_state state;
	char id[ID_MAX + 1]; /* of the request at work */
	struct auth_peer peer;
	struct sasl *sasl;
	char account[SHELF_ACCOUNT_NAME_MAX + 1]; /* AGREED: who is in */
	bool running;
};

struct mta_auth_server *
mta_auth_server_new(const struct conf *conf, struct auth *auth)
{
	struct mta_auth_server *server = SHELF_NEW(struct mta_auth_server);

	*server = (struct mta_auth_server){auth, conf};
	return server;
}

void
mta_auth_server_free(struct mta_auth_server **server)
{
	free(*server);
	*server = NULL;
}

static void go(struct mta_auth_session *s);

static void
forget(struct mta_auth_session *s)
{
	sasl_free(&s->sasl);
	s->state = READY;
}

/* ---- Answers ----------------------------------------------------------------------------------- */

static void
greet(struct mta_auth_session *s)
{
	const struct sasl_for who = auth_sasl(s->server->auth, NULL);
	uint8_t cookie[COOKIE_BYTES];
	const char *name;
	unsigned at = 0;

	net_conn_printf(s->conn, "VERSION\t1\t2\n");
	while ((name = sasl_offered(&who, &at)) != NULL)
		net_conn_printf(s->conn, "MECH\t%s\t%s\n", name,
		    strncmp(name, "SCRAM", 5) == 0 ? "mutual-auth" : "plaintext");
	net_conn_printf(s->conn, "SPID\t%d\nCUID\t%llu\nCOOKIE\t", (int)getpid(), net_conn_id(s->conn));
	shelf_random(cookie, sizeof(cookie));
	for (size_t i = 0; i < sizeof(cookie); i++)
		net_conn_printf(s->conn, "%02x", cookie[i]);
	net_conn_printf(s->conn, "\nDONE\n");
}

/* MORE: further words, each behind a tab. */
static void
fail(struct mta_auth_session *s, const char *more)
{
	net_conn_printf(s->conn, "FAIL\t%s%s\n", s->id, more);
	forget(s);
}

static void
let_in(struct mta_auth_session *s)
{
	net_conn_printf(s->conn, "OK\t%s\tuser=%s\n", s->id, s->account);
	forget(s);
}

static void
challenge(struct mta_auth_session *s, struct shelf_span bytes, enum mta_auth_state state)
{
	struct shelf_buf text = {0};

	shelf_base64_encode(&text, bytes);
	net_conn_printf(s->conn, "CONT\t%s\t%s\n", s->id, shelf_buf_cstr(&text));
	shelf_buf_free(&text);
	s->state = state;
}

static void
answered(void *session, int rc, const struct shelf_account *account)
{
	struct mta_auth_session *s = session;

	if (rc == 0) {
		/* How long the user stays we are not told. */
		auth_logout(s->server->auth, account->id, SHELF_SERVICE_SUBMISSION);
		memcpy(s->account, account->name, sizeof(s->account));
		if (sasl_last(s->sasl).len > 0)
			challenge(s, sasl_last(s->sasl), AGREED);
		else
			let_in(s);
	} else if (rc == SHELF_EAUTH) {
		fail(s, "");
	} else if (rc == SHELF_EDISABLED) {
		fail(s, "\tuser_disabled\treason=submission is switched off for this account");
	} else {
		fail(s, "\ttemp\treason=login is not possible now");
	}
	go(s);
}

/* ---- Requests ---------------------------------------------------------------------------------- */

/* RESPONSE: decoded; data NULL: none yet. */
static void
step(struct mta_auth_session *s, struct shelf_span response)
{
	struct shelf_span bytes = {0};

	switch (sasl_step(s->sasl, response, &bytes)) {
	case SASL_CONTINUE:
		challenge(s, bytes, EXCHANGE);
		break;
	case SASL_READY:
		s->state = CHECKING;
		auth_login_sasl(s->server->auth, s->conn, SHELF_SERVICE_SUBMISSION, s->sasl, &s->peer, answered);
		break;
	case SASL_BAD:
		fail(s, "\treason=malformed response");
		break;
	}
}

static void
step_base64(struct mta_auth_session *s, struct shelf_span text)
{
	struct shelf_buf decoded = {0};

	/* One piece, so that it can be wiped; and an empty one is not none. */
	shelf_buf_reserve(&decoded, text.len + 1);
	if (shelf_base64_decode(&decoded, text))
		step(s, shelf_buf_span(&decoded));
	else
		fail(s, "\treason=malformed Base64");
	explicit_bzero(decoded.data, decoded.cap);
	shelf_buf_free(&decoded);
}

/* The next word of *REST, up to a tab. */
static struct shelf_span
word(struct shelf_span *rest)
{
	ptrdiff_t tab = shelf_span_find(*rest, '\t', 0);
	struct shelf_span w = shelf_span(rest->data, tab < 0 ? rest->len : (size_t)tab);
	size_t used = tab < 0 ? rest->len : w.len + 1;

	*rest = shelf_span(rest->data + used, rest->len - used);
	return w;
}

/* "NAME=VALUE": VALUE in *W. */
static bool
is_param(struct shelf_span *w, const char *name)
{
	size_t len = strlen(name);

	if (w->len < len || memcmp(w->data, name, len) != 0)
		return false;
	*w = shelf_span(w->data + len, w->len - len);
	return true;
}

static bool
take_id(struct mta_auth_session *s, struct shelf_span w)
{
	uint64_t n;

	if (!shelf_span_u64(w, UINT32_MAX, &n) || w.len > ID_MAX)
		return false;
	memcpy(s->id, w.data, w.len);
	s->id[w.len] = '\0';
	return true;
}

/* AUTH id mechanism parameters...; resp= comes last. */
static void
run_auth(struct mta_auth_session *s, struct shelf_span rest)
{
	const struct sasl_for who = auth_sasl(s->server->auth, NULL);
	struct shelf_span id = word(&rest), mechanism = word(&rest), w, response = {0};

	if (s->state != READY)
		fail(s, "\treason=another request took its place");
	if (!take_id(s, id)) {
		net_conn_close(s->conn, "a request without a number");
		return;
	}
	s->peer = (struct auth_peer){.ip = {{0}}};
	while (rest.len > 0) {
		w = word(&rest);
		if (is_param(&w, "rip=")) {
			auth_peer_set(&s->peer, w);
		} else if (is_param(&w, "resp=")) {
			response = shelf_span(w.data, w.len); /* empty: not none */
		} else if (shelf_span_eq(w, shelf_span_str("secured")) || is_param(&w, "secured=")) {
			s->peer.tls = true;
		}
	}
	s->sasl = sasl_new(mechanism, &who);
	if (s->sasl == NULL)
		fail(s, "\treason=unknown authentication mechanism");
	else if (!auth_relayed_ok(s->server->auth, &s->peer))
		fail(s, "\treason=passwords are taken over TLS only");
	else if (response.data == NULL)
		step(s, response);
	else
		step_base64(s, response);
}

static void
run_cont(struct mta_auth_session *s, struct shelf_span rest)
{
	struct shelf_span id = word(&rest), data = word(&rest);

	if ((s->state != EXCHANGE && s->state != AGREED) || !shelf_span_eq(id, shelf_span_str(s->id))) {
		net_conn_close(s->conn, "an answer to nothing");
		return;
	}
	if (s->state == EXCHANGE)
		step_base64(s, data);
	else if (data.len == 0)
		let_in(s);
	else
		fail(s, "\treason=an empty response was due");
}

static void
run_line(struct mta_auth_session *s, struct shelf_span line)
{
	struct shelf_span command = word(&line);

	if (shelf_span_eq(command, shelf_span_str("AUTH")))
		run_auth(s, line);
	else if (shelf_span_eq(command, shelf_span_str("CONT")))
		run_cont(s, line);
	else if (shelf_span_eq(command, shelf_span_str("CANCEL")) && s->state != READY)
		fail(s, "");
	else if (shelf_span_eq(command, shelf_span_str("VERSION")) &&
	    !shelf_span_eq(word(&line), shelf_span_str("1")))
		net_conn_close(s->conn, "another version of the protocol");
	/* CPID, and what later versions add, says nothing to us. */
}

static void
go(struct mta_auth_session *s)
{
	struct shelf_span line;

	if (s->running)
		return;
	s->running = true;
	while (s->state != CHECKING && !net_conn_closing(s->conn) && !net_conn_full(s->conn)) {
		enum lineproto_got got = lineproto_next(s->lines, s->conn, LINE_MAX_BYTES, &line);

		if (got == LINEPROTO_MORE)
			break;
		if (got == LINEPROTO_LINE)
			run_line(s, line);
		else
			net_conn_close(s->conn, "a line that is none");
		lineproto_reset(s->lines); /* it may have had a password */
	}
	s->running = false;
}

/* ---- What net calls ---------------------------------------------------------------------------- */

static void
on_bytes(void *session)
{
	go(session);
}

static void *
open_session(struct net_conn *conn, void *server)
{
	struct mta_auth_session *s = SHELF_NEW(struct mta_auth_session);

	s->server = server;
	s->conn = conn;
	s->lines = SHELF_NEW(struct lineproto);
	greet(s);
	return s;
}

static void
close_session(void *session, const char *reason)
{
	struct mta_auth_session *s = session;

	forget(s);
	lineproto_reset(s->lines);
	free(s->lines);
	free(s);
}

const struct net_protocol mta_auth_protocol = {
    .name = "mta-auth",
    .open = open_session,
    .input = on_bytes,
    .drained = on_bytes,
    .wake = on_bytes,
    .timeout = on_bytes,
    .close = close_session,
};
