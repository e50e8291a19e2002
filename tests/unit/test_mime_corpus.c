/*
 * test_mime_corpus.c - properties of the part tree over every message of the torture corpus
 *
 * MAILSHELF_CORPUS names the folder, ../shared/corpus by default. Without one the test passes and
 * says on stderr that it had nothing to do.
 */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "mime_check.h"

static unsigned files, parts;

static void
decode_bodies(const struct mime_part *part, struct shelf_span message, struct shelf_buf *out)
{
	struct mime_decoder d;

	parts++;
	if (part->envelope != NULL) {
		shelf_buf_clear(out);
		mime_header_utf8(part->envelope->subject, out);
		ck_assert(shelf_utf8_valid(shelf_buf_span(out)));
	}
	if (part->kind == MIME_LEAF) {
		shelf_buf_clear(out);
		mime_decoder_init(&d, part->encoding);
		mime_decoder_feed(&d, message.data + part->body_offset, part->body_len, out);
		mime_decoder_end(&d, out);
		ck_assert_uint_le(out->len, part->body_len);
	}
	for (const struct mime_part *c = part->child; c != NULL; c = c->next)
		decode_bodies(c, message, out);
}

static void
check_message(const char *path, struct shelf_span message)
{
	struct shelf_arena arena = {0};
	struct shelf_buf scratch = {0};
	struct mime_scan *scan = mime_scan_new(&arena);
	struct mime_part *root;
	const char *wrong;
	clock_t start = clock();

	mime_scan_feed(scan, message.data, message.len);
	root = mime_scan_end(&scan);
	/* A tenth of a second, and one more for each MiB: slow machines and sanitizers have room. */
	ck_assert_msg((double)(clock() - start) / CLOCKS_PER_SEC < 0.1 + (double)message.len / (1 << 20),
	    "%s takes too long", path);
	wrong = mime_check_tree(root, message);
	ck_assert_msg(wrong == NULL, "%s: %s", path, wrong);
	wrong = mime_check_record(root);
	ck_assert_msg(wrong == NULL, "%s: %s", path, wrong);
	wrong = mime_check_headed(root, message);
	ck_assert_msg(wrong == NULL, "%s: %s", path, wrong);
	wrong = mime_check_cut(root, message, message.len < 65536 ? 1 : 61);
	ck_assert_msg(wrong == NULL, "%s: %s", path, wrong);
	decode_bodies(root, message, &scratch);
	shelf_buf_free(&scratch);
	shelf_arena_free(&arena);
	files++;
}

static void
check_file(const char *path)
{
	struct shelf_buf content = {0};
	FILE *f = fopen(path, "rb");
	size_t n;

	ck_assert_msg(f != NULL, "%s", path);
	while ((n = fread(shelf_buf_reserve(&content, 65536), 1, 65536, f)) > 0)
		content.len += n;
	fclose(f);
	check_message(path, shelf_buf_span(&content));
	shelf_buf_free(&content);
}

static void
check_folder(const char *path, int depth)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		char child[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		if (depth == 0)
			check_folder(child, 1);
		else
			check_file(child);
	}
	closedir(dir);
}

START_TEST(corpus_torture)
{
	const char *corpus = getenv("MAILSHELF_CORPUS");
	char path[4096];

	snprintf(path, sizeof(path), "%s/torture", corpus == NULL ? "../shared/corpus" : corpus);
	check_folder(path, 0);
	if (files == 0)
		fprintf(stderr, "mime_corpus: no corpus in %s, nothing checked\n", path);
	else
		ck_assert_uint_gt(parts, files);
}
END_TEST

Suite *suite_mime_corpus(void);
Suite *
suite_mime_corpus(void)
{
	Suite *s = suite_create("mime_corpus");
	TCase *tc = tcase_create("corpus");

	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, corpus_torture);
	suite_add_tcase(s, tc);
	return s;
}
