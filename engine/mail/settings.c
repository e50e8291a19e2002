/*
 * settings.c - STORE/mailshelf: the format, and what can be set while the store is in use
 *
 *   format 1
 *   hold_s 1209600
 *   guard_percent 30
 *
 * A line is a key, blanks, a number. Lines with other keys are kept: they are of another release. What is not
 * there has its default.
 *
 * What must stay true: the file is replaced by rename, under a lock of the directory, so that a reader
 * sees the old one or the new one and two writers lose nothing. A value is one atomic number: committers
 * read it while it changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "mail.h"

enum { FORMAT = 1, FILE_MAX_BYTES = 64 << 10 };

static const struct shelf_setting_info infos[SHELF_SETTINGS] = {
#define SHELF_SETTING(id, name, key, kind, std, lowest, highest, text)                             \
	[SHELF_SETTING_##id] = {name, key, text, SHELF_SETTING_##kind, std, lowest, highest},
#include <mailshelf/settings.def>
#undef SHELF_SETTING
};

const struct shelf_setting_info *
shelf_setting_info(enum shelf_setting id)
{
	return &infos[id];
}

bool
shelf_setting_find(struct shelf_span name, enum shelf_setting *id_out)
{
	for (unsigned i = 0; i < SHELF_SETTINGS; i++) {
		if (shelf_span_eq(name, shelf_span_str(infos[i].name))) {
			*id_out = (enum shelf_setting)i;
			return true;
		}
	}
	return false;
}

uint64_t
shelf_setting_get(struct shelf_store *store, enum shelf_setting id)
{
	return atomic_load_explicit(&store->setting[id], memory_order_relaxed);
}

/* ---- Reading ---------------------------------------------------------------------------------------- */

static int
from_errno(void)
{
	return errno == ENOSPC || errno == EDQUOT  ? SHELF_EFULL
	       : errno == ENOENT || errno == ENOTDIR ? SHELF_EMISSING
						     : SHELF_EIO;
}

/* The whole file, and what the file system says of it. */
static int
read_file(int dir, struct shelf_buf *out, struct stat *st)
{
	int fd = openat(dir, "mailshelf", O_RDONLY | O_CLOEXEC);
	char piece[4096];
	ssize_t n = 0;
	int rc = fd < 0 || fstat(fd, st) != 0 ? from_errno() : 0;

	shelf_buf_clear(out);
	while (rc == 0 && (n = read(fd, piece, sizeof(piece))) > 0) {
		shelf_buf_add(out, piece, (size_t)n);
		if (out->len > FILE_MAX_BYTES)
			rc = SHELF_ECORRUPT;
	}
	if (rc == 0 && n < 0)
		rc = SHELF_EIO;
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Takes the next line off REST and parts it: false at the end. */
static bool
next_line(struct shelf_span *rest, struct shelf_span *line, struct shelf_span *key,
	  struct shelf_span *value)
{
	ptrdiff_t end;
	size_t n = 0;

	if (rest->len == 0)
		return false;
	end = shelf_span_find(*rest, '\n', 0);
	*line = shelf_span(rest->data, end < 0 ? rest->len : (size_t)end);
	n = line->len + (end >= 0);
	*rest = shelf_span(rest->data + n, rest->len - n);
	for (n = 0; n < line->len && line->data[n] != ' ';)
		n++;
	*key = shelf_span(line->data, n);
	while (n < line->len && line->data[n] == ' ')
		n++;
	*value = shelf_span(line->data + n, line->len - n);
	return true;
}

static bool
number(struct shelf_span s, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9' || *out > (UINT64_MAX - 9) / 10)
			return false;
		*out = *out * 10 + (s.data[i] - '0');
	}
	return s.len > 0;
}

static int
find_key(struct shelf_span key)
{
	for (unsigned i = 0; i < SHELF_SETTINGS; i++)
		if (shelf_span_eq(key, shelf_span_str(infos[i].key)))
			return (int)i;
	return -1;
}

/* VALUES: all of them, defaults where the text says nothing. */
static int
parse(struct shelf_span text, uint64_t *values)
{
	struct shelf_span line, key, value;
	uint64_t n, format = 0;

	for (unsigned i = 0; i < SHELF_SETTINGS; i++)
		values[i] = infos[i].std;
	while (next_line(&text, &line, &key, &value)) {
		int id = find_key(key);

		if (id < 0 && !shelf_span_eq(key, shelf_span_str("format")))
			continue;
		if (!number(value, &n) ||
		    (id >= 0 && (n < infos[id].lowest || n > infos[id].highest))) {
			char shown[80];

			snprintf(shown, sizeof(shown), "%.*s", (int)line.len, (const char *)line.data);
			shelf_log(SHELF_LOG_ERROR, "store setting cannot be read", "line", "%s", shown,
				  NULL);
			return SHELF_ECORRUPT;
		}
		if (id >= 0)
			values[id] = n;
		else
			format = n;
	}
	return format == FORMAT ? 0 : format == 0 ? SHELF_ECORRUPT : SHELF_EVERSION;
}

static int
open_dir(const char *dir, int *fd_out)
{
	*fd_out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd_out < 0 ? from_errno() : 0;
}

/* Another one when the file was replaced or written to. */
static uint64_t
version_of(const struct stat *st)
{
	return (uint64_t)st->st_ino ^ (uint64_t)st->st_mtim.tv_sec << 20 ^
	       (uint64_t)st->st_mtim.tv_nsec << 8 ^ (uint64_t)st->st_size;
}

int
mail_settings_read(struct shelf_store *s)
{
	uint64_t values[SHELF_SETTINGS];
	struct shelf_buf text = {0};
	struct stat st;
	int dir, rc = open_dir(s->dir, &dir);

	if (rc == 0 && (rc = read_file(dir, &text, &st)) == 0) {
		s->settings_version = version_of(&st);
		rc = parse(shelf_buf_span(&text), values);
	}
	for (unsigned i = 0; i < SHELF_SETTINGS && rc == 0; i++)
		atomic_store(&s->setting[i], values[i]);
	if (dir >= 0)
		close(dir);
	shelf_buf_free(&text);
	return rc;
}

/* A file that cannot be read is told once: its version is remembered, and what was set before stays. */
void
mail_settings_refresh(struct shelf_store *s)
{
	struct shelf_buf path = {0};
	struct stat st;
	int rc;

	shelf_buf_printf(&path, "%s/mailshelf", s->dir);
	shelf_buf_cstr(&path);
	rc = stat((char *)path.data, &st);
	shelf_buf_free(&path);
	if (rc != 0 || version_of(&st) == s->settings_version)
		return;
	rc = mail_settings_read(s);
	shelf_log(rc == 0 ? SHELF_LOG_INFO : SHELF_LOG_ERROR, "store settings", "result", "%s",
		  rc == 0 ? "read again" : shelf_err_text(rc), NULL);
}

/* ---- Writing ---------------------------------------------------------------------------------------- */

static int
write_file(int dir, const struct shelf_buf *text)
{
	static const char fresh[] = "mailshelf.new";
	int fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t done = 0;
	int rc = fd < 0 ? from_errno() : 0;

	while (rc == 0 && done < text->len) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno != EINTR)
			rc = from_errno();
		done += n > 0 ? (size_t)n : 0;
	}
	if (rc == 0 && fsync(fd) != 0)
		rc = from_errno();
	if (fd >= 0 && close(fd) != 0 && rc == 0)
		rc = from_errno();
	if (rc == 0 && renameat(dir, fresh, dir, "mailshelf") != 0)
		rc = from_errno();
	if (rc != 0 && fd >= 0)
		unlinkat(dir, fresh, 0);
	/* It has its place; only whether the disk knows is not known. */
	return rc == 0 && fsync(dir) != 0 ? SHELF_EUNKNOWN : rc;
}

int
mail_settings_create(const char *dir_name, uint32_t hold_s)
{
	struct shelf_buf text = {0};
	int dir, rc = open_dir(dir_name, &dir);

	shelf_buf_printf(&text, "format %d\nhold_s %u\n", FORMAT, hold_s);
	if (rc == 0)
		rc = write_file(dir, &text);
	if (dir >= 0)
		close(dir);
	shelf_buf_free(&text);
	return rc;
}

/* OLD with ID set to VALUE: its line replaced where it stands, or a new one at the end. */
static void
change(struct shelf_span old, enum shelf_setting id, uint64_t value, struct shelf_buf *out)
{
	struct shelf_span line, key, ignored;
	bool found = false;

	while (next_line(&old, &line, &key, &ignored)) {
		if (find_key(key) != (int)id) {
			shelf_buf_add_span(out, line);
			shelf_buf_add_byte(out, '\n');
			continue;
		}
		if (!found)
			shelf_buf_printf(out, "%s %llu\n", infos[id].key, (unsigned long long)value);
		found = true;
	}
	if (!found)
		shelf_buf_printf(out, "%s %llu\n", infos[id].key, (unsigned long long)value);
}

int
shelf_setting_set(struct shelf_store *s, enum shelf_setting id, uint64_t value)
{
	uint64_t values[SHELF_SETTINGS];
	struct shelf_buf old = {0}, text = {0};
	struct stat st;
	int dir, rc;

	if (value < infos[id].lowest || value > infos[id].highest)
		return SHELF_EINVALID;
	rc = open_dir(s->dir, &dir);
	if (rc == 0 && flock(dir, LOCK_EX) != 0)
		rc = from_errno();
	if (rc == 0 && (rc = read_file(dir, &old, &st)) == 0 &&
	    (rc = parse(shelf_buf_span(&old), values)) == 0) {
		change(shelf_buf_span(&old), id, value, &text);
		rc = write_file(dir, &text);
	}
	if (rc == 0) {
		atomic_store(&s->setting[id], value);
		mail_disk_forget(s);
	}
	if (dir >= 0)
		close(dir);
	shelf_buf_free(&old);
	shelf_buf_free(&text);
	return rc;
}
