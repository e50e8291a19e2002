/*
 * lineproto.c - command lines of POP3 and LMTP, cut from a connection's input
 *
 * What must stay true: lines->line never holds more than the limit of the call plus a CR, and no
 * byte behind the LF of the current line is consumed.
 */
#include "lineproto.h"

#include "net.h"

/* A buffer that had to grow for one long line is not kept for the short ones after it. */
enum { KEEP_MAX_BYTES = 4096 };

static void
drop_returned(struct lineproto *lines)
{
	if (!lines->returned)
		return;
	lines->returned = false;
	if (lines->line.cap > KEEP_MAX_BYTES)
		lineproto_reset(lines);
	else
		shelf_buf_clear(&lines->line);
}

/* Judges the line gathered, whose LF has come. */
static enum lineproto_got
whole_line(struct lineproto *lines, size_t max, struct shelf_span *line_out)
{
	struct shelf_span line = shelf_buf_span(&lines->line);

	lines->returned = true;
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	if (line.len > max)
		return LINEPROTO_TOO_LONG;
	if (shelf_span_find(line, '\0', 0) >= 0 || shelf_span_find(line, '\r', 0) >= 0)
		return LINEPROTO_BAD;
	*line_out = line;
	return LINEPROTO_LINE;
}

enum lineproto_got
lineproto_feed(struct lineproto *lines, struct shelf_span in, size_t max, size_t *used,
    struct shelf_span *line_out)
{
	ptrdiff_t end;
	size_t len;

	*used = 0;
	drop_returned(lines);
	if (lines->skipping) {
		end = shelf_span_find(in, '\n', 0);
		*used = end < 0 ? in.len : (size_t)end + 1;
		lines->skipping = end < 0;
	}
	if (*used == in.len)
		return LINEPROTO_MORE;
	end = shelf_span_find(in, '\n', *used);
	len = (end < 0 ? in.len : (size_t)end) - *used;
	/* One byte beyond the limit may still be the CR of the line's end. */
	if (lines->line.len + len > max + 1) {
		lineproto_reset(lines);
		lines->skipping = end < 0;
		*used += end < 0 ? len : len + 1;
		return LINEPROTO_TOO_LONG;
	}
	shelf_buf_add(&lines->line, in.data + *used, len);
	*used += end < 0 ? len : len + 1;
	return end < 0 ? LINEPROTO_MORE : whole_line(lines, max, line_out);
}

enum lineproto_got
lineproto_next(struct lineproto *lines, struct net_conn *conn, size_t max,
    struct shelf_span *line_out)
{
	struct shelf_span in = net_conn_in(conn);
	enum lineproto_got got;
	size_t used = 0;

	got = lineproto_feed(lines, in, max, &used, line_out);
	if (used > 0)
		net_conn_consume(conn, used);
	return got;
}

void
lineproto_reset(struct lineproto *lines)
{
	if (lines->line.data != NULL)
		explicit_bzero(lines->line.data, lines->line.cap);
	shelf_buf_free(&lines->line);
	*lines = (struct lineproto){0};
}

struct shelf_span
lineproto_word(struct shelf_span *rest)
{
	struct shelf_span word;
	ptrdiff_t end;

	while (rest->len > 0 && rest->data[0] == ' ') {
		rest->data++;
		rest->len--;
	}
	end = shelf_span_find(*rest, ' ', 0);
	word = shelf_span(rest->data, end < 0 ? rest->len : (size_t)end);
	rest->data += word.len;
	rest->len -= word.len;
	if (rest->len > 0) {
		rest->data++;
		rest->len--;
	}
	return word;
}
