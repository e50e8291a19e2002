/*
 * tool_partition.c - partition list, partition add, compact: the files of a store
 */
#include <string.h>
#include <sys/sysmacros.h>

#include "tools.h"

enum { LABEL_BYTES = 32 };

static const char *
label(uint32_t number, char *buf)
{
	if (number == SHELF_CATALOG)
		snprintf(buf, LABEL_BYTES, "catalog");
	else
		snprintf(buf, LABEL_BYTES, "partition %u", number);
	return buf;
}

static void
json_begin(struct shelf_buf *json, uint32_t number)
{
	if (json->data[json->len - 1] != '[')
		shelf_buf_add_byte(json, ',');
	shelf_buf_add_byte(json, '{');
	if (number == SHELF_CATALOG)
		tool_json_str(json, "partition", shelf_span_str("catalog"));
	else
		tool_json_u64(json, "partition", number);
}

static int
partitions(struct tool *t, uint32_t *count)
{
	struct shelf_store_stats stats;
	int rc = shelf_store_stats(t->store, &stats);

	*count = stats.partitions;
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}

/* ---- partition list -------------------------------------------------------------------------------- */

struct list {
	const struct tool *t;
	struct shelf_buf json;
};

static int
list_one(void *arg, const struct shelf_partition *p)
{
	struct list *l = arg;
	char name[LABEL_BYTES], file[32], unused[32], disk_free[32], disk[32];

	snprintf(disk, sizeof disk, "%u:%u", major(p->device), minor(p->device));
	if (!l->t->json) {
		tool_print("%-12s  %s", label(p->number, name), p->path);
		tool_print("              disk %s (%s free); file %s, free pages %s; %llu accounts, %llu commits",
		    disk, shelf_size_text(p->disk_free_bytes, disk_free, sizeof disk_free),
		    shelf_size_text(p->file_bytes, file, sizeof file),
		    shelf_size_text(p->free_bytes, unused, sizeof unused),
		    (unsigned long long)p->accounts, (unsigned long long)p->commits);
		return 0;
	}
	json_begin(&l->json, p->number);
	tool_json_str(&l->json, "path", shelf_span_str(p->path));
	tool_json_str(&l->json, "disk", shelf_span_str(disk));
	tool_json_u64(&l->json, "disk_bytes", p->disk_bytes);
	tool_json_u64(&l->json, "disk_free_bytes", p->disk_free_bytes);
	tool_json_u64(&l->json, "file_bytes", p->file_bytes);
	tool_json_u64(&l->json, "free_bytes", p->free_bytes);
	tool_json_u64(&l->json, "accounts", p->accounts);
	tool_json_u64(&l->json, "commits", p->commits);
	shelf_buf_add_byte(&l->json, '}');
	return 0;
}

int
tool_partition_list(struct tool *t)
{
	struct list l = {.t = t};
	uint32_t count = 0;
	int rc = tool_args(t, NULL, 0, 0);

	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0)
		rc = partitions(t, &count);
	if (rc != 0)
		return rc;
	shelf_buf_add_str(&l.json, "{\"partitions\":[");
	for (uint32_t i = 0; rc == 0 && i <= count; i++)
		rc = shelf_partition_get(t->store, i < count ? i : SHELF_CATALOG, list_one, &l);
	shelf_buf_add_str(&l.json, "]}");
	if (rc == 0 && t->json)
		tool_print_buf(&l.json);
	shelf_buf_free(&l.json);
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}

/* ---- partition add --------------------------------------------------------------------------------- */

int
tool_partition_add(struct tool *t)
{
	struct list l = {.t = t};
	const char *dir;
	uint32_t count = 0;
	int rc = tool_args(t, NULL, 0, 1);

	dir = t->argc > 0 ? t->argv[0] : NULL;
	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	rc = shelf_partition_add(t->store, dir);
	if (rc != 0)
		return tool_fail(t, dir == NULL ? t->store_dir : dir, rc);
	rc = partitions(t, &count);
	if (rc != 0)
		return rc;
	shelf_buf_add_str(&l.json, "[");
	rc = shelf_partition_get(t->store, count - 1, list_one, &l);
	shelf_buf_add_byte(&l.json, ']');
	if (rc == 0 && t->json)
		tool_print_buf(&l.json);
	shelf_buf_free(&l.json);
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}

/* ---- compact --------------------------------------------------------------------------------------- */

struct compaction {
	struct tool *t;
	struct tool_progress progress;
	struct shelf_buf json;
	uint32_t number;
};

static bool
on_step(void *arg, uint64_t done, uint64_t total)
{
	struct compaction *c = arg;
	char name[LABEL_BYTES];

	tool_progress_step(&c->progress, done, total, "%s", label(c->number, name));
	return !tool_interrupted();
}

static int
failed(struct compaction *c, const char *name, int rc, const struct shelf_compacted *done)
{
	char need[32], there[32];

	if (rc == SHELF_EBUSY)
		tool_say(c->t, "%s: another compaction is running", name);
	else if (rc == SHELF_ECANCELLED)
		tool_say(c->t, "%s: interrupted, it is as it was", name);
	else if (rc == SHELF_EFULL && done->disk_free_bytes < done->need_bytes)
		tool_say(c->t, "%s: needs %s on its disk for the new file, %s are free", name,
		    shelf_size_text(done->need_bytes, need, sizeof need),
		    shelf_size_text(done->disk_free_bytes, there, sizeof there));
	else
		return tool_fail(c->t, name, rc);
	return rc == SHELF_EFULL ? tool_exit_of(rc) : EX_TEMPFAIL;
}

static int
compact_one(struct compaction *c, uint32_t number)
{
	struct shelf_compacted done = {0};
	char name[LABEL_BYTES], before[32], after[32];
	int rc;

	c->number = number;
	rc = shelf_store_compact(c->t->store, number, on_step, c, &done);
	tool_progress_end(&c->progress);
	label(number, name);
	if (rc != 0)
		return failed(c, name, rc, &done);
	if (!c->t->json) {
		tool_print("%s: %s before, %s now", name,
		    shelf_size_text(done.before_bytes, before, sizeof before),
		    shelf_size_text(done.after_bytes, after, sizeof after));
		return EX_OK;
	}
	json_begin(&c->json, number);
	tool_json_u64(&c->json, "before_bytes", done.before_bytes);
	tool_json_u64(&c->json, "after_bytes", done.after_bytes);
	shelf_buf_add_byte(&c->json, '}');
	return EX_OK;
}

/* "3", "catalog", "all": from FIRST to END, the catalog being COUNT. */
static bool
parse_which(const char *which, uint32_t count, uint32_t *first, uint32_t *end)
{
	uint64_t n;

	*first = 0;
	*end = count + 1;
	if (which == NULL || strcmp(which, "all") == 0)
		return true;
	if (strcmp(which, "catalog") == 0)
		n = count;
	else if (!shelf_span_u64(shelf_span_str(which), count - 1, &n))
		return false;
	*first = (uint32_t)n;
	*end = *first + 1;
	return true;
}

int
tool_compact(struct tool *t)
{
	struct compaction c = {.t = t};
	bool progress = false;
	const char *which = NULL;
	const struct tool_option options[] = {
		{"partition", TOOL_TEXT, &which}, {"progress", TOOL_FLAG, &progress}, {0}};
	uint32_t count = 0, first, end;
	int rc = tool_args(t, options, 0, 0);

	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0)
		rc = partitions(t, &count);
	if (rc == 0 && !parse_which(which, count, &first, &end))
		rc = tool_usage(t, "--partition %s: not a partition (0..%u, catalog, all)", which, count - 1);
	if (rc != 0)
		return rc;
	tool_catch_interrupts();
	tool_progress_begin(&c.progress, progress);
	shelf_buf_add_str(&c.json, "{\"compacted\":[");
	for (uint32_t i = first; rc == 0 && i < end; i++)
		rc = compact_one(&c, i < count ? i : SHELF_CATALOG);
	shelf_buf_add_byte(&c.json, ']');
	tool_json_bool(&c.json, "finished", rc == 0);
	shelf_buf_add_byte(&c.json, '}');
	if (t->json)
		tool_print_buf(&c.json);
	shelf_buf_free(&c.json);
	return rc;
}
