/*
 * imap_fetch_structure.c - BODY and BODYSTRUCTURE: the part tree in IMAP's parentheses
 *
 * Whatever the message was, the result is a legal body of RFC 9051 9: a multipart shows at least one
 * part, a message/rfc822 whose inside is not known shows an empty one. Recursion is as deep as the tree,
 * at most MIME_DEPTH_MAX.
 * Sources   RFC 9051 7.5.2, 9 (body, body-type-mpart, body-type-1part, body-ext-1part).
 */
#include <inttypes.h>

#include "imap_fetch.h"

static void
print_params(struct imap_session *s, const struct mime_param *params)
{
	const char *before = "(";

	if (params == NULL) {
		imap_out_str(s, "NIL");
		return;
	}
	for (const struct mime_param *p = params; p != NULL; p = p->next) {
		imap_out_str(s, before);
		imap_out_string(s, p->name);
		imap_out_str(s, " ");
		imap_out_string(s, p->value);
		before = " ";
	}
	imap_out_str(s, ")");
}

static void
print_disposition(struct imap_session *s, const struct mime_part *part)
{
	if (part->disposition.data == NULL) {
		imap_out_str(s, "NIL");
		return;
	}
	imap_out_str(s, "(");
	imap_out_string(s, part->disposition);
	imap_out_str(s, " ");
	print_params(s, part->disposition_params);
	imap_out_str(s, ")");
}

static struct shelf_span
next_tag(struct shelf_span text, size_t *pos)
{
	size_t end;
	struct shelf_span tag;

	while (*pos < text.len && strchr(", \t\r\n", text.data[*pos]) != NULL && text.data[*pos] != 0)
		(*pos)++;
	for (end = *pos; end < text.len && text.data[end] != ','; end++)
		;
	tag = shelf_span(text.data + *pos, end - *pos);
	*pos = end;
	while (tag.len > 0 && (tag.data[tag.len - 1] == ' ' || tag.data[tag.len - 1] == '\t'))
		tag.len--;
	return tag;
}

/* Content-Language is a list of tags (RFC 3282 2): one as a string, several in parentheses. */
static void
print_language(struct imap_session *s, struct shelf_span text)
{
	size_t pos = 0, n = 0;
	struct shelf_span tag, first = {NULL, 0};

	while (text.data != NULL && (tag = next_tag(text, &pos)).len > 0) {
		if (n++ == 0)
			first = tag;
	}
	if (n <= 1) {
		imap_out_nstring(s, first);
		return;
	}
	imap_out_str(s, "(");
	for (pos = 0, n = 0; (tag = next_tag(text, &pos)).len > 0; n++) {
		imap_out_str(s, n == 0 ? "" : " ");
		imap_out_string(s, tag);
	}
	imap_out_str(s, ")");
}

static void
print_extension(struct imap_session *s, const struct mime_part *part)
{
	imap_out_str(s, " ");
	print_disposition(s, part);
	imap_out_str(s, " ");
	print_language(s, part->language);
	imap_out_str(s, " ");
	imap_out_nstring(s, part->location);
}

/* What stands for a part that is not there. */
static void
print_empty_text(struct imap_session *s, bool extended)
{
	imap_out_str(s, "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0");
	imap_out_str(s, extended ? " NIL NIL NIL NIL)" : ")");
}

static void
print_multipart(struct imap_session *s, const struct mime_part *part, bool extended)
{
	imap_out_str(s, "(");
	if (part->child == NULL)
		print_empty_text(s, extended);
	for (const struct mime_part *c = part->child; c != NULL; c = c->next)
		imap_print_structure(s, c, extended);
	imap_out_str(s, " ");
	imap_out_string(s, part->subtype);
	if (extended) {
		imap_out_str(s, " ");
		print_params(s, part->params);
		print_extension(s, part);
	}
	imap_out_str(s, ")");
}

bool
imap_is_message(const struct mime_part *part)
{
	return part->kind == MIME_MESSAGE || (shelf_span_is(part->type, "message") &&
	    (shelf_span_is(part->subtype, "rfc822") || shelf_span_is(part->subtype, "global")));
}

static void
print_inner_message(struct imap_session *s, const struct mime_part *part, bool extended)
{
	imap_out_str(s, " ");
	imap_print_envelope(s, part->child != NULL ? part->child->envelope : NULL);
	imap_out_str(s, " ");
	if (part->child != NULL)
		imap_print_structure(s, part->child, extended);
	else
		print_empty_text(s, extended);
}

static void
print_single(struct imap_session *s, const struct mime_part *part, bool extended)
{
	imap_out_str(s, "(");
	imap_out_string(s, part->type);
	imap_out_str(s, " ");
	imap_out_string(s, part->subtype);
	imap_out_str(s, " ");
	print_params(s, part->params);
	imap_out_str(s, " ");
	imap_out_nstring(s, part->id);
	imap_out_str(s, " ");
	imap_out_nstring(s, part->description);
	imap_out_str(s, " ");
	imap_out_string(s, part->encoding.data != NULL ? part->encoding : shelf_span_str("7BIT"));
	imap_out_str(s, " ");
	imap_out_uint(s, part->body_len);
	if (imap_is_message(part))
		print_inner_message(s, part, extended);
	if (imap_is_message(part) || shelf_span_is(part->type, "text")) {
		imap_out_str(s, " ");
		imap_out_uint(s, part->lines);
	}
	if (extended) {
		imap_out_str(s, " ");
		imap_out_nstring(s, part->md5);
		print_extension(s, part);
	}
	imap_out_str(s, ")");
}

void
imap_print_structure(struct imap_session *s, const struct mime_part *part, bool extended)
{
	if (part->kind == MIME_MULTIPART || shelf_span_is(part->type, "multipart"))
		print_multipart(s, part, extended);
	else
		print_single(s, part, extended);
}

void
imap_fetch_print_body(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "BODY ");
	imap_print_structure(f->s, f->root, false);
}

void
imap_fetch_print_bodystructure(struct imap_fetch *f, const struct imap_fetch_item *item)
{
	imap_out_str(f->s, "BODYSTRUCTURE ");
	imap_print_structure(f->s, f->root, true);
}
