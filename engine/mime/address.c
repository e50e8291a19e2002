/*
 * address.c - address lists as IMAP's ENVELOPE wants them (RFC 5322 3.4, 4.4; RFC 9051 7.5.2)
 *
 * One pass over tokens. An element ends at "," or ";" outside quotes, comments and domain literals,
 * so a mistake in one address does not spoil the next. Repairs, all common in the wild:
 *   joe                    mailbox "joe", host "" (an absent host would mean a group)
 *   joe@a <joe@b>          the part before "<" is the display name
 *   Joe Doe joe@a          the last word is the local part, what stands before it the display name
 *   joe@a (Joe Doe)        the comment is the display name when there is no other
 *   a@b@c                  the last "@" counts
 *   a@b c@d, A <a@b> C <c@d>   a forgotten comma
 * What must stay true: every token is consumed once; a group that begins also ends in the output.
 */
#include "mime_internal.h"

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_QUOTED, TOKEN_COMMENT, TOKEN_MARK };

struct parser {
	struct mime_cursor in;
	struct shelf_arena *arena;
	unsigned *budget;
	struct mime_address **tail;
	bool in_group;

	enum token_kind kind;
	uint8_t mark;         /* of TOKEN_MARK: one of < > @ , ; : */
	bool blank;           /* white space or a comment stood before the token */
	struct shelf_buf text; /* of the others */

	/* The element being read. */
	struct shelf_buf name, local, domain, adl, comment;
	struct shelf_buf next; /* words behind a complete address: they may begin another one */
	size_t name_before; /* how much of name stands before the word that may be the local part */
	bool has_name, has_before, has_local, has_at, has_angle, has_adl;
};

static bool
is_special(uint8_t c)
{
	return c == '<' || c == '>' || c == '@' || c == ',' || c == ';' || c == ':';
}

static void
take_word(struct parser *p)
{
	/* A domain literal may hold ":" (IPv6). It ends early rather than swallow the list. */
	if (*p->in.p == '[') {
		while (p->in.p < p->in.end && *p->in.p != ']' && *p->in.p != ',' && *p->in.p != ';' &&
		    *p->in.p != '>') {
			if (*p->in.p != '\r' && *p->in.p != '\n')
				shelf_buf_add_byte(&p->text, MIME_BYTE(*p->in.p));
			p->in.p++;
		}
		if (p->in.p < p->in.end && *p->in.p == ']') {
			shelf_buf_add_byte(&p->text, ']');
			p->in.p++;
		}
		return;
	}
	while (p->in.p < p->in.end && !is_special(*p->in.p) && !mime_is_space(*p->in.p) &&
	    *p->in.p != '(' && *p->in.p != '"' && *p->in.p != '[') {
		shelf_buf_add_byte(&p->text, MIME_BYTE(*p->in.p));
		p->in.p++;
	}
}

static void
next_token(struct parser *p)
{
	p->blank = p->kind == TOKEN_COMMENT;
	shelf_buf_clear(&p->text);
	while (p->in.p < p->in.end && mime_is_space(*p->in.p)) {
		p->in.p++;
		p->blank = true;
	}
	if (p->in.p == p->in.end) {
		p->kind = TOKEN_END;
	} else if (*p->in.p == '(') {
		p->kind = TOKEN_COMMENT;
		mime_comment(&p->in, &p->text);
	} else if (*p->in.p == '"') {
		p->kind = TOKEN_QUOTED;
		mime_quoted(&p->in, &p->text);
	} else if (is_special(*p->in.p)) {
		p->kind = TOKEN_MARK;
		p->mark = *p->in.p++;
	} else {
		p->kind = TOKEN_WORD;
		take_word(p);
	}
}

static bool
at_mark(const struct parser *p, uint8_t mark)
{
	return p->kind == TOKEN_MARK && p->mark == mark;
}

static bool
at_element_end(const struct parser *p)
{
	return p->kind == TOKEN_END || at_mark(p, ',') || at_mark(p, ';');
}

/* Adds the token to a display name: one blank where there was space. */
static void
add_to_name(struct parser *p)
{
	if (p->blank && p->name.len > 0)
		shelf_buf_add_byte(&p->name, ' ');
	if (p->kind == TOKEN_MARK)
		shelf_buf_add_byte(&p->name, p->mark);
	else
		shelf_buf_add_span(&p->name, shelf_buf_span(&p->text));
	p->has_name = true;
}

static bool
ends_with_dot(const struct shelf_buf *b)
{
	return b->len > 0 && b->data[b->len - 1] == '.';
}

/* "john . doe" is one local part or domain (RFC 5322 4.4), "john doe" are two words. */
static bool
continues(const struct parser *p, const struct shelf_buf *b)
{
	return !p->blank || ends_with_dot(b) || (p->text.len > 0 && p->text.data[0] == '.');
}

static void
add_word(struct parser *p)
{
	if (p->has_at) {
		if (p->next.len == 0 && (p->domain.len == 0 || continues(p, &p->domain))) {
			shelf_buf_add_span(&p->domain, shelf_buf_span(&p->text));
		} else {
			shelf_buf_clear(&p->next);
			shelf_buf_add_span(&p->next, shelf_buf_span(&p->text));
		}
	} else {
		if (!p->has_local || !continues(p, &p->local)) {
			shelf_buf_clear(&p->local);
			p->name_before = p->name.len;
			p->has_before = p->has_name;
		}
		shelf_buf_add_span(&p->local, shelf_buf_span(&p->text));
		p->has_local = true;
	}
	add_to_name(p);
}

/* A word behind "<joe@a>". */
static void
add_behind(struct parser *p)
{
	if (p->kind == TOKEN_MARK)
		return;
	if (p->blank && p->next.len > 0)
		shelf_buf_add_byte(&p->next, ' ');
	shelf_buf_add_span(&p->next, shelf_buf_span(&p->text));
}

/* A further "@": what was taken for the domain belongs to the local part. A comment before the "@"
 * is about the account, not the name of its owner. */
static void
add_at(struct parser *p)
{
	shelf_buf_clear(&p->comment);
	if (p->has_at) {
		shelf_buf_add_byte(&p->local, '@');
		shelf_buf_add_span(&p->local, shelf_buf_span(&p->domain));
		shelf_buf_clear(&p->domain);
	}
	p->has_at = true;
}

static void
keep_comment(struct parser *p)
{
	size_t from = 0, to = p->text.len;

	if (p->comment.len > 0 || (!p->has_name && !p->has_angle))
		return;
	while (from < to && mime_is_blank(p->text.data[from]))
		from++;
	while (to > from && mime_is_blank(p->text.data[to - 1]))
		to--;
	shelf_buf_add(&p->comment, p->text.data + from, to - from);
}

/* "<@a,@b:joe@c": the route, up to and with the colon. Without one it was a strange address. */
static void
read_route(struct parser *p)
{
	while (p->kind != TOKEN_END && !at_mark(p, ';') && !at_mark(p, '>') && !at_mark(p, ':')) {
		if (p->kind == TOKEN_MARK)
			shelf_buf_add_byte(&p->adl, p->mark);
		else if (p->kind != TOKEN_COMMENT)
			shelf_buf_add_span(&p->adl, shelf_buf_span(&p->text));
		next_token(p);
	}
	if (at_mark(p, ':')) {
		p->has_adl = true;
		next_token(p);
		return;
	}
	p->has_at = true;
	shelf_buf_add(&p->domain, p->adl.data + 1, p->adl.len - 1);
}

/* Behind "<": route, local part, domain, ">". Stands on ">" or on the end of the element after. */
static void
read_angle(struct parser *p)
{
	p->has_angle = true;
	p->has_at = false;
	shelf_buf_clear(&p->local);
	shelf_buf_clear(&p->domain);
	shelf_buf_clear(&p->next);
	next_token(p);
	if (at_mark(p, '@'))
		read_route(p);
	for (; !at_element_end(p) && !at_mark(p, '>'); next_token(p)) {
		struct shelf_buf *target = p->has_at ? &p->domain : &p->local;

		if (p->kind == TOKEN_COMMENT)
			continue;
		if (at_mark(p, '@')) {
			add_at(p);
		} else if (p->kind == TOKEN_MARK) {
			shelf_buf_add_byte(target, p->mark);
		} else {
			if (target->len > 0 && !continues(p, target))
				shelf_buf_add_byte(target, ' ');
			shelf_buf_add_span(target, shelf_buf_span(&p->text));
		}
	}
}

/* The budget was looked at before the element, or kept back for a group's end. */
static struct mime_address *
append(struct parser *p)
{
	struct mime_address *a = SHELF_ARENA_NEW(p->arena, struct mime_address);

	*p->tail = a;
	p->tail = &a->next;
	if (*p->budget > 0)
		--*p->budget;
	return a;
}

static struct shelf_span
kept(struct parser *p, const struct shelf_buf *b, bool present)
{
	return present ? mime_text(shelf_buf_span(b), p->arena) : shelf_span(NULL, 0);
}

static void
emit_address(struct parser *p)
{
	struct mime_address *a;

	if (!p->has_angle && !p->has_at && !p->has_name)
		return;
	a = append(p);
	if (p->has_angle) {
		a->name = kept(p, &p->name, p->has_name);
	} else if (p->has_at) {
		p->name.len = p->name_before;
		a->name = kept(p, &p->name, p->has_before);
	} else {
		/* No "@" at all: the whole text is the mailbox. */
		a->name = kept(p, &p->comment, p->comment.len > 0);
		a->mailbox = kept(p, &p->name, true);
		a->host = kept(p, &p->domain, true);
		return;
	}
	if (a->name.data == NULL)
		a->name = kept(p, &p->comment, p->comment.len > 0);
	a->adl = kept(p, &p->adl, p->has_adl);
	a->mailbox = kept(p, &p->local, true);
	a->host = kept(p, &p->domain, true);
}

static void
clear_element(struct parser *p)
{
	shelf_buf_clear(&p->name);
	shelf_buf_clear(&p->local);
	shelf_buf_clear(&p->domain);
	shelf_buf_clear(&p->adl);
	shelf_buf_clear(&p->comment);
	shelf_buf_clear(&p->next);
	p->name_before = 0;
	p->has_name = p->has_before = p->has_local = p->has_at = p->has_angle = p->has_adl = false;
}

static void
end_group(struct parser *p)
{
	append(p);
	p->in_group = false;
}

/* A word behind "joe@a" and now "@", or words behind "<joe@a>" and now "<": the comma was
 * forgotten. */
static void
split_element(struct parser *p)
{
	struct shelf_buf words = p->next;

	if (*p->budget <= 1u + p->in_group)
		return;
	emit_address(p);
	p->next = p->name;
	clear_element(p);
	p->name = words;
	p->has_name = p->has_local = p->name.len > 0;
	if (p->kind == TOKEN_MARK && p->mark == '@')
		shelf_buf_add_span(&p->local, shelf_buf_span(&p->name));
}

/* Reads up to the end of the element, or to the colon of a group's name; stands on it after. */
static void
read_element(struct parser *p)
{
	clear_element(p);
	for (next_token(p); !at_element_end(p); next_token(p)) {
		if (p->kind == TOKEN_COMMENT) {
			keep_comment(p);
		} else if (p->has_angle && !at_mark(p, '<')) {
			add_behind(p);
		} else if (at_mark(p, '<')) {
			if (p->has_angle)
				split_element(p);
			read_angle(p);
			if (at_element_end(p))
				break;
		} else if (at_mark(p, '@')) {
			if (p->next.len > 0)
				split_element(p);
			add_at(p);
			add_to_name(p);
		} else if (at_mark(p, ':') && !p->has_at && !p->in_group) {
			return;
		} else if (p->kind != TOKEN_MARK) {
			add_word(p);
		}
	}
	emit_address(p);
}

void
mime_address_list(struct shelf_span value, struct shelf_arena *arena, unsigned *budget,
    struct mime_address ***tail)
{
	struct parser p = {.in = mime_cursor(value), .arena = arena, .budget = budget, .tail = *tail};

	/* An open group keeps one entry back for its end. */
	while (*budget > p.in_group) {
		read_element(&p);
		if (at_mark(&p, ':')) {
			struct mime_address *group;

			if (*budget < 2)
				break;
			group = append(&p);
			group->mailbox = kept(&p, &p.name, true);
			p.in_group = true;
		} else if (at_mark(&p, ';') && p.in_group) {
			end_group(&p);
		} else if (p.kind == TOKEN_END) {
			break;
		}
	}
	if (p.in_group)
		end_group(&p);
	*tail = p.tail;
	shelf_buf_free(&p.text);
	shelf_buf_free(&p.name);
	shelf_buf_free(&p.local);
	shelf_buf_free(&p.domain);
	shelf_buf_free(&p.adl);
	shelf_buf_free(&p.comment);
	shelf_buf_free(&p.next);
}

struct mime_address *
mime_addresses(struct shelf_span value, struct shelf_arena *arena)
{
	struct mime_address *first = NULL, **tail = &first;
	unsigned budget = MIME_ADDRESSES_MAX;

	mime_address_list(value, arena, &budget, &tail);
	return first;
}
