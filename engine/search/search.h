/*
 * search.h - the room's inside: a compiled query and the pass over one message
 *
 * Shape     The key tree of query.h is compiled into nodes. A node has three values, NO, YES and
 *           OPEN (not known yet); the tree is evaluated after each step of knowledge about a message
 *           (enum search_need, cheapest first) until its root is no longer OPEN.
 * Text      Patterns and texts are compared as folded code points (fold.c), runs of blanks as one. Text comes
 *           in pieces of any size; a matcher remembers how much of its pattern ends at the last code point, so
 *           nothing is held and every code point is looked at a bounded number of times.
 * Threads   Each thread that works on a search has a lane: its own nodes, buffers and some of the messages. What lanes
 *           share is constant (patterns, keys, sets) or behind the lock of the search (search.c).
 */
#ifndef ENGINE_SEARCH_H
#define ENGINE_SEARCH_H

#include <mailshelf/mime.h>
#include <mailshelf/query.h>

struct UConverter;

/* What has to be known about a message before a key can be decided. */
enum search_need {
	SEARCH_FLAGS,  /* uid, flags, modseq: pages of 256 messages */
	SEARCH_ROW,    /* size, dates: the message's row */
	SEARCH_RECORD, /* the result of the scan at delivery */
	SEARCH_BODY,   /* the bytes */
};

enum search_value { SEARCH_NO, SEARCH_YES, SEARCH_OPEN };

/* ---- Patterns (match.c) -------------------------------------------------------------------- */

struct search_match {
	const uint32_t *pattern; /* folded code points */
	const uint32_t *fail;    /* longest proper border of each prefix (Knuth, Morris, Pratt) */
	size_t len;              /* > 0 */
	size_t at;               /* how much of the pattern ends here */
	bool found;
};
/* TEXT is UTF-8. The tables live in ARENA. False when nothing is left of TEXT to look for. */
bool search_match_init(struct search_match *m, struct shelf_span text, struct shelf_arena *arena);
void search_match_feed(struct search_match *m, const uint32_t *folded, size_t n);

/* ---- Code points (fold.c) ------------------------------------------------------------------------- */

enum { SEARCH_FOLD_MAX = 40 };
/* Before the first search_fold() of a process; any thread, any number of times. */
void search_fold_begin(void);
/* What is compared instead of CODE_POINT: how many. */
size_t search_fold(uint32_t code_point, uint32_t out[SEARCH_FOLD_MAX]);

/* ---- Text of a charset to matchers (text.c) --------------------------------------------------- */

enum { SEARCH_TEXT_POINTS = 1024 };

struct search_text {
	struct UConverter *converter; /* NULL: UTF-8 */
	uint8_t held[4];              /* an unfinished UTF-8 sequence */
	unsigned nheld;
	uint32_t lead;                /* first half of a surrogate pair, or 0 */
	bool is_html;
	struct mime_html html;
	bool blank;                   /* the last one told was a blank */
	struct search_match **match;  /* whom to tell */
	size_t nmatch;
	uint32_t folded[SEARCH_TEXT_POINTS];
	size_t n;
};
/* Matchers start anew. CHARSET empty: UTF-8, bytes that are not UTF-8 taken as Windows-1252. */
void search_text_begin(struct search_text *t, struct shelf_span charset, struct search_match **match,
    size_t nmatch);
/* What follows is HTML: only its text counts. */
void search_text_html(struct search_text *t);
void search_text_feed(struct search_text *t, struct shelf_span bytes);
/* Tells the matchers all that was fed; the text goes on afterwards. */
void search_text_flush(struct search_text *t);
void search_text_end(struct search_text *t);
/* Have all matchers found their pattern? Then the rest of the text need not be read. */
bool search_text_done(const struct search_text *t);

/* ---- The compiled query (plan.c) ----------------------------------------------------------------- */

enum search_field { /* where the record holds a header field */
	SEARCH_FIELD_OTHER,
	SEARCH_FIELD_SUBJECT,
	SEARCH_FIELD_MESSAGE_ID,
	SEARCH_FIELD_IN_REPLY_TO,
	SEARCH_FIELD_FROM,
	SEARCH_FIELD_SENDER,
	SEARCH_FIELD_REPLY_TO,
	SEARCH_FIELD_TO,
	SEARCH_FIELD_CC,
	SEARCH_FIELD_BCC,
};

struct search_node {
	enum shelf_key_kind kind;
	const struct shelf_key *key;
	struct search_node *child, *next;
	enum search_need need;     /* of a leaf: when it can be decided at the earliest */
	enum search_value value;   /* for the message at hand */
	bool wanted;               /* of a leaf: it can still decide the tree */
	enum search_field field;
	bool plain;                /* the pattern has no character that headers quote or drop */
	bool any;                  /* empty text: presence is enough */
	struct search_match match; /* HEADER, BODY, TEXT with a text */
	uint32_t keyword;          /* number of the keyword, SHELF_KEYWORDS_MAX: nobody has it */
};

struct search_plan {
	struct search_node *root;
	struct search_node **leaf; /* all leaves */
	size_t nleaf;
	size_t ntext;
	bool has_keyword;
	struct shelf_uidset *only; /* uids that every result must be in, or NULL */
};
enum {
	SEARCH_DEPTH_MAX = 2000,
	SEARCH_TEXTS_MAX = 1000, /* HEADER, BODY and TEXT keys of one search */
};
/* SHELF_EINVALID: a tree that no door should build; SHELF_ELIMIT: too many texts. */
SHELF_CHECK int search_plan_init(struct search_plan *plan, const struct shelf_key *key,
    struct shelf_arena *arena);
/* Nodes of its own for one more thread: what they point to is FROM's, which must live as long. */
void search_plan_copy(struct search_plan *plan, const struct search_plan *from, struct shelf_arena *arena);
void search_plan_free(struct search_plan *plan);
/* Can it not be decided from rows and records alone? */
bool search_plan_reads_bodies(const struct search_plan *plan);
/* Keyword numbers as RD sees them: a keyword may be new since the last slice. */
SHELF_CHECK int search_plan_keywords(struct search_plan *plan, struct shelf_rd *rd,
    uint32_t mailbox);

/* ---- Evaluation (eval.c) ------------------------------------------------------------------------- */

struct search_subject {      /* the message at hand */
	enum search_need have;
	struct shelf_msg msg;
	const struct mime_part *record; /* set from SEARCH_RECORD on */
	struct shelf_arena *arena;      /* of this message */
	int64_t now_s;
};
enum search_value search_eval(struct search_node *node, struct search_subject *subject);
/* After search_eval said OPEN: sets `wanted` in the leaves that make it so. */
void search_mark_wanted(struct search_node *node);

/* ---- The bytes of one message (pass.c) ------------------------------------------------------------ */

struct search_segment {
	uint64_t offset, len;
	const struct mime_part *part;
	bool header;
	bool content; /* looked at by BODY, not by TEXT only */
};

struct search_pass {
	struct shelf_body *body;
	struct mime_scan *scan;        /* making the record again */
	const struct mime_part *root;
	struct search_segment *segment;
	size_t nsegment, at;
	uint64_t done;                 /* bytes of the segment, or of the scan */
	bool inside;                   /* the segment is begun: text is */
	struct mime_decoder decoder;
	struct shelf_buf decoded, header;
	struct search_text text;
	struct search_match **match;   /* of text; room for one per leaf */

	struct shelf_arena field_arena;
	size_t header_pos;             /* where the walk over the fields stands */
	bool in_field;                 /* a field is begun: ask is, decoded holds it */
	size_t fed, value_at, value_end; /* in decoded */
	struct search_text ask;
	struct search_match **asked;   /* of ask; room for one per leaf */
};
/* A scan of the whole body, for messages without a record; then *root_out is set. 1: more is left. */
SHELF_CHECK int search_pass_scan(struct search_pass *pass, struct shelf_arena *arena,
    const struct mime_part **root_out);
/* Begins to look for the open leaves of PLAN; ROOT and ARENA are the message's. */
void search_pass_begin(struct search_pass *pass, const struct search_plan *plan,
    const struct mime_part *root, struct shelf_arena *arena);
/* One piece of bounded size. 1: more is left; 0: every leaf of PLAN is decided. */
SHELF_CHECK int search_pass_step(struct search_pass *pass, struct search_plan *plan);
/* Gives everything of the message back. */
void search_pass_end(struct search_pass *pass);
/* A header value without RFC 2047, appended as UTF-8. Most are ASCII and stay as they are. */
void search_decode(struct shelf_span value, struct shelf_buf *out);

/* ---- What one thread does (lane.c) ----------------------------------------------------------------- */

struct search_job { /* the same for all lanes, constant */
	struct shelf_store *store;
	uint32_t account, mailbox;
	int64_t now_s;
	struct search_plan plan; /* to be copied */
};

enum { SEARCH_CHUNK_MAX = 1024 };

struct search_lane {
	struct search_lane *next;        /* in a list of the search */
	const struct search_job *job;
	struct search_plan plan;
	struct shelf_arena arena, message_arena; /* of the plan; of the message */
	bool busy;                       /* subject is half done */
	bool scanning;
	struct search_subject subject;
	struct search_pass pass;
	/* Its messages: [at, n) are to be looked at, [0, found) of them were found. */
	uint32_t uid[SEARCH_CHUNK_MAX];
	size_t n, at, found;
	uint64_t max_modseq;             /* of those found */
	bool damaged;                    /* a message was passed over */
};
struct search_lane *search_lane_new(const struct search_job *job);
/* One step of the message at LANE->at, which there must be. */
SHELF_CHECK int search_lane_step(struct search_lane *lane, struct shelf_rd *rd);
/* That message cannot be read. */
void search_lane_log(const struct search_lane *lane, int rc);
void search_lane_free(struct search_lane **lane);

/* ---- One message of a mailbox (walk.c) -------------------------------------------------------------- */

/* The message UID, expunged or not, as far as WHAT asks; WHOLE_OUT: all of it. SHELF_ENOMESSAGE: it is gone
 * for good. */
SHELF_CHECK int search_row(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid, enum shelf_msg_what what,
    struct shelf_msg *out, bool *whole_out);
/* The error of reading a record: can it be made again from the bytes? */
bool search_record_lost(int rc);

#endif
