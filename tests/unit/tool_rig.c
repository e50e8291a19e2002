/* tool_rig.c - files, trees and a sink for the tests of the readers of foreign mail */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include <mailshelf/mem.h>

#include "tool_rig.h"

static struct tool_rig rig;

static int
on_folder(void *arg, struct shelf_span name, const char *kind)
{
	struct tool_rig *r = arg;
	size_t at = strlen(r->folders);

	snprintf(r->folders + at, sizeof r->folders - at, "%s:%.*s ", kind, (int)name.len,
	    name.len == 0 ? "" : (const char *)name.data);
	return 0;
}

static int
on_begin(void *arg, const char *file, uint64_t offset)
{
	struct tool_rig *r = arg;

	ck_assert(!r->is_open);
	ck_assert_ptr_nonnull(file);
	r->is_open = true;
	shelf_buf_clear(&r->open);
	return 0;
}

static int
on_data(void *arg, const void *data, size_t len)
{
	struct tool_rig *r = arg;

	ck_assert(r->is_open);
	ck_assert_uint_gt(len, 0);
	shelf_buf_add(&r->open, data, len);
	return 0;
}

static int
on_end(void *arg, const struct source_meta *meta)
{
	struct tool_rig *r = arg;
	struct tool_rig_message *m = &r->messages[r->n++];
	const char *folder = strrchr(r->folders, ':');
	size_t at = 0;

	ck_assert(r->is_open);
	ck_assert_uint_lt(r->n, TOOL_RIG_MESSAGES);
	r->is_open = false;
	m->bytes = shelf_strndup(r->open.len == 0 ? "" : (const char *)r->open.data, r->open.len);
	m->len = r->open.len;
	m->date_s = meta->internaldate_s;
	m->zone_min = meta->zone_min;
	m->flags = meta->flags;
	m->keywords[0] = '\0';
	for (size_t i = 0; i < meta->nkeywords && at < sizeof m->keywords; i++)
		at += (size_t)snprintf(m->keywords + at, sizeof m->keywords - at, "%s%.*s",
		    i > 0 ? " " : "", (int)meta->keywords[i].len, (const char *)meta->keywords[i].data);
	snprintf(m->folder, sizeof m->folder, "%s", folder == NULL ? "" : folder + 1);
	m->folder[strcspn(m->folder, " ")] = '\0';
	return r->stop_after != 0 && r->n >= r->stop_after ? 77 : 0;
}

static void
on_drop(void *arg)
{
	struct tool_rig *r = arg;

	r->is_open = false;
	r->dropped++;
}

static void
on_problem(void *arg, const char *file, uint64_t offset, const char *text)
{
	struct tool_rig *r = arg;
	const char *slash = strrchr(file, '/');

	r->problems++;
	snprintf(r->last_problem, sizeof r->last_problem, "%s@%llu: %s", slash == NULL ? file : slash + 1,
	    (unsigned long long)offset, text);
}

static void
on_advance(void *arg, uint64_t bytes)
{
	((struct tool_rig *)arg)->advanced += bytes;
}

struct tool_rig *
tool_rig(void)
{
	rig = (struct tool_rig){.sink = {&rig, on_folder, on_begin, on_data, on_end, on_drop, on_problem,
	    on_advance}};
	snprintf(rig.dir, sizeof rig.dir, "/tmp/tool_rig.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig.dir));
	return &rig;
}

void
tool_rig_clear(struct tool_rig *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->messages[i].bytes);
	r->n = r->problems = r->dropped = 0;
	r->advanced = 0;
	r->last_problem[0] = r->folders[0] = '\0';
	r->is_open = false;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	return remove(path);
}

void
tool_rig_end(struct tool_rig *r)
{
	tool_rig_clear(r);
	shelf_buf_free(&r->open);
	nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *
tool_rig_file(struct tool_rig *r, const char *name, const void *data, size_t len)
{
	static char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", r->dir, name);
	for (char *p = path + strlen(r->dir) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
	return path;
}

int
tool_rig_mbox(struct tool_rig *r, const char *name, enum source_format format)
{
	char path[512];
	const char *why = NULL;
	struct source_input *in;
	int rc;

	snprintf(path, sizeof path, "%s/%s", r->dir, name);
	in = source_input_open(path, 0, &why);
	ck_assert_msg(in != NULL, "%s: %s", path, why);
	rc = source_mbox(in, path, format, &r->sink);
	source_input_close(&in);
	return rc;
}

int
tool_rig_run(struct tool_rig *r, const char *name, enum source_format format)
{
	char path[512];
	struct source_plan *plan = NULL;
	int rc;

	snprintf(path, sizeof path, "%s%s%s", r->dir, *name == '\0' ? "" : "/", name);
	rc = source_plan_new(path, format, &r->sink, &plan);
	if (rc == 0)
		rc = source_run(plan, &r->sink);
	source_plan_free(&plan);
	return rc;
}

bool
tool_rig_is(const struct tool_rig *r, size_t i, const void *data, size_t len)
{
	return i < r->n && r->messages[i].len == len && memcmp(r->messages[i].bytes, data, len) == 0;
}
