/* test_pop3_stuff.c - messages as multi-line replies; where TOP ends; whatever the cut */
#include <check.h>
#include <stdlib.h>

#include "pop3.h"

static void
collect(void *arg, const void *data, size_t len)
{
	shelf_buf_add(arg, data, len);
}

/* CUT: size of the pieces. TOP: NULL for all. */
static void
reply(struct shelf_span in, size_t cut, const struct pop3_top *top, struct shelf_buf *out)
{
	struct pop3_stuff stuff = {POP3_AT_LINE};
	struct pop3_top t = {0};

	if (top != NULL)
		t = *top;
	for (size_t at = 0; at < in.len && !t.done; at += cut) {
		size_t left = in.len - at;
		struct shelf_span piece = shelf_span(in.data + at, left < cut ? left : cut);

		if (top != NULL)
			piece.len = pop3_top_feed(&t, piece);
		pop3_stuff_feed(&stuff, piece, collect, out);
	}
	pop3_stuff_end(&stuff, collect, out);
}

static const struct {
	const char *in, *want;
} stuff_rows[] = {
    {"", ".\r\n"},
    {"a", "a\r\n.\r\n"},
    {"a\r\n", "a\r\n.\r\n"},
    {"a\n", "a\n\r\n.\r\n"},
    {"a\r", "a\r\r\n.\r\n"},
    {"a\r\r\n", "a\r\r\n.\r\n"},
    {".", "..\r\n.\r\n"},
    {".\r\n", "..\r\n.\r\n"},
    {"..a\r\n", "...a\r\n.\r\n"},
    {"a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
    {"a\r\n.\r\n.\r\n", "a\r\n..\r\n..\r\n.\r\n"},
    {"a\n.\r\n", "a\n.\r\n.\r\n"},
    {"a\r.\r\n", "a\r.\r\n.\r\n"},
    {"a\r\r\n.b", "a\r\r\n..b\r\n.\r\n"},
    {"a\r\n\n.b", "a\r\n\n.b\r\n.\r\n"},
    {"a.b.\r\nc.\r\n", "a.b.\r\nc.\r\n.\r\n"},
};

START_TEST(stuff_vectors)
{
	struct shelf_span in = shelf_span_str(stuff_rows[_i].in);

	for (size_t cut = 1; cut <= in.len + 1; cut++) {
		struct shelf_buf out = {0};

		reply(in, cut, NULL, &out);
		ck_assert_str_eq(shelf_buf_cstr(&out), stuff_rows[_i].want);
		shelf_buf_free(&out);
	}
}
END_TEST

static const struct {
	const char *in;
	uint64_t lines;
	const char *want;
} top_rows[] = {
    {"A: b\r\n\r\n1\r\n2\r\n", 0, "A: b\r\n\r\n.\r\n"},
    {"A: b\r\n\r\n1\r\n2\r\n", 1, "A: b\r\n\r\n1\r\n.\r\n"},
    {"A: b\r\n\r\n1\r\n2\r\n", 2, "A: b\r\n\r\n1\r\n2\r\n.\r\n"},
    {"A: b\r\n\r\n1\r\n2\r\n", UINT64_MAX, "A: b\r\n\r\n1\r\n2\r\n.\r\n"},
    {"A: b\r\n\r\n1\r\n2", 9, "A: b\r\n\r\n1\r\n2\r\n.\r\n"},
    {"A: b\r\n\r\n\r\n\r\n1\r\n", 2, "A: b\r\n\r\n\r\n\r\n.\r\n"},
    {"A: b\r\n\r\n.\r\n2\r\n", 1, "A: b\r\n\r\n..\r\n.\r\n"},
    {"\r\n1\r\n2\r\n", 1, "\r\n1\r\n.\r\n"},
    {"\r\n1\r\n2\r\n", 0, "\r\n.\r\n"},
    {"A: b\r\nC: d\r\n", 3, "A: b\r\nC: d\r\n.\r\n"},
    {"A: b", 0, "A: b\r\n.\r\n"},
    {"", 0, ".\r\n"},
    {"A: b\n\n1\n2\n", 1, "A: b\n\n1\n\r\n.\r\n"},
    {"A: b\r\n \r\n\r\n1\r\n", 0, "A: b\r\n \r\n\r\n.\r\n"},
    {"A\r\r\n\r\n1\r\n", 0, "A\r\r\n\r\n.\r\n"},
    {"A\r\n\r\r\n\r\n1\r\n", 0, "A\r\n\r\r\n\r\n.\r\n"},
};

START_TEST(top_vectors)
{
	struct shelf_span in = shelf_span_str(top_rows[_i].in);

	for (size_t cut = 1; cut <= in.len + 1; cut++) {
		struct pop3_top top = {.lines = top_rows[_i].lines};
		struct shelf_buf out = {0};

		reply(in, cut, &top, &out);
		ck_assert_str_eq(shelf_buf_cstr(&out), top_rows[_i].want);
		shelf_buf_free(&out);
	}
}
END_TEST

/* What a client makes of it: up to the line that is one dot, the doubled dots halved. */
static void
unstuff(const struct shelf_buf *in, struct shelf_buf *out)
{
	size_t i = 0;

	for (;;) {
		bool line = i == 0 || (i >= 2 && memcmp(in->data + i - 2, "\r\n", 2) == 0);

		ck_assert_uint_lt(i, in->len);
		if (line && in->data[i] == '.') {
			if (in->len - i >= 3 && memcmp(in->data + i, ".\r\n", 3) == 0)
				break;
			i++;
		}
		shelf_buf_add_byte(out, in->data[i++]);
	}
	ck_assert_uint_eq(i + 3, in->len);
}

START_TEST(stuff_round_trip)
{
	static const char alphabet[] = "\r\n.\r\n.ab";
	unsigned seed = 3;

	for (unsigned round = 0; round < 20000; round++) {
		struct shelf_buf in = {0}, sent = {0}, got = {0};
		size_t len = (size_t)rand_r(&seed) % 60;

		for (size_t i = 0; i < len; i++)
			shelf_buf_add_byte(&in, (uint8_t)alphabet[(unsigned)rand_r(&seed) % 8]);
		reply(shelf_buf_span(&in), 1 + (size_t)rand_r(&seed) % 10, NULL, &sent);
		unstuff(&sent, &got);
		if (in.len > 0 && (in.len < 2 || memcmp(in.data + in.len - 2, "\r\n", 2) != 0))
			shelf_buf_add_str(&in, "\r\n");
		ck_assert(shelf_span_eq(shelf_buf_span(&got), shelf_buf_span(&in)));
		shelf_buf_free(&in);
		shelf_buf_free(&sent);
		shelf_buf_free(&got);
	}
}
END_TEST

Suite *suite_pop3_stuff(void);
Suite *
suite_pop3_stuff(void)
{
	Suite *suite = suite_create("pop3_stuff");
	TCase *tc = tcase_create("stuff");

	tcase_add_loop_test(tc, stuff_vectors, 0, (int)(sizeof(stuff_rows) / sizeof(*stuff_rows)));
	tcase_add_loop_test(tc, top_vectors, 0, (int)(sizeof(top_rows) / sizeof(*top_rows)));
	tcase_add_test(tc, stuff_round_trip);
	suite_add_tcase(suite, tc);
	return suite;
}
