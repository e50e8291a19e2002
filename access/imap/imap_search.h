/*
 * imap_search.h - search programs: from the words of SEARCH to the engine's key tree
 *
 * Lifetime  The tree lies in the command's arena; the sets in it belong to struct imap_program and are
 *           freed by imap_program_free(), after the search that uses them.
 * Sources   RFC 9051 6.4.4, RFC 3501 6.4.4, RFC 5032, RFC 7162 3.1.5.
 */
#ifndef ACCESS_IMAP_SEARCH_H
#define ACCESS_IMAP_SEARCH_H

#include "imap.h"

/* Message numbers and uids of one command: a set of a mailbox full of gaps has 8 KiB for each 65,536
 * uids, however few bytes name it. */
enum { IMAP_SEARCH_SETS_MAX = 128 };

struct imap_program {
	struct shelf_key *root;
	struct shelf_span charset;   /* data NULL: UTF-8 */
	bool modseq;                 /* MODSEQ is among the keys */
	struct shelf_uidset *recent; /* one for all keys that ask for it; in SET, too */
	struct shelf_uidset **set;   /* all sets of the tree */
	size_t nset, set_cap;
};

/*
 * imap_program_parse(c, program)
 *   "[CHARSET x] key *(SP key)", up to the end of the command.
 *   returns  true, or false when a reply has been set: the command returns IMAP_DONE.
 *            imap_program_free() in either case.
 */
bool imap_program_parse(struct imap_cmd *c, struct imap_program *program);
void imap_program_free(struct imap_program *program);

#endif
