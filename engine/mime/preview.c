/*
 * preview.c - the first words of a message, for lists of messages
 *
 * Looked for in the first text part that has any, by what stands in the first MIME_PREVIEW_HEAD_BYTES of the
 * message: so the outcome does not depend on how much of it there is, and costs little. Lines are taken one
 * after the other; left out are quotations and what introduces them, signatures, rulers and what a cipher
 * makes. A message that says nothing but what it quotes is previewed by that.
 * What must stay true: the same bytes give the same text (it is stored, and the check makes it again); at
 * most MIME_PREVIEW_MAX characters, valid UTF-8, no control characters, no line ends.
 * Sources   RFC 8970 3.2, 3.3; RFC 3676 4.3 (signatures); RFC 4880 6.2, 7 (armor).
 */
#include <mailshelf/mem.h>

#include "mime_internal.h"

enum {
	FIRST_TRY_BYTES = 4096, /* of a part; four times as much when that was not enough */
	PARTS_MAX = 100,        /* looked at: each may cost a converter */
	HELD_LINES_MAX = 3,     /* "On Monday\nJoe Doe\nwrote:" */
	CHARS_ENOUGH = MIME_PREVIEW_MAX + 1,
};

struct preview {
	struct shelf_buf out;  /* as shown */
	struct shelf_buf held; /* lines of a paragraph that may introduce a quotation */
	unsigned chars, held_lines;
	bool space;      /* one is due before the next character */
	bool quotes;     /* quotations are text, too */
	bool armor;      /* within the header of signed text */
	bool ended;
};

/* ---- Characters ---------------------------------------------------------------------------------- */

static bool
is_space(uint32_t c)
{
	return c <= ' ' || c == 0x7f || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
	    c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* What newsletters fill the preview with, and marks that would turn around what stands behind it. */
static bool
is_invisible(uint32_t c)
{
	return (c >= 0x80 && c < 0xa0) || c == 0xad || c == 0x34f || c == 0x200b || c == 0x200e ||
	    c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static void
show(struct preview *p, struct shelf_span text)
{
	for (size_t pos = 0; pos < text.len && p->chars < CHARS_ENOUGH;) {
		uint32_t c = shelf_utf8_next(text, &pos);
		bool joiner = c == 0x200c || c == 0x200d;

		if (is_space(c) || is_invisible(c) || (joiner && (p->space || p->chars == 0))) {
			p->space = p->space || is_space(c);
			continue;
		}
		if (p->space && p->chars > 0) {
			shelf_buf_add_byte(&p->out, ' ');
			p->chars++;
		}
		p->space = false;
		shelf_utf8_add(&p->out, c);
		p->chars++;
	}
	p->space = true;
	p->ended = p->ended || p->chars >= CHARS_ENOUGH;
}

/* ---- Lines --------------------------------------------------------------------------------------- */

static void
show_held(struct preview *p)
{
	show(p, shelf_buf_span(&p->held));
	shelf_buf_clear(&p->held);
	p->held_lines = 0;
}

/* A quotation begins: a few lines that end with a colon were about it. */
static void
drop_introduction(struct preview *p)
{
	const struct shelf_buf *held = &p->held;

	if (held->len >= 2 && p->held_lines <= HELD_LINES_MAX && held->data[held->len - 2] == ':') {
		shelf_buf_clear(&p->held);
		p->held_lines = 0;
	}
	show_held(p);
}

static bool
begins_with(struct shelf_span line, const char *with)
{
	size_t len = strlen(with);

	return line.len >= len && memcmp(line.data, with, len) == 0;
}

/* Something to read: a letter, a digit, or anything outside ASCII. */
static bool
has_words(struct shelf_span line)
{
	for (size_t i = 0; i < line.len; i++) {
		uint8_t c = line.data[i];

		if (c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
			return true;
	}
	return false;
}

/* OpenPGP's lines, and those that other programs put between an answer and what it answers. */
static void
dashed_line(struct preview *p, struct shelf_span line)
{
	if (begins_with(line, "-----BEGIN PGP SIGNED MESSAGE"))
		p->armor = true;
	else if (begins_with(line, "-----BEGIN PGP ") || p->chars > 0 || p->held.len > 0)
		p->ended = true;
}

static void
take_line(struct preview *p, struct shelf_span line)
{
	while (line.len > 0 && mime_is_space(line.data[line.len - 1]))
		line.len--;
	while (line.len > 0 && mime_is_space(line.data[0]))
		line = shelf_span(line.data + 1, line.len - 1);
	if (p->quotes)
		while (line.len > 0 && (line.data[0] == '>' || line.data[0] == ' '))
			line = shelf_span(line.data + 1, line.len - 1);
	if (line.len == 0) {
		/* A paragraph has ended, one that says "wrote:" waits for what it introduces. */
		if (p->held.len >= 2 && p->held.data[p->held.len - 2] != ':')
			show_held(p);
		p->armor = false;
	} else if (p->armor) {
		return;
	} else if (line.data[0] == '>') {
		drop_introduction(p);
	} else if (shelf_span_eq(line, shelf_span_str("--"))) {
		p->ended = true;
	} else if (!has_words(line)) {
		return; /* a ruler */
	} else if (begins_with(line, "-----")) {
		dashed_line(p, line);
	} else {
		if (p->held_lines == HELD_LINES_MAX)
			show_held(p);
		shelf_buf_add_span(&p->held, line);
		shelf_buf_add_byte(&p->held, '\n');
		p->held_lines++;
	}
}

static void
take_text(struct preview *p, struct shelf_span text)
{
	for (size_t pos = 0; pos < text.len && !p->ended;) {
		ptrdiff_t lf = shelf_span_find(text, '\n', pos);
		size_t end = lf < 0 ? text.len : (size_t)lf;

		take_line(p, shelf_span(text.data + pos, end - pos));
		pos = end + 1;
	}
	show_held(p);
}

/* ---- Parts --------------------------------------------------------------------------------------- */

/* A quotation gets the mark it would have in plain text. */
static void
html_to_text(struct shelf_span html, struct shelf_buf *out)
{
	uint32_t got[MIME_HTML_OUT];
	struct mime_html h;

	mime_html_init(&h);
	for (size_t pos = 0; pos < html.len;) {
		unsigned n = mime_html_next(&h, shelf_utf8_next(html, &pos), got);

		for (unsigned i = 0; i < n; i++) {
			if (h.quotes > 0 && (out->len == 0 || out->data[out->len - 1] == '\n'))
				shelf_buf_add_byte(out, '>');
			shelf_utf8_add(out, got[i]);
		}
	}
}

/* Charsets that say nothing about bytes of 8 bits are taken for what is usual, as in header fields. */
static void
to_utf8(const struct mime_part *part, struct shelf_span text, struct shelf_buf *out)
{
	struct shelf_span charset = shelf_span(NULL, 0);
	size_t whole = text.len;

	for (const struct mime_param *p = part->params; p != NULL; p = p->next)
		if (shelf_span_is(p->name, "charset"))
			charset = p->value;
	if (charset.len == 0 || shelf_span_is(charset, "us-ascii")) {
		/* The text may end within a character. */
		while (whole > 0 && text.len - whole < 3 && (text.data[whole - 1] & 0xc0) == 0x80)
			whole--;
		if (whole > 0 && text.data[whole - 1] >= 0xc0)
			whole--;
		charset = shelf_span_str(shelf_utf8_valid(shelf_span(text.data, whole)) ?
		    "utf-8" : "windows-1252");
	}
	mime_charset_utf8(charset, text, out);
}

/* What BYTES of the part's body, as they are in the message, say. */
static void
try_bytes(struct preview *p, const struct mime_part *part, struct shelf_span bytes)
{
	struct shelf_buf plain = {0}, utf8 = {0}, text = {0};
	struct mime_decoder d;

	mime_decoder_init(&d, part->encoding);
	mime_decoder_feed(&d, bytes.data, bytes.len, &plain);
	mime_decoder_end(&d, &plain);
	to_utf8(part, shelf_buf_span(&plain), &utf8);
	if (shelf_span_is(part->subtype, "html")) {
		html_to_text(shelf_buf_span(&utf8), &text);
		take_text(p, shelf_buf_span(&text));
	} else {
		take_text(p, shelf_buf_span(&utf8));
	}
	shelf_buf_free(&plain);
	shelf_buf_free(&utf8);
	shelf_buf_free(&text);
}

static bool
is_text(const struct mime_part *part)
{
	return part->kind == MIME_LEAF && shelf_span_is(part->type, "text") &&
	    (shelf_span_is(part->subtype, "plain") || shelf_span_is(part->subtype, "html")) &&
	    !shelf_span_is(part->disposition, "attachment");
}

/* True: OUT has the preview. */
static bool
try_part(const struct mime_part *part, struct shelf_span head, bool quotes, struct shelf_buf *out)
{
	uint64_t len = part->body_len, try = FIRST_TRY_BYTES;
	bool found = false;

	if (part->body_offset >= head.len)
		return false;
	if (len > head.len - part->body_offset)
		len = head.len - part->body_offset;
	do {
		struct preview p = {.quotes = quotes};
		size_t pos = 0, n = 0;

		try = try < len ? try : len;
		try_bytes(&p, part, shelf_span(head.data + part->body_offset, (size_t)try));
		/* The end of less than all may be half a line, half a tag, half a character. */
		found = p.chars > 0 && (try == len || p.ended);
		for (; found && pos < p.out.len && n < MIME_PREVIEW_MAX; n++)
			shelf_utf8_next(shelf_buf_span(&p.out), &pos);
		while (found && pos > 0 && p.out.data[pos - 1] == ' ')
			pos--;
		if (found)
			shelf_buf_add(out, p.out.data, pos);
		shelf_buf_free(&p.out);
		shelf_buf_free(&p.held);
		if (found || p.ended || try == len)
			break;
		try *= 4;
	} while (true);
	return found;
}

/* LEFT: text parts that may still be looked at. */
static bool
walk(const struct mime_part *part, struct shelf_span head, bool quotes, unsigned *left,
    struct shelf_buf *out)
{
	if (part->kind == MIME_MULTIPART && shelf_span_is(part->subtype, "encrypted"))
		return false;
	if (is_text(part) && (*left)-- > 0 && try_part(part, head, quotes, out))
		return true;
	for (const struct mime_part *child = part->child; child != NULL && *left > 0;
	    child = child->next)
		if (walk(child, head, quotes, left, out))
			return true;
	return false;
}

void
mime_preview(const struct mime_part *root, struct shelf_span head, struct shelf_buf *out)
{
	unsigned left = PARTS_MAX;

	if (head.len > MIME_PREVIEW_HEAD_BYTES)
		head.len = MIME_PREVIEW_HEAD_BYTES;
	if (walk(root, head, false, &left, out))
		return;
	left = PARTS_MAX;
	walk(root, head, true, &left, out);
}
