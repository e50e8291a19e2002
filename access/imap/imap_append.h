/*
 * imap_append.h - messages that a client sends with APPEND or REPLACE, into drafts
 *
 * Shape     The command parses what stands before the messages, names the mailbox and hands over;
 *           its END runs when all messages have been stored, or rc says why not.
 * Lifetime  struct imap_append lives in the command's arena and is its c->data.
 * Sources   RFC 9051 6.3.12; RFC 3502; RFC 8508; RFC 3516 4.4; RFC 4469; RFC 6855 4.
 */
#ifndef ACCESS_IMAP_APPEND_H
#define ACCESS_IMAP_APPEND_H

#include "imap.h"

enum {
	IMAP_APPEND_MAX = 128,    /* messages of one command: each holds up to 256 KiB of memory as a draft */
	IMAP_CAT_PARTS_MAX = 1000, /* CATENATE, of one command */
	IMAP_CAT_URL_MAX_BYTES = 4096,
};

/* The part of a stored message that is put into another one (imap_catenate.c). */
struct imap_cat_url {
	uint8_t text[2 * IMAP_CAT_URL_MAX_BYTES]; /* as the client wrote it; behind it a copy to work on */
	size_t len;
	struct shelf_span name;         /* of the mailbox, in the copy; data NULL: the selected one */
	struct shelf_span section;      /* "1.2.MIME", in the copy, percent-encoding undone */
	uint32_t account, mailbox, uidvalidity, uid; /* uidvalidity 0: any */
	bool partial;
	uint64_t start, count;
	bool bad;                       /* there is no such thing */
};

struct imap_append {
	struct shelf_store *store;
	uint32_t account, mailbox;      /* where to */
	unsigned rights;                /* there */
	uint32_t replaced, replaced_in; /* REPLACE: uid and mailbox of what goes; 0: nothing does */
	uint64_t max;                   /* octets of one message */
	imap_run_fn *end;
	struct shelf_append items[IMAP_APPEND_MAX];
	size_t n;
	uint64_t bytes;                 /* of all messages */
	/* The message at hand. */
	uint64_t message_bytes;
	bool literal8;                  /* its literal may hold NUL */
	bool in_utf8, in_parts;         /* "UTF8 (", "CATENATE (" are open */
	bool first_part;
	unsigned parts;                 /* of the command */
	struct imap_cat_url url;
	struct shelf_append_result result;
	int rc;
};

/* TEXT is there: takes it apart. False: it is no such URL. */
bool imap_cat_parse(struct imap_cat_url *url);
/* Finds the mailbox. False: there is none. */
bool imap_cat_find(struct imap_session *s, struct imap_cat_url *url);
/* On a worker, for a struct imap_append: writes what its URL means into the draft at hand, counts the bytes, sets
 * rc (SHELF_ETOOBIG: the message would be longer than MAX) and url.bad. */
void imap_cat_copy(void *append);

/* Makes the command one that receives messages; before anything can go wrong. */
struct imap_append *imap_append_new(struct imap_cmd *c, imap_run_fn *end);
/* " mailbox " is taken and found. False: the reply has been set. */
bool imap_append_mailbox(struct imap_cmd *c);
/* The parser is at the first message: receives what comes, stores it, runs END. */
enum imap_step imap_append_receive(struct imap_cmd *c);
/* The reply has been set: what the client still sends for this command is read over. */
enum imap_step imap_append_refuse(struct imap_cmd *c);

#endif
