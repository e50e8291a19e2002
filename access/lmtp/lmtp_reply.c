/*
 * lmtp_reply.c - reply lines, and what clients are told about the engine's errors (RFC 3463)
 *
 * What must stay true: no text of a client gets into a reply; every reply but the greeting and
 * those of LHLO and DATA (354) has an enhanced code (RFC 2034 4).
 */
#include "lmtp.h"

#include "conf.h"
#include "net.h"

static void
write_line(struct lmtp_session *s, const char *status, const char *fmt, va_list ap)
{
	struct shelf_buf line = {0};

	shelf_buf_add_str(&line, status);
	shelf_buf_add_byte(&line, ' ');
	shelf_buf_vprintf(&line, fmt, ap);
	shelf_buf_add_str(&line, "\r\n");
	net_conn_write(s->conn, line.data, line.len);
	shelf_buf_free(&line);
}

void
lmtp_reply_closing(struct lmtp_session *s, const char *status, const char *reason)
{
	net_conn_printf(s->conn, "%s %s closing connection: %s\r\n", status,
	    lmtp_session_hostname(s), reason);
	net_conn_close(s->conn, reason);
}

/* Unknown recipients are everyday life; commands that make no sense are not. */
static bool
is_bad_command(const char *status)
{
	return strncmp(status, "50", 2) == 0 || strncmp(status, "555", 3) == 0;
}

void
lmtp_reply(struct lmtp_session *s, const char *status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(s, status, fmt, ap);
	va_end(ap);
	if (status[0] < '4')
		s->bad_in_a_row = 0;
	else if (is_bad_command(status) && ++s->bad_in_a_row >= s->server->conf->bad_commands_max)
		lmtp_reply_closing(s, "421 4.7.0", "too many errors");
}

const char *
lmtp_reply_text(int rc, bool defer)
{
	switch ((enum shelf_err)rc) {
	case SHELF_OK:
		return "250 2.1.5 Stored";
	case SHELF_ENOACCOUNT:
		return "550 5.1.1 No such account";
	case SHELF_EDISABLED:
		return "550 5.2.1 Delivery is switched off for this account";
	case SHELF_EQUOTA:
		return defer ? "452 4.2.2 Mailbox full, try again later" : "552 5.2.2 Mailbox full";
	case SHELF_ELIMIT:
		return "554 5.2.0 Mailbox has reached a limit";
	case SHELF_ETOOBIG:
		return "552 5.3.4 Message too big";
	case SHELF_EFULL:
	case SHELF_EREADONLY:
		return "452 4.3.1 Store is full";
	case SHELF_ESTOPPING:
		return "451 4.3.2 Shutting down";
	case SHELF_EBUSY:
	case SHELF_ECANCELLED:
		return "451 4.3.0 Busy, try again";
	case SHELF_EUNKNOWN:
	case SHELF_EIO:
	case SHELF_ENOMEM:
	case SHELF_EVERSION:
	case SHELF_ECORRUPT:
		return "451 4.3.0 Store is in trouble";
	case SHELF_EINVALID:
	case SHELF_ENAME:
	case SHELF_ESYNTAX:
	case SHELF_ENOMAILBOX:
	case SHELF_ENOMESSAGE:
	case SHELF_EMISSING:
	case SHELF_EEXISTS:
	case SHELF_EAUTH:
	case SHELF_ECHILDREN:
	case SHELF_ECANNOT:
	case SHELF_ENOPERM: /* no door to others' mailboxes */
		break; /* no delivery ends like that: our own fault, so the mail must not bounce */
	}
	return "451 4.3.0 Internal error";
}
