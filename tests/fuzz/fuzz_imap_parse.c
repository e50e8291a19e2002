/*
 * fuzz_imap_parse.c - every function of the parser on any bytes
 *
 * Properties: nothing is read past the end (the copy has exactly the right size); a function fails
 * if and only if it names an error; it never goes back nor beyond the end; a string taken is not
 * longer than what was there; memory is bounded by the input.
 */
#include <stdlib.h>

#include "imap_append.h"
#include "imap_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
run(unsigned which, struct imap_parser *p, struct shelf_span *text)
{
	struct imap_flags flags = {0};
	uint64_t big = 0;
	uint32_t number = 0;
	int64_t when = 0;
	int16_t zone = 0;

	switch (which) {
	case 0:
		return imap_parse_name(p, text);
	case 1:
		return imap_parse_atom(p, text);
	case 2:
		return imap_parse_string(p, text);
	case 3:
		return imap_parse_astring(p, text);
	case 4:
		return imap_parse_nstring(p, text);
	case 5:
		return imap_parse_list_mailbox(p, text);
	case 6:
		return imap_parse_number(p, &number);
	case 7:
		return imap_parse_nz_number(p, &number);
	case 8:
		return imap_parse_number64(p, &big);
	case 9:
		return imap_parse_date(p, &when);
	case 10:
		return imap_parse_date_time(p, &when, &zone);
	case 11:
		return imap_parse_mailbox(p, text);
	case 12:
		return imap_parse_mailbox_new(p, text);
	case 13:
		return imap_parse_set(p, text);
	case 14:
		return imap_parse_flag_list(p, &flags);
	case 15:
		return imap_parse_store_flags(p, &flags);
	case 16:
		return imap_parse_open(p) && imap_parse_close(p);
	default:
		return imap_parse_sp(p);
	}
}

/* A URL of CATENATE: what is found in it lies within its copy, the text stays as it was. */
static void
take_url(const uint8_t *data, size_t size)
{
	struct imap_cat_url *url = calloc(1, sizeof *url);
	const uint8_t *copy;

	if (url == NULL || size == 0 || size > IMAP_CAT_URL_MAX_BYTES) {
		free(url);
		return;
	}
	memcpy(url->text, data, size);
	url->len = size;
	copy = url->text + IMAP_CAT_URL_MAX_BYTES;
	if (imap_cat_parse(url)) {
		if (url->uid == 0 || (url->partial && url->count == 0) ||
		    (url->name.data != NULL && (url->name.data != copy + 1 || url->name.len > size)) ||
		    (url->section.data != NULL && (url->section.data < copy || url->section.len > size)))
			abort();
	}
	if (memcmp(url->text, data, size) != 0)
		abort();
	free(url);
}

static void
match(struct shelf_arena *arena, struct shelf_span pattern, struct shelf_span name)
{
	size_t states = 0;

	imap_pattern_match(imap_pattern_new(arena, pattern, false, &states), name);
	if (states > IMAP_PATTERN_MAX)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_arena arena = {0};
	unsigned which = 0;

	for (which = 0; which < 18; which++) {
		uint8_t *copy = malloc(size == 0 ? 1 : size);
		struct imap_parser p = {.at = copy, .end = copy + size, .arena = &arena,
		    .utf8 = size > 0 && (data[0] & 2) != 0};
		const uint8_t *at = copy;
		struct shelf_span text = {0};
		unsigned n = 0;

		if (size > 0)
			memcpy(copy, data, size);
		/* Function after function, from one that the bytes choose. */
		while (n++ < 64 && !imap_at_end(&p)) {
			bool ok = run((which + n * (data[0] | 1U)) % 18, &p, &text);

			if (p.at < at || p.at > p.end || ok != (p.error == NULL) ||
			    text.len > 3 * size)
				abort();
			at = p.at;
			if (!ok)
				break;
		}
		if (arena.used_bytes > 64 * (8192 + size))
			abort();
		shelf_arena_reset(&arena);
		free(copy);
	}
	take_url(data, size);
	if (size > 1)
		match(&arena, shelf_span(data, size / 2),
		    shelf_span(data + size / 2, size - size / 2));
	shelf_arena_free(&arena);
	return 0;
}
