/*
 * tool_export_write.c - messages as mboxrd, Maildir++ and .eml
 *
 * mbox and Maildir are Unix formats: lines end with LF there. Only .eml keeps every byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"
#include "tool_export.h"

/* ---- Paths and files ------------------------------------------------------------------------------ */

static bool
ends_with(struct shelf_span s, const char *end)
{
	size_t len = strlen(end);

	return s.len >= len && shelf_span_is(shelf_span(s.data + s.len - len, len), end);
}

void
export_path(const char *dir, const char *name, struct shelf_buf *out)
{
	shelf_buf_clear(out);
	shelf_buf_add_str(out, dir);
	while (*name != '\0') {
		size_t len = strcspn(name, "/");
		struct shelf_span level = shelf_span(name, len);
		/* "A.mbox/B" must not want a directory where "A" has its file. */
		size_t dot = ends_with(level, ".mbox") ? len - 5 : ends_with(level, ".eml") ? len - 4 : len;

		shelf_buf_add_byte(out, '/');
		for (size_t i = 0; i < len; i++) {
			if (name[i] == '.' && (i == 0 || i == dot))
				shelf_buf_add_str(out, "%2E");
			else
				shelf_buf_add_byte(out, (uint8_t)name[i]);
		}
		name += len + (name[len] == '/');
	}
}

/* mkdir of PATH and what is missing above it, below the export's directory. */
static int
make_dirs(const char *base, char *path)
{
	for (char *p = path + strlen(base) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST) {
			*p = '/';
			return errno;
		}
		*p = '/';
	}
	return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

int
export_open_new(const char *path, FILE **out)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	*out = fdopen(fd, "w");
	if (*out != NULL)
		return 0;
	close(fd);
	return ENOMEM;
}

static int
put(struct export_writer *w, struct shelf_span s)
{
	return s.len == 0 || fwrite(s.data, 1, s.len, w->file) == s.len ? 0 : errno;
}

int
export_close_file(struct export_writer *w)
{
	FILE *f = w->file;
	bool bad;

	w->file = NULL;
	if (f == NULL)
		return 0;
	bad = ferror(f) != 0;
	if (f == stdout)
		return fflush(f) == 0 && !bad ? 0 : EIO;
	return fclose(f) == 0 && !bad ? 0 : errno == 0 ? EIO : errno;
}

/* INTERNALDATE as the file's time. */
static void
set_time(struct export_writer *w)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = w->mtime_s}};

	fflush(w->file);
	(void)!futimens(fileno(w->file), times);
}

/* ---- Line ends and quoting ------------------------------------------------------------------------ */

static const char from_text[] = "From ";

static void
release_match(struct export_writer *w, bool whole, struct shelf_buf *out)
{
	if (whole)
		shelf_buf_add_byte(out, '>');
	shelf_buf_add(out, from_text, w->matched);
	w->matched = 0;
	w->line_start = false;
}

static void
convert_byte(struct export_writer *w, uint8_t c, bool mbox, struct shelf_buf *out)
{
	if (w->line_start && mbox) {
		if (c == (uint8_t)from_text[w->matched]) {
			if (++w->matched == 5)
				release_match(w, true, out);
			return;
		}
		/* One more ">" among those that are there is the same as one in front. */
		if (w->matched > 0 || c != '>')
			release_match(w, false, out);
	}
	shelf_buf_add_byte(out, c);
	if (c == '\n')
		w->line_start = true;
}

void
export_convert(struct export_writer *w, struct shelf_span in, bool mbox, bool last,
    struct shelf_buf *out)
{
	shelf_buf_reserve(out, in.len + 16);
	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.data[i];

		/* CR CR LF stays whole: its LF alone would come back as CR LF. */
		if (w->cr && (c != '\n' || w->cr_twice))
			convert_byte(w, '\r', mbox, out);
		w->cr_twice = w->cr && c == '\r';
		w->cr = c == '\r';
		if (!w->cr)
			convert_byte(w, c, mbox, out);
	}
	if (!last)
		return;
	if (w->cr)
		convert_byte(w, '\r', mbox, out);
	if (w->matched > 0)
		release_match(w, false, out);
	w->cr = false;
}

static void
convert_begin(struct export_writer *w)
{
	w->cr = w->cr_twice = false;
	w->line_start = true;
	w->matched = 0;
}

static int
write_converted(struct export_writer *w, struct shelf_span in, bool mbox, bool last)
{
	shelf_buf_clear(&w->out);
	export_convert(w, in, mbox, last, &w->out);
	return put(w, shelf_buf_span(&w->out));
}

/* ---- mbox ------------------------------------------------------------------------------------------ */

static int
mbox_mailbox(struct export_writer *w, const char *name)
{
	char *slash;
	int rc;

	if (w->file_path != NULL && strcmp(w->file_path, "-") == 0) {
		w->file = stdout;
		return 0;
	}
	if (w->file_path != NULL)
		return export_open_new(w->file_path, &w->file);
	export_path(w->dir, name, &w->path);
	shelf_buf_add_str(&w->path, ".mbox");
	slash = strrchr(shelf_buf_cstr(&w->path), '/');
	*slash = '\0';
	rc = strlen(w->dir) == (size_t)(slash - (char *)w->path.data)
	    ? 0 : make_dirs(w->dir, (char *)w->path.data);
	*slash = '/';
	return rc != 0 ? rc : export_open_new(shelf_buf_cstr(&w->path), &w->file);
}

/* asctime(3), UTC, whatever the locale. */
static void
add_from_line(struct shelf_buf *b, const char *sender, int64_t s)
{
	static const char days[] = "ThuFriSatSunMonTueWed";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t day = s / 86400 - (s % 86400 < 0), rest = s - day * 86400;
	unsigned month, mday, wday = (unsigned)((day % 7 + 7) % 7);
	int year;

	shelf_civil_from_days(day, &year, &month, &mday);
	shelf_buf_printf(b, "From %s %.3s %.3s %2u %02d:%02d:%02d %04d\n", sender, days + 3 * wday,
	    months + 3 * (month - 1), mday, (int)(rest / 3600), (int)(rest / 60 % 60),
	    (int)(rest % 60), year);
}

static int
mbox_begin(struct export_writer *w, const struct export_message *m)
{
	fflush(w->file);
	w->message_at = w->file == stdout ? -1 : (int64_t)ftello(w->file);
	shelf_buf_clear(&w->out);
	add_from_line(&w->out, m->sender, m->msg.internaldate_s);
	convert_begin(w);
	return put(w, shelf_buf_span(&w->out));
}

static int
mbox_data(struct export_writer *w, struct shelf_span data)
{
	return write_converted(w, data, true, false);
}

static int
mbox_end(struct export_writer *w)
{
	int rc = write_converted(w, shelf_span(NULL, 0), true, true);

	/* An unfinished last line gets its end, then the empty line that belongs to the format. */
	return rc != 0 ? rc : put(w, shelf_span_str(w->line_start ? "\n" : "\n\n"));
}

static void
mbox_undo(struct export_writer *w)
{
	if (w->message_at < 0 || fflush(w->file) != 0)
		return;
	if (ftruncate(fileno(w->file), w->message_at) == 0)
		(void)!fseeko(w->file, w->message_at, SEEK_SET);
}

/* ---- .eml ------------------------------------------------------------------------------------------ */

static int
eml_mailbox(struct export_writer *w, const char *name)
{
	export_path(w->dir, name, &w->path);
	(void)shelf_buf_cstr(&w->path);
	return make_dirs(w->dir, (char *)w->path.data);
}

static int
begin_file(struct export_writer *w, const struct export_message *m)
{
	w->mtime_s = m->msg.internaldate_s;
	convert_begin(w);
	return export_open_new(shelf_buf_cstr(&w->file_name), &w->file);
}

static int
eml_begin(struct export_writer *w, const struct export_message *m)
{
	shelf_buf_clear(&w->file_name);
	shelf_buf_printf(&w->file_name, "%s/%010u.eml", shelf_buf_cstr(&w->path), m->msg.uid);
	return begin_file(w, m);
}

static int
eml_data(struct export_writer *w, struct shelf_span data)
{
	return put(w, data);
}

static int
file_end(struct export_writer *w)
{
	set_time(w);
	return export_close_file(w);
}

static void
file_undo(struct export_writer *w)
{
	(void)export_close_file(w);
	(void)!unlink(shelf_buf_cstr(&w->file_name));
}

static int
no_end(struct export_writer *w)
{
	return 0;
}

/* ---- Maildir++ ------------------------------------------------------------------------------------- */

static void
forget_letters(struct export_writer *w)
{
	for (size_t i = 0; i < 26; i++) {
		free(w->letters[i]);
		w->letters[i] = NULL;
	}
}

/* errno; EEXIST when DIR is a Maildir already. */
static int
make_maildir(const char *dir)
{
	static const char *const subs[] = {"tmp", "new", "cur"};
	struct shelf_buf path = {0};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof subs / sizeof *subs; i++) {
		shelf_buf_clear(&path);
		shelf_buf_printf(&path, "%s/%s", dir, subs[i]);
		if (mkdir(shelf_buf_cstr(&path), 0700) != 0)
			rc = errno;
	}
	shelf_buf_free(&path);
	return rc;
}

/* The root is a Maildir whatever is exported: without its cur and new nobody finds the folders below. */
static int
maildir_mailbox(struct export_writer *w, const char *name)
{
	int rc = make_maildir(w->dir);

	if (rc == EEXIST)
		rc = 0;
	forget_letters(w);
	shelf_buf_clear(&w->path);
	shelf_buf_add_str(&w->path, w->dir);
	if (rc != 0 || strcmp(name, "INBOX") == 0)
		return rc;
	shelf_buf_add_byte(&w->path, '/');
	while (*name != '\0') {
		size_t len = strcspn(name, "/");

		shelf_buf_add_byte(&w->path, '.');
		source_mutf7_encode(shelf_span(name, len), ".", &w->path);
		name += len + (name[len] == '/');
	}
	if (mkdir(shelf_buf_cstr(&w->path), 0700) != 0)
		return errno;
	return make_maildir(shelf_buf_cstr(&w->path));
}

/* The letter of a keyword: one that has it, or the next free one; 0 when all 26 are taken. */
static char
letter_of(struct export_writer *w, struct shelf_span keyword)
{
	for (int i = 0; i < 26; i++) {
		if (w->letters[i] == NULL)
			w->letters[i] = shelf_strndup(keyword.data, keyword.len);
		if (shelf_span_is(keyword, w->letters[i]))
			return (char)('a' + i);
	}
	w->keywords_lost++;
	return '\0';
}

static void
add_maildir_flags(struct export_writer *w, const struct export_message *m, struct shelf_buf *b)
{
	uint32_t letters = 0;
	bool passed = false;

	for (size_t i = 0; i < m->nkeywords; i++) {
		char letter;

		if (shelf_span_is(m->keywords[i], "$Forwarded")) {
			passed = true;
			continue;
		}
		letter = letter_of(w, m->keywords[i]);
		if (letter != '\0')
			letters |= 1u << (letter - 'a');
	}
	/* In ASCII order, as the format wants. */
	shelf_buf_printf(b, "%s%s%s%s%s%s", (m->msg.flags & SHELF_DRAFT) != 0 ? "D" : "",
	    (m->msg.flags & SHELF_FLAGGED) != 0 ? "F" : "", passed ? "P" : "",
	    (m->msg.flags & SHELF_ANSWERED) != 0 ? "R" : "", (m->msg.flags & SHELF_SEEN) != 0 ? "S" : "",
	    (m->msg.flags & SHELF_DELETED) != 0 ? "T" : "");
	for (int i = 0; i < 26; i++) {
		if ((letters >> i & 1) != 0)
			shelf_buf_add_byte(b, (uint8_t)('a' + i));
	}
}

static int
maildir_begin(struct export_writer *w, const struct export_message *m)
{
	/* One second for all and the uid behind it: sorted by name they are in the mailbox's order. */
	shelf_buf_clear(&w->file_name);
	shelf_buf_printf(&w->file_name, "%s/cur/%lld.M%010u.mailshelf:2,", shelf_buf_cstr(&w->path),
	    (long long)w->start_s, m->msg.uid);
	add_maildir_flags(w, m, &w->file_name);
	return begin_file(w, m);
}

static int
maildir_data(struct export_writer *w, struct shelf_span data)
{
	return write_converted(w, data, false, false);
}

static int
maildir_end(struct export_writer *w)
{
	int rc = write_converted(w, shelf_span(NULL, 0), false, true);
	int closed = file_end(w);

	return rc != 0 ? rc : closed;
}

static int
maildir_mailbox_end(struct export_writer *w)
{
	int rc;

	if (w->letters[0] == NULL)
		return 0;
	shelf_buf_clear(&w->file_name);
	shelf_buf_printf(&w->file_name, "%s/dovecot-keywords", shelf_buf_cstr(&w->path));
	rc = export_open_new(shelf_buf_cstr(&w->file_name), &w->file);
	for (int i = 0; rc == 0 && i < 26 && w->letters[i] != NULL; i++)
		fprintf(w->file, "%d %s\n", i, w->letters[i]);
	return rc != 0 ? rc : export_close_file(w);
}

/* ---- Choosing -------------------------------------------------------------------------------------- */

bool
export_writer_init(struct export_writer *w, const char *format)
{
	*w = (struct export_writer){.start_s = shelf_now_s()};
	if (strcmp(format, "mbox") == 0) {
		w->mailbox = mbox_mailbox;
		w->begin = mbox_begin;
		w->data = mbox_data;
		w->end = mbox_end;
		w->undo = mbox_undo;
		w->mailbox_end = export_close_file;
	} else if (strcmp(format, "eml") == 0) {
		w->mailbox = eml_mailbox;
		w->begin = eml_begin;
		w->data = eml_data;
		w->end = file_end;
		w->undo = file_undo;
		w->mailbox_end = no_end;
	} else if (strcmp(format, "maildir") == 0) {
		w->mailbox = maildir_mailbox;
		w->begin = maildir_begin;
		w->data = maildir_data;
		w->end = maildir_end;
		w->undo = file_undo;
		w->mailbox_end = maildir_mailbox_end;
	} else if (strcmp(format, "tar") == 0) {
		export_tar_init(w);
	} else {
		return false;
	}
	return true;
}

void
export_writer_free(struct export_writer *w)
{
	(void)export_close_file(w);
	forget_letters(w);
	shelf_buf_free(&w->path);
	shelf_buf_free(&w->file_name);
	shelf_buf_free(&w->out);
}
