/*
 * imap_reply.c - tagged replies; the one translation of engine errors
 *
 * A reply is set once per command and written by the dispatcher. Its text is cleaned on the way
 * out, so that no byte of a client or of the store can begin a response of its own.
 * Sources   RFC 9051 7.1; RFC 5530; RFC 4469 (TOOBIG), RFC 9208 (OVERQUOTA), RFC 3501 (TRYCREATE).
 */
#include <stdio.h>

#include "conf.h"
#include "imap_command.h"

static enum imap_step
set_reply(struct imap_cmd *c, enum imap_condition condition, const char *code, const char *fmt,
    va_list ap)
{
	struct shelf_buf text = {0};

	SHELF_ASSERT(!c->replied);
	shelf_buf_vprintf(&text, fmt, ap);
	c->replied = true;
	c->condition = condition;
	c->code = code;
	c->text = shelf_arena_str(&c->arena, shelf_buf_span(&text));
	shelf_buf_free(&text);
	return IMAP_DONE;
}

enum imap_step
imap_ok(struct imap_cmd *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_reply(c, IMAP_OK, NULL, fmt, ap);
	va_end(ap);
	return IMAP_DONE;
}

enum imap_step
imap_ok_code(struct imap_cmd *c, const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_reply(c, IMAP_OK, code, fmt, ap);
	va_end(ap);
	return IMAP_DONE;
}

enum imap_step
imap_no(struct imap_cmd *c, const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_reply(c, IMAP_NO, code, fmt, ap);
	va_end(ap);
	return IMAP_DONE;
}

enum imap_step
imap_bad(struct imap_cmd *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_reply(c, IMAP_BAD, NULL, fmt, ap);
	va_end(ap);
	return IMAP_DONE;
}

enum imap_step
imap_uid_required(struct imap_cmd *c)
{
	imap_bad(c, "%s: message numbers are not taken behind ENABLE UIDONLY", c->name);
	c->code = "UIDREQUIRED";
	return IMAP_DONE;
}

enum imap_step
imap_completed(struct imap_cmd *c)
{
	return imap_ok(c, "%s completed", c->name);
}

enum imap_step
imap_parse_failed(struct imap_cmd *c)
{
	const char *error = NULL;

	if (c->replied) /* by what was reading the arguments */
		return IMAP_DONE;
	error = c->p.error == NULL ? "syntax error" : c->p.error;

	return c->p.cannot ? imap_no(c, "CANNOT", "%s", error) :
	    imap_bad(c, "%s: %s", c->name, error);
}

/* What a client is told. No default: a new error must be decided here. */
static const char *
code_of(enum shelf_err err)
{
	switch (err) {
	case SHELF_OK:
		return NULL;
	case SHELF_EINVALID:
	case SHELF_ENAME:
	case SHELF_ECANNOT:
		return "CANNOT";
	case SHELF_ESYNTAX:
		return NULL; /* BAD */
	case SHELF_ETOOBIG:
		return "TOOBIG";
	case SHELF_ELIMIT:
	case SHELF_EFULL: /* no code fits better: a limit of the server, not of the user */
	case SHELF_EREADONLY:
		return "LIMIT";
	case SHELF_ENOMAILBOX:
	case SHELF_EMISSING:
		return "NONEXISTENT";
	case SHELF_ENOMESSAGE:
		return "EXPUNGEISSUED";
	case SHELF_EEXISTS:
		return "ALREADYEXISTS";
	case SHELF_EAUTH:
		return "AUTHENTICATIONFAILED";
	case SHELF_EDISABLED:
		return "AUTHORIZATIONFAILED";
	case SHELF_ENOPERM:
		return "NOPERM";
	case SHELF_EQUOTA:
		return "OVERQUOTA";
	case SHELF_ECHILDREN:
		return "HASCHILDREN";
	case SHELF_EBUSY:
		return "INUSE";
	case SHELF_ENOACCOUNT: /* deleted while logged in */
	case SHELF_ECANCELLED:
	case SHELF_ESTOPPING:
	case SHELF_ENOMEM:
	case SHELF_EIO:
	case SHELF_EUNKNOWN:
		return "UNAVAILABLE";
	case SHELF_EVERSION:
	case SHELF_ECORRUPT:
		return "SERVERBUG";
	}
	return "SERVERBUG";
}

enum imap_step
imap_err(struct imap_cmd *c, int rc)
{
	if (rc == SHELF_ESYNTAX)
		return imap_bad(c, "%s: %s", c->name, shelf_err_text(rc));
	return imap_no(c, code_of((enum shelf_err)rc), "%s", shelf_err_text(rc));
}

/* RFC 9738: in the tagged OK, or when that has another code before it. */
static void
tell_limit(struct imap_cmd *c)
{
	unsigned long long limit = c->s->server->conf->imap_message_limit;

	if (c->limited == 0 || c->condition == IMAP_BAD)
		return;
	if (c->condition == IMAP_OK && c->code == NULL)
		c->code = shelf_arena_printf(&c->arena, "MESSAGELIMIT %llu %u", limit, c->limited);
	else
		imap_untagged(c->s, "OK [MESSAGELIMIT %llu %u] Not all messages were processed", limit, c->limited);
}

void
imap_reply_write(struct imap_cmd *c)
{
	static const char *const words[] = {[IMAP_OK] = "OK", [IMAP_NO] = "NO", [IMAP_BAD] = "BAD"};
	struct imap_session *s = c->s;
	const char *at = NULL;

	tell_limit(c);
	if (c->tag.len == 0)
		imap_out_str(s, "*");
	imap_out_span(s, c->tag);
	imap_outf(s, " %s ", words[c->condition]);
	if (c->code != NULL)
		imap_outf(s, "[%s] ", c->code);
	for (at = c->text; *at != '\0'; at++) {
		char byte = *at >= 0x20 && *at < 0x7f ? *at : '?';

		imap_out(s, &byte, 1);
	}
	imap_out_str(s, "\r\n");
}
