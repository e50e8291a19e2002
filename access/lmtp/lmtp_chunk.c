/*
 * lmtp_chunk.c - BDAT, the message in counted pieces (RFC 3030 2)
 *
 *   WAIT_COMMAND -> WAIT_CHUNK     BDAT
 *   WAIT_CHUNK   -> WAIT_COMMAND   the piece is here: one reply
 *   WAIT_CHUNK   -> WAIT_COMMIT    the last one: lmtp_deliver_end, a reply for each recipient
 *
 * What must stay true: as many bytes as BDAT said are taken as message, never as commands, also where the
 * command is refused; a BDAT whose number cannot be read ends the connection, because what follows it would be read
 * as commands. Any byte goes through: no dots, no lines.
 */
#include "lmtp.h"

#include "lineproto.h"
#include "net.h"

/* The piece is here. */
static void
chunk_done(struct lmtp_session *s)
{
	bool refused = s->chunk_refused;

	s->chunk_refused = false;
	s->wait = LMTP_WAIT_COMMAND;
	if (refused)
		lmtp_reply(s, "503 5.5.1", "%s", lmtp_wrong_state(s));
	else if (s->chunk_last)
		lmtp_deliver_end(s);
	else if (s->data_rc != 0) /* said again until LAST, or RSET */
		net_conn_printf(s->conn, "%s\r\n", lmtp_reply_text(s->data_rc, false));
	else
		lmtp_reply(s, "250 2.0.0", "%llu bytes so far", (unsigned long long)s->received);
}

void
lmtp_cmd_bdat(struct lmtp_session *s, struct shelf_span args)
{
	struct shelf_span size = lineproto_word(&args), last = lineproto_word(&args);

	if (!shelf_span_u64(size, UINT64_MAX, &s->chunk_left) || lineproto_word(&args).len > 0 ||
	    (last.len > 0 && !shelf_span_is(last, "LAST"))) {
		lmtp_reply_closing(s, "501 5.5.4", "BDAT takes a number of bytes and LAST");
		return;
	}
	s->chunk_last = last.len > 0;
	s->chunk_refused = (s->state & (LMTP_RCPT | LMTP_CHUNKS)) == 0;
	if (s->state == LMTP_RCPT) {
		lmtp_deliver_open(s);
		s->state = LMTP_CHUNKS;
	}
	s->wait = LMTP_WAIT_CHUNK;
	if (s->chunk_left == 0)
		chunk_done(s);
}

bool
lmtp_chunk_input(struct lmtp_session *s)
{
	struct shelf_span in = net_conn_in(s->conn);

	if (in.len == 0)
		return false;
	if (in.len > s->chunk_left)
		in.len = (size_t)s->chunk_left;
	if (!s->chunk_refused)
		lmtp_deliver_take(s, in.data, in.len);
	s->chunk_left -= in.len;
	net_conn_consume(s->conn, in.len);
	if (s->chunk_left == 0)
		chunk_done(s);
	return true;
}
