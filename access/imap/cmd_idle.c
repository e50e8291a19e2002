/*
 * cmd_idle.c - IDLE: news as it comes, until DONE
 *
 *   "+" --> telling (imap_notify_tell) --> waiting --news--> telling
 *                                      |--DONE------> OK
 *
 * News posted while the last piece is still being told is not lost: the engine's callback sets
 * c->news through the dispatcher, imap_sync() clears it where it takes a new look at the store, and
 * nothing waits while it is set.
 * Sources   RFC 2177, RFC 9051 6.3.13.
 */
#include "imap_command.h"
#include "imap_input.h"
#include "imap_notify.h"
#include "net.h"

struct idle {
	struct shelf_listener *listener, *own; /* of the mailbox; of the user, when it is not his */
};

/* On a thread of the engine. */
static void
news(void *arg)
{
	net_conn_wake(arg);
}

static void
cleanup(struct imap_cmd *c)
{
	struct idle *idle = c->data;

	shelf_unlisten(&idle->listener);
	shelf_unlisten(&idle->own);
}

static enum imap_step
read_done(struct imap_cmd *c)
{
	struct imap_input *in = c->s->input;

	switch (imap_input_next(in, c->s->conn)) {
	case IMAP_GOT_NOTHING:
		return IMAP_WANT_INPUT;
	case IMAP_GOT_LINE:
		if (shelf_span_is(shelf_buf_span(&in->text), "DONE"))
			return imap_completed(c);
		return imap_bad(c, "DONE expected");
	case IMAP_GOT_LITERAL:
		c->discard = !in->literal_sync;
		return imap_bad(c, "DONE expected");
	case IMAP_GOT_TOO_LONG:
		c->discard = true;
		break;
	case IMAP_GOT_UNKNOWABLE:
		imap_bye(c->s, "bad literal", "The size of that literal cannot be read");
		break;
	}
	return imap_bad(c, "DONE expected");
}

static enum imap_step
idle_run(struct imap_cmd *c)
{
	enum imap_step step = imap_notify_tell(c, true);

	return step == IMAP_DONE ? read_done(c) : step;
}

enum imap_step
imap_cmd_idle(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct idle *idle = SHELF_ARENA_NEW(&c->arena, struct idle);
	int rc = 0;

	c->data = idle;
	c->cleanup = cleanup;
	if (s->view != NULL)
		rc = shelf_listen(s->store, s->owner, news, s->conn, &idle->listener);
	if (rc == 0 && s->view != NULL && s->owner != s->account)
		rc = shelf_listen(s->store, s->account, news, s->conn, &idle->own);
	if (rc != 0)
		return imap_err(c, rc);
	imap_out_str(s, "+ idling\r\n");
	imap_input_restart(s->input, imap_line_max(s));
	c->wants_news = true;
	c->run = idle_run;
	return idle_run(c);
}
