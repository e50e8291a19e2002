/*
 * imap_input.c - lines and literals out of the connection's bytes
 *
 *   LINE --line end--> GOT_LINE
 *    ^  |
 *    |  +--"{n}" and line end--> GOT_LITERAL: the caller decides
 *    |                              |gather()   |stream()   |discard_begin()
 *    +----octets all there------- GATHER      STREAM      either, octets and lines dropped
 *
 * What must stay true: outcome and limits do not depend on how the bytes were cut into packets, and
 * no more is held than line_max and the literals the caller has allowed. While discarding only the
 * tail of a line is kept, enough to see whether it announces one more literal.
 * Sources   RFC 9051 4.3, RFC 7888.
 */
#include <stdlib.h>

#include "imap_input.h"
#include "net.h"

enum { TAIL_BYTES = 64, TEXT_KEPT_BYTES = 4096 };

struct imap_input *
imap_input_new(void)
{
	return SHELF_NEW(struct imap_input);
}

void
imap_input_free(struct imap_input **in)
{
	if (*in == NULL)
		return;
	shelf_buf_free(&(*in)->text);
	free(*in);
	*in = NULL;
}

void
imap_input_restart(struct imap_input *in, size_t line_max)
{
	struct shelf_buf text = in->text;

	/* An idle session must not hold the memory of its largest command. */
	if (text.cap > TEXT_KEPT_BYTES)
		shelf_buf_free(&text);
	shelf_buf_clear(&text);
	*in = (struct imap_input){.text = text, .line_max = line_max};
}

/*
 * Does the line end with "{n}" or "{n+}"? A quoted string cannot hold a line end, so whatever
 * stands before, the client means a literal.
 *   returns  1, 0, or -1 when the number is beyond what can be counted
 */
static int
find_literal(struct imap_input *in, size_t end)
{
	const uint8_t *start = in->text.data + in->line_start, *at = in->text.data + end;
	const uint8_t *digits_end = NULL;
	bool sync = true;

	if (at == start || *--at != '}')
		return 0;
	if (at > start && at[-1] == '+') {
		sync = false;
		at--;
	}
	digits_end = at;
	while (at > start && at[-1] >= '0' && at[-1] <= '9')
		at--;
	if (at == start || at == digits_end || at[-1] != '{') {
		/* Digits that do not fit the tail kept while discarding cannot be counted. */
		return in->discarding && at == start && digits_end - at >= TAIL_BYTES / 2 ? -1 : 0;
	}
	in->literal_sync = sync;
	in->announced = true;
	if (shelf_span_u64(shelf_span(at, (size_t)(digits_end - at)), UINT32_MAX, &in->literal_len))
		return 1;
	in->literal_len = UINT64_MAX; /* when the client waits for "+" it can be refused */
	return sync ? 1 : -1;
}

static enum imap_got
line_ended(struct imap_input *in)
{
	size_t end = in->text.len - 1; /* the LF */

	if (end > in->line_start && in->text.data[end - 1] == '\r')
		end--;
	switch (find_literal(in, end)) {
	case 0:
		in->text.len = end;
		return IMAP_GOT_LINE;
	case 1:
		return IMAP_GOT_LITERAL;
	default:
		return IMAP_GOT_UNKNOWABLE;
	}
}

static void
keep_tail(struct imap_input *in)
{
	size_t cut = in->text.len > TAIL_BYTES ? in->text.len - TAIL_BYTES : 0;

	shelf_buf_consume(&in->text, cut);
	in->line_start = in->line_start > cut ? in->line_start - cut : 0;
}

/* Takes bytes up to the end of a line. */
static enum imap_got
take_line(struct imap_input *in, struct net_conn *conn)
{
	struct shelf_span got = net_conn_in(conn);
	const uint8_t *lf = got.len == 0 ? NULL : memchr(got.data, '\n', got.len);
	size_t len = lf == NULL ? got.len : (size_t)(lf - got.data) + 1;

	if (len == 0)
		return IMAP_GOT_NOTHING;
	if (!in->discarding && in->line_bytes + len > in->line_max) {
		/* Only so much that the outcome does not depend on packets. */
		len = in->line_max - in->line_bytes;
		shelf_buf_add(&in->text, got.data, len);
		in->line_bytes += len;
		net_conn_consume(conn, len);
		return IMAP_GOT_TOO_LONG;
	}
	if (memchr(got.data, 0, len) != NULL)
		in->nul = true;
	if (in->discarding && len > TAIL_BYTES)
		shelf_buf_add(&in->text, got.data + len - TAIL_BYTES, TAIL_BYTES);
	else
		shelf_buf_add(&in->text, got.data, len);
	if (in->discarding)
		keep_tail(in);
	in->line_bytes += len;
	net_conn_consume(conn, len);
	return lf == NULL ? IMAP_GOT_NOTHING : line_ended(in);
}

enum imap_got
imap_input_next(struct imap_input *in, struct net_conn *conn)
{
	struct shelf_span got = {0};

	if (in->mode == IMAP_INPUT_GATHER) {
		got = net_conn_in(conn);
		if (got.len > in->left)
			got.len = (size_t)in->left;
		if (!in->discarding)
			shelf_buf_add(&in->text, got.data, got.len);
		in->left -= got.len;
		net_conn_consume(conn, got.len);
		if (in->left > 0)
			return IMAP_GOT_NOTHING;
		in->mode = IMAP_INPUT_LINE;
		in->line_start = in->text.len;
	}
	return take_line(in, conn);
}

void
imap_input_gather(struct imap_input *in)
{
	in->mode = IMAP_INPUT_GATHER;
	in->announced = false;
	in->left = in->literal_len;
	in->literals_bytes += in->literal_len;
}

void
imap_input_stream(struct imap_input *in)
{
	in->mode = IMAP_INPUT_STREAM;
	in->announced = false;
	in->left = in->literal_len;
}

struct shelf_span
imap_input_octets(struct imap_input *in, struct net_conn *conn)
{
	struct shelf_span got = net_conn_in(conn);

	if (got.len > in->left)
		got.len = (size_t)in->left;
	return got;
}

void
imap_input_took(struct imap_input *in, struct net_conn *conn, size_t len)
{
	in->left -= len;
	net_conn_consume(conn, len);
}

void
imap_input_discard_begin(struct imap_input *in)
{
	in->discarding = true;
	if (in->announced)
		imap_input_gather(in);
	else if (in->mode == IMAP_INPUT_STREAM)
		in->mode = IMAP_INPUT_GATHER;
	keep_tail(in);
}

enum imap_got
imap_input_discard(struct imap_input *in, struct net_conn *conn)
{
	for (;;) {
		enum imap_got got = IMAP_GOT_NOTHING;

		/* The tail of one line must not look like a part of the next. */
		if (in->mode == IMAP_INPUT_GATHER)
			shelf_buf_clear(&in->text);
		got = imap_input_next(in, conn);
		if (got != IMAP_GOT_LITERAL)
			return got;
		if (in->literal_sync)
			return IMAP_GOT_LINE; /* it waits for "+" and gets the tagged reply */
		imap_input_gather(in);
	}
}
