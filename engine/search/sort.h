/*
 * sort.h (private) - the inside of sorting and threading
 *
 * Shape     A walk reads one message after the other. What it reads becomes numbers: dates and sizes are, texts
 *           are gathered once each, sorted, and stand for their rank from then on; threads know ids and subjects
 *           by 64 bits of a keyed hash. Then rows of numbers are sorted.
 * Slices    Everything here stops after any step and goes on later; only the walk needs a snapshot, and the
 *           comparison of long texts.
 */
#ifndef ENGINE_SEARCH_SORT_H
#define ENGINE_SEARCH_SORT_H

#include <mailshelf/sort.h>

#include "search.h"

/* ---- Texts (casemap.c, base_subject.c, message_id.c, hash.c) ----------------------------------- */

/* Appends the key of a text under i;unicode-casemap: keys compare byte by byte. */
void search_casemap(struct shelf_span utf8, struct shelf_buf *out);
/* Step 1 of RFC 5256 2.1: a Subject as stored, decoded, each run of blanks one blank. Appends. */
void search_subject_text(struct shelf_span field, struct shelf_buf *out);
/* The base subject of that, a part of it. REPLY_OUT: the subject is one of a reply or forward. */
struct shelf_span search_base_subject(struct shelf_span text, bool *reply_out);
/* The next valid message id of TEXT at or behind *POS, normalized, into OUT (cleared first). False: none. */
bool search_next_id(struct shelf_span text, size_t *pos, struct shelf_buf *out);

struct search_hash_key {
	uint64_t k[2];
};
uint64_t search_hash(const struct search_hash_key *key, struct shelf_span s);

/* ---- Reading (walk.c) ----------------------------------------------------------------------------- */

enum search_walk_need {
	SEARCH_WALK_ROW,
	SEARCH_WALK_DATE, /* when it was sent: rows of older releases do not say it */
	SEARCH_WALK_ENVELOPE,
};

struct search_walk {
	struct shelf_store *store;
	uint32_t account, mailbox;
	const struct shelf_uidset *uids;
	uint32_t next;                        /* uid to be read; 0: the end */
	enum search_walk_need need;
	bool scanning, damaged;
	struct shelf_progress progress;
	struct shelf_arena arena;             /* of the message */
	struct search_pass pass;
	/* The message at hand. */
	struct shelf_msg msg;
	const struct mime_envelope *envelope; /* NULL: it was not needed */
};
void search_walk_begin(struct search_walk *w, struct shelf_store *store, uint32_t account,
    uint32_t mailbox, const struct shelf_uidset *uids, enum search_walk_need need);
/* 1: a message is at hand until the next call; 0: not this time (look at next); or an error. */
SHELF_CHECK int search_walk_step(struct search_walk *w, struct shelf_rd *rd);
void search_walk_end(struct search_walk *w);

/* Date: in UTC, or INTERNALDATE (RFC 5256 2.2), as a number that grows with it. */
uint64_t search_sent(const struct search_walk *w);
/* Arrival, date, size; the others are texts. */
static inline bool
search_is_number(enum shelf_sort_key key)
{
	return key == SHELF_SORT_ARRIVAL || key == SHELF_SORT_DATE || key == SHELF_SORT_SIZE;
}
/* A key that is a number, as one that grows with it. */
uint64_t search_sort_number(enum shelf_sort_key key, const struct search_walk *w);
/* Byte by byte, the shorter one first: < 0, 0, > 0. */
int search_compare(struct shelf_span a, struct shelf_span b);
/* The text of a key of this envelope, under i;unicode-casemap; appends. */
void search_sort_text(enum shelf_sort_key key, const struct mime_envelope *e, struct shelf_buf *out);

/* ---- Rows of numbers (merge.c) ------------------------------------------------------------------------ */

struct search_merge;
typedef int search_compare_fn(struct search_merge *m, const uint64_t *a, const uint64_t *b);
/* A stable merge sort of N rows of STRIDE numbers. */
struct search_merge {
	uint64_t *row, *spare;
	size_t n, stride;
	size_t keys;                /* numbers that decide, when compare is NULL */
	search_compare_fn *compare;
	void *arg;
	int64_t credit;             /* rows that may be moved now; a comparison may take some */
	size_t width, at;           /* length of the runs that are sorted; where the pair at hand begins */
	bool merging;               /* the pair is begun: */
	size_t left, left_end, right, right_end, to;
};
/* Takes ROW, n * stride numbers. False: there is no memory, ROW is still the caller's. */
bool search_merge_begin(struct search_merge *m, uint64_t *row, size_t n, size_t stride);
/* About so many rows. 1: more; 0: m->row is sorted. */
int search_merge_run(struct search_merge *m, int64_t credit);
/* Gives the sorted rows to the caller, who frees them. */
uint64_t *search_merge_take(struct search_merge *m);
void search_merge_end(struct search_merge *m);

/* ---- Texts, each once (strings.c) --------------------------------------------------------------------- */

enum { SEARCH_STRING_KEPT = 64 };

struct search_string {
	uint64_t hash;
	uint32_t rank;       /* among all, when they have been sorted */
	uint32_t uid;        /* of a message that has it */
	uint8_t len, key;    /* kept bytes; enum shelf_sort_key */
	bool cut;            /* there are more */
	uint8_t bytes[];
};
struct search_chunk;
struct search_strings {
	struct search_chunk **chunk;
	uint32_t nchunk, count;
	uint32_t *table;     /* ids by hash; 0: free */
	size_t mask;
	struct search_hash_key key;
};
/* For at most MAX texts. False: there is no memory. */
bool search_strings_begin(struct search_strings *s, size_t max);
/* The id of TEXT, new or old. */
uint32_t search_strings_add(struct search_strings *s, struct shelf_span text, enum shelf_sort_key key,
    uint32_t uid);
struct search_string *search_strings_at(const struct search_strings *s, uint32_t id);
/* Ids one after the other: from 0 to the first; 0 behind the last. */
uint32_t search_strings_next(const struct search_strings *s, uint32_t id);
void search_strings_end(struct search_strings *s);

#endif
