/*
 * pop3.h - what the files of the POP3 door share
 *
 * Shape     A session reads one line at a time, finds its row in pop3_commands.def and calls the
 *           row's function, which writes its reply, or starts a stream (a long reply, written in
 *           slices) or work on another thread; until those end no further line is read.
 * Maildrop  The INBOX, or the mailbox of the policy, as it was at login (RFC 1939 4): numbers, unique-ids and
 *           sizes do not change while the session lives, whatever other sessions do. Nothing is written before
 *           QUIT; but what was fetched is noted when the connection ends otherwise, too.
 * Threads   Everything runs on the connection's loop, except opening the maildrop and the update at QUIT.
 * Lifetime  No snapshot of the store survives the return to the session's loop: a stream keeps a
 *           message number, or a body and an offset.
 * Sources   RFC 1939, 2449, 2595, 3206, 5034, 6856.
 */
#ifndef ACCESS_POP3_H
#define ACCESS_POP3_H

#include <mailshelf/account.h>
#include <mailshelf/message.h>
#include <mailshelf/policy.h>
#include <mailshelf/pop3.h>
#include <mailshelf/view.h>

struct auth;
struct conf;
struct lineproto;
struct net_conn;
struct net_protocol;
struct sasl;

enum {
	POP3_LINE_MAX_EARLY_BYTES = 8192, /* before login */
	POP3_WORDS_MAX = 2,
	POP3_TEXT = 255, /* "most" in pop3_commands.def: one argument, the rest of the line */
};

/* ---- Server and session ---------------------------------------------------------------------- */

struct pop3_delay;
struct pop3_expire;
struct pop3_server {
	struct pop3_delay *delay; /* NULL: none */
	struct pop3_expire *expire;
	struct shelf_store *store;
	const struct conf *conf;
	struct auth *auth;
};
extern const struct net_protocol pop3_protocol;
struct pop3_server *pop3_server_new(struct shelf_store *store, const struct conf *conf,
    struct auth *auth);
void pop3_server_free(struct pop3_server **server);
struct metrics_text;
void pop3_metrics(struct metrics_text *t);

enum pop3_state { /* bits, RFC 1939 3; UPDATE is POP3_WAIT_UPDATE */
	POP3_AUTHORIZATION = 1,
	POP3_TRANSACTION = 2,
	POP3_ANY = 3,
};

enum pop3_wait { /* for what the session waits before it reads a command */
	POP3_WAIT_COMMAND,
	POP3_WAIT_SASL,   /* the next line is a SASL response */
	POP3_WAIT_LOGIN,  /* or for the maildrop */
	POP3_WAIT_TLS,
	POP3_WAIT_CAPA,   /* for what rules of expiry say now */
	POP3_WAIT_UPDATE,
};

/* The dots before lines that begin with one, RFC 1939 3. A line begins at the start and after
 * CRLF. */
struct pop3_stuff {
	enum pop3_stuff_at { POP3_AT_LINE, POP3_AT_CR, POP3_AT_TEXT } at;
};

/* Where TOP ends: LINES lines behind the empty line that ends the header (RFC 1939 7). A line
 * ends with LF here, so that a message stored with bare LFs has a header and lines, too. */
struct pop3_top {
	uint64_t lines; /* left */
	bool in_body, done;
	enum { POP3_TOP_EMPTY, POP3_TOP_CR, POP3_TOP_TEXT } line; /* what the line holds so far */
};

enum pop3_stream_kind { POP3_STREAM_NONE, POP3_STREAM_LIST, POP3_STREAM_UIDL, POP3_STREAM_VERIFY, POP3_STREAM_BODY };
struct pop3_stream {
	enum pop3_stream_kind kind;
	uint32_t seq;            /* LIST, UIDL: next message number */
	struct shelf_body *body; /* owned */
	uint64_t offset;
	struct pop3_stuff stuff;
	uint32_t uid;            /* of BODY */
	bool whole;              /* RETR: no top */
	struct pop3_top top;
	struct pop3_top ahead;   /* VERIFY: where TOP ends */
	struct pop3_top header;  /* VERIFY: where it ends; done: nobody asks what is in it */
	bool utf8;               /* VERIFY: something in it is not ASCII */
};

enum pop3_dele { POP3_DELE_REMOVE, POP3_DELE_TRASH, POP3_DELE_ARCHIVE, POP3_DELE_HIDE }; /* policy pop3_delete */

/* The maildrop as of login. */
struct pop3_drop {
	uint32_t mailbox, uidvalidity;
	struct shelf_view *view;
	struct shelf_uidset *shown; /* NULL: all of VIEW */
	uint64_t bytes;             /* of these messages */
	enum pop3_dele dele;
	char archive[SHELF_POLICY_TEXT_MAX + 1]; /* "": the mailbox for archives */
	struct shelf_pop3_lock *lock; /* policy pop3_lock */
	bool seen;                  /* what is fetched becomes \Seen */
	uint32_t expire_s;          /* rules of expiry may remove mail of that age; 0: none does */
};

struct pop3_session {
	struct pop3_server *server;
	struct net_conn *conn;
	enum pop3_state state;
	enum pop3_wait wait;
	bool utf8;                /* RFC 6856 2.1: the client takes UTF-8 */
	bool running;             /* inside pop3_session_go() */
	struct lineproto *lines;
	unsigned bad_in_a_row;    /* -ERR replies */

	/* AUTHORIZATION */
	unsigned login_failures;
	bool has_user;
	bool recent;              /* the login asked for what is recent */
	struct shelf_buf user;
	struct sasl *sasl;
	uint32_t entered;         /* account that SASL let in and auth counts, while the client has yet to agree */

	/* TRANSACTION */
	char account_name[SHELF_ACCOUNT_NAME_MAX + 1];
	uint32_t account;         /* 0 before login */
	uint64_t accounts_seen;   /* auth_still() */
	struct pop3_drop drop;
	struct shelf_uidset *deleted;
	uint64_t deleted_bytes;
	struct shelf_uidset *fetched; /* whole, by RETR */
	unsigned retrieved;
	struct pop3_stream stream;
};

/* Goes on with whatever can be done now: the stream, then lines. Call it after anything that the
 * session waited for has ended. */
void pop3_session_go(struct pop3_session *s);

/* ---- Commands -------------------------------------------------------------------------------- */

struct pop3_args {
	struct shelf_span text; /* the rest of the line behind one blank */
	struct shelf_span word[POP3_WORDS_MAX];
	size_t count;
};
typedef void pop3_command_fn(struct pop3_session *s, const struct pop3_args *args);

#define POP3_COMMAND(name, fn, states, fewest, most, source) pop3_command_fn pop3_cmd_##fn;
#include "pop3_commands.def"
#undef POP3_COMMAND

/* ---- Logging in (pop3_login.c) --------------------------------------------------------------- */

/* A line that came while the session waited for a SASL response. */
void pop3_login_response(struct pop3_session *s, struct shelf_span line);
/* Forgets USER and the exchange; wiped. */
void pop3_login_forget(struct pop3_session *s);
/* The names of the mechanisms, each behind a blank. */
void pop3_login_capa(const struct pop3_session *s, struct shelf_buf *out);

/* ---- LOGIN-DELAY (pop3_delay.c) -------------------------------------------------------------- */

struct pop3_delay *pop3_delay_new(void);
void pop3_delay_free(struct pop3_delay **delay);
/* Notes a login of ACCOUNT now; false, and nothing is noted: the last one is less than SECONDS ago. Any thread. */
bool pop3_delay_admit(struct pop3_delay *delay, uint32_t account, uint64_t seconds);

/* ---- EXPIRE (pop3_expire.c) ------------------------------------------------------------------ */

/* What the rules of expiry of the whole store say, for who has not logged in. Any thread. */
struct pop3_expire *pop3_expire_new(struct shelf_store *store); /* reads them */
void pop3_expire_free(struct pop3_expire **expire);
/* Is it time to read them again? True for one caller, which calls pop3_expire_read() on a worker. */
bool pop3_expire_stale(struct pop3_expire *expire);
void pop3_expire_read(struct pop3_expire *expire);
/* The argument of the capability, behind a blank. PROMISED_DAYS: the setting, 0 for ever. */
void pop3_expire_capa(const struct pop3_session *s, uint64_t promised_days, struct shelf_buf *out);

/* ---- The maildrop (pop3_maildrop.c) ---------------------------------------------------------- */

/* On a worker, for the session's account; then DONE on the loop. */
void pop3_maildrop_open(struct pop3_session *s, void (*done)(struct pop3_session *s, int rc));
void pop3_maildrop_close(struct pop3_session *s);
void pop3_drop_free(struct pop3_drop *drop);
/* Of all messages, deleted or not. */
uint32_t pop3_drop_count(const struct pop3_drop *drop);
uint32_t pop3_drop_uid(const struct pop3_drop *drop, uint32_t seq); /* 0: none */
/* That of the message behind UID, which has number SEQ: for walks, whatever is shown. 0: none. */
uint32_t pop3_drop_next(const struct pop3_drop *drop, uint32_t seq, uint32_t uid);
uint32_t pop3_maildrop_count(const struct pop3_session *s); /* without the deleted ones */
uint64_t pop3_maildrop_bytes(const struct pop3_session *s); /* without the deleted ones */
/* Message number SEQ: SHELF_ENOMESSAGE when there is none, when it is marked deleted, or when
 * its row is gone for good (expunged elsewhere, hold time over). */
SHELF_CHECK int pop3_maildrop_msg(struct pop3_session *s, uint32_t seq, struct shelf_msg *out);
SHELF_CHECK int pop3_maildrop_delete(struct pop3_session *s, uint32_t seq);
void pop3_maildrop_reset(struct pop3_session *s);

/* ---- Which messages (pop3_window.c) ---------------------------------------------------------- */

/* A walk over rows of messages in the order of uids; AHEAD is 0 at first, and once more in each snapshot. */
struct pop3_walk {
	struct shelf_rd *rd;
	uint32_t mailbox;
	struct shelf_msg ahead;
};
/* Message UID: the next one of the walk, or one that is gone and only found by its uid. SHELF_ENOMESSAGE. */
SHELF_CHECK int pop3_walk_to(struct pop3_walk *w, uint32_t uid, struct shelf_msg *out);
/*
 * Narrows DROP, whose view is open and whose bytes are those of the whole mailbox, to what SHOW (policy.h) lets see.
 * RD is the snapshot of the view; later ones are its own.
 */
SHELF_CHECK int pop3_window(struct pop3_drop *drop, struct shelf_store *store, struct shelf_rd *rd, uint32_t account,
    uint64_t show);

/* Unique-ids, in the order of uids: those of another server, which lie behind each other, and those that are made. */
struct pop3_uidls {
	struct shelf_rd *rd;
	uint32_t next; /* uid of TEXT; 0: not looked for yet */
	char text[SHELF_UIDL_MAX + 1];
	char of[SHELF_UIDL_MAX + 1]; /* of the message asked for last */
};
SHELF_CHECK int pop3_uidl(struct pop3_uidls *u, const struct pop3_drop *drop, uint32_t uid);

/* ---- QUIT (pop3_update.c) -------------------------------------------------------------------- */

bool pop3_update_needed(const struct pop3_session *s);
/* Does what QUIT has to do, on a worker; replies; closes the connection (RFC 1939 6). */
void pop3_update(struct pop3_session *s);

/* What a session that did not come to QUIT has fetched. */
void pop3_update_broken(struct pop3_session *s);

/* ---- Long replies (pop3_stream.c) ------------------------------------------------------------ */

void pop3_stream_list(struct pop3_session *s, enum pop3_stream_kind kind);
/* The message M; TOP: NULL for all of it. Replies itself, too, when what is asked for cannot be read. */
void pop3_stream_message(struct pop3_session *s, const struct shelf_msg *m,
    const struct pop3_top *top);
/* One piece more, some 32 KiB. */
void pop3_stream_step(struct pop3_session *s);
void pop3_stream_end(struct pop3_session *s);

/* ---- Bytes of a message (pop3_stuff.c) ------------------------------------------------------- */

typedef void pop3_sink_fn(void *arg, const void *data, size_t len);
void pop3_stuff_feed(struct pop3_stuff *stuff, struct shelf_span in, pop3_sink_fn *sink, void *arg);
/* The final ".", on a line of its own. */
void pop3_stuff_end(struct pop3_stuff *stuff, pop3_sink_fn *sink, void *arg);
/* How many bytes of IN belong to the reply; top->done is set when the last line has ended. */
size_t pop3_top_feed(struct pop3_top *top, struct shelf_span in);

/* ---- Replies (pop3_reply.c) ------------------------------------------------------------------ */

void pop3_ok(struct pop3_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Counts towards bad_commands_max, and closes the connection there. */
void pop3_err(struct pop3_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "-ERR [CODE] WHAT: text of RC". */
void pop3_fail(struct pop3_session *s, int rc, const char *what);
/* RFC 2449 8, RFC 3206: "[SYS/TEMP] " and so on, "" when no code fits. */
const char *pop3_code(int rc);

#endif
