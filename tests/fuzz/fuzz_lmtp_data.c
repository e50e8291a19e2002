/*
 * fuzz_lmtp_data.c - the end of DATA
 *
 * The first byte says how the rest is cut. Properties: every cut gives the same; the end, when
 * there is one, is CRLF.CRLF (or .CRLF at the start), its CR not behind another CR; what is taken
 * for a message and stuffed as a client does comes out unchanged.
 */
#include <stdlib.h>

#include "lmtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
collect(void *arg, const void *data, size_t len)
{
	shelf_buf_add(arg, data, len);
}

static size_t
feed(struct shelf_span in, unsigned seed, struct shelf_buf *out, bool *ended)
{
	struct lmtp_data data = {LMTP_DATA_LINE};
	size_t at = 0;

	while (at < in.len && data.state != LMTP_DATA_END) {
		size_t len = seed == 0 ? in.len : 1 + (size_t)rand_r(&seed) % 7;

		if (len > in.len - at)
			len = in.len - at;
		at += lmtp_data_feed(&data, shelf_span(in.data + at, len), collect, out);
	}
	*ended = data.state == LMTP_DATA_END;
	return at;
}

static bool
ends_line(struct shelf_span s, bool *after_cr)
{
	*after_cr = s.len >= 3 && s.data[s.len - 3] == '\r';
	return s.len == 0 || (s.len >= 2 && memcmp(s.data + s.len - 2, "\r\n", 2) == 0);
}

static void
check_cuts(struct shelf_span in, unsigned seed)
{
	struct shelf_buf whole = {0}, pieces = {0};
	bool ended, ended_pieces, after_cr;
	size_t used = feed(in, 0, &whole, &ended);

	if (feed(in, seed + 1, &pieces, &ended_pieces) != used || ended != ended_pieces ||
	    !shelf_span_eq(shelf_buf_span(&whole), shelf_buf_span(&pieces)))
		abort();
	if (ended) {
		struct shelf_span before = shelf_span(in.data, used - 3);

		if (memcmp(in.data + used - 3, ".\r\n", 3) != 0 || !ends_line(before, &after_cr) ||
		    after_cr)
			abort();
	}
	shelf_buf_free(&whole);
	shelf_buf_free(&pieces);
}

/* A client's way to send X; FULL is what arrives: X, with a line end when it has none. */
static void
stuff(struct shelf_span x, struct shelf_buf *sent, struct shelf_buf *full)
{
	bool after_cr;

	shelf_buf_add_span(full, x);
	if (!ends_line(x, &after_cr) || after_cr)
		shelf_buf_add_str(full, "\r\n");
	for (size_t i = 0; i < full->len; i++) {
		if (ends_line(shelf_span(full->data, i), &after_cr) && full->data[i] == '.')
			shelf_buf_add_byte(sent, '.');
		shelf_buf_add_byte(sent, full->data[i]);
	}
}

static void
check_round_trip(struct shelf_span x, unsigned seed)
{
	struct shelf_buf sent = {0}, full = {0}, got = {0};
	bool ended, after_cr;

	stuff(x, &sent, &full);
	/* "...CR" and the added CRLF are CR CR LF, which is no line's end here: one more. */
	if (ends_line(shelf_buf_span(&full), &after_cr) && after_cr) {
		shelf_buf_add_str(&full, "\r\n");
		shelf_buf_add_str(&sent, "\r\n");
	}
	shelf_buf_add_str(&sent, ".\r\n");
	if (feed(shelf_buf_span(&sent), seed, &got, &ended) != sent.len || !ended ||
	    !shelf_span_eq(shelf_buf_span(&got), shelf_buf_span(&full)))
		abort();
	shelf_buf_free(&sent);
	shelf_buf_free(&full);
	shelf_buf_free(&got);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	check_cuts(shelf_span(data + 1, size - 1), data[0]);
	check_round_trip(shelf_span(data + 1, size - 1), data[0]);
	return 0;
}
