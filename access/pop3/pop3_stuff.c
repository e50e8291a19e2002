/*
 * pop3_stuff.c - the bytes of a message as a multi-line reply; where TOP ends
 *
 * What must stay true: the output is the same for every cut of the input, and taking the added dots
 * away again gives the input. Bare CRs and LFs are sent as they are and begin no line.
 */
#include "pop3.h"

/* What the bytes so far, LEN of them at DATA and stuff->at before them, leave the next byte in. */
static void
note_end(struct pop3_stuff *stuff, const uint8_t *data, size_t len)
{
	bool cr_before;

	if (len == 0)
		return;
	cr_before = len > 1 ? data[len - 2] == '\r' : stuff->at == POP3_AT_CR;
	if (data[len - 1] == '\r')
		stuff->at = POP3_AT_CR;
	else
		stuff->at = data[len - 1] == '\n' && cr_before ? POP3_AT_LINE : POP3_AT_TEXT;
}

void
pop3_stuff_feed(struct pop3_stuff *stuff, struct shelf_span in, pop3_sink_fn *sink, void *arg)
{
	size_t sent = 0, pos = 0;

	if (in.len == 0)
		return;
	if (stuff->at == POP3_AT_LINE && in.data[0] == '.')
		sink(arg, ".", 1);
	/* LF and dot side by side are rare: nearly all messages go through in one piece. */
	while (pos < in.len) {
		const uint8_t *lf = memmem(in.data + pos, in.len - pos, "\n.", 2);

		if (lf == NULL)
			break;
		pos = (size_t)(lf - in.data) + 1;
		if (lf > in.data ? lf[-1] == '\r' : stuff->at == POP3_AT_CR) {
			sink(arg, in.data + sent, pos - sent);
			sink(arg, ".", 1);
			sent = pos;
		}
	}
	sink(arg, in.data + sent, in.len - sent);
	note_end(stuff, in.data, in.len);
}

void
pop3_stuff_end(struct pop3_stuff *stuff, pop3_sink_fn *sink, void *arg)
{
	if (stuff->at != POP3_AT_LINE)
		sink(arg, "\r\n", 2);
	sink(arg, ".\r\n", 3);
}

/* The line that has just ended: was it the last one? */
static void
count_line(struct pop3_top *top)
{
	if (top->in_body)
		top->lines--;
	else
		top->in_body = top->line != POP3_TOP_TEXT;
	top->done = top->in_body && top->lines == 0;
	top->line = POP3_TOP_EMPTY;
}

size_t
pop3_top_feed(struct pop3_top *top, struct shelf_span in)
{
	size_t pos = 0;

	while (pos < in.len && !top->done) {
		ptrdiff_t lf = shelf_span_find(in, '\n', pos);
		size_t len = (lf < 0 ? in.len : (size_t)lf) - pos;

		if (len == 1 && in.data[pos] == '\r' && top->line == POP3_TOP_EMPTY)
			top->line = POP3_TOP_CR;
		else if (len > 0)
			top->line = POP3_TOP_TEXT;
		pos += len;
		if (lf < 0)
			break;
		pos++;
		count_line(top);
	}
	return pos;
}
