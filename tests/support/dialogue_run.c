/*
 * dialogue_run.c - plays the steps of a dialogue and compares
 *
 * What must stay true: nothing the server says goes unseen. A line is expected, passed over by S*, or
 * reported at the end.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>

#include <mailshelf/mem.h>

#include "dialogue.h"
#include "support.h"

enum { LINE_TIMEOUT_MS = 5000, CLIENTS_MAX = 32, NEVER_MAX = 16, SHOWN_MAX = 30, SHOWN_BYTES = 400 };

struct peer {
	char *name;
	struct dialogue_client *client;
	const struct dialogue_step *never[NEVER_MAX];
	size_t nnever;
};

struct play {
	const struct dialogue_options *options;
	struct dialogue_script script;
	struct dialogue_server *server;
	struct dialogue_vars vars;
	struct shelf_arena arena;
	struct shelf_buf error, seen; /* SEEN: lines passed over, for the report */
	struct peer peer[CLIENTS_MAX];
	size_t npeers;
	const struct dialogue_step *at;
};

static void
print_line(const char *before, struct shelf_span s)
{
	size_t len = s.len < SHOWN_BYTES ? s.len : SHOWN_BYTES;

	printf("%s\"", before);
	for (size_t i = 0; i < len; i++) {
		if (s.data[i] < ' ' || s.data[i] == 127)
			printf("\\x%02X", s.data[i]);
		else
			putchar(s.data[i]);
	}
	puts(len < s.len ? "...\"" : "\"");
}

static bool
fail(struct play *p, const char *fmt, ...)
{
	va_list ap;

	printf("%s:%u: ", p->script.file, p->at->line);
	if (p->at->client != NULL)
		printf("%s: ", p->at->client);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	return false;
}

static bool
fail_expected(struct play *p, struct shelf_span pattern, enum dialogue_got got, const struct peer *peer,
    struct shelf_span line)
{
	fail(p, "expected \"%.*s\"", (int)pattern.len, pattern.data);
	if (p->seen.len > 0)
		printf("    passed over\n%s", shelf_buf_cstr(&p->seen));
	if (got == DIALOGUE_LINE) {
		print_line("    got ", line);
		return false;
	}
	puts(got == DIALOGUE_END ? "    but the server closed the connection"
				 : "    but nothing came for 5 s");
	line = dialogue_client_rest(peer->client);
	if (line.len > 0)
		print_line("    after an unfinished line: ", line);
	return false;
}

static struct peer *
find_peer(struct play *p, const char *name)
{
	for (size_t i = 0; i < p->npeers; i++)
		if (strcmp(p->peer[i].name, name) == 0)
			return &p->peer[i];
	return NULL;
}

static enum dialogue_got
read_line(struct play *p, struct peer *peer, unsigned timeout_ms, struct shelf_span *line)
{
	enum dialogue_got got = dialogue_client_line(peer->client, timeout_ms, line);

	if (p->options->verbose && got == DIALOGUE_LINE) {
		printf("%s S: ", peer->name);
		print_line("", *line);
	}
	return got;
}

static bool
send_bytes(struct play *p, struct peer *peer, struct shelf_buf *bytes)
{
	if (p->options->verbose) {
		printf("%s C: ", peer->name);
		print_line("", shelf_buf_span(bytes));
	}
	if (!dialogue_client_send(peer->client, shelf_buf_span(bytes)))
		return fail(p, "the server does not read");
	return true;
}

/* The rows of a block, each with CRLF. */
static bool
block_bytes(struct play *p, const struct dialogue_step *step, unsigned what, struct shelf_buf *out)
{
	for (size_t i = 0; i < step->nrows; i++) {
		if (!dialogue_expand(&p->vars, step->rows[i], what, out, &p->error))
			return false;
		shelf_buf_add_str(out, "\r\n");
	}
	return true;
}

/* ${literal}: the size of the next block this client sends. */
static bool
set_literal(struct play *p, const struct dialogue_step *step)
{
	const struct dialogue_step *end = p->script.step + p->script.count;
	struct shelf_buf block = {0};
	char number[24];

	for (const struct dialogue_step *s = step + 1; s < end; s++) {
		if (s->kind != DIALOGUE_SEND_BLOCK || strcmp(s->client, step->client) != 0)
			continue;
		if (!block_bytes(p, s, DIALOGUE_EXPAND_NAMES, &block))
			break;
		snprintf(number, sizeof number, "%zu", block.len);
		dialogue_set(&p->vars, shelf_span_str("literal"), shelf_span_str(number));
		shelf_buf_free(&block);
		return true;
	}
	shelf_buf_free(&block);
	return false;
}

static bool
do_send(struct play *p, struct peer *peer, const struct dialogue_step *step)
{
	struct shelf_buf out = {0};
	const unsigned all = DIALOGUE_EXPAND_ESCAPES | DIALOGUE_EXPAND_NAMES;
	bool good;

	if (step->kind == DIALOGUE_SEND_BLOCK) {
		good = block_bytes(p, step, DIALOGUE_EXPAND_NAMES, &out);
	} else {
		good = memmem(step->text.data, step->text.len, "${literal}", 10) == NULL ||
		       set_literal(p, step);
		good = good && dialogue_expand(&p->vars, step->text, all, &out, &p->error);
		if (step->kind == DIALOGUE_SEND)
			shelf_buf_add_str(&out, "\r\n");
	}
	if (!good)
		fail(p, "%s", p->error.len > 0 ? shelf_buf_cstr(&p->error) : "no block follows");
	else
		good = send_bytes(p, peer, &out);
	shelf_buf_free(&out);
	return good;
}

static bool
expect_one(struct play *p, struct peer *peer, struct shelf_span pattern)
{
	struct shelf_span line = {0};
	enum dialogue_got got = read_line(p, peer, LINE_TIMEOUT_MS, &line);
	int rc = got == DIALOGUE_LINE ? dialogue_match(&p->vars, pattern, line, &p->error) : 0;

	if (rc < 0)
		return fail(p, "%s", shelf_buf_cstr(&p->error));
	return rc == 1 || fail_expected(p, pattern, got, peer, line);
}

static bool
do_expect_block(struct play *p, struct peer *peer, const struct dialogue_step *step)
{
	for (size_t i = 0; i < step->nrows; i++)
		if (!expect_one(p, peer, step->rows[i]))
			return false;
	return true;
}

/* False when LINE is one that an S! forbids. */
static bool
allowed(struct play *p, struct peer *peer, struct shelf_span line)
{
	for (size_t i = 0; i < peer->nnever; i++) {
		p->at = peer->never[i];
		if (dialogue_match(&p->vars, p->at->text, line, &p->error) == 0)
			continue;
		fail(p, "must not come: \"%.*s\"", (int)p->at->text.len, p->at->text.data);
		print_line("    got ", line);
		return false;
	}
	return true;
}

static bool
do_skip(struct play *p, struct peer *peer, const struct dialogue_step *step)
{
	struct shelf_span line = {0};
	enum dialogue_got got;
	size_t shown = 0;
	int rc;

	shelf_buf_clear(&p->seen);
	for (;;) {
		got = read_line(p, peer, LINE_TIMEOUT_MS, &line);
		if (got != DIALOGUE_LINE)
			return fail_expected(p, step->text, got, peer, line);
		rc = dialogue_match(&p->vars, step->text, line, &p->error);
		if (rc < 0)
			return fail(p, "%s", shelf_buf_cstr(&p->error));
		if (rc == 1)
			break;
		if (!allowed(p, peer, line))
			return false;
		p->at = step;
		if (shown++ < SHOWN_MAX)
			shelf_buf_printf(&p->seen, "        %.*s\n",
			    (int)(line.len < SHOWN_BYTES ? line.len : SHOWN_BYTES), line.data);
	}
	shelf_buf_clear(&p->seen);
	peer->nnever = 0;
	return true;
}

/* The group of S~ steps that begins at STEP; *count_out steps are done then. */
static bool
do_any_order(struct play *p, struct peer *peer, const struct dialogue_step *step, size_t *count_out)
{
	const struct dialogue_step *end = p->script.step + p->script.count;
	struct shelf_span line = {0};
	enum dialogue_got got;
	size_t n = 0, i;
	bool *used, good = true;

	while (step + n < end && step[n].kind == DIALOGUE_ANY_ORDER &&
	       strcmp(step[n].client, step->client) == 0)
		n++;
	*count_out = n;
	used = shelf_zalloc(n * sizeof *used);
	for (size_t k = 0; good && k < n; k++) {
		got = read_line(p, peer, LINE_TIMEOUT_MS, &line);
		for (i = 0; i < n; i++)
			if (got == DIALOGUE_LINE && !used[i] &&
			    dialogue_match(&p->vars, step[i].text, line, &p->error) == 1)
				break;
		good = i < n;
		if (good)
			used[i] = true;
		for (i = 0; !good && i < n; i++)
			if (!used[i]) {
				p->at = &step[i];
				fail_expected(p, step[i].text, got, peer, line);
			}
	}
	free(used);
	return good;
}

static bool
do_closed(struct play *p, struct peer *peer, bool skip)
{
	struct shelf_span line = {0};
	enum dialogue_got got;

	while ((got = read_line(p, peer, LINE_TIMEOUT_MS, &line)) == DIALOGUE_LINE) {
		if (!skip) {
			fail(p, "expected the end of the connection");
			print_line("    got ", line);
			return false;
		}
		if (!allowed(p, peer, line))
			return false;
	}
	if (got == DIALOGUE_TIMEOUT)
		return fail(p, "the server did not close the connection within 5 s");
	line = dialogue_client_rest(peer->client);
	if (line.len > 0) {
		fail(p, "the connection ended inside a line");
		print_line("    got ", line);
		return false;
	}
	dialogue_client_free(&peer->client);
	return true;
}

static bool
do_quiet(struct play *p, struct peer *peer, const struct dialogue_step *step)
{
	struct shelf_span line = {0};
	enum dialogue_got got = read_line(p, peer, (unsigned)strtoul(step->word[0], NULL, 10), &line);

	if (got == DIALOGUE_TIMEOUT && dialogue_client_rest(peer->client).len == 0)
		return true;
	fail(p, "expected silence");
	if (got == DIALOGUE_END)
		puts("    but the server closed the connection");
	else
		print_line("    got ", got == DIALOGUE_LINE ? line : dialogue_client_rest(peer->client));
	return false;
}

static bool
do_connect(struct play *p, const struct dialogue_step *step)
{
	const char *error = NULL;
	struct peer *peer = find_peer(p, step->word[0]);
	int fd;

	if (peer != NULL && peer->client != NULL)
		return fail(p, "%s is connected", step->word[0]);
	if (peer == NULL && p->npeers == CLIENTS_MAX)
		return fail(p, "too many clients");
	fd = dialogue_server_connect(p->server, step, &error);
	if (fd < 0)
		return fail(p, "%s", error);
	if (peer == NULL)
		peer = &p->peer[p->npeers++];
	*peer = (struct peer){.name = step->word[0]};
	peer->client = dialogue_client_new(fd, p->options->bytewise);
	if (step->nwords > 2 && strcmp(step->word[2], "tls") == 0 &&
	    !dialogue_client_tls(peer->client))
		return fail(p, "the TLS handshake failed");
	return true;
}

static bool
do_client_step(struct play *p, const struct dialogue_step *step, size_t *count_out)
{
	struct peer *peer = find_peer(p, step->client);

	if (peer == NULL || peer->client == NULL)
		return fail(p, "not connected");
	switch (step->kind) {
	case DIALOGUE_TLS:
		return dialogue_client_tls(peer->client) || fail(p, "the TLS handshake failed");
	case DIALOGUE_PLAIN:
		dialogue_client_plain(peer->client);
		return true;
	case DIALOGUE_DEFLATE:
		dialogue_client_deflate(peer->client);
		return true;
	case DIALOGUE_SEND:
	case DIALOGUE_SEND_PIECE:
	case DIALOGUE_SEND_BLOCK:
		return do_send(p, peer, step);
	case DIALOGUE_EXPECT:
		return expect_one(p, peer, step->text);
	case DIALOGUE_EXPECT_BLOCK:
		return do_expect_block(p, peer, step);
	case DIALOGUE_SKIP:
		return do_skip(p, peer, step);
	case DIALOGUE_NEVER:
		if (peer->nnever == NEVER_MAX)
			return fail(p, "too many S! lines");
		peer->never[peer->nnever++] = step;
		return true;
	case DIALOGUE_ANY_ORDER:
		return do_any_order(p, peer, step, count_out);
	case DIALOGUE_CLOSED:
	case DIALOGUE_CLOSED_SKIP:
		return do_closed(p, peer, step->kind == DIALOGUE_CLOSED_SKIP);
	case DIALOGUE_EOF:
		dialogue_client_eof(peer->client);
		return true;
	case DIALOGUE_DROP:
		dialogue_client_free(&peer->client);
		return true;
	case DIALOGUE_QUIET:
		return do_quiet(p, peer, step);
	default:
		return fail(p, "not a step of a client");
	}
}

static bool
do_step(struct play *p, const struct dialogue_step *step, size_t *count_out)
{
	struct shelf_buf message = {0};
	const char *error;
	bool good;

	p->at = step;
	*count_out = 1;
	if (step->client != NULL)
		return do_client_step(p, step, count_out);
	if (step->kind == DIALOGUE_CONNECT)
		return do_connect(p, step);
	if (step->kind == DIALOGUE_SLEEP) {
		poll(NULL, 0, atoi(step->word[0]));
		return true;
	}
	good = block_bytes(p, step, 0, &message);
	error = good ? dialogue_server_do(p->server, step, shelf_buf_span(&message))
		     : shelf_buf_cstr(&p->error);
	shelf_buf_free(&message);
	return error == NULL || fail(p, "%s", error);
}

/* A client that leaves: the server must end its side too, and say nothing more than goodbye. */
static bool
leave(struct play *p, struct peer *peer)
{
	struct shelf_span line = {0};
	enum dialogue_got got;
	bool good = true;

	dialogue_client_eof(peer->client);
	while ((got = read_line(p, peer, LINE_TIMEOUT_MS, &line)) == DIALOGUE_LINE) {
		if (line.len >= 5 && memcmp(line.data, "* BYE", 5) == 0)
			continue;
		if (line.len >= 4 && memcmp(line.data, "421 ", 4) == 0)
			continue;
		printf("%s: at the end of the file, %s: nobody asked for this\n", p->script.file,
		    peer->name);
		print_line("    got ", line);
		good = false;
	}
	if (got == DIALOGUE_TIMEOUT) {
		printf("%s: at the end of the file, %s: the server did not close after the client did\n",
		    p->script.file, peer->name);
		good = false;
	}
	return good;
}

bool
dialogue_run(const char *file, const struct dialogue_options *options)
{
	struct play *p = SHELF_NEW(struct play);
	bool good;
	size_t n;

	signal(SIGPIPE, SIG_IGN);
	p->options = options;
	p->vars.arena = &p->arena;
	good = dialogue_script_read(&p->script, file, &p->arena, &p->error);
	if (good) {
		p->server = dialogue_server_new();
		for (size_t i = 0; good && i < p->script.count; i += n)
			good = do_step(p, &p->script.step[i], &n);
		for (size_t i = 0; i < p->npeers; i++) {
			if (good && p->peer[i].client != NULL)
				good = leave(p, &p->peer[i]);
			dialogue_client_free(&p->peer[i].client);
		}
		dialogue_server_free(&p->server);
	} else {
		puts(shelf_buf_cstr(&p->error));
	}
	shelf_buf_free(&p->error);
	shelf_buf_free(&p->seen);
	shelf_arena_free(&p->arena);
	free(p);
	return good;
}
