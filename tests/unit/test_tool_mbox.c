/* test_tool_mbox.c - mbox in its variants, cuts, and input that means harm */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include <mailshelf/mem.h>
#include <mailshelf/message.h>

#include "tool_rig.h"

#define SEP "From a@example.org Mon Jan  5 10:00:00 2026\n"
#define SEPCR "From a@example.org Mon Jan  5 10:00:00 2026\r\n"
#define Z "From mboxrd@z Thu Jan  1 00:00:00 1970\n"

/* Messages in WANT are separated by "|". */
static const struct row {
	const char *what;
	enum source_format format;
	const char *in, *want;
	size_t problems;
} rows[] = {
	{"one", SOURCE_AUTO, SEP "S: 1\n\nx\n\n", "S: 1\r\n\r\nx\r\n", 0},
	{"two", SOURCE_AUTO, SEP "S: 1\n\nx\n\n" Z "S: 2\n\ny\n\n",
	    "S: 1\r\n\r\nx\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"no empty line at the end", SOURCE_AUTO, SEP "S: 1\n\nx\n", "S: 1\r\n\r\nx\r\n", 0},
	{"no line end at the end", SOURCE_AUTO, SEP "S: 1\n\nx", "S: 1\r\n\r\nx", 0},
	{"empty lines of the body stay", SOURCE_AUTO, SEP "S: 1\n\n\n\nx\n\n\n\n" SEP "S: 2\n\n\n",
	    "S: 1\r\n\r\n\r\n\r\nx\r\n\r\n\r\n|S: 2\r\n\r\n", 0},
	{"header only", SOURCE_AUTO, SEP "S: 1\n\n" SEP "S: 2\n\n", "S: 1\r\n|S: 2\r\n", 0},
	{"body empty", SOURCE_AUTO, SEP "S: 1\n\n\n" SEP "S: 2\n\n\n",
	    "S: 1\r\n\r\n|S: 2\r\n\r\n", 0},
	{"From in a paragraph", SOURCE_AUTO, SEP "S: 1\n\nx\nFrom a Mon Jan  5 10:00:00 2026\ny\n",
	    "S: 1\r\n\r\nx\r\nFrom a Mon Jan  5 10:00:00 2026\r\ny\r\n", 0},
	{"From without a date", SOURCE_AUTO, SEP "S: 1\n\nx\n\nFrom here on\n\nFrom now\n",
	    "S: 1\r\n\r\nx\r\n\r\nFrom here on\r\n\r\nFrom now\r\n", 0},
	{"leading empty lines", SOURCE_AUTO, "\n\n" SEP "S: 1\n\nx\n", "S: 1\r\n\r\nx\r\n", 0},
	{"garbage first", SOURCE_AUTO, "garbage\nmore\n\n" SEP "S: 1\n\nx\n", "S: 1\r\n\r\nx\r\n", 1},
	{"a separator needs an empty line before it", SOURCE_MBOX, "garbage\n" SEP "S: 1\n\nx\n", "", 1},
	{"only garbage", SOURCE_MBOX, "Subject: no mbox\n\nx\n", "", 1},
	{"nothing", SOURCE_MBOX, "", "", 0},
	{"only empty lines", SOURCE_MBOX, "\n\n\n", "", 0},
	{"an empty message", SOURCE_AUTO, SEP "\n" SEP "S: 2\n\ny\n\n", "S: 2\r\n\r\ny\r\n", 1},
	{"a separator at the end", SOURCE_AUTO, SEP "S: 1\n\nx\n\n" SEP, "S: 1\r\n\r\nx\r\n", 1},
	{"CRLF", SOURCE_AUTO, SEPCR "S: 1\r\n\r\nx\r\n\r\n" SEPCR "S: 2\r\n\r\ny\r\n\r\n",
	    "S: 1\r\n\r\nx\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"mixed line ends", SOURCE_AUTO, SEP "S: 1\r\n\nx\r\ny\r\r\nz\rw\n\n",
	    "S: 1\r\n\r\nx\r\ny\r\r\nz\rw\r\n", 0},
	/* separators without a date */
	{"bare, as the file begins", SOURCE_AUTO,
	    "From -\nS: 1\n\nx\n\nFrom 12@xxx\nS: 2\n\ny\n\n" SEP "S: 3\n\nz\n",
	    "S: 1\r\n\r\nx\r\n|S: 2\r\n\r\ny\r\n|S: 3\r\n\r\nz\r\n", 0},
	{"bare, but no header behind it", SOURCE_AUTO, "From - \nS: 1\n\nx\n\nFrom a@b\nwith love\n",
	    "S: 1\r\n\r\nx\r\n\r\nFrom a@b\r\nwith love\r\n", 0},
	{"bare, but not how the file begins", SOURCE_AUTO, SEP "S: 1\n\nx\n\nFrom -\nS: 2\n\ny\n",
	    "S: 1\r\n\r\nx\r\n\r\nFrom -\r\nS: 2\r\n\r\ny\r\n", 0},
	{"bare, and a length that hides one", SOURCE_AUTO,
	    "From -\nContent-Length: 15\n\nx\n\nFrom -\nA: b\n\nFrom -\nS: 2\n\ny\n",
	    "Content-Length: 15\r\n\r\nx\r\n\r\nFrom -\r\nA: b\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"a byte order mark", SOURCE_AUTO, "\xef\xbb\xbf" SEP "S: 1\n\nx\n", "S: 1\r\n\r\nx\r\n", 0},
	/* quoting */
	{"rd unquotes one level", SOURCE_AUTO, SEP ">From: a\n\n>From x\n>>From y\n>>>From z\n> From\n",
	    ">From: a\r\n\r\nFrom x\r\n>From y\r\n>>From z\r\n> From\r\n", 0},
	{"rd, asked for", SOURCE_MBOXRD, SEP "S: 1\n\n>From x\n>>From y\n",
	    "S: 1\r\n\r\nFrom x\r\n>From y\r\n", 0},
	{"o unquotes the first level only", SOURCE_MBOXO, SEP "S: 1\n\n>From x\n>>From y\n",
	    "S: 1\r\n\r\nFrom x\r\n>>From y\r\n", 0},
	{"in the header too", SOURCE_AUTO, SEP ">From a\nS: 1\n\nx\n", "From a\r\nS: 1\r\n\r\nx\r\n", 0},
	{"cl2 quotes nothing", SOURCE_MBOXCL2, SEP "S: 1\n\n>From x\n", "S: 1\r\n\r\n>From x\r\n", 0},
	/* Content-Length */
	{"length hides separators", SOURCE_AUTO,
	    SEP "Content-Length: 49\n\nx\n\n" SEP "\n\n\n" SEP "S: 2\n\ny\n\n",
	    "Content-Length: 49\r\n\r\nx\r\n\r\nFrom a@example.org Mon Jan  5 10:00:00 2026\r\n\r\n\r\n|"
	    "S: 2\r\n\r\ny\r\n", 0},
	{"cl unquotes", SOURCE_MBOXCL, SEP "Content-Length: 8\n\n>From x\n\n" SEP "S: 2\n\ny\n\n",
	    "Content-Length: 8\r\n\r\nFrom x\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"auto with a length that holds: nothing was quoted", SOURCE_AUTO,
	    SEP "Content-Length: 8\n\n>From x\n\n" SEP "S: 2\n\ny\n\n",
	    "Content-Length: 8\r\n\r\n>From x\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"rd ignores the length", SOURCE_MBOXRD, SEP "Content-Length: 8\n\n>From x\n\n",
	    "Content-Length: 8\r\n\r\nFrom x\r\n", 0},
	{"too short a length", SOURCE_MBOXCL2, SEP "Content-Length: 1\n\nxyz\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 1\r\n\r\nxyz\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"too long a length", SOURCE_MBOXCL2, SEP "Content-Length: 9\n\nxyz\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 9\r\n\r\nxyz\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"a length beyond the end", SOURCE_AUTO, SEP "Content-Length: 9999999999\n\nxyz\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 9999999999\r\n\r\nxyz\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"a length larger than numbers", SOURCE_AUTO,
	    SEP "Content-Length: 99999999999999999999999\n\nxyz\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 99999999999999999999999\r\n\r\nxyz\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"a huge length asked for is believed, to the end of the file", SOURCE_MBOXCL2,
	    SEP "Content-Length: 9000000000000000000\n\nxyz\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 9000000000000000000\r\n\r\nxyz\r\n\r\n"
	    "From a@example.org Mon Jan  5 10:00:00 2026\r\nS: 2\r\n\r\ny\r\n", 0},
	{"two lengths", SOURCE_AUTO,
	    SEP "Content-Length: 2\nContent-Length: 3\n\nx\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 2\r\nContent-Length: 3\r\n\r\nx\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"not a number", SOURCE_AUTO, SEP "Content-Length: -2\n\nx\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: -2\r\n\r\nx\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"length 0", SOURCE_AUTO, SEP "Content-Length: 0\n\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 0\r\n\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"length 0, no empty line", SOURCE_AUTO, SEP "Content-Length: 0\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 0\r\n\r\n|S: 2\r\n\r\ny\r\n", 0},
	{"a body that ends in a line", SOURCE_MBOXCL2, SEP "Content-Length: 3\n\nxyz\n\n" SEP "S: 2\n\ny\n",
	    "Content-Length: 3\r\n\r\nxyz|S: 2\r\n\r\ny\r\n", 0},
	{"the last body", SOURCE_MBOXCL2, SEP "Content-Length: 4\n\nxyz\n\n",
	    "Content-Length: 4\r\n\r\nxyz\r\n", 0},
};

START_TEST(vectors)
{
	const struct row *row = &rows[_i];
	struct tool_rig *r = tool_rig();
	const char *want = row->want;
	size_t i;

	tool_rig_file(r, "m", row->in, strlen(row->in));
	ck_assert_int_eq(tool_rig_mbox(r, "m", row->format), 0);
	for (i = 0; *want != '\0'; i++) {
		size_t len = strcspn(want, "|");

		ck_assert_msg(tool_rig_is(r, i, want, len), "%s: message %zu of %zu is '%s'", row->what, i,
		    r->n, i < r->n ? r->messages[i].bytes : "");
		want += len + (want[len] == '|');
	}
	ck_assert_msg(r->n == i, "%s: %zu messages", row->what, r->n);
	ck_assert_msg(r->problems == row->problems, "%s: %zu problems, %s", row->what, r->problems,
	    r->last_problem);
	ck_assert_uint_eq(r->advanced, strlen(row->in));
	tool_rig_end(r);
}
END_TEST

START_TEST(problems_name_the_place)
{
	struct tool_rig *r = tool_rig();
	const char garbage[] = "garbage\n\n" SEP "S: 1\n\nx\n";
	const char empty[] = SEP "S: 1\n\nx\n\n" SEP "\n" SEP "S: 3\n\nz\n";
	char want[64];

	tool_rig_file(r, "m", garbage, sizeof garbage - 1);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_str_eq(r->last_problem, "m@0: 9 bytes before the first \"From \" line");
	tool_rig_clear(r);
	tool_rig_file(r, "m", empty, sizeof empty - 1);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	snprintf(want, sizeof want, "m@%zu: empty message", strlen(SEP "S: 1\n\nx\n\n"));
	ck_assert_str_eq(r->last_problem, want);
	ck_assert_uint_eq(r->n, 2);
	tool_rig_end(r);
}
END_TEST

START_TEST(nul_bytes_stay)
{
	static const char in[] = SEP "S: \0\n\na\0b\n\0\n\n", want[] = "S: \0\r\n\r\na\0b\r\n\0\r\n";
	struct tool_rig *r = tool_rig();

	tool_rig_file(r, "m", in, sizeof in - 1);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 1);
	ck_assert(tool_rig_is(r, 0, want, sizeof want - 1));
	tool_rig_end(r);
}
END_TEST

/* ---- Dates and flags ------------------------------------------------------------------------------ */

static const struct {
	const char *in;
	int64_t date_s;
	int zone_min;
	uint32_t flags;
	const char *keywords;
} metas[] = {
	{SEP "Date: Tue, 6 Jan 2026 12:00:00 +0100\n\nx\n", 1767607200, 0, 0, ""},
	{"From a@b Mon Jan  5 10:00:00 +0200 2026\nS: 1\n\nx\n", 1767600000, 120, 0, ""},
	{"From a@b Mon Jan  5 10:00:00 2026 -0500\nS: 1\n\nx\n", 1767625200, -300, 0, ""},
	{Z "Date: Tue, 6 Jan 2026 12:00:00 +0100\n\nx\n", 1767697200, 60, 0, ""},
	{Z "Received: from x by y; Wed, 7 Jan 2026 00:00:00 -0100\nReceived: from z;\n Tue, 6 Jan 2026 "
	   "00:00:00 +0000\nDate: Mon, 5 Jan 2026 12:00:00 +0100\n\nx\n", 1767747600, -60, 0, ""},
	{"From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nDate: Tue, 6 Jan 2026 "
	 "12:00:00 +0100\n\nx\n", 1767697200, 60, 0, ""},
	{SEP "Status: RO\nX-Status: AF\n\nx\n", 1767607200, 0,
	    SHELF_SEEN | SHELF_ANSWERED | SHELF_FLAGGED, ""},
	{SEP "Status: O\nX-Status: DT\n\nx\n", 1767607200, 0, SHELF_DELETED | SHELF_DRAFT, ""},
	{SEP "Status: DAFT\n\nx\n", 1767607200, 0, 0, ""},
	{SEP "X-Keywords: $Label1 Work   (bad) two  \n\nx\n", 1767607200, 0, 0, "$Label1 Work bad two"},
	{SEP "S: 1\n\nStatus: RO\nX-Keywords: body\n", 1767607200, 0, 0, ""},
};

START_TEST(meta)
{
	struct tool_rig *r = tool_rig();

	tool_rig_file(r, "m", metas[_i].in, strlen(metas[_i].in));
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 1);
	ck_assert_int_eq(r->messages[0].date_s, metas[_i].date_s);
	ck_assert_int_eq(r->messages[0].zone_min, metas[_i].zone_min);
	ck_assert_uint_eq(r->messages[0].flags, metas[_i].flags);
	ck_assert_str_eq(r->messages[0].keywords, metas[_i].keywords);
	tool_rig_end(r);
}
END_TEST

START_TEST(without_any_date_the_file_time)
{
	struct tool_rig *r = tool_rig();
	const char in[] = Z "S: 1\n\nx\n";

	tool_rig_file(r, "m", in, sizeof in - 1);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_int_le(llabs(r->messages[0].date_s - shelf_now_s()), 60);
	tool_rig_end(r);
}
END_TEST

/* ---- Sizes ---------------------------------------------------------------------------------------- */

/* Messages of every size around the reader's buffers: nothing may depend on where they end. */
START_TEST(any_cut)
{
	static const size_t sizes[] = {65530, 65536, 131000, 131072, 131073, 262144};
	struct tool_rig *r = tool_rig();
	size_t base = sizes[_i];

	for (size_t size = base - 60; size < base + 60; size += 7) {
		struct shelf_buf in = {0}, want = {0};

		shelf_buf_add_str(&in, SEP "S: 1\n\n");
		shelf_buf_add_str(&want, "S: 1\r\n\r\n");
		for (size_t i = 0; i < size; i++)
			shelf_buf_add_byte(&in, i % 61 == 60 ? '\n' : 'x');
		for (size_t i = 0; i < size; i++)
			shelf_buf_add_str(&want, i % 61 == 60 ? "\r\n" : "x");
		shelf_buf_add_str(&in, "\n\n" SEP "S: 2\n\n>From y\n\n");
		shelf_buf_add_str(&want, "\r\n");
		tool_rig_file(r, "m", in.data, in.len);
		ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
		ck_assert_uint_eq(r->n, 2);
		ck_assert(tool_rig_is(r, 0, want.data, want.len));
		ck_assert(tool_rig_is(r, 1, "S: 2\r\n\r\nFrom y\r\n", 16));
		tool_rig_clear(r);
		shelf_buf_free(&in);
		shelf_buf_free(&want);
	}
	tool_rig_end(r);
}
END_TEST

START_TEST(one_endless_line)
{
	struct tool_rig *r = tool_rig();
	struct shelf_buf in = {0};

	shelf_buf_add_str(&in, SEP "S: 1\n\n");
	for (size_t i = 0; i < 5 << 20; i++)
		shelf_buf_add_byte(&in, '>');
	shelf_buf_add_str(&in, "From \n\n" SEP "S: 2\n\ny\n");
	tool_rig_file(r, "m", in.data, in.len);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 2);
	ck_assert_uint_eq(r->messages[0].len, (5 << 20) + 15);
	shelf_buf_free(&in);
	tool_rig_end(r);
}
END_TEST

/* Each message claims a length that makes the reader look far ahead. */
START_TEST(lengths_that_lie_cost_little)
{
	static const char one[] = SEP "Content-Length: 60000000\n\nx\n\n";
	struct tool_rig *r = tool_rig();
	struct shelf_buf in = {0};

	while (in.len < 8 << 20)
		shelf_buf_add(&in, one, sizeof one - 1);
	in.len = 4000 * (sizeof one - 1);
	for (size_t i = 0; i < 8 << 20; i++)
		shelf_buf_add_byte(&in, '\n');
	tool_rig_file(r, "m", in.data, in.len);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 4000);
	shelf_buf_free(&in);
	tool_rig_end(r);
}
END_TEST

struct feeder {
	int fd;
	const char *bytes;
	size_t len;
};

static void *
feed(void *arg)
{
	struct feeder *f = arg;

	for (size_t i = 0; i < f->len; i++)
		ck_assert_int_eq(write(f->fd, f->bytes + i, 1), 1);
	close(f->fd);
	return NULL;
}

START_TEST(byte_by_byte_from_stdin)
{
	static const char in[] = SEP "Content-Length: 8\n\n>From x\n\n" SEP "S: 2\n\n>From y\n\nlast";
	struct tool_rig *r = tool_rig();
	struct feeder f = {.bytes = in, .len = sizeof in - 1};
	struct source_plan *plan = NULL;
	pthread_t thread;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
	f.fd = fds[1];
	ck_assert_int_eq(pthread_create(&thread, NULL, feed, &f), 0);
	ck_assert_int_eq(source_plan_new("-", SOURCE_AUTO, &r->sink, &plan), 0);
	ck_assert_int_eq(source_run(plan, &r->sink), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(r->n, 2);
	ck_assert(tool_rig_is(r, 0, "Content-Length: 8\r\n\r\n>From x\r\n", 30));
	ck_assert(tool_rig_is(r, 1, "S: 2\r\n\r\nFrom y\r\n\r\nlast", 22));
	source_plan_free(&plan);
	tool_rig_end(r);
}
END_TEST

/* ---- Random input --------------------------------------------------------------------------------- */

static const char *const bits[] = {"From ", ">", "\n", "\n\n", "\r\n", "\r", "x", " ", SEP, SEPCR, Z,
    "Content-Length: ", "3", "70", "\nStatus: RO\n", "From a Mon Jan  5 10:00:00 2026", "\0", ":",
    "Subject: word\n", "X-Keywords: a b\n"};

static void
add_bits(struct shelf_buf *b, unsigned *seed, int n)
{
	for (int i = 0; i < n; i++) {
		const char *bit = bits[(size_t)rand_r(seed) % (sizeof bits / sizeof *bits)];

		shelf_buf_add(b, bit, *bit == '\0' ? 1 : strlen(bit));
	}
}

/* Whatever it is, every variant ends, and no byte is made up: CRs and one byte of slack a message. */
START_TEST(random_input_ends)
{
	struct tool_rig *r = tool_rig();
	unsigned seed = 4711 + (unsigned)_i;

	for (int round = 0; round < 150; round++) {
		enum source_format format = (enum source_format)(round % 6);
		struct shelf_buf in = {0};
		size_t out = 0;

		if (round % 2 == 0)
			shelf_buf_add_str(&in, SEP);
		add_bits(&in, &seed, 1 + rand_r(&seed) % 200);
		tool_rig_file(r, "m", in.data, in.len);
		ck_assert_int_eq(tool_rig_mbox(r, "m", format), 0);
		ck_assert(!r->is_open);
		for (size_t i = 0; i < r->n; i++)
			out += r->messages[i].len;
		ck_assert_uint_le(out, 2 * in.len);
		ck_assert_uint_eq(r->advanced, in.len);
		tool_rig_clear(r);
		shelf_buf_free(&in);
	}
	tool_rig_end(r);
}
END_TEST

/* What is written as the format says comes back, whatever the messages hold. */
START_TEST(what_is_quoted_comes_back)
{
	struct tool_rig *r = tool_rig();
	unsigned seed = 815 + (unsigned)_i;

	for (int round = 0; round < 60; round++) {
		struct shelf_buf in = {0}, want[8] = {{0}};
		size_t n = 1 + (size_t)rand_r(&seed) % 8;

		for (size_t i = 0; i < n; i++) {
			struct shelf_buf text = {0};
			bool start = true;

			shelf_buf_add_str(&text, "S: 1\n\n");
			add_bits(&text, &seed, rand_r(&seed) % 60);
			shelf_buf_add_byte(&text, '\n');
			shelf_buf_add_str(&in, SEP);
			for (size_t at = 0; at < text.len; at++) {
				const uint8_t *p = text.data + at;
				size_t quotes = 0;

				while (start && at + quotes < text.len && p[quotes] == '>')
					quotes++;
				if (start && text.len - at - quotes >= 5 && memcmp(p + quotes, "From ", 5) == 0)
					shelf_buf_add_byte(&in, '>');
				shelf_buf_add_byte(&in, *p);
				start = *p == '\n';
				if (*p == '\n' && (at == 0 || p[-1] != '\r'))
					shelf_buf_add_byte(&want[i], '\r');
				shelf_buf_add_byte(&want[i], *p);
			}
			shelf_buf_add_byte(&in, '\n');
			shelf_buf_free(&text);
		}
		tool_rig_file(r, "m", in.data, in.len);
		ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_MBOXRD), 0);
		ck_assert_uint_eq(r->n, n);
		for (size_t i = 0; i < n; i++) {
			ck_assert(tool_rig_is(r, i, want[i].data, want[i].len));
			shelf_buf_free(&want[i]);
		}
		tool_rig_clear(r);
		shelf_buf_free(&in);
	}
	tool_rig_end(r);
}
END_TEST

START_TEST(the_sink_can_stop_it)
{
	static const char in[] = SEP "S: 1\n\nx\n\n" SEP "S: 2\n\ny\n\n" SEP "S: 3\n\nz\n\n";
	struct tool_rig *r = tool_rig();

	r->stop_after = 2;
	tool_rig_file(r, "m", in, sizeof in - 1);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 77);
	ck_assert_uint_eq(r->n, 2);
	tool_rig_end(r);
}
END_TEST

Suite *suite_tool_mbox(void);
Suite *
suite_tool_mbox(void)
{
	Suite *s = suite_create("tool_mbox");
	TCase *tc = tcase_create("mbox");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, vectors, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, problems_name_the_place);
	tcase_add_test(tc, nul_bytes_stay);
	tcase_add_loop_test(tc, meta, 0, (int)(sizeof metas / sizeof *metas));
	tcase_add_test(tc, without_any_date_the_file_time);
	tcase_add_loop_test(tc, any_cut, 0, 6);
	tcase_add_test(tc, one_endless_line);
	tcase_add_test(tc, lengths_that_lie_cost_little);
	tcase_add_test(tc, byte_by_byte_from_stdin);
	tcase_add_loop_test(tc, random_input_ends, 0, 8);
	tcase_add_loop_test(tc, what_is_quoted_comes_back, 0, 8);
	tcase_add_test(tc, the_sink_can_stop_it);
	suite_add_tcase(s, tc);
	return s;
}
