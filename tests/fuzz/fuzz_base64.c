/*
 * fuzz_base64.c - base64, as SASL and MIME words take it
 *
 * Properties: what is encoded decodes to itself; what decodes at all, encoded and decoded again, is the same, and is
 * never longer than three quarters of the text.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool cond)
{
	if (!cond)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_span in = shelf_span(data, size);
	struct shelf_buf text = {0}, bytes = {0}, again = {0};

	shelf_base64_encode(&text, in);
	must(shelf_base64_decode(&bytes, shelf_buf_span(&text)));
	must(shelf_span_eq(shelf_buf_span(&bytes), in));
	shelf_buf_clear(&bytes);
	shelf_buf_clear(&text);
	if (shelf_base64_decode(&bytes, in)) {
		must(bytes.len <= size / 4 * 3 + 3);
		shelf_base64_encode(&text, shelf_buf_span(&bytes));
		must(shelf_base64_decode(&again, shelf_buf_span(&text)));
		must(shelf_span_eq(shelf_buf_span(&again), shelf_buf_span(&bytes)));
	}
	shelf_buf_free(&text);
	shelf_buf_free(&bytes);
	shelf_buf_free(&again);
	return 0;
}
