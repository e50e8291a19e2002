/*
 * fuzz_record.c - the stored part tree, damaged
 *
 * Property: a record decodes to a tree whose encoding decodes to itself, or it is refused as
 * corrupt or of another version.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mime_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_arena arena = {0};
	struct mime_part *root = NULL;
	const char *wrong = NULL;
	int err = mime_record_decode(shelf_span(data, size), &arena, &root);

	if (err == 0)
		wrong = root == NULL ? "no tree" : mime_check_record(root);
	else if ((err != SHELF_ECORRUPT && err != SHELF_EVERSION) || root != NULL)
		wrong = "refused without a reason";
	if (wrong != NULL)
		shelf_assert_failed(wrong, __FILE__, __LINE__);
	shelf_arena_free(&arena);
	return 0;
}
