/*
 * match.c - one pattern against folded text that comes in pieces
 *
 * Knuth, Morris and Pratt: `at` code points of the pattern end at the last code point seen. It survives
 * from piece to piece, so a match may straddle any number of them, and the work is linear in text and
 * pattern whatever they hold.
 */
#include <mailshelf/mem.h>

#include "search.h"

/* TEXT folded into OUT, unless that is NULL; how much it is. */
static size_t
fold_pattern(struct shelf_span text, uint32_t *out)
{
	uint32_t folded[SEARCH_FOLD_MAX], last = 0;
	size_t pos = 0, n = 0;

	while (pos < text.len) {
		size_t got = search_fold(shelf_utf8_next(text, &pos), folded);

		for (size_t i = 0; i < got; i++) {
			if (folded[i] == ' ' && last == ' ')
				continue;
			last = folded[i];
			if (out != NULL)
				out[n] = last;
			n++;
		}
	}
	return n;
}

bool
search_match_init(struct search_match *m, struct shelf_span text, struct shelf_arena *arena)
{
	uint32_t *pattern, *fail;
	size_t n, k = 0;

	*m = (struct search_match){0};
	search_fold_begin();
	n = fold_pattern(text, NULL);
	if (n == 0)
		return false;
	pattern = SHELF_ARENA_ARRAY(arena, uint32_t, n);
	fail = SHELF_ARENA_ARRAY(arena, uint32_t, n);
	fold_pattern(text, pattern);
	for (size_t i = 1; i < n; i++) {
		while (k > 0 && pattern[i] != pattern[k])
			k = fail[k - 1];
		if (pattern[i] == pattern[k])
			k++;
		fail[i] = (uint32_t)k;
	}
	m->pattern = pattern;
	m->fail = fail;
	m->len = n;
	return true;
}

void
search_match_feed(struct search_match *m, const uint32_t *folded, size_t n)
{
	size_t at = m->at;
	uint32_t first = m->pattern[0];

	if (m->found)
		return;
	for (size_t i = 0; i < n; i++) {
		uint32_t c;

		while (at == 0 && i < n && folded[i] != first)
			i++;
		if (i == n)
			break;
		c = folded[i];
		while (at > 0 && c != m->pattern[at])
			at = m->fail[at - 1];
		if (c == m->pattern[at] && ++at == m->len) {
			m->found = true;
			return;
		}
	}
	m->at = at;
}
