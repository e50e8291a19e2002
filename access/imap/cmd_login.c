/*
 * cmd_login.c - LOGIN and AUTHENTICATE
 *
 *   LOGIN --------------------------+
 *   AUTHENTICATE -> exchange -------+-> checking (worker, in auth) -> checked -> logged in -> alert (worker), if due
 *                    ^ "+" |                                             v "+"    ^
 *                    +-----+ one line of the client                      last ----+ an empty line of the client
 *
 * Passwords live in the command's text, its arena and the SASL object; they are wiped as soon as
 * auth has its copy, and never reach a log line or a reply. The reply to a failure is the same for
 * every reason a stranger could exploit.
 * Sources   RFC 9051 6.2.2, 6.2.3; RFC 4959; RFC 4422 3.6.
 */
#include "auth.h"
#include "conf.h"
#include "imap_alert.h"
#include "imap_command.h"
#include "imap_input.h"
#include "net.h"

struct login {
	struct sasl *sasl;
	int rc;
	bool entered; /* auth counts the session, and IMAP_AUTH is not there yet */
	struct shelf_account account;
	struct imap_alert alert;
};

/* What the client sent. Nothing points into it any more. */
static void
wipe_text(struct imap_cmd *c)
{
	struct shelf_buf *text = &c->s->input->text;

	if (text->len > 0)
		explicit_bzero(text->data, text->len);
}

static void
cleanup(struct imap_cmd *c)
{
	struct login *l = c->data;

	if (l->entered)
		auth_logout(c->s->server->auth, l->account.id, SHELF_SERVICE_IMAP);
	sasl_free(&l->sasl);
	wipe_text(c);
}

static void
too_many(struct imap_session *s)
{
	imap_bye(s, "too many failed logins", "Too many failed logins");
}

static enum imap_step
refused(struct imap_cmd *c, int rc)
{
	struct imap_session *s = c->s;

	if (rc == SHELF_ELIMIT)
		return imap_no(c, "LIMIT", "Too many connections of this account");
	if (rc == SHELF_EAUTH || rc == SHELF_EDISABLED) {
		if (++s->login_failures >= s->server->conf->login_attempts_max)
			c->after = too_many;
	}
	return imap_err(c, rc);
}

static enum imap_step
welcome(struct imap_cmd *c)
{
	return imap_ok_code(c, shelf_arena_printf(&c->arena, "CAPABILITY %s",
	    imap_caps_text(c->s, &c->arena)), "Logged in");
}

static enum imap_step
alerted(struct imap_cmd *c)
{
	struct login *l = c->data;

	imap_alert_print(c->s, &l->alert);
	return welcome(c);
}

static enum imap_step
logged_in(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct login *l = c->data;

	l->entered = false;
	s->account = l->account.id;
	net_conn_set_owner(s->conn, s->account);
	memcpy(s->account_name, l->account.name, sizeof s->account_name);
	s->state = IMAP_AUTH;
	s->login_failures = 0;
	net_conn_deadline(s->conn, 0);
	net_conn_input_max(s->conn, 0);
	net_conn_timeout(s->conn, (unsigned)s->server->conf->imap_idle_timeout_s);
	if (!imap_alert_due(s))
		return welcome(c);
	l->alert = (struct imap_alert){.store = s->store, .account = s->account};
	c->run = alerted;
	return imap_work(c, imap_alert_take, &l->alert);
}

static enum imap_step challenge(struct imap_cmd *c, struct shelf_span bytes,
    enum imap_step (*then)(struct imap_cmd *c));
static enum imap_step last(struct imap_cmd *c);

static enum imap_step
checked(struct imap_cmd *c)
{
	struct login *l = c->data;

	if (l->rc != 0)
		return refused(c, l->rc);
	l->entered = true;
	if (l->sasl != NULL && sasl_last(l->sasl).len > 0)
		return challenge(c, sasl_last(l->sasl), last);
	return logged_in(c);
}

/* auth's answer, on the loop. */
static void
answered(void *session, int rc, const struct shelf_account *account)
{
	struct imap_session *s = session;
	struct login *l = s->cmd->data;

	l->rc = rc;
	if (rc == 0)
		l->account = *account;
	imap_dispatch_resume(s);
}

static struct login *
start(struct imap_cmd *c)
{
	c->data = SHELF_ARENA_NEW(&c->arena, struct login);
	c->cleanup = cleanup;
	return c->data;
}

enum imap_step
imap_cmd_login(struct imap_cmd *c)
{
	struct shelf_span name = {0}, password = {0};

	if (!imap_parse_sp(&c->p) || !imap_parse_astring(&c->p, &name) || !imap_parse_sp(&c->p) ||
	    !imap_parse_astring(&c->p, &password) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	if (!auth_cleartext_ok(c->s->server->auth, c->s->conn))
		return imap_no(c, "PRIVACYREQUIRED", "Passwords are taken over TLS only");
	start(c);
	c->run = checked;
	imap_out_flush(c->s);
	auth_login(c->s->server->auth, c->s->conn, SHELF_SERVICE_IMAP, name, password, answered);
	explicit_bzero((void *)(uintptr_t)password.data, password.len); /* ours: text or arena */
	return IMAP_WANT_WAKE;
}

/* ---- AUTHENTICATE ---------------------------------------------------------------------------- */

static enum imap_step
challenge(struct imap_cmd *c, struct shelf_span bytes, enum imap_step (*then)(struct imap_cmd *c))
{
	struct shelf_buf line = {0};

	shelf_base64_encode(&line, bytes);
	imap_out_str(c->s, "+ ");
	imap_out_span(c->s, shelf_buf_span(&line));
	imap_out_str(c->s, "\r\n");
	imap_out_flush(c->s);
	shelf_buf_free(&line);
	wipe_text(c);
	imap_input_restart(c->s->input, imap_line_max(c->s));
	c->run = then;
	return then(c); /* who did not wait for the challenge has its answer here already */
}

static enum imap_step exchange(struct imap_cmd *c);

/* RESPONSE: decoded; data NULL: none yet. */
static enum imap_step
step(struct imap_cmd *c, struct shelf_span response)
{
	struct login *l = c->data;
	struct shelf_span bytes = {0};

	switch (sasl_step(l->sasl, response, &bytes)) {
	case SASL_READY:
		c->run = checked;
		imap_out_flush(c->s);
		auth_login_sasl(c->s->server->auth, c->s->conn, SHELF_SERVICE_IMAP, l->sasl, NULL, answered);
		return IMAP_WANT_WAKE;
	case SASL_BAD:
		return imap_bad(c, "malformed response");
	case SASL_CONTINUE:
		break;
	}
	return challenge(c, bytes, exchange);
}

static enum imap_step
step_base64(struct imap_cmd *c, struct shelf_span line)
{
	struct shelf_buf decoded = {0};
	enum imap_step next = IMAP_DONE;

	shelf_buf_reserve(&decoded, line.len + 1); /* one piece, so that it can be wiped */
	if (!shelf_base64_decode(&decoded, line))
		next = imap_bad(c, "malformed Base64");
	else
		next = step(c, shelf_buf_span(&decoded));
	explicit_bzero(decoded.data, decoded.cap);
	shelf_buf_free(&decoded);
	return next;
}

/* The client's line, decoded by THEN; or how the command goes on. */
static enum imap_step
take_line(struct imap_cmd *c, enum imap_step (*then)(struct imap_cmd *c, struct shelf_span line))
{
	struct imap_input *in = c->s->input;
	struct shelf_span line = {0};

	switch (imap_input_next(in, c->s->conn)) {
	case IMAP_GOT_NOTHING:
		return IMAP_WANT_INPUT;
	case IMAP_GOT_LINE:
		break;
	case IMAP_GOT_LITERAL:
		c->discard = !in->literal_sync;
		return imap_bad(c, "malformed Base64");
	case IMAP_GOT_TOO_LONG:
		c->discard = true;
		return imap_bad(c, "the line is too long");
	case IMAP_GOT_UNKNOWABLE:
		imap_bye(c->s, "bad literal", "The size of that literal cannot be read");
		return imap_bad(c, "malformed Base64");
	}
	line = shelf_buf_span(&in->text);
	if (line.len == 1 && line.data[0] == '*')
		return imap_bad(c, "authentication cancelled");
	return then(c, line);
}

static enum imap_step
exchange(struct imap_cmd *c)
{
	return take_line(c, step_base64);
}

static enum imap_step
end(struct imap_cmd *c, struct shelf_span line)
{
	return line.len == 0 ? logged_in(c) : imap_bad(c, "an empty response was due");
}

/* The client has the server's proof and agrees. */
static enum imap_step
last(struct imap_cmd *c)
{
	return take_line(c, end);
}

enum imap_step
imap_cmd_authenticate(struct imap_cmd *c)
{
	const struct sasl_for who = auth_sasl(c->s->server->auth, c->s->conn);
	struct shelf_span mechanism = {0}, first = {0};
	bool given = false;

	if (!imap_parse_sp(&c->p) || !imap_parse_atom(&c->p, &mechanism))
		return imap_parse_failed(c);
	given = imap_try(&c->p, ' ');
	if (given) {
		first = shelf_span(c->p.at, (size_t)(c->p.end - c->p.at));
		c->p.at = c->p.end;
	}
	if (!auth_cleartext_ok(c->s->server->auth, c->s->conn))
		return imap_no(c, "PRIVACYREQUIRED", "Passwords are taken over TLS only");
	start(c)->sasl = sasl_new(mechanism, &who);
	if (((struct login *)c->data)->sasl == NULL)
		return imap_no(c, "CANNOT", "Unknown authentication mechanism");
	if (!given)
		return step(c, shelf_span(NULL, 0));
	if (first.len == 1 && first.data[0] == '=')
		return step(c, shelf_span("", 0));
	return step_base64(c, first);
}
