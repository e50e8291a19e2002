/* list_rig.c - all that can be read from a store, to compare */
#include <check.h>
#include <string.h>

#include "golden.h"
#include "list_rig.h"

void
list_store(struct shelf_store *store, struct shelf_buf *out)
{
	static const char word[] = " partition ";

	ck_assert_int_eq(golden_list(store, out), 0);
	for (size_t i = sizeof word - 1; i < out->len; i++)
		if (memcmp(out->data + i - (sizeof word - 1), word, sizeof word - 1) == 0)
			out->data[i] = '*';
}
