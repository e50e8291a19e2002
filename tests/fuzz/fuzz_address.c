/*
 * fuzz_address.c - the value of an address field, and of a date
 *
 * Properties: the list is bounded, every group that begins ends, none begins inside another, an
 * address has a mailbox and a host, no text holds a line end or a NUL, and all texts together are
 * no longer than the value. A date is within the years a date can name.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
check_text(struct shelf_span s)
{
	for (size_t i = 0; i < s.len; i++)
		SHELF_ASSERT(s.data[i] != '\r' && s.data[i] != '\n' && s.data[i] != '\0');
	return s.len;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_arena arena = {0};
	struct shelf_span value = shelf_span(data, size);
	size_t count = 0, total = 0;
	bool in_group = false;
	int64_t utc_s = 0;
	int16_t zone = 0;

	for (const struct mime_address *a = mime_addresses(value, &arena); a != NULL; a = a->next) {
		count++;
		total += check_text(a->name) + check_text(a->adl) + check_text(a->mailbox) +
		    check_text(a->host);
		if (a->host.data != NULL) {
			SHELF_ASSERT(a->mailbox.data != NULL);
			continue;
		}
		SHELF_ASSERT(in_group == (a->mailbox.data == NULL));
		SHELF_ASSERT(a->name.data == NULL && a->adl.data == NULL);
		in_group = !in_group;
	}
	SHELF_ASSERT(!in_group && count <= MIME_ADDRESSES_MAX && total <= size);
	if (mime_date(value, &utc_s, &zone)) {
		SHELF_ASSERT(utc_s > -(int64_t)63000000000 && utc_s < (int64_t)254000000000);
		SHELF_ASSERT(zone >= -100 * 60 && zone <= 101 * 60);
	}
	check_text(mime_unfold(value, &arena));
	shelf_arena_free(&arena);
	return 0;
}
