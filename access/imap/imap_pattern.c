/*
 * imap_pattern.c - LIST patterns without backtracking
 *
 * A pattern is a row of states, one behind each of its characters; a word of 64 bits holds the
 * states a name can be in, and one pass over the name moves all of them at once. Wildcards that
 * stand together are one ("*" if any is), so that a step needs no closure over more than one.
 * Sources   RFC 9051 6.3.9; RFC 3501 6.3.8.
 */
#include "imap_list.h"

enum { WORDS_MAX = (IMAP_PATTERN_MAX + 1 + 63) / 64 };

struct imap_pattern {
	bool never;          /* matches no name */
	size_t len, words;
	uint64_t *stay_any;  /* states before "*" */
	uint64_t *stay_level; /* states before "%" */
	uint64_t *take[256]; /* states before this byte; NULL: none */
};

static void
set_bit(uint64_t *words, size_t bit)
{
	words[bit / 64] |= (uint64_t)1 << (bit % 64);
}

/* Runs of wildcards become one. */
static void
collapse(struct shelf_buf *text)
{
	size_t from = 0, to = 0;

	while (from < text->len) {
		uint8_t c = text->data[from++];

		if (c == '%' || c == '*') {
			while (from < text->len &&
			    (text->data[from] == '%' || text->data[from] == '*'))
				if (text->data[from++] == '*')
					c = '*';
		}
		text->data[to++] = c;
	}
	text->len = to;
}

/* "inbox" as the first level is INBOX in any case. */
static void
canonical_inbox(struct shelf_buf *text)
{
	if (text->len >= 5 && (text->len == 5 || text->data[5] == '/') &&
	    shelf_span_is(shelf_span(text->data, 5), "INBOX"))
		memcpy(text->data, "INBOX", 5);
}

struct imap_pattern *
imap_pattern_new(struct shelf_arena *arena, struct shelf_span text, bool is_utf8, size_t *states_out)
{
	struct imap_pattern *p = SHELF_ARENA_NEW(arena, struct imap_pattern);
	struct shelf_buf utf8 = {0};
	size_t i = 0;

	*states_out = 1;
	if (!imap_name_decode(text, is_utf8, &utf8)) {
		p->never = true;
		goto out;
	}
	collapse(&utf8);
	canonical_inbox(&utf8);
	if (utf8.len == 0 || utf8.len > IMAP_PATTERN_MAX) {
		p->never = true;
		goto out;
	}
	p->len = utf8.len;
	p->words = (utf8.len + 1 + 63) / 64;
	*states_out = utf8.len;
	p->stay_any = SHELF_ARENA_ARRAY(arena, uint64_t, p->words);
	p->stay_level = SHELF_ARENA_ARRAY(arena, uint64_t, p->words);
	for (i = 0; i < utf8.len; i++) {
		uint8_t c = utf8.data[i];

		if (c == '*') {
			set_bit(p->stay_any, i);
		} else if (c == '%') {
			set_bit(p->stay_level, i);
		} else {
			if (p->take[c] == NULL)
				p->take[c] = SHELF_ARENA_ARRAY(arena, uint64_t, p->words);
			set_bit(p->take[c], i);
		}
	}
out:
	shelf_buf_free(&utf8);
	return p;
}

/* A wildcard may stand for nothing: who is before it is behind it, too. */
static void
skip_wildcards(const struct imap_pattern *p, uint64_t *states)
{
	uint64_t carry = 0;
	size_t i = 0;

	for (i = 0; i < p->words; i++) {
		uint64_t waits = states[i] & (p->stay_any[i] | p->stay_level[i]);

		states[i] |= waits << 1 | carry;
		carry = waits >> 63;
	}
}

/* One byte of the name; false when no state is left. OTHER: another byte that counts as C. */
static bool
step(const struct imap_pattern *p, uint64_t *states, uint8_t c, uint8_t other)
{
	uint64_t carry = 0, any = 0;
	size_t i = 0;

	for (i = 0; i < p->words; i++) {
		uint64_t stay = states[i] & (p->stay_any[i] | (c == '/' ? 0 : p->stay_level[i]));
		uint64_t take = 0;

		if (p->take[c] != NULL)
			take |= p->take[c][i];
		if (p->take[other] != NULL)
			take |= p->take[other][i];
		take &= states[i];
		states[i] = stay | take << 1 | carry;
		carry = take >> 63;
		any |= states[i];
	}
	return any != 0;
}

bool
imap_pattern_match(const struct imap_pattern *p, struct shelf_span name)
{
	uint64_t states[WORDS_MAX] = {1};
	bool inbox = name.len >= 5 && memcmp(name.data, "INBOX", 5) == 0 &&
	    (name.len == 5 || name.data[5] == '/');
	size_t i = 0;

	if (p->never)
		return false;
	skip_wildcards(p, states);
	for (i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if (!step(p, states, c, inbox && i < 5 ? (uint8_t)(c | 0x20) : c))
			return false;
		skip_wildcards(p, states);
	}
	return (states[p->len / 64] >> (p->len % 64) & 1) != 0;
}
