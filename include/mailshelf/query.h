/*
 * query.h - searching a mailbox: a tree of keys, built by a door, run by the engine
 *
 * Shape     Keys as in RFC 9051 6.4.4. Texts are UTF-8 and are looked for in decoded headers and text parts.
 * Texts     compare as people read them: without case and accents ("cafe" finds "Café", "strasse" "Straße",
 *           "lodz" "Łódź"), whatever form of a character was written (full width, ligatures, typographic
 *           quotes and dashes), without what is never seen (soft hyphens), and any run of blanks and line ends is
 *           one blank. Marks that are letters to their readers stay (kana, Hangul, the scripts of India, Thai).
 *           Of text/html the text counts: tags, attributes, comments, scripts and styles do not, references
 *           (&eacute;) are what they mean. What is a substring byte by byte always matches, but for HTML.
 * Memory    A search holds, for each thread that works on it at once, one decompressed frame of a body (256 KiB), one
 *           header block (1 MiB at most, only while it is looked at) and what the record of one message takes, and
 *           8 bytes a code point of its patterns.
 * Slices    A search runs in slices, so that it neither blocks an event loop nor keeps a snapshot:
 *           shelf_search_run() works for about a time budget and says whether more is left.
 * Threads   Several may be in shelf_search_run() of one search at once, each looks at other messages; how far it is may
 *           be asked meanwhile. Everything else is for one thread, while none is in there.
 * Sources   RFC 9051 6.4.4; RFC 7162 3.1.5 (MODSEQ); RFC 5032 (OLDER, YOUNGER);
 *           RFC 8474 6 (EMAILID); RFC 8514 4.3 (SAVEDBEFORE ...).
 */
#ifndef MAILSHELF_QUERY_H
#define MAILSHELF_QUERY_H

#include <mailshelf/arena.h>
#include <mailshelf/message.h>
#include <mailshelf/view.h>

enum shelf_key_kind {
	SHELF_KEY_ALL,
	SHELF_KEY_AND,      /* children */
	SHELF_KEY_OR,       /* children */
	SHELF_KEY_NOT,      /* one child */
	SHELF_KEY_UIDS,     /* uids: message sets are translated by the door */
	SHELF_KEY_FLAG,     /* flag: one enum shelf_flag bit is set */
	SHELF_KEY_KEYWORD,  /* text: a keyword name */
	SHELF_KEY_RECENT,   /* uids: the session's recent ones, a SHELF_KEY_UIDS for the engine */
	SHELF_KEY_HEADER,   /* name, text; empty text: the field is there */
	SHELF_KEY_BODY,     /* text, in decoded text parts */
	SHELF_KEY_TEXT,     /* text, in headers or decoded text parts */
	SHELF_KEY_LARGER,   /* number */
	SHELF_KEY_SMALLER,  /* number */
	SHELF_KEY_BEFORE,   /* number: days since 1970, of INTERNALDATE in its own zone */
	SHELF_KEY_ON,
	SHELF_KEY_SINCE,
	SHELF_KEY_SENTBEFORE, /* the same of the Date: field */
	SHELF_KEY_SENTON,
	SHELF_KEY_SENTSINCE,
	SHELF_KEY_MODSEQ,   /* number: >= */
	SHELF_KEY_OLDER,    /* number: seconds */
	SHELF_KEY_YOUNGER,
	SHELF_KEY_SAVEDBEFORE, /* number: days since 1970, of the save date, UTC */
	SHELF_KEY_SAVEDON,
	SHELF_KEY_SAVEDSINCE,
	SHELF_KEY_EMAILID,  /* text: the 16 bytes of an email id; empty: no message has it */
};

struct shelf_key {
	enum shelf_key_kind kind;
	struct shelf_key *child, *next; /* first child; next sibling */
	struct shelf_uidset *uids;      /* owned by the builder */
	uint32_t flag;
	uint64_t number;
	struct shelf_span name, text;
};

struct shelf_search;
/* The key tree, its spans and sets must outlive the search. Only messages in VIEW are considered, and
 * the view must not be refreshed with may_renumber while the search lives. SHELF_ELIMIT: more than 1,000
 * HEADER, BODY and TEXT keys. */
SHELF_CHECK int shelf_search_new(struct shelf_store *store, uint32_t account,
    const struct shelf_view *view, const struct shelf_key *key, struct shelf_search **out);
/* 1: more is left, call again; 0: done; SHELF_ECORRUPT: done, but messages that are damaged were passed
 * over; or another error. Takes its own snapshots. What other threads are looking at is not left, and not done. */
SHELF_CHECK int shelf_search_run(struct shelf_search *search, unsigned budget_ms);
/* What shelf_search_run() would say without doing anything. */
SHELF_CHECK int shelf_search_state(struct shelf_search *search);
/* May it have to read and decompress bodies? Else rows and what was stored at delivery decide it, unless
 * that is lost. */
bool shelf_search_reads_bodies(const struct shelf_search *search);
/* Uids found so far; lives as long as SEARCH. */
const struct shelf_uidset *shelf_search_found(const struct shelf_search *search);
uint64_t shelf_search_max_modseq(const struct shelf_search *search); /* of those found */
/* How far it is, at any time: messages looked at, of how many (INPROGRESS, RFC 9585). */
struct shelf_progress {
	uint32_t done, total;
};
struct shelf_progress shelf_search_progress(struct shelf_search *search);
void shelf_search_free(struct shelf_search **search);

/* Does TEXT hold PATTERN, as a search compares them? Both are UTF-8; an empty pattern is everywhere. */
bool shelf_text_has(struct shelf_span text, struct shelf_span pattern);

#endif
