/*
 * imap_fetch_header.c - HEADER.FIELDS and HEADER.FIELDS.NOT: a header block line by line
 *
 * One line is judged by its name; the lines that continue it share its fate. At most one name is held, so
 * a header of any length passes through. Fields and continuations are recognised as mime_field_next
 * does; the empty line that ends the header is always kept (RFC 9051 6.4.5.1).
 */
#include <stdlib.h>

#include "imap_fetch.h"

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* By length, then letters: a comparison of names of different lengths costs nothing. */
static int
compare_names(const void *a, const void *b)
{
	const struct shelf_span *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	for (size_t i = 0; i < x->len; i++) {
		int d = (int)lower(x->data[i]) - (int)lower(y->data[i]);

		if (d != 0)
			return d;
	}
	return 0;
}

void
imap_header_sort(struct shelf_span *names, size_t n)
{
	qsort(names, n, sizeof *names, compare_names);
}

void
imap_header_init(struct imap_header_filter *h, const struct imap_section *section)
{
	h->sorted = section->sorted;
	h->nnames = section->nnames;
	h->negate = section->what == IMAP_SECTION_FIELDS_NOT;
	h->in_name = true;
	h->copying = false;
	h->ended = false;
	h->nname = 0;
}

/* h->name holds the line up to its colon. */
static bool
is_chosen(const struct imap_header_filter *h)
{
	struct shelf_span name = shelf_span(h->name, h->nname);

	while (name.len > 0 && (name.data[name.len - 1] == ' ' || name.data[name.len - 1] == '\t'))
		name.len--;
	if (name.len == 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.data[i] <= 0x20 || name.data[i] >= 0x7f)
			return false; /* no field */
	}
	return (bsearch(&name, h->sorted, h->nnames, sizeof name, compare_names) != NULL) !=
	    h->negate;
}

static bool
is_empty_line(const struct imap_header_filter *h)
{
	size_t i = 0;

	while (i < h->nname && h->name[i] == '\r')
		i++;
	return i == h->nname;
}

static void
begin_line(struct imap_header_filter *h)
{
	h->in_name = true;
	h->nname = 0;
}

/* The next byte of a line whose name is not complete. */
static void
name_byte(struct imap_header_filter *h, uint8_t c, struct shelf_buf *out)
{
	bool continues = h->nname == 0 && (c == ' ' || c == '\t');

	if (c == '\n') {
		/* Some mailers end the header with more than one CR before the LF. */
		if (is_empty_line(h)) {
			shelf_buf_add(out, h->name, h->nname);
			shelf_buf_add_byte(out, c);
			h->ended = true;
		}
		h->copying = false; /* a line without a colon is no field; nothing continues it */
		begin_line(h);
		return;
	}
	if (c != ':' && !continues && h->nname < IMAP_FIELD_NAME_MAX_BYTES) {
		h->name[h->nname++] = c;
		return;
	}
	if (!continues)
		h->copying = c == ':' ? is_chosen(h) : false;
	h->in_name = false;
	if (h->copying) {
		shelf_buf_add(out, h->name, h->nname);
		shelf_buf_add_byte(out, c);
	}
}

void
imap_header_feed(struct imap_header_filter *h, struct shelf_span piece, struct shelf_buf *out)
{
	size_t i = 0;

	while (i < piece.len && !h->ended) {
		const uint8_t *at = piece.data + i, *lf;
		size_t len;

		if (h->in_name) {
			name_byte(h, piece.data[i++], out);
			continue;
		}
		lf = memchr(at, '\n', piece.len - i);
		len = lf == NULL ? piece.len - i : (size_t)(lf - at) + 1;
		if (h->copying)
			shelf_buf_add(out, at, len);
		if (lf != NULL)
			begin_line(h);
		i += len;
	}
}
