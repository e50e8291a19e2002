/*
 * remote.c - IMAP as a client: commands out, responses in
 *
 * A response is read byte by byte out of a buffer and cut into tokens as it comes: nothing looks for the end of a
 * line first, so a literal in its middle is nothing special. What must stay true: a response is bounded
 * (REMOTE_RESPONSE_MAX_BYTES, REMOTE_TOKENS_MAX), whatever it says of itself; a body is handed on, not held.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <mailshelf/mem.h>

#include "remote.h"

enum { IN_BYTES = 64 * 1024, WHY_BYTES = 256, COMMAND_BYTES = 64 * 1024 /* none is longer */ };

struct remote {
	struct remote_stream *stream;
	char why[WHY_BYTES];
	uint8_t in[IN_BYTES];
	size_t at, len;
	uint64_t taken;
	unsigned tags;
	struct shelf_buf caps; /* of the last CAPABILITY: words, each with a blank in front and behind */
	/* The response being read. Texts are offsets into BYTES until it is complete. */
	struct shelf_buf bytes;
	struct remote_token *token;
	size_t *from;
	size_t n, cap;
	bool in_use; /* logged in, and a command can be sent */
	bool bye;    /* WHY is what it said at its end */
};

void
remote_say_why(struct remote *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->why, sizeof r->why, fmt, ap);
	va_end(ap);
}

const char *
remote_why(const struct remote *r)
{
	return r->why[0] == '\0' ? "connection closed" : r->why;
}

uint64_t
remote_took(struct remote *r)
{
	uint64_t n = r->taken;

	r->taken = 0;
	return n;
}

/* ---- Bytes ------------------------------------------------------------------------------------- */

static int
fill(struct remote *r)
{
	ptrdiff_t n;

	if (!r->bye)
		r->why[0] = '\0';
	n = remote_stream_read(r->stream, r->in, sizeof r->in, r->why);
	if (n <= 0) {
		r->in_use = false;
		return n == 0 ? SHELF_EIO : (int)n;
	}
	r->at = 0;
	r->len = (size_t)n;
	r->taken += (uint64_t)n;
	return 0;
}

/* The next byte, not taken. */
static int
peek(struct remote *r, uint8_t *c)
{
	int rc = r->at < r->len ? 0 : fill(r);

	if (rc == 0)
		*c = r->in[r->at];
	return rc;
}

static int
bad(struct remote *r, const char *what)
{
	r->in_use = false;
	remote_say_why(r, "the server speaks no IMAP: %s", what);
	return SHELF_ESYNTAX;
}

static int
keep(struct remote *r, uint8_t c)
{
	if (r->bytes.len >= REMOTE_RESPONSE_MAX_BYTES)
		return bad(r, "a response of more than a megabyte");
	shelf_buf_add_byte(&r->bytes, c);
	return 0;
}

/* ---- Tokens ------------------------------------------------------------------------------------ */

static int
begin_token(struct remote *r, enum remote_kind kind)
{
	if (r->n == REMOTE_TOKENS_MAX)
		return bad(r, "a response of too many words");
	if (r->n == r->cap) {
		r->cap = r->cap == 0 ? 256 : 2 * r->cap;
		r->token = shelf_realloc(r->token, r->cap * sizeof *r->token);
		r->from = shelf_realloc(r->from, r->cap * sizeof *r->from);
	}
	r->token[r->n].kind = kind;
	r->token[r->n].text = shelf_span(NULL, 0);
	r->from[r->n++] = r->bytes.len;
	return 0;
}

static void
end_token(struct remote *r)
{
	r->token[r->n - 1].text.len = r->bytes.len - r->from[r->n - 1];
}

static bool
token_is(const struct remote *r, size_t n, const char *word)
{
	return n < r->n && shelf_span_is(shelf_span(r->bytes.data + r->from[n], r->token[n].text.len), word);
}

/* To the end of the line; a CR goes with it. */
static int
read_text(struct remote *r)
{
	uint8_t c = 0;
	int rc = begin_token(r, REMOTE_TEXT);

	while (rc == 0 && (rc = peek(r, &c)) == 0 && c != '\n') {
		r->at++;
		if (c != '\r')
			rc = keep(r, c);
	}
	if (rc == 0)
		end_token(r);
	return rc;
}

static int
read_quoted(struct remote *r)
{
	uint8_t c = 0;
	int rc = begin_token(r, REMOTE_STRING);

	r->at++;
	while (rc == 0 && (rc = peek(r, &c)) == 0 && c != '"') {
		if (c == '\n')
			return bad(r, "a string without an end");
		r->at++;
		if (c == '\\' && (rc = peek(r, &c)) == 0)
			r->at++;
		if (rc == 0)
			rc = keep(r, c);
	}
	if (rc == 0) {
		r->at++;
		end_token(r);
	}
	return rc;
}

/* "{123}", "{123+}" and the line's end behind it. */
static int
read_length(struct remote *r, uint64_t *len)
{
	char digits[24] = "";
	size_t n = 0;
	uint8_t c = 0;
	int rc;

	r->at++;
	while ((rc = peek(r, &c)) == 0 && c != '}' && n < sizeof digits - 1) {
		digits[n++] = (char)c;
		r->at++;
	}
	if (rc != 0)
		return rc;
	if (n > 0 && digits[n - 1] == '+')
		n--;
	if (c != '}' || !shelf_span_u64(shelf_span(digits, n), UINT32_MAX, len))
		return bad(r, "a literal without a length");
	r->at++;
	if ((rc = peek(r, &c)) == 0 && c == '\r')
		r->at++;
	if (rc == 0 && (rc = peek(r, &c)) == 0 && c != '\n')
		return bad(r, "something behind the length of a literal");
	r->at += rc == 0;
	return rc;
}

static int
read_literal(struct remote *r, remote_body_fn *body, void *arg)
{
	bool hand_on = body != NULL && token_is(r, 2, "FETCH") && token_is(r, r->n - 1, "BODY[]");
	uint64_t len = 0;
	int rc = read_length(r, &len);

	if (rc == 0)
		rc = begin_token(r, REMOTE_STRING);
	if (rc == 0 && !hand_on && r->bytes.len + len > REMOTE_RESPONSE_MAX_BYTES)
		return bad(r, "a literal of more than a megabyte where no message is");
	if (rc == 0 && hand_on)
		rc = body(arg, "", 0);
	while (rc == 0 && len > 0) {
		size_t take;

		if (r->at == r->len && (rc = fill(r)) != 0)
			break;
		take = r->len - r->at < len ? r->len - r->at : (size_t)len;
		if (hand_on)
			rc = body(arg, r->in + r->at, take);
		else
			shelf_buf_add(&r->bytes, r->in + r->at, take);
		r->at += take;
		len -= take;
	}
	if (rc == 0)
		end_token(r);
	else
		r->in_use = false; /* in the middle of a response nothing can be said */
	return rc;
}

/* To a blank, a parenthesis, the line's end; what stands in the brackets of BODY[...] is one. */
static int
read_atom(struct remote *r)
{
	unsigned depth = 0;
	bool section = false;
	uint8_t c = 0;
	int rc = begin_token(r, REMOTE_ATOM);

	while (rc == 0 && (rc = peek(r, &c)) == 0) {
		if (c == '\n' || c == '\r' || (depth == 0 && (c == ' ' || c == '(' || c == ')')))
			break;
		if (c == '[' && depth == 0) {
			end_token(r);
			section = token_is(r, r->n - 1, "BODY") || token_is(r, r->n - 1, "BINARY") ||
			    token_is(r, r->n - 1, "BINARY.SIZE");
		}
		depth += c == '[' && section;
		depth -= c == ']' && depth > 0;
		r->at++;
		rc = keep(r, c);
	}
	if (rc == 0)
		end_token(r);
	return rc;
}

/* Behind OK, NO, BAD, BYE, PREAUTH stand a code in brackets and free text; behind "+" free text. */
static bool
text_comes(const struct remote *r)
{
	static const char *const words[] = {"OK", "NO", "BAD", "BYE", "PREAUTH"};

	if (r->n == 1)
		return token_is(r, 0, "+");
	for (size_t i = 0; i < sizeof words / sizeof *words && r->n == 2; i++)
		if (token_is(r, 1, words[i]))
			return true;
	return false;
}

static int
read_tokens(struct remote *r, remote_body_fn *body, void *arg)
{
	uint8_t c = 0;
	int rc;

	while ((rc = peek(r, &c)) == 0) {
		if (c == ' ' || c == '\r') {
			r->at++;
		} else if (c == '\n') {
			r->at++;
			return 0;
		} else if (text_comes(r)) {
			rc = read_text(r);
		} else if (c == '(' || c == ')') {
			r->at++;
			rc = begin_token(r, c == '(' ? REMOTE_OPEN : REMOTE_CLOSE);
		} else if (c == '"') {
			rc = read_quoted(r);
		} else if (c == '{') {
			rc = read_literal(r, body, arg);
		} else if (c == '~') { /* literal8 */
			r->at++;
		} else {
			rc = read_atom(r);
		}
		if (rc != 0)
			break;
	}
	return rc;
}

static void
take_capabilities(struct remote *r, struct shelf_span words)
{
	shelf_buf_clear(&r->caps);
	shelf_buf_add_byte(&r->caps, ' ');
	shelf_buf_add_span(&r->caps, words);
	shelf_buf_add_byte(&r->caps, ' ');
}

/* "[CAPABILITY ...]" in a text, or the response of that name. */
static void
look_for_capabilities(struct remote *r)
{
	static const char code[] = "[CAPABILITY ";
	struct shelf_buf words = {0};

	if (r->n >= 3 && r->token[2].kind == REMOTE_TEXT && r->token[2].text.len > sizeof code &&
	    strncasecmp((const char *)r->token[2].text.data, code, sizeof code - 1) == 0) {
		ptrdiff_t end = shelf_span_find(r->token[2].text, ']', 0);

		if (end > 0)
			take_capabilities(r, shelf_span(r->token[2].text.data + sizeof code - 1,
			    (size_t)end - (sizeof code - 1)));
	} else if (r->n >= 2 && shelf_span_is(r->token[1].text, "CAPABILITY")) {
		for (size_t i = 2; i < r->n; i++)
			shelf_buf_printf(&words, "%s%.*s", i > 2 ? " " : "", (int)r->token[i].text.len,
			    (const char *)r->token[i].text.data);
		take_capabilities(r, shelf_buf_span(&words));
		shelf_buf_free(&words);
	}
}

int
remote_read(struct remote *r, struct remote_response *out, remote_body_fn *body, void *arg)
{
	int rc;

	r->n = 0;
	shelf_buf_clear(&r->bytes);
	*out = (struct remote_response){.n = 0};
	while ((rc = read_tokens(r, body, arg)) == 0 && r->n == 0) /* an empty line */
		;
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < r->n; i++)
		r->token[i].text.data = r->bytes.data + r->from[i];
	*out = (struct remote_response){r->token, r->n};
	look_for_capabilities(r);
	if (remote_is(out, 0, "*") && remote_is(out, 1, "BYE")) {
		r->in_use = false;
		r->bye = true;
		if (r->n > 2)
			remote_say_why(r, "the server ended it: %.*s", (int)r->token[2].text.len,
			    (const char *)r->token[2].text.data);
	}
	return 0;
}

bool
remote_is(const struct remote_response *r, size_t n, const char *word)
{
	return n < r->n && r->token[n].kind != REMOTE_OPEN && r->token[n].kind != REMOTE_CLOSE &&
	    shelf_span_is(r->token[n].text, word);
}

unsigned
remote_answers(struct remote *remote, const struct remote_response *r, bool *ok_out)
{
	uint64_t tag;

	*ok_out = false;
	if (r->n < 2 || r->token[0].text.len < 2 || r->token[0].text.data[0] != 'm' ||
	    !shelf_span_u64(shelf_span(r->token[0].text.data + 1, r->token[0].text.len - 1), UINT32_MAX, &tag))
		return 0;
	*ok_out = remote_is(r, 1, "OK");
	if (!*ok_out && r->n > 2)
		remote_say_why(remote, "%.*s", (int)(r->token[2].text.len < 200 ? r->token[2].text.len : 200),
		    (const char *)r->token[2].text.data);
	return (unsigned)tag;
}

/* ---- Commands ---------------------------------------------------------------------------------- */

int
remote_send_line(struct remote *r, struct shelf_span line)
{
	struct shelf_buf b = {0};
	int rc;

	/* One piece, so that it can be wiped. */
	shelf_buf_reserve(&b, line.len + 2);
	shelf_buf_add_span(&b, line);
	shelf_buf_add_str(&b, "\r\n");
	rc = remote_stream_write(r->stream, b.data, b.len, r->why);
	explicit_bzero(b.data, b.cap);
	shelf_buf_free(&b);
	r->in_use = r->in_use && rc == 0;
	return rc;
}

static int
send_command(struct remote *r, unsigned *tag, const char *fmt, va_list ap)
{
	struct shelf_buf b = {0};
	int rc;

	*tag = ++r->tags;
	shelf_buf_reserve(&b, COMMAND_BYTES);
	shelf_buf_printf(&b, "m%u ", *tag);
	shelf_buf_vprintf(&b, fmt, ap);
	rc = remote_send_line(r, shelf_buf_span(&b));
	explicit_bzero(b.data, b.cap);
	shelf_buf_free(&b);
	return rc;
}

int
remote_send(struct remote *r, unsigned *tag_out, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = send_command(r, tag_out, fmt, ap);
	va_end(ap);
	return rc;
}

int
remote_run(struct remote *r, remote_response_fn *fn, void *arg, const char *fmt, ...)
{
	struct remote_response response;
	unsigned tag, whose;
	bool ok;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = send_command(r, &tag, fmt, ap);
	va_end(ap);
	while (rc == 0 && (rc = remote_read(r, &response, NULL, NULL)) == 0) {
		if ((whose = remote_answers(r, &response, &ok)) == tag)
			return ok ? 0 : SHELF_EINVALID;
		if (whose != 0 || remote_is(&response, 0, "+"))
			return bad(r, "an answer to nothing that was asked");
		rc = fn == NULL ? 0 : fn(arg, &response);
	}
	return rc;
}

int
remote_continued(struct remote *r, unsigned tag, struct shelf_buf *text)
{
	struct remote_response response;
	bool ok;
	int rc;

	shelf_buf_clear(text);
	while ((rc = remote_read(r, &response, NULL, NULL)) == 0) {
		if (remote_is(&response, 0, "+")) {
			if (response.n > 1)
				shelf_buf_add_span(text, response.token[1].text);
			return 0;
		}
		if (remote_answers(r, &response, &ok) == tag)
			return SHELF_EAUTH;
	}
	return rc;
}

int
remote_quote(struct shelf_span name, struct shelf_buf *out)
{
	shelf_buf_add_byte(out, '"');
	for (size_t i = 0; i < name.len; i++) {
		if (name.data[i] == '\r' || name.data[i] == '\n' || name.data[i] == 0)
			return SHELF_ESYNTAX;
		if (name.data[i] == '"' || name.data[i] == '\\')
			shelf_buf_add_byte(out, '\\');
		shelf_buf_add_byte(out, name.data[i]);
	}
	shelf_buf_add_byte(out, '"');
	return 0;
}

bool
remote_has(const struct remote *r, const char *capability)
{
	size_t len = strlen(capability);

	for (size_t at = 0; at + len + 2 <= r->caps.len; at++)
		if (r->caps.data[at] == ' ' && r->caps.data[at + 1 + len] == ' ' &&
		    strncasecmp((const char *)r->caps.data + at + 1, capability, len) == 0)
			return true;
	return false;
}

/* ---- Opening ------------------------------------------------------------------------------------ */

static int
greeting(struct remote *r, bool *preauth)
{
	struct remote_response response;
	int rc = remote_read(r, &response, NULL, NULL);

	*preauth = rc == 0 && remote_is(&response, 1, "PREAUTH");
	if (rc != 0)
		return rc;
	if (remote_is(&response, 1, "BYE"))
		return SHELF_EIO;
	return remote_is(&response, 0, "*") && (*preauth || remote_is(&response, 1, "OK")) ? 0 : bad(r, "no greeting");
}

static int
ask_capabilities(struct remote *r)
{
	int rc = r->caps.len > 0 ? 0 : remote_run(r, NULL, NULL, "CAPABILITY");

	if (rc == 0 && !remote_has(r, "IMAP4rev1") && !remote_has(r, "IMAP4rev2"))
		rc = bad(r, "neither IMAP4rev1 nor IMAP4rev2");
	return rc;
}

static int
start_tls(struct remote *r, const struct remote_params *p, bool *secure)
{
	int rc;

	if (*secure || (p->cleartext && !remote_has(r, "STARTTLS")))
		return 0;
	if (!remote_has(r, "STARTTLS")) {
		remote_say_why(r, "the server offers no TLS");
		return SHELF_EIO;
	}
	if ((rc = remote_run(r, NULL, NULL, "STARTTLS")) != 0)
		return rc == SHELF_EINVALID ? SHELF_EIO : rc;
	/* What came in clear behind its answer is nobody's. */
	r->at = r->len = 0;
	shelf_buf_clear(&r->caps);
	*secure = true;
	return remote_stream_secure(r->stream, p, r->why);
}

static int
set_up(struct remote *r, const struct remote_params *p)
{
	bool preauth, secure = p->tls;
	int rc;

	if ((rc = remote_stream_open(p, &r->stream, r->why)) != 0 ||
	    (secure && (rc = remote_stream_secure(r->stream, p, r->why)) != 0) || (rc = greeting(r, &preauth)) != 0 ||
	    (rc = ask_capabilities(r)) != 0)
		return rc;
	if (preauth && ((!secure && !p->cleartext) || p->as != NULL)) {
		remote_say_why(r, p->as != NULL ? "the server lets in whom it wants" : "the server offers no TLS");
		return SHELF_EIO;
	}
	if (!preauth && ((rc = start_tls(r, p, &secure)) != 0 || (rc = ask_capabilities(r)) != 0 ||
	        (rc = remote_login(r, p, secure)) != 0))
		return rc;
	r->in_use = true;
	/* What is offered now may be more; it came with the answer, or is asked for. */
	return remote_run(r, NULL, NULL, "CAPABILITY");
}

int
remote_open(const struct remote_params *p, struct remote **out)
{
	*out = SHELF_NEW(struct remote);
	return set_up(*out, p);
}

void
remote_close(struct remote **remote)
{
	struct remote *r = *remote;
	unsigned tag;

	if (r == NULL)
		return;
	*remote = NULL;
	if (r->in_use && remote_send(r, &tag, "LOGOUT") != 0)
		r->in_use = false; /* nobody waits for its answer */
	remote_stream_close(&r->stream);
	shelf_buf_free(&r->caps);
	shelf_buf_free(&r->bytes);
	free(r->token);
	free(r->from);
	free(r);
}
