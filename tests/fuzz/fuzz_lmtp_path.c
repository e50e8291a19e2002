/*
 * fuzz_lmtp_path.c - addresses of MAIL and RCPT
 *
 * Property: what parses prints to a path of bounded length that parses to the same; the rest begins
 * right behind the ">"; a refused path moves nothing.
 */
#include <stdlib.h>

#include "lmtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_span rest = shelf_span(data, size), again_rest;
	struct lmtp_path path, again;
	struct shelf_buf printed = {0};

	if (!lmtp_path_parse(&rest, &path)) {
		if (rest.data != data || rest.len != size)
			abort();
		return 0;
	}
	if (rest.data + rest.len != data + size || rest.data[-1] != '>')
		abort();
	lmtp_path_print(&path, &printed);
	again_rest = shelf_buf_span(&printed);
	if (printed.len > LMTP_PATH_TEXT_MAX_BYTES || !lmtp_path_parse(&again_rest, &again) ||
	    again_rest.len != 0 || memcmp(&path, &again, sizeof(path)) != 0)
		abort();
	shelf_buf_free(&printed);
	return 0;
}
