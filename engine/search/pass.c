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

enum { PIECE_MAX_BYTES = 32 * 1024, PIECE_MIN_BYTES = 512, STEP_WORK = 1 << 20 };

/* A step compares about STEP_WORK code points, however many patterns there are. */
static size_t
piece_max(size_t nmatch)
{
	size_t n = STEP_WORK / (nmatch + 1);

	return n > PIECE_MAX_BYTES ? PIECE_MAX_BYTES : n < PIECE_MIN_BYTES ? PIECE_MIN_BYTES : n;
}

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
	pass->inside = pass->in_field = false;
	pass->match = SHELF_ARENA_ARRAY(arena, struct search_match *, plan->nleaf);
	pass->asked = SHELF_ARENA_ARRAY(arena, struct search_match *, plan->nleaf);
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

/* Keys that ask for this field by name; those content with its presence are settled. */
static size_t
list_asked(struct search_pass *pass, struct search_plan *plan, struct shelf_span name)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->nleaf; i++) {
		struct search_node *leaf = plan->leaf[i];

		if (leaf->kind != SHELF_KEY_HEADER || !is_open(leaf) ||
		    !shelf_span_ieq(leaf->key->name, name))
			continue;
		if (leaf->any)
			leaf->value = SEARCH_YES;
		else if (!leaf->match.found)
			pass->asked[n++] = &leaf->match;
	}
	return n;
}

static size_t
list_wanting(struct search_pass *pass, struct search_plan *plan,
    const struct search_segment *segment)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->nleaf; i++) {
		if (wants(plan->leaf[i], segment) && !plan->leaf[i]->match.found)
			pass->match[n++] = &plan->leaf[i]->match;
	}
	return n;
}

static bool
is_plain(struct shelf_span v)
{
	uint8_t all = 0;

	for (size_t i = 0; i < v.len; i++)
		all |= v.data[i];
	return all < 0x80 && memmem(v.data, v.len, "=?", 2) == NULL;
}

void
search_decode(struct shelf_span value, struct shelf_buf *out)
{
	if (is_plain(value))
		shelf_buf_add_span(out, value);
	else
		mime_header_utf8(value, out);
}

/* As people see it. */
static void
decode_value(struct search_pass *pass, struct shelf_span value)
{
	if (memchr(value.data, '\n', value.len) != NULL || memchr(value.data, '\r', value.len) != NULL)
		value = mime_unfold(value, &pass->field_arena);
	while (value.len > 0 && (*value.data == ' ' || *value.data == '\t'))
		value = shelf_span(value.data + 1, value.len - 1);
	search_decode(value, &pass->decoded);
	shelf_arena_reset(&pass->field_arena);
}

/* The next field somebody wants to see, decoded: "Name: value" CR LF. False at the end. */
static bool
begin_field(struct search_pass *pass, struct search_plan *plan, bool root)
{
	struct mime_field field;

	while (mime_field_next(shelf_buf_span(&pass->header), &pass->header_pos, &field)) {
		size_t nasked = root ? list_asked(pass, plan, field.name) : 0;

		if (nasked == 0 && pass->text.nmatch == 0)
			continue;
		shelf_buf_clear(&pass->decoded);
		shelf_buf_add_span(&pass->decoded, field.name);
		shelf_buf_add(&pass->decoded, ": ", 2);
		pass->value_at = pass->decoded.len;
		decode_value(pass, field.value);
		pass->value_end = pass->decoded.len;
		shelf_buf_add(&pass->decoded, "\r\n", 2);
		search_text_begin(&pass->ask, shelf_span(NULL, 0), pass->asked, nasked);
		pass->fed = 0;
		pass->in_field = true;
		return true;
	}
	return false;
}

/* The whole line goes to the keys that want any text, the value to those that asked for the field. */
static void
feed_field(struct search_pass *pass)
{
	size_t max = piece_max(pass->text.nmatch + pass->ask.nmatch);
	size_t from = pass->fed, to = pass->decoded.len - from > max ? from + max : pass->decoded.len;

	search_text_feed(&pass->text, shelf_span(pass->decoded.data + from, to - from));
	pass->fed = to;
	if (from < pass->value_at)
		from = pass->value_at;
	if (to > pass->value_end)
		to = pass->value_end;
	if (from < to)
		search_text_feed(&pass->ask, shelf_span(pass->decoded.data + from, to - from));
	if (pass->fed == pass->decoded.len) {
		search_text_end(&pass->ask);
		pass->in_field = false;
	}
}

/* Fields until the step's work is done. True: the segment is finished. */
static bool
search_header(struct search_pass *pass, struct search_plan *plan,
    const struct search_segment *segment)
{
	size_t work = 0;

	if (!pass->inside) {
		search_text_begin(&pass->text, shelf_span(NULL, 0), pass->match,
		    list_wanting(pass, plan, segment));
		pass->header_pos = 0;
		pass->inside = true;
	}
	while (work < STEP_WORK) {
		size_t fed = pass->in_field ? pass->fed : 0;

		if (!pass->in_field && !begin_field(pass, plan, segment->part == pass->root)) {
			search_text_end(&pass->text);
			pass->inside = false;
			return true;
		}
		feed_field(pass);
		work += (pass->fed - fed) * (pass->text.nmatch + pass->ask.nmatch) + plan->nleaf;
	}
	search_text_flush(&pass->text);
	return false;
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
	mime_decoder_init(&pass->decoder, segment->part->encoding);
	search_text_begin(&pass->text, charset_of(segment->part), pass->match,
	    list_wanting(pass, plan, segment));
	if (shelf_span_is(segment->part->type, "text") && shelf_span_is(segment->part->subtype, "html"))
		search_text_html(&pass->text);
	pass->done = 0;
	pass->inside = true;
}

/* True: the segment is finished. */
static bool
text_piece(struct search_pass *pass, const struct search_segment *segment, int *rc_out)
{
	uint64_t left = segment->len - pass->done;
	size_t max = piece_max(pass->text.nmatch);
	struct shelf_span piece = {NULL, 0};

	*rc_out = 0;
	if (left > 0 && !search_text_done(&pass->text)) {
		*rc_out = shelf_body_read(pass->body, segment->offset + pass->done,
		    left > max ? max : (size_t)left, &piece);
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
		if (!search_header(pass, plan, segment))
			return settle(plan, false) > 0;
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
	if (pass->in_field)
		search_text_end(&pass->ask);
	pass->inside = pass->in_field = false;
	shelf_arena_free(&pass->field_arena);
	shelf_buf_free(&pass->decoded);
	shelf_buf_free(&pass->header);
	pass->segment = NULL;
	pass->nsegment = pass->at = 0;
	pass->done = 0;
	pass->root = NULL;
}
