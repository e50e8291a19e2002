/*
 * cmd_starttls.c - STARTTLS
 *
 * net ends the connection when anything came behind the command in clear: what an attacker could
 * put there would be obeyed as if it had come through TLS (threats: STARTTLS injection).
 * Sources   RFC 9051 6.2.1, 11.1.
 */
#include "imap_command.h"
#include "net.h"

static void
start(struct imap_session *s)
{
	net_conn_starttls(s->conn);
}

enum imap_step
imap_cmd_starttls(struct imap_cmd *c)
{
	if (net_conn_is_tls(c->s->conn))
		return imap_bad(c, "TLS is running already");
	if (!net_conn_has_tls(c->s->conn))
		return imap_bad(c, "TLS is not available");
	c->after = start;
	return imap_ok(c, "Begin TLS now");
}
