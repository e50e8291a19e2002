/*
 * fuzz_mutf7.c - mailbox names on the wire
 *
 * Properties: what decodes is valid UTF-8 and encodes to the very bytes it came from (one encoding
 * for each name); what is valid UTF-8 without control characters comes back from its encoding; the
 * encoding is printable ASCII.
 */
#include <stdlib.h>

#include "imap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
has_control(struct shelf_span s)
{
	size_t i = 0;

	for (i = 0; i < s.len; i++)
		if (s.data[i] < 0x20 || s.data[i] == 0x7f)
			return true;
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_span in = shelf_span(data, size);
	struct shelf_buf utf8 = {0}, wire = {0}, back = {0};
	size_t i = 0;

	if (imap_mutf7_decode(in, &utf8)) {
		imap_mutf7_encode(shelf_buf_span(&utf8), &wire);
		if (!shelf_utf8_valid(shelf_buf_span(&utf8)) ||
		    !shelf_span_eq(shelf_buf_span(&wire), in))
			abort();
	}
	shelf_buf_clear(&wire);
	if (shelf_utf8_valid(in) && !has_control(in)) {
		imap_mutf7_encode(in, &wire);
		if (!imap_mutf7_decode(shelf_buf_span(&wire), &back) ||
		    !shelf_span_eq(shelf_buf_span(&back), in))
			abort();
		for (i = 0; i < wire.len; i++)
			if (wire.data[i] < 0x20 || wire.data[i] > 0x7e)
				abort();
	}
	shelf_buf_free(&utf8);
	shelf_buf_free(&wire);
	shelf_buf_free(&back);
	return 0;
}
