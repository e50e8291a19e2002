/*
 * lineproto.h - command lines of POP3 and LMTP, cut from a connection's input
 *
 * Shape     Bytes are taken out of the connection's input into a buffer of our own as they come,
 *           never beyond the end of the current line: what is behind a command stays in the
 *           connection, where net_conn_starttls() can see it. A line ends with LF; one CR before it
 *           belongs to the end.
 * Errors    A line longer than the caller's limit is reported once, when the limit is passed, and
 *           skipped to its end. A line with a NUL or with a CR inside is reported instead of
 *           returned.
 * Lifetime  A line lives until the next call.
 * Cost      Every byte is looked at once, however the input is cut.
 */
#ifndef ACCESS_LINEPROTO_H
#define ACCESS_LINEPROTO_H

#include <mailshelf/buf.h>

struct net_conn;

struct lineproto {
	struct shelf_buf line; /* of the line being received, or the one returned last */
	bool returned;         /* line was handed out: it is dropped at the next call */
	bool skipping;         /* an overlong line was reported; its rest is dropped */
};

enum lineproto_got {
	LINEPROTO_MORE,     /* no whole line yet */
	LINEPROTO_LINE,
	LINEPROTO_TOO_LONG,
	LINEPROTO_BAD,      /* NUL or bare CR in the line */
};

/* The next line (without its end) of CONN's input. */
enum lineproto_got lineproto_next(struct lineproto *lines, struct net_conn *conn, size_t max,
    struct shelf_span *line_out);
/* The same of any bytes: *USED says how many of IN were taken. */
enum lineproto_got lineproto_feed(struct lineproto *lines, struct shelf_span in, size_t max,
    size_t *used, struct shelf_span *line_out);
/* Forgets a half line, wipes what is held (passwords), gives the memory back. */
void lineproto_reset(struct lineproto *lines);

/* The first word of *REST, which is moved behind it and one blank; empty at the end. Blanks
 * before the word are passed over. */
struct shelf_span lineproto_word(struct shelf_span *rest);

#endif
