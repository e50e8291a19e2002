/*
 * tool_export_tar.c - messages as a tar archive: MAILBOX/UID.eml, byte for byte
 *
 * POSIX.1-2001 (pax): a ustar header for each message; a name that does not fit one stands in an extended header in
 * front of it. Times are INTERNALDATE, owner and mode the same for all, so that the same mail gives the same bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool_export.h"

enum { BLOCK = 512, NAME_MAX_BYTES = 100 };

static int
put(struct export_writer *w, const void *data, size_t len)
{
	if (w->broken)
		return EIO;
	return len == 0 || fwrite(data, 1, len, w->file) == len ? 0 : errno;
}

static void
number(char *field, size_t len, uint64_t value)
{
	snprintf(field, len, "%0*llo", (int)len - 1, (unsigned long long)value);
}

/* A header block. KIND: '0' a file, 'x' an extended header. NAME is cut. */
static int
put_header(struct export_writer *w, const char *name, char kind, uint64_t size, int64_t time_s)
{
	char block[BLOCK] = "";
	unsigned sum = 0;

	snprintf(block, NAME_MAX_BYTES, "%s", name);
	number(block + 100, 8, 0600);
	number(block + 108, 8, 0);
	number(block + 116, 8, 0);
	number(block + 124, 12, size);
	number(block + 136, 12, time_s > 0 ? (uint64_t)time_s : 0);
	memset(block + 148, ' ', 8);
	block[156] = kind;
	memcpy(block + 257, "ustar\00000", 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (uint8_t)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	return put(w, block, BLOCK);
}

static int
pad(struct export_writer *w, uint64_t size)
{
	static const char zeros[BLOCK];

	return put(w, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

/* "LEN path=NAME\n", where LEN counts itself. */
static int
put_long_name(struct export_writer *w, const char *name)
{
	size_t rest = strlen(" path=") + strlen(name) + 1, len = rest + 1, digits = 0;
	int rc;

	while (len != rest + digits) {
		len = rest + digits;
		digits = (size_t)snprintf(NULL, 0, "%zu", len);
	}
	shelf_buf_clear(&w->out);
	shelf_buf_printf(&w->out, "%zu path=%s\n", len, name);
	if ((rc = put_header(w, "pax", 'x', w->out.len, 0)) != 0 || (rc = put(w, w->out.data, w->out.len)) != 0)
		return rc;
	return pad(w, w->out.len);
}

static int
tar_mailbox(struct export_writer *w, const char *name)
{
	export_path(".", name, &w->path);
	if (w->file != NULL)
		return 0;
	if (strcmp(w->file_path, "-") != 0)
		return export_open_new(w->file_path, &w->file);
	w->file = stdout;
	return 0;
}

static int
tar_begin(struct export_writer *w, const struct export_message *m)
{
	const char *name;
	int rc = 0;

	fflush(w->file);
	w->message_at = w->file == stdout ? -1 : (int64_t)ftello(w->file);
	w->left = m->msg.size;
	w->size = m->msg.size;
	shelf_buf_clear(&w->file_name);
	shelf_buf_printf(&w->file_name, "%s/%010u.eml", shelf_buf_cstr(&w->path), m->msg.uid);
	name = shelf_buf_cstr(&w->file_name) + 2; /* without "./" */
	if (strlen(name) >= NAME_MAX_BYTES)
		rc = put_long_name(w, name);
	return rc != 0 ? rc : put_header(w, name, '0', m->msg.size, m->msg.internaldate_s);
}

static int
tar_data(struct export_writer *w, struct shelf_span data)
{
	if (data.len > w->left)
		return EIO;
	w->left -= data.len;
	return put(w, data.data, data.len);
}

static int
tar_end(struct export_writer *w)
{
	return w->left != 0 ? EIO : pad(w, w->size);
}

/* What a pipe has cannot be taken back: nothing that could be read follows. */
static void
tar_undo(struct export_writer *w)
{
	if (w->message_at < 0 || fflush(w->file) != 0 || ftruncate(fileno(w->file), w->message_at) != 0 ||
	    fseeko(w->file, w->message_at, SEEK_SET) != 0)
		w->broken = true;
}

static int
no_end(struct export_writer *w)
{
	return 0;
}

static int
tar_finish(struct export_writer *w)
{
	static const char zeros[2 * BLOCK];
	int rc;

	if (w->file == NULL) /* there is no mailbox */
		rc = tar_mailbox(w, "INBOX");
	else
		rc = 0;
	if (rc == 0)
		rc = put(w, zeros, sizeof zeros);
	return rc != 0 ? rc : export_close_file(w);
}

void
export_tar_init(struct export_writer *w)
{
	w->mailbox = tar_mailbox;
	w->begin = tar_begin;
	w->data = tar_data;
	w->end = tar_end;
	w->undo = tar_undo;
	w->mailbox_end = no_end;
	w->finish = tar_finish;
}
