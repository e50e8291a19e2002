/*
 * fuzz_record.c - the stored part tree, damaged
 *
 * Property: a record decodes to a tree whose encoding decodes to itself, or it is refused as
 * corrupt or of another version; its envelope alone is that of the tree, whenever there is one.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mime_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *
check_envelope(struct shelf_span record, struct shelf_arena *arena, const struct mime_part *root)
{
	const struct mime_envelope *e = NULL;
	int err = mime_record_envelope(record, arena, &e);

	if (root == NULL)
		return err == 0 || err == SHELF_ECORRUPT || err == SHELF_EVERSION ? NULL : "envelope: odd error";
	if (err != 0)
		return "no envelope where there is a tree";
	if (e->sent_s != root->envelope->sent_s || !shelf_span_eq(e->subject, root->envelope->subject) ||
	    !shelf_span_eq(e->references, root->envelope->references) ||
	    (e->bcc == NULL) != (root->envelope->bcc == NULL))
		return "the envelope alone is another one";
	return NULL;
}

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
	if (wrong == NULL)
		wrong = check_envelope(shelf_span(data, size), &arena, root);
	if (wrong != NULL)
		shelf_assert_failed(wrong, __FILE__, __LINE__);
	shelf_arena_free(&arena);
	return 0;
}
