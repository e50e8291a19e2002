/*
 * fuzz_fetch.c - what FETCH says about any message
 *
 * The input is one line, the arguments of FETCH, and a message. Properties: every section lies within the
 * message; HEADER.FIELDS does not depend on how the header is cut, and with its NOT holds the fields of
 * mime_field_next and the empty line; ENVELOPE, BODY and BODYSTRUCTURE obey a strict reader of nstrings
 * and parentheses, without NUL and without 8 bits between quotes.
 */
#include <stdlib.h>

#include "imap_fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool cond)
{
	if (!cond)
		abort();
}

/* ---- A strict reader ----------------------------------------------------------------------------- */

static void
read_quoted(struct shelf_span out, size_t *pos)
{
	for (;; (*pos)++) {
		must(*pos < out.len && out.data[*pos] != 0 && out.data[*pos] < 0x80);
		must(out.data[*pos] != '\r' && out.data[*pos] != '\n');
		if (out.data[*pos] == '"')
			return;
		if (out.data[*pos] == '\\') {
			(*pos)++;
			must(*pos < out.len && (out.data[*pos] == '"' || out.data[*pos] == '\\'));
		}
	}
}

static void
read_literal(struct shelf_span out, size_t *pos)
{
	size_t len = 0, digits = 0;

	for (; *pos < out.len && out.data[*pos] >= '0' && out.data[*pos] <= '9'; (*pos)++, digits++)
		len = len * 10 + (out.data[*pos] - (size_t)'0');
	must(digits > 0 && out.len - *pos >= 3 && memcmp(out.data + *pos, "}\r\n", 3) == 0);
	*pos += 3;
	must(len <= out.len - *pos && memchr(out.data + *pos, 0, len) == NULL);
	*pos += len - 1; /* the caller's step */
}

/* One parenthesized value, and nothing behind it. */
static void
read_strictly(struct shelf_span out)
{
	size_t depth = 0, pos;

	for (pos = 0; pos < out.len; pos++) {
		uint8_t c = out.data[pos];

		if (c == '(') {
			depth++;
		} else if (c == ')') {
			must(depth-- > 0);
			must(depth > 0 || pos == out.len - 1);
		} else if (c == '"') {
			pos++;
			read_quoted(out, &pos);
		} else if (c == '{') {
			pos++;
			read_literal(out, &pos);
		} else {
			must(c == ' ' || (c >= '0' && c <= '9') || c == 'N' || c == 'I' || c == 'L');
			must(c != ' ' || (pos + 1 < out.len && out.data[pos + 1] != ' ' &&
			    out.data[pos + 1] != ')'));
		}
	}
	must(depth == 0 && out.len > 0);
}

/* ---- The header filter ----------------------------------------------------------------------------- */

static void
check_filter(const struct imap_section *section, struct shelf_span header)
{
	struct imap_section inverse = *section;
	struct imap_header_filter *h = malloc(sizeof *h);
	struct shelf_buf whole = {0}, cut = {0}, rest = {0};
	struct mime_field field;
	size_t fields = 0, pos = 0, empty;

	must(h != NULL);
	imap_header_init(h, section);
	imap_header_feed(h, header, &whole);
	imap_header_init(h, section);
	for (size_t at = 0; at < header.len; at++)
		imap_header_feed(h, shelf_span(header.data + at, 1), &cut);
	must(shelf_span_eq(shelf_buf_span(&whole), shelf_buf_span(&cut)));
	inverse.what = section->what == IMAP_SECTION_FIELDS ? IMAP_SECTION_FIELDS_NOT :
	    IMAP_SECTION_FIELDS;
	imap_header_init(h, &inverse);
	imap_header_feed(h, header, &rest);
	while (mime_field_next(header, &pos, &field)) {
		if (field.name.len >= IMAP_FIELD_NAME_MAX_BYTES)
			goto out; /* such a name is in neither */
		fields += field.whole.len;
	}
	for (empty = pos; empty < header.len && header.data[empty] != '\n'; empty++)
		;
	empty = empty < header.len ? empty + 1 - pos : 0;
	must(whole.len + rest.len == fields + 2 * empty);
out:
	shelf_buf_free(&whole);
	shelf_buf_free(&cut);
	shelf_buf_free(&rest);
	free(h);
}

/* ---- All ---------------------------------------------------------------------------------------------- */

static void
check_item(struct imap_fetch_item *item, const struct mime_part *root, struct shelf_span message)
{
	struct imap_slice *slice = &item->slice;

	if (!item->is_section)
		return;
	imap_section_resolve(&item->section, root, message.len, slice);
	must(slice->offset <= message.len && slice->len <= message.len - slice->offset);
	must(!slice->nil || slice->len == 0);
	if (item->section.what == IMAP_SECTION_FIELDS ||
	    item->section.what == IMAP_SECTION_FIELDS_NOT) {
		check_filter(&item->section,
		    shelf_span(message.data + slice->offset, (size_t)slice->len));
		return;
	}
	slice->total = slice->len;
	imap_section_cut(&item->section, slice);
	must(slice->from <= slice->total && slice->size <= slice->total - slice->from);
}

static void
check_printing(const struct mime_part *root)
{
	struct imap_session s = {0};

	imap_print_structure(&s, root, true);
	read_strictly(shelf_buf_span(&s.out));
	shelf_buf_clear(&s.out);
	imap_print_structure(&s, root, false);
	read_strictly(shelf_buf_span(&s.out));
	shelf_buf_clear(&s.out);
	imap_print_envelope(&s, root->envelope);
	read_strictly(shelf_buf_span(&s.out));
	shelf_buf_free(&s.out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_arena arena = {0};
	struct imap_fetch_items items;
	const uint8_t *lf = size == 0 ? NULL : memchr(data, '\n', size);
	struct imap_parser p = {.at = data, .end = lf, .arena = &arena};
	struct shelf_span message;
	struct mime_scan *scan;
	struct mime_part *root;

	if (lf == NULL)
		return 0;
	message = shelf_span(lf + 1, size - (size_t)(lf + 1 - data));
	scan = mime_scan_new(&arena);
	mime_scan_feed(scan, message.data, message.len);
	root = mime_scan_end(&scan);
	if (imap_fetch_parse(&p, (size & 1) != 0, &items)) {
		must(p.error == NULL && items.n > 0);
		for (size_t i = 0; i < items.n; i++)
			check_item(&items.item[i], root, message);
	} else {
		must(p.error != NULL);
	}
	check_printing(root);
	shelf_arena_free(&arena);
	return 0;
}
