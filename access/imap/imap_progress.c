/*
 * imap_progress.c - "still at it": untagged OK [INPROGRESS] while a command keeps its client waiting
 *
 *   command waits --busy--> alarm set --interval--> told, set again ... --reply--> alarm lifted
 *
 * What must stay true: nothing is written within another response, behind the tagged reply, or to a client
 * that does not take what it got; one interval passes before the first one and between any two.
 * Sources   RFC 9585 3, 4 (the goal is above the progress; NIL where either is not known).
 */
#include <inttypes.h>

#include "conf.h"
#include "imap_command.h"
#include "net.h"

void
imap_progress(struct imap_cmd *c, uint64_t done, uint64_t total)
{
	c->done = done;
	c->total = total;
}

void
imap_progress_busy(struct imap_session *s, bool busy)
{
	struct imap_cmd *c = s->cmd;

	/* Before login a client may not know what this is. */
	busy = busy && c != NULL && c->tag.len > 0 && (s->state & IMAP_LOGGEDIN) != 0;
	if (busy == s->progress_awaited)
		return;
	s->progress_awaited = busy;
	net_conn_alarm(s->conn, busy ? (unsigned)s->server->conf->imap_progress_ms : 0);
}

void
imap_progress_alarm(struct imap_session *s)
{
	struct imap_cmd *c = s->cmd;

	if (!s->mid_response && !net_conn_full(s->conn)) {
		imap_out_str(s, "* OK [INPROGRESS (\"");
		imap_out_span(s, c->tag);
		if (c->total == 0)
			imap_outf(s, "\" NIL NIL)] %s goes on\r\n", c->name);
		else
			imap_outf(s, "\" %" PRIu64 " %" PRIu64 ")] %s goes on\r\n",
			    c->done < c->total ? c->done : c->total - 1, c->total, c->name);
		imap_out_flush(s);
	}
	net_conn_alarm(s->conn, (unsigned)s->server->conf->imap_progress_ms);
}
