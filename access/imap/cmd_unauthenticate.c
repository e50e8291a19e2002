/*
 * cmd_unauthenticate.c - UNAUTHENTICATE: the connection is as it was before the login
 *
 * What must stay true: nothing of the user is left for the next one. All that a login or a later command has set in
 * the session is set back here; what a new extension keeps there has its line here. TLS stays; so does what ID told.
 * Compression ends behind the OK, the client's behind its command: what it had compressed and sent behind that could
 * not be told apart, so a client that compresses waits for the OK.
 * Sources   RFC 8437 3, 4.
 */
#include "auth.h"
#include "conf.h"
#include "imap_command.h"
#include "imap_notify.h"
#include "net.h"

static void
reset(struct imap_session *s)
{
	shelf_log(SHELF_LOG_INFO, "imap logout", "account", "%s", s->account_name, "peer", "%s",
	    net_conn_peer(s->conn), "reason", "%s", "unauthenticate", NULL);
	imap_unselect(s);
	imap_notify_free(&s->notify);
	auth_logout(s->server->auth, s->account, SHELF_SERVICE_IMAP);
	net_conn_set_owner(s->conn, 0);
	s->account = 0;
	s->accounts_seen = 0;
	memset(s->account_name, 0, sizeof s->account_name);
	s->rev2 = s->utf8_accept = s->utf8 = false;
	s->condstore = s->qresync = s->uidonly = false;
	s->modseq_shown = false;
	s->mailbox_gone = false;
	s->login_failures = 0;
	s->state = IMAP_NOT_AUTH;
	if (net_conn_compresses(s->conn))
		net_conn_uncompress(s->conn);
	net_conn_deadline(s->conn, (unsigned)s->server->conf->login_timeout_s);
	net_conn_input_max(s->conn, AUTH_INPUT_MAX_EARLY_BYTES);
}

enum imap_step
imap_cmd_unauthenticate(struct imap_cmd *c)
{
	if (!c->s->server->conf->imap_unauthenticate)
		return imap_bad(c, "UNAUTHENTICATE is switched off");
	c->after = reset;
	return imap_completed(c);
}
