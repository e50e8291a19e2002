/*
 * imap_search.h - search programs: from the words of SEARCH to the engine's key tree
 *
 * Lifetime  The tree lies in the command's arena; the sets in it belong to struct imap_program and are
 *           freed by imap_program_free(), after the search that uses them.
 * Sources   RFC 9051 6.4.4, RFC 3501 6.4.4, RFC 5032, RFC 7162 3.1.5.
 */
#ifndef ACCESS_IMAP_SEARCH_H
#define ACCESS_IMAP_SEARCH_H

#include "imap_round.h"

/* Message numbers and uids of one command: a set of a mailbox full of gaps has 8 KiB for each 65,536
 * uids, however few bytes name it. */
enum { IMAP_SEARCH_SETS_MAX = 128 };

enum { IMAP_CRITERIA_MAX = 32 }; /* of one SORT */

struct imap_program {
	/* ESEARCH fills these before it parses, for each mailbox anew. VIEW NULL: the selected mailbox, and a
	 * message number behind its last one is an error; else such numbers mean nothing (RFC 7377 2). */
	const struct shelf_view *view;
	uint32_t account;            /* of VIEW */
	bool other;                  /* VIEW is not the session's: no "$", nobody is \Recent */
	bool check;                  /* only: are they well formed? Sets have nothing in them */
	bool standing;               /* it is asked again about messages to come: UID 5:* has no end */
	bool part;                   /* of a larger search, which tells how far it is itself */
	struct shelf_key *root;
	struct shelf_span charset;   /* data NULL: UTF-8 */
	bool modseq;                 /* MODSEQ is among the keys */
	struct shelf_uidset *recent; /* one for all keys that ask for it; in SET, too */
	struct shelf_uidset **set;   /* all sets of the tree */
	size_t nset, set_cap;
	struct shelf_search *search; /* imap_program_search() */
	struct imap_round round;
	bool then_arranged;          /* what is found is sorted or threaded: half of the way is left */
	bool damaged;                /* messages were passed over */
};

/*
 * imap_program_parse(c, program)
 *   "[CHARSET x] key *(SP key)", up to the end of the command.
 *   returns  true, or false when a reply has been set: the command returns IMAP_DONE.
 *            imap_program_free() in either case.
 */
bool imap_program_parse(struct imap_cmd *c, struct imap_program *program);
/* "x key *(SP key)": as SORT and THREAD have it, the charset a must. */
bool imap_program_parse_charset(struct imap_cmd *c, struct imap_program *program);
/*
 * imap_program_search(c, program)
 *   A slice of the search in the selected mailbox, here or on workers; the first call begins it. What it has found
 *   is shelf_search_found(program->search) in the end.
 *   returns  IMAP_DONE: it is over, or a reply has been set (c->replied); else the command waits and calls again
 */
enum imap_step imap_program_search(struct imap_cmd *c, struct imap_program *program);
/* The client has hung up: true, and a reply has been set that nobody reads. Asked by each slice. */
bool imap_program_given_up(struct imap_cmd *c);
/* As imap_progress(), of the second half. */
void imap_program_progress(struct imap_cmd *c, const struct imap_program *program,
    struct shelf_progress so_far);
/* The reply when everything has been printed: OK, or NO when messages were passed over. */
enum imap_step imap_program_reply(struct imap_cmd *c, const struct imap_program *program);
/* Frees the search, too. */
void imap_program_free(struct imap_program *program);

#endif
