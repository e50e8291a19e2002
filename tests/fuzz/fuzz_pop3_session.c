/*
 * fuzz_pop3_session.c - whole POP3 sessions, before and behind the login
 *
 * Properties: every reply is +OK, -ERR or a challenge, what follows +OK ends with "." and has its dots doubled;
 * replies are no more than the lines sent, and one for the greeting; what one session says does not depend on how the
 * input is cut, unless it changed the maildrop.
 * Input     first byte & 1: where it begins; second byte: how it is cut; then what the client sends
 */
#include <stdlib.h>
#include <string.h>

#include "session_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const before[] = {"", "USER joe\r\nPASS secret\r\n"};

static bool
begins(struct shelf_span line, const char *text)
{
	return line.len >= strlen(text) && memcmp(line.data, text, strlen(text)) == 0;
}

static bool
is_reply(struct shelf_span line)
{
	return begins(line, "+OK") || begins(line, "-ERR") || begins(line, "+ ") || shelf_span_is(line, "+");
}

static void
read_all(struct shelf_span all, size_t lines)
{
	bool may_follow = false;
	struct shelf_span line;
	size_t at = 0, replies = 0;

	while (session_line(all, &at, false, &line)) {
		if (is_reply(line)) {
			session_must(++replies <= lines + 1, "more replies than commands", all);
			may_follow = begins(line, "+OK");
			continue;
		}
		session_must(may_follow, "no reply", all);
		for (may_follow = false; !shelf_span_is(line, ".");) {
			session_must(!begins(line, ".") || begins(line, ".."), "a dot that was not doubled", all);
			session_must(session_line(all, &at, false, &line), "no end of a list", all);
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_buf said = {0};
	struct shelf_span input;
	const char *first;

	if (size < 2)
		return 0;
	first = before[data[0] & 1];
	input = shelf_span(data + 2, size - 2);
	session_play("pop3", first, input, data[1], &said);
	read_all(shelf_buf_span(&said), session_lines(first, input));
	shelf_buf_free(&said);
	return 0;
}
