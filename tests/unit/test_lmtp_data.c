/* test_lmtp_data.c - the end of DATA and nothing like it, dots undone, whatever the cut */
#include <check.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "lmtp.h"

static void
collect(void *arg, const void *data, size_t len)
{
	ck_assert_uint_gt(len, 0);
	shelf_buf_add(arg, data, len);
}

struct outcome {
	struct shelf_buf text;
	size_t used;
	bool ended, may_end;
};

/* Feeds IN in pieces: cuts[i] tells whether a piece ends before byte i. */
static struct outcome
feed(struct shelf_span in, const bool *cuts)
{
	struct lmtp_data data = {LMTP_DATA_LINE};
	struct outcome o = {.used = 0};
	size_t end;

	for (size_t at = 0; at < in.len && data.state != LMTP_DATA_END; at = end) {
		size_t used;

		for (end = at + 1; end < in.len && !cuts[end]; end++)
			;
		used = lmtp_data_feed(&data, shelf_span(in.data + at, end - at), collect, &o.text);
		ck_assert(used == end - at || data.state == LMTP_DATA_END);
		o.used += used;
	}
	o.ended = data.state == LMTP_DATA_END;
	o.may_end = lmtp_data_may_end(&data);
	return o;
}

static bool
at_line(struct shelf_span in, size_t i, bool *weak)
{
	bool start = i == 0 || (i >= 2 && in.data[i - 1] == '\n' && in.data[i - 2] == '\r');

	*weak = start && i >= 3 && in.data[i - 3] == '\r';
	return start;
}

/* The same by definition, with the whole input at hand. An unfinished tail (a held-back dot) is not
 * in the text. */
static struct outcome
by_definition(struct shelf_span in)
{
	struct outcome o = {.used = 0};
	size_t i = 0;

	while (i < in.len) {
		struct shelf_span rest = shelf_span(in.data + i, in.len - i);
		bool weak, line = at_line(in, i, &weak);

		if (line && rest.data[0] == '.') {
			bool dot_line = rest.len >= 3 && memcmp(rest.data, ".\r\n", 3) == 0;

			if (dot_line && !weak) {
				o.used = i + 3;
				o.ended = true;
				return o;
			}
			/* What may become ".CRLF" is held back. */
			if (rest.len < 3 && memcmp(rest.data, ".\r\n", rest.len) == 0)
				break;
			o.may_end = dot_line && weak && rest.len == 3;
			if (o.may_end)
				break;
			if (!weak || rest.data[1] == '.')
				i++;
		}
		shelf_buf_add_byte(&o.text, in.data[i++]);
	}
	o.used = in.len;
	return o;
}

static void
expect_same(struct shelf_span in, const bool *cuts)
{
	struct outcome got = feed(in, cuts), want = by_definition(in);

	ck_assert_int_eq(got.ended, want.ended);
	ck_assert_int_eq(got.may_end, want.may_end);
	ck_assert_uint_eq(got.used, want.used);
	ck_assert(shelf_span_eq(shelf_buf_span(&got.text), shelf_buf_span(&want.text)));
	shelf_buf_free(&got.text);
	shelf_buf_free(&want.text);
}

static const struct {
	const char *in, *text;
	int left; /* bytes behind the end; -1: no end */
} rows[] = {
    {".\r\n", "", 0},
    {".\r\nQUIT\r\n", "", 6},
    {"a\r\n.\r\n", "a\r\n", 0},
    {"a\r\n.\r\nMAIL FROM:<>\r\n", "a\r\n", 14},
    {"..\r\n.\r\n", ".\r\n", 0},
    {"...\r\n.\r\n", "..\r\n", 0},
    {".a\r\n.\r\n", "a\r\n", 0},
    {"a.\r\n.\r\n", "a.\r\n", 0},
    {"a\r\n..\r\n.\r\n", "a\r\n.\r\n", 0},
    {"a\r\n\r\n.\r\n", "a\r\n\r\n", 0},
    {"a\n..b\r\n.\r\n", "a\n..b\r\n", 0},
    {"a\r\r\n..b\r\n.\r\n", "a\r\r\n.b\r\n", 0},
    {"a\r\r\n.b\r\n.\r\n", "a\r\r\n.b\r\n", 0},
    {"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", 0},
    {"a", "a", -1},
    {"a\r\n.", "a\r\n", -1},
    {"a\r\n.\r", "a\r\n", -1},
    {".", "", -1},
};

START_TEST(data_vectors)
{
	struct shelf_span in = shelf_span_str(rows[_i].in);
	bool *cuts = shelf_zalloc(in.len + 1);

	/* In one piece, in two pieces cut anywhere, byte by byte. */
	for (size_t cut = 0; cut <= in.len + 1; cut++) {
		struct outcome o;

		memset(cuts, cut > in.len, in.len + 1);
		if (cut <= in.len)
			cuts[cut] = true;
		o = feed(in, cuts);
		ck_assert_str_eq(shelf_buf_cstr(&o.text), rows[_i].text);
		ck_assert_int_eq(o.ended, rows[_i].left >= 0);
		if (o.ended)
			ck_assert_uint_eq(in.len - o.used, (size_t)rows[_i].left);
		shelf_buf_free(&o.text);
	}
	free(cuts);
}
END_TEST

/* What servers have taken for the end (threats: smuggling). Each stands in a message as it is. */
static const char *const lookalikes[] = {
    "\n.\n",       "\r\n.\n",   "\n.\r\n",     "\n\n.\r\n",       "\r.\r",       "\r\r\n.\r\n",
    "\r\n.\r",     "\r.\r\n",   "\r\n.\n\r",   "\n\r.\r\n",       "\r.\n",       "\n.\r",
    "\r\n.\r\r\n", "\r\n. \r\n", "\r\n.\x0b\r\n", "\r\r\r\n.\r\n", "\r\n\n.\r\n", "\r\n\r.\r\n",
};

START_TEST(data_lookalikes)
{
	struct shelf_buf in = {0};
	bool *cuts;

	shelf_buf_printf(&in, "a%sMAIL FROM:<evil@example.org>\r\n.\r\nNOOP\r\n", lookalikes[_i]);
	cuts = shelf_zalloc(in.len + 1);
	for (size_t cut = 0; cut <= in.len + 1; cut++) {
		struct outcome o;

		memset(cuts, cut > in.len, in.len + 1);
		if (cut <= in.len)
			cuts[cut] = true;
		o = feed(shelf_buf_span(&in), cuts);
		ck_assert(o.ended);
		ck_assert_uint_eq(in.len - o.used, strlen("NOOP\r\n"));
		ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&o.text), "MAIL FROM"));
		shelf_buf_free(&o.text);
	}
	free(cuts);
	shelf_buf_free(&in);
}
END_TEST

/* Every string of up to 8 bytes that matter. */
START_TEST(data_all_short)
{
	static const char alphabet[] = {'\r', '\n', '.', 'a'};
	static const bool whole[9], bytewise[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
	uint8_t bytes[8];

	for (unsigned len = 0; len <= 8; len++) {
		for (unsigned n = 0; n < 1U << (2 * len); n++) {
			for (unsigned i = 0; i < len; i++)
				bytes[i] = (uint8_t)alphabet[n >> (2 * i) & 3];
			expect_same(shelf_span(bytes, len), whole);
			expect_same(shelf_span(bytes, len), bytewise);
		}
	}
}
END_TEST

START_TEST(data_random_cuts)
{
	static const char alphabet[] = "\r\n.\r\n.ab";
	unsigned seed = 1;
	uint8_t bytes[200];
	bool cuts[200];

	for (unsigned round = 0; round < 20000; round++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(bytes);

		for (size_t i = 0; i < len; i++) {
			bytes[i] = (uint8_t)alphabet[(unsigned)rand_r(&seed) % 8];
			cuts[i] = rand_r(&seed) % 4 == 0;
		}
		expect_same(shelf_span(bytes, len), cuts);
	}
}
END_TEST

/* What a client sends for the message X. */
static void
stuff(struct shelf_span x, struct shelf_buf *out)
{
	bool weak = false;

	for (size_t i = 0; i < x.len; i++) {
		if (at_line(x, i, &weak) && x.data[i] == '.')
			shelf_buf_add_byte(out, '.');
		shelf_buf_add_byte(out, x.data[i]);
	}
	if (!at_line(x, x.len, &weak) || weak)
		shelf_buf_add_str(out, "\r\n");
	shelf_buf_add_str(out, ".\r\n");
}

START_TEST(data_round_trip)
{
	static const char alphabet[] = "\r\n.\r\n.ab";
	unsigned seed = 2;
	bool cuts[500];

	for (unsigned round = 0; round < 20000; round++) {
		struct shelf_buf x = {0}, sent = {0};
		size_t len = (size_t)rand_r(&seed) % 100;
		struct outcome o;

		for (size_t i = 0; i < len; i++)
			shelf_buf_add_byte(&x, (uint8_t)alphabet[(unsigned)rand_r(&seed) % 8]);
		for (size_t i = 0; i < sizeof(cuts); i++)
			cuts[i] = rand_r(&seed) % 4 == 0;
		/* A message ends with a line; CR CR LF is none (see the pause below). */
		shelf_buf_add_str(&x, len > 0 && x.data[len - 1] == '\r' ? "a\r\n" : "\r\n");
		stuff(shelf_buf_span(&x), &sent);
		o = feed(shelf_buf_span(&sent), cuts);
		ck_assert(o.ended);
		ck_assert_uint_eq(o.used, sent.len);
		ck_assert(shelf_span_eq(shelf_buf_span(&o.text), shelf_buf_span(&x)));
		shelf_buf_free(&x);
		shelf_buf_free(&sent);
		shelf_buf_free(&o.text);
	}
}
END_TEST

START_TEST(data_pause)
{
	static const bool whole[32];
	struct outcome o = feed(shelf_span_str("a\r\r\n.\r\n"), whole);

	ck_assert(o.may_end && !o.ended);
	ck_assert_str_eq(shelf_buf_cstr(&o.text), "a\r\r\n");
	shelf_buf_free(&o.text);
	/* Something follows: it was text, and a line has ended. */
	o = feed(shelf_span_str("a\r\r\n.\r\n.\r\n"), whole);
	ck_assert(o.ended);
	ck_assert_str_eq(shelf_buf_cstr(&o.text), "a\r\r\n.\r\n");
	shelf_buf_free(&o.text);
}
END_TEST

Suite *suite_lmtp_data(void);
Suite *
suite_lmtp_data(void)
{
	Suite *suite = suite_create("lmtp_data");
	TCase *tc = tcase_create("data");

	tcase_add_loop_test(tc, data_vectors, 0, (int)(sizeof(rows) / sizeof(*rows)));
	tcase_add_loop_test(tc, data_lookalikes, 0,
	    (int)(sizeof(lookalikes) / sizeof(*lookalikes)));
	tcase_add_test(tc, data_all_short);
	tcase_add_test(tc, data_random_cuts);
	tcase_add_test(tc, data_round_trip);
	tcase_add_test(tc, data_pause);
	suite_add_tcase(suite, tc);
	return suite;
}
