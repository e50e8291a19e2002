/*
 * text.c - text of any charset, in pieces, to folded code points, to matchers
 *
 * A piece may end anywhere, also inside a character: what is unfinished waits in the converter (ICU) or
 * in `held` (UTF-8), never more than one character.
 */
#include <unicode/ucnv.h>
#include <mailshelf/mem.h>

#include "search.h"

/* What Windows-1252 makes of 0x80..0x9f; 0: undefined there. */
static const uint16_t windows_1252[32] = {
	0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
	0x0152, 0, 0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122,
	0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178,
};

void
search_text_flush(struct search_text *t)
{
	for (size_t i = 0; i < t->nmatch; i++)
		search_match_feed(t->match[i], t->folded, t->n);
	t->n = 0;
}

static void
put_folded(struct search_text *t, uint32_t folded)
{
	if (folded == ' ' && t->blank)
		return;
	t->blank = folded == ' ';
	if (t->n == SEARCH_TEXT_POINTS)
		search_text_flush(t);
	t->folded[t->n++] = folded;
}

static void
put_text(struct search_text *t, uint32_t code_point)
{
	uint32_t folded[SEARCH_FOLD_MAX];
	size_t n = search_fold(code_point, folded);

	for (size_t i = 0; i < n; i++)
		put_folded(t, folded[i]);
}

static void
put(struct search_text *t, uint32_t code_point)
{
	uint32_t text[MIME_HTML_OUT];
	size_t n;

	if (!t->is_html) {
		put_text(t, code_point);
		return;
	}
	n = mime_html_next(&t->html, code_point, text);
	for (size_t i = 0; i < n; i++)
		put_text(t, text[i]);
}

/* ---- UTF-8 --------------------------------------------------------------------------------- */

static unsigned
sequence_len(uint8_t lead)
{
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	return lead >= 0xf0 && lead <= 0xf4 ? 4 : 1;
}

/* Bytes that are no UTF-8 are most often Windows-1252, as in header fields (mime.h). */
static void
put_held_as_1252(struct search_text *t)
{
	for (unsigned i = 0; i < t->nheld; i++) {
		uint8_t c = t->held[i];
		uint32_t mapped = c >= 0x80 && c < 0xa0 ? windows_1252[c - 0x80] : c;

		put(t, mapped == 0 ? 0xfffd : mapped);
	}
	t->nheld = 0;
}

static void
utf8_byte(struct search_text *t, uint8_t c)
{
	if (t->nheld > 0 && (c & 0xc0) != 0x80)
		put_held_as_1252(t);
	if (t->nheld == 0 && c < 0x80) {
		put(t, c);
		return;
	}
	t->held[t->nheld++] = c;
	if (t->nheld == sequence_len(t->held[0])) {
		struct shelf_span s = shelf_span(t->held, t->nheld);

		if (t->nheld > 1 && shelf_utf8_valid(s)) {
			size_t pos = 0;

			put(t, shelf_utf8_next(s, &pos));
			t->nheld = 0;
		} else {
			put_held_as_1252(t);
		}
	}
}

/* Most text is this. Takes ASCII from the front of BYTES; the number of bytes taken. */
static size_t
ascii_run(struct search_text *t, struct shelf_span bytes)
{
	size_t room, n = 0, to;
	bool blank = t->blank;

	if (t->n == SEARCH_TEXT_POINTS)
		search_text_flush(t);
	to = t->n;
	room = SEARCH_TEXT_POINTS - t->n;
	if (room > bytes.len)
		room = bytes.len;
	for (; n < room && bytes.data[n] < 0x80; n++) {
		uint8_t c = bytes.data[n];

		if (c > ' ') {
			t->folded[to++] = c + ((uint8_t)(c - 'A') < 26 ? 32u : 0u);
			blank = false;
		} else if (c == ' ' || (c >= '\t' && c <= '\r')) {
			t->folded[to] = ' ';
			to += !blank;
			blank = true;
		} else {
			t->folded[to++] = c;
			blank = false;
		}
	}
	t->n = to;
	t->blank = blank;
	return n;
}

/* ---- Other charsets -------------------------------------------------------------------------- */

static void
put_utf16(struct search_text *t, const UChar *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (U16_IS_LEAD(s[i])) {
			t->lead = s[i];
			continue;
		}
		if (U16_IS_TRAIL(s[i]))
			put(t, t->lead != 0 ? (uint32_t)U16_GET_SUPPLEMENTARY(t->lead, s[i]) : 0xfffd);
		else
			put(t, s[i]);
		t->lead = 0;
	}
}

static void
convert(struct search_text *t, struct shelf_span bytes, bool last)
{
	UChar out[512];
	const char *from = (const char *)bytes.data, *end = from + bytes.len;
	UErrorCode err;

	do {
		UChar *to = out;

		err = U_ZERO_ERROR;
		ucnv_toUnicode(t->converter, &to, out + 512, &from, end, NULL, last, &err);
		put_utf16(t, out, (size_t)(to - out));
	} while (err == U_BUFFER_OVERFLOW_ERROR);
	/* Bad input becomes U+FFFD by default; any other error leaves the rest of the piece out. */
}

static bool
is_utf8(struct shelf_span charset)
{
	return charset.len == 0 || shelf_span_is(charset, "utf-8") || shelf_span_is(charset, "utf8") ||
	    shelf_span_is(charset, "us-ascii") || shelf_span_is(charset, "ascii");
}

void
search_text_begin(struct search_text *t, struct shelf_span charset, struct search_match **match,
    size_t nmatch)
{
	SHELF_ASSERT(t->converter == NULL);
	t->nheld = 0;
	t->lead = 0;
	t->n = 0;
	t->match = match;
	t->nmatch = nmatch;
	t->is_html = t->blank = false;
	search_fold_begin();
	for (size_t i = 0; i < nmatch; i++)
		match[i]->at = 0;
	/* The name comes from the message: only what the MIME room knows is shown to ICU. An unknown
	 * charset is read as if it were ASCII with something. */
	if (!is_utf8(charset) && charset.len < UCNV_MAX_CONVERTER_NAME_LENGTH &&
	    mime_charset_known(charset)) {
		char name[UCNV_MAX_CONVERTER_NAME_LENGTH];
		UErrorCode err = U_ZERO_ERROR;

		memcpy(name, charset.data, charset.len);
		name[charset.len] = '\0';
		t->converter = ucnv_open(name, &err);
		if (U_FAILURE(err))
			t->converter = NULL;
	}
}

void
search_text_html(struct search_text *t)
{
	t->is_html = true;
	mime_html_init(&t->html);
	t->html.searched = true;
}

void
search_text_feed(struct search_text *t, struct shelf_span bytes)
{
	if (t->converter != NULL) {
		convert(t, bytes, false);
		return;
	}
	while (bytes.len > 0) {
		size_t n = t->nheld == 0 && !t->is_html ? ascii_run(t, bytes) : 0;

		if (n == 0) {
			utf8_byte(t, bytes.data[0]);
			n = 1;
		}
		bytes = shelf_span(bytes.data + n, bytes.len - n);
	}
}

void
search_text_end(struct search_text *t)
{
	if (t->converter != NULL) {
		convert(t, shelf_span("", 0), true);
		ucnv_close(t->converter);
		t->converter = NULL;
	}
	put_held_as_1252(t);
	if (t->is_html)
		put(t, ' '); /* what looked like a reference is over */
	search_text_flush(t);
}

bool
search_text_done(const struct search_text *t)
{
	for (size_t i = 0; i < t->nmatch; i++) {
		if (!t->match[i]->found)
			return false;
	}
	return true;
}

bool
shelf_text_has(struct shelf_span text, struct shelf_span pattern)
{
	struct shelf_arena arena = {0};
	struct search_match match, *list = &match;
	struct search_text *t;
	bool found = true;

	if (search_match_init(&match, pattern, &arena)) {
		t = SHELF_ARENA_NEW(&arena, struct search_text);
		search_text_begin(t, shelf_span(NULL, 0), &list, 1);
		search_text_feed(t, text);
		search_text_end(t);
		found = match.found;
	}
	shelf_arena_free(&arena);
	return found;
}
