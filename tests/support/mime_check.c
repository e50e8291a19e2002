/* mime_check.c - properties of part trees, see mime_check.h */
#include "mime_check.h"

static uint64_t
count_lf(struct shelf_span s)
{
	uint64_t count = 0;

	for (size_t i = 0; i < s.len; i++)
		count += s.data[i] == '\n';
	return count;
}

struct walk {
	struct shelf_span message;
	unsigned parts;
};

static const char *
check_part(struct walk *w, const struct mime_part *part, unsigned depth, uint64_t from, uint64_t to)
{
	uint64_t end = part->body_offset + part->body_len;
	bool message = part->parent == NULL || part->parent->kind == MIME_MESSAGE;
	const char *wrong = NULL;

	if (part->header_offset < from || end > to || end < part->header_offset)
		return "a part leaves its place";
	if (part->header_offset + part->header_len != part->body_offset)
		return "header and body do not meet";
	if (part->lines != count_lf(shelf_span(w->message.data + part->body_offset, part->body_len)))
		return "lines miscounted";
	if (part->type.len == 0 || part->subtype.len == 0)
		return "no type";
	if (depth > MIME_DEPTH_MAX || ++w->parts > MIME_PARTS_MAX)
		return "beyond the limits";
	if (message != (part->envelope != NULL))
		return "envelope out of place";
	if ((part->kind == MIME_LEAF && part->child != NULL) ||
	    (part->kind == MIME_MESSAGE && (part->child == NULL || part->child->next != NULL)))
		return "children do not suit the kind";
	from = part->body_offset;
	for (const struct mime_part *c = part->child; c != NULL && wrong == NULL; c = c->next) {
		if (c->parent != part)
			return "parent is another";
		wrong = check_part(w, c, depth + 1, from, end);
		from = c->body_offset + c->body_len;
	}
	return wrong;
}

const char *
mime_check_tree(const struct mime_part *root, struct shelf_span message)
{
	struct walk w = {message, 0};

	if (root->parent != NULL || root->next != NULL || root->header_offset != 0 ||
	    root->body_offset + root->body_len != message.len)
		return "the root is not the message";
	return check_part(&w, root, 1, 0, message.len);
}

const char *
mime_check_record(const struct mime_part *root)
{
	struct shelf_buf one = {0}, two = {0};
	struct shelf_arena arena = {0};
	struct mime_part *again = NULL;
	const char *wrong = NULL;

	mime_record_encode(root, &one);
	if (mime_record_decode(shelf_buf_span(&one), &arena, &again) != 0) {
		wrong = "a record does not decode";
	} else {
		mime_record_encode(again, &two);
		if (!shelf_span_eq(shelf_buf_span(&one), shelf_buf_span(&two)))
			wrong = "a record changes by decoding";
	}
	shelf_buf_free(&one);
	shelf_buf_free(&two);
	shelf_arena_free(&arena);
	return wrong;
}

const char *
mime_check_cut(const struct mime_part *root, struct shelf_span message, size_t cut)
{
	struct shelf_buf one = {0}, two = {0};
	struct shelf_arena arena = {0};
	struct mime_scan *scan = mime_scan_new(&arena);
	const char *wrong = NULL;

	for (size_t i = 0; i < message.len; i += cut)
		mime_scan_feed(scan, message.data + i, message.len - i < cut ? message.len - i : cut);
	mime_record_encode(root, &one);
	mime_record_encode(mime_scan_end(&scan), &two);
	if (!shelf_span_eq(shelf_buf_span(&one), shelf_buf_span(&two)))
		wrong = "the tree depends on the cuts";
	shelf_buf_free(&one);
	shelf_buf_free(&two);
	shelf_arena_free(&arena);
	return wrong;
}

const char *
mime_check_headed(const struct mime_part *root, struct shelf_span message)
{
	const struct shelf_span head = shelf_span_str("Return-Path: <a@example.org>\r\nDelivered-To: b\r\n");
	const struct shelf_span start = shelf_span(message.data, message.len < 100 ? message.len : 100);
	struct shelf_buf base = {0}, made = {0}, want = {0};
	struct shelf_arena arena = {0};
	const char *wrong = NULL;

	mime_record_encode(root, &base);
	if (mime_record_headed(shelf_buf_span(&base), start, head, &made)) {
		struct mime_scan *scan = mime_scan_new(&arena);

		mime_scan_feed(scan, head.data, head.len);
		mime_scan_feed(scan, message.data, message.len);
		mime_record_encode(mime_scan_end(&scan), &want);
		if (!shelf_span_eq(shelf_buf_span(&made), shelf_buf_span(&want)))
			wrong = "the record with a head in front is not that of a scan";
	}
	shelf_buf_free(&base);
	shelf_buf_free(&made);
	shelf_buf_free(&want);
	shelf_arena_free(&arena);
	return wrong;
}
