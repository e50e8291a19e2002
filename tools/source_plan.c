/*
 * source_plan.c - what lies at a path: one file, a Maildir, a tree of files; and reading it in order
 *
 * In a tree, NAME.mbox (.gz, .zst) is the mailbox NAME, NAME.eml a message of the mailbox that its
 * directory is. Directories are walked in order of their names, files before subdirectories, so that
 * a second run meets the same messages in the same order.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#include <mailshelf/mem.h>

#include "source.h"

enum { TREE_DEPTH_MAX = 32 };

static const struct {
	const char *name;
	enum source_format format;
} formats[] = {
	{"auto", SOURCE_AUTO}, {"mbox", SOURCE_MBOX}, {"mboxo", SOURCE_MBOXO},
	{"mboxrd", SOURCE_MBOXRD}, {"mboxcl", SOURCE_MBOXCL}, {"mboxcl2", SOURCE_MBOXCL2},
	{"maildir", SOURCE_MAILDIR}, {"eml", SOURCE_EML},
};

bool
source_format_of(const char *name, enum source_format *out)
{
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		if (strcmp(name, formats[i].name) == 0) {
			*out = formats[i].format;
			return true;
		}
	}
	return false;
}

static bool
is_mbox(enum source_format format)
{
	return format >= SOURCE_MBOX && format <= SOURCE_MBOXCL2;
}

struct source_folder *
source_plan_folder(struct source_plan *p, struct shelf_span name, const char *kind)
{
	struct source_folder *f;

	/* Grown by doubling: the count is a power of two when it is full. */
	if ((p->nfolders & (p->nfolders - 1)) == 0)
		p->folders = shelf_realloc(p->folders,
		    (p->nfolders == 0 ? 1 : 2 * p->nfolders) * sizeof *p->folders);
	f = &p->folders[p->nfolders++];
	*f = (struct source_folder){.name = name, .kind = kind, .first = p->nfiles};
	return f;
}

struct source_file *
source_plan_file(struct source_plan *p, const char *dir, const char *name, uint64_t size,
    enum source_format format)
{
	struct source_file *f;

	if (p->nfiles == p->files_cap) {
		p->files_cap = p->files_cap == 0 ? 256 : 2 * p->files_cap;
		p->files = shelf_realloc(p->files, p->files_cap * sizeof *p->files);
	}
	f = &p->files[p->nfiles++];
	*f = (struct source_file){.size = size, .format = format};
	f->path = dir == NULL ? shelf_arena_printf(&p->arena, "%s", name)
	                      : shelf_arena_printf(&p->arena, "%s/%s", dir, name);
	p->bytes += size;
	return f;
}

/* ---- One file ------------------------------------------------------------------------------------ */

/* Does it begin like an mbox, or like a message: "Name: ..."? */
static bool
sniff(struct source_input *in, enum source_format *out)
{
	uint8_t head[4096];
	struct shelf_span s;
	size_t len = 0, at = 0;
	int64_t date;
	int16_t zone;
	ptrdiff_t n;

	while (len < sizeof head && (n = source_input_read(in, head + len, sizeof head - len)) > 0)
		len += (size_t)n;
	while (at < len && (head[at] == '\n' || head[at] == '\r'))
		at++;
	s = shelf_span(head + at, len - at);
	for (n = 0; (size_t)n < s.len && s.data[n] != '\n' && s.data[n] != '\r'; n++)
		;
	if (source_from_line(shelf_span(s.data, (size_t)n), &date, &zone) ||
	    source_from_bare(shelf_span(s.data, (size_t)n))) {
		*out = SOURCE_MBOX;
		return true;
	}
	for (n = 0; (size_t)n < s.len && s.data[n] > 0x20 && s.data[n] < 0x7f && s.data[n] != ':'; n++)
		;
	*out = SOURCE_EML;
	/* /etc/passwd has colons too: a field's is followed by a blank or the line's end. */
	return n > 0 && (size_t)n + 1 < s.len && s.data[n] == ':' &&
	    memchr(" \t\r\n", s.data[n + 1], 4) != NULL;
}

static bool
has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n > s && strcasecmp(name + n - s, suffix) == 0;
}

/* Length of NAME without .mbox, .mbox.gz, .mbox.zst; 0: it has none of these. */
static size_t
mbox_stem(const char *name)
{
	static const char *const ends[] = {".mbox", ".mbox.gz", ".mbox.zst"};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		if (has_suffix(name, ends[i]))
			return strlen(name) - strlen(ends[i]);
	}
	return 0;
}

/* The format of a file nobody told the format of: by what it begins with, then by its name. */
static bool
guess(const struct source_plan *p, const char *path, unsigned flags, enum source_format *out)
{
	const char *why = NULL;
	struct source_input *in = source_input_open(path, flags, &why);
	bool known = in != NULL && sniff(in, out);

	source_input_close(&in);
	if (why != NULL) {
		p->sink->problem(p->sink->arg, path, 0, why);
		return false;
	}
	if (!known && mbox_stem(path) > 0)
		*out = SOURCE_MBOX;
	else if (!known && has_suffix(path, ".eml"))
		*out = SOURCE_EML;
	else if (!known)
		p->sink->problem(p->sink->arg, path, 0, "neither an mbox nor a message");
	return known || mbox_stem(path) > 0 || has_suffix(path, ".eml");
}

static int
plan_file(struct source_plan *p, const char *path, uint64_t size)
{
	enum source_format format = p->format;
	struct source_input *in;
	const char *why = NULL;

	/* Stdin cannot be looked at twice. */
	if (format == SOURCE_AUTO && strcmp(path, "-") == 0)
		format = SOURCE_MBOX;
	if (format == SOURCE_AUTO && !guess(p, path, 0, &format))
		return SHELF_ESYNTAX;
	if (format == SOURCE_MAILDIR) {
		p->sink->problem(p->sink->arg, path, 0, "is not a Maildir");
		return SHELF_ESYNTAX;
	}
	if (strcmp(path, "-") != 0) {
		in = source_input_open(path, 0, &why);
		if (in == NULL) {
			p->sink->problem(p->sink->arg, path, 0, why);
			return SHELF_EMISSING;
		}
		source_input_close(&in);
	}
	source_plan_folder(p, shelf_span(NULL, 0), is_mbox(format) ? "mbox" : "eml");
	source_plan_file(p, NULL, path, size, format);
	p->folders[0].count = 1;
	return 0;
}

/* ---- A tree ------------------------------------------------------------------------------------ */

struct entry {
	char *name;
	bool dir;
	uint64_t size;
	enum source_format format;
};

static int
order_entries(const void *a, const void *b)
{
	return source_maildir_order(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* What of DIR is mail or may hold some, in order. */
static struct entry *
list_dir(struct source_plan *p, const char *dir, size_t *n_out)
{
	struct entry *list = NULL;
	size_t n = 0, cap = 0;
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(dir);

	if (d == NULL)
		p->sink->problem(p->sink->arg, dir, 0, "directory cannot be read");
	while (d != NULL && (e = readdir(d)) != NULL) {
		struct entry new = {.format = p->format == SOURCE_AUTO ? SOURCE_EML : p->format};
		char *path;

		if (e->d_name[0] == '.')
			continue;
		path = shelf_arena_printf(&p->arena, "%s/%s", dir, e->d_name);
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
			p->sink->problem(p->sink->arg, path, 0, "is not a regular file");
			continue;
		}
		new.dir = S_ISDIR(st.st_mode);
		new.size = (uint64_t)st.st_size;
		if (!new.dir && p->format == SOURCE_AUTO && mbox_stem(path) > 0)
			new.format = SOURCE_MBOX;
		else if (!new.dir && p->format == SOURCE_AUTO && !has_suffix(path, ".eml") &&
		    !guess(p, path, SOURCE_NOFOLLOW, &new.format))
			continue;
		if (n == cap)
			list = shelf_realloc(list, (cap = cap == 0 ? 64 : 2 * cap) * sizeof *list);
		new.name = strrchr(path, '/') + 1;
		list[n++] = new;
	}
	if (d != NULL)
		closedir(d);
	if (n > 0)
		qsort(list, n, sizeof *list, order_entries);
	*n_out = n;
	return list;
}

static struct shelf_span
below(struct source_plan *p, struct shelf_span name, const char *entry, size_t len)
{
	return shelf_span_str(shelf_arena_printf(&p->arena, "%.*s%s%.*s", (int)name.len,
	    name.len == 0 ? "" : (const char *)name.data, name.len > 0 ? "/" : "", (int)len, entry));
}

static void
walk(struct source_plan *p, const char *dir, struct shelf_span name, unsigned depth)
{
	size_t n = 0, messages = 0;
	struct entry *list = list_dir(p, dir, &n);

	for (size_t i = 0; i < n; i++) {
		if (list[i].dir || is_mbox(list[i].format))
			continue;
		if (messages++ == 0)
			source_plan_folder(p, name, "eml");
		source_plan_file(p, dir, list[i].name, list[i].size, SOURCE_EML);
		p->folders[p->nfolders - 1].count++;
	}
	for (size_t i = 0; i < n; i++) {
		const char *entry = list[i].name;
		size_t len = mbox_stem(entry) > 0 ? mbox_stem(entry) : strlen(entry);

		if (list[i].dir || !is_mbox(list[i].format))
			continue;
		source_plan_folder(p, below(p, name, entry, len), "mbox");
		source_plan_file(p, dir, entry, list[i].size, list[i].format);
		p->folders[p->nfolders - 1].count = 1;
	}
	for (size_t i = 0; i < n; i++) {
		char *sub = shelf_arena_printf(&p->arena, "%s/%s", dir, list[i].name);
		struct shelf_span sub_name = below(p, name, list[i].name, strlen(list[i].name));

		if (!list[i].dir)
			continue;
		if (p->format == SOURCE_AUTO && source_is_maildir(sub))
			(void)source_plan_maildir(p, sub, sub_name);
		else if (depth < TREE_DEPTH_MAX)
			walk(p, sub, sub_name, depth + 1);
		else
			p->sink->problem(p->sink->arg, sub, 0, "directories are nested too deep");
	}
	free(list);
}

/* ---- The plan ---------------------------------------------------------------------------------- */

static int
plan_dir(struct source_plan *p, const char *path)
{
	struct shelf_span root = shelf_span(NULL, 0);

	if (p->format == SOURCE_MAILDIR || (p->format == SOURCE_AUTO && source_is_maildir(path))) {
		if (source_plan_maildir(p, path, root))
			return 0;
		p->sink->problem(p->sink->arg, path, 0, "is not a Maildir (no cur and new)");
		return SHELF_ESYNTAX;
	}
	walk(p, path, root, 1);
	if (p->nfiles > 0)
		return 0;
	p->sink->problem(p->sink->arg, path, 0, "no mail in this directory");
	return SHELF_ESYNTAX;
}

int
source_plan_new(const char *path, enum source_format format, const struct source_sink *sink,
    struct source_plan **plan_out)
{
	struct source_plan *p = SHELF_NEW(struct source_plan);
	struct stat st = {0};
	int rc;

	p->format = format;
	p->sink = sink;
	if (strcmp(path, "-") != 0 && stat(path, &st) != 0) {
		sink->problem(sink->arg, path, 0, "does not exist, or its directory cannot be read");
		rc = SHELF_EMISSING;
	} else if (S_ISDIR(st.st_mode)) {
		rc = plan_dir(p, path);
	} else {
		rc = plan_file(p, path, (uint64_t)st.st_size);
	}
	if (rc != 0)
		source_plan_free(&p);
	*plan_out = p;
	return rc;
}

void
source_plan_free(struct source_plan **pp)
{
	struct source_plan *p = *pp;

	if (p == NULL)
		return;
	*pp = NULL;
	shelf_arena_free(&p->arena);
	free(p->folders);
	free(p->files);
	free(p);
}

uint64_t
source_plan_bytes(const struct source_plan *p)
{
	return p->bytes;
}

size_t
source_plan_files(const struct source_plan *p)
{
	return p->nfiles;
}

static size_t
maildir_keywords(const struct source_folder *folder, uint32_t letters, struct shelf_span *words)
{
	size_t n = 0;

	for (unsigned i = 0; i < 26; i++) {
		if ((letters >> i & 1) != 0 && folder->keyword[i].len > 0)
			words[n++] = folder->keyword[i];
	}
	if ((letters >> 26 & 1) != 0)
		words[n++] = shelf_span_str("$Forwarded");
	return n;
}

static int
run_file(const struct source_plan *p, const struct source_folder *folder,
    const struct source_file *f, const struct source_sink *sink)
{
	struct source_meta meta = {.internaldate_s = INT64_MIN};
	/* Only the path the user gave may be a link. */
	unsigned flags = p->nfiles == 1 && folder->name.len == 0 ? 0 : SOURCE_NOFOLLOW;
	struct shelf_span words[27];
	struct source_input *in;
	const char *why = NULL;
	int rc;

	in = source_input_open(f->path, flags, &why);
	if (in == NULL) {
		sink->problem(sink->arg, f->path, 0, why);
		return 0;
	}
	if (is_mbox(f->format)) {
		rc = source_mbox(in, f->path, f->format, sink);
	} else {
		if (f->format == SOURCE_MAILDIR) {
			meta.internaldate_s = source_input_mtime(in);
			meta.flags = f->flags;
			meta.uidl = f->uidl;
			meta.uid = f->uid;
			meta.keywords = words;
			meta.nkeywords = maildir_keywords(folder, f->letters, words);
		}
		rc = source_single(in, f->path, &meta, sink);
	}
	source_input_close(&in);
	return rc;
}

int
source_run(const struct source_plan *p, const struct source_sink *sink)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < p->nfolders; i++) {
		const struct source_folder *folder = &p->folders[i];

		rc = sink->folder(sink->arg, folder->name, folder->kind);
		if (rc == 0 && folder->uidvalidity != 0)
			rc = sink->uidvalidity(sink->arg, folder->uidvalidity);
		for (size_t k = 0; rc == 0 && k < folder->count; k++)
			rc = run_file(p, folder, &p->files[folder->first + k], sink);
	}
	return rc;
}
