/*
 * pop3_reply.c - status lines, and what clients are told about the engine's errors
 *
 * What must stay true: no text of a client gets into a reply; a reply is one line.
 */
#include "pop3.h"

#include "conf.h"
#include "net.h"

static void
reply(struct pop3_session *s, const char *status, const char *fmt, va_list ap)
{
	struct shelf_buf line = {0};

	shelf_buf_add_str(&line, status);
	shelf_buf_vprintf(&line, fmt, ap);
	shelf_buf_add_str(&line, "\r\n");
	net_conn_write(s->conn, line.data, line.len);
	shelf_buf_free(&line);
}

void
pop3_ok(struct pop3_session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply(s, "+OK ", fmt, ap);
	va_end(ap);
	s->bad_in_a_row = 0;
}

void
pop3_err(struct pop3_session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply(s, "-ERR ", fmt, ap);
	va_end(ap);
	if (++s->bad_in_a_row >= s->server->conf->bad_commands_max)
		net_conn_close(s->conn, "too many errors");
}

const char *
pop3_code(int rc)
{
	switch ((enum shelf_err)rc) {
	case SHELF_EAUTH:
	case SHELF_EDISABLED:
		return "[AUTH] ";
	case SHELF_ELIMIT:
		return "[IN-USE] ";
	case SHELF_EBUSY:
	case SHELF_ECANCELLED:
	case SHELF_ESTOPPING:
	case SHELF_EFULL:
	case SHELF_EREADONLY:
	case SHELF_ENOMEM:
	case SHELF_EIO:
	case SHELF_EUNKNOWN:
		return "[SYS/TEMP] ";
	case SHELF_ENOACCOUNT:
	case SHELF_ENOMAILBOX:
	case SHELF_EMISSING:
	case SHELF_EQUOTA:
	case SHELF_ECHILDREN:
	case SHELF_ECANNOT:
	case SHELF_ENOPERM: /* no door to others' mailboxes */
	case SHELF_EVERSION:
	case SHELF_ECORRUPT:
		return "[SYS/PERM] ";
	case SHELF_OK:
	case SHELF_EINVALID:
	case SHELF_ENAME:
	case SHELF_ESYNTAX:
	case SHELF_ETOOBIG:
	case SHELF_ENOMESSAGE:
	case SHELF_EEXISTS:
		return "";
	}
	return "[SYS/TEMP] "; /* a number that is in no row */
}

void
pop3_fail(struct pop3_session *s, int rc, const char *what)
{
	pop3_err(s, "%s%s: %s", pop3_code(rc), what, shelf_err_text(rc));
}
