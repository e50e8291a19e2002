/* test_tool_salvage.c - check --salvage: what becomes files, with flags and dates; what is told of the rest */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "store_rig.h"
#include "support.h"
#include "tools.h"

static struct rig r;
static char out[64 * 1024]; /* what the verb printed */

enum { LARGE = 3000000 };

/* Most of the file. */
static void
put_large(void)
{
	struct shelf_append item = {.internaldate_s = INT64_MIN};
	struct shelf_append_result result;
	uint8_t *noise = shelf_alloc(LARGE);

	shelf_random(noise, LARGE);
	ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, noise, LARGE), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	ck_assert_int_eq(shelf_append(r.store, r.ann, r.inbox, &item, 1, &result), 0);
	shelf_draft_free(&item.draft);
	free(noise);
}

static void
setup(void)
{
	const struct shelf_store_params one = {.partitions = 1, .map_bytes = 64u << 20};
	struct shelf_append item = {.internaldate_s = 1000000000, .flags = SHELF_SEEN | SHELF_FLAGGED};
	struct shelf_append_result result;
	struct shelf_uidset *two = rig_set(2, 2);

	rig_open(&r, &one);
	rig_create(&r, r.joe, "a/b.c");
	item.draft = rig_draft(&r, "one", 300);
	ck_assert_int_eq(shelf_append(r.store, r.joe, 2, &item, 1, &result), 0);
	shelf_draft_free(&item.draft);
	rig_flag(&r, r.joe, 2, 1, 1, SHELF_FLAGS_ADD, 0, "$label");
	rig_append(&r, r.joe, r.inbox, "two", 0);
	rig_append(&r, r.joe, r.inbox, "removed", 0);
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, two, 0, NULL), 0);
	rig_append(&r, r.ann, r.inbox, "three", 0);
	put_large();
	shelf_uidset_free(&two);
	shelf_store_close(&r.store);
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
}

static void
teardown(void)
{
	support_rmtree(r.dir);
}

/* `check --salvage DIR WORD`, DIR below the rig's. */
static int
salvage(const char *name, const char *word)
{
	static const struct tool_verb verb = {"check", NULL, "", "", ""};
	char path[4300], dir[4300], last[32], option[] = "--salvage", *argv[] = {option, dir, last};
	struct tool t = {.verb = &verb, .store_dir = r.path, .argc = word == NULL ? 2 : 3, .argv = argv};
	FILE *f;
	int rc;

	snprintf(dir, sizeof dir, "%s/%s", r.dir, name);
	snprintf(last, sizeof last, "%s", word == NULL ? "" : word);
	snprintf(path, sizeof path, "%s/out", r.dir);
	ck_assert_ptr_nonnull(freopen(path, "w", stdout));
	rc = tool_check(&t);
	fflush(stdout);
	ck_assert_ptr_null(t.store);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	out[fread(out, 1, sizeof out - 1, f)] = '\0';
	fclose(f);
	return rc;
}

/* The one file that PATTERN finds below the rig's directory. */
static const char *
one_file(const char *pattern, struct stat *st)
{
	static char found[4400];
	char path[4400];
	glob_t g;

	snprintf(path, sizeof path, "%s/%s", r.dir, pattern);
	ck_assert_msg(glob(path, 0, NULL, &g) == 0 && g.gl_pathc == 1, "%s", path);
	snprintf(found, sizeof found, "%s", g.gl_pathv[0]);
	globfree(&g);
	ck_assert_int_eq(stat(found, st), 0);
	return found;
}

static const char *
text_of(const char *pattern)
{
	static struct shelf_buf b;
	struct stat st;

	shelf_buf_clear(&b);
	support_read_file(one_file(pattern, &st), &b);
	return shelf_buf_cstr(&b);
}

START_TEST(a_whole_store_with_flags_and_dates)
{
	struct stat st;
	const char *name;

	ck_assert_int_eq(salvage("d", NULL), EX_OK);
	ck_assert_ptr_nonnull(strstr(out, "4 messages written, 1 that were held"));
	ck_assert_ptr_nonnull(strstr(out, "0 messages lost"));
	name = one_file("d/accounts/joe/.a.b&AC4-c/cur/*", &st);
	ck_assert_str_eq(strrchr(name, ':'), ":2,FSa");
	ck_assert_int_eq(st.st_mtime, 1000000000);
	ck_assert_str_eq(text_of("d/accounts/joe/.a.b&AC4-c/dovecot-keywords"), "0 $label\n");
	ck_assert_ptr_nonnull(strstr(text_of("d/held/joe/.INBOX-1/cur/*"), "Subject: removed\n"));
	ck_assert_ptr_nonnull(strstr(text_of("d/accounts/ann/cur/*1.mailshelf*"), "Subject: three\n"));
	ck_assert_str_eq(text_of("d/LOST.txt"), "# account\tmailbox\tuid\tbytes\twhy\n");
	ck_assert_int_eq(salvage("d", NULL), EX_CANTCREAT); /* not empty */
	ck_assert_int_eq(salvage("e", "--format=mbox"), EX_USAGE);
}
END_TEST

/* A hole in the large body, which lies at the end of the file; and no catalog. */
START_TEST(a_damaged_store_and_what_is_lost)
{
	static const uint8_t zeros[64 * 1024];
	char path[4400];
	struct stat st;
	int fd;

	snprintf(path, sizeof path, "%s/kv/part-00/data.mdb", r.path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &st), 0);
	for (off_t at = st.st_size / 2 - st.st_size / 2 % 4096; at < st.st_size * 3 / 4;
	     at += sizeof zeros)
		ck_assert_int_gt(pwrite(fd, zeros, sizeof zeros, at), 0);
	close(fd);
	snprintf(path, sizeof path, "%s/kv/catalog/data.mdb", r.path);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(salvage("d", "--json"), EX_DATAERR);
	ck_assert_ptr_nonnull(strstr(out, "\"lost\":[{\"account\":\"account-"));
	ck_assert_ptr_nonnull(strstr(out, "\"uid\":2,\"size\":3000000"));
	ck_assert_ptr_nonnull(strstr(out, "catalog/data.mdb"));
	ck_assert_ptr_nonnull(strstr(text_of("d/LOST.txt"), "bytes of the body are lost\n"));
}
END_TEST

START_TEST(no_store)
{
	snprintf(r.path, sizeof r.path, "%s/elsewhere", r.dir);
	ck_assert_int_eq(salvage("d", NULL), EX_NOINPUT);
}
END_TEST

Suite *suite_tool_salvage(void);
Suite *
suite_tool_salvage(void)
{
	Suite *s = suite_create("tool_salvage");
	TCase *tc = tcase_create("salvage");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_whole_store_with_flags_and_dates);
	tcase_add_test(tc, a_damaged_store_and_what_is_lost);
	tcase_add_test(tc, no_store);
	suite_add_tcase(s, tc);
	return s;
}
