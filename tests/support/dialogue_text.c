/*
 * dialogue_text.c - escapes, names and patterns of dialogues
 *
 * A pattern is cut into tokens first; matching then backtracks over the tokens that may take more or
 * fewer bytes. Lines are short and patterns have few such tokens, so that is fast enough; a budget ends
 * a pattern that is not.
 */
#include <ctype.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "dialogue.h"

enum { TOKENS_MAX = 256, REPEAT_MAX = 64 << 20, MATCH_STEPS_MAX = 50000000 };

void
dialogue_set(struct dialogue_vars *vars, struct shelf_span name, struct shelf_span value)
{
	struct dialogue_var *v;

	for (v = vars->first; v != NULL && !shelf_span_eq(v->name, name); v = v->next)
		;
	if (v == NULL) {
		v = SHELF_ARENA_NEW(vars->arena, struct dialogue_var);
		v->name = shelf_arena_dup(vars->arena, name);
		v->next = vars->first;
		vars->first = v;
	}
	v->value = shelf_arena_dup(vars->arena, value);
}

static const struct dialogue_var *
find(const struct dialogue_vars *vars, struct shelf_span name)
{
	const struct dialogue_var *v;

	for (v = vars->first; v != NULL && !shelf_span_eq(v->name, name); v = v->next)
		;
	return v;
}

static int
hex(uint8_t c)
{
	if (isdigit(c))
		return c - '0';
	return isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* The escape at text[*at], if it is one: its byte goes to OUT and *at behind it. */
static bool
escape(struct shelf_span text, size_t *at, unsigned what, struct shelf_buf *out)
{
	static const char from[] = "rn0\\", to[] = "\r\n\0\\";
	const uint8_t *p = text.data + *at;
	size_t left = text.len - *at;
	const char *found;

	if (left >= 4 && p[0] == '\\' && p[1] == 'x' && hex(p[2]) >= 0 && hex(p[3]) >= 0) {
		shelf_buf_add_byte(out, (uint8_t)(hex(p[2]) << 4 | hex(p[3])));
		*at += 4;
		return true;
	}
	if ((what & DIALOGUE_EXPAND_ESCAPES) == 0 || left < 2 || p[0] != '\\')
		return false;
	found = memchr(from, p[1], sizeof from - 1);
	if (found == NULL)
		return false;
	shelf_buf_add_byte(out, (uint8_t)to[found - from]);
	*at += 2;
	return true;
}

/* ${...} at text[at]: what is between the braces, and the position behind them. */
static bool
braces(struct shelf_span text, size_t at, struct shelf_span *inside, size_t *behind)
{
	ptrdiff_t end;

	if (at + 2 >= text.len || text.data[at] != '$' || text.data[at + 1] != '{')
		return false;
	end = shelf_span_find(text, '}', at + 2);
	if (end < 0)
		return false;
	*inside = shelf_span(text.data + at + 2, (size_t)end - at - 2);
	*behind = (size_t)end + 1;
	return true;
}

static bool
begins(struct shelf_span s, const char *with, struct shelf_span *rest)
{
	size_t n = strlen(with);

	if (s.len < n || memcmp(s.data, with, n) != 0)
		return false;
	*rest = shelf_span(s.data + n, s.len - n);
	return true;
}

/* ${repeat:N:text} and ${base64:text}. 1 done, 0 something else, -1 wrong. */
static int
computed(struct shelf_span inside, struct shelf_buf *out, struct shelf_buf *error)
{
	const struct dialogue_vars none = {0};
	struct shelf_buf text = {0};
	struct shelf_span rest, count;
	ptrdiff_t colon;
	uint64_t n;
	int rc = 1;

	if (begins(inside, "base64:", &rest)) {
		dialogue_expand(&none, rest, DIALOGUE_EXPAND_ESCAPES, &text, error);
		shelf_base64_encode(out, shelf_buf_span(&text));
	} else if (begins(inside, "repeat:", &rest)) {
		colon = shelf_span_find(rest, ':', 0);
		count = shelf_span(rest.data, colon < 0 ? 0 : (size_t)colon);
		if (!shelf_span_u64(count, REPEAT_MAX, &n)) {
			shelf_buf_add_str(error, "${repeat:N:text} wants a number");
			return -1;
		}
		rest = shelf_span(rest.data + colon + 1, rest.len - (size_t)colon - 1);
		dialogue_expand(&none, rest, DIALOGUE_EXPAND_ESCAPES, &text, error);
		if (n * text.len > REPEAT_MAX) {
			shelf_buf_add_str(error, "${repeat:N:text} is too long");
			rc = -1;
		}
		for (uint64_t i = 0; rc == 1 && i < n; i++)
			shelf_buf_add_span(out, shelf_buf_span(&text));
	} else {
		rc = 0;
	}
	shelf_buf_free(&text);
	return rc;
}

bool
dialogue_expand(const struct dialogue_vars *vars, struct shelf_span text, unsigned what,
    struct shelf_buf *out, struct shelf_buf *error)
{
	struct shelf_span inside;
	const struct dialogue_var *var;
	size_t at = 0, behind;
	int rc;

	while (at < text.len) {
		if (escape(text, &at, what, out))
			continue;
		rc = 0;
		if (braces(text, at, &inside, &behind)) {
			rc = computed(inside, out, error);
			if (rc < 0)
				return false;
			if (rc == 0 && (what & DIALOGUE_EXPAND_NAMES) != 0) {
				var = find(vars, inside);
				if (var == NULL) {
					shelf_buf_printf(error, "nothing captured as ${%.*s}",
					    (int)inside.len, inside.data);
					return false;
				}
				shelf_buf_add_span(out, var->value);
				rc = 1;
			}
		}
		if (rc == 1)
			at = behind;
		else
			shelf_buf_add_byte(out, text.data[at++]);
	}
	return true;
}

/* ---- Patterns ---------------------------------------------------------------------------------- */

struct token {
	enum { LITERAL, ANY, NUMBER, NAME } kind;
	size_t start, len;      /* LITERAL: in the buffer of literals */
	struct shelf_span name; /* NAME: to be captured */
	struct shelf_span got;
};

struct matcher {
	struct token token[TOKENS_MAX];
	size_t count;
	struct shelf_buf literals;
	struct shelf_span line;
	unsigned steps;
};

static bool
add_token(struct matcher *m, int kind, struct shelf_span name)
{
	if (m->count == TOKENS_MAX)
		return false;
	m->token[m->count++] = (struct token){.kind = kind, .start = m->literals.len, .name = name};
	return true;
}

static bool
cut(struct matcher *m, const struct dialogue_vars *vars, struct shelf_span pattern,
    struct shelf_buf *error)
{
	const struct shelf_span none = {0};
	struct shelf_span inside;
	size_t at = 0, behind, before;
	int rc;

	while (at < pattern.len) {
		if (m->count == 0 || m->token[m->count - 1].kind != LITERAL)
			if (!add_token(m, LITERAL, none))
				goto too_many;
		before = m->literals.len;
		if (escape(pattern, &at, 0, &m->literals)) {
			m->token[m->count - 1].len += m->literals.len - before;
			continue;
		}
		if (!braces(pattern, at, &inside, &behind)) {
			shelf_buf_add_byte(&m->literals, pattern.data[at++]);
			m->token[m->count - 1].len++;
			continue;
		}
		at = behind;
		rc = computed(inside, &m->literals, error);
		if (rc < 0)
			return false;
		if (rc == 0 && find(vars, inside) != NULL)
			shelf_buf_add_span(&m->literals, find(vars, inside)->value);
		m->token[m->count - 1].len += m->literals.len - before;
		if (rc > 0 || find(vars, inside) != NULL)
			continue;
		rc = shelf_span_eq(inside, shelf_span_str("any"))   ? ANY
		     : shelf_span_eq(inside, shelf_span_str("num")) ? NUMBER
								     : NAME;
		if (!add_token(m, rc, inside))
			goto too_many;
	}
	return true;
too_many:
	shelf_buf_add_str(error, "the pattern has too many pieces");
	return false;
}

static bool
fits(int kind, uint8_t c)
{
	if (kind == ANY)
		return true;
	if (kind == NUMBER)
		return isdigit(c);
	return c > ' ' && c != ')' && c != ']';
}

/* A name that stands twice in one pattern must be the same both times. */
static bool
consistent(const struct matcher *m, size_t t)
{
	for (size_t i = 0; i < t; i++)
		if (m->token[i].kind == NAME && shelf_span_eq(m->token[i].name, m->token[t].name) &&
		    !shelf_span_eq(m->token[i].got, m->token[t].got))
			return false;
	return true;
}

static bool
match_from(struct matcher *m, size_t t, size_t at)
{
	struct token *token = &m->token[t];
	size_t most = 0, left = m->line.len - at;

	if (++m->steps > MATCH_STEPS_MAX)
		return false;
	if (t == m->count)
		return left == 0;
	if (token->kind == LITERAL)
		return left >= token->len &&
		       (token->len == 0 || memcmp(m->line.data + at,
			    m->literals.data + token->start, token->len) == 0) &&
		       match_from(m, t + 1, at + token->len);
	if (token->kind == ANY && t + 1 == m->count)
		return true;
	while (most < left && fits(token->kind, m->line.data[at + most]))
		most++;
	/* The longest first: a name ends where its bytes end. */
	for (size_t n = most + 1; n-- > (token->kind == ANY ? 0u : 1u);) {
		token->got = shelf_span(m->line.data + at, n);
		if ((token->kind != NAME || consistent(m, t)) && match_from(m, t + 1, at + n))
			return true;
	}
	return false;
}

int
dialogue_match(struct dialogue_vars *vars, struct shelf_span pattern, struct shelf_span line,
    struct shelf_buf *error)
{
	struct matcher *m = SHELF_NEW(struct matcher);
	int rc = -1;

	m->line = line;
	if (cut(m, vars, pattern, error))
		rc = match_from(m, 0, 0) ? 1 : 0;
	for (size_t i = 0; rc == 1 && i < m->count; i++)
		if (m->token[i].kind == NAME)
			dialogue_set(vars, m->token[i].name, m->token[i].got);
	shelf_buf_free(&m->literals);
	free(m);
	return rc;
}
