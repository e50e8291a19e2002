/*
 * pop3_login.c - USER and PASS, AUTH, STLS
 *
 * What must stay true: a password is taken only when auth_cleartext_ok(); it is wiped when the
 * login has been asked for; STLS forgets everything said before it (RFC 2595 4, threats: STARTTLS
 * injection).
 */
#include "pop3.h"

#include <stdio.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "auth.h"
#include "conf.h"
#include "lineproto.h"
#include "net.h"

static void
wipe(struct shelf_buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->cap);
	shelf_buf_free(b);
}

void
pop3_login_forget(struct pop3_session *s)
{
	wipe(&s->user);
	s->has_user = false;
	sasl_free(&s->sasl);
	if (s->entered != 0)
		auth_logout(s->server->auth, s->entered, SHELF_SERVICE_POP3);
	s->entered = 0;
}

static void
login_failed(struct pop3_session *s, int rc)
{
	const char *code = pop3_code(rc);
	bool last;

	last = (rc == SHELF_EAUTH || rc == SHELF_EDISABLED) &&
	    ++s->login_failures >= s->server->conf->login_attempts_max;
	switch (rc) {
	case SHELF_EAUTH:
		pop3_err(s, "%sWrong name or password", code);
		break;
	case SHELF_EDISABLED:
		pop3_err(s, "%sPOP3 is switched off for this account", code);
		break;
	case SHELF_EEXISTS:
		pop3_err(s, "[IN-USE] Another session has the maildrop");
		break;
	case SHELF_ENOMAILBOX:
		pop3_err(s, "%sThe mailbox that POP3 serves does not exist", code);
		break;
	case SHELF_ELIMIT:
		pop3_err(s, "%sToo many sessions of this account", code);
		break;
	default:
		pop3_err(s, "%sLogin is not possible now", code);
	}
	if (last)
		net_conn_close(s->conn, "too many failed logins");
}

static void
maildrop_opened(struct pop3_session *s, int rc)
{
	s->wait = POP3_WAIT_COMMAND;
	if (rc != 0) {
		shelf_log(rc == SHELF_EEXISTS ? SHELF_LOG_INFO : SHELF_LOG_ERROR, "pop3 maildrop not opened", "account",
		    "%s", s->account_name, "error", "%s", shelf_err_name(rc), NULL);
		pop3_maildrop_close(s);
		auth_logout(s->server->auth, s->account, SHELF_SERVICE_POP3);
		s->account = 0;
		login_failed(s, rc);
	} else {
		s->state = POP3_TRANSACTION;
		net_conn_set_owner(s->conn, s->account);
		net_conn_deadline(s->conn, 0);
		net_conn_input_max(s->conn, 0);
		net_conn_timeout(s->conn, (unsigned)s->server->conf->pop3_idle_timeout_s);
		pop3_ok(s, "%u messages (%llu octets)", pop3_maildrop_count(s),
		    (unsigned long long)pop3_maildrop_bytes(s));
	}
	pop3_session_go(s);
}

static void
enter(struct pop3_session *s, int rc, const struct shelf_account *account)
{
	struct pop3_server *server = s->server;

	pop3_login_forget(s);
	if (rc != 0) {
		login_failed(s, rc);
		return;
	}
	if (server->delay != NULL &&
	    !pop3_delay_admit(server->delay, account->id, server->conf->pop3_login_delay_s)) {
		auth_logout(server->auth, account->id, SHELF_SERVICE_POP3);
		pop3_err(s, "[LOGIN-DELAY] Not so often: once in %llu seconds",
		    (unsigned long long)server->conf->pop3_login_delay_s);
		return;
	}
	s->account = account->id;
	snprintf(s->account_name, sizeof(s->account_name), "%s", account->name);
	s->wait = POP3_WAIT_LOGIN;
	pop3_maildrop_open(s, maildrop_opened);
}

static void
send_challenge(struct pop3_session *s, struct shelf_span bytes)
{
	struct shelf_buf line = {0};

	s->wait = POP3_WAIT_SASL;
	shelf_buf_add_str(&line, "+ ");
	shelf_base64_encode(&line, bytes);
	shelf_buf_add_str(&line, "\r\n");
	net_conn_write(s->conn, line.data, line.len);
	shelf_buf_free(&line);
}

static void
login_done(void *session, int rc, const struct shelf_account *account)
{
	struct pop3_session *s = session;

	s->wait = POP3_WAIT_COMMAND;
	if (rc == 0 && s->sasl != NULL && sasl_last(s->sasl).len > 0) {
		s->entered = account->id;
		send_challenge(s, sasl_last(s->sasl));
	} else {
		enter(s, rc, account);
	}
	pop3_session_go(s);
}

/* The client has the server's proof and agrees. */
static void
agreed(struct pop3_session *s)
{
	struct shelf_account account;
	int rc = shelf_account_get(s->server->store, s->entered, &account);

	if (rc == 0)
		s->entered = 0; /* counted until the session ends */
	enter(s, rc, &account);
}

static bool
password_allowed(struct pop3_session *s)
{
	if (auth_cleartext_ok(s->server->auth, s->conn))
		return true;
	pop3_err(s, "Plaintext login needs TLS");
	return false;
}

void
pop3_cmd_user(struct pop3_session *s, const struct pop3_args *args)
{
	static const char recent[] = "recent:";
	struct shelf_span name = args->text;

	if (!password_allowed(s))
		return;
	/* "recent:joe" is joe, on a computer that is to see what is recent whatever another one has fetched or
	 * hidden. */
	s->recent = name.len > sizeof(recent) - 1 &&
	    shelf_span_is(shelf_span(name.data, sizeof(recent) - 1), recent);
	if (s->recent)
		name = shelf_span(name.data + sizeof(recent) - 1, name.len - (sizeof(recent) - 1));
	shelf_buf_clear(&s->user);
	shelf_buf_add_span(&s->user, name);
	s->has_user = true;
	/* The same for names that do not exist (RFC 1939 13). */
	pop3_ok(s, "Send PASS");
}

void
pop3_cmd_pass(struct pop3_session *s, const struct pop3_args *args)
{
	if (!password_allowed(s))
		return;
	if (!s->has_user) {
		pop3_err(s, "USER comes first");
		return;
	}
	s->wait = POP3_WAIT_LOGIN;
	auth_login(s->server->auth, s->conn, SHELF_SERVICE_POP3, shelf_buf_span(&s->user), args->text, login_done);
	pop3_login_forget(s);
	lineproto_reset(s->lines); /* the line with the password */
}

/* ---- AUTH, RFC 5034 -------------------------------------------------------------------------- */

void
pop3_login_capa(const struct pop3_session *s, struct shelf_buf *out)
{
	const struct sasl_for who = auth_sasl(s->server->auth, s->conn);
	const char *name;
	unsigned at = 0;

	while ((name = sasl_offered(&who, &at)) != NULL)
		shelf_buf_printf(out, " %s", name);
}

static void
list_mechanisms(struct pop3_session *s)
{
	const struct sasl_for who = auth_sasl(s->server->auth, s->conn);
	bool usable = auth_cleartext_ok(s->server->auth, s->conn);
	const char *name;
	unsigned at = 0;

	pop3_ok(s, "Mechanisms follow");
	while (usable && (name = sasl_offered(&who, &at)) != NULL)
		net_conn_printf(s->conn, "%s\r\n", name);
	net_conn_printf(s->conn, ".\r\n");
}

static void
sasl_advance(struct pop3_session *s, struct shelf_span response)
{
	struct shelf_span challenge = {0};

	s->wait = POP3_WAIT_COMMAND;
	switch (sasl_step(s->sasl, response, &challenge)) {
	case SASL_CONTINUE:
		send_challenge(s, challenge);
		break;
	case SASL_READY:
		s->wait = POP3_WAIT_LOGIN;
		auth_login_sasl(s->server->auth, s->conn, SHELF_SERVICE_POP3, s->sasl, NULL, login_done);
		break;
	case SASL_BAD:
		pop3_err(s, "Malformed authentication response");
		pop3_login_forget(s);
		break;
	}
}

static void
sasl_advance_base64(struct pop3_session *s, struct shelf_span text)
{
	struct shelf_buf decoded = {0};

	/* An empty response is not "none": its data is not NULL. */
	shelf_buf_reserve(&decoded, text.len + 1);
	if (shelf_base64_decode(&decoded, text)) {
		sasl_advance(s, shelf_buf_span(&decoded));
	} else {
		s->wait = POP3_WAIT_COMMAND;
		pop3_login_forget(s);
		pop3_err(s, "Not Base64");
	}
	wipe(&decoded);
	lineproto_reset(s->lines);
}

void
pop3_login_response(struct pop3_session *s, struct shelf_span line)
{
	if (shelf_span_is(line, "*")) {
		s->wait = POP3_WAIT_COMMAND;
		pop3_login_forget(s);
		pop3_err(s, "Authentication cancelled");
		return;
	}
	if (s->entered == 0) {
		sasl_advance_base64(s, line);
		return;
	}
	s->wait = POP3_WAIT_COMMAND;
	if (line.len == 0) {
		agreed(s);
		return;
	}
	pop3_login_forget(s);
	pop3_err(s, "An empty response was due");
}

void
pop3_cmd_auth(struct pop3_session *s, const struct pop3_args *args)
{
	const struct sasl_for who = auth_sasl(s->server->auth, s->conn);

	if (args->count == 0) {
		/* Not in RFC 5034; older clients ask this way. */
		list_mechanisms(s);
		return;
	}
	if (!password_allowed(s))
		return;
	pop3_login_forget(s);
	s->sasl = sasl_new(args->word[0], &who);
	if (s->sasl == NULL)
		pop3_err(s, "No such mechanism");
	else if (args->count == 1)
		sasl_advance(s, shelf_span(NULL, 0));
	else if (shelf_span_is(args->word[1], "="))
		sasl_advance(s, shelf_span("", 0));
	else
		sasl_advance_base64(s, args->word[1]);
}

/* ---- STLS, RFC 2595 4 ------------------------------------------------------------------------ */

void
pop3_cmd_stls(struct pop3_session *s, const struct pop3_args *args)
{
	if (net_conn_is_tls(s->conn)) {
		pop3_err(s, "TLS is running already");
		return;
	}
	/* RFC 6856 2.1: an error of the client, which may be told. */
	if (s->utf8) {
		pop3_err(s, "STLS comes before UTF8");
		return;
	}
	if (!net_conn_has_tls(s->conn)) {
		pop3_err(s, "TLS is not available");
		return;
	}
	pop3_login_forget(s);
	pop3_ok(s, "Begin TLS negotiation");
	s->wait = POP3_WAIT_TLS;
	net_conn_starttls(s->conn);
}
