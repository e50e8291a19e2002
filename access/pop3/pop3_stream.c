/*
 * pop3_stream.c - long replies, a piece at a time
 *
 *   NONE -> LIST, UIDL   pop3_stream_list
 *   NONE -> VERIFY       pop3_stream_message
 *   VERIFY -> BODY       all that will be sent has been read once: +OK
 *   VERIFY -> NONE       damage: -ERR
 *   any  -> NONE         pop3_stream_end, at the end or when the session closes
 *
 * Reading a message twice costs some hundred microseconds a frame of 256 KiB; a client that gets an error instead of
 * a broken connection goes on with the next message. One that fits a frame is decompressed once.
 *
 * What must stay true: no snapshot lives between two steps; a reply that cannot be completed is
 * never ended with a dot, the connection is closed instead: the client must not take a part for the
 * whole.
 */
#include "pop3.h"

#include <stdio.h>

#include <mailshelf/log.h>

#include "conf.h"
#include "net.h"

enum { STEP_MAX_BYTES = 32 * 1024, STEP_MAX_ROWS = 1024 };

static void
sink(void *arg, const void *data, size_t len)
{
	struct pop3_session *s = arg;

	if (len > 0)
		net_conn_write(s->conn, data, len);
}

void
pop3_stream_end(struct pop3_session *s)
{
	shelf_body_close(&s->stream.body);
	s->stream = (struct pop3_stream){.kind = POP3_STREAM_NONE};
}

static void
break_off(struct pop3_session *s, int rc)
{
	shelf_log(SHELF_LOG_ERROR, "pop3 reply broken off", "account", "%s", s->account_name,
	    "error", "%s", shelf_err_name(rc), NULL);
	pop3_stream_end(s);
	net_conn_close(s->conn, "reply could not be completed");
}

/* ---- LIST and UIDL --------------------------------------------------------------------------- */

void
pop3_stream_list(struct pop3_session *s, enum pop3_stream_kind kind)
{
	s->stream = (struct pop3_stream){.kind = kind, .seq = 1};
}

static void
list_rows(struct pop3_session *s, struct shelf_rd *rd, struct shelf_buf *out, int *rc)
{
	struct pop3_stream *st = &s->stream;
	uint32_t count = pop3_drop_count(&s->drop);
	struct pop3_walk walk = {.rd = rd, .mailbox = s->drop.mailbox};
	struct pop3_uidls uidls = {.rd = rd};
	uint32_t uid = pop3_drop_uid(&s->drop, st->seq);

	for (unsigned rows = 0; rows < STEP_MAX_ROWS && st->seq <= count;
	    rows++, uid = pop3_drop_next(&s->drop, st->seq++, uid)) {
		struct shelf_msg m;

		if (shelf_uidset_has(s->deleted, uid))
			continue;
		if (st->kind == POP3_STREAM_UIDL) {
			if ((*rc = pop3_uidl(&uidls, &s->drop, uid)) != 0)
				return;
			shelf_buf_printf(out, "%u %s\r\n", st->seq, uidls.of);
			continue;
		}
		*rc = pop3_walk_to(&walk, uid, &m);
		if (*rc == SHELF_ENOMESSAGE)
			continue; /* gone for good: as if it were marked */
		if (*rc != 0)
			return;
		shelf_buf_printf(out, "%u %llu\r\n", st->seq, (unsigned long long)m.size);
	}
	*rc = 0;
}

static void
step_list(struct pop3_session *s)
{
	struct pop3_stream *st = &s->stream;
	struct shelf_buf out = {0};
	struct shelf_rd *rd = NULL;
	int rc = 0;

	rc = shelf_rd_begin(s->server->store, s->account, &rd);
	if (rc == 0)
		list_rows(s, rd, &out, &rc);
	shelf_rd_end(&rd);
	sink(s, out.data, out.len);
	shelf_buf_free(&out);
	if (rc != 0) {
		break_off(s, rc);
	} else if (st->seq > pop3_drop_count(&s->drop)) {
		sink(s, ".\r\n", 3);
		pop3_stream_end(s);
	}
}

/* ---- RETR and TOP ---------------------------------------------------------------------------- */

static void
fail(struct pop3_session *s, int rc)
{
	pop3_stream_end(s);
	pop3_fail(s, rc, "The message cannot be read");
}

void
pop3_stream_message(struct pop3_session *s, const struct shelf_msg *m, const struct pop3_top *top)
{
	struct pop3_stream *st = &s->stream;
	int rc;

	*st = (struct pop3_stream){.kind = POP3_STREAM_VERIFY, .uid = m->uid, .whole = top == NULL};
	st->header.done = s->utf8 || !s->server->conf->pop3_utf8_refuse;
	if (top != NULL)
		st->top = st->ahead = *top;
	if ((rc = shelf_body_open(s->server->store, s->account, m->blob, &st->body)) != 0)
		fail(s, rc);
}

static void
look_at_header(struct pop3_stream *st, struct shelf_span frame)
{
	size_t len = pop3_top_feed(&st->header, frame);

	for (size_t i = 0; i < len; i++)
		st->utf8 = st->utf8 || frame.data[i] >= 0x80;
}

/* One frame. */
static void
step_verify(struct pop3_session *s)
{
	struct pop3_stream *st = &s->stream;
	struct shelf_span frame;
	int rc = shelf_body_read(st->body, st->offset, SIZE_MAX, &frame);

	if (rc != 0) {
		fail(s, rc);
		return;
	}
	st->offset += frame.len;
	if (!st->whole && frame.len > 0)
		pop3_top_feed(&st->ahead, frame);
	if (!st->header.done && frame.len > 0)
		look_at_header(st, frame);
	if (st->utf8) {
		pop3_stream_end(s);
		pop3_err(s, "[UTF8] The message has UTF-8 in its header");
		return;
	}
	if (st->offset < shelf_body_size(st->body) && !st->ahead.done)
		return;
	if (st->whole)
		pop3_ok(s, "%llu octets", (unsigned long long)shelf_body_size(st->body));
	else
		pop3_ok(s, "Top of the message follows");
	st->offset = 0;
	st->kind = POP3_STREAM_BODY;
}

static void
step_body(struct pop3_session *s)
{
	struct pop3_stream *st = &s->stream;
	struct shelf_span piece;
	int rc;

	rc = shelf_body_read(st->body, st->offset, STEP_MAX_BYTES, &piece);
	if (rc != 0) {
		break_off(s, rc);
		return;
	}
	if (piece.len > 0 && !st->top.done) {
		st->offset += piece.len;
		if (!st->whole)
			piece.len = pop3_top_feed(&st->top, piece);
		pop3_stuff_feed(&st->stuff, piece, sink, s);
	} else {
		pop3_stuff_end(&st->stuff, sink, s);
		if (st->whole)
			shelf_uidset_add(s->fetched, st->uid);
		pop3_stream_end(s);
		s->retrieved++;
	}
}

void
pop3_stream_step(struct pop3_session *s)
{
	switch (s->stream.kind) {
	case POP3_STREAM_LIST:
	case POP3_STREAM_UIDL:
		step_list(s);
		break;
	case POP3_STREAM_VERIFY:
		step_verify(s);
		break;
	case POP3_STREAM_BODY:
		step_body(s);
		break;
	case POP3_STREAM_NONE:
		break;
	}
}
