/*
 * lmtp_data.c - the end of a message found, dot-stuffing undone (RFC 5321 4.5.2)
 *
 *   LINE  '.' -> DOT   CR -> DOT_CR   LF -> END
 *   WEAK  '.' -> WEAK_DOT   CR -> WEAK_DOT_CR   LF -> WEAK_END
 *
 * What must stay true: the result is the same for every cut of the input; only CRLF.CRLF is an end.
 * CR CR LF is where peers disagree about whether a line ends. Behind it a doubled dot is halved (a
 * peer for whom the line ended has doubled it) but a single dot is text, with its CRLF.
 */
#include "lmtp.h"

/* Bytes held back in a state, and given out when the state turns out to be text. */
static const char *
held_back(enum lmtp_data_state state)
{
	switch (state) {
	case LMTP_DATA_DOT_CR:
		return "\r"; /* the dot before it was stuffing */
	case LMTP_DATA_WEAK_DOT:
		return ".";
	case LMTP_DATA_WEAK_DOT_CR:
		return ".\r";
	case LMTP_DATA_WEAK_END:
		return ".\r\n";
	case LMTP_DATA_LINE:
	case LMTP_DATA_TEXT:
	case LMTP_DATA_CR:
	case LMTP_DATA_CRCR:
	case LMTP_DATA_DOT:
	case LMTP_DATA_WEAK:
	case LMTP_DATA_END:
		break;
	}
	return "";
}

/* The state that the bytes held back lead to when they are text. */
static enum lmtp_data_state
as_text(enum lmtp_data_state state)
{
	if (state == LMTP_DATA_DOT_CR || state == LMTP_DATA_WEAK_DOT_CR)
		return LMTP_DATA_CR;
	if (state == LMTP_DATA_WEAK_END)
		return LMTP_DATA_LINE;
	return LMTP_DATA_TEXT;
}

/* The state after C, a byte that is given out. */
static enum lmtp_data_state
after(enum lmtp_data_state state, uint8_t c)
{
	bool cr = state == LMTP_DATA_CR || state == LMTP_DATA_CRCR;

	if (c == '\r')
		return cr ? LMTP_DATA_CRCR : LMTP_DATA_CR;
	if (c == '\n' && cr)
		return state == LMTP_DATA_CR ? LMTP_DATA_LINE : LMTP_DATA_WEAK;
	return LMTP_DATA_TEXT;
}

/* The state when C is held back, or the same when it is not. */
static enum lmtp_data_state
held(enum lmtp_data_state state, uint8_t c)
{
	switch (state) {
	case LMTP_DATA_LINE:
		return c == '.' ? LMTP_DATA_DOT : state;
	case LMTP_DATA_DOT:
		return c == '\r' ? LMTP_DATA_DOT_CR : state;
	case LMTP_DATA_DOT_CR:
		return c == '\n' ? LMTP_DATA_END : state;
	case LMTP_DATA_WEAK:
		return c == '.' ? LMTP_DATA_WEAK_DOT : state;
	case LMTP_DATA_WEAK_DOT:
		return c == '\r' ? LMTP_DATA_WEAK_DOT_CR : state;
	case LMTP_DATA_WEAK_DOT_CR:
		return c == '\n' ? LMTP_DATA_WEAK_END : state;
	case LMTP_DATA_TEXT:
	case LMTP_DATA_CR:
	case LMTP_DATA_CRCR:
	case LMTP_DATA_WEAK_END:
	case LMTP_DATA_END:
		break;
	}
	return state;
}

static void
give(lmtp_sink_fn *sink, void *arg, const void *data, size_t len)
{
	if (len > 0)
		sink(arg, data, len);
}

size_t
lmtp_data_feed(struct lmtp_data *data, struct shelf_span in, lmtp_sink_fn *sink, void *arg)
{
	size_t from = 0, pos = 0; /* in[from..pos) is to be given out */

	while (pos < in.len && data->state != LMTP_DATA_END) {
		enum lmtp_data_state next;

		if (data->state == LMTP_DATA_TEXT) {
			ptrdiff_t cr = shelf_span_find(in, '\r', pos);

			pos = cr < 0 ? in.len : (size_t)cr;
			if (cr < 0)
				break;
		}
		next = held(data->state, in.data[pos]);
		if (next != data->state) {
			give(sink, arg, in.data + from, pos - from);
			from = ++pos;
			data->state = next;
			continue;
		}
		if (*held_back(data->state) != '\0') {
			const char *bytes = held_back(data->state);

			/* A doubled dot after CR CR LF: the second one stands for both. */
			if (data->state != LMTP_DATA_WEAK_DOT || in.data[pos] != '.')
				give(sink, arg, bytes, strlen(bytes));
			data->state = as_text(data->state);
			if (data->state == LMTP_DATA_LINE)
				continue; /* the byte may be a dot to hold back */
		}
		data->state = after(data->state, in.data[pos++]);
	}
	give(sink, arg, in.data + from, pos - from);
	return pos;
}

bool
lmtp_data_may_end(const struct lmtp_data *data)
{
	return data->state == LMTP_DATA_WEAK_END;
}
