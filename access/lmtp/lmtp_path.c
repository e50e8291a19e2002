/*
 * lmtp_path.c - addresses in MAIL and RCPT (RFC 5321 4.1.2, RFC 6531 3.3)
 *
 * What must stay true: what is parsed and printed parses to the same; work is linear; nothing
 * outside the grammar gets through, with three exceptions: "_" in a domain (in use, and the front
 * server has taken the mail already), a local part of up to 254 bytes, and a name without a domain
 * (accounts may have none).
 */
#include "lmtp.h"

#include <arpa/inet.h>

#include <mailshelf/mem.h>

struct cursor {
	const uint8_t *at, *end;
};

static int
peek(const struct cursor *c)
{
	return c->at < c->end ? *c->at : -1;
}

static bool
skip(struct cursor *c, char byte)
{
	if (peek(c) != (uint8_t)byte)
		return false;
	c->at++;
	return true;
}

static bool
is_alnum(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 5322 3.2.3; RFC 6531 3.3 adds UTF-8. */
static bool
is_atext(int c)
{
	return is_alnum(c) || c >= 0x80 || (c > 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
add_local(struct lmtp_path *out, int c)
{
	if (out->local_len == sizeof(out->local))
		return false;
	out->local[out->local_len++] = (uint8_t)c;
	return true;
}

static bool
parse_quoted(struct cursor *c, struct lmtp_path *out)
{
	while (c->at < c->end) {
		int byte = *c->at++;

		if (byte == '"')
			return true;
		if (byte == '\\') {
			byte = peek(c);
			c->at += byte >= 0;
			if (byte < ' ' || byte > '~')
				return false;
		}
		if (byte < ' ' || byte == 0x7f || !add_local(out, byte))
			return false;
	}
	return false;
}

static bool
parse_dot_string(struct cursor *c, struct lmtp_path *out)
{
	do {
		if (!is_atext(peek(c)))
			return false;
		while (is_atext(peek(c)))
			if (!add_local(out, *c->at++))
				return false;
	} while (peek(c) == '.' && add_local(out, *c->at++));
	return peek(c) != '.';
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]", "[Tag:text]". */
static bool
parse_literal(struct cursor *c)
{
	char text[LMTP_DOMAIN_MAX_BYTES + 1];
	uint8_t address[sizeof(struct in6_addr)];
	size_t len = 0;

	while (len < sizeof(text) - 1 && peek(c) >= '!' && peek(c) <= '~' &&
	    strchr("[\\]", peek(c)) == NULL)
		text[len++] = (char)*c->at++;
	text[len] = '\0';
	if (!skip(c, ']'))
		return false;
	if (strncasecmp(text, "IPv6:", 5) == 0)
		return inet_pton(AF_INET6, text + 5, address) == 1;
	if (strchr(text, ':') != NULL)
		return is_alnum(text[0]) && strchr(text, ':')[1] != '\0';
	return inet_pton(AF_INET, text, address) == 1;
}

static bool
parse_labels(struct cursor *c)
{
	do {
		const uint8_t *label = c->at;

		while (is_alnum(peek(c)) || peek(c) >= 0x80 || peek(c) == '-' || peek(c) == '_')
			c->at++;
		if (c->at == label || *label == '-' || c->at[-1] == '-')
			return false;
	} while (skip(c, '.'));
	return true;
}

static bool
parse_domain(struct cursor *c, struct shelf_span *out)
{
	const uint8_t *start = c->at;

	if (skip(c, '[') ? !parse_literal(c) : !parse_labels(c))
		return false;
	*out = shelf_span(start, (size_t)(c->at - start));
	return out->len <= LMTP_DOMAIN_MAX_BYTES;
}

/* "@a.example,@b.example:", told to be ignored (RFC 5321 4.1.1.3, appendix C). */
static bool
pass_route(struct cursor *c)
{
	struct shelf_span domain;

	do {
		if (!skip(c, '@') || !parse_domain(c, &domain))
			return false;
	} while (skip(c, ','));
	return skip(c, ':');
}

static bool
has_high_bytes(struct shelf_span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] >= 0x80)
			return true;
	return false;
}

static bool
parse_mailbox(struct cursor *c, struct lmtp_path *out)
{
	struct shelf_span domain = {0}, local;

	if (peek(c) == '@' && !pass_route(c))
		return false;
	if (skip(c, '"') ? !parse_quoted(c, out) : !parse_dot_string(c, out))
		return false;
	if (skip(c, '@')) {
		if (!parse_domain(c, &domain))
			return false;
		out->has_domain = true;
		out->domain_len = domain.len;
		memcpy(out->domain, domain.data, domain.len);
	}
	local = shelf_span(out->local, out->local_len);
	out->utf8 = has_high_bytes(local) || has_high_bytes(domain);
	/* Checked piece by piece: a sequence does not go on behind the "@". */
	return shelf_utf8_valid(local) && shelf_utf8_valid(domain);
}

bool
lmtp_path_parse(struct shelf_span *rest, struct lmtp_path *out)
{
	struct cursor c = {rest->data, rest->data + rest->len};

	*out = (struct lmtp_path){.null = false};
	if (!skip(&c, '<'))
		return false;
	if (peek(&c) == '>')
		out->null = true;
	else if (!parse_mailbox(&c, out))
		return false;
	if (!skip(&c, '>'))
		return false;
	*rest = shelf_span(c.at, (size_t)(c.end - c.at));
	return true;
}

static bool
is_dot_string(const struct lmtp_path *path)
{
	struct lmtp_path copy = {.null = false};
	struct cursor c = {path->local, path->local + path->local_len};

	return parse_dot_string(&c, &copy) && c.at == c.end;
}

void
lmtp_path_print(const struct lmtp_path *path, struct shelf_buf *out)
{
	bool quote = !path->null && !is_dot_string(path);

	shelf_buf_add_byte(out, '<');
	if (quote)
		shelf_buf_add_byte(out, '"');
	for (size_t i = 0; i < path->local_len; i++) {
		if (quote && (path->local[i] == '"' || path->local[i] == '\\'))
			shelf_buf_add_byte(out, '\\');
		shelf_buf_add_byte(out, path->local[i]);
	}
	if (quote)
		shelf_buf_add_byte(out, '"');
	if (path->has_domain) {
		shelf_buf_add_byte(out, '@');
		shelf_buf_add(out, path->domain, path->domain_len);
	}
	shelf_buf_add_byte(out, '>');
}
