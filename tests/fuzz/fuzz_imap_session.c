/*
 * fuzz_imap_session.c - whole IMAP sessions: any bytes before a login, behind it, in a mailbox
 *
 * Properties: every response obeys a strict reader (lines, quoted strings, literals, parentheses); tagged answers
 * are no more than the lines sent; behind BYE comes nothing but a tagged answer; before a login the answers do not
 * depend on how the input is cut.
 * Input     first byte & 3: where it begins; second byte: how it is cut; then what the client sends
 */
#include <stdlib.h>
#include <string.h>

#include "session_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const before[] = {
    "",
    "0 LOGIN joe secret\r\n",
    "0 LOGIN joe secret\r\n0 SELECT INBOX\r\n",
    "0 LOGIN joe secret\r\n0 ENABLE QRESYNC UIDONLY IMAP4rev2\r\n0 SELECT INBOX\r\n",
};

static bool
begins(struct shelf_span line, const char *text)
{
	return line.len >= strlen(text) && memcmp(line.data, text, strlen(text)) == 0;
}

/* {N} or ~{N} at the end of a line: N, else -1. */
static long long
literal(struct shelf_span line)
{
	long long n = 0;
	size_t at = line.len;

	if (at == 0 || line.data[--at] != '}')
		return -1;
	while (at > 0 && line.data[at - 1] >= '0' && line.data[at - 1] <= '9')
		at--;
	if (at == 0 || line.data[at - 1] != '{' || at == line.len - 1)
		return -1;
	for (; at < line.len - 1 && n < 1ll << 40; at++)
		n = n * 10 + (line.data[at] - '0');
	return n;
}

/* A piece of an untagged response between literals: the depth of parentheses behind it. */
static int
read_piece(struct shelf_span line, int depth, struct shelf_span all)
{
	bool quoted = false;

	for (size_t i = 0; i < line.len; i++) {
		uint8_t c = line.data[i];

		session_must(c != 0, "NUL outside of a literal", all);
		if (quoted && c == '\\')
			session_must(++i < line.len && strchr("\"\\", line.data[i]) != NULL, "a bad escape", all);
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted)
			depth += (c == '(') - (c == ')');
		session_must(depth >= 0, "one ) too many", all);
	}
	session_must(!quoted, "a quoted string without an end", all);
	return depth;
}

static bool
is_condition(struct shelf_span rest)
{
	return begins(rest, "OK ") || begins(rest, "NO ") || begins(rest, "BAD ") || begins(rest, "BYE ") ||
	    begins(rest, "PREAUTH ");
}

/* An untagged response that is no condition, its literals too. False: the server was cut off within it. */
static bool
read_data(struct shelf_span all, size_t *at, struct shelf_span line)
{
	long long len;
	int depth = read_piece(line, 0, all);

	while ((len = literal(line)) >= 0) {
		session_must((size_t)len <= all.len - *at, "a literal is longer than what came", all);
		*at += (size_t)len;
		session_must(session_line(all, at, false, &line), "nothing behind a literal", all);
		depth = read_piece(line, depth, all);
	}
	session_must(depth == 0, "a ) is missing", all);
	return true;
}

static bool
read_tagged(struct shelf_span line, struct shelf_span all, bool *deflates)
{
	const uint8_t *space = memchr(line.data, ' ', line.len);
	struct shelf_span rest;

	session_must(space != NULL && space != line.data, "neither tagged nor untagged", all);
	rest = shelf_span(space + 1, line.len - (size_t)(space + 1 - line.data));
	session_must(begins(rest, "OK ") || begins(rest, "NO ") || begins(rest, "BAD "), "a tag and then?", all);
	*deflates = begins(rest, "OK DEFLATE active");
	return begins(rest, "OK ") && memmem(rest.data, rest.len, "[CAPABILITY", 11) != NULL;
}

/* Has somebody logged in? */
static bool
read_all(struct shelf_span all, size_t lines)
{
	bool bye = false, login = false, deflates = false;
	struct shelf_span line, rest;
	size_t at = 0, tagged = 0;

	while (!deflates && session_line(all, &at, false, &line)) {
		if (begins(line, "* ")) {
			session_must(!bye, "behind BYE", all);
			rest = shelf_span(line.data + 2, line.len - 2);
			bye = begins(rest, "BYE ");
			if (!is_condition(rest))
				read_data(all, &at, line);
		} else if (!begins(line, "+ ")) {
			login = read_tagged(line, all, &deflates) || login;
			session_must(++tagged <= lines, "more answers than commands", all);
		}
	}
	return login || deflates;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_buf said = {0}, again = {0};
	const char *first;
	struct shelf_span input;

	if (size < 2)
		return 0;
	first = before[data[0] & 3];
	input = shelf_span(data + 2, size - 2);
	session_play("imap", first, input, data[1], &said);
	if (!read_all(shelf_buf_span(&said), session_lines(first, input)) && *first == '\0') {
		session_play("imap", first, input, data[1] + 1u, &again);
		session_must(shelf_span_eq(shelf_buf_span(&said), shelf_buf_span(&again)),
		    "cut elsewhere it says something else", shelf_buf_span(&again));
	}
	shelf_buf_free(&said);
	shelf_buf_free(&again);
	return 0;
}
