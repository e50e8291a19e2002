/* test_tool_args.c - options of the verbs, values, exit statuses, what is printed */
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include "tools.h"

static const struct tool_verb verb = {"test", NULL, "ARGS", "a test", ""};

enum { ARGV_MAX = 32 };
struct call {
	struct tool t;
	char *argv[ARGV_MAX + 1];
	bool flag;
	const char *text;
	struct tool_number size, count, onoff;
	int rc;
};

/* What stderr gets is not of interest here. */
static void
quiet(void)
{
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
}

/* WORDS separated by blanks. */
static void
call(struct call *c, const char *words, int min, int max)
{
	const struct tool_option options[] = {{"flag", TOOL_FLAG, &c->flag}, {"text", TOOL_TEXT, &c->text},
	    {"size", TOOL_SIZE, &c->size}, {"count", TOOL_COUNT, &c->count},
	    {"onoff", TOOL_ONOFF, &c->onoff}, {0}};
	static char buf[256];
	char *save = NULL;

	*c = (struct call){.t = {.verb = &verb, .argv = c->argv}};
	snprintf(buf, sizeof buf, "%s", words);
	for (char *p = strtok_r(buf, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save))
		c->argv[c->t.argc++] = p;
	c->rc = tool_args(&c->t, options, min, max);
}

START_TEST(options_stand_anywhere)
{
	struct call c;

	call(&c, "a --flag b --text word --size=10K --json -s dir --count 7 --onoff no c", 3, 3);
	ck_assert_int_eq(c.rc, 0);
	ck_assert_int_eq(c.t.argc, 3);
	ck_assert_str_eq(c.t.argv[0], "a");
	ck_assert_str_eq(c.t.argv[2], "c");
	ck_assert(c.flag && c.t.json && c.onoff.given && c.onoff.value == 0);
	ck_assert_str_eq(c.text, "word");
	ck_assert_str_eq(c.t.store_dir, "dir");
	ck_assert_uint_eq(c.size.value, 10240);
	ck_assert_uint_eq(c.count.value, 7);
	call(&c, "-- --flag -x", 2, 2);
	ck_assert_int_eq(c.rc, 0);
	ck_assert(!c.flag);
	ck_assert_str_eq(c.t.argv[1], "-x");
	call(&c, "- --size none", 1, 1);
	ck_assert_int_eq(c.rc, 0);
	ck_assert(c.size.given && c.size.value == 0);
	ck_assert_str_eq(c.t.argv[0], "-");
}
END_TEST

static const char *const wrong[] = {"--other", "--flag=1", "--text", "--size", "--size x", "--size -1",
    "--size 0", "--count 0", "--count 1K", "--count 99999999999999999999999", "--onoff maybe", "-x",
    "--fla", "--flagg", "-s", "--", "a b c d", "--size 99999999999999999999999G"};

START_TEST(wrong_ones_are_refused)
{
	struct call c;

	quiet();
	call(&c, wrong[_i], 1, 3);
	ck_assert_msg(c.rc == EX_USAGE, "%s", wrong[_i]);
}
END_TEST

START_TEST(durations)
{
	static const struct {
		const char *text;
		uint32_t s;
	} rows[] = {{"14d", 1209600}, {"36h", 129600}, {"90m", 5400}, {"10s", 10}, {"2w", 1209600},
	    {"none", UINT32_MAX}, {"49710d", 4294944000u}, {"0d", 0}, {"d", 0}, {"", 0}, {"14", 0},
	    {"-1d", 0}, {"1.5d", 0}, {"49711d", 0}, {"99999999999d", 0}, {"1dd", 0}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint32_t s = 0;
		bool ok = tool_duration(rows[i].text, &s);

		ck_assert_msg(ok == (rows[i].s != 0) && (!ok || s == rows[i].s), "%s", rows[i].text);
	}
}
END_TEST

START_TEST(special_uses)
{
	char text[96];
	unsigned use = 0;

	ck_assert(tool_special_use("\\Sent", &use) && use == SHELF_USE_SENT);
	ck_assert(tool_special_use("trash", &use) && use == SHELF_USE_TRASH);
	ck_assert(!tool_special_use("", &use));
	ck_assert(!tool_special_use("\\", &use));
	ck_assert(!tool_special_use("Inbox", &use));
	ck_assert_str_eq(tool_special_use_text(0, text, sizeof text), "");
	ck_assert_str_eq(tool_special_use_text(SHELF_USE_SENT | SHELF_USE_ALL, text, sizeof text),
	    "\\All \\Sent");
	ck_assert_str_eq(tool_special_use_text(127, text, sizeof text),
	    "\\All \\Archive \\Drafts \\Flagged \\Junk \\Sent \\Trash");
}
END_TEST

/* Every error has a status of sysexits.h, success none. */
START_TEST(every_error_has_a_status)
{
#define SHELF_ERROR(name, number, class, text) \
	ck_assert_int_ge(tool_exit_of(SHELF_E##name), EX__BASE); \
	ck_assert_int_le(tool_exit_of(SHELF_E##name), EX__MAX);
#include <mailshelf/err.def>
#undef SHELF_ERROR
	ck_assert_int_eq(tool_exit_of(0), EX_OK);
	ck_assert_int_eq(tool_exit_of(-9999), EX_SOFTWARE);
	ck_assert_int_eq(tool_exit_of(SHELF_ENOACCOUNT), EX_NOUSER);
	ck_assert_int_eq(tool_exit_of(SHELF_EQUOTA), EX_CANTCREAT);
}
END_TEST

/* What tool_say writes for TEXT, by way of a file. */
static const char *
said(const char *text)
{
	static char out[256];
	struct tool t = {.verb = &verb};
	char path[] = "/tmp/said.XXXXXX";
	int fd = mkstemp(path);
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_nonnull(freopen(path, "w", stderr));
	tool_say(&t, "%s", text);
	fflush(stderr);
	n = read(fd, out, sizeof out - 1);
	ck_assert_int_ge(n, 0);
	out[n] = '\0';
	close(fd);
	unlink(path);
	return out;
}

START_TEST(nothing_speaks_to_the_terminal)
{
	ck_assert_str_eq(said("a\x1b[2Jb\nc"), "mailshelf: test: a\\x1b[2Jb\\x0ac\n");
	ck_assert_str_eq(said("\xc2\x9b" "31m"), "mailshelf: test: \\xc2\\x9b31m\n");
	ck_assert_str_eq(said("\xff\xfe"), "mailshelf: test: \\xff\\xfe\n");
	ck_assert_str_eq(said("gr\xc3\xbc\xc3\x9f"), "mailshelf: test: gr\xc3\xbc\xc3\x9f\n");
}
END_TEST

START_TEST(json_commas)
{
	struct shelf_buf b = {0};

	shelf_buf_add_byte(&b, '{');
	tool_json_u64(&b, "a", 1);
	tool_json_str(&b, "b", shelf_span_str("x\"\n"));
	tool_json_bool(&b, "c", true);
	shelf_buf_add_byte(&b, '}');
	ck_assert_str_eq(shelf_buf_cstr(&b), "{\"a\":1,\"b\":\"x\\\"\\n\",\"c\":true}");
	shelf_buf_free(&b);
}
END_TEST

START_TEST(times)
{
	char buf[32];

	ck_assert_str_eq(tool_time_text(0, buf), "1970-01-01 00:00:00");
	ck_assert_str_eq(tool_time_text(1767607200, buf), "2026-01-05 10:00:00");
	ck_assert_str_eq(tool_time_text(-1, buf), "1969-12-31 23:59:59");
}
END_TEST

Suite *suite_tool_args(void);
Suite *
suite_tool_args(void)
{
	Suite *s = suite_create("tool_args");
	TCase *tc = tcase_create("args");

	tcase_add_test(tc, options_stand_anywhere);
	tcase_add_loop_test(tc, wrong_ones_are_refused, 0, (int)(sizeof wrong / sizeof *wrong));
	tcase_add_test(tc, durations);
	tcase_add_test(tc, special_uses);
	tcase_add_test(tc, every_error_has_a_status);
	tcase_add_test(tc, nothing_speaks_to_the_terminal);
	tcase_add_test(tc, json_commas);
	tcase_add_test(tc, times);
	suite_add_tcase(s, tc);
	return s;
}
