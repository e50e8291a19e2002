/*
 * mime_internal.h - what the files of this room share
 *
 * Every text that leaves the room is a copy in the arena with NUL turned into 0x80 (MIME_BYTE), so
 * that it can go into an IMAP literal (RFC 9051 4.3) and outlives the bytes it came from.
 */
#ifndef ENGINE_MIME_INTERNAL_H
#define ENGINE_MIME_INTERNAL_H

#include <mailshelf/mime.h>

#define MIME_BYTE(c) ((uint8_t)((c) == 0 ? 0x80 : (c)))

/* What one message may still spend: a small text can name many addresses, each costs a struct. */
struct mime_budget {
	unsigned addresses, params;
};

static inline bool
mime_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static inline bool
mime_is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* 0..15, or -1 */
int mime_hex(uint8_t c);

/* Copy in the arena, NUL cleaned; never NULL data. */
struct shelf_span mime_text(struct shelf_span s, struct shelf_arena *arena);

/* The character that "&name;" or "&#number;" means, without "&" and ";". 0: none. */
uint32_t mime_entity(const char *name);

/* A span that is read from the front. */
struct mime_cursor {
	const uint8_t *p, *end;
};

static inline struct mime_cursor
mime_cursor(struct shelf_span s)
{
	return (struct mime_cursor){s.data, s.data + s.len};
}

/* At "(": passes the comment, nested ones included; an unfinished one ends with the text. When OUT
 * is not NULL the comment's text goes there, outer parentheses and backslashes removed. */
void mime_comment(struct mime_cursor *c, struct shelf_buf *out);
/* At a quote: passes the quoted string and puts its text into OUT, line ends and backslashes
 * removed. */
void mime_quoted(struct mime_cursor *c, struct shelf_buf *out);
/* White space, line ends and comments (RFC 5322 3.2.2). True when there was any. */
bool mime_skip_cfws(struct mime_cursor *c);

/* Content-Type's value. TYPE and SUBTYPE come back NULL when unreadable (RFC 2045 5.2). */
void mime_content_type(struct shelf_span value, struct shelf_arena *arena, struct mime_budget *budget,
    struct shelf_span *type, struct shelf_span *subtype, struct mime_param **params_out);
/* One token, then parameters: Content-Disposition. The token comes back NULL when there is none. */
void mime_disposition(struct shelf_span value, struct shelf_arena *arena, struct mime_budget *budget,
    struct shelf_span *token, struct mime_param **params_out);
/* One token: Content-Transfer-Encoding. NULL when there is none. */
struct shelf_span mime_token(struct shelf_span value, struct shelf_arena *arena);
/* RFC 2231 3: name*0, name*1* .. become name or name*. */
struct mime_param *mime_params_join(struct mime_param *params, struct shelf_arena *arena);

/* Address list with at most *BUDGET entries, which is taken down; *TAIL is where to append, and
 * is moved on. */
void mime_address_list(struct shelf_span value, struct shelf_arena *arena, unsigned *budget,
    struct mime_address ***tail);

/* Reads the structured fields of HEADER into PART; with MESSAGE the envelope too. */
void mime_header_read(struct shelf_span header, struct mime_part *part, bool message,
    struct shelf_arena *arena, struct mime_budget *budget);

#endif
