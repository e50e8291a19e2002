/*
 * params.c - Content-Type, Content-Disposition: tokens and parameters (RFC 2045 5.1, 2183, 2231)
 *
 * Mail in the wild breaks the grammar daily, so a value that is not quoted runs to the next ";" or
 * to the next "name=", and what cannot be read is passed over up to the next ";". What must stay
 * true: every byte is looked at a bounded number of times.
 */
#include <stdlib.h>

#include "mime_internal.h"

/* Bytes of a token, as far as we are strict about it. */
static bool
is_token(uint8_t c)
{
	return !mime_is_space(c) && c != ';' && c != '"' && c != '(' && c != '=' && c != '/' && c != ',';
}

static struct shelf_span
take_token(struct mime_cursor *c)
{
	const uint8_t *start = c->p;

	while (c->p < c->end && is_token(*c->p))
		c->p++;
	return shelf_span(start, (size_t)(c->p - start));
}

static void
skip_to_semicolon(struct mime_cursor *c, struct shelf_buf *scratch)
{
	while (c->p < c->end && *c->p != ';') {
		if (*c->p == '"')
			mime_quoted(c, scratch);
		else if (*c->p == '(')
			mime_comment(c, NULL);
		else
			c->p++;
	}
}

/* Does "name =" stand here? Looks ahead only. */
static bool
at_name(struct mime_cursor c)
{
	struct shelf_span name = take_token(&c);

	mime_skip_cfws(&c);
	return name.len > 0 && c.p < c.end && *c.p == '=';
}

/* A value without quotes. Blanks inside are the mistake of writers who should have quoted: they
 * belong to the value unless a comment or another parameter follows. */
static struct shelf_span
take_bare_value(struct mime_cursor *c)
{
	const uint8_t *start = c->p, *end = c->p;

	for (;;) {
		while (c->p < c->end && *c->p != ';' && !mime_is_space(*c->p))
			c->p++;
		end = c->p;
		while (c->p < c->end && mime_is_space(*c->p))
			c->p++;
		if (c->p == c->end || *c->p == ';' || *c->p == '(' || *c->p == '"' || at_name(*c))
			return shelf_span(start, (size_t)(end - start));
	}
}

static struct mime_param *
take_params(struct mime_cursor *c, struct shelf_arena *arena, struct mime_budget *budget)
{
	struct mime_param *first = NULL, **tail = &first;
	struct shelf_buf value = {0};
	unsigned left = MIME_PARAMS_MAX;

	while (left > 0 && budget->params > 0) {
		struct shelf_span name;

		while (c->p < c->end && (mime_skip_cfws(c) || *c->p == ';'))
			if (c->p < c->end && *c->p == ';')
				c->p++;
		if (c->p == c->end)
			break;
		name = take_token(c);
		mime_skip_cfws(c);
		shelf_buf_clear(&value);
		if (name.len == 0 || c->p == c->end || *c->p != '=') {
			skip_to_semicolon(c, &value);
			continue;
		}
		c->p++;
		mime_skip_cfws(c);
		*tail = SHELF_ARENA_NEW(arena, struct mime_param);
		(*tail)->name = mime_text(name, arena);
		if (c->p < c->end && *c->p == '"') {
			mime_quoted(c, &value);
			(*tail)->value = mime_text(shelf_buf_span(&value), arena);
		} else {
			(*tail)->value = mime_unfold(take_bare_value(c), arena);
		}
		tail = &(*tail)->next;
		left--;
		budget->params--;
	}
	shelf_buf_free(&value);
	return mime_params_join(first, arena);
}

void
mime_content_type(struct shelf_span value, struct shelf_arena *arena, struct mime_budget *budget,
    struct shelf_span *type, struct shelf_span *subtype, struct mime_param **params_out)
{
	struct mime_cursor c = mime_cursor(value);
	struct shelf_span a, b = {0};

	mime_skip_cfws(&c);
	a = take_token(&c);
	mime_skip_cfws(&c);
	if (c.p < c.end && *c.p == '/') {
		c.p++;
		mime_skip_cfws(&c);
		b = take_token(&c);
	}
	*type = a.len > 0 && b.len > 0 ? mime_text(a, arena) : shelf_span(NULL, 0);
	*subtype = a.len > 0 && b.len > 0 ? mime_text(b, arena) : shelf_span(NULL, 0);
	*params_out = take_params(&c, arena, budget);
}

struct shelf_span
mime_token(struct shelf_span value, struct shelf_arena *arena)
{
	struct mime_cursor c = mime_cursor(value);
	struct shelf_span token;

	mime_skip_cfws(&c);
	token = take_token(&c);
	return token.len == 0 ? shelf_span(NULL, 0) : mime_text(token, arena);
}

void
mime_disposition(struct shelf_span value, struct shelf_arena *arena, struct mime_budget *budget,
    struct shelf_span *token, struct mime_param **params_out)
{
	struct mime_cursor c = mime_cursor(value);
	struct shelf_span t;

	mime_skip_cfws(&c);
	t = take_token(&c);
	*token = t.len == 0 ? shelf_span(NULL, 0) : mime_text(t, arena);
	*params_out = t.len == 0 ? NULL : take_params(&c, arena, budget);
}

/* ---- RFC 2231 3: continuations ---------------------------------------------------------------- */

struct piece {
	struct mime_param *param;
	struct shelf_span base;
	unsigned index; /* number of the piece */
	unsigned order; /* position in the header */
	bool extended;  /* ends in "*": percent-encoded */
};

/* "name*7*": false when the name is not of that form. */
static bool
piece_of(struct mime_param *param, unsigned order, struct piece *out)
{
	struct shelf_span name = param->name;
	size_t star;
	uint64_t index;

	out->extended = name.len > 0 && name.data[name.len - 1] == '*';
	if (out->extended)
		name.len--;
	star = name.len;
	while (star > 0 && name.data[star - 1] >= '0' && name.data[star - 1] <= '9')
		star--;
	if (star < 2 || name.data[star - 1] != '*' ||
	    !shelf_span_u64(shelf_span(name.data + star, name.len - star), MIME_PARAMS_MAX, &index))
		return false;
	out->param = param;
	out->base = shelf_span(name.data, star - 1);
	out->index = (unsigned)index;
	out->order = order;
	return true;
}

static int
base_cmp(struct shelf_span a, struct shelf_span b)
{
	for (size_t i = 0; i < a.len && i < b.len; i++) {
		int x = a.data[i] >= 'A' && a.data[i] <= 'Z' ? a.data[i] | 0x20 : a.data[i];
		int y = b.data[i] >= 'A' && b.data[i] <= 'Z' ? b.data[i] | 0x20 : b.data[i];

		if (x != y)
			return x - y;
	}
	return (a.len > b.len) - (a.len < b.len);
}

static int
piece_cmp(const void *va, const void *vb)
{
	const struct piece *a = va, *b = vb;
	int c = base_cmp(a->base, b->base);

	if (c != 0)
		return c;
	if (a->index != b->index)
		return a->index < b->index ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static void
add_piece(struct shelf_buf *out, const struct piece *p, bool joined_extended)
{
	struct shelf_span v = p->param->value;

	for (size_t i = 0; i < v.len; i++) {
		/* A plain piece among encoded ones: its "%" must survive the reader's decoding. */
		if (joined_extended && !p->extended && v.data[i] == '%')
			shelf_buf_add_str(out, "%25");
		else
			shelf_buf_add_byte(out, v.data[i]);
	}
}

/* Joins pieces[0..count), all of one base, in order of index. The result takes the place of the
 * piece that came first in the header; names of the others are emptied, which marks them for
 * removal. */
static void
join(struct piece *pieces, size_t count, struct shelf_buf *scratch, struct shelf_arena *arena)
{
	struct mime_param *target = NULL;
	unsigned want = 0, first_order = UINT32_MAX;
	bool extended = false;

	if (pieces[0].index != 0)
		return; /* without a beginning: left as written */
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].order < first_order) {
			first_order = pieces[i].order;
			target = pieces[i].param;
		}
		if (pieces[i].index == want) {
			extended = extended || pieces[i].extended;
			want++;
		}
	}
	shelf_buf_clear(scratch);
	if (extended && !pieces[0].extended)
		shelf_buf_add_str(scratch, "''");
	want = 0;
	for (size_t i = 0; i < count; i++)
		if (pieces[i].index == want) {
			add_piece(scratch, &pieces[i], extended);
			want++;
		}
	for (size_t i = 0; i < count; i++)
		pieces[i].param->name.len = 0;
	target->value = mime_text(shelf_buf_span(scratch), arena);
	shelf_buf_clear(scratch);
	shelf_buf_add_span(scratch, pieces[0].base);
	if (extended)
		shelf_buf_add_byte(scratch, '*');
	target->name = mime_text(shelf_buf_span(scratch), arena);
}

struct mime_param *
mime_params_join(struct mime_param *params, struct shelf_arena *arena)
{
	struct piece pieces[MIME_PARAMS_MAX];
	struct shelf_buf scratch = {0};
	struct mime_param **link = &params;
	size_t count = 0, end;
	unsigned order = 0;

	for (struct mime_param *p = params; p != NULL; p = p->next, order++)
		if (count < MIME_PARAMS_MAX && piece_of(p, order, &pieces[count]))
			count++;
	if (count == 0)
		return params;
	qsort(pieces, count, sizeof(pieces[0]), piece_cmp);
	for (size_t begin = 0; begin < count; begin = end) {
		for (end = begin + 1; end < count; end++)
			if (base_cmp(pieces[begin].base, pieces[end].base) != 0)
				break;
		join(pieces + begin, end - begin, &scratch, arena);
	}
	while (*link != NULL) {
		if ((*link)->name.len == 0)
			*link = (*link)->next;
		else
			link = &(*link)->next;
	}
	shelf_buf_free(&scratch);
	return params;
}
