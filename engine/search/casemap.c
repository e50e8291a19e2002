/*
 * casemap.c - i;unicode-casemap: the bytes by which strings are sorted and subjects are told apart
 *
 * Every code point becomes its titlecase form and that its full decomposition, compatibility included;
 * the results compare as UTF-8, byte by byte (RFC 5051 2; RFC 5256 7; RFC 5255 4.2, level 1).
 */
#include <unicode/uchar.h>
#include <unicode/unorm2.h>

#include <mailshelf/mem.h>

#include "sort.h"

enum { DECOMPOSED_MAX = 32 }; /* the longest, U+FDFA, has 18 */

static void
add_decomposed(const UNormalizer2 *nfkd, uint32_t code_point, struct shelf_buf *out)
{
	UChar u[DECOMPOSED_MAX];
	UErrorCode status = U_ZERO_ERROR;
	int32_t len = nfkd == NULL ? -1 :
	    unorm2_getDecomposition(nfkd, (UChar32)code_point, u, DECOMPOSED_MAX, &status);

	if (len < 0 || U_FAILURE(status)) {
		shelf_utf8_add(out, code_point);
		return;
	}
	for (int32_t i = 0; i < len;) {
		UChar32 c;

		U16_NEXT(u, i, len, c);
		shelf_utf8_add(out, (uint32_t)c);
	}
}

void
search_casemap(struct shelf_span utf8, struct shelf_buf *out)
{
	UErrorCode status = U_ZERO_ERROR;
	const UNormalizer2 *nfkd = unorm2_getNFKDInstance(&status);
	size_t pos = 0;

	if (U_FAILURE(status))
		nfkd = NULL;
	while (pos < utf8.len) {
		uint8_t c = utf8.data[pos];

		if (c < 0x80) {
			shelf_buf_add_byte(out, (uint8_t)(c - 'a') < 26 ? (uint8_t)(c - 32) : c);
			pos++;
		} else {
			uint32_t title = (uint32_t)u_totitle((UChar32)shelf_utf8_next(utf8, &pos));

			add_decomposed(nfkd, title, out);
		}
	}
}
