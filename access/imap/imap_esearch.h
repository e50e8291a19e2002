/*
 * imap_esearch.h - what a SEARCH is to return: options, the ESEARCH response, the saved result
 *
 * Lifetime  struct imap_esearch lives with its command; the set it prints must live as long.
 * Sources   RFC 9051 6.4.4.1-6.4.4.4, 7.3.4; RFC 4731; RFC 5182; RFC 9394.
 */
#ifndef ACCESS_IMAP_ESEARCH_H
#define ACCESS_IMAP_ESEARCH_H

#include "imap.h"

struct imap_source;

enum imap_return { /* bits */
	IMAP_RETURN_MIN = 1,
	IMAP_RETURN_MAX = 2,
	IMAP_RETURN_ALL = 4,
	IMAP_RETURN_COUNT = 8,
	IMAP_RETURN_SAVE = 16,
	IMAP_RETURN_PARTIAL = 32,
	IMAP_RETURN_CONTEXT = 64, /* a hint, not needed */
	IMAP_RETURN_UPDATE = 128, /* imap_context.h */
	IMAP_RETURN_NO_DATA = IMAP_RETURN_CONTEXT | IMAP_RETURN_UPDATE,
};

/* "1:500", "-1:-100": which of the results, from the first or from the last one. */
struct imap_partial {
	uint32_t first, last; /* as the client wrote them, without the sign */
	bool from_end;
};
bool imap_partial_parse(struct imap_parser *p, struct imap_partial *out);
/* The ranks it names among COUNT results, from 1; false: there are none. */
bool imap_partial_ranks(const struct imap_partial *partial, uint32_t count, uint32_t *low,
    uint32_t *high);
/* Leaves those of SET that PARTIAL names, by rank. */
void imap_partial_cut(const struct imap_partial *partial, struct shelf_uidset *set);

struct imap_esearch {
	unsigned what; /* enum imap_return */
	struct imap_partial partial;
	struct shelf_span attributes; /* of UPDATE, "(UID FLAGS)"; data NULL: none */
	const struct imap_source *source; /* of ESEARCH: which mailbox is told of; NULL: the selected one */
	uint32_t uidvalidity; /* of that */
	uint64_t max_modseq; /* of all that was found, when MODSEQ was a key; or 0 */
	/* While it is printed. */
	struct imap_cmd *c;
	const struct shelf_uidset *found;
	const struct shelf_sort *sort; /* NULL: in mailbox order */
	struct shelf_uidset *part; /* of PARTIAL in mailbox order */
	unsigned stage;
	uint32_t next;             /* uid, or rank in SORT from 1 */
	uint32_t low, high;        /* ranks of SORT to be printed */
	uint32_t first, last;      /* run that is complete so far; first 0: none */
	bool begun;                /* something of the set has been written */
};
/* "RETURN (MIN SAVE) ": true when it was not there (nothing is taken, what is 0) or is well formed. */
bool imap_return_parse(struct imap_parser *p, struct imap_esearch *out);
/* The search has ended with FOUND, uids; in the order of SORT, when there is one (RFC 5267 3): saves what is to
 * be saved. */
void imap_esearch_begin(struct imap_esearch *e, struct imap_cmd *c, const struct shelf_uidset *found,
    const struct shelf_sort *sort);
/* One piece of the response. 1: more is left; 0: done (for SAVE alone nothing is written). */
int imap_esearch_print(struct imap_esearch *e);
/* Behind the command, whatever became of it. */
void imap_esearch_end(struct imap_esearch *e, struct imap_cmd *c);

#endif
