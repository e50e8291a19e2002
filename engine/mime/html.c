/*
 * html.c - the text of HTML, code point by code point
 *
 *   TEXT --"&"--> ENTITY --";" or another character--> TEXT
 *     | "<"
 *     v
 *   OPEN --letter, "/"--> NAME --> REST <--> QUOTED        ">" ends it: TEXT, or RAW
 *     |                                                     behind <style>, <script>, <title>
 *     +--"!"--> BANG --"--"--> COMMENT                      RAW ends with its closing tag
 *     +--"!", "?"--> BOGUS, to the next ">"
 *
 * Not a parser of documents: no tree, no error, no more state than what is below. Elements that begin a
 * line give a line end, cells and images a blank, all other markup nothing. Line ends of the source are
 * blanks.
 *
 * To be searched (struct mime_html.searched) text is taken more generously: the title is text, every element that
 * does more than dress words parts them, references count in any case and without their semicolon, and
 * numbers of no character are what they look like.
 *
 * What must stay true: whatever comes in, at most MIME_HTML_OUT code points come out at a time.
 * Sources   HTML Living Standard 13.2.5 (tokenization), what of it mail needs.
 */
#include "mime_internal.h"

enum { TEXT, ENTITY, OPEN, NAME, REST, QUOTED, BANG, COMMENT, BOGUS, RAW };

static const char *const raw_elements[] = {"style", "script", "title"};
static const char *const line_elements[] = {"address", "article", "aside", "blockquote", "body", "br",
	"center", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2",
	"h3", "h4", "h5", "h6", "header", "hr", "html", "li", "main", "nav", "ol", "p", "pre", "section",
	"table", "tr", "ul"};
static const char *const blank_elements[] = {"td", "th", "img", "option"};
/* A word in which one of these stands is still one. */
static const char *const dress_elements[] = {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "code", "del",
	"em", "font", "i", "ins", "kbd", "mark", "nobr", "q", "s", "small", "span", "strike", "strong",
	"sub", "sup", "tt", "u", "var", "wbr"};

static bool
is_one_of(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}
#define IS_ONE_OF(name, names) is_one_of(name, names, sizeof(names) / sizeof((names)[0]))

static uint32_t
lower(uint32_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static bool
is_letter(uint32_t c)
{
	return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool
is_blank(uint32_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

void
mime_html_init(struct mime_html *h)
{
	*h = (struct mime_html){0};
}

/* What has been held of an entity that was none. */
static unsigned
give_back(struct mime_html *h, uint32_t *out)
{
	unsigned n = 0;

	out[n++] = '&';
	for (unsigned i = 0; i < h->nname; i++)
		out[n++] = (uint8_t)h->name[i];
	return n;
}

/* Case does not matter to a search: a letter with a capital is found as its twin without. */
static uint32_t
entity_searched(const struct mime_html *h)
{
	char name[MIME_HTML_NAME_MAX + 1];
	uint32_t c;

	for (unsigned i = 0; i <= h->nname; i++)
		name[i] = (char)lower((uint8_t)h->name[i]);
	c = strcmp(name, "apos") == 0 ? '\'' : strcmp(name, "zcaron") == 0 ? 0x17e : mime_entity(name);
	return c == 0xfffd ? 0 : c;
}

static unsigned
end_entity(struct mime_html *h, bool semicolon, uint32_t *out)
{
	uint32_t c = 0;

	h->name[h->nname] = '\0';
	/* Without its semicolon "&copy" could be the beginning of another word: only numbers count, and the
	 * few that everybody forgets it behind. */
	if (h->searched)
		c = entity_searched(h);
	else if (semicolon || h->name[0] == '#' || strcmp(h->name, "nbsp") == 0 ||
	    strcmp(h->name, "amp") == 0 || strcmp(h->name, "lt") == 0 || strcmp(h->name, "gt") == 0 ||
	    strcmp(h->name, "quot") == 0)
		c = mime_entity(h->name);
	h->state = TEXT;
	if (c != 0) {
		out[0] = c;
		return 1;
	}
	c = give_back(h, out);
	if (semicolon)
		out[c++] = ';';
	return c;
}

static bool
is_raw(const struct mime_html *h)
{
	return IS_ONE_OF(h->name, raw_elements) && !(h->searched && strcmp(h->name, "title") == 0);
}

static bool
parts_words(const struct mime_html *h)
{
	return h->searched ? !IS_ONE_OF(h->name, dress_elements) : IS_ONE_OF(h->name, blank_elements);
}

/* ">" has come. */
static unsigned
end_tag(struct mime_html *h, uint32_t *out)
{
	h->name[h->nname] = '\0';
	h->state = TEXT;
	if (!h->closing && is_raw(h)) {
		h->state = RAW;
		h->matched = 0;
		return 0;
	}
	if (strcmp(h->name, "blockquote") == 0) {
		if (!h->closing)
			h->quotes++;
		else if (h->quotes > 0)
			h->quotes--;
	}
	out[0] = IS_ONE_OF(h->name, line_elements) ? '\n' : ' ';
	return out[0] == '\n' || parts_words(h) ? 1 : 0;
}

/* Behind "<". */
static unsigned
open_tag(struct mime_html *h, uint32_t c, uint32_t *out)
{
	if (c == '/' && !h->closing) {
		h->closing = true;
	} else if (is_letter(c)) {
		h->state = NAME;
		h->name[0] = (char)lower(c);
		h->nname = 1;
	} else if (c == '!' && !h->closing) {
		h->state = BANG;
		h->dashes = 0;
	} else if (c == '?' || h->closing) {
		h->state = c == '>' ? TEXT : BOGUS;
	} else {
		h->state = TEXT;
		out[0] = '<';
		return 1 + mime_html_next(h, c, out + 1);
	}
	return 0;
}

static unsigned
in_tag(struct mime_html *h, uint32_t c, uint32_t *out)
{
	if (c == '>')
		return end_tag(h, out);
	if (h->state == NAME && (is_blank(c) || c == '/')) {
		h->state = REST;
		h->equals = false;
	} else if (h->state == NAME) {
		/* A longer name is none that matters; its beginning must not be taken for one. */
		if (h->nname < MIME_HTML_NAME_MAX)
			h->name[h->nname++] = c < 0x80 ? (char)lower(c) : '?';
	} else if (h->equals && (c == '"' || c == '\'')) {
		h->state = QUOTED;
		h->quote = (uint8_t)c;
	} else if (!is_blank(c)) {
		h->equals = c == '=';
	}
	return 0;
}

/* "<!": a comment ends with "-->", "--!>", and at once with ">" or "->". */
static void
in_declaration(struct mime_html *h, uint32_t c)
{
	if (h->state == BANG) {
		if (c == '-' && ++h->dashes == 2)
			h->state = COMMENT;
		else if (c != '-')
			h->state = c == '>' ? TEXT : BOGUS;
		return;
	}
	if (c == '>' && h->dashes >= 2)
		h->state = TEXT;
	else if (c == '-')
		h->dashes = h->dashes < 2 ? h->dashes + 1 : 2;
	else if (c != '!' || h->dashes < 2)
		h->dashes = 0;
}

/* Only "</" and the name that stands in h->name ends it. */
static void
in_raw(struct mime_html *h, uint32_t c)
{
	if (h->matched == h->nname + 2u && (is_blank(c) || c == '/' || c == '>')) {
		h->closing = true;
		h->equals = false;
		h->state = c == '>' ? TEXT : REST;
		return;
	}
	if (c == '<')
		h->matched = 1;
	else if (h->matched == 1)
		h->matched = c == '/' ? 2 : 0;
	else if (h->matched >= 2 && h->matched < h->nname + 2u &&
	    lower(c) == (uint8_t)h->name[h->matched - 2])
		h->matched++;
	else
		h->matched = 0;
}

/* Can C be the next of an entity's name or number? A number ends with its digits. */
static bool
goes_on(const struct mime_html *h, uint32_t c)
{
	bool digit = c >= '0' && c <= '9';

	if (h->nname == MIME_HTML_NAME_MAX)
		return false;
	if (h->nname == 0 || h->name[0] != '#')
		return digit || is_letter(c) || (c == '#' && h->nname == 0);
	if (h->nname == 1)
		return digit || lower(c) == 'x';
	return digit || (lower((uint8_t)h->name[1]) == 'x' && lower(c) >= 'a' && lower(c) <= 'f');
}

static unsigned
in_entity(struct mime_html *h, uint32_t c, uint32_t *out)
{
	unsigned n = 0;

	if (c == ';')
		return end_entity(h, true, out);
	if (goes_on(h, c)) {
		h->name[h->nname++] = (char)c;
		return 0;
	}
	n = end_entity(h, false, out);
	return n + mime_html_next(h, c, out + n);
}

unsigned
mime_html_next(struct mime_html *h, uint32_t c, uint32_t *out)
{
	switch (h->state) {
	case ENTITY:
		return in_entity(h, c, out);
	case OPEN:
		return open_tag(h, c, out);
	case NAME:
	case REST:
		return in_tag(h, c, out);
	case QUOTED:
		if (c == h->quote) {
			h->state = REST;
			h->equals = false;
		}
		return 0;
	case BANG:
	case COMMENT:
		in_declaration(h, c);
		return 0;
	case BOGUS:
		if (c == '>')
			h->state = TEXT;
		return 0;
	case RAW:
		in_raw(h, c);
		return 0;
	default:
		break;
	}
	if (c == '&' || c == '<') {
		h->state = c == '&' ? ENTITY : OPEN;
		h->nname = 0;
		h->closing = false;
		return 0;
	}
	out[0] = is_blank(c) ? ' ' : c;
	return 1;
}

unsigned
mime_html_end(struct mime_html *h, uint32_t *out)
{
	unsigned n = 0;

	if (h->state == ENTITY)
		n = end_entity(h, false, out);
	else if (h->state == OPEN && !h->closing)
		out[n++] = '<';
	mime_html_init(h);
	return n;
}
