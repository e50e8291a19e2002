/*
 * fuzz_pattern.c - LIST patterns against a matcher that tries everything
 *
 * The input is a pattern, LF, and a name. Property: the same answer as RFC 9051 6.3.9 read word for word, tried from
 * every place; "inbox" as the first level is INBOX in any case.
 */
#include <stdlib.h>
#include <strings.h>

#include "imap_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATTERN_MAX = 40, NAME_MAX_BYTES = 60 };

static bool
naive(const uint8_t *p, const uint8_t *p_end, const uint8_t *n, const uint8_t *n_end)
{
	if (p == p_end)
		return n == n_end;
	if (*p == '*' || *p == '%') {
		for (const uint8_t *at = n;; at++) {
			if (naive(p + 1, p_end, at, n_end))
				return true;
			if (at == n_end || (*p == '%' && *at == '/'))
				return false;
		}
	}
	return n < n_end && *p == *n && naive(p + 1, p_end, n + 1, n_end);
}

/* A name as the store has it, a pattern in the same spelling. False: no name can be spelt so. */
static bool
spell(struct shelf_span in, struct shelf_buf *out)
{
	if (!imap_name_decode(in, true, out))
		return false;
	if (out->len >= 5 && (out->len == 5 || out->data[5] == '/') &&
	    strncasecmp((const char *)out->data, "INBOX", 5) == 0)
		memcpy(out->data, "INBOX", 5);
	return true;
}

/* Letters of a pattern that begin the name INBOX count in any case, whatever wildcards are between them. */
static bool
naive_inbox(struct shelf_buf *pattern, struct shelf_span name)
{
	struct shelf_buf folded = {0}, text = {0};
	bool matches;

	shelf_buf_add_span(&folded, name);
	shelf_buf_add(&text, pattern->data, pattern->len);
	/* Only the first five bytes of the name: the rest is compared as it is, so each way to fold is tried. */
	matches = naive(text.data, text.data + text.len, folded.data, folded.data + folded.len);
	for (unsigned mask = 1; !matches && mask < 32; mask++) {
		for (unsigned i = 0; i < 5; i++)
			folded.data[i] = (uint8_t)((mask >> i & 1) != 0 ? name.data[i] | 0x20 : name.data[i]);
		matches = naive(text.data, text.data + text.len, folded.data, folded.data + folded.len);
	}
	shelf_buf_free(&folded);
	shelf_buf_free(&text);
	return matches;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *lf = size == 0 ? NULL : memchr(data, '\n', size);
	struct shelf_buf pattern = {0}, name = {0};
	struct shelf_arena arena = {0};
	struct shelf_span text, of;
	size_t states, stars = 0;

	if (lf == NULL)
		return 0;
	text = shelf_span(data, (size_t)(lf - data));
	of = shelf_span(lf + 1, size - text.len - 1);
	for (size_t i = 0; i < text.len; i++)
		stars += text.data[i] == '*' || text.data[i] == '%';
	if (text.len > PATTERN_MAX || of.len > NAME_MAX_BYTES || stars > 5 || !spell(of, &name))
		goto out;
	if (spell(text, &pattern) && pattern.len > 0) {
		bool inbox = name.len >= 5 && memcmp(name.data, "INBOX", 5) == 0 &&
		    (name.len == 5 || name.data[5] == '/');
		bool want = inbox ? naive_inbox(&pattern, shelf_buf_span(&name))
		                  : naive(pattern.data, pattern.data + pattern.len, name.data, name.data + name.len);
		bool got = imap_pattern_match(imap_pattern_new(&arena, text, true, &states), shelf_buf_span(&name));

		if (got != want)
			abort();
	}
out:
	shelf_buf_free(&pattern);
	shelf_buf_free(&name);
	shelf_arena_free(&arena);
	return 0;
}
