/*
 * pass.c - the bytes of one message against all keys that are still open, in one go
 *
 * The part tree gives segments, in the order of the message: header blocks and text bodies. Each step
 * takes one piece of one segment, so that a pass can stop between any two steps and nobody waits for a
 * message of 100 MiB. A piece goes through the transfer decoder and the charset to all matchers at once.
 *
 * What is looked at
 *   HEADER  the header of the message
 *   BODY    text/ and message/ bodies, decoded; headers of messages inside the message, which are
 *           content to whoever wrote "see below"
 *   TEXT    that, the header of the message and the headers of its parts
 * A header block is held, up to MIME_HEADER_KEPT_MAX; what is beyond is not searched.
 */
#include <mailshelf/mem.h>

#include "search.h"

enum { PIECE_MAX_BYTES = 32 * 1024 };

static bool
is_open(const struct search_node *leaf)
{
	return leaf->wanted && leaf->value == SEARCH_OPEN;
}

static bool
wants(const struct search_node *leaf, const struct search_segment *segment)
{
	return is_open(leaf) && (leaf->kind == SHELF_KEY_TEXT ||
	    (leaf->kind == SHELF_KEY_BODY && segment->content));
}

/* ---- Segments ------------------------------------------------------------------------------- */

static const struct mime_part *
next_part(const struct mime_part *part)
{
	if (part->child != NULL)
		return part->child;
	while (part != NULL && part->next == NULL)
		part = part->parent;
	return part == NULL ? NULL : part->next;
}

static bool
has_text(const struct mime_part *part)
{
	if (part->child != NULL)
		return false;
	return part->kind != MIME_LEAF || shelf_span_is(part->type, "text") ||
	    shelf_span_is(part->type, "message");
}

static size_t
list_segments(const struct mime_part *root, struct search_segment *out)
{
	size_t n = 0;

	for (const struct mime_part *p = root; p != NULL; p = next_part(p)) {
		bool inner = p->parent != NULL && p->parent->kind == MIME_MESSAGE;

		if (p->header_len > 0) {
			if (out != NULL)
				out[n] = (struct search_segment){p->header_offset, p->header_len,
				    p, true, inner};
			n++;
		}
		if (p->body_len > 0 && has_text(p)) {
			if (out != NULL)
				out[n] = (struct search_segment){p->body_offset, p->body_len, p,
				    false, true};
			n++;
		}
	}
	return n;
}

void
search_pass_begin(struct search_pass *pass, const struct search_plan *plan,
    const struct mime_part *root, struct shelf_arena *arena)
{
	bool only_header = true;

	search_mark_wanted(plan->root);
	for (size_t i = 0; i < plan->nleaf; i++) {
		if (is_open(plan->leaf[i]) && plan->leaf[i]->kind != SHELF_KEY_HEADER)
			only_header = false;
	}
	pass->root = root;
	pass->at = 0;
	pass->done = 0;
	pass->inside = false;
	pass->match = SHELF_ARENA_ARRAY(arena, struct search_match *, plan->nleaf);
	pass->nsegment = list_segments(root, NULL);
	pass->segment = SHELF_ARENA_ARRAY(arena, struct search_segment, pass->nsegment);
	list_segments(root, pass->segment);
	if (only_header && pass->nsegment > 0)
		pass->nsegment = root->header_len > 0 ? 1 : 0;
	for (size_t i = 0; i < plan->nleaf; i++)
		plan->leaf[i]->match.found = false;
}

/* ---- Making a record again -------------------------------------------------------------------- */

int
search_pass_scan(struct search_pass *pass, struct shelf_arena *arena,
    const struct mime_part **root_out)
{
	struct shelf_span piece;
	int rc;

	if (pass->scan == NULL) {
		pass->scan = mime_scan_new(arena);
		pass->done = 0;
	}
	rc = shelf_body_read(pass->body, pass->done, PIECE_MAX_BYTES, &piece);
	if (rc != 0)
		return rc;
	if (piece.len > 0) {
		mime_scan_feed(pass->scan, piece.data, piece.len);
		pass->done += piece.len;
		return 1;
	}
	*root_out = mime_scan_end(&pass->scan);
	return 0;
}

/* ---- Header segments ----------------------------------------------------------------------------- */

static bool
read_header(struct search_pass *pass, const struct search_segment *segment, int *rc_out)
{
	struct shelf_span piece;
	uint64_t len = segment->len;
	size_t max;

	if (len > MIME_HEADER_KEPT_MAX)
		len = MIME_HEADER_KEPT_MAX;
	if (pass->header.len >= len)
		return true;
	max = (size_t)(len - pass->header.len);
	*rc_out = shelf_body_read(pass->body, segment->offset + pass->header.len, max, &piece);
	if (*rc_out != 0)
		return false;
	shelf_buf_add_span(&pass->header, piece);
	return piece.len == 0 || pass->header.len >= len; /* shorter than promised: take what is there */
}

static bool
is_asked(const struct search_plan *plan, struct shelf_span name)
{
	for (size_t i = 0; i < plan->nleaf; i++) {
		const struct search_node *leaf = plan->leaf[i];

		if (leaf->kind == SHELF_KEY_HEADER && is_open(leaf) &&
		    shelf_span_ieq(leaf->key->name, name))
			return true;
	}
	return false;
}

/* The field as people see it goes to the keys that ask for it by name. */
static void
ask_field(struct search_pass *pass, struct search_plan *plan, const struct mime_field *field,
    struct shelf_span decoded)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->nleaf; i++) {
		struct search_node *leaf = plan->leaf[i];

		if (leaf->kind != SHELF_KEY_HEADER || !is_open(leaf) ||
		    !shelf_span_ieq(leaf->key->name, field->name))
			continue;
		if (leaf->any)
			leaf->value = SEARCH_YES;
		else if (!leaf->match.found)
			pass->match[n++] = &leaf->match;
	}
	if (n == 0)
		return;
	search_text_begin(&pass->text, shelf_span(NULL, 0), pass->match, n);
	search_text_feed(&pass->text, decoded);
	search_text_end(&pass->text);
}

static void
add_line(struct search_text *text, struct shelf_span name, struct shelf_span value)
{
	search_text_feed(text, name);
	search_text_feed(text, shelf_span(": ", 2));
	search_text_feed(text, value);
	search_text_feed(text, shelf_span("\r\n", 2));
}

static void
search_header(struct search_pass *pass, struct search_plan *plan,
    const struct search_segment *segment)
{
	struct shelf_span header = shelf_buf_span(&pass->header);
	struct shelf_arena arena = {0};
	struct mime_field field;
	struct search_match **all = pass->match;
	size_t pos = 0, n = 0;

	/* ask_field uses the same room, so it has its turn first and for itself. */
	while (segment->part == pass->root && mime_field_next(header, &pos, &field)) {
		if (!is_asked(plan, field.name))
			continue;
		shelf_buf_clear(&pass->decoded);
		mime_header_utf8(mime_unfold(field.value, &arena), &pass->decoded);
		ask_field(pass, plan, &field, shelf_buf_span(&pass->decoded));
		shelf_arena_reset(&arena);
	}
	for (size_t i = 0; i < plan->nleaf; i++) {
		if (wants(plan->leaf[i], segment) && !plan->leaf[i]->match.found)
			all[n++] = &plan->leaf[i]->match;
	}
	search_text_begin(&pass->text, shelf_span(NULL, 0), all, n);
	pos = 0;
	while (n > 0 && mime_field_next(header, &pos, &field)) {
		shelf_buf_clear(&pass->decoded);
		mime_header_utf8(mime_unfold(field.value, &arena), &pass->decoded);
		add_line(&pass->text, field.name, shelf_buf_span(&pass->decoded));
		shelf_arena_reset(&arena);
	}
	search_text_end(&pass->text);
	shelf_arena_free(&arena);
}

/* ---- Text segments ------------------------------------------------------------------------------- */

static struct shelf_span
charset_of(const struct mime_part *part)
{
	for (const struct mime_param *p = part->params; p != NULL; p = p->next) {
		if (shelf_span_is(p->name, "charset"))
			return p->value;
	}
	return shelf_span(NULL, 0);
}

static void
begin_text(struct search_pass *pass, struct search_plan *plan, const struct search_segment *segment)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->nleaf; i++) {
		if (wants(plan->leaf[i], segment) && !plan->leaf[i]->match.found)
			pass->match[n++] = &plan->leaf[i]->match;
	}
	mime_decoder_init(&pass->decoder, segment->part->encoding);
	search_text_begin(&pass->text, charset_of(segment->part), pass->match, n);
	pass->done = 0;
	pass->inside = true;
}

/* True: the segment is finished. */
static bool
text_piece(struct search_pass *pass, const struct search_segment *segment, int *rc_out)
{
	uint64_t left = segment->len - pass->done;
	struct shelf_span piece = {NULL, 0};

	*rc_out = 0;
	if (left > 0 && !search_text_done(&pass->text)) {
		*rc_out = shelf_body_read(pass->body, segment->offset + pass->done,
		    left > PIECE_MAX_BYTES ? PIECE_MAX_BYTES : (size_t)left, &piece);
		if (*rc_out != 0)
			return false;
	}
	shelf_buf_clear(&pass->decoded);
	if (piece.len > 0) {
		mime_decoder_feed(&pass->decoder, piece.data, piece.len, &pass->decoded);
		search_text_feed(&pass->text, shelf_buf_span(&pass->decoded));
		search_text_flush(&pass->text);
		pass->done += piece.len;
		return false;
	}
	mime_decoder_end(&pass->decoder, &pass->decoded);
	search_text_feed(&pass->text, shelf_buf_span(&pass->decoded));
	search_text_end(&pass->text);
	pass->inside = false;
	return true;
}

/* ---- Steps ------------------------------------------------------------------------------------------ */

static size_t
settle(struct search_plan *plan, bool at_end)
{
	size_t open = 0;

	for (size_t i = 0; i < plan->nleaf; i++) {
		struct search_node *leaf = plan->leaf[i];

		if (is_open(leaf) && leaf->match.found)
			leaf->value = SEARCH_YES;
		else if (is_open(leaf) && at_end)
			leaf->value = SEARCH_NO;
		open += is_open(leaf);
	}
	return open;
}

int
search_pass_step(struct search_pass *pass, struct search_plan *plan)
{
	const struct search_segment *segment;
	int rc = 0;

	if (pass->at == pass->nsegment) {
		settle(plan, true);
		return 0;
	}
	segment = &pass->segment[pass->at];
	if (segment->header) {
		if (!read_header(pass, segment, &rc))
			return rc != 0 ? rc : 1;
		search_header(pass, plan, segment);
		shelf_buf_clear(&pass->header);
		pass->at++;
	} else {
		if (!pass->inside)
			begin_text(pass, plan, segment);
		if (!text_piece(pass, segment, &rc))
			return rc != 0 ? rc : 1;
		pass->at++;
	}
	return settle(plan, pass->at == pass->nsegment) > 0;
}

void
search_pass_end(struct search_pass *pass)
{
	shelf_body_close(&pass->body);
	mime_scan_free(&pass->scan);
	if (pass->inside)
		search_text_end(&pass->text);
	pass->inside = false;
	shelf_buf_free(&pass->decoded);
	shelf_buf_free(&pass->header);
	pass->segment = NULL;
	pass->nsegment = pass->at = 0;
	pass->done = 0;
	pass->root = NULL;
}
