/*
 * imap_append.h - messages that a client sends with APPEND or REPLACE, into drafts
 *
 * Shape     The command parses what stands before the messages, names the mailbox and hands over;
 *           its END runs when all messages have been stored, or rc says why not.
 * Lifetime  struct imap_append lives in the command's arena and is its c->data.
 * Sources   RFC 9051 6.3.12; RFC 3502; RFC 8508; RFC 3516 4.4.
 */
#ifndef ACCESS_IMAP_APPEND_H
#define ACCESS_IMAP_APPEND_H

#include "imap.h"

enum { IMAP_APPEND_MAX = 128 }; /* of one command: each holds up to 256 KiB of memory as a draft */

struct imap_append {
	struct shelf_store *store;
	uint32_t account, mailbox;      /* where to */
	uint32_t replaced, replaced_in; /* REPLACE: uid and mailbox of what goes; 0: nothing does */
	imap_run_fn *end;
	struct shelf_append items[IMAP_APPEND_MAX];
	size_t n;
	uint64_t bytes;
	bool literal8;                  /* the message at hand may hold NUL */
	struct shelf_append_result result;
	int rc;
};

/* Makes the command one that receives messages; before anything can go wrong. */
struct imap_append *imap_append_new(struct imap_cmd *c, imap_run_fn *end);
/* " mailbox " is taken and found. False: the reply has been set. */
bool imap_append_mailbox(struct imap_cmd *c);
/* The parser is at the first message: receives what comes, stores it, runs END. */
enum imap_step imap_append_receive(struct imap_cmd *c);
/* The reply has been set: what the client still sends for this command is read over. */
enum imap_step imap_append_refuse(struct imap_cmd *c);

#endif
