/*
 * fuzz_search.c - texts of search: pattern, charset, text
 *
 * The input is a line with the pattern, a line with the charset ("<" before it: the text is HTML), and the
 * text. Properties: the answer does not depend on how the text is cut; for valid UTF-8 it is that of a naive
 * search over the folded code points; what was found in a text is found in a longer one, too.
 */
#include <stdlib.h>
#include <mailshelf/mem.h>

#include "search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct shelf_span
line(const uint8_t **at, const uint8_t *end)
{
	const uint8_t *start = *at, *lf = memchr(start, '\n', (size_t)(end - start));

	*at = lf == NULL ? end : lf + 1;
	return shelf_span(start, (size_t)((lf == NULL ? end : lf) - start));
}

static bool
search(struct shelf_span pattern, struct shelf_span charset, struct shelf_span text, size_t piece)
{
	struct shelf_arena arena = {0};
	struct search_match m, *list[1] = {&m};
	struct search_text *t = shelf_arena_zalloc(&arena, sizeof *t);
	bool html = charset.len > 0 && *charset.data == '<';
	bool found = true;

	if (search_match_init(&m, pattern, &arena)) {
		search_text_begin(t, html ? shelf_span(charset.data + 1, charset.len - 1) : charset, list, 1);
		if (html)
			search_text_html(t);
		for (size_t at = 0; at < text.len; at += piece) {
			size_t len = text.len - at < piece ? text.len - at : piece;

			search_text_feed(t, shelf_span(text.data + at, len));
			if ((at / piece) % 3 == 0)
				search_text_flush(t);
		}
		search_text_end(t);
		found = m.found;
	}
	shelf_arena_free(&arena);
	return found;
}

/* Folded, runs of blanks as one. */
static size_t
fold(struct shelf_span s, uint32_t *out)
{
	uint32_t folded[SEARCH_FOLD_MAX];
	size_t n = 0, pos = 0;

	while (pos < s.len) {
		size_t got = search_fold(shelf_utf8_next(s, &pos), folded);

		for (size_t i = 0; i < got; i++)
			if (folded[i] != ' ' || n == 0 || out[n - 1] != ' ')
				out[n++] = folded[i];
	}
	return n;
}

static bool
naive(struct shelf_span pattern, struct shelf_span text)
{
	uint32_t *p = shelf_alloc((pattern.len + 1) * 4 * SEARCH_FOLD_MAX);
	uint32_t *t = shelf_alloc((text.len + 1) * 4 * SEARCH_FOLD_MAX);
	size_t np = fold(pattern, p), nt = fold(text, t);
	bool found = np == 0;

	for (size_t i = 0; i + np <= nt && !found; i++)
		found = memcmp(p, t + i, np * sizeof *p) == 0;
	free(p);
	free(t);
	return found;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *end = data + size;
	struct shelf_span pattern, charset, text;
	bool found;

	if (size == 0 || size > 8192)
		return 0;
	pattern = line(&at, end);
	charset = line(&at, end);
	text = shelf_span(at, (size_t)(end - at));
	if (pattern.len == 0)
		return 0;
	found = search(pattern, charset, text, text.len + 1);
	if (search(pattern, charset, text, 1) != found || search(pattern, charset, text, 7) != found)
		abort();
	if ((charset.len == 0 || shelf_span_is(charset, "utf-8")) && shelf_utf8_valid(text) &&
	    naive(pattern, text) != found)
		abort();
	if (found && charset.len == 0) {
		struct shelf_buf longer = {0};

		shelf_buf_add(&longer, "x", 1);
		shelf_buf_add_span(&longer, text);
		if (!search(pattern, charset, shelf_buf_span(&longer), 5))
			abort();
		shelf_buf_free(&longer);
	}
	return 0;
}
