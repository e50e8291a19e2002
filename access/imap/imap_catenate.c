/*
 * imap_catenate.c - a stored message, or a part of one, named by a URL, into a draft
 *
 *   "/" mailbox [";UIDVALIDITY=" n] "/;UID=" n ["/;SECTION=" section] ["/;PARTIAL=" start ["." count]]
 *   ";UID=" n ...: of the selected mailbox
 *
 * Only what this session can name without a server is taken (RFC 4469 3). The octets are copied as they are
 * stored, in pieces, on a worker: nothing of them is held.
 * Sources   RFC 4469 3; RFC 5092 3, 5, 11.
 */
#include "imap_address.h"
#include "imap_append.h"
#include "imap_fetch.h"

enum { PIECE_MAX_BYTES = 64 * 1024 };

/* ---- The URL ----------------------------------------------------------------------------------- */

static int
hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "%41" becomes "A", in place. False: not a URL's text. */
static bool
undo_percent(uint8_t *text, size_t len, struct shelf_span *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '%') {
			text[n++] = text[i];
			continue;
		}
		if (len - i < 3 || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0)
			return false;
		text[n++] = (uint8_t)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
		i += 2;
	}
	*out = shelf_span(text, n);
	return memchr(text, 0, n) == NULL;
}

/* A place in the copy, to be written to. */
static uint8_t *
within(struct imap_cat_url *url, const uint8_t *at)
{
	return url->text + (at - url->text);
}

/* In any case of letters. */
static bool
stands_at(struct shelf_span text, size_t at, const char *word)
{
	size_t len = strlen(word);

	return len <= text.len - at && shelf_span_is(shelf_span(text.data + at, len), word);
}

/* Where WORD stands in TEXT from AT on; LEN when it does not. */
static size_t
find(struct shelf_span text, size_t at, const char *word)
{
	while (at < text.len && !stands_at(text, at, word))
		at++;
	return at;
}

static bool
take(struct shelf_span text, size_t *at, const char *word)
{
	if (!stands_at(text, *at, word))
		return false;
	*at += strlen(word);
	return true;
}

static bool
number(struct shelf_span text, size_t *at, uint64_t max, uint64_t *out)
{
	size_t from = *at;

	while (*at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9')
		(*at)++;
	return shelf_span_u64(shelf_span(text.data + from, *at - from), max, out);
}

static bool
partial(struct shelf_span text, size_t *at, struct imap_cat_url *url)
{
	url->partial = true;
	url->count = INT64_MAX;
	if (!number(text, at, INT64_MAX, &url->start))
		return false;
	if (*at == text.len)
		return true;
	(*at)++;
	return text.data[*at - 1] == '.' && number(text, at, INT64_MAX, &url->count) && url->count > 0;
}

/* Behind the mailbox. */
static bool
message(struct shelf_span text, size_t at, struct imap_cat_url *url)
{
	uint64_t uid = 0;
	size_t end = 0;

	if (!take(text, &at, ";UID=") || !number(text, &at, UINT32_MAX, &uid) || uid == 0)
		return false;
	url->uid = (uint32_t)uid;
	if (take(text, &at, "/;SECTION=")) {
		end = find(text, at, "/;PARTIAL=");
		if (end == at || !undo_percent(within(url, text.data + at), end - at, &url->section))
			return false;
		at = end;
	}
	if (take(text, &at, "/;PARTIAL=") && !partial(text, &at, url))
		return false;
	return at == text.len;
}

static bool
mailbox(struct shelf_span encoded, struct imap_cat_url *url)
{
	size_t at = find(encoded, 0, ";UIDVALIDITY="), name_len = at;
	uint64_t validity = 0;

	if (take(encoded, &at, ";UIDVALIDITY=") && (!number(encoded, &at, UINT32_MAX, &validity) ||
	    validity == 0 || at != encoded.len))
		return false;
	url->uidvalidity = (uint32_t)validity;
	return undo_percent(within(url, encoded.data), name_len, &url->name);
}

/* The text is kept for the reply: what is decoded in place is a copy. */
bool
imap_cat_parse(struct imap_cat_url *url)
{
	uint8_t *copy = url->text + IMAP_CAT_URL_MAX_BYTES;
	struct shelf_span text = shelf_span(copy, url->len);
	size_t at = 0;

	memcpy(copy, url->text, url->len);
	if (*copy != '/')
		return message(text, 0, url);
	at = find(text, 0, "/;UID=");
	return at < text.len && message(text, at + 1, url) &&
	    mailbox(shelf_span(copy + 1, at - 1), url);
}

bool
imap_cat_find(struct imap_session *s, struct imap_cat_url *url)
{
	struct imap_address found = {0};
	struct shelf_buf name = {0};
	bool ok = false;

	if (url->name.data == NULL) {
		url->account = s->owner;
		url->mailbox = s->mailbox;
		return s->view != NULL;
	}
	/* RFC 5092 5: names in URLs are UTF-8, whatever the client has enabled. */
	ok = shelf_mailbox_canonical(url->name, &name) == 0 &&
	    imap_address_find(s, shelf_buf_span(&name), SHELF_RIGHT_READ, &found) == 0;
	url->account = found.place.account;
	url->mailbox = found.row.id;
	shelf_buf_free(&name);
	return ok;
}

/* ---- The octets -------------------------------------------------------------------------------- */

/* One copy under way. */
struct copying {
	struct imap_append *w;
	struct shelf_arena arena;
	struct shelf_body *body;
	struct mime_part *root;
	struct imap_section section;
	struct imap_slice slice;
};

static int
scan(struct copying *k)
{
	struct mime_scan *scan = mime_scan_new(&k->arena);
	struct shelf_span piece;
	uint64_t done = 0;
	int rc = 0;

	while ((rc = shelf_body_read(k->body, done, PIECE_MAX_BYTES, &piece)) == 0 && piece.len > 0) {
		mime_scan_feed(scan, piece.data, piece.len);
		done += piece.len;
	}
	if (rc == 0)
		k->root = mime_scan_end(&scan);
	mime_scan_free(&scan);
	return rc;
}

/* The message and its structure. SHELF_ENOMESSAGE: it is not what the URL says. */
static int
open_message(struct copying *k)
{
	const struct imap_cat_url *url = &k->w->url;
	struct shelf_mailbox row = {0};
	struct shelf_msg m = {0};
	struct shelf_rd *rd = NULL;
	struct shelf_span record;
	int derived = SHELF_EMISSING, rc = shelf_rd_begin(k->w->store, url->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_get(rd, url->mailbox, &row);
	if (rc == 0 && url->uidvalidity != 0 && url->uidvalidity != row.uidvalidity)
		rc = SHELF_ENOMAILBOX;
	if (rc == 0)
		rc = shelf_msg_get(rd, url->mailbox, url->uid, &m);
	if (rc == 0 && m.gone)
		rc = SHELF_ENOMESSAGE;
	if (rc == 0)
		derived = shelf_msg_derived(rd, m.blob, &k->arena, &record);
	shelf_rd_end(&rd);
	if (rc == 0)
		rc = shelf_body_open(k->w->store, url->account, m.blob, &k->body);
	if (rc == 0 && (derived != 0 || mime_record_decode(record, &k->arena, &k->root) != 0))
		rc = scan(k);
	return rc;
}

/* "1.2.MIME" to a range of the message. False: there is no such part. */
static bool
find_section(struct copying *k)
{
	const struct imap_cat_url *url = &k->w->url;
	struct shelf_buf text = {0};
	struct shelf_span kept;
	struct imap_parser p = {.arena = &k->arena};

	shelf_buf_add_span(&text, url->section);
	shelf_buf_add_byte(&text, ']');
	kept = shelf_arena_dup(&k->arena, shelf_buf_span(&text));
	shelf_buf_free(&text);
	p.at = kept.data;
	p.end = kept.data + kept.len;
	if (!imap_section_parse(&p, &k->section) || !imap_at_end(&p))
		return false;
	k->section.partial = url->partial;
	k->section.start = url->start;
	k->section.count = url->count;
	imap_section_resolve(&k->section, k->root, shelf_body_size(k->body), &k->slice);
	return !k->slice.nil;
}

/* OCTETS come behind *AT others of the section: those of them that are asked for go into the draft. */
static int
put(struct copying *k, struct shelf_span octets, uint64_t *at)
{
	struct imap_append *w = k->w;
	uint64_t start = k->section.partial ? k->section.start : 0;
	uint64_t count = k->section.partial ? k->section.count : UINT64_MAX;
	uint64_t skip = *at < start ? start - *at : 0, sent = *at > start ? *at - start : 0;
	size_t first = skip < octets.len ? (size_t)skip : octets.len, len = octets.len - first;

	*at += octets.len;
	if (sent >= count)
		return 0;
	if (len > count - sent)
		len = (size_t)(count - sent);
	if (len > w->max - w->message_bytes)
		return SHELF_ETOOBIG;
	w->message_bytes += len;
	w->bytes += len;
	return shelf_draft_write(w->items[w->n - 1].draft, octets.data + first, len);
}

static int
copy_section(struct copying *k)
{
	bool fields = k->section.what == IMAP_SECTION_FIELDS ||
	    k->section.what == IMAP_SECTION_FIELDS_NOT;
	struct imap_header_filter *filter = SHELF_ARENA_NEW(&k->arena, struct imap_header_filter);
	struct shelf_buf lines = {0};
	struct shelf_span piece;
	uint64_t done = 0, at = 0;
	int rc = 0;

	imap_header_init(filter, &k->section);
	while (rc == 0 && done < k->slice.len) {
		uint64_t left = k->slice.len - done;

		rc = shelf_body_read(k->body, k->slice.offset + done,
		    left < PIECE_MAX_BYTES ? (size_t)left : PIECE_MAX_BYTES, &piece);
		if (rc == 0 && piece.len == 0)
			rc = SHELF_ECORRUPT;
		if (rc != 0)
			break;
		done += piece.len;
		if (fields) {
			shelf_buf_clear(&lines);
			imap_header_feed(filter, piece, &lines);
			piece = shelf_buf_span(&lines);
		}
		rc = put(k, piece, &at);
	}
	shelf_buf_free(&lines);
	return rc;
}

void
imap_cat_copy(void *append)
{
	struct imap_append *w = append;
	struct copying k = {.w = w};
	int rc = open_message(&k);

	w->url.bad = rc == SHELF_ENOMESSAGE || rc == SHELF_ENOMAILBOX || rc == SHELF_ENOACCOUNT;
	if (rc == 0)
		w->url.bad = !find_section(&k);
	if (rc == 0 && !w->url.bad)
		rc = copy_section(&k);
	w->rc = w->url.bad ? 0 : rc;
	shelf_body_close(&k.body);
	shelf_arena_free(&k.arena);
}
