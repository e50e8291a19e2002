/*
 * mime.h - messages taken apart: part tree, envelope, header fields, addresses
 *
 * Shape     A scan is one pass over the bytes as they come and yields a tree of parts with offsets
 *           into the message. Its result is stored at delivery ("derived data", versioned) and can
 *           be made again from the bytes at any time, with the same outcome.
 * Bytes     Offsets and lengths count bytes of the message as stored. Texts are the raw bytes of the
 *           header (unfolded: CRLF before white space removed), not decoded; NUL becomes 0x80.
 * Limits    Depth 100, parts 10,000, header block 1 MiB kept for the structured fields, addresses
 *           2,000 per field, parameters 200 per field, 20,000 of each in one message: beyond, what is
 *           left is ignored (parts: become body text of their parent), never an error. Work is linear
 *           in the message.
 * Lifetime  Everything a scan or a decode returns lives in the arena given.
 * Sources   RFC 5322, 2045-2047, 2183, 2231; RFC 9051 7.5.2 (what ENVELOPE and BODYSTRUCTURE need).
 */
#ifndef MAILSHELF_MIME_H
#define MAILSHELF_MIME_H

#include <mailshelf/arena.h>
#include <mailshelf/buf.h>
#include <mailshelf/err.h>

enum {
	MIME_DEPTH_MAX = 100,
	MIME_PARTS_MAX = 10000,
	MIME_HEADER_KEPT_MAX = 1 << 20,
	MIME_ADDRESSES_MAX = 2000,
	MIME_PARAMS_MAX = 200,
	MIME_ADDRESSES_ALL_MAX = 20000,
	MIME_PARAMS_ALL_MAX = 20000,
	MIME_PREVIEW_MAX = 200,              /* characters */
	MIME_PREVIEW_HEAD_BYTES = 128 << 10, /* of the message */
};

struct mime_param {
	struct shelf_span name;  /* as written; RFC 2231 pieces joined: "filename*0*" .. -> "filename*" */
	struct shelf_span value; /* quotes removed; percent-encoding left as it is */
	struct mime_param *next;
};

/* One address, or a group's begin (mailbox = group name, host absent) or end (both absent), as IMAP
 * prints them (RFC 9051 7.5.2). data == NULL means absent (NIL). An address without "@" has an empty
 * host, since an absent one would make it a group. */
struct mime_address {
	struct shelf_span name;   /* display name, quotes and comments undone, RFC 2047 left encoded */
	struct shelf_span adl;    /* source route */
	struct shelf_span mailbox;
	struct shelf_span host;
	struct mime_address *next;
};

/* data == NULL: the field is absent. */
struct mime_envelope {
	struct shelf_span date, subject, in_reply_to, message_id, references;
	struct mime_address *from, *sender, *reply_to, *to, *cc, *bcc; /* NULL: absent or empty */
	int64_t sent_s;   /* Date: in UTC seconds, INT64_MIN when absent or unreadable */
	int16_t sent_zone_min;
};

enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE /* message/rfc822, message/global */ };

struct mime_part {
	enum mime_kind kind;
	struct shelf_span type, subtype;       /* "text", "plain" when absent; never empty */
	struct mime_param *params;
	struct shelf_span id, description, encoding, md5, language, location; /* data NULL: absent */
	struct shelf_span disposition;
	struct mime_param *disposition_params;
	uint64_t header_offset, header_len;    /* header block with the empty line that ends it */
	uint64_t body_offset, body_len;        /* header_offset + header_len == body_offset */
	uint64_t lines;                        /* lines of the body: number of LF */
	struct mime_envelope *envelope;        /* of the top message, and of the message inside MIME_MESSAGE */
	struct mime_part *child;               /* first part of a multipart; the message of MIME_MESSAGE */
	struct mime_part *next;                /* sibling */
	struct mime_part *parent;
	struct shelf_span preview; /* of the root; data NULL: not known, a record of before */
};
/*
 * A message in base64 or quoted-printable is opaque, a MIME_LEAF of type message/rfc822.
 * The tree's root is the message itself: its header, its body, its envelope. The child of a
 * MIME_MESSAGE part is likewise a message (header, body), and the envelope of that message hangs on
 * the child. A multipart without any part has child == NULL.
 */

struct mime_scan;
/* begin, feed in pieces of any size, end. The outcome does not depend on the cuts. */
struct mime_scan *mime_scan_new(struct shelf_arena *arena);
void mime_scan_feed(struct mime_scan *scan, const void *data, size_t len);
/* Ends the scan, frees SCAN, returns the root (never NULL, whatever the bytes were). */
struct mime_part *mime_scan_end(struct mime_scan **scan);
void mime_scan_free(struct mime_scan **scan);

/*
 * The first words of the text, for lists of messages, in UTF-8: at most MIME_PREVIEW_MAX characters, one
 * blank for all white space. Nothing when there is no text (images, enciphered mail) or when it begins
 * behind HEAD, which is the message or its first MIME_PREVIEW_HEAD_BYTES. A scan has made it.
 */
void mime_preview(const struct mime_part *root, struct shelf_span head, struct shelf_buf *out);

enum { MIME_RECORD_BARE = 1, MIME_RECORD = 2 }; /* versions: without the preview, with it */
/* The stored form, version byte first: MIME_RECORD_BARE when the preview is not known. Both are decoded.
 * Decoding checks every length: SHELF_ECORRUPT, or SHELF_EVERSION for a version of another release (then
 * scan again). */
void mime_record_encode(const struct mime_part *root, struct shelf_buf *out);
/*
 * mime_record_headed(record, start, head, out)
 *   The record of HEAD and the message of RECORD, of which START is the beginning, without a scan. OUT is appended to.
 *   returns  false: it would take one (HEAD has more than unfolded Return-Path and Delivered-To, the message does not
 *            begin with a field, its header is long)
 */
bool mime_record_headed(struct shelf_span record, struct shelf_span start, struct shelf_span head,
    struct shelf_buf *out);
SHELF_CHECK int mime_record_decode(struct shelf_span record, struct shelf_arena *arena,
    struct mime_part **root_out);
/* The envelope of the message alone, with as little work as that takes: what is behind it in the record is not
 * looked at. Errors as above. */
SHELF_CHECK int mime_record_envelope(struct shelf_span record, struct shelf_arena *arena,
    const struct mime_envelope **out);

/* ---- Header fields ------------------------------------------------------------------------- */

struct mime_field {
	struct shelf_span name;  /* without the colon */
	struct shelf_span value; /* behind the colon, raw, folded, without the last line end */
	struct shelf_span whole; /* name to line end, as in the message */
};
/* Walks a header block. *POS starts at 0. False at the empty line or the end. Lines that are no
 * fields are passed over. */
bool mime_field_next(struct shelf_span header, size_t *pos, struct mime_field *out);
/* Line ends removed, runs of folding white space as one blank, ends trimmed. */
struct shelf_span mime_unfold(struct shelf_span value, struct shelf_arena *arena);

/* Address list of one field value (unfolded or not). */
struct mime_address *mime_addresses(struct shelf_span value, struct shelf_arena *arena);
/* RFC 5322 3.3 and its obsolete forms, and the common mistakes. False when no date can be read. */
bool mime_date(struct shelf_span value, int64_t *utc_s, int16_t *zone_min);

/* ---- Decoding to UTF-8, for search and display ------------------------------------------------ */

/* RFC 2047 words in a header value; raw 8-bit text is taken as UTF-8, else as Windows-1252. */
void mime_header_utf8(struct shelf_span value, struct shelf_buf *out);
/* Text of CHARSET to UTF-8; unknown charsets and bad bytes become U+FFFD. Never fails. */
void mime_charset_utf8(struct shelf_span charset, struct shelf_span text, struct shelf_buf *out);
/* Is this charset known? (IMAP: NO [BADCHARSET]) */
bool mime_charset_known(struct shelf_span charset);

/* Content-transfer-encoding undone, in pieces of any size. Bad input is passed over, never an error. */
struct mime_decoder {
	int kind;
	uint32_t bits;
	uint8_t nbits, held_len;
	bool ended;
	uint8_t held[80];
};
/* ENCODING: "base64", "quoted-printable" in any case; anything else is the identity. */
void mime_decoder_init(struct mime_decoder *d, struct shelf_span encoding);
void mime_decoder_feed(struct mime_decoder *d, const void *data, size_t len, struct shelf_buf *out);
void mime_decoder_end(struct mime_decoder *d, struct shelf_buf *out);

/*
 * The text of HTML, code point by code point: markup, styles, scripts, the title and comments are left
 * out, entities undone; "\n" comes where an element begins or ends a line, other line ends are blanks.
 */
enum { MIME_HTML_NAME_MAX = 15, MIME_HTML_OUT = MIME_HTML_NAME_MAX + 3 };
struct mime_html {
	int state;
	unsigned quotes; /* <blockquote> elements open now */
	unsigned nname, matched, dashes;
	bool closing, equals;
	bool searched; /* set after init: for a search, not to be shown; more counts as text (html.c) */
	uint8_t quote;
	char name[MIME_HTML_NAME_MAX + 1];
};
void mime_html_init(struct mime_html *h);
/* C comes in; the number of code points that come out, at most MIME_HTML_OUT. */
unsigned mime_html_next(struct mime_html *h, uint32_t c, uint32_t *out);
/* The text ends: what was held back. */
unsigned mime_html_end(struct mime_html *h, uint32_t *out);

#endif
