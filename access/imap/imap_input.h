/*
 * imap_input.h - lines and literals out of the connection's bytes
 *
 * Shape     imap_input_next() moves bytes from the connection into the text until a line has ended.
 *           The line may end with a literal announcement; the caller then decides: gather the
 *           octets into the text, stream them, or refuse and discard them. Octets of a literal are
 *           never taken for commands, whatever was wrong with the command (RFC 7888 4).
 * Lifetime  The text lives until imap_input_restart().
 */
#ifndef ACCESS_IMAP_INPUT_H
#define ACCESS_IMAP_INPUT_H

#include "imap.h"

enum imap_got {
	IMAP_GOT_NOTHING,  /* more bytes are needed */
	IMAP_GOT_LINE,     /* the text is complete, its last line end removed */
	IMAP_GOT_LITERAL,  /* the text ends with "{n}" CRLF; literal_* describe it */
	IMAP_GOT_TOO_LONG, /* lines of more than line_max; the rest is still to be discarded */
	IMAP_GOT_UNKNOWABLE, /* a literal whose end cannot be known: the connection must end */
};

/* Where the next byte belongs: a line, a literal kept in the text, a literal the caller takes. */
enum imap_input_mode { IMAP_INPUT_LINE, IMAP_INPUT_GATHER, IMAP_INPUT_STREAM };

struct imap_input {
	struct shelf_buf text;
	size_t line_start;       /* of the last line in text */
	size_t line_bytes;       /* lines in text, without literals */
	size_t line_max;
	uint64_t literal_len;    /* of the last announcement */
	bool literal_sync;       /* the client waits for "+" */
	bool announced;          /* GOT_LITERAL, and nothing decided yet */
	size_t literal_at;       /* for who goes on parsing there when it has been gathered */
	uint64_t literals_bytes; /* gathered since the restart */
	uint64_t left;           /* octets still to come in GATHER and STREAM */
	enum imap_input_mode mode;
	bool discarding;
	bool nul;                /* a line held NUL */
};

struct imap_input *imap_input_new(void);
void imap_input_free(struct imap_input **in);
/* Forgets the text; the next line is the first of something new. */
void imap_input_restart(struct imap_input *in, size_t line_max);
enum imap_got imap_input_next(struct imap_input *in, struct net_conn *conn);
/* After IMAP_GOT_LITERAL. The caller has sent "+" when it had to. */
void imap_input_gather(struct imap_input *in);
void imap_input_stream(struct imap_input *in);
/* In STREAM: what of the literal is there, in place; consume with imap_input_took(). */
struct shelf_span imap_input_octets(struct imap_input *in, struct net_conn *conn);
void imap_input_took(struct imap_input *in, struct net_conn *conn, size_t len);
/*
 * Reads over the rest of the command: octets of announced literals, lines behind them. The text
 * holds nothing useful afterwards. Begin it after GOT_LITERAL or GOT_TOO_LONG, or in STREAM.
 *   returns  GOT_LINE when done (at once if the client waits for "+"), GOT_NOTHING: more bytes are
 *            needed, GOT_UNKNOWABLE
 */
void imap_input_discard_begin(struct imap_input *in);
enum imap_got imap_input_discard(struct imap_input *in, struct net_conn *conn);

#endif
