/*
 * source_maildir.c - a Maildir and the folders of Maildir++ below it
 *
 * Only names are read here; the messages are read when their turn comes. A file that was renamed or
 * removed meanwhile (a mail program at work) is a problem of that one file.
 *
 *   DIR/{cur,new}          the root
 *   DIR/.A.B/{cur,new}     mailbox A/B, levels in modified UTF-7
 *   DIR/dovecot-uidlist    unique-ids of POP3 (source_uidl.c)
 *   DIR/dovecot-keywords   "0 $Label1": what the letter a means in a file name
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <mailshelf/mem.h>
#include <mailshelf/message.h>

#include "source.h"

enum { KEYWORDS_FILE_MAX_BYTES = 64 * 1024 };

void
source_maildir_flags(const char *name, uint32_t *flags_out, uint32_t *letters_out)
{
	const char *info = strstr(name, ":2,");

	*flags_out = *letters_out = 0;
	for (const char *p = info == NULL ? "" : info + 3; *p != '\0' && *p != ','; p++) {
		switch (*p) {
		case 'D':
			*flags_out |= SHELF_DRAFT;
			break;
		case 'F':
			*flags_out |= SHELF_FLAGGED;
			break;
		case 'R':
			*flags_out |= SHELF_ANSWERED;
			break;
		case 'S':
			*flags_out |= SHELF_SEEN;
			break;
		case 'T':
			*flags_out |= SHELF_DELETED;
			break;
		case 'P': /* passed: a bit of its own behind the 26 letters */
			*letters_out |= 1u << 26;
			break;
		default:
			if (*p >= 'a' && *p <= 'z')
				*letters_out |= 1u << (*p - 'a');
			break;
		}
	}
}

int
source_maildir_order(const char *a, const char *b)
{
	size_t na, nb;
	int rc;

	/* Names begin with the second of delivery; more digits are a larger number. */
	while (*a == '0' && a[1] >= '0' && a[1] <= '9')
		a++;
	while (*b == '0' && b[1] >= '0' && b[1] <= '9')
		b++;
	na = strspn(a, "0123456789");
	nb = strspn(b, "0123456789");
	if (na != nb)
		return na < nb ? -1 : 1;
	rc = strncmp(a, b, na);
	return rc != 0 ? rc : strcmp(a + na, b + nb);
}

static int
order_files(const void *a, const void *b)
{
	const struct source_file *fa = a, *fb = b;

	return source_maildir_order(strrchr(fa->path, '/') + 1, strrchr(fb->path, '/') + 1);
}

static bool
is_dir(const char *parent, const char *name)
{
	char path[4096];
	struct stat st;

	return snprintf(path, sizeof path, "%s/%s", parent, name) < (int)sizeof path &&
	    lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool
source_is_maildir(const char *path)
{
	return is_dir(path, "cur") && is_dir(path, "new");
}

/* Files of DIR/SUB ("cur", "new"). */
static void
add_files(struct source_plan *p, const char *dir, const char *sub)
{
	char *path = shelf_arena_printf(&p->arena, "%s/%s", dir, sub);
	DIR *d = opendir(path);
	struct dirent *e;

	if (d == NULL) {
		p->sink->problem(p->sink->arg, path, 0, "directory cannot be read");
		return;
	}
	while ((e = readdir(d)) != NULL) {
		struct source_file *f;
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) {
			p->sink->problem(p->sink->arg,
			    shelf_arena_printf(&p->arena, "%s/%s", path, e->d_name), 0,
			    "is not a regular file");
			continue;
		}
		f = source_plan_file(p, path, e->d_name, (uint64_t)st.st_size, SOURCE_MAILDIR);
		if (strcmp(sub, "cur") == 0)
			source_maildir_flags(e->d_name, &f->flags, &f->letters);
	}
	closedir(d);
}

static void
read_keywords(struct source_plan *p, const char *dir, struct source_folder *folder)
{
	char *path = shelf_arena_printf(&p->arena, "%s/dovecot-keywords", dir);
	const char *why;
	struct source_input *in = source_input_open(path, SOURCE_NOFOLLOW, &why);
	struct shelf_buf text = {0};
	uint8_t *room = shelf_buf_reserve(&text, KEYWORDS_FILE_MAX_BYTES);
	ptrdiff_t n;
	size_t at = 0;

	while (in != NULL && text.len < KEYWORDS_FILE_MAX_BYTES &&
	    (n = source_input_read(in, room + text.len, KEYWORDS_FILE_MAX_BYTES - text.len)) > 0)
		text.len += (size_t)n;
	source_input_close(&in);
	while (at < text.len) {
		struct shelf_span s = shelf_buf_span(&text);
		ptrdiff_t lf = shelf_span_find(s, '\n', at), blank = shelf_span_find(s, ' ', at);
		uint64_t letter;

		lf = lf < 0 ? (ptrdiff_t)s.len : lf;
		if (blank > 0 && blank + 1 < lf &&
		    shelf_span_u64(shelf_span(s.data + at, (size_t)blank - at), 25, &letter))
			folder->keyword[letter] = shelf_arena_dup(&p->arena,
			    shelf_span(s.data + blank + 1, (size_t)(lf - blank - 1)));
		at = (size_t)lf + 1;
	}
	shelf_buf_free(&text);
}

/* By uid, as IMAP showed them; what has none is new there. */
static int
order_uids(const void *a, const void *b)
{
	const struct source_file *fa = a, *fb = b;

	if (fa->uid != fb->uid)
		return fb->uid == 0 || (fa->uid != 0 && fa->uid < fb->uid) ? -1 : 1;
	return order_files(a, b);
}

/* What Dovecot calls them. */
static void
add_uids(struct source_plan *p, const char *dir, struct source_folder *folder)
{
	struct source_file *files = p->files + folder->first;
	struct source_uidls list = {0};

	source_uidls_dovecot(&list, dir, p->sink);
	folder->uidvalidity = list.uidvalidity;
	for (size_t i = 0; i < folder->count; i++) {
		const char *name = strrchr(files[i].path, '/') + 1;
		const struct source_uidl_row *row = source_uidls_find(&list, shelf_span(name, strcspn(name, ":")));

		if (row == NULL)
			continue;
		files[i].uid = row->uid;
		if (p->sink->uidl == SOURCE_UIDL_DOVECOT)
			files[i].uidl = shelf_arena_dup(&p->arena, row->uidl);
	}
	source_uidls_free(&list);
}

static void
add_folder(struct source_plan *p, const char *dir, struct shelf_span name)
{
	struct source_folder *folder = source_plan_folder(p, name, "maildir");
	size_t n = p->nfolders - 1;

	read_keywords(p, dir, folder);
	add_files(p, dir, "cur");
	add_files(p, dir, "new");
	p->folders[n].count = p->nfiles - p->folders[n].first;
	if (p->sink->uidl == SOURCE_UIDL_DOVECOT || p->sink->uids)
		add_uids(p, dir, &p->folders[n]);
	if (p->folders[n].count > 0)
		qsort(p->files + p->folders[n].first, p->folders[n].count, sizeof *p->files,
		    p->sink->uids ? order_uids : order_files);
}

/* ".A.B" is A/B. A level that decodes to something with "/" gets "_" for it. */
static bool
folder_name(const char *entry, struct shelf_buf *out)
{
	struct shelf_span rest = shelf_span_str(entry + 1);

	while (rest.len > 0) {
		ptrdiff_t dot = shelf_span_find(rest, '.', 0);
		size_t len = dot < 0 ? rest.len : (size_t)dot, from;

		if (out->len > 0)
			shelf_buf_add_byte(out, '/');
		from = out->len;
		if (!source_mutf7_decode(shelf_span(rest.data, len), out)) {
			/* Some servers were told to write UTF-8. */
			if (!shelf_utf8_valid(shelf_span(rest.data, len)))
				return false;
			shelf_buf_add(out, rest.data, len);
		}
		for (size_t i = from; i < out->len; i++) {
			if (out->data[i] == '/')
				out->data[i] = '_';
		}
		len += dot >= 0;
		rest = shelf_span(rest.data + len, rest.len - len);
	}
	return true;
}

static int
order_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The entries of DIR whose name begins with ".", in order. */
static char **
subfolders(struct source_plan *p, const char *dir, size_t *n_out)
{
	DIR *d = opendir(dir);
	char **names = NULL;
	size_t n = 0, cap = 0;
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.' || strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (n == cap)
			names = shelf_realloc(names, (cap = cap == 0 ? 64 : 2 * cap) * sizeof *names);
		names[n++] = shelf_arena_printf(&p->arena, "%s", e->d_name);
	}
	if (d != NULL)
		closedir(d);
	if (n > 0)
		qsort(names, n, sizeof *names, order_names);
	*n_out = n;
	return names;
}

bool
source_plan_maildir(struct source_plan *p, const char *path, struct shelf_span prefix)
{
	struct shelf_buf name = {0};
	size_t n = 0;
	char **names = subfolders(p, path, &n);
	bool found = source_is_maildir(path);

	if (found)
		add_folder(p, path, prefix);
	for (size_t i = 0; i < n; i++) {
		char *dir = shelf_arena_printf(&p->arena, "%s/%s", path, names[i]);

		shelf_buf_clear(&name);
		shelf_buf_add_span(&name, prefix);
		if (!source_is_maildir(dir))
			continue;
		if (!folder_name(names[i], &name)) {
			p->sink->problem(p->sink->arg, dir, 0, "folder's name is neither modified UTF-7 nor UTF-8");
			continue;
		}
		add_folder(p, dir, shelf_arena_dup(&p->arena, shelf_buf_span(&name)));
		found = true;
	}
	shelf_buf_free(&name);
	free(names);
	return found;
}
