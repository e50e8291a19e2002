/*
 * remote.h - another server's mail over IMAP: connection, login, responses
 *
 * Shape     remote_open() connects, secures and logs in; remote_send() sends a command; remote_read() gives one
 *           response after the other, cut into tokens. Commands may be sent ahead; answers come in their order.
 *           One thread. Blocking, with a time limit for each read.
 * Hostile   The other side may send anything: a response is bounded in bytes and tokens, a message's body goes
 *           to a function piece by piece and is never held.
 * Secrets   A password goes over TLS, or by SCRAM, or where the caller says that it may go in clear.
 * Sources   RFC 3501, RFC 9051; RFC 4959 SASL-IR; RFC 5802 SCRAM; RFC 7628 OAUTHBEARER.
 */
#ifndef TOOLS_REMOTE_H
#define TOOLS_REMOTE_H

#include <mailshelf/arena.h>
#include <mailshelf/buf.h>
#include <mailshelf/err.h>

enum { REMOTE_TIMEOUT_S = 300, REMOTE_RESPONSE_MAX_BYTES = 1 << 20, REMOTE_TOKENS_MAX = 65536 };

struct remote_params {
	const char *host, *port;
	bool tls;             /* from the first byte; else STARTTLS */
	bool cleartext;       /* without TLS if it cannot be had, passwords too */
	bool any_certificate; /* do not verify it */
	const char *ca_file;  /* NULL: those of the system */
	const char *user, *password;
	const char *as;       /* whose mail, when USER logs in for somebody else; NULL: USER's */
	const char *token;    /* OAUTHBEARER or XOAUTH2 instead of a password; NULL */
	uint64_t bytes_per_s; /* read no faster; 0: no limit */
	bool (*stop)(void);   /* asked now and then; NULL */
};

enum remote_kind { REMOTE_ATOM, REMOTE_STRING, REMOTE_OPEN, REMOTE_CLOSE, REMOTE_TEXT /* to the line's end */ };
struct remote_token {
	enum remote_kind kind;
	struct shelf_span text;
};
struct remote_response {
	const struct remote_token *token; /* the first is "*", "+" or a tag; lives until the next read */
	size_t n;
};

struct remote;
/* 0; SHELF_EIO cannot be reached, ended, timed out; SHELF_EAUTH refused; SHELF_ESYNTAX speaks something else;
 * SHELF_ECANCELLED. remote_why() tells more for each of them, here and below. */
SHELF_CHECK int remote_open(const struct remote_params *params, struct remote **out);
void remote_close(struct remote **remote); /* LOGOUT, if it can be said */
const char *remote_why(const struct remote *remote);
/* Does the server offer it? As of the last CAPABILITY. */
bool remote_has(const struct remote *remote, const char *capability);
/* Bytes read since the last call. */
uint64_t remote_took(struct remote *remote);

/* A command without its tag and CRLF. *TAG_OUT: the number of its answer. */
SHELF_CHECK int remote_send(struct remote *remote, unsigned *tag_out, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* NAME, quoted as a string; what cannot stand in one is SHELF_ESYNTAX. */
SHELF_CHECK int remote_quote(struct shelf_span name, struct shelf_buf *out);

/* The bytes of "BODY[]" in a FETCH response, as they come. Not 0: the end of the connection's use. */
typedef int remote_body_fn(void *arg, const void *data, size_t len);
SHELF_CHECK int remote_read(struct remote *remote, struct remote_response *out, remote_body_fn *body, void *arg);
/* Whose answer this is: 0 nobody's (untagged), else the tag's number; *OK_OUT: it was OK. */
unsigned remote_answers(struct remote *remote, const struct remote_response *r, bool *ok_out);
/* Sends, and gives all untagged responses until its answer to FN (NULL: nobody). SHELF_EINVALID: that was NO or BAD. */
typedef int remote_response_fn(void *arg, const struct remote_response *r);
SHELF_CHECK int remote_run(struct remote *remote, remote_response_fn *fn, void *arg, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Is token N that word, in any case? */
bool remote_is(const struct remote_response *r, size_t n, const char *word);

/* ---- Between the files of it ------------------------------------------------------------------- */

struct remote_stream;
/* remote_stream.c: TCP and TLS. WHY: 256 bytes. */
SHELF_CHECK int remote_stream_open(const struct remote_params *p, struct remote_stream **out, char *why);
SHELF_CHECK int remote_stream_secure(struct remote_stream *s, const struct remote_params *p, char *why);
void remote_stream_close(struct remote_stream **s);
/* 1..LEN bytes into OUT; 0 the end, or an error and WHY. */
SHELF_CHECK ptrdiff_t remote_stream_read(struct remote_stream *s, void *out, size_t len, char *why);
SHELF_CHECK int remote_stream_write(struct remote_stream *s, const void *data, size_t len, char *why);

/* remote_login.c: logs in on a connection whose capabilities are known. */
SHELF_CHECK int remote_login(struct remote *remote, const struct remote_params *p, bool secure);
/* One line as it is, with CRLF. The text behind "+ " of a continuation; SHELF_EAUTH: an answer came instead. */
SHELF_CHECK int remote_send_line(struct remote *remote, struct shelf_span line);
SHELF_CHECK int remote_continued(struct remote *remote, unsigned tag, struct shelf_buf *text);
void remote_say_why(struct remote *remote, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
