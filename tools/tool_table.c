/*
 * tool_table.c - things with names and the same numbers each: as a table, as a list, as JSON, sorted
 *
 * The columns of the text have the keys of the JSON as their heads, so that what is read there can be given
 * to --sort. Text shows the columns that are not marked as JSON's only.
 */
#include <stdlib.h>
#include <string.h>

#include "tools.h"

enum { CELL = 32 };

struct line {
	char *name;
	uint64_t *value; /* one for each column */
};

struct tool_table {
	const struct tool_column *column;
	size_t columns;
	const char *name_key;
	struct line *line;
	size_t n, cap;
};

struct tool_table *
tool_table_new(const char *name_key, const struct tool_column *column, size_t columns)
{
	struct tool_table *table = SHELF_NEW(struct tool_table);

	*table = (struct tool_table){.column = column, .columns = columns, .name_key = name_key};
	return table;
}

void
tool_table_free(struct tool_table **table)
{
	struct tool_table *t = *table;

	if (t == NULL)
		return;
	*table = NULL;
	for (size_t i = 0; i < t->n; i++) {
		free(t->line[i].name);
		free(t->line[i].value);
	}
	free(t->line);
	free(t);
}

uint64_t *
tool_table_add(struct tool_table *t, const char *name)
{
	struct line *line;

	if (t->n == t->cap) {
		t->cap = t->cap == 0 ? 16 : t->cap * 2;
		t->line = shelf_realloc(t->line, t->cap * sizeof *t->line);
	}
	line = &t->line[t->n++];
	line->name = shelf_strdup(name);
	line->value = shelf_zalloc(t->columns * sizeof *line->value);
	return line->value;
}

uint64_t *
tool_table_line(struct tool_table *t, const char *name)
{
	for (size_t i = t->n; i > 0; i--)
		if (strcmp(t->line[i - 1].name, name) == 0)
			return t->line[i - 1].value;
	return tool_table_add(t, name);
}

/* ---- Sorting ------------------------------------------------------------------------------------- */

/* qsort hands no argument through; the tool has one thread. */
static size_t sort_column;

static int
by_name(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int
by_value(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	uint64_t v = x->value[sort_column], w = y->value[sort_column];

	return v != w ? (v < w ? 1 : -1) : by_name(a, b);
}

bool
tool_table_sort(struct tool_table *t, const char *key)
{
	for (sort_column = 0; sort_column < t->columns; sort_column++)
		if (strcmp(t->column[sort_column].key, key) == 0)
			break;
	if (sort_column == t->columns && strcmp(t->name_key, key) != 0)
		return false;
	if (t->n > 0)
		qsort(t->line, t->n, sizeof *t->line, sort_column == t->columns ? by_name : by_value);
	return true;
}

/* ---- Printing ------------------------------------------------------------------------------------ */

static const char *
cell_text(const struct tool_column *c, uint64_t value, char *cell)
{
	if (c->unit == TOOL_BYTES)
		return shelf_size_text(value, cell, CELL);
	if (c->unit == TOOL_TIME && value == 0)
		return "-";
	if (c->unit == TOOL_TIME)
		return tool_time_text((int64_t)value, cell);
	snprintf(cell, CELL, "%llu", (unsigned long long)value);
	return cell;
}

static void
json_values(const struct tool_table *t, const struct line *line, struct shelf_buf *b)
{
	for (size_t c = 0; c < t->columns; c++)
		tool_json_u64(b, t->column[c].key, line->value[c]);
}

void
tool_table_json(const struct tool_table *t, struct shelf_buf *b)
{
	shelf_buf_add_byte(b, '[');
	for (size_t i = 0; i < t->n; i++) {
		shelf_buf_add_str(b, i == 0 ? "{" : ",{");
		tool_json_str(b, t->name_key, shelf_span_str(t->line[i].name));
		json_values(t, &t->line[i], b);
		shelf_buf_add_byte(b, '}');
	}
	shelf_buf_add_byte(b, ']');
}

void
tool_table_json_first(const struct tool_table *t, struct shelf_buf *b)
{
	if (*t->line[0].name != '\0')
		tool_json_str(b, t->name_key, shelf_span_str(t->line[0].name));
	json_values(t, &t->line[0], b);
}

static size_t
width_of(const struct tool_table *t, size_t c)
{
	size_t width = strlen(t->column[c].key), len;
	char cell[CELL];

	for (size_t i = 0; i < t->n; i++) {
		len = strlen(cell_text(&t->column[c], t->line[i].value[c], cell));
		width = len > width ? len : width;
	}
	return width;
}

void
tool_table_print(const struct tool_table *t)
{
	size_t *width = shelf_zalloc(t->columns * sizeof *width);
	size_t name_width = strlen(t->name_key);
	struct shelf_buf b = {0};
	char cell[CELL];

	for (size_t i = 0; i < t->n; i++)
		if (strlen(t->line[i].name) > name_width)
			name_width = strlen(t->line[i].name);
	for (size_t c = 0; c < t->columns; c++)
		width[c] = width_of(t, c);
	for (size_t i = 0; i <= t->n; i++) {
		const struct line *line = i == 0 ? NULL : &t->line[i - 1];

		shelf_buf_clear(&b);
		shelf_buf_printf(&b, "%-*s", (int)name_width, line == NULL ? t->name_key
		    : line->name[0] == '\0'                             ? "-"
		                                                        : line->name);
		for (size_t c = 0; c < t->columns; c++)
			if (!t->column[c].json_only)
				shelf_buf_printf(&b, "  %*s", (int)width[c],
				    line == NULL ? t->column[c].key
				                 : cell_text(&t->column[c], line->value[c], cell));
		tool_print("%s", shelf_buf_cstr(&b));
	}
	shelf_buf_free(&b);
	free(width);
}

void
tool_table_list_first(const struct tool_table *t)
{
	char cell[CELL];

	for (size_t c = 0; c < t->columns; c++)
		tool_print("%-28s %s", t->column[c].text,
		    cell_text(&t->column[c], t->line[0].value[c], cell));
}
