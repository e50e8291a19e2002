/*
 * fuzz_mime.c - a message, cut anywhere
 *
 * The first byte says how the message behind it is cut. Properties: parts are disjoint slices in
 * order, the tree does not depend on the cuts, its record decodes to itself, the fields served
 * cover the header block in order, and every text becomes valid UTF-8 of bounded length.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mime_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(const char *wrong)
{
	if (wrong != NULL)
		shelf_assert_failed(wrong, __FILE__, __LINE__);
}

static void
check_text(struct shelf_span text)
{
	struct shelf_buf out = {0};

	mime_header_utf8(text, &out);
	if (!shelf_utf8_valid(shelf_buf_span(&out)))
		must("a header text is not UTF-8");
	if (out.len > 8 * text.len + 8)
		must("a header text grew");
	shelf_buf_free(&out);
}

static void
check_header(struct shelf_span header)
{
	struct mime_field field;
	size_t pos = 0, from = 0;

	while (mime_field_next(header, &pos, &field)) {
		if (field.whole.data < header.data + from || pos <= from ||
		    field.whole.data + field.whole.len != header.data + pos || field.name.len == 0 ||
		    field.value.data < field.name.data + field.name.len ||
		    field.value.len > field.whole.len - field.name.len)
			must("a field leaves its place");
		from = pos;
		check_text(field.value);
	}
}

static void
check_body(const struct mime_part *part, struct shelf_span body)
{
	struct shelf_buf whole = {0}, pieces = {0}, text = {0};
	struct mime_decoder d;

	mime_decoder_init(&d, part->encoding);
	mime_decoder_feed(&d, body.data, body.len, &whole);
	mime_decoder_end(&d, &whole);
	mime_decoder_init(&d, part->encoding);
	for (size_t i = 0; i < body.len; i++)
		mime_decoder_feed(&d, body.data + i, 1, &pieces);
	mime_decoder_end(&d, &pieces);
	if (!shelf_span_eq(shelf_buf_span(&whole), shelf_buf_span(&pieces)))
		must("a decoder depends on the cuts");
	if (whole.len > body.len)
		must("a decoder's output grew");
	for (const struct mime_param *p = part->params; p != NULL; p = p->next)
		if (shelf_span_is(p->name, "charset"))
			mime_charset_utf8(p->value, shelf_buf_span(&whole), &text);
	if (!shelf_utf8_valid(shelf_buf_span(&text)) || text.len > 8 * whole.len + 8)
		must("a charset gives bad text");
	shelf_buf_free(&whole);
	shelf_buf_free(&pieces);
	shelf_buf_free(&text);
}

static void
check_parts(const struct mime_part *part, struct shelf_span message)
{
	check_header(shelf_span(message.data + part->header_offset, part->header_len));
	if (part->kind == MIME_LEAF)
		check_body(part, shelf_span(message.data + part->body_offset, part->body_len));
	for (const struct mime_part *c = part->child; c != NULL; c = c->next)
		check_parts(c, message);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_span message;
	struct shelf_arena arena = {0};
	struct mime_scan *scan;
	struct mime_part *root;

	if (size == 0)
		return 0;
	message = shelf_span(data + 1, size - 1);
	scan = mime_scan_new(&arena);
	mime_scan_feed(scan, message.data, message.len);
	root = mime_scan_end(&scan);
	must(mime_check_tree(root, message));
	must(mime_check_record(root));
	must(mime_check_headed(root, message));
	must(mime_check_cut(root, message, 1u + data[0]));
	check_parts(root, message);
	shelf_arena_free(&arena);
	return 0;
}
