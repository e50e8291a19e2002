/*
 * imap_parse.c - from the bytes of one command to its arguments
 *
 * The text of a command is contiguous: a literal's octets follow its "{n}" CRLF, as imap_input.c
 * has gathered them, without the last line end. A function that fails leaves its reason in
 * p->error; only the first reason stays. Nothing here reads past p->end, whatever the bytes say.
 * Sources   RFC 9051 9, RFC 3501 9, RFC 7888 (non-synchronizing literals).
 */
#include "imap.h"

enum { FLAGS_MAX = SHELF_KEYWORDS_MAX };

static const int64_t LAST_SECOND = 253402300799; /* 31-Dec-9999 23:59:59 */

bool
imap_parse_fail(struct imap_parser *p, const char *error)
{
	if (p->error == NULL)
		p->error = error;
	return false;
}

/* ATOM-CHAR of RFC 9051 9; "]" is one only within an astring. */
static bool
is_atom_char(uint8_t c)
{
	return c > 0x20 && c < 0x7f && strchr("(){%*\"\\]", c) == NULL;
}

static bool
is_name_char(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    c == '.' || c == '-' || c == '_' || c == '=';
}

bool
imap_at(const struct imap_parser *p, uint8_t c)
{
	return p->at < p->end && *p->at == c;
}

bool
imap_at_end(const struct imap_parser *p)
{
	return p->at == p->end;
}

bool
imap_try(struct imap_parser *p, uint8_t c)
{
	if (!imap_at(p, c))
		return false;
	p->at++;
	return true;
}

bool
imap_try_word(struct imap_parser *p, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(p->end - p->at) < len || !shelf_span_is(shelf_span(p->at, len), word))
		return false;
	if (p->at + len < p->end && is_atom_char(p->at[len]))
		return false;
	p->at += len;
	return true;
}

bool
imap_parse_byte(struct imap_parser *p, uint8_t c)
{
	if (imap_try(p, c))
		return true;
	switch (c) {
	case '(':
		return imap_parse_fail(p, "( expected");
	case ')':
		return imap_parse_fail(p, ") expected");
	case '[':
		return imap_parse_fail(p, "[ expected");
	case ']':
		return imap_parse_fail(p, "] expected");
	case '"':
		return imap_parse_fail(p, "quote expected");
	case ' ':
		return imap_parse_fail(p, imap_at_end(p) ? "argument missing" : "blank expected");
	default:
		return imap_parse_fail(p, "unexpected character");
	}
}

bool
imap_parse_sp(struct imap_parser *p)
{
	return imap_parse_byte(p, ' ');
}

bool
imap_parse_end(struct imap_parser *p)
{
	return imap_at_end(p) || imap_parse_fail(p, "unexpected text at the end of the command");
}

bool
imap_parse_open(struct imap_parser *p)
{
	if (p->depth == IMAP_DEPTH_MAX)
		return imap_parse_fail(p, "too many parentheses");
	if (!imap_parse_byte(p, '('))
		return false;
	p->depth++;
	return true;
}

bool
imap_parse_close(struct imap_parser *p)
{
	if (!imap_parse_byte(p, ')'))
		return false;
	p->depth--;
	return true;
}

/* ---- Words and strings ----------------------------------------------------------------------- */

static bool
take_while(struct imap_parser *p, bool (*is)(uint8_t c), const char *error, struct shelf_span *out)
{
	const uint8_t *start = p->at;

	while (p->at < p->end && is(*p->at))
		p->at++;
	if (p->at == start)
		return imap_parse_fail(p, imap_at_end(p) ? "argument missing" : error);
	*out = shelf_span(start, (size_t)(p->at - start));
	return true;
}

bool
imap_parse_name(struct imap_parser *p, struct shelf_span *out)
{
	return take_while(p, is_name_char, "name expected", out);
}

bool
imap_parse_atom(struct imap_parser *p, struct shelf_span *out)
{
	return take_while(p, is_atom_char, "atom expected", out);
}

/* Quotes undone. Bytes of 8 bits are taken as they are (RFC 9051 allows UTF-8 here); NUL and line
 * ends cannot be quoted. */
static bool
parse_quoted(struct imap_parser *p, struct shelf_span *out)
{
	const uint8_t *start = NULL, *at = NULL;
	uint8_t *to = NULL;
	size_t escapes = 0, len = 0;

	p->at++;
	start = p->at;
	for (at = start; at < p->end && *at != '"'; at++) {
		if (*at == '\\') {
			at++;
			escapes++;
			if (at == p->end || (*at != '"' && *at != '\\'))
				return imap_parse_fail(p, "bad escape in quoted string");
		} else if (*at == 0 || *at == '\r' || *at == '\n') {
			return imap_parse_fail(p, "bad character in quoted string");
		}
	}
	if (at == p->end)
		return imap_parse_fail(p, "quoted string without an end");
	p->at = at + 1;
	*out = shelf_span(start, (size_t)(at - start));
	if (p->utf8 && !shelf_utf8_valid(*out)) /* RFC 6855 3 */
		return imap_parse_fail(p, "the quoted string is not UTF-8");
	if (escapes == 0)
		return true;
	to = shelf_arena_alloc(p->arena, out->len);
	for (at = start; *at != '"'; at++) {
		if (*at == '\\')
			at++;
		to[len++] = *at;
	}
	*out = shelf_span(to, len);
	return true;
}

static bool
parse_octets(struct imap_parser *p, struct shelf_span *out)
{
	uint64_t len = 0;
	const uint8_t *digits = ++p->at;

	while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
		p->at++;
	if (!shelf_span_u64(shelf_span(digits, (size_t)(p->at - digits)), UINT32_MAX, &len))
		return imap_parse_fail(p, "bad literal");
	imap_try(p, '+');
	if (!imap_try(p, '}'))
		return imap_parse_fail(p, "bad literal");
	imap_try(p, '\r');
	if (!imap_try(p, '\n') || (uint64_t)(p->end - p->at) < len)
		return imap_parse_fail(p, "bad literal");
	*out = shelf_span(p->at, (size_t)len);
	p->at += len;
	return true;
}

static bool
parse_literal(struct imap_parser *p, struct shelf_span *out)
{
	if (!parse_octets(p, out))
		return false;
	return out->len == 0 || memchr(out->data, 0, out->len) == NULL ||
	    imap_parse_fail(p, "NUL in literal");
}

bool
imap_parse_literal8(struct imap_parser *p, struct shelf_span *out)
{
	if (!imap_parse_byte(p, '~'))
		return false;
	return imap_at(p, '{') ? parse_octets(p, out) : imap_parse_fail(p, "literal expected");
}

bool
imap_parse_string(struct imap_parser *p, struct shelf_span *out)
{
	if (imap_at(p, '"'))
		return parse_quoted(p, out);
	if (imap_at(p, '{'))
		return parse_literal(p, out);
	return imap_parse_fail(p, imap_at_end(p) ? "argument missing" : "string expected");
}

static bool
is_astring_char(uint8_t c)
{
	return is_atom_char(c) || c == ']';
}

bool
imap_parse_astring(struct imap_parser *p, struct shelf_span *out)
{
	if (imap_at(p, '"') || imap_at(p, '{'))
		return imap_parse_string(p, out);
	return take_while(p, is_astring_char, "atom or string expected", out);
}

bool
imap_parse_nstring(struct imap_parser *p, struct shelf_span *out)
{
	if (imap_try_word(p, "NIL")) {
		*out = shelf_span(NULL, 0);
		return true;
	}
	return imap_parse_string(p, out);
}

static bool
is_list_char(uint8_t c)
{
	return is_astring_char(c) || c == '%' || c == '*';
}

bool
imap_parse_list_mailbox(struct imap_parser *p, struct shelf_span *out)
{
	if (imap_at(p, '"') || imap_at(p, '{'))
		return imap_parse_string(p, out);
	return take_while(p, is_list_char, "mailbox pattern expected", out);
}

static bool
is_set_char(uint8_t c)
{
	return (c >= '0' && c <= '9') || c == ':' || c == ',' || c == '*' || c == '$';
}

bool
imap_parse_set(struct imap_parser *p, struct shelf_span *out)
{
	return take_while(p, is_set_char, "sequence set expected", out);
}

/* ---- Numbers and dates ----------------------------------------------------------------------- */

static bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool
parse_u64(struct imap_parser *p, uint64_t max, uint64_t *out)
{
	struct shelf_span digits = {0};

	if (!take_while(p, is_digit, "number expected", &digits))
		return false;
	return shelf_span_u64(digits, max, out) || imap_parse_fail(p, "number too large");
}

bool
imap_parse_number(struct imap_parser *p, uint32_t *out)
{
	uint64_t n = 0;

	if (!parse_u64(p, UINT32_MAX, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

bool
imap_parse_nz_number(struct imap_parser *p, uint32_t *out)
{
	return imap_parse_number(p, out) &&
	    (*out != 0 || imap_parse_fail(p, "number must not be 0"));
}

bool
imap_parse_number64(struct imap_parser *p, uint64_t *out)
{
	return parse_u64(p, INT64_MAX, out);
}

/* Between MIN and MAX digits. */
static bool
parse_digits(struct imap_parser *p, unsigned min, unsigned max, unsigned *out)
{
	unsigned n = 0, value = 0;

	while (n < max && p->at < p->end && is_digit(*p->at)) {
		value = value * 10 + (*p->at++ - (unsigned)'0');
		n++;
	}
	if (n < min)
		return imap_parse_fail(p, "bad date");
	*out = value;
	return true;
}

static bool
parse_month(struct imap_parser *p, unsigned *out)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	unsigned i = 0;

	for (i = 0; p->end - p->at >= 3 && i < 12; i++) {
		if (shelf_span_ieq(shelf_span(p->at, 3), shelf_span(names + (size_t)3 * i, 3))) {
			p->at += 3;
			*out = i + 1;
			return true;
		}
	}
	return imap_parse_fail(p, "bad month");
}

/* Behind the day: "-Feb-2024". The day must be one of that month. */
static bool
parse_month_year(struct imap_parser *p, unsigned day, int64_t *days_out)
{
	unsigned month = 0, year = 0, back_month = 0, back_day = 0;
	int back_year = 0;

	if (!imap_parse_byte(p, '-') || !parse_month(p, &month) || !imap_parse_byte(p, '-') ||
	    !parse_digits(p, 4, 4, &year))
		return false;
	if (day == 0)
		return imap_parse_fail(p, "no such day");
	*days_out = shelf_days_from_civil((int)year, month, day);
	shelf_civil_from_days(*days_out, &back_year, &back_month, &back_day);
	return (back_month == month && back_day == day) || imap_parse_fail(p, "no such day");
}

bool
imap_parse_date(struct imap_parser *p, int64_t *days_out)
{
	bool quoted = imap_try(p, '"');
	unsigned day = 0;

	if (!parse_digits(p, 1, 2, &day) || !parse_month_year(p, day, days_out))
		return false;
	return !quoted || imap_parse_byte(p, '"');
}

bool
imap_parse_date_time(struct imap_parser *p, int64_t *s_out, int16_t *zone_min_out)
{
	unsigned day = 0, hour = 0, minute = 0, second = 0, zone = 0;
	int64_t days = 0;
	int sign = 0;

	if (!imap_parse_byte(p, '"'))
		return false;
	imap_try(p, ' '); /* date-day-fixed: (SP DIGIT) / 2DIGIT; one digit alone is tolerated */
	if (!parse_digits(p, 1, 2, &day) || !parse_month_year(p, day, &days) || !imap_parse_sp(p) ||
	    !parse_digits(p, 2, 2, &hour) || !imap_parse_byte(p, ':') ||
	    !parse_digits(p, 2, 2, &minute) || !imap_parse_byte(p, ':') ||
	    !parse_digits(p, 2, 2, &second) || !imap_parse_sp(p))
		return false;
	sign = imap_try(p, '-') ? -1 : 1;
	if ((sign == 1 && !imap_parse_byte(p, '+')) || !parse_digits(p, 4, 4, &zone) ||
	    !imap_parse_byte(p, '"'))
		return false;
	if (hour > 23 || minute > 59 || second > 60 || zone % 100 > 59 || zone / 100 > 23)
		return imap_parse_fail(p, "bad time");
	*zone_min_out = (int16_t)(sign * (int)(zone / 100 * 60 + zone % 100));
	*s_out = days * 86400 + hour * 3600 + minute * 60 + second;
	if (*s_out > LAST_SECOND) /* a leap second beyond what four digits can say */
		return imap_parse_fail(p, "bad time");
	*s_out -= (int64_t)*zone_min_out * 60;
	return true;
}

/* ---- Flags and mailboxes --------------------------------------------------------------------- */

static bool
parse_flag(struct imap_parser *p, struct imap_flags *out)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} system_flags[] = {{"Seen", SHELF_SEEN}, {"Answered", SHELF_ANSWERED},
	    {"Flagged", SHELF_FLAGGED}, {"Deleted", SHELF_DELETED}, {"Draft", SHELF_DRAFT}};
	bool is_system = imap_try(p, '\\');
	struct shelf_span name = {0};
	size_t i = 0;

	if (!imap_parse_atom(p, &name))
		return false;
	if (is_system) {
		for (i = 0; i < sizeof system_flags / sizeof *system_flags; i++) {
			if (shelf_span_is(name, system_flags[i].name)) {
				out->flags |= system_flags[i].flag;
				return true;
			}
		}
		return imap_parse_fail(p, shelf_span_is(name, "Recent") ?
		    "\\Recent cannot be set" : "unknown system flag");
	}
	if (name.len > SHELF_KEYWORD_NAME_MAX)
		return imap_parse_fail(p, "keyword too long");
	for (i = 0; i < out->nkeywords; i++)
		if (shelf_span_ieq(out->keywords[i], name))
			return true;
	if (out->nkeywords == FLAGS_MAX)
		return imap_parse_fail(p, "too many keywords");
	if (out->keywords == NULL)
		out->keywords = SHELF_ARENA_ARRAY(p->arena, struct shelf_span, FLAGS_MAX);
	out->keywords[out->nkeywords++] = name;
	return true;
}

bool
imap_parse_flag_list(struct imap_parser *p, struct imap_flags *out)
{
	if (!imap_parse_open(p))
		return false;
	if (imap_at(p, ')'))
		return imap_parse_close(p);
	do {
		if (!parse_flag(p, out))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

bool
imap_parse_store_flags(struct imap_parser *p, struct imap_flags *out)
{
	if (imap_at(p, '('))
		return imap_parse_flag_list(p, out);
	do {
		if (!parse_flag(p, out))
			return false;
	} while (imap_try(p, ' '));
	return true;
}

static bool
mailbox_name(struct imap_parser *p, struct shelf_span encoded, bool is_new, struct shelf_span *out)
{
	struct shelf_buf utf8 = {0}, composed = {0}, name = {0};
	bool ok = false;

	if (!imap_name_decode(encoded, p->utf8, &utf8)) {
		p->cannot = true;
		imap_parse_fail(p, p->utf8 ? "the mailbox name is not UTF-8" :
		    "not a valid mailbox name (RFC 3501 5.1.3)");
	} else if (is_new && p->utf8 && shelf_mailbox_compose(shelf_buf_span(&utf8), &composed) != 0) {
		p->cannot = true;
		imap_parse_fail(p, "not a valid mailbox name (RFC 5198 2)");
	} else if (shelf_mailbox_canonical(
	    shelf_buf_span(composed.len > 0 ? &composed : &utf8), &name) != 0) {
		p->cannot = true;
		imap_parse_fail(p, "not a valid mailbox name");
	} else {
		*out = shelf_arena_dup(p->arena, shelf_buf_span(&name));
		p->given = shelf_arena_dup(p->arena, shelf_buf_span(&utf8));
		ok = true;
	}
	shelf_buf_free(&utf8);
	shelf_buf_free(&composed);
	shelf_buf_free(&name);
	return ok;
}

bool
imap_parse_mailbox(struct imap_parser *p, struct shelf_span *out)
{
	struct shelf_span encoded = {0};

	return imap_parse_astring(p, &encoded) && mailbox_name(p, encoded, false, out);
}

bool
imap_parse_mailbox_new(struct imap_parser *p, struct shelf_span *out)
{
	struct shelf_span encoded = {0};

	if (!imap_parse_astring(p, &encoded))
		return false;
	if (encoded.len > 1 && encoded.data[encoded.len - 1] == '/')
		encoded.len--;
	return mailbox_name(p, encoded, true, out);
}
