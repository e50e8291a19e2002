/*
 * imap_fetch.h - FETCH: what was asked, and the message being answered
 *
 * Shape     The items of a command are parsed once into an array. For each message they are first
 *           prepared (every byte range found, read through and so verified) and only then printed, so
 *           that a damaged message costs a NO and never a torn response.
 * Lifetime  struct imap_fetch lives with its command. The message's arena is reset per message; the
 *           snapshot `rd` never survives the return to the dispatcher.
 * Sources   RFC 9051 6.4.5, 7.5.2; RFC 3501 6.4.5, 7.4.2.
 */
#ifndef ACCESS_IMAP_FETCH_H
#define ACCESS_IMAP_FETCH_H

#include "imap.h"

/* ---- What was asked ------------------------------------------------------------------------------ */

enum imap_section_what {
	IMAP_SECTION_ALL,        /* BODY[], BODY[1.2] */
	IMAP_SECTION_HEADER,
	IMAP_SECTION_FIELDS,     /* HEADER.FIELDS (...) */
	IMAP_SECTION_FIELDS_NOT,
	IMAP_SECTION_TEXT,
	IMAP_SECTION_MIME,
};
enum { IMAP_SECTION_PATH_MAX = 128 }; /* part numbers in one section; MIME_DEPTH_MAX and some */

struct imap_section {
	uint32_t *path;
	size_t npath;
	enum imap_section_what what;
	struct shelf_span *names;  /* as the client wrote them, for the response */
	struct shelf_span *sorted; /* for imap_header_init */
	size_t nnames;
	bool partial;
	uint64_t start, count;
	bool decode; /* BINARY: the transfer encoding undone */
};

enum imap_fetch_need { /* bits */
	IMAP_NEED_FLAGS = 1,  /* flags and keyword names */
	IMAP_NEED_ROW = 2,    /* size, date */
	IMAP_NEED_RECORD = 4, /* the part tree */
	IMAP_NEED_BODY = 8,   /* the bytes */
	IMAP_SETS_SEEN = 16,
	IMAP_NEED_MODSEQ = 32, /* known with every message; enables CONDSTORE */
	IMAP_NEED_PREVIEW = 64, /* made from the bytes, when the record has none */
};

struct imap_fetch;
struct imap_fetch_item;
typedef bool imap_fetch_parse_fn(struct imap_parser *p, struct imap_fetch_item *item);
typedef void imap_fetch_print_fn(struct imap_fetch *f, const struct imap_fetch_item *item);

struct imap_fetch_row {
	const char *name;
	imap_fetch_parse_fn *parse; /* the rest of the item; fills item->section */
	imap_fetch_print_fn *print; /* "NAME value"; for sections: all before the value */
	unsigned needs;             /* enum imap_fetch_need */
	const char *source;
};

/* Where the value of a section lies, for the message at hand. */
struct imap_slice {
	bool nil;            /* no such part */
	uint64_t offset, len; /* of the section in the message, before filtering and partial */
	struct shelf_span encoding; /* of the part, when the section is to be decoded */
	bool filtered;       /* not the bytes as they are: fields of a header, or decoded */
	uint64_t total;      /* octets after filtering */
	uint64_t from, size; /* what is sent: SIZE octets of the TOTAL, beginning at FROM */
	bool nul;            /* a decoded section has NUL among what is sent */
	bool held;           /* what the filter gave is complete in `output` */
	struct shelf_buf output; /* from begin.passed on */
	struct imap_place_in_part begin; /* where decoding begins: at the front, or further on */
};

struct imap_fetch_item {
	const struct imap_fetch_row *row;
	bool is_section;
	bool size_only; /* BINARY.SIZE: prepared, never written */
	bool lazy;      /* PREVIEW (LAZY): only what is stored */
	struct imap_section section;
	struct imap_slice slice;
};

struct imap_fetch_items {
	struct imap_fetch_item *item;
	size_t n;
	unsigned needs; /* of all items */
};
/* "ALL", "FLAGS", "(FLAGS BODY[])". UID: with UID first when it was not asked for (RFC 9051 6.4.9). */
bool imap_fetch_parse(struct imap_parser *p, bool uid, struct imap_fetch_items *out);
bool imap_fetch_has(const struct imap_fetch_items *items, const char *name);
/* Is the message's own header all that is read of its bytes? */
bool imap_fetch_only_header(const struct imap_fetch_items *items);
/* One more item, by name, unless it was asked for. */
void imap_fetch_add(struct shelf_arena *arena, const char *name, struct imap_fetch_items *items);
/* Behind the "[": "1.2.HEADER.FIELDS (A B)]<0.100>". */
bool imap_section_parse(struct imap_parser *p, struct imap_section *out);

/* ---- The header filter (imap_fetch_header.c) ------------------------------------------------------- */

enum { IMAP_FIELD_NAME_MAX_BYTES = 1024 }; /* longer ones match no name */

struct imap_header_filter {
	const struct shelf_span *sorted; /* names, by imap_header_sort */
	size_t nnames;
	bool negate;
	bool in_name, copying, ended;
	size_t nname;
	uint8_t name[IMAP_FIELD_NAME_MAX_BYTES];
};
void imap_header_sort(struct shelf_span *names, size_t n);
void imap_header_init(struct imap_header_filter *h, const struct imap_section *section);
/* Header bytes in pieces of any size; the chosen ones are added to OUT. */
void imap_header_feed(struct imap_header_filter *h, struct shelf_span piece, struct shelf_buf *out);

/* ---- What is not in memory (imap_fetch_warm.c) ------------------------------------------------------ */

struct imap_warm {
	struct shelf_store *store;
	uint32_t account, mailbox;
	const struct shelf_uidset *uids;
	bool record, body;  /* what will be read of each */
	bool header;        /* of the body no more than that */
	uint32_t next;      /* uid to begin with */
	uint32_t last;      /* everything up to this uid has been read by a worker; 0 at first */
};
/* Is the message to be read by a worker first? */
bool imap_warm_wants(const struct imap_warm *w, uint32_t uid);
/* For imap_work(): messages from w->next on. */
void imap_warm_run(void *warm);

/* ---- The message at hand ----------------------------------------------------------------------------- */

enum imap_fetch_stage { IMAP_STAGE_NEXT, IMAP_STAGE_RECORD, IMAP_STAGE_PREPARE, IMAP_STAGE_PRINT };

struct imap_fetch {
	struct imap_session *s;
	struct imap_fetch_items items;
	struct shelf_uidset *uids;     /* asked for */
	struct shelf_uidset *unseen;   /* became \Seen by this command; FLAGS are due */
	struct shelf_uidset *unread;   /* of these: could not be read, must not stay \Seen. NULL: none */
	uint64_t seen_modseq;
	bool has_uid;                  /* UID is among the items */

	uint32_t uid;                  /* the message at hand, or where to go on; 0: no more */
	uint32_t passed_messages, total; /* answered or passed over; of so many */
	enum imap_fetch_stage stage;
	size_t at;                     /* item */
	bool begun;                    /* that item: range found; or its literal's head written */
	uint64_t done;                 /* that item: octets of the message verified, filtered, sent */
	uint64_t passed;               /* that item: octets that came out of the filter */
	size_t held_bytes;             /* of all outputs held */
	struct shelf_arena arena;
	struct shelf_msg msg;
	const struct mime_part *root;
	struct shelf_body *body;
	struct mime_scan *scan;
	struct imap_header_filter filter; /* while a filtered section is counted or written */
	struct mime_decoder decoder;   /* likewise */
	struct imap_place_in_part near; /* the last place in front of the end of what is asked for */
	struct shelf_buf piece;

	struct imap_warm warm;
	struct shelf_rd *rd;           /* of this slice, or NULL */
	struct shelf_keywords *keywords;
	bool keywords_fresh;           /* of this slice's snapshot */
	int64_t deadline_ms;
	int damaged;                   /* first error of a message that could not be read, or 0 */
	bool missing;                  /* a message is gone for good */
	bool unknown_cte;              /* a part was to be decoded that nobody can */
};
/*
 * imap_fetch_run(f)
 *   Goes on for about 10 ms or until the client's buffer is full.
 *   returns  IMAP_YIELD, IMAP_WANT_OUTPUT, IMAP_WANT_WAKE (a worker reads ahead, or the connection is being closed), or
 *            IMAP_DONE: all messages are answered, NO tagged reply is set yet; *rc_out has the error
 *            that ended it early, or 0
 */
enum imap_step imap_fetch_run(struct imap_fetch *f, int *rc_out);
void imap_fetch_end(struct imap_fetch *f); /* frees what is the fetch's own */

/* Finds the section's range in the tree. */
void imap_section_resolve(const struct imap_section *section, const struct mime_part *root,
    uint64_t message_size, struct imap_slice *out);
/* Applies <start.count> once TOTAL is known. */
void imap_section_cut(const struct imap_section *section, struct imap_slice *slice);
/* One bounded step. 1: more is left; 0: the slice is known and its bytes are sound. */
SHELF_CHECK int imap_section_prepare(struct imap_fetch *f, struct imap_fetch_item *item);
/* One bounded piece of the value. 1: more is left. */
SHELF_CHECK int imap_section_write(struct imap_fetch *f, struct imap_fetch_item *item);

/* Pure printing, into the session's output. */
void imap_print_envelope(struct imap_session *s, const struct mime_envelope *e);
void imap_print_structure(struct imap_session *s, const struct mime_part *part, bool extended);
/* By kind, or by name although its inside is not known (encoded, too deep). */
bool imap_is_message(const struct mime_part *part);

#define IMAP_FETCH_ITEM(name, parse, print, needs, source) \
	imap_fetch_parse_fn imap_fetch_parse_##parse;      \
	imap_fetch_print_fn imap_fetch_print_##print;
#include "imap_fetch_items.def"
#undef IMAP_FETCH_ITEM

#endif
