/*
 * tools.h - what the verbs of the `mailshelf` program share
 *
 * Shape     tools.def is the only list of verbs. A verb parses its arguments with tool_args(), opens
 *           the store with tool_open() when it needs it, and returns an exit status of sysexits.h.
 * Output    Facts go to stdout, as text or with --json as one JSON value; everything else goes to
 *           stderr as "mailshelf: VERB: what: why". Control characters in names and paths are printed
 *           as \xNN, so that no file name can speak to a terminal.
 * Threads   One, apart from the import pipeline and the batch of `account add`, which say so.
 */
#ifndef TOOLS_TOOLS_H
#define TOOLS_TOOLS_H

#include <stdio.h>
#include <sysexits.h>

#include <mailshelf/mailshelf.h>

struct tool_verb;

struct tool {
	const struct tool_verb *verb;
	const char *store_dir;      /* -s, or MAILSHELF_STORE; NULL: none given */
	bool json;
	struct shelf_store *store;  /* tool_open(); main closes it */
	int argc;                   /* before tool_args(): everything behind the verb; */
	char **argv;                /* afterwards: what is no option */
};

typedef int tool_run_fn(struct tool *t);

struct tool_verb {
	const char *name; /* one word, or two with one blank between */
	tool_run_fn *run;
	const char *usage; /* arguments */
	const char *text;  /* one line */
	const char *options; /* lines for --help, may be "" */
};

/* tool_man.c, to stdout: the manual page of one verb, of the program; verbs and options for a shell to complete. */
void tool_man_verb(const struct tool_verb *verb);
void tool_man_all(const struct tool_verb *verbs, size_t n);
void tool_man_words(const struct tool_verb *verbs, size_t n);

#define TOOL(name, fn, usage, text, options) tool_run_fn tool_##fn;
#include "tools.def"
#undef TOOL

/* ---- Arguments (tool_args.c) --------------------------------------------------------------- */

enum tool_option_kind {
	TOOL_FLAG,  /* bool: true when given */
	TOOL_TEXT,  /* const char * */
	TOOL_TEXTS, /* struct tool_texts: may be given again and again */
	TOOL_SIZE,  /* struct tool_number: "10M", "none" is 0 */
	TOOL_COUNT, /* struct tool_number: digits, "none" is 0 */
	TOOL_ONOFF, /* struct tool_number: on, off, yes, no: 1 or 0 */
};

struct tool_number {
	bool given;
	uint64_t value;
};

struct tool_texts {
	const char *text[64];
	uint32_t count;
};

struct tool_option {
	const char *name; /* without the dashes; NULL ends the list */
	enum tool_option_kind kind;
	void *value;
};

/*
 * tool_args(t, options, min, max)
 *   Takes the options out of t->argv wherever they stand ("--" ends them), -s and --json included,
 *   and leaves MIN..MAX other arguments.
 *   options  NULL: none of its own
 *   returns  0, or EX_USAGE after having said what is wrong
 */
SHELF_CHECK int tool_args(struct tool *t, const struct tool_option *options, int min, int max);
/* "14d", "36h", "90m", "10s", "none" (UINT32_MAX): seconds. */
bool tool_duration(const char *s, uint32_t *seconds_out);
/* "2h", "3d": that long ago; "2026-11-21", "2026-11-21 10:00", "2026-11-21T10:00:05": UTC. */
bool tool_since(const char *s, int64_t *out);
/* A limit as given, "none" being SHELF_QUOTA_NONE; OTHERWISE when it was not. */
uint64_t tool_limit(const struct tool_number *n, uint64_t otherwise);
/* "10M"; "none" and "-" are 0. */
bool tool_size(const char *s, uint64_t *bytes_out);
/* "Sent", "\Sent" (RFC 6154 2) in any case: its bit. */
bool tool_special_use(const char *s, unsigned *use_out);
/* The names of the bits, separated by blanks; "" for 0. */
const char *tool_special_use_text(unsigned use, char *buf, size_t len);

/* ---- The store ----------------------------------------------------------------------------- */

/* 0, or an exit status after having said why not. */
SHELF_CHECK int tool_open(struct tool *t);
/* Finds the account NAME: 0, or an exit status (EX_NOUSER) after having said why not. */
SHELF_CHECK int tool_account(struct tool *t, const char *name, struct shelf_account *out);
/* Both, of the account that is the first argument. */
SHELF_CHECK int tool_open_account(struct tool *t, struct shelf_account *out);

/* ---- What was done (tool_audit.c) ---------------------------------------------------------- */

/* LINE, empty, is begun before a verb runs and takes its arguments away; at its end it goes into STORE/audit.log. */
void tool_audit_begin(const struct tool *t, struct shelf_buf *line);
void tool_audit_end(const struct tool *t, struct shelf_buf *line, int status);

/* ---- Saying things (tool_report.c) --------------------------------------------------------- */

/* The one translation of shelf_err to sysexits. */
int tool_exit_of(int err);
/* "mailshelf: VERB: ...": a line on stderr. */
void tool_say(const struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Says "WHAT: text of ERR"; returns tool_exit_of(err). */
int tool_fail(const struct tool *t, const char *what, int err);
/* Says "ARGUMENT: why" with a hint at --help; returns EX_USAGE. */
int tool_usage(const struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One line on stdout, control characters escaped. */
void tool_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* B and a line end to stdout, as they are; B is freed. */
void tool_print_buf(struct shelf_buf *b);
/* `"key":` and a comma before it unless B ends in an opening bracket. */
void tool_json_key(struct shelf_buf *b, const char *key);
void tool_json_str(struct shelf_buf *b, const char *key, struct shelf_span value);
void tool_json_u64(struct shelf_buf *b, const char *key, uint64_t value);
/* Usage, limits and what is held, as fields of the object being written. */
void tool_json_quota(struct shelf_buf *b, const struct shelf_quota *q);
void tool_json_bool(struct shelf_buf *b, const char *key, bool value);
/* "2026-11-21 10:00:00" UTC, into BUF of 32 bytes, which is returned. */
char *tool_time_text(int64_t s, char *buf);
/* "1.5 GiB", or "none" for 0 when a limit is meant. */
const char *tool_limit_text(uint64_t bytes, char *buf, size_t len);

/* ---- Tables (tool_table.c) ----------------------------------------------------------------- */

enum tool_unit { TOOL_NUMBER, TOOL_BYTES, TOOL_TIME /* seconds since 1970, 0: never */ };
struct tool_column {
	const char *key;  /* in JSON, head of the text's column, for sorting */
	const char *text; /* of a list of one line */
	enum tool_unit unit;
	bool json_only; /* and in a list; a table has too little room */
};
struct tool_table;
/* COLUMN must live as long as the table. */
struct tool_table *tool_table_new(const char *name_key, const struct tool_column *column, size_t columns);
void tool_table_free(struct tool_table **table);
/* A line: its values are to be filled in, in the order of the columns, before the next is added. */
uint64_t *tool_table_add(struct tool_table *table, const char *name);
/* The line of that name, added when it is not there; for a few hundred. */
uint64_t *tool_table_line(struct tool_table *table, const char *name);
/* By name from a to z, or by a column from the highest down. False: no such column. */
bool tool_table_sort(struct tool_table *table, const char *key);
void tool_table_print(const struct tool_table *table);
/* An array of objects. */
void tool_table_json(const struct tool_table *table, struct shelf_buf *b);
/* The first line, a value below the other; as fields of the object being written, with its name if it has one. */
void tool_table_list_first(const struct tool_table *table);
void tool_table_json_first(const struct tool_table *table, struct shelf_buf *b);
/* From and Subject of a message, decoded; nothing for NULL. */
void tool_envelope_text(const struct mime_part *root, struct shelf_buf *from, struct shelf_buf *subject);

/* uid, date, bytes, from, subject: fields of the object being written. */
void tool_json_message(struct shelf_buf *b, const struct shelf_msg *msg, struct shelf_span from,
    struct shelf_span subject);
/* Says what is wrong with a backup file. */
int tool_backup_fail(struct tool *t, const char *path, int err);

/* ---- Passwords (tool_password.c) ----------------------------------------------------------- */

/*
 * tool_password(t, from_stdin, out)
 *   The first line of stdin, or what is typed twice on a terminal without echo.
 *   returns  0; 1 when there is neither (OUT is empty then); or an exit status >= 64, said
 *   OUT is a secret: tool_password_wipe() it.
 */
SHELF_CHECK int tool_password(struct tool *t, bool from_stdin, struct shelf_buf *out);
void tool_password_wipe(struct shelf_buf *b);
/* The batch of `account add` (tool_batch.c): lines of stdin. */
SHELF_CHECK int tool_account_batch(struct tool *t, bool progress);

/* check --salvage (tool_salvage.c). */
SHELF_CHECK int tool_salvage(struct tool *t, const char *dir, const char *format, bool progress);

/* ---- Interruption and progress (tool_progress.c) -------------------------------------------- */

/* From here on SIGINT and SIGTERM only set a flag (a second one kills as usual). */
void tool_catch_interrupts(void);
bool tool_interrupted(void);

struct tool_progress {
	bool shown;        /* a terminal, or asked for */
	bool tty;
	int64_t start_ms, last_ms;
	size_t last_width;
};
void tool_progress_begin(struct tool_progress *p, bool asked);
/*
 * Draws at most ten times a second on a terminal, writes a line every 10 s otherwise.
 *   done, total  of the same unit, for the bar and the time left; total 0: no bar
 *   fmt          what else to tell
 */
void tool_progress_step(struct tool_progress *p, uint64_t done, uint64_t total, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Removes the bar. */
void tool_progress_end(struct tool_progress *p);

#endif
