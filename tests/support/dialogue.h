/*
 * dialogue.h - plays dialogue files (tests/dialogue/README.md) against the real doors
 *
 * Shape     dialogue_script.c turns a file into steps; dialogue_run.c plays them; dialogue_text.c knows
 *           what may stand in texts and patterns; dialogue_server.c is a store with the three doors on
 *           one loop thread; dialogue_client.c is a client's end of a connection.
 * Lifetime  Everything a dialogue needs lives in its arena or is freed by dialogue_run().
 * Threads   One dialogue per process: the server has its own threads, the rest runs on the caller's.
 */
#ifndef TESTS_DIALOGUE_H
#define TESTS_DIALOGUE_H

#include <mailshelf/arena.h>
#include <mailshelf/buf.h>

/* ---- Playing a file --------------------------------------------------------------------------- */

struct dialogue_options {
	bool verbose;  /* print every line as it goes and comes */
	bool bytewise; /* every client byte in a packet of its own */
};
/* True when everything was as expected; prints what was not. */
bool dialogue_run(const char *file, const struct dialogue_options *options);

/* ---- Scripts ----------------------------------------------------------------------------------- */

enum dialogue_kind {
	DIALOGUE_ACCOUNT,
	DIALOGUE_DELIVER,
	DIALOGUE_DELIVER_FAILS,
	DIALOGUE_CONF,
	DIALOGUE_STORE,
	DIALOGUE_SETTING,
	DIALOGUE_SERVICES,
	DIALOGUE_QUOTA,
	DIALOGUE_PASSWORD,
	DIALOGUE_ALIAS,
	DIALOGUE_POLICY,
	DIALOGUE_EXPIRE,
	DIALOGUE_DAMAGE,
	DIALOGUE_CONNECT,
	DIALOGUE_SLEEP,
	DIALOGUE_TLS, /* from here on: of a client */
	DIALOGUE_DEFLATE,
	DIALOGUE_PLAIN,
	DIALOGUE_SEND,
	DIALOGUE_SEND_PIECE,
	DIALOGUE_SEND_BLOCK,
	DIALOGUE_EXPECT,
	DIALOGUE_EXPECT_BLOCK,
	DIALOGUE_SKIP,
	DIALOGUE_NEVER,
	DIALOGUE_ANY_ORDER,
	DIALOGUE_CLOSED,
	DIALOGUE_CLOSED_SKIP,
	DIALOGUE_EOF,
	DIALOGUE_DROP,
	DIALOGUE_QUIET,
};

enum { DIALOGUE_WORDS_MAX = 8 };

struct dialogue_step {
	enum dialogue_kind kind;
	unsigned line;
	const char *client; /* NULL: not of a client */
	struct shelf_span text; /* behind C: and S: */
	char *word[DIALOGUE_WORDS_MAX]; /* the others: their words, the first is the keyword */
	size_t nwords;
	struct shelf_span *rows; /* of a block */
	size_t nrows;
};

struct dialogue_script {
	const char *file;
	struct dialogue_step *step;
	size_t count;
};
/* False: the file is wrong, ERROR says where. */
bool dialogue_script_read(struct dialogue_script *script, const char *file, struct shelf_arena *arena,
    struct shelf_buf *error);

/* ---- Texts and patterns --------------------------------------------------------------------------- */

struct dialogue_var {
	struct shelf_span name, value;
	struct dialogue_var *next;
};
struct dialogue_vars {
	struct shelf_arena *arena;
	struct dialogue_var *first;
};

enum dialogue_expand {
	DIALOGUE_EXPAND_ESCAPES = 1, /* \r \n \0 \\ */
	DIALOGUE_EXPAND_NAMES = 2,   /* ${name} ${base64:} */
};
/* Always: \xHH and ${repeat:N:text}. False: an unknown name or a bad count, said in ERROR. */
bool dialogue_expand(const struct dialogue_vars *vars, struct shelf_span text, unsigned what,
    struct shelf_buf *out, struct shelf_buf *error);
/* 1 matches (new names are captured into VARS), 0 does not, -1 the pattern is wrong: ERROR. */
int dialogue_match(struct dialogue_vars *vars, struct shelf_span pattern, struct shelf_span line,
    struct shelf_buf *error);
void dialogue_set(struct dialogue_vars *vars, struct shelf_span name, struct shelf_span value);

/* ---- The server -------------------------------------------------------------------------------- */

struct dialogue_server;
struct dialogue_server *dialogue_server_new(void);
void dialogue_server_free(struct dialogue_server **server);
/* Each returns NULL or an error text that lives until the next call. */
const char *dialogue_server_do(struct dialogue_server *server, const struct dialogue_step *step,
    struct shelf_span message);
/* For `damage`, an error of the engine (dialogue_damage.c). */
struct shelf_store;
int dialogue_damage(struct shelf_store *store, uint32_t account, const char *mailbox, uint32_t uid,
    uint32_t frame);
int dialogue_damage_flags(struct shelf_store *store, uint32_t account, const char *mailbox, uint32_t uid);
int dialogue_forget_preview(struct shelf_store *store, uint32_t account, const char *mailbox, uint32_t uid);
/* After a step that needed it. */
struct shelf_store *dialogue_server_store(struct dialogue_server *server);
/* The client's end of a new connection, or -1 and ERROR. */
int dialogue_server_connect(struct dialogue_server *server, const struct dialogue_step *step,
    const char **error);

/* ---- Clients ----------------------------------------------------------------------------------- */

struct dialogue_client;
enum dialogue_got { DIALOGUE_LINE, DIALOGUE_TIMEOUT, DIALOGUE_END };

struct dialogue_client *dialogue_client_new(int fd, bool bytewise);
void dialogue_client_free(struct dialogue_client **client);
bool dialogue_client_tls(struct dialogue_client *client); /* handshake */
void dialogue_client_deflate(struct dialogue_client *client); /* compressed from here on */
void dialogue_client_plain(struct dialogue_client *client); /* not any more */
/* Sends as much as the server takes; a server that is gone is not an error here. False: the server did
 * not read for 10 s. */
bool dialogue_client_send(struct dialogue_client *client, struct shelf_span bytes);
/* The next line without its CRLF, living until the next call. */
enum dialogue_got dialogue_client_line(struct dialogue_client *client, unsigned timeout_ms,
    struct shelf_span *line_out);
/* Received and not yet returned as a line. */
struct shelf_span dialogue_client_rest(const struct dialogue_client *client);
void dialogue_client_eof(struct dialogue_client *client);

#endif
