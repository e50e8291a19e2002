/*
 * fuzz_sort_text.c - a Subject, or a list of message ids
 *
 * Properties: a base subject is part of its subject, has no blanks at its ends, and is its own base subject and
 * nobody's reply; keys of i;unicode-casemap are UTF-8. Each id has something on both
 * sides of an "@" and no blank from outside of quotes, the reader moves on, and all ids together are no longer
 * than the list.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "sort.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_subject(struct shelf_span field)
{
	struct shelf_buf text = {0}, key = {0};
	struct shelf_span base, same;
	bool reply;

	search_subject_text(field, &text);
	base = search_base_subject(shelf_buf_span(&text), &reply);
	SHELF_ASSERT(base.len == 0 ||
	    (base.data >= text.data && base.data + base.len <= text.data + text.len));
	SHELF_ASSERT(base.len == 0 || (*base.data != ' ' && base.data[base.len - 1] != ' '));
	same = search_base_subject(base, &reply);
	SHELF_ASSERT(same.len == base.len && !reply);
	search_casemap(base, &key);
	SHELF_ASSERT(shelf_utf8_valid(shelf_buf_span(&key)));
	shelf_buf_free(&text);
	shelf_buf_free(&key);
}

static void
check_ids(struct shelf_span list)
{
	struct shelf_buf id = {0};
	size_t pos = 0, before = 0, total = 0;

	while (search_next_id(list, &pos, &id)) {
		uint8_t *sign = memrchr(id.data, '@', id.len);

		SHELF_ASSERT(sign != NULL && id.len >= 3);
		SHELF_ASSERT(pos > before && pos <= list.len);
		before = pos;
		total += id.len + 2;
	}
	SHELF_ASSERT(total <= list.len);
	shelf_buf_free(&id);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_subject(shelf_span(data, size));
	check_ids(shelf_span(data, size));
	return 0;
}
