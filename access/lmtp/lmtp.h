/*
 * lmtp.h - what the files of the LMTP door share
 *
 * Shape     A session reads one line at a time, finds its row in lmtp_commands.def and calls the
 *           row's function, which replies. After DATA the input goes through lmtp_data.c into a
 *           draft as it comes; at its end the draft is delivered on a worker, and each recipient
 *           gets its own reply.
 * Promise   250 is written only when the recipient's copy is on disk (RFC 2033 4.2, RFC 5321 6.1).
 *           What is stored is what came, byte for byte, dot-stuffing undone, behind the fields of
 *           lmtp_fields.c.
 * Threads   Everything runs on the connection's loop, except the delivery.
 * Sources   RFC 2033, 5321; RFC 1870 (SIZE), 1652 (8BITMIME), 2034 (codes), 2920 (pipelining), 3030
 *           (BDAT), 3207 (STARTTLS), 3461 (DSN), 6531 (SMTPUTF8).
 */
#ifndef ACCESS_LMTP_H
#define ACCESS_LMTP_H

#include <mailshelf/account.h>
#include <mailshelf/message.h>

#include "route.h"

struct conf;
struct lineproto;
struct net_conn;
struct net_protocol;

enum {
	LMTP_LINE_MAX_BYTES = 8192,   /* RFC 5321 4.5.3.1.4: 512 and the extensions' share */
	LMTP_LOCAL_MAX_BYTES = 254,   /* RFC 5321 4.5.3.1.1 asks for 64; VERP senders are longer */
	LMTP_DOMAIN_MAX_BYTES = 255,  /* RFC 5321 4.5.3.1.2 */
	LMTP_PATH_TEXT_MAX_BYTES = 2 * LMTP_LOCAL_MAX_BYTES + LMTP_DOMAIN_MAX_BYTES + 8,
	LMTP_PAUSE_S = 10,            /* lmtp_data_may_end() */
};

/* ---- Addresses (lmtp_path.c) ----------------------------------------------------------------- */

/* A Path of RFC 5321 4.1.2, taken apart. Source routes are passed over (appendix C). */
struct lmtp_path {
	bool null;    /* <> */
	bool has_domain; /* false: <postmaster>, or another name alone */
	bool utf8;    /* has bytes beyond ASCII (they are valid UTF-8) */
	size_t local_len, domain_len;
	uint8_t local[LMTP_LOCAL_MAX_BYTES];   /* quotes undone; may be empty ("") */
	uint8_t domain[LMTP_DOMAIN_MAX_BYTES]; /* as written; literals with brackets */
};

/* The path at the start of *REST, which is moved behind its ">". False: not a path, nothing is
 * moved. */
bool lmtp_path_parse(struct shelf_span *rest, struct lmtp_path *out);
/* The path with its brackets, the local part quoted where it must be; parses to the same again. */
void lmtp_path_print(const struct lmtp_path *path, struct shelf_buf *out);

/* ---- The message (lmtp_data.c) --------------------------------------------------------------- */

enum lmtp_data_state {
	LMTP_DATA_LINE, /* at the start and after CRLF: a dot is special */
	LMTP_DATA_TEXT,
	LMTP_DATA_CR,
	LMTP_DATA_CRCR,
	LMTP_DATA_DOT,         /* CRLF . */
	LMTP_DATA_DOT_CR,      /* CRLF . CR */
	LMTP_DATA_WEAK,        /* CR CR LF */
	LMTP_DATA_WEAK_DOT,    /* CR CR LF . */
	LMTP_DATA_WEAK_DOT_CR,
	LMTP_DATA_WEAK_END,    /* CR CR LF . CR LF */
	LMTP_DATA_END,
};
struct lmtp_data {
	enum lmtp_data_state state; /* {0} is the beginning of a message */
};
typedef void lmtp_sink_fn(void *arg, const void *data, size_t len);

/*
 * lmtp_data_feed(data, in, sink, arg)
 *   Gives the message's bytes to SINK, dots undone. Ends at CRLF.CRLF and at nothing else (threats:
 *   smuggling); data->state is LMTP_DATA_END then.
 *   returns  how many bytes of IN were taken; what is behind the end is not
 */
size_t lmtp_data_feed(struct lmtp_data *data, struct shelf_span in, lmtp_sink_fn *sink, void *arg);
/* All so far ends with CR CR LF . CR LF: the end of a message whose last byte was a CR, or a
 * smuggler's look-alike. The end when nothing follows for LMTP_PAUSE_S, and then the
 * connection's end, too. */
bool lmtp_data_may_end(const struct lmtp_data *data);

/* ---- Server and session ---------------------------------------------------------------------- */

struct lmtp_room;
struct lmtp_server {
	struct shelf_store *store;
	const struct conf *conf;
	struct lmtp_room *room;
};
extern const struct net_protocol lmtp_protocol;
struct lmtp_server *lmtp_server_new(struct shelf_store *store, const struct conf *conf);
void lmtp_server_free(struct lmtp_server **server);
struct metrics_text;
void lmtp_metrics(struct metrics_text *t);

enum lmtp_state { /* bits: what has been said */
	LMTP_NEW = 1,  /* no LHLO yet */
	LMTP_IDLE = 2, /* no MAIL */
	LMTP_MAIL = 4, /* MAIL, but no recipient was accepted */
	LMTP_RCPT = 8,
	LMTP_CHUNKS = 16, /* BDAT, the last one is still to come */
	LMTP_ANY = 31,
};

enum lmtp_wait {
	LMTP_WAIT_COMMAND,
	LMTP_WAIT_DATA,
	LMTP_WAIT_CHUNK,
	LMTP_WAIT_TLS,
	LMTP_WAIT_COMMIT,
};

struct lmtp_account {
	struct route_to to;
	struct route_rules rules;
	int refused;     /* at RCPT, while others behind the same address have room; 0: not so */
	bool keeps;      /* KEPT bytes, in lmtp_room.c */
	uint64_t kept;
};
struct lmtp_rcpt {
	char *address; /* as RCPT gave it, with brackets; owned */
	struct lmtp_account *list; /* behind it, N of them, one or more; owned */
	size_t n;
};

struct lmtp_session {
	struct lmtp_server *server;
	struct net_conn *conn;
	enum lmtp_state state;
	enum lmtp_wait wait;
	bool running;          /* inside lmtp_session_go() */
	struct lineproto *lines;
	unsigned bad_in_a_row; /* replies 50x and 555 */
	char client[LMTP_DOMAIN_MAX_BYTES + 1]; /* what LHLO said, "" when it is too long */
	uint64_t messages;     /* begun on this connection */

	/* The transaction; lmtp_session_forget() clears it. */
	struct lmtp_path sender;
	uint64_t size;         /* SIZE=, 0 when not given */
	bool smtputf8;
	bool binary;           /* BODY=BINARYMIME: no DATA */
	struct lmtp_rcpt *rcpts;
	size_t nrcpts, rcpts_cap;
	size_t naccounts;      /* behind all of them */
	struct lmtp_data data;
	struct shelf_draft *draft; /* NULL when there is a data_rc */
	uint64_t received;     /* bytes of the message so far */
	uint64_t chunk_left;   /* of the BDAT under way */
	bool chunk_last, chunk_refused;
	int data_rc;           /* why the message is read but not kept; 0: it is kept */
	bool close_after;      /* ended by a pause: lmtp_data_may_end() */
};

/* Goes on with whatever can be done now. Call it after anything that the session waited for has
 * ended. */
void lmtp_session_go(struct lmtp_session *s);
/* Sender, recipients, draft: gone. IDLE again, when there was a LHLO. */
void lmtp_session_forget(struct lmtp_session *s);
const char *lmtp_session_hostname(const struct lmtp_session *s);

/* ---- Commands -------------------------------------------------------------------------------- */

typedef void lmtp_command_fn(struct lmtp_session *s, struct shelf_span args);

#define LMTP_COMMAND(name, fn, states, source) lmtp_command_fn lmtp_cmd_##fn;
#include "lmtp_commands.def"
#undef LMTP_COMMAND

/* What is wrong with a command in this state. */
const char *lmtp_wrong_state(const struct lmtp_session *s);

struct lmtp_params { /* what was given */
	bool has_size, has_body, has_utf8, has_ret, has_envid; /* of MAIL */
	bool has_notify, has_orcpt; /* of RCPT */
	bool binary;                /* BODY=BINARYMIME */
	uint64_t size;
};
/* What is behind the path. True, or a reply. */
bool lmtp_params_mail(struct lmtp_session *s, struct shelf_span args, struct lmtp_params *out);
bool lmtp_params_rcpt(struct lmtp_session *s, struct shelf_span args, struct lmtp_params *out);

/* ---- Receiving and delivering (lmtp_deliver.c) ----------------------------------------------- */

/* DATA: the draft and 354. */
void lmtp_deliver_begin(struct lmtp_session *s);
/* The draft; when there is none, data_rc says why. */
void lmtp_deliver_open(struct lmtp_session *s);
/* Message bytes. */
void lmtp_deliver_take(struct lmtp_session *s, const void *data, size_t len);
/* Takes message bytes from the input; true when some were there and more may be taken at once. */
bool lmtp_deliver_input(struct lmtp_session *s);
/* The same of a BDAT. */
bool lmtp_chunk_input(struct lmtp_session *s);
/* The message is complete: delivers it, replies for each recipient, forgets the transaction. */
void lmtp_deliver_end(struct lmtp_session *s);

/* ---- Room (lmtp_room.c) ------------------------------------------------------------------------ */

struct lmtp_room *lmtp_room_new(void);
void lmtp_room_free(struct lmtp_room **room);
/* Fills A from its policies and keeps room for the message that MAIL announced. SHELF_EQUOTA, SHELF_EFULL; nothing is
 * kept then. Given back before the session's end. */
SHELF_CHECK int lmtp_room_take(struct lmtp_session *s, struct lmtp_account *a);
void lmtp_room_give(struct lmtp_session *s, const struct lmtp_account *a);

/* ---- What stands in front of the message (lmtp_fields.c) --------------------------------------- */

/* What is the same for all recipients. */
void lmtp_fields_add(const struct lmtp_session *s, struct shelf_buf *b);
/* What stands in front of that for RCPT, of several; NULL: the same without his address. */
void lmtp_fields_add_head(const struct lmtp_session *s, const struct lmtp_rcpt *rcpt, struct shelf_buf *b);

/* ---- Replies (lmtp_reply.c) ------------------------------------------------------------------ */

/* STATUS: "250 2.0.0". 50x and 555 count towards bad_commands_max; the connection is closed
 * there. */
void lmtp_reply(struct lmtp_session *s, const char *status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* 421 and the end. */
void lmtp_reply_closing(struct lmtp_session *s, const char *status, const char *reason);
/* What became of one recipient: status and text. DEFER: of a full box, for now. */
const char *lmtp_reply_text(int rc, bool defer);

/* lmtp_metrics.c: what is counted; REPLY: a line of lmtp_reply_text(). Any thread. */
void lmtp_metrics_rcpt(const char *reply);
void lmtp_metrics_delivery(const char *reply);
void lmtp_metrics_message(uint64_t received_bytes);

#endif
