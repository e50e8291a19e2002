/*
 * tool_export.h - between the walk of `export` and the ways to write a message
 *
 * A writer gets mailboxes and messages in order: mailbox(), then for each message begin(), data() any
 * number of times, end() or undo(). Files are made with O_EXCL and never through a symbolic link.
 */
#ifndef TOOLS_TOOL_EXPORT_H
#define TOOLS_TOOL_EXPORT_H

#include "tools.h"

struct export_message {
	struct shelf_msg msg;
	struct shelf_span *keywords; /* names */
	size_t nkeywords;
	char *sender; /* for mbox: a word without blanks */
};

struct export_writer {
	/* Functions return 0 or an errno. DIR: the export's directory; FILE_PATH: mbox of one mailbox. */
	const char *dir;
	const char *file_path;
	int (*mailbox)(struct export_writer *w, const char *name);
	int (*begin)(struct export_writer *w, const struct export_message *m);
	int (*data)(struct export_writer *w, struct shelf_span data);
	int (*end)(struct export_writer *w);
	void (*undo)(struct export_writer *w);   /* the message begun: nothing of it stays */
	int (*mailbox_end)(struct export_writer *w);
	int (*finish)(struct export_writer *w); /* behind the last mailbox; NULL: nothing */

	FILE *file;
	struct shelf_buf path;      /* of the mailbox: file or directory */
	struct shelf_buf file_name; /* of the message */
	struct shelf_buf out;
	int64_t mtime_s;
	int64_t start_s;            /* of the export, in Maildir names */
	int64_t message_at;         /* mbox: where the message began */
	bool cr, cr_twice;          /* of the conversion: a CR is held back, behind another one */
	bool line_start;
	unsigned matched;           /* so many bytes of "From " are held back */
	char *letters[26];          /* Maildir: keyword of each letter */
	uint64_t keywords_lost;
	uint64_t size, left; /* tar: of the message; of that still to come */
	bool broken;         /* tar: what was written cannot be taken back */
};

bool export_writer_init(struct export_writer *w, const char *format);
void export_tar_init(struct export_writer *w);
/* A new file: 0 or an errno. The end of w->file, stdout is flushed. */
SHELF_CHECK int export_open_new(const char *path, FILE **out);
int export_close_file(struct export_writer *w);
void export_writer_free(struct export_writer *w);
/* CRLF becomes LF, unless another CR precedes it; MBOX: lines that begin with ">*From " get one more
 * ">". LAST: nothing follows. */
void export_convert(struct export_writer *w, struct shelf_span in, bool mbox, bool last,
    struct shelf_buf *out);
/* PATH is made, or is an empty directory: 0, or an exit status after having said why not. */
SHELF_CHECK int export_prepare_dir(struct tool *t, const char *path);
/* DIR and the levels of a mailbox name as path: what a file system would misread is "%2E". */
void export_path(const char *dir, const char *name, struct shelf_buf *out);

#endif
