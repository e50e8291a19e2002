/*
 * imap_fetch_section.c - BODY[...] and BINARY[...]: a section found, read, cut and sent
 *
 * Every section is a slice of the stored message, or what a filter makes of one: chosen lines of a header
 * (HEADER.FIELDS), a part decoded (BINARY). Before the first octet of a message's response is written all
 * its slices have been read through once (prepare), so that damage, sizes and NULs are known in time; the
 * octets are then read again as the client takes them (write). Of a message one frame is held, of filters'
 * output HELD_MAX_BYTES; what is larger is filtered a second time instead.
 * A piece of a decoded part (BINARY[1]<n.m>) begins where the last one of that part ended, if it can: who reads
 * one of any size in pieces has it decoded once, whatever its lines look like.
 * NUL is no octet of a literal (RFC 9051 9, CHAR8): BODY[] sends it as 0x80, so that lengths stay; BINARY[]
 * sends a literal8 when there is one.
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

	imap_out_str(f->s, item->size_only ? "BINARY.SIZE[" : section->decode ? "BINARY[" : "BODY[");
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
	if (item->size_only)
		imap_outf(f->s, " %" PRIu64, item->slice.total);
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
	out->encoding = shelf_span(NULL, 0);
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
	/* What has parts has no encoding of its own (RFC 2045 6.4). */
	if (section->decode && part->child == NULL)
		out->encoding = part->encoding;
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

/* ---- Filters ------------------------------------------------------------------------------------ */

static bool
is_fields(const struct imap_section *section)
{
	return section->what == IMAP_SECTION_FIELDS || section->what == IMAP_SECTION_FIELDS_NOT;
}

static void
begin_filter(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	f->done = item->slice.begin.done;
	f->passed = item->slice.begin.passed;
	if (is_fields(&item->section))
		imap_header_init(&f->filter, &item->section);
	else
		f->decoder = item->slice.begin.decoder;
}

/* The front of the part, or the place where the session was in it. */
static void
find_begin(const struct imap_fetch *f, struct imap_fetch_item *item)
{
	const struct imap_place_in_part *last = &f->s->part;
	struct imap_slice *slice = &item->slice;
	struct imap_place_in_part *begin = &slice->begin;

	*begin = (struct imap_place_in_part){.account = f->s->owner, .blob = f->msg.blob, .offset = slice->offset,
	    .len = slice->len};
	mime_decoder_init(&begin->decoder, slice->encoding);
	if (item->section.decode && item->section.partial && last->account == begin->account &&
	    last->blob == begin->blob && last->offset == begin->offset && last->len == begin->len &&
	    last->passed <= item->section.start)
		*begin = *last;
}

/* In front of the next piece: the last such place is not behind where the next request may begin. */
static void
keep_place(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	const struct imap_section *section = &item->section;

	if (!section->decode || !section->partial || item->slice.total > section->start + section->count)
		return;
	f->near = item->slice.begin;
	f->near.done = f->done;
	f->near.passed = item->slice.total;
	f->near.decoder = f->decoder;
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

/* The next piece of the slice goes through the filter into f->piece. */
static int
filter_piece(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	const struct imap_slice *slice = &item->slice;
	struct shelf_span piece;
	int rc = read_piece(f, slice->offset + f->done,
	    at_most(slice->len - f->done, PIECE_MAX_BYTES), &piece);

	if (rc != 0)
		return rc;
	shelf_buf_clear(&f->piece);
	f->done += piece.len;
	if (is_fields(&item->section)) {
		imap_header_feed(&f->filter, piece, &f->piece);
	} else {
		mime_decoder_feed(&f->decoder, piece.data, piece.len, &f->piece);
		if (f->done == slice->len)
			mime_decoder_end(&f->decoder, &f->piece);
	}
	return 0;
}

/* What of f->piece, which begins AT octets behind the filter's first, is to be sent. */
static struct shelf_span
chosen(const struct imap_fetch *f, const struct imap_section *section, uint64_t at)
{
	uint64_t start = section->partial ? section->start : 0;
	uint64_t count = section->partial ? section->count : UINT64_MAX;
	uint64_t first = at_most(at < start ? start - at : 0, f->piece.len);
	uint64_t before = at > start ? at - start : 0; /* octets sent already */
	uint64_t len = at_most(f->piece.len - first, before < count ? count - before : 0);

	return shelf_span(f->piece.data + first, (size_t)len);
}

static bool
has_nul(struct shelf_span octets)
{
	return octets.len > 0 && memchr(octets.data, 0, octets.len) != NULL;
}

static int
count_filtered(struct imap_fetch *f, struct imap_fetch_item *item)
{
	struct imap_slice *slice = &item->slice;
	int rc;

	keep_place(f, item);
	rc = filter_piece(f, item);

	if (rc != 0)
		return rc;
	slice->nul = slice->nul || (item->section.decode &&
	    has_nul(chosen(f, &item->section, slice->total)));
	slice->total += f->piece.len;
	if (slice->held && f->held_bytes + f->piece.len <= HELD_MAX_BYTES) {
		f->held_bytes += f->piece.len;
		shelf_buf_add_span(&slice->output, shelf_buf_span(&f->piece));
	} else if (slice->held) {
		f->held_bytes -= slice->output.len;
		shelf_buf_free(&slice->output);
		slice->held = false;
	}
	return 0;
}

/* A range of one frame is still held by the body when it is written. */
static int
verify(struct imap_fetch *f, struct imap_fetch_item *item)
{
	struct imap_slice *slice = &item->slice;
	struct shelf_span piece;
	int rc = read_piece(f, slice->offset + slice->from + f->done, slice->size - f->done, &piece);

	if (rc != 0)
		return rc;
	slice->nul = slice->nul || (item->section.decode && has_nul(piece));
	f->done += piece.len;
	return 0;
}

/* How a section that is to be decoded gets there. RFC 3516 4.3: no guess at what is unknown. */
static int
choose_decoding(struct imap_slice *slice)
{
	static const char *const plain[] = {"7bit", "8bit", "binary"};
	struct shelf_span encoding = slice->encoding;

	if (encoding.len == 0)
		return 0;
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
		if (shelf_span_is(encoding, plain[i]))
			return 0;
	}
	slice->filtered = true;
	return shelf_span_is(encoding, "base64") || shelf_span_is(encoding, "quoted-printable") ?
	    0 : SHELF_ECANNOT;
}

static int
begin_prepare(struct imap_fetch *f, struct imap_fetch_item *item)
{
	struct imap_slice *slice = &item->slice;
	uint64_t size = shelf_body_size(f->body);
	int rc = 0;

	imap_section_resolve(&item->section, f->root, size, slice);
	f->begun = true;
	f->done = 0;
	f->near.account = 0;
	if (slice->offset > size || slice->len > size - slice->offset)
		return SHELF_ECORRUPT;
	slice->filtered = is_fields(&item->section);
	slice->nul = false;
	if (item->section.decode)
		rc = choose_decoding(slice);
	slice->held = slice->filtered && !item->size_only;
	if (slice->filtered) {
		find_begin(f, item);
		begin_filter(f, item);
		slice->total = slice->begin.passed;
	} else {
		slice->total = slice->len;
		imap_section_cut(&item->section, slice);
	}
	return rc;
}

/* What was filtered holds all that is asked for: the rest of a decoded part need not be looked at. */
static bool
is_enough(const struct imap_fetch *f, const struct imap_fetch_item *item)
{
	const struct imap_section *section = &item->section;

	return f->done == item->slice.len || (section->decode && section->partial &&
	    item->slice.total >= section->start + section->count);
}

int
imap_section_prepare(struct imap_fetch *f, struct imap_fetch_item *item)
{
	struct imap_slice *slice = &item->slice;
	int rc = f->begun ? 0 : begin_prepare(f, item);

	if (rc != 0)
		return rc;
	if (slice->filtered) {
		if (f->done < slice->len)
			rc = count_filtered(f, item);
		if (rc != 0 || !is_enough(f, item))
			return rc != 0 ? rc : 1;
		if (f->near.account != 0)
			f->s->part = f->near;
		imap_section_cut(&item->section, slice);
	} else {
		if (f->done < slice->size)
			rc = verify(f, item);
		if (rc != 0 || f->done < slice->size)
			return rc != 0 ? rc : 1;
	}
	f->begun = false;
	return 0;
}

/* ---- Write ----------------------------------------------------------------------------------------- */

static void
out_octets(struct imap_fetch *f, const struct imap_slice *slice, struct shelf_span octets)
{
	if (!slice->nul && has_nul(octets)) {
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

static int
write_filtered(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	const struct imap_slice *slice = &item->slice;
	int rc = f->done < slice->len ? filter_piece(f, item) : SHELF_ECORRUPT;

	if (rc != 0)
		return rc;
	out_octets(f, slice, chosen(f, &item->section, f->passed));
	f->passed += f->piece.len;
	return f->passed < slice->from + slice->size;
}

static int
write_range(struct imap_fetch *f, const struct imap_slice *slice)
{
	struct shelf_span piece;
	int rc = read_piece(f, slice->offset + slice->from + f->done,
	    at_most(slice->size - f->done, PIECE_MAX_BYTES), &piece);

	if (rc != 0)
		return rc;
	out_octets(f, slice, piece);
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
		imap_out_str(f->s, slice->nul ? " ~" : " ");
		imap_out_literal(f->s, slice->size);
		f->begun = true;
		f->done = 0;
		if (slice->filtered && !slice->held)
			begin_filter(f, item);
	}
	if (slice->held) {
		out_octets(f, slice,
		    shelf_span(slice->output.data + slice->from - slice->begin.passed, (size_t)slice->size));
		rc = 0;
	} else if (slice->filtered) {
		rc = write_filtered(f, item);
	} else {
		rc = write_range(f, slice);
	}
	if (rc == 0)
		f->begun = false;
	return rc;
}
