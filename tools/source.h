/*
 * source.h - reading foreign mail: mbox in its variants, Maildir, files of one message
 *
 * Shape     source_plan_new() looks at a path and lists files by mailbox; source_run() reads them in
 *           that order and hands every message to a sink, piece by piece. Nothing here knows the
 *           store.
 * Bytes     Messages come out in wire form: LF that no CR precedes becomes CRLF, everything else
 *           (CRLF, lone CR, NUL, 8-bit) is left alone; mbox quoting is undone as the variant says.
 * Memory    Fixed, whatever the message: 64 KiB pieces, the first 256 KiB of the header, and for a
 *           Content-Length that is to be verified at most 64 MiB of look-ahead.
 * Hostile   Input may be anything. Work is linear. What cannot be read is a problem(), the rest goes
 *           on. Only regular files are read below a directory; symbolic links there are not followed.
 */
#ifndef TOOLS_SOURCE_H
#define TOOLS_SOURCE_H

#include <mailshelf/arena.h>
#include <mailshelf/buf.h>
#include <mailshelf/err.h>

enum source_format {
	SOURCE_AUTO,    /* decide by looking; mbox: Content-Length where it holds, else mboxrd */
	SOURCE_MBOX,    /* as AUTO, but an mbox */
	SOURCE_MBOXO,   /* ">From " is "From " */
	SOURCE_MBOXRD,  /* ">>From " is ">From ", ">From " is "From " */
	SOURCE_MBOXCL,  /* Content-Length, and quoted as mboxo */
	SOURCE_MBOXCL2, /* Content-Length, nothing quoted */
	SOURCE_MAILDIR,
	SOURCE_EML,
};
/* "mboxrd" and so on. */
bool source_format_of(const char *name, enum source_format *out);

enum { SOURCE_KEYWORDS_MAX = 64, SOURCE_HEADER_KEPT_MAX = 256 * 1024, SOURCE_ID_BYTES = 16 };

/* Where unique-ids of POP3 come from. */
enum source_uidl {
	SOURCE_UIDL_NONE,
	SOURCE_UIDL_HEADER,  /* X-UIDL */
	SOURCE_UIDL_DOVECOT, /* dovecot-uidlist of a Maildir */
	SOURCE_UIDL_LIST,    /* the sink looks for the Message-ID */
};

struct source_meta {
	struct shelf_span uidl;       /* as it stands there, valid or not; empty: none */
	struct shelf_span message_id; /* with SOURCE_UIDL_LIST; empty: none */
	int64_t internaldate_s;
	int16_t zone_min;
	uint32_t flags; /* enum shelf_flag */
	const struct shelf_span *keywords;
	size_t nkeywords;
	uint32_t uid;      /* there; 0: none, or not known */
	const uint8_t *id; /* SOURCE_ID_BYTES by which its source knows it without reading it; NULL: none */
};

/* Functions that return int end the run with anything but 0, which source_run() returns. */
struct source_sink {
	void *arg;
	/* What follows belongs to the mailbox NAME (raw UTF-8, "" for the root). KIND: "mbox",
	 * "maildir", "eml". Called for a folder without messages too. */
	int (*folder)(void *arg, struct shelf_span name, const char *kind);
	/* A message of FILE at OFFSET (unpacked); FILE lives as long as the plan. */
	int (*begin)(void *arg, const char *file, uint64_t offset);
	int (*data)(void *arg, const void *data, size_t len);
	int (*end)(void *arg, const struct source_meta *meta); /* lives until it returns */
	/* The message begun is unusable. */
	void (*drop)(void *arg);
	/* Something is left out: OFFSET in the unpacked FILE. */
	void (*problem)(void *arg, const char *file, uint64_t offset, const char *text);
	/* Bytes of input (as packed) used up since the last call. */
	void (*advance)(void *arg, uint64_t bytes);
	/* For sources whose messages have ids: which of N does the folder's mailbox not have from there yet? */
	int (*missing)(void *arg, const uint8_t (*ids)[SOURCE_ID_BYTES], size_t n, bool *missing_out);
	/* The next folder is for that (bits of enum shelf_special_use); 0: for nothing special. */
	void (*use)(void *arg, unsigned use);
	/* Behind folder(): its UIDVALIDITY there, if it has one. */
	int (*uidvalidity)(void *arg, uint32_t uidvalidity);
	enum source_uidl uidl; /* wanted */
	bool uids;             /* wanted: messages of a Maildir come in their order */
};

struct source_plan;
/*
 * source_plan_new(path, format, sink, plan_out)
 *   PATH "-" is stdin. SINK is told problems only.
 *   returns  0; SHELF_EMISSING the path cannot be opened; SHELF_ESYNTAX nothing there that the
 *            format, or AUTO, knows. A text has gone to sink->problem for both.
 */
SHELF_CHECK int source_plan_new(const char *path, enum source_format format,
    const struct source_sink *sink, struct source_plan **plan_out);
void source_plan_free(struct source_plan **plan);
uint64_t source_plan_bytes(const struct source_plan *plan); /* 0: not known (stdin) */
size_t source_plan_files(const struct source_plan *plan);
SHELF_CHECK int source_run(const struct source_plan *plan, const struct source_sink *sink);

/* ---- Between the readers -------------------------------------------------------------------- */

/* A file, unpacked while it is read (source_input.c). */
struct source_input;
enum { SOURCE_NOFOLLOW = 1 };
/* NULL, and a text in *WHY_OUT: not there, not a regular file ... */
struct source_input *source_input_open(const char *path, unsigned flags, const char **why_out);
void source_input_close(struct source_input **in);
/* Up to LEN unpacked bytes; 0 at the end; -1 damaged, source_input_why() tells. */
ptrdiff_t source_input_read(struct source_input *in, void *out, size_t len);
/* What was wrong; NULL when nothing. Also set at the end when bytes behind it were left out. */
const char *source_input_why(const struct source_input *in);
uint64_t source_input_packed(const struct source_input *in); /* packed bytes read so far */
int64_t source_input_mtime(const struct source_input *in);

/* One message on its way to the sink (source_message.c). */
struct source_message {
	const struct source_sink *sink;
	struct shelf_buf out;
	struct shelf_buf header; /* the header block, or as much of it as is kept */
	bool header_done;
	bool raw;                /* line ends stay as they are */
	bool cr;                 /* the last byte was CR */
	bool open;
	bool any;                /* a byte was written */
};
SHELF_CHECK int source_message_begin(struct source_message *m, const char *file, uint64_t offset);
SHELF_CHECK int source_message_bytes(struct source_message *m, const void *data, size_t len);
/* META is the caller's wish: internaldate_s INT64_MIN is looked for in the header, then FALLBACK_S.
 * STATUS: flags of Status, X-Status and X-Keywords are added. */
SHELF_CHECK int source_message_end(struct source_message *m, const struct source_meta *meta,
    bool status, int64_t fallback_s);
void source_message_drop(struct source_message *m);
void source_message_free(struct source_message *m);

/*
 * source_from_line(line, date_s_out, zone_min_out)
 *   Is LINE ("From ..." without its end) a separator: sender, weekday, month, day, time, year, or
 *   the same in the order of RFC 5322?
 *   date_s_out  INT64_MIN when the date cannot be the one of a delivery (1970, made up by git)
 */
bool source_from_line(struct shelf_span line, int64_t *date_s_out, int16_t *zone_min_out);

/* "From " and one word, "-" or an address: a separator in some files, whose messages have no date. */
bool source_from_bare(struct shelf_span line);

/* Reads one mbox: 0, or what the sink returned. */
SHELF_CHECK int source_mbox(struct source_input *in, const char *file, enum source_format format,
    const struct source_sink *sink);
/* Reads one message; META as for source_message_end. */
SHELF_CHECK int source_single(struct source_input *in, const char *file,
    const struct source_meta *meta, const struct source_sink *sink);

struct source_file {
	char *path;
	struct shelf_span uidl; /* Maildir */
	uint32_t uid;          /* Maildir; 0: not known */
	uint64_t size;
	uint32_t flags;        /* Maildir */
	uint32_t letters;      /* Maildir: bit n is keyword letter 'a' + n */
	enum source_format format; /* an mbox variant, MAILDIR or EML */
};
struct source_folder {
	struct shelf_span name; /* levels separated by "/" */
	const char *kind;
	size_t first, count;    /* files */
	uint32_t uidvalidity;   /* Maildir; 0: not known */
	struct shelf_span keyword[26]; /* Maildir: data NULL where the letter means nothing */
};
struct source_plan {
	struct shelf_arena arena;
	enum source_format format; /* as asked */
	struct source_folder *folders;
	size_t nfolders;
	struct source_file *files;
	size_t nfiles, files_cap;
	uint64_t bytes;
	const struct source_sink *sink;
};
struct source_folder *source_plan_folder(struct source_plan *p, struct shelf_span name,
    const char *kind);
struct source_file *source_plan_file(struct source_plan *p, const char *dir, const char *name,
    uint64_t size, enum source_format format);
/* The folders of a Maildir, named below PREFIX. True when something was found. */
bool source_is_maildir(const char *path);
bool source_plan_maildir(struct source_plan *p, const char *path, struct shelf_span prefix);
/* The flags of a Maildir file's name: ":2,FLAGS". */
void source_maildir_flags(const char *name, uint32_t *flags_out, uint32_t *letters_out);
/* Qsort of names by their leading number, then by bytes. */
int source_maildir_order(const char *a, const char *b);

/* ---- Unique-ids (source_uidl.c) ------------------------------------------------------------- */

struct source_uidls { /* sorted by NAME */
	struct source_uidl_row {
		struct shelf_span name, uidl;
		uint32_t uid; /* 0: none */
	} *row;
	size_t n, cap;
	uint32_t uidvalidity; /* 0: none */
	struct shelf_arena arena;
};
void source_uidls_free(struct source_uidls *list);
/* NULL: none. */
const struct source_uidl_row *source_uidls_find(const struct source_uidls *list, struct shelf_span name);
/* dovecot-uidlist in DIR: by the name of the file without its flags. Lines that cannot be read are problems. */
void source_uidls_dovecot(struct source_uidls *list, const char *dir, const struct source_sink *sink);
/* Lines "UNIQUE-ID MESSAGE-ID", "#" begins a comment: by Message-ID. False: the first bad line is told in WHY. */
bool source_uidls_file(struct source_uidls *list, const char *path, char *why, size_t why_len);

/* Modified UTF-7 (RFC 3501 5.1.3), without its rule that printable ASCII stands for itself: the names
 * that export writes encode "." too. False when it is not; OUT is then unchanged. */
bool source_mutf7_decode(struct shelf_span in, struct shelf_buf *out);
/* ALSO: further characters to encode. */
void source_mutf7_encode(struct shelf_span utf8, const char *also, struct shelf_buf *out);
/* A mailbox name the store accepts, made of NAME: "_" for what is not allowed, empty levels left out.
 * PREFIX, when not empty, comes before it. An empty result becomes "INBOX". */
void source_mailbox_name(struct shelf_span prefix, struct shelf_span name, struct shelf_buf *out);

#endif
