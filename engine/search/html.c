/*
 * html.c - the text of HTML, one code point at a time
 *
 *   TEXT --<--> OPEN --letter, /--> NAME --> REST --> TEXT, or RAW behind <script>, <style>
 *     |           +----!-----> COMMENT ("<!--" to "-->"), or REST
 *     +---&--> REFERENCE --> TEXT
 *
 * Tags, comments, scripts and styles are no text. A tag that only dresses words (<b>, <span>, <a>) leaves nothing,
 * so that a word in which it stands is one; any other leaves a blank. What looks like neither tag nor reference
 * is text. Nothing is held but a name of a few letters.
 */
#include "search.h"

/* Code points 160..191, then 224..255; capitals are the same to a search. */
static const char *const latin[64] = {
	"nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo",
	"not", "shy", "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro", "para", "middot",
	"cedil", "sup1", "ordm", "raquo", "frac14", "frac12", "frac34", "iquest",
	"agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute",
	"ecirc", "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc",
	"otilde", "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
};
static const struct {
	const char *name;
	uint32_t code_point;
} others[] = {
	{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}, {"szlig", 0xdf},
	{"euro", 0x20ac}, {"lsquo", 0x2018}, {"rsquo", 0x2019}, {"sbquo", 0x201a}, {"ldquo", 0x201c},
	{"rdquo", 0x201d}, {"bdquo", 0x201e}, {"ndash", 0x2013}, {"mdash", 0x2014}, {"hellip", 0x2026},
	{"bull", 0x2022}, {"trade", 0x2122}, {"oelig", 0x153}, {"scaron", 0x161}, {"zcaron", 0x17e},
	{"lsaquo", 0x2039}, {"rsaquo", 0x203a}, {"ensp", ' '}, {"emsp", ' '}, {"thinsp", ' '},
	{"zwnj", 0x200c}, {"zwj", 0x200d}, {"minus", 0x2212}, {"times", 0xd7},
};
static const char *const dress[] = {
	"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "code", "del", "em", "font", "i", "ins", "kbd",
	"mark", "nobr", "q", "s", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr",
};

enum { TEXT, OPEN, NAME, REST, QUOTED, COMMENT, RAW, REFERENCE };

static size_t next(struct search_html *h, uint32_t c, uint32_t *out);

static bool
is_letter(uint32_t c)
{
	return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static bool
is_digit(uint32_t c)
{
	return c >= '0' && c <= '9';
}

static bool
name_is(const struct search_html *h, const char *name)
{
	return strlen(name) == h->len && memcmp(h->name, name, h->len) == 0;
}

static void
add_to_name(struct search_html *h, uint32_t c)
{
	if (h->len < SEARCH_HTML_NAME)
		h->name[h->len++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	else
		h->len = SEARCH_HTML_NAME + 1; /* none that is known */
}

/* ---- Tags ------------------------------------------------------------------------------------------- */

static size_t
end_tag(struct search_html *h, uint32_t *out)
{
	h->state = TEXT;
	if (!h->closing && (name_is(h, "script") || name_is(h, "style"))) {
		h->state = RAW;
		h->at = 0;
	}
	for (size_t i = 0; i < sizeof dress / sizeof *dress; i++)
		if (name_is(h, dress[i]))
			return 0;
	out[0] = ' ';
	return 1;
}

static size_t
open_tag(struct search_html *h, uint32_t c, uint32_t *out)
{
	h->len = 0;
	h->closing = c == '/';
	h->equals = false;
	h->state = NAME;
	if (is_letter(c)) {
		add_to_name(h, c);
		return 0;
	}
	if (c == '/' || c == '!' || c == '?') {
		h->at = c == '!' ? 2 : 0; /* dashes that make a comment */
		return 0;
	}
	h->state = TEXT;
	out[0] = '<';
	return 1 + next(h, c, out + 1);
}

static size_t
in_name(struct search_html *h, uint32_t c, uint32_t *out)
{
	if (h->at > 0 && c == '-') {
		if (--h->at == 0) {
			h->state = COMMENT;
			h->len = 0;
		}
		return 0;
	}
	h->at = 0;
	if (is_letter(c) || is_digit(c)) {
		add_to_name(h, c);
		return 0;
	}
	h->state = REST;
	return next(h, c, out);
}

static size_t
in_rest(struct search_html *h, uint32_t c, uint32_t *out)
{
	if (c == '>')
		return end_tag(h, out);
	if (h->equals && (c == '"' || c == '\'')) {
		h->quote = c;
		h->state = QUOTED;
	}
	if (c == '=' || c > ' ')
		h->equals = c == '=';
	return 0;
}

/* "-->" or "--!>" */
static size_t
in_comment(struct search_html *h, uint32_t c)
{
	if (c == '>' && h->len >= 2)
		h->state = TEXT;
	else if (c == '-')
		h->len = h->len < 2 ? h->len + 1 : 2;
	else if (c != '!')
		h->len = 0;
	return 0;
}

/* Up to "</script", whose rest is then that of a tag. */
static size_t
in_raw(struct search_html *h, uint32_t c)
{
	char lower = (char)(c < 0x80 ? (is_letter(c) ? c | 32 : c) : 0);
	bool fits = h->at == 0 ? lower == '<' : h->at == 1 ? lower == '/' : lower == h->name[h->at - 2];

	h->at = fits ? h->at + 1 : lower == '<';
	if (h->at == h->len + 2) {
		h->closing = true;
		h->equals = false;
		h->state = REST;
	}
	return 0;
}

/* ---- References ---------------------------------------------------------------------------------------- */

static uint32_t
number_meant(const struct search_html *h)
{
	bool hex = h->len > 1 && h->name[1] == 'x';
	uint32_t v = 0;

	for (size_t i = hex ? 2 : 1; i < h->len; i++) {
		char c = h->name[i];

		if (c >= '0' && c <= '9')
			v = v * (hex ? 16 : 10) + (uint32_t)(c - '0');
		else if (hex && c >= 'a' && c <= 'f')
			v = v * 16 + (uint32_t)(c - 'a' + 10);
		else
			return 0;
		if (v > 0x10ffff)
			return 0;
	}
	return v >= 0xd800 && v <= 0xdfff ? 0 : v;
}

/* 0: nothing that is known. */
static uint32_t
reference_meant(const struct search_html *h)
{
	if (h->len == 0 || h->len > SEARCH_HTML_NAME)
		return 0;
	if (h->name[0] == '#')
		return number_meant(h);
	for (uint32_t i = 0; i < 64; i++)
		if (name_is(h, latin[i]))
			return i < 32 ? 160 + i : 192 + i;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (name_is(h, others[i].name))
			return others[i].code_point;
	return 0;
}

static size_t
in_reference(struct search_html *h, uint32_t c, uint32_t *out)
{
	uint32_t meant;
	size_t n = 0;

	if ((is_letter(c) || is_digit(c) || (c == '#' && h->len == 0)) && h->len < SEARCH_HTML_NAME) {
		add_to_name(h, c);
		return 0;
	}
	h->state = TEXT;
	meant = reference_meant(h);
	if (meant != 0)
		out[n++] = meant;
	else
		out[n++] = '&';
	for (size_t i = 0; meant == 0 && i < h->len; i++)
		out[n++] = (uint8_t)h->name[i];
	if (c == ';' && meant != 0)
		return n;
	return n + next(h, c, out + n);
}

/* At most one code point of its own in front of what the next state makes of C: a name and two. */
static size_t
next(struct search_html *h, uint32_t c, uint32_t *out)
{
	switch (h->state) {
	case OPEN:
		return open_tag(h, c, out);
	case NAME:
		return in_name(h, c, out);
	case REST:
		return in_rest(h, c, out);
	case QUOTED:
		if (c == h->quote)
			h->state = REST;
		return 0;
	case COMMENT:
		return in_comment(h, c);
	case RAW:
		return in_raw(h, c);
	case REFERENCE:
		return in_reference(h, c, out);
	default:
		break;
	}
	if (c == '<' || c == '&') {
		h->state = c == '<' ? OPEN : REFERENCE;
		h->len = 0;
		return 0;
	}
	out[0] = c;
	return 1;
}

size_t
search_html_text(struct search_html *h, uint32_t c, uint32_t out[SEARCH_HTML_MAX])
{
	return next(h, c, out);
}
