/*
 * imap.h - what the files of the IMAP door share: session, command, parser, output
 *
 * Shape     A session gathers one command at a time (line and literals, all contiguous), finds its
 *           row in imap_commands.def and calls the row's function. A function ends with one tagged
 *           reply (imap_ok, imap_no ...: it is kept and written by the dispatcher AFTER the
 *           untagged responses of imap_sync.c) or sets c->run to its next step and returns what it
 *           waits for.
 * Threads   Everything runs on the connection's loop, except functions handed to imap_work().
 * Lifetime  What the parser returns and what lies in c->arena dies with the command, at its tagged
 *           reply. No struct shelf_rd survives the return to the dispatcher.
 * Sources   RFC 3501, RFC 9051.
 */
#ifndef ACCESS_IMAP_H
#define ACCESS_IMAP_H

#include <mailshelf/mailshelf.h>

struct auth;
struct conf;
struct net_conn;
struct net_protocol;
struct sasl;

enum {
	IMAP_LINE_MAX_EARLY_BYTES = 8192,    /* a command before login, literals included */
	IMAP_LITERAL_MAX_EARLY_BYTES = 4096, /* LITERAL-, RFC 7888 5 */
	IMAP_DEPTH_MAX = 64,                 /* parentheses within parentheses */
	IMAP_QUOTED_MAX_BYTES = 1024,        /* longer strings are printed as literals */
};

/* ---- Server and session ---------------------------------------------------------------------- */

struct imap_server {
	struct shelf_store *store;
	const struct conf *conf;
	struct auth *auth;
};
extern const struct net_protocol imap_protocol;
struct imap_server *imap_server_new(struct shelf_store *store, const struct conf *conf,
    struct auth *auth);
void imap_server_free(struct imap_server **server);
struct metrics_text;
void imap_metrics(struct metrics_text *t);

enum imap_state { /* bits, RFC 9051 3 */
	IMAP_NOT_AUTH = 1,
	IMAP_AUTH = 2,
	IMAP_SELECTED = 4,
	IMAP_LOGGEDIN = IMAP_AUTH | IMAP_SELECTED,
	IMAP_ANY = 7,
};

struct imap_cmd;
struct imap_input;
struct imap_sync;
struct imap_contexts;
struct imap_dispatch;

/* Where the decoder of a part stood: who reads a large one in pieces (BINARY[1]<65536.65536>) goes on from there. */
struct imap_place_in_part {
	uint32_t account; /* 0: nowhere */
	uint64_t blob, offset, len; /* the message, the range of the part */
	uint64_t done, passed;      /* octets read of it, octets that came out */
	struct mime_decoder decoder;
};

struct imap_session {
	struct imap_server *server;
	struct shelf_store *store; /* server->store */
	struct net_conn *conn;
	enum imap_state state;
	uint32_t account;          /* 0 before login */
	uint64_t accounts_seen;    /* auth_still() */
	char account_name[SHELF_ACCOUNT_NAME_MAX + 1];

	/* The selected mailbox; view is NULL when none is. */
	struct shelf_view *view;
	uint32_t owner;            /* the account it is of */
	uint32_t mailbox;
	unsigned rights;           /* what the user may do with it: enum shelf_right */
	bool read_only;            /* EXAMINE */
	bool inbox;                /* it was selected under this name */
	struct shelf_uidset *recent; /* uids that are \Recent to this session */
	struct shelf_uidset *saved; /* uids of the saved search result, "$"; NULL: empty */
	bool rev2;                 /* IMAP4rev2 is enabled */
	bool utf8_accept;          /* UTF8=ACCEPT is */
	bool utf8;                 /* either: UTF-8 in quoted strings and names of mailboxes */
	bool condstore, qresync;   /* enabled, for good (imap_condstore.h) */
	bool uidonly;              /* enabled: no message number is said or taken any more (RFC 9586) */
	bool modseq_shown;         /* MODSEQ has been printed since the last sync */
	uint32_t keywords_told;    /* how many keywords the client has seen in FLAGS */
	struct imap_sync *sync;    /* imap_sync.c */
	struct imap_contexts *contexts; /* imap_context.h; NULL: none */
	struct imap_arranged *arranged; /* imap_arranged.h; NULL: nothing */
	struct imap_notify *notify; /* imap_notify.h; NULL until NOTIFY is used */

	struct shelf_buf out;      /* flushed by the dispatcher and by imap_out_full() */
	struct imap_input *input;  /* imap_input.c */
	struct imap_cmd *cmd;      /* the running command, or NULL */
	struct imap_dispatch *dispatch; /* imap_command.c */
	unsigned bad_count;        /* BAD answers in a row */
	unsigned login_failures;
	bool bye;                  /* BYE has been written */
	struct imap_place_in_part part; /* of the last piece of a decoded part (imap_fetch_section.c) */
	bool mid_response;         /* the output ends within a response: no BYE may be written */
	bool progress_awaited;     /* an alarm of imap_progress.c is set */
	bool mailbox_gone;         /* the selected mailbox is no more: BYE behind the next reply */
};

/* ---- Commands -------------------------------------------------------------------------------- */

enum imap_step {         /* what a command waits for; the dispatcher obeys */
	IMAP_DONE,       /* exactly one tagged reply has been set */
	IMAP_WANT_INPUT, /* run me when bytes have come; with c->wants_news also on news */
	IMAP_WANT_OUTPUT, /* run me when the output has drained (imap_out_full() was true) */
	IMAP_WANT_WAKE,  /* run me when imap_work() or auth_login() has come back */
	IMAP_YIELD,      /* run me on the next turn of the loop: long work in slices */
};
typedef enum imap_step imap_run_fn(struct imap_cmd *c);

enum imap_row_flag { /* bits of struct imap_row.flags */
	IMAP_UID = 1,      /* the UID form: c->uid */
	IMAP_SEQ = 2,      /* no EXPUNGE while it runs and with its reply (RFC 9051 7.5.1) */
	IMAP_WRITES = 4,   /* refused with NO [READ-ONLY] in a mailbox opened with EXAMINE */
	IMAP_STREAMS = 8,  /* APPEND: literals behind the mailbox's name are not gathered */
	IMAP_NOSYNC = 16,  /* nothing untagged of the mailbox goes with its reply */
	IMAP_NUMBERS = 64, /* as IMAP_SEQ it takes message numbers: refused behind ENABLE UIDONLY */
	IMAP_NOARGS = 32,  /* the dispatcher checks that nothing follows the name */
	IMAP_NUMBERED = 128, /* REPLACE: a message's number stands before that name */
	IMAP_TELLS = 256,  /* what changed in the mailbox goes with its reply, whatever NOTIFY has set */
};
struct imap_row {
	const char *name;
	imap_run_fn *run;
	unsigned states;
	unsigned flags;
	const char *source;
};

struct imap_parser {
	const uint8_t *at, *end;   /* contiguous; a literal is followed by its octets */
	struct shelf_arena *arena; /* for strings that need undoing */
	unsigned depth;
	bool utf8;                 /* names of mailboxes are UTF-8, not modified UTF-7 */
	struct shelf_span given;   /* the mailbox name parsed last, in UTF-8 as the client wrote it */
	const char *error;         /* static text of the first error, NULL: none */
	bool cannot;               /* the error is a mailbox name: NO [CANNOT], not BAD */
};

enum imap_condition { IMAP_OK, IMAP_NO, IMAP_BAD };

struct imap_cmd {
	struct imap_session *s;
	const struct imap_row *row;
	struct shelf_span tag;     /* for the dispatcher */
	const char *name;          /* "UID FETCH", for texts */
	bool uid;
	struct shelf_arena arena;
	struct imap_parser p;      /* behind the name; begins at the SP or the end of the line */
	imap_run_fn *run;          /* next step */
	void *data;                /* the command's own, usually in arena */
	/* Frees what is not in arena; called once, also when the connection ends. NULL: none. */
	void (*cleanup)(struct imap_cmd *c);
	bool wants_news;           /* IDLE: in IMAP_WANT_INPUT also run on news */
	bool begun;                /* its session may run it */
	bool news;                 /* news came since the command last looked */
	void (*after)(struct imap_session *s); /* runs behind the tagged reply. NULL: none */
	uint32_t limited;          /* imap_limit_cut(): the lowest uid of those done; 0: all are */
	uint64_t done, total;      /* imap_progress(); total 0: not known */
	bool discard;              /* read over the rest of the command before the reply (APPEND) */
	/* kept by imap_reply.c */
	bool replied;
	enum imap_condition condition;
	const char *code, *text;   /* in arena or static; code NULL: none */
};

/*
 * imap_work(c, fn, arg)
 *   fn(arg) on a worker; then c->run runs again on the loop. The way to call every engine function
 *   that writes. FN touches only ARG (in c->arena or on the heap), never the session. To be used as
 *   `return imap_work(c, fn, arg);` after setting c->run.
 *   returns  IMAP_WANT_WAKE
 */
enum imap_step imap_work(struct imap_cmd *c, void (*fn)(void *arg), void *arg);

/* The same for long work that reads: FN(arg) on up to N workers at once (net_conn_work_shared). */
enum imap_step imap_work_shared(struct imap_cmd *c, unsigned n, void (*fn)(void *arg), void *arg);

/*
 * imap_progress(c, done, total)
 *   Of TOTAL things DONE are done; for who waits long (imap_progress.c). On the loop, once a slice; TOTAL
 *   stays the same, DONE never falls.
 */
void imap_progress(struct imap_cmd *c, uint64_t done, uint64_t total);

/* ---- Replies (imap_reply.c) ------------------------------------------------------------------ */

/* Each sets the tagged reply and returns IMAP_DONE. CODE without brackets ("READ-ONLY"), NULL:
 * none. Client bytes never go into texts unless they are known to be printable. */
enum imap_step imap_ok(struct imap_cmd *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
enum imap_step imap_ok_code(struct imap_cmd *c, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum imap_step imap_no(struct imap_cmd *c, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum imap_step imap_bad(struct imap_cmd *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* BAD [UIDREQUIRED], RFC 9586 3 */
enum imap_step imap_uid_required(struct imap_cmd *c);
/* "OK <name> completed" */
enum imap_step imap_completed(struct imap_cmd *c);
/* The one translation of engine errors: NO [CODE] text (BAD for SHELF_ESYNTAX). */
enum imap_step imap_err(struct imap_cmd *c, int rc);
/* After a parser function returned false: BAD with the parser's text, or NO [CANNOT]. */
enum imap_step imap_parse_failed(struct imap_cmd *c);

/* ---- Parser (imap_parse.c) -------------------------------------------------------------------
 *
 * All take the parser forward and return true, or set p->error and return false; the first error
 * stays. imap_at_* look without taking and never set an error. */

bool imap_at(const struct imap_parser *p, uint8_t c);
bool imap_at_end(const struct imap_parser *p);              /* CRLF, LF or nothing */
bool imap_try(struct imap_parser *p, uint8_t c);            /* takes C if it is next */
/* Takes WORD (any case) if it is the whole next atom. */
bool imap_try_word(struct imap_parser *p, const char *word);
bool imap_parse_byte(struct imap_parser *p, uint8_t c);
bool imap_parse_sp(struct imap_parser *p);                  /* exactly one */
bool imap_parse_end(struct imap_parser *p);
bool imap_parse_open(struct imap_parser *p);                /* "(", bounded by IMAP_DEPTH_MAX */
bool imap_parse_close(struct imap_parser *p);               /* ")" */
bool imap_parse_fail(struct imap_parser *p, const char *error); /* sets it, returns false */
/* Letters, digits, ".", "-", "_", "=": names of fetch items, search keys, options. */
bool imap_parse_name(struct imap_parser *p, struct shelf_span *out);
bool imap_parse_atom(struct imap_parser *p, struct shelf_span *out);    /* 1*ATOM-CHAR */
bool imap_parse_string(struct imap_parser *p, struct shelf_span *out);  /* quoted or literal */
bool imap_parse_astring(struct imap_parser *p, struct shelf_span *out); /* "]" allowed in atoms */
bool imap_parse_nstring(struct imap_parser *p, struct shelf_span *out); /* NIL: data NULL */
bool imap_parse_list_mailbox(struct imap_parser *p, struct shelf_span *out); /* with % and * */
bool imap_parse_literal8(struct imap_parser *p, struct shelf_span *out); /* "~{n}": NUL allowed */
bool imap_parse_number(struct imap_parser *p, uint32_t *out);
bool imap_parse_nz_number(struct imap_parser *p, uint32_t *out);
bool imap_parse_number64(struct imap_parser *p, uint64_t *out);         /* up to 2^63-1 */
/* "1-Feb-2024" to days since 1970. */
bool imap_parse_date(struct imap_parser *p, int64_t *days_out);
bool imap_parse_date_time(struct imap_parser *p, int64_t *s_out, int16_t *zone_min_out);
/* An astring, modified UTF-7 undone (with p->utf8 it is UTF-8), checked, canonical ("inbox" is INBOX).
 * UTF-8, in arena. */
bool imap_parse_mailbox(struct imap_parser *p, struct shelf_span *out);
/* The same, one "/" at the end tolerated (CREATE, RFC 9051 6.3.4). */
bool imap_parse_mailbox_new(struct imap_parser *p, struct shelf_span *out);
/* The characters of a sequence-set ("1:4,7,*", also "$"), not checked further. */
bool imap_parse_set(struct imap_parser *p, struct shelf_span *out);

struct imap_flags {
	uint32_t flags;              /* enum shelf_flag */
	struct shelf_span *keywords; /* in arena */
	size_t nkeywords;
};
bool imap_parse_flag_list(struct imap_parser *p, struct imap_flags *out);  /* (...) */
bool imap_parse_store_flags(struct imap_parser *p, struct imap_flags *out); /* also without (...) */

/* ---- Sequence sets (imap_seqset.c) ----------------------------------------------------------- */

/*
 * imap_set_numbers(text, max, out)
 *   The numbers of a sequence-set; "*" is MAX. OUT is added to.
 *   returns  0; SHELF_ESYNTAX
 */
SHELF_CHECK int imap_set_numbers(struct shelf_span text, uint32_t max, struct shelf_uidset *out);
/*
 * imap_set_uids(s, text, uid, out)
 *   The uids in the session's view that TEXT names, as message numbers or (UID) as uids. "*" is the
 *   last message. Uids not there are passed over; OUT is added to.
 *   returns  0; SHELF_ESYNTAX; SHELF_EINVALID a message number beyond the last (RFC 9051 9,
 *            seq-number: BAD)
 */
SHELF_CHECK int imap_set_uids(struct imap_session *s, struct shelf_span text, bool uid,
    struct shelf_uidset *out);
/* imap_set_uids for a command's argument, errors translated: true, or a reply has been set and the
 * command returns IMAP_DONE. */
bool imap_set_resolve(struct imap_cmd *c, struct shelf_span text, bool uid,
    struct shelf_uidset *out);
/* Uids, of messages that are there or still to come. OUT is empty. */
bool imap_set_resolve_standing(struct imap_cmd *c, struct shelf_span text, struct shelf_uidset *out);
/* In another view, or (OTHER false) the session's own, whatever lies behind its end being nothing; OUT is empty.
 * VIEW NULL: only whether TEXT is well formed. */
bool imap_set_resolve_in(struct imap_cmd *c, const struct shelf_view *view, bool other,
    struct shelf_span text, bool uid, struct shelf_uidset *out);

/* The first COUNT uids of FROM, or all there are, go into SLICE, which is cleared first (imap_limit.c). */
void imap_cut_slice(struct shelf_uidset *from, uint32_t count, struct shelf_uidset *slice);
/* Leaves in UIDS what one command may be about (imap_limit.c); the reply will tell. */
void imap_limit_cut(struct imap_cmd *c, struct shelf_uidset *uids);
/* Are COUNT messages too many for what cannot be done in parts? Then the reply has been set. */
bool imap_limit_refuses(struct imap_cmd *c, uint32_t count);

/* ---- Output (imap_out.c) --------------------------------------------------------------------- */

void imap_out(struct imap_session *s, const void *data, size_t len);
/* Here, so that the length of a constant is one. */
static inline void
imap_out_str(struct imap_session *s, const char *str)
{
	shelf_buf_add(&s->out, str, strlen(str));
}
void imap_out_span(struct imap_session *s, struct shelf_span span);
void imap_out_uint(struct imap_session *s, uint64_t n); /* in decimal */
void imap_outf(struct imap_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "* " text CRLF */
void imap_untagged(struct imap_session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Quoted when that can hold it, literal otherwise. */
void imap_out_string(struct imap_session *s, struct shelf_span v);
void imap_out_nstring(struct imap_session *s, struct shelf_span v); /* data NULL: NIL */
void imap_out_astring(struct imap_session *s, struct shelf_span v); /* atom when possible */
/* "{len}" CRLF; the caller then writes exactly LEN octets. */
void imap_out_literal(struct imap_session *s, uint64_t len);
/* An astring in modified UTF-7, or UTF-8 when the client has enabled that. */
void imap_out_mailbox(struct imap_session *s, struct shelf_span utf8);
void imap_out_date_time(struct imap_session *s, int64_t utc_s, int16_t zone_min); /* with quotes */
/* "(\Seen \Recent $Junk)"; \Recent from the session. */
void imap_out_flags(struct imap_session *s, const struct shelf_msg *m,
    const struct shelf_keywords *kw);
/* More than 64 KiB wait for the client: return IMAP_WANT_OUTPUT. Hands what is buffered to net. */
bool imap_out_full(struct imap_session *s);
void imap_out_flush(struct imap_session *s);

/* ---- What the client is told (imap_sync.c) ---------------------------------------------------
 *
 * The only source of untagged EXISTS, RECENT, EXPUNGE and unsolicited FETCH; the dispatcher calls
 * it before each tagged reply. */

/* Prints FLAGS when the mailbox has keywords the client has not heard of; call before printing
 * flags of messages, with the same snapshot. */
void imap_sync_keywords(struct imap_session *s, const struct shelf_keywords *kw);
/* Flags to be printed for the uids of a set, in as many calls as it takes. */
struct imap_flags_walk {
	const struct shelf_uidset *uids;
	uint32_t next;   /* uid to go on with, at first 1; 0: at the end */
	bool all;        /* also what this session did itself and did not want to hear of */
	uint64_t modseq; /* version of the account of the first piece; 0 at first */
	bool missing;    /* a uid of the set was not there */
	uint64_t only;   /* not 0: only what has exactly this mod-sequence, and MODSEQ without FLAGS */
};
/* 1: more is left (the client does not keep up, or the slice is over); 0: done; or an error. */
int imap_sync_print_flags(struct imap_cmd *c, struct imap_flags_walk *walk);
/* The change of the uids FIRST..LAST that got exactly MODSEQ was made by this session, which did
 * not want to hear of it (.SILENT): not to be echoed. */
void imap_sync_told(struct imap_session *s, uint32_t first, uint32_t last, uint64_t modseq);
/* This session has put UIDS into that mailbox of ACCOUNT: no news for it (RFC 5465 5.2). */
void imap_sync_own(struct imap_session *s, uint32_t account, uint32_t mailbox,
    const struct shelf_uidset *uids);
/* FETCH FLAGS have been printed for UIDS from a snapshot of version MODSEQ: what happened up to
 * there is not printed again. UIDS is copied. */
void imap_sync_shown(struct imap_session *s, const struct shelf_uidset *uids, uint64_t modseq);

/* ---- Mailbox names (imap_mutf7.c) ------------------------------------------------------------
 *
 * One encoding for each name: decoding refuses everything that encoding would not produce. */

bool imap_mutf7_decode(struct shelf_span in, struct shelf_buf *utf8_out);
void imap_mutf7_encode(struct shelf_span utf8, struct shelf_buf *out);
/* A name as a client writes it: with UTF8, and when it has bytes of 8 bits, UTF-8 (RFC 6855 3); else as above. */
bool imap_name_decode(struct shelf_span in, bool utf8, struct shelf_buf *utf8_out);

/* ---- Commands: imap_cmd_<function> for every row of imap_commands.def ------------------------ */

#define IMAP_COMMAND(name, fn, states, flags, source) imap_run_fn imap_cmd_##fn;
#include "imap_commands.def"
#undef IMAP_COMMAND

#endif
