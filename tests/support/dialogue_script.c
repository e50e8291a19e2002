/*
 * dialogue_script.c - a dialogue file becomes steps
 *
 * Nothing is replaced here: texts and patterns keep their escapes until they are used, since names are
 * captured on the way.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "dialogue.h"
#include "support.h"

static const struct keyword {
	const char *word;
	enum dialogue_kind kind;
	size_t fewest, most; /* words behind it */
	bool block;
} keywords[] = {
    {"account", DIALOGUE_ACCOUNT, 2, 4, false},
    {"deliver", DIALOGUE_DELIVER, 1, 2, true},
    {"conf", DIALOGUE_CONF, 2, 2, false},
    {"store", DIALOGUE_STORE, 2, 2, false},
    {"setting", DIALOGUE_SETTING, 2, 2, false},
    {"services", DIALOGUE_SERVICES, 1, 5, false},
    {"quota", DIALOGUE_QUOTA, 2, 4, false},
    {"password", DIALOGUE_PASSWORD, 2, 2, false},
    {"policy", DIALOGUE_POLICY, 3, 3, false},
    {"expire", DIALOGUE_EXPIRE, 3, 3, false},
    {"alias", DIALOGUE_ALIAS, 1, DIALOGUE_WORDS_MAX, false},
    {"damage", DIALOGUE_DAMAGE, 4, 4, false},
    {"connect", DIALOGUE_CONNECT, 2, 3, false},
    {"sleep", DIALOGUE_SLEEP, 1, 1, false},
};

static const struct verb {
	const char *word;
	enum dialogue_kind kind;
	size_t words; /* behind it; texts count as none */
	bool text, block;
} verbs[] = {
    {"C:", DIALOGUE_SEND, 0, true, false},
    {"C+:", DIALOGUE_SEND_PIECE, 0, true, false},
    {"C<:", DIALOGUE_SEND_BLOCK, 0, false, true},
    {"S:", DIALOGUE_EXPECT, 0, true, false},
    {"S<:", DIALOGUE_EXPECT_BLOCK, 0, false, true},
    {"S*", DIALOGUE_SKIP, 0, true, false},
    {"S!", DIALOGUE_NEVER, 0, true, false},
    {"S~", DIALOGUE_ANY_ORDER, 0, true, false},
    {"tls", DIALOGUE_TLS, 0, false, false},
    {"deflate", DIALOGUE_DEFLATE, 0, false, false},
    {"plain", DIALOGUE_PLAIN, 0, false, false},
    {"closed", DIALOGUE_CLOSED, 0, false, false},
    {"closed*", DIALOGUE_CLOSED_SKIP, 0, false, false},
    {"eof", DIALOGUE_EOF, 0, false, false},
    {"drop", DIALOGUE_DROP, 0, false, false},
    {"quiet", DIALOGUE_QUIET, 1, false, false},
};

struct reader {
	struct dialogue_script *script;
	struct shelf_arena *arena;
	struct shelf_buf *error;
	struct shelf_span rest;
	unsigned line;
	size_t allocated;
};

static bool
wrong(struct reader *r, const char *what)
{
	shelf_buf_printf(r->error, "%s:%u: %s", r->script->file, r->line, what);
	return false;
}

static bool
next_line(struct reader *r, struct shelf_span *line)
{
	ptrdiff_t end;

	if (r->rest.len == 0)
		return false;
	end = shelf_span_find(r->rest, '\n', 0);
	*line = shelf_span(r->rest.data, end < 0 ? r->rest.len : (size_t)end);
	r->rest = shelf_span(r->rest.data + line->len + (end >= 0),
	    r->rest.len - line->len - (end >= 0));
	r->line++;
	return true;
}

/* The rows up to the line that is exactly WORD. */
static bool
read_block(struct reader *r, struct dialogue_step *step, const char *word)
{
	size_t room = 0;
	struct shelf_span line, *rows = NULL;

	while (next_line(r, &line)) {
		if (shelf_span_eq(line, shelf_span_str(word))) {
			step->rows = SHELF_ARENA_ARRAY(r->arena, struct shelf_span, step->nrows + 1);
			if (step->nrows > 0)
				memcpy(step->rows, rows, step->nrows * sizeof *rows);
			free(rows);
			return true;
		}
		if (step->nrows == room) {
			room = room * 2 + 16;
			rows = realloc(rows, room * sizeof *rows);
			if (rows == NULL)
				support_fatal("no memory for a block");
		}
		rows[step->nrows++] = line;
	}
	free(rows);
	return wrong(r, "the block has no end");
}

static bool
take_word(struct shelf_span *line, struct shelf_span *word)
{
	size_t at = 0, end;

	while (at < line->len && (line->data[at] == ' ' || line->data[at] == '\t'))
		at++;
	for (end = at; end < line->len && line->data[end] != ' ' && line->data[end] != '\t';)
		end++;
	*word = shelf_span(line->data + at, end - at);
	*line = shelf_span(line->data + end, line->len - end);
	return word->len > 0;
}

/* The words left in the line; a last one of "<<WORD" begins a block. */
static bool
read_words(struct reader *r, struct dialogue_step *step, struct shelf_span rest, bool block)
{
	struct shelf_span word;
	char *last;

	while (take_word(&rest, &word)) {
		if (step->nwords == DIALOGUE_WORDS_MAX)
			return wrong(r, "too many words");
		step->word[step->nwords++] = shelf_arena_str(r->arena, word);
	}
	last = step->nwords > 0 ? step->word[step->nwords - 1] : NULL;
	if (!block)
		return true;
	if (last == NULL || strncmp(last, "<<", 2) != 0 || last[2] == '\0')
		return wrong(r, "a block is missing: <<EOF at the end");
	step->nwords--;
	return read_block(r, step, last + 2);
}

static bool
keyword_step(struct reader *r, struct dialogue_step *step, const struct keyword *k,
    struct shelf_span rest)
{
	step->kind = k->kind;
	if (!read_words(r, step, rest, k->block))
		return false;
	if (step->nwords < k->fewest || step->nwords > k->most)
		return wrong(r, "wrong number of words");
	return true;
}

static bool
client_step(struct reader *r, struct dialogue_step *step, struct shelf_span client,
    struct shelf_span rest)
{
	struct shelf_span word;

	for (size_t i = 0; i < client.len; i++)
		if (!isalnum(client.data[i]))
			return wrong(r, "neither a keyword nor a client's name");
	if (!take_word(&rest, &word))
		return wrong(r, "what about this client?");
	step->client = shelf_arena_str(r->arena, client);
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		const struct verb *v = &verbs[i];

		if (!shelf_span_eq(word, shelf_span_str(v->word)))
			continue;
		step->kind = v->kind;
		if (v->text) {
			step->text = shelf_span(rest.data + (rest.len > 0),
			    rest.len - (rest.len > 0));
			return true;
		}
		if (!read_words(r, step, rest, v->block))
			return false;
		return step->nwords == v->words || wrong(r, "wrong number of words");
	}
	return wrong(r, "unknown word behind the client");
}

static bool
one_step(struct reader *r, struct shelf_span line)
{
	struct dialogue_script *s = r->script;
	struct dialogue_step *step, *more;
	struct shelf_span word, rest = line;
	const struct keyword fails = {"deliver", DIALOGUE_DELIVER_FAILS, 2, 2, true};

	if (line.len == 0 || line.data[0] == '#' || !take_word(&rest, &word))
		return true;
	if (s->count == r->allocated) {
		more = SHELF_ARENA_ARRAY(r->arena, struct dialogue_step, s->count * 2 + 64);
		if (s->count > 0)
			memcpy(more, s->step, s->count * sizeof *more);
		s->step = more;
		r->allocated = s->count * 2 + 64;
	}
	step = &s->step[s->count++];
	step->line = r->line;
	if (shelf_span_eq(word, shelf_span_str("expect"))) {
		if (!take_word(&rest, &word) || !shelf_span_eq(word, shelf_span_str("deliver")))
			return wrong(r, "only a delivery can be expected to fail");
		return keyword_step(r, step, &fails, rest);
	}
	for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
		if (shelf_span_eq(word, shelf_span_str(keywords[i].word)))
			return keyword_step(r, step, &keywords[i], rest);
	return client_step(r, step, word, rest);
}

bool
dialogue_script_read(struct dialogue_script *script, const char *file, struct shelf_arena *arena,
    struct shelf_buf *error)
{
	struct reader r = {.script = script, .arena = arena, .error = error};
	struct shelf_buf text = {0};
	struct shelf_span line;
	bool good = true;

	*script = (struct dialogue_script){.file = file};
	support_read_file(file, &text);
	r.rest = shelf_arena_dup(arena, shelf_buf_span(&text));
	shelf_buf_free(&text);
	while (good && next_line(&r, &line))
		good = one_step(&r, line);
	if (good && script->count == 0)
		good = wrong(&r, "nothing in this file");
	return good;
}
