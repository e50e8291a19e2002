/* test_tool_input.c - packed files: whole ones, cut ones, damaged ones */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <zlib.h>
#include <zstd.h>

#include <mailshelf/mem.h>

#include "tool_rig.h"

#define SEP "From a@example.org Mon Jan  5 10:00:00 2026\n"
static const char mbox[] = SEP "S: 1\n\nfirst\n\n" SEP "S: 2\n\nsecond\n\n" SEP "S: 3\n\nthird\n\n";

static void
gzip(struct shelf_buf *out, const void *data, size_t len)
{
	z_stream z = {0};

	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	z.next_out = shelf_buf_reserve(out, len + 1024);
	z.avail_out = (uInt)len + 1024;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len += z.total_out;
	deflateEnd(&z);
}

static void
zstd(struct shelf_buf *out, const void *data, size_t len)
{
	size_t bound = ZSTD_compressBound(len), n;

	n = ZSTD_compress(shelf_buf_reserve(out, bound), bound, data, len, 3);
	ck_assert(!ZSTD_isError(n));
	out->len += n;
}

typedef void pack_fn(struct shelf_buf *out, const void *data, size_t len);
static pack_fn *const packers[] = {gzip, zstd};

START_TEST(packed_is_unpacked)
{
	struct tool_rig *r = tool_rig();
	struct shelf_buf b = {0};

	packers[_i](&b, mbox, sizeof mbox - 1);
	tool_rig_file(r, "named.anything", b.data, b.len);
	ck_assert_int_eq(tool_rig_run(r, "named.anything", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 3);
	ck_assert_uint_eq(r->problems, 0);
	ck_assert_uint_eq(r->advanced, b.len);
	ck_assert(tool_rig_is(r, 2, "S: 3\r\n\r\nthird\r\n", 15));
	shelf_buf_free(&b);
	tool_rig_end(r);
}
END_TEST

START_TEST(several_parts_are_one_file)
{
	struct tool_rig *r = tool_rig();
	struct shelf_buf b = {0};

	for (size_t at = 0; at < sizeof mbox - 1; at += 20) {
		size_t left = sizeof mbox - 1 - at;

		packers[_i](&b, mbox + at, left < 20 ? left : 20);
	}
	packers[_i](&b, "", 0);
	tool_rig_file(r, "m", b.data, b.len);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 3);
	ck_assert_uint_eq(r->problems, 0);
	shelf_buf_free(&b);
	tool_rig_end(r);
}
END_TEST

START_TEST(cut_anywhere_is_noticed)
{
	struct tool_rig *r = tool_rig();
	struct shelf_buf b = {0};

	packers[_i](&b, mbox, sizeof mbox - 1);
	for (size_t len = 4; len < b.len; len++) {
		tool_rig_file(r, "m", b.data, len);
		ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
		/* The message that was cut is not taken, and it is said once. */
		ck_assert_msg(r->problems == 1, "%zu problems with %zu bytes", r->problems, len);
		ck_assert_uint_lt(r->n, 3);
		ck_assert_ptr_nonnull(strstr(r->last_problem, "cut short"));
		tool_rig_clear(r);
	}
	shelf_buf_free(&b);
	tool_rig_end(r);
}
END_TEST

START_TEST(damage_anywhere_does_no_harm)
{
	struct tool_rig *r = tool_rig();
	struct shelf_buf b = {0};

	packers[_i](&b, mbox, sizeof mbox - 1);
	for (size_t at = 0; at < b.len; at++) {
		b.data[at] ^= 0x55;
		tool_rig_file(r, "m", b.data, b.len);
		ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
		ck_assert(!r->is_open);
		tool_rig_clear(r);
		b.data[at] ^= 0x55;
	}
	shelf_buf_free(&b);
	tool_rig_end(r);
}
END_TEST

START_TEST(what_follows_is_named)
{
	struct tool_rig *r = tool_rig();
	struct shelf_buf b = {0};

	packers[_i](&b, mbox, sizeof mbox - 1);
	shelf_buf_add_str(&b, "this is not packed");
	tool_rig_file(r, "m", b.data, b.len);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 3);
	ck_assert_uint_eq(r->problems, 1);
	ck_assert_ptr_nonnull(strstr(r->last_problem, "behind the packed data"));
	shelf_buf_free(&b);
	tool_rig_end(r);
}
END_TEST

START_TEST(zeros_behind_gzip_are_padding)
{
	static const uint8_t zeros[700];
	struct tool_rig *r = tool_rig();
	struct shelf_buf b = {0};

	gzip(&b, mbox, sizeof mbox - 1);
	shelf_buf_add(&b, zeros, sizeof zeros);
	tool_rig_file(r, "m", b.data, b.len);
	ck_assert_int_eq(tool_rig_mbox(r, "m", SOURCE_AUTO), 0);
	ck_assert_uint_eq(r->n, 3);
	ck_assert_uint_eq(r->problems, 0);
	shelf_buf_free(&b);
	tool_rig_end(r);
}
END_TEST

/* 64 MiB of one line from a few KiB: streamed, never held. */
START_TEST(a_bomb_is_a_long_message)
{
	struct tool_rig *r = tool_rig();
	struct shelf_buf b = {0}, text = {0};
	const char *why = NULL;
	struct source_input *in;
	static char buf[65536];
	uint64_t total = 0;
	ptrdiff_t n;

	memset(shelf_buf_reserve(&text, 64 << 20), 'a', 64 << 20);
	packers[_i](&b, text.data, 64 << 20);
	shelf_buf_free(&text);
	in = source_input_open(tool_rig_file(r, "m", b.data, b.len), 0, &why);
	ck_assert_ptr_nonnull(in);
	while ((n = source_input_read(in, buf, sizeof buf)) > 0)
		total += (uint64_t)n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(total, 64 << 20);
	source_input_close(&in);
	shelf_buf_free(&b);
	tool_rig_end(r);
}
END_TEST

START_TEST(what_cannot_be_opened)
{
	struct tool_rig *r = tool_rig();
	char path[128];
	const char *why = NULL;

	snprintf(path, sizeof path, "%s/none", r->dir);
	ck_assert_ptr_null(source_input_open(path, 0, &why));
	ck_assert_str_eq(why, "does not exist");
	ck_assert_ptr_null(source_input_open(r->dir, 0, &why));
	ck_assert_str_eq(why, "is not a regular file");
	/* A FIFO must not hang. */
	snprintf(path, sizeof path, "%s/fifo", r->dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_ptr_null(source_input_open(path, 0, &why));
	ck_assert_str_eq(why, "is not a regular file");
	snprintf(path, sizeof path, "%s/link", r->dir);
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	ck_assert_ptr_null(source_input_open(path, SOURCE_NOFOLLOW, &why));
	ck_assert_str_eq(why, "is a symbolic link");
	tool_rig_end(r);
}
END_TEST

Suite *suite_tool_input(void);
Suite *
suite_tool_input(void)
{
	Suite *s = suite_create("tool_input");
	TCase *tc = tcase_create("input");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, packed_is_unpacked, 0, 2);
	tcase_add_loop_test(tc, several_parts_are_one_file, 0, 2);
	tcase_add_loop_test(tc, cut_anywhere_is_noticed, 0, 2);
	tcase_add_loop_test(tc, damage_anywhere_does_no_harm, 0, 2);
	tcase_add_loop_test(tc, what_follows_is_named, 0, 2);
	tcase_add_test(tc, zeros_behind_gzip_are_padding);
	tcase_add_loop_test(tc, a_bomb_is_a_long_message, 0, 2);
	tcase_add_test(tc, what_cannot_be_opened);
	suite_add_tcase(s, tc);
	return s;
}
