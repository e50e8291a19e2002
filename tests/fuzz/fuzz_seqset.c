/*
 * fuzz_seqset.c - sequence sets against a naive reader of the same grammar
 *
 * The first byte is the number "*" stands for. Properties: the same texts are refused; of the
 * numbers up to 300 the same are in; printing and reading again gives the same set.
 */
#include <stdlib.h>

#include "imap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEN = 300 };

/* One number at TEXT: its end, or NULL. */
static const char *
naive_number(const char *text, uint64_t max, uint64_t *out)
{
	char *end = NULL;

	if (*text == '*') {
		*out = max;
		return text + 1;
	}
	if (*text < '0' || *text > '9')
		return NULL;
	*out = strtoull(text, &end, 10);
	return *out == 0 || *out > UINT32_MAX ? NULL : end;
}

static bool
naive(const char *text, uint64_t max, bool *in)
{
	for (;;) {
		uint64_t first = 0, last = 0, low = 0, high = 0;

		if ((text = naive_number(text, max, &first)) == NULL)
			return false;
		last = first;
		if (*text == ':' && (text = naive_number(text + 1, max, &last)) == NULL)
			return false;
		low = first < last ? first : last;
		high = first < last ? last : first;
		for (; low <= high && low <= SEEN; low++)
			in[low] = in[low] || low > 0;
		if (*text == '\0')
			return true;
		if (*text++ != ',')
			return false;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_uidset *set = NULL, *again = NULL;
	struct shelf_buf text = {0}, printed = {0}, twice = {0};
	bool in[SEEN + 1] = {false}, ok = false;
	uint32_t i = 0;

	if (size < 1 || size > 4096 || memchr(data + 1, 0, size - 1) != NULL)
		return 0;
	set = shelf_uidset_new();
	again = shelf_uidset_new();
	shelf_buf_add(&text, data + 1, size - 1);
	ok = imap_set_numbers(shelf_buf_span(&text), data[0], set) == 0;
	if (ok != naive(shelf_buf_cstr(&text), data[0], in))
		abort();
	for (i = 1; ok && i <= SEEN; i++)
		if (shelf_uidset_has(set, i) != in[i])
			abort();
	shelf_uidset_print(set, &printed);
	if (ok && printed.len > 0) {
		if (imap_set_numbers(shelf_buf_span(&printed), 0, again) != 0)
			abort();
		shelf_uidset_print(again, &twice);
		if (!shelf_span_eq(shelf_buf_span(&printed), shelf_buf_span(&twice)))
			abort();
	}
	shelf_buf_free(&text);
	shelf_buf_free(&printed);
	shelf_buf_free(&twice);
	shelf_uidset_free(&set);
	shelf_uidset_free(&again);
	return 0;
}
