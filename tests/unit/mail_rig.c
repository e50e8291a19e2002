/* mail_rig.c - see mail_rig.h */
#include <check.h>
#include <stdlib.h>

#include "mail_rig.h"

uint32_t
mail_append(struct rig *r, const char *message, int64_t internaldate_s)
{
	struct shelf_append item = {.internaldate_s = internaldate_s};
	struct shelf_append_result result;

	ck_assert_int_eq(shelf_draft_new(r->store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, message, strlen(message)), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	ck_assert_int_eq(shelf_append(r->store, r->joe, r->inbox, &item, 1, &result), 0);
	shelf_draft_free(&item.draft);
	return result.first_uid;
}

uint32_t
mail_random(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % n;
}

uint32_t
mail_seed(uint32_t otherwise)
{
	const char *text = getenv("MAILSHELF_SEED");

	return text != NULL ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}
