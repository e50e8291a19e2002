/*
 * fuzz_lmtp_session.c - whole LMTP sessions
 *
 * Properties: every reply is "NNN text" with a code from 200 to 599, lines of one reply have one code; however the
 * input is cut, the codes are the same.
 * Input     first byte & 1: where it begins; second byte: how it is cut; then what the client sends
 */
#include <stdlib.h>
#include <string.h>

#include "session_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const before[] = {
    "",
    "LHLO client\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<joe@example.org>\r\n",
};

/* The codes of all replies, in order. */
static void
read_all(struct shelf_span all, struct shelf_buf *codes)
{
	uint8_t open[3] = {0};
	struct shelf_span line;
	size_t at = 0;

	while (session_line(all, &at, false, &line)) {
		session_must(line.len >= 3 && line.data[0] >= '2' && line.data[0] <= '5', "no reply", all);
		session_must(line.data[1] >= '0' && line.data[1] <= '9', "no code", all);
		session_must(line.data[2] >= '0' && line.data[2] <= '9', "no code", all);
		session_must(line.len == 3 || line.data[3] == ' ' || line.data[3] == '-', "what is that?", all);
		session_must(memchr(line.data, 0, line.len) == NULL, "NUL", all);
		session_must(open[0] == 0 || memcmp(open, line.data, 3) == 0, "two codes in one reply", all);
		memcpy(open, line.data, 3);
		if (line.len > 3 && line.data[3] == '-')
			continue;
		shelf_buf_add(codes, open, 3);
		open[0] = 0;
	}
	session_must(open[0] == 0, "a reply without an end", all);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_buf said = {0}, codes = {0}, again = {0};
	struct shelf_span input;

	if (size < 2)
		return 0;
	input = shelf_span(data + 2, size - 2);
	session_play("lmtp", before[data[0] & 1], input, data[1], &said);
	read_all(shelf_buf_span(&said), &codes);
	shelf_buf_clear(&said);
	session_play("lmtp", before[data[0] & 1], input, data[1] + 1u, &said);
	read_all(shelf_buf_span(&said), &again);
	session_must(shelf_span_eq(shelf_buf_span(&codes), shelf_buf_span(&again)),
	    "cut elsewhere it answers otherwise", shelf_buf_span(&said));
	shelf_buf_free(&said);
	shelf_buf_free(&codes);
	shelf_buf_free(&again);
	return 0;
}
