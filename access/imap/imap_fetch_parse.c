/*
 * imap_fetch_parse.c - the arguments of FETCH: items, macros, sections
 *
 * The tables are read here and nowhere else. An item that needs the part tree says so: a whole message
 * (BODY[], RFC822) does not.
 * Sources   RFC 9051 6.4.5, 9 (fetch, fetch-att, section); RFC 3501 9.
 */
#include <stdlib.h>

#include "imap_fetch.h"

static const struct imap_fetch_row rows[] = {
#define IMAP_FETCH_ITEM(name, parse, print, needs, source) \
	{name, imap_fetch_parse_##parse, imap_fetch_print_##print, needs, source},
#include "imap_fetch_items.def"
#undef IMAP_FETCH_ITEM
};
enum { NROWS = sizeof rows / sizeof *rows };

/* RFC 9051 6.4.5: a macro stands alone. */
static const struct {
	const char *name;
	const char *items[5];
} macros[] = {
	{"ALL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", NULL}},
	{"FAST", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", NULL, NULL}},
	{"FULL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"}},
};

/* ---- Sections -------------------------------------------------------------------------------- */

static bool
parse_names(struct imap_parser *p, struct imap_section *out)
{
	struct shelf_buf names = {0};
	struct shelf_span name;
	bool ok = imap_parse_sp(p) && imap_parse_open(p);

	while (ok) {
		ok = imap_parse_astring(p, &name);
		if (ok && name.len == 0)
			ok = imap_parse_fail(p, "empty field name");
		if (!ok)
			break;
		shelf_buf_add(&names, &name, sizeof name);
		if (!imap_try(p, ' '))
			break;
	}
	ok = ok && imap_parse_close(p);
	if (ok) {
		out->nnames = names.len / sizeof name;
		out->names = SHELF_ARENA_ARRAY(p->arena, struct shelf_span, out->nnames);
		out->sorted = SHELF_ARENA_ARRAY(p->arena, struct shelf_span, out->nnames);
		memcpy(out->names, names.data, names.len);
		memcpy(out->sorted, names.data, names.len);
		imap_header_sort(out->sorted, out->nnames);
	}
	shelf_buf_free(&names);
	return ok;
}

static bool
parse_section_text(struct imap_parser *p, struct imap_section *out)
{
	struct shelf_span word;

	if (!imap_parse_name(p, &word))
		return false;
	if (shelf_span_is(word, "HEADER")) {
		out->what = IMAP_SECTION_HEADER;
		return true;
	}
	if (shelf_span_is(word, "TEXT")) {
		out->what = IMAP_SECTION_TEXT;
		return true;
	}
	if (shelf_span_is(word, "MIME")) {
		out->what = IMAP_SECTION_MIME;
		return out->npath > 0 || imap_parse_fail(p, "MIME needs a part number");
	}
	if (shelf_span_is(word, "HEADER.FIELDS"))
		out->what = IMAP_SECTION_FIELDS;
	else if (shelf_span_is(word, "HEADER.FIELDS.NOT"))
		out->what = IMAP_SECTION_FIELDS_NOT;
	else
		return imap_parse_fail(p, "unknown section");
	return parse_names(p, out);
}

static bool
at_digit(const struct imap_parser *p)
{
	return p->at < p->end && *p->at >= '0' && *p->at <= '9';
}

static bool
parse_partial(struct imap_parser *p, struct imap_section *out)
{
	if (!imap_try(p, '<'))
		return true;
	out->partial = true;
	if (!imap_parse_number64(p, &out->start) || !imap_parse_byte(p, '.') ||
	    !imap_parse_number64(p, &out->count) || !imap_parse_byte(p, '>'))
		return false;
	return out->count > 0 || imap_parse_fail(p, "partial fetch of no octets");
}

bool
imap_section_parse(struct imap_parser *p, struct imap_section *out)
{
	uint32_t path[IMAP_SECTION_PATH_MAX];
	bool text = !imap_at(p, ']');

	*out = (struct imap_section){0};
	while (at_digit(p)) {
		if (out->npath == IMAP_SECTION_PATH_MAX)
			return imap_parse_fail(p, "too many part numbers");
		if (!imap_parse_nz_number(p, &path[out->npath]))
			return false;
		out->npath++;
		text = imap_try(p, '.');
		if (!text)
			break;
	}
	if (out->npath > 0) {
		out->path = SHELF_ARENA_ARRAY(p->arena, uint32_t, out->npath);
		memcpy(out->path, path, out->npath * sizeof *path);
	}
	if (text && !parse_section_text(p, out))
		return false;
	return imap_parse_byte(p, ']') && parse_partial(p, out);
}

bool
imap_fetch_parse_section(struct imap_parser *p, struct imap_fetch_item *item)
{
	item->is_section = true;
	return imap_section_parse(p, &item->section);
}

/* RFC 3516 7, section-binary: part numbers and nothing else. */
bool
imap_fetch_parse_binary(struct imap_parser *p, struct imap_fetch_item *item)
{
	if (!imap_fetch_parse_section(p, item))
		return false;
	item->section.decode = true;
	return item->section.what == IMAP_SECTION_ALL ||
	    imap_parse_fail(p, "BINARY takes part numbers only");
}

bool
imap_fetch_parse_binary_size(struct imap_parser *p, struct imap_fetch_item *item)
{
	item->size_only = true;
	return imap_fetch_parse_binary(p, item) &&
	    (!item->section.partial || imap_parse_fail(p, "BINARY.SIZE is of the whole part"));
}

bool
imap_fetch_parse_nothing(struct imap_parser *p, struct imap_fetch_item *item)
{
	return true;
}

/* " (LAZY)", or nothing: what stands in other parentheses is not ours. */
bool
imap_fetch_parse_preview(struct imap_parser *p, struct imap_fetch_item *item)
{
	struct imap_parser look = *p;

	item->lazy = imap_try(&look, ' ') && imap_try(&look, '(') && imap_try_word(&look, "LAZY");
	if (!item->lazy)
		return true;
	*p = look;
	return imap_parse_byte(p, ')');
}

bool
imap_fetch_parse_rfc822(struct imap_parser *p, struct imap_fetch_item *item)
{
	item->is_section = true;
	item->section.what = IMAP_SECTION_ALL;
	return true;
}

bool
imap_fetch_parse_rfc822_header(struct imap_parser *p, struct imap_fetch_item *item)
{
	item->is_section = true;
	item->section.what = IMAP_SECTION_HEADER;
	return true;
}

bool
imap_fetch_parse_rfc822_text(struct imap_parser *p, struct imap_fetch_item *item)
{
	item->is_section = true;
	item->section.what = IMAP_SECTION_TEXT;
	return true;
}

/* ---- Items -------------------------------------------------------------------------------------- */

static const struct imap_fetch_row *
find_row(struct shelf_span name, bool section)
{
	for (size_t i = 0; i < NROWS; i++) {
		size_t len = strlen(rows[i].name);
		bool has_section = rows[i].name[len - 1] == '[';

		if (has_section == section &&
		    shelf_span_ieq(name, shelf_span(rows[i].name, len - has_section)))
			return &rows[i];
	}
	return NULL;
}

static void
add_item(struct shelf_buf *list, const struct imap_fetch_item *item)
{
	shelf_buf_add(list, item, sizeof *item);
}

static void
add_named(struct shelf_buf *list, const char *name)
{
	struct imap_fetch_item item = {.row = find_row(shelf_span_str(name), false)};

	SHELF_ASSERT(item.row != NULL);
	add_item(list, &item);
}

static bool
parse_item(struct imap_parser *p, struct shelf_buf *list)
{
	struct imap_fetch_item item = {0};
	struct shelf_span name;

	if (!imap_parse_name(p, &name))
		return false;
	item.row = find_row(name, imap_try(p, '['));
	if (item.row == NULL)
		return imap_parse_fail(p, "unknown FETCH item");
	if (!item.row->parse(p, &item))
		return false;
	add_item(list, &item);
	return true;
}

static bool
try_macro(struct imap_parser *p, struct shelf_buf *list)
{
	for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
		if (!imap_try_word(p, macros[i].name))
			continue;
		for (size_t k = 0; k < 5 && macros[i].items[k] != NULL; k++)
			add_named(list, macros[i].items[k]);
		return true;
	}
	return false;
}

static bool
parse_list(struct imap_parser *p, struct shelf_buf *list)
{
	if (try_macro(p, list))
		return true;
	if (!imap_at(p, '('))
		return parse_item(p, list);
	if (!imap_parse_open(p))
		return false;
	do {
		if (!parse_item(p, list))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

static unsigned
needs_of(const struct imap_fetch_item *item)
{
	unsigned needs = item->row->needs;

	if (item->lazy)
		needs &= ~(unsigned)IMAP_NEED_PREVIEW;
	if (item->is_section && (item->section.what != IMAP_SECTION_ALL || item->section.npath > 0))
		needs |= IMAP_NEED_RECORD;
	/* Both begin with the row: it knows the blob. */
	return needs & (IMAP_NEED_RECORD | IMAP_NEED_BODY) ? needs | IMAP_NEED_ROW : needs;
}

bool
imap_fetch_has(const struct imap_fetch_items *items, const char *name)
{
	for (size_t i = 0; i < items->n; i++) {
		if (strcmp(items->item[i].row->name, name) == 0)
			return true;
	}
	return false;
}

bool
imap_fetch_only_header(const struct imap_fetch_items *items)
{
	for (size_t i = 0; i < items->n; i++) {
		const struct imap_section *section = &items->item[i].section;

		if (items->item[i].is_section && (section->npath > 0 || section->what == IMAP_SECTION_ALL ||
		    section->what == IMAP_SECTION_TEXT))
			return false;
	}
	return true;
}

void
imap_fetch_add(struct shelf_arena *arena, const char *name, struct imap_fetch_items *items)
{
	struct shelf_buf list = {0};

	if (imap_fetch_has(items, name))
		return;
	shelf_buf_add(&list, items->item, items->n * sizeof *items->item);
	add_named(&list, name);
	items->item = SHELF_ARENA_ARRAY(arena, struct imap_fetch_item, ++items->n);
	memcpy(items->item, list.data, list.len);
	items->needs |= needs_of(&items->item[items->n - 1]);
	shelf_buf_free(&list);
}

bool
imap_fetch_parse(struct imap_parser *p, bool uid, struct imap_fetch_items *out)
{
	struct shelf_buf list = {0};
	bool ok;

	*out = (struct imap_fetch_items){0};
	if (uid)
		add_named(&list, "UID");
	ok = parse_list(p, &list);
	if (ok) {
		out->n = list.len / sizeof *out->item;
		out->item = SHELF_ARENA_ARRAY(p->arena, struct imap_fetch_item, out->n);
		memcpy(out->item, list.data, list.len);
	}
	shelf_buf_free(&list);
	if (!ok)
		return false;
	if (uid) { /* asked for as well: once is enough */
		out->item++;
		out->n--;
		if (!imap_fetch_has(out, "UID")) {
			out->item--;
			out->n++;
		}
	}
	for (size_t i = 0; i < out->n; i++)
		out->needs |= needs_of(&out->item[i]);
	return true;
}
