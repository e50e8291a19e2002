/*
 * fields.c - the structured fields of a header block, read into a part and its envelope
 *
 * Of a field that comes twice the first counts, as most readers do it; destination fields are
 * joined (RFC 5322 4.5.3).
 */
#include "mime_internal.h"

enum how {
	FIELD_TYPE,
	FIELD_DISPOSITION,
	FIELD_TOKEN,
	FIELD_TEXT,          /* of the part */
	FIELD_ENVELOPE_TEXT,
	FIELD_ADDRESSES,     /* the first field */
	FIELD_DESTINATIONS,  /* all fields */
};

#define ROW(name, how, holder, member) {name, sizeof(name) - 1, how, offsetof(struct holder, member)}
static const struct row {
	const char *name;
	size_t len;
	enum how how;
	size_t offset; /* of the span in struct mime_part, or of span or list in struct mime_envelope */
} rows[] = {
	ROW("Content-Type", FIELD_TYPE, mime_part, type),
	ROW("Content-Disposition", FIELD_DISPOSITION, mime_part, disposition),
	ROW("Content-Transfer-Encoding", FIELD_TOKEN, mime_part, encoding),
	ROW("Content-ID", FIELD_TEXT, mime_part, id),
	ROW("Content-Description", FIELD_TEXT, mime_part, description),
	ROW("Content-MD5", FIELD_TEXT, mime_part, md5),
	ROW("Content-Language", FIELD_TEXT, mime_part, language),
	ROW("Content-Location", FIELD_TEXT, mime_part, location),
	ROW("Date", FIELD_ENVELOPE_TEXT, mime_envelope, date),
	ROW("Subject", FIELD_ENVELOPE_TEXT, mime_envelope, subject),
	ROW("In-Reply-To", FIELD_ENVELOPE_TEXT, mime_envelope, in_reply_to),
	ROW("Message-ID", FIELD_ENVELOPE_TEXT, mime_envelope, message_id),
	ROW("References", FIELD_ENVELOPE_TEXT, mime_envelope, references),
	ROW("From", FIELD_ADDRESSES, mime_envelope, from),
	ROW("Sender", FIELD_ADDRESSES, mime_envelope, sender),
	ROW("Reply-To", FIELD_ADDRESSES, mime_envelope, reply_to),
	ROW("To", FIELD_DESTINATIONS, mime_envelope, to),
	ROW("Cc", FIELD_DESTINATIONS, mime_envelope, cc),
	ROW("Bcc", FIELD_DESTINATIONS, mime_envelope, bcc),
};
#undef ROW
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

struct reader {
	struct mime_part *part;
	struct shelf_arena *arena;
	struct mime_budget *budget;
	bool seen[ROWS];
	struct mime_address **tails[ROWS]; /* of the address lists */
	unsigned left[ROWS];
};

static void
read_addresses(struct reader *r, size_t row, struct shelf_span value)
{
	unsigned all = r->budget->addresses, given = r->left[row] < all ? r->left[row] : all;
	unsigned left = given;

	mime_address_list(value, r->arena, &left, &r->tails[row]);
	r->left[row] -= given - left;
	r->budget->addresses -= given - left;
}

static void
read_field(struct reader *r, size_t row, struct shelf_span value)
{
	struct mime_part *part = r->part;
	struct shelf_span type, subtype, text;

	switch (rows[row].how) {
	case FIELD_TYPE:
		mime_content_type(value, r->arena, r->budget, &type, &subtype, &part->params);
		if (type.data == NULL) {
			/* RFC 2045 5.2: what cannot be read is text. */
			type = mime_text(shelf_span_str("text"), r->arena);
			subtype = mime_text(shelf_span_str("plain"), r->arena);
		}
		part->type = type;
		part->subtype = subtype;
		break;
	case FIELD_DISPOSITION:
		mime_disposition(value, r->arena, r->budget, &part->disposition,
		    &part->disposition_params);
		break;
	case FIELD_TOKEN:
		*(struct shelf_span *)((char *)part + rows[row].offset) = mime_token(value, r->arena);
		break;
	case FIELD_TEXT:
		text = mime_unfold(value, r->arena);
		*(struct shelf_span *)((char *)part + rows[row].offset) = text;
		break;
	case FIELD_ENVELOPE_TEXT:
		text = mime_unfold(value, r->arena);
		*(struct shelf_span *)((char *)part->envelope + rows[row].offset) = text;
		break;
	case FIELD_ADDRESSES:
	case FIELD_DESTINATIONS:
		read_addresses(r, row, value);
		break;
	}
}

static void
read_date(struct mime_envelope *e)
{
	e->sent_s = INT64_MIN;
	if (e->date.data != NULL && !mime_date(e->date, &e->sent_s, &e->sent_zone_min)) {
		e->sent_s = INT64_MIN;
		e->sent_zone_min = 0;
	}
}

void
mime_header_read(struct shelf_span header, struct mime_part *part, bool message,
    struct shelf_arena *arena, struct mime_budget *budget)
{
	struct reader r = {.part = part, .arena = arena, .budget = budget};
	struct mime_field field;
	size_t pos = 0;

	if (message)
		part->envelope = SHELF_ARENA_NEW(arena, struct mime_envelope);
	for (size_t i = 0; message && i < ROWS; i++) {
		r.tails[i] = (struct mime_address **)((char *)part->envelope + rows[i].offset);
		r.left[i] = MIME_ADDRESSES_MAX;
	}
	while (mime_field_next(header, &pos, &field)) {
		for (size_t i = 0; i < ROWS; i++) {
			/* The length first: a header of a million tiny fields must stay cheap. */
			if (field.name.len != rows[i].len || !shelf_span_is(field.name, rows[i].name))
				continue;
			if ((!message && rows[i].how >= FIELD_ENVELOPE_TEXT) ||
			    (r.seen[i] && rows[i].how != FIELD_DESTINATIONS))
				break;
			r.seen[i] = true;
			read_field(&r, i, field.value);
			break;
		}
	}
	if (message)
		read_date(part->envelope);
}
