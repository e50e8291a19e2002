/*
 * cmd_logout.c - LOGOUT: BYE, OK, end. RFC 9051 6.1.3
 */
#include "imap_command.h"
#include "net.h"

static void
end(struct imap_session *s)
{
	net_conn_close(s->conn, "logout");
}

enum imap_step
imap_cmd_logout(struct imap_cmd *c)
{
	imap_untagged(c->s, "BYE Logging out");
	c->s->bye = true;
	c->after = end;
	return imap_completed(c);
}
