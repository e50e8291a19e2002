/*
 * source_uidl.c - unique-ids of POP3 that mail had on another server
 *
 *   dovecot-uidlist   version 3: "3 V<uidvalidity> N<next uid> ...", then a line for each message: its uid, fields of a
 *                     letter and a value, and behind ":" the name of its file without flags. Field P is the unique-id
 *                     that the server was told to keep; without it the server makes one of uid and uidvalidity, eight
 *                     hexadecimal digits each (pop3_uidl_format = %08Xu%08Xv, as it is unless it was set).
 *   list              "UNIQUE-ID MESSAGE-ID" a line, as scripts write it from what a POP3 client or server has
 *
 * Work is n log n, memory that of the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "source.h"

enum { LINE_MAX_BYTES = 4096 };

void
source_uidls_free(struct source_uidls *list)
{
	free(list->row);
	shelf_arena_free(&list->arena);
	*list = (struct source_uidls){0};
}

static int
compare(struct shelf_span a, struct shelf_span b)
{
	int rc = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return rc != 0 ? rc : (a.len > b.len) - (a.len < b.len);
}

static int
by_name(const void *a, const void *b)
{
	return compare(((const struct source_uidl_row *)a)->name, ((const struct source_uidl_row *)b)->name);
}

static void
add(struct source_uidls *list, struct shelf_span name, struct shelf_span uidl, uint32_t uid)
{
	if (list->n == list->cap) {
		list->cap = list->cap == 0 ? 256 : 2 * list->cap;
		list->row = shelf_realloc(list->row, list->cap * sizeof *list->row);
	}
	list->row[list->n++] = (struct source_uidl_row){shelf_arena_dup(&list->arena, name),
	    shelf_arena_dup(&list->arena, uidl), uid};
}

static void
sort(struct source_uidls *list)
{
	if (list->n > 0)
		qsort(list->row, list->n, sizeof *list->row, by_name);
}

const struct source_uidl_row *
source_uidls_find(const struct source_uidls *list, struct shelf_span name)
{
	const struct source_uidl_row want = {.name = name};

	return list->n == 0 || name.len == 0 ? NULL : bsearch(&want, list->row, list->n, sizeof *list->row, by_name);
}

/* The next word of *REST; empty at the end. */
static struct shelf_span
word(struct shelf_span *rest)
{
	size_t from = 0, to;
	struct shelf_span w;

	while (from < rest->len && (rest->data[from] == ' ' || rest->data[from] == '\t'))
		from++;
	for (to = from; to < rest->len && rest->data[to] != ' ' && rest->data[to] != '\t'; to++)
		;
	w = shelf_span(rest->data + from, to - from);
	*rest = shelf_span(rest->data + to, rest->len - to);
	return w;
}

/* A line without its end; false at the end of the file. *LONG_OUT: it was cut. */
static bool
read_line(FILE *f, char line[LINE_MAX_BYTES], struct shelf_span *out, bool *long_out)
{
	size_t len;
	int c;

	if (fgets(line, LINE_MAX_BYTES, f) == NULL)
		return false;
	len = strlen(line);
	*long_out = len == LINE_MAX_BYTES - 1 && line[len - 1] != '\n';
	for (c = *long_out ? 0 : '\n'; c != '\n' && c != EOF;)
		c = getc(f);
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	*out = shelf_span(line, len);
	return true;
}

/* ---- dovecot-uidlist --------------------------------------------------------------------------- */

static bool
add_dovecot(struct source_uidls *list, struct shelf_span line, uint64_t uidvalidity)
{
	ptrdiff_t colon = shelf_span_find(line, ':', 0);
	struct shelf_span fields, name, uidl = {0}, w;
	char made[SHELF_UIDL_MAX + 1];
	uint64_t uid;

	if (colon < 0)
		return false;
	fields = shelf_span(line.data, (size_t)colon);
	name = shelf_span(line.data + colon + 1, line.len - (size_t)colon - 1);
	w = word(&fields);
	if (!shelf_span_u64(w, UINT32_MAX, &uid) || uid == 0 || name.len == 0)
		return false;
	while ((w = word(&fields)).len > 0)
		if (w.data[0] == 'P')
			uidl = shelf_span(w.data + 1, w.len - 1);
	if (uidl.len == 0) {
		snprintf(made, sizeof made, "%08x%08x", (unsigned)uid, (unsigned)uidvalidity);
		uidl = shelf_span_str(made);
	}
	colon = shelf_span_find(name, ':', 0);
	add(list, colon < 0 ? name : shelf_span(name.data, (size_t)colon), uidl, (uint32_t)uid);
	return true;
}

/* "3 V1275660208 N25022 G3085f01b..." */
static bool
read_head(struct shelf_span line, uint64_t *uidvalidity)
{
	bool found = false;
	struct shelf_span w = word(&line);

	if (!shelf_span_is(w, "3"))
		return false;
	while ((w = word(&line)).len > 0)
		if (w.data[0] == 'V')
			found = shelf_span_u64(shelf_span(w.data + 1, w.len - 1), UINT32_MAX, uidvalidity);
	return found;
}

void
source_uidls_dovecot(struct source_uidls *list, const char *dir, const struct source_sink *sink)
{
	char *path = shelf_arena_printf(&list->arena, "%s/dovecot-uidlist", dir), text[100];
	char *line = shelf_alloc(LINE_MAX_BYTES);
	FILE *f = fopen(path, "re");
	uint64_t uidvalidity = 0, n = 0;
	struct shelf_span s;
	bool cut;

	while (f != NULL && read_line(f, line, &s, &cut)) {
		n++;
		if (!cut && (n == 1 ? read_head(s, &uidvalidity) : add_dovecot(list, s, uidvalidity)))
			continue;
		snprintf(text, sizeof text, "line %llu is none of a dovecot-uidlist of version 3",
		    (unsigned long long)n);
		sink->problem(sink->arg, path, 0, text);
		if (n == 1)
			break;
	}
	if (f != NULL)
		fclose(f);
	free(line);
	list->uidvalidity = (uint32_t)uidvalidity;
	sort(list);
}

/* ---- A list of Message-IDs ------------------------------------------------------------------------ */

static bool
read_row(struct source_uidls *list, struct shelf_span line)
{
	struct shelf_span uidl = word(&line), id = word(&line);

	if (uidl.len == 0 || uidl.data[0] == '#')
		return true;
	if (!shelf_uidl_valid(uidl) || id.len == 0 || word(&line).len > 0)
		return false;
	add(list, id, uidl, 0);
	return true;
}

bool
source_uidls_file(struct source_uidls *list, const char *path, char *why, size_t why_len)
{
	char *line = shelf_alloc(LINE_MAX_BYTES);
	FILE *f = fopen(path, "re");
	unsigned long long n = 1;
	struct shelf_span s;
	bool cut, good = f != NULL;

	if (!good)
		snprintf(why, why_len, "%s: %s", path, strerror(errno));
	for (; good && read_line(f, line, &s, &cut); n++)
		if (cut || !read_row(list, s)) {
			snprintf(why, why_len, "%s:%llu: not \"UNIQUE-ID MESSAGE-ID\"", path, n);
			good = false;
		}
	if (f != NULL)
		fclose(f);
	free(line);
	sort(list);
	for (size_t i = 1; good && i < list->n; i++)
		if (compare(list->row[i].name, list->row[i - 1].name) == 0) {
			snprintf(why, why_len, "%s: Message-ID %.*s stands there twice", path,
			    (int)list->row[i].name.len, (const char *)list->row[i].name.data);
			good = false;
		}
	return good;
}
