/*
 * lmtp_commands.c - LHLO, MAIL, RCPT and their company
 *
 * What must stay true: every function writes one reply (LHLO: of several lines); a refused command
 * changes nothing.
 */
#include "lmtp.h"

#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "conf.h"
#include "lineproto.h"
#include "net.h"

/* ---- Greeting and small ones ----------------------------------------------------------------- */

static void
announce(struct lmtp_session *s, const char *cap, bool when)
{
	if (strcmp(cap, "SIZE") == 0)
		net_conn_printf(s->conn, "250 SIZE %llu\r\n",
		    (unsigned long long)s->server->conf->message_max_bytes);
	else if (when)
		net_conn_printf(s->conn, "250-%s\r\n", cap);
}

void
lmtp_cmd_lhlo(struct lmtp_session *s, struct shelf_span args)
{
	struct shelf_span name = lineproto_word(&args);

	if (name.len == 0 || lineproto_word(&args).len != 0) {
		lmtp_reply(s, "501 5.5.4", "LHLO takes a name");
		return;
	}
	if (name.len >= sizeof(s->client))
		name.len = 0;
	memcpy(s->client, name.data, name.len);
	s->client[name.len] = '\0';
	s->state = LMTP_IDLE;
	lmtp_session_forget(s);
	s->bad_in_a_row = 0;
	net_conn_printf(s->conn, "250-%s\r\n", lmtp_session_hostname(s));
#define LMTP_CAP(text, when, source) announce(s, text, when);
#include "lmtp_caps.def"
#undef LMTP_CAP
}

/* Of Postfix: the client's address and name as another server says. What stands in our Received fields, and who may
 * connect, is never for a client to say. */
void
lmtp_cmd_xclient(struct lmtp_session *s, struct shelf_span args)
{
	lmtp_reply(s, "502 5.5.1", "Not taken here: who you are is what the connection says");
}

void
lmtp_cmd_helo(struct lmtp_session *s, struct shelf_span args)
{
	lmtp_reply(s, "500 5.5.1", "This is LMTP, use LHLO");
}

/* True when there is nothing; a reply otherwise. */
static bool
no_args(struct lmtp_session *s, struct shelf_span args)
{
	if (lineproto_word(&args).len == 0)
		return true;
	lmtp_reply(s, "501 5.5.4", "The command takes no argument");
	return false;
}

void
lmtp_cmd_rset(struct lmtp_session *s, struct shelf_span args)
{
	if (!no_args(s, args))
		return;
	lmtp_session_forget(s);
	lmtp_reply(s, "250 2.0.0", "Forgotten");
}

void
lmtp_cmd_noop(struct lmtp_session *s, struct shelf_span args)
{
	lmtp_reply(s, "250 2.0.0", "Done");
}

void
lmtp_cmd_quit(struct lmtp_session *s, struct shelf_span args)
{
	if (!no_args(s, args))
		return;
	lmtp_reply(s, "221 2.0.0", "%s closing connection", lmtp_session_hostname(s));
	net_conn_close(s->conn, "quit");
}

/* RFC 5321 3.5.3: not a way to try out names. */
void
lmtp_cmd_vrfy(struct lmtp_session *s, struct shelf_span args)
{
	if (lineproto_word(&args).len == 0)
		lmtp_reply(s, "501 5.5.4", "VRFY takes a name");
	else
		lmtp_reply(s, "252 2.5.0", "Not verified, but RCPT will tell");
}

void
lmtp_cmd_help(struct lmtp_session *s, struct shelf_span args)
{
	lmtp_reply(s, "214 2.0.0", "LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP%s",
	    net_conn_has_tls(s->conn) ? " STARTTLS" : "");
}

void
lmtp_cmd_starttls(struct lmtp_session *s, struct shelf_span args)
{
	if (!no_args(s, args))
		return;
	if (net_conn_is_tls(s->conn)) {
		lmtp_reply(s, "503 5.5.1", "TLS is running already");
		return;
	}
	if (!net_conn_has_tls(s->conn)) {
		lmtp_reply(s, "502 5.5.1", "TLS is not available");
		return;
	}
	lmtp_reply(s, "220 2.0.0", "Begin TLS negotiation");
	s->wait = LMTP_WAIT_TLS;
	net_conn_starttls(s->conn);
}

/* ---- MAIL ------------------------------------------------------------------------------------ */

/* "FROM:" or "TO:", then a path. Some clients put a blank between. */
static bool
get_path(struct shelf_span *args, const char *keyword, struct lmtp_path *out)
{
	size_t len = strlen(keyword);

	if (args->len < len || !shelf_span_is(shelf_span(args->data, len), keyword))
		return false;
	args->data += len;
	args->len -= len;
	while (args->len > 0 && args->data[0] == ' ') {
		args->data++;
		args->len--;
	}
	/* Parameters are set off by a blank. */
	return lmtp_path_parse(args, out) && (args->len == 0 || args->data[0] == ' ');
}

void
lmtp_cmd_mail(struct lmtp_session *s, struct shelf_span args)
{
	struct lmtp_params p;
	struct lmtp_path path;

	if (!get_path(&args, "FROM:", &path)) {
		lmtp_reply(s, "501 5.1.7", "Syntax: MAIL FROM:<address> [parameters]");
		return;
	}
	if (!lmtp_params_mail(s, args, &p))
		return;
	if (path.utf8 && !p.has_utf8) {
		lmtp_reply(s, "553 5.6.7", "Address needs SMTPUTF8");
		return;
	}
	if (p.size > s->server->conf->message_max_bytes) {
		lmtp_reply(s, "552 5.3.4", "Message too big");
		return;
	}
	s->sender = path;
	s->size = p.size;
	s->smtputf8 = p.has_utf8;
	s->binary = p.binary;
	s->state = LMTP_MAIL;
	lmtp_reply(s, "250 2.1.0", "Sender taken");
}

/* ---- RCPT ------------------------------------------------------------------------------------ */

/* An error when none of the accounts behind an address has room. */
static int
take_room(struct lmtp_session *s, const struct route *to, struct lmtp_rcpt *rcpt, bool *defer)
{
	int why = SHELF_ENOACCOUNT;
	bool any = false;

	rcpt->list = shelf_zalloc(to->n * sizeof(*rcpt->list));
	for (size_t i = 0; i < to->n; i++) {
		struct lmtp_account *a = &rcpt->list[rcpt->n++];

		a->to = to->list[i];
		a->refused = lmtp_room_take(s, a);
		if (a->refused == SHELF_EQUOTA)
			a->rules.defer = route_defers(s->server->store, &a->to, &a->rules);
		any = any || a->refused == 0;
		why = a->refused;
		*defer = *defer || a->rules.defer;
	}
	return any ? 0 : why;
}

/* RCPT is taken over. */
static void
add_recipient(struct lmtp_session *s, const struct lmtp_path *path, struct lmtp_rcpt *rcpt)
{
	struct shelf_buf address = {0};

	lmtp_path_print(path, &address);
	rcpt->address = shelf_strdup(shelf_buf_cstr(&address));
	shelf_buf_free(&address);
	if (s->nrcpts == s->rcpts_cap) {
		s->rcpts_cap = s->rcpts_cap == 0 ? 4 : s->rcpts_cap * 2;
		s->rcpts = shelf_realloc(s->rcpts, s->rcpts_cap * sizeof(*s->rcpts));
	}
	s->rcpts[s->nrcpts++] = *rcpt;
	s->naccounts += rcpt->n;
	*rcpt = (struct lmtp_rcpt){.n = 0};
	s->state = LMTP_RCPT;
	lmtp_metrics_rcpt("250");
	lmtp_reply(s, "250 2.1.5", "Recipient taken");
}

static void
refuse_recipient(struct lmtp_session *s, const struct lmtp_path *path, int rc, bool defer)
{
	const char *reply = lmtp_reply_text(rc, defer);
	struct shelf_buf text = {0};

	lmtp_path_print(path, &text);
	shelf_log(SHELF_LOG_INFO, "lmtp recipient refused", "to", "%s", shelf_buf_cstr(&text),
	    "peer", "%s", net_conn_peer(s->conn), "error", "%s", shelf_err_name(rc), NULL);
	shelf_buf_free(&text);
	lmtp_metrics_rcpt(reply);
	net_conn_printf(s->conn, "%s\r\n", reply);
}

void
lmtp_cmd_rcpt(struct lmtp_session *s, struct shelf_span args)
{
	struct lmtp_rcpt rcpt = {.n = 0};
	struct route to = {.n = 0};
	bool defer = false;
	struct lmtp_params p;
	struct lmtp_path path;
	int rc;

	/* A local part of nothing is no recipient, though the grammar has it (CVE-2020-10967). */
	if (!get_path(&args, "TO:", &path) || path.local_len == 0) {
		lmtp_reply(s, "501 5.1.3", "Syntax: RCPT TO:<address>");
		return;
	}
	if (!lmtp_params_rcpt(s, args, &p))
		return;
	if (path.utf8 && !s->smtputf8) {
		lmtp_reply(s, "553 5.6.7", "Address needs SMTPUTF8");
		return;
	}
	if (s->nrcpts >= s->server->conf->lmtp_recipients_max) {
		lmtp_reply(s, "452 4.5.3", "Too many recipients");
		return;
	}
	rc = route_find(s->server->store, s->server->conf, shelf_span(path.local, path.local_len),
	    shelf_span(path.domain, path.domain_len), &to);
	if (rc == 0 && s->nrcpts > 0 && s->naccounts + to.n > s->server->conf->lmtp_recipients_max) {
		lmtp_reply(s, "452 4.5.3", "Too many recipients");
	} else {
		if (rc == 0)
			rc = take_room(s, &to, &rcpt, &defer);
		if (rc == 0)
			add_recipient(s, &path, &rcpt);
		else
			refuse_recipient(s, &path, rc, defer);
	}
	free(rcpt.list);
	route_free(&to);
}

void
lmtp_cmd_data(struct lmtp_session *s, struct shelf_span args)
{
	if (!no_args(s, args))
		return;
	if (s->binary) /* RFC 3030 3 */
		lmtp_reply(s, "503 5.5.1", "A binary message comes with BDAT");
	else
		lmtp_deliver_begin(s);
}
