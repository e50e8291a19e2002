/*
 * make_dict.c - make_dict BODY DERIVED: trains the default dictionaries from messages on stdin
 *
 * Each message is its length as a line, then its bytes. They are put into a database of one shard and trained as
 * `mailshelf dict train` does it; BODY and DERIVED are the files to write.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/mime.h>
#include <mailshelf/mem.h>

#include "blob.h"
#include "kv.h"

enum { DICT_BYTES = 32 * 1024, MESSAGE_MAX = 1 << 20 };

static void
must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "make_dict: %s: %s\n", what, shelf_err_text(rc));
	exit(1);
}

struct linking {
	struct blob_draft *draft;
};

static int
link_draft(struct kv_txn *txn, void *arg)
{
	struct linking *l = arg;
	struct blob_cost cost;
	uint64_t blob;

	return blob_link(txn, l->draft, &blob, &cost);
}

static void
store(struct kv_db *kv, const char *dir, const uint8_t *bytes, size_t len)
{
	struct linking l = {.draft = blob_draft_new(kv, dir)};
	struct shelf_arena arena = {0};
	struct shelf_buf record = {0};
	struct mime_scan *scan = mime_scan_new(&arena);

	mime_scan_feed(scan, bytes, len);
	mime_record_encode(mime_scan_end(&scan), &record);
	must(blob_draft_add(l.draft, bytes, len), "message");
	must(blob_draft_end(l.draft, shelf_buf_span(&record)), "message");
	must(blob_draft_prepare(l.draft, 0), "message");
	must(kv_update_shard(kv, 0, KV_ADDS, link_draft, &l), "message");
	blob_draft_free(&l.draft);
	shelf_buf_free(&record);
	shelf_arena_free(&arena);
}

static void
write_dict(struct kv_view *view, uint32_t id, const char *file)
{
	struct shelf_buf b = {0};
	FILE *f = fopen(file, "w");

	must(blob_dict_bytes(view, id, &b), file);
	if (f == NULL || fwrite(b.data, 1, b.len, f) != b.len || fclose(f) != 0)
		must(SHELF_EIO, file);
	printf("%s: %zu bytes\n", file, b.len);
	shelf_buf_free(&b);
}

int
main(int argc, char **argv)
{
	const struct kv_params params = {.shards = 1, .map_bytes = 1 << 30, .reserve_bytes = 1 << 20};
	const struct shelf_dict_params train = {.bytes = DICT_BYTES};
	static uint8_t bytes[MESSAGE_MAX];
	char dir[] = "/tmp/make_dict.XXXXXX", command[64];
	struct shelf_dict_report report;
	struct kv_view *view = NULL;
	struct kv_db *kv = NULL;
	size_t len;

	if (argc != 3 || mkdtemp(dir) == NULL) {
		fprintf(stderr, "usage: make_dict BODY DERIVED < messages\n");
		return 2;
	}
	must(kv_create(dir, &params), dir);
	must(kv_open(dir, &kv), dir);
	while (scanf("%zu", &len) == 1 && getchar() == '\n' && len <= sizeof(bytes) &&
	       fread(bytes, 1, len, stdin) == len)
		store(kv, dir, bytes, len);
	must(blob_dict_train(kv, 0, &train, &report), "train");
	must(kv_view_begin_shard(kv, 0, &view), dir);
	write_dict(view, report.kind[BLOB_BODY].id, argv[1]);
	write_dict(view, report.kind[BLOB_DERIVED].id, argv[2]);
	kv_view_end(&view);
	kv_close(&kv);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) == 0 ? 0 : 1;
}
