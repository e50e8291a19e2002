/*
 * message_id.c - message ids in References, In-Reply-To and Message-ID, in one spelling
 *
 *   "<" left "@" right ">", white space and comments between its tokens passed over, quotes undone
 *
 * Anything else between ids (dates, names, addresses without brackets) is passed over; "<x>" without "@" is no
 * id. Work is linear: what was looked at is not looked at again, but for one quote that never ends.
 * Sources   RFC 5256 3 (normalized, case kept); RFC 5322 3.6.4, 4.5.4.
 */
#include "sort.h"

struct id {
	struct shelf_span s;
	size_t at;
	bool plain; /* quotes mean nothing: one did not end */
	struct shelf_buf *out;
};

enum got { GOT_ID, GOT_NONE, GOT_OPEN_QUOTE };

/* At a quote. */
static bool
take_quoted(struct id *id)
{
	for (id->at++; id->at < id->s.len; id->at++) {
		uint8_t c = id->s.data[id->at];

		if (c == '"') {
			id->at++;
			return true;
		}
		if (c == '\\' && ++id->at == id->s.len)
			return false;
		shelf_buf_add_byte(id->out, id->s.data[id->at]);
	}
	return false;
}

/* At a parenthesis. One that does not close ends with the text. */
static void
skip_comment(struct id *id)
{
	unsigned depth = 0;

	for (; id->at < id->s.len; id->at++) {
		uint8_t c = id->s.data[id->at];

		if (c == '\\')
			id->at++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0)
			break;
	}
	id->at = id->at < id->s.len ? id->at + 1 : id->s.len;
}

/* Behind "<". */
static enum got
take_id(struct id *id)
{
	size_t sign = 0; /* where in OUT the "@" stands */

	shelf_buf_clear(id->out);
	while (id->at < id->s.len) {
		uint8_t c = id->s.data[id->at];

		if (c == '>') {
			id->at++;
			return sign > 0 && sign + 1 < id->out->len ? GOT_ID : GOT_NONE;
		}
		if (c == '<' || c == '\\')
			return GOT_NONE;
		if (c == '"' && !id->plain) {
			if (!take_quoted(id))
				return GOT_OPEN_QUOTE;
			continue;
		}
		if (c == '(') {
			skip_comment(id);
			continue;
		}
		if (c == '@')
			sign = id->out->len;
		if (c > ' ')
			shelf_buf_add_byte(id->out, c);
		id->at++;
	}
	return GOT_NONE;
}

bool
search_next_id(struct shelf_span text, size_t *pos, struct shelf_buf *out)
{
	struct id id = {.s = text, .out = out};
	ptrdiff_t from = (ptrdiff_t)*pos;

	while ((from = shelf_span_find(text, '<', (size_t)from)) >= 0) {
		enum got got;

		id.at = (size_t)from + 1;
		got = take_id(&id);
		if (got == GOT_OPEN_QUOTE) {
			id.plain = true;
			id.at = (size_t)from + 1;
			got = take_id(&id);
		}
		*pos = id.at;
		if (got == GOT_ID)
			return true;
		from = (ptrdiff_t)id.at;
	}
	*pos = text.len;
	return false;
}
