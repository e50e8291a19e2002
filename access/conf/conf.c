/*
 * conf.c - settings from conf.def: defaults, one value, a file
 *
 * conf.def is expanded into one table of rows; everything else walks the table. Errors say what is
 * expected, because they are read by whoever just typed the value.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "conf.h"

enum { CONF_FILE_MAX_BYTES = 1024 * 1024, CONF_VALUE_MAX_BYTES = 4096 };

static const struct conf_row rows[] = {
#define CONF_TEXT(name, def, text) {#name, CONF_KIND_TEXT, offsetof(struct conf, name), def, 0, 0, 0, "", text},
#define CONF_BOOL(name, def, text) {#name, CONF_KIND_BOOL, offsetof(struct conf, name), NULL, def, 0, 1, "", text},
#define CONF_NUM(name, def, min, max, unit, text) \
	{#name, CONF_KIND_NUM, offsetof(struct conf, name), NULL, def, min, max, unit, text},
#include "conf.def"
#undef CONF_TEXT
#undef CONF_BOOL
#undef CONF_NUM
};

enum { NROWS = sizeof(rows) / sizeof(rows[0]) };

const struct conf_row *
conf_rows(size_t *count_out)
{
	*count_out = NROWS;
	return rows;
}

static char **
text_of(struct conf *conf, const struct conf_row *row)
{
	return (char **)(void *)((char *)conf + row->offset);
}

static bool *
bool_of(struct conf *conf, const struct conf_row *row)
{
	return (bool *)((char *)conf + row->offset);
}

static uint64_t *
num_of(struct conf *conf, const struct conf_row *row)
{
	return (uint64_t *)(void *)((char *)conf + row->offset);
}

struct conf *
conf_new(void)
{
	struct conf *conf = SHELF_NEW(struct conf);

	for (size_t i = 0; i < NROWS; i++) {
		const struct conf_row *row = &rows[i];

		switch (row->kind) {
		case CONF_KIND_TEXT:
			*text_of(conf, row) = row->text_default == NULL ? NULL : shelf_strdup(row->text_default);
			break;
		case CONF_KIND_BOOL:
			*bool_of(conf, row) = row->num_default != 0;
			break;
		case CONF_KIND_NUM:
			*num_of(conf, row) = row->num_default;
		}
	}
	return conf;
}

void
conf_free(struct conf **confp)
{
	struct conf *conf = *confp;

	*confp = NULL;
	if (conf == NULL)
		return;
	for (size_t i = 0; i < NROWS; i++) {
		if (rows[i].kind == CONF_KIND_TEXT)
			free(*text_of(conf, &rows[i]));
	}
	free(conf);
}

/* "-" and "_" are the same in a name: the command line writes one, the file the other. */
const struct conf_row *
conf_find(const char *name)
{
	for (size_t i = 0; i < NROWS; i++) {
		const char *a = rows[i].name, *b = name;

		while (*a != '\0' && (*a == *b || (*a == '_' && *b == '-'))) {
			a++;
			b++;
		}
		if (*a == '\0' && *b == '\0')
			return &rows[i];
	}
	return NULL;
}

/* ---- One value -------------------------------------------------------------------------------- */

static bool
set_text(struct conf *conf, const struct conf_row *row, const char *value, char *error,
    size_t error_len)
{
	char **text = text_of(conf, row);
	size_t len = strlen(value);

	if (len > CONF_VALUE_MAX_BYTES) {
		snprintf(error, error_len, "%s: longer than %d bytes", row->name, CONF_VALUE_MAX_BYTES);
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)value[i] < ' ' || value[i] == 0x7f) {
			snprintf(error, error_len, "%s: control character in the value", row->name);
			return false;
		}
	}
	if (row->offset == offsetof(struct conf, log_level) && strcmp(value, "debug") != 0 &&
	    strcmp(value, "info") != 0 && strcmp(value, "warn") != 0 && strcmp(value, "error") != 0) {
		snprintf(error, error_len, "%s: must be debug, info, warn or error", row->name);
		return false;
	}
	free(*text);
	*text = len == 0 ? NULL : shelf_strdup(value);
	return true;
}

static bool
set_bool(struct conf *conf, const struct conf_row *row, const char *value, char *error,
    size_t error_len)
{
	if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0) {
		snprintf(error, error_len, "%s: must be yes or no", row->name);
		return false;
	}
	*bool_of(conf, row) = value[0] == 'y';
	return true;
}

static bool
set_num(struct conf *conf, const struct conf_row *row, const char *value, char *error,
    size_t error_len)
{
	bool bytes = strcmp(row->unit, "bytes") == 0;
	uint64_t n = 0;
	bool ok = shelf_span_u64(shelf_span_str(value), UINT64_MAX, &n);

	if (!ok && bytes)
		ok = shelf_size_parse(value, &n);
	if (!ok || n < row->min || n > row->max) {
		snprintf(error, error_len, "%s: must be %llu..%llu %s", row->name,
		    (unsigned long long)row->min, (unsigned long long)row->max, row->unit);
		return false;
	}
	*num_of(conf, row) = n;
	return true;
}

bool
conf_set(struct conf *conf, const char *name, const char *value, char *error, size_t error_len)
{
	const struct conf_row *row = conf_find(name);

	if (row == NULL) {
		snprintf(error, error_len, "%.100s: unknown setting", name);
		return false;
	}
	switch (row->kind) {
	case CONF_KIND_TEXT:
		return set_text(conf, row, value, error, error_len);
	case CONF_KIND_BOOL:
		return set_bool(conf, row, value, error, error_len);
	case CONF_KIND_NUM:
		return set_num(conf, row, value, error, error_len);
	}
	return false;
}

bool
conf_same(const struct conf *a, const struct conf *b, const struct conf_row *row)
{
	const char *at = (const char *)a + row->offset, *bt = (const char *)b + row->offset;
	const char *x, *y;

	switch (row->kind) {
	case CONF_KIND_TEXT:
		memcpy(&x, at, sizeof(x));
		memcpy(&y, bt, sizeof(y));
		return x == NULL || y == NULL ? x == y : strcmp(x, y) == 0;
	case CONF_KIND_BOOL:
		return memcmp(at, bt, sizeof(bool)) == 0;
	case CONF_KIND_NUM:
		return memcmp(at, bt, sizeof(uint64_t)) == 0;
	}
	return false;
}

/* ---- The file ----------------------------------------------------------------------------------- */

static char *
trim(char *s)
{
	char *end = s + strlen(s);

	while (*s == ' ' || *s == '\t')
		s++;
	while (end > s && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	*end = '\0';
	return s;
}

/* LINES[row]: where a setting was seen before, 0 when not. */
static bool
read_line(struct conf *conf, char *line, unsigned number, unsigned *lines, char *error,
    size_t error_len)
{
	const struct conf_row *row;
	char *name = trim(line), *value = strchr(name, '=');

	if (*name == '\0' || *name == '#')
		return true;
	if (value == NULL) {
		snprintf(error, error_len, "`name = value` expected");
		return false;
	}
	*value = '\0';
	name = trim(name);
	value = trim(value + 1);
	row = conf_find(name);
	if (row != NULL && lines[row - rows] != 0) {
		snprintf(error, error_len, "%s: set in line %u already", row->name, lines[row - rows]);
		return false;
	}
	if (!conf_set(conf, name, value, error, error_len))
		return false;
	lines[row - rows] = number;
	return true;
}

/* The whole file, with a NUL behind it; NULL and a text in ERROR. */
static char *
slurp(const char *file, char *error, size_t error_len)
{
	struct shelf_buf buf = {0};
	struct stat st;
	ssize_t n = 0;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 || fstat(fd, &st) != 0) {
		snprintf(error, error_len, "%s: %s", file, strerror(errno));
		goto out;
	}
	if (S_ISDIR(st.st_mode)) {
		snprintf(error, error_len, "%s: is a directory", file);
		goto out;
	}
	while (buf.len <= CONF_FILE_MAX_BYTES) {
		n = read(fd, shelf_buf_reserve(&buf, 4096), 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf.len += (size_t)n;
	}
	if (n < 0)
		snprintf(error, error_len, "%s: %s", file, strerror(errno));
	else if (buf.len > CONF_FILE_MAX_BYTES)
		snprintf(error, error_len, "%s: larger than 1 MiB", file);
	else if (buf.len > 0 && memchr(buf.data, '\0', buf.len) != NULL)
		snprintf(error, error_len, "%s: not a text file", file);
	else
		goto good;
out:
	if (fd >= 0)
		close(fd);
	shelf_buf_free(&buf);
	return NULL;
good:
	close(fd);
	shelf_buf_cstr(&buf);
	return (char *)buf.data;
}

bool
conf_read(struct conf *conf, const char *file, char *error, size_t error_len)
{
	unsigned lines[NROWS] = {0}, number = 0;
	char why[256] = "";
	char *text = slurp(file, error, error_len), *next = text;
	bool ok = text != NULL;

	while (ok && next != NULL) {
		char *line = next;

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		ok = read_line(conf, line, ++number, lines, why, sizeof(why));
		if (!ok)
			snprintf(error, error_len, "%s:%u: %s", file, number, why);
	}
	free(text);
	return ok;
}

/* ---- After reading ------------------------------------------------------------------------------ */

void
conf_finish(struct conf *conf)
{
	char host[256] = "localhost";

	if (conf->hostname == NULL) {
		if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
			snprintf(host, sizeof(host), "localhost");
		conf->hostname = shelf_strdup(host);
	}
	if (conf->local_domains == NULL) {
		struct shelf_buf b = {0};

		shelf_buf_printf(&b, "localhost %s", conf->hostname);
		conf->local_domains = shelf_strdup(shelf_buf_cstr(&b));
		shelf_buf_free(&b);
	}
}

bool
conf_is_local_domain(const struct conf *conf, const char *domain, size_t len)
{
	const char *at = conf->local_domains;
	struct shelf_span wanted = shelf_span(domain, len);

	while (at != NULL && *at != '\0' && len > 0) {
		size_t n = strcspn(at, " \t");

		if (shelf_span_ieq(wanted, shelf_span(at, n)))
			return true;
		at += n;
		at += strspn(at, " \t");
	}
	return false;
}
