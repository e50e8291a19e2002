/*
 * fold.c - code points as a search compares them: without case, accents, forms
 *
 * One code point becomes none, one or a few: it is taken apart (NFKD), marks that are accents go, case is folded
 * in full, and what is left is put together again (NFC). Accents are the marks with a combining class of 1, 10
 * to 36 or 200 and above: what Latin, Greek, Cyrillic, Hebrew and Arabic put over and under letters. The voicing
 * marks of kana, vowel signs of India and tones of Thai are letters to who reads them, and stay; Hangul is whole.
 * Letters that Unicode does not take apart but a keyboard without them does (o with stroke, l with stroke, ae) have a
 * table of their own; what is never seen (soft hyphens, joiners) goes; every blank is a blank.
 *
 * Nearly all text is of the basic plane: what each of its code points becomes is worked out once and kept.
 */
#include <pthread.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

#include <mailshelf/mem.h>

#include "search.h"

enum { PLANE = 0x10000, UNITS_MAX = 64 };

static const uint32_t SEVERAL = UINT32_MAX, NOTHING = UINT32_MAX - 1;

static uint32_t plane[PLANE]; /* the result, or one of these */
static pthread_once_t plane_once = PTHREAD_ONCE_INIT;
static const UNormalizer2 *nfkd, *nfc;

static const struct {
	uint32_t from;
	const char *to;
} letters[] = {
    {0x00e6, "ae"}, {0x0153, "oe"}, {0x00f8, "o"}, {0x0142, "l"}, {0x0111, "d"}, {0x00f0, "d"},
    {0x0127, "h"}, {0x0131, "i"}, {0x0167, "t"}, {0x014b, "n"}, {0x00fe, "th"},
    {0x2018, "'"}, {0x2019, "'"}, {0x02bc, "'"}, {0x201c, "\""}, {0x201d, "\""}, {0x2010, "-"},
    {0x2011, "-"}, {0x2013, "-"},
};

static bool
is_blank(uint32_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || (c >= 0x80 && u_isUWhiteSpace((UChar32)c));
}

static bool
is_accent(UChar32 c)
{
	unsigned class = u_getCombiningClass(c);

	return class == 1 || (class >= 10 && class <= 36) || class >= 200;
}

/* U without accents and what is never seen; the new length. */
static int32_t
strip(UChar *u, int32_t len)
{
	int32_t to = 0;

	for (int32_t i = 0; i < len;) {
		int32_t start = i;
		UChar32 c;

		U16_NEXT(u, i, len, c);
		if (is_accent(c) || u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT))
			continue;
		while (start < i)
			u[to++] = u[start++];
	}
	return to;
}

static size_t
take_letter(UChar32 c, uint32_t *out, size_t n)
{
	for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
		if (letters[i].from != (uint32_t)c)
			continue;
		for (const char *p = letters[i].to; *p != '\0'; p++)
			out[n++] = (uint8_t)*p;
		return n;
	}
	out[n] = is_blank((uint32_t)c) ? ' ' : (uint32_t)c;
	return n + 1;
}

/* The long way. */
static size_t
work_out(uint32_t code_point, uint32_t out[SEARCH_FOLD_MAX])
{
	UChar apart[UNITS_MAX], folded[UNITS_MAX], whole[UNITS_MAX];
	UErrorCode status = U_ZERO_ERROR;
	int32_t len = unorm2_getDecomposition(nfkd, (UChar32)code_point, apart, UNITS_MAX, &status);
	size_t n = 0;

	if (len < 0) {
		len = 0;
		U16_APPEND_UNSAFE(apart, len, code_point);
	}
	len = strip(apart, len);
	len = u_strFoldCase(folded, UNITS_MAX, apart, len, U_FOLD_CASE_DEFAULT, &status);
	len = strip(folded, U_SUCCESS(status) ? len : 0); /* a capital I with dot folds to two */
	len = unorm2_normalize(nfc, folded, len, whole, UNITS_MAX, &status);
	if (U_FAILURE(status)) {
		out[0] = code_point;
		return 1;
	}
	for (int32_t i = 0; i < len && n < SEARCH_FOLD_MAX - 2;) {
		UChar32 c;

		U16_NEXT(whole, i, len, c);
		n = take_letter(c, out, n);
	}
	return n;
}

static void
fill_plane(void)
{
	UErrorCode status = U_ZERO_ERROR;
	uint32_t out[SEARCH_FOLD_MAX];

	nfkd = unorm2_getNFKDInstance(&status);
	nfc = unorm2_getNFCInstance(&status);
	SHELF_ASSERT(U_SUCCESS(status)); /* these tables are part of ICU */
	for (uint32_t c = 0; c < PLANE; c++) {
		size_t n = c >= 0xd800 && c <= 0xdfff ? 0 : work_out(c, out);

		plane[c] = n == 0 ? NOTHING : n == 1 ? out[0] : SEVERAL;
	}
	plane[0] = 0;
}

void
search_fold_begin(void)
{
	SHELF_ASSERT(pthread_once(&plane_once, fill_plane) == 0);
}

size_t
search_fold(uint32_t code_point, uint32_t out[SEARCH_FOLD_MAX])
{
	if (code_point >= PLANE || plane[code_point] == SEVERAL)
		return work_out(code_point, out);
	out[0] = plane[code_point];
	return plane[code_point] != NOTHING;
}
