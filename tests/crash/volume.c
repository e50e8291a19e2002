/*
 * volume.c - files and directories, what is on the disk of them and what is on its way
 *
 * What must stay true: a block of 512 bytes is written whole or not at all; LMDB says so much of the disks
 * it works on (its meta page has no checksum and lies in one).
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <mailshelf/mem.h>

#include "support.h"
#include "volume.h"

enum { NODES_MAX = 512, ENTRIES_MAX = 32, NAME_BYTES = 64, SECTOR = 512, PAGE = 4096, ROOT = 0 };

struct entry {
	char name[NAME_BYTES];
	size_t node;
};

struct entries {
	struct entry list[ENTRIES_MAX];
	size_t count;
};

/* OLD goes, NAME comes; either may be "". */
struct change {
	char old[NAME_BYTES];
	struct entry name;
};

struct node {
	bool is_dir;
	struct shelf_buf durable;
	struct disk_event *pending;
	size_t npending;
	struct entries now, then; /* then: on the disk */
	struct change *changes;
	size_t nchanges;
};

struct volume {
	struct node node[NODES_MAX];
	size_t count;
};

/* ---- Entries -------------------------------------------------------------------------------------- */

static struct entry *
find(struct entries *e, const char *name)
{
	for (size_t i = 0; i < e->count; i++)
		if (strcmp(e->list[i].name, name) == 0)
			return &e->list[i];
	return NULL;
}

static void
change_entries(struct entries *e, const struct change *c)
{
	struct entry *old = find(e, c->old), *slot;

	if (old != NULL)
		*old = e->list[--e->count];
	if (c->name.name[0] == '\0')
		return;
	slot = find(e, c->name.name);
	if (slot == NULL && e->count == ENTRIES_MAX)
		support_fatal("a directory with more entries than a volume knows");
	if (slot == NULL)
		slot = &e->list[e->count++];
	*slot = c->name;
}

static size_t
add_node(struct volume *v, bool is_dir)
{
	if (v->count == NODES_MAX)
		support_fatal("more files than a volume knows");
	v->node[v->count].is_dir = is_dir;
	return v->count++;
}

/* The directory that PATH lies in, and the last part of it. */
static struct node *
parent_of(struct volume *v, const char *path, const char **name_out)
{
	size_t at = ROOT;
	const char *slash;
	char part[DISK_PATH_MAX];

	while ((slash = strchr(path, '/')) != NULL) {
		struct entry *e;

		snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
		e = find(&v->node[at].now, part);
		if (e == NULL)
			support_fatal("an event in the unknown directory %s", part);
		at = e->node;
		path = slash + 1;
	}
	*name_out = path;
	return &v->node[at];
}

static struct node *
node_at(struct volume *v, const char *path)
{
	const char *name;
	struct node *dir = parent_of(v, path, &name);
	struct entry *e = find(&dir->now, name);

	if (*name == '\0')
		return dir;
	if (e == NULL)
		support_fatal("an event of the unknown file %s", path);
	return &v->node[e->node];
}

struct volume *
volume_new(void)
{
	struct volume *v = SHELF_NEW(struct volume);

	add_node(v, true);
	return v;
}

void
volume_free(struct volume **volume)
{
	struct volume *v = *volume;

	if (v == NULL)
		return;
	*volume = NULL;
	for (size_t i = 0; i < v->count; i++) {
		shelf_buf_free(&v->node[i].durable);
		free(v->node[i].pending);
		free(v->node[i].changes);
	}
	free(v);
}

static void
load(struct volume *v, size_t into, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat st;
	char path[PATH_MAX];

	while (d != NULL && (e = readdir(d)) != NULL) {
		struct change c = {.old = ""};

		if (e->d_name[0] == '.' || strcmp(e->d_name, "lock.mdb") == 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if (stat(path, &st) != 0)
			support_fatal("cannot look at %s", path);
		c.name.node = add_node(v, S_ISDIR(st.st_mode));
		snprintf(c.name.name, sizeof c.name.name, "%.63s", e->d_name);
		change_entries(&v->node[into].now, &c);
		change_entries(&v->node[into].then, &c);
		if (S_ISDIR(st.st_mode))
			load(v, c.name.node, path);
		else
			support_read_file(path, &v->node[c.name.node].durable);
	}
	if (d == NULL)
		support_fatal("cannot read %s", dir);
	closedir(d);
}

void
volume_load(struct volume *v, const char *dir)
{
	load(v, ROOT, dir);
}

/* ---- Events --------------------------------------------------------------------------------------- */

static void
write_at(struct shelf_buf *b, uint64_t offset, const uint8_t *data, size_t len)
{
	uint64_t end = offset + len;

	if (end > b->len) {
		memset(shelf_buf_reserve(b, end - b->len), 0, end - b->len);
		b->len = end;
	}
	if (len > 0)
		memcpy(b->data + offset, data, len);
}

static void
write_event(struct shelf_buf *b, const struct disk_event *e)
{
	if (e->kind == DISK_EVENT_TRUNCATE && e->offset < b->len)
		b->len = e->offset;
	else
		write_at(b, e->offset, e->data.data, e->data.len);
}

static void
sync_node(struct node *n)
{
	for (size_t i = 0; i < n->npending; i++)
		write_event(&n->durable, &n->pending[i]);
	n->npending = 0;
	n->then = n->now;
	n->nchanges = 0;
}

static void
add_pending(struct node *n, const struct disk_event *e)
{
	n->pending = shelf_realloc(n->pending, (n->npending + 1) * sizeof *n->pending);
	n->pending[n->npending++] = *e;
}

static void
change_directory(struct volume *v, const struct disk_event *e)
{
	struct change c = {.old = ""};
	const char *name, *next;
	struct node *dir = parent_of(v, e->path, &name);
	char to[DISK_PATH_MAX];

	if (e->kind == DISK_EVENT_CREATE || e->kind == DISK_EVENT_MKDIR) {
		snprintf(c.name.name, sizeof c.name.name, "%s", name);
		c.name.node = add_node(v, e->kind == DISK_EVENT_MKDIR);
	} else {
		snprintf(c.old, sizeof c.old, "%s", name);
	}
	if (e->kind == DISK_EVENT_RENAME) {
		struct entry *from = find(&dir->now, name);

		snprintf(to, sizeof to, "%.*s", (int)e->data.len, (const char *)e->data.data);
		if (from == NULL || parent_of(v, to, &next) != dir)
			support_fatal("a rename to another directory, or of something unknown: %s", e->path);
		snprintf(c.name.name, sizeof c.name.name, "%s", next);
		c.name.node = from->node;
	}
	change_entries(&dir->now, &c);
	dir->changes = shelf_realloc(dir->changes, (dir->nchanges + 1) * sizeof *dir->changes);
	dir->changes[dir->nchanges++] = c;
}

void
volume_apply(struct volume *v, const struct disk_event *e)
{
	switch (e->kind) {
	case DISK_EVENT_WRITE:
	case DISK_EVENT_TRUNCATE:
		add_pending(node_at(v, e->path), e);
		return;
	case DISK_EVENT_WRITE_SYNC:
		write_event(&node_at(v, e->path)->durable, e);
		return;
	case DISK_EVENT_SYNC:
		sync_node(node_at(v, e->path));
		return;
	case DISK_EVENT_CREATE:
	case DISK_EVENT_MKDIR:
	case DISK_EVENT_RENAME:
	case DISK_EVENT_UNLINK:
		change_directory(v, e);
		return;
	case DISK_EVENT_NOTE:
		return;
	}
}

/* ---- A cut ---------------------------------------------------------------------------------------- */

struct cut {
	struct volume *v;
	struct model *dice;
	enum volume_treatment how;
};

/* Is thing I done, of which those below MARK are the first? */
static bool
done(struct cut *c, size_t i, size_t mark)
{
	switch (c->how) {
	case VOLUME_NOTHING:
		return false;
	case VOLUME_ALL:
		return true;
	case VOLUME_FIRST:
		return i < mark;
	case VOLUME_LAST:
		return i >= mark;
	case VOLUME_PAGES:
	case VOLUME_SECTORS:
	case VOLUME_TREATMENTS:
		break;
	}
	return model_random(c->dice, 2) == 0;
}

static size_t
mark_of(struct cut *c, size_t count)
{
	return model_random(c->dice, (uint32_t)count + 1);
}

static void
write_some(struct cut *c, struct shelf_buf *b, const struct disk_event *e)
{
	size_t block = c->how == VOLUME_PAGES ? PAGE : SECTOR;

	for (size_t at = 0; at < e->data.len; at += block) {
		size_t len = e->data.len - at < block ? e->data.len - at : block;

		if (model_random(c->dice, 2) == 0)
			write_at(b, e->offset + at, e->data.data + at, len);
	}
}

static void
cut_file(struct cut *c, struct node *n)
{
	size_t mark = mark_of(c, n->npending);
	bool some = c->how == VOLUME_PAGES || c->how == VOLUME_SECTORS;
	uint64_t end = n->durable.len;

	for (size_t i = 0; i < n->npending; i++) {
		const struct disk_event *e = &n->pending[i];

		if (e->offset + e->data.len > end)
			end = e->offset + e->data.len;
		if (some && e->kind != DISK_EVENT_TRUNCATE)
			write_some(c, &n->durable, e);
		else if (done(c, i, mark))
			write_event(&n->durable, e);
	}
	/* The new length of a file may be on the disk before what stands there. */
	if (n->npending > 0 && c->how != VOLUME_NOTHING && model_random(c->dice, 2) == 0)
		write_at(&n->durable, end, NULL, 0);
}

static void
cut_directory(struct cut *c, struct node *n)
{
	size_t mark = mark_of(c, n->nchanges);

	for (size_t i = 0; i < n->nchanges; i++)
		if (done(c, i, mark))
			change_entries(&n->then, &n->changes[i]);
}

static void
write_file(const char *path, struct shelf_span bytes)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || (bytes.len > 0 && fwrite(bytes.data, 1, bytes.len, f) != bytes.len) || fclose(f) != 0)
		support_fatal("cannot write %s", path);
}

static void
write_node(struct volume *v, size_t at, const char *path)
{
	struct node *n = &v->node[at];
	char sub[PATH_MAX];

	if (!n->is_dir) {
		write_file(path, shelf_buf_span(&n->durable));
		return;
	}
	if (mkdir(path, 0700) != 0)
		support_fatal("cannot make %s", path);
	for (size_t i = 0; i < n->then.count; i++) {
		snprintf(sub, sizeof sub, "%s/%s", path, n->then.list[i].name);
		write_node(v, n->then.list[i].node, sub);
	}
}

void
volume_cut(struct volume *v, const struct disk_event *under_way, enum volume_treatment how,
    struct model *dice, const char *dir)
{
	struct cut c = {.v = v, .dice = dice, .how = how};
	struct disk_event e = *under_way;

	/* A sync under way has done nothing that is sure; anything else may have happened or not. */
	if (e.kind == DISK_EVENT_WRITE_SYNC)
		e.kind = DISK_EVENT_WRITE;
	if (e.kind != DISK_EVENT_SYNC)
		volume_apply(v, &e);
	for (size_t i = 0; i < v->count; i++) {
		if (v->node[i].is_dir)
			cut_directory(&c, &v->node[i]);
		else
			cut_file(&c, &v->node[i]);
	}
	write_node(v, ROOT, dir);
}
