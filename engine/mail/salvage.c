/*
 * salvage.c - a store's files one by one, whatever is left of them
 *
 * DIR/kv/catalog*   names of accounts, without which they have numbers; dictionaries once more
 * DIR/kv/part-*     a partition each, read by salvage_walk.c
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "salvage.h"

/* ---- Which table has rows of this shape? ----------------------------------------------------------------- */

static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};

static struct kv_class
class_of(int table)
{
	return (struct kv_class){.table = table};
}

/* Accounts and dictionaries begin with 1, blobs will not need 33 bits of their number. */
static struct kv_class
classify_8(struct shelf_span key, struct shelf_span value)
{
	struct blob_row blob;
	struct mail_mbox m;

	if (base_get_be32(key.data) == 0)
		return class_of(blob_row_decode(value, &blob) == 0 ? KV_BLOB : -1);
	if (mail_mbox_decode(value, &m) != 0)
		return class_of(KV_DICT);
	return (struct kv_class){.table = KV_MBOX, .rank = m.highestmodseq};
}

/* The first row of a body begins with a frame, that of derived data with a byte 0 or 1; the others do not tell. */
static struct kv_class
classify_piece(struct shelf_span key, struct shelf_span value)
{
	if (base_get_be32(key.data + 8) > 0)
		return (struct kv_class){.table = KV_CHUNK, .unsure = true};
	return class_of(value.len > 4 && memcmp(value.data, zstd_magic, 4) == 0 ? KV_CHUNK : -1);
}

static struct kv_class
classify_12(struct shelf_span key, struct shelf_span value)
{
	struct mail_msg msg;
	struct mail_gone gone;

	if (base_get_be32(key.data) == 0)
		return classify_piece(key, value);
	if (mail_msg_decode(value, &msg) == 0)
		return class_of(KV_MSG);
	if (mail_gone_decode(value, &gone) == 0)
		return class_of(KV_GONE);
	return class_of(mail_keyword_valid(value) ? KV_KEYWORD : -1);
}

/* The highest modseq is in the head of a page's first part; the others have to fit it. */
static struct kv_class
classify_page(struct shelf_span key, struct shelf_span value)
{
	enum { MODSEQ_AT = 8 };
	struct kv_class class = class_of(KV_FPAGE);
	struct base_reader r;

	if (key.data[12] >= INDEX_PARTS_MAX || value.len < MODSEQ_AT + 8)
		return class_of(-1);
	if (key.data[12] == 0) {
		r = base_reader(shelf_span(value.data + MODSEQ_AT, 8));
		class.rank = base_get_le(&r, 8);
	}
	return class;
}

static struct kv_class
classify(struct shelf_span key, struct shelf_span value, bool catalog)
{
	/* A hash and a number; the name of an account has an id of 4 bytes. */
	if (catalog && key.len == 20 && value.len != 4)
		return class_of(KV_DICTCOPY);
	if (catalog)
		return class_of(key.len > 0 && value.len == 4 && !shelf_span_is(key, "next-account") ? KV_ADDR : -1);
	if (key.len == 8)
		return classify_8(key, value);
	if (key.len == 12)
		return classify_12(key, value);
	return key.len == 13 ? classify_page(key, value) : class_of(-1);
}

/* ---- Names ----------------------------------------------------------------------------------------------- */

static int
compare_names(const void *a, const void *b)
{
	const struct salvage_name *x = a, *y = b;

	return x->account < y->account ? -1 : x->account > y->account;
}

const char *
salvage_name_of(const struct salvage *s, uint32_t account)
{
	struct salvage_name wanted = {.account = account}, *found = NULL;

	if (s->nnames > 0)
		found = bsearch(&wanted, s->name, s->nnames, sizeof(*s->name), compare_names);
	return found == NULL ? NULL : found->name;
}

static void
add_name(struct salvage *s, struct shelf_span name, struct shelf_span id)
{
	char folded[SHELF_ACCOUNT_NAME_MAX + 1];

	if (id.len != 4 || mail_account_name(name, folded) != 0)
		return;
	if (s->nnames == s->names_cap) {
		s->names_cap = s->names_cap == 0 ? 64 : s->names_cap * 2;
		s->name = shelf_realloc(s->name, s->names_cap * sizeof(*s->name));
	}
	s->name[s->nnames++] =
	    (struct salvage_name){base_get_be32(id.data), shelf_strdup(folded)};
}

static void
note(const struct salvage *s, const char *file, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
note(const struct salvage *s, const char *file, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->sink->note(s->sink->arg, file, text);
}

/* Opens one file of the store; what is wrong with it is told. NULL: it is not there, or not readable. */
static struct kv_salvage *
open_file(struct salvage *s, const char *file, bool catalog, bool *damaged)
{
	struct kv_salvage *kv = NULL;
	struct kv_salvage_report report = {0};
	int rc = kv_salvage_open(file, catalog, classify, &kv);

	if (rc == 0)
		kv_salvage_report(kv, &report);
	if (rc != 0)
		note(s, file, "cannot be read: %s", shelf_err_text(rc));
	else if (report.no_trees)
		note(s, file, "its roots are lost; rows were looked for on all %llu pages",
		     (unsigned long long)report.pages);
	else if (report.bad_pages > 0)
		note(s, file, "%llu of %llu pages are damaged; what only they led to is not listed",
		     (unsigned long long)report.bad_pages, (unsigned long long)report.pages);
	*damaged = rc != 0 || report.no_trees || report.bad_pages > 0;
	return kv;
}

static void
read_catalog(struct salvage *s, const char *file)
{
	struct shelf_buf at = {0};
	struct shelf_span key, value;
	bool damaged, more = true;
	struct kv_salvage *kv = open_file(s, file, true, &damaged);

	while (kv != NULL && more) {
		struct kv_view *view = kv_salvage_view(kv);
		struct kv_scan scan;

		more = kv_scan_open(view, KV_ADDR, shelf_span(NULL, 0), shelf_buf_span(&at), &scan) == 0 &&
		       kv_scan_next(&scan, &key, &value) == 1;
		if (more) {
			add_name(s, key, value);
			shelf_buf_clear(&at);
			shelf_buf_add_span(&at, key);
			shelf_buf_add_byte(&at, 0);
		}
		kv_scan_close(&scan);
		kv_view_end(&view);
	}
	if (kv != NULL) {
		struct kv_view *view = kv_salvage_view(kv);

		blob_copies_hold(view, &s->copies);
		kv_view_end(&view);
	}
	kv_salvage_close(&kv);
	shelf_buf_free(&at);
	if (s->nnames > 0)
		qsort(s->name, s->nnames, sizeof(*s->name), compare_names);
}

/* ---- Files ----------------------------------------------------------------------------------------------- */

static int
read_partition(struct salvage *s, const char *file, const char *label)
{
	bool damaged;
	int rc = 0;

	s->kv = open_file(s, file, false, &damaged);
	s->partition = label;
	s->nseen = 0;
	if (s->kv != NULL)
		rc = salvage_walk(s, damaged);
	kv_salvage_close(&s->kv);
	return rc;
}

/* The newest generation of BASE whose data file is in KV_DIR; 0: none. */
static unsigned
newest_generation(const char *kv_dir, const char *base)
{
	DIR *dir = opendir(kv_dir);
	size_t len = strlen(base);
	unsigned newest = 0;
	struct dirent *e;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		unsigned generation = 1;
		struct shelf_buf path = {0};

		if (strncmp(e->d_name, base, len) != 0 ||
		    (e->d_name[len] != '\0' && sscanf(e->d_name + len, ".%u", &generation) != 1))
			continue;
		shelf_buf_printf(&path, "%s/%s/data.mdb", kv_dir, e->d_name);
		if (generation > newest && access(shelf_buf_cstr(&path), F_OK) == 0)
			newest = generation;
		shelf_buf_free(&path);
	}
	if (dir != NULL)
		closedir(dir);
	return newest;
}

/* The data file of a shard; when the one in use is not there, or nobody knows which that is, the newest
 * generation there is. */
static bool
find_file(const struct salvage *s, const char *kv_dir, uint32_t shard, struct shelf_buf *path)
{
	char base[64];
	unsigned generation;

	if (kv_data_file(kv_dir, shard, path) == 0 && access(shelf_buf_cstr(path), F_OK) == 0)
		return true;
	snprintf(base, sizeof(base), shard == KV_SHARDS_MAX ? "catalog" : "part-%02u", shard);
	if ((generation = newest_generation(kv_dir, base)) == 0)
		return false;
	note(s, shelf_buf_cstr(path), "is not there, generation %u is read", generation);
	shelf_buf_clear(path);
	shelf_buf_printf(path, generation == 1 ? "%s/%s/data.mdb" : "%s/%s.%u/data.mdb", kv_dir, base,
			 generation);
	return true;
}

static int
each_partition(struct salvage *s, const char *kv_dir, unsigned *count)
{
	struct shelf_buf path = {0};
	char label[16];
	int rc = 0;

	for (uint32_t shard = 0; rc == 0 && shard < KV_SHARDS_MAX; shard++) {
		if (!find_file(s, kv_dir, shard, &path))
			continue;
		snprintf(label, sizeof label, "part-%02u", shard);
		++*count;
		rc = read_partition(s, shelf_buf_cstr(&path), label);
	}
	shelf_buf_free(&path);
	return rc;
}

int
shelf_salvage(const char *dir, const struct shelf_salvage_sink *sink)
{
	struct salvage s = {.sink = sink};
	struct shelf_buf kv_dir = {0}, path = {0};
	unsigned partitions = 0;
	int rc;

	shelf_buf_printf(&kv_dir, "%s/kv", dir);
	if (!find_file(&s, shelf_buf_cstr(&kv_dir), KV_SHARDS_MAX, &path))
		note(&s, shelf_buf_cstr(&path), "no catalog: accounts have numbers instead of names");
	else
		read_catalog(&s, shelf_buf_cstr(&path));
	if (s.copies.n == 0)
		blob_copies_hold(NULL, &s.copies);
	rc = each_partition(&s, shelf_buf_cstr(&kv_dir), &partitions);
	shelf_buf_free(&kv_dir);
	shelf_buf_free(&path);
	if (rc == 0 && partitions == 0)
		rc = SHELF_EMISSING;
	for (size_t i = 0; i < s.nnames; i++)
		free(s.name[i].name);
	blob_copies_give(&s.copies);
	free(s.name);
	free(s.seen);
	return rc;
}
