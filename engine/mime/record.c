/*
 * record.c - the stored form of the part tree
 *
 * Numbers are varints (LEB128), texts a varint length and the bytes. A bit in a flags number tells
 * whether an optional item follows; items follow in the order of their bits.
 *
 *   OFFSET  SIZE    MEANING
 *   0       1       version of the format: 2, or 1 without the preview
 *   1       text    the preview (version 2)
 *   ..      ..      the root part
 *
 *   part:
 *   0       varint  flags: bits 0-1 kind (0 leaf, 1 multipart, 2 message), 2 params, 3 id,
 *                   4 description, 5 encoding, 6 md5, 7 language, 8 location, 9 disposition,
 *                   10 disposition params, 11 envelope, 12 children
 *   ..      text    type
 *   ..      text    subtype
 *   ..      varint  gap: header offset less the end of the elder sibling's body, or less the body
 *                   offset of the parent; the root's is its header offset
 *   ..      varint  length of the header
 *   ..      varint  length of the body, which begins where the header ends
 *   ..      varint  lines of the body
 *   ..      params, texts, params, envelope, children, each when its bit is set
 *
 *   params:   varint count, then name and value as texts
 *   children: varint count, then the parts
 *   envelope: varint flags: bits 0-4 date, subject, in-reply-to, message-id, references,
 *             5-10 from, sender, reply-to, to, cc, bcc, 11 time sent;
 *             the texts; the address lists; time sent as two zigzag varints: UTC seconds, zone minutes
 *   address list: varint count, then addresses
 *   address:  varint flags: bits 0-3 name, route, mailbox, host; the texts
 *
 * What must stay true: what decodes is a tree the scanner could have made - every part within its
 * parent's body and behind its elder siblings, all numbers within the limits of mime.h, no byte
 * left over.
 */
#include <mailshelf/mem.h>

#include "base.h"
#include "mime_internal.h"

enum { PREVIEW_MAX_BYTES = 4 * MIME_PREVIEW_MAX, HEADED_HEADER_MAX = 32 * 1024 };

enum part_bits {
	PART_KIND_MASK = 3,
	PART_PARAMS = 1 << 2,
	PART_TEXTS_SHIFT = 3,
	PART_DISPOSITION_PARAMS = 1 << 10,
	PART_ENVELOPE = 1 << 11,
	PART_CHILDREN = 1 << 12,
	PART_BITS_ALL = (1 << 13) - 1,
};

enum envelope_bits {
	ENVELOPE_LISTS_SHIFT = 5,
	ENVELOPE_SENT = 1 << 11,
	ENVELOPE_BITS_ALL = (1 << 12) - 1,
};

static const size_t part_texts[] = {
	offsetof(struct mime_part, id), offsetof(struct mime_part, description),
	offsetof(struct mime_part, encoding), offsetof(struct mime_part, md5),
	offsetof(struct mime_part, language), offsetof(struct mime_part, location),
	offsetof(struct mime_part, disposition),
};
static const size_t envelope_texts[] = {
	offsetof(struct mime_envelope, date), offsetof(struct mime_envelope, subject),
	offsetof(struct mime_envelope, in_reply_to), offsetof(struct mime_envelope, message_id),
	offsetof(struct mime_envelope, references),
};
static const size_t envelope_lists[] = {
	offsetof(struct mime_envelope, from), offsetof(struct mime_envelope, sender),
	offsetof(struct mime_envelope, reply_to), offsetof(struct mime_envelope, to),
	offsetof(struct mime_envelope, cc), offsetof(struct mime_envelope, bcc),
};
static const size_t address_texts[] = {
	offsetof(struct mime_address, name), offsetof(struct mime_address, adl),
	offsetof(struct mime_address, mailbox), offsetof(struct mime_address, host),
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- Encoding ---------------------------------------------------------------------------------- */

static const struct shelf_span *
text_at(const void *object, size_t offset)
{
	return (const struct shelf_span *)(const void *)((const char *)object + offset);
}

static uint64_t
present(const void *object, const size_t *offsets, size_t count)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < count; i++)
		bits |= (uint64_t)(text_at(object, offsets[i])->data != NULL) << i;
	return bits;
}

static void
add_texts(struct shelf_buf *out, const void *object, const size_t *offsets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (text_at(object, offsets[i])->data != NULL)
			base_add_text(out, *text_at(object, offsets[i]));
}

static void
add_params(struct shelf_buf *out, const struct mime_param *first)
{
	uint64_t count = 0;

	for (const struct mime_param *p = first; p != NULL; p = p->next)
		count++;
	base_add_varint(out, count);
	for (const struct mime_param *p = first; p != NULL; p = p->next) {
		base_add_text(out, p->name);
		base_add_text(out, p->value);
	}
}

static void
add_addresses(struct shelf_buf *out, const struct mime_address *first)
{
	uint64_t count = 0;

	for (const struct mime_address *a = first; a != NULL; a = a->next)
		count++;
	base_add_varint(out, count);
	for (const struct mime_address *a = first; a != NULL; a = a->next) {
		base_add_varint(out, present(a, address_texts, COUNT(address_texts)));
		add_texts(out, a, address_texts, COUNT(address_texts));
	}
}

static void
add_signed(struct shelf_buf *out, int64_t v)
{
	base_add_varint(out, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}

static const struct mime_address *
list_at(const struct mime_envelope *e, size_t i)
{
	return *(struct mime_address *const *)(const void *)((const char *)e + envelope_lists[i]);
}

static void
add_envelope(struct shelf_buf *out, const struct mime_envelope *e)
{
	uint64_t bits = present(e, envelope_texts, COUNT(envelope_texts));

	for (size_t i = 0; i < COUNT(envelope_lists); i++)
		bits |= (uint64_t)(list_at(e, i) != NULL) << (ENVELOPE_LISTS_SHIFT + i);
	if (e->sent_s != INT64_MIN)
		bits |= ENVELOPE_SENT;
	base_add_varint(out, bits);
	add_texts(out, e, envelope_texts, COUNT(envelope_texts));
	for (size_t i = 0; i < COUNT(envelope_lists); i++)
		if (list_at(e, i) != NULL)
			add_addresses(out, list_at(e, i));
	if (e->sent_s != INT64_MIN) {
		add_signed(out, e->sent_s);
		add_signed(out, e->sent_zone_min);
	}
}

/* Recursion is as deep as the tree: MIME_DEPTH_MAX at most. */
static void
add_part(struct shelf_buf *out, const struct mime_part *part, uint64_t base)
{
	uint64_t bits = (uint64_t)part->kind, count = 0;

	bits |= present(part, part_texts, COUNT(part_texts)) << PART_TEXTS_SHIFT;
	bits |= part->params != NULL ? PART_PARAMS : 0;
	bits |= part->disposition_params != NULL ? PART_DISPOSITION_PARAMS : 0;
	bits |= part->envelope != NULL ? PART_ENVELOPE : 0;
	bits |= part->child != NULL ? PART_CHILDREN : 0;
	base_add_varint(out, bits);
	base_add_text(out, part->type);
	base_add_text(out, part->subtype);
	base_add_varint(out, part->header_offset - base);
	base_add_varint(out, part->header_len);
	base_add_varint(out, part->body_len);
	base_add_varint(out, part->lines);
	if (part->params != NULL)
		add_params(out, part->params);
	add_texts(out, part, part_texts, COUNT(part_texts));
	if (part->disposition_params != NULL)
		add_params(out, part->disposition_params);
	if (part->envelope != NULL)
		add_envelope(out, part->envelope);
	if (part->child == NULL)
		return;
	for (const struct mime_part *child = part->child; child != NULL; child = child->next)
		count++;
	base_add_varint(out, count);
	base = part->body_offset;
	for (const struct mime_part *child = part->child; child != NULL; child = child->next) {
		add_part(out, child, base);
		base = child->body_offset + child->body_len;
	}
}

void
mime_record_encode(const struct mime_part *root, struct shelf_buf *out)
{
	shelf_buf_add_byte(out, root->preview.data != NULL ? MIME_RECORD : MIME_RECORD_BARE);
	if (root->preview.data != NULL)
		base_add_text(out, root->preview);
	add_part(out, root, 0);
}

/* ---- A head in front ------------------------------------------------------------------------------ */

/* Is TEXT nothing but whole fields of which a record knows nothing, each "Name: ..." and CRLF, none of them folded? */
static bool
is_trace(struct shelf_span text)
{
	size_t at = 0;

	while (at < text.len) {
		ptrdiff_t colon = shelf_span_find(text, ':', at), end = shelf_span_find(text, '\n', at);
		struct shelf_span name = shelf_span(text.data + at, colon < 0 ? 0 : (size_t)colon - at);

		if (colon < 0 || end <= colon || text.data[end - 1] != '\r' ||
		    (!shelf_span_is(name, "Return-Path") && !shelf_span_is(name, "Delivered-To")))
			return false;
		at = (size_t)end + 1;
	}
	return text.len > 0;
}

/* Does a header begin here with a field of its own? */
static bool
begins_with_field(struct shelf_span start)
{
	size_t i = 0;

	while (i < start.len && start.data[i] > ' ' && start.data[i] < 0x7f && start.data[i] != ':')
		i++;
	return i > 0 && i < start.len && start.data[i] == ':';
}

bool
mime_record_headed(struct shelf_span record, struct shelf_span start, struct shelf_span head, struct shelf_buf *out)
{
	struct base_reader r = base_reader(record);
	uint8_t version = (uint8_t)base_get_le(&r, 1);
	uint64_t header_len;
	size_t at;

	/* A header near the limits of a scan may be read otherwise with more in front of it. */
	if ((version != MIME_RECORD && version != MIME_RECORD_BARE) || !is_trace(head) || !begins_with_field(start))
		return false;
	if (version == MIME_RECORD)
		base_get_text(&r);
	base_get_varint(&r); /* flags */
	base_get_text(&r);   /* type */
	base_get_text(&r);   /* subtype */
	base_get_varint(&r); /* gap */
	at = record.len - base_left(&r);
	header_len = base_get_varint(&r);
	if (r.bad || header_len < 2 || header_len > HEADED_HEADER_MAX)
		return false;
	shelf_buf_add(out, record.data, at);
	base_add_varint(out, header_len + head.len);
	shelf_buf_add(out, record.data + record.len - base_left(&r), base_left(&r));
	return true;
}

/* ---- Decoding ---------------------------------------------------------------------------------- */

struct decoder {
	struct base_reader in;
	struct shelf_arena *arena;
	unsigned parts;
};

static void
get_texts(struct decoder *d, void *object, const size_t *offsets, size_t count, uint64_t bits)
{
	for (size_t i = 0; i < count; i++)
		if ((bits >> i & 1) != 0)
			*(struct shelf_span *)(void *)((char *)object + offsets[i]) =
			    base_get_text(&d->in);
}

/* A count of things of which each takes at least LEAST bytes; 0, and the record bad, beyond MAX. */
static uint64_t
get_count(struct decoder *d, uint64_t max, size_t least)
{
	uint64_t count = base_get_varint(&d->in);

	if (count == 0 || count > max || count > base_left(&d->in) / least) {
		d->in.bad = true;
		return 0;
	}
	return count;
}

static struct mime_param *
get_params(struct decoder *d)
{
	struct mime_param *first = NULL, **tail = &first;

	for (uint64_t left = get_count(d, MIME_PARAMS_MAX, 2); left > 0 && !d->in.bad; left--) {
		*tail = SHELF_ARENA_NEW(d->arena, struct mime_param);
		(*tail)->name = base_get_text(&d->in);
		(*tail)->value = base_get_text(&d->in);
		tail = &(*tail)->next;
	}
	return first;
}

static struct mime_address *
get_addresses(struct decoder *d)
{
	struct mime_address *first = NULL, **tail = &first;

	for (uint64_t left = get_count(d, MIME_ADDRESSES_MAX, 1); left > 0 && !d->in.bad; left--) {
		uint64_t bits = base_get_varint(&d->in);

		if (bits >= 1 << COUNT(address_texts))
			d->in.bad = true;
		*tail = SHELF_ARENA_NEW(d->arena, struct mime_address);
		get_texts(d, *tail, address_texts, COUNT(address_texts), bits);
		tail = &(*tail)->next;
	}
	return first;
}

static int64_t
get_signed(struct decoder *d)
{
	uint64_t v = base_get_varint(&d->in);

	return (int64_t)(v >> 1 ^ ((v & 1) != 0 ? UINT64_MAX : 0));
}

static struct mime_envelope *
get_envelope(struct decoder *d)
{
	struct mime_envelope *e = SHELF_ARENA_NEW(d->arena, struct mime_envelope);
	uint64_t bits = base_get_varint(&d->in);
	int64_t zone;

	if (bits > ENVELOPE_BITS_ALL)
		d->in.bad = true;
	get_texts(d, e, envelope_texts, COUNT(envelope_texts), bits);
	for (size_t i = 0; i < COUNT(envelope_lists); i++)
		if ((bits >> (ENVELOPE_LISTS_SHIFT + i) & 1) != 0)
			*(struct mime_address **)(void *)((char *)e + envelope_lists[i]) =
			    get_addresses(d);
	e->sent_s = INT64_MIN;
	if ((bits & ENVELOPE_SENT) != 0) {
		e->sent_s = get_signed(d);
		zone = get_signed(d);
		if (e->sent_s == INT64_MIN || zone < INT16_MIN || zone > INT16_MAX)
			d->in.bad = true;
		e->sent_zone_min = (int16_t)zone;
	}
	return e;
}

/* Offsets of PART, which must begin at or after BASE and end at or before END. */
static void
get_place(struct decoder *d, struct mime_part *part, uint64_t base, uint64_t end)
{
	uint64_t gap = base_get_varint(&d->in);

	part->header_len = base_get_varint(&d->in);
	part->body_len = base_get_varint(&d->in);
	part->lines = base_get_varint(&d->in);
	if (gap > end - base || part->header_len > end - base - gap ||
	    part->body_len > end - base - gap - part->header_len || part->lines > part->body_len) {
		d->in.bad = true;
		return;
	}
	part->header_offset = base + gap;
	part->body_offset = part->header_offset + part->header_len;
}

/* Does what hangs on PART suit its kind? */
static bool
shape_ok(const struct mime_part *part, uint64_t bits)
{
	bool message = part->parent == NULL || part->parent->kind == MIME_MESSAGE;
	bool children = (bits & PART_CHILDREN) != 0;

	return bits <= PART_BITS_ALL && part->kind <= MIME_MESSAGE && part->type.len > 0 &&
	    part->subtype.len > 0 && message == ((bits & PART_ENVELOPE) != 0) &&
	    (part->kind == MIME_LEAF ? !children : part->kind == MIME_MULTIPART || children);
}

static struct mime_part *get_part(struct decoder *d, struct mime_part *parent, unsigned depth,
    uint64_t base, uint64_t end);

static void
get_children(struct decoder *d, struct mime_part *part, unsigned depth)
{
	uint64_t base = part->body_offset, end = part->body_offset + part->body_len;
	uint64_t left = get_count(d, part->kind == MIME_MESSAGE ? 1 : MIME_PARTS_MAX, 7);
	struct mime_part **tail = &part->child;

	for (; left > 0 && !d->in.bad; left--) {
		*tail = get_part(d, part, depth + 1, base, end);
		base = (*tail)->body_offset + (*tail)->body_len;
		tail = &(*tail)->next;
	}
}

/* What hangs on PART, in the order of the bits, but for its children. */
static void
get_attributes(struct decoder *d, struct mime_part *part, uint64_t bits)
{
	if ((bits & PART_PARAMS) != 0)
		part->params = get_params(d);
	get_texts(d, part, part_texts, COUNT(part_texts), bits >> PART_TEXTS_SHIFT);
	if ((bits & PART_DISPOSITION_PARAMS) != 0)
		part->disposition_params = get_params(d);
	if ((bits & PART_ENVELOPE) != 0)
		part->envelope = get_envelope(d);
}

static struct mime_part *
get_part(struct decoder *d, struct mime_part *parent, unsigned depth, uint64_t base, uint64_t end)
{
	struct mime_part *part = SHELF_ARENA_NEW(d->arena, struct mime_part);
	uint64_t bits = base_get_varint(&d->in);

	part->parent = parent;
	part->kind = (enum mime_kind)(bits & PART_KIND_MASK);
	part->type = base_get_text(&d->in);
	part->subtype = base_get_text(&d->in);
	get_place(d, part, base, end);
	if (depth > MIME_DEPTH_MAX || ++d->parts > MIME_PARTS_MAX || !shape_ok(part, bits))
		d->in.bad = true;
	if (d->in.bad)
		return part;
	get_attributes(d, part, bits);
	if ((bits & PART_CHILDREN) != 0)
		get_children(d, part, depth);
	return part;
}

/* Could mime_preview() have made it? */
static bool
is_preview(struct shelf_span text)
{
	if (text.len > PREVIEW_MAX_BYTES || !shelf_utf8_valid(text))
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < ' ')
			return false;
	return true;
}

/* To the root part. */
static int
begin(struct decoder *d, struct shelf_span record, struct shelf_span *preview_out)
{
	*preview_out = shelf_span(NULL, 0);
	if (record.len == 0)
		return SHELF_ECORRUPT;
	if (record.data[0] != MIME_RECORD && record.data[0] != MIME_RECORD_BARE)
		return SHELF_EVERSION;
	/* All texts point into this one copy. */
	record = shelf_arena_dup(d->arena, record);
	d->in = base_reader(shelf_span(record.data + 1, record.len - 1));
	if (record.data[0] == MIME_RECORD)
		*preview_out = base_get_text(&d->in);
	return is_preview(*preview_out) ? 0 : SHELF_ECORRUPT;
}

int
mime_record_envelope(struct shelf_span record, struct shelf_arena *arena,
    const struct mime_envelope **out)
{
	struct decoder d = {.arena = arena};
	struct mime_part root = {0};
	struct shelf_span preview;
	uint64_t bits;
	int rc = begin(&d, record, &preview);

	if (rc != 0)
		return rc;
	bits = base_get_varint(&d.in);
	base_get_text(&d.in); /* type, subtype */
	base_get_text(&d.in);
	get_place(&d, &root, 0, INT64_MAX);
	if ((bits & PART_ENVELOPE) == 0 || bits > PART_BITS_ALL)
		return SHELF_ECORRUPT;
	get_attributes(&d, &root, bits);
	*out = root.envelope;
	return d.in.bad ? SHELF_ECORRUPT : 0;
}

int
mime_record_decode(struct shelf_span record, struct shelf_arena *arena, struct mime_part **root_out)
{
	struct decoder d = {.arena = arena};
	struct shelf_span preview;
	struct mime_part *root;
	int rc = begin(&d, record, &preview);

	if (rc != 0)
		return rc;
	root = get_part(&d, NULL, 1, 0, INT64_MAX);
	if (d.in.bad || base_left(&d.in) != 0)
		return SHELF_ECORRUPT;
	root->preview = preview;
	*root_out = root;
	return 0;
}
