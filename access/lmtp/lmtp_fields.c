/*
 * lmtp_fields.c - the fields in front of a message: Return-Path, Delivered-To, Received (RFC 5321 4.4)
 *
 * With one recipient they are written before the first byte of the message, into the same draft. With several, Received
 * is, and what stands in front of it is a head for each of them: the body is stored once. "for" in Received is there
 * when the message has one recipient, so that nobody reads who else has it.
 *
 * What must stay true: nothing a client said can end a line or a comment here.
 */
#include "lmtp.h"

#include <mailshelf/date.h>
#include <mailshelf/mem.h>

#include "conf.h"
#include "net.h"

/* What LHLO said, when it can stand in a field as it is. */
static bool
is_host(const char *name)
{
	return *name != '\0' &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") ==
	    strlen(name);
}

/* "192.0.2.1:4711", "[2001:db8::1]:4711" as RFC 5321 4.1.3 writes addresses; nothing for a Unix socket. */
static void
add_peer(struct shelf_buf *b, const char *peer)
{
	const char *colon = strrchr(peer, ':'), *end;

	if (colon == NULL)
		return;
	if (peer[0] != '[') {
		shelf_buf_printf(b, " ([%.*s])", (int)(colon - peer), peer);
		return;
	}
	end = strchr(peer, ']');
	if (end != NULL)
		shelf_buf_printf(b, " ([IPv6:%.*s])", (int)(end - peer - 1), peer + 1);
}

void
lmtp_fields_add_head(const struct lmtp_session *s, const struct lmtp_rcpt *rcpt, struct shelf_buf *b)
{
	shelf_buf_add_str(b, "Return-Path: ");
	lmtp_path_print(&s->sender, b);
	if (rcpt != NULL)
		shelf_buf_printf(b, "\r\nDelivered-To: %.*s", (int)strlen(rcpt->address) - 2, rcpt->address + 1);
	shelf_buf_add_str(b, "\r\n");
}

void
lmtp_fields_add(const struct lmtp_session *s, struct shelf_buf *b)
{
	const char *only = s->nrcpts == 1 ? s->rcpts[0].address : NULL;
	char date[SHELF_MAIL_DATE_BYTES];

	if (only != NULL)
		lmtp_fields_add_head(s, &s->rcpts[0], b);
	shelf_buf_printf(b, "Received: from %s", is_host(s->client) ? s->client : "unknown");
	add_peer(b, net_conn_peer(s->conn));
	/* RFC 3848, RFC 6531 4.3 */
	shelf_buf_printf(b, "\r\n\tby %s (mailshelf) with %sLMTP%s id %llu.%llu",
	    lmtp_session_hostname(s), s->smtputf8 ? "UTF8" : "",
	    net_conn_is_tls(s->conn) ? "S" : "", net_conn_id(s->conn),
	    (unsigned long long)s->messages);
	if (only != NULL)
		shelf_buf_printf(b, "\r\n\tfor %s", only);
	shelf_buf_printf(b, "; %s\r\n", shelf_mail_date(shelf_now_s(), date));
}
