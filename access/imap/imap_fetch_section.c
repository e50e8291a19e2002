/*
 * imap_fetch_section.c - BODY[...]: a section found in the part tree, read, cut and sent
 *
 * Every section is a slice of the stored message, or (HEADER.FIELDS) lines of one. Before the first octet
 * of a message's response is written all its slices have been read through once (prepare), so that
 * damage is known in time; the octets are then read again as the client takes them (write). Of a message
 * one frame is held, of subsets HELD_MAX_BYTES; a larger subset is filtered a second time instead.
 * NUL is no octet of a literal (RFC 9051 9, CHAR8): it is sent as 0x80, so that lengths stay.
 */
#include <inttypes.h>

#include "imap_fetch.h"

enum { PIECE_MAX_BYTES = 32 * 1024, HELD_MAX_BYTES = 256 * 1024 };

/* ---- The label -------------------------------------------------------------------------------- */

static void
print_names(struct imap_session *s, const struct imap_section *section)
{
	imap_out_str(s, " (");
	for (size_t i = 0; i < section->nnames; i++) {
		imap_out_str(s, i == 0 ? "" : " ");
		imap_out_astring(s, section->names[i]);
	}
	imap_out_str(s, ")");
}

void
imap_fetch_print_section(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	static const char *const words[] = {"", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT",
	    "MIME"};
	const struct imap_section *section = &item->section;

	imap_out_str(f->s, "BODY[");
	for (size_t i = 0; i < section->npath; i++)
		imap_outf(f->s, "%s%" PRIu32, i == 0 ? "" : ".", section->path[i]);
	if (section->npath > 0 && section->what != IMAP_SECTION_ALL)
		imap_out_str(f->s, ".");
	imap_out_str(f->s, words[section->what]);
	if (section->what == IMAP_SECTION_FIELDS || section->what == IMAP_SECTION_FIELDS_NOT)
		print_names(f->s, section);
	imap_out_str(f->s, "]");
	if (section->partial)
		imap_outf(f->s, "<%" PRIu64 ">", section->start);
}

void
imap_fetch_print_rfc822(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, item->row->name);
}

/* ---- The range --------------------------------------------------------------------------------- */

static const struct mime_part *
nth_child(const struct mime_part *part, uint32_t n)
{
	const struct mime_part *c = part->child;

	while (c != NULL && --n > 0)
		c = c->next;
	return c;
}

/* What BODYSTRUCTURE shows where the syntax asks for a part and there is none (imap_fetch_structure.c). */
static const struct mime_part nothing;

static const struct mime_part *
part_within(const struct mime_part *part, uint32_t n)
{
	return part->child == NULL && n == 1 ? &nothing : nth_child(part, n);
}

/*
 * RFC 9051 6.4.5.1: numbers count the parts of a multipart; a message that is no multipart has the one
 * part 1, itself; behind a message/rfc822 part the numbers go on inside that message.
 */
static const struct mime_part *
find_part(const struct imap_section *section, const struct mime_part *root)
{
	const struct mime_part *part = root;
	bool at_message = true; /* PART is a message whose parts are to be counted */

	for (size_t i = 0; i < section->npath && part != NULL; i++) {
		uint32_t n = section->path[i];

		if (!at_message && part->kind == MIME_MESSAGE && part->child != NULL) {
			part = part->child;
			at_message = true;
		}
		if (part->kind == MIME_MULTIPART || (!at_message && imap_is_message(part)))
			part = part_within(part, n);
		else if (!at_message || n != 1)
			return NULL;
		at_message = false;
	}
	return part;
}

static void
set_range(struct imap_slice *out, uint64_t offset, uint64_t len)
{
	out->nil = false;
	out->offset = offset;
	out->len = len;
}

void
imap_section_resolve(const struct imap_section *section, const struct mime_part *root,
    uint64_t message_size, struct imap_slice *out)
{
	const struct mime_part *part;

	out->nil = true;
	out->offset = out->len = out->total = out->from = out->size = 0;
	if (section->npath == 0 && section->what == IMAP_SECTION_ALL) {
		set_range(out, 0, message_size);
		return;
	}
	part = find_part(section, root);
	if (part == NULL)
		return;
	if (section->what == IMAP_SECTION_MIME) {
		set_range(out, part->header_offset, part->header_len);
		return;
	}
	if (section->npath > 0 && section->what != IMAP_SECTION_ALL) {
		/* HEADER and TEXT belong to messages only. */
		part = part->kind == MIME_MESSAGE ? part->child : NULL;
		if (part == NULL)
			return;
	}
	if (section->what == IMAP_SECTION_ALL || section->what == IMAP_SECTION_TEXT)
		set_range(out, part->body_offset, part->body_len);
	else
		set_range(out, part->header_offset, part->header_len);
}

void
imap_section_cut(const struct imap_section *section, struct imap_slice *slice)
{
	slice->from = 0;
	slice->size = slice->total;
	if (!section->partial)
		return;
	slice->from = section->start < slice->total ? section->start : slice->total;
	slice->size = slice->total - slice->from;
	if (slice->size > section->count)
		slice->size = section->count;
}

static bool
is_subset(const struct imap_fetch_item *item)
{
	return item->section.what == IMAP_SECTION_FIELDS ||
	    item->section.what == IMAP_SECTION_FIELDS_NOT;
}

/* ---- Prepare -------------------------------------------------------------------------------------- */

/* Bytes at OFFSET; at least one, or an error: the tree promised them. */
static int
read_piece(struct imap_fetch *f, uint64_t offset, uint64_t max, struct shelf_span *out)
{
	int rc = shelf_body_read(f->body, offset, max > SIZE_MAX ? SIZE_MAX : (size_t)max, out);

	if (rc != 0)
		return rc;
	return out->len > 0 ? 0 : SHELF_ECORRUPT;
}

static uint64_t
at_most(uint64_t n, uint64_t max)
{
	return n < max ? n : max;
}

/* The next piece of the header goes through the filter into f->piece. */
static int
filter_piece(struct imap_fetch *f, const struct imap_slice *slice)
{
	struct shelf_span piece;
	int rc = read_piece(f, slice->offset + f->done,
	    at_most(slice->len - f->done, PIECE_MAX_BYTES), &piece);

	if (rc != 0)
		return rc;
	shelf_buf_clear(&f->piece);
	imap_header_feed(&f->filter, piece, &f->piece);
	f->done += piece.len;
	return 0;
}

static int
count_subset(struct imap_fetch *f, struct imap_slice *slice)
{
	int rc = filter_piece(f, slice);

	if (rc != 0)
		return rc;
	slice->total += f->piece.len;
	if (slice->held && f->held_bytes + f->piece.len <= HELD_MAX_BYTES) {
		f->held_bytes += f->piece.len;
		shelf_buf_add_span(&slice->subset, shelf_buf_span(&f->piece));
	} else if (slice->held) {
		f->held_bytes -= slice->subset.len;
		shelf_buf_free(&slice->subset);
		slice->held = false;
	}
	return 0;
}

/* A range of one frame is still held by the body when it is written. */
static int
verify(struct imap_fetch *f, const struct imap_slice *slice)
{
	struct shelf_span piece;
	int rc = read_piece(f, slice->offset + slice->from + f->done, slice->size - f->done, &piece);

	if (rc == 0)
		f->done += piece.len;
	return rc;
}

static int
begin_prepare(struct imap_fetch *f, struct imap_fetch_item *item)
{
	struct imap_slice *slice = &item->slice;
	uint64_t size = shelf_body_size(f->body);

	imap_section_resolve(&item->section, f->root, size, slice);
	f->begun = true;
	f->done = 0;
	if (slice->offset > size || slice->len > size - slice->offset)
		return SHELF_ECORRUPT;
	slice->held = is_subset(item);
	if (slice->held) {
		imap_header_init(&f->filter, &item->section);
	} else {
		slice->total = slice->len;
		imap_section_cut(&item->section, slice);
	}
	return 0;
}

int
imap_section_prepare(struct imap_fetch *f, struct imap_fetch_item *item)
{
	struct imap_slice *slice = &item->slice;
	int rc = f->begun ? 0 : begin_prepare(f, item);

	if (rc != 0)
		return rc;
	if (is_subset(item)) {
		if (f->done < slice->len)
			rc = count_subset(f, slice);
		if (rc != 0 || f->done < slice->len)
			return rc != 0 ? rc : 1;
		imap_section_cut(&item->section, slice);
	} else {
		if (f->done < slice->size)
			rc = verify(f, slice);
		if (rc != 0 || f->done < slice->size)
			return rc != 0 ? rc : 1;
	}
	f->begun = false;
	return 0;
}

/* ---- Write ----------------------------------------------------------------------------------------- */

static void
out_octets(struct imap_fetch *f, struct shelf_span octets)
{
	if (octets.len > 0 && memchr(octets.data, 0, octets.len) != NULL) {
		struct shelf_buf copy = {0};

		shelf_buf_add_span(&copy, octets);
		for (size_t i = 0; i < copy.len; i++) {
			if (copy.data[i] == 0)
				copy.data[i] = 0x80;
		}
		imap_out(f->s, copy.data, copy.len);
		shelf_buf_free(&copy);
	} else {
		imap_out_span(f->s, octets);
	}
}

/* f->passed octets came out of the filter before; of this piece only what lies in from..from + size. */
static int
write_filtered(struct imap_fetch *f, const struct imap_slice *slice)
{
	uint64_t first, last, end = slice->from + slice->size;
	int rc = f->done < slice->len ? filter_piece(f, slice) : SHELF_ECORRUPT;

	if (rc != 0)
		return rc;
	first = f->passed < slice->from ? slice->from - f->passed : 0;
	first = at_most(first, f->piece.len);
	last = at_most(end - f->passed, f->piece.len);
	if (last > first)
		out_octets(f, shelf_span(f->piece.data + first, (size_t)(last - first)));
	f->passed += f->piece.len;
	return f->passed < end;
}

static int
write_range(struct imap_fetch *f, const struct imap_slice *slice)
{
	struct shelf_span piece;
	int rc = read_piece(f, slice->offset + slice->from + f->done,
	    at_most(slice->size - f->done, PIECE_MAX_BYTES), &piece);

	if (rc != 0)
		return rc;
	out_octets(f, piece);
	f->done += piece.len;
	return f->done < slice->size;
}

int
imap_section_write(struct imap_fetch *f, struct imap_fetch_item *item)
{
	struct imap_slice *slice = &item->slice;
	int rc;

	if (slice->nil || slice->size == 0) {
		imap_out_str(f->s, slice->nil ? " NIL" : " \"\"");
		return 0;
	}
	if (!f->begun) {
		imap_out_str(f->s, " ");
		imap_out_literal(f->s, slice->size);
		f->begun = true;
		f->done = f->passed = 0;
		if (is_subset(item) && !slice->held)
			imap_header_init(&f->filter, &item->section);
	}
	if (is_subset(item) && slice->held) {
		out_octets(f, shelf_span(slice->subset.data + slice->from, (size_t)slice->size));
		rc = 0;
	} else if (is_subset(item)) {
		rc = write_filtered(f, slice);
	} else {
		rc = write_range(f, slice);
	}
	if (rc == 0)
		f->begun = false;
	return rc;
}
