/*
 * header.c - header blocks: walking over the fields, unfolding, comments and quotes
 *
 * What must stay true: the empty line that ends a block is the same for the scanner
 * (mime_scan_feed) and for mime_field_next, or the fields served would not be the fields parsed.
 */
#include "mime_internal.h"

int
mime_hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct shelf_span
mime_text(struct shelf_span s, struct shelf_arena *arena)
{
	uint8_t *p = shelf_arena_alloc(arena, s.len);

	for (size_t i = 0; i < s.len; i++)
		p[i] = MIME_BYTE(s.data[i]);
	return shelf_span(p, s.len);
}

/* End of the line that starts at POS: behind its LF, or the end of the block. */
static size_t
line_end(struct shelf_span header, size_t pos)
{
	ptrdiff_t lf = shelf_span_find(header, '\n', pos);

	return lf < 0 ? header.len : (size_t)lf + 1;
}

/* Nothing but CR before its LF. More than one CR is what a careless transfer makes of CRLF. */
static bool
line_empty(struct shelf_span header, size_t pos, size_t end)
{
	if (header.data[end - 1] != '\n')
		return false;
	while (pos < end - 1 && header.data[pos] == '\r')
		pos++;
	return pos == end - 1;
}

/* Length of the field name at POS, 0 when the line is no field (RFC 5322 2.2, 4.5 for blanks before
 * the colon). *COLON is set on success. */
static size_t
field_name(struct shelf_span header, size_t pos, size_t end, size_t *colon)
{
	size_t i = pos, name_end;

	while (i < end && header.data[i] > ' ' && header.data[i] < 0x7f && header.data[i] != ':')
		i++;
	name_end = i;
	while (i < end && mime_is_blank(header.data[i]))
		i++;
	if (i == end || header.data[i] != ':')
		return 0;
	*colon = i;
	return name_end - pos;
}

bool
mime_field_next(struct shelf_span header, size_t *pos, struct mime_field *out)
{
	while (*pos < header.len) {
		size_t start = *pos, end = line_end(header, start), colon = 0, name_len, value_end;

		if (line_empty(header, start, end))
			return false;
		name_len = field_name(header, start, end, &colon);
		while (end < header.len && mime_is_blank(header.data[end]))
			end = line_end(header, end);
		*pos = end;
		if (name_len == 0)
			continue;
		value_end = end;
		if (header.data[value_end - 1] == '\n') {
			value_end--;
			if (header.data[value_end - 1] == '\r')
				value_end--;
		}
		out->name = shelf_span(header.data + start, name_len);
		out->value = shelf_span(header.data + colon + 1, value_end - colon - 1);
		out->whole = shelf_span(header.data + start, end - start);
		return true;
	}
	return false;
}

/*
 * A run of blanks that holds a line end is a fold and becomes one blank; a run without one is the
 * writer's own and stays. A lone CR counts as a line end: no text that leaves here holds CR or LF.
 */
struct shelf_span
mime_unfold(struct shelf_span value, struct shelf_arena *arena)
{
	uint8_t *text = shelf_arena_alloc(arena, value.len);
	size_t len = 0, i = 0;

	while (value.len > 0 && mime_is_space(value.data[value.len - 1]))
		value.len--;
	while (i < value.len && mime_is_space(value.data[i]))
		i++;
	while (i < value.len) {
		size_t run = i;
		bool fold = false;

		while (mime_is_space(value.data[run])) {
			fold = fold || !mime_is_blank(value.data[run]);
			run++;
		}
		if (fold) {
			text[len++] = ' ';
			i = run;
		}
		while (i < run)
			text[len++] = value.data[i++];
		text[len++] = MIME_BYTE(value.data[i]);
		i++;
	}
	return shelf_span(text, len);
}

void
mime_comment(struct mime_cursor *c, struct shelf_buf *out)
{
	unsigned depth = 0;

	for (; c->p < c->end; c->p++) {
		uint8_t byte = *c->p;

		if (byte == ')' && --depth == 0) {
			c->p++;
			return;
		}
		if (byte == '(' && depth++ == 0)
			continue;
		if (byte == '\\') {
			if (++c->p == c->end)
				return;
			byte = *c->p;
		}
		if (out != NULL && byte != '\r' && byte != '\n')
			shelf_buf_add_byte(out, MIME_BYTE(byte));
	}
}

void
mime_quoted(struct mime_cursor *c, struct shelf_buf *out)
{
	for (c->p++; c->p < c->end; c->p++) {
		uint8_t byte = *c->p;

		if (byte == '"') {
			c->p++;
			return;
		}
		if (byte == '\\') {
			if (++c->p == c->end)
				return;
			byte = *c->p;
		}
		if (byte != '\r' && byte != '\n')
			shelf_buf_add_byte(out, MIME_BYTE(byte));
	}
}

bool
mime_skip_cfws(struct mime_cursor *c)
{
	const uint8_t *start = c->p;

	while (c->p < c->end) {
		if (*c->p == '(')
			mime_comment(c, NULL);
		else if (mime_is_space(*c->p))
			c->p++;
		else
			break;
	}
	return c->p != start;
}
